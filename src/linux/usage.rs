//! Use of one process, from /proc.

use super::cgroup::Usage;
use std::time::Duration;

/// What a process, with all its threads, has used since it began. `self` is a process too.
pub fn of_process(pid: &str) -> Option<Usage> {
    let (ticks, pages) = parse(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    // USER_HZ is 100 on every Linux that Rust runs on.
    Some(Usage { cpu: Duration::from_millis(ticks * 10), working_set: pages * 4096 })
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
        let line =
            "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 5 1000000 321 18446744073709551615";
        assert_eq!(super::parse(line), Some((200, 321)));
        assert_eq!(super::parse("nonsense"), None);
    }
}
