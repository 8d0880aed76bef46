//! The kubelet's memory of a pod between two looks.

use super::failure_events::{FailedStep, FailureEvents};
use crate::back_off::Backoffs;
use crate::container::Volumes;
use crate::container_status::Waiting;
use crate::specs;
use cri::{Container, ContainerState, Sandbox, SandboxState};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

/// The shortest pause between two Events that say that the same container backs off.
const BACK_OFF_EVENT: Duration = Duration::from_secs(10);

/// A pod's labels and annotations.
pub(super) type Called = (Option<BTreeMap<String, String>>, Option<BTreeMap<String, String>>);

/// The kubelet's memory of a pod between two looks. A kubelet that starts anew has none: pauses and
/// Events of failures begin anew.
#[derive(Default)]
pub(super) struct PodMemory {
    pub uid: String,
    pub backoffs: Backoffs,
    pub waiting: Waiting,
    /// Image → (pause, since when, the message).
    pub pulls: BTreeMap<String, (Duration, clock::Instant, String)>,
    /// The places of the pod's volumes on the node. Each is here from the moment it was made.
    pub volumes: Volumes,
    /// The volumes were made just now, before the pod's sandbox was.
    pub just_mounted: bool,
    /// No API server answered in time when the pod's volumes were looked at last.
    pub is_cut_off: bool,
    /// Container → its variables as they were read last, if they come from ConfigMaps or Secrets.
    pub variables: BTreeMap<String, Vec<(String, String)>>,
    /// Container id → when it will be killed.
    pub stopping: HashMap<String, clock::Instant>,
    /// Ids of containers that were ended for another image, or because their sandbox was lost, and
    /// that start again with whatever code they ended.
    pub replaced: HashSet<String>,
    /// Ids of containers that were ended for a probe.
    pub given_up: HashSet<String>,
    /// When the last container of a deleted pod has to have ended.
    pub ends_by: Option<clock::Instant>,
    /// The last status written, with the revision that wrote it.
    pub written: Option<(u64, PodStatus)>,
    /// When the pod's volumes were looked at last, and its labels and annotations then: a volume
    /// may show these.
    pub refreshed: Option<(clock::Instant, Called)>,
    /// The pod's volumes were removed because it has ended.
    pub volumes_gone: bool,
    /// Ids of containers whose postStart hook failed: they are being ended, and neither ready nor
    /// started until then.
    pub post_start_failed: HashSet<String>,
    /// Ids of sandboxes that were stopped: nothing of them is left to take down.
    pub stopped: HashSet<String>,
    /// The node has taken the pod. It may run although no API server has taken the report of its
    /// start.
    pub is_admitted: bool,
    /// An Event says why the pod has to fail. The status that says so may have to be written again.
    pub has_failure_event: bool,
    /// When an Event about a back-off was last written, by container.
    pub back_off_events: BTreeMap<String, clock::Instant>,
    /// The failures that Events have told of, and when they may again.
    pub failure_events: FailureEvents,
}

pub(super) fn revision_of(pod: &Pod) -> u64 {
    pod.metadata.resource_version.as_deref().and_then(|r| r.parse().ok()).unwrap_or(0)
}

impl PodMemory {
    /// Returns the pod with the newest status that is known: the one that this kubelet wrote last,
    /// as long as the informer has not seen it, else the informer's. In that may be what others
    /// wrote since, a readiness gate's condition for example.
    pub(super) fn with_newest_status(&self, pod: &Pod) -> Pod {
        let mut pod = pod.clone();
        if let Some((revision, written)) = &self.written
            && revision_of(&pod) < *revision
        {
            pod.status = Some(written.clone());
        }
        pod
    }

    /// Returns the sandboxes of a pod that is over which have still to be stopped. One whose pause
    /// process has ended by itself is not ready, but has its address, its control group and its
    /// mount until it is stopped:
    ///
    /// ```text
    /// ready                                  to stop
    /// not ready, stopped by this kubelet     done
    /// not ready, otherwise                   to stop: to stop it again does no harm
    /// ```
    pub(super) fn to_stop<'a>(&self, sandboxes: &'a [Sandbox]) -> Vec<&'a Sandbox> {
        let is_up = |s: &&Sandbox| s.state == SandboxState::Ready || !self.stopped.contains(&s.id);
        sandboxes.iter().filter(is_up).collect()
    }

    /// Returns the pauses of containers before their next restart. One that was ended for a probe
    /// restarts at once if it did not end sooner than a pause after the attempt before: upstream
    /// ends and starts it in one step, with the end of the attempt before in mind (`doBackOff` in
    /// `SyncPod`).
    ///
    /// ```text
    /// ended for its probe each 30 s    restarts at once 4 times; then the pause of 40 s counts
    /// crashes each 30 s                restarts at once, after 10 s, after 20 s, after 40 s
    /// ```
    pub(super) fn pauses(&self, containers: &[Container]) -> Backoffs {
        let mut pauses = self.backoffs.clone();
        for ended in containers.iter().filter(|c| self.given_up.contains(&c.id)) {
            let all: Vec<&Container> = containers.iter().filter(|c| c.name == ended.name).collect();
            if all.iter().any(|c| c.attempt > ended.attempt) {
                continue; // it has restarted
            }
            let before =
                all.iter().filter(|c| c.attempt < ended.attempt && c.state == ContainerState::Exited);
            let before = before.max_by_key(|c| c.attempt).and_then(|c| c.finished_at);
            let pause = pauses.get(&ended.name).copied().unwrap_or_default();
            let late = |(from, to): (clock::Timestamp, clock::Timestamp)| clock::passed(from, to) >= pause;
            if before.zip(ended.finished_at).is_none_or(late) {
                pauses.remove(&ended.name);
            }
        }
        pauses
    }

    /// Notes why a container waits for its start. Returns whether Events tell of it: of another
    /// reason or message at once, of the same ones now and then.
    pub(super) fn note_waiting(&mut self, container: &str, reason: &str, message: &str) -> bool {
        let what = FailedStep::Start(container.into());
        let shown = (reason.to_string(), message.to_string());
        let is_other = self.waiting.get(container) != Some(&shown);
        self.waiting.insert(container.into(), shown);
        let tells = is_other || self.failure_events.is_due(&what);
        if tells {
            self.failure_events.note(what);
        }
        tells
    }

    /// Forgets the pulls of images that the pod does not name any more.
    pub(super) fn forget_pulls(&mut self, pod: &Pod) {
        let extra = specs::ephemeral(pod);
        let own = pod.spec.iter().flat_map(|s| s.containers.iter().chain(s.init_containers.iter().flatten()));
        let images: BTreeSet<&str> = own.chain(&extra).filter_map(|c| c.image.as_deref()).collect();
        self.pulls.retain(|image, _| images.contains(image.as_str()));
    }

    /// Returns whether an Event may say now that this container backs off, and notes that one does.
    /// The pod is looked at whenever anything of it changes; Events are rarer ([`BACK_OFF_EVENT`]).
    pub(super) fn note_back_off_event_if_due(&mut self, container: &str) -> bool {
        let now = clock::Instant::now();
        let last = self.back_off_events.get(container);
        let is_due = last.is_none_or(|at| clock::passed(*at, now) >= BACK_OFF_EVENT);
        if is_due {
            self.back_off_events.insert(container.into(), now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_container_that_a_probe_gave_up_late_restarts_without_a_pause() {
        let ended = |attempt: u32, at: i64| {
            let made = crate::decide::tests::container("a", attempt, ContainerState::Exited, 137);
            Container { finished_at: clock::Timestamp::from_second(at).ok(), ..made }
        };
        let waits = |given_up: &[&str], containers: &[Container]| {
            let memory = PodMemory {
                backoffs: [("a".to_string(), Duration::from_secs(20))].into(),
                given_up: given_up.iter().map(|id| (*id).to_string()).collect(),
                ..PodMemory::default()
            };
            memory.pauses(containers).contains_key("a")
        };
        let (late, soon) = ([ended(0, 100), ended(1, 130)], [ended(0, 100), ended(1, 110)]);
        assert!(!waits(&["a-1"], &late));
        assert!(waits(&["a-1"], &soon));
        assert!(waits(&[], &late), "it crashed");
        assert!(waits(&["a-0"], &late), "the attempt after it crashed");
    }

    #[test]
    fn what_others_wrote_after_this_kubelet_is_seen_and_what_came_before_is_not() {
        let pod = |revision: &str, gate: Option<&str>| -> Pod {
            let gate = gate.map(|status| json!({"type": "example.com/gate", "status": status}));
            let conditions: Vec<_> = gate.into_iter().collect();
            serde_json::from_value(json!({
                "metadata": {"name": "p", "resourceVersion": revision}, "status": {"conditions": conditions},
            }))
            .unwrap()
        };
        let memory = PodMemory { written: Some((10, PodStatus::default())), ..PodMemory::default() };
        let gate = |known: &Pod| memory.with_newest_status(known).status.unwrap().conditions.map(|c| c.len());
        assert_eq!(gate(&pod("9", Some("True"))), None, "the informer is behind");
        assert_eq!(gate(&pod("10", None)), Some(0));
        assert_eq!(gate(&pod("11", Some("True"))), Some(1), "the gate was opened after the last write");
    }

    #[test]
    fn the_sandboxes_of_an_ended_pod_are_stopped_until_this_kubelet_has_done_it() {
        let of = |id: &str, state| crate::decide::tests::sandbox(id, 0, state);
        let all = [
            of("up", SandboxState::Ready),
            of("ended", SandboxState::NotReady),
            of("stopped", SandboxState::NotReady),
        ];
        let stopped = ["up".to_string(), "stopped".to_string()].into();
        let memory = PodMemory { stopped, ..PodMemory::default() };
        let left: Vec<&str> = memory.to_stop(&all).into_iter().map(|sandbox| sandbox.id.as_str()).collect();
        assert_eq!(left, ["up", "ended"], "one that is up was started anew");
    }

    #[test]
    fn pulls_of_images_that_the_pod_names_no_more_are_forgotten() {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "initContainers": [{"name": "i", "image": "init"}],
            "containers": [{"name": "a", "image": "main"}],
            "ephemeralContainers": [{"name": "e", "image": "debug"}],
        }}))
        .unwrap();
        let mut memory = PodMemory::default();
        for image in ["debug", "init", "main", "of before"] {
            memory.pulls.insert(image.into(), (Duration::ZERO, clock::Instant::now(), String::new()));
        }
        memory.forget_pulls(&pod);
        assert_eq!(memory.pulls.into_keys().collect::<Vec<_>>(), ["debug", "init", "main"]);
    }
}
