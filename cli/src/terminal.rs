//! Questions to the person at the terminal: whatever destroys asks first, or takes `--yes`.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::Result;

use crate::errors::{Exit, Failure};

/// How a destructive command may go about its work.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Consent {
    /// Do it without asking
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
}

impl Consent {
    /// Goes on where the person agrees; `deed` completes "really …?", such as "purge 3 envelopes of `default`".
    pub fn obtain(self, deed: &str) -> Result<()> {
        if self.yes {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return Err(Failure::usage(
                deed,
                "this asks first, and there is no terminal to ask on",
            )
            .hint("--yes goes ahead, --dry-run only counts")
            .into());
        }
        let mut stderr = std::io::stderr().lock();
        write!(stderr, "Really {deed}? [y/N] ")?;
        stderr.flush()?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        if ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
            return Ok(());
        }
        Err(Failure::new(Exit::Refused, deed, "not confirmed: nothing was changed").into())
    }
}
