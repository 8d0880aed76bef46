//! Lists that are read once, of many kinds together, with the custom resources among them: what
//! `why` looks at. A watch that stays open tells more, and costs more.

use api::kinds::Kind;
use api::value::{at, list, text};
use client::Client;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// A list that has not come by then is not waited for: without a quorum none does.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// A resource that a CustomResourceDefinition adds.
pub(crate) struct Custom {
    /// With its group: `crontabs.stable.example.com`.
    pub resource: String,
    pub singular: String,
    pub namespaced: bool,
    /// The API path of all its objects.
    pub path: String,
    names: Vec<String>,
}

impl Custom {
    /// Reads the definition.
    pub(crate) fn of(definition: &Value) -> Custom {
        let names = at(definition, "spec.names");
        let (plural, group) = (text(names, "plural"), text(definition, "spec.group"));
        let mut versions = list(definition, "spec.versions").iter();
        let served = versions.find(|version| at(version, "served") == true);
        let version = served.map_or("", |version| text(version, "name"));
        // By default, and before the server has filled it in, the singular is the kind in small
        // letters.
        let singular = match text(names, "singular") {
            "" => text(names, "kind").to_lowercase(),
            singular => singular.to_string(),
        };
        let short = list(names, "shortNames").iter().filter_map(Value::as_str).map(String::from);
        let bare: Vec<String> = short.chain([plural.to_string(), singular.clone()]).collect();
        let with_group = bare.iter().map(|name| format!("{name}.{group}"));
        Custom {
            resource: format!("{plural}.{group}"),
            singular,
            namespaced: text(definition, "spec.scope") != "Cluster",
            path: format!("/apis/{group}/{version}/{plural}"),
            names: with_group.chain(bare.clone()).collect(),
        }
    }

    /// True if the resource is called so: plural, singular or short name, also with its group.
    pub(crate) fn is_called(&self, word: &str) -> bool {
        self.names.iter().any(|name| name == word)
    }
}

/// Reads lists, by plural and path. A list that does not come within [`ANSWER_MAX`], or that the
/// server refuses, is missing.
pub(crate) async fn read(client: &Client, lists: BTreeMap<String, String>) -> BTreeMap<String, Vec<Value>> {
    let lists = lists.into_iter().map(|(plural, path)| async move {
        let request = http::Request::get(&path).body(vec![]).ok()?;
        match tokio::time::timeout(ANSWER_MAX, client.kube().request::<Value>(request)).await {
            Ok(Ok(mut found)) => {
                let items = found["items"].take();
                return Some((plural, items.as_array().cloned().unwrap_or_default()));
            }
            Ok(Err(error)) => tracing::debug!(%error, path, "cannot be read"),
            Err(_) => tracing::debug!(path, "does not come in time"),
        }
        None
    });
    futures::future::join_all(lists).await.into_iter().flatten().collect()
}

/// The API path of all objects of a kind.
pub(crate) fn path(kind: &Kind) -> String {
    let group = if kind.group.is_empty() { "/api".into() } else { format!("/apis/{}", kind.group) };
    format!("{group}/{}/{}", kind.version, kind.plural)
}
