//! What pods leave on the node when they are gone: sandboxes, volumes, logs.

use super::Kubelet;
use crate::client::Key;
use crate::cri::Sandbox;
use crate::kubelet::{Error, eviction};
use crate::linux::beneath::Root;
use std::collections::BTreeSet;
use std::fs::DirEntry;
use std::io;
use std::path::{Path, PathBuf};

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
                if self.pods.get(key).is_some() {
                    return Ok(false);
                }
            }
            self.config.runtime.stop_pod_sandbox(&sandbox.id).await?;
            self.config.runtime.remove_pod_sandbox(&sandbox.id).await?;
            self.forget_files(&key.namespace, &key.name, &sandbox.pod.uid)?;
        }
        Ok(true)
    }

    /// Removes the volumes and the logs of a pod that is gone.
    pub(super) fn forget_files(&self, namespace: &str, name: &str, uid: &str) -> Result<(), Error> {
        eviction::unmount(&self.pod_dir(uid));
        remove(&self.pods_dir(), uid)?;
        remove(&self.logs_dir(), &format!("{namespace}_{name}_{uid}"))
    }

    /// Removes the volumes of a pod that has ended, as upstream does: its logs and its status stay until it is deleted.
    pub(super) async fn forget_volumes(&self, uid: &str) -> Result<(), Error> {
        let pod_dir = self.pod_dir(uid);
        let removed = tokio::task::spawn_blocking(move || {
            eviction::unmount_volumes(&pod_dir);
            remove(&pod_dir, "volumes")
        });
        removed.await.unwrap_or(Ok(())) // it panicked, which was told: the files go with the pod
    }

    /// Removes the files of pods that went while no kubelet looked: from an earlier life of the cluster there are no sandboxes to tell of them.
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
        for uid in volumes.iter().filter(|uid| strange(uid)) {
            eviction::unmount(&self.pod_dir(uid));
            remove(&self.pods_dir(), uid)?;
        }
        for name in logs.iter().filter(|name| name.rsplit('_').next().is_some_and(strange)) {
            remove(&self.logs_dir(), name)?;
        }
        Ok(())
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
