//! The `cri` of a node: containers of components are tasks, all others are processes.

use crate::components::images::{PREFIX, component_of, image_id};
use crate::components::{self, manifests};
use crate::logs;
use crate::spec::NodeSpec;
use crate::world::World;
use async_trait::async_trait;
use cni::NodeNetwork;
use cri::{
    Container, ContainerConfig, ContainerState, Error, Event, EventKind, ExecRequest, Image, PodId, Result,
    Runtime, Sandbox, SandboxConfig, Session, Stats, Stream,
};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::{Mutex, MutexGuard};
use runtime::NodeRuntime;
use runtime::log::{self, Log};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use task::{Crew, End};
use tokio::sync::broadcast;

mod component;
mod events;
mod faults;
mod sandboxes;

use component::{Component, LogFile, claim, note_end, note_start, remove_components};
use sandboxes::Sandboxes;

/// Events that a kubelet may lag behind before it hears that it lost some.
const EVENTS: usize = 1024;

/// The namespace of all pods that run components: static pods and addons.
const NAMESPACE: &str = "kube-system";

/// The node's runtime as its kubelet sees it.
pub(crate) struct NodeCri {
    /// Itself, for the task that waits for the end of a component.
    own: Weak<NodeCri>,
    node: NodeSpec,
    world: Weak<World>,
    inner: Arc<NodeRuntime>,
    network: Arc<dyn NodeNetwork>,
    components: Mutex<BTreeMap<String, Component>>,
    sandboxes: Sandboxes,
    events: broadcast::Sender<Event>,
    /// Watches for the ends of components, relays the inner runtime's events, and makes sandboxes.
    crew: Crew,
}

impl NodeCri {
    /// Puts the runtime of one node together: `inner` runs ordinary containers, `world` the
    /// components of the cluster. Relays the events of `inner` from now on.
    pub(crate) fn new(
        node: NodeSpec,
        world: &Arc<World>,
        inner: Arc<NodeRuntime>,
        network: Arc<dyn NodeNetwork>,
    ) -> Arc<NodeCri> {
        let cri = Arc::new_cyclic(|own| NodeCri {
            own: own.clone(),
            crew: Crew::new("node-runtime"),
            node,
            world: Arc::downgrade(world),
            network,
            components: Mutex::default(),
            sandboxes: Sandboxes::default(),
            events: broadcast::Sender::new(EVENTS),
            inner,
        });
        let (from, to) = (cri.inner.events(), cri.events.clone());
        cri.crew.spawn(events::relay(from, to, Arc::downgrade(&cri.inner)));
        cri
    }

    fn components(&self) -> MutexGuard<'_, BTreeMap<String, Component>> {
        self.components.lock()
    }

    /// Sends an event to the node's kubelet, if one listens.
    fn send_event(&self, pod: &PodId, container: &str, kind: EventKind) {
        let event = Event { pod: pod.clone(), container_id: container.into(), kind };
        let _ = self.events.send(event);
    }

    /// Logs an error of a component, notes its end, and sends the event of it.
    fn note_component_end(&self, id: &str, end: &End) {
        if let End::Done(Err(message)) | End::Panicked(message) = end {
            logs::span(id)
                .in_scope(|| tracing::error!(target: "ropewalk::component", error = message, "ended"));
        }
        let pod = note_end(&mut self.components(), id, end);
        if let Some(pod) = pod {
            self.send_event(&pod, id, EventKind::Stopped);
        }
    }

    /// Checks that this pod may run this component here.
    ///
    /// # Errors
    /// [`Error::Reserved`] for any pod but the node's own static pod of that component, and for an
    /// addon outside of `kube-system`.
    fn admit(&self, world: &World, pod: &PodId, image: &str) -> Result<()> {
        let own = match self.node.control_plane {
            true => manifests::static_pods(world, &self.node.name, self.node.index),
            false => vec![],
        };
        match may_run(&own, pod, image) {
            true => Ok(()),
            false => {
                let component = component_of(image).unwrap_or_default().into();
                Err(Error::Reserved { image: image.into(), component })
            }
        }
    }

    fn is_component(&self, id: &str) -> bool {
        self.components().contains_key(id)
    }
}

/// Returns whether a pod may run a component of the cluster. A control-plane component belongs to
/// one static pod of the node, which is known by namespace, name and uid: the kubelet never takes
/// those from the API. An addon belongs to `kube-system`. Owner references would not make that any
/// safer: a user who may create a pod may write them, too.
fn may_run(static_pods: &[Pod], pod: &PodId, image: &str) -> bool {
    let Some(component) = component_of(image) else { return true };
    if components::ADDONS.contains(&component) {
        return pod.namespace == NAMESPACE;
    }
    static_pods.iter().any(|own| {
        let meta = &own.metadata;
        let images = own.spec.iter().flat_map(|s| &s.containers).filter_map(|c| c.image.as_deref());
        meta.namespace.as_deref() == Some(pod.namespace.as_str())
            && meta.name.as_deref() == Some(pod.name.as_str())
            && meta.uid.as_deref() == Some(pod.uid.as_str())
            && images.into_iter().any(|own| component_of(own) == Some(component))
    })
}

const IN_PROCESS: &str = "this container is a component that runs inside the ropewalk process";

/// Says why `kubectl exec` finds nothing to run. In etcd's pod of a kubeadm cluster it is how
/// people reach `etcdctl`.
fn no_program(image: &str) -> String {
    let instead =
        if component_of(image) == Some("etcd") { "; `ropewalk etcdctl` asks the store" } else { "" };
    format!("{IN_PROCESS}: there is no program to exec{instead}")
}

#[async_trait]
impl Runtime for NodeCri {
    fn version(&self) -> String {
        self.inner.version()
    }

    async fn run_pod_sandbox(&self, config: SandboxConfig) -> Result<Sandbox> {
        let (world, node) = (self.world.clone(), self.node.name.clone());
        let is_off = move || world.upgrade().is_some_and(|world| world.faults.is_off(&node));
        self.sandboxes.make(self.inner.clone(), config, &self.crew, &self.events, is_off).await
    }

    async fn stop_pod_sandbox(&self, id: &str) -> Result<()> {
        let crews: Vec<Crew> = self
            .components()
            .values()
            .filter(|c| c.sandbox_id == id)
            .filter_map(|c| c.crew.clone())
            .collect();
        for crew in crews {
            crew.kill();
            crew.wait().await;
        }
        self.inner.stop_pod_sandbox(id).await
    }

    async fn remove_pod_sandbox(&self, id: &str) -> Result<()> {
        for component in remove_components(&self.components, |c| c.sandbox_id == id).await {
            self.send_event(&component.pod, &component.id, EventKind::Deleted);
        }
        self.sandboxes.remove(id);
        self.inner.remove_pod_sandbox(id).await
    }

    async fn list_pod_sandboxes(&self) -> Result<Vec<Sandbox>> {
        self.inner.list_pod_sandboxes().await
    }

    async fn list_pod_sandbox_stats(&self) -> Result<BTreeMap<String, Stats>> {
        self.inner.list_pod_sandbox_stats().await
    }

    async fn create_container(&self, sandbox_id: &str, config: ContainerConfig) -> Result<String> {
        if component_of(&config.image).is_none() {
            return self.inner.create_container(sandbox_id, config).await;
        }
        let Some((sandbox, its)) = self.sandboxes.get(sandbox_id) else {
            return Err(Error::NotFound(format!("sandbox {sandbox_id}")));
        };
        let world = self.world.upgrade().ok_or_else(|| Error::State("the cluster is stopping".into()))?;
        self.admit(&world, &sandbox.pod, &config.image)?;
        self.refuse_held(&world, &config.image)?;
        let id = format!("{}{}", world.rng.uuid().replace('-', ""), world.rng.uuid().replace('-', ""));
        let component = Component {
            id: id.clone(),
            sandbox_id: sandbox_id.into(),
            pod: sandbox.pod.clone(),
            log: LogFile { path: its.log_directory.join(&config.log_path), limits: its.logs },
            config,
            created_at: clock::now(),
            started_at: None,
            finished_at: None,
            state: ContainerState::Created,
            exit_code: 0,
            reason: "",
            message: String::new(),
            crew: None,
        };
        self.components().insert(id.clone(), component);
        self.send_event(&sandbox.pod, &id, EventKind::Created);
        Ok(id)
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        if !self.is_component(id) {
            return self.inner.start_container(id).await;
        }
        let found = self
            .components()
            .get(id)
            .map(|c| (c.sandbox_id.clone(), c.config.image.clone(), c.pod.clone(), c.log.clone()));
        let Some((sandbox_id, image, pod, log)) = found else { return Err(Error::NotFound(id.into())) };
        let sandbox = self.sandboxes.get(&sandbox_id).map(|(sandbox, _)| sandbox);
        let world = self.world.upgrade().ok_or_else(|| Error::State("the cluster is stopping".into()))?;
        if world.faults.is_off(&self.node.name) {
            return Err(Error::State(format!("{} is switched off", self.node.name)));
        }
        self.refuse_held(&world, &image)?;
        let claimed = claim(&mut self.components(), id, &self.node.name);
        let admitted = match claimed {
            // One that was started before goes on as it is.
            Err(Error::NotFound(_) | Error::State(_)) => return claimed,
            claimed => claimed.and_then(|()| self.admit(&world, &pod, &image)),
        };
        if let Err(error) = admitted {
            self.note_component_end(id, &End::Done(Err(error.to_string())));
            return Err(error);
        }
        match Log::open(&log.path, log.limits) {
            Ok(opened) => logs::open(id, opened),
            Err(cause) => {
                let error = Error::Io { what: format!("cannot open {}", log.path.display()), cause };
                self.note_component_end(id, &End::Done(Err(error.to_string())));
                return Err(error);
            }
        }
        let place = components::Location {
            node: self.node.name.clone(),
            network: self.network.clone(),
            netns: self.inner.network_of(&sandbox_id),
            ip: sandbox.and_then(|s| s.ip).unwrap_or_else(|| self.network.node_ip()),
        };
        let name = component_of(&image).unwrap_or_default().to_string();
        let started = logs::span(id).in_scope(|| components::start(&world, &name, place));
        let crew = match started {
            Ok(crew) => crew,
            Err(message) => {
                self.note_component_end(id, &End::Done(Err(message.clone())));
                return Err(Error::Start(message));
            }
        };
        let is_there = note_start(&mut self.components(), id, &crew);
        if !is_there {
            log::remove(&log.path, log.limits); // its container was removed meanwhile
        }
        // The container may have been removed meanwhile, by the kubelet that followed one that was
        // killed. And a fault that switched the node off, or stopped the component, has not found
        // this crew.
        if !is_there || world.faults.is_off(&self.node.name) || self.refuse_held(&world, &image).is_err() {
            crew.kill();
        }
        self.send_event(&pod, id, EventKind::Started);
        if let Some(cri) = self.own.upgrade() {
            let id = id.to_string();
            self.crew.spawn(async move {
                let end = crew.wait().await;
                crew.kill(); // helpers that outlived the main task
                cri.note_component_end(&id, &end);
            });
        }
        Ok(())
    }

    async fn stop_container(&self, id: &str, grace: Duration) -> Result<()> {
        if !self.is_component(id) {
            return self.inner.stop_container(id, grace).await;
        }
        let crew = self.components().get(id).and_then(|c| c.crew.clone());
        if let Some(crew) = crew {
            if tokio::time::timeout(grace, crew.stop()).await.is_err() {
                crew.kill();
            }
            crew.wait().await;
        }
        Ok(())
    }

    async fn remove_container(&self, id: &str) -> Result<()> {
        if !self.is_component(id) {
            return self.inner.remove_container(id).await;
        }
        for component in remove_components(&self.components, |c| c.id == id).await {
            self.send_event(&component.pod, id, EventKind::Deleted);
        }
        Ok(())
    }

    async fn list_containers(&self) -> Result<Vec<Container>> {
        let mut all = self.inner.list_containers().await?;
        all.extend(self.components().values().map(Component::describe));
        Ok(all)
    }

    async fn container_status(&self, id: &str) -> Result<Container> {
        let own = self.components().get(id).map(Component::describe);
        match own {
            Some(container) => Ok(container),
            None => self.inner.container_status(id).await,
        }
    }

    /// Returns the figures of all containers but components: they are tasks of one process, which
    /// has one use for all of them.
    async fn list_container_stats(&self) -> Result<BTreeMap<String, Stats>> {
        self.inner.list_container_stats().await
    }

    async fn exec(&self, request: ExecRequest) -> Result<Session> {
        let image = self.components().get(&request.container_id).map(|c| c.config.image.clone());
        match image {
            Some(image) => Err(Error::Start(no_program(&image))),
            None => self.inner.exec(request).await,
        }
    }

    async fn attach(&self, container_id: &str, stdin: bool) -> Result<Session> {
        match self.is_component(container_id) {
            true => Err(Error::Start(format!("{IN_PROCESS}: there is nothing to attach to"))),
            false => self.inner.attach(container_id, stdin).await,
        }
    }

    async fn port_forward(&self, sandbox_id: &str, port: u16) -> Result<Box<dyn Stream>> {
        self.inner.port_forward(sandbox_id, port).await
    }

    async fn pull_image(&self, reference: &str) -> Result<String> {
        match component_of(reference) {
            Some(name) if components::ALL.contains(&name) => Ok(image_id(reference)),
            Some(_) => Err(Error::NoImage {
                reference: reference.into(),
                known: components::ALL.iter().map(|c| format!("{PREFIX}{c}")).collect(),
            }),
            None => self.inner.pull_image(reference).await,
        }
    }

    async fn image_status(&self, reference: &str) -> Result<Option<Image>> {
        match component_of(reference) {
            Some(name) if components::ALL.contains(&name) => {
                Ok(Some(Image { id: image_id(reference), tags: vec![reference.into()], size: 0 }))
            }
            Some(_) => Ok(None),
            None => self.inner.image_status(reference).await,
        }
    }

    async fn list_images(&self) -> Result<Vec<Image>> {
        self.inner.list_images().await
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}

#[cfg(test)]
mod tests;
