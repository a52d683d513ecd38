//! `lsm`: the command line tool of liblsm.
//!
//! Verbs that read or write a live database go through `liblsm.so` by `dlopen` (`lsm/`): what they can do any program can
//! do with `lsm.h`. `dump` and `find` use the engine's inspection of files, which locks and writes nothing.
//!
//! Threads: one, but for `bench`. Failure: `exit` says how every verb ends.

mod cli;
mod dl;
mod exit;
mod foreign;
mod format;
mod lsm;
mod out;
mod scratch;
mod text;
mod verbs;

use clap::Parser as _;
use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return no_verb(&error),
    };
    match verbs::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => end(&failure, cli.global.json),
    }
}

fn end(failure: &exit::Failure, is_json: bool) -> ExitCode {
    let _ = std::io::stderr().write_all(failure.text(is_json).as_bytes());
    ExitCode::from(failure.exit as u8)
}

/// The command line asks for help or the version, or is wrong; then `--json` on it holds for the error all the same.
fn no_verb(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return error.print().map_or_else(|e| end(&e.into(), false), |()| ExitCode::SUCCESS);
    }
    if !std::env::args_os().skip(1).take_while(|arg| arg != "--").any(|arg| arg == "--json") {
        let _ = error.print();
        return ExitCode::from(exit::Exit::Usage as u8);
    }
    // Its first paragraph says what is wrong, those behind it how it would be right.
    let text = error.render().to_string();
    let first: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
    let message = first.join(" ");
    end(&exit::Failure::usage(message.trim_start_matches("error: ")).hint("lsm VERB --help has every argument"), true)
}
