//! Why the engine cannot do its work.

use std::path::PathBuf;

/// What keeps the engine from its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot use {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("{} was written by a newer ropewalk (format {found}, this one knows {known}); use that one", path.display())]
    Newer { path: PathBuf, found: u64, known: u32 },
    #[error("{} is damaged: {why}; move it away to begin anew", path.display())]
    Damaged { path: PathBuf, why: String },
    #[error("the line {line:?} needs a shell")]
    Shell { line: String },
    #[error("the line {line:?} cannot be run: {why}")]
    Line { line: String, why: String },
    #[error("stopped at command {at} of {of}")]
    Stopped { at: usize, of: usize },
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
}
