//! Documents in files: YAML or JSON, several in one.

use crate::api::yaml::{old_numbers, old_words};
use serde::Deserialize;
use serde_json::{Map, Number, Value};

/// One YAML document as JSON. The error is Go's: `error converting YAML to JSON: yaml: line 3: …`.
pub fn parse_yaml(text: &[u8]) -> Result<Value, String> {
    let value = serde_yaml::from_slice::<serde_yaml::Value>(&old_words(text)).map_err(|e| told(&e))?;
    to_json(value)
}

/// Every document of a file, empty ones left out.
pub fn documents(text: &[u8]) -> Result<Vec<Value>, String> {
    documents_in(text, old_words)
}

/// The same, read as kustomize reads its resources.
pub fn kustomize_documents(text: &[u8]) -> Result<Vec<Value>, String> {
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
        for document in serde_yaml::Deserializer::from_slice(&respell(part)) {
            let value = serde_yaml::Value::deserialize(document).map_err(|e| told(&e))?;
            if !value.is_null() {
                found.push(to_json(value)?);
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

fn to_json(value: serde_yaml::Value) -> Result<Value, String> {
    use serde_yaml::Value as Yaml;
    Ok(match value {
        Yaml::Null => Value::Null,
        Yaml::Bool(b) => Value::Bool(b),
        Yaml::Number(n) => match (n.as_i64(), n.as_u64(), n.as_f64()) {
            (Some(i), ..) => i.into(),
            (None, Some(u), _) => u.into(),
            (None, None, f) => f.and_then(Number::from_f64).map_or(Value::Null, Value::Number),
        },
        Yaml::String(s) => Value::String(s),
        Yaml::Sequence(list) => Value::Array(list.into_iter().map(to_json).collect::<Result<_, _>>()?),
        Yaml::Mapping(map) => {
            let mut out = Map::new();
            for (key, value) in merged(map) {
                let key = match key {
                    Yaml::String(s) => s,
                    Yaml::Bool(b) => b.to_string(),
                    Yaml::Number(n) => n.to_string(),
                    other => {
                        return Err(format!("error converting YAML to JSON: unsupported map key {other:?}"));
                    }
                };
                out.insert(key, to_json(value)?);
            }
            Value::Object(out)
        }
        Yaml::Tagged(tagged) => to_json(tagged.value)?,
    })
}

/// Puts what `<<: *anchor` brings under the keys of the map itself.
fn merged(mut map: serde_yaml::Mapping) -> serde_yaml::Mapping {
    let mut whole = serde_yaml::Value::Mapping(std::mem::take(&mut map));
    if whole.get("<<").is_some() {
        let _ = whole.apply_merge(); // what cannot be merged stays as it is
    }
    match whole {
        serde_yaml::Value::Mapping(map) => map,
        _ => map,
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
    fn mistakes_have_a_line() {
        let error = documents(b"a: 1\nb: c: d\n").unwrap_err();
        assert_eq!(
            error,
            "error converting YAML to JSON: yaml: line 2: mapping values are not allowed in this context"
        );
    }
}
