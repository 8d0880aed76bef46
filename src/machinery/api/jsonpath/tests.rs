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
}

#[test]
fn a_template_that_nests_without_end_is_refused() {
    for deep in [
        format!("{{.a{}{}}}", "[?(@.b".repeat(20_000), ")]".repeat(20_000)),
        format!("{{.a{}{}}}", "['".repeat(20_000), "']".repeat(20_000)),
        "{range .a[*]}".repeat(20_000),
    ] {
        assert!(JsonPath::parse(&deep).is_err());
    }
    assert!(JsonPath::parse("{range .a[*]}{range .b[?(@.c[0].d==1)]}{.e}{end}{end}").is_ok());
}

#[test]
fn the_largest_index_is_one_that_is_not_there() {
    let told = JsonPath::parse("{.a[9223372036854775807]}").unwrap().find(&json!({"a": [1, 2]}));
    assert_eq!(told.unwrap_err(), "array index out of bounds: index 9223372036854775807, length 2");
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
        let told = JsonPath::parse(&template).unwrap().find(object);
        assert!(told.is_err_and(|e| e.contains("too many values")), "{template}");
    }
}

#[test]
fn results_have_a_bound_together_and_are_copied_once() {
    let object = json!({"a": "x".repeat(100_000), "b": 1});
    let many = |n: usize| JsonPath::parse(&format!("{{[{}]}}", vec!["'a'"; n].join(","))).unwrap();
    let (few, much) = (many(50), many(2_500));
    assert_eq!(few.find(&object).unwrap()[0].len(), 50);
    let told = much.find(&object);
    assert!(told.is_err_and(|e| e.contains("too many values")));
    let found = much.find_in(&object).unwrap();
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
        ("{.a[?(@.b==null)]}", "unrecognized identifier null"),
        ("{\"\n\"}", "unterminated quoted string"),
        ("{\"\\d\"}", "unquote string \"\\d\" error invalid syntax"),
        ("{\"\\x4\"}", "unquote string \"\\x4\" error invalid syntax"),
        ("{....}", "invalid multiple recursive descent"),
        ("{.a.. ..b}", "invalid multiple recursive descent"),
        ("{end}", "not in range, nothing to end"),
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
    let told = JsonPath::parse("{.a[*]}").unwrap().find(&object).unwrap_err();
    assert_eq!(told, "map[string]interface {} is not array or slice");
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
    let told = JsonPath::parse("{.none[?(@.a)]}").unwrap().find(&object).unwrap_err();
    assert_eq!(told, "<nil> is not array or slice and cannot be filtered");
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
    let told = JsonPath::parse(&"{range}".repeat(32)).unwrap().find(&object);
    assert!(told.is_err_and(|why| why.contains("too many values")), "each doubles what follows");
}
