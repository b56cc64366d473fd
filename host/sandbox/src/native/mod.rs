//! Native code: how a module becomes it, and the one place where it becomes something that runs (S5).

pub(crate) mod child;
pub(crate) mod seal;

use wasmtime::component::Component;
use wasmtime::{CodeBuilder, Engine};

/// Code that may be loaded: only this file and those below it make one, of what a compiler of this very program gave,
/// or of what was found to be sealed by its user after such a compiler had given it.
pub(crate) struct NativeCode(Vec<u8>);

impl NativeCode {
    /// Compiles a component in this process.
    pub(crate) fn compile(engine: &Engine, module: &[u8]) -> wasmtime::Result<Self> {
        let compiled = CodeBuilder::new(engine)
            .wasm_binary(module, None)?
            .compile_component_serialized()?;
        Ok(Self(compiled))
    }

    /// How many bytes it has.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Makes it ready to be linked; fails where another version or another setting of the engine had made it.
    #[expect(
        unsafe_code,
        reason = "the engine loads compiled code without looking at every instruction of it"
    )]
    pub(crate) fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        // SAFETY: the bytes must be what `CodeBuilder::compile_component_serialized` gave, unchanged. The field is
        // private to this module and those below it, and each of the three places that make a `NativeCode` keeps this:
        // `compile` above; `child`, where the bytes come through a pipe that only a process of the program held that
        // whoever embeds this named as its compiler, which named this very engine first and ended well; and `seal`, where their MAC under the user's key was right, and only a `NativeCode` is sealed.
        // What another version or configuration made is refused by the engine itself. The bytes are copied before they
        // are looked at, so that nobody can change them meanwhile.
        unsafe { Component::deserialize(engine, &self.0) }
    }
}
