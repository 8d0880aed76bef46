//! The storage provisioner: a directory on the node for every claim of its class, and away with it when the claim goes.

use crate::client::{Client, Informer, Key, Outcome, Recorder, WorkQueue, is_code, reference};
use crate::linux::beneath::Root;
use crate::linux::trash::Trash;
use crate::linux::tree::Removal;
use crate::tap::{Cause, Record, Tap};
use crate::task::Crew;
use k8s_openapi::api::core::v1::{
    NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PersistentVolume, PersistentVolumeClaim,
    PersistentVolumeSpec, VolumeNodeAffinity,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The provisioner's name in storage classes.
pub const PROVISIONER: &str = "ropewalk.io/local-path";
/// Where volumes live in a node's file system.
const ROOT: &str = "/var/local-path-provisioner";
/// How long one volume's removal goes on while others wait.
const PART: Duration = Duration::from_secs(5);
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const HOSTNAME: &str = "kubernetes.io/hostname";
const ASKED: &str = "volume.kubernetes.io/storage-provisioner";
const MADE_BY: &str = "pv.kubernetes.io/provisioned-by";

/// From the name of a node to the directory on this machine that is its file system; `None` for a name that no node of the cluster has.
pub type NodeRoot = Arc<dyn Fn(&str) -> Option<PathBuf> + Send + Sync>;

pub struct Config {
    pub client: Client,
    pub tap: Tap,
    pub node_root: NodeRoot,
}

/// Bytes of a name in a file system (`NAME_MAX`).
const NAME_MAX: usize = 255;

/// The path of a claim's volume in its node's file system. `None` for names that are no names: each is a part of one name of a directory.
/// A claim's name may have 253 bytes, so that all three together are too long for a directory: the claim's name is then shortened. The
/// uid alone tells the directories apart.
fn path_of(uid: &str, namespace: &str, name: &str) -> Option<String> {
    let plain = |part: &str| !part.is_empty() && !part.contains(['/', '\0']);
    if ![uid, namespace, name].into_iter().all(plain) {
        return None;
    }
    let before = format!("pvc-{uid}_{namespace}_");
    let room = NAME_MAX.checked_sub(before.len())?;
    Some(format!("{ROOT}/{before}{}", &name[..name.floor_char_boundary(room)]))
}

/// What has to be removed for a volume that this provisioner made: its node, and its path in the node's file system. Pure.
///
/// # Errors
/// Anybody who may write a PersistentVolume may write this provisioner's name into it. A volume that [`volume_for`] would not have made for the
/// claim that it names is refused, and nothing is removed.
fn made_for(volume: &PersistentVolume) -> Result<(String, String), String> {
    let name = volume.metadata.name.clone().unwrap_or_default();
    let spec = volume.spec.clone().unwrap_or_default();
    let claim = spec.claim_ref.unwrap_or_default();
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    let expected = path_of(&part(&claim.uid), &part(&claim.namespace), &part(&claim.name));
    let path = spec.host_path.map(|h| h.path).filter(|path| Some(path) == expected.as_ref());
    let Some(path) = path.filter(|_| name == format!("pvc-{}", part(&claim.uid))) else {
        return Err(format!("{name}: its name or path is not one that {PROVISIONER} makes for its claim"));
    };
    let terms = spec.node_affinity.and_then(|a| a.required).map(|r| r.node_selector_terms);
    let on: Vec<NodeSelectorRequirement> =
        terms.into_iter().flatten().flat_map(|term| term.match_expressions.unwrap_or_default()).collect();
    match on.as_slice() {
        [on] if on.key == HOSTNAME && on.operator == "In" => match on.values.as_deref() {
            Some([node]) => Ok((node.clone(), path)),
            _ => Err(format!("{name}: its node affinity does not name one node")),
        },
        _ => Err(format!("{name}: its node affinity does not name one node")),
    }
}

/// Pure: the volume for a claim, on a node.
pub fn volume_for(claim: &PersistentVolumeClaim, class: &StorageClass, node: &str) -> PersistentVolume {
    let uid = claim.metadata.uid.clone().unwrap_or_default();
    let key = Key::of(claim);
    let name = format!("pvc-{uid}");
    let spec = claim.spec.clone().unwrap_or_default();
    let source = k8s_openapi::api::core::v1::HostPathVolumeSource {
        path: path_of(&uid, &key.namespace, &key.name).unwrap_or_default(),
        type_: Some("DirectoryOrCreate".into()),
    };
    let on_node = NodeSelectorRequirement {
        key: HOSTNAME.into(),
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

/// The class and the node of a claim that this provisioner was asked to make a volume for; `None`: the scheduler has not said
/// yet on which node, or the class is another provisioner's. The annotation that asks may be stale, and whoever may write the claim
/// may write it, so the class decides (as `provisionClaimOperation` of sig-storage-lib-external-provisioner). Pure.
///
/// # Errors
/// No volume can be made: there is no such class, or it does not wait for the scheduler. A directory is on one node, so without a
/// node there is no place for it (as upstream's local-path-provisioner).
fn ready_for<'c>(
    name: &str,
    class: Option<&'c StorageClass>,
    node: Option<String>,
) -> Result<Option<(&'c StorageClass, String)>, String> {
    let failed = |why: &str| Err(format!("failed to provision volume with StorageClass {name:?}: {why}"));
    match (class, node.filter(|node| !node.is_empty())) {
        (None, _) => failed("there is no such StorageClass"),
        (Some(class), _) if class.provisioner != PROVISIONER => Ok(None),
        (Some(class), Some(node)) => Ok(Some((class, node))),
        (Some(class), None) => match class.volume_binding_mode.as_deref() {
            Some("WaitForFirstConsumer") => Ok(None),
            _ => failed(
                "no node was specified; a volume of this provisioner is on one node, so its class has to have \
                 volumeBindingMode: WaitForFirstConsumer",
            ),
        },
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
    #[error(transparent)]
    Directory(#[from] crate::linux::Error),
}

/// Opens the file system of a node, which is made at its first use.
fn open_node(root: &Path) -> Result<Root, crate::linux::Error> {
    std::fs::create_dir_all(root)
        .map_err(|cause| crate::linux::Error::new(format!("cannot make {}", root.display()), cause))?;
    Root::open(root)
}

/// Removes the directory of a volume, until [`PART`] is over at most; `false`: something is left. Other pods may see it, those with a `hostPath` above it or
/// the last one that had the claim, so it is first moved to where no pod sees it: beside the node's file system.
fn remove(root: &Path, path: &str, volume: &str) -> Result<bool, crate::linux::Error> {
    let (node, trash) = (open_node(root)?, Trash::open(&root.with_file_name("released"))?);
    let (path, until) = (Path::new(path.trim_start_matches('/')), Instant::now() + PART);
    trash.remove(&node, path, volume, &mut Removal::default(), until)
}

impl Worker {
    async fn provision(&self, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
        let Some(claim) = self.claims.get(&key) else { return Ok(Outcome::Done) };
        let annotation = |name: &str| claim.metadata.annotations.as_ref().and_then(|a| a.get(name)).cloned();
        let bound = claim.spec.as_ref().and_then(|s| s.volume_name.as_deref()).is_some_and(|n| !n.is_empty());
        let asked = annotation(ASKED).as_deref() == Some(PROVISIONER);
        if bound || !asked {
            return Ok(Outcome::Done);
        }
        let class = claim.spec.as_ref().and_then(|s| s.storage_class_name.clone()).unwrap_or_default();
        let found = self.classes.get(&Key::new("", class.clone()));
        let (class, node) = match ready_for(&class, found.as_deref(), annotation(SELECTED_NODE)) {
            Ok(Some(ready)) => ready,
            Ok(None) => return Ok(Outcome::Done), // the scheduler's annotation or another class brings the key back
            Err(why) => {
                self.recorder.warning(&reference(&*claim), "ProvisioningFailed", why, cause);
                return Ok(Outcome::Done); // only a change of the claim or its class helps
            }
        };
        let volume = volume_for(&claim, class, &node);
        let path = volume.spec.as_ref().and_then(|s| s.host_path.as_ref()).map(|h| h.path.clone());
        // The annotation is the scheduler's, but whoever may write the claim may write it, too.
        let (Some(root), Some(path)) = ((self.config.node_root)(&node), path.filter(|path| !path.is_empty()))
        else {
            let message = format!("failed to provision volume: there is no node {node:?} in this cluster");
            self.recorder.warning(&reference(&*claim), "ProvisioningFailed", message, cause);
            return Ok(Outcome::Done);
        };
        // Open to whatever user the pod runs as, as every local-path provisioner makes them.
        let made = open_node(&root).and_then(|node| node.make_dirs_in_root(Path::new(&path), 0o777));
        if let Err(error) = made {
            let message = format!("failed to provision volume: {error}; it is tried again");
            self.recorder.warning(&reference(&*claim), "ProvisioningFailed", message, cause);
            return Err(error.into());
        }
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
        let made = made_for(&volume).and_then(|(node, path)| match (self.config.node_root)(&node) {
            Some(root) => Ok((root, path)),
            None => Err(format!("{}: there is no node {node:?} in this cluster", key.name)),
        });
        let (root, path) = match made {
            Ok(made) => made,
            Err(why) => {
                self.recorder.warning(&reference(&*volume), "VolumeFailedDelete", why, cause);
                return Ok(Outcome::Done);
            }
        };
        let name = key.name.clone();
        let removed = tokio::task::spawn_blocking(move || remove(&root, &path, &name)).await;
        let removed = removed
            .map_err(|e| crate::linux::Error::new("cannot remove a volume", std::io::Error::other(e)))??;
        if !removed {
            return Ok(Outcome::After(Duration::ZERO));
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
    fn a_released_volume_goes_with_what_an_earlier_removal_left_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let host = dir.path().join("host");
        std::fs::create_dir_all(host.join("opt/v1/deep")).unwrap();
        std::fs::create_dir_all(host.join("opt/v2")).unwrap();
        std::fs::create_dir_all(dir.path().join("released/v1.1/left")).unwrap();
        std::os::unix::fs::symlink("/", host.join("opt/v1/link")).unwrap();
        assert!(remove(&host, "/opt/v1", "v1").unwrap());
        assert!(remove(&host, "/opt/v1", "v1").unwrap());
        assert!(!host.join("opt/v1").exists() && host.join("opt/v2").is_dir());
        assert_eq!(std::fs::read_dir(dir.path().join("released")).unwrap().count(), 0);
    }

    #[test]
    fn a_claim_that_cannot_get_a_volume_is_told_why() {
        let class = |mode: Option<&str>| StorageClass {
            provisioner: PROVISIONER.into(),
            volume_binding_mode: mode.map(Into::into),
            ..StorageClass::default()
        };
        let told = |class: Option<&StorageClass>, node: Option<&str>| {
            ready_for("c", class, node.map(Into::into)).map(|ready| ready.map(|(_, node)| node))
        };
        let late = class(Some("WaitForFirstConsumer"));
        assert_eq!(told(Some(&late), None), Ok(None), "the scheduler has not decided yet");
        assert_eq!(told(Some(&late), Some("")), Ok(None));
        assert_eq!(told(Some(&late), Some("n1")), Ok(Some("n1".into())));
        for mode in [None, Some("Immediate")] {
            let early = class(mode);
            assert!(told(Some(&early), None).unwrap_err().contains("no node was specified"));
            assert_eq!(told(Some(&early), Some("n1")), Ok(Some("n1".into())));
        }
        assert!(told(None, None).unwrap_err().contains("there is no such StorageClass"));
    }

    #[test]
    fn a_claim_of_another_provisioners_class_gets_nothing_here() {
        for mode in ["WaitForFirstConsumer", "Immediate"] {
            let class = StorageClass {
                provisioner: "example.com/disk".into(),
                volume_binding_mode: Some(mode.into()),
                ..StorageClass::default()
            };
            for node in [None, Some("n1".to_string())] {
                assert_eq!(ready_for("c", Some(&class), node), Ok(None), "{mode}");
            }
        }
    }

    fn provisioned() -> PersistentVolume {
        let claim: PersistentVolumeClaim = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "data", "namespace": "d", "uid": "u"},
            "spec": {"accessModes": ["ReadWriteOnce"]},
        }))
        .unwrap();
        volume_for(&claim, &StorageClass::default(), "n1")
    }

    #[test]
    fn a_claim_of_a_long_name_has_a_directory() {
        let uid = "0b7a4f0e-6f0e-4b0c-8a52-0d6f6a3f9c11";
        let claim = |name: &str| PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(name.into()),
                namespace: Some("n".repeat(63)),
                uid: Some(uid.into()),
                ..ObjectMeta::default()
            },
            ..PersistentVolumeClaim::default()
        };
        let dir = tempfile::tempdir().unwrap();
        for name in ["data".to_string(), "d".repeat(253)] {
            let volume = volume_for(&claim(&name), &StorageClass::default(), "n1");
            let (_, path) = made_for(&volume).expect("it is removed as it was made");
            assert!(path.contains(uid) && Path::new(&path).file_name().unwrap().len() <= NAME_MAX);
            open_node(dir.path()).unwrap().make_dirs_in_root(Path::new(&path), 0o777).unwrap();
        }
        assert_eq!(path_of(&"u".repeat(300), "n", "data"), None);
    }

    #[test]
    fn only_what_was_made_for_a_claim_is_removed() {
        let path = "/var/local-path-provisioner/pvc-u_d_data".to_string();
        assert_eq!(made_for(&provisioned()), Ok(("n1".into(), path)));
        let changed = |change: &dyn Fn(&mut PersistentVolumeSpec)| {
            let mut volume = provisioned();
            change(volume.spec.as_mut().unwrap());
            made_for(&volume)
        };
        for path in ["/../../../../../tmp/rw-victim", "", "/", "/var/local-path-provisioner", "/etc"] {
            let set = |s: &mut PersistentVolumeSpec| s.host_path.as_mut().unwrap().path = path.into();
            assert!(changed(&set).is_err(), "{path}");
        }
        // A copy of a dynamic volume whose source is local has no hostPath.
        assert!(changed(&|s| s.host_path = None).is_err());
        assert!(changed(&|s| s.claim_ref = None).is_err());
        assert!(changed(&|s| s.node_affinity = None).is_err());
        let renamed = |s: &mut PersistentVolumeSpec| {
            let up = "x/../../../../tmp";
            s.claim_ref.as_mut().unwrap().name = Some(up.into());
            s.host_path.as_mut().unwrap().path = format!("/var/local-path-provisioner/pvc-u_d_{up}");
        };
        assert!(changed(&renamed).is_err());
        let mut another = provisioned();
        another.metadata.name = Some("r10".into());
        assert!(made_for(&another).is_err());
        let nodes = |values: &[&str]| {
            let mut volume = provisioned();
            let required = volume.spec.as_mut().unwrap().node_affinity.as_mut().unwrap();
            let term = &mut required.required.as_mut().unwrap().node_selector_terms[0];
            term.match_expressions.as_mut().unwrap()[0].values =
                Some(values.iter().map(ToString::to_string).collect());
            made_for(&volume)
        };
        assert!(nodes(&[]).is_err() && nodes(&["n1", "n2"]).is_err());
        assert_eq!(nodes(&["../../x"]).unwrap().0, "../../x", "the table of nodes knows no such name");
    }

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
