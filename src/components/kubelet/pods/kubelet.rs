//! The parts of a kubelet: its configuration, what it watches, and what it remembers.

use super::decided_failures::DecidedFailure;
use super::measured::Measured;
use super::memory::PodMemory;
use super::removals::Removals;
use crate::admission::Admissions;
use crate::config::Config;
use crate::pressure::Pressures;
use crate::prober::Prober;
use crate::volumes::Holders;
use client::{Backoff, Informer, Key, Recorder, WorkQueue};
use k8s_openapi::api::core::v1::{Pod, Service};
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use task::Crew;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// A pod that could not be brought to where it should be is tried again after 5 ms, doubled up to
/// upstream's `backOffPeriod`. What it waits for, an object or the API server, may be there at any
/// moment, and nothing tells the kubelet of it.
pub(super) const RETRY: Backoff =
    Backoff { first: Duration::from_millis(5), longest: Duration::from_secs(10) };

/// The kubelet of one node.
pub(crate) struct Kubelet {
    pub config: Arc<Config>,
    pub(super) crew: Crew,
    pub(super) pods: Informer<Pod>,
    pub(super) services: Informer<Service>,
    pub(super) queue: WorkQueue<Key>,
    pub(super) statics: BTreeMap<Key, Arc<Pod>>,
    pub(super) memory: Mutex<HashMap<Key, PodMemory>>,
    pub(super) recorder: Recorder,
    pub(super) prober: Prober,
    /// Whether memory or disk are low.
    pub(super) pressures: watch::Sender<Pressures>,
    /// Pods that have to fail because of such a pressure, or to make room for a critical pod.
    pub(super) decided_failures: Mutex<HashMap<Key, DecidedFailure>>,
    /// Notified when the processes of a pod that has to fail have ended.
    pub(super) failing_ended: Notify,
    /// Which pods the node has taken.
    pub(super) admissions: Mutex<Admissions>,
    /// Use of the disk by pods.
    pub(super) measured: Measured,
    pub(super) removals: Removals,
    /// Which pods mount claims that one pod alone may use.
    pub(super) holders: Holders,
    /// Hooks that hold up their pod, by pod: they end when the pod shall.
    pub(super) hooks: Mutex<HashMap<Key, CancellationToken>>,
    /// Containers whose end has begun, by id, each with what is cancelled when its hook is over.
    pub(super) ending: Mutex<HashMap<String, CancellationToken>>,
    /// Pods that the API has no more, as they were last seen, until their containers have ended:
    /// one that was deleted by force still has its preStop hooks.
    pub(super) gone: Mutex<HashMap<Key, Arc<Pod>>>,
}

impl Kubelet {
    pub(super) fn new(
        crew: &Crew,
        config: &Arc<Config>,
        pods: Informer<Pod>,
        services: Informer<Service>,
        pressures: watch::Sender<Pressures>,
    ) -> Kubelet {
        let queue = WorkQueue::retrying(crew, RETRY);
        let recorder = Recorder::new(crew, &config.client, "kubelet", &config.node_name);
        Kubelet {
            config: config.clone(),
            crew: crew.clone(),
            pods,
            services,
            prober: Prober::new(config, crew, &recorder, &queue),
            queue,
            statics: config.static_pods.iter().map(|p| (Key::of(p), Arc::new(p.clone()))).collect(),
            memory: Mutex::default(),
            recorder,
            pressures,
            decided_failures: Mutex::default(),
            failing_ended: Default::default(),
            admissions: Mutex::default(),
            measured: Default::default(),
            removals: Default::default(),
            holders: Default::default(),
            hooks: Mutex::default(),
            ending: Mutex::default(),
            gone: Mutex::default(),
        }
    }

    pub(super) fn recall(&self, key: &Key, uid: &str) -> PodMemory {
        let kept = self.memories().remove(key);
        if let Some(other) = kept.as_ref().filter(|m| m.uid != uid) {
            self.prober.forget(&other.uid);
        }
        kept.filter(|m| m.uid == uid).unwrap_or_else(|| PodMemory { uid: uid.into(), ..PodMemory::default() })
    }

    pub(super) fn remember(&self, key: &Key, memory: PodMemory) {
        self.memories().insert(key.clone(), memory);
    }

    pub(super) fn memories(&self) -> MutexGuard<'_, HashMap<Key, PodMemory>> {
        self.memory.lock()
    }
}
