//! What an operator says about a module's tasks: `stem.toml` beside the module, and flags; flags win (M4).

use stem_core::grants::Grants;
use stem_core::names::{DeploymentName, NameError, TaskName, nearest};
use stem_core::policy::{PolicyError, TaskPolicy};
use toml::{Table, Value};

use crate::command::CommandSettings;

/// The tables and keys at the top of `stem.toml`.
const TOP: [&str; 5] = ["name", "command", "defaults", "tasks", "grants"];

/// An operator's settings for one module.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    name: Option<DeploymentName>,
    grants: Grants,
    command: Option<CommandSettings>,
    file: Vec<Setting>,
    flags: Vec<Setting>,
}

#[derive(Debug, Clone)]
pub(crate) struct Setting {
    /// Every task's, where none is named.
    pub(crate) task: Option<TaskName>,
    pub(crate) key: String,
    pub(crate) value: String,
}

/// Settings that cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum OverridesError {
    /// The file is no TOML.
    #[error("the policy is no TOML")]
    Syntax(#[source] toml::de::Error),
    /// There is no such table or key at the top.
    #[error("unknown key `{key}`{}; the policy has `name`, `[command]`, `[defaults]`, `[tasks.NAME]` and `[grants]`", hint.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    UnknownKey {
        /// What was given.
        key: String,
        /// What was probably meant.
        hint: Option<&'static str>,
    },
    /// There is no such key in `[command]`.
    #[error("unknown key `{key}` in [command]{}", hint.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    UnknownCommandKey {
        /// What was given.
        key: String,
        /// What was probably meant.
        hint: Option<&'static str>,
    },
    /// A name breaks the rule.
    #[error("bad name in the policy")]
    Name(#[source] NameError),
    /// A value of another type than the one that is needed.
    #[error("`{place}` is {found}: write {wanted}")]
    Type {
        /// Where it is.
        place: String,
        /// What it is.
        found: &'static str,
        /// What it has to be.
        wanted: &'static str,
    },
    /// A grant that nobody knows, or that is written wrongly.
    #[error("in [grants]: {0}")]
    Grants(String),
    /// No setting has this name, or the value does not fit.
    #[error("in {place}: {problem}")]
    Setting {
        /// Where it is.
        place: String,
        /// What is wrong.
        problem: PolicyError,
    },
}

impl Overrides {
    /// Reads `stem.toml`. Every key is checked, also those of tasks that the module does not have.
    pub fn parse(text: &str) -> Result<Self, OverridesError> {
        let table: Table = text.parse().map_err(OverridesError::Syntax)?;
        let mut overrides = Self::default();
        for (key, value) in table {
            match key.as_str() {
                "name" => overrides.name = Some(name(&value)?),
                "command" => overrides.command = Some(CommandSettings::parse(&value)?),
                "defaults" => overrides.read("[defaults]", None, &value)?,
                "tasks" => overrides.read_tasks(&value)?,
                "grants" => overrides.grants = grants(value)?,
                unknown => {
                    return Err(OverridesError::UnknownKey {
                        key: unknown.to_owned(),
                        hint: nearest(unknown, TOP).and_then(|near| find(&TOP, near)),
                    });
                }
            }
        }
        Ok(overrides)
    }

    /// Adds a flag: it goes before everything that the file says, for all tasks of the module.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), PolicyError> {
        TaskPolicy::default().set(key, value)?;
        self.flags.push(Setting {
            task: None,
            key: key.to_owned(),
            value: value.to_owned(),
        });
        Ok(())
    }

    /// Adds what flags grant: it goes before what the file grants.
    pub fn grant(&mut self, flags: Grants) {
        self.grants.add(flags);
    }

    /// What the module is given.
    pub fn grants(&self) -> &Grants {
        &self.grants
    }

    /// Says that the module is a program (S9), and which task it becomes, if that is said.
    pub fn make_command(&mut self, task: Option<TaskName>) {
        let command = self.command.get_or_insert_default();
        command.task = task.or(command.task.take());
    }

    /// The task that a program becomes, where anything says which.
    pub fn command_task(&self) -> Option<&TaskName> {
        self.command.as_ref()?.task.as_ref()
    }

    /// What the operator says of a module that is a program.
    pub(crate) fn command(&self) -> Option<&CommandSettings> {
        self.command.as_ref()
    }

    /// The deployment's name, where the file gives one.
    pub fn name(&self) -> Option<&DeploymentName> {
        self.name.as_ref()
    }

    /// Tasks that have a section of their own.
    pub(crate) fn tasks(&self) -> impl Iterator<Item = &TaskName> {
        self.file.iter().filter_map(|setting| setting.task.as_ref())
    }

    /// Takes what counts for a task: the defaults, then its own section, then the flags.
    pub(crate) fn apply(
        &self,
        task: &TaskName,
        policy: &mut TaskPolicy,
    ) -> Result<(), PolicyError> {
        self.settings(task)
            .try_for_each(|setting| policy.set(&setting.key, &setting.value))
    }

    /// Whether the operator says anything about this setting of a task.
    pub(crate) fn says(&self, task: &TaskName, key: &str) -> bool {
        self.settings(task).any(|setting| setting.key == key)
    }

    fn settings(&self, task: &TaskName) -> impl Iterator<Item = &Setting> {
        let defaults = self.file.iter().filter(|setting| setting.task.is_none());
        let own = self
            .file
            .iter()
            .filter(move |setting| setting.task.as_ref() == Some(task));
        defaults.chain(own).chain(&self.flags)
    }

    /// Every setting, whichever tasks it is for.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Setting> {
        self.file.iter().chain(&self.flags)
    }

    fn read_tasks(&mut self, tasks: &Value) -> Result<(), OverridesError> {
        let tasks = table("tasks", tasks)?;
        for (task, section) in tasks {
            let place = format!("[tasks.{task}]");
            let task = TaskName::new(task).map_err(OverridesError::Name)?;
            self.read(&place, Some(&task), section)?;
        }
        Ok(())
    }

    fn read(
        &mut self,
        place: &str,
        task: Option<&TaskName>,
        section: &Value,
    ) -> Result<(), OverridesError> {
        for (key, value) in table(place, section)? {
            let setting = Setting {
                task: task.cloned(),
                key: key.clone(),
                value: text(&format!("{place} {key}"), value)?,
            };
            check(place, &setting)?;
            self.file.push(setting);
        }
        Ok(())
    }
}

fn check(place: &str, setting: &Setting) -> Result<(), OverridesError> {
    TaskPolicy::default()
        .set(&setting.key, &setting.value)
        .map_err(|problem| OverridesError::Setting {
            place: place.to_owned(),
            problem,
        })
}

pub(crate) fn find(words: &[&'static str], wanted: &str) -> Option<&'static str> {
    words.iter().copied().find(|word| *word == wanted)
}

fn grants(value: Value) -> Result<Grants, OverridesError> {
    let keys = table("[grants]", &value)?.keys();
    if let Some(unknown) = keys
        .into_iter()
        .find(|key| !Grants::KEYS.contains(&key.as_str()))
    {
        let hint = nearest(unknown, Grants::KEYS).map(|near| format!("; did you mean `{near}`?"));
        let keys = Grants::KEYS.join(", ");
        let hint = hint.unwrap_or_else(|| format!(": it has {keys}"));
        return Err(OverridesError::Grants(format!(
            "unknown key `{unknown}`{hint}"
        )));
    }
    let read = value.try_into();
    read.map_err(|error: toml::de::Error| {
        OverridesError::Grants(error.to_string().trim().replace('\n', " "))
    })
}

fn name(value: &Value) -> Result<DeploymentName, OverridesError> {
    match value.as_str() {
        Some(name) => DeploymentName::new(name).map_err(OverridesError::Name),
        None => Err(mistyped("name", value, "a text such as \"reports\"")),
    }
}

pub(crate) fn table<'a>(place: &str, value: &'a Value) -> Result<&'a Table, OverridesError> {
    let wanted = "a table such as [tasks.word-count]";
    value
        .as_table()
        .ok_or_else(|| mistyped(place, value, wanted))
}

fn text(place: &str, value: &Value) -> Result<String, OverridesError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Boolean(is_so) => Ok(is_so.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => {
            Err(mistyped(place, value, "a text, a number, true or false"))
        }
    }
}

pub(crate) fn mistyped(place: &str, found: &Value, wanted: &'static str) -> OverridesError {
    OverridesError::Type {
        place: place.to_owned(),
        found: found.type_str(),
        wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        name = "reports"
        [defaults]
        hard-time-limit = "30s"
        max-attempts = 4
        [tasks.word-count]
        max-attempts = 3
        retry-jitter = false
        retry-factor = 1.5
    "#;

    fn policy(overrides: &Overrides, task: &str) -> TaskPolicy {
        let mut policy = TaskPolicy::default();
        let task = TaskName::new(task).expect("a good name");
        overrides.apply(&task, &mut policy).expect("good settings");
        policy
    }

    /// M4
    #[test]
    fn flags_go_before_a_tasks_own_section_and_that_before_the_defaults() {
        let mut overrides = Overrides::parse(FILE).expect("a good policy");
        assert_eq!(
            overrides.name().map(DeploymentName::as_str),
            Some("reports")
        );
        assert_eq!(policy(&overrides, "other").max_attempts, 4);
        let own = policy(&overrides, "word-count");
        assert_eq!(
            (own.max_attempts, own.retry.has_jitter, own.retry.factor),
            (3, false, 1.5)
        );
        assert_eq!(own.limits.hard_time.as_secs(), 30);
        overrides.set("max-attempts", "2").expect("a good flag");
        assert_eq!(policy(&overrides, "word-count").max_attempts, 2);
    }

    fn refused(text: &str) -> String {
        Overrides::parse(text)
            .expect_err("a bad policy")
            .to_string()
    }

    #[test]
    fn what_nobody_knows_is_refused_by_name() {
        let unknown = refused("[default]\n");
        assert!(
            unknown.contains("`default`; did you mean `defaults`?"),
            "{unknown}"
        );
        let setting = refused("[tasks.a]\nmax-atempts = 3\n");
        assert!(
            setting.contains("[tasks.a]") && setting.contains("`max-attempts`?"),
            "{setting}"
        );
        let value = refused("[defaults]\npriority = 10\n");
        assert!(value.contains("bad value for `priority`"), "{value}");
        let array = refused("[defaults]\nqueue = [\"a\"]\n");
        assert_eq!(
            array,
            "`[defaults] queue` is array: write a text, a number, true or false"
        );
        assert_eq!(
            refused("defaults = 3"),
            "`[defaults]` is integer: write a table such as [tasks.word-count]"
        );
        let grant = refused("[grants]\nhtpp = []\n");
        assert_eq!(
            grant,
            "in [grants]: unknown key `htpp`; did you mean `http`?"
        );
        let grant = refused("[grants]\nhttp = 3\n");
        assert!(
            grant.contains("in [grants]: invalid type: integer `3`"),
            "{grant}"
        );
        assert_eq!(refused("name = \"a b\""), "bad name in the policy");
        assert_eq!(refused("name = "), "the policy is no TOML");
    }
}
