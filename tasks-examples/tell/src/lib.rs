//! A task that tells what it was given: for tests and demonstrations of grants.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::time::{Duration, Instant, SystemTime};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use stem_guest::{Context, Interruption, Level, Payload};

/// What to tell.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "tell", rename_all = "kebab-case")]
enum Question {
    /// The value of this name, or null.
    Value {
        /// A key of `config`, or the name of a secret.
        key: String,
    },
    /// How many bytes it has: enough to know that it is there.
    Length {
        /// A key of `config`, or the name of a secret.
        key: String,
    },
    /// Every environment variable, and the arguments.
    Environment,
    /// What both clocks say, twice each, with a sleep in between; and some random numbers.
    Chance {
        /// How long the sleep is, in milliseconds.
        ms: u64,
    },
    /// Reads the clock until so much time has passed.
    Wait {
        /// How much, in milliseconds.
        ms: u64,
    },
    /// How long some work takes, by the monotonic clock, in nanoseconds.
    Measure {
        /// How much work.
        rounds: u64,
    },
    /// Lets a value slip into everything that people read.
    Slip {
        /// The value.
        key: String,
        /// Whether it panics at the end, instead of failing.
        #[serde(default)]
        panic: bool,
    },
}

/// Answers the question.
#[stem_guest::task(retry_base = "100ms", retry_jitter = false, hard_time_limit = "10s")]
fn tell(ctx: &Context, question: Question) -> Result<Payload, Interruption> {
    let answer = match question {
        Question::Value { key } => json!(ctx.config(&key)?),
        Question::Length { key } => json!(ctx.config(&key)?.map(|value| value.len())),
        Question::Environment => environment(),
        Question::Chance { ms } => chance(ms),
        Question::Wait { ms } => wait(ms),
        Question::Measure { rounds } => measure(rounds),
        Question::Slip { key, panic } => return slip(ctx, &key, panic),
    };
    Ok(Payload::json(&answer))
}

#[expect(
    clippy::disallowed_methods,
    reason = "what the environment of a task shows is what the host is tried with"
)]
fn environment() -> Value {
    let variables: BTreeMap<String, String> = std::env::vars().collect();
    let arguments: Vec<String> = std::env::args().collect();
    json!({"variables": variables, "arguments": arguments})
}

#[expect(
    clippy::disallowed_methods,
    reason = "what the clocks of a task say is what the host is tried with"
)]
fn chance(ms: u64) -> Value {
    let (start, wall) = (Instant::now(), since_the_epoch());
    std::thread::sleep(Duration::from_millis(ms));
    let slept = start.elapsed();
    let numbers: HashSet<u64> = (0_u64..4)
        .map(|seed| RandomState::new().hash_one(seed))
        .collect();
    let mut numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
    numbers.sort();
    json!({
        "wall_us": number(wall.as_micros()),
        "slept_us": number(slept.as_micros()),
        "wall_moved_us": number(since_the_epoch().saturating_sub(wall).as_micros()),
        "random": numbers,
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "a task that waits by reading a clock is what the host is tried with"
)]
fn wait(ms: u64) -> Value {
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(ms) {}
    json!("done")
}

#[expect(
    clippy::disallowed_methods,
    reason = "a task that measures is what the host is tried with"
)]
fn measure(rounds: u64) -> Value {
    let start = Instant::now();
    for round in 0..rounds {
        std::hint::black_box(round);
    }
    json!(number(start.elapsed().as_nanos()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "what the clocks of a task say is what the host is tried with"
)]
fn since_the_epoch() -> Duration {
    let now = SystemTime::now();
    now.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

fn number(large: u128) -> u64 {
    u64::try_from(large).unwrap_or(u64::MAX)
}

fn slip(ctx: &Context, key: &str, panics: bool) -> Result<Payload, Interruption> {
    let value = ctx.config(key)?.unwrap_or_default();
    let said = format!("the value is {value}, as it happens");
    ctx.log(Level::Info, &said, &[("value", &value)]);
    ctx.progress(0.5, &said);
    writeln!(std::io::stdout(), "{said}")?;
    writeln!(std::io::stderr(), "{said}")?;
    if panics {
        panic!("{said}");
    }
    Err(Interruption::reject("slipped", &said).with_detail("value", &value))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use stem_guest::{Context, testing};

    fn ask(ctx: Context, question: Value) -> Result<Value, String> {
        let (answer, _) = testing::run_in(ctx, "tell", question);
        let answer = answer.map_err(|interruption| interruption.to_string())?;
        answer.decode().map_err(|error| error.to_string())
    }

    #[test]
    fn it_tells_a_value_and_that_there_is_none() {
        let ctx = || Context::for_test().with_config("REGION", "eu");
        assert_eq!(
            ask(ctx(), json!({"tell": "value", "key": "REGION"})),
            Ok(json!("eu"))
        );
        assert_eq!(
            ask(ctx(), json!({"tell": "length", "key": "REGION"})),
            Ok(json!(2))
        );
        assert_eq!(
            ask(ctx(), json!({"tell": "value", "key": "OTHER"})),
            Ok(Value::Null)
        );
    }

    #[test]
    fn it_lets_a_value_slip() {
        let ctx = Context::for_test().with_config("TOKEN", "hunter2");
        let slipped = ask(ctx, json!({"tell": "slip", "key": "TOKEN"}));
        assert!(slipped.expect_err("fails").contains("hunter2"));
    }

    #[test]
    fn a_context_without_configuration_says_so() {
        let ctx = Context::for_test().with_config_error("not granted");
        let refused = ask(ctx, json!({"tell": "value", "key": "REGION"}));
        assert!(refused.expect_err("fails").contains("not granted"));
    }
}
