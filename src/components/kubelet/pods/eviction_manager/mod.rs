//! The eviction manager: watches the node's memory and disk and evicts pods when one of them is
//! low. It does what [`pressure`] and [`crate::rounds`] decide.

use super::decided_failures::{DecidedFailure, Ending};
use super::kubelet::Kubelet;
use crate::lasting_files::{self, Since};
use crate::pressure::{self, Free, Low, Pressure, Resource, Signals, Usage};
use crate::rounds::{Plan, Round, Rounds};
use crate::status::{Failure, PREEMPTING};
use crate::walk::{self, Allowance, Amount};
use crate::{local_storage, mirror, volumes};
use client::Key;
use cri::{ContainerState, SandboxState};
use k8s_openapi::api::core::v1::{ObjectReference, Pod, PodSpec};
use linux::beneath::{Kind, Root, path_of};
use linux::{self, Context};
use nix::sys::stat::fstat;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A condition is over when nothing of it was low for this time: upstream's
/// `evictionPressureTransitionPeriod`.
const TRANSITION: Duration = Duration::from_secs(300);
/// While one pod is being evicted, no other is, for this time at most.
const ONE_BY_ONE: Duration = Duration::from_secs(30);
/// The pause before the manager asks again for the room on the disk, after an error: upstream's
/// `evictionMonitoringPeriod`.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How long the API may take to say which volume a claim has: the store may wait for room on the
/// same disk.
const LOOK_UP: Duration = Duration::from_millis(300);

/// One condition as Events and the Node's status have announced it.
#[derive(Default)]
struct Announced {
    /// When the node was found low last.
    low_at: Option<clock::Instant>,
    /// The resource that an Event said is low.
    resource: Option<Resource>,
    /// An Event said that evictions cannot help.
    is_futile: bool,
}

/// Sizes of directories of the node's file system, by device and inode: pods share volumes, and
/// write their paths in different ways. Only of those that were counted to the end: that one pod
/// has no time left says nothing about what another one finds.
type Mounted = Arc<Mutex<HashMap<(u64, u64), Amount>>>;

/// A pod of the node that is to be measured, with the directories that are its.
struct ToMeasure {
    usage: Usage,
    pod: Arc<Pod>,
    pod_dir: PathBuf,
    log_dir: PathBuf,
    /// Paths of the node's file system that it mounts and may write to.
    of_node: Vec<String>,
}

/// The eviction manager of one node.
pub(crate) struct EvictionManager {
    kubelet: Arc<Kubelet>,
    rounds: Rounds,
    /// By pressure.
    announced: [Announced; 2],
}

impl EvictionManager {
    pub(crate) fn new(kubelet: Arc<Kubelet>) -> EvictionManager {
        let announced = Pressure::ALL.map(|_| Announced::default());
        EvictionManager { kubelet, rounds: Rounds::default(), announced }
    }

    /// Looks at memory and disk as often as their room asks for, as long as the kubelet lives.
    pub(super) async fn watch(mut self) {
        let kubelet = self.kubelet.clone();
        let dir = kubelet.config.dir.clone();
        let (mut round, mut evicted) = (None, false);
        loop {
            let pause = match free(&dir) {
                Ok(disk) => {
                    let now = Signals { disk, memory: kubelet.config.machine.memory() };
                    let (plan, victim) = self.react(&now).await;
                    evicted |= victim.is_some();
                    if plan.walk {
                        let is_low = plan.low.iter().any(|low| low.resource.pressure() == Pressure::Disk);
                        let since = match (std::mem::take(&mut evicted), is_low) {
                            (true, _) => Since::Now,
                            (false, true) => Since::Before,
                            (false, false) => Since::Last,
                        };
                        round = Some(Box::pin(kubelet.walk(disk.now.bytes, since)));
                    }
                    plan.pause
                }
                Err(error) => {
                    tracing::warn!(%error, dir = %dir.display(), "no pod is evicted for memory or disk: the disk cannot be looked at; trying again in 10 seconds");
                    LOOK_AGAIN
                }
            };
            walk_on(pause, &mut round, &mut self.rounds).await;
        }
    }

    /// Decides what the signals ask for and does it, but for the round of walks: sets the
    /// conditions, and evicts a pod. Returns the decision, and the uid of the pod.
    pub(crate) async fn react(&mut self, now: &Signals) -> (Plan, Option<String>) {
        let kubelet = self.kubelet.clone();
        let (machine, node) = (&kubelet.config.machine, &kubelet.config.node_name);
        let thresholds = machine.thresholds(now);
        let shared = pressure::low(now, thresholds, 0);
        for pressure in Pressure::ALL {
            let low = shared.iter().any(|low| low.resource.pressure() == pressure);
            machine.looked(pressure, node, low, Instant::now());
        }
        let plan = self.rounds.look(now, thresholds, kubelet.is_evicting(), Instant::now());
        for (pressure, announced) in Pressure::ALL.into_iter().zip(&mut self.announced) {
            let low = plan.low.iter().find(|low| low.resource.pressure() == pressure);
            kubelet.announce_pressure(pressure, low, announced);
        }
        let victim = match &plan.evict {
            Some(low) => {
                kubelet.evict_worst(low, &mut self.announced[low.resource.pressure() as usize]).await
            }
            None => None,
        };
        (plan, victim)
    }
}

impl Kubelet {
    pub(super) fn about_node(&self) -> ObjectReference {
        self.config.about_node()
    }

    /// Sets a condition at once, and clears it when nothing of it was low for [`TRANSITION`].
    fn announce_pressure(&self, pressure: Pressure, low: Option<&Low>, announced: &mut Announced) {
        let Some(low) = low else {
            (announced.resource, announced.is_futile) = (None, false);
            if announced.low_at.is_none_or(|at| clock::passed(at, clock::Instant::now()) >= TRANSITION) {
                self.set_pressure(pressure, false);
            }
            return;
        };
        announced.low_at = Some(clock::Instant::now());
        self.set_pressure(pressure, true);
        if announced.resource.replace(low.resource) != Some(low.resource) {
            let message = format!("Attempting to reclaim {}", low.resource.name());
            self.recorder.warning(&self.about_node(), "EvictionThresholdMet", message, None);
        }
    }

    fn set_pressure(&self, pressure: Pressure, low: bool) {
        let mut changed = false;
        self.pressures.send_if_modified(|now| {
            let before = *now;
            now.set(pressure, low);
            now.kept = if now.disk { self.measured.kept() } else { 0 };
            changed = before.has(pressure) != low;
            before != *now
        });
        if changed {
            let reason = pressure.reason(low);
            let message = format!("Node {} status is now: {reason}", self.config.node_name);
            self.recorder.normal(&self.about_node(), reason, message, None);
        }
    }

    /// Measures all pods of the node, and what they wrote to the node's own file system. What is
    /// found of a pod can be used at once. Each pod has a time of its own; those that used theirs
    /// up in the last round come last, so that the others are known first. `since`: what counts as
    /// written to the node.
    async fn walk(&self, free: u64, since: Since) -> Round {
        let (begun, measured_from) = (Instant::now(), clock::Instant::now());
        let host = self.config.node_root();
        let place = host.clone();
        let on_node = walk::in_turn(move || walk::at_least(&place, Instant::now() + walk::POD_TIME)).await;
        let (mut used, node_grew) = match walk_result(on_node) {
            Some(found) => {
                let mut node = self.measured.node();
                node.0 = found;
                (found.bytes, node.1.note(found, since).unwrap_or_default())
            }
            None => Default::default(),
        };
        let pods = self.pods.list().into_iter().map(|pod| (Key::of(&*pod), pod));
        let pods: Vec<_> =
            pods.filter(|(key, pod)| !self.statics.contains_key(key) && !mirror::is_one(pod)).collect();
        let uids: HashSet<String> = pods.iter().filter_map(|(_, pod)| pod.metadata.uid.clone()).collect();
        self.measured.lock().retain(|uid, _| uids.contains(uid));
        let pods = pods.into_iter().map(|(key, pod)| self.to_measure(key, pod));
        let mut pods = futures::future::join_all(pods).await;
        pods.sort_by_cached_key(|one| self.measured.was_cut(&one.usage.uid));
        let mounted = Mounted::default();
        for mut one in pods {
            let (uid, mut time) = (one.usage.uid.clone(), Allowance::default());
            let own = self.measure(&uid, &one.pod_dir, &one.log_dir, measured_from, &mut time).await;
            let Some(own) = own else { continue };
            used = used.saturating_add(own.total().bytes);
            if !pressure::evictable(&one.pod) {
                continue;
            }
            for container in &mut one.usage.containers {
                container.logs = own.logs.get(&container.name).map_or(0, |logs| logs.bytes);
            }
            one.usage.disk = own.total();
            for path in one.of_node {
                let (host, mounted) = (host.clone(), mounted.clone());
                let walked = time.walk(move |until| of_node(&host, Path::new(&path), &mounted, until));
                let amount = walk_result(walked.await).unwrap_or_default();
                one.usage.kept = one.usage.kept.plus(amount);
            }
            let mut measured = self.measured.lock();
            let figures = measured.entry(uid).or_default();
            let grew = figures.growth.note(one.usage.kept, since);
            one.usage.wrote = lasting_files::wrote(one.usage.kept, grew, node_grew);
            figures.usage = Some(one.usage);
        }
        Round { begun, ended: Instant::now(), free, used }
    }

    /// Returns what a pod uses of the disk, measured since this moment, or before if it cannot be
    /// measured now. `None`: it was never measured.
    pub(super) async fn measure(
        &self,
        uid: &str,
        pod_dir: &Path,
        log_dir: &Path,
        since: clock::Instant,
        time: &mut Allowance,
    ) -> Option<Arc<local_storage::Use>> {
        if let Some(known) = self.measured.own(uid, since) {
            return Some(known);
        }
        let (pod_dir, log_dir) = (pod_dir.to_path_buf(), log_dir.to_path_buf());
        let walked = time.walk(move |until| {
            let at = clock::Instant::now();
            local_storage::measure(&pod_dir, &log_dir, until).map(|own| (at, Arc::new(own)))
        });
        let Some((at, own)) = walk_result(walked.await) else { return self.measured.last(uid) };
        self.measured.lock().entry(uid.into()).or_default().own = Some((at, own.clone()));
        Some(own)
    }

    /// Returns a pod with the directories to measure. For its claims the API is asked.
    async fn to_measure(&self, key: Key, pod: Arc<Pod>) -> ToMeasure {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        ToMeasure {
            pod_dir: self.pod_dir(&uid),
            log_dir: self.log_dir(&key.namespace, &key.name, &uid),
            of_node: self.written_to(&key, &pod).await,
            usage: Usage::of_pod(key, &pod),
            pod,
        }
    }

    /// Lists the paths of the node's file system that a pod may write to.
    async fn written_to(&self, key: &Key, pod: &Pod) -> Vec<String> {
        let Some(spec) = &pod.spec else { return vec![] };
        let writable = written_volumes(spec);
        let all = spec.volumes.iter().flatten().filter(|v| writable.contains(v.name.as_str()));
        let paths = all.map(async |volume| {
            if let Some(source) = &volume.host_path {
                return Some(source.path.clone());
            }
            let claim = volume.persistent_volume_claim.as_ref().filter(|c| c.read_only != Some(true))?;
            let path = volumes::claimed(&self.config.client, &key.namespace, &claim.claim_name);
            Some(tokio::time::timeout(LOOK_UP, path).await.ok()?.ok()?.path)
        });
        futures::future::join_all(paths).await.into_iter().flatten().collect()
    }

    /// Returns whether a pod is being evicted whose processes and volumes are not gone yet, and
    /// that takes no longer than it may. One that goes for a critical pod may have a long grace
    /// period.
    fn is_evicting(&self) -> bool {
        #[cfg(test)]
        if crate::simulated::has_bug(crate::simulated::EvictionBug::Doubled) {
            return false;
        }
        let is_open = |d: &DecidedFailure| {
            d.ending != Ending::Over && d.failure.reason != PREEMPTING && d.since.elapsed() < ONE_BY_ONE
        };
        self.decided_failures().values().any(is_open)
    }

    /// Evicts one pod, unless another node has a larger one. Its processes and volumes end in the
    /// background: the machine is asked meanwhile. Returns the uid of the pod.
    async fn evict_worst(self: &Arc<Self>, low: &Low, announced: &mut Announced) -> Option<String> {
        let pods = match low.resource {
            Resource::Memory => self.weigh().await,
            Resource::Storage | Resource::Inodes => {
                self.measured.lock().values().filter_map(|f| f.usage.clone()).collect()
            }
        };
        // A pod may have ended, or have been replaced, since it was measured; one that is ending
        // gives back what it has.
        let failing = self.failing_pods();
        let goes = |usage: &Usage| {
            let pod = self.pods.get(&usage.key).filter(|p| p.metadata.uid.as_ref() == Some(&usage.uid));
            pod.is_some_and(|pod| pressure::evictable(&pod)) && !failing.contains(&usage.uid)
        };
        let pods: Vec<Usage> = pods.into_iter().filter(goes).collect();
        let victim = pressure::victim(&pods, low);
        if pressure::is_futile(&pods, low)
            && self.measured.kept() > 0
            && !std::mem::replace(&mut announced.is_futile, true)
        {
            let message = lasting_files::message(self.measured.kept(), &self.config.node_root());
            self.recorder.warning(&self.about_node(), "FreeDiskSpaceFailed", message, None);
        }
        let worst = victim.map_or(0, |v| v.has(low.resource));
        let (machine, node, now) = (&self.config.machine, &self.config.node_name, Instant::now());
        let here = !low.shared || machine.is_worst(low.resource.pressure(), node, worst, now);
        let mut victim = victim.filter(|_| here).cloned()?;
        if low.resource == Resource::Memory {
            self.weigh_containers(&mut victim).await;
        }
        tracing::warn!(pod = %victim.key, resource = low.resource.name(), "evicting a pod: the node is low on it");
        self.decide_failure(&victim.key, &victim.uid, Failure::evicted(pressure::message(&victim, low)));
        self.end_now(&victim.key, &victim.uid);
        self.queue.add(victim.key, None);
        Some(victim.uid)
    }

    /// Returns what the pods of the node have of its memory now. Those of which the runtime has no
    /// figures are left out.
    async fn weigh(&self) -> Vec<Usage> {
        let runtime = &*self.config.runtime;
        let used = runtime.list_pod_sandbox_stats().await.unwrap_or_default(); // at one moment for all
        let mut all = Vec::new();
        for sandbox in runtime.list_pod_sandboxes().await.unwrap_or_default() {
            let key = Key::new(sandbox.pod.namespace, sandbox.pod.name);
            let pod = self.pods.get(&key).filter(|p| p.metadata.uid.as_ref() == Some(&sandbox.pod.uid));
            let own = |pod: &Arc<Pod>| !self.statics.contains_key(&key) && !mirror::is_one(pod);
            let ready = sandbox.state == SandboxState::Ready;
            let Some(pod) = pod.filter(|pod| ready && own(pod)) else { continue };
            let Some(stats) = used.get(&sandbox.id) else { continue };
            let mut usage = Usage::of_pod(key, &pod);
            usage.memory = stats.memory_working_set;
            all.push(usage);
        }
        all
    }

    /// Notes what each container of a pod has of the node's memory now, for the message of its
    /// eviction.
    async fn weigh_containers(&self, pod: &mut Usage) {
        let (_, found) = self.in_runtime(&pod.key, &pod.uid).await.unwrap_or_default();
        let used = self.config.runtime.list_container_stats().await.unwrap_or_default();
        for one in found.iter().filter(|c| c.state == ContainerState::Running) {
            let stats = used.get(&one.id).copied().unwrap_or_default(); // it may have ended
            if let Some(container) = pod.containers.iter_mut().find(|c| c.name == one.name) {
                container.memory = stats.memory_working_set;
            }
        }
    }
}

/// Waits for a pause, or for the end of the round that goes on, if that comes first. A round that
/// was left alone for so long could keep its turn from the walks of all nodes.
async fn walk_on<F>(pause: Duration, round: &mut Option<F>, rounds: &mut Rounds)
where
    F: Future<Output = Round> + Unpin,
{
    // Real time: a disk does not fill faster when the cluster's clock does.
    let Some(going) = round else { return clock::pause(pause).await };
    if let Ok(over) = tokio::time::timeout(pause, going).await {
        *round = None;
        rounds.walked(over);
    }
}

/// Asks the file system of the node's directory, and makes the directory if it is missing.
///
/// # Errors
/// The directory cannot be made, or its file system does not answer.
fn free(dir: &Path) -> std::io::Result<Free> {
    pressure::free(dir).or_else(|_| {
        std::fs::create_dir_all(dir)?;
        pressure::free(dir)
    })
}

/// Lists the names of the volumes that some container of the pod, of whatever kind, may write to.
fn written_volumes(spec: &PodSpec) -> BTreeSet<&str> {
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|c| &c.volume_mounts);
    let all = spec.init_containers.iter().flatten().chain(&spec.containers).map(|c| &c.volume_mounts);
    let mounts = all.chain(ephemeral).flat_map(|mounts| mounts.iter().flatten());
    mounts.filter(|m| m.read_only != Some(true)).map(|m| m.name.as_str()).collect()
}

/// Returns what a path of the node's file system takes of the disk: a file, or all that is below a
/// directory.
fn of_node(host: &Path, path: &Path, mounted: &Mounted, until: Instant) -> linux::Result<Amount> {
    let Ok(place) = Root::open(host).and_then(|root| root.open_in_root(path, Kind::Place)) else {
        return Ok(Amount::default()); // it is not there
    };
    let found = fstat(&place).during(|| "cannot look at a volume".into())?;
    if found.st_mode & nix::libc::S_IFMT != nix::libc::S_IFDIR {
        return Ok(Amount { bytes: (found.st_blocks.max(0) as u64).saturating_mul(512), files: 1 });
    }
    let id = (found.st_dev, found.st_ino);
    let lock = || mounted.lock();
    if let Some(known) = lock().get(&id) {
        return Ok(*known);
    }
    let amount = walk::amount(&path_of(place.as_fd()), until)?;
    if amount != Amount::BEYOND {
        lock().insert(id, amount);
    }
    Ok(amount)
}

/// Returns what a walk found. `None`: it panicked, or this process lacks descriptors or memory now.
fn walk_result<T>(walked: Option<linux::Result<T>>) -> Option<T> {
    let error = match walked? {
        Ok(found) => return Some(found),
        Err(error) => error,
    };
    tracing::warn!(error = error.line(), "the use of the disk is not known");
    None
}

#[cfg(test)]
mod tests;
