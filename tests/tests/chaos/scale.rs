//! How much a trial goes through: what the suite has time for, or what `cargo xtask chaos` asks for.

use std::time::Duration;

/// How much a trial goes through.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// How often a worker is killed.
    pub kills: u64,
    /// How many envelopes are published meanwhile.
    pub envelopes: u64,
    /// How long a server is paused each time.
    pub pause: Duration,
    /// How many milliseconds an envelope that sleeps does so at least.
    pub sleep: u64,
}

impl Scale {
    /// What is asked for, or this.
    pub fn asked_or(short: Self) -> Self {
        let pause = short.pause.as_secs();
        Self {
            kills: asked("STEM_CHAOS_KILLS").unwrap_or(short.kills),
            envelopes: asked("STEM_CHAOS_ENVELOPES").unwrap_or(short.envelopes),
            pause: Duration::from_secs(asked("STEM_CHAOS_PAUSE").unwrap_or(pause)),
            ..short
        }
    }

    /// What is published with each kill; the first share comes before the first kill.
    pub fn share(&self) -> u64 {
        self.envelopes.div_ceil(self.kills + 1)
    }

    /// Whether a server dies after this kill: once in ten, and at least twice.
    pub fn restarts_after(&self, kill: u64) -> bool {
        kill.is_multiple_of((self.kills / 2).clamp(1, 10))
    }

    /// Whether connections are cut after this kill: once in five.
    pub fn cuts_after(&self, kill: u64) -> bool {
        kill % 5 == self.kills.min(3)
    }

    /// Whether a server is paused after this kill: once in fifty, and at least once.
    pub fn pauses_after(&self, kill: u64) -> bool {
        kill % 50 == (self.kills / 2).clamp(1, 25)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is what configures the trials"
)]
fn asked(variable: &str) -> Option<u64> {
    let asked = std::env::var(variable).ok()?;
    Some(asked.parse().expect("a whole number"))
}
