//! Compiling in a process of its own: what a module does to its compiler, it does to nobody else (S5).
//!
//! Both sides are here. The parent starts the program again with nothing of its environment, gives it the module on
//! standard input, and takes the code from standard output; the child takes its limits before it reads a byte.

use std::ffi::OsString;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use stem_core::units::{ByteSize, format_duration};
use wasmtime::Engine;

use super::NativeCode;
use crate::engine::{self, Class};

/// The argument that makes a program the compiler of another.
const VERB: &str = "compile-module";
/// How the child ends where the module is to blame; other codes are anything but that.
const REFUSED: u8 = 65;
/// How it ends where its memory does not suffice and it could still say so.
const NO_MEMORY: u8 = 66;
/// More code than this is not taken: a few bytes of a module can ask for images of whole memories.
const LARGEST_CODE: ByteSize = ByteSize::mib(512);
/// As much of what the child complains about is kept.
const COMPLAINT: u64 = 16 << 10;
/// What Rust's runtime says before it gives up for want of memory.
const ALLOCATION: &str = "memory allocation of";

/// What compiling one module may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// Time on all processors together, in whole seconds.
    pub cpu: Duration,
    /// Time that passes.
    pub wall: Duration,
    /// Address space.
    pub memory: ByteSize,
}

impl Default for CompileLimits {
    /// Several times what the largest modules take that toolchains make.
    fn default() -> Self {
        Self {
            cpu: Duration::from_secs(60),
            wall: Duration::from_secs(120),
            memory: ByteSize::mib(4 << 10),
        }
    }
}

/// Why there is no code.
#[derive(Debug)]
pub(crate) enum Uncompiled {
    /// The module is to blame: no compiler of this version takes it.
    Invalid(wasmtime::Error),
    /// It takes more than compiling may.
    Limit(String),
    /// The compiler came to an end that nobody meant.
    Crashed(String),
    /// The host failed.
    Fault(wasmtime::Error),
}

impl fmt::Display for Uncompiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(error) | Self::Fault(error) => write!(f, "{error:#}"),
            Self::Limit(limit) => write!(f, "compiling it takes more than {limit}"),
            Self::Crashed(how) => write!(f, "the compiler crashed: {how}"),
        }
    }
}

impl From<io::Error> for Uncompiled {
    fn from(error: io::Error) -> Self {
        Self::Fault(wasmtime::Error::new(error).context("run the compiler"))
    }
}

/// What tells the engine's version and every setting that changes code.
pub(crate) fn compatibility(engine: &Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

// === the parent ===

/// What a child is to do.
pub(crate) struct Order<'a> {
    pub(crate) program: &'a PathBuf,
    pub(crate) limits: CompileLimits,
    pub(crate) class: Class,
    pub(crate) engine: &'a Engine,
}

/// How the child ended, and what it left.
struct Ended {
    /// Nothing where it was ended because its time was up.
    code: Option<Vec<u8>>,
    complaint: String,
    status: ExitStatus,
}

impl Order<'_> {
    /// Waits until the child has compiled the module, or has crossed a limit.
    pub(crate) fn compile(&self, module: &[u8]) -> Result<NativeCode, Uncompiled> {
        let ended = self.run(module)?;
        let limits = &self.limits;
        let Some(code) = ended.code else {
            let wall = format_duration(limits.wall);
            return Err(Uncompiled::Limit(format!("{wall} of time")));
        };
        if u64::try_from(code.len()).is_ok_and(|length| length > LARGEST_CODE.0) {
            return Err(Uncompiled::Limit(format!("{LARGEST_CODE} of code")));
        }
        if ended.status.success() {
            return self.code_of(code);
        }
        let complaint = ended.complaint.trim();
        if ended.status.code() == Some(i32::from(REFUSED)) {
            return Err(Uncompiled::Invalid(wasmtime::format_err!("{complaint}")));
        }
        if ended.status.signal() == Some(Signal::XCPU.as_raw()) {
            let cpu = format_duration(limits.cpu);
            return Err(Uncompiled::Limit(format!("{cpu} of processor time")));
        }
        let is_short_of_memory = ended.status.code() == Some(i32::from(NO_MEMORY));
        if is_short_of_memory || complaint.contains(ALLOCATION) {
            return Err(Uncompiled::Limit(format!("{} of memory", limits.memory)));
        }
        let complaint: Vec<&str> = complaint.lines().collect();
        let complaint = complaint.join("; ");
        Err(Uncompiled::Crashed(format!(
            "{}: {complaint}",
            ended.status
        )))
    }

    /// What a compiler gave: it names its engine first, which no other program would.
    fn code_of(&self, mut answer: Vec<u8>) -> Result<NativeCode, Uncompiled> {
        let expected = compatibility(self.engine);
        if !answer.starts_with(expected.as_bytes()) {
            let program = self.program.display();
            let problem = wasmtime::format_err!("`{program}` is no compiler for this host");
            return Err(Uncompiled::Fault(problem));
        }
        answer.drain(..expected.len());
        Ok(NativeCode(answer))
    }

    fn run(&self, module: &[u8]) -> io::Result<Ended> {
        let mut child = self.command().spawn()?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let pipe = || io::Error::other("a child has its pipes");
        let mut stdin = stdin.ok_or_else(pipe)?;
        let (stdout, stderr) = (stdout.ok_or_else(pipe)?, stderr.ok_or_else(pipe)?);
        thread::scope(|scope| {
            // A child that is gone reads no more: what became of it is told by its end.
            scope.spawn(move || stdin.write_all(module).is_ok());
            let complaint = scope.spawn(move || read_text(stderr));
            let (sender, receiver) = channel();
            let stdout = stdout.take(LARGEST_CODE.0 + 1);
            scope.spawn(move || sender.send(read_all(stdout)).is_ok());
            let code = receiver.recv_timeout(self.limits.wall).ok();
            let status = end(&mut child, code.is_none())?;
            let complaint = complaint.join().unwrap_or_default();
            Ok(Ended {
                code: code.transpose()?,
                complaint,
                status,
            })
        })
    }

    fn command(&self) -> Command {
        let limits = &self.limits;
        let cpu = limits.cpu.as_millis().div_ceil(1000).max(1);
        let mut command = Command::new(self.program);
        command
            .arg(VERB)
            .args([self.class.as_str(), &compatibility(self.engine)])
            .args([cpu.to_string(), limits.memory.0.to_string()])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

fn end(child: &mut Child, is_late: bool) -> io::Result<ExitStatus> {
    if is_late {
        child.kill()?;
    }
    child.wait()
}

fn read_all(mut stdout: impl Read) -> io::Result<Vec<u8>> {
    let mut code = Vec::new();
    stdout.read_to_end(&mut code)?;
    Ok(code)
}

/// The beginning of what is said; the rest is read too, or who says it would wait.
fn read_text(mut stderr: impl Read) -> String {
    let mut text = Vec::new();
    let kept = stderr.by_ref().take(COMPLAINT).read_to_end(&mut text);
    let rest = io::copy(&mut stderr, &mut io::sink());
    // A complaint that cannot be read is none.
    drop((kept, rest));
    String::from_utf8_lossy(&text).into_owned()
}

// === the child ===

/// What a program that is the compiler of its own sandbox does first, with all of its arguments: where it was started
/// to compile a module, this does so, and the program is to end with the code; otherwise there is none.
pub fn compile_module(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    arguments.next().filter(|verb| verb == VERB)?;
    let arguments: Vec<OsString> = arguments.collect();
    Some(match compile_here(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err((code, problem)) => {
            // Where not even this can be said, the code says it.
            let _ = write!(io::stderr(), "{problem}");
            ExitCode::from(code)
        }
    })
}

type Problem = (u8, String);

fn compile_here(arguments: &[OsString]) -> Result<(), Problem> {
    let fault = |problem: String| (1, problem);
    let words: Option<Vec<&str>> = arguments.iter().map(|word| word.to_str()).collect();
    let Some([class, expected, cpu, memory]) = words.as_deref() else {
        return Err(fault("only another stem-host calls this".to_owned()));
    };
    restrict(cpu, memory).map_err(|error| fault(format!("take the limits: {error}")))?;
    let engine = Class::named(class)
        .ok_or_else(|| fault(format!("no class is named `{class}`")))
        .and_then(|class| engine::compiler(class).map_err(|error| fault(format!("{error:#}"))))?;
    if compatibility(&engine) != *expected {
        let problem = "this is another version than the one that asks".to_owned();
        return Err(fault(problem));
    }
    let module = read_all(io::stdin()).map_err(|error| fault(error.to_string()))?;
    let code = NativeCode::compile(&engine, &module).map_err(|error| {
        let is_memory = error.is::<wasmtime::OutOfMemory>();
        let code = if is_memory { NO_MEMORY } else { REFUSED };
        (code, format!("{error:#}"))
    })?;
    let mut stdout = io::stdout();
    let written = stdout.write_all(expected.as_bytes());
    let written = written.and_then(|()| stdout.write_all(&code.0));
    let written = written.and_then(|()| stdout.flush());
    written.map_err(|error| fault(error.to_string()))
}

fn restrict(cpu: &str, memory: &str) -> io::Result<()> {
    let number = |text: &str| text.parse::<u64>().map_err(io::Error::other);
    let cpu = number(cpu)?;
    // The signal at the lower one ends the process; the higher one is for a process that would not hear it.
    limit(Resource::Cpu, cpu, cpu.saturating_add(1))?;
    let memory = number(memory)?;
    limit(Resource::As, memory, memory)?;
    // It writes no file, and leaves no picture of a stranger's module behind.
    limit(Resource::Fsize, 0, 0)?;
    limit(Resource::Core, 0, 0)
}

/// Lowers a limit; one that is lower already stays.
fn limit(resource: Resource, current: u64, maximum: u64) -> io::Result<()> {
    let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let lowered = Rlimit {
        current: Some(current.min(most)),
        maximum: Some(maximum.min(most)),
    };
    Ok(setrlimit(resource, lowered)?)
}
