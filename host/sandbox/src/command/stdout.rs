//! Standard output of a program: kept as the result, up to its limit; more ends the program.

use std::sync::{Arc, Mutex, PoisonError};

use crate::output::Sink;

/// The program wrote more than its result may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the program wrote {used} bytes to standard output")]
pub(crate) struct OverOutput {
    /// How much it had written then.
    pub(crate) used: u64,
}

/// Goes to what the console keeps.
#[derive(Debug, Clone)]
pub(super) struct Stdout {
    pub(super) written: Arc<Mutex<Vec<u8>>>,
    pub(super) room: usize,
}

impl Sink for Stdout {
    type Refusal = OverOutput;

    fn take(&self, bytes: &[u8]) -> Result<(), OverOutput> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let used = written.len().saturating_add(bytes.len());
        if used > self.room {
            let used = u64::try_from(used).unwrap_or(u64::MAX);
            return Err(OverOutput { used });
        }
        written.extend_from_slice(bytes);
        Ok(())
    }
}
