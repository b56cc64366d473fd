//! The seam that keeps a store from growing for ever, and says what the store is (R4).

use async_trait::async_trait;

use crate::store_error::StoreError;

/// Removes what has outlived its retention (R4).
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// Removes at most about `limit` expired rows, and says how many went. Safe to call from every worker.
    async fn sweep(&self, limit: usize) -> Result<u64, StoreError>;

    /// What this store is and where: for `store info`.
    async fn describe(&self) -> Result<Vec<(String, String)>, StoreError>;
}
