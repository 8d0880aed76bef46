//! Objects as every part of the lab keeps them, and how one or some of them are picked.

use super::super::value;
use api::labels::Selector;
use api::meta;
use cel::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A live or former object.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    pub json: Arc<serde_json::Value>,
    pub value: Value,
}

impl Object {
    /// Keeps the JSON and makes the value that expressions see of it.
    pub(crate) fn new(json: serde_json::Value) -> Object {
        Object { value: value::of_json(&json), json: Arc::new(json) }
    }
}

/// Live objects of one kind by (namespace, name).
pub(crate) type Objects = Arc<BTreeMap<(String, String), Object>>;

/// The (namespace, name) under which an object is kept. The namespace is empty if it has none.
pub(crate) fn key(object: &serde_json::Value) -> (String, String) {
    (meta::namespace(object).to_string(), meta::name(object).to_string())
}

/// The object of this name in a namespace; the namespace is empty for a cluster-scoped kind.
pub(crate) fn named<'a>(all: &'a Objects, namespace: &str, name: &str) -> Option<&'a Object> {
    all.get(&(namespace.to_string(), name.to_string()))
}

/// The objects in a namespace, or in all (`*`), whose labels a selector matches, by namespace and
/// name. Without a selector all match.
pub(crate) fn within<'a>(
    all: &'a Objects,
    namespace: &str,
    selector: Option<&Selector>,
) -> impl Iterator<Item = &'a Object> {
    let here = all.iter().filter(move |((own, _), _)| namespace == "*" || own == namespace);
    here.map(|(_, object)| object)
        .filter(move |object| selector.is_none_or(|s| s.matches(&object.json["metadata"]["labels"])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_are_picked_by_namespace_name_and_labels() {
        let object = |namespace: &str, name: &str| {
            let json = json!({"metadata": {"namespace": namespace, "name": name, "labels": {"app": name}}});
            (key(&json), Object::new(json))
        };
        let all: Objects = Arc::new([object("a", "web"), object("a", "db"), object("b", "web")].into());
        let names = |namespace: &str, selector: Option<&Selector>| -> Vec<String> {
            within(&all, namespace, selector).map(|o| meta::name(&o.json).to_string()).collect()
        };
        let web = Selector::parse("app=web").unwrap();
        assert_eq!(names("a", None), ["db", "web"]);
        assert_eq!(names("a", Some(&web)), ["web"]);
        assert_eq!(names("*", Some(&web)), ["web", "web"]);
        let found = |namespace: &str| named(&all, namespace, "db").is_some();
        assert_eq!((found("a"), found("b"), found("")), (true, false, false));
    }
}
