//! Annotations that mean something for a pod: the mark of a mirror pod, the cost of a deletion, and
//! the profiles of seccomp and AppArmor that were set in this way before there were fields, as were
//! tolerations
//! (`ValidatePodSpecificAnnotations`, KEP-135, KEP-24).

use super::lists::GROUPS;
use super::scheduling;
use super::volumes::descending;
use crate::errors::Errors;
use crate::gostr;
use crate::meta::annotation;
use crate::value::{at, list, list_mut, pairs, put, text};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};

/// The annotation that a kubelet writes into the mirror of a static pod.
pub(crate) const MIRROR: &str = "kubernetes.io/config.mirror";
/// What a ReplicaSet goes by when it deletes pods.
pub(crate) const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// The profile of a container is in the annotation of this prefix and the container's name.
pub(crate) const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
/// As [`APP_ARMOR`], for seccomp.
pub(crate) const SECCOMP: &str = "container.seccomp.security.alpha.kubernetes.io/";
pub(crate) const SECCOMP_OF_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";

/// Tolerations as JSON. Nothing reads them any more; upstream still judges them.
const TOLERATIONS: &str = "scheduler.alpha.kubernetes.io/tolerations";

/// Checks the tolerations in the annotation of a pod or a template, which is reported below `field`
/// (`ValidateTolerationsInPodAnnotations`).
pub(crate) fn check_tolerations(owner: &Value, field: &str, errors: &mut Errors) {
    let Some(noted) = annotation(owner, TOLERATIONS).filter(|noted| !noted.is_empty()) else { return };
    match read_tolerations(noted) {
        Ok(all) => scheduling::tolerations(&all, &format!("{field}.{TOLERATIONS}"), errors),
        Err(why) => errors.invalid_text(field, TOLERATIONS, why),
    }
}

/// Reads a list of tolerations. As in Go the case of the names of fields does not count.
///
/// # Errors
/// The text is no such list.
fn read_tolerations(text: &str) -> Result<Vec<Value>, &'static str> {
    const FIELDS: [&str; 5] = ["key", "operator", "value", "effect", "tolerationSeconds"];
    let all = match serde_json::from_str(text) {
        Ok(Value::Array(all)) => all,
        Ok(Value::Null) => return Ok(vec![]),
        Err(why) if why.is_eof() => return Err("unexpected end of JSON input"),
        Ok(_) | Err(_) => return Err("must be a list of tolerations in JSON"),
    };
    let mut read = vec![];
    for one in all {
        let mut toleration = serde_json::Map::new();
        match one {
            Value::Object(fields) => {
                for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_null()) {
                    let Some(known) = FIELDS.iter().find(|known| known.eq_ignore_ascii_case(&name)) else {
                        continue;
                    };
                    let fits = if *known == "tolerationSeconds" { value.is_i64() } else { value.is_string() };
                    if !fits {
                        return Err("must be a list of tolerations in JSON");
                    }
                    toleration.insert((*known).to_string(), value);
                }
            }
            Value::Null => {}
            _ => return Err("must be a list of tolerations in JSON"),
        }
        read.push(Value::Object(toleration));
    }
    Ok(read)
}

/// Checks the profiles in the annotations of a pod or a template, which are reported below `field`.
pub(crate) fn check_profiles(owner: &Value, field: &str, errors: &mut Errors) {
    let spec = at(owner, "spec");
    let containers = GROUPS.iter().flat_map(|group| list(spec, group));
    let names: HashSet<&str> = containers.map(|container| text(container, "name")).collect();
    for (key, profile) in pairs(owner, "metadata.annotations") {
        if key == SECCOMP_OF_POD || key.starts_with(SECCOMP) {
            seccomp(profile, &format!("{field}.{key}"), errors);
        }
        let Some(container) = key.strip_prefix(APP_ARMOR) else { continue };
        let field = format!("{field}[{key}]");
        if !names.contains(container) {
            errors.invalid_text(&*field, container, "container not found");
        }
        let is_known = matches!(profile, "" | "runtime/default" | "unconfined");
        if !is_known && !profile.starts_with("localhost/") {
            let why = format!("invalid AppArmor profile name: {}", gostr::quote(profile));
            errors.invalid_text(field, profile, &why);
        }
    }
}

fn seccomp(profile: &str, field: &str, errors: &mut Errors) {
    match profile.strip_prefix("localhost/") {
        Some(path) => descending(path, field, errors),
        None if matches!(profile, "runtime/default" | "docker/default" | "unconfined") => {}
        None => errors.invalid_text(field, profile, "must be a valid seccomp profile"),
    }
}

/// Checks that a profile that is both in an annotation and in a field is the same. `field` is the
/// path of the spec.
pub(crate) fn check_agreement(owner: &Value, field: &str, errors: &mut Errors) {
    const SECCOMP_FIELD: &str = "securityContext.seccompProfile";
    const APP_ARMOR_FIELD: &str = "securityContext.appArmorProfile";
    let spec = at(owner, "spec");
    let mut compare = |key: &str, profile: &Value, place: &str, what: &str| {
        let Some(part) = annotation(owner, key).and_then(|noted| difference(noted, profile, what)) else {
            return;
        };
        let named = if part == "type" { "type" } else { "profile" };
        let why = format!("{what} {named} in annotation and field must match");
        errors.forbidden(format!("{place}.{part}"), &why);
    };
    compare(SECCOMP_OF_POD, at(spec, SECCOMP_FIELD), &format!("{field}.{SECCOMP_FIELD}"), "seccomp");
    let is_windows = text(spec, "os.name") == "windows";
    for group in GROUPS {
        for (i, container) in list(spec, group).iter().enumerate() {
            let (here, name) = (format!("{field}.{group}[{i}]"), text(container, "name"));
            let place = format!("{here}.{SECCOMP_FIELD}");
            compare(&format!("{SECCOMP}{name}"), at(container, SECCOMP_FIELD), &place, "seccomp");
            let own = at(container, APP_ARMOR_FIELD);
            let profile = if own.is_null() { at(spec, APP_ARMOR_FIELD) } else { own };
            if !is_windows {
                let place = format!("{here}.{APP_ARMOR_FIELD}");
                compare(&format!("{APP_ARMOR}{name}"), profile, &place, "apparmor");
            }
        }
    }
}

/// Returns the part of a profile that is not what its annotation says.
fn difference(noted: &str, profile: &Value, what: &str) -> Option<&'static str> {
    let is_same_type = match text(profile, "type") {
        "Unconfined" => noted == "unconfined",
        "RuntimeDefault" => noted == "runtime/default" || (what == "seccomp" && noted == "docker/default"),
        "Localhost" => noted.starts_with("localhost/"),
        _ => return None, // none, or one that is refused
    };
    let path = noted.strip_prefix("localhost/");
    match is_same_type {
        false => Some("type"),
        true if path.is_some() && path != at(profile, "localhostProfile").as_str() => {
            Some("localhostProfile")
        }
        true => None,
    }
}

/// Copies the profiles of AppArmor from the annotations of a new pod to the fields that it leaves
/// out (`applyAppArmorVersionSkew`).
pub(crate) fn fill_app_armor(pod: &mut Value) {
    if text(pod, "spec.os.name") == "windows" {
        return;
    }
    let noted = pairs(pod, "metadata.annotations")
        .filter_map(|(key, noted)| Some((key.strip_prefix(APP_ARMOR)?, app_armor(noted)?)));
    let profiles: HashMap<String, Value> = noted.map(|(name, profile)| (name.to_string(), profile)).collect();
    if profiles.is_empty() {
        return;
    }
    const FIELD: &str = "securityContext.appArmorProfile";
    let of_pod = at(pod, &format!("spec.{FIELD}")).clone();
    for group in GROUPS {
        for container in list_mut(pod, &format!("spec.{group}")) {
            let Some(profile) = profiles.get(text(container, "name")) else { continue };
            if at(container, FIELD).is_null() && *profile != of_pod {
                put(container, FIELD, profile.clone());
            }
        }
    }
}

/// Returns the field that means the same as an annotation, if it is a valid one.
pub(crate) fn app_armor(noted: &str) -> Option<Value> {
    const PATH_MAX: usize = 4095;
    match (noted, noted.strip_prefix("localhost/")) {
        ("unconfined", _) => Some(json!({"type": "Unconfined"})),
        ("runtime/default", _) => Some(json!({"type": "RuntimeDefault"})),
        (_, Some(path)) if !path.is_empty() && path.trim() == path && path.len() <= PATH_MAX => {
            Some(json!({"type": "Localhost", "localhostProfile": path}))
        }
        _ => None,
    }
}

/// Checks that a mirror pod names its node: a static pod is one of a kubelet. `field` is the path
/// of the annotations.
pub(crate) fn check_mirror(owner: &Value, field: &str, errors: &mut Errors) {
    if let Some(hash) = annotation(owner, MIRROR).filter(|_| text(owner, "spec.nodeName").is_empty()) {
        let why = "must set spec.nodeName if mirror pod annotation is set";
        errors.invalid_text(format!("{field}[{MIRROR}]"), hash, why);
    }
}

/// True for a cost that controllers can read, or for none.
pub(crate) fn has_good_cost(owner: &Value) -> bool {
    annotation(owner, DELETION_COST).is_none_or(|cost| {
        let is_plain = cost == "0" || !cost.starts_with(['+', '0']);
        is_plain && cost.parse::<i32>().is_ok()
    })
}

/// Checks the cost of a deletion. `field` is the path of the annotations.
pub(crate) fn check_cost(owner: &Value, field: &str, errors: &mut Errors) {
    if !has_good_cost(owner) {
        let cost = annotation(owner, DELETION_COST).unwrap_or_default();
        errors.invalid_text(format!("{field}[{DELETION_COST}]"), cost, "must be a 32bit integer");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(annotations: Value, context: Value) -> Value {
        let container = json!({"name": "c", "image": "x", "securityContext": context});
        json!({"metadata": {"name": "p", "annotations": annotations}, "spec": {"containers": [container]}})
    }

    fn errors_of(check: fn(&Value, &str, &mut Errors), pod: &Value, field: &str) -> Vec<String> {
        let mut errors = Errors::default();
        check(pod, field, &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn profiles_in_annotations_are_known_ones() {
        let of = |key: &str, profile: &str| {
            errors_of(check_profiles, &pod(json!({key: profile}), Value::Null), "metadata.annotations")
        };
        let (seccomp, app_armor) = (format!("{SECCOMP}c"), format!("{APP_ARMOR}c"));
        for key in [SECCOMP_OF_POD, &seccomp, &app_armor] {
            for good in ["runtime/default", "unconfined", "localhost/a/b"] {
                assert_eq!(of(key, good), [""; 0], "{key} {good}");
            }
        }
        let field = format!("metadata.annotations.{SECCOMP_OF_POD}");
        assert_eq!(
            of(SECCOMP_OF_POD, "x"),
            [format!("{field}: Invalid value: \"x\": must be a valid seccomp profile")]
        );
        assert_eq!(
            of(SECCOMP_OF_POD, "localhost/../x"),
            [format!("{field}: Invalid value: \"../x\": must not contain '..'")]
        );
        let field = format!("metadata.annotations[{app_armor}]");
        assert_eq!(
            of(&app_armor, "x"),
            [format!("{field}: Invalid value: \"x\": invalid AppArmor profile name: \"x\"")]
        );
        let other = format!("{APP_ARMOR}d");
        assert_eq!(
            of(&other, "unconfined"),
            [format!("metadata.annotations[{other}]: Invalid value: \"d\": container not found")]
        );
    }

    #[test]
    fn tolerations_in_an_annotation_are_judged() {
        let of = |noted: &str| {
            let pod = pod(json!({ TOLERATIONS: noted }), Value::Null);
            errors_of(check_tolerations, &pod, "metadata.annotations")
        };
        for good in ["", "null", "[]", r#"[{"key": "a", "Operator": "Exists", "other": 1}]"#] {
            assert_eq!(of(good), [""; 0], "{good}");
        }
        assert_eq!(of("[null]").len(), 1, "one without a key has to be for all");
        let field = format!("metadata.annotations.{TOLERATIONS}[0]");
        let why = "Unsupported value: \"Foo\": supported values: \"Equal\", \"Exists\"";
        assert_eq!(of(r#"[{"key": "a", "operator": "Foo"}]"#), [format!("{field}.operator: {why}")]);
        let whole = format!("metadata.annotations: Invalid value: {TOLERATIONS:?}");
        assert_eq!(of("[{"), [format!("{whole}: unexpected end of JSON input")]);
        for bad in ["x", "{}", "[1]", r#"[{"key": 1}]"#, r#"[{"tolerationSeconds": 1.5}]"#] {
            assert_eq!(of(bad), [format!("{whole}: must be a list of tolerations in JSON")], "{bad}");
        }
    }

    #[test]
    fn an_annotation_and_its_field_say_the_same() {
        let of = |key: &str, profile: &str, context: Value| {
            errors_of(check_agreement, &pod(json!({key: profile}), context), "spec")
        };
        let (seccomp, app_armor) = (format!("{SECCOMP}c"), format!("{APP_ARMOR}c"));
        let local = json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "a"}});
        assert_eq!(of(&seccomp, "localhost/a", local.clone()), [""; 0]);
        let place = "spec.containers[0].securityContext";
        assert_eq!(
            of(&seccomp, "localhost/b", local.clone()),
            [format!(
                "{place}.seccompProfile.localhostProfile: Forbidden: seccomp profile in annotation and field must match"
            )]
        );
        assert_eq!(
            of(&seccomp, "unconfined", local),
            [format!(
                "{place}.seccompProfile.type: Forbidden: seccomp type in annotation and field must match"
            )]
        );
        let default = json!({"appArmorProfile": {"type": "RuntimeDefault"}});
        assert_eq!(of(&app_armor, "runtime/default", default.clone()), [""; 0]);
        assert_eq!(
            of(&app_armor, "docker/default", default),
            [format!(
                "{place}.appArmorProfile.type: Forbidden: apparmor type in annotation and field must match"
            )]
        );
        assert_eq!(of(&seccomp, "unconfined", Value::Null), [""; 0]);
    }

    #[test]
    fn a_profile_of_app_armor_is_copied_to_its_field() {
        let filled = |profile: &str, context: Value| {
            let key = format!("{APP_ARMOR}c");
            let mut pod = pod(json!({key: profile}), context);
            fill_app_armor(&mut pod);
            at(&list(&pod, "spec.containers")[0], "securityContext.appArmorProfile").clone()
        };
        assert_eq!(filled("runtime/default", Value::Null), json!({"type": "RuntimeDefault"}));
        let local = json!({"type": "Localhost", "localhostProfile": "a"});
        assert_eq!(filled("localhost/a", json!({"runAsUser": 1})), local);
        assert_eq!(filled("localhost/", Value::Null), Value::Null);
        let own = json!({"type": "Unconfined"});
        assert_eq!(filled("runtime/default", json!({"appArmorProfile": own})), own);
    }
}
