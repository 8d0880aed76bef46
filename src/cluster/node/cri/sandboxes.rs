//! The sandboxes that a node's `cri` has made, with what it was asked for: a component's container
//! needs its pod's log directory and address.

use cri::{Error, Event, EventKind, Result, Runtime, Sandbox, SandboxConfig};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use task::Crew;
use tokio::sync::{broadcast, oneshot};

/// Sandboxes by id. Clones are the same table.
#[derive(Clone, Default)]
pub(super) struct Sandboxes(Arc<Mutex<BTreeMap<String, (Sandbox, SandboxConfig)>>>);

impl Sandboxes {
    pub(super) fn get(&self, id: &str) -> Option<(Sandbox, SandboxConfig)> {
        self.0.lock().get(id).cloned()
    }

    pub(super) fn remove(&self, id: &str) {
        self.0.lock().remove(id);
    }

    /// Sends an event about every sandbox of this namespace, so that the kubelet looks at its pod.
    /// A pod whose container was refused has no container that an event could be about.
    pub(super) fn wake(&self, namespace: &str, events: &broadcast::Sender<Event>) {
        for (sandbox, _) in self.0.lock().values().filter(|(one, _)| one.pod.namespace == namespace) {
            let (pod, container_id) = (sandbox.pod.clone(), sandbox.id.clone());
            // It fails if no kubelet listens: the next one looks at all pods.
            let _ = events.send(Event { pod, container_id, kind: EventKind::Started });
        }
    }

    /// Makes a sandbox in a task of `crew`, and records it also if the caller stops waiting,
    /// because its kubelet was killed, for instance: the runtime finishes a sandbox in any case,
    /// and the next kubelet, which gets an event about it, goes on with it. If the node `is_off` by
    /// then, the sandbox ends at once: the fault did not find it among those that it ended.
    ///
    /// # Errors
    /// The runtime's, and `State` if the crew has ended.
    pub(super) async fn make<R: Runtime + ?Sized + 'static>(
        &self,
        runtime: Arc<R>,
        config: SandboxConfig,
        crew: &Crew,
        events: &broadcast::Sender<Event>,
        is_off: impl Fn() -> bool + Send + 'static,
    ) -> Result<Sandbox> {
        let (table, events) = (self.clone(), events.clone());
        let (answer, made) = oneshot::channel();
        let (received, is_received) = oneshot::channel::<()>();
        crew.spawn(async move {
            let made = runtime.run_pod_sandbox(config.clone()).await;
            let sandbox = made.as_ref().ok().cloned();
            if let Some(sandbox) = &sandbox {
                table.0.lock().insert(sandbox.id.clone(), (sandbox.clone(), config));
                if is_off()
                    && let Err(error) = runtime.stop_pod_sandbox(&sandbox.id).await
                {
                    tracing::warn!(%error, "a sandbox stays on a node that is off");
                }
            }
            let _ = answer.send(made); // whether the caller receives it is known below
            if let Some(sandbox) = sandbox
                && is_received.await.is_err()
            {
                let kind = EventKind::Created;
                // The only error: no kubelet listens yet.
                let _ = events.send(Event { pod: sandbox.pod, container_id: sandbox.id, kind });
            }
        });
        let made = made.await.unwrap_or_else(|_| Err(Error::State("the cluster is stopping".into())));
        let _ = received.send(()); // the task may have ended
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cri::fake::FakeRuntime;
    use cri::{PodId, SandboxState};
    use rng::Rng;
    use std::future::Future;
    use std::net::Ipv4Addr;
    use std::task::{Context, Waker};

    fn runtime() -> Arc<FakeRuntime> {
        let rng = Rng::seeded(1);
        Arc::new(FakeRuntime::new(Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 244, 0, 0), rng))
    }

    #[tokio::test]
    async fn a_sandbox_is_recorded_also_if_its_kubelet_was_killed_meanwhile() {
        let (table, crew, runtime) = (Sandboxes::default(), Crew::new("node-runtime"), runtime());
        let events = broadcast::Sender::new(8);
        let mut heard = events.subscribe();
        {
            let make = table.make(runtime.clone(), SandboxConfig::default(), &crew, &events, || false);
            let make = std::pin::pin!(make);
            assert!(make.poll(&mut Context::from_waker(Waker::noop())).is_pending());
        } // its worker is aborted here
        let event = heard.recv().await.unwrap();
        let listed = runtime.list_pod_sandboxes().await.unwrap();
        assert_eq!((event.kind, &event.container_id), (EventKind::Created, &listed[0].id));
        assert!(table.get(&listed[0].id).is_some(), "its containers can be made");
    }

    #[tokio::test]
    async fn a_sandbox_that_its_kubelet_waited_for_is_no_news() {
        let (table, crew, runtime) = (Sandboxes::default(), Crew::new("node-runtime"), runtime());
        let events = broadcast::Sender::new(8);
        let mut heard = events.subscribe();
        let made = table.make(runtime, SandboxConfig::default(), &crew, &events, || false).await.unwrap();
        assert!(table.get(&made.id).is_some());
        crew.stop().await; // its task has ended
        assert!(heard.try_recv().is_err());
        table.remove(&made.id);
        assert!(table.get(&made.id).is_none());
    }

    /// `fault node crash` while a pod starts: the sandbox is made when the fault has looked already
    /// for those that it ends.
    #[tokio::test]
    async fn a_sandbox_that_is_made_on_a_node_that_is_off_ends() {
        let (table, crew, runtime) = (Sandboxes::default(), Crew::new("node-runtime"), runtime());
        let events = broadcast::Sender::new(8);
        for (is_off, state) in [(true, SandboxState::NotReady), (false, SandboxState::Ready)] {
            let uid = format!("{is_off}");
            let pod = PodId { namespace: "default".into(), name: uid.clone(), uid };
            let config = SandboxConfig { pod, ..SandboxConfig::default() };
            let made = table.make(runtime.clone(), config, &crew, &events, move || is_off).await.unwrap();
            let listed = runtime.list_pod_sandboxes().await.unwrap();
            let found = listed.iter().find(|sandbox| sandbox.id == made.id).unwrap();
            assert_eq!(found.state, state, "off: {is_off}");
        }
    }

    /// `fault stop coredns`, and a pod of it that was made meanwhile: it has a sandbox and no
    /// container. Without an event the kubelet would look at it when it tries again, after seconds.
    #[tokio::test]
    async fn a_pod_whose_container_was_refused_is_looked_at_when_it_may_run() {
        let (table, crew, runtime) = (Sandboxes::default(), Crew::new("node-runtime"), runtime());
        let events = broadcast::Sender::new(8);
        for (namespace, name) in [("kube-system", "coredns-1"), ("default", "web"), ("kube-system", "gone")] {
            let pod = PodId { namespace: namespace.into(), name: name.into(), uid: name.into() };
            let config = SandboxConfig { pod, ..SandboxConfig::default() };
            let made = table.make(runtime.clone(), config, &crew, &events, || false).await.unwrap();
            if name == "gone" {
                table.remove(&made.id);
            }
        }
        crew.stop().await; // its tasks have ended
        let mut heard = events.subscribe();
        table.wake("kube-system", &events);
        assert_eq!(heard.try_recv().unwrap().pod.name, "coredns-1");
        assert!(heard.try_recv().is_err());
    }
}
