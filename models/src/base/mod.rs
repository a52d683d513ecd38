//! L0, as far as the models need it.

pub mod arc;
#[path = "../../../src/base/arc_cell.rs"]
pub mod arc_cell;
#[path = "../../../src/base/arc_slot.rs"]
pub mod arc_slot;
pub mod arena;
pub mod epoch;
#[path = "../../../src/base/ids.rs"]
pub mod ids;
pub mod life;
pub mod sync;

macro_rules! planted {
    ($name:literal) => {
        $crate::base::is_in_force($name)
    };
}
pub(crate) use planted;

/// Whether the bug `name` is in force: as in the engine's builds with `--cfg planted`.
pub fn is_in_force(name: &str) -> bool {
    static CHOSEN: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    let is_chosen = CHOSEN.get_or_init(|| std::env::var("LSM_PLANTED").ok()).as_deref() == Some(name);
    if is_chosen {
        eprintln!("planted: {name} is reached");
    }
    is_chosen
}
