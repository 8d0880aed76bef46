//! Why labs cannot be played.

use std::path::PathBuf;

/// What keeps labs from being played.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key that signs records cannot be read, made or written.
    #[error("the key in {} cannot be used: {why}", path.display())]
    Key {
        /// The file, or the folder that it is to be in.
        path: PathBuf,
        /// What the system or the library says, in English.
        why: String,
    },
    /// What the cluster's process says.
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    /// The book of attempts cannot be read or written.
    #[error(transparent)]
    Lab(#[from] crate::error::Error),
}
