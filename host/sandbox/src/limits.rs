//! What a guest has of memory, and what is said when it asks for more than its limit.
//!
//! A guest over its limit is ended: told "no", most allocators would abort, and the record would call that a panic.

use stem_core::units::ByteSize;
use wasmtime::ResourceLimiter;

use crate::engine::most;

/// What of the host's own memory a guest may hold.
pub(crate) mod held {
    /// Bytes that one call may bring from the guest to the host, beyond a result of the largest size allowed.
    pub(crate) const CALL_BYTES: usize = 16 << 20;
    /// Handles to host resources that a component may have.
    pub(crate) const HANDLES: usize = 4_096;
    /// Host resources behind those handles.
    pub(crate) const RESOURCES: usize = 4_096;
    /// Calls that the host works on at one time: what one `poll` waits for, or requests that are on their way.
    pub(crate) const CALLS: usize = 1_024;
    /// Envelopes that one call may ask to be enqueued: each is some objects of the host's, however small it is.
    pub(crate) const REQUESTS: usize = 10_000;
    /// Random bytes that one call may ask for.
    pub(crate) const RANDOM_BYTES: u64 = 1 << 20;
}

/// The guest asked for more memory than it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the guest asked for {asked} bytes of memory and may have {allowed}")]
pub(crate) struct OverMemory {
    pub(crate) allowed: u64,
    pub(crate) asked: u64,
}

/// The guest asked the host to work on more calls at one time than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the guest has {asked} calls in flight and may have {}", held::CALLS)]
pub(crate) struct OverCalls {
    pub(crate) asked: usize,
}

impl OverCalls {
    /// Ends the guest where so many calls in flight are too many.
    pub(crate) fn check(asked: usize) -> wasmtime::Result<()> {
        match asked > held::CALLS {
            true => Err(wasmtime::Error::new(Self { asked })),
            false => Ok(()),
        }
    }
}

/// The guest asked for more envelopes in one call than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the guest asked for {asked} envelopes in one call and may ask for {}",
    held::REQUESTS
)]
pub(crate) struct OverRequests {
    pub(crate) asked: usize,
}

impl OverRequests {
    /// Ends the guest where so many in one call are too many.
    pub(crate) fn check(asked: usize) -> wasmtime::Result<()> {
        match asked > held::REQUESTS {
            true => Err(wasmtime::Error::new(Self { asked })),
            false => Ok(()),
        }
    }
}

/// Sums all memories and tables of one attempt.
#[derive(Debug)]
pub(crate) struct MemoryMeter {
    allowed: u64,
    used: u64,
}

impl MemoryMeter {
    /// Nothing used yet.
    pub(crate) fn new(allowed: ByteSize) -> Self {
        Self {
            allowed: allowed.0,
            used: 0,
        }
    }

    /// The most that there was: memories and tables never shrink.
    pub(crate) fn peak(&self) -> u64 {
        self.used
    }

    fn grow(&mut self, bytes: usize) -> wasmtime::Result<bool> {
        let growth = u64::try_from(bytes).unwrap_or(u64::MAX);
        let asked = self.used.saturating_add(growth);
        if asked > self.allowed {
            let allowed = self.allowed;
            return Err(wasmtime::Error::new(OverMemory { allowed, asked }));
        }
        // A growth that then fails stays counted: the engine also reports failures that were never asked for here, so
        // giving bytes back would let a guest earn them.
        self.used = asked;
        Ok(true)
    }
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.grow(desired.saturating_sub(current))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let elements = desired.saturating_sub(current);
        self.grow(elements.saturating_mul(size_of::<usize>()))
    }

    fn instances(&self) -> usize {
        as_size(most::CORE_INSTANCES)
    }

    fn tables(&self) -> usize {
        as_size(most::TABLES)
    }

    fn memories(&self) -> usize {
        as_size(most::MEMORIES)
    }
}

fn as_size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
