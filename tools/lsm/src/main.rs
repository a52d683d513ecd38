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
mod text;
mod verbs;

use clap::Parser as _;
use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; that nobody reads them is none either.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::Exit::Usage as u8 } else { 0 });
        }
    };
    match verbs::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = std::io::stderr().write_all(failure.text(cli.global.json).as_bytes());
            ExitCode::from(failure.exit as u8)
        }
    }
}
