//! The processes of a cluster: S, M and Z.
//!
//! ```text
//! S  supervisor: single-threaded, stays in the host's namespaces (rootless: root of a user
//!    namespace); waits for M
//! +- J  janitor: waits for S to end in any way, removes cgroup directories, ends
//! +- M  main: pid 1 of a PID namespace, own mounts, the host's network; everything runs here
//!    +- Z  zygote: the own binary again, single-threaded, made before M has threads;
//!    |     makes containers on request
//!    +- containers: made by Z with CLONE_PARENT, so they are M's children
//! ```
//!
//! A PID namespace dies with its pid 1: SIGKILL of M ends all containers. M dies with S
//! (PDEATHSIG), so SIGKILL of S does the same, and J clears up what is not a process. If J is
//! killed too, [`sweep`] does it at the next `down`, and the next start for itself. Network
//! namespaces, interfaces, nftables rules and mounts go with their last process or descriptor.

use super::process::{self, Child, Exit, flags, spawn_forked};
use super::reap::{Birth, Children, Process};
use super::user::{self, Ids};
use super::{Context, Error, Result, cgroup, fds, lock::Lock, mount, signal};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The hidden argument with which the binary becomes the zygote; the number of its socket follows.
pub const ZYGOTE_ARGUMENT: &str = "ropewalk-zygote";

/// How long a start waits for the lock of a cluster that may end in this moment.
const SHORTLY: Duration = Duration::from_secs(10);
/// How long it waits while the last supervisor of the cluster, its janitor or a [`sweep`] removes
/// control groups: they take [`cgroup::PATIENCE`] at most.
const CLEARING: Duration = Duration::from_secs(cgroup::PATIENCE.as_secs() + 10);

/// Where a cluster's processes meet the machine.
#[derive(Clone, Debug)]
pub struct Config {
    /// A file that S locks as long as it lives: a second start of the same cluster fails. It also
    /// names the cgroup.
    pub lock: PathBuf,
    /// A directory on which M, in its own mount namespace, mounts two tmpfs: empty for all other
    /// processes.
    pub scratch: PathBuf,
    /// M's socket, if it makes one: removed when M has ended however it ended, and before the lock
    /// is free, so that it is never another start's.
    pub socket: Option<PathBuf>,
    /// S leads a session of its own, so a terminal's Ctrl-C does not reach it.
    pub new_session: bool,
}

/// Process numbers as the supervisor (and so the user) sees them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pids {
    /// S: the process that the user started, or its background copy.
    pub supervisor: i32,
    /// M: the parent of everything in the cluster. It runs the async runtime.
    pub main: i32,
    /// Z: makes containers on request.
    pub zygote: i32,
}

/// What main gets. It is called in M, single-threaded, with nothing but this; it starts the async
/// runtime **on the thread it is called on** and lets that thread live as long as M.
pub struct Main {
    /// The numbers of all three processes, as seen from outside of M's PID namespace.
    pub pids: Pids,
    /// Which user and group ids the containers may have.
    pub ids: Ids,
    /// Where control groups are made: v2, v1, or none on this machine.
    pub cgroups: Arc<dyn cgroup::Backend>,
    /// A read-only tmpfs: what `lay_out` made, and the one copy of this binary at [`BINARY`] in it.
    pub layers: PathBuf,
    /// A writable tmpfs, gone with M.
    pub writable: PathBuf,
    /// The running zygote, and the socket on which it takes requests.
    pub zygote: ZygoteProcess,
}

/// The zygote as main holds it. `runtime::Zygote::start` takes it over.
pub struct ZygoteProcess {
    socket: OwnedFd,
    child: Child,
}

impl ZygoteProcess {
    /// Returns the request socket, the process to wait for, and the table of all children to come.
    /// Needs the async runtime.
    ///
    /// # Errors
    /// A descriptor cannot be registered with the runtime ([`fds::async_fd`]).
    pub fn take(self) -> io::Result<(fds::Socket, Arc<Process>, Arc<Children>)> {
        let children = Children::new();
        let birth: Birth = children.birth();
        Ok((fds::Socket::new(self.socket)?, birth.adopt(self.child)?, children))
    }
}

/// Path of the copy of this binary below [`Main::layers`].
pub const BINARY: &str = "ropewalk";

/// Becomes the supervisor of a cluster: makes M, which calls `main`, and returns main's value when
/// M has ended. SIGTERM, SIGINT and SIGHUP are forwarded to M. `lay_out` fills the read-only
/// layers, given their directory and the binary's copy there.
///
/// # Errors
/// `InvalidInput`: the process has threads. `WouldBlock`: the lock is taken. Others: the kernel
/// forbids a namespace (see `ropewalk doctor`).
pub fn supervise(
    config: &Config,
    lay_out: impl FnOnce(&Path, &Path) -> io::Result<()>,
    main: impl FnOnce(Main) -> i32,
) -> Result<i32> {
    if !process::single_threaded() {
        return Err(Error::new("the supervisor must be single-threaded", io::ErrorKind::InvalidInput));
    }
    let lock = occupy(config, SHORTLY)?;
    if config.new_session {
        let _ = nix::unistd::setsid(); // fails only if we lead one already
    }
    let cgroups = cgroup::open(&group_name(&config.lock), Some(&groups_file(&config.lock)));
    let mut clear_up = ClearUp { cgroups: &cgroups, lock: &lock, janitor: None };
    let ids = user::enter()?;
    clear_up.janitor = Some(start_janitor(&cgroups, &lock)?);
    let signals = signal::descriptor(&signal::STOP).during(|| "cannot watch signals".into())?;
    if config.new_session {
        signal::stop_ignoring(&signal::STOP).during(|| "cannot heed signals".into())?;
    }
    let (ours, theirs) = fds::seqpacket().during(|| "cannot make a socket pair".into())?;
    fds::accept_pids(&ours).during(|| "cannot ask for pids".into())?;
    let (group, lock_copy, ours_copy) = (cgroups.clone(), &lock, ours.as_fd());
    let child = spawn_forked(flags::NEWPID | flags::NEWNS, None, move |forked| {
        forked.close_copy(ours_copy);
        lock_copy.forget_copy(forked);
        match become_main(config, theirs, ids, group, lay_out) {
            Ok(prepared) => {
                let code = main(prepared);
                let _ = io::stdout().flush();
                code
            }
            Err(e) => {
                crate::say(e.line());
                1
            }
        }
    })
    .during(|| "cannot make a PID namespace".into())
    .map_err(|e| user::with_advice(e, ids))?;
    let exit = watch(&child, &signals, ours);
    if let Some(socket) = &config.socket {
        let _ = fs::remove_file(socket); // M may not have got so far
    }
    drop(clear_up);
    drop(lock);
    Ok(exit?.code())
}

/// Takes the lock, and then makes the scratch directory: until then the directory may be another
/// command's to remove.
fn occupy(config: &Config, patience: Duration) -> Result<Lock> {
    let lock = Lock::take_cleared(&config.lock, patience, CLEARING)
        .during(|| format!("cannot lock {}", config.lock.display()))?;
    fs::create_dir_all(&config.scratch).during(|| format!("cannot make {}", config.scratch.display()))?;
    Ok(lock)
}

/// Removes the cluster's control groups when its supervisor ends by itself, also if the start fails
/// in between, and then ends the janitor. It has to be dropped while the lock is held: a janitor
/// that lived on would remove the groups of the next start.
struct ClearUp<'a> {
    cgroups: &'a Arc<dyn cgroup::Backend>,
    lock: &'a Lock,
    /// `None` until it is started.
    janitor: Option<Child>,
}

impl Drop for ClearUp<'_> {
    fn drop(&mut self) {
        self.lock.tell_clearing();
        self.cgroups.destroy();
        if let Some(janitor) = &self.janitor {
            let _ = process::pidfd_send_signal(janitor.pidfd.as_fd(), libc::SIGKILL);
            let _ = process::wait_pidfd(janitor.pidfd.as_fd(), true);
        }
    }
}

/// Removes what a cluster left behind whose every process was killed, the janitor too: its control
/// groups. All else went with the processes.
///
/// # Errors
/// `WouldBlock`: the cluster runs, or is just being started. Others: the lock cannot be opened.
pub fn sweep(lock: &Path) -> Result<()> {
    // A janitor may be at it.
    let held =
        Lock::take_cleared(lock, SHORTLY, CLEARING).during(|| format!("cannot lock {}", lock.display()))?;
    held.tell_clearing();
    cgroup::sweep(&group_name(lock), &groups_file(lock));
    Ok(())
}

/// Returns the name of the cluster's control group: `ropewalk-` and a hash (FNV-1a) of the lock's
/// device, inode and path, so that the same cluster finds what it left behind. The path alone is
/// not enough: two containers may share a cgroup tree and each have a cluster at the same path, and
/// the second one to start would kill the pods of the first.
pub fn group_name(lock: &Path) -> String {
    let path = fs::canonicalize(lock).unwrap_or_else(|_| lock.to_path_buf());
    let (device, inode) = fs::metadata(&path).map_or((0, 0), |file| (file.dev(), file.ino()));
    let numbers = [device.to_le_bytes(), inode.to_le_bytes()];
    let bytes = numbers.as_flattened().iter().chain(path.as_os_str().as_encoded_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("ropewalk-{hash:016x}")
}

/// Returns the file beside the lock that remembers where groups may be.
fn groups_file(lock: &Path) -> PathBuf {
    lock.with_file_name("cgroups")
}

fn start_janitor(cgroups: &Arc<dyn cgroup::Backend>, lock: &Lock) -> Result<Child> {
    let supervisor =
        process::pidfd_open(std::process::id() as i32).during(|| "cannot watch myself".into())?;
    let cgroups = cgroups.clone();
    spawn_forked(0, None, move |_| {
        let _ = nix::unistd::setsid();
        let _ = process::silence_stdio();
        wait_readable(&[supervisor.as_fd()]);
        lock.tell_clearing();
        cgroups.destroy();
        0 // and only now the copy of the lock is closed
    })
    .during(|| "cannot fork the janitor".into())
}

/// Blocks until one of the descriptors has something to say; returns which.
fn wait_readable(fds: &[BorrowedFd<'_>]) -> Vec<bool> {
    loop {
        let mut polled: Vec<PollFd> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        match poll(&mut polled, PollTimeout::NONE) {
            Ok(_) => return polled.iter().map(|p| p.any().unwrap_or(true)).collect(),
            Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return vec![true; fds.len()],
        }
    }
}

/// Runs the supervisor's loop: forwards signals, answers main on `socket`, and ends with main.
fn watch(main: &Child, signals: &nix::sys::signalfd::SignalFd, socket: OwnedFd) -> Result<Exit> {
    let mut unanswered = Some(socket);
    loop {
        let ready = {
            let mut watched = vec![main.pidfd.as_fd(), signals.as_fd()];
            watched.extend(unanswered.as_ref().map(AsFd::as_fd));
            wait_readable(&watched)
        };
        if ready[0] {
            let exit = process::wait_pidfd(main.pidfd.as_fd(), true).during(|| "lost main".into())?;
            return exit.ok_or_else(|| Error::new("lost main", io::ErrorKind::NotFound));
        }
        if ready[1] {
            while let Ok(Some(info)) = signals.read_signal() {
                let _ = process::pidfd_send_signal(main.pidfd.as_fd(), info.ssi_signo as i32);
            }
        }
        if ready.get(2) == Some(&true)
            && let Some(socket) = unanswered.take()
        {
            send_pids(socket, main.pid);
        }
    }
}

/// Answers main's one message, which has the zygote's number, with the numbers of all three
/// processes. The socket is closed in every case: without an answer main would wait for ever.
fn send_pids(socket: OwnedFd, main: i32) {
    if let Ok(Some(zygote)) = fds::receive_pid(socket.as_fd()) {
        let pids = [std::process::id() as i32, main, zygote];
        let bytes: Vec<u8> = pids.iter().flat_map(|pid| pid.to_ne_bytes()).collect();
        let _ = fds::send(socket.as_fd(), &bytes, &[]); // main may have ended
    }
}

/// Receives what [`send_pids`] sends.
fn receive_pids(socket: BorrowedFd<'_>) -> Result<Pids> {
    let (bytes, _) = fds::receive(socket).during(|| "the supervisor is gone".into())?;
    let numbers = bytes.chunks_exact(4).map(|c| i32::from_ne_bytes([c[0], c[1], c[2], c[3]]));
    match numbers.collect::<Vec<i32>>()[..] {
        [supervisor, main, zygote] => Ok(Pids { supervisor, main, zygote }),
        _ => {
            let what = "the supervisor sent no process numbers: it got none from the kernel for the zygote";
            Err(Error::new(what, io::ErrorKind::UnexpectedEof))
        }
    }
}

/// Takes the first steps of M, in its new PID and mount namespaces: until the zygote runs and the
/// numbers of all three processes are known.
fn become_main(
    config: &Config,
    supervisor: OwnedFd,
    ids: Ids,
    cgroups: Arc<dyn cgroup::Backend>,
    lay_out: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> Result<Main> {
    process::die_with_parent().during(|| "cannot tie myself to the supervisor".into())?;
    // The parent is outside our PID namespace, so getppid() is 0 whether it lives or not; its
    // socket tells.
    let mut polled = [PollFd::new(supervisor.as_fd(), PollFlags::empty())];
    if poll(&mut polled, PollTimeout::ZERO).is_ok_and(|n| n > 0) {
        process::exit_now(1);
    }
    // Until `signal::stop_requested` has its handlers: the kernel drops what the first process of a
    // PID namespace does not handle.
    signal::block_only(&signal::STOP).during(|| "cannot hold signals".into())?;
    fds::raise_limit().during(|| "cannot raise the number of files".into())?;
    let own_binary = fs::File::open("/proc/self/exe").during(|| "cannot open the own binary".into())?;
    mount::make_all_private()?;
    mount::proc_or_outer(Path::new("/proc"), Path::new("/proc"))?;
    let (layers, writable) = scratch(&config.scratch)?;
    let binary = fill_layers(own_binary, &layers, lay_out)?;
    mount::freeze(&layers, mount::Flags::MS_NOSUID | mount::Flags::MS_NODEV)?;
    let zygote = start_zygote(&binary)?;
    fds::send_pid(supervisor.as_fd(), zygote.child.pid).during(|| "cannot ask for pids".into())?;
    let pids = receive_pids(supervisor.as_fd())?;
    Ok(Main { pids, ids, cgroups, layers, writable, zygote })
}

/// Mounts one tmpfs that will be read-only and one that stays writable, side by side in the scratch
/// directory.
fn scratch(at: &Path) -> Result<(PathBuf, PathBuf)> {
    let flags = mount::Flags::MS_NOSUID | mount::Flags::MS_NODEV;
    mount::mount("tmpfs", at, flags, "mode=755,size=1m")?;
    let make = |name: &str| {
        let path = at.join(name);
        fs::create_dir(&path).during(|| format!("cannot make {}", path.display()))?;
        mount::mount("tmpfs", &path, flags, "mode=755")?; // directories only: each container mounts a bounded layer of its own
        Ok::<PathBuf, Error>(path)
    };
    Ok((make("layers")?, make("writable")?))
}

/// Fills the layers with the copy of this binary, whose path it returns, and with the images. Their
/// modes are those of real images: with the session's umask a pod's other users could write to the
/// image (0002), or not even read it (0077).
fn fill_layers(
    own_binary: fs::File,
    layers: &Path,
    lay_out: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> Result<PathBuf> {
    let binary = layers.join(BINARY);
    process::with_umask(process::CONTAINER_UMASK, || {
        copy_binary(own_binary, &binary)
            .during(|| format!("cannot copy the own binary to {}", binary.display()))?;
        lay_out(layers, &binary).during(|| "cannot lay out the images".into())
    })?;
    Ok(binary)
}

/// Copies this program. The copy lies on a file system that will be read-only as a whole, so no
/// container can overwrite the running program through /proc/PID/exe (CVE-2019-5736), and all
/// containers run the same inode.
fn copy_binary(mut from: fs::File, to: &Path) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::File::options().write(true).create_new(true).mode(0o555).open(to)?;
    io::copy(&mut from, &mut file)?;
    Ok(())
}

fn start_zygote(binary: &Path) -> Result<ZygoteProcess> {
    let (ours, theirs) = fds::seqpacket().during(|| "cannot make a socket pair".into())?;
    let child = spawn_forked(0, None, |_| {
        let run = || -> io::Result<std::convert::Infallible> {
            process::die_with_parent()?;
            signal::unblock_all()?;
            nix::unistd::setsid()?;
            fds::keep_over_exec(theirs.as_fd())?;
            let number = theirs.as_raw_fd().to_string();
            let mut command = std::process::Command::new(binary);
            command.arg0("ropewalk").args([ZYGOTE_ARGUMENT, &number]).stdin(std::process::Stdio::null());
            Err(command.exec())
        };
        match run() {
            Err(e) => crate::say(format_args!("cannot start the zygote: {e}")),
        }
        127
    })
    .during(|| "cannot fork the zygote".into())?;
    Ok(ZygoteProcess { socket: ours, child })
}

#[cfg(test)]
mod tests;
