//! `top`: the processes that use most of the processors, again and again.

use super::free::read_meminfo;
use super::print_text;
use super::process::{Process, name_or_number, read_all, ticks_per_second, user_names};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::time::{Duration, Instant};

/// Ticks of all processors: user, nice, system, idle, I/O wait, irq, softirq.
fn processor_ticks() -> Vec<u64> {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default();
    line.split_whitespace().skip(1).take(7).filter_map(|n| n.parse().ok()).collect()
}

/// What the options of `top` ask for.
#[derive(Debug, PartialEq)]
pub(super) struct Top {
    pub batch: bool,
    /// Without a count `top` never ends.
    pub count: Option<u32>,
    pub delay: Duration,
}

/// Parses the options, which may stand together: `-bn1`. Returns `None` if one is unknown or has no
/// usable value.
pub(super) fn top_options(args: &[String]) -> Option<Top> {
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
    let args = crate::arguments_as_text(args);
    let Some(Top { batch, count, delay }) = top_options(&args) else {
        eprintln!("Usage: top [-b] [-n COUNT] [-d SECONDS]");
        return 1;
    };
    let mut before = (read_all(), processor_ticks(), Instant::now());
    let mut turn = 0;
    // A share needs two looks; the first one is short.
    let mut wait = Duration::from_millis(200).min(delay);
    loop {
        std::thread::sleep(wait);
        let now = (read_all(), processor_ticks(), Instant::now());
        let clear = if batch { "" } else { "\x1b[H\x1b[J" };
        if print_text(&format!("{clear}{}", top_text(&before, &now))) != 0 {
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

/// The processes, the ticks of all processors, and when both were read.
pub(super) type Sample = (Vec<Process>, Vec<u64>, Instant);

/// Returns an amount in at most five letters, as in busybox: a large one has a unit, and a tenth if
/// that is below 100.
pub(super) fn format_memory(kb: u64) -> String {
    if kb < 100_000 {
        return kb.to_string();
    }
    let (mut tenths, mut unit) = (kb.saturating_mul(10), 'k');
    for larger in ['m', 'g', 't'] {
        if tenths >= 100_000 {
            (tenths, unit) = (tenths / 1024, larger);
        }
    }
    match tenths {
        ..1000 => format!("{}.{}{unit}", tenths / 10, tenths % 10),
        _ => format!("{}{unit}", tenths / 10),
    }
}

/// Returns what is shown: the machine, and the processes, busiest first.
pub(super) fn top_text(before: &Sample, now: &Sample) -> String {
    let memory = read_meminfo();
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
    let users = user_names();
    let old: BTreeMap<i32, u64> = before.0.iter().map(|p| (p.pid, p.ticks)).collect();
    let seconds = (now.2 - before.2).as_secs_f64().max(0.001);
    let used = |p: &Process| p.ticks.saturating_sub(old.get(&p.pid).copied().unwrap_or(p.ticks));
    let mut rows: Vec<&Process> = now.0.iter().collect();
    rows.sort_by_key(|p| (std::cmp::Reverse(used(p)), p.pid));
    let total = kb("MemTotal").max(1);
    for p in rows {
        let percent = used(p) as f64 * 100.0 / ticks_per_second() as f64 / seconds;
        let row = format!(
            "{:>5} {:>5} {:<8.8} {:<4} {:>5} {:>3}% {percent:>3.0}% {}",
            p.pid,
            p.ppid,
            name_or_number(&users, p.uid),
            p.state,
            format_memory(p.size / 1024),
            (p.size / 1024 * 100 + total / 2) / total,
            p.args,
        );
        text.extend(row.chars().take(WIDTH).chain(['\n']));
    }
    text
}
