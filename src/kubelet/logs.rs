//! Reading containers' log files: CRI's format, `TIME STREAM F|P text`.

use crate::clock::Timestamp;
use crate::cri::{LogLimits, rotated_log};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What `kubectl logs` may ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
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
pub struct Entry<'a> {
    pub time: &'a str,
    pub partial: bool,
    pub text: &'a [u8],
}

/// Reads one line without its line end. `None` if it is not in CRI's format.
pub fn parse(line: &[u8]) -> Option<Entry<'_>> {
    let mut parts = line.splitn(4, |b| *b == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?;
    let _stream = parts.next()?;
    let tag = parts.next()?;
    Some(Entry { time, partial: tag.first() == Some(&b'P'), text: parts.next().unwrap_or_default() })
}

/// Turns log file lines into what the client sees.
pub struct Printer {
    options: Options,
    /// The last entry was partial: the next one goes on in the same line.
    open: bool,
    left: Option<usize>,
}

impl Printer {
    pub fn new(options: &Options) -> Printer {
        Printer { options: options.clone(), open: false, left: options.limit }
    }

    /// The bytes to send for a line of the file.
    pub fn line(&mut self, line: &[u8]) -> Vec<u8> {
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

    /// Has the byte limit been reached?
    pub fn full(&self) -> bool {
        self.left == Some(0)
    }
}

/// Offset in `bytes` where the last `lines` complete lines begin. A run of partial entries counts as one line.
pub fn tail_offset(bytes: &[u8], lines: usize) -> usize {
    if lines == 0 {
        return bytes.len();
    }
    let mut starts: VecDeque<usize> = VecDeque::new();
    let (mut at, mut open) = (0, false);
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        if !open {
            if starts.len() == lines {
                starts.pop_front();
            }
            starts.push_back(at);
        }
        open = parse(line).is_some_and(|e| e.partial);
        at += line.len();
    }
    starts.front().copied().unwrap_or(0)
}

/// A container's log as one stream of bytes. It begins with the current file, as upstream's does. Whoever follows is led on to the
/// files after it, and misses nothing while it is less than [`LogLimits::max_files`] behind; for others it ends where the file ended when
/// they came, so that one who writes without end keeps nobody.
pub struct Reader {
    path: PathBuf,
    limits: LogLimits,
    file: File,
    /// Bytes until the end; `None` for followers.
    left: Option<u64>,
}

impl Reader {
    /// Opens the current file where its last `tail` lines begin; all of it if that is not said.
    pub fn open(path: &Path, limits: LogLimits, follow: bool, tail: Option<usize>) -> io::Result<Reader> {
        let mut file = File::open(path)?;
        let end = file.metadata()?.len();
        let begin = match tail {
            None => 0,
            Some(lines) => {
                let mut all = Vec::new();
                (&mut file).take(end).read_to_end(&mut all)?;
                // The last line may be half written: it is not one of theirs.
                let whole = all.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
                file.seek(SeekFrom::Start(tail_offset(&all[..whole], lines) as u64))?
            }
        };
        Ok(Reader { path: path.to_path_buf(), limits, file, left: (!follow).then_some(end - begin) })
    }

    /// The next bytes; 0 when all that was written so far has been read.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(left) = &mut self.left {
                let count = (&mut self.file).take(*left).read(buffer)?;
                *left -= count as u64;
                return Ok(count);
            }
            let count = self.file.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            let Some(next) = self.successor()? else { return Ok(0) };
            // Nothing is appended any more to a file that has a next one: now its end is its end.
            let count = self.file.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            self.file = next;
        }
    }

    /// The file after this one. A file only ever moves in the direction in which they are looked through, so none slips past.
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

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut follower = Reader::open(&path, limits, true, None).unwrap();
        let mut looker = Reader::open(&path, limits, false, None).unwrap();
        let mut buffer = [0; 64];
        let mut rest = |reader: &mut Reader| {
            let mut all = String::new();
            loop {
                match reader.read(&mut buffer).unwrap() {
                    0 => return all,
                    count => all.push_str(std::str::from_utf8(&buffer[..count]).unwrap()),
                }
            }
        };
        assert_eq!(rest(&mut follower), "a");
        // What came between the last look and the move, and two files since.
        write("ab");
        rotate();
        assert_eq!(rest(&mut follower), "b", "moved, and no new one yet");
        write("cd");
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
        assert_eq!(print(Options::default(), tail_offset(FILE, 2)), "two-long\nthree \n");
        assert_eq!(print(Options::default(), tail_offset(FILE, 0)), "");
        assert_eq!(print(Options::default(), tail_offset(FILE, 99)), "one\ntwo-long\nthree \n");
        let since = Some("2026-01-01T00:00:03Z".parse().unwrap());
        assert_eq!(print(Options { since, ..Options::default() }, 0), "three \n");
        assert_eq!(print(Options { limit: Some(5), ..Options::default() }, 0), "one\nt");
    }
}
