//! The folder in which the lines of cases are typed: remembered when a step begins, and put back
//! after each case.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Folders in it that are Ropewalk's own: the cluster works in them, so they are left alone.
const OWN: [&str; 3] = ["bin", "clusters", "lessons"];

/// The permission bits of a mode. Source: inode(7).
const PERMISSIONS: u32 = 0o7777;

#[derive(PartialEq)]
enum Entry {
    File {
        bytes: Vec<u8>,
        mode: u32,
    },
    Folder {
        mode: u32,
    },
    Link(PathBuf),
    /// A pipe or a socket. It can be removed, and cannot be made again.
    Other,
}

/// All that is in a folder, and in the folders below it.
pub(super) struct Folder {
    path: PathBuf,
    /// In the order of their paths: a folder stands before its contents.
    entries: BTreeMap<PathBuf, Entry>,
}

impl Folder {
    /// Reads the folder with its files, folders, links and modes.
    ///
    /// # Errors
    /// Names the file or folder that cannot be read.
    pub(super) fn of(path: &Path) -> Result<Folder, String> {
        let (mut entries, mut unread) = (BTreeMap::new(), vec![path.to_path_buf()]);
        while let Some(folder) = unread.pop() {
            for entry in fs::read_dir(&folder).map_err(|e| failed(&folder, &e))? {
                let inner = entry.map_err(|e| failed(&folder, &e))?.path();
                if OWN.iter().any(|own| path.join(own) == inner) {
                    continue;
                }
                let found = match Entry::at(&inner) {
                    Ok(found) => found,
                    Err(e) if e.kind() == ErrorKind::NotFound => continue, // it went meanwhile
                    Err(e) => return Err(failed(&inner, &e)),
                };
                if matches!(found, Entry::Folder { .. }) {
                    unread.push(inner.clone());
                }
                entries.insert(inner, found);
            }
        }
        Ok(Folder { path: path.into(), entries })
    }

    /// Removes what is new, and restores what was changed or removed.
    ///
    /// # Errors
    /// Names the file or folder that cannot be read, removed or restored.
    pub(super) fn put_back(&self) -> Result<(), String> {
        // A case may have taken the permission to look into a folder, or to write there.
        self.set_modes(0o700)?;
        let now = Folder::of(&self.path)?;
        for (path, entry) in now.entries.iter().rev() {
            if !self.entries.get(path).is_some_and(|before| before.is_kept_as(entry)) {
                entry.remove(path).map_err(|e| failed(path, &e))?;
            }
        }
        for (path, entry) in &self.entries {
            if !now.entries.get(path).is_some_and(|found| entry.is_kept_as(found)) {
                entry.restore(path).map_err(|e| failed(path, &e))?;
            }
        }
        self.set_modes(0)
    }

    /// Gives the folders that are still there their modes, and these bits beside. The innermost
    /// come last when bits are added, and first when they are taken.
    fn set_modes(&self, beside: u32) -> Result<(), String> {
        let folders = self.entries.iter().filter_map(|(path, entry)| match entry {
            Entry::Folder { mode } => Some((path, mode | beside)),
            _ => None,
        });
        let mut folders: Vec<_> = folders.collect();
        if beside == 0 {
            folders.reverse();
        }
        for (path, mode) in folders {
            if fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
                let set = fs::set_permissions(path, Permissions::from_mode(mode));
                set.map_err(|e| failed(path, &e))?;
            }
        }
        Ok(())
    }
}

impl Entry {
    /// Reads what is at a path. A link is not followed.
    fn at(path: &Path) -> io::Result<Entry> {
        let metadata = fs::symlink_metadata(path)?;
        let (kind, mode) = (metadata.file_type(), metadata.mode() & PERMISSIONS);
        Ok(if kind.is_dir() {
            Entry::Folder { mode }
        } else if kind.is_symlink() {
            Entry::Link(fs::read_link(path)?)
        } else if kind.is_file() {
            Entry::File { bytes: fs::read(path)?, mode }
        } else {
            Entry::Other
        })
    }

    /// Whether the one can stay where the other is wanted. The modes of folders are set apart.
    fn is_kept_as(&self, other: &Entry) -> bool {
        matches!((self, other), (Entry::Folder { .. }, Entry::Folder { .. })) || self == other
    }

    /// Removes the entry at this path; a folder is empty by then.
    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = match self {
            Entry::Folder { .. } => fs::remove_dir(path),
            _ => fs::remove_file(path),
        };
        removed.or_else(|e| if e.kind() == ErrorKind::NotFound { Ok(()) } else { Err(e) })
    }

    /// Makes the entry at this path, where nothing is.
    fn restore(&self, path: &Path) -> io::Result<()> {
        match self {
            Entry::File { bytes, mode } => {
                fs::write(path, bytes)?;
                fs::set_permissions(path, Permissions::from_mode(*mode))
            }
            Entry::Folder { mode } => {
                fs::create_dir(path)?;
                fs::set_permissions(path, Permissions::from_mode(mode | 0o700)) // until it is full
            }
            Entry::Link(target) => symlink(target, path),
            Entry::Other => Err(io::Error::other("a pipe or socket is gone and cannot be made again")),
        }
    }
}

fn failed(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ground(tempfile::TempDir);

    impl Ground {
        fn at(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn mode(&self, name: &str) -> u32 {
            fs::metadata(self.at(name)).unwrap().mode() & PERMISSIONS
        }

        fn set_mode(&self, name: &str, mode: u32) {
            fs::set_permissions(self.at(name), Permissions::from_mode(mode)).unwrap();
        }

        fn read(&self, name: &str) -> String {
            fs::read_to_string(self.at(name)).unwrap()
        }
    }

    #[test]
    fn files_of_a_case_are_gone_before_the_next() {
        let ground = Ground(tempfile::tempdir().unwrap());
        for name in ["kept", "changed"] {
            fs::write(ground.at(name), name).unwrap();
        }
        let folder = Folder::of(ground.0.path()).unwrap();
        fs::write(ground.at("new"), "").unwrap();
        fs::write(ground.at("changed"), "otherwise").unwrap();
        fs::remove_file(ground.at("kept")).unwrap();
        folder.put_back().unwrap();
        assert!(!ground.at("new").exists());
        assert_eq!(["kept", "changed"].map(|name| ground.read(name)), ["kept", "changed"]);
    }

    #[test]
    fn folders_and_links_of_a_case_are_gone_before_the_next() {
        let ground = Ground(tempfile::tempdir().unwrap());
        fs::create_dir_all(ground.at("shop/deep")).unwrap();
        fs::write(ground.at("shop/deep/page"), "page").unwrap();
        fs::write(ground.at("shop/list"), "list").unwrap();
        symlink("shop/list", ground.at("link")).unwrap();
        let folder = Folder::of(ground.0.path()).unwrap();
        fs::create_dir_all(ground.at("new/deep")).unwrap();
        fs::write(ground.at("new/deep/page"), "").unwrap();
        symlink("shop", ground.at("new/link")).unwrap();
        fs::remove_dir_all(ground.at("shop/deep")).unwrap();
        fs::write(ground.at("shop/deep"), "a file").unwrap();
        fs::remove_file(ground.at("shop/list")).unwrap();
        fs::create_dir(ground.at("shop/list")).unwrap();
        fs::remove_file(ground.at("link")).unwrap();
        symlink("elsewhere", ground.at("link")).unwrap();
        folder.put_back().unwrap();
        assert!(!ground.at("new").exists());
        assert_eq!(["shop/deep/page", "shop/list"].map(|name| ground.read(name)), ["page", "list"]);
        assert_eq!(fs::read_link(ground.at("link")).unwrap(), Path::new("shop/list"));
    }

    #[test]
    fn modes_that_a_case_set_are_gone_before_the_next() {
        let ground = Ground(tempfile::tempdir().unwrap());
        fs::create_dir(ground.at("shop")).unwrap();
        for name in ["shop/run", "shop/page"] {
            fs::write(ground.at(name), name).unwrap();
        }
        ground.set_mode("shop/run", 0o755);
        ground.set_mode("shop", 0o550);
        let folder = Folder::of(ground.0.path()).unwrap();
        ground.set_mode("shop", 0o700);
        ground.set_mode("shop/run", 0o600);
        fs::remove_file(ground.at("shop/page")).unwrap();
        ground.set_mode("shop", 0);
        folder.put_back().unwrap();
        assert_eq!((ground.mode("shop"), ground.mode("shop/run")), (0o550, 0o755));
        assert_eq!(ground.read("shop/page"), "shop/page");
        ground.set_mode("shop", 0o700); // so that it can be removed
    }

    #[test]
    fn the_clusters_own_files_are_left_alone() {
        let ground = Ground(tempfile::tempdir().unwrap());
        fs::create_dir(ground.at("clusters")).unwrap();
        let folder = Folder::of(ground.0.path()).unwrap();
        fs::write(ground.at("clusters/log"), "log").unwrap();
        folder.put_back().unwrap();
        assert_eq!(ground.read("clusters/log"), "log");
    }
}
