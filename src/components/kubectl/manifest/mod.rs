//! Documents in files: YAML or JSON, several in one.

mod json;
pub(crate) mod kustomize;

use api::yaml::{self, Words};
use json::LeadingJson;
use serde_json::Value;

/// Begins the line between two YAML documents.
const SEPARATOR: &[u8] = b"---";

/// Reads one YAML document as JSON: a kubeconfig, a patch, `--overrides`. Of a duplicate key the
/// last value is used, without a warning, as upstream's kubectl does.
///
/// # Errors
/// Go's message: `error converting YAML to JSON: yaml: line 3: …`.
pub(crate) fn parse_yaml(text: &[u8]) -> Result<Value, String> {
    yaml::parse(text)
}

/// As [`parse_yaml`], for files of which upstream makes JSON in a step of its own (`YAMLToJSON`): a
/// kustomization, and the patch of `kubectl patch`.
///
/// # Errors
/// Go's message, which does not name this step: `yaml: line 3: …`.
pub(crate) fn yaml_to_json(text: &[u8]) -> Result<Value, String> {
    parse_yaml(text).map_err(without_conversion)
}

/// Returns the message of Go's YAML library alone.
fn without_conversion(why: String) -> String {
    why.strip_prefix("error converting YAML to JSON: ").map(str::to_string).unwrap_or(why)
}

/// Returns a text in UTF-8 without its byte order mark. PowerShell's `>` writes a mark of UTF-16,
/// which says how the text is decoded. What is no text, e.g. a remark that an editor wrote in the
/// machine's own encoding, becomes U+FFFD. Upstream reads files and standard input so, but no URLs
/// (`FileVisitor.Visit` in k8s.io/cli-runtime).
pub(crate) fn without_byte_order_mark(text: Vec<u8>) -> Vec<u8> {
    let unit: fn([u8; 2]) -> u16 = match text.first_chunk::<2>() {
        Some([0xff, 0xfe]) => u16::from_le_bytes,
        Some([0xfe, 0xff]) => u16::from_be_bytes,
        _ => {
            let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
            return String::from_utf8_lossy(text).into_owned().into_bytes();
        }
    };
    let pairs = text[2..].chunks(2);
    // Half a character at the end is none.
    let units = pairs.map(|pair| if let [a, b] = *pair { unit([a, b]) } else { 0xfffd });
    let decoded: String =
        char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    decoded.into_bytes()
}

/// Returns all documents of a file, without the empty ones. Of a duplicate key the last value is
/// used, without a warning, as `kubectl edit` does, and the session with a text that is pasted.
///
/// # Errors
/// Go's message for the first document that is neither JSON nor YAML, is nested too deeply, or has
/// too many aliases. None of the file's documents is returned then.
pub fn documents(text: &[u8]) -> Result<Vec<Value>, String> {
    Ok(documents_with_warnings(text)?.0)
}

/// As [`documents`], with a warning for each duplicate key of a YAML document, which names the line
/// of the file. Upstream's kubectl warns of none: its decoders are not strict, and the API server,
/// which validates strictly, gets JSON in which the first value is missing. Here the warning is
/// printed, because a part of the manifest is not applied. A key that overrides one of a merge
/// (`<<`) gets no warning: that is what a merge is for.
///
/// Of the text between two separators the first document counts, as upstream
/// (`YAMLOrJSONDecoder.Decode` in k8s.io/apimachinery).
///
/// # Errors
/// As [`documents`].
pub(crate) fn documents_with_warnings(text: &[u8]) -> Result<(Vec<Value>, Vec<String>), String> {
    let LeadingJson { documents: mut found, rest, error: mut json_error } = json::read_leading(text)?;
    let mut warnings = vec![];
    let mut lines_before = count_lines(&text[..text.len() - rest.len()]);
    for part in split(rest) {
        let read = part.and_then(|part| Ok((part, yaml::parse_document(part, Words::All)?)));
        // A text that is neither JSON nor YAML, but begins like JSON, was probably meant as JSON.
        let (part, document) = read.map_err(|why| json_error.take().unwrap_or(why))?;
        for duplicate in document.duplicates.iter().filter(|duplicate| !duplicate.overrides_merge) {
            let line = lines_before + duplicate.line;
            warnings
                .push(format!("line {line}: duplicate key {}: only its last value is used", duplicate.key));
        }
        lines_before += count_lines(part) + 1; // the separator is in neither part
        json_error = None;
        if !document.value.is_null() {
            found.push(document.value);
        }
    }
    Ok((found, warnings))
}

fn count_lines(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}

/// Splits a file at lines that begin with `---`; each document counts its own lines. The last part
/// is an error if a line only looks like a separator: upstream reads no further (`YAMLReader.Read`
/// in k8s.io/apimachinery). A separator with which a part begins stays in it.
fn split(text: &[u8]) -> Vec<Result<&[u8], String>> {
    let mut documents = vec![];
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let next = at + line.len();
        if let Some(behind) = line.strip_prefix(SEPARATOR) {
            if let Some(content) = content_behind_separator(behind) {
                documents.push(Err(format!("invalid Yaml document separator: {content}")));
                return documents;
            }
            if at > start {
                documents.push(Ok(&text[start..at]));
                start = next;
            }
        }
        at = next;
    }
    documents.push(Ok(&text[start..]));
    documents
}

/// Returns the text behind the dashes of a separator, unless it is a remark.
fn content_behind_separator(behind: &[u8]) -> Option<String> {
    let behind = String::from_utf8_lossy(behind);
    let content = behind.trim();
    (!content.is_empty() && !content.starts_with('#')).then(|| content.to_string())
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

/// Removes the fields that are null. Items of a list stay, even if they are null.
pub(crate) fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(_, field)| !field.is_null());
            kept.map(|(key, field)| (key, without_nulls(field))).collect()
        }
        Value::Array(list) => list.into_iter().map(without_nulls).collect(),
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
    fn null_fields_are_removed_at_every_depth() {
        let object = json!({"a": null, "b": {"c": null, "d": 1}, "l": [null, {"e": null}]});
        assert_eq!(without_nulls(object), json!({"b": {"d": 1}, "l": [null, {}]}));
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
        }
        assert_eq!(documents(b"{\"a\":1,}\n").unwrap(), [a], "a flow mapping may end with a comma");
    }

    #[test]
    fn a_byte_order_mark_says_how_a_file_is_decoded() {
        let text = "a: é😀\r\n---\r\nb: 1\r\n";
        let want = [json!({"a": "é😀"}), json!({"b": 1})];
        let encoded = |unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
            format!("\u{feff}{text}").encode_utf16().flat_map(unit).collect()
        };
        let utf8 = format!("\u{feff}{text}").into_bytes();
        for bytes in [text.into(), utf8, encoded(u16::to_le_bytes), encoded(u16::to_be_bytes)] {
            assert_eq!(documents(&without_byte_order_mark(bytes)).unwrap(), want);
        }
        assert_eq!(without_byte_order_mark(b"a\xff".to_vec()), "a\u{fffd}".as_bytes(), "no mark");
        let korean = documents(&without_byte_order_mark(b"# \xc0\xa5 (CP949)\na: 1\n".to_vec()));
        assert_eq!(korean, Ok(vec![json!({"a": 1})]));
        let json = documents(&without_byte_order_mark("\u{feff}{\"a\": 1}\n{\"b\": 2}".into()));
        assert_eq!(json.map(|documents| documents.len()), Ok(2));
        for (bytes, want) in [(b"\xff\xfea".to_vec(), "\u{fffd}"), (b"\xff\xfe\x00\xd8".to_vec(), "\u{fffd}")]
        {
            assert_eq!(without_byte_order_mark(bytes), want.as_bytes());
        }
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

    /// Upstream's kubectl uses the last value, too, but warns of nothing.
    #[test]
    fn warnings_of_duplicate_keys_have_the_line_of_the_file() {
        let text = b"a: 1\n---\n# second\ndata: {a: b}\nx: 1\ndata: {c: d}\n";
        let (documents, warnings) = documents_with_warnings(text).unwrap();
        assert_eq!(documents, [json!({"a": 1}), json!({"data": {"c": "d"}, "x": 1})]);
        assert_eq!(warnings, ["line 6: duplicate key \"data\": only its last value is used"]);
        let (documents, warnings) = documents_with_warnings(b"{\"a\": 1}\n---\nb: 1\nb: 2\n").unwrap();
        assert_eq!(documents, [json!({"a": 1}), json!({"b": 2})]);
        assert_eq!(warnings, ["line 4: duplicate key \"b\": only its last value is used"]);
        assert!(documents_with_warnings(b"a: &x {b: 1}\nc: {d: *x}\n").unwrap().1.is_empty());
        assert_eq!(parse_yaml(b"a: 1\na: 2\n").unwrap(), json!({"a": 2}));
        let merge = b"x: &x {b: one}\ndata: {<<: *x, b: two}\n";
        assert!(documents_with_warnings(merge).unwrap().1.is_empty(), "that is what a merge is for");
    }

    /// As `YAMLReader.Read`.
    #[test]
    fn a_separator_has_only_blanks_and_a_remark_behind_it() {
        for text in ["a: 1\n--- \t\nb: 2\n", "a: 1\n---# x\nb: 2\n", "---\na: 1\n--- # x\r\nb: 2\n"] {
            assert_eq!(documents(text.as_bytes()), Ok(vec![json!({"a": 1}), json!({"b": 2})]), "{text}");
        }
        for (text, content) in [
            ("a: 1\n--- b: 2\n", "b: 2"),
            ("a: 1\n---foo\n", "foo"),
            ("a: 1\n--- x", "x"),
            ("--- {a: 1}\n", "{a: 1}"),
            ("a: 1\n---\nb: 2\n--- x\n{", "x"),
            ("a: 1\n---\nb: c: d\n--- x\n", "x"), // it ends the document that is wrong
        ] {
            let want = format!("invalid Yaml document separator: {content}");
            assert_eq!(documents(text.as_bytes()), Err(want), "{text}");
        }
        let error = documents(b"a: 1\n---\nb: c: d\n---\nx: 1\n").unwrap_err();
        assert!(error.ends_with("yaml: mapping values are not allowed in this context"), "{error}");
    }

    #[test]
    fn a_conversion_of_its_own_is_not_named_in_its_error() {
        let why = "yaml: line 2: mapping values are not allowed in this context";
        assert_eq!(yaml_to_json(b"a: 1\nb: c: d\n"), Err(why.to_string()));
        assert_eq!(parse_yaml(b"a: 1\nb: c: d\n"), Err(format!("error converting YAML to JSON: {why}")));
    }

    #[test]
    fn a_mistake_has_no_path_of_the_document() {
        let error = documents(b"a:\n  b: [!!int x]\n").unwrap_err();
        let want = "error converting YAML to JSON: yaml: line 2: cannot decode !!str `x` as a !!int";
        assert_eq!(error, want);
    }
}
