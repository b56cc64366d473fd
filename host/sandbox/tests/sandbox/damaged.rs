//! What becomes of a component whose bits were changed on the way: it is refused or it works, and the host goes on.

use std::sync::{Arc, LazyLock};

use crate::common::hostile::Hostile;
use crate::common::{Attempt, block_on, program, result, sandbox};
use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;
use stem_core::executor::Program;
use stem_sandbox::{Overrides, Sandbox};

static SANDBOX: LazyLock<Arc<Sandbox>> = LazyLock::new(|| sandbox(2));
static SOUND: LazyLock<Bytes> = LazyLock::new(|| Hostile::default().component());
static NEIGHBOUR: LazyLock<Arc<dyn Program>> =
    LazyLock::new(|| block_on(async { program(&SANDBOX, &SOUND, &[]).await }));

/// The component with these bits the other way round.
fn flipped(flips: &[(Index, u8)]) -> Bytes {
    let mut bytes = SOUND.to_vec();
    for (place, bit) in flips {
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
    }
    bytes.into()
}

/// Where the component's last section ends but for custom ones, such as names: without those it is as good as before.
fn end_of_what_counts() -> usize {
    const HEADER: usize = 8;
    const CUSTOM: u8 = 0;
    let (mut at, mut end) = (HEADER, HEADER);
    while at < SOUND.len() {
        let is_custom = SOUND[at] == CUSTOM;
        at += 1;
        let size = size_at(&mut at);
        at += size;
        end = if is_custom { end } else { at };
    }
    end
}

/// The number that is written there in LEB128; the place moves behind it.
fn size_at(at: &mut usize) -> usize {
    let mut size = 0;
    for shift in (0..).step_by(7) {
        let byte = SOUND[*at];
        *at += 1;
        size |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    size
}

/// Runs what may be deployed; whatever becomes of it is the guest's doing, and no fault of the host.
async fn try_out(module: &Bytes) {
    let overrides = Overrides::parse("[defaults]\nhard-time-limit = \"200ms\"");
    let overrides = overrides.expect("a good policy");
    let Ok(inspected) = SANDBOX.inspect(module, &overrides).await else {
        return;
    };
    let task = inspected.tasks[0].clone();
    let program = SANDBOX
        .program(module, task, &inspected.grants)
        .await
        .expect("it was inspected");
    let ended = Attempt::json("{}").try_run(&program).await;
    ended.expect("no host fault");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// S4, M1
    #[test]
    fn a_component_with_flipped_bits_is_refused_or_works(flips in prop::collection::vec((any::<Index>(), 0..8_u8), 1..4)) {
        let neighbour = Arc::clone(&NEIGHBOUR);
        block_on(async { try_out(&flipped(&flips)).await });
        let served = block_on(async { Attempt::json("{}").run(&neighbour).await });
        prop_assert_eq!(result(&served), "ok");
    }

    /// M1: before the end of its last section that counts.
    #[test]
    fn a_component_that_was_cut_off_is_refused(end in any::<Index>()) {
        let cut = SOUND.slice(..end.index(end_of_what_counts()));
        let inspected = block_on(async { SANDBOX.inspect(&cut, &Overrides::default()).await });
        prop_assert!(inspected.is_err());
    }
}
