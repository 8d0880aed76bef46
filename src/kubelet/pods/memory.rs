//! What the kubelet remembers about a pod between two looks.

use super::Kubelet;
use crate::client::Key;
use crate::clock::{self, Timestamp};
use crate::kubelet::decide::Backoffs;
use crate::kubelet::status::Waiting;
use k8s_openapi::api::core::v1::PodStatus;
use std::collections::{BTreeMap, HashMap};
use std::sync::MutexGuard;
use std::time::Duration;

/// A back-off is told by an Event this often, at most.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// A pod's labels and annotations.
pub type Called = (Option<BTreeMap<String, String>>, Option<BTreeMap<String, String>>);

/// What the kubelet remembers about a pod between two looks. Losing it costs nothing but patience.
#[derive(Default)]
pub struct Memory {
    pub uid: String,
    pub backoffs: Backoffs,
    pub waiting: Waiting,
    /// Container → (pause, until when, the message).
    pub pulls: BTreeMap<String, (Duration, Timestamp, String)>,
    /// Container id → when it will be killed.
    pub stopping: HashMap<String, clock::Instant>,
    /// When the last container of a deleted pod has to have ended.
    pub ends_by: Option<clock::Instant>,
    /// The last status written, with the revision that wrote it.
    pub written: Option<(u64, PodStatus)>,
    /// When its volumes were looked at last, and what the pod was called then: a volume may show that.
    pub refreshed: Option<(clock::Instant, Called)>,
    /// Its volumes were removed because it has ended.
    pub volumes_gone: bool,
    /// When its use of the disk was measured last.
    pub measured: Option<clock::Instant>,
    /// When a back-off was last told by an Event, by container.
    pub told: BTreeMap<String, clock::Instant>,
}

impl Memory {
    /// Is it time to tell again that this container backs off? Looks come as often as anything changes; Events should not.
    pub fn tell_again(&mut self, container: &str) -> bool {
        let due = self.told.get(container).is_none_or(|at| at.elapsed() >= clock::scaled(TELL_EVERY));
        if due {
            self.told.insert(container.into(), clock::Instant::now());
        }
        due
    }
}

impl Kubelet {
    pub(super) fn recall(&self, key: &Key, uid: &str) -> Memory {
        let kept = self.memories().remove(key);
        if let Some(other) = kept.as_ref().filter(|m| m.uid != uid) {
            self.prober.forget(&other.uid);
        }
        kept.filter(|m| m.uid == uid).unwrap_or_else(|| Memory { uid: uid.into(), ..Memory::default() })
    }

    pub(super) fn remember(&self, key: &Key, memory: Memory) {
        self.memories().insert(key.clone(), memory);
    }

    pub(super) fn memories(&self) -> MutexGuard<'_, HashMap<Key, Memory>> {
        self.memory.lock().unwrap_or_else(|e| e.into_inner())
    }
}
