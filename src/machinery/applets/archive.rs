//! `tar`, `gzip`, `gunzip` and `zcat`. `kubectl cp` runs tar inside containers.

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use std::ffi::OsString;
use std::fs::{File, FileTimes, Metadata, Permissions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

fn texts(args: Vec<OsString>) -> Vec<String> {
    args.into_iter().skip(1).map(|a| a.to_string_lossy().into_owned()).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Create,
    Extract,
    List,
}

#[derive(Debug, PartialEq, Eq)]
struct Call {
    action: Action,
    /// `-` is a standard stream.
    file: String,
    gzip: bool,
    verbose: bool,
    /// `-C`.
    directory: PathBuf,
    /// `-m`: times are those of extraction.
    touch: bool,
    keep_old: bool,
    to_stdout: bool,
    /// Leading parts of names to leave out.
    strip: usize,
    owners: bool,
    names: Vec<String>,
}

const TAR_USAGE: &str = "Usage: tar c|x|t [-zvmkO] [-f FILE] [-C DIR] [--strip-components N] [FILE]...";

fn parse(args: &[String]) -> Result<Call, String> {
    let mut action = None;
    let mut call = Call {
        action: Action::List,
        file: "-".into(),
        gzip: false,
        verbose: false,
        directory: ".".into(),
        touch: false,
        keep_old: false,
        to_stdout: false,
        strip: 0,
        owners: true,
        names: Vec::new(),
    };
    let mut words = args.iter();
    let mut first = true;
    while let Some(word) = words.next() {
        let old_style = std::mem::take(&mut first) && !word.starts_with('-');
        if let Some(long) = word.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_string())),
                None => (long, None),
            };
            let mut value = || {
                value
                    .clone()
                    .or_else(|| words.next().cloned())
                    .ok_or(format!("--{name} requires an argument"))
            };
            match name {
                "create" => action = Some(Action::Create),
                "extract" | "get" => action = Some(Action::Extract),
                "list" => action = Some(Action::List),
                "file" => call.file = value()?,
                "directory" => call.directory = value()?.into(),
                "gzip" => call.gzip = true,
                "verbose" => call.verbose = true,
                "touch" => call.touch = true,
                "strip-components" => {
                    call.strip = value()?.parse().map_err(|_| "invalid number".to_string())?
                }
                "no-same-owner" => call.owners = false,
                "no-same-permissions" | "warning" | "numeric-owner" => {}
                _ => return Err(format!("unrecognized option '--{name}'")),
            }
            continue;
        }
        let letters = word.strip_prefix('-').filter(|l| !l.is_empty());
        let Some(letters) = letters.or(old_style.then_some(word)) else {
            call.names.push(word.clone());
            continue;
        };
        let mut letters = letters.chars();
        while let Some(letter) = letters.next() {
            match letter {
                'c' => action = Some(Action::Create),
                'x' => action = Some(Action::Extract),
                't' => action = Some(Action::List),
                'z' => call.gzip = true,
                'v' => call.verbose = true,
                'm' => call.touch = true,
                'k' => call.keep_old = true,
                'O' => call.to_stdout = true,
                'o' => call.owners = false,
                'p' | 'h' => {}
                'f' | 'C' => {
                    // In the old style all letters come first and their values after them.
                    let rest: String = if old_style { String::new() } else { letters.by_ref().collect() };
                    let value = if rest.is_empty() { words.next().cloned() } else { Some(rest) };
                    let value = value.ok_or(format!("option requires an argument -- '{letter}'"))?;
                    match letter {
                        'f' => call.file = value,
                        _ => call.directory = value.into(),
                    }
                }
                other => return Err(format!("unrecognized option: {other}")),
            }
        }
    }
    call.gzip |= [".tgz", ".tar.gz"].iter().any(|end| call.file.ends_with(end));
    call.action = action.ok_or_else(String::new)?;
    Ok(call)
}

pub fn tar(args: Vec<OsString>) -> i32 {
    let call = match parse(&texts(args)) {
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

fn context(error: io::Error, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {}", super::reason(&error)))
}

/// 1 if some names could not be read; the others are in the archive.
fn create(call: &Call) -> io::Result<i32> {
    if call.names.is_empty() {
        return Err(io::Error::other("empty archive"));
    }
    let output = match call.file.as_str() {
        "-" => File::from(io::stdout().as_fd().try_clone_to_owned()?),
        file => File::create(file).map_err(|e| context(e, &format!("can't open '{file}'")))?,
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
    builder.follow_symlinks(false);
    let mut code = 0;
    for name in &call.names {
        add(call, &mut builder, archive, &call.directory.join(name), Path::new(name), &mut code)?;
    }
    builder.finish()?;
    Ok(code)
}

/// Adds a file or a directory with all that is in it. What cannot be read is told and left out, and
/// the code becomes 1; the error is of the archive itself.
fn add(
    call: &Call,
    builder: &mut tar::Builder<impl Write>,
    archive: Itself,
    path: &Path,
    name: &Path,
    code: &mut i32,
) -> io::Result<()> {
    let mut left_out = |error: io::Error| {
        eprintln!("tar: {}: {}", name.display(), super::reason(&error));
        *code = 1;
    };
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) => {
            left_out(error);
            return Ok(());
        }
    };
    let stored: PathBuf =
        name.components().filter(|c| !matches!(c, Component::RootDir | Component::ParentDir)).collect();
    if call.verbose {
        eprintln!("{}{}", stored.display(), if found.is_dir() { "/" } else { "" });
    }
    if !found.is_dir() {
        if found.is_file() && archive == Some((found.dev(), found.ino())) {
            // A warning, as of other tars.
            eprintln!("tar: {}: file is the archive; skipping", name.display());
            return Ok(());
        }
        if found.is_file() {
            // A file that cannot be opened has left nothing in the archive yet.
            let file = match File::open(path) {
                Ok(file) => file,
                Err(error) => {
                    left_out(error);
                    return Ok(());
                }
            };
            let mut header = tar::Header::new_gnu();
            let found = file.metadata()?;
            header.set_metadata(&found);
            let mut content = Exactly { file, left: found.len(), padded: 0 };
            builder.append_data(&mut header, stored, &mut content)?;
            if content.padded > 0 {
                let shrank = format!("file shrank by {} bytes; padding with zeros", content.padded);
                left_out(io::Error::other(shrank));
            }
            return Ok(());
        }
        if kind_is_left_out(&found) {
            left_out(io::Error::other("socket ignored"));
            return Ok(());
        }
        return builder.append_path_with_name(path, stored);
    }
    if !stored.as_os_str().is_empty() {
        builder.append_dir(&stored, path)?;
    }
    let read = std::fs::read_dir(path).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    let mut entries = match read {
        Ok(entries) => entries,
        Err(error) => {
            left_out(error);
            return Ok(());
        }
    };
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        add(call, builder, archive, &entry.path(), &name.join(entry.file_name()), code)?;
    }
    Ok(())
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

/// A socket is nothing that an archive can hold.
fn kind_is_left_out(found: &std::fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_socket(&found.file_type())
}

fn extract(call: &Call) -> io::Result<i32> {
    let input: Box<dyn Read> = match call.file.as_str() {
        "-" => Box::new(io::stdin()),
        file => Box::new(File::open(file).map_err(|e| context(e, &format!("can't open '{file}'")))?),
    };
    let mut input = BufReader::with_capacity(64 * 1024, input);
    let zipped = call.gzip || io::BufRead::fill_buf(&mut input)?.starts_with(&[0x1f, 0x8b]);
    let input: Box<dyn Read> = if zipped { Box::new(MultiGzDecoder::new(input)) } else { Box::new(input) };
    let mut archive = tar::Archive::new(input);
    archive.set_preserve_permissions(true);
    archive.set_preserve_mtime(!call.touch);
    archive.set_preserve_ownerships(call.owners && nix::unistd::geteuid().is_root());
    archive.set_overwrite(!call.keep_old);
    let mut code = 0;
    let mut missing: Vec<&String> = call.names.iter().collect();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        missing.retain(|name| !path.starts_with(name));
        let wanted = call.names.is_empty() || call.names.iter().any(|name| path.starts_with(name));
        let stripped: PathBuf = path.components().skip(call.strip).collect();
        if !wanted || (stripped.as_os_str().is_empty() && call.action == Action::Extract) {
            continue;
        }
        if call.action == Action::List {
            println!("{}", path.display());
            continue;
        }
        if call.verbose {
            eprintln!("{}", path.display());
        }
        if call.to_stdout {
            io::copy(&mut entry, &mut io::stdout())?;
        } else if let Err(e) = unpack(&mut entry, &call.directory, &stripped, call.strip) {
            eprintln!("tar: {}: {}", path.display(), super::reason(&e));
            code = 1;
        }
    }
    for name in missing {
        eprintln!("tar: {name}: not found in archive");
        code = 1;
    }
    Ok(code)
}

/// Where a name of the archive is below `directory`; with `make` its parent is made. Never outside:
/// a name with `..` is refused, and links on the way are not followed out. Each part is looked at
/// before the next one is made.
fn place(directory: &Path, name: &Path, make: bool) -> io::Result<PathBuf> {
    if name.components().any(|c| c == Component::ParentDir) {
        return Err(io::Error::other("name with '..' in the archive"));
    }
    let relative: PathBuf = name.components().filter(|c| matches!(c, Component::Normal(_))).collect();
    let root = directory.canonicalize()?;
    let (Some(parent), Some(last)) = (relative.parent(), relative.file_name()) else {
        return Ok(root); // the directory itself
    };
    let mut place = root.clone();
    for part in parent {
        let next = place.join(part);
        place = match next.canonicalize() {
            Ok(real) => real,
            Err(e) if e.kind() == io::ErrorKind::NotFound && make => {
                std::fs::create_dir(&next)?; // fails for a link to nowhere
                next
            }
            Err(e) => return Err(e),
        };
        if !place.starts_with(&root) {
            return Err(io::Error::other("a link leads out of the directory"));
        }
    }
    Ok(place.join(last))
}

/// Never outside of `directory`, neither the entry itself nor the file that a hard link shares. A
/// hard link names another entry of the archive, so its name is stripped as that one's was.
fn unpack(
    entry: &mut tar::Entry<'_, impl Read>,
    directory: &Path,
    name: &Path,
    strip: usize,
) -> io::Result<()> {
    let target = place(directory, name, true)?;
    if entry.header().entry_type().is_hard_link() {
        let linked = entry.link_name()?.ok_or_else(|| io::Error::other("a hard link without a name"))?;
        let source = place(directory, &linked.components().skip(strip).collect::<PathBuf>(), false)?;
        if std::fs::symlink_metadata(&source)?.is_dir() {
            return Err(io::Error::other("a hard link to a directory"));
        }
        if std::fs::symlink_metadata(&target).is_ok() {
            std::fs::remove_file(&target)?;
        }
        // linkat(2) without AT_SYMLINK_FOLLOW: a symbolic link at the source is linked itself.
        return std::fs::hard_link(source, target);
    }
    entry.unpack(&target).map(drop).map_err(|e| match std::error::Error::source(&e) {
        Some(cause) => io::Error::new(e.kind(), cause.to_string()),
        None => e,
    })
}

#[derive(Debug, PartialEq, Eq)]
struct Zip {
    decompress: bool,
    to_stdout: bool,
    keep: bool,
    force: bool,
    level: u32,
    files: Vec<String>,
}

fn parse_gzip(args: &[String], mut zip: Zip) -> Result<Zip, char> {
    for word in args {
        match word.strip_prefix('-').filter(|l| !l.is_empty()) {
            None => zip.files.push(word.clone()),
            Some(letters) => {
                for letter in letters.chars() {
                    match letter {
                        'd' => zip.decompress = true,
                        'c' => zip.to_stdout = true,
                        'k' => zip.keep = true,
                        'f' => zip.force = true,
                        '1'..='9' => zip.level = u32::from(letter) - u32::from('0'),
                        'n' | 'q' | 'v' => {}
                        other => return Err(other),
                    }
                }
            }
        }
    }
    Ok(zip)
}

/// `gzip`, and under other names `gunzip` and `zcat`.
pub fn gzip(args: Vec<OsString>) -> i32 {
    let name = args.first().map(|a| a.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.rsplit('/').next().unwrap_or_default().to_string();
    let zcat = name == "zcat";
    let start = Zip {
        decompress: zcat || name == "gunzip",
        to_stdout: zcat,
        keep: false,
        force: false,
        level: 6,
        files: Vec::new(),
    };
    let mut zip = match parse_gzip(&texts(args), start) {
        Ok(zip) => zip,
        Err(letter) => {
            eprintln!("{name}: unrecognized option: {letter}\nUsage: {name} [-cdfk1-9] [FILE]...");
            return 1;
        }
    };
    if zip.files.is_empty() {
        zip.files.push("-".into());
    }
    let mut code = 0;
    for file in &zip.files {
        if let Err(e) = gzip_one(&zip, file) {
            eprintln!("{name}: {file}: {}", super::reason(&e));
            code = 1;
        }
    }
    code
}

fn gzip_one(zip: &Zip, name: &str) -> io::Result<()> {
    if name == "-" {
        return convert(zip, io::stdin(), io::stdout());
    }
    let input = File::open(name)?;
    if zip.to_stdout {
        return convert(zip, input, io::stdout());
    }
    let target = match (zip.decompress, name.strip_suffix(".tgz"), name.strip_suffix(".gz")) {
        (false, _, _) => format!("{name}.gz"),
        (true, Some(stem), _) => format!("{stem}.tar"),
        (true, _, Some(stem)) => stem.to_string(),
        (true, None, None) => return Err(io::Error::other("unknown suffix")),
    };
    let mut how = File::options();
    // Nobody else may read it before it has the rights of the other one.
    how.write(true).mode(0o600);
    let how = if zip.force { how.create(true).truncate(true) } else { how.create_new(true) };
    let output = how.open(&target)?;
    let converted = convert(zip, &input, &output).and_then(|()| take_over(&input, &output));
    if let Err(e) = converted {
        let _ = std::fs::remove_file(&target); // half a file is worse than none
        return Err(e);
    }
    if zip.keep { Ok(()) } else { std::fs::remove_file(name) }
}

/// Gives a file the owner, the rights and the time of another one.
fn take_over(from: &File, to: &File) -> io::Result<()> {
    let found = from.metadata()?;
    let _ = std::os::unix::fs::fchown(to, Some(found.uid()), Some(found.gid())); // root only
    to.set_permissions(Permissions::from_mode(found.mode() & 0o777))?;
    to.set_times(FileTimes::new().set_modified(found.modified()?))
}

fn convert(zip: &Zip, input: impl Read, mut output: impl Write) -> io::Result<()> {
    if zip.decompress {
        io::copy(&mut MultiGzDecoder::new(BufReader::new(input)), &mut output)?;
    } else {
        let mut gzip = GzEncoder::new(&mut output, Compression::new(zip.level));
        io::copy(&mut BufReader::new(input), &mut gzip)?;
        gzip.finish()?;
    }
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Call {
        parse(&line.split(' ').map(str::to_string).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn kubectls_calls_are_understood() {
        let pack = call("cf - var/log");
        assert_eq!(
            (pack.action, pack.file.as_str(), &pack.names[..]),
            (Action::Create, "-", &["var/log".into()][..])
        );
        let unpack = call("--no-same-permissions --no-same-owner -xmf - -C /tmp");
        assert_eq!((unpack.action, unpack.touch, unpack.owners), (Action::Extract, true, false));
        assert_eq!(unpack.directory, Path::new("/tmp"));
        assert!(call("-tzf x").gzip && call("tf x.tgz").gzip);
        assert_eq!(parse(&["f".into(), "x".into()]), Err(String::new()));
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
    fn nothing_is_unpacked_outside() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("in");
        std::fs::create_dir(&inside).unwrap();
        std::os::unix::fs::symlink("..", inside.join("up")).unwrap();
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.set_cksum();
        builder.append_data(&mut header, "up/evil", &b"x"[..]).unwrap();
        let bytes = builder.into_inner().unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert!(unpack(&mut entry, &inside, Path::new("up/evil"), 0).is_err());
        assert!(unpack(&mut entry, &inside, Path::new("../evil"), 0).is_err());
        assert!(!dir.path().join("evil").exists());
        assert!(unpack(&mut entry, &inside, Path::new("up/a/b/f"), 0).is_err());
        assert!(!dir.path().join("a").exists(), "no directory is made outside either");
        unpack(&mut entry, &inside, Path::new("a/b/f"), 0).unwrap();
        assert_eq!(std::fs::read_to_string(inside.join("a/b/f")).unwrap(), "x");
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
        assert_eq!(names, [".", "f"]);
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
    fn a_name_that_is_not_in_the_archive_is_told() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(dir.path().join("d/f"), "x").unwrap();
        let archive = dir.path().join("a.tar");
        let directory = dir.path().display();
        assert_eq!(create(&call(&format!("cf {} -C {directory} d", archive.display()))).unwrap(), 0);
        for (names, code) in [("d", 0), ("d/f", 0), ("d missing", 1), ("missing", 1)] {
            let line = format!("xf {} -C {directory} {names}", archive.display());
            assert_eq!(extract(&call(&line)).unwrap(), code, "{names}");
        }
    }

    #[test]
    fn gzip_keeps_rights_and_time() {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join("f").to_str().unwrap().to_string();
        std::fs::write(&name, "secret").unwrap();
        std::fs::set_permissions(&name, Permissions::from_mode(0o640)).unwrap();
        let then = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        File::open(&name).unwrap().set_times(FileTimes::new().set_modified(then)).unwrap();
        let mut zip =
            Zip { decompress: false, to_stdout: false, keep: false, force: false, level: 6, files: vec![] };
        for (from, to) in [(name.clone(), format!("{name}.gz")), (format!("{name}.gz"), name.clone())] {
            gzip_one(&zip, &from).unwrap();
            let found = std::fs::metadata(&to).unwrap();
            assert_eq!((found.mode() & 0o7777, found.modified().unwrap()), (0o640, then), "{to}");
            zip.decompress = true;
        }
    }

    #[test]
    fn a_hard_link_is_to_a_file_of_the_archive() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("in"), dir.path().join("outside"));
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(&outside, "secret").unwrap();
        let mut builder = tar::Builder::new(Vec::new());
        let mut file = tar::Header::new_gnu();
        file.set_size(1);
        file.set_mode(0o644);
        builder.append_data(&mut file, "top/a", &b"x"[..]).unwrap();
        for (name, to) in [
            ("top/b", "top/a".to_string()),
            ("top/c", outside.display().to_string()),
            ("top/d", "top/../../outside".into()),
        ] {
            let mut link = tar::Header::new_gnu();
            link.set_entry_type(tar::EntryType::Link);
            link.set_size(0);
            link.set_mode(0o644);
            link.as_old_mut().linkname[..to.len()].copy_from_slice(to.as_bytes());
            builder.append_data(&mut link, name, &b""[..]).unwrap();
        }
        let archive = dir.path().join("a.tar");
        std::fs::write(&archive, builder.into_inner().unwrap()).unwrap();
        let line = format!("xf {} -C {} --strip-components 1", archive.display(), inside.display());
        assert_eq!(extract(&call(&line)).unwrap(), 1, "two of them are refused");
        assert_eq!(std::fs::read_to_string(inside.join("b")).unwrap(), "x");
        assert!(!inside.join("c").exists() && !inside.join("d").exists());
        use std::os::unix::fs::MetadataExt;
        assert_eq!(std::fs::metadata(&outside).unwrap().nlink(), 1);
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
        let line = format!("cf {} -C {} q missing", archive.display(), dir.path().display());
        assert_eq!(create(&call(&line)).unwrap(), 1);
        let mut archive = tar::Archive::new(File::open(&archive).unwrap());
        let names: Vec<String> =
            archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(names, ["q", "q/1", "q/3"]);
    }

    #[test]
    fn gzip_replaces_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let name = dir.path().join("f").to_str().unwrap().to_string();
        std::fs::write(&name, "hello").unwrap();
        let mut zip =
            Zip { decompress: false, to_stdout: false, keep: false, force: false, level: 6, files: vec![] };
        gzip_one(&zip, &name).unwrap();
        assert!(!Path::new(&name).exists());
        zip.decompress = true;
        gzip_one(&zip, &format!("{name}.gz")).unwrap();
        assert_eq!(std::fs::read_to_string(&name).unwrap(), "hello");
    }
}
