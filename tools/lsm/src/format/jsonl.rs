//! JSON lines.
//!
//!     {"lsm": "export", "version": 1, "encoding": "escaped"}          first line; optional in files of others
//!     {"keyspace": "default", "key": "k", "value": "v"}               one an entry; keyspace may be left out
//!     {"lsm": "end", "entries": 1, "checksum": "32 digits"}           last line; needed if there is a first line
//!
//! Threads: one. Failure: see `format`.

use super::{Bad, Reader, Record, Tally, Writer, check_end, decode, not_raw, read_line};
use crate::exit::Outcome;
use crate::text::Encoding;
use serde_json::{Map, Value, json};
use std::io::{BufRead, Write};

/// Reads records.
pub struct JsonlReader<'i> {
    input: Box<dyn BufRead + 'i>,
    asked: Option<Encoding>,
    encoding: Encoding,
    line: Vec<u8>,
    number: u64,
    has_header: bool,
    has_end: bool,
    tally: Tally,
}

impl<'i> JsonlReader<'i> {
    /// A reader; `asked` is the encoding of the command line.
    pub fn new(input: Box<dyn BufRead + 'i>, asked: Option<Encoding>) -> JsonlReader<'i> {
        let encoding = asked.unwrap_or(Encoding::Escaped);
        let (line, tally) = (Vec::new(), Tally::default());
        JsonlReader { input, asked, encoding, line, number: 0, has_header: false, has_end: false, tally }
    }

    fn object(&self) -> Result<Map<String, Value>, Bad> {
        match serde_json::from_slice(&self.line) {
            Ok(Value::Object(fields)) => Ok(fields),
            Ok(_) => Err(Bad::new(self.number, "is not a JSON object")),
            Err(error) => Err(Bad::new(self.number, format!("is not JSON: {error}"))),
        }
    }

    /// The first line or the last one of an export.
    fn control(&mut self, kind: &Value, fields: &Map<String, Value>) -> Result<(), Bad> {
        let at = self.number;
        match kind.as_str() {
            Some("export") if self.tally.entries == 0 && !self.has_header => {
                if fields.get("version") != Some(&json!(1)) {
                    return Err(Bad::new(at, "an export of a later version"));
                }
                let name = fields.get("encoding").and_then(Value::as_str).unwrap_or_default();
                let Some(encoding) = Encoding::from_name(name) else {
                    return Err(Bad::new(at, format!("unknown encoding {name:?}")));
                };
                if self.asked.is_some_and(|asked| asked != encoding) {
                    return Err(Bad::new(
                        at,
                        format!("the file says that its encoding is {name}, not the one asked for"),
                    ));
                }
                (self.encoding, self.has_header) = (encoding, true);
                Ok(())
            }
            Some("end") => {
                let entries = fields.get("entries").and_then(Value::as_u64);
                let checksum = fields.get("checksum").and_then(Value::as_str);
                let (Some(entries), Some(checksum)) = (entries, checksum) else {
                    return Err(Bad::new(at, "an end line without entries and checksum"));
                };
                self.has_end = true;
                check_end(at, &self.tally, entries, checksum)
            }
            _ => Err(Bad::new(at, "a field \"lsm\" that is neither the first line of an export nor its end")),
        }
    }

    fn record(&self, mut fields: Map<String, Value>) -> Result<Record, Bad> {
        let at = self.number;
        let mut text = |name: &str| match fields.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Bad::new(at, format!("the field {name:?} is not a string"))),
        };
        let (keyspace, key, value) = (text("keyspace")?, text("key")?, text("value")?);
        let missing = |name: &str| Bad::new(at, format!("the field {name:?} is missing"));
        let key = decode(self.encoding, "key", key.ok_or_else(|| missing("key"))?.as_bytes(), at)?;
        let value = decode(self.encoding, "value", value.ok_or_else(|| missing("value"))?.as_bytes(), at)?;
        if let Some(name) = fields.keys().next() {
            return Err(Bad::new(at, format!("unknown field {name:?}: only keyspace, key and value are taken")));
        }
        Ok(Record { at, keyspace, key, value })
    }
}

impl Reader for JsonlReader<'_> {
    fn next(&mut self) -> Result<Option<Record>, Bad> {
        loop {
            self.number += 1;
            if !read_line(&mut self.input, &mut self.line, self.number)? {
                if self.has_header && !self.has_end {
                    return Err(Bad::new(self.number, "the input ends without its end line: it was cut off"));
                }
                return Ok(None);
            }
            if self.line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            if self.has_end {
                return Err(Bad::new(self.number, "a line behind the end line"));
            }
            let fields = self.object()?;
            if let Some(kind) = fields.get("lsm") {
                self.control(kind, &fields)?;
                continue;
            }
            let record = self.record(fields)?;
            self.tally.add(record.keyspace.as_deref().unwrap_or_default().as_bytes(), &record.key, &record.value);
            return Ok(Some(record));
        }
    }
}

/// Writes records.
pub struct JsonlWriter<'o> {
    output: Box<dyn Write + 'o>,
    encoding: Encoding,
}

impl<'o> JsonlWriter<'o> {
    /// Writes the first line.
    pub fn new(mut output: Box<dyn Write + 'o>, encoding: Encoding) -> Outcome<JsonlWriter<'o>> {
        writeln!(output, "{}", json!({ "lsm": "export", "version": 1, "encoding": encoding.name() }))?;
        Ok(JsonlWriter { output, encoding })
    }
}

impl Writer for JsonlWriter<'_> {
    fn entry(&mut self, keyspace: &str, key: &[u8], value: &[u8]) -> Outcome {
        let encode = |bytes: &[u8]| self.encoding.encode_text(bytes).ok_or_else(|| not_raw("JSON", key));
        let record = json!({ "keyspace": keyspace, "key": encode(key)?, "value": encode(value)? });
        Ok(writeln!(self.output, "{record}")?)
    }

    fn finish(&mut self, tally: &Tally) -> Outcome {
        let end = json!({ "lsm": "end", "entries": tally.entries, "checksum": tally.checksum() });
        writeln!(self.output, "{end}")?;
        Ok(self.output.flush()?)
    }
}
