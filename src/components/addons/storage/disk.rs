//! Directories of volumes in the nodes' file systems. Pods write there, so every path is resolved
//! beneath its node.

use super::names::ROOT;
use linux::beneath::Root;
use linux::trash::Trash;
use linux::tree::Removal;
use std::collections::BTreeSet;
use std::fs::Permissions;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// One volume's removal goes on for this long while others wait.
const PART: Duration = Duration::from_secs(5);

/// Does blocking work on a disk, on a thread that no other task needs.
pub(super) async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, linux::Error> + Send + 'static,
) -> Result<T, linux::Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| linux::Error::new("cannot change a volume's directory", std::io::Error::other(e)))?
}

/// Opens the file system of a node, which is made at its first use.
pub(super) fn open_node(root: &Path) -> Result<Root, linux::Error> {
    std::fs::create_dir_all(root)
        .map_err(|cause| linux::Error::new(format!("cannot make {}", root.display()), cause))?;
    Root::open(root)
}

/// Makes the directory of a volume, open to whatever user the pod runs as. Those above it are the
/// node's: a pod that sees them must not exchange what lies in them. Modes as `mkdir -m 0777 -p` of
/// upstream's local-path-provisioner gives them.
pub(super) fn make(root: &Path, path: &str) -> Result<(), linux::Error> {
    let node = open_node(root)?;
    node.make_dirs_in_root(Path::new(ROOT), 0o755)?;
    let made = node.make_dirs_in_root(Path::new(path), 0o777)?;
    open_half_made(&made.path())
        .map_err(|cause| linux::Error::new(format!("cannot open {path} to its users"), cause))
}

/// Opens a directory to all users that an earlier process made and did not come to open: it is made
/// with 0700 first. Once a pod has written to it, its mode is the pod's.
fn open_half_made(directory: &Path) -> std::io::Result<()> {
    let mode = std::fs::metadata(directory)?.permissions().mode() & 0o777;
    if mode == 0o700 && std::fs::read_dir(directory)?.next().is_none() {
        std::fs::set_permissions(directory, Permissions::from_mode(0o777))?;
    }
    Ok(())
}

/// Removes the directory of a volume, until [`PART`] is over at most; `false`: something is left.
/// Other pods may see it, those with a `hostPath` above it or the last one that had the claim, so
/// it is first moved to where no pod sees it: beside the node's file system.
pub(super) fn remove(root: &Path, path: &str, volume: &str) -> Result<bool, linux::Error> {
    remove_by(Trash::open(&trash_of(root)), root, path, volume)
}

/// As [`remove`], with the trash as it was opened. If a full disk has no room for the trash the
/// directory is removed in its place, which makes some.
pub(super) fn remove_by(
    opened: Result<Trash, linux::Error>,
    root: &Path,
    path: &str,
    volume: &str,
) -> Result<bool, linux::Error> {
    let node = open_node(root)?;
    let (path, until) = (Path::new(path.trim_start_matches('/')), Instant::now() + PART);
    match opened {
        Ok(trash) => trash.remove(&node, path, volume, &mut Removal::default(), until),
        Err(error) if matches!(error.cause.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
            node.remove_some(path, &mut Removal::default(), until)
        }
        Err(error) => Err(error),
    }
}

/// Returns the directory that a node's volumes are moved to while they are removed.
fn trash_of(root: &Path) -> PathBuf {
    root.with_file_name("released")
}

/// Returns the volumes whose directories are being removed, or were when an earlier process ended.
pub(super) fn half_removed(root: &Path) -> Result<BTreeSet<String>, linux::Error> {
    let trash = trash_of(root);
    match trash.is_dir() {
        true => Trash::open(&trash)?.labels(),
        false => Ok(BTreeSet::new()), // no volume of this node was ever removed
    }
}

/// Continues the removal of a volume's directory, until [`PART`] is over at most; `false`:
/// something is left.
pub(super) fn clear(root: &Path, volume: &str) -> Result<bool, linux::Error> {
    let until = Instant::now() + PART;
    Trash::open(&trash_of(root))?.empty(Some(volume), &mut Removal::default(), until)
}
