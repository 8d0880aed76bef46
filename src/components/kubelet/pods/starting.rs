//! From a step to a running container: sandbox, volumes, environment, start.

use super::ending;
use super::failure_events::FailedStep;
use super::kubelet::Kubelet;
use super::memory::Memory;
use crate::action::{Action, FALLBACK, Target};
use crate::container::{self, Volumes};
use crate::container_status::go_duration;
use crate::env::{self, Facts, Sources};
use crate::error::Error;
use crate::specs::{is_ephemeral, long_name, reference};
use crate::view::{self, View, Why};
use crate::{bounds, oom, resources, sysctls, termination, volumes};
use api::cidr;
use api::gostr::quote;
use client::{Key, is_unanswered, optional};
use cri::{Container, ContainerState, Dns, PodId, Sandbox, SandboxConfig};
use k8s_openapi::api::core::v1::{ConfigMap, Container as Spec, LifecycleHandler, Pod, Secret};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tap::{Cause, Event};
use tokio_util::sync::CancellationToken;

/// A hook has no time limit of its own but that of the pod's end.
const HOOK_MAX: Duration = Duration::from_secs(24 * 3600);

/// Characters of a hostname.
const HOSTNAME_MAX: usize = 63;
/// Characters that the kernel keeps as the name of a machine; uname(2).
const KERNEL_NAME_MAX: usize = 64;

/// The reason of the Event for what the pod asked for and its container does not have. The runtime
/// tells it as a text.
fn not_honored(warning: &str) -> &'static str {
    let about = |word: &str| warning.to_lowercase().contains(word);
    match () {
        () if about("capabilit") => "CapabilityNotGranted",
        () if about("limit") => "LimitNotEnforced",
        () if about("user") || about("group") => "UserNotAvailable",
        () => "NotHonored",
    }
}

/// Cuts a name to what the kernel takes as a hostname. A name does not end with `-` or `.`.
fn cut_hostname(name: &str) -> String {
    match name.char_indices().nth(HOSTNAME_MAX) {
        Some((at, _)) => name[..at].trim_end_matches(['-', '.']).to_string(),
        None => name.to_string(),
    }
}

/// The hostname of a pod with a network of its own, and its name in the cluster's DNS if it has
/// one. Source: `GeneratePodHostNameAndDomain` in `pkg/kubelet/kubelet_pods.go`.
///
/// ```text
/// pod web-0                                        web-0
/// hostname db, subdomain shop                      db, db.shop.default.svc.cluster.local
/// hostnameOverride db.example.org, subdomain shop  db.example.org
/// ```
fn hostnames(pod: &Pod, domain: &str) -> (String, Option<String>) {
    let spec = pod.spec.clone().unwrap_or_default();
    let given = |name: Option<String>| name.filter(|name| !name.is_empty());
    if let Some(name) = given(spec.hostname_override) {
        return (name, None);
    }
    let hostname = given(spec.hostname).or(pod.metadata.name.clone()).unwrap_or_default();
    let hostname = cut_hostname(&hostname);
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let fqdn = given(spec.subdomain).map(|sub| format!("{hostname}.{sub}.{namespace}.svc.{domain}"));
    (hostname, fqdn)
}

/// Sets the pause before the container's next restart, after one that ended. An attempt with a new
/// definition begins without one: it has not failed yet. Nor does the first attempt set one if it
/// was ended for a probe: upstream counts the ends that came before ([`Memory::pauses`]).
fn lengthen_backoff(key: &Key, spec: &Spec, init: bool, previous: Option<&Container>, memory: &mut Memory) {
    let Some(previous) = previous else { return };
    let counts = previous.attempt > 0 || !memory.given_up.contains(&previous.id);
    if View::changed(spec, init, previous) {
        memory.backoffs.remove(&spec.name);
    } else if previous.state == ContainerState::Exited && counts {
        let before = memory.backoffs.get(&spec.name).copied();
        let pause = view::next_backoff(before, view::ran(previous));
        tracing::debug!(pod = %key, container = spec.name, pause = go_duration(pause.as_secs()), "restarting");
        memory.backoffs.insert(spec.name.clone(), pause);
    }
}

/// Notes why a container that was made cannot be run, and returns when to look again: at once, so
/// that this is reported first. The runtime shows the container as ended with `StartError`, the
/// status the kubelet's reason until the back-off begins. As upstream that is the one of a
/// container that crashed: the first restart does not wait. An ephemeral container is not started
/// again.
fn cannot_run(pod: &Pod, spec: &Spec, why: String, memory: &mut Memory) -> Option<Duration> {
    if is_ephemeral(pod, &spec.name) {
        return None;
    }
    memory.waiting.insert(spec.name.clone(), ("RunContainerError".into(), why));
    Some(Duration::ZERO)
}

impl Kubelet {
    /// What the runtime is asked for to make a pod's sandbox.
    ///
    /// # Errors
    /// - `setHostnameAsFQDN`, and the name is longer than the kernel takes.
    /// - The value of a sysctl is none of numbers.
    pub(super) fn sandbox_config(&self, pod: &Pod, attempt: u32, dns: Dns) -> Result<SandboxConfig, String> {
        let part = |p: &Option<String>| p.clone().unwrap_or_default();
        let (meta, spec) = (&pod.metadata, pod.spec.clone().unwrap_or_default());
        let host_network = spec.host_network.unwrap_or(false);
        let (hostname, fqdn) = match host_network {
            true => (self.config.node_name.clone(), None), // the name is the network's, as upstream
            false => hostnames(pod, &self.config.cluster_domain),
        };
        let fqdn_as_hostname = spec.set_hostname_as_fqdn.unwrap_or(false);
        let length = fqdn.as_ref().map_or(0, String::len);
        if fqdn_as_hostname && length > KERNEL_NAME_MAX {
            return Err(format!(
                "failed to construct FQDN from pod hostname and cluster domain, FQDN {} is too long ({KERNEL_NAME_MAX} characters is the max, {length} characters requested)",
                part(&fqdn)
            ));
        }
        let limits = resources::pod_limits(pod);
        Ok(SandboxConfig {
            fqdn,
            fqdn_as_hostname,
            hostname,
            pod: PodId { namespace: part(&meta.namespace), name: part(&meta.name), uid: part(&meta.uid) },
            attempt,
            log_directory: self.log_dir(&part(&meta.namespace), &part(&meta.name), &part(&meta.uid)),
            logs: self.config.logs,
            dns,
            host_aliases: spec
                .host_aliases
                .unwrap_or_default()
                .into_iter()
                .map(|a| (cidr::canonical_text(&a.ip), a.hostnames.unwrap_or_default()))
                .collect(),
            host_network,
            sysctls: sysctls::of_network(pod)?,
            share_process_namespace: spec.share_process_namespace.unwrap_or(false),
            own_users: spec.host_users == Some(false),
            cpu_shares: resources::pod_shares(pod),
            cpu_limit_milli: limits.cpu_milli,
            memory_limit: limits.memory,
            pids_limit: None,
        })
    }

    /// Makes the pod's volumes, and brings those up to date that change. A volume that was made
    /// before and cannot be made anew, e.g. because its ConfigMap is gone, stays: a container that
    /// crashes restarts with it. An Event tells of that, unless no API server answers.
    ///
    /// # Errors
    /// A volume that was never made cannot be made, or the runtime does not say what runs.
    pub(super) async fn volumes(
        &self,
        pod: &Pod,
        sandboxes: &[Sandbox],
        memory: &mut Memory,
        cause: &Option<Cause>,
    ) -> Result<Volumes, Error> {
        let facts = self.facts(pod, sandboxes);
        let of_strangers = self.claims_of_strangers(pod).await?;
        let context = volumes::Context {
            client: &self.config.client,
            facts: &facts,
            dir: self.pod_dir(pod.metadata.uid.as_deref().unwrap_or_default()).join("volumes"),
            node_root: &self.config.node_root(),
            memory_bytes: u64::try_from(self.config.capacity.allocatable().memory).unwrap_or(u64::MAX),
            take_claim: &|claim: &str| !of_strangers.contains(claim) && self.take_claim(pod, claim),
        };
        let stale = volumes::prepare(&context, &mut memory.volumes).await;
        memory.is_cut_off = stale.iter().flatten().any(|(_, unmade)| unmade.slow);
        let failed = |(volume, unmade): (String, volumes::Unmade)| Error::Volume { volume, why: unmade.why };
        let stale = stale.map_err(failed)?;
        memory.failure_events.retain(|what| match what {
            FailedStep::Volume(volume) => stale.iter().any(|(name, _)| name == volume),
            FailedStep::Sandbox | FailedStep::Start(_) => true,
        });
        for (volume, unmade) in stale {
            if unmade.unanswered {
                tracing::debug!(volume, why = unmade.why, "a volume stays as it is");
                continue;
            }
            if memory.failure_events.note_if_due(FailedStep::Volume(volume.clone())) {
                let message = failed((volume, unmade)).line();
                self.recorder.warning(&reference(pod, None), "FailedMount", message, cause.clone());
            }
        }
        Ok(memory.volumes.clone())
    }

    pub(super) fn facts<'a>(&'a self, pod: &'a Pod, sandboxes: &[Sandbox]) -> Facts<'a> {
        let ip = sandboxes.iter().max_by_key(|s| s.attempt).and_then(|s| s.ip);
        Facts {
            pod,
            node_name: &self.config.node_name,
            node_ip: self.config.node_ip.to_string(),
            pod_ip: ip.map(|ip| ip.to_string()).unwrap_or_default(),
            allocatable: resources::allocatable(pod, self.config.capacity.allocatable()),
        }
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) async fn start_container(
        self: &Arc<Self>,
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
            if memory.note_waiting(&spec.name, reason, &why) {
                self.recorder.warning(&about, "Failed", format!("Error: {why}"), cause.clone());
            }
            Error::Container { container: spec.name.clone(), why }
        };
        if let Err(why) = bounds::check(pod, &spec.name) {
            return Err(failed(memory, "CreateContainerConfigError", why));
        }
        let variables = match self.variables(pod, spec, sandbox, memory).await? {
            Ok(variables) => variables,
            Err(why) => return Err(failed(memory, "CreateContainerConfigError", why)),
        };
        let pod_dir = self.pod_dir(pod.metadata.uid.as_deref().unwrap_or_default());
        let message =
            termination::mount(&pod_dir).and_then(|()| termination::prepare(&pod_dir, spec, attempt));
        let message = message.map_err(|error| failed(memory, "CreateContainerConfigError", error.line()))?;
        let mut config = match container::config(pod, spec, attempt, variables, volumes, message.as_ref()) {
            Ok(config) => config,
            Err(why) => return Err(failed(memory, "CreateContainerConfigError", why)),
        };
        config.resources.oom_score_adj = oom::oom_score_adj(pod, spec, self.config.capacity.memory_bytes);
        let start = clock::Instant::now();
        let made = self.config.runtime.create_container(&sandbox.id, config).await;
        let id = match made.map_err(|error| container::refusal(pod, spec, &error)) {
            Ok(id) => id,
            Err((reason, why)) => return Err(failed(memory, reason, why)),
        };
        self.recorder.normal(&about, "Created", "Container created", cause.clone());
        lengthen_backoff(key, spec, init, previous, memory);
        memory.waiting.remove(&spec.name);
        memory.failure_events.retain(|what| *what != FailedStep::Start(spec.name.clone()));
        if let Err(error) = self.config.runtime.start_container(&id).await {
            self.recorder.warning(&about, "Failed", format!("Error: {}", error.line()), cause.clone());
            return Ok(cannot_run(pod, spec, error.line(), memory));
        }
        for warning in self.config.runtime.container_status(&id).await.map(|c| c.warnings).unwrap_or_default()
        {
            self.recorder.warning(&about, not_honored(&warning), warning, cause.clone());
        }
        self.recorder.normal(&about, "Started", "Container started", cause.clone());
        self.emit(Event::Start { container: spec.name.clone(), attempt }, key, start, cause);
        let hook = spec.lifecycle.as_ref().and_then(|l| l.post_start.as_ref());
        if let Some(hook) = hook
            && let Err(why) = self.run_post_start(key, pod, spec, &id, sandbox, hook).await
        {
            tracing::debug!(pod = %key, container = spec.name, why, "postStart hook failed");
            self.recorder.warning(&about, "FailedPostStartHook", "PostStartHook failed", cause.clone());
            memory.waiting.insert(spec.name.clone(), ("PostStartHookError".into(), why));
            self.stop_after_failed_post_start(key, pod, id, sandbox, memory, cause).await?;
        }
        Ok(None)
    }

    /// Ends a container whose postStart hook failed, as upstream with its preStop hook and its
    /// grace period. Nothing else waits for that: the runtime's event brings the key back.
    async fn stop_after_failed_post_start(
        self: &Arc<Self>,
        key: &Key,
        pod: &Pod,
        id: String,
        sandbox: &Sandbox,
        memory: &mut Memory,
        cause: &Option<Cause>,
    ) -> Result<(), Error> {
        let container = self.config.runtime.container_status(&id).await?;
        let (grace, message) = ending::reason(pod, &container.name, Why::Hook);
        let (sandboxes, deadline) = (std::slice::from_ref(sandbox), clock::deadline(grace));
        memory.post_start_failed.insert(id);
        let manner = ending::Manner { deadline, message, in_order: false };
        self.stop(key, pod, sandboxes, &container, manner, memory, cause);
        Ok(())
    }

    /// Runs beside the container's own program and holds up the pod until it is done, or the pod
    /// shall end.
    ///
    /// # Errors
    /// The message of `PostStartHookError`.
    pub(super) async fn run_post_start(
        &self,
        key: &Key,
        pod: &Pod,
        spec: &Spec,
        id: &str,
        sandbox: &Sandbox,
        hook: &LifecycleHandler,
    ) -> Result<(), String> {
        let action = Action::of_hook(hook)?;
        let interrupt = CancellationToken::new();
        self.hooks().insert(key.clone(), interrupt.clone());
        if self.has_to_end(key, pod.metadata.uid.as_deref().unwrap_or_default()) {
            interrupt.cancel(); // that came before the token was there
        }
        let agent = self.config.agent("kube-lifecycle");
        let target = self.hook_target(spec, id, sandbox.ip.map(IpAddr::from), &agent);
        let answer = tokio::select! {
            biased;
            () = interrupt.cancelled() => Err("the pod is being ended".to_string()),
            answer = target.hook(&action, HOOK_MAX) => answer,
        };
        self.hooks().remove(key);
        let failed = |why: String| {
            let (container, pod) = (quote(&spec.name), quote(&long_name(pod)));
            format!("{} for Container {container} in Pod {pod} failed - error: {why}", action.hook_name())
        };
        if let Some(told) = answer.map_err(failed)? {
            self.recorder.warning(&reference(pod, None), FALLBACK, told, None);
        }
        Ok(())
    }

    /// Whether the pod is being deleted, is gone, was replaced by another of its name, or has to
    /// fail. Nothing of that ends a static pod.
    pub(super) fn has_to_end(&self, key: &Key, uid: &str) -> bool {
        if self.statics.contains_key(key) {
            return false;
        }
        let lives =
            |pod: &Pod| pod.metadata.uid.as_deref() == Some(uid) && pod.metadata.deletion_timestamp.is_none();
        !self.pods.get(key).is_some_and(|pod| lives(&pod)) || self.failing_pods().contains(uid)
    }

    /// The container's environment; the inner error is a mistake of the pod's author. While no API
    /// server says what ConfigMaps and Secrets hold, it is the one of the container's run before. A
    /// server that was too slow to say what the pod's volumes hold is not asked.
    async fn variables(
        &self,
        pod: &Pod,
        spec: &Spec,
        sandbox: &Sandbox,
        memory: &mut Memory,
    ) -> Result<Result<Vec<(String, String)>, String>, Error> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
        if let Some(known) = memory.variables.get(&spec.name).filter(|_| memory.is_cut_off) {
            return Ok(Ok(known.clone()));
        }
        let (mut sources, mut services) = (Sources::default(), Vec::new());
        if !self.statics.contains_key(&Key::of(pod)) {
            match (self.sources(spec, namespace).await, memory.variables.get(&spec.name)) {
                (Ok(Ok(found)), _) => sources = found,
                (Ok(Err(why)), _) => return Ok(Err(why)),
                (Err(error), Some(known)) if is_unanswered(&error) => return Ok(Ok(known.clone())),
                (Err(error), _) => {
                    // Events need not tell with each try that the image is there.
                    memory.failure_events.note(FailedStep::Start(spec.name.clone()));
                    return Err(error.into());
                }
            }
            self.services.synced().await;
            let links = pod.spec.as_ref().and_then(|s| s.enable_service_links).unwrap_or(true);
            services = match env::service_variables(&self.services.list(), namespace, links) {
                Ok(services) => services,
                Err(why) => return Ok(Err(why)),
            };
        }
        let facts = self.facts(pod, std::slice::from_ref(sandbox));
        let variables = env::of(spec, &facts, &sources, services);
        if let Ok(variables) = &variables
            && !(sources.config_maps.is_empty() && sources.secrets.is_empty())
        {
            memory.variables.remove(&spec.name); // of an earlier start
            if env::is_small(variables) {
                memory.variables.insert(spec.name.clone(), variables.clone());
            }
        }
        Ok(variables)
    }

    /// The ConfigMaps and Secrets that a container takes variables from, those of them that there
    /// are; or why they are too much.
    async fn sources(&self, spec: &Spec, namespace: &str) -> Result<Result<Sources, String>, kube::Error> {
        let mut sources = Sources::default();
        let (maps, secrets) = env::needs(spec);
        let mut left = env::ALL_MAX;
        for (name, keys) in &maps {
            let found = self.config.client.within::<ConfigMap>(namespace).get(name).await;
            if let Some(map) = optional(found)?
                && let Err(why) = sources.keep_config_map(name, map, keys, &mut left)
            {
                return Ok(Err(why));
            }
        }
        for (name, keys) in &secrets {
            let found = self.config.client.within::<Secret>(namespace).get(name).await;
            if let Some(secret) = optional(found)?
                && let Err(why) = sources.keep_secret(name, secret, keys, &mut left)
            {
                return Ok(Err(why));
            }
        }
        Ok(Ok(sources))
    }

    /// Where a hook of this container happens.
    pub(super) fn hook_target<'a>(
        &'a self,
        spec: &'a Spec,
        container_id: &'a str,
        pod_ip: Option<IpAddr>,
        agent: &'a str,
    ) -> Target<'a> {
        let (runtime, network) = (&*self.config.runtime, &*self.config.network);
        Target { spec, container_id, pod_ip, runtime, network, agent }
    }

    pub(super) fn hooks(
        &self,
    ) -> parking_lot::MutexGuard<'_, std::collections::HashMap<Key, CancellationToken>> {
        self.hooks.lock()
    }

    /// The pod shall end: a hook that still holds it up is given up.
    pub(super) fn interrupt_hook(&self, key: &Key) {
        if let Some(hook) = self.hooks().get(key) {
            hook.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::tests;

    /// As upstream: no attempt had ended when the kubelet ended this one.
    #[test]
    fn the_first_end_for_a_probe_begins_no_back_off() {
        let pod = tests::pod("Always", &[], &["a"]);
        let spec = &pod.spec.as_ref().unwrap().containers[0];
        let pause = |attempt: u32, is_given_up: bool| {
            let ended = tests::container("a", attempt, ContainerState::Exited, 137);
            let mut memory = Memory::default();
            memory.given_up.extend(is_given_up.then(|| ended.id.clone()));
            lengthen_backoff(&Key::new("n", "p"), spec, false, Some(&ended), &mut memory);
            memory.backoffs.get("a").copied()
        };
        let first = Some(view::BACKOFF.0);
        assert_eq!([pause(0, true), pause(0, false), pause(1, true)], [None, first, first]);
    }

    #[test]
    fn a_hostname_is_cut_to_a_name() {
        assert_eq!(cut_hostname("web-0"), "web-0");
        let long = format!("{}-.x{}", "a".repeat(61), "b".repeat(9));
        assert_eq!(cut_hostname(&long), "a".repeat(61));
        assert_eq!(cut_hostname(&"a".repeat(63)), "a".repeat(63));
    }

    #[test]
    fn a_pod_has_the_hostname_that_it_asks_for() {
        let of = |spec: serde_json::Value| {
            let metadata = serde_json::json!({"name": "web-0", "namespace": "n"});
            let pod = serde_json::json!({"metadata": metadata, "spec": spec});
            hostnames(&serde_json::from_value(pod).unwrap(), "cluster.local")
        };
        let plain = of(serde_json::json!({"containers": []}));
        assert_eq!(plain, ("web-0".to_string(), None));
        let named = of(serde_json::json!({"containers": [], "hostname": "db", "subdomain": "shop"}));
        assert_eq!(named, ("db".to_string(), Some("db.shop.n.svc.cluster.local".to_string())));
        let other = serde_json::json!({"containers": [], "hostnameOverride": "db.example.org", "hostname": "db", "subdomain": "shop"});
        assert_eq!(of(other), ("db.example.org".to_string(), None));
    }

    #[test]
    fn what_is_not_honored_has_a_reason_that_scripts_can_look_for() {
        assert_eq!(
            not_honored("capability MKNOD is not granted: no control group here can refuse devices"),
            "CapabilityNotGranted"
        );
        assert_eq!(not_honored("the memory limit is not enforced: no cgroup"), "LimitNotEnforced");
        assert_eq!(not_honored("runAsUser 1000 cannot be had here"), "UserNotAvailable");
        assert_eq!(not_honored("something else"), "NotHonored");
    }
}
