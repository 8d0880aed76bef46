//! `free`: how much of the machine's memory is used.

use super::print_text;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;

/// Reads /proc/meminfo, in kB.
pub(super) fn read_meminfo() -> BTreeMap<String, u64> {
    parse_memory(&fs::read_to_string("/proc/meminfo").unwrap_or_default())
}

pub(super) fn parse_memory(text: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_string(), value.split_whitespace().next()?.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// `free [-b|-k|-m|-g|-h]`
pub(crate) fn free(args: Vec<OsString>) -> i32 {
    let args = crate::arguments_as_text(args);
    let Some(unit) = free_unit(&args) else {
        eprintln!("Usage: free [-bkmgh]");
        return 1;
    };
    print_text(&free_text(&read_meminfo(), unit))
}

pub(super) fn free_unit(args: &[String]) -> Option<char> {
    match args {
        [] => Some('k'),
        [option] => ['k', 'b', 'm', 'g', 'h'].into_iter().find(|unit| *option == format!("-{unit}")),
        _ => None,
    }
}

/// Returns an amount in the largest unit that it fills, rounded as by busybox.
fn format_size(kb: u64) -> String {
    let (mut whole, mut tenths, mut unit) = (kb, 0, 'K');
    for larger in ['M', 'G', 'T'] {
        if whole >= 1024 {
            (whole, tenths, unit) = (whole / 1024, (whole % 1024 * 10 + 512) / 1024, larger);
        }
    }
    if tenths == 10 {
        (whole, tenths) = (whole + 1, 0);
    }
    if kb == 0 { "0".into() } else { format!("{whole}.{tenths}{unit}") }
}

pub(super) fn free_text(memory: &BTreeMap<String, u64>, unit: char) -> String {
    let get = |name: &str| memory.get(name).copied().unwrap_or(0);
    let show = |kb: u64| match unit {
        'b' => (kb * 1024).to_string(),
        'm' => ((kb + (1 << 9)) >> 10).to_string(),
        'g' => ((kb + (1 << 19)) >> 20).to_string(),
        'h' => format_size(kb),
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
