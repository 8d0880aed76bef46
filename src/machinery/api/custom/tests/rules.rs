//! Rules of a definition: what they may name, and where they report.

use super::*;

/// As `SchemaDeclType` and `WithTypeAndObjectMeta` upstream.
#[test]
fn rules_see_the_names_of_metadata_and_what_has_a_type() {
    let untyped = json!({"x-kubernetes-preserve-unknown-fields": true});
    let map = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let free = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let properties = json!({"a": {"type": "string"}, "map": map, "free": free, "any": untyped,
        "list": {"type": "array", "items": untyped}, "port": {"x-kubernetes-int-or-string": true}});
    let schema = |rule: &str| {
        json!({"type": "object", "x-kubernetes-validations": [{"rule": rule}], "properties": {
            "metadata": {"type": "object"}, "spec": {"type": "object", "properties": properties}}})
    };
    let object = json!({"kind": "CronTab", "metadata": {"name": "x", "labels": {"a": "b"}},
        "spec": {"a": "1", "map": {"k": "v"}, "free": {"b": 1}, "port": 80}});
    for fine in [
        "self.metadata.name == 'x' && !has(self.metadata.generateName)",
        "self.metadata == {'name': 'x'}",
        "self.kind == 'CronTab'",
        "self.spec.map.k == 'v' && has(self.spec.free) && self.spec.port == 80",
    ] {
        assert_eq!(judged(schema(fine)), [""; 0], "{fine}");
        assert_eq!(problems(schema(fine), object.clone(), None), [""; 0], "{fine}");
    }
    for (rule, field) in [
        ("has(self.metadata.labels)", "labels"),
        ("self.metadata.annotations['a'] == 'b'", "annotations"),
        ("self.kind.a == ''", "a"),
        ("self.spec.free.b == 1", "b"),
        ("has(self.spec.any)", "any"),
        ("self.spec.list.size() == 0", "list"),
    ] {
        let found = judged(schema(rule));
        let why = format!(": undefined field '{field}'");
        assert!(found.iter().any(|error| error.ends_with(&why)), "{rule}: {found:?}");
    }
}

#[test]
fn a_pattern_that_is_written_in_a_rule_is_read_with_it() {
    let errors_of = |rule: &str| {
        judged(spec(json!({"a": {"type": "string", "x-kubernetes-validations": [{"rule": rule}]}})))
    };
    assert_eq!(errors_of("self.matches('^a$')"), [""; 0]);
    let found = errors_of("self.matches('(')");
    assert!(found.len() == 1 && found[0].ends_with(": invalid matches argument"), "{found:?}");
}

/// `find('abc', 'b')` looked for `abc` in itself.
#[test]
fn a_function_is_called_in_the_form_that_it_is_declared_in() {
    let errors_of = |rule: &str| {
        judged(spec(
            json!({"a": {"type": "string", "maxLength": 50, "x-kubernetes-validations": [{"rule": rule}]}}),
        ))
    };
    for good in [
        "self.find('b') == 'b' && sign(quantity(self)) == 1 && isIP(self)",
        "cidr(self).ip() == ip('::') && '%s %d'.format([self, 1]) != ''",
    ] {
        assert_eq!(errors_of(good), [""; 0], "{good}");
    }
    for (bad, why) in [
        ("find(self, 'b') == 'b'", "overload for 'find', which is called on a value"),
        ("quantity(self).sign() == 1", "overload for 'sign', which is called on no value"),
    ] {
        let found = errors_of(bad);
        assert!(found.len() == 1 && found[0].contains(why), "{found:?}");
    }
}

#[test]
fn a_rule_of_several_lines_has_a_message_of_one() {
    let errors_of = |rule: Value| {
        let place =
            "spec.validation.openAPIV3Schema.properties[spec].properties[a].x-kubernetes-validations[0].";
        let found = judged(spec(json!({"a": {"type": "integer", "x-kubernetes-validations": [rule]}})));
        found.iter().map(|error| error.replacen(place, "", 1)).collect::<Vec<_>>()
    };
    assert_eq!(errors_of(json!({"rule": "self > 0\n", "message": "positive\n"})), [""; 0]);
    for (rule, want) in [
        (
            json!({"rule": "self > 0 &&\nself < 9"}),
            "message: Required value: message must be specified if rule contains line breaks",
        ),
        (
            json!({"rule": "self > 0", "message": " "}),
            "message: Invalid value: \" \": must be non-empty if specified",
        ),
        (
            json!({"rule": "self > 0", "message": "a\rb"}),
            "message: Invalid value: \"a\\rb\": must not contain line breaks",
        ),
        (
            json!({"rule": "self > 0", "messageExpression": " "}),
            "messageExpression: Required value: messageExpression must be non-empty if specified",
        ),
    ] {
        assert_eq!(errors_of(rule), [want]);
    }
}

#[test]
fn the_field_of_a_rule_is_one_of_the_schema() {
    let judged = |path: &str| {
        let rules = json!([{"rule": "true", "fieldPath": path}]);
        let errors = judged(
            json!({"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-validations": rules,
            "properties": {"a": {"type": "object", "properties": {"b-c": {"type": "string"}}},
                "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"d": {"type": "string"}}}},
                "list": {"type": "array", "items": {"type": "string"}}}}}}),
        );
        errors.first().cloned()
    };
    for fine in [".a", ".a['b-c']", "['a'].b-c", ".map['it\\'s'].d", ".map.x.d", ".list"] {
        assert_eq!(judged(fine), None, "{fine}");
    }
    for (path, why) in [
        (".x", "does not refer to a valid field"),
        (".a.b", "does not refer to a valid field"),
        (".list[0]", "expected single quoted string but got 0]"),
        (".list['0']", "does not refer to a valid field"),
        ("a", "expected [ or . but got"),
        (".a.", "unexpected end of JSON path"),
        (".a['b", "unexpected end of JSON path"),
        ("  ", "must be non-empty if specified"),
    ] {
        let error = judged(path).unwrap_or_default();
        assert!(error.contains(why), "{path}: {error}");
    }
}

#[test]
fn the_field_of_a_broken_rule_stands_where_it_is_in_the_object() {
    let named = json!({"type": "object", "properties": {"b-c": {"type": "string"}}});
    let map = json!({"type": "object", "additionalProperties": named});
    let schema = |path: &str| {
        let rules = json!([{"rule": "false", "message": "no", "fieldPath": path}]);
        json!({"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-validations": rules,
            "properties": {"a": named, "map": map}}}})
    };
    for (path, field) in [
        (".a", "spec.a"),
        (".a['b-c']", "spec.a.b-c"),
        ("['a'].b-c", "spec.a.b-c"),
        (".map.x.b-c", "spec.map[x].b-c"),
        (".map['x.y']", "spec.map[x.y]"),
    ] {
        let errors = problems(schema(path), json!({"spec": {}}), None);
        assert_eq!(errors, [format!("{field}: Invalid value: \"object\": no")], "{path}");
    }
}

/// Otherwise a hundred rules that read nothing copy the whole old value a hundred times.
#[test]
fn each_rule_that_compares_pays_for_its_old_value() {
    let found = |rule: &str| {
        let rules = vec![json!({"rule": rule}); 150];
        let properties = json!({"a": {"type": "string"}, "n": {"type": "integer"}});
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object",
            "x-kubernetes-validations": rules, "properties": properties}}});
        let object = |n: usize| json!({"spec": {"a": "x".repeat(1_000_000), "n": n}});
        problems(schema, object(1), Some(object(2)))
    };
    assert_eq!(found("has(self.a)"), [""; 0], "all of them share one `self`");
    let compared = found("has(oldSelf.a)");
    assert!(compared.len() == 1 && compared[0].contains("running out of cost budget"), "{compared:?}");
}
