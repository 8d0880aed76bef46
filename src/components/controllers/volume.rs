//! # Volumes: claims meet volumes
//!
//! A claim is *bound* to a volume that fits, each naming the other. A claim whose class has a
//! provisioner waits until the provisioner has made a volume for it. When the claim goes, the
//! volume is *released*; what then happens to the data is its reclaim policy's to say. A claim of a
//! class that waits for its first consumer is bound by whom the scheduler chooses, so that the
//! volume is where the pod will be. [`fits`] is pure. Source:
//! `pkg/controller/volume/persistentvolume`.

use super::write::{self, Guard, unless_gone};
use super::{Error, Shared, record, reference};
use api::volumes::{
    BIND_COMPLETED, BOUND_BY_CONTROLLER, SELECTED_NODE, fits, is_bound, is_reserved_for, preference,
};
use client::{Key, Outcome, Recorder, WorkQueue, optional, segment};
use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus, PersistentVolumeStatus,
};
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::sync::Arc;
use tap::{Cause, Component, Event};

const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";

pub(crate) fn start(shared: &Shared) {
    let recorder = Recorder::new(&shared.crew, &shared.config.client, "persistentvolume-controller", "");
    let claims: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let volumes: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let (q, v, all) = (claims.clone(), volumes.clone(), shared.clone());
    shared.claims.on(move |change| {
        q.add(change.key(), change.cause());
        for volume in all.volumes.list() {
            if claim_key(&volume) == Some(change.key()) {
                v.add(Key::of(&*volume), change.cause());
            }
        }
    });
    let (q, v, all) = (claims.clone(), volumes.clone(), shared.clone());
    shared.volumes.on(move |change| {
        v.add(change.key(), change.cause());
        // Claims without a volume, this volume's own, and those of a volume of its name that may be
        // lost.
        let name = change.key().name;
        let concerned = |c: &&Arc<PersistentVolumeClaim>| bound_to(c).is_none_or(|bound| bound == name);
        for claim in all.claims.list().iter().filter(concerned) {
            q.add(Key::of(&**claim), change.cause());
        }
    });
    let (q, all) = (claims.clone(), shared.clone());
    shared.classes.on(move |change| {
        for claim in all.claims.list().iter().filter(|c| bound_to(c).is_none()) {
            q.add(Key::of(&**claim), change.cause());
        }
    });
    let worker = Arc::new(Worker { shared: shared.clone(), recorder });
    let w = worker.clone();
    shared.report_panics(&claims, &shared.claims, "persistentvolume-binder");
    claims.work("claim", 1, move |key, cause| {
        let worker = w.clone();
        async move { worker.claim(key, cause).await } // one worker: a volume must not be given twice
    });
    shared.report_panics(&volumes, &shared.volumes, "persistentvolume-binder");
    volumes.work("volume", 1, move |key, cause| {
        let worker = worker.clone();
        async move { worker.volume(key, cause).await }
    });
}

fn claim_key(volume: &PersistentVolume) -> Option<Key> {
    let reference = volume.spec.as_ref()?.claim_ref.as_ref()?;
    Some(Key::new(reference.namespace.clone()?, reference.name.clone()?))
}

fn bound_to(claim: &PersistentVolumeClaim) -> Option<String> {
    claim.spec.as_ref()?.volume_name.clone().filter(|n| !n.is_empty())
}

struct Worker {
    shared: Shared,
    recorder: Recorder,
}

impl Worker {
    async fn claim(&self, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
        let Some(claim) = self.shared.claims.get(&key) else { return Ok(Outcome::Done) };
        if claim.metadata.deletion_timestamp.is_some() {
            return Ok(Outcome::Done);
        }
        let phase = claim.status.as_ref().and_then(|s| s.phase.clone()).unwrap_or_default();
        let already = claim.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(BIND_COMPLETED));
        if already && phase == "Bound" {
            // A volume that was set free is bound anew.
            if !self.set_free(&key, &claim, &cause).await? {
                return Ok(Outcome::Done);
            }
        }
        // Where the first consumer decides, the scheduler reserves the volume.
        let late = self.is_late(&claim) && bound_to(&claim).is_none();
        let may_have = |v: &Arc<PersistentVolume>| fits(v, &claim) && (!late || is_reserved_for(v, &claim));
        let fitting = self.shared.volumes.list().into_iter().filter(may_have).min_by_key(|v| preference(v));
        let client = self.shared.config.client.caused_by(cause.clone());
        let Some(volume) = fitting else { return self.wait(&key, &claim, &cause).await };
        let name = volume.metadata.name.clone().unwrap_or_default();
        let api = client.cluster::<PersistentVolume>();
        let gone = || Error::Conflict(format!("volume {name} is gone"));
        let reserved = volume.spec.as_ref().and_then(|s| s.claim_ref.as_ref()).and_then(|r| r.uid.clone());
        if reserved != claim.metadata.uid {
            let reserve = json!({
                "metadata": {
                    "uid": volume.metadata.uid, "resourceVersion": volume.metadata.resource_version,
                    "annotations": {BOUND_BY_CONTROLLER: "yes"},
                },
                "spec": {"claimRef": reference(&*claim)},
            });
            unless_gone(api.patch(&name, &PatchParams::default(), &Patch::Merge(reserve)).await)?
                .ok_or_else(gone)?;
        }
        // Each of these steps is found done or undone by the next look, if this one ends in
        // between.
        let status = with_phase(volume.status.as_ref(), "Bound");
        write::status(&api, &volume.metadata, Guard::Uid, volume.status.as_ref(), &status).await?;
        let claims = client.within::<PersistentVolumeClaim>(&key.namespace);
        let patch = json!({
            "metadata": {"uid": claim.metadata.uid, "annotations": {BIND_COMPLETED: "yes", BOUND_BY_CONTROLLER: "yes"}},
            "spec": {"volumeName": name},
        });
        unless_gone(claims.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await)?;
        let spec = volume.spec.clone().unwrap_or_default();
        let status = PersistentVolumeClaimStatus {
            phase: Some("Bound".into()),
            access_modes: spec.access_modes,
            capacity: spec.capacity,
            ..claim.status.clone().unwrap_or_default()
        };
        write::status(&claims, &claim.metadata, Guard::Uid, claim.status.as_ref(), &status).await?;
        let event = Event::BindVolume { volume: name.to_string() };
        let record = record(event, "persistentvolumeclaims", &key, &cause);
        self.shared.tap(Component::PersistentVolumeController).emit(record);
        Ok(Outcome::Done)
    }

    /// Does the claim's class wait for the first consumer?
    fn is_late(&self, claim: &PersistentVolumeClaim) -> bool {
        let class = claim.spec.as_ref().and_then(|s| s.storage_class_name.clone()).unwrap_or_default();
        let class = self.shared.classes.get(&Key::new("", class));
        class.is_some_and(|c| c.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"))
    }

    /// A bound claim whose volume is no more, or is another claim's, is lost, and its data with it.
    /// Returns whether its volume is there, bound to nothing.
    async fn set_free(
        &self,
        key: &Key,
        claim: &PersistentVolumeClaim,
        cause: &Option<Cause>,
    ) -> Result<bool, Error> {
        let name = bound_to(claim).unwrap_or_default();
        let mut volume = self.shared.volumes.get(&Key::new("", name.clone()));
        if volume.as_ref().is_none_or(|v| !is_reserved_for(v, claim)) {
            // The cache may be behind: that of the claims is another one.
            let api = self.shared.config.client.cluster::<PersistentVolume>();
            volume = optional(api.get(&segment(&name)).await)?.map(Arc::new);
        }
        let (reason, why) = match volume {
            Some(volume) if is_reserved_for(&volume, claim) => return Ok(false),
            Some(volume) if volume.spec.as_ref().is_none_or(|s| s.claim_ref.is_none()) => {
                return Ok(fits(&volume, claim));
            }
            Some(_) => {
                ("ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")
            }
            None => ("ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!"),
        };
        let api = self.shared.config.client.caused_by(cause.clone());
        let api = api.within::<PersistentVolumeClaim>(&key.namespace);
        let old = claim.status.as_ref();
        let new = PersistentVolumeClaimStatus {
            phase: Some("Lost".into()),
            capacity: None,
            access_modes: None,
            ..old.cloned().unwrap_or_default()
        };
        if write::status(&api, &claim.metadata, Guard::Uid, old, &new).await? {
            self.recorder.warning(&reference(claim), reason, why, cause.clone());
        }
        Ok(false)
    }

    /// Nothing fits: ask the class' provisioner, or say what is missing.
    async fn wait(
        &self,
        key: &Key,
        claim: &PersistentVolumeClaim,
        cause: &Option<Cause>,
    ) -> Result<Outcome, Error> {
        let about = reference(claim);
        let client = self.shared.config.client.caused_by(cause.clone());
        let api = client.within::<PersistentVolumeClaim>(&key.namespace);
        if let Some(name) = bound_to(claim) {
            // It names its volume, which is not there (any more) or does not fit. One that was lost
            // stays so.
            let phase = claim.status.as_ref().and_then(|s| s.phase.as_deref());
            if !matches!(phase, Some("Pending" | "Lost")) {
                let new = PersistentVolumeClaimStatus {
                    phase: Some("Pending".into()),
                    ..claim.status.clone().unwrap_or_default()
                };
                write::status(&api, &claim.metadata, Guard::Uid, claim.status.as_ref(), &new).await?;
            }
            if phase != Some("Lost") {
                let message = format!("volume {name:?} does not exist, or does not fit this claim");
                self.recorder.warning(&about, "FailedBinding", message, cause.clone());
            }
            return Ok(Outcome::Done);
        }
        let class = claim.spec.as_ref().and_then(|s| s.storage_class_name.clone()).unwrap_or_default();
        if class.is_empty() {
            let message = "no persistent volumes available for this claim and no storage class is set";
            self.recorder.normal(&about, "FailedBinding", message, cause.clone());
            return Ok(Outcome::Done);
        }
        let Some(class) = self.shared.classes.get(&Key::new("", class.clone())) else {
            let message = format!("storageclass.storage.k8s.io {class:?} not found");
            self.recorder.warning(&about, "ProvisioningFailed", message, cause.clone());
            return Ok(Outcome::Done);
        };
        let annotation = |key: &str| claim.metadata.annotations.as_ref().and_then(|a| a.get(key)).cloned();
        let late = class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer");
        if late && annotation(SELECTED_NODE).is_none() {
            let message = "waiting for first consumer to be created before binding";
            self.recorder.normal(&about, "WaitForFirstConsumer", message, cause.clone());
            return Ok(Outcome::Done);
        }
        if annotation(PROVISIONER).as_deref() != Some(&class.provisioner) {
            let set = json!({PROVISIONER: class.provisioner});
            let patch = json!({"metadata": {"uid": claim.metadata.uid, "annotations": set}});
            unless_gone(api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await)?;
        }
        let message = format!(
            "Waiting for a volume to be created either by the external provisioner '{}' or manually by the system \
             administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.",
            class.provisioner
        );
        self.recorder.normal(&about, "ExternalProvisioning", message, cause.clone());
        Ok(Outcome::Done)
    }

    /// A volume that was reserved for a claim which got another one is free again (`unbindVolume`
    /// upstream).
    async fn unreserve(&self, volume: &PersistentVolume, cause: Option<Cause>) -> Result<Outcome, Error> {
        let patch = json!({
            "metadata": {
                "uid": volume.metadata.uid, "resourceVersion": volume.metadata.resource_version,
                "annotations": {BOUND_BY_CONTROLLER: null},
            },
            "spec": {"claimRef": null},
        });
        let api = self.shared.config.client.caused_by(cause).cluster::<PersistentVolume>();
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        unless_gone(api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await)?;
        Ok(Outcome::Done) // the watch tells of it, and then its phase is looked at
    }

    async fn volume(&self, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
        let Some(volume) = self.shared.volumes.get(&key) else { return Ok(Outcome::Done) };
        let spec = volume.spec.clone().unwrap_or_default();
        let phase = volume.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default();
        let want = match &spec.claim_ref {
            None => "Available",
            Some(reference) => {
                let same =
                    |c: &PersistentVolumeClaim| reference.uid.is_none() || c.metadata.uid == reference.uid;
                let place = claim_key(&volume);
                let mut claim = place.as_ref().and_then(|k| self.shared.claims.get(k)).filter(|c| same(c));
                if claim.is_none()
                    && let Some(place) = place.filter(|_| reference.uid.is_some() && phase != "Released")
                {
                    // A volume that is released may be deleted, and its data. The cache of the
                    // claims may be behind.
                    let api =
                        self.shared.config.client.within::<PersistentVolumeClaim>(&segment(&place.namespace));
                    claim = optional(api.get(&segment(&place.name)).await)?.filter(same).map(Arc::new);
                }
                match claim {
                    Some(claim) if bound_to(&claim) == volume.metadata.name => "Bound",
                    Some(claim) if is_bound(&claim) && is_taken_back(&volume) => {
                        return self.unreserve(&volume, cause).await;
                    }
                    Some(_) => "Available",
                    None if reference.uid.is_some() => "Released",
                    None => "Available",
                }
            }
        };
        // A reserved volume on its way to Bound is the claim worker's.
        if phase == want || (phase == "Bound" && want == "Available") {
            return Ok(Outcome::Done);
        }
        let api = self.shared.config.client.caused_by(cause).cluster::<PersistentVolume>();
        let new = with_phase(volume.status.as_ref(), want);
        write::status(&api, &volume.metadata, Guard::Uid, volume.status.as_ref(), &new).await?;
        Ok(Outcome::Done)
    }
}

/// Was the volume reserved by a component, and not by somebody who wanted this claim to have it?
fn is_taken_back(volume: &PersistentVolume) -> bool {
    volume.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(BOUND_BY_CONTROLLER))
}

fn with_phase(before: Option<&PersistentVolumeStatus>, phase: &str) -> PersistentVolumeStatus {
    PersistentVolumeStatus { phase: Some(phase.into()), ..before.cloned().unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::testing::{Asked, Scripted, refusal};
    use serde::de::DeserializeOwned;
    use serde_json::Value;

    fn of<T: DeserializeOwned>(object: Value) -> T {
        serde_json::from_value(object).unwrap()
    }

    fn claim(bound: &str, phase: &str) -> PersistentVolumeClaim {
        let annotations = if bound.is_empty() { json!({}) } else { json!({BIND_COMPLETED: "yes"}) };
        of(json!({"metadata": {"name": "c", "namespace": "d", "uid": "u", "annotations": annotations},
            "spec": {"storageClassName": "late", "volumeName": bound}, "status": {"phase": phase}}))
    }

    fn volume(reserved: Option<&str>) -> PersistentVolume {
        let claim = reserved.map(|uid| json!({"namespace": "d", "name": "c", "uid": uid}));
        of(
            json!({"metadata": {"name": "v", "uid": "w"}, "spec": {"storageClassName": "late", "claimRef": claim}}),
        )
    }

    /// A worker that knows these; its class waits for the first consumer.
    fn worker(
        server: &Scripted,
        claims: Vec<PersistentVolumeClaim>,
        volumes: Vec<PersistentVolume>,
    ) -> Worker {
        let shared = Shared::fixed(&server.client);
        let late = json!({"metadata": {"name": "late"}, "provisioner": "x", "volumeBindingMode": "WaitForFirstConsumer"});
        shared.classes.tell_of(of(late));
        claims.into_iter().for_each(|claim| shared.claims.tell_of(claim));
        volumes.into_iter().for_each(|volume| shared.volumes.tell_of(volume));
        let recorder = Recorder::new(&shared.crew, &server.client, "t", "");
        Worker { shared, recorder }
    }

    fn key() -> Key {
        Key::new("d", "c")
    }

    #[tokio::test]
    async fn a_class_that_waits_for_its_first_consumer_gets_no_volume_but_the_reserved_one() {
        let server = Scripted::new(|_| None).await;
        let free = worker(&server, vec![claim("", "Pending")], vec![volume(None)]);
        free.claim(key(), None).await.unwrap();
        assert_eq!(server.lines(), [""; 0]);
        let reserved = worker(&server, vec![claim("", "Pending")], vec![volume(Some("u"))]);
        reserved.claim(key(), None).await.unwrap();
        let claim = "PATCH /api/v1/namespaces/d/persistentvolumeclaims/c";
        let status = "PATCH /api/v1/persistentvolumes/v/status".to_string();
        assert_eq!(server.lines(), [status, claim.into(), format!("{claim}/status")]);
    }

    #[tokio::test]
    async fn a_claim_whose_volume_is_gone_is_lost_unless_only_the_cache_is_behind() {
        let stored = |code: u16| {
            move |asked: &Asked| match (asked.line.as_str(), code) {
                ("GET /api/v1/persistentvolumes/v", 404) => refusal(404, "NotFound"),
                ("GET /api/v1/persistentvolumes/v", _) => Some((200, json!(volume(Some("u"))))),
                _ => None,
            }
        };
        for (code, want) in [(200, Value::Null), (404, json!("Lost"))] {
            let server = Scripted::new(stored(code)).await;
            worker(&server, vec![claim("v", "Bound")], vec![]).claim(key(), None).await.unwrap();
            let written: Value =
                server.take().iter().map(|a| a.body["status"]["phase"].clone()).next_back().unwrap();
            assert_eq!(written, want);
        }
        let server = Scripted::new(stored(200)).await;
        worker(&server, vec![claim("v", "Bound")], vec![volume(Some("u"))]).claim(key(), None).await.unwrap();
        assert_eq!(server.lines(), [""; 0], "all is well, and nobody is asked");
    }

    /// A scheduler reserved it, ended, and reserved another one after its start, for example.
    #[tokio::test]
    async fn a_volume_whose_claim_got_another_one_is_free_again_unless_somebody_wanted_it_so() {
        for (annotations, want) in [(json!({BOUND_BY_CONTROLLER: "yes"}), true), (json!({}), false)] {
            let server = Scripted::new(|_| None).await;
            let mut spare = volume(Some("u"));
            spare.metadata.annotations = of(annotations);
            spare.status = Some(with_phase(None, "Available"));
            let bound = claim("other", "Bound");
            worker(&server, vec![bound], vec![spare]).volume(Key::new("", "v"), None).await.unwrap();
            let asked = server.take();
            assert_eq!(!asked.is_empty(), want);
            for patch in asked {
                assert_eq!(patch.line, "PATCH /api/v1/persistentvolumes/v");
                assert_eq!(patch.body["spec"], json!({"claimRef": null}));
            }
        }
        // As long as the claim has none, it is on its way to this one.
        let server = Scripted::new(|_| None).await;
        let mut spare = volume(Some("u"));
        spare.metadata.annotations = of(json!({BOUND_BY_CONTROLLER: "yes"}));
        spare.status = Some(with_phase(None, "Available"));
        let open = claim("", "Pending");
        worker(&server, vec![open], vec![spare]).volume(Key::new("", "v"), None).await.unwrap();
        assert!(server.take().is_empty());
    }

    #[tokio::test]
    async fn a_volume_is_released_only_when_the_api_server_does_not_know_its_claim() {
        for (uid, want) in [("u", vec!["GET"]), ("another", vec!["GET", "PATCH"])] {
            let stored =
                json!({"metadata": {"name": "c", "namespace": "d", "uid": uid}, "spec": {"volumeName": "v"}});
            let server =
                Scripted::new(move |a| a.line.starts_with("GET").then(|| (200, stored.clone()))).await;
            let mut bound = volume(Some("u"));
            bound.status = Some(with_phase(None, "Bound"));
            worker(&server, vec![], vec![bound]).volume(Key::new("", "v"), None).await.unwrap();
            let verbs: Vec<String> =
                server.lines().iter().filter_map(|l| l.split(' ').next().map(String::from)).collect();
            assert_eq!(verbs, want, "{uid}");
        }
    }
}
