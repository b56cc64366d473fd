//! What a module's own defaults may ask for: beyond that, only its operator may go.
//!
//! Whoever writes a module need not be who pays for the machine: a log without an end would take all its memory.

use std::fmt;

use stem_core::names::TaskName;
use stem_core::policy::Limits;
use stem_core::units::ByteSize;

use crate::deploy_error::DeployError;
use crate::overrides::Overrides;

/// Memory that a module may ask for: a bulk operation on more may outlast the hard time limit by more than 50 ms (S3).
pub(crate) const MEMORY: ByteSize = ByteSize::mib(256);
const OUTPUT: ByteSize = ByteSize::mib(16);
const LOG: ByteSize = ByteSize::mib(1);
const ENQUEUE: Amount = Amount::Number(10_000);
const ENQUEUE_SIZE: ByteSize = ByteSize::mib(16);

/// So much of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Amount {
    Size(ByteSize),
    Number(u32),
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(size) => size.fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}

type Ceiling = (&'static str, fn(&Limits) -> Amount, Amount, &'static str);

const CEILINGS: [Ceiling; 5] = [
    (
        "memory-limit",
        |limits| Amount::Size(limits.memory),
        Amount::Size(MEMORY),
        "deploy it with --memory, or set `memory-limit` in stem.toml",
    ),
    (
        "output-limit",
        |limits| Amount::Size(limits.output),
        Amount::Size(OUTPUT),
        "set `output-limit` in stem.toml",
    ),
    (
        "log-limit",
        |limits| Amount::Size(limits.log),
        Amount::Size(LOG),
        "set `log-limit` in stem.toml",
    ),
    (
        "enqueue-limit",
        |limits| Amount::Number(limits.enqueue),
        ENQUEUE,
        "set `enqueue-limit` in stem.toml",
    ),
    (
        "enqueue-size-limit",
        |limits| Amount::Size(limits.enqueue_size),
        Amount::Size(ENQUEUE_SIZE),
        "set `enqueue-size-limit` in stem.toml",
    ),
];

/// Refuses a module's defaults that go beyond, unless the operator says what counts instead.
pub(crate) fn check(
    task: &TaskName,
    own: &Limits,
    overrides: &Overrides,
) -> Result<(), DeployError> {
    for (key, limit, most, remedy) in CEILINGS {
        let asked = limit(own);
        if asked > most && !overrides.says(task, key) {
            return Err(DeployError::TooGreedy {
                task: task.clone(),
                key,
                asked: asked.to_string(),
                most: most.to_string(),
                remedy,
            });
        }
    }
    Ok(())
}
