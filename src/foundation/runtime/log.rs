//! A container's log file, in the format that the kubelet reads: `2026-01-02T03:04:05.000000006Z
//! stdout F text`.

use clock::{self, Timestamp};
use cri::{LogLimits, rotated_log};
use parking_lot::{Mutex, MutexGuard};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A longer line is written in parts, marked `P` but for the last. A last line without an end is
/// marked `P` too.
const LINE_MAX: usize = 16 * 1024;

/// Which standard stream an entry comes from. The output of a terminal is `Stdout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// File descriptor 1.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// Cuts output into log entries; holds back a line that has no end yet.
#[derive(Debug)]
pub struct Cutter {
    stream: Stream,
    rest: Vec<u8>,
}

impl Cutter {
    /// Makes a cutter for the output of one stream, with no line begun.
    pub fn new(stream: Stream) -> Cutter {
        Cutter { stream, rest: Vec::new() }
    }

    /// Returns the entries that these bytes complete. A line ends with `\n` or, from a terminal for
    /// example, `\r\n`; as with containerd neither is part of the entry.
    pub fn cut(&mut self, bytes: &[u8], at: Timestamp) -> Vec<u8> {
        let (mut out, head) = (Vec::new(), self.head(at));
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            self.rest.extend_from_slice(part);
            let whole = self.rest.pop_if(|last| *last == b'\n').is_some();
            if whole {
                self.rest.pop_if(|last| *last == b'\r');
            }
            self.parts(&head, !whole, &mut out);
            if whole {
                self.entry(&head, 'F', &mut out);
            }
        }
        out
    }

    /// Returns the entry of a last line that has no line end. It is partial, as containerd's is:
    /// the output ended without a newline, so `kubectl logs` and a termination message that falls
    /// back to the log show none.
    pub fn finish(&mut self, at: Timestamp) -> Vec<u8> {
        let (mut out, head) = (Vec::new(), self.head(at));
        self.parts(&head, false, &mut out);
        if !self.rest.is_empty() {
            self.entry(&head, 'P', &mut out);
        }
        out
    }

    /// Returns the entries of a line that is too long for one, but for the last. If its end may
    /// still come, a carriage return at the end of what there is waits: it may belong to the line's
    /// end.
    fn parts(&mut self, head: &str, goes_on: bool, out: &mut Vec<u8>) {
        let waits = usize::from(goes_on && self.rest.last() == Some(&b'\r'));
        while self.rest.len() - waits > LINE_MAX {
            let later = self.rest.split_off(LINE_MAX);
            self.entry(head, 'P', out);
            self.rest = later;
        }
    }

    /// Returns what entries of this moment begin with: time and stream.
    fn head(&self, at: Timestamp) -> String {
        format!("{} {} ", clock::rfc3339_nano(at), self.stream.name())
    }

    fn entry(&mut self, head: &str, tag: char, out: &mut Vec<u8>) {
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(&[tag as u8, b' ']);
        out.append(&mut self.rest);
        out.push(b'\n');
    }
}

/// The file, which is open only while something writes to it: an ended container is remembered, and
/// holds no descriptor. Appending a few lines goes to the page cache, so it is done in place.
pub struct Log {
    path: PathBuf,
    limits: LogLimits,
    /// [`append`], but for tests.
    opener: fn(&Path) -> io::Result<(File, u64)>,
    /// The system call, but for tests.
    writer: fn(&File, &[u8]) -> io::Result<usize>,
    /// With its length.
    open: Mutex<Option<(File, u64)>>,
}

impl Log {
    /// Makes the file and its directory. Nothing can be written before [`Log::reopen`].
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn make(path: &Path, limits: LogLimits) -> io::Result<Log> {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        append(path)?;
        let writer = |mut file: &File, bytes: &[u8]| file.write(bytes);
        Ok(Log { path: path.to_path_buf(), limits, opener: append, writer, open: Mutex::default() })
    }

    /// Opens for appending; makes the file and its directory.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn open(path: &Path, limits: LogLimits) -> io::Result<Log> {
        let log = Log::make(path, limits)?;
        log.reopen()?;
        Ok(log)
    }

    /// Returns the path of the file that is written now; rotated files lie beside it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn lock(&self) -> MutexGuard<'_, Option<(File, u64)>> {
        self.open.lock()
    }

    /// Appends entries. What comes after [`Log::close`] is dropped: its container has ended. If a
    /// full file cannot be moved aside, it is written on, up to twice its bound, and each write
    /// tries again. On a full disk the file ends with the last entry that found room as a whole.
    ///
    /// # Errors
    /// The disk is full, or the file cannot be moved aside. In the second case the entries are
    /// written all the same, as long as that bound allows.
    pub fn write(&self, entries: &[u8]) -> io::Result<()> {
        let mut open = self.lock();
        let Some((file, length)) = open.as_mut().filter(|_| !entries.is_empty()) else { return Ok(()) };
        let added = entries.len() as u64;
        let mut rotated = Ok(());
        if *length > 0 && length.saturating_add(added) > self.limits.max_size {
            match self.rotate() {
                Ok(opened) => (*file, *length) = opened,
                Err(e) if length.saturating_add(added) > self.limits.max_size.saturating_mul(2) => {
                    return Err(e);
                }
                Err(e) => rotated = Err(e),
            }
        }
        let (kept, written) = self.append_entries(file, entries);
        *length += kept;
        written.and(rotated)
    }

    /// Appends entries, and returns how many bytes stay. If the disk is full in the middle of one,
    /// its beginning is cut off again, as the next entry would be read as the rest of its line:
    ///
    /// ```text
    /// entries   … F one⏎… F two⏎      room for 20 of 30 bytes
    /// file      … F one⏎
    /// ```
    fn append_entries(&self, file: &File, entries: &[u8]) -> (u64, io::Result<()>) {
        let mut count = 0;
        let written = loop {
            match (self.writer)(file, &entries[count..]) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(more) => count += more,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => break Err(e),
            }
            if count == entries.len() {
                break Ok(());
            }
        };
        let whole = entries[..count].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if written.is_err() && whole < count {
            let torn = (count - whole) as u64;
            let cut = file.metadata().and_then(|found| file.set_len(found.len().saturating_sub(torn)));
            count = if cut.is_ok() { whole } else { count };
        }
        (count as u64, written)
    }

    /// Opens the file again, or a new one if it was moved aside.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn reopen(&self) -> io::Result<()> {
        let file = (self.opener)(&self.path)?;
        *self.lock() = Some(file);
        Ok(())
    }

    /// Closes the file: nothing is written any more.
    pub fn close(&self) {
        self.lock().take();
    }

    /// Removes the file and those moved aside here.
    pub fn remove(&self) {
        remove(&self.path, self.limits);
    }

    /// `0.log` becomes `0.log.1`, that `0.log.2`, and the oldest goes. Returns the new `0.log`. The
    /// new file is opened first, and files are moved up to the first free place only: a rotation
    /// that failed, and one that failed halfway, can be tried again any number of times and loses
    /// no file.
    fn rotate(&self) -> io::Result<(File, u64)> {
        let next = next(&self.path);
        let opened = (self.opener)(&next)?;
        let oldest = self.limits.max_files.saturating_sub(1);
        let is_free = |age: &usize| fs::symlink_metadata(rotated_log(&self.path, *age)).is_err();
        let free = (0..oldest).find(is_free).unwrap_or(oldest);
        for age in (0..free).rev() {
            fs::rename(rotated_log(&self.path, age), rotated_log(&self.path, age + 1))?;
        }
        fs::rename(next, &self.path)?;
        Ok(opened)
    }
}

/// Removes a log and the files that were moved aside. Missing ones are as good.
pub fn remove(path: &Path, limits: LogLimits) {
    let _ = fs::remove_file(next(path));
    (0..limits.max_files).for_each(|age| drop(fs::remove_file(rotated_log(path, age))));
}

/// Returns where the next file lies until the full one is moved aside.
fn next(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(".next");
    name.into()
}

fn append(path: &Path) -> io::Result<(File, u64)> {
    let file = File::options().create(true).append(true).open(path)?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Timestamp {
        "2026-01-02T03:04:05.000000006Z".parse().unwrap()
    }

    #[test]
    fn lines_are_entries_however_they_arrive() {
        let mut cutter = Cutter::new(Stream::Stdout);
        let mut out = cutter.cut(b"one\ntw", at());
        out.extend(cutter.cut(b"o\n\nthree", at()));
        out.extend(cutter.finish(at()));
        let head = "2026-01-02T03:04:05.000000006Z stdout";
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!("{head} F one\n{head} F two\n{head} F \n{head} P three\n"),
            "the last line has no end, so it is partial"
        );
    }

    #[test]
    fn a_long_line_comes_in_parts() {
        let mut cutter = Cutter::new(Stream::Stderr);
        let mut line = vec![b'x'; 2 * LINE_MAX + 1];
        line.push(b'\n');
        let out = String::from_utf8(cutter.cut(&line, at())).unwrap();
        let tags: Vec<&str> = out.lines().map(|l| l.split(' ').nth(2).unwrap()).collect();
        assert_eq!(tags, ["P", "P", "F"]);
        assert_eq!(out.matches('x').count(), 2 * LINE_MAX + 1);
    }

    /// A terminal writes `\r\n`, and `kubectl logs p | grep -x hello` finds the line all the same.
    /// Where the output happens to be cut changes nothing.
    #[test]
    fn a_carriage_return_before_a_line_end_is_none_of_the_line() {
        let long = vec![b'x'; LINE_MAX];
        let line = |text: &[u8]| [text, b"\r\n"].concat();
        let output = [line(b"hello"), line(b"a\rb\r"), line(b""), line(&long), b"last\r".to_vec()].concat();
        let cut = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let mut cutter = Cutter::new(Stream::Stdout);
            let mut out: Vec<u8> = pieces.flat_map(|piece| cutter.cut(piece, at())).collect();
            out.extend(cutter.finish(at()));
            String::from_utf8(out).unwrap()
        };
        let whole = cut(&mut std::iter::once(&output[..]));
        let texts = whole.split('\n').filter_map(|entry| entry.split_once(" stdout "));
        let texts: Vec<&str> = texts.map(|(_, text)| text).collect();
        let full = format!("F {}", String::from_utf8(long).unwrap());
        assert_eq!(texts, ["F hello", "F a\rb\r", "F ", &full, "P last\r"]);
        for size in [1, 2, 7, LINE_MAX, LINE_MAX + 1] {
            assert!(cut(&mut output.chunks(size)) == whole, "in pieces of {size}");
        }
    }

    /// The file system gives room for 100 bytes, then none, then as many as anything needs.
    #[test]
    fn an_entry_that_finds_no_room_leaves_no_half_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::open(&dir.path().join("0.log"), LogLimits::default()).unwrap();
        log.writer = |mut file, bytes| match 100 - file.metadata()?.len().min(100) {
            0 => Err(io::ErrorKind::StorageFull.into()),
            room => file.write(&bytes[..bytes.len().min(room as usize)]),
        };
        let mut cutter = Cutter::new(Stream::Stdout);
        let entries = cutter.cut(b"one\ntwo\nthree\n", at());
        assert!(entries.len() > 100);
        assert_eq!(log.write(&entries).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(log.write(&cutter.cut(b"a line that is longer than the room\n", at())).is_err());
        log.writer = |mut file, bytes| file.write(bytes);
        log.write(&cutter.cut(b"later\n", at())).unwrap();
        let text = fs::read_to_string(log.path()).unwrap();
        let lines: Vec<&str> =
            text.lines().filter_map(|line| line.split_once(" stdout ")).map(|l| l.1).collect();
        assert_eq!(lines, ["F one", "F two", "F later"], "{text}");
        assert_eq!(log.lock().as_ref().unwrap().1, text.len() as u64, "its length is known");
    }

    fn first_bytes(log: &Log) -> Vec<Option<u8>> {
        let read = |age| fs::read(rotated_log(log.path(), age)).ok()?.first().copied();
        (0..5).map(read).collect()
    }

    /// A container in a loop writes many times before a descriptor or a block of the disk is free.
    #[test]
    fn a_rotation_that_fails_loses_no_file_and_no_entry() {
        let dir = tempfile::tempdir().unwrap();
        let limits = LogLimits { max_size: 1000, max_files: 5 };
        let mut log = Log::open(&dir.path().join("0.log"), limits).unwrap();
        for n in 0..5u8 {
            (0..10).for_each(|_| log.write(&[n; 100]).unwrap());
        }
        let full = [4, 3, 2, 1, 0].map(Some);
        assert_eq!(first_bytes(&log), full);
        // No new file can be opened.
        log.opener = |_| Err(io::ErrorKind::StorageFull.into());
        let written = (0..15).filter(|_| log.write(&[5; 100]).is_err()).count();
        assert_eq!((written, first_bytes(&log)), (15, full.into()), "each write says so");
        assert_eq!(fs::read(log.path()).unwrap().len(), 2000, "it is written on, but not for ever");
        // The last step fails: the place of the oldest file is taken by a directory.
        log.opener = append;
        let oldest = rotated_log(log.path(), 4);
        fs::remove_file(&oldest).unwrap();
        fs::create_dir_all(oldest.join("not-empty")).unwrap();
        assert!((0..5).all(|_| log.write(&[5; 100]).is_err()));
        assert_eq!(first_bytes(&log)[..4], full[..4]);
        fs::remove_dir_all(&oldest).unwrap();
        log.write(&[6; 100]).unwrap();
        assert_eq!(first_bytes(&log), [6, 4, 3, 2, 1].map(Some));
        log.remove();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    /// As after an end of the program between two steps, or with a file that cannot be moved.
    #[test]
    fn a_rotation_that_stopped_halfway_is_completed_by_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let limits = LogLimits { max_size: 100, max_files: 5 };
        let log = Log::open(&dir.path().join("0.log"), limits).unwrap();
        for n in 0..5u8 {
            log.write(&[n; 100]).unwrap();
        }
        fs::remove_file(rotated_log(log.path(), 4)).unwrap();
        fs::rename(rotated_log(log.path(), 3), rotated_log(log.path(), 4)).unwrap();
        fs::rename(rotated_log(log.path(), 2), rotated_log(log.path(), 3)).unwrap();
        log.write(&[5; 100]).unwrap();
        assert_eq!(first_bytes(&log), [5, 4, 3, 2, 1].map(Some));
    }

    #[test]
    fn a_full_file_is_moved_aside_and_five_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let limits = LogLimits { max_size: 1000, max_files: 5 };
        let log = Log::open(&dir.path().join("pods/0.log"), limits).unwrap();
        for n in 0..7u8 {
            (0..10).for_each(|_| log.write(&[n; 100]).unwrap());
        }
        let first = |path: PathBuf| fs::read(path).unwrap()[0];
        assert_eq!(
            [first(log.path().into()), first(rotated_log(log.path(), 1)), first(rotated_log(log.path(), 4))],
            [6, 5, 2]
        );
        assert!(!rotated_log(log.path(), 5).exists());
        log.close();
        log.write(b"late").unwrap();
        assert!(log.lock().is_none() && fs::read(log.path()).unwrap().ends_with(&[6]), "closed for good");
        log.remove();
        assert_eq!(fs::read_dir(dir.path().join("pods")).unwrap().count(), 0);
    }
}
