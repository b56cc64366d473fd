//! Takes numbers apart: a number in, its prime factors out, remembered in a bucket for whoever asks again.
//!
//! Deploy it with `--allow-bucket factors`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stem_guest::{Context, Interruption};

/// Where the answers lie.
const BUCKET: &str = "factors";
/// Counts how often any number was asked for: a hint, since an attempt may be repeated.
const ASKED: &str = "asked";

/// What is taken apart.
#[derive(Debug, Deserialize, JsonSchema)]
struct Input {
    /// A number from 1 on.
    number: u64,
}

/// The answer.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
struct Output {
    /// The prime factors, the smallest first.
    factors: Vec<u64>,
    /// Whether an earlier attempt had found them.
    remembered: bool,
    /// How many answers were asked for so far.
    asked: i64,
}

/// Gives the prime factors of a number, and remembers them.
#[stem_guest::task(hard_time_limit = "30s")]
fn factors(ctx: &Context, input: Input) -> Result<Output, Interruption> {
    let known = ctx.bucket(BUCKET)?;
    let asked = known.increment(ASKED, 1)?;
    let key = format!("of/{}", input.number);
    if let Some(answer) = known.get(&key)? {
        return Ok(Output {
            factors: serde_json::from_slice(&answer)?,
            remembered: true,
            asked,
        });
    }
    let factors = prime_factors(input.number);
    known.set(&key, serde_json::to_vec(&factors)?)?;
    Ok(Output {
        factors,
        remembered: false,
        asked,
    })
}

fn prime_factors(mut number: u64) -> Vec<u64> {
    let mut factors = Vec::new();
    let mut candidate = 2;
    while candidate <= number / candidate {
        match number % candidate {
            0 => {
                factors.push(candidate);
                number /= candidate;
            }
            _ => candidate += 1,
        }
    }
    if number > 1 {
        factors.push(number);
    }
    factors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(ctx: &Context, number: u64) -> Output {
        factors(ctx, Input { number }).expect("an answer")
    }

    #[test]
    fn the_factors_of_a_number_make_the_number() {
        for number in [1, 2, 12, 97, 1_001, 4_294_967_291] {
            let product: u64 = prime_factors(number).iter().product();
            assert_eq!(product, number);
        }
        assert_eq!(prime_factors(60), [2, 2, 3, 5]);
    }

    #[test]
    fn an_answer_is_remembered() {
        let ctx = Context::for_test().with_bucket(BUCKET, &[]);
        assert!(!ask(&ctx, 12).remembered);
        let again = ask(&ctx, 12);
        assert_eq!((again.factors, again.asked), (vec![2, 2, 3], 2));
        assert!(again.remembered);
        assert_eq!(ctx.recorded().buckets[BUCKET]["of/12"], b"[2,2,3]");
    }

    #[test]
    fn without_its_bucket_it_fails() {
        let refused = factors(&Context::for_test(), Input { number: 1 }).expect_err("no bucket");
        assert!(refused.to_string().contains("does not grant"), "{refused}");
    }
}
