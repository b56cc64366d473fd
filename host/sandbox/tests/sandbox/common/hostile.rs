//! Components whose code is written by hand, for what no compiler would make.

use bytes::Bytes;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const BUCKETS_WIT: [(&str, &str); 2] = [
    (
        "0.2.0-draft",
        include_str!("../../../../../wit/deps/wasi-keyvalue-0.2.0-draft.wit"),
    ),
    (
        "0.2.0-draft2",
        include_str!("../../../../../wit/deps/wasi-keyvalue-0.2.0-draft2.wit"),
    ),
];
const TASK_WIT: &str = include_str!("../../../../../wit/task.wit");

/// A module with one task, `hostile`, whose parts can be replaced one by one.
pub struct Hostile {
    /// Imports of the core module.
    pub imports: String,
    /// Memories, tables, globals, functions and start functions of its own.
    pub items: String,
    /// The body of `run`; `$call` is where the parameters lie, `$ok` the address of a good result.
    pub run: String,
    /// The task's name.
    pub name: String,
    /// Interfaces that the world imports, and packages that they come from.
    pub wit: (String, String),
    /// The body of `describe`; `$tasks` is the address of the descriptors.
    pub describe: String,
}

impl Default for Hostile {
    fn default() -> Self {
        Self {
            imports: String::new(),
            items: r#"(memory (export "memory") 2)"#.to_owned(),
            run: "(global.get $ok)".to_owned(),
            name: "hostile".to_owned(),
            wit: (String::new(), String::new()),
            describe: "(global.get $tasks)".to_owned(),
        }
    }
}

/// A module whose `run` has this body.
pub fn running(run: &str) -> Hostile {
    Hostile {
        run: run.to_owned(),
        ..Hostile::default()
    }
}

/// What a module that enqueues imports.
const ENQUEUE: &str = r#"
    (import "stem:task/enqueue@0.1.0" "submit" (func $submit
      (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "stem:task/enqueue@0.1.0" "submit-all" (func $submit-all (param i32 i32 i32)))"#;

/// A module whose `run` has this body, and may call these: `$ask`, which enqueues `word-count` under no key (0) or its own
/// (1); `$forget`, which forgets what the host has answered; `$answer`, whose result is the last id or refusal.
pub fn enqueueing(run: &str) -> Hostile {
    let items = r#"
        (memory (export "memory") 2)
        (data (i32.const 8192) "word-count")
        (data (i32.const 8208) "application/json")
        (data (i32.const 8224) "{\22text\22:\22a b\22}")
        (data (i32.const 8256) "key")
        (func $ask (param $has-key i32)
          (call $submit (i32.const 8192) (i32.const 10) (i32.const 8208) (i32.const 16) (i32.const 8224) (i32.const 14)
            (local.get $has-key) (i32.const 8256) (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i32.const 8704)))
        (func $forget (global.set $heap (i32.const 65536)))
        (func $answer (result i32)
          (local $text i32)
          (local.set $text (select (i32.const 8712) (i32.const 8708) (i32.load8_u (i32.const 8704))))
          (i32.store (i32.const 4112) (i32.load (local.get $text)))
          (i32.store (i32.const 4116) (i32.load (i32.add (local.get $text) (i32.const 4))))
          (global.get $ok))"#;
    let world = "import stem:task/enqueue@0.1.0;";
    running(run).with_items(items).importing(world, "", ENQUEUE)
}

/// A module whose `run` has this body and may call what this version of `wasi:keyvalue` has.
///
/// Every call leaves its answer at 5,000; `$told` gives the bytes that it holds, be they a value or an error's text.
/// Three texts lie ready for names and values: `cache` at 6,000, `other` at 6,100 and `key` at 6,200.
pub fn with_buckets(version: &str, run: &str) -> Hostile {
    let mut versions = BUCKETS_WIT.into_iter();
    let (_, text) = versions
        .find(|(name, _)| *name == version)
        .expect("a version");
    let package = format!("package wasi:keyvalue@{version}");
    let packages = text.replace(&format!("{package};"), &format!("{package} {{")) + "}";
    let interfaces = ["store", "atomics", "batch"]
        .map(|interface| format!("import wasi:keyvalue/{interface}@{version};"));
    let (cursor, swapping) = match version {
        "0.2.0-draft" => ("i64", ""),
        _ => ("i32 i32", SWAPPING),
    };
    let imports = CALLS.replace("CURSOR", cursor) + swapping;
    let items = r#"(memory (export "memory") 40)
        (data (i32.const 6000) "cache") (data (i32.const 6100) "other") (data (i32.const 6200) "key")
        (func $told (result i32)
          (i32.store (i32.const 4112) (i32.load (i32.const 5008)))
          (i32.store (i32.const 4116) (i32.load (i32.const 5012)))
          (global.get $ok))
        (func $opened (result i32)
          (call $open (i32.const 6000) (i32.const 5) (i32.const 5000))
          (if (i32.load8_u (i32.const 5000)) (then (unreachable)))
          (i32.load (i32.const 5004)))"#;
    running(run)
        .importing(
            &interfaces.concat(),
            &packages,
            &imports.replace("VERSION", version),
        )
        .with_items(items)
}

/// What both versions have.
const CALLS: &str = r#"
    (import "wasi:keyvalue/store@VERSION" "open" (func $open (param i32 i32 i32)))
    (import "wasi:keyvalue/store@VERSION" "[method]bucket.get" (func $get (param i32 i32 i32 i32)))
    (import "wasi:keyvalue/store@VERSION" "[method]bucket.set" (func $set (param i32 i32 i32 i32 i32 i32)))
    (import "wasi:keyvalue/store@VERSION" "[method]bucket.list-keys" (func $list (param i32 i32 CURSOR i32)))
    (import "wasi:keyvalue/atomics@VERSION" "increment" (func $increment (param i32 i32 i32 i64 i32)))
    (import "wasi:keyvalue/batch@VERSION" "get-many" (func $get_many (param i32 i32 i32 i32)))"#;
/// What only the second has.
const SWAPPING: &str = r#"
    (import "wasi:keyvalue/atomics@VERSION" "[static]cas.new" (func $cas (param i32 i32 i32 i32)))
    (import "wasi:keyvalue/atomics@VERSION" "swap" (func $swap (param i32 i32 i32 i32)))"#;

impl Hostile {
    /// With these items in place of a memory of two pages.
    pub fn with_items(mut self, items: &str) -> Self {
        self.items = items.to_owned();
        self
    }

    /// Where the world also imports these interfaces, defined in these packages.
    pub fn importing(mut self, interfaces: &str, packages: &str, imports: &str) -> Self {
        self.wit = (interfaces.to_owned(), packages.to_owned());
        self.imports = imports.to_owned();
        self
    }

    /// The core module.
    fn core(&self) -> Vec<u8> {
        let text = format!(
            r#"(module
              {imports}
              {items}
              (global $tasks i32 (i32.const 1024))
              (global $ok i32 (i32.const 4096))
              (global $heap (mut i32) (i32.const 65536))
              (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $place i32)
                (local.set $place (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
                (global.set $heap (i32.add (local.get $place) (local.get 3)))
                (local.get $place))
              (func (export "stem:task/handler@0.1.0#describe") (result i32) {describe})
              (func (export "stem:task/handler@0.1.0#run") (param $call i32) (result i32) {run})
              ;; one descriptor: a name, no description, no schemas, no defaults
              (data (i32.const 1024) "\08\04\00\00\01\00\00\00")
              (data (i32.const 1032) "\00\08\00\00\{length:02x}\00\00\00")
              (data (i32.const 2048) "{name}")
              ;; a result: `ok` as text/plain
              (data (i32.const 4096) "\00\00\00\00\00\00\00\00\00\0c\00\00\0a\00\00\00\10\0c\00\00\02\00\00\00")
              (data (i32.const 3072) "text/plain......ok"))"#,
            imports = self.imports,
            items = self.items,
            describe = self.describe,
            run = self.run,
            length = self.name.len(),
            name = self.name,
        );
        wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    /// The component.
    pub fn component(&self) -> Bytes {
        let (interfaces, packages) = &self.wit;
        let world = format!(
            "package test:hostile;\nworld hostile {{ include stem:task/task@0.1.0;\n{interfaces} }}\n"
        );
        let mut resolve = Resolve::default();
        resolve.push_str("task.wit", TASK_WIT).expect("good WIT");
        let package = resolve
            .push_str("world.wit", &format!("{world}{packages}"))
            .expect("good WIT");
        let world = resolve
            .select_world(&[package], Some("hostile"))
            .expect("a world");
        let mut core = self.core();
        embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8)
            .expect("a module that fits the world");
        let mut encoder = ComponentEncoder::default();
        let encoder = encoder.module(&core).expect("a core module");
        encoder.validate(true).encode().expect("a component").into()
    }
}
