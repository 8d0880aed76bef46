use super::super::terms;
use super::*;
use serde_json::json;

fn cost(rule: &str, this: Json) -> f64 {
    let term = terms::compile(rule).unwrap();
    steps(&term.program.expression().expr, &this, None, false)
}

#[test]
fn everyday_rules_are_cheap_over_large_objects() {
    let items: Vec<Json> =
        (0..2_000).map(|i| json!({"name": format!("item-{i}"), "tags": ["a", "b"], "n": i})).collect();
    let object = json!({"items": items, "replicas": 3, "max": 5});
    for rule in [
        "self.replicas <= self.max",
        "self.items.all(i, i.n >= 0)",
        "self.items.all(i, i.tags.all(t, t.size() < 10))",
        "self.items.exists(i, i.name == 'item-7') && self.items.map(i, i.n).sum() > 0",
        "self.items.filter(i, i.name.matches('^item-[0-9]+$')).size() == 2000",
    ] {
        let cost = cost(rule, object.clone());
        assert!(cost < CALL_MAX / 10.0, "{rule}: {cost}");
    }
}

#[test]
fn rules_that_multiply_are_dear() {
    let list: Vec<usize> = (0..200).collect();
    let object = json!({"a": list, "s": "x".repeat(1_000)});
    for rule in [
        "self.a.all(x, self.a.all(y, self.a.all(z, x + y + z > 0)))",
        "[self.s + self.s].map(a, [a + a].map(b, [b + b].map(c, [c + c].map(d, [d + d].map(e, [e + e].map(f, [f + f].map(g, [g + g].map(h, [h + h].map(i, [i + i].map(j, j + j)[0])[0])[0])[0])[0])[0])[0])[0])[0])[0] == ''",
        "self.s.replace('', self.s).replace('', self.s) == ''",
        "lists.range(100000000).all(x, x > 0)",
        "lists.range(self.a[0]).all(x, x > 0)",
        "self.a.all(x, self.a.all(y, 'a'.matches(self.s)))",
        "self.a.all(x, self.a.all(y, matches('a', self.s)))",
        "dyn(self.a).all(x, dyn(self.a).all(y, dyn(self.a).all(z, x + y + z > 0)))",
        "optional.of(self.a).value().all(x, optional.of(self.a).value().all(y, optional.ofNonZeroValue(self.a).value().all(z, x + y + z > 0)))",
    ] {
        let cost = cost(rule, object.clone());
        assert!(cost > CALL_MAX, "{rule}: {cost}");
    }
}

#[test]
fn texts_that_double_are_dear() {
    for (before, after) in [("strings.quote(", ")"), ("'%x'.format([", "])")] {
        let rule = |n: usize| format!("{}self.s{} == ''", before.repeat(n), after.repeat(n));
        let nested = |n: usize| cost(&rule(n), json!({"s": "x"}));
        assert!(nested(1) < 100.0 && nested(40) > CALL_MAX, "{before} {} {}", nested(1), nested(40));
    }
}

/// Otherwise a rule of 100 KB makes gigabytes of an object of 1 MB.
#[test]
fn a_list_pays_for_what_it_copies() {
    for (open, close) in [("[", "].size() > 0"), ("[{'k': [", "]}].size() > 0")] {
        let rule = format!("{open}{}{close}", vec!["self.s"; 200].join(", "));
        let (small, large) = (cost(&rule, json!({"s": "x"})), cost(&rule, json!({"s": "x".repeat(100_000)})));
        assert!(small < 2_000.0 && large > CALL_MAX, "{rule}: {small} {large}");
    }
}

#[test]
fn a_range_costs_what_is_written() {
    let short = cost("lists.range(3).all(x, x < 3)", json!({}));
    assert!(short < 100.0, "{short}");
    let long = cost("lists.range(2000000).size() > 0", json!({}));
    assert!(long > CALL_MAX, "{long}");
    let negative = "self.a.all(x, self.a.all(y, self.a.all(z, x + y + z > 0))) || \
                    lists.range(-9000000000000000000).size() > 0";
    let negative = cost(negative, json!({"a": (0..200).collect::<Vec<usize>>()}));
    assert!(negative > CALL_MAX, "a range below zero pays for the rest: {negative}");
    let shadowed = cost("[self.s].all(lists, lists.matches(lists))", json!({"s": "x".repeat(10_000)}));
    assert!(shadowed > CALL_MAX, "the name of a library may be a variable: {shadowed}");
}

#[test]
fn distinct_compares_every_item_with_every_other() {
    let list: Vec<usize> = (0..10_000).collect();
    let many = cost("self.a.distinct().size() > 0", json!({"a": list}));
    assert!(many > CALL_MAX, "{many}");
    let few = cost("self.a.distinct().size() > 0", json!({"a": list[..500]}));
    assert!(few < CALL_MAX / 10.0, "{few}");
}

#[test]
fn a_search_costs_what_it_compares() {
    let text = |n: usize| json!({"s": "a".repeat(n), "p": format!("{}b", "a".repeat(n / 2))});
    for rule in ["self.s.indexOf(self.p) < 0", "(self.s + '').lastIndexOf(self.p) < 0"] {
        let long = cost(rule, text(100_000));
        assert!(long > CALL_MAX, "at each of half the places half the text: {long}");
        let short = cost(rule, text(1_000));
        assert!(short < CALL_MAX / 10.0, "{short}");
    }
    let one = cost("self.s.indexOf(':') < 0", text(1_000_000));
    assert!(one < CALL_MAX, "{one}");
    let sized = |s: &str| cost("self.a.all(x, self.s.size() > 0)", json!({"a": vec![1; 9_000], "s": s}));
    assert!(sized("x") < CALL_MAX / 2.0 && sized(&"x".repeat(100_000)) > CALL_MAX);
    let names: Vec<String> = (0..10_000).map(|i| format!("a name that is longer: {i}")).collect();
    let list = json!({"a": names, "s": "a name"});
    let once = cost("self.a.indexOf(self.s) < 0", list.clone());
    assert!((10_000.0..CALL_MAX / 10.0).contains(&once), "each item is compared once: {once}");
    let often = cost("self.a.all(x, self.a.indexOf(x) == self.a.lastIndexOf(x))", list);
    assert!(often > CALL_MAX, "{often}");
}

#[test]
fn the_estimate_itself_has_a_bound() {
    let object = json!({"a": (0..9_000).map(|i| json!({"n": i})).collect::<Vec<_>>()});
    let term = terms::compile(&format!("[{}].size() == 0", vec!["self.a[0].n"; 5_000].join(","))).unwrap();
    let mut scope = Scope {
        names: vec![("self", Known::parts(vec![&object]))],
        loops: 0.0,
        weights: HashMap::new(),
        work: 0.0,
    };
    scope.node(&term.program.expression().expr);
    assert!(scope.work < WORK_MAX + 100_000.0, "{}", scope.work);
    let same = format!("[{}].size() == 0", vec!["self == self"; 2_000].join(","));
    let term = terms::compile(&same).unwrap();
    let mut scope = Scope { work: 0.0, loops: 0.0, weights: HashMap::new(), names: scope.names };
    scope.node(&term.program.expression().expr);
    assert!(scope.work < 100_000.0, "a value is weighed once: {}", scope.work);
}

/// Each variable of a policy that is not made yet is such a field, and there may be thousands.
#[test]
fn a_field_that_is_missing_is_not_searched_for() {
    let map: serde_json::Map<String, Json> = (0..100_000).map(|i| (format!("k-{i}"), json!(i))).collect();
    let object = json!({ "m": map });
    let (missing, escaped) = (cost("has(self.m.k)", object.clone()), cost("has(self.m.k__dash__7)", object));
    assert!(missing < 100.0 && escaped > 1_000.0, "{missing} {escaped}");
}

#[test]
fn a_loop_pays_for_the_items_that_it_copies() {
    let object = |length: usize| json!({"a": vec![vec![1; length]; 200]});
    let rule = "self.a.all(x, self.a.all(y, true))";
    let (small, large) = (cost(rule, object(1)), cost(rule, object(2_000)));
    assert!(small < CALL_MAX && large > CALL_MAX, "{small} {large}");
}

/// Ten million numbers in one list would take half a gigabyte.
#[test]
fn values_that_are_kept_are_paid_for() {
    let numbers = json!({"a": vec![0; 40_000]});
    for rule in [
        format!("[{}].size() > 0", vec!["self.a"; 250].join(", ")),
        format!("{{{}}}.size() > 0", (0..40).map(|n| format!("{n}: self.a")).collect::<Vec<_>>().join(", ")),
        format!("({}).size() > 0", vec!["self.a"; 40].join(" + ")),
        format!("{}true{}", "[self.a].all(b, ".repeat(40), ")".repeat(40)),
        format!("{}true{}", "optional.of(self.a) == dyn(".repeat(40), ")".repeat(40)),
        format!("{}true{}", "self.?a == dyn(".repeat(40), ")".repeat(40)),
        format!("{}true{}", "self.a.reverse() == dyn(".repeat(40), ")".repeat(40)),
    ] {
        let cost = cost(&rule, numbers.clone());
        assert!(cost > CALL_MAX, "{}: {cost}", &rule[..60]);
    }
    let text = json!({"s": "x".repeat(1_200_000)});
    let pieces = cost("self.s.split('').size() > 0", text);
    assert!(pieces > CALL_MAX, "{pieces}");
}

/// Each turn would copy the whole list, some into an error that nothing reads.
#[test]
fn a_copy_in_a_loop_is_paid_for_in_each_turn() {
    let object = json!({"a": vec![0; 10_000], "b": vec![0.5; 200]});
    for rule in [
        "self.b.exists(x, optional.of(self.a).hasValue())",
        "self.b.exists(x, self.?a.hasValue())",
        "self.b.exists(x, 1 < self.a)",
        "self.b.exists(x, self.a - 1 == x)",
        "self.b.exists(x, self.a[x] == 1)",
        "[optional.of(self)].exists(o, self.b.exists(x, o.a.hasValue()))",
    ] {
        let cost = cost(rule, object.clone());
        assert!(cost > CALL_MAX, "{rule}: {cost}");
    }
    for rule in
        ["self.b.all(x, self.a[7] == 0)", "self.b.all(x, has(self.a))", "self.b.all(x, size(self.a) > 0)"]
    {
        let cost = cost(rule, object.clone());
        assert!(cost < CALL_MAX / 40.0, "what is only looked at is not copied: {rule}: {cost}");
    }
    let term = terms::compile("self.b.all(x, oldSelf.a.hasValue())").unwrap();
    let expression = &term.program.expression().expr;
    let of_old = |optional| steps(expression, &object, Some(&object), optional);
    assert!(of_old(true) > CALL_MAX && of_old(false) < CALL_MAX / 40.0, "{} {}", of_old(true), of_old(false));
}

#[test]
fn what_a_loop_makes_has_as_many_items_as_the_loop_has_turns() {
    let object = json!({"a": (0..1_000).collect::<Vec<usize>>(), "s": "a,b,c,".repeat(200)});
    for rule in ["self.a.map(x, x * 2).all(y, y >= 0)", "self.s.split(',').all(p, p.size() < 9)"] {
        let cost = cost(rule, object.clone());
        assert!(cost < CALL_MAX / 10.0, "{rule}: {cost}");
    }
}

/// The evaluator goes through the scopes of all loops around, for each name and for each call.
#[test]
fn a_name_within_many_loops_is_dear() {
    let within = |loops: usize| {
        let open: String = (0..loops).map(|n| format!("[1].all(v{n}, ")).collect();
        let rule = format!("{open}self.b.exists(x, self == 1 || self.b == 2){}", ")".repeat(loops));
        cost(&rule, json!({"b": vec![0; 2_000]}))
    };
    assert!(within(3) < 2.0 * within(0), "{} {}", within(0), within(3));
    assert!(within(60) > 5.0 * within(0), "{} {}", within(0), within(60));
}

/// A name is compared and a key is hashed in each turn, and the error of a missing key has a copy.
#[test]
fn long_names_and_keys_are_paid_for() {
    let object = json!({"b": vec![0; 5_000], "m": {"k": 1}, "l": vec![0; 1_000], "s": "x".repeat(100_000)});
    let name = "n".repeat(50_000);
    for rule in [
        "self.b.exists(x, self.m[self.s] == x)".to_string(),
        "self.b.exists(x, self.m[?self.s].hasValue())".to_string(),
        "self.b.exists(x, {}[self.l] == x)".to_string(),
        format!("self.b.all({name}, true)"),
        format!("self.b.exists(x, self.m.{name} == x)"),
        format!("self.b.exists(x, self.m.?{name}.hasValue())"),
    ] {
        let cost = cost(&rule, object.clone());
        assert!(cost > CALL_MAX, "{}: {cost}", &rule[..24]);
    }
    let short = cost("self.b.exists(x, self.m['k'] == x)", object);
    assert!(short < CALL_MAX / 10.0, "{short}");
}

#[test]
fn what_an_optional_variable_holds_is_copied_however_it_is_named() {
    let object = json!({"b": vec![0; 200]});
    let variables = json!({"o": {"a": vec![0; 10_000]}});
    let cost = |rule: &str| {
        let term = terms::compile(rule).unwrap();
        let known = [("object", Some(&object)), ("variables", Some(&variables))];
        steps_over(&term.program.expression().expr, &known)
    };
    for rule in [
        "object.b.exists(x, variables.o.a.hasValue())",
        "object.b.exists(x, variables['o'].a.hasValue())",
        "[variables].exists(v, object.b.exists(x, v.o.a.hasValue()))",
        "dyn(variables).o.a.hasValue() || object.b.exists(x, dyn(variables).o.a.hasValue())",
    ] {
        assert!(cost(rule) > CALL_MAX, "{rule}: {}", cost(rule));
    }
    let cheap = cost("object.b.all(x, size(variables.o) > 0)");
    assert!(cheap < CALL_MAX / 40.0, "a variable itself is only looked at: {cheap}");
}

#[test]
fn the_digits_of_a_number_are_paid_for() {
    let numbers = json!({"a": vec![1e308; 10_000]});
    let cost = cost("'%s'.format([self.a]) + '.' == ''", numbers);
    assert!(cost > 400_000.0, "three megabytes are copied: {cost}");
}

/// Go takes them all, one after the other, too; but here a step is not to last a second.
#[test]
fn repetitions_that_multiply_the_work_are_paid_for() {
    let text = json!({"s": "ab".repeat(50_000), "p": "x"});
    let dear = cost("self.s.matches('[ab]*a[ab]{1000}')", text.clone());
    assert!(dear > CALL_MAX, "a thousand places at each byte: {dear}");
    let made = cost("self.s.matches('[ab]*a[ab]' + '{1000}')", text.clone());
    assert!(made > CALL_MAX, "what it repeats is not known: {made}");
    let each = cost("self.s.findAll('.*[^A-Z]|[A-Z]').size() > 0", json!({"s": "A".repeat(20_000)}));
    assert!(each > CALL_MAX, "each of 20 000 matches looks to the end of the text: {each}");
    let few = cost("self.s.findAll('[0-9]+').size() > 0", json!({"s": "registry-1.example.com:5000"}));
    assert!(few < 200.0, "{few}");
    let one_way = cost("self.s.matches('^[ab]{1,1000}$')", text);
    assert!(one_way < CALL_MAX / 10.0, "{one_way}");
}

#[test]
fn a_text_has_as_many_pieces_as_it_may_have() {
    let object = json!({"s": "x".repeat(5_000), "n": 1, "e": ""});
    let commas = ",".repeat(4_000);
    for rule in [
        format!("(self.n > 0 ? '{commas}' : self.s).split(',').all(x, x == '')"),
        "(self.s + self.s).split(',').all(x, x.matches('^x*y*$'))".to_string(),
        "self.s.split('').all(x, self.s.split('').all(y, x == y))".to_string(),
        "self.s.split(self.e).all(x, self.s.split(self.e).all(y, x == y))".to_string(),
    ] {
        let cost = cost(&rule, object.clone());
        assert!(cost > 20_000.0, "{}: {cost}", &rule[..20]);
    }
    let few = cost("self.s.split(',').all(x, x.size() > 0)", object);
    assert!(few < 1_000.0, "{few}");
    let rest = cost("self.s.split(',', 2).all(x, x.matches('^[a-z]*$'))", json!({"s": ",".repeat(9_000)}));
    assert!(rest > 10_000.0, "the last piece is long: {rest}");
}
