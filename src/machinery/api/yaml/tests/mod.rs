mod upstream;

use super::*;
use proptest::prelude::*;
use serde_json::json;

fn read(text: &str) -> Value {
    parse(text.as_bytes()).unwrap()
}

/// The value, and the messages about duplicate keys.
fn read_with_duplicates(text: &str) -> Result<(Value, Vec<String>), String> {
    let document = parse_document(text.as_bytes(), Words::All)?;
    Ok((document.value, document.duplicates.iter().map(ToString::to_string).collect()))
}

fn respelled(text: &[u8], words: Words) -> String {
    String::from_utf8(respelled_within(text, words, usize::MAX).unwrap()).unwrap()
}

#[test]
fn plain_words_are_those_of_yaml_1_1() {
    assert_eq!(
        read("a: yes\nb: No\nc: on # really\nd: y\n"),
        json!({"a": true, "b": false, "c": true, "d": true})
    );
    assert_eq!(
        read("- off\n- [n, 'n', \"y\", {on: no}]\n"),
        json!([false, [false, "n", "y", {"true": false}]])
    );
    assert_eq!(
        read("mode: 0644\nplain: 0\nzip: 08\ntext: '0644'\nhex: 0x1F\n"),
        json!({"mode": 420, "plain": 0, "zip": 8, "text": "0644", "hex": 31})
    );
}

#[test]
fn kustomize_takes_only_the_numbers() {
    assert_eq!(respelled(b"a: yes\nmode: 0644\n", Words::Numbers), "a: yes\nmode: 420\n");
    let document = parse_document(b"a: yes\nmode: 0644\n", Words::Numbers).unwrap();
    assert_eq!(document.value, json!({"a": "yes", "mode": 420}));
}

/// As sigs.k8s.io/yaml 1.6 reads them.
#[test]
fn what_json_has_no_number_for_is_refused() {
    for (text, name) in [
        ("a: .nan\n", "NaN"),
        ("a: [.inf]\n", "+Inf"),
        ("a: +.Inf\n", "+Inf"),
        ("a: {b: -.inf}\n", "-Inf"),
        ("a: !!float .NaN\n", "NaN"),
    ] {
        let error = parse(text.as_bytes()).unwrap_err();
        assert!(error.contains(&format!("json: unsupported value: {name}")), "{text}{error}");
    }
    assert_eq!(
        read("a: \".inf\"\n.nan: 1\n-.inf: 2\n1e10: 3\n1e3: 4\n"),
        json!({"a": ".inf", ".nan": 1, "-.inf": 2, "1e+10": 3, "1000": 4})
    );
    assert_eq!(read("a: inf\nb: nan\nc: 1e400\n"), json!({"a": "inf", "b": "nan", "c": "1e400"}));
}

/// As sigs.k8s.io/yaml 1.6 reads them.
#[test]
fn words_behind_tags_are_what_the_tag_says() {
    assert_eq!(
        read("a: !!str yes\nb: !!str 0644\nc: !foo 5\nd: !foo yes\ne: !foo\nf: ! 0x10\n"),
        json!({"a": "yes", "b": "0644", "c": "5", "d": "yes", "e": "", "f": "0x10"})
    );
    assert_eq!(
        read("a: !!int 0644\nb: !!bool yes\nc: [!!str no, no]\nd: !!str &x on\ne: *x\n"),
        json!({"a": 420, "b": true, "c": ["no", false], "d": "on", "e": "on"})
    );
    assert_eq!(
        read("a: !!binary aGVsbG8=\nb: !!binary |\n  aGVs\n  bG8=\nc: [!!binary gIGC, no]\n"),
        json!({"a": "hello", "b": "hello", "c": ["\u{fffd}\u{fffd}\u{fffd}", false]})
    );
    assert_eq!(read("!!binary aGVsbG8=: !!binary \"eA==\"\n!foo 5: a\n"), json!({"hello": "x", "5": "a"}));
    let error = parse(b"a: !!binary xx\n").unwrap_err();
    assert!(error.contains("!!binary value contains invalid base64 data"), "{error}");
}

/// As sigs.k8s.io/yaml 1.6 reads them.
#[test]
fn the_last_line_of_a_text_is_no_word() {
    for (text, want) in [
        ("a:\n  the lamp is\n  on\nb:\n  octal\n  010\n", json!({"a": "the lamp is on", "b": "octal 010"})),
        ("-\n  a\n  no\n- no", json!(["a no", false])),
        ("a: [a\n  no, no]", json!({"a": ["a no", false]})),
        ("a: {b: c\n  no, no: no}", json!({"a": {"b": "c no", "false": false}})),
        ("a:\n  b\n\n  no\nc: no", json!({"a": "b\nno", "c": false})),
        ("a: \"one\ntwo\"\nb: no", json!({"a": "one two", "b": false})),
        ("a: b\u{85}no: no\n", json!({"a": "b", "false": false})),
        ("한글: 예\n  no\n아니오: no # 한글\n", json!({"한글": "예 no", "아니오": false})),
    ] {
        assert_eq!(read(text), want, "{text}");
    }
}

/// As sigs.k8s.io/yaml 1.6 reads them.
#[test]
fn tags_have_many_spellings() {
    for (text, want) in [
        ("a: !<tag:yaml.org,2002:str> 1\nb: !<tag:x,1:y> no\n", json!({"a": "1", "b": "no"})),
        ("[!<tag:yaml.org,2002:binary> aGk=, !!str no, !foo 1]", json!(["hi", "no", "1"])),
        ("%TAG !e! tag:yaml.org,2002:\n---\na: !e!int '017'\nb: !e!str no\n", json!({"a": 15, "b": "no"})),
        ("%TAG !! tag:example.org:\n---\na: !!int 017\n", json!({"a": "017"})),
        ("%TAG ! tag:yaml.org,2002:\n---\na: !int 017\n<<: {b: 1}\n", json!({"a": 15, "b": 1})),
        ("a: !\n  yes\nb: !!str\n\n  # remark\n  010\n", json!({"a": "yes", "b": "010"})),
        ("!foo\n&x no: &x no\n", json!({"false": false})),
    ] {
        assert_eq!(read(text), want, "{text}");
    }
}

#[test]
fn hostile_text_takes_linear_time() {
    for text in [
        "[".repeat(2_000_000),
        "{a: ".repeat(500_000),
        "a,".repeat(1_000_000),
        format!("[{}", "a: b,".repeat(400_000)),
        "- ".repeat(100_000),
        format!("'{}", "x\n".repeat(1_000_000)),
        format!("a: {}", "x\n ".repeat(700_000)),
        "&a !b ".repeat(300_000),
        format!("a: |\n{}", " \n".repeat(1_000_000)),
        "?:".repeat(1_000_000),
    ] {
        let most = Most { depth: bounds::DEPTH_MAX, nodes: usize::MAX };
        let deepest = respell::respell(&text, Words::All, most).deepest;
        assert!(deepest <= bounds::DEPTH_MAX + 1);
    }
}

#[test]
fn text_over_lines_is_no_number() {
    assert_eq!(
        read("a: 0644\n  x\nb: yes\n\n  # remark\nc: [yes\n  please, yes\n  ]\nd: 0644\n"),
        json!({"a": "0644 x", "b": true, "c": ["yes please", true], "d": 420})
    );
    assert_eq!(read("- a: yes\n  b: no\n- on\n"), json!([{"a": true, "b": false}, true]));
}

#[test]
fn a_colon_before_a_comma_does_not_loop() {
    for text in ["[:]", "{:}", ":,", "[:a]", "[a,:b]", "{:a: b}"] {
        let _ = parse(text.as_bytes()); // whatever it says, it comes to an end
    }
    assert_eq!(respelled(b"{a:,b: no}", Words::All), "{'a:',b: false}");
}

/// As sigs.k8s.io/yaml 1.6 reads them; only the line before `cannot decode` is an addition. No
/// message has a path in the document.
#[test]
fn what_go_reads_otherwise_in_brackets_is_as_in_go() {
    for (text, want) in [
        ("[a:]", json!(["a:"])),
        ("{a:}", json!({"a:": null})),
        ("{x: b:}", json!({"x": "b:"})),
        ("{x: b:, y: c}", json!({"x": "b:", "true": "c"})),
        ("{a:,b: no}", json!({"a:": null, "b": false})),
        ("[a :, 'b':]", json!(["a :", {"b": null}])),
        ("{a::b}", json!({"a::b": null})),
        ("[a:\n]", json!([{"a": null}])),
        ("[?a]", json!([{"a": null}])),
        ("a: what?\nb: is ?this", json!({"a": "what?", "b": "is ?this"})),
        ("a: 'a\\/b'\nb: \"a\\\\/b\"", json!({"a": "a\\/b", "b": "a\\/b"})),
    ] {
        assert_eq!(parse(text.as_bytes()), Ok(want), "{text}");
    }
    for (text, why) in [
        ("x:\n  y: [http://web/?a=b]\n", "line 1: did not find expected ',' or ']'"),
        ("a:\n  - {u: what?}\n", "line 1: did not find expected ',' or '}'"),
        ("\n\n[a ?b]", "line 2: did not find expected ',' or ']'"),
        ("\n{a?: b}", "line 1: did not find expected ',' or '}'"),
        ("a:\n - b\nc: \"x\n a\\/b\"", "line 4: found unknown escape character"),
        ("a:\n  b: [!!bool 1]\n", "line 2: cannot decode !!int `1` as a !!bool"),
    ] {
        let want = format!("error converting YAML to JSON: yaml: {why}");
        assert_eq!(parse(text.as_bytes()), Err(want), "{text}");
    }
    let deep = format!("{}1{}", "[".repeat(bounds::DEPTH_MAX + 1), "]".repeat(bounds::DEPTH_MAX + 1));
    assert!(parse(deep.as_bytes()).unwrap_err().starts_with("error converting YAML to JSON: yaml: exceeded"));
    let error = parse("- ".repeat(bounds::DEPTH_MAX + 2).as_bytes()).unwrap_err();
    assert!(!error.contains("[0]"), "{error}");
}

/// As sigs.k8s.io/yaml 1.6 reads them.
#[test]
fn line_breaks_of_yaml_1_1_end_lines() {
    for (text, want) in [
        ("a: |\n  x\u{85}  y\n", json!({"a": "x\ny\n"})),
        ("a: |\n  x\u{85}y: 1\n", json!({"a": "x\n", "true": 1})),
        ("a: |\n  x\n\u{2028}\n  y\n", json!({"a": "x\n\u{2028}\ny\n"})),
        ("a: >\n  x\u{2028}  y\n  z\n", json!({"a": "x\u{2028}y z\n"})),
        ("a: # b\u{2029} c\n", json!({"a": "c"})),
        ("a: b # c\u{2028}# e: 0644\nc: 010", json!({"a": "b", "c": 8})),
        ("a: 'x\u{85}y'\nb: \"x\u{2028}y\"", json!({"a": "x y", "b": "x\u{2028}y"})),
    ] {
        assert_eq!(parse(text.as_bytes()), Ok(want), "{text:?}");
    }
    let (_, duplicates) = read_with_duplicates("a: 1\u{85}a: 2").unwrap();
    assert_eq!(duplicates, ["line 2: key \"a\" already set in map"]);
}

#[test]
fn text_stays_text() {
    assert_eq!(
        read("a: yes please\nb: say no\nc: \"on\"\n"),
        json!({"a": "yes please", "b": "say no", "c": "on"})
    );
    assert_eq!(
        read("a: |\n  yes\n  no\nb: >-\n   on\n\n   off\nc: no\n"),
        json!({"a": "yes\nno\n", "b": "on\noff", "c": false})
    );
    assert_eq!(read("- a: |\n    yes\n- no\n"), json!([{"a": "yes\n"}, false]));
    assert_eq!(read("a: first\n  yes\n  no\nb: 'x\n\n  yes'\n"), json!({"a": "first yes no", "b": "x\nyes"}));
    assert_eq!(
        read("url: http://x/y\nb: a#no\nc: &x on\nd: *x\n"),
        json!({"url": "http://x/y", "b": "a#no", "c": true, "d": true})
    );
    assert_eq!(
        read("command: [\"sh\", \"-c\", \"echo yes, no\"]\nx: no\n"),
        json!({"command": ["sh", "-c", "echo yes, no"], "x": false})
    );
}

#[test]
fn block_text_begins_where_its_header_says() {
    assert_eq!(
        read("data:\n  x: |2\n       first\n      mode: 0644\nz: no\n"),
        json!({"data": {"x": "   first\n  mode: 0644\n"}, "z": false})
    );
    assert_eq!(read("a: >-1\n   on\n  off\n"), json!({"a": "  on\n off"}));
    assert_eq!(read("- |+2\n   on\n  off\n- no\n"), json!([" on\noff\n", false]));
    assert_eq!(read("- a: |\n  b: no\n"), json!([{"a": "", "b": false}]));
    assert_eq!(read("- \"a\": |\n   no\n  b: no\n"), json!([{"a": "no\n", "b": false}]));
    assert_eq!(read("- - |\n   no\n  - no\n"), json!([["no\n", false]]));
    assert_eq!(read("a:\n  b:\n      |\n    no\n"), json!({"a": {"b": "no\n"}}));
    assert_eq!(read("a: first\n  > second\n  yes\n"), json!({"a": "first > second yes"}));
}

#[test]
fn numbers_are_those_of_go() {
    assert_eq!(
        read("port: 8_080\nhex: 0x_ff\noct: 0_17\nminus: -1_000\nfloat: 1_0.5\nname: a_b\nodd: 1_a\n"),
        json!({"port": 8080, "hex": 255, "oct": 15, "minus": -1000, "float": 10.5, "name": "a_b", "odd": "1_a"})
    );
    assert_eq!(
        read("replicas: 1e1\nwhole: 2.0\nhalf: 0.5\nlarge: 1e300\n"),
        json!({"replicas": 10, "whole": 2, "half": 0.5, "large": 1e300})
    );
}

#[test]
fn depth_is_judged_before_the_scanner_looks_at_every_level() {
    let deep = "{a: ".repeat(700_000);
    assert!(parse(deep.as_bytes()).unwrap_err().contains("nested too deeply"));
    assert!(read_with_duplicates(&deep).unwrap_err().contains("nested too deeply"));
    let text = format!("a: |\n  {}\nb: '{}'\n", "[".repeat(1000), "{".repeat(1000));
    assert!(parse(text.as_bytes()).is_ok(), "brackets in text are text");
    // Every word looked at all spaces at the end of its line.
    let wide = format!("[{}a]{}", "a, ".repeat(500_000), " ".repeat(1_500_000));
    assert_eq!(parse(wide.as_bytes()).unwrap().as_array().map(Vec::len), Some(500_001));
    assert!(parse(b"\xff\xfea\0").unwrap_err().contains("not UTF-8"));
}

#[test]
fn aliases_do_not_multiply_without_a_bound() {
    let bomb = |n: usize| {
        let (zeros, aliases) = (vec!["0"; n].join(","), vec!["*a"; n].join(","));
        format!("apiVersion: v1\na: &a [{zeros}]\nb: [{aliases}]\n")
    };
    assert_eq!(read(&bomb(100))["b"][99][99], json!(0));
    let error = parse(bomb(3_000).as_bytes()).unwrap_err();
    assert!(error.contains("document contains excessive aliasing"), "{error}");
    let text = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), vec!["*a"; 1_000].join(","));
    let error = parse(text.as_bytes()).unwrap_err();
    assert!(error.contains("document contains excessive aliasing"), "{error}");
    let mut text = "a0: &a0 [x, x]\n".to_string();
    for i in 1..40 {
        text.push_str(&format!("a{i}: &a{i} [*a{0}, *a{0}]\n", i - 1));
    }
    assert!(parse(text.as_bytes()).is_err());
    let long = format!("a: [{}]\n", vec!["0"; 500_000].join(","));
    assert!(parse(long.as_bytes()).is_ok(), "length alone is no fault");
}

#[test]
fn depth_is_bounded() {
    for (open, close) in [("[", "]"), ("{a: ", "}")] {
        let nested = |n: usize| format!("{}1{}", open.repeat(n), close.repeat(n));
        assert!(parse(nested(bounds::DEPTH_MAX).as_bytes()).is_ok());
        assert!(parse(nested(bounds::DEPTH_MAX + 1).as_bytes()).is_err());
        assert!(parse(nested(20_000).as_bytes()).is_err());
    }
    assert!(parse("- ".repeat(20_000).as_bytes()).is_err());
}

#[test]
fn merge_keys_tags_and_plain_keys_become_json() {
    assert_eq!(
        read("base: &b {u: 1, v: 2}\nother: {<<: *b, v: 3}\n1: !foo bar\ntrue: !!str 5\n"),
        json!({"base": {"u": 1, "v": 2}, "other": {"v": 3, "u": 1}, "1": "bar", "true": "5"})
    );
}

#[test]
fn duplicate_keys_are_reported_with_their_lines() {
    let text = "a: 1\nspec:\n  b: 1\n  b: 2\n  c: [{d: 1, d: 2}]\na: 3\n";
    let (value, duplicates) = read_with_duplicates(text).unwrap();
    assert_eq!(value, json!({"a": 3, "spec": {"b": 2, "c": [{"d": 2}]}}));
    assert_eq!(read(text), value);
    let line = |line: usize, key: &str| format!("line {line}: key {key:?} already set in map");
    assert_eq!(duplicates, [line(4, "b"), line(5, "d"), line(6, "a")]);
    let (_, duplicates) = read_with_duplicates(&"a: 1\n".repeat(200)).unwrap();
    assert_eq!(duplicates.len(), DUPLICATES_MAX);
    let long = format!("a: 1\na: 2\na: 3\nb: {}\n", "x".repeat(REREAD_BYTES_MAX / READS_EACH));
    assert_eq!(read_with_duplicates(&long).unwrap().1.len(), 1);
}

/// As sigs.k8s.io/yaml 1.6 reads them.
#[test]
fn core_tags_say_how_a_scalar_is_read() {
    assert_eq!(
        read("a: !!bool \"yes\"\nb: !!int '017'\nc: !!null \"\"\nd: !!null\ne: !!float \"1\"\nf: !!str\n"),
        json!({"a": true, "b": 15, "c": null, "d": null, "e": 1, "f": ""})
    );
    assert_eq!(
        read("a: !!timestamp 2001-01-01\nb: [!!timestamp '2001-1-1', !!str null, !!merge <<]\n"),
        json!({"a": "2001-01-01", "b": ["2001-1-1", "null", "<<"]})
    );
    assert_eq!(
        read("a: !<tag:yaml.org,2002:int> \"5\"\nb: !<x> 5\nc: !!str [5]\nd: !!int {e: yes}\nf: !!map x\n"),
        json!({"a": 5, "b": "5", "c": [5], "d": {"e": true}, "f": "x"})
    );
    assert_eq!(
        read("a: !!str\n  # remark\n  yes\nb: !foo\n  017: no\nc: !bar\nd: !!int\n  0x10\n"),
        json!({"a": "yes", "b": {"15": false}, "c": "", "d": 16})
    );
    assert_eq!(read("!!bool y: 1\n!!int \"5\": 2\n!!str no: 3\n"), json!({"true": 1, "5": 2, "no": 3}));
    for text in
        ["a: !!timestamp x", "a: !!timestamp\n", "a: !!bool 1", "a: !!int", "a: !!null x", "!!null x: 1"]
    {
        let error = parse(text.as_bytes()).unwrap_err();
        assert!(error.contains("cannot decode !!"), "{text}: {error}");
    }
}

/// As sigs.k8s.io/yaml 1.6 reads them.
#[test]
fn keys_are_text_numbers_or_booleans() {
    for text in ["null: 1", "~: 1", "{Null: 1}", "!!null \"\": 1", "18446744073709551615: 1"] {
        let error = parse(text.as_bytes()).unwrap_err();
        assert!(error.contains("unsupported map key of type"), "{text}: {error}");
    }
    for text in ["[a]: 1", "{a: b}: 1", "? {}\n: 1"] {
        let error = parse(text.as_bytes()).unwrap_err();
        assert!(error.contains(": invalid map key: "), "{text}: {error}");
    }
    assert_eq!(
        read("\"null\": 1\n!!str ~: 2\n16777217.0: 3\n0.1: 4\n123456789.123: 5\n1e300: 6\n"),
        json!({"null": 1, "~": 2, "1.6777216e+07": 3, "0.1": 4, "1.2345679e+08": 5, ".inf": 6})
    );
}

/// As sigs.k8s.io/yaml 1.6 reads them.
#[test]
fn merge_keys_stand_in_their_place() {
    for (text, want) in [
        ("{<<: {x: 1, z: 2}, x: 3}", json!({"x": 3, "z": 2})),
        ("{x: 3, <<: {x: 1}}", json!({"x": 1})),
        ("{<<: [{x: 1}, {x: 2, z: 3}]}", json!({"x": 1, "z": 3})),
        ("{<<: []}", json!({})),
        ("{<<: {x: 1}, <<: {x: 2}}", json!({"x": 2})),
        ("{<<: {<<: {x: 1}, z: 2}}", json!({"x": 1, "z": 2})),
        ("{<<: !foo {x: 1}}", json!({"x": 1})),
        ("{!!merge \"<<\": {x: 1}}", json!({"x": 1})),
        ("{\"<<\": {x: 1}}", json!({"<<": {"x": 1}})),
        ("{!!str <<: 5, !!merge x: 6}", json!({"<<": 5, "x": 6})),
        ("[<<]", json!(["<<"])),
    ] {
        let read = read_with_duplicates(text).map(|(value, _)| value);
        assert_eq!(read, Ok(want), "{text}");
    }
    for text in [
        "{<<: 5}",
        "{<<: x}",
        "{<<: }",
        "{<<: ~}",
        "{<<: [1]}",
        "{<<: [[{x: 1}]]}",
        "{<<: yes}",
        "<<: 1e30",
        "<<: 10000000000000000000000",
    ] {
        let error = parse(text.as_bytes()).unwrap_err();
        assert!(error.contains("map merge requires map or sequence of maps as the value"), "{text}: {error}");
    }
}

/// As sigs.k8s.io/yaml 1.6 reports them.
#[test]
fn duplicate_keys_have_the_line_of_their_values() {
    for (text, expected) in [
        ("a: 1\na:\n  b: 2\n", vec!["line 3: key \"a\" already set in map"]),
        ("1: a\n0x1: b\n", vec!["line 2: key 1 already set in map"]),
        ("true: a\nyes: b\n", vec!["line 2: key true already set in map"]),
        ("1: a\n'1': b\n", vec![]),
        ("0.1: a\n0.1: b\n", vec!["line 2: key 0.1 already set in map"]),
        ("\"\\x01\": 1\n\"\\x01\": 2\n", vec!["line 2: key \"\\x01\" already set in map"]),
        ("<<: {x: 1}\nx: 2\n", vec!["line 2: key \"x\" already set in map"]),
        (
            "a: {b: 1, b: 2}\na: {b: 1, b: 3}\n",
            vec![
                "line 1: key \"b\" already set in map",
                "line 2: key \"b\" already set in map",
                "line 2: key \"a\" already set in map",
            ],
        ),
    ] {
        assert_eq!(read_with_duplicates(text).unwrap().1, expected, "{text}");
    }
}

/// go.yaml.in/yaml/v3, by which kustomize reads, prefers the key of the map in both orders, v2 the
/// later one.
#[test]
fn a_key_overrides_what_a_merge_brings() {
    let read = |text: &str, words| {
        let document = parse_document(text.as_bytes(), words).unwrap();
        let repeats: Vec<_> =
            document.duplicates.iter().map(|twice| (twice.key_lines, twice.overrides_merge)).collect();
        (document.value["data"].clone(), repeats)
    };
    for (data, all, overrides_merge) in [
        ("\n  <<: *x\n  b: two\n", json!({"b": "two"}), true),
        ("\n  b: two\n  <<: *x\n", json!({"b": "one"}), false),
        ("\n  <<: {<<: *x, b: two}\n", json!({"b": "two"}), true),
    ] {
        let text = format!("x: &x {{b: one}}\ndata: {data}");
        let (value, repeats) = read(&text, Words::All);
        assert_eq!((value, repeats.len(), repeats[0].1), (all, 1, overrides_merge), "{text}");
        assert_eq!(read(&text, Words::Numbers), (json!({"b": "two"}), vec![]), "{text}");
    }
    let lists = "x: &x {b: one}\ny: &y {b: 1, c: 2}\ndata: {c: 3, <<: [*x, *y]}\n";
    assert_eq!(read(lists, Words::Numbers), (json!({"c": 3, "b": "one"}), vec![]));
    let (_, repeats) = read("data:\n  a: 1\n  b: 2\n  a:\n    3\n", Words::Numbers);
    assert_eq!(repeats, [([2, 4], false)]);
}

#[test]
fn only_the_first_document_counts() {
    for text in ["a: 1\n---\nb: 2\n", "---\na: 1\n---\n{\n", "a: 1\n...\nb: 2\n", "--- {a: 1}\n--- x\n"] {
        assert_eq!(read(text), json!({"a": 1}), "{text}");
    }
    for text in ["", "# nothing\n", "---\n", "---\n---\na: 1\n"] {
        assert_eq!(read(text), Value::Null, "{text}");
    }
    assert_eq!(read("--- {a: no, b: [017]}\n"), json!({"a": false, "b": [15]}));
    assert_eq!(read("--- yes\n"), json!(true));
}

#[test]
fn anchors_may_be_set_again() {
    assert_eq!(
        read("- &x 1\n- &y 2\n- *x\n- &x 3\n- &z 4\n- [*x, *y,*z]\n"),
        json!([1, 2, 1, 3, 4, [3, 2, 4]])
    );
}

#[test]
fn lines_end_with_carriage_returns_too() {
    assert_eq!(read("a: yes\rb: 017\rc: no\r\nd: on"), json!({"a": true, "b": 15, "c": false, "d": true}));
    assert_eq!(read("\u{feff}yes: no\n"), json!({"true": false}));
}

proptest! {
    /// Whatever a document without such words says, it says the same afterwards.
    #[test]
    fn other_words_are_left_alone(words in proptest::collection::vec("[a-m]{1,6}( [a-m]{1,5}){0,3}", 1..6)) {
        let text: String = words.iter().enumerate().map(|(i, w)| format!("k{i}: {w}\nq{i}: \"{w}\"\n")).collect();
        prop_assume!(words.iter().all(|w| plain::respelled(w, Words::All).is_none()));
        prop_assert_eq!(respelled(text.as_bytes(), Words::All), text);
    }
}
