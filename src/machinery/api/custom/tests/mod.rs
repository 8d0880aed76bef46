mod defaults;
mod definitions;
mod rules;

use super::*;
use crate::errors::Errors;
use crate::{kinds, value};
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
    let named = definition::accept_names(&fresh, std::iter::empty(), kinds::all()).unwrap();
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
    kind.fill(&mut object).unwrap();
    assert_eq!(unknown.shown(), ["metadata.foo", "other", "spec.list[0].b", "spec.typo"]);
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
    let rules = json!([{"rule": "self.max < 10", "messageExpression": "'max is %d'.format([self.max])", "fieldPath": ".max",
        "reason": "FieldValueForbidden"}]);
    assert_eq!(fails(rules, json!({"max": 11}), None), ["spec.max: Forbidden: max is 11"]);
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
fn rules_are_not_judged_over_a_value_of_another_form() {
    let schema = spec(json!({"mode": {"type": "string", "enum": ["a"]},
        "when": {"type": "string", "format": "date-time"},
        "n": {"type": "integer", "x-kubernetes-validations": [{"rule": "self < 9", "message": "high"}]}}));
    for (field, value) in [("mode", "c"), ("when", "now")] {
        let found = problems(schema.clone(), json!({"spec": {"n": 9, field: value}}), None);
        assert!(found.len() == 2 && found[1].starts_with("<nil>: Invalid value: null: some"), "{found:?}");
    }
}

/// Items of an atomic list or of a set have no old value of their own. They count as unchanged if
/// the list is, or else what the list is in.
#[test]
fn rules_of_the_items_of_an_unchanged_list_are_not_judged_again() {
    let rule = json!([{"rule": "self == self.lowerAscii()"}]);
    let item = json!({"type": "string", "x-kubernetes-validations": rule});
    let schema = spec(json!({"n": {"type": "integer"}, "atomic": {"type": "array", "items": item},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": item},
        "nested": {"type": "array", "items": {"type": "object", "properties": {"host": item}}}}));
    let old = json!({"n": 1, "atomic": ["A"], "set": ["B"], "nested": [{"host": "C"}]});
    let with = |field: &str, value: Value| {
        let mut new = old.clone();
        new[field] = value;
        new
    };
    for (new, found) in [
        (old.clone(), 0),
        (with("n", json!(2)), 0),
        (with("atomic", json!(["A", "a"])), 1),
        (with("set", json!(["B", "D"])), 2),
        (with("nested", json!([{"host": "c"}, {"host": "C"}])), 1),
    ] {
        let wrong = problems(schema.clone(), json!({"spec": new}), Some(json!({"spec": old})));
        assert_eq!(wrong.len(), found, "{new}: {wrong:?}");
    }
    assert_eq!(problems(schema, json!({"spec": old}), None).len(), 3);
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

/// `indexOf` of Kubernetes' own library, beside that of texts.
#[test]
fn a_rule_asks_where_an_item_stands() {
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object",
        "properties": {"names": {"type": "array", "items": {"type": "string"}}},
        "x-kubernetes-validations": [{"rule": "self.names.indexOf('a') < self.names.lastIndexOf('b')"}]}}});
    assert_eq!(judged(schema.clone()), [""; 0]);
    let errors_of = |names: &[&str]| problems(schema.clone(), json!({"spec": {"names": names}}), None);
    assert_eq!(errors_of(&["b", "a", "b"]), [""; 0]);
    let wrong = errors_of(&["b", "a"]);
    assert!(wrong.len() == 1 && wrong[0].contains("failed rule: self.names.indexOf"), "{wrong:?}");
}

/// Each of these rules reads nothing. What is below it is made into values all the same.
#[test]
fn rules_at_many_levels_over_one_large_value_are_paid_for() {
    let (mut schema, mut object) = (json!({"type": "string"}), json!("x".repeat(1_400_000)));
    for _ in 0..80 {
        schema = json!({"type": "object", "properties": {"a": schema}, "x-kubernetes-validations": [{"rule": "true"}]});
        object = json!({ "a": object });
    }
    let schema = json!({"type": "object", "properties": {"spec": schema}});
    let found = problems(schema, json!({ "spec": object }), None);
    assert!(found.len() == 1 && found[0].contains("running out of cost budget"), "{found:?}");
}

#[test]
fn a_rule_that_asks_for_an_old_value_that_there_is_not_is_refused() {
    let rule = json!([{"rule": "self.port == oldSelf.port"}]);
    let item = json!({"type": "object", "properties": {"port": {"type": "integer"}}, "required": ["port"],
        "x-kubernetes-validations": rule});
    let message_of = |list: Value| {
        let mut schema = json!({"type": "array", "items": item});
        crate::patch::merge(&mut schema, &list);
        judged(spec(json!({"rules": schema}))).join("; ")
    };
    let why = "oldSelf cannot be used on the uncorrelatable portion of the schema within \
        spec.validation.openAPIV3Schema.properties[spec].properties[rules]";
    assert!(message_of(json!({})).ends_with(why), "{}", message_of(json!({})));
    let map = json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port"]});
    assert_eq!(message_of(map), "");
    for fields in [json!({"properties": {"a": item}}), json!({"additionalProperties": item})] {
        let mut whole = json!({"type": "object", "maxProperties": 5, "x-kubernetes-map-type": "atomic"});
        crate::patch::merge(&mut whole, &fields);
        assert_eq!(judged(spec(json!({"rules": whole}))), [""; 0], "fields of a map have names");
    }
    let unused = json!({"type": "integer", "x-kubernetes-validations": [{"rule": "self > 1", "optionalOldSelf": true}]});
    let found = judged(spec(json!({"n": unused}))).join("; ");
    assert!(
        found
            .ends_with("optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule"),
        "{found}"
    );
}

#[test]
fn items_of_a_set_are_told_apart_as_a_whole() {
    let message_of = |list: &str, items: Value| {
        judged(spec(json!({"l": {"type": "array", "x-kubernetes-list-type": list, "items": items}})))
            .join("; ")
    };
    let map = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
    assert!(message_of("set", map.clone()).ends_with(why), "{}", message_of("set", map.clone()));
    let mut whole = map.clone();
    whole["x-kubernetes-map-type"] = "atomic".into();
    assert_eq!((message_of("set", whole), message_of("atomic", map)), (String::new(), String::new()));
    let inner = json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}});
    assert!(message_of("set", inner).ends_with(why));
    let nothing = message_of("set", json!({"type": "string", "nullable": true}));
    assert!(nothing.ends_with("cannot be nullable when x-kubernetes-list-type is set"), "{nothing}");
}

#[test]
fn numbers_are_judged_and_shown_as_go_does() {
    let schema = |of: &str, more: Value| {
        let mut number = json!({"type": of});
        crate::patch::merge(&mut number, &more);
        spec(json!({"n": number}))
    };
    let errors_of =
        |of: &str, more: Value, n: Value| problems(schema(of, more), json!({"spec": {"n": n}}), None);
    for n in [0.3, 0.1, 0.7, 1.1] {
        assert_eq!(errors_of("number", json!({"multipleOf": 0.1}), json!(n)), [""; 0], "{n}");
    }
    assert_eq!(
        errors_of("number", json!({"multipleOf": 0.1}), json!(0.35)),
        ["spec.n: Invalid value: 0.35: spec.n in body should be a multiple of 0.1"]
    );
    assert_eq!(
        errors_of("integer", json!({"maximum": 1_000_000}), json!(2_000_000)),
        ["spec.n: Invalid value: 2000000: spec.n in body should be less than or equal to 1000000"]
    );
    assert_eq!(
        errors_of("number", json!({"maximum": 1_000_000}), json!(2_000_000.5)),
        ["spec.n: Invalid value: 2000000.5: spec.n in body should be less than or equal to 1e+06"]
    );
}

#[test]
fn metadata_of_an_object_inside_is_pruned_and_judged() {
    let template = json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true});
    let kind = kind(spec(json!({"template": template})));
    let custom = kind.custom.as_ref().unwrap();
    let object = |metadata: Value| json!({"metadata": {"name": "x"}, "spec": {"template": {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "free": 1}}});
    let mut one = object(json!({"labels": {"a": "b"}, "foo": 1}));
    assert_eq!(custom.conform(&mut one).unwrap().shown(), ["spec.template.metadata.foo"]);
    assert_eq!(one["spec"]["template"]["metadata"], json!({"labels": {"a": "b"}}));
    assert_eq!(one["spec"]["template"]["free"], 1);
    assert!(
        custom
            .conform(&mut object(json!({"labels": 5})))
            .unwrap_err()
            .starts_with("spec.template.metadata: ")
    );
    let mut errors = Errors::default();
    let mut wrong = object(json!({"labels": {"a": "b c"}}));
    wrong["spec"]["template"]["kind"] = "P d".into();
    custom.validate(&wrong, None, &mut errors);
    let fields: Vec<&str> = errors.iter().map(|e| e.field.as_str()).collect();
    assert_eq!(fields, ["spec.template.kind", "spec.template.metadata.labels"]);
    let mut errors = Errors::default();
    let mut wrong = object(json!({"namespace": "A", "annotations": {"a b": "c"}, "finalizers": ["d e"],
        "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}]}));
    wrong["spec"]["template"]["apiVersion"] = "".into();
    wrong["spec"]["template"]["kind"] = 5.into();
    custom.validate(&wrong, None, &mut errors);
    let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
    for (message, want) in messages.iter().zip([
        "apiVersion: Required value",
        "kind: Invalid value: 5: must be a string",
        "metadata.namespace: Invalid value: \"A\": ",
        "metadata.annotations: Invalid value: \"a b\": ",
        "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty",
        "metadata.finalizers: Invalid value: \"d e\": ",
    ]) {
        assert!(message.starts_with(&format!("spec.template.{want}")), "{message}");
    }
    assert_eq!(messages.len(), 6, "{messages:?}");
}

#[test]
fn rules_know_addresses_and_sums_of_quantities_and_name_what_is_missing() {
    let rule = |rule: &str| {
        json!({"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-validations": [{"rule": rule}],
            "properties": {"a": {"type": "string"}, "b": {"type": "string"}}}}})
    };
    let holds = |text: &str, a: &str, b: &str| {
        assert_eq!(judged(rule(text)), [""; 0], "{text}");
        problems(rule(text), json!({"spec": {"a": a, "b": b}}), None).is_empty()
    };
    let sum = "quantity(self.a).add(quantity(self.b)).isLessThan(quantity('1Gi'))";
    assert!(holds(sum, "500Mi", "500Mi") && !holds(sum, "500Mi", "600Mi"));
    assert!(holds("quantity(self.a).sub(1).compareTo(quantity(self.b)) == 0", "3", "2"));
    let contains = "cidr(self.a).containsIP(self.b) && cidr(self.a).containsIP(ip(self.b))";
    assert!(holds(contains, "10.0.0.0/8", "10.1.2.3") && !holds(contains, "10.0.0.0/8", "11.1.2.3"));
    assert!(holds("cidr(self.a).containsCIDR(self.b)", "0.0.0.0/0", "10.0.0.0/8"));
    assert!(!holds("cidr(self.a).containsCIDR(self.b)", "10.0.0.0/8", "0.0.0.0/0"));
    assert!(holds("cidr(self.a).masked() == cidr(self.b)", "fd00::1/64", "fd00::/64"));
    assert!(holds(
        "cidr(self.a).ip() == ip(self.b) && cidr(self.a).prefixLength() == 16",
        "10.1.0.0/16",
        "10.1.0.0"
    ));
    assert!(holds("ip(self.a).family() == 4 && ip(self.b).isLoopback()", "10.0.0.1", "::1"));
    assert!(holds("isIP(self.a) && !isIP(self.b)", "10.0.0.1", "::ffff:10.0.0.1"));
    for missing in ["url(self.a).getHost() == ''", "sets.contains([1], [1])", "semver(self.a).major() == 1"] {
        let found = judged(rule(missing));
        assert!(found[0].contains("of Kubernetes is not implemented in Ropewalk"), "{found:?}");
    }
}

/// A rule with `cel.bind` was accepted, and then failed for every object.
#[test]
fn libraries_of_cel_that_kubernetes_does_not_load_are_refused() {
    for text in ["cel.bind(x, self.a, x == 'y')", "math.greatest(1, 2) == 2", "math.least(1, 2) == 1"] {
        let spec = json!({"type": "object", "x-kubernetes-validations": [{"rule": text}],
            "properties": {"a": {"type": "string"}}});
        let found = judged(json!({"type": "object", "properties": {"spec": spec}}));
        assert!(found[0].contains("undeclared reference to '"), "{found:?}");
    }
}

#[test]
fn a_text_that_is_no_duration_is_told_as_upstream_tells_it() {
    let rule = json!({"rule": "duration(self.a) > duration('1s')"});
    let spec = json!({"type": "object", "x-kubernetes-validations": [rule],
        "properties": {"a": {"type": "string"}}});
    let errors_of = |a: &str| {
        let schema = json!({"type": "object", "properties": {"spec": spec}});
        problems(schema, json!({"spec": {"a": a}}), None)
    };
    assert_eq!(errors_of("2s"), [""; 0]);
    for text in ["x", "", "999999999999h"] {
        let found = errors_of(text);
        assert!(
            found.len() == 1
                && found[0].contains(
                    ": type conversion error from 'string' to 'duration' evaluating rule: duration("
                ),
            "{found:?}"
        );
    }
}
