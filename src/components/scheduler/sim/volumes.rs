//! Pods with claims in the simulated world: claims that wait for their first consumer, volumes that
//! only one node reaches, and claims that several pods share. [`Storage`] stands for the controller
//! of volumes and for a provisioner.
//!
//! At the end every pod that fits together with its claims must have a node. And no pod may have
//! been bound before each of its claims was, nor to a node that does not reach their volumes.

use super::{CPUS, in_simulation, live, remove, request, rooms, settle, weather};
use api::meta;
use api::value::{self, at, text};
use api::volumes::{BIND_COMPLETED, NO_PROVISIONER, SELECTED_NODE};
use client::simulated::{Door, Item, Store, Tally, kind};
use rng::Rng;
use rng::seeds::sweep;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const NAMESPACE: &str = "default";
const CLAIMS: &str = "persistentvolumeclaims";
const VOLUMES: &str = "persistentvolumes";
const NODES: [&str; 3] = ["n0", "n1", "n2"];
/// The class whose volumes are made by hand.
const LOCAL: &str = "local";
/// The class whose volumes the provisioner makes.
const MADE: &str = "made";
/// Claims of each class.
const CLAIMS_EACH: u64 = 3;

/// How many claims pods with a node use at the end: all, those of local volumes, and those that
/// several pods share.
type Used = [u64; 3];

fn run(seed: u64) -> (Tally, Used, u64) {
    in_simulation(history(seed))
}

async fn history(seed: u64) -> (Tally, Used, u64) {
    clock::pin("2026-01-02T03:04:05Z".parse().expect("a time"));
    let rng = Rng::seeded(seed);
    let store = Store::new(rng.fork("store"));
    let (faults, _) = weather(&rng.fork("weather"));
    let door = Door::new(&store, &rng.fork("door"), faults, None);
    let storage = Storage { store: store.clone(), rng: rng.fork("storage") };
    let (user, restarts, scheduler) = (rng.fork("user"), rng.fork("restarts"), rng.fork("scheduler"));
    let script = async {
        act(&store, &user).await;
        door.calm();
        settle(seed, &store, waiting).await;
    };
    tokio::select! {
        biased;
        () = script => {}
        () = storage.run() => {}
        () = live(seed, &door, &scheduler, &restarts) => {}
    }
    let wrong = wrong_bindings(&store);
    assert!(wrong.is_empty(), "seed {seed}: {}; {}", wrong.join("; "), store.tail());
    (door.tally(), used(&store), store.hash())
}

/// The controller of volumes, and a provisioner that can make a volume on each node.
struct Storage {
    store: Store,
    rng: Rng,
}

impl Storage {
    /// Takes one step after the other, each a little late. Never ends.
    async fn run(&self) {
        let news = self.store.news();
        loop {
            let next = news.notified(); // hears of what comes while the store is read
            if !self.step() {
                next.await;
            }
            clock::sleep(Duration::from_millis(self.rng.range(1, 2000))).await;
        }
    }

    /// Takes one step; returns false if there is none to take.
    fn step(&self) -> bool {
        let (claims, volumes) = (self.store.all(CLAIMS), self.store.all(VOLUMES));
        if let Some(new) = volumes.iter().find(|volume| is_new(&volume.value)) {
            self.set_phase(VOLUMES, &new.value, "Available");
            return true;
        }
        for claim in claims.iter().filter(|claim| !is_bound(&claim.value)) {
            let claim = &claim.value;
            let is_reserved =
                |volume: &&Arc<Item>| text(&volume.value, "spec.claimRef.uid") == meta::uid(claim);
            match (volumes.iter().find(is_reserved), meta::annotation(claim, SELECTED_NODE)) {
                (Some(volume), _) => self.bind(claim, &volume.value),
                (None, Some(node)) if is_made(claim) => self.provision(claim, node),
                _ => continue,
            }
            return true;
        }
        false
    }

    /// Binds a claim to the volume that is reserved for it.
    fn bind(&self, claim: &Value, volume: &Value) {
        let key = (meta::namespace(claim), meta::name(claim));
        self.store
            .edit(kind(CLAIMS), key, false, |claim| {
                value::put(claim, "spec.volumeName", meta::name(volume));
                value::slot_map(claim, "metadata.annotations").insert(BIND_COMPLETED.into(), "yes".into());
                Ok(())
            })
            .expect("a claim without a volume may get one");
        self.set_phase(CLAIMS, claim, "Bound");
        self.set_phase(VOLUMES, volume, "Bound");
    }

    /// Makes a volume for a claim on the node that the scheduler has selected.
    fn provision(&self, claim: &Value, node: &str) {
        let mut new = volume(&format!("pvc-{}", meta::uid(claim)), MADE, node);
        new["spec"]["claimRef"] = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": meta::namespace(claim),
            "name": meta::name(claim), "uid": meta::uid(claim),
        });
        self.store.create(kind(VOLUMES), "", new).expect("a volume");
    }

    fn set_phase(&self, plural: &str, object: &Value, phase: &str) {
        let key = (meta::namespace(object), meta::name(object));
        self.store
            .edit(kind(plural), key, true, |object| {
                value::put(object, "status.phase", phase);
                Ok(())
            })
            .expect("it is there");
    }
}

/// Returns whether the controller has not seen the volume, and no claim has it.
fn is_new(volume: &Value) -> bool {
    text(volume, "status.phase") == "Pending" && at(volume, "spec.claimRef").is_null()
}

fn is_bound(claim: &Value) -> bool {
    meta::annotation(claim, BIND_COMPLETED).is_some()
}

fn is_made(claim: &Value) -> bool {
    text(claim, "spec.storageClassName") == MADE
}

/// Returns a volume that only one node reaches. Its label `on` names the node for the checks.
fn volume(name: &str, class: &str, node: &str) -> Value {
    let rule = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node]});
    let terms = json!([{"matchExpressions": [rule]}]);
    json!({
        "metadata": {"name": name, "labels": {"on": node}},
        "spec": {
            "storageClassName": class, "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/data"}, "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
        },
    })
}

/// Makes the nodes, the classes and the claims, which stay.
fn furnish(store: &Store) {
    for name in NODES {
        let room = json!({"cpu": CPUS.to_string(), "memory": "8Gi", "pods": "110"});
        let metadata = json!({"name": name, "labels": {"kubernetes.io/hostname": name}});
        let node = json!({"metadata": metadata, "status": {"capacity": room, "allocatable": room}});
        store.create(kind("nodes"), "", node).expect("a node");
    }
    for (class, provisioner) in [(LOCAL, NO_PROVISIONER), (MADE, "example.com/disks")] {
        let mode = "WaitForFirstConsumer";
        let made =
            json!({"metadata": {"name": class}, "provisioner": provisioner, "volumeBindingMode": mode});
        store.create(kind("storageclasses"), "", made).expect("a class");
        for n in 0..CLAIMS_EACH {
            let spec = json!({
                "storageClassName": class, "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
            });
            let claim = json!({"metadata": {"name": format!("{class}-{n}")}, "spec": spec});
            store.create(kind(CLAIMS), NAMESPACE, claim).expect("a claim");
        }
    }
}

/// Lets pods come and go for a while, and local volumes come.
async fn act(store: &Store, rng: &Rng) {
    furnish(store);
    for step in 0..rng.range(8, 30) {
        let pods = store.all("pods");
        match rng.range(0, 10) {
            0 | 1 => {
                let node = NODES[rng.range(0, NODES.len() as u64) as usize];
                let new = volume(&format!("v{step}"), LOCAL, node);
                store.create(kind(VOLUMES), "", new).expect("a volume");
            }
            2 | 3 if !pods.is_empty() => {
                remove(store, &pods[rng.range(0, pods.len() as u64) as usize].value);
            }
            _ => {
                // One of that name may be there.
                let _ = store.create(kind("pods"), NAMESPACE, pod(rng));
            }
        }
        clock::sleep(Duration::from_millis(rng.range(1, 4000))).await;
    }
}

/// Draws a pod with a claim of each class, of one, or of none.
fn pod(rng: &Rng) -> Value {
    let mut volumes = Vec::new();
    for class in [LOCAL, MADE] {
        if rng.chance(0.7) {
            let claim = format!("{class}-{}", rng.range(0, CLAIMS_EACH));
            volumes.push(json!({"name": class, "persistentVolumeClaim": {"claimName": claim}}));
        }
    }
    let requests = json!({"cpu": rng.range(1, 3).to_string()});
    let container = json!({"name": "c", "image": "pause", "resources": {"requests": requests}});
    let name = format!("p{}", rng.range(0, 8));
    json!({"metadata": {"name": name}, "spec": {"containers": [container], "volumes": volumes}})
}

fn claims_of(pod: &Value) -> Vec<&str> {
    let volumes = value::list(pod, "spec.volumes").iter();
    let names = volumes.map(|volume| text(volume, "persistentVolumeClaim.claimName"));
    names.filter(|name| !name.is_empty()).collect()
}

/// Returns the pods without a node that would fit on one together with their claims.
fn waiting(store: &Store) -> Vec<String> {
    let rooms = rooms(store);
    let mut waiting = Vec::new();
    for pod in store.all("pods").iter().map(|item| &item.value) {
        if !value::empty(pod, "spec.nodeName") {
            continue;
        }
        for (node, used) in &rooms {
            let claims = claims_of(pod);
            if used + request(pod) <= CPUS && claims.iter().all(|claim| has_volume(store, claim, node)) {
                waiting.push(format!("{} fits on {node}", meta::name(pod)));
            }
        }
    }
    waiting
}

/// Returns whether a claim has a volume that the node reaches, or may get one there.
fn has_volume(store: &Store, claim: &str, node: &str) -> bool {
    let Some(claim) = store.get(kind(CLAIMS), NAMESPACE, claim) else { return false };
    let (claim, volumes) = (&claim.value, store.all(VOLUMES));
    let is_here = |volume: &Value| meta::label(volume, "on") == Some(node);
    let is_own = |volume: &Value| match is_bound(claim) {
        true => meta::name(volume) == text(claim, "spec.volumeName"),
        false => text(volume, "spec.claimRef.uid") == meta::uid(claim),
    };
    if let Some(own) = volumes.iter().find(|volume| is_own(&volume.value)) {
        return is_here(&own.value);
    }
    if is_made(claim) {
        return meta::annotation(claim, SELECTED_NODE).is_none_or(|selected| selected == node);
    }
    let is_free = |volume: &Value| at(volume, "spec.claimRef").is_null();
    volumes.iter().any(|volume| is_free(&volume.value) && is_here(&volume.value))
}

/// Finds bindings of pods before each of their claims was bound, or to a node that does not reach
/// the volumes.
fn wrong_bindings(store: &Store) -> Vec<String> {
    let claims = store.history(kind(CLAIMS));
    let mut wrong = Vec::new();
    for change in store.history(kind("pods")) {
        let (pod, node) = (&change.item.value, text(&change.item.value, "spec.nodeName"));
        let had_node = change.was.as_ref().is_some_and(|was| !value::empty(&was.value, "spec.nodeName"));
        if node.is_empty() || had_node {
            continue;
        }
        for name in claims_of(pod) {
            let mut before = claims.iter().filter(|claim| claim.revision < change.revision);
            let last = before.rfind(|claim| meta::name(&claim.item.value) == name);
            let bound = last.filter(|claim| is_bound(&claim.item.value));
            let volume = bound.map(|claim| text(&claim.item.value, "spec.volumeName"));
            let volume = volume.and_then(|volume| store.get(kind(VOLUMES), "", volume));
            if volume.is_none_or(|volume| meta::label(&volume.value, "on") != Some(node)) {
                wrong.push(format!("{} was bound to {node} without {name}", meta::name(pod)));
            }
        }
    }
    wrong
}

fn used(store: &Store) -> Used {
    let pods = store.all("pods");
    let mut users: BTreeMap<&str, u64> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !value::empty(&pod.value, "spec.nodeName")) {
        claims_of(&pod.value).into_iter().for_each(|claim| *users.entry(claim).or_default() += 1);
    }
    let local = users.keys().filter(|claim| claim.starts_with(LOCAL)).count();
    let shared = users.values().filter(|users| **users > 1).count();
    [users.len() as u64, local as u64, shared as u64]
}

#[test]
fn every_pod_gets_a_node_that_reaches_its_volumes_whatever_happens() {
    let test = "scheduler::sim::volumes::every_pod_gets_a_node_that_reaches_its_volumes_whatever_happens";
    let (mut all, mut used) = (Tally::default(), [0; 3]);
    let add = |(tally, more, _): (Tally, Used, u64)| {
        all += tally;
        used.iter_mut().zip(more).for_each(|(sum, n)| *sum += n);
    };
    let Some(seeds) = sweep(test, 40, run, add) else { return };
    eprintln!("{seeds} seeds: {all:?}; claims, local and shared ones: {used:?}");
    // A sweep in which nothing happened proves nothing.
    let [claims, local, shared] = used;
    assert!(claims > seeds / 2 && local > 0 && shared > 0, "too few claims were used: {used:?}");
    let seen = [all.refused, all.lost, all.cut, all.expired, all.killed];
    assert!(seen.iter().all(|n| *n > seeds / 4), "the weather was too fair: {all:?}");
}

#[test]
fn a_seed_is_a_history_with_volumes_too() {
    assert_eq!(run(3), run(3));
    assert_ne!(run(3).2, run(4).2);
}
