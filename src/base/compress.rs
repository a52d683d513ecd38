//! Block compression: none, LZ4, and zstd where it is built in.

use super::lz4;
#[cfg(not(feature = "zstd"))]
use crate::error::Code;
use crate::error::{Error, Result};

/// How a block's bytes are stored. DO NOT RENUMBER: on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Compression {
    /// As they are.
    None = 0,
    /// LZ4 block format.
    Lz4 = 1,
    /// Zstandard, level 1.
    Zstd = 2,
}

impl Compression {
    /// The codec of byte `b`.
    pub fn from_byte(b: u8) -> Option<Compression> {
        match b {
            0 => Some(Compression::None),
            1 => Some(Compression::Lz4),
            2 => Some(Compression::Zstd),
            _ => None,
        }
    }

    /// Whether this build can read and write it.
    pub fn is_available(self) -> bool {
        self != Compression::Zstd || cfg!(feature = "zstd")
    }

    /// Appends the compressed `input` to `out` and says true, or leaves `out` alone when less than 1/8 would be saved.
    pub fn compress(self, input: &[u8], out: &mut Vec<u8>) -> Result<bool> {
        let start = out.len();
        match self {
            Compression::None => return Ok(false),
            Compression::Lz4 if input.len() <= lz4::INPUT_MAX => lz4::compress(input, out),
            Compression::Lz4 => {
                out.resize(start + lz4_flex::block::get_maximum_output_size(input.len()), 0);
                let written = lz4_flex::block::compress_into(input, &mut out[start..])
                    .map_err(|e| Error::invalid(format!("lz4: {e}")))?;
                out.truncate(start + written);
            }
            Compression::Zstd => zstd_compress(input, out)?,
        }
        if out.len() - start > input.len() - input.len() / 8 {
            out.truncate(start);
            return Ok(false);
        }
        Ok(true)
    }

    /// Fills `out`, whose length is the known uncompressed length, from `input`.
    pub fn decompress(self, input: &[u8], out: &mut [u8]) -> Result<()> {
        let written = match self {
            Compression::None => {
                if input.len() != out.len() {
                    return Err(Error::corruption("a raw block of the wrong length"));
                }
                out.copy_from_slice(input);
                input.len()
            }
            Compression::Lz4 => lz4_flex::block::decompress_into(input, out)
                .map_err(|e| Error::corruption(format!("lz4 block: {e}")))?,
            Compression::Zstd => zstd_decompress(input, out)?,
        };
        if written != out.len() {
            return Err(Error::corruption(format!("a block of {written} bytes where {} were promised", out.len())));
        }
        Ok(())
    }
}

#[cfg(feature = "zstd")]
fn zstd_compress(input: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let packed = zstd::bulk::compress(input, 1).map_err(|e| Error::io(&e, "zstd"))?;
    out.extend_from_slice(&packed);
    Ok(())
}

#[cfg(feature = "zstd")]
fn zstd_decompress(input: &[u8], out: &mut [u8]) -> Result<usize> {
    zstd::bulk::decompress_to_buffer(input, out).map_err(|e| Error::corruption(format!("zstd block: {e}")))
}

#[cfg(not(feature = "zstd"))]
fn zstd_compress(_input: &[u8], _out: &mut Vec<u8>) -> Result<()> {
    Err(Error::new(Code::Unsupported, "zstd is not part of this build"))
}

#[cfg(not(feature = "zstd"))]
fn zstd_decompress(_input: &[u8], _out: &mut [u8]) -> Result<usize> {
    Err(Error::new(Code::Unsupported, "zstd is not part of this build"))
}
