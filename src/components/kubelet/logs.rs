//! Reading containers' log files: CRI's format, `TIME STREAM F|P text`.

use clock::Timestamp;
use cri::{LogLimits, rotated_log};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Options of `kubectl logs`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub follow: bool,
    pub previous: bool,
    pub timestamps: bool,
    pub tail: Option<usize>,
    /// Only lines from this moment on.
    pub since: Option<Timestamp>,
    /// Bytes of output, at most.
    pub limit: Option<usize>,
}

/// One entry of a log file; `partial` entries go on in the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub time: &'a str,
    pub partial: bool,
    pub text: &'a [u8],
}

/// Reads one line without its line end. `None` if it is not in CRI's format.
pub(crate) fn parse(line: &[u8]) -> Option<Entry<'_>> {
    let mut parts = line.splitn(4, |b| *b == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let _stream = parts.next()?;
    let tag = parts.next()?;
    Some(Entry { time, partial: tag.first() == Some(&b'P'), text: parts.next().unwrap_or_default() })
}

/// Turns log file lines into what the client sees.
pub(crate) struct Printer {
    options: Options,
    /// The last entry was partial: the next one goes on in the same line.
    open: bool,
    left: Option<usize>,
}

impl Printer {
    pub(crate) fn new(options: &Options) -> Printer {
        Printer { options: options.clone(), open: false, left: options.limit }
    }

    /// Returns the bytes to send for a line of the file.
    pub(crate) fn line(&mut self, line: &[u8]) -> Vec<u8> {
        let Some(entry) = parse(line) else { return Vec::new() };
        if let Some(since) = self.options.since
            && entry.time.parse::<Timestamp>().is_ok_and(|at| at < since)
        {
            return Vec::new();
        }
        let mut out = Vec::with_capacity(entry.text.len() + 36);
        if self.options.timestamps && !self.open {
            out.extend_from_slice(entry.time.as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(entry.text);
        if !entry.partial {
            out.push(b'\n');
        }
        self.open = entry.partial;
        if let Some(left) = &mut self.left {
            out.truncate(*left);
            *left -= out.len();
        }
        out
    }

    /// Returns whether the byte limit has been reached.
    pub(crate) fn full(&self) -> bool {
        self.left == Some(0)
    }
}

/// Bytes of a file that are looked through at a time for where its last lines begin.
const BLOCK: usize = 64 << 10;
/// Bytes of an entry in which its time, stream and tag stand.
const ENTRY_HEAD: u64 = 128;

/// Returns the offset in the first `end` bytes of `file` where the last `lines` complete lines
/// begin. A run of partial entries counts as one line. The file is read backwards, `block` bytes at
/// a time, as far as these lines go.
///
/// Example: with entries `one`, `two-` (partial), `long`, `three` and two lines wanted, `three`
/// begins a line because `long` is not partial, and `two-` begins the other because `one` is not.
fn tail_begin(file: &File, end: u64, lines: usize, block: usize) -> io::Result<u64> {
    let mut bytes = vec![0; block + ENTRY_HEAD as usize];
    // What follows `from` has been looked through. An entry begins a line if the one before it is
    // not partial.
    let (mut from, mut is_whole, mut entry, mut found) = (end, false, None::<u64>, 0);
    while from > 0 {
        let (until, above) = (from, end.min(from + ENTRY_HEAD));
        from = from.saturating_sub(block as u64);
        let bytes = &mut bytes[..(above - from) as usize];
        file.read_exact_at(bytes, from)?;
        let is_partial = |at: u64| {
            let head = &bytes[(at - from) as usize..];
            let head = &head[..head.len().min(ENTRY_HEAD as usize)];
            let line = head.split(|b| *b == b'\n').next().unwrap_or_default();
            parse(line).is_some_and(|entry| entry.partial)
        };
        let ends = bytes[..(until - from) as usize].iter().enumerate().rev().filter(|(_, b)| **b == b'\n');
        for (at, _) in ends {
            let begin = from + at as u64 + 1;
            if !is_whole {
                // The last line may be half written: it is not one of theirs.
                is_whole = true;
                if lines == 0 {
                    return Ok(begin);
                }
                continue;
            }
            if let Some(next) = entry.replace(begin)
                && !is_partial(begin)
            {
                found += 1;
                if found == lines {
                    return Ok(next);
                }
            }
        }
        if from == 0
            && let Some(next) = entry
            && !is_partial(0)
            && found + 1 == lines
        {
            return Ok(next);
        }
    }
    Ok(0)
}

/// A container's log as one stream of bytes. It begins with the current file, as upstream's does.
/// A client that follows is led on to the files after it, and misses nothing while it is less than
/// [`LogLimits::max_files`] behind. For other clients it ends where the file ended when they came,
/// so that a program that writes without end does not keep them.
pub(crate) struct LogReader {
    path: PathBuf,
    limits: LogLimits,
    file: File,
    /// Where the next byte of the file stands.
    at: u64,
    /// Bytes until the end; `None` for followers.
    left: Option<u64>,
}

impl LogReader {
    /// Opens the current file where its last `tail` lines begin; all of it if that is not said.
    pub(crate) fn open(
        path: &Path,
        limits: LogLimits,
        follow: bool,
        tail: Option<usize>,
    ) -> io::Result<LogReader> {
        let mut file = File::open(path)?;
        let end = file.metadata()?.len();
        let begin = match tail {
            None => 0,
            Some(lines) => tail_begin(&file, end, lines, BLOCK)?,
        };
        let at = file.seek(SeekFrom::Start(begin))?;
        Ok(LogReader { path: path.to_path_buf(), limits, file, at, left: (!follow).then_some(end - begin) })
    }

    /// Returns whether there may be something to read: the file has grown, or another one has its
    /// name. No byte of it is read.
    pub(crate) fn has_news(&self) -> bool {
        let Ok(own) = self.file.metadata() else { return true };
        let moved = || std::fs::metadata(&self.path).is_ok_and(|now| now.ino() != own.ino());
        self.left.is_some() || own.len() > self.at || moved()
    }

    /// Returns the next bytes; 0 when all that was written so far has been read.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(left) = &mut self.left {
                let count = (&mut self.file).take(*left).read(buffer)?;
                *left -= count as u64;
                return Ok(count);
            }
            let count = self.read_file(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            let Some(next) = self.successor()? else { return Ok(0) };
            // Nothing is appended any more to a file that has a next one: now its end is its end.
            let count = self.read_file(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            (self.file, self.at) = (next, 0);
        }
    }

    fn read_file(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.at += count as u64;
        Ok(count)
    }

    /// Returns the file after this one. A file only ever moves in the direction in which they are
    /// looked through, so none slips past.
    fn successor(&self) -> io::Result<Option<File>> {
        let own = self.file.metadata()?.ino();
        let mut younger = None;
        for age in 0..self.limits.max_files {
            match File::open(rotated_log(&self.path, age)) {
                Ok(file) if file.metadata()?.ino() == own => return Ok(younger),
                Ok(file) => younger = Some(file),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {} // just being moved
                Err(e) => return Err(e),
            }
        }
        Ok(younger) // ours is gone: go on with the oldest that is left
    }
}

/// A log as the client sees it, in pieces. It reads files: use it where a thread may wait for the
/// disk.
pub(crate) struct Pieces {
    log: LogReader,
    printer: Printer,
    buffer: Vec<u8>,
    /// The begin of a line whose end has not been read.
    pending: Vec<u8>,
}

impl Pieces {
    /// Begins a log of which at most `piece` bytes are read for one piece.
    pub(crate) fn new(log: LogReader, options: &Options, piece: usize) -> Pieces {
        Pieces { log, printer: Printer::new(options), buffer: vec![0; piece], pending: vec![] }
    }

    /// Returns whether there may be a next piece.
    pub(crate) fn has_news(&self) -> bool {
        !self.printer.full() && self.log.has_news()
    }

    /// Returns whether `limitBytes` bytes were returned: nothing more is read.
    pub(crate) fn is_full(&self) -> bool {
        self.printer.full()
    }

    /// Returns the next piece, which may be empty; `None` when all that was written so far has been
    /// read, or as much as was asked for.
    pub(crate) fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.printer.full() {
            return Ok(None);
        }
        let count = self.log.read(&mut self.buffer)?;
        if count == 0 {
            return Ok(None);
        }
        self.pending.extend_from_slice(&self.buffer[..count]);
        let complete = self.pending.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let mut out = Vec::new();
        for line in self.pending[..complete].split_inclusive(|b| *b == b'\n') {
            out.extend(self.printer.line(line.strip_suffix(b"\n").unwrap_or(line)));
        }
        self.pending.drain(..complete);
        Ok(Some(out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rng::Rng;
    use std::io::Write;

    #[test]
    fn a_follower_is_led_through_the_files_that_were_moved_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let limits = LogLimits { max_size: 0, max_files: 4 };
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        let rotate = || {
            for age in (0..limits.max_files - 1).rev() {
                let _ = std::fs::rename(rotated_log(&path, age), rotated_log(&path, age + 1)); // may not be there
            }
        };
        write("a");
        let mut follower = LogReader::open(&path, limits, true, None).unwrap();
        let mut looker = LogReader::open(&path, limits, false, None).unwrap();
        let mut buffer = [0; 64];
        let mut rest = |reader: &mut LogReader| {
            let mut all = String::new();
            loop {
                match reader.read(&mut buffer).unwrap() {
                    0 => return all,
                    count => all.push_str(std::str::from_utf8(&buffer[..count]).unwrap()),
                }
            }
        };
        assert_eq!(rest(&mut follower), "a");
        assert!(!follower.has_news());
        // What came between the last look and the move, and two files since.
        write("ab");
        assert!(follower.has_news());
        rotate();
        assert_eq!(rest(&mut follower), "b", "moved, and no new one yet");
        write("cd");
        assert!(follower.has_news(), "a file after it");
        rotate();
        write("ef");
        assert_eq!(rest(&mut follower), "cdef");
        assert_eq!(rest(&mut looker), "a", "for others it ends where it ended when they came");
        // Too far behind: the oldest that is left.
        for text in ["1", "2", "3", "4", "5"] {
            rotate();
            write(text);
        }
        assert_eq!(rest(&mut follower), "2345");
    }

    const FILE: &[u8] = b"2026-01-01T00:00:01.000000000Z stdout F one\n\
        2026-01-01T00:00:02.000000000Z stdout P two-\n\
        2026-01-01T00:00:02.000000001Z stdout F long\n\
        2026-01-01T00:00:03.000000000Z stderr F three \n";

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    /// Where the last lines begin, found from the beginning.
    fn begin_of_lines(bytes: &[u8], lines: usize) -> usize {
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let (mut starts, mut at, mut open) = (vec![], 0, false);
        for line in bytes[..whole].split_inclusive(|b| *b == b'\n') {
            if !open {
                starts.push(at);
            }
            open = parse(line).is_some_and(|entry| entry.partial);
            at += line.len();
        }
        match lines {
            0 => whole,
            _ => starts.get(starts.len().saturating_sub(lines)).copied().unwrap_or(0),
        }
    }

    /// Files of entries of any length, partial ones and odd ones among them, looked through in
    /// blocks of any size.
    #[test]
    fn the_last_lines_are_found_from_the_end_in_blocks() {
        let rng = Rng::seeded(7);
        for _ in 0..300 {
            let mut bytes = vec![];
            for _ in 0..rng.range(0, 12) {
                let text = "x".repeat(rng.range(0, 300) as usize);
                let entry = match rng.range(0, 10) {
                    0 => format!("odd{text}"),
                    1..=4 => format!("2026-01-01T00:00:01.000000000Z stdout P {text}"),
                    _ => format!("2026-01-01T00:00:01.000000000Z stderr F {text}"),
                };
                bytes.extend_from_slice(entry.as_bytes());
                bytes.push(b'\n');
            }
            let cut = bytes.len().saturating_sub(rng.range(0, 3) as usize); // the last one may be half written
            bytes.truncate(cut);
            let file = file_of(&bytes);
            for lines in [0, 1, 2, 3, 5, 50] {
                for block in [1, 7, 130, 1000, BLOCK] {
                    let found = tail_begin(&file, bytes.len() as u64, lines, block).unwrap();
                    let wanted = begin_of_lines(&bytes, lines) as u64;
                    assert_eq!(
                        found,
                        wanted,
                        "{lines} lines, blocks of {block}: {}",
                        String::from_utf8_lossy(&bytes)
                    );
                }
            }
        }
    }

    /// A file that would take minutes and all memory to read: only its end is looked at.
    #[test]
    fn the_last_lines_of_a_huge_file_cost_their_own_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut file = File::create(&path).unwrap();
        file.seek(SeekFrom::Start(1 << 36)).unwrap(); // a hole, which takes no room on the disk
        file.write_all(b"\n").unwrap();
        file.write_all(FILE).unwrap();
        let limits = LogLimits { max_size: 0, max_files: 4 };
        let log = LogReader::open(&path, limits, false, Some(2)).unwrap();
        let mut pieces = Pieces::new(log, &Options::default(), 50);
        let mut all = vec![];
        while let Some(piece) = pieces.read().unwrap() {
            assert!(piece.len() <= 100);
            all.extend(piece);
        }
        assert_eq!(String::from_utf8(all).unwrap(), "two-long\nthree \n");
    }

    fn print(options: Options, from: usize) -> String {
        let mut printer = Printer::new(&options);
        let lines = FILE[from..].split_inclusive(|b| *b == b'\n').map(|l| l.strip_suffix(b"\n").unwrap_or(l));
        String::from_utf8(lines.flat_map(|l| printer.line(l)).collect()).unwrap()
    }

    #[test]
    fn partial_entries_are_one_line() {
        assert_eq!(print(Options::default(), 0), "one\ntwo-long\nthree \n");
        let stamped = print(Options { timestamps: true, ..Options::default() }, 0);
        assert_eq!(stamped.lines().nth(1), Some("2026-01-01T00:00:02.000000000Z two-long"));
    }

    #[test]
    fn tail_since_and_limit() {
        let file = file_of(FILE);
        for (lines, printed) in [(2, "two-long\nthree \n"), (0, ""), (99, "one\ntwo-long\nthree \n")] {
            let from = tail_begin(&file, FILE.len() as u64, lines, BLOCK).unwrap();
            assert_eq!(print(Options::default(), from as usize), printed);
        }
        let since = Some("2026-01-01T00:00:03Z".parse().unwrap());
        assert_eq!(print(Options { since, ..Options::default() }, 0), "three \n");
        assert_eq!(print(Options { limit: Some(5), ..Options::default() }, 0), "one\nt");
    }
}
