//! What a workshop does with code that it cannot load, and whose fault it is where there is none.

use stem_core::units::ByteSize;

use super::*;
use crate::engine::{Allocation, Class};
use crate::sandbox::Unloaded;

const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

fn machine(class: Class) -> Machine {
    Machine::new(class, 1, Allocation::OnDemand).expect("a machine")
}

/// S5: its MAC is right, and still the engine is another.
#[test]
fn code_of_another_engine_is_thrown_away_and_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = CacheOptions {
        folder: folder.path().join("cache"),
        key: folder.path().join("key"),
        size: ByteSize::mib(1),
    };
    let (fuel, plain) = (machine(Class::Fuel), machine(Class::Unmetered));
    let workshop = Workshop::new(Compiler::Here, Some(&options));
    let digest = Digest::of(COMPONENT);
    let name = Name::new(&plain.engine, Class::Unmetered, digest);
    let code = NativeCode::compile(&fuel.engine, COMPONENT).expect("compiled");
    workshop.cache.as_ref().expect("opened").keep(&name, &code);
    assert!(workshop.find(&plain, digest).is_none());
    assert!(workshop.make(&plain, COMPONENT).is_ok());
    assert!(workshop.find(&plain, digest).is_some());
}

/// S4, S5: what a deploy is refused for is no fault of a task that was deployed.
#[test]
fn in_a_worker_only_what_does_not_validate_is_the_modules_fault() {
    let error = || wasmtime::format_err!("no");
    let is_refused = |why| matches!(Unloaded::from(why), Unloaded::Refused(_));
    assert!(is_refused(Uncompiled::Invalid(error())));
    assert!(!is_refused(Uncompiled::Limit("1s of time".to_owned())));
    assert!(!is_refused(Uncompiled::Crashed("signal 11".to_owned())));
    assert!(!is_refused(Uncompiled::Fault(error())));
}
