//! From a container's spec to what the runtime is asked for. Pure.

use super::{decide, env};
use crate::api::quantity::Quantity;
use crate::cri::{ContainerConfig, Mount, Resources, Security};
use k8s_openapi::api::core::v1::{Container as Spec, Pod};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Where a pod's volumes are on the node: volume name → (path, whole volume read-only).
pub type Volumes = BTreeMap<String, (PathBuf, bool)>;

/// Limits and shares as the kernel wants them.
pub fn resources(spec: &Spec) -> Resources {
    let amounts = spec.resources.clone().unwrap_or_default();
    let amount =
        |map: &Option<BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>,
         name: &str| { map.as_ref().and_then(|m| m.get(name)).and_then(|q| Quantity::parse(&q.0)) };
    let cpu_limit = amount(&amounts.limits, "cpu").map(|q| q.milli().max(0) as u64);
    let cpu_request =
        amount(&amounts.requests, "cpu").map(|q| q.milli().max(0) as u64).or(cpu_limit).unwrap_or(0);
    Resources {
        cpu_shares: (cpu_request.saturating_mul(1024) / 1000).max(2),
        cpu_limit_milli: cpu_limit.filter(|l| *l > 0),
        memory_limit: amount(&amounts.limits, "memory").map(|q| q.units().max(0) as u64).filter(|l| *l > 0),
        pids_limit: None,
    }
}

/// `resourceFieldRef`: e.g. `limits.memory` in units of the divisor, rounded up.
pub fn resource_field(spec: &Spec, field: &str, divisor: Option<&str>) -> Result<String, String> {
    let (which, name) = field.split_once('.').ok_or_else(|| format!("unsupported resource: {field}"))?;
    let amounts = spec.resources.clone().unwrap_or_default();
    let map = match which {
        "limits" => amounts.limits,
        "requests" => amounts.requests,
        _ => return Err(format!("unsupported resource: {field}")),
    };
    let value =
        map.as_ref().and_then(|m| m.get(name)).and_then(|q| Quantity::parse(&q.0)).map_or(0, |q| q.milli());
    let divisor = divisor.and_then(Quantity::parse).map_or(1000, |q| q.milli());
    let divisor = if divisor == 0 { 1000 } else { divisor };
    Ok(((i128::from(value) + i128::from(divisor) - 1) / i128::from(divisor)).to_string())
}

fn security(pod: &Pod, spec: &Spec) -> Result<Security, String> {
    let of_pod = pod.spec.as_ref().and_then(|s| s.security_context.clone()).unwrap_or_default();
    let own = spec.security_context.clone().unwrap_or_default();
    let id = |own: Option<i64>, of_pod: Option<i64>| own.or(of_pod).and_then(|id| u32::try_from(id).ok());
    let user = id(own.run_as_user, of_pod.run_as_user);
    if own.run_as_non_root.or(of_pod.run_as_non_root) == Some(true) && user.unwrap_or(0) == 0 {
        let long = super::status::long_name(pod);
        return Err(match user {
            Some(_) => format!(
                "container's runAsUser breaks non-root policy (pod: {long:?}, container: {})",
                spec.name
            ),
            None => format!(
                "container has runAsNonRoot and image will run as root (pod: {long:?}, container: {})",
                spec.name
            ),
        });
    }
    let capabilities = own.capabilities.unwrap_or_default();
    let mut groups: Vec<u32> =
        of_pod.supplemental_groups.iter().flatten().filter_map(|g| u32::try_from(*g).ok()).collect();
    groups.extend(of_pod.fs_group.and_then(|g| u32::try_from(g).ok()));
    Ok(Security {
        run_as_user: user,
        run_as_group: id(own.run_as_group, of_pod.run_as_group),
        supplemental_groups: groups,
        read_only_root: own.read_only_root_filesystem.unwrap_or(false),
        privileged: own.privileged.unwrap_or(false),
        no_new_privs: own.allow_privilege_escalation == Some(false),
        add_capabilities: capabilities.add.unwrap_or_default(),
        drop_capabilities: capabilities.drop.unwrap_or_default(),
    })
}

/// Everything the runtime needs. An error is the message of `CreateContainerConfigError`.
pub fn config(
    pod: &Pod,
    spec: &Spec,
    attempt: u32,
    variables: Vec<(String, String)>,
    volumes: &Volumes,
) -> Result<ContainerConfig, String> {
    let lookup = |name: &str| variables.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    let expanded = |words: &Option<Vec<String>>| -> Vec<String> {
        words.iter().flatten().map(|w| env::expand(w, lookup)).collect()
    };
    let mut mounts = Vec::new();
    for mount in spec.volume_mounts.iter().flatten() {
        let (path, read_only) = volumes
            .get(&mount.name)
            .ok_or_else(|| format!("volume {:?} of container {:?} does not exist", mount.name, spec.name))?;
        let sub = match (&mount.sub_path, &mount.sub_path_expr) {
            (Some(sub), _) => sub.clone(),
            (_, Some(expression)) => env::expand(expression, lookup),
            _ => String::new(),
        };
        if sub.split('/').any(|part| part == "..") {
            return Err(format!("subPath {sub:?} must not contain '..'"));
        }
        mounts.push(Mount {
            host_root: None,
            host_path: path.clone(),
            sub_path: PathBuf::from(sub),
            container_path: PathBuf::from(&mount.mount_path),
            read_only: *read_only || mount.read_only.unwrap_or(false),
        });
    }
    let label = |key: &str, value: Option<&String>| (key.to_string(), value.cloned().unwrap_or_default());
    let meta = &pod.metadata;
    Ok(ContainerConfig {
        name: spec.name.clone(),
        attempt,
        image: spec.image.clone().unwrap_or_default(),
        command: expanded(&spec.command),
        args: expanded(&spec.args),
        working_dir: spec.working_dir.clone().filter(|d| !d.is_empty()),
        env: variables.clone(),
        mounts,
        log_path: PathBuf::from(format!("{}/{attempt}.log", spec.name)),
        stdin: spec.stdin.unwrap_or(false),
        stdin_once: spec.stdin_once.unwrap_or(false),
        tty: spec.tty.unwrap_or(false),
        resources: resources(spec),
        security: security(pod, spec)?,
        labels: [
            label("io.kubernetes.pod.name", meta.name.as_ref()),
            label("io.kubernetes.pod.namespace", meta.namespace.as_ref()),
            label("io.kubernetes.pod.uid", meta.uid.as_ref()),
            label("io.kubernetes.container.name", Some(&spec.name)),
        ]
        .into(),
        annotations: [(decide::HASH.to_string(), decide::hash(spec))].into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: serde_json::Value) -> Spec {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn requests_become_shares_and_limits_become_limits() {
        let c = spec(
            serde_json::json!({"name": "c", "resources": {"requests": {"cpu": "250m"}, "limits": {"cpu": "1", "memory": "64Mi"}}}),
        );
        let r = resources(&c);
        assert_eq!((r.cpu_shares, r.cpu_limit_milli, r.memory_limit), (256, Some(1000), Some(64 << 20)));
        assert_eq!(resources(&spec(serde_json::json!({"name": "c"}))).cpu_shares, 2);
        assert_eq!(resource_field(&c, "limits.memory", Some("1Mi")), Ok("64".into()));
        assert_eq!(resource_field(&c, "limits.cpu", None), Ok("1".into()));
        let all = serde_json::json!({"cpu": "8000000000000000", "memory": "8000000000000000"});
        let greedy = spec(serde_json::json!({"name": "c", "resources": {"requests": all, "limits": all}}));
        assert!(resources(&greedy).cpu_shares > 1 << 50);
        assert_eq!(resource_field(&greedy, "limits.memory", None), Ok("8000000000000000".into()));
    }

    #[test]
    fn a_sub_path_cannot_climb_out_and_root_is_refused_where_forbidden() {
        let volumes: Volumes = [("v".to_string(), (PathBuf::from("/v"), false))].into();
        let climb = spec(
            serde_json::json!({"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/m", "subPath": "a/../../b"}]}),
        );
        assert!(config(&Pod::default(), &climb, 0, vec![], &volumes).unwrap_err().contains(".."));
        let root = spec(serde_json::json!({"name": "c", "securityContext": {"runAsNonRoot": true}}));
        assert!(config(&Pod::default(), &root, 0, vec![], &volumes).unwrap_err().contains("runAsNonRoot"));
    }
}
