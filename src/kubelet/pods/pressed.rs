//! Watches the disk and evicts pods when it is low: the edge of [`pressure`] and [`rounds`].

use super::Kubelet;
use crate::client::Key;
use crate::clock;
use crate::cri::ContainerState;
use crate::kubelet::pressure::{self, Free, Low, Usage};
use crate::kubelet::rounds::{self, Round, Rounds};
use crate::kubelet::status::Failure;
use crate::kubelet::walk::{self, Allowance, Amount};
use crate::kubelet::{eviction, mirror, volumes};
use crate::linux::beneath::{Kind, Root, path_of};
use crate::linux::{self, Context};
use k8s_openapi::api::core::v1::{ObjectReference, Pod, PodSpec};
use nix::sys::stat::fstat;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// DiskPressure is over when the disk was not low for this time: upstream's `evictionPressureTransitionPeriod`.
const TRANSITION: Duration = Duration::from_secs(300);
/// While one pod is being evicted, no other is, for this time at most.
const ONE_BY_ONE: Duration = Duration::from_secs(30);
/// A claim's volume is asked for this long: the store may wait for room on the same disk.
const LOOK_UP: Duration = Duration::from_millis(300);

/// A pod that has to fail, as the disk's watcher has decided.
pub struct Sentence {
    uid: String,
    failure: Failure,
    since: Instant,
}

/// What was measured, by uid of the pod: walks are dear, so each is used for every decision.
#[derive(Default)]
pub struct Measured(Mutex<HashMap<String, Figures>>);

#[derive(Default)]
struct Figures {
    /// When its own directories were walked last, and what was found.
    own: Option<(Instant, Arc<eviction::Use>)>,
    /// With what it mounts of the node; only of pods that may be evicted.
    usage: Option<Usage>,
}

impl Measured {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Figures>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn own(&self, uid: &str, since: Instant) -> Option<Arc<eviction::Use>> {
        let found = self.lock();
        found.get(uid)?.own.as_ref().filter(|(at, _)| *at >= since).map(|(_, own)| own.clone())
    }

    fn last(&self, uid: &str) -> Option<Arc<eviction::Use>> {
        self.lock().get(uid)?.own.as_ref().map(|(_, own)| own.clone())
    }

    /// Whether not all of a pod could be counted in the last round.
    fn was_cut(&self, uid: &str) -> bool {
        let usage = |figures: &Figures| figures.usage.as_ref().map(|usage| usage.amount);
        let own = |figures: &Figures| figures.own.as_ref().map(|(_, own)| own.total());
        let cut = |amount: Amount| amount.files == Amount::BEYOND.files;
        self.lock().get(uid).is_some_and(|f| [usage(f), own(f)].into_iter().flatten().any(cut))
    }

    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }
}

/// What directories of the node's file system take, by device and inode: pods share volumes, and write their paths in different ways. Only of those that
/// were counted to the end: that one pod has no time left says nothing about what another one finds.
type Mounted = Arc<Mutex<HashMap<(u64, u64), Amount>>>;

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
        let (mut rounds, mut lasts_from, mut told) = (Rounds::default(), None::<clock::Instant>, "");
        let mut round = None;
        loop {
            let Ok(free) = pressure::free(&dir) else {
                clock::sleep(rounds::EVERY).await;
                continue;
            };
            let thresholds = self.config.disk.thresholds(&free);
            let full = pressure::low(&free, thresholds, 0).is_some();
            self.config.disk.looked(&self.config.node_name, full, Instant::now());
            let plan = rounds.look(&free, thresholds, self.is_evicting(), Instant::now());
            match &plan.low {
                Some(low) => {
                    lasts_from = Some(clock::Instant::now());
                    self.set_pressure(true);
                    if told != low.resource {
                        told = low.resource;
                        let message = format!("Attempting to reclaim {}", low.resource);
                        self.recorder.warning(&self.about_node(), "EvictionThresholdMet", message, None);
                    }
                }
                None => {
                    told = "";
                    if lasts_from.is_none_or(|at| at.elapsed() >= clock::scaled(TRANSITION)) {
                        self.set_pressure(false);
                    }
                }
            }
            if let Some(low) = &plan.evict {
                self.evict_worst(low);
            }
            if plan.walk {
                round = Some(Box::pin(self.walk(free)));
            }
            // Real time: a disk does not fill faster when the cluster's clock does.
            let Some(going) = &mut round else {
                tokio::time::sleep(plan.pause).await;
                continue;
            };
            if let Ok(over) = tokio::time::timeout(plan.pause, going).await {
                round = None;
                rounds.walked(over);
            }
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

    /// Measures all pods of the node, and what they wrote to the node's own file system. What is found of a pod can be used at once. Each pod has a time of
    /// its own; those that used theirs up in the last round come last, so that the others are known first.
    async fn walk(&self, free: Free) -> Round {
        let begun = Instant::now();
        let host = self.config.dir.join("host");
        let place = host.clone();
        let on_node = walk::in_turn(move || walk::at_least(&place, Instant::now() + walk::POD_TIME)).await;
        let mut used = settled(on_node).unwrap_or_default().bytes;
        let pods = self.pods.list().into_iter().map(|pod| (Key::of(&*pod), pod));
        let pods: Vec<_> =
            pods.filter(|(key, pod)| !self.statics.contains_key(key) && !mirror::is_one(pod)).collect();
        let uids: HashSet<String> = pods.iter().filter_map(|(_, pod)| pod.metadata.uid.clone()).collect();
        self.measured.lock().retain(|uid, _| uids.contains(uid));
        let wanted = pods.into_iter().map(|(key, pod)| self.wanted(key, pod));
        let mut wanted = futures::future::join_all(wanted).await;
        wanted.sort_by_cached_key(|one| self.measured.was_cut(&one.usage.uid));
        let mounted = Mounted::default();
        for mut one in wanted {
            let (uid, mut time) = (one.usage.uid.clone(), Allowance::default());
            let own = self.measure(&uid, &one.pod_dir, &one.log_dir, begun, &mut time).await;
            let Some(own) = own else { continue };
            used = used.saturating_add(own.total().bytes);
            if !pressure::evictable(&one.pod) {
                continue;
            }
            for (name, bytes, _) in &mut one.usage.containers {
                *bytes = own.logs.get(name).map_or(0, |logs| logs.bytes);
            }
            one.usage.amount = own.total();
            for path in one.of_node {
                let (host, mounted) = (host.clone(), mounted.clone());
                let walked = time.walk(move |until| of_node(&host, Path::new(&path), &mounted, until));
                let amount = settled(walked.await).unwrap_or_default();
                one.usage.amount = one.usage.amount.plus(amount);
            }
            self.measured.lock().entry(uid).or_default().usage = Some(one.usage);
        }
        Round { begun, ended: Instant::now(), free: free.now.bytes, used }
    }

    /// What a pod uses of the disk, measured since this moment, or before if it cannot be measured now. `None`: it never was.
    pub(super) async fn measure(
        &self,
        uid: &str,
        pod_dir: &Path,
        log_dir: &Path,
        since: Instant,
        time: &mut Allowance,
    ) -> Option<Arc<eviction::Use>> {
        if let Some(known) = self.measured.own(uid, since) {
            return Some(known);
        }
        let (pod_dir, log_dir) = (pod_dir.to_path_buf(), log_dir.to_path_buf());
        let walked = time.walk(move |until| {
            let at = Instant::now();
            eviction::measure(&pod_dir, &log_dir, until).map(|own| (at, Arc::new(own)))
        });
        let Some((at, own)) = settled(walked.await) else { return self.measured.last(uid) };
        self.measured.lock().entry(uid.into()).or_default().own = Some((at, own.clone()));
        Some(own)
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
                priority: pressure::priority(&pod),
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
        let writable = written_volumes(spec);
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

    /// Whether a pod is being evicted that has not failed yet, and takes no longer than it may.
    fn is_evicting(&self) -> bool {
        self.sentences().values().any(|sentence| sentence.since.elapsed() < ONE_BY_ONE)
    }

    /// Evicts one pod, unless another node has a larger one. Its processes and volumes end in the background: the disk is asked meanwhile.
    fn evict_worst(self: &Arc<Self>, low: &Low) {
        // A pod may have ended, or have been replaced, since it was measured.
        let goes = |usage: &Usage| {
            let pod = self.pods.get(&usage.key).filter(|p| p.metadata.uid.as_ref() == Some(&usage.uid));
            pod.is_some_and(|pod| pressure::evictable(&pod))
        };
        let pods: Vec<Usage> = self.measured.lock().values().filter_map(|f| f.usage.clone()).collect();
        let pods: Vec<Usage> = pods.into_iter().filter(goes).collect();
        let victim = pressure::victim(&pods, low);
        let worst =
            victim.map_or(0, |v| if low.resource == "inodes" { v.amount.files } else { v.amount.bytes });
        let here = !low.of_disk || self.config.disk.is_worst(&self.config.node_name, worst, Instant::now());
        let Some(victim) = victim.filter(|_| here) else { return };
        tracing::warn!(pod = %victim.key, resource = low.resource, "evicting a pod: the disk is low");
        let failure = Failure::evicted(pressure::message(victim, low));
        let (key, uid) = (victim.key.clone(), victim.uid.clone());
        self.sentence(&key, &uid, failure);
        let kubelet = self.clone();
        self.crew.spawn(async move {
            if let Err(error) = kubelet.kill(&key, &uid).await {
                tracing::warn!(pod = %key, %error, "cannot end a pod that fills the disk");
            }
            kubelet.queue.add(key, None);
        });
    }

    /// A pod has to fail at the next look, and what holds it up ends.
    pub(super) fn sentence(&self, key: &Key, uid: &str, failure: Failure) {
        let sentence = Sentence { uid: uid.into(), failure, since: Instant::now() };
        self.sentences().insert(key.clone(), sentence);
        self.interrupt_hook(key);
    }

    /// Uids of the pods that have to fail.
    pub(super) fn sentenced(&self) -> HashSet<String> {
        self.sentences().values().map(|sentence| sentence.uid.clone()).collect()
    }

    fn sentences(&self) -> MutexGuard<'_, HashMap<Key, Sentence>> {
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

/// Names of the volumes that some container of the pod, of whatever kind, may write to.
fn written_volumes(spec: &PodSpec) -> BTreeSet<&str> {
    let ephemeral = spec.ephemeral_containers.iter().flatten().map(|c| &c.volume_mounts);
    let all = spec.init_containers.iter().flatten().chain(&spec.containers).map(|c| &c.volume_mounts);
    let mounts = all.chain(ephemeral).flat_map(|mounts| mounts.iter().flatten());
    mounts.filter(|m| m.read_only != Some(true)).map(|m| m.name.as_str()).collect()
}

/// What a path of the node's file system takes of the disk: a file, or all that is below a directory.
fn of_node(host: &Path, path: &Path, mounted: &Mounted, until: Instant) -> linux::Result<Amount> {
    let Ok(place) = Root::open(host).and_then(|root| root.open_in_root(path, Kind::Place)) else {
        return Ok(Amount::default()); // it is not there
    };
    let found = fstat(&place).during(|| "cannot look at a volume".into())?;
    if found.st_mode & nix::libc::S_IFMT != nix::libc::S_IFDIR {
        return Ok(Amount { bytes: (found.st_blocks.max(0) as u64).saturating_mul(512), files: 1 });
    }
    let id = (found.st_dev, found.st_ino);
    let lock = || mounted.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(known) = lock().get(&id) {
        return Ok(*known);
    }
    let amount = walk::amount(&path_of(place.as_fd()), until)?;
    if amount != Amount::BEYOND {
        lock().insert(id, amount);
    }
    Ok(amount)
}

/// What a walk found. `None`: it panicked, or this process lacks descriptors or memory now.
fn settled<T>(walked: Option<linux::Result<T>>) -> Option<T> {
    let error = match walked? {
        Ok(found) => return Some(found),
        Err(error) => error,
    };
    tracing::warn!(error = error.line(), "the use of the disk is not known");
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_of_containers_of_every_kind_are_written_to() {
        let mount = |name: &str, read_only: bool| serde_json::json!({"name": name, "mountPath": "/m", "readOnly": read_only});
        let one = |mounts: &[serde_json::Value]| serde_json::json!([{"name": "c", "volumeMounts": mounts}]);
        let spec: PodSpec = serde_json::from_value(serde_json::json!({
            "initContainers": one(&[mount("a", false)]),
            "containers": one(&[mount("b", false), mount("r", true)]),
            "ephemeralContainers": one(&[mount("e", false)]),
        }))
        .unwrap();
        assert_eq!(written_volumes(&spec).into_iter().collect::<Vec<_>>(), ["a", "b", "e"]);
    }

    #[test]
    fn files_of_the_node_count_as_directories_of_it_do_and_links_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        let host = dir.path().join("host");
        std::fs::create_dir_all(host.join("d")).unwrap();
        std::fs::write(dir.path().join("outside"), vec![1; 4 << 20]).unwrap();
        std::fs::write(host.join("d/f"), vec![1; 1 << 20]).unwrap();
        std::os::unix::fs::symlink("../../outside", host.join("d/out")).unwrap();
        let (mounted, soon) = (Mounted::default(), Instant::now() + walk::POD_TIME);
        let at = |path: &str, until| of_node(&host, Path::new(path), &mounted, until).unwrap();
        // A pod that has no time left does not make the directory unknown for the next one, which mounts it, too.
        assert_eq!(at("/d", Instant::now()), Amount::BEYOND);
        let bytes = |path: &str| at(path, soon).bytes;
        assert!((1 << 20..2 << 20).contains(&bytes("/d/f")), "{}", bytes("/d/f"));
        assert!((1 << 20..2 << 20).contains(&bytes("/d")) && bytes("/d/out") == 0 && bytes("/none") == 0);
        // What is known is the same under every name.
        assert_eq!(at("/./d/../d/", Instant::now()), at("/d", soon));
    }

    #[test]
    fn what_was_measured_is_used_until_it_is_too_old() {
        let (measured, at) = (Measured::default(), Instant::now());
        let own = Arc::new(eviction::Use::default());
        measured.lock().entry("u".into()).or_default().own = Some((at, own));
        assert!(measured.own("u", at).is_some() && measured.own("v", at).is_none());
        assert!(measured.own("u", at + Duration::from_millis(1)).is_none() && measured.last("u").is_some());
        assert!(!measured.was_cut("u") && !measured.was_cut("v"));
        let beyond = [("v".to_string(), Amount::BEYOND)].into();
        let cut = Arc::new(eviction::Use { volumes: beyond, ..eviction::Use::default() });
        measured.lock().entry("u".into()).or_default().own = Some((at, cut));
        assert!(measured.was_cut("u"));
        measured.forget("u");
        assert!(measured.own("u", at).is_none() && !measured.was_cut("u"));
    }
}
