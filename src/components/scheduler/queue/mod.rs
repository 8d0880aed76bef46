//! The edge of the scheduler: pending pods in, Bindings out.

mod binding;
mod claims;
mod pod_volumes;
mod refusals;
mod requests;

use super::cache::{Cache, is_live};
use super::decide::{self, Decision};
use super::volumes::OnTheirWay;
use api::volumes::claims_of;
use client::{Change, Client, Informer, Key, LeaderElection, Outcome, Recorder, WorkQueue, reference};
use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use parking_lot::Mutex;
use refusals::Report;
use rng::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tap::{Cause, Record, Tap};
use task::Crew;
use tokio::sync::watch;

const NAME: &str = "default-scheduler";
/// Reasons of the condition `PodScheduled`: no node fits, or the decision or the binding failed.
const UNSCHEDULABLE: &str = "Unschedulable";
const SCHEDULER_ERROR: &str = "SchedulerError";
/// A pod that fits nowhere is looked at again after this time even if nothing seems to have
/// changed.
const FLUSH: Duration = Duration::from_secs(300);
/// The pause after a decision or a binding that failed, doubled at each further failure, up to the
/// second value: upstream's back-off of pods.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Everything that the scheduler needs from outside.
#[derive(Clone)]
pub struct Config {
    /// Reads pods, nodes and volumes, and writes bindings, as `system:kube-scheduler`.
    pub client: Client,
    /// Where records of decisions go.
    pub tap: Tap,
    /// Chooses among nodes with the same score.
    pub rng: Rng,
    /// The holder of the Lease while this process leads: `NODE_UUID`.
    pub identity: String,
}

struct Scheduler {
    config: Config,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
    classes: Informer<StorageClass>,
    queue: WorkQueue<Key>,
    recorder: Recorder,
    crew: Crew,
    /// The nodes with their pods, also those that were decided and are not seen in the watch yet.
    cache: Arc<Cache>,
    /// Volumes and claims that bindings on their way take.
    reserved: Mutex<OnTheirWay>,
    /// Pods whose last decision or binding failed. A pod is forgotten when it fits on no node, and
    /// when it is not to be scheduled any more: it has a node, has ended, or is gone. An entry that
    /// comes after that goes at the pod's next look.
    failures: Mutex<BTreeMap<Key, Failures>>,
    /// Pods that fitted on no node at the last look, or are being looked at now, or whose last
    /// decision or binding failed, with the time.
    waiting: Mutex<BTreeMap<Key, clock::Instant>>,
    /// What was last written into the condition `PodScheduled` of each pod without a node: the
    /// watch may be behind that. A pod is forgotten when it is not to be scheduled any more, as in
    /// `failures`; a refusal does not remove it.
    conditions: Mutex<BTreeMap<Key, Report>>,
    /// The last Event `FailedScheduling` of each pod, and when the recorder got it. A pod is
    /// forgotten as in `conditions`.
    events: Mutex<BTreeMap<Key, (Report, clock::Instant)>>,
    /// The uid of each pod that has its Event `PreemptionNotImplemented`. A pod is forgotten as in
    /// `conditions`.
    preemption_events: Mutex<BTreeMap<Key, Option<String>>>,
    /// Something that a binding may be waiting for has happened: a claim or a volume has changed, a
    /// pod or a node has gone, another binding has ended.
    news: watch::Sender<()>,
}

/// The decisions and bindings of one pod that failed in a row.
struct Failures {
    uid: Option<String>,
    count: u32,
    /// The pod is not decided again before this time, whatever changes: upstream's `errorBackoffQ`.
    until: clock::Instant,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Api(#[from] kube::Error),
}

/// Stands for election and schedules while it leads. Ends with an error when the Lease is lost, as
/// upstream exits then.
pub fn start(crew: &Crew, config: Config) {
    let own = crew.clone();
    crew.spawn_main(async move {
        let election = LeaderElection::new(config.client.clone(), "kube-scheduler", &config.identity);
        let tap = config.tap.clone();
        election.lead(&own, &tap, |crew: Crew| async move { run(&crew, config).await }).await
    });
}

pub(super) async fn run(crew: &Crew, config: Config) {
    let pods = Informer::all(crew, &config.client);
    let nodes = Informer::all(crew, &config.client);
    let scheduler = Arc::new(Scheduler {
        cache: Cache::follow(&pods, &nodes),
        pods,
        nodes,
        claims: Informer::all(crew, &config.client),
        volumes: Informer::all(crew, &config.client),
        classes: Informer::all(crew, &config.client),
        queue: WorkQueue::new(crew),
        recorder: Recorder::new(crew, &config.client, NAME, ""),
        crew: crew.clone(),
        reserved: Mutex::default(),
        failures: Mutex::default(),
        waiting: Mutex::default(),
        conditions: Mutex::default(),
        events: Mutex::default(),
        preemption_events: Mutex::default(),
        news: watch::Sender::new(()),
        config,
    });
    scheduler.follow().await;
    let s = scheduler.clone();
    scheduler.queue.on_panic(move |key, panic| {
        if let Some(pod) = s.pods.get(key) {
            let message = format!("the scheduler panicked on this pod and tries again later: {panic}");
            s.recorder.warning(&reference(&*pod), "SchedulerPanic", message, None);
        }
    });
    let s = scheduler.clone();
    // One worker: a decision must see the ones before it.
    scheduler.queue.work("scheduler", 1, move |key, cause| {
        let s = s.clone();
        async move { s.schedule(key, cause).await }
    });
}

impl Scheduler {
    /// Waits until the caches hold everything that a decision needs, and then adds the handlers
    /// that put pods into the queue.
    async fn follow(self: &Arc<Self>) {
        futures::join!(
            self.pods.synced(),
            self.nodes.synced(),
            self.claims.synced(),
            self.volumes.synced(),
            self.classes.synced()
        );
        let s = self.clone();
        // The pod of highest priority goes first, as upstream's PrioritySort; of equals, the one
        // that waits for longest. Set before the pods that exist already come into the queue: a pod
        // is ranked when it comes.
        self.queue.rank_by(move |key| s.pods.get(key).map_or(0, |pod| -i64::from(priority(&pod))));
        let s = self.clone();
        self.pods.on(move |change| s.pod_changed(change));
        let s = self.clone();
        self.nodes.on(move |change| {
            let same = matches!(change, Change::Updated { old, new } if is_same_to_filters(old, new));
            if matches!(change, Change::Deleted(_)) {
                s.news.send_replace(());
            }
            if !same {
                s.try_again(change.cause());
            }
        });
        let s = self.clone();
        self.claims.on(move |change| {
            s.news.send_replace(());
            s.try_again(change.cause());
        });
        let s = self.clone();
        self.volumes.on(move |change| {
            s.news.send_replace(());
            s.try_again(change.cause());
        });
        let s = self.clone();
        self.classes.on(move |change| s.try_again(change.cause()));
    }
}

/// Returns whether the change of a node makes no difference to any filter: a heartbeat makes none.
fn is_same_to_filters(old: &Node, new: &Node) -> bool {
    let of = |n: &Node| (n.spec.clone(), n.metadata.labels.clone(), n.status.clone().map(|s| s.allocatable));
    of(old) == of(new)
}

/// Returns whether the pod needs a node of this scheduler: it has none, names no other scheduler,
/// is not held by a scheduling gate (KEP-3521), and neither is being deleted nor has ended.
fn is_pending(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    spec.node_name.as_deref().unwrap_or_default().is_empty()
        && spec.scheduler_name.as_deref().unwrap_or(NAME) == NAME
        && spec.scheduling_gates.as_ref().is_none_or(Vec::is_empty)
        && pod.metadata.deletion_timestamp.is_none()
        && is_live(pod)
}

/// Returns the pod's priority; 0 if it has none.
fn priority(pod: &Pod) -> i32 {
    pod.spec.as_ref().and_then(|s| s.priority).unwrap_or(0)
}

impl Scheduler {
    fn pod_changed(&self, change: &Change<Pod>) {
        let (pod, key) = (change.object(), change.key());
        let gone = matches!(change, Change::Deleted(_));
        if !gone && is_pending(pod) {
            // A pod's status changes when this scheduler refuses it; that is no news.
            let refused_only = matches!(change, Change::Updated { old, new } if old.spec == new.spec && old.metadata.labels == new.metadata.labels);
            if !(refused_only && self.waiting.lock().contains_key(&key)) {
                self.queue.add(key, change.cause());
            }
            return;
        }
        self.waiting.lock().remove(&key);
        self.forget_refusals(&key);
        let confirmed = self.cache.forget(&key, pod);
        if gone {
            self.news.send_replace(());
        }
        let is_bound = pod.spec.as_ref().is_some_and(|s| s.node_name.as_ref().is_some_and(|n| !n.is_empty()));
        if gone || !is_live(pod) || (confirmed && !is_bound) {
            self.try_again(change.cause()); // a pod left its node: there may be room now
        }
    }

    /// Puts every pod that fitted nowhere into the queue again, that which waits for longest first.
    /// A pod that pauses after a binding that failed goes on pausing, see [`Scheduler::schedule`].
    fn try_again(&self, cause: Option<Cause>) {
        let mut waiting: Vec<_> = std::mem::take(&mut *self.waiting.lock()).into_iter().collect();
        waiting.sort_by_key(|(_, since)| *since);
        for (key, _) in waiting {
            self.queue.add(key, cause.clone());
        }
    }

    /// Returns the names of the claims in a namespace that other pods use which have a node, or are
    /// assumed on one.
    fn claims_of_others(&self, namespace: &str, pod: &Pod) -> BTreeSet<String> {
        let mut used = BTreeSet::new();
        for other in self.pods.within(namespace) {
            let node = other.spec.as_ref().and_then(|s| s.node_name.as_deref()).unwrap_or_default();
            let counts = other.metadata.uid != pod.metadata.uid
                && is_live(&other)
                && (!node.is_empty() || self.cache.has_assumed(&Key::of(&*other), &other));
            if counts {
                used.extend(claims_of(&other));
            }
        }
        used
    }

    async fn schedule(self: &Arc<Self>, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
        let Some(pod) = self.pods.get(&key).filter(|p| is_pending(p)) else {
            // It may have been refused after the watch showed that it is gone.
            self.forget_refusals(&key);
            return Ok(Outcome::Done);
        };
        // The pod's binding is on its way, or the cache has not seen the pod yet: then its change
        // is about to be handled, which puts it into the queue again.
        if self.cache.has_assumed(&key, &pod) || !self.cache.has_seen(&key, &pod) {
            return Ok(Outcome::Done);
        }
        if let Some(rest) = self.rest_of_pause(&key, &pod) {
            return Ok(Outcome::Pause(rest));
        }
        // Before the picture is taken: what changes while the decision is made brings the pod back.
        self.waiting.lock().insert(key.clone(), clock::Instant::now());
        let start = clock::Instant::now();
        let nodes = self.cache.picture();
        let record = |decision: &Decision| {
            let record = Record::new(decision.event()).object("pods", &key.namespace, &key.name);
            self.config.tap.emit(record.cause(cause.clone()).took(start.elapsed()));
        };
        let volumes = match self.volumes_of(&pod) {
            Ok(found) => found,
            Err(why) => {
                // NodeAffinity comes before the plug-ins of volumes.
                let (plugin, why) = match decide::pre_filter(&pod) {
                    Err((plugin, conflict)) => (plugin, conflict.to_string()),
                    Ok(_) => (why.filter, why.reason),
                };
                let decision = Decision::refused_everywhere(&nodes, plugin, &why);
                record(&decision);
                let (clears, message) = (decision.clears_nomination(&pod), decision.message(&pod));
                self.refuse(&key, &pod, UNSCHEDULABLE, message, clears, &cause).await?;
                return Ok(Outcome::After(FLUSH));
            }
        };
        let decision = decide::decide(&pod, &nodes, &volumes, &self.config.rng);
        record(&decision);
        if let Some(error) = decision.error.clone() {
            return self.decision_failed(&key, &pod, error, &cause).await;
        }
        let Some(node) = decision.chosen.clone() else {
            let (clears, message) = (decision.clears_nomination(&pod), decision.message(&pod));
            let written = self.refuse(&key, &pod, UNSCHEDULABLE, message, clears, &cause).await;
            // Also if the condition was not written: it may say this already, or the answer be
            // lost.
            self.report_preemption(&key, &pod, &decision, &cause);
            return written.map(|()| Outcome::After(FLUSH));
        };
        let on = nodes.iter().find(|n| n.name == node);
        let choices = on.and_then(|node| volumes.choose(node)).unwrap_or_default();
        let version = on.and_then(|node| node.version.clone());
        self.reserved.lock().add(&pod, &node, &choices);
        self.cache.assume(&key, &pod, &node);
        self.waiting.lock().remove(&key);
        self.begin_binding(key, pod, node, version, choices, cause);
        Ok(Outcome::Done)
    }

    /// Counts a decision or binding of the pod that failed. Returns how many did so in a row, and
    /// the pause before the next try: 1 s, 2 s, 4 s, 8 s, 10 s, 10 s …
    fn begin_pause(&self, key: &Key, pod: &Pod) -> (u32, Duration) {
        let mut failures = self.failures.lock();
        let before = failures.get(key).filter(|f| f.uid == pod.metadata.uid).map_or(0, |f| f.count);
        let count = before.saturating_add(1);
        let pause = BACKOFF.0.saturating_mul(1 << before.min(10)).min(BACKOFF.1);
        let until = clock::Instant::now() + pause;
        failures.insert(key.clone(), Failures { uid: pod.metadata.uid.clone(), count, until });
        (count, pause)
    }

    /// Returns how long this pod still pauses after a decision or binding that failed; `None`: it
    /// does not.
    fn rest_of_pause(&self, key: &Key, pod: &Pod) -> Option<Duration> {
        let failures = self.failures.lock();
        let until = failures.get(key).filter(|f| f.uid == pod.metadata.uid)?.until;
        let rest = until.saturating_duration_since(clock::Instant::now());
        (!rest.is_zero()).then_some(rest)
    }

    /// Writes the error of a decision to the pod, and has the pod decided again after a pause. Only
    /// a change of the pod or of the nodes can help. Upstream: `handleSchedulingFailure`.
    ///
    /// # Errors
    /// As [`Scheduler::refuse`].
    async fn decision_failed(
        &self,
        key: &Key,
        pod: &Pod,
        error: String,
        cause: &Option<Cause>,
    ) -> Result<Outcome, Error> {
        let (failures, pause) = self.begin_pause(key, pod);
        tracing::warn!(pod = %key, %error, failures, ?pause, "decision failed, trying again");
        self.refuse(key, pod, SCHEDULER_ERROR, error, true, cause).await?;
        Ok(Outcome::Pause(pause))
    }
}

#[cfg(test)]
mod tests;
