//! What is read back, and what is summed.

use super::*;

/// S8, R5: records of before this was counted are read as what they are.
#[test]
fn usage_that_was_stored_without_counts_of_the_host_is_read() {
    let old = r#"{"cpu_us":7,"wall_us":9,"peak_memory_bytes":65536,"fuel":null}"#;
    let usage: Usage = serde_json::from_str(old).expect("it is read");
    assert_eq!((usage.host_calls, usage.bytes_out), (0, 0));
    assert_eq!(usage.wall, Duration::from_micros(9));
    assert_eq!(serde_json::to_string(&usage).expect("JSON"), old);
}

fn key(tenant: Option<&str>) -> UsageKey {
    let task = TaskName::new("t").expect("a name");
    let queue = QueueName::new("q").expect("a name");
    UsageKey::new(task, queue, tenant)
}

/// R4
#[test]
fn a_tenant_is_kept_apart_while_there_is_room_for_its_name_and_its_sums() {
    let tenant = |given: Option<&str>, others| key(given).among(others).tenant;
    let long = "x".repeat(LONGEST_TENANT + 1);
    assert_eq!(tenant(Some("a"), MAX_USAGE_KEYS - 1).as_deref(), Some("a"));
    assert_eq!(tenant(Some("a"), MAX_USAGE_KEYS).as_deref(), Some("other"));
    assert_eq!(tenant(Some(&long), 0).as_deref(), Some("other"));
    assert_eq!(tenant(Some(&long[1..]), 0).as_deref(), Some(&long[1..]));
    assert_eq!(tenant(None, MAX_USAGE_KEYS), None);
    assert_eq!(tenant(Some(""), 0), None);
}

/// S8
#[test]
fn an_hour_begins_where_the_clock_strikes() {
    let time = |text| Timestamp::parse(text).expect("a time");
    let hour = time("2026-11-20T08:00:00Z");
    assert_eq!(hour_of(hour), hour);
    assert_eq!(hour_of(time("2026-11-20T08:59:59.999Z")), hour);
    assert_eq!(first_kept_hour(hour), time("2026-10-20T08:00:00Z"));
}
