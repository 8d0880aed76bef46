//! Why labs cannot be played.

use std::path::PathBuf;

/// What keeps labs from being played.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the key in {} cannot be used: {why}", path.display())]
    Key { path: PathBuf, why: String },
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    #[error(transparent)]
    Lab(#[from] crate::error::Error),
}
