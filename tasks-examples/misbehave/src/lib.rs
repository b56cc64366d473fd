//! A task whose payload chooses its fate: for tests and demonstrations of what the host does about it.

mod fates;

use stem_guest::{Context, Interruption, Payload};

use fates::Fate;

/// Meets the fate that its payload chooses: succeed, fail, reject, trap, spin, hog, …
#[stem_guest::task(retry_base = "100ms", retry_jitter = false, hard_time_limit = "5s")]
fn misbehave(ctx: &Context, fate: Fate) -> Result<Payload, Interruption> {
    fate.meet(ctx)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use stem_guest::{Context, Interruption, Payload, StopReason, testing};

    fn meet(ctx: Context, fate: Value) -> (Result<Payload, Interruption>, Context) {
        testing::run_in(ctx, "misbehave", fate)
    }

    fn on_attempt(number: u32) -> Context {
        Context::for_test()
            .with_attempt(|attempt| (attempt.number, attempt.delivery) = (number, number))
    }

    #[test]
    fn it_fails_as_often_as_it_is_told() {
        let fate = json!({"fate": "fail-times", "times": 2});
        assert!(matches!(
            meet(on_attempt(2), fate.clone()).0,
            Err(Interruption::Retry(_))
        ));
        assert!(meet(on_attempt(3), fate).0.is_ok());
    }

    #[test]
    fn it_snoozes_once_unless_it_is_told_otherwise() {
        let fate = json!({"fate": "snooze", "ms": 5});
        let snoozed = Err(Interruption::snooze(std::time::Duration::from_millis(5)));
        assert_eq!(meet(on_attempt(1), fate.clone()).0, snoozed);
        assert!(meet(on_attempt(2), fate).0.is_ok());
    }

    #[test]
    fn it_returns_the_checkpoint_of_the_attempt_before() {
        let (failed, ctx) = meet(on_attempt(1), json!({"fate": "checkpoint"}));
        assert!(matches!(failed, Err(Interruption::Retry(_))));
        let (returned, _) = meet(ctx, json!({"fate": "checkpoint"}));
        assert_eq!(returned, Ok(json!({"saved_by_attempt": 1}).into()));
    }

    #[test]
    fn it_stops_when_it_is_asked() {
        let ctx = Context::for_test().with_stop_after(2, StopReason::Shutdown);
        let (stopped, ctx) = meet(ctx, json!({"fate": "stop-when-asked"}));
        assert_eq!(stopped, Err(Interruption::Stopped));
        assert_eq!(ctx.checkpoint::<u64>(), Ok(Some(2)));
    }

    #[test]
    fn its_garbage_is_no_json() {
        let (garbage, _) = meet(Context::for_test(), json!({"fate": "garbage"}));
        assert!(garbage.expect("returned").decode::<Value>().is_err());
    }

    #[test]
    fn an_unknown_fate_is_rejected() {
        let (refused, _) = meet(Context::for_test(), json!({"fate": "marry"}));
        assert!(
            refused
                .expect_err("unknown")
                .to_string()
                .contains("unknown variant `marry`")
        );
    }
}
