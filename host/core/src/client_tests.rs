//! How a payload is checked against a task's schema.

use super::*;

/// E6: a schema speaks of JSON, and of MessagePack as far as that has a form in JSON.
#[test]
fn message_pack_is_checked_where_it_has_a_form_in_json() {
    let schema = serde_json::json!({"properties": {"n": {"type": "integer"}}});
    let schema = jsonschema::validator_for(&schema).expect("a schema");
    let fits = |body: &[u8]| {
        let payload = Payload::new("application/x-msgpack", body.to_vec());
        fits(&schema, &payload).is_ok()
    };
    assert!(fits(b"\x81\xa1n\x01"));
    assert!(!fits(b"\x81\xa1n\xa1a"));
    assert!(fits(b"\x81\xa1n\xc4\x01a"), "bytes");
    assert!(fits(b"\x81\x01\x02"), "a key that is a number");
}
