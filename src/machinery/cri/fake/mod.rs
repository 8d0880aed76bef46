//! A runtime that only remembers what it was asked: for tests. Containers "run" until they are
//! stopped, or do what a [`Script`] says. There are no processes, no files and no logs: `attach` is
//! refused, and `exec` and `port_forward` give what a test prepared for them, else an error. What
//! the real runtime refuses is refused here in the same words.

mod controls;
mod state;

use super::{
    Container, ContainerConfig, ContainerState, Error, Event, EventKind, ExecRequest, Image, Reader, Result,
    Runtime, Sandbox, SandboxConfig, SandboxState, Session, Stats, Stream,
};
use async_trait::async_trait;
pub use controls::Script;
use parking_lot::{Mutex, MutexGuard};
use rng::Rng;
use state::{check_user, image_id, made_up_stats, refuse_twin, sandbox_not_running};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use task::Crew;
use tokio::sync::{broadcast, oneshot};

/// A container, how it was asked for, and what it does.
struct Made {
    container: Container,
    config: ContainerConfig,
    script: Script,
}

/// A sandbox, and how it was asked for.
struct Pod {
    sandbox: Sandbox,
    config: SandboxConfig,
    /// True until the sandbox is stopped, also after its first process has ended.
    has_network: bool,
}

#[derive(Default)]
struct State {
    /// By the sandbox' id.
    pods: BTreeMap<String, Pod>,
    /// By the container's id.
    containers: BTreeMap<String, Made>,
    /// By the name or the image of containers.
    scripts: BTreeMap<String, Script>,
    /// Images that cannot be pulled.
    absent: BTreeSet<String>,
    /// The newest calls, the oldest of them first.
    calls: Vec<String>,
    /// The last number of the newest address, less one. The search for a free one begins behind it.
    addresses: u8,
    /// Connections that `port_forward` gives away.
    connections: VecDeque<tokio::io::DuplexStream>,
    /// How long an exec'd program takes to begin, and then to end.
    exec: Option<(Duration, Duration)>,
    /// So many calls of `stop_container` fail.
    failing_stops: u32,
    /// So many calls of `stop_pod_sandbox` fail.
    failing_sandbox_stops: u32,
    /// So many calls of `list_pod_sandboxes` fail.
    failing_lists: u32,
    /// Calls of `list_images` panic.
    panics: bool,
}

/// A node's runtime without a kernel. Clones are the same runtime.
#[derive(Clone)]
pub struct FakeRuntime {
    state: Arc<Mutex<State>>,
    events: broadcast::Sender<Event>,
    crew: Crew,
    rng: Rng,
    node_ip: Ipv4Addr,
    pods: Ipv4Addr,
}

/// Calls that are remembered; older ones are forgotten.
const CALLS: usize = 1000;

impl FakeRuntime {
    /// `node_ip` is what host-network pods get; others get addresses in the /24 of `pods`, e.g.
    /// 10.244.7.0.
    pub fn new(node_ip: Ipv4Addr, pods: Ipv4Addr, rng: Rng) -> FakeRuntime {
        FakeRuntime {
            state: Arc::default(),
            events: broadcast::Sender::new(1024),
            crew: Crew::new("fake-runtime"),
            rng,
            node_ip,
            pods,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn new_id(&self) -> String {
        (0..4).map(|_| format!("{:016x}", self.rng.u64())).collect()
    }

    fn send_event(&self, state: &State, sandbox_id: &str, container_id: &str, kind: EventKind) {
        send_event(&self.events, state, sandbox_id, container_id, kind);
    }

    fn end_container(&self, id: &str, code: i32, reason: &str) {
        end_container(&mut self.lock(), &self.events, id, code, reason);
    }
}

fn send_event(
    events: &broadcast::Sender<Event>,
    state: &State,
    sandbox_id: &str,
    container_id: &str,
    kind: EventKind,
) {
    let pod = state.pods.get(sandbox_id).map(|p| p.sandbox.pod.clone()).unwrap_or_default();
    let _ = events.send(Event { pod, container_id: container_id.to_string(), kind }); // it may have no receiver
}

fn end_container(state: &mut State, events: &broadcast::Sender<Event>, id: &str, code: i32, reason: &str) {
    let Some(found) = state.containers.get_mut(id) else { return };
    if found.container.state != ContainerState::Running {
        return;
    }
    found.container.state = ContainerState::Exited;
    found.container.finished_at = Some(clock::now());
    found.container.exit_code = code;
    found.container.reason = reason.to_string();
    let sandbox = found.container.sandbox_id.clone();
    send_event(events, state, &sandbox, id, EventKind::Stopped);
}

#[async_trait]
impl Runtime for FakeRuntime {
    fn version(&self) -> String {
        format!("fake://{}", env!("CARGO_PKG_VERSION"))
    }

    async fn run_pod_sandbox(&self, config: SandboxConfig) -> Result<Sandbox> {
        let id = self.new_id();
        let mut state = self.lock();
        state.remember_call(format!("run_pod_sandbox {}", config.pod.name));
        let (uid, attempt) = (&config.pod.uid, config.attempt);
        let is_it = |s: &Sandbox| s.pod.uid == *uid && s.attempt == attempt && s.state == SandboxState::Ready;
        let is_made = state.pods.values().any(|pod| is_it(&pod.sandbox));
        refuse_twin(is_made, format!("{}_{uid}_{attempt}", config.pod.name))?;
        let [a, b, c, _] = self.pods.octets();
        let own = |host: u8| Ipv4Addr::new(a, b, c, host + 1);
        let taken: BTreeSet<Ipv4Addr> = state.pods.values().filter_map(|pod| pod.sandbox.ip).collect();
        let mut next = (0..253u16).map(|step| ((u16::from(state.addresses) + step) % 253) as u8 + 1);
        let free = next.find(|host| config.host_network || !taken.contains(&own(*host)));
        state.addresses =
            free.ok_or_else(|| Error::Start(format!("no free pod address in {}/24", self.pods)))?;
        let own = own(state.addresses);
        let sandbox = Sandbox {
            id: id.clone(),
            pod: config.pod.clone(),
            attempt: config.attempt,
            state: SandboxState::Ready,
            created_at: clock::now(),
            ip: Some(if config.host_network { self.node_ip } else { own }),
        };
        state.pods.insert(id, Pod { sandbox: sandbox.clone(), config, has_network: true });
        Ok(sandbox)
    }

    async fn stop_pod_sandbox(&self, id: &str) -> Result<()> {
        let (running, was_ready): (Vec<String>, bool) = {
            let mut state = self.lock();
            if state.failing_sandbox_stops > 0 {
                state.failing_sandbox_stops -= 1;
                let cause = std::io::Error::other("device or resource busy");
                return Err(Error::Io { what: "cannot take the network down".into(), cause });
            }
            let Some(pod) = state.pods.get_mut(id) else { return Ok(()) };
            let before = std::mem::replace(&mut pod.sandbox.state, SandboxState::NotReady);
            pod.has_network = false;
            state.remember_call(format!("stop_pod_sandbox {id}"));
            let of_pod = state.containers.values().filter(|c| c.container.sandbox_id == id);
            (of_pod.map(|c| c.container.id.clone()).collect(), before == SandboxState::Ready)
        };
        running.iter().for_each(|container| self.end_container(container, 137, "Error"));
        if was_ready {
            self.send_event(&self.lock(), id, id, EventKind::Stopped);
        }
        Ok(())
    }

    async fn remove_pod_sandbox(&self, id: &str) -> Result<()> {
        self.stop_pod_sandbox(id).await?;
        let mut state = self.lock();
        let of_pod = state.containers.values().filter(|c| c.container.sandbox_id == id);
        let of_pod: Vec<String> = of_pod.map(|c| c.container.id.clone()).collect();
        for container in of_pod {
            state.containers.remove(&container);
            self.send_event(&state, id, &container, EventKind::Deleted);
        }
        state.pods.remove(id);
        Ok(())
    }

    async fn list_pod_sandboxes(&self) -> Result<Vec<Sandbox>> {
        let mut state = self.lock();
        if state.failing_lists > 0 {
            state.failing_lists -= 1;
            return Err(Error::State("the runtime is busy".into()));
        }
        Ok(state.pods.values().map(|p| p.sandbox.clone()).collect())
    }

    async fn list_pod_sandbox_stats(&self) -> Result<BTreeMap<String, Stats>> {
        let state = self.lock();
        let mut sums: BTreeMap<_, _> = state.pods.keys().map(|id| (id.clone(), Stats::default())).collect();
        for container in state.containers.values().map(|c| &c.container) {
            if let (Some(sum), Some(one)) = (sums.get_mut(&container.sandbox_id), made_up_stats(container)) {
                sum.cpu_usage += one.cpu_usage;
                sum.memory_working_set += one.memory_working_set;
            }
        }
        Ok(sums)
    }

    async fn create_container(&self, sandbox_id: &str, config: ContainerConfig) -> Result<String> {
        let id = self.new_id();
        let mut state = self.lock();
        state.remember_call(format!("create_container {}", config.name));
        state.check_image(&config.image)?;
        check_user(&config.security)?;
        let pod = state.pod(sandbox_id)?;
        if pod.sandbox.state == SandboxState::NotReady {
            return Err(sandbox_not_running(sandbox_id));
        }
        let is_twin = |c: &Container| {
            let of = c.sandbox_id == sandbox_id && c.name == config.name && c.attempt == config.attempt;
            of && c.state == ContainerState::Created
        };
        let is_made = state.containers.values().any(|made| is_twin(&made.container));
        refuse_twin(is_made, format!("{}_{sandbox_id}_{}", config.name, config.attempt))?;
        let container = Container {
            id: id.clone(),
            sandbox_id: sandbox_id.to_string(),
            name: config.name.clone(),
            attempt: config.attempt,
            state: ContainerState::Created,
            image: config.image.clone(),
            image_id: image_id(&config.image),
            created_at: clock::now(),
            started_at: None,
            finished_at: None,
            exit_code: 0,
            reason: String::new(),
            message: String::new(),
            warnings: Vec::new(),
            user: None,
            log_path: pod.config.log_directory.join(&config.log_path),
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
        };
        let script = state.script_of(&config);
        state.containers.insert(id.clone(), Made { container, config, script });
        self.send_event(&state, sandbox_id, &id, EventKind::Created);
        Ok(id)
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let found = state.containers.get_mut(id).ok_or_else(|| Error::NotFound(format!("container {id}")))?;
        if found.container.state != ContainerState::Created {
            return Err(Error::State(format!("container {id} is not in created state")));
        }
        let pod = state.pods.get(&found.container.sandbox_id);
        if pod.is_none_or(|pod| pod.sandbox.state == SandboxState::NotReady) {
            found.script = Script::FailStart(sandbox_not_running(&found.container.sandbox_id).to_string());
        }
        let (script, sandbox) = (found.script.clone(), found.container.sandbox_id.clone());
        let name = found.config.name.clone();
        if let Script::FailStart(why) = &script {
            found.container.state = ContainerState::Exited;
            found.container.finished_at = Some(clock::now());
            (found.container.exit_code, found.container.reason) = (128, "StartError".into());
            found.container.message.clone_from(why);
        } else {
            found.container.state = ContainerState::Running;
            found.container.started_at = Some(clock::now());
        }
        state.remember_call(format!("start_container {name}"));
        match script {
            Script::FailStart(why) => {
                self.send_event(state, &sandbox, id, EventKind::Stopped);
                return Err(Error::Start(why));
            }
            Script::Exit { after, code, reason } => {
                // The task keeps no runtime that its test has dropped.
                let (runtime, id) = (Arc::downgrade(&self.state), id.to_string());
                let events = self.events.downgrade();
                self.crew.spawn(async move {
                    clock::pause(after).await;
                    if let (Some(runtime), Some(events)) = (runtime.upgrade(), events.upgrade()) {
                        end_container(&mut runtime.lock(), &events, &id, code, reason);
                    }
                });
            }
            Script::Run | Script::IgnoreStop => {}
        }
        self.send_event(state, &sandbox, id, EventKind::Started);
        Ok(())
    }

    async fn stop_container(&self, id: &str, grace: Duration) -> Result<()> {
        let script = {
            let mut state = self.lock();
            let Some(found) = state.containers.get(id) else { return Ok(()) };
            if found.container.state != ContainerState::Running {
                return Ok(());
            }
            let (script, name) = (found.script.clone(), found.config.name.clone());
            state.remember_call(format!("stop_container {name}"));
            if state.failing_stops > 0 {
                state.failing_stops -= 1;
                return Err(Error::State("the runtime is busy".into()));
            }
            script
        };
        if script == Script::IgnoreStop {
            clock::pause(grace).await;
            self.end_container(id, 137, "Error");
        } else {
            self.end_container(id, 0, "Completed");
        }
        Ok(())
    }

    async fn remove_container(&self, id: &str) -> Result<()> {
        self.end_container(id, 137, "Error");
        let mut state = self.lock();
        if let Some(gone) = state.containers.remove(id) {
            state.remember_call(format!("remove_container {}", gone.config.name));
            self.send_event(&state, &gone.container.sandbox_id, id, EventKind::Deleted);
        }
        Ok(())
    }

    async fn list_containers(&self) -> Result<Vec<Container>> {
        Ok(self.lock().containers.values().map(|c| c.container.clone()).collect())
    }

    async fn container_status(&self, id: &str) -> Result<Container> {
        Ok(self.lock().made(id)?.container.clone())
    }

    async fn list_container_stats(&self) -> Result<BTreeMap<String, Stats>> {
        let state = self.lock();
        let all = state.containers.values().map(|c| &c.container);
        let running = all.filter(|c| c.state == ContainerState::Running);
        Ok(running.filter_map(|c| Some((c.id.clone(), made_up_stats(c)?))).collect())
    }

    async fn exec(&self, request: ExecRequest) -> Result<Session> {
        let id = &request.container_id;
        let times = {
            let mut state = self.lock();
            state.remember_call(format!("exec {}", request.command.join(" ")));
            state.check_running(id)?;
            state.exec
        };
        let (start, run) = times.ok_or(Error::Unsupported("exec"))?;
        clock::pause(start).await;
        self.lock().check_running(id)?; // it may have ended while the program waited for its turn
        let (done, exit) = oneshot::channel();
        self.crew.spawn(async move {
            clock::pause(run).await;
            let _ = done.send(0); // the session is gone
        });
        let stderr = (!request.tty).then(|| Box::pin(tokio::io::empty()) as Reader);
        Ok(Session { stdin: None, stdout: Box::pin(tokio::io::empty()), stderr, resize: None, exit })
    }

    async fn attach(&self, _: &str, _: bool) -> Result<Session> {
        Err(Error::Unsupported("attach"))
    }

    async fn port_forward(&self, sandbox_id: &str, port: u16) -> Result<Box<dyn Stream>> {
        let mut state = self.lock();
        if !state.pod(sandbox_id)?.has_network {
            return Err(sandbox_not_running(sandbox_id));
        }
        let refused = || Error::Io {
            what: format!("failed to connect to localhost:{port} inside namespace"),
            cause: std::io::Error::other("connection refused"),
        };
        Ok(Box::new(state.connections.pop_front().ok_or_else(refused)?))
    }

    async fn pull_image(&self, reference: &str) -> Result<String> {
        let mut state = self.lock();
        state.remember_call(format!("pull_image {reference}"));
        state.check_image(reference)?;
        Ok(image_id(reference))
    }

    async fn image_status(&self, reference: &str) -> Result<Option<Image>> {
        match self.lock().check_image(reference) {
            Ok(()) => Ok(Some(Image { id: image_id(reference), tags: vec![reference.to_string()], size: 0 })),
            Err(Error::NoImage { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn list_images(&self) -> Result<Vec<Image>> {
        let state = self.lock();
        assert!(!state.panics, "panic_at_images");
        let used: BTreeSet<&String> = state.containers.values().map(|c| &c.config.image).collect();
        let image = |r: &&String| Image { id: image_id(r), tags: vec![(*r).clone()], size: 0 };
        Ok(used.iter().map(image).collect())
    }

    fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}

#[cfg(test)]
mod tests;
