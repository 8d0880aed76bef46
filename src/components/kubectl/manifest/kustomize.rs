//! Resources of kustomize. Its reader is not kubectl's: JSON is read as YAML, a duplicate key is an
//! error, and `yes` is text (`ByteReader.Read` in sigs.k8s.io/kustomize/kyaml; the YAML library is
//! go.yaml.in/yaml/v3).

use super::{SEPARATOR, content_behind_separator, without_conversion};
use api::yaml::{self, Duplicate, Words};
use serde_json::Value;

/// Returns all documents of a file, without the empty ones.
///
/// # Errors
/// The first line that only looks like a separator; else the first document that is no YAML, or all
/// duplicate keys of the first document that has some. A key may override one of a merge (`<<`).
pub(crate) fn documents(text: &[u8]) -> Result<Vec<Value>, String> {
    let mut found = vec![];
    for part in split(text)? {
        let document = yaml::parse_document(part, Words::Numbers).map_err(without_conversion)?;
        refuse_duplicates(&document.duplicates)?;
        if !document.value.is_null() {
            found.push(document.value);
        }
    }
    Ok(found)
}

/// Splits a file at lines that begin with `---`. The line with which a part begins is no separator,
/// and neither is a last line without an end (the pattern of `splitDocuments` is `\n---.*\n`).
fn split(text: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut documents = vec![];
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let next = at + line.len();
        let is_between = at > start && line.ends_with(b"\n");
        if let Some(behind) = line.strip_prefix(SEPARATOR).filter(|_| is_between) {
            if content_behind_separator(behind).is_some() {
                let line = String::from_utf8_lossy(line);
                return Err(format!("invalid document separator: {}", line.trim()));
            }
            documents.push(&text[start..at]);
            start = next;
        }
        at = next;
    }
    documents.push(&text[start..]);
    Ok(documents)
}

fn refuse_duplicates(duplicates: &[Duplicate]) -> Result<(), String> {
    if duplicates.is_empty() {
        return Ok(());
    }
    let mut in_order: Vec<&Duplicate> = duplicates.iter().collect();
    in_order.sort_by_key(|duplicate| duplicate.key_lines[0]);
    let lines: Vec<String> = in_order.into_iter().map(already_defined).collect();
    Err(format!("yaml: unmarshal errors:\n  {}", lines.join("\n  ")))
}

/// `line 6: mapping key "b" already defined at line 5`. Every key is in quotes here.
fn already_defined(duplicate: &Duplicate) -> String {
    let [first, second] = duplicate.key_lines;
    let key = match duplicate.key.starts_with('"') {
        true => duplicate.key.clone(),
        false => format!("\"{}\"", duplicate.key),
    };
    format!("line {second}: mapping key {key} already defined at line {first}")
}

/// As kyaml 0.20.1 reads them.
#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn duplicate_keys_are_refused() {
        let text = b"k: 1\n---\na: yes\nb: 1\na: 2\n1: x\n1: y\nb:\n  3\n";
        let want = "yaml: unmarshal errors:
  line 3: mapping key \"a\" already defined at line 1
  line 6: mapping key \"b\" already defined at line 2
  line 5: mapping key \"1\" already defined at line 4";
        assert_eq!(documents(text).unwrap_err(), want);
        let inner = documents(b"a: yes\nb: {c: 1,\n  c: 2}\n").unwrap_err();
        assert_eq!(inner, "yaml: unmarshal errors:\n  line 3: mapping key \"c\" already defined at line 2");
        for data in ["{<<: *x, b: two}", "{b: two, <<: *x}"] {
            let text = format!("x: &x {{b: one}}\ndata: {data}\n");
            let want = json!({"x": {"b": "one"}, "data": {"b": "two"}});
            assert_eq!(documents(text.as_bytes()), Ok(vec![want]), "{data}");
        }
    }

    #[test]
    fn json_is_read_as_yaml() {
        let error = documents(b"{\"a\":1,\"a\":2}").unwrap_err();
        assert_eq!(error, "yaml: unmarshal errors:\n  line 1: mapping key \"a\" already defined at line 1");
        let [a, c] = [json!({"a": 1}), json!({"c": 3})];
        assert_eq!(documents(b"{\"a\":1}\n{\"b\":2}"), Ok(vec![a.clone()]), "the first document of a part");
        for text in
            ["{\"a\":1}\n{\"b\":2}\n---\nc: 3\n", "{\"a\":1} \n---\n---\n{c: 3}", "{a: 1,}\n---\nc: 3"]
        {
            assert_eq!(documents(text.as_bytes()), Ok(vec![a.clone(), c.clone()]), "{text}");
        }
    }

    #[test]
    fn mistakes_are_those_of_the_yaml_library() {
        for (text, why) in [
            ("a: 1\nb: c: d\n", "yaml: line 2: mapping values are not allowed in this context"),
            ("x: 1\ny: 2\n- z", "yaml: line 2: did not find expected key"),
            ("{\"a\": \"\\q\"}", "yaml: found unknown escape character"),
        ] {
            assert_eq!(documents(text.as_bytes()), Err(why.into()), "{text}");
        }
    }

    #[test]
    fn a_separator_stands_between_two_documents() {
        for text in ["a: 1\n--- \t\nb: 2\n", "a: 1\n---# x\nb: 2\n", "---\na: 1\n--- # x\r\nb: 2\n"] {
            assert_eq!(documents(text.as_bytes()), Ok(vec![json!({"a": 1}), json!({"b": 2})]), "{text}");
        }
        for (text, line) in [
            ("a: 1\n--- b: 2\n", "--- b: 2"),
            ("a: 1\n---foo\n", "---foo"),
            ("a: 1\n---\nb: c: d\n---\n--- x\n--- y\n", "--- y"),
        ] {
            let want = format!("invalid document separator: {line}");
            assert_eq!(documents(text.as_bytes()), Err(want), "{text}");
        }
        for text in ["--- {a: 1}\n", "a: 1\n--- x"] {
            assert_eq!(documents(text.as_bytes()), Ok(vec![json!({"a": 1})]), "{text}");
        }
    }
}
