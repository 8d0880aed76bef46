//! `tar x` and `tar t`. An archive is not trusted: nothing outside of the directory is
//! written, linked or given other rights.

use super::super::reason;
use super::gunzip::Gunzip;
use super::list::list_line;
use super::member::is_at_or_below;
use super::path::path_below;
use super::{Action, Call, with_context};
use std::collections::BTreeMap;
use std::fs::{File, FileTimes, Permissions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What an archive says of a directory. It is applied when all is unpacked: nothing could be put
/// into a read-only directory, and each new entry changes the time.
struct Folder {
    mode: u32,
    modified: SystemTime,
    /// User and group, if owners are kept.
    owner: Option<(u32, u32)>,
}

/// What a call of `tar x` has learned so far.
struct Unpacking<'a> {
    call: &'a Call,
    /// Bits that a mode must not have.
    mask: u32,
    /// By the directory of `-C` and the path in it, so that a directory is followed by what is in
    /// it.
    folders: BTreeMap<(PathBuf, PathBuf), Folder>,
}

/// Unpacks or lists an archive. Returns 1 if some entries could not be unpacked; the others are.
///
/// # Errors
/// The archive cannot be read, or the list not be written.
pub(super) fn extract(call: &Call) -> io::Result<i32> {
    let input: Box<dyn Read> = match call.file.as_str() {
        "-" => Box::new(io::stdin()),
        file => Box::new(File::open(file).map_err(|e| with_context(e, &format!("can't open '{file}'")))?),
    };
    let mut input = BufReader::with_capacity(64 * 1024, input);
    let start = io::BufRead::fill_buf(&mut input)?;
    if start.is_empty() {
        return Err(io::Error::other("short read")); // no archive at all, as busybox says it
    }
    let zipped = call.gzip || start.starts_with(&[0x1f, 0x8b]);
    let input: Box<dyn Read> = if zipped { Box::new(Gunzip::new(input)) } else { Box::new(input) };
    let mut archive = tar::Archive::new(input);
    let (preserve, mask) = call.permissions();
    archive.set_preserve_permissions(preserve);
    archive.set_mask(mask);
    archive.set_preserve_mtime(!call.touch);
    archive.set_preserve_ownerships(call.keeps_owners());
    archive.set_overwrite(!call.keep_old);
    let mut unpacking = Unpacking { call, mask, folders: BTreeMap::new() };
    let unpacked = unpacking.process_entries(&mut archive);
    let mut code = 0;
    // Of an archive that breaks off, too: else its directories would stay closed to all others.
    for (path, e) in unpacking.finish_directories() {
        code = report_failure(&path, &e);
    }
    code = code.max(unpacked?);
    if zipped {
        io::copy(&mut archive.into_inner(), &mut io::sink())?; // at its end stands the checksum
    }
    Ok(code)
}

fn report_failure(path: &Path, error: &io::Error) -> i32 {
    eprintln!("tar: {}: {}", path.display(), reason(error));
    1
}

/// Tells of an entry: on standard error if something else goes to standard output.
///
/// # Errors
/// The stream cannot be written.
pub(super) fn print_line(line: &[u8], aside: bool) -> io::Result<()> {
    if aside { io::stderr().write_all(line) } else { io::stdout().write_all(line) }
}

/// Returns true for a directory. Before ustar it was a file whose name ends in a slash.
pub(super) fn is_directory(entry: &tar::Entry<'_, impl Read>) -> bool {
    let header = entry.header();
    let old = header.as_ustar().is_none() && header.entry_type().is_file();
    header.entry_type().is_dir() || old && entry.path_bytes().ends_with(b"/")
}

impl Call {
    /// Returns the directory that an entry is unpacked in: that of the first operand that names it.
    /// `None` if there are operands and none names it.
    fn directory_for(&self, stored: &[u8]) -> Option<&Path> {
        if self.operands.is_empty() {
            return Some(&self.directory);
        }
        let named = self.operands.iter().find(|operand| is_at_or_below(stored, &operand.name));
        named.map(|operand| operand.directory.as_path())
    }
}

impl Unpacking<'_> {
    /// Unpacks or lists the entries that are wanted. Returns 1 if some could not be unpacked or are
    /// not there.
    ///
    /// # Errors
    /// The archive cannot be read, or the list not be written.
    fn process_entries(&mut self, archive: &mut tar::Archive<impl Read>) -> io::Result<i32> {
        let call = self.call;
        let mut code = 0;
        let mut missing: Vec<&str> = call.operands.iter().map(|operand| operand.name.as_str()).collect();
        for entry in archive.entries()? {
            let mut entry = entry?;
            let path = entry.path()?.into_owned();
            let stored = entry.path_bytes();
            missing.retain(|name| !is_at_or_below(&stored, name));
            let directory = call.directory_for(&stored);
            drop(stored);
            let stripped: PathBuf = path.components().skip(call.strip).collect();
            let Some(directory) = directory else { continue };
            if stripped.as_os_str().is_empty() && call.action == Action::Extract {
                continue;
            }
            if call.action == Action::List || call.verbose {
                let list = call.action == Action::List;
                print_line(&list_line(&entry, list && call.verbose), call.to_stdout && !list)?;
            }
            if call.action == Action::List {
                continue;
            }
            if call.to_stdout {
                io::copy(&mut entry, &mut io::stdout())?;
            } else if let Err(e) = self.unpack(&mut entry, directory, &stripped) {
                code = report_failure(&path, &e);
            }
        }
        for name in missing {
            eprintln!("tar: {name}: not found in archive");
            code = 1;
        }
        Ok(code)
    }

    /// Unpacks one entry, never outside of the directory: neither the entry itself nor the file
    /// that a hard link shares.
    fn unpack(
        &mut self,
        entry: &mut tar::Entry<'_, impl Read>,
        directory: &Path,
        name: &Path,
    ) -> io::Result<()> {
        let target = path_below(directory, name, true)?;
        match entry.header().entry_type() {
            _ if is_directory(entry) => {
                let key = (directory.to_path_buf(), name.to_path_buf());
                self.make_directory(entry, key, &target)
            }
            tar::EntryType::Link => self.hard_link(entry, directory, &target),
            kind @ (tar::EntryType::Fifo | tar::EntryType::Char | tar::EntryType::Block) => {
                self.make_node(entry.header(), kind, &target)
            }
            _ => entry.unpack(&target).map(drop).map_err(|e| match std::error::Error::source(&e) {
                Some(cause) => io::Error::new(e.kind(), cause.to_string()),
                None => e,
            }),
        }
    }

    fn make_directory(
        &mut self,
        entry: &tar::Entry<'_, impl Read>,
        key: (PathBuf, PathBuf),
        target: &Path,
    ) -> io::Result<()> {
        // No other user may look into it before it has its own mode.
        match std::fs::DirBuilder::new().mode(0o700).create(target) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            // A link to a directory is none: its mode would be set outside.
            Err(e) if !std::fs::symlink_metadata(target)?.is_dir() => return Err(e),
            _ => {}
        }
        let header = entry.header();
        let folder = Folder {
            mode: header.mode()? & 0o7777 & !self.mask,
            modified: SystemTime::UNIX_EPOCH
                .checked_add(Duration::from_secs(header.mtime()?))
                .unwrap_or(SystemTime::UNIX_EPOCH),
            owner: self.owner(header)?,
        };
        self.folders.insert(key, folder);
        Ok(())
    }

    /// Makes a hard link. It names another entry of the archive, so its name is stripped as that
    /// one's was.
    fn hard_link(
        &self,
        entry: &tar::Entry<'_, impl Read>,
        directory: &Path,
        target: &Path,
    ) -> io::Result<()> {
        let linked = entry.link_name()?.ok_or_else(|| io::Error::other("a hard link without a name"))?;
        let linked: PathBuf = linked.components().skip(self.call.strip).collect();
        let source = path_below(directory, &linked, false)?;
        let found = std::fs::symlink_metadata(&source)?;
        if found.is_dir() {
            return Err(io::Error::other("a hard link to a directory"));
        }
        match std::fs::symlink_metadata(target) {
            // The link is there, or the entry names itself: to replace it would lose the file.
            Ok(old) if (old.dev(), old.ino()) == (found.dev(), found.ino()) => return Ok(()),
            Ok(_) => self.make_room(target)?,
            Err(_) => {} // linkat(2) says what is wrong, if anything is
        }
        // linkat(2) without AT_SYMLINK_FOLLOW: a symbolic link at the source is linked itself.
        std::fs::hard_link(source, target)
    }

    /// Makes a named pipe or a device. The kernel refuses devices to most users.
    fn make_node(&self, header: &tar::Header, kind: tar::EntryType, target: &Path) -> io::Result<()> {
        use nix::sys::stat::{Mode, SFlag, makedev, mknod};
        let number = |part: io::Result<Option<u32>>| Ok::<_, io::Error>(u64::from(part?.unwrap_or(0)));
        let (flag, device) = match kind {
            tar::EntryType::Fifo => (SFlag::S_IFIFO, 0),
            kind => {
                let device = makedev(number(header.device_major())?, number(header.device_minor())?);
                (if kind == tar::EntryType::Char { SFlag::S_IFCHR } else { SFlag::S_IFBLK }, device)
            }
        };
        if std::fs::symlink_metadata(target).is_ok() {
            self.make_room(target)?;
        }
        mknod(target, flag, Mode::S_IRUSR | Mode::S_IWUSR, device)?;
        if let Some((user, group)) = self.owner(header)? {
            std::os::unix::fs::lchown(target, Some(user), Some(group))?;
        }
        std::fs::set_permissions(target, Permissions::from_mode(header.mode()? & 0o7777 & !self.mask))
    }

    /// Returns user and group of an entry; `None` if owners are not kept.
    fn owner(&self, header: &tar::Header) -> io::Result<Option<(u32, u32)>> {
        let id = |id: io::Result<u64>| u32::try_from(id?).map_err(io::Error::other);
        match self.call.keeps_owners() {
            true => Ok(Some((id(header.uid())?, id(header.gid())?))),
            false => Ok(None),
        }
    }

    /// Removes what an entry replaces; with `-k` it stays and the entry fails.
    fn make_room(&self, target: &Path) -> io::Result<()> {
        match self.call.keep_old {
            true => Err(io::ErrorKind::AlreadyExists.into()),
            false => std::fs::remove_file(target),
        }
    }

    /// Gives the directories what the archive says of them, the innermost first. Returns what
    /// failed.
    fn finish_directories(self) -> Vec<(PathBuf, io::Error)> {
        let touch = self.call.touch;
        let finish = |((directory, name), folder): ((PathBuf, PathBuf), Folder)| {
            finish_folder(&directory, &name, &folder, touch).err().map(|e| (name, e))
        };
        self.folders.into_iter().rev().filter_map(finish).collect()
    }
}

/// Gives a directory its attributes at the end. An entry that came later may have put a link where
/// the directory was, so it is looked for anew and opened without following links. With `touch` it
/// keeps its time.
fn finish_folder(directory: &Path, name: &Path, folder: &Folder, touch: bool) -> io::Result<()> {
    let path = path_below(directory, name, false)?;
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let directory = File::options().read(true).custom_flags(flags).open(path)?;
    if let Some((user, group)) = folder.owner {
        std::os::unix::fs::fchown(&directory, Some(user), Some(group))?;
    }
    if !touch {
        directory.set_times(FileTimes::new().set_modified(folder.modified))?;
    }
    directory.set_permissions(Permissions::from_mode(folder.mode))
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::{create, parse};
    use super::*;

    fn call(line: &str) -> Call {
        parse(&line.split(' ').map(str::to_string).collect::<Vec<_>>()).unwrap()
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
        let call = call(&format!("x -C {}", inside.display()));
        let mut unpacking = Unpacking { call: &call, mask: 0, folders: BTreeMap::new() };
        let mut unpack = |name: &str| unpacking.unpack(&mut entry, &inside, Path::new(name));
        assert!(unpack("up/evil").is_err());
        assert!(unpack("../evil").is_err());
        assert!(!dir.path().join("evil").exists());
        assert!(unpack("up/a/b/f").is_err());
        assert!(!dir.path().join("a").exists(), "no directory is made outside either");
        unpack("a/b/f").unwrap();
        assert_eq!(std::fs::read_to_string(inside.join("a/b/f")).unwrap(), "x");
    }

    /// An archive without entries has two blocks of zeros.
    #[test]
    fn an_empty_file_is_no_archive() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.tar");
        for options in ["tf", "xf", "xzf"] {
            std::fs::write(&file, "").unwrap();
            let line = format!("{options} {} -C {}", file.display(), dir.path().display());
            assert_eq!(extract(&call(&line)).unwrap_err().to_string(), "short read", "{options}");
        }
        std::fs::write(&file, [0; 1024]).unwrap();
        assert_eq!(extract(&call(&format!("tf {}", file.display()))).unwrap(), 0);
    }

    #[test]
    fn a_name_that_is_not_in_the_archive_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        std::fs::write(dir.path().join("d/f"), "x").unwrap();
        let archive = dir.path().join("a.tar");
        let directory = dir.path().display();
        assert_eq!(create(&call(&format!("cf {} -C {directory} d", archive.display()))).unwrap(), 0);
        for (names, code) in [("d", 0), ("d/f", 0), ("./d/f", 1), (".", 1), ("d missing", 1), ("missing", 1)]
        {
            let line = format!("xf {} -C {directory} {names}", archive.display());
            assert_eq!(extract(&call(&line)).unwrap(), code, "{names}");
        }
    }

    /// Writes an archive of entries without content: kind, name, where a link leads, mode.
    pub(in super::super) fn packed(at: &Path, entries: &[(tar::EntryType, &str, &str, u32)]) {
        let mut builder = tar::Builder::new(File::create(at).unwrap());
        for (kind, name, link, mode) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(0);
            header.set_mode(*mode);
            header.set_mtime(1_000_000);
            header.set_uid(nix::unistd::geteuid().as_raw().into());
            header.set_gid(nix::unistd::getegid().as_raw().into());
            header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
            builder.append_data(&mut header, name, &b""[..]).unwrap();
        }
        builder.into_inner().unwrap();
    }

    #[test]
    fn a_hard_link_to_itself_keeps_the_file() {
        use tar::EntryType::{Link, Regular, Symlink};
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("a.tar");
        std::fs::write(dir.path().join("old"), "old").unwrap();
        packed(
            &archive,
            &[
                (Regular, "f", "", 0o644),
                (Link, "f", "f", 0o644),
                (Symlink, "here", ".", 0o777),
                (Link, "f", "here/f", 0o644),
                (Link, "again", "f", 0o644),
                (Link, "again", "f", 0o644),
                (Link, "old", "missing", 0o644),
            ],
        );
        let line = format!("xf {} -C {}", archive.display(), dir.path().display());
        assert_eq!(extract(&call(&line)).unwrap(), 1, "one link leads nowhere");
        assert_eq!(std::fs::metadata(dir.path().join("f")).unwrap().nlink(), 2);
        assert_eq!(std::fs::read_to_string(dir.path().join("old")).unwrap(), "old");
    }

    #[test]
    fn directories_get_mode_and_time_when_all_is_in_them() {
        use tar::EntryType::{Directory, Regular, Symlink};
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("in"), dir.path().join("outside"));
        std::fs::create_dir(&inside).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::set_permissions(&outside, Permissions::from_mode(0o700)).unwrap();
        let archive = dir.path().join("a.tar");
        packed(
            &archive,
            &[
                (Directory, "d", "", 0o555),
                (Directory, "d/e", "", 0o500),
                (Regular, "d/e/f", "", 0o400),
                (Symlink, "link", "../outside", 0o777),
                (Directory, "link", "", 0o777),
            ],
        );
        let line = format!("xpf {} -C {}", archive.display(), inside.display());
        assert_eq!(extract(&call(&line)).unwrap(), 1, "a link is no directory");
        let found = |name: &str| {
            let found = std::fs::metadata(inside.join(name)).unwrap();
            (found.mode() & 0o7777, found.mtime())
        };
        assert_eq!((found("d"), found("d/e")), ((0o555, 1_000_000), (0o500, 1_000_000)));
        assert_eq!(std::fs::metadata(&outside).unwrap().mode() & 0o777, 0o700);
        for path in ["d/e", "d"] {
            std::fs::set_permissions(inside.join(path), Permissions::from_mode(0o700)).unwrap();
        }
    }

    #[test]
    fn directories_get_their_mode_when_the_archive_breaks_off() {
        use tar::EntryType::{Directory, Regular};
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("a.tar");
        packed(&archive, &[(Directory, "d", "", 0o755), (Regular, "d/f", "", 0o644)]);
        // A header takes 512 bytes.
        File::options().write(true).open(&archive).unwrap().set_len(512 + 100).unwrap();
        let line = format!("xpf {} -C {}", archive.display(), dir.path().display());
        assert!(extract(&call(&line)).is_err());
        let found = std::fs::metadata(dir.path().join("d")).unwrap();
        assert_eq!((found.mode() & 0o7777, found.mtime()), (0o755, 1_000_000));
    }

    #[test]
    fn a_pipe_is_a_pipe_and_modes_are_kept_only_if_asked() {
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("a.tar");
        packed(
            &archive,
            &[(tar::EntryType::Fifo, "p", "", 0o600), (tar::EntryType::Regular, "f", "", 0o4777)],
        );
        let mode = |options: &str| {
            let line = format!("{options} -xf {} -C {}", archive.display(), dir.path().display());
            assert_eq!(extract(&call(&line)).unwrap(), 0);
            std::fs::metadata(dir.path().join("f")).unwrap().mode() & 0o7777
        };
        assert_eq!(mode("-p"), 0o4777);
        assert_eq!(mode("--no-same-permissions") & 0o7022, 0, "the umask of this test is the usual one");
        let pipe = std::fs::symlink_metadata(dir.path().join("p")).unwrap();
        assert!(std::os::unix::fs::FileTypeExt::is_fifo(&pipe.file_type()));
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
}
