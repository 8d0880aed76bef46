//! What the schema of a definition may say. A structural schema gives every field a type in one
//! place, outside `allOf`, `anyOf`, `oneOf` and `not`, so that pruning and defaulting know what
//! they look at.

use super::defaults::{Shared, check_default};
use super::rules;
use super::schema::{ENVELOPE, Schema};
use crate::errors::Errors;
use crate::path::Path;
use crate::value::{at, flag, list, map, text};
use serde_json::Value;

/// Reports everything that is wrong in a schema, found at `path` in a definition. `has_status` says
/// that there is the subresource `status` beside it.
pub(crate) fn check(schema: &Value, has_status: bool, path: &str, shared: &Shared, errors: &mut Errors) {
    if has_status {
        check_root_beside_status(schema, path, errors);
    }
    check_root(schema, path, shared, errors);
}

/// Words that the root of a schema may say in a version with the subresource `status`
/// (`allowedFieldsAtRootSchema` upstream): the name in Go, and the name in JSON.
const BESIDE_STATUS: [(&str, &str); 22] = [
    ("Description", "description"),
    ("Type", "type"),
    ("Format", "format"),
    ("Title", "title"),
    ("Maximum", "maximum"),
    ("ExclusiveMaximum", "exclusiveMaximum"),
    ("Minimum", "minimum"),
    ("ExclusiveMinimum", "exclusiveMinimum"),
    ("MaxLength", "maxLength"),
    ("MinLength", "minLength"),
    ("Pattern", "pattern"),
    ("MaxItems", "maxItems"),
    ("MinItems", "minItems"),
    ("UniqueItems", "uniqueItems"),
    ("MultipleOf", "multipleOf"),
    ("Required", "required"),
    ("Items", "items"),
    ("Properties", "properties"),
    ("ExternalDocs", "externalDocs"),
    ("Example", "example"),
    ("XPreserveUnknownFields", "x-kubernetes-preserve-unknown-fields"),
    ("XValidations", "x-kubernetes-validations"),
];

/// Refuses other words than those of [`BESIDE_STATUS`] at the root. Upstream judges a write of the
/// status by the schema of the field `status` alone, so a rule such as `oneOf` at the root would be
/// left out there.
fn check_root_beside_status(schema: &Value, path: &str, errors: &mut Errors) {
    let is_other = |word: &str| BESIDE_STATUS.iter().all(|(_, known)| *known != word);
    let mut others = schema.as_object().into_iter().flatten().filter(|(word, _)| is_other(word));
    if others.any(|(_, value)| !says_nothing(value)) {
        let known = BESIDE_STATUS.map(|(name, _)| name).join(" ");
        let why = format!(
            "only [{known}] fields are allowed at the root of the schema if the status subresource is enabled"
        );
        errors.invalid(path, schema, &why);
    }
}

/// True for a value that Go does not tell from a missing one: its zero value.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// Checks a whole schema.
fn check_root(schema: &Value, path: &str, shared: &Shared, errors: &mut Errors) {
    if text(schema, "type").is_empty() {
        errors.required(format!("{path}.type"), "must not be empty at the root");
    } else if text(schema, "type") != "object" {
        errors.invalid_text(format!("{path}.type"), text(schema, "type"), "must be object at the root");
    }
    if flag(schema, "nullable") {
        errors.forbidden(format!("{path}.nullable"), "nullable cannot be true at the root");
    }
    if !at(schema, "additionalProperties").is_null() {
        errors.forbidden(format!("{path}.additionalProperties"), "must not be used at the root");
    }
    let metadata = at(schema, "properties.metadata");
    let allowed = |(name, _): &(&String, &Value)| matches!(name.as_str(), "type" | "properties" | "default");
    let plain = |(name, _): &(&String, &Value)| matches!(name.as_str(), "name" | "generateName");
    if metadata.is_object()
        && !(metadata.as_object().into_iter().flatten().all(|e| allowed(&e))
            && map(metadata, "properties").into_iter().flatten().all(|e| plain(&e)))
    {
        errors.forbidden(
            format!("{path}.properties[metadata]"),
            "must not specify anything other than name and generateName, but metadata is implicitly specified",
        );
    }
    for name in ENVELOPE {
        if let Some(field) = map(schema, "properties").and_then(|all| all.get(name)) {
            refuse_defaults(field, Path::Text(path).field("properties").key(name), name, errors);
        }
    }
    let within = Within { uncorrelated: None, read: None, shared };
    check_node(schema, Path::Text(path), Place::Root, within, errors);
    check_logic(schema, schema, Path::Text(path), Path::Text(path), errors);
}

/// Refuses defaults in `apiVersion`, `kind` and `metadata`: an object without a name would get the
/// same name as another. `of` is the field of the root.
fn refuse_defaults(schema: &Value, path: Path, of: &str, errors: &mut Errors) {
    if !at(schema, "default").is_null() {
        errors.forbidden(format!("{path}.default"), &format!("must not be set in top-level {of}"));
    }
    for (name, field) in map(schema, "properties").into_iter().flatten() {
        refuse_defaults(field, path.field("properties").key(name), of, errors);
    }
}

/// Reports what the logic (`allOf`, `anyOf`, `oneOf`, `not`) of `logic` says about properties and
/// items that `defined` does not have: without a type they would be pruned. Of the logic of a whole
/// schema, as upstream, that of its root (`validateStructuralCompleteness`).
fn check_logic(logic: &Value, defined: &Value, place: Path, source: Path, errors: &mut Errors) {
    if at(logic, "not").is_object() {
        check_nested_logic(at(logic, "not"), defined, place, source.field("not"), errors);
    }
    for word in ["allOf", "anyOf", "oneOf"] {
        for (i, inner) in list(logic, word).iter().enumerate() {
            check_nested_logic(inner, defined, place, source.field(word).item(i), errors);
        }
    }
}

fn check_nested_logic(logic: &Value, defined: &Value, place: Path, source: Path, errors: &mut Errors) {
    if errors.is_full() {
        return;
    }
    check_logic(logic, defined, place, source, errors);
    if at(logic, "items").is_object() {
        check_logic_part(
            at(logic, "items"),
            defined.get("items"),
            place.field("items"),
            source.field("items"),
            errors,
        );
    }
    for (name, inner) in map(logic, "properties").into_iter().flatten() {
        let field = map(defined, "properties").and_then(|p| p.get(name));
        let (place, source) = (place.field("properties"), source.field("properties"));
        check_logic_part(inner, field, place.key(name), source.key(name), errors);
    }
}

fn check_logic_part(logic: &Value, defined: Option<&Value>, place: Path, source: Path, errors: &mut Errors) {
    match defined.filter(|d| d.is_object()) {
        Some(defined) => check_nested_logic(logic, defined, place, source, errors),
        None => errors.required(place.to_string(), &format!("because it is defined in {source}")),
    }
}

/// Where a schema stands, which decides whether it needs a type.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Field,
    Item,
    /// Inside of `allOf`, `anyOf`, `oneOf`, `not`.
    Logic,
}

/// What is known of the schemas around one.
#[derive(Clone, Copy)]
struct Within<'a> {
    /// Names this schema or the one above whose parts have no counterparts in the old object: the
    /// items of a list that is no map. A rule there cannot compare with an old value. The fields of
    /// a map that is owned as a whole have them, by their names (`MapIsCorrelatable` upstream).
    uncorrelated: Option<&'a str>,
    /// The same schema, read, if it or one above has a default. Defaults stand in each other, and
    /// the rules of each schema are compiled where it is read: it is read once.
    read: Option<&'a Schema>,
    shared: &'a Shared,
}

impl<'a> Within<'a> {
    /// Returns what is known around a part of the schema: `part` finds the part in what was read.
    fn part(self, part: impl FnOnce(&'a Schema) -> Option<&'a Schema>) -> Within<'a> {
        Within { read: self.read.and_then(part), ..self }
    }
}

/// Checks a schema and those inside of it.
fn check_node(schema: &Value, path: Path, place: Place, within: Within, errors: &mut Errors) {
    if errors.is_full() {
        return;
    }
    let has_default = place != Place::Logic && schema.get("default").is_some();
    let own = (has_default && within.read.is_none()).then(|| Schema::read(schema));
    let within = Within { read: own.as_ref().or(within.read), ..within };
    check_types(schema, path, place, errors);
    check_forbidden(schema, path, place, errors);
    if place != Place::Logic {
        check_extensions(schema, path, errors);
        check_envelope(schema, path, place, errors);
    }
    if let Err(error) = within.shared.check_pattern(text(schema, "pattern")) {
        let why = format!("must be a valid regular expression, but isn't: {error}");
        errors.invalid_text(format!("{path}.pattern"), text(schema, "pattern"), &why);
    }
    let logic = place == Place::Logic;
    let has_no_keys = text(schema, "x-kubernetes-list-type") != "map";
    for (name, field) in map(schema, "properties").into_iter().flatten() {
        let inner = if logic { Place::Logic } else { Place::Field };
        let within = within.part(|read| read.properties.get(name));
        check_node(field, path.field("properties").key(name), inner, within, errors);
    }
    if at(schema, "additionalProperties").is_object() {
        let inner = if logic { Place::Logic } else { Place::Field };
        let (field, path) = (at(schema, "additionalProperties"), path.field("additionalProperties"));
        check_node(field, path, inner, within.part(|read| read.additional.as_deref()), errors);
    }
    match at(schema, "items") {
        Value::Array(_) => {
            errors.forbidden(format!("{path}.items"), "items must be a schema object and not an array")
        }
        items if items.is_object() => {
            let inner = if logic { Place::Logic } else { Place::Item };
            let here = has_no_keys.then(|| path.to_string());
            let uncorrelated = within.uncorrelated.or(here.as_deref());
            let within = Within { uncorrelated, ..within.part(|read| read.items.as_deref()) };
            check_node(items, path.field("items"), inner, within, errors);
        }
        _ => {}
    }
    let either = flag(schema, "x-kubernetes-int-or-string");
    let in_logic = Within { read: None, ..within };
    for word in ["allOf", "anyOf", "oneOf"] {
        for (i, inner) in list(schema, word).iter().enumerate() {
            // Types may not stand there, but for the two of an int-or-string.
            if !(either && is_int_or_string(inner)) {
                check_node(inner, path.field(word).item(i), Place::Logic, in_logic, errors);
            }
        }
    }
    if at(schema, "not").is_object() {
        check_node(at(schema, "not"), path.field("not"), Place::Logic, in_logic, errors);
    }
    if let (Some(default), Some(read)) = (schema.get("default").filter(|_| has_default), within.read) {
        check_default(default, read, path, within.shared, errors);
    }
    rules::check(schema, path, within.uncorrelated, errors);
}

/// Returns whether a schema is `{type: integer}`, `{type: string}`, or an `anyOf` of these.
fn is_int_or_string(schema: &Value) -> bool {
    let plain = |s: &Value| {
        matches!(text(s, "type"), "integer" | "string") && s.as_object().is_some_and(|m| m.len() == 1)
    };
    plain(schema) || (!list(schema, "anyOf").is_empty() && list(schema, "anyOf").iter().all(plain))
}

fn check_types(schema: &Value, path: Path, place: Place, errors: &mut Errors) {
    let kind = text(schema, "type");
    let either = flag(schema, "x-kubernetes-int-or-string");
    let anything = flag(schema, "x-kubernetes-preserve-unknown-fields");
    let field = format!("{path}.type");
    match place {
        Place::Logic if !kind.is_empty() => {
            return errors.forbidden(field, "must be empty to be structural");
        }
        Place::Field if kind.is_empty() && !either && !anything => {
            return errors.required(field, "must not be empty for specified object fields");
        }
        Place::Item if kind.is_empty() && !either && !anything => {
            return errors.required(field, "must not be empty for specified array items");
        }
        _ => {}
    }
    match kind {
        "null" => errors.forbidden(field, "type cannot be set to null, use nullable as an alternative"),
        "" | "array" | "boolean" | "integer" | "number" | "object" | "string" => {}
        other => {
            let known = ["array", "boolean", "integer", "number", "object", "string"];
            errors.not_supported(field, &other.into(), &known);
        }
    }
    if kind == "array" && !at(schema, "items").is_object() && place != Place::Logic {
        errors.required(format!("{path}.items"), "must be specified");
    }
    if either && !kind.is_empty() {
        errors.invalid_text(
            format!("{path}.type"),
            kind,
            "must be empty if x-kubernetes-int-or-string is true",
        );
    }
}

fn check_forbidden(schema: &Value, path: Path, place: Place, errors: &mut Errors) {
    let has = |field: &str| !at(schema, field).is_null();
    for (field, why) in [
        ("$ref", "$ref is not supported"),
        ("definitions", "definitions is not supported"),
        ("dependencies", "dependencies is not supported"),
        ("patternProperties", "patternProperties is not supported"),
        ("additionalItems", "additionalItems is not supported"),
        ("id", "id is not supported"),
    ] {
        if schema.get(field).is_some_and(|v| !v.is_null()) {
            errors.forbidden(format!("{path}.{field}"), why);
        }
    }
    if flag(schema, "uniqueItems") {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.forbidden(format!("{path}.uniqueItems"), why);
    }
    if at(schema, "additionalProperties") == &Value::Bool(false) {
        let why = "additionalProperties cannot be set to false";
        errors.forbidden(format!("{path}.additionalProperties"), why);
    }
    // True says no more of the other fields than that they stay.
    let says_more = has("additionalProperties") && !flag(schema, "additionalProperties");
    if says_more && map(schema, "properties").is_some_and(|p| !p.is_empty()) {
        let why = "additionalProperties and properties are mutual exclusive";
        errors.forbidden(format!("{path}.additionalProperties"), why);
    }
    if place == Place::Logic {
        // Words that only the schema of a field itself may say: here they would be accepted and do
        // nothing.
        for (field, why) in [
            ("description", "must be empty to be structural"),
            ("title", "must be empty to be structural"),
            ("nullable", "must be false to be structural"),
            ("externalDocs", "must be undefined to be structural"),
            ("default", "must be undefined to be structural"),
            ("additionalProperties", "must be undefined to be structural"),
            ("x-kubernetes-list-type", "must be undefined to be structural"),
            ("x-kubernetes-list-map-keys", "must be empty to be structural"),
            ("x-kubernetes-map-type", "must be undefined to be structural"),
            ("x-kubernetes-validations", "must be empty to be structural"),
        ] {
            if !says_nothing(at(schema, field)) {
                errors.forbidden(format!("{path}.{field}"), why);
            }
        }
        if map(schema, "properties").is_some_and(|p| p.contains_key("metadata")) {
            let why = "must not be specified in a nested context";
            errors.forbidden(format!("{path}.properties[metadata]"), why);
        }
        for field in [
            "x-kubernetes-preserve-unknown-fields",
            "x-kubernetes-embedded-resource",
            "x-kubernetes-int-or-string",
        ] {
            if flag(schema, field) {
                errors.forbidden(format!("{path}.{field}"), "must be false to be structural");
            }
        }
    }
}

/// Checks the types of the fields that every object has: in the root, and in an embedded object.
/// With other types no object would be valid.
fn check_envelope(schema: &Value, path: Path, place: Place, errors: &mut Errors) {
    if place != Place::Root && !flag(schema, "x-kubernetes-embedded-resource") {
        return;
    }
    for (name, kind) in [("kind", "string"), ("apiVersion", "string"), ("metadata", "object")] {
        let Some(field) = map(schema, "properties").and_then(|all| all.get(name)) else { continue };
        if text(field, "type") != kind {
            let place = format!("{path}.properties[{name}].type");
            errors.invalid_text(place, text(field, "type"), &format!("must be {kind}"));
        }
    }
}

fn check_extensions(schema: &Value, path: Path, errors: &mut Errors) {
    let kind = text(schema, "type");
    if flag(schema, "x-kubernetes-embedded-resource") {
        if kind != "object" {
            errors.invalid_text(
                format!("{path}.type"),
                kind,
                "must be object if x-kubernetes-embedded-resource is true",
            );
        }
        if !at(schema, "additionalProperties").is_null() {
            let why = "must not be used if x-kubernetes-embedded-resource is set";
            errors.forbidden(format!("{path}.additionalProperties"), why);
        }
        let says = map(schema, "properties").is_some_and(|p| !p.is_empty());
        if !says && !flag(schema, "x-kubernetes-preserve-unknown-fields") {
            let why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
            errors.required(format!("{path}.properties"), why);
        }
    }
    if flag(schema, "x-kubernetes-int-or-string") {
        let others = ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"];
        for word in others.into_iter().filter(|word| flag(schema, word)) {
            let why = "must be false if x-kubernetes-int-or-string is true";
            errors.invalid(format!("{path}.{word}"), &Value::Bool(true), why);
        }
    }
    if at(schema, "x-kubernetes-preserve-unknown-fields") == &Value::Bool(false) {
        let why = "must be true or undefined";
        errors.invalid(format!("{path}.x-kubernetes-preserve-unknown-fields"), &Value::Bool(false), why);
    }
    check_list_type(schema, path, kind, errors);
    match text(schema, "x-kubernetes-map-type") {
        "" => {}
        "granular" | "atomic" if kind == "object" => {}
        "granular" | "atomic" => errors.invalid_text(
            format!("{path}.type"),
            kind,
            "must be object if x-kubernetes-map-type is specified",
        ),
        other => {
            let field = format!("{path}.x-kubernetes-map-type");
            errors.not_supported(field, &other.into(), &["atomic", "granular"]);
        }
    }
}

fn check_list_type(schema: &Value, path: Path, kind: &str, errors: &mut Errors) {
    let list_type = text(schema, "x-kubernetes-list-type");
    let keys = list(schema, "x-kubernetes-list-map-keys");
    let field = format!("{path}.x-kubernetes-list-type");
    match list_type {
        "" | "atomic" | "set" | "map" => {}
        other => return errors.not_supported(field, &other.into(), &["atomic", "map", "set"]),
    }
    if !list_type.is_empty() && kind != "array" {
        let why = "must be array if x-kubernetes-list-type is specified";
        errors.invalid_text(format!("{path}.type"), kind, why);
    }
    let field = format!("{path}.x-kubernetes-list-map-keys");
    match (list_type, keys) {
        ("map", []) => errors.required(field, "must not be empty if x-kubernetes-list-type is map"),
        ("map", keys) => {
            if text(schema, "items.type") != "object" {
                let why = "must be object if parent array's x-kubernetes-list-type is map";
                errors.invalid_text(format!("{path}.items.type"), text(schema, "items.type"), why);
            }
            for (i, key) in keys.iter().enumerate() {
                let name = key.as_str().unwrap_or("");
                let inner = at(schema, "items.properties").get(name);
                if keys[..i].contains(key) {
                    errors.duplicate(format!("{field}[{i}]"), key);
                }
                if inner.is_some_and(|p| matches!(text(p, "type"), "array" | "object")) {
                    let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                    let kind = inner.map_or("", |p| text(p, "type"));
                    errors.invalid_text(format!("{path}.items.properties[{name}].type"), kind, why);
                }
                let needed = list(schema, "items.required").contains(key)
                    || inner.is_some_and(|p| !at(p, "default").is_null());
                if inner.is_none() {
                    let why = "entries must all be names of item properties";
                    errors.invalid_text(format!("{field}[{i}]"), name, why);
                } else if !needed {
                    let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                    errors.required(format!("{path}.items.properties[{name}].default"), why);
                }
            }
        }
        (_, []) => {}
        _ => errors.forbidden(field, "must be empty if x-kubernetes-list-type is not map"),
    }
    check_items(list_type, at(schema, "items"), path, errors);
}

/// Checks the items of a set or a map: none of them may be null. An item of a set is compared as a
/// whole, so it is a scalar, or a list or map that is atomic.
fn check_items(list_type: &str, items: &Value, path: Path, errors: &mut Errors) {
    if matches!(list_type, "set" | "map") && flag(items, "nullable") {
        let why = format!("cannot be nullable when x-kubernetes-list-type is {list_type}");
        errors.forbidden(format!("{path}.items.nullable"), &why);
    }
    let word = match text(items, "type") {
        "array" => "x-kubernetes-list-type",
        "object" => "x-kubernetes-map-type",
        _ => return,
    };
    let found = text(items, word);
    let is_whole = found == "atomic" || (found.is_empty() && word == "x-kubernetes-list-type");
    if list_type == "set" && !is_whole {
        let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
        errors.invalid_text(format!("{path}.items.{word}"), found, why);
    }
}
