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

fn documents_in(text: &[u8], respell: fn(&[u8]) -> Vec<u8>) -> Result<Vec<Value>, String> {
    let trimmed = text.trim_ascii_start();
    if trimmed.starts_with(b"{") {
        let mut found = vec![];
        for value in serde_json::Deserializer::from_slice(text).into_iter::<Value>() {
            match value {
                Ok(value) => found.push(value),
                // A YAML flow mapping also starts with a brace.
                Err(error) => match parse_yaml(text) {
                    Ok(value) => return Ok(vec![value]),
                    Err(_) => return Err(json_error(&error, text)),
                },
            }
        }
        return Ok(found);
    }
    let mut found = vec![];
    for part in split(text) {
        let text = respell(part);
        for one in serde_yaml::Deserializer::from_slice(&text) {
            let value = document(one, text.len()).map_err(|e| told(&e))?;
            if !value.is_null() {
                found.push(value);
            }
        }
    }
    Ok(found)
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
