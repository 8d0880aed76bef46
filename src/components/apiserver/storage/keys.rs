//! The keys of objects: in the store, where a key begins with [`ROOT`] and the resource, and in the
//! cache, which has a map for each resource.
//!
//! | object | resource | key in the cache | key in the store |
//! |---|---|---|---|
//! | Pod | `pods` | `default/web` | `/registry/pods/default/web` |
//! | Node | `nodes` | `n1` | `/registry/nodes/n1` |
//! | custom resource | `example.com/tabs` | `default/a` | `/registry/example.com/tabs/default/a` |

use api::kinds::Kind;
use api::meta;
use bytes::Bytes;
use serde_json::Value;

/// The prefix of the keys of all objects.
pub(crate) const ROOT: &str = "/registry/";
/// The first key behind all objects: '0' is the character after '/'.
pub(crate) const ROOT_END: &str = "/registry0";

/// `default/web`, or `n1` for what has no namespace.
pub(crate) fn object_key(kind: &Kind, namespace: &str, name: &str) -> String {
    if kind.namespaced { format!("{namespace}/{name}") } else { name.to_string() }
}

/// Returns the key of an object, for callers that have only the object.
pub(crate) fn key_of(kind: &Kind, object: &Value) -> String {
    object_key(kind, meta::namespace(object), meta::name(object))
}

/// Returns namespace and name of an object's key; the namespace is empty for what has none.
pub(crate) fn namespace_and_name(key: &str) -> (&str, &str) {
    key.split_once('/').unwrap_or(("", key))
}

/// Returns what the keys of a namespace's objects begin with; empty for all namespaces.
pub(crate) fn prefix(namespace: &str) -> String {
    if namespace.is_empty() { String::new() } else { format!("{namespace}/") }
}

/// Returns the key in the store of an object with this key in the cache.
pub(crate) fn store_key(kind: &Kind, key: &str) -> Bytes {
    format!("{ROOT}{}/{key}", kind.place()).into()
}

/// Returns the resource that a key of the store belongs to, and the object's key in the cache.
/// Groups of custom resources have a dot, plurals have none.
pub(crate) fn resource_and_key(key: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(key).ok()?.strip_prefix(ROOT)?;
    let (first, rest) = text.split_once('/')?;
    if !first.contains('.') {
        return Some((first, rest));
    }
    let (plural, rest) = rest.split_once('/')?;
    Some((&text[..first.len() + 1 + plural.len()], rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::kinds;

    #[test]
    fn a_key_is_made_of_its_parts_and_read_again() {
        for (kind, namespace, name, key) in [
            (kinds::find("", "v1", "Pod"), "default", "web", "/registry/pods/default/web"),
            (kinds::find("", "v1", "Node"), "", "n1", "/registry/nodes/n1"),
        ] {
            let kind = kind.unwrap();
            let own = object_key(kind, namespace, name);
            let stored = store_key(kind, &own);
            assert_eq!(stored, key);
            assert_eq!(resource_and_key(&stored), Some((kind.place(), own.as_str())));
            assert_eq!(namespace_and_name(&own), (namespace, name));
            assert!(own.starts_with(&prefix(namespace)));
        }
        let custom = resource_and_key(b"/registry/example.com/tabs/default/a");
        assert_eq!(custom, Some(("example.com/tabs", "default/a")));
        for other in [&b"/registry/pods"[..], b"/registry/example.com/tabs", b"/ropewalk/undone", b"\xff"] {
            assert_eq!(resource_and_key(other), None);
        }
    }
}
