//! The append-only log: every command that changed the data, in the order in which it did. The
//! server appends to it and waits for the disk (fdatasync(2)) before it replies, so what a client
//! has a reply for is not lost when the process is killed, or the machine loses its power.
//!
//! The file begins with [`MAGIC`]. A record holds the commands of one batch as RESP requests:
//!
//! | bytes | |
//! |---|---|
//! | 4 | length of the commands, little-endian |
//! | 4 | CRC-32 of the commands |
//! | 4 | CRC-32 of the eight bytes before |
//! | length | the commands |
//!
//! A record that a crash cut off is the last one, ends too early, or ends with zeros that a file
//! system put there. No client had a reply for it, so it is cut off. Any other fault is damage.

use super::commands;
use super::resp::{Requests, Words, write_request};
use super::store::{Database, Value};
use flate2::Crc;
use linux::lock::Lock;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

const MAGIC: &[u8] = b"ropewalk kv 1\n";
const HEADER: usize = 12;
/// Bytes of a record's commands.
const RECORD_MAX: usize = 16 << 20;
/// Commands share a record up to about this many bytes.
const RECORD: usize = 1 << 20;
/// A smaller log is not rewritten by itself.
const REWRITE_FROM: u64 = 1 << 20;
/// Another server may be about to end.
const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 10 } else { 5000 });

pub(super) struct Log {
    file: File,
    dir: PathBuf,
    size: u64,
    /// Its size when it was read, or rewritten.
    base: u64,
    /// The disk refused a change: the file may end with a part of a record, and nothing may follow.
    has_failed: bool,
    _lock: Lock,
}

/// How much of a log could be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Bytes up to the end of the last whole record.
    whole: u64,
    /// Bytes of the record that was cut off.
    torn: u64,
}

impl Log {
    fn path(dir: &Path) -> PathBuf {
        dir.join("kv.log")
    }

    /// Opens the log of a directory, makes it if absent, and runs its commands on the empty `db`.
    /// `report` gets what the operator should know.
    ///
    /// # Errors
    /// Another server uses the directory; the log is damaged; the disk refuses.
    pub(super) fn open(dir: &Path, db: &mut Database, report: impl FnOnce(String)) -> Result<Log, String> {
        let refused = |e: io::Error| format!("cannot use {}: {}", dir.display(), crate::reason(&e));
        let lock = Lock::take(&dir.join("kv.lock"), PATIENCE).map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => format!(
                "another kv-server uses {}: two servers cannot share a directory (a Deployment with a volume \
                 needs the strategy Recreate)",
                dir.display()
            ),
            _ => refused(e),
        })?;
        let path = Log::path(dir);
        let file = match File::options().read(true).append(true).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let (file, size) = write_new_log(dir, db).map_err(refused)?;
                return Ok(Log { file, dir: dir.into(), size, base: size, has_failed: false, _lock: lock });
            }
            Err(e) => return Err(refused(e)),
        };
        let Extent { whole, torn } =
            replay_log(BufReader::new(&file), db).map_err(|e| format!("{}: {e}", path.display()))?;
        if torn > 0 {
            file.set_len(whole).and_then(|()| file.sync_all()).map_err(refused)?;
            report(format!(
                "{} ended in the middle of a record; its last {torn} bytes are cut off (no client had a reply \
                 for them)",
                path.display()
            ));
        }
        Ok(Log { file, dir: dir.into(), size: whole, base: whole, has_failed: false, _lock: lock })
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Makes the log write to another file.
    #[cfg(test)]
    pub(super) fn write_to(&mut self, file: File) {
        self.file = file;
    }

    /// Appends commands, and waits for the disk.
    ///
    /// # Errors
    /// The disk refuses, or refused before: a part of that record may be in the file, and a record
    /// behind it could not be read.
    pub(super) fn append(&mut self, commands: &[Words]) -> io::Result<()> {
        self.check()?;
        let (mut text, mut records) = (Vec::new(), Vec::new());
        for (nth, words) in commands.iter().enumerate() {
            write_request(words, &mut text);
            if text.len() > RECORD || nth + 1 == commands.len() {
                records.extend(frame_record(&text));
                text.clear();
            }
        }
        self.has_failed = true; // unless all of it gets there
        self.file.write_all(&records)?;
        self.file.sync_data()?;
        self.has_failed = false;
        self.size += records.len() as u64;
        Ok(())
    }

    /// Fails if the disk refused an earlier change: then the data has changes that the log lacks.
    ///
    /// # Errors
    /// The disk refused before.
    pub(super) fn check(&self) -> io::Result<()> {
        if self.has_failed { Err(io::Error::other("an earlier change could not be written")) } else { Ok(()) }
    }

    /// Has it grown to more than twice of what it was?
    pub(super) fn is_long(&self) -> bool {
        self.size > REWRITE_FROM && self.size > 2 * self.base
    }

    /// Replaces it by a log that makes the same data in the shortest way. The old one stays until
    /// the new one is on the disk.
    ///
    /// # Errors
    /// The disk refuses; then the old one stays.
    pub(super) fn rewrite(&mut self, db: &Database) -> io::Result<()> {
        self.has_failed = true; // the new file may have its name already
        let (file, size) = write_new_log(&self.dir, db)?;
        (self.file, self.size, self.base, self.has_failed) = (file, size, size, false);
        Ok(())
    }
}

/// Writes a new log, and puts it in its place once it is on the disk.
fn write_new_log(dir: &Path, db: &Database) -> io::Result<(File, u64)> {
    let path = dir.join("kv.log.new");
    let _ = fs::remove_file(&path); // of a rewrite that was interrupted
    let mut file = File::options().append(true).create_new(true).open(&path)?;
    file.write_all(MAGIC)?;
    let mut size = MAGIC.len() as u64;
    let mut text = Vec::new();
    let mut flush = |text: &mut Vec<u8>| {
        let record = frame_record(text);
        size += record.len() as u64;
        text.clear();
        file.write_all(&record)
    };
    for (key, entry) in db.iter() {
        let mut commands = Vec::new();
        write_value_commands(key, &entry.value, &mut |words| {
            write_request(words, &mut commands);
            text.append(&mut commands);
            if text.len() > RECORD { flush(&mut text) } else { Ok(()) }
        })?;
        if let Some(at) = entry.expires {
            write_request(&[&b"PEXPIREAT"[..], key, at.to_string().as_bytes()], &mut text);
        }
    }
    if !text.is_empty() {
        flush(&mut text)?;
    }
    file.sync_all()?;
    fs::rename(&path, Log::path(dir))?;
    File::open(dir)?.sync_all()?; // so that the new name is on the disk, too
    Ok((file, size))
}

/// Tells `write` the commands that make a value.
fn write_value_commands(
    key: &[u8],
    value: &Value,
    write: &mut dyn FnMut(&[&[u8]]) -> io::Result<()>,
) -> io::Result<()> {
    match value {
        Value::Text(text) => write(&[b"SET", key, text]),
        Value::Hash(map) => {
            let pairs = map.iter().map(|(field, value)| vec![field.as_slice(), value.as_slice()]);
            in_parts(b"HSET", key, pairs, write)
        }
        Value::List(list) => in_parts(b"RPUSH", key, list.iter().map(|value| vec![value.as_slice()]), write),
        Value::Set(set) => in_parts(b"SADD", key, set.iter().map(|value| vec![value.as_slice()]), write),
    }
}

/// Commands with some elements each, so that none is longer than a request may be.
fn in_parts<'a>(
    name: &'a [u8],
    key: &'a [u8],
    elements: impl Iterator<Item = Vec<&'a [u8]>>,
    write: &mut dyn FnMut(&[&[u8]]) -> io::Result<()>,
) -> io::Result<()> {
    let (mut words, mut size) = (vec![name, key], 0);
    for element in elements {
        size += element.iter().map(|word| word.len()).sum::<usize>();
        words.extend(element);
        if size > RECORD / 2 || words.len() > 1000 {
            write(&words)?;
            words.truncate(2);
            size = 0;
        }
    }
    if words.len() > 2 { write(&words) } else { Ok(()) }
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum().to_le_bytes()
}

fn frame_record(commands: &[u8]) -> Vec<u8> {
    let length = u32::try_from(commands.len()).unwrap_or(u32::MAX); // a batch is far shorter
    let mut record = [length.to_le_bytes(), checksum(commands)].concat();
    record.extend(checksum(&record));
    record.extend_from_slice(commands);
    record
}

/// Reads until the buffer is full or the file ends. Returns how many bytes were read.
fn read_until_full(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(length)
}

/// Returns the length of the rest if it is nothing but zeros.
fn zeros_to_the_end(file: &mut impl Read) -> io::Result<Option<u64>> {
    let (mut buffer, mut length) = (vec![0; 64 << 10], 0);
    loop {
        match read_until_full(file, &mut buffer)? {
            0 => return Ok(Some(length)),
            count if buffer[..count].iter().any(|byte| *byte != 0) => return Ok(None),
            count => length += count as u64,
        }
    }
}

/// Runs the commands of a log.
pub(super) fn replay_log(mut file: impl Read, db: &mut Database) -> Result<Extent, String> {
    let failed = |e: io::Error| format!("cannot be read: {}", crate::reason(&e));
    let mut magic = [0; MAGIC.len()];
    if read_until_full(&mut file, &mut magic).map_err(failed)? < MAGIC.len() || magic != *MAGIC {
        return Err("is no log of kv-server; move it away to begin without data".into());
    }
    let mut whole = MAGIC.len() as u64;
    loop {
        let damaged = |what: &str| {
            format!(
                "is damaged at byte {whole}: {what}. Nothing was changed. Put a backup of it there, or move it \
                 away to begin without data"
            )
        };
        let mut header = [0; HEADER];
        let got = read_until_full(&mut file, &mut header).map_err(failed)?;
        if got < HEADER {
            return Ok(Extent { whole, torn: got as u64 });
        }
        let (fields, check) = header.split_at(8);
        if checksum(fields) != *check {
            let rest = zeros_to_the_end(&mut file).map_err(failed)?;
            return match rest.filter(|_| header.ends_with(&[0])) {
                Some(rest) => Ok(Extent { whole, torn: HEADER as u64 + rest }),
                None => Err(damaged("the head of a record is wrong")),
            };
        }
        let length = fields.iter().take(4).rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        if length > RECORD_MAX {
            return Err(damaged("a record is too long"));
        }
        let mut commands = vec![0; length];
        let got = read_until_full(&mut file, &mut commands).map_err(failed)?;
        if got < length {
            return Ok(Extent { whole, torn: (HEADER + got) as u64 });
        }
        if checksum(&commands) != fields[4..] {
            // Commands end with a newline; a zero in its place was never written.
            let rest = zeros_to_the_end(&mut file).map_err(failed)?;
            return match rest.filter(|_| commands.last() == Some(&0)) {
                Some(rest) => Ok(Extent { whole, torn: (HEADER + length) as u64 + rest }),
                None => Err(damaged("the checksum of a record is wrong")),
            };
        }
        replay(&commands, db).map_err(|e| damaged(&e))?;
        whole += (HEADER + length) as u64;
    }
}

fn replay(commands: &[u8], db: &mut Database) -> Result<(), String> {
    let mut requests = Requests::default();
    requests.push(commands);
    while let Some(words) = requests.next()? {
        commands::replay(db, words).map_err(|e| format!("a command cannot be run again ({e})"))?;
    }
    match requests.is_between_two() {
        true => Ok(()),
        false => Err("a record ends within a command".into()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::kv::resp::split_line;

    /// Returns a log with two records.
    pub(crate) fn example() -> Vec<u8> {
        let text = |line: &str| {
            let mut text = Vec::new();
            write_request(&words(line), &mut text);
            frame_record(&text)
        };
        [MAGIC, &text("SET a 1 PXAT 5"), &text("RPUSH l a b")].concat()
    }

    fn words(line: &str) -> Words {
        split_line(line.as_bytes()).unwrap()
    }

    fn open(dir: &Path) -> (Result<Log, String>, Database, Option<String>) {
        let (mut db, mut notice) = (Database::default(), None);
        let log = Log::open(dir, &mut db, |text| notice = Some(text));
        (log, db, notice)
    }

    fn dump(db: &Database) -> Vec<String> {
        db.iter().map(|(key, entry)| format!("{} {entry:?}", String::from_utf8_lossy(key))).collect()
    }

    fn filled(dir: &Path) -> (Vec<u8>, Vec<usize>) {
        let mut log = open(dir).0.unwrap();
        let mut ends = vec![log.size() as usize];
        for lines in [&["SET a 1", "RPUSH l x y"][..], &["HSET h f 1 g 2"], &["PEXPIREAT a 5000", "SADD s 1"]]
        {
            log.append(&lines.iter().map(|line| words(line)).collect::<Vec<_>>()).unwrap();
            ends.push(log.size() as usize);
        }
        (fs::read(dir.join("kv.log")).unwrap(), ends)
    }

    #[test]
    fn a_log_that_was_cut_anywhere_is_read_up_to_the_record_before() {
        let dir = tempfile::tempdir().unwrap();
        let (bytes, ends) = filled(dir.path());
        assert_eq!(open(dir.path()).1.len(), 4);
        for length in ends[0]..bytes.len() {
            // A file system may have made the file longer before it wrote.
            for zeros in [0, 1, 100] {
                let mut file = bytes[..length].to_vec();
                file.extend(vec![0; zeros]);
                let mut db = Database::default();
                let whole = *ends.iter().rfind(|end| **end <= length).unwrap();
                let want = Extent { whole: whole as u64, torn: (file.len() - whole) as u64 };
                assert_eq!(replay_log(&file[..], &mut db), Ok(want), "{length} and {zeros}");
            }
        }
        fs::write(dir.path().join("kv.log"), &bytes[..bytes.len() - 3]).unwrap();
        let (log, db, notice) = open(dir.path());
        assert!(notice.is_some_and(|text| text.contains("in the middle of a record")), "reported");
        assert_eq!(db.len(), 3);
        log.unwrap().append(&[words("SET b 2")]).unwrap();
        let (_, db, notice) = open(dir.path());
        assert_eq!((db.len(), notice), (4, None));
    }

    #[test]
    fn damage_is_never_taken_for_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let (bytes, _) = filled(dir.path());
        for at in 0..bytes.len() {
            let mut file = bytes.clone();
            file[at] ^= 0x40;
            let error = replay_log(&file[..], &mut Database::default()).unwrap_err();
            assert!(error.contains("is damaged at byte") || at < MAGIC.len(), "{at}: {error}");
        }
        let path = dir.path().join("kv.log");
        fs::write(&path, [&bytes[..40], b"x", &bytes[41..]].concat()).unwrap();
        let error = open(dir.path()).0.err().unwrap();
        assert!(error.starts_with(&format!("{}: is damaged at byte 14: ", path.display())), "{error}");
    }

    #[test]
    fn a_rewritten_log_makes_the_same_data() {
        let dir = tempfile::tempdir().unwrap();
        let (log, mut db, _) = open(dir.path());
        let mut log = log.unwrap();
        let text = "x".repeat(1000);
        for n in 0..3000 {
            for line in [format!("SET k {text}{n}"), format!("RPUSH l {n}"), format!("HSET h f{n} {text}")] {
                commands::replay(&mut db, words(&line)).unwrap();
            }
        }
        for line in ["SADD s a b", "SET t 1 PXAT 99999999999999", "SET e ''"] {
            commands::replay(&mut db, words(line)).unwrap();
        }
        while !log.is_long() {
            log.append(&vec![words(&format!("SET k {text}")); 500]).unwrap();
        }
        log.rewrite(&db).unwrap();
        assert!(!log.is_long() && log.size() > 2 << 20);
        drop(log);
        let (log, read, _) = open(dir.path());
        assert_eq!((dump(&read), read.used_bytes()), (dump(&db), db.used_bytes()));
        let error = open(dir.path()).0.err().unwrap();
        assert!(error.starts_with("another kv-server uses"), "{error}");
        drop(log);
    }

    #[test]
    fn a_log_holds_only_what_changes_data() {
        let mut text = Vec::new();
        write_request(&["GET", "a"], &mut text);
        let file = [MAGIC, &frame_record(&text)].concat();
        let error = replay_log(&file[..], &mut Database::default()).unwrap_err();
        assert!(error.contains("'get' changes no data"), "{error}");
        let file = [MAGIC, &frame_record(&text[..text.len() - 1])].concat();
        let error = replay_log(&file[..], &mut Database::default()).unwrap_err();
        assert!(error.contains("ends within a command"), "{error}");
    }
}
