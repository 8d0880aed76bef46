use super::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

/// `host/secret` lies beside `volume`, whose links all want to go there.
fn hostile() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (host, volume) = (dir.path().join("host"), dir.path().join("volume"));
    fs::create_dir_all(host.join("secret")).unwrap();
    fs::write(host.join("file"), "of the host").unwrap();
    fs::create_dir_all(volume.join("..data")).unwrap();
    fs::write(volume.join("..data/key"), "value").unwrap();
    symlink("..data/key", volume.join("key")).unwrap(); // as the kubelet itself lays files down
    symlink(&host, volume.join("absolute")).unwrap();
    symlink("../host", volume.join("upwards")).unwrap();
    symlink("/proc/self/root", volume.join("magic")).unwrap();
    symlink("../host/new", volume.join("dangling")).unwrap();
    symlink("/proc/self/fd/0", volume.join("descriptor")).unwrap();
    nix::unistd::mkfifo(&volume.join("fifo"), Mode::from_bits_truncate(0o666)).unwrap();
    symlink("/dev/zero", volume.join("zero")).unwrap();
    (dir, host, volume)
}

const LEADS_OUT: &[&str] = &[
    "absolute",
    "absolute/file",
    "upwards",
    "upwards/file",
    "upwards/new",
    "magic",
    "magic/etc",
    "descriptor",
    "dangling",
    "dangling/x",
    "../host/file",
    "..data/../../host/file",
    "/etc/passwd",
    "zero",
];

fn at(fd: &OwnedFd) -> PathBuf {
    fs::read_link(path_of(fd.as_fd())).unwrap()
}

fn unchanged(host: &Path) {
    assert_eq!(fs::read_to_string(host.join("file")).unwrap(), "of the host");
    assert!(!host.join("new").exists(), "nothing is made outside");
    assert_eq!(fs::read_dir(host.join("secret")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(host).unwrap().count(), 2);
}

#[test]
fn nothing_beneath_leads_out() {
    let (_dir, host, volume) = hostile();
    let root = Root::open(&volume).unwrap();
    for path in LEADS_OUT {
        let path = Path::new(path);
        assert!(root.open_beneath(path, Kind::Place).is_err(), "{path:?} was opened");
        assert!(root.open_beneath(path, Kind::File).is_err(), "{path:?} was opened");
        assert!(root.read_file(path, 100).is_err(), "{path:?} was read");
        assert!(root.write_file(path, b"x", 0o4755).is_err(), "{path:?} was written");
        assert!(root.make_dirs(path, 0o777).is_err(), "{path:?} was made");
        assert!(root.make_dirs(&path.join("deeper"), 0o777).is_err(), "{path:?} was made");
        assert!(root.write_file(&path.join("deeper"), b"x", 0o777).is_err(), "{path:?} was written");
        assert!(Source::open(&volume, path).is_err(), "{path:?} is a source");
    }
    unchanged(&host);
    assert_eq!(root.read_file(Path::new("key"), 100).unwrap(), b"value");
    assert_eq!(at(&root.open_beneath(Path::new(""), Kind::Directory).unwrap()), volume);
    let made = root.make_dirs(Path::new("new/./deep/"), 0o750).unwrap();
    assert_eq!(at(&OwnedFd::from(made)), volume.join("new/deep"));
    assert_eq!(fs::metadata(volume.join("new/deep")).unwrap().permissions().mode() & 0o7777, 0o750);
}

#[test]
fn in_a_root_every_path_stays_inside() {
    let (_dir, host, volume) = hostile();
    let root = Root::open(&volume).unwrap();
    fs::create_dir_all(volume.join("etc")).unwrap();
    fs::write(volume.join("etc/passwd"), "inside").unwrap();
    symlink("/etc", volume.join("link")).unwrap();
    symlink("../../../../etc", volume.join("climbs")).unwrap();
    for path in ["/etc/passwd", "../../etc/passwd", "link/passwd", "climbs/passwd", "/../..//etc/passwd"] {
        assert_eq!(root.read_file_of_root(Path::new(path), 100).unwrap(), b"inside", "{path}");
    }
    for path in ["magic", "descriptor", "absolute/file", "upwards/file", "zero"] {
        assert!(root.open_in_root(Path::new(path), Kind::Place).is_err(), "{path}");
    }
    let made = root.make_dirs_in_root(Path::new("/../tmp/made"), 0o755).unwrap();
    assert_eq!(at(&OwnedFd::from(made)), volume.join("tmp/made"));
    root.make_file_in_root(Path::new("/../tmp/file"), 0o644).unwrap();
    root.make_file_in_root(Path::new("/etc/passwd"), 0o644).unwrap();
    assert!(root.make_file_in_root(Path::new("/fifo"), 0o644).is_err());
    assert_eq!(fs::read(volume.join("etc/passwd")).unwrap(), b"inside", "an existing file stays");
    assert!(volume.join("tmp/file").is_file());
    assert!(root.make_dirs_in_root(Path::new("dangling/x"), 0o755).is_err());
    unchanged(&host);
}

#[test]
fn a_file_of_the_root_is_on_no_other_file_system() {
    let root = Root::open(Path::new("/")).unwrap();
    let dir = tempfile::tempdir_in("/").or_else(|_| tempfile::tempdir()).unwrap();
    let link = dir.path().join("passwd");
    symlink("/proc/version", &link).unwrap();
    for path in [Path::new("/proc/version"), &link] {
        assert!(root.open_in_root(path, Kind::File).is_ok(), "it is a regular file");
        let refused = root.read_file_of_root(path, 1 << 20).unwrap_err();
        assert_eq!(refused.cause.raw_os_error(), Some(libc::EXDEV), "{}", path.display());
        let refused = root.open_of_root(path).unwrap_err();
        assert_eq!(refused.cause.raw_os_error(), Some(libc::EXDEV), "{}", path.display());
    }
}

#[test]
fn only_regular_files_are_read_and_no_more_than_was_asked_for() {
    let (dir, _, volume) = hostile();
    let root = Root::open(&volume).unwrap();
    // Each would block or never end.
    assert!(root.read_file(Path::new("fifo"), 100).is_err());
    assert!(root.write_file(Path::new("fifo"), b"x", 0o644).is_err());
    assert!(root.read_file(Path::new("..data"), 100).is_err());
    assert_eq!(root.read_file(Path::new("key"), 5).unwrap(), b"value");
    let large = root.read_file(Path::new("key"), 4).unwrap_err();
    assert_eq!(large.cause.raw_os_error(), Some(libc::EFBIG));
    let dev = Root::open(Path::new("/dev")).unwrap();
    for device in ["zero", "ptmx", "tty", "full"] {
        assert!(dev.read_file(Path::new(device), 100).is_err(), "{device}");
    }
    drop(dir);
}

#[test]
fn a_file_gets_its_bytes_and_its_mode() {
    let (_dir, host, volume) = hostile();
    let root = Root::open(&volume).unwrap();
    let mode = |path: &str| fs::metadata(volume.join(path)).unwrap().permissions().mode() & 0o7777;
    root.write_file(Path::new("a/b/c"), b"long text", 0o640).unwrap();
    assert_eq!((fs::read(volume.join("a/b/c")).unwrap(), mode("a/b/c")), (b"long text".to_vec(), 0o640));
    root.write_file(Path::new("a/b/c"), b"short", 0o600).unwrap();
    assert_eq!((fs::read(volume.join("a/b/c")).unwrap(), mode("a/b/c")), (b"short".to_vec(), 0o600));
    for path in ["", ".", "/", "a/..", "a"] {
        assert!(root.write_file(Path::new(path), b"x", 0o644).is_err(), "{path:?}");
    }
    // A link is no place to write, even if it stays inside.
    assert!(root.write_file(Path::new("key"), b"x", 0o644).is_err());
    assert_eq!(fs::read(volume.join("..data/key")).unwrap(), b"value");
    unchanged(&host);
}

#[test]
fn links_and_renames_stay_beneath() {
    let (_dir, host, volume) = hostile();
    let root = Root::open(&volume).unwrap();
    root.symlink(Path::new("..data"), Path::new("tmp")).unwrap();
    root.rename(Path::new("tmp"), Path::new("next")).unwrap();
    assert_eq!(root.read_link(Path::new("next")).unwrap(), Path::new("..data"));
    assert!(root.exists(Path::new("dangling")).unwrap());
    assert!(!root.exists(Path::new("nothing")).unwrap());
    assert!(root.exists(Path::new("upwards/file")).is_err());
    assert!(root.rename(Path::new("next"), Path::new("upwards/next")).is_err());
    assert!(root.rename(Path::new("absolute/file"), Path::new("stolen")).is_err());
    assert!(root.symlink(Path::new("x"), Path::new("../host/new")).is_err());
    unchanged(&host);
}

#[test]
fn a_descriptor_keeps_its_meaning_when_the_name_is_swapped() {
    let (_dir, host, volume) = hostile();
    fs::create_dir(volume.join("place")).unwrap();
    let source = Source::open(&volume, Path::new("place")).unwrap();
    fs::rename(volume.join("place"), volume.join("old")).unwrap();
    symlink(&host, volume.join("place")).unwrap();
    assert_eq!(fs::read_link(path_of(source.as_fd())).unwrap(), volume.join("old"));
    assert!(source.is_dir().unwrap());
    assert!(Source::open(&volume, Path::new("place")).is_err());
    assert!(Source::open_in_root(&volume, Path::new("place"), Path::new("")).is_err());
}

#[test]
fn swapping_all_the_time_never_leads_out() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let (_dir, host, volume) = hostile();
    fs::create_dir(volume.join("inside")).unwrap();
    fs::write(volume.join("inside/file"), "inside").unwrap();
    symlink("inside", volume.join("swap")).unwrap(); // before anything could be made in its place
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for target in [Path::new("inside"), &host] {
                    let _ = fs::remove_file(volume.join("swap-new"));
                    symlink(target, volume.join("swap-new")).unwrap();
                    fs::rename(volume.join("swap-new"), volume.join("swap")).unwrap();
                }
            }
        });
        let root = Root::open(&volume).unwrap();
        let mut read = 0;
        // The other thread gets little of a busy processor, and may stand still for many tries.
        for tried in 0..200_000 {
            if tried >= 2000 && read > 0 {
                break;
            }
            match root.read_file(Path::new("swap/file"), 100) {
                Ok(bytes) => {
                    assert_eq!(bytes, b"inside");
                    read += 1;
                }
                Err(e) => assert!(!e.line().is_empty()),
            }
            let _ = root.write_file(Path::new("swap/new"), b"x", 0o644);
            let _ = root.remove_all(Path::new("swap/new"));
        }
        over.store(true, Ordering::Relaxed);
        assert!(read > 0, "the link was never seen as it should be");
    });
    unchanged(&host);
}

#[test]
fn removal_follows_no_link_and_any_depth_is_fine() {
    let (_dir, host, volume) = hostile();
    let root = Root::open(&volume).unwrap();
    let mut deep = volume.join("deep");
    for _ in 0..200 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("f"), "").unwrap();
    for n in 0..1034 {
        fs::write(volume.join(format!("deep/{n}")), "").unwrap();
    }
    symlink(&host, volume.join("deep/out")).unwrap();
    symlink("../../host", volume.join("deep/d/out")).unwrap();
    for path in ["", ".", "/", "a/..", "..", "deep/.."] {
        assert!(root.remove_all(Path::new(path)).is_err(), "{path:?} was removed");
    }
    for path in ["../host", "upwards/secret", "absolute/file", "/etc/passwd", "magic/tmp"] {
        assert!(root.remove_all(Path::new(path)).is_err(), "{path:?} was removed");
    }
    root.remove_all(Path::new("deep")).unwrap();
    assert!(!volume.join("deep").exists());
    root.remove_all(Path::new("deep")).unwrap(); // nothing there
    for link in ["absolute", "upwards", "fifo", "dangling"] {
        root.remove_all(Path::new(link)).unwrap();
        assert!(volume.join(link).symlink_metadata().is_err(), "{link} is still there");
    }
    unchanged(&host);
}

#[test]
fn a_part_that_is_made_is_as_open_as_its_volume() {
    use std::os::unix::fs::PermissionsExt;
    for mode in [0o777, 0o2775, 0o755] {
        let volume = tempfile::tempdir().unwrap();
        std::fs::set_permissions(volume.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        assert!(Source::open(volume.path(), Path::new("new/part")).unwrap().is_dir().unwrap());
        for part in ["new", "new/part"] {
            let found = std::fs::metadata(volume.path().join(part)).unwrap().permissions().mode() & 0o7777;
            assert_eq!(found, mode, "{part}");
        }
    }
}

/// A `hostPath` of type DirectoryOrCreate in a directory that a group shares.
#[test]
fn a_directory_that_is_made_has_the_setgid_bit_of_the_one_above() {
    let shared = tempfile::tempdir().unwrap();
    fs::set_permissions(shared.path(), fs::Permissions::from_mode(0o2775)).unwrap();
    Root::open(shared.path()).unwrap().make_dirs_in_root(Path::new("/new/deep"), 0o755).unwrap();
    for made in ["new", "new/deep"] {
        let mode = fs::metadata(shared.path().join(made)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o2755, "{made}");
    }
}
