//! What pods leave on the node when they are gone: sandboxes, volumes, logs; and the attempts that
//! their containers leave when they restart.
//!
//! Files are first moved out of the reach of containers ([`Trash`]) and then removed on a thread
//! that may block, one pod's at a time in a node. A pod may leave as many as its disk holds: its
//! removal has a second at a time, and then those of others have their turn. What a removal that
//! was ended leaves is removed by the next one of this pod, at the latest by [`Kubelet::sweep`]
//! when the kubelet starts anew.

use super::kubelet::Kubelet;
use super::memory::PodMemory;
use crate::error::Error;
use crate::files::NAME_MAX;
use crate::specs::reference;
use crate::{local_storage, termination_message};
use client::Key;
use cri::{Container, ContainerState, Sandbox, SandboxState};
use k8s_openapi::api::core::v1::Pod;
use linux::beneath::Root;
use linux::trash::Trash;
use linux::tree::Removal;
use std::collections::BTreeSet;
use std::fs::DirEntry;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tap::Cause;

/// The reason of the Event when files of a pod cannot be removed: about the pod as long as it is
/// there, else about the node.
pub(super) const FAILED: &str = "FailedCleanUp";
/// The pause before files that could not be removed at the kubelet's start are removed again.
const SWEEP_AGAIN: Duration = Duration::from_secs(300);

impl Kubelet {
    /// Returns the directory of a pod: `data/<node>/pods/<uid>`.
    pub(super) fn pod_dir(&self, uid: &str) -> PathBuf {
        self.pods_dir().join(uid)
    }

    fn pods_dir(&self) -> PathBuf {
        self.config.dir.join("pods")
    }

    /// Returns the directory of a pod's logs: `data/<node>/log/pods/<namespace>_<name>_<uid>`. See
    /// [`log_name`].
    pub(super) fn log_dir(&self, namespace: &str, name: &str, uid: &str) -> PathBuf {
        self.logs_dir().join(log_name(namespace, name, uid))
    }

    fn logs_dir(&self) -> PathBuf {
        self.config.dir.join("log").join("pods")
    }

    /// Returns `data/<node>/trash`, which lies beside what containers see (`host`) and what they
    /// mount (`pods`).
    fn trash_dir(&self) -> PathBuf {
        self.config.dir.join("trash")
    }

    /// Ends what runs under this name for a pod that is no more, and removes its files. The next
    /// look tries again what fails. It knows of the files from that pod's sandbox or [`PodMemory`],
    /// so these go last. `false`: a pod of this name has come just now, whose own change brings the
    /// next look.
    pub(super) async fn clear_strangers(&self, key: &Key, uid: &str) -> Result<bool, Error> {
        let sandboxes = self.config.runtime.list_pod_sandboxes().await?;
        let stranger =
            |s: &&Sandbox| s.pod.namespace == key.namespace && s.pod.name == key.name && s.pod.uid != uid;
        for sandbox in sandboxes.iter().filter(stranger) {
            if uid.is_empty() && !self.statics.contains_key(key) {
                self.pods.synced().await; // do not take a slow first list for an empty one
                if self.pod(key).is_some() {
                    return Ok(false);
                }
            }
            self.end_stranger(key, sandbox).await?;
            self.config.runtime.stop_pod_sandbox(&sandbox.id).await?;
            self.forget_files(&key.namespace, &key.name, &sandbox.pod.uid).await?;
            self.config.runtime.remove_pod_sandbox(&sandbox.id).await?;
        }
        self.forget_gone(key, uid);
        // A pod that was replaced by another of its name may have had no sandbox, but volumes.
        let known = self.memories().get(key).map(|memory| memory.uid.clone());
        if let Some(replaced) = known.filter(|known| !uid.is_empty() && known != uid) {
            self.forget_files(&key.namespace, &key.name, &replaced).await?;
        }
        Ok(true)
    }

    /// Forgets what is known of a pod that is gone, unless it has this uid: the deletion of that
    /// one has just been reported.
    fn forget_gone(&self, key: &Key, uid: &str) {
        let mut gone = self.gone();
        if gone.get(key).is_some_and(|pod| pod.metadata.uid.as_deref() != Some(uid)) {
            gone.remove(key);
        }
    }

    /// Removes the volumes and the logs of a pod that is gone.
    pub(super) async fn forget_files(&self, namespace: &str, name: &str, uid: &str) -> Result<(), Error> {
        self.measured.forget(uid);
        self.remove_files(Some(uid), Some(log_name(namespace, name, uid))).await
    }

    /// Removes the volumes of a pod whose containers have all ended, unless that was done before.
    /// An Event tells of a failure.
    ///
    /// # Errors
    /// A volume cannot be unmounted or removed: the caller's retry tries it again.
    pub(super) async fn give_volumes_back(
        &self,
        pod: &Pod,
        memory: &mut PodMemory,
        cause: &Option<Cause>,
    ) -> Result<(), Error> {
        if memory.volumes_gone {
            return Ok(());
        }
        if let Err(error) = self.forget_volumes(&memory.uid).await {
            let message = format!("the volumes stay for now: {}", error.line());
            self.recorder.warning(&reference(pod, None), FAILED, message, cause.clone());
            return Err(error);
        }
        memory.volumes_gone = true;
        Ok(())
    }

    /// Removes the volumes of a pod that has ended, as upstream does: its logs, its last words and
    /// its status stay until it is deleted.
    pub(super) async fn forget_volumes(&self, uid: &str) -> Result<(), Error> {
        let (pod_dir, trash, label) = (self.pod_dir(uid), self.trash_dir(), uid.to_string());
        let mut removal = Removal::default();
        self.removals
            .one_by_one(move |until| {
                local_storage::unmount_volumes(&pod_dir);
                if let Err(error) = termination_message::move_messages_to_disk(&pod_dir) {
                    tracing::warn!(error = error.line(), "the last words of an ended pod stay in memory");
                }
                remove(&trash, &pod_dir, "volumes", &label, &mut removal, until)
            })
            .await
    }

    /// Removes the directory of a pod, and one with logs.
    async fn remove_files(&self, uid: Option<&str>, log: Option<String>) -> Result<(), Error> {
        let (pods, logs, uid) = (self.pods_dir(), self.logs_dir(), uid.map(String::from));
        let (trash, mut removal) = (self.trash_dir(), Removal::default());
        self.removals
            .one_by_one(move |until| {
                if let Some(uid) = &uid {
                    local_storage::unmount(&pods.join(uid));
                    if !remove(&trash, &pods, uid, uid, &mut removal, until)? {
                        return Ok(false);
                    }
                }
                let Some(log) = &log else { return Ok(true) };
                let uid = log.rsplit('_').next().unwrap_or_default(); // with more a long name would be too long
                remove(&trash, &logs, log, uid, &mut removal, until)
            })
            .await
    }

    /// Removes the attempts that are no longer needed, and the sandboxes before the newest that
    /// hold none any more.
    pub(super) async fn forget_old(
        &self,
        uid: &str,
        sandboxes: &[Sandbox],
        containers: &[Container],
    ) -> Result<(), Error> {
        let (old, kept): (Vec<&Container>, Vec<&Container>) =
            containers.iter().partition(|c| is_old(c, containers));
        for container in old {
            self.config.runtime.remove_container(&container.id).await?;
            termination_message::forget(&self.pod_dir(uid), container);
        }
        let newest = sandboxes.iter().map(|s| s.attempt).max();
        let ended =
            sandboxes.iter().filter(|s| s.state == SandboxState::NotReady && Some(s.attempt) < newest);
        for sandbox in ended.filter(|s| !kept.iter().any(|c| c.sandbox_id == s.id)) {
            self.config.runtime.remove_pod_sandbox(&sandbox.id).await?;
        }
        Ok(())
    }

    /// Removes the containers of a pod that were made and have not run; returns the others. The
    /// pod's worker starts what it makes before it looks again, so these are from another time:
    /// their kubelet was killed, for example. It may have ordered their start, which the runtime
    /// finishes without it, and they would run beside the attempts that come next, or in a pod that
    /// has failed.
    ///
    /// # Errors
    /// Of the runtime.
    pub(super) async fn remove_created(
        &self,
        uid: &str,
        containers: Vec<Container>,
    ) -> Result<Vec<Container>, Error> {
        let (created, others): (Vec<Container>, Vec<Container>) =
            containers.into_iter().partition(|c| c.state == ContainerState::Created);
        for container in &created {
            self.config.runtime.remove_container(&container.id).await?;
            termination_message::forget(&self.pod_dir(uid), container);
        }
        Ok(others)
    }

    /// Removes the files of pods that went while no kubelet ran. After a restart of the cluster no
    /// sandboxes show which pods these were. Files that cannot be removed are logged and tried
    /// again; the others are removed.
    pub(super) async fn sweep_all(&self) {
        while let Err(error) = self.sweep().await {
            let why = error.line();
            tracing::warn!(
                node = self.config.node_name,
                why,
                "what pods left behind stays on the disk; trying again in 5 minutes"
            );
            self.recorder.warning(&self.about_node(), FAILED, why, None);
            clock::pause(SWEEP_AGAIN).await;
        }
    }

    /// Removes all that can be removed.
    ///
    /// # Errors
    /// The first one.
    async fn sweep(&self) -> Result<(), Error> {
        // Read before the pods are: a directory that is made meanwhile belongs to a pod that is
        // known.
        let (volumes, logs) = (names(self.pods_dir())?, names(self.logs_dir())?);
        let known: BTreeSet<String> = {
            let sandboxes = self.config.runtime.list_pod_sandboxes().await?;
            let pods = self.pods.list();
            let all = pods.iter().chain(self.statics.values()).filter_map(|p| p.metadata.uid.clone());
            all.chain(sandboxes.into_iter().map(|s| s.pod.uid)).collect()
        };
        let strange = |uid: &str| !known.contains(uid);
        let mut result = self.empty_trash().await;
        for uid in volumes.iter().filter(|uid| strange(uid)) {
            result = result.and(self.remove_files(Some(uid), None).await);
        }
        for name in logs.into_iter().filter(|name| name.rsplit('_').next().is_some_and(strange)) {
            result = result.and(self.remove_files(None, Some(name)).await);
        }
        result
    }

    /// Removes what removals of an earlier kubelet left.
    async fn empty_trash(&self) -> Result<(), Error> {
        let (dir, mut removal) = (self.trash_dir(), Removal::default());
        self.removals
            .one_by_one(move |until| {
                let emptied = Trash::open(&dir).and_then(|trash| trash.empty(None, &mut removal, until));
                emptied.map_err(|error| Error::File { path: dir.clone(), cause: error.cause })
            })
            .await
    }
}

/// Returns whether an attempt can go. The newest two that ran stay, for `logs --previous`. One that
/// never ran, because the runtime did not answer the order to start it, is needed only as long as
/// it is the newest: the next pass removes it ([`Kubelet::remove_created`]).
///
/// Attempts 0, 1 and 2 have ended and 3 runs: 0 and 1 can go, 2 stays for `kubectl logs
/// --previous`.
fn is_old(container: &Container, all: &[Container]) -> bool {
    let mut newer = all.iter().filter(|c| c.name == container.name && c.attempt > container.attempt);
    match container.state {
        ContainerState::Running => false,
        ContainerState::Created => newer.next().is_some(),
        ContainerState::Exited => newer.filter(|c| c.state != ContainerState::Created).count() >= 2,
    }
}

/// Returns the name of a pod's directory of logs: `<namespace>_<name>_<uid>`, as everywhere; none
/// of the three has a `_` in it. Names of pods have up to 253 bytes, and all of it together 255, so
/// the end of a longer one is cut off: the uid alone tells pods apart.
fn log_name(namespace: &str, name: &str, uid: &str) -> String {
    let room = NAME_MAX.saturating_sub(namespace.len() + uid.len() + 2);
    let end = (0..=room.min(name.len())).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    format!("{namespace}_{}_{uid}", &name[..end])
}

fn names(dir: PathBuf) -> Result<Vec<String>, Error> {
    let name = |entry: io::Result<DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    let read = std::fs::read_dir(&dir).and_then(|entries| entries.map(name).collect());
    let sorted = |mut names: Vec<String>| {
        names.sort(); // the disk's order is chance
        names
    };
    match read.map(sorted) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(vec![]),
        done => done.map_err(|cause| Error::File { path: dir, cause }),
    }
}

/// Removes what has this name in a directory of the kubelet's, until this time at most; `false`:
/// something is left. What is in there a pod may have written, so it is moved away as a whole, and
/// no link in it is followed.
fn remove(
    trash: &Path,
    dir: &Path,
    name: &str,
    label: &str,
    removal: &mut Removal,
    until: Instant,
) -> Result<bool, Error> {
    let failed = |error: linux::Error| Error::File { path: dir.join(name), cause: error.cause };
    let from = match Root::open(dir) {
        Err(error) if error.cause.kind() == io::ErrorKind::NotFound => None,
        opened => Some(opened.map_err(failed)?),
    };
    let trash = Trash::open(trash).map_err(failed)?;
    let done = match from {
        Some(from) => trash.remove(&from, Path::new(name), label, removal, until),
        None => trash.empty(Some(label), removal, until), // an earlier part moved it
    };
    done.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::super::removals::{PART, Removals};
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_removal_that_lasts_holds_up_no_other_work_and_goes_on_without_its_caller() {
        let (removals, (begun, began)) = (Arc::new(Removals::default()), tokio::sync::oneshot::channel());
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (over, ended) = std::sync::mpsc::channel::<&str>();
        let end = over.clone();
        let own = removals.clone();
        let caller = tokio::spawn(async move {
            let mut begun = Some(begun);
            let removal = own.one_by_one(move |_| {
                begun.take().map(|begun| begun.send(()));
                let _ = held.recv();
                let _ = end.send("first");
                Ok(true)
            });
            removal.await
        });
        began.await.unwrap(); // this test has one thread, so the removal is not on it
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        let mut next = Box::pin(removals.one_by_one(move |_| {
            let _ = over.send("second");
            Ok(true)
        }));
        assert!(futures::poll!(&mut next).is_pending());
        assert!(ended.try_recv().is_err(), "one at a time");
        release.send(()).unwrap();
        next.await.unwrap();
        // Both have sent their names by now. To wait for more would stop this thread, on which the
        // first one's task still has to end and drop its sender.
        assert_eq!(ended.try_iter().collect::<Vec<_>>(), ["first", "second"]);
    }

    /// A pod that left more than can be removed at once lets others have a turn, as often as it
    /// takes.
    #[tokio::test]
    async fn removals_take_turns() {
        let removals = Removals::default();
        let (turn, turns) = std::sync::mpsc::channel();
        let (all_wait, go) = std::sync::mpsc::channel::<()>();
        let mut go = Some(go);
        let mut part = |name: &'static str, parts: u32| {
            let (turn, mut left, go) = (turn.clone(), parts, go.take());
            move |until: Instant| {
                assert!(until > Instant::now());
                left -= 1;
                turn.send(name).unwrap();
                // The first one ends its part when the others wait for their turn.
                if let Some(go) = &go {
                    let _ = go.recv();
                }
                Ok(left == 0)
            }
        };
        let mut huge = Box::pin(removals.one_by_one(part("huge", 3)));
        let mut one = Box::pin(removals.one_by_one(part("one", 1)));
        let mut other = Box::pin(removals.one_by_one(part("other", 1)));
        assert!(futures::poll!(&mut huge).is_pending());
        assert!(futures::poll!(&mut one).is_pending() && futures::poll!(&mut other).is_pending());
        tokio::task::yield_now().await; // all three ask for their turn
        drop(all_wait);
        let (huge, one, other) = futures::join!(huge, one, other);
        assert!(huge.is_ok() && one.is_ok() && other.is_ok());
        drop(turn);
        let order: Vec<&str> = turns.iter().collect();
        assert_eq!(order.len(), 5);
        assert_eq!(order[3..], ["huge", "huge"], "{order:?}");
        let failing = removals.one_by_one(|_| Err(Error::Volume { volume: "v".into(), why: "no".into() }));
        assert!(failing.await.is_err());
    }

    #[test]
    fn a_directory_of_logs_has_a_name_that_a_file_system_takes() {
        let uid = "0123456789ab-0123456789ab-0123456789";
        assert_eq!(log_name("default", "web", uid), format!("default_web_{uid}"));
        let dir = tempfile::tempdir().unwrap();
        for length in [209, 210, 211, 253] {
            for namespace in ["default", &"n".repeat(63)] {
                let name = log_name(namespace, &"p".repeat(length), uid);
                assert!(name.len() <= NAME_MAX && name.starts_with(&format!("{namespace}_ppp")), "{name}");
                assert_eq!(name.rsplit('_').next(), Some(uid), "the sweep finds whose it is");
                std::fs::create_dir(dir.path().join(&name)).unwrap();
                let trash = dir.path().join("trash");
                let soon = Instant::now() + PART;
                assert!(remove(&trash, dir.path(), &name, uid, &mut Removal::default(), soon).unwrap());
                assert!(!dir.path().join(&name).exists());
            }
        }
        assert_eq!(log_name("", &"é".repeat(200), ""), format!("_{}_", "é".repeat(126)));
    }

    #[test]
    fn what_goes_is_below_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (pods, outside, trash) =
            (dir.path().join("pods"), dir.path().join("outside"), dir.path().join("trash"));
        let remove = |dir: &Path, name: &str| {
            super::remove(&trash, dir, name, name, &mut Removal::default(), Instant::now() + PART)
        };
        std::fs::create_dir_all(pods.join("u/volumes/v")).unwrap();
        std::fs::create_dir_all(outside.join("kept")).unwrap();
        std::os::unix::fs::symlink(&outside, pods.join("u/volumes/v/link")).unwrap();
        for uid in ["../outside", "u/../../outside", "..", "", "."] {
            assert!(remove(&pods, uid).is_err(), "{uid:?}");
        }
        assert!(remove(&pods, "u").unwrap());
        assert!(remove(&pods, "u").unwrap());
        assert!(remove(&dir.path().join("none"), "u").unwrap());
        assert!(outside.join("kept").is_dir() && !pods.join("u").exists());
        assert_eq!(std::fs::read_dir(&trash).unwrap().count(), 0);
    }
}
