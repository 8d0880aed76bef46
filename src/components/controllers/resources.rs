//! Which kinds there are: what the garbage collector watches and a dying namespace is emptied of.

use client::Client;
use client::discovery::{AGGREGATED, Discovery, ROOTS};
use kube::core::{ApiResource, GroupVersionKind};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// A kind with its scope and verbs.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    pub api: ApiResource,
    pub namespaced: bool,
    pub verbs: Vec<String>,
}

impl Resource {
    fn of(found: &client::discovery::Resource) -> Resource {
        let gvk = GroupVersionKind::gvk(&found.group, &found.version, &found.kind);
        Resource {
            api: ApiResource::from_gvk_with_plural(&gvk, &found.plural),
            namespaced: found.namespaced,
            verbs: found.verbs.clone(),
        }
    }

    pub(crate) fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }
}

/// Looks kinds up in discovery, as upstream's RESTMapper, and remembers those that it found.
#[derive(Default)]
pub(crate) struct Mapper {
    known: Mutex<Known>,
    /// Held while discovery is read: the others that wait for it take what it found.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    /// By group and kind.
    resources: BTreeMap<(String, String), Resource>,
    /// When the last reading of discovery began.
    read: Option<clock::Instant>,
}

/// Discovery is not read again for a kind that it did not name within this time.
const REREAD: Duration = Duration::from_secs(5);

impl Mapper {
    fn known(&self) -> parking_lot::MutexGuard<'_, Known> {
        self.known.lock()
    }

    /// Returns the resource of a kind; `None` if it is not served.
    pub(crate) async fn find(
        &self,
        client: &Client,
        group: &str,
        kind: &str,
    ) -> Result<Option<Resource>, kube::Error> {
        let is_recent = |read: clock::Instant| read.elapsed() < REREAD;
        self.find_if(client, group, kind, is_recent).await
    }

    /// Does the same as [`find`](Mapper::find), but discovery that was read before `since` does not
    /// say that a kind is not served.
    pub(crate) async fn find_since(
        &self,
        client: &Client,
        group: &str,
        kind: &str,
        since: clock::Instant,
    ) -> Result<Option<Resource>, kube::Error> {
        self.find_if(client, group, kind, |read| read >= since).await
    }

    /// Forgets a kind whose path turned out not to be served: its definition is gone, or has
    /// another version.
    pub(crate) fn forget(&self, group: &str, kind: &str) {
        self.known().resources.remove(&(group.to_string(), kind.to_string()));
    }

    /// Returns the resource of a kind, and reads discovery if it has to. `counts` gets the time at
    /// which discovery was last read, and says whether that reading is new enough to show that a
    /// kind which it did not name is not served.
    async fn find_if(
        &self,
        client: &Client,
        group: &str,
        kind: &str,
        counts: impl Fn(clock::Instant) -> bool,
    ) -> Result<Option<Resource>, kube::Error> {
        let of = (group.to_string(), kind.to_string());
        let look = || {
            let known = self.known();
            let found = known.resources.get(&of).cloned();
            (found.is_some() || known.read.is_some_and(&counts)).then_some(found)
        };
        if let Some(known) = look() {
            return Ok(known);
        }
        let _reading = self.reading.lock().await;
        if let Some(known) = look() {
            return Ok(known);
        }
        let start = clock::Instant::now();
        let all = discover(client).await?;
        let mut known = self.known();
        known.read = Some(start);
        known.resources.clear();
        for resource in all {
            let kind = (resource.api.group.clone(), resource.api.kind.clone());
            known.resources.entry(kind).or_insert(resource);
        }
        Ok(known.resources.get(&of).cloned())
    }
}

/// Returns every kind in the first version of its group that serves it, from the aggregated
/// discovery documents, which have the preferred version first.
///
/// Example: a group serves `v1` with widgets, and `v1beta1` with widgets and gadgets. Widgets are
/// found in `v1`, gadgets in `v1beta1`.
pub(crate) async fn discover(client: &Client) -> Result<Vec<Resource>, kube::Error> {
    let mut all = Discovery::default();
    for path in ROOTS {
        let request = http::Request::get(path)
            .header(http::header::ACCEPT, AGGREGATED)
            .body(Vec::new())
            .map_err(kube::Error::HttpError)?;
        let list: Value = client.kube().request(request).await?;
        // Without this check a namespace would seem to be empty: no kind, no object.
        if !list["items"].is_array() {
            let why = format!("the answer to {path} has no list of groups");
            return Err(kube::Error::SerdeError(serde::de::Error::custom(why)));
        }
        all.add_aggregated(&list);
    }
    let served = all.preferred().into_iter().filter(|resource| !resource.kind.is_empty());
    Ok(served.map(|resource| Resource::of(&resource)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::testing::Scripted;
    use serde_json::json;

    #[tokio::test]
    async fn a_kind_that_only_another_version_has_is_found_there() {
        let entry = |plural: &str| json!({"resource": plural, "responseKind": {"kind": plural}, "scope": "Namespaced", "verbs": ["list"]});
        let versions = json!([
            {"version": "v1", "resources": [entry("widgets")]},
            {"version": "v1beta1", "resources": [entry("widgets"), entry("gadgets")]},
        ]);
        let groups = json!({"items": [{"metadata": {"name": "example.com"}, "versions": versions}]});
        let server =
            Scripted::new(move |asked| (asked.line == "GET /apis").then(|| (200, groups.clone()))).await;
        let found = discover(&server.client).await.unwrap();
        let names: Vec<String> =
            found.iter().map(|r| format!("{}/{}", r.api.api_version, r.api.plural)).collect();
        assert_eq!(names, ["example.com/v1/widgets", "example.com/v1beta1/gadgets"]);
        let mapped = Mapper::default().find(&server.client, "example.com", "gadgets").await.unwrap();
        assert_eq!(mapped.map(|r| r.api.version).as_deref(), Some("v1beta1"));
    }

    /// Else a namespace would be taken for empty and go, with its objects left behind.
    #[tokio::test]
    async fn an_answer_without_a_list_of_groups_is_an_error() {
        let server = Scripted::new(|_| Some((200, json!({"kind": "APIGroupList", "groups": []})))).await;
        let message = discover(&server.client).await.unwrap_err().to_string();
        assert!(message.contains("/api has no list of groups"), "{message}");
    }
}
