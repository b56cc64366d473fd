//! The smallest tasks: one gives back what it is given, one never ends, one sleeps. They measure what a sandbox costs,
//! how quickly it ends what does not end by itself, and what it takes while nothing happens in it.

use std::time::Duration;

use stem_guest::{Context, Interruption, Payload};

/// Gives back its payload as it is.
#[stem_guest::task]
fn noop(_ctx: &Context, payload: Payload) -> Result<Payload, Interruption> {
    Ok(payload)
}

/// Never ends by itself.
#[stem_guest::task]
fn spin(_ctx: &Context, _payload: Payload) -> Result<Payload, Interruption> {
    loop {
        std::hint::spin_loop();
    }
}

/// Sleeps, and never ends by itself.
#[stem_guest::task]
#[expect(
    clippy::disallowed_methods,
    reason = "a task that sleeps is what the host is tried with"
)]
fn sleep(_ctx: &Context, _payload: Payload) -> Result<Payload, Interruption> {
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

#[cfg(test)]
mod tests {
    use stem_guest::{Payload, testing};

    #[test]
    fn a_payload_comes_back_as_it_is() {
        let payload = Payload::new("image/png", [0x89, b'P', b'N', b'G']);
        assert_eq!(testing::run("noop", payload.clone()), Ok(payload));
    }
}
