//! When Events may tell once more that the same step of a pod fails.
//!
//! What fails is tried again within milliseconds ([`RETRY`](super::kubelet::RETRY)), since nothing
//! tells the kubelet that it would succeed by now. Events come less often: an object may have 25 of
//! a type at once and then one in five minutes (`client::Recorder`), and those of the try that
//! succeeds have to be among them. So they come as often as upstream's, whose tries are rarer.

use std::collections::BTreeMap;
use std::time::Duration;

/// The pause between two Events about a sandbox or a container. Upstream tries a pod again after
/// this time and writes an Event of each try: `backOffPeriod`.
const EACH_TRY: Duration = Duration::from_secs(10);
/// The first pause between two Events about a volume, doubled each time, and the longest one: as
/// long as upstream waits between its tries. Source: `pkg/util/goroutinemap/exponentialbackoff`.
const OF_VOLUME: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(122));

/// A step of one pod that fails.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FailedStep {
    /// The sandbox cannot be made.
    Sandbox,
    /// A container, by its name, cannot be started.
    Start(String),
    /// A volume, by its name, cannot be made or brought up to date.
    Volume(String),
}

/// When an Event last told of each failure, and after which time one may again. In real time, as
/// the tries are.
#[derive(Default)]
pub(super) struct FailureEvents(BTreeMap<FailedStep, (clock::Instant, Duration)>);

impl FailureEvents {
    /// Returns whether Events may tell of it now.
    pub(super) fn is_due(&self, what: &FailedStep) -> bool {
        self.0.get(what).is_none_or(|(at, pause)| at.elapsed() >= *pause)
    }

    /// Notes that Events tell of it now.
    pub(super) fn note(&mut self, what: FailedStep) {
        let pause = match (&what, self.0.get(&what)) {
            (FailedStep::Volume(_), Some((_, before))) => (*before * 2).min(OF_VOLUME.1),
            (FailedStep::Volume(_), None) => OF_VOLUME.0,
            (FailedStep::Sandbox | FailedStep::Start(_), _) => EACH_TRY,
        };
        self.0.insert(what, (clock::Instant::now(), pause));
    }

    /// Returns whether Events may tell of it now, and notes that they do.
    pub(super) fn note_if_due(&mut self, what: FailedStep) -> bool {
        let is_due = self.is_due(&what);
        if is_due {
            self.note(what);
        }
        is_due
    }

    /// Forgets failures that are over: the next time Events tell of them at once.
    pub(super) fn retain(&mut self, goes_on: impl Fn(&FailedStep) -> bool) {
        self.0.retain(|what, _| goes_on(what));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds, of `within`, at which Events tell of a failure that is tried ten times a second.
    async fn seconds(what: FailedStep, within: u64) -> Vec<f64> {
        let (mut events, mut at) = (FailureEvents::default(), vec![]);
        for tenth in 0..within * 10 {
            if events.note_if_due(what.clone()) {
                at.push(tenth as f64 / 10.0);
            }
            clock::pause(Duration::from_millis(100)).await;
        }
        at
    }

    #[tokio::test(start_paused = true)]
    async fn events_tell_of_a_failure_that_stays_now_and_then() {
        let volume = || FailedStep::Volume("v".into());
        assert_eq!(seconds(volume(), 16).await, [0.0, 0.5, 1.5, 3.5, 7.5, 15.5]);
        assert!(seconds(volume(), 1000).await.len() < 20, "an object has 25 Events");
        assert_eq!(seconds(FailedStep::Start("a".into()), 21).await, [0.0, 10.0, 20.0]);
        let mut events = FailureEvents::default();
        assert!(events.note_if_due(volume()) && events.note_if_due(FailedStep::Sandbox), "each for itself");
        events.retain(|what| *what == FailedStep::Sandbox);
        assert!(events.is_due(&volume()) && !events.is_due(&FailedStep::Sandbox));
    }
}
