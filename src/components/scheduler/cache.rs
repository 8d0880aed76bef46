//! What is on each node, kept change by change: upstream's `pkg/scheduler/backend/cache`.
//!
//! A decision asks what every node has left. Counting all pods anew for each decision costs as much
//! as there are pods, so each change of a pod or a node changes only the node that it is about:
//!
//! ```text
//! assume web-1 on n1       n1 = its pods + web-1      decided; the Binding is on its way
//! the watch: web-1 on n1   the same                   confirmed
//! the watch: web-1 gone    n1 = its other pods        that one node is counted anew
//! forget web-2             n2 = its other pods        its Binding has failed
//! ```

use super::node_info::{NodeInfo, Share};
use client::{Change, Informer, Key};
use k8s_openapi::api::core::v1::{Node, Pod};
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::sync::Arc;

/// All nodes with the pods on them, as the watches report them, and the pods that are assumed on a
/// node.
#[derive(Default)]
pub(crate) struct Cache(Mutex<State>);

#[derive(Default)]
struct State {
    /// By name. A pod may name a node that is not known: then the entry has no `bare` node.
    nodes: BTreeMap<String, Slot>,
    /// Pods that the watch shows and that have not ended.
    pods: BTreeMap<Key, Seen>,
    /// Pods that were decided and that the watch has not shown on their node yet.
    assumed: BTreeMap<Key, Assumed>,
}

/// A node and the pods that are counted on it.
#[derive(Default)]
struct Slot {
    /// The node without pods; `None`: the watch does not show it.
    bare: Option<NodeInfo>,
    pods: BTreeMap<Key, Arc<Share>>,
    /// The node with its pods. Shared with the pictures that were taken of it.
    info: Arc<NodeInfo>,
}

/// A pod that the watch shows.
struct Seen {
    uid: Option<String>,
    /// The node in its spec; empty: none yet.
    bound: String,
    share: Arc<Share>,
    /// The node on which it is counted.
    on: Option<String>,
}

struct Assumed {
    node: String,
    uid: Option<String>,
}

/// Returns whether the pod uses room of its node: it has not ended.
pub(crate) fn is_live(pod: &Pod) -> bool {
    !matches!(pod.status.as_ref().and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed"))
}

impl Cache {
    /// Makes a cache of what these informers know, and keeps it up to date with their changes. Its
    /// handlers run before those that are added later, so a later handler finds its change here.
    pub(crate) fn follow(pods: &Informer<Pod>, nodes: &Informer<Node>) -> Arc<Cache> {
        let cache = Arc::new(Cache::default());
        let c = cache.clone();
        pods.on(move |change| c.lock().pod_changed(change));
        let c = cache.clone();
        nodes.on(move |change| c.lock().node_changed(change));
        cache
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// Returns all nodes with what is on them now, by name.
    pub(crate) fn picture(&self) -> Vec<Arc<NodeInfo>> {
        let state = self.lock();
        state.nodes.values().filter(|slot| slot.bare.is_some()).map(|slot| slot.info.clone()).collect()
    }

    /// Counts the pod on the node until it is forgotten, or until the watch shows where it is.
    pub(crate) fn assume(&self, key: &Key, pod: &Pod, node: &str) {
        let mut state = self.lock();
        let assumed = Assumed { node: node.into(), uid: pod.metadata.uid.clone() };
        state.assumed.insert(key.clone(), assumed);
        state.place(key);
    }

    /// Returns whether this cache has handled the change that brought this very pod. An informer's
    /// store is ahead of its handlers, and a pod that is assumed before that is counted on no node.
    ///
    /// ```text
    /// the watch        web-0 (uid 1) is deleted, web-0 (uid 2) is made
    /// the informer     has uid 2
    /// the cache        has uid 1 until the handlers run
    /// the scheduler    looks at web-0, which is in the queue since before: uid 2 is not seen
    /// ```
    pub(crate) fn has_seen(&self, key: &Key, pod: &Pod) -> bool {
        self.lock().pods.get(key).is_some_and(|seen| seen.uid == pod.metadata.uid)
    }

    /// Returns whether this very pod is assumed on a node: another one of its name may be.
    pub(crate) fn has_assumed(&self, key: &Key, pod: &Pod) -> bool {
        self.lock().assumed.get(key).is_some_and(|assumed| assumed.uid == pod.metadata.uid)
    }

    /// Forgets that this pod is assumed: the watch shows where it is or that it is gone, or its
    /// Binding has failed. Another pod of its name stays assumed: the watch shows the end of a
    /// pod when the next one may be decided already. Returns whether this one was.
    pub(crate) fn forget(&self, key: &Key, pod: &Pod) -> bool {
        let mut state = self.lock();
        let was = state.assumed.get(key).is_some_and(|assumed| assumed.uid == pod.metadata.uid);
        if was {
            state.assumed.remove(key);
            state.place(key);
        }
        was
    }

    /// Returns the names of all pods that are assumed.
    #[cfg(test)]
    pub(crate) fn assumed(&self) -> Vec<Key> {
        self.lock().assumed.keys().cloned().collect()
    }
}

impl State {
    fn pod_changed(&mut self, change: &Change<Pod>) {
        let (pod, key) = (change.object(), change.key());
        let on = self.pods.remove(&key).and_then(|seen| seen.on.map(|on| (on, seen.share)));
        if !matches!(change, Change::Deleted(_)) && is_live(pod) {
            let mut share = Arc::new(Share::of(pod));
            // Most changes of a pod are of its status: what it takes stays, and so does the node's
            // sum.
            let on = match on {
                Some((node, old)) if *old == *share => {
                    share = old;
                    Some(node)
                }
                Some((node, _)) => {
                    self.take_off(&node, &key);
                    None
                }
                None => None,
            };
            let bound = pod.spec.as_ref().and_then(|s| s.node_name.clone()).unwrap_or_default();
            self.pods.insert(key.clone(), Seen { uid: pod.metadata.uid.clone(), bound, share, on });
            self.place(&key);
        } else if let Some((node, _)) = on {
            self.take_off(&node, &key);
        }
    }

    fn node_changed(&mut self, change: &Change<Node>) {
        let node = change.object();
        let name = node.metadata.name.clone().unwrap_or_default();
        let bare = (!matches!(change, Change::Deleted(_))).then(|| NodeInfo::of(node));
        let slot = self.nodes.entry(name.clone()).or_default();
        if slot.bare != bare {
            slot.bare = bare;
            slot.count_anew();
        }
        self.drop_if_empty(&name);
    }

    /// Counts a pod where it is now: on the node in its spec, else on the one where it is assumed.
    fn place(&mut self, key: &Key) {
        let Some(seen) = self.pods.get_mut(key) else { return };
        let assumed = self.assumed.get(key).filter(|assumed| assumed.uid == seen.uid);
        let node = match seen.bound.is_empty() {
            true => assumed.map(|assumed| assumed.node.clone()),
            false => Some(seen.bound.clone()),
        };
        if seen.on == node {
            return;
        }
        let share = seen.share.clone();
        let before = std::mem::replace(&mut seen.on, node.clone());
        if let Some(before) = before {
            self.take_off(&before, key);
        }
        if let Some(node) = node {
            let slot = self.nodes.entry(node).or_default();
            Arc::make_mut(&mut slot.info).count(&share);
            slot.pods.insert(key.clone(), share);
        }
    }

    fn take_off(&mut self, node: &str, key: &Key) {
        if let Some(slot) = self.nodes.get_mut(node) {
            slot.pods.remove(key);
            slot.count_anew();
        }
        self.drop_if_empty(node);
    }

    /// Drops a node that is gone and that no pod names. As long as one names it the node may come
    /// back.
    fn drop_if_empty(&mut self, node: &str) {
        if self.nodes.get(node).is_some_and(|slot| slot.bare.is_none() && slot.pods.is_empty()) {
            self.nodes.remove(node);
        }
    }
}

impl Slot {
    /// Counts the node's pods anew. Nothing can be subtracted: sums stop at their largest value,
    /// and two pods that name their node themselves may have one host port.
    fn count_anew(&mut self) {
        let mut info = self.bare.clone().unwrap_or_default();
        self.pods.values().for_each(|share| info.count(share));
        self.info = Arc::new(info);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rng::Rng;
    use serde_json::{Value, json};

    /// Informers and their cache, and beside it what is assumed, as a test knows it.
    struct World {
        pods: Informer<Pod>,
        nodes: Informer<Node>,
        cache: Arc<Cache>,
        assumed: BTreeMap<Key, (String, Option<String>)>,
        revision: u64,
        rng: Rng,
    }

    fn read<T: serde::de::DeserializeOwned>(object: Value) -> T {
        serde_json::from_value(object).unwrap()
    }

    impl World {
        fn new(rng: Rng) -> World {
            let (pods, nodes) = (Informer::fixed([]), Informer::fixed([]));
            let cache = Cache::follow(&pods, &nodes);
            World { pods, nodes, cache, assumed: BTreeMap::new(), revision: 0, rng }
        }

        /// Returns all nodes, each counted from all pods.
        fn made_anew(&self) -> Vec<NodeInfo> {
            let mut nodes: BTreeMap<String, NodeInfo> =
                self.nodes.list().iter().map(|n| NodeInfo::of(n)).map(|n| (n.name.clone(), n)).collect();
            for pod in self.pods.list().iter().filter(|pod| is_live(pod)) {
                let bound = pod.spec.as_ref().and_then(|s| s.node_name.clone()).unwrap_or_default();
                let assumed = self.assumed.get(&Key::of(&**pod));
                let assumed = assumed.filter(|(_, uid)| *uid == pod.metadata.uid).map(|(node, _)| node);
                let on = if bound.is_empty() { assumed } else { Some(&bound) };
                if let Some(node) = on.and_then(|node| nodes.get_mut(node)) {
                    node.add(pod);
                }
            }
            nodes.into_values().collect()
        }

        fn some<'a>(&self, of: &[&'a str]) -> &'a str {
            of[self.rng.range(0, of.len() as u64) as usize]
        }

        fn known(&self) -> Option<Arc<Pod>> {
            let all = self.pods.list();
            all.get(self.rng.range(0, all.len() as u64) as usize).cloned()
        }

        fn node_name(&self) -> &'static str {
            self.some(&["n1", "n2", "n3", "unknown"])
        }

        fn revision(&mut self) -> String {
            self.revision += 1;
            self.revision.to_string()
        }

        fn node(&mut self) -> Node {
            let revision = self.revision();
            read(json!({
                "metadata": {
                    "name": self.some(&["n1", "n2", "n3"]), "resourceVersion": revision,
                    "labels": {"zone": self.some(&["a", "b"])},
                },
                "spec": {"unschedulable": self.rng.chance(0.2)},
                "status": {"allocatable": {"cpu": self.some(&["2", "4"]), "memory": "8Gi", "pods": "110", "x/gpu": "4"}},
            }))
        }

        /// Draws a new pod. Few names, so that others of the same name come; 6Ei three times are
        /// more than a sum can hold.
        fn pod(&mut self) -> Pod {
            let revision = self.revision();
            let bound = if self.rng.chance(0.3) { self.node_name() } else { "" };
            let requests = json!({
                "cpu": self.some(&["100m", "1"]), "memory": self.some(&["64Mi", "6Ei"]), "x/gpu": self.some(&["0", "1"]),
            });
            let port = self.some(&["0", "80", "81"]).parse::<i32>().unwrap();
            let container = json!({
                "name": "c", "ports": [{"containerPort": 80, "hostPort": port}], "resources": {"requests": requests},
            });
            read(json!({
                "metadata": {
                    "name": format!("p{}", self.rng.range(0, 8)), "namespace": "d", "uid": format!("u{revision}"),
                    "resourceVersion": revision,
                    "ownerReferences": [{
                        "apiVersion": "v1", "kind": "X", "name": "o", "uid": self.some(&["o1", "o2"]), "controller": true,
                    }],
                },
                "spec": {"nodeName": bound, "containers": [container]},
            }))
        }

        /// Draws something that happens to a pod that is known: it gets a node, more room, a phase,
        /// or is being deleted.
        fn changed(&mut self, pod: &Pod) -> Pod {
            let (mut pod, revision) = (pod.clone(), self.revision());
            pod.metadata.resource_version = Some(revision);
            match self.rng.range(0, 5) {
                0 | 1 => {
                    let spec = pod.spec.as_mut().unwrap();
                    let decided = self.assumed.get(&Key::new("d", pod.metadata.name.clone().unwrap()));
                    let node = decided.map_or(self.node_name().to_string(), |(node, _)| node.clone());
                    spec.node_name.get_or_insert_default().clone_from(&node);
                }
                2 => {
                    let spec = pod.spec.as_mut().unwrap();
                    spec.containers[0].resources = read(json!({"requests": {"cpu": self.some(&["1", "2"])}}));
                }
                3 => {
                    pod.status = read(json!({"phase": self.some(&["Running", "Succeeded", "Failed"])}));
                }
                _ => pod.metadata.deletion_timestamp = read(json!("2026-01-02T03:04:05Z")),
            }
            pod
        }

        fn step(&mut self) {
            let pod = self.known();
            match (self.rng.range(0, 16), pod) {
                (0, _) => {
                    let node = self.node();
                    self.nodes.show(node);
                }
                (1, _) => {
                    if let Some(node) = self.nodes.list().first().filter(|_| self.rng.chance(0.3)) {
                        self.nodes.show_deleted((**node).clone());
                    }
                }
                (2..5, Some(pod)) => {
                    let changed = self.changed(&pod);
                    self.pods.show(changed);
                }
                (5, Some(pod)) => self.pods.show_deleted((*pod).clone()),
                (6 | 7, Some(pod)) => {
                    let (key, node) = (Key::of(&*pod), self.node_name());
                    self.cache.assume(&key, &pod, node);
                    self.assumed.insert(key, (node.into(), pod.metadata.uid.clone()));
                }
                (8 | 9, Some(pod)) => {
                    let key = Key::of(&*pod);
                    let is_this = |(_, uid): &(String, Option<String>)| *uid == pod.metadata.uid;
                    let was = self.assumed.get(&key).is_some_and(is_this);
                    assert_eq!(self.cache.forget(&key, &pod), was);
                    if was {
                        self.assumed.remove(&key);
                    }
                }
                // A watch that expired: everything is listed anew, with what was missed.
                (10, _) if self.rng.chance(0.2) => {
                    let (mut pods, mut nodes) = (self.pods.list(), self.nodes.list());
                    pods.retain(|_| self.rng.chance(0.8));
                    nodes.retain(|_| self.rng.chance(0.8));
                    self.pods.show_list(pods.iter().map(|pod| (**pod).clone()));
                    self.nodes.show_list(nodes.iter().map(|node| (**node).clone()));
                }
                _ => {
                    let pod = self.pod();
                    self.pods.show(pod);
                }
            }
        }
    }

    #[test]
    fn what_is_kept_change_by_change_is_what_counting_anew_gives() {
        let (mut crowded, mut full) = (0, 0);
        for seed in 0..200 {
            let mut world = World::new(Rng::seeded(seed));
            for _ in 0..5 {
                let node = world.node();
                world.nodes.show(node);
            }
            for step in 0..120 {
                world.step();
                let kept: Vec<NodeInfo> = world.cache.picture().iter().map(|node| (**node).clone()).collect();
                assert_eq!(kept, world.made_anew(), "seed {seed}, step {step}");
                crowded += usize::from(kept.iter().any(|node| node.requested.pods > 2));
                full += usize::from(kept.iter().any(|node| node.requested.memory == i64::MAX));
            }
        }
        assert!(crowded > 1000 && full > 100, "too little was on the nodes: {crowded}, {full}");
    }

    /// A picture that a decision holds does not change under it, and a node that is gone leaves
    /// nothing behind.
    #[test]
    fn a_picture_stays_as_it_was_taken() {
        let mut world = World::new(Rng::seeded(1));
        let (node, mut pod) = (world.node(), world.pod());
        pod.spec.as_mut().unwrap().node_name = None;
        let name = node.metadata.name.clone().unwrap();
        world.nodes.show(node.clone());
        let before = world.cache.picture();
        world.pods.show(pod.clone());
        world.cache.assume(&Key::of(&pod), &pod, &name);
        assert_eq!((before[0].requested.pods, world.cache.picture()[0].requested.pods), (0, 1));
        world.nodes.show_deleted(node);
        world.pods.show_deleted(pod);
        let state = world.cache.lock();
        assert!(state.nodes.is_empty() && state.pods.is_empty());
    }
}
