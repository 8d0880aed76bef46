//! Readiness of a cluster: it is up when every node is Ready and everything in kube-system runs, in
//! this very process.

use super::waits::failed_members;
use crate::components::addon_pods::AddonPods;
use crate::components::images::PREFIX;
use crate::node::objects::is_of_ropewalk;
use crate::spec::NodeSpec;
use crate::world::World;
use client::{Client, Informer, Key};
use controllers::daemonset::decide::target;
use cri::ContainerState;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use task::Crew;
use tokio::sync::{Notify, watch};

/// The annotation that the kubelet writes on mirror pods, which it shows for its static ones.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// How far a start has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Progress {
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
    /// Why the start does not go on; empty: nothing is known to hold it up.
    #[serde(default)]
    pub waits: String,
    /// The two parts of `waits`: why members of the store did not start, and why addons are not
    /// made. Empty: they are there.
    #[serde(skip)]
    pub lacks_members: String,
    #[serde(skip)]
    pub lacks_addons: String,
}

impl Progress {
    /// Takes over from the progress `before` whether the start was complete, and why addons are not
    /// made.
    fn after(mut self, before: &Progress) -> Progress {
        self.started = self.ready || before.started;
        self.lacks_addons.clone_from(&before.lacks_addons);
        self.join_reasons();
        self
    }

    /// Brings `waits` to what its two parts say.
    pub(crate) fn join_reasons(&mut self) {
        let parts = [self.lacks_members.as_str(), self.lacks_addons.as_str()];
        self.waits = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
    }
}

/// Follows the start until the cluster is ready, and goes on following: `ready` is of now.
pub(crate) fn follow(crew: &Crew, world: &Arc<World>, client: &Client, progress: watch::Sender<Progress>) {
    let (world, own, client) = (world.clone(), crew.clone(), client.clone());
    crew.spawn_essential(async move {
        let nodes: Informer<Node> = Informer::all(&own, &client);
        let pods: Informer<Pod> = Informer::in_namespace(&own, &client, "kube-system");
        let news = Arc::new(Notify::new());
        let (of_nodes, of_pods, poke) = (news.clone(), news.clone(), news.clone());
        nodes.on(move |_| of_nodes.notify_one());
        pods.on(move |_| of_pods.notify_one());
        let mut inside = Inside {
            stores: world.stores.subscribe(),
            servers: world.api_servers.subscribe(),
            addons: world.addons.subscribe(),
        };
        own.spawn(async move {
            while inside.changed().await {
                poke.notify_one();
            }
        });
        let (poke, broken) = (news.clone(), world.clone());
        own.spawn(async move {
            loop {
                broken.faults.changed().await;
                poke.notify_one();
            }
        });
        let answers = Arc::new(AtomicBool::new(false));
        let (api, poke) = (answers.clone(), news.clone());
        let (first_nodes, first_pods) = (nodes.clone(), pods.clone());
        own.spawn(async move {
            futures::join!(first_nodes.synced(), first_pods.synced());
            api.store(true, Ordering::Release);
            poke.notify_one();
        });
        loop {
            let started = progress.borrow().started;
            let api = is_served(answers.load(Ordering::Acquire), &world.api_servers.borrow());
            let now = look(&world, &nodes.list(), &pods.list(), api, started).await;
            progress.send_if_modified(|old| {
                let now = now.after(old);
                std::mem::replace(old, now.clone()) != now
            });
            news.notified().await;
        }
    });
}

/// Returns whether the API has answered (`heard`) and one of its servers runs now: informers keep
/// what they heard when there is none.
fn is_served<A>(heard: bool, servers: &BTreeMap<String, A>) -> bool {
    heard && !servers.is_empty()
}

/// The state that the progress depends on and that no object of the API shows: while no API server
/// runs, the informers get no news.
struct Inside<S, A> {
    stores: watch::Receiver<BTreeMap<String, S>>,
    servers: watch::Receiver<BTreeMap<String, A>>,
    addons: watch::Receiver<Option<AddonPods>>,
}

impl<S, A> Inside<S, A> {
    /// Waits for a change. False: the cluster has ended, and there will be none.
    async fn changed(&mut self) -> bool {
        let changed = tokio::select! {
            changed = self.stores.changed() => changed,
            changed = self.servers.changed() => changed,
            changed = self.addons.changed() => changed,
        };
        changed.is_ok()
    }
}

/// Returns whether a pod belongs to the cluster: a component's, or an addon's. Whatever else people
/// run in kube-system, and what is ending, says nothing about the cluster.
fn is_own(pod: &Pod) -> bool {
    let containers = pod.spec.iter().flat_map(|s| &s.containers);
    let mut images = containers.filter_map(|c| c.image.as_deref());
    pod.metadata.deletion_timestamp.is_none() && images.any(|image| image.starts_with(PREFIX))
}

/// Returns whether a pod is to run. What has ended does not run again; if it is missed, its
/// controller makes another one.
fn is_to_run(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default();
    !matches!(phase, "Succeeded" | "Failed")
}

/// The cluster as it is to be, and as it is now.
struct Seen<'a> {
    wanted: &'a [NodeSpec],
    /// Static pods of a control-plane node.
    each: usize,
    /// All Nodes, also those that a person or a simulator (kwok) made: they have no kubelet of ours
    /// and say nothing about the cluster, nor do pods there.
    nodes: &'a [Arc<Node>],
    /// Names of nodes that are switched off. Their Nodes say Ready until the grace period is over.
    off: &'a [String],
    /// Of `kube-system`.
    pods: &'a [Arc<Pod>],
    /// Pods with a container that runs now.
    running: &'a [Key],
    store: bool,
    api: bool,
    /// `None`: not all addons are made yet.
    addons: Option<AddonPods>,
    started: bool,
}

async fn look(world: &World, nodes: &[Arc<Node>], pods: &[Arc<Pod>], api: bool, started: bool) -> Progress {
    // A status may be left over from an earlier run: what counts is a container that runs now.
    let (mut running, mut off) = (Vec::new(), Vec::new());
    for node in world.all_nodes() {
        if world.faults.is_off(&node.spec.name) {
            off.push(node.spec.name.clone());
        }
        for c in node.cri.list_containers().await.unwrap_or_default() {
            if c.state == ContainerState::Running {
                let label = |key: &str| c.labels.get(key).cloned().unwrap_or_default();
                running.push(Key::new(label("io.kubernetes.pod.namespace"), label("io.kubernetes.pod.name")));
            }
        }
    }
    let judged = judge(&Seen {
        wanted: &world.spec.nodes(),
        // Without a store of its own a control plane has three components.
        each: if world.spec.external_etcd.is_some() { 3 } else { 4 },
        nodes,
        off: &off,
        pods,
        running: &running,
        store: !world.stores.borrow().is_empty(),
        api,
        addons: world.addons.borrow().clone(),
        started,
    });
    Progress { lacks_members: failed_members(&world.failed_starts), ..judged }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Returns how far the start has come. Pure.
///
/// With one worker and one control plane that is 4 static pods, 2 proxies and the 3 pods of the
/// addons' Deployments. A Node `kwok-0` beside them, and the proxy's pod there, change nothing.
fn judge(seen: &Seen) -> Progress {
    let is_wanted = |name: &str| seen.wanted.iter().any(|node| node.name == name);
    let name = |node: &Node| node.metadata.name.clone().unwrap_or_default();
    let nodes: Vec<&Arc<Node>> = seen.nodes.iter().filter(|n| is_wanted(&name(n))).collect();
    let ready = nodes.iter().filter(|n| is_ready(n)).map(|n| name(n));
    let ready_nodes: Vec<String> = ready.filter(|name| !seen.off.contains(name)).collect();
    let nodes_ready = ready_nodes.len();

    let pods: Vec<&Arc<Pod>> = seen.pods.iter().filter(|p| is_own(p)).collect();
    // What was bound to a worker that is gone is made anew on another one, so it is waited for; but
    // no proxy is, and the old one stays until `node::objects` ends it.
    let (bound_elsewhere, here): (Vec<&Arc<Pod>>, Vec<&Arc<Pod>>) = pods.into_iter().partition(|p| {
        target(p).is_some_and(|node| !is_wanted(&node) && (is_daemon(p) || !is_of_ropewalk(&node)))
    });
    let pod_ready = |pod: &Pod| {
        let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
        conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
            && seen.running.contains(&Key::of(pod))
    };
    let to_run = here.iter().filter(|p| is_to_run(p)).count();
    let pods_running = here.iter().filter(|p| is_to_run(p) && pod_ready(p)).count();
    let is_mirror = |p: &Pod| p.metadata.annotations.iter().flatten().any(|(key, _)| key == MIRROR);
    let mirrors = here.iter().filter(|p| is_mirror(p)).count();
    // Pods of a worker that is gone are marked as failed, then deleted, and only then made anew.
    let made_here = here.iter().filter(|p| !is_mirror(p) && (is_to_run(p) || !is_owned(p))).count();
    // A Deployment's pod on a foreign Node was made; a proxy there is one too many.
    let made_elsewhere = bound_elsewhere.iter().filter(|p| !is_daemon(p)).count();
    let made = made_here + made_elsewhere;

    let static_pods = seen.wanted.iter().filter(|n| n.control_plane).count() * seen.each;
    let of_addons = seen.addons.as_ref().map(|addons| addons.on(&nodes));
    // While the addons are not made: a proxy on every node, two name servers, the provisioner.
    let usual = seen.wanted.len() + 3;
    let expected = match seen.started {
        // What the addons were at the start a learner may have changed since.
        true => here.iter().filter(|p| !is_mirror(p) && is_to_run(p)).count(),
        false => of_addons.filter(|_| nodes.len() == seen.wanted.len()).unwrap_or(usual),
    };
    let to_be_made = if seen.started { 0 } else { of_addons.unwrap_or(usize::MAX) };
    Progress {
        store: seen.store,
        api: seen.api && seen.store,
        nodes_ready,
        ready_nodes,
        nodes: seen.wanted.len(),
        pods_running,
        pods: static_pods.saturating_add(expected),
        // When all addons are made, their pods are still on the way. Later a learner may have
        // removed one: then what is there must run. The components' pods are always shown, though
        // late ones by kubelets that could not ask yet.
        ready: seen.api
            && nodes_ready >= seen.wanted.len()
            && pods_running >= to_run
            && mirrors >= static_pods
            && made >= to_be_made,
        ..Progress::default()
    }
}

/// Returns whether a pod has an owner, which makes another one when it has ended.
fn is_owned(pod: &Pod) -> bool {
    pod.metadata.owner_references.as_ref().is_some_and(|owners| !owners.is_empty())
}

/// Returns whether a pod belongs to a DaemonSet.
fn is_daemon(pod: &Pod) -> bool {
    pod.metadata.owner_references.iter().flatten().any(|owner| owner.kind == "DaemonSet")
}

#[cfg(test)]
mod tests;
