//! # Namespace: emptied before it goes
//!
//! Deleting a namespace marks it; this controller deletes everything in it, kind by kind, waits until all is gone, and takes off the finalizer.

use super::resources::discover;
use super::{Error, Shared, record};
use crate::client::{Change, Item, Key, Outcome, WorkQueue, is_code};
use crate::clock;
use crate::tap::Cause;
use kube::Resource as _;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams};
use kube::core::PartialObjectMeta;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Something that ends slowly and tells nobody is looked at again after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

pub(crate) fn start(shared: &Shared) {
    let queue: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let q = queue.clone();
    shared.namespaces.on(move |change| {
        if change.object().metadata.deletion_timestamp.is_some() && !matches!(change, Change::Deleted(_)) {
            q.add(change.key(), change.cause());
        }
    });
    let (q, all) = (queue.clone(), shared.clone());
    shared.pods.on(move |change| {
        // The last pod's end is what a dying namespace usually waits for.
        let key = Key::new("", change.key().namespace);
        let dying =
            |key: &Key| all.namespaces.get(key).is_some_and(|n| n.metadata.deletion_timestamp.is_some());
        if matches!(change, Change::Deleted(_)) && dying(&key) {
            q.add(key, change.cause());
        }
    });
    let shared = Arc::new(shared.clone());
    shared.report_panics(&queue, &shared.namespaces, "namespace");
    queue.work("namespace", 2, move |key, cause| {
        let shared = shared.clone();
        async move { sync(&shared, key, cause).await }
    });
}

async fn sync(shared: &Shared, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
    let Some(namespace) = shared.namespaces.get(&key) else { return Ok(Outcome::Done) };
    if namespace.metadata.deletion_timestamp.is_none() {
        return Ok(Outcome::Done);
    }
    let start = clock::Instant::now();
    let client = shared.config.client.caused_by(cause.clone());
    let (mut left, mut kinds) = (0, Vec::new());
    for resource in discover(&client).await? {
        if !resource.namespaced || !resource.can("list") || !resource.can("delete") {
            continue;
        }
        // Metadata alone is read, and one that cannot be read is deleted all the same.
        let api: Api<Item<PartialObjectMeta<DynamicObject>>> =
            Api::namespaced_with(client.kube(), &key.name, &resource.api);
        let untyped: Api<DynamicObject> = Api::namespaced_with(client.kube(), &key.name, &resource.api);
        let there = match api.list(&ListParams::default()).await {
            Ok(there) => there.items,
            Err(error) if is_code(&error, 404) || is_code(&error, 405) => continue,
            Err(error) => return Err(error.into()),
        };
        if there.is_empty() {
            continue;
        }
        for object in there.iter().filter(|o| o.meta().deletion_timestamp.is_none()) {
            let Some(name) = object.meta().name.clone().filter(|n| !n.is_empty()) else { continue };
            match untyped.delete(&name, &DeleteParams::background()).await {
                Err(error) if !(is_code(&error, 404) || is_code(&error, 409)) => return Err(error.into()),
                _ => {}
            }
        }
        let rest = api.list(&ListParams::default()).await?.items.len();
        if rest > 0 {
            left += rest;
            kinds.push(format!("{} has {rest} resource instances", resource.api.plural));
        }
    }
    if left > 0 {
        tracing::debug!(namespace = key.name, left, ?kinds, "namespace is not empty yet");
        return Ok(Outcome::After(LOOK_AGAIN));
    }
    let mut body = serde_json::to_value(&*namespace).map_err(|e| Error::NotYet(e.to_string()))?;
    body["apiVersion"] = json!("v1");
    body["kind"] = json!("Namespace");
    body["spec"]["finalizers"] = json!([]);
    let request = http::Request::put(format!("/api/v1/namespaces/{}/finalize", key.name))
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(body.to_string().into_bytes())
        .map_err(kube::Error::HttpError)?;
    match client.kube().request_text(request).await {
        Ok(_) => {}
        Err(error) if is_code(&error, 404) => {}
        Err(error) if is_code(&error, 409) => {
            return Err(Error::NotYet("the namespace changed meanwhile".into()));
        }
        Err(error) => return Err(error.into()),
    }
    shared
        .tap("namespace-controller")
        .emit(record("finalize", "namespaces", &key, &cause).took(start.elapsed()));
    Ok(Outcome::Done)
}
