//! What all containers of a cluster may use together: less than the machine has, so that the host
//! and Ropewalk itself, whose processes are in no group of the cluster, go on when pods without
//! limits take all they can get.

use super::files::{field, limit_swap, number, write};
use super::find::{Found, find};
use crate::Result;
use crate::usage;
use std::path::Path;

/// Bytes that stay free of containers: a tenth of the memory, at least so many, but no more than
/// half.
const MEMORY_RESERVE: u64 = 512 << 20;

fn of_memory(total: u64) -> u64 {
    total - (total / 10).max(MEMORY_RESERVE).min(total / 2)
}

/// Returns half of the process numbers.
fn of_pids(total: u64) -> u64 {
    total / 2
}

/// Limits the cluster's group of cgroup v1 for memory. `base` is the group above it, which may have
/// a limit of its own.
pub(super) fn limit_memory_v1(base: &Path, group: &Path) {
    let of_base = field(&base.join("memory.stat"), "hierarchical_memory_limit");
    let Some(total) = machine_memory().into_iter().chain(of_base).min() else { return };
    let _ = write(&group.join("memory.use_hierarchy"), "1"); // since Linux 5.11 always so
    let both = group.join("memory.memsw.limit_in_bytes");
    if both.exists() {
        let _ = write(&both, "-1"); // it may never be lower than the other
    }
    log_unless_set(write(&group.join("memory.limit_in_bytes"), &of_memory(total).to_string()));
    // v1 cannot forbid swap without taking memory too: what the pods have of both together is
    // bounded.
    log_unless_set(limit_swap(&both, &of_memory(total).to_string()));
}

/// As [`limit_memory_v1`], for cgroup v2.
pub(super) fn limit_memory_v2(group: &Path) {
    let of_bases = group.ancestors().skip(1).filter_map(|base| number(&base.join("memory.max")));
    let Some(total) = machine_memory().into_iter().chain(of_bases).min() else { return };
    log_unless_set(write(&group.join("memory.max"), &of_memory(total).to_string()));
}

/// Gives containers no swap, with or without a memory limit, as the kubelet does unless it is
/// configured otherwise (`swapBehavior: NoSwap`). The group's limit holds for all groups in it.
pub(super) fn limit_swap_v2(group: &Path) {
    if let Err(e) = limit_swap(&group.join("memory.swap.max"), "0") {
        crate::say(format_args!("containers without a memory limit may swap: {}", e.line()));
    }
}

/// Limits the processes of the cluster's group; both versions name the file alike.
pub(super) fn limit_pids(group: &Path) {
    let machine = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"];
    let machine = machine.iter().filter_map(|file| number(Path::new(file)));
    let of_bases = group.ancestors().skip(1).filter_map(|base| number(&base.join("pids.max")));
    let Some(total) = machine.chain(of_bases).min() else { return };
    log_unless_set(write(&group.join("pids.max"), &of_pids(total).to_string()));
}

/// Logs a limit that could not be set. Containers have limits of their own, so the cluster starts
/// without this one too.
fn log_unless_set(done: Result<()>) {
    if let Err(e) = done {
        crate::say(format_args!("containers together have no limit: {}", e.line()));
    }
}

/// Returns how many bytes this process may use at most: the machine's memory, or less by a limit of
/// its group or of one above it. `None` if the kernel tells neither.
pub fn available_memory() -> Option<u64> {
    machine_memory().into_iter().chain(limits(&find())).min()
}

/// Returns the limits on memory of our own groups.
fn limits(found: &Found) -> Vec<u64> {
    match found {
        Found::V2 { bases } => bases.iter().filter_map(|base| number(&base.join("memory.max"))).collect(),
        Found::V1 { controllers, .. } => controllers
            .iter()
            .filter(|(controller, _)| controller == "memory")
            .filter_map(|(_, group)| field(&group.join("memory.stat"), "hierarchical_memory_limit"))
            .collect(),
        Found::Nothing { .. } => vec![],
    }
}

/// Returns the machine's memory in bytes.
fn machine_memory() -> Option<u64> {
    Some(usage::of_machine()?.total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_keeps_some() {
        const GIB: u64 = 1 << 30;
        assert_eq!(of_memory(100 * GIB), 90 * GIB);
        assert_eq!(of_memory(2 * GIB), 2 * GIB - MEMORY_RESERVE);
        assert_eq!(of_memory(GIB / 2), GIB / 4);
        assert_eq!(of_pids(32768), 16384);
        assert!(machine_memory().is_some_and(|bytes| bytes > 64 << 20));
    }

    #[test]
    fn what_this_process_may_use_is_the_lowest_limit_above_it() {
        let dir = tempfile::tempdir().unwrap();
        let (outer, inner) = (dir.path().join("outer"), dir.path().join("outer/inner"));
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::write(outer.join("memory.max"), "1073741824\n").unwrap();
        std::fs::write(inner.join("memory.max"), "max\n").unwrap();
        assert_eq!(limits(&Found::V2 { bases: vec![inner.clone(), outer] }), [1 << 30]);
        std::fs::write(inner.join("memory.stat"), "cache 5\nhierarchical_memory_limit 67108864\n").unwrap();
        let controllers = vec![("cpu".to_string(), dir.path().into()), ("memory".to_string(), inner)];
        assert_eq!(limits(&Found::V1 { controllers, unified: None }), [64 << 20]);
        assert!(available_memory() <= machine_memory());
    }

    #[test]
    fn a_group_gets_less_than_the_one_above_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let group = dir.path().join("ropewalk-x");
        std::fs::create_dir(&group).unwrap();
        std::fs::write(dir.path().join("memory.stat"), "cache 5\nhierarchical_memory_limit 67108864\n")
            .unwrap();
        std::fs::write(dir.path().join("memory.max"), "134217728\n").unwrap();
        std::fs::write(dir.path().join("pids.max"), "100\n").unwrap();
        limit_memory_v1(dir.path(), &group);
        limit_memory_v2(&group);
        for file in ["memory.swap.max", "memory.memsw.limit_in_bytes"] {
            assert!(!group.join(file).exists(), "{file} of a kernel that does not count swap");
            std::fs::write(group.join(file), "max\n").unwrap();
        }
        limit_memory_v1(dir.path(), &group);
        limit_swap_v2(&group);
        limit_pids(&group);
        let limit = |file: &str| number(&group.join(file));
        assert_eq!(limit("memory.limit_in_bytes"), Some(32 << 20));
        assert_eq!(
            (limit("memory.swap.max"), limit("memory.memsw.limit_in_bytes")),
            (Some(0), Some(32 << 20))
        );
        assert_eq!((limit("memory.max"), limit("pids.max")), (Some(64 << 20), Some(50)));
    }
}
