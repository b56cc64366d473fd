//! The WIT that the SDK carries is the contract of the repository: a crate can only publish what lies in its folder.

const OWN: &str = include_str!("../wit/task.wit");
const CONTRACT: &str = include_str!("../../../wit/task.wit");

const OWN_BUCKETS: &str = include_str!("../wit/deps/wasi-keyvalue-0.2.0-draft2.wit");
const BUCKETS: &str = include_str!("../../../wit/deps/wasi-keyvalue-0.2.0-draft2.wit");

#[test]
fn the_sdk_is_generated_from_the_contract() {
    assert!(
        OWN == CONTRACT,
        "guest-sdk/rust/wit/task.wit differs from wit/task.wit: copy the contract over it"
    );
}

#[test]
fn buckets_are_generated_from_what_the_host_serves() {
    assert!(
        OWN_BUCKETS == BUCKETS,
        "copy wit/deps over guest-sdk/rust/wit/deps"
    );
}
