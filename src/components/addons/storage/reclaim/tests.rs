//! What becomes of a volume and its directory when its claim goes.

use crate::storage::disk::{remove, remove_by};
use crate::storage::names::{FINALIZER, MADE_BY};
use crate::storage::reclaim::{NODE_AGAIN, Step, step};
use crate::storage::tests::{DIRECTORY, provisioned, provisioned_on, read, worker};
use crate::storage::*;
use client::testing::{Asked, Scripted, refusal};
use serde_json::json;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

const PATCH: &str = "PATCH /api/v1/persistentvolumes/pvc-u";
const DELETE: &str = "DELETE /api/v1/persistentvolumes/pvc-u";

fn released(policy: &str) -> PersistentVolume {
    let mut volume = provisioned();
    volume.spec.as_mut().unwrap().persistent_volume_reclaim_policy = Some(policy.into());
    volume.status = read(json!({"phase": "Released"}));
    volume
}

fn volume_key() -> Key {
    Key::new("", "pvc-u")
}

/// Makes the directory of [`provisioned`], with a file, beside that of another volume.
fn make_directories(dir: &Path) -> (PathBuf, PathBuf) {
    let own = dir.join("n1").join(DIRECTORY);
    let other = own.with_file_name("pvc-v_d_data");
    for directory in [&own, &other] {
        std::fs::create_dir_all(directory).unwrap();
        std::fs::write(directory.join("file"), "x").unwrap();
    }
    (own, other)
}

#[tokio::test]
async fn a_released_volume_to_delete_goes_with_its_directory() {
    let (dir, crew) = (tempfile::tempdir().unwrap(), Crew::new("t"));
    let (own, other) = make_directories(dir.path());
    let api = Scripted::new(|_| None).await;
    let worker = worker(&crew, api.client.clone(), dir.path(), None, Some(released("Delete")));
    assert_eq!(worker.reclaim(volume_key(), None).await.unwrap(), Outcome::Done);
    assert!(!own.exists() && other.join("file").exists());
    assert_eq!(std::fs::read_dir(dir.path().join("n1/released")).unwrap().count(), 0);
    let asked = api.take();
    assert_eq!(asked.iter().map(|a| a.line.as_str()).collect::<Vec<_>>(), [PATCH, DELETE]);
    assert_eq!(asked[0].body["metadata"]["$deleteFromPrimitiveList/finalizers"], json!([FINALIZER]));
    crew.kill();
}

/// An administrator set its policy to Retain before its claim was deleted, gave it to another
/// claim, and set the policy to Delete again.
#[tokio::test]
async fn a_volume_that_was_given_to_another_claim_goes_with_its_directory() {
    let (dir, crew) = (tempfile::tempdir().unwrap(), Crew::new("t"));
    let (own, other) = make_directories(dir.path());
    let mut volume = released("Delete");
    let claim = json!({"namespace": "e", "name": "other", "uid": "w"});
    volume.spec.as_mut().unwrap().claim_ref = read(claim);
    volume.metadata.finalizers = None;
    let mut bound = volume.clone();
    bound.status = read(json!({"phase": "Bound"}));
    assert_eq!(step(&bound), Step::Protect, "while it is in use");
    let api = Scripted::new(|_| None).await;
    let worker = worker(&crew, api.client.clone(), dir.path(), None, Some(volume));
    assert_eq!(worker.reclaim(volume_key(), None).await.unwrap(), Outcome::Done);
    assert!(!own.exists() && other.join("file").exists());
    assert_eq!(api.lines(), [DELETE]);
    crew.kill();
}

#[tokio::test]
async fn a_volume_to_retain_or_in_use_or_of_another_provisioner_stays() {
    let mut bound = released("Delete");
    bound.status = read(json!({"phase": "Bound"}));
    let mut foreign = released("Delete");
    foreign.metadata.annotations = Some([(MADE_BY.to_string(), "example.com/disk".to_string())].into());
    let mut retained = released("Retain");
    retained.metadata.finalizers = None;
    for volume in [retained, bound, foreign] {
        let (dir, crew) = (tempfile::tempdir().unwrap(), Crew::new("t"));
        let (own, _) = make_directories(dir.path());
        let api = Scripted::new(|_| None).await;
        let worker = worker(&crew, api.client.clone(), dir.path(), None, Some(volume));
        assert_eq!(worker.reclaim(volume_key(), None).await.unwrap(), Outcome::Done);
        assert!(own.join("file").exists());
        assert!(api.take().is_empty());
        crew.kill();
    }
}

/// The plug of its node was pulled. What lies there is out of reach until it runs again.
#[tokio::test]
async fn a_volume_of_a_node_that_is_off_waits_for_it() {
    let (dir, crew) = (tempfile::tempdir().unwrap(), Crew::new("t"));
    let (own, _) = make_directories(dir.path());
    let api = Scripted::new(|_| None).await;
    let mut worker = worker(&crew, api.client.clone(), dir.path(), None, Some(released("Delete")));
    worker.config.starts_pods = Box::new(|node: &str| node != "n1");
    assert_eq!(worker.reclaim(volume_key(), None).await.unwrap(), Outcome::Pause(NODE_AGAIN));
    let told = api.event("VolumeFailedDelete").await;
    assert!(told.ends_with("node \"n1\" is off, or its kubelet is stopped"), "{told}");
    assert!(own.join("file").exists() && api.take().is_empty());
    worker.config.starts_pods = Box::new(|_| true);
    assert_eq!(worker.reclaim(volume_key(), None).await.unwrap(), Outcome::Done);
    assert!(!own.exists() && api.lines() == [PATCH, DELETE]);
    crew.kill();
}

/// A user who may write PersistentVolumes may write any path into one.
#[tokio::test]
async fn a_volume_with_a_path_that_is_not_its_own_is_refused() {
    let elsewhere = |path: &str| {
        let mut volume = released("Delete");
        volume.spec.as_mut().unwrap().host_path.as_mut().unwrap().path = path.into();
        volume
    };
    for volume in [
        elsewhere("/etc"),
        elsewhere("/var/local-path-provisioner"),
        elsewhere("/var/local-path-provisioner/pvc-v_d_data"),
        elsewhere("/var/local-path-provisioner/../../../victim"),
    ] {
        let (dir, crew) = (tempfile::tempdir().unwrap(), Crew::new("t"));
        let (own, other) = make_directories(dir.path());
        let kept = [own.join("file"), other.join("file"), dir.path().join("victim/file")];
        for path in ["victim", "n1/host/etc"] {
            std::fs::create_dir_all(dir.path().join(path)).unwrap();
        }
        std::fs::write(&kept[2], "x").unwrap();
        let api = Scripted::new(|_| None).await;
        let worker = worker(&crew, api.client.clone(), dir.path(), None, Some(volume));
        assert_eq!(worker.reclaim(volume_key(), None).await.unwrap(), Outcome::Done);
        api.event("VolumeFailedDelete").await;
        assert!(api.take().is_empty());
        assert!(kept.iter().all(|file| file.exists()) && dir.path().join("n1/host/etc").exists());
        crew.kill();
    }
}

/// A later start of the cluster has fewer workers. The volume would wait for its node for ever.
#[tokio::test]
async fn a_volume_of_a_worker_that_is_gone_goes_with_the_directory_that_is_left() {
    for is_left in [true, false] {
        let (dir, crew) = (tempfile::tempdir().unwrap(), Crew::new("t"));
        let (own, other) = make_directories(dir.path());
        let mut volume = provisioned_on("n3");
        volume.status = read(json!({"phase": "Released"}));
        let api = Scripted::new(|_| None).await;
        let mut worker = worker(&crew, api.client.clone(), dir.path(), None, Some(volume));
        let left = dir.path().join("n3").join(DIRECTORY);
        if is_left {
            std::fs::create_dir_all(&left).unwrap();
            worker.config.gone = [("n3".to_string(), dir.path().join("n3/host"))].into();
        }
        assert_eq!(worker.reclaim(volume_key(), None).await.unwrap(), Outcome::Done);
        assert_eq!(api.lines(), [PATCH, DELETE]);
        assert!(!left.exists() && own.exists() && other.exists());
        crew.kill();
    }
}

/// A pod with a `hostPath` above the volumes may have put a link in the place of their directory.
#[tokio::test]
async fn a_link_in_the_place_of_the_volumes_leads_out_of_no_node() {
    let (dir, crew) = (tempfile::tempdir().unwrap(), Crew::new("t"));
    let outside = dir.path().join("outside");
    std::fs::create_dir_all(outside.join("pvc-u_d_data")).unwrap();
    std::fs::create_dir_all(dir.path().join("n1/host/var")).unwrap();
    let link = dir.path().join("n1/host/var/local-path-provisioner");
    std::os::unix::fs::symlink(&outside, &link).unwrap();
    let api = Scripted::new(|_| None).await;
    let worker = worker(&crew, api.client.clone(), dir.path(), None, Some(released("Delete")));
    let _ = worker.reclaim(volume_key(), None).await; // refused, or there is no such directory on the node
    assert!(outside.join("pvc-u_d_data").exists());
    crew.kill();
}

/// The directory is gone, and this process ended before the volume was deleted, or another one
/// deleted it.
#[tokio::test]
async fn a_volume_whose_directory_is_gone_is_deleted_all_the_same() {
    for (code, reason) in [(503, "ServiceUnavailable"), (404, "NotFound")] {
        let (dir, crew) = (tempfile::tempdir().unwrap(), Crew::new("t"));
        let (own, _) = make_directories(dir.path());
        let first = AtomicBool::new(true);
        let fails = move |asked: &Asked| asked.line == DELETE && first.swap(false, Ordering::Relaxed);
        let api = Scripted::new(move |asked| refusal(code, reason).filter(|_| fails(asked))).await;
        let worker = worker(&crew, api.client.clone(), dir.path(), None, Some(released("Delete")));
        let outcome = worker.reclaim(volume_key(), None).await;
        assert!(!own.exists());
        assert_eq!(outcome.is_ok(), code == 404, "what is gone needs no other try");
        assert_eq!(worker.reclaim(volume_key(), None).await.unwrap(), Outcome::Done);
        assert_eq!(api.lines(), [PATCH, DELETE, PATCH, DELETE]);
        crew.kill();
    }
}

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

/// What is removed first makes room for the rest.
#[test]
fn a_volume_goes_also_from_a_disk_on_which_no_directory_can_be_made() {
    let dir = tempfile::tempdir().unwrap();
    let host = dir.path().join("host");
    std::fs::create_dir_all(host.join("opt/v1/deep")).unwrap();
    std::fs::create_dir_all(host.join("opt/v2")).unwrap();
    let refused = |errno| Err(linux::Error::new("cannot make it", std::io::Error::from_raw_os_error(errno)));
    assert!(remove_by(refused(13), &host, "/opt/v1", "v1").is_err(), "EACCES");
    for full in [28, 122] {
        std::fs::create_dir_all(host.join("opt/v1/deep")).unwrap();
        assert!(remove_by(refused(full), &host, "/opt/v1", "v1").unwrap(), "ENOSPC, EDQUOT");
        assert!(remove_by(refused(full), &host, "/opt/v1", "v1").unwrap(), "it is gone");
        assert!(!host.join("opt/v1").exists() && host.join("opt/v2").is_dir());
    }
}

/// `kubectl delete pv`, and then its claim: the volume goes when its directory is gone, whether or
/// not the provisioner ran meanwhile.
#[tokio::test]
async fn a_volume_that_is_deleted_before_its_claim_goes_with_its_directory() {
    let (dir, crew) = (tempfile::tempdir().unwrap(), Crew::new("t"));
    let (own, other) = make_directories(dir.path());
    let api = Scripted::new(|_| None).await;
    let mut volume = released("Delete");
    volume.metadata.deletion_timestamp = read(json!("2026-01-01T00:00:00Z"));
    volume.metadata.resource_version = Some("7".into());
    assert!(volume.metadata.finalizers.as_ref().unwrap().contains(&FINALIZER.to_string()));
    let worker = worker(&crew, api.client.clone(), dir.path(), None, Some(volume));
    assert_eq!(worker.reclaim(volume_key(), None).await.unwrap(), Outcome::Done);
    assert!(!own.exists() && other.join("file").exists());
    let asked = api.take();
    assert_eq!(asked.iter().map(|a| a.line.as_str()).collect::<Vec<_>>(), [PATCH]);
    assert_eq!(asked[0].body["metadata"]["resourceVersion"], "7");
    crew.kill();
}

#[tokio::test]
async fn a_directory_that_cannot_be_removed_keeps_its_volume_and_is_told() {
    let (dir, crew) = (tempfile::tempdir().unwrap(), Crew::new("t"));
    let (own, _) = make_directories(dir.path());
    std::fs::write(dir.path().join("n1/released"), "no directory").unwrap();
    let api = Scripted::new(|_| None).await;
    let worker = worker(&crew, api.client.clone(), dir.path(), None, Some(released("Delete")));
    assert!(worker.reclaim(volume_key(), None).await.is_err(), "the queue brings it back");
    let told = api.event("VolumeFailedDelete").await;
    assert!(told.contains("released"), "{told}");
    assert!(own.exists() && api.take().is_empty());
    crew.kill();
}

#[test]
fn a_volume_has_the_finalizer_while_its_directory_is_to_be_deleted() {
    let of = |phase: &str, policy: &str, guarded: bool, going: bool| {
        let mut volume = released(policy);
        volume.status = read(json!({"phase": phase}));
        volume.metadata.finalizers = guarded.then(|| vec![FINALIZER.into()]);
        volume.metadata.deletion_timestamp = going.then(|| read(json!("2026-01-01T00:00:00Z")));
        volume
    };
    for (volume, wanted) in [
        (of("Bound", "Delete", false, false), Step::Protect),
        (of("Bound", "Delete", false, true), Step::Nothing),
        (of("Bound", "Delete", true, true), Step::Nothing),
        (of("Bound", "Retain", true, false), Step::Unprotect),
        (of("Released", "Retain", true, true), Step::Unprotect),
        (of("Released", "Retain", false, false), Step::Nothing),
        (of("Released", "Delete", false, false), Step::Reclaim),
        (of("Released", "Delete", true, true), Step::Reclaim),
        // As upstream: what has been deleted, or was taken from the provisioner by hand.
        (of("Released", "Delete", false, true), Step::Nothing),
        (of("Available", "Delete", true, false), Step::Nothing),
    ] {
        assert_eq!(step(&volume), wanted, "{volume:?}");
    }
    // Nothing says any more which directory is its own: it must not wait for ever.
    let mut free = of("Available", "Delete", true, true);
    free.spec.as_mut().unwrap().claim_ref = None;
    assert_eq!(step(&free), Step::Unprotect);
    let mut foreign = of("Bound", "Delete", false, false);
    foreign.spec.as_mut().unwrap().host_path.as_mut().unwrap().path = "/etc".into();
    assert_eq!(step(&foreign), Step::Nothing, "it is not made here");
}

/// Programs before the finalizer made volumes without it.
#[tokio::test]
async fn a_bound_volume_without_the_finalizer_gets_it() {
    let (dir, crew) = (tempfile::tempdir().unwrap(), Crew::new("t"));
    let api = Scripted::new(|_| None).await;
    let mut volume = released("Delete");
    volume.metadata.finalizers = None;
    volume.status = read(json!({"phase": "Bound"}));
    let worker = worker(&crew, api.client.clone(), dir.path(), None, Some(volume));
    assert_eq!(worker.reclaim(volume_key(), None).await.unwrap(), Outcome::Done);
    let asked = api.take();
    assert_eq!(asked.iter().map(|a| a.line.as_str()).collect::<Vec<_>>(), [PATCH]);
    assert_eq!(asked[0].body["metadata"]["finalizers"], json!([FINALIZER]));
    crew.kill();
}

/// The volume's finalizer was taken off by hand, or this process ended while it removed the
/// directory of a claim without a volume.
#[tokio::test]
async fn what_an_earlier_process_left_half_removed_is_removed_at_the_start() {
    let (dir, crew) = (tempfile::tempdir().unwrap(), Crew::new("t"));
    for left in ["n1/released/pvc-u.1/left", "n1/released/pvc-w.1/left", "n1/released/pvc-w.2", "n1/host"] {
        std::fs::create_dir_all(dir.path().join(left)).unwrap();
    }
    let api = Scripted::new(|_| None).await;
    let worker = worker(&crew, api.client.clone(), dir.path(), None, Some(released("Delete")));
    let found = worker.left_behind().await;
    assert_eq!(found, [Key::new("n1", "pvc-w")], "the other one's volume is still to be reclaimed");
    assert_eq!(worker.clear(found[0].clone()).await.unwrap(), Outcome::Done);
    let left: Vec<_> = std::fs::read_dir(dir.path().join("n1/released")).unwrap().flatten().collect();
    assert_eq!((left.len(), left[0].file_name().to_str()), (1, Some("pvc-u.1")));
    assert!(!dir.path().join("n2").exists(), "nothing is made on a node without volumes");
    crew.kill();
}

/// Its finalizer was taken off by hand and it was deleted while its directory was being removed.
#[tokio::test]
async fn the_directory_of_a_volume_that_went_meanwhile_is_removed() {
    let (dir, crew) = (tempfile::tempdir().unwrap(), Crew::new("t"));
    for left in ["n1/released/pvc-u.1/left", "n1/released/pvc-w.1/left"] {
        std::fs::create_dir_all(dir.path().join(left)).unwrap();
    }
    let api = Scripted::new(|_| None).await;
    let worker = worker(&crew, api.client.clone(), dir.path(), None, None);
    assert_eq!(worker.reclaim(volume_key(), None).await.unwrap(), Outcome::Done);
    let left: Vec<_> = std::fs::read_dir(dir.path().join("n1/released")).unwrap().flatten().collect();
    assert_eq!((left.len(), left[0].file_name().to_str()), (1, Some("pvc-w.1")), "another volume's stays");
    assert!(!dir.path().join("n2").exists() && api.take().is_empty());
    crew.kill();
}
