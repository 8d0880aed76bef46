//! # DaemonSet: one pod on every node
//!
//! [`decide`] looks at every node: should the pod run there, and does it? The pod is bound to its
//! node by an affinity, so that the scheduler still places it. Revisions of the template are kept
//! as ControllerRevisions for `rollout history`. Source: `pkg/controller/daemon`.

pub mod decide;

use super::pods::{self, template_hash};
use super::revisions::{self, HASH};
use super::workload::{self, Look, PodOwner};
use super::{Error, Shared, reference};
use client::{Change, Informer, Key, Outcome};
use decide::{decide, status, tolerated};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{
    Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodTemplateSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::borrow::Cow;
use std::time::Duration;
use tap::{Component, Event};

/// The controller of DaemonSets.
struct DaemonSets;

pub(crate) fn start(shared: &Shared) {
    let queue = workload::start::<DaemonSets>(shared);
    revisions::watch(shared, "DaemonSet", &queue);
    let all = shared.clone();
    shared.nodes.on(move |change| {
        let of = |n: &Node| (n.metadata.labels.clone(), n.spec.clone());
        if matches!(change, Change::Updated { old, new } if of(old) == of(new)) {
            return;
        }
        for set in all.daemon_sets.list() {
            queue.add(Key::of(&*set), change.cause());
        }
    });
}

impl PodOwner for DaemonSets {
    type Kind = DaemonSet;
    const COMPONENT: Component = Component::DaemonSetController;
    const WORKERS: usize = 2;

    fn informer(shared: &Shared) -> &Informer<DaemonSet> {
        &shared.daemon_sets
    }

    fn selector(set: &DaemonSet) -> Option<Cow<'_, LabelSelector>> {
        set.spec.as_ref().map(|s| Cow::Borrowed(&s.selector))
    }

    async fn sync(look: &Look<'_, DaemonSet>) -> Result<Outcome, Error> {
        let (set, hands) = (&look.object, &look.hands);
        let spec = set.spec.clone().unwrap_or_default();
        let mine = look.claim(&spec.selector, pods::is_staying).await?;
        let nodes = look.shared.nodes.list();
        let collisions = set.status.as_ref().and_then(|s| s.collision_count);
        let hash = template_hash(&spec.template, collisions.unwrap_or(0));
        if look.alive() {
            let live =
                |name: &str| mine.iter().filter_map(|p| revisions::of_pod(p)).any(|h| name.ends_with(h));
            revisions::keep(look, &spec.template, collisions, spec.revision_history_limit, live).await?;
        }
        let mut result = Ok(());
        let mut pause: Option<Duration> = None;
        if look.settled && look.alive() {
            let mut plan = decide(set, &nodes, &mine, &hash, clock::now());
            for (node, pod) in std::mem::take(&mut plan.ended) {
                let uid = set.metadata.uid.as_deref().unwrap_or_default();
                match look.pauses.begin(&format!("{uid}/{node}")) {
                    Some(left) => pause = Some(pause.map_or(left, |p| p.min(left))),
                    None => {
                        tell_ended(look, &pod, &node);
                        plan.delete.extend(pod.metadata.name.clone());
                    }
                }
            }
            let made: Vec<Pod> =
                plan.create.iter().map(|node| daemon(look, &spec.template, &hash, node)).collect();
            let doomed = pods::named(&mine, &plan.delete);
            let busy = !made.is_empty() || !doomed.is_empty();
            if !made.is_empty() && look.still_there().await? {
                result = hands.create_all(made).await;
            }
            if !doomed.is_empty() {
                result = hands.delete_all(&doomed).await.and(result);
            }
            if busy {
                look.did(Event::ReconcileDaemonSet { create: plan.create, delete: plan.delete });
            }
        }
        look.write_status(set.status.as_ref(), &status(set, &nodes, &mine, &hash, clock::now())).await?;
        result?;
        let seconds = spec.min_ready_seconds.unwrap_or(0);
        let next = mine.iter().filter_map(|p| pods::until_available(p, seconds)).min();
        let next = [next, pause].into_iter().flatten().min();
        Ok(next.map_or(Outcome::Done, Outcome::After))
    }
}

fn tell_ended(look: &Look<'_, DaemonSet>, pod: &Pod, node: &str) {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let place = format!("{}/{name} on node {node}", look.key.namespace);
    let (recorder, about) = (look.hands.recorder, reference(&*look.object));
    match pods::phase(pod) {
        "Failed" => {
            let told = format!("Found failed daemon pod {place}, will try to kill it");
            recorder.warning(&about, "FailedDaemonPod", told, look.cause.clone());
        }
        _ => {
            let told = format!("Found succeeded daemon pod {place}, will try to delete it");
            recorder.normal(&about, "SucceededDaemonPod", told, look.cause.clone());
        }
    }
}

/// The pod for one node.
fn daemon(look: &Look<'_, DaemonSet>, template: &PodTemplateSpec, hash: &str, node: &str) -> Pod {
    let name = look.pod_name(&look.key.name);
    let mut pod = pods::from_template(template, name, &look.key.namespace, look.owner());
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(HASH.into(), hash.into());
    labels.insert("pod-template-generation".into(), look.object.metadata.generation.unwrap_or(1).to_string());
    send_to(&mut pod, node);
    pod
}

/// Makes the scheduler put the pod on this node and no other.
fn send_to(pod: &mut Pod, node: &str) {
    let Some(spec) = &mut pod.spec else { return };
    let own = NodeSelectorRequirement {
        key: "metadata.name".into(),
        operator: "In".into(),
        values: Some(vec![node.into()]),
    };
    let affinity =
        spec.affinity.get_or_insert_default().node_affinity.get_or_insert_with(NodeAffinity::default);
    let required = affinity
        .required_during_scheduling_ignored_during_execution
        .get_or_insert_with(|| NodeSelector { node_selector_terms: vec![] });
    if required.node_selector_terms.is_empty() {
        required.node_selector_terms.push(NodeSelectorTerm::default());
    }
    for term in &mut required.node_selector_terms {
        term.match_fields = Some(vec![own.clone()]);
    }
    spec.tolerations.get_or_insert_default().extend(tolerated());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_knows_its_node_before_it_is_bound() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": []}});
        let mut p: Pod = serde_json::from_value(pod).unwrap();
        send_to(&mut p, "n7");
        assert_eq!(decide::target(&p).as_deref(), Some("n7"));
    }
}
