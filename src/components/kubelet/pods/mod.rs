//! The edge of the kubelet: one pod at a time, from what is wanted to what runs.
//!
//! [`sync_pod`] brings a pod from what runs to what is wanted, step by step:
//!
//! ```text
//! mounting      its volumes                starting   a container: image (pulling), environment,
//! sandbox       its sandbox                           start, postStart (hooks)
//! ending        the end of a container     leftovers  what pods and attempts leave on the disk
//! ```
//!
//! [`terminating`] ends a pod that is being deleted, [`failing`] one that has to fail: for its own
//! limits, or because the [`eviction_manager`] or the admission of a critical pod decided so
//! ([`decided_failures`]). [`pleg`] says which pods have changed in the runtime, [`failure_events`]
//! how often Events tell of a step that fails again and again.

use super::back_off::Backoffs;
use super::config::Config;
use super::error::Error;
use super::pleg::{self, Pleg, PodLifecycleEvent};
use super::pressure::Pressures;
use super::probe::ProbeResults;
use super::view::View;
use super::{mirror, status, termination_message};
use client::{Change, Informer, Key, Outcome, is_code};
use cri::{self, Container, ContainerState, Sandbox, SandboxState};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher;
use kubelet::RETRY;
use memory::{PodMemory, revision_of};
use serde_json::json;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use tap::{Cause, Event, Record};
use task::Crew;
use tokio::sync::watch;

mod decided_failures;
mod ending;
mod environment;
mod eviction_manager;
mod failing;
mod failure_events;
mod hooks;
mod kubelet;
mod leftovers;
mod lost_logs;
mod measured;
mod memory;
mod mounting;
mod pulling;
mod removals;
mod sandbox;
mod starting;
mod sync_pod;
mod terminating;
#[cfg(test)]
pub(super) mod tests;

pub(crate) use eviction_manager::EvictionManager;
pub(crate) use kubelet::Kubelet;

/// The pod that a pod worker syncs, and why it does so now (upstream: `podWork`).
#[derive(Clone, Copy)]
struct PodWork<'a> {
    key: &'a Key,
    pod: &'a Pod,
    /// What brought the pod to its worker, for Events and records.
    cause: &'a Option<Cause>,
}

/// Starts the workers of the node's pods, and the eviction manager, which says in `pressures`
/// whether memory or disk are low.
pub(crate) fn start(crew: &Crew, config: &Arc<Config>, pressures: watch::Sender<Pressures>) -> Arc<Kubelet> {
    let kubelet = start_workers(crew, config, pressures);
    let watching = kubelet.clone();
    crew.spawn(async move {
        watching.pods.synced().await;
        EvictionManager::new(watching).watch().await;
    });
    kubelet
}

/// Starts everything but the watch on the machine's memory and disk, which knows real time only: a
/// simulation reads a made-up memory in its place.
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
    kubelet.pods.on(move |change| watcher.note_change(change));
    let mut pleg = Pleg::subscribe(config);
    let relay = kubelet.clone();
    crew.spawn_essential(async move {
        while let Some(event) = pleg.next().await {
            match event {
                PodLifecycleEvent::Changed(key) => relay.queue.add(key, None),
                PodLifecycleEvent::Missed => relay.look_at_everything().await,
            }
        }
    });
    let first = kubelet.clone();
    crew.spawn(async move {
        for key in first.statics.keys() {
            first.queue.add(key.clone(), None);
        }
        first.pods.synced().await;
        first.look_at_everything().await; // sandboxes whose pods went while no kubelet ran
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
    /// Takes note of a change of a pod. A mirror shows a static pod, which does not end with it: it
    /// is shown again a moment after the mirror is gone.
    fn note_change(&self, change: &Change<Pod>) {
        let (key, pod) = (change.key(), change.object());
        if self.statics.contains_key(&key) && matches!(change, Change::Deleted(_)) {
            return self.queue.add_after_pause(key, change.cause(), mirror::NEXT);
        }
        if !self.statics.contains_key(&key) && !mirror::is_one(pod) {
            if matches!(change, Change::Deleted(_)) {
                self.gone().insert(key.clone(), pod.clone());
                self.admissions.lock().forget(pod.metadata.uid.as_deref().unwrap_or_default());
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

    /// Looks at all pods that the API has, and at all that the runtime has.
    async fn look_at_everything(&self) {
        for pod in self.pods.list() {
            self.queue.add(Key::of(&*pod), None);
        }
        for key in pleg::relist(&self.config, RETRY).await {
            self.queue.add(key, None);
        }
    }

    /// Returns the pod as this node knows it, static or not. What the API shows as a mirror is not
    /// run from there, as upstream: it shows a static pod, or nothing.
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

    /// Returns the newest container of a pod by name, or the one of `kubectl logs --previous`.
    pub(crate) async fn container(
        &self,
        key: &Key,
        name: &str,
        previous: bool,
    ) -> Result<Option<Container>, cri::Error> {
        let Some(pod) = self.pod(key) else { return Ok(None) };
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let (_, containers) = self.in_runtime(key, &uid).await?;
        let (backoffs, probes) = (Backoffs::new(), ProbeResults::default());
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

    /// Returns the attempt of a container whose log `kubectl logs` shows, or `kubectl logs
    /// --previous`. One that is not started yet has no log: until then it is the attempt before, if
    /// there is one. Upstream: `validateContainerLogStatus`.
    pub(crate) async fn logged(
        &self,
        key: &Key,
        name: &str,
        previous: bool,
    ) -> Result<Option<Container>, cri::Error> {
        let found = self.container(key, name, previous).await?;
        match found.as_ref().is_some_and(|c| c.state == ContainerState::Created) {
            true => self.container(key, name, true).await,
            false => Ok(found),
        }
    }

    /// Returns the newest sandbox that is ready.
    pub(crate) async fn sandbox(&self, key: &Key) -> Result<Option<Sandbox>, cri::Error> {
        let Some(pod) = self.pod(key) else { return Ok(None) };
        let (sandboxes, _) = self.in_runtime(key, pod.metadata.uid.as_deref().unwrap_or_default()).await?;
        Ok(sandboxes.into_iter().filter(|s| s.state == SandboxState::Ready).max_by_key(|s| s.attempt))
    }

    /// Returns what the runtime has for a pod: its sandboxes and their containers, those that have
    /// ended with their termination messages.
    async fn in_runtime(&self, key: &Key, uid: &str) -> Result<(Vec<Sandbox>, Vec<Container>), cri::Error> {
        let mut sandboxes = self.config.runtime.list_pod_sandboxes().await?;
        sandboxes.retain(|s| s.pod.namespace == key.namespace && s.pod.name == key.name && s.pod.uid == uid);
        let mut containers = self.config.runtime.list_containers().await?;
        containers.retain(|c| sandboxes.iter().any(|s| s.id == c.sandbox_id));
        let pod_dir = self.pod_dir(uid);
        for ended in containers.iter_mut().filter(|c| c.message.is_empty()) {
            ended.message = termination_message::message(&pod_dir, ended);
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
                self.forget_decided_failure(&key, &uid);
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
        let work = PodWork { key: &key, pod: &pod, cause: &cause };
        let result = match pod.metadata.deletion_timestamp.is_some() {
            true => self.terminate(work, &mut memory).await,
            false => {
                memory.ends_by = None; // a deletion may have been undone
                self.sync_pod(work, &mut memory).await
            }
        };
        self.remember(&key, memory);
        result
    }

    /// Emits the record of what was done for a pod since `since`.
    fn emit(&self, event: Event, key: &Key, since: clock::Instant, cause: &Option<Cause>) {
        let record = Record::new(event).object("pods", &key.namespace, &key.name);
        self.config.tap.emit(record.took(since.elapsed()).cause(cause.clone()));
    }

    /// Writes the status of a pod if it differs from the one that is known. `false`: the pod is
    /// gone, was replaced or changed meanwhile. The watch tells of that, so nothing has to be tried
    /// again before.
    async fn report(
        &self,
        work: PodWork<'_>,
        memory: &mut PodMemory,
        mut status: PodStatus,
    ) -> Result<bool, Error> {
        let PodWork { key, pod, cause } = work;
        if self.statics.contains_key(key) {
            // Before the first API server answers the mirror cannot be written: tried again soon.
            return mirror::show(&self.config, pod, &status).await.map(|()| true);
        }
        if !status::differs(pod.status.as_ref(), &status) {
            return Ok(true);
        }
        let start = clock::Instant::now();
        // Conditions of others (a readiness gate, the reason of an eviction) are written back as
        // this kubelet knows them, so the API server must not have newer ones: it refuses a patch
        // with another revision.
        let own = memory.written.as_ref().map_or(0, |(revision, _)| *revision);
        let revision = own.max(revision_of(pod)).to_string();
        let metadata = json!({"uid": memory.uid, "resourceVersion": revision});
        let old = pod.status.as_ref();
        let mut written = self.write_status(key, cause, &metadata, status::patch(old, &status)).await;
        if written.as_ref().is_err_and(|error| is_code(error, 413)) {
            // How its containers ended counts more than what they said: a pod that cannot be
            // reported would neither end nor be evicted.
            status::without_messages(&mut status);
            written = self.write_status(key, cause, &metadata, status::patch(old, &status)).await;
        }
        match written {
            Ok(stored) => {
                let phase = status.phase.clone().unwrap_or_default();
                memory.written = Some((revision_of(&stored), stored.status.unwrap_or(status)));
                self.emit(Event::Status { phase }, key, start, cause);
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
        status: serde_json::Value,
    ) -> Result<Pod, kube::Error> {
        let api = self.config.client.caused_by(cause.clone()).within::<Pod>(&key.namespace);
        let patch = Patch::Merge(json!({"metadata": metadata, "status": status}));
        api.patch_status(&key.name, &PatchParams::default(), &patch).await
    }

    /// Probes the pod's running containers, those that just started from now on. Returns what their
    /// probes say.
    fn probe_running(
        &self,
        key: &Key,
        pod: &Pod,
        sandboxes: &[Sandbox],
        containers: &[Container],
        memory: &PodMemory,
    ) -> ProbeResults {
        let ip = sandboxes.iter().max_by_key(|s| s.attempt).and_then(|s| s.ip).map(IpAddr::from);
        let mut results = self.prober.probe_running(key, pod, containers, ip);
        let running = containers.iter().filter(|c| c.state == ContainerState::Running);
        let failed = running.filter(|c| memory.post_start_failed.contains(&c.id));
        results.mark_post_start_failed(failed.map(|c| c.name.as_str()));
        results
    }

    fn status_of(
        &self,
        key: &Key,
        pod: &Pod,
        sandboxes: &[Sandbox],
        containers: &[Container],
        memory: &PodMemory,
    ) -> PodStatus {
        let probes = &self.probe_running(key, pod, sandboxes, containers, memory);
        let sandbox = sandboxes.iter().max_by_key(|s| s.attempt);
        let (backoffs, replaced, now) = (&memory.pauses(containers), &memory.replaced, clock::now());
        let view = View { pod, sandbox, containers, backoffs, replaced, probes, now };
        status::of(&view, &memory.waiting, self.config.node_ip)
    }
}
