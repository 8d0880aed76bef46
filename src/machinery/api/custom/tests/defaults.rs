//! What a definition got after its objects: defaults, and lists that are sets.

use super::*;

#[test]
fn an_object_that_defaults_make_too_large_is_refused_and_one_that_is_stored_is_shown_without() {
    let page = json!({"type": "string", "default": "x".repeat(100_000)});
    let kind = kind(spec(json!({"pages": {"type": "array", "items": {"type": "object", "properties": {
        "text": page}}}})));
    let object = json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": "x"},
        "spec": {"pages": vec![json!({}); 1000]}});
    let refused = kind.fill(&mut object.clone()).unwrap_err();
    assert_eq!((refused.code, refused.reason), (413, "RequestEntityTooLarge"));
    assert!(refused.message.contains("the defaults of its kind's schema"), "{}", refused.message);
    assert!(matches!(kind.from_stored_and_added(&object), (Cow::Borrowed(_), 0)));
    // A stored one may be changed, and one that fits may not become too large.
    let mut changed = object.clone();
    changed["spec"]["pages"][0]["text"] = "a".into();
    let before = changed.clone();
    assert!(kind.refill(&mut changed, &object).is_ok() && changed == before);
    let mut small = object.clone();
    small["spec"]["pages"] = json!([{}]);
    assert_eq!(kind.refill(&mut changed, &small).unwrap_err().code, 413);
    assert!(kind.refill(&mut small, &object).is_ok() && small["spec"]["pages"][0]["text"].is_string());
    assert!(matches!(kind.from_stored_and_added(&small), (Cow::Borrowed(_), 0)), "it has them all");
    small["spec"]["pages"] = json!([{}]);
    let (shown, added) = kind.from_stored_and_added(&small);
    assert!(shown["spec"]["pages"][0]["text"].is_string() && added > 100_000);
    assert!(matches!(kind.from_stored_without_defaults(&small), Cow::Borrowed(_)));
}

/// Its finalizers can be taken away, although fields are missing that the schema requires.
#[test]
fn a_change_of_metadata_is_not_judged_where_defaults_are_left_out() {
    let text = json!({"type": "string", "default": "x".repeat(2_000_000)});
    let kind = kind(json!({"type": "object", "required": ["text"], "properties": {
        "text": text, "size": {"type": "integer", "maximum": 3}}}));
    let object = |finalizers: Value, size: u64| {
        json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab",
        "metadata": {"name": "x", "finalizers": finalizers}, "size": size})
    };
    let old = object(json!(["a.example/b"]), 9);
    let judged = |new: &Value, old: Option<&Value>| {
        let mut errors = Errors::default();
        kind.custom.as_ref().unwrap().validate(new, old, &mut errors);
        errors.iter().count()
    };
    assert_eq!(judged(&object(json!([]), 9), Some(&old)), 0);
    assert_eq!(judged(&object(json!([]), 8), Some(&old)), 2);
    assert_eq!(judged(&old, None), 2);
}

#[test]
fn an_old_object_is_compared_with_the_defaults_that_it_lacks() {
    let item = json!({"type": "object", "properties": {"a": {"type": "string", "maxLength": 1},
        "n": {"type": "integer", "default": 1}}});
    let kind = kind(spec(json!({"l": {"type": "array", "items": item}, "other": {"type": "integer",
        "x-kubernetes-validations": [{"rule": "self > oldSelf"}], "default": 5}})));
    let judged = |other: i64| {
        let version = "stable.example.com/v1";
        let old = json!({"apiVersion": version, "spec": {"l": [{"a": "xx"}]}});
        let mut new = json!({"apiVersion": version, "spec": {"l": [{"a": "xx"}], "other": other}});
        kind.fill(&mut new).unwrap();
        let mut errors = Errors::default();
        kind.custom.as_ref().unwrap().validate(&new, Some(&old), &mut errors);
        errors.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(judged(6), [""; 0]);
    assert_eq!(judged(4).len(), 1, "the old value was the default");
}

#[test]
fn an_object_that_had_an_item_twice_may_have_more_of_them() {
    let set = json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"});
    let schema = spec(json!({"set": set, "other": set, "n": {"type": "integer"}}));
    let old = |set: Value| Some(json!({"spec": {"set": set}}));
    let new = json!({"spec": {"set": ["a", "a", "b"], "other": ["c", "c"], "n": "x"}});
    let of_type = "spec.n: Invalid value: \"string\": spec.n in body must be of type integer: \"string\"";
    assert_eq!(problems(schema.clone(), new.clone(), old(json!(["a", "a"]))), [of_type]);
    let errors = problems(schema, new, old(json!(["a"])));
    assert_eq!(errors.iter().filter(|error| error.contains("Duplicate value")).count(), 2, "{errors:?}");
}
