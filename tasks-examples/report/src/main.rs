//! Counts the lines, words and bytes of a text: a plain program that is deployed as a task, with no SDK.
//!
//! The payload is its standard input, its standard output is the result, and its standard error is the log.
#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "that is how a command asks and answers"
)]

use std::env;
use std::io::{self, Read};
use std::process::{self, ExitCode};

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => report(),
        ["--environment"] => {
            env::vars().for_each(|(name, value)| println!("{name}={value}"));
            Ok(ExitCode::SUCCESS)
        }
        ["--exit", code] => process::exit(code.parse().unwrap_or(2)),
        _ => {
            // The next attempt would be called with the same arguments.
            eprintln!("stem: reject bad-arguments usage: report [--environment | --exit CODE]");
            Ok(ExitCode::FAILURE)
        }
    }
}

fn report() -> io::Result<ExitCode> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let attempt = env::var("STEM_ATTEMPT").unwrap_or_default();
    eprintln!("attempt {attempt}: {} bytes", text.len());
    if text.trim().is_empty() {
        // The last line of a command that fails may say more than its exit code can.
        eprintln!("stem: reject empty-text there is nothing to count");
        return Ok(ExitCode::FAILURE);
    }
    let (lines, words) = (text.lines().count(), text.split_whitespace().count());
    println!(
        r#"{{"lines":{lines},"words":{words},"bytes":{}}}"#,
        text.len()
    );
    Ok(ExitCode::SUCCESS)
}
