//! Asks the containers of this node's pods, over and over, whether they have started, are ready and
//! still live.
//!
//! One task per container that has probes, from its start to its end. What the answers amount to is
//! kept here; when it changes, the pod is looked at again: a container that is not ready leaves the
//! Service, one that does not live is restarted.

use super::action::{Action, Answer, Target};
use super::config::Config;
use super::probe::{Kind, Numbers, ProbeResults, Probed, ResultRun};
use super::specs::{reference, spec_of};
use super::view::has_ended;
use client::{Key, Recorder, WorkQueue};
use clock::{self, Timestamp};
use cri::{Container, ContainerState};
use k8s_openapi::api::core::v1::{Container as Spec, ObjectReference, Pod};
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use task::Crew;
use tokio_util::sync::CancellationToken;

/// Tries of one probe, at most, while the probe itself has an error or its answer breaks off. After
/// the last one an Event says so.
const TRIES: usize = 3;
/// In real time a probe does not ask sooner again than this, however fast the cluster's clock runs.
const PERIOD_LEAST: Duration = Duration::from_millis(200);

/// What the probes of one container have found so far.
#[derive(Clone, Debug, Default)]
struct Findings {
    probed: Probed,
    /// The probe that has failed for good: the container is to be restarted.
    failed: Option<Kind>,
}

/// A container that is being probed.
struct Watched {
    uid: String,
    findings: Findings,
    /// Ends every probe of the container.
    end: CancellationToken,
    /// Ends those whose failure would restart it: the pod is being deleted, or has to fail.
    leaving: CancellationToken,
}

#[derive(Clone)]
pub(crate) struct Prober(Arc<Inner>);

struct Inner {
    config: Arc<Config>,
    crew: Crew,
    recorder: Recorder,
    queue: WorkQueue<Key>,
    /// By container id.
    watched: Mutex<BTreeMap<String, Watched>>,
}

impl Prober {
    pub(crate) fn new(
        config: &Arc<Config>,
        crew: &Crew,
        recorder: &Recorder,
        queue: &WorkQueue<Key>,
    ) -> Prober {
        Prober(Arc::new(Inner {
            config: config.clone(),
            crew: crew.clone(),
            recorder: recorder.clone(),
            queue: queue.clone(),
            watched: Mutex::default(),
        }))
    }

    fn watched(&self) -> MutexGuard<'_, BTreeMap<String, Watched>> {
        self.0.watched.lock()
    }

    /// Probes what runs of this pod and lets go of what does not. Returns what is known by now.
    pub(crate) fn probe_running(
        &self,
        key: &Key,
        pod: &Pod,
        containers: &[Container],
        pod_ip: Option<IpAddr>,
    ) -> ProbeResults {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let leaves = pod.metadata.deletion_timestamp.is_some() || has_ended(pod);
        let runs = |id: &str| containers.iter().any(|c| c.id == id && c.state == ContainerState::Running);
        let mut results = ProbeResults::default();
        let mut watched = self.watched();
        watched.retain(|id, w| {
            let stays = w.uid != uid || runs(id);
            if !stays {
                w.end.cancel();
            } else if w.uid == uid && leaves {
                w.leaving.cancel();
            }
            stays
        });
        for c in containers.iter().filter(|c| c.state == ContainerState::Running) {
            let Some(spec) = spec_of(pod, &c.name) else { continue };
            if !Kind::ALL.iter().any(|k| k.of(spec).is_some()) {
                continue;
            }
            let entry = watched.entry(c.id.clone()).or_insert_with(|| {
                let end = CancellationToken::new();
                let leaving = end.child_token();
                let findings = Findings { probed: at_first(pod, spec, c), failed: None };
                let probes = ContainerProbes {
                    has_started: findings.probed.started == Some(true),
                    prober: self.clone(),
                    key: key.clone(),
                    about: {
                        let init = pod.spec.iter().flat_map(|s| s.init_containers.iter().flatten());
                        let is_init = init.into_iter().any(|c| c.name == spec.name);
                        reference(pod, Some((&spec.name, is_init)))
                    },
                    spec: spec.clone(),
                    id: c.id.clone(),
                    started_at: c.started_at.unwrap_or(c.created_at),
                    pod_ip,
                    leaving: leaving.clone(),
                };
                let until = end.clone();
                self.0.crew.spawn(async move {
                    tokio::select! {
                        biased;
                        () = until.cancelled() => {}
                        () = probes.run() => {}
                    }
                });
                Watched { uid: uid.clone(), findings, end, leaving }
            });
            results.probed.insert(c.name.clone(), entry.findings.probed);
            if let Some(kind) = entry.findings.failed {
                results.failed.insert(c.name.clone(), kind);
            }
        }
        results
    }

    /// Ends the startup and liveness probes of a pod that is being ended although no client deleted
    /// it. Upstream: `StopLivenessAndStartup`.
    pub(crate) fn end_startup_and_liveness(&self, uid: &str) {
        self.watched().values().filter(|w| w.uid == uid).for_each(|w| w.leaving.cancel());
    }

    /// Ends all probes of a pod that is gone.
    pub(crate) fn forget(&self, uid: &str) {
        self.watched().retain(|_, w| {
            let other = w.uid != uid;
            if !other {
                w.end.cancel();
            }
            other
        });
    }

    fn note(&self, key: &Key, id: &str, change: impl FnOnce(&mut Findings)) {
        if let Some(watched) = self.watched().get_mut(id) {
            change(&mut watched.findings);
        }
        self.0.queue.add(key.clone(), None);
    }
}

/// Returns what counts before the first answer. What was ready before a restart of the kubelet
/// counts as ready until a probe says otherwise.
///
/// ```text
/// a new container, with a readiness probe         not ready until the first success
/// a new container, without one                    ready as soon as it runs
/// the kubelet restarts, the container runs on     as the pod's stored status says
/// ```
///
/// Otherwise a restart of the kubelet would take every pod of the node out of its Services at once.
fn at_first(pod: &Pod, spec: &Spec, container: &Container) -> Probed {
    let status = pod.status.iter();
    let mut stored =
        status.flat_map(|s| s.container_statuses.iter().chain(s.init_container_statuses.iter()).flatten());
    let own = format!("ropewalk://{}", container.id);
    let stored = stored.find(|s| s.container_id.as_ref() == Some(&own));
    Probed {
        started: spec.startup_probe.as_ref().map(|_| stored.is_some_and(|s| s.started == Some(true))),
        ready: spec.readiness_probe.as_ref().map(|_| stored.is_some_and(|s| s.ready)),
    }
}

/// Waits until a probe's period, which began at `since`, is over. A slow answer delays the next
/// question, it does not double it.
async fn wait_for_period(since: clock::Instant, period: Duration) {
    let left = clock::left(since, period, clock::Instant::now()).unwrap_or_default();
    clock::sleep(left).await;
    clock::pause(PERIOD_LEAST.min(period).saturating_sub(since.elapsed())).await;
}

/// The probes of one container.
struct ContainerProbes {
    prober: Prober,
    key: Key,
    /// The container, for Events.
    about: ObjectReference,
    spec: Spec,
    /// The container had started before this kubelet did: its startup probe does not run again.
    has_started: bool,
    id: String,
    started_at: Timestamp,
    pod_ip: Option<IpAddr>,
    leaving: CancellationToken,
}

impl ContainerProbes {
    /// Runs the startup probe alone, and then the readiness and the liveness probe side by side. A
    /// pod that is being deleted is still asked whether it is ready, but no longer whether it
    /// lives: it is ending anyway.
    async fn run(&self) {
        let startup = async {
            match Kind::Startup.of(&self.spec) {
                Some(_) if !self.has_started => self.watch(Kind::Startup).await,
                _ => true,
            }
        };
        let started = tokio::select! {
            biased;
            started = startup => started,
            () = self.leaving.cancelled() => return,
        };
        if !started {
            return; // it will be killed
        }
        let liveness = async {
            tokio::select! {
                biased;
                () = self.leaving.cancelled() => {}
                _ = self.watch(Kind::Liveness) => {}
            }
        };
        futures::join!(self.watch(Kind::Readiness), liveness);
    }

    /// Runs one probe until its result is final. Returns true for a startup probe that succeeded,
    /// false for a probe whose failure ends the container. Readiness is never final.
    async fn watch(&self, kind: Kind) -> bool {
        let Some(probe) = kind.of(&self.spec) else { return true };
        let Some(action) = Action::of_probe(probe, &self.spec).transpose() else { return true };
        let numbers = Numbers::of(probe);
        let mut run = ResultRun::new(numbers);
        let early = clock::left(self.started_at, numbers.initial_delay, clock::now());
        clock::sleep(early.unwrap_or_default()).await;
        let mut asked = None;
        loop {
            if let Some(since) = asked {
                wait_for_period(since, numbers.period).await;
            }
            asked = Some(clock::Instant::now());
            let Some(well) = self.ask(kind, &action, numbers).await else { continue };
            let Some(well) = run.count(well) else { continue };
            let failed = (!well && kind != Kind::Readiness).then_some(kind);
            self.prober.note(&self.key, &self.id, |findings| {
                match kind {
                    Kind::Startup => findings.probed.started = Some(well),
                    Kind::Readiness => findings.probed.ready = Some(well),
                    Kind::Liveness => {}
                }
                findings.failed = findings.failed.or(failed);
            });
            if failed.is_some() || (well && kind == Kind::Startup) {
                return well;
            }
        }
    }

    /// Returns the result of one probe, and writes an Event unless it is a plain success. `None`:
    /// the container could not be probed, or its answer broke off. Neither says anything about it,
    /// as upstream (`pkg/kubelet/prober/worker.go`).
    async fn ask(&self, kind: Kind, action: &Result<Action, String>, numbers: Numbers) -> Option<bool> {
        let inner = &self.prober.0;
        let target = Target {
            spec: &self.spec,
            container_id: &self.id,
            pod_ip: self.pod_ip,
            runtime: &*inner.config.runtime,
            network: &*inner.config.network,
            agent: &inner.config.agent("kube-probe"),
        };
        let act = async || target.act(action.as_ref().map_err(String::clone)?, numbers.timeout).await;
        let mut answer = act().await;
        for _ in 1..TRIES {
            if !matches!(answer, Err(_) | Ok(Answer::Broken(_))) {
                break;
            }
            answer = act().await;
        }
        let title = kind.title();
        let (state, error) = match answer {
            Ok(Answer::Well) => return Some(true),
            Ok(Answer::Warning(what)) => {
                inner.recorder.warning(
                    &self.about,
                    "ProbeWarning",
                    format!("{title} probe warning: {what}"),
                    None,
                );
                return Some(true);
            }
            Ok(Answer::Ill(why)) => {
                inner.recorder.warning(
                    &self.about,
                    "Unhealthy",
                    format!("{title} probe failed: {why}"),
                    None,
                );
                return Some(false);
            }
            Ok(Answer::Broken(error)) => ("failure", error),
            Err(error) => ("unknown", error),
        };
        let message = format!("{title} probe errored and resulted in {state} state: {error}");
        inner.recorder.warning(&self.about, "Unhealthy", message, None);
        None
    }
}

#[cfg(test)]
mod tests;
