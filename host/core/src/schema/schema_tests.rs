//! Which schemas are taken, and what checking a payload may cost.

use serde_json::json;

use super::*;

fn compiled(schema: &Value) -> Result<Schema, SchemaError> {
    Schema::compile(&schema.to_string())
}

fn good(schema: &Value) -> Schema {
    compiled(schema).expect("a schema")
}

fn refused(schema: &Value) -> String {
    compiled(schema).err().expect("refused").to_string()
}

/// Definitions, each made from the name of the next; the last is a text.
fn chain(length: usize, link: impl Fn(Value) -> Value) -> Value {
    let name = |number: usize| format!("#/$defs/d{number}");
    let mut definitions: serde_json::Map<String, Value> = (0..length)
        .map(|number| {
            (
                format!("d{number}"),
                link(json!({"$ref": name(number + 1)})),
            )
        })
        .collect();
    definitions.insert(format!("d{length}"), json!({"type": "string"}));
    json!({"$ref": "#/$defs/d0", "$defs": definitions})
}

/// E6: a schema speaks of JSON, and of MessagePack as far as that has a form in JSON.
#[test]
fn message_pack_is_checked_where_it_has_a_form_in_json() {
    let schema = good(&json!({"properties": {"n": {"type": "integer"}}}));
    let fits = |body: &[u8]| {
        let payload = Payload::new("application/x-msgpack", body.to_vec());
        schema.check(&payload).is_ok()
    };
    assert!(fits(b"\x81\xa1n\x01"));
    assert!(!fits(b"\x81\xa1n\xa1a"));
    assert!(fits(b"\x81\xa1n\xc4\x01a"), "bytes");
    assert!(fits(b"\x81\x01\x02"), "a key that is a number");
}

/// E6
#[test]
fn what_differs_is_said_with_its_place() {
    let schema = good(&json!({"properties": {"n": {"enum": ["a", 1, [2]]}}, "required": ["n"]}));
    for (value, problem) in [
        (json!({"n": "a"}), None),
        (json!({"n": 1.0}), None),
        (json!({"n": [2]}), None),
        (json!({}), Some("\"n\" is a required property")),
        (
            json!({"n": "b"}),
            Some("\"b\" is not one of \"a\", 1 or [2] (at /n)"),
        ),
    ] {
        let said = schema.check_value(&value).err();
        assert_eq!(said.as_deref(), problem, "{value}");
    }
}

/// E6: the same rules where it is deployed and where it is used.
#[test]
fn another_draft_in_a_schema_changes_nothing() {
    let draft4 = "http://json-schema.org/draft-04/schema#";
    let schema = good(&json!({"$schema": draft4, "$id": "urn:x", "exclusiveMinimum": 3}));
    assert!(schema.check_value(&json!(3)).is_err());
    assert!(schema.check_value(&json!(4)).is_ok());
    let old = json!({"$schema": draft4, "minimum": 3, "exclusiveMinimum": true});
    assert!(
        refused(&old).contains("true is not of type"),
        "{}",
        refused(&old)
    );
}

/// S3: 2^64 looks at one value.
#[test]
fn a_schema_that_multiplies_itself_is_refused() {
    for keyword in ["allOf", "anyOf", "oneOf"] {
        let doubled = chain(20, |next| json!({keyword: [next, next]}));
        assert_eq!(refused(&doubled), SchemaError::TooWide.to_string());
    }
    let by_name = chain(
        20,
        |next| json!({"dependentSchemas": {"a": next, "b": next}}),
    );
    assert_eq!(refused(&by_name), SchemaError::TooWide.to_string());
}

/// S3
#[test]
fn a_schema_that_goes_too_deep_in_one_place_is_refused() {
    let deep = SchemaError::TooDeep.to_string();
    assert_eq!(refused(&chain(5_000, |next| next)), deep);
    assert_eq!(refused(&json!({"$ref": "#"})), deep);
    assert_eq!(refused(&json!({"not": {"if": {"$ref": "#/not"}}})), deep);
    let mut below = chain(65, |next| next);
    below["$ref"] = json!("#/$defs/d64");
    assert_eq!(refused(&below), deep, "also where nothing leads to");
    assert!(compiled(&chain(30, |next| json!({"not": next}))).is_ok());
}

/// S3
#[test]
fn what_leads_out_of_a_schema_is_refused() {
    for reference in [
        "#/$defs/none",
        "https://example.com/schema",
        "other.json",
        "#name",
    ] {
        let said = refused(&json!({"items": {"$ref": reference}}));
        assert!(
            said.contains(&format!("`{reference}` leads nowhere")),
            "{said}"
        );
    }
}

/// S3
#[test]
fn what_means_something_else_elsewhere_is_refused() {
    for keyword in ["$id", "$dynamicRef", "$recursiveRef"] {
        let said = refused(&json!({"items": {keyword: "#x"}}));
        assert!(said.contains(keyword), "{said}");
    }
}

#[test]
fn a_reference_may_be_written_as_in_an_address() {
    let encoded = json!({"$ref": "#/$defs/a%3Cb~1c%3E", "$defs": {"a<b/c>": {"type": "null"}}});
    assert!(good(&encoded).check_value(&json!(1)).is_err());
}

/// S3: a type that contains itself is usual.
#[test]
fn a_schema_may_lead_back_to_itself_below_a_value() {
    let node = json!({"properties": {"next": {"$ref": "#"}}, "required": ["n"]});
    let schema = good(&node);
    let value = |last: Value| (0..100).fold(last, |next, n| json!({"n": n, "next": next}));
    assert_eq!(schema.check_value(&value(json!({"n": 0}))), Ok(()));
    assert!(schema.check_value(&value(json!({}))).is_err());
}

/// S3: whatever multiplies them.
#[test]
fn a_check_that_takes_too_many_steps_is_given_up() {
    let texts = json!(vec!["x".repeat(1 << 20); 30]);
    let numbers = json!(vec![1; 100_000]);
    let items = json!({"items": {"minimum": 0}});
    for (schema, value) in [
        (json!({"items": {"pattern": "x$"}}), texts),
        (json!({"allOf": vec![items; 200]}), numbers),
    ] {
        let said = good(&schema).check_value(&value).expect_err("given up");
        assert!(said.contains("more than 10000000 steps"), "{said}");
        assert_eq!(good(&schema).check_value(&json!([])), Ok(()));
    }
}

/// S3: on the stack of a small thread.
#[test]
fn a_check_that_goes_too_deep_is_given_up() {
    let mut schema = chain(20, |next| json!({"not": {"not": next}}));
    schema["$defs"]["d20"] = json!({"items": {"$ref": "#"}});
    let schema = good(&schema);
    let nested = |depth| (0..depth).fold(json!([]), |inner, _| Value::Array(vec![inner]));
    let check = move || [3, 1_500].map(|depth| schema.check_value(&nested(depth)));
    let small = std::thread::Builder::new().stack_size(2 << 20);
    let [shallow, deep] = small
        .spawn(check)
        .expect("a thread")
        .join()
        .expect("it ends");
    assert_eq!(shallow, Ok(()));
    let said = deep.expect_err("given up");
    assert!(said.contains("nested too deeply"), "{said}");
}

/// S3
#[test]
fn patterns_are_of_the_kind_that_takes_no_longer_for_longer_texts() {
    for pattern in ["^(?=a)b", "(", "^((a{1,99}){1,99}){1,99}$"] {
        let said = refused(&json!({"pattern": pattern}));
        assert_eq!(
            said,
            SchemaError::Pattern(format!("{pattern:?}")).to_string()
        );
    }
    let many: Vec<Value> = (0..65).map(|n| json!({"pattern": n.to_string()})).collect();
    let too_many = SchemaError::TooManyPatterns.to_string();
    assert_eq!(refused(&json!({"prefixItems": many})), too_many);
    let usual = good(&json!({"pattern": r"^[\w.+-]+@[\w-]+\.[\w.-]{2,64}$"}));
    assert!(usual.check_value(&json!("a.b@example.com")).is_ok());
}

#[test]
fn a_schema_that_is_none_is_refused() {
    assert!(refused(&json!({"type": "nonsense"})).contains("nonsense"));
    assert!(Schema::compile("{").is_err());
    let long = json!({"description": "x".repeat(LONGEST)});
    assert!(refused(&long).contains("over the limit of 262144"));
}
