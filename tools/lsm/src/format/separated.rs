//! CSV (RFC 4180) and TSV: lines of `keyspace,key,value` or `key,value`, with such a line at the top or without.
//!
//! CSV quotes a field that holds a comma, a quote or a line end. TSV quotes nothing: escaped text has no tabs and no line
//! ends, raw text that has them is refused.
//!
//! Threads: one. Failure: see `format`.

use super::{Bad, Reader, Record, Tally, Writer, decode, not_raw};
use crate::exit::Outcome;
use crate::text::Encoding;
use std::io::{BufRead, Write};

const NAMES: [&[u8]; 3] = [b"keyspace", b"key", b"value"];

/// Reads records.
pub struct SeparatedReader<'i> {
    input: Box<dyn BufRead + 'i>,
    encoding: Encoding,
    is_csv: bool,
    may_have_header: bool,
    line: Vec<u8>,
    /// The last line read.
    number: u64,
}

impl<'i> SeparatedReader<'i> {
    /// A reader of comma-separated lines.
    pub fn csv(input: Box<dyn BufRead + 'i>, asked: Option<Encoding>, has_header: bool) -> SeparatedReader<'i> {
        let encoding = asked.unwrap_or(Encoding::Escaped);
        SeparatedReader { input, encoding, is_csv: true, may_have_header: has_header, line: Vec::new(), number: 0 }
    }

    /// A reader of tab-separated lines.
    pub fn tsv(input: Box<dyn BufRead + 'i>, asked: Option<Encoding>, has_header: bool) -> SeparatedReader<'i> {
        SeparatedReader { is_csv: false, ..SeparatedReader::csv(input, asked, has_header) }
    }

    /// The lines of one record, put together, and where they begin; `None` at the end.
    fn read_record(&mut self) -> Result<Option<u64>, Bad> {
        let at = self.number + 1;
        self.line.clear();
        loop {
            let start = self.line.len();
            let got = self.input.read_until(b'\n', &mut self.line).map_err(|e| Bad::read(at, &e))?;
            // A quoted field may go on in the next line: then the quotes so far are odd.
            let is_open = self.is_csv && self.line.iter().filter(|byte| **byte == b'"').count() % 2 == 1;
            if got == 0 {
                return match (start, is_open) {
                    (0, _) => Ok(None),
                    (_, true) => Err(Bad::new(at, "a quote is opened and not closed")),
                    (_, false) => Ok(Some(at)),
                };
            }
            self.number += 1;
            if !is_open {
                break;
            }
        }
        for end in [b'\n', b'\r'] {
            if self.line.last() == Some(&end) {
                self.line.pop();
            }
        }
        Ok(Some(at))
    }

    fn fields(&self, at: u64) -> Result<Vec<Vec<u8>>, Bad> {
        if self.is_csv {
            return split_csv(&self.line).map_err(|what| Bad::new(at, what));
        }
        Ok(self.line.split(|byte| *byte == b'\t').map(<[u8]>::to_vec).collect())
    }
}

fn split_csv(line: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let mut field = Vec::new();
        if rest.first() == Some(&b'"') {
            rest = &rest[1..];
            loop {
                let quote = rest.iter().position(|byte| *byte == b'"').ok_or("a quote is opened and not closed")?;
                field.extend_from_slice(&rest[..quote]);
                rest = &rest[quote + 1..];
                if rest.first() != Some(&b'"') {
                    break;
                }
                field.push(b'"');
                rest = &rest[1..];
            }
            if !rest.is_empty() && rest[0] != b',' {
                return Err("text behind a closing quote");
            }
        } else {
            let end = rest.iter().position(|byte| *byte == b',').unwrap_or(rest.len());
            if rest[..end].contains(&b'"') {
                return Err("a quote inside a field that is not quoted");
            }
            field.extend_from_slice(&rest[..end]);
            rest = &rest[end..];
        }
        fields.push(field);
        match rest.split_first() {
            None => return Ok(fields),
            Some((_, tail)) => rest = tail,
        }
    }
}

impl Reader for SeparatedReader<'_> {
    fn next(&mut self) -> Result<Option<Record>, Bad> {
        loop {
            let Some(at) = self.read_record()? else { return Ok(None) };
            let fields = self.fields(at)?;
            let is_first = std::mem::replace(&mut self.may_have_header, false);
            if is_first && (fields == NAMES || fields == NAMES[1..]) {
                continue;
            }
            let (keyspace, key, value) = match fields.as_slice() {
                [only] if only.is_empty() => continue,
                [key, value] => (None, key, value),
                [keyspace, key, value] => (Some(keyspace), key, value),
                other => {
                    let text =
                        format!("{} fields; keyspace, key and value are expected, or key and value", other.len());
                    return Err(Bad::new(at, text));
                }
            };
            let keyspace = keyspace.map(|name| String::from_utf8(name.clone())).transpose();
            let keyspace = keyspace.map_err(|_| Bad::new(at, "the keyspace's name is not UTF-8"))?;
            let key = decode(self.encoding, "key", key, at)?;
            let value = decode(self.encoding, "value", value, at)?;
            return Ok(Some(Record { at, keyspace, key, value }));
        }
    }
}

/// Writes records.
pub struct SeparatedWriter<'o> {
    output: Box<dyn Write + 'o>,
    encoding: Encoding,
    is_csv: bool,
}

impl<'o> SeparatedWriter<'o> {
    /// Comma-separated, with the names of the fields at the top.
    pub fn csv(mut output: Box<dyn Write + 'o>, encoding: Encoding) -> Outcome<SeparatedWriter<'o>> {
        output.write_all(b"keyspace,key,value\n")?;
        Ok(SeparatedWriter { output, encoding, is_csv: true })
    }

    /// Tab-separated, with the names of the fields at the top.
    pub fn tsv(mut output: Box<dyn Write + 'o>, encoding: Encoding) -> Outcome<SeparatedWriter<'o>> {
        output.write_all(b"keyspace\tkey\tvalue\n")?;
        Ok(SeparatedWriter { output, encoding, is_csv: false })
    }

    fn field(&mut self, bytes: &[u8], key: &[u8]) -> Outcome {
        let text = bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r' | b'\t'));
        if !self.is_csv {
            if text {
                return Err(not_raw("TSV", key));
            }
            return Ok(self.output.write_all(bytes)?);
        }
        // An empty field is quoted too: a line of nothing would be no record.
        if !text && !bytes.is_empty() && !bytes.iter().any(|byte| matches!(byte, b',' | b'"')) {
            return Ok(self.output.write_all(bytes)?);
        }
        self.output.write_all(b"\"")?;
        for (i, part) in bytes.split(|byte| *byte == b'"').enumerate() {
            if i > 0 {
                self.output.write_all(b"\"\"")?;
            }
            self.output.write_all(part)?;
        }
        Ok(self.output.write_all(b"\"")?)
    }
}

impl Writer for SeparatedWriter<'_> {
    fn entry(&mut self, keyspace: &str, key: &[u8], value: &[u8]) -> Outcome {
        let separator: &[u8] = if self.is_csv { b"," } else { b"\t" };
        self.field(keyspace.as_bytes(), key)?;
        self.output.write_all(separator)?;
        self.field(&self.encoding.encode(key), key)?;
        self.output.write_all(separator)?;
        self.field(&self.encoding.encode(value), key)?;
        Ok(self.output.write_all(b"\n")?)
    }

    fn finish(&mut self, _tally: &Tally) -> Outcome {
        Ok(self.output.flush()?)
    }
}
