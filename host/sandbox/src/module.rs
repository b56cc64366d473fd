//! A compiled module, linked once, ready to be instantiated any number of times.

use wasmtime::component::{Component, ComponentExportIndex, InstancePre};

use wasmtime_wasi::p2::bindings::CommandPre;

use crate::bindings::{COMMAND, HANDLER, SdkPre};
use crate::context::Guest;
use crate::engine::{Class, Machine};

/// A compiled and linked module.
pub(crate) struct Module {
    pub(crate) instances: InstancePre<Guest>,
    pub(crate) entry: Entry,
    pub(crate) class: Class,
}

/// What of a module is called.
pub(crate) enum Entry {
    /// Its handler's functions.
    Handler {
        describe: ComponentExportIndex,
        run: ComponentExportIndex,
    },
    /// The one function of a program (S9).
    Command(ComponentExportIndex),
}

impl Module {
    /// Links a component against everything that modules may import, and finds its exports.
    pub(crate) fn link(machine: &Machine, component: &Component) -> wasmtime::Result<Self> {
        let instances = machine.linker.instantiate_pre(component)?;
        let entry = match component.get_export_index(None, HANDLER) {
            Some(_) => {
                SdkPre::new(instances.clone())?;
                handler(component)?
            }
            None => {
                CommandPre::new(instances.clone())?;
                command(component)?
            }
        };
        Ok(Self {
            instances,
            entry,
            class: machine.class,
        })
    }
}

fn handler(component: &Component) -> wasmtime::Result<Entry> {
    Ok(Entry::Handler {
        describe: export(component, HANDLER, "describe")?,
        run: export(component, HANDLER, "run")?,
    })
}

fn command(component: &Component) -> wasmtime::Result<Entry> {
    let ty = component.component_type();
    let mut names = ty.exports(component.engine()).map(|(name, _)| name);
    let name = names.find(|name| name.starts_with(COMMAND));
    let name =
        name.ok_or_else(|| wasmtime::format_err!("it exports neither a handler nor `{COMMAND}`"))?;
    export(component, name, "run").map(Entry::Command)
}

fn export(
    component: &Component,
    interface: &str,
    function: &str,
) -> wasmtime::Result<ComponentExportIndex> {
    let found = component.get_export_index(None, interface);
    component
        .get_export_index(found.as_ref(), function)
        .ok_or_else(|| wasmtime::format_err!("`{interface}` has no function `{function}`"))
}
