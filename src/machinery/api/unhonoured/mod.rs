//! Fields that the API accepts and this cluster does not honour. A request that sets one to more
//! than its default is answered with a warning that names it: nothing is ignored in silence.
//!
//! One table per kind: the path of a field, when it counts as set, and what happens instead. A row
//! goes when the component that should look at the field does.

use super::kinds::Kind;
use super::kinds::core::service::is_checked;
use super::kinds::core::volume_sources::SOURCES;
use super::value::{at, flag, list, text};
use serde_json::Value;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

/// When a field asks for something that it does not get.
#[derive(Clone, Copy)]
enum Set {
    /// It is there and not empty.
    Any,
    /// It is `true`.
    True,
    /// It is `false`.
    False,
    /// It is this text.
    Is(&'static str),
    /// It is a text other than these.
    Not(&'static [&'static str]),
}

impl Set {
    fn holds(self, value: &Value) -> bool {
        match (self, value) {
            (_, Value::Null) => false,
            (Set::True, value) => value == &Value::Bool(true),
            (Set::False, value) => value == &Value::Bool(false),
            (Set::Is(text), value) => value == text,
            (Set::Not(known), value) => !known.contains(&value.as_str().unwrap_or("")),
            (Set::Any, Value::String(s)) => !s.is_empty(),
            (Set::Any, Value::Array(a)) => !a.is_empty(),
            (Set::Any, Value::Object(o)) => !o.is_empty(),
            (Set::Any, Value::Number(n)) => n.as_i64() != Some(0),
            (Set::Any, Value::Bool(_)) => true,
        }
    }
}

/// Path, when it is set, what happens instead. `a[].b` is `b` of every item; `*[]` at the start
/// stands for the containers of all three lists.
type Row = (&'static str, Set, &'static str);

use Set::{Any, False, Is, Not, True};

const NO_HOST_PORT: &str =
    "Ropewalk opens no port of the node; only the scheduler and the kubelet look at the field";
const NO_SPREAD: &str = "Ropewalk's scheduler spreads pods by their controller alone; the field is ignored";
const NO_POD_AFFINITY: &str = "Ropewalk's scheduler has no inter-pod affinity; the field is ignored";
const NO_LABELS: &str = "Ropewalk sets no SELinux labels; the field is ignored";
const NO_IPC_SYSCTL: &str = "Ropewalk sets kernel parameters of the network alone; this one is ignored";
const NO_WINDOWS: &str = "Ropewalk's nodes run Linux; the field is ignored";
const NO_APPARMOR: &str = "Ropewalk loads no AppArmor profiles; the field is ignored";
const ONE_SECCOMP: &str = "Ropewalk applies its RuntimeDefault profile to every container that is not privileged; the field is ignored";
const NO_PROFILES: &str =
    "Ropewalk's nodes have no seccomp profiles of their own; the container will not start";
const NO_TARGET: &str =
    "Ropewalk's kubelet joins no process namespace of another container; the field is ignored";
const NO_DRA: &str = "Ropewalk has no dynamic resource allocation; the field is ignored";

#[rustfmt::skip]
const POD: &[Row] = &[
    ("hostPID", True, "Ropewalk does not share the host's PID namespace; the field is ignored"),
    ("hostIPC", True, "Ropewalk does not share the host's IPC namespace; the field is ignored"),
    ("securityContext.seccompProfile.type", Is("Unconfined"), ONE_SECCOMP),
    ("securityContext.seccompProfile.type", Is("Localhost"), NO_PROFILES),
    ("securityContext.appArmorProfile.type", Not(&["Unconfined"]), NO_APPARMOR),
    ("securityContext.seLinuxOptions", Any, NO_LABELS),
    ("securityContext.seLinuxChangePolicy", Any, NO_LABELS),
    ("securityContext.windowsOptions", Any, NO_WINDOWS),
    ("securityContext.sysctls[].name", Is("kernel.shm_rmid_forced"), NO_IPC_SYSCTL),
    ("securityContext.sysctls[].name", Is("kernel/shm_rmid_forced"), NO_IPC_SYSCTL),
    ("securityContext.fsGroup", Any, "Ropewalk gives the files of ConfigMaps, Secrets and projected volumes to the group, but no emptyDir and no persistent volume"),
    ("securityContext.fsGroupChangePolicy", Not(&["Always"]), "Ropewalk's kubelet knows no policy for fsGroup; the field is ignored"),
    ("runtimeClassName", Any, "Ropewalk has one container runtime; the field is ignored"),
    ("overhead", Any, "Ropewalk counts it in what the pod requests, but its runtime has no overhead"),
    ("preemptionPolicy", Not(&["PreemptLowerPriority"]), "Ropewalk's scheduler does not preempt; the field is ignored"),
    ("imagePullSecrets", Any, "Ropewalk's images are built in and no registry is asked; the field is ignored"),
    ("topologySpreadConstraints", Any, NO_SPREAD),
    ("affinity.podAffinity", Any, NO_POD_AFFINITY),
    ("affinity.podAntiAffinity", Any, NO_POD_AFFINITY),
    ("dnsPolicy", Is("Default"), "Ropewalk's nodes have no resolver that pods could inherit; only what dnsConfig says is in the pod's resolv.conf"),
    ("resourceClaims", Any, NO_DRA),
    ("workloadRef", Any, "Ropewalk's scheduler does not schedule groups; the field is ignored"),
    ("os.name", Not(&["linux"]), "Ropewalk's nodes run Linux; the kubelet rejects the pod"),
    ("*[].securityContext.procMount", Not(&["Default"]), "Ropewalk masks /proc of every container that is not privileged; the field is ignored"),
    ("*[].securityContext.seccompProfile.type", Is("Unconfined"), ONE_SECCOMP),
    ("*[].securityContext.seccompProfile.type", Is("Localhost"), NO_PROFILES),
    ("*[].securityContext.appArmorProfile.type", Not(&["Unconfined"]), NO_APPARMOR),
    ("*[].securityContext.seLinuxOptions", Any, NO_LABELS),
    ("*[].securityContext.windowsOptions", Any, NO_WINDOWS),
    ("*[].volumeDevices", Any, "Ropewalk has no block volumes; the pod will not start"),
    ("*[].volumeMounts[].recursiveReadOnly", Is("Disabled"), "Ropewalk makes a read-only mount read-only with all that is mounted below it; the field is ignored"),
    ("*[].volumeMounts[].mountPropagation", Not(&["None"]), "Ropewalk does not propagate mounts; the field is ignored"),
    ("*[].lifecycle.postStart.tcpSocket", Any, "a lifecycle hook cannot open a connection; the hook fails and the container is ended"),
    ("*[].lifecycle.preStop.tcpSocket", Any, "a lifecycle hook cannot open a connection; the hook fails"),
    ("*[].lifecycle.stopSignal", Any, "Ropewalk sends the image's stop signal; the field is ignored"),
    ("*[].resizePolicy", Any, "Ropewalk does not resize containers in place; the field is ignored"),
    ("*[].resources.claims", Any, NO_DRA),
    ("*[].env[].valueFrom.fileKeyRef", Any, "Ropewalk's kubelet reads no variables from files; the container will not start"),
    ("volumes[].emptyDir.medium", Not(&["", "Memory"]), "Ropewalk has no volumes of huge pages; the pod will not start"),
    ("volumes[].projected.sources[].clusterTrustBundle", Any, "Ropewalk has no cluster trust bundles; the source is ignored"),
    ("volumes[].projected.sources[].podCertificate", Any, "Ropewalk issues no pod certificates; the source is ignored"),
];

const NO_OWN_USERS: &str = "Ropewalk runs as an ordinary user here, so all of its pods share one user namespace; the field is ignored";

/// Records whether `hostUsers: false` is honoured. It depends on the user that runs this process.
static OWN_USERS: AtomicBool = AtomicBool::new(false);

/// Switches off the warning about `hostUsers: false`: from now on pods get a user namespace of
/// their own, or do not start.
pub fn pods_have_own_users() {
    OWN_USERS.store(true, Ordering::Relaxed);
}

/// Returns whether `hostUsers: false` gives a pod a user namespace of its own.
pub fn have_pods_own_users() -> bool {
    OWN_USERS.load(Ordering::Relaxed)
}

/// Kinds of volumes that the kubelet makes.
const VOLUMES: [&str; 8] = [
    "name",
    "emptyDir",
    "hostPath",
    "persistentVolumeClaim",
    "configMap",
    "secret",
    "downwardAPI",
    "projected",
];

const NO_VOLUME: &str = "Ropewalk does not implement this kind of volume; the pod will not start";

const NO_HEALTH: &str =
    "Ropewalk's proxy answers no health checks of load balancers; nothing listens on the port";

const NO_BALANCER: &str = "Ropewalk's load balancer does not look at it; the field is ignored";

#[rustfmt::skip]
const SERVICE: &[Row] = &[
    ("spec.loadBalancerIP", Any, NO_BALANCER),
    ("spec.loadBalancerSourceRanges", Any, "Ropewalk's proxy lets every source in; the field is ignored"),
    ("spec.trafficDistribution", Any, "Ropewalk's proxy prefers no endpoints; the field is ignored"),
    ("spec.ports[].protocol", Is("SCTP"), "Ropewalk's proxy forwards TCP and UDP alone; the port leads nowhere"),
    ("spec.ipFamilyPolicy", Not(&["SingleStack"]), "Ropewalk's networks are IPv4 only; services have one address"),
];

#[rustfmt::skip]
const CLAIM: &[Row] = &[
    ("spec.volumeMode", Not(&["Filesystem"]), "Ropewalk has no block volumes; the claim is not provisioned"),
    ("spec.dataSource", Any, "Ropewalk copies no data into new volumes; the field is ignored"),
    ("spec.dataSourceRef", Any, "Ropewalk copies no data into new volumes; the field is ignored"),
    ("spec.volumeAttributesClassName", Any, "Ropewalk's volumes have no attributes to modify; the field is ignored"),
];

/// The claims that a StatefulSet makes.
const TEMPLATES: &str = "spec.volumeClaimTemplates";

#[rustfmt::skip]
const VOLUME: &[Row] = &[
    ("spec.volumeMode", Not(&["Filesystem"]), "Ropewalk has no block volumes; pods cannot use it"),
    ("spec.mountOptions", Any, "Ropewalk's volumes are directories; the field is ignored"),
    ("spec.persistentVolumeReclaimPolicy", Is("Recycle"), "Ropewalk recycles no volumes; the volume will be Failed once it is released"),
    ("spec.local.fsType", Any, "Ropewalk's volumes are directories; the field is ignored"),
    ("spec.volumeAttributesClassName", Any, "Ropewalk's volumes have no attributes to modify; the field is ignored"),
];

const SLICE: &[Row] =
    &[("endpoints[].hints", Any, "Ropewalk's proxy prefers no endpoints; the field is ignored")];

#[rustfmt::skip]
const CLASS: &[Row] = &[
    ("mountOptions", Any, "Ropewalk's volumes are directories; the field is ignored"),
    ("parameters", Any, "Ropewalk's provisioner has no parameters; the field is ignored"),
    ("allowedTopologies", Any, "Ropewalk's provisioner does not look at it; the field is ignored"),
    ("allowVolumeExpansion", True, "Ropewalk's volumes have no size; an expansion changes nothing"),
];

const POLICY: &[Row] =
    &[("spec", Any, "Ropewalk does not enforce network policies; the policy is stored and has no effect")];

#[rustfmt::skip]
const LEASE: &[Row] = &[
    ("spec.strategy", Any, "Ropewalk has no coordinated leader election; the field is ignored"),
    ("spec.preferredHolder", Any, "Ropewalk has no coordinated leader election; the field is ignored"),
];

/// In upstream's words: no version of Kubernetes that is still maintained reads them.
const NODE: &[Row] = &[
    ("spec.configSource", Any, "the feature is removed"),
    ("spec.externalID", Any, "this field is deprecated, and is unused by Kubernetes"),
];

const INGRESS: &[Row] =
    &[("spec", Any, "no ingress controller runs in Ropewalk; the object is stored and has no effect")];

const NO_POD_SECURITY: &str =
    "Ropewalk has no PodSecurity admission; pods of the namespace are not checked against the level";

/// Labels and annotations that upstream acts on: kind, map, key, when it is set, what happens
/// instead.
#[rustfmt::skip]
const MARKS: &[(&str, &str, &str, Set, &str)] = &[
    ("Namespace", "metadata.labels", "pod-security.kubernetes.io/enforce", Not(&["privileged"]), NO_POD_SECURITY),
    ("Namespace", "metadata.labels", "pod-security.kubernetes.io/audit", Not(&["privileged"]), NO_POD_SECURITY),
    ("Namespace", "metadata.labels", "pod-security.kubernetes.io/warn", Not(&["privileged"]), NO_POD_SECURITY),
    ("Service", "metadata.annotations", "service.kubernetes.io/topology-mode", Not(&["Disabled", "disabled"]), "Ropewalk's proxy prefers no endpoints; the annotation is ignored"),
];

/// Kinds beside pods and workloads with fields that are not honoured.
fn rows(kind: &Kind) -> &'static [Row] {
    match (kind.group, kind.kind) {
        ("", "Service") => SERVICE,
        ("", "Node") => NODE,
        ("coordination.k8s.io", "Lease") => LEASE,
        ("", "PersistentVolumeClaim") => CLAIM,
        ("", "PersistentVolume") => VOLUME,
        ("discovery.k8s.io", "EndpointSlice") => SLICE,
        ("storage.k8s.io", "StorageClass") => CLASS,
        ("networking.k8s.io", "NetworkPolicy") => POLICY,
        ("networking.k8s.io", "Ingress") => INGRESS,
        _ => &[],
    }
}

/// Returns where the spec of a pod stands in objects of a kind: in a pod, or in the template of a
/// workload.
pub fn pod_spec(kind: &Kind) -> Option<&'static str> {
    match (kind.group, kind.kind) {
        ("", "Pod") => Some("spec"),
        ("", "PodTemplate") => Some("template.spec"),
        ("", "ReplicationController")
        | ("apps", "Deployment" | "ReplicaSet" | "DaemonSet" | "StatefulSet")
        | ("batch", "Job") => Some("spec.template.spec"),
        ("batch", "CronJob") => Some("spec.jobTemplate.spec.template.spec"),
        _ => None,
    }
}

/// Warnings for what `object` sets and this cluster does not honour. Of an update only what changed
/// counts: `old` is what was stored. The text begins with the path of the field.
pub fn warnings(kind: &Kind, object: &Value, old: Option<&Value>) -> Vec<String> {
    let mut found = vec![];
    // Of lists the whole is compared.
    let list_of = |path: &str| path.split("[]").next().unwrap_or_default().to_string();
    let changed = |path: &str| old.is_none_or(|old| at(old, &list_of(path)) != at(object, &list_of(path)));
    if let Some(path) = pod_spec(kind).filter(|path| changed(path)) {
        pod(at(object, path), path, &mut found);
    }
    for (path, set, why) in rows(kind).iter().filter(|(path, ..)| changed(path)) {
        search(object, path, "", *set, why, &mut found);
    }
    // The server writes the source of a claim under both of its names.
    if found.iter().any(|warning| warning.starts_with("spec.dataSource:")) {
        found.retain(|warning| !warning.starts_with("spec.dataSourceRef:"));
    }
    if (kind.group, kind.kind) == ("apps", "StatefulSet") && changed(TEMPLATES) {
        for (i, claim) in list(object, TEMPLATES).iter().enumerate() {
            for (path, set, why) in CLAIM {
                search(claim, path, &format!("{TEMPLATES}[{i}]"), *set, why, &mut found);
            }
        }
    }
    if kind.group.is_empty() {
        marked(kind.kind, object, old, &mut found);
    }
    let is_service = (kind.group, kind.kind) == ("", "Service");
    if is_service && is_checked(object) && !old.is_some_and(is_checked) {
        found.push(format!("spec.healthCheckNodePort: {NO_HEALTH}"));
    }
    found
}

/// Warns of labels and annotations without effect, and of kinds of volumes that the kubelet cannot
/// mount.
fn marked(kind: &str, object: &Value, old: Option<&Value>, found: &mut Vec<String>) {
    for (_, map, key, set, why) in MARKS.iter().filter(|(of, ..)| *of == kind) {
        let mark = |object| at(object, map).get(key).unwrap_or(&Value::Null);
        if set.holds(mark(object)) && old.is_none_or(|old| mark(old) != mark(object)) {
            found.push(format!("{map}[{key}]: {why}"));
        }
    }
    if kind == "PersistentVolume" && old.is_none() {
        let spec = at(object, "spec");
        let sources = SOURCES.iter().filter(|s| !["hostPath", "local"].contains(s));
        for source in sources.filter(|s| spec.get(**s).is_some_and(|of| !of.is_null())) {
            found.push(format!("spec.{source}: {NO_VOLUME}"));
        }
    }
}

fn pod(spec: &Value, field: &str, found: &mut Vec<String>) {
    for (path, set, why) in POD {
        match path.strip_prefix("*[].") {
            None => search(spec, path, field, *set, why, found),
            Some(rest) => {
                for group in ["containers", "initContainers", "ephemeralContainers"] {
                    search(spec, &format!("{group}[].{rest}"), field, *set, why, found);
                }
            }
        }
    }
    prefixed_capabilities(spec, field, found);
    if !have_pods_own_users() {
        search(spec, "hostUsers", field, False, NO_OWN_USERS, found);
    }
    if !flag(spec, "shareProcessNamespace") {
        search(spec, "ephemeralContainers[].targetContainerName", field, Any, NO_TARGET, found);
    }
    if !flag(spec, "hostNetwork") {
        for group in ["containers", "initContainers"] {
            search(spec, &format!("{group}[].ports[].hostPort"), field, Any, NO_HOST_PORT, found);
        }
    }
    for (i, volume) in list(spec, "volumes").iter().enumerate() {
        let kinds = volume.as_object().into_iter().flatten();
        for (kind, _) in kinds.filter(|(k, v)| !v.is_null() && !VOLUMES.contains(&k.as_str())) {
            found.push(format!("{field}.volumes[{i}].{kind}: {NO_VOLUME}"));
        }
    }
}

/// Warns of capabilities with a prefix. The runtime writes `CAP_` before each name, as containerd
/// does: with the prefix it is another name, and nothing is added or dropped.
fn prefixed_capabilities(spec: &Value, field: &str, found: &mut Vec<String>) {
    for group in ["containers", "initContainers", "ephemeralContainers"] {
        for (i, container) in list(spec, group).iter().enumerate() {
            for what in ["add", "drop"] {
                let path = format!("securityContext.capabilities.{what}");
                for name in list(container, &path).iter().filter_map(Value::as_str) {
                    if let Some(plain) = name.to_uppercase().strip_prefix("CAP_") {
                        found.push(format!(
                            "{field}.{group}[{i}].{path}: there is no capability {name:?}; its name is {plain:?}"
                        ));
                    }
                }
            }
        }
    }
}

/// Looks at all values that `path` leads to.
fn search(value: &Value, path: &str, field: &str, set: Set, why: &str, found: &mut Vec<String>) {
    let (step, rest) = path.split_once('.').map_or((path, None), |(step, rest)| (step, Some(rest)));
    let dot = if field.is_empty() { "" } else { "." };
    let name = step.trim_end_matches("[]");
    let here = format!("{field}{dot}{name}");
    match rest {
        Some(rest) if step.ends_with("[]") => {
            for (i, item) in list(value, name).iter().enumerate() {
                search(item, rest, &format!("{here}[{i}]"), set, why, found);
            }
        }
        Some(rest) => search(at(value, name), rest, &here, set, why, found),
        None if set.holds(at(value, name)) => found.push(format!("{here}: {why}")),
        None => {}
    }
}

/// Images of this cluster's own components. What runs behind them is this program itself, with the
/// rights of the component.
pub const OWN_IMAGES: &str = "ropewalk.io/";

/// Images of the cluster's own components in a pod's spec (field and image) that `old` does not
/// have.
pub fn own_images<'a>(spec: &'a Value, old: &Value) -> Vec<(String, &'a str)> {
    let images = |spec: &'a Value, group: &'static str| {
        let all = list(spec, group).iter().enumerate();
        all.map(move |(i, c)| (format!("{group}[{i}].image"), text(c, "image").trim()))
    };
    let groups = ["initContainers", "containers", "ephemeralContainers"];
    let had: HashSet<&str> =
        groups.iter().flat_map(|g| list(old, g)).map(|c| text(c, "image").trim()).collect();
    let own = groups.into_iter().flat_map(|g| images(spec, g));
    own.filter(|(_, image)| image.starts_with(OWN_IMAGES) && !had.contains(image)).collect()
}

#[cfg(test)]
mod tests;
