//! The seam that keeps a store from growing for ever, and says what the store is (R4).

use async_trait::async_trait;

use crate::store_error::StoreError;
use crate::units::ByteSize;

/// Removes what has outlived its retention (R4).
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// Removes at most about `limit` expired rows, and says how many went. Safe to call from every worker.
    async fn sweep(&self, limit: usize) -> Result<u64, StoreError>;

    /// What this store is and where: for `store info`.
    async fn describe(&self) -> Result<Vec<(&'static str, Fact)>, StoreError>;
}

/// Something that a store says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// In words.
    Text(String),
    /// How many.
    Count(u64),
    /// How large.
    Size(ByteSize),
    /// Yes or no.
    Flag(bool),
}

impl From<&str> for Fact {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}
