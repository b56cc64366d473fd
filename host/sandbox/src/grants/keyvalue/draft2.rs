//! `wasi:keyvalue@0.2.0-draft2`: cursors are text, counters have a sign, and there is compare-and-swap.

use stem_core::key_value::Swapped;
use wasmtime::component::{HasSelf, Linker, Resource};

use self::bindings::wasi::keyvalue::{atomics, batch, store};
use super::{Bucket, Cas, Denial};
use crate::context::Guest;

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/deps/wasi-keyvalue-0.2.0-draft2.wit",
        world: "wasi:keyvalue/imports",
        imports: { default: async | trappable },
        with: {
            "wasi:keyvalue/store.bucket": crate::grants::keyvalue::Bucket,
            "wasi:keyvalue/atomics.cas": crate::grants::keyvalue::Cas,
        },
        trappable_error_type: { "wasi:keyvalue/store.error" => crate::grants::keyvalue::Denial },
    });
}

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    bindings::Imports::add_to_linker::<_, HasSelf<_>>(linker, Guest::called)
}

impl store::Host for Guest {
    async fn open(&mut self, identifier: String) -> Result<Resource<Bucket>, Denial> {
        self.open_bucket(&identifier)
    }

    fn convert_error(&mut self, denial: Denial) -> wasmtime::Result<store::Error> {
        match denial {
            Denial::NotGranted => Ok(store::Error::AccessDenied),
            Denial::Other(why) => Ok(store::Error::Other(why)),
            Denial::Store(error) => Ok(store::Error::Other(self.told(&error).to_owned())),
            Denial::End(error) => Err(error),
        }
    }
}

impl store::HostBucket for Guest {
    async fn get(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> Result<Option<Vec<u8>>, Denial> {
        self.bucket(&bucket)?.get(key).await
    }

    async fn set(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        value: Vec<u8>,
    ) -> Result<(), Denial> {
        self.bucket(&bucket)?.set_many(vec![(key, value)]).await
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Result<(), Denial> {
        self.bucket(&bucket)?.delete_many(vec![key]).await
    }

    async fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Result<bool, Denial> {
        self.bucket(&bucket)?.exists(key).await
    }

    async fn list_keys(
        &mut self,
        bucket: Resource<Bucket>,
        cursor: Option<String>,
    ) -> Result<store::KeyResponse, Denial> {
        let after = cursor.map_or(Ok(0), |cursor| cursor.parse());
        let after =
            after.map_err(|_| Denial::Other("no page ended with this cursor".to_owned()))?;
        let page = self.bucket(&bucket)?.page(after).await?;
        Ok(store::KeyResponse {
            keys: page
                .keys
                .iter()
                .map(|key| key.as_str().to_owned())
                .collect(),
            cursor: page.next.map(|next| next.to_string()),
        })
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.resources.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for Guest {
    async fn increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: i64,
    ) -> Result<i64, Denial> {
        self.bucket(&bucket)?.increment(key, delta).await
    }

    async fn swap(
        &mut self,
        cas: Resource<Cas>,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), atomics::CasError>> {
        let cas = self.resources.delete(cas)?;
        match cas.swap(value).await {
            Ok(Swapped::Done) => Ok(Ok(())),
            Ok(Swapped::Changed { now }) => {
                let again = self.resources.push(Cas { seen: now, ..cas })?;
                Ok(Err(atomics::CasError::CasFailed(again)))
            }
            Err(denial) => {
                let error = store::Host::convert_error(self, denial)?;
                Ok(Err(atomics::CasError::StoreError(error)))
            }
        }
    }
}

impl atomics::HostCas for Guest {
    async fn new(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> Result<Resource<Cas>, Denial> {
        let cas = Cas::new(self.bucket(&bucket)?, key).await?;
        Ok(self.resources.push(cas)?)
    }

    async fn current(&mut self, handle: Resource<Cas>) -> Result<Option<Vec<u8>>, Denial> {
        let cas = self.resources.get(&handle)?;
        let (bucket, key) = (cas.bucket.clone(), cas.key.clone());
        let stored = bucket.stored(&key).await?;
        // What a swap replaces is what was shown last.
        self.resources.get_mut(&handle)?.seen = stored.as_ref().map(|stored| stored.version);
        Ok(stored.map(|stored| stored.value.into()))
    }

    async fn drop(&mut self, cas: Resource<Cas>) -> wasmtime::Result<()> {
        self.resources.delete(cas)?;
        Ok(())
    }
}

impl batch::Host for Guest {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Result<Vec<Option<(String, Vec<u8>)>>, Denial> {
        self.bucket(&bucket)?.get_many(keys).await
    }

    async fn set_many(
        &mut self,
        bucket: Resource<Bucket>,
        pairs: Vec<(String, Vec<u8>)>,
    ) -> Result<(), Denial> {
        self.bucket(&bucket)?.set_many(pairs).await
    }

    async fn delete_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Result<(), Denial> {
        self.bucket(&bucket)?.delete_many(keys).await
    }
}
