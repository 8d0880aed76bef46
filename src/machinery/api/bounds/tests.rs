use super::*;
use serde_json::json;

#[test]
fn patterns_have_a_size() {
    for fine in [r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]+){0,10}$", r"^\w{1,63}$", r"^.{1,253}$"] {
        assert!(regex(fine).is_ok(), "{fine}");
    }
    let large = regex(r"(?:\pL{30}){30}").unwrap_err().to_string();
    assert!(large.contains("size limit"), "{large}");
    assert_eq!(regex_bytes("^[a-z]+$"), 4 << 10);
    assert!(regex_bytes(r"\pL{60}") > 64 << 10, "eight letters of text");
    assert_eq!((regex_bytes(r"(?:\pL{30}){30}"), regex_bytes("(")), (PATTERN_MAX, 0));
    assert!(measured_regex(r"\pL{60}", 16 << 10).is_err());
    for (pattern, is_one) in
        [(r"(?:\pL{30}){30}", true), ("", true), ("a", true), ("(", false), ("a**", false)]
    {
        assert_eq!(is_regex(pattern), is_one, "{pattern}");
    }
}

/// Each of these took the square of its length.
#[test]
fn long_patterns_are_read_in_one_pass() {
    let long = 2_000_000;
    for pattern in
        [format!("[{}]", "a".repeat(long)), format!("[{}x]", "[:".repeat(long / 2)), "{".repeat(long)]
    {
        assert!(from_go(&pattern).unwrap().len() >= long);
    }
    assert_eq!(class_name("[:^digit:]]x"), Some(10));
    for none in ["[:", "[:digit", "[:di git:]", "[digit:]"] {
        assert_eq!(class_name(none), None, "{none}");
    }
    for (pattern, is) in [
        ("{3}", true),
        ("{3,}", true),
        ("{3,5}", true),
        ("{,5}", false),
        ("{3,5", false),
        ("{a}", false),
        ("{}", false),
        ("{3,5,7}", false),
        ("{0}", true),
        ("{03}", false),
        ("{3,05}", false),
    ] {
        assert_eq!(is_count(pattern), is, "{pattern}");
    }
}

#[test]
fn patterns_mean_what_they_mean_in_go() {
    for (pattern, text, matches) in [
        (r"^\d+$", "12", true),
        (r"^\d+$", "\u{663}", false),
        (r"^\w+$", "é", false),
        (r"^[\w.-]+$", "a.b-c_1", true),
        (r"^[^\s]$", "\u{a0}", true),
        (r"^\s$", "\u{a0}", false),
        (r"^\S$", "\u{a0}", true),
        (r"\bé", "é", false),
        (r"^[[a]$", "[", true),
        (r"^[a&&b]$", "&", true),
        (r"^[]a]$", "]", true),
        (r"^[[:alpha:]_]+$", "a_b", true),
        (r"^\[\d\]$", "[1]", true),
        (r"^\p{Greek}$", "α", true),
        (r"^\pN$", "5", true),
        (r"^\<a\>$", "<a>", true),
        (r"\<a", "a", false),
        (r"^[\<\>]+$", "<>", true),
        (r"^{.*}$", "{x}", true),
        (r"^a{b}$", "a{b}", true),
        (r"^a{,2}$", "a{,2}", true),
        (r"^a{2}$", "aa", true),
        (r"^a{1,}b{1,2}$", "aabb", true),
        (r"^\x{41}\x42$", "AB", true),
        (r"^[\x{41}-\x43]+$", "ABC", true),
        (r"^[+--]+$", "+,-", true),
        (r"^[+--]$", ".", false),
        (r"^[--0]+$", "-./0", true),
        (r"^[a-]+$", "a-", true),
        (r"^[\w-x]+$", "a-x", true),
        (r"^[a~~b]+$", "a~b", true),
        (r"\Ba", "éa", false),
        (r"^\Qa.b\E+$", "a.bb", true),
        (r"^\Qa.b\E$", "axb", false),
        (r"^\012\101\0$", "\nA\0", true),
        (r"^[\060-\0629]+$", "0129", true),
        (r"(?i)^a(?s-m:B.)$", "Ab\n", true),
        (r"^(?P<x>a)(?<y>b)$", "ab", true),
    ] {
        assert_eq!(regex(pattern).unwrap().is_match(text), matches, "{pattern} {text}");
    }
}

#[test]
fn what_only_this_engine_knows_is_refused() {
    let perl = "error parsing regexp: invalid or unsupported Perl syntax";
    let escape = "error parsing regexp: invalid escape sequence";
    for (pattern, why) in [
        (r"(?x)a b", format!("{perl}: `(?x`")),
        (r"a(?i-u:b)", format!("{perl}: `(?i-u`")),
        (r"\u0041", format!(r"{escape}: `\u`")),
        (r"[a\U00000041]", format!(r"{escape}: `\U`")),
    ] {
        assert_eq!(regex(pattern).unwrap_err().to_string(), why);
    }
    for none in [r"\1", r"(a)\1", r"\8", r"\q", r"(?"] {
        assert!(regex(none).is_err(), "{none}");
    }
}

#[test]
fn levels_are_counted_and_bounded() {
    for (value, want) in [
        (json!(1), 0),
        (json!({}), 1),
        (json!({"a": [1, {"b": 2}]}), 3),
        (nested(DEPTH_MAX), DEPTH_MAX),
        (nested(DEPTH_MAX + 20), DEPTH_MAX + 1),
    ] {
        assert_eq!(depth(&value), want);
    }
    assert!(check_depth(&nested(DEPTH_MAX)).is_ok());
    assert_eq!(check_depth(&nested(DEPTH_MAX + 1)).unwrap_err().code, 400);
    assert_eq!(depth_within(&json!([1, 2, 3]), &mut 2), None);
}

#[test]
fn maps_are_counted_wherever_they_are_but_in_managed_fields() {
    let of = |maps: usize| json!({"spec": {"a": vec![vec![json!({}); maps / 2]; 2]}});
    assert!(check_maps(&of(MAPS_MAX - 2)).is_ok());
    assert_eq!(check_maps(&of(MAPS_MAX)).unwrap_err().code, 400);
    let managed = json!({"metadata": {"managedFields": vec![json!({}); MAPS_MAX]}});
    assert!(check_maps(&managed).is_ok());
}
