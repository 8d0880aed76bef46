//! Reads what /proc tells of a shell and of its children: proc_pid_stat(5), proc_pid_status(5).

use super::Shell;
use clock::Instant;
use linux::process;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

/// Names of more children are left out.
const MAX: usize = 64;

/// The kernel's flag of a process that is on its way out (`PF_EXITING`).
const EXITING: u64 = 0x4;
/// SIGKILL in a mask of signals. The kernel adds it to the pending ones of a process that any other
/// signal is going to end.
const KILL: u64 = 1 << 8;

impl Shell {
    /// Returns the names of the shell's children that are stopped: programs that Ctrl-Z has put
    /// aside.
    pub(crate) fn stopped(&self) -> Vec<String> {
        let name = |child| {
            proc_file(child, "stat").filter(|stat| is_stopped(stat)).and_then(|stat| living_name(&stat))
        };
        self.pid().map_or_else(Vec::new, child_pids).into_iter().filter_map(name).collect()
    }

    /// True if the output of the shell goes elsewhere than at its start, as after `exec > log`.
    /// Without a terminal its errors count, too.
    pub(crate) fn is_redirected(&self) -> bool {
        let Some(shell) = self.pid().map(|pid| pid.to_string()) else { return false };
        if self.setting.terminal {
            return target_of(&shell, 1) != target_of(&shell, 8); // the terminal: see `WITH_TERMINAL`
        }
        [1, 2].into_iter().any(|number| target_of(&shell, number) != target_of("self", number))
    }

    /// Returns the shell's own umask; `None`: it has ended.
    pub(crate) fn umask(&self) -> Option<Mode> {
        umask_in(&proc_file(self.pid()?, "status")?)
    }
}

/// Returns the umask in the file `status` of a process: `Umask: 0022`. Pure.
fn umask_in(status: &[u8]) -> Option<Mode> {
    let status = String::from_utf8_lossy(status);
    let octal = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    Mode::from_bits(u32::from_str_radix(octal.trim(), 8).ok()?)
}

/// Returns the names of the children of a process, without those that have ended. A kernel without
/// `CONFIG_PROC_CHILDREN` names none.
pub(super) fn child_names(pid: i32) -> Vec<String> {
    child_pids(pid).into_iter().filter_map(|child| living_name(&proc_file(child, "stat")?)).collect()
}

/// Waits for the end of the children that a signal ends: a process that got one lives on for a
/// moment. Returns as soon as one has ended and no other is on its way out, and after `limit`.
pub(super) fn await_ends(pid: i32, limit: Duration) {
    let deadline = Instant::now() + limit;
    let living = child_pids(pid)
        .into_iter()
        .filter(|child| proc_file(*child, "stat").is_some_and(|s| living_name(&s).is_some()));
    let mut handles: Vec<OwnedFd> = living.filter_map(|child| process::pidfd_open(child).ok()).collect();
    while !handles.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis();
        let left = PollTimeout::from(u16::try_from(left).unwrap_or(u16::MAX));
        let mut ends: Vec<PollFd<'_>> =
            handles.iter().map(|handle| PollFd::new(handle.as_fd(), PollFlags::POLLIN)).collect();
        match poll(&mut ends, left) {
            Err(Errno::EINTR) => continue,
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let ended: Vec<bool> = ends.iter().map(|end| end.any().unwrap_or(true)).collect();
        drop(ends);
        let mut ended = ended.into_iter();
        handles.retain(|_| !ended.next().unwrap_or(true));
        let is_leaving = |child: i32| {
            let (stat, status) = (proc_file(child, "stat"), proc_file(child, "status"));
            stat.zip(status).is_some_and(|(stat, status)| is_dying(&stat, &status))
        };
        if !child_pids(pid).into_iter().any(is_leaving) {
            return;
        }
    }
}

/// Returns the numbers of a process's children.
fn child_pids(pid: i32) -> Vec<i32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().take(MAX).filter_map(|child| child.parse().ok()).collect()
}

/// Returns what a descriptor of a process leads to: device and inode. `None`: it is closed.
fn target_of(process: &str, number: u8) -> Option<(u64, u64)> {
    let about = std::fs::metadata(format!("/proc/{process}/fd/{number}")).ok()?;
    Some((about.dev(), about.ino()))
}

/// Returns the content of a file of a process; `None`: the process is gone.
fn proc_file(pid: i32, file: &str) -> Option<Vec<u8>> {
    std::fs::read(format!("/proc/{pid}/{file}")).ok()
}

/// True if a process that is not dead yet is about to end, by its files `stat` and `status`. Pure.
fn is_dying(stat: &[u8], status: &[u8]) -> bool {
    let (line, status) = (String::from_utf8_lossy(stat), String::from_utf8_lossy(status));
    let flags = line.rsplit_once(')').and_then(|(_, after)| after.split_whitespace().nth(6)?.parse().ok());
    let is_exiting = flags.is_some_and(|flags: u64| flags & EXITING != 0);
    let pending = |line: &str| {
        let mask = line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    };
    let is_killed = status.lines().filter_map(pending).any(|mask| mask & KILL != 0);
    living_name(stat).is_some() && (is_exiting || is_killed)
}

/// True if a line of `stat` is that of a process that a signal has stopped: its state is `T`. Pure.
fn is_stopped(stat: &[u8]) -> bool {
    let stat = String::from_utf8_lossy(stat);
    stat.rsplit_once(')').is_some_and(|(_, after)| after.trim_start().starts_with('T'))
}

/// Returns the name in a line of `stat`: `712 (sleep) S 700 …`. `None`: the process is a zombie or
/// dead. The name may have brackets and spaces in it, and bytes that are no UTF-8. Pure.
fn living_name(stat: &[u8]) -> Option<String> {
    let stat = String::from_utf8_lossy(stat);
    let (before, after) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    (!after.trim_start().starts_with(['Z', 'X'])).then(|| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_on_its_way_out_is_told_from_others() {
        let idle = "SigQ:\t1/9\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000000\n";
        let killed = "SigPnd:\t0000000000000100\nShdPnd:\t0000000000004000\n";
        for (stat, status, dying) in [
            ("712 (sleep) S 700 712 700 0 -1 4194304 0", idle, false),
            ("712 (sleep) S 700 712 700 0 -1 4194304 0", killed, true),
            ("712 (sleep) R 700 712 700 0 -1 4194308 0", idle, true),
            ("712 (sleep) Z 700 712 700 0 -1 4194308 0", idle, false),
            ("", "", false),
        ] {
            assert_eq!(is_dying(stat.as_bytes(), status.as_bytes()), dying, "{stat} {status}");
        }
    }

    /// The learner stops one of two programs: the wait ends with it, long before its limit.
    #[test]
    fn the_end_of_a_child_is_waited_for() {
        let script = "sleep 900 & p=$!; sleep 900 & q=$!; echo; read end; kill $p; read end; kill $q";
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", script]).stdin(std::process::Stdio::piped());
        let mut shell = shell.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut told = [0];
        std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut told).unwrap();
        let pid = i32::try_from(shell.id()).unwrap();
        let limit = Duration::from_secs(60);
        let began = Instant::now();
        let waits = std::thread::spawn(move || await_ends(pid, limit));
        // The line may be read before the wait begins: then the other child ends it, at the end.
        std::io::Write::write_all(shell.stdin.as_mut().unwrap(), b"\n").unwrap();
        while child_names(pid).len() > 1 && began.elapsed() < limit {
            std::thread::yield_now();
        }
        drop(shell.stdin.take());
        waits.join().unwrap();
        shell.wait().unwrap();
        assert!(began.elapsed() < limit);
    }

    #[test]
    fn a_umask_is_found_behind_a_name_of_any_bytes() {
        let umask = |status: &[u8]| umask_in(status).map(|mode| mode.bits());
        assert_eq!(umask(b"Name:\tcaf\xe9\nUmask:\t0027\nState:\tS\n"), Some(0o027));
        assert_eq!((umask(b"Name:\tsh\n"), umask(b"")), (None, None));
    }

    #[test]
    fn a_child_has_its_name_until_it_has_ended() {
        assert_eq!(living_name(b"712 (sleep) S 700 712 700").as_deref(), Some("sleep"));
        assert_eq!(living_name(b"712 (a) b (c) T 700").as_deref(), Some("a) b (c"));
        assert_eq!((living_name(b"712 (sleep) Z 700"), living_name(b"")), (None, None));
        assert!(is_stopped(b"712 (a) S (c) T 700") && !is_stopped(b"712 (a) T (c) S 700"));
        assert_eq!(living_name(b"712 (caf\xe9) S 700").as_deref(), Some("caf\u{fffd}"), "Latin-1");
        // The shell's own children, not those of this test's other threads.
        let script = "sleep 900 & p=$!; sleep 900 & q=$!; echo; read end; kill $p $q";
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", script]).stdin(std::process::Stdio::piped());
        let mut shell = shell.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let mut told = [0];
        std::io::Read::read_exact(shell.stdout.as_mut().unwrap(), &mut told).unwrap();
        let pid = i32::try_from(shell.id()).unwrap();
        // Each is a copy of the shell until it has become the program.
        let until = clock::Instant::now() + std::time::Duration::from_secs(10);
        while child_names(pid) != ["sleep", "sleep"] && clock::Instant::now() < until {
            std::thread::yield_now();
        }
        let running = child_names(pid);
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert_eq!(running, ["sleep", "sleep"]);
    }
}
