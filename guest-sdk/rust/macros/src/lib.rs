//! The task attribute of `stem-guest`.
#![forbid(unsafe_code)]

use proc_macro::TokenStream;

mod expand;
mod options;
mod settings;

/// Makes a function a task of its module: `fn name(ctx: &Context, input: Input) -> Result<Output, Interruption>`.
///
/// The function stays as it is and can be called natively. Each key is optional:
///
/// | key | value | without it |
/// |---|---|---|
/// | `name` | `"word-count"` | the function's name with `-` for `_` |
/// | `description` | text | the function's doc comment |
/// | `schema` | `false` where a type has no JSON Schema | `true` |
///
/// The others are defaults of the task's policy, which a deployment may override:
///
/// | key | value |
/// |---|---|
/// | `queue` | `"reports"` |
/// | `priority` | 0 to 9, 9 first |
/// | `max_attempts` | 1 to 1000, the first attempt included |
/// | `retry` | `"exponential"`, `"linear"` or `"fixed"` |
/// | `retry_base`, `retry_cap` | `"250ms"`, `"2s"`, `"5m"`, … |
/// | `retry_factor` | a number from 1 |
/// | `retry_jitter` | `true` or `false` |
/// | `soft_time_limit`, `hard_time_limit`, `cpu_time_limit` | `"20s"`, … |
/// | `memory_limit`, `output_limit`, `log_limit` | `"64MiB"`, `"500KiB"` or a number of bytes |
/// | `fuel_limit` | a number |
/// | `result_retention` | `"1d"`, … |
#[proc_macro_attribute]
pub fn task(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand::task(attribute.into(), item.into()).into()
}
