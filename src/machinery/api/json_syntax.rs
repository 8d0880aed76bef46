//! The mistake in a text that is no JSON, in the words of Go's `encoding/json` (`scanner.go`):
//! `invalid character '"' after object key:value pair`.

use super::gostr;

/// What is wrong with a JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Go's message.
    pub message: String,
    /// The place of the wrong byte.
    pub at: usize,
}

/// Finds the mistake in the JSON value that begins at `start`. `None` if Go takes the value for
/// JSON, or if the text ends before the value does.
pub fn find_in_value(text: &[u8], start: usize) -> Option<Mistake> {
    let mut scanner = Scanner { text, at: start };
    let expected = scanner.value().err()?;
    scanner.mistake(&expected)
}

/// Returns Go's message for a text that has to be one JSON value and nothing else (`checkValid`);
/// `None` if it is one.
///
/// Example: the message for `{"a":1} b` is `invalid character 'b' after top-level value`.
pub fn error_of_document(text: &[u8]) -> Option<String> {
    let mut scanner = Scanner { text, at: 0 };
    let expected = match scanner.value() {
        Err(expected) => expected,
        Ok(()) => {
            scanner.skip_spaces();
            if scanner.at == text.len() {
                return None;
            }
            "after top-level value".into()
        }
    };
    let mistake = scanner.mistake(&expected);
    Some(mistake.map_or_else(|| "unexpected end of JSON input".into(), |mistake| mistake.message))
}

/// Returns a byte in single quotes. Go takes it for a character of Latin-1.
fn quote(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".into(),
        b'"' => r#"'"'"#.into(),
        _ => format!("'{}'", gostr::quote(&char::from(byte).to_string()).trim_matches('"')),
    }
}

/// An error is the end of Go's message. The wrong byte is at [`Scanner::at`].
type Scan = Result<(), String>;

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    /// Returns the mistake at the next byte, `expected` being the end of Go's message; `None` at
    /// the end of the text.
    fn mistake(&self, expected: &str) -> Option<Mistake> {
        let byte = *self.text.get(self.at)?;
        Some(Mistake { message: format!("invalid character {} {expected}", quote(byte)), at: self.at })
    }

    /// Returns the next byte; 0, which is wrong everywhere, at the end.
    fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    /// Skips the next byte if it is this one. Returns whether it is.
    fn skip(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == byte;
        self.at += usize::from(is_there);
        is_there
    }

    fn skip_spaces(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
    }

    /// Reads a value with all that is in it. `open` has the brackets that are to be closed.
    fn value(&mut self) -> Scan {
        let mut open: Vec<u8> = vec![];
        loop {
            self.skip_spaces();
            if self.skip(b'{') {
                self.skip_spaces();
                if !self.skip(b'}') {
                    open.push(b'}');
                    self.key()?;
                    continue;
                }
            } else if self.skip(b'[') {
                self.skip_spaces();
                if !self.skip(b']') {
                    open.push(b']');
                    continue;
                }
            } else {
                self.scalar()?;
            }
            if !self.finds_next_value(&mut open)? {
                return Ok(());
            }
        }
    }

    /// Goes on behind a value: over the brackets that close there, over a comma, and over the key
    /// behind it. Returns whether a value follows.
    fn finds_next_value(&mut self, open: &mut Vec<u8>) -> Result<bool, String> {
        while let Some(close) = open.last().copied() {
            self.skip_spaces();
            if self.skip(b',') {
                if close == b'}' {
                    self.key()?;
                }
                return Ok(true);
            }
            if !self.skip(close) {
                let is_object = close == b'}';
                let behind = if is_object { "after object key:value pair" } else { "after array element" };
                return Err(behind.into());
            }
            open.pop();
        }
        Ok(false)
    }

    /// Reads a key and its colon.
    fn key(&mut self) -> Scan {
        self.skip_spaces();
        if self.peek() != b'"' {
            return Err("looking for beginning of object key string".into());
        }
        self.string()?;
        self.skip_spaces();
        if self.skip(b':') { Ok(()) } else { Err("after object key".into()) }
    }

    fn scalar(&mut self) -> Scan {
        match self.peek() {
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            _ => Err("looking for beginning of value".into()),
        }
    }

    fn literal(&mut self, word: &str) -> Scan {
        for byte in word.bytes() {
            if !self.skip(byte) {
                return Err(format!("in literal {word} (expecting '{}')", char::from(byte)));
            }
        }
        Ok(())
    }

    fn number(&mut self) -> Scan {
        self.skip(b'-');
        if !self.skip(b'0') {
            self.digits("in numeric literal")?;
        }
        if self.skip(b'.') {
            self.digits("after decimal point in numeric literal")?;
        }
        if self.skip(b'e') || self.skip(b'E') {
            if !self.skip(b'+') {
                self.skip(b'-');
            }
            self.digits("in exponent of numeric literal")?;
        }
        Ok(())
    }

    /// Reads one digit or more.
    fn digits(&mut self, place: &str) -> Scan {
        if !self.peek().is_ascii_digit() {
            return Err(place.into());
        }
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        Ok(())
    }

    fn string(&mut self) -> Scan {
        self.skip(b'"');
        loop {
            match self.peek() {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => self.escape()?,
                0..=0x1f => return Err("in string literal".into()),
                _ => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Scan {
        self.skip(b'\\');
        if self.skip(b'u') {
            for _ in 0..4 {
                if !self.peek().is_ascii_hexdigit() {
                    return Err(r"in \u hexadecimal character escape".into());
                }
                self.at += 1;
            }
            return Ok(());
        }
        match self.peek() {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            _ => return Err("in string escape code".into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scanner_stops_where_json_ends() {
        for (text, at, want) in [
            (r#" {"a": [1, -2.5e+3, true, null, {}], "b": [], "é": "\"\u00e9\n"} "#, 65, None),
            ("[1 2]", 3, Some("after array element")),
            ("[1,]", 3, Some("looking for beginning of value")),
            (r#"{"a":1,}"#, 7, Some("looking for beginning of object key string")),
            (r#"{"a": [{"b": 1]}"#, 14, Some("after object key:value pair")),
            ("-x", 1, Some("in numeric literal")),
            ("01", 1, None),
            ("1.x", 2, Some("after decimal point in numeric literal")),
            ("1e+x", 3, Some("in exponent of numeric literal")),
            ("tru}", 3, Some("in literal true (expecting 'e')")),
            ("\"a\n\"", 2, Some("in string literal")),
        ] {
            let mut scanner = Scanner { text: text.as_bytes(), at: 0 };
            let expected = scanner.value().err();
            assert_eq!((expected.as_deref(), scanner.at), (want, at), "{text}");
        }
        assert_eq!(
            [quote(b'\''), quote(b'"'), quote(b'\n'), quote(b'\\')],
            [r"'\''", "'\"'", r"'\n'", r"'\\'"]
        );
    }

    #[test]
    fn a_document_is_one_value_and_nothing_else() {
        for (text, why) in [
            ("{\"a\":1}\n", None),
            ("{\"a\":1} b", Some("invalid character 'b' after top-level value")),
            ("{a: 1}", Some("invalid character 'a' looking for beginning of object key string")),
            ("{\"a\": x}", Some("invalid character 'x' looking for beginning of value")),
            ("{\"a\":", Some("unexpected end of JSON input")),
            ("{\"a\": \"b", Some("unexpected end of JSON input")),
            ("", Some("unexpected end of JSON input")),
            ("{\"a\": \"\0\"}", Some(r"invalid character '\x00' in string literal")),
            ("{\"a\": 1e400, \"a\": 2}", None),
        ] {
            assert_eq!(error_of_document(text.as_bytes()).as_deref(), why, "{text:?}");
        }
    }
}
