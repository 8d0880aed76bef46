//! Documents as kubectl prints them, and read back.

use super::*;
use crate::yaml::parse;
use proptest::prelude::*;
use serde_json::json;

/// Texts that are something else, or nothing, without quotes.
const WORDS: &[&str] = &[
    "",
    "y",
    "Y",
    "yes",
    "Yes",
    "n",
    "NO",
    "no",
    "on",
    "Off",
    "true",
    "False",
    "null",
    "~",
    "1",
    "-1",
    "+1",
    "1_0",
    "1_000",
    "0644",
    "08",
    "0x1F",
    "0o7",
    "0b1",
    "1e3",
    ".5",
    "1.",
    ".inf",
    ".nan",
    "1:30",
    "2024-01-01",
    "- a",
    "-",
    "?",
    "a: b",
    "a:",
    ": b",
    "#x",
    "a #b",
    "'q'",
    "\"q\"",
    "{a",
    "[b]",
    "&x",
    "*x",
    "!t",
    "%d",
    "@",
    "`",
    "|",
    "> no",
    "---",
];

/// A client that sends back what it got changes nothing.
#[test]
fn what_is_written_is_read_as_the_same() {
    let long = "say no ".repeat(40);
    let quoted = format!("on: {}", long.trim());
    let lines = ["a\nb", "a\n", " a\nb", "a\n\n", "no\nyes\n", "a\r\nb", "a\tb", "a\u{85}b", "a\n\u{85}b"];
    let separators =
        ["a\nb\u{2028}c", "a\nb\u{2028}", "\u{2028}a\nb", "a\u{2028}b", "a\n\u{2029}", "a\u{2029}\u{2028}b"];
    let others = ["trail ", " lead", "yes: no", "a, b", "한국어", "😀", long.trim(), quoted.as_str()];
    for word in WORDS.iter().copied().chain(lines).chain(separators).chain(others) {
        let item = json!({"a": word, word: [word, {word: word}]});
        let value =
            json!({"kind": "ConfigMap", "data": {word: word}, "list": [word, [word], item], "z": false});
        let text = to_string(&value);
        assert_eq!(parse(text.as_bytes()), Ok(value), "{word:?}:\n{text}");
    }
}

/// As sigs.k8s.io/yaml 1.6 prints them.
#[test]
fn long_keys_and_keys_of_several_lines_stand_behind_a_question_mark() {
    let (short, long) = ("k".repeat(SIMPLE_KEY_MAX), "k".repeat(SIMPLE_KEY_MAX + 1));
    let words = format!("{}x", "say so ".repeat(20));
    let value = json!({
        "l": [{"a\nb\n": [1, {"z": 1}], "c": "d"}],
        "m": {long.clone(): "x", short.clone(): "y"},
        "o": {long.clone(): {"q": 1, "r": []}, words: {}},
    });
    let folded = format!("{}say\n    so {}x", "say so ".repeat(11), "say so ".repeat(8));
    let want = format!(
        "l:\n- ? |\n    a\n    b\n  : - 1\n    - z: 1\n  c: d\nm:\n  {short}: \"y\"\n  ? {long}\n  : x\no:\n  ? {long}\n  : q: 1\n    r: []\n  ? {folded}\n  : {{}}\n"
    );
    assert_eq!(to_string(&value), want);
    assert_eq!(parse(want.as_bytes()), Ok(value));
}

#[test]
fn a_document_is_not_longer_than_its_bound() {
    let value = json!({"a": ["b", {"c": "d\ne"}]});
    let whole = to_string(&value);
    assert_eq!(to_string_within(&value, whole.len()), Some(whole.clone()));
    for most in 0..whole.len() {
        assert_eq!(to_string_within(&value, most), None, "{most} of {} bytes", whole.len());
    }
}

proptest! {
    #[test]
    fn each_key_is_in_order_with_the_next(
        keys in proptest::collection::vec("[0-9a-b-]{0,5}|[0-9]{17,42}", 0..60),
    ) {
        let sorted = sorted_keys(&keys.iter().collect::<Vec<_>>());
        prop_assert_eq!(sorted.len(), keys.len());
        for pair in sorted.windows(2) {
            prop_assert!(compare_keys(pair[0], pair[1]).is_le(), "{:?}", pair);
            prop_assert_eq!(compare_keys(pair[0], pair[1]), compare_keys(pair[1], pair[0]).reverse());
        }
    }
}

/// As sigs.k8s.io/yaml 1.6 with go.yaml.in/yaml/v2 2.4.3 sorts them.
#[test]
fn keys_stand_in_the_order_of_go() {
    for keys in [
        vec!["a1", "a1.b", "a10", "a1b", "a2"],
        vec!["1", "01-x", "01a-x"],
        vec!["k8s-app", "k8sapp"],
        vec!["a1", "a01", "a001"],
        vec!["v1", "v1alpha1", "v1beta1", "v2", "v10"],
        vec!["tls-key", "tls.crt", "tls1", "tlsa"],
    ] {
        let keys: Vec<String> = keys.into_iter().map(String::from).collect();
        let backwards: Vec<&String> = keys.iter().rev().collect();
        assert_eq!(sorted_keys(&backwards), keys.iter().collect::<Vec<_>>());
    }
}

#[test]
fn objects_look_as_kubectl_prints_them() {
    let value = json!({"b": [{"y": 1, "x": [1, [2, {}]]}, "s"], "a": {}, "c10": "", "c9": null, "e": "a: b", "d": {"k": "l1\nl2\n"}});
    let want = "a: {}\nb:\n- x:\n  - 1\n  - - 2\n    - {}\n  \"y\": 1\n- s\nc9: null\nc10: \"\"\nd:\n  k: |\n    l1\n    l2\ne: 'a: b'\n";
    assert_eq!(to_string(&value), want);
}

#[test]
fn long_lines_are_folded() {
    let value = json!({"k": format!("x: {}end", "word ".repeat(20))});
    let text = to_string(&value);
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.lines().nth(1).unwrap().starts_with("  word"), "{text}");
}
