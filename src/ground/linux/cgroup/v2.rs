//! cgroup v2: one tree. A group either holds processes or gives controllers to groups below it,
//! never both.

use super::backend::{Backend, Entry, Group, Lack, Limits, PATIENCE, Shared};
use super::delegation::{self, Movable, Room};
use super::files::{
    PERIOD, UNLIMITED, clear_all, field, has_swap, kill_all, limit_swap, make, must_be, number, open_place,
    quota, remove_free, remove_tree, write,
};
use super::{cluster_limits, devices, remembered};
use crate::usage::Usage;
use crate::{Context, Error, Result};
use cgroups_rs::MaxValue;
use cgroups_rs::pid::PidController;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The controllers that a cluster needs.
const WANTED: [&str; 3] = ["memory", "pids", "cpu"];
const SWAP: &str = "memory.swap.max";

/// The cluster's group.
pub(super) struct V2 {
    group: PathBuf,
    name: String,
    /// What was changed in the group above for it.
    room: Room,
    /// Where that is written down.
    remember: Option<PathBuf>,
    /// The program that judges over devices; `None` where the kernel takes none from us.
    devices: Option<OwnedFd>,
}

impl V2 {
    /// Makes the cluster's group in the nearest base that gives controllers to its children. If
    /// none does, in the nearest one that does once processes are moved out of the way.
    ///
    /// # Errors
    /// No base does, or none is writable. The reason is that of the nearest base which is this
    /// user's and lacks a controller; else it is the last one's.
    pub(super) fn open(bases: &[PathBuf], name: &str, remember: Option<&Path>) -> Result<V2> {
        V2::open_with(&WANTED, bases, name, remember)
    }

    fn open_with(wanted: &[&str], bases: &[PathBuf], name: &str, remember: Option<&Path>) -> Result<V2> {
        let open_in = |base: &Path, movable: Option<&Movable>| {
            V2::open_in(Room::of(base, wanted)?, wanted, name, remember, movable)
        };
        let mut why = Error::new("no cgroup of ours", io::ErrorKind::NotFound);
        let (mut busy, mut lacking) = (Vec::new(), None);
        for base in bases {
            match open_in(base, None) {
                Ok(backend) => return Ok(backend),
                Err(e) if delegation::is_not_given(&e) => {
                    lacking.get_or_insert(e);
                }
                Err(e) => {
                    busy.extend((e.cause.kind() == io::ErrorKind::ResourceBusy).then_some(base));
                    why = e;
                }
            }
        }
        let movable = match bases {
            [_] => Movable::All, // nothing is above it: this is a container
            _ => Movable::line_of(std::process::id() as i32),
        };
        for base in busy {
            match open_in(base, Some(&movable)) {
                Ok(backend) => return Ok(backend),
                Err(e) => why = e,
            }
        }
        Err(lacking.unwrap_or(why))
    }

    fn open_in(
        room: Room,
        wanted: &[&str],
        name: &str,
        remember: Option<&Path>,
        movable: Option<&Movable>,
    ) -> Result<V2> {
        if let Some(file) = remember {
            remembered::add_room(file, &room);
        }
        let made = match movable {
            None => room.switch_on(),
            Some(movable) => room.switch_on_behind(movable),
        };
        let group = room.base().join(name);
        let backend = |devices| V2 {
            group: group.clone(),
            name: name.into(),
            room: room.clone(),
            remember: remember.map(Path::to_path_buf),
            devices,
        };
        match made.and_then(|()| make_cluster(&group, wanted)) {
            Ok(()) => Ok(backend(judge(&group))),
            Err(e) => {
                backend(None).take_back();
                Err(e)
            }
        }
    }

    /// Takes back what was changed for the group, which is gone.
    fn take_back(&self) {
        self.room.take_back();
        if let Some(file) = &self.remember {
            remembered::take_back(file, &self.name);
        }
    }
}

/// Makes the cluster's group with its limits.
fn make_cluster(group: &Path, wanted: &[&str]) -> Result<()> {
    if group.is_dir() {
        clear_all(&[group.to_path_buf()], Instant::now() + PATIENCE);
    }
    fs::create_dir_all(group).during(|| format!("cannot make the cgroup {}", group.display()))?;
    if let Err(e) = give_all(group, wanted) {
        remove_tree(group, Instant::now());
        return Err(e);
    }
    cluster_limits::limit_memory_v2(group);
    cluster_limits::limit_swap_v2(group);
    cluster_limits::limit_pids(group);
    Ok(())
}

/// Gives controllers to the groups in a group of our own.
fn give_all(group: &Path, wanted: &[&str]) -> Result<()> {
    write(&group.join("cgroup.subtree_control"), &format!("+{}", wanted.join(" +")))
}

/// Loads the program for devices and tries it on a group of its own.
fn judge(group: &Path) -> Option<OwnedFd> {
    let trial = group.join("trial");
    let program = devices::load().ok()?;
    fs::create_dir_all(&trial).ok()?;
    let attached = open_place(&trial).and_then(|at| devices::attach(program.as_fd(), at.as_fd()));
    remove_tree(&trial, Instant::now());
    attached.is_ok().then_some(program)
}

impl Backend for V2 {
    fn describe(&self) -> String {
        "v2".into()
    }

    fn lacks(&self) -> Option<Lack> {
        None // a group without all controllers is not opened
    }

    fn controls_devices(&self) -> bool {
        self.devices.is_some()
    }

    fn controls_swap(&self) -> bool {
        self.group.join(SWAP).exists() || !has_swap()
    }

    fn kills(&self) -> bool {
        true
    }

    fn memory(&self) -> Option<Shared> {
        Some(Shared {
            limit: number(&self.group.join("memory.max"))?,
            working_set: working_set(&self.group)?,
        })
    }

    fn create(&self, id: &str, limits: &Limits) -> Result<Arc<dyn Group>> {
        let path = self.group.join(id);
        make(&path)?;
        let group = V2Group { path };
        let devices = self.devices.as_ref().filter(|_| limits.harmless_devices);
        let restrict = |program: &OwnedFd| devices::attach(program.as_fd(), open_place(&group.path)?.as_fd());
        let limited = group.limit(limits).and_then(|()| devices.map_or(Ok(()), restrict));
        if let Err(e) = limited {
            let _ = group.remove(); // the first error is told
            return Err(e);
        }
        Ok(Arc::new(group))
    }

    fn destroy(&self) {
        clear_all(std::slice::from_ref(&self.group), Instant::now() + PATIENCE);
        self.take_back();
    }
}

struct V2Group {
    path: PathBuf,
}

/// Returns `cpu.weight` of a container for `cpu.shares`: on a curve through 2 → 1, 1024 → 100 (both
/// are the kernel's default, so a request of one CPU weighs as much as a group without any) and
/// 262144 → 10000. Source: opencontainers/cgroups#20, which runc has since 1.3.2.
fn container_weight(shares: u64) -> u64 {
    let l = (shares.clamp(2, 262_144) as f64).log2();
    let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
    // Rounded up; what is a whole number but for the last bits stays one.
    (10f64.powf(exponent) - 1e-9).ceil().clamp(1.0, 10_000.0) as u64
}

/// Returns `cpu.weight` of a pod for `cpu.shares`: on a line from 2 → 1 to 262144 → 10000, so that
/// pods get time in proportion to their requests. The kubelet makes the groups of pods, and unlike
/// runc it has no curve. Source: `getCPUWeight` in `pkg/kubelet/cm/cgroup_manager_linux.go`.
///
/// ```text
/// requests 1 and 250m   shares 1024 and 256   pods 39 and 10   containers 100 and 35
/// ```
fn pod_weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

impl V2Group {
    fn limit(&self, limits: &Limits) -> Result<()> {
        let file = |name: &str| self.path.join(name);
        let by_crate = |done: cgroups_rs::error::Result<()>, name: &str| {
            done.map_err(|e| {
                Error::new(format!("cannot set {}: {e}", file(name).display()), io::Error::last_os_error())
            })
        };
        if let Some(bytes) = limits.memory {
            let value = if bytes >= UNLIMITED { "max".to_string() } else { bytes.to_string() };
            write(&file("memory.max"), &value)?;
            must_be(&file("memory.max"), &value)?;
            limit_swap(&file(SWAP), "0")?;
        }
        if !limits.of_groups {
            // A container ends as a whole, also where only its pod or the machine has a limit. A
            // pod does not: its other containers and the pause process live on.
            let _ = write(&file("memory.oom.group"), "1");
        }
        if limits.cpu_shares > 0 {
            let weight = match limits.of_groups {
                true => pod_weight(limits.cpu_shares),
                false => container_weight(limits.cpu_shares),
            };
            let weight = weight.to_string();
            write(&file("cpu.weight"), &weight)?;
            must_be(&file("cpu.weight"), &weight)?;
        }
        if let Some(milli) = limits.cpu_milli {
            let max = format!("{} {PERIOD}", quota(milli));
            write(&file("cpu.max"), &max)?;
            must_be(&file("cpu.max"), &max)?;
        }
        if let Some(count) = limits.pids {
            let pids = PidController::new(self.path.clone(), true);
            by_crate(pids.set_pid_max(MaxValue::Value(count as i64)), "pids.max")?;
            must_be(&file("pids.max"), &count.to_string())?;
        }
        if limits.of_groups {
            give_all(&self.path, &WANTED)?;
        }
        Ok(())
    }
}

/// Returns how many bytes a group and those in it use, also those in it that are gone: what they
/// left in a volume in memory.
fn working_set(group: &Path) -> Option<u64> {
    let used = number(&group.join("memory.current"))?;
    let inactive = field(&group.join("memory.stat"), "inactive_file").unwrap_or(0);
    Some(used.saturating_sub(inactive))
}

impl Group for V2Group {
    fn entry(&self) -> Result<Entry> {
        Ok(Entry { directory: Some(open_place(&self.path)?), tasks: Vec::new() })
    }

    fn usage(&self) -> Option<Usage> {
        let cpu = field(&self.path.join("cpu.stat"), "usage_usec")?;
        Some(Usage { cpu: Duration::from_micros(cpu), working_set: working_set(&self.path)? })
    }

    fn oom_kills(&self) -> u64 {
        field(&self.path.join("memory.events"), "oom_kill").unwrap_or(0)
    }

    fn kill(&self) -> Result<()> {
        kill_all(&self.path)
    }

    fn remove(&self) -> Result<()> {
        remove_free(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::super::delegation::tests::Trial;
    use super::super::files::read;
    use super::*;

    /// As in a container: the supervisor, the program that started it and others are in the only
    /// group that can be written to. With the kernel, where this is root and a tree of v2 has a
    /// controller.
    #[test]
    fn a_cluster_in_a_group_with_processes_makes_room_and_leaves_it_as_it_was() {
        let Some(trial) = Trial::begin("cluster") else { return };
        let (base, name) = (trial.base.clone(), "ropewalk-0123456789abcdef");
        let remember = tempfile::NamedTempFile::new().unwrap();
        let written = || fs::read_to_string(remember.path()).unwrap();
        let before = trial.processes();
        assert_eq!(before.len(), 2);
        let opened =
            V2::open_with(&[trial.wanted], std::slice::from_ref(&base), name, Some(remember.path())).unwrap();
        assert_eq!(read(&base.join(name).join("cgroup.subtree_control")).unwrap(), trial.wanted);
        assert!(trial.processes().is_empty());
        assert_eq!(written(), format!("+{} {}\n", trial.wanted, base.display()));
        // Another cluster finds room, and leaves it as long as the first one lives there.
        let other =
            V2::open_with(&[trial.wanted], std::slice::from_ref(&base), "ropewalk-other", None).unwrap();
        other.destroy();
        assert!(base.join(name).is_dir() && trial.processes().is_empty());
        opened.destroy();
        assert!(!base.join(name).exists());
        assert_eq!(trial.processes(), before);
        assert_eq!(read(&base.join("cgroup.subtree_control")).unwrap(), "");
        assert_eq!(written(), "");
    }

    #[test]
    fn the_last_cluster_in_a_group_leaves_it_as_it_was_before_the_first() {
        let Some(trial) = Trial::begin("outlived") else { return };
        let (base, before) = (trial.base.clone(), trial.processes());
        let files = [(); 2].map(|()| tempfile::NamedTempFile::new().unwrap());
        let open = |name: &str, file: usize| {
            let remember = Some(files[file].path());
            V2::open_with(&[trial.wanted], std::slice::from_ref(&base), name, remember).unwrap()
        };
        let (first, last) = (open("ropewalk-0123456789abcdef", 0), open("ropewalk-fedcba9876543210", 1));
        first.destroy();
        assert!(trial.processes().is_empty(), "the other one lives there");
        last.destroy();
        assert_eq!(trial.processes(), before);
        assert_eq!(read(&base.join("cgroup.subtree_control")).unwrap(), "");
        assert_eq!(fs::read_to_string(files[1].path()).unwrap(), "");
    }

    /// As for an ordinary user: the groups above belong to root.
    #[test]
    fn the_reason_is_the_controller_that_an_own_group_lacks() {
        let dir = tempfile::tempdir().unwrap();
        let (inner, outer) = (dir.path().join("a/b"), dir.path().join("a"));
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("cgroup.subtree_control"), "").unwrap();
        fs::write(inner.join("cgroup.controllers"), "memory pids\n").unwrap();
        fs::write(outer.join("cgroup.subtree_control"), "memory pids cpu\n").unwrap();
        fs::write(outer.join("ropewalk-x"), "no group can be made here").unwrap();
        let gone = dir.path().join("a/b/gone");
        let refused = V2::open(&[gone.clone(), inner, outer], "ropewalk-x", None).map(drop).unwrap_err();
        assert!(refused.what.ends_with("is not given the controller cpu"), "{}", refused.what);
        assert!(delegation::is_not_given(&refused));
        let refused = V2::open(&[gone], "ropewalk-x", None).map(drop).unwrap_err();
        assert!(
            refused.what.starts_with("cannot read") && !delegation::is_not_given(&refused),
            "{}",
            refused.what
        );
    }

    /// As a cgroup, as far as writing and reading go.
    #[test]
    fn a_memory_limit_leaves_no_swap() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        for name in ["memory.max", SWAP, "cgroup.subtree_control"] {
            fs::write(file(name), "max").unwrap();
        }
        let group = V2Group { path: dir.path().into() };
        group.limit(&Limits { memory: Some(1 << 20), ..Limits::default() }).unwrap();
        assert_eq!([read(&file("memory.max")).unwrap(), read(&file(SWAP)).unwrap()], ["1048576", "0"]);
        assert_eq!(read(&file("memory.oom.group")).unwrap(), "1");
        // That of a pod ends no more than what is too large in it.
        fs::remove_file(file("memory.oom.group")).unwrap();
        group.limit(&Limits { memory: Some(1 << 20), of_groups: true, ..Limits::default() }).unwrap();
        assert!(!file("memory.oom.group").exists());
        // A limit that cannot be set is an error: the container would have more than it may.
        fs::remove_file(file(SWAP)).unwrap();
        fs::create_dir(file(SWAP)).unwrap();
        assert!(group.limit(&Limits { memory: Some(1 << 20), ..Limits::default() }).is_err());
        assert!(group.limit(&Limits::default()).is_ok());
    }

    #[test]
    fn a_limit_beyond_what_the_kernel_counts_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        let group = V2Group { path: dir.path().into() };
        // 8Ei is the first number that a signed one does not hold.
        for (bytes, want) in [
            (1 << 63, "max"),
            (u64::MAX, "max"),
            (UNLIMITED, "max"),
            (UNLIMITED - 65536, "9223372036854644736"),
        ] {
            group.limit(&Limits { memory: Some(bytes), ..Limits::default() }).unwrap();
            assert_eq!(read(&file("memory.max")).unwrap(), want, "{bytes}");
        }
        group.limit(&Limits { cpu_milli: Some(u64::MAX), ..Limits::default() }).unwrap();
        assert_eq!(read(&file("cpu.max")).unwrap(), "17592186044415 100000");
        group.limit(&Limits { cpu_milli: Some(500), ..Limits::default() }).unwrap();
        assert_eq!(read(&file("cpu.max")).unwrap(), "50000 100000");
    }

    #[test]
    fn shares_of_a_container_become_a_weight_as_runc_maps_them() {
        assert_eq!([2, 102, 1024, 2000, 262_144].map(container_weight), [1, 17, 100, 170, 10000]);
        assert_eq!([0, 1, 3, u64::MAX].map(container_weight), [1, 1, 2, 10000]);
        let all: Vec<u64> = (2..=262_144).map(container_weight).collect();
        assert!(all.is_sorted(), "more shares never weigh less");
    }

    #[test]
    fn shares_of_a_pod_become_a_weight_as_the_kubelet_maps_them() {
        assert_eq!([2, 102, 256, 1024, 4096, 262_144].map(pod_weight), [1, 4, 10, 39, 157, 10000]);
        assert_eq!([0, 1, u64::MAX].map(pod_weight), [1, 1, 10000]);
        let dir = tempfile::tempdir().unwrap();
        let group = V2Group { path: dir.path().into() };
        for (of_groups, want) in [(true, "39"), (false, "100")] {
            group.limit(&Limits { cpu_shares: 1024, of_groups, ..Limits::default() }).unwrap();
            assert_eq!(read(&dir.path().join("cpu.weight")).unwrap(), want, "of groups: {of_groups}");
        }
    }
}
