//! Custom resource definitions: each adds a kind to the API while the cluster runs. This file has
//! its rules and the choice of its names; `custom` has what the added kinds are made of.

mod approval;
mod versions;

use crate::custom::patterns;
use crate::errors::Errors;
use crate::kinds::entry::{Kind, of, status};
use crate::meta;
use crate::validate::fields::{IMMUTABLE, one_of};
use crate::validate::names::{dns_1035, dns_subdomain};
use crate::value::{self, at, default, default_zero, empty, flag, list, list_mut, text};
use approval::Approval;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Holds a definition until its objects are gone.
pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

pub(super) fn kind() -> Kind {
    Kind {
        short_names: &["crd", "crds"],
        categories: &["api-extensions"],
        subresources: vec![status("CustomResourceDefinition")],
        has_status: true,
        generation: true,
        needs_version: true,
        returns_deleted: true,
        defaults,
        prepare,
        prepare_update,
        prepare_status_update: |new, _, _| default_stored_versions(new),
        prepare_delete,
        validate,
        validate_create: approval::check,
        validate_update,
        validate_status_update,
        ..of::<CustomResourceDefinition>()
    }
}

fn defaults(object: &mut Value) {
    let kind = text(object, "spec.names.kind").to_string();
    if !kind.is_empty() {
        default_zero(object, "spec.names.singular", kind.to_lowercase());
        default_zero(object, "spec.names.listKind", format!("{kind}List"));
    }
    default(object, "spec.conversion", json!({"strategy": "None"}));
    default_stored_versions(object);
}

/// Fills in the stored versions. As upstream also those of a status that a client writes, so that a
/// migration cannot leave the list empty.
fn default_stored_versions(object: &mut Value) {
    if empty(object, "status.storedVersions")
        && let Some(storage) = storage(object)
    {
        value::put(object, "status.storedVersions", json!([storage]));
    }
}

/// Gives a new definition its first status: it has no names yet, and objects of its storage version
/// only.
fn prepare(object: &mut Value) {
    let stored: Vec<Value> = storage(object).into_iter().collect();
    let status =
        json!({"conditions": [], "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored});
    value::put(object, "status", status);
}

fn prepare_update(new: &mut Value, _: &Value) {
    let Some(storage) = storage(new) else { return };
    let mut stored = list(new, "status.storedVersions").to_vec();
    if !stored.contains(&storage) {
        stored.push(storage);
        value::put(new, "status.storedVersions", stored);
    }
}

/// Adds the finalizer that keeps a definition until its objects are deleted.
fn prepare_delete(object: &mut Value) {
    let mut finalizers = list(object, "metadata.finalizers").to_vec();
    if !finalizers.iter().any(|f| f == FINALIZER) {
        finalizers.push(FINALIZER.into());
        value::put(object, "metadata.finalizers", finalizers);
    }
    let why = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    set_condition(object, "Terminating", true, "InstanceDeletionPending", why);
}

fn storage(definition: &Value) -> Option<Value> {
    let storage = list(definition, "spec.versions").iter().find(|v| flag(v, "storage"))?;
    Some(at(storage, "name").clone())
}

/// Returns whether a condition of a definition is true.
pub fn has_condition(definition: &Value, condition: &str) -> bool {
    list(definition, "status.conditions")
        .iter()
        .any(|c| text(c, "type") == condition && text(c, "status") == "True")
}

/// Sets a condition; its time changes only with its status. Answers whether anything changed.
pub fn set_condition(object: &mut Value, kind: &str, holds: bool, reason: &str, message: &str) -> bool {
    let status = if holds { "True" } else { "False" };
    let before = at(object, "status").clone();
    let now = clock::rfc3339(clock::now());
    if list(object, "status.conditions").is_empty() {
        value::put(object, "status.conditions", json!([]));
    }
    let known = list(object, "status.conditions").iter().position(|c| text(c, "type") == kind);
    let since = known
        .map(|i| &list(object, "status.conditions")[i])
        .filter(|c| text(c, "status") == status)
        .map_or(now, |c| text(c, "lastTransitionTime").to_string());
    let condition = json!({"lastTransitionTime": since, "message": message, "reason": reason, "status": status, "type": kind});
    match (known, value::at_mut(object, "status.conditions")) {
        (Some(i), _) => list_mut(object, "status.conditions")[i] = condition,
        (None, Some(Value::Array(all))) => all.push(condition),
        (None, _) => {}
    }
    at(object, "status") != &before
}

// -- names
// -------------------------------------------------------------------------------------------------

/// Returns the names that a definition is given, and whether they are all that it asks for.
/// `others` are all definitions; in a group a name belongs to the definition that had it accepted
/// first, unless a kind of the `table` has it. The status tells of the approval of its API as well.
/// Pure: answers the definition with its new status, if that differs.
pub fn accept_names<'a>(
    definition: &Value,
    others: impl Iterator<Item = &'a Value>,
    table: &[Kind],
) -> Option<Value> {
    let group = text(definition, "spec.group");
    let (mut resources, mut types) = (BTreeSet::new(), BTreeSet::new());
    let same_group = |d: &&Value| text(d, "spec.group") == group && meta::name(d) != meta::name(definition);
    for other in others.filter(same_group) {
        let names = at(other, "status.acceptedNames");
        let words = ["plural", "singular"].map(|f| text(names, f).to_string());
        resources.extend(words.into_iter().filter(|w| !w.is_empty()));
        resources.extend(list(names, "shortNames").iter().filter_map(Value::as_str).map(String::from));
        types.extend(
            ["kind", "listKind"].map(|f| text(names, f).to_string()).into_iter().filter(|w| !w.is_empty()),
        );
    }
    for kind in table.iter().filter(|k| k.group == group) {
        resources.extend([kind.plural.to_string(), kind.singular.clone()]);
        types.extend([kind.kind.to_string(), kind.list_kind()]);
    }
    let wanted = at(definition, "spec.names");
    let mut accepted = at(definition, "status.acceptedNames").clone();
    let mut conflict: Option<(&str, String)> = None;
    let asks = [
        ("plural", "PluralConflict", &resources),
        ("singular", "SingularConflict", &resources),
        ("shortNames", "ShortNamesConflict", &resources),
        ("kind", "KindConflict", &types),
        ("listKind", "ListKindConflict", &types),
    ];
    for (field, reason, taken) in asks {
        let asked = at(wanted, field);
        let words: Vec<&str> = match asked {
            Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
            one => one.as_str().into_iter().collect(),
        };
        let clashes: Vec<String> = words
            .iter()
            .filter(|w| taken.contains(**w))
            .map(|w| format!("{w:?} is already in use"))
            .collect();
        if clashes.is_empty() {
            copy_name(&mut accepted, field, asked);
        } else {
            let all = clashes.join(", ");
            // As Go shows several errors in one.
            conflict = Some((reason, if clashes.len() > 1 { format!("[{all}]") } else { all }));
        }
    }
    copy_name(&mut accepted, "categories", at(wanted, "categories"));
    let mut new = definition.clone();
    value::put(&mut new, "status.acceptedNames", accepted);
    match conflict {
        Some((reason, message)) => {
            set_condition(&mut new, "NamesAccepted", false, reason, &message);
            if !has_condition(definition, "Established") {
                let why = "not all names are accepted";
                set_condition(&mut new, "Established", false, "NotAccepted", why);
            }
        }
        None => {
            set_condition(&mut new, "NamesAccepted", true, "NoConflicts", "no conflicts found");
            let why = "the initial names have been accepted";
            set_condition(&mut new, "Established", true, "InitialNamesAccepted", why);
        }
    }
    approval::set_conformance(&mut new);
    (&new != definition).then_some(new)
}

fn copy_name(accepted: &mut Value, field: &str, asked: &Value) {
    let map = value::as_map(accepted);
    match asked {
        Value::Null => drop(map.shift_remove(field)),
        asked => drop(map.insert(field.to_string(), asked.clone())),
    }
}

// -- validation
// -------------------------------------------------------------------------------------------------

/// Checks a definition.
pub fn validate(object: &Value, errors: &mut Errors) {
    let (group, plural) = (text(object, "spec.group"), text(object, "spec.names.plural"));
    let wanted = format!("{plural}.{group}");
    if meta::name(object) != wanted {
        errors.invalid_text(
            "metadata.name",
            meta::name(object),
            "must be spec.names.plural+\".\"+spec.group",
        );
    }
    let problems = dns_subdomain(group);
    if group.is_empty() {
        errors.required("spec.group", "");
    } else if !problems.is_empty() {
        errors.invalid_text("spec.group", group, &problems.join(","));
    } else if !group.contains('.') {
        errors.invalid_text("spec.group", group, "should be a domain with at least one dot");
    }
    match text(object, "spec.scope") {
        "" => errors.required("spec.scope", ""),
        _ => one_of(object, "spec.scope", "spec.scope", &["Cluster", "Namespaced"], errors),
    }
    if !patterns::check(object, errors) {
        return;
    }
    versions::check(object, errors);
    names(object, errors);
    versions::check_shared(object, errors);
    conversion(object, errors);
    versions::check_stored(object, errors);
    if flag(object, "spec.preserveUnknownFields") {
        let why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.invalid("spec.preserveUnknownFields", &Value::Bool(true), why);
    }
}

/// Checks how objects go from one version to another. The paths are those of upstream, where the
/// parts of a webhook stand in the conversion itself.
fn conversion(object: &Value, errors: &mut Errors) {
    const FIELD: &str = "spec.conversion";
    let conversion = at(object, FIELD);
    let place = format!("{FIELD}.strategy");
    match text(conversion, "strategy") {
        "None" => {}
        "" => errors.required(place, ""),
        "Webhook" => {
            let why = "conversion webhooks are not implemented in Ropewalk; use None";
            return errors.forbidden(place, why);
        }
        other => errors.not_supported(place, &other.into(), &["None", "Webhook"]),
    }
    let why = "should not be set when strategy is not set to Webhook";
    if !at(conversion, "webhook.clientConfig").is_null() {
        errors.forbidden(format!("{FIELD}.webhookClientConfig"), why);
    }
    if !empty(conversion, "webhook.conversionReviewVersions") {
        errors.forbidden(format!("{FIELD}.conversionReviewVersions"), why);
    }
}

fn names(object: &Value, errors: &mut Errors) {
    const FIELD: &str = "spec.names";
    let names = at(object, FIELD);
    for part in ["plural", "singular", "kind", "listKind"].into_iter().filter(|p| text(names, p).is_empty()) {
        errors.required(format!("{FIELD}.{part}"), "");
    }
    name_forms(names, FIELD, errors);
}

/// Checks the form of names that are set: those that a spec asks for, and those that a status says
/// were accepted.
fn name_forms(names: &Value, field: &str, errors: &mut Errors) {
    for (part, is_kind) in [("plural", false), ("singular", false), ("kind", true), ("listKind", true)] {
        let name = text(names, part);
        if !name.is_empty() {
            name_form(name, is_kind, format!("{field}.{part}"), errors);
        }
    }
    let all = |part: &str, errors: &mut Errors| {
        for (i, name) in list(names, part).iter().enumerate() {
            name_form(name.as_str().unwrap_or(""), false, format!("{field}.{part}[{i}]"), errors);
        }
    };
    all("shortNames", errors);
    let (kind, list_kind) = (text(names, "kind"), text(names, "listKind"));
    if !kind.is_empty() && kind == list_kind {
        let why = "kind and listKind may not be the same";
        errors.invalid_text(format!("{field}.listKind"), list_kind, why);
    }
    all("categories", errors);
}

/// Checks one name: a DNS label, which in a Kind may have capital letters.
fn name_form(name: &str, is_kind: bool, field: String, errors: &mut Errors) {
    let (label, why) = match is_kind {
        true => (name.to_lowercase(), "may have mixed case, but should otherwise match: "),
        false => (name.to_string(), ""),
    };
    let problems = dns_1035(&label);
    if !problems.is_empty() {
        errors.invalid_text(field, name, &format!("{why}{}", problems.join(",")));
    }
}

/// Checks the names that the status says were accepted. They are served, and kept until the program
/// ends (`kinds::names`), so they have the form and the length of names that a spec may ask for
/// (`ValidateCustomResourceDefinitionStatus` upstream).
fn validate_status_update(new: &Value, _: &Value, errors: &mut Errors) {
    const FIELD: &str = "status.acceptedNames";
    name_forms(at(new, FIELD), FIELD, errors);
}

fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    // What older versions took may stay, so that clients that do not know the annotation can write.
    if Approval::of(new) != Approval::of(old) {
        approval::check(new, errors);
    }
    let all = ["spec.scope", "spec.names.kind", "spec.group", "spec.names.plural"];
    // Until its names are accepted, a definition has no objects.
    let fixed = if has_condition(old, "Established") { &all[..] } else { &all[2..] };
    for path in fixed {
        if at(new, path) != at(old, path) {
            errors.invalid(*path, at(new, path), IMMUTABLE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fields::problems;

    #[test]
    fn the_storage_version_counts_as_stored() {
        let spec = json!({"versions": [{"name": "v1"}, {"name": "v2", "storage": true}]});
        let mut object = json!({ "spec": spec });
        defaults(&mut object);
        assert_eq!(at(&object, "status.storedVersions"), &json!(["v2"]));
        value::put(&mut object, "status.storedVersions", json!(["v1"]));
        defaults(&mut object);
        assert_eq!(at(&object, "status.storedVersions"), &json!(["v1"]));
        value::put(&mut object, "status.storedVersions", json!([]));
        (kind().prepare_status_update)(&mut object, &Value::Null, "status");
        assert_eq!(at(&object, "status.storedVersions"), &json!(["v2"]));
    }

    #[test]
    fn several_short_names_that_are_taken_are_told_together() {
        let with = |name: &str, field: &str| {
            json!({"metadata": {"name": name}, "spec": {"group": "b.c", "names": {"plural": name}},
            "status": {"acceptedNames": {field: ["x", "y"], "plural": name}}})
        };
        let mut wants = with("bs.b.c", "none");
        value::put(&mut wants, "spec.names.shortNames", json!(["x", "y"]));
        let named = accept_names(&wants, [with("as.b.c", "shortNames")].iter(), &[]).expect("a change");
        let accepted = list(&named, "status.conditions").iter().find(|c| text(c, "type") == "NamesAccepted");
        let message = accepted.map(|condition| text(condition, "message"));
        assert_eq!(message, Some("[\"x\" is already in use, \"y\" is already in use]"));
    }

    #[test]
    fn a_conversion_has_a_webhook_only_by_its_strategy() {
        let errors_of = |given: Value| problems(conversion, json!({"spec": {"conversion": given}}));
        assert_eq!(errors_of(json!({"strategy": "None", "webhook": {}})), [""; 0]);
        assert_eq!(errors_of(json!({"strategy": ""})), ["spec.conversion.strategy: Required value"]);
        let webhook = json!({"clientConfig": {}, "conversionReviewVersions": ["v1"]});
        let why = "Forbidden: should not be set when strategy is not set to Webhook";
        let want = [
            format!("spec.conversion.webhookClientConfig: {why}"),
            format!("spec.conversion.conversionReviewVersions: {why}"),
        ];
        assert_eq!(errors_of(json!({"strategy": "None", "webhook": webhook})), want);
    }
}
