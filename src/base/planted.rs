//! Bugs that can be switched on, so that the checks can show that they notice them (`docs/decisions/`, 0011).
//!
//!     if crate::base::planted!("some-bug") { return Ok(()) }
//!
//! In every build but those with `--cfg planted` (RUSTFLAGS) the macro is the constant `false` and the line is gone. With
//! it, the environment variable `LSM_PLANTED` names the one bug that is in force; without the variable none is. The list
//! of bugs, and which check must convict which, is `xtask/src/plant/bugs.rs`; `cargo xtask tidy` holds it against the code.
//!
//! Threads: any. Failure: none.

#[cfg(all(planted, not(debug_assertions)))]
compile_error!("`--cfg planted` plants bugs: it is for builds with debug assertions, never for a release");

/// Whether the bug of that name is in force.
macro_rules! planted {
    ($name:literal) => {
        $crate::base::planted::is_in_force($name)
    };
}
pub(crate) use planted;

/// Whether the bug `name` is in force: never.
#[cfg(not(planted))]
#[inline(always)]
pub const fn is_in_force(_name: &'static str) -> bool {
    false
}

/// Whether the bug `name` is in force. Says so on standard error the first time, so that a bug that a check never came
/// to can be told from one that it did not notice.
#[cfg(planted)]
pub fn is_in_force(name: &'static str) -> bool {
    use std::sync::OnceLock;
    static CHOSEN: OnceLock<Option<String>> = OnceLock::new();
    static REACHED: OnceLock<()> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| std::env::var("LSM_PLANTED").ok());
    if chosen.as_deref() != Some(name) {
        return false;
    }
    REACHED.get_or_init(|| {
        let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("planted: {name} is reached\n").as_bytes());
    });
    true
}
