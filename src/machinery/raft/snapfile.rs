//! Snapshots on disk: the whole state in one file, there or not there, never half.
//!
//! `magic 8 | version u32 | crc32 u32 | index, term, conf, data`, named `<index>-<term>.snap` in
//! hexadecimal.

use super::disk::Disk;
use super::message::{Index, SnapshotRef};
use super::wal_error::{WalError, check_version};
use super::{codec, fields};
use bytes::Bytes;
use std::io;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"RWSNAP\r\n";
/// Version 1 is the first; a reader of a later one converts older files here.
const VERSION: u32 = 1;
const HEADER: usize = 16;

fn name(snapshot: &SnapshotRef) -> String {
    format!("{:016x}-{:016x}.snap", snapshot.index, snapshot.term)
}

/// The error of a snapshot that could not be written.
#[derive(Debug)]
pub(super) struct Unwritten {
    pub error: WalError,
    /// The sync of its file failed.
    pub sync: bool,
}

/// Writes a snapshot and makes it durable.
///
/// # Errors
/// `Io` if the file cannot be written, or it or its name cannot be synced. The log still has
/// everything, so the caller may try again later.
pub(crate) fn save(disk: &dyn Disk, dir: &Path, snapshot: &SnapshotRef) -> Result<(), WalError> {
    write(disk, dir, snapshot).map_err(|unwritten| unwritten.error)?;
    disk.sync_dir(dir).map_err(WalError::io("sync", dir))
}

/// Writes a snapshot; its name is durable after a [`Disk::sync_dir`].
pub(super) fn write(disk: &dyn Disk, dir: &Path, snapshot: &SnapshotRef) -> Result<(), Unwritten> {
    let path = dir.join(name(snapshot));
    let temporary = path.with_extension("snap.tmp");
    let mut body = Vec::with_capacity(snapshot.data.len() + 64);
    fields::put_u64(&mut body, snapshot.index);
    fields::put_u64(&mut body, snapshot.term);
    codec::put_conf(&mut body, &snapshot.conf);
    fields::put_bytes(&mut body, &snapshot.data);
    let mut header = MAGIC.to_vec();
    header.extend(VERSION.to_le_bytes());
    header.extend(crc32fast::hash(&body).to_le_bytes());
    let mut sync = false;
    let mut write = || {
        // What does not fit is not begun. It would take the last room for a while, and the log,
        // which needs much less, would find none.
        if disk.free_bytes(dir).is_some_and(|room| room < (HEADER + body.len()) as u64) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut file = disk.create(&temporary, 0)?;
        file.write_at(&header, 0)?;
        file.write_at(&body, HEADER as u64)?;
        file.sync().inspect_err(|_| sync = true)?;
        disk.rename(&temporary, &path)
    };
    let written = write();
    written.map_err(|cause| {
        // Half of a snapshot is of no use, and takes room.
        let _ = disk.remove(&temporary);
        Unwritten { error: WalError::io("write the snapshot", &path)(cause), sync }
    })
}

/// A number as names of files have it: 16 digits.
pub(super) fn hexadecimal(text: &str) -> Option<u64> {
    let digits = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    u64::from_str_radix(text, 16).ok().filter(|_| digits)
}

/// Returns whether this is the name of a snapshot, or with `.snap.tmp` of one that is being
/// written. Other files in the directory are left alone.
fn is_ours(name: &str, ending: &str) -> bool {
    let numbers = name.strip_suffix(ending).and_then(|n| n.split_once('-'));
    numbers.is_some_and(|(index, term)| hexadecimal(index).is_some() && hexadecimal(term).is_some())
}

fn names(disk: &dyn Disk, dir: &Path) -> Result<Vec<String>, WalError> {
    let names = disk.list(dir).map_err(WalError::io("list", dir))?;
    Ok(names.into_iter().filter(|n| is_ours(n, ".snap")).collect())
}

/// Reads the newest snapshot, if there is any.
///
/// # Errors
/// - `Io` if the directory or the file cannot be read. `NotFound` is one that a newer snapshot has
///   just replaced: read again.
/// - `Damaged` if the file does not fit its name, its checksum or its form, and `Newer` if a later
///   version wrote it. An older snapshot does not help: the log before this one is gone.
pub(crate) fn load(disk: &dyn Disk, dir: &Path) -> Result<Option<SnapshotRef>, WalError> {
    let Some(newest) = names(disk, dir)?.pop() else { return Ok(None) }; // names sort by index
    let path = dir.join(&newest);
    let bytes = Bytes::from(disk.read(&path).map_err(WalError::io("read", &path))?);
    let damaged =
        |offset: u64, what: &str| WalError::Damaged { path: path.clone(), offset, what: what.into() };
    if bytes.len() < HEADER || bytes[..8] != MAGIC[..] {
        return Err(damaged(0, "it is not a snapshot"));
    }
    let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    check_version(&path, number(8), VERSION)?;
    if crc32fast::hash(&bytes[HEADER..]) != number(12) {
        return Err(damaged(HEADER as u64, "the checksum does not fit"));
    }
    let r = &mut fields::Reader::new(bytes.slice(HEADER..));
    let mut decode = || {
        let (index, term, conf) = (r.u64()?, r.u64()?, codec::conf(r)?);
        Ok(SnapshotRef { index, term, conf, data: r.bytes()? })
    };
    let snapshot = decode().map_err(|e: fields::DecodeError| damaged(HEADER as u64, &e.to_string()))?;
    // The name decides which file is the newest: an older one under this name would replace it.
    if name(&snapshot) != newest {
        return Err(damaged(HEADER as u64, &format!("it is the snapshot {}", name(&snapshot))));
    }
    Ok(Some(snapshot))
}

/// Deletes all snapshots but the newest, whose name has to be durable.
///
/// # Errors
/// The directory cannot be listed, or a file not deleted.
pub(super) fn clean(disk: &dyn Disk, dir: &Path) -> Result<(), WalError> {
    clean_before(disk, dir, Index::MAX)
}

/// Deletes the snapshots before the durable one up to `index`. A newer one may not be durable yet,
/// so it replaces none. The newest always stays.
///
/// # Errors
/// As [`clean`].
pub(super) fn clean_before(disk: &dyn Disk, dir: &Path, index: Index) -> Result<(), WalError> {
    let mut old = names(disk, dir)?; // sorted by index
    old.pop();
    let first_kept = format!("{index:016x}");
    old.retain(|name| *name < first_kept);
    remove(disk, dir, old)
}

/// Deletes what a crash left half written. Only for [`Wal::open`](super::wal::Wal::open): later, a
/// thread of this member may be writing such a file.
pub(super) fn clean_halves(disk: &dyn Disk, dir: &Path) -> Result<(), WalError> {
    let all = disk.list(dir).map_err(WalError::io("list", dir))?;
    let (halves, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|n| is_ours(n, ".snap.tmp"));
    for other in others.iter().filter(|n| !is_ours(n, ".snap")) {
        tracing::warn!(path = %dir.join(other).display(), "not a snapshot of the log: it stays where it is, and is not read");
    }
    remove(disk, dir, halves)
}

fn remove(disk: &dyn Disk, dir: &Path, names: Vec<String>) -> Result<(), WalError> {
    for path in names.iter().map(|n| dir.join(n)).collect::<Vec<PathBuf>>() {
        match disk.remove(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {} // it is gone: all that was wanted
            removed => removed.map_err(WalError::io("delete", &path))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::ConfState;
    use crate::sim::disk::SimDisk;

    #[test]
    fn a_snapshot_under_the_name_of_another_one_is_refused() {
        let (disk, dir) = (SimDisk::default(), Path::new("/member/snap"));
        let snapshot = |index| SnapshotRef { index, term: 1, conf: ConfState::of([1]), data: "state".into() };
        save(&disk, dir, &snapshot(2)).unwrap();
        disk.rename(&dir.join(name(&snapshot(2))), &dir.join(name(&snapshot(9)))).unwrap();
        let refused = load(&disk, dir).unwrap_err();
        assert!(matches!(refused, WalError::Damaged { .. }), "{refused}");
        assert!(refused.to_string().contains("it is the snapshot 0000000000000002-0000000000000001.snap"));
    }

    #[test]
    fn nothing_is_left_of_a_snapshot_that_was_begun_and_does_not_fit() {
        let (disk, dir) = (SimDisk::default(), Path::new("/member/snap"));
        let data = Bytes::from(vec![7; 10_000]);
        let snapshot = SnapshotRef { index: 2, term: 1, conf: ConfState::of([1]), data };
        disk.set_room(Some(5000));
        disk.hide_room();
        let failed = save(&disk, dir, &snapshot).unwrap_err();
        assert!(failed.is_scarcity(), "{failed}");
        assert!(disk.least_room() < Some(5000), "it was not begun");
        assert_eq!(disk.files(), Vec::<PathBuf>::new());
        disk.set_room(None);
        save(&disk, dir, &snapshot).unwrap();
        assert_eq!(load(&disk, dir).unwrap(), Some(snapshot));
    }
}
