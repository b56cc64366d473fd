//! What types a task may take and give: `serde` types, and [`Payload`] as it is.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::interruption::Interruption;
use crate::payload::{Format, Payload};

/// Marks [`Payload`] itself, which passes as it is.
#[derive(Debug)]
pub enum Raw {}

/// Marks types that `serde` encodes.
#[derive(Debug)]
pub enum Encoded {}

/// What a task may take. `Kind` is inferred: it keeps [`Payload`] apart from the types of `serde`.
///
/// ```compile_fail,E0277
/// # use stem_guest::{Context, Interruption};
/// struct Opaque;
///
/// #[stem_guest::task(schema = false)]
/// fn open(_ctx: &Context, _input: Opaque) -> Result<u8, Interruption> {
///     unreachable!()
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "a task cannot take `{Self}`",
    label = "neither `Payload` nor a type that `serde` reads",
    note = "derive `serde::Deserialize` for it; borrowed data (`&str`) cannot be taken, owned data (`String`) can"
)]
pub trait Input<Kind>: Sized {
    /// Reads the value that the payload holds.
    fn read(payload: Payload) -> Result<Self, Interruption>;
}

impl Input<Raw> for Payload {
    fn read(payload: Payload) -> Result<Self, Interruption> {
        Ok(payload)
    }
}

impl<T: DeserializeOwned> Input<Encoded> for T {
    fn read(payload: Payload) -> Result<Self, Interruption> {
        payload.decode()
    }
}

/// What a task may give. `Kind` is inferred: it keeps [`Payload`] apart from the types of `serde`.
///
/// ```compile_fail,E0277
/// # use stem_guest::{Context, Interruption};
/// struct Opaque;
///
/// #[stem_guest::task(schema = false)]
/// fn open(_ctx: &Context, _input: u8) -> Result<Opaque, Interruption> {
///     unreachable!()
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "a task cannot give `{Self}`",
    label = "neither `Payload` nor a type that `serde` writes",
    note = "derive `serde::Serialize` for it"
)]
pub trait Output<Kind> {
    /// Whether the format matters.
    const IS_ENCODED: bool;

    /// Writes the value as bytes.
    fn write(self, format: Format) -> Result<Payload, Interruption>;
}

impl Output<Raw> for Payload {
    const IS_ENCODED: bool = false;

    fn write(self, _format: Format) -> Result<Payload, Interruption> {
        Ok(self)
    }
}

impl<T: Serialize> Output<Encoded> for T {
    const IS_ENCODED: bool = true;

    fn write(self, format: Format) -> Result<Payload, Interruption> {
        Payload::encode(&self, format)
    }
}

/// What has a JSON Schema, or needs none because it is bytes.
///
/// ```compile_fail,E0277
/// # use stem_guest::{Context, Interruption};
/// #[derive(serde::Deserialize)]
/// struct Opaque;
///
/// #[stem_guest::task]
/// fn open(_ctx: &Context, _input: Opaque) -> Result<u8, Interruption> {
///     unreachable!()
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` has no JSON Schema",
    note = "derive `schemars::JsonSchema` for it, or write `#[stem_guest::task(schema = false)]`"
)]
pub trait Schema<Kind> {
    /// The schema of what is read.
    fn of_input() -> Option<String>;

    /// The schema of what is written.
    fn of_output() -> Option<String>;
}

impl Schema<Raw> for Payload {
    fn of_input() -> Option<String> {
        None
    }

    fn of_output() -> Option<String> {
        None
    }
}

impl<T: JsonSchema> Schema<Encoded> for T {
    fn of_input() -> Option<String> {
        serde_json::to_string(
            &SchemaSettings::draft2020_12()
                .into_generator()
                .into_root_schema_for::<T>(),
        )
        .ok()
    }

    fn of_output() -> Option<String> {
        let settings = SchemaSettings::draft2020_12().for_serialize();
        serde_json::to_string(&settings.into_generator().into_root_schema_for::<T>()).ok()
    }
}
