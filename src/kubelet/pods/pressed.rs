//! Watches the disk and evicts pods when it is low: the edge of [`pressure`].

use super::Kubelet;
use crate::client::Key;
use crate::clock;
use crate::cri::ContainerState;
use crate::kubelet::pressure::{self, Free, Low, Thresholds, Usage};
use crate::kubelet::status::Failure;
use crate::kubelet::walk::{self, Amount};
use crate::kubelet::{eviction, volumes};
use crate::linux::beneath::{Kind, Root, path_of};
use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Directories are walked this often although nothing was written: what others remove hides what a pod writes.
const WALK_EVERY: Duration = Duration::from_secs(60);
/// DiskPressure is over when the disk was not low for this time: upstream's `evictionPressureTransitionPeriod`.
const TRANSITION: Duration = Duration::from_secs(300);
/// While one pod is being evicted, no other is, for this time at most.
const ONE_BY_ONE: Duration = Duration::from_secs(30);
/// A claim's volume is asked for this long: the store may wait for room on the same disk.
const LOOK_UP: Duration = Duration::from_millis(300);
/// Under pressure the next look comes after this time: what was evicted has to go first.
const UNDER_PRESSURE: Duration = Duration::from_millis(500);

/// A pod that has to fail, as the disk's watcher has decided.
pub struct Sentence {
    uid: String,
    failure: Failure,
    since: Instant,
}

/// What one walk found.
struct Walk {
    at: Instant,
    took: Duration,
    /// Bytes that the disk had free.
    free: u64,
    /// Bytes that the node uses.
    used: u64,
    pods: Vec<Usage>,
}

/// A pod of the node with the directories that are its.
struct Wanted {
    usage: Usage,
    pod: Arc<Pod>,
    pod_dir: PathBuf,
    log_dir: PathBuf,
    /// Paths of the node's file system that it mounts and may write to.
    of_node: Vec<String>,
}

impl Kubelet {
    /// Looks at the disk as often as its room asks for, as long as the kubelet lives.
    pub(super) async fn watch_disk(self: Arc<Self>) {
        let dir = self.config.dir.clone();
        if let Err(error) = std::fs::create_dir_all(&dir) {
            tracing::warn!(%error, dir = %dir.display(), "the disk is not watched");
            return;
        }
        let (mut walk, mut lasts_from, mut told): (Option<Walk>, Option<clock::Instant>, _) =
            (None, None, "");
        loop {
            let Ok(free) = pressure::free(&dir) else {
                clock::sleep(WALK_EVERY).await;
                continue;
            };
            let thresholds = self.config.disk.thresholds(&free);
            let full = pressure::low(&free, thresholds, 0);
            self.config.disk.looked(&self.config.node_name, full.is_some(), Instant::now());
            if full.is_some() || walk.as_ref().is_none_or(|walk| is_due(walk, &free, thresholds)) {
                walk = Some(self.walk(&free).await);
            }
            let Some(found) = &walk else { continue };
            let mut least = found.took * 2; // walks take no more than a third of the time
            match pressure::low(&free, thresholds, found.used) {
                Some(low) => {
                    least = least.max(UNDER_PRESSURE);
                    lasts_from = Some(clock::Instant::now());
                    self.set_pressure(true);
                    if told != low.resource {
                        told = low.resource;
                        let message = format!("Attempting to reclaim {}", low.resource);
                        self.recorder.warning(&self.about_node(), "EvictionThresholdMet", message, None);
                    }
                    self.evict_worst(found, &low).await;
                }
                None => {
                    told = "";
                    if lasts_from.is_none_or(|at| at.elapsed() >= clock::scaled(TRANSITION)) {
                        self.set_pressure(false);
                    }
                }
            }
            let pause = pressure::pause(&free, thresholds, upper_bound(found, &free)).max(least);
            tokio::time::sleep(pause).await; // real time: a disk does not fill faster when the cluster's clock does
        }
    }

    fn about_node(&self) -> ObjectReference {
        let name = Some(self.config.node_name.clone());
        ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Node".into()),
            uid: name.clone(), // as upstream's kubelet
            name,
            ..ObjectReference::default()
        }
    }

    fn set_pressure(&self, low: bool) {
        let changed = self.pressure.send_if_modified(|now| std::mem::replace(now, low) != low);
        if changed {
            let reason = if low { "NodeHasDiskPressure" } else { "NodeHasNoDiskPressure" };
            let message = format!("Node {} status is now: {reason}", self.config.node_name);
            self.recorder.normal(&self.about_node(), reason, message, None);
        }
    }

    /// Measures all pods of the node, and what they wrote to the node's own file system.
    async fn walk(&self, free: &Free) -> Walk {
        let at = Instant::now();
        let pods = self.pods.list().into_iter().map(|pod| (Key::of(&*pod), pod));
        let pods = pods.filter(|(key, _)| !self.statics.contains_key(key));
        let wanted = futures::future::join_all(pods.map(|(key, pod)| self.wanted(key, pod))).await;
        let host = self.config.dir.join("host");
        let measured = tokio::task::spawn_blocking(move || measure(wanted, &host)).await;
        let (used, pods) = measured.unwrap_or_default();
        Walk { at, took: at.elapsed(), free: free.now.bytes, used, pods }
    }

    async fn wanted(&self, key: Key, pod: Arc<Pod>) -> Wanted {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let containers = pod.spec.iter().flat_map(|s| &s.containers);
        let containers: Vec<_> = containers.map(|c| (c.name.clone(), 0, pressure::request(c))).collect();
        Wanted {
            pod_dir: self.pod_dir(&uid),
            log_dir: self.log_dir(&key.namespace, &key.name, &uid),
            of_node: self.written_to(&key, &pod).await,
            usage: Usage {
                uid,
                key,
                priority: pod.spec.as_ref().and_then(|s| s.priority).unwrap_or(0),
                request: containers.iter().fold(0, |sum: u64, (.., request)| sum.saturating_add(*request)),
                amount: Amount::default(),
                containers,
            },
            pod,
        }
    }

    /// Paths of the node's file system that a pod may write to.
    async fn written_to(&self, key: &Key, pod: &Pod) -> Vec<String> {
        let Some(spec) = &pod.spec else { return vec![] };
        let all = spec.init_containers.iter().flatten().chain(&spec.containers);
        let mounts = all.flat_map(|c| c.volume_mounts.iter().flatten());
        let writable: BTreeSet<&str> =
            mounts.filter(|m| m.read_only != Some(true)).map(|m| m.name.as_str()).collect();
        let all = spec.volumes.iter().flatten().filter(|v| writable.contains(v.name.as_str()));
        let paths = all.map(async |volume| {
            if let Some(source) = &volume.host_path {
                return Some(source.path.clone());
            }
            let claim = volume.persistent_volume_claim.as_ref().filter(|c| c.read_only != Some(true))?;
            let path = volumes::claimed(&self.config.client, &key.namespace, &claim.claim_name);
            tokio::time::timeout(LOOK_UP, path).await.ok()?.ok()
        });
        futures::future::join_all(paths).await.into_iter().flatten().collect()
    }

    /// Evicts one pod, unless another is being evicted, or another node has a larger one.
    async fn evict_worst(&self, found: &Walk, low: &Low) {
        let waits = |s: &Sentence| s.since.elapsed() < ONE_BY_ONE;
        if self.sentences().values().any(waits) {
            return;
        }
        let victim = pressure::victim(&found.pods, low);
        let worst =
            victim.map_or(0, |v| if low.resource == "inodes" { v.amount.files } else { v.amount.bytes });
        let here = !low.of_disk || self.config.disk.is_worst(&self.config.node_name, worst, Instant::now());
        let Some(victim) = victim.filter(|_| here) else { return };
        tracing::warn!(pod = %victim.key, resource = low.resource, "evicting a pod: the disk is low");
        let failure = Failure::evicted(pressure::message(victim, low));
        let sentence = Sentence { uid: victim.uid.clone(), failure, since: Instant::now() };
        self.sentences().insert(victim.key.clone(), sentence);
        self.interrupt_hook(&victim.key);
        if let Err(error) = self.kill(&victim.key, &victim.uid).await {
            tracing::warn!(pod = %victim.key, %error, "cannot end a pod that fills the disk");
        }
        self.queue.add(victim.key.clone(), None);
    }

    fn sentences(&self) -> std::sync::MutexGuard<'_, std::collections::HashMap<Key, Sentence>> {
        self.sentences.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Why a pod has to fail now although it keeps to its own limits.
    pub(super) fn sentence_of(&self, key: &Key, pod: &Pod, uid: &str) -> Option<Failure> {
        if let Some(found) = self.sentences().get(key).filter(|s| s.uid == uid) {
            return Some(found.failure.clone());
        }
        // Upstream's admission: a pod that comes while the disk is low would only make it worse.
        let new = pod.status.as_ref().is_none_or(|s| s.start_time.is_none());
        let refused = new && *self.pressure.borrow() && pressure::evictable(pod);
        refused.then(|| Failure::evicted("The node had condition: [DiskPressure]. ".into()))
    }

    /// A pod has failed, or is gone.
    pub(super) fn forget_sentence(&self, key: &Key, uid: &str) {
        let mut sentences = self.sentences();
        if sentences.get(key).is_some_and(|s| s.uid == uid) {
            sentences.remove(key);
        }
    }

    /// Ends a pod's processes without a grace period and removes its volumes: before the API knows, because the store may wait for the room.
    pub(super) async fn kill(&self, key: &Key, uid: &str) -> Result<(), crate::kubelet::Error> {
        let (_, containers) = self.seen(key, uid).await?;
        let running = containers.iter().filter(|c| c.state == ContainerState::Running);
        let stopped = running.map(|c| self.config.runtime.stop_container(&c.id, Duration::ZERO));
        futures::future::join_all(stopped).await.into_iter().collect::<Result<Vec<()>, _>>()?;
        self.forget_volumes(uid).await
    }
}

/// Whether the node may use more than its share since the last walk, or that was long ago.
fn is_due(walk: &Walk, free: &Free, thresholds: Thresholds) -> bool {
    walk.at.elapsed() >= WALK_EVERY || pressure::low(free, thresholds, upper_bound(walk, free)).is_some()
}

/// What the node uses at most: all that the disk has less is its own.
fn upper_bound(walk: &Walk, free: &Free) -> u64 {
    walk.used.saturating_add(walk.free.saturating_sub(free.now.bytes))
}

/// Bytes that the node uses, and its pods that may be evicted. It reads directories, so it is for a thread that may block.
fn measure(wanted: Vec<Wanted>, host: &std::path::Path) -> (u64, Vec<Usage>) {
    let mut used = walk::at_least(host).bytes;
    let root = Root::open(host).ok();
    let mut pods = Vec::new();
    for mut one in wanted {
        let found = eviction::measure(&one.pod, &one.pod_dir, &one.log_dir);
        // Its volumes of every kind: also what the kubelet writes for a pod takes room.
        let logs = found.logs.values().fold(Amount::default(), |sum, more| sum.plus(*more));
        let own = walk::amount(&one.pod_dir).plus(logs);
        used = used.saturating_add(own.bytes);
        if !pressure::evictable(&one.pod) {
            continue;
        }
        for (name, bytes, _) in &mut one.usage.containers {
            *bytes = found.logs.get(name).map_or(0, |logs| logs.bytes);
        }
        let mounted = one.of_node.iter().filter_map(|path| {
            let place = root.as_ref()?.open_in_root(std::path::Path::new(path), Kind::Directory).ok()?;
            Some(walk::amount(&path_of(place.as_fd())))
        });
        one.usage.amount = mounted.fold(own, Amount::plus);
        pods.push(one.usage);
    }
    (used, pods)
}
