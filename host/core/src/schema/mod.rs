//! A task's JSON Schema: whether it can be used, and whether a payload fits it (E6, S3).
//!
//! A schema is a module's own, and nobody has looked at it: where it is deployed and where it is used the same bounds
//! hold, and what holding a payload against it may cost is counted while that is done.

mod metered;
mod reach;

use std::sync::Arc;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

use crate::payload::{self, Format, Payload};
use metered::{MOST_STEPS, Metered, MeteredJson, metered};

/// The longest schema that is taken.
const LONGEST: usize = 256 << 10;
/// Bytes that one compiled `pattern` may take: enough for a thousand repetitions of a class.
const LARGEST_PATTERN: usize = 1 << 20;
/// Steps for what to say of a payload that does not fit: each writes down what is wrong, and takes longer.
const STEPS_TO_SAY: usize = MOST_STEPS / 10;
/// Compiling follows what is nested in a schema, deeper than the stack of any thread of ours may be.
const COMPILER_STACK: usize = 32 << 20;

/// A compiled schema, as draft 2020-12, whatever its `$schema` says.
#[derive(Clone)]
pub struct Schema(Arc<Validator<MeteredJson>>);

/// Why a schema cannot be used, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// Too many bytes.
    #[error("it has {0} bytes, over the limit of {LONGEST}: describe less of the value")]
    TooLong(usize),
    /// Not even JSON.
    #[error("it is no JSON: {0}")]
    NotJson(String),
    /// A reference to something that is not in it.
    #[error(
        "its `$ref` to `{0}` leads nowhere: refer to a part of the same schema, such as `#/$defs/NAME`"
    )]
    Reference(String),
    /// A keyword that makes it mean something else elsewhere.
    #[error("it has a `{0}` where this host takes none: use `$ref` and `$defs` in one schema")]
    Keyword(&'static str),
    /// One value goes through a long line of schemas.
    #[error(
        "a value in it goes through more than {} schemas, each within or after the other: use fewer `$ref`, `allOf` and their like in a row, and none that leads back to itself",
        reach::DEEPEST
    )]
    TooDeep,
    /// One value is looked at by many schemas.
    #[error(
        "a value in it is held against more than {} schemas: let `allOf`, `anyOf`, `oneOf` and their like repeat less",
        reach::MOST_SCHEMAS
    )]
    TooWide,
    /// More regular expressions than anybody would write.
    #[error("it has more than {} patterns: use fewer", reach::MOST_PATTERNS)]
    TooManyPatterns,
    /// A regular expression that takes too long, or too much memory, or is none.
    #[error(
        "its pattern {0} cannot be used: write it without look-around and back references, and with smaller repetitions"
    )]
    Pattern(String),
    /// It is no schema.
    #[error("{0}")]
    Invalid(String),
}

impl Schema {
    /// The schema, if it can be used.
    pub fn compile(text: &str) -> Result<Self, SchemaError> {
        if text.len() > LONGEST {
            return Err(SchemaError::TooLong(text.len()));
        }
        let parsed = serde_json::from_str(text);
        let mut schema: Value = parsed.map_err(|error| SchemaError::NotJson(error.to_string()))?;
        if let Some(root) = schema.as_object_mut() {
            // Neither another draft's rules nor another name for what `#` says.
            root.remove("$schema");
            root.remove("$id");
        }
        reach::check(&schema)?;
        let compiled = std::thread::scope(|scope| {
            let compiler = std::thread::Builder::new().stack_size(COMPILER_STACK);
            let compiler = compiler.spawn_scoped(scope, || build(&schema));
            let compiled = compiler.map(|compiler| compiler.join());
            match compiled {
                Ok(Ok(compiled)) => compiled,
                Ok(Err(_)) => Err(invalid("its compiler stopped")),
                Err(error) => Err(invalid(format!(
                    "there is no thread to compile it: {error}"
                ))),
            }
        });
        compiled.map(|validator| Self(Arc::new(validator)))
    }

    /// Whether the payload's value fits; otherwise where it differs, and how.
    pub fn check(&self, payload: &Payload) -> Result<(), String> {
        let value: Value = match payload.format() {
            Format::Json => {
                serde_json::from_slice(&payload.body).map_err(|error| error.to_string())?
            }
            Format::MessagePack => match rmp_serde::from_slice(&payload.body) {
                Ok(value) => value,
                // Bytes, and keys that are no text, have no form in JSON: no schema can speak of them.
                Err(_) => return Ok(()),
            },
            // A task reads any text as one string.
            Format::Text => std::str::from_utf8(&payload.body)
                .map_err(|error| error.to_string())?
                .into(),
            Format::Other => {
                let (json, msgpack) = (payload::JSON, payload::MSGPACK);
                return Err(format!("the task takes {json}, {msgpack} or text"));
            }
        };
        self.check_value(&value)
    }

    fn check_value(&self, value: &Value) -> Result<(), String> {
        let fits = metered(MOST_STEPS, || self.0.is_valid(Metered(value)));
        if fits.map_err(|stopped| stopped.to_string())? {
            return Ok(());
        }
        // Looked at once more for what to say: most payloads fit.
        let said = metered(STEPS_TO_SAY, || {
            let error = self.0.validate(Metered(value)).err()?;
            Some(match error.instance_path().as_str() {
                "" => error.to_string(),
                path => format!("{error} (at {path})"),
            })
        });
        let said = said.ok().flatten();
        Err(said.unwrap_or_else(|| "it is not what the schema describes".to_owned()))
    }
}

fn build(schema: &Value) -> Result<Validator<MeteredJson>, SchemaError> {
    jsonschema::options_for::<MeteredJson>()
        .with_draft(Draft::Draft202012)
        // Takes time in proportion to the text, whatever the pattern.
        .with_pattern_options(PatternOptions::regex().size_limit(LARGEST_PATTERN))
        .build(schema)
        .map_err(|error| {
            let kind = error.kind();
            match matches!(kind, ValidationErrorKind::Format { format } if format == "regex") {
                true => SchemaError::Pattern(error.instance().to_string()),
                false => invalid(error),
            }
        })
}

fn invalid(problem: impl ToString) -> SchemaError {
    SchemaError::Invalid(problem.to_string())
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
