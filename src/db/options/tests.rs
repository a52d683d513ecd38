//! Tests of the options: every row of the table, precedence, persistence, load and describe.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::table::{Default as RowDefault, Key};
use super::*;
use crate::base::compress::Compression;
use crate::db::api::Durability;
use crate::error::Code;
use crate::wal::WalIo;

fn code(result: Result<impl Sized>) -> Code {
    match result {
        Ok(_) => panic!("accepted"),
        Err(e) => e.code(),
    }
}

/// Refused, with a message that names the key and its range.
fn refused(key: &str, value: &str) {
    let mut options = Options::new();
    let Err(error) = options.set(key, value) else { panic!("{key} = {value} accepted") };
    assert_eq!(error.code(), Code::Invalid, "{key} = {value}");
    let spec = &TABLE[table::find(key).unwrap()];
    let range = parse::range(spec.kind);
    assert!(error.message().contains(key) && error.message().contains(&range), "{}", error.message());
    assert_eq!(options.dump(), "", "a refused value changes nothing");
}

/// A text of the wrong form is not called out of a range that the number in it is in.
#[test]
fn a_refusal_says_whether_it_is_the_form_or_the_range() {
    for (key, value, wrong) in [
        ("cache.size", "64MB", "no size"),
        ("cache.size", "64 mib", "no size"),
        ("cache.size", "", "no size"),
        ("cache.size", "65TiB", "out of its range"),
        ("cache.size", "99999999999999999999TiB", "out of its range"),
        ("compaction.threads", "two", "no whole number"),
        ("compaction.threads", "0", "out of its range"),
        ("compression", "gzip", "out of its range"),
    ] {
        refused(key, value);
        let message = Options::new().set(key, value).unwrap_err().message().to_owned();
        assert!(message.contains(wrong), "{message}");
    }
}

/// Accepted, and `get` answers a text that means the same.
fn round_trips(key: &str, value: &str) -> String {
    let mut options = Options::new();
    options.set(key, value).unwrap();
    let canonical = options.get(key).unwrap();
    let mut again = Options::new();
    again.set(key, &canonical).unwrap();
    assert_eq!(again.get(key).unwrap(), canonical, "{key} = {value}");
    assert_eq!(options.values, again.values, "{key} = {value}");
    canonical
}

#[test]
fn keys_and_rows_are_in_the_same_order() {
    let first_letters = |name: &str| name.replace(['.', '_'], "").to_lowercase();
    for (at, spec) in TABLE.iter().enumerate() {
        assert_eq!(table::find(spec.name), Some(at), "{} appears once", spec.name);
        assert!(spec.text.ends_with('.') && !spec.text.contains("  "), "{}", spec.text);
        assert_eq!(spec.is_persisted, !["create_if_missing", "error_if_exists", "mode"].contains(&spec.name));
    }
    for key in [Key::CreateIfMissing, Key::CompressionPerLevel, Key::LevelCountMax, Key::WalIo, Key::OpenFilesMax] {
        let key_name = format!("{key:?}").to_lowercase();
        assert_eq!(first_letters(TABLE[key as usize].name), key_name);
    }
    assert_eq!(Key::OpenFilesMax as usize + 1, COUNT);
}

#[test]
fn every_default_is_canonical_text_that_set_accepts() {
    for spec in &TABLE {
        let default = Options::new().get(spec.name).unwrap();
        assert_eq!(round_trips(spec.name, &default), default);
        if let RowDefault::Text(text) = spec.default {
            assert_eq!(text, default);
        }
    }
    assert_eq!(Options::new().get("compaction.threads").unwrap(), parse::cores().to_string());
}

#[test]
fn every_bound_is_refused_one_step_outside() {
    for spec in &TABLE {
        let key = spec.name;
        match spec.kind {
            Kind::Size { min, max } | Kind::Count { min, max } => {
                for inside in [min, max] {
                    round_trips(key, &inside.to_string());
                    Options::new().set_int(key, inside as i64).unwrap();
                    Options::new().set_float(key, inside as f64).unwrap();
                }
                refused(key, &(max + 1).to_string());
                assert_eq!(code(Options::new().set_int(key, (max + 1) as i64)), Code::Invalid);
                if min > 0 {
                    refused(key, &(min - 1).to_string());
                    refused(key, "0");
                }
                for text in ["-1", "", "+4", "1.5", "x", "4 4", "18446744073709551616", "99999999TiB", "5KB", "KiB"] {
                    refused(key, text);
                }
                assert_eq!(code(Options::new().set_int(key, -1)), Code::Invalid);
                for number in [-1.0, 8192.5, f64::NAN, f64::INFINITY, 1e300] {
                    assert_eq!(code(Options::new().set_float(key, number)), Code::Invalid, "{key} = {number}");
                }
            }
            Kind::Bool => {
                assert_eq!((round_trips(key, "1"), round_trips(key, "false")), ("true".into(), "false".into()));
                refused(key, "yes");
                refused(key, "");
                assert_eq!(code(Options::new().set_int(key, 2)), Code::Invalid);
                assert_eq!(code(Options::new().set_float(key, 1.0)), Code::Invalid);
            }
            Kind::Fraction => {
                for inside in ["0", "0.999999", "1e-5", "-0.0", "0.1"] {
                    round_trips(key, inside);
                }
                for outside in ["1", "-0.000001", "nan", "inf", "", "1%"] {
                    refused(key, outside);
                }
                assert_eq!(code(Options::new().set_float(key, 1.0)), Code::Invalid);
                assert_eq!(code(Options::new().set_int(key, 1)), Code::Invalid);
                Options::new().set_int(key, 0).unwrap();
            }
            Kind::Choice { names, later } => {
                names.iter().for_each(|name| assert_eq!(round_trips(key, name), *name));
                for (name, _) in later {
                    assert_eq!(code(Options::new().set(key, name)), Code::Unsupported, "{key} = {name}");
                }
                refused(key, "");
                refused(key, "Nothing");
                assert_eq!(code(Options::new().set_int(key, 0)), Code::Invalid);
            }
            Kind::List { max, .. } => {
                assert_eq!(round_trips(key, " none, none ,lz4 "), "none,none,lz4");
                assert_eq!(round_trips(key, ""), "");
                round_trips(key, &vec!["lz4"; max].join(","));
                refused(key, &vec!["lz4"; max + 1].join(","));
                refused(key, "none,,lz4");
                refused(key, "none,fast");
            }
        }
    }
}

#[test]
fn the_bounds_of_the_contract_hold() {
    for (key, value) in [
        ("filter.fpr", "1.0"),
        ("block.size", "255"),
        ("level.count_max", "13"),
        ("level.size_ratio", "0"),
        ("level0.compaction_trigger", "0"),
        ("compaction.threads", "0"),
        ("memtable.count_max", "-3"),
    ] {
        refused(key, value);
    }
    round_trips("block.size", "256");
    round_trips("level.count_max", "12");
    round_trips("cache.size", "0");
    round_trips("compaction.subjobs_max", "0");
    round_trips("compaction.tables_per_job_max", "0");
}

#[test]
fn sizes_have_units() {
    for (given, canonical) in [
        ("67108864", "64MiB"),
        ("65536KiB", "64MiB"),
        ("64 MiB", "64MiB"),
        ("4097", "4097"),
        ("4097B", "4097"),
        ("1536MiB", "1536MiB"),
        ("1024MiB", "1GiB"),
        ("1TiB", "1TiB"),
        ("0", "0"),
        (" 0KiB", "0"),
    ] {
        assert_eq!(round_trips("cache.size", given), canonical);
    }
}

#[test]
fn unknown_and_later_keys_are_named() {
    for key in ["io.rate_limit", "memory.total", "wal.retain", "comparator", "Mode", ""] {
        let mut options = Options::new();
        for result in [options.set(key, "1"), options.set_int(key, 1), options.set_float(key, 1.0)] {
            let Err(error) = result else { panic!("{key} accepted") };
            assert_eq!(error.code(), Code::Invalid);
            assert!(error.message().contains(key), "{}", error.message());
        }
        assert_eq!(code(options.get(key)), Code::Invalid);
    }
    assert_eq!(code(Options::new().set("mode", "secondary")), Code::Unsupported);
    assert_eq!(code(Options::new().set("compaction.style", "tiered")), Code::Unsupported);
    if !Compression::Zstd.is_available() {
        let Err(error) = Options::new().set("compression.per_level", "none,zstd") else { panic!("accepted") };
        assert_eq!(error.code(), Code::Unsupported);
        assert!(error.message().contains("zstd"));
    }
}

#[test]
fn load_is_all_or_nothing() {
    let mut options = Options::new();
    options
        .load("# a comment\n\n mode=ro \r\nfilter.fpr = 0.5 # half\nmemtable.size = 1MiB\nmemtable.size = 2MiB")
        .unwrap();
    assert_eq!(options.dump(), "mode = ro\nmemtable.size = 2MiB\nfilter.fpr = 0.5\n");
    let before = options.dump();
    for bad in ["mode = rw\nblock.size = 1\n", "mode = rw\nnonsense\n", "mode = rw\nx.y = 1", "mode = rw\n= 4"] {
        let Err(error) = options.load(bad) else { panic!("{bad:?} accepted") };
        assert_eq!(error.code(), Code::Invalid);
        assert!(error.message().starts_with("line 2"), "{}", error.message());
        assert_eq!(options.dump(), before);
    }
    let mut copy = Options::new();
    copy.load(&before).unwrap();
    assert_eq!(copy.dump(), before);
    copy.load("").unwrap();
    assert_eq!(copy.dump(), before);
}

#[test]
fn describe_has_one_object_per_key() {
    let json = Options::describe();
    assert!(json.starts_with('[') && json.trim_end().ends_with(']'));
    assert_eq!(json.matches("{\"key\":").count(), COUNT);
    for field in ["type", "default", "range", "unit", "scope", "mutable", "text"] {
        assert_eq!(json.matches(&format!("\"{field}\":")).count(), COUNT, "{field}");
    }
    assert!(json.contains(
        "{\"key\":\"block.size\",\"type\":\"size\",\"default\":\"4KiB\",\"range\":\"256..=16MiB\",\"unit\":\"bytes\",\
         \"scope\":\"keyspace\",\"mutable\":false,"
    ));
    assert_eq!(quote("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000a\"");
}

#[test]
fn defaults_reach_the_engine() {
    let db = Options::new().database("").unwrap();
    assert!(db.create_if_missing && !db.error_if_exists && !db.wal_visible_before_sync);
    assert_eq!((db.mode, db.durability, db.wal_io), (Mode::ReadWrite, Durability::Os, WalIo::Auto));
    assert_eq!((db.cache_bytes, db.open_files_max, db.flush_threads), (256 << 20, 1000, 1));
    assert_eq!((db.wal_segment_bytes, db.wal_bytes_max), (64 << 20, 1 << 30));
    assert_eq!((db.compaction_threads, db.compaction_subjobs_max), (parse::cores(), parse::cores()));
    let ks = Options::new().keyspace(&Options::new(), "").unwrap();
    assert_eq!((ks.memtable_bytes, ks.memtable_count_max, ks.block_bytes), (64 << 20, 4, 4096));
    assert_eq!((ks.level0_compaction_trigger, ks.level0_slowdown, ks.level0_stop), (4, 20, 36));
    assert_eq!((ks.level_base_bytes, ks.level_size_ratio, ks.level_count_max), (256 << 20, 10, 7));
    assert_eq!((ks.table_bytes, ks.tables_per_job_max), (64 << 20, 0));
    assert!(ks.create_if_missing && ks.filter_fpr == 0.01);
    assert!((0..20).all(|level| ks.compression(level) == Compression::Lz4));
}

#[test]
fn every_key_given_reaches_the_engine() {
    let mut options = Options::new();
    let text = "create_if_missing = false\nerror_if_exists = true\nmode = ro\ndurability = fsync\ncache.size = 1MiB\n\
                compaction.threads = 3\ncompaction.subjobs_max = 5\nflush.threads = 2\nwal.io = write\n\
                wal.segment_size = 1MiB\nwal.total_max = 2MiB\nwal.visible_before_sync = true\nopen.files_max = 9\n";
    options.load(text).unwrap();
    let db = options.database("").unwrap();
    assert!(!db.create_if_missing && db.error_if_exists && db.wal_visible_before_sync);
    assert_eq!((db.mode, db.durability, db.wal_io), (Mode::ReadOnly, Durability::Fsync, WalIo::Write));
    assert_eq!((db.cache_bytes, db.open_files_max, db.flush_threads), (1 << 20, 9, 2));
    assert_eq!((db.wal_segment_bytes, db.wal_bytes_max), (1 << 20, 2 << 20));
    assert_eq!((db.compaction_threads, db.compaction_subjobs_max), (3, 5));
    options.set("compaction.parallel_merge", "false").unwrap();
    assert_eq!(options.database("").unwrap().compaction_subjobs_max, 1);

    let mut options = Options::new();
    let text = "create_if_missing = false\nmemtable.size = 1MiB\nmemtable.count_max = 2\nblock.size = 8KiB\n\
                compression = none\ncompression.per_level = none,none,lz4\nfilter.fpr = 0\nlevel0.compaction_trigger = 2\n\
                level0.slowdown = 3\nlevel0.stop = 5\nlevel.base_size = 2MiB\nlevel.size_ratio = 4\nlevel.count_max = 5\n\
                table.size = 3MiB\ncompaction.tables_per_job_max = 6\ncompaction.style = leveled\n";
    options.load(text).unwrap();
    let ks = options.keyspace(&Options::new(), "").unwrap();
    assert_eq!((ks.memtable_bytes, ks.memtable_count_max, ks.block_bytes), (1 << 20, 2, 8192));
    assert_eq!((ks.level0_compaction_trigger, ks.level0_slowdown, ks.level0_stop), (2, 3, 5));
    assert_eq!((ks.level_base_bytes, ks.level_size_ratio, ks.level_count_max), (2 << 20, 4, 5));
    assert_eq!((ks.table_bytes, ks.tables_per_job_max), (3 << 20, 6));
    assert!(!ks.create_if_missing && ks.filter_fpr == 0.0);
    let codecs: Vec<_> = (0..4).map(|level| ks.compression(level)).collect();
    assert_eq!(codecs, [Compression::None, Compression::None, Compression::Lz4, Compression::Lz4]);
}

#[test]
fn explicit_beats_persisted_beats_the_database_beats_the_default() {
    let mut parent = Options::new();
    parent.load("create_if_missing = false\nmemtable.size = 2MiB\nblock.size = 2KiB\ntable.size = 2MiB\n").unwrap();
    let mut own = Options::new();
    own.set("memtable.size", "1MiB").unwrap();
    let ks = own.keyspace(&parent, "memtable.size = 3MiB\nblock.size = 3KiB\n").unwrap();
    assert_eq!((ks.memtable_bytes, ks.block_bytes, ks.table_bytes), (1 << 20, 3 << 10, 2 << 20));
    assert!(ks.create_if_missing, "what belongs to one open is not handed down");
    let db = parent.over("table.size = 4MiB\nlevel.count_max = 3\ncache.size = 0\n").unwrap();
    let ks = own.keyspace(&db, "").unwrap();
    assert_eq!((ks.table_bytes, ks.level_count_max), (2 << 20, 3));
    assert_eq!(db.database("cache.size = 1MiB\n").unwrap().cache_bytes, 0);
    assert_eq!(Options::new().database("cache.size = 1MiB\n").unwrap().cache_bytes, 1 << 20);
}

#[test]
fn a_keyspace_refuses_the_databases_keys() {
    for spec in TABLE.iter().filter(|spec| spec.scope == Scope::Database) {
        let mut options = Options::new();
        options.set(spec.name, &parse::default_text(spec)).unwrap();
        let Err(error) = options.keyspace(&Options::new(), "") else { panic!("{} accepted", spec.name) };
        assert_eq!(error.code(), Code::Invalid);
        assert!(error.message().contains(spec.name));
    }
}

#[test]
fn only_what_was_set_is_persisted_and_new_values_are_merged() {
    let mut options = Options::new();
    assert_eq!(options.persisted_text(Scope::Database, "").unwrap(), "");
    options
        .load("mode = rw\ncreate_if_missing = true\nerror_if_exists = false\nwal.io = write\nblock.size = 8KiB")
        .unwrap();
    let first = options.persisted_text(Scope::Database, "").unwrap();
    assert_eq!(first, "block.size = 8KiB\nwal.io = write\n");
    assert_eq!(Options::new().persisted_text(Scope::Database, &first).unwrap(), first, "nothing new, nothing changed");
    let mut second = Options::new();
    second.load("wal.io = mmap\ncache.size = 0").unwrap();
    let merged = second.persisted_text(Scope::Database, &first).unwrap();
    assert_eq!(merged, "block.size = 8KiB\ncache.size = 0\nwal.io = mmap\n");
    let mut keyspace = Options::new();
    keyspace.load("block.size = 1KiB\ncreate_if_missing = false").unwrap();
    assert_eq!(
        keyspace.persisted_text(Scope::Keyspace, "filter.fpr = 0\n").unwrap(),
        "block.size = 1KiB\nfilter.fpr = 0\n"
    );
}

#[test]
fn persisted_options_of_another_build_are_an_error() {
    for text in ["io.rate_limit = 1MiB\n", "block.size = 1\n", "gibberish"] {
        assert_eq!(code(Options::new().database(text)), Code::Version);
        assert_eq!(code(Options::new().keyspace(&Options::new(), text)), Code::Version);
        assert_eq!(code(Options::new().persisted_text(Scope::Database, text)), Code::Version);
    }
    assert_eq!(code(Options::new().database("compaction.style = fifo\n")), Code::Unsupported);
}

#[test]
fn level0_limits_keep_their_order() {
    let limits = |text: &str| {
        let mut options = Options::new();
        options.load(text).unwrap();
        options.database("")?;
        let ks = options.keyspace(&Options::new(), "")?;
        Ok((ks.level0_compaction_trigger, ks.level0_slowdown, ks.level0_stop))
    };
    assert_eq!(limits("level0.compaction_trigger = 100").unwrap(), (100, 100, 100));
    assert_eq!(limits("level0.stop = 2").unwrap(), (2, 2, 2));
    assert_eq!(limits("level0.slowdown = 50").unwrap(), (4, 50, 50));
    assert_eq!(limits("level0.compaction_trigger = 25\nlevel0.stop = 30").unwrap(), (25, 25, 30));
    let result: Result<_> = limits("level0.slowdown = 50\nlevel0.stop = 49");
    let Err(error) = result else { panic!("accepted") };
    assert_eq!(error.code(), Code::Invalid);
    assert!(error.message().contains("level0.slowdown") && error.message().contains("level0.stop"));
}
