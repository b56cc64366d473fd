//! What is the guest's doing, and what is the machine's.

use stem_core::secrets::Secret;

use super::*;
use crate::grants::masks::Masks;
use crate::log::CUT;

/// S4: the reserved kinds of a guest are the host's own words.
#[test]
fn a_rejection_of_a_reserved_kind_is_recorded_as_that() {
    for (kind, expected) in [
        ("invalid-payload", FailureKind::InvalidPayload),
        ("invalid-output", FailureKind::InvalidOutput),
    ] {
        let outcome = rejected(types::Failure {
            kind: kind.to_owned(),
            message: "no amount".to_owned(),
            details: vec![("row".to_owned(), "3".to_owned())],
        });
        let failure = Failure::permanent(expected, "no amount row=3");
        assert_eq!(outcome, Outcome::Failed(failure));
    }
}

/// S4: however deep the engine hides it.
#[test]
fn what_the_machine_refuses_is_no_fault_of_a_module() {
    let errno = wasmtime::Error::new(rustix::io::Errno::NOMEM);
    assert!(is_ours(&errno.context("map memory").context("load it")));
    let refused = wasmtime::Error::new(std::io::Error::other("no room"));
    assert!(is_ours(&refused.context("write the image")));
    assert!(!is_ours(&wasmtime::format_err!("unknown import")));
}

/// M4: what is left of a secret where a long text is cut goes too.
#[test]
fn a_text_that_is_cut_says_so_and_shows_no_half_of_a_secret() {
    let secret = Secret::new("moonshine-at-noon");
    let long = format!("{}{}", "x".repeat(LONGEST_TEXT - 9), secret.reveal());
    let mut kept = text(&long);
    assert!(kept.ends_with(CUT), "{kept}");
    Masks::of([&secret].into_iter()).hide(&mut kept);
    assert!(kept.ends_with(&format!("x***{CUT}")), "{kept}");
    let escapes = "\u{7}".repeat(LONGEST_WORD);
    assert!(word(&escapes).ends_with(CUT));
}
