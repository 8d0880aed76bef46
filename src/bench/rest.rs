//! What a cluster costs while nothing happens: the memory and the processor time of its processes,
//! and its files in memory.

use super::stop::Stop;
use anyhow::{Context, ensure};
use nix::errno::Errno;
use nix::sys::stat::{major, minor};
use nix::sys::statvfs::statvfs;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// A cluster still works for some seconds after its start: so long nothing is measured.
pub(super) const REST: Duration = Duration::from_secs(5);
/// How long the processor time at rest is measured.
pub(super) const SPAN: Duration = Duration::from_secs(20);

/// What a cluster costs: its supervisor and all descendants of that.
#[derive(Debug)]
pub(super) struct Cost {
    /// The memory of its processes, in MB.
    pub memory: f64,
    /// Its files in memory, in MB.
    pub files: f64,
    /// The processor time of its processes, in percent of a core.
    pub cpu: f64,
}

/// Waits for `rest`, and then measures for `span` what the cluster of this status costs.
///
/// # Errors
/// The status has no supervisor, the supervisor has ended, `/proc` cannot be read, or the bench was
/// asked to end.
pub(super) fn cost(stop: &Stop, status: &Value, rest: Duration, span: Duration) -> anyhow::Result<Cost> {
    let supervisor = status["pids"]["supervisor"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    let supervisor = supervisor.context("the status has no pid of the supervisor")?;
    stop.sleep(rest)?;
    let (before, start) = (processor_ticks(supervisor)?, Instant::now());
    stop.sleep(span)?;
    let (after, span) = (processor_ticks(supervisor)?, start.elapsed()); // a busy machine wakes too late
    let sum = |all: &BTreeMap<i32, u64>| all.values().sum::<u64>();
    // The difference of the sums: the time of a process that ended in between was its own before,
    // and is in its parent's after.
    let hundredths = sum(&after).saturating_sub(sum(&before)) as f64; // USER_HZ: 100 on x86 and ARM
    let pids = || after.keys().copied();
    let (memory, files) = (memory(pids())? as f64 / 1e6, files_in_memory(pids())? as f64 / 1e6);
    Ok(Cost { memory, files, cpu: hundredths / span.as_secs_f64() })
}

/// Returns the memory of these processes in bytes. What they share among themselves counts once.
///
/// The pages of the program's file are shared with this bench, too, and with each other cluster on
/// the machine, so their proportional share (PSS) would be less while those run. They count as the
/// process does that has most of them in memory: as if nothing else ran.
///
/// ```text
///             Pss_Anon  Pss_Shmem  RssFile
/// supervisor      1 MB          0     3 MB
/// main           30 MB       2 MB    25 MB      1 + 30 + 2 + 25 = 58 MB
/// ```
///
/// # Errors
/// `/proc` cannot be read, or has no such lines: those of `smaps_rollup` came with Linux 5.4.
fn memory(processes: impl Iterator<Item = i32>) -> anyhow::Result<u64> {
    let (mut own, mut file) = (0, 0);
    for pid in processes {
        let Some(shares) = read_process_file(pid, "smaps_rollup")? else { continue };
        let Some(status) = read_process_file(pid, "status")? else { continue };
        own += own_kilobytes(&shares).with_context(|| format!("smaps_rollup of {pid} has no Pss_Anon"))?;
        file = file.max(kilobytes(&status, "RssFile").unwrap_or(0)); // absent: it has ended in between
    }
    Ok((own + file) * 1024)
}

/// Returns the memory that belongs to no file on a disk, from a `smaps_rollup`.
fn own_kilobytes(rollup: &str) -> Option<u64> {
    Some(kilobytes(rollup, "Pss_Anon")? + kilobytes(rollup, "Pss_Shmem")?)
}

/// Returns the number of a line such as `RssFile:   1234 kB`, in units of 1024 bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let amount = |line: &str| -> Option<u64> {
        line.strip_prefix(name)?.strip_prefix(':')?.trim().strip_suffix(" kB")?.parse().ok()
    };
    text.lines().find_map(amount)
}

/// Returns the bytes of the files in memory (tmpfs) that these processes see and this bench does
/// not: the copy of the program that containers run, layers of containers, volumes. They take
/// memory whether a process has them mapped or not. What a process has mapped of them is in its
/// `Pss_Shmem`, too: the sum of the two figures would count it twice.
///
/// # Errors
/// `/proc` cannot be read.
fn files_in_memory(processes: impl Iterator<Item = i32>) -> anyhow::Result<u64> {
    let own_mounts = std::fs::read_to_string("/proc/self/mountinfo").context("the mounts of this machine")?;
    let of_machine: BTreeSet<&str> = tmpfs(&own_mounts).map(|(device, _)| device).collect();
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    for pid in processes {
        let Some(mounts) = read_process_file(pid, "mountinfo")? else { continue };
        for (device, at) in tmpfs(&mounts).filter(|(device, _)| !of_machine.contains(device)) {
            if let Some(bytes) = bytes_used(Path::new(&format!("/proc/{pid}/root{at}")), device) {
                found.insert(device.to_string(), bytes); // the same for each that sees it
            }
        }
    }
    Ok(found.values().sum())
}

/// Returns device (`major:minor`) and mount point of each tmpfs (proc_pid_mountinfo(5)).
///
/// ```text
/// 61 60 0:42 / /run/layers ro,nosuid - tmpfs tmpfs rw,mode=755      ("0:42", "/run/layers")
/// ```
fn tmpfs(mountinfo: &str) -> impl Iterator<Item = (&str, &str)> {
    mountinfo.lines().filter_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let fields: Vec<&str> = mount.split(' ').collect();
        kind.starts_with("tmpfs ").then_some((*fields.get(2)?, *fields.get(4)?))
    })
}

/// Returns the bytes that the files of a file system use. `None`: what is mounted at this place is
/// another one, which covers it, or the process has ended.
fn bytes_used(at: &Path, device: &str) -> Option<u64> {
    let number = std::fs::metadata(at).ok()?.dev();
    let found = statvfs(at).ok()?;
    let bytes = found.blocks().saturating_sub(found.blocks_free()) * found.fragment_size();
    (format!("{}:{}", major(number), minor(number)) == device).then_some(bytes)
}

/// Reads a file about a process. `None`: it has ended meanwhile, and may wait for its parent as a
/// zombie, which has no memory (`ESRCH`) and no mounts (`EINVAL`).
fn read_process_file(pid: i32, file: &str) -> anyhow::Result<Option<String>> {
    let is_zombie = |error: &std::io::Error| {
        error.raw_os_error().is_some_and(|code| [Errno::ESRCH as i32, Errno::EINVAL as i32].contains(&code))
    };
    match std::fs::read_to_string(format!("/proc/{pid}/{file}")) {
        Err(error) if is_zombie(&error) => Ok(None),
        Err(_) if !Path::new(&format!("/proc/{pid}")).exists() => Ok(None),
        read => Ok(Some(read.with_context(|| format!("cannot read /proc/{pid}/{file}"))?)),
    }
}

/// Returns the CPU time, in clock ticks, of a process and of all its descendants, each with that of
/// the children that have ended and that it has waited for. Descendants of a supervisor are the
/// janitor, the main process, the zygote, and the processes of pods.
///
/// # Errors
/// `/proc` cannot be read, or the process has ended.
fn processor_ticks(supervisor: i32) -> anyhow::Result<BTreeMap<i32, u64>> {
    let all = std::fs::read_dir("/proc")?.flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse::<i32>().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?; // it may have ended
        // After the name in brackets: the state, the parent, and from the twelfth on utime, stime,
        // cutime and cstime (proc_pid_stat(5)).
        let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
        let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
        let parent = i32::try_from(number(1)?).ok()?;
        Some((pid, (parent, (11..=14).map(number).sum::<Option<u64>>()?)))
    });
    let all: BTreeMap<i32, (i32, u64)> = all.collect();
    let mut own: BTreeMap<i32, u64> = BTreeMap::new();
    let mut next = vec![supervisor];
    while let Some(pid) = next.pop() {
        let Some((_, ticks)) = all.get(&pid) else { continue };
        own.insert(pid, *ticks);
        next.extend(all.iter().filter(|(_, (parent, _))| *parent == pid).map(|(child, _)| *child));
    }
    ensure!(own.contains_key(&supervisor), "the supervisor has ended");
    Ok(own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    /// A shell that stands for a supervisor: its child uses a processor.
    #[test]
    fn a_cluster_costs_what_its_supervisor_and_the_descendants_use() {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "while :; do :; done & echo; wait"]).process_group(0);
        let mut shell = shell.stdout(Stdio::piped()).spawn().unwrap();
        std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let (stop, status) = (Stop::default(), json!({"pids": {"supervisor": shell.id()}}));
        let measured = cost(&stop, &status, Duration::ZERO, Duration::from_millis(500));
        stop.request();
        let interrupted = cost(&stop, &status, REST, SPAN);
        let group = nix::unistd::Pid::from_raw(shell.id() as i32);
        nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).unwrap();
        shell.wait().unwrap();
        let measured = measured.unwrap();
        // Two shells of some MB each. On a busy machine the child has a part of a core.
        assert!((0.05..50.0).contains(&measured.memory) && measured.files == 0.0, "{measured:?}");
        assert!((1.0..150.0).contains(&measured.cpu), "{measured:?}");
        assert_eq!(interrupted.unwrap_err().to_string(), super::super::stop::INTERRUPTED);
        let measure = |status: Value| cost(&Stop::default(), &status, Duration::ZERO, Duration::ZERO);
        assert!(measure(status).is_err(), "it has ended");
        let none = measure(json!({"pids": {}})).unwrap_err().to_string();
        assert_eq!(none, "the status has no pid of the supervisor");
    }

    #[test]
    fn memory_of_files_is_no_share() {
        let rollup = "Rss: 900 kB\nPss: 700 kB\nPss_Anon: 100 kB\nPss_File: 580 kB\nPss_Shmem:  20 kB\n";
        assert_eq!((own_kilobytes(rollup), own_kilobytes("Pss: 700 kB\n")), (Some(120), None));
        assert_eq!(kilobytes("RssAnon:\t 7 kB\nRssFile:\t    25 kB\n", "RssFile"), Some(25));
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "echo; read line"]).stdin(Stdio::piped());
        let mut shell = shell.stdout(Stdio::piped()).spawn().unwrap();
        std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut [0]).unwrap();
        let pid = shell.id() as i32;
        let (one, twice) = (memory([pid].into_iter()).unwrap(), memory([pid; 2].into_iter()).unwrap());
        shell.kill().unwrap();
        shell.wait().unwrap();
        assert!(0 < one && one < twice && twice < 2 * one, "files count once: {one} {twice}");
        assert_eq!(memory([i32::MAX].into_iter()).unwrap(), 0, "it has ended");
    }

    #[test]
    fn files_in_memory_are_those_of_the_cluster_alone() {
        let mounts = "61 60 0:42 / /run/layers ro,nosuid shared:9 - tmpfs tmpfs rw,mode=755\n\
                      62 60 0:43 / /proc rw - proc proc rw\n63 60 0:44 /a /b rw - tmpfs none rw\n";
        assert_eq!(tmpfs(mounts).collect::<Vec<_>>(), [("0:42", "/run/layers"), ("0:44", "/b")]);
        let own = std::process::id() as i32;
        let (seen, ended) = (files_in_memory([own].into_iter()), files_in_memory([i32::MAX].into_iter()));
        assert_eq!((seen.unwrap(), ended.unwrap()), (0, 0), "this process sees the machine's alone");
        let here = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let Some((device, _)) = tmpfs(&here).filter(|(_, at)| *at == "/dev/shm").last() else { return };
        let file = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
        std::fs::write(file.path(), vec![7; 1 << 20]).unwrap();
        let bytes = bytes_used(Path::new("/dev/shm"), device);
        assert!(bytes >= Some(1 << 20) && bytes_used(Path::new("/proc"), device).is_none(), "{bytes:?}");
    }

    /// As a cluster's main process does, which mounts them in a namespace of its own.
    #[test]
    fn a_file_in_memory_counts_once_for_all_that_see_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut shell = Command::new("unshare");
        let work =
            "mount -t tmpfs none . && cd \"$PWD\" && head -c 3000000 /dev/zero > file && echo && read line";
        shell.args(["--user", "--map-root-user", "--mount", "sh", "-c", work]).current_dir(dir.path());
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(mut shell) = shell.spawn() else { return eprintln!("skipped: there is no unshare on PATH") };
        let began = std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut [0]);
        let bytes = files_in_memory([shell.id() as i32; 2].into_iter());
        shell.kill().unwrap();
        shell.wait().unwrap();
        let bytes = bytes.expect("a zombie is no error");
        if began.is_err() {
            return eprintln!("skipped: this user makes no user namespace");
        }
        assert!((3_000_000..3_100_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn a_cluster_at_rest_is_its_supervisor_and_all_descendants() {
        // A shell, its child, and the child of that one.
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "sh -c 'sleep 3600 & echo; wait' & wait"]).process_group(0);
        let mut shell = shell.stdout(Stdio::piped()).spawn().unwrap();
        let mut began = [0];
        std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut began).unwrap();
        let pid = shell.id() as i32;
        let own = processor_ticks(pid).unwrap();
        let group = nix::unistd::Pid::from_raw(pid);
        nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).unwrap();
        shell.wait().unwrap();
        assert_eq!(own.len(), 3, "{own:?}");
        assert!(own.contains_key(&pid) && !own.contains_key(&(std::process::id() as i32)));
        assert!(processor_ticks(pid).is_err(), "it has ended");
    }

    #[test]
    fn the_time_of_a_descendant_that_ended_counts() {
        // A shell whose child works for a while and ends. Then the shell is a program that rests.
        let work = "sh -c 'n=0; while [ $n -lt 300000 ]; do n=$((n+1)); done'; echo; exec sleep 3600";
        let mut shell = Command::new("/bin/sh");
        let mut shell = shell.args(["-c", work]).stdout(Stdio::piped()).spawn().unwrap();
        let mut worked = [0];
        std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut worked).unwrap();
        let own = processor_ticks(shell.id() as i32).unwrap();
        shell.kill().unwrap();
        shell.wait().unwrap();
        assert!(own.len() == 1 && own.values().sum::<u64>() >= 5, "{own:?}");
    }
}
