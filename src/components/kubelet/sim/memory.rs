//! The memory of the simulated machine. In every second history it gets low a few times, and stays
//! so until a pod was evicted and its containers have ended. The eviction manager of the kubelet
//! that lives reads it five times a second.
//!
//! Two things must hold. An evicted pod is over in the end ([`MachineMemory::lost`]), unless its
//! kubelet was killed meanwhile: the decision goes with the kubelet, as upstream. And pods go one
//! at a time: where no call of the runtime fails, the containers of one have ended before the next
//! one is evicted.

use super::checks;
use crate::pods::{EvictionManager, Kubelet};
use crate::pressure::tests::memory;
use api::meta;
use client::simulated::Store;
use cri::fake::FakeRuntime;
use cri::{Container, ContainerState, Runtime};
use rng::Rng;
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Bytes that all pods together may use.
const LIMIT: u64 = 8 << 30;
/// Bytes that the machine has left, which is never low.
const LEFT: u64 = 6 << 30;
/// The eviction manager reads the memory this often.
const EVERY: Duration = Duration::from_millis(200);
/// The probability that memory gets low, at each look: about once in five seconds.
const GETS_LOW: f64 = 0.04;
/// Times that memory gets low in one history, at most.
const TIMES_MAX: u32 = 3;

/// The memory of one history's machine, which outlives its kubelets.
pub(super) struct MachineMemory {
    runtime: FakeRuntime,
    rng: Rng,
    /// No call of the runtime fails, so nothing that ends a pod has to be done twice.
    is_fair: bool,
    is_low: Cell<bool>,
    /// How often it will get low yet.
    left: Cell<u32>,
    /// Uids of the pods that the kubelet which lives has evicted.
    evicted: RefCell<BTreeSet<String>>,
    /// Evictions by all kubelets.
    count: Cell<u64>,
}

impl MachineMemory {
    pub(super) fn new(runtime: &FakeRuntime, rng: Rng, is_fair: bool, gets_low: bool) -> MachineMemory {
        let left = if gets_low || rng.chance(0.5) { TIMES_MAX } else { 0 };
        MachineMemory {
            runtime: runtime.clone(),
            rng,
            is_fair,
            is_low: Cell::new(false),
            left: Cell::new(left),
            evicted: RefCell::default(),
            count: Cell::new(0),
        }
    }

    /// Ends the pressure: from now on there is enough memory.
    pub(super) fn calm(&self) {
        self.left.set(0);
        self.is_low.set(false);
    }

    /// Returns how many pods were evicted.
    pub(super) fn count(&self) -> u64 {
        self.count.get()
    }

    /// Reads the memory for a kubelet that has just started, as long as it lives.
    pub(super) async fn watched_by(&self, kubelet: &Arc<Kubelet>, seed: u64) {
        self.evicted.borrow_mut().clear();
        let mut manager = EvictionManager::new(kubelet.clone());
        let mut ending: BTreeSet<String> = BTreeSet::new(); // ids of the containers that were evicted last
        loop {
            clock::sleep(EVERY).await;
            let running = ids(self.running().await);
            if !ending.is_empty() && ending.is_disjoint(&running) {
                self.is_low.set(false); // what they had is free
                ending.clear();
            }
            if !self.is_low.get() && self.left.get() > 0 && !running.is_empty() && self.rng.chance(GETS_LOW) {
                self.is_low.set(true);
                self.left.set(self.left.get() - 1);
            }
            let used = if self.is_low.get() { LIMIT } else { 0 };
            let (_, victim) = manager.react(&memory(LIMIT, used, LEFT)).await;
            let Some(uid) = victim else { continue };
            let (running, of_pod) = (self.running().await, self.sandboxes_of(&uid).await);
            let own = running.iter().filter(|c| of_pod.contains(&c.sandbox_id)).cloned();
            let before = std::mem::replace(&mut ending, ids(own.collect()));
            let is_alone = before.is_disjoint(&ids(running));
            assert!(is_alone || !self.is_fair, "seed {seed}: a pod is evicted while the one before runs");
            self.evicted.borrow_mut().insert(uid);
            self.count.set(self.count.get() + 1);
        }
    }

    /// Lists the pods that were evicted by the kubelet that lives, and are not over.
    pub(super) fn lost(&self, store: &Store) -> Vec<String> {
        let evicted = self.evicted.borrow();
        let pods = store.all("pods");
        let left = pods.iter().map(|pod| &pod.value).filter(|pod| evicted.contains(meta::uid(pod)));
        let runs_on = left.filter(|pod| !checks::is_over(pod));
        runs_on.map(|pod| format!("pod {}: it was evicted and is not over", meta::name(pod))).collect()
    }

    async fn running(&self) -> Vec<Container> {
        let mut all = self.runtime.list_containers().await.unwrap_or_default();
        all.retain(|c| c.state == ContainerState::Running);
        all
    }

    async fn sandboxes_of(&self, uid: &str) -> BTreeSet<String> {
        let all = self.runtime.list_pod_sandboxes().await.unwrap_or_default();
        all.into_iter().filter(|s| s.pod.uid == uid).map(|s| s.id).collect()
    }
}

fn ids(containers: Vec<Container>) -> BTreeSet<String> {
    containers.into_iter().map(|container| container.id).collect()
}
