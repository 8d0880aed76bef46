//! Documents in files: YAML or JSON, several in one.

use api::yaml::{document, old_numbers, old_words};
use serde_json::Value;

/// One YAML document as JSON. The error is Go's: `error converting YAML to JSON: yaml: line 3: …`.
pub(crate) fn parse_yaml(text: &[u8]) -> Result<Value, String> {
    let text = old_words(text);
    document(serde_yaml::Deserializer::from_slice(&text), text.len()).map_err(|e| told(&e))
}

/// Every document of a file, empty ones left out.
///
/// # Errors
/// A sentence in Go's words, with the line: the first document that is neither JSON nor YAML, is
/// nested too deeply, or has too many aliases. None of the file's documents is returned then.
pub fn documents(text: &[u8]) -> Result<Vec<Value>, String> {
    documents_in(text, old_words)
}

/// The same, read as kustomize reads its resources.
pub(crate) fn kustomize_documents(text: &[u8]) -> Result<Vec<Value>, String> {
    documents_in(text, old_numbers)
}

/// Source: apimachinery, `YAMLOrJSONDecoder.Decode`.
fn documents_in(text: &[u8], respell: fn(&[u8]) -> Vec<u8>) -> Result<Vec<Value>, String> {
    let Beginning { documents: mut found, rest, mut error } = json_documents(text)?;
    for part in split(rest) {
        let text = respell(part);
        for one in serde_yaml::Deserializer::from_slice(&text) {
            // What is neither JSON nor YAML was probably meant as JSON.
            let value = document(one, text.len()).map_err(|e| error.take().unwrap_or_else(|| told(&e)))?;
            error = None;
            if !value.is_null() {
                found.push(value);
            }
        }
    }
    Ok(found)
}

/// The JSON documents that a file begins with.
struct Beginning<'a> {
    documents: Vec<Value>,
    /// What follows, to be read as YAML.
    rest: &'a [u8],
    /// Why the rest is not JSON.
    error: Option<String>,
}

/// Reads the JSON documents that a file begins with. The rest of a file with at most one of them
/// may be YAML: a flow mapping also begins with a brace, and `---` may follow a JSON document.
///
/// # Errors
/// More than one JSON document is followed by something else.
fn json_documents(text: &[u8]) -> Result<Beginning<'_>, String> {
    let mut documents = vec![];
    if !text.trim_ascii_start().starts_with(b"{") {
        return Ok(Beginning { documents, rest: text, error: None });
    }
    let mut stream = serde_json::Deserializer::from_slice(text).into_iter::<Value>();
    let error = loop {
        match stream.next() {
            None => return Ok(Beginning { documents, rest: &[], error: None }),
            Some(Ok(value)) => documents.push(value),
            Some(Err(error)) => break json_error(&error, text),
        }
    };
    if documents.len() > 1 {
        return Err(error);
    }
    // The line of the JSON document ends before the YAML begins.
    let rest = &text[stream.byte_offset()..];
    let blank = rest.iter().position(|b| *b == b'\n' || !b.is_ascii_whitespace()).unwrap_or(rest.len());
    let rest = rest[blank..].strip_prefix(b"\n").unwrap_or(&rest[blank..]);
    Ok(Beginning { documents, rest, error: Some(error) })
}

/// Splits at lines that start with `---`, as kubectl does, so that line numbers count from there.
fn split(text: &[u8]) -> Vec<&[u8]> {
    let mut parts = vec![];
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive(|b| *b == b'\n') {
        if at > start && line.starts_with(b"---") {
            parts.push(&text[start..at]);
            start = at;
        }
        at += line.len();
    }
    parts.push(&text[start..]);
    parts
}

/// `yaml: line 3: mapping values are not allowed in this context`
fn told(error: &serde_yaml::Error) -> String {
    let text = error.to_string();
    let message = text.split(" at line ").next().unwrap_or(&text);
    let message = message.split(", while ").next().unwrap_or(message);
    // Go counts a parser's lines from 0 and a scanner's from 1.
    let parser = message.starts_with("did not find expected") && !message.contains("':'");
    let line = match error.location() {
        Some(place) if parser => place.line() - 1,
        Some(place) => place.line(),
        None => 0,
    };
    match line {
        0 => format!("error converting YAML to JSON: yaml: {message}"),
        line => format!("error converting YAML to JSON: yaml: line {line}: {message}"),
    }
}

fn json_error(error: &serde_json::Error, text: &[u8]) -> String {
    let line = error.line().max(1);
    let before: usize = text.split_inclusive(|b| *b == b'\n').take(line - 1).map(<[u8]>::len).sum();
    let at = (before + error.column()).min(text.len());
    if error.is_eof() {
        return "unexpected EOF".into();
    }
    let found = at.checked_sub(1).and_then(|i| text.get(i)).map_or('?', |b| *b as char);
    format!("json: line {line}: invalid character '{found}' at offset {at}")
}

/// Keys in alphabetical order, as a Go map is encoded.
pub(crate) fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut pairs: Vec<(String, Value)> = map.into_iter().collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(pairs.into_iter().map(|(k, v)| (k, sorted(v))).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn files_hold_several_documents_in_both_spellings() {
        let text = b"# nothing\n---\na: 1\n---\n\n---\nb: [x, 'y']\nc: {d: 1.5}\n";
        assert_eq!(documents(text).unwrap(), [json!({"a": 1}), json!({"b": ["x", "y"], "c": {"d": 1.5}})]);
        assert_eq!(documents(b" {\"a\":1}\n{\"b\":2}").unwrap(), [json!({"a": 1}), json!({"b": 2})]);
    }

    #[test]
    fn one_json_document_may_be_followed_by_yaml() {
        let [a, b] = [json!({"a": 1}), json!({"b": 2})];
        for text in [
            "{\"a\":1}\n---\n{\"b\":2}",
            "{\"a\":1} \n---\nb: 2\n",
            "{\"a\":1}\n---\n---\nb: 2\n",
            "{a: 1}\n---\n{b: 2}\n",
            "{a: 1}\n---\nb: 2\n",
        ] {
            assert_eq!(documents(text.as_bytes()).unwrap(), [a.clone(), b.clone()], "{text}");
            assert_eq!(kustomize_documents(text.as_bytes()).unwrap(), [a.clone(), b.clone()], "{text}");
        }
        let error = documents(b"{\"a\":1}\n{\"b\":2}\n---\nc: 3\n").unwrap_err();
        assert!(error.contains("invalid character '-'"), "two JSON documents make a JSON file: {error}");
        assert_eq!(documents(b"{\"a\":1,}\n").unwrap(), [a], "a flow mapping may end with a comma");
        assert_eq!(documents(b"{\"a\":").unwrap_err(), "unexpected EOF");
        let error = documents(b"{\"a\":1}\n---\nb: c: d\n").unwrap_err();
        assert!(error.starts_with("json: line 2"), "{error}");
    }

    #[test]
    fn aliases_and_depth_are_bounded() {
        let aliases =
            format!("a: &a [{}]\nb: [{}]\n", vec!["0"; 3_000].join(","), vec!["*a"; 3_000].join(","));
        let error = documents(aliases.as_bytes()).unwrap_err();
        assert!(error.starts_with("error converting YAML to JSON: yaml: "), "{error}");
        assert!(error.contains("document contains excessive aliasing"), "{error}");
        assert!(documents("[".repeat(5_000).as_bytes()).is_err());
        assert!(documents("{\"a\":".repeat(5_000).as_bytes()).is_err());
        assert_eq!(
            documents(b"a: &x {b: 1}\nc: {<<: *x}\n").unwrap(),
            [json!({"a": {"b": 1}, "c": {"b": 1}})]
        );
    }

    #[test]
    fn mistakes_have_a_line() {
        let error = documents(b"a: 1\nb: c: d\n").unwrap_err();
        assert_eq!(
            error,
            "error converting YAML to JSON: yaml: line 2: mapping values are not allowed in this context"
        );
    }
}
