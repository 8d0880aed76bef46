//! Paths of files that a command line names.

use std::path::PathBuf;

/// A file's path that outlives a change of directory.
pub(crate) fn absolute(path: Option<PathBuf>) -> anyhow::Result<Option<PathBuf>> {
    Ok(path.map(std::path::absolute).transpose()?)
}
