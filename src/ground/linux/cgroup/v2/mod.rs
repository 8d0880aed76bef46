//! cgroup v2: one tree. A group either holds processes or gives controllers to groups below it,
//! never both.

use super::backend::{Backend, CONTROLLERS, Entry, Group, Lack, Limits, Missing, PATIENCE, Shared};
use super::delegation::{self, Movable, Room};
use super::files::{
    PERIOD, UNLIMITED, by_crate, clear_all, field, has_swap, kill_all, limit_swap, make, must_be,
    must_be_memory, number, open_place, quota, read, remove_free, remove_tree, write,
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
    /// The controllers that its groups have.
    given: Vec<&'static str>,
    /// Why these are not all that it needs.
    lack: Option<Lack>,
}

impl V2 {
    /// Makes the cluster's group with all controllers that it needs, or where no base has all of
    /// them with those that a base has: systemd before 252 delegates `memory pids` to users.
    ///
    /// # Errors
    /// As [`V2::open_with`] for all controllers: no base has one of them, or none is writable.
    pub(super) fn open(bases: &[PathBuf], name: &str, remember: Option<&Path>) -> Result<V2> {
        let why = match V2::open_with(&CONTROLLERS, bases, name, remember) {
            Err(why) => why,
            opened => return opened,
        };
        let Some(missing) = delegation::not_given(&why) else { return Err(why) };
        let (missing, given): (Vec<&'static str>, Vec<&'static str>) =
            CONTROLLERS.into_iter().partition(|name| missing.iter().any(|other| other == name));
        if given.is_empty() {
            return Err(why);
        }
        match V2::open_with(&given, bases, name, remember) {
            Ok(opened) => {
                let lack = Lack { missing: lacking(bases, missing), why: why.line() };
                Ok(V2 { lack: Some(lack), ..opened })
            }
            Err(_) => Err(why),
        }
    }

    /// Makes the cluster's group in the nearest base that gives controllers to its children. If
    /// none does, in the nearest one that does once processes are moved out of the way.
    ///
    /// # Errors
    /// No base does, or none is writable. The reason is that of a base which is this user's and
    /// lacks controllers: the one that lacks the fewest, and of several the nearest. Else it is the
    /// last one's.
    fn open_with(
        wanted: &[&'static str],
        bases: &[PathBuf],
        name: &str,
        remember: Option<&Path>,
    ) -> Result<V2> {
        let open_in = |base: &Path, movable: Option<&Movable>| {
            V2::open_in(Room::of(base, wanted)?, wanted, name, remember, movable)
        };
        let mut why = Error::new("no cgroup of ours", io::ErrorKind::NotFound);
        let (mut busy, mut lacking) = (Vec::new(), None::<Error>);
        let lacks = |e: &Error| delegation::not_given(e).map(<[String]>::len);
        for base in bases {
            match open_in(base, None) {
                Ok(backend) => return Ok(backend),
                Err(e) if lacks(&e).is_some() => {
                    if lacking.as_ref().is_none_or(|before| lacks(&e) < lacks(before)) {
                        lacking = Some(e);
                    }
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
        wanted: &[&'static str],
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
            given: wanted.to_vec(),
            lack: None,
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

/// Returns what is missing. A controller that the outermost base has can be delegated to the base
/// in use; if that one lacks memory, no group of the tree has it.
fn lacking(bases: &[PathBuf], controllers: Vec<&'static str>) -> Missing {
    let outermost = bases.last().and_then(|base| read(&base.join("cgroup.controllers")).ok());
    let has_memory = outermost.is_none_or(|names| names.split_whitespace().any(|name| name == "memory"));
    match has_memory || !controllers.contains(&"memory") {
        true => Missing::Delegation(controllers),
        false => Missing::MemoryController(controllers),
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
    if wanted.contains(&"memory") {
        cluster_limits::limit_memory_v2(group);
        cluster_limits::limit_swap_v2(group);
    }
    if wanted.contains(&"pids") {
        cluster_limits::limit_pids(group);
    }
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
        match self.lack {
            None => "v2".into(),
            Some(_) => format!("v2 ({})", self.given.join(", ")),
        }
    }

    fn lacks(&self) -> Option<Lack> {
        self.lack.clone()
    }

    fn controls_devices(&self) -> bool {
        self.devices.is_some()
    }

    fn controls_swap(&self) -> bool {
        // Without the memory controller nothing is limited, as `lacks` says.
        !self.given.contains(&"memory") || self.group.join(SWAP).exists() || !has_swap()
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
        let group = V2Group { path, given: self.given.clone() };
        let devices = self.devices.as_ref().filter(|_| limits.harmless_devices);
        let restrict = |program: &OwnedFd| devices::attach(program.as_fd(), open_place(&group.path)?.as_fd());
        let limited = group.limit(limits).and_then(|()| devices.map_or(Ok(()), restrict));
        if let Err(e) = limited {
            let _ = group.remove(); // the first error is returned
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
    /// The controllers that it has.
    given: Vec<&'static str>,
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
    /// Writes the limits and reads them back. A limit whose controller the group does not have is
    /// left out, as `lacks` says.
    fn limit(&self, limits: &Limits) -> Result<()> {
        let file = |name: &str| self.path.join(name);
        let has = |controller: &str| self.given.contains(&controller);
        if let Some(bytes) = limits.memory.filter(|_| has("memory")) {
            let value = if bytes >= UNLIMITED { "max".to_string() } else { bytes.to_string() };
            write(&file("memory.max"), &value)?;
            must_be_memory(&file("memory.max"), &value)?;
            limit_swap(&file(SWAP), "0")?;
        }
        if has("memory") && !limits.of_groups {
            // A container ends as a whole, also where only its pod or the machine has a limit. A
            // pod does not: its other containers and the pause process live on.
            let _ = write(&file("memory.oom.group"), "1");
        }
        if has("cpu") && limits.cpu_shares > 0 {
            let weight = match limits.of_groups {
                true => pod_weight(limits.cpu_shares),
                false => container_weight(limits.cpu_shares),
            };
            let weight = weight.to_string();
            write(&file("cpu.weight"), &weight)?;
            must_be(&file("cpu.weight"), &weight)?;
        }
        if let Some(milli) = limits.cpu_milli.filter(|_| has("cpu")) {
            let max = format!("{} {PERIOD}", quota(milli));
            write(&file("cpu.max"), &max)?;
            must_be(&file("cpu.max"), &max)?;
        }
        if let Some(count) = limits.pids.filter(|_| has("pids")) {
            let pids = PidController::new(self.path.clone(), true);
            by_crate(pids.set_pid_max(MaxValue::Value(count as i64)), &file("pids.max"))?;
            must_be(&file("pids.max"), &count.to_string())?;
        }
        if limits.of_groups {
            give_all(&self.path, &self.given)?;
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
mod tests;
