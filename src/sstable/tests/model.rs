//! Tables against a `BTreeMap`: gets, lookups, seeks and walks in both directions, at many snapshots.

use super::*;
use crate::base::epoch;
use crate::base::iter::{Cursor, View};
use crate::base::key::key_hash;
use crate::sstable::{Lookup, ReadMode};

type Item = (Vec<u8>, u64, EntryKind, Vec<u8>);

/// Each key's newest version at or below `bound`.
fn newest(model: &Model, bound: u64) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    for ((key, Reverse(seq)), (kind, value)) in model {
        if *seq <= bound && items.last().is_none_or(|last| last.0 != *key) {
            items.push((key.clone(), *seq, *kind, value.clone()));
        }
    }
    items
}

fn item(cursor: &impl Cursor) -> Option<Item> {
    cursor.valid().then(|| {
        let e = cursor.entry();
        (e.key.to_vec(), e.seq.0, e.kind, e.value.to_vec())
    })
}

fn short(item: Option<&Item>) -> Option<(Vec<u8>, u64, usize)> {
    item.map(|i| (i.0[..i.0.len().min(24)].to_vec(), i.1, i.3.len()))
}

fn check(got: Option<Item>, want: Option<&Item>, what: &str) {
    assert!(got.as_ref() == want, "{what}: got {:?}, want {:?}", short(got.as_ref()), short(want));
}

fn check_gets(reader: &Arc<TableReader>, model: &Model, probes: &[Vec<u8>], bounds: &[u64], mode: ReadMode) {
    for bound in bounds {
        let items = newest(model, *bound);
        for key in probes {
            let want = items.binary_search_by(|i| i.0.as_slice().cmp(key)).ok().map(|at| &items[at]);
            let hash = key_hash(key);
            let got = reader.get(key, hash, SeqNo(*bound), mode).expect("readable");
            let got = got.map(|v| (key.clone(), v.seq.0, v.kind, v.frame.bytes()[v.range].to_vec()));
            check(got, want, "get");
            let guard = epoch::pin();
            reader.prefetch_filter(hash, &guard);
            match reader.lookup(key, hash, SeqNo(*bound), &guard) {
                Lookup::Found { seq, kind, value, .. } => {
                    check(Some((key.clone(), seq.0, kind, value.to_vec())), want, "lookup");
                }
                Lookup::Absent => check(None, want, "lookup"),
                Lookup::NeedBlock(Some(missed)) => {
                    let got = reader.get_in(missed, key, hash, SeqNo(*bound), mode).expect("readable");
                    let got = got.map(|v| (key.clone(), v.seq.0, v.kind, v.frame.bytes()[v.range].to_vec()));
                    // Nothing, or what `get` finds.
                    if got.is_some() {
                        check(got, want, "the block that was missed");
                    }
                }
                Lookup::NeedBlock(None) => {}
            }
        }
    }
}

fn check_walks(
    reader: &Arc<TableReader>,
    model: &Model,
    probes: &[Vec<u8>],
    bound: u64,
    mode: ReadMode,
    r: &mut Random,
) {
    let items = newest(model, bound);
    let mut cursor = reader.cursor(View::Newest(SeqNo(bound)), mode);
    assert!(!cursor.valid());
    cursor.seek_first().expect("readable");
    for want in &items {
        check(item(&cursor), Some(want), "forward");
        let (frame, range) = cursor.pinned_value().expect("valid");
        assert!(frame.bytes()[range] == want.3);
        cursor.next().expect("readable");
    }
    assert!(!cursor.valid());
    cursor.seek_last().expect("readable");
    for want in items.iter().rev() {
        check(item(&cursor), Some(want), "backward");
        cursor.prev().expect("readable");
    }
    assert!(!cursor.valid());
    for key in probes {
        let at = items.partition_point(|i| i.0 < *key);
        let mut at = if r.below(2) == 0 {
            cursor.seek_ge(key).expect("readable");
            check(item(&cursor), items.get(at), "seek_ge");
            at
        } else {
            cursor.seek_lt(key).expect("readable");
            check(item(&cursor), at.checked_sub(1).and_then(|i| items.get(i)), "seek_lt");
            at.wrapping_sub(1)
        };
        for _ in 0..r.below(12) {
            if !cursor.valid() {
                break;
            }
            if r.below(2) == 0 {
                cursor.next().expect("readable");
                at += 1;
            } else {
                cursor.prev().expect("readable");
                at = at.wrapping_sub(1);
            }
            check(item(&cursor), items.get(at), "step");
        }
    }
}

fn check_all(reader: &Arc<TableReader>, model: &Model, probes: &[Vec<u8>]) {
    let items: Vec<Item> = model.iter().map(|((k, s), (kind, v))| (k.clone(), s.0, *kind, v.clone())).collect();
    let mut cursor = reader.cursor(View::All, ReadMode::default());
    cursor.seek_first().expect("readable");
    for want in &items {
        check(item(&cursor), Some(want), "all");
        cursor.next().expect("readable");
    }
    assert!(!cursor.valid());
    for key in probes.iter().take(50) {
        let at = items.partition_point(|i| i.0 < *key);
        cursor.seek_ge(key).expect("readable");
        for want in items[at..].iter().take(5) {
            check(item(&cursor), Some(want), "all seek");
            cursor.next().expect("readable");
        }
    }
}

fn check_table(model: &Model, config: TableConfig, r: &mut Random) {
    let top = model.keys().map(|k| k.1.0).max().unwrap_or(0);
    let mut probes: Vec<Vec<u8>> = Vec::new();
    for (key, _) in model.keys() {
        if probes.len() < 400 || r.below(10) == 0 {
            probes.push(key.clone());
            let mut near = key.clone();
            near.push(0);
            probes.push(near.clone());
            near.truncate(key.len().saturating_sub(1 + r.below(3) as usize));
            probes.push(near.clone());
            if let Some(last) = near.last_mut() {
                *last = last.wrapping_add(1);
            }
            probes.push(near);
        }
    }
    probes.push(vec![0xff; 40]);
    probes.dedup();
    let (file, summary) = write(model, config);
    assert_eq!(summary.entries, model.len() as u64);
    for (cache_bytes, mode) in [
        (1 << 30, ReadMode::default()),
        (0, ReadMode::default()),
        (1 << 30, ReadMode { no_fill_cache: true, verify_checksums: true, readahead_bytes: 40_000, read_around: true }),
    ] {
        let reader = open(&file, cache_bytes).expect("opens");
        let mut told = reader.summary().clone();
        told.checksum = summary.checksum;
        assert_eq!(told, summary);
        let bounds = [0, 1, top / 2, top, SeqNo::MAX.0, r.below(top + 1), r.below(top + 1)];
        check_gets(&reader, model, &probes, &bounds[..if cache_bytes == 0 { 2 } else { 7 }], mode);
        for bound in bounds {
            check_walks(&reader, model, &probes[..probes.len().min(300)], bound, mode, r);
        }
        check_all(&reader, model, &probes);
        assert_eq!(reader.verify_whole(Some(summary.checksum)).expect("sound"), summary.checksum);
        assert!(reader.verify_whole(Some(summary.checksum ^ 1)).is_err());
        check_survey(&reader, model, &probes);
    }
}

fn check_survey(reader: &Arc<TableReader>, model: &Model, probes: &[Vec<u8>]) {
    let mut sorted: Vec<&Vec<u8>> = probes.iter().collect();
    sorted.sort();
    let offsets: Vec<u64> = sorted.iter().map(|k| reader.approximate_offset(k).expect("readable")).collect();
    assert!(offsets.is_sorted() && offsets.iter().all(|o| *o <= reader.summary().size));
    for count in [0, 1, 3, 8, 1000] {
        let keys = reader.split_keys(count).expect("readable");
        assert!(keys.len() <= count && keys.is_sorted_by(|a, b| a < b));
        let (smallest, largest) = (model.keys().next(), model.keys().next_back());
        assert!(keys.iter().all(|k| Some(k) > smallest.map(|s| &s.0) && Some(k) < largest.map(|l| &l.0)));
    }
}

fn random_key(shape: u64, r: &mut Random) -> Vec<u8> {
    match shape {
        0 => (0..r.below(5)).map(|_| [0, b'a', b'b', 255][r.below(4) as usize]).collect(),
        1 => format!("user{:019}", r.below(3000)).into_bytes(),
        2 => r.below(5000).to_be_bytes().to_vec(),
        3 => {
            let mut key = vec![b'/'; 8 * r.below(6) as usize];
            let len = r.below(20) as usize;
            key.extend(r.bytes(len));
            key
        }
        _ => {
            let mut key = b"http://example.org/a/long/shared/path/".to_vec();
            key.extend((0..r.below(30)).map(|_| b'0' + r.below(2) as u8));
            key
        }
    }
}

#[test]
fn random_tables_answer_like_a_map() {
    let mut r = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..if cfg!(miri) { 1 } else { 20 } {
        let shape = round % 5;
        let versions = 1 + r.below(4) * r.below(4);
        let fixed = r.below(2) == 0;
        let mut model = Model::new();
        for seq in 1..=if cfg!(miri) { 60 } else { 200 + r.below(3000) } {
            let key = random_key(shape, &mut r);
            let count = 1 + r.below(versions);
            for v in 0..count {
                let kind = if r.below(8) == 0 { EntryKind::Delete } else { EntryKind::Put };
                let len = if kind == EntryKind::Delete {
                    0
                } else if fixed {
                    20
                } else {
                    r.below(120) as usize
                };
                let big = !fixed && r.below(300) == 0 && len > 0;
                let value = r.bytes(if big { 9000 } else { len });
                model.insert((key.clone(), Reverse(seq * 16 + v)), (kind, value));
            }
        }
        let codec = if round % 3 == 0 { Compression::Lz4 } else { Compression::None };
        let block_bytes = [128, 1000, 4096, 70_000][r.below(4) as usize];
        check_table(&model, config(block_bytes, codec, [0.0, 0.01, 0.1][r.below(3) as usize]), &mut r);
    }
}

#[test]
fn one_hot_key_over_many_blocks() {
    let mut r = Random(77);
    let mut model = Model::new();
    model.insert((b"before".to_vec(), Reverse(3)), (EntryKind::Put, b"b".to_vec()));
    for seq in 10..if cfg!(miri) { 60 } else { 3000 } {
        let value = r.bytes(30);
        model.insert((b"hot".to_vec(), Reverse(seq)), (EntryKind::Put, value));
    }
    model.insert((b"hot2".to_vec(), Reverse(5)), (EntryKind::Delete, Vec::new()));
    model.insert((b"later".to_vec(), Reverse(2999)), (EntryKind::Put, vec![1; 5000]));
    model.insert((b"later".to_vec(), Reverse(20)), (EntryKind::Put, vec![2; 5000]));
    check_table(&model, config(400, Compression::None, 0.01), &mut r);
}

#[test]
fn keys_and_values_of_every_size() {
    let mut r = Random(5);
    let mut model = Model::new();
    let mut seq = 1;
    for len in [0usize, 1, 7, 8, 9, 255, 256, 300, 4095, 4096, 65_535, 65_536] {
        for fill in [0u8, b'x', 255] {
            for value_len in [0, 100, 4096, 70_000] {
                let mut key = vec![fill; len];
                if let Some(last) = key.last_mut() {
                    *last = value_len as u8 ^ fill;
                }
                model.insert((key, Reverse(seq)), (EntryKind::Put, vec![fill; value_len]));
                seq += 1;
            }
        }
    }
    model.insert((b"five".to_vec(), Reverse(seq)), (EntryKind::Put, r.bytes(5 << 20)));
    model.insert((b"zero".to_vec(), Reverse(seq)), (EntryKind::Put, vec![0; 5 << 20]));
    for codec in [Compression::None, Compression::Lz4] {
        let top = seq;
        let (file, summary) = write(&model, config(4096, codec, 0.01));
        let reader = open(&file, 1 << 30).expect("opens");
        let probes: Vec<Vec<u8>> = model.keys().map(|k| k.0.clone()).collect();
        check_gets(&reader, &model, &probes, &[top / 2, top], ReadMode::default());
        check_walks(&reader, &model, &probes, top, ReadMode::default(), &mut r);
        check_all(&reader, &model, &probes);
        reader.verify_whole(Some(summary.checksum)).expect("sound");
    }
}

#[test]
fn what_may_not_follow_is_refused() {
    let put = |key: &'static [u8], seq| Entry { key, seq: SeqNo(seq), kind: EntryKind::Put, value: b"v" };
    let writer = || TableWriter::new(MemFile::with(Vec::new()), IDENTITY, config(4096, Compression::Lz4, 0.01));
    for bad in [put(b"a", 9), put(b"b", 5), put(b"b", 6)] {
        let mut w = writer();
        w.add(put(b"b", 5)).expect("first");
        assert!(w.add(bad).is_err());
    }
    let mut w = writer();
    assert!(w.add(Entry { key: &vec![0; 65_537], seq: SeqNo(1), kind: EntryKind::Put, value: b"" }).is_err());
    assert!(w.add(Entry { key: b"", seq: SeqNo(1 << 56), kind: EntryKind::Put, value: b"" }).is_err());
    assert!(w.add(Entry { key: b"", seq: SeqNo(1), kind: EntryKind::Merge, value: b"" }).is_err());
    assert!(w.finish().is_err(), "an empty table");
}

#[test]
fn scans_read_ahead_and_cached_lookups_read_nothing() {
    let mut model = Model::new();
    for i in 0..20_000u64 {
        model.insert((i.to_be_bytes().to_vec(), Reverse(1)), (EntryKind::Put, vec![i as u8; 100]));
    }
    let (file, summary) = write(&model, config(4096, Compression::None, 0.01));
    let reader = open(&file, 1 << 30).expect("opens");
    let before = file.reads();
    let mut all = reader.cursor(View::All, ReadMode::default());
    all.seek_first().expect("readable");
    while all.valid() {
        all.next().expect("readable");
    }
    let reads = file.reads() - before;
    assert!(reads <= summary.size / (256 << 10) + 8, "{reads} reads of {} bytes", summary.size);
    let guard = epoch::pin();
    let hash = key_hash(&5u64.to_be_bytes());
    assert!(
        matches!(reader.lookup(&5u64.to_be_bytes(), hash, SeqNo(1), &guard), Lookup::NeedBlock(None)),
        "All fills nothing"
    );
    drop(guard);
    let mut newest = reader.cursor(View::Newest(SeqNo(1)), ReadMode::default());
    newest.seek_first().expect("readable");
    while newest.valid() {
        newest.next().expect("readable");
    }
    for i in (0..20_000u64).step_by(7) {
        reader.get(&i.to_be_bytes(), key_hash(&i.to_be_bytes()), SeqNo(1), ReadMode::default()).expect("readable");
    }
    let before = file.reads();
    let guard = epoch::pin();
    for i in 0..20_000u64 {
        let key = i.to_be_bytes();
        let found = matches!(reader.lookup(&key, key_hash(&key), SeqNo(1), &guard), Lookup::Found { .. });
        assert!(found, "{i}");
    }
    assert_eq!(file.reads(), before);
}

#[test]
#[ignore = "needs 6 GiB of memory"]
fn a_value_of_the_largest_size() {
    use crate::base::key::{KEY_LEN_MAX, VALUE_LEN_MAX};
    let key = vec![7; KEY_LEN_MAX];
    let mut value = vec![9; VALUE_LEN_MAX];
    Random(3).bytes(1 << 20).iter().enumerate().for_each(|(i, b)| value[i * 1000] = *b);
    for codec in [Compression::None, Compression::Lz4] {
        let file = MemFile::with(Vec::new());
        let mut writer = TableWriter::new(file.clone(), IDENTITY, config(4096, codec, 0.01));
        for (seq, value) in [(3, &value[..]), (2, &b"small"[..])] {
            writer.add(Entry { key: &key, seq: SeqNo(seq), kind: EntryKind::Put, value }).expect("in order");
        }
        writer.finish().expect("written");
        let reader = open(&file, 0).expect("opens");
        let hash = key_hash(&key);
        let found = reader.get(&key, hash, SeqNo(3), ReadMode::default()).expect("readable").expect("there");
        assert!(found.frame.bytes()[found.range] == value[..]);
        let found = reader.get(&key, hash, SeqNo(2), ReadMode::default()).expect("readable").expect("there");
        assert!(found.frame.bytes()[found.range] == b"small"[..]);
        let mut cursor = reader.cursor(View::All, ReadMode::default());
        cursor.seek_first().expect("readable");
        assert!(cursor.entry().value == value);
        cursor.next().expect("readable");
        assert!(cursor.entry().value == b"small");
    }
}
