//! Which kernel parameters a pod may ask for, and which its sandbox sets. Pure.

use super::status::Failure;
use k8s_openapi::api::core::v1::{Pod, PodSpec};

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

/// Bytes of a value; `ip_local_reserved_ports` may list many ports.
const VALUE_MAX: usize = 1024;

/// Returns what a pod asks for: names with dots, and values.
fn asked(spec: &PodSpec) -> impl Iterator<Item = (String, &str)> {
    let all = spec.security_context.iter().flat_map(|context| context.sysctls.iter().flatten());
    all.map(|sysctl| (sysctl.name.replace('/', "."), sysctl.value.as_str()))
}

/// Returns why a pod may not set this parameter; `None` if it may.
fn refused(name: &str, spec: &PodSpec) -> Option<String> {
    let is_of_host = |of: &str, uses: Option<bool>| name.starts_with(of) && uses == Some(true);
    match () {
        () if !SAFE.contains(&name) => Some(format!("{name:?} not allowlisted")),
        () if is_of_host("net.", spec.host_network) => {
            Some(format!("{name:?} not allowed with host net enabled"))
        }
        () if is_of_host("kernel.", spec.host_ipc) => {
            Some(format!("{name:?} not allowed with host ipc enabled"))
        }
        () => None,
    }
}

/// Rejects a pod that asks for a kernel parameter that is not [`SAFE`], or for one of a namespace
/// that is its node's. Upstream an administrator may allow more on a node
/// (`--allowed-unsafe-sysctls`); this kubelet has no such option.
///
/// ```text
/// net.ipv4.tcp_syncookies, kernel/shm_rmid_forced  ->  admitted
/// net.ipv4.tcp_syncookies with hostNetwork         ->  SysctlForbidden
/// kernel.msgmax                                    ->  SysctlForbidden
/// ```
pub(crate) fn forbidden(pod: &Pod) -> Option<Failure> {
    let spec = pod.spec.as_ref()?;
    let why = asked(spec).find_map(|(name, _)| refused(&name, spec))?;
    Some(Failure::rejected("SysctlForbidden", format!("forbidden sysctl: {why}")))
}

/// Returns the parameters of the network that a pod's sandbox sets, as paths below /proc/sys, and
/// their values. Each is one file, whose name comes from [`SAFE`]. A value has only numbers,
/// blanks, commas and hyphens, so that no reader takes it for more than one parameter
/// (CVE-2022-0811).
///
/// # Errors
/// A parameter is forbidden (admission refuses such a pod, unless it is static), or its value has
/// other characters or is too long.
pub(crate) fn of_network(pod: &Pod) -> Result<Vec<(String, String)>, String> {
    let Some(spec) = &pod.spec else { return Ok(vec![]) };
    let mut all = Vec::new();
    for (name, value) in asked(spec) {
        if let Some(why) = refused(&name, spec) {
            return Err(format!("forbidden sysctl: {why}"));
        }
        let is_plain = |byte: u8| byte.is_ascii_digit() || b" \t,-".contains(&byte);
        if value.is_empty() || value.len() > VALUE_MAX || !value.bytes().all(is_plain) {
            return Err(format!(
                "sysctl {name}: the value is not numbers of at most {VALUE_MAX} bytes with blanks, commas or hyphens between them"
            ));
        }
        if name.starts_with("net.") {
            all.push((name.replace('.', "/"), value.to_string()));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn set(more: Value, name: &str, value: &str) -> Result<Vec<(String, String)>, String> {
        let mut spec = json!({"containers": []});
        spec["securityContext"] = json!({"sysctls": [{"name": name, "value": value}]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        of_network(&serde_json::from_value(json!({ "spec": spec })).unwrap())
    }

    #[test]
    fn safe_parameters_of_the_network_are_set_with_numbers_alone() {
        let reserved = set(json!({}), "net/ipv4/ip_local_reserved_ports", "8080,9000-9010");
        let path = "net/ipv4/ip_local_reserved_ports".to_string();
        assert_eq!(reserved, Ok(vec![(path, "8080,9000-9010".to_string())]));
        assert_eq!(set(json!({}), "net.ipv4.tcp_rmem", "4096\t87380 6291456").unwrap().len(), 1);
        assert_eq!(set(json!({}), "kernel.shm_rmid_forced", "1"), Ok(vec![]), "it is of no network");
        let long = "1".repeat(VALUE_MAX + 1);
        for value in ["", "1\n2", "1+kernel.core_pattern=|/x", "|/bin/sh", "1\0", long.as_str()] {
            let refused = set(json!({}), "net.ipv4.tcp_syncookies", value).unwrap_err();
            assert!(refused.starts_with("sysctl net.ipv4.tcp_syncookies: "), "{refused}");
        }
        for (more, name) in [
            (json!({}), "kernel.core_pattern"),
            (json!({}), "net.ipv4.../../kernel/core_pattern"),
            (json!({"hostNetwork": true}), "net.ipv4.tcp_syncookies"),
            (json!({"hostIPC": true}), "kernel.shm_rmid_forced"),
        ] {
            let refused = set(more, name, "1").unwrap_err();
            assert!(refused.starts_with("forbidden sysctl: "), "{refused}");
        }
    }
}
