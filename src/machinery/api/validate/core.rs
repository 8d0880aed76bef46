//! ConfigMaps, Secrets, Events, Nodes, Leases, PriorityClasses.

use super::names;
use crate::errors::Errors;
use crate::meta;
use crate::value::{at, empty, flag, int, list, map, text};
use serde_json::Value;
use std::collections::HashSet;

const SIZE_MAX: usize = 1024 * 1024;

/// Checks the keys of a map and returns how large its values are together.
fn keys(object: &Value, path: &str, size_of: fn(&str) -> usize, errors: &mut Errors) -> usize {
    let mut size = 0;
    for (key, value) in map(object, path).into_iter().flatten() {
        for problem in names::config_key(key) {
            errors.invalid_text(format!("{path}[{key}]"), key, &problem);
        }
        size += value.as_str().map_or(0, size_of);
    }
    size
}

/// Bytes that a text in base64 stands for.
fn decoded(text: &str) -> usize {
    let padding = text.bytes().rev().take_while(|b| *b == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}

pub fn config_map(object: &Value, errors: &mut Errors) {
    let size = keys(object, "data", str::len, errors) + keys(object, "binaryData", decoded, errors);
    for key in map(object, "binaryData").into_iter().flatten().map(|(k, _)| k) {
        if at(object, "data").get(key).is_some() {
            errors.invalid_text(format!("data[{key}]"), key, "duplicate of key present in binaryData");
        }
    }
    if size > SIZE_MAX {
        errors.too_long("", SIZE_MAX);
    }
}

fn immutable(new: &Value, old: &Value, paths: &[&str], errors: &mut Errors) {
    if !flag(old, "immutable") {
        return;
    }
    if !flag(new, "immutable") {
        errors.forbidden("immutable", "field is immutable when `immutable` is set");
    }
    for path in paths {
        if at(new, path) != at(old, path) {
            errors.forbidden(*path, "field is immutable when `immutable` is set");
        }
    }
}

pub fn config_map_update(new: &Value, old: &Value, errors: &mut Errors) {
    immutable(new, old, &["data", "binaryData"], errors);
}

pub fn secret(object: &Value, errors: &mut Errors) {
    if keys(object, "data", decoded, errors) > SIZE_MAX {
        errors.too_long("data", SIZE_MAX);
    }
    let need = |key: &str, errors: &mut Errors| {
        if at(object, "data").get(key).is_none() {
            errors.required(format!("data[{key}]"), "");
        }
    };
    match text(object, "type") {
        "kubernetes.io/service-account-token"
            if meta::annotation(object, "kubernetes.io/service-account.name").unwrap_or("").is_empty() =>
        {
            errors.required("metadata.annotations[kubernetes.io/service-account.name]", "");
        }
        "kubernetes.io/dockerconfigjson" => {
            need(".dockerconfigjson", errors);
            is_json(object, ".dockerconfigjson", errors);
        }
        "kubernetes.io/dockercfg" => {
            need(".dockercfg", errors);
            is_json(object, ".dockercfg", errors);
        }
        "kubernetes.io/basic-auth" => {
            let has = |key: &str| at(object, "data").get(key).is_some();
            if !has("username") && !has("password") {
                errors.required("data[username]", "");
                errors.required("data[password]", "");
            }
        }
        "kubernetes.io/ssh-auth" => need("ssh-privatekey", errors),
        "kubernetes.io/tls" => {
            need("tls.crt", errors);
            need("tls.key", errors);
        }
        _ => {}
    }
}

/// A file that is no JSON would be found out only when an image is pulled. Its content is a secret
/// and is not told.
fn is_json(object: &Value, key: &str, errors: &mut Errors) {
    use base64::Engine as _;
    let Some(said) = at(object, "data").get(key).and_then(Value::as_str) else { return };
    let decoded = base64::engine::general_purpose::STANDARD.decode(said).unwrap_or_default();
    if serde_json::from_slice::<serde_json::Map<String, Value>>(&decoded).is_err() {
        errors.invalid_text(format!("data[{key}]"), "<secret contents redacted>", "invalid JSON");
    }
}

pub fn secret_update(new: &Value, old: &Value, errors: &mut Errors) {
    if text(new, "type") != text(old, "type") {
        errors.invalid("type", at(new, "type"), super::IMMUTABLE);
    }
    immutable(new, old, &["data"], errors);
}

/// Bytes of an Event's short texts, and of its message (`ReportingInstanceLengthLimit`,
/// `NoteLengthLimit`).
const EVENT_TEXT_MAX: usize = 128;
const EVENT_MESSAGE_MAX: usize = 1024;

/// An Event of `v1`, where the component that reports has another name.
pub fn event(object: &Value, errors: &mut Errors) {
    any_event(object, "reportingComponent", errors);
}

/// An Event of `events.k8s.io/v1`, in its stored form.
pub fn event_of_its_group(object: &Value, errors: &mut Errors) {
    any_event(object, "reportingController", errors);
}

/// What both versions ask of an Event (`legacyValidateEvent`). One with an `eventTime` was made by
/// the new API, whose fields it has to have.
fn any_event(object: &Value, controller_field: &str, errors: &mut Errors) {
    let (namespace, involved) = (meta::namespace(object), text(object, "involvedObject.namespace"));
    let is_new = !text(object, "eventTime").is_empty();
    let fits = match (involved, is_new) {
        ("", true) => matches!(namespace, "default" | "kube-system"),
        ("", false) => matches!(namespace, "" | "default"),
        (involved, false) => involved == namespace,
        (_, true) => true,
    };
    if !fits {
        errors.invalid_text("involvedObject.namespace", involved, "does not match event.namespace");
    }
    if !is_new {
        return;
    }
    let controller = text(object, "reportingComponent");
    if controller.is_empty() {
        errors.required(controller_field, "");
    }
    for problem in names::qualified_name(controller) {
        errors.invalid_text(controller_field, controller, &problem);
    }
    for field in ["reportingInstance", "action", "reason"] {
        match text(object, field).len() {
            0 => errors.required(field, ""),
            length if length > EVENT_TEXT_MAX => {
                errors.invalid_text(field, "", &format!("can have at most {EVENT_TEXT_MAX} characters"));
            }
            _ => {}
        }
    }
    if text(object, "message").len() > EVENT_MESSAGE_MAX {
        errors.invalid_text("message", "", &format!("can have at most {EVENT_MESSAGE_MAX} characters"));
    }
}

/// What `events.k8s.io/v1` asks for beyond that, of a stored form (`ValidateEventCreate`,
/// `ValidateEventUpdate`). The fields have the names of the stored form, as upstream's.
pub fn new_event(object: &Value, old: Option<&Value>, errors: &mut Errors) {
    if old.is_none_or(|old| at(old, "series") != at(object, "series")) && !at(object, "series").is_null() {
        if int(object, "series.count").unwrap_or(0) < 2 {
            errors.invalid_text("series.count", "", "should be at least 2");
        }
        if text(object, "series.lastObservedTime").is_empty() {
            errors.required("series.lastObservedTime", "");
        }
    }
    if let Some(old) = old {
        for field in [
            "involvedObject",
            "reason",
            "message",
            "source",
            "firstTimestamp",
            "lastTimestamp",
            "count",
            "type",
            "eventTime",
            "action",
            "related",
            "reportingComponent",
            "reportingInstance",
        ] {
            if at(object, field) != at(old, field) {
                let name = if field == "reportingComponent" { "reportingController" } else { field };
                errors.invalid(name, at(object, field), super::IMMUTABLE);
            }
        }
        return;
    }
    if text(object, "eventTime").is_empty() {
        errors.required("eventTime", "");
    }
    let kind = text(object, "type");
    if !matches!(kind, "Normal" | "Warning") {
        errors.invalid_text("type", "", &format!("has invalid value: {kind}"));
    }
    let is_set = [
        ("firstTimestamp", !text(object, "firstTimestamp").is_empty()),
        ("lastTimestamp", !text(object, "lastTimestamp").is_empty()),
        ("count", int(object, "count").unwrap_or(0) != 0),
        ("source", ["component", "host"].iter().any(|part| !text(at(object, "source"), part).is_empty())),
    ];
    for (field, _) in is_set.into_iter().filter(|(_, is_set)| *is_set) {
        errors.invalid_text(field, "", "needs to be unset");
    }
}

pub fn node(object: &Value, errors: &mut Errors) {
    let mut seen: HashSet<(&str, &str)> = HashSet::new();
    for (i, taint) in list(object, "spec.taints").iter().enumerate() {
        for problem in names::qualified_name(text(taint, "key")) {
            errors.invalid_text(format!("spec.taints[{i}].key"), text(taint, "key"), &problem);
        }
        for problem in names::label_value(text(taint, "value")) {
            errors.invalid_text(format!("spec.taints[{i}].value"), text(taint, "value"), &problem);
        }
        let effect = text(taint, "effect");
        if effect.is_empty() {
            errors.required(format!("spec.taints[{i}].effect"), "");
        } else if !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
            errors.not_supported(
                format!("spec.taints[{i}].effect"),
                at(taint, "effect"),
                &["NoSchedule", "PreferNoSchedule", "NoExecute"],
            );
        }
        if !seen.insert((text(taint, "key"), effect)) {
            errors.duplicate(format!("spec.taints[{i}]"), taint);
        }
    }
}

pub fn node_update(new: &Value, old: &Value, errors: &mut Errors) {
    const RANGES: &str = "spec.podCIDRs";
    if !empty(old, RANGES) && at(new, RANGES) != at(old, RANGES) {
        errors.forbidden(RANGES, "node updates may not change podCIDR except from \"\" to valid");
    }
    for path in ["spec.podCIDR", "spec.providerID"] {
        if !text(old, path).is_empty() && at(new, path) != at(old, path) {
            let what = if path == "spec.podCIDR" {
                "node updates may not change podCIDR except from \"\" to valid"
            } else {
                "node updates may not change providerID except from \"\" to valid"
            };
            errors.forbidden(path, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::problems;
    use serde_json::json;

    fn made_by_the_new_api() -> Value {
        json!({"metadata": {"name": "e", "namespace": "default"}, "eventTime": "2026-01-02T03:04:05.000006Z",
            "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}, "type": "Normal", "reason": "R",
            "message": "m", "reportingComponent": "x", "reportingInstance": "y", "action": "z"})
    }

    fn fields(check: impl FnOnce(&mut Errors)) -> Vec<String> {
        let mut errors = Errors::default();
        check(&mut errors);
        errors.iter().map(|e| e.field.to_string()).collect()
    }

    #[test]
    fn the_ranges_of_a_node_stay_as_they_are() {
        let node = |range: &str| json!({"spec": {"podCIDR": "10.244.3.0/24", "podCIDRs": [range]}});
        let told = |new: &str| {
            let mut errors = Errors::default();
            node_update(&node(new), &node("10.244.3.0/24"), &mut errors);
            errors.iter().count()
        };
        assert_eq!((told("10.244.3.0/24"), told("10.9.0.0/24")), (0, 1));
    }

    #[test]
    fn padding_of_base64_takes_no_room() {
        use base64::Engine as _;
        let of = |size: usize| base64::engine::general_purpose::STANDARD.encode(vec![7; size]);
        for (size, fits) in [(SIZE_MAX - 1, true), (SIZE_MAX, true), (SIZE_MAX + 1, false)] {
            let map = json!({"binaryData": {"key": of(size)}});
            assert_eq!(fields(|errors| config_map(&map, errors)).is_empty(), fits, "{size}");
            let one = json!({"data": {"key": of(size)}});
            assert_eq!(fields(|errors| secret(&one, errors)).is_empty(), fits, "{size}");
        }
    }

    #[test]
    fn an_event_is_asked_for_the_fields_of_the_api_that_made_it() {
        let of = |event: &Value| fields(|errors| super::event(event, errors));
        let old = |namespace: &str, involved: &str| json!({"metadata": {"name": "e", "namespace": namespace}, "involvedObject": {"namespace": involved}});
        assert!(of(&old("default", "")).is_empty() && of(&old("d", "d")).is_empty());
        for (namespace, involved) in [("d", ""), ("d", "e"), ("kube-system", "")] {
            assert_eq!(of(&old(namespace, involved)), ["involvedObject.namespace"], "{namespace} {involved}");
        }
        let new = made_by_the_new_api();
        assert!(of(&new).is_empty());
        let mut poor = new.clone();
        poor["action"] = "".into();
        poor["reason"] = "r".repeat(129).into();
        poor["message"] = "m".repeat(1025).into();
        poor["reportingComponent"] = "no name".into();
        assert_eq!(of(&poor), ["reportingComponent", "action", "reason", "message"]);
        let of_group = fields(|errors| event_of_its_group(&poor, errors));
        assert_eq!(of_group, ["reportingController", "action", "reason", "message"]);
    }

    #[test]
    fn the_new_api_of_events_takes_no_old_fields_and_no_changes() {
        let new = made_by_the_new_api();
        let create = |event: &Value| fields(|errors| new_event(event, None, errors));
        let update = |event: &Value| fields(|errors| new_event(event, Some(&new), errors));
        assert!(create(&new).is_empty() && update(&new).is_empty());
        let mut event = new.clone();
        event["eventTime"] = Value::Null;
        event["type"] = "Odd".into();
        event["count"] = 2.into();
        event["lastTimestamp"] = "2026-01-02T03:04:05Z".into();
        event["source"] = json!({"component": "x"});
        event["series"] = json!({"count": 1});
        let wanted = [
            "series.count",
            "series.lastObservedTime",
            "eventTime",
            "type",
            "lastTimestamp",
            "count",
            "source",
        ];
        assert_eq!(create(&event), wanted);
        let mut changed = new.clone();
        changed["message"] = "another".into();
        changed["reportingComponent"] = "z".into();
        assert_eq!(update(&changed), ["message", "reportingController"]);
        changed = new.clone();
        changed["series"] = json!({"count": 2, "lastObservedTime": "2026-01-02T03:04:06.000000Z"});
        assert!(update(&changed).is_empty());
    }

    #[test]
    fn a_secret_has_what_its_type_promises() {
        let told = |kind: &str, data: Value| problems(secret, json!({"type": kind, "data": data}));
        // {"auths":{}} and {"auths"
        assert_eq!(
            told("kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": "eyJhdXRocyI6e319"})),
            [""; 0]
        );
        assert_eq!(
            told("kubernetes.io/dockerconfigjson", json!({".dockerconfigjson": "eyJhdXRocyI="})),
            ["data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": invalid JSON"]
        );
        assert_eq!(told("kubernetes.io/basic-auth", json!({"password": ""})), [""; 0]);
        assert_eq!(
            told("kubernetes.io/basic-auth", json!({"user": "YQ=="})),
            ["data[username]: Required value", "data[password]: Required value"]
        );
    }
}
