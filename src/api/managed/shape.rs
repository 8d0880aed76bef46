//! How a value is merged: which maps are owned whole, and what a list's items are told apart by. Kinds of the table are known
//! by the names of their fields, custom resources by their schema; what neither says is a map of maps and atomic lists.

use crate::api::custom::{ListType, Schema};
use crate::api::kinds::Kind;
use crate::api::strategic::{Merge, merge_of};
use serde_json::{Map, Value};

/// A place in an object of some kind.
#[derive(Clone, Copy)]
pub enum Shape<'a> {
    /// The field `name` of the field `parent`; for an item, those of its list.
    Named {
        kind: &'a str,
        parent: &'a str,
        name: &'a str,
        item: bool,
    },
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
            None => Shape::Named { kind: kind.kind, parent: "", name: "", item: false },
        }
    }

    pub fn field(self, field: &'a str) -> Shape<'a> {
        match self {
            Shape::Named { kind, name, .. } => Shape::Named { kind, parent: name, name: field, item: false },
            Shape::Schema(schema) if schema.embedded && field == "metadata" => {
                Shape::Named { kind: "", parent: "", name: "metadata", item: false }
            }
            Shape::Schema(schema) => schema.field(field).map_or(Shape::Free, Shape::Schema),
            Shape::Free => Shape::Free,
        }
    }

    pub fn item(self) -> Shape<'a> {
        match self {
            Shape::Named { kind, parent, name, .. } => Shape::Named { kind, parent, name, item: true },
            Shape::Schema(schema) => schema.items.as_deref().map_or(Shape::Free, Shape::Schema),
            Shape::Free => Shape::Free,
        }
    }

    /// A map that is owned as a whole.
    pub fn is_atomic(self) -> bool {
        match self {
            Shape::Named { item: true, .. } | Shape::Free => false,
            Shape::Named { name, .. } => matches!(
                name,
                "selector"
                    | "labelSelector"
                    | "namespaceSelector"
                    | "nodeSelector"
                    | "podSelector"
                    | "configMapKeyRef"
                    | "secretKeyRef"
                    | "fieldRef"
                    | "resourceFieldRef"
                    | "roleRef"
                    | "claimRef"
                    | "involvedObject"
                    | "targetRef"
                    | "scaleTargetRef"
                    | "secretRef"
            ),
            Shape::Schema(schema) => schema.atomic,
        }
    }

    /// Something of its own to whoever brings it, beside the fields in it. The parts that every object of a Go type has,
    /// said or not, are nobody's.
    pub fn is_own(self) -> bool {
        match self {
            Shape::Named { item: true, .. } => false,
            Shape::Named { name, .. } => !matches!(
                name,
                "" | "metadata"
                    | "spec"
                    | "status"
                    | "template"
                    | "strategy"
                    | "updateStrategy"
                    | "jobTemplate"
            ),
            Shape::Schema(_) | Shape::Free => true,
        }
    }

    pub fn keys(self) -> Keys {
        match self {
            Shape::Named { kind, parent, name, item: false } => {
                let keys: &[&str] = match merge_of(kind, parent, name) {
                    Merge::Atomic => return Keys::Atomic,
                    Merge::Set => return Keys::Set,
                    Merge::By("containerPort") => &["containerPort", "protocol"],
                    Merge::By("port") => &["port", "protocol"],
                    Merge::By("topologyKey") => &["topologyKey", "whenUnsatisfiable"],
                    Merge::By(key) => &[key],
                };
                Keys::By(keys.iter().map(|k| k.to_string()).collect())
            }
            Shape::Schema(schema) => match &schema.list {
                ListType::Atomic => Keys::Atomic,
                ListType::Set => Keys::Set,
                ListType::Map(keys) => {
                    let mut keys = keys.clone();
                    keys.sort();
                    Keys::By(keys)
                }
            },
            _ => Keys::Atomic,
        }
    }

    /// `k:{"name":"c"}`: what an item of this list is called in a field set; `None` if it has not all keys.
    pub fn key(self, keys: &[String], item: &Value) -> Option<String> {
        let mut map = Map::new();
        for key in keys {
            let value = match (item.get(key).filter(|v| !v.is_null()), self) {
                (Some(v), _) => v.clone(),
                (None, Shape::Named { .. }) if key == "protocol" => "TCP".into(),
                (None, Shape::Schema(schema)) => Some(schema.key(item, key)).filter(|v| !v.is_null())?,
                (None, _) => return None,
            };
            map.insert(key.clone(), value);
        }
        Some(format!("k:{}", Value::Object(map)))
    }
}
