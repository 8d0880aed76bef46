//! What may be stored, and what an update may change. Messages are upstream's, since people search
//! for them.

pub(crate) mod addresses;
pub(crate) mod fields;
pub mod names;
pub(crate) mod status;

pub use fields::IMMUTABLE;

use super::errors::Errors;
use super::gostr;
use super::kinds::entry::Kind;
use super::meta;
use super::schema::equality;
use super::value::{self, at, list, text};
use fields::{add_problems, annotations, finalizer_domain, labels, not_negative};
use serde_json::Value;
use std::collections::{BTreeSet, HashSet};

const FINALIZERS: &str = "metadata.finalizers";
const OWNERS: &str = "metadata.ownerReferences";
const MANAGERS: &str = "metadata.managedFields";
/// Bytes of a manager's name, and of the subresource through which it writes.
const MANAGER_MAX: usize = 128;
const SUBRESOURCE_MAX: usize = 256;

/// Checks all of a new object.
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

/// Checks a custom resource against its schema, as a change of `old` if there is one.
pub fn schema(kind: &Kind, object: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::default();
    if let Some(custom) = &kind.custom {
        custom.validate(object, old, &mut errors);
    }
    errors
}

/// Checks all of an object that replaces `old`.
pub fn update(kind: &Kind, new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    (kind.validate_first)(new, Some(old), &mut errors);
    if !errors.is_empty() {
        return errors;
    }
    metadata(kind, new, &mut errors);
    managers(new, old, &mut errors);
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

/// Returns what is wrong with an object that replaces `old`, without the problems that the stored
/// object has already and without those of paths in [`Kind::unjudged`] that are as they were.
///
/// Example: an older version took a Deployment whose template has a cost of deletion that is no
/// number. It can be scaled, and its finalizers can be removed; another wrong cost is refused.
/// Upstream does so for single rules, each time when it adds one.
pub fn judged(kind: &Kind, new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    (kind.validate)(new, &mut errors);
    if errors.is_empty() {
        return errors;
    }
    // Most objects have no problem, and endpoints are many: they are compared when there is one.
    let is_same = |path: &&&str| at(new, path) == at(old, path);
    if kind.unjudged.iter().any(|path| is_same(&path)) {
        let mut rest = new.clone();
        for path in kind.unjudged.iter().filter(is_same) {
            value::remove(&mut rest, path);
        }
        errors = Errors::default();
        (kind.validate)(&rest, &mut errors);
    }
    let mut before = Errors::default();
    (kind.validate)(old, &mut before);
    errors.without(&before)
}

/// Checks all of a write through a subresource of the status.
pub fn status_update(kind: &Kind, new: &Value, old: &Value, subresource: &str) -> Errors {
    let mut errors = metadata_update(kind, new, old);
    (kind.validate_status_update)(new, old, &mut errors);
    (kind.validate_subresource)(new, old, subresource, &mut errors);
    errors.append(schema(kind, new, Some(old)));
    errors
}

/// The metadata of a write through a subresource. It is judged if it changes: a wrong label would
/// keep the object from every later write.
pub fn metadata_update(kind: &Kind, new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    let is_changed = |path: &&str| at(new, path) != at(old, path);
    let changeable =
        ["metadata.labels", "metadata.annotations", "metadata.finalizers", "metadata.ownerReferences"];
    if changeable.iter().any(is_changed) {
        metadata(kind, new, &mut errors);
        no_new_finalizers(new, old, &mut errors);
    }
    errors
}

/// Checks the managers of fields, which a client may set (`ValidateManagedFields` upstream). Names
/// that are stored already stay, whatever their fields become. Each list is read once: there may be
/// thousands of managers.
fn managers(new: &Value, old: &Value, errors: &mut Errors) {
    fn names(entry: &Value) -> (&str, &str) {
        (text(entry, "manager"), text(entry, "subresource"))
    }
    let known: HashSet<(&str, &str)> = list(old, MANAGERS).iter().map(names).collect();
    let all = list(new, MANAGERS).iter().map(names).enumerate();
    for (i, (manager, subresource)) in all.filter(|(_, names)| !known.contains(names)) {
        if errors.is_full() {
            break;
        }
        let field = format!("{MANAGERS}[{i}].manager");
        if manager.len() > MANAGER_MAX {
            errors.too_long(field.clone(), MANAGER_MAX);
        }
        if let Some((at, c)) = manager.char_indices().find(|(_, c)| !gostr::is_print(*c)) {
            let why = format!("invalid character U+{:04X} (at position {at})", u32::from(c));
            errors.invalid_text(field, manager, &why);
        }
        if subresource.len() > SUBRESOURCE_MAX {
            errors.too_long(format!("{MANAGERS}[{i}].subresource"), SUBRESOURCE_MAX);
        }
    }
}

/// Checks that an object that is being deleted gets no more finalizers.
fn no_new_finalizers(new: &Value, old: &Value, errors: &mut Errors) {
    if meta::is_terminating(old) {
        let known: HashSet<&str> = meta::finalizers(old).collect();
        let added: BTreeSet<&str> = meta::finalizers(new).filter(|f| !known.contains(f)).collect();
        if !added.is_empty() {
            let all = added.into_iter().map(gostr::quote).collect::<Vec<_>>().join(", ");
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{all}}}"
            );
            errors.forbidden(FINALIZERS, &why);
        }
    }
}

fn metadata(kind: &Kind, object: &Value, errors: &mut Errors) {
    generate_name(kind, object, errors);
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
    not_negative(object, "metadata.generation", errors);
    labels(object, "metadata.labels", "metadata.labels", errors);
    annotations(object, "metadata.annotations", errors);
    owner_references(object, errors);
    finalizers(kind, object, errors);
}

/// Checks the metadata of an object inside of a custom resource. Its kind is unknown, so its name
/// need only fit into a path, and it may have no name and no namespace.
pub(crate) fn metadata_inside(object: &Value, errors: &mut Errors) {
    let (name, namespace) = (meta::name(object), meta::namespace(object));
    add_problems(names::path_segment(name), "metadata.name", name, errors);
    if !namespace.is_empty() {
        add_problems(names::dns_label(namespace), "metadata.namespace", namespace, errors);
    }
    labels(object, "metadata.labels", "metadata.labels", errors);
    annotations(object, "metadata.annotations", errors);
    owner_references(object, errors);
    finalizer_names(object, errors);
}

/// Checks the beginning of a generated name. A dash may stand at its end: upstream hides it and the
/// character before it (`maskTrailingDash`), so `web-` is judged as `wea`.
fn generate_name(kind: &Kind, object: &Value, errors: &mut Errors) {
    let prefix = text(object, "metadata.generateName");
    // Of this kind upstream judges only the name that was made (`ValidateObjectMetaWithOpts`).
    let is_judged = (kind.group, kind.kind) != ("", "ReplicationController");
    if prefix.is_empty() || !is_judged {
        return;
    }
    let masked = match prefix.strip_suffix('-') {
        Some(rest) if rest.ends_with(|c: char| c.is_ascii()) => format!("{}a", &rest[..rest.len() - 1]),
        _ => prefix.to_string(),
    };
    add_problems((kind.name_rule)(&masked), "metadata.generateName", prefix, errors);
}

/// Checks the owners of an object. As upstream, the list is named in the path and not the item.
fn owner_references(object: &Value, errors: &mut Errors) {
    let mut controller: Option<String> = None;
    for owner in list(object, OWNERS) {
        owner_reference(owner, OWNERS, errors);
        if !value::flag(owner, "controller") || errors.is_full() {
            continue;
        }
        let this = format!("{}/{}", text(owner, "kind"), text(owner, "name"));
        let Some(first) = &controller else {
            controller = Some(this);
            continue;
        };
        let why = format!(
            "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
        );
        errors.invalid(OWNERS, at(object, OWNERS), &why);
    }
}

/// Checks the names of finalizers, and that no two contradict each other.
fn finalizer_names(object: &Value, errors: &mut Errors) {
    for name in list(object, FINALIZERS).iter().map(|name| name.as_str().unwrap_or("")) {
        add_problems(names::qualified_name(name), FINALIZERS, name, errors);
    }
    one_way_to_delete(object, errors);
}

/// Checks the finalizers of an object of this kind. As upstream, only a missing domain is reported
/// at the item.
fn finalizers(kind: &Kind, object: &Value, errors: &mut Errors) {
    let all = list(object, FINALIZERS).iter().map(|name| name.as_str().unwrap_or(""));
    finalizer_names(object, errors);
    // As upstream: the finalizer of definitions has no domain, and of Leases, budgets and Events of
    // v1 only the general rules for metadata are asked for. `events.k8s.io` has its own check.
    let asks_domain = kind.custom.is_none()
        && !matches!(kind.group, "apiextensions.k8s.io" | "coordination.k8s.io" | "policy")
        && (kind.group, kind.kind) != ("", "Event");
    for (i, name) in all.enumerate().filter(|_| asks_domain) {
        finalizer_domain(name, &format!("{FINALIZERS}[{i}]"), errors);
    }
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
    let finalizers = list(object, FINALIZERS);
    if ["orphan", "foregroundDeletion"].iter().all(|name| finalizers.iter().any(|f| f == name)) {
        let why = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.invalid(FINALIZERS, at(object, FINALIZERS), why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fields::problems;
    use serde_json::json;

    #[test]
    fn finalizers_of_kubernetes_kinds_have_a_domain() {
        let errors_of_finalizer = |kind: &crate::kinds::Kind, finalizer: &str| {
            let object = json!({"metadata": {"name": "a", "namespace": "d", "finalizers": [finalizer]}});
            let errors = crate::validate::create(kind, &object);
            let errors = errors.iter().map(ToString::to_string).filter(|error| error.contains("finalizers"));
            errors.collect::<Vec<_>>()
        };
        let errors_of = |kind: &str, finalizer: &str| {
            errors_of_finalizer(crate::kinds::find("", "v1", kind).unwrap(), finalizer)
        };
        let definition =
            crate::kinds::find("apiextensions.k8s.io", "v1", "CustomResourceDefinition").unwrap();
        assert_eq!(errors_of_finalizer(definition, crate::custom::definition::FINALIZER), [""; 0]);
        let budget = crate::kinds::find("policy", "v1", "PodDisruptionBudget").unwrap();
        assert_eq!([errors_of_finalizer(budget, "x"), errors_of("Event", "x")], [[""; 0]; 2]);
        for good in ["orphan", "foregroundDeletion", "kubernetes", "example.com/x"] {
            assert_eq!(errors_of("ConfigMap", good), [""; 0], "{good}");
        }
        let why = "name is neither a standard finalizer name nor is it fully qualified";
        assert_eq!(
            errors_of("ConfigMap", "foregroundDeletions"),
            [format!("metadata.finalizers[0]: Invalid value: \"foregroundDeletions\": {why}")]
        );
    }

    #[test]
    fn the_name_of_a_manager_is_judged_once() {
        let kind = crate::kinds::find("", "v1", "ConfigMap").unwrap();
        let map = |manager: &str, subresource: &str| {
            let entry = json!({"manager": manager, "operation": "Update", "apiVersion": "v1",
                "subresource": subresource, "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {}}});
            json!({"metadata": {"name": "a", "namespace": "d", "managedFields": [entry]}})
        };
        let errors_of = |new: &Value, old: &Value| {
            let errors = update(kind, new, old);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let old = map("kubectl", "");
        assert_eq!(errors_of(&map(&"m".repeat(128), &"s".repeat(256)), &old), [""; 0]);
        let long = map(&"m".repeat(129), &"s".repeat(257));
        let wanted = [
            "metadata.managedFields[0].manager: Too long: may not be more than 128 bytes",
            "metadata.managedFields[0].subresource: Too long: may not be more than 256 bytes",
        ];
        assert_eq!(errors_of(&long, &old), wanted);
        assert_eq!(errors_of(&long, &long), [""; 0], "it is stored already");
        let mut changed = long.clone();
        changed["metadata"]["managedFields"][0]["fieldsV1"] = json!({"f:data": {".": {}}});
        assert_eq!(errors_of(&changed, &long), [""; 0], "another write has taken one of its fields");
        let wanted = r#"metadata.managedFields[0].manager: Invalid value: "a\x01": invalid character U+0001 (at position 1)"#;
        assert_eq!(errors_of(&map("a\u{1}", ""), &old), [wanted]);
    }

    /// What is wrong with the metadata of a new object of this kind.
    fn errors_of_metadata(kind: &str, mut metadata: Value) -> Vec<String> {
        metadata["namespace"] = "d".into();
        let kind = crate::kinds::find("", "v1", kind).unwrap();
        let errors = create(kind, &json!({ "metadata": metadata }));
        errors.iter().map(ToString::to_string).filter(|error| error.starts_with("metadata.")).collect()
    }

    #[test]
    fn the_beginning_of_a_generated_name_is_judged() {
        let errors_of =
            |kind, prefix: &str| errors_of_metadata(kind, json!({"name": "a", "generateName": prefix}));
        let (long, longer) = ("a".repeat(253) + "-", "a".repeat(254) + "-");
        for good in ["web-", "web", "a-", "a.b-", "a-b-", &long] {
            assert_eq!(errors_of("ConfigMap", good), [""; 0], "{good}");
        }
        for bad in ["Bad-", "a_b-", "-", "a--_", "\u{e9}-", &longer] {
            let found = errors_of("ConfigMap", bad);
            assert!(found.len() == 1 && found[0].starts_with("metadata.generateName: "), "{bad}: {found:?}");
        }
        assert_eq!(errors_of("ReplicationController", "Bad-"), [""; 0]);
    }

    #[test]
    fn a_generation_is_not_negative() {
        let errors_of = |n: i64| errors_of_metadata("ConfigMap", json!({"name": "a", "generation": n}));
        assert_eq!(errors_of(0), [""; 0]);
        let why = "metadata.generation: Invalid value: -1: must be greater than or equal to 0";
        assert_eq!(errors_of(-1), [why]);
    }

    #[test]
    fn lists_of_the_metadata_are_named_as_upstream_names_them() {
        let owner = |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": "u", "controller": true});
        let found = errors_of_metadata(
            "ConfigMap",
            json!({"name": "a", "ownerReferences": [owner("b"), owner("c"), {"apiVersion": "v1", "kind": "Pod", "name": "d"}]}),
        );
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("metadata.ownerReferences: Invalid value: [{"), "{found:?}");
        assert!(found[0].ends_with("Found \"true\" in references for Pod/b and Pod/c"), "{found:?}");
        assert_eq!(found[1], "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty");
        let found = errors_of_metadata("ConfigMap", json!({"name": "a", "finalizers": ["a.b/c", "d e"]}));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("metadata.finalizers: Invalid value: \"d e\": name part"), "{found:?}");
        assert!(found[1].starts_with("metadata.finalizers[1]: Invalid value: \"d e\""), "{found:?}");
    }

    #[test]
    fn new_finalizers_are_told_in_order() {
        let object = |finalizers: Value| json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": finalizers}});
        let mut errors = Errors::default();
        no_new_finalizers(&object(json!(["b/c", "d/e", "a/b", "d/e"])), &object(json!(["b/c"])), &mut errors);
        let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert!(found.len() == 1 && found[0].ends_with("[]string{\"a/b\", \"d/e\"}"), "{found:?}");
    }

    #[test]
    fn an_owner_has_a_version_and_is_no_event() {
        let errors_of = |api_version: &str, kind: &str| {
            let owner = json!({"apiVersion": api_version, "kind": kind, "name": "n", "uid": "u"});
            let mut errors = Errors::default();
            owner_reference(&owner, "owner", &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        for good in ["v1", "apps/v1", "example.com/v1"] {
            assert_eq!(errors_of(good, "Thing"), [""; 0], "{good}");
        }
        for bad in ["", "/", "apps/", "a/b/c"] {
            let want = format!("owner.apiVersion: Invalid value: {bad:?}: version must not be empty");
            assert_eq!(errors_of(bad, "Thing"), [want]);
        }
        let event = errors_of("v1", "Event");
        assert!(event.len() == 1 && event[0].ends_with("Kind=Event is disallowed from being an owner"));
        assert_eq!(errors_of("events.k8s.io/v1", "Event"), [""; 0]);
        let mut errors = Errors::default();
        owner_reference(&json!({"apiVersion": "v1"}), "owner", &mut errors);
        let fields: Vec<&str> = errors.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(fields, ["owner.kind", "owner.name", "owner.uid"]);
    }

    #[test]
    fn dependents_are_orphaned_or_deleted() {
        let errors_of =
            |finalizers: Value| problems(one_way_to_delete, json!({"metadata": {"finalizers": finalizers}}));
        assert_eq!(errors_of(json!(["orphan", "a/b"])), [""; 0]);
        assert_eq!(errors_of(json!(["foregroundDeletion"])), [""; 0]);
        let both = errors_of(json!(["orphan", "a/b", "foregroundDeletion"]));
        assert!(both.len() == 1 && both[0].ends_with("cannot be both set"), "{both:?}");
    }

    #[test]
    fn what_is_stored_keeps_no_object_from_its_updates() {
        use crate::pod_spec::annotations::DELETION_COST;
        let kind = crate::kinds::find("apps", "v1", "Deployment").unwrap();
        let deployment = |replicas: i64, cost: &str| {
            let labels = json!({"a": "b"});
            let template = json!({"metadata": {"labels": labels, "annotations": {DELETION_COST: cost}},
                "spec": {"containers": [{"name": "c", "image": "x"}]}});
            let mut object = json!({"metadata": {"name": "web", "namespace": "d"}, "spec": {
                "replicas": replicas, "selector": {"matchLabels": labels}, "template": template}});
            (kind.defaults)(&mut object);
            object
        };
        let errors_of = |new: (i64, &str), old: (i64, &str)| {
            let errors = update(kind, &deployment(new.0, new.1), &deployment(old.0, old.1));
            errors.iter().map(|error| error.field.clone()).collect::<Vec<_>>()
        };
        let cost = format!("spec.template.annotations[{DELETION_COST}]");
        assert_eq!(errors_of((1, "x"), (1, "1")), [cost.as_str()]);
        assert_eq!(errors_of((2, "x"), (1, "x")), [""; 0]);
        assert_eq!(errors_of((-1, "x"), (1, "x")), ["spec.replicas"]);
        assert_eq!(errors_of((1, "y"), (1, "x")), [cost.as_str()]);
    }

    #[test]
    fn annotations_of_templates_are_judged() {
        let errors_of = |annotations: Value| {
            let template = json!({"metadata": {"annotations": annotations},
                "spec": {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "terminationGracePeriodSeconds": 30,
                    "containers": [{"name": "c", "image": "i", "imagePullPolicy": "Always",
                        "terminationMessagePolicy": "File", "terminationMessagePath": "/dev/termination-log"}]}});
            let mut errors = Errors::default();
            crate::pod_spec::template_at(&template, "spec.template", &mut errors);
            errors.iter().map(|e| e.field.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(errors_of(json!({"a.b/c": "d"})), [""; 0]);
        assert_eq!(errors_of(json!({"a b": "c"})), ["spec.template.annotations"]);
        assert_eq!(errors_of(json!({"a": "x".repeat(256 * 1024)})), ["spec.template.annotations"]);
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
