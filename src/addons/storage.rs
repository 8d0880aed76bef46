//! The storage provisioner: a directory on the node for every claim of its class, and away with it when the claim goes.

use crate::client::{Client, Informer, Key, Outcome, Recorder, WorkQueue, is_code, reference};
use crate::tap::{Cause, Record, Tap};
use crate::task::Crew;
use k8s_openapi::api::core::v1::{
    NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume, PersistentVolumeClaim,
    PersistentVolumeSpec, VolumeNodeAffinity,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

/// The provisioner's name in storage classes.
pub const PROVISIONER: &str = "ropewalk.io/local-path";
/// Where volumes live in a node's file system.
const ROOT: &str = "/var/local-path-provisioner";
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const ASKED: &str = "volume.kubernetes.io/storage-provisioner";
const MADE_BY: &str = "pv.kubernetes.io/provisioned-by";

/// From a node's name and a path in its file system to the directory on this machine.
pub type NodePath = Arc<dyn Fn(&str, &str) -> PathBuf + Send + Sync>;

pub struct Config {
    pub client: Client,
    pub tap: Tap,
    pub node_path: NodePath,
}

/// Pure: the volume for a claim, on a node.
pub fn volume_for(claim: &PersistentVolumeClaim, class: &StorageClass, node: &str) -> PersistentVolume {
    let uid = claim.metadata.uid.clone().unwrap_or_default();
    let key = Key::of(claim);
    let name = format!("pvc-{uid}");
    let spec = claim.spec.clone().unwrap_or_default();
    let source = k8s_openapi::api::core::v1::HostPathVolumeSource {
        path: format!("{ROOT}/{name}_{}_{}", key.namespace, key.name),
        type_: Some("DirectoryOrCreate".into()),
    };
    let on_node = NodeSelectorRequirement {
        key: "kubernetes.io/hostname".into(),
        operator: "In".into(),
        values: Some(vec![node.into()]),
    };
    PersistentVolume {
        metadata: ObjectMeta {
            name: Some(name),
            annotations: Some([(MADE_BY.to_string(), PROVISIONER.to_string())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            access_modes: spec.access_modes,
            capacity: spec.resources.and_then(|r| r.requests),
            claim_ref: Some(reference(claim)),
            host_path: Some(source),
            node_affinity: Some(VolumeNodeAffinity {
                required: Some(NodeSelector {
                    node_selector_terms: vec![NodeSelectorTerm {
                        match_expressions: Some(vec![on_node]),
                        ..NodeSelectorTerm::default()
                    }],
                }),
            }),
            persistent_volume_reclaim_policy: class.reclaim_policy.clone().or(Some("Delete".into())),
            storage_class_name: class.metadata.name.clone(),
            volume_mode: spec.volume_mode,
            ..PersistentVolumeSpec::default()
        }),
        status: None,
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
        futures::join!(claims.synced(), volumes.synced(), classes.synced());
        tracing::info!(provisioner = PROVISIONER, "started");
        let wanted: WorkQueue<Key> = WorkQueue::new(&own);
        let q = wanted.clone();
        claims.on(move |change| q.add(change.key(), change.cause()));
        let (q, all) = (wanted.clone(), claims.clone());
        // The claim may have been heard of before its class.
        classes
            .on(move |change| all.list().iter().for_each(|claim| q.add(Key::of(&**claim), change.cause())));
        let released: WorkQueue<Key> = WorkQueue::new(&own);
        let q = released.clone();
        volumes.on(move |change| q.add(change.key(), change.cause()));
        let worker = Arc::new(Worker { config, claims, volumes, classes, recorder });
        let w = worker.clone();
        wanted.work("provision", 2, move |key, cause| {
            let worker = w.clone();
            async move { worker.provision(key, cause).await }
        });
        released.work("reclaim", 2, move |key, cause| {
            let worker = worker.clone();
            async move { worker.reclaim(key, cause).await }
        });
        own.token().cancelled().await;
        Ok::<(), String>(())
    });
}

struct Worker {
    config: Config,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
    classes: Informer<StorageClass>,
    recorder: Recorder,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("cannot use {}", path.display())]
    Directory {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
}

impl Worker {
    async fn provision(&self, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
        let Some(claim) = self.claims.get(&key) else { return Ok(Outcome::Done) };
        let annotation = |name: &str| claim.metadata.annotations.as_ref().and_then(|a| a.get(name)).cloned();
        let bound = claim.spec.as_ref().and_then(|s| s.volume_name.as_deref()).is_some_and(|n| !n.is_empty());
        let asked = annotation(ASKED).as_deref() == Some(PROVISIONER);
        let Some(node) = annotation(SELECTED_NODE).filter(|_| asked && !bound) else {
            return Ok(Outcome::Done);
        };
        let class = claim.spec.as_ref().and_then(|s| s.storage_class_name.clone()).unwrap_or_default();
        let Some(class) = self.classes.get(&Key::new("", class)) else { return Ok(Outcome::Done) };
        let volume = volume_for(&claim, &class, &node);
        let path = volume
            .spec
            .as_ref()
            .and_then(|s| s.host_path.as_ref())
            .map(|h| h.path.clone())
            .unwrap_or_default();
        let path = (self.config.node_path)(&node, &path);
        // Open to whatever user the pod runs as, as every local-path provisioner makes them.
        std::fs::create_dir_all(&path)
            .and_then(|()| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)))
            .map_err(|cause| Error::Directory { path, cause })?;
        let api = self.config.client.caused_by(cause.clone()).cluster::<PersistentVolume>();
        match api.create(&PostParams::default(), &volume).await {
            Ok(_) => {
                let name = volume.metadata.name.unwrap_or_default();
                let message = format!("Successfully provisioned volume {name}");
                self.recorder.normal(&reference(&*claim), "ProvisioningSucceeded", message, cause.clone());
                let record =
                    Record::new("provision").object("persistentvolumeclaims", &key.namespace, &key.name);
                self.config
                    .tap
                    .emit(record.cause(cause).detail(serde_json::json!({"volume": name, "node": node})));
            }
            Err(error) if is_code(&error, 409) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Outcome::Done)
    }

    async fn reclaim(&self, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
        let Some(volume) = self.volumes.get(&key) else { return Ok(Outcome::Done) };
        let spec = volume.spec.clone().unwrap_or_default();
        let phase = volume.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default();
        let made_here = volume.metadata.annotations.as_ref().and_then(|a| a.get(MADE_BY)).map(String::as_str)
            == Some(PROVISIONER);
        if !made_here
            || phase != "Released"
            || spec.persistent_volume_reclaim_policy.as_deref() != Some("Delete")
        {
            return Ok(Outcome::Done);
        }
        let terms =
            spec.node_affinity.and_then(|a| a.required).map(|r| r.node_selector_terms).unwrap_or_default();
        let nodes =
            terms.iter().flat_map(|t| t.match_expressions.iter().flatten()).filter_map(|e| e.values.clone());
        let path = spec.host_path.map(|h| h.path).unwrap_or_default();
        for node in nodes.flatten() {
            let path = (self.config.node_path)(&node, &path);
            match std::fs::remove_dir_all(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(cause) => return Err(Error::Directory { path, cause }),
            }
        }
        let api = self.config.client.caused_by(cause).cluster::<PersistentVolume>();
        match api.delete(&key.name, &DeleteParams::default()).await {
            Err(error) if !is_code(&error, 404) => Err(error.into()),
            _ => Ok(Outcome::Done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_reserved_for_its_claim_and_tied_to_its_node() {
        let claim: PersistentVolumeClaim = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "data", "namespace": "d", "uid": "u"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }))
        .unwrap();
        let volume = volume_for(&claim, &StorageClass::default(), "n1").spec.unwrap();
        assert_eq!(volume.claim_ref.unwrap().uid.as_deref(), Some("u"));
        assert_eq!(volume.host_path.unwrap().path, "/var/local-path-provisioner/pvc-u_d_data");
        assert_eq!(volume.capacity.unwrap()["storage"].0, "1Gi");
        assert_eq!(volume.persistent_volume_reclaim_policy.as_deref(), Some("Delete"));
    }
}
