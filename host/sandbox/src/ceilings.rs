//! What a module's own defaults may ask for: beyond that, only its operator may go.
//!
//! Whoever writes a module need not be who pays for the machine: a log without an end would take all its memory.

use stem_core::names::TaskName;
use stem_core::policy::Limits;
use stem_core::units::ByteSize;

use crate::deploy_error::DeployError;
use crate::overrides::Overrides;

/// Memory that a module may ask for: a bulk operation on more may outlast the hard time limit by more than 50 ms (S3).
pub(crate) const MEMORY: ByteSize = ByteSize::mib(256);
const OUTPUT: ByteSize = ByteSize::mib(16);
const LOG: ByteSize = ByteSize::mib(1);

type Ceiling = (
    &'static str,
    fn(&Limits) -> ByteSize,
    ByteSize,
    &'static str,
);

const CEILINGS: [Ceiling; 3] = [
    (
        "memory-limit",
        |limits| limits.memory,
        MEMORY,
        "deploy it with --memory, or set `memory-limit` in stem.toml",
    ),
    (
        "output-limit",
        |limits| limits.output,
        OUTPUT,
        "set `output-limit` in stem.toml",
    ),
    (
        "log-limit",
        |limits| limits.log,
        LOG,
        "set `log-limit` in stem.toml",
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
                asked,
                most,
                remedy,
            });
        }
    }
    Ok(())
}
