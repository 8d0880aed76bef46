//! What Go's library reads and refuses, beside what is read and refused here.

use super::read_with_duplicates;
use crate::yaml::parse;
use serde_json::Value;

/// Mistakes of which another one stands before the one that Go tells, by the beginning of the text,
/// and what is told here.
const OTHER_MISTAKES: [(&str, &str); 5] = [
    ("- &x\n  null:  *x", "unsupported map key of type: null"),
    ("한글:  on\nk15: { true", "json: unsupported value: +Inf"),
    ("12:30: !!map", "unsupported map key of type: null"),
    ("~:\n\n  é\n", "unsupported map key of type: null"),
    ("x: 1\n{?: b}", "yaml: line 3: could not find expected ':'"),
];

/// Beginnings of messages of Go that have other words here.
const OTHER_WORDS: [(&str, &str); 4] = [
    ("unsupported map key of type: %!s(<nil>)", "unsupported map key of type: null"),
    ("yaml: invalid map key: []", "yaml: invalid map key: it is a list"),
    ("yaml: invalid map key: map[", "yaml: invalid map key: it is a map"),
    ("yaml: anchor 'b' value", "yaml: exceeded max depth of 100: the document is nested too deeply"),
];

/// Beginnings of messages that name a line here, and none in Go.
const WITH_A_LINE_HERE: [&str; 7] = [
    "yaml: cannot decode !!",
    "yaml: exceeded max depth of ",
    "yaml: invalid map key: ",
    "yaml: map merge requires ",
    "yaml: unknown anchor ",
    "json: unsupported value: ",
    "unsupported map key of type: ",
];

fn without_line(message: &str) -> String {
    let (prefix, rest) = message.strip_prefix("yaml: ").map_or(("", message), |rest| ("yaml: ", rest));
    match rest.strip_prefix("line ").and_then(|rest| rest.split_once(": ")) {
        Some((_, rest)) => format!("{prefix}{rest}"),
        None => message.to_string(),
    }
}

/// Returns whether the error here is Go's, but for the differences that are listed above.
fn is_error_of_go(text: &str, here: &str, go: &str) -> bool {
    let Some(here) = here.strip_prefix("error converting YAML to JSON: ") else { return false };
    let go = go.replace("hexdecimal", "hexadecimal");
    let other = OTHER_MISTAKES.iter().find(|(start, _)| text.starts_with(start));
    let other = other.or_else(|| OTHER_WORDS.iter().find(|(start, _)| go.starts_with(start)));
    let want = other.map_or(go.as_str(), |(_, want)| *want);
    match WITH_A_LINE_HERE.iter().any(|start| want.starts_with(start)) {
        true => here != want && without_line(here) == want,
        false => here == want,
    }
}

/// Documents in `upstream.jsonl`, each with what sigs.k8s.io/yaml 1.6.0 makes of it: `YAMLToJSON`
/// gave the `json` or the `error` of each `text`. The first texts are from a generator with a seed:
/// lists and maps in both styles, texts over lines, words of 1.1, tags, anchors, quotes, block
/// text, directives and remarks. The last ones are mistakes, most of them in the first and in the
/// second line.
///
/// Left out are the spellings that the chapter's "Left out" names.
#[test]
fn documents_are_read_as_upstream_reads_them() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/yaml/upstream.jsonl");
    let lines = std::fs::read_to_string(path).unwrap();
    let mut wrong = vec![];
    for line in lines.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = case["text"].as_str().unwrap();
        let read = read_with_duplicates(text).map(|(value, _)| value);
        assert_eq!(read, parse(text.as_bytes()), "parse and parse_document read the same: {text}");
        let is_right = match (&read, case.get("json"), case["error"].as_str()) {
            (Ok(read), Some(want), None) => read == want,
            (Err(here), None, Some(go)) => is_error_of_go(text, here, go),
            _ => false,
        };
        if !is_right {
            wrong.push(format!("{text}\nupstream: {line}\nhere: {read:?}\n"));
        }
    }
    let mistakes = lines.lines().filter(|line| line.starts_with(r#"{"error""#)).count();
    assert!(mistakes >= 100 && lines.lines().count() >= 450);
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// As sigs.k8s.io/yaml 1.6 says it, but for the line.
#[test]
fn messages_begin_as_those_of_go() {
    for (text, want) in [
        ("a: [b, *no-one]", "yaml: line 1: unknown anchor 'no-one' referenced"),
        ("한글: 한글\na: *b", "yaml: line 2: unknown anchor 'b' referenced"),
        ("a: 1\nb: .inf", "line 2: json: unsupported value: +Inf"),
        ("a: 1\n~: 1", "line 2: unsupported map key of type: null"),
        ("a: .inf\nb: [", "yaml: line 2: did not find expected node content"),
        ("a: !!int x\nb: *c", "yaml: line 2: unknown anchor 'c' referenced"),
        ("a: !!int x\nb: c: d", "yaml: line 2: mapping values are not allowed in this context"),
    ] {
        let want = format!("error converting YAML to JSON: {want}");
        assert_eq!(parse(text.as_bytes()), Err(want), "{text}");
    }
}
