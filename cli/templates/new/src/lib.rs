//! Tasks of this module: each function with `#[stem_guest::task]` is one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stem_guest::{Context, Interruption};

/// What the producer sends.
#[derive(Debug, Deserialize, JsonSchema)]
struct Request {
    /// Who is greeted.
    name: String,
}

/// What the task gives back.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct Greeting {
    text: String,
}

/// Greets somebody by name.
#[stem_guest::task(max_attempts = 3, hard_time_limit = "10s")]
fn greet(ctx: &Context, request: Request) -> Result<Greeting, Interruption> {
    let name = request.name.trim();
    if name.is_empty() {
        // Another attempt would not help: the envelope becomes a dead letter.
        return Err(Interruption::reject("no-name", "nobody to greet"));
    }
    log::info!("greeting {name}, attempt {}", ctx.attempt().number);
    ctx.progress(1.0, "greeted");
    Ok(Greeting {
        text: format!("Hello, {name}!"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(name: &str) -> Request {
        Request {
            name: name.to_owned(),
        }
    }

    #[test]
    fn somebody_is_greeted() {
        let greeting = greet(&Context::for_test(), request("Ada"));
        assert_eq!(
            greeting,
            Ok(Greeting {
                text: "Hello, Ada!".to_owned()
            })
        );
    }

    #[test]
    fn nobody_is_not_greeted() {
        let refused = greet(&Context::for_test(), request(" "));
        assert_eq!(
            refused,
            Err(Interruption::reject("no-name", "nobody to greet"))
        );
    }
}
