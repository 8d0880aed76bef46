//! Use of a container on a machine without cgroups, counted from its processes.

use crate::linux::cgroup::Usage;
use crate::linux::usage;
use std::fs;
use std::path::Path;

/// Sums the processes in the PID namespace of `pid`. What ended children used before is missing.
pub fn of_processes(pid: i32) -> Usage {
    let world = |pid: &str| fs::read_link(Path::new("/proc").join(pid).join("ns/pid")).ok();
    let Some(ours) = world(&pid.to_string()) else { return Usage::default() };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = processes.filter_map(|entry| entry.file_name().into_string().ok());
    let numbers = names.filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
    let stats = numbers
        .filter(|name| world(name).as_ref() == Some(&ours))
        .filter_map(|name| usage::of_process(&name));
    stats.fold(Usage::default(), |sum, one| Usage {
        cpu: sum.cpu + one.cpu,
        working_set: sum.working_set + one.working_set,
    })
}
