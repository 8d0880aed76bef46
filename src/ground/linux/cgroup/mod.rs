//! Cgroups: how much a container may use, how much it used, and whether it died of it.
//!
//! Three worlds: v2 has one tree with all controllers, v1 one tree per controller, hybrid machines
//! v1 trees plus a v2 tree without controllers, which still kills a whole group at once. cgroups-rs
//! writes limits of memory, CPU and processes. Every limit of a pod or a container is read back
//! after it was written: an error that says which one does not hold is better than a container
//! without it. Those of the cluster's own group and `memory.oom.group` are not: the cluster runs
//! without them too. Where no tree is writable there are no limits, and `describe` says why. On v2
//! the group above has to give controllers, which `room` switches on and off again.
//!
//! ```text
//! ropewalk-1f2e3d4c5b6a7988     the cluster, upstream's `kubepods`: leaves the host some memory
//!                               and process numbers
//!   <sandbox>                   a pod: processes, share of the processors, limits of all its
//!                               containers together
//!     pause
//!     <container>               a container: its own limits
//! ```

mod devices;
mod find;
mod places;
mod room;
mod share;
mod v1;
mod v2;

use super::usage::Usage;
use super::{Context, Error, Result};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) use find::NO_MEMORY;
pub use find::{Found, find};
pub use share::available_memory;

/// Killed processes leave their group within this time, on a machine that has much else to do: the
/// janitor that gave up earlier left it for good. It is for all groups of a cluster together, in
/// however many trees they are: others wait for its lock meanwhile.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How long [`Group::remove`] waits for a group to become free: as a rule the last process leaves
/// it within a few milliseconds.
pub const BUSY: Duration = Duration::from_millis(200);

/// Limits of one group: a pod's, or a container's in it. `None` means unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// As `cpu.shares` of v1; 0 means the default.
    pub cpu_shares: u64,
    /// Millicores.
    pub cpu_milli: Option<u64>,
    /// Bytes. Swap is not given beyond it, where [`Backend::controls_swap`].
    pub memory: Option<u64>,
    pub pids: Option<u64>,
    /// The group is for other groups and has no processes of its own: a pod's, in which its
    /// containers' are (`pod/container`).
    pub of_groups: bool,
    /// Device nodes may be made, but only null, zero, full, random, urandom and terminals may be
    /// opened. Holds where [`Backend::controls_devices`].
    pub harmless_devices: bool,
}

/// The memory of all pods of a cluster together, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    /// What they may use at most.
    pub limit: u64,
    /// What they use, without what the kernel takes back when it needs it.
    pub working_set: u64,
}

/// How a new process gets into a group.
#[derive(Debug, Default)]
pub struct Entry {
    /// For CLONE_INTO_CGROUP.
    pub directory: Option<OwnedFd>,
    /// v1: the new process writes `0` into each, before it changes its root.
    pub tasks: Vec<PathBuf>,
}

/// The cluster's own group, and those of its containers in it.
pub trait Backend: Send + Sync {
    /// `v2`, `v1 (memory, cpu, …)`, or `none: reason`.
    fn describe(&self) -> String;
    /// Why limits, or some of them, are not enforced; `None` if all are.
    fn lacks(&self) -> Option<String>;
    /// Whether a group can refuse to open devices.
    fn controls_devices(&self) -> bool;
    /// Whether a memory limit bounds swap, too: the kernel counts swap, or the machine has none.
    fn controls_swap(&self) -> bool;
    /// Whether [`Group::kill`] works: without it processes that a container's first process leaves
    /// behind in a shared PID namespace run on.
    fn kills(&self) -> bool;
    /// The memory of all pods together. `None` where the kernel does not count it for us.
    fn memory(&self) -> Option<Shared>;
    /// Makes a group with limits, each of them read back. An id `pod/container` is a group in
    /// another one, which exists.
    fn create(&self, id: &str, limits: &Limits) -> Result<Arc<dyn Group>>;
    /// Kills what still runs in the cluster's groups and removes them all.
    fn destroy(&self);
}

/// The group of a pod or of a container.
pub trait Group: Send + Sync {
    fn entry(&self) -> Result<Entry>;
    /// `None` where the kernel does not count for us.
    fn usage(&self) -> Option<Usage>;
    /// How many processes the OOM killer took here.
    fn oom_kills(&self) -> u64;
    /// Kills every process in it. Blocks on cgroup v1. Errors: `Unsupported` without control
    /// groups.
    fn kill(&self) -> Result<()>;
    /// Removes the empty group and those in it. Blocks for at most [`BUSY`] in each tree.
    /// Idempotent.
    ///
    /// # Errors
    /// `ResourceBusy`: it still holds a process, which may be one that ends slowly. It can be tried
    /// again.
    fn remove(&self) -> Result<()>;
}

/// Chooses a backend for this process and makes the cluster's group, e.g.
/// `ropewalk-1f2e3d4c5b6a7988`. A group left over from a supervisor that was killed is removed
/// first. Never fails: without cgroups containers run without limits.
///
/// `remember` is where the places of the group are written down before it is made, and what is
/// changed in a group of the machine for it, so that a start or a [`sweep`] that happens elsewhere
/// in the trees finds both again; those of an earlier start are cleared.
pub fn open(name: &str, remember: Option<&Path>) -> Arc<dyn Backend> {
    let found = find();
    if let Some(file) = remember {
        places::clear(file, name, Instant::now() + PATIENCE);
        places::write(file, name, &found);
    }
    match found {
        Found::V2 { bases } => match v2::V2::open(&bases, name, remember) {
            Ok(backend) => Arc::new(backend),
            Err(e) => Arc::new(Nothing(e.line())),
        },
        Found::V1 { controllers, unified } => match v1::V1::open(&controllers, unified.as_deref(), name) {
            Ok(backend) => Arc::new(backend),
            Err(e) => Arc::new(Nothing(e.line())),
        },
        Found::Nothing { why } => Arc::new(Nothing(why)),
    }
}

/// Removes the cluster's group wherever it is, or was made by what `remember` tells, with whatever
/// still runs in it: for a cluster whose every process was killed.
pub fn sweep(name: &str, remember: &Path) {
    let until = Instant::now() + PATIENCE;
    places::clear(remember, name, until);
    clear_all(&places::of(&find(), name), until);
}

struct Nothing(String);

impl Backend for Nothing {
    fn describe(&self) -> String {
        format!("none: {}", self.0)
    }
    fn lacks(&self) -> Option<String> {
        Some(self.0.clone())
    }
    fn controls_devices(&self) -> bool {
        false
    }
    fn controls_swap(&self) -> bool {
        true // nothing is limited here, as `lacks` says
    }
    fn kills(&self) -> bool {
        false
    }
    fn memory(&self) -> Option<Shared> {
        None
    }
    fn create(&self, _: &str, _: &Limits) -> Result<Arc<dyn Group>> {
        Ok(Arc::new(NoGroup))
    }
    fn destroy(&self) {}
}

struct NoGroup;

impl Group for NoGroup {
    fn entry(&self) -> Result<Entry> {
        Ok(Entry::default())
    }
    fn usage(&self) -> Option<Usage> {
        None
    }
    fn oom_kills(&self) -> u64 {
        0
    }
    fn kill(&self) -> Result<()> {
        Err(Error::new("no cgroup to kill", io::ErrorKind::Unsupported))
    }
    fn remove(&self) -> Result<()> {
        Ok(())
    }
}

fn write(path: &Path, value: &str) -> Result<()> {
    fs::write(path, value).during(|| format!("cannot write {value:?} to {}", path.display()))
}

fn read(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path).during(|| format!("cannot read {}", path.display()))?;
    Ok(text.trim().to_string())
}

/// A number in a file that holds nothing else.
fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Makes the directory of one group. The one above it has to be there: a pod whose group is gone
/// gets no new container. All users of a container may read there what its limits are, whatever
/// umask the session has.
fn make(group: &Path) -> Result<()> {
    match fs::create_dir(group) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(()), // two controllers in one tree
        made => made.during(|| format!("cannot make the cgroup {}", group.display()))?,
    }
    let _ = fs::set_permissions(group, fs::Permissions::from_mode(0o755)); // limits hold without it
    Ok(())
}

/// The number behind a word at the start of a line.
fn field(path: &Path, key: &str) -> Option<u64> {
    value_of(&fs::read_to_string(path).ok()?, key)
}

fn value_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Whether this machine has swap now. It may get some later, so limits are written although it has
/// none.
fn has_swap() -> bool {
    lists_swap(&fs::read_to_string("/proc/swaps").unwrap_or_default())
}

/// The first line of /proc/swaps is a heading.
fn lists_swap(swaps: &str) -> bool {
    swaps.lines().skip(1).any(|line| !line.trim().is_empty())
}

/// Writes a limit on swap and reads it back. A kernel without swap accounting has no such file:
/// then [`Backend::controls_swap`] says so.
fn limit_swap(file: &Path, value: &str) -> Result<()> {
    if !file.exists() {
        return Ok(());
    }
    write(file, value)?;
    must_be(file, value)
}

/// A limit on memory from which on there is none: the kernel's largest, rounded down to the largest
/// page that Linux has (64 KiB), so that it reads back as it was written (`PAGE_COUNTER_MAX` in
/// linux/page_counter.h).
const UNLIMITED: u64 = (i64::MAX as u64) & !0xffff;

/// The largest quota in a period of 100 ms that the kernel takes, in microseconds: 175 million
/// processors (`max_bw_runtime_us` in kernel/sched).
const QUOTA_MAX: u64 = (1 << 44) - 1;

/// Microseconds of the processors in a period of so many, for a limit in millicores.
fn quota(milli: u64, period: u64) -> u64 {
    (milli.saturating_mul(period) / 1000).clamp(1000, QUOTA_MAX)
}

/// The kernel must have taken a limit as it was meant; memory is rounded to pages.
fn must_be(path: &Path, want: &str) -> Result<()> {
    let have = read(path)?;
    let same = match (have.parse::<u64>(), want.parse::<u64>()) {
        (Ok(have), Ok(want)) => have.abs_diff(want) < 65536 && (have == want || have % 4096 == 0),
        _ => have == want,
    };
    if same {
        return Ok(());
    }
    let text = format!("{} is {have:?} after {want:?} was written", path.display());
    Err(Error::new(text, io::ErrorKind::InvalidData))
}

/// Removes a group and those in it from the leaves up, and tries at least once. A group is busy for
/// a moment after its last process.
fn remove_tree(group: &Path, until: Instant) -> bool {
    loop {
        let children = fs::read_dir(group).into_iter().flatten().flatten();
        for child in children.filter(|c| c.file_type().is_ok_and(|kind| kind.is_dir())) {
            remove_tree(&child.path(), Instant::now());
        }
        match fs::remove_dir(group) {
            Ok(()) => return true,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return true,
            Err(_) if Instant::now() >= until => return false,
            Err(_) => std::thread::sleep(Duration::from_millis(2)), // no event tells that a v1 group is free
        }
    }
}

/// As [`remove_tree`], for [`Group::remove`].
fn remove_free(group: &Path) -> Result<()> {
    match remove_tree(group, Instant::now() + BUSY) {
        true => Ok(()),
        false => Err(Error::new(
            format!("the cgroup {} still holds a process", group.display()),
            io::ErrorKind::ResourceBusy,
        )),
    }
}

/// Kills all that groups and those in them hold, and removes them. First kills in all of them: what
/// ends slowly in one takes no time from the others.
fn clear_all(groups: &[PathBuf], until: Instant) {
    let groups: Vec<&PathBuf> = groups.iter().filter(|group| group.is_dir()).collect();
    for group in &groups {
        if write(&group.join("cgroup.kill"), "1").is_err() {
            kill_listed(group, until);
        }
    }
    for group in groups {
        remove_tree(group, until);
    }
}

/// How long `kill_listed` goes on at most with a group that grows, or whose processes do not end.
const KILL_MAX: Duration = Duration::from_secs(2);
/// How long it waits before it reads the group again.
const KILL_PAUSE: Duration = Duration::from_millis(1);

/// Kills every process of a group and the groups in it, by number: v1 has nothing better. Reads the
/// group again until it is empty, because a process may fork between the reading and the kill; a
/// killed one that is still ending is listed too. Only for groups of our own.
fn kill_listed(group: &Path, until: Instant) {
    let until = until.min(Instant::now() + KILL_MAX);
    while kill_once(group) > 0 && Instant::now() < until {
        std::thread::sleep(KILL_PAUSE); // no event tells that a v1 group is free
    }
}

/// One pass; returns how many living processes were found.
fn kill_once(group: &Path) -> usize {
    let mut found = 0;
    for child in fs::read_dir(group).into_iter().flatten().flatten() {
        if child.file_type().is_ok_and(|kind| kind.is_dir()) {
            found += kill_once(&child.path());
        }
    }
    let listed = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    for pid in listed.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|pid| *pid > 0) {
        let pid = nix::unistd::Pid::from_raw(pid);
        found += usize::from(nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).is_ok());
    }
    found
}

/// Opens a group's directory as a place: enough to be born into it, and of no use to read it.
fn open_place(group: &Path) -> Result<OwnedFd> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = fs::File::options().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(group);
    Ok(file.during(|| format!("cannot open {}", group.display()))?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_by_its_whole_word() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(value_of(text, "oom_kill"), Some(3));
        assert_eq!(value_of(text, "oom"), None);
    }

    #[test]
    fn a_group_is_made_in_one_that_exists_only() {
        let dir = tempfile::tempdir().unwrap();
        assert!(make(&dir.path().join("pod/container")).is_err() && !dir.path().join("pod").exists());
        make(&dir.path().join("pod")).unwrap();
        make(&dir.path().join("pod")).unwrap();
        make(&dir.path().join("pod/container")).unwrap();
    }

    #[test]
    fn all_users_may_look_into_a_group_whatever_umask_the_session_has() {
        let mode_with = |umask: u32| {
            // The thread's own umask from now on: other tests keep theirs.
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS).unwrap();
            crate::process::set_umask(umask);
            let dir = tempfile::tempdir().unwrap();
            let group = dir.path().join("pod");
            make(&group).unwrap();
            group.metadata().unwrap().permissions().mode() & 0o7777
        };
        for umask in [0o077, 0o002, 0] {
            let mode = std::thread::scope(|scope| scope.spawn(|| mode_with(umask)).join().unwrap());
            assert_eq!(mode, 0o755, "umask {umask:03o}");
        }
    }

    /// A file cannot be removed from a real group and keeps this directory, as a process would.
    #[test]
    fn a_group_that_is_not_free_is_an_error_and_can_be_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let group = dir.path().join("pod");
        fs::create_dir_all(group.join("container")).unwrap();
        fs::write(group.join("container/process"), "").unwrap();
        let busy = remove_free(&group).unwrap_err();
        assert_eq!(busy.cause.kind(), io::ErrorKind::ResourceBusy);
        fs::remove_file(group.join("container/process")).unwrap();
        remove_free(&group).unwrap();
        assert!(!group.exists());
        remove_free(&group).unwrap();
    }

    /// As a process that cannot be killed for a while keeps a group.
    #[test]
    fn a_group_that_stays_takes_no_time_from_others() {
        let dir = tempfile::tempdir().unwrap();
        let groups = ["a", "b", "c"].map(|name| dir.path().join(name));
        for group in &groups {
            fs::create_dir_all(group.join("pod")).unwrap();
            fs::create_dir(group.join("cgroup.kill")).unwrap(); // in a plain directory it would be made
        }
        fs::write(groups[0].join("pod/process"), "").unwrap();
        clear_all(&groups, Instant::now());
        assert_eq!(groups.map(|group| group.is_dir()), [true, false, false]);
    }

    #[test]
    fn swap_is_listed_and_limited_where_the_kernel_counts_it() {
        let heading = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        assert!(!lists_swap(heading) && !lists_swap(""));
        assert!(lists_swap(&format!("{heading}/dev/dm-1 partition\t1000\t0\t-2\n")));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("memory.swap.max");
        limit_swap(&file, "0").unwrap();
        assert!(!file.exists());
        fs::write(&file, "max\n").unwrap();
        limit_swap(&file, "0").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "0");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap(); // what cannot be written is an error, and not a limit that does not hold
        assert!(limit_swap(&file, "0").is_err());
    }

    #[test]
    fn a_limit_that_was_skipped_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pids.max");
        fs::write(&file, "max\n").unwrap();
        assert!(must_be(&file, "50").is_err());
        fs::write(&file, "50\n").unwrap();
        assert!(must_be(&file, "50").is_ok());
    }
}
