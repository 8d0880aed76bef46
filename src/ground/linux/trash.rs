//! Where trees go before they are removed: a directory that no container sees.
//!
//! What a pod wrote may still be mounted somewhere: a volume of the node (`hostPath`, a claim) in
//! another pod, a part of it (`subPath`) in a container that is ending. So a tree is first moved
//! here in one step, and then removed by descriptors ([`super::tree`]): from then on no process
//! finds it by a name, nothing new of this name is mixed up with it, and a removal that was ended
//! is finished by the next one.

use super::beneath::{Root, names_of};
use super::tree::Removal;
use super::{Context, Result};
use nix::errno::Errno;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Names that are tried for one tree.
const NAMES_MAX: usize = 4096;

/// Moves what one directory names into another one.
type Move = fn(&Root, &Path, &Root, &Path) -> nix::Result<()>;

/// The directory in which trees wait for their removal, each under a label.
#[derive(Debug)]
pub struct Trash {
    root: Root,
    path: PathBuf,
    /// [`Root::move_to`] but in tests.
    move_to: Move,
}

impl Trash {
    /// Opens the directory, and makes it if it is missing. It has to be on the file system of the
    /// trees, and in no directory that containers see.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(path: &Path) -> Result<Trash> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
        made.during(|| format!("cannot make {}", path.display()))?;
        Ok(Trash { root: Root::open(path)?, path: path.to_path_buf(), move_to: Root::move_to })
    }

    /// Removes what `untrusted` names below a directory, until this time at most. `false`:
    /// something is left, and the next call with the same label goes on. The label names the tree
    /// here; it is one name.
    ///
    /// # Errors
    /// As [`Root::remove_all`].
    pub fn remove(
        &self,
        from: &Root,
        untrusted: &Path,
        label: &str,
        removal: &mut Removal,
        until: Instant,
    ) -> Result<bool> {
        if !self.take(from, untrusted, label)? && !from.remove_some(untrusted, removal, until)? {
            return Ok(false);
        }
        self.empty(Some(label), removal, until)
    }

    /// Moves a tree here. `false`: it cannot be moved, because it lies on another file system, or
    /// in the lower layer of an overlay, or it is immutable, of which the rest can be removed; or
    /// the disk has no room for its name: what is removed in its place makes some.
    fn take(&self, from: &Root, untrusted: &Path, label: &str) -> Result<bool> {
        for number in 1..=NAMES_MAX {
            // One that is taken belongs to an earlier removal. An empty directory is replaced.
            let place = format!("{label}.{number}");
            match (self.move_to)(from, untrusted, &self.root, Path::new(&place)) {
                Ok(()) => return Ok(true),
                Err(Errno::ENOENT) => return Ok(true), // it is gone, or was moved before
                Err(Errno::EXDEV) if from.same_place(untrusted) => return Ok(false),
                Err(Errno::ENOSPC | Errno::EDQUOT | Errno::EPERM) => return Ok(false),
                Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::EISDIR) => {}
                Err(Errno::ENOTDIR) if from.same_place(untrusted) => {} // a file has the name here
                Err(e) => {
                    return Err(e).during(|| format!("cannot move {} away", untrusted.display()));
                }
            }
        }
        let full = io::Error::new(io::ErrorKind::StorageFull, "too much is being removed");
        Err(super::Error::new(self.path.display().to_string(), full))
    }

    /// Returns the labels of the trees that are here.
    ///
    /// # Errors
    /// The directory cannot be listed.
    pub fn labels(&self) -> Result<BTreeSet<String>> {
        let all = names_of(&self.root).during(|| format!("cannot list {}", self.path.display()))?;
        Ok(all.iter().filter_map(|name| label_of(name)).map(String::from).collect())
    }

    /// Removes what was moved here under a label, or under any, until this time at most. `false`:
    /// something is left.
    ///
    /// # Errors
    /// As [`Root::remove_all`], the first one: the other trees are removed all the same.
    pub fn empty(&self, label: Option<&str>, removal: &mut Removal, until: Instant) -> Result<bool> {
        let all = names_of(&self.root).during(|| format!("cannot list {}", self.path.display()))?;
        let mut result = Ok(true);
        for name in all {
            if label.is_some() && label_of(&name) != label {
                continue;
            }
            match self.root.remove_some(Path::new(&name), removal, until) {
                Ok(true) => {}
                Ok(false) => return Ok(false),
                Err(e) => result = result.and(Err(e)),
            }
        }
        result
    }
}

/// Returns the label of a tree, which may have dots itself: `data.old` of `data.old.1`.
fn label_of(name: &OsStr) -> Option<&str> {
    Some(name.to_str()?.rsplit_once('.')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(600)
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut all: Vec<String> =
            fs::read_dir(dir).unwrap().flatten().map(|e| e.file_name().into_string().unwrap()).collect();
        all.sort();
        all
    }

    /// Who holds the tree open, as a container does that has it mounted, does not keep it, or what
    /// comes in its place.
    #[test]
    fn a_tree_is_out_of_reach_before_anything_of_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (pods, bin) = (dir.path().join("pods"), dir.path().join("trash"));
        fs::create_dir_all(pods.join("u/volumes/v/deep")).unwrap();
        fs::write(pods.join("u/volumes/v/deep/file"), "x").unwrap();
        let (trash, from) = (Trash::open(&bin).unwrap(), Root::open(&pods.join("u")).unwrap());
        let held = Root::open(&pods.join("u/volumes/v")).unwrap();
        // The time is over before the removal begins: the tree is moved, and nothing is removed.
        let mut removal = Removal::default();
        let path = Path::new("volumes");
        assert!(!trash.remove(&from, path, "u", &mut removal, Instant::now()).unwrap());
        assert_eq!((names(&pods.join("u")), names(&bin)), (vec![], vec!["u.1".to_string()]));
        assert!(bin.join("u.1/v/deep/file").exists());
        // The pod makes something of that name anew, and what holds the old one writes on.
        fs::create_dir_all(pods.join("u/volumes/new")).unwrap();
        held.write_file(Path::new("late"), b"x", 0o644).unwrap();
        assert!(trash.remove(&from, path, "other", &mut removal, soon()).unwrap());
        assert_eq!(names(&bin), ["u.1"], "another's label");
        assert!(trash.empty(Some("u"), &mut removal, soon()).unwrap());
        assert_eq!((names(&bin).len(), names(&pods.join("u")).len()), (0, 0));
        assert!(held.write_file(Path::new("later"), b"x", 0o644).is_err(), "there is no directory any more");
        // Nothing there, and nothing that would lead elsewhere.
        assert!(trash.remove(&from, path, "u", &mut removal, soon()).unwrap());
        fs::write(dir.path().join("outside"), "x").unwrap();
        for bad in ["../../outside", "..", ".", ""] {
            assert!(trash.remove(&from, Path::new(bad), "u", &mut removal, soon()).is_err(), "{bad:?}");
        }
        assert!(dir.path().join("outside").exists());
    }

    /// As if the disk had no room for its name, or `chattr +i` were set on it.
    #[test]
    fn a_tree_that_cannot_be_moved_is_removed_in_its_place() {
        let refusals: [Move; 3] = [
            |_, _, _, _| Err(Errno::ENOSPC),
            |_, _, _, _| Err(Errno::EDQUOT),
            |_, _, _, _| Err(Errno::EPERM),
        ];
        for move_to in refusals {
            let dir = tempfile::tempdir().unwrap();
            let (pods, bin) = (dir.path().join("pods"), dir.path().join("trash"));
            fs::create_dir_all(pods.join("u/deep")).unwrap();
            fs::write(pods.join("u/deep/file"), "x").unwrap();
            let trash = Trash { move_to, ..Trash::open(&bin).unwrap() };
            let (from, mut removal) = (Root::open(&pods).unwrap(), Removal::default());
            let remove =
                |removal: &mut Removal, until| trash.remove(&from, Path::new("u"), "u", removal, until);
            assert!(!remove(&mut removal, Instant::now()).unwrap(), "no time at all");
            assert!(remove(&mut removal, soon()).unwrap());
            assert_eq!((names(&pods).len(), names(&bin).len()), (0, 0));
        }
    }

    #[test]
    fn a_file_above_a_tree_is_told_and_one_with_its_name_in_the_trash_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let (pods, bin) = (dir.path().join("pods"), dir.path().join("trash"));
        fs::create_dir_all(pods.join("v/full")).unwrap();
        fs::write(pods.join("u"), "x").unwrap();
        let (trash, from) = (Trash::open(&bin).unwrap(), Root::open(&pods).unwrap());
        let mut removal = Removal::default();
        let error = trash.remove(&from, Path::new("u/volumes"), "u", &mut removal, soon()).unwrap_err();
        assert_eq!(error.cause.raw_os_error(), Some(libc::ENOTDIR), "{}", error.line());
        fs::write(bin.join("v.1"), "x").unwrap();
        assert!(!trash.remove(&from, Path::new("v"), "v", &mut removal, Instant::now()).unwrap());
        assert_eq!(
            (names(&pods), names(&bin)),
            (vec!["u".to_string()], ["v.1", "v.2"].map(String::from).into())
        );
    }

    #[test]
    fn a_label_that_begins_like_another_one_is_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("trash");
        let (trash, mut removal) = (Trash::open(&bin).unwrap(), Removal::default());
        for name in ["data.1/x", "data.old.1/x", "data.1.2/x"] {
            fs::create_dir_all(bin.join(name)).unwrap();
        }
        assert_eq!(trash.labels().unwrap(), ["data", "data.old", "data.1"].map(String::from).into());
        assert!(trash.empty(Some("data"), &mut removal, soon()).unwrap());
        assert_eq!(names(&bin), ["data.1.2", "data.old.1"]);
    }

    #[test]
    fn what_an_ended_removal_left_goes_with_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let (pods, bin) = (dir.path().join("pods"), dir.path().join("trash"));
        let trash = Trash::open(&bin).unwrap();
        for name in ["u.1/full", "u.2", "w.1/full"] {
            fs::create_dir_all(bin.join(name)).unwrap();
        }
        fs::write(bin.join("u.3"), "a file").unwrap();
        fs::create_dir_all(pods.join("u/v")).unwrap();
        let (from, mut removal) = (Root::open(&pods).unwrap(), Removal::default());
        assert_eq!(trash.labels().unwrap(), ["u", "w"].map(String::from).into());
        assert!(trash.remove(&from, Path::new("u"), "u", &mut removal, soon()).unwrap());
        assert_eq!(names(&bin), ["w.1"]);
        assert!(trash.empty(None, &mut removal, soon()).unwrap());
        assert_eq!(names(&bin), [""; 0]);
    }
}
