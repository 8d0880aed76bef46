//! `tar`, `gzip`, `gunzip` and `zcat`. `kubectl cp` runs tar inside containers.

mod extract;
mod gunzip;
mod gzip;
mod hard_links;
mod list;
mod member;
mod node;
mod options;
mod path;

pub(crate) use gzip::gzip;

use crate::arguments_as_text;
use extract::extract;
use flate2::Compression;
use flate2::write::GzEncoder;
use hard_links::StoredFiles;
use options::{Action, Call, Operand, parse};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const TAR_USAGE: &str = "Usage: tar c|x|t [-zvmkpohO] [-f FILE] [-C DIR] [--strip-components N] [FILE]...";

pub(crate) fn tar(args: Vec<OsString>) -> i32 {
    let call = match parse(&arguments_as_text(args)) {
        Ok(call) => call,
        Err(what) => {
            eprintln!(
                "{}",
                if what.is_empty() { TAR_USAGE.to_string() } else { format!("tar: {what}\n{TAR_USAGE}") }
            );
            return 1;
        }
    };
    let result = match call.action {
        Action::Create => create(&call),
        Action::Extract | Action::List => extract(&call),
    };
    match result {
        Ok(code) => code,
        Err(e) => {
            eprintln!("tar: {}", super::reason(&e));
            1
        }
    }
}

/// Puts what failed before an error.
fn with_context(error: io::Error, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {}", super::reason(&error)))
}

/// Makes an archive. Returns the exit code: 1 if some names could not be read; the others are in
/// the archive.
fn create(call: &Call) -> io::Result<i32> {
    if call.operands.is_empty() {
        return Err(io::Error::other("empty archive"));
    }
    let output = match call.file.as_str() {
        "-" => File::from(io::stdout().as_fd().try_clone_to_owned()?),
        file => File::create(file).map_err(|e| with_context(e, &format!("can't open '{file}'")))?,
    };
    let archive = output.metadata().ok().filter(Metadata::is_file).map(|m| (m.dev(), m.ino()));
    let output = BufWriter::with_capacity(64 * 1024, output);
    if call.gzip {
        let mut gzip = GzEncoder::new(output, Compression::default());
        let code = write_archive(call, &mut gzip, archive)?;
        gzip.finish()?.flush()?;
        Ok(code)
    } else {
        let mut output = output;
        let code = write_archive(call, &mut output, archive)?;
        output.flush()?;
        Ok(code)
    }
}

/// Device and inode of the archive, if it is a file: it is no part of itself.
type Itself = Option<(u64, u64)>;

fn write_archive(call: &Call, output: &mut impl Write, archive: Itself) -> io::Result<i32> {
    let mut builder = tar::Builder::new(output);
    let files = StoredFiles::new(call);
    let mut packing = Packing { call, archive, files, above: Vec::new(), removed: BTreeSet::new(), code: 0 };
    for Operand { name, directory } in &call.operands {
        // As in GNU tar, slashes at the end mean nothing: `link/` is the link itself.
        let trimmed = match name.trim_end_matches('/') {
            "" if name.starts_with('/') => "/",
            trimmed => trimmed,
        };
        // No file has an empty name, which `join` would take for the directory itself.
        let path = if trimmed.is_empty() { PathBuf::new() } else { directory.join(trimmed) };
        packing.add(&mut builder, &path, Path::new(trimmed))?;
    }
    builder.finish()?;
    Ok(packing.code)
}

/// What a call of `tar c` has done so far.
struct Packing<'a> {
    call: &'a Call,
    archive: Itself,
    files: StoredFiles,
    /// Device and inode of the directories that are being packed, the outermost first: with `-h` a
    /// link may lead back to one of them.
    above: Vec<(u64, u64)>,
    /// Prefixes of names that the archive leaves out. Each is reported once.
    removed: BTreeSet<Vec<u8>>,
    /// The exit code: 1 if something could not be read.
    code: i32,
}

impl Packing<'_> {
    fn report_problem(&mut self, name: &Path, error: &io::Error) {
        eprintln!("tar: {}: {}", name.display(), super::reason(error));
        self.code = 1;
    }

    /// Returns the name that a file has in the archive. Reports a prefix that is left out of it, at
    /// its first use.
    fn stored_name<'n>(&mut self, name: &'n Path) -> &'n [u8] {
        let (removed, stored) = member::split_removed_prefix(name);
        if !removed.is_empty() && self.removed.insert(removed.to_vec()) {
            eprintln!("tar: Removing leading `{}' from member names", String::from_utf8_lossy(removed));
        }
        stored
    }

    /// Adds a file or a directory with all that is in it. What cannot be read is reported and left
    /// out; the error is of the archive itself.
    fn add(&mut self, builder: &mut tar::Builder<impl Write>, path: &Path, name: &Path) -> io::Result<()> {
        let looked = if self.call.follow { std::fs::metadata(path) } else { std::fs::symlink_metadata(path) };
        let found = match looked {
            Ok(found) => found,
            Err(error) => {
                self.report_problem(name, &error);
                return Ok(());
            }
        };
        let stored = self.stored_name(name);
        if self.call.verbose {
            let mut line = name.as_os_str().as_bytes().to_vec();
            if found.is_dir() && !line.ends_with(b"/") {
                line.push(b'/');
            }
            line.push(b'\n');
            extract::print_line(&line, self.call.file == "-")?;
        }
        if found.is_dir() {
            return self.add_directory(builder, path, name, &found);
        }
        if found.is_file() && self.archive == Some((found.dev(), found.ino())) {
            // A warning, as of other tars.
            eprintln!("tar: {}: file is the archive; skipping", name.display());
            return Ok(());
        }
        if let Some(first) = self.files.stored_name(&found) {
            return hard_links::append(builder, &found, stored, first);
        }
        if found.is_file() {
            return self.add_file(builder, path, name, stored);
        }
        if node::is_left_out(&found) {
            eprintln!("tar: {}: socket ignored", name.display()); // a warning, as of other tars
            return Ok(());
        }
        if !found.is_symlink() {
            return node::add(builder, &found, stored);
        }
        let target = match std::fs::read_link(path) {
            Ok(target) => target,
            Err(error) => {
                self.report_problem(name, &error);
                return Ok(());
            }
        };
        let mut header = tar::Header::new_gnu();
        header.set_metadata(&found);
        member::append(builder, &mut header, stored, Some(target.as_os_str().as_bytes()), io::empty())?;
        self.files.record(&found, stored);
        Ok(())
    }

    fn add_file(
        &mut self,
        builder: &mut tar::Builder<impl Write>,
        path: &Path,
        name: &Path,
        stored: &[u8],
    ) -> io::Result<()> {
        // A file that cannot be opened has left nothing in the archive yet. A named pipe that took
        // its place a moment ago is not waited for.
        let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let file = match opened {
            Ok(file) => file,
            Err(error) => {
                self.report_problem(name, &error);
                return Ok(());
            }
        };
        let mut header = tar::Header::new_gnu();
        let found = file.metadata()?;
        header.set_metadata(&found);
        let mut content = Exactly { file, left: found.len(), padded: 0 };
        member::append(builder, &mut header, stored, None, &mut content)?;
        self.files.record(&found, stored);
        if content.padded > 0 {
            let shrank = format!("file shrank by {} bytes; padding with zeros", content.padded);
            self.report_problem(name, &io::Error::other(shrank));
        }
        Ok(())
    }

    fn add_directory(
        &mut self,
        builder: &mut tar::Builder<impl Write>,
        path: &Path,
        name: &Path,
        found: &Metadata,
    ) -> io::Result<()> {
        let id = (found.dev(), found.ino());
        if self.above.contains(&id) {
            self.report_problem(name, &io::Error::other("a link leads back to a directory around it"));
            return Ok(());
        }
        let mut stored = self.stored_name(name).to_vec();
        stored.push(b'/'); // as other tars store it
        let mut header = tar::Header::new_gnu();
        header.set_metadata(found);
        member::append(builder, &mut header, &stored, None, io::empty())?;
        let read = std::fs::read_dir(path).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
        let mut entries = match read {
            Ok(entries) => entries,
            Err(error) => {
                self.report_problem(name, &error);
                return Ok(());
            }
        };
        entries.sort_by_key(std::fs::DirEntry::file_name);
        self.above.push(id);
        for entry in entries {
            self.add(builder, &entry.path(), &name.join(entry.file_name()))?;
        }
        self.above.pop();
        Ok(())
    }
}

/// As many bytes of a file as its header promises, whatever happens to the file meanwhile: what a
/// growing file gets is left out, what a shrinking one lacks is zero.
struct Exactly {
    file: File,
    left: u64,
    padded: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let part = &mut buffer[..most];
        let count = match self.file.read(part) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Err(e),
            // The entries behind this one must stay where readers look for them.
            Ok(0) | Err(_) => {
                part.fill(0);
                self.padded += most as u64;
                most
            }
            Ok(count) => count,
        };
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Call {
        parse(&line.split(' ').map(str::to_string).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn kubectls_calls_are_understood() {
        let names = |call: &Call| call.operands.iter().map(|o| o.name.clone()).collect::<Vec<_>>();
        let pack = call("cf - var/log");
        assert_eq!((pack.action, pack.file.as_str()), (Action::Create, "-"));
        assert_eq!(names(&pack), ["var/log"]);
        let unpack = call("--no-same-permissions --no-same-owner -xmf - -C /tmp");
        assert_eq!((unpack.action, unpack.touch, unpack.owners), (Action::Extract, true, false));
        assert_eq!(unpack.directory, Path::new("/tmp"));
        assert!(call("-tzf x").gzip && call("tf x.tgz").gzip);
        assert_eq!(parse(&["f".into(), "x".into()]), Err(String::new()));
        assert_eq!(names(&call("-cf x a -- -z --y")), ["a", "-z", "--y"]);
    }

    /// As in GNU tar 1.34.
    #[test]
    fn each_name_belongs_to_the_directory_options_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let (root, at) = (dir.path().display(), |name: &str| dir.path().join(name));
        for (folder, file) in [("x", "f"), ("y", "g"), ("y/z", "f")] {
            std::fs::create_dir(at(folder)).unwrap();
            std::fs::write(at(folder).join(file), folder).unwrap();
        }
        let line = format!("cf {root}/a.tar -C {root} -C x f --directory=../y g -C z f");
        assert_eq!(create(&call(&line)).unwrap(), 0);
        let mut archive = tar::Archive::new(File::open(at("a.tar")).unwrap());
        let read = |entry: io::Result<tar::Entry<'_, File>>| io::read_to_string(entry.unwrap()).unwrap();
        assert_eq!(archive.entries().unwrap().map(read).collect::<Vec<_>>(), ["x", "y", "y/z"]);
        for folder in ["1", "2", "3"] {
            std::fs::create_dir(at(folder)).unwrap();
        }
        // A name that stands twice belongs to its first place.
        let line = format!("xf {root}/a.tar -C {root}/1 f -C ../2 f g -C {root}/3");
        assert_eq!(extract(&call(&line)).unwrap(), 0);
        let names = |folder: &str| {
            let entries = std::fs::read_dir(at(folder)).unwrap();
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!((names("1"), names("2"), names("3")), (vec!["f".into()], vec!["g".into()], vec![]));
        let words = ["cf", "a.tar", "f", "-C", "x"].map(String::from);
        assert!(parse(&words).unwrap_err().starts_with("-C has no effect"));
    }

    #[test]
    fn what_is_packed_can_be_unpacked() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(at("from/sub")).unwrap();
        std::fs::write(at("from/sub/file"), "content").unwrap();
        std::os::unix::fs::symlink("file", at("from/sub/link")).unwrap();
        std::fs::create_dir(at("to")).unwrap();
        let archive = at("a.tgz");
        let (from, to, archive) = (at("from"), at("to"), archive.to_str().unwrap());
        assert_eq!(create(&call(&format!("-czf {archive} -C {} sub", from.display()))).unwrap(), 0);
        assert_eq!(extract(&call(&format!("xf {archive} -C {}", to.display()))).unwrap(), 0);
        assert_eq!(std::fs::read_to_string(at("to/sub/link")).unwrap(), "content");
        assert!(std::fs::symlink_metadata(at("to/sub/link")).unwrap().is_symlink());
    }

    #[test]
    fn links_are_followed_if_asked_and_never_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(dir.path().join("f"), "content").unwrap();
        for (link, to) in [("d/f", "../f"), ("d/up", ".."), ("d/nowhere", "missing")] {
            std::os::unix::fs::symlink(to, dir.path().join(link)).unwrap();
        }
        let archive = dir.path().join("d/z.tar");
        let line = format!("chf {} -C {} d", archive.display(), dir.path().display());
        assert_eq!(create(&call(&line)).unwrap(), 1, "one leads nowhere, one back");
        let mut archive = tar::Archive::new(File::open(&archive).unwrap());
        let sizes: Vec<(String, u64)> = archive
            .entries()
            .unwrap()
            .map(|e| e.map(|e| (e.path().unwrap().display().to_string(), e.size())).unwrap())
            .collect();
        let sizes: Vec<(&str, u64)> = sizes.iter().map(|(name, size)| (name.as_str(), *size)).collect();
        // `d/up/f` is the file of `d/f`, and so a hard link to it.
        assert_eq!(sizes, [("d/", 0), ("d/f", 7), ("d/up/", 0), ("d/up/f", 0)]);
    }

    /// As in GNU tar 1.34, except for its status 2.
    #[test]
    fn slashes_at_the_end_of_a_name_mean_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(dir.path().join("d/f"), "x").unwrap();
        std::os::unix::fs::symlink("d", dir.path().join("l")).unwrap();
        let path = dir.path().join("a.tar");
        for (names, code, stored) in [
            ("d//", 0, &["d/", "d/f"][..]),
            ("d/f/", 0, &["d/f"]),
            ("l/", 0, &["l"]),
            ("-h l/", 0, &["l/", "l/f"]),
            ("", 1, &[]),
        ] {
            let line = format!("cf {} -C {} {names}", path.display(), dir.path().display());
            assert_eq!(create(&call(&line)).unwrap(), code, "{names}");
            let mut archive = tar::Archive::new(File::open(&path).unwrap());
            let found: Vec<String> = archive
                .entries()
                .unwrap()
                .map(|e| String::from_utf8(e.unwrap().path_bytes().to_vec()).unwrap())
                .collect();
            assert_eq!(found, stored, "{names}");
        }
    }

    #[test]
    fn an_archive_is_no_part_of_itself() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "x").unwrap();
        let archive = dir.path().join("z.tar");
        let line = format!("cf {} -C {} .", archive.display(), dir.path().display());
        assert_eq!(create(&call(&line)).unwrap(), 0);
        let mut archive = tar::Archive::new(File::open(&archive).unwrap());
        let names: Vec<String> =
            archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(names, ["./", "./f"]);
    }

    #[test]
    fn an_entry_is_as_long_as_its_header_says() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "abcdef").unwrap();
        for (left, content, padded) in [(3, "abc", 0), (6, "abcdef", 0), (8, "abcdef\0\0", 2)] {
            let mut exactly = Exactly { file: File::open(&path).unwrap(), left, padded: 0 };
            let mut text = String::new();
            exactly.read_to_string(&mut text).unwrap();
            assert_eq!((text.as_str(), exactly.padded), (content, padded));
        }
    }

    #[test]
    fn what_cannot_be_read_is_left_out_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("q");
        std::fs::create_dir(&from).unwrap();
        for name in ["1", "3"] {
            std::fs::write(from.join(name), name).unwrap();
        }
        let _socket = std::os::unix::net::UnixListener::bind(from.join("2")).unwrap();
        let archive = dir.path().join("a.tar");
        let line = |names: &str| format!("cf {} -C {} {names}", archive.display(), dir.path().display());
        assert_eq!(create(&call(&line("q"))).unwrap(), 0, "a socket is no failure");
        assert_eq!(create(&call(&line("q missing"))).unwrap(), 1);
        let mut archive = tar::Archive::new(File::open(&archive).unwrap());
        let names: Vec<String> =
            archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(names, ["q/", "q/1", "q/3"]);
    }
}
