//! How a kubeconfig is changed: one program at a time, and never by half.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a change waits for another one of the same file.
pub const LOCK_WITHIN: Duration = Duration::from_secs(10);
/// The pause between two looks at the lock file: no event tells of its removal.
const LOCK_AGAIN: Duration = Duration::from_millis(10);

/// Links that are followed at most, as Linux does.
const LINKS_MAX: usize = 40;

/// How the name of a draft begins. A UUID follows.
const DRAFT: &str = ".kubeconfig-";

/// Why a kubeconfig cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another program is changing the file, or was killed while it did.
    #[error("another program is changing {config} just now; try again, and if none is, remove {lock}", config = config.display(), lock = lock.display())]
    Taken {
        /// The kubeconfig.
        config: PathBuf,
        /// Its lock file.
        lock: PathBuf,
    },
    /// The lock file cannot be made.
    #[error("cannot make {}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        cause: io::Error,
    },
}

/// The lock that client-go takes while it changes a kubeconfig: a file `config.lock` beside it
/// (`clientcmd.ModifyConfig`). client-go locks the name that it was given; a program that follows
/// links first locks the file itself. So both are locked.
#[derive(Debug)]
pub struct ConfigLock(Vec<PathBuf>);

impl ConfigLock {
    /// Locks a kubeconfig, whose directory exists, and waits `within` for another program. Blocks.
    ///
    /// # Errors
    /// Another program still has it, or a lock file cannot be made.
    pub fn take(config: &Path, within: Duration) -> Result<ConfigLock, LockError> {
        let mut names = vec![config.to_path_buf()];
        if let Ok(real) = followed(config)
            && fs::symlink_metadata(config).is_ok_and(|named| named.is_symlink())
        {
            names.push(real);
        }
        let over = Instant::now() + within;
        let mut held = ConfigLock(vec![]); // what is locked is unlocked if the other one is taken
        for name in names {
            let mut path = name.into_os_string();
            path.push(".lock");
            let path = PathBuf::from(path);
            loop {
                match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                    Ok(_) => break,
                    Err(cause) if cause.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(LockError::Io { path, cause });
                    }
                    Err(_) if Instant::now() >= over => {
                        return Err(LockError::Taken { config: config.into(), lock: path });
                    }
                    Err(_) => std::thread::sleep(LOCK_AGAIN),
                }
            }
            held.0.push(path);
        }
        Ok(held)
    }
}

impl Drop for ConfigLock {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = fs::remove_file(path); // the next change tells of one that stays
        }
    }
}

/// Follows the links of a path to the file that they mean. The file need not exist: what is written
/// then makes it, and the link stays.
fn followed(config: &Path) -> io::Result<PathBuf> {
    let mut path = config.to_path_buf();
    for _ in 0..LINKS_MAX {
        match fs::canonicalize(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
        let Ok(to) = fs::read_link(&path) else { return Ok(path) }; // no link: it is not there yet
        path = path.parent().unwrap_or(Path::new("")).join(to);
    }
    Err(io::Error::other("too many levels of symbolic links"))
}

/// Writes a kubeconfig that a person or another program uses, too: a link stays one, an existing
/// file keeps its owner, its group and who may read it, and a crash leaves the old text or the new
/// one. A new file is its owner's alone. A device such as `/dev/null` takes the text and stays a
/// device. What cannot be replaced is overwritten: a file that is a mount point of its own, as in a
/// container, and another user's that this one may write. What a killed program left beside it is
/// removed.
///
/// # Errors
/// It cannot be written, or is neither a regular file nor a character device; then it is as it was,
/// unless the disk fills up while it is overwritten.
pub fn replace(config: &Path, text: &str) -> io::Result<()> {
    let path = followed(config)?;
    let old = match fs::metadata(&path) {
        Ok(old) => Some(old),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    match &old {
        Some(old) if old.file_type().is_char_device() => return overwrite(&path, text).map(drop),
        Some(old) if !old.is_file() => return Err(io::Error::other("not a regular file")),
        _ => {}
    }
    let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    remove_drafts(directory);
    let (draft, mut file) = create_draft(directory)?;
    let written = keep_owner(&file, old.as_ref())
        .and_then(|()| file.write_all(text.as_bytes()))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&draft, &path));
    if written.is_err() {
        let _ = fs::remove_file(&draft); // it may hold a key; the error says what happened
    }
    match written {
        Err(error) if old.is_some() && is_kept_in_place(&error) => {
            return overwrite(&path, text)?.sync_all();
        }
        written => written?,
    }
    match File::open(directory).and_then(|dir| dir.sync_all()) {
        // Some file systems cannot write a directory by itself, and some directories their user may
        // not read. The text is written.
        Err(error)
            if !matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::PermissionDenied) =>
        {
            Err(error)
        }
        _ => Ok(()),
    }
}

/// Returns true if the kernel does not let this user put another file in the place of one, while
/// the file itself may be written.
///
/// | error | |
/// |---|---|
/// | `EBUSY` | rename(2) does not replace a mount point |
/// | `EPERM` | only root makes files of other users, or replaces them in a sticky directory |
/// | `EINVAL` | the owner is none that the user namespace has |
fn is_kept_in_place(error: &io::Error) -> bool {
    let kinds = [io::ErrorKind::ResourceBusy, io::ErrorKind::PermissionDenied, io::ErrorKind::InvalidInput];
    kinds.contains(&error.kind())
}

/// Makes an empty draft in a directory. Its lock, which ends with the process, tells
/// [`remove_drafts`] that its writer is alive.
fn create_draft(directory: &Path) -> io::Result<(PathBuf, File)> {
    loop {
        let draft = directory.join(format!("{DRAFT}{}", rng::Rng::from_os().uuid()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        // Before it is locked, another program may take it for one that was left, and remove it. A
        // file system without locks has an error of another kind.
        let is_taken = matches!(file.try_lock(), Err(TryLockError::WouldBlock));
        if !is_taken && file.metadata()?.nlink() > 0 {
            return Ok((draft, file));
        }
    }
}

/// Removes the drafts that killed programs left in a directory: they may hold a key. Those of
/// programs that are alive stay, and what cannot be removed is left to the next change.
fn remove_drafts(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if !is_draft(&entry.file_name().to_string_lossy())
            || !entry.file_type().is_ok_and(|kind| kind.is_file())
        {
            continue;
        }
        let path = entry.path();
        // A draft has the mode of its kubeconfig, which its owner may not be allowed to write.
        let opened = OpenOptions::new().write(true).open(&path).or_else(|_| File::open(&path));
        let Ok(file) = opened else { continue };
        if file.try_lock().is_ok() {
            let _ = fs::remove_file(&path); // no other file ever gets this name
        }
    }
}

/// Returns true for a name that [`create_draft`] gives.
fn is_draft(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    name.strip_prefix(DRAFT).is_some_and(|uuid| uuid.len() == 36 && uuid.bytes().all(is_part))
}

/// Writes into an existing file, as client-go always does. A crash may leave a part of the text.
fn overwrite(path: &Path, text: &str) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).truncate(true).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

/// Gives a draft the owner, group and mode of the file that it replaces. A `sudo` that keeps HOME
/// would else take the kubeconfig from its owner. A group that this user is not in gets nothing.
fn keep_owner(draft: &File, old: Option<&fs::Metadata>) -> io::Result<()> {
    let Some(old) = old else { return Ok(()) };
    let now = draft.metadata()?;
    let mut mode = old.mode() & 0o777;
    if now.uid() != old.uid() {
        fchown(draft, Some(old.uid()), None)?;
    }
    if now.gid() != old.gid() && fchown(draft, None, Some(old.gid())).is_err() {
        mode &= 0o707;
    }
    draft.set_permissions(Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    #[test]
    fn a_lock_holds_the_name_that_was_given_and_the_file_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("dotfile"), dir.path().join("config"));
        fs::write(&real, "").unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let locks = || [dir.path().join("config.lock").exists(), dir.path().join("dotfile.lock").exists()];
        let held = ConfigLock::take(&link, Duration::ZERO).unwrap();
        assert_eq!(locks(), [true, true]);
        let refused = ConfigLock::take(&real, Duration::ZERO).unwrap_err();
        assert!(matches!(refused, LockError::Taken { .. }), "{refused}");
        drop(held);
        assert_eq!(locks(), [false, false]);
        // The second of the two is taken: the first one is given back.
        fs::write(dir.path().join("dotfile.lock"), "").unwrap();
        let refused = ConfigLock::take(&link, Duration::ZERO).unwrap_err().to_string();
        assert!(refused.contains("another program") && refused.contains("dotfile.lock"), "{refused}");
        assert_eq!(locks(), [false, true]);
        let missing = ConfigLock::take(&dir.path().join("none/config"), Duration::ZERO).unwrap_err();
        assert!(matches!(missing, LockError::Io { .. }), "{missing}");
    }

    #[test]
    fn a_kubeconfig_that_is_replaced_keeps_its_link_and_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("dotfile"), dir.path().join("config"));
        replace(&real, "new").unwrap();
        assert_eq!(fs::metadata(&real).unwrap().mode() & 0o777, 0o600);
        fs::set_permissions(&real, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        replace(&link, "newer").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "newer");
        assert_eq!(fs::metadata(&real).unwrap().mode() & 0o777, 0o640);
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(left.len(), 2, "no draft stays: {left:?}");
    }

    /// A draft has the keys and tokens of its kubeconfig.
    #[test]
    fn what_a_killed_program_left_is_removed_and_what_is_being_written_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let left = at(&format!("{DRAFT}0b1c2d3e-0000-4000-8000-0123456789ab"));
        fs::write(&left, "a key").unwrap();
        fs::set_permissions(&left, Permissions::from_mode(0o400)).unwrap();
        let others = [".kubeconfig-old", ".kubeconfig", "config.bak"];
        others.iter().for_each(|name| fs::write(at(name), "mine").unwrap());
        let (written, file) = create_draft(dir.path()).unwrap();
        assert!(is_draft(&written.file_name().unwrap().to_string_lossy()));
        replace(&at("config"), "new").unwrap();
        assert!(!left.exists() && written.exists());
        assert!(others.iter().all(|name| at(name).exists()));
        drop(file); // as the kernel does when its writer is killed
        // Another test may fork at this moment: its child has the file open, and so the lock, until
        // it executes its program.
        let is_gone = (0..100).any(|_| {
            replace(&at("config"), "newer").unwrap();
            !written.exists()
        });
        assert!(is_gone);
    }

    #[test]
    fn a_link_to_a_kubeconfig_that_is_not_there_yet_stays_one() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("dot/config"), dir.path().join("config"));
        std::os::unix::fs::symlink("other", &link).unwrap();
        std::os::unix::fs::symlink("dot/config", dir.path().join("other")).unwrap();
        assert!(replace(&link, "new").is_err(), "its directory is not there");
        fs::create_dir(dir.path().join("dot")).unwrap();
        let lock = ConfigLock::take(&link, Duration::ZERO).unwrap();
        assert!(dir.path().join("dot/config.lock").exists(), "both names are locked");
        replace(&link, "new").unwrap();
        drop(lock);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        let circle = dir.path().join("circle");
        std::os::unix::fs::symlink(&circle, &circle).unwrap();
        assert!(replace(&circle, "new").is_err());
    }

    /// `~/.kube/config -> /dev/null`: root would take the device from the whole machine.
    #[test]
    fn what_is_no_regular_file_is_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str, how: &[&str]| {
            let path = dir.path().join(name);
            let made = Command::new("mknod").arg(&path).args(how).output();
            made.is_ok_and(|made| made.status.success()).then_some(path)
        };
        let kind = |path: &Path| fs::symlink_metadata(path).unwrap().file_type();
        let pipe = make("pipe", &["p"]).expect("a named pipe");
        let said = replace(&pipe, "new").unwrap_err().to_string();
        assert!(said.contains("not a regular file") && kind(&pipe).is_fifo(), "{said}");
        // An ordinary user makes no devices, and some file systems do not open them.
        let null = make("null", &["c", "1", "3"]);
        if let Some(null) = null.filter(|null| OpenOptions::new().write(true).open(null).is_ok()) {
            let link = dir.path().join("config");
            std::os::unix::fs::symlink(&null, &link).unwrap();
            replace(&link, "new").unwrap();
            assert!(kind(&null).is_char_device() && kind(&link).is_symlink());
        }
        let mut names = fs::read_dir(dir.path()).unwrap().flatten().map(|e| e.file_name());
        assert!(!names.any(|name| name.to_string_lossy().starts_with(".kubeconfig-")));
    }

    /// `docker run -v ~/.kube/config:/root/.kube/config`. The mount is made in a process of its
    /// own, which runs this test again.
    #[test]
    fn a_kubeconfig_that_is_a_mount_point_is_overwritten() {
        const MOUNTED: &str = "ROPEWALK_TEST_MOUNTED";
        if let Some(config) = std::env::var_os(MOUNTED) {
            replace(Path::new(&config), "new").unwrap();
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (real, config) = (dir.path().join("real"), dir.path().join("config"));
        fs::write(&real, "longer than the new one").unwrap();
        fs::write(&config, "").unwrap();
        let inside = "mount --bind \"$1\" \"$2\" || exit 77; exec \"$3\" --exact \
                      kubeconfig::change::tests::a_kubeconfig_that_is_a_mount_point_is_overwritten";
        let mut unshare = Command::new("unshare");
        unshare.args(["--map-root-user", "--mount", "sh", "-c", inside, "sh"]);
        unshare.args([&real, &config, &std::env::current_exe().unwrap()]).env(MOUNTED, &config);
        let ended = unshare.output().ok();
        match ended.as_ref().and_then(|ended| ended.status.code()) {
            Some(0) => assert_eq!(fs::read_to_string(&real).unwrap(), "new"),
            Some(101) => panic!("{}", String::from_utf8_lossy(&ended.unwrap().stdout)),
            _ => {} // this machine forbids mounts here
        }
    }

    /// A kubeconfig that several people use: each may write it, and one of them owns it. It is
    /// changed by a process of its own, which runs this test again as another user.
    #[test]
    fn a_kubeconfig_of_another_user_is_overwritten_by_one_who_may_write_it() {
        const SHARED: &str = "ROPEWALK_TEST_SHARED";
        if let Some(config) = std::env::var_os(SHARED) {
            replace(Path::new(&config), "new").unwrap();
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o777)).unwrap();
        let config = dir.path().join("config");
        fs::write(&config, "longer than the new one").unwrap();
        fs::set_permissions(&config, Permissions::from_mode(0o666)).unwrap();
        let own = fs::metadata(&config).unwrap().uid();
        let mut other = Command::new(std::env::current_exe().unwrap());
        other.arg("--exact").arg(
            "kubeconfig::change::tests::a_kubeconfig_of_another_user_is_overwritten_by_one_who_may_write_it",
        );
        other.env(SHARED, &config).gid(4712).uid(4711);
        // An ordinary user starts no program as another, and that one may not reach the program.
        let Ok(ended) = other.output() else { return };
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
        assert_eq!(fs::read_to_string(&config).unwrap(), "new");
        assert_eq!(fs::metadata(&config).unwrap().uid(), own, "it stays its owner's");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no draft stays");
    }

    /// `sudo` with the HOME of the user who called it.
    #[test]
    fn root_takes_a_kubeconfig_from_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("config");
        fs::write(&config, "old").unwrap();
        if std::os::unix::fs::chown(&config, Some(4711), Some(4712)).is_err() {
            return; // an ordinary user gives nothing away
        }
        replace(&config, "new").unwrap();
        let owned = fs::metadata(&config).unwrap();
        assert_eq!(
            (owned.uid(), owned.gid(), fs::read_to_string(&config).unwrap()),
            (4711, 4712, "new".into())
        );
    }
}
