//! The refusals of a server-side apply: an object of another type, fields that cannot be owned, and
//! fields that other managers own.

use crate::request::decode::SubresourceType;
use api::kinds::Kind;
use api::managed::Conflict;
use api::path::UnknownFields;
use api::shape::{Keys, Shape};
use api::{Status, bounds, meta, path, schema, value};
use serde_json::{Value, json};

/// Checks that an apply says which version of which kind it is. A create or an update may leave
/// both out; the fields of an apply are owned in its version (upstream: `versionCheckManager`).
///
/// # Errors
/// 400 for another type than `expected`, a version and a kind, or none.
pub(crate) fn check_says_type(expected: (&str, &str), applied: &Value) -> Result<(), Status> {
    let (version, kind) = (value::text(applied, "apiVersion"), value::text(applied, "kind"));
    match (version, kind) == expected {
        true => Ok(()),
        false => Err(Status::bad_request(format!("invalid object type: {}", go_type(version, kind)))),
    }
}

/// Returns the answer for fields that the kind's schema does not have: an apply needs to know what
/// it owns, so these are an error whatever `fieldValidation` says.
pub(super) fn undeclared(kind: &Kind, applied: &Value, unknown: &[String], count: usize) -> Status {
    let mut problems: Vec<String> = unknown
        .iter()
        .map(|field| format!("{}: field not declared in schema", managed_path(kind, applied, field)))
        .collect();
    problems.extend(path::more(count.saturating_sub(unknown.len())));
    untyped((&kind.api_version(), kind.kind), applied, &problems)
}

/// Returns the answer for a field of a built-in kind whose value has another type, in the decoder's
/// words; `None` if something else is wrong with the object.
pub(super) fn mistyped(kind: &Kind, applied: &Value) -> Option<Status> {
    let is_bounded = bounds::check_depth(applied).is_ok() && bounds::check_maps(applied).is_ok();
    if kind.custom.is_some() || !is_bounded {
        return None;
    }
    let why = schema::conform(kind, &mut applied.clone()).err()?;
    Some(untyped((&kind.api_version(), kind.kind), applied, &[why]))
}

/// As [`undeclared`], for a type that only a subresource takes.
pub(crate) fn undeclared_of(of: &SubresourceType, applied: &Value, unknown: &UnknownFields) -> Status {
    let fields = unknown.shown();
    let mut problems: Vec<String> =
        fields.iter().map(|field| format!(".{field}: field not declared in schema")).collect();
    problems.extend(path::more(unknown.count().saturating_sub(fields.len())));
    untyped((of.api_version, of.kind), applied, &problems)
}

/// As [`mistyped`], for a type that only a subresource takes.
pub(crate) fn untyped_of(of: &SubresourceType, applied: &Value) -> Option<Status> {
    Some(untyped((of.api_version, of.kind), applied, &[of.mistyped(applied)?]))
}

/// Returns the answer for an object whose fields cannot be owned: 500, because upstream has no
/// reason for it (`structuredMergeManager.Apply`).
pub(super) fn untyped((api_version, kind): (&str, &str), applied: &Value, problems: &[String]) -> Status {
    let message = match problems {
        [one] => one.clone(),
        many => format!("errors:\n  {}", many.join("\n  ")),
    };
    let (namespace, name) = (meta::namespace(applied), meta::name(applied));
    let of = go_type(api_version, kind);
    let why = format!("failed to create typed patch object ({namespace}/{name}; {of}): {message}");
    Status::new(500, "", why)
}

/// `apps/v1, Kind=Deployment` or, in the core group, `/v1, Kind=Pod`: how Go prints a
/// `GroupVersionKind`.
fn go_type(api_version: &str, kind: &str) -> String {
    let slash = if api_version.contains('/') { "" } else { "/" };
    format!("{slash}{api_version}, Kind={kind}")
}

/// `spec.containers[0].foo` as managed fields write it: `.spec.containers[name="c"].foo`.
fn managed_path(kind: &Kind, object: &Value, field: &str) -> String {
    let mut out = String::new();
    let (mut here, mut shape) = (object, Shape::of(kind));
    for step in field.split('.') {
        let (name, indexes) = step.split_once('[').unwrap_or((step, ""));
        out.push('.');
        out.push_str(name);
        (here, shape) = (here.get(name).unwrap_or(&Value::Null), shape.field(name));
        for index in indexes.split('[').map(|i| i.trim_end_matches(']')).filter(|i| !i.is_empty()) {
            here = index.parse::<usize>().ok().and_then(|i| here.get(i)).unwrap_or(&Value::Null);
            let named = match shape.keys() {
                Keys::By(keys) => {
                    let of = |key: &String| format!("{key}={}", here.get(key).unwrap_or(&Value::Null));
                    keys.iter().map(of).collect::<Vec<_>>().join(",")
                }
                Keys::Atomic | Keys::Set => index.into(),
            };
            out.push_str(&format!("[{named}]"));
            shape = shape.item();
        }
    }
    out
}

/// Returns the answer for fields that other managers own (409). It names these `conflicts`, out of
/// `n`.
pub(super) fn conflict(conflicts: &[Conflict], n: usize) -> Status {
    let s = if n == 1 { "" } else { "s" };
    let text = match conflicts {
        [one] => format!("conflict with {}: {}", one.manager, one.field),
        many => {
            let mut lines = String::new();
            let mut manager = "";
            for c in many {
                if c.manager != manager {
                    lines.push_str(&format!(
                        "{}conflicts with {}:",
                        if lines.is_empty() { "" } else { "\n" },
                        c.manager
                    ));
                    manager = &c.manager;
                }
                lines.push_str(&format!("\n- {}", c.field));
            }
            if n > many.len() {
                lines.push_str(&format!("\nand {} more", n - many.len()));
            }
            lines
        }
    };
    let causes: Vec<Value> = conflicts
        .iter()
        .map(|c| json!({"reason": "FieldManagerConflict", "message": format!("conflict with {}", c.manager), "field": c.field}))
        .collect();
    Status::new(409, "Conflict", format!("Apply failed with {n} conflict{s}: {text}"))
        .with(json!({"causes": causes}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::kinds;

    #[test]
    fn conflicts_are_told_by_their_managers() {
        let of = |manager: &str, field: &str| Conflict { manager: manager.into(), field: field.into() };
        let all = [of("\"a\"", ".spec.x"), of("\"a\"", ".spec.y"), of("\"b\"", ".spec.z")];
        let one = conflict(&all[..1], 1);
        assert_eq!(one.message, "Apply failed with 1 conflict: conflict with \"a\": .spec.x");
        let many = conflict(&all, 5);
        let lines =
            "conflicts with \"a\":\n- .spec.x\n- .spec.y\nconflicts with \"b\":\n- .spec.z\nand 2 more";
        assert_eq!((many.code, many.message), (409, format!("Apply failed with 5 conflicts: {lines}")));
        let cause =
            json!({"reason": "FieldManagerConflict", "message": "conflict with \"b\"", "field": ".spec.z"});
        assert_eq!(many.details["causes"][2], cause);
    }

    #[test]
    fn undeclared_fields_are_told_as_upstream_tells_them() {
        let kind = kinds::find("", "v1", "Pod").unwrap();
        let pod = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {"foo": 1, "containers": [{"name": "c", "x": 1}]}});
        let one = undeclared(kind, &pod, &["spec.containers[0].x".into()], 1);
        assert_eq!(
            one.message,
            "failed to create typed patch object (n/p; /v1, Kind=Pod): .spec.containers[name=\"c\"].x: field not declared in schema"
        );
        let two = undeclared(kind, &pod, &["spec.foo".into(), "spec.containers[0].x".into()], 2);
        assert!(two.message.ends_with(
            "errors:\n  .spec.foo: field not declared in schema\n  .spec.containers[name=\"c\"].x: field not declared in schema"
        ));
    }
}
