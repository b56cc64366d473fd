//! A task whose payload chooses what it does with the network: for tests of what the host does about it.

mod deeds;
mod wire;

use stem_guest::{Context, Interruption, Payload};

use deeds::Deed;

/// Does to a server, and to its host, what its payload chooses: get, again, follow, many,
/// hoard, upload, cut-off, bodies, fields, parts.
#[stem_guest::task(max_attempts = 1, hard_time_limit = "10s", memory_limit = "32MiB")]
fn misbehave_http(_ctx: &Context, deed: Deed) -> Result<Payload, Interruption> {
    Ok(deed.commit().into())
}
