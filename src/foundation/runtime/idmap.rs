//! Files shown as a pod with a user namespace of its own counts its users: idmapped mounts.

use super::words::in_words_of_go;
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

/// Says in runc's words why a mount cannot be idmapped.
///
/// ```text
/// failed to fulfil mount request: failed to set MOUNT_ATTR_IDMAP on /srv/nfs: invalid argument
/// (maybe the filesystem used doesn't support idmap mounts on this kernel?)
/// ```
fn unmapped(e: Error, path: &Path) -> Error {
    let hint = match e.cause.raw_os_error() {
        Some(libc::EINVAL) => " (maybe the filesystem used doesn't support idmap mounts on this kernel?)",
        _ => "",
    };
    let cause = io::Error::new(e.cause.kind(), format!("{}{hint}", in_words_of_go(&e.cause)));
    Error::new(format!("failed to fulfil mount request: {} on {}", e.what, path.display()), cause)
}

#[cfg(test)]
mod tests {
    use super::super::words::line_of;
    use super::*;

    /// A volume on NFS, in a pod with `hostUsers: false`.
    #[test]
    fn a_file_system_without_idmapped_mounts_is_named_as_runc_does() {
        let line = |number: i32| {
            let failed = Error::new("failed to set MOUNT_ATTR_IDMAP", io::Error::from_raw_os_error(number));
            line_of(&unmapped(failed, Path::new("/srv/nfs")))
        };
        let what = "failed to fulfil mount request: failed to set MOUNT_ATTR_IDMAP on /srv/nfs";
        let hint = "(maybe the filesystem used doesn't support idmap mounts on this kernel?)";
        assert_eq!(line(libc::EINVAL), format!("{what}: invalid argument {hint}"));
        assert_eq!(line(libc::EPERM), format!("{what}: operation not permitted"));
    }
}
