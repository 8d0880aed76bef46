//! What may be stored, and what an update may change. Messages are upstream's, since people search
//! for them.

pub(crate) mod addresses;
pub(crate) mod fields;
pub mod names;
pub(crate) mod status;

pub use fields::IMMUTABLE;

use super::errors::Errors;
use super::kinds::entry::Kind;
use super::meta;
use super::schema::equality;
use super::value::{self, at, list, text};
use fields::{annotations, finalizer_name, labels};
use serde_json::Value;
use std::collections::HashSet;

/// All of a new object.
pub fn create(kind: &Kind, object: &Value) -> Errors {
    let mut errors = Errors::default();
    (kind.validate_first)(object, None, &mut errors);
    if !errors.is_empty() {
        return errors;
    }
    metadata(kind, object, &mut errors);
    (kind.validate)(object, &mut errors);
    (kind.validate_create)(object, &mut errors);
    errors.append(schema(kind, object, None));
    errors
}

/// What the schema of a custom resource says about it, as a change of `old` if there is one.
pub fn schema(kind: &Kind, object: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::default();
    if let Some(custom) = &kind.custom {
        custom.validate(object, old, &mut errors);
    }
    errors
}

/// All of an object that replaces `old`.
pub fn update(kind: &Kind, new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    (kind.validate_first)(new, Some(old), &mut errors);
    if !errors.is_empty() {
        return errors;
    }
    metadata(kind, new, &mut errors);
    no_new_finalizers(new, old, &mut errors);
    for path in kind.immutable {
        if !equality::equal_in(kind, path, at(new, path), at(old, path)) {
            errors.invalid(*path, at(new, path), IMMUTABLE);
        }
    }
    errors.append(judged(kind, new, old));
    (kind.validate_update)(new, old, &mut errors);
    errors.append(schema(kind, new, Some(old)));
    errors
}

/// Returns what is wrong with an object that replaces `old`, without the problems of paths in
/// [`Kind::unjudged`] that are as they were.
fn judged(kind: &Kind, new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    (kind.validate)(new, &mut errors);
    let is_same = |path: &&&str| at(new, path) == at(old, path);
    // Most objects have no problem, and endpoints are many: they are compared when there is one.
    if errors.is_empty() || !kind.unjudged.iter().any(|path| is_same(&path)) {
        return errors;
    }
    let mut rest = new.clone();
    for path in kind.unjudged.iter().filter(is_same) {
        value::remove(&mut rest, path);
    }
    let mut errors = Errors::default();
    (kind.validate)(&rest, &mut errors);
    errors
}

/// All of a write through a subresource of the status. Metadata counts if it changes: a wrong label
/// would keep the object from every later write.
pub fn status_update(kind: &Kind, new: &Value, old: &Value, subresource: &str) -> Errors {
    let mut errors = Errors::default();
    let is_changed = |path: &&str| at(new, path) != at(old, path);
    let changeable =
        ["metadata.labels", "metadata.annotations", "metadata.finalizers", "metadata.ownerReferences"];
    if changeable.iter().any(is_changed) {
        metadata(kind, new, &mut errors);
        no_new_finalizers(new, old, &mut errors);
    }
    (kind.validate_status_update)(new, old, &mut errors);
    (kind.validate_subresource)(new, old, subresource, &mut errors);
    errors.append(schema(kind, new, Some(old)));
    errors
}

/// An object that is being deleted gets no more finalizers.
fn no_new_finalizers(new: &Value, old: &Value, errors: &mut Errors) {
    if meta::is_terminating(old) {
        let known: HashSet<&str> = meta::finalizers(old).collect();
        let added: Vec<String> =
            meta::finalizers(new).filter(|f| !known.contains(f)).map(|f| format!("{f:?}")).collect();
        if !added.is_empty() {
            let all = added.join(", ");
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{all}}}"
            );
            errors.forbidden("metadata.finalizers", &why);
        }
    }
}

fn metadata(kind: &Kind, object: &Value, errors: &mut Errors) {
    let name = meta::name(object);
    if name.is_empty() {
        errors.required("metadata.name", "name or generateName is required");
    } else {
        for problem in (kind.name_rule)(name) {
            errors.invalid_text("metadata.name", name, &problem);
        }
    }
    if kind.namespaced {
        let namespace = meta::namespace(object);
        if namespace.is_empty() {
            errors.required("metadata.namespace", "");
        } else {
            for problem in names::dns_label(namespace) {
                errors.invalid_text("metadata.namespace", namespace, &problem);
            }
        }
    }
    labels(object, "metadata.labels", "metadata.labels", errors);
    annotations(object, "metadata.annotations", errors);
    for (i, owner) in list(object, "metadata.ownerReferences").iter().enumerate() {
        owner_reference(owner, &format!("metadata.ownerReferences[{i}]"), errors);
    }
    let controllers = list(object, "metadata.ownerReferences")
        .iter()
        .filter(|o| super::value::flag(o, "controller"))
        .count();
    if controllers > 1 {
        let why = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {controllers} owners"
        );
        errors.invalid("metadata.ownerReferences", at(object, "metadata.ownerReferences"), &why);
    }
    for (i, finalizer) in list(object, "metadata.finalizers").iter().enumerate() {
        let name = finalizer.as_str().unwrap_or("");
        let field = format!("metadata.finalizers[{i}]");
        // As upstream, definitions and Leases may have a finalizer without a domain: their own has
        // none.
        let asks_domain =
            kind.custom.is_none() && !matches!(kind.group, "apiextensions.k8s.io" | "coordination.k8s.io");
        finalizer_name(name, &field, asks_domain, errors);
    }
    one_way_to_delete(object, errors);
}

/// Checks one owner of an object.
fn owner_reference(owner: &Value, field: &str, errors: &mut Errors) {
    let (api_version, kind) = (text(owner, "apiVersion"), text(owner, "kind"));
    // `v1` or `apps/v1`; text with more slashes names neither group nor version.
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if version.is_empty() || version.contains('/') {
        errors.invalid_text(format!("{field}.apiVersion"), api_version, "version must not be empty");
    }
    for part in ["kind", "name", "uid"] {
        if text(owner, part).is_empty() {
            errors.invalid_text(format!("{field}.{part}"), "", "must not be empty");
        }
    }
    // An Event goes by itself, and what it owns would go with it.
    if (group, version, kind) == ("", "v1", "Event") {
        errors.invalid(field, owner, "/v1, Kind=Event is disallowed from being an owner");
    }
}

/// Reports two finalizers that contradict each other: dependents are orphaned or deleted first.
fn one_way_to_delete(object: &Value, errors: &mut Errors) {
    let finalizers = list(object, "metadata.finalizers");
    if ["orphan", "foregroundDeletion"].iter().all(|name| finalizers.iter().any(|f| f == name)) {
        let why = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.invalid("metadata.finalizers", at(object, "metadata.finalizers"), why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fields::problems;
    use serde_json::json;

    #[test]
    fn finalizers_of_kubernetes_kinds_have_a_domain() {
        let told_of = |kind: &crate::kinds::Kind, finalizer: &str| {
            let object = json!({"metadata": {"name": "a", "namespace": "d", "finalizers": [finalizer]}});
            let errors = crate::validate::create(kind, &object);
            let errors = errors.iter().map(ToString::to_string).filter(|error| error.contains("finalizers"));
            errors.collect::<Vec<_>>()
        };
        let told =
            |kind: &str, finalizer: &str| told_of(crate::kinds::find("", "v1", kind).unwrap(), finalizer);
        let definition =
            crate::kinds::find("apiextensions.k8s.io", "v1", "CustomResourceDefinition").unwrap();
        assert_eq!(told_of(definition, crate::custom::definition::FINALIZER), [""; 0]);
        for good in ["orphan", "foregroundDeletion", "kubernetes", "example.com/x"] {
            assert_eq!(told("ConfigMap", good), [""; 0], "{good}");
        }
        let why = "name is neither a standard finalizer name nor is it fully qualified";
        assert_eq!(
            told("ConfigMap", "foregroundDeletions"),
            [format!("metadata.finalizers[0]: Invalid value: \"foregroundDeletions\": {why}")]
        );
    }

    #[test]
    fn an_owner_has_a_version_and_is_no_event() {
        let told = |api_version: &str, kind: &str| {
            let owner = json!({"apiVersion": api_version, "kind": kind, "name": "n", "uid": "u"});
            let mut errors = Errors::default();
            owner_reference(&owner, "owner", &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        for good in ["v1", "apps/v1", "example.com/v1"] {
            assert_eq!(told(good, "Thing"), [""; 0], "{good}");
        }
        for bad in ["", "/", "apps/", "a/b/c"] {
            let want = format!("owner.apiVersion: Invalid value: {bad:?}: version must not be empty");
            assert_eq!(told(bad, "Thing"), [want]);
        }
        let event = told("v1", "Event");
        assert!(event.len() == 1 && event[0].ends_with("Kind=Event is disallowed from being an owner"));
        assert_eq!(told("events.k8s.io/v1", "Event"), [""; 0]);
        let mut errors = Errors::default();
        owner_reference(&json!({"apiVersion": "v1"}), "owner", &mut errors);
        let fields: Vec<&str> = errors.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(fields, ["owner.kind", "owner.name", "owner.uid"]);
    }

    #[test]
    fn dependents_are_orphaned_or_deleted() {
        let told =
            |finalizers: Value| problems(one_way_to_delete, json!({"metadata": {"finalizers": finalizers}}));
        assert_eq!(told(json!(["orphan", "a/b"])), [""; 0]);
        assert_eq!(told(json!(["foregroundDeletion"])), [""; 0]);
        let both = told(json!(["orphan", "a/b", "foregroundDeletion"]));
        assert!(both.len() == 1 && both[0].ends_with("cannot be both set"), "{both:?}");
    }

    #[test]
    fn annotations_of_templates_are_judged() {
        let told = |annotations: Value| {
            let template = json!({"metadata": {"annotations": annotations},
                "spec": {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "terminationGracePeriodSeconds": 30,
                    "containers": [{"name": "c", "image": "i", "imagePullPolicy": "Always",
                        "terminationMessagePolicy": "File", "terminationMessagePath": "/dev/termination-log"}]}});
            let mut errors = Errors::default();
            crate::pod_spec::template_at(&template, "spec.template", &mut errors);
            errors.iter().map(|e| e.field.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(told(json!({"a.b/c": "d"})), [""; 0]);
        assert_eq!(told(json!({"a b": "c"})), ["spec.template.annotations"]);
        assert_eq!(told(json!({"a": "x".repeat(256 * 1024)})), ["spec.template.annotations"]);
    }

    #[test]
    fn templates_are_judged_as_pods_are() {
        let template = json!({"spec": {"volumes": [{"name": "v", "configMap": {"name": "m", "items": [{"key": "k", "path": "/etc/x"}]}}],
                "containers": [{"name": "c", "image": " x", "securityContext": {"runAsUser": -1}}]}});
        let mut errors = Errors::default();
        crate::pod_spec::template_at(&template, "spec.template", &mut errors);
        let all: Vec<&str> = errors.iter().map(|e| e.field.as_str()).collect();
        let want = [
            "spec.template.spec.volumes[0].configMap.items[0].path",
            "spec.template.spec.containers[0].securityContext.runAsUser",
        ];
        assert_eq!(all, want);
    }
}
