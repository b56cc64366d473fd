//! Posts its payload to a URL, and knows what to do about every answer.

mod answer;

use serde::Serialize;
use stem_guest::schemars::JsonSchema;
use stem_guest::{Context, Interruption, OrInterrupt, Payload};
use wstd::http::{Body, Client, Request};
use wstd::runtime::block_on;

/// Where to post to.
const URL: &str = "webhook-url";

/// What the receiver said.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct Delivered {
    /// 200 to 299.
    status: u16,
    /// The beginning of its answer.
    answer: String,
}

/// Posts its payload to the URL in the header webhook-url; the envelope's id goes along as idempotency-key.
#[stem_guest::task(max_attempts = 8, retry_base = "5s", hard_time_limit = "30s")]
fn webhook(ctx: &Context, payload: Payload) -> Result<Delivered, Interruption> {
    let Some(url) = ctx.attempt().header(URL) else {
        let message = format!("set the header {URL} to where this is to be posted");
        return Err(Interruption::reject("no-url", message));
    };
    let request = Request::post(url)
        .header("content-type", payload.content_type)
        .header("content-length", payload.body.len())
        .header("idempotency-key", &ctx.attempt().id)
        .body(Body::from(payload.body))
        .or_reject("bad-request")?;
    let answer = block_on(async { Client::new().send(request).await });
    let answer = answer.map_err(|error| answer::none(&error))?;
    let (head, body) = answer.into_parts();
    let said = block_on(answer::beginning(body));
    answer::judge(head.status, &head.headers, &said)?;
    Ok(Delivered {
        status: head.status.as_u16(),
        answer: said,
    })
}

#[cfg(test)]
mod tests {
    use stem_guest::testing;

    use super::*;

    #[test]
    fn an_envelope_without_a_url_is_rejected() {
        let (refused, _) = testing::run_in(
            Context::for_test(),
            "webhook",
            Payload::new("text/plain", "x"),
        );
        let refused = refused.expect_err("no URL").to_string();
        assert!(refused.starts_with("rejected: no-url"), "{refused}");
    }

    #[test]
    fn a_url_that_is_none_is_rejected() {
        let ctx = Context::for_test().with_header(URL, "not a url");
        let (refused, _) = testing::run_in(ctx, "webhook", Payload::new("text/plain", "x"));
        let refused = refused.expect_err("no URL").to_string();
        assert!(refused.starts_with("rejected: bad-request"), "{refused}");
    }
}
