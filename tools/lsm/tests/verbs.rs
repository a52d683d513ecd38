//! Every verb on real databases, its answers for people and, with `--json`, for programs; bytes of any kind.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::undocumented_unsafe_blocks, reason = "a test may fail")]

mod common;

use common::{contents, files, filled, folder, lsm, lsm_with, row};
use serde_json::{Value, json};
use std::ffi::OsStr;

#[test]
fn put_get_and_delete() {
    let (_dir, db) = folder();
    lsm!["put", &db, "ada", "Countess", "--create"].ok();
    lsm!["put", &db, "bob", "Builder", "--sync", "--json"].ok();
    assert_eq!(lsm!["get", &db, "ada"].ok().text(), "Countess\n");
    assert_eq!(lsm!["get", &db, "bob", "ada"].ok().text(), "bob\tBuilder\nada\tCountess\n");
    assert_eq!(lsm!["get", &db, "ada", "--raw"].ok().stdout, b"Countess");
    let found = lsm!["get", &db, "ada", "--json"].ok().json();
    assert_eq!(found, json!({ "keyspace": "default", "key": "ada", "found": true, "value": "Countess" }));
    let ran = lsm!["delete", &db, "ada", "bob", "--json"].ok();
    assert_eq!(ran.json(), json!({ "keyspace": "default", "deleted": 2 }));
    let gone = lsm!["get", &db, "ada", "--json"].exit(1);
    assert_eq!((gone.json()["found"].clone(), gone.stderr.as_str()), (json!(false), ""));
    assert_eq!(lsm!["get", &db, "ada"].exit(1).stderr, "lsm: no key ada\n");
}

#[test]
fn values_come_from_arguments_files_and_standard_input() {
    let (dir, db) = folder();
    let file = dir.path().join("value");
    let bytes: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    std::fs::write(&file, &bytes).unwrap();
    lsm!["put", &db, "file", "--file", &file, "--create"].ok();
    let args: [&OsStr; 4] = ["put".as_ref(), db.as_ref(), "stdin".as_ref(), "--stdin".as_ref()];
    lsm_with(args, &bytes).ok();
    for key in ["file", "stdin"] {
        assert!(lsm!["get", &db, key, "--raw"].ok().stdout == bytes, "{key}");
    }
    lsm!["put", &db, "none"].exit(2);
    lsm!["put", &db, "two", "value", "--stdin"].exit(2);
}

#[test]
fn bytes_of_any_kind_go_in_and_out() {
    let (dir, db) = folder();
    let all: Vec<u8> = (0..=255).collect();
    let hex: String = all.iter().map(|b| format!("{b:02x}")).collect();
    lsm!["put", &db, &hex, &hex, "--hex", "--create"].ok();
    lsm!["put", &db, "a\\x00\\xffb\\\\", "line\\nend\\t", "-k", "sp\u{e4}ter", "--create"].ok();
    assert_eq!(lsm!["get", &db, &hex, "--hex"].ok().text(), format!("{hex}\n"));
    assert_eq!(lsm!["scan", &db, "-k", "sp\u{e4}ter"].ok().text(), "a\\x00\\xffb\\\\\tline\\nend\\t\n");
    let scanned = lsm!["scan", &db, "--json"].ok().json_lines();
    let escaped = scanned[0]["key"].as_str().unwrap();
    assert_eq!(lsm!["get", &db, escaped, "--hex"].exit(2).stdout, b"", "escaped text is no hex");
    assert_eq!(lsm!["get", &db, escaped, "--json"].ok().json()["value"], scanned[0]["value"]);
    assert_eq!(lsm!["get", &db, &hex, "--json", "-e", "hex"].ok().json()["value"], hex);
    lsm!["scan", &db, "--json", "--encoding", "raw"].exit(2);
    let raw = lsm!["get", &db, escaped, "--raw"].ok();
    assert_eq!(raw.stdout, all);
    // The same bytes in every file format and encoding, through a second database each.
    let want = lsm!["export", &db].ok().text();
    for format in ["jsonl", "csv", "tsv", "packed"] {
        for encoding in ["escaped", "hex", "raw"] {
            let (file, copy) =
                (dir.path().join(format!("{format}-{encoding}")), dir.path().join(format!("copy-{format}-{encoding}")));
            let ran = lsm!["export", &db, &file, "-f", format, "-e", encoding];
            if encoding == "raw" && ["jsonl", "tsv"].contains(&format) {
                assert!(ran.exit(2).stderr.contains("--encoding escaped"), "{format}");
                assert!(!file.exists() && !file.with_extension("partial").exists());
                continue;
            }
            ran.ok();
            lsm!["load", &copy, &file, "-f", format, "-e", encoding].ok();
            assert_eq!(lsm!["export", &copy].ok().text(), want, "{format} {encoding}");
        }
    }
}

#[test]
fn scan_takes_ranges_limits_and_directions() {
    let (_dir, db) = folder();
    filled(&db, 1000);
    let keys = |args: &[&str]| -> Vec<String> {
        let mut all = vec![OsStr::new("scan"), db.as_ref(), OsStr::new("--keys")];
        all.extend(args.iter().map(OsStr::new));
        lsm(all).ok().text().lines().map(str::to_string).collect()
    };
    assert_eq!(keys(&[]).len(), 1000);
    assert_eq!(keys(&["--prefix", "key00012"]), (120..130).map(|i| format!("key{i:06}")).collect::<Vec<_>>());
    assert_eq!(keys(&["--from", "key000997"]), ["key000997", "key000998", "key000999"]);
    assert_eq!(keys(&["--to", "key000002"]), ["key000000", "key000001"]);
    assert_eq!(keys(&["-n", "2", "--reverse"]), ["key000999", "key000998"]);
    assert_eq!(keys(&["--from", "key000005", "--to", "key000005"]), [""; 0]);
    assert_eq!(lsm!["scan", &db, "--count"].ok().text(), "1000\n");
    assert_eq!(lsm!["scan", &db, "--count", "--json", "--prefix", "key0005"].ok().json()["count"], 100);
    let line = &lsm!["scan", &db, "--json", "-n", "1"].ok().json_lines()[0];
    assert_eq!(*line, json!({ "key": "key000000", "value": "0 ".repeat(10) }));
}

#[test]
fn load_and_export_agree_on_count_and_checksum() {
    let (dir, db) = folder();
    filled(&db, 2000);
    let file = dir.path().join("all.packed");
    let out = lsm!["export", &db, &file, "--json"].ok().json();
    assert_eq!(out["entries"], 2000);
    lsm!["export", &db, &file].exit(3);
    lsm!["export", &db, &file, "--force"].ok();
    let copy = dir.path().join("copy");
    let checksum = out["checksum"].as_str().unwrap();
    let loaded = lsm!["load", &copy, &file, "--json", "--expect-count", "2000", "--expect-checksum", checksum].ok();
    let loaded = loaded.json();
    assert_eq!(
        (&loaded["checksum"], &loaded["written"], &loaded["bytes"]),
        (&out["checksum"], &json!(2000), &out["bytes"])
    );
    let beside = lsm!["export", &copy, "--json"].ok();
    assert_eq!(serde_json::from_str::<Value>(beside.stderr.trim()).unwrap()["checksum"], out["checksum"]);
    let some = lsm!["export", &copy, "-k", "default", "--prefix", "key0000", "--json"].ok();
    assert_eq!(serde_json::from_str::<Value>(some.stderr.trim()).unwrap()["entries"], 100);
}

#[test]
fn a_load_that_stops_says_where_and_goes_on_there() {
    let (dir, db) = folder();
    let file = dir.path().join("in.jsonl");
    let line = |i: usize| format!("{{\"key\":\"k{i:05}\",\"value\":\"v\"}}\n");
    let mut lines: Vec<String> = (1..=5000).map(line).collect();
    lines[3456] = "{\"key\":\"broken\n".to_string();
    std::fs::write(&file, lines.concat()).unwrap();
    let ran = lsm!["load", &db, &file].exit(6);
    assert!(ran.stderr.contains("in.jsonl: line 3457: is not JSON"), "{}", ran.stderr);
    assert!(ran.stderr.contains("3,456 entries, all before line 3457") && ran.stderr.contains("--from-line 3457"));
    assert_eq!(lsm!["scan", &db, "--count"].ok().text(), "3456\n");
    lines[3456] = line(3457);
    std::fs::write(&file, lines.concat()).unwrap();
    let rest = lsm!["load", &db, &file, "--from-line", "3457", "--json"].ok().json();
    assert_eq!((&rest["entries"], &rest["written"]), (&json!(5000), &json!(1544)));
    assert_eq!(lsm!["scan", &db, "--count"].ok().text(), "5000\n");
    let told = lsm!["load", &db, &file, "--expect-count", "4999"].exit(8);
    assert!(told.stderr.contains("5000, expected 4999"), "{}", told.stderr);
    lsm!["load", &db, &file, "--expect-checksum", "00"].exit(8);
}

#[test]
fn numbers_levels_options_and_metrics() {
    let (_dir, db) = folder();
    filled(&db, 3000);
    let stats = lsm!["stats", &db, "--json"].ok().json();
    assert_eq!(stats["keyspaces"], json!(["default"]));
    assert_eq!(stats["metrics"]["keys.estimate"].as_u64().or(stats["metrics"]["keys_estimate"].as_u64()), Some(3000));
    let levels = lsm!["levels", &db, "--json"].ok().json();
    let on_disk: u64 = files(&db, ".sst").iter().map(|path| std::fs::metadata(path).unwrap().len()).sum();
    let told: u64 = levels.as_array().unwrap().iter().map(|level| level["bytes"].as_u64().unwrap()).sum();
    assert_eq!(told, on_disk);
    assert!(levels[0]["score"].is_number(), "{levels}");
    for verb in ["stats", "levels"] {
        let text = lsm![verb, &db].ok().text();
        assert!(text.contains("default"), "{verb}: {text}");
    }
    let prometheus = lsm!["metrics", &db].ok().text();
    assert!(prometheus.contains("# TYPE lsm_disk_bytes gauge\n") && prometheus.contains("lsm_level_files{"));
    assert!(lsm!["metrics", &db, "--json"].ok().json()["levels"].is_array());
    let options = lsm!["options", &db, "--json"].ok().json();
    let value = |key: &str| options.as_array().unwrap().iter().find(|o| o["key"] == key).unwrap()["value"].clone();
    assert_eq!((value("compression"), value("memtable.size")), (json!("none"), json!("64KiB")), "what was set is kept");
    assert!(lsm!["options"].ok().text().contains("block.size"));
    let only = lsm!["options", "--only", "wal.", "--json"].ok().json();
    assert!(only.as_array().unwrap().iter().all(|o| o["key"].as_str().unwrap().starts_with("wal.")));
    lsm!["options", "--only", "nothing."].exit(1);
}

#[test]
fn flush_and_compact() {
    let (_dir, db) = folder();
    filled(&db, 3000);
    lsm!["flush", &db, "--json"].ok();
    lsm!["compact", &db, "--json"].ok();
    let levels = lsm!["levels", &db, "--json"].ok().json();
    let full: Vec<_> = levels.as_array().unwrap().iter().filter(|level| level["files"] != 0).collect();
    assert_eq!(full.len(), 1, "all in one level: {levels}");
    assert_ne!(full[0]["level"], 0);
    lsm!["compact", &db, "--from", "key000001", "--to", "key000002"].ok();
    assert_eq!(lsm!["scan", &db, "--count"].ok().text(), "3000\n");
}

#[test]
fn reading_verbs_write_not_a_byte() {
    let (_dir, db) = folder();
    filled(&db, 500);
    let before = contents(&db);
    let table = files(&db, ".sst").remove(0);
    for args in [
        vec!["get", "key000001"],
        vec!["scan"],
        vec!["export"],
        vec!["stats"],
        vec!["levels"],
        vec!["metrics"],
        vec!["options"],
        vec!["find", "key000001"],
        vec!["report", "--html"],
    ] {
        let mut all = vec![OsStr::new(args[0]), db.as_ref()];
        all.extend(args[1..].iter().map(OsStr::new));
        lsm(all).ok();
    }
    lsm!["dump", "manifest", &db].ok();
    lsm!["dump", "table", &table, "--entries"].ok();
    let code = lsm!["verify", &db].code;
    assert!([0, 7].contains(&code), "verify: {code}");
    assert!(before == contents(&db));
}

#[test]
fn dump_shows_tables_and_manifests() {
    let (_dir, db) = folder();
    filled(&db, 3000);
    lsm!["delete", &db, "key000007"].ok();
    let (mut entries, mut deletes) = (0, 0);
    for table in files(&db, ".sst") {
        let told = lsm!["dump", "table", &table, "--json"].ok().json();
        let lines = lsm!["dump", "table", &table, "--entries", "--json"].ok().json_lines();
        assert_eq!(told["entries"], lines.len());
        assert_eq!((&told["keyspace"], &told["keyspace_id"]), (&json!("default"), &json!(0)));
        assert_eq!((&told["smallest_key"], &told["largest_key"]), (&lines[0]["key"], &lines[lines.len() - 1]["key"]));
        let blocks = lsm!["dump", "table", &table, "--blocks", "--json"].ok().json_lines();
        assert_eq!(told["parts"]["data_blocks"], blocks.len());
        let in_blocks: u64 = blocks.iter().map(|b| b["entries"].as_u64().unwrap()).sum();
        assert_eq!(told["entries"], in_blocks);
        entries += lines.len();
        deletes += lines.iter().filter(|line| line["kind"] == "delete").count();
        assert_eq!(told["deletes"], lines.iter().filter(|line| line["kind"] == "delete").count());
        let some =
            lsm!["dump", "table", &table, "--entries", "--from", "key000002", "-n", "3", "--json"].ok().json_lines();
        assert!(some.len() <= 3 && some.iter().all(|line| line["key"].as_str().unwrap() >= "key000002"));
        assert_eq!(row(&lsm!["dump", "table", &table].ok().text(), "damaged places"), "0");
    }
    assert_eq!((entries, deletes), (3001, 1));
    let manifest = lsm!["dump", "manifest", &db, "--json"].ok().json();
    assert_eq!(manifest["current"]["closed_cleanly"], true);
    assert_eq!(manifest["units"][0]["kind"], "snapshot");
    let tables = manifest["state"]["keyspaces"][0]["tables"].as_array().unwrap().len();
    assert_eq!(tables, files(&db, ".sst").len());
    let text = lsm!["dump", "manifest", manifest["file"].as_str().unwrap()].ok().text();
    assert!(text.contains("snapshot\n") && text.contains("closed cleanly"), "{text}");
}

#[test]
fn a_table_outside_its_folder_is_shown_with_its_identity() {
    let (dir, db) = folder();
    filled(&db, 100);
    let table = files(&db, ".sst").remove(0);
    let (alone, renamed) = (dir.path().join(table.file_name().unwrap()), dir.path().join("renamed"));
    std::fs::copy(&table, &alone).unwrap();
    std::fs::copy(&table, &renamed).unwrap();
    assert!(lsm!["dump", "table", &alone].exit(4).stderr.contains("--database"));
    let database = lsm!["dump", "manifest", &db, "--json"].ok().json()["database"].as_str().unwrap().to_string();
    lsm!["dump", "table", &alone, "--database", &database].ok();
    lsm!["dump", "table", &alone, "--database", "xyz"].exit(2);
    lsm!["dump", "table", &renamed, "--database", &database].exit(2);
    let number = table.file_stem().unwrap().to_string_lossy().trim_start_matches('0').to_string();
    lsm!["dump", "table", &renamed, "--database", &database, "--number", &number].ok();
}

#[test]
fn find_shows_every_version_newest_first() {
    let (_dir, db) = folder();
    for value in ["one", "two"] {
        lsm!["put", &db, "k", value, "--create"].ok();
    }
    lsm!["put", &db, "k", "other", "-k", "second", "--create"].ok();
    lsm!["delete", &db, "k"].ok();
    let found = lsm!["find", &db, "k", "--json"].ok().json();
    let places = found["places"].as_array().unwrap();
    let versions: Vec<_> = places
        .iter()
        .map(|p| (p["keyspace"].as_str().unwrap(), p["kind"].as_str().unwrap(), p["value"].clone()))
        .collect();
    assert_eq!(
        versions,
        [
            ("default", "delete", Value::Null),
            ("second", "put", json!("other")),
            ("default", "put", json!("two")),
            ("default", "put", json!("one"))
        ]
    );
    assert!(places.iter().all(|place| place["is_dropped"] == false));
    assert_eq!(lsm!["find", &db, "k", "-k", "second", "--json"].ok().json()["places"].as_array().unwrap().len(), 1);
    assert_eq!(lsm!["find", &db, "unknown", "--json"].exit(1).json()["places"], json!([]));
    assert!(lsm!["find", &db, "k"].ok().text().contains("second"));
}

#[test]
fn the_report_is_one_page_that_loads_nothing() {
    let (dir, db) = folder();
    filled(&db, 3000);
    let page = dir.path().join("report.html");
    lsm!["report", &db, "--html", "--output", &page].ok();
    let html = std::fs::read_to_string(&page).unwrap();
    for part in ["<!DOCTYPE html>", "<svg ", "</svg>", "block.size", "disk.bytes", "level 0", "</html>\n"] {
        assert!(html.contains(part) || html.contains(&part.replace('.', "_")), "{part}");
    }
    for foreign in ["http:", "https:", "<script", "src=", "<link", "@import", "url("] {
        assert!(!html.contains(foreign), "{foreign}");
    }
    assert!(lsm!["report", &db, "--html"].ok().text().ends_with("</html>\n"));
    assert!(lsm!["report", &db, "--json"].ok().json()["options"].is_array());
    lsm!["report", &db].exit(2);
}

#[test]
fn bench_measures_what_it_checks() {
    let (_dir, db) = folder();
    let rows = lsm!["bench", "-n", "3000", "-t", "2", "--json"].ok().json_lines();
    let names: Vec<_> = rows.iter().map(|row| row["workload"].as_str().unwrap()).collect();
    assert_eq!(names, ["fillseq", "fillrandom", "readrandom", "readseq", "seek"]);
    for row in &rows {
        assert_eq!(row["operations"], 3000);
        let latency = |name: &str| row["latency_micros"][name].as_f64().unwrap();
        assert!(latency("p50") <= latency("p99") && latency("p99") <= latency("max"), "{row}");
        assert!(row["operations_per_second"].as_f64().unwrap() > 0.0);
    }
    lsm!["bench", "fillrandom", "readrandom", "-n", "100", "--db", &db, "--value-size", "0", "--sync"].ok();
    assert_eq!(lsm!["scan", &db, "--count"].ok().text(), "100\n");
    assert!(lsm!["bench", "--db", &db].exit(2).stderr.contains("is not empty"));
    lsm!["bench", "readseq"].exit(2);
}

#[test]
fn the_manual_and_the_completions_know_every_verb() {
    let verbs = [
        "get",
        "put",
        "delete",
        "scan",
        "load",
        "import",
        "export",
        "stats",
        "levels",
        "metrics",
        "options",
        "verify",
        "repair",
        "compact",
        "flush",
        "bench",
        "dump",
        "find",
        "report",
        "completions",
        "man",
    ];
    let (dir, _) = folder();
    let page = lsm!["man"].ok().text();
    let help = lsm!["--help"].ok().text();
    lsm!["man", "--dir", dir.path()].ok();
    for verb in verbs {
        assert!(page.contains(&format!("\"lsm {verb}")), "{verb} in the manual");
        assert!(help.contains(&format!("\n  {verb} ")), "{verb} in the help");
        lsm![verb, "--help"].ok();
    }
    assert!(page.contains("EXIT STATUS") && page.contains("LSM_LIBRARY"));
    assert!(contents(dir.path()).contains_key("lsm-dump-table.1"));
    for shell in ["bash", "zsh", "fish"] {
        let script = lsm!["completions", shell].ok().text();
        assert!(verbs.iter().all(|verb| script.contains(verb)), "{shell}");
    }
    // Neither needs the library.
    let mut command = common::command(["man"]);
    assert!(command.env("LSM_LIBRARY", "/nowhere.so").output().unwrap().status.success());
}

#[test]
fn databases_of_released_versions_are_shown_and_find_agrees_with_reads() {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/0.1.0");
    for kind in ["clean", "killed", "killed-written-log", "raw-no-filter"] {
        let (_dir, db) = folder();
        std::fs::create_dir(&db).unwrap();
        for (name, bytes) in contents(&fixtures.join(kind)) {
            std::fs::write(db.join(name), bytes).unwrap();
        }
        let before = contents(&db);
        for table in files(&db, ".sst") {
            lsm!["dump", "table", &table, "--entries"].ok();
        }
        for segment in files(&db, ".wal") {
            let ran = lsm!["dump", "wal", &segment, "--entries", "--json"];
            assert!([0, 4].contains(&ran.code), "{kind}: {}", ran.stderr);
            assert!(!ran.json_lines().is_empty(), "{kind}");
        }
        lsm!["dump", "manifest", &db, "--hex"].ok();
        for keyspace in ["default", "second"] {
            let lines = lsm!["scan", &db, "-k", keyspace, "--json", "--hex"].ok().json_lines();
            assert!(lines.len() > 100, "{kind} {keyspace}: {} keys", lines.len());
            for line in lines.iter().step_by(97) {
                let key = line["key"].as_str().unwrap();
                let found = lsm!["find", &db, key, "-k", keyspace, "--hex", "--json"].ok().json();
                let newest = found["places"].as_array().unwrap().iter().find(|place| place["is_dropped"] == false);
                let newest = newest.unwrap_or_else(|| panic!("{kind} {keyspace} {key}: {found}"));
                assert_eq!(newest["value"], line["value"], "{kind} {keyspace} {key}");
            }
        }
        assert!(before == contents(&db), "{kind}: nothing is written, not even a lock file");
    }
}

/// A keyspace's name is bytes to the library; here it is escaped, in and out.
#[test]
fn keyspaces_of_any_name() {
    let (dir, db) = folder();
    let lines = r#"{"keyspace":"\\xff\\\\ \\t","key":"a","value":"1"}"#;
    lsm_with([OsStr::new("load"), db.as_os_str()], lines.as_bytes()).ok();
    assert_eq!(lsm!["get", &db, "-k", r"\xff\\ \t", "a"].ok().text(), "1\n");
    assert!(lsm!["get", &db, "-k", r"\xff", "a"].exit(1).stderr.contains(r"there are: default, \xff"));
    lsm!["get", &db, "-k", r"\q", "a"].exit(2);
    assert_eq!(lsm!["stats", &db, "--json"].ok().json()["keyspaces"][1], r"\xff\\ \t");
    for format in ["jsonl", "csv", "tsv", "packed"] {
        let (file, copy) = (dir.path().join("file"), dir.path().join(format));
        lsm!["export", &db, &file, "--force", "--format", format].ok();
        lsm!["load", &copy, &file, "--format", format].ok();
        assert_eq!(lsm!["get", &copy, "-k", r"\xff\\ \t", "a"].ok().text(), "1\n", "{format}");
    }
    assert_eq!(lsm!["find", &db, "a", "-k", r"\xff\\ \t", "--json"].ok().json()["places"][0]["keyspace"], r"\xff\\ \t");
}
