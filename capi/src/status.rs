//! The codes and numbers of the header. They are never renumbered and never reused; the header spells them as
//! parenthesised `#define`s (in `cbindgen.toml`), and a test here compares the two.
//!
//! Threads: constants.

/// Success.
pub const LSM_OK: i32 = 0;
/// The key, keyspace or property does not exist.
pub const LSM_NOT_FOUND: i32 = 1;
/// The iterator is past an end.
pub const LSM_END: i32 = 2;
/// The buffer was too small; the length needed was stored.
pub const LSM_TRUNCATED: i32 = 3;
/// Not ready yet.
pub const LSM_PENDING: i32 = 4;

/// Forward.
pub const LSM_FORWARD: i32 = 0;
/// Backward.
pub const LSM_BACKWARD: i32 = 1;

/// Read flag: do not put blocks into the cache.
pub const LSM_READ_NO_FILL_CACHE: u32 = 1;
/// Read flag: read and check blocks even when cached.
pub const LSM_READ_VERIFY_CHECKSUMS: u32 = 2;
/// Read flag: iterators show no values.
pub const LSM_READ_KEYS_ONLY: u32 = 4;

/// Names of all codes, positive ones first.
pub const CODE_NAMES: &[(i32, &std::ffi::CStr)] = &[
    (0, c"LSM_OK"),
    (1, c"LSM_NOT_FOUND"),
    (2, c"LSM_END"),
    (3, c"LSM_TRUNCATED"),
    (4, c"LSM_PENDING"),
    (-1, c"LSM_E_INVALID"),
    (-2, c"LSM_E_IO"),
    (-3, c"LSM_E_CORRUPTION"),
    (-4, c"LSM_E_CONFLICT"),
    (-5, c"LSM_E_DEADLOCK"),
    (-6, c"LSM_E_TIMEOUT"),
    (-7, c"LSM_E_BUSY"),
    (-8, c"LSM_E_LOCKED"),
    (-9, c"LSM_E_NOSPACE"),
    (-10, c"LSM_E_NOMEM"),
    (-11, c"LSM_E_READONLY"),
    (-12, c"LSM_E_EXISTS"),
    (-13, c"LSM_E_UNSUPPORTED"),
    (-14, c"LSM_E_CLOSED"),
    (-15, c"LSM_E_CANCELLED"),
    (-16, c"LSM_E_STALLED"),
    (-17, c"LSM_E_VERSION"),
    (-18, c"LSM_E_CALLBACK"),
    (-19, c"LSM_E_SEQ_GONE"),
    (-20, c"LSM_E_PRECONDITION"),
    (-21, c"LSM_E_FENCED"),
    (-22, c"LSM_E_PANIC"),
    (-23, c"LSM_E_FORKED"),
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The header is text: what it defines must be what this crate answers.
    #[test]
    fn the_header_defines_these_numbers() {
        let header = include_str!("../../include/lsm.h");
        for (code, name) in CODE_NAMES {
            let name = name.to_str().expect("ascii");
            let line = header
                .lines()
                .find(|line| line.split_whitespace().nth(1) == Some(name) && line.starts_with("#define"))
                .unwrap_or_else(|| panic!("{name} is not in the header"));
            assert_eq!(line.split_whitespace().nth(2), Some(format!("({code})").as_str()), "{line}");
        }
    }

    #[test]
    fn engine_codes_have_the_same_names_and_numbers() {
        use lsm_engine::Code;
        let all = [
            Code::Invalid,
            Code::Io,
            Code::Corruption,
            Code::Conflict,
            Code::Deadlock,
            Code::Timeout,
            Code::Busy,
            Code::Locked,
            Code::NoSpace,
            Code::NoMem,
            Code::ReadOnly,
            Code::Exists,
            Code::Unsupported,
            Code::Closed,
            Code::Cancelled,
            Code::Stalled,
            Code::Version,
            Code::Callback,
            Code::SeqGone,
            Code::Precondition,
            Code::Fenced,
            Code::Panic,
            Code::Forked,
        ];
        assert_eq!(all.len() + 5, CODE_NAMES.len());
        for code in all {
            let found = CODE_NAMES.iter().find(|(number, _)| *number == code as i32).expect("named");
            assert_eq!(found.1.to_str(), Ok(code.name()));
        }
    }
}
