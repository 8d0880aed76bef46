//! From a container's spec to what the runtime is asked for. Pure.

use super::{decide, env};
use api::quantity::Quantity;
use api::requests::{self, Amount, Field};
use cri::{ContainerConfig, Mount, Resources, Security};
use k8s_openapi::api::core::v1::{Container as Spec, Pod, ResourceRequirements, VolumeMount};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// Where a volume is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// The node's file system, if `path` is a path in that; then it is resolved when it is mounted,
    /// and no link leads out.
    pub root: Option<PathBuf>,
    /// Without a root: a directory that the kubelet made.
    pub path: PathBuf,
    /// The whole volume is.
    pub read_only: bool,
}

impl Place {
    pub(crate) fn of_kubelet(path: PathBuf, read_only: bool) -> Place {
        Place { root: None, path, read_only }
    }

    pub(crate) fn of_node(root: &Path, path: &str, read_only: bool) -> Place {
        Place { root: Some(root.to_path_buf()), path: PathBuf::from(path), read_only }
    }
}

/// Where a pod's volumes are on the node, by their names.
pub(crate) type Volumes = BTreeMap<String, Place>;

/// Annotations of a container: where its termination message is and what is taken instead of it, as
/// upstream's kubelet keeps them.
pub(crate) const MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
pub(crate) const MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";

/// The largest user or group id: upstream's bound. 4294967295 would mean "unchanged" to
/// setresuid(2).
const ID_MAX: i64 = i32::MAX as i64;

/// A user or group id of a security context.
fn checked_id(field: &str, id: Option<i64>) -> Result<Option<u32>, String> {
    match id {
        None => Ok(None),
        Some(id @ 0..=ID_MAX) => Ok(u32::try_from(id).ok()),
        Some(id) => Err(format!("{field} {id} must be between 0 and {ID_MAX}, inclusive")),
    }
}

/// Limits and shares as the kernel wants them.
pub(crate) fn resources(spec: &Spec) -> Resources {
    let amounts = spec.resources.clone().unwrap_or_default();
    let amount =
        |map: &Option<BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>,
         name: &str| { map.as_ref().and_then(|m| m.get(name)).and_then(|q| Quantity::parse(&q.0)) };
    let cpu_limit = amount(&amounts.limits, "cpu").map(|q| q.milli().max(0) as u64);
    let cpu_request =
        amount(&amounts.requests, "cpu").map(|q| q.milli().max(0) as u64).or(cpu_limit).unwrap_or(0);
    Resources {
        cpu_shares: shares(cpu_request),
        cpu_limit_milli: cpu_limit.filter(|l| *l > 0),
        memory_limit: amount(&amounts.limits, "memory").map(|q| q.units().max(0) as u64).filter(|l| *l > 0),
        pids_limit: None,
        oom_score_adj: 0,
    }
}

/// `cpu.shares` for a request in millicores; the kernel takes no less than 2.
fn shares(milli: u64) -> u64 {
    (milli.saturating_mul(1024) / 1000).max(2)
}

/// `cpu.shares` of all containers of a pod together: pods compete by what they request, and the
/// containers of one pod for what that gives them.
pub(crate) fn pod_shares(pod: &Pod) -> u64 {
    shares(u64::try_from(Amount::of_pod(pod).cpu).unwrap_or(0))
}

/// Limits of a whole pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PodLimits {
    pub cpu_milli: Option<u64>,
    /// Bytes.
    pub memory: Option<u64>,
}

/// The limits of a pod's control group: the sum over its containers, with the pod's overhead, if
/// each of them has a limit, or what the pod says as a whole. Source: `ResourceConfigForPod` in
/// `pkg/kubelet/cm/helpers_linux.go`.
///
/// ```text
/// a 64Mi, b 32Mi  ->  96Mi        a 64Mi, b none  ->  none
/// a 64Mi, b none, spec.resources.limits 200Mi  ->  200Mi
/// ```
pub(crate) fn pod_limits(pod: &Pod) -> PodLimits {
    let Some(spec) = &pod.spec else { return PodLimits::default() };
    let declares = |resources: &Option<ResourceRequirements>, name: &str| {
        let limit = resources.as_ref().and_then(|r| r.limits.as_ref()?.get(name));
        limit.and_then(|q| Quantity::parse(&q.0)).is_some_and(|q| q.milli() > 0)
    };
    let declared = |name: &str| {
        let mut all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        declares(&spec.resources, name) || all.all(|c| declares(&c.resources, name))
    };
    let sum = requests::of_pod(pod, Field::Limits);
    let limit = |name: &str, of: fn(&Quantity) -> i64| {
        let amount = sum.get(name).map(of).and_then(|amount| u64::try_from(amount).ok());
        amount.filter(|amount| *amount > 0 && declared(name))
    };
    PodLimits { cpu_milli: limit("cpu", Quantity::milli), memory: limit("memory", Quantity::units) }
}

/// Returns what a container without limits of its own may use: the limits of its pod as a whole, or
/// what the node has to give. Source: `defaultPodLimitsForDownwardAPI` in
/// `pkg/kubelet/kubelet_resources.go`.
pub(crate) fn allocatable(pod: &Pod, node: Amount) -> Amount {
    let limits = pod.spec.as_ref().and_then(|s| s.resources.as_ref()?.limits.as_ref());
    let limit = |name: &str, of: fn(&Quantity) -> i64| {
        let amount = limits.and_then(|all| Quantity::parse(&all.get(name)?.0));
        amount.map(|q| of(&q)).filter(|amount| *amount > 0)
    };
    Amount {
        cpu: limit("cpu", Quantity::milli).unwrap_or(node.cpu),
        memory: limit("memory", Quantity::units).unwrap_or(node.memory),
        ..node
    }
}

/// `resourceFieldRef`: e.g. `limits.memory` in units of the divisor, rounded up. The value of a
/// container without that limit is what its pod or the node has to give ([`allocatable`]): a
/// program that sizes its heap by it must not read 0. Source: `MergeContainerResourceLimits` in
/// `pkg/api/v1/resource/helpers.go`.
pub(crate) fn resource_field(
    spec: &Spec,
    field: &str,
    divisor: Option<&str>,
    allocatable: &Amount,
) -> Result<String, String> {
    let (which, name) = field.split_once('.').ok_or_else(|| format!("unsupported resource: {field}"))?;
    let amounts = spec.resources.clone().unwrap_or_default();
    let map = match which {
        "limits" => amounts.limits,
        "requests" => amounts.requests,
        _ => return Err(format!("unsupported resource: {field}")),
    };
    let given = map.as_ref().and_then(|m| m.get(name)).and_then(|q| Quantity::parse(&q.0)).map(|q| q.milli());
    let of_node = match (which, name) {
        ("limits", "cpu") => allocatable.cpu,
        ("limits", "memory") => allocatable.memory.saturating_mul(1000),
        ("limits", "ephemeral-storage") => allocatable.storage.saturating_mul(1000),
        _ => 0,
    };
    let value = given.filter(|milli| *milli > 0).unwrap_or(of_node);
    let divisor = divisor.and_then(Quantity::parse).map_or(1000, |q| q.milli());
    let divisor = if divisor == 0 { 1000 } else { divisor };
    Ok(((i128::from(value) + i128::from(divisor) - 1) / i128::from(divisor)).to_string())
}

fn security(pod: &Pod, spec: &Spec) -> Result<Security, String> {
    let of_pod = pod.spec.as_ref().and_then(|s| s.security_context.clone()).unwrap_or_default();
    let own = spec.security_context.clone().unwrap_or_default();
    let user = checked_id("runAsUser", own.run_as_user.or(of_pod.run_as_user))?;
    let group = checked_id("runAsGroup", own.run_as_group.or(of_pod.run_as_group))?;
    let profile = own.seccomp_profile.as_ref().or(of_pod.seccomp_profile.as_ref());
    if profile.is_some_and(|p| p.type_ == "Localhost") {
        // CVE-2023-2431: a profile that is not there must not become none at all.
        return Err(
            "seccompProfile of type Localhost: this node has no profiles; RuntimeDefault is there".into()
        );
    }
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
    let mut groups = Vec::new();
    for id in of_pod.supplemental_groups.iter().flatten() {
        groups.extend(checked_id("supplementalGroups", Some(*id))?);
    }
    groups.extend(checked_id("fsGroup", of_pod.fs_group)?);
    Ok(Security {
        run_as_user: user,
        run_as_group: group,
        supplemental_groups: groups,
        read_only_root: own.read_only_root_filesystem.unwrap_or(false),
        privileged: own.privileged.unwrap_or(false),
        no_new_privs: own.allow_privilege_escalation == Some(false),
        add_capabilities: capabilities.add.unwrap_or_default(),
        drop_capabilities: capabilities.drop.unwrap_or_default(),
    })
}

/// The part of a volume that a container sees. Links in it are resolved when it is mounted, and
/// never out of the volume.
///
/// # Errors
/// As upstream's kubelet: an absolute path, `..`, and an expression with a variable that there is
/// not.
fn sub_path(mount: &VolumeMount, lookup: impl Fn(&str) -> Option<String>) -> Result<PathBuf, String> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let sub = match (given(&mount.sub_path), given(&mount.sub_path_expr)) {
        (Some(sub), _) => sub,
        (_, Some(expression)) => {
            let missing = std::cell::Cell::new(None);
            let sub = env::expand(&expression, |name| {
                let value = lookup(name);
                if value.is_none() {
                    missing.set(Some(name.to_string()));
                }
                value
            })?;
            if let Some(name) = missing.take() {
                return Err(format!("missing value for {name:?}"));
            }
            sub
        }
        _ => return Ok(PathBuf::new()),
    };
    if sub.starts_with('/') {
        return Err(format!("error SubPath `{sub}` must not be an absolute path"));
    }
    if sub.split('/').any(|part| part == "..") {
        return Err(format!("unable to provision SubPath `{sub}`: must not contain '..'"));
    }
    Ok(PathBuf::from(sub))
}

/// Everything the runtime needs. An error is the message of `CreateContainerConfigError`.
pub(crate) fn config(
    pod: &Pod,
    spec: &Spec,
    attempt: u32,
    variables: Vec<(String, String)>,
    volumes: &Volumes,
    message: Option<&Mount>,
) -> Result<ContainerConfig, String> {
    if !super::files::is_name(&spec.name) {
        return Err(format!("invalid container name {:?}", spec.name)); // it is a directory of logs
    }
    let known: HashMap<&str, &str> = variables.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let lookup = |name: &str| known.get(name).map(|v| (*v).to_string());
    let mut left = env::ALL_MAX;
    let mut expanded = |words: &Option<Vec<String>>| -> Result<Vec<String>, String> {
        let word = |w: &String| {
            let word = env::expand(w, lookup)?;
            env::take(&mut left, word.len()).map(|()| word)
        };
        words.iter().flatten().map(word).collect()
    };
    let mut mounts = Vec::new();
    for mount in spec.volume_mounts.iter().flatten() {
        let place = volumes
            .get(&mount.name)
            .ok_or_else(|| format!("volume {:?} of container {:?} does not exist", mount.name, spec.name))?;
        mounts.push(Mount {
            host_root: place.root.clone(),
            host_path: place.path.clone(),
            sub_path: sub_path(mount, lookup)?,
            // A relative path begins at the root, as upstream. The runtime sorts by depth.
            container_path: Path::new("/").join(&mount.mount_path),
            read_only: place.read_only || mount.read_only.unwrap_or(false),
        });
    }
    mounts.extend(message.cloned());
    let label = |key: &str, value: Option<&String>| (key.to_string(), value.cloned().unwrap_or_default());
    let meta = &pod.metadata;
    Ok(ContainerConfig {
        name: spec.name.clone(),
        attempt,
        image: spec.image.clone().unwrap_or_default(),
        command: expanded(&spec.command)?,
        args: expanded(&spec.args)?,
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
        annotations: [
            (decide::HASH.to_string(), decide::hash(spec)),
            label(MESSAGE_PATH, message.map(|m| m.container_path.display().to_string()).as_ref()),
            label(MESSAGE_POLICY, spec.termination_message_policy.as_ref()),
        ]
        .into(),
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
        let without = spec(serde_json::json!({"name": "c"}));
        assert_eq!(resources(&without).cpu_shares, 2);
        let node = Amount { cpu: 3500, memory: 2 << 30, ..Amount::default() };
        let of_node = |field: &str, divisor| resource_field(&without, field, divisor, &node).unwrap();
        assert_eq!(of_node("limits.memory", Some("1Mi")), "2048", "without a limit it may use the node's");
        assert_eq!([of_node("limits.cpu", None), of_node("requests.cpu", None)], ["4", "0"]);
        assert_eq!(resource_field(&c, "limits.memory", Some("1Mi"), &node), Ok("64".into()));
        assert_eq!(resource_field(&c, "limits.cpu", None, &node), Ok("1".into()));
        let all = serde_json::json!({"cpu": "8000000000000000", "memory": "8000000000000000"});
        let greedy = spec(serde_json::json!({"name": "c", "resources": {"requests": all, "limits": all}}));
        assert!(resources(&greedy).cpu_shares > 1 << 50);
        assert_eq!(resource_field(&greedy, "limits.memory", None, &node), Ok("8000000000000000".into()));
    }

    #[test]
    fn a_pod_has_a_limit_if_each_of_its_containers_has_one() {
        let limits = |memory: &str| match memory {
            "" => serde_json::json!({}),
            memory => serde_json::json!({"limits": {"memory": memory, "cpu": "500m"}}),
        };
        let pod = |main: &[&str], init: &[&str], more: serde_json::Value| -> Pod {
            let all = |list: &[&str]| -> Vec<serde_json::Value> {
                list.iter().map(|m| serde_json::json!({"name": "c", "resources": limits(m)})).collect()
            };
            let mut spec = serde_json::json!({"containers": all(main), "initContainers": all(init)});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            serde_json::from_value(serde_json::json!({"spec": spec})).unwrap()
        };
        let none = || serde_json::json!({});
        let memory = |pod: &Pod| pod_limits(pod).memory.map(|bytes| bytes >> 20);
        assert_eq!(memory(&pod(&["1Mi", "2Mi"], &[], none())), Some(3));
        assert_eq!(pod_limits(&pod(&["1Mi", "2Mi"], &[], none())).cpu_milli, Some(1000));
        assert_eq!(memory(&pod(&["1Mi", ""], &[], none())), None);
        assert_eq!(memory(&pod(&["1Mi"], &["8Mi"], none())), Some(8), "an init container runs alone");
        assert_eq!(memory(&pod(&["1Mi"], &[""], none())), None);
        let overhead = serde_json::json!({"overhead": {"memory": "1Mi"}});
        assert_eq!(memory(&pod(&["1Mi"], &[], overhead.clone())), Some(2));
        assert_eq!(memory(&pod(&[""], &[], overhead)), None);
        let whole = serde_json::json!({"resources": {"limits": {"memory": "9Mi"}}});
        assert_eq!(
            pod_limits(&pod(&["1Mi", ""], &[], whole)),
            PodLimits { cpu_milli: None, memory: Some(9 << 20) }
        );
        assert_eq!(pod_limits(&pod(&["0"], &[], none())).memory, None);
        assert_eq!(pod_limits(&Pod::default()), PodLimits::default());
    }

    #[test]
    fn arguments_have_a_bound_together() {
        let c = spec(serde_json::json!({"name": "c", "args": vec!["$(A)"; 100]}));
        let with = |length: usize| {
            config(&Pod::default(), &c, 0, vec![("A".into(), "x".repeat(length))], &Volumes::new(), None)
        };
        assert_eq!(with(10).unwrap().args.len(), 100);
        assert!(with(100_000).unwrap_err().starts_with("argument list too long"));
    }

    fn made(spec: &Spec) -> Result<ContainerConfig, String> {
        let volumes: Volumes = [("v".to_string(), Place::of_kubelet("/v".into(), false))].into();
        config(&Pod::default(), spec, 0, vec![("A".into(), "/etc".into())], &volumes, None)
    }

    #[test]
    fn a_sub_path_cannot_climb_out_and_an_expression_needs_its_variables() {
        let mounted = |sub: serde_json::Value| {
            let mut mount = serde_json::json!({"name": "v", "mountPath": "/m"});
            mount.as_object_mut().unwrap().extend(sub.as_object().unwrap().clone());
            made(&spec(serde_json::json!({"name": "c", "volumeMounts": [mount]})))
        };
        let refused = |sub: serde_json::Value| mounted(sub).unwrap_err();
        assert!(refused(serde_json::json!({"subPath": "a/../../b"})).contains("'..'"));
        assert!(refused(serde_json::json!({"subPath": "/etc"})).contains("must not be an absolute path"));
        assert!(refused(serde_json::json!({"subPathExpr": "$(A)"})).contains("must not be an absolute path"));
        assert_eq!(refused(serde_json::json!({"subPathExpr": "x/$(B)"})), "missing value for \"B\"");
        let mount = mounted(serde_json::json!({"subPathExpr": "x$(A)"})).unwrap().mounts.remove(0);
        assert_eq!(mount.sub_path, Path::new("x/etc"));
    }

    #[test]
    fn a_relative_mount_path_begins_at_the_root() {
        let mounts = [("/data", "/data"), ("data/sub", "/data/sub"), ("etc/hosts", "/etc/hosts")];
        let volume_mounts = mounts.map(|(path, _)| serde_json::json!({"name": "v", "mountPath": path}));
        let made = made(&spec(serde_json::json!({"name": "c", "volumeMounts": volume_mounts}))).unwrap();
        let paths: Vec<&Path> = made.mounts.iter().map(|mount| &*mount.container_path).collect();
        assert_eq!(paths, mounts.map(|(_, absolute)| Path::new(absolute)));
    }

    #[test]
    fn a_name_is_no_path() {
        for name in ["../../x", "/x", "", ".."] {
            let error = made(&spec(serde_json::json!({"name": name}))).unwrap_err();
            assert!(error.contains("invalid container name"), "{error}");
        }
    }

    #[test]
    fn root_is_refused_where_forbidden_and_ids_have_bounds() {
        let refused = |security: serde_json::Value| {
            made(&spec(serde_json::json!({"name": "c", "securityContext": security}))).unwrap_err()
        };
        assert!(refused(serde_json::json!({"runAsNonRoot": true})).contains("runAsNonRoot"));
        assert!(refused(serde_json::json!({"runAsNonRoot": true, "runAsUser": 0})).contains("non-root"));
        for id in [-1, -5, 4_294_967_295_i64, 1 << 31, 1 << 40] {
            let error = refused(serde_json::json!({"runAsNonRoot": true, "runAsUser": id}));
            assert!(error.contains("must be between 0 and 2147483647"), "{error}");
            refused(serde_json::json!({"runAsGroup": id}));
        }
        let local = serde_json::json!({"seccompProfile": {"type": "Localhost", "localhostProfile": ""}});
        assert!(refused(local).contains("Localhost"));
    }
}
