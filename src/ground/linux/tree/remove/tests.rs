use super::super::tests::{deep, measured};
use super::*;
use crate::beneath::path_of;
use std::fs;
use std::os::fd::AsFd;
use std::time::Duration;

#[test]
fn a_removal_goes_on_where_its_time_was_over() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("top");
    for n in 0..50 {
        fs::create_dir_all(top.join(format!("d{n}"))).unwrap();
        (0..20).for_each(|f| fs::write(top.join(format!("d{n}/f{f}")), "").unwrap());
    }
    let (root, mut removal) = (Root::open(dir.path()).unwrap(), Removal::default());
    let mut remove = |time: Duration| root.remove_some(Path::new("top"), &mut removal, Instant::now() + time);
    assert!(!remove(Duration::ZERO).unwrap());
    assert_eq!(measured(&top, 2000).files, 50 * 21, "no time, nothing is removed");
    let (mut parts, mut left) = (0, 50 * 21);
    while !remove(Duration::from_micros(100)).unwrap() {
        let now = measured(&top, 2000).files;
        assert!(now <= left);
        (parts, left) = (parts + 1, now);
        assert!(parts < 10_000, "it never ends");
    }
    assert!(!top.exists() && parts > 0, "{parts}");
    assert!(remove(Duration::from_secs(60)).unwrap(), "nothing there is no error");
}

#[test]
fn a_removal_has_a_bound_for_each_directory_and_none_for_the_whole_tree() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("top");
    (0..50).for_each(|n| fs::create_dir_all(top.join(format!("d{n}/e/f"))).unwrap());
    let (root, soon) = (Root::open(dir.path()).unwrap(), Instant::now() + Duration::from_secs(600));
    let with = |passes_max: u64| Removal { passes_max, ..Removal::default() };
    let refused = root.remove_some(Path::new("top"), &mut with(1), soon).unwrap_err();
    assert_eq!(refused.cause.raw_os_error(), Some(libc::EBUSY), "it is never found empty");
    assert!(root.remove_some(Path::new("top"), &mut with(2), soon).unwrap());
    assert!(!top.exists());
}

#[test]
fn removal_ends_whatever_names_a_pod_gave_and_an_earlier_removal_left() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("top");
    // Names that directories get which are moved up.
    for n in 1..20 {
        fs::create_dir_all(top.join(format!(".removed-{n}/full"))).unwrap();
        fs::create_dir_all(top.join(format!(".removed-{}-{n}/full", std::process::id()))).unwrap();
    }
    fs::write(top.join(".removed-20"), "").unwrap();
    std::os::unix::fs::symlink("..", top.join(".removed-21")).unwrap();
    let inside = top.join("a");
    fs::create_dir(&inside).unwrap();
    drop(deep(&inside, &"d".repeat(200), 10 * DEPTH_MAX));
    fs::write(dir.path().join("kept"), "").unwrap();
    let root = Root::open(dir.path()).unwrap();
    root.remove_all(Path::new("top")).unwrap();
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["kept"]);
}

/// A directory `top` with directories deep in it, and full ones beside them on every level.
fn deep_and_wide(dir: &Path, levels: usize) {
    let top = dir.join("top");
    fs::create_dir(&top).unwrap();
    let mut here = deep(&top, "d", 1);
    for level in 0..levels {
        let path = path_of(here.as_fd());
        fs::create_dir_all(path.join("beside/empty")).unwrap();
        fs::write(path.join("beside/file"), "").unwrap();
        fs::write(path.join(format!("f{level}")), "").unwrap();
        here = deep(&path, "d", 1);
    }
}

/// As on btrfs in a subvolume, on XFS in a project, and on a full disk.
#[test]
fn deep_directories_that_cannot_be_moved_are_removed_where_they_are() {
    let refusals: [(Rename, usize); 5] = [
        (|_, _, _, _| Err(Errno::EXDEV), ABOVE_MAX),
        (|_, _, _, _| Err(Errno::EXDEV), 7),
        (|_, _, _, _| Err(Errno::ENOSPC), ABOVE_MAX),
        (|_, _, _, _| Err(Errno::EDQUOT), ABOVE_MAX),
        (|_, _, _, _| Err(Errno::EMLINK), ABOVE_MAX),
    ];
    let soon = Instant::now() + Duration::from_secs(600);
    for (rename, above_max) in refusals {
        let dir = tempfile::tempdir().unwrap();
        deep_and_wide(dir.path(), DEPTH_MAX + 16);
        let mut work = Removal { rename, above_max, ..Removal::default() };
        let root = Root::open(dir.path()).unwrap();
        assert!(root.remove_some(Path::new("top"), &mut work, soon).unwrap());
        assert!(!dir.path().join("top").exists());
    }
    let dir = tempfile::tempdir().unwrap();
    deep_and_wide(dir.path(), DEPTH_MAX);
    let mut work = Removal { rename: |_, _, _, _| Err(Errno::EIO), ..Removal::default() };
    let root = Root::open(dir.path()).unwrap();
    let error = root.remove_some(Path::new("top"), &mut work, soon).unwrap_err();
    assert_eq!(error.cause.raw_os_error(), Some(libc::EIO), "any other error is returned");
}

/// As if a process had moved the directory in between.
#[test]
fn what_goes_away_during_a_removal_does_not_end_it() {
    let dir = tempfile::tempdir().unwrap();
    deep_and_wide(dir.path(), 3 * DEPTH_MAX);
    let rename: Rename = |from, name, to, new| {
        nix::fcntl::renameat(from, name, to, new)?;
        Err(Errno::ENOENT)
    };
    let (root, mut work) = (Root::open(dir.path()).unwrap(), Removal { rename, ..Removal::default() });
    let soon = Instant::now() + Duration::from_secs(600);
    assert!(root.remove_some(Path::new("top"), &mut work, soon).unwrap());
    assert!(!dir.path().join("top").exists());
}

/// As if a process that holds the directory had written into it in between.
#[test]
fn a_directory_that_is_filled_during_a_removal_does_not_end_it() {
    static FILLED: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("top/a/b")).unwrap();
    let rmdir: Rmdir = |from, name| {
        if FILLED.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 3 {
            fs::write(path_of(from.as_fd()).join(name).join("late"), "").unwrap();
        }
        nix::unistd::unlinkat(from, name, UnlinkatFlags::RemoveDir)
    };
    let (root, mut work) = (Root::open(dir.path()).unwrap(), Removal { rmdir, ..Removal::default() });
    let soon = Instant::now() + Duration::from_secs(600);
    assert!(root.remove_some(Path::new("top"), &mut work, soon).unwrap());
    assert!(!dir.path().join("top").exists());
}

/// As an immutable file, or a directory that is mounted over.
#[test]
fn what_cannot_be_removed_keeps_nothing_beside_it() {
    let rmdir: Rmdir = |from, name| match name == "stays" {
        true => Err(Errno::EPERM),
        false => nix::unistd::unlinkat(from, name, UnlinkatFlags::RemoveDir),
    };
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("top");
    for path in ["a/stays/x", "b/c", "stays", "z/deep/stays", "z/deep/y"] {
        fs::create_dir_all(top.join(path)).unwrap();
    }
    (0..2 * NAMES_MAX).for_each(|n| fs::write(top.join(format!("z/deep/{n}")), "").unwrap());
    let (root, mut work) = (Root::open(dir.path()).unwrap(), Removal { rmdir, ..Removal::default() });
    let soon = Instant::now() + Duration::from_secs(600);
    let error = root.remove_some(Path::new("top"), &mut work, soon).unwrap_err();
    assert_eq!(error.cause.raw_os_error(), Some(libc::EPERM));
    assert_eq!(error.what, "cannot remove top, because of stays in it");
    let left = |path: &str| -> Vec<String> {
        let entries = fs::read_dir(top.join(path)).unwrap().flatten();
        let mut names: Vec<String> = entries.map(|e| e.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(left(""), ["a", "stays", "z"]);
    assert_eq!([left("a"), left("z"), left("z/deep")], [["stays"], ["deep"], ["stays"]]);
    assert!(left("a/stays").is_empty() && left("stays").is_empty());
    let mut work = Removal::default();
    assert!(root.remove_some(Path::new("top"), &mut work, soon).unwrap());
    assert!(!top.exists());
}

#[test]
fn a_file_that_may_not_be_removed_is_told_as_one() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    fs::create_dir(dir.path().join("directory")).unwrap();
    let parent = nix::fcntl::open(dir.path(), OFlag::O_DIRECTORY, Mode::empty()).unwrap();
    let open = |name: &str, refusal: Errno| {
        directory_of(&parent, OsStr::new(name), refusal).map(|found| found.is_some())
    };
    assert_eq!(open("file", Errno::EPERM), Err(Errno::EPERM), "not ENOTDIR");
    assert_eq!(open("file", Errno::EISDIR), Ok(false), "it was a directory a moment ago");
    assert_eq!(open("directory", Errno::EISDIR), Ok(true));
}

/// As if a process that holds the tree itself had written into it in between.
#[test]
fn a_tree_that_is_filled_at_its_top_during_a_removal_goes_too() {
    static FILLED: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("top/a")).unwrap();
    let rmdir: Rmdir = |from, name| {
        if name == "top" && FILLED.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 3 {
            fs::write(path_of(from.as_fd()).join(name).join("late"), "").unwrap();
        }
        nix::unistd::unlinkat(from, name, UnlinkatFlags::RemoveDir)
    };
    let (root, mut work) = (Root::open(dir.path()).unwrap(), Removal { rmdir, ..Removal::default() });
    let soon = Instant::now() + Duration::from_secs(600);
    assert!(root.remove_some(Path::new("top"), &mut work, soon).unwrap());
    assert!(!dir.path().join("top").exists());
}

#[test]
fn a_deep_removal_whose_time_is_over_has_removed_as_much_as_it_entered() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("top");
    fs::create_dir(&top).unwrap();
    let bottom = deep(&top, "d", 500);
    (0..2000).for_each(|n| fs::write(path_of(bottom.as_fd()).join(n.to_string()), "").unwrap());
    let work = Removal { until: Some(Instant::now()), ..Removal::default() };
    let parent = nix::fcntl::open(dir.path(), OFlag::O_DIRECTORY, Mode::empty()).unwrap();
    assert_eq!(remove_deep(&parent, OsStr::new("top"), &work), Err(Errno::ETIME));
    assert_eq!(beneath::names(&bottom, 5000).unwrap().len(), 1499);
}

#[test]
fn a_deep_removal_does_not_go_up_where_a_process_moved_it() {
    let dir = tempfile::tempdir().unwrap();
    let (top, other) = (dir.path().join("top"), dir.path().join("other"));
    fs::create_dir(&top).unwrap();
    fs::create_dir(&other).unwrap();
    let inside = deep(&top, "d", 1);
    let above = nix::fcntl::open(&top, OFlag::O_DIRECTORY, Mode::empty()).unwrap();
    let before = id_of(&above).unwrap();
    assert_eq!(id_of(&go_up(&inside, before).unwrap().unwrap()), Ok(before));
    fs::rename(top.join("d"), other.join("d")).unwrap();
    assert!(go_up(&inside, before).unwrap().is_none());
}
