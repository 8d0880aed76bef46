//! Use of containers: from their control groups, or on a machine without them from their processes.

use super::container::Live;
use linux::usage;
use linux::usage::Usage;
use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The use of all processes in a PID namespace, by the link that names it.
type ByNamespace = BTreeMap<PathBuf, Usage>;

/// The processes of all containers, from one look at /proc, which is made when something needs it:
/// on a machine with many processes a look for each container would take seconds, ten times a
/// second while memory is low.
pub(crate) struct Processes<F = fn() -> Option<ByNamespace>>(LazyCell<Option<ByNamespace>, F>);

impl Default for Processes {
    fn default() -> Processes {
        Processes(LazyCell::new(look as fn() -> Option<ByNamespace>))
    }
}

fn namespace(pid: &str) -> Option<PathBuf> {
    fs::read_link(Path::new("/proc").join(pid).join("ns/pid")).ok()
}

/// `None`: /proc is that of another PID namespace, and the numbers of the containers' processes
/// name strangers there.
fn look() -> Option<ByNamespace> {
    if !usage::proc_is_own(Path::new("/proc")).unwrap_or(false) {
        return None;
    }
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
    Some(found)
}

fn plus(one: Usage, other: Usage) -> Usage {
    Usage {
        cpu: one.cpu.saturating_add(other.cpu),
        working_set: one.working_set.saturating_add(other.working_set),
    }
}

impl<F: FnOnce() -> Option<ByNamespace>> Processes<F> {
    /// Sums the processes in the PID namespaces of these processes. What ended children used before
    /// is missing. `None`: /proc does not tell.
    fn of(&self, pids: &[i32]) -> Option<Usage> {
        let all = LazyCell::force(&self.0).as_ref()?;
        let namespaces: BTreeSet<PathBuf> =
            pids.iter().filter_map(|pid| namespace(&pid.to_string())).collect();
        let found = namespaces.iter().filter_map(|namespace| all.get(namespace));
        Some(found.fold(Usage::default(), |sum, one| plus(sum, *one)))
    }
}

/// Returns the use of running containers together. Those that share a PID namespace and have no
/// control groups cannot be counted apart, and count once. `None`: it is not known, because there
/// are no control groups and /proc is that of another PID namespace.
pub(crate) fn of_containers(running: impl IntoIterator<Item = Live>, processes: &Processes) -> Option<Usage> {
    let (mut sum, mut uncounted) = (Usage::default(), Vec::new());
    for live in running {
        match live.group.usage() {
            Some(used) => sum = plus(sum, used),
            None => uncounted.push(live.process.pid),
        }
    }
    if uncounted.is_empty() { Some(sum) } else { Some(plus(sum, processes.of(&uncounted)?)) }
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
        let of = |pids: &[i32]| processes.of(pids).unwrap().working_set;
        let one = of(&[own]);
        assert!(one > 0);
        assert_eq!(of(&[own, own]), one);
        assert_eq!(of(&[-1]), 0);
        assert_eq!(looks.get(), 1);
    }

    /// As in a container that has a PID namespace of its own and the machine's /proc.
    #[test]
    fn with_the_proc_of_another_namespace_the_use_is_not_known() {
        let proc = tempfile::tempdir().unwrap();
        let own = |number: u32| {
            let link = proc.path().join("self");
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(number.to_string(), link).unwrap();
            usage::proc_is_own(proc.path()).unwrap()
        };
        assert!(own(std::process::id()));
        assert!(!own(std::process::id() + 1));
        let processes = Processes(LazyCell::new(|| None));
        assert!(processes.of(&[std::process::id() as i32]).is_none());
    }
}
