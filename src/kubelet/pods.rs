//! The edge of the kubelet: one pod at a time, from what is wanted to what runs.

use super::container::Volumes;
use super::decide::{self, Backoffs, Step, View};
use super::env::{self, Facts, Sources};
use super::status::{self, Waiting, go_duration, long_name};
use super::{Config, Error, container, mirror, volumes};
use crate::client::{Informer, Key, Outcome, Recorder, WorkQueue, is_code};
use crate::clock::{self, Timestamp};
use crate::cri::{self, Container, ContainerState, Dns, PodId, Sandbox, SandboxConfig, SandboxState};
use crate::tap::{Cause, Record};
use crate::task::Crew;
use k8s_openapi::api::core::v1::{
    ConfigMap, Container as Spec, ObjectReference, Pod, PodStatus, Secret, Service,
};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::watcher;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Pods tended at the same time. Most of a pod's start is waiting for the kernel and the API.
const WORKERS: usize = 32;
/// Volumes that may change are looked at this often, like the kubelet's sync period.
const REFRESH: Duration = Duration::from_secs(60);
/// An image that cannot be pulled is tried again after 10 s, doubled each time up to 300 s.
const PULL_BACKOFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));
/// A back-off is told by an Event this often, at most.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// Passes over one pod before others get a turn.
const PASSES: usize = 8;

/// What the kubelet remembers about a pod between two looks. Losing it costs nothing but patience.
#[derive(Default)]
struct Memory {
    uid: String,
    backoffs: Backoffs,
    waiting: Waiting,
    /// Container → (pause, until when, the message).
    pulls: BTreeMap<String, (Duration, Timestamp, String)>,
    /// Container id → when it will be killed.
    stopping: HashMap<String, clock::Instant>,
    /// The last status written, with the revision that wrote it.
    written: Option<(u64, PodStatus)>,
    refreshed: Option<clock::Instant>,
    /// When a back-off was last told by an Event, by container.
    told: BTreeMap<String, clock::Instant>,
}

impl Memory {
    /// Is it time to tell again that this container backs off? Looks come as often as anything changes; Events should not.
    fn tell_again(&mut self, container: &str) -> bool {
        let due = self.told.get(container).is_none_or(|at| at.elapsed() >= clock::scaled(TELL_EVERY));
        if due {
            self.told.insert(container.into(), clock::Instant::now());
        }
        due
    }
}

pub struct Kubelet {
    pub config: Arc<Config>,
    crew: Crew,
    pods: Informer<Pod>,
    services: Informer<Service>,
    queue: WorkQueue<Key>,
    statics: BTreeMap<Key, Arc<Pod>>,
    memory: Mutex<HashMap<Key, Memory>>,
    recorder: Recorder,
}

pub fn start(crew: &Crew, config: &Arc<Config>) -> Arc<Kubelet> {
    let on_node = watcher::Config::default().fields(&format!("spec.nodeName={}", config.node_name));
    let statics = config.static_pods.iter().map(|p| (Key::of(p), Arc::new(p.clone()))).collect();
    let kubelet = Arc::new(Kubelet {
        config: config.clone(),
        crew: crew.clone(),
        pods: Informer::start(crew, config.client.all::<Pod>(), on_node),
        services: Informer::all(crew, &config.client),
        queue: WorkQueue::new(crew),
        statics,
        memory: Mutex::new(HashMap::new()),
        recorder: Recorder::new(crew, &config.client, "kubelet", &config.node_name),
    });
    let queue = kubelet.queue.clone();
    kubelet.pods.on(move |change| queue.add(change.key(), change.cause()));
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
    });
    let worker = kubelet.clone();
    kubelet.queue.work("kubelet", WORKERS, move |key, cause| {
        let kubelet = worker.clone();
        async move { kubelet.sync(key, cause).await }
    });
    kubelet
}

/// How `describe` finds a pod's events, and a container's.
fn reference(pod: &Pod, container: Option<(&str, bool)>) -> ObjectReference {
    let meta = &pod.metadata;
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: container.map(|(name, init)| match init {
            true => format!("spec.initContainers{{{name}}}"),
            false => format!("spec.containers{{{name}}}"),
        }),
    }
}

impl Kubelet {
    async fn look_at_everything(&self) {
        if let Ok(sandboxes) = self.config.runtime.list_pod_sandboxes().await {
            for sandbox in sandboxes {
                self.queue.add(Key::new(sandbox.pod.namespace, sandbox.pod.name), None);
            }
        }
        for pod in self.pods.list() {
            self.queue.add(Key::of(&*pod), None);
        }
    }

    /// The pod as this node knows it, static or not.
    pub fn pod(&self, key: &Key) -> Option<Arc<Pod>> {
        self.statics.get(key).cloned().or_else(|| self.pods.get(key))
    }

    /// The newest container of a pod by name.
    pub async fn container(
        &self,
        key: &Key,
        name: &str,
        previous: bool,
    ) -> Result<Option<Container>, cri::Error> {
        let Some(pod) = self.pod(key) else { return Ok(None) };
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let (_, containers) = self.seen(key, &uid).await?;
        let backoffs = Backoffs::new();
        let view = View {
            pod: &pod,
            sandbox: None,
            containers: &containers,
            backoffs: &backoffs,
            now: clock::now(),
        };
        Ok(if previous { view.previous(name) } else { view.current(name) }.cloned())
    }

    /// The newest sandbox that is ready.
    pub async fn sandbox(&self, key: &Key) -> Result<Option<Sandbox>, cri::Error> {
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
        Ok((sandboxes, containers))
    }

    fn recall(&self, key: &Key, uid: &str) -> Memory {
        let kept = self.memory.lock().unwrap_or_else(|e| e.into_inner()).remove(key);
        kept.filter(|m| m.uid == uid).unwrap_or_else(|| Memory { uid: uid.into(), ..Memory::default() })
    }

    fn remember(&self, key: &Key, memory: Memory) {
        self.memory.lock().unwrap_or_else(|e| e.into_inner()).insert(key.clone(), memory);
    }

    async fn sync(self: &Arc<Self>, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
        let pod = self.pod(&key);
        let uid = pod.as_ref().and_then(|p| p.metadata.uid.clone()).unwrap_or_default();
        self.clear_strangers(&key, &uid).await?;
        let Some(pod) = pod else {
            self.memory.lock().unwrap_or_else(|e| e.into_inner()).remove(&key);
            return Ok(Outcome::Done);
        };
        let mut memory = self.recall(&key, &uid);
        let mut pod = (*pod).clone();
        if let Some((revision, written)) = &memory.written {
            let cached: u64 =
                pod.metadata.resource_version.as_deref().and_then(|r| r.parse().ok()).unwrap_or(0);
            if cached < *revision {
                pod.status = Some(written.clone());
            }
        }
        let result = match pod.metadata.deletion_timestamp.is_some() {
            true => self.terminate(&key, &pod, &mut memory, &cause).await,
            false => self.run(&key, &pod, &mut memory, &cause).await,
        };
        self.remember(&key, memory);
        result
    }

    /// Ends what runs under this name for a pod that is no more.
    async fn clear_strangers(&self, key: &Key, uid: &str) -> Result<(), Error> {
        let sandboxes = self.config.runtime.list_pod_sandboxes().await?;
        let stranger =
            |s: &&Sandbox| s.pod.namespace == key.namespace && s.pod.name == key.name && s.pod.uid != uid;
        for sandbox in sandboxes.iter().filter(stranger) {
            if uid.is_empty() && !self.statics.contains_key(key) {
                self.pods.synced().await; // do not take a slow first list for an empty one
                if self.pods.get(key).is_some() {
                    return Ok(());
                }
            }
            self.config.runtime.stop_pod_sandbox(&sandbox.id).await?;
            self.config.runtime.remove_pod_sandbox(&sandbox.id).await?;
            let dir = self.pod_dir(&sandbox.pod.uid);
            if dir.exists() {
                std::fs::remove_dir_all(&dir).map_err(|cause| Error::File { path: dir, cause })?;
            }
        }
        Ok(())
    }

    fn pod_dir(&self, uid: &str) -> PathBuf {
        self.config.dir.join("pods").join(uid)
    }

    fn log_dir(&self, pod: &Pod) -> PathBuf {
        let part = |p: &Option<String>| p.clone().unwrap_or_default();
        let meta = &pod.metadata;
        let name = format!("{}_{}_{}", part(&meta.namespace), part(&meta.name), part(&meta.uid));
        self.config.dir.join("log").join("pods").join(name)
    }

    fn tell(
        &self,
        verb: &str,
        key: &Key,
        since: clock::Instant,
        cause: &Option<Cause>,
        detail: serde_json::Value,
    ) {
        let record = Record::new(verb).object("pods", &key.namespace, &key.name);
        self.config.tap.emit(record.took(since.elapsed()).cause(cause.clone()).detail(detail));
    }

    async fn report(
        &self,
        key: &Key,
        pod: &Pod,
        memory: &mut Memory,
        cause: &Option<Cause>,
        status: PodStatus,
    ) -> Result<(), Error> {
        if self.statics.contains_key(key) {
            // Before the first API server answers, there is nobody to show the pod to: tried again soon.
            return mirror::show(&self.config, pod, &status).await;
        }
        if !status::differs(pod.status.as_ref(), &status) {
            return Ok(());
        }
        let start = clock::Instant::now();
        let patch = json!({"metadata": {"uid": memory.uid}, "status": status});
        let api = self.config.client.caused_by(cause.clone()).within::<Pod>(&key.namespace);
        match api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(stored) => {
                let revision = stored.metadata.resource_version.as_deref().and_then(|r| r.parse().ok());
                let phase = status.phase.clone().unwrap_or_default();
                memory.written = Some((revision.unwrap_or(0), stored.status.unwrap_or(status)));
                self.tell("status", key, start, cause, json!({"phase": phase}));
                Ok(())
            }
            Err(error) if is_code(&error, 404) || is_code(&error, 409) => Ok(()), // gone or replaced: the watch tells
            Err(error) => Err(error.into()),
        }
    }

    fn status_of(
        &self,
        pod: &Pod,
        sandboxes: &[Sandbox],
        containers: &[Container],
        memory: &Memory,
    ) -> PodStatus {
        let sandbox = sandboxes.iter().max_by_key(|s| s.attempt);
        let view = View { pod, sandbox, containers, backoffs: &memory.backoffs, now: clock::now() };
        status::of(&view, &memory.waiting, &BTreeMap::new(), self.config.node_ip)
    }

    async fn run(
        self: &Arc<Self>,
        key: &Key,
        pod: &Pod,
        memory: &mut Memory,
        cause: &Option<Cause>,
    ) -> Result<Outcome, Error> {
        let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default();
        let over = matches!(phase, "Succeeded" | "Failed");
        let mut again: Option<Duration> = None;
        let mut failure = None;
        for pass in 0..PASSES {
            let (sandboxes, containers) = self.seen(key, &memory.uid).await?;
            if over && containers.is_empty() {
                return Ok(Outcome::Done); // it ended before this kubelet's time, or was failed by somebody else
            }
            let sandbox = sandboxes.iter().max_by_key(|s| s.attempt);
            let now = clock::now();
            let view = View { pod, sandbox, containers: &containers, backoffs: &memory.backoffs, now };
            let mut steps = decide::decide(&view);
            if over {
                steps = sandboxes
                    .iter()
                    .filter(|s| s.state == SandboxState::Ready)
                    .map(|s| Step::StopSandbox { id: s.id.clone() })
                    .collect();
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
            let first = pass == 0 && matches!(steps[0], Step::CreateSandbox { .. });
            let status = first.then(|| self.status_of(pod, &sandboxes, &containers, memory));
            let mut scratch = Memory { uid: memory.uid.clone(), ..Memory::default() };
            let announce = async {
                match status {
                    // ContainerCreating, while the sandbox is made
                    Some(status) if !self.statics.contains_key(key) => {
                        self.report(key, pod, &mut scratch, cause, status).await
                    }
                    _ => Ok(()),
                }
            };
            let work = self.carry_out(key, pod, memory, cause, steps, &sandboxes, &containers);
            let (announced, worked) = futures::join!(announce, work);
            memory.written = scratch.written.or(memory.written.take());
            announced?;
            match worked {
                Ok(None) => {}
                Ok(Some(wait)) => {
                    again = Some(again.map_or(wait, |a| a.min(wait)));
                    break;
                }
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        let (sandboxes, containers) = self.seen(key, &memory.uid).await?;
        let mut seen = pod.clone();
        if let Some((_, written)) = &memory.written {
            seen.status = Some(written.clone());
        }
        let status = self.status_of(&seen, &sandboxes, &containers, memory);
        self.report(key, &seen, memory, cause, status).await?;
        self.forget_old(&containers).await?;
        if let Some(error) = failure {
            return Err(error);
        }
        if volumes::is_live(pod) {
            if memory.refreshed.is_some_and(|at| at.elapsed() >= clock::scaled(REFRESH)) {
                self.volumes(pod, &sandboxes).await?;
                memory.refreshed = Some(clock::Instant::now());
            }
            memory.refreshed.get_or_insert_with(clock::Instant::now);
            again = Some(again.map_or(REFRESH, |a| a.min(REFRESH)));
        }
        Ok(again.map_or(Outcome::Done, Outcome::After))
    }

    /// Containers that wait for the end of their back-off, and whether each is an init container.
    fn backing_off(&self, view: &View, steps: &[Step]) -> Vec<(String, bool)> {
        if !steps.iter().any(|s| matches!(s, Step::LookAgain(_))) {
            return vec![];
        }
        let all = view.specs().iter().map(|s| (s, false)).chain(view.init_specs().iter().map(|s| (s, true)));
        all.filter(|(spec, _)| {
            let ended = view.current(&spec.name).filter(|c| c.state == ContainerState::Exited);
            ended.is_some_and(|c| view.backoff_left(&spec.name, c).is_some())
        })
        .map(|(spec, init)| (spec.name.clone(), init))
        .collect()
    }

    /// Does the steps in order. `Some`: look again after that time.
    #[allow(clippy::too_many_arguments)] // the facts of one pass, named once
    async fn carry_out(
        &self,
        key: &Key,
        pod: &Pod,
        memory: &mut Memory,
        cause: &Option<Cause>,
        steps: Vec<Step>,
        sandboxes: &[Sandbox],
        containers: &[Container],
    ) -> Result<Option<Duration>, Error> {
        let mut prepared: Option<Volumes> = None;
        let mut wait: Option<Duration> = None;
        for step in steps {
            match step {
                Step::LookAgain(_) => {}
                Step::StopSandbox { id } => self.config.runtime.stop_pod_sandbox(&id).await?,
                Step::CreateSandbox { attempt } => {
                    for old in sandboxes.iter().filter(|s| s.state == SandboxState::NotReady) {
                        self.config.runtime.stop_pod_sandbox(&old.id).await?;
                    }
                    let start = clock::Instant::now();
                    if let Err(error) =
                        self.config.runtime.run_pod_sandbox(self.sandbox_config(pod, attempt)).await
                    {
                        let message = format!("Failed to create pod sandbox: {error}");
                        self.recorder.warning(
                            &reference(pod, None),
                            "FailedCreatePodSandBox",
                            message,
                            cause.clone(),
                        );
                        return Err(error.into());
                    }
                    self.tell("sandbox", key, start, cause, json!({"attempt": attempt}));
                }
                Step::Start { name, init, attempt } => {
                    let sandbox = sandboxes.iter().max_by_key(|s| s.attempt);
                    let spec =
                        pod.spec.iter().flat_map(|s| s.init_containers.iter().flatten().chain(&s.containers));
                    let (Some(sandbox), Some(spec)) = (sandbox, spec.into_iter().find(|c| c.name == name))
                    else {
                        continue;
                    };
                    if prepared.is_none() {
                        match self.volumes(pod, sandboxes).await {
                            Ok(volumes) => prepared = Some(volumes),
                            Err(error) => {
                                let about = reference(pod, None);
                                self.recorder.warning(
                                    &about,
                                    "FailedMount",
                                    error.to_string(),
                                    cause.clone(),
                                );
                                return Err(error);
                            }
                        }
                    }
                    let volumes = prepared.clone().unwrap_or_default();
                    let previous = containers.iter().filter(|c| c.name == name).max_by_key(|c| c.attempt);
                    let again = self
                        .start_container(
                            key, pod, spec, init, attempt, sandbox, previous, &volumes, memory, cause,
                        )
                        .await?;
                    if let Some(again) = again {
                        wait = Some(wait.map_or(again, |w| w.min(again)));
                    }
                }
            }
        }
        Ok(wait)
    }

    fn sandbox_config(&self, pod: &Pod, attempt: u32) -> SandboxConfig {
        let part = |p: &Option<String>| p.clone().unwrap_or_default();
        let (meta, spec) = (&pod.metadata, pod.spec.clone().unwrap_or_default());
        let host_network = spec.host_network.unwrap_or(false);
        let mut dns = Dns::default();
        let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
        if policy == "ClusterFirstWithHostNet" || (policy == "ClusterFirst" && !host_network) {
            let domain = &self.config.cluster_domain;
            dns.servers = vec![self.config.cluster_dns.to_string()];
            dns.searches = vec![
                format!("{}.svc.{domain}", part(&meta.namespace)),
                format!("svc.{domain}"),
                domain.clone(),
            ];
            dns.options = vec!["ndots:5".into()];
        }
        if let Some(own) = &spec.dns_config {
            dns.servers.extend(own.nameservers.iter().flatten().cloned());
            dns.searches.extend(own.searches.iter().flatten().cloned());
            dns.options.extend(own.options.iter().flatten().map(|o| match (&o.name, &o.value) {
                (Some(name), Some(value)) => format!("{name}:{value}"),
                (name, _) => name.clone().unwrap_or_default(),
            }));
        }
        SandboxConfig {
            pod: PodId { namespace: part(&meta.namespace), name: part(&meta.name), uid: part(&meta.uid) },
            attempt,
            hostname: match (&spec.hostname, host_network) {
                (Some(name), _) => name.clone(),
                (None, true) => self.config.node_name.clone(),
                (None, false) => part(&meta.name).chars().take(63).collect(),
            },
            log_directory: self.log_dir(pod),
            dns,
            host_aliases: spec
                .host_aliases
                .unwrap_or_default()
                .into_iter()
                .map(|a| (a.ip, a.hostnames.unwrap_or_default()))
                .collect(),
            host_network,
            share_process_namespace: spec.share_process_namespace.unwrap_or(false),
            labels: meta.labels.clone().unwrap_or_default(),
            annotations: meta.annotations.clone().unwrap_or_default(),
        }
    }

    async fn volumes(&self, pod: &Pod, sandboxes: &[Sandbox]) -> Result<Volumes, Error> {
        let facts = self.facts(pod, sandboxes);
        let context = volumes::Context {
            client: &self.config.client,
            facts: &facts,
            dir: self.pod_dir(pod.metadata.uid.as_deref().unwrap_or_default()).join("volumes"),
            node_root: &self.config.dir.join("host"),
        };
        volumes::prepare(&context).await.map_err(|(volume, why)| Error::Volume { volume, why })
    }

    fn facts<'a>(&'a self, pod: &'a Pod, sandboxes: &[Sandbox]) -> Facts<'a> {
        let ip = sandboxes.iter().max_by_key(|s| s.attempt).and_then(|s| s.ip);
        Facts {
            pod,
            node_name: &self.config.node_name,
            node_ip: self.config.node_ip.to_string(),
            pod_ip: ip.map(|ip| ip.to_string()).unwrap_or_default(),
        }
    }

    /// Makes the image present. `Some`: not now, look again then.
    #[allow(clippy::too_many_arguments)]
    async fn pull(
        &self,
        key: &Key,
        pod: &Pod,
        spec: &Spec,
        init: bool,
        memory: &mut Memory,
        cause: &Option<Cause>,
    ) -> Result<Option<Duration>, Error> {
        let image = spec.image.clone().unwrap_or_default();
        let about = reference(pod, Some((&spec.name, init)));
        let static_pod = self.statics.contains_key(key);
        if let Some((_, until, message)) = memory.pulls.get(&spec.name) {
            let left = status::seconds_between(clock::now(), *until);
            if left > 0.0 {
                memory.waiting.insert(spec.name.clone(), ("ImagePullBackOff".into(), message.clone()));
                self.recorder.normal(
                    &about,
                    "BackOff",
                    format!("Back-off pulling image {image:?}"),
                    cause.clone(),
                );
                self.recorder.warning(&about, "Failed", "Error: ImagePullBackOff", cause.clone());
                return Ok(Some(Duration::from_secs_f64(left)));
            }
        }
        let policy = spec.image_pull_policy.as_deref().unwrap_or("IfNotPresent");
        let present = self.config.runtime.image_status(&image).await?.is_some();
        if present && policy != "Always" {
            if !static_pod {
                let message = format!(
                    "Container image {image:?} already present on machine and can be accessed by the pod"
                );
                self.recorder.normal(&about, "Pulled", message, cause.clone());
            }
            return Ok(None);
        }
        if policy == "Never" {
            let message = format!("Container image {image:?} is not present with pull policy of Never");
            self.recorder.warning(&about, "ErrImageNeverPull", message.clone(), cause.clone());
            self.recorder.warning(&about, "Failed", "Error: ErrImageNeverPull", cause.clone());
            memory.waiting.insert(spec.name.clone(), ("ErrImageNeverPull".into(), message.clone()));
            return Ok(Some(PULL_BACKOFF.0));
        }
        self.recorder.normal(&about, "Pulling", format!("Pulling image {image:?}"), cause.clone());
        let start = clock::Instant::now();
        match self.config.runtime.pull_image(&image).await {
            Ok(_) => {
                let took = format!("{}ms", start.elapsed().as_millis());
                let size = self.config.runtime.image_status(&image).await?.map_or(0, |i| i.size);
                let message = format!(
                    "Successfully pulled image {image:?} in {took} ({took} including waiting). Image size: {size} bytes."
                );
                self.recorder.normal(&about, "Pulled", message, cause.clone());
                self.tell("pull", key, start, cause, json!({"image": image}));
                memory.pulls.remove(&spec.name);
                Ok(None)
            }
            Err(error) => {
                let message = format!("Failed to pull image {image:?}: {error}");
                self.recorder.warning(&about, "Failed", message, cause.clone());
                self.tell("pull", key, start, cause, json!({"image": image, "error": error.to_string()}));
                let (reason, short) = match &error {
                    cri::Error::BadImageName(_) => ("InvalidImageName", error.to_string()),
                    _ => ("ErrImagePull", error.to_string()),
                };
                self.recorder.warning(&about, "Failed", format!("Error: {reason}"), cause.clone());
                memory.waiting.insert(spec.name.clone(), (reason.into(), short));
                let pause = memory
                    .pulls
                    .get(&spec.name)
                    .map_or(PULL_BACKOFF.0, |(p, ..)| (*p * 2).min(PULL_BACKOFF.1));
                let until = clock::now() + clock::scaled(pause);
                let (_, message) = status::pull_back_off(&image, &error);
                memory.pulls.insert(spec.name.clone(), (pause, until, message));
                // ErrImagePull is shown first; a moment later the pod is backing off.
                Ok(Some(Duration::from_secs(1)))
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    async fn start_container(
        &self,
        key: &Key,
        pod: &Pod,
        spec: &Spec,
        init: bool,
        attempt: u32,
        sandbox: &Sandbox,
        previous: Option<&Container>,
        volumes: &Volumes,
        memory: &mut Memory,
        cause: &Option<Cause>,
    ) -> Result<Option<Duration>, Error> {
        if let Some(wait) = self.pull(key, pod, spec, init, memory, cause).await? {
            return Ok(Some(wait));
        }
        let about = reference(pod, Some((&spec.name, init)));
        let failed = |memory: &mut Memory, reason: &str, why: String| {
            self.recorder.warning(&about, "Failed", format!("Error: {why}"), cause.clone());
            memory.waiting.insert(spec.name.clone(), (reason.into(), why.clone()));
            Error::Container { container: spec.name.clone(), why }
        };
        let variables = match self.variables(pod, spec, sandbox).await? {
            Ok(variables) => variables,
            Err(why) => return Err(failed(memory, "CreateContainerConfigError", why)),
        };
        let config = match container::config(pod, spec, attempt, variables, volumes) {
            Ok(config) => config,
            Err(why) => return Err(failed(memory, "CreateContainerConfigError", why)),
        };
        let start = clock::Instant::now();
        let id = match self.config.runtime.create_container(&sandbox.id, config).await {
            Ok(id) => id,
            Err(error) => return Err(failed(memory, "CreateContainerError", error.to_string())),
        };
        self.recorder.normal(&about, "Created", format!("Created container: {}", spec.name), cause.clone());
        if let Some(previous) = previous.filter(|p| p.state == ContainerState::Exited) {
            let ran = match (previous.started_at, previous.finished_at) {
                (Some(from), Some(to)) => Duration::from_secs_f64(status::seconds_between(from, to).max(0.0)),
                _ => Duration::ZERO,
            };
            let pause = decide::next_backoff(memory.backoffs.get(&spec.name).copied(), ran);
            tracing::debug!(pod = %key, container = spec.name, pause = go_duration(pause.as_secs()), "restarting");
            memory.backoffs.insert(spec.name.clone(), pause);
        }
        if let Err(error) = self.config.runtime.start_container(&id).await {
            // The runtime shows it as ended with StartError; the back-off applies from here on.
            self.recorder.warning(&about, "Failed", format!("Error: {error}"), cause.clone());
            memory.backoffs.entry(spec.name.clone()).or_insert(decide::BACKOFF.0);
            return Ok(None);
        }
        memory.waiting.remove(&spec.name);
        if spec.liveness_probe.is_some() || spec.readiness_probe.is_some() || spec.startup_probe.is_some() {
            let message = "probes are not implemented yet: the container counts as ready while it runs";
            self.recorder.warning(&about, "ProbesNotImplemented", message, cause.clone());
        }
        if spec.lifecycle.is_some() {
            let message = "lifecycle hooks are not implemented yet: they do not run";
            self.recorder.warning(&about, "HooksNotImplemented", message, cause.clone());
        }
        self.recorder.normal(&about, "Started", format!("Started container {}", spec.name), cause.clone());
        self.tell("start", key, start, cause, json!({"container": spec.name, "attempt": attempt}));
        Ok(None)
    }

    /// The container's environment; the inner error is a mistake of the pod's author.
    async fn variables(
        &self,
        pod: &Pod,
        spec: &Spec,
        sandbox: &Sandbox,
    ) -> Result<Result<Vec<(String, String)>, String>, Error> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
        let mut sources = Sources::default();
        let mut services = Vec::new();
        if !self.statics.contains_key(&Key::of(pod)) {
            let (maps, secrets) = env::needs(pod);
            for name in maps.keys() {
                let found = self.config.client.within::<ConfigMap>(namespace).get(name).await;
                if let Some(map) = crate::client::optional(found)? {
                    sources.config_maps.insert(name.clone(), map);
                }
            }
            for name in secrets.keys() {
                let found = self.config.client.within::<Secret>(namespace).get(name).await;
                if let Some(secret) = crate::client::optional(found)? {
                    sources.secrets.insert(name.clone(), secret);
                }
            }
            self.services.synced().await;
            let links = pod.spec.as_ref().and_then(|s| s.enable_service_links).unwrap_or(true);
            services = env::service_variables(&self.services.list(), namespace, links);
        }
        let facts = self.facts(pod, std::slice::from_ref(sandbox));
        Ok(env::of(spec, &facts, &sources, services))
    }

    /// Keeps the newest two attempts of every container, for `logs --previous`.
    async fn forget_old(&self, containers: &[Container]) -> Result<(), Error> {
        for old in containers {
            let newer = containers.iter().filter(|c| c.name == old.name && c.attempt > old.attempt).count();
            if newer >= 2 && old.state == ContainerState::Exited {
                self.config.runtime.remove_container(&old.id).await?;
            }
        }
        Ok(())
    }

    async fn terminate(
        self: &Arc<Self>,
        key: &Key,
        pod: &Pod,
        memory: &mut Memory,
        cause: &Option<Cause>,
    ) -> Result<Outcome, Error> {
        let grace =
            Duration::from_secs(pod.metadata.deletion_grace_period_seconds.unwrap_or(30).max(0) as u64);
        let (sandboxes, containers) = self.seen(key, &memory.uid).await?;
        let running: Vec<&Container> =
            containers.iter().filter(|c| c.state == ContainerState::Running).collect();
        if !running.is_empty() {
            let deadline = clock::Instant::now() + clock::scaled(grace);
            for c in running {
                let known = memory.stopping.get(&c.id).copied();
                if known.is_some_and(|known| known <= deadline) {
                    continue; // it already has less time than that
                }
                if known.is_none() {
                    let message = format!("Stopping container {}", c.name);
                    self.recorder.normal(
                        &reference(pod, Some((&c.name, false))),
                        "Killing",
                        message,
                        cause.clone(),
                    );
                }
                memory.stopping.insert(c.id.clone(), deadline);
                let (kubelet, id, name, key, cause) =
                    (self.clone(), c.id.clone(), c.name.clone(), key.clone(), cause.clone());
                self.crew.spawn(async move {
                    let start = clock::Instant::now();
                    if let Err(error) = kubelet.config.runtime.stop_container(&id, clock::scaled(grace)).await
                    {
                        tracing::debug!(pod = %key, %error, "cannot stop a container");
                        clock::sleep(Duration::from_millis(100)).await;
                    }
                    kubelet.tell("stop", &key, start, &cause, json!({"container": name}));
                    kubelet.queue.add(key, cause);
                });
            }
            return Ok(Outcome::Done); // the runtime's event brings the key back
        }
        for sandbox in sandboxes.iter().filter(|s| s.state == SandboxState::Ready) {
            self.config.runtime.stop_pod_sandbox(&sandbox.id).await?;
        }
        let (sandboxes, containers) = self.seen(key, &memory.uid).await?;
        let status = self.status_of(pod, &sandboxes, &containers, memory);
        self.report(key, pod, memory, cause, status).await?;
        let now = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: Some(memory.uid.clone()), resource_version: None }),
            ..DeleteParams::default()
        };
        let api = self.config.client.caused_by(cause.clone()).within::<Pod>(&key.namespace);
        match api.delete(&key.name, &now).await {
            Ok(_) => {}
            Err(error) if is_code(&error, 404) || is_code(&error, 409) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Outcome::Done) // gone from the API, the watch brings the key back and the rest is cleared away
    }
}
