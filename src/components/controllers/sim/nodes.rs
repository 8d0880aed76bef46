//! Nodes without kubelets: pods get a node, run, become ready, end and go, each after a while.

use api::value::{self, text};
use api::{Status, meta};
use client::simulated::{Item, Store, kind};
use rng::Rng;
use serde_json::{Value, json};
use std::cell::Cell;
use std::time::Duration;

pub(super) const NODES: [&str; 3] = ["n1", "n2", "n3"];

pub(super) struct Nodes {
    store: Store,
    rng: Rng,
    calm: Cell<bool>,
}

impl Nodes {
    pub(super) fn new(store: &Store, rng: &Rng) -> Nodes {
        for name in NODES {
            let node = json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}});
            store.create(kind("nodes"), "", node).expect("a node");
        }
        Nodes { store: store.clone(), rng: rng.clone(), calm: Cell::new(false) }
    }

    /// Makes pods fail no more from now on.
    pub(super) fn calm(&self) {
        self.calm.set(true);
    }

    /// Brings pods on, one step after the other. Never ends.
    pub(super) async fn run(&self) {
        let news = self.store.news();
        loop {
            let changed = news.notified();
            let pods = self.store.all("pods");
            let mut waiting = false;
            for pod in &pods {
                waiting |= self.step(pod);
            }
            if !waiting {
                changed.await;
            }
            clock::sleep(Duration::from_millis(self.rng.range(50, 1000))).await;
        }
    }

    /// Brings a pod a step on, or not yet. Returns whether there is a next step.
    fn step(&self, pod: &Item) -> bool {
        let pod = &pod.value;
        let phase = text(pod, "status.phase");
        let (ended, bound) = (matches!(phase, "Succeeded" | "Failed"), !value::empty(pod, "spec.nodeName"));
        let is_job = text(pod, "spec.restartPolicy") == "Never";
        let going = meta::is_terminating(pod);
        if ended && !(going && value::int(pod, "metadata.deletionGracePeriodSeconds") != Some(0)) {
            return false;
        }
        let fails = !is_job && !going && phase == "Running" && !self.calm.get();
        if !going && phase == "Running" && !is_job && !fails {
            return false;
        }
        if fails && !self.rng.chance(0.005) {
            return true;
        }
        if self.rng.chance(0.5) {
            return true;
        }
        let done = match (going, bound, phase) {
            (true, _, _) if !ended => self.end(pod, "Failed"),
            (true, ..) => self.remove(pod),
            (false, false, _) => self.bind(pod),
            (false, true, "Running") if is_job => {
                self.disturb(pod);
                self.end(pod, if self.rng.chance(0.85) { "Succeeded" } else { "Failed" })
            }
            (false, true, "Running") => self.end(pod, "Failed"),
            _ => self.begin(pod),
        };
        // It may have been deleted within this step: it is looked at again.
        let _ = done;
        true
    }

    fn key(pod: &Value) -> (&str, &str) {
        (meta::namespace(pod), meta::name(pod))
    }

    fn bind(&self, pod: &Value) -> Result<(), Status> {
        let (namespace, name) = Nodes::key(pod);
        let affinity = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution";
        let terms = value::list(value::at(pod, affinity), "nodeSelectorTerms");
        let wanted = terms.first().map(|term| term["matchFields"][0]["values"][0].as_str());
        let node = wanted.flatten().unwrap_or(NODES[self.rng.range(0, NODES.len() as u64) as usize]);
        let binding = json!({"metadata": {"uid": meta::uid(pod)}, "target": {"kind": "Node", "name": node}});
        self.store.bind(namespace, name, &binding).map(drop)
    }

    fn write(&self, pod: &Value, phase: &str, ready: bool) -> Result<(), Status> {
        let now = clock::rfc3339(clock::now());
        let condition = |kind: &str| {
            let ready = if ready { "True" } else { "False" };
            json!({"type": kind, "status": ready, "lastTransitionTime": now})
        };
        self.store
            .edit(kind("pods"), Nodes::key(pod), true, |pod| {
                let mut all = value::list(pod, "status.conditions").to_vec();
                all.retain(|c| c["type"] == "PodScheduled");
                all.extend([condition("Ready"), condition("ContainersReady")]);
                value::put(pod, "status.conditions", all);
                value::put(pod, "status.phase", phase);
                Ok(())
            })
            .map(drop)
    }

    fn begin(&self, pod: &Value) -> Result<(), Status> {
        self.write(pod, "Running", true)
    }

    fn end(&self, pod: &Value, phase: &str) -> Result<(), Status> {
        self.write(pod, phase, false)
    }

    /// Annotates a Job now and then, as a user may, at the moment in which one of its pods ends.
    /// What the controller has read of the Job is old then, and its next status meets a conflict.
    fn disturb(&self, pod: &Value) {
        let owner = value::list(pod, "metadata.ownerReferences").iter().find(|o| o["kind"] == "Job");
        let Some(name) = owner.and_then(|o| o["name"].as_str()) else { return };
        if self.calm.get() || self.rng.chance(0.5) {
            return;
        }
        let note = self.store.revision().to_string();
        // It may be gone.
        let _ = self.store.edit(kind("jobs"), (meta::namespace(pod), name), false, |job| {
            value::put(job, "metadata.annotations.note", note);
            Ok(())
        });
    }

    fn remove(&self, pod: &Value) -> Result<(), Status> {
        let options = json!({"gracePeriodSeconds": 0, "preconditions": {"uid": meta::uid(pod)}});
        self.store.delete(kind("pods"), Nodes::key(pod), &options).map(drop)
    }
}
