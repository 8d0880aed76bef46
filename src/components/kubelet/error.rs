//! The error of the work on a pod.

use std::path::PathBuf;

/// Why the work on a pod failed. The pod worker tries again after a pause.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error(transparent)]
    Runtime(#[from] cri::Error),
    /// A volume could not be made. The kubelet writes an Event and tries again.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {why}")]
    Volume { volume: String, why: String },
    /// A container could not be started. The kubelet writes an Event and tries again.
    #[error("container {container}: {why}")]
    Container { container: String, why: String },
    /// A pod of the API has the name of a static pod.
    #[error(
        "pod {0} of the API is no mirror of this node's static pod; delete it, and the static pod is shown"
    )]
    NotMirror(String),
    /// Files that a pod left cannot be read or removed. The kubelet writes an Event and tries
    /// again.
    #[error("cannot read or remove {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
}

impl Error {
    /// Returns the error with its causes on one line, for Events and the log.
    pub(crate) fn line(&self) -> String {
        lang::chain(self)
    }
}
