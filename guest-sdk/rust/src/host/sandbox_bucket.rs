//! A bucket of the host that runs this module, reached through the imports of `wasi:keyvalue`.

use std::marker::PhantomData;

use crate::bucket::BucketError;

use bindings::wasi::keyvalue::{atomics, batch, store};

#[allow(
    missing_docs,
    unsafe_code,
    clippy::all,
    reason = "generated: the canonical ABI is made of raw memory"
)]
mod bindings {
    wit_bindgen::generate!({
        path: "wit/deps/wasi-keyvalue-0.2.0-draft2.wit",
        world: "imports",
    });
}

/// An open bucket.
#[derive(Debug)]
pub(crate) struct Bucket<'a> {
    handle: store::Bucket,
    /// The recorder of native tests borrows its host.
    host: PhantomData<&'a super::Host>,
}

#[allow(
    clippy::unused_self,
    reason = "the recorder of native tests has the same method, and state"
)]
impl super::Host {
    pub(crate) fn bucket(&self, name: &str) -> Result<Bucket<'_>, BucketError> {
        Ok(Bucket {
            handle: store::open(name)?,
            host: PhantomData,
        })
    }
}

impl Bucket<'_> {
    pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, BucketError> {
        Ok(self.handle.get(key)?)
    }

    pub(crate) fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, BucketError> {
        let pairs = batch::get_many(&self.handle, keys)?.into_iter();
        Ok(pairs.map(|pair| pair.map(|(_, value)| value)).collect())
    }

    pub(crate) fn set(&self, key: &str, value: &[u8]) -> Result<(), BucketError> {
        Ok(self.handle.set(key, value)?)
    }

    pub(crate) fn set_many(&self, pairs: &[(String, Vec<u8>)]) -> Result<(), BucketError> {
        Ok(batch::set_many(&self.handle, pairs)?)
    }

    pub(crate) fn delete(&self, key: &str) -> Result<(), BucketError> {
        Ok(self.handle.delete(key)?)
    }

    pub(crate) fn delete_many(&self, keys: &[String]) -> Result<(), BucketError> {
        Ok(batch::delete_many(&self.handle, keys)?)
    }

    pub(crate) fn exists(&self, key: &str) -> Result<bool, BucketError> {
        Ok(self.handle.exists(key)?)
    }

    pub(crate) fn page(
        &self,
        cursor: Option<&str>,
    ) -> Result<(Vec<String>, Option<String>), BucketError> {
        let page = self.handle.list_keys(cursor)?;
        Ok((page.keys, page.cursor))
    }

    pub(crate) fn increment(&self, key: &str, delta: i64) -> Result<i64, BucketError> {
        Ok(atomics::increment(&self.handle, key, delta)?)
    }

    pub(crate) fn update(
        &self,
        key: &str,
        mut change: impl FnMut(Option<Vec<u8>>) -> Vec<u8>,
    ) -> Result<(), BucketError> {
        let mut cas = atomics::Cas::new(&self.handle, key)?;
        loop {
            let value = change(cas.current()?);
            match atomics::swap(cas, &value) {
                Ok(()) => return Ok(()),
                Err(atomics::CasError::CasFailed(newer)) => cas = newer,
                Err(atomics::CasError::StoreError(error)) => return Err(error.into()),
            }
        }
    }
}

impl From<store::Error> for BucketError {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::AccessDenied | store::Error::NoSuchStore => Self::NotGranted,
            store::Error::Other(why) => Self::Other(why),
        }
    }
}
