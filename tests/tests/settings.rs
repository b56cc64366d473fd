//! What the task attribute takes when a module is built is what the host takes when it is deployed.

use stem_core::policy::TaskPolicy;

#[path = "../../guest-sdk/rust/macros/src/settings.rs"]
mod attribute;

use attribute::{Form, SETTINGS};

/// Good and bad values of every kind; each is tried on every setting.
const VALUES: [&str; 30] = [
    "",
    "0",
    "1",
    "9",
    "10",
    "1000",
    "1001",
    "-1",
    "0.5",
    "1.5",
    "1e3",
    "inf",
    "NaN",
    "true",
    "linear",
    "sometimes",
    "0s",
    "5 m",
    " 30s ",
    "1.5s",
    "250ms",
    "3000000000000000h",
    "64MiB",
    "1 KiB",
    "64 elephants",
    "4GiB",
    "5GiB",
    "17179869185GiB",
    "two words",
    "reports.daily",
];

#[test]
fn the_attribute_has_the_settings_of_the_policy() {
    let own: Vec<String> = SETTINGS.map(|one| one.key.replace('_', "-")).into();
    let policy = TaskPolicy::default();
    let policys: Vec<&str> = policy.settings().map(|(key, _)| key).collect();
    assert_eq!(own, policys);
}

#[test]
fn the_attribute_takes_the_values_that_the_policy_takes() {
    // The compiler itself sees to it that a bool is one.
    for setting in SETTINGS.iter().filter(|one| one.form != Form::Bool) {
        for value in VALUES {
            let key = setting.key.replace('_', "-");
            let policys = TaskPolicy::default().set(&key, value).is_ok();
            assert_eq!((setting.check)(value).is_ok(), policys, "{key} = {value}");
        }
    }
}
