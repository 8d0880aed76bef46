//! Decodes kustomization files into typed structures, as strictly as kustomize does.
//!
//! Source: kustomize's `Kustomization.Unmarshal`, which is Go's `json.Decoder` with
//! `DisallowUnknownFields`. At every level an unknown field is an error, a value of the wrong type
//! is an error, `null` leaves the field at its zero value, and the case of a field's name does not
//! matter. The error texts are Go's.

use serde_json::Value;
use std::collections::BTreeMap;

/// The place of a value: the Go type that has the field, and the path of fields from the root.
pub(super) struct At {
    parent: &'static str,
    path: String,
}

impl At {
    pub(super) fn root() -> At {
        At { parent: "", path: String::new() }
    }
    pub(super) fn field(&self, parent: &'static str, name: &str) -> At {
        let path = if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) };
        At { parent, path }
    }
}

/// A type that a field of a kustomization file may have.
pub(super) trait Decode: Default {
    /// Returns the type's name in Go, which the errors show.
    fn go_type() -> String;

    /// Reads a value that is not null.
    ///
    /// # Errors
    /// The value, or a value within it, has the wrong type or an unknown field.
    fn decode(value: &Value, at: &At) -> Result<Self, String>;

    /// Reads a value; null is the zero value.
    ///
    /// # Errors
    /// As of [`Decode::decode`].
    fn read(value: &Value, at: &At) -> Result<Self, String> {
        if value.is_null() { Ok(Self::default()) } else { Self::decode(value, at) }
    }
}

/// The error of a value that has the wrong type.
pub(super) fn mismatch(value: &Value, at: &At, go_type: &str) -> String {
    let found = match value {
        Value::Null => "null".to_string(),
        Value::Bool(_) => "bool".to_string(),
        Value::Number(number) if go_type == "int64" => format!("number {number}"),
        Value::Number(_) => "number".to_string(),
        Value::String(_) => "string".to_string(),
        Value::Array(_) => "array".to_string(),
        Value::Object(_) => "object".to_string(),
    };
    match at.path.as_str() {
        "" => format!("json: cannot unmarshal {found} into Go value of type {go_type}"),
        path => format!(
            "json: cannot unmarshal {found} into Go struct field {}.{path} of type {go_type}",
            at.parent
        ),
    }
}

/// Returns the fields of a map in Go's order, which is that of the alphabet.
pub(super) fn fields<'a>(
    value: &'a Value,
    at: &At,
    go_type: &str,
) -> Result<BTreeMap<&'a str, &'a Value>, String> {
    let map = value.as_object().ok_or_else(|| mismatch(value, at, go_type))?;
    Ok(map.iter().map(|(key, inner)| (key.as_str(), inner)).collect())
}

/// Returns the known field that a key means: the exact name first, then one in another case.
///
/// # Errors
/// No field has that name.
pub(super) fn field_name(key: &str, known: &[&'static str]) -> Result<&'static str, String> {
    let exact = known.iter().find(|name| **name == key);
    let found = exact.or_else(|| known.iter().find(|name| name.eq_ignore_ascii_case(key)));
    found.copied().ok_or_else(|| format!("json: unknown field {key:?}"))
}

impl Decode for String {
    fn go_type() -> String {
        "string".into()
    }
    fn decode(value: &Value, at: &At) -> Result<String, String> {
        value.as_str().map(String::from).ok_or_else(|| mismatch(value, at, &Self::go_type()))
    }
}

impl Decode for bool {
    fn go_type() -> String {
        "bool".into()
    }
    fn decode(value: &Value, at: &At) -> Result<bool, String> {
        value.as_bool().ok_or_else(|| mismatch(value, at, &Self::go_type()))
    }
}

impl Decode for i64 {
    fn go_type() -> String {
        "int64".into()
    }
    fn decode(value: &Value, at: &At) -> Result<i64, String> {
        // YAML's `3.0` becomes JSON's `3` before Go reads it.
        let whole = || format!("{:.0}", value.as_f64().filter(|f| f.fract() == 0.0)?).parse().ok();
        value.as_i64().or_else(whole).ok_or_else(|| mismatch(value, at, &Self::go_type()))
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn go_type() -> String {
        format!("[]{}", T::go_type())
    }
    fn decode(value: &Value, at: &At) -> Result<Vec<T>, String> {
        let list = value.as_array().ok_or_else(|| mismatch(value, at, &Self::go_type()))?;
        list.iter().map(|item| T::read(item, at)).collect()
    }
}

impl<T: Decode> Decode for BTreeMap<String, T> {
    fn go_type() -> String {
        format!("map[string]{}", T::go_type())
    }
    fn decode(value: &Value, at: &At) -> Result<Self, String> {
        let read = |(key, inner): (&str, &Value)| Ok((key.to_string(), T::read(inner, at)?));
        fields(value, at, &Self::go_type())?.into_iter().map(read).collect()
    }
}

/// A pointer in Go.
impl<T: Decode> Decode for Option<T> {
    fn go_type() -> String {
        T::go_type()
    }
    fn decode(value: &Value, at: &At) -> Result<Option<T>, String> {
        T::decode(value, at).map(Some)
    }
}

/// Defines a structure and its decoder: the name, Go's name, and each field with its name in files.
macro_rules! strict {
    ($($(#[$doc:meta])* $name:ident as $go:literal {
        $($(#[$about:meta])* $field:ident: $type:ty = $key:literal,)*
    })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default)]
        pub(super) struct $name {
            $($(#[$about])* pub $field: $type,)*
        }

        impl Decode for $name {
            fn go_type() -> String {
                concat!("types.", $go).into()
            }
            fn decode(value: &Value, at: &At) -> Result<$name, String> {
                let mut decoded = $name::default();
                for (key, inner) in strict::fields(value, at, &Self::go_type())? {
                    let key = strict::field_name(key, &[$($key),*])?;
                    let at = at.field($go, key);
                    match key {
                        $($key => decoded.$field = Decode::read(inner, &at)?,)*
                        _ => unreachable!("every known field has an arm"),
                    }
                }
                Ok(decoded)
            }
        }
    )*};
}
pub(super) use strict;

#[cfg(test)]
mod tests {
    use super::super::types::Kustomization;
    use super::*;
    use crate::manifest;

    fn read(text: &str) -> Result<Kustomization, String> {
        Kustomization::read(&manifest::parse_yaml(text.as_bytes())?, &At::root())
    }

    #[test]
    fn unknown_fields_are_refused_at_every_level() {
        for (text, field) in [
            ("foo: 1", "foo"),
            ("patches: [{target: {kinds: Deployment}}]", "kinds"),
            ("patches: [{targets: {}}]", "targets"),
            ("patchesJson6902: [{target: {nam: x}}]", "nam"),
            ("configMapGenerator: [{type: Opaque}]", "type"),
            ("configMapGenerator: [{options: {disableNameSuffixHas: true}}]", "disableNameSuffixHas"),
            ("secretGenerator: [{options: {label: {}}}]", "label"),
            ("generatorOptions: {immutabel: true}", "immutabel"),
            ("sortOptions: {legacySortOptions: {first: []}}", "first"),
            ("labels: [{includeVolumeClaimTemplates: true}]", "includeVolumeClaimTemplates"),
            ("metadata: {nam: x}", "nam"),
            ("images: [{name: x, tag: '1'}]", "tag"),
            ("replicas: [{name: x, replicas: 1}]", "replicas"),
        ] {
            assert_eq!(read(text).unwrap_err(), format!("json: unknown field {field:?}"), "{text}");
        }
    }

    #[test]
    fn wrong_types_are_refused_in_gos_words() {
        for (text, found, field, wanted) in [
            ("namespace: 12", "number", "Kustomization.namespace", "string"),
            ("namePrefix: 1", "number", "Kustomization.namePrefix", "string"),
            ("kind: 3", "number", "Kustomization.kind", "string"),
            ("resources: [1]", "number", "Kustomization.resources", "string"),
            ("resources: {a: b}", "object", "Kustomization.resources", "[]string"),
            ("bases: ../base", "string", "Kustomization.bases", "[]string"),
            ("components: x", "string", "Kustomization.components", "[]string"),
            ("openapi: {path: 1}", "number", "Kustomization.openapi", "string"),
            ("commonAnnotations: [a]", "array", "Kustomization.commonAnnotations", "map[string]string"),
            ("commonLabels: {a: 1}", "number", "Kustomization.commonLabels", "string"),
            ("labels: [{pairs: {a: true}}]", "bool", "Label.labels.pairs", "string"),
            ("labels: [{includeSelectors: x}]", "string", "Label.labels.includeSelectors", "bool"),
            ("labels: {pairs: {a: b}}", "object", "Kustomization.labels", "[]types.Label"),
            ("replicas: [3]", "number", "Kustomization.replicas", "types.Replica"),
            ("replicas: [{count: '3'}]", "string", "Replica.replicas.count", "int64"),
            ("replicas: [{count: 3.5}]", "number 3.5", "Replica.replicas.count", "int64"),
            ("images: [{newTag: 1.28}]", "number", "Image.images.newTag", "string"),
            ("patches: [{target: x}]", "string", "Patch.patches.target", "types.Selector"),
            ("patches: [{target: {kind: 1}}]", "number", "Selector.patches.target.kind", "string"),
            ("patches: [{options: {a: 'true'}}]", "string", "Patch.patches.options", "bool"),
            ("patchesJson6902: x", "string", "Kustomization.patchesJson6902", "[]types.Patch"),
            (
                "configMapGenerator: [{literals: x}]",
                "string",
                "ConfigMapArgs.configMapGenerator.literals",
                "[]string",
            ),
            ("secretGenerator: [{type: 1}]", "number", "SecretArgs.secretGenerator.type", "string"),
            (
                "configMapGenerator: [{options: {labels: {a: 1}}}]",
                "number",
                "GeneratorOptions.configMapGenerator.options.labels",
                "string",
            ),
            ("sortOptions: {order: 1}", "number", "SortOptions.sortOptions.order", "types.SortOrder"),
            (
                "patchesStrategicMerge: p.yaml",
                "string",
                "Kustomization.patchesStrategicMerge",
                "[]types.PatchStrategicMerge",
            ),
        ] {
            let want =
                format!("json: cannot unmarshal {found} into Go struct field {field} of type {wanted}");
            assert_eq!(read(text).unwrap_err(), want, "{text}");
        }
        let want = "json: cannot unmarshal array into Go value of type types.Kustomization";
        assert_eq!(read("[a]").unwrap_err(), want);
    }

    #[test]
    fn null_is_the_zero_value_and_names_may_have_any_case() {
        let file = read("namespace: null\nlabels: [null]\npatches: [{target: null}]\nreplicas: [{name: a}]")
            .unwrap();
        assert_eq!((file.namespace.as_str(), file.labels.len()), ("", 1));
        assert!(file.patches[0].target.is_none());
        assert_eq!(file.replicas[0].count, 0);
        let file =
            read("NamePrefix: a-\nimages: [{name: web, newtag: '2'}]\nreplicas: [{count: 3.0}]").unwrap();
        assert_eq!((file.name_prefix.as_str(), file.images[0].new_tag.as_str()), ("a-", "2"));
        assert_eq!(file.replicas[0].count, 3);
    }
}
