//! What controllers of pods share: ownership, selectors, readiness, making pods from a template.

use super::expectations::Expectations;
use super::names::name_prefix;
use crate::shared::Shared;
use api::labels::meets;
use client::{Client, Key, Recorder, is_code};
use clock::{self, Timestamp};
use k8s_openapi::api::core::v1::{ObjectReference, Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tap::Cause;

/// The owner that manages an object, if any.
pub(crate) fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|o| o.controller == Some(true))
}

/// A reference to the managing owner, as every made object carries it.
pub(crate) fn owned_by<K: kube::Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Does the selector choose these labels? An empty selector chooses nothing here: no workload may
/// own everything.
pub(crate) fn selects(selector: &LabelSelector, labels: Option<&BTreeMap<String, String>>) -> bool {
    let empty = BTreeMap::new();
    let labels = labels.unwrap_or(&empty);
    let (equal, rules) =
        (selector.match_labels.as_ref(), selector.match_expressions.as_deref().unwrap_or_default());
    if equal.is_none_or(BTreeMap::is_empty) && rules.is_empty() {
        return false;
    }
    equal.into_iter().flatten().all(|(k, v)| labels.get(k) == Some(v))
        && rules.iter().all(|r| {
            meets(
                &r.operator,
                labels.get(&r.key).map(String::as_str),
                r.values.as_deref().unwrap_or_default(),
            )
        })
}

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or("Pending")
}

/// Not being deleted.
pub(crate) fn is_staying(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
}

/// Neither ended nor ending.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !matches!(phase(pod), "Succeeded" | "Failed") && pod.metadata.deletion_timestamp.is_none()
}

/// Being deleted, and not ended yet.
pub(crate) fn is_terminating(pod: &Pod) -> bool {
    !matches!(phase(pod), "Succeeded" | "Failed") && pod.metadata.deletion_timestamp.is_some()
}

/// Since when it is ready, if it is.
pub(crate) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let ready = conditions.iter().find(|c| c.type_ == "Ready" && c.status == "True")?;
    Some(ready.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |t| t.0))
}

/// Ready for at least `seconds` of the cluster's time.
pub(crate) fn is_available(pod: &Pod, seconds: i32, now: Timestamp) -> bool {
    ready_since(pod).is_some_and(|since| wait_left(since, seconds, now).is_none())
}

/// What is left of `minReadySeconds`; `None`: it is over. If the clock was set back, it begins in
/// the future. Without a wait a pod that is ready is available whatever the clock says (upstream:
/// `IsPodAvailable`): else no pod that runs would be, until the clock is where it was.
fn wait_left(ready_since: Timestamp, seconds: i32, now: Timestamp) -> Option<Duration> {
    if seconds <= 0 {
        return None;
    }
    let ahead = Duration::try_from(ready_since - now).unwrap_or_default();
    let wait = ahead.saturating_add(Duration::from_secs(seconds as u64));
    clock::left(ready_since, wait, now)
}

/// A pod from a template, named after its owner.
pub(crate) fn from_template(
    template: &PodTemplateSpec,
    name: String,
    namespace: &str,
    owner: OwnerReference,
) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(name_prefix(&owner.name, None)),
            name: Some(name),
            namespace: Some(namespace.into()),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// What events say about an owner's pods: functions of the names of the owner and of the pod.
#[derive(Clone, Copy)]
pub(crate) struct Words {
    pub created: fn(&str, &str) -> String,
    pub deleted: fn(&str, &str) -> String,
    /// Also of why.
    pub refused: fn(&str, &str, &str) -> String,
    /// Of a pod that could not be deleted; also of why.
    pub kept: fn(&str, &str, &str) -> String,
}

/// What most controllers say.
pub(crate) const WORDS: Words = Words {
    created: |_, pod| format!("Created pod: {pod}"),
    deleted: |_, pod| format!("Deleted pod: {pod}"),
    refused: |_, _, why| format!("Error creating: {why}"),
    kept: |_, _, why| format!("Error deleting: {why}"),
};

/// An error as events and conditions tell it.
pub(crate) fn why(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Was the request refused because its namespace is being deleted?
pub(crate) fn is_namespace_ending(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => {
            let causes = status.details.iter().flat_map(|d| &d.causes);
            causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
        }
        _ => false,
    }
}

/// Makes and deletes pods for one owner, with events and expectations.
pub(crate) struct Hands<'a> {
    pub shared: &'a Shared,
    pub expectations: &'a Expectations,
    pub recorder: &'a Recorder,
    pub owner: &'a Key,
    pub about: ObjectReference,
    pub cause: &'a Option<Cause>,
    pub words: Words,
    /// What pods of this owner carry and others do not: added by an adoption, removed by a release.
    pub finalizer: Option<&'static str>,
}

impl Hands<'_> {
    fn client(&self) -> Client {
        self.shared.config.client.caused_by(self.cause.clone())
    }

    /// Makes a pod. The namespace's end is no error: the pods go with it.
    pub(crate) async fn create(&self, pod: Pod) -> Result<(), kube::Error> {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let lists = || self.shared.informer::<Pod>().lists();
        self.expectations.creating(self.owner, &name, lists());
        match self.client().within::<Pod>(&self.owner.namespace).create(&PostParams::default(), &pod).await {
            Ok(made) => {
                self.expectations.answered(self.owner, &name, made.metadata.uid, lists());
                self.recorder.normal(
                    &self.about,
                    "SuccessfulCreate",
                    (self.words.created)(&self.owner.name, &name),
                    self.cause.clone(),
                );
                Ok(())
            }
            Err(error) if is_namespace_ending(&error) => {
                self.expectations.created(self.owner, &name);
                Ok(())
            }
            Err(error) => {
                self.expectations.created(self.owner, &name);
                let text = why(&error);
                self.recorder.warning(
                    &self.about,
                    "FailedCreate",
                    (self.words.refused)(&self.owner.name, &name, &text),
                    self.cause.clone(),
                );
                Err(error)
            }
        }
    }

    /// Deletes a pod. One that is gone, or another one of its name, is no error.
    pub(crate) async fn delete(&self, pod: &Pod) -> Result<(), kube::Error> {
        let (name, uid) =
            (pod.metadata.name.clone().unwrap_or_default(), pod.metadata.uid.clone().unwrap_or_default());
        self.expectations.deleting(self.owner, &uid);
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: Some(uid.clone()), resource_version: None }),
            ..DeleteParams::default()
        };
        match self.client().within::<Pod>(&self.owner.namespace).delete(&name, &params).await {
            Ok(_) => {
                self.recorder.normal(
                    &self.about,
                    "SuccessfulDelete",
                    (self.words.deleted)(&self.owner.name, &name),
                    self.cause.clone(),
                );
                Ok(())
            }
            Err(error) if is_code(&error, 404) || is_code(&error, 409) => {
                self.expectations.deleted(self.owner, &uid);
                Ok(())
            }
            Err(error) => {
                self.expectations.deleted(self.owner, &uid);
                let message = (self.words.kept)(&self.owner.name, &name, &why(&error));
                self.recorder.warning(&self.about, "FailedDelete", message, self.cause.clone());
                Err(error)
            }
        }
    }

    /// Makes many pods, a few at first, twice as many each time all went well: a mistake costs few
    /// failed requests.
    pub(crate) async fn create_all(&self, pods: Vec<Pod>) -> Result<(), kube::Error> {
        let (mut rest, mut batch) = (pods.into_iter(), 1);
        loop {
            let next: Vec<Pod> = rest.by_ref().take(batch).collect();
            if next.is_empty() {
                return Ok(());
            }
            self.create_at_once(next).await?;
            batch *= 2;
        }
    }

    /// Makes all of the pods, then answers the first error.
    pub(crate) async fn create_at_once(&self, pods: Vec<Pod>) -> Result<(), kube::Error> {
        all_done(pods.into_iter().map(|pod| self.create(pod))).await
    }

    pub(crate) async fn delete_all(&self, pods: &[Arc<Pod>]) -> Result<(), kube::Error> {
        all_done(pods.iter().map(|pod| self.delete(pod))).await
    }

    /// Adopts a pod without a controller. Returns it as far as it is known, or `None` if it is gone
    /// or another owner took it.
    pub(crate) async fn adopt(
        &self,
        pod: &Arc<Pod>,
        owner: &OwnerReference,
    ) -> Result<Option<Arc<Pod>>, kube::Error> {
        let mut patch = json!({"metadata": {"ownerReferences": [owner], "uid": pod.metadata.uid}});
        let mut adopted = pod.clone();
        if let Some(finalizer) = self.finalizer {
            patch["metadata"]["finalizers"] = json!([finalizer]);
            let all = Arc::make_mut(&mut adopted).metadata.finalizers.get_or_insert_default();
            if !all.iter().any(|f| f == finalizer) {
                all.push(finalizer.into());
            }
        }
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let api = self.client().within::<Pod>(&self.owner.namespace);
        match api.patch(name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            Ok(_) => Ok(Some(adopted)),
            Err(error) if is_code(&error, 404) || is_code(&error, 409) || is_code(&error, 422) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Releases a pod: removes the owner, and the finalizer that the owner would have to remove.
    pub(crate) async fn release(&self, pod: &Pod, owner: &OwnerReference) -> Result<(), kube::Error> {
        let mut patch = json!({"metadata": {"ownerReferences": [{"$patch": "delete", "uid": owner.uid}], "uid": pod.metadata.uid}});
        if let Some(finalizer) = self.finalizer {
            patch["metadata"]["$deleteFromPrimitiveList/finalizers"] = json!([finalizer]);
        }
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let api = self.client().within::<Pod>(&self.owner.namespace);
        match api.patch(name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            Err(error) if !(is_code(&error, 404) || is_code(&error, 409) || is_code(&error, 422)) => {
                Err(error)
            }
            _ => Ok(()),
        }
    }
}

/// Carries all of it out, then answers the first error. A request that is given up in the middle
/// may or may not have been heard, and what was expected of it would be waited for.
async fn all_done<E>(requests: impl Iterator<Item = impl Future<Output = Result<(), E>>>) -> Result<(), E> {
    futures::future::join_all(requests).await.into_iter().collect()
}

/// The name of the node that the pod is bound to; empty if it is bound to none.
pub(crate) fn node_of(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|s| s.node_name.as_deref()).unwrap_or_default()
}

/// Sorts pods in the order in which those that are too many go. `related`: the pods that count
/// where pods crowd on a node, which may be more than these. `None`, for a Job: neither that nor a
/// deletion cost counts (upstream: `ActivePods`, beside `ActivePodsWithRanks` of ReplicaSets).
pub(crate) fn least_useful_first(active: &[Arc<Pod>], related: Option<&[Arc<Pod>]>) -> Vec<Arc<Pod>> {
    let mut on_node: BTreeMap<&str, usize> = BTreeMap::new();
    for pod in related.unwrap_or_default() {
        *on_node.entry(node_of(pod)).or_default() += 1;
    }
    let mut ranked = active.to_vec();
    ranked.sort_by_cached_key(|pod| {
        let ready = ready_since(pod);
        let annotations = pod.metadata.annotations.as_ref().filter(|_| related.is_some());
        let cost = annotations.and_then(|a| a.get("controller.kubernetes.io/pod-deletion-cost"));
        let how_far = match phase(pod) {
            "Pending" => 0,
            "Unknown" => 1,
            _ => 2,
        };
        let created = pod.metadata.creation_timestamp.as_ref().map(|t| t.0);
        // Smaller goes first; times are negated because the youngest goes before the oldest.
        (
            !node_of(pod).is_empty(),
            how_far,
            ready.is_some(),
            cost.and_then(|c| c.parse::<i64>().ok()).unwrap_or(0),
            std::cmp::Reverse(on_node.get(node_of(pod)).copied().unwrap_or(0)),
            std::cmp::Reverse(ready),
            std::cmp::Reverse(most_restarts(pod)),
            std::cmp::Reverse(created),
            pod.metadata.name.clone(),
        )
    });
    ranked
}

/// How often a container of the pod was restarted, at most; and how often a sidecar, which counts
/// between pods that are equal otherwise. Upstream: `compareMaxContainerRestarts`.
fn most_restarts(pod: &Pod) -> (i32, i32) {
    let init = pod.spec.iter().flat_map(|s| s.init_containers.iter().flatten());
    let sidecars: Vec<&str> =
        init.filter(|c| c.restart_policy.as_deref() == Some("Always")).map(|c| c.name.as_str()).collect();
    let Some(status) = &pod.status else { return (0, 0) };
    let ordinary = status.container_statuses.iter().flatten().map(|c| c.restart_count).max();
    let sidecar = status.init_container_statuses.iter().flatten();
    let sidecar = sidecar.filter(|c| sidecars.contains(&c.name.as_str())).map(|c| c.restart_count).max();
    (ordinary.unwrap_or(0), sidecar.unwrap_or(0))
}

/// Those of the pods that have one of these names.
pub(crate) fn named(pods: &[Arc<Pod>], names: &[String]) -> Vec<Arc<Pod>> {
    pods.iter().filter(|p| p.metadata.name.as_ref().is_some_and(|n| names.contains(n))).cloned().collect()
}

/// Returns the key of the controller of this kind that owns a pod; `None` if it has none of that
/// kind.
pub(crate) fn owner_key(pod: &Pod, kind: &str) -> Option<Key> {
    let owner = controller_of(&pod.metadata).filter(|o| o.kind == kind)?;
    Some(Key::new(pod.metadata.namespace.clone().unwrap_or_default(), owner.name.clone()))
}

/// The cluster's time until a pod that is ready becomes available.
pub(crate) fn until_available(pod: &Pod, seconds: i32) -> Option<Duration> {
    wait_left(ready_since(pod)?, seconds, clock::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_available_after_min_ready_seconds_of_the_cluster_s_time() {
        let pod: Pod = serde_json::from_value(json!({"status": {"conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:10Z"}]}}))
        .unwrap();
        let at = |second: i64| Timestamp::from_second(1_767_225_600 + second).unwrap(); // that midnight
        let first = |seconds| (0..120).find(|second| is_available(&pod, seconds, at(*second)));
        assert_eq!([first(1), first(60)], [Some(11), Some(70)]);
        assert_eq!(first(0), Some(0), "also if the clock was set back");
        let _scale = clock::pin_scale(20);
        assert_eq!([first(1), first(60)], [Some(11), Some(13)]);
    }

    /// As when a policy of the cluster forbids it.
    #[tokio::test]
    async fn a_pod_that_may_not_be_deleted_is_told_in_an_event() {
        let refuse = |a: &client::testing::Asked| {
            a.line.starts_with("DELETE").then(|| client::testing::refusal(403, "it is guarded")).flatten()
        };
        let server = client::testing::Scripted::new(refuse).await;
        let (shared, owner) = (Shared::fixed(&server.client), Key::new("d", "o"));
        let meta = json!({"name": "p", "namespace": "d", "uid": "u"});
        let pod: Pod = serde_json::from_value(json!({"metadata": meta})).unwrap();
        let hands = Hands {
            shared: &shared,
            expectations: &Expectations::default(),
            recorder: &Recorder::new(&shared.crew, &server.client, "t", ""),
            owner: &owner,
            about: client::reference(&pod),
            cause: &None,
            words: WORDS,
            finalizer: None,
        };
        assert!(hands.delete(&pod).await.is_err());
        assert!(hands.expectations.met(&owner), "its deletion is awaited no more");
        assert_eq!(server.event("FailedDelete").await, "Error deleting: it is guarded");
    }

    #[test]
    fn of_two_pods_the_one_goes_whose_containers_or_sidecars_restarted_more_often() {
        let pod = |name: &str, ordinary: i32, sidecar: i32| -> Arc<Pod> {
            let of = |name: &str, restarts: i32| json!({"name": name, "image": "", "imageID": "", "ready": true, "restartCount": restarts});
            // "setup" has ended before the others began: its tries say nothing about the pod.
            let init = json!([{"name": "setup"}, {"name": "proxy", "restartPolicy": "Always"}]);
            let pod = json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "main"}], "initContainers": init},
                "status": {"phase": "Running", "containerStatuses": [of("main", ordinary)],
                    "initContainerStatuses": [of("setup", 9), of("proxy", sidecar)]}});
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        let first =
            |all: [Arc<Pod>; 2]| least_useful_first(&all, Some(&[]))[0].metadata.name.clone().unwrap();
        assert_eq!(first([pod("a", 1, 0), pod("b", 1, 2)]), "b");
        assert_eq!(first([pod("a", 1, 5), pod("b", 2, 0)]), "b");
    }

    #[tokio::test]
    async fn a_pod_that_its_ending_namespace_refuses_is_no_failure() {
        for (reason, failed) in [("NamespaceTerminating", false), ("FieldValueForbidden", true)] {
            let causes = json!({"causes": [{"reason": reason, "message": "m"}]});
            let status = json!({"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "m", "details": causes});
            let refuse =
                move |a: &client::testing::Asked| a.line.ends_with("/pods").then(|| (403, status.clone()));
            let server = client::testing::Scripted::new(refuse).await;
            let (shared, owner) = (Shared::fixed(&server.client), Key::new("d", "o"));
            let hands = Hands {
                shared: &shared,
                expectations: &Expectations::default(),
                recorder: &Recorder::new(&shared.crew, &server.client, "t", ""),
                owner: &owner,
                about: ObjectReference::default(),
                cause: &None,
                words: WORDS,
                finalizer: None,
            };
            assert_eq!(hands.create(Pod::default()).await.is_err(), failed, "{reason}");
            assert!(hands.expectations.met(&owner));
        }
    }

    #[test]
    fn a_pod_that_has_ended_is_not_terminating_any_more() {
        for (phase, terminating) in
            [("Running", true), ("Pending", true), ("Succeeded", false), ("Failed", false)]
        {
            let meta = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
            let pod: Pod =
                serde_json::from_value(json!({"metadata": meta, "status": {"phase": phase}})).unwrap();
            assert_eq!((is_terminating(&pod), is_active(&pod)), (terminating, false), "{phase}");
        }
    }

    #[tokio::test]
    async fn one_error_does_not_cut_the_other_requests_off() {
        let heard = std::sync::atomic::AtomicUsize::new(0);
        let requests = (0..4).map(|n| {
            let heard = &heard;
            async move {
                tokio::task::yield_now().await;
                if n == 0 {
                    return Err("forbidden");
                }
                tokio::task::yield_now().await;
                heard.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Ok(())
            }
        });
        assert_eq!(all_done(requests).await, Err("forbidden"));
        assert_eq!(heard.into_inner(), 3);
    }
}
