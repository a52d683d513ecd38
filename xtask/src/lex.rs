//! Just enough of Rust's lexer: what is code, what is comment or text, and where braces close.
//!
//! - I1  `mask` keeps every newline in its place and the length in bytes, so offsets and lines of the masked text are
//!   those of the source.
//!
//! Failure: none; unterminated comments and texts reach to the end of the file.

/// The source with comments and the contents of string, byte and character literals turned to spaces.
pub fn mask(source: &str) -> String {
    let bytes = source.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => line_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' if !is_word_before(bytes, at) => raw_string_end(bytes, at).unwrap_or(at),
            b'b' | b'c' if !is_word_before(bytes, at) && bytes.get(at + 1) == Some(&b'r') => {
                raw_string_end(bytes, at + 1).unwrap_or(at)
            }
            b'\'' => char_end(bytes, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            at += 1;
            continue;
        }
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    // Only whole characters were overwritten or kept: literals and comments begin and end at ASCII.
    String::from_utf8(out).unwrap_or_default()
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|&b| b == b'\n').map_or(bytes.len(), |n| at + n)
}

fn block_comment_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Where a raw string that begins with the `r` at `start` ends; `None` if there is none.
fn raw_string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let hashes = bytes[start + 1..].iter().take_while(|&&b| b == b'#').count();
    let open = start + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let found = bytes[open + 1..].windows(close.len()).position(|w| w == close);
    Some(found.map_or(bytes.len(), |n| open + 1 + n + close.len()))
}

/// Where a character literal that begins at `start` ends; `None` for a lifetime.
fn char_end(bytes: &[u8], start: usize) -> Option<usize> {
    match bytes.get(start + 1)? {
        b'\\' => {
            let from = start + 3;
            bytes.get(from..)?.iter().position(|&b| b == b'\'').map(|n| from + n + 1)
        }
        b'\'' => None,
        first => {
            // One character of one to four bytes, then the closing quote.
            let len = match first {
                0..=0x7f => 1,
                0x80..=0xdf => 2,
                0xe0..=0xef => 3,
                _ => 4,
            };
            (bytes.get(start + 1 + len) == Some(&b'\'')).then_some(start + len + 2)
        }
    }
}

fn is_word_before(bytes: &[u8], at: usize) -> bool {
    at > 0 && is_word(bytes[at - 1])
}

/// Whether `b` may stand in an identifier.
pub fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_'
}

/// Offset behind the brace that closes the one at `open`.
pub fn close_of(masked: &str, open: usize) -> usize {
    let mut depth = 0usize;
    for (at, byte) in masked.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return at + 1,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    masked.len()
}

/// Offsets of `word` in `masked`, as a whole word.
pub fn words<'a>(masked: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    masked.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let bytes = masked.as_bytes();
        !is_word_before(bytes, at) && !bytes.get(at + word.len()).copied().is_some_and(is_word)
    })
}

/// The identifier at `at`, or "".
pub fn word_at(masked: &str, at: usize) -> &str {
    let rest = &masked[at..];
    &rest[..rest.bytes().position(|b| !is_word(b)).unwrap_or(rest.len())]
}

/// The line (from 1) of an offset.
pub fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at].iter().filter(|&&b| b == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_texts_vanish_and_offsets_stay() {
        let cases = [
            ("a // b\nc", "a     \nc"),
            ("a /* b /* c */ d */ e", "a                   e"),
            (r#"f("x \" y", 1)"#, r#"f(        , 1)"#),
            ("r#\"a\"b\"# c", "         c"),
            ("br\"a\" c", "      c"),
            ("bar\"a\" c", "bar    c"),
            ("'x' '\\n' '\\'' 'é' '{'", "                     "),
            ("fn f<'a>(x: &'a u8) -> &'static str", "fn f<'a>(x: &'a u8) -> &'static str"),
        ];
        for (source, want) in cases {
            let got = mask(source);
            assert_eq!(got.trim_end(), want.trim_end(), "{source}");
            assert_eq!(got.len(), source.len(), "{source}");
        }
    }

    #[test]
    fn whole_words_only() {
        assert_eq!(words("unsafe_code unsafe {} not_unsafe", "unsafe").collect::<Vec<_>>(), [12]);
    }

    #[test]
    fn braces_match() {
        let text = "fn f() { if x { y } } z";
        assert_eq!(&text[close_of(text, 7)..], " z");
    }
}
