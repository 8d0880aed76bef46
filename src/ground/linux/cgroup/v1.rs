//! cgroup v1: one tree per controller, and on hybrid machines a v2 tree that has none but can kill.

use super::backend::{Backend, CONTROLLERS, Entry, Group, Lack, Limits, Missing, PATIENCE, Shared};
use super::cluster_limits;
use super::devices::HARMLESS;
use super::files::{
    KILL_MAX, PERIOD, UNLIMITED, by_crate, clear_all, field, has_swap, kill_all, kill_listed, limit_swap,
    make, must_be, must_be_memory, number, open_place, quota, read, remove_free, remove_tree, write,
};
use crate::usage::Usage;
use crate::{Context, Error, Result};
use cgroups_rs::MaxValue;
use cgroups_rs::cpu::CpuController;
use cgroups_rs::memory::MemController;
use cgroups_rs::pid::PidController;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

const MEMORY: &str = "memory.limit_in_bytes";
/// The limit of memory and swap together.
const MEMORY_AND_SWAP: &str = "memory.memsw.limit_in_bytes";

pub(super) struct V1 {
    /// The cluster's group in each controller's tree.
    controllers: BTreeMap<String, PathBuf>,
    unified: Option<PathBuf>,
}

impl V1 {
    /// Errors: no controller has a tree in which this process may make groups.
    pub(super) fn open(controllers: &[(String, PathBuf)], unified: Option<&Path>, name: &str) -> Result<V1> {
        let mut refused = None;
        let mut made = BTreeMap::new();
        for (controller, base) in controllers {
            let group = base.join(name);
            match make_anew(&group) {
                Ok(()) => {
                    match controller.as_str() {
                        "memory" => cluster_limits::limit_memory_v1(base, &group),
                        "pids" => cluster_limits::limit_pids(&group),
                        _ => {}
                    }
                    made.insert(controller.clone(), group);
                }
                Err(e) => refused = Some(e),
            }
        }
        // In a container of another runtime the tree may be writable and the rules not.
        if let Some(group) = made.get("devices").cloned() {
            let trial = group.join("trial");
            let works = fs::create_dir_all(&trial).is_ok() && allow_harmless_devices(&trial).is_ok();
            let _ = fs::remove_dir(&trial);
            if !works {
                give_up(&mut made, "devices");
            }
        }
        if made.is_empty() {
            return Err(
                refused.unwrap_or_else(|| Error::new("no cgroup controller", io::ErrorKind::NotFound))
            );
        }
        let unified = unified.map(|base| base.join(name)).filter(|group| make_anew(group).is_ok());
        Ok(V1 { controllers: made, unified })
    }

    fn trees(&self) -> impl Iterator<Item = &PathBuf> {
        self.unified.iter().chain(self.controllers.values())
    }
}

/// Leaves a controller out, and removes its group, unless another controller shares the tree.
fn give_up(made: &mut BTreeMap<String, PathBuf>, controller: &str) {
    if let Some(group) = made.remove(controller)
        && !made.values().any(|other| *other == group)
    {
        remove_tree(&group, Instant::now());
    }
}

/// Makes the cluster's group; what a killed supervisor left of it goes first. Two controllers may
/// share a tree.
fn make_anew(group: &Path) -> Result<()> {
    if group.is_dir() && fs::read_dir(group).into_iter().flatten().flatten().any(|e| e.path().is_dir()) {
        clear_all(&[group.to_path_buf()], Instant::now() + PATIENCE);
    }
    fs::create_dir_all(group).during(|| format!("cannot make the cgroup {}", group.display()))
}

impl Backend for V1 {
    fn describe(&self) -> String {
        let names: Vec<&str> = self.controllers.keys().map(String::as_str).collect();
        format!("v1 ({})", names.join(", "))
    }

    fn lacks(&self) -> Option<Lack> {
        let missing = |name: &&str| !self.controllers.contains_key(*name);
        let missing: Vec<&'static str> = CONTROLLERS.into_iter().filter(missing).collect();
        let why = format!("no cgroup v1 tree for {} is writable", missing.join(", "));
        (!missing.is_empty()).then_some(Lack { missing: Missing::Trees(missing), why })
    }

    fn controls_devices(&self) -> bool {
        self.controllers.contains_key("devices")
    }

    fn controls_swap(&self) -> bool {
        let counted = |group: &PathBuf| group.join(MEMORY_AND_SWAP).exists();
        // Without the memory controller nothing is limited, as `lacks` says.
        self.controllers.get("memory").is_none_or(counted) || !has_swap()
    }

    fn kills(&self) -> bool {
        true
    }

    fn memory(&self) -> Option<Shared> {
        let group = self.controllers.get("memory")?;
        Some(Shared { limit: number(&group.join(MEMORY))?, working_set: working_set(group)? })
    }

    fn create(&self, id: &str, limits: &Limits) -> Result<Arc<dyn Group>> {
        let group = V1Group {
            controllers: self.controllers.iter().map(|(name, path)| (name.clone(), path.join(id))).collect(),
            unified: self.unified.as_ref().map(|path| path.join(id)),
        };
        let made = group.trees().try_for_each(|path| make(path));
        if let Err(e) = made.and_then(|()| group.limit(limits)) {
            let _ = group.remove(); // the first error is returned
            return Err(e);
        }
        Ok(Arc::new(group))
    }

    fn destroy(&self) {
        if let Some(unified) = &self.unified {
            let _ = write(&unified.join("cgroup.kill"), "1");
        }
        let until = Instant::now() + PATIENCE;
        let left: Vec<PathBuf> =
            self.trees().filter(|tree| !remove_tree(tree, Instant::now())).cloned().collect();
        clear_all(&left, until);
    }
}

struct V1Group {
    controllers: BTreeMap<String, PathBuf>,
    unified: Option<PathBuf>,
}

impl V1Group {
    fn trees(&self) -> impl Iterator<Item = &PathBuf> {
        self.unified.iter().chain(self.controllers.values())
    }

    /// Writes the limits with cgroups-rs and reads them back without it. A limit whose controller
    /// this machine does not have is left out, as `lacks` says.
    fn limit(&self, limits: &Limits) -> Result<()> {
        if let Some(path) = self.controllers.get("memory")
            && let Some(bytes) = limits.memory.map(|bytes| bytes.min(UNLIMITED))
        {
            let memory = MemController::new(path.clone(), false);
            by_crate(memory.set_limit(bytes as i64), &path.join(MEMORY))?;
            must_be_memory(&path.join(MEMORY), &bytes.to_string())?;
            limit_swap(&path.join(MEMORY_AND_SWAP), &bytes.to_string())?;
        }
        if let Some(path) = self.controllers.get("cpu") {
            let cpu = CpuController::new(path.clone(), false);
            if limits.cpu_shares > 0 {
                let shares = limits.cpu_shares.clamp(2, 262_144);
                by_crate(cpu.set_shares(shares), &path.join("cpu.shares"))?;
                must_be(&path.join("cpu.shares"), &shares.to_string())?;
            }
            if let Some(milli) = limits.cpu_milli {
                let quota = quota(milli);
                by_crate(cpu.set_cfs_period(PERIOD), &path.join("cpu.cfs_period_us"))?;
                by_crate(cpu.set_cfs_quota(quota as i64), &path.join("cpu.cfs_quota_us"))?;
                must_be(&path.join("cpu.cfs_quota_us"), &quota.to_string())?;
            }
        }
        if let Some(path) = self.controllers.get("devices")
            && limits.harmless_devices
        {
            allow_harmless_devices(path)?;
        }
        if let Some(path) = self.controllers.get("pids")
            && let Some(count) = limits.pids
        {
            let pids = PidController::new(path.clone(), false);
            by_crate(pids.set_pid_max(MaxValue::Value(count as i64)), &path.join("pids.max"))?;
            must_be(&path.join("pids.max"), &count.to_string())?;
        }
        Ok(())
    }
}

/// Returns how many bytes a group and those in it use, also those in it that are gone: what they
/// left in a volume in memory.
fn working_set(group: &Path) -> Option<u64> {
    let used = number(&group.join("memory.usage_in_bytes"))?;
    let inactive = field(&group.join("memory.stat"), "total_inactive_file").unwrap_or(0);
    Some(used.saturating_sub(inactive))
}

/// Writes the rules of [`HARMLESS`] and reads them back.
fn allow_harmless_devices(group: &Path) -> Result<()> {
    write(&group.join("devices.deny"), "a")?;
    for rule in HARMLESS {
        write(&group.join("devices.allow"), &rule.to_string())?;
    }
    let list = read(&group.join("devices.list"))?;
    if list.lines().count() == HARMLESS.len() && !list.lines().any(|rule| rule.starts_with('a')) {
        return Ok(());
    }
    let text = format!("{}/devices.list is {list:?}", group.display());
    Err(Error::new(text, io::ErrorKind::InvalidData))
}

impl Group for V1Group {
    fn entry(&self) -> Result<Entry> {
        let directory = match &self.unified {
            Some(path) => Some(open_place(path)?),
            None => None,
        };
        let mut tasks: Vec<PathBuf> = self.controllers.values().map(|path| path.join("tasks")).collect();
        tasks.dedup(); // controllers that share a tree
        Ok(Entry { directory, tasks })
    }

    fn usage(&self) -> Option<Usage> {
        let cpu = self.controllers.get("cpuacct").and_then(|path| number(&path.join("cpuacct.usage")))?;
        let working_set = working_set(self.controllers.get("memory")?)?;
        Some(Usage { cpu: Duration::from_nanos(cpu), working_set })
    }

    fn oom_kills(&self) -> u64 {
        let memory = self.controllers.get("memory");
        memory.and_then(|path| field(&path.join("memory.oom_control"), "oom_kill")).unwrap_or(0)
    }

    fn kill(&self) -> Result<()> {
        match &self.unified {
            Some(path) => kill_all(path),
            None => {
                let until = Instant::now() + KILL_MAX;
                self.controllers.values().for_each(|path| kill_listed(path, until));
                Ok(())
            }
        }
    }

    fn remove(&self) -> Result<()> {
        // All of them, also after one that is not free.
        self.trees().map(|tree| remove_free(tree)).fold(Ok(()), Result::and)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Old machines mount all controllers as one tree.
    #[test]
    fn a_controller_that_is_left_out_takes_no_group_from_another_one() {
        let dir = tempfile::tempdir().unwrap();
        let group = dir.path().join("ropewalk-x");
        fs::create_dir(&group).unwrap();
        let mut made: BTreeMap<String, PathBuf> =
            ["devices", "memory"].map(|name| (name.to_string(), group.clone())).into();
        give_up(&mut made, "devices");
        assert!(group.is_dir() && made.keys().eq(["memory"]), "{made:?}");
        give_up(&mut made, "memory");
        assert!(!group.exists() && made.is_empty());
    }

    /// A container of another runtime may write some trees and not others.
    #[test]
    fn a_controller_without_a_writable_tree_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (memory, cpu) = (dir.path().join("memory"), dir.path().join("cpu"));
        fs::create_dir(&memory).unwrap();
        fs::write(&cpu, "no group can be made here").unwrap();
        let trees = [("memory", &memory), ("cpu", &cpu)].map(|(name, base)| (name.to_string(), base.clone()));
        let opened = V1::open(&trees, None, "ropewalk-x").unwrap();
        let why = "no cgroup v1 tree for pids, cpu is writable".to_string();
        assert_eq!(opened.lacks(), Some(Lack { missing: Missing::Trees(vec!["pids", "cpu"]), why }));
        assert!(memory.join("ropewalk-x").is_dir());
        assert!(V1::open(&trees[1..], None, "ropewalk-x").is_err());
    }

    /// As a cgroup, as far as writing and reading go.
    #[test]
    fn a_limit_beyond_what_the_kernel_counts_is_the_largest_one() {
        let dir = tempfile::tempdir().unwrap();
        let controllers = ["memory", "cpu"].map(|name| (name.to_string(), dir.path().to_path_buf()));
        for name in [MEMORY, "cpu.cfs_period_us", "cpu.cfs_quota_us"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let group = V1Group { controllers: controllers.into_iter().collect(), unified: None };
        // 8Ei is the first number that a signed one does not hold.
        let limits = Limits { memory: Some(1 << 63), cpu_milli: Some(u64::MAX), ..Limits::default() };
        group.limit(&limits).unwrap();
        let have = |name: &str| number(&dir.path().join(name));
        assert_eq!([have(MEMORY), have("cpu.cfs_quota_us")], [Some(UNLIMITED), Some((1 << 44) - 1)]);
    }
}
