//! When is a cluster up? When every node is Ready and everything in kube-system runs, in this very
//! process.

use super::world::World;
use client::{Client, Informer, Key};
use cri::{ContainerState, Runtime};
use k8s_openapi::api::core::v1::{Node, Pod};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use task::Crew;
use tokio::sync::{Notify, watch};

/// What the kubelet writes on the pods that it shows for its static ones.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// How far a start has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    pub store: bool,
    pub api: bool,
    pub nodes_ready: usize,
    /// Their names.
    pub ready_nodes: Vec<String>,
    pub nodes: usize,
    pub pods_running: usize,
    pub pods: usize,
    /// Everything is up at this moment.
    pub ready: bool,
    /// `ready` has been true once since this process began. It stays true when a node is switched
    /// off or a pod fails.
    #[serde(default)]
    pub started: bool,
}

impl Progress {
    /// Takes over from the progress `before` whether the start was complete.
    fn after(mut self, before: &Progress) -> Progress {
        self.started = self.ready || before.started;
        self
    }
}

/// Follows the start until the cluster is ready, and goes on following: `ready` tells the present.
pub(crate) fn follow(crew: &Crew, world: &Arc<World>, client: &Client, progress: watch::Sender<Progress>) {
    let (world, own, client) = (world.clone(), crew.clone(), client.clone());
    crew.spawn_essential(async move {
        let nodes: Informer<Node> = Informer::all(&own, &client);
        let pods: Informer<Pod> = Informer::in_namespace(&own, &client, "kube-system");
        let news = Arc::new(Notify::new());
        let poke = news.clone();
        nodes.on(move |_| poke.notify_one());
        let poke = news.clone();
        pods.on(move |_| poke.notify_one());
        let poke = news.clone();
        let (mut stores, mut addons) = (world.stores.subscribe(), world.addons.subscribe());
        own.spawn(async move {
            loop {
                let changed = tokio::select! {
                    changed = stores.changed() => changed,
                    changed = addons.changed() => changed,
                };
                if changed.is_err() {
                    return;
                }
                poke.notify_one();
            }
        });
        let answers = Arc::new(AtomicBool::new(false));
        let api = answers.clone();
        let (first_nodes, first_pods) = (nodes.clone(), pods.clone());
        let poke = news.clone();
        own.spawn(async move {
            futures::join!(first_nodes.synced(), first_pods.synced());
            api.store(true, Ordering::Release);
            poke.notify_one();
        });
        loop {
            let started = progress.borrow().started;
            let now =
                look(&world, &nodes.list(), &pods.list(), answers.load(Ordering::Acquire), started).await;
            progress.send_if_modified(|old| {
                let now = now.after(old);
                std::mem::replace(old, now.clone()) != now
            });
            news.notified().await;
        }
    });
}

/// True for a pod that belongs to the cluster: a component's, or an addon's. Whatever else people
/// run in kube-system, and what is ending, says nothing about the cluster.
fn is_own(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|s| &s.containers);
    let mut images = containers.filter_map(|c| c.image.as_deref());
    pod.metadata.deletion_timestamp.is_none() && images.any(|image| image.starts_with(super::node::PREFIX))
}

/// True for a pod that is to run. What has ended does not run again; if it is missed, its
/// controller makes another one.
fn is_to_run(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default();
    !matches!(phase, "Succeeded" | "Failed")
}

async fn look(world: &World, nodes: &[Arc<Node>], pods: &[Arc<Pod>], api: bool, started: bool) -> Progress {
    let wanted = world.spec.nodes();
    let is_ready = |node: &Node| {
        let conditions = node.status.iter().flat_map(|s| s.conditions.iter().flatten());
        conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
    };
    // A status may be left over from an earlier run: what counts is a container that runs now.
    let mut running = Vec::new();
    for node in world.all_nodes() {
        for c in node.cri.list_containers().await.unwrap_or_default() {
            if c.state == ContainerState::Running {
                let label = |key: &str| c.labels.get(key).cloned().unwrap_or_default();
                running.push(Key::new(label("io.kubernetes.pod.namespace"), label("io.kubernetes.pod.name")));
            }
        }
    }
    let pod_ready = |pod: &Pod| {
        let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
        conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
            && running.contains(&Key::of(pod))
    };
    let control_planes = wanted.iter().filter(|n| n.control_plane).count();
    // Four components on each control plane (without a store of its own, three), a proxy on every
    // node, two name servers, the provisioner.
    let each = if world.spec.external_etcd.is_some() { 3 } else { 4 };
    let expected = control_planes * each + wanted.len() + 3;
    let ready_nodes: Vec<String> =
        nodes.iter().filter(|n| is_ready(n)).filter_map(|n| n.metadata.name.clone()).collect();
    let nodes_ready = ready_nodes.len();
    let pods: Vec<&Arc<Pod>> = pods.iter().filter(|p| is_own(p)).collect();
    let to_run = pods.iter().filter(|p| is_to_run(p)).count();
    let pods_running = pods.iter().filter(|p| is_to_run(p) && pod_ready(p)).count();
    let listed = pods.len();
    let mirrors =
        pods.iter().filter(|p| p.metadata.annotations.iter().flatten().any(|(key, _)| key == MIRROR)).count();
    let store = !world.stores.borrow().is_empty();
    let made = *world.addons.borrow();
    let addons = if started { 0 } else { made.unwrap_or(usize::MAX) };
    Progress {
        store,
        api: api && store,
        nodes_ready,
        ready_nodes,
        nodes: wanted.len(),
        pods_running,
        pods: expected,
        // When all addons are made, their pods are still on the way. Later a learner may have
        // removed one: then what is there must run. The components' pods are always shown, though
        // late ones by kubelets that could not ask yet.
        ready: api
            && nodes_ready >= wanted.len()
            && pods_running >= to_run
            && mirrors >= control_planes * each
            && listed - mirrors.min(listed) >= wanted.len().saturating_add(addons),
        started: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_switched_off_does_not_make_a_cluster_start_anew() {
        let told = |ready: bool, before: &Progress| Progress { ready, ..Progress::default() }.after(before);
        let begun = told(false, &Progress::default());
        assert!(!begun.started);
        let whole = told(true, &begun);
        assert!(whole.started);
        let broken = told(false, &whole);
        assert!(broken.started && !broken.ready);
    }

    #[test]
    fn only_the_clusters_own_pods_keep_it_from_being_ready() {
        let pod = |image: &str, phase: &str| -> Pod {
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": image}]}, "status": {"phase": phase}
            }))
            .unwrap()
        };
        let own = format!("{}coredns:1", crate::node::PREFIX);
        let counts = |pod: &Pod| is_own(pod) && is_to_run(pod);
        assert!(counts(&pod(&own, "Running")) && counts(&pod(&own, "Pending")));
        assert!(!counts(&pod(&own, "Failed")), "its Deployment makes another one");
        assert!(is_own(&pod(&own, "Failed")), "it was made");
        assert!(!is_own(&pod("busybox", "Pending")) && !is_own(&pod("busybox", "Succeeded")));
        let mut leaving = serde_json::to_value(pod(&own, "Running")).unwrap();
        leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert!(!is_own(&serde_json::from_value(leaving).unwrap()));
    }
}
