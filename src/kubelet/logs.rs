//! Reading containers' log files: CRI's format, `TIME STREAM F|P text`.

use crate::clock::Timestamp;
use std::collections::VecDeque;

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

#[cfg(test)]
mod tests {
    use super::*;

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
