//! Use of a container on a machine without cgroups, counted from its processes.

use crate::linux::cgroup::Usage;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Sums the processes in the PID namespace of `pid`. What ended children used before is missing.
pub fn of_processes(pid: i32) -> Usage {
    let world = |pid: &str| fs::read_link(Path::new("/proc").join(pid).join("ns/pid")).ok();
    let Some(ours) = world(&pid.to_string()) else { return Usage::default() };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = processes.filter_map(|entry| entry.file_name().into_string().ok());
    let numbers = names.filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
    let stats = numbers
        .filter(|name| world(name).as_ref() == Some(&ours))
        .filter_map(|name| parse(&fs::read_to_string(format!("/proc/{name}/stat")).ok()?));
    stats.fold(Usage::default(), |sum, (ticks, pages)| Usage {
        cpu: sum.cpu + Duration::from_millis(ticks * 10), // USER_HZ is 100 on every Linux that Rust runs on
        working_set: sum.working_set + pages * 4096,
    })
}

/// User plus system ticks, and resident pages, of a line of /proc/PID/stat. The name, in brackets, may hold anything.
fn parse(stat: &str) -> Option<(u64, u64)> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some((number(11)? + number(12)?, number(21)?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_stat_line_is_read_from_its_last_bracket() {
        let line = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 5 1000000 321 18446744073709551615";
        assert_eq!(super::parse(line), Some((200, 321)));
        assert_eq!(super::parse("nonsense"), None);
    }
}
