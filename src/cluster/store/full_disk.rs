//! A disk that can be full: the machine's own, until `ropewalk fault disk full` fills it for a
//! node.

use parking_lot::{Mutex, MutexGuard};
use raft::disk::{DirLock, Disk, DiskFile, RealDisk};
use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The nodes whose stores find no room.
#[derive(Clone, Default)]
pub(crate) struct FullDisks(Arc<Mutex<BTreeSet<String>>>);

impl FullDisks {
    fn all(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock()
    }

    /// Makes every write of this node's store fail with `ENOSPC` from now on.
    pub(crate) fn fill(&self, node: &str) {
        self.all().insert(node.into());
    }

    /// Returns whether writes of this node's store fail.
    pub(crate) fn is_full(&self, node: &str) -> bool {
        self.all().contains(node)
    }

    /// Makes room on every disk again.
    pub(crate) fn empty(&self) {
        self.all().clear();
    }

    /// Returns the disk that the store of this node writes to, now and after a restart.
    pub(crate) fn of(&self, node: &str) -> Arc<dyn Disk> {
        Arc::new(NodeDisk { node: node.into(), full: self.clone(), real: RealDisk::default() })
    }
}

/// Refuses every write, as a copy-on-write file system does when it is full: space that the log has
/// preallocated does not help. Existing files can be read, renamed and deleted.
#[derive(Clone)]
struct NodeDisk {
    node: String,
    full: FullDisks,
    real: RealDisk,
}

impl NodeDisk {
    fn room(&self) -> io::Result<()> {
        match self.full.is_full(&self.node) {
            true => Err(io::Error::from_raw_os_error(nix::libc::ENOSPC)),
            false => Ok(()),
        }
    }
    fn file(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(NodeFile { file, disk: self.clone() })
    }
}

impl Disk for NodeDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        self.real.create_dir(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.real.list(dir)
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.real.read(path)
    }
    fn create(&self, path: &Path, len: u64) -> io::Result<Box<dyn DiskFile>> {
        self.room()?;
        self.real.create(path, len).map(|file| self.file(file))
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.real.open(path).map(|file| self.file(file))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.real.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.real.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.real.sync_dir(dir)
    }
    fn free_bytes(&self, dir: &Path) -> Option<u64> {
        self.real.free_bytes(dir)
    }
    fn lock(&self, path: &Path) -> io::Result<DirLock> {
        self.real.lock(path)
    }
}

struct NodeFile {
    file: Box<dyn DiskFile>,
    disk: NodeDisk,
}

impl DiskFile for NodeFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.room()?;
        self.file.write_at(bytes, offset)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_s_disk_is_full_and_has_room_again() {
        let dir = tempfile::tempdir().unwrap();
        let disks = FullDisks::default();
        let (disk, other) = (disks.of("n1"), disks.of("n2"));
        let path = dir.path().join("a");
        let mut file = disk.create(&path, 4).unwrap();
        file.write_at(b"full", 0).unwrap();
        disks.fill("n1");
        let refused = file.write_at(b"more", 0).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
        assert!(disk.create(&dir.path().join("b"), 4).is_err());
        assert_eq!(disk.read(&path).unwrap(), b"full");
        other.create(&dir.path().join("c"), 4).unwrap();
        disks.empty();
        file.write_at(b"more", 0).unwrap();
        assert_eq!(disk.read(&path).unwrap(), b"more");
    }
}
