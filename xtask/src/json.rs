//! As much JSON as the result files need: reading, all kinds of values, errors with their offset.

/// A value.
#[derive(Clone, PartialEq, Debug)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// Any number.
    Number(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Json>),
    /// Names and values, in their order.
    Object(Vec<(String, Json)>),
}

const NULL: Json = Json::Null;

impl Json {
    /// Reads one value that fills all of `text`.
    pub fn parse(text: &str) -> Result<Json, String> {
        let mut reader = Reader { bytes: text.as_bytes(), at: 0 };
        let value = reader.value(0)?;
        reader.space();
        if reader.at < reader.bytes.len() {
            return Err(reader.wrong("the end"));
        }
        Ok(value)
    }

    /// The value of a name; `Null` if there is none.
    pub fn get(&self, name: &str) -> &Json {
        match self {
            Json::Object(fields) => fields.iter().find(|(known, _)| known == name).map_or(&NULL, |(_, value)| value),
            _ => &NULL,
        }
    }

    /// The text, or "".
    pub fn text(&self) -> &str {
        if let Json::Text(text) = self { text } else { "" }
    }

    /// The number, or NaN.
    pub fn number(&self) -> f64 {
        if let Json::Number(number) = self { *number } else { f64::NAN }
    }

    /// The list, or an empty one.
    pub fn list(&self) -> &[Json] {
        if let Json::List(list) = self { list } else { &[] }
    }
}

/// Deeper nesting is refused.
const DEPTH_MAX: usize = 32;

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn wrong(&self, want: &str) -> String {
        format!("offset {}: {want} expected", self.at)
    }

    fn space(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn take(&mut self, word: &str) -> bool {
        self.space();
        let is_there = self.bytes[self.at..].starts_with(word.as_bytes());
        self.at += if is_there { word.len() } else { 0 };
        is_there
    }

    fn value(&mut self, depth: usize) -> Result<Json, String> {
        if depth > DEPTH_MAX {
            return Err(self.wrong("less nesting"));
        }
        self.space();
        match self.bytes.get(self.at) {
            Some(b'"') => self.text().map(Json::Text),
            Some(b'[') => self.list(depth),
            Some(b'{') => self.object(depth),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ if self.take("null") => Ok(Json::Null),
            _ if self.take("true") => Ok(Json::Flag(true)),
            _ if self.take("false") => Ok(Json::Flag(false)),
            _ => Err(self.wrong("a value")),
        }
    }

    fn number(&mut self) -> Result<Json, String> {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(|b| b"+-.eE".contains(b) || b.is_ascii_digit()) {
            self.at += 1;
        }
        let text = std::str::from_utf8(&self.bytes[start..self.at]).unwrap_or_default();
        text.parse().map(Json::Number).map_err(|_| self.wrong("a number"))
    }

    fn list(&mut self, depth: usize) -> Result<Json, String> {
        let mut list = Vec::new();
        self.at += 1;
        if self.take("]") {
            return Ok(Json::List(list));
        }
        loop {
            list.push(self.value(depth + 1)?);
            if self.take("]") {
                return Ok(Json::List(list));
            }
            if !self.take(",") {
                return Err(self.wrong(", or ]"));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, String> {
        let mut fields = Vec::new();
        self.at += 1;
        if self.take("}") {
            return Ok(Json::Object(fields));
        }
        loop {
            self.space();
            let name = self.text()?;
            if !self.take(":") {
                return Err(self.wrong(":"));
            }
            fields.push((name, self.value(depth + 1)?));
            if self.take("}") {
                return Ok(Json::Object(fields));
            }
            if !self.take(",") {
                return Err(self.wrong(", or }"));
            }
        }
    }

    fn text(&mut self) -> Result<String, String> {
        if self.bytes.get(self.at) != Some(&b'"') {
            return Err(self.wrong("\""));
        }
        self.at += 1;
        let mut text = Vec::new();
        loop {
            let Some(&byte) = self.bytes.get(self.at) else { return Err(self.wrong("\"")) };
            self.at += 1;
            match byte {
                b'"' => return String::from_utf8(text).map_err(|_| self.wrong("UTF-8")),
                b'\\' => {
                    let c = self.escape()?;
                    text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                byte => text.push(byte),
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        let Some(&byte) = self.bytes.get(self.at) else { return Err(self.wrong("an escape")) };
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'u' => {
                let digits = self.bytes.get(self.at..self.at + 4).and_then(|d| std::str::from_utf8(d).ok());
                let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).and_then(char::from_u32);
                self.at += 4;
                code.ok_or_else(|| self.wrong("four hex digits of a character"))?
            }
            _ => return Err(self.wrong("an escape")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_all_kinds_are_read() {
        let json = Json::parse(r#" {"a": [1, -2.5e3, null, true], "b": "x\n\"\u00e9", "c": {}} "#).expect("valid");
        assert_eq!(json.get("a").list().len(), 4);
        assert_eq!(json.get("a").list()[1].number(), -2500.0);
        assert!(json.get("a").list()[2].number().is_nan());
        assert_eq!(json.get("b").text(), "x\n\"é");
        assert_eq!(json.get("c").get("nothing"), &Json::Null);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "{", "[1,", "[1 2]", "{\"a\" 1}", "\"x", "1 2", "\"\\u12\"", "nul", "{\"a\":1,}"] {
            assert!(Json::parse(text).is_err(), "{text}");
        }
        assert!(Json::parse(&"[".repeat(1000)).is_err());
    }
}
