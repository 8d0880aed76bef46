//! Use of containers: from their control groups, or on a machine without them from their processes.

use super::container::Live;
use crate::linux::cgroup::Usage;
use crate::linux::usage;
use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What all processes in a PID namespace use, by the link that names it.
type ByNamespace = BTreeMap<PathBuf, Usage>;

/// The processes of all containers, from one look at /proc, which is made when something needs it: on a machine with many processes a look for each
/// container would take seconds, ten times a second while memory is low.
pub struct Processes<F = fn() -> ByNamespace>(LazyCell<ByNamespace, F>);

impl Default for Processes {
    fn default() -> Processes {
        Processes(LazyCell::new(look as fn() -> ByNamespace))
    }
}

fn namespace(pid: &str) -> Option<PathBuf> {
    fs::read_link(Path::new("/proc").join(pid).join("ns/pid")).ok()
}

fn look() -> ByNamespace {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = processes.filter_map(|entry| entry.file_name().into_string().ok());
    let numbers = names.filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
    let mut found = ByNamespace::new();
    for number in numbers {
        if let (Some(namespace), Some(used)) = (namespace(&number), usage::of_process(&number)) {
            let sum = found.entry(namespace).or_default();
            *sum = plus(*sum, used);
        }
    }
    found
}

fn plus(one: Usage, other: Usage) -> Usage {
    Usage {
        cpu: one.cpu.saturating_add(other.cpu),
        working_set: one.working_set.saturating_add(other.working_set),
    }
}

impl<F: FnOnce() -> ByNamespace> Processes<F> {
    /// Sums the processes in the PID namespaces of these processes. What ended children used before is missing.
    fn of(&self, pids: &[i32]) -> Usage {
        let namespaces: BTreeSet<PathBuf> =
            pids.iter().filter_map(|pid| namespace(&pid.to_string())).collect();
        let found = namespaces.iter().filter_map(|namespace| self.0.get(namespace));
        found.fold(Usage::default(), |sum, one| plus(sum, *one))
    }
}

/// What running containers use together. Those that share a PID namespace and have no control groups cannot be told apart, and count once.
pub fn of_containers(running: impl IntoIterator<Item = Live>, processes: &Processes) -> Usage {
    let (mut sum, mut uncounted) = (Usage::default(), Vec::new());
    for live in running {
        match live.group.usage() {
            Some(used) => sum = plus(sum, used),
            None => uncounted.push(live.process.pid),
        }
    }
    if uncounted.is_empty() { sum } else { plus(sum, processes.of(&uncounted)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn proc_is_read_once_for_all_containers_and_a_shared_namespace_counts_once() {
        let (own, looks) = (std::process::id() as i32, Cell::new(0));
        let processes = Processes(LazyCell::new(|| {
            looks.set(looks.get() + 1);
            look()
        }));
        assert_eq!(looks.get(), 0, "where control groups count nothing is read");
        let one = processes.of(&[own]).working_set;
        assert!(one > 0);
        assert_eq!(processes.of(&[own, own]).working_set, one);
        assert_eq!(processes.of(&[-1]).working_set, 0);
        assert_eq!(looks.get(), 1);
    }
}
