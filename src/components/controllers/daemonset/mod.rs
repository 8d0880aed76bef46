//! # DaemonSet: one pod on every node
//!
//! [`decide`] looks at every node: should the pod run there, and does it? The pod is bound to its
//! node by an affinity, so that the scheduler still places it. Revisions of the template are kept
//! as ControllerRevisions for `rollout history`. Source: `pkg/controller/daemon`.

pub mod decide;

use super::names::{name_prefix, template_hash};
use super::pods;
use super::revisions::{self, HASH};
use super::workload::{self, Look, PodOwner};
use crate::error::Error;
use crate::shared::{Controller, Shared};
use client::{Change, Key, Outcome, reference};
use decide::{decide, status, tolerated};
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{
    Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodTemplateSpec, Toleration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::borrow::Cow;
use std::time::Duration;
use tap::{Component, Event};

/// The controller of DaemonSets.
struct DaemonSets;

pub(crate) const CONTROLLER: Controller = Controller {
    informers: |informers| {
        informers.all::<DaemonSet>();
        informers.all::<Pod>();
        informers.all::<ControllerRevision>();
        informers.all::<Node>();
    },
    start,
};

fn start(shared: &Shared) {
    let queue = workload::start::<DaemonSets>(shared);
    revisions::watch(shared, "DaemonSet", &queue);
    let all = shared.clone();
    shared.informer::<Node>().on(move |change| {
        let of = |n: &Node| (n.metadata.labels.clone(), n.spec.clone());
        if matches!(change, Change::Updated { old, new } if of(old) == of(new)) {
            return;
        }
        for set in all.informer::<DaemonSet>().list() {
            queue.add(Key::of(&*set), change.cause());
        }
    });
}

impl PodOwner for DaemonSets {
    type Kind = DaemonSet;
    const COMPONENT: Component = Component::DaemonSetController;
    const WORKERS: usize = 2;

    fn selector(set: &DaemonSet) -> Option<Cow<'_, LabelSelector>> {
        set.spec.as_ref().map(|s| Cow::Borrowed(&s.selector))
    }

    async fn sync(look: &Look<'_, DaemonSet>) -> Result<Outcome, Error> {
        let (set, control) = (&look.object, &look.control);
        let spec = set.spec.clone().unwrap_or_default();
        let mine = look.claim(&spec.selector, pods::is_staying).await?;
        let nodes = look.shared.informer::<Node>().list();
        let collisions = set.status.as_ref().and_then(|s| s.collision_count);
        let mut hash = template_hash(&spec.template, collisions.unwrap_or(0));
        if look.alive() {
            let live =
                |name: &str| mine.iter().filter_map(|p| revisions::of_pod(p)).any(|h| name.ends_with(h));
            let limit = revisions::Limit::Old(spec.revision_history_limit);
            let kept = revisions::keep(look, &spec.selector, &spec.template, collisions, limit, live).await?;
            // The pods are of the revision that keeps the template: its hash is another one than
            // now if a name has collided since it was made.
            let label = kept.last().and_then(|r| r.metadata.labels.as_ref()?.get(HASH).cloned());
            hash = label.unwrap_or(hash);
        }
        let mut result = Ok(());
        let mut pause: Option<Duration> = None;
        if look.settled && look.alive() {
            let mut plan = decide(set, &nodes, &mine, &hash, clock::now());
            if !plan.create.is_empty() {
                let counted = set.status.as_ref().map(|s| s.current_number_scheduled);
                let known = mine.iter().filter(|p| p.metadata.deletion_timestamp.is_none()).count();
                look.expect_pods(&spec.selector, counted, known).await?;
            }
            for (node, pod) in std::mem::take(&mut plan.ended) {
                // One that has ended well is replaced at once, as upstream: a pause is for what its
                // node cannot run.
                let left = match pods::phase(&pod) {
                    "Failed" => look.pauses.begin(&place(set, &node)),
                    _ => None,
                };
                match left {
                    Some(left) => pause = Some(pause.map_or(left, |p| p.min(left))),
                    None => {
                        report_ended(look, &pod, &node);
                        plan.delete.extend(pod.metadata.name.clone());
                    }
                }
            }
            let made: Vec<Pod> =
                plan.create.iter().map(|node| daemon(look, &spec.template, &hash, node)).collect();
            let doomed = pods::named(&mine, &plan.delete);
            let busy = !made.is_empty() || !doomed.is_empty();
            if !made.is_empty() && look.still_there().await? {
                result = control.create_all(made).await;
            }
            if !doomed.is_empty() {
                result = control.delete_all(&doomed).await.and(result);
            }
            if busy {
                look.did(Event::ReconcileDaemonSet { create: plan.create, delete: plan.delete });
            }
        }
        let mut fresh = status(set, &nodes, &mine, &hash, clock::now());
        if !look.settled {
            // Nothing was done for this generation yet.
            fresh.observed_generation = set.status.as_ref().and_then(|s| s.observed_generation);
        }
        look.write_status(set.status.as_ref(), &fresh).await?;
        result?;
        let seconds = spec.min_ready_seconds.unwrap_or(0);
        let next = mine.iter().filter_map(|p| pods::until_available(p, seconds)).min();
        let next = [next, pause].into_iter().flatten().min();
        Ok(next.map_or(Outcome::Done, Outcome::After))
    }
}

/// Returns the name of the place where a pod of the set failed, for its pauses. They begin anew
/// with each generation that is observed, as upstream (`failedPodsBackoffKey`): a user who has
/// corrected the template does not wait for the pause of the pods before.
fn place(set: &DaemonSet, node: &str) -> String {
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let observed = set.status.as_ref().and_then(|s| s.observed_generation).unwrap_or(0);
    format!("{uid}/{observed}/{node}")
}

fn report_ended(look: &Look<'_, DaemonSet>, pod: &Pod, node: &str) {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let place = format!("{}/{name} on node {node}", look.key.namespace);
    let (recorder, about) = (look.control.recorder, reference(&*look.object));
    match pods::phase(pod) {
        "Failed" => {
            let message = format!("Found failed daemon pod {place}, will try to kill it");
            recorder.warning(&about, "FailedDaemonPod", message, look.cause.clone());
        }
        _ => {
            let message = format!("Found succeeded daemon pod {place}, will try to delete it");
            recorder.normal(&about, "SucceededDaemonPod", message, look.cause.clone());
        }
    }
}

/// How often the template of a set has changed: the API server counts it. Pods are labelled with
/// it, as by upstream's controller; which revision they are of is read from their hash.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// Makes the pod for one node.
fn daemon(look: &Look<'_, DaemonSet>, template: &PodTemplateSpec, hash: &str, node: &str) -> Pod {
    let name = look.pod_name(&name_prefix(&look.key.name, None));
    let mut pod = pods::from_template(template, name, &look.key.namespace, look.owner());
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(HASH.into(), hash.into());
    let annotations = look.object.metadata.annotations.as_ref();
    let counted = annotations.and_then(|all| all.get(TEMPLATE_GENERATION)?.parse::<i64>().ok());
    labels.extend(counted.map(|count| ("pod-template-generation".into(), count.to_string())));
    send_to(&mut pod, node);
    pod
}

/// Makes the scheduler put the pod on this node and no other, whatever state that is in. As
/// upstream the node takes the place of the terms that the template requires: `belongs` has asked
/// those.
fn send_to(pod: &mut Pod, node: &str) {
    let Some(spec) = &mut pod.spec else { return };
    let own = NodeSelectorRequirement {
        key: "metadata.name".into(),
        operator: "In".into(),
        values: Some(vec![node.into()]),
    };
    let term = NodeSelectorTerm { match_fields: Some(vec![own]), ..NodeSelectorTerm::default() };
    let affinity = spec.affinity.get_or_insert_default().node_affinity.get_or_insert_default();
    affinity.required_during_scheduling_ignored_during_execution =
        Some(NodeSelector { node_selector_terms: vec![term] });
    let tolerations = spec.tolerations.get_or_insert_default();
    for always in tolerated(spec.host_network == Some(true)) {
        tolerate(tolerations, always);
    }
}

/// Adds a toleration, or puts it in the place of those that differ in their seconds only. A pod is
/// evicted by the first one that matches: one with seconds would win.
///
/// ```text
/// unreachable NoExecute for 30 s   unreachable NoExecute
/// ```
fn tolerate(all: &mut Vec<Toleration>, always: Toleration) {
    fn taints(one: &Toleration) -> [&str; 4] {
        [&one.key, &one.operator, &one.value, &one.effect].map(|text| text.as_deref().unwrap_or_default())
    }
    let mut is_there = false;
    for one in all.iter_mut().filter(|one| taints(one) == taints(&always)) {
        *one = always.clone();
        is_there = true;
    }
    if !is_there {
        all.push(always);
    }
}

#[cfg(test)]
mod tests;
