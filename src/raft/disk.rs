//! Files as the log needs them: a seam, so that a simulation can lose power in the middle of a write.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A file system. What is not synced may be lost, or half of it.
pub trait Disk: Send + Sync + 'static {
    /// Makes the directory and its parents, durably.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Names in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// A new file of `len` zeros (durable after a sync); an old one of that name is emptied.
    fn create(&self, path: &Path, len: u64) -> io::Result<Box<dyn DiskFile>>;
    /// An existing file, for writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Durable after [`Disk::sync_dir`], as is every change of names.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes the file and holds a lock on it until the answer is dropped or the process ends. `WouldBlock`: taken.
    fn lock(&self, path: &Path) -> io::Result<DirLock>;
}

/// Held for its drop.
pub type DirLock = Box<dyn std::any::Any + Send>;

/// A file open for writing.
pub trait DiskFile: Send {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes data and length durable. An error is final: what was written may be gone (fsync(2), NOTES).
    fn sync(&mut self) -> io::Result<()>;
}

/// The machine's own file system.
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        let parent = dir.parent().unwrap_or(Path::new("/"));
        self.create_dir(parent)?;
        match fs::create_dir(dir) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
            _ => self.sync_dir(parent),
        }
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }
    fn create(&self, path: &Path, len: u64) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().create(true).write(true).truncate(true).open(path)?;
        // zeros, not a hole: then a write inside changes no metadata and fdatasync has only the data to do
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
        Ok(Box::new(OpenOptions::new().write(true).open(path)?))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
    fn lock(&self, path: &Path) -> io::Result<DirLock> {
        let file = File::create(path)?;
        file.try_lock()?;
        Ok(Box::new(file))
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
