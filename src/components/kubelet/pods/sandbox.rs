//! A pod's sandbox: what the runtime is asked for, and the order to make it and to stop it.

use super::PodWork;
use super::failure_events::FailedStep;
use super::kubelet::Kubelet;
use super::memory::PodMemory;
use crate::error::Error;
use crate::specs::reference;
use crate::{dns, resources, sysctls};
use api::cidr;
use client::Key;
use cri::{Dns, PodId, Sandbox, SandboxConfig, SandboxState};
use k8s_openapi::api::core::v1::Pod;
use tap::Event;

/// Characters of a hostname.
const HOSTNAME_MAX: usize = 63;
/// Characters that the kernel keeps as the name of a machine; uname(2).
const KERNEL_NAME_MAX: usize = 64;

/// Cuts a name to what the kernel takes as a hostname. A name does not end with `-` or `.`.
fn cut_hostname(name: &str) -> String {
    match name.char_indices().nth(HOSTNAME_MAX) {
        Some((at, _)) => name[..at].trim_end_matches(['-', '.']).to_string(),
        None => name.to_string(),
    }
}

/// Returns the hostname of a pod with a network of its own, and its name in the cluster's DNS if it
/// has one. Source: `GeneratePodHostNameAndDomain` in `pkg/kubelet/kubelet_pods.go`.
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

impl Kubelet {
    /// Makes the pod's next sandbox, once the ones before are stopped. Events tell of it and of a
    /// failure.
    ///
    /// # Errors
    /// Of the runtime, or the pod asks for a name or a sysctl that its sandbox cannot have.
    pub(super) async fn create_sandbox(
        &self,
        work: PodWork<'_>,
        attempt: u32,
        sandboxes: &[Sandbox],
        memory: &mut PodMemory,
    ) -> Result<(), Error> {
        let PodWork { key, pod, cause } = work;
        let tells = memory.failure_events.is_due(&FailedStep::Sandbox);
        if tells && !sandboxes.is_empty() {
            let message = "Pod sandbox changed, it will be killed and re-created.";
            self.recorder.normal(&reference(pod, None), "SandboxChanged", message, cause.clone());
        }
        for old in sandboxes.iter().filter(|s| s.state == SandboxState::NotReady) {
            self.config.runtime.stop_pod_sandbox(&old.id).await?;
        }
        let start = clock::Instant::now();
        let (dns, left_out) = dns::of_pod(pod, self.config.cluster_dns, &self.config.cluster_domain);
        for what in left_out.into_iter().filter(|_| tells) {
            self.recorder.warning(&reference(pod, None), "DNSConfigForming", what, cause.clone());
        }
        let made = match self.sandbox_config(pod, attempt, dns) {
            Ok(config) => self.config.runtime.run_pod_sandbox(config).await,
            Err(why) => Err(cri::Error::Start(why)),
        };
        if let Err(error) = made {
            tracing::warn!(pod = %Key::of(pod), reason = error.line(), "no sandbox");
            if memory.failure_events.note_if_due(FailedStep::Sandbox) {
                let message = format!("Failed to create pod sandbox: {}", error.line());
                let about = reference(pod, None);
                self.recorder.warning(&about, "FailedCreatePodSandBox", message, cause.clone());
            }
            return Err(error.into());
        }
        memory.failure_events.retain(|what| *what != FailedStep::Sandbox);
        self.emit(Event::Sandbox { attempt }, key, start, cause);
        Ok(())
    }

    /// Stops a sandbox, which gives back its address, its control group and its mount.
    ///
    /// # Errors
    /// Of the runtime; it is to be stopped again.
    pub(super) async fn stop_sandbox(&self, id: &str, memory: &mut PodMemory) -> Result<(), cri::Error> {
        self.config.runtime.stop_pod_sandbox(id).await?;
        memory.stopped.insert(id.into());
        Ok(())
    }

    /// Returns what the runtime is asked for to make a pod's sandbox.
    ///
    /// # Errors
    /// - `setHostnameAsFQDN`, and the name is longer than the kernel takes.
    /// - As [`sysctls::of_network`].
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
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
