//! Compiled code: who compiles it, how long it is kept, and what becomes of a module that holds its compiler up (S5).

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stem_core::clock::SystemClock;
use stem_core::units::ByteSize;
use stem_sandbox::{Allocation, CompileLimits, Compiler, DeployError, Options, Overrides, Sandbox};
use stem_tests::host::{Answer, TestHost, built_in};

// === the cache ===

/// Deploys the built-in guest; gives how it went, with the log.
fn deploy(host: &TestHost, flags: &[&str]) -> Answer {
    let module = built_in().display().to_string();
    let answer = host.run(&[&["deploy", &module, "--log-level", "info"], flags].concat());
    assert_eq!(answer.code, 0, "{answer:?}");
    answer
}

fn compiled(log: &str) -> usize {
    log.matches("\"message\":\"compiled\"").count()
}

/// The files of compiled code in the user's own folder.
fn kept(host: &TestHost) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(host.path(".cache/stem")).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| path.extension().is_some_and(|end| end == "stem-code"))
        .collect()
}

/// S5
#[test]
fn a_module_is_compiled_once_for_all_processes_that_come_after() {
    let host = TestHost::new();
    assert_eq!(compiled(&deploy(&host, &[]).stderr), 1);
    assert_eq!(compiled(&deploy(&host, &["--dry-run"]).stderr), 0);
    assert_eq!(kept(&host).len(), 1);
}

/// S5
#[test]
fn tasks_with_a_fuel_limit_have_compiled_code_of_their_own() {
    let host = TestHost::new();
    assert_eq!(compiled(&deploy(&host, &["--fuel", "1000000"]).stderr), 2);
    assert_eq!(kept(&host).len(), 2);
    host.worker(&[]);
}

fn log_of(child: Child) -> String {
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// S5
#[test]
fn processes_that_start_at_once_compile_once() {
    let host = TestHost::new();
    let module = built_in().display().to_string();
    let arguments = ["deploy", "--dry-run", "--log-level", "info", &module];
    let start = |_| {
        let mut command = host.command(&arguments);
        let command = command.stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().expect("stem-host is built")
    };
    let started: Vec<Child> = (0..4).map(start).collect();
    let logs: Vec<String> = started.into_iter().map(log_of).collect();
    assert_eq!(compiled(&logs.concat()), 1, "{logs:#?}");
}

/// S5
#[test]
fn a_file_that_was_tampered_with_is_thrown_away_with_a_warning_and_made_anew() {
    let host = TestHost::new();
    deploy(&host, &[]);
    let [file] = kept(&host).try_into().expect("one file");
    let good = std::fs::read(&file).expect("kept");
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    std::fs::write(&file, bad).expect("written");
    let answer = deploy(&host, &["--dry-run"]);
    answer.assert(0, "compiled code is thrown away, and made anew");
    assert_eq!(compiled(&answer.stderr), 1);
    assert_eq!(compiled(&deploy(&host, &["--dry-run"]).stderr), 0);
}

/// S5
#[test]
fn without_a_folder_that_can_be_trusted_work_goes_on_with_a_warning() {
    let host = TestHost::new();
    let open = host.path("open");
    host.write("open/file", "");
    std::fs::set_permissions(open, Permissions::from_mode(0o777)).expect("changed");
    for folder in ["open", "open/file/below"] {
        let answer = deploy(&host, &["--cache-dir", folder]);
        answer.assert(0, "every start compiles anew");
    }
    let answer = deploy(&host, &["--cache-dir", "none"]);
    assert!(!answer.stderr.contains("compiles anew"), "{answer:?}");
    assert!(!host.path(".cache").exists());
}

// === the compiler's process ===

fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_stem-host").into()
}

fn sandbox(compiler: Compiler) -> Arc<Sandbox> {
    let mut options = Options::new(1, SystemClock::shared());
    options.allocation = Allocation::OnDemand;
    options.compiler = compiler;
    Sandbox::new(options).expect("a sandbox")
}

fn inspect(compiler: Compiler, module: impl Into<Bytes>) -> Result<(), DeployError> {
    let module = module.into();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let inspecting = async {
        sandbox(compiler)
            .inspect(&module, &Overrides::default())
            .await
    };
    runtime.block_on(inspecting).map(drop)
}

fn limited(change: impl FnOnce(&mut CompileLimits)) -> Compiler {
    let mut limits = CompileLimits::default();
    change(&mut limits);
    let program = program();
    Compiler::Child { program, limits }
}

/// What a compiler works on for long: one function of many values that all live to its end.
fn endless() -> Vec<u8> {
    let values = 20_000;
    let locals = "i64 ".repeat(values);
    let sets = (0..values).map(|value| {
        let other = (value * 7919 + 1) % values;
        format!("(local.set {value} (i64.mul (local.get {other}) (i64.load (i32.wrap_i64 (local.get {value})))))")
    });
    let body: String = sets.collect();
    let text = format!(
        "(component (core module (memory 1) (func (local {locals}) (loop {body} (br 0)))))"
    );
    wat::parse_str(text).expect("a component")
}

#[track_caller]
fn assert_limit(refused: Result<(), DeployError>, said: &str) {
    match refused {
        Err(DeployError::CompileLimit { limit }) => assert_eq!(limit, said),
        other => panic!("{other:?}"),
    }
}

/// S5
#[test]
fn a_module_that_keeps_its_compiler_busy_is_refused() {
    let cpu = limited(|limits| limits.cpu = Duration::from_secs(1));
    assert_limit(inspect(cpu, endless()), "1s of processor time");
    let wall = limited(|limits| limits.wall = Duration::from_millis(100));
    assert_limit(inspect(wall, endless()), "100ms of time");
}

/// A few bytes that ask for so many images of 15 MiB.
fn images(count: usize) -> Vec<u8> {
    let memories = "(memory 256)".repeat(count);
    let data = (0..count).map(|memory| {
        let at = |place: u32| format!("(data (memory {memory}) (i32.const {place}) \"x\")");
        at(0) + &at((15 << 20) - 1)
    });
    let data: String = data.collect();
    wat::parse_str(format!("(component (core module {memories} {data}))")).expect("a component")
}

/// S5
#[test]
fn a_module_that_takes_its_compilers_memory_is_refused() {
    let memory = limited(|limits| limits.memory = ByteSize::mib(1_536));
    assert_limit(inspect(memory, images(100)), "1536 MiB of memory");
    let compiler = Compiler::child(program());
    assert_limit(inspect(compiler, images(40)), "512 MiB of code");
}

/// S5, M1
#[test]
fn what_does_not_validate_is_refused_as_such_by_the_process_too() {
    let cut = std::fs::read(built_in()).expect("committed")[..20_000].to_vec();
    let refused = inspect(Compiler::child(program()), cut);
    assert!(
        matches!(refused, Err(DeployError::Invalid(_))),
        "{refused:?}"
    );
    inspect(
        Compiler::child(program()),
        std::fs::read(built_in()).expect("committed"),
    )
    .expect("good");
}

/// S5
#[test]
fn a_program_that_is_no_compiler_is_a_fault_of_the_host() {
    for program in ["/bin/true", "/bin/false", "/there/is/none"] {
        let refused = inspect(
            Compiler::child(program),
            std::fs::read(built_in()).expect("committed"),
        );
        let is_fault = matches!(
            refused,
            Err(DeployError::Host(_) | DeployError::CompilerCrashed { .. })
        );
        assert!(is_fault, "{refused:?}");
    }
}

/// S5
#[test]
fn a_compiler_of_another_version_compiles_nothing() {
    let mut command = Command::new(program());
    command.args([
        "compile-module",
        "fuel",
        "0123456789abcdef",
        "5",
        "4294967296",
    ]);
    let output = command.stdin(Stdio::null()).output().expect("it runs");
    assert!(
        output.stdout.is_empty() && !output.status.success(),
        "{output:?}"
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("another version"), "{said}");
}
