//! Files as the log needs them: a seam, so that a simulation can lose power in the middle of a
//! write.

use linux::lock::Lock;
use nix::libc;
use nix::sys::statvfs::{Statvfs, statvfs};
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Descriptors that a [`RealDisk`] holds in reserve.
const RESERVE: usize = 4;

/// Returns whether a call failed only for want of something that comes back by itself (room,
/// descriptors, memory), or because it was interrupted.
pub(crate) fn is_scarcity(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, OutOfMemory, QuotaExceeded, StorageFull, WouldBlock};
    let scarce = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EAGAIN, libc::EINTR];
    matches!(error.kind(), StorageFull | QuotaExceeded | OutOfMemory | WouldBlock | Interrupted)
        || error.raw_os_error().is_some_and(|number| scarce.contains(&number))
}

/// A file system. What is not synced may be lost, or half of it.
pub trait Disk: Send + Sync + 'static {
    /// Makes the directory and its parents, durably.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Names in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// The whole content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// A new file of `len` zeros (durable after a sync); an old one of that name is emptied.
    fn create(&self, path: &Path, len: u64) -> io::Result<Box<dyn DiskFile>>;
    /// An existing file, for writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Durable after [`Disk::sync_dir`], as is every change of names.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes the name of a file. Durable after [`Disk::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that this process can write to new files in this directory, if the file system tells.
    fn free_bytes(&self, dir: &Path) -> Option<u64>;
    /// Makes the file and holds a lock on it until the answer is dropped or the process ends.
    /// `WouldBlock`: taken.
    fn lock(&self, path: &Path) -> io::Result<DirLock>;
}

/// Held for its drop.
pub type DirLock = Box<dyn std::any::Any + Send + Sync>;

/// A file open for writing.
pub trait DiskFile: Send {
    /// Writes all bytes at this offset. What is not synced may be lost, or half of it.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes data and length durable. An error is final: what was written may be gone (fsync(2),
    /// NOTES).
    fn sync(&mut self) -> io::Result<()>;
}

/// The machine's own file system. Clones share what they hold open: a descriptor of each directory
/// that was synced, so that a change of names can be made durable when no descriptor is left, and a
/// few descriptors that are given up for a file that must be opened then.
#[derive(Clone, Default)]
pub struct RealDisk(Arc<Held>);

#[derive(Default)]
struct Held {
    /// By path. As many as there are directories of logs and snapshots.
    dirs: Mutex<BTreeMap<PathBuf, Arc<File>>>,
    /// At most [`RESERVE`].
    reserve: Mutex<Vec<File>>,
    /// Directories whose names are durable. As many as there are directories of logs and snapshots,
    /// and their parents.
    named: Mutex<BTreeSet<PathBuf>>,
}

impl RealDisk {
    fn named(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.0.named.lock()
    }

    fn reserve(&self) -> MutexGuard<'_, Vec<File>> {
        self.0.reserve.lock()
    }

    /// Opens something. If no descriptor is left, one of the reserve is given up for it.
    fn opened<T>(&self, open: impl Fn() -> io::Result<T>) -> io::Result<T> {
        let none_left = |e: &io::Error| matches!(e.raw_os_error(), Some(libc::EMFILE | libc::ENFILE));
        loop {
            match open() {
                Err(e) if none_left(&e) && self.reserve().pop().is_some() => {}
                Err(e) => return Err(e),
                Ok(open) => {
                    let mut reserve = self.reserve();
                    while reserve.len() < RESERVE
                        && let Ok(spare) = File::open("/dev/null")
                    {
                        reserve.push(spare);
                    }
                    return Ok(open);
                }
            }
        }
    }

    fn dir(&self, dir: &Path) -> io::Result<Arc<File>> {
        let mut dirs = self.0.dirs.lock();
        if let Some(open) = dirs.get(dir) {
            return Ok(open.clone());
        }
        let open = Arc::new(self.opened(|| File::open(dir))?);
        dirs.insert(dir.into(), open.clone());
        Ok(open)
    }
}

/// Bytes of the blocks that a process can still write, with or without those that the file system
/// reserves: when `df` says that nothing of an ext4 is available, root can still write 5 % of it. A
/// file system that counts no blocks at all has no limit, or does not tell.
fn writable_bytes(stat: &Statvfs, reserved_too: bool) -> Option<u64> {
    let blocks = if reserved_too { stat.blocks_free() } else { stat.blocks_available() };
    (stat.blocks() > 0).then(|| blocks.saturating_mul(stat.fragment_size()))
}

impl Disk for RealDisk {
    /// A directory that is found may have been made a moment ago, by a program that ended before it
    /// made the name durable. So its name is made durable, too, and its parents' names. A parent
    /// that this program may not read was made by another one, and one that cannot be synced is on
    /// a file system that has no need of it.
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let parent = match dir.parent() {
            _ if dir == Path::new(".") => return Ok(()),
            None => return Ok(()), // the root
            Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
            Some(parent) => parent,
        };
        if self.named().contains(dir) && dir.is_dir() {
            return Ok(());
        }
        self.create_dir(parent)?;
        let found = dir.is_dir();
        if !found {
            match fs::create_dir(dir) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => drop(self.0.dirs.lock().remove(dir)), // the one of that name was deleted
            }
        }
        use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
        match self.opened(|| File::open(parent)).and_then(|parent| parent.sync_all()) {
            Err(e) if found && matches!(e.kind(), InvalidInput | PermissionDenied | Unsupported) => {}
            synced => synced?,
        }
        self.named().insert(dir.into());
        Ok(())
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in self.opened(|| fs::read_dir(dir))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.opened(|| fs::read(path))
    }
    fn create(&self, path: &Path, len: u64) -> io::Result<Box<dyn DiskFile>> {
        let make = || OpenOptions::new().create(true).write(true).truncate(true).open(path);
        let file = self.opened(make)?;
        // zeros, not a hole: then a write inside changes no metadata and fdatasync has only the
        // data to do
        let zeros = vec![0u8; 1 << 18];
        let mut at = 0;
        while at < len {
            let n = zeros.len().min((len - at) as usize);
            file.write_all_at(&zeros[..n], at)?;
            at += n as u64;
        }
        Ok(Box::new(file))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(self.opened(|| OpenOptions::new().write(true).open(path))?))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.dir(dir)?.sync_all()
    }
    fn free_bytes(&self, dir: &Path) -> Option<u64> {
        writable_bytes(&statvfs(dir).ok()?, linux::limits::writes_reserved_blocks())
    }
    fn lock(&self, path: &Path) -> io::Result<DirLock> {
        // Unlocked when it is dropped: a process that another thread has just made holds a copy of
        // the file until it runs its program.
        let lock = self.opened(|| Lock::take(path, Duration::ZERO))?;
        Ok(Box::new(lock))
    }
}

impl DiskFile for File {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_directories_that_are_found_are_made_durable() {
        let home = tempfile::tempdir().expect("a directory");
        let found = home.path().join("member");
        fs::create_dir(&found).expect("a directory"); // and the power may go before its name is durable
        let disk = RealDisk::default();
        disk.create_dir(&found.join("wal")).expect("a directory");
        let named = disk.named().clone();
        for dir in [found.join("wal").as_path(), &found, home.path()] {
            assert!(named.contains(dir), "{named:?}");
        }
        fs::remove_dir(found.join("wal")).expect("it is empty");
        disk.create_dir(&found.join("wal")).expect("a directory");
        assert!(found.join("wal").is_dir(), "one that was deleted is made again");
    }

    /// The descriptor that is held open is that of the deleted directory: a sync of it would
    /// succeed, and make no name durable.
    #[test]
    fn a_directory_that_is_made_again_is_the_one_that_is_synced() {
        use std::os::unix::fs::MetadataExt;
        let home = tempfile::tempdir().expect("a directory");
        let (disk, dir) = (RealDisk::default(), home.path().join("wal"));
        for round in 0..2 {
            disk.create_dir(&dir).expect("a directory");
            disk.sync_dir(&dir).expect("it is synced");
            let synced = disk.dir(&dir).expect("it is open").metadata().expect("it is open");
            let there = fs::metadata(&dir).expect("it is there");
            assert_eq!(synced.ino(), there.ino(), "round {round}");
            fs::remove_dir(&dir).expect("it is empty");
        }
    }

    /// They differ by the reserve, on a file system that has one.
    #[test]
    fn root_s_own_room_counts_for_a_process_that_can_write_it() {
        let home = tempfile::tempdir().expect("a directory");
        let stat = statvfs(home.path()).expect("a file system");
        if stat.blocks() == 0 {
            return; // it does not tell
        }
        let bytes = |blocks: u64| Some(blocks * stat.fragment_size());
        assert_eq!(writable_bytes(&stat, true), bytes(stat.blocks_free()));
        assert_eq!(writable_bytes(&stat, false), bytes(stat.blocks_available()));
    }

    #[test]
    fn a_relative_path_of_one_part_can_be_made() {
        struct Removed(PathBuf);
        impl Drop for Removed {
            fn drop(&mut self) {
                let _ = fs::remove_dir(&self.0); // it may not have been made
            }
        }
        let name = Removed(format!("raft-disk-test-{}", std::process::id()).into());
        RealDisk::default().create_dir(&name.0).expect("a directory");
        assert!(name.0.is_dir());
    }
}
