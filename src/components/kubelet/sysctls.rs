//! Which kernel parameters a pod may ask for. Pure; a part of [`super::admission`].

use super::status::Failure;
use k8s_openapi::api::core::v1::Pod;

/// Parameters of a pod's own namespaces that harm no other pod. Source: `SafeSysctlAllowlist` in
/// `pkg/kubelet/sysctl/safe_sysctls.go`.
const SAFE: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

/// Rejects a pod that asks for a kernel parameter that is not [`SAFE`]. Upstream an administrator
/// may allow more on a node (`--allowed-unsafe-sysctls`); this kubelet has no such option.
///
/// ```text
/// net.ipv4.tcp_syncookies, kernel/shm_rmid_forced  ->  admitted
/// kernel.msgmax                                    ->  SysctlForbidden
/// ```
pub(crate) fn forbidden(pod: &Pod) -> Option<Failure> {
    let context = pod.spec.as_ref()?.security_context.as_ref()?;
    let mut names = context.sysctls.iter().flatten().map(|sysctl| sysctl.name.replace('/', "."));
    let name = names.find(|name| !SAFE.contains(&name.as_str()))?;
    Some(Failure::rejected("SysctlForbidden", format!("forbidden sysctl: {name:?} not allowlisted")))
}
