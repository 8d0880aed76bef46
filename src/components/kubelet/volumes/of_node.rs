//! Volumes that are a path of the node: `hostPath` and `local`.

use super::{file_type, node_root};
use std::path::Path;

/// Checks that the directory of a `local` volume is there: an administrator makes it. A missing one
/// is a typing error or a disk that is not mounted, and an empty directory would hide that.
///
/// # Errors
/// The path is missing, or is no directory.
pub(super) fn local(root: &Path, path: &str) -> Result<(), String> {
    let root = node_root(root).map_err(|e| e.line())?;
    match file_type(&root, path).map_err(|e| e.line())? {
        Some(nix::libc::S_IFDIR) => Ok(()),
        Some(_) => Err(format!("local volume: {path:?} is not a directory")),
        None => Err(format!(
            "local volume: path {path:?} does not exist on the node; make the directory there first"
        )),
    }
}

/// Checks the type of a hostPath volume in the node's file system and makes what may be missing,
/// directories with this mode. The path is resolved as if that file system were `/`: whatever links
/// pods have put there, nothing outside of it is looked at or made. The runtime resolves it anew
/// when it mounts.
///
/// # Errors
/// The path has `..` in it, is not of this type, or cannot be made: the text of `FailedMount`.
pub(super) fn host_path(root: &Path, path: &str, kind: &str, mode: u32) -> Result<(), String> {
    if path.split('/').any(|part| part == "..") {
        return Err(format!("hostPath {path:?} must not contain '..'"));
    }
    let root = node_root(root).map_err(|e| e.line())?;
    let at = Path::new(path);
    let found = || file_type(&root, path);
    let wanted = |kind: u32, what: &str| match found() {
        Ok(Some(is)) if is == kind => Ok(()),
        Ok(_) => Err(format!("hostPath type check failed: {path} is not a {what}")),
        Err(e) => Err(format!("hostPath type check failed: {}", e.line())),
    };
    use nix::libc::{S_IFBLK, S_IFCHR, S_IFDIR, S_IFREG, S_IFSOCK};
    match kind {
        // Upstream leaves a missing path to the runtime, which makes a directory.
        "" => match found().map_err(|e| e.line())? {
            Some(_) => Ok(()),
            None => root.make_dirs_in_root(at, mode).map(drop).map_err(|e| e.line()),
        },
        "DirectoryOrCreate" => {
            if found().map_err(|e| e.line())?.is_none() {
                root.make_dirs_in_root(at, mode).map_err(|e| e.line())?;
            }
            wanted(S_IFDIR, "directory")
        }
        // Only the file: a missing directory is an error, in the words of Go's `os`.
        "FileOrCreate" => {
            if found().map_err(|e| e.line())?.is_none() {
                let above = at.parent().and_then(Path::to_str).filter(|above| !above.is_empty());
                let above = above.unwrap_or("/");
                if file_type(&root, above).map_err(|e| e.line())?.is_none() {
                    return Err(format!("open {path}: no such file or directory"));
                }
                root.make_file_in_root(at, 0o644).map_err(|e| e.line())?;
            }
            wanted(S_IFREG, "file")
        }
        "Directory" => wanted(S_IFDIR, "directory"),
        "File" => wanted(S_IFREG, "file"),
        "Socket" => wanted(S_IFSOCK, "socket file"),
        "CharDevice" => wanted(S_IFCHR, "character device"),
        "BlockDevice" => wanted(S_IFBLK, "block device"),
        other => Err(format!("hostPath type {other:?} is not known")),
    }
}
