//! The planted bugs and the checks that must notice them. A bug is one place in `src/`, `crate::base::planted!("name")`.

/// A command that can convict.
pub struct Check {
    /// Short name: a column of the matrix.
    pub name: &'static str,
    /// `lib`, or the name of a file in `tests/`, or in `models/tests/` with `models/` before it.
    pub binary: &'static str,
    /// Which of its tests, in the test harness's own words.
    pub args: &'static [&'static str],
    /// Environment.
    pub env: &'static [(&'static str, &'static str)],
    /// After so many seconds it has convicted nobody: a hang counts only where the check itself reports it.
    pub seconds: u64,
    /// How often it is tried: one with threads or drawn histories may miss a bug once.
    pub tries: u32,
}

/// A bug.
pub struct Bug {
    /// Its name in `src/`.
    pub name: &'static str,
    /// What the code does then.
    pub what: &'static str,
    /// Checks that must convict it, the cheapest first.
    pub checks: &'static [&'static str],
}

const fn unit(name: &'static str, args: &'static [&'static str]) -> Check {
    Check { name, binary: "lib", args, env: &[], seconds: 300, tries: 1 }
}

const fn unit_of(name: &'static str, binary: &'static str) -> Check {
    Check { name, binary, args: &[], env: &[], seconds: 120, tries: 1 }
}

const fn test(
    name: &'static str,
    binary: &'static str,
    args: &'static [&'static str],
    minutes: &'static [(&'static str, &'static str)],
) -> Check {
    Check { name, binary, args, env: minutes, seconds: 240, tries: 3 }
}

const SHORT: &[(&str, &str)] = &[("LSM_SOAK_MINUTES", "0.5")];
const BRIEF: &[(&str, &str)] = &[("LSM_SOAK_MINUTES", "0.25")];

/// Columns of the matrix, cheapest first.
pub const CHECKS: &[Check] = &[
    unit("unit base", &["base::"]),
    unit("unit iter", &["iter::"]),
    unit("unit compaction", &["compaction::"]),
    unit("unit flush", &["flush::"]),
    unit("unit version", &["version::"]),
    unit("unit cache", &["cache::"]),
    unit("unit memtable", &["memtable::"]),
    unit("unit wal", &["wal::"]),
    unit("unit sstable", &["sstable::", "--skip", "speed"]),
    unit("unit db", &["db::"]),
    unit_of("loom log", "models/log"),
    unit_of("loom leaf", "models/leaf"),
    unit_of("loom cache", "models/cache"),
    unit_of("loom iterator", "models/iterator"),
    test("locks", "locks", &[], &[]),
    test("model", "model", &[], &[("LSM_SEED", "2026")]),
    test("metamorphic", "metamorphic", &[], BRIEF),
    test("linear", "linearizability", &[], BRIEF),
    test("threads", "concurrency", &[], &[]),
    test("crash write", "crash_explorer", &["histories_survive_crashes_with_a_written_log"], SHORT),
    test("reopen", "crash_explorer", &["survive_a_power_cut", "written_again"], &[]),
    test("crash mapped", "crash_explorer", &["histories_survive_crashes_with_a_mapped_log"], SHORT),
    test("failing calls", "faults", &["--skip", "is_convicted"], BRIEF),
    test("kill", "kill", &[], &[]),
];

const fn bug(name: &'static str, what: &'static str, checks: &'static [&'static str]) -> Bug {
    Bug { name, what, checks }
}

/// All of them, layer by layer.
pub const BUGS: &[Bug] = &[
    // base
    bug("checksum-without-offset", "a block copied to another place of its file passes", &["unit sstable"]),
    bug("epoch-not-awaited", "what readers may see is freed before they leave", &["unit base"]),
    bug("view-freed-at-once", "a view that is replaced is freed under its readers", &["loom iterator"]),
    // cache
    bug("cache-freed-at-once", "an evicted block is freed under its readers", &["unit cache", "loom cache"]),
    bug("cache-keeps-closed-tables", "a closed table's slots take frames again", &["unit cache"]),
    bug("frame-not-counted", "a reader that keeps a block holds no count of it", &["loom cache"]),
    bug("frame-seen-unwritten", "a block can be found before its bytes can be seen", &["loom cache"]),
    bug("cache-wrong-block", "a block is kept under its neighbour's number", &["model"]),
    // memtable
    bug("leaf-claim-unconditional", "two inserts take one slot of a leaf", &["loom leaf", "unit memtable"]),
    bug("late-version-misplaced", "a version that comes late stands before newer ones", &["unit memtable"]),
    bug("memtable-ignores-the-bound", "a read sees versions above its moment", &["unit memtable", "model"]),
    bug("split-loses-a-key", "a leaf that splits loses a key", &["unit memtable", "model"]),
    // log
    bug("log-unsynced", "a sync of the log does nothing", &["crash write"]),
    bug("log-name-unsynced", "the name of a new segment is not made durable", &["crash write"]),
    bug("log-failed-sync-forgotten", "a segment whose sync failed may be synced again", &["unit wal"]),
    bug("log-write-error-ignored", "a failed store of a record counts as done", &["unit wal", "failing calls"]),
    bug(
        "log-shared-extents-recycled",
        "a spare of the wrong length, or with a second name, is put to use",
        &["unit wal"],
    ),
    bug("log-zeros-over-records", "zeros that are written ahead may land on a record", &["unit wal"]),
    bug("log-reserve-over-the-seal", "a record may take the room of the seal", &["unit wal"]),
    bug("log-checksum-unchecked", "a record is replayed whatever its checksum", &["unit wal", "crash write"]),
    bug("log-place-unbound", "a record may stand in another segment or place", &["unit wal"]),
    bug("replay-past-hole", "a replay goes on in the next segment behind a torn one", &["unit wal", "crash write"]),
    bug("replay-damage-called-torn", "damage below the durable watermark passes for a torn end", &["unit wal"]),
    bug("replay-missing-segment-accepted", "a segment that a seal names may be missing", &["unit wal"]),
    bug("replay-cut-file-accepted", "a segment file that was cut passes for a torn end", &["unit wal"]),
    bug(
        "replay-skips-one-too-many",
        "the first entry that is not in tables is not replayed",
        &["unit wal", "crash write"],
    ),
    bug("replay-below-flushed", "entries that are in tables are replayed again", &["reopen"]),
    bug("publish-over-unsynced", "a record becomes visible before its sync", &["unit wal"]),
    bug("sleepers-not-woken", "a thread that waits for visibility is not woken", &["loom log"]),
    // write path
    bug("publish-before-insert", "a batch becomes visible before it is in the memtable", &["linear", "threads"]),
    bug("ack-before-visible", "a write is acknowledged before its writer can read it", &["linear", "threads"]),
    bug("fsync-not-awaited", "a write is acknowledged as durable before the sync", &["crash write"]),
    bug("older-segments-unsynced", "a group sync leaves out the closed segments", &["crash write"]),
    bug("watermark-too-high", "the durable watermark names an entry that is not on the device", &["crash write"]),
    bug("failed-sync-acknowledged", "a group whose sync failed is acknowledged", &["failing calls"]),
    bug("seal-names-another", "a seal names a segment that never comes", &["crash write"]),
    bug("log-released-early", "segments are given back though a keyspace needs them", &["crash write"]),
    bug(
        "write-before-recovered-is-rewritten",
        "writes are taken though the recovered log could not be rewritten",
        &["failing calls"],
    ),
    bug(
        "route-keyspace-unchecked",
        "a new keyspace writes into the memtable of a dropped one",
        &["metamorphic", "crash write"],
    ),
    bug("install-lock-not-taken", "two changes of tables publish in any order", &["linear", "threads"]),
    bug("flushed-claimed-for-all", "the manifest says flushed of keyspaces that are not", &["crash write"]),
    bug("drop-before-log-sync", "a drop is durable before what was written before it", &["crash write"]),
    bug("folder-lock-shared", "two processes may write one database", &["locks"]),
    // recovery
    bug("recovered-not-rewritten", "what was recovered is served without a rewrite", &["crash write"]),
    bug("recovered-manifest-not-rewritten", "the end of a recovered manifest is trusted unsynced", &["reopen"]),
    bug("clean-end-kept", "the record of a clean close outlives the next write", &["unit version", "crash write"]),
    bug("table-size-unchecked", "a table of the wrong length opens", &["unit version"]),
    // manifest
    bug("manifest-unsynced", "a sync of the manifest does nothing", &["unit version", "crash write"]),
    bug("manifest-name-unsynced", "the name of a new manifest is not made durable", &["unit version", "crash write"]),
    bug("manifest-head-unchecked", "a record of the manifest counts whatever its checksum", &["unit version"]),
    bug(
        "manifest-damage-called-torn",
        "damage of the manifest passes for a torn end though a record tells better",
        &["unit version"],
    ),
    bug(
        "old-full-disk-answered",
        "a write that comes when there is room again meets the old failure",
        &["failing calls"],
    ),
    bug("schema-not-vouched", "CURRENT does not vouch for a change of keyspaces", &["unit version"]),
    bug("current-tmp-unsynced", "CURRENT is renamed before its bytes are durable", &["unit version", "crash write"]),
    bug("current-name-unsynced", "the rename of CURRENT is not made durable", &["unit version", "crash write"]),
    bug("failed-edit-applied", "an edit that could not be logged is in force", &["unit version", "failing calls"]),
    bug("table-removed-while-read", "a table file goes while a reader's version names it", &["unit version", "model"]),
    bug("level0-oldest-first", "level 0 is read oldest first", &["unit version", "model"]),
    // tables
    bug("table-unsynced", "a table is named before its bytes are durable", &["crash write"]),
    bug("block-checksum-unchecked", "a block is used whatever its checksum", &["unit sstable"]),
    bug("block-structure-unchecked", "a signed block is searched unchecked", &["unit sstable"]),
    bug("block-ignores-the-bound", "a read of a table sees versions above its moment", &["unit sstable", "model"]),
    bug("filter-forgets-a-key", "one key in 64 is not in its filter", &["unit sstable", "model"]),
    bug("versions-in-the-next-block-missed", "versions behind a block's end are not found", &["unit sstable"]),
    bug("walk-back-past-the-bound", "a walk back shows a version above its moment", &["unit sstable"]),
    // merging
    bug("merge-tie-order", "of two sources with one key the older one wins", &["unit iter", "model"]),
    bug("merge-shows-older-versions", "a walk shows a key once for each source", &["unit iter", "model"]),
    bug("turn-stays-on-the-key", "a walk that turns round shows the key again", &["unit iter", "model"]),
    bug("level-walk-skips-a-table", "a walk back leaves out a table", &["unit iter", "metamorphic"]),
    bug("retain-bound-off-by-one", "a snapshot loses the version written at its moment", &["unit iter", "model"]),
    bug("retain-without-snapshots", "flushes and compactions ignore snapshots", &["model", "metamorphic"]),
    // jobs
    bug("flush-name-unsynced", "the name of a flushed table is not made durable", &["crash write"]),
    bug("compaction-name-unsynced", "the names of compacted tables are not made durable", &["crash write"]),
    bug("flush-before-log-sync", "a table is durable before the other half of its batches", &["crash write"]),
    bug("flush-before-visible", "a memtable is flushed while writers are inside", &["linear", "threads"]),
    bug("flush-skips-a-memtable", "the oldest sealed memtable is not flushed", &["model"]),
    bug("tombstone-dropped-early", "a delete goes though an older value lies below", &["unit compaction", "model"]),
    bug("bottom-off-by-one", "a delete of a deeper table's first key goes", &["unit compaction", "model"]),
    bug("table-ends-inside-a-key", "a table ends between two versions of a key", &["unit compaction"]),
    bug(
        "part-loses-its-first-key",
        "a part of a compaction leaves out a table that ends at its first key",
        &["unit compaction"],
    ),
    // reads
    bug("bound-before-view", "a read takes its moment before its view", &["linear", "loom iterator"]),
    bug("second-look-skips-memory", "a read that went to a file misses the memtables", &["metamorphic"]),
    bug("upper-bound-shown", "a scan shows its upper bound", &["model"]),
    bug(
        "level0-lower-bound-passed",
        "a scan leaves out a table that ends at its lower bound",
        &["metamorphic", "model"],
    ),
    bug("prefix-end-too-far", "a prefix scan shows keys behind the prefix", &["unit db"]),
    bug("iterator-forgets-snapshot", "an iterator of a snapshot shows the present", &["model"]),
];
