//! `ps`, `top` and `free`, from /proc.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Process {
    pid: i32,
    ppid: i32,
    /// Its process group, its session, and the number of its terminal, 0 without one.
    pgid: i32,
    sid: i32,
    tty: u64,
    uid: u32,
    gid: u32,
    /// The real user and the real group: a setuid program runs with others.
    ruid: u32,
    rgid: u32,
    state: String,
    /// Processor time in ticks.
    ticks: u64,
    /// Bytes.
    size: u64,
    /// Pages.
    resident: i64,
    /// Ticks after the machine's start.
    started: u64,
    nice: i32,
    comm: String,
    args: String,
}

/// Returns a text that others chose, such as the name that a program gives itself, with a blank for
/// each control character: an escape sequence would steer the reader's terminal, and a newline
/// would begin a row.
pub(crate) fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Fields of /proc/PID/stat; the name may hold anything, so it ends at the *last* parenthesis.
fn parse_stat(text: &str) -> Option<Process> {
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
fn real_ids(status: &str) -> Option<(u32, u32)> {
    let first = |key: &str| {
        let mut numbers = status.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace();
        numbers.next()?.parse().ok()
    };
    Some((first("Uid:")?, first("Gid:")?))
}

fn read(pid: &str) -> Option<Process> {
    let path = format!("/proc/{pid}");
    // The kernel cuts a name after 15 bytes, which may be in the middle of a letter.
    let stat = fs::read(format!("{path}/stat")).ok()?;
    let mut process = parse_stat(&String::from_utf8_lossy(&stat))?;
    let folder = fs::metadata(&path).ok()?;
    (process.uid, process.gid) = (folder.uid(), folder.gid());
    let status = fs::read(format!("{path}/status")).unwrap_or_default();
    let real = real_ids(&String::from_utf8_lossy(&status));
    (process.ruid, process.rgid) = real.unwrap_or((process.uid, process.gid)); // it may end meanwhile
    let line = fs::read(format!("{path}/cmdline")).unwrap_or_default();
    let line = printable(&String::from_utf8_lossy(&line)); // zeros end the arguments
    process.args =
        if line.trim().is_empty() { format!("[{}]", process.comm) } else { line.trim_end().into() };
    Some(process)
}

/// All that /proc shows, by number. A process that ends meanwhile is not in it.
fn all() -> Vec<Process> {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let mut found: Vec<Process> =
        names.filter(|name| name.bytes().all(|b| b.is_ascii_digit())).filter_map(|pid| read(&pid)).collect();
    found.sort_by_key(|p| p.pid);
    found
}

/// User names by number.
fn users() -> BTreeMap<u32, String> {
    names(&fs::read_to_string("/etc/passwd").unwrap_or_default())
}

/// Group names by number.
fn groups() -> BTreeMap<u32, String> {
    names(&fs::read_to_string("/etc/group").unwrap_or_default())
}

/// Names by number, from lines of /etc/passwd or /etc/group: in both the name is the first field
/// and the number the third.
fn names(text: &str) -> BTreeMap<u32, String> {
    let one = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_string();
        Some((fields.nth(1)?.parse().ok()?, name))
    };
    text.lines().filter_map(one).collect()
}

fn name(names: &BTreeMap<u32, String>, number: u32) -> String {
    names.get(&number).cloned().unwrap_or(number.to_string())
}

fn ticks_per_second() -> u64 {
    use nix::unistd::{SysconfVar, sysconf};
    sysconf(SysconfVar::CLK_TCK).ok().flatten().map_or(100, |ticks| ticks as u64).max(1)
}

fn page_kb() -> i64 {
    use nix::unistd::{SysconfVar, sysconf};
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().map_or(4, |bytes| bytes / 1024)
}

/// Ticks since the machine's start.
fn uptime() -> u64 {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds: f64 = text.split(' ').next().and_then(|seconds| seconds.parse().ok()).unwrap_or(0.0);
    (seconds * ticks_per_second() as f64) as u64
}

/// Minutes and seconds.
fn clock(ticks: u64) -> String {
    let seconds = ticks / ticks_per_second();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// A column of `ps`.
#[derive(Debug, PartialEq, Eq)]
struct Column {
    name: &'static str,
    title: String,
    width: usize,
}

impl Column {
    /// `NAME` or `NAME=TITLE`.
    fn parse(text: &str) -> Result<Column, String> {
        let (name, own) = match text.split_once('=') {
            Some((name, own)) => (name, Some(own)),
            None => (text, None),
        };
        let Some((name, title, width)) = COLUMNS.iter().find(|column| column.0 == name) else {
            let known = COLUMNS.map(|column| column.0).join(",");
            return Err(format!("bad -o argument '{name}', supported arguments: {known}"));
        };
        let title = own.unwrap_or(title).to_string();
        Ok(Column { name, width: (*width).max(title.len()), title })
    }
}

/// What busybox and procps take as one letter and what changes nothing here: all processes are
/// shown anyway, one line each.
const PS_LETTERS: &str = "aAdeflTwx";

/// The columns that `ps` shall show.
///
/// # Errors
/// An unknown column, or an option that would choose among the processes.
fn ps_columns(args: &[String]) -> Result<Vec<Column>, String> {
    let mut columns = Vec::new();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let letters = word.strip_prefix('-').unwrap_or(word);
        // `-eo LIST` is `-e -o LIST`: behind the `o` stands its list.
        let (letters, list) =
            letters.split_once('o').map_or((letters, None), |(letters, list)| (letters, Some(list)));
        // `ps aux` and `ps -aux`; `-u USER` alone would choose.
        let of_bsd = !word.starts_with('-') || letters.contains('a') && letters.contains('x');
        let known = |c: &char| PS_LETTERS.contains(*c) || of_bsd && *c == 'u';
        if let Some(letter) = letters.chars().find(|letter| !known(letter)) {
            return Err(format!("invalid option -- '{letter}'\nUsage: ps [-o COLUMN,...]"));
        }
        let mut list = match list {
            None => continue,
            Some("") => words.next().ok_or("option requires an argument -- 'o'")?.as_str(),
            Some(list) => list,
        };
        while !list.is_empty() {
            // A title of one's own goes to the end of the word, commas and all.
            let titled = list.split_once('=').is_some_and(|(name, title)| {
                !name.contains(',') && !title.is_empty() && !title.starts_with(',')
            });
            let (column, rest) = if titled { (list, "") } else { list.split_once(',').unwrap_or((list, "")) };
            columns.push(Column::parse(column)?);
            list = rest;
        }
    }
    if columns.is_empty() {
        columns = ["pid", "user", "time", "args"].into_iter().map(Column::parse).collect::<Result<_, _>>()?;
    }
    Ok(columns)
}

/// `ps [-o COLUMN[=TITLE],…]`: everybody, as busybox prints it.
pub(crate) fn ps(args: Vec<OsString>) -> i32 {
    let args: Vec<String> = args.into_iter().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    match ps_columns(&args) {
        Ok(columns) => print(&ps_text(&columns, &all(), &users(), &groups())),
        Err(what) => {
            eprintln!("ps: {what}");
            1
        }
    }
}

/// The table. Without any title it has no line of titles.
fn ps_text(
    columns: &[Column],
    processes: &[Process],
    users: &BTreeMap<u32, String>,
    groups: &BTreeMap<u32, String>,
) -> String {
    let mut text = String::new();
    let last = |nth: usize| nth + 1 == columns.len();
    if columns.iter().any(|column| !column.title.is_empty()) {
        for (nth, column) in columns.iter().enumerate() {
            text += &cell(&column.title, column.width, false, last(nth));
        }
        text.push('\n');
    }
    for process in processes {
        for (nth, column) in columns.iter().enumerate() {
            let right = !matches!(
                column.name,
                "user" | "group" | "ruser" | "rgroup" | "tty" | "stat" | "comm" | "args"
            );
            text += &cell(&value(process, column.name, users, groups), column.width, right, last(nth));
        }
        text.push('\n');
    }
    text
}

fn print(text: &str) -> i32 {
    i32::from(std::io::stdout().write_all(text.as_bytes()).is_err())
}

fn cell(text: &str, width: usize, right: bool, last: bool) -> String {
    match (last, right) {
        (true, _) => text.to_string(),
        (_, true) => format!("{text:>width$} "),
        (_, false) => format!("{text:<width$} "),
    }
}

const COLUMNS: [(&str, &str, usize); 17] = [
    ("pid", "PID", 5),
    ("ppid", "PPID", 5),
    ("pgid", "PGID", 5),
    ("sid", "SID", 5),
    ("tty", "TT", 6),
    ("user", "USER", 8),
    ("group", "GROUP", 8),
    ("ruser", "RUSER", 8),
    ("rgroup", "RGROUP", 8),
    ("etime", "ELAPSED", 7),
    ("time", "TIME", 5),
    ("stat", "STAT", 4),
    ("vsz", "VSZ", 6),
    ("rss", "RSS", 6),
    ("nice", "NI", 3),
    ("comm", "COMMAND", 16),
    ("args", "COMMAND", 27),
];

fn value(
    process: &Process,
    column: &str,
    users: &BTreeMap<u32, String>,
    groups: &BTreeMap<u32, String>,
) -> String {
    match column {
        "pid" => process.pid.to_string(),
        "ppid" => process.ppid.to_string(),
        "pgid" => process.pgid.to_string(),
        "sid" => process.sid.to_string(),
        "tty" => tty(process.tty),
        "etime" => clock(uptime().saturating_sub(process.started)),
        "user" => name(users, process.uid),
        "group" => name(groups, process.gid),
        "ruser" => name(users, process.ruid),
        "rgroup" => name(groups, process.rgid),
        "time" => clock(process.ticks),
        "stat" => process.state.clone(),
        "vsz" => (process.size / 1024).to_string(),
        "rss" => (process.resident * page_kb()).to_string(),
        "nice" => process.nice.to_string(),
        "comm" => process.comm.clone(),
        _ => process.args.clone(),
    }
}

/// The major and the minor number of a terminal. Source: proc(5), `tty_nr`.
fn tty(number: u64) -> String {
    let (major, minor) = (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xf_ff00);
    if number == 0 { "?".into() } else { format!("{major},{minor}") }
}

/// /proc/meminfo, in kB.
fn memory() -> BTreeMap<String, u64> {
    parse_memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default())
}

fn parse_memory(text: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_string(), value.split_whitespace().next()?.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// `free [-b|-k|-m|-g|-h]`
pub(crate) fn free(args: Vec<OsString>) -> i32 {
    let args: Vec<String> = args.into_iter().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    let Some(unit) = free_unit(&args) else {
        eprintln!("Usage: free [-bkmgh]");
        return 1;
    };
    print(&free_text(&memory(), unit))
}

fn free_unit(args: &[String]) -> Option<char> {
    match args {
        [] => Some('k'),
        [option] => ['k', 'b', 'm', 'g', 'h'].into_iter().find(|unit| *option == format!("-{unit}")),
        _ => None,
    }
}

fn free_text(memory: &BTreeMap<String, u64>, unit: char) -> String {
    let get = |name: &str| memory.get(name).copied().unwrap_or(0);
    let show = |kb: u64| match unit {
        'b' => (kb * 1024).to_string(),
        'm' => (kb / 1024).to_string(),
        'g' => (kb >> 20).to_string(),
        'h' if kb >= 1 << 20 => format!("{:.1}G", kb as f64 / f64::from(1 << 20)),
        'h' => format!("{:.1}M", kb as f64 / 1024.0),
        _ => kb.to_string(),
    };
    let cache = get("Buffers") + get("Cached") + get("SReclaimable");
    let used = get("MemTotal").saturating_sub(get("MemFree") + cache);
    let row = |name: &str, cells: &[u64]| {
        let cells: String = cells.iter().map(|kb| format!("{:>12}", show(*kb))).collect();
        format!("{name:<7}{cells}\n")
    };
    let titles = ["total", "used", "free", "shared", "buff/cache", "available"].map(|t| format!("{t:>12}"));
    let swap = get("SwapTotal");
    format!("{:<7}{}\n", "", titles.concat())
        + &row("Mem:", &[get("MemTotal"), used, get("MemFree"), get("Shmem"), cache, get("MemAvailable")])
        + &row("Swap:", &[swap, swap.saturating_sub(get("SwapFree")), get("SwapFree")])
}

/// Ticks of all processors: user, nice, system, idle, I/O wait, irq, softirq.
fn processor_ticks() -> Vec<u64> {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default();
    line.split_whitespace().skip(1).take(7).filter_map(|n| n.parse().ok()).collect()
}

/// What the options of `top` ask for.
#[derive(Debug, PartialEq)]
struct Top {
    batch: bool,
    /// Without one it never ends.
    count: Option<u32>,
    delay: Duration,
}

/// `None` if one is unknown, or has no value that it can use. They may stand together: `-bn1`.
fn top_options(args: &[String]) -> Option<Top> {
    let mut top = Top { batch: false, count: None, delay: Duration::from_secs(5) };
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let letters = word.strip_prefix('-').filter(|letters| !letters.is_empty())?;
        for (at, letter) in letters.char_indices() {
            if letter == 'b' {
                top.batch = true;
                continue;
            }
            // The rest of the word, else the next one.
            let rest = &letters[at + letter.len_utf8()..];
            let value = if rest.is_empty() { words.next()?.as_str() } else { rest };
            match letter {
                'n' => top.count = Some(value.parse().ok()?),
                'd' => top.delay = Duration::try_from_secs_f64(value.parse().ok()?).ok()?,
                _ => return None,
            }
            break;
        }
    }
    Some(top)
}

/// `top [-b] [-n COUNT] [-d SECONDS]`; without -b the screen is cleared, and ^C ends it.
pub(crate) fn top(args: Vec<OsString>) -> i32 {
    let args: Vec<String> = args.into_iter().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    let Some(Top { batch, count, delay }) = top_options(&args) else {
        eprintln!("Usage: top [-b] [-n COUNT] [-d SECONDS]");
        return 1;
    };
    let mut before = (all(), processor_ticks(), Instant::now());
    let mut turn = 0;
    // A share needs two looks; the first one is short.
    let mut wait = Duration::from_millis(200).min(delay);
    loop {
        std::thread::sleep(wait);
        let now = (all(), processor_ticks(), Instant::now());
        let clear = if batch { "" } else { "\x1b[H\x1b[J" };
        if print(&format!("{clear}{}", top_text(&before, &now))) != 0 {
            return 1;
        }
        turn += 1;
        if count.is_some_and(|count| turn >= count) {
            return 0;
        }
        (before, wait) = (now, delay);
    }
}

/// Characters of a row of `top`.
const WIDTH: usize = 80;

type Sample = (Vec<Process>, Vec<u64>, Instant);

fn top_text(before: &Sample, now: &Sample) -> String {
    let memory = memory();
    let kb = |name: &str| memory.get(name).copied().unwrap_or(0);
    let passed: Vec<u64> = now.1.iter().zip(&before.1).map(|(n, b)| n.saturating_sub(*b)).collect();
    let all = passed.iter().sum::<u64>().max(1);
    let share = |nth: usize| passed.get(nth).map_or(0, |ticks| ticks * 100 / all);
    let mut text = format!(
        "Mem: {}K used, {}K free, {}K shrd, {}K buff, {}K cached\n",
        kb("MemTotal").saturating_sub(kb("MemFree")),
        kb("MemFree"),
        kb("Shmem"),
        kb("Buffers"),
        kb("Cached"),
    );
    let kinds = [("usr", 0), ("sys", 2), ("nic", 1), ("idle", 3), ("io", 4), ("irq", 5), ("sirq", 6)];
    let shares: Vec<String> = kinds.iter().map(|(name, nth)| format!("{:>3}% {name}", share(*nth))).collect();
    text += &format!("CPU: {}\n", shares.join(" "));
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text += &format!("Load average: {}\n", load.trim());
    text += "  PID  PPID USER     STAT   VSZ %VSZ %CPU COMMAND\n";
    let users = users();
    let old: BTreeMap<i32, u64> = before.0.iter().map(|p| (p.pid, p.ticks)).collect();
    let seconds = (now.2 - before.2).as_secs_f64().max(0.001);
    let used = |p: &Process| p.ticks.saturating_sub(old.get(&p.pid).copied().unwrap_or(p.ticks));
    let mut rows: Vec<&Process> = now.0.iter().collect();
    rows.sort_by_key(|p| (std::cmp::Reverse(used(p)), p.pid));
    for p in rows {
        let percent = used(p) as f64 * 100.0 / ticks_per_second() as f64 / seconds;
        let row = format!(
            "{:>5} {:>5} {:<8} {:<4} {:>5} {:>3}% {percent:>3.0}% {}",
            p.pid,
            p.ppid,
            name(&users, p.uid),
            p.state,
            p.size / 1024,
            p.size / 1024 * 100 / kb("MemTotal").max(1),
            p.args,
        );
        text.extend(row.chars().take(WIDTH).chain(['\n']));
    }
    text
}
