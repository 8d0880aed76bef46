//! Objects as lists and watches bring them, and their keys.

use super::codec::Codec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::{Deserialize, Deserializer};
use serde_json::Value;
use std::borrow::Cow;

/// Namespace (empty for cluster-scoped kinds) and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl Key {
    /// Makes a key of its two parts. The namespace is empty for a cluster-scoped kind.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Key {
        Key { namespace: namespace.into(), name: name.into() }
    }
    /// Returns the key of an object. A part that the object does not have is empty.
    pub fn of<K: kube::Resource>(object: &K) -> Key {
        let meta = object.meta();
        Key::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.namespace.is_empty() {
            true => f.write_str(&self.name),
            false => write!(f, "{}/{}", self.namespace, self.name),
        }
    }
}

/// An object that the type `K` does not accept, as far as it can be read.
#[derive(Clone, Debug, Default)]
pub struct Undecodable {
    /// Its [`identity`] alone.
    pub(super) meta: ObjectMeta,
    reason: String,
}

/// Returns name, namespace, uid and resource version of an object; each empty if it is no string.
pub(super) fn identity(object: &Value) -> ObjectMeta {
    let text = |field: &str| object["metadata"][field].as_str().map(String::from);
    ObjectMeta {
        name: text("name"),
        namespace: text("namespace"),
        uid: text("uid"),
        resource_version: text("resourceVersion"),
        ..ObjectMeta::default()
    }
}

impl Undecodable {
    fn new(value: &Value, reason: String) -> Undecodable {
        Undecodable { meta: identity(value), reason }
    }

    /// Returns the decoder's message.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    pub(super) fn key(&self) -> Key {
        Key::new(self.meta.namespace.clone().unwrap_or_default(), self.meta.name.clone().unwrap_or_default())
    }

    /// Returns whether the two could be one object: the uid is the same or cannot be read.
    pub(super) fn could_be<K: kube::Resource>(&self, known: &K) -> bool {
        self.meta.uid.is_none() || self.meta.uid == known.meta().uid
    }
}

/// An item of a list or of a watch. Every item is read as an untyped value first, so that one that
/// cannot be decoded does not fail the whole list.
#[derive(Clone, Debug)]
pub enum Item<K> {
    /// The object in its type.
    Decoded(K),
    /// What could be read of an object that does not fit its type.
    Undecodable(Box<Undecodable>),
}

/// What upstream reads as the time of a condition that has none.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// Gives a time to each condition of the status that has none, and returns whether there was one.
/// The API server accepts `lastTransitionTime: null`, as upstream's does (Go writes it for a time
/// that was not set), but the type of a condition needs a time. Example: kube-proxy would skip a
/// Service of which a client has written such a condition.
fn complete_conditions(value: &mut Value) -> bool {
    let conditions = value.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
    let mut changed = false;
    for condition in conditions.into_iter().flatten().filter_map(Value::as_object_mut) {
        let time = condition.entry("lastTransitionTime").or_insert(Value::Null);
        if time.is_null() {
            *time = NO_TIME.into();
            changed = true;
        }
    }
    changed
}

impl<K: Codec> Item<K> {
    /// Reads an object.
    pub fn read(value: &Value) -> Item<K> {
        let decoded = K::decode(value).or_else(|error| {
            let mut value = value.clone();
            match complete_conditions(&mut value) {
                true => K::decode(&value),
                false => Err(error),
            }
        });
        match decoded {
            Ok(object) => Item::Decoded(object),
            Err(error) => Item::Undecodable(Box::new(Undecodable::new(value, error.to_string()))),
        }
    }
}

impl<'de, K: Codec> Deserialize<'de> for Item<K> {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        Ok(Item::read(&Value::deserialize(input)?))
    }
}

impl<K: kube::Resource> kube::Resource for Item<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dt: &K::DynamicType) -> Cow<'_, str> {
        K::kind(dt)
    }
    fn group(dt: &K::DynamicType) -> Cow<'_, str> {
        K::group(dt)
    }
    fn version(dt: &K::DynamicType) -> Cow<'_, str> {
        K::version(dt)
    }
    fn plural(dt: &K::DynamicType) -> Cow<'_, str> {
        K::plural(dt)
    }
    fn meta(&self) -> &ObjectMeta {
        match self {
            Item::Decoded(object) => object.meta(),
            Item::Undecodable(found) => &found.meta,
        }
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Item::Decoded(object) => object.meta_mut(),
            Item::Undecodable(found) => &mut found.meta,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_condition_without_a_time_does_not_hide_its_object() {
        use k8s_openapi::api::core::v1::Service;
        let with = |condition: Value| {
            let status = json!({"conditions": [condition]});
            serde_json::from_value::<Item<Service>>(json!({"metadata": {"name": "s"}, "status": status}))
                .unwrap()
        };
        let untimed = json!({"type": "Ready", "status": "True", "reason": "r", "message": "m"});
        let mut null = untimed.clone();
        null["lastTransitionTime"] = Value::Null;
        for condition in [untimed, null] {
            let Item::Decoded(service) = with(condition) else { panic!("not decoded") };
            let conditions = service.status.and_then(|s| s.conditions).unwrap_or_default();
            assert_eq!(serde_json::to_value(&conditions[0].last_transition_time).unwrap(), json!(NO_TIME));
        }
        let Item::Undecodable(found) = with(json!({"type": 5})) else { panic!("decoded") };
        assert!(found.reason().contains("integer"), "{}", found.reason());
    }
}
