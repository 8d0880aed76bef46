use super::*;
use serde_json::json;

fn definition(schema: Value) -> Value {
    json!({"metadata": {"name": "crontabs.stable.example.com", "resourceVersion": "1"},
        "spec": {"group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "listKind": "CronTabList"},
            "conversion": {"strategy": "None"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}})
}

fn judged(schema: Value) -> Vec<String> {
    let mut errors = Errors::default();
    definition::validate(&definition(schema), &mut errors);
    errors.iter().map(ToString::to_string).collect()
}

fn kind(schema: Value) -> Kind {
    let fresh = definition(schema);
    let named = definition::name(&fresh, std::iter::empty()).unwrap();
    kinds_of(&named).remove(0)
}

fn problems(schema: Value, object: Value, old: Option<Value>) -> Vec<String> {
    let kind = kind(schema);
    let custom = kind.custom.as_ref().unwrap();
    let mut errors = Errors::default();
    custom.validate(&object, old.as_ref(), &mut errors);
    errors.iter().map(ToString::to_string).collect()
}

fn spec(properties: Value) -> Value {
    json!({"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}})
}

#[test]
fn unknown_fields_go_and_defaults_come() {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "image": {"type": "string", "default": "busybox"},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "port": {"x-kubernetes-int-or-string": true},
        "inner": {"type": "object", "default": {}, "properties": {"n": {"type": "integer", "default": 3}}},
        "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}}}}}});
    let kind = kind(schema);
    let mut object = json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": "x", "foo": 1},
        "other": 1, "spec": {"image": null, "free": {"x": 1}, "port": "http", "typo": true, "list": [{"a": "1", "b": 2}]}});
    let unknown = kind.custom.as_ref().unwrap().conform(&mut object).unwrap();
    kind.fill(&mut object);
    assert_eq!(unknown.told(), ["metadata.foo", "other", "spec.list[0].b", "spec.typo"]);
    assert_eq!(
        object["spec"],
        json!({"free": {"x": 1}, "port": "http", "list": [{"a": "1"}], "image": "busybox", "inner": {"n": 3}})
    );
}

#[test]
fn values_are_judged_in_upstreams_words() {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "required": ["cron"], "properties": {
        "cron": {"type": "string", "pattern": "^x+$"}, "replicas": {"type": "integer", "minimum": 1, "maximum": 10},
        "mode": {"type": "string", "enum": ["a", "b"]}, "names": {"type": "array", "maxItems": 1, "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "when": {"type": "string", "format": "date-time"}}}}});
    let check = |spec: Value| problems(schema.clone(), json!({"spec": spec}), None);
    assert_eq!(check(json!({})), ["spec.cron: Required value"]);
    assert_eq!(
        check(json!({"cron": "y", "replicas": 0, "mode": "c"})),
        [
            "spec.cron: Invalid value: \"y\": spec.cron in body should match '^x+$'",
            "spec.replicas: Invalid value: 0: spec.replicas in body should be greater than or equal to 1",
            "spec.mode: Unsupported value: \"c\": supported values: \"a\", \"b\"",
        ]
    );
    assert_eq!(
        check(json!({"cron": "x", "replicas": "two"})),
        [
            "spec.replicas: Invalid value: \"string\": spec.replicas in body must be of type integer: \"string\""
        ]
    );
    assert_eq!(
        check(json!({"cron": "x", "names": ["a", "a"]})),
        ["spec.names: Too many: 2: must have at most 1 item", "spec.names[1]: Duplicate value: \"a\""]
    );
    assert_eq!(
        check(json!({"cron": "x", "when": "now"})),
        ["spec.when: Invalid value: \"now\": spec.when in body must be of type date-time: \"now\""]
    );
    let old = json!({"spec": {"cron": "y", "replicas": 5}});
    let new = json!({"spec": {"cron": "y", "replicas": 6}});
    assert_eq!(problems(schema, new, Some(old)), [""; 0], "what was wrong before may stay");
}

#[test]
fn rules_compare_fields_and_changes() {
    let schema = |rules: Value| {
        json!({"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-validations": rules,
            "properties": {"min": {"type": "integer"}, "max": {"type": "integer"}, "name": {"type": "string"},
                "limit": {"type": "string"}, "names-pace": {"type": "string"}}}}})
    };
    let fails = |rules: Value, spec: Value, old: Option<Value>| {
        problems(schema(rules), json!({"spec": spec}), old.map(|o| json!({"spec": o})))
    };
    let order = json!([{"rule": "self.min <= self.max", "message": "min must not exceed max"}]);
    assert_eq!(fails(order.clone(), json!({"min": 1, "max": 2}), None), [""; 0]);
    assert_eq!(
        fails(order, json!({"min": 3, "max": 2}), None),
        ["spec: Invalid value: \"object\": min must not exceed max"]
    );
    let told = json!([{"rule": "self.max < 10", "messageExpression": "'max is %d'.format([self.max])", "fieldPath": ".max",
        "reason": "FieldValueForbidden"}]);
    assert_eq!(fails(told, json!({"max": 11}), None), ["spec.max: Forbidden: max is 11"]);
    let fixed = json!([{"rule": "self.name == oldSelf.name"}]);
    assert_eq!(fails(fixed.clone(), json!({"name": "a"}), None), [""; 0]);
    assert_eq!(
        fails(fixed, json!({"name": "b"}), Some(json!({"name": "a"}))),
        ["spec: Invalid value: \"object\": failed rule: self.name == oldSelf.name"]
    );
    let libraries = json!([{"rule": "quantity(self.limit).isLessThan(quantity('1Gi')) && self.names__dash__pace.find('[0-9]+') == '12' && !has(self.name)"}]);
    assert_eq!(fails(libraries, json!({"limit": "500Mi", "names-pace": "x12y"}), None), [""; 0]);
    let optional =
        json!([{"rule": "!oldSelf.hasValue() || self.max >= oldSelf.value().max", "optionalOldSelf": true}]);
    assert_eq!(fails(optional.clone(), json!({"max": 2}), None), [""; 0]);
    assert_eq!(fails(optional, json!({"max": 2}), Some(json!({"max": 3}))).len(), 1);
}

#[test]
fn a_definition_says_only_what_can_be_kept() {
    assert_eq!(judged(spec(json!({"a": {"type": "string"}}))), [""; 0]);
    let path = "spec.versions[0].schema.openAPIV3Schema";
    assert_eq!(
        judged(spec(json!({"a": {"description": "no type"}}))),
        [format!(
            "{path}.properties[spec].properties[a].type: Required value: must not be empty for specified object fields"
        )]
    );
    assert_eq!(
        judged(json!({"type": "string"})),
        [format!("{path}.type: Invalid value: \"string\": must be object at the root")]
    );
    let rule = |rule: &str| {
        judged(
            json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"a": {"type": "string"}},
            "x-kubernetes-validations": [{"rule": rule}]}}}),
        )
    };
    assert_eq!(rule("self.a == 'x'"), [""; 0]);
    assert!(rule("self.b == 'x'")[0].ends_with("compilation failed: ERROR: <input>: undefined field 'b'"));
    assert!(rule("self.a ==")[0].contains("compilation failed: "));
    assert!(rule("sefl.a == ''")[0].contains("undeclared reference to 'sefl'"));
    let mut foreign = definition(spec(json!({})));
    foreign["spec"]["group"] = "example".into();
    let mut errors = Errors::default();
    definition::validate(&foreign, &mut errors);
    assert!(errors.iter().any(|e| e.body.ends_with("should be a domain with at least one dot")));
}

#[test]
fn names_belong_to_whoever_had_them_first() {
    let first = definition::name(&definition(spec(json!({}))), std::iter::empty()).unwrap();
    assert!(is(&first, "Established") && is(&first, "NamesAccepted"));
    let mut second = definition(spec(json!({})));
    second["metadata"]["name"] = "others.stable.example.com".into();
    second["spec"]["names"]["plural"] = "others".into();
    second["spec"]["names"]["singular"] = "other".into();
    let second = definition::name(&second, [&first].into_iter()).unwrap();
    assert!(!is(&second, "Established"));
    let refused = &list(&second, "status.conditions")[0];
    assert_eq!(text(refused, "reason"), "ListKindConflict");
    assert!(kinds_of(&second).is_empty());
    assert_eq!(definition::name(&first, [&second].into_iter()), None, "nothing changes for the first");
}

#[test]
fn versions_are_ordered_by_stability() {
    let mut all = ["v1alpha1", "v2", "foo", "v1beta2", "v10", "v1beta1", "v1"];
    all.sort_by_key(|v| version_order(v));
    assert_eq!(all, ["v10", "v2", "v1", "v1beta2", "v1beta1", "v1alpha1", "foo"]);
}

#[test]
fn rules_that_nest_too_deep_are_refused_and_deep_ones_do_not_overflow_the_stack() {
    let deep = |n: usize| {
        vec![
            format!("{}true{}", "(".repeat(n), ")".repeat(n)),
            format!("{}self.a == ''", "!".repeat(n)),
            format!("0 == 1{}", " + 1".repeat(n)),
            format!("0 == {}1", "- ".repeat(n)),
            format!("self{} == ''", ".a".repeat(n)),
            format!("{}1{}.size() == 1", "[".repeat(n), "]".repeat(n)),
            format!("[1]{} == 1", "[0]".repeat(n)),
            format!("{}true", "true ? true : ".repeat(n)),
            format!("'x'{} == 'x'", ".trim()".repeat(n)),
            format!("true{}", " && true".repeat(n)),
            format!("{}1{}.size() == 1", "{'a': ".repeat(n), "}".repeat(n)),
        ]
    };
    let schema = |rule: &str| {
        json!({"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-validations": [{"rule": rule}],
            "properties": {"a": {"type": "string"}}}}})
    };
    for rule in deep(20_000).iter().chain(&deep(400)) {
        let found = judged(schema(rule));
        assert!(!found.is_empty(), "{}", &rule[..40]);
        assert!(found[0].contains("compilation failed"), "{}", &found[0][..200.min(found[0].len())]);
    }
    // Whatever is let in is compiled and evaluated on a stack that holds it.
    for rule in deep(100).iter().chain(&deep(30)) {
        if judged(schema(rule)).is_empty() {
            let _ = problems(schema(rule), json!({"spec": {"a": "x"}}), None);
        }
    }
    assert_eq!(terms::depth("self.a == 'x(((' && (self.b || !self.c) // ((("), 5);
    assert!(
        terms::compile(&"x".repeat(100_001)).unwrap_err().starts_with("expression code point size exceeds")
    );
}

#[test]
fn a_rule_that_would_run_without_end_is_refused_before_it_begins() {
    let schema = |rule: &str| {
        json!({"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-validations": [{"rule": rule}],
            "properties": {"a": {"type": "array", "items": {"type": "integer"}}}}}})
    };
    let object = json!({"spec": {"a": (0..1_000).collect::<Vec<_>>()}});
    let found =
        problems(schema("self.a.all(x, self.a.all(y, self.a.all(z, x + y + z >= 0)))"), object.clone(), None);
    assert_eq!(
        found,
        [
            "spec: Invalid value: \"object\": 'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: self.a.all(x, self.a.all(y, self.a.all(z, x + y + z >= 0)))"
        ]
    );
    assert_eq!(problems(schema("self.a.all(x, x >= 0)"), object, None), [""; 0]);
    // Many rules that are cheap, over many values.
    let each = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"m": {"type": "array",
        "items": {"type": "object", "properties": {"l": {"type": "array", "items": {"type": "integer"}}},
            "x-kubernetes-validations": [{"rule": "self.l.all(x, self.l.all(y, x + y >= 0))"}]}}}}}});
    let list: Vec<usize> = (0..200).collect();
    let object = json!({"spec": {"m": vec![json!({ "l": list }); 60]}});
    let found = problems(each, object, None);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("validation failed due to running out of cost budget"), "{found:?}");
}
