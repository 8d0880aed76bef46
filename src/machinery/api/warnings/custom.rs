//! Custom resources and their definitions: finalizers without a domain, rules that a stored value
//! breaks, and formats that are not checked.

use super::Found;
use crate::gostr::quote;
use crate::kinds::Kind;
use crate::meta;
use crate::validate::fields::has_owner;
use crate::value::{at, list, map, text};
use serde_json::Value;
use std::collections::{BTreeSet, HashSet};

/// Warns of what a custom resource has. A rule of its schema that it breaks where it is as it was
/// stored does not refuse it (`shouldRatchetError` upstream).
pub(super) fn resource(kind: &Kind, object: &Value, old: Option<&Value>, found: &mut Found) {
    if let (Some(custom), Some(old)) = (&kind.custom, old) {
        custom.broken_before(object, old).iter().for_each(|error| found.push(error.to_string()));
    }
    finalizers(object, old, found);
}

/// Warns of new finalizers without a domain: two controllers may use the same name. The kinds of
/// the table refuse them (`generateWarningsFromObj` upstream).
fn finalizers(object: &Value, old: Option<&Value>, found: &mut Found) {
    let stored: HashSet<&str> = old.map(|old| meta::finalizers(old).collect()).unwrap_or_default();
    let added: BTreeSet<&str> = meta::finalizers(object).filter(|name| !stored.contains(name)).collect();
    for name in added.into_iter().filter(|name| !has_owner(name)) {
        let path = if name.contains('.') { " including a path (/)" } else { "" };
        found.push(format!(
            "metadata.finalizers: {}: prefer a domain-qualified finalizer name{path} to avoid accidental conflicts with other finalizer writers",
            quote(name)
        ));
    }
}

/// The formats of texts that are checked, without their hyphens (`supportedVersionedFormats`
/// upstream).
const FORMATS: [&str; 26] = [
    "bsonobjectid",
    "uri",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "cidr",
    "mac",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
    "isbn",
    "isbn10",
    "isbn13",
    "creditcard",
    "ssn",
    "hexcolor",
    "rgbcolor",
    "byte",
    "password",
    "date",
    "duration",
    "datetime",
    "k8sshortname",
    "k8slongname",
];

/// Warns of new formats in the schemas of a definition that are not checked, e.g. misspelt ones.
pub(super) fn formats(definition: &Value, old: Option<&Value>, found: &mut Found) {
    let stored = old.map(unrecognized).unwrap_or_default();
    for format in unrecognized(definition).difference(&stored) {
        found.push(format!("unrecognized format {}", quote(format)));
    }
}

fn unrecognized(definition: &Value) -> BTreeSet<&str> {
    let mut formats = BTreeSet::new();
    for version in list(definition, "spec.versions") {
        collect(at(version, "schema.openAPIV3Schema"), &mut formats);
    }
    formats
}

/// Adds the formats of a schema and of the schemas in it. Those in `anyOf` and the like have no
/// type, so upstream does not judge their formats.
fn collect<'a>(schema: &'a Value, formats: &mut BTreeSet<&'a str>) {
    let format = text(schema, "format");
    let is_known = || FORMATS.contains(&format.replace('-', "").as_str());
    if text(schema, "type") == "string" && !format.is_empty() && !is_known() {
        formats.insert(format);
    }
    let of_values = ["items", "additionalProperties"].into_iter().filter_map(|word| schema.get(word));
    let of_fields = map(schema, "properties").into_iter().flat_map(|fields| fields.values());
    of_values.chain(of_fields).for_each(|inner| collect(inner, formats));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::warnings::warnings;
    use serde_json::json;

    fn definition(schema: Value) -> Value {
        let names = json!({"plural": "tabs", "singular": "tab", "kind": "Tab", "listKind": "TabList"});
        json!({"spec": {"group": "example.com", "scope": "Namespaced", "names": names,
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]},
            "status": {"acceptedNames": names, "conditions": [{"type": "Established", "status": "True"}]}})
    }

    #[test]
    fn new_finalizers_of_a_custom_resource_should_have_a_domain() {
        let kind: Kind = crate::custom::kinds_of(&definition(json!({"type": "object"}))).remove(0);
        let object = |all: &[&str]| json!({"metadata": {"name": "t", "finalizers": all}});
        let new = object(&["hold", "example.com/hold", "example.com", "orphan", "hold"]);
        let end = "to avoid accidental conflicts with other finalizer writers";
        let want = |name: &str, path: &str| {
            format!("metadata.finalizers: {name:?}: prefer a domain-qualified finalizer name{path} {end}")
        };
        let both = [want("example.com", " including a path (/)"), want("hold", "")];
        assert_eq!(warnings(&kind, &new, None), both);
        assert_eq!(warnings(&kind, &new, Some(&object(&["hold"]))), both[..1]);
        assert_eq!(warnings(&kind, &new, Some(&new)), [""; 0]);
    }

    /// The rule came when the value was stored.
    #[test]
    fn a_rule_that_a_stored_value_breaks_is_told() {
        let rules = json!([{"rule": "self < 5", "message": "too many"}, {"rule": "self >= oldSelf"}]);
        let n = json!({"type": "integer", "x-kubernetes-validations": rules});
        let spec = json!({"type": "object", "properties": {"n": n}});
        let schema = json!({"type": "object", "properties": {"spec": spec}});
        let kind: Kind = crate::custom::kinds_of(&definition(schema)).remove(0);
        let object = |n: i64, label: &str| json!({"metadata": {"name": "t", "labels": {"a": label}}, "spec": {"n": n}});
        let warnings_of = |new: i64| warnings(&kind, &object(new, "b"), Some(&object(7, "a")));
        assert_eq!(warnings_of(7), ["spec.n: Invalid value: \"integer\": too many"]);
        assert_eq!((warnings_of(8), warnings_of(3)), (vec![], vec![]), "a changed value is judged");
        assert_eq!(warnings(&kind, &object(7, "a"), None), [""; 0]);
    }

    #[test]
    fn a_definition_is_warned_of_formats_that_are_not_checked() {
        let warnings_of = |format: &str, kind: &str, old: Option<&Value>| {
            let field = json!({"type": kind, "format": format});
            let any = json!({"type": "string", "anyOf": [{"format": "odd"}]});
            let inner = json!({"type": "object", "additionalProperties": {"type": "array", "items": field}});
            let new = definition(json!({"type": "object", "properties": {"a": inner, "b": any}}));
            let definitions = crate::kinds::find("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
            (warnings(definitions.unwrap(), &new, old), new)
        };
        for (format, kind) in
            [("date-time", "string"), ("k8s-short-name", "string"), ("int32", "integer"), ("", "string")]
        {
            assert_eq!(warnings_of(format, kind, None).0, [""; 0], "{format}");
        }
        let (warned, stored) = warnings_of("hostnme", "string", None);
        assert_eq!(warned, ["unrecognized format \"hostnme\""]);
        assert_eq!(warnings_of("hostnme", "string", Some(&stored)).0, [""; 0]);
        assert_eq!(
            warnings_of("int-or-string", "string", Some(&stored)).0,
            ["unrecognized format \"int-or-string\""]
        );
    }
}
