//! `[command]` of `stem.toml`, and the flags that say the same: that a module is a program, and which task it is (S9).

use stem_core::module_store::CommandLine;
use stem_core::names::{TaskName, nearest};
use stem_core::payload::Payload;
use toml::Value;

use crate::bindings::stem::task::types::Descriptor;
use crate::overrides::{OverridesError, find, mistyped, table};

const PLACE: &str = "[command]";
const KEYS: [&str; 6] = [
    "arguments",
    "description",
    "payload-schema",
    "result-content-type",
    "result-schema",
    "task",
];

/// What an operator says of a program.
#[derive(Debug, Clone, Default)]
pub(crate) struct CommandSettings {
    /// The task that it becomes.
    pub(crate) task: Option<TaskName>,
    /// What it is run with.
    pub(crate) line: CommandLine,
    description: String,
    payload_schema: Option<String>,
    result_schema: Option<String>,
}

impl CommandSettings {
    /// Reads the table.
    pub(crate) fn parse(value: &Value) -> Result<Self, OverridesError> {
        let mut settings = Self::default();
        for (key, value) in table(PLACE, value)? {
            settings.set(key, value)?;
        }
        Ok(settings)
    }

    fn set(&mut self, key: &str, value: &Value) -> Result<(), OverridesError> {
        match key {
            "task" => {
                self.task = Some(TaskName::new(text(key, value)?).map_err(OverridesError::Name)?)
            }
            "description" => self.description = text(key, value)?,
            "payload-schema" => self.payload_schema = Some(text(key, value)?),
            "result-schema" => self.result_schema = Some(text(key, value)?),
            "result-content-type" => self.line.result_content_type = Some(media_type(key, value)?),
            "arguments" => self.line.arguments = texts(key, value)?,
            unknown => {
                return Err(OverridesError::UnknownCommandKey {
                    key: unknown.to_owned(),
                    hint: nearest(unknown, KEYS).and_then(|near| find(&KEYS, near)),
                });
            }
        }
        Ok(())
    }

    /// What a module would say of this task.
    pub(crate) fn descriptor(&self, task: &TaskName) -> Descriptor {
        Descriptor {
            name: task.to_string(),
            description: self.description.clone(),
            payload_schema: self.payload_schema.clone(),
            result_schema: self.result_schema.clone(),
            defaults: Vec::new(),
        }
    }
}

fn place(key: &str) -> String {
    format!("{PLACE} {key}")
}

fn text(key: &str, value: &Value) -> Result<String, OverridesError> {
    let text = value.as_str().map(str::to_owned);
    text.ok_or_else(|| mistyped(&place(key), value, "a text"))
}

fn texts(key: &str, value: &Value) -> Result<Vec<String>, OverridesError> {
    let wrong = || mistyped(&place(key), value, "a list of texts such as [\"--csv\"]");
    let values = value.as_array().ok_or_else(wrong)?;
    values
        .iter()
        .map(|value| value.as_str().map(str::to_owned).ok_or_else(wrong))
        .collect()
}

fn media_type(key: &str, value: &Value) -> Result<String, OverridesError> {
    let text = text(key, value)?;
    match text.contains('/') && Payload::new(text.clone(), "").has_media_type() {
        true => Ok(text),
        false => Err(mistyped(
            &place(key),
            value,
            "a media type such as \"text/csv\"",
        )),
    }
}

#[cfg(test)]
mod tests {
    use crate::overrides::Overrides;

    fn refused(text: &str) -> String {
        let error = Overrides::parse(text).expect_err("a bad policy");
        error.to_string()
    }

    /// S9, M4
    #[test]
    fn a_program_is_described_by_its_operator() {
        let text = "[command]\ntask = \"report\"\ndescription = \"Monthly\"\narguments = [\"--csv\"]\nresult-content-type = \"text/csv\"";
        let overrides = Overrides::parse(text).expect("a good policy");
        let command = overrides.command().expect("it is one");
        let name = command.task.clone().expect("it is named");
        assert_eq!(command.descriptor(&name).name, "report");
        assert_eq!(command.descriptor(&name).description, "Monthly");
        assert_eq!(command.line.arguments, ["--csv"]);
        assert_eq!(
            command.line.result_content_type.as_deref(),
            Some("text/csv")
        );
    }

    /// S9, M4
    #[test]
    fn what_a_program_cannot_have_is_refused_by_name() {
        let unknown = refused("[command]\nargument = []");
        assert!(
            unknown.contains("`argument`") && unknown.contains("did you mean `arguments`?"),
            "{unknown}"
        );
        let wrong = refused("[command]\narguments = \"--csv\"");
        assert!(
            wrong.contains("`[command] arguments` is string: write a list of texts"),
            "{wrong}"
        );
        let media = refused("[command]\nresult-content-type = \"csv\"");
        assert!(media.contains("write a media type"), "{media}");
        assert!(refused("[command]\ntask = \"a b\"").contains("bad name"));
    }
}
