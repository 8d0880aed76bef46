use super::*;

/// Remembers what was there when the groups were removed.
struct Recorder {
    lock: PathBuf,
    janitor: OwnedFd,
    seen: parking_lot::Mutex<Vec<(bool, bool)>>,
}

impl cgroup::Backend for Recorder {
    fn describe(&self) -> String {
        String::new()
    }
    fn lacks(&self) -> Option<cgroup::Lack> {
        None
    }
    fn controls_devices(&self) -> bool {
        false
    }
    fn controls_swap(&self) -> bool {
        false
    }
    fn kills(&self) -> bool {
        false
    }
    fn memory(&self) -> Option<cgroup::Shared> {
        None
    }
    fn create(&self, id: &str, _: &cgroup::Limits) -> Result<Arc<dyn cgroup::Group>> {
        Err(Error::new(id, io::ErrorKind::Unsupported))
    }
    fn destroy(&self) {
        let is_locked = Lock::take(&self.lock, Duration::ZERO).is_err();
        let has_janitor = process::pidfd_send_signal(self.janitor.as_fd(), 0).is_ok();
        self.seen.lock().push((is_locked, has_janitor));
    }
}

/// A start that fails, e.g. because no further PID namespace may be made.
#[test]
fn a_start_that_fails_ends_its_janitor_before_the_lock_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lock");
    let lock = Lock::take(&path, Duration::ZERO).unwrap();
    #[expect(clippy::zombie_processes, reason = "waited for through its pidfd")]
    let sleeper = std::process::Command::new("/bin/sleep").arg("600").spawn().unwrap();
    let pid = sleeper.id() as i32;
    let (watched, pidfd) = (process::pidfd_open(pid).unwrap(), process::pidfd_open(pid).unwrap());
    let recorder = Arc::new(Recorder { lock: path, janitor: watched, seen: Default::default() });
    let cgroups: Arc<dyn cgroup::Backend> = recorder.clone();
    let started = || -> Result<()> {
        let lock = lock;
        let mut clear_up = ClearUp { cgroups: &cgroups, lock: &lock, janitor: None };
        clear_up.janitor = Some(Child { pid, pidfd });
        Err(Error::new("cannot make a PID namespace", io::ErrorKind::QuotaExceeded))
    };
    assert!(started().is_err());
    assert_eq!(*recorder.seen.lock(), [(true, true)]);
    let gone = process::pidfd_send_signal(recorder.janitor.as_fd(), 0).unwrap_err();
    assert_eq!(gone.raw_os_error(), Some(libc::ESRCH));
}

#[test]
fn main_gets_the_numbers_of_all_processes_or_an_error() {
    let me = std::process::id() as i32;
    let (ours, theirs) = fds::seqpacket().unwrap();
    fds::accept_pids(&ours).unwrap();
    fds::send(theirs.as_fd(), b"pid", &[]).unwrap(); // the kernel adds the sender's number
    send_pids(ours, 7);
    assert_eq!(receive_pids(theirs.as_fd()).unwrap(), Pids { supervisor: me, main: 7, zygote: me });
    let (ours, theirs) = fds::seqpacket().unwrap();
    fds::send(theirs.as_fd(), b"pid", &[]).unwrap(); // no number comes with it
    send_pids(ours, 7);
    assert_eq!(receive_pids(theirs.as_fd()).unwrap_err().cause.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn layers_have_the_modes_of_images_whatever_umask_the_session_has() {
    let lay_out = |layers: &Path, binary: &Path| {
        fs::create_dir_all(layers.join("image/etc"))?;
        fs::hard_link(binary, layers.join("image/sh"))?;
        fs::write(layers.join("image/etc/passwd"), "")
    };
    let modes_with = |umask: u32| {
        // The thread's own umask from now on: other tests keep theirs.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).unwrap();
        process::set_umask(umask);
        let dir = tempfile::tempdir().unwrap();
        fill_layers(tempfile::tempfile().unwrap(), dir.path(), lay_out).unwrap();
        let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().mode() & 0o7777;
        (["image", "image/etc", "image/etc/passwd", "image/sh"].map(mode), process::set_umask(umask))
    };
    for umask in [0o077, 0o027, 0o002, 0] {
        let made = std::thread::scope(|scope| scope.spawn(|| modes_with(umask)).join().unwrap());
        assert_eq!(made, ([0o755, 0o755, 0o644, 0o555], umask), "umask {umask:03o}, which stays");
    }
}

/// A start while a `reset` removes the cluster's directory.
#[test]
fn nothing_is_made_before_the_lock_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let (lock, scratch) = (dir.path().join("lock"), dir.path().join("cluster/run"));
    let config = Config { lock, scratch: scratch.clone(), socket: None, new_session: false };
    let held = Lock::take(&config.lock, Duration::ZERO).unwrap();
    let refused = occupy(&config, Duration::ZERO).map(drop).unwrap_err();
    assert_eq!(refused.cause.kind(), io::ErrorKind::WouldBlock);
    assert!(!scratch.exists());
    drop(held);
    let _held = occupy(&config, Duration::ZERO).unwrap();
    assert!(scratch.exists());
}

#[test]
fn a_cluster_finds_its_own_group_again() {
    let dir = tempfile::tempdir().unwrap();
    let (lock, other) = (dir.path().join("lock"), dir.path().join("other"));
    let (held, _other) =
        (Lock::take(&lock, Duration::ZERO).unwrap(), Lock::take(&other, Duration::ZERO).unwrap());
    let name = group_name(&lock);
    assert_ne!(name, group_name(&other));
    drop(held);
    let _held = Lock::take(&lock, Duration::ZERO).unwrap();
    assert_eq!(name, group_name(&lock), "the file is the same at the next start");
    assert!(name.starts_with("ropewalk-") && name.len() == 25);
}

/// As in two containers that share a cgroup tree and not their files.
#[test]
fn two_clusters_at_one_path_have_groups_of_different_names() {
    let dir = tempfile::tempdir().unwrap();
    let lock = dir.path().join("lock");
    fs::write(&lock, "").unwrap();
    let first = group_name(&lock);
    fs::rename(&lock, dir.path().join("elsewhere")).unwrap(); // it keeps its inode
    fs::write(&lock, "").unwrap();
    assert_ne!(first, group_name(&lock));
}
