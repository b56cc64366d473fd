//! The fates that a payload can choose, and how each is met.

use std::hint::black_box;
use std::io::Write;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use stem_guest::{Context, Interruption, Level, Payload};

/// What becomes of the attempt.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(tag = "fate", rename_all = "kebab-case")]
pub enum Fate {
    /// Does its work.
    Succeed,
    /// Fails, and may be tried again.
    Fail,
    /// Fails as often as it is told, then succeeds.
    FailTimes {
        /// How many attempts fail.
        times: u32,
    },
    /// Fails for good.
    Reject,
    /// Fails, and asks for the next attempt after a time.
    RetryAfter {
        /// The time, in milliseconds.
        #[serde(default = "second")]
        ms: u64,
    },
    /// Puts itself off, then succeeds.
    Snooze {
        /// How long, in milliseconds.
        #[serde(default = "second")]
        ms: u64,
        /// How many deliveries are put off.
        #[serde(default = "once")]
        times: u32,
    },
    /// Panics.
    Trap,
    /// Ends its own process.
    Exit {
        /// 0, or another code: the host learns no more than that.
        #[serde(default)]
        code: i32,
    },
    /// Loops for ever.
    Spin,
    /// Sleeps, then succeeds.
    Sleep {
        /// How long, in milliseconds.
        #[serde(default = "second")]
        ms: u64,
    },
    /// Takes memory without end.
    Hog,
    /// Calls itself without end.
    Recursion,
    /// Writes to standard output, standard error and the log, then succeeds.
    Flood {
        /// How much, in bytes, to each.
        #[serde(default = "flood")]
        bytes: usize,
    },
    /// Says that it returns JSON, and does not.
    Garbage,
    /// Returns a long result.
    BigOutput {
        /// How long, in bytes.
        #[serde(default = "big")]
        bytes: usize,
    },
    /// Works until it is asked to stop, then winds up.
    StopWhenAsked,
    /// Saves a checkpoint and fails; the next attempt returns what was saved.
    Checkpoint,
}

fn second() -> u64 {
    1_000
}

fn once() -> u32 {
    1
}

fn flood() -> usize {
    4 << 20
}

fn big() -> usize {
    8 << 20
}

impl Fate {
    /// Meets this fate.
    pub fn meet(self, ctx: &Context) -> Result<Payload, Interruption> {
        let attempt = ctx.attempt();
        match self {
            Self::Fail => Err(failed(attempt.number)),
            Self::FailTimes { times } if attempt.number <= times => Err(failed(attempt.number)),
            Self::Reject => Err(Interruption::reject("unwanted", "asked to be rejected")),
            Self::RetryAfter { ms } => Err(Interruption::retry_after(
                "busy",
                "asked to come again",
                Duration::from_millis(ms),
            )),
            Self::Snooze { ms, times } if attempt.delivery <= times => {
                Err(Interruption::snooze(Duration::from_millis(ms)))
            }
            Self::Trap => panic!("asked to panic"),
            Self::Exit { code } => std::process::exit(code),
            Self::Spin => spin(),
            Self::Hog => hog(),
            Self::Recursion => Ok(done(json!({"depth": deepen(0)}))),
            Self::Flood { bytes } => flood_with(ctx, bytes),
            Self::Garbage => Ok(Payload::new(stem_guest::JSON, "{\"half\": ")),
            Self::BigOutput { bytes } => Ok(done(json!("x".repeat(bytes.saturating_sub(2))))),
            Self::StopWhenAsked => stop_when_asked(ctx),
            Self::Checkpoint => checkpoint(ctx),
            Self::Sleep { ms } => {
                pause(ms);
                Ok(succeeded(ctx))
            }
            Self::Succeed | Self::FailTimes { .. } | Self::Snooze { .. } => Ok(succeeded(ctx)),
        }
    }
}

fn done(value: serde_json::Value) -> Payload {
    Payload::json(&value)
}

fn succeeded(ctx: &Context) -> Payload {
    done(json!({"attempt": ctx.attempt().number, "delivery": ctx.attempt().delivery}))
}

fn failed(attempt: u32) -> Interruption {
    Interruption::retry("unlucky", "asked to fail").with_detail("attempt", attempt)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a task that sleeps is what the host is tried with"
)]
fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

fn spin() -> ! {
    loop {
        black_box(());
    }
}

fn hog() -> ! {
    let mut hoard = Vec::new();
    loop {
        hoard.push(black_box(vec![1_u8; 1 << 20]));
    }
}

/// Rotating between the calls keeps the compiler from making a loop of it.
#[inline(never)]
fn deepen(depth: u64) -> u64 {
    if depth == u64::MAX {
        depth
    } else {
        (deepen(depth + 1) ^ depth).rotate_left(1)
    }
}

fn flood_with(ctx: &Context, bytes: usize) -> Result<Payload, Interruption> {
    let line = "all work and no play makes a dull log\n";
    for number in 0..bytes.div_ceil(line.len()) {
        std::io::stdout().write_all(line.as_bytes())?;
        std::io::stderr().write_all(line.as_bytes())?;
        ctx.log(Level::Info, line.trim_end(), &[("line", &number)]);
    }
    Ok(succeeded(ctx))
}

fn stop_when_asked(ctx: &Context) -> Result<Payload, Interruption> {
    let mut rounds = 0_u64;
    let reason = loop {
        if let Some(reason) = ctx.stop_requested() {
            break reason;
        }
        rounds += 1;
        pause(1);
    };
    ctx.log(
        Level::Info,
        "stopping",
        &[("reason", &reason), ("rounds", &rounds)],
    );
    ctx.save_checkpoint(&rounds)?;
    Err(Interruption::stopped())
}

fn checkpoint(ctx: &Context) -> Result<Payload, Interruption> {
    if let Some(saved) = ctx.checkpoint::<u32>()? {
        return Ok(done(json!({"saved_by_attempt": saved})));
    }
    ctx.save_checkpoint(&ctx.attempt().number)?;
    Err(failed(ctx.attempt().number))
}
