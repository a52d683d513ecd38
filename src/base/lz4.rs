//! LZ4 compression of small blocks.
//!
//! The format is Collet's LZ4 block format, so any decoder reads it. The search is the usual one, a hash table of the last
//! place of each four bytes, made for blocks of a few KiB:
//!
//! - places are 16 bits, and the table is cleared for each block: 8 KiB, less than what old entries cost in wrong guesses;
//! - five bytes are hashed, because a match of four saves one byte and costs a turn (1 to 2 % larger on text, 20 % faster);
//! - after 32 places without a match the steps grow, so half a block of random bytes is passed over quickly.
//!
//! The same input makes the same output, always.
//!
//! Threads: no state. Failure: none; what cannot be made smaller comes out a little larger.

/// Bits of a place in the table.
const TABLE_BITS: u32 = 12;
/// Fruitless places, as a power of two, before a step grows by one.
const PATIENCE: u32 = 5;
/// The largest input: a place is 16 bits.
pub const INPUT_MAX: usize = u16::MAX as usize;
/// The shortest match.
const MATCH_MIN: usize = 4;
/// No match begins in so many last bytes (rule of the format).
const LAST_START: usize = 12;
/// The last bytes are literals (rule of the format).
const LAST_LITERALS: usize = 5;
/// Literals are copied in pieces that may reach so far behind what counts.
const COPY: usize = 32;

#[inline(always)]
fn word(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk))
}

#[inline(always)]
fn half(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |chunk| u32::from_le_bytes(*chunk))
}

/// The place of the lowest five bytes in the table (Knuth's multiplicative hash).
#[inline(always)]
fn slot(word: u64) -> usize {
    ((word << 24).wrapping_mul(889_523_592_379) >> (u64::BITS - TABLE_BITS)) as usize
}

/// How many bytes from `at` on equal those from `from` on, before `end`.
#[inline(always)]
fn common(input: &[u8], at: usize, from: usize, end: usize) -> usize {
    let mut len = 0;
    while at + len + 8 <= end {
        let differ = word(input, at + len) ^ word(input, from + len);
        if differ != 0 {
            return len + differ.trailing_zeros() as usize / 8;
        }
        len += 8;
    }
    while at + len < end && input[at + len] == input[from + len] {
        len += 1;
    }
    len
}

struct Output<'a> {
    bytes: &'a mut [u8],
    len: usize,
}

impl Output<'_> {
    #[inline(always)]
    fn byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    /// The rest of a length of which a token holds 15.
    #[inline(always)]
    fn length(&mut self, mut rest: usize) {
        while rest >= 255 {
            self.byte(255);
            rest -= 255;
        }
        self.byte(rest as u8);
    }

    /// Token, lengths and literals of a sequence.
    #[inline(always)]
    fn literals(&mut self, input: &[u8], from: usize, len: usize, match_part: usize) {
        self.byte((len.min(15) as u8) << 4 | match_part.min(15) as u8);
        if len >= 15 {
            self.length(len - 15);
        }
        let mut done = 0;
        while done < len {
            // A copy of fixed size is two stores; `bytes` has room for one more of them than counts.
            match input[from + done..].first_chunk::<COPY>() {
                Some(piece) => self.bytes[self.len + done..][..COPY].copy_from_slice(piece),
                None => self.bytes[self.len + done..][..len - done].copy_from_slice(&input[from + done..from + len]),
            }
            done += COPY;
        }
        self.len += len;
    }
}

/// Appends `input`, at most `INPUT_MAX` bytes, compressed to `out`.
pub fn compress(input: &[u8], out: &mut Vec<u8>) {
    assert!(input.len() <= INPUT_MAX, "an LZ4 block of {} bytes", input.len());
    let start = out.len();
    // A sequence with a match is never longer than what it stands for, and its lengths take a byte for each 255.
    out.resize(start + input.len() + input.len() / 255 + 16 + COPY, 0);
    let mut output = Output { bytes: &mut out[start..], len: 0 };
    let covered = if input.len() > LAST_START { sequences(input, &mut output) } else { 0 };
    output.literals(input, covered, input.len() - covered, 0);
    let len = output.len;
    out.truncate(start + len);
}

/// Writes all sequences that end in a match; answers how much of the input they cover.
fn sequences(input: &[u8], output: &mut Output<'_>) -> usize {
    let mut table = [0u16; 1 << TABLE_BITS];
    let (start_end, match_end) = (input.len() - LAST_START, input.len() - LAST_LITERALS);
    let (mut anchor, mut at) = (0, 1);
    loop {
        let mut turn = 1usize << PATIENCE;
        let mut from;
        loop {
            if at >= start_end {
                return anchor;
            }
            let here = word(input, at);
            let entry = &mut table[slot(here)];
            from = usize::from(*entry);
            *entry = at as u16;
            // An empty entry says 0, which is a place like any other.
            if half(input, from) == here as u32 {
                break;
            }
            at += turn >> PATIENCE;
            turn += 1;
        }
        while at > anchor && from > 0 && input[at - 1] == input[from - 1] {
            (at, from) = (at - 1, from - 1);
        }
        let more = common(input, at + MATCH_MIN, from + MATCH_MIN, match_end);
        output.literals(input, anchor, at - anchor, more);
        let distance = (at - from) as u16;
        output.byte(distance as u8);
        output.byte((distance >> 8) as u8);
        if more >= 15 {
            output.length(more - 15);
        }
        at += MATCH_MIN + more;
        anchor = at;
        if at >= start_end {
            return anchor;
        }
        table[slot(word(input, at - 2))] = (at - 2) as u16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Draw(u64);

    impl Draw {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0
        }

        fn below(&mut self, bound: usize) -> usize {
            (self.next() % bound as u64) as usize
        }

        /// Bytes with runs, repeats at drawn distances, and noise.
        fn block(&mut self, len: usize) -> Vec<u8> {
            let mut block = Vec::with_capacity(len + 300);
            while block.len() < len {
                let piece = 1 + self.below(300);
                match self.below(4) {
                    0 => block.extend(std::iter::repeat_n(self.next() as u8, piece)),
                    1 => block.extend((0..piece / 4).map(|_| self.next() as u8)),
                    2 => block.extend((0..piece).map(|i| b"abcdefgh"[i % 8])),
                    _ if block.is_empty() => block.push(0),
                    _ => {
                        let from = self.below(block.len());
                        for i in 0..piece {
                            block.push(block[from + i % (block.len() - from)]);
                        }
                    }
                }
            }
            block.truncate(len);
            block
        }
    }

    fn packed(input: &[u8]) -> Vec<u8> {
        let mut out = b"kept".to_vec();
        compress(input, &mut out);
        assert_eq!(&out[..4], b"kept");
        let packed = out.split_off(4);
        assert!(packed.len() <= input.len() + input.len() / 255 + 16);
        let back = lz4_flex::block::decompress(&packed, input.len()).expect("a block of the format");
        assert!(back == input, "{} bytes came back differently", input.len());
        packed
    }

    #[test]
    fn every_block_comes_back() {
        let mut draw = Draw(0x5eed);
        let lens = (0..if cfg!(miri) { 40 } else { 600 }).chain([4095, 4096, 4097]);
        for len in lens {
            packed(&draw.block(len));
        }
        for _ in 0..if cfg!(miri) { 2 } else { 2000 } {
            let len = draw.below(20_000);
            packed(&draw.block(len));
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "takes minutes; the code has no unsafe")]
    fn the_largest_blocks_come_back() {
        let mut draw = Draw(7);
        for len in [INPUT_MAX - 1, INPUT_MAX] {
            packed(&draw.block(len));
            packed(&vec![9; len]);
            packed(&(0..len).map(|_| draw.next() as u8).collect::<Vec<_>>());
        }
    }

    #[test]
    fn is_about_as_small_as_the_reference_search() {
        let text: Vec<u8> = include_bytes!("lz4.rs").to_vec();
        let (mut ours, mut theirs) = (0, 0);
        for block in text.chunks(4096) {
            ours += packed(block).len();
            theirs += lz4_flex::block::compress(block).len();
        }
        assert!(ours * 100 <= theirs * 104, "{ours} against {theirs} bytes");
        assert!(packed(&[0; 4096]).len() < 40);
    }

    #[test]
    fn the_same_input_makes_the_same_output() {
        let mut draw = Draw(99);
        let (first, second) = (draw.block(4096), draw.block(4096));
        let before = packed(&first);
        packed(&second);
        assert_eq!(packed(&first), before);
    }
}
