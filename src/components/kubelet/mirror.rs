//! Mirror pods: how the API shows a static pod. The object follows the pod; deleting the object
//! ends nothing.

use super::config::Config;
use super::error::Error;
use super::status;
use client::{Api, is_code, optional};
use k8s_openapi::api::core::v1::{Node, Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

const MIRROR: &str = "kubernetes.io/config.mirror";
const HASH: &str = "kubernetes.io/config.hash";

/// The pause between the end of a mirror and the next one. A client that waits for the end of the
/// one that it deleted has to meet a time without a pod of that name: kubectl reads the pod, then
/// lists it and watches from there, and waits for ever for the end of the next one if that is what
/// it lists. Upstream makes the next one at once, but removes the deleted one only after a relist
/// of the runtime, up to a second later (`tryReconcileMirrorPods`): kubectl watches by then.
pub(crate) const NEXT: Duration = Duration::from_secs(1);

/// Returns whether a pod of the API is a mirror, by its annotation.
pub(crate) fn is_one(pod: &Pod) -> bool {
    pod.metadata.annotations.iter().flatten().any(|(key, _)| key == MIRROR)
}

/// Removes a mirror at once. That it is gone, or was replaced, is no error.
///
/// # Errors
/// As the API's.
pub(crate) async fn remove(api: &Api<Pod>, mirror: &Pod) -> Result<(), Error> {
    let preconditions = Preconditions { uid: mirror.metadata.uid.clone(), resource_version: None };
    let now = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(preconditions),
        ..Default::default()
    };
    match api.delete(mirror.metadata.name.as_deref().unwrap_or_default(), &now).await {
        Ok(_) => Ok(()),
        Err(error) if is_code(&error, 404) || is_code(&error, 409) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Returns the status of a static pod as the one that goes on from its mirror's: a static pod
/// itself has no stored status, so when it started and when its conditions changed is known from
/// the mirror alone (as in upstream's status manager).
fn following(status: &PodStatus, shown: Option<&PodStatus>) -> PodStatus {
    let (mut status, Some(shown)) = (status.clone(), shown) else { return status.clone() };
    status.start_time = shown.start_time.clone().or(status.start_time);
    let conditions = status.conditions.get_or_insert_default();
    status::keep_conditions(conditions, shown.conditions.as_deref().unwrap_or_default());
    status
}

/// Returns whether a pod of the API is a mirror on this node, so that it is this kubelet's to
/// replace.
///
/// Each control-plane node has a static pod `etcd`; their mirrors are `etcd-control-plane` and
/// `etcd-control-plane2`. A kubelet leaves those of other nodes alone.
fn is_of_node(pod: &Pod, node: &str) -> bool {
    is_one(pod) && pod.spec.as_ref().and_then(|s| s.node_name.as_deref()) == Some(node)
}

/// Makes the API show the static pod with this status. An ordinary pod of that name, or another
/// node's mirror, stays as it is (`CreateMirrorPod` upstream deletes neither). A mirror that was
/// deleted only goes: its end brings the next one, after [`NEXT`].
///
/// # Errors
/// As the API's; `NotMirror`: another pod has the name, so the static pod cannot be shown.
pub(crate) async fn show(config: &Config, pod: &Pod, status: &PodStatus) -> Result<(), Error> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let hash = pod.metadata.uid.clone().unwrap_or_default();
    let api = config.client.within::<Pod>(namespace);
    let mut mirror = optional(api.get(name).await)?;
    let annotated = |m: &Pod| m.metadata.annotations.as_ref().and_then(|a| a.get(HASH)) == Some(&hash);
    let others = || Error::NotMirror(format!("{namespace}/{name}"));
    if let Some(old) = mirror.as_ref().filter(|m| m.metadata.deletion_timestamp.is_some() || !annotated(m)) {
        if !is_of_node(old, &config.node_name) {
            return Err(others());
        }
        remove(&api, old).await?;
        if old.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        mirror = None;
    }
    let mirror = match mirror {
        Some(mirror) => mirror,
        None => {
            let node = config.client.cluster::<Node>().get(&config.node_name).await?;
            let mut picture = pod.clone();
            picture.metadata.uid = None;
            let annotations: &mut BTreeMap<String, String> =
                picture.metadata.annotations.get_or_insert_default();
            annotations.insert(MIRROR.into(), hash.clone());
            annotations.insert(HASH.into(), hash.clone());
            annotations.insert("kubernetes.io/config.source".into(), "file".into());
            picture.metadata.owner_references = Some(vec![OwnerReference {
                api_version: "v1".into(),
                kind: "Node".into(),
                name: config.node_name.clone(),
                uid: node.metadata.uid.unwrap_or_default(),
                controller: Some(true),
                ..OwnerReference::default()
            }]);
            match api.create(&PostParams::default(), &picture).await {
                Ok(made) => made,
                Err(error) if is_code(&error, 409) => {
                    let found = api.get(name).await?;
                    let own = annotated(&found) && is_of_node(&found, &config.node_name);
                    own.then_some(found).ok_or_else(others)?
                }
                Err(error) => return Err(error.into()),
            }
        }
    };
    let status = &following(status, mirror.status.as_ref());
    if status::differs(mirror.status.as_ref(), status) {
        let status = status::patch(mirror.status.as_ref(), status);
        let patch = json!({"metadata": {"uid": mirror.metadata.uid}, "status": status});
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests;
    use client::testing::{Scripted, refusal};
    use cri::fake::FakeRuntime;
    use rng::Rng;
    use serde_json::Value;

    /// What is asked of the API where this pod already has the name; `late`: it comes while the
    /// mirror is being made.
    async fn asked(there: Value, late: bool) -> (bool, Vec<String>) {
        let made = std::sync::atomic::AtomicBool::new(false);
        let api = Scripted::new(move |asked| {
            use std::sync::atomic::Ordering::Relaxed;
            match asked.line.as_str() {
                "GET /api/v1/namespaces/kube-system/pods/etcd" => match late && !made.load(Relaxed) {
                    true => refusal(404, "NotFound"),
                    false => Some((200, there.clone())),
                },
                "POST /api/v1/namespaces/kube-system/pods" if late => {
                    made.store(true, Relaxed);
                    refusal(409, "AlreadyExists")
                }
                _ => None,
            }
        })
        .await;
        let runtime = FakeRuntime::new(tests::NODE, tests::PODS, Rng::seeded(1));
        let config = tests::config(&api.client, &runtime, "/nowhere".into());
        let metadata = json!({"name": "etcd", "namespace": "kube-system", "uid": "own"});
        let pod: Pod =
            serde_json::from_value(json!({"metadata": metadata, "spec": {"containers": []}})).unwrap();
        let status = PodStatus { phase: Some("Running".into()), ..PodStatus::default() };
        let shown = show(&config, &pod, &status).await.is_ok();
        let lines = api.take().into_iter().map(|a| a.line).filter(|line| !line.starts_with("GET"));
        (shown, lines.collect())
    }

    #[tokio::test]
    async fn only_mirrors_of_this_node_are_replaced() {
        let pod = |node: &str, annotations: Value| {
            json!({"metadata": {"name": "etcd", "uid": "x", "annotations": annotations},
                "spec": {"nodeName": node, "containers": []}})
        };
        let mirror = |hash: &str| json!({MIRROR: hash, HASH: hash});
        for late in [false, true] {
            for other in [pod("n1", json!({})), pod("n2", json!({})), pod("n2", mirror("old"))] {
                let (shown, lines) = asked(other.clone(), late).await;
                assert!(!shown, "{other}");
                assert!(lines.iter().all(|line| line.starts_with("POST") && late), "{other}: {lines:?}");
            }
        }
        let path = "/api/v1/namespaces/kube-system/pods";
        let (shown, lines) = asked(pod("n1", mirror("old")), false).await;
        let all = ["DELETE", "POST", "PATCH"];
        assert!(shown && lines.iter().zip(all).all(|(line, verb)| line.starts_with(verb)), "{lines:?}");
        assert_eq!(lines.len(), 3);
        let mut going = pod("n1", mirror("own"));
        going["metadata"]["deletionTimestamp"] = json!("2026-01-02T03:04:05Z");
        assert_eq!(asked(going, false).await, (true, vec![format!("DELETE {path}/etcd")]));
        assert_eq!(
            asked(pod("n1", mirror("own")), false).await,
            (true, vec![format!("PATCH {path}/etcd/status")])
        );
    }

    #[tokio::test]
    async fn a_mirror_loses_the_message_that_its_pod_has_no_more() {
        let api = Scripted::new(|asked| {
            let shown = json!({
                "metadata": {"name": "etcd", "uid": "x", "annotations": {MIRROR: "own", HASH: "own"}},
                "spec": {"nodeName": "n1", "containers": []},
                "status": {"phase": "Running", "message": "container etcd: it has no limits"},
            });
            asked.line.starts_with("GET").then_some((200, shown))
        })
        .await;
        let runtime = FakeRuntime::new(tests::NODE, tests::PODS, Rng::seeded(1));
        let config = tests::config(&api.client, &runtime, "/nowhere".into());
        let metadata = json!({"name": "etcd", "namespace": "kube-system", "uid": "own"});
        let pod: Pod =
            serde_json::from_value(json!({"metadata": metadata, "spec": {"containers": []}})).unwrap();
        let status = PodStatus { phase: Some("Running".into()), ..PodStatus::default() };
        show(&config, &pod, &status).await.unwrap();
        let asked = api.take();
        let patch = &asked.last().unwrap().body["status"];
        assert_eq!(patch.get("message"), Some(&Value::Null), "{patch}");
    }

    #[test]
    fn a_mirror_keeps_when_its_pod_started_and_when_its_conditions_changed() {
        let status = |at: &str, ready: &str| -> PodStatus {
            serde_json::from_value(json!({
                "startTime": at, "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": at}],
            }))
            .unwrap()
        };
        let (early, late) = ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        let shown = status(early, "True");
        assert_eq!(following(&status(late, "True"), Some(&shown)), shown);
        let mut changed = status(late, "False");
        changed.start_time = shown.start_time.clone();
        assert_eq!(following(&status(late, "False"), Some(&shown)), changed);
        assert_eq!(following(&shown, None), shown);
    }
}
