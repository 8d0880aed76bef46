//! What is wrong with a member's files: the log's segments and the snapshots.

use super::disk::is_scarcity;
use std::io;
use std::path::{Path, PathBuf};

/// Why a file cannot be read or written, or is not believed.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// The system refused a call; [scarcity](WalError::is_scarcity) may pass.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried: `read`, `write`, `sync` and so on.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        #[source]
        cause: io::Error,
    },
    /// A checksum or a length does not fit, where no crash explains it.
    #[error(
        "{} is damaged at byte {offset}: {what}. What comes after it cannot be trusted. If this is the cluster's only \
         member, restore its directory from a backup. One of several must start neither from a backup nor empty: it would \
         have forgotten what it acknowledged, and the cluster could lose it. The others go on without this member while \
         they are a majority; save their keys with `ropewalk etcdctl snapshot save`. `ropewalk reset --name CLUSTER` starts \
         an empty one", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The byte at which the damaged record begins.
        offset: u64,
        /// What does not fit.
        what: String,
    },
    /// The file's format is newer than this program.
    #[error("{} was written by a later version (format {version}, this program knows {known}); use that version", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format of the file.
        version: u32,
        /// The newest format that this program reads.
        known: u32,
    },
}

impl WalError {
    pub(super) fn io<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> WalError + 'a {
        move |cause| WalError::Io { what, path: path.into(), cause }
    }

    /// There is no room, as opposed to something being broken.
    pub fn no_space(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, WalError::Io { cause, .. } if matches!(cause.kind(), StorageFull | QuotaExceeded))
    }

    /// Something is missing that comes back by itself: room, descriptors, memory.
    pub(crate) fn is_scarcity(&self) -> bool {
        matches!(self, WalError::Io { cause, .. } if is_scarcity(cause))
    }

    /// The message with its cause.
    pub fn full_text(&self) -> String {
        match std::error::Error::source(self) {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }
}

/// Refuses files of a later program. Files of an earlier one would be converted by the caller.
pub(super) fn check_version(path: &Path, version: u32, known: u32) -> Result<(), WalError> {
    match version {
        v if v > known => Err(WalError::Newer { path: path.into(), version, known }),
        0 => Err(WalError::Damaged { path: path.into(), offset: 8, what: "version 0 never was".into() }),
        _ => Ok(()),
    }
}
