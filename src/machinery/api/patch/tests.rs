use super::*;

#[test]
fn null_removes_and_lists_are_replaced() {
    let mut object = json!({"a": {"b": 1, "c": [1, 2]}, "d": "x"});
    merge(&mut object, &json!({"a": {"b": null, "c": [3]}, "e": {"f": null, "g": 1}}));
    assert_eq!(object, json!({"a": {"c": [3]}, "d": "x", "e": {"g": 1}}));
    merge(&mut object, &json!({"a": {"c": [{"x": null, "y": [{"z": null}]}, null]}, "n": [{"m": null}]}));
    assert_eq!(object, json!({"a": {"c": [{"y": [{}]}, null]}, "d": "x", "e": {"g": 1}, "n": [{}]}));
}

#[test]
fn what_fails_half_way_changes_nothing() {
    let before = json!({"a": {"b": 1}});
    let mut object = before.clone();
    let patch = br#"[{"op":"move","from":"/a/b","path":"/a"},{"op":"test","path":"/a","value":2}]"#;
    assert_eq!(json(&mut object, patch).unwrap_err().code, 422);
    assert_eq!(object, before);
}

#[test]
fn a_failed_test_is_unprocessable() {
    let mut object = json!({"a": 1});
    let error = json(&mut object, br#"[{"op":"test","path":"/a","value":2}]"#).unwrap_err();
    assert_eq!(error.code, 422);
    assert_eq!(json(&mut object, b"{").unwrap_err().code, 400);
    assert!(json(&mut object, br#"[{"op":"remove","path":"/zz/y"}]"#).is_err());
    json(&mut object, br#"[{"op":"add","path":"/b","value":[1]},{"op":"add","path":"/b/-","value":2}]"#)
        .unwrap();
    assert_eq!(object, json!({"a": 1, "b": [1, 2]}));
}

/// As `evanphx/json-patch` 4.13 applies them.
#[test]
fn an_operation_that_cannot_be_done_is_unprocessable() {
    let errors_of = |patch: &str| {
        let status = json(&mut json!({"a": 1}), patch.as_bytes()).unwrap_err();
        (status.code, status.details["causes"][0]["message"].as_str().unwrap_or_default().to_string())
    };
    for (patch, why) in [
        (r#"[{"op": "relace", "path": "/a", "value": 2}]"#, "Unexpected kind: relace"),
        (r#"[{"op": "add", "path": "/b", "value": 1}, {"path": "/a"}]"#, "Unexpected kind: unknown"),
        (r#"[{"op": "remove"}]"#, "remove operation failed to decode path: missing value"),
        (
            r#"[{"op": "add", "path": "b", "value": 2}]"#,
            "add operation does not apply: doc is missing path: \"b\": missing value",
        ),
        (
            r#"[{"op": "test", "path": "a", "value": 1}]"#,
            "test operation does not apply: is missing path: a: missing value",
        ),
        (
            r#"[{"op": "copy", "path": "/b"}]"#,
            "copy operation failed to decode from: operation, missing from field: missing value",
        ),
        (
            r#"[{"op": "move", "from": "/a"}]"#,
            "move operation failed to decode path: operation missing path field: missing value",
        ),
        (
            r#"[{"op": "move", "from": "/a", "path": "b"}]"#,
            "move operation does not apply: doc is missing destination path: b: missing value",
        ),
    ] {
        assert_eq!(errors_of(patch), (422, why.to_string()), "{patch}");
    }
    for patch in [r#"{"op": "add"}"#, r#"[{"op": 1, "path": "/a"}]"#, r#"[{"op": "add", "path": 1}]"#, "[1]"]
    {
        assert_eq!(errors_of(patch).0, 400, "{patch}");
    }
    let mut object = json!({"a": 1});
    json(&mut object, br#"[{"op": "add", "path": "/b"}, {"op": "test", "path": "/c"}]"#).unwrap();
    assert_eq!(object, json!({"a": 1, "b": null}), "a value that is left out is null");
    json(&mut object, br#"[{"op": "copy", "from": "data/a", "path": "x/b"}]"#).unwrap();
    assert_eq!(object, json!({"a": 1, "b": 1}), "nothing counts before the first slash");
}

#[test]
fn a_tilde_that_escapes_nothing_stands_for_itself() {
    let mut object = json!({"a~b": 1, "c/d": 2, "e~": 3});
    let patch = br#"[{"op":"test","path":"/a~b","value":1},{"op":"move","from":"/c~1d","path":"/~2"},
        {"op":"remove","path":"/e~"}]"#;
    assert!(json(&mut object, patch).is_ok());
    assert_eq!(object, json!({"a~b": 1, "~2": 2}));
}

/// As `evanphx/json-patch` and `Quantity.UnmarshalJSON` upstream.
#[test]
fn a_quantity_that_is_a_number_keeps_its_text() {
    let pod = crate::kinds::find("", "v1", "Pod").unwrap();
    let mut object = json!({"spec": {"priority": 1, "containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}}]}});
    let patch = br#"[{"op": "replace", "path": "/spec/containers/0/resources/limits/cpu", "value": 1E3},
        {"op": "add", "path": "/spec/containers/0/resources/limits/a.b~1c", "value": 1.500},
        {"op": "add", "path": "/spec/containers/-", "value": {"name": "d", "resources": {"requests": {"cpu": 2e0}}}},
        {"op": "replace", "path": "/spec/priority", "value": 7}]"#;
    json_of_kind(pod, &mut object, patch).unwrap();
    let first = json!({"name": "c", "resources": {"limits": {"cpu": "1E3", "a.b/c": "1.500"}}});
    let second = json!({"name": "d", "resources": {"requests": {"cpu": "2e0"}}});
    assert_eq!(object, json!({"spec": {"priority": 7, "containers": [first, second]}}));
    assert_eq!(json_of_kind(pod, &mut object, b"{").unwrap_err().code, 400);
}

#[test]
fn an_operation_with_values_that_it_does_not_need_changes_no_other_one() {
    let pod = crate::kinds::find("", "v1", "Pod").unwrap();
    let mut object = json!({"spec": {"priority": 1, "overhead": {}}});
    let patch = br#"[{"op": "remove", "path": "/spec/priority", "value": 2, "value": 3},
        {"op": "add", "path": "/spec/overhead/cpu", "value": 1E3}]"#;
    json_of_kind(pod, &mut object, patch).unwrap();
    assert_eq!(object, json!({"spec": {"overhead": {"cpu": "1E3"}}}));
}

fn operations(operation: impl Fn(usize) -> Value, count: usize) -> Vec<u8> {
    Value::Array((0..count).map(operation).collect()).to_string().into_bytes()
}

#[test]
fn copies_that_double_are_refused_before_they_are_made() {
    let before = json!({"data": {"a": "b"}});
    let mut object = before.clone();
    let doubling = |i| json!({"op": "copy", "from": "/data", "path": format!("/data/k{i}")});
    json(&mut object.clone(), &operations(doubling, 8)).unwrap();
    let status = json(&mut object, &operations(doubling, 40)).unwrap_err();
    assert_eq!(status.code, 422);
    let why = status.details["causes"][0]["message"].as_str().unwrap().to_string();
    assert!(
        why.starts_with("Unable to complete the copy, the accumulated size increase of copy is "),
        "{why}"
    );
    assert!(why.ends_with(", exceeding the limit 3145728"), "{why}");
    assert_eq!(object, before);
}

#[test]
fn a_patch_of_null_has_no_operation() {
    let mut object = json!({"a": 1});
    assert!(json(&mut object, b" null\n").is_ok() && json(&mut object, b"{}").is_err());
    assert_eq!(object, json!({"a": 1}));
}

#[test]
fn a_value_that_nests_ever_deeper_is_refused() {
    let deep = |op: &str| {
        let op = op.to_string();
        let mut object = json!({"data": {"a": "b"}, "x": []});
        let one = move |_| json!({"op": op, "from": "/data", "path": "/data/x"});
        json(&mut object, &operations(one, 9_900)).map_err(|e| e.details["causes"][0]["message"].to_string())
    };
    assert!(deep("copy").unwrap_err().contains("nested too deeply"));
    // Each adds a level around what is there already.
    let add = |i: usize| json!({"op": "add", "path": format!("/data{}", "/a".repeat(i)), "value": {"a": {}}});
    let mut object = json!({"data": {}});
    assert!(json(&mut object, &operations(add, 90)).is_ok());
    assert!(json(&mut object, &operations(add, 200)).is_err());
    // `move` makes it deeper without a byte more.
    let wrap = |i: usize| match i % 2 {
        0 => json!({"op": "move", "from": "/a", "path": "/b/a"}),
        _ => json!({"op": "move", "from": "/b", "path": "/a"}),
    };
    let mut object = json!({"a": {}, "b": {}});
    assert!(json(&mut object, &operations(wrap, 2)).is_ok());
    assert!(json(&mut json!({"a": 1}), br#"[{"op":"copy","from":"/zz/x","path":"/y"}]"#).is_err());
}
