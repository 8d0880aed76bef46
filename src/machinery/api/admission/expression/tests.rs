//! Expressions of a policy against the variables that they may name.

use super::*;

fn verdict(source: &str, wanted: Wanted) -> String {
    let mut variables = Variables::of(Type::Dyn, None).composed();
    variables.add("n", INT);
    match compile(source, &variables, wanted) {
        Ok((_, given)) => given.to_string(),
        Err(why) => why,
    }
}

fn given(source: &str, variables: &Variables) -> Type {
    judge(&parse(source).unwrap(), variables).unwrap()
}

#[test]
fn an_expression_gives_what_is_asked_for() {
    for good in [
        "object.spec.replicas > 1",
        "object.spec.containers.all(c, c.image.startsWith('a/'))",
        "has(object.metadata.labels) && 'a' in object.metadata.labels",
        "request.userInfo.groups.exists(g, g == 'a')",
        "namespaceObject.metadata.labels['a'] == 'b'",
        "variables.n > 3 && object == null",
        "variables.?n.orValue(1) > 0 && request.?name.orValue('') == ''",
        "variables.?n == optional.of(1) && object.?a == optional.none()",
        "object.?a.orValue('') > 1 && object.?a.or(object.?b).value() == 1",
        "object.?a.?b['c'][?'d'].hasValue() && [1][?0].orValue(2) > 1",
        "object.metadata.?labels[?'a'].orValue('b') == 'b'",
        "object.?a.optMap(x, x == 1).orValue(false)",
        "object.?l.optFlatMap(l, l[?0]).hasValue()",
        "[?object.?a][0] > 1 && {?'a': object.?b}.a == 'x'",
        "[variables].all(v, v.n > 3) && dyn(variables)['n'] == 4",
        "[1, 2].map(x, x + 1).exists(x, x > 2)",
        "[[1], [2]].flatten().reverse().slice(0, 1).distinct().sort() == [1] && isIP('::1')",
        "object.l.first().hasValue() && [1].last().orValue(0) == 1 && [object.?a].unwrapOpt() == [1]",
        "object.l.sort().reverse() == [] && object.l.flatten(1) == object.m.flatten()",
        "{'a': 1}.all(k, k == 'a')",
        "type(object.a) == int",
        "object.a.matches('^a$')",
        "object.metadata.namespace == request.namespace",
        "quantity('1Gi').isGreaterThan(quantity(object.spec.size)) && sign(quantity('1')) == 1",
        "cidr('::/0').containsIP('::1') && ip('::1').family() == 6 && cidr('::/0').ip() == ip('::')",
        "1 < 1.5 && 2u >= 1 && dyn(1) == 1.0",
        "authorizer.group('').resource('pods').namespace('a').check('get').allowed()",
        "authorizer.requestResource.name('a').check(request.operation).allowed()",
        "!authorizer.serviceAccount('a', 'b').path('/x').check('get').errored()",
    ] {
        assert_eq!(verdict(good, Wanted::Bool), "bool", "{good}");
    }
    assert_eq!(verdict("'wants, got ' + object.spec.replicas", Wanted::Text), "string");
    for open in ["object.spec.paused", "object.?paused.orValue(false)"] {
        assert_eq!(verdict(open, Wanted::Bool), "must evaluate to bool but got dyn", "{open}");
    }
    let reason = "authorizer.path('/').check('get').reason()";
    assert_eq!(verdict(reason, Wanted::TextOrNull), "string");
    assert!(verdict(reason, Wanted::Text).contains("undeclared reference to 'authorizer'"));
    assert_eq!(verdict("1", Wanted::Text), "must evaluate to string but got int");
    assert_eq!(verdict("1", Wanted::TextOrNull), "must evaluate to one of [string null_type] but got int");
    assert_eq!(verdict("null", Wanted::TextOrNull), "null");
    assert_eq!(given("[1].filter(x, x > 1)", &Variables::default()), Type::list(INT));
}

#[test]
fn what_is_not_there_is_named() {
    for (source, why) in [
        ("params.a == 1", "undeclared reference to 'params' (in container '')"),
        ("variables.m == 1", "undefined field 'm'"),
        ("variables.?m.hasValue()", "undefined field 'm'"),
        ("variables.?m.optMap(m, m == 1).orValue(false)", "undefined field 'm'"),
        ("request.?userInfo.?age.hasValue()", "undefined field 'age'"),
        ("'a'.?b.hasValue()", "type 'string' does not support field selection"),
        ("variables.?n == 1", "overload for '_==_' applied to '(optional_type(int), int)'"),
        ("variables.?n.orValue('a') == 1", "'orValue' applied to 'optional_type(int).(string)'"),
        ("variables[?'n'].hasValue()", "overload for '_[?_]' applied to '(kubernetes.variables, string)'"),
        ("'ab'.reverse() == 'ba'", "overload for 'reverse' applied to 'string.()'"),
        ("[1].flatten() == [1]", "overload for 'flatten' applied to 'list(int).()'"),
        ("[1].unwrapOpt() == []", "overload for 'unwrapOpt' applied to 'list(int).()'"),
        ("optional.unwrap([object.?a]) == []", "'optional.unwrap' of Kubernetes is not implemented"),
        ("[[1]].sort() == []", "overload for 'sort' applied to 'list(list(int)).()'"),
        ("isIP(1)", "overload for 'isIP' applied to '(int)'"),
        ("find('abc', 'b') == 'b'", "overload for 'find' applied to '(string, string)'"),
        ("startsWith(object.a, 'b')", "overload for 'startsWith' applied to '(dyn, string)'"),
        ("quantity('1').sign() == 1", "overload for 'sign' applied to 'kubernetes.Quantity.()'"),
        ("containsIP(cidr('::/0'), '::')", "overload for 'containsIP', which is called on a value"),
        ("duration(true) == duration(1)", "overload for 'duration' applied to '(bool)'"),
        ("1 == 1.0", "overload for '_==_' applied to '(int, double)'"),
        ("string(quantity('1')) == '1'", "overload for 'string' applied to '(kubernetes.Quantity)'"),
        ("[?1] == []", "expected type 'optional_type(int)' but found 'int'"),
        ("{?'a': 1} == {}", "expected type 'optional_type(int)' but found 'int'"),
        ("request.uid == ''", "undefined field 'uid'"),
        ("objekt.a == 1", "undeclared reference to 'objekt' (in container '')"),
        ("frob(object)", "undeclared reference to 'frob' (in container '')"),
        ("variables.n > 'a'", "found no matching overload for '_>_' applied to '(int, string)'"),
        ("1.all(x, x)", "expression of type 'int' cannot be range of a comprehension"),
        ("authorizer.path('/').allowed()", "found no matching overload for 'allowed'"),
        ("authorizer.check('get').allowed()", "found no matching overload for 'check'"),
        ("has(authorizer.requestResource)", "Authorizer' does not support field selection"),
        ("variables['n'] == 1", "overload for '_[_]' applied to '(kubernetes.variables, string)'"),
        ("'n' in variables", "overload for '@in' applied to '(string, kubernetes.variables)'"),
        ("variables.all(n, n == 'n')", "expression of type 'kubernetes.variables' cannot be range"),
        ("request['name'] == ''", "overload for '_[_]' applied to '(kubernetes.AdmissionRequest, string)'"),
        ("request == {'name': ''}", "overload for '_==_' applied to '(kubernetes.AdmissionRequest, map("),
    ] {
        let text = verdict(source, Wanted::Bool);
        assert!(text.starts_with("compilation failed: ERROR: <input>") && text.contains(why), "{text}");
    }
}

/// As `ValidateRegexLiterals` of `cel-go` and its like.
#[test]
fn a_pattern_or_a_time_that_is_written_down_is_read_before_it_is_used() {
    for (source, function) in [
        ("object.a.matches('(')", "matches"),
        ("duration('1d') > duration(object.a)", "duration"),
        ("timestamp('2026-01-02') < timestamp(object.a)", "timestamp"),
    ] {
        let text = verdict(source, Wanted::Bool);
        assert!(text.ends_with(&format!(": invalid {function} argument")), "{source}: {text}");
    }
    for good in [
        "object.a.matches(object.b) && object.a.matches('^a{1,3}$')",
        "duration('36h') > duration('-1.5s')",
        "timestamp('2026-01-02T03:04:05Z') < timestamp('9999-12-31T23:59:59Z')",
    ] {
        assert_eq!(verdict(good, Wanted::Bool), "bool", "{good}");
    }
}

/// As `ValidateHomogeneousAggregateLiterals` of `cel-go`, and its signature of `_?_:_`.
#[test]
fn the_parts_of_a_literal_and_of_a_choice_are_of_one_type() {
    for (source, why) in [
        ("[1, 'a'] == []", "expected type 'int' but found 'string'"),
        ("[object.a, 'a'] == []", "expected type 'dyn' but found 'string'"),
        ("object.a in ['a', object.b]", "expected type 'string' but found 'dyn'"),
        ("[[1], ['a']] == []", "expected type 'list(int)' but found 'list(string)'"),
        ("{'a': 1, 'b': 'x'} == {}", "expected type 'int' but found 'string'"),
        ("{'a': 1, 2: 1} == {}", "expected type 'string' but found 'int'"),
        ("'%s'.format(['a']) in ['a', 1]", "expected type 'string' but found 'int'"),
        ("(object.a ? 1 : 'a') == 1", "overload for '_?_:_' applied to '(dyn, int, string)'"),
        ("1 ? true : false", "overload for '_?_:_' applied to '(int, bool, bool)'"),
        ("object.a ? true : null", "overload for '_?_:_' applied to '(dyn, bool, null)'"),
    ] {
        let text = verdict(source, Wanted::Bool);
        assert!(text.contains(why), "{source}: {text}");
    }
    for good in [
        "object.a in ['a', 'b'] && object.a in [dyn('a'), object.b]",
        "[[], [1]] == [[2]] && {'a': [], 'b': [1]} != {}",
        "'%s %s'.format([object.a, 'b']) == '' && '%s %d'.format(['a', 1]) == ''",
        "'%s'.format([[1, 'a', {'a': 1, 2: 'b'}].map(x, string(x)).join('')]) == ''",
        "object.a in ['a', object.l.first().orValue('b'), object.m[?'c'].orValue('d')]",
        "object.l.last().orValue(false) && object.m[?'c'].orValue(object.l[0] > 1)",
        "(object.a ? 'a' : object.b) == 1 && (object.a ? [] : [1]) == [1]",
        "(object.a ? optional.of(1) : optional.none()).orValue(2) == 1",
    ] {
        assert_eq!(verdict(good, Wanted::Bool), "bool", "{good}");
    }
}

/// As `convertCelTypeToDeclType` upstream: only scalars, times, lists and maps keep their type.
#[test]
fn an_object_in_a_variable_may_be_of_any_type() {
    let mut variables = Variables::of(Type::Dyn, None).composed();
    for (name, source, kind) in [
        ("r", "request", "dyn"),
        ("l", "[request]", "list(dyn)"),
        ("u", "request.userInfo.groups", "list(string)"),
        ("n", "1", "int"),
        ("a", "authorizer", "dyn"),
        ("v", "variables", "dyn"),
    ] {
        let of_source = given(source, &variables);
        variables.add(name, of_source);
        assert_eq!(given(&format!("variables.{name}"), &variables).to_string(), kind, "{source}");
    }
}

/// What is read of `variables` is none of it, unless it is not known what is read.
#[test]
fn a_type_says_whether_all_variables_may_be_in_a_value() {
    let mut variables = Variables::of(Type::Dyn, None).composed();
    variables.add("n", INT);
    for (source, may) in [
        ("variables", true),
        ("[variables]", true),
        ("{'a': [variables]}", true),
        ("dyn(variables)", true),
        ("[variables][0]", true),
        ("[variables].filter(v, v.n > 1)", true),
        ("[dyn(1), dyn(variables)][0]", true),
        ("[dyn(1)] + [variables]", true),
        ("object.a ? variables : object.b", true),
        ("{'a': variables, 'b': variables}.a", true),
        ("optional.of(variables)", true),
        ("optional.of(variables).optMap(v, v)", true),
        ("object.?a.orValue(variables)", true),
        ("[variables].reverse()", true),
        ("lists.range(3).map(i, variables)", true),
        ("variables.n", false),
        ("[variables].map(v, v.n)", false),
        ("[variables].all(v, v.n > 1) && dyn(variables).n == 1", false),
        ("[variables][0].n", false),
        ("[variables, variables].size()", false),
        ("object.variables", false),
        ("[object].map(variables, variables)", false),
    ] {
        assert_eq!(given(source, &variables).has_variables(), may, "{source}");
    }
    let mut nested = "variables".to_string();
    for depth in 0..8 {
        nested = format!("{{{depth}: [{nested}].map(x, {{x: x}})}}");
    }
    assert!(given(&format!("[{nested}]"), &variables).has_variables());
}

/// Otherwise each of tens of thousands of variables copies those before it.
#[test]
fn a_variable_that_holds_all_variables_is_added_without_a_copy_of_them() {
    let mut variables = Variables::of(Type::Dyn, None).composed();
    let place = |variables: &Variables| variables.composed.as_ref().map(Arc::as_ptr);
    let before = place(&variables);
    let all = given("[variables]", &variables);
    variables.add("a", all);
    assert_eq!(place(&variables), before);
}

/// Otherwise forty variables have a type of 2^40 parts.
#[test]
fn types_that_double_with_each_variable_are_not_followed() {
    let mut variables = Variables::of(Type::Dyn, None).composed();
    variables.add("a", INT);
    for _ in 0..100 {
        let map = given("{variables.a: variables.a}", &variables);
        variables.add("a", map);
        let list = given("[variables.a]", &variables);
        assert!(list.to_string().len() < 1_000);
        variables.add("a", list);
    }
    let mut nested = "1".to_string();
    for depth in 0..30 {
        nested = format!("[{{{depth}: {nested}}}].map(x, {{x: x}})");
    }
    assert!(given(&nested, &variables).to_string().len() < 1_000);
}

#[test]
fn deep_and_long_expressions_are_refused() {
    let deep = format!("{}true{}", "(".repeat(300), ")".repeat(300));
    assert!(verdict(&deep, Wanted::Bool).contains("expression recursion limit exceeded"));
    let long = format!("object == '{}'", "x".repeat(100_000));
    assert!(verdict(&long, Wanted::Bool).contains("expression code point size exceeds limit"));
    let most = format!("{}true{}", "(".repeat(80), ")".repeat(80));
    assert_eq!(verdict(&most, Wanted::Bool), "bool", "as deep as the parser reads");
}
