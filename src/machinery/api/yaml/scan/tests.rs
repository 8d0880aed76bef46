//! Where tokens end, and how many nodes they stand for.

use super::*;

const MOST: Most = Most { depth: 100, nodes: usize::MAX };

/// The texts of all tokens but indicators. A key has a `:` behind it.
fn tokens(text: &str) -> Vec<String> {
    let tokens = scan(text, MOST).tokens;
    let tokens = tokens.iter().filter(|token| token.kind != Kind::Indicator);
    tokens
        .map(|token| format!("{}{}", &text[token.start..token.end], if token.is_key { ":" } else { "" }))
        .collect()
}

#[test]
fn plain_text_goes_on_as_far_as_it_is_indented() {
    for (text, want) in [
        ("a:\n  b\n  no\nc: d", vec!["a:", "b\n  no", "c:", "d"]),
        ("- a\n no\n- b", vec!["a\n no", "b"]),
        ("a:\n- b\nc: d", vec!["a:", "b", "c:", "d"]),
        ("[a\nb, c #x\n, d]", vec!["a\nb", "c", "d"]),
        ("{a: b\n  c, d: e}", vec!["a:", "b\n  c", "d:", "e"]),
        ("a: 한\n  글\nb: c", vec!["a:", "한\n  글", "b:", "c"]),
        ("a: b\u{85}c: d\u{2028} e", vec!["a:", "b", "c:", "d\u{2028} e"]),
        ("a\n---\nb\n...\n", vec!["a", "---", "b", "..."]),
        ("--- a\n---\n", vec!["---", "a", "---"]),
        ("a: b # c\n  d", vec!["a:", "b", "d"]),
    ] {
        assert_eq!(tokens(text), want, "{text:?}");
    }
}

#[test]
fn a_key_begins_with_its_tag_or_anchor() {
    for (text, want) in [
        ("!x a: b", vec!["!x:", "a", "b"]),
        ("!x\na: b", vec!["!x", "a:", "b"]),
        ("!x\n&y a: b", vec!["!x", "&y:", "a", "b"]),
        ("? !<a,b> c\n: *d", vec!["!<a,b>", "c", "*d"]),
        ("'a': \"b\\\"\nc\"\nd: e", vec!["'a':", "\"b\\\"\nc\"", "d:", "e"]),
        ("{'a':b, [c]: d}", vec!["'a':", "b", "c", "d"]),
        ("- - a: |2\n      b\n  - c", vec!["a:", "|2\n      b\n  ", "c"]),
        ("a: >\n\n  b: c\n\n d: e", vec!["a:", ">\n\n  b: c\n\n ", "d:", "e"]),
    ] {
        assert_eq!(tokens(text), want, "{text:?}");
    }
    let needs_quotes = |text| scan(text, MOST).tokens.iter().any(|token| token.needs_quotes);
    assert!(["[a?b]", "[a:]", "{a:, b: c}", "[a ?]", "{x: a:}"].into_iter().all(needs_quotes));
    assert!(!["a?b", "a:b", "[a: b]", "{a: b}", "[?a]", "['a?']"].into_iter().any(needs_quotes));
    let long = "x".repeat(KEY_MAX);
    assert_eq!(tokens(&format!("{long}: y")), [format!("{long}:"), "y".into()]);
    assert_eq!(tokens(&format!("{long}x: y")), [format!("{long}x"), "y".into()]);
}
