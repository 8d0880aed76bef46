//! The parameters of a policy: which objects a binding refers to.

use crate::state::State;
use crate::storage::object::Object;
use api::kinds::{Kind, KindRef};
use api::labels::Selector;
use api::value::{at, text};
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

const NOT_FOUND: &str = "no params found for policy binding with `Deny` parameterNotFoundAction";

/// Finds the kind that a policy names, in the version in which the policy reads it.
///
/// # Errors
/// Upstream's sentence if it is not served.
pub(super) fn kind(state: &State, wanted: (&str, &str, &str)) -> Result<KindRef, String> {
    let catalog = state.cache.kinds();
    let is = |known: &&Kind| (known.group, known.version, known.kind) == wanted && known.is_stored();
    let found = catalog.iter().find(is);
    let found = found.and_then(|known| catalog.resource(known.group, known.version, known.plural));
    found.ok_or_else(|| {
        let (group, version, kind) = wanted;
        let version = if group.is_empty() { format!("/{version}") } else { format!("{group}/{version}") };
        format!("failed to find resource referenced by paramKind: '{version}, Kind={kind}'")
    })
}

/// The parameters of a binding, where they are stored. A selector may choose any number of objects
/// of any size: a copy of all of them for each request would be the store's memory once more.
pub(super) struct Params<'k> {
    /// `None` for a policy without parameters, or a binding that refers to none.
    kind: Option<&'k KindRef>,
    objects: Vec<Arc<Object>>,
}

impl Params<'_> {
    /// Returns one parameter after the other, as the policy's version shows it; `null` alone if the
    /// policy or the binding has none.
    pub(super) fn values(&self) -> impl Iterator<Item = Cow<'_, Value>> {
        let null = self.kind.is_none().then_some(Cow::Owned(Value::Null));
        let stored = self.kind.into_iter().flat_map(move |kind| {
            let objects = self.objects.iter();
            objects.map(move |object| kind.from_stored(&object.value))
        });
        null.into_iter().chain(stored)
    }
}

/// Finds the parameters of a binding, to which its `reference` leads. `namespace` is that of the
/// request.
///
/// # Errors
/// A sentence about a reference that leads nowhere.
pub(super) fn collect<'k>(
    state: &State,
    kind: Option<&'k KindRef>,
    reference: &Value,
    namespace: &str,
) -> Result<Params<'k>, String> {
    let Some(kind) = kind.filter(|_| !reference.is_null()) else {
        return Ok(Params { kind: None, objects: vec![] });
    };
    let of_reference = text(reference, "namespace");
    let within = match (kind.namespaced, of_reference, namespace) {
        (false, "", _) => "",
        (false, ..) => {
            return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into());
        }
        (true, "", "") => {
            let why =
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources";
            return Err(why.into());
        }
        (true, "", namespace) => namespace,
        (true, of_reference, _) => of_reference,
    };
    let prefix = if kind.namespaced { format!("{within}/") } else { String::new() };
    let objects: Vec<Arc<Object>> = match text(reference, "name") {
        "" => {
            let selector = Selector::of(at(reference, "selector"));
            let selector = selector.ok_or("one of name or selector must be provided")?;
            let all = state.cache.list(kind.place(), &prefix).objects.into_iter();
            let is_chosen = |object: &Arc<Object>| selector.matches(at(&object.value, "metadata.labels"));
            all.map(|(_, object)| object).filter(is_chosen).collect()
        }
        name => state.cache.get(kind.place(), &format!("{prefix}{name}")).into_iter().collect(),
    };
    match objects.is_empty() && text(reference, "parameterNotFoundAction") == "Deny" {
        true => Err(NOT_FOUND.into()),
        false => Ok(Params { kind: Some(kind), objects }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Api;
    use api::meta;
    use serde_json::json;

    #[tokio::test]
    async fn parameters_are_read_where_they_are_stored() {
        let api = Api::bare().await;
        let state = api.state();
        for name in ["a", "b"] {
            let map = json!({"metadata": {"name": name, "labels": {"of": "limits"}}});
            api.made("/api/v1/namespaces/default/configmaps", map).await;
        }
        assert!(state.fresh().await.is_ok());
        let maps = kind(state, ("", "v1", "ConfigMap")).unwrap();
        let reference = json!({"selector": {"matchLabels": {"of": "limits"}}});
        let found = collect(state, Some(&maps), &reference, "default").unwrap();
        let all: Vec<Cow<Value>> = found.values().collect();
        assert_eq!(all.len(), 2);
        for value in &all {
            let key = format!("default/{}", meta::name(value));
            let stored = state.cache.get("configmaps", &key).unwrap();
            assert!(matches!(value, Cow::Borrowed(shown) if std::ptr::eq(*shown, &stored.value)), "{key}");
        }
        let none = collect(state, Some(&maps), &Value::Null, "default").unwrap();
        assert_eq!(none.values().map(Cow::into_owned).collect::<Vec<_>>(), [Value::Null]);
    }

    #[tokio::test]
    async fn a_reference_that_leads_nowhere_says_why() {
        let api = Api::bare().await;
        let (maps, nodes) = (("", "v1", "ConfigMap"), ("", "v1", "Node"));
        let of_cluster =
            "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources";
        let of_namespace = "paramRef.namespace must not be provided for a cluster-scoped `paramKind`";
        for (wanted, reference, namespace, why) in [
            (maps, json!({"name": "x"}), "", of_cluster),
            (nodes, json!({"name": "n", "namespace": "d"}), "d", of_namespace),
            (maps, json!({}), "d", "one of name or selector must be provided"),
            (maps, json!({"name": "x", "parameterNotFoundAction": "Deny"}), "d", NOT_FOUND),
        ] {
            let found = kind(api.state(), wanted).unwrap();
            let refused = collect(api.state(), Some(&found), &reference, namespace).err();
            assert_eq!(refused.as_deref(), Some(why), "{reference}");
        }
    }
}
