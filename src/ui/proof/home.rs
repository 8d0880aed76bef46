//! The directories in which proofs run: below the directory for temporary files, where everybody on
//! the machine may write.
//!
//! A name says whose it is (`rw-PID-RANDOM`, so what a killed proof left is found) and cannot be
//! known beforehand; mkdtemp(3) makes the directory with mode 0700 or fails, so what another
//! user put there is never used.

use cluster::{Home, launch};
use linux::beneath::Root;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

const PREFIX: &str = "rw-";

/// A directory of this process' own. [`Private::remove`] takes it away.
pub(super) struct Private {
    parent: PathBuf,
    name: OsString,
}

impl Private {
    /// Makes the directory.
    ///
    /// # Errors
    /// The directory for temporary files cannot be written.
    pub(super) fn make() -> Result<Private, String> {
        Private::make_in(&std::env::temp_dir())
    }

    fn make_in(parent: &Path) -> Result<Private, String> {
        let template = parent.join(format!("{PREFIX}{}-XXXXXX", std::process::id()));
        let made = nix::unistd::mkdtemp(&template)
            .map_err(|e| format!("cannot make a directory in {}: {e}", parent.display()))?;
        let name = made.file_name().map(OsString::from).unwrap_or_default();
        Ok(Private { parent: parent.to_path_buf(), name })
    }

    pub(super) fn path(&self) -> PathBuf {
        self.parent.join(&self.name)
    }

    /// Removes it with all that is in it; no link is followed and no mount is entered. What cannot
    /// be removed is left for [`sweep`].
    pub(super) fn remove(&self) {
        let _ = Root::open(&self.parent).and_then(|parent| parent.remove_all(Path::new(&self.name)));
    }
}

/// Clears away what proofs left that were killed: their clusters have ended with them.
pub(super) fn sweep() {
    for left in left_in(&std::env::temp_dir()) {
        let place = Home::at(left.path()).cluster("main");
        if place.is_ok_and(|place| matches!(launch::clear_up(&place), Ok(true))) {
            left.remove(); // the next proof tries again
        }
    }
}

/// Directories of this user's proofs whose process is gone. Only such as [`Private::make`] makes:
/// no links, nothing that others may write.
fn left_in(parent: &Path) -> Vec<Private> {
    let own = nix::unistd::geteuid().as_raw();
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    // The metadata is that of a link itself.
    let ours = entries
        .filter(|e| e.metadata().is_ok_and(|m| m.is_dir() && m.uid() == own && m.mode() & 0o7777 == 0o700));
    let gone = |name: &OsString| {
        let pid = name.to_str().and_then(|n| n.strip_prefix(PREFIX)?.split_once('-')?.0.parse::<u32>().ok());
        pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
    };
    let names = ours.map(|entry| entry.file_name()).filter(gone);
    names.map(|name| Private { parent: parent.to_path_buf(), name }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_proof_has_a_directory_that_nobody_can_guess_or_enter() {
        let tmp = tempfile::tempdir().unwrap();
        let (a, b) = (Private::make_in(tmp.path()).unwrap(), Private::make_in(tmp.path()).unwrap());
        assert_ne!(a.path(), b.path());
        let begin = format!("rw-{}-", std::process::id());
        let rest = a.name.to_str().unwrap().strip_prefix(&begin).unwrap().to_string();
        assert_eq!(rest.len(), 6, "{rest}");
        assert_eq!(fs::metadata(a.path()).unwrap().permissions().mode() & 0o7777, 0o700);
    }

    #[test]
    fn what_goes_is_what_was_made_and_links_lead_nowhere() {
        let tmp = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "").unwrap();
        let home = Private::make_in(tmp.path()).unwrap();
        symlink(outside.path(), home.path().join("link")).unwrap();
        fs::create_dir(home.path().join("clusters")).unwrap();
        home.remove();
        assert!(!home.path().exists() && outside.path().join("kept").exists());
        // A process number beyond the kernel's largest: no process has it.
        let (left, open) = (tmp.path().join("rw-4999999-abcdef"), tmp.path().join("rw-4999999-open"));
        for (path, mode) in [(&left, 0o700), (&open, 0o777)] {
            fs::create_dir(path).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        symlink(outside.path(), tmp.path().join("rw-4999999-link")).unwrap();
        let _living = Private::make_in(tmp.path()).unwrap();
        let found: Vec<PathBuf> = left_in(tmp.path()).iter().map(Private::path).collect();
        assert_eq!(found, [left]);
    }
}
