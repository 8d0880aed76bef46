//! # StatefulSet: pods with an identity
//!
//! The pods of a StatefulSet are numbered. Each keeps its name, its host name in the set's headless
//! Service and its claims, whatever node it comes back on. [`decide`] says which pod is next; here
//! its claims and then the pod itself are made. What pods are made of is kept in
//! ControllerRevisions. Source: `pkg/controller/statefulset`.

mod claims;
mod decide;
#[cfg(test)]
mod golden;
mod identity;

use super::pods::{self, Words};
use super::revisions;
use super::workload::{self, Look, PodOwner};
use crate::error::{Error, message_of};
use crate::shared::{Controller, Shared};
use claims::{make_claims, own_claims, report_refused, wait_for_stale_claims};
use client::{Outcome, is_code};
use decide::{Plan, Revisions};
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::api::PostParams;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use tap::{Component, Event};

/// The controller of StatefulSets.
pub(crate) struct StatefulSets;

pub(crate) const CONTROLLER: Controller = Controller {
    informers: |informers| {
        informers.all::<StatefulSet>();
        informers.all::<Pod>();
        informers.all::<ControllerRevision>();
        informers.all::<PersistentVolumeClaim>();
    },
    start,
};

fn start(shared: &Shared) {
    let queue = workload::start::<StatefulSets>(shared);
    revisions::watch(shared, "StatefulSet", &queue);
}

impl PodOwner for StatefulSets {
    type Kind = StatefulSet;
    const COMPONENT: Component = Component::StatefulSetController;
    const WORKERS: usize = 5;
    const WORDS: Words = Words {
        created: |set, pod| format!("Create Pod {pod} in StatefulSet {set} successful"),
        deleted: |set, pod| format!("Delete Pod {pod} in StatefulSet {set} successful"),
        refused: |set, pod, why| format!("Create Pod {pod} in StatefulSet {set} failed error: {why}"),
        kept: |set, pod, why| format!("Delete Pod {pod} in StatefulSet {set} failed error: {why}"),
    };

    fn selector(set: &StatefulSet) -> Option<Cow<'_, LabelSelector>> {
        set.spec.as_ref().map(|s| Cow::Borrowed(&s.selector))
    }

    async fn sync(look: &Look<'_, StatefulSet>) -> Result<Outcome, Error> {
        let set = &look.object;
        let spec = set.spec.clone().unwrap_or_default();
        let status = set.status.clone().unwrap_or_default();
        let is_member = |pod: &Pod| identity::is_member(&look.key.name, pod);
        let mine = look.claim_members(&spec.selector, is_member, pods::is_staying).await?;
        if !look.alive() {
            // The garbage collector does the rest. The pods are counted on the way.
            if let (Some(current), Some(update)) = (&status.current_revision, &status.update_revision) {
                let now = decide::status(set, &mine, Revisions { current, update }, clock::now());
                look.write_status(set.status.as_ref(), &now).await?;
            }
            return Ok(Outcome::Done);
        }
        let named = status.current_revision.clone().unwrap_or_default();
        let live = |name: &str| {
            named == name || mine.iter().any(|p| revisions::of_pod(p).is_some_and(|r| r == name))
        };
        let limit = revisions::Limit::Idle(spec.revision_history_limit);
        let collisions = status.collision_count;
        let kept = revisions::keep(look, &spec.selector, &spec.template, collisions, limit, live).await?;
        let name = |r: &Arc<ControllerRevision>| r.metadata.name.clone().unwrap_or_default();
        let update = kept.last().map(name).unwrap_or_default();
        let current = kept.iter().find(|r| name(r) == named);
        let revision =
            Revisions { current: if current.is_some() { &named } else { &update }, update: &update };
        let mut result = Ok(());
        if look.settled {
            let plan = decide::decide(set, &mine, revision, clock::now());
            result = act(look, &plan, &mine, current, revision).await;
        }
        look.write_status(set.status.as_ref(), &decide::status(set, &mine, revision, clock::now())).await?;
        result?;
        let seconds = spec.min_ready_seconds.unwrap_or(0);
        let next = mine.iter().filter_map(|p| pods::until_available(p, seconds)).min();
        Ok(next.map_or(Outcome::Done, Outcome::After))
    }
}

/// Claims come before pods: a pod whose claim is missing would wait for the scheduler in vain.
async fn act(
    look: &Look<'_, StatefulSet>,
    plan: &Plan,
    mine: &[Arc<Pod>],
    current: Option<&Arc<ControllerRevision>>,
    revision: Revisions<'_>,
) -> Result<(), Error> {
    own_claims(look, plan, mine).await?;
    fill(look, plan, mine, current, revision).await?;
    let doomed = pods::named(mine, &plan.delete);
    look.control.delete_all(&doomed).await?;
    let mut delete: Vec<String> = plan.ended.iter().map(|n| format!("{}-{n}", look.key.name)).collect();
    delete.extend(doomed.iter().filter_map(|pod| pod.metadata.name.clone()));
    if !plan.create.is_empty() || !delete.is_empty() {
        let create: Vec<i32> = plan.create.iter().map(|(ordinal, _)| *ordinal).collect();
        look.did(Event::ReconcileStatefulSet { create, delete });
    }
    Ok(())
}

/// Pods that are dealt with at once, by ordinal.
#[derive(Default)]
struct Round {
    create: Vec<(i32, bool)>,
    repair: Vec<i32>,
    ended: Vec<i32>,
    waiting: Vec<i32>,
}

/// Creates the pods that are missing, repairs those that it has adopted, deletes those that have
/// ended, and makes what is missing of the claims of those that wait. An error holds up the later
/// rounds and everything that comes after them, but no other pod of its round (upstream:
/// `slowStartBatch`).
async fn fill(
    look: &Look<'_, StatefulSet>,
    plan: &Plan,
    mine: &[Arc<Pod>],
    current: Option<&Arc<ControllerRevision>>,
    revision: Revisions<'_>,
) -> Result<(), Error> {
    let set = &look.object;
    let spec = set.spec.clone().unwrap_or_default();
    let before = current.and_then(|r| revisions::template(r)).unwrap_or_else(|| spec.template.clone());
    let (start, in_order) = (identity::first(set), decide::is_in_order(set));
    let at = |ordinal: i32| decide::round(ordinal.saturating_sub(start), in_order);
    let mut rounds: BTreeMap<i32, Round> = BTreeMap::new();
    if !(plan.create.is_empty() && plan.repair.is_empty()) && look.still_there().await? {
        plan.create.iter().for_each(|new| rounds.entry(at(new.0)).or_default().create.push(*new));
        plan.repair.iter().for_each(|n| rounds.entry(at(*n)).or_default().repair.push(*n));
    }
    plan.ended.iter().for_each(|n| rounds.entry(at(*n)).or_default().ended.push(*n));
    plan.waiting.iter().for_each(|n| rounds.entry(at(*n)).or_default().waiting.push(*n));
    for Round { create, repair, ended, waiting } in rounds.into_values() {
        let (mut made, mut done) = (Vec::new(), Ok(()));
        for ordinal in waiting {
            done = done.and(make_claims(look, ordinal).await);
        }
        for (ordinal, new) in create {
            if let Err(error) = claims_of_new_pod(look, ordinal).await {
                done = done.and(Err(error));
                continue;
            }
            let (template, of) =
                if new { (&spec.template, revision.update) } else { (&before, revision.current) };
            made.push(identity::pod(set, template, of, ordinal));
        }
        done = done.and(look.control.create_at_once(made).await.map_err(Error::from));
        for ordinal in repair {
            done = repair_pod(look, mine, ordinal).await.and(done);
        }
        let names: Vec<String> = ended.iter().map(|n| format!("{}-{n}", look.key.name)).collect();
        look.control.delete_all(&pods::named(mine, &names)).await?;
        done?;
    }
    Ok(())
}

/// Makes the claims of a pod that is to be created. An Event tells that they are refused.
///
/// # Errors
/// As [`wait_for_stale_claims`] and [`make_claims`]: the pod is not created now.
async fn claims_of_new_pod(look: &Look<'_, StatefulSet>, ordinal: i32) -> Result<(), Error> {
    wait_for_stale_claims(look, ordinal).await?;
    make_claims(look, ordinal).await.inspect_err(|error| report_refused(look, ordinal, error))
}

/// Gives an adopted pod the identity and the claims of this set. The API server refuses new volumes
/// for a pod: then its claims are made all the same, and the set goes no further until the pod is
/// deleted, as upstream.
async fn repair_pod(look: &Look<'_, StatefulSet>, mine: &[Arc<Pod>], ordinal: i32) -> Result<(), Error> {
    let (set, recorder, about) = (&look.key.name, look.control.recorder, &look.control.about);
    let name = format!("{set}-{ordinal}");
    let Some(pod) = mine.iter().find(|pod| pod.metadata.name.as_ref() == Some(&name)) else { return Ok(()) };
    let failed = |why: &str| {
        let message = format!("Update Pod {name} in StatefulSet {set} failed error: {why}");
        recorder.warning(about, "FailedUpdate", message, look.cause.clone());
    };
    if !identity::has_storage(&look.object, pod, ordinal) {
        make_claims(look, ordinal).await.inspect_err(|error| failed(&error.to_string()))?;
    }
    // The resource version goes with it: what others have written meanwhile is not written over.
    let repaired = identity::repaired(&look.object, pod, ordinal);
    match look.api::<Pod>().replace(&name, &PostParams::default(), &repaired).await {
        Ok(_) => {
            let message = format!("Update Pod {name} in StatefulSet {set} successful");
            recorder.normal(about, "SuccessfulUpdate", message, look.cause.clone());
            Ok(())
        }
        Err(error) if is_code(&error, 404) || is_code(&error, 409) => {
            Err(Error::Conflict(message_of(&error)))
        }
        Err(error) => {
            failed(&message_of(&error));
            Err(error.into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::Key;
    use client::testing::Scripted;
    use serde_json::{Value, json};

    /// Returns what a set asks of the API server that has adopted a pod without its labels or
    /// claims. `refuse`: new volumes, as the API server does.
    async fn repair(volumes: Value, refuse: bool) -> (bool, Vec<(String, Value)>) {
        let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
        let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}});
        let set = json!({"metadata": {"name": "web", "namespace": "d", "uid": "1", "resourceVersion": "5"},
            "spec": {"replicas": 2, "serviceName": "web", "selector": {"matchLabels": {"a": "b"}}, "template": template,
                "volumeClaimTemplates": [claim]}});
        let owner = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "1", "controller": true});
        let ready = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let pod = json!({"metadata": {"name": "web-0", "namespace": "d", "uid": "p", "resourceVersion": "6", "labels": {"a": "b"},
                "ownerReferences": [owner]},
            "spec": {"containers": [{"name": "c", "image": "i"}], "volumes": volumes},
            "status": {"phase": "Running", "conditions": [ready]}});
        let stored = set.clone();
        let server = Scripted::new(move |asked| match asked.line.as_str() {
            "PUT /api/v1/namespaces/d/pods/web-0" if refuse => {
                let why = "pod updates may not change fields";
                Some((422, json!({"kind": "Status", "status": "Failure", "code": 422, "reason": "Invalid", "message": why})))
            }
            line if line.contains("/statefulsets/web") => Some((200, stored.clone())),
            line if line.starts_with("POST") || line.starts_with("PUT") => Some((201, asked.body.clone())),
            _ => None,
        })
        .await;
        let shared = Shared::fixed(&server.client);
        shared.informer::<StatefulSet>().show(serde_json::from_value(set).unwrap());
        shared.informer::<Pod>().show(serde_json::from_value(pod).unwrap());
        let looked = workload::look_once::<StatefulSets>(&shared, &Key::new("d", "web")).await;
        let writes = server.take().into_iter().filter(|asked| {
            ["/pods", "/pods/web-0", "/persistentvolumeclaims"].iter().any(|end| asked.line.ends_with(end))
        });
        (looked.is_ok(), writes.map(|asked| (asked.line, asked.body)).collect())
    }

    #[tokio::test]
    async fn an_adopted_pod_gets_the_sets_labels_and_the_next_pod_is_made() {
        let volumes = json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data-web-0"}}]);
        let (well, writes) = repair(volumes.clone(), false).await;
        assert!(well);
        let lines: Vec<&str> = writes.iter().map(|(line, _)| line.as_str()).collect();
        let expected = [
            "PUT /api/v1/namespaces/d/pods/web-0",
            "POST /api/v1/namespaces/d/persistentvolumeclaims",
            "POST /api/v1/namespaces/d/pods",
        ];
        assert_eq!(lines, expected);
        let labels = &writes[0].1["metadata"]["labels"];
        assert_eq!(labels["statefulset.kubernetes.io/pod-name"], "web-0");
        assert_eq!(labels["apps.kubernetes.io/pod-index"], "0");
        assert_eq!(writes[0].1["metadata"]["resourceVersion"], "6");
        assert_eq!(writes[0].1["spec"]["volumes"], volumes);
    }

    #[tokio::test]
    async fn an_adopted_pod_without_the_sets_volumes_holds_the_set_up_and_its_claims_are_made() {
        let (well, writes) = repair(json!([{"name": "data", "emptyDir": {}}]), true).await;
        assert!(!well);
        let lines: Vec<&str> = writes.iter().map(|(line, _)| line.as_str()).collect();
        assert_eq!(
            lines,
            ["POST /api/v1/namespaces/d/persistentvolumeclaims", "PUT /api/v1/namespaces/d/pods/web-0"]
        );
        assert_eq!(writes[0].1["metadata"]["name"], "data-web-0");
        let volumes = &writes[1].1["spec"]["volumes"];
        assert_eq!(volumes.as_array().map(Vec::len), Some(1), "{volumes}");
        assert_eq!(volumes[0]["persistentVolumeClaim"]["claimName"], "data-web-0");
    }

    /// Returns the requests of a look at a set that lacks its only pod, whose claim has this
    /// metadata.
    async fn grow(policy: &str, claim: Value) -> (bool, Vec<String>) {
        let set = json!({"metadata": {"name": "web", "namespace": "d", "uid": "1", "resourceVersion": "5"},
            "spec": {"replicas": 1, "serviceName": "web", "selector": {"matchLabels": {"a": "b"}},
                "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}],
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": policy}}});
        let stored = set.clone();
        let server = Scripted::new(move |asked| match asked.line.as_str() {
            "GET /api/v1/namespaces/d/persistentvolumeclaims/data-web-0" => Some((
                200,
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": claim}),
            )),
            line if line.contains("/statefulsets/web") => Some((200, stored.clone())),
            line if line.starts_with("POST") => Some((201, asked.body.clone())),
            _ => None,
        })
        .await;
        let shared = Shared::fixed(&server.client);
        shared.informer::<StatefulSet>().show(serde_json::from_value(set).unwrap());
        // The cache knows the claim, and nothing of its owner yet.
        let known = json!({"metadata": {"name": "data-web-0", "namespace": "d", "uid": "c"}});
        shared.informer::<PersistentVolumeClaim>().show(serde_json::from_value(known).unwrap());
        let looked = workload::look_once::<StatefulSets>(&shared, &Key::new("d", "web")).await;
        let pods =
            server.lines().into_iter().filter(|line| line.starts_with("POST") && line.ends_with("/pods"));
        (looked.is_ok(), pods.collect())
    }

    #[tokio::test]
    async fn a_pod_waits_for_the_end_of_claims_that_go_with_its_forerunner() {
        let owner = |name: &str| json!([{"apiVersion": "v1", "kind": "Pod", "name": name, "uid": "earlier"}]);
        let claim = |owners: Value| json!({"name": "data-web-0", "uid": "c", "ownerReferences": owners});
        let (well, made) = grow("Delete", claim(owner("web-0"))).await;
        assert_eq!((well, made.len()), (false, 0), "it would lose its volume");
        let going = json!({"name": "data-web-0", "uid": "c", "deletionTimestamp": "2026-01-01T00:00:00Z"});
        assert_eq!(grow("Delete", going).await.1.len(), 0);
        assert_eq!(grow("Delete", claim(owner("other"))).await.1.len(), 1);
        assert_eq!(grow("Delete", claim(json!([]))).await.1.len(), 1);
        assert_eq!(
            grow("Retain", claim(owner("web-0"))).await.1.len(),
            1,
            "claims are meant to be used again"
        );
    }

    #[tokio::test]
    async fn a_set_adopts_pods_of_its_name_only_and_releases_others() {
        let set = json!({"metadata": {"name": "web", "namespace": "d", "uid": "1"},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": {}}});
        let stored = set.clone();
        let server = Scripted::new(move |asked| match asked.line.as_str() {
            line if line.starts_with("GET") && line.contains("/statefulsets/web") => {
                Some((200, stored.clone()))
            }
            line if line.starts_with("PATCH") => Some((200, json!({"metadata": {"name": "x"}}))),
            line if line.starts_with("POST") => Some((201, asked.body.clone())),
            _ => None,
        })
        .await;
        let shared = Shared::fixed(&server.client);
        shared.informer::<StatefulSet>().show(serde_json::from_value(set).unwrap());
        let owner = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "1", "controller": true});
        let pod = |name: &str, owners: Value| {
            let meta = json!({"name": name, "namespace": "d", "uid": name, "labels": {"a": "b"}, "ownerReferences": owners});
            serde_json::from_value(json!({"metadata": meta, "spec": {"containers": []}})).unwrap()
        };
        for name in ["web-0", "debug", "other-0", "web-x"] {
            shared.informer::<Pod>().show(pod(name, json!([])));
        }
        shared.informer::<Pod>().show(pod("foreign", json!([owner])));
        workload::look_once::<StatefulSets>(&shared, &Key::new("d", "web")).await.unwrap();
        let asked = server.take();
        let owners = asked.iter().filter(|a| a.line.starts_with("PATCH") && a.line.contains("/pods/"));
        let owners: BTreeMap<&str, &Value> =
            owners.map(|a| (a.line.as_str(), &a.body["metadata"]["ownerReferences"][0])).collect();
        let path = "PATCH /api/v1/namespaces/d/pods";
        let lines: Vec<String> = owners.keys().map(ToString::to_string).collect();
        assert_eq!(lines, [format!("{path}/foreign"), format!("{path}/web-0")]);
        assert_eq!(owners[lines[0].as_str()]["$patch"], "delete");
        assert_eq!(owners[lines[1].as_str()]["name"], "web");
    }

    /// As when it is deleted in the foreground.
    #[tokio::test]
    async fn a_set_that_is_being_deleted_counts_its_pods_and_does_nothing_else() {
        let status =
            json!({"replicas": 2, "readyReplicas": 2, "currentRevision": "r", "updateRevision": "r"});
        let set = json!({"metadata": {"name": "web", "namespace": "d", "uid": "1", "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": {}}, "status": status});
        let server = Scripted::new(|_| None).await;
        let shared = Shared::fixed(&server.client);
        shared.informer::<StatefulSet>().show(serde_json::from_value(set).unwrap());
        workload::look_once::<StatefulSets>(&shared, &Key::new("d", "web")).await.unwrap();
        let asked = server.take();
        assert_eq!(asked.len(), 1, "{asked:?}");
        assert_eq!(
            (&asked[0].body["status"]["replicas"], &asked[0].body["status"]["readyReplicas"]),
            (&json!(0), &Value::Null)
        );
    }
}
