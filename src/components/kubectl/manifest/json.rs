//! The JSON documents that a file begins with, and their mistakes in the words of Go's
//! `encoding/json` (`scanner.go`): `invalid character '"' after object key:value pair`.

use api::gostr;
use serde_json::Value;

/// The first words of the JSON library's error for a number such as `1e400`.
const TOO_LARGE: &str = "number out of range";

/// The JSON documents that a file begins with.
pub(super) struct LeadingJson<'a> {
    pub documents: Vec<Value>,
    /// The text behind them, to be read as YAML.
    pub rest: &'a [u8],
    /// Why the rest is not JSON; `None` if the file does not begin like JSON, or is nothing else.
    pub error: Option<String>,
}

/// Reads the JSON documents that a file begins with. The rest of a file with at most one of them
/// may be YAML: a flow mapping also begins with a brace, and `---` may follow a JSON document.
///
/// # Errors
/// More than one JSON document is followed by something else, or a number is too large.
pub(super) fn read_leading(text: &[u8]) -> Result<LeadingJson<'_>, String> {
    let mut documents = vec![];
    if !text.trim_ascii_start().starts_with(b"{") {
        return Ok(LeadingJson { documents, rest: text, error: None });
    }
    let mut stream = serde_json::Deserializer::from_slice(text).into_iter::<Value>();
    let error = loop {
        match stream.next() {
            None => return Ok(LeadingJson { documents, rest: &[], error: None }),
            Some(Ok(value)) => documents.push(value),
            Some(Err(error)) => break error,
        }
    };
    if error.to_string().starts_with(TOO_LARGE) {
        return Err(format!("json: {error}")); // it is JSON, and as YAML it would be a text
    }
    let error = describe(&error, text, stream.byte_offset());
    if documents.len() > 1 {
        return Err(error.message);
    }
    // The line of the JSON document ends before the YAML begins.
    let rest = &text[stream.byte_offset()..];
    let blank = rest.iter().position(|b| *b == b'\n' || !b.is_ascii_whitespace()).unwrap_or(rest.len());
    let rest = rest[blank..].strip_prefix(b"\n").unwrap_or(&rest[blank..]);
    Ok(LeadingJson { documents, rest, error: Some(error.with_offset()) })
}

/// A mistake, with the bytes of the file up to its end.
struct Mistake {
    message: String,
    offset: Option<usize>,
}

impl Mistake {
    /// As kubectl shows a mistake in the first document, or behind it (`JSONSyntaxError`).
    fn with_offset(self) -> String {
        match self.offset {
            Some(offset) => format!("json: offset {offset}: {}", self.message),
            None => self.message,
        }
    }
}

/// Says what is wrong with the JSON value at `start`.
fn describe(error: &serde_json::Error, text: &[u8], start: usize) -> Mistake {
    if error.is_eof() {
        return Mistake { message: "unexpected EOF".into(), offset: None };
    }
    let mut scanner = Scanner { text, at: start };
    let expected = scanner.value().err();
    match (expected, text.get(scanner.at)) {
        (Some(expected), Some(byte)) => Mistake {
            message: format!("invalid character {} {expected}", quote(*byte)),
            offset: Some(scanner.at + 1),
        },
        // Go takes it for JSON: a number is too large here, or the value nests too deeply.
        _ => Mistake { message: format!("json: {error}"), offset: None },
    }
}

/// A byte in single quotes. Go takes it for a character of Latin-1.
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
    /// The next byte; 0, which is wrong everywhere, at the end.
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
    use crate::manifest::documents;

    /// As apimachinery 0.35 says it. What is YAML, though it is no JSON, is no mistake.
    #[test]
    fn mistakes_are_reported_in_gos_words() {
        for (text, want) in [
            (r#"{"a":"#, "unexpected EOF"),
            (r#"{"a": 1 "b": 2}"#, "json: offset 9: invalid character '\"' after object key:value pair"),
            (r#"{"a": "x\q"}"#, "json: offset 10: invalid character 'q' in string escape code"),
            (
                r#"{"a": "\u00zz"}"#,
                r"json: offset 12: invalid character 'z' in \u hexadecimal character escape",
            ),
            (r#"{"a" 1}"#, "json: offset 6: invalid character '1' after object key"),
            ("{a: 1: 2}", "json: offset 2: invalid character 'a' looking for beginning of object key string"),
            ("{\"é\": x: y}", "json: offset 8: invalid character 'x' looking for beginning of value"),
            ("{\"a\":1}]\n", "json: offset 8: invalid character ']' looking for beginning of value"),
            ("{\"a\":1}\n---\nb: c: d\n", "json: offset 10: invalid character '-' in numeric literal"),
            // Two JSON documents make a JSON file.
            ("{\"a\":1}\n{\"b\":2}\n---\nc: 3\n", "invalid character '-' in numeric literal"),
            ("{\"a\":1}\n{\"b\":2}\n}", "invalid character '}' looking for beginning of value"),
        ] {
            assert_eq!(documents(text.as_bytes()), Err(want.into()), "{text}");
        }
        for number in ["1E400", "-1e309"] {
            let text = format!("{{\"a\": {number}}}");
            let why = documents(text.as_bytes()).unwrap_err();
            assert!(why.starts_with("json: number out of range"), "{number}: {why}");
        }
        let deep = "{\"a\":[".repeat(5_000);
        assert!(documents(deep.as_bytes()).unwrap_err().starts_with("json: recursion limit exceeded"));
    }

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
}
