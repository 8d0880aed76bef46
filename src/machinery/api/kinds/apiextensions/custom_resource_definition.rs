//! Custom resource definitions: each adds a kind to the API while the cluster runs. This file has
//! its rules and the choice of its names; `custom` has what the added kinds are made of.

use crate::custom::{columns, rules, structural};
use crate::errors::Errors;
use crate::gostr::is_print;
use crate::kinds::entry::{Kind, of, status};
use crate::meta;
use crate::validate::fields::{IMMUTABLE, one_of};
use crate::validate::names::{dns_1035, dns_subdomain};
use crate::value::{self, at, default, default_zero, flag, list, list_mut, text};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Holds a definition until its objects are gone.
pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
/// The annotation that a definition in a group of Kubernetes has to have.
const APPROVAL: &str = "api-approved.kubernetes.io";

/// Bytes of the warning for clients of a deprecated version.
const WARNING_MAX: usize = 256;
/// Bytes of a path that says where `/scale` finds its fields. Such paths are kept until the program
/// ends.
const PATH_MAX: usize = 256;

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
        prepare_delete,
        validate,
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
}

/// A new definition has no names yet, and objects of its storage version only.
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

/// Its objects go first.
fn prepare_delete(object: &mut Value) {
    let mut finalizers = list(object, "metadata.finalizers").to_vec();
    if !finalizers.iter().any(|f| f == FINALIZER) {
        finalizers.push(FINALIZER.into());
        value::put(object, "metadata.finalizers", finalizers);
    }
    let why = "CustomResourceDefinition marked for deletion; CustomResource deletion will occur as soon as possible";
    set_condition(object, "Terminating", true, "InstanceDeletionPending", why);
}

fn storage(definition: &Value) -> Option<Value> {
    let storage = list(definition, "spec.versions").iter().find(|v| flag(v, "storage"))?;
    Some(at(storage, "name").clone())
}

/// Is a condition of a definition true?
pub fn is(definition: &Value, condition: &str) -> bool {
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

/// The names that a definition is given, and whether they are all that it asks for. `others` are
/// all definitions; in a group a name belongs to the definition that had it accepted first, unless
/// a kind of the `table` has it. Pure: answers the definition with its new status, if that differs.
pub fn name<'a>(
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
            conflict = Some((reason, clashes.join(", ")));
        }
    }
    copy_name(&mut accepted, "categories", at(wanted, "categories"));
    let mut new = definition.clone();
    value::put(&mut new, "status.acceptedNames", accepted);
    let was_established = is(definition, "Established");
    match conflict {
        Some((reason, message)) => {
            set_condition(&mut new, "NamesAccepted", false, reason, &message);
            if !was_established {
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

/// The rules for a definition.
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
    match group {
        "" => errors.required("spec.group", ""),
        group => {
            for problem in dns_subdomain(group) {
                errors.invalid_text("spec.group", group, &problem);
            }
            if !group.contains('.') {
                errors.invalid_text("spec.group", group, "should be a domain with at least one dot");
            }
        }
    }
    approval(object, group, errors);
    if flag(object, "spec.preserveUnknownFields") {
        let why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.invalid("spec.preserveUnknownFields", &Value::Bool(true), why);
    }
    match text(object, "spec.scope") {
        "" => errors.required("spec.scope", ""),
        _ => one_of(object, "spec.scope", "spec.scope", &["Cluster", "Namespaced"], errors),
    }
    names(object, errors);
    versions(object, errors);
    match text(object, "spec.conversion.strategy") {
        "None" => {
            if !at(object, "spec.conversion.webhook").is_null() {
                let why = "should not be set when strategy is not set to Webhook";
                errors.forbidden("spec.conversion.webhook", why);
            }
        }
        "Webhook" => errors.forbidden(
            "spec.conversion.strategy",
            "conversion webhooks are not implemented in Ropewalk; use None",
        ),
        other => {
            errors.not_supported("spec.conversion.strategy", &other.into(), &["None", "Webhook"]);
        }
    }
}

fn approval(object: &Value, group: &str, errors: &mut Errors) {
    let protected =
        ["k8s.io", "kubernetes.io"].iter().any(|g| group == *g || group.ends_with(&format!(".{g}")));
    if !protected {
        return;
    }
    let field = format!("metadata.annotations[{APPROVAL}]");
    let approved = meta::annotation(object, APPROVAL).unwrap_or("");
    if approved.is_empty() {
        let why = format!(
            "protected groups must have approval annotation {APPROVAL:?}, see https://github.com/kubernetes/enhancements/pull/1111"
        );
        errors.required(field, &why);
    } else if !(approved.starts_with("https://")
        || approved.starts_with("http://")
        || approved.starts_with("unapproved"))
    {
        let why = format!(
            "protected groups must have approval annotation {APPROVAL:?} with either a URL or a reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111"
        );
        errors.invalid_text(field, approved, &why);
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
    let (kind, list_kind) = (text(names, "kind"), text(names, "listKind"));
    if !kind.is_empty() && kind == list_kind {
        let why = "kind and listKind may not be the same";
        errors.invalid_text(format!("{field}.listKind"), list_kind, why);
    }
    for part in ["shortNames", "categories"] {
        for (i, name) in list(names, part).iter().enumerate() {
            name_form(name.as_str().unwrap_or(""), false, format!("{field}.{part}[{i}]"), errors);
        }
    }
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

fn versions(object: &Value, errors: &mut Errors) {
    let all = list(object, "spec.versions");
    let mut seen = BTreeSet::new();
    let mut unique = true;
    for (i, version) in all.iter().enumerate() {
        let path = format!("spec.versions[{i}]");
        let name = text(version, "name");
        if name.is_empty() {
            errors.required(format!("{path}.name"), "");
        }
        for problem in dns_1035(name).iter().filter(|_| !name.is_empty()) {
            errors.invalid_text(format!("{path}.name"), name, problem);
        }
        unique &= seen.insert(name);
        if !flag(version, "deprecated") && !text(version, "deprecationWarning").is_empty() {
            let why = "can only be set for deprecated versions";
            errors.invalid_text(
                format!("{path}.deprecationWarning"),
                text(version, "deprecationWarning"),
                why,
            );
        }
        deprecation_warning(version, &path, errors);
        let schema = at(version, "schema.openAPIV3Schema");
        match schema.is_object() {
            true => structural::check(version, &path, errors),
            false => errors.required(format!("{path}.schema.openAPIV3Schema"), "schemas are required"),
        }
        subresources(version, &path, errors);
        columns(version, &path, errors);
    }
    if !unique {
        errors.invalid("spec.versions", at(object, "spec.versions"), "must contain unique version names");
    }
    if all.iter().filter(|v| flag(v, "storage")).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        errors.invalid("spec.versions", at(object, "spec.versions"), why);
    }
    for (i, stored) in list(object, "status.storedVersions").iter().enumerate() {
        if !all.iter().any(|v| at(v, "name") == stored) {
            let why = "missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions";
            let name = stored.as_str().unwrap_or("");
            errors.invalid_text(format!("status.storedVersions[{i}]"), name, &why.replace("v1", name));
        }
    }
}

/// A warning goes into a header of every answer, so it is short and has no line breaks.
fn deprecation_warning(version: &Value, path: &str, errors: &mut Errors) {
    let Some(said) = version.get("deprecationWarning").and_then(Value::as_str) else { return };
    let mut tell = |why: &str| errors.invalid_text(format!("{path}.deprecationWarning"), said, why);
    if said.len() > WARNING_MAX {
        tell(&format!("must be <= {WARNING_MAX} characters long"));
    }
    if said.is_empty() {
        tell("must not be an empty string");
    }
    if let Some((at, _)) = said.char_indices().find(|(_, c)| !is_print(*c)) {
        let why = "must only contain printable UTF-8 characters; non-printable character found at index";
        tell(&format!("{why} {at}"));
    }
}

fn subresources(version: &Value, path: &str, errors: &mut Errors) {
    let scale = at(version, "subresources.scale");
    if !scale.is_object() {
        return;
    }
    for (field, root) in
        [("specReplicasPath", ".spec"), ("statusReplicasPath", ".status"), ("labelSelectorPath", "")]
    {
        let place = format!("{path}.subresources.scale.{field}");
        let said = text(scale, field);
        if said.is_empty() {
            if field != "labelSelectorPath" {
                errors.required(place, "");
            }
        } else if said.len() > PATH_MAX {
            errors.too_long(place, PATH_MAX);
        } else if root.is_empty() && !(said.starts_with(".spec.") || said.starts_with(".status.")) {
            errors.invalid_text(place, said, "should be a json path under either .spec or .status");
        } else if !said.starts_with(&format!("{root}.")) {
            errors.invalid_text(place, said, &format!("should be a json path under {root}"));
        }
    }
}

/// Formats that a printer column may have.
const COLUMN_FORMATS: [&str; 8] =
    ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];

fn columns(version: &Value, path: &str, errors: &mut Errors) {
    for (i, column) in list(version, "additionalPrinterColumns").iter().enumerate() {
        let place = format!("{path}.additionalPrinterColumns[{i}]");
        if text(column, "name").is_empty() {
            errors.required(format!("{place}.name"), "");
        }
        let kinds = ["boolean", "date", "integer", "number", "string"];
        match text(column, "type") {
            "" => {
                let all = kinds.join(",");
                errors.required(format!("{place}.type"), &format!("must be one of {all}"));
            }
            kind if !kinds.contains(&kind) => {
                let why = format!("must be one of {}", kinds.join(","));
                errors.invalid_text(format!("{place}.type"), kind, &why);
            }
            _ => {}
        }
        let format = text(column, "format");
        if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
            let why = format!("must be one of {}", COLUMN_FORMATS.join(","));
            errors.invalid_text(format!("{place}.format"), format, &why);
        }
        match text(column, "jsonPath") {
            "" => errors.required(format!("{place}.jsonPath"), ""),
            said => {
                if let Err(why) = columns::Path::read(said) {
                    errors.invalid_text(format!("{place}.jsonPath"), said, &why);
                }
            }
        }
    }
    selectable(version, path, errors);
}

/// Fields that a version lets people select by (upstream: `MaxSelectableFields`).
const SELECTABLE_MAX: usize = 8;

/// A path that leads nowhere would select nothing, for ever and without a word.
fn selectable(version: &Value, path: &str, errors: &mut Errors) {
    let (fields, field) = (list(version, "selectableFields"), format!("{path}.selectableFields"));
    let schema = at(version, "schema.openAPIV3Schema");
    if fields.len() > SELECTABLE_MAX {
        errors.too_many(&field, fields.len(), SELECTABLE_MAX as u64);
    }
    for (i, said) in fields.iter().map(|f| text(f, "jsonPath")).enumerate() {
        let place = format!("{field}[{i}].jsonPath");
        let simple = said.starts_with('.') && !said.contains('[');
        match rules::field_path(said, schema) {
            _ if said.is_empty() => errors.required(place, ""),
            Err(why) => errors.invalid_text(place, said, &format!("is an invalid path: {why}")),
            Ok(_) if !simple => errors.invalid_text(place, said, "is an invalid path: it has an index"),
            Ok(_) if said == ".metadata" || said.starts_with(".metadata.") => {
                errors.invalid_text(place, said, "must not point to fields in metadata");
            }
            Ok(found) if !matches!(text(found, "type"), "boolean" | "integer" | "string") => {
                let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
                errors.invalid_text(place, said, why);
            }
            Ok(_) if fields[..i].iter().any(|before| text(before, "jsonPath") == said) => {
                errors.duplicate(place, &said.into());
            }
            Ok(_) => {}
        }
    }
}

fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    for path in ["spec.group", "spec.names.plural"] {
        if at(new, path) != at(old, path) {
            errors.invalid(path, at(new, path), IMMUTABLE);
        }
    }
    if is(old, "Established") {
        for path in ["spec.scope", "spec.names.kind"] {
            if at(new, path) != at(old, path) {
                errors.invalid(path, at(new, path), IMMUTABLE);
            }
        }
    }
}
