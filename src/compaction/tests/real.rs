//! Jobs over real tables, manifest and table cache, in a file system in memory.

use super::super::{JobEnv, KeyRange, PartOutput, Plan, Shape, pick, pick_range, run_part};
use crate::base::compress::Compression;
use crate::base::epoch::Retired;
use crate::base::ids::{FileIdentity, KeyspaceId, Level, SeqNo};
use crate::base::iter::{Cursor, View};
use crate::base::key::EntryKind;
use crate::base::log_sink::NullSink;
use crate::base::sync::AtomicBool;
use crate::cache::{Cache, CacheConfig};
use crate::fs::Fs;
use crate::fs::mem::MemFs;
use crate::iter::level::LevelCursor;
use crate::iter::merge::{MergeCursor, Source};
use crate::iter::output::TableOutput;
use crate::iter::retain::Retain;
use crate::iter::testing::{Item, Random, Run};
use crate::sstable::{ReadMode, TableConfig};
use crate::version::{TableCache, Version, VersionEdit, VersionSet, VersionSetConfig};
use std::path::PathBuf;
use std::sync::Arc;

struct Real {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    set: VersionSet,
    env: JobEnv,
    version: Arc<Version>,
}

impl Real {
    fn new(shape: Shape, compression: Compression) -> Real {
        let fs: Arc<dyn Fs> = Arc::new(MemFs::new());
        let dir = PathBuf::from("/db");
        fs.create_dir(&dir).expect("an empty file system");
        let config =
            VersionSetConfig { fs: Arc::clone(&fs), dir: dir.clone(), read_only: false, logger: Arc::new(NullSink) };
        let set = VersionSet::create(config).expect("creates");
        let retired = Arc::new(Retired::new());
        let cache = Cache::new(CacheConfig { bytes: 1 << 20, shards: 0 }, Arc::clone(&retired));
        let tables = TableCache::new(Arc::clone(&fs), dir.clone(), set.database(), cache, retired, 100);
        let table = TableConfig { block_bytes: 4096, compression, filter_fpr: 0.01, owner: None };
        let env = JobEnv {
            fs: Arc::clone(&fs),
            dir: dir.clone(),
            database: set.database(),
            tables,
            table,
            shape,
            retain: Retain::default(),
        };
        let version = Arc::clone(&set.keyspaces()[0].version);
        Real { fs, dir, set, env, version }
    }

    fn apply(&mut self, edit: VersionEdit) {
        for (_, version) in self.set.log_and_apply(edit).expect("applies") {
            self.version = version;
        }
    }

    fn flush(&mut self, run: &Run) {
        let number = self.set.next_file_number();
        let identity = FileIdentity { database: self.set.database(), number };
        let mut output = TableOutput::create(&self.fs, &self.dir, identity, self.env.table.clone()).expect("creates");
        for item in &run.0 {
            output.add(item.entry()).expect("adds");
        }
        let meta = output.finish().expect("finishes");
        self.apply(VersionEdit { added: vec![(KeyspaceId::DEFAULT, Level(0), meta)], ..VersionEdit::default() });
    }

    fn run(&mut self, plan: Plan, parts: usize) -> PartOutput {
        let ranges = if plan.is_move { Vec::new() } else { plan.split(&self.env.tables, parts).expect("splits") };
        self.run_ranges(plan, &ranges)
    }

    fn run_ranges(&mut self, plan: Plan, ranges: &[KeyRange]) -> PartOutput {
        let mut all = PartOutput::default();
        for range in ranges {
            let part = run_part(&self.env, &plan, range, &|| self.set.next_file_number(), &AtomicBool::new(false))
                .expect("runs");
            all.files.extend(part.files);
            all.bytes_read += part.bytes_read;
            all.bytes_written += part.bytes_written;
        }
        self.apply(plan.edit(KeyspaceId::DEFAULT, all.files.clone()));
        all
    }

    fn cursor(&self, view: View) -> MergeCursor {
        let mode = ReadMode::default();
        let mut sources = Vec::new();
        for (level, files) in self.version.levels().iter().enumerate() {
            if level == 0 {
                for table in files.files() {
                    sources.push(Source::Table(self.env.tables.reader(table).expect("opens").cursor(view, mode)));
                }
            } else if !files.files().is_empty() {
                let end = files.files().len();
                sources.push(Source::Level(LevelCursor::new(
                    Arc::clone(&self.env.tables),
                    Arc::clone(&self.version),
                    level,
                    0..end,
                    view,
                    mode,
                )));
            }
        }
        MergeCursor::new(sources, view)
    }

    fn shown(&self, view: View) -> Vec<Item> {
        let mut cursor = self.cursor(view);
        let mut items = Vec::new();
        cursor.seek_first().expect("reads");
        while cursor.valid() {
            items.push(Item::of(cursor.entry()));
            cursor.next().expect("reads");
        }
        items
    }
}

#[test]
fn compacting_real_tables_changes_nothing_a_reader_sees() {
    let shape = Shape {
        level0_trigger: 4,
        base_bytes: 200_000,
        size_ratio: 4,
        level_count: 6,
        table_bytes: 50_000,
        tables_per_job_max: 0,
    };
    let mut real = Real::new(shape, Compression::Lz4);
    let mut random = Random(3);
    let mut model = Vec::new();
    let mut seq = 0;
    for round in 0..60u64 {
        let items = (0..400).map(|_| {
            seq += 1;
            let kind = if random.below(5) == 0 { EntryKind::Delete } else { EntryKind::Put };
            let value = if kind == EntryKind::Put { vec![seq as u8; random.below(300) as usize] } else { Vec::new() };
            Item { key: format!("user{:08}", random.below(20_000)).into_bytes(), seq: SeqNo(seq), kind, value }
        });
        let run = Run::new(items.collect());
        model.extend(run.0.iter().cloned());
        real.flush(&run);
        if round == 20 || round == 40 {
            real.env.retain.snapshots.push(SeqNo(seq));
        }
        real.env.retain.visible = SeqNo(seq);
        while let Some(plan) = pick(&real.version, &real.env.shape) {
            real.run(plan, 3);
        }
    }
    let model = Run::new(model);
    let live = |items: Vec<Item>| items.into_iter().filter(|item| item.kind == EntryKind::Put).collect::<Vec<_>>();
    let check = |real: &Real| {
        for at in real.env.retain.snapshots.iter().copied().chain([SeqNo(seq)]) {
            let view = View::Newest(at);
            let (got, want) = (live(real.shown(view)), live(model.shown(view)));
            assert!(got == want, "{} of {} at {at}", got.len(), want.len());
        }
    };
    check(&real);
    for range in [KeyRange { from: Some(b"user00003".to_vec()), to: Some(b"user000055".to_vec()) }, KeyRange::default()]
    {
        let mut todo = Some((range, Level(0)));
        while let Some((range, level)) = todo.take() {
            let Some(plan) = pick_range(&real.version, &real.env.shape, &range, level).expect("nothing else runs")
            else {
                break;
            };
            todo = plan.rest.clone();
            real.run(plan, 2);
            check(&real);
        }
    }
    assert_eq!(real.version.levels().iter().filter(|level| !level.files().is_empty()).count(), 1);
    let files = real.fs.list(&real.dir).expect("lists").len();
    assert!(files > real.version.tables().count());
}

/// Processor time of this thread, which other load does not blur.
/// Parts may meet at the last key of a table: that key belongs to the part that begins with it.
#[test]
fn a_part_that_begins_at_the_last_key_of_a_table_has_it() {
    let shape = Shape {
        level0_trigger: 4,
        base_bytes: 200_000,
        size_ratio: 4,
        level_count: 6,
        table_bytes: 50_000,
        tables_per_job_max: 0,
    };
    let mut real = Real::new(shape, Compression::None);
    let mut seq = 0;
    for table in 0..4u64 {
        let items = (0..10).map(|n| {
            seq += 1;
            let key = format!("{:04}", n * (table + 1)).into_bytes();
            Item { key, seq: SeqNo(seq), kind: EntryKind::Put, value: vec![table as u8; 20] }
        });
        real.flush(&Run::new(items.collect()));
    }
    real.env.retain.visible = SeqNo(seq);
    let before = real.shown(View::Newest(SeqNo(seq)));
    let mut borders: Vec<Vec<u8>> =
        real.version.levels()[0].files().iter().map(|t| t.meta().summary.largest.clone()).collect();
    borders.sort();
    let mut ranges = Vec::new();
    let mut from = None;
    for border in borders {
        ranges.push(KeyRange { from: from.replace(border.clone()), to: Some(border) });
    }
    ranges.push(KeyRange { from, to: None });
    let plan = pick(&real.version, &real.env.shape).expect("four tables are due");
    real.run_ranges(plan, &ranges);
    assert!(real.version.levels()[0].files().is_empty());
    assert!(real.shown(View::Newest(SeqNo(seq))) == before, "a key was lost where parts meet");
}

fn cpu_nanos() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

#[test]
#[ignore = "a measurement"]
#[expect(clippy::print_stderr, reason = "a measurement prints")]
fn compaction_speed() {
    for compression in [Compression::None, Compression::Lz4] {
        let shape = Shape {
            level0_trigger: 4,
            base_bytes: 256 << 20,
            size_ratio: 10,
            level_count: 7,
            table_bytes: 64 << 20,
            tables_per_job_max: 0,
        };
        let mut real = Real::new(shape, compression);
        let mut random = Random(3);
        let mut seq = 0;
        for _ in 0..4 {
            let items = (0..400_000).map(|_| {
                seq += 1;
                let mut value = vec![0; 100];
                for chunk in value[..50].chunks_mut(8) {
                    chunk.copy_from_slice(&random.next().to_le_bytes()[..chunk.len()]);
                }
                Item {
                    key: format!("{:016}", random.below(100_000_000)).into_bytes(),
                    seq: SeqNo(seq),
                    kind: EntryKind::Put,
                    value,
                }
            });
            let run = Run::new(items.collect());
            real.flush(&run);
        }
        real.env.retain.visible = SeqNo(seq);
        let mut count = 0u64;
        for (name, view) in [("newest", View::Newest(SeqNo(seq))), ("all", View::All)] {
            let start = cpu_nanos();
            let mut cursor = real.cursor(view);
            cursor.seek_first().expect("reads");
            count = 0;
            while cursor.valid() {
                count += 1;
                cursor.next().expect("reads");
            }
            eprintln!(
                "{compression:?}: scan {name} of 4 tables {:.1} ns/entry",
                (cpu_nanos() - start) as f64 / count as f64
            );
        }
        let plan = pick_range(&real.version, &real.env.shape, &KeyRange::default(), Level(0));
        let plan = plan.expect("nothing else runs").expect("there is something");
        let start = cpu_nanos();
        let out = real.run(plan, 1);
        eprintln!(
            "{compression:?}: {:.1} ns/entry, read {} wrote {}",
            (cpu_nanos() - start) as f64 / count as f64,
            out.bytes_read,
            out.bytes_written
        );
    }
}
