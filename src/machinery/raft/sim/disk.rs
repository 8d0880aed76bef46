//! A disk in memory. What was not synced is kept in part, torn, or lost when the power goes.

use crate::disk::{DirLock, Disk, DiskFile};
use parking_lot::{Mutex, MutexGuard};
use rng::Rng;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What a disk writes as a whole, or not at all.
const SECTOR: usize = 512;

#[derive(Clone, Default)]
struct Inode {
    durable: Vec<u8>,
    seen: Vec<u8>,
    /// Writes since the last sync, oldest first.
    pending: Vec<(usize, Vec<u8>)>,
}

#[derive(Clone)]
enum NameOp {
    Link(PathBuf, usize),
    /// From, to, and the file: its new name may be durable though the old one never was.
    Rename(PathBuf, PathBuf, usize),
    Remove(PathBuf),
}

fn rename(names: &mut BTreeMap<PathBuf, usize>, op: &NameOp) {
    match op {
        NameOp::Link(path, inode) => drop(names.insert(path.clone(), *inode)),
        NameOp::Rename(from, to, inode) => {
            names.remove(from);
            names.insert(to.clone(), *inode);
        }
        NameOp::Remove(path) => drop(names.remove(path)),
    }
}

fn write(content: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if content.len() < at + bytes.len() {
        content.resize(at + bytes.len(), 0);
    }
    content[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Of a write, the beginning arrives, or any of its sectors in any order.
fn tear(content: &mut Vec<u8>, at: usize, bytes: &[u8], rng: &Rng) {
    if rng.chance(0.5) {
        return write(content, at, &bytes[..rng.range(0, bytes.len() as u64) as usize]);
    }
    let mut from = 0;
    while from < bytes.len() {
        let to = ((at + from + 1).next_multiple_of(SECTOR) - at).min(bytes.len());
        if rng.chance(0.5) {
            write(content, at + from, &bytes[from..to]);
        }
        from = to;
    }
}

/// Bytes that still fit.
#[derive(Clone, Copy)]
struct Room {
    bytes: usize,
    /// The fewest that there have been.
    least: usize,
    /// Every write takes new room, as on a file system that copies on write; else only one that
    /// makes a file longer.
    always: bool,
}

impl Room {
    fn take(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.least = self.least.min(self.bytes);
    }
}

#[derive(Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    pending_names: Vec<NameOp>,
    room: Option<Room>,
    /// It does not tell how much room there is.
    hides_room: bool,
    broken_sync: bool,
    /// A sync that fails leaves nothing for the next one to do, as Linux does it.
    forgets: bool,
    /// Syncs of this directory, or file, fail.
    broken_path: Option<PathBuf>,
    /// No file can be deleted.
    keeps: bool,
    /// Every write panics.
    panics: bool,
    /// A member holds the lock; and how many syncs there had been when the last one let it go.
    locked: bool,
    syncs_at_unlock: u64,
    /// What every opening of a file answers.
    scarce: Option<i32>,
    sync_takes: Duration,
    syncs: u64,
    /// Syncs that have begun.
    begun: u64,
}

/// Clones are handles to the same disk.
#[derive(Clone, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

impl SimDisk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// Cuts the power. Of the changes of names that were not synced, any subset is durable. Of the
    /// writes to each file that were not synced, a prefix is durable, and its last write may be
    /// torn.
    pub fn crash(&self, rng: &Rng) {
        let mut state = self.lock();
        // nothing orders them: any of them may have reached the platter
        let ops: Vec<NameOp> = state.pending_names.drain(..).filter(|_| rng.chance(0.5)).collect();
        for op in &ops {
            rename(&mut state.durable_names, op);
        }
        state.names = state.durable_names.clone();
        for inode in &mut state.inodes {
            let pending = std::mem::take(&mut inode.pending);
            let kept = rng.range(0, pending.len() as u64 + 1) as usize;
            for (i, (at, bytes)) in pending[..kept].iter().enumerate() {
                match i + 1 == kept && rng.chance(0.8) {
                    true => tear(&mut inode.durable, *at, bytes, rng),
                    false => write(&mut inode.durable, *at, bytes),
                }
            }
            inode.seen = inode.durable.clone();
        }
    }

    /// From now on only `room` new bytes fit; `None` takes the limit away.
    pub fn set_room(&self, room: Option<usize>) {
        self.lock().room = room.map(|bytes| Room { bytes, least: bytes, always: false });
    }

    /// From now on only `bytes` fit, also where there is a file already.
    pub fn fill(&self, bytes: usize) {
        self.lock().room = Some(Room { bytes, least: bytes, always: true });
    }

    /// The fewest bytes that have been free since the room was limited; `None` if it is not.
    pub fn least_room(&self) -> Option<usize> {
        self.lock().room.map(|room| room.least)
    }

    /// From now on it does not tell how much room there is, as some file systems.
    pub fn hide_room(&self) {
        self.lock().hides_room = true;
    }

    /// From now on nothing can be opened: the system answers with this error (`EMFILE`, …). What is
    /// open stays so. `None` mends it.
    pub fn set_scarce(&self, errno: Option<i32>) {
        self.lock().scarce = errno;
    }

    /// From now on every sync fails.
    pub fn break_sync(&self) {
        self.lock().broken_sync = true;
    }

    /// From now on every sync fails, and what it did not write is taken for clean: programs still
    /// read it, and no later sync writes it.
    pub fn break_writeback(&self) {
        let mut state = self.lock();
        (state.broken_sync, state.forgets) = (true, true);
    }

    /// From now on syncs of this directory, or file, fail; `None` mends it.
    pub fn break_sync_of(&self, path: Option<&Path>) {
        self.lock().broken_path = path.map(Path::to_path_buf);
    }

    /// From now on no file can be deleted; or they can again.
    pub fn keep_files(&self, keeps: bool) {
        self.lock().keeps = keeps;
    }

    /// From now on every write panics.
    pub fn panic_on_write(&self) {
        self.lock().panics = true;
    }

    /// How many syncs have begun, also those that failed.
    pub fn syncs_begun(&self) -> u64 {
        self.lock().begun
    }

    /// Syncs succeed again.
    pub fn mend_sync(&self) {
        let mut state = self.lock();
        (state.broken_sync, state.forgets) = (false, false);
    }

    /// `None` while a member holds the directory's lock; else how many syncs there had been when it
    /// was let go.
    pub fn unlocked(&self) -> Option<u64> {
        let state = self.lock();
        (!state.locked).then_some(state.syncs_at_unlock)
    }

    /// Makes every sync take this long, on the real clock.
    pub fn slow_down(&self, sync_takes: Duration) {
        self.lock().sync_takes = sync_takes;
    }

    /// How many syncs have succeeded.
    pub fn syncs(&self) -> u64 {
        self.lock().syncs
    }

    /// Changes a byte without a write, as a failing disk does.
    pub fn corrupt(&self, path: &Path, at: usize, mask: u8) {
        self.spoil(path, |content| content[at] ^= mask);
    }

    /// Cuts a file without a call of the member.
    pub fn truncate(&self, path: &Path, len: usize) {
        self.spoil(path, |content| content.truncate(len));
    }

    fn spoil(&self, path: &Path, how: impl Fn(&mut Vec<u8>)) {
        let mut state = self.lock();
        let inode = state.names[path];
        let inode = &mut state.inodes[inode];
        how(&mut inode.durable);
        how(&mut inode.seen);
    }

    /// The paths of all files, sorted.
    pub fn files(&self) -> Vec<PathBuf> {
        self.lock().names.keys().cloned().collect()
    }
}

impl State {
    /// Changes a name. A file that has no name any more gives its room back.
    fn rename(&mut self, op: NameOp) {
        let replaced = match &op {
            NameOp::Link(path, _) | NameOp::Rename(_, path, _) | NameOp::Remove(path) => path,
        };
        let gone = self.names.get(replaced).copied();
        rename(&mut self.names, &op);
        self.pending_names.push(op);
        if let Some(room) = &mut self.room
            && let Some(inode) = gone.filter(|inode| self.names.values().all(|other| other != inode))
        {
            room.bytes += self.inodes[inode].seen.len();
        }
    }

    fn may_open(&self) -> io::Result<()> {
        self.scarce.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }
}

struct SimFile(SimDisk, usize);

impl Disk for SimDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.lock();
        state.may_open()?;
        let here = state.names.keys().filter(|p| p.parent() == Some(dir));
        Ok(here.filter_map(|p| Some(p.file_name()?.to_str()?.to_string())).collect())
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.lock();
        state.may_open()?;
        let inode = state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(state.inodes[*inode].seen.clone())
    }
    fn create(&self, path: &Path, len: u64) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock();
        state.may_open()?;
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.rename(NameOp::Link(path.into(), inode)); // an old file gives its room back
        let mut fits = len as usize;
        if let Some(room) = &mut state.room {
            if room.bytes < fits {
                fits = room.bytes / SECTOR * SECTOR;
            }
            room.take(fits);
        }
        state.inodes[inode].seen = vec![0; fits];
        state.inodes[inode].pending.push((0, vec![0; fits]));
        match fits == len as usize {
            true => Ok(Box::new(SimFile(self.clone(), inode))),
            false => Err(io::ErrorKind::StorageFull.into()), // what fitted stays
        }
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let state = self.lock();
        state.may_open()?;
        let inode = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(SimFile(self.clone(), inode)))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let inode = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        state.rename(NameOp::Rename(from.into(), to.into(), inode));
        Ok(())
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        if state.keeps {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.rename(NameOp::Remove(path.into()));
        Ok(())
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.lock();
        if state.broken_path.as_deref() == Some(dir) {
            return Err(io::Error::other("input/output error"));
        }
        let ops = std::mem::take(&mut state.pending_names);
        let (done, rest): (Vec<NameOp>, Vec<NameOp>) =
            ops.into_iter().partition(|op| op.path().parent() == Some(dir));
        state.pending_names = rest;
        done.iter().for_each(|op| rename(&mut state.durable_names, op));
        Ok(())
    }
    fn free_bytes(&self, _: &Path) -> Option<u64> {
        let state = self.lock();
        state.room.filter(|_| !state.hides_room).map(|room| room.bytes as u64)
    }
    fn lock(&self, _: &Path) -> io::Result<DirLock> {
        match std::mem::replace(&mut self.lock().locked, true) {
            true => Err(io::ErrorKind::WouldBlock.into()),
            false => Ok(Box::new(Locked(self.clone()))),
        }
    }
}

/// The lock of the directory: its owner alone may use the files.
struct Locked(SimDisk);

impl Drop for Locked {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        (state.locked, state.syncs_at_unlock) = (false, state.syncs);
    }
}

impl NameOp {
    /// The name that it is about; both names of a renaming are in one directory.
    fn path(&self) -> &Path {
        match self {
            NameOp::Link(path, _) | NameOp::Rename(path, ..) | NameOp::Remove(path) => path,
        }
    }
}

impl DiskFile for SimFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        assert!(!self.0.lock().panics, "planted");
        let mut state = self.0.lock();
        let (at, has) = (offset as usize, state.inodes[self.1].seen.len());
        let mut fits = bytes.len();
        if let Some(room) = &mut state.room {
            let free = if room.always { 0 } else { has.saturating_sub(at) };
            if free + room.bytes < bytes.len() {
                // what comes before the sector that needs room has been written
                fits = ((at + free + room.bytes) / SECTOR * SECTOR).saturating_sub(at);
            }
            room.take(fits.saturating_sub(free));
        }
        if fits > 0 {
            let inode = &mut state.inodes[self.1];
            write(&mut inode.seen, at, &bytes[..fits]);
            inode.pending.push((at, bytes[..fits].to_vec()));
        }
        match fits == bytes.len() {
            true => Ok(()),
            false => Err(io::ErrorKind::StorageFull.into()),
        }
    }
    fn sync(&mut self) -> io::Result<()> {
        let takes = {
            let mut state = self.0.lock();
            state.begun += 1;
            state.sync_takes
        };
        if !takes.is_zero() {
            std::thread::sleep(takes);
        }
        let mut state = self.0.lock();
        let broken = state.broken_path.as_ref().and_then(|path| state.names.get(path));
        if state.broken_sync || broken == Some(&self.1) {
            if state.forgets {
                state.inodes[self.1].pending.clear();
            }
            return Err(io::Error::other("input/output error"));
        }
        state.syncs += 1;
        let inode = &mut state.inodes[self.1];
        for (at, bytes) in std::mem::take(&mut inode.pending) {
            write(&mut inode.durable, at, &bytes);
        }
        Ok(())
    }
}
