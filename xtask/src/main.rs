//! The project's own tool: `cargo xtask <command>`.
//!
//!     tidy [--bless]     the rules a compiler does not know; --bless lowers the ratchet and renews FORMAT.md's ties
//!     header [--check]   writes include/lsm.h from capi/ and the layout tests from that, or compares
//!     abi [FILE]         what liblsm.so exports, and what every release declared, against include/lsm.h
//!     plant [...]        which check notices which bug planted in the engine; see `plant/mod.rs`
//!     soak [...]         the reliability checks for hours, and the table of what they reached; see `soak/mod.rs`
//!     deny               what may be linked in: licences, sources, versions
//!     results            writes the tables of docs/PERFORMANCE.md from docs/results
//!     micro              runs the micro-benchmarks and keeps their medians in docs/results/micro.json
//!     options FILE       the table of docs/tuning.md against lsm_options_describe; docs/check.sh calls it
//!     guard [--bless]    instructions of the C interface's calls against their ceilings; --bless lowers them
//!     ci                 .ci/run
//!
//! Std only: `tidy` must build in seconds. What needs cbindgen is the package `xtask-header`.

mod abi;
mod cheader;
mod deny;
mod format_doc;
mod guard;
mod json;
mod layers;
mod layout;
mod length;
mod lex;
mod links;
mod micro;
mod names;
mod options;
mod pages;
mod paths;
mod plant;
mod results;
mod results_tables;
mod rules;
mod run;
mod signatures;
mod soak;
mod source;
mod text;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "usage: cargo xtask tidy [--bless] | header [--check] | abi [FILE] | results | micro | options FILE | guard [--bless] | plant [...] \
                     | soak [...] | deny | ci";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let root = root();
    let result = match args.as_slice() {
        ["tidy"] => tidy::run(&root, false),
        ["tidy", "--bless"] => tidy::run(&root, true),
        ["header", rest @ ..] => {
            let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
            let package = ["run", "--quiet", "--locked", "--package", "xtask-header", "--"];
            delegate(Command::new(cargo).args(package).args(rest).current_dir(&root))
                .and_then(|_| layout::run(&root, rest.contains(&"--check")))
        }
        ["results"] => results::run(&root),
        ["micro"] => micro::run(&root),
        ["options", file] => options::run(&root, file, false),
        ["options", "--bless", file] => options::run(&root, file, true),
        ["abi"] => abi::run(&root, &root.join("target/release/liblsm.so")),
        ["abi", file] => abi::run(&root, Path::new(file)),
        ["deny"] => deny::run(&root),
        ["soak", rest @ ..] => soak::run(&root, rest),
        ["plant", rest @ ..] => plant::run(&root, rest),
        ["guard"] => guard::run(&root, false),
        ["guard", "--bless"] => guard::run(&root, true),
        ["ci"] => delegate(Command::new(root.join(".ci/run")).current_dir(&root)),
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(said) if said.is_empty() => ExitCode::SUCCESS,
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's root: the parent of this package.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

fn delegate(command: &mut Command) -> Result<String, String> {
    match command.status() {
        Ok(status) if status.success() => Ok(String::new()),
        Ok(status) => Err(format!("{}: {status}", command.get_program().display())),
        Err(error) => Err(format!("{}: {error}", command.get_program().display())),
    }
}
