//! Namespaces: divide names and rights among users and applications. The controller deletes the
//! objects of a namespace before the namespace itself.

use crate::errors::Errors;
use crate::kinds::entry::{Kind, of, status, sub};
use crate::meta;
use crate::table::cells::{Printer, age, name};
use crate::validate::fields::finalizer_name;
use crate::validate::names::dns_label;
use crate::value::{self, list, put, text};
use k8s_openapi::api::core::v1::Namespace;
use serde_json::{Value, json};
use std::collections::HashSet;

pub(super) fn kind() -> Kind {
    Kind {
        short_names: &["ns"],
        verbs: &["create", "delete", "get", "list", "patch", "update", "watch"],
        subresources: vec![sub("finalize", "Namespace", &["update"]), status("Namespace")],
        has_status: true,
        name_rule: dns_label,
        defaults,
        prepare,
        prepare_update,
        prepare_status_update,
        prepare_delete,
        validate_create,
        validate_status_update,
        validate_subresource,
        fields: &[("status.phase", "status.phase")],
        printer: Some(&PRINTER),
        ..of::<Namespace>()
    }
}

fn defaults(object: &mut Value) {
    let name = meta::name(object).to_string();
    if !name.is_empty() {
        value::slot_map(object, "metadata.labels").insert("kubernetes.io/metadata.name".into(), name.into());
    }
}

fn prepare(object: &mut Value) {
    put(object, "status", json!({"phase": "Active"}));
    let slot = value::slot_map(object, "spec").entry("finalizers").or_insert(Value::Null);
    match slot {
        Value::Array(list) => {
            if !list.iter().any(|f| f == "kubernetes") {
                list.push("kubernetes".into());
            }
        }
        other => *other = json!(["kubernetes"]),
    }
}

/// Keeps `spec.finalizers`, which change through `/finalize` only.
fn prepare_update(new: &mut Value, old: &Value) {
    value::copy(old, new, "spec.finalizers");
}

/// Fills in the phase: a status without one is that of a namespace that stays
/// (`SetDefaults_NamespaceStatus` upstream).
fn prepare_status_update(new: &mut Value, _: &Value, _: &str) {
    defaults(new);
    value::default_zero(new, "status.phase", "Active");
}

fn prepare_delete(object: &mut Value) {
    put(object, "status.phase", "Terminating");
}

/// Checks the finalizers: one that no controller takes off would keep the namespace for ever. Those
/// that are stored are not judged again, or a namespace that has a wrong one could not be changed.
fn validate_create(object: &Value, errors: &mut Errors) {
    for finalizer in list(object, FINALIZERS).iter().filter_map(Value::as_str) {
        finalizer_name(finalizer, FINALIZERS, errors);
    }
}

/// Where the finalizers are that controllers take off once the namespace is empty.
const FINALIZERS: &str = "spec.finalizers";

/// Checks the phase, which says whether the namespace is being deleted. The server sets it, and
/// nothing would correct another one.
fn validate_status_update(new: &Value, _: &Value, errors: &mut Errors) {
    let (phase, why) = match meta::is_terminating(new) {
        false => ("Active", "may only be 'Active' if `deletionTimestamp` is empty"),
        true => ("Terminating", "may only be 'Terminating' if `deletionTimestamp` is not empty"),
    };
    let given = text(new, "status.phase");
    if given != phase {
        errors.invalid_text("status.Phase", given, why);
    }
}

/// Judges the finalizers that a write of `/finalize` adds. Upstream judges the stored ones, too:
/// the namespace controller could then not take one off as long as a wrong one stays.
fn validate_subresource(new: &Value, old: &Value, subresource: &str, errors: &mut Errors) {
    if subresource != "finalize" {
        return;
    }
    let stored: HashSet<&Value> = list(old, FINALIZERS).iter().collect();
    for (i, finalizer) in list(new, FINALIZERS).iter().enumerate() {
        if stored.contains(finalizer) {
            continue;
        }
        let name = finalizer.as_str().unwrap_or_default();
        finalizer_name(name, &format!("{FINALIZERS}[{i}]"), errors);
    }
}

static PRINTER: Printer = Printer {
    columns: &[("Name", "string", false), ("Status", "string", false), ("Age", "string", false)],
    cells: |o, now| vec![name(o), text(o, "status.phase").into(), age(o, now)],
    conditions: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fields::problems;

    #[test]
    fn a_namespace_s_finalizers_are_known_or_have_a_domain() {
        let with = |finalizer: &str| json!({"metadata": {"name": "n"}, "spec": {"finalizers": ["kubernetes", finalizer]}});
        let finalize = |finalizer: &str| {
            let mut errors = Errors::default();
            validate_subresource(&with(finalizer), &Value::Null, "finalize", &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        for good in ["orphan", "example.com/hold"] {
            assert_eq!(problems(validate_create, with(good)), [""; 0]);
            assert_eq!(finalize(good), [""; 0]);
        }
        let why =
            "Invalid value: \"foo\": name is neither a standard finalizer name nor is it fully qualified";
        assert_eq!(problems(validate_create, with("foo")), [format!("spec.finalizers: {why}")]);
        assert_eq!(finalize("foo"), [format!("spec.finalizers[1]: {why}")]);
        let taken_off = json!({"metadata": {"name": "n"}, "spec": {"finalizers": ["foo"]}});
        let mut errors = Errors::default();
        validate_subresource(&taken_off, &with("foo"), "finalize", &mut errors);
        assert!(errors.is_empty(), "one that is stored does not keep the others");
    }

    /// A request has room for a hundred thousand, whose pairs would take minutes.
    #[test]
    fn many_finalizers_are_not_compared_each_with_each() {
        let with = |domain: &str| {
            let all: Vec<String> = (0..20_000).map(|i| format!("{domain}/{i}")).collect();
            json!({"metadata": {"name": "n"}, "spec": {"finalizers": all}})
        };
        let (new, old, mut errors) = (with("a"), with("b"), Errors::default());
        let start = std::time::Instant::now();
        validate_subresource(&new, &old, "finalize", &mut errors);
        assert!(errors.is_empty() && start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    }

    #[test]
    fn a_status_without_a_phase_is_active() {
        for status in [Value::Null, json!({}), json!({"phase": null}), json!({"phase": ""})] {
            let mut new = json!({"metadata": {"name": "n"}, "status": status});
            (kind().prepare_status_update)(&mut new, &Value::Null, "status");
            assert_eq!(text(&new, "status.phase"), "Active");
        }
        let mut ended = json!({"metadata": {"name": "n"}, "status": {"phase": "Terminating"}});
        (kind().prepare_status_update)(&mut ended, &Value::Null, "status");
        assert_eq!(text(&ended, "status.phase"), "Terminating", "it is left to the validation");
    }

    #[test]
    fn the_phase_of_a_namespace_goes_with_its_deletion() {
        let errors_of = |meta: Value, phase: &str| {
            let mut errors = Errors::default();
            let namespace = json!({"metadata": meta, "status": {"phase": phase}});
            validate_status_update(&namespace, &Value::Null, &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let going = || json!({"name": "n", "deletionTimestamp": "2026-01-02T03:04:05Z"});
        let field = "status.Phase: Invalid value";
        assert_eq!((errors_of(json!({}), "Active").len(), errors_of(going(), "Terminating").len()), (0, 0));
        assert_eq!(
            errors_of(json!({}), "Terminating"),
            [format!("{field}: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty")]
        );
        assert_eq!(
            errors_of(going(), "Active"),
            [format!("{field}: \"Active\": may only be 'Terminating' if `deletionTimestamp` is not empty")]
        );
    }
}
