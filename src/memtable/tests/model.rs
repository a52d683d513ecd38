//! One thread against a `BTreeMap`: many shapes of keys, both directions, all seeks, snapshots.

use super::*;
use std::cmp::Reverse;
use std::collections::BTreeMap;

type Model = BTreeMap<(Vec<u8>, Reverse<u64>), (EntryKind, Vec<u8>)>;

/// Makes the `i`th key of a shape.
type Shape = fn(&mut Random, usize) -> Vec<u8>;

fn short(random: &mut Random, _: usize) -> Vec<u8> {
    (0..random.below(4)).map(|_| [0, 1, b'a', 255][random.below(4)]).collect()
}

fn user(random: &mut Random, _: usize) -> Vec<u8> {
    format!("user{:019}", random.below(5000)).into_bytes()
}

fn path(random: &mut Random, _: usize) -> Vec<u8> {
    let folder = ["bin", "lib/x86_64-linux-gnu", "share/doc/packages"][random.below(3)];
    format!("/usr/{folder}/{:x}/{}", random.below(9), random.below(900)).into_bytes()
}

fn binary(random: &mut Random, _: usize) -> Vec<u8> {
    random.next().to_be_bytes().to_vec()
}

fn ascending(_: &mut Random, i: usize) -> Vec<u8> {
    format!("key{i:012}").into_bytes()
}

fn descending(_: &mut Random, i: usize) -> Vec<u8> {
    (u64::MAX - i as u64).to_be_bytes().to_vec()
}

fn streams(random: &mut Random, i: usize) -> Vec<u8> {
    format!("stream{}/{i:010}", random.below(5)).into_bytes()
}

fn zeros(random: &mut Random, _: usize) -> Vec<u8> {
    vec![0; random.below(200)]
}

fn ties(random: &mut Random, _: usize) -> Vec<u8> {
    // Two worlds share nothing, so no bytes can be stripped, but within each the first eight tie.
    let world: &[u8] = [b"aaaaaaaaaaaaaaaa".as_slice(), b"zzzzzzzzzzzzzzzz"][random.below(2)];
    [world, &(random.below(3000) as u32).to_be_bytes()].concat()
}

fn long(random: &mut Random, _: usize) -> Vec<u8> {
    let mut key = vec![b'k'; KEY_LEN_MAX - 2];
    key.extend_from_slice(&(random.below(40) as u16).to_be_bytes());
    key.truncate(KEY_LEN_MAX - random.below(3));
    key
}

fn zones(random: &mut Random, i: usize) -> Vec<u8> {
    // A common prefix that grows with depth, so that leaves strip ever more.
    let depth = i % 9;
    let mut key = b"zone/".repeat(depth);
    key.extend_from_slice(&(random.below(300) as u16).to_be_bytes());
    key
}

const SHAPES: [(&str, Shape, usize, usize); 11] = [
    ("short", short, 2000, 60),
    ("user", user, 6000, 150),
    ("path", path, 6000, 120),
    ("binary", binary, 6000, 150),
    ("ascending", ascending, 6000, 150),
    ("descending", descending, 6000, 150),
    ("streams", streams, 6000, 120),
    ("zeros", zeros, 2000, 60),
    ("ties", ties, 6000, 100),
    ("long", long, 120, 0),
    ("zones", zones, 6000, 100),
];

fn newest(model: &Model, bound: u64) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for ((key, Reverse(seq)), (_, value)) in model {
        if *seq <= bound && rows.last().is_none_or(|last| last.0 != *key) {
            rows.push((key.clone(), *seq, value.clone()));
        }
    }
    rows
}

fn check(name: &str, table: &Arc<MemTable>, model: &Model, random: &mut Random, bound: u64) {
    let rows = newest(model, bound);
    let mut cursor = table.cursor(View::Newest(SeqNo(bound)));
    cursor.seek_first().unwrap();
    assert_eq!(forward(&mut cursor), rows, "{name}: forward at {bound}");
    cursor.seek_last().unwrap();
    let mut back = backward(&mut cursor);
    back.reverse();
    assert_eq!(back, rows, "{name}: backward at {bound}");
    for round in 0..scaled(300, 20) {
        let mut key = match model.keys().nth(random.below(model.len().max(1))) {
            Some((key, _)) => key.clone(),
            None => Vec::new(),
        };
        match round % 4 {
            0 => key.push(0),
            1 => drop(key.pop()),
            2 => key.iter_mut().last().into_iter().for_each(|b| *b = b.wrapping_add(random.below(3) as u8)),
            _ => {}
        }
        let at = rows.partition_point(|row| row.0 < key);
        cursor.seek_ge(&key).unwrap();
        assert_eq!(here(&cursor).as_ref(), rows.get(at), "{name}: seek_ge {key:?}");
        if cursor.valid() {
            cursor.prev().unwrap();
            assert_eq!(here(&cursor).as_ref(), at.checked_sub(1).map(|i| &rows[i]), "{name}: prev");
        }
        cursor.seek_lt(&key).unwrap();
        assert_eq!(here(&cursor).as_ref(), at.checked_sub(1).map(|i| &rows[i]), "{name}: seek_lt {key:?}");
        if cursor.valid() {
            cursor.next().unwrap();
            assert_eq!(here(&cursor).as_ref(), rows.get(at), "{name}: next");
        }
        let found = rows.get(at).filter(|row| row.0 == key).map(|row| (row.1, row.2.clone()));
        assert_eq!(get(table, &key, bound), found, "{name}: get {key:?} at {bound}");
        // What the filter keeps out must not be there either.
        let unfiltered = table.get_unfiltered(&key, SeqNo(bound)).map(|f| (f.seq.0, f.value.to_vec()));
        assert_eq!(unfiltered, found, "{name}: get_unfiltered {key:?}");
    }
}

fn check_all(name: &str, table: &Arc<MemTable>, model: &Model) {
    let mut cursor = table.cursor(View::All);
    cursor.seek_first().unwrap();
    for ((key, Reverse(seq)), (kind, value)) in model {
        assert!(cursor.valid(), "{name}: ends early");
        let entry = cursor.entry();
        assert_eq!((entry.key, entry.seq.0, entry.kind, entry.value), (key.as_slice(), *seq, *kind, value.as_slice()));
        cursor.next().unwrap();
    }
    assert!(!cursor.valid(), "{name}: goes on");
    if let Some(((key, _), _)) = model.iter().nth(model.len() / 2) {
        cursor.seek_ge(key).unwrap();
        assert_eq!(forward(&mut cursor).len(), model.range((key.clone(), Reverse(u64::MAX))..).count());
    }
}

#[test]
fn agrees_with_a_model_for_every_shape_of_keys() {
    for (seed, (name, shape, count, miri)) in SHAPES.into_iter().enumerate() {
        let mut random = Random::new(seed as u64 + 1);
        let table = table();
        let mut model = Model::new();
        let count = scaled(count, miri);
        for i in 0..count {
            let key = shape(&mut random, i);
            let seq = i as u64 + 1;
            let kind = if random.below(5) == 0 { EntryKind::Delete } else { EntryKind::Put };
            let value: Vec<u8> = if kind == EntryKind::Delete { vec![] } else { vec![i as u8; random.below(50)] };
            let mut space = table.reserve(1, key.len() + value.len()).expect("space");
            table.insert(&mut space, &key, SeqNo(seq), kind, &value);
            model.insert((key, Reverse(seq)), (kind, value));
            if i % (count / 3 + 1) == count / 5 {
                check(name, &table, &model, &mut random, random_bound(i));
            }
        }
        assert_eq!(table.entries(), count as u64);
        for bound in [0, 1, count as u64 / 3, count as u64, SeqNo::MAX.0] {
            check(name, &table, &model, &mut random, bound);
        }
        check_all(name, &table, &model);
    }
}

fn random_bound(i: usize) -> u64 {
    i as u64 * 3 / 4
}

#[test]
fn many_keys_are_found_through_every_level_of_the_lane() {
    // Enough leaves for many chunks and several tops, random and ascending by turns.
    let table = table();
    let mut random = Random::new(77);
    let mut keys: Vec<[u8; 8]> = Vec::new();
    for i in 0..scaled(120_000, 400) as u64 {
        let key = if i / 5000 % 2 == 0 { random.next().to_be_bytes() } else { (i << 20).to_be_bytes() };
        put(&table, &key, i + 1, &key);
        keys.push(key);
    }
    for key in &keys {
        assert!(get(&table, key, u64::MAX >> 8).is_some_and(|(_, value)| value == key));
    }
    keys.sort_unstable();
    keys.dedup();
    let mut cursor = table.cursor(View::Newest(SeqNo::MAX));
    cursor.seek_first().unwrap();
    let walked: Vec<Vec<u8>> = forward(&mut cursor).into_iter().map(|row| row.0).collect();
    assert!(walked.iter().map(Vec::as_slice).eq(keys.iter().map(<[u8; 8]>::as_slice)));
    cursor.seek_last().unwrap();
    let walked: Vec<Vec<u8>> = backward(&mut cursor).into_iter().map(|row| row.0).collect();
    assert!(walked.iter().map(Vec::as_slice).eq(keys.iter().rev().map(<[u8; 8]>::as_slice)));
}

#[test]
fn an_empty_memtable_has_nothing() {
    let table = table();
    let mut cursor = table.cursor(View::Newest(SeqNo::MAX));
    cursor.seek_first().unwrap();
    assert!(!cursor.valid());
    cursor.seek_last().unwrap();
    assert!(!cursor.valid());
    cursor.seek_ge(b"").unwrap();
    assert!(!cursor.valid());
    cursor.seek_lt(b"zzz").unwrap();
    assert!(!cursor.valid());
    assert_eq!(get(&table, b"", 1), None);
    assert!(table.get_unfiltered(b"", SeqNo::MAX).is_none());
}

#[test]
fn versions_are_ordered_however_they_arrive() {
    let count = scaled(3000, 60) as u64;
    for seed in 0..4 {
        let table = table();
        let mut random = Random::new(seed + 5);
        let mut order: Vec<u64> = (1..=count).collect();
        match seed {
            0 => {}
            1 => order.reverse(),
            _ => (1..order.len()).rev().for_each(|i| order.swap(i, random.below(i + 1))),
        }
        for seq in order {
            put(&table, b"hot", seq * 2, &seq.to_le_bytes());
        }
        for bound in 0..=2 * count + 1 {
            let expected = (bound >= 2).then(|| (bound / 2 * 2, (bound / 2).min(count).to_le_bytes().to_vec()));
            assert_eq!(get(&table, b"hot", bound), expected);
        }
        let mut cursor = table.cursor(View::All);
        cursor.seek_first().unwrap();
        let seqs: Vec<u64> = forward(&mut cursor).iter().map(|row| row.1).collect();
        assert!(seqs.iter().copied().eq((1..=count).rev().map(|s| 2 * s)));
    }
}

#[test]
fn an_old_version_of_a_hot_key_is_a_few_steps_away() {
    let table = table();
    let count = scaled(100_000, 200) as u64;
    for seq in 1..=count {
        put(&table, b"hot", seq, b"");
    }
    let node = table.search(b"hot").node;
    let mut at = table.store.node(node).newest();
    let mut steps = 0;
    while table.store.version(at).seq() > SeqNo(7) {
        let skip = table.store.version(at).skip();
        let far = !skip.is_none() && table.store.version(skip).seq() > SeqNo(7);
        at = if far { skip } else { table.store.version(at).older() };
        steps += 1;
    }
    assert_eq!(table.store.version(at).seq(), SeqNo(7));
    assert!(steps <= 3 * count.ilog2(), "{steps} steps");
}
