//! The packed form: binary, every block with a checksum, nothing to parse.
//!
//!     file    := "LSMPACK1" block*
//!     block   := tag: u8, len: u32, hash: u64, payload: [u8; len]       little-endian; hash is XXH3-64 of tag and payload
//!     tag 1   keyspace: the name of the one that follows
//!     tag 2   entries: {u32 klen, u32 vlen, key, value}*
//!     tag 3   end: entries u64, checksum u128; last, and nothing behind it
//!
//! Threads: one. Failure: see `format`.

use super::{Bad, Reader, Record, Tally, Writer, check_end};
use crate::exit::Outcome;
use crate::lsm::{PACKED_BYTES, pack, unpack};
use std::io::{BufRead, Read as _, Write};
use xxhash_rust::xxh3::xxh3_64_with_seed;

const MAGIC: &[u8; 8] = b"LSMPACK1";
const KEYSPACE: u8 = 1;
const ENTRIES: u8 = 2;
const END: u8 = 3;
/// A block is never larger: the largest entry.
const BLOCK_BYTES_MAX: u32 = (1 << 30) + (1 << 17);

/// Reads records.
pub struct PackedReader<'i> {
    input: Box<dyn BufRead + 'i>,
    has_magic: bool,
    has_end: bool,
    keyspace: Option<String>,
    block: Vec<u8>,
    at: usize,
    offset: u64,
    tally: Tally,
}

impl<'i> PackedReader<'i> {
    /// A reader; nothing is read yet.
    pub fn new(input: Box<dyn BufRead + 'i>) -> PackedReader<'i> {
        let (block, tally) = (Vec::new(), Tally::default());
        PackedReader { input, has_magic: false, has_end: false, keyspace: None, block, at: 0, offset: 0, tally }
    }

    /// The number of the entry that is being read.
    fn number(&self) -> u64 {
        self.tally.entries + 1
    }

    fn bad(&self, what: &str) -> Bad {
        Bad::new(self.number(), format!("offset {}: {what}", self.offset))
    }

    fn take(&mut self, len: usize) -> Result<(), Bad> {
        self.block.clear();
        let got = (&mut self.input).take(len as u64).read_to_end(&mut self.block);
        let got = got.map_err(|e| Bad::read(self.number(), &e))?;
        if got < len {
            return Err(self.bad(&format!("the input ends here: {len} bytes expected, {got} left; it was cut off")));
        }
        Ok(())
    }

    /// Reads the next block; its tag, or `None` at the end.
    fn next_block(&mut self) -> Result<Option<u8>, Bad> {
        if !self.has_magic {
            self.take(MAGIC.len())?;
            if self.block != MAGIC {
                return Err(self.bad("this is not a packed file"));
            }
            (self.has_magic, self.offset) = (true, MAGIC.len() as u64);
        }
        if self.has_end {
            let number = self.number();
            let is_empty = self.input.fill_buf().map_err(|e| Bad::read(number, &e))?.is_empty();
            return if is_empty { Ok(None) } else { Err(self.bad("bytes behind the end")) };
        }
        self.take(13)?;
        let (tag, mut len, mut hash) = (self.block[0], [0; 4], [0; 8]);
        len.copy_from_slice(&self.block[1..5]);
        hash.copy_from_slice(&self.block[5..13]);
        let len = u32::from_le_bytes(len);
        if len > BLOCK_BYTES_MAX {
            return Err(self.bad(&format!("a block of {len} bytes is no block")));
        }
        self.take(len as usize)?;
        if xxh3_64_with_seed(&self.block, u64::from(tag)) != u64::from_le_bytes(hash) {
            return Err(self.bad("the checksum of the block is wrong: the file is damaged"));
        }
        self.offset += 13 + u64::from(len);
        Ok(Some(tag))
    }

    fn check_end(&mut self) -> Result<(), Bad> {
        let Some((entries, checksum)) = self.block.split_first_chunk::<8>() else {
            return Err(self.bad("a malformed end"));
        };
        let Ok(checksum) = <[u8; 16]>::try_from(checksum) else { return Err(self.bad("a malformed end")) };
        self.has_end = true;
        let checksum = format!("{:032x}", u128::from_le_bytes(checksum));
        check_end(self.tally.entries, &self.tally, u64::from_le_bytes(*entries), &checksum)
    }
}

impl Reader for PackedReader<'_> {
    fn next(&mut self) -> Result<Option<Record>, Bad> {
        while self.at == self.block.len() || self.has_end {
            let tag = self.next_block()?;
            self.at = self.block.len();
            match tag {
                None => return Ok(None),
                Some(KEYSPACE) => match String::from_utf8(self.block.clone()) {
                    Ok(name) => self.keyspace = Some(name),
                    Err(_) => return Err(self.bad("the keyspace's name is not UTF-8")),
                },
                Some(ENTRIES) => self.at = 0,
                Some(END) => self.check_end()?,
                Some(tag) => return Err(self.bad(&format!("a block of unknown kind {tag}"))),
            }
        }
        let Some((key, value)) = unpack(&self.block[self.at..]) else {
            return Err(self.bad("an entry does not fit its block"));
        };
        let (key, value) = (key.to_vec(), value.to_vec());
        self.at += 8 + key.len() + value.len();
        self.tally.add(self.keyspace.as_deref().unwrap_or_default().as_bytes(), &key, &value);
        Ok(Some(Record { at: self.tally.entries, keyspace: self.keyspace.clone(), key, value }))
    }
}

/// Writes records.
pub struct PackedWriter<'o> {
    output: Box<dyn Write + 'o>,
    keyspace: Option<String>,
    entries: Vec<u8>,
}

impl<'o> PackedWriter<'o> {
    /// Writes the magic.
    pub fn new(mut output: Box<dyn Write + 'o>) -> Outcome<PackedWriter<'o>> {
        output.write_all(MAGIC)?;
        Ok(PackedWriter { output, keyspace: None, entries: Vec::new() })
    }

    fn block(&mut self, tag: u8, payload: &[u8]) -> Outcome {
        self.output.write_all(&[tag])?;
        self.output.write_all(&(payload.len() as u32).to_le_bytes())?;
        self.output.write_all(&xxh3_64_with_seed(payload, u64::from(tag)).to_le_bytes())?;
        Ok(self.output.write_all(payload)?)
    }

    fn flush_entries(&mut self) -> Outcome {
        if self.entries.is_empty() {
            return Ok(());
        }
        let entries = std::mem::take(&mut self.entries);
        self.block(ENTRIES, &entries)?;
        self.entries = entries;
        self.entries.clear();
        Ok(())
    }
}

impl Writer for PackedWriter<'_> {
    fn entry(&mut self, keyspace: &str, key: &[u8], value: &[u8]) -> Outcome {
        if self.keyspace.as_deref() != Some(keyspace) {
            self.flush_entries()?;
            self.block(KEYSPACE, keyspace.as_bytes())?;
            self.keyspace = Some(keyspace.to_string());
        }
        if !self.entries.is_empty() && self.entries.len() + key.len() + value.len() > PACKED_BYTES {
            self.flush_entries()?;
        }
        pack(&mut self.entries, key, value);
        Ok(())
    }

    fn finish(&mut self, tally: &Tally) -> Outcome {
        self.flush_entries()?;
        let mut end = tally.entries.to_le_bytes().to_vec();
        end.extend_from_slice(&tally.checksum_bytes());
        self.block(END, &end)?;
        Ok(self.output.flush()?)
    }
}
