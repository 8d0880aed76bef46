//! # Resource quotas: what a namespace uses, counted anew
//!
//! The API server charges a quota when something is made. This loop gives back what ended or was
//! deleted, makes the limits of a new or changed spec those of the status, and counts everything
//! now and then, in case a user wrote the status by hand. It counts what the API server has, not
//! what its caches know, and writes only if the quota is as it was before counting: so nothing that
//! was charged meanwhile is lost. Source: `pkg/controller/resourcequota`.

use super::pods::has_ended;
use super::resources::discover;
use super::write::unless_gone;
use crate::error::Error;
use crate::shared::{Controller, Shared, record};
use api::quota::{Amounts, amounts, amounts_to_value, kind_counted_by, matches, usage};
use api::{quantity::Quantity, value};
use client::{Api, Change, Client, Codec, Key, Outcome, WorkQueue, optional, segment};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tap::{Cause, Component, Event};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

const WORKERS: usize = 5;
/// How often everything is counted although nothing was seen to happen, as upstream.
const RESYNC: Duration = Duration::from_secs(300);
/// After the write of limits that are new, before the namespace is counted again: by then every API
/// server charges by them.
const RECOUNT: Duration = Duration::from_secs(1);

/// Kinds whose objects cost more than their number, so that all of the object is needed.
const WHOLE: [&str; 3] = ["persistentvolumeclaims", "pods", "services"];

/// Returns whether the spec asks for something that the status does not show.
fn is_dirty(quota: &ResourceQuota) -> bool {
    let hard = quota.spec.as_ref().and_then(|s| s.hard.clone()).unwrap_or_default();
    let status = quota.status.clone().unwrap_or_default();
    status.hard.as_ref() != Some(&hard) || status.used.is_none()
}

/// Returns when a status was last written that is not a charge, which changes no managers of
/// fields. Where it was earlier than before, or is not known any more, an undo or a rewind has put
/// the status of its time there, and has left the entry of that time out: it may count what had
/// ended by then, or has ended since, and nothing else would bring the quota back before the next
/// resync.
fn counted_at(quota: &ResourceQuota) -> Option<&Time> {
    let managers = quota.metadata.managed_fields.iter().flatten();
    managers.filter(|m| m.subresource.as_deref() == Some("status")).filter_map(|m| m.time.as_ref()).max()
}

/// Pure: returns whether `hard` limits something that no API server has charged so far. They charge
/// by the limits of the status (`charged`). What is made while the namespace is counted is charged
/// to no quota then, and may be in no count.
///
/// ```text
/// kubectl apply -f FILE    a quota with pods: 2, then the pods a and b
/// the quota is counted     a is there
/// b is made                the status has no limits yet: b is not charged
/// used 1 is written        from now on pods are charged; b is missing
/// ```
fn limits_more(hard: &Amounts, charged: &Amounts) -> bool {
    hard.keys().any(|name| !charged.contains_key(name))
}

/// Returns whether quotas that a pod was charged to no longer count it: it has ended, or was given
/// a deadline and belongs to other scopes now (`Terminating` and `NotTerminating`). The API server
/// charges those, and this controller gives back to the others.
fn is_given_back(old: &Pod, new: &Pod) -> bool {
    let has_deadline =
        |pod: &Pod| pod.spec.as_ref().and_then(|s| s.active_deadline_seconds).is_some_and(|s| s >= 0);
    (has_ended(new) && !has_ended(old)) || has_deadline(old) != has_deadline(new)
}

/// Returns whether a claim counts otherwise than before: it was given another amount of storage, or
/// has another VolumeAttributesClass, which a quota's scope may name. Upstream's
/// `RequiresQuotaReplenish`.
fn counts_otherwise(old: &PersistentVolumeClaim, new: &PersistentVolumeClaim) -> bool {
    let class = |claim: &PersistentVolumeClaim| {
        claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.clone())
    };
    let (before, now) = (old.status.clone().unwrap_or_default(), new.status.clone().unwrap_or_default());
    class(old) != class(new)
        || before.allocated_resources != now.allocated_resources
        || before.current_volume_attributes_class_name != now.current_volume_attributes_class_name
        || before.modify_volume_status != now.modify_volume_status
}

/// Pure: the new `used`: what was counted, else what the status says, of what `hard` limits.
fn used(hard: &Amounts, before: &Amounts, counted: &Amounts) -> Amounts {
    let of = |name: &String| counted.get(name).or(before.get(name)).copied();
    hard.keys().filter_map(|name| Some((name.clone(), of(name)?))).collect()
}

pub(crate) const CONTROLLER: Controller = Controller {
    informers: |informers| {
        informers.all::<ResourceQuota>();
        informers.all::<Pod>();
        informers.all::<PersistentVolumeClaim>();
    },
    start,
};

fn start(shared: &Shared) {
    let queue: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let q = queue.clone();
    shared.informer::<ResourceQuota>().on(move |change| {
        let fresh = match change {
            Change::Added(_) => true,
            Change::Updated { old, new } => {
                old.spec != new.spec || is_dirty(new) || counted_at(new) < counted_at(old)
            }
            Change::Deleted(_) => false,
        };
        if fresh {
            q.add(change.key(), change.cause());
        }
    });
    let (q, all) = (queue.clone(), shared.clone());
    shared.informer::<Pod>().on(move |change| {
        if let Change::Updated { old, new } = change
            && is_given_back(old, new)
        {
            add_all(&q, &all, Some(&change.key().namespace), &change.cause());
        }
    });
    let (q, all) = (queue.clone(), shared.clone());
    shared.informer::<PersistentVolumeClaim>().on(move |change| {
        if let Change::Updated { old, new } = change
            && counts_otherwise(old, new)
        {
            add_all(&q, &all, Some(&change.key().namespace), &change.cause());
        }
    });
    let (q, all) = (queue.clone(), shared.clone());
    let gone = shared.gone.subscribe();
    shared.crew.spawn_essential(listen(gone, move |namespace, cause| {
        add_all(&q, &all, namespace, &cause);
    }));
    let shared = Arc::new(shared.clone());
    shared.report_panics(&queue, shared.informer::<ResourceQuota>(), "resourcequota");
    queue.work("resourcequota", WORKERS, move |key, cause| {
        let shared = shared.clone();
        async move { sync(&shared, key, cause).await }
    });
}

/// Looks at a namespace where something was deleted, and at all now and then, however much is
/// deleted meanwhile.
async fn listen(
    mut gone: Receiver<(String, Option<Cause>)>,
    mut look: impl FnMut(Option<&str>, Option<Cause>),
) {
    let mut resync = Box::pin(clock::sleep(RESYNC));
    loop {
        tokio::select! {
            deletion = gone.recv() => match deletion {
                Ok((namespace, cause)) => look(Some(&namespace), cause),
                Err(RecvError::Lagged(_)) => look(None, None),
                Err(RecvError::Closed) => return,
            },
            () = &mut resync => {
                look(None, None);
                resync.set(clock::sleep(RESYNC));
            }
        }
    }
}

fn add_all(queue: &WorkQueue<Key>, shared: &Shared, namespace: Option<&str>, cause: &Option<Cause>) {
    let quotas = match namespace {
        Some(namespace) => shared.informer::<ResourceQuota>().within(namespace),
        None => shared.informer::<ResourceQuota>().list(),
    };
    quotas.iter().for_each(|quota| queue.add(Key::of(&**quota), cause.clone()));
}

async fn sync(shared: &Shared, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
    let start = clock::Instant::now();
    // Asked of the API server: a cache that lacks the last charge shows what is counted, and the
    // charge would stay until the next resync.
    let api = shared.config.client.caused_by(cause.clone()).within::<ResourceQuota>(&key.namespace);
    let Some(quota) = api.get_opt(&key.name).await? else { return Ok(Outcome::Done) };
    let object = quota.encode()?;
    let (hard, before) = (amounts(&object, "spec.hard"), amounts(&object, "status.used"));
    // A kind that cannot be listed keeps its old count, and the others get their new ones.
    let (counted, result) =
        count(&shared.config.client, &key.namespace, value::at(&object, "spec"), &hard).await;
    let used = used(&hard, &before, &counted);
    if !is_dirty(&quota) && used == before {
        result?;
        return unless_charged(&api, &quota).await;
    }
    let meta = json!({"uid": quota.metadata.uid, "resourceVersion": quota.metadata.resource_version});
    let patch = json!([
        {"op": "test", "path": "/metadata/uid", "value": meta["uid"]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": meta["resourceVersion"]},
        {"op": "add", "path": "/status", "value": {"hard": amounts_to_value(&hard), "used": amounts_to_value(&used)}},
    ]);
    let patch: json_patch::Patch = serde_json::from_value(patch)?;
    let written = api.patch_status(&key.name, &PatchParams::default(), &Patch::<()>::Json(patch)).await;
    // A conflict: it was charged meanwhile, and is counted again.
    if unless_gone(written)?.is_none() {
        return result.map(|()| Outcome::Done);
    }
    let tap = shared.tap(Component::ResourceQuotaController);
    let event = Event::ReconcileQuota { used: json!(amounts_to_value(&used)) };
    tap.emit(record(event, "resourcequotas", &key, &cause).took(start.elapsed()));
    result?;
    Ok(match limits_more(&hard, &amounts(&object, "status.hard")) {
        true => Outcome::Pause(RECOUNT),
        false => Outcome::Done,
    })
}

/// Checks that `quota`, which needs no write, is as it was before counting. What was made between
/// its reading and the counting is in the count and not in its `used`, so the two can be equal
/// although something else is gone that has not been given back; nothing would bring the quota back
/// then:
///
/// ```text
/// read: used 4   (one pod of them is gone: 3 are there)
/// a pod is made: used 5, 4 are there
/// counted: 4     equal to what was read, and one too few for what is charged
/// ```
///
/// # Errors
/// [`Error::Conflict`]: it was charged meanwhile, and has to be counted again. The API server does
/// not answer.
async fn unless_charged(api: &Api<ResourceQuota>, quota: &ResourceQuota) -> Result<Outcome, Error> {
    let name = quota.metadata.name.as_deref().unwrap_or_default();
    let now = optional(api.get_metadata(name).await)?;
    match now.is_none_or(|now| now.metadata.resource_version == quota.metadata.resource_version) {
        true => Ok(Outcome::Done),
        false => Err(Error::Conflict(format!("ResourceQuota {} is newer than the count", Key::of(quota)))),
    }
}

/// Counts what the objects of a namespace use of the resources in `hard`. What cannot be counted is
/// left out, and the first error says why.
async fn count(
    client: &Client,
    namespace: &str,
    spec: &Value,
    hard: &Amounts,
) -> (Amounts, Result<(), Error>) {
    let kinds: BTreeSet<(&str, &str)> = hard.keys().map(|name| kind_counted_by(name)).collect();
    let mut result = Ok(());
    let resources = match kinds.iter().all(|(group, _)| group.is_empty()) {
        true => vec![],
        false => discover(client).await.unwrap_or_else(|error| {
            result = Err(Error::from(error));
            vec![]
        }),
    };
    let mut out = Amounts::new();
    for (group, plural) in kinds {
        let root = match group {
            "" => "/api/v1".to_string(),
            group => {
                let found = resources.iter().find(|r| r.api.group == group && r.api.plural == plural);
                let Some(found) = found else { continue }; // no such kind: there is nothing to count
                format!("/apis/{group}/{}", found.api.version)
            }
        };
        let is_whole = group.is_empty() && WHOLE.contains(&plural);
        let path = format!("{root}/namespaces/{}/{plural}", segment(namespace));
        let list = match list_objects(client, path, is_whole).await {
            Ok(Some(list)) => list,
            Ok(None) => continue,
            Err(error) => {
                result = result.and(Err(error));
                continue;
            }
        };
        // What is limited and not there is used to the amount of 0.
        for name in hard.keys().filter(|name| kind_counted_by(name) == (group, plural)) {
            out.insert(name.clone(), Quantity::of_units(0));
        }
        for item in value::list(&list, "items").iter().filter(|o| matches(spec, group, plural, o)) {
            for (name, amount) in usage(group, plural, item, clock::now()) {
                if let Some(sum) = out.get_mut(&name) {
                    *sum = *sum + amount;
                }
            }
        }
    }
    (out, result)
}

/// Lists the objects at `path`, whole or only their metadata; `None`: there is no such kind.
async fn list_objects(client: &Client, path: String, is_whole: bool) -> Result<Option<Value>, Error> {
    let accept = match is_whole {
        true => "application/json",
        false => "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
    };
    let request = http::Request::get(path)
        .header(http::header::ACCEPT, accept)
        .body(vec![])
        .map_err(kube::Error::HttpError)?;
    Ok(optional(client.kube().request(request).await)?)
}

#[cfg(test)]
mod tests;
