//! The live objects of one moment, of many kinds together, with the custom resources among them:
//! what `why` looks at. A watch that stays open tells more, and costs more.

use super::watch::objects_now;
use crate::cel::facts::Objects;
use api::value::{at, list, text};
use client::Client;
use client::kube::api::{ApiResource, GroupVersionKind, ListParams};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// A list that has not come by then is not waited for: without a quorum none does.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// A resource that a CustomResourceDefinition adds.
pub(crate) struct Custom {
    /// With its group: `crontabs.stable.example.com`.
    pub qualified: String,
    pub singular: String,
    pub namespaced: bool,
    pub resource: ApiResource,
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
        let gvk = GroupVersionKind::gvk(group, version, text(names, "kind"));
        Custom {
            qualified: format!("{plural}.{group}"),
            singular,
            namespaced: text(definition, "spec.scope") != "Cluster",
            resource: ApiResource::from_gvk_with_plural(&gvk, plural),
            names: with_group.chain(bare.clone()).collect(),
        }
    }

    /// True if the resource is called so: plural, singular or short name, also with its group.
    pub(crate) fn is_called(&self, word: &str) -> bool {
        self.names.iter().any(|name| name == word)
    }
}

/// A resource whose objects are read, and which of them.
pub(crate) type Asked = (ApiResource, ListParams);

/// Reads the objects of these resources as they are now, each resource once: the same view that the
/// watches keep of theirs ([`Observer::objects`](super::Observer::objects)), by qualified plural. A
/// list that does not come within [`ANSWER_MAX`], or that the server refuses, is missing.
pub(crate) async fn snapshot(client: &Client, asked: BTreeMap<String, Asked>) -> HashMap<String, Objects> {
    let lists = asked.into_iter().map(|(qualified, (resource, which))| async move {
        match tokio::time::timeout(ANSWER_MAX, objects_now(client, &resource, &which)).await {
            Ok(Ok(objects)) => return Some((qualified, objects)),
            Ok(Err(error)) => tracing::debug!(%error, qualified, "cannot be read"),
            Err(_) => tracing::debug!(qualified, "does not come in time"),
        }
        None
    });
    futures::future::join_all(lists).await.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::facts;
    use crate::observe::watch::{self, Report};
    use cluster::guest::LessonScope;
    use serde_json::json;
    use tokio::sync::mpsc;

    /// One of the objects cannot be decoded. Of another resource the server lists nothing.
    #[tokio::test]
    async fn a_snapshot_has_what_a_watch_would_keep() {
        let server = client::testing::Scripted::new(|asked| {
            let pod = |name: &str, labels: Value| {
                json!({"metadata": {"namespace": "d", "name": name, "labels": labels, "resourceVersion": "4"},
                    "spec": {"nodeName": "n1"}})
            };
            match asked.line.as_str() {
                "GET /api/v1/pods" => {
                    let items = [pod("bad", json!(5)), pod("good", json!({"app": "web"}))];
                    Some((200, json!({"metadata": {"resourceVersion": "5"}, "items": items})))
                }
                _ => client::testing::refusal(403, "Forbidden"),
            }
        });
        let client = server.await.client;
        let asked = ["Pod", "Node"].map(|name| {
            let kind = facts::kind(name).unwrap();
            (kind.qualified(), (watch::resource(kind), ListParams::default()))
        });
        let seen = snapshot(&client, asked.into()).await;
        assert_eq!(seen.keys().collect::<Vec<_>>(), ["pods"], "nothing is known of the nodes");

        let (crew, (reporter, mut reports)) = (task::Crew::new("t"), mpsc::channel(1));
        assert!(watch::start(
            &crew,
            &client,
            "Pod",
            &LessonScope::default(),
            |_| {},
            reporter,
            |report: Report| report
        ));
        let mut kept = HashMap::new();
        reports.recv().await.unwrap().apply(&mut kept);
        crew.kill();
        let plain = |live: &HashMap<String, Objects>| -> Vec<Value> {
            live["pods"].values().map(|object| (*object.json).clone()).collect()
        };
        assert_eq!(plain(&seen), plain(&kept));
        let good = facts::named(&seen["pods"], "d", "good").unwrap();
        assert_eq!((seen["pods"].len(), &good.json["kind"]), (1, &json!("Pod")));
    }
}
