//! Admission: what a cluster adds to new objects, and what it does not let in.

use super::State;
use super::definitions;
use crate::api::kinds::Kind;
use crate::api::value::{self, at, flag, list, list_mut, text};
use crate::api::{Status, meta};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How long a pod waits for its namespace's default service account, which a controller makes.
const ACCOUNT_WAIT: Duration = Duration::from_millis(1500);
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// Written by kubelets into their mirror pods.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// NamespaceLifecycle: nothing is made in a namespace that is not there or is going.
pub fn namespace(state: &State, kind: &Kind, object: &Value) -> Result<(), Status> {
    if !kind.namespaced {
        return Ok(());
    }
    let namespace = meta::namespace(object);
    let found = state.cache.get("namespaces", namespace);
    let Some(found) = found else { return Err(Status::not_found("", "namespaces", namespace)) };
    if meta::is_terminating(&found.value) {
        let why =
            format!("unable to create new content in namespace {namespace} because it is being terminated");
        let mut status = Status::forbidden(kind.group, kind.plural, meta::name(object), &why);
        status.details["causes"] = json!([{"reason": "NamespaceTerminating",
            "message": format!("namespace {namespace} is being terminated"), "field": "metadata.namespace"}]);
        return Err(status);
    }
    Ok(())
}

/// Nothing is made of a kind whose definition is going.
pub fn definition(state: &State, kind: &Kind) -> Result<(), Status> {
    if kind.custom.is_none() {
        return Ok(());
    }
    let found = state.cache.get(definitions::PLACE, &kind.qualified());
    if found.is_some_and(|d| meta::is_terminating(&d.value)) {
        let why = "create not allowed while custom resource definition is terminating";
        return Err(Status::new(405, "MethodNotAllowed", why).with(json!({})));
    }
    Ok(())
}

/// All that happens to a new object. Answers what was done, for the trace.
pub async fn create(state: &Arc<State>, kind: &Kind, object: &mut Value) -> Result<Value, Status> {
    match (kind.group, kind.kind) {
        ("", "Pod") => {
            let account = service_account(state, object).await?;
            priority(state, object)?;
            tolerations(object);
            Ok(json!({"serviceAccount": account, "priority": at(object, "spec.priority")}))
        }
        ("", "PersistentVolumeClaim") => Ok(json!({"storageClass": storage_class(state, object)})),
        _ => Ok(Value::Null),
    }
}

/// ServiceAccount: name, token volume, pull secrets.
async fn service_account(state: &Arc<State>, pod: &mut Value) -> Result<String, Status> {
    if meta::annotation(pod, MIRROR).is_some() {
        return Ok(String::new());
    }
    value::default_zero(pod, "spec.serviceAccountName", "default");
    let name = text(pod, "spec.serviceAccountName").to_string();
    value::put(pod, "spec.serviceAccount", name.clone());
    let namespace = meta::namespace(pod).to_string();
    let key = format!("{namespace}/{name}");
    let Some(account) = find_account(state, &key, name == "default").await else {
        let why =
            format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
        return Err(Status::forbidden("", "pods", meta::name(pod), &why));
    };
    let wants = at(pod, "spec.automountServiceAccountToken").as_bool();
    if wants.or(at(&account, "automountServiceAccountToken").as_bool()).unwrap_or(true) {
        mount_token(pod, &format!("kube-api-access-{}", state.rng.name_suffix(5)));
    }
    if value::empty(pod, "spec.imagePullSecrets") && !value::empty(&account, "imagePullSecrets") {
        value::copy(
            &json!({"spec": {"imagePullSecrets": at(&account, "imagePullSecrets")}}),
            pod,
            "spec.imagePullSecrets",
        );
    }
    Ok(name)
}

async fn find_account(state: &Arc<State>, key: &str, wait: bool) -> Option<Value> {
    let look = || state.cache.get("serviceaccounts", key).map(|a| a.value.clone());
    if let Some(found) = look() {
        return Some(found);
    }
    if !wait {
        return None;
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
    crate::clock::timeout(ACCOUNT_WAIT, search).await.flatten()
}

fn mount_token(pod: &mut Value, volume: &str) {
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
    if used {
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

/// DefaultTolerationSeconds: five minutes on a node that is gone.
fn tolerations(pod: &mut Value) {
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

/// Priority: the number behind a class's name.
fn priority(state: &State, pod: &mut Value) -> Result<(), Status> {
    let name = text(pod, "spec.priorityClassName").to_string();
    let class = if name.is_empty() {
        let mut global = None;
        state.cache.for_each("priorityclasses", "", |c| {
            if flag(c, "globalDefault") {
                global = Some(c.clone());
            }
        });
        global
    } else {
        match state.cache.get("priorityclasses", &name) {
            Some(class) => Some(class.value.clone()),
            None => {
                let why = format!("no PriorityClass with name {name} was found");
                return Err(Status::forbidden("", "pods", meta::name(pod), &why));
            }
        }
    };
    if let Some(class) = &class
        && name.is_empty()
    {
        value::put(pod, "spec.priorityClassName", meta::name(class));
    }
    let number = class.as_ref().map_or(0, |c| value::int(c, "value").unwrap_or(0));
    value::put(pod, "spec.priority", number);
    let preemption = class.as_ref().map_or("", |c| text(c, "preemptionPolicy"));
    let policy = if preemption.is_empty() { "PreemptLowerPriority" } else { preemption };
    value::default(pod, "spec.preemptionPolicy", policy);
    Ok(())
}

/// DefaultStorageClass: a claim that names no class gets the newest default one.
fn storage_class(state: &State, claim: &mut Value) -> Value {
    if at(claim, "spec.storageClassName").is_null()
        && meta::annotation(claim, "volume.beta.kubernetes.io/storage-class").is_none()
    {
        let mut newest: Option<(String, String)> = None;
        state.cache.for_each("storageclasses", "", |c| {
            if meta::annotation(c, "storageclass.kubernetes.io/is-default-class") == Some("true") {
                let this = (text(c, "metadata.creationTimestamp").to_string(), meta::name(c).to_string());
                newest = newest.take().max(Some(this));
            }
        });
        if let Some((_, name)) = newest {
            value::put(claim, "spec.storageClassName", name);
        }
    }
    at(claim, "spec.storageClassName").clone()
}

#[cfg(test)]
mod tests {
    use super::*;

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
