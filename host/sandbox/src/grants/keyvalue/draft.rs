//! `wasi:keyvalue@0.2.0-draft`: cursors and counters are unsigned numbers.

use wasmtime::component::{HasSelf, Linker, Resource};

use self::bindings::wasi::keyvalue::{atomics, batch, store};
use super::{Bucket, Denial};
use crate::context::Guest;

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/deps/wasi-keyvalue-0.2.0-draft.wit",
        world: "wasi:keyvalue/imports",
        imports: { default: async | trappable },
        with: { "wasi:keyvalue/store.bucket": crate::grants::keyvalue::Bucket },
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
        cursor: Option<u64>,
    ) -> Result<store::KeyResponse, Denial> {
        let page = self.bucket(&bucket)?.page(cursor.unwrap_or(0)).await?;
        Ok(store::KeyResponse {
            keys: page
                .keys
                .iter()
                .map(|key| key.as_str().to_owned())
                .collect(),
            cursor: page.next,
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
        delta: u64,
    ) -> Result<u64, Denial> {
        let unfit =
            |_| Denial::Other("the sum does not fit into this version's counter".to_owned());
        let delta = i64::try_from(delta).map_err(unfit)?;
        let count = self.bucket(&bucket)?.increment(key, delta).await?;
        // It is written: whoever were told of an error would count again.
        Ok(u64::try_from(count).unwrap_or(0))
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
