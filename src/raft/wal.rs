//! The log on disk: what was promised survives a power cut.
//!
//! Segments of 4 MiB, filled with zeros in advance. Header: `magic 8 | version u32 | number u64 | crc32 u32`, padded to 32
//! bytes. Then batches, each all or nothing, at multiples of 8:
//! `tag u32 | len u32 | crc32 u32 | 0 u32 | sequence u64 | synced u64 | records`. The checksum covers the segment's number, so
//! that leftovers of another segment never pass. `synced` is the newest batch known to be durable when this one was
//! written: it tells a torn tail (nobody was told that it is durable) from damage (somebody was).

use super::codec::{self, DecodeError, Reader};
use super::core::Stored;
use super::disk::{Disk, DiskFile};
use super::message::{Entry, HardState, Index, SnapshotRef};
use super::{Ready, snapfile};
use bytes::Bytes;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MAGIC: &[u8; 8] = b"RWWAL\r\n\x1a";
/// Version 1 is the first; a reader of a later one converts older segments in `read_segment`.
const VERSION: u32 = 1;
const SEGMENT_HEADER: usize = 32;
const TAG: u32 = 0x4c41_5752;
const BATCH_HEADER: usize = 32;

const HARD: u8 = 1;
const TRUNCATE: u8 = 2;
const ENTRY: u8 = 3;
const SNAPSHOT: u8 = 4;

/// What is wrong with a member's files.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    #[error("cannot {what} {}", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error(
        "{} is damaged at byte {offset}: {what}. What comes after it cannot be trusted. Restore this member's \
         directory from a backup, or delete it and let the member fetch everything from the others; `ropewalk \
         reset` starts an empty cluster", path.display()
    )]
    Damaged { path: PathBuf, offset: u64, what: String },
    #[error("{} was written by a later version (format {version}, this program knows {known}); use that version", path.display())]
    Newer { path: PathBuf, version: u32, known: u32 },
}

impl WalError {
    pub(super) fn io<'a>(what: &'static str, path: &'a Path) -> impl Fn(io::Error) -> WalError + 'a {
        move |cause| WalError::Io { what, path: path.into(), cause }
    }

    /// There is no room, as opposed to something being broken.
    pub fn no_space(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, WalError::Io { cause, .. } if matches!(cause.kind(), StorageFull | QuotaExceeded))
    }

    /// The message with its cause.
    pub fn full_text(&self) -> String {
        match std::error::Error::source(self) {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }
}

/// How a log behaves.
#[derive(Clone, Copy, Debug)]
pub struct WalOptions {
    /// Bytes a segment; a batch that is larger makes its segment larger.
    pub segment_bytes: u64,
    /// Prepare the next segment on a thread of its own. A simulation has no threads.
    pub prepare: bool,
}

impl Default for WalOptions {
    fn default() -> WalOptions {
        WalOptions { segment_bytes: 4 << 20, prepare: true }
    }
}

type Preparing = std::thread::JoinHandle<io::Result<Box<dyn DiskFile>>>;

/// The open log. Owned by one writer.
pub struct Wal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    snap_dir: PathBuf,
    options: WalOptions,
    file: Box<dyn DiskFile>,
    segment: u64,
    offset: u64,
    /// The last batch written; all up to `synced` are durable.
    sequence: u64,
    synced: u64,
    hard: HardState,
    /// The highest index in the open segment, and in each closed one.
    highest: Index,
    closed: Vec<(u64, Index)>,
    preparing: Option<Preparing>,
}

/// What opening the log found.
pub struct Recovered {
    pub stored: Stored,
    /// There was nothing: a new member.
    pub fresh: bool,
    /// Where a torn tail was cut off, if there was one: a crash in the middle of a write.
    pub torn: Option<(PathBuf, u64)>,
}

/// One batch on its way to the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    payload: Vec<u8>,
    hard: Option<HardState>,
    highest: Index,
}

impl Records {
    /// A [`Ready`]'s part for the disk.
    pub fn of(ready: &Ready) -> Records {
        let mut payload = Vec::new();
        if let Some(hard) = &ready.hard {
            payload.push(HARD);
            codec::put_hard(&mut payload, hard);
        }
        if let Some(snapshot) = &ready.snapshot {
            put_snapshot(&mut payload, snapshot);
        }
        if let Some(from) = ready.truncate_from {
            payload.push(TRUNCATE);
            codec::put_u64(&mut payload, from);
        }
        for entry in &ready.append {
            payload.push(ENTRY);
            codec::put_entry(&mut payload, entry);
        }
        Records { payload, hard: ready.hard, highest: ready.append.last().map_or(0, |e| e.index) }
    }

    /// Bytes.
    pub fn size(&self) -> usize {
        self.payload.len()
    }
}

fn put_snapshot(out: &mut Vec<u8>, snapshot: &SnapshotRef) {
    out.push(SNAPSHOT);
    codec::put_u64(out, snapshot.index);
    codec::put_u64(out, snapshot.term);
    codec::put_conf(out, &snapshot.conf);
}

fn segment_name(number: u64) -> String {
    format!("{number:016x}.wal")
}

fn segment_header(number: u64) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend(VERSION.to_le_bytes());
    out.extend(number.to_le_bytes());
    out.extend(crc32fast::hash(&out).to_le_bytes());
    out.resize(SEGMENT_HEADER, 0);
    out
}

fn batch_crc(segment: u64, sequence: u64, synced: u64, payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for n in [segment, sequence, synced, payload.len() as u64] {
        crc.update(&n.to_le_bytes());
    }
    crc.update(payload);
    crc.finalize()
}

fn frame(out: &mut Vec<u8>, segment: u64, sequence: u64, synced: u64, payload: &[u8]) {
    out.extend(TAG.to_le_bytes());
    out.extend((payload.len() as u32).to_le_bytes());
    out.extend(batch_crc(segment, sequence, synced, payload).to_le_bytes());
    out.extend([0; 4]);
    out.extend(sequence.to_le_bytes());
    out.extend(synced.to_le_bytes());
    out.extend_from_slice(payload);
    out.resize(out.len().next_multiple_of(8), 0);
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

struct Batch {
    sequence: u64,
    synced: u64,
    payload: std::ops::Range<usize>,
    end: usize,
}

/// The batch at an offset, if a whole one is there.
fn batch_at(bytes: &[u8], at: usize, segment: u64) -> Option<Batch> {
    if u32_at(bytes, at)? != TAG {
        return None;
    }
    let (len, crc) = (u32_at(bytes, at + 4)? as usize, u32_at(bytes, at + 8)?);
    let (sequence, synced) = (u64_at(bytes, at + 16)?, u64_at(bytes, at + 24)?);
    let payload = at + BATCH_HEADER..(at + BATCH_HEADER).checked_add(len)?;
    let body = bytes.get(payload.clone())?;
    let end = payload.end.next_multiple_of(8);
    (batch_crc(segment, sequence, synced, body) == crc).then_some(Batch { sequence, synced, payload, end })
}

impl Wal {
    /// Opens the log of a member below `dir`, or begins one with the configuration `initial`.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        initial: &SnapshotRef,
        options: WalOptions,
    ) -> Result<(Wal, Recovered), WalError> {
        let (wal_dir, snap_dir) = (dir.join("wal"), dir.join("snap"));
        for dir in [&wal_dir, &snap_dir] {
            disk.create_dir(dir).map_err(WalError::io("make the directory", dir))?;
        }
        let mut segments = Vec::new();
        for name in disk.list(&wal_dir).map_err(WalError::io("list", &wal_dir))? {
            match name.strip_suffix(".wal").and_then(|n| u64::from_str_radix(n, 16).ok()) {
                Some(number) => segments.push(number),
                None => {
                    let path = wal_dir.join(name); // a segment that was being prepared
                    disk.remove(&path).map_err(WalError::io("delete", &path))?;
                }
            }
        }
        let snapshot = snapfile::load(&*disk, &snap_dir)?;
        snapfile::clean(&*disk, &snap_dir)?;
        let mut replay = Replay { snapshot: initial.clone(), ..Replay::default() };
        let (mut torn, mut offset, mut closed) = (None, 0, Vec::new());
        for (i, number) in segments.iter().enumerate() {
            let path = wal_dir.join(segment_name(*number));
            let bytes = Bytes::from(disk.read(&path).map_err(WalError::io("read", &path))?);
            let last = i + 1 == segments.len();
            replay.highest = 0;
            let end = read_segment(&path, &bytes, *number, &mut replay)?;
            offset = end as u64;
            if last && bytes[end..].iter().any(|b| *b != 0) {
                cut_tail(&*disk, &path, &bytes, *number, end, replay.sequence)?;
                torn = Some((path.clone(), offset));
            }
            if !last {
                closed.push((*number, replay.highest));
            }
        }
        let file = match segments.last() {
            Some(number) => {
                let path = wal_dir.join(segment_name(*number));
                let mut file = disk.open(&path).map_err(WalError::io("open", &path))?;
                // what was read may be in the page cache only, and is about to count as durable
                file.sync().map_err(WalError::io("sync", &path))?;
                file
            }
            None => create_segment(&*disk, &wal_dir, 1, options.segment_bytes)
                .and_then(|file| publish_segment(&*disk, &wal_dir, 1).map(|()| file))
                .map_err(WalError::io("make the first segment of", &wal_dir))?,
        };
        let mut wal = Wal {
            dir: wal_dir,
            snap_dir,
            options,
            file,
            segment: segments.last().copied().unwrap_or(1),
            offset: offset.max(SEGMENT_HEADER as u64),
            sequence: replay.sequence,
            synced: replay.sequence,
            hard: replay.hard,
            highest: replay.highest,
            closed,
            preparing: None,
            disk,
        };
        let fresh = replay.sequence == 0;
        if fresh {
            let mut first = Records::default();
            put_snapshot(&mut first.payload, initial);
            wal.append(&[first])?;
        }
        wal.prepare();
        let stored = replay.finish(snapshot, &wal.dir)?;
        Ok((wal, Recovered { stored, fresh, torn }))
    }

    /// Writes batches and makes them durable, all at once. After an error the log must not be used any more.
    pub fn append<'a>(
        &mut self,
        batches: impl IntoIterator<Item = &'a Records> + Clone,
    ) -> Result<(), WalError> {
        let need: usize = batches.clone().into_iter().map(|b| b.size() + BATCH_HEADER + 8).sum();
        let mut out = Vec::with_capacity(need + 64);
        if self.offset + need as u64 > self.options.segment_bytes && self.offset > SEGMENT_HEADER as u64 {
            self.roll()?;
            // each segment can be read without the ones before it
            let mut hard = vec![HARD];
            codec::put_hard(&mut hard, &self.hard);
            self.sequence += 1;
            frame(&mut out, self.segment, self.sequence, self.synced, &hard);
        }
        for batch in batches {
            self.sequence += 1;
            frame(&mut out, self.segment, self.sequence, self.synced, &batch.payload);
            self.hard = batch.hard.unwrap_or(self.hard);
            self.highest = self.highest.max(batch.highest);
        }
        let path = self.dir.join(segment_name(self.segment));
        self.file.write_at(&out, self.offset).map_err(WalError::io("write to", &path))?;
        self.file.sync().map_err(WalError::io("sync", &path))?;
        self.offset += out.len() as u64;
        self.synced = self.sequence;
        Ok(())
    }

    fn roll(&mut self) -> Result<(), WalError> {
        let next = self.segment + 1;
        let made = match self.preparing.take().map(std::thread::JoinHandle::join) {
            Some(Ok(made)) => made,
            Some(Err(_)) | None => create_segment(&*self.disk, &self.dir, next, self.options.segment_bytes),
        };
        let file = made
            .and_then(|file| publish_segment(&*self.disk, &self.dir, next).map(|()| file))
            .map_err(WalError::io("make the next segment of", &self.dir))?;
        self.closed.push((self.segment, self.highest));
        (self.file, self.segment, self.offset, self.highest) = (file, next, SEGMENT_HEADER as u64, 0);
        self.prepare();
        Ok(())
    }

    fn prepare(&mut self) {
        if self.options.prepare {
            let (disk, dir) = (self.disk.clone(), self.dir.clone());
            let (next, size) = (self.segment + 1, self.options.segment_bytes);
            let make = move || create_segment(&*disk, &dir, next, size);
            self.preparing = std::thread::Builder::new().name("wal-prepare".into()).spawn(make).ok();
        }
    }

    /// Makes a snapshot from the leader durable, before the batch that refers to it.
    pub fn save_snapshot(&mut self, snapshot: &SnapshotRef) -> Result<(), WalError> {
        snapfile::save(&*self.disk, &self.snap_dir, snapshot)
    }

    /// Deletes what a durable snapshot up to `upto` makes superfluous.
    pub fn release(&mut self, upto: Index) -> Result<(), WalError> {
        while let Some((number, highest)) = self.closed.first().copied()
            && highest <= upto
        {
            let path = self.dir.join(segment_name(number));
            self.disk.remove(&path).map_err(WalError::io("delete", &path))?;
            self.disk.sync_dir(&self.dir).map_err(WalError::io("sync", &self.dir))?;
            self.closed.remove(0);
        }
        snapfile::clean(&*self.disk, &self.snap_dir)
    }

    /// Segments on disk, the open one included.
    pub fn segments(&self) -> usize {
        self.closed.len() + 1
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        if let Some(preparing) = self.preparing.take() {
            let _ = preparing.join(); // nobody may write to the directory after we are gone
        }
    }
}

fn temporary(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.tmp"))
}

fn create_segment(disk: &dyn Disk, dir: &Path, number: u64, size: u64) -> io::Result<Box<dyn DiskFile>> {
    let mut file = disk.create(&temporary(dir, number), size)?;
    file.write_at(&segment_header(number), 0)?;
    file.sync()?;
    Ok(file)
}

fn publish_segment(disk: &dyn Disk, dir: &Path, number: u64) -> io::Result<()> {
    disk.rename(&temporary(dir, number), &dir.join(segment_name(number)))?;
    disk.sync_dir(dir)
}

/// Replays a segment up to its last whole batch; answers where that ends.
fn read_segment(path: &Path, bytes: &Bytes, number: u64, replay: &mut Replay) -> Result<usize, WalError> {
    let damaged =
        |offset: usize, what: String| WalError::Damaged { path: path.into(), offset: offset as u64, what };
    if bytes.len() < SEGMENT_HEADER || bytes[..8] != MAGIC[..] {
        return Err(damaged(0, "it is not a segment of the log".into()));
    }
    snapfile::check_version(path, u32_at(bytes, 8).unwrap_or(0), VERSION)?;
    if bytes[..SEGMENT_HEADER] != segment_header(number) {
        return Err(damaged(8, "its header does not fit its name".into()));
    }
    let mut at = SEGMENT_HEADER;
    while let Some(batch) = batch_at(bytes, at, number) {
        if replay.sequence > 0 && batch.sequence != replay.sequence + 1 {
            let what =
                format!("batch {} follows batch {}: some are missing", batch.sequence, replay.sequence);
            return Err(damaged(at, what));
        }
        replay.batch(bytes.slice(batch.payload)).map_err(|what| damaged(at, what))?;
        replay.sequence = batch.sequence;
        at = batch.end;
    }
    Ok(at)
}

/// Zeroes what follows the last whole batch, unless a later batch proves that it was durable once.
fn cut_tail(
    disk: &dyn Disk,
    path: &Path,
    bytes: &[u8],
    number: u64,
    end: usize,
    sequence: u64,
) -> Result<(), WalError> {
    let later = (end + 8..bytes.len()).step_by(8).filter_map(|at| batch_at(bytes, at, number));
    for batch in later {
        if batch.synced > sequence {
            let what = format!(
                "batch {} is unreadable, but was durable before batch {}",
                sequence + 1,
                batch.sequence
            );
            return Err(WalError::Damaged { path: path.into(), offset: end as u64, what });
        }
    }
    let cut = || {
        let mut file = disk.open(path)?;
        file.write_at(&vec![0; bytes.len() - end], end as u64)?;
        file.sync()
    };
    cut().map_err(WalError::io("cut the torn tail of", path))
}

#[derive(Default)]
struct Replay {
    hard: HardState,
    snapshot: SnapshotRef,
    entries: Vec<Entry>,
    sequence: u64,
    highest: Index,
}

impl Replay {
    fn batch(&mut self, payload: Bytes) -> Result<(), String> {
        let r = &mut Reader::new(payload);
        while r.left() > 0 {
            self.record(r)?;
        }
        Ok(())
    }

    fn record(&mut self, r: &mut Reader) -> Result<(), String> {
        let text = |e: DecodeError| e.to_string();
        match r.u8().map_err(text)? {
            HARD => self.hard = codec::hard(r).map_err(text)?,
            TRUNCATE => {
                let from = r.u64().map_err(text)?;
                self.entries.retain(|e| e.index < from);
            }
            ENTRY => {
                let entry = codec::entry(r).map_err(text)?;
                if let Some(last) = self.entries.last()
                    && entry.index != last.index + 1
                {
                    return Err(format!("entry {} follows entry {}", entry.index, last.index));
                }
                self.highest = self.highest.max(entry.index);
                self.entries.push(entry);
            }
            SNAPSHOT => {
                let (index, term) = (r.u64().map_err(text)?, r.u64().map_err(text)?);
                let conf = codec::conf(r).map_err(text)?;
                self.snapshot = SnapshotRef { index, term, conf, data: Bytes::new() };
                self.entries.clear();
            }
            n => return Err(format!("unknown record kind {n}")),
        }
        Ok(())
    }

    /// Joins the log with the newest snapshot file.
    fn finish(mut self, file: Option<SnapshotRef>, dir: &Path) -> Result<Stored, WalError> {
        let gap = |what: String| WalError::Damaged { path: dir.into(), offset: 0, what };
        let snapshot = match file {
            Some(file) if file.index >= self.snapshot.index => file,
            _ if self.snapshot.index == 0 => self.snapshot,
            _ => return Err(gap(format!("the snapshot up to entry {} is missing", self.snapshot.index))),
        };
        // Entries behind a snapshot that they do not agree with were never committed.
        let agrees = self.entries.iter().all(|e| e.index != snapshot.index || e.term == snapshot.term);
        self.entries.retain(|e| e.index > snapshot.index && agrees);
        if let Some(first) = self.entries.first()
            && first.index != snapshot.index + 1
        {
            return Err(gap(format!("entries {} to {} are missing", snapshot.index + 1, first.index - 1)));
        }
        Ok(Stored { hard: self.hard, snapshot, entries: self.entries })
    }
}
