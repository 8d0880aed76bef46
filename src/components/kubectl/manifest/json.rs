//! The JSON documents that a file begins with, and their mistakes in the words of Go
//! ([`api::json_syntax`]).

use api::json_syntax;
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
    match json_syntax::find_in_value(text, start) {
        Some(found) => Mistake { message: found.message, offset: Some(found.at + 1) },
        // Go takes it for JSON: a number is too large here, or the value nests too deeply.
        None => Mistake { message: format!("json: {error}"), offset: None },
    }
}

#[cfg(test)]
mod tests {
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
}
