//! Which process the kernel ends first when memory runs out: containers before Ropewalk.

use super::{cgroup, limits};

/// A container's score is at least so much above what Ropewalk's main process gets by its memory.
const OOM_MARGIN: u64 = 3;
const OWN_SCORE: &str = "/proc/self/oom_score_adj";

/// Returns the value of `oom_score_adj` for a container, read by main, whose memory counts:
/// `wanted`, or more if the kernel would end main before a container that uses nothing. The kernel
/// ends the process with the largest sum of its memory, in thousandths of the whole, and its
/// `oom_score_adj` (`oom_badness` in mm/oom_kill.c). Main grows after the container has started, so
/// its memory counts twice.
pub fn score_adj(wanted: i32) -> i32 {
    let own = std::fs::read_to_string(OWN_SCORE).ok().and_then(|text| text.trim().parse().ok());
    let status = crate::read_text("/proc/self/status").unwrap_or_default();
    // Swap is left out of the whole: that makes main's share larger, which is the safe side.
    let whole = cgroup::available_memory().unwrap_or(0);
    score_above(wanted, own.unwrap_or(0), memory_of(&status), whole)
}

/// Returns how many bytes of a process the kernel's choice counts, from /proc/PID/status: resident,
/// in swap, and tables of pages.
fn memory_of(status: &str) -> u64 {
    let kib = |line: &str| {
        let rest = ["VmRSS:", "VmSwap:", "VmPTE:"].iter().find_map(|name| line.strip_prefix(name))?;
        rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    };
    status.lines().filter_map(kib).sum::<u64>().saturating_mul(1024)
}

/// ```text
/// wanted -997, own 0, 400 MiB of 4000 MiB -> 2 * 100 + 3 = 203
/// wanted  900, own 0, 400 MiB of 4000 MiB -> 900
/// wanted -997, own 0, 4000 MiB of 4000 MiB -> 1000
/// ```
fn score_above(wanted: i32, own: i32, used: u64, whole: u64) -> i32 {
    let thousandths = (u128::from(used) * 1000).div_ceil(u128::from(whole.max(1)));
    let above = i32::try_from(thousandths * 2 + u128::from(OOM_MARGIN)).unwrap_or(1000);
    wanted.max(own.saturating_add(above)).min(1000)
}

/// Sets how soon the kernel ends this process when memory runs out (`oom_score_adj`; proc(5)):
/// -1000 never, 1000 first. Without CAP_SYS_RESOURCE the value can only be raised, so Guaranteed's
/// -997 becomes what [`score_adj`] says. Upstream lowers the kubelet's own to -999 instead; a
/// learner's other programs would then go before Ropewalk.
pub fn raise_score(value: i32) {
    let _ = std::fs::write(OWN_SCORE, value.to_string()); // a hint: without /proc containers run all the same
}

/// Returns whether a process without capabilities keeps the score that [`raise_score`] gave it. The
/// kernel lets it go no lower than the last value that was written with CAP_SYS_RESOURCE in the
/// machine's first user namespace. Where Ropewalk has not got that, an ordinary user's cluster
/// first of all, a container could write into /proc/PID/oom_score_adj what Ropewalk itself has, and
/// the kernel would end others before it. Source: proc(5), `oom_score_adj_min` in fs/proc/base.c.
pub fn score_holds() -> bool {
    limits::rules_resources()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_that_uses_nothing_goes_before_a_main_process_that_uses_much() {
        let mib = |n: u64| n << 20;
        // What the kernel would add up, in thousandths.
        for (own, used, whole) in [(0, 400, 4000), (200, 100, 16_000), (0, 900, 2000), (-500, 1500, 2000)] {
            let container = score_above(-997, own, mib(used), mib(whole));
            assert!(
                i64::from(container) > i64::from(own) + (used * 1000 / whole) as i64,
                "{used} of {whole}"
            );
        }
        let of = |wanted, used| score_above(wanted, 0, mib(used), mib(4000));
        assert_eq!([of(-997, 400), of(900, 400), of(1000, 400), of(-997, 4000)], [203, 900, 1000, 1000]);
        assert_eq!(score_above(3, 0, mib(1), 0), 1000, "a machine that does not tell its memory");
        let status =
            "Name:\tx\nVmPeak:\t 9000 kB\nVmRSS:\t    100 kB\nVmPTE:\t      8 kB\nVmSwap:\t     20 kB\n";
        assert_eq!(memory_of(status), 128 << 10);
    }
}
