//! Makes checksums anew after a file was changed on purpose: a checksum is no defence against who can write the file,
//! so what stands behind it must hold by itself.
//!
//! The formulas are those of `docs/format/`; they are written here a second time so that a fuzzer does not ask the
//! engine what is right.

use crc32fast::Hasher;

/// Database and file number that all samples carry.
pub struct Place {
    /// The database's identity.
    pub database: u128,
    /// The number in the file's name.
    pub number: u64,
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn set(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

impl Place {
    fn hash(&self, hasher: &mut Hasher, offset: u64) {
        hasher.update(&self.database.to_le_bytes());
        hasher.update(&self.number.to_le_bytes());
        hasher.update(&offset.to_le_bytes());
    }

    /// The checksum of `bytes` at `offset`.
    pub fn checksum(&self, bytes: &[u8], offset: u64) -> u32 {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        self.hash(&mut hasher, offset);
        hasher.finalize()
    }

    /// Signs the header page of a log segment.
    pub fn sign_log_header(&self, file: &mut [u8]) {
        if file.len() >= 4096 {
            let crc = self.checksum(&file[..4092], 0);
            set(file, 4092, crc);
        }
    }

    /// Signs the log record at `at`, with whatever length it claims if that much is there.
    pub fn sign_log_record(&self, file: &mut [u8], at: usize) {
        if file.len() < at + 32 || file.len() < 32 {
            return;
        }
        let len = word(file, at + 4) as usize;
        let body = at + 32..at + 32 + len.next_multiple_of(8);
        if body.end > file.len() {
            return;
        }
        let mut seed = Hasher::new();
        seed.update(&self.database.to_le_bytes());
        seed.update(&self.number.to_le_bytes());
        seed.update(&file[24..32]);
        let place = seed.finalize() ^ (at as u64 / 8) as u32;
        let mut hasher = Hasher::new();
        hasher.update(&file[body]);
        hasher.update(&place.to_le_bytes());
        hasher.update(&file[at + 4..at + 32]);
        let crc = hasher.finalize();
        set(file, at, crc);
    }

    /// Signs the manifest record at `at`, payload and head.
    pub fn sign_manifest_record(&self, file: &mut [u8], at: usize) {
        if file.len() < at + 24 {
            return;
        }
        let len = word(file, at + 8) as usize;
        if at + 24 + len > file.len() {
            return;
        }
        let payload = self.checksum(&file[at + 24..at + 24 + len], at as u64);
        set(file, at + 4, payload);
        let head = self.checksum(&file[at + 4..at + 24], at as u64);
        set(file, at, head);
    }

    /// Signs a manifest's header.
    pub fn sign_manifest_header(file: &mut [u8]) {
        if file.len() >= 48 {
            let crc = crc32fast::hash(&file[..40]);
            set(file, 40, crc);
        }
    }

    /// Signs the block of a table that fills `from..to`, trailer included.
    pub fn sign_block(&self, file: &mut [u8], from: usize, to: usize) {
        if to <= file.len() && to >= from + 4 {
            let crc = self.checksum(&file[from..to - 4], from as u64);
            set(file, to - 4, crc);
        }
    }

    /// Signs the footer of a table.
    pub fn sign_footer(&self, file: &mut [u8]) {
        if file.len() >= 64 {
            let from = file.len() - 64;
            self.sign_block(file, from, from + 64);
        }
    }

    /// The ranges `from..to` whose last four bytes are the checksum of the rest at that place, found by trying all.
    pub fn signed_ranges(&self, file: &[u8]) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        let mut from = 0;
        while from + 8 < file.len() {
            let mut hasher = Hasher::new();
            let mut end = None;
            for at in from..file.len() - 4 {
                hasher.update(&file[at..=at]);
                let mut whole = hasher.clone();
                self.hash(&mut whole, from as u64);
                if whole.finalize() == word(file, at + 1) {
                    end = Some(at + 5);
                    break;
                }
            }
            match end {
                Some(end) => {
                    found.push((from, end));
                    from = end;
                }
                None => break,
            }
        }
        found
    }
}

/// Where the records of a manifest begin.
pub fn manifest_records(file: &[u8]) -> Vec<usize> {
    let (mut at, mut found) = (48, Vec::new());
    while at + 24 <= file.len() {
        found.push(at);
        at += 24 + word(file, at + 8) as usize;
    }
    found
}

/// Where the records of a log segment begin.
pub fn log_records(file: &[u8]) -> Vec<usize> {
    let (mut at, mut found) = (4096, Vec::new());
    while at + 32 <= file.len() && word(file, at) != 0 {
        found.push(at);
        at += 32 + (word(file, at + 4) as usize).next_multiple_of(8);
    }
    found
}

/// Signs the text of a `CURRENT`.
pub fn sign_current(text: &mut Vec<u8>) {
    if text.len() >= 13 {
        let body = text.len() - 13;
        let line = format!("crc {:08x}\n", crc32fast::hash(&text[..body]));
        text.truncate(body);
        text.extend_from_slice(line.as_bytes());
    }
}
