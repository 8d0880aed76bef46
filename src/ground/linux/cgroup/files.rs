//! The files of control groups: what is written into them and read back, and how groups are made,
//! emptied and removed.

use super::backend::BUSY;
use crate::{Context, Error, Result, process};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub(super) fn write(path: &Path, value: &str) -> Result<()> {
    fs::write(path, value).during(|| format!("cannot write {value:?} to {}", path.display()))
}

pub(super) fn read(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path).during(|| format!("cannot read {}", path.display()))?;
    Ok(text.trim().to_string())
}

/// Reads a number from a file that holds nothing else.
pub(super) fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Makes the directory of one group. The one above it has to be there: a pod whose group is gone
/// gets no new container. All users of a container may read there what its limits are, whatever
/// umask the session has.
pub(super) fn make(group: &Path) -> Result<()> {
    match fs::create_dir(group) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(()), // two controllers in one tree
        made => made.during(|| format!("cannot make the cgroup {}", group.display()))?,
    }
    let _ = fs::set_permissions(group, fs::Permissions::from_mode(0o755)); // limits hold without it
    Ok(())
}

/// Reads the number behind a word at the start of a line.
pub(super) fn field(path: &Path, key: &str) -> Option<u64> {
    value_of(&fs::read_to_string(path).ok()?, key)
}

fn value_of(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Returns whether this machine has swap now. It may get some later, so limits are written although
/// it has none.
pub(super) fn has_swap() -> bool {
    lists_swap(&fs::read_to_string("/proc/swaps").unwrap_or_default())
}

/// Returns whether /proc/swaps lists any; its first line is a heading.
fn lists_swap(swaps: &str) -> bool {
    swaps.lines().skip(1).any(|line| !line.trim().is_empty())
}

/// Writes a limit on swap and reads it back. A kernel without swap accounting has no such file:
/// then [`Backend::controls_swap`](super::Backend::controls_swap) says so.
pub(super) fn limit_swap(file: &Path, value: &str) -> Result<()> {
    if !file.exists() {
        return Ok(());
    }
    write(file, value)?;
    must_be_memory(file, value)
}

/// A limit on memory from which on there is none: the kernel's largest, rounded down to the largest
/// page that Linux has (64 KiB), so that it reads back as it was written (`PAGE_COUNTER_MAX` in
/// linux/page_counter.h).
pub(super) const UNLIMITED: u64 = (i64::MAX as u64) & !0xffff;

/// One period of the CPU limit, in microseconds.
pub(super) const PERIOD: u64 = 100_000;

/// The largest quota in a [`PERIOD`] that the kernel takes, in microseconds: 175 million processors
/// (`max_bw_runtime_us` in kernel/sched).
const QUOTA_MAX: u64 = (1 << 44) - 1;

/// Returns the microseconds of the processors in a [`PERIOD`], for a limit in millicores.
pub(super) fn quota(milli: u64) -> u64 {
    (milli.saturating_mul(PERIOD) / 1000).clamp(1000, QUOTA_MAX)
}

/// Checks that the kernel has taken a limit as it was written.
pub(super) fn must_be(path: &Path, want: &str) -> Result<()> {
    must(path, want, |_| false)
}

/// As [`must_be`], for memory, which the kernel rounds down to pages of 4 to 64 KiB.
pub(super) fn must_be_memory(path: &Path, want: &str) -> Result<()> {
    must(path, want, |have| match (have.parse::<u64>(), want.parse::<u64>()) {
        (Ok(have), Ok(want)) => have <= want && want - have < 65536 && have % 4096 == 0,
        _ => false,
    })
}

fn must(path: &Path, want: &str, is_as_good: impl Fn(&str) -> bool) -> Result<()> {
    let have = read(path)?;
    if have == want || is_as_good(&have) {
        return Ok(());
    }
    let text = format!("{} is {have:?} after {want:?} was written", path.display());
    Err(Error::new(text, io::ErrorKind::InvalidData))
}

/// Says which file cgroups-rs could not write.
pub(super) fn by_crate(done: cgroups_rs::error::Result<()>, file: &Path) -> Result<()> {
    done.map_err(|e| Error::new(format!("cannot set {}", file.display()), io::Error::other(e)))
}

/// Removes a group and those in it from the leaves up, and tries at least once. A group is busy for
/// a moment after its last process.
pub(super) fn remove_tree(group: &Path, until: Instant) -> bool {
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

/// As [`remove_tree`], for [`Group::remove`](super::Group::remove).
pub(super) fn remove_free(group: &Path) -> Result<()> {
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
pub(super) fn clear_all(groups: &[PathBuf], until: Instant) {
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
pub(super) const KILL_MAX: Duration = Duration::from_secs(2);
/// How long it waits before it reads the group again.
const KILL_PAUSE: Duration = Duration::from_millis(1);

/// Kills every process of a group and the groups in it, one by one: v1 has no `cgroup.kill`. Reads
/// the group again until it is empty, because a process may fork between the reading and the kill;
/// a killed one that is still ending is listed too.
pub(super) fn kill_listed(group: &Path, until: Instant) {
    let until = until.min(Instant::now() + KILL_MAX);
    while kill_once(group) > 0 && Instant::now() < until {
        std::thread::sleep(KILL_PAUSE); // no event tells that a v1 group is free
    }
}

/// Kills all that a group of v2 and those in it hold. Linux has a switch for it since 5.14; before,
/// the processes are killed one by one.
pub(super) fn kill_all(group: &Path) -> Result<()> {
    let switch = group.join("cgroup.kill");
    if group.is_dir() && !switch.exists() {
        kill_listed(group, Instant::now() + KILL_MAX);
        return Ok(());
    }
    write(&switch, "1")
}

/// Processes that are killed after one look at the group. Each takes a descriptor meanwhile.
const KILL_BATCH: usize = 64;

/// Kills all processes that it finds, once. Returns how many living ones it found.
fn kill_once(group: &Path) -> usize {
    let mut found = 0;
    for child in fs::read_dir(group).into_iter().flatten().flatten() {
        if child.file_type().is_ok_and(|kind| kind.is_dir()) {
            found += kill_once(&child.path());
        }
    }
    let listed = || listed(group);
    found + listed().chunks(KILL_BATCH).map(|batch| kill_batch(batch, listed)).sum::<usize>()
}

/// Returns the processes in a group itself. 0 is one that this process' PID namespace does not
/// show.
fn listed(group: &Path) -> Vec<i32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
}

/// Kills processes of a group by their numbers; returns how many of them lived.
///
/// A process may end after the group was read, and another one get its number. So each is killed by
/// a descriptor, and only if `listed`, the group as it is once all are open, has its number still.
fn kill_batch(pids: &[i32], listed: impl Fn() -> Vec<i32>) -> usize {
    let open = |pid: &i32| match process::pidfd_open(*pid) {
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => None, // it has ended
        opened => Some((*pid, opened)),
    };
    let open: Vec<_> = pids.iter().filter_map(open).collect();
    let listed: BTreeSet<i32> = listed().into_iter().collect();
    let lived = open.into_iter().filter(|(pid, _)| listed.contains(pid)).filter(|(_, opened)| match opened {
        Ok(pidfd) => process::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL).is_ok(),
        Err(_) => true, // no descriptor is left: the next pass tries again
    });
    lived.count()
}

/// Opens a group's directory as a place: enough to be born into it, and of no use to read it.
pub(super) fn open_place(group: &Path) -> Result<OwnedFd> {
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
    fn the_number_of_a_process_that_has_left_its_group_kills_no_other() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        let pid = child.id() as i32;
        assert_eq!(kill_batch(&[pid], Vec::new), 0);
        assert_eq!(child.try_wait().unwrap(), None, "as if the number had come to another process");
        assert_eq!(kill_batch(&[pid], || vec![pid]), 1);
        let ended = child.wait().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(libc::SIGKILL));
    }

    #[test]
    fn a_group_without_a_switch_is_killed_process_by_process() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        fs::write(dir.path().join("cgroup.procs"), format!("0\n{}\n", child.id())).unwrap();
        let ended = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| child.wait().unwrap());
            kill_all(dir.path()).unwrap();
            waiting.join().unwrap()
        });
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(libc::SIGKILL));
        assert!(kill_all(&dir.path().join("gone")).is_err(), "there is no group");
        fs::write(dir.path().join("cgroup.kill"), "").unwrap();
        kill_all(dir.path()).unwrap();
        assert_eq!(read(&dir.path().join("cgroup.kill")).unwrap(), "1");
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
        fs::write(&file, "0\n").unwrap(); // a page number too, and still not what was asked for
        assert!(must_be(&file, "50").is_err());
    }

    #[test]
    fn a_limit_on_memory_may_be_less_by_a_part_of_a_page() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("memory.max");
        let holds = |have: &str, want: &str| {
            fs::write(&file, have).unwrap();
            must_be_memory(&file, want).is_ok()
        };
        assert!(holds("4096\n", "5000") && holds("5000\n", "5000") && holds("max\n", "max"));
        assert!(!holds("8192\n", "5000"), "more than was asked for");
        assert!(!holds("4097\n", "5000") && !holds("4096\n", "80000") && !holds("max\n", "5000"));
    }
}
