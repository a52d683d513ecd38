//! Writes `include/lsm.h` from `capi/` with cbindgen, as `cbindgen.toml` says; with `--check` it only compares.
//!
//! Called by `cargo xtask header`. Building or using the library needs neither this nor cbindgen: the header is
//! committed.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let is_check = match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => false,
        ["--check"] => true,
        _ => {
            eprintln!("usage: cargo xtask header [--check]");
            return ExitCode::FAILURE;
        }
    };
    match run(is_check) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn run(is_check: bool) -> Result<(), String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().nth(2).unwrap_or(here);
    let path = root.join("include/lsm.h");
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml"))?;
    let bindings = cbindgen::generate_with_config(root.join("capi"), config).map_err(|e| format!("cbindgen: {e}"))?;
    let mut now = Vec::new();
    bindings.write(&mut now);
    let committed = std::fs::read(&path).unwrap_or_default();
    if now == committed {
        println!("header: include/lsm.h is what capi/ says");
        return Ok(());
    }
    if is_check {
        let line = first_difference(&committed, &now);
        return Err(format!("include/lsm.h is not what capi/ says, from line {line} on: run `cargo xtask header`"));
    }
    std::fs::write(&path, &now).map_err(|e| format!("{}: {e}", path.display()))?;
    println!("header: wrote include/lsm.h");
    Ok(())
}

fn first_difference(a: &[u8], b: &[u8]) -> usize {
    let same = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    1 + a.iter().take(same).filter(|&&byte| byte == b'\n').count()
}
