//! Damaged, misplaced and hostile tables: every flipped bit is found, no byte can make the reader panic.

use super::*;
use crate::base::iter::{Cursor, View};
use crate::base::key::key_hash;
use crate::sstable::ReadMode;
use crate::sstable::format::{BlockKind, FOOTER_LEN, Footer, Handle, TRAILER_LEN, trailer};
use crate::sstable::index::IndexLayout;

fn small_model(entries: u64) -> Model {
    let mut r = Random(99);
    let mut model = Model::new();
    for i in 0..entries {
        let kind = if i % 9 == 0 { EntryKind::Delete } else { EntryKind::Put };
        let value = if kind == EntryKind::Delete { Vec::new() } else { r.bytes(8) };
        model.insert((format!("key{:04}", i / 2).into_bytes(), Reverse(100 + i * 3)), (kind, value));
    }
    model
}

/// Uses every way to read the table: `Err` if any of them met damage. Answers must be those of the model.
fn read_all(bytes: Vec<u8>, model: Option<&Model>) -> Result<()> {
    let reader = open(&MemFile::with(bytes), 0)?;
    let mut failure = None;
    let mut note = |result: Result<()>| {
        if let Err(e) = result {
            failure = Some(e);
        }
    };
    for (key, Reverse(seq)) in small_model(60).keys() {
        match reader.get(key, key_hash(key), SeqNo(*seq), ReadMode::default()) {
            Ok(found) => {
                if let Some(model) = model {
                    let want = model.get(&(key.clone(), Reverse(*seq)));
                    let got = found.map(|v| (v.kind, v.frame.bytes()[v.range].to_vec()));
                    assert_eq!(got.as_ref(), want, "a wrong answer from a damaged table");
                }
            }
            Err(e) => note(Err(e)),
        }
    }
    for view in [View::All, View::Newest(SeqNo(150)), View::Newest(SeqNo::MAX)] {
        let mut cursor = reader.cursor(view, ReadMode::default());
        note(walk(&mut cursor, |c| c.seek_first(), |c| c.next()));
        note(walk(&mut cursor, |c| c.seek_ge(b"key0010"), |c| c.next()));
        if view != View::All {
            note(walk(&mut cursor, |c| c.seek_last(), |c| c.prev()));
            note(walk(&mut cursor, |c| c.seek_lt(b"key0020"), |c| c.prev()));
        }
    }
    note(reader.approximate_offset(b"key0011").map(drop));
    note(reader.split_keys(5).map(drop));
    note(reader.verify());
    failure.map_or(Ok(()), Err)
}

fn walk<C: Cursor>(c: &mut C, seek: impl Fn(&mut C) -> Result<()>, step: impl Fn(&mut C) -> Result<()>) -> Result<()> {
    seek(c)?;
    let mut steps = 0;
    while c.valid() {
        let entry = c.entry();
        std::hint::black_box((entry.key.len(), entry.value.len()));
        step(c)?;
        steps += 1;
        assert!(steps < 100_000, "a walk without end");
    }
    Ok(())
}

#[test]
fn every_flipped_bit_is_found() {
    for codec in [Compression::None, Compression::Lz4] {
        let model = small_model(60);
        let (file, _) = write(&model, config(200, codec, 0.05));
        let sound = file.bytes();
        read_all(sound.clone(), Some(&model)).expect("sound");
        let step = if cfg!(miri) { 97 } else { 1 };
        for at in (0..sound.len()).step_by(step) {
            for bit in 0..8 {
                let mut bytes = sound.clone();
                bytes[at] ^= 1 << bit;
                let error = read_all(bytes, Some(&model)).expect_err("a flipped bit went unseen");
                assert!(matches!(error.code(), Code::Corruption | Code::Version | Code::Unsupported), "{at} {error}");
            }
        }
    }
}

/// A checksum is bound to its place: a sound block in the place of another is none.
#[test]
fn a_block_copied_over_another_is_found() {
    let mut model = Model::new();
    for n in 0..60u64 {
        model.insert((format!("key{n:04}").into_bytes(), Reverse(100 + n)), (EntryKind::Put, vec![n as u8; 8]));
    }
    let (file, _) = write(&model, config(200, Compression::None, 0.0));
    let reader = open(&file, 0).expect("sound");
    let index = reader.read_index(0).expect("sound");
    let layout = IndexLayout::parse(index.bytes());
    let handles: Vec<Handle> = (0..layout.count).map(|at| layout.handle(index.bytes(), at)).collect();
    let mut copies = 0;
    for (from, to) in handles.iter().flat_map(|from| handles.iter().map(move |to| (*from, *to))) {
        if from.len == to.len && from.offset != to.offset {
            let mut bytes = file.bytes();
            let start = from.offset as usize;
            bytes.copy_within(start..start + from.len as usize, to.offset as usize);
            let reader = open(&MemFile::with(bytes), 0).expect("footer and index are sound");
            for ((key, Reverse(seq)), (_, value)) in &model {
                match reader.get(key, key_hash(key), SeqNo(*seq), ReadMode::default()) {
                    Ok(found) => assert!(
                        found.is_some_and(|v| v.frame.bytes()[v.range] == **value),
                        "a block in the place of another went unseen"
                    ),
                    Err(e) => assert_eq!(e.code(), Code::Corruption),
                }
            }
            copies += 1;
        }
    }
    assert!(copies > 2, "blocks of equal length are needed");
}

#[test]
fn cut_extended_and_misplaced_files_do_not_open() {
    let model = small_model(60);
    let (file, summary) = write(&model, config(200, Compression::Lz4, 0.01));
    let sound = file.bytes();
    for len in 0..sound.len() {
        assert!(open(&MemFile::with(sound[..len].to_vec()), 0).is_err(), "cut to {len}");
    }
    for more in [1usize, 10, 64, 4096] {
        let mut bytes = sound.clone();
        bytes.resize(sound.len() + more, 0);
        assert!(open(&MemFile::with(bytes), 0).is_err(), "extended by {more}");
    }
    let mut twice = sound.clone();
    twice.extend_from_slice(&sound);
    assert!(open(&MemFile::with(twice), 0).is_err());
    for identity in [
        FileIdentity { database: IDENTITY.database + 1, ..IDENTITY },
        FileIdentity { number: FileNumber(8), ..IDENTITY },
    ] {
        let file = MemFile::with(sound.clone());
        let error = TableReader::open(file.clone(), identity, summary.size, cache(0)).err().expect("refused");
        assert_eq!(error.code(), Code::Corruption);
        assert!(error.message().contains("000007.sst"), "{error}");
    }
    let error = TableReader::open(MemFile::with(sound), IDENTITY, summary.size + 1, cache(0)).err().expect("refused");
    assert_eq!(error.code(), Code::Corruption);
}

#[test]
fn blocks_that_changed_places_are_found() {
    let mut model = Model::new();
    for i in 0..40u64 {
        model.insert((format!("key{i:04}").into_bytes(), Reverse(9)), (EntryKind::Put, vec![i as u8; 20]));
    }
    let (file, _) = write(&model, config(200, Compression::None, 0.0));
    let bytes = file.bytes();
    let blocks = blocks(&bytes);
    let (a, b) = (blocks[0], blocks[1]);
    assert_eq!(a.1.len, b.1.len, "the test wants two blocks of one size");
    let mut swapped = bytes.clone();
    let (a, b, len) = (a.1.offset as usize, b.1.offset as usize, a.1.len as usize);
    swapped[a..a + len].copy_from_slice(&bytes[b..b + len]);
    swapped[b..b + len].copy_from_slice(&bytes[a..a + len]);
    assert!(read_all(swapped, None).is_err());
}

/// All blocks of a table, in order.
fn blocks(bytes: &[u8]) -> Vec<(BlockKind, Handle)> {
    let footer_at = bytes.len() - FOOTER_LEN;
    let footer = Footer::decode(IDENTITY, footer_at as u64, bytes.last_chunk().expect("long enough")).expect("sound");
    let reader = open(&MemFile::with(bytes.to_vec()), 0).expect("opens");
    let mut blocks = Vec::new();
    for p in 0..reader.top.partitions() {
        let frame = reader.index_partition(p, ReadMode::default()).expect("readable");
        let index = crate::sstable::index::IndexLayout::parse(frame.bytes());
        blocks.extend((0..index.count).map(|i| (BlockKind::Data, index.handle(frame.bytes(), i))));
        blocks.push((BlockKind::Index, reader.top.handle(p)));
    }
    if let Some(filter) = reader.top.filter {
        blocks.extend((0..filter.partitions()).map(|p| (BlockKind::Filter, reader.top.filter_handle(filter, p))));
    }
    blocks.push((BlockKind::Properties, footer.properties));
    blocks.push((BlockKind::Top, footer.top));
    blocks
}

/// Recomputes the trailer of a block whose payload was changed.
fn sign(bytes: &mut [u8], kind: BlockKind, handle: Handle) {
    let (start, end) = (handle.offset as usize, handle.end() as usize - TRAILER_LEN);
    let codec = Compression::from_byte(bytes[end]).unwrap_or(Compression::None);
    let mut len = [0; 4];
    len.copy_from_slice(&bytes[end + 2..end + 6]);
    let sealed = trailer(IDENTITY, handle.offset, kind, codec, &bytes[start..end], u32::from_le_bytes(len) as usize);
    bytes[end..end + TRAILER_LEN].copy_from_slice(&sealed);
}

#[test]
fn signed_hostile_bytes_never_panic() {
    let model = small_model(60);
    let mut r = Random(4242);
    for codec in [Compression::None, Compression::Lz4] {
        let (file, _) = write(&model, config(300, codec, 0.05));
        let sound = file.bytes();
        let blocks = blocks(&sound);
        let mut refused = 0;
        let rounds = if cfg!(miri) { 50 } else { 30_000 };
        for _ in 0..rounds {
            let mut bytes = sound.clone();
            let (kind, handle) = blocks[r.below(blocks.len() as u64) as usize];
            let start = handle.offset as usize;
            let len = handle.len as usize - TRAILER_LEN;
            for _ in 0..1 + r.below(3) {
                // The head, where counts and widths are, most of the time.
                let room = if r.below(3) > 0 { len.min(40) } else { len };
                let at = start + r.below(room as u64) as usize;
                match r.below(4) {
                    0 => bytes[at] ^= 1 << r.below(8),
                    1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][r.below(5) as usize],
                    2 => bytes[at] = r.next() as u8,
                    _ => {
                        let end = (at + 4).min(start + len);
                        let word = [0u32, 1, u32::MAX, 0x7fff_ffff, 65_536, 1 << 30][r.below(6) as usize];
                        bytes[at..end].copy_from_slice(&word.to_le_bytes()[..end - at]);
                    }
                }
            }
            if r.below(20) == 0 {
                let claim = [0u32, 1, 1 << 20, 1 << 30][r.below(4) as usize];
                bytes[start + len + 2..start + len + 6].copy_from_slice(&claim.to_le_bytes());
            }
            sign(&mut bytes, kind, handle);
            refused += u32::from(read_all(bytes, None).is_err());
        }
        assert!(cfg!(miri) || refused > rounds / 4, "only {refused} of {rounds} were refused");
    }
}

#[test]
fn signed_hostile_footers_never_panic() {
    let (file, _) = write(&small_model(60), config(300, Compression::None, 0.05));
    let sound = file.bytes();
    let at = sound.len() - FOOTER_LEN;
    let mut r = Random(31);
    for _ in 0..if cfg!(miri) { 50 } else { 5000 } {
        let mut bytes = sound.clone();
        for _ in 0..1 + r.below(3) {
            let i = at + r.below(60) as usize;
            bytes[i] = if r.below(2) == 0 { r.next() as u8 } else { 0xff };
        }
        let crc = crate::base::checksum::checksum_at(IDENTITY, at as u64, &bytes[at..at + 60]);
        bytes[at + 60..].copy_from_slice(&crc.to_le_bytes());
        let changed = bytes != sound;
        assert!(read_all(bytes, None).is_err() == changed);
    }
}

#[test]
fn a_failing_read_is_never_an_answer() {
    let model = small_model(400);
    let (file, _) = write(&model, config(200, Compression::Lz4, 0.01));
    let reader = open(&file, 0).expect("opens");
    let mut cursor = reader.cursor(View::Newest(SeqNo::MAX), ReadMode::default());
    cursor.seek_first().expect("readable");
    file.broken.store(true, Ordering::Relaxed);
    for (key, Reverse(seq)) in model.keys() {
        let error = reader.get(key, key_hash(key), SeqNo(*seq), ReadMode::default()).err().expect("an error");
        assert_eq!(error.os_errno(), libc::EIO);
    }
    let mut steps = 0;
    while cursor.valid() && cursor.next().is_ok() {
        steps += 1;
    }
    assert!(steps < 200 && !cursor.valid(), "the walk ended by itself");
    assert!(cursor.seek_last().is_err() && cursor.seek_ge(b"key0100").is_err() && !cursor.valid());
    file.broken.store(false, Ordering::Relaxed);
    cursor.seek_ge(b"key0100").expect("readable again");
    assert_eq!(cursor.entry().key, b"key0100");
}

#[test]
fn what_a_hostile_block_claims_is_not_allocated() {
    let (file, _) = write(&small_model(60), config(300, Compression::Lz4, 0.05));
    let sound = file.bytes();
    for (kind, handle) in blocks(&sound) {
        for codec in [0u8, 1, 2, 3, 255] {
            for claim in [0u32, 1 << 20, 1 << 30, u32::MAX] {
                let mut bytes = sound.clone();
                let at = handle.end() as usize - TRAILER_LEN;
                bytes[at] = codec;
                bytes[at + 2..at + 6].copy_from_slice(&claim.to_le_bytes());
                let crc = {
                    let covered = &bytes[handle.offset as usize..at + 6];
                    crate::base::checksum::checksum_at(IDENTITY, handle.offset, covered)
                };
                bytes[at + 6..at + 10].copy_from_slice(&crc.to_le_bytes());
                assert!(read_all(bytes, None).is_err(), "{kind:?} {codec} {claim}");
            }
        }
    }
}
