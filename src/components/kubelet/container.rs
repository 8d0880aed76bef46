//! From a container's spec to what the runtime is asked for. Pure.

use super::resources::resources;
use super::specs::long_name;
use super::{env, view};
use client::Codec;
use cri::{Container, ContainerConfig, Mount, Security};
use k8s_openapi::api::core::v1::{Container as Spec, Lifecycle, Pod, VolumeMount};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// The place of a volume on the node.
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

/// Places of a pod's volumes on the node, by their names.
pub(crate) type Volumes = BTreeMap<String, Place>;

/// Annotations of a container: where its termination message is and what is taken instead of it, as
/// upstream's kubelet keeps them.
pub(crate) const MESSAGE_PATH: &str = "io.kubernetes.container.terminationMessagePath";
pub(crate) const MESSAGE_POLICY: &str = "io.kubernetes.container.terminationMessagePolicy";

/// The annotation with what ends a container whose pod is not known any more, because it was
/// deleted by force while no kubelet ran: its preStop hook, and the ports that this may name.
/// Source: `restoreSpecsFromContainerLabels` in `pkg/kubelet/kuberuntime`.
const PRE_STOP: &str = "io.kubernetes.container.preStopHandler";
/// The annotation with the names of the claims that a container mounts, with commas between them:
/// of a pod that is not known any more nothing else tells which claims are in use. Upstream finds
/// that in the mounts below the pod's directory (`pkg/kubelet/volumemanager/reconciler`).
const CLAIMS: &str = "ropewalk.io/claims";
/// Bytes of the largest annotation of these two. Each list of a node's containers copies those of
/// all of them, and a pod may have a hook of a megabyte.
const KEPT_MAX: usize = 32 << 10;

/// Returns the annotation [`PRE_STOP`]: a definition with a name, ports and that hook alone.
/// `None`: there is no hook, or it is too long to be kept, and runs only while its pod is known.
fn kept_hook(spec: &Spec) -> Option<(String, String)> {
    let pre_stop = Some(spec.lifecycle.as_ref()?.pre_stop.clone()?);
    let lifecycle = Some(Lifecycle { pre_stop, ..Lifecycle::default() });
    let kept = Spec { name: spec.name.clone(), ports: spec.ports.clone(), lifecycle, ..Spec::default() };
    let kept = kept.encode().ok()?.to_string();
    (kept.len() <= KEPT_MAX).then(|| (PRE_STOP.into(), kept))
}

/// Returns what the annotation [`PRE_STOP`] of a container has of its definition.
pub(crate) fn kept_definition(container: &Container) -> Option<Spec> {
    let kept = serde_json::from_str(container.annotations.get(PRE_STOP)?).ok()?;
    Spec::decode(&kept).ok()
}

/// Returns the annotation [`CLAIMS`]. `None`: the container mounts no claim, or too many for it.
fn mounted_claims(pod: &Pod, spec: &Spec) -> Option<(String, String)> {
    let is_mounted = |name: &str| spec.volume_mounts.iter().flatten().any(|mount| mount.name == name);
    let volumes = pod.spec.iter().flat_map(|of_pod| of_pod.volumes.iter().flatten());
    let mounted = volumes.filter(|volume| is_mounted(&volume.name));
    let claims = mounted.filter_map(|volume| volume.persistent_volume_claim.as_ref());
    let names: Vec<&str> = claims.map(|claim| claim.claim_name.as_str()).collect();
    let kept = names.join(",");
    (!kept.is_empty() && kept.len() <= KEPT_MAX).then(|| (CLAIMS.into(), kept))
}

/// Returns the names of the claims that a container mounts, by its annotation [`CLAIMS`].
pub(crate) fn kept_claims(container: &Container) -> impl Iterator<Item = &str> {
    container.annotations.get(CLAIMS).into_iter().flat_map(|kept| kept.split(','))
}

/// The largest user or group id: upstream's bound. 4294967295 would mean "unchanged" to
/// setresuid(2).
const ID_MAX: i64 = i32::MAX as i64;

/// Checks a user or group id of a security context.
///
/// # Errors
/// The id is negative, or larger than [`ID_MAX`].
fn checked_id(field: &str, id: Option<i64>) -> Result<Option<u32>, String> {
    match id {
        None => Ok(None),
        Some(id @ 0..=ID_MAX) => Ok(u32::try_from(id).ok()),
        Some(id) => Err(format!("{field} {id} must be between 0 and {ID_MAX}, inclusive")),
    }
}

/// Adds the names of pod and container to a message, as upstream's kubelet does.
fn with_name(what: &str, pod: &Pod, spec: &Spec) -> String {
    format!("{what} (pod: {:?}, container: {})", long_name(pod), spec.name)
}

/// Returns the reason and the message of a container that the runtime did not make. An image that
/// runs as root where the pod forbids it is a fault of the pod, found by the runtime, which knows
/// images.
pub(crate) fn refusal(pod: &Pod, spec: &Spec, error: &cri::Error) -> (&'static str, String) {
    match error {
        cri::Error::RunsAsRoot => ("CreateContainerConfigError", with_name(&error.line(), pod, spec)),
        error => ("CreateContainerError", error.line()),
    }
}

/// Returns the security settings of a container: its own, and for what it does not say those of its
/// pod.
///
/// ```text
/// pod runAsUser 1000, container runAsUser 2000   2000: the container's own counts
/// runAsNonRoot, runAsUser 0                      refused
/// runAsNonRoot, runAsUser 1000                   1000
/// runAsNonRoot, no runAsUser                     the runtime refuses an image that runs as root
/// runAsUser -1, or 4294967295                    refused
/// ```
///
/// # Errors
/// The node cannot do what the pod asks for: the message of `CreateContainerConfigError`. What
/// cannot be kept must not be ignored.
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
    let non_root = own.run_as_non_root.or(of_pod.run_as_non_root) == Some(true);
    if non_root && user == Some(0) {
        return Err(with_name("container's runAsUser breaks non-root policy", pod, spec));
    }
    let capabilities = own.capabilities.unwrap_or_default();
    let mut groups = Vec::new();
    for id in of_pod.supplemental_groups.iter().flatten() {
        groups.extend(checked_id("supplementalGroups", Some(*id))?);
    }
    groups.extend(checked_id("fsGroup", of_pod.fs_group)?);
    Ok(Security {
        run_as_user: user,
        non_root,
        run_as_group: group,
        supplemental_groups: groups,
        strict_groups: of_pod.supplemental_groups_policy.as_deref() == Some("Strict"),
        read_only_root: own.read_only_root_filesystem.unwrap_or(false),
        privileged: own.privileged.unwrap_or(false),
        no_new_privs: own.allow_privilege_escalation == Some(false),
        add_capabilities: capabilities.add.unwrap_or_default(),
        drop_capabilities: capabilities.drop.unwrap_or_default(),
    })
}

/// Returns the part of a volume that a container sees. Links in it are resolved when it is mounted,
/// and never out of the volume.
///
/// `subPathExpr: $(POD_NAME)/logs` is `web-0/logs`, so that the pods of a StatefulSet share a
/// volume and not their files.
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

/// Returns a label or an annotation; one without a value is empty.
fn label(key: &str, value: Option<&String>) -> (String, String) {
    (key.to_string(), value.cloned().unwrap_or_default())
}

/// Returns the annotations of a container: what a kubelet needs that finds it without its pod.
fn annotations(pod: &Pod, spec: &Spec, message: Option<&Mount>) -> BTreeMap<String, String> {
    let of_message = [
        (view::HASH.to_string(), view::hash(spec)),
        label(MESSAGE_PATH, message.map(|m| m.container_path.display().to_string()).as_ref()),
        label(MESSAGE_POLICY, spec.termination_message_policy.as_ref()),
    ];
    of_message.into_iter().chain(kept_hook(spec)).chain(mounted_claims(pod, spec)).collect()
}

/// Returns what the runtime is asked for to make a container.
///
/// # Errors
/// The message of `CreateContainerConfigError`.
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
            env::take_bytes(&mut left, word.len()).map(|()| word)
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
        annotations: annotations(pod, spec, message),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: serde_json::Value) -> Spec {
        serde_json::from_value(json).unwrap()
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
        let left = serde_json::json!({"name": "c", "securityContext": {"runAsNonRoot": true}});
        assert!(made(&spec(left)).unwrap().security.non_root, "the user is the image's");
        assert!(refused(serde_json::json!({"runAsNonRoot": true, "runAsUser": 0})).contains("non-root"));
        for id in [-1, -5, 4_294_967_295_i64, 1 << 31, 1 << 40] {
            let error = refused(serde_json::json!({"runAsNonRoot": true, "runAsUser": id}));
            assert!(error.contains("must be between 0 and 2147483647"), "{error}");
            refused(serde_json::json!({"runAsGroup": id}));
        }
        let local = serde_json::json!({"seccompProfile": {"type": "Localhost", "localhostProfile": ""}});
        assert!(refused(local).contains("Localhost"));
    }

    #[test]
    fn the_policy_of_the_pod_says_whether_the_groups_of_the_image_count() {
        let is_strict = |context: serde_json::Value| {
            let pod = serde_json::json!({"spec": {"containers": [], "securityContext": context}});
            let pod: Pod = serde_json::from_value(pod).unwrap();
            security(&pod, &spec(serde_json::json!({"name": "c"}))).unwrap().strict_groups
        };
        assert!(is_strict(serde_json::json!({"supplementalGroupsPolicy": "Strict"})));
        assert!(!is_strict(serde_json::json!({"supplementalGroupsPolicy": "Merge"})));
        assert!(!is_strict(serde_json::json!({"supplementalGroups": [50]})));
    }
}
