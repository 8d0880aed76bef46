//! Plug-ins for pods: their ServiceAccount, their priority, how long they stay on a node that is
//! gone, and mirror pods.

use super::attributes::Attributes;
use crate::auth::node_authorizer::{MIRROR, names_secret};
use crate::state::State;
use crate::storage::extra::Extra;
use api::value::{self, at, flag, list, list_mut, map, text};
use api::{Status, meta};
use serde_json::{Value, json};
use std::time::Duration;

/// How long a pod waits for its namespace's default service account, which a controller makes. Not
/// much longer than upstream: the request has one of the server's seats meanwhile.
const ACCOUNT_WAIT: Duration = Duration::from_millis(1500);
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// How the name of a pod's token volume begins.
const TOKEN_VOLUME: &str = "kube-api-access-";
/// On a service account whose pods may use only the secrets that it lists.
const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";
/// Labels of a node that its pods get.
const TOPOLOGY: [&str; 2] = ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"];

/// Gives a pod the name, the token volume and the pull secrets of its account (ServiceAccount).
///
/// The pod `{containers: [web]}` becomes one that runs as the ServiceAccount `default` and has the
/// volume `kube-api-access-x7k2p` mounted at `/var/run/secrets/kubernetes.io/serviceaccount`:
/// token, certificate of the API server, namespace. `automountServiceAccountToken: false` in the
/// pod, or else in the account, leaves the volume out.
pub(super) async fn service_account(a: &Attributes<'_>, pod: &mut Value) -> Result<Value, Status> {
    let state = a.state;
    if meta::annotation(pod, MIRROR).is_some() {
        return Ok(Value::Null);
    }
    value::default_zero(pod, "spec.serviceAccountName", "default");
    let name = text(pod, "spec.serviceAccountName").to_string();
    value::put(pod, "spec.serviceAccount", name.clone());
    let namespace = meta::namespace(pod).to_string();
    let key = format!("{namespace}/{name}");
    let refuse = |why: &str| a.forbidden_early(pod, why);
    let account = match find_account(state, &key, name == "default").await {
        Ok(Some(account)) => account,
        Ok(None) => return Err(refuse(&no_account(pod))),
        // The account may exist: the store did not answer.
        Err(e) => {
            return Err(refuse(&format!("error looking up service account {key}: {}", e.message)));
        }
    };
    let wants = at(pod, "spec.automountServiceAccountToken").as_bool();
    if wants.or(at(&account, "automountServiceAccountToken").as_bool()).unwrap_or(true) {
        mount_token(pod, || format!("{TOKEN_VOLUME}{}", state.rng.name_suffix(5)));
    }
    if value::empty(pod, "spec.imagePullSecrets") && !value::empty(&account, "imagePullSecrets") {
        value::copy(
            &json!({"spec": {"imagePullSecrets": at(&account, "imagePullSecrets")}}),
            pod,
            "spec.imagePullSecrets",
        );
    }
    Ok(json!({"serviceAccount": name}))
}

/// Returns why a pod is refused whose account does not exist, in upstream's words.
fn no_account(pod: &Value) -> String {
    let namespace = meta::namespace(pod);
    match text(pod, "spec.serviceAccountName") {
        "" => format!("no service account specified for pod {namespace}/{}", meta::name(pod)),
        name => {
            format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found")
        }
    }
}

/// Finds a ServiceAccount. One that the cache lacks may have been made just now, so the store is
/// asked, as upstream; with `wait` the account is then waited for, at most for [`ACCOUNT_WAIT`].
///
/// # Errors
/// The store could not be asked.
async fn find_account(state: &State, key: &str, wait: bool) -> Result<Option<Value>, Status> {
    let look = || state.cache.get("serviceaccounts", key).map(|a| a.value.clone());
    if let Some(found) = look() {
        return Ok(Some(found));
    }
    state.fresh().await?;
    if let Some(found) = look() {
        return Ok(Some(found));
    }
    if !wait {
        return Ok(None);
    }
    let mut progress = state.cache.progress();
    let search = async {
        loop {
            if let Some(found) = look() {
                return Some(found);
            }
            progress.changed().await.ok()?;
        }
    };
    Ok(clock::limit(ACCOUNT_WAIT, search).await.flatten())
}

/// Mounts a token into the containers that mount nothing at its path. A pod that brings a token
/// volume, as a copy of another pod does, gets no second one: its containers mount the first one
/// that it has.
fn mount_token(pod: &mut Value, new_name: impl FnOnce() -> String) {
    let mut names = list(pod, "spec.volumes").iter().map(|v| text(v, "name"));
    let own = names.find(|name| name.starts_with(TOKEN_VOLUME)).map(String::from);
    let has_own = own.is_some();
    let volume = own.unwrap_or_else(new_name);
    let mut used = false;
    for group in ["spec.initContainers", "spec.containers"] {
        for container in list_mut(pod, group) {
            if list(container, "volumeMounts").iter().any(|m| text(m, "mountPath") == TOKEN_PATH) {
                continue;
            }
            let mount = json!({"name": volume, "readOnly": true, "mountPath": TOKEN_PATH});
            push(container, "volumeMounts", mount);
            used = true;
        }
    }
    if used && !has_own {
        let source = json!({"name": volume, "projected": {"sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}}],
            "defaultMode": 420}});
        push(value::slot(pod, "spec"), "volumes", source);
    }
}

fn push(object: &mut Value, path: &str, item: Value) {
    match value::slot(object, path) {
        Value::Array(list) => list.push(item),
        other => *other = Value::Array(vec![item]),
    }
}

/// Judges the Secrets that a pod refers to (ServiceAccount's other half): a mirror pod refers to
/// none, and where the account has [`ENFORCE`], the pod's containers read only those that the
/// account lists. Ephemeral containers are no way around it (CVE-2023-2728), nor is the deletion of
/// the account. Upstream judges it with the mutating plug-ins.
pub(super) fn secrets(a: &Attributes, pod: &Value) -> Result<Extra, Status> {
    let ephemeral = a.ctx.info.subresource == "ephemeralcontainers";
    if a.old.is_some() && !ephemeral {
        return Ok(Extra::default());
    }
    if meta::annotation(pod, MIRROR).is_some() {
        let refused = problem_of_mirror(pod);
        return refused.map_or(Ok(Extra::default()), |why| Err(a.forbidden_early(pod, why)));
    }
    let key = format!("{}/{}", meta::namespace(pod), text(pod, "spec.serviceAccountName"));
    let Some(account) = a.state.cache.get("serviceaccounts", &key) else {
        return Err(a.forbidden_early(pod, &no_account(pod)));
    };
    let enforced =
        matches!(meta::annotation(&account.value, ENFORCE), Some("1" | "t" | "T" | "true" | "TRUE" | "True"));
    match enforced.then(|| foreign_secret(&account.value, pod, ephemeral)).flatten() {
        Some(why) => Err(a.forbidden_early(pod, &why)),
        None => Ok(Extra::default()),
    }
}

/// Judges a pod that says of itself that it is a mirror. Only its node may make one
/// (NodeRestriction judges which), and no write, a binding included, may change what it says. A
/// mirror is shown and not run, so no other user has a use for one.
pub(super) fn mirrors(a: &Attributes, pod: &Value) -> Result<Extra, Status> {
    let now = meta::annotation(pod, MIRROR);
    let why = match a.old {
        None if now.is_some() && a.ctx.user.node().is_none() => {
            format!("only a node may create a mirror pod (annotation {MIRROR:?})")
        }
        Some(old) if meta::annotation(old, MIRROR) != now => format!("annotation {MIRROR:?} may not change"),
        _ => return Ok(Extra::default()),
    };
    Err(a.forbidden(pod, &why))
}

/// Returns why a mirror pod is refused: it may refer to no account and no Secret, because its node
/// has made it without the rights to them.
fn problem_of_mirror(pod: &Value) -> Option<&'static str> {
    if !text(pod, "spec.serviceAccountName").is_empty() {
        return Some("a mirror pod may not reference service accounts");
    }
    let volumes = list(pod, "spec.volumes");
    let sources = || volumes.iter().flat_map(|v| list(v, "projected.sources"));
    let containers = ["spec.initContainers", "spec.containers", "spec.ephemeralContainers"];
    let of_containers = containers.iter().flat_map(|g| list(pod, g)).flat_map(references);
    let of_sources = sources().map(|s| text(s, "secret.name"));
    let to_pull = list(pod, "spec.imagePullSecrets").iter().map(|s| text(s, "name"));
    let mut names = of_containers.map(|(_, name)| name).chain(of_sources).chain(to_pull);
    // As upstream a reference without a name counts as none.
    if names.any(|name| !name.is_empty()) || volumes.iter().any(names_secret) {
        return Some("a mirror pod may not reference secrets");
    }
    let token = sources().any(|s| s.get("serviceAccountToken").is_some());
    token.then_some("a mirror pod may not use ServiceAccountToken volume projections")
}

/// Returns the secrets that a container's environment refers to, each with how upstream calls the
/// place.
fn references(container: &Value) -> Vec<(String, &str)> {
    let single = list(container, "env").iter().filter(|e| e.pointer("/valueFrom/secretKeyRef").is_some());
    let single =
        single.map(|e| (format!("envVar {}", text(e, "name")), text(e, "valueFrom.secretKeyRef.name")));
    let all = list(container, "envFrom").iter().filter(|e| e.get("secretRef").is_some());
    single.chain(all.map(|e| ("envFrom".to_string(), text(e, "secretRef.name")))).collect()
}

/// Returns why a pod is refused that refers to a Secret which its account does not list, in
/// upstream's words.
fn foreign_secret(account: &Value, pod: &Value, ephemeral: bool) -> Option<String> {
    let name = meta::name(account);
    let listed = |field: &str, secret: &str| list(account, field).iter().any(|s| text(s, "name") == secret);
    let end = format!("is not allowed because service account {name} does not reference that secret");
    let in_containers = |group: &str, what: &str| {
        list(pod, group).iter().find_map(|container| {
            let foreign = references(container).into_iter().find(|(_, secret)| !listed("secrets", secret))?;
            let (place, secret) = foreign;
            Some(format!(
                "{what} {} with {place} referencing secret.secretName={secret:?} {end}",
                text(container, "name")
            ))
        })
    };
    if ephemeral {
        return in_containers("spec.ephemeralContainers", "ephemeral container");
    }
    let volumes = list(pod, "spec.volumes").iter().filter(|v| v.get("secret").is_some());
    let mut mounted = volumes.map(|v| text(v, "secret.secretName"));
    let volume = mounted.find(|secret| !listed("secrets", secret));
    let pull = || {
        let all = list(pod, "spec.imagePullSecrets").iter().map(|s| text(s, "name")).enumerate();
        all.into_iter().find(|(_, secret)| !listed("imagePullSecrets", secret)).map(|(i, secret)| {
            format!("imagePullSecrets[{i}].name={secret:?} is not allowed because service account {name} does not reference that imagePullSecret")
        })
    };
    volume
        .map(|secret| format!("volume with secret.secretName={secret:?} {end}"))
        .or_else(|| in_containers("spec.initContainers", "init container"))
        .or_else(|| in_containers("spec.containers", "container"))
        .or_else(pull)
}

/// DefaultTolerationSeconds: five minutes on a node that is gone.
pub(super) fn tolerations(pod: &mut Value) {
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let tolerated = list(pod, "spec.tolerations").iter().any(|t| {
            let (own, effect) = (text(t, "key"), text(t, "effect"));
            (own == key || own.is_empty()) && matches!(effect, "" | "NoExecute")
        });
        if !tolerated {
            let toleration =
                json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
            push(value::slot(pod, "spec"), "tolerations", toleration);
        }
    }
}

/// PodTopologyLabels: a pod that names its node itself gets the node's zone and region as labels,
/// in the place of its own ones. Any other pod gets them with its Binding. Source: KEP-4742.
///
/// Example: a program reads its zone by the downward API, from
/// `metadata.labels['topology.kubernetes.io/zone']`.
pub(super) fn topology(a: &Attributes<'_>, pod: &mut Value) {
    let node = text(pod, "spec.nodeName").to_string();
    set_topology_labels(a.state, &node, pod);
}

/// Gives the labels that say where a node is to a pod, or to the Binding that leads it there. A
/// node that is not known has none.
pub(crate) fn set_topology_labels(state: &State, node: &str, object: &mut Value) {
    let Some(found) = state.cache.get("nodes", node) else { return };
    let Some(labels) = map(&found.value, "metadata.labels") else { return };
    for (key, label) in TOPOLOGY.iter().filter_map(|key| Some((*key, labels.get(*key)?))) {
        value::slot_map(object, "metadata.labels").insert(key.into(), label.clone());
    }
}

/// Priority: the number behind a class's name. What the pod itself says of either must be the same.
///
/// # Errors
/// 403 for a class that does not exist, and for a number or policy that differs from the class's.
pub(super) fn priority(a: &Attributes<'_>, pod: &mut Value) -> Result<Value, Status> {
    let state = a.state;
    let refuse = |why: String| Err(a.forbidden_early(pod, &why));
    let name = text(pod, "spec.priorityClassName").to_string();
    let number_of = |class: &Value| value::int(class, "value").unwrap_or(0);
    let class = if name.is_empty() {
        // Of several default classes the lowest counts.
        let mut global: Option<Value> = None;
        state.cache.for_each("priorityclasses", "", |c| {
            if flag(c, "globalDefault") && global.as_ref().is_none_or(|g| number_of(c) < number_of(g)) {
                global = Some(c.clone());
            }
        });
        global
    } else {
        match state.cache.get("priorityclasses", &name) {
            Some(class) => Some(class.value.clone()),
            None => return refuse(format!("no PriorityClass with name {name} was found")),
        }
    };
    let number = class.as_ref().map_or(0, number_of);
    let end = "from the given PriorityClass name";
    if let Some(given) = value::int(pod, "spec.priority").filter(|given| *given != number) {
        return refuse(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {number} {end}"
        ));
    }
    let preemption = class.as_ref().map_or("", |c| text(c, "preemptionPolicy"));
    let policy = if preemption.is_empty() { "PreemptLowerPriority" } else { preemption };
    let given = text(pod, "spec.preemptionPolicy");
    if !given.is_empty() && given != policy {
        return refuse(format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {policy} {end}"
        ));
    }
    if let Some(class) = &class {
        value::put(pod, "spec.priorityClassName", meta::name(class));
    }
    value::put(pod, "spec.priority", number);
    value::put(pod, "spec.preemptionPolicy", policy);
    Ok(json!({"priority": number}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_brings_a_token_volume_gets_no_second_one() {
        let mounted = |volumes: Value| {
            let old = json!({"name": "a", "volumeMounts": [{"name": "kube-api-access-old", "mountPath": TOKEN_PATH}]});
            let mut pod = json!({"spec": {"containers": [old, {"name": "b"}], "volumes": volumes}});
            mount_token(&mut pod, || "kube-api-access-new".into());
            let names = |list: &[Value]| list.iter().map(|v| text(v, "name").to_string()).collect::<Vec<_>>();
            let mounts = list(&list(&pod, "spec.containers")[1], "volumeMounts");
            (names(list(&pod, "spec.volumes")), names(mounts))
        };
        let [data, old, new] = ["data", "kube-api-access-old", "kube-api-access-new"].map(String::from);
        let volumes = json!([{"name": "data"}, {"name": "kube-api-access-old", "emptyDir": {}}]);
        assert_eq!(mounted(volumes), (vec![data.clone(), old.clone()], vec![old]));
        assert_eq!(mounted(json!([{"name": "data"}])), (vec![data, new.clone()], vec![new]));
    }

    #[test]
    fn a_mirror_pod_refers_to_no_account_and_to_no_secret_of_any_driver() {
        let volume = |v: Value| json!({"spec": {"volumes": [v]}});
        let secret = Some("a mirror pod may not reference secrets");
        for (pod, why) in [
            (volume(json!({"secret": {"secretName": "x"}})), secret),
            (volume(json!({"csi": {"driver": "d", "nodePublishSecretRef": {"name": "x"}}})), secret),
            (volume(json!({"azureFile": {"secretName": "x", "shareName": "s"}})), secret),
            (volume(json!({"flexVolume": {"driver": "d", "secretRef": {"name": "x"}}})), secret),
            (volume(json!({"projected": {"sources": [{"secret": {"name": "x"}}]}})), secret),
            (json!({"spec": {"imagePullSecrets": [{"name": "x"}]}}), secret),
            (volume(json!({"flexVolume": {"driver": "d", "secretRef": {}}})), None),
            (json!({"spec": {"imagePullSecrets": [{}, {"name": ""}]}}), None),
            (
                json!({"spec": {"serviceAccountName": "default"}}),
                Some("a mirror pod may not reference service accounts"),
            ),
            (
                volume(json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}})),
                Some("a mirror pod may not use ServiceAccountToken volume projections"),
            ),
            (volume(json!({"csi": {"driver": "d"}})), None),
            (volume(json!({"emptyDir": {}})), None),
        ] {
            assert_eq!(problem_of_mirror(&pod), why, "{pod}");
        }
    }

    #[test]
    fn five_minutes_unless_the_pod_says_otherwise() {
        let mut pod = json!({"spec": {"tolerations": [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]}});
        tolerations(&mut pod);
        let keys: Vec<&str> = list(&pod, "spec.tolerations").iter().map(|t| text(t, "key")).collect();
        assert_eq!(keys, ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]);
        let mut all = json!({"spec": {"tolerations": [{"operator": "Exists"}]}});
        tolerations(&mut all);
        assert_eq!(list(&all, "spec.tolerations").len(), 1);
    }
}
