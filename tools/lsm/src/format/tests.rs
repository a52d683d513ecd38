//! What is written is read again, in every format and encoding; what is not so written is refused with its line.

use super::*;
use std::cell::RefCell;
use std::rc::Rc;

#[derive(Clone, Default)]
struct Shared(Rc<RefCell<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

type Entries = Vec<(String, Vec<u8>, Vec<u8>)>;

fn entries() -> Entries {
    let all: Vec<u8> = (0..=255).collect();
    let entry = |keyspace: &str, key: &[u8], value: &[u8]| (keyspace.to_string(), key.to_vec(), value.to_vec());
    vec![
        entry("default", b"", b""),
        entry("default", b"plain", b"va\"lue, with commas"),
        entry("default", &all, b"\r\n\r\n"),
        entry("sp\u{e4}ter,\"x\"", "k\u{202e}".as_bytes(), &all.repeat(3000)),
        entry("zero", b"\0", b"\\x00"),
    ]
}

fn write(format: Format, encoding: Encoding, entries: &Entries) -> Outcome<Vec<u8>> {
    let shared = Shared::default();
    let mut writer = writer(format, Box::new(shared.clone()), encoding)?;
    let mut tally = Tally::default();
    for (keyspace, key, value) in entries {
        writer.entry(keyspace, key, value)?;
        tally.add(keyspace.as_bytes(), key, value);
    }
    writer.finish(&tally)?;
    drop(writer);
    Ok(shared.0.take())
}

fn read(format: Format, encoding: Option<Encoding>, bytes: &[u8]) -> Result<Vec<Record>, Bad> {
    let mut reader = reader(format, Box::new(bytes), encoding, true);
    let mut records = Vec::new();
    while let Some(record) = reader.next()? {
        records.push(record);
    }
    Ok(records)
}

const FORMATS: [Format; 4] = [Format::Jsonl, Format::Csv, Format::Tsv, Format::Packed];

#[test]
fn every_entry_comes_back_in_every_format_and_encoding() {
    for format in FORMATS {
        for encoding in [Encoding::Escaped, Encoding::Hex, Encoding::Raw] {
            let bytes = match write(format, encoding, &entries()) {
                Ok(bytes) => bytes,
                // JSON and TSV cannot hold every byte as it is, and say so.
                Err(failure) => {
                    assert!(encoding == Encoding::Raw && matches!(format, Format::Jsonl | Format::Tsv), "{failure:?}");
                    continue;
                }
            };
            let read = read(format, Some(encoding), &bytes).expect("own bytes");
            let read: Entries = read.into_iter().map(|r| (r.keyspace.expect("a name"), r.key, r.value)).collect();
            assert_eq!(read, entries(), "{format:?} {encoding:?}");
        }
    }
}

#[test]
fn a_file_that_is_cut_anywhere_is_refused_or_says_less() {
    for format in [Format::Jsonl, Format::Packed] {
        let bytes = write(format, Encoding::Escaped, &entries()[..3].to_vec()).expect("bytes");
        for end in 1..bytes.len() {
            let cut = read(format, None, &bytes[..end]);
            // Without the last newline the last line is whole all the same.
            let is_whole = format == Format::Jsonl && end == bytes.len() - 1;
            assert_eq!(cut.is_ok(), is_whole, "{format:?} cut at {end}: {cut:?}");
        }
    }
}

#[test]
fn every_flipped_bit_of_a_packed_file_is_seen() {
    let bytes = write(Format::Packed, Encoding::Escaped, &entries()[..3].to_vec()).expect("bytes");
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 0x10;
        assert!(read(Format::Packed, None, &bad).is_err(), "byte {at}");
    }
}

#[test]
fn an_end_that_says_otherwise_is_a_mismatch() {
    let text = String::from_utf8(write(Format::Jsonl, Encoding::Escaped, &entries()).expect("bytes")).expect("text");
    let without: String = text.lines().enumerate().filter(|(i, _)| *i != 2).map(|(_, l)| format!("{l}\n")).collect();
    assert_eq!(read(Format::Jsonl, None, without.as_bytes()).expect_err("a line is gone").exit, Exit::Mismatch);
    let changed = text.replace("va\\\"lue", "va\\\"lu");
    assert_ne!(changed, text);
    assert_eq!(read(Format::Jsonl, None, changed.as_bytes()).expect_err("changed").exit, Exit::Mismatch);
}

#[test]
fn bad_lines_are_named() {
    let cases: [(Format, &str, u64, &str); 12] = [
        (Format::Jsonl, "{\"key\":\"a\",\"value\":\"b\"}\nnonsense\n", 2, "not JSON"),
        (Format::Jsonl, "[1]\n", 1, "not a JSON object"),
        (Format::Jsonl, "\n\n{\"key\":\"a\"}\n", 3, "\"value\" is missing"),
        (Format::Jsonl, "{\"key\":1,\"value\":\"\"}\n", 1, "not a string"),
        (Format::Jsonl, "{\"key\":\"a\",\"value\":\"\",\"ttl\":\"\"}\n", 1, "unknown field \"ttl\""),
        (Format::Jsonl, "{\"key\":\"\\\\q\",\"value\":\"\"}\n", 1, "--encoding raw"),
        (Format::Csv, "key,value\na,b\na\n", 3, "1 fields"),
        (Format::Csv, "a,b\n\"a\nb\",c\nx,\"y\n", 4, "not closed"),
        (Format::Csv, "a,b\"c\"\n", 1, "inside a field"),
        (Format::Csv, "\"a\"b,c\n", 1, "behind a closing quote"),
        (Format::Tsv, "a\tb\tc\td\n", 1, "4 fields"),
        (Format::Tsv, "a\tb\\\n", 1, "backslash"),
    ];
    for (format, text, at, what) in cases {
        let bad = read(format, None, text.as_bytes()).expect_err(text);
        assert!(bad.at == at && bad.what.contains(what), "{text:?}: {bad:?}");
    }
}

#[test]
fn files_of_others_are_taken() {
    let record = |at, keyspace: Option<&str>, key: &[u8], value: &[u8]| Record {
        at,
        keyspace: keyspace.map(str::to_string),
        key: key.to_vec(),
        value: value.to_vec(),
    };
    let jsonl = "{\"value\":\"1\",\"key\":\"\u{e4}\"}\r\n\n{\"key\":\"b\",\"value\":\"\",\"keyspace\":\"x\"}";
    let want = [record(1, None, "\u{e4}".as_bytes(), b"1"), record(3, Some("x"), b"b", b"")];
    assert_eq!(read(Format::Jsonl, None, jsonl.as_bytes()).expect("records"), want);
    let csv = "a,\"x\r\ny\"\r\nks,b,c";
    let want = [record(1, None, b"a", b"x\r\ny"), record(3, Some("ks"), b"b", b"c")];
    assert_eq!(read(Format::Csv, Some(Encoding::Raw), csv.as_bytes()).expect("records"), want);
    let header = read(Format::Csv, None, b"key,value\nkey,value\n").expect("records");
    assert_eq!(header, [record(2, None, b"key", b"value")], "only the first line is a header");
}

#[test]
fn the_checksum_knows_no_order_and_no_boundaries() {
    let tally = |entries: &[(&str, &str, &str)]| {
        let mut tally = Tally::default();
        entries.iter().for_each(|(a, b, c)| tally.add(a.as_bytes(), b.as_bytes(), c.as_bytes()));
        tally.checksum()
    };
    assert_eq!(tally(&[("a", "b", "c"), ("d", "e", "f")]), tally(&[("d", "e", "f"), ("a", "b", "c")]));
    assert_ne!(tally(&[("a", "b", "c")]), tally(&[("a", "bc", "")]));
    assert_ne!(tally(&[("a", "b", "c"), ("a", "b", "c")]), tally(&[]));
}
