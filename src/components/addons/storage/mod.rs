//! The storage provisioner: makes a directory on a node and a PersistentVolume for every claim of
//! its classes, and removes both when the claim is deleted.

mod disk;
mod names;
mod reclaim;
mod volume;

use api::volumes::{SELECTED_NODE, class_of};
use client::{Change, Client, Informer, Key, Outcome, Recorder, WorkQueue, is_code, optional, reference};
use disk::on_disk;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::PostParams;
pub use names::PROVISIONER;
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tap::{Cause, Event, Record, Tap};
use task::Crew;
use volume::{claim_of, name_of, place_of, ready_for, refusal, volume_for};

const ASKED: &str = "volume.kubernetes.io/storage-provisioner";

/// The provisioner's connection to the cluster, and the nodes' file systems.
pub struct Config {
    /// Watches claims, volumes and classes, and writes volumes.
    pub client: Client,
    /// Gets a record of each volume that is provisioned.
    pub tap: Tap,
    /// The cluster's nodes by name: the directory on this machine that is the node's file system.
    /// The name is `host`, and what lies beside it is out of the pods' sight.
    pub nodes: BTreeMap<String, PathBuf>,
    /// The same of workers that the cluster had at an earlier start and no longer has. Volumes are
    /// removed there, and none is made.
    pub gone: BTreeMap<String, PathBuf>,
    /// Returns whether a node can start a pod now. Upstream's local-path-provisioner works by a pod
    /// on the node: nothing is made or removed on one that is off.
    pub starts_pods: Box<dyn Fn(&str) -> bool + Send + Sync>,
}

impl Config {
    /// Returns the file system of a node, also of a worker that is gone.
    fn root_of(&self, node: &str) -> Option<PathBuf> {
        self.nodes.get(node).or_else(|| self.gone.get(node)).cloned()
    }

    /// Names of the nodes that may have volumes.
    fn all_nodes(&self) -> impl Iterator<Item = &String> {
        self.nodes.keys().chain(self.gone.keys())
    }
}

/// Makes and removes volumes until the crew ends.
pub fn start(crew: &Crew, config: Config) {
    let own = crew.clone();
    crew.spawn_main(async move {
        let claims: Informer<PersistentVolumeClaim> = Informer::all(&own, &config.client);
        let volumes: Informer<PersistentVolume> = Informer::all(&own, &config.client);
        let classes: Informer<StorageClass> = Informer::all(&own, &config.client);
        let recorder = Recorder::new(&own, &config.client, PROVISIONER, "");
        let stop = own.token();
        tokio::select! {
            _ = futures::future::join3(claims.synced(), volumes.synced(), classes.synced()) => {}
            () = stop.cancelled() => return Ok(()), // without an API server they are never synced
        }
        tracing::info!(provisioner = PROVISIONER, "started");
        let wanted: WorkQueue<Key> = WorkQueue::new(&own);
        let q = wanted.clone();
        claims.on(move |change| q.add(change.key(), change.cause()));
        let (q, all) = (wanted.clone(), claims.clone());
        // The claim may have been heard of before its class.
        classes
            .on(move |change| all.list().iter().for_each(|claim| q.add(Key::of(&**claim), change.cause())));
        let released: WorkQueue<Key> = WorkQueue::new(&own);
        let (q, again) = (released.clone(), wanted.clone());
        volumes.on(move |change| {
            q.add(change.key(), change.cause());
            // While the volume was there, its claim got no other volume.
            if let Change::Deleted(volume) = change
                && let Some(claim) = claim_of(volume)
            {
                again.add(claim, change.cause());
            }
        });
        let worker =
            Arc::new(Worker { config, claims, volumes, classes, recorder, unstored: Mutex::default() });
        let w = worker.clone();
        let unfinished: WorkQueue<Key> = WorkQueue::new(&own);
        // Before anything else is removed: what is found now, no other worker removes.
        worker.left_behind().await.into_iter().for_each(|key| unfinished.add(key, None));
        unfinished.work("clear", 1, move |key, _| {
            let worker = w.clone();
            async move { worker.clear(key).await }
        });
        let w = worker.clone();
        wanted.work("provision", 2, move |key, cause| {
            let worker = w.clone();
            async move { worker.provision(key, cause).await }
        });
        released.work("reclaim", 2, move |key, cause| {
            let worker = worker.clone();
            async move { worker.reclaim(key, cause).await }
        });
        stop.cancelled().await;
        Ok::<(), String>(())
    });
}

struct Worker {
    config: Config,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
    classes: Informer<StorageClass>,
    recorder: Recorder,
    /// Directories without a volume, by claim: at most one for each claim whose volume the API
    /// server does not store.
    unstored: Mutex<HashMap<Key, Unstored>>,
}

/// A directory that was made for a claim and whose volume is not stored yet: no volume says that it
/// is there, so the claim's end is the directory's. Source: `claimsInProgress` of
/// sig-storage-lib-external-provisioner.
#[derive(Clone, Debug)]
struct Unstored {
    /// The claim's uid.
    claim: Option<String>,
    node: String,
    path: String,
}

impl Unstored {
    /// Returns whether the claim may still get a volume there.
    fn is_for(&self, claim: &PersistentVolumeClaim) -> bool {
        claim.metadata.uid == self.claim
            && !is_bound(claim)
            && annotation(claim, SELECTED_NODE) == Some(&self.node)
    }

    fn place(&self) -> (String, String) {
        (self.node.clone(), self.path.clone())
    }
}

fn annotation<'c>(claim: &'c PersistentVolumeClaim, name: &str) -> Option<&'c str> {
    claim.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    claim.spec.as_ref().and_then(|s| s.volume_name.as_deref()).is_some_and(|name| !name.is_empty())
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error(transparent)]
    Directory(#[from] linux::Error),
}

impl Worker {
    async fn provision(&self, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
        let claim = self.claims.get(&key);
        if !self.discard(&key, claim.as_deref()).await? {
            return Ok(Outcome::After(Duration::ZERO));
        }
        let Some(claim) = claim else { return Ok(Outcome::Done) };
        let asked = annotation(&claim, ASKED) == Some(PROVISIONER);
        if is_bound(&claim) || !asked || self.is_made(&claim) {
            return Ok(Outcome::Done);
        }
        let class = class_of(&claim);
        let found = self.classes.get(&Key::new("", class.clone()));
        let selected = annotation(&claim, SELECTED_NODE).map(String::from);
        let (class, node) = match ready_for(&class, found.as_deref(), selected) {
            Ok(Some(ready)) => ready,
            Ok(None) => return Ok(Outcome::Done), // the scheduler's annotation or another class brings the key back
            Err(why) => {
                self.recorder.warning(&reference(&*claim), "ProvisioningFailed", why, cause);
                return Ok(Outcome::Done); // only a change of the claim or its class helps
            }
        };
        if let Some(why) = refusal(&claim) {
            let name = class.metadata.name.as_deref().unwrap_or_default();
            let why = format!("failed to provision volume with StorageClass {name:?}: {why}");
            self.recorder.warning(&reference(&*claim), "ProvisioningFailed", why, cause);
            return Ok(Outcome::Done); // its spec does not change
        }
        let volume = volume_for(&claim, class, &node);
        let path = volume.spec.as_ref().and_then(|s| s.host_path.as_ref()).map(|h| h.path.clone());
        // The annotation is the scheduler's, but users who may write the claim may write it, too.
        let (Some(root), Some(path)) =
            (self.config.nodes.get(&node).cloned(), path.filter(|path| !path.is_empty()))
        else {
            let why = format!("there is no node {node:?} in this cluster");
            return self.reschedule(&claim, &why, cause).await;
        };
        // sig-storage-lib-external-provisioner writes this Event at each try, too.
        let message = format!("External provisioner is provisioning volume for claim {:?}", key.to_string());
        self.recorder.normal(&reference(&*claim), "Provisioning", message, cause.clone());
        if !(self.config.starts_pods)(&node) {
            let why = format!("node {node:?} is off, or its kubelet is stopped");
            return self.reschedule(&claim, &why, cause).await;
        }
        let made = Unstored { claim: claim.metadata.uid.clone(), node, path };
        let path = made.path.clone();
        if let Err(error) = on_disk(move || disk::make(&root, &path)).await {
            return self.reschedule(&claim, &error.to_string(), cause).await;
        }
        self.unstored().insert(key, made);
        self.store(&claim, &volume, cause).await
    }

    /// Returns whether a claim's volume is there and only waits for the volume controller to bind
    /// the two. The end of the volume brings the claim's key back.
    fn is_made(&self, claim: &PersistentVolumeClaim) -> bool {
        let uid = claim.metadata.uid.as_deref().unwrap_or_default();
        self.volumes.get(&Key::new("", name_of(uid))).is_some()
    }

    /// Stores the volume of a claim, whose directory is there.
    async fn store(
        &self,
        claim: &PersistentVolumeClaim,
        volume: &PersistentVolume,
        cause: Option<Cause>,
    ) -> Result<Outcome, Error> {
        let (key, name) = (Key::of(claim), volume.metadata.name.clone().unwrap_or_default());
        let api = self.config.client.caused_by(cause.clone()).cluster::<PersistentVolume>();
        match api.create(&PostParams::default(), volume).await {
            Ok(_) => {
                let made = self.unstored().remove(&key);
                let message = format!("Successfully provisioned volume {name}");
                self.recorder.normal(&reference(claim), "ProvisioningSucceeded", message, cause.clone());
                let node = made.map(|made| made.node).unwrap_or_default();
                let record = Record::new(Event::Provision { volume: name, node });
                let record = record.object("persistentvolumeclaims", &key.namespace, &key.name);
                self.config.tap.emit(record.cause(cause));
                Ok(Outcome::Done)
            }
            // An earlier try made it, perhaps on another node.
            Err(error) if is_code(&error, 409) => match self.discard(&key, None).await? {
                true => Ok(Outcome::Done),
                false => Ok(Outcome::After(Duration::ZERO)),
            },
            Err(error) => {
                let message = format!("failed to provision volume: cannot store {name}: {error}");
                self.recorder.warning(&reference(claim), "ProvisioningFailed", message, cause);
                Err(error.into())
            }
        }
    }

    /// Removes the directory that was made for a claim and has no volume, once the claim is gone or
    /// its volume is to be elsewhere. `false`: something is left.
    async fn discard(&self, key: &Key, claim: Option<&PersistentVolumeClaim>) -> Result<bool, Error> {
        let Some(made) = self.unstored().get(key).cloned() else { return Ok(true) };
        if claim.is_some_and(|claim| made.is_for(claim)) {
            return Ok(true);
        }
        let name = name_of(made.claim.as_deref().unwrap_or_default());
        // The API server may have stored it and not said so. An administrator may have given it to
        // another claim since.
        let stored = optional(self.config.client.cluster::<PersistentVolume>().get(&name).await)?;
        let is_its_own = stored.is_some_and(|volume| place_of(&volume) == Some(made.place()));
        if let Some(root) = self.config.nodes.get(&made.node).cloned().filter(|_| !is_its_own)
            && !on_disk(move || disk::remove(&root, &made.path, &name)).await?
        {
            return Ok(false);
        }
        self.unstored().remove(key);
        Ok(true)
    }

    fn unstored(&self) -> MutexGuard<'_, HashMap<Key, Unstored>> {
        self.unstored.lock()
    }

    /// Takes the selected node off a claim, because no volume can be made there. The scheduler then
    /// ends the pod's binding and chooses a node again. Source: `ProvisioningReschedule` in
    /// sig-storage-lib-external-provisioner.
    async fn reschedule(
        &self,
        claim: &PersistentVolumeClaim,
        why: &str,
        cause: Option<Cause>,
    ) -> Result<Outcome, Error> {
        let message = format!("failed to provision volume: {why}; the scheduler chooses a node again");
        self.recorder.warning(&reference(claim), "ProvisioningFailed", message, cause.clone());
        let key = Key::of(claim);
        let mut claim = claim.clone();
        if let Some(annotations) = &mut claim.metadata.annotations {
            annotations.remove(SELECTED_NODE);
        }
        let api = self.config.client.caused_by(cause).within::<PersistentVolumeClaim>(&key.namespace);
        match api.replace(&key.name, &PostParams::default(), &claim).await {
            // It is gone, or has changed: that brings the key back.
            Err(error) if !is_code(&error, 404) && !is_code(&error, 409) => Err(error.into()),
            _ => Ok(Outcome::Done),
        }
    }
}

#[cfg(test)]
mod tests;
