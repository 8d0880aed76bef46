//! # Storage object in use protection: what is used does not go
//!
//! A claim that a pod uses, and a volume that a claim is bound to, carry a finalizer: deleted, they
//! stay until the last user is gone. The API server puts it on when they are made; this controller
//! puts it on those that lack it, and takes it off. Source: `pkg/controller/volume/pvcprotection`,
//! `pkg/controller/volume/pvprotection`.

use super::pods::{controller_of, node_of};
use super::write::unless_gone;
use crate::error::Error;
use crate::shared::{Controller, Shared};
use api::volumes::{CLAIM_PROTECTION, VOLUME_PROTECTION, claims_of};
use client::{Api, Change, Client, Codec, Key, Outcome, WorkQueue};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Volume};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;
use std::sync::Arc;
use tap::Cause;

pub(crate) const CONTROLLER: Controller = Controller {
    informers: |informers| {
        informers.all::<PersistentVolumeClaim>();
        informers.all::<PersistentVolume>();
        informers.all::<Pod>();
    },
    start,
};

fn start(shared: &Shared) {
    let claims: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let q = claims.clone();
    shared.informer::<PersistentVolumeClaim>().on(move |change| q.add(change.key(), change.cause()));
    let q = claims.clone();
    shared.informer::<Pod>().on(move |change| {
        let namespace = change.key().namespace;
        let mut named: Vec<String> = claims_of(change.object()).collect();
        if let Change::Updated { old, .. } = change {
            named.extend(claims_of(old));
        }
        named.into_iter().for_each(|name| q.add(Key::new(namespace.clone(), name), change.cause()));
    });
    let all = Arc::new(shared.clone());
    shared.report_panics(&claims, shared.informer::<PersistentVolumeClaim>(), "pvc-protection");
    claims.work("pvc-protection", 2, move |key, cause| {
        let shared = all.clone();
        async move { sync_claim(&shared, &key, cause).await }
    });
    let volumes: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let q = volumes.clone();
    shared.informer::<PersistentVolume>().on(move |change| q.add(change.key(), change.cause()));
    let all = Arc::new(shared.clone());
    shared.report_panics(&volumes, shared.informer::<PersistentVolume>(), "pv-protection");
    volumes.work("pv-protection", 2, move |key, cause| {
        let shared = all.clone();
        async move { sync_volume(&shared, &key, cause).await }
    });
}

/// What to do about a finalizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Add,
    /// Take it off if nothing uses the object.
    Remove,
}

/// Pure: what an object's deletion and finalizers ask for.
fn step(meta: &ObjectMeta, finalizer: &str) -> Option<Step> {
    let protected = meta.finalizers.iter().flatten().any(|f| f == finalizer);
    match (meta.deletion_timestamp.is_some(), protected) {
        (false, false) => Some(Step::Add),
        (true, true) => Some(Step::Remove),
        _ => None,
    }
}

/// Returns whether the pod uses the claim. A pod that no kubelet knows does not: a kubelet starts
/// none with a claim that is going. The claim of a generic ephemeral volume is used only by the pod
/// that it was made for, and until that is shut down: a finalizer of the pod may wait for the
/// claim. Upstream: `podUsesPVC`.
fn uses(pod: &Pod, claim: &ObjectMeta) -> bool {
    let (owner, name) = (&pod.metadata, claim.name.as_deref().unwrap_or_default());
    let scheduled = !node_of(pod).is_empty();
    let is_shut_down = owner.deletion_timestamp.is_some() && owner.deletion_grace_period_seconds == Some(0);
    let is_made_for = || controller_of(claim).is_some_and(|o| Some(&o.uid) == owner.uid.as_ref());
    let names = |volume: &Volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(source), _) => source.claim_name == name,
        (None, Some(_)) => {
            let of_pod = format!("{}-{}", owner.name.as_deref().unwrap_or_default(), volume.name);
            of_pod == name && !is_shut_down && is_made_for()
        }
        (None, None) => false,
    };
    scheduled && pod.spec.iter().flat_map(|s| s.volumes.iter().flatten()).any(names)
}

/// Gives a claim its finalizer, or takes it off one that is going and that no pod uses.
async fn sync_claim(shared: &Shared, key: &Key, cause: Option<Cause>) -> Result<Outcome, Error> {
    let Some(claim) = shared.informer::<PersistentVolumeClaim>().get(key) else { return Ok(Outcome::Done) };
    let Some(step) = step(&claim.metadata, CLAIM_PROTECTION) else { return Ok(Outcome::Done) };
    if step == Step::Remove {
        if shared.informer::<Pod>().within(&key.namespace).iter().any(|p| uses(p, &claim.metadata)) {
            return Ok(Outcome::Done); // the end of the last such pod brings the next look
        }
        // The cache may be behind a pod that was bound a moment ago.
        let api = shared.config.client.within::<Pod>(&key.namespace);
        let pods = api.list(&ListParams::default()).await?;
        if pods.items.iter().any(|p| uses(p, &claim.metadata)) {
            return Err(Error::Conflict(format!("a pod uses claim {key}")));
        }
    }
    let api = client(shared, cause).within::<PersistentVolumeClaim>(&key.namespace);
    write(&api, &claim.metadata, CLAIM_PROTECTION, step).await
}

/// Gives a volume its finalizer, or takes it off one that is going and bound to no claim.
async fn sync_volume(shared: &Shared, key: &Key, cause: Option<Cause>) -> Result<Outcome, Error> {
    let Some(volume) = shared.informer::<PersistentVolume>().get(key) else { return Ok(Outcome::Done) };
    let Some(step) = step(&volume.metadata, VOLUME_PROTECTION) else { return Ok(Outcome::Done) };
    let bound = volume.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound");
    if step == Step::Remove && bound {
        return Ok(Outcome::Done); // its release brings the next look
    }
    write(&client(shared, cause).cluster::<PersistentVolume>(), &volume.metadata, VOLUME_PROTECTION, step)
        .await
}

fn client(shared: &Shared, cause: Option<Cause>) -> Client {
    shared.config.client.caused_by(cause)
}

/// Changes this finalizer alone, whatever else stands beside it by now.
async fn write<K>(api: &Api<K>, meta: &ObjectMeta, finalizer: &str, step: Step) -> Result<Outcome, Error>
where
    K: Codec,
{
    let change = match step {
        Step::Add => "finalizers",
        Step::Remove => "$deleteFromPrimitiveList/finalizers",
    };
    let mut patch = json!({"metadata": {"uid": meta.uid, change: [finalizer]}});
    if step == Step::Remove {
        // What is in use is decided on this version.
        patch["metadata"]["resourceVersion"] = json!(meta.resource_version);
    }
    let name = meta.name.as_deref().unwrap_or_default();
    unless_gone(api.patch(name, &PatchParams::default(), &Patch::Strategic(patch)).await)?;
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::testing::Scripted;
    use serde_json::Value;

    fn of<T: serde::de::DeserializeOwned>(object: Value) -> T {
        serde_json::from_value(object).unwrap()
    }

    fn meta(going: bool, finalizers: Value) -> Value {
        let mut meta = json!({"name": "x", "namespace": "d", "uid": "u", "finalizers": finalizers});
        if going {
            meta["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        meta
    }

    fn pod(node: &str) -> Pod {
        of(json!({"metadata": {"name": "p", "namespace": "d"}, "spec": {"nodeName": node, "containers": [],
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "x"}}]}}))
    }

    /// Returns the patches of a look at a claim, with these pods in the cache and these at the API
    /// server.
    async fn looks(claim: Value, cached: Vec<Pod>, stored: Vec<Pod>) -> Vec<Value> {
        let server = Scripted::new(move |asked| {
            asked.line.starts_with("GET").then(|| (200, json!({"metadata": {}, "items": stored})))
        })
        .await;
        let shared = Shared::fixed(&server.client);
        shared.informer::<PersistentVolumeClaim>().show(of(json!({"metadata": claim})));
        cached.into_iter().for_each(|pod| shared.informer::<Pod>().show(pod));
        let _ = super::sync_claim(&shared, &Key::new("d", "x"), None).await;
        server
            .take()
            .into_iter()
            .filter(|a| a.line.starts_with("PATCH"))
            .map(|a| a.body["metadata"].clone())
            .collect()
    }

    #[tokio::test]
    async fn a_claim_stays_as_long_as_a_scheduled_pod_uses_it() {
        let held = || meta(true, json!([CLAIM_PROTECTION]));
        let none: Vec<Value> = vec![];
        assert_eq!(looks(held(), vec![pod("n")], vec![]).await, none);
        assert_eq!(looks(held(), vec![], vec![pod("n")]).await, none, "the cache is behind");
        let freed = looks(held(), vec![pod("")], vec![pod("")]).await;
        assert_eq!(freed[0]["$deleteFromPrimitiveList/finalizers"], json!([CLAIM_PROTECTION]));
        assert_eq!(looks(meta(false, json!([CLAIM_PROTECTION])), vec![], vec![]).await, none);
        assert_eq!(
            looks(meta(false, json!([])), vec![], vec![]).await[0]["finalizers"],
            json!([CLAIM_PROTECTION])
        );
    }

    /// Its claim is named after the pod and the volume. One of that name may be another pod's.
    #[test]
    fn the_claim_of_an_ephemeral_volume_stays_until_its_own_pod_is_shut_down() {
        let pod = |uid: &str, grace: &Value| -> Pod {
            let going = (!grace.is_null()).then_some("2026-01-01T00:00:00Z");
            let meta = json!({"name": "p", "uid": uid, "deletionTimestamp": going, "deletionGracePeriodSeconds": grace});
            let volumes = json!([{"name": "v", "ephemeral": {}}]);
            of(json!({"metadata": meta, "spec": {"nodeName": "n", "containers": [], "volumes": volumes}}))
        };
        let owner = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "1", "controller": true});
        let claim: ObjectMeta = of(json!({"name": "p-v", "ownerReferences": [owner]}));
        for (uid, grace, used) in [
            ("1", json!(null), true),
            ("1", json!(30), true),
            ("1", json!(0), false),
            ("2", json!(null), false),
        ] {
            assert_eq!(uses(&pod(uid, &grace), &claim), used, "{uid} {grace}");
        }
    }

    #[tokio::test]
    async fn a_bound_volume_stays_until_it_is_released() {
        let server = Scripted::new(|_| None).await;
        let shared = Shared::fixed(&server.client);
        let key = Key::new("", "x");
        for (phase, patches) in [("Bound", 0), ("Released", 1)] {
            let volume =
                json!({"metadata": meta(true, json!([VOLUME_PROTECTION])), "status": {"phase": phase}});
            let mut volume: PersistentVolume = of(volume);
            (volume.metadata.namespace, volume.metadata.resource_version) = (None, Some(phase.into()));
            shared.informer::<PersistentVolume>().show(volume);
            super::sync_volume(&shared, &key, None).await.unwrap();
            assert_eq!(server.take().len(), patches, "{phase}");
        }
    }
}
