//! Documents in files: YAML or JSON, several in one.

use api::yaml::{self, Document, Duplicate, Words};
use serde_json::Value;

/// Begins the line between two YAML documents.
const SEPARATOR: &[u8] = b"---";

/// One YAML document as JSON: kubeconfigs, patches, `--overrides`. The last value of a key that
/// stands twice in a map counts, without a word, as for upstream's kubectl. The error is Go's:
/// `error converting YAML to JSON: yaml: line 3: …`.
pub(crate) fn parse_yaml(text: &[u8]) -> Result<Value, String> {
    yaml::parse(text)
}

/// Every document of a file, empty ones left out. The last value of a key that stands twice in a
/// map counts, without a word. `kubectl edit` reads so, and the session if text is pasted into it:
/// they warn of no key.
///
/// # Errors
/// A sentence in Go's words, with the line: the first document that is neither JSON nor YAML, is
/// nested too deeply, or has too many aliases. None of the file's documents is returned then.
pub fn documents(text: &[u8]) -> Result<Vec<Value>, String> {
    Ok(documents_with_warnings(text)?.0)
}

/// As [`documents`], and a warning for each key of a YAML document that stands twice in a map. It
/// has the line of the file. Upstream's kubectl says nothing: of the decoders of its manifests none
/// is strict, and the API server that it asks for strict validation sees the JSON alone, in which
/// the first value is missing. Here the warning is printed, because a part of what was written is
/// not applied. A key that overrides what a merge (`<<`) brought needs none.
///
/// # Errors
/// As [`documents`].
pub(crate) fn documents_with_warnings(text: &[u8]) -> Result<(Vec<Value>, Vec<String>), String> {
    let mut warnings = vec![];
    let documents = documents_in(text, Words::All, |before, document| {
        let duplicates = document.duplicates.iter().filter(|twice| !twice.overrides_merge);
        warnings.extend(duplicates.map(|twice| {
            let line = before + twice.line;
            format!("line {line}: key {} stands twice in this map; only its last value counts", twice.key)
        }));
        Ok(())
    })?;
    Ok((documents, warnings))
}

/// The documents of a file as kustomize reads its resources: by a library that refuses a key that
/// stands twice in a map (`goyaml.v3`), unless a merge brought one of the two, and without the
/// booleans of YAML 1.1.
///
/// # Errors
/// As [`documents`], and all keys of the first document with some that stand twice.
pub(crate) fn kustomize_documents(text: &[u8]) -> Result<Vec<Value>, String> {
    documents_in(text, Words::Numbers, |_, document| {
        let mut duplicates: Vec<&Duplicate> = document.duplicates.iter().collect();
        duplicates.sort_by_key(|twice| twice.key_lines[0]);
        let lines: Vec<String> = duplicates.into_iter().map(defined_twice).collect();
        match lines.is_empty() {
            true => Ok(()),
            false => Err(format!("yaml: unmarshal errors:\n  {}", lines.join("\n  "))),
        }
    })
}

/// `line 6: mapping key "b" already defined at line 5`. Every key is in quotes here.
fn defined_twice(twice: &Duplicate) -> String {
    let [first, second] = twice.key_lines;
    let key = match twice.key.starts_with('"') {
        true => twice.key.clone(),
        false => format!("\"{}\"", twice.key),
    };
    format!("line {second}: mapping key {key} already defined at line {first}")
}

/// Reads a file. `judge` gets each YAML document with the number of lines before it. Of what stands
/// between two separators the first document counts, as upstream. Source: apimachinery,
/// `YAMLOrJSONDecoder.Decode`, and for kustomize kyaml, `splitDocuments`.
fn documents_in(
    text: &[u8],
    words: Words,
    mut judge: impl FnMut(usize, &Document) -> Result<(), String>,
) -> Result<Vec<Value>, String> {
    let Beginning { documents: mut found, rest, mut error } = json_documents(text)?;
    let mut before = lines(&text[..text.len() - rest.len()]);
    let parts = split(rest, words);
    for (i, part) in parts.documents.iter().enumerate() {
        let document = match parts.wrong_separator {
            Some(line) if i + 1 == parts.documents.len() => Err(wrong_separator(line, words)),
            _ => yaml::parse_document(part, words),
        };
        // What is neither JSON nor YAML was probably meant as JSON.
        let document = document.map_err(|why| error.take().unwrap_or(why))?;
        judge(before, &document)?;
        before += lines(part) + 1; // the separator is in neither part
        error = None;
        if !document.value.is_null() {
            found.push(document.value);
        }
    }
    Ok(found)
}

/// Counts the ends of lines.
fn lines(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
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

/// The YAML documents of a file.
struct Parts<'a> {
    documents: Vec<&'a [u8]>,
    /// The line that ends the last of them, if it is no separator: upstream reads no further.
    wrong_separator: Option<&'a [u8]>,
}

/// Splits at lines that start with `---`, as upstream does, so that line numbers count from there.
/// Behind the dashes there may be blanks and a remark. A line with which a part begins stays in it;
/// only kubectl judges it.
fn split(text: &[u8], words: Words) -> Parts<'_> {
    let mut documents = vec![];
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive(|b| *b == b'\n') {
        let next = at + line.len();
        let is_judged = at > start || words == Words::All;
        if let Some(behind) = line.strip_prefix(SEPARATOR).filter(|_| is_judged) {
            let is_separator = matches!(behind.trim_ascii().first(), None | Some(b'#'));
            if !is_separator || at > start {
                documents.push(&text[start..at]);
                start = next;
            }
            if !is_separator {
                return Parts { documents, wrong_separator: Some(line) };
            }
        }
        at = next;
    }
    documents.push(&text[start..]);
    Parts { documents, wrong_separator: None }
}

/// Says that a line only looks like a separator, as kubectl and as kustomize does.
fn wrong_separator(line: &[u8], words: Words) -> String {
    let line = String::from_utf8_lossy(line);
    match words {
        Words::All => {
            let behind = line.strip_prefix("---").unwrap_or(&line).trim();
            format!("invalid Yaml document separator: {behind}")
        }
        Words::Numbers => format!("invalid document separator: {}", line.trim()),
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

    /// Upstream's kubectl says nothing, and takes the last value.
    #[test]
    fn keys_that_stand_twice_are_told_with_their_line_in_the_file() {
        let text = b"a: 1\n---\n# second\ndata: {a: b}\nx: 1\ndata: {c: d}\n";
        let (documents, warnings) = documents_with_warnings(text).unwrap();
        assert_eq!(documents, [json!({"a": 1}), json!({"data": {"c": "d"}, "x": 1})]);
        let want = "line 6: key \"data\" stands twice in this map; only its last value counts";
        assert_eq!(warnings, [want]);
        let (documents, warnings) = documents_with_warnings(b"{\"a\": 1}\n---\nb: 1\nb: 2\n").unwrap();
        assert_eq!(documents, [json!({"a": 1}), json!({"b": 2})]);
        assert_eq!(warnings, ["line 4: key \"b\" stands twice in this map; only its last value counts"]);
        assert!(documents_with_warnings(b"a: &x {b: 1}\nc: {d: *x}\n").unwrap().1.is_empty());
        assert_eq!(parse_yaml(b"a: 1\na: 2\n").unwrap(), json!({"a": 2}));
        let merge = b"x: &x {b: one}\ndata: {<<: *x, b: two}\n";
        assert!(documents_with_warnings(merge).unwrap().1.is_empty(), "that is what a merge is for");
    }

    /// As kyaml 0.20.1.
    #[test]
    fn kustomize_refuses_keys_that_stand_twice() {
        let text = b"k: 1\n---\na: yes\nb: 1\na: 2\n1: x\n1: y\nb:\n  3\n";
        let want = "yaml: unmarshal errors:
  line 3: mapping key \"a\" already defined at line 1
  line 6: mapping key \"b\" already defined at line 2
  line 5: mapping key \"1\" already defined at line 4";
        assert_eq!(kustomize_documents(text).unwrap_err(), want);
        let inner = kustomize_documents(b"a: yes\nb: {c: 1,\n  c: 2}\n").unwrap_err();
        assert_eq!(inner, "yaml: unmarshal errors:\n  line 3: mapping key \"c\" already defined at line 2");
        for data in ["{<<: *x, b: two}", "{b: two, <<: *x}"] {
            let text = format!("x: &x {{b: one}}\ndata: {data}\n");
            let want = json!({"x": {"b": "one"}, "data": {"b": "two"}});
            assert_eq!(kustomize_documents(text.as_bytes()), Ok(vec![want]), "{data}");
        }
    }

    /// As `YAMLReader.Read` and kyaml's `splitDocuments`.
    #[test]
    fn behind_a_separator_there_are_blanks_and_remarks_only() {
        for text in ["a: 1\n--- \t\nb: 2\n", "a: 1\n---# x\nb: 2\n", "---\na: 1\n--- # x\r\nb: 2\n"] {
            assert_eq!(documents(text.as_bytes()), Ok(vec![json!({"a": 1}), json!({"b": 2})]), "{text}");
        }
        for (text, kubectl, kustomize) in [
            ("a: 1\n--- b: 2\n", "b: 2", "--- b: 2"),
            ("a: 1\n---foo\n", "foo", "---foo"),
            ("a: 1\n---\nb: 2\n--- x\n{", "x", "--- x"),
        ] {
            let want = format!("invalid Yaml document separator: {kubectl}");
            assert_eq!(documents(text.as_bytes()), Err(want), "{text}");
            let want = format!("invalid document separator: {kustomize}");
            assert_eq!(kustomize_documents(text.as_bytes()), Err(want), "{text}");
        }
        assert!(documents(b"--- {a: 1}\n").is_err());
        assert_eq!(kustomize_documents(b"--- {a: 1}\n"), Ok(vec![json!({"a": 1})]));
        let error = documents(b"a: 1\n---\nb: c: d\n--- x\n").unwrap_err();
        assert_eq!(error, "invalid Yaml document separator: x", "it ends the document that is wrong");
        let error = documents(b"a: 1\n---\nb: c: d\n---\nx: 1\n").unwrap_err();
        assert!(error.ends_with("yaml: mapping values are not allowed in this context"), "{error}");
    }

    #[test]
    fn a_mistake_has_no_path_of_the_document() {
        let error = documents(b"a:\n  b: [!!int x]\n").unwrap_err();
        let want = "error converting YAML to JSON: yaml: line 2: cannot decode !!str `x` as a !!int";
        assert_eq!(error, want);
    }
}
