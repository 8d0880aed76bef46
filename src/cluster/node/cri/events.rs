//! The events of a node's runtime on their way to its kubelet.

use cri::{Event, EventKind, Runtime};
use std::sync::Weak;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender};

/// Relays the events of a runtime until it ends. After lost ones each sandbox gets an event: the
/// kubelet syncs the pods that events name, and no periodic relist would find a container that
/// ended unheard.
pub(super) async fn relay<R: Runtime + ?Sized>(
    mut from: Receiver<Event>,
    to: Sender<Event>,
    runtime: Weak<R>,
) {
    loop {
        match from.recv().await {
            Ok(event) => drop(to.send(event)), // the only error is that there is no receiver
            Err(RecvError::Lagged(lost)) => {
                tracing::warn!(lost, "events of the runtime were lost; the kubelet looks at every pod");
                let Some(runtime) = runtime.upgrade() else { return };
                // A node's runtime lists from memory, which does not fail.
                for sandbox in runtime.list_pod_sandboxes().await.unwrap_or_default() {
                    let kind = EventKind::Started;
                    let _ = to.send(Event { pod: sandbox.pod, container_id: sandbox.id, kind }); // as above
                }
            }
            Err(RecvError::Closed) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cri::fake::FakeRuntime;
    use cri::{PodId, SandboxConfig};
    use rng::Rng;
    use std::net::Ipv4Addr;
    use std::sync::Arc;

    fn pod(name: &str) -> PodId {
        PodId { name: name.into(), uid: name.into(), ..PodId::default() }
    }

    #[tokio::test]
    async fn after_lost_events_every_sandbox_gets_one() {
        let (node, pods) = (Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 244, 0, 0));
        let runtime = Arc::new(FakeRuntime::new(node, pods, Rng::seeded(1)));
        for name in ["a", "b"] {
            let config = SandboxConfig { pod: pod(name), ..SandboxConfig::default() };
            runtime.run_pod_sandbox(config).await.unwrap();
        }
        let (from, to) = (Sender::new(2), Sender::new(8));
        let (events, mut relayed) = (from.subscribe(), to.subscribe());
        for name in ["a", "b", "b", "b"] {
            let event = Event { pod: pod(name), container_id: "c".into(), kind: EventKind::Stopped };
            from.send(event).unwrap();
        }
        drop(from);
        relay(events, to, Arc::downgrade(&runtime)).await;
        let mut received = Vec::new();
        while let Ok(event) = relayed.try_recv() {
            received.push((event.kind, event.pod.name));
        }
        received[..2].sort_by(|a, b| a.1.cmp(&b.1)); // sandboxes are listed in any order
        let of = |kind, name: &str| (kind, name.to_string());
        let (started, stopped) = (EventKind::Started, EventKind::Stopped);
        assert_eq!(received, [of(started, "a"), of(started, "b"), of(stopped, "b"), of(stopped, "b")]);
    }
}
