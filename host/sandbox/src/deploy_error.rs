//! Why a module may not be deployed, and what to do about it.

use std::error::Error;

use stem_core::names::{NameError, TaskName};
use stem_core::policy::PolicyError;
use stem_core::schema::SchemaError;
use stem_core::units::ByteSize;

use crate::deploy::LARGEST_MODULE;
use crate::native::child::Uncompiled;
use crate::sandbox::Unloaded;

type Cause = Box<dyn Error + Send + Sync>;

/// A module that may not be deployed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeployError {
    /// No WebAssembly of any kind.
    #[error("the file is no WebAssembly: deploy the .wasm file that the build makes")]
    NotWasm,
    /// Native code: never taken from outside (S5).
    #[error(
        "the file is compiled to native code already: deploy the component that it was made from"
    )]
    Precompiled,
    /// A module of the kind before components.
    #[error("this is a core WebAssembly module, not a component: build it for wasm32-wasip2")]
    CoreModule,
    /// Too many bytes.
    #[error(
        "the module has {size}, over the limit of {LARGEST_MODULE}: build it in release mode and strip it"
    )]
    TooLarge {
        /// How many.
        size: ByteSize,
    },
    /// It does not validate, or uses a feature that is turned off.
    #[error(
        "the component is damaged, or uses what this host does not allow: build it anew for wasm32-wasip2"
    )]
    Invalid(#[source] Cause),
    /// Made to hold up its compiler, or larger than this machine can compile.
    #[error("compiling the module takes more than {limit}: make it smaller, or split it")]
    CompileLimit {
        /// How much of what.
        limit: String,
    },
    /// A defect of the compiler's, or the machine's memory at its end.
    #[error(
        "the compiler crashed on the module ({how}): build it with another version of its toolchain"
    )]
    CompilerCrashed {
        /// How it ended.
        how: String,
    },
    /// Nothing of ours in it.
    #[error(
        "the component does not export `stem:task/handler`: write its tasks with the guest SDK, `stem-host new NAME` shows how"
    )]
    NoHandler,
    /// A program with a `main`.
    #[error(
        "the component is a command (it exports `wasi:cli/run` and no `stem:task/handler`): deploy it with --command --task NAME, or with `task = \"NAME\"` under [command] in stem.toml, and run it at home with --command; a library (`crate-type = [\"cdylib\"]`) with the guest SDK needs neither"
    )]
    Command,
    /// A program that nobody has named.
    #[error(
        "a command does not say which task it is: name it with --task NAME, or with `task` under [command] in stem.toml"
    )]
    UnnamedCommand,
    /// The operator says that it is a program.
    #[error(
        "the component exports `stem:task/handler`, so it is no command: deploy it without --command, and without [command] in stem.toml"
    )]
    NoCommand,
    /// Made for another version of WASI.
    #[error(
        "the component exports `{0}`, and this host runs `wasi:cli/run@0.2`: build it for wasm32-wasip2"
    )]
    OtherCommand(String),
    /// Made for another version of the contract.
    #[error("the component exports `{0}`, and this host runs `{handler}`: build it with the matching guest SDK", handler = crate::bindings::HANDLER)]
    OtherHandler(String),
    /// Nobody provides them.
    #[error("the module imports {0}, which this host does not provide: build it without")]
    UnknownImports(String),
    /// Made for another version of an interface.
    #[error(
        "the module imports {0}, a version that this host does not provide: build it for WASI 0.2 with the matching guest SDK"
    )]
    OtherVersions(String),
    /// They must be granted.
    #[error("the module imports {imports}, which is not granted: {remedy}")]
    NotGranted {
        /// What is at fault.
        imports: String,
        /// What would allow it.
        remedy: String,
    },
    /// A grant that cannot be given.
    #[error("in [grants]: {0}")]
    Grants(String),
    /// An interface in another shape than its name and version say.
    #[error(
        "the module uses an interface in a shape that this host does not know: build it with the matching guest SDK"
    )]
    Mismatch(#[source] Cause),
    /// It makes instances of modules that it imports.
    #[error(
        "the component instantiates modules that it imports: compose it into one component first"
    )]
    Nested,
    /// More than a slot has.
    #[error(
        "the module has {number} {what}, over the limit of {limit}: compose it of fewer modules"
    )]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        number: u32,
        /// And how many there may be.
        limit: u32,
    },
    /// It cannot even start within a memory limit.
    #[error("the module starts with {needed} of memory, over the limit{}: raise `memory-limit` in stem.toml or deploy it with --memory, or build it with a smaller memory", task.as_ref().map(|task| format!(" of `{task}`")).unwrap_or_default())]
    NeedsMemory {
        /// Whose limit, where it is one task's.
        task: Option<TaskName>,
        /// What it needs.
        needed: ByteSize,
    },
    /// Its own defaults ask for more than only an operator may allow.
    #[error(
        "the module asks for a {key} of {asked} for `{task}`, over the {most} that a module may ask for by itself: {remedy}"
    )]
    TooGreedy {
        /// Whose default.
        task: TaskName,
        /// Of which setting.
        key: &'static str,
        /// What it asks for.
        asked: String,
        /// What it may ask for.
        most: String,
        /// What the operator would do.
        remedy: &'static str,
    },
    /// It did not say what its tasks are.
    #[error("the module does not describe its tasks: {problem}{log}")]
    Describe {
        /// What happened instead.
        problem: String,
        /// What it wrote; empty, or after a line break.
        log: String,
    },
    /// There is nothing to run.
    #[error("the module describes no task: mark a function with `#[stem_guest::task]`")]
    NoTask,
    /// More than anybody would write.
    #[error("the module describes {number} tasks, over the limit of {limit}: split it")]
    TooManyTasks {
        /// How many.
        number: usize,
        /// And how many there may be.
        limit: usize,
    },
    /// A task's name breaks the rule.
    #[error("the module describes a task under a name that cannot be: rename the task")]
    TaskName(#[source] NameError),
    /// Two tasks under one name.
    #[error("the module describes `{0}` twice: rename one of them")]
    TwiceNamed(TaskName),
    /// A default of the module's that cannot be taken.
    #[error("the module's defaults for `{task}`: {problem}")]
    Default {
        /// Whose.
        task: TaskName,
        /// What is wrong.
        problem: PolicyError,
    },
    /// A schema that is none, or that takes too much to check.
    #[error("the {which} schema of `{task}` cannot be used as JSON Schema (draft 2020-12)")]
    Schema {
        /// Whose.
        task: TaskName,
        /// Of the payload, or of the result.
        which: &'static str,
        /// What is wrong.
        source: SchemaError,
    },
    /// The operator has a section for a task that is not there.
    #[error("the policy has a section for `{task}`, and the module has no such task{}", hint.as_ref().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default())]
    UnknownTask {
        /// What the section says.
        task: TaskName,
        /// What was probably meant.
        hint: Option<String>,
    },
    /// Our own machinery failed.
    #[error("inspect the module")]
    Host(#[source] Cause),
}

impl DeployError {
    pub(crate) fn unloaded(unloaded: Unloaded) -> Self {
        match unloaded {
            Unloaded::Refused(error) => Self::Invalid(cause(&error)),
            Unloaded::TooMuch(problem) => Self::Host(problem.into()),
            Unloaded::Fault(error) => Self::Host(cause(&error)),
        }
    }

    pub(crate) fn mismatch(error: wasmtime::Error) -> Self {
        Self::Mismatch(cause(&error))
    }
}

impl From<Uncompiled> for DeployError {
    fn from(uncompiled: Uncompiled) -> Self {
        match uncompiled {
            Uncompiled::Invalid(error) => Self::Invalid(cause(&error)),
            Uncompiled::Limit(limit) => Self::CompileLimit { limit },
            Uncompiled::Crashed(how) => Self::CompilerCrashed { how },
            Uncompiled::Fault(error) => Self::Host(cause(&error)),
        }
    }
}

/// The engine's whole chain as one cause.
fn cause(error: &wasmtime::Error) -> Cause {
    format!("{error:#}").into()
}
