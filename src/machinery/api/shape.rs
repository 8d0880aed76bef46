//! How lists and maps merge: by which fields the items of a list are identified, which maps are
//! owned as a whole, and how a strategic merge patch merges. Built-in kinds have it in their types,
//! custom resources in their schema. Without it a map is a map of maps, and a list is atomic.
//!
//! The types say it as upstream's OpenAPI document does: `x-kubernetes-list-type`,
//! `-list-map-keys`, `-map-type`, `-patch-strategy` and `-patch-merge-key`, beside a field or a
//! type. What a field says goes before what its type says.

use super::custom::{ListType, Schema};
use super::kinds::{self, Kind};
use super::published;
use super::value::{list, text};
use serde_json::{Map, Value};

/// A value whose type is published.
#[derive(Clone, Copy)]
pub struct Typed {
    /// Its type, as it is published; empty for lists, maps and scalars.
    name: &'static str,
    schema: &'static Value,
    /// What the field says beside its type; that is null at the root.
    place: &'static Value,
    /// The type and the field that it stands in; both are empty at the root and for what a list or
    /// a plain map contains.
    owner: &'static str,
    field: &'static str,
    /// An item of a list.
    item: bool,
}

impl Typed {
    fn of(place: &'static Value) -> Typed {
        let name = place.get("$ref").and_then(Value::as_str).and_then(|r| r.rsplit('/').next());
        let plain = Typed { name: "", schema: place, place, owner: "", field: "", item: false };
        name.and_then(Typed::named).map_or(plain, |typed| Typed { place, ..typed })
    }

    fn named(name: &str) -> Option<Typed> {
        let (name, schema) = published::schemas().get_key_value(name)?;
        Some(Typed { name, schema, place: &Value::Null, owner: "", field: "", item: false })
    }

    fn properties(self) -> Option<&'static Map<String, Value>> {
        self.schema.get("properties").and_then(Value::as_object)
    }

    fn field(self, field: &str) -> Option<Typed> {
        if let Some((field, schema)) = self.properties().and_then(|p| p.get_key_value(field)) {
            return Some(Typed { owner: self.name, field: field.as_str(), ..Typed::of(schema) });
        }
        self.schema.get("additionalProperties").map(Typed::of)
    }

    fn items(self) -> Option<Typed> {
        Some(Typed { item: true, ..Typed::of(self.schema.get("items")?) })
    }

    fn is_atomic(self) -> bool {
        const MAP_TYPE: &str = "x-kubernetes-map-type";
        let map_type = self.place.get(MAP_TYPE).or_else(|| self.schema.get(MAP_TYPE));
        map_type.is_some_and(|map_type| map_type == "atomic")
    }

    fn keys(self) -> Keys {
        match text(self.place, "x-kubernetes-list-type") {
            "set" => Keys::Set,
            "map" => {
                let keys = list(self.place, "x-kubernetes-list-map-keys").iter();
                let mut keys: Vec<String> = keys.filter_map(Value::as_str).map(String::from).collect();
                keys.sort();
                Keys::By(keys)
            }
            _ => Keys::Atomic,
        }
    }

    /// Returns whether this is one of the words of the field's patch strategy.
    fn has_strategy(self, word: &str) -> bool {
        text(self.place, "x-kubernetes-patch-strategy").split(',').any(|strategy| strategy == word)
    }
}

/// How a strategic merge patch merges a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merge {
    /// The patch's list replaces the old one.
    Atomic,
    /// Items are the same if this field is the same.
    By(&'static str),
    /// A set of primitives.
    Set,
}

/// A place in an object of some kind.
#[derive(Clone, Copy)]
pub enum Shape<'a> {
    /// A place that upstream's published schema describes.
    Typed(Typed),
    /// A place that the schema of a CustomResourceDefinition describes.
    Schema(&'a Schema),
    /// Nothing is known of it: lists there are atomic.
    Free,
}

/// What identifies the items of a list.
#[derive(Clone, Debug, PartialEq)]
pub enum Keys {
    /// Nothing: the list is one value.
    Atomic,
    /// These fields, in alphabetical order.
    By(Vec<String>),
    /// The items themselves, which are primitives.
    Set,
}

impl<'a> Shape<'a> {
    /// Returns the root of the kind's objects.
    pub fn of(kind: &'a Kind) -> Shape<'a> {
        match &kind.custom {
            Some(custom) => Shape::Schema(&custom.schema),
            None => Typed::named(kind.schema_name).map_or(Shape::Free, Shape::Typed),
        }
    }

    /// Returns the shape of the kind of this name in the table. Of a kind that is not there nothing
    /// is known.
    pub fn of_kind(kind: &str) -> Shape<'static> {
        kinds::all().iter().find(|known| known.kind == kind).map_or(Shape::Free, Shape::of)
    }

    /// Returns a field of this map; of one that neither type nor schema names nothing is known.
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

    /// True for a field that the type of this map names, false for a key of a plain map.
    pub(crate) fn names_field(self, field: &str) -> bool {
        match self {
            Shape::Typed(typed) => typed.properties().is_some_and(|all| all.contains_key(field)),
            Shape::Schema(schema) => {
                schema.properties.contains_key(field) || (schema.embedded && field == "metadata")
            }
            Shape::Free => false,
        }
    }

    /// Returns the shape of the items of this list.
    pub fn item(self) -> Shape<'a> {
        match self {
            Shape::Typed(typed) => typed.items().map_or(Shape::Free, Shape::Typed),
            Shape::Schema(schema) => schema.items.as_deref().map_or(Shape::Free, Shape::Schema),
            Shape::Free => Shape::Free,
        }
    }

    /// True for a map that is owned as a whole.
    pub(crate) fn is_atomic(self) -> bool {
        match self {
            Shape::Typed(typed) => typed.is_atomic(),
            Shape::Free => false,
            Shape::Schema(schema) => schema.atomic,
        }
    }

    /// True if an update records the map or the list itself with a `.` element. Parts that every
    /// object of a Go type has are not recorded; the containers of a pod are null in an empty one.
    pub fn is_own(self) -> bool {
        match self {
            Shape::Typed(Typed { item: true, .. }) => false,
            Shape::Typed(Typed { owner: "", field: "", name, .. }) => name.is_empty(),
            Shape::Typed(Typed { field, .. }) => !matches!(
                field,
                "metadata"
                    | "spec"
                    | "status"
                    | "template"
                    | "strategy"
                    | "updateStrategy"
                    | "jobTemplate"
                    | "containers"
            ),
            Shape::Schema(_) | Shape::Free => true,
        }
    }

    /// Returns what identifies the items of this list.
    pub fn keys(self) -> Keys {
        match self {
            Shape::Typed(typed) => typed.keys(),
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

    /// Returns how a strategic merge patch merges this list. Custom resources have none.
    pub fn merge(self) -> Merge {
        match self {
            Shape::Typed(typed) if typed.has_strategy("merge") => {
                match text(typed.place, "x-kubernetes-patch-merge-key") {
                    "" => Merge::Set,
                    key => Merge::By(key),
                }
            }
            _ => Merge::Atomic,
        }
    }

    /// True if a strategic merge patch names all keys of this map, or of the items of this list,
    /// that are to stay.
    pub fn retains_keys(self) -> bool {
        matches!(self, Shape::Typed(typed) if typed.has_strategy("retainKeys"))
    }

    /// True if a strategic merge patch replaces this map.
    pub fn is_replaced(self) -> bool {
        matches!(self, Shape::Typed(typed) if typed.has_strategy("replace"))
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

    /// k8s-openapi leaves out what is said of merging; `scripts/schemas` adds it.
    #[test]
    fn the_published_types_say_how_they_are_merged() {
        let mut counts = std::collections::BTreeMap::new();
        for schema in published::schemas().values() {
            let fields = schema["properties"].as_object().into_iter().flat_map(|all| all.values());
            for word in fields.chain([schema]).flat_map(|place| place.as_object().unwrap().keys()) {
                *counts.entry(word.as_str()).or_insert(0) += 1;
            }
        }
        let least = [
            ("x-kubernetes-list-type", 200),
            ("x-kubernetes-list-map-keys", 40),
            ("x-kubernetes-map-type", 25),
            ("x-kubernetes-patch-strategy", 40),
            ("x-kubernetes-patch-merge-key", 40),
        ];
        for (word, least) in least {
            assert!(counts.get(word).is_some_and(|n| *n >= least), "{word}: {:?}", counts.get(word));
        }
    }

    #[test]
    fn patches_merge_as_the_types_say() {
        let container = ["spec", "template", "spec", "containers"];
        let of = |kind: &str, path: &[&'static str]| {
            let root = Shape::of_kind(kind);
            path.iter().fold(root, |here, step| if *step == "[]" { here.item() } else { here.field(step) })
        };
        let merge = |kind: &str, path: &[&'static str]| of(kind, path).merge();
        assert_eq!(merge("Deployment", &container), Merge::By("name"));
        let ports = [&container[..], &["[]", "ports"]].concat();
        assert_eq!(merge("Deployment", &ports), Merge::By("containerPort"));
        assert_eq!(merge("Service", &["spec", "ports"]), Merge::By("port"));
        assert_eq!(merge("NetworkPolicy", &["spec", "egress", "[]", "ports"]), Merge::Atomic);
        assert_eq!(merge("Pod", &["metadata", "finalizers"]), Merge::Set);
        assert_eq!(merge("Pod", &["spec", "tolerations"]), Merge::Atomic);
        assert_eq!(merge("CertificateSigningRequest", &["status", "conditions"]), Merge::Atomic);
        assert_eq!(
            merge("Pod", &["status", "containerStatuses", "[]", "volumeMounts"]),
            Merge::By("mountPath")
        );
        assert_eq!(merge("Tab", &["spec", "containers"]), Merge::Atomic, "a custom kind has no strategies");
        assert!(of("Deployment", &["spec", "strategy"]).retains_keys());
        assert!(!of("DaemonSet", &["spec", "updateStrategy"]).retains_keys());
        assert!(of("Pod", &["spec", "volumes"]).retains_keys());
        assert!(of("PodDisruptionBudget", &["spec", "selector"]).is_replaced());
        assert!(!of("Deployment", &["spec", "selector"]).is_replaced());
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
        assert!(!at("PersistentVolume", &["spec", "claimRef"]).is_atomic(), "the field says otherwise");
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
