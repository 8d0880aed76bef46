//! Files shown as a pod with a user namespace of its own counts its users: idmapped mounts.

use linux::mount;
use linux::{Error, Result};
use nix::libc;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

/// The user namespace of a pod.
pub(crate) struct Users<'a> {
    pub namespace: BorrowedFd<'a>,
    /// The id of its user 0 out here.
    pub first: u32,
}

impl Users<'_> {
    /// Shows a copy of the mount of `path`, which is nowhere yet, as this namespace counts users.
    ///
    /// # Errors
    /// The file system or the kernel has no idmapped mounts.
    pub(crate) fn show(&self, tree: &OwnedFd, path: &Path) -> Result<()> {
        mount::map_ids(tree, self.namespace).map_err(|e| unmapped(e, path))
    }
}

/// Tells in runc's words why a mount cannot be idmapped.
fn unmapped(e: Error, path: &Path) -> Error {
    let hint = match e.cause.raw_os_error() {
        Some(libc::EINVAL) => " (maybe the filesystem used doesn't support idmap mounts on this kernel?)",
        _ => "",
    };
    let cause = io::Error::new(e.cause.kind(), format!("{}{hint}", e.cause));
    Error::new(format!("failed to fulfil mount request: {} on {}", e.what, path.display()), cause)
}
