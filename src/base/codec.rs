//! Little-endian integers, varints, and a reader that checks every bound. No length from a file is trusted.

use crate::error::{Error, Result};

/// Appends `value` as a LEB128 varint.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How many bytes `put_varint` appends.
#[inline]
pub fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Appends a length as varint, then the bytes.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A checked walk over encoded bytes. `what` names the structure in error texts.
pub struct Reader<'a> {
    rest: &'a [u8],
    whole_len: usize,
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Starts at the first of `bytes`.
    pub fn new(bytes: &'a [u8], what: &'static str) -> Reader<'a> {
        Reader { rest: bytes, whole_len: bytes.len(), what }
    }

    /// Where the reader stands, from the start.
    pub fn position(&self) -> usize {
        self.whole_len - self.rest.len()
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[cold]
    fn short(&self, wanted: &str) -> Error {
        Error::corruption(format!("{}: {wanted} runs past the end at byte {}", self.what, self.position()))
    }

    /// The next `len` bytes.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        if len > self.rest.len() {
            return Err(self.short("a field"));
        }
        let (head, tail) = self.rest.split_at(len);
        self.rest = tail;
        Ok(head)
    }

    /// The next byte.
    #[inline]
    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// The next `u16`.
    #[inline]
    pub fn u16(&mut self) -> Result<u16> {
        let b = self.take(2)?;
        Ok(u16::from_le_bytes([b[0], b[1]]))
    }

    /// The next `u32`.
    #[inline]
    pub fn u32(&mut self) -> Result<u32> {
        let mut word = [0; 4];
        word.copy_from_slice(self.take(4)?);
        Ok(u32::from_le_bytes(word))
    }

    /// The next `u64`.
    #[inline]
    pub fn u64(&mut self) -> Result<u64> {
        let mut word = [0; 8];
        word.copy_from_slice(self.take(8)?);
        Ok(u64::from_le_bytes(word))
    }

    /// The next `u128`.
    pub fn u128(&mut self) -> Result<u128> {
        let mut word = [0; 16];
        word.copy_from_slice(self.take(16)?);
        Ok(u128::from_le_bytes(word))
    }

    /// The next varint; refuses more than 64 bits.
    #[inline]
    pub fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Error::corruption(format!("{}: a varint of more than 64 bits at byte {}", self.what, self.position())))
    }

    /// A varint length of at most `max`, as `usize`.
    #[inline]
    pub fn length(&mut self, max: usize) -> Result<usize> {
        let len = self.varint()?;
        if len > max as u64 {
            return Err(Error::corruption(format!(
                "{}: length {len} at byte {} exceeds {max}",
                self.what,
                self.position()
            )));
        }
        Ok(len as usize)
    }

    /// A length-prefixed byte string of at most `max` bytes.
    #[inline]
    pub fn bytes(&mut self, max: usize) -> Result<&'a [u8]> {
        let len = self.length(max)?;
        self.take(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip_at_every_length() {
        for shift in 0..64 {
            for value in [(1u64 << shift) - 1, 1 << shift, (1u64 << shift) + 1, u64::MAX >> shift] {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                assert_eq!(out.len(), varint_len(value));
                let mut reader = Reader::new(&out, "test");
                assert_eq!(reader.varint().expect("fits"), value);
                assert!(reader.is_empty());
            }
        }
    }

    #[test]
    fn overlong_and_short_varints_are_corruption() {
        assert!(Reader::new(&[0xff; 10], "test").varint().is_err());
        assert!(Reader::new(&[0x80; 3], "test").varint().is_err());
        assert!(Reader::new(&[5, 1, 2], "test").bytes(4).is_err());
    }
}
