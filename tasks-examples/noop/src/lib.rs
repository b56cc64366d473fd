//! The smallest tasks: one gives back what it is given, one never ends. They measure what a sandbox costs, and how
//! quickly it ends what does not end by itself.

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

#[cfg(test)]
mod tests {
    use stem_guest::{Payload, testing};

    #[test]
    fn a_payload_comes_back_as_it_is() {
        let payload = Payload::new("image/png", [0x89, b'P', b'N', b'G']);
        assert_eq!(testing::run("noop", payload.clone()), Ok(payload));
    }
}
