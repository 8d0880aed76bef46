//! Files that only their owner may read, and that outlive a power failure.

use super::error::Error;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Returns true unless nothing has this name. A link that leads nowhere is there.
pub(crate) fn is_there(path: &Path) -> bool {
    !matches!(fs::symlink_metadata(path), Err(cause) if cause.kind() == std::io::ErrorKind::NotFound)
}

/// Reads a text.
///
/// # Errors
/// It cannot be read, or is no UTF-8.
pub(crate) fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|cause| Error::File { path: path.into(), cause })
}

/// Writes a file that only its owner may read, and keeps it over a power failure. Several may write
/// the same one at once: the last stays, whole.
///
/// # Errors
/// It cannot be written, and the earlier file stays. Or its directory cannot: the file is there,
/// and a power failure may bring the earlier one back.
pub fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    static WRITES: AtomicUsize = AtomicUsize::new(0);
    let failed = |cause| Error::File { path: path.into(), cause };
    // With a name in common, one would rename the file that another has just opened, be it a task
    // of this program or another program.
    let (tmp, mut file) = loop {
        let number = WRITES.fetch_add(1, Ordering::Relaxed);
        let tmp = path.with_extension(format!("tmp{}-{number}", std::process::id()));
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&tmp) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => break (tmp.clone(), made.map_err(failed)?),
        }
    };
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.and_then(|()| fs::rename(&tmp, path)).map_err(|cause| {
        let _ = fs::remove_file(&tmp); // it may hold a key
        failed(cause)
    })?;
    keep_name(path)
}

/// Renames a file within its directory, and keeps the new name over a power failure.
///
/// # Errors
/// It cannot be renamed.
pub(crate) fn rename_private(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(|cause| Error::File { path: to.into(), cause })?;
    keep_name(to)
}

/// Writes the directory of a file: a name is in it, and without it `ca.key` might be there after a
/// power failure, and `ca.crt` not.
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
    fn a_private_file_is_its_owners_alone_whoever_could_read_the_one_before() {
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
}
