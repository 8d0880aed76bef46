//! Values of custom resources that do not have the type of their schema. An apply of such a value
//! is refused before it is merged: upstream cannot say which fields it would own.

use super::apply::bracket;
use super::check::unnamed;
use super::set::element;
use crate::custom::{Schema, Type};
use crate::gostr;
use crate::path::{Path, cut};
use crate::shape::{Keys, Shape};
use serde_json::Value;

/// Problems that are reported of one object.
const PROBLEMS_MAX: usize = 100;
/// Bytes of a value that a problem shows.
const SHOWN_MAX: usize = 256;

/// Returns what is wrong with the types of an applied custom resource, in upstream's words
/// (`validatingObjectWalker` of structured-merge-diff). Objects of built-in kinds have been judged
/// by the decoder; of them it returns nothing.
///
/// Example: `.spec.replicas: expected numeric (int or float), got string`.
pub fn mistyped(shape: Shape, applied: &Value) -> Vec<String> {
    let mut found = vec![];
    check(shape, applied, Path::Root, &mut found);
    found
}

/// Adds the problems of a value, or of all that is inside of it.
fn check(shape: Shape, here: &Value, path: Path, found: &mut Vec<String>) {
    let Shape::Schema(schema) = shape else { return };
    if found.len() >= PROBLEMS_MAX {
        return;
    }
    if let Some(why) = why_mistyped(schema, here) {
        found.push(format!(".{path}: {why}"));
        return;
    }
    match here {
        Value::Object(map) => {
            for (name, field) in map {
                check(shape.field(name), field, path.field(name), found);
            }
        }
        Value::Array(items) => check_items(shape, items, path, found),
        _ => {}
    }
}

/// Adds the problems of the items of a list. An item that has no name in a list with names is a
/// problem of the list ([`super::problems`]).
fn check_items(shape: Shape, items: &[Value], path: Path, found: &mut Vec<String>) {
    let keys = shape.keys();
    for (i, item) in items.iter().enumerate() {
        if keys == Keys::Atomic {
            check(shape.item(), item, path.item(i), found);
        } else if unnamed(&keys, shape, item).is_none()
            && let Some(name) = element(shape, &keys, item)
        {
            check(shape.item(), item, path.key(&bracket(&name)), found);
        }
    }
}

/// Returns why a value does not have the type of its schema; `None` if it has.
fn why_mistyped(schema: &Schema, value: &Value) -> Option<String> {
    // Of a text with another format upstream only knows that it is no list and no map.
    let is_text = matches!(schema.format.as_str(), "" | "byte");
    let is_scalar = !value.is_array() && !value.is_object();
    let fits = match schema.kind {
        Type::Any | Type::IntOrString => true,
        Type::Object => value.is_object(),
        Type::Array => value.is_array(),
        Type::String => value.is_string() || is_scalar && !is_text,
        Type::Integer | Type::Number => value.is_number(),
        Type::Boolean => value.is_boolean(),
    };
    if fits || value.is_null() {
        return None;
    }
    let shown = || format!("&{{{}}}", cut(gostr::plain(value), SHOWN_MAX));
    Some(match schema.kind {
        Type::Object => format!("expected map, got {}", shown()),
        Type::Array => format!("expected list, got {}", shown()),
        Type::Boolean => format!("expected boolean, got {}", shown()),
        Type::Integer | Type::Number => format!("expected numeric (int or float), got {}", go_type(value)),
        Type::String if is_text => {
            let shown = cut(gostr::syntax(value), SHOWN_MAX);
            format!("expected string, got &value.valueUnstructured{{Value:{shown}}}")
        }
        Type::String | Type::Any | Type::IntOrString => format!("expected any scalar, got {}", shown()),
    })
}

/// Returns the Go type of a decoded value that is neither null nor a number.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "map[string]interface {}",
        Value::Array(_) => "[]interface {}",
        Value::String(_) => "string",
        _ => "bool",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// As structured-merge-diff prints them: pointers to its own type for most values.
    #[test]
    fn a_value_of_another_type_is_told_with_its_place() {
        let of = |kind: &str| json!({"type": kind});
        let port = json!({"type": "object", "properties": {"port": of("integer"), "name": of("string")}});
        let ports = json!({"type": "array", "items": port, "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["port"]});
        let spec = json!({"type": "object", "properties": {
            "n": of("integer"), "f": of("number"), "b": of("boolean"), "s": of("string"), "m": of("object"),
            "date": {"type": "string", "format": "date-time"}, "either": {"x-kubernetes-int-or-string": true},
            "list": {"type": "array", "items": of("integer")}, "ports": ports}});
        let schema = Schema::root(&json!({"type": "object", "properties": {"spec": spec}}));
        let errors_of = |spec: Value| {
            let object = json!({"metadata": {"name": "a"}, "spec": spec});
            mistyped(Shape::Schema(&schema), &object)
        };
        for (spec, why) in [
            (json!("x"), ".spec: expected map, got &{x}"),
            (json!({"n": "x"}), ".spec.n: expected numeric (int or float), got string"),
            (json!({"f": {"a": 1}}), ".spec.f: expected numeric (int or float), got map[string]interface {}"),
            (json!({"b": "yes"}), ".spec.b: expected boolean, got &{yes}"),
            (json!({"s": 7}), ".spec.s: expected string, got &value.valueUnstructured{Value:7}"),
            (json!({"m": [1, "a"]}), ".spec.m: expected map, got &{[1 a]}"),
            (json!({"date": []}), ".spec.date: expected any scalar, got &{[]}"),
            (json!({"list": 1}), ".spec.list: expected list, got &{1}"),
            (json!({"list": [1, true]}), ".spec.list[1]: expected numeric (int or float), got bool"),
            (
                json!({"ports": [{"port": 1, "name": false}]}),
                ".spec.ports[port=1].name: expected string, got &value.valueUnstructured{Value:false}",
            ),
        ] {
            assert_eq!(errors_of(spec.clone()), [why], "{spec}");
        }
        // Other rules are for validation, and a list judges itself which items have no name.
        let fits =
            json!({"n": 1.5, "f": 1, "b": null, "date": 7, "either": "x", "list": null, "ports": [1, null]});
        assert_eq!(errors_of(fits), [""; 0]);
        let many = json!({"list": vec!["x"; 200]});
        assert_eq!(errors_of(many).len(), PROBLEMS_MAX);
    }
}
