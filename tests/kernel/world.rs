//! A small cluster without Kubernetes: two nodes, real networks and runtimes.

use cni::{HostNetwork, NodeNetwork};
use cri::{ContainerConfig, ContainerState, Mount, PodId, Runtime, SandboxConfig};
use linux::boot::{self, Config, Main, Pids};
use linux::cgroup;
use linux::ranges::Ranges;
use linux::user::Ids;
use net::Fabric;
use rng::Rng;
use runtime::{self, Images, NodeRuntime, Zygote};
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A test that hangs would take the time of all others with it. The longest makes some hundred
/// connections, which a busy machine does not make in a minute.
const TEST_MAX: Duration = Duration::from_secs(600);

pub(crate) type Fault = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Check<T = ()> = Result<T, Fault>;
pub(crate) type Running = Pin<Box<dyn Future<Output = Check>>>;

pub(crate) enum Outcome {
    Done(i32),
    /// The kernel does not allow clusters here.
    Forbidden(String),
}

/// What a test gets.
pub(crate) struct World {
    pub pids: Pids,
    pub ids: Ids,
    pub cgroups: String,
    groups: Arc<dyn cgroup::Backend>,
    pub fabric: Fabric,
    pub host: Arc<dyn HostNetwork>,
    pub nodes: Vec<Node>,
    pub home: PathBuf,
    /// Ids for user namespaces of pods.
    pub ranges: Arc<Ranges>,
    make_runtime: Box<dyn Fn(Arc<dyn NodeNetwork>) -> Arc<NodeRuntime>>,
}

pub(crate) struct Node {
    pub network: Arc<dyn NodeNetwork>,
    pub runtime: Arc<NodeRuntime>,
}

/// A pod with one container.
pub(crate) struct Pod {
    pub sandbox: String,
    pub container: String,
    pub ip: std::net::Ipv4Addr,
}

fn config(home: &Path) -> Config {
    Config { lock: home.join("lock"), scratch: home.join("scratch"), socket: None, new_session: true }
}

/// The name of the cgroup of the cluster in this home, once it has a lock.
pub(crate) fn group_name(home: &Path) -> Option<String> {
    let lock = home.join("lock");
    lock.exists().then(|| boot::group_name(&lock))
}

pub(crate) fn supervise(home: &Path, test: fn(World) -> Running) -> Outcome {
    let ended = boot::supervise(&config(home), runtime::images::lay_out, |main| {
        let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        match tokio.map_err(Fault::from).and_then(|tokio| tokio.block_on(run(main, home, test))) {
            Ok(()) => 0,
            Err(e) => {
                let mut text = format!("{e}");
                let mut cause = e.source();
                while let Some(next) = cause {
                    text.push_str(&format!(": {next}"));
                    cause = next.source();
                }
                eprintln!("{text}");
                1
            }
        }
    });
    match ended {
        Ok(code) => Outcome::Done(code),
        Err(e) => Outcome::Forbidden(e.line()),
    }
}

async fn run(main: Main, home: &Path, test: fn(World) -> Running) -> Check {
    let zygote = Zygote::start(main.zygote)?;
    let images = Arc::new(Images::new(&main.layers));
    let fabric = Fabric::new().await?;
    let host = fabric.host();
    let (pids, ids, cgroups) = (main.pids, main.ids, main.cgroups.describe());
    let (own, made) = (zygote.clone(), std::cell::Cell::new(0u64));
    let groups = main.cgroups.clone();
    let make_runtime = move |network: Arc<dyn NodeNetwork>| {
        made.set(made.get() + 1);
        NodeRuntime::new(runtime::Config {
            node: format!("node{}", made.get()),
            zygote: own.clone(),
            images: images.clone(),
            cgroups: main.cgroups.clone(),
            ids,
            network,
            directory: main.writable.clone(),
            rng: Rng::seeded(made.get()),
        })
    };
    let mut nodes = Vec::new();
    for index in [1u8, 2] {
        let network: Arc<dyn NodeNetwork> = fabric.node(index, &format!("node{index}")).await?;
        let runtime = make_runtime(network.clone());
        nodes.push(Node { network, runtime });
    }
    let make_runtime = Box::new(make_runtime);
    let home = home.to_path_buf();
    let ranges = zygote.ranges().clone();
    let world = World { pids, ids, cgroups, groups, fabric, host, nodes, home, ranges, make_runtime };
    tokio::select! {
        done = tokio::time::timeout(TEST_MAX, test(world)) => done?,
        () = zygote.died() => Err("the zygote died".into()),
        end = zygote.reap_strangers() => Err(format!("reaping ended: {end:?}").into()),
    }
}

impl World {
    /// A further runtime, of a node with this network.
    pub(crate) fn runtime(&self, network: Arc<dyn NodeNetwork>) -> Arc<NodeRuntime> {
        (self.make_runtime)(network)
    }

    /// The memory of all pods together, where it is counted.
    pub(crate) fn memory(&self) -> Option<cgroup::Shared> {
        self.groups.memory()
    }

    pub(crate) fn sandbox(&self, name: &str) -> SandboxConfig {
        SandboxConfig {
            pod: PodId { namespace: "default".into(), name: name.into(), uid: format!("uid-{name}") },
            hostname: name.into(),
            log_directory: self.home.join("log").join(name),
            ..SandboxConfig::default()
        }
    }

    /// A pod on a node with one running container.
    pub(crate) async fn pod(&self, node: usize, name: &str, container: ContainerConfig) -> Check<Pod> {
        let runtime = &self.nodes[node].runtime;
        let sandbox = runtime.run_pod_sandbox(self.sandbox(name)).await?;
        let ip = sandbox.ip.ok_or("no address")?;
        let container = runtime.create_container(&sandbox.id, container).await?;
        runtime.start_container(&container).await?;
        Ok(Pod { sandbox: sandbox.id, container, ip })
    }

    pub(crate) async fn log_of(&self, node: usize, container: &str) -> Check<String> {
        let status = self.nodes[node].runtime.container_status(container).await?;
        Ok(std::fs::read_to_string(status.log_path)?)
    }

    /// Waits until a container has said something.
    pub(crate) async fn logged(&self, node: usize, container: &str, what: &str) -> Check {
        eventually(Duration::from_secs(20), async || {
            let log = self.log_of(node, container).await?;
            Ok(if log.contains(what) { Ok(()) } else { Err(format!("{what:?} is not in the log: {log}")) })
        })
        .await
    }
}

pub(crate) fn nginx() -> ContainerConfig {
    ContainerConfig {
        name: "web".into(),
        image: "nginx".into(),
        log_path: "web/0.log".into(),
        ..ContainerConfig::default()
    }
}

/// A container with the machine's own shell and tools, and what to run in it.
pub(crate) fn shell(script: &str) -> ContainerConfig {
    let mount = |host: &str, container: &str| Mount {
        host_root: None,
        host_path: host.into(),
        sub_path: "".into(),
        container_path: container.into(),
        read_only: true,
    };
    let mut mounts = vec![mount("/usr", "/usr"), mount("/usr/lib", "/lib")];
    if Path::new("/usr/lib64").is_dir() {
        mounts.push(mount("/usr/lib64", "/lib64"));
    }
    ContainerConfig {
        name: "shell".into(),
        image: "busybox".into(),
        command: vec!["/usr/bin/bash".into(), "-c".into(), script.into()],
        env: vec![("PATH".into(), "/usr/bin:/usr/sbin".into())],
        mounts,
        log_path: "shell/0.log".into(),
        ..ContainerConfig::default()
    }
}

/// Waits for a container's end.
pub(crate) async fn ended(runtime: &NodeRuntime, id: &str) -> Check<cri::Container> {
    let mut events = runtime.events();
    loop {
        let status = runtime.container_status(id).await?;
        if status.state == ContainerState::Exited {
            return Ok(status);
        }
        tokio::time::timeout(Duration::from_secs(20), events.recv())
            .await
            .map_err(|_| "it does not end")??;
    }
}

/// The body of a page.
pub(crate) async fn get(mut stream: TcpStream, path: &str) -> Check<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(5), stream.read_to_string(&mut answer)).await??;
    Ok(answer)
}

/// Dials until a server answers: one that was just started needs a moment.
pub(crate) async fn dial(node: &dyn NodeNetwork, to: impl Into<SocketAddr>) -> Check<TcpStream> {
    let to = to.into();
    eventually(Duration::from_secs(20), async || {
        let dialled = tokio::time::timeout(Duration::from_secs(2), node.dial(to)).await;
        Ok(dialled.map_err(|_| format!("{to}: no answer")).and_then(|d| d.map_err(|e| format!("{to}: {e}"))))
    })
    .await
}

/// Looks until there is what is looked for, where no event tells of it. Errors: what was missing
/// when the time was over, or why nobody could look.
pub(crate) async fn eventually<T>(
    patience: Duration,
    mut look: impl AsyncFnMut() -> Check<Result<T, String>>,
) -> Check<T> {
    let until = tokio::time::Instant::now() + patience;
    loop {
        match look().await? {
            Ok(found) => return Ok(found),
            Err(missing) if tokio::time::Instant::now() > until => return Err(missing.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

pub(crate) fn ensure(holds: bool, what: impl Into<String>) -> Check {
    if holds { Ok(()) } else { Err(what.into().into()) }
}
