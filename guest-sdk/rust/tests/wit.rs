//! The WIT that the SDK carries is the contract of the repository: a crate can only publish what lies in its folder.

const OWN: &str = include_str!("../wit/task.wit");
const CONTRACT: &str = include_str!("../../../wit/task.wit");

#[test]
fn the_sdk_is_generated_from_the_contract() {
    assert!(
        OWN == CONTRACT,
        "guest-sdk/rust/wit/task.wit differs from wit/task.wit: copy the contract over it"
    );
}
