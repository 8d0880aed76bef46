//! The edge of the kubelet: one pod at a time, from what is wanted to what runs.
//!
//! [`starting`] makes sandboxes and containers, [`pulling`] gets their images, [`ending`] ends
//! them, [`leftovers`] clears away what they leave.

use super::config::Config;
use super::container::Volumes;
use super::decide;
use super::error::Error;
use super::pressure::Pressures;
use super::probe::Seen;
use super::specs::{long_name, reference};
use super::status;
use super::view::{self, Backoffs, Step, View};
use super::{dns, mirror, specs, termination, volumes};
use client::{Change, Informer, Key, Outcome, is_code};
use cri::{self, Container, ContainerState, Sandbox, SandboxState};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher;
use kubelet::RETRY;
use memory::{Memory, revision_of};
use serde_json::json;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tap::{Cause, Event, Record};
use task::Crew;
use tokio::sync::watch;

mod ending;
mod failing;
mod kubelet;
mod leftovers;
mod measured;
mod memory;
mod pressed;
mod pulling;
mod removals;
mod sentence;
mod starting;
#[cfg(test)]
pub(super) mod tests;

pub(crate) use kubelet::Kubelet;

/// Volumes that may change are looked at this often, like the kubelet's sync period.
const REFRESH: Duration = Duration::from_secs(60);
/// Passes over one pod before others get a turn.
const PASSES: usize = 8;

/// `pressures` tells the node's status whether memory or disk are low.
pub(crate) fn start(crew: &Crew, config: &Arc<Config>, pressures: watch::Sender<Pressures>) -> Arc<Kubelet> {
    let kubelet = start_workers(crew, config, pressures);
    let watching = kubelet.clone();
    crew.spawn(async move {
        watching.pods.synced().await;
        watching.watch_pressure().await;
    });
    kubelet
}

/// Starts everything but the watch on the machine's memory and disk, which knows real time only:
/// simulated kubelets go without.
pub(super) fn start_workers(
    crew: &Crew,
    config: &Arc<Config>,
    pressures: watch::Sender<Pressures>,
) -> Arc<Kubelet> {
    let on_node = watcher::Config::default().fields(&format!("spec.nodeName={}", config.node_name));
    let (pods, services) =
        (Informer::start(crew, &config.client, on_node), Informer::all(crew, &config.client));
    let kubelet = Arc::new(Kubelet::new(crew, config, pods, services, pressures));
    let watcher = kubelet.clone();
    kubelet.pods.on(move |change| watcher.hear(change));
    let mut events = config.runtime.events();
    let relay = kubelet.clone();
    crew.spawn(async move {
        loop {
            match events.recv().await {
                Ok(event) => relay.queue.add(Key::new(event.pod.namespace, event.pod.name), None),
                Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => relay.look_at_everything().await,
                Err(tokio::sync::broadcast::error::RecvError::Closed) => return,
            }
        }
    });
    let first = kubelet.clone();
    crew.spawn(async move {
        for key in first.statics.keys() {
            first.queue.add(key.clone(), None);
        }
        first.pods.synced().await;
        first.look_at_everything().await; // sandboxes whose pods went while nobody looked
        first.sweep_all().await;
    });
    let worker = kubelet.clone();
    // A worker for each pod, as upstream's pod workers: a hook may take as long as it likes, but
    // only its own pod waits.
    kubelet.queue.work_each("kubelet", move |key, cause| {
        let kubelet = worker.clone();
        async move { kubelet.sync(key, cause).await }
    });
    kubelet
}

impl Kubelet {
    /// Takes note of a change of a pod. A mirror shows a static pod, which does not end with it.
    fn hear(&self, change: &Change<Pod>) {
        let (key, pod) = (change.key(), change.object());
        if !self.statics.contains_key(&key) && !mirror::is_one(pod) {
            if matches!(change, Change::Deleted(_)) {
                self.gone().insert(key.clone(), pod.clone());
            }
            if pod.metadata.deletion_timestamp.is_some() || matches!(change, Change::Deleted(_)) {
                self.interrupt_hook(&key);
            }
        }
        self.queue.add(key, change.cause());
    }

    fn gone(&self) -> parking_lot::MutexGuard<'_, HashMap<Key, Arc<Pod>>> {
        self.gone.lock()
    }

    /// Looks at all pods, and at all that the runtime has. It is asked until it answers: nothing
    /// else would bring back the sandbox of a pod that is gone.
    async fn look_at_everything(&self) {
        for pod in self.pods.list() {
            self.queue.add(Key::of(&*pod), None);
        }
        let mut pause = RETRY.first;
        let sandboxes = loop {
            match self.config.runtime.list_pod_sandboxes().await {
                Ok(sandboxes) => break sandboxes,
                Err(error) => {
                    tracing::warn!(
                        node = self.config.node_name,
                        error = error.line(),
                        "no list of sandboxes, trying again"
                    );
                }
            }
            clock::pause(pause).await;
            pause = (pause * 2).min(RETRY.longest);
        };
        for sandbox in sandboxes {
            self.queue.add(Key::new(sandbox.pod.namespace, sandbox.pod.name), None);
        }
    }

    /// The pod as this node knows it, static or not. What the API shows as a mirror is not run from
    /// there, as upstream: it shows a static pod, or nothing.
    pub(crate) fn pod(&self, key: &Key) -> Option<Arc<Pod>> {
        let own = self.statics.get(key).cloned();
        own.or_else(|| self.pods.get(key).filter(|pod| !mirror::is_one(pod)))
    }

    /// Removes the mirror of a static pod that this node does not have.
    async fn remove_orphan(&self, key: &Key) -> Result<(), Error> {
        match self.pods.get(key).filter(|pod| mirror::is_one(pod)) {
            Some(orphan) => mirror::remove(&self.config.client.within(&key.namespace), &orphan).await,
            None => Ok(()),
        }
    }

    /// The newest container of a pod by name, or the one of `kubectl logs --previous`.
    pub(crate) async fn container(
        &self,
        key: &Key,
        name: &str,
        previous: bool,
    ) -> Result<Option<Container>, cri::Error> {
        let Some(pod) = self.pod(key) else { return Ok(None) };
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let (_, containers) = self.seen(key, &uid).await?;
        let (backoffs, probes) = (Backoffs::new(), Seen::default());
        let replaced = self.memories().get(key).map(|memory| memory.replaced.clone()).unwrap_or_default();
        let view = View {
            pod: &pod,
            sandbox: None,
            containers: &containers,
            backoffs: &backoffs,
            replaced: &replaced,
            probes: &probes,
            now: clock::now(),
        };
        Ok(if previous { view.last_ended(name) } else { view.current(name) }.cloned())
    }

    /// The newest sandbox that is ready.
    pub(crate) async fn sandbox(&self, key: &Key) -> Result<Option<Sandbox>, cri::Error> {
        let Some(pod) = self.pod(key) else { return Ok(None) };
        let (sandboxes, _) = self.seen(key, pod.metadata.uid.as_deref().unwrap_or_default()).await?;
        Ok(sandboxes.into_iter().filter(|s| s.state == SandboxState::Ready).max_by_key(|s| s.attempt))
    }

    /// What the runtime has for a pod: its sandboxes and their containers.
    async fn seen(&self, key: &Key, uid: &str) -> Result<(Vec<Sandbox>, Vec<Container>), cri::Error> {
        let mut sandboxes = self.config.runtime.list_pod_sandboxes().await?;
        sandboxes.retain(|s| s.pod.namespace == key.namespace && s.pod.name == key.name && s.pod.uid == uid);
        let mut containers = self.config.runtime.list_containers().await?;
        containers.retain(|c| sandboxes.iter().any(|s| s.id == c.sandbox_id));
        let pod_dir = self.pod_dir(uid);
        for ended in containers.iter_mut().filter(|c| c.message.is_empty()) {
            ended.message = termination::message(&pod_dir, ended);
        }
        Ok((sandboxes, containers))
    }

    async fn sync(self: &Arc<Self>, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
        let pod = self.pod(&key);
        let uid = pod.as_ref().and_then(|p| p.metadata.uid.clone()).unwrap_or_default();
        if !self.clear_strangers(&key, &uid).await? {
            return Ok(Outcome::Done);
        }
        let Some(pod) = pod else {
            self.remove_orphan(&key).await?;
            let uid = self.memories().get(&key).map(|memory| memory.uid.clone());
            if let Some(uid) = uid {
                self.forget_sentence(&key, &uid);
                self.prober.forget(&uid);
                let removed = self.forget_files(&key.namespace, &key.name, &uid).await; // also of one that had no sandbox any more
                if let Err(error) = &removed {
                    let message = format!("files of pod {key} (uid {uid}) stay for now: {}", error.line());
                    self.recorder.warning(&self.about_node(), leftovers::FAILED, message, None);
                }
                removed?;
                self.memories().remove(&key); // only now: what was not removed is tried again
            }
            return Ok(Outcome::Done);
        };
        let mut memory = self.recall(&key, &uid);
        let pod = memory.with_newest_status(&pod);
        let result = match pod.metadata.deletion_timestamp.is_some() {
            true => self.terminate(&key, &pod, &mut memory, &cause).await,
            false => {
                memory.ends_by = None; // a deletion may have been undone
                self.run(&key, &pod, &mut memory, &cause).await
            }
        };
        self.remember(&key, memory);
        result
    }

    /// Records what was done for a pod since `since`.
    fn tell(&self, event: Event, key: &Key, since: clock::Instant, cause: &Option<Cause>) {
        let record = Record::new(event).object("pods", &key.namespace, &key.name);
        self.config.tap.emit(record.took(since.elapsed()).cause(cause.clone()));
    }

    /// Writes the status of a pod if it differs from the one that is known. `false`: the pod is
    /// gone, was replaced or changed meanwhile. The watch tells of that, so nothing has to be tried
    /// again before.
    async fn report(
        &self,
        key: &Key,
        pod: &Pod,
        memory: &mut Memory,
        cause: &Option<Cause>,
        mut status: PodStatus,
    ) -> Result<bool, Error> {
        if self.statics.contains_key(key) {
            // Before the first API server answers, there is nobody to show the pod to: tried again
            // soon.
            return mirror::show(&self.config, pod, &status).await.map(|()| true);
        }
        if !status::differs(pod.status.as_ref(), &status) {
            return Ok(true);
        }
        let start = clock::Instant::now();
        // Conditions of others (a readiness gate, the reason of an eviction) are written back as
        // they were seen: only over what was seen.
        let seen = memory.written.as_ref().map_or(0, |(revision, _)| *revision).max(revision_of(pod));
        let metadata = json!({"uid": memory.uid, "resourceVersion": seen.to_string()});
        let mut written = self.write_status(key, cause, &metadata, &status).await;
        if written.as_ref().is_err_and(|error| is_code(error, 413)) {
            // How its containers ended counts more than what they said: a pod that cannot be
            // reported would neither end nor be evicted.
            status::without_messages(&mut status);
            written = self.write_status(key, cause, &metadata, &status).await;
        }
        match written {
            Ok(stored) => {
                let phase = status.phase.clone().unwrap_or_default();
                memory.written = Some((revision_of(&stored), stored.status.unwrap_or(status)));
                self.tell(Event::Status { phase }, key, start, cause);
                Ok(true)
            }
            Err(error) if is_code(&error, 404) || is_code(&error, 409) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn write_status(
        &self,
        key: &Key,
        cause: &Option<Cause>,
        metadata: &serde_json::Value,
        status: &PodStatus,
    ) -> Result<Pod, kube::Error> {
        let api = self.config.client.caused_by(cause.clone()).within::<Pod>(&key.namespace);
        let patch = Patch::Merge(json!({"metadata": metadata, "status": status}));
        api.patch_status(&key.name, &PatchParams::default(), &patch).await
    }

    /// What the probes of the pod's running containers say; those that just started are probed from
    /// now on.
    fn probes(
        &self,
        key: &Key,
        pod: &Pod,
        sandboxes: &[Sandbox],
        containers: &[Container],
        memory: &Memory,
    ) -> Seen {
        let ip = sandboxes.iter().max_by_key(|s| s.attempt).and_then(|s| s.ip).map(IpAddr::from);
        let mut seen = self.prober.attend(key, pod, containers, ip);
        let running = containers.iter().filter(|c| c.state == ContainerState::Running);
        seen.mark_unhooked(running.filter(|c| memory.unhooked.contains(&c.id)).map(|c| c.name.as_str()));
        seen
    }

    fn status_of(
        &self,
        key: &Key,
        pod: &Pod,
        sandboxes: &[Sandbox],
        containers: &[Container],
        memory: &Memory,
    ) -> PodStatus {
        let probes = &self.probes(key, pod, sandboxes, containers, memory);
        let sandbox = sandboxes.iter().max_by_key(|s| s.attempt);
        let (backoffs, replaced, now) = (&memory.backoffs, &memory.replaced, clock::now());
        let view = View { pod, sandbox, containers, backoffs, replaced, probes, now };
        status::of(&view, &memory.waiting, self.config.node_ip)
    }

    async fn run(
        self: &Arc<Self>,
        key: &Key,
        pod: &Pod,
        memory: &mut Memory,
        cause: &Option<Cause>,
    ) -> Result<Outcome, Error> {
        let over = view::has_ended(pod);
        let mut again: Option<Duration> = None;
        let mut failure = None;
        let mut judged = None;
        if !over {
            memory.volumes_gone = false; // a deletion may have been undone
            let (fails, later) = self.judge(key, pod, memory).await?;
            if let Some(fails) = fails {
                return Ok(match self.fail(key, pod, memory, cause, fails).await? {
                    true => Outcome::After(Duration::ZERO), // then it is wound up
                    false => Outcome::Done,
                });
            }
            judged = later;
        }
        if over {
            self.forget_sentence(key, &memory.uid);
            memory.variables.clear(); // nothing starts any more
        }
        for pass in 0..PASSES {
            let (sandboxes, containers) = self.seen(key, &memory.uid).await?;
            if over && !containers.iter().any(|c| c.state == ContainerState::Running) {
                self.give_volumes_back(pod, memory, cause).await?;
            }
            if over && containers.is_empty() {
                // It ended before this kubelet's time, or failed before any container was made.
                for sandbox in sandboxes.iter().filter(|s| s.state == SandboxState::Ready) {
                    self.config.runtime.stop_pod_sandbox(&sandbox.id).await?;
                }
                return Ok(Outcome::Done);
            }
            let sandbox = sandboxes.iter().max_by_key(|s| s.attempt);
            let now = clock::now();
            let probes = &self.probes(key, pod, &sandboxes, &containers, memory);
            let (backoffs, replaced) = (&memory.backoffs, &memory.replaced);
            let view = View { pod, sandbox, containers: &containers, backoffs, replaced, probes, now };
            let mut steps = decide::decide(&view);
            if over {
                steps = decide::wind_up(&view);
                if self.is_ending(key, &memory.uid) {
                    steps.retain(|step| !matches!(step, Step::Stop { .. }));
                }
            }
            let backing_off = self.backing_off(&view, &steps);
            again = steps.iter().find_map(|s| if let Step::LookAgain(d) = s { Some(*d) } else { None });
            steps.retain(|s| !matches!(s, Step::LookAgain(_)));
            for (container, init) in backing_off {
                if memory.tell_again(&container) {
                    let message =
                        format!("Back-off restarting failed container {container} in pod {}", long_name(pod));
                    self.recorder.warning(
                        &reference(pod, Some((&container, init))),
                        "BackOff",
                        message,
                        None,
                    );
                }
            }
            if steps.is_empty() {
                break;
            }
            // A container that is ending takes its time; the runtime's event brings the key back.
            let last = steps.iter().all(|s| matches!(s, Step::Stop { .. }));
            let first = pass == 0 && matches!(steps[0], Step::CreateSandbox { .. });
            let status = first.then(|| self.status_of(key, pod, &sandboxes, &containers, memory));
            let mut scratch = Memory { uid: memory.uid.clone(), ..Memory::default() };
            let announce = async {
                match status {
                    // ContainerCreating, while the sandbox is made
                    Some(status) if !self.statics.contains_key(key) => {
                        self.report(key, pod, &mut scratch, cause, status).await
                    }
                    _ => Ok(true),
                }
            };
            let work = self.carry_out(key, pod, memory, cause, steps, &sandboxes, &containers);
            let (announced, (wait, failed)) = futures::join!(announce, work);
            memory.written = scratch.written.or(memory.written.take());
            if let Err(error) = announced {
                // The report after the last pass says more; no container waits for an API server
                // that is away.
                tracing::debug!(pod = %key, %error, "cannot tell that a pod is being made");
            }
            again = [again, wait].into_iter().flatten().min();
            failure = failed;
            if last || wait.is_some() || failure.is_some() {
                break;
            }
        }
        if let Some(wait) = again {
            // Also if something fails from here on: the retry knows nothing of a container's
            // back-off.
            self.queue.add_after(key.clone(), cause.clone(), wait);
        }
        let (sandboxes, containers) = self.seen(key, &memory.uid).await?;
        let seen = memory.with_newest_status(pod);
        let status = self.status_of(key, &seen, &sandboxes, &containers, memory);
        let reported = self.report(key, &seen, memory, cause, status).await;
        memory.stopping.retain(|id, _| containers.iter().any(|c| c.id == *id));
        memory.replaced.retain(|id| containers.iter().any(|c| c.id == *id));
        memory.unhooked.retain(|id| containers.iter().any(|c| c.id == *id));
        // Also if no API server answers: containers restart without one, and their attempts would
        // pile up.
        self.forget_old(&memory.uid, &sandboxes, &containers).await?;
        if let Some(error) = failure {
            return Err(error);
        }
        reported?;
        if volumes::is_live(pod) && !over {
            let called = (pod.metadata.labels.clone(), pod.metadata.annotations.clone());
            let late = |at: &clock::Instant| clock::passed(*at, clock::Instant::now()) >= REFRESH;
            match &memory.refreshed {
                Some((at, before)) if !late(at) && *before == called => {}
                seen => {
                    if seen.is_some()
                        && let Err(error) = self.volumes(pod, &sandboxes, memory, cause).await
                    {
                        // What is on the disk stays, and the next refresh tries again.
                        self.recorder.warning(
                            &reference(pod, None),
                            "FailedMount",
                            error.line(),
                            cause.clone(),
                        );
                    }
                    memory.refreshed = Some((clock::Instant::now(), called));
                }
            }
            again = Some(again.map_or(REFRESH, |a| a.min(REFRESH)));
        }
        let next = [again, judged].into_iter().flatten().min();
        Ok(next.map_or(Outcome::Done, Outcome::After))
    }

    /// Containers that wait for the end of their back-off, and whether each is an init container.
    fn backing_off(&self, view: &View, steps: &[Step]) -> Vec<(String, bool)> {
        if !steps.iter().any(|s| matches!(s, Step::LookAgain(_))) {
            return vec![];
        }
        let all = view.specs().iter().map(|s| (s, false)).chain(view.init_specs().iter().map(|s| (s, true)));
        all.filter(|(spec, _)| {
            let ended = view.current(&spec.name).filter(|c| c.state == ContainerState::Exited);
            ended.is_some_and(|c| view.backoff_left(spec, c).is_some())
        })
        .map(|(spec, init)| (spec.name.clone(), init))
        .collect()
    }

    /// Does the steps in order. Returns the time after which to look again, and the first failure.
    /// A container that cannot be started keeps no other from being started or stopped.
    #[allow(clippy::too_many_arguments)] // the facts of one pass, named once
    async fn carry_out(
        self: &Arc<Self>,
        key: &Key,
        pod: &Pod,
        memory: &mut Memory,
        cause: &Option<Cause>,
        steps: Vec<Step>,
        sandboxes: &[Sandbox],
        containers: &[Container],
    ) -> (Option<Duration>, Option<Error>) {
        let mut prepared: Option<Option<Volumes>> = None; // inside `None`: they could not be made
        let (mut wait, mut failure): (Option<Duration>, Option<Error>) = (None, None);
        for step in steps {
            let done = match step {
                Step::LookAgain(_) => Ok(None),
                Step::StopSandbox { id } => {
                    self.config.runtime.stop_pod_sandbox(&id).await.map(|()| None).map_err(Error::from)
                }
                Step::Stop { name, id, why } => {
                    let Some(container) = containers.iter().find(|c| c.id == id) else { continue };
                    let (grace, message) = ending::reason(pod, &name, why);
                    let deadline = clock::deadline(grace);
                    if why == view::Why::Changed {
                        memory.replaced.insert(id);
                    }
                    let manner = ending::Manner { deadline, message, in_order: why == view::Why::Over };
                    self.stop(key, pod, sandboxes, container, manner, memory, cause);
                    Ok(None)
                }
                Step::CreateSandbox { attempt } => {
                    self.create_sandbox(key, pod, attempt, sandboxes, cause).await.map(|()| None)
                }
                Step::Start { name, init, attempt } => {
                    let sandbox = sandboxes.iter().max_by_key(|s| s.attempt);
                    let extra = specs::ephemeral(pod);
                    let specs =
                        pod.spec.iter().flat_map(|s| s.init_containers.iter().flatten().chain(&s.containers));
                    let spec = specs.chain(&extra).find(|c| c.name == name);
                    let (Some(sandbox), Some(spec)) = (sandbox, spec) else {
                        continue;
                    };
                    if prepared.is_none() {
                        let made = self.volumes(pod, sandboxes, memory, cause).await;
                        prepared = Some(match made {
                            Ok(volumes) => Some(volumes),
                            Err(error) => {
                                let (about, message) = (reference(pod, None), error.line());
                                self.recorder.warning(&about, "FailedMount", message, cause.clone());
                                failure.get_or_insert(error);
                                None
                            }
                        });
                    }
                    let Some(volumes) = prepared.as_ref().and_then(Option::as_ref) else { continue };
                    let previous = containers.iter().filter(|c| c.name == name).max_by_key(|c| c.attempt);
                    self.start_container(
                        key, pod, spec, init, attempt, sandbox, previous, volumes, memory, cause,
                    )
                    .await
                }
            };
            match done {
                Ok(later) => wait = [wait, later].into_iter().flatten().min(),
                Err(error) => _ = failure.get_or_insert(error),
            }
        }
        (wait, failure)
    }

    /// Makes the pod's next sandbox, once the ones before are stopped.
    async fn create_sandbox(
        &self,
        key: &Key,
        pod: &Pod,
        attempt: u32,
        sandboxes: &[Sandbox],
        cause: &Option<Cause>,
    ) -> Result<(), Error> {
        for old in sandboxes.iter().filter(|s| s.state == SandboxState::NotReady) {
            self.config.runtime.stop_pod_sandbox(&old.id).await?;
        }
        let start = clock::Instant::now();
        let (dns, left_out) = dns::of_pod(pod, self.config.cluster_dns, &self.config.cluster_domain);
        for what in left_out {
            self.recorder.warning(&reference(pod, None), "DNSConfigForming", what, cause.clone());
        }
        let config = self.sandbox_config(pod, attempt, dns);
        if let Err(error) = self.config.runtime.run_pod_sandbox(config).await {
            let message = format!("Failed to create pod sandbox: {}", error.line());
            tracing::warn!(pod = %Key::of(pod), reason = error.line(), "no sandbox");
            let about = reference(pod, None);
            self.recorder.warning(&about, "FailedCreatePodSandBox", message, cause.clone());
            return Err(error.into());
        }
        self.tell(Event::Sandbox { attempt }, key, start, cause);
        Ok(())
    }
}
