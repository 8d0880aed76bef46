//! # Namespace: emptied before it goes
//!
//! Deleting a namespace marks it; this controller deletes everything in it, its pods before all
//! else, waits until all is gone, and takes off the finalizer. What keeps it waiting stands in the
//! namespace's conditions. Source: `pkg/controller/namespace/deletion`; pods first since Kubernetes
//! 1.33 (KEP-5080).

mod pass;

use super::resources::{Resource, discover};
use super::write::{self, Guard, unless_gone};
use crate::error::{Error, message_of};
use crate::shared::{Controller, Shared, record};
use client::{Api, Backoff, Change, Client, Codec, Item, Key, Outcome, WorkQueue, is_code, segment};
use k8s_openapi::api::core::v1::{Namespace, NamespaceStatus, Pod};
use kube::Resource as _;
use kube::api::{DeleteParams, DynamicObject, ListParams, ObjectList, Preconditions};
use kube::core::{PartialObjectMeta, Request};
use pass::{Pass, conditions};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tap::{Cause, Component, Event};

/// A namespace with objects that end slowly is looked at again after this time: of their kinds only
/// Pods are watched here.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// A namespace that could not be emptied is tried again within a minute, as upstream: no change of
/// the namespace follows when its objects can be deleted after all.
const BACKOFF: Backoff = Backoff { longest: Duration::from_secs(60), ..client::BACKOFF };
/// The entry of `spec.finalizers` that this controller takes off when the namespace is empty.
const FINALIZER: &str = "kubernetes";
/// Lists and deletions of a kind in one pass: an object that has changed since the list is not
/// deleted by it, and one that a client changes all the time would outlive many passes.
const TRIES: usize = 4;

pub(crate) const CONTROLLER: Controller = Controller {
    informers: |informers| {
        informers.all::<Namespace>();
        informers.all::<Pod>();
    },
    start,
};

fn start(shared: &Shared) {
    let queue: WorkQueue<Key> = WorkQueue::retrying(&shared.crew, BACKOFF);
    let q = queue.clone();
    shared.informer::<Namespace>().on(move |change| {
        if change.object().metadata.deletion_timestamp.is_some() && !matches!(change, Change::Deleted(_)) {
            q.add(change.key(), change.cause());
        }
    });
    let (q, all) = (queue.clone(), shared.clone());
    shared.informer::<Pod>().on(move |change| {
        // The last pod's end is what a dying namespace usually waits for.
        let key = Key::new("", change.key().namespace);
        let dying = |key: &Key| {
            all.informer::<Namespace>().get(key).is_some_and(|n| n.metadata.deletion_timestamp.is_some())
        };
        if matches!(change, Change::Deleted(_)) && dying(&key) {
            q.add(key, change.cause());
        }
    });
    let shared = Arc::new(shared.clone());
    shared.report_panics(&queue, shared.informer::<Namespace>(), "namespace");
    queue.work("namespace", 2, move |key, cause| {
        let shared = shared.clone();
        async move { sync(&shared, key, cause).await }
    });
}

/// Empties a namespace that is being deleted, and takes off its finalizer when nothing is left. It
/// is read from the API server, as upstream: a cache that is behind may show one that is gone, and
/// a new one of the same name would be emptied.
async fn sync(shared: &Shared, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
    let start = clock::Instant::now();
    let client = shared.config.client.caused_by(cause.clone());
    let Some(namespace) = client.all::<Namespace>().get_opt(&key.name).await? else {
        return Ok(Outcome::Done);
    };
    if namespace.metadata.deletion_timestamp.is_none() {
        return Ok(Outcome::Done);
    }
    let is_dying = || {
        let known = shared.informer::<Namespace>().get(&key);
        known.is_none_or(|known| known.metadata.deletion_timestamp.is_some())
    };
    let pass = empty(&client, &namespace, &is_dying).await;
    if pass.is_back || !is_dying() {
        return Ok(Outcome::Done);
    }
    if !pass.is_empty() {
        write_conditions(&client, &namespace, &pass).await?;
        tracing::debug!(namespace = key.name, left = ?pass.left, "namespace is not empty yet");
        let failed = (!pass.errors.is_empty()).then(|| pass.errors());
        return match pass.undiscovered.or(failed) {
            Some(why) => Err(Error::NotYet(format!("the namespace cannot be emptied: {why}"))),
            None => Ok(Outcome::Pause(LOOK_AGAIN)),
        };
    }
    let mut left = namespace.spec.as_ref().and_then(|s| s.finalizers.clone()).unwrap_or_default();
    let ours = left.iter().any(|finalizer| finalizer == FINALIZER);
    left.retain(|finalizer| finalizer != FINALIZER);
    let stays = !left.is_empty() || namespace.metadata.finalizers.iter().flatten().next().is_some();
    if ours && finalize(&client, &namespace, &left).await? {
        let record = record(Event::Finalize, "namespaces", &key, &cause).took(start.elapsed());
        shared.tap(Component::NamespaceController).emit(record);
    }
    if stays {
        // It is empty, and what keeps it is for others to take off: nothing remains in it any more.
        write_conditions(&client, &namespace, &pass).await?;
    }
    Ok(Outcome::Done)
}

/// Writes a pass into the namespace's conditions.
async fn write_conditions(client: &Client, namespace: &Namespace, pass: &Pass) -> Result<(), Error> {
    let old = namespace.status.clone().unwrap_or_default();
    let before = old.conditions.as_deref().unwrap_or_default();
    let new = NamespaceStatus { conditions: Some(conditions(before, pass, clock::now())), ..old.clone() };
    write::status(&client.all::<Namespace>(), &namespace.metadata, Guard::Uid, Some(&old), &new).await?;
    Ok(())
}

/// Leaves the namespace these entries of `spec.finalizers`. Returns false if it is gone.
async fn finalize(client: &Client, namespace: &Namespace, left: &[String]) -> Result<bool, Error> {
    let name = namespace.metadata.name.as_deref().unwrap_or_default();
    let mut body = namespace.encode()?;
    body["apiVersion"] = json!("v1");
    body["kind"] = json!("Namespace");
    body["spec"]["finalizers"] = json!(left);
    let request = http::Request::put(format!("{}/finalize", client.all::<Namespace>().path(name)))
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body.to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    Ok(unless_gone(client.kube().request_text(request).await)?.is_some())
}

/// Deletes what is in the namespace: its pods, and when none is left everything else. So a policy
/// or a Secret does not go from under a program that still runs. An undo may bring the namespace
/// back meanwhile: what is left in it then stays (`is_dying` is asked before each object).
async fn empty(client: &Client, namespace: &Namespace, is_dying: &(dyn Fn() -> bool + Sync)) -> Pass {
    let mut pass = Pass::default();
    let resources = match discover(client).await {
        Ok(resources) => resources,
        Err(error) => {
            pass.undiscovered = Some(message_of(&error));
            return pass;
        }
    };
    let mut resources: Vec<Resource> =
        resources.into_iter().filter(|r| r.namespaced && r.can("list") && r.can("delete")).collect();
    let is_pods = |r: &Resource| r.api.group.is_empty() && r.api.plural == "pods";
    resources.sort_by_key(|r| !is_pods(r));
    for resource in &resources {
        // One kind, or one object, that cannot be deleted does not keep the others.
        if let Err(error) = empty_of(client, namespace, resource, is_dying, &mut pass).await {
            pass.errors.push(format!("{}: {}", resource.api.plural, message_of(&error)));
        }
        if is_pods(resource) && !pass.is_empty() || pass.is_back || !is_dying() {
            break;
        }
    }
    pass
}

/// Lists what a namespace has of a kind. Metadata alone is asked for, as upstream: a list of whole
/// objects may be refused as too large, by defaults that a definition got later. One that cannot be
/// read is deleted all the same.
async fn metadata_of(
    client: &Client,
    namespace: &str,
    resource: &Resource,
) -> Result<Vec<Item<PartialObjectMeta<DynamicObject>>>, kube::Error> {
    let path = DynamicObject::url_path(&resource.api, Some(&segment(namespace)));
    let request = Request::new(path).list_metadata(&ListParams::default());
    let request = request.map_err(kube::Error::BuildRequest)?;
    let list: ObjectList<Item<PartialObjectMeta<DynamicObject>>> = client.kube().request(request).await?;
    Ok(list.items)
}

/// Returns whether this very namespace is still being deleted, read from the API server.
async fn is_still_dying(client: &Client, namespace: &Namespace) -> Result<bool, kube::Error> {
    let name = namespace.metadata.name.as_deref().unwrap_or_default();
    let now = client.all::<Namespace>().get_opt(name).await?.map(|now| now.metadata);
    Ok(now.is_some_and(|now| now.uid == namespace.metadata.uid && now.deletion_timestamp.is_some()))
}

/// Deletes what a namespace has of a kind, each object in the version that was listed. The
/// namespace is read after the list: an undo committed before that read is seen here, although the
/// informer may not know of it; a later one writes the objects that it keeps, so the versions of
/// the list are old, and the deletions are refused.
async fn empty_of(
    client: &Client,
    namespace: &Namespace,
    resource: &Resource,
    is_dying: &(dyn Fn() -> bool + Sync),
    pass: &mut Pass,
) -> Result<(), kube::Error> {
    let of = namespace.metadata.name.as_deref().unwrap_or_default();
    let untyped: Api<DynamicObject> = Api::namespaced_with(client.kube(), of, &resource.api);
    let mut errors = vec![];
    for _ in 0..TRIES {
        let there = match metadata_of(client, of, resource).await {
            Ok(there) => there,
            Err(error) if is_code(&error, 404) || is_code(&error, 405) => return Ok(()), // no such kind any more
            Err(error) => return Err(error),
        };
        if there.is_empty() {
            return Ok(());
        }
        if !is_still_dying(client, namespace).await? {
            pass.is_back = true;
            return Ok(());
        }
        errors.clear();
        let mut has_changed = false;
        for object in there.iter().filter(|o| o.meta().deletion_timestamp.is_none()) {
            let Some(name) = object.meta().name.clone().filter(|n| !n.is_empty()) else { continue };
            if !is_dying() {
                pass.is_back = true;
                return Ok(());
            }
            let (uid, resource_version) = (object.meta().uid.clone(), object.meta().resource_version.clone());
            let how = DeleteParams::background().preconditions(Preconditions { uid, resource_version });
            match untyped.delete(&name, &how).await {
                Err(error) if is_code(&error, 409) => has_changed = true,
                Err(error) if !is_code(&error, 404) => {
                    errors.push(format!("{} {name}: {}", resource.api.plural, message_of(&error)));
                }
                _ => {}
            }
        }
        if !has_changed {
            break;
        }
    }
    pass.errors.append(&mut errors);
    let rest = metadata_of(client, of, resource).await?;
    if !rest.is_empty() {
        pass.left.insert(format!("{}.{}", resource.api.plural, resource.api.group), rest.len());
    }
    for finalizer in rest.iter().flat_map(|o| o.meta().finalizers.iter().flatten()) {
        *pass.finalizers.entry(finalizer.clone()).or_default() += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::testing::{Asked, Scripted, refusal};
    use parking_lot::Mutex;
    use serde_json::Value;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    fn discovery(plurals: &[&str]) -> Value {
        let entry = |p: &&str| json!({"resource": p, "responseKind": {"kind": p}, "scope": "Namespaced", "verbs": ["list", "delete"]});
        let resources: Vec<Value> = plurals.iter().map(entry).collect();
        json!({"items": [{"metadata": {"name": ""}, "versions": [{"version": "v1", "resources": resources}]}]})
    }

    fn dying() -> Namespace {
        let meta = json!({"name": "n", "uid": "u", "deletionTimestamp": "2026-01-01T00:00:00Z"});
        serde_json::from_value(json!({"metadata": meta, "status": {"phase": "Terminating"}})).unwrap()
    }

    /// Returns a namespace with a Secret, and a pod as long as `pods` says so. Two objects of
    /// `stuck` cannot be deleted.
    async fn server(pods: Arc<Mutex<bool>>) -> Scripted {
        Scripted::new(move |asked| {
            let item = |name: &str| json!({"metadata": {"name": name, "finalizers": ["a.b/c"]}});
            let items = |items: Value| Some((200, json!({"metadata": {}, "items": items})));
            match asked.line.as_str() {
                "GET /api/v1/namespaces/n" => Some((200, json!(dying()))),
                "GET /api" => Some((200, discovery(&["stuck", "secrets", "pods"]))),
                "GET /apis" => Some((200, json!({"items": []}))),
                "GET /api/v1/namespaces/n/pods" if *pods.lock() => items(json!([item("p")])),
                "GET /api/v1/namespaces/n/stuck" => items(json!([item("s1"), item("s2")])),
                "GET /api/v1/namespaces/n/secrets" => items(json!([item("s")])),
                line if line.starts_with("DELETE") && line.contains("stuck") => {
                    refusal(500, "it will not go")
                }
                _ => None,
            }
        })
        .await
    }

    #[tokio::test]
    async fn pods_go_first_and_what_remains_stands_in_the_conditions() {
        let pods = Arc::new(Mutex::new(true));
        let server = server(pods.clone()).await;
        let shared = Shared::fixed(&server.client);
        let key = Key::new("", "n");
        assert_eq!(sync(&shared, key.clone(), None).await.unwrap(), Outcome::Pause(LOOK_AGAIN));
        let asked = server.take();
        let deleted = |asked: &[Asked]| -> Vec<String> {
            asked
                .iter()
                .filter_map(|a| a.line.strip_prefix("DELETE /api/v1/namespaces/n/").map(String::from))
                .collect()
        };
        assert_eq!(deleted(&asked), ["pods/p"]);
        let condition = |asked: &[Asked], kind: &str| -> Value {
            let all = asked.last().unwrap().body["status"]["conditions"].as_array().unwrap().clone();
            all.into_iter().find(|c| c["type"] == kind).unwrap()
        };
        let left = condition(&asked, "NamespaceContentRemaining");
        assert_eq!(
            (left["status"].as_str(), left["message"].as_str()),
            (Some("True"), Some("Some resources are remaining: pods. has 1 resource instances"))
        );
        let finalizers = condition(&asked, "NamespaceFinalizersRemaining");
        assert!(
            finalizers["message"].as_str().unwrap().ends_with("a.b/c in 1 resource instances"),
            "{finalizers}"
        );
        *pods.lock() = false;
        let error = sync(&shared, key, None).await.unwrap_err().to_string();
        assert!(error.contains("it will not go"), "{error}");
        let asked = server.take();
        assert_eq!(
            deleted(&asked),
            ["stuck/s1", "stuck/s2", "secrets/s"],
            "one that is stuck keeps no other"
        );
        assert_eq!(condition(&asked, "NamespaceDeletionContentFailure")["reason"], "ContentDeletionFailed");
    }

    /// A user undoes the deletion while the controller carries it out.
    #[tokio::test]
    async fn a_namespace_that_is_back_is_emptied_no_further() {
        let is_back = Arc::new(AtomicBool::new(false));
        let undone = is_back.clone();
        let server = Scripted::new(move |asked| {
            undone.fetch_or(asked.line.starts_with("DELETE"), Ordering::SeqCst);
            let items = json!([{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]);
            match asked.line.as_str() {
                "GET /api" => Some((200, discovery(&["secrets", "widgets"]))),
                "GET /apis" => Some((200, json!({"items": []}))),
                "GET /api/v1/namespaces/n" => Some((200, json!(dying()))),
                line if line.starts_with("GET") => Some((200, json!({"metadata": {}, "items": items}))),
                _ => None,
            }
        })
        .await;
        empty(&server.client, &dying(), &|| !is_back.load(Ordering::SeqCst)).await;
        let lines = server.lines().into_iter();
        let deleted: Vec<String> = lines.filter(|line| line.starts_with("DELETE")).collect();
        assert_eq!(deleted, ["DELETE /api/v1/namespaces/n/secrets/a"]);
    }

    /// The undo is committed before the controller lists what is in the namespace. The versions of
    /// that list are those that the undo has written.
    #[tokio::test]
    async fn a_namespace_that_is_back_keeps_its_objects_before_the_informer_knows_it() {
        let server = Scripted::new(|asked| match asked.line.as_str() {
            "GET /api/v1/namespaces/n" => Some((200, json!({"metadata": {"name": "n", "uid": "u"}}))),
            "GET /api" => Some((200, discovery(&["secrets", "widgets"]))),
            "GET /apis" => Some((200, json!({"items": []}))),
            line if line.starts_with("GET") => {
                Some((200, json!({"metadata": {}, "items": [{"metadata": {"name": "s"}}]})))
            }
            _ => None,
        })
        .await;
        assert!(empty(&server.client, &dying(), &|| true).await.is_back);
        let lines = server.lines();
        assert!(lines.iter().all(|line| !line.starts_with("DELETE")), "{lines:?}");
    }

    /// Its client writes it faster than passes come.
    #[tokio::test]
    async fn an_object_that_changes_after_the_list_is_deleted_in_the_same_pass() {
        let version = AtomicUsize::new(1);
        let server = Scripted::new(move |asked| {
            let now = version.load(Ordering::SeqCst);
            let object = json!({"metadata": {"name": "s", "uid": "s", "resourceVersion": now.to_string()}});
            match asked.line.as_str() {
                "GET /api/v1/namespaces/n" => Some((200, json!(dying()))),
                "GET /api" => Some((200, discovery(&["secrets"]))),
                "GET /api/v1/namespaces/n/secrets" if now <= 3 => {
                    Some((200, json!({"metadata": {}, "items": [object]})))
                }
                line if line.starts_with("DELETE") => {
                    version.store(now + 1, Ordering::SeqCst);
                    if now < 3 { refusal(409, "Conflict") } else { None }
                }
                _ => None,
            }
        })
        .await;
        assert_eq!(empty(&server.client, &dying(), &|| true).await, Pass::default());
        let deletions = server.take().into_iter().filter(|asked| asked.line.starts_with("DELETE"));
        let asked: Vec<Value> = deletions.map(|asked| asked.body["preconditions"].clone()).collect();
        assert_eq!(asked, ["1", "2", "3"].map(|of| json!({"resourceVersion": of, "uid": "s"})));
    }

    /// A user deleted it and made another one of its name; the cache has seen neither.
    #[tokio::test]
    async fn a_new_namespace_of_the_same_name_is_not_emptied() {
        let server = Scripted::new(|asked| match asked.line.as_str() {
            "GET /api/v1/namespaces/n" => Some((200, json!({"metadata": {"name": "n", "uid": "new"}}))),
            "GET /api" => Some((200, discovery(&["secrets"]))),
            "GET /api/v1/namespaces/n/secrets" => {
                Some((200, json!({"metadata": {}, "items": [{"metadata": {"name": "s"}}]})))
            }
            _ => None,
        })
        .await;
        let shared = Shared::fixed(&server.client);
        shared.informer::<Namespace>().show(dying());
        assert_eq!(sync(&shared, Key::new("", "n"), None).await.unwrap(), Outcome::Done);
        assert_eq!(server.lines(), ["GET /api/v1/namespaces/n"]);
    }

    #[tokio::test]
    async fn an_empty_namespace_loses_the_controllers_own_finalizer_and_no_other() {
        for (finalizers, left) in [
            (json!(["kubernetes", "example.com/audit"]), Some(json!(["example.com/audit"]))),
            (json!(["kubernetes"]), Some(json!([]))),
            (json!(["example.com/audit"]), None),
        ] {
            let mut namespace = json!(dying());
            namespace["spec"] = json!({"finalizers": finalizers});
            let is_asked_for = |asked: &Asked| asked.line == "GET /api/v1/namespaces/n";
            let server =
                Scripted::new(move |asked| is_asked_for(asked).then(|| (200, namespace.clone()))).await;
            let shared = Shared::fixed(&server.client);
            assert_eq!(sync(&shared, Key::new("", "n"), None).await.unwrap(), Outcome::Done);
            let asked = server.take();
            let put = asked.iter().find(|a| a.line == "PUT /api/v1/namespaces/n/finalize");
            assert_eq!(put.map(|a| a.body["spec"]["finalizers"].clone()), left, "{finalizers}");
            // One that stays says that nothing is left in it.
            let patch = asked.last().filter(|a| a.line == "PATCH /api/v1/namespaces/n/status");
            assert_eq!(patch.is_some(), left != Some(json!([])), "{finalizers}");
            assert!(patch.is_none_or(|a| a.body["status"]["conditions"][3]["status"] == "False"));
        }
    }
}
