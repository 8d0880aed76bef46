//! What the items of a list are told apart by, and which maps are owned as a whole. Built-in kinds
//! say so by their types, custom resources by their schema; what neither says is a map of maps and
//! atomic lists.
//!
//! `rules.txt` has the extensions `x-kubernetes-list-type`, `-list-map-keys` and `-map-type` of
//! upstream's OpenAPI document (`api/openapi-spec/swagger.json`, 1.35) for the types in
//! `schemas.json.gz`: a type without `io.k8s.` and `api.`, the field if the rule is the field's and
//! not that of the type, and `atomic`, `set` or the keys of a list's items.

use crate::custom::{ListType, Schema};
use crate::kinds::Kind;
use crate::published;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::LazyLock;

#[derive(Clone, Debug, PartialEq)]
enum Rule {
    Atomic,
    Set,
    By(Vec<String>),
}

/// By type and field; the field of a type's own rule is empty.
static RULES: LazyLock<HashMap<(&str, &str), Rule>> = LazyLock::new(|| {
    let rule = |word: &str| match word {
        "atomic" => Rule::Atomic,
        "set" => Rule::Set,
        keys => Rule::By(keys.split(',').map(String::from).collect()),
    };
    let line = |line: &'static str| {
        let mut words = line.split(' ');
        let (first, second) = (words.next()?, words.next()?);
        Some(match words.next() {
            Some(third) => ((first, second), rule(third)),
            None => ((first, ""), rule(second)),
        })
    };
    include_str!("rules.txt").lines().filter_map(line).collect()
});

/// A value whose type is published.
#[derive(Clone, Copy)]
pub struct Typed {
    /// Its type as `rules.txt` names it; empty for lists, maps and scalars.
    name: &'static str,
    schema: &'static Value,
    /// The type and the field that it stands in; both are empty at the root and for what a list or
    /// a plain map contains.
    owner: &'static str,
    field: &'static str,
    /// An item of a list.
    item: bool,
}

impl Typed {
    fn of(schema: &'static Value) -> Typed {
        let name = schema.get("$ref").and_then(Value::as_str).and_then(|r| r.rsplit('/').next());
        let plain = Typed { name: "", schema, owner: "", field: "", item: false };
        name.and_then(Typed::named).unwrap_or(plain)
    }

    fn named(name: &str) -> Option<Typed> {
        let (name, schema) = published::schemas().get_key_value(name)?;
        let name = name.strip_prefix("io.k8s.").unwrap_or(name);
        let name = name.strip_prefix("api.").unwrap_or(name);
        Some(Typed { name, schema, owner: "", field: "", item: false })
    }

    fn field(self, field: &str) -> Option<Typed> {
        let properties = self.schema.get("properties").and_then(Value::as_object);
        if let Some((field, schema)) = properties.and_then(|p| p.get_key_value(field)) {
            return Some(Typed { owner: self.name, field: field.as_str(), ..Typed::of(schema) });
        }
        self.schema.get("additionalProperties").map(Typed::of)
    }

    fn items(self) -> Option<Typed> {
        Some(Typed { item: true, ..Typed::of(self.schema.get("items")?) })
    }

    fn is_atomic(self) -> bool {
        let rule = |owner, field| RULES.get(&(owner, field)) == Some(&Rule::Atomic);
        rule(self.name, "") || rule(self.owner, self.field)
    }
}

/// A place in an object of some kind.
#[derive(Clone, Copy)]
pub enum Shape<'a> {
    Typed(Typed),
    Schema(&'a Schema),
    Free,
}

/// What a list's items are told apart by.
#[derive(Clone, Debug, PartialEq)]
pub enum Keys {
    Atomic,
    /// In alphabetical order.
    By(Vec<String>),
    Set,
}

impl<'a> Shape<'a> {
    pub fn of(kind: &'a Kind) -> Shape<'a> {
        match &kind.custom {
            Some(custom) => Shape::Schema(&custom.schema),
            None => Typed::named(kind.schema_name).map_or(Shape::Free, Shape::Typed),
        }
    }

    pub fn field(self, field: &'a str) -> Shape<'a> {
        match self {
            Shape::Typed(typed) => typed.field(field).map_or(Shape::Free, Shape::Typed),
            Shape::Schema(schema) if schema.embedded && field == "metadata" => {
                let metadata = Typed::named(published::OBJECT_META);
                metadata.map_or(Shape::Free, |m| Shape::Typed(Typed { field: "metadata", ..m }))
            }
            Shape::Schema(schema) => schema.field(field).map_or(Shape::Free, Shape::Schema),
            Shape::Free => Shape::Free,
        }
    }

    pub fn item(self) -> Shape<'a> {
        match self {
            Shape::Typed(typed) => typed.items().map_or(Shape::Free, Shape::Typed),
            Shape::Schema(schema) => schema.items.as_deref().map_or(Shape::Free, Shape::Schema),
            Shape::Free => Shape::Free,
        }
    }

    /// A map that is owned as a whole.
    pub fn is_atomic(self) -> bool {
        match self {
            Shape::Typed(typed) => typed.is_atomic(),
            Shape::Free => false,
            Shape::Schema(schema) => schema.atomic,
        }
    }

    /// True if an update records the map itself with a `.` element. Parts that every object of a Go
    /// type has are not recorded.
    pub fn is_own(self) -> bool {
        match self {
            Shape::Typed(Typed { item: true, .. }) => false,
            Shape::Typed(Typed { owner: "", field: "", name, .. }) => name.is_empty(),
            Shape::Typed(Typed { field, .. }) => !matches!(
                field,
                "metadata" | "spec" | "status" | "template" | "strategy" | "updateStrategy" | "jobTemplate"
            ),
            Shape::Schema(_) | Shape::Free => true,
        }
    }

    pub fn keys(self) -> Keys {
        match self {
            Shape::Typed(typed) => match RULES.get(&(typed.owner, typed.field)) {
                Some(Rule::By(keys)) => Keys::By(keys.clone()),
                Some(Rule::Set) => Keys::Set,
                Some(Rule::Atomic) | None => Keys::Atomic,
            },
            Shape::Schema(schema) => match &schema.list {
                ListType::Atomic => Keys::Atomic,
                ListType::Set => Keys::Set,
                ListType::Map(keys) => {
                    let mut keys = keys.clone();
                    keys.sort();
                    Keys::By(keys)
                }
            },
            Shape::Free => Keys::Atomic,
        }
    }

    /// `k:{"name":"c"}`: what an item of this list is called in a field set. A key that the item
    /// omits and that has no default is no part of it; `None` if the item omits all of them.
    pub fn key(self, keys: &[String], item: &Value) -> Option<String> {
        let mut map = Map::new();
        for key in keys {
            let value = match (item.get(key).filter(|v| !v.is_null()), self) {
                (Some(v), _) => v.clone(),
                (None, Shape::Typed(_)) if key == "protocol" => "TCP".into(),
                (None, Shape::Schema(schema)) => schema.key(item, key),
                (None, _) => Value::Null,
            };
            if !value.is_null() {
                map.insert(key.clone(), value);
            }
        }
        (!map.is_empty()).then(|| format!("k:{}", Value::Object(map)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;
    use serde_json::json;

    fn at<'a>(kind: &'static str, path: &[&'a str]) -> Shape<'a> {
        let group = if kind == "Ingress" { "networking.k8s.io" } else { "" };
        let root: Shape<'a> = Shape::of(kinds::find(group, "v1", kind).unwrap());
        path.iter().fold(root, |here, &step| if step == "[]" { here.item() } else { here.field(step) })
    }

    #[test]
    fn every_rule_is_about_a_type_and_a_field_that_are_published() {
        assert!(RULES.len() > 60 && RULES.len() == include_str!("rules.txt").lines().count());
        for (name, field) in RULES.keys() {
            let found = ["io.k8s.api.", "io.k8s."].iter().find_map(|p| Typed::named(&format!("{p}{name}")));
            let typed = found.unwrap_or_else(|| panic!("{name} is not published"));
            assert!(field.is_empty() || typed.field(field).is_some(), "{name} has no field {field}");
        }
    }

    #[test]
    fn references_are_owned_as_a_whole_and_lists_by_their_keys() {
        let node_affinity =
            ["spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"];
        let references: [(&'static str, &[&str]); 8] = [
            ("Pod", &node_affinity),
            ("Pod", &["spec", "nodeSelector"]),
            ("PersistentVolumeClaim", &["spec", "dataSource"]),
            ("ResourceQuota", &["spec", "scopeSelector"]),
            ("PersistentVolume", &["spec", "csi", "nodeStageSecretRef"]),
            ("Ingress", &["spec", "defaultBackend", "service", "port"]),
            ("Ingress", &["spec", "defaultBackend", "resource"]),
            ("Pod", &["metadata", "ownerReferences", "[]"]),
        ];
        for (kind, path) in references {
            assert!(at(kind, path).is_atomic(), "{kind} {path:?}");
        }
        let container = ["spec", "containers", "[]"];
        let resources = [&container[..], &["resources", "claims"]].concat();
        assert_eq!(at("Pod", &resources).keys(), Keys::By(vec!["name".into()]));
        let source = [&container[..], &["envFrom", "[]", "secretRef"]].concat();
        assert!(!at("Pod", &source).is_atomic());
        let ports = at("Pod", &[&container[..], &["ports"]].concat());
        let Keys::By(keys) = ports.keys() else { panic!("ports have keys") };
        let key = r#"k:{"containerPort":53,"protocol":"TCP"}"#;
        assert_eq!(ports.key(&keys, &json!({"containerPort": 53})).unwrap(), key);
        let spread = at("Pod", &["spec", "topologySpreadConstraints"]);
        let Keys::By(keys) = spread.keys() else { panic!("constraints have keys") };
        let key = r#"k:{"topologyKey":"zone"}"#;
        assert_eq!(spread.key(&keys, &json!({"topologyKey": "zone"})).unwrap(), key);
        assert_eq!(spread.key(&keys, &json!({"maxSkew": 1})), None);
    }
}
