//! Tasks as their authors write them, through the registry: what is described, and what goes in and comes out.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use stem_guest::{CheckpointError, Context, Interruption, Level, Payload, StopReason, testing};

#[derive(Debug, Deserialize, JsonSchema)]
struct Order {
    cents: u32,
    /// Who pays.
    #[serde(default)]
    customer: Option<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Receipt {
    total: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer: Option<String>,
}

/// Adds the tax.
///
/// A tenth.
#[stem_guest::task(
    queue = "billing",
    max_attempts = 5,
    retry_jitter = false,
    memory_limit = "64MiB"
)]
fn add_tax(_ctx: &Context, order: Order) -> Result<Receipt, Interruption> {
    Ok(Receipt {
        total: order.cents + order.cents / 10,
        customer: order.customer,
    })
}

#[stem_guest::task(name = "images/flip", description = "Reverses bytes.")]
fn reverse(_ctx: &Context, payload: Payload) -> Result<Payload, Interruption> {
    Ok(Payload::new(
        payload.content_type,
        payload.body.into_iter().rev().collect::<Vec<_>>(),
    ))
}

/// Has no schema of its own.
#[derive(Deserialize)]
struct Undescribed(u8);

#[stem_guest::task(schema = false)]
fn undescribed(_ctx: &Context, Undescribed(number): Undescribed) -> Result<u8, Interruption> {
    Ok(number)
}

#[stem_guest::task]
fn shout(_ctx: &Context, text: String) -> Result<String, Interruption> {
    Ok(text.to_uppercase())
}

/// Sums up what it counted before, one by one.
#[stem_guest::task]
fn count_up(ctx: &Context, upto: u32) -> Result<u32, Interruption> {
    let mut count = ctx.checkpoint::<u32>()?.unwrap_or(0);
    while count < upto {
        if let Some(reason) = ctx.stop_requested() {
            ctx.log(Level::Warn, "stopping", &[("reason", &reason)]);
            ctx.save_checkpoint(&count)?;
            return Err(Interruption::stopped());
        }
        count += 1;
        ctx.progress(f64::from(count) / f64::from(upto), count.to_string());
    }
    Ok(count)
}

fn schema(text: Option<&String>) -> Value {
    serde_json::from_str(text.expect("a schema")).expect("JSON")
}

#[test]
fn a_module_lists_all_its_tasks_by_name() {
    let names: Vec<&str> = testing::tasks().iter().map(|task| task.name).collect();
    assert_eq!(
        names,
        ["add-tax", "count-up", "images/flip", "shout", "undescribed"]
    );
}

#[test]
fn a_task_is_described_by_its_attribute_and_its_doc_comment() {
    let task = testing::task("add-tax").expect("registered");
    assert_eq!(task.description, "Adds the tax.\n\nA tenth.");
    let defaults = BTreeMap::from([
        ("queue", "billing"),
        ("max-attempts", "5"),
        ("retry-jitter", "false"),
        ("memory-limit", "64MiB"),
    ]);
    assert_eq!(
        task.defaults.iter().copied().collect::<BTreeMap<_, _>>(),
        defaults
    );
    assert_eq!(
        testing::task("images/flip").map(|task| task.description),
        Some("Reverses bytes.")
    );
}

#[test]
fn schemas_say_what_is_read_and_what_is_written() {
    let schemas = (testing::task("add-tax").expect("registered").schemas)();
    let payload = schema(schemas.payload.as_ref());
    assert_eq!(
        payload["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    assert_eq!(payload["required"], json!(["cents"]));
    assert_eq!(
        payload["properties"]["customer"]["description"],
        "Who pays."
    );
    assert_eq!(
        schema(schemas.result.as_ref())["required"],
        json!(["total"])
    );
}

#[test]
fn bytes_and_undescribed_types_have_no_schema() {
    for name in ["images/flip", "undescribed"] {
        let schemas = (testing::task(name).expect("registered").schemas)();
        assert_eq!(schemas, testing::Schemas::default(), "{name}");
    }
}

#[test]
fn json_in_gives_json_out() {
    let result = testing::run("add-tax", json!({"cents": 100, "customer": "Ada"}));
    assert_eq!(
        result,
        Ok(Payload::new(
            stem_guest::JSON,
            r#"{"total":110,"customer":"Ada"}"#
        ))
    );
}

#[test]
fn message_pack_in_gives_message_pack_out() {
    // {"cents": 100} and {"total": 110}, by hand.
    let order = Payload::new("application/msgpack", b"\x81\xa5cents\x64".as_slice());
    let receipt = Payload::new("application/msgpack", b"\x81\xa5total\x6e".as_slice());
    assert_eq!(testing::run("add-tax", order), Ok(receipt));
}

#[test]
fn text_in_gives_json_out() {
    let result = testing::run("shout", Payload::text("hey"));
    assert_eq!(result, Ok(Payload::new(stem_guest::JSON, r#""HEY""#)));
}

#[test]
fn bytes_pass_as_they_are() {
    let result = testing::run("images/flip", Payload::new("image/png", [1, 2, 3]));
    assert_eq!(result, Ok(Payload::new("image/png", [3, 2, 1])));
}

#[test]
fn a_payload_that_does_not_fit_is_rejected_with_its_place() {
    let refused = testing::run("add-tax", json!({"cents": "many"})).expect_err("no number");
    assert_eq!(
        refused.to_string(),
        "rejected: invalid-payload: the payload does not fit: \
         invalid type: string \"many\", expected u32 at line 1 column 15"
    );
}

#[test]
fn an_unknown_task_is_rejected() {
    let refused = testing::run("add-tacks", json!(1)).expect_err("unknown");
    assert_eq!(
        refused,
        Interruption::reject("unknown-task", "this module has no task named `add-tacks`")
    );
}

#[test]
fn a_stopped_task_goes_on_from_its_checkpoint() {
    let ctx = Context::for_test().with_stop_after(3, StopReason::Shutdown);
    assert_eq!(count_up(&ctx, 5), Err(Interruption::Stopped));
    let recorded = ctx.recorded();
    assert_eq!(
        recorded.log[0].fields,
        [("reason".to_owned(), "shutdown".to_owned())]
    );
    assert_eq!(recorded.progress.last(), Some(&(0.6, "3".to_owned())));

    let next = Context::for_test().with_checkpoint(&3);
    assert_eq!(count_up(&next, 5), Ok(5));
    assert_eq!(next.recorded().progress.len(), 2);
}

#[test]
fn a_checkpoint_that_fails_is_tried_again() {
    let lost = CheckpointError::Unavailable("no route".to_owned());
    let ctx = Context::for_test().with_checkpoint_error(lost);
    let failed = count_up(&ctx, 1).expect_err("no store");
    assert_eq!(
        failed.to_string(),
        "failed: error: the store for checkpoints cannot be reached: no route"
    );
    let misfit = Context::for_test()
        .with_checkpoint("three")
        .checkpoint::<u32>();
    assert!(matches!(misfit, Err(CheckpointError::Misfit(why)) if why.contains("expected u32")));
}

#[test]
fn progress_stays_between_nothing_and_all() {
    let ctx = Context::for_test();
    for fraction in [-1.0, 0.5, 7.0, f64::NAN] {
        ctx.progress(fraction, "");
    }
    let fractions = ctx
        .recorded()
        .progress
        .iter()
        .map(|(fraction, _)| *fraction)
        .collect::<Vec<_>>();
    assert_eq!(fractions, [0.0, 0.5, 1.0, 0.0]);
}
