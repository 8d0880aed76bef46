//! Processes as /proc shows them, and the names of users and groups.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Process {
    pub pid: i32,
    pub ppid: i32,
    /// Its process group, its session, and the number of its terminal, 0 without one.
    pub pgid: i32,
    pub sid: i32,
    pub tty: u64,
    pub uid: u32,
    pub gid: u32,
    /// The real user and the real group: a setuid program runs with others.
    pub ruid: u32,
    pub rgid: u32,
    pub state: String,
    /// Processor time in ticks.
    pub ticks: u64,
    /// The size of its memory in bytes.
    pub size: u64,
    /// Pages of its memory that are in RAM.
    pub resident: i64,
    /// Ticks after the machine's start.
    pub started: u64,
    pub nice: i32,
    pub comm: String,
    pub args: String,
}

/// Returns a text that others chose, such as the name that a program gives itself, with a blank for
/// each control character: an escape sequence would steer the reader's terminal, and a newline
/// would begin a row.
pub(crate) fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Reads the fields of /proc/PID/stat; the name may hold anything, so it ends at the *last*
/// parenthesis.
pub(super) fn parse_stat(text: &str) -> Option<Process> {
    let (before, after) = text.rsplit_once(')')?;
    let (pid, comm) = before.split_once(" (")?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let number = |nth: usize| fields.get(nth)?.parse::<i64>().ok();
    Some(Process {
        pid: pid.parse().ok()?,
        comm: printable(comm),
        state: (*fields.first()?).to_string(),
        ppid: number(1)? as i32,
        pgid: number(2)? as i32,
        sid: number(3)? as i32,
        tty: number(4)? as u64,
        ticks: (number(11)? + number(12)?) as u64,
        nice: number(16)? as i32,
        started: number(19)? as u64,
        size: number(20)? as u64,
        resident: number(21)?,
        ..Process::default()
    })
}

/// Returns the real user and the real group of /proc/PID/status, the first number of each line.
pub(super) fn real_ids(status: &str) -> Option<(u32, u32)> {
    let first = |key: &str| {
        let mut numbers = status.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace();
        numbers.next()?.parse().ok()
    };
    Some((first("Uid:")?, first("Gid:")?))
}

/// Reads one process by its number, or `self`. `None`: it has ended.
pub(super) fn read(pid: &str) -> Option<Process> {
    let path = format!("/proc/{pid}");
    // The kernel cuts a name after 15 bytes, which may be in the middle of a letter.
    let stat = fs::read(format!("{path}/stat")).ok()?;
    let mut process = parse_stat(&String::from_utf8_lossy(&stat))?;
    let folder = fs::metadata(&path).ok()?;
    (process.uid, process.gid) = (folder.uid(), folder.gid());
    let status = fs::read(format!("{path}/status")).unwrap_or_default();
    let real = real_ids(&String::from_utf8_lossy(&status));
    // The process may have ended meanwhile.
    (process.ruid, process.rgid) = real.unwrap_or((process.uid, process.gid));
    let line = fs::read(format!("{path}/cmdline")).unwrap_or_default();
    let line = printable(&String::from_utf8_lossy(&line)); // zeros end the arguments
    process.args =
        if line.trim().is_empty() { format!("[{}]", process.comm) } else { line.trim_end().into() };
    Some(process)
}

/// Returns all that /proc shows, by number. A process that ends meanwhile is not in it.
pub(super) fn read_all() -> Vec<Process> {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let mut found: Vec<Process> =
        names.filter(|name| name.bytes().all(|b| b.is_ascii_digit())).filter_map(|pid| read(&pid)).collect();
    found.sort_by_key(|p| p.pid);
    found
}

/// Returns user names by number.
pub(super) fn user_names() -> BTreeMap<u32, String> {
    parse_names(&fs::read_to_string("/etc/passwd").unwrap_or_default())
}

/// Returns group names by number.
pub(super) fn group_names() -> BTreeMap<u32, String> {
    parse_names(&fs::read_to_string("/etc/group").unwrap_or_default())
}

/// Returns the names by number, from lines of /etc/passwd or /etc/group: in both the name is the
/// first field and the number the third.
pub(super) fn parse_names(text: &str) -> BTreeMap<u32, String> {
    let one = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_string();
        Some((fields.nth(1)?.parse().ok()?, name))
    };
    text.lines().filter_map(one).collect()
}

pub(super) fn name_or_number(names: &BTreeMap<u32, String>, number: u32) -> String {
    names.get(&number).cloned().unwrap_or(number.to_string())
}

pub(super) fn ticks_per_second() -> u64 {
    use nix::unistd::{SysconfVar, sysconf};
    sysconf(SysconfVar::CLK_TCK).ok().flatten().map_or(100, |ticks| ticks as u64).max(1)
}

pub(super) fn page_kb() -> i64 {
    use nix::unistd::{SysconfVar, sysconf};
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().map_or(4, |bytes| bytes / 1024)
}

/// Ticks since the machine's start.
pub(super) fn uptime() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds: f64 = text.split(' ').next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0.0);
    (seconds * ticks_per_second() as f64) as u64
}

/// Returns a time in ticks as minutes and seconds.
pub(super) fn format_ticks(ticks: u64) -> String {
    let seconds = ticks / ticks_per_second();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}
