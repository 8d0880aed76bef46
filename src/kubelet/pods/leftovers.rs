//! What pods leave on the node when they are gone: sandboxes, volumes, logs.
//!
//! Files are removed on a thread that may block, one pod's at a time in a node: a pod may leave as many as its disk holds, and no other pod's work waits for
//! that. What a removal that was ended leaves is removed by the next one, at the latest by [`Kubelet::sweep`] when the kubelet starts anew.

use super::Kubelet;
use crate::client::Key;
use crate::cri::Sandbox;
use crate::kubelet::{Error, eviction};
use crate::linux::beneath::Root;
use std::collections::BTreeSet;
use std::fs::DirEntry;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Semaphore;

impl Kubelet {
    /// `data/<node>/pods/<uid>`
    pub(super) fn pod_dir(&self, uid: &str) -> PathBuf {
        self.pods_dir().join(uid)
    }

    fn pods_dir(&self) -> PathBuf {
        self.config.dir.join("pods")
    }

    /// `data/<node>/log/pods/<namespace>_<name>_<uid>`, as everywhere; none of the three has a `_` in it.
    pub(super) fn log_dir(&self, namespace: &str, name: &str, uid: &str) -> PathBuf {
        self.logs_dir().join(format!("{namespace}_{name}_{uid}"))
    }

    fn logs_dir(&self) -> PathBuf {
        self.config.dir.join("log").join("pods")
    }

    /// Ends what runs under this name for a pod that is no more. `false`: a pod of this name has come just now, whose own change brings the
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
            self.config.runtime.stop_pod_sandbox(&sandbox.id).await?;
            self.config.runtime.remove_pod_sandbox(&sandbox.id).await?;
            self.forget_files(&key.namespace, &key.name, &sandbox.pod.uid).await?;
        }
        Ok(true)
    }

    /// Removes the volumes and the logs of a pod that is gone.
    pub(super) async fn forget_files(&self, namespace: &str, name: &str, uid: &str) -> Result<(), Error> {
        self.measured.forget(uid);
        self.remove_files(Some(uid), Some(format!("{namespace}_{name}_{uid}"))).await
    }

    /// Removes the volumes of a pod that has ended, as upstream does: its logs and its status stay until it is deleted.
    pub(super) async fn forget_volumes(&self, uid: &str) -> Result<(), Error> {
        let pod_dir = self.pod_dir(uid);
        self.removals
            .one_by_one(move || {
                eviction::unmount_volumes(&pod_dir);
                remove(&pod_dir, "volumes")
            })
            .await
    }

    /// Removes the directory of a pod, and one with logs.
    async fn remove_files(&self, uid: Option<&str>, log: Option<String>) -> Result<(), Error> {
        let (pods, logs, uid) = (self.pods_dir(), self.logs_dir(), uid.map(String::from));
        self.removals
            .one_by_one(move || {
                if let Some(uid) = uid {
                    eviction::unmount(&pods.join(&uid));
                    remove(&pods, &uid)?;
                }
                log.map_or(Ok(()), |log| remove(&logs, &log))
            })
            .await
    }

    /// Removes the files of pods that went while no kubelet looked: from an earlier life of the cluster there are no sandboxes to tell of them. What cannot be removed stays
    /// until the next start; the others go.
    pub(super) async fn sweep(&self) -> Result<(), Error> {
        // Read before the pods are: a directory that is made meanwhile belongs to a pod that is known.
        let (volumes, logs) = (names(self.pods_dir())?, names(self.logs_dir())?);
        let known: BTreeSet<String> = {
            let sandboxes = self.config.runtime.list_pod_sandboxes().await?;
            let pods = self.pods.list();
            let all = pods.iter().chain(self.statics.values()).filter_map(|p| p.metadata.uid.clone());
            all.chain(sandboxes.into_iter().map(|s| s.pod.uid)).collect()
        };
        let strange = |uid: &str| !known.contains(uid);
        let mut result = Ok(());
        for uid in volumes.iter().filter(|uid| strange(uid)) {
            result = result.and(self.remove_files(Some(uid), None).await);
        }
        for name in logs.into_iter().filter(|name| name.rsplit('_').next().is_some_and(strange)) {
            result = result.and(self.remove_files(None, Some(name)).await);
        }
        result
    }
}

/// Removals of one node, of which one goes on at a time.
pub struct Removals(Arc<Semaphore>);

impl Default for Removals {
    fn default() -> Removals {
        Removals(Arc::new(Semaphore::new(1)))
    }
}

impl Removals {
    /// Runs `removal` on a thread that may block when those before it are over. It goes on to its end when the caller is gone.
    async fn one_by_one(
        &self,
        removal: impl FnOnce() -> Result<(), Error> + Send + 'static,
    ) -> Result<(), Error> {
        let turn = self.0.clone().acquire_owned().await;
        let removed = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            removal()
        });
        removed.await.unwrap_or(Ok(())) // it panicked, which was told: the files go at the next start
    }
}

fn names(dir: PathBuf) -> Result<Vec<String>, Error> {
    let name = |entry: io::Result<DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
    let read = std::fs::read_dir(&dir).and_then(|entries| entries.map(name).collect());
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(vec![]),
        done => done.map_err(|cause| Error::File { path: dir, cause }),
    }
}

/// Removes what has this name in a directory of the kubelet's. What is in there a pod may have written, so no link in it is followed.
fn remove(dir: &Path, name: &str) -> Result<(), Error> {
    let failed = |error: crate::linux::Error| Error::File { path: dir.join(name), cause: error.cause };
    match Root::open(dir) {
        Err(error) if error.cause.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(root) => root.remove_all(Path::new(name)).map_err(failed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_removal_that_lasts_holds_up_no_other_work_and_goes_on_without_its_caller() {
        let (removals, (begun, began)) = (Arc::new(Removals::default()), tokio::sync::oneshot::channel());
        let (release, held) = std::sync::mpsc::channel::<()>();
        let (over, ended) = std::sync::mpsc::channel::<&str>();
        let end = over.clone();
        let own = removals.clone();
        let caller = tokio::spawn(async move {
            let removal = own.one_by_one(move || {
                let _ = begun.send(());
                let _ = held.recv();
                let _ = end.send("first");
                Ok(())
            });
            removal.await
        });
        began.await.unwrap(); // this test has one thread, so the removal is not on it
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        let mut next = Box::pin(removals.one_by_one(move || {
            let _ = over.send("second");
            Ok(())
        }));
        assert!(futures::poll!(&mut next).is_pending());
        assert!(ended.try_recv().is_err(), "one at a time");
        release.send(()).unwrap();
        next.await.unwrap();
        assert_eq!(ended.iter().collect::<Vec<_>>(), ["first", "second"]);
    }

    #[test]
    fn what_goes_is_below_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (pods, outside) = (dir.path().join("pods"), dir.path().join("outside"));
        std::fs::create_dir_all(pods.join("u/volumes/v")).unwrap();
        std::fs::create_dir_all(outside.join("kept")).unwrap();
        std::os::unix::fs::symlink(&outside, pods.join("u/volumes/v/link")).unwrap();
        for uid in ["../outside", "u/../../outside", "..", "", "."] {
            assert!(remove(&pods, uid).is_err(), "{uid:?}");
        }
        remove(&pods, "u").unwrap();
        remove(&pods, "u").unwrap();
        remove(&dir.path().join("none"), "u").unwrap();
        assert!(outside.join("kept").is_dir() && !pods.join("u").exists());
    }
}
