//! Files that only their owner may read, and that outlive a power failure.

use super::error::Error;
use std::fs::{self, TryLockError};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Returns true if a file, a directory or a link has this name, also a link that leads nowhere, or
/// if that cannot be found out.
pub(crate) fn is_there(path: &Path) -> bool {
    !matches!(fs::symlink_metadata(path), Err(cause) if cause.kind() == std::io::ErrorKind::NotFound)
}

/// Reads a text.
///
/// # Errors
/// The file cannot be read, or is no UTF-8.
pub(crate) fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|cause| Error::File { path: path.into(), cause })
}

/// Writes a file that only its owner may read, and keeps it over a power failure. Several writers
/// may write the same file at once: the last one's text stays, whole.
///
/// # Errors
/// The file cannot be written, and the earlier one stays. Or its directory cannot be written: the
/// file is there, and a power failure may bring the earlier one back.
pub fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    let failed = |cause| Error::File { path: path.into(), cause };
    let (tmp, mut file) = create_unfinished(path).map_err(failed)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.and_then(|()| fs::rename(&tmp, path)).map_err(|cause| {
        let _ = fs::remove_file(&tmp); // it may hold a key
        failed(cause)
    })?;
    keep_name(path)
}

/// Makes an empty file beside `path`: `ca.tmp12-0` for `ca.key`, with the number of this process
/// and a number of its own. Under a common name, one writer would rename the file that another
/// writer, a task of this program or another program, has just opened. The file's lock, which ends
/// with the process, shows [`remove_unfinished`] that the writer is alive.
fn create_unfinished(path: &Path) -> std::io::Result<(PathBuf, fs::File)> {
    static WRITES: AtomicUsize = AtomicUsize::new(0);
    loop {
        let number = WRITES.fetch_add(1, Ordering::Relaxed);
        let tmp = path.with_extension(format!("tmp{}-{number}", std::process::id()));
        let file = match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&tmp) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
            made => made?,
        };
        // Before the file is locked, another program may take it for one of a killed writer, and
        // remove it. A file system without locks has an error of another kind.
        let is_taken = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        if !is_taken && file.metadata()?.nlink() > 0 {
            return Ok((tmp, file));
        }
    }
}

/// Removes the unfinished files of killed writers in a directory: they may hold a key. Files of
/// writers that are alive stay, and a file that cannot be removed is left to the next start.
pub fn remove_unfinished(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if !is_unfinished(&path) || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let Ok(file) = fs::OpenOptions::new().write(true).open(&path) else { continue };
        // A file without a name was removed meanwhile, and the name may be another writer's by now.
        if file.try_lock().is_ok() && file.metadata().is_ok_and(|left| left.nlink() > 0) {
            let _ = fs::remove_file(&path);
        }
    }
}

/// Returns true for a name that [`create_unfinished`] gives.
fn is_unfinished(path: &Path) -> bool {
    let kind = path.extension().and_then(|kind| kind.to_str());
    let numbers = kind.and_then(|kind| kind.strip_prefix("tmp")?.split_once('-'));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    numbers.is_some_and(|(process, number)| is_number(process) && is_number(number))
}

/// Renames a file within its directory, and keeps the new name over a power failure.
///
/// # Errors
/// The file cannot be renamed, or the new name not kept.
pub(crate) fn rename_private(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(|cause| Error::File { path: to.into(), cause })?;
    keep_name(to)
}

/// Writes the directory of a file, which has the file's name. Otherwise, after a power failure,
/// `ca.key` might be there and `ca.crt` not.
fn keep_name(path: &Path) -> Result<(), Error> {
    let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match fs::File::open(directory).and_then(|dir| dir.sync_all()) {
        // Some file systems cannot write a directory by itself.
        Err(cause) if cause.kind() != std::io::ErrorKind::InvalidInput => {
            Err(Error::File { path: path.into(), cause })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_file_is_its_owners_alone_also_in_place_of_a_public_one() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.key");
        fs::write(&path, "before").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write_private(&path, "a key").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_may_be_written_by_several_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("teacher.kubeconfig");
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..20 {
                        write_private(path, &writer.to_string().repeat(1000)).unwrap();
                    }
                });
            }
        });
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.len() == 1000 && text.chars().all(|c| text.starts_with(c)), "{text}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_a_killed_writer_left_is_removed_and_what_is_being_written_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let others = ["ca.key", "ca.key.new", "notes.tmp", "notes.tmp1-x", "notes.tmp-1"];
        for name in others.iter().chain(&["sa.tmp12-0", "ca.key.tmp12-1"]) {
            fs::write(at(name), "a key").unwrap();
        }
        fs::create_dir(at("notes.tmp3-4")).unwrap();
        let (written, file) = create_unfinished(&at("sa.key")).unwrap();
        remove_unfinished(dir.path());
        assert!(!at("sa.tmp12-0").exists() && !at("ca.key.tmp12-1").exists());
        assert!(written.exists() && at("notes.tmp3-4").exists());
        assert!(others.iter().all(|name| at(name).exists()));
        drop(file); // as the kernel does when its writer is killed
        remove_unfinished(dir.path());
        assert!(!written.exists());
        remove_unfinished(&at("missing"));
    }
}
