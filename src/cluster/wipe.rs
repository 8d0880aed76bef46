//! Wiping a cluster's files. An ordinary user's pods may have written some as users of their own (subordinate ids), which only the root of
//! a user namespace with the same ids may delete.

use crate::linux;
use std::io;
use std::path::Path;
use std::process::Command;

/// The hidden argument with which the binary deletes a directory from inside a user namespace; the path follows.
pub const WIPE_ARGUMENT: &str = "ropewalk-wipe";

/// Removes a directory and everything in it.
pub fn wipe(path: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let status = Command::new("/proc/self/exe").arg(WIPE_ARGUMENT).arg(path).status()?;
            if status.success() { Ok(()) } else { Err(error) }
        }
        done => done,
    }
}

/// The other side: a process of its own with a single thread. Returns the exit code.
pub fn inside(path: &Path) -> i32 {
    let removed = linux::user::enter().map_err(|e| e.to_string());
    let removed = removed.and_then(|_| std::fs::remove_dir_all(path).map_err(|e| e.to_string()));
    match removed {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("ropewalk: {}: {error}", path.display());
            1
        }
    }
}
