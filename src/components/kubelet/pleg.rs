//! The pod lifecycle event generator, PLEG: tells the pod workers which pods have changed in the
//! runtime.
//!
//! Two ways, as upstream's evented PLEG:
//!
//! ```text
//! an event of the runtime    container of web-1 has stopped    web-1 is looked at
//! relisting                  sandboxes of web-1 and old-7      both are looked at
//! ```
//!
//! Events come at once, but the runtime keeps only so many: a kubelet that is too slow misses some,
//! and one that has just started has heard none. Then it relists: it asks for all sandboxes. In the
//! example `old-7` was deleted from the API while this kubelet was down, and only relisting shows
//! that it still runs. Upstream's generic PLEG relists each second; here events do that.
//! Upstream: `pkg/kubelet/pleg`.

use super::config::Config;
use client::{Backoff, Key};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

/// A change in the runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PodLifecycleEvent {
    /// Something happened to a sandbox or container of this pod.
    Changed(Key),
    /// Events were missed: every pod may have changed.
    Missed,
}

/// The events of the runtime, as pods to look at.
pub(crate) struct Pleg(Receiver<cri::Event>);

impl Pleg {
    /// Subscribes to the runtime's events: those from now on.
    pub(crate) fn subscribe(config: &Config) -> Pleg {
        Pleg(config.runtime.events())
    }

    /// Waits for the next event. `None`: the runtime sends no more.
    pub(crate) async fn next(&mut self) -> Option<PodLifecycleEvent> {
        match self.0.recv().await {
            Ok(event) => {
                let pod = Key::new(event.pod.namespace, event.pod.name);
                Some(PodLifecycleEvent::Changed(pod))
            }
            Err(RecvError::Lagged(_)) => Some(PodLifecycleEvent::Missed),
            Err(RecvError::Closed) => None,
        }
    }
}

/// Lists the pods of all sandboxes that the runtime has. It asks until the runtime answers, with
/// pauses of `retry`: nothing else would bring back the sandbox of a pod that is gone.
pub(crate) async fn relist(config: &Config, retry: Backoff) -> Vec<Key> {
    let mut pause = retry.first;
    loop {
        match config.runtime.list_pod_sandboxes().await {
            Ok(sandboxes) => {
                let key = |sandbox: cri::Sandbox| Key::new(sandbox.pod.namespace, sandbox.pod.name);
                return sandboxes.into_iter().map(key).collect();
            }
            Err(error) => {
                tracing::warn!(
                    node = config.node_name,
                    error = error.line(),
                    "no list of sandboxes, trying again"
                );
            }
        }
        clock::pause(pause).await;
        pause = (pause * 2).min(retry.longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cri::{Event, EventKind, PodId};
    use tokio::sync::broadcast;

    fn event(name: &str) -> Event {
        let pod = PodId { namespace: "d".into(), name: name.into(), ..PodId::default() };
        Event { pod, container_id: "c".into(), kind: EventKind::Stopped }
    }

    #[tokio::test]
    async fn a_pleg_that_is_too_slow_says_that_it_missed_events() {
        let (runtime, events) = broadcast::channel(2);
        let mut pleg = Pleg(events);
        for name in ["a", "b", "c"] {
            runtime.send(event(name)).unwrap();
        }
        drop(runtime);
        let mut heard = Vec::new();
        while let Some(event) = pleg.next().await {
            heard.push(event);
        }
        let changed = |name| PodLifecycleEvent::Changed(Key::new("d", name));
        assert_eq!(heard, [PodLifecycleEvent::Missed, changed("b"), changed("c")]);
    }
}
