use super::*;
use serde_json::json;

#[test]
fn templates_of_everyday_use() {
    let object = json!({"kind": "List", "items": [
        {"metadata": {"name": "a", "labels": {"x.io/y": "1"}}, "n": 1, "c": [{"t": "Ready", "s": "True"}, {"t": "Z", "s": "F"}]},
        {"metadata": {"name": "b"}, "n": 2.5, "c": [{"t": "Ready", "s": "False"}]}]});
    for (template, want) in [
        ("{.kind}", "List"),
        ("kind={.kind}!", "kind=List!"),
        ("{.items[*].metadata.name}", "a b"),
        ("{.items[0].metadata.labels}", "{\"x.io/y\":\"1\"}"),
        ("{.items[0].metadata.labels.x\\.io/y}", "1"),
        ("{.items[0].metadata.labels['x\\.io/y']}", "1"),
        ("{range .items[*]}{.metadata.name}{\"\\t\"}{.n}{\"\\n\"}{end}", "a\t1\nb\t2.5\n"),
        ("{.items[?(@.metadata.name>\"a\")].n}", "2.5"),
        ("{.items[0].c[?(@.t==\"Ready\")].s}", "True"),
        ("{.items[*].c[?(@.t=='Ready')].s}", "True False"),
        ("{.items[-1:].metadata.name}", "b"),
        ("{.items[-1].metadata.name}", "b"),
        ("{..name}", "a b"),
        ("{.items[*]['n','metadata.name']}", "1 2.5 a b"),
        ("{.missing.deep}", ""),
        ("{$.kind}", "List"),
        ("{.items[?(@.metadata.labels)].n}", "1"),
        ("{range .items[*]}[{.metadata.name}, {.n}] {end}", "[a, 1] [b, 2.5] "),
    ] {
        let parsed = JsonPath::parse(template).unwrap_or_else(|e| panic!("{template}: {e}"));
        assert_eq!(parsed.print(&object, false).unwrap(), want, "{template}");
    }
    let out_of_bounds = JsonPath::parse("{.items[5].n}").unwrap().print(&object, false).unwrap_err();
    assert!(out_of_bounds.contains("array index out of bounds: index 5, length 2"), "{out_of_bounds}");
    assert_eq!(JsonPath::parse("{.a").unwrap_err(), "unclosed action");
}

#[test]
fn relaxed_paths_need_no_braces() {
    let object = json!({"a": {"b": 1}});
    for path in ["a.b", ".a.b", "{a.b}", "{.a.b}"] {
        assert_eq!(relaxed(path).unwrap().print(&object, false).unwrap(), "1", "{path}");
    }
    for wrong in ["{.a}{.b}", "{.a", ".a}", "{", "{}"] {
        assert!(relaxed(wrong).is_err(), "{wrong}");
    }
    assert_eq!(relaxed(".").unwrap().source(), "{..}");
}

#[test]
fn a_template_that_nests_without_end_is_refused() {
    for deep in [
        format!("{{.a{}{}}}", "[?(@.b".repeat(20_000), ")]".repeat(20_000)),
        format!("{{.a{}{}}}", "['".repeat(20_000), "']".repeat(20_000)),
    ] {
        assert!(JsonPath::parse(&deep).is_err());
    }
    for deep in ["{range .a[*]}".repeat(20_000), "{range .a}".repeat(20_000)] {
        let result = JsonPath::parse(&deep).unwrap().find(&json!({}));
        assert_eq!(result.unwrap_err(), "the template nests more than 32 levels deep");
    }
    assert!(JsonPath::parse("{range .a[*]}{range .b[?(@.c[0].d==1)]}{.e}{end}{end}").is_ok());
}

#[test]
fn the_largest_index_is_one_that_is_not_there() {
    let result = JsonPath::parse("{.a[9223372036854775807]}").unwrap().find(&json!({"a": [1, 2]}));
    assert_eq!(result.unwrap_err(), "array index out of bounds: index 9223372036854775807, length 2");
}

#[test]
fn a_step_goes_forward() {
    let find = |path: &str| JsonPath::parse(path).unwrap().find(&json!({"a": [1, 2, 3]}));
    assert_eq!(find("{.a[0:3:2]}"), Ok(vec![vec![json!(1), json!(3)]]));
    for path in ["{.a[0:3:0]}", "{.a[::-1]}"] {
        assert_eq!(find(path), Err("step must be > 0".to_string()), "{path}");
    }
}

#[test]
fn a_path_that_multiplies_ends_with_an_error() {
    let object = json!({"a": {"b": {"c": [{"d": 1}, {"e": {"f": [1, 2, 3]}}]}}});
    let all = JsonPath::parse("{..}").unwrap().find(&object).unwrap();
    assert_eq!((all[0].len(), size(&object)), (8, 12), "numbers are visited and not found");
    let nested = (0..30).fold(json!(1), |inner, _| json!({"a": inner}));
    for (template, object) in [
        ("{".to_string() + &"..a".repeat(20) + "}", &nested),
        ("{".to_string() + &"['a','a']".repeat(30) + "}", &nested),
    ] {
        let result = JsonPath::parse(&template).unwrap().find(object);
        assert!(result.is_err_and(|e| e.contains("too many values")), "{template}");
    }
}

/// Two thousand copies of the text would be 32 GB of values.
#[test]
fn values_are_counted_before_they_are_collected() {
    let object = json!({"a": "x".repeat(1_000_000), "l": vec![0; 5_000]});
    let copies = |name: &str, n: usize| format!("{{[{}]", vec![format!("'{name}'"); n].join(","));
    for template in
        [copies("a", 2_000) + ".*}", copies("l", 100_000) + "[*]}", copies("l", 100_000) + "[?()]}"]
    {
        let error = JsonPath::parse(&template).unwrap().find_in(&object, VALUES_EACH).unwrap_err();
        assert_eq!(error, TOO_MUCH, "{}", &template[template.len() - 20..]);
    }
}

#[test]
fn a_filter_in_the_path_of_another_one_makes_no_words() {
    let path = JsonPath::parse("{.l[?(@.a'[?(@.b)].c')].n}").unwrap();
    let object = json!({"l": [{"a'": {"b": 1}, "n": 7}]});
    assert_eq!(path.find(&object), Ok(vec![vec![json!(7)]]), "what fails counts as found");
    let (left, ranges) = (Cell::new(10), Ranges::default());
    let walk = Walk { strict: false, left: &left, ranges: &ranges, is_mute: true };
    let failed = walk.filter(&[], "exists", &[], Found::In(&object), &mut vec![]).unwrap_err();
    assert_eq!(failed.words(), " is not array or slice and cannot be filtered");
}

#[test]
fn results_have_a_bound_together_and_are_copied_once() {
    let object = json!({"a": "x".repeat(100_000), "b": 1});
    let many = |n: usize| JsonPath::parse(&format!("{{[{}]}}", vec!["'a'"; n].join(","))).unwrap();
    let (few, much) = (many(50), many(2_500));
    assert_eq!(few.find(&object).unwrap()[0].len(), 50);
    let result = much.find(&object);
    assert!(result.is_err_and(|e| e.contains("too many values")));
    let found = much.find_in(&object, VALUES_EACH).unwrap();
    assert!(found[0].len() == 2_500 && found[0].iter().all(|v| std::ptr::eq(*v, &object["a"])));
}

/// As `client-go/util/jsonpath` of 0.35 answers.
#[test]
fn templates_that_kubectl_refuses_are_refused() {
    for (template, why) in [
        ("{.a[\"b\"]}", "invalid array index \"b\""),
        ("{.a[ 0 ]}", "invalid array index  0 "),
        ("{.a[+1]}", "invalid array index +1"),
        ("{.a,.b}", "unrecognized character in action: U+002C ','"),
        ("{*}", "unrecognized character in action: U+002A '*'"),
        ("{..*}", "unrecognized character in action: U+002A '*'"),
        ("{.a\t.b}", "unrecognized character in action: U+0009"),
        ("{.a\n.b}", "unclosed action"),
        ("{\"\n\"}", "unterminated quoted string"),
        ("{\"\\d\"}", "unquote string \"\\d\" error invalid syntax"),
        ("{\"\\x4\"}", "unquote string \"\\x4\" error invalid syntax"),
        ("{....}", "invalid multiple recursive descent"),
        ("{.a.. ..b}", "invalid multiple recursive descent"),
        ("{.a[-]}", "array index - is not a number"),
        ("{.a[-:b]}", "invalid array index -:b"),
        ("{.a[0:99999999999999999999]}", "array index 99999999999999999999 is not a number"),
        ("{.a[1:2:3:4]}", "invalid array index 1:2:3:4"),
        ("{.a['b,c']}", "invalid array index 'b"),
        ("{.a['b[c']}", "unterminated array"),
        ("{.a['b{c']}", "unrecognized character in action: U+007B '{'"),
        ("{.a[\n0]}", "unterminated array"),
        ("{.a[?(@.b[?(@.c==\"x\")])].d}", "unterminated filter"),
        ("{.a[?(@.b==)]}", "unrecognized character in action: U+003D '='"),
        ("{.a[?(==1)]}", "unrecognized character in action: U+003D '='"),
        ("{.a[?(@.b =~ \"x\")]}", "unrecognized character in action: U+007E '~'"),
        ("{.a[?(\"b=c\"==@.n)]}", "unterminated quoted string"),
        ("{.a[?(@.b==\"x\"&&@.c==1)]}", "unrecognized character in action: U+0026 '&'"),
        ("{.a[?(@.b==\"x\"].c}", "unterminated filter"),
        ("{.a[?(@.b==\"x\")}", "unclosed array expect ]"),
        ("{1.2.3}", "cannot parse number 1.2.3"),
        ("{-}", "cannot parse number -"),
        ("{{.a}}", "unrecognized character in action: U+007B '{'"),
        ("{.a\\}", "unclosed action"),
        ("{\"\\\\\"}", "unterminated quoted string"),
        ("{\"\\\\\" x\"}", "unquote string \"\\\\\" x\" error invalid syntax"),
        ("{\"\\777\"}", "unquote string \"\\777\" error invalid syntax"),
        ("{\"\\ud800\"}", "unquote string \"\\ud800\" error invalid syntax"),
        ("{\"\\'\"}", "unquote string \"\\'\" error invalid syntax"),
    ] {
        assert_eq!(JsonPath::parse(template).unwrap_err(), why, "{template}");
    }
}

#[test]
fn one_pair_of_braces_is_one_path() {
    let object =
        json!({"a": {"b": 1}, "b": 2, "c": [[1], [], [2]], "d": [{"e": [5]}, {"e": []}, {"e": [6]}]});
    let (a, d) = (&object["a"], &object["d"]);
    let all = format!("{object} {a} [[1],[],[2]] [1] [2] {d} {} [5] {} {} [6]", d[0], d[1], d[2]);
    for (template, want) in [
        ("{.a .b}", "1"),
        ("{.a \"x\"}", "x"),
        ("{.c[]}", "[1]"),
        ("{.a['b']}{.b}", "12"),
        ("{.a=b}{.a(b)}", ""),
        ("{'\\x41\\u00e9\\033\\''}", "A\u{e9}\u{1b}'"),
        ("{.d[*].e[*]}", "5"), // no list behind an empty one is looked at
        ("{..}", all.as_str()),
    ] {
        let found = JsonPath::parse(template).unwrap().print(&object, false);
        assert_eq!(found.as_deref(), Ok(want), "{template}");
    }
    let error = JsonPath::parse("{.a[*]}").unwrap().find(&object).unwrap_err();
    assert_eq!(error, "map[string]interface {} is not array or slice");
}

/// As the functions of Go's templates compare.
#[test]
fn filters_compare_values_of_one_type() {
    let list = json!([
        {"i": 1, "f": 2.5, "s": "a", "b": true, "m": {"x": 1}, "z": null, "l": [1]},
        {"i": 9_007_199_254_740_993_i64, "f": 0.5, "s": "b", "b": false, "l": [1, 2]}, {}]);
    let object = json!({ "list": list, "none": null });
    let kept = |filter: &str| {
        let path = JsonPath::parse(&format!("{{.list[?({filter})].i}}")).unwrap();
        path.find(&object).map(|found| found[0].clone())
    };
    let (one, other) = (json!(1), json!(9_007_199_254_740_993_i64));
    for (filter, want) in [
        ("@.i>1", vec![&other]),
        ("@.i<9007199254740993", vec![&one]),
        ("@.f>=2.5", vec![&one]),
        ("@.s!=\"a\"", vec![&other]),
        ("@.b==true", vec![&one]),
        ("@.m", vec![&one]),
        ("@.l[1]", vec![&one, &other]), // an index that is not there counts as found
        ("@.none", vec![]),
    ] {
        assert_eq!(kept(filter), Ok(want.into_iter().cloned().collect()), "{filter}");
    }
    let (types, no_type) = ("incompatible types for comparison", "invalid type for comparison");
    for (filter, why) in [
        ("@.f>1", types),
        ("@.s==1", types),
        ("@.b==\"true\"", types),
        ("@.b>false", no_type),
        ("@.m==1", no_type),
        ("@.z==1", no_type),
    ] {
        let path = JsonPath::parse(&format!("{{.list[?({filter})]}}"));
        assert_eq!(path.and_then(|path| path.find(&object)), Err(why.to_string()), "{filter}");
    }
    let error = JsonPath::parse("{.none[?(@.a)]}").unwrap().find(&object).unwrap_err();
    assert_eq!(error, "<nil> is not array or slice and cannot be filtered");
}

#[test]
fn a_strict_template_asks_for_fields_of_what_it_finds() {
    let object = json!({"list": [{"a": 1, "b": 2}, {"b": 3}]});
    let strict = |template: &str| {
        let path = JsonPath { strict: true, ..JsonPath::parse(template).unwrap() };
        path.print(&object, false).map_err(|why| why.split(". Printing").next().unwrap().to_string())
    };
    assert_eq!(strict("{.list[?(@.b==7)].a}").as_deref(), Ok(""), "nothing is asked for a field");
    assert_eq!(strict("{.list[?(@.a)].b}").as_deref(), Ok("2"));
    for template in ["{.list[1].a}", "{.list[?(@.a==1)].b}"] {
        assert!(strict(template).is_err_and(|why| why.ends_with("a is not found")), "{template}");
    }
}

#[test]
fn a_range_without_an_end_goes_on_for_the_object_around_it() {
    let object = json!({"n": "o", "list": [{"n": "a", "l": [{"n": "x"}]}, {"n": "b"}]});
    for (template, want) in [
        ("{range .list[*]}{.n},", "a,b,o,"),
        ("{range .list[*]}{.n},{end}!", "a,b,!"),
        ("{range .list[*]}{range .l[*]}{.n}{end}{.n},", "xa,b,o,"),
        ("{range .none[*]}{.n},", "o,"),
    ] {
        let found = JsonPath::parse(template).unwrap().print(&object, false);
        assert_eq!(found.as_deref(), Ok(want), "{template}");
    }
    let result = JsonPath::parse(&"{range}".repeat(32)).unwrap().find(&object);
    assert!(result.is_err_and(|why| why.contains("too many values")), "each doubles what follows");
}

/// As `client-go/util/jsonpath` of 0.35 answers: what it finds oddly, and what it refuses only when
/// it comes to it.
#[test]
fn odd_templates_find_what_kubectl_finds() {
    let object = json!({
        "kind": "List", "n": 1, "f": 2.5, "t": true, "z": null, "s": "ab", "l": [1, null, 3],
        "none": [], "m": {"x": {"y": 1}, "a.b": 3},
        "list": [{"n": "a", "i": 1, "l": [{"n": "x"}]}, {"n": "b", "i": 2}]});
    for (template, want) in [
        ("{.}", Ok("")),
        ("{.list.[0].n}", Ok("")),
        ("{.s.*}", Ok("97 98")),
        ("{.s..}", Ok("ab")),
        ("{.s.*[0]}", Err("uint8 is not array or slice")),
        ("{1[0]}", Err("int is not array or slice")),
        ("{.n[0]}", Err("int64 is not array or slice")),
        ("{.list[*] 1}", Ok("1 1")),
        ("{.none[*] 1}", Ok("")),
        ("{.none[*] 'x'}", Ok("x")),
        ("{.a foo}", Err("unrecognized identifier foo")),
        ("{a(b)}", Err("unrecognized identifier a(b)")),
        ("{.list[?(@.n==null)]}", Err("unrecognized identifier null")),
        ("{.m['w z']}", Err("unrecognized identifier z")),
        ("{.m['x}{y']}", Ok("{\"y\":1}")),
        ("{.m['']}", Ok("")),
        ("{.m['*']}", Ok("3 {\"y\":1}")),
        ("{.m.\\*}", Ok("")),
        ("{.kin\\\\d}", Ok("List")),
        ("{...n}", Ok("1 a x b")),
        ("{.. n}", Err("unrecognized identifier n")),
        ("{99999999999999999999}", Ok("1e+20")),
        ("{\"\\xe4\\xb8\\xad\"}", Ok("\u{4e2d}")),
        ("{.list[?()].i}", Ok("1 2")),
        ("{.list[?(foo)].i}", Ok("1 2")),
        ("{.list[?(end)].i}", Ok("")),
        ("{.list[?(@.n=)].i}", Ok("")),
        ("{.list[?(@.n=\"a\")].i}", Err("unrecognized filter operator =")),
        ("{.list[?(@.n === \"a\")].i}", Err("unrecognized filter operator ===")),
        ("{.list[?(@.n<>\"a\")].i}", Err("unrecognized filter operator <>")),
        ("{.list[?(@.n==@['n','i'])].i}", Err("can only compare one element at a time")),
        ("{.list[0,?(@.i==2)].n}", Ok("a b")),
        ("{end}", Err("not in range, nothing to end")),
        ("{range .list[*]}{.n}{end}{end}", Err("not in range, nothing to end")),
        ("{range range .list[*]}{.n}{end}{end}", Err("not in range, nothing to end")),
        ("{range .list[*]}{.n end}!", Ok("!")),
        ("{.list[*] range}{.n}{end}", Ok("ab")),
        ("{range}{.kind}{end}", Ok("List")),
        ("{range .z}{@}{end}", Ok("<no value>")),
        ("{range .l[*]}{@}-{end}", Ok("1-<no value>-3-")),
        ("{range .list[*]}{range .none[*]}{.n}{end}{.n}{end}x", Ok("abx")),
        (
            "{range .none[*]}{@[?(@.a)]}{end}x",
            Err("<invalid reflect.Value> is not array or slice and cannot be filtered"),
        ),
    ] {
        let found = JsonPath::parse(template).unwrap_or_else(|why| panic!("{template}: {why}"));
        let text = |found: Vec<Vec<Value>>| -> String {
            let texts = |values: &Vec<Value>| values.iter().map(text_of).collect::<Vec<_>>().join(" ");
            found.iter().map(texts).collect()
        };
        let found = found.find(&object).map(text);
        assert_eq!(found.as_deref().map_err(String::as_str), want, "{template}");
    }
}
