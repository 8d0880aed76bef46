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

/// Checks the metadata of a write through a subresource, where it changes: a wrong label would keep
/// the object from every later write.
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
mod tests;
