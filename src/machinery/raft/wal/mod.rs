//! The log on disk: what was promised survives a power cut.
//!
//! Segments of 4 MiB (see `segment` for their form), filled with zeros in advance: a write then
//! changes no metadata, and what it did not reach is seen. A torn tail is a write that a crash
//! interrupted, so no member acknowledged it: it is cut off. Everything else that cannot be read is
//! damage, and the log is refused. There is one limit: a durable last batch with long runs of zeros
//! in it, and a bit that has changed since, is taken for a torn tail (`segment` says why).

use super::core::Stored;
use super::disk::{Disk, DiskFile, is_scarcity};
use super::message::{HardState, Index, SnapshotRef, Term};
use super::records::Records;
use super::segment::{self, HEADER, Replay, Segment};
use super::snapfile;
use super::wal_error::WalError;
use bytes::Bytes;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Settings of a log.
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

type Preparing = std::thread::JoinHandle<Result<Box<dyn DiskFile>, Unmade>>;

/// The error of a segment that could not be made.
struct Unmade {
    cause: io::Error,
    /// The sync of the segment failed.
    sync: bool,
}

impl Unmade {
    /// A sync that fails and lacks nothing is the disk's end, also if the segment was made ahead of
    /// time: the next sync may only seem to do better.
    fn is_final(&self) -> bool {
        self.sync && !is_scarcity(&self.cause)
    }
}

impl From<io::Error> for Unmade {
    fn from(cause: io::Error) -> Unmade {
        Unmade { cause, sync: false }
    }
}

/// A segment that is written no more.
#[derive(Clone, Copy)]
struct Closed {
    number: u64,
    /// The highest index in it.
    highest: Index,
    /// At least one batch was written to it.
    has_batch: bool,
}

/// The open log. Owned by one writer.
pub(crate) struct Wal {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    snap_dir: PathBuf,
    options: WalOptions,
    file: Box<dyn DiskFile>,
    segment: u64,
    offset: u64,
    /// Bytes of the open segment.
    length: u64,
    /// Nothing that was written may have been lost: no sync of the open segment has failed, and no
    /// other sync for another reason than scarcity.
    sound: bool,
    /// The write that failed last may have put bytes into the open segment.
    begun: bool,
    /// The last batch written; all up to `synced` are durable.
    sequence: u64,
    synced: u64,
    hard: HardState,
    /// The highest index in the open segment.
    highest: Index,
    closed: Vec<Closed>,
    preparing: Option<Preparing>,
    /// Index and term of a leader's snapshot that is written, while the batch that refers to it is
    /// not: a retry of both needs no room for a second copy.
    saved: Option<(Index, Term)>,
}

/// The result of opening a log.
pub(crate) struct Recovered {
    /// The state with which the core begins.
    pub stored: Stored,
    /// File and byte at which a torn tail was cut off, if there was one: a crash interrupted a
    /// write.
    pub torn: Option<(PathBuf, u64)>,
}

fn segment_name(number: u64) -> String {
    format!("{number:016x}.wal")
}

impl Wal {
    /// Opens the log of a member below `dir`, or begins one with the configuration `initial`.
    ///
    /// # Errors
    /// `Io` if a file cannot be read, written or synced; [scarcity](WalError::is_scarcity) may
    /// pass, so try again. The texts of `Damaged` and `Newer` say what to do.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        initial: &SnapshotRef,
        options: WalOptions,
    ) -> Result<(Wal, Recovered), WalError> {
        let (wal_dir, snap_dir) = (dir.join("wal"), dir.join("snap"));
        for dir in [&wal_dir, &snap_dir] {
            disk.create_dir(dir).map_err(WalError::io("make the directory", dir))?;
        }
        let segments = list_segments(&*disk, &wal_dir)?;
        let snapshot = snapfile::load(&*disk, &snap_dir)?;
        for dir in [&wal_dir, &snap_dir] {
            // From now on the disk holds both open. A name that was found may not be durable yet:
            // it has to be before older files are deleted for it, and before anything that it names
            // counts.
            disk.sync_dir(dir).map_err(WalError::io("sync", dir))?;
        }
        snapfile::clean_halves(&*disk, &snap_dir)?;
        snapfile::clean(&*disk, &snap_dir)?;
        let read = read_segments(&*disk, &wal_dir, &segments, Replay::from(initial), options.segment_bytes)?;
        let ReadLog { replay, closed, offset, length, newest, torn } = read;
        let fresh = replay.sequence == 0;
        if let Some(snapshot) = snapshot.as_ref().filter(|_| fresh) {
            // The first batch is durable before any snapshot is made.
            let what = format!("the log is gone, and the snapshot up to entry {} is not", snapshot.index);
            return Err(WalError::Damaged { path: wal_dir, offset: 0, what });
        }
        let file = match segments.last() {
            Some(number) => reopen_segment(&*disk, &wal_dir.join(segment_name(*number)), &newest)?,
            None => first_segment(&*disk, &wal_dir, options.segment_bytes)?,
        };
        let mut wal = Wal {
            dir: wal_dir,
            snap_dir,
            options,
            file,
            segment: segments.last().copied().unwrap_or(1),
            offset,
            length,
            sound: true,
            begun: false,
            sequence: replay.sequence,
            synced: replay.sequence,
            hard: replay.hard,
            highest: replay.highest,
            closed,
            preparing: None,
            saved: None,
            disk,
        };
        if fresh {
            wal.append(&[snapshot_batch(initial)])?;
        }
        wal.prepare();
        let end = replay.end();
        let stored = replay.finish(snapshot, &wal.dir)?;
        if stored.end() != end {
            // A snapshot came, and the end of the program before the batch that refers to it: the
            // log goes on behind the snapshot, and has to say so, or the next to read it would miss
            // what is between. One that ends at the same index in another term ends elsewhere, too:
            // what follows would be thrown away with the entry that the snapshot does not agree
            // with.
            wal.append(&[snapshot_batch(&stored.snapshot)])?;
        }
        Ok((wal, Recovered { stored, torn }))
    }

    /// Writes batches and makes them durable, all at once.
    ///
    /// # Errors
    /// `Io`, also for a batch of 4 GiB. The same batches may be tried again if
    /// [`may_retry`](Wal::may_retry) says so; else nothing may be written any more.
    pub(crate) fn append<'a>(
        &mut self,
        batches: impl IntoIterator<Item = &'a Records> + Clone,
    ) -> Result<(), WalError> {
        if !batches.clone().into_iter().all(|b| segment::countable(b.size())) {
            self.begun = true; // final: it would not fit later either
            let cause = io::Error::new(io::ErrorKind::InvalidInput, "a batch has 4 GiB or more");
            return Err(WalError::io("write to", &self.dir)(cause));
        }
        self.begun = false;
        let mut hard = Vec::new();
        segment::put_hard(&mut hard, &self.hard);
        let need: usize = batches.clone().into_iter().map(|b| segment::framed(b.size())).sum();
        let with_hard = need + segment::framed(hard.len());
        let begins = self.offset == HEADER as u64 && self.sequence > 0;
        if self.offset + (if begins { with_hard } else { need }) as u64 > self.length {
            self.roll(with_hard)?;
        }
        let (mut out, mut sequence) = (Vec::with_capacity(need + 128), self.sequence);
        if self.offset == HEADER as u64 && sequence > 0 {
            // each segment can be read without the ones before it
            sequence += 1;
            segment::frame(&mut out, self.segment, sequence, self.synced, &hard);
        }
        for batch in batches.clone() {
            sequence += 1;
            segment::frame(&mut out, self.segment, sequence, self.synced, &batch.payload);
        }
        let path = || self.dir.join(segment_name(self.segment));
        self.begun = true;
        self.file.write_at(&out, self.offset).map_err(|e| WalError::io("write to", &path())(e))?;
        let synced = self.file.sync();
        self.sound &= synced.is_ok();
        synced.map_err(|e| WalError::io("sync", &path())(e))?;
        self.offset += out.len() as u64;
        (self.sequence, self.synced, self.saved) = (sequence, sequence, None);
        for batch in batches {
            self.hard = batch.hard.unwrap_or(self.hard);
            self.highest = self.highest.max(batch.highest);
        }
        Ok(())
    }

    /// Returns whether nothing that was written can have been lost: no sync of the open segment has
    /// failed, and no sync of the next one, of a leader's snapshot or of a directory for another
    /// reason than [scarcity](is_scarcity).
    pub(crate) fn sound(&self) -> bool {
        self.sound
    }

    /// Returns whether the write that failed so may be tried again. While the log is sound: always
    /// if nothing of it can stand in the open segment, else if only something is missing that comes
    /// back. So any error waits that comes from making a segment or from writing a leader's
    /// snapshot, except from their syncs: also `EIO`, `EACCES` and `EROFS`. Nothing is lost by
    /// waiting, and an administrator may mend it.
    pub(crate) fn may_retry(&self, error: &WalError) -> bool {
        self.sound && matches!(error, WalError::Io { .. }) && (!self.begun || error.is_scarcity())
    }

    /// Makes changes of names durable. A failure for which nothing is to blame but the disk is
    /// final, as for every sync.
    fn sync_names(&mut self, snapshots: bool) -> Result<(), WalError> {
        let dir = if snapshots { &self.snap_dir } else { &self.dir };
        let synced = self.disk.sync_dir(dir);
        self.sound &= synced.as_ref().err().is_none_or(is_scarcity);
        synced.map_err(WalError::io("sync", dir))
    }

    /// Begins the next segment, with room for `need` bytes.
    fn roll(&mut self, need: usize) -> Result<(), WalError> {
        let next = self.segment + 1;
        let length = self.options.segment_bytes.max((HEADER + need) as u64);
        let prepared = self.preparing.take().and_then(|thread| thread.join().ok());
        let made = match prepared {
            Some(Ok(file)) if length == self.options.segment_bytes => Ok(file),
            Some(Err(unmade)) if unmade.is_final() => Err(unmade),
            _ => create_segment(&*self.disk, &self.dir, next, length),
        };
        let file = made
            .and_then(|file| Ok(name_segment(&*self.disk, &self.dir, next).map(|()| file)?))
            .map_err(|unmade: Unmade| {
                self.sound &= !unmade.is_final();
                WalError::io("make the next segment of", &self.dir)(unmade.cause)
            })?;
        self.sync_names(false)?;
        let has_batch = self.offset > HEADER as u64;
        self.closed.push(Closed { number: self.segment, highest: self.highest, has_batch });
        (self.file, self.segment, self.highest) = (file, next, 0);
        (self.offset, self.length) = (HEADER as u64, length);
        self.prepare();
        Ok(())
    }

    /// Waits until the next segment was made ahead of time, or could not be.
    #[cfg(test)]
    pub(super) fn wait_for_prepared(&self) {
        while self.preparing.as_ref().is_some_and(|thread| !thread.is_finished()) {
            std::thread::yield_now();
        }
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
    ///
    /// # Errors
    /// `Io`: as of [`Wal::append`]. A retry does not write again what is written.
    pub(crate) fn save_snapshot(&mut self, snapshot: &SnapshotRef) -> Result<(), WalError> {
        self.begun = false;
        let name = (snapshot.index, snapshot.term);
        if self.saved != Some(name) {
            self.saved = None;
            if let Err(unwritten) = snapfile::write(&*self.disk, &self.snap_dir, snapshot) {
                self.sound &= !unwritten.sync || unwritten.error.is_scarcity();
                return Err(unwritten.error);
            }
            self.saved = Some(name);
        }
        self.sync_names(true)
    }

    /// Deletes what a durable snapshot up to `upto` makes superfluous.
    ///
    /// # Errors
    /// `Io`: it may be tried again while the log is [sound](Wal::sound).
    pub(crate) fn release(&mut self, upto: Index) -> Result<(), WalError> {
        while let Some(Closed { number, highest, .. }) = self.closed.first().copied()
            && highest <= upto
            && self.has_batch_after_first()
        {
            let path = self.dir.join(segment_name(number));
            match self.disk.remove(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(WalError::io("delete", &path)(e));
                }
                _ => {} // an earlier try may have come so far
            }
            self.sync_names(false)?;
            self.closed.remove(0);
        }
        snapfile::clean_before(&*self.disk, &self.snap_dir, upto)
    }

    /// Returns whether the log has a batch outside of its first closed segment. The first write
    /// into the open segment may still wait for room: until it is done, an earlier one has the last
    /// batch, with the term and the vote.
    fn has_batch_after_first(&self) -> bool {
        self.offset > HEADER as u64 || self.closed.iter().skip(1).any(|segment| segment.has_batch)
    }

    /// Segments on disk, the open one included.
    #[cfg(test)]
    pub(crate) fn segments(&self) -> usize {
        self.closed.len() + 1
    }
}

impl Drop for Wal {
    fn drop(&mut self) {
        if let Some(preparing) = self.preparing.take() {
            let _ = preparing.join(); // its thread writes to the directory, which is free after this
        }
    }
}

/// Makes a batch that says from which snapshot the log goes on.
fn snapshot_batch(snapshot: &SnapshotRef) -> Records {
    let mut batch = Records::default();
    segment::put_snapshot(&mut batch.payload, snapshot);
    batch
}

/// The content of all segments of a log.
struct ReadLog {
    replay: Replay,
    /// All but the newest.
    closed: Vec<Closed>,
    /// The offset of the next batch in the newest segment, and the bytes of that segment.
    offset: u64,
    length: u64,
    /// The batches of the newest segment, with its header.
    newest: Bytes,
    /// See [`Recovered::torn`].
    torn: Option<(PathBuf, u64)>,
}

/// Lists the numbers of the segments, and deletes segments that were being prepared.
fn list_segments(disk: &dyn Disk, dir: &Path) -> Result<Vec<u64>, WalError> {
    let mut segments = Vec::new();
    for name in disk.list(dir).map_err(WalError::io("list", dir))? {
        let path = dir.join(&name);
        match number_of(&name) {
            Some((number, "wal")) => segments.push(number),
            Some((_, "tmp")) => disk.remove(&path).map_err(WalError::io("delete", &path))?,
            _ => {
                tracing::warn!(path = %path.display(), "not a file of the log: it stays where it is, and is not read")
            }
        }
    }
    Ok(segments)
}

/// Reads the batches of all segments, in order, and cuts off a torn tail. Without segments the next
/// one begins empty, with `size` bytes.
fn read_segments(
    disk: &dyn Disk,
    dir: &Path,
    segments: &[u64],
    replay: Replay,
    size: u64,
) -> Result<ReadLog, WalError> {
    let (offset, newest) = (HEADER as u64, Bytes::new());
    let mut read = ReadLog { replay, closed: Vec::new(), offset, length: size, newest, torn: None };
    for (i, number) in segments.iter().enumerate() {
        let path = dir.join(segment_name(*number));
        let bytes = Bytes::from(disk.read(&path).map_err(WalError::io("read", &path))?);
        let last = i + 1 == segments.len();
        read.replay.highest = 0;
        let segment = Segment::new(&path, &bytes, *number)?;
        let end = segment.replay(&mut read.replay)?;
        (read.offset, read.length) = (end as u64, bytes.len() as u64);
        if segment.torn(end, read.replay.sequence, last)? {
            cut_tail(disk, &path, end, bytes.len()).map_err(WalError::io("cut the torn tail of", &path))?;
            read.torn = Some((path.clone(), read.offset));
        }
        if segment.version == 1 {
            read.length = read.offset; // what comes next goes into a segment of today
        }
        let (highest, has_batch) = (read.replay.highest, end > HEADER);
        match last {
            true => read.newest = bytes.slice(..end),
            false => read.closed.push(Closed { number: *number, highest, has_batch }),
        }
    }
    Ok(read)
}

/// Opens the newest segment, whose batches were read, to write behind them.
fn reopen_segment(disk: &dyn Disk, path: &Path, batches: &Bytes) -> Result<Box<dyn DiskFile>, WalError> {
    let mut file = disk.open(path).map_err(WalError::io("open", path))?;
    // What was read may be in the page cache only, and is about to count as durable. A sync alone
    // would not do: after one that failed, the kernel takes the pages for clean and writes them no
    // more (fsync(2), NOTES). Written again, they are dirty again. Where the disk has them already,
    // this changes no byte.
    file.write_at(batches, 0).map_err(WalError::io("write again", path))?;
    file.sync().map_err(WalError::io("sync", path))?;
    Ok(file)
}

/// Makes the first segment of a log.
fn first_segment(disk: &dyn Disk, dir: &Path, size: u64) -> Result<Box<dyn DiskFile>, WalError> {
    let made = create_segment(disk, dir, 1, size).and_then(|file| {
        name_segment(disk, dir, 1)?;
        disk.sync_dir(dir)?;
        Ok(file)
    });
    made.map_err(|e| WalError::io("make the first segment of", dir)(e.cause))
}

/// Returns the number and the kind (`wal`, `tmp`) of a file of the log; `None` for another file.
fn number_of(name: &str) -> Option<(u64, &str)> {
    let (number, kind) = name.split_once('.')?;
    Some((snapfile::hexadecimal(number)?, kind))
}

fn temporary(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.tmp"))
}

fn create_segment(disk: &dyn Disk, dir: &Path, number: u64, size: u64) -> Result<Box<dyn DiskFile>, Unmade> {
    let path = temporary(dir, number);
    let create = || {
        let mut file = disk.create(&path, size)?;
        file.write_at(&segment::header(number, size), 0)?;
        file.sync().map_err(|cause| Unmade { cause, sync: true })?;
        Ok(file)
    };
    // Half of a segment is of no use, and may take the room that a snapshot needs.
    create().inspect_err(|_| drop(disk.remove(&path)))
}

fn name_segment(disk: &dyn Disk, dir: &Path, number: u64) -> io::Result<()> {
    disk.rename(&temporary(dir, number), &dir.join(segment_name(number)))
}

/// Zeroes what follows the last whole batch.
fn cut_tail(disk: &dyn Disk, path: &Path, end: usize, len: usize) -> io::Result<()> {
    let mut file = disk.open(path)?;
    file.write_at(&vec![0; len - end], end as u64)?;
    file.sync()
}

#[cfg(test)]
mod tests;
