//! The smallest task: it gives back what it is given, and measures what a sandbox costs.

use stem_guest::{Context, Interruption, Payload};

/// Gives back its payload as it is.
#[stem_guest::task]
fn noop(_ctx: &Context, payload: Payload) -> Result<Payload, Interruption> {
    Ok(payload)
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
