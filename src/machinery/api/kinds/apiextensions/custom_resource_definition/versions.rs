//! The rules for the versions of a definition: their names and schemas, their subresources, columns
//! and fields to select by.
//!
//! What all versions have in common is judged once, as part of the spec: upstream moves it there,
//! where it stood before there were versions, and its errors name these places
//! (`Convert_v1_CustomResourceDefinitionSpec_To_apiextensions_CustomResourceDefinitionSpec`).
//!
//! ```text
//! one version                  spec.validation.openAPIV3Schema
//! two with the same schema     spec.validation.openAPIV3Schema
//! two with different schemas   spec.versions[0].schema.openAPIV3Schema, spec.versions[1]…
//! ```

use crate::custom::defaults::Shared;
use crate::custom::{columns, field_path, structural};
use crate::errors::Errors;
use crate::gostr::is_print;
use crate::validate::names::dns_1035;
use crate::value::{at, flag, list, text};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap, HashSet};

/// Bytes of the warning for clients of a deprecated version.
const WARNING_MAX: usize = 256;
/// Bytes of a path that says where `/scale` finds its fields. Such paths are kept until the program
/// ends.
const PATH_MAX: usize = 256;
/// Fields that a version lets people select by (upstream: `MaxSelectableFields`).
const SELECTABLE_MAX: usize = 8;

const SCHEMA: &str = "schema";
const SUBRESOURCES: &str = "subresources";
const COLUMNS: &str = "additionalPrinterColumns";
const SELECTABLE: &str = "selectableFields";

/// Returns whether all versions say the same in a field.
fn is_shared(versions: &[Value], field: &str) -> bool {
    versions.windows(2).all(|pair| at(&pair[0], field) == at(&pair[1], field))
}

fn has_status(version: &Value) -> bool {
    at(version, "subresources.status").is_object()
}

/// Checks the list of versions, and what each has of its own.
pub(super) fn check(object: &Value, errors: &mut Errors) {
    const FIELD: &str = "spec.versions";
    let all = list(object, FIELD);
    for (i, version) in all.iter().enumerate() {
        if !at(version, "schema.openAPIV3Schema").is_object() {
            errors.required(format!("{FIELD}[{i}].schema.openAPIV3Schema"), "");
        }
    }
    // Once for all versions, of which there may be many.
    let [own_schema, own_scale, own_columns, own_fields] =
        [SCHEMA, SUBRESOURCES, COLUMNS, SELECTABLE].map(|field| !is_shared(all, field));
    let shared = Shared::default();
    let mut seen = BTreeSet::new();
    let mut unique = true;
    for (i, version) in all.iter().enumerate() {
        let path = format!("{FIELD}[{i}]");
        let name = text(version, "name");
        unique &= seen.insert(name);
        version_name(name, format!("{path}.name"), errors);
        deprecation_warning(version, &path, errors);
        if own_schema {
            schema(version, has_status(version), &format!("{path}.{SCHEMA}"), &shared, errors);
        }
        if own_scale {
            scale(version, &format!("{path}.{SUBRESOURCES}"), errors);
        }
        if own_columns {
            printer_columns(version, &format!("{path}.{COLUMNS}"), errors);
        }
        if own_fields {
            let refused = "may only be set when `version.schema.openAPIV3Schema` is not included";
            let refused = (!own_schema).then_some(refused);
            selectable(version, &format!("{path}.{SELECTABLE}"), refused, errors);
        }
    }
    if !unique {
        errors.invalid(FIELD, at(object, FIELD), "must contain unique version names");
    }
    if all.iter().filter(|version| flag(version, "storage")).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        errors.invalid(FIELD, at(object, FIELD), why);
    }
    // As upstream, where the first version is also that of the spec.
    let first = all.first().map_or("", |version| text(version, "name"));
    if !first.is_empty() {
        version_name(first, "spec.version".to_string(), errors);
    }
}

/// Checks what all versions have in common.
pub(super) fn check_shared(object: &Value, errors: &mut Errors) {
    let all = list(object, "spec.versions");
    let Some(version) = all.first() else { return };
    if is_shared(all, SCHEMA) {
        schema(version, all.iter().any(has_status), "spec.validation", &Shared::default(), errors);
    }
    if is_shared(all, SUBRESOURCES) {
        scale(version, "spec.subresources", errors);
    }
    if is_shared(all, COLUMNS) {
        printer_columns(version, "spec.additionalPrinterColumns", errors);
    }
    if is_shared(all, SELECTABLE) {
        let refused = "may only be set when validations.schema is included";
        let refused = (!is_shared(all, SCHEMA)).then_some(refused);
        selectable(version, "spec.selectableFields", refused, errors);
    }
}

/// Checks that the versions in which objects were stored are still there, and the one in which they
/// are now (`ValidateCustomResourceDefinitionStoredVersions` upstream).
pub(super) fn check_stored(object: &Value, errors: &mut Errors) {
    const FIELD: &str = "status.storedVersions";
    let (all, stored) = (list(object, "spec.versions"), list(object, FIELD));
    let storage =
        || all.iter().filter(|version| flag(version, "storage")).map(|version| text(version, "name"));
    if stored.is_empty() {
        // Where there is a storage version, the defaults put it in.
        if storage().next().is_none() {
            errors.invalid(FIELD, &Value::Null, "must have at least one stored version");
        }
        return;
    }
    // Both lists are as long as a client makes them. A name that stands twice counts where it
    // stands last, as upstream.
    let names: HashSet<&str> = all.iter().map(|version| text(version, "name")).collect();
    let places: HashMap<&str, usize> =
        stored.iter().enumerate().filter_map(|(i, name)| Some((name.as_str()?, i))).collect();
    for name in storage().filter(|name| !places.contains_key(name)) {
        let why = format!("must have the storage version {name}");
        errors.invalid(FIELD, at(object, FIELD), &why);
    }
    for (i, name) in stored.iter().enumerate() {
        let name = name.as_str().unwrap_or("");
        if !names.contains(name) && places.get(name) == Some(&i) {
            let why = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
            );
            errors.invalid_text(format!("{FIELD}[{i}]"), name, &why);
        }
    }
}

fn version_name(name: &str, field: String, errors: &mut Errors) {
    let problems = dns_1035(name);
    if !problems.is_empty() {
        errors.invalid_text(field, name, &problems.join(","));
    }
}

/// Checks the warning of a deprecated version. It goes into a header of every answer, so it is
/// short and has no line breaks.
fn deprecation_warning(version: &Value, path: &str, errors: &mut Errors) {
    let Some(warning) = version.get("deprecationWarning").and_then(Value::as_str) else { return };
    let mut refuse = |why: &str| errors.invalid_text(format!("{path}.deprecationWarning"), warning, why);
    if !flag(version, "deprecated") {
        return refuse("can only be set for deprecated versions");
    }
    if warning.len() > WARNING_MAX {
        refuse(&format!("must be <= {WARNING_MAX} characters long"));
    }
    if warning.is_empty() {
        refuse("must not be an empty string");
    }
    if let Some((at, _)) = warning.char_indices().find(|(_, c)| !is_print(*c)) {
        let why = "must only contain printable UTF-8 characters; non-printable character found at index";
        refuse(&format!("{why} {at}"));
    }
}

/// Checks the schema of a version, of which `path` is the field around it.
fn schema(version: &Value, has_status: bool, path: &str, shared: &Shared, errors: &mut Errors) {
    let schema = at(version, "schema.openAPIV3Schema");
    if schema.is_object() {
        structural::check(schema, has_status, &format!("{path}.openAPIV3Schema"), shared, errors);
    }
}

/// Checks where `/scale` finds its fields.
fn scale(version: &Value, path: &str, errors: &mut Errors) {
    let scale = at(version, "subresources.scale");
    if !scale.is_object() {
        return;
    }
    for (field, root) in
        [("specReplicasPath", ".spec"), ("statusReplicasPath", ".status"), ("labelSelectorPath", "")]
    {
        let place = format!("{path}.scale.{field}");
        let json_path = text(scale, field);
        if json_path.is_empty() {
            if field != "labelSelectorPath" {
                errors.required(place, "");
            }
        } else if json_path.len() > PATH_MAX {
            errors.too_long(place, PATH_MAX);
        } else if !json_path.starts_with('.') {
            errors.invalid_text(place, json_path, "must be a simple json path starting with .");
        } else if root.is_empty() && !(json_path.starts_with(".spec.") || json_path.starts_with(".status.")) {
            errors.invalid_text(place, json_path, "should be a json path under either .spec or .status");
        } else if !json_path.starts_with(&format!("{root}.")) {
            errors.invalid_text(place, json_path, &format!("should be a json path under {root}"));
        }
    }
}

/// Formats that a printer column may have.
const COLUMN_FORMATS: [&str; 8] =
    ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];

fn printer_columns(version: &Value, path: &str, errors: &mut Errors) {
    for (i, column) in list(version, COLUMNS).iter().enumerate() {
        let place = format!("{path}[{i}]");
        if text(column, "name").is_empty() {
            errors.required(format!("{place}.name"), "");
        }
        let kinds = ["boolean", "date", "integer", "number", "string"];
        let why = format!("must be one of {}", kinds.join(","));
        match text(column, "type") {
            "" => errors.required(format!("{place}.type"), &why),
            kind if !kinds.contains(&kind) => errors.invalid_text(format!("{place}.type"), kind, &why),
            _ => {}
        }
        let format = text(column, "format");
        if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
            let why = format!("must be one of {}", COLUMN_FORMATS.join(","));
            errors.invalid_text(format!("{place}.format"), format, &why);
        }
        let place = format!("{place}.JSONPath"); // upstream's spelling
        match text(column, "jsonPath") {
            "" => errors.required(place, ""),
            json_path => {
                if let Err(why) = columns::Path::read(json_path) {
                    errors.invalid_text(place, json_path, &why);
                }
            }
        }
    }
}

/// Checks the fields to select by. A path that leads nowhere would select nothing, for ever and
/// without a word. `refused` says why the fields cannot be judged: the schema stands elsewhere.
fn selectable(version: &Value, field: &str, refused: Option<&str>, errors: &mut Errors) {
    let fields = list(version, SELECTABLE);
    if let Some(why) = refused.filter(|_| !fields.is_empty()) {
        return errors.invalid_text(field, "", why);
    }
    let schema = at(version, "schema.openAPIV3Schema");
    let mut seen = BTreeSet::new();
    for (i, json_path) in fields.iter().map(|field| text(field, "jsonPath")).enumerate() {
        let place = format!("{field}[{i}].jsonPath");
        if json_path.is_empty() {
            errors.required(place, "");
            continue;
        }
        let found = match selected(json_path, schema) {
            Ok(found) => found,
            Err(why) => {
                errors.invalid_text(place, json_path, &format!("is an invalid path: {why}"));
                continue;
            }
        };
        if json_path == ".metadata" || json_path.starts_with(".metadata.") {
            errors.invalid_text(&place, json_path, "must not point to fields in metadata");
        }
        if !matches!(text(found, "type"), "boolean" | "integer" | "string") {
            let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
            errors.invalid_text(&place, json_path, why);
        }
        if !seen.insert(json_path) {
            errors.duplicate(place, &json_path.into());
        }
    }
    if seen.len() > SELECTABLE_MAX {
        errors.too_many(field, seen.len(), SELECTABLE_MAX as u64);
    }
}

/// Returns the schema of a field to select by, whose path has no index.
fn selected<'a>(path: &str, schema: &'a Value) -> Result<&'a Value, String> {
    match path.split_once('[') {
        None => field_path::find_schema(path, schema),
        Some((before, _)) => {
            field_path::find_schema(before, schema)?;
            Err("array notation is not allowed".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::custom::definition;
    use crate::errors::Errors;
    use crate::value::put;
    use serde_json::{Value, json};

    fn version(name: &str, schema: &str) -> Value {
        json!({"name": name, "served": true, "storage": name == "v1", "schema": {"openAPIV3Schema": {
            "type": "object", "properties": {"a": {"type": schema}}}}})
    }

    fn errors_of(versions: Value, status: Value) -> Vec<String> {
        let names = json!({"plural": "as", "singular": "a", "kind": "A", "listKind": "AList"});
        let spec = json!({"group": "b.c", "scope": "Cluster", "names": names, "versions": versions,
            "conversion": {"strategy": "None"}});
        let object = json!({"metadata": {"name": "as.b.c"}, "spec": spec, "status": status});
        let mut errors = Errors::default();
        definition::validate(&object, &mut errors);
        errors.iter().map(|error| error.field.clone()).collect()
    }

    #[test]
    fn what_versions_share_is_judged_once() {
        let all = |first: Value, second: Value| errors_of(json!([first, second]), Value::Null);
        assert_eq!(all(version("v1", "string"), version("v2", "integer")), [""; 0]);
        let kind = "openAPIV3Schema.properties[a].type";
        assert_eq!(all(version("v1", "x"), version("v2", "x")), [format!("spec.validation.{kind}")]);
        let own = [format!("spec.versions[0].schema.{kind}"), format!("spec.versions[1].schema.{kind}")];
        assert_eq!(all(version("v1", "x"), version("v2", "y")), own);
        let with = |name: &str, field: &str, value: Value| {
            let mut version = version(name, "string");
            put(&mut version, field, value);
            version
        };
        for (field, value, path) in [
            ("additionalPrinterColumns", json!([{"name": "A", "type": "string"}]), "[0].JSONPath"),
            ("subresources", json!({"scale": {"specReplicasPath": ".spec.n"}}), ".scale.statusReplicasPath"),
            ("selectableFields", json!([{"jsonPath": ".b"}]), "[0].jsonPath"),
        ] {
            let found = all(with("v1", field, value.clone()), with("v2", field, value.clone()));
            assert_eq!(found, [format!("spec.{field}{path}")]);
            let path = if field == "selectableFields" { "" } else { path };
            let found = all(with("v1", field, value), version("v2", "string"));
            assert_eq!(found, [format!("spec.versions[0].{field}{path}")], "its schema is shared");
        }
    }

    #[test]
    fn versions_have_names_and_schemas() {
        let mut none = version("v1", "string");
        none["schema"] = json!({});
        assert_eq!(errors_of(json!([none]), Value::Null), ["spec.versions[0].schema.openAPIV3Schema"]);
        let mut errors = Errors::default();
        super::check(&json!({"spec": {"versions": [none]}}), &mut errors);
        assert!(errors.iter().any(|error| error.body == "Required value"));
        let odd = version("V1", "string");
        let mut second = version("v1", "string");
        let found = errors_of(json!([odd, second]), Value::Null);
        assert_eq!(found, ["spec.versions[0].name", "spec.version"]);
        second["name"] = "".into();
        assert_eq!(errors_of(json!([second]), Value::Null), ["spec.versions[0].name"]);
        assert_eq!(errors_of(json!([]), Value::Null), ["spec.versions", "status.storedVersions"]);
    }

    #[test]
    fn a_warning_is_for_a_deprecated_version() {
        let mut current = version("v1", "string");
        current["deprecationWarning"] = "".into();
        assert_eq!(errors_of(json!([current]), Value::Null), ["spec.versions[0].deprecationWarning"]);
    }

    #[test]
    fn stored_versions_stay_and_have_the_storage_version() {
        let stored =
            |names: &[&str]| errors_of(json!([version("v1", "string")]), json!({ "storedVersions": names }));
        assert_eq!(stored(&["v1"]), [""; 0]);
        assert_eq!(stored(&["v1", "v0"]), ["status.storedVersions[1]"]);
        assert_eq!(stored(&["v0"]), ["status.storedVersions", "status.storedVersions[0]"]);
        assert_eq!(stored(&["v0", "v1", "v0"]), ["status.storedVersions[2]"]);
    }

    #[test]
    fn at_most_eight_fields_are_to_select_by() {
        let fields = |count: usize| {
            let mut version = version("v1", "string");
            let all: Vec<Value> = (0..count).map(|i| json!({"jsonPath": format!(".f{i}")})).collect();
            for i in 0..count {
                let path = format!("schema.openAPIV3Schema.properties.f{i}");
                put(&mut version, &path, json!({"type": "string"}));
            }
            put(&mut version, "selectableFields", all);
            errors_of(json!([version]), Value::Null)
        };
        assert_eq!(fields(8), [""; 0]);
        assert_eq!(fields(9), ["spec.selectableFields"]);
    }
}
