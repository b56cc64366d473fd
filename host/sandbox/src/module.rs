//! A compiled module, linked once, ready to be instantiated any number of times.

use wasmtime::component::{Component, ComponentExportIndex, InstancePre};

use crate::bindings::{HANDLER, TaskPre};
use crate::context::Guest;
use crate::engine::{Class, Machine};

/// A compiled and linked module.
pub(crate) struct Module {
    pub(crate) instances: InstancePre<Guest>,
    pub(crate) describe: ComponentExportIndex,
    pub(crate) run: ComponentExportIndex,
    pub(crate) class: Class,
}

impl Module {
    /// Links a component against everything that modules may import, and finds its exports.
    pub(crate) fn link(machine: &Machine, component: &Component) -> wasmtime::Result<Self> {
        let instances = machine.linker.instantiate_pre(component)?;
        TaskPre::new(instances.clone())?;
        let handler = component.get_export_index(None, HANDLER);
        let export = |name: &str| {
            component
                .get_export_index(handler.as_ref(), name)
                .ok_or_else(|| wasmtime::format_err!("`{HANDLER}` has no function `{name}`"))
        };
        Ok(Self {
            describe: export("describe")?,
            run: export("run")?,
            instances,
            class: machine.class,
        })
    }
}
