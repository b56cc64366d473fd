//! Shows the whole system at work.

use anyhow::Result;

/// Runs the demonstration.
pub fn run() -> Result<()> {
    Ok(())
}
