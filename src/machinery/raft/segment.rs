//! One segment of the log: its header, its batches, and what can be said of bytes that are no
//! batch.
//!
//! Header: `magic 8 | version u32 | number u64 | length u64 | crc32 u32`. The file has all its
//! `length` bytes from the beginning, zeros at first, so a shorter one was cut by another program.
//! Then batches, each all or nothing, at multiples of 8: `tag u32 | len u32 | crc32 u32 | header's
//! crc32 u32 | sequence u64 | synced u64 | records | end mark 8`. The checksums cover the segment's
//! number, so that leftovers of another segment never pass. `synced` is the newest batch known to
//! be durable when this one was written.
//!
//! A write that a crash interrupts leaves whole sectors of the disk undone, or ends early: either
//! way there are zeros where the write did not arrive. So a last batch whose checksum does not fit
//! counts as interrupted if one of its sectors has only zeros, or if its end mark is missing. Any
//! other bytes that are no batch were one, once, and have changed since: a member may have
//! acknowledged them, and the log is refused.
//!
//! A batch does not record which of its sectors are zero by themselves. A value with 1023 or more
//! zero bytes in a row always fills such a sector. If one bit of the last batch changes and that
//! batch holds such a value, the batch counts as interrupted and is cut off, though it was durable.
//! etcd's log has the same limit (`isTornEntry` in its `wal/decoder.go`). Only the last batch is
//! concerned: the one after it says that it was durable.

use super::core::Stored;
use super::message::{Entry, HardState, Index, SnapshotRef, Term};
use super::wal_error::{WalError, check_version};
use super::{codec, fields};
use bytes::Bytes;
use std::path::Path;

const MAGIC: &[u8; 8] = b"RWWAL\r\n\x1a";
/// Version 2 has the length, the headers' checksums and the end marks. Of segments of version 1 a
/// torn tail is believed more easily; nothing is added to them.
const VERSION: u32 = 2;
pub(super) const HEADER: usize = 32;
const TAG: u32 = 0x4c41_5752;
const BATCH_HEADER: usize = 32;
const END: [u8; 8] = *b"\xa5endofb\x5a";
/// What a disk writes as a whole, or not at all.
const SECTOR: usize = 512;

const HARD: u8 = 1;
const TRUNCATE: u8 = 2;
const ENTRY: u8 = 3;
const SNAPSHOT: u8 = 4;

pub(super) fn put_hard(out: &mut Vec<u8>, hard: &HardState) {
    out.push(HARD);
    codec::put_hard(out, hard);
}

pub(super) fn put_snapshot(out: &mut Vec<u8>, snapshot: &SnapshotRef) {
    out.push(SNAPSHOT);
    fields::put_u64(out, snapshot.index);
    fields::put_u64(out, snapshot.term);
    codec::put_conf(out, &snapshot.conf);
}

pub(super) fn put_truncate(out: &mut Vec<u8>, from: Index) {
    out.push(TRUNCATE);
    fields::put_u64(out, from);
}

pub(super) fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    out.push(ENTRY);
    codec::put_entry(out, entry);
}

pub(super) fn header(number: u64, length: u64) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend(VERSION.to_le_bytes());
    out.extend(number.to_le_bytes());
    out.extend(length.to_le_bytes());
    out.extend(crc32fast::hash(&out).to_le_bytes());
    out
}

fn header_1(number: u64) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend(1u32.to_le_bytes());
    out.extend(number.to_le_bytes());
    out.extend(crc32fast::hash(&out).to_le_bytes());
    out.resize(HEADER, 0);
    out
}

fn checksum(numbers: &[u64], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for n in numbers {
        crc.update(&n.to_le_bytes());
    }
    crc.update(payload);
    crc.finalize()
}

/// Returns whether a batch may have this many bytes of records: its header counts them in 32 bits.
pub(super) fn countable(len: usize) -> bool {
    u32::try_from(len).is_ok()
}

/// Bytes that a batch of `len` bytes of records takes.
pub(super) fn framed(len: usize) -> usize {
    BATCH_HEADER + len.next_multiple_of(8) + END.len()
}

/// Appends a batch to `out`; its records must be [`countable`].
pub(super) fn frame(out: &mut Vec<u8>, segment: u64, sequence: u64, synced: u64, payload: &[u8]) {
    let len = payload.len() as u64;
    let crc = checksum(&[segment, sequence, synced, len], payload);
    out.extend(TAG.to_le_bytes());
    out.extend((payload.len() as u32).to_le_bytes());
    out.extend(crc.to_le_bytes());
    out.extend(checksum(&[segment, sequence, synced, len, u64::from(crc)], &[]).to_le_bytes());
    out.extend(sequence.to_le_bytes());
    out.extend(synced.to_le_bytes());
    out.extend_from_slice(payload);
    out.resize(out.len().next_multiple_of(8), 0);
    out.extend(END);
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

/// A segment as it was read.
pub(super) struct Segment<'a> {
    path: &'a Path,
    bytes: &'a Bytes,
    number: u64,
    pub version: u32,
}

fn zeros(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| *b == 0)
}

impl<'a> Segment<'a> {
    pub(crate) fn new(path: &'a Path, bytes: &'a Bytes, number: u64) -> Result<Segment<'a>, WalError> {
        let segment = Segment { path, bytes, number, version: u32_at(bytes, 8).unwrap_or(0) };
        if bytes.len() < HEADER || bytes[..8] != MAGIC[..] {
            return Err(segment.damaged(0, "it is not a segment of the log".into()));
        }
        check_version(path, segment.version, VERSION)?;
        let length = u64_at(bytes, 20).unwrap_or(0);
        let right = if segment.version == 1 { header_1(number) } else { header(number, length) };
        if bytes[..HEADER] != right {
            return Err(segment.damaged(8, "its header does not fit its name".into()));
        }
        if segment.version > 1 && length != bytes.len() as u64 {
            let what = format!("it has {} bytes and was made with {length}", bytes.len());
            return Err(segment.damaged(bytes.len().min(length as usize), what));
        }
        Ok(segment)
    }

    fn damaged(&self, offset: usize, what: String) -> WalError {
        WalError::Damaged { path: self.path.into(), offset: offset as u64, what }
    }

    /// The batch's sequence, what was durable before it, and where its records are, if its header
    /// is whole.
    fn batch_header(&self, at: usize) -> Option<Batch> {
        let bytes = self.bytes;
        let (tag, len, crc) = (u32_at(bytes, at)?, u32_at(bytes, at + 4)?, u32_at(bytes, at + 8)?);
        let (sequence, synced) = (u64_at(bytes, at + 16)?, u64_at(bytes, at + 24)?);
        let own = checksum(&[self.number, sequence, synced, u64::from(len), u64::from(crc)], &[]);
        let whole = self.version == 1 || u32_at(bytes, at + 12)? == own;
        let payload = at + BATCH_HEADER..(at + BATCH_HEADER).checked_add(len as usize)?;
        let mark = if self.version == 1 { 0 } else { END.len() };
        let end = payload.end.next_multiple_of(8) + mark;
        (tag == TAG && whole).then_some(Batch { sequence, synced, payload, end })
    }

    /// The batch at an offset, if a whole one is there.
    fn batch(&self, at: usize) -> Option<Batch> {
        let batch = self.batch_header(at)?;
        let body = self.bytes.get(batch.payload.clone())?;
        let crc = checksum(&[self.number, batch.sequence, batch.synced, body.len() as u64], body);
        (u32_at(self.bytes, at + 8)? == crc).then_some(batch)
    }

    /// Replays all batches; answers where they end.
    pub(crate) fn replay(&self, replay: &mut Replay) -> Result<usize, WalError> {
        let mut at = HEADER;
        while let Some(batch) = self.batch(at) {
            if replay.sequence > 0 && batch.sequence != replay.sequence + 1 {
                let what =
                    format!("batch {} follows batch {}: some are missing", batch.sequence, replay.sequence);
                return Err(self.damaged(at, what));
            }
            replay.batch(self.bytes.slice(batch.payload)).map_err(|what| self.damaged(at, what))?;
            replay.sequence = batch.sequence;
            at = batch.end;
        }
        Ok(at)
    }

    /// Returns whether an interrupted write left bytes behind the last whole batch, which ends at
    /// `end`. `last`: this is the newest segment; in an older one no write can be interrupted.
    ///
    /// # Errors
    /// `Damaged`: the bytes were durable once.
    pub(crate) fn torn(&self, end: usize, sequence: u64, last: bool) -> Result<bool, WalError> {
        let rest = self.bytes.get(end..).unwrap_or(&[]);
        if zeros(rest) {
            return Ok(false);
        }
        if !last {
            return Err(self.damaged(end, "there is no batch here, though a later segment was begun".into()));
        }
        if let Some(later) = self.later_witness(end, sequence) {
            let first = sequence + 1;
            let what = format!("batch {first} is unreadable, but was durable before batch {later}");
            return Err(self.damaged(end, what));
        }
        if self.version > 1 && !self.interrupted(end) {
            let what = format!("batch {} was written to its end, and has changed since", sequence + 1);
            return Err(self.damaged(end, what));
        }
        Ok(true)
    }

    /// Returns the number of a batch behind the unreadable one at `end` which says that the
    /// unreadable one was durable. A client chooses the bytes of a value, and may have put batches
    /// into it. So the search begins behind the unreadable batch if its header is whole. Otherwise
    /// the end of that batch is unknown. Then only those numbers count that the log can have come
    /// to in this segment: a client would have to guess them, and which sectors a power cut spares.
    fn later_witness(&self, end: usize, sequence: u64) -> Option<u64> {
        let header = self.batch_header(end).filter(|_| self.version > 1); // version 1 cannot tell
        let from = header.map_or(end + 8, |unreadable| unreadable.end);
        let most = sequence + ((self.bytes.len() - end) / BATCH_HEADER) as u64;
        let says_so = |b: &Batch| {
            (sequence + 2..=most).contains(&b.sequence) && (sequence + 1..b.sequence).contains(&b.synced)
        };
        // The numbers first: a value of many headers would have its bytes summed up for each.
        (from..self.bytes.len())
            .step_by(8)
            .find_map(|at| self.batch_header(at).filter(says_so).and_then(|_| self.batch(at)))
            .map(|batch| batch.sequence)
    }

    /// Returns whether an interrupted write can have left this: a sector has only zeros, or
    /// everything from some point on. A sector that the batch itself fills with zeros looks the
    /// same; see the top of this file.
    fn interrupted(&self, at: usize) -> bool {
        let bytes = self.bytes;
        let sector = |n: usize| {
            let (from, to) = ((n * SECTOR).max(at), ((n + 1) * SECTOR).min(bytes.len()));
            zeros(&bytes[from..to])
        };
        let missing = |upto: usize| (at / SECTOR..=(upto - 1) / SECTOR).any(sector);
        match self.batch_header(at) {
            Some(batch) if batch.end <= bytes.len() => bytes[batch.end - 1] == 0 || missing(batch.end),
            Some(_) => false, // no batch reaches beyond its segment
            None => {
                let header_end = (at + BATCH_HEADER).min(bytes.len());
                zeros(&bytes[header_end..]) || missing(header_end)
            }
        }
    }
}

/// The log as far as it was read.
#[derive(Default)]
pub(super) struct Replay {
    pub hard: HardState,
    snapshot: SnapshotRef,
    entries: Vec<Entry>,
    pub sequence: u64,
    pub highest: Index,
}

impl Replay {
    pub(crate) fn from(initial: &SnapshotRef) -> Replay {
        Replay { snapshot: initial.clone(), ..Replay::default() }
    }

    fn batch(&mut self, payload: Bytes) -> Result<(), String> {
        let r = &mut fields::Reader::new(payload);
        while r.left() > 0 {
            self.record(r)?;
        }
        Ok(())
    }

    fn record(&mut self, r: &mut fields::Reader) -> Result<(), String> {
        let text = |e: fields::DecodeError| e.to_string();
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

    /// Index and term of the entry after which the log, read by itself, goes on.
    pub(crate) fn end(&self) -> (Index, Term) {
        self.entries.last().map_or((self.snapshot.index, self.snapshot.term), |e| (e.index, e.term))
    }

    /// Joins the log with the newest snapshot file.
    pub(crate) fn finish(mut self, file: Option<SnapshotRef>, dir: &Path) -> Result<Stored, WalError> {
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
        let stored = Stored { hard: self.hard, snapshot, entries: self.entries };
        // A missing snapshot leaves no gap if no entry is left behind it. But the commit index is
        // never ahead of the log that is written with it. (etcd: `loadState` in `raft.go`.)
        let (end, commit) = (stored.end().0, stored.hard.commit);
        if commit > end {
            let first = end + 1;
            return Err(gap(format!("entries {first} to {commit} were committed, and are missing")));
        }
        Ok(stored)
    }
}
