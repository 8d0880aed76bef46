//! The provisioner: what is made and removed, with an API server that says what the test wants.

use super::disk::open_node;
use super::names::HOSTNAME;
use super::volume::{NAME_MAX, made_for, path_of};
use super::*;
use client::testing::{self, Scripted, refusal};
use k8s_openapi::api::core::v1::{PersistentVolumeClaimSpec, PersistentVolumeSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

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

pub(super) fn provisioned() -> PersistentVolume {
    provisioned_on("n1")
}

pub(super) fn provisioned_on(node: &str) -> PersistentVolume {
    let claim: PersistentVolumeClaim = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "data", "namespace": "d", "uid": "u"},
        "spec": {"accessModes": ["ReadWriteOnce"]},
    }))
    .unwrap();
    volume_for(&claim, &StorageClass::default(), node)
}

fn config(client: Client, nodes: BTreeMap<String, PathBuf>) -> Config {
    Config { client, tap: Tap::new(), nodes, gone: BTreeMap::new(), starts_pods: Box::new(|_| true) }
}

/// A worker of a cluster with the nodes n1 and n2, whose file systems are `DIR/n1/host` and
/// `DIR/n2/host`.
pub(super) fn worker(
    crew: &Crew,
    client: Client,
    dir: &Path,
    claim: Option<PersistentVolumeClaim>,
    volume: Option<PersistentVolume>,
) -> Worker {
    let nodes = ["n1", "n2"].map(|node| (node.to_string(), dir.join(node).join("host"))).into();
    let class = read(json!({
        "metadata": {"name": "local"}, "provisioner": PROVISIONER, "volumeBindingMode": "WaitForFirstConsumer",
    }));
    Worker {
        claims: Informer::fixed(claim),
        volumes: Informer::fixed(volume),
        classes: Informer::fixed([class]),
        recorder: Recorder::new(crew, &client, PROVISIONER, ""),
        unstored: parking_lot::Mutex::default(),
        config: config(client, nodes),
    }
}

pub(super) fn read<T: serde::de::DeserializeOwned>(object: serde_json::Value) -> T {
    serde_json::from_value(object).unwrap()
}

/// A claim that this provisioner is asked to make a volume for, on this node.
fn asking(node: &str) -> PersistentVolumeClaim {
    read(json!({
        "metadata": {"name": "data", "namespace": "d", "uid": "u", "annotations": {ASKED: PROVISIONER, SELECTED_NODE: node}},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "local"},
    }))
}

pub(super) const DIRECTORY: &str = "host/var/local-path-provisioner/pvc-u_d_data";
const CREATE: &str = "POST /api/v1/persistentvolumes";
const GET: &str = "GET /api/v1/persistentvolumes/pvc-u";
const UPDATE: &str = "PUT /api/v1/namespaces/d/persistentvolumeclaims/data";

fn claim_key() -> Key {
    Key::new("d", "data")
}

#[tokio::test]
async fn a_claim_gets_a_directory_and_a_volume_on_its_node() {
    let (dir, crew) = (tempfile::tempdir().unwrap(), Crew::new("t"));
    let api = Scripted::new(|_| None).await;
    let worker = worker(&crew, api.client.clone(), dir.path(), Some(asking("n2")), None);
    assert_eq!(worker.provision(claim_key(), None).await.unwrap(), Outcome::Done);
    let directory = dir.path().join("n2").join(DIRECTORY);
    let modes = directory.ancestors().take(3).map(|at| at.metadata().unwrap().permissions().mode() & 0o7777);
    assert_eq!(
        modes.collect::<Vec<_>>(),
        [0o777, 0o755, 0o755],
        "a pod exchanges no other claim's directory"
    );
    assert!(!dir.path().join("n1").exists());
    let asked = api.take();
    assert_eq!(asked.iter().map(|a| a.line.as_str()).collect::<Vec<_>>(), [CREATE]);
    let volume: PersistentVolume = read(asked[0].body.clone());
    let path = "/var/local-path-provisioner/pvc-u_d_data".to_string();
    assert_eq!(made_for(&volume), Ok(("n2".into(), path)), "it is known again when it is released");
    assert!(api.event("Provisioning").await.ends_with("volume for claim \"d/data\""));
    assert!(api.event("ProvisioningSucceeded").await.ends_with("pvc-u"));
    crew.kill();
}

/// Each is refused before anything is made.
#[tokio::test]
async fn a_claim_without_a_class_or_a_node_gets_nothing_and_is_told() {
    let changed = |change: &dyn Fn(&mut PersistentVolumeClaimSpec)| {
        let mut claim = asking("n1");
        change(claim.spec.as_mut().unwrap());
        claim
    };
    let classless = changed(&|spec| spec.storage_class_name = Some("unknown".into()));
    let block = changed(&|spec| spec.volume_mode = Some("Block".into()));
    let warned = api::unhonoured::warnings(
        api::kinds::find("", "v1", "PersistentVolumeClaim").unwrap(),
        &serde_json::to_value(&block).unwrap(),
        None,
    );
    assert!(warned[0].ends_with("the claim is not provisioned"), "{warned:?}");
    let mode =
        |mode: &str| changed(&|spec| spec.access_modes = Some(vec!["ReadWriteOnce".into(), mode.into()]));
    let selecting = changed(&|spec| spec.selector = read(json!({"matchLabels": {"a": "b"}})));
    let selecting_all = changed(&|spec| spec.selector = read(json!({})));
    let no_node = "there is no node";
    let rescheduled: &[&str] = &[UPDATE];
    for (claim, why, asked) in [
        (classless, "there is no such StorageClass", &[] as &[&str]),
        (block, "does not support block volume provisioning", &[]),
        (mode("ReadWriteMany"), "not ReadWriteMany", &[]),
        (mode("ReadOnlyMany"), "not ReadOnlyMany", &[]),
        (selecting, "selector is not supported", &[]),
        (selecting_all, "selector is not supported", &[]),
        (asking("n3"), no_node, rescheduled),
        (asking("../x"), no_node, rescheduled),
    ] {
        let (dir, crew) = (tempfile::tempdir().unwrap(), Crew::new("t"));
        let api = Scripted::new(|_| None).await;
        let worker = worker(&crew, api.client.clone(), dir.path(), Some(claim), None);
        assert_eq!(worker.provision(claim_key(), None).await.unwrap(), Outcome::Done);
        let told = api.event("ProvisioningFailed").await;
        assert!(told.contains(why), "{told}");
        assert_eq!(api.lines(), asked, "{why}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "{why}");
        crew.kill();
    }
}

#[tokio::test]
async fn a_claim_that_does_not_ask_or_waits_or_is_bound_gets_nothing_in_silence() {
    let changed = |change: &dyn Fn(&mut PersistentVolumeClaim)| {
        let mut claim = asking("n1");
        change(&mut claim);
        claim
    };
    let annotate = |name: &'static str, value: &'static str| {
        changed(&|claim| {
            claim.metadata.annotations.as_mut().unwrap().insert(name.into(), value.into());
        })
    };
    let bound = changed(&|claim| claim.spec.as_mut().unwrap().volume_name = Some("v".into()));
    let claims = [annotate(ASKED, "example.com/disk"), annotate(SELECTED_NODE, ""), bound];
    for claim in claims.map(Some).into_iter().chain([None]) {
        let (dir, crew) = (tempfile::tempdir().unwrap(), Crew::new("t"));
        let api = Scripted::new(|_| None).await;
        let worker = worker(&crew, api.client.clone(), dir.path(), claim, None);
        assert_eq!(worker.provision(claim_key(), None).await.unwrap(), Outcome::Done);
        assert!(api.take().is_empty());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        crew.kill();
    }
}

/// This process ended after the directory was made. What a pod may have written there since is not
/// touched.
#[tokio::test]
async fn a_volume_whose_directory_is_there_already_is_made_with_it() {
    let (dir, crew) = (tempfile::tempdir().unwrap(), Crew::new("t"));
    let silent = Client::connect(testing::silent().await).unwrap();
    let directory = dir.path().join("n1").join(DIRECTORY);
    let first = worker(&crew, silent, dir.path(), Some(asking("n1")), None);
    {
        let ended = first.provision(claim_key(), None);
        tokio::pin!(ended);
        let is_open = || directory.metadata().is_ok_and(|made| made.permissions().mode() & 0o777 == 0o777);
        while !is_open() {
            assert!(futures::poll!(&mut ended).is_pending(), "the API server does not answer");
            tokio::task::yield_now().await;
        }
    }
    std::fs::write(directory.join("kept"), "x").unwrap();
    let api = Scripted::new(|_| None).await;
    let second = worker(&crew, api.client.clone(), dir.path(), Some(asking("n1")), None);
    assert_eq!(second.provision(claim_key(), None).await.unwrap(), Outcome::Done);
    assert_eq!(api.lines(), [CREATE]);
    assert!(directory.join("kept").exists());
    crew.kill();
}

/// This process ended between mkdir(2) and chmod(2).
#[tokio::test]
async fn a_directory_that_was_not_opened_to_all_users_is_opened_while_it_is_empty() {
    for (is_used, mode) in [(false, 0o777), (true, 0o700)] {
        let (dir, crew) = (tempfile::tempdir().unwrap(), Crew::new("t"));
        let directory = dir.path().join("n1").join(DIRECTORY);
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700)).unwrap();
        if is_used {
            std::fs::write(directory.join("kept"), "x").unwrap();
        }
        let api = Scripted::new(|_| None).await;
        let worker = worker(&crew, api.client.clone(), dir.path(), Some(asking("n1")), None);
        assert_eq!(worker.provision(claim_key(), None).await.unwrap(), Outcome::Done);
        assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o777, mode);
        crew.kill();
    }
}

/// This process ended, or lost the answer, after the volume was made: the claim's informer may not
/// show it yet.
#[tokio::test]
async fn a_volume_that_is_there_already_is_no_failure_and_no_news() {
    let (dir, crew) = (tempfile::tempdir().unwrap(), Crew::new("t"));
    let api = Scripted::new(|asked| match asked.line.as_str() {
        CREATE => refusal(409, "AlreadyExists"),
        GET => Some((200, serde_json::to_value(provisioned()).unwrap())),
        _ => None,
    })
    .await;
    let worker = worker(&crew, api.client.clone(), dir.path(), Some(asking("n1")), None);
    assert_eq!(worker.provision(claim_key(), None).await.unwrap(), Outcome::Done);
    assert_eq!(api.lines(), [CREATE, GET]);
    assert!(worker.unstored().is_empty());
    worker.recorder.normal(&reference(&asking("n1")), "Last", "", None);
    api.event("Last").await; // Events are written in order
    let told: Vec<_> = api.events().into_iter().map(|event| event.body["reason"].clone()).collect();
    assert_eq!(told, ["Provisioning", "Last"]);
    crew.kill();
}

/// The volume controller is down, and a user labels the claim. If the volume goes, the claim's key
/// comes back.
#[tokio::test]
async fn a_claim_whose_volume_waits_for_it_is_left_alone() {
    let (dir, crew) = (tempfile::tempdir().unwrap(), Crew::new("t"));
    let api = Scripted::new(|_| None).await;
    let (claim, volume) = (asking("n1"), provisioned());
    assert_eq!(claim_of(&volume), Some(claim_key()));
    let worker = worker(&crew, api.client.clone(), dir.path(), Some(claim), Some(volume));
    assert_eq!(worker.provision(claim_key(), None).await.unwrap(), Outcome::Done);
    worker.recorder.normal(&reference(&asking("n1")), "Last", "", None);
    api.event("Last").await; // Events are written in order
    assert_eq!((api.lines().len(), api.events().len()), (0, 1), "it is not provisioned again");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    crew.kill();
}

#[tokio::test]
async fn a_volume_that_cannot_be_stored_is_told_and_tried_again() {
    for (code, reason) in [(503, "ServiceUnavailable"), (422, "Invalid")] {
        let (dir, crew) = (tempfile::tempdir().unwrap(), Crew::new("t"));
        let api = Scripted::new(move |asked| refusal(code, reason).filter(|_| asked.line == CREATE)).await;
        let worker = worker(&crew, api.client.clone(), dir.path(), Some(asking("n1")), None);
        assert!(worker.provision(claim_key(), None).await.is_err(), "the queue brings it back");
        assert!(worker.provision(claim_key(), None).await.is_err());
        assert_eq!(api.lines(), [CREATE, CREATE]);
        let told = api.event("ProvisioningFailed").await;
        assert!(told.contains(reason), "{told}");
        crew.kill();
    }
}

/// The API server does not store its volume. Then the claim goes, or is to have it on another node.
#[tokio::test]
async fn a_directory_without_a_volume_goes_when_its_claim_has_no_use_for_it() {
    let mut bound = asking("n1");
    bound.spec.as_mut().unwrap().volume_name = Some("another".into());
    let mut anew = asking("n1");
    anew.metadata.uid = Some("v".into());
    for (claim, lines) in [
        (None, &[GET][..]),
        (Some(bound), &[GET]),
        (Some(asking("n2")), &[GET, CREATE]),
        (Some(anew), &[GET, CREATE]),
    ] {
        let (dir, crew) = (tempfile::tempdir().unwrap(), Crew::new("t"));
        let api = Scripted::new(|asked| match asked.line.as_str() {
            CREATE => refusal(503, "ServiceUnavailable"),
            GET => refusal(404, "NotFound"),
            _ => None,
        })
        .await;
        let mut worker = worker(&crew, api.client.clone(), dir.path(), Some(asking("n1")), None);
        assert!(worker.provision(claim_key(), None).await.is_err());
        let made = dir.path().join("n1").join(DIRECTORY);
        assert!(made.exists() && api.lines() == [CREATE]);
        worker.claims = Informer::fixed(claim.clone());
        let _ = worker.provision(claim_key(), None).await; // what is made anew is not stored either
        assert_eq!((made.exists(), api.lines()), (false, lines.iter().map(ToString::to_string).collect()));
        assert_eq!(worker.unstored().is_empty(), lines == [GET], "{claim:?}");
        crew.kill();
    }
}

/// An administrator gave the volume to another claim before this one was bound to it.
#[tokio::test]
async fn a_volume_that_was_given_to_another_claim_keeps_its_directory() {
    let (dir, crew) = (tempfile::tempdir().unwrap(), Crew::new("t"));
    let mut given = provisioned();
    given.spec.as_mut().unwrap().claim_ref = read(json!({"namespace": "d", "name": "other"}));
    let api = Scripted::new(move |asked| match asked.line.as_str() {
        CREATE => refusal(409, "AlreadyExists"),
        GET => Some((200, serde_json::to_value(&given).unwrap())),
        _ => None,
    })
    .await;
    let worker = worker(&crew, api.client.clone(), dir.path(), Some(asking("n1")), None);
    assert_eq!(worker.provision(claim_key(), None).await.unwrap(), Outcome::Done);
    assert_eq!(api.lines(), [CREATE, GET]);
    assert!(dir.path().join("n1").join(DIRECTORY).exists() && worker.unstored().is_empty());
    crew.kill();
}

/// The answer to the first try was lost: the volume is on the node that was selected then.
#[tokio::test]
async fn a_volume_that_is_on_another_node_already_needs_no_directory_here() {
    let (dir, crew) = (tempfile::tempdir().unwrap(), Crew::new("t"));
    let api = Scripted::new(|asked| match asked.line.as_str() {
        CREATE => refusal(409, "AlreadyExists"),
        GET => Some((200, serde_json::to_value(provisioned_on("n1")).unwrap())),
        _ => None,
    })
    .await;
    let worker = worker(&crew, api.client.clone(), dir.path(), Some(asking("n2")), None);
    assert_eq!(worker.provision(claim_key(), None).await.unwrap(), Outcome::Done);
    assert!(!dir.path().join("n2").join(DIRECTORY).exists() && worker.unstored().is_empty());
    crew.kill();
}

/// The scheduler chooses a node for the pod anew: another node may have room on its disk.
#[tokio::test]
async fn a_claim_whose_node_cannot_have_its_volume_is_rescheduled() {
    let (dir, crew) = (tempfile::tempdir().unwrap(), Crew::new("t"));
    std::fs::write(dir.path().join("n2"), "no directory").unwrap();
    for node in ["n2", "gone", "n1"] {
        let api = Scripted::new(|_| None).await;
        let mut claim = asking(node);
        claim.metadata.resource_version = Some("7".into());
        let mut worker = worker(&crew, api.client.clone(), dir.path(), Some(claim), None);
        worker.config.starts_pods = Box::new(|node: &str| node != "n1");
        assert_eq!(worker.provision(claim_key(), None).await.unwrap(), Outcome::Done, "{node}");
        let asked = api.take();
        assert_eq!(asked.iter().map(|a| a.line.as_str()).collect::<Vec<_>>(), [UPDATE], "{node}");
        let metadata = &asked[0].body["metadata"];
        assert_eq!(metadata["annotations"], json!({ASKED: PROVISIONER}), "{node}");
        assert_eq!(metadata["resourceVersion"], "7", "a claim that has changed since is left alone");
        let told = api.event("ProvisioningFailed").await;
        assert!(told.contains("the scheduler chooses a node again"), "{told}");
    }
    assert!(!dir.path().join("n1").exists(), "it is off");
    crew.kill();
}

/// The change that was faster brings the claim back.
#[tokio::test]
async fn a_claim_that_changes_while_it_is_rescheduled_is_left_alone() {
    for (code, done) in [(404, true), (409, true), (503, false)] {
        let (dir, crew) = (tempfile::tempdir().unwrap(), Crew::new("t"));
        let api = Scripted::new(move |_| refusal(code, "no")).await;
        let worker = worker(&crew, api.client.clone(), dir.path(), Some(asking("gone")), None);
        assert_eq!(worker.provision(claim_key(), None).await.is_ok(), done, "{code}");
        crew.kill();
    }
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
    let root = "/var/local-path-provisioner";
    let beside = ["", "/", "/pvc-u", "/pvc-u_", "/pvc-u_d/data", "/pvc-u2_d_data", "/../pvc-u_d_data"];
    let beside = beside.map(|path| format!("{root}{path}"));
    let elsewhere = ["/../../../../../tmp/rw-victim", "", "/", "/etc", "pvc-u_d_data"];
    for path in elsewhere.into_iter().chain(beside.iter().map(String::as_str)) {
        let set = |s: &mut PersistentVolumeSpec| s.host_path.as_mut().unwrap().path = path.into();
        assert!(changed(&set).is_err(), "{path}");
    }
    // A copy of a dynamic volume whose source is local has no hostPath.
    assert!(changed(&|s| s.host_path = None).is_err());
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
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi", "cpu": "1"}}},
    }))
    .unwrap();
    let volume = volume_for(&claim, &StorageClass::default(), "n1").spec.unwrap();
    assert_eq!(volume.claim_ref.unwrap().uid.as_deref(), Some("u"));
    let terms = volume.node_affinity.unwrap().required.unwrap().node_selector_terms;
    let on = &terms[0].match_expressions.as_ref().unwrap()[0];
    assert_eq!((on.key.as_str(), on.values.as_deref()), (HOSTNAME, Some(&["n1".to_string()][..])));
    assert_eq!(volume.host_path.unwrap().path, "/var/local-path-provisioner/pvc-u_d_data");
    let capacity = volume.capacity.unwrap();
    assert_eq!((capacity["storage"].0.as_str(), capacity.len()), ("1Gi", 1), "a volume has a size alone");
    assert_eq!(volume.persistent_volume_reclaim_policy.as_deref(), Some("Delete"));
    let keeping = StorageClass { reclaim_policy: Some("Retain".into()), ..StorageClass::default() };
    let volume = volume_for(&claim, &keeping, "n1");
    assert_eq!(volume.metadata.finalizers, None, "nothing is removed for it");
    assert_eq!(volume.spec.unwrap().persistent_volume_reclaim_policy.as_deref(), Some("Retain"));
}

/// Otherwise the stop of a pod without an API server waits for the kill.
#[tokio::test]
async fn a_stop_before_the_caches_are_synced_is_heard() {
    let api = Scripted::new(|_| refusal(503, "ServiceUnavailable")).await;
    let crew = Crew::new("t");
    start(&crew, config(api.client.clone(), BTreeMap::new()));
    let stopped = tokio::time::timeout(std::time::Duration::from_secs(60), crew.stop()).await;
    assert!(stopped.is_ok(), "it waits for the caches");
}
