//! The atomic writer: files of config maps, secrets, the downward API and projected volumes,
//! written the way Kubernetes does: into a fresh directory that the link `..data` then points to,
//! so that a reader sees the old files or the new ones, never a mixture.
//!
//! The paths come from objects (`items[].path`, keys, a token's path), so they are checked and then
//! resolved beneath the volume's directory.

use linux::beneath::{Kind, Root};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Files of a volume: path inside it → (bytes, mode). Only the permission bits of a mode count.
pub(crate) type Files = BTreeMap<String, (Vec<u8>, u32)>;

/// The group and the user that own the files of a volume.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owners {
    /// The pod's `fsGroup`.
    pub group: Option<u32>,
    /// The user of all containers, if it is one.
    pub user: Option<u32>,
    /// Files that only this user and this group may read, with the mode that the pod says: tokens.
    pub closed: BTreeMap<String, u32>,
}

impl Owners {
    /// Returns the mode that a token is written with. Source: `pkg/volume/projected/projected.go`.
    pub(crate) fn close(&mut self, path: &str, mode: u32) -> u32 {
        if self.group.is_none() && self.user.is_none() {
            return mode;
        }
        self.closed.insert(path.into(), mode);
        0o600
    }
}

/// Bytes that the files of all volumes of one pod may have, but for emptyDir: an object of one
/// megabyte may be in a pod a thousand times, and they are read into memory before they are written
/// to the node's disk.
pub(crate) const ALL_MAX: usize = 64 << 20;
/// Bytes that a file takes of the disk, however small it is.
const FILE_MIN: usize = 4096;

/// Bytes of files that the volumes of all pods of all nodes may have in memory at one moment: twice
/// what one pod may have. Each volume gives its bytes back as soon as it is written. A volume that
/// finds no room fails and is made again later. It does not wait: a node that cannot reach the API
/// server would keep the room while the volumes of other nodes wait for it.
pub(crate) const ROOM: usize = 2 * ALL_MAX;
static IN_MEMORY: Semaphore = Semaphore::const_new(ROOM);

/// The files of a volume, as they are gathered.
pub(crate) struct Gathered<'a> {
    pub files: Files,
    /// Bytes that the pod's volumes may still take.
    left: &'a mut usize,
    /// Bytes that all volumes together may still take.
    room: &'a Semaphore,
    held: Option<SemaphorePermit<'a>>,
}

impl<'a> Gathered<'a> {
    pub(crate) fn new(left: &'a mut usize) -> Gathered<'a> {
        Gathered::within(left, &IN_MEMORY)
    }

    /// Makes one as [`Gathered::new`] does, with another bound for all volumes.
    pub(crate) fn within(left: &'a mut usize, room: &'a Semaphore) -> Gathered<'a> {
        Gathered { files: Files::new(), left, room, held: None }
    }

    /// Adds a file; one of the same path is replaced.
    ///
    /// # Errors
    /// As [`clean_path`]; or the pod's volumes would have more than [`ALL_MAX`] bytes, or those of
    /// all pods that are being written take more than [`ROOM`].
    pub(crate) fn add(&mut self, path: &str, bytes: &[u8], mode: u32) -> Result<(), String> {
        let path = clean_path(path)?;
        let takes = bytes.len().max(FILE_MIN);
        let left = self.left.checked_sub(takes);
        *self.left =
            left.ok_or_else(|| format!("the files of the pod's volumes have more than {ALL_MAX} bytes"))?;
        let permits = u32::try_from(takes).unwrap_or(u32::MAX);
        let more = self.room.try_acquire_many(permits).map_err(|_| {
            format!(
                "the volumes that are being written take all {ROOM} bytes of memory for this; trying again"
            )
        })?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        self.files.insert(path, (bytes.to_vec(), mode));
        Ok(())
    }
}

/// Bytes of a whole path and of one name in it: PATH_MAX and NAME_MAX of Linux, as upstream's
/// writer has them.
const PATH_MAX: usize = 4096;
pub(crate) const NAME_MAX: usize = 255;

/// Returns whether this is the name of one file: no path, and neither `.` nor `..`.
pub(crate) fn is_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(only)), None) if only.len() == name.len())
}

/// Checks a path of a volume's file, and returns it without what means nothing in it, as upstream's
/// writer does (`filepath.Clean`).
///
/// ```text
/// ./a  ->  a        a//b/./c/  ->  a/b/c        .  ->  refused        ./..data  ->  refused
/// ```
///
/// # Errors
/// The path is empty, too long, absolute, has `..` in it, or begins with `..`: such names are the
/// writer's own.
pub(crate) fn clean_path(path: &str) -> Result<String, String> {
    let wrong = |why: &str| Err(format!("invalid path {path:?}: {why}"));
    if path.is_empty() {
        return wrong("must not be empty");
    }
    if path.len() > PATH_MAX {
        return wrong("is too long");
    }
    if path.starts_with('/') {
        return wrong("must be a relative path");
    }
    if path.split('/').any(|part| part == "..") {
        return wrong("must not contain '..'");
    }
    if path.split('/').any(|part| part.len() > NAME_MAX) {
        return wrong("has a name that is too long");
    }
    let names: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    match names.first() {
        Some(first) if first.starts_with("..") => wrong("must not start with '..'"),
        Some(_) if !path.contains('\0') => Ok(names.join("/")),
        _ => wrong("must be plain names"),
    }
}

/// Checks a path that a file is written to.
///
/// # Errors
/// As [`clean_path`]; or the path is not clean: two files could have one place.
fn check_path(path: &str) -> Result<(), String> {
    match clean_path(path)? == path {
        true => Ok(()),
        false => Err(format!("invalid path {path:?}: must be plain names")),
    }
}

/// Writes the files so that the change is seen as a whole. Where nothing changed, no file is
/// written; the links to the files are made and the remains of earlier writes are removed all the
/// same, since the write before may have failed, or its process may have been killed, at that step.
///
/// # Errors
/// A path that [`check_path`] refuses, two files of which one is the directory of the other, or the
/// file system's.
pub(crate) fn write(dir: &Path, files: &Files, owners: &Owners) -> Result<(), String> {
    files.keys().try_for_each(|path| check_path(path))?;
    let root = Root::open(dir).map_err(|e| e.line())?;
    let data = Path::new("..data");
    let old = root.read_link(data).ok().and_then(|old| old.into_os_string().into_string().ok());
    let old = old.filter(|old| is_name(old));
    let same = |(path, (bytes, _)): (&String, &(Vec<u8>, u32))| {
        root.read_file(&data.join(path), bytes.len()).is_ok_and(|old| old == *bytes)
    };
    let count = |old: &str| walk(&dir.join(old)).map_or(usize::MAX, |found| found.len());
    let stamp = match old.filter(|old| files.iter().all(same) && count(old) == files.len()) {
        Some(current) => {
            give_to_owners(&root, data, files, owners)?; // an older writer may not have come to it
            current
        }
        None => {
            let stamp = format!("..{}", clock::now().as_nanosecond());
            let filled = fill(&root, &stamp, files, owners);
            let shown = filled.and_then(|()| show(&root, &stamp).map_err(|e| e.line()));
            if let Err(error) = shown {
                let _ = root.remove_all(Path::new(&stamp)); // the files in use stay
                return Err(error);
            }
            stamp
        }
    };
    let tops: BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    for top in &tops {
        if !root.exists(Path::new(top)).map_err(|e| e.line())? {
            root.symlink(&data.join(top), Path::new(top)).map_err(|e| e.line())?;
        }
    }
    let names = fs::read_dir(dir).map_err(|e| format!("cannot read {}: {e}", dir.display()))?;
    // What an earlier content left, and what a writer left that did not come to its end.
    for name in names.flatten().map(|entry| entry.file_name()) {
        let known = |name: &str| name == "..data" || name == stamp || tops.contains(name);
        if !name.to_str().is_some_and(known) {
            root.remove_all(Path::new(&name)).map_err(|e| e.line())?;
        }
    }
    Ok(())
}

/// Writes the files into the new directory `stamp`. They belong to their owners before `..data`
/// leads to them: a reader of the pod's `fsGroup` never meets a file that is still closed to it.
fn fill(root: &Root, stamp: &str, files: &Files, owners: &Owners) -> Result<(), String> {
    let fresh = root.make_dirs(Path::new(stamp), 0o755).map_err(|e| e.line())?;
    for (path, (bytes, mode)) in files {
        fresh.write_file(Path::new(path), bytes, mode & 0o777).map_err(|e| e.line())?;
    }
    give_to_owners(root, Path::new(stamp), files, owners)
}

/// Replaces the link `..data` by one to the directory `stamp`, in one step.
fn show(root: &Root, stamp: &str) -> linux::Result<()> {
    let next = Path::new("..data_tmp");
    root.remove_all(next)?;
    root.symlink(Path::new(stamp), next)?;
    root.rename(next, Path::new("..data")).inspect_err(|_| {
        let _ = root.remove_all(next); // the next try makes it anew
    })
}

/// Gives the files of a volume to the pod's `fsGroup`, which may read them whatever their mode
/// says: a Secret of mode 0400 belongs to root, and the container may run as any user. Tokens
/// belong to the user of the containers. Where this program may not give files to that group or
/// user, no container has it either, and the runtime tells so; then a token has the mode that the
/// pod says. Source: `SetVolumeOwnership` in `pkg/volume/volume_linux.go`; the atomic writer's
/// `setPerms`.
fn give_to_owners(root: &Root, under: &Path, files: &Files, owners: &Owners) -> Result<(), String> {
    for (path, (_, mode)) in files {
        let closed = owners.closed.get(path);
        let user = owners.user.filter(|_| closed.is_some());
        if user.is_none() && owners.group.is_none() {
            continue;
        }
        let file = root.open_beneath(&under.join(path), Kind::File).map_err(|e| e.line())?;
        let file = fs::File::from(file);
        let io = |error: io::Error| format!("cannot give {path:?} to its owners: {error}");
        let found = file.metadata().map_err(io)?;
        let new_user = user.filter(|user| found.uid() != *user);
        let new_group = owners.group.filter(|group| found.gid() != *group);
        let given = match (new_user, new_group) {
            (None, None) => Ok(()),
            (user, group) => std::os::unix::fs::fchown(&file, user, group),
        };
        let mode = match (&given, closed) {
            (Ok(()), _) => mode | owners.group.map_or(0, |_| 0o440),
            (Err(_), Some(open)) => *open,
            (Err(_), None) => *mode,
        } & 0o777;
        if let Err(error) = given {
            tracing::debug!(path, ?owners, %error, "a file keeps its owners");
        }
        if found.mode() & 0o7777 != mode {
            file.set_permissions(fs::Permissions::from_mode(mode)).map_err(io)?;
        }
    }
    Ok(())
}

/// Lists the files below a directory that the kubelet made; links are not followed.
fn walk(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => files.extend(walk(&entry.path())?),
            false => files.push(entry.path()),
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        list.iter().map(|(k, v)| (k.to_string(), (v.as_bytes().to_vec(), 0o644))).collect()
    }

    #[test]
    fn a_change_is_seen_as_a_whole_and_old_files_go() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &files(&[("a", "1"), ("sub/b", "2")]), &Owners::default()).unwrap();
        let first = fs::read_link(dir.path().join("..data")).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("sub/b")).unwrap(), "2");
        write(dir.path(), &files(&[("a", "1"), ("sub/b", "2")]), &Owners::default()).unwrap();
        assert_eq!(
            fs::read_link(dir.path().join("..data")).unwrap(),
            first,
            "nothing changed, nothing written"
        );
        write(dir.path(), &files(&[("a", "9")]), &Owners::default()).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "9");
        assert!(dir.path().join("sub").symlink_metadata().is_err());
        assert!(!dir.path().join(first).exists());
        fs::create_dir(dir.path().join("..1")).unwrap(); // a kubelet was killed while it wrote
        write(dir.path(), &files(&[]), &Owners::default()).unwrap();
        assert!(dir.path().join("a").symlink_metadata().is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "..data and its directory");
    }

    #[test]
    fn the_group_of_a_pod_may_read_what_is_closed_to_others_before_it_is_shown() {
        let dir = tempfile::tempdir().unwrap();
        let own = fs::metadata(dir.path()).unwrap();
        let group = if own.uid() == 0 { 4711 } else { own.gid() }; // only root may give a file to any group
        let of_group = Owners { group: Some(group), ..Owners::default() };
        let secret = Files::from([("deep/key".to_string(), (b"x".to_vec(), 0o400))]);
        for _ in 0..2 {
            write(dir.path(), &secret, &of_group).unwrap();
            let found = fs::metadata(dir.path().join("deep/key")).unwrap();
            assert_eq!((found.gid(), found.mode() & 0o7777), (group, 0o440));
        }
        // Before `..data` leads to them.
        let dir = tempfile::tempdir().unwrap();
        fill(&Root::open(dir.path()).unwrap(), "..1", &secret, &of_group).unwrap();
        let found = fs::metadata(dir.path().join("..1/deep/key")).unwrap();
        assert_eq!((found.gid(), found.mode() & 0o7777), (group, 0o440));
    }

    /// The write before had no inode left for the links, or was killed between `..data` and them.
    #[test]
    fn links_that_an_interrupted_write_did_not_make_are_made_by_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let both = files(&[("a", "1"), ("sub/b", "2")]);
        write(dir.path(), &both, &Owners::default()).unwrap();
        let shown = fs::read_link(dir.path().join("..data")).unwrap();
        fs::remove_file(dir.path().join("a")).unwrap();
        fs::remove_file(dir.path().join("sub")).unwrap();
        fs::create_dir(dir.path().join("..1")).unwrap(); // of a writer that was killed
        std::os::unix::fs::symlink("..data/old", dir.path().join("old")).unwrap();
        write(dir.path(), &both, &Owners::default()).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "1");
        assert_eq!(fs::read_to_string(dir.path().join("sub/b")).unwrap(), "2");
        assert_eq!(fs::read_link(dir.path().join("..data")).unwrap(), shown, "no file was written anew");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4, "a, sub, ..data and its directory");
    }

    /// On a full disk they would take the room that the next try needs.
    #[test]
    fn files_that_cannot_be_shown_do_not_stay() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("..data")).unwrap(); // in the place of the link
        assert!(write(dir.path(), &files(&[("a", "1")]), &Owners::default()).is_err());
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(names, ["..data"]);
    }

    /// Of `items[].path` and of the path of a projected token.
    #[test]
    fn no_path_of_an_object_writes_outside_of_its_volume() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("volume");
        fs::create_dir(&volume).unwrap();
        let absolute = dir.path().join("absolute").display().to_string();
        for path in [
            absolute.as_str(),
            "../outside",
            "a/../../outside",
            "..outside",
            "..data/x",
            "a/..",
            "..",
            ".",
            "./a",
            "./..data/x",
            "./..",
            "",
            "/",
            "a\0b",
            &"x/".repeat(3000),
            &"x".repeat(300),
        ] {
            let error = write(&volume, &files(&[(path, "by a volume")]), &Owners::default()).unwrap_err();
            assert!(error.contains("invalid path"), "{path:?}: {error}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing beside the volume");
        assert_eq!(fs::read_dir(&volume).unwrap().count(), 0, "and nothing half written in it");
    }

    #[test]
    fn a_path_of_an_object_is_cleaned_before_it_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let (room, mut left) = (Semaphore::new(ROOM), ALL_MAX);
        let mut gathered = Gathered::within(&mut left, &room);
        for (path, text) in [("./x", "1"), ("sub//./y/", "2"), ("sub/y", "3")] {
            gathered.add(path, text.as_bytes(), 0o644).unwrap();
        }
        assert_eq!(gathered.files, files(&[("x", "1"), ("sub/y", "3")]));
        write(dir.path(), &gathered.files, &Owners::default()).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("x")).unwrap(), "1");
        assert_eq!(fs::read_to_string(dir.path().join("sub/y")).unwrap(), "3");
        for path in [".", "./", "./..data", "/x", "x/..", "./../x"] {
            assert!(gathered.add(path, b"", 0o644).unwrap_err().contains("invalid path"), "{path}");
        }
    }

    #[test]
    fn a_link_in_the_volume_leads_no_file_outside() {
        let dir = tempfile::tempdir().unwrap();
        let (volume, outside) = (dir.path().join("volume"), dir.path().join("outside"));
        fs::create_dir_all(&volume).unwrap();
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("keep"), "as it was").unwrap();
        for (link, target) in [("..data", "../outside"), ("..data_tmp", "../outside"), ("a", "../outside")] {
            std::os::unix::fs::symlink(target, volume.join(link)).unwrap();
        }
        write(&volume, &files(&[("keep", "changed"), ("b", "2")]), &Owners::default()).unwrap();
        assert_eq!(fs::read_to_string(outside.join("keep")).unwrap(), "as it was");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(volume.join("b")).unwrap(), "2");
    }

    #[test]
    fn modes_are_permissions_only_and_a_failed_write_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |mode: u32| Files::from([("a".to_string(), (b"x".to_vec(), mode))]);
        write(dir.path(), &mode(0o4755), &Owners::default()).unwrap();
        let found = fs::metadata(dir.path().join("a")).unwrap().permissions().mode();
        assert_eq!(found & 0o7777, 0o755);
        let clash = files(&[("a", "file"), ("a/b", "and directory")]);
        assert!(write(dir.path(), &clash, &Owners::default()).is_err());
        assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "x");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "a, ..data and its directory");
    }

    /// Every pod of every node gathers its volumes in the process that is the whole cluster.
    #[test]
    fn volumes_that_are_written_at_one_moment_have_a_bound_together() {
        let room = Semaphore::new(4 * FILE_MIN);
        let (mut of_one, mut of_other) = (ALL_MAX, ALL_MAX);
        let mut one = Gathered::within(&mut of_one, &room);
        one.add("a", &[0; 2 * FILE_MIN], 0o644).unwrap();
        one.add("b", b"small", 0o644).unwrap();
        let mut other = Gathered::within(&mut of_other, &room);
        other.add("a", b"small", 0o644).unwrap();
        let refused = other.add("b", b"small", 0o644).unwrap_err();
        assert!(refused.contains("trying again"), "{refused}");
        assert_eq!(other.files.len(), 1);
        drop(one);
        other.add("b", &[0; 3 * FILE_MIN], 0o644).unwrap();
        drop(other);
        assert_eq!(room.available_permits(), 4 * FILE_MIN, "all of it came back");
    }

    #[test]
    fn a_name_is_one_plain_component() {
        assert!(["a", "..a", "a.b"].iter().all(|name| is_name(name)));
        assert!(!["", ".", "..", "/", "a/b", "a/", "/a"].iter().any(|name| is_name(name)));
    }
}
