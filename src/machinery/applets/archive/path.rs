//! Paths of entries that are unpacked.

use std::io;
use std::path::{Component, Path, PathBuf};

/// Returns where a name of the archive is below `directory`; with `make` its parent is made. Never
/// outside: a name with `..` is refused, and links on the way are not followed out. Each part is
/// looked at before the next one is made.
pub(super) fn path_below(directory: &Path, name: &Path, make: bool) -> io::Result<PathBuf> {
    if name.components().any(|c| c == Component::ParentDir) {
        return Err(io::Error::other("name with '..' in the archive"));
    }
    let relative: PathBuf = name.components().filter(|c| matches!(c, Component::Normal(_))).collect();
    let root = directory.canonicalize()?;
    let (Some(parent), Some(last)) = (relative.parent(), relative.file_name()) else {
        return Ok(root); // the directory itself
    };
    let mut place = root.clone();
    for part in parent {
        let next = place.join(part);
        place = match next.canonicalize() {
            Ok(real) => real,
            Err(e) if e.kind() == io::ErrorKind::NotFound && make => {
                std::fs::create_dir(&next)?; // fails for a link to nowhere
                next
            }
            Err(e) => return Err(e),
        };
        if !place.starts_with(&root) {
            return Err(io::Error::other("a link leads out of the directory"));
        }
    }
    Ok(place.join(last))
}
