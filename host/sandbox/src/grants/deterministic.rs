//! `deterministic`: clocks and random numbers that are the same in every attempt of an envelope (S2).
//!
//! Time begins when the envelope was enqueued, and goes on by every reading and by what the guest sleeps: a sleep
//! lasts as long as it says, so that a task that waits for something still does. Random numbers follow from the
//! envelope's id: other envelopes have others, and whoever knows the id knows them.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::TryRng;
use sha2::{Digest as _, Sha256};
use stem_core::clock::Timestamp;
use stem_core::ids::EnvelopeId;
use tokio::time::Sleep;
use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::clocks::{HostMonotonicClock, HostWallClock, WasiClocksView as _};
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock::{self, Host};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use crate::context::Guest;

/// What each reading of a clock takes: a guest that waits for a time by reading clocks comes to its end.
const STEP: Duration = Duration::from_micros(1);

/// The clocks and random numbers of one attempt.
pub(crate) struct Fixed {
    id: EnvelopeId,
    time: Arc<FixedTime>,
}

impl Fixed {
    pub(super) fn new(id: EnvelopeId, enqueued_at: Timestamp) -> Self {
        let time = FixedTime {
            start: Duration::from_millis(enqueued_at.as_millis()),
            passed: AtomicU64::new(0),
        };
        Self {
            id,
            time: Arc::new(time),
        }
    }

    /// Puts them in the place of the machine's own.
    pub(crate) fn set(&self, wasi: &mut WasiCtxBuilder) {
        let seed = Stream::new(self.id, "insecure-seed").block();
        let (seed, _) = seed.split_first_chunk().expect("32 bytes have 16");
        wasi.wall_clock(Wall(Arc::clone(&self.time)))
            .monotonic_clock(Monotonic(Arc::clone(&self.time)))
            .secure_random(Stream::new(self.id, "random"))
            .insecure_random(Stream::new(self.id, "insecure"))
            .insecure_random_seed(u128::from_le_bytes(*seed));
    }
}

// === time ===

/// A clock that nothing moves but its guest.
struct FixedTime {
    start: Duration,
    passed: AtomicU64,
}

impl FixedTime {
    fn read(&self) -> u64 {
        self.passed.fetch_add(nanos(STEP), Ordering::Relaxed) + nanos(STEP)
    }

    fn now(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }

    /// It is this late at least.
    fn reach(&self, passed: u64) {
        self.passed.fetch_max(passed, Ordering::Relaxed);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

struct Wall(Arc<FixedTime>);

impl HostWallClock for Wall {
    fn resolution(&self) -> Duration {
        STEP
    }

    fn now(&self) -> Duration {
        self.0.start + Duration::from_nanos(self.0.read())
    }
}

struct Monotonic(Arc<FixedTime>);

impl HostMonotonicClock for Monotonic {
    fn resolution(&self) -> u64 {
        nanos(STEP)
    }

    fn now(&self) -> u64 {
        self.0.read()
    }
}

// === sleeping ===

/// Replaces the monotonic clock: the one that it hands to its guests is told of no sleep.
pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    monotonic_clock::add_to_linker::<_, HasClock>(linker, |guest| Clock(guest))?;
    linker.allow_shadowing(false);
    Ok(())
}

struct HasClock;

impl HasData for HasClock {
    type Data<'a> = Clock<'a>;
}

/// The monotonic clock of a guest: the machine's, or its own.
struct Clock<'a>(&'a mut Guest);

impl Host for Clock<'_> {
    fn now(&mut self) -> wasmtime::Result<u64> {
        self.0.clocks().now()
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        self.0.clocks().resolution()
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        match &self.0.fixed {
            None => self.0.clocks().subscribe_instant(when),
            Some(fixed) => self.subscribe_duration(when.saturating_sub(fixed.time.now())),
        }
    }

    fn subscribe_duration(&mut self, wait: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let guest = &mut *self.0;
        let Some(fixed) = &guest.fixed else {
            return guest.clocks().subscribe_duration(wait);
        };
        let timer = Timer {
            due: fixed.time.now().saturating_add(wait),
            time: Arc::clone(&fixed.time),
            sleep: (wait > 0).then(|| Box::pin(tokio::time::sleep(Duration::from_nanos(wait)))),
        };
        let resources = &mut guest.called().resources;
        let timer = resources.push(timer)?;
        subscribe(resources, timer)
    }
}

/// A sleep in the machine's time, after which it is as late as the guest wanted.
struct Timer {
    due: u64,
    time: Arc<FixedTime>,
    sleep: Option<Pin<Box<Sleep>>>,
}

#[async_trait::async_trait]
impl Pollable for Timer {
    async fn ready(&mut self) {
        if let Some(sleep) = &mut self.sleep {
            sleep.await;
        }
        self.time.reach(self.due);
    }
}

// === random numbers ===

/// SHA-256 over an envelope's id, a label and a counter: the same on every machine and in every version.
struct Stream {
    id: EnvelopeId,
    label: &'static str,
    blocks: u64,
    left: Vec<u8>,
}

impl Stream {
    fn new(id: EnvelopeId, label: &'static str) -> Self {
        Self {
            id,
            label,
            blocks: 0,
            left: Vec::new(),
        }
    }

    fn block(&mut self) -> [u8; 32] {
        let hash = Sha256::new()
            .chain_update(self.id.to_string())
            .chain_update(self.label)
            .chain_update(self.blocks.to_le_bytes());
        self.blocks += 1;
        hash.finalize().into()
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.left.is_empty() {
                self.left = self.block().into();
            }
            *byte = self.left.pop().unwrap_or_default();
        }
    }
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.take()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.take()))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.fill(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> EnvelopeId {
        text.parse().expect("an id")
    }

    /// S2: what an envelope drew must not change with the host's version, or its retries would differ.
    #[test]
    fn the_random_numbers_of_an_envelope_are_fixed_for_ever() {
        let one = id("01890000-0000-7000-8000-000000000001");
        let other = id("01890000-0000-7000-8000-000000000002");
        let draw = |id, label| Stream::new(id, label).take::<8>();
        assert_eq!(draw(one, "random"), draw(one, "random"));
        assert_ne!(draw(one, "random"), draw(other, "random"));
        assert_ne!(draw(one, "random"), draw(one, "insecure"));
        assert_eq!(draw(one, "random"), [26, 170, 3, 104, 133, 68, 137, 23]);
    }

    /// S2
    #[test]
    fn time_goes_on_by_every_reading_and_never_back() {
        let fixed = Fixed::new(EnvelopeId::new(), Timestamp::from_millis(5));
        let clock = Monotonic(Arc::clone(&fixed.time));
        assert_eq!((clock.now(), clock.now()), (1_000, 2_000));
        fixed.time.reach(1_500);
        assert_eq!(clock.now(), 3_000);
        fixed.time.reach(9_000);
        let now = Wall(Arc::clone(&fixed.time)).now();
        assert_eq!(now, Duration::from_millis(5) + Duration::from_nanos(10_000));
    }
}
