//! One node's container runtime: the calls of [`cri::Runtime`].

use super::container::Container;
use super::context::{Config, NodeContext};
use super::names::Names;
use super::sandbox::Sandbox;
use super::stats::{self, Processes};
use super::stream;
use super::words::in_words_of_go;
use super::work;
use async_trait::async_trait;
use cri::{self, ContainerConfig, ContainerState, Error, Event, EventKind, ExecRequest, Image};
use cri::{Result, Runtime, SandboxConfig, Session, Stats};
use linux::descriptors::is_reserved;
use linux::namespace;
use linux::usage::Usage;
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use task::Crew;
use tokio::net::TcpSocket;
use tokio::sync::{broadcast, oneshot};
use tokio_util::sync::CancellationToken;

/// Events that a kubelet may lag behind before it hears that it lost some.
const EVENTS: usize = 1024;

/// How long a forwarded port may take to answer: it is in the pod's own loopback.
const DIAL_MAX: Duration = Duration::from_secs(5);

/// What calls and background tasks share: the context of the node, its sandboxes and containers.
struct Shared {
    context: Arc<NodeContext>,
    names: Names,
    sandboxes: Mutex<BTreeMap<String, Arc<Sandbox>>>,
    containers: Mutex<BTreeMap<String, Arc<Container>>>,
}

impl Shared {
    fn sandboxes(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Sandbox>>> {
        self.sandboxes.lock()
    }

    fn containers(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Container>>> {
        self.containers.lock()
    }

    fn sandbox(&self, id: &str) -> Result<Arc<Sandbox>> {
        self.sandboxes().get(id).cloned().ok_or_else(|| Error::NotFound(format!("sandbox {id}")))
    }

    fn container(&self, id: &str) -> Result<Arc<Container>> {
        self.containers().get(id).cloned().ok_or_else(|| Error::NotFound(format!("container {id}")))
    }

    fn containers_of(&self, sandbox: &str) -> Vec<Arc<Container>> {
        self.containers().values().filter(|c| c.sandbox.id == sandbox).cloned().collect()
    }

    fn new_id(&self) -> String {
        (0..4).map(|_| format!("{:016x}", self.context.config.rng.u64())).collect()
    }

    /// Takes a new container into the table.
    ///
    /// # Errors
    /// `State`: its sandbox is being stopped, or has ended.
    fn add_container(&self, container: &Arc<Container>) -> Result<()> {
        let mut containers = self.containers();
        is_up(&container.sandbox)?; // under the lock: a stop of the sandbox looks for its containers afterwards
        containers.insert(container.id.clone(), container.clone());
        Ok(())
    }

    async fn stop_sandbox(&self, sandbox: &Sandbox) -> Result<()> {
        sandbox.begin_to_stop();
        let containers = self.containers_of(&sandbox.id);
        futures::future::join_all(containers.iter().map(|c| c.stop(Duration::ZERO))).await;
        if sandbox.stop(&self.context).await? {
            // The event of the pause process came while the sandbox still showed that it is ready.
            self.context.event(&sandbox.config.pod, &sandbox.id, EventKind::Stopped);
        }
        Ok(())
    }

    async fn remove_sandbox(&self, sandbox: &Sandbox) -> Result<()> {
        self.stop_sandbox(sandbox).await?;
        for container in self.containers_of(&sandbox.id) {
            self.remove_container(&container).await;
        }
        self.sandboxes().remove(&sandbox.id);
        Ok(())
    }

    async fn remove_container(&self, container: &Container) {
        let _alone = container.removal.lock().await;
        if !self.containers().contains_key(&container.id) {
            return; // another call removed it meanwhile
        }
        container.refuse_starts();
        container.stop(Duration::ZERO).await;
        container.remove().await;
        if self.containers().remove(&container.id).is_some() {
            self.context.event(&container.sandbox.config.pod, &container.id, EventKind::Deleted);
        }
    }
}

/// The runtime of one node. It outlives the node's kubelet. Its containers end with their
/// sandboxes, or with the cluster's processes.
pub struct NodeRuntime(Arc<Shared>);

impl NodeRuntime {
    /// Makes the runtime of a node, without sandboxes.
    pub fn new(config: Config) -> Arc<NodeRuntime> {
        let crew = Crew::new(&format!("runtime/{}", config.node));
        let context = NodeContext { config, crew, events: broadcast::Sender::new(EVENTS) };
        Arc::new(NodeRuntime(Arc::new(Shared {
            context: Arc::new(context),
            names: Names::default(),
            sandboxes: Mutex::default(),
            containers: Mutex::default(),
        })))
    }

    /// Returns a sandbox' network namespace, which is its node's with `hostNetwork`; `None` once it
    /// is stopped.
    pub fn network_of(&self, sandbox_id: &str) -> Option<Arc<std::os::fd::OwnedFd>> {
        self.0.sandboxes().get(sandbox_id).and_then(|s| s.network())
    }
}

/// Fails for a sandbox that takes no containers.
fn is_up(sandbox: &Sandbox) -> Result<()> {
    match sandbox.state() == cri::SandboxState::NotReady || sandbox.is_stopping() {
        true => Err(Error::State(format!("sandbox container {:?} is not running", sandbox.id))),
        false => Ok(()),
    }
}

/// Lets a call finish that its caller stopped waiting for, be it because the kubelet was killed:
/// nothing would finish half a process, or half a stop.
async fn whole<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(e) => Err(Error::State(format!("the runtime failed: {e}"))),
    }
}

/// Counts use, for which files are read.
async fn counted(
    count: impl FnOnce() -> BTreeMap<String, Usage> + Send + 'static,
) -> Result<BTreeMap<String, Stats>> {
    let used = work::blocking(count).await;
    let used =
        used.map_err(|cause| Error::Io { what: "cannot count the use of containers".into(), cause })?;
    let stats = |used: Usage| Stats { cpu_usage: used.cpu, memory_working_set: used.working_set };
    Ok(used.into_iter().map(|(id, used)| (id, stats(used))).collect())
}

#[async_trait]
impl Runtime for NodeRuntime {
    fn version(&self) -> String {
        format!("ropewalk://{}", env!("CARGO_PKG_VERSION"))
    }

    async fn run_pod_sandbox(&self, config: SandboxConfig) -> Result<cri::Sandbox> {
        let shared = self.0.clone();
        let (caller, mut waiting) = oneshot::channel::<()>();
        let made = whole(async move {
            let (uid, attempt) = (config.pod.uid.clone(), config.attempt);
            let is_ready = |s: &Sandbox| {
                let of = s.config.pod.uid == uid && s.config.attempt == attempt;
                of && s.state() == cri::SandboxState::Ready
            };
            let is_made = || shared.sandboxes().values().any(|s| is_ready(s));
            let _reserved = shared.names.reserve(format!("{}_{uid}_{attempt}", config.pod.name), is_made)?;
            let sandbox = Arc::new(Sandbox::make(&shared.context, shared.new_id(), config).await?);
            shared.sandboxes().insert(sandbox.id.clone(), sandbox.clone());
            let (process, watched, telling) =
                (sandbox.process.clone(), sandbox.clone(), shared.context.clone());
            shared.context.crew.spawn(async move {
                process.exit().await;
                telling.event(&watched.config.pod, &watched.id, EventKind::Stopped);
            });
            if waiting.try_recv() == Err(oneshot::error::TryRecvError::Closed) {
                // Its caller stopped waiting: the kubelet hears of it now, or nothing would bring
                // back a pod that was deleted meanwhile.
                shared.context.event(&sandbox.config.pod, &sandbox.id, EventKind::Created);
            }
            Ok(sandbox.describe())
        });
        let made = made.await;
        drop(caller); // the caller waited until here
        made
    }

    async fn stop_pod_sandbox(&self, id: &str) -> Result<()> {
        let Ok(sandbox) = self.0.sandbox(id) else { return Ok(()) };
        let shared = self.0.clone();
        whole(async move { shared.stop_sandbox(&sandbox).await }).await
    }

    async fn remove_pod_sandbox(&self, id: &str) -> Result<()> {
        let Ok(sandbox) = self.0.sandbox(id) else { return Ok(()) };
        let shared = self.0.clone();
        whole(async move { shared.remove_sandbox(&sandbox).await }).await
    }

    async fn list_pod_sandboxes(&self) -> Result<Vec<cri::Sandbox>> {
        Ok(self.0.sandboxes().values().map(|s| s.describe()).collect())
    }

    async fn list_pod_sandbox_stats(&self) -> Result<BTreeMap<String, Stats>> {
        let shared = self.0.clone();
        counted(move || {
            let sandboxes: Vec<Arc<Sandbox>> = shared.sandboxes().values().cloned().collect();
            let processes = Processes::default();
            let used = |sandbox: &Sandbox| {
                let running = || shared.containers_of(&sandbox.id).into_iter().filter_map(|c| c.live().ok());
                sandbox.usage().or_else(|| match sandbox.has_ended() {
                    true => Some(Usage::default()), // thousands of these may be remembered
                    false => stats::of_containers(running(), &processes),
                })
            };
            sandboxes.iter().filter_map(|sandbox| Some((sandbox.id.clone(), used(sandbox)?))).collect()
        })
        .await
    }

    async fn create_container(&self, sandbox_id: &str, config: ContainerConfig) -> Result<String> {
        let (shared, sandbox) = (self.0.clone(), self.0.sandbox(sandbox_id)?);
        is_up(&sandbox)?;
        let (name, attempt) = (config.name.clone(), config.attempt);
        whole(async move {
            let is_made = || {
                let there = shared.containers_of(&sandbox.id);
                let of = |c: &Container| c.config.name == name && c.config.attempt == attempt;
                there.iter().any(|c| of(c) && c.describe().state == ContainerState::Created)
            };
            let _reserved = shared.names.reserve(format!("{name}_{}_{attempt}", sandbox.id), is_made)?;
            let (preparing, id) = (shared.context.clone(), shared.new_id());
            let prepared = work::blocking(move || Container::prepare(&preparing, id, sandbox, config)).await;
            let io = |cause| Error::Io { what: "cannot prepare the container".into(), cause };
            let container = Arc::new(prepared.map_err(io)??);
            if let Err(e) = shared.add_container(&container) {
                container.remove().await;
                return Err(e);
            }
            // After it is in the table: a subscriber of the event finds it there.
            shared.context.event(&container.sandbox.config.pod, &container.id, EventKind::Created);
            Ok(container.id.clone())
        })
        .await
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        let (shared, container) = (self.0.clone(), self.0.container(id)?);
        whole(async move { container.start(&shared.context).await }).await
    }

    async fn stop_container(&self, id: &str, grace: Duration) -> Result<()> {
        let Ok(container) = self.0.container(id) else { return Ok(()) };
        container.stop(grace).await;
        Ok(())
    }

    async fn remove_container(&self, id: &str) -> Result<()> {
        let Ok(container) = self.0.container(id) else { return Ok(()) };
        let shared = self.0.clone();
        // Half removed, a start that was ended would look like one that failed.
        whole(async move {
            shared.remove_container(&container).await;
            Ok(())
        })
        .await
    }

    async fn list_containers(&self) -> Result<Vec<cri::Container>> {
        Ok(self.0.containers().values().map(|c| c.describe()).collect())
    }

    async fn container_status(&self, id: &str) -> Result<cri::Container> {
        Ok(self.0.container(id)?.describe())
    }

    async fn list_container_stats(&self) -> Result<BTreeMap<String, Stats>> {
        let shared = self.0.clone();
        counted(move || {
            let containers: Vec<Arc<Container>> = shared.containers().values().cloned().collect();
            let processes = Processes::default();
            let used = |live| stats::of_containers([live], &processes);
            containers.iter().filter_map(|c| Some((c.id.clone(), used(c.live().ok()?)?))).collect()
        })
        .await
    }

    async fn exec(&self, request: ExecRequest) -> Result<Session> {
        let (shared, container) = (self.0.clone(), self.0.container(&request.container_id)?);
        let gone = CancellationToken::new();
        let _until_here = gone.clone().drop_guard(); // a caller that stops waiting, a probe past its time, say
        whole(async move { stream::exec(&shared.context, &container, request, gone).await }).await
    }

    async fn attach(&self, container_id: &str, stdin: bool) -> Result<Session> {
        stream::attach(&self.0.context, &self.0.container(container_id)?, stdin)
    }

    async fn port_forward(&self, sandbox_id: &str, port: u16) -> Result<Box<dyn cri::Stream>> {
        let sandbox = self.0.sandbox(sandbox_id)?;
        let network = sandbox
            .network()
            .ok_or_else(|| Error::State(format!("sandbox container {sandbox_id:?} is not running")))?;
        // Only the sockets are made on a thread in the pod's namespace. A program there that
        // accepts nothing leaves a connection waiting for minutes, and threads are few.
        let sockets = move || {
            namespace::in_network(network.as_fd(), || Ok((TcpSocket::new_v4()?, TcpSocket::new_v6())))
        };
        let connect = async {
            let (v4, v6) = work::blocking(sockets).await.flatten().flatten()?;
            if is_reserved(&v4) || v6.as_ref().is_ok_and(is_reserved) {
                return Err(std::io::Error::from_raw_os_error(nix::libc::EMFILE)); // the reserve is the store's
            }
            match v4.connect((Ipv4Addr::LOCALHOST, port).into()).await {
                Ok(stream) => Ok(stream),
                Err(e) => match v6 {
                    Ok(v6) => v6.connect((Ipv6Addr::LOCALHOST, port).into()).await.map_err(|_| e),
                    Err(_) => Err(e), // a machine without IPv6
                },
            }
        };
        let failed = |cause: std::io::Error| Error::Io {
            what: format!("failed to connect to localhost:{port} inside namespace"),
            cause: std::io::Error::new(cause.kind(), in_words_of_go(&cause)),
        };
        let late = |_| std::io::Error::from(std::io::ErrorKind::TimedOut);
        let made = tokio::time::timeout(DIAL_MAX, connect).await.map_err(late).flatten();
        Ok(Box::new(made.map_err(failed)?))
    }

    async fn pull_image(&self, reference: &str) -> Result<String> {
        Ok(self.0.context.config.images.find(reference)?.id())
    }

    async fn image_status(&self, reference: &str) -> Result<Option<Image>> {
        match self.0.context.config.images.find(reference) {
            Ok(image) => Ok(Some(self.0.context.config.images.describe(image))),
            Err(Error::NoImage { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn list_images(&self) -> Result<Vec<Image>> {
        Ok(self.0.context.config.images.list())
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.0.context.events.subscribe()
    }
}
