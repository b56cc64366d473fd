//! What is the guest's doing, and what is the machine's.

use super::*;

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
