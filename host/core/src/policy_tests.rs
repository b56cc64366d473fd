//! Every setting is read, shown, refused and tightened as it should be.

use super::*;

#[test]
fn every_setting_is_read_as_it_is_shown() {
    let mut policy = TaskPolicy::default();
    for (key, value) in [
        ("queue", "reports"),
        ("priority", "9"),
        ("max-attempts", "3"),
        ("retry", "linear"),
        ("retry-base", "500ms"),
        ("retry-factor", "1.5"),
        ("retry-cap", "1m"),
        ("retry-jitter", "false"),
        ("soft-time-limit", "20s"),
        ("hard-time-limit", "30s"),
        ("cpu-time-limit", "10s"),
        ("memory-limit", "128 MiB"),
        ("fuel-limit", "1000000"),
        ("output-limit", "2 MiB"),
        ("log-limit", "1 KiB"),
        ("enqueue-limit", "10"),
        ("enqueue-size-limit", "2 MiB"),
        ("result-retention", "0s"),
    ] {
        policy.set(key, value).expect("a good setting");
        let shown = policy
            .settings()
            .find(|(name, _)| *name == key)
            .expect("a known setting")
            .1;
        assert_eq!(shown, value, "{key}");
    }
}

#[test]
fn a_bad_setting_is_refused_by_name() {
    let mut policy = TaskPolicy::default();
    let unknown = policy
        .set("max-atempts", "3")
        .expect_err("unknown")
        .to_string();
    assert_eq!(
        unknown,
        "unknown setting `max-atempts`; did you mean `max-attempts`?"
    );
    for (key, value) in [
        ("priority", "10"),
        ("max-attempts", "0"),
        ("retry-factor", "0.5"),
        ("hard-time-limit", "0s"),
        ("cpu-time-limit", "0s"),
        ("memory-limit", "5GiB"),
        ("fuel-limit", "0"),
        ("fuel-limit", "x"),
        ("enqueue-limit", "1000001"),
    ] {
        assert!(
            matches!(policy.set(key, value), Err(PolicyError::BadValue { .. })),
            "{key}"
        );
    }
    assert_eq!(policy, TaskPolicy::default());
}

fn fueled() -> Limits {
    Limits {
        fuel: Some(100),
        ..Limits::default()
    }
}

#[test]
fn an_envelope_tightens_limits_and_never_loosens_them() {
    let own = fueled();
    let asked = TighterLimits {
        soft_time: Some(Duration::from_secs(1)),
        hard_time: Some(Duration::from_secs(600)),
        cpu_time: Some(Duration::from_secs(5)),
        memory: Some(ByteSize::mib(1)),
        fuel: Some(1_000),
    };
    let tightened = Limits {
        soft_time: asked.soft_time,
        cpu_time: asked.cpu_time,
        memory: ByteSize::mib(1),
        ..own.clone()
    };
    assert_eq!(own.tightened_by(&asked), tightened);
}
