//! The start of a cluster, from the supervisor's first system call to the first pod.

use super::components;
use super::control;
use super::guest::{self, Guests};
use super::home::{Home, Place};
use super::keeper;
use super::launch::{Order, Word};
use super::node::{Node, NodeCri};
use super::ready::{self, Progress};
use super::spec::NodeSpec;
use super::world::World;
use super::{Error, balancer, chain, logs, manifests};
use crate::cni::NodeNetwork;
use crate::kubelet;
use crate::kubelet::pressure::{Machine, Memory, Meter};
use crate::linux::cgroup::Shared;
use crate::linux::{self, boot};
use crate::net::fabric;
use crate::pki::{self, Subject};
use crate::proxy;
use crate::rng::Rng;
use crate::runtime::{self, Images, NodeRuntime, Zygote};
use crate::tap;
use crate::task::Crew;
use k8s_openapi::api::core::v1::Taint;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The hidden argument with which the binary becomes a cluster's supervisor; the [`Order`] as JSON follows.
pub const SUPERVISE_ARGUMENT: &str = "ropewalk-supervise";
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
/// Pods on one node, as upstream's default.
const PODS_MAX: u32 = 110;
/// A stopping cluster gives its components this long; then it ends anyway.
const STOP_PATIENCE: Duration = Duration::from_millis(700);

/// Says something to whoever started this cluster.
fn tell(word: &Word) {
    let mut line = serde_json::to_vec(word).unwrap_or_default();
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(&line).and_then(|()| out.flush()); // nobody may be listening any more
}

/// Becomes the supervisor of a cluster with these guests. Returns the exit code when the cluster has ended.
pub fn supervise(order: &str, guests: Guests) -> i32 {
    let order: Order = match serde_json::from_str(order) {
        Ok(order) => order,
        Err(error) => {
            tell(&Word::Failed(format!("a damaged order: {error}")));
            return 2;
        }
    };
    let place = match Home::at(&order.home).cluster(&order.spec.name).and_then(|p| p.make().map(|()| p)) {
        Ok(place) => place,
        Err(error) => {
            tell(&Word::Failed(chain(&error)));
            return 1;
        }
    };
    let config = boot::Config {
        lock: place.lock(),
        scratch: place.scratch(),
        socket: Some(place.socket()),
        new_session: true,
    };
    let result = boot::supervise(&config, runtime::images::lay_out, |main| {
        let built = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let code = match built {
            Ok(runtime) => runtime.block_on(run(main, place.clone(), order.clone(), guests)),
            Err(error) => Err(Error::Kernel(error)),
        };
        match code {
            Ok(()) => 0,
            Err(error) => {
                tell(&Word::Failed(chain(&error)));
                1
            }
        }
    });
    match result {
        Ok(code) => code,
        Err(error) => {
            let busy = error.cause.kind() == std::io::ErrorKind::WouldBlock;
            let text = match busy {
                true => chain(&Error::Running(place.name.clone())),
                false => {
                    format!("{}\nwhat this machine lacks, and how to mend it: ropewalk doctor", chain(&error))
                }
            };
            tell(&Word::Failed(text));
            1
        }
    }
}

/// Main: the whole cluster, until it is asked to stop.
async fn run(main: boot::Main, place: Place, order: Order, guests: Guests) -> Result<(), Error> {
    logs::install();
    let asked = linux::signal::stop_requested().map_err(Error::Kernel)?;
    let _ = linux::fds::raise_limit(); // fewer descriptors only mean fewer connections
    let zygote = Zygote::start(main.zygote)?;
    if !main.ids.rootless() {
        crate::api::unhonoured::pods_have_own_users();
    }
    let parts = Parts {
        zygote: zygote.clone(),
        images: Arc::new(Images::new(&main.layers)),
        cgroups: main.cgroups,
        ids: main.ids,
        writable: main.writable,
    };
    tokio::select! {
        biased; // a start that needs the zygote would wait for ever for what it was to make
        () = zygote.died() => Err(Error::Start("the zygote died; no more containers can be made".into())),
        lived = live(main.pids, parts, asked, place, order, guests) => lived,
    }
}

/// The cluster's life, as long as it has a zygote.
async fn live(
    pids: boot::Pids,
    parts: Parts,
    asked: impl Future<Output = &'static str>,
    place: Place,
    order: Order,
    guests: Guests,
) -> Result<(), Error> {
    let rng = Rng::from_os();
    let api = bind_api(order.spec.api_port).await?;
    let api_port = api.local_addr().map_err(Error::Kernel)?.port();
    let socket = place.socket();
    let _ = std::fs::remove_file(&socket); // left by a killed cluster: we hold the lock
    let listener = tokio::net::UnixListener::bind(&socket)
        .map_err(|cause| Error::File { path: socket.clone(), cause })?;
    let machine = Arc::new(Machine::new(memory_meter(parts.cgroups.clone())));
    let world = Arc::new(World::new(place.clone(), order.spec.clone(), rng.clone(), machine).await?);
    super::launch::write_kubeconfig(&world, api_port)?;

    let crew = world.crew.clone();
    let stop = CancellationToken::new();
    let progress = watch::Sender::new(Progress { nodes: order.spec.nodes().len(), ..Progress::default() });
    let server = control::Server {
        keeper: Arc::new(keeper::Main {
            world: world.clone(),
            pids,
            api_url: format!("https://127.0.0.1:{api_port}"),
        }),
        progress: progress.subscribe(),
        stop: stop.clone(),
        guests: guests(),
    };
    for guest in &server.guests {
        guest.start(&crew, Arc::new(guest::Home { world: world.clone() }));
    }
    control::serve(&crew, listener, server);
    let inside = world.fabric.listen(components::API_PORT).await.map_err(Error::Kernel)?;
    balancer::start(&crew, &world, vec![api, inside]);
    let strangers = parts.zygote.clone();
    crew.spawn(async move {
        if let Err(error) = strangers.reap_strangers().await {
            tracing::warn!(%error, "cannot reap processes that nobody waits for");
        }
    });

    let unlimited = parts.cgroups.lacks();
    if let Some(why) = &unlimited {
        tracing::warn!(why, "limits of containers are not enforced");
    }
    for spec in world.spec.nodes() {
        let node = make_node(&world, &parts, spec).await?;
        world.nodes.lock().unwrap_or_else(|e| e.into_inner()).insert(node.spec.name.clone(), node);
    }
    // From here on there is a store, whose members cannot be others at the next start.
    order.spec.save(&place)?;
    for node in world.all_nodes() {
        keep_kubelet(&world, &node)?;
    }
    let mut asked = std::pin::pin!(asked);
    let (mut stores, mut problem) = (world.stores.subscribe(), world.problem.subscribe());
    tokio::select! {
        _ = stores.wait_for(|s| !s.is_empty()) => tell(&Word::Started { api_port, unlimited }),
        text = has_problem(&mut problem) => return Err(Error::Start(text)),
        () = stop.cancelled() => return Err(Error::Start("asked to stop before it had begun".into())),
        signal = &mut asked => return Err(Error::Start(format!("{signal} came before it had begun"))),
    }

    let client = world.client(
        "",
        tap::KEEPER,
        "system:masters",
        &format!("ropewalk/{}", super::version()),
        world.dialer(),
    )?;
    // Nobody waits for the end of the cluster's own crew: what a panic may end has a crew that is kept.
    let (ready_world, ready_client) = (world.clone(), client.clone());
    crew.keep("ready", move |crew| {
        ready::follow(crew, &ready_world, &ready_client, progress.clone());
    });
    let (host, host_client) = (world.fabric.host(), client.clone());
    let host_tap = world.tap.at("", proxy::host::LOCALHOST);
    crew.keep("localhost", move |crew| {
        proxy::host::start(crew, &host_client, host.clone(), host_tap.clone());
    });
    let (addons, addons_world) = (client.clone(), world.clone());
    crew.spawn(async move {
        until_done("addons are not made yet", || manifests::apply(&addons_world, &addons)).await;
    });
    let (nodes, nodes_world) = (client.clone(), world.clone());
    crew.spawn(async move {
        let forget = || manifests::forget_nodes(&nodes_world, &nodes);
        until_done("nodes of an earlier run are not deleted yet", forget).await;
    });

    let front_gone = front_gone(order.attached);
    tokio::select! {
        () = stop.cancelled() => tracing::info!("asked to stop"),
        signal = asked => tracing::info!(signal, "asked to stop"),
        () = front_gone => tracing::info!("the program that started this cluster has ended"),
        text = has_problem(&mut problem) => {
            tracing::error!(problem = text, "the cluster ends");
            return Err(Error::Start(text));
        }
    }
    let _ = tokio::time::timeout(STOP_PATIENCE, shut_down(&world)).await;
    crew.kill();
    Ok(())
}

/// Tries again until it is done. Whatever still fails after the first seconds, when the API answers, is logged once for each reason.
async fn until_done<F: Future<Output = Result<(), String>>>(what: &str, attempt: impl Fn() -> F) {
    const PAUSE_MAX: Duration = Duration::from_secs(5);
    let (mut pause, mut told) = (Duration::from_millis(10), String::new());
    while let Err(error) = attempt().await {
        if pause == PAUSE_MAX && error != told {
            tracing::warn!(error, "{what}");
            told = error;
        } else {
            tracing::debug!(error, "{what}");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Resolves when something went wrong that no restart mends.
async fn has_problem(problem: &mut watch::Receiver<Option<String>>) -> String {
    match problem.wait_for(Option::is_some).await {
        Ok(text) => text.clone().unwrap_or_default(),
        Err(_) => std::future::pending().await,
    }
}

/// Resolves when the front closes its end; never if the cluster is on its own.
async fn front_gone(attached: bool) {
    if !attached {
        return std::future::pending().await;
    }
    let (tell, told) = tokio::sync::oneshot::channel();
    // A thread of its own: a runtime that ends waits for its blocking tasks, and the front may stay after the cluster.
    let reader = std::thread::Builder::new().name("front".into()).spawn(move || {
        let mut byte = [0u8; 1];
        while matches!(std::io::stdin().read(&mut byte), Ok(n) if n > 0) {}
        let _ = tell.send(()); // the cluster may have ended for another reason
    });
    if reader.is_err() || told.await.is_err() {
        std::future::pending().await
    }
}

/// Components end well, so that the store's log is whole and the leases are free; containers end with the PID namespace.
async fn shut_down(world: &World) {
    use crate::cri::Runtime;
    for node in world.all_nodes() {
        if let Some(kubelet) = node.kubelet.lock().unwrap_or_else(|e| e.into_inner()).take() {
            kubelet.kill();
        }
    }
    for component in ["kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd"] {
        for node in world.all_nodes() {
            for c in node.cri.list_containers().await.unwrap_or_default() {
                if c.name == component {
                    let _ = node.cri.stop_container(&c.id, Duration::from_millis(200)).await;
                }
            }
        }
    }
}

/// The API's port on loopback: the one insisted on, or 6443, or the next free one.
async fn bind_api(port: Option<u16>) -> Result<tokio::net::TcpListener, Error> {
    if let Some(port) = port {
        return match tokio::net::TcpListener::bind(("127.0.0.1", port)).await {
            Ok(listener) => Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(Error::PortTaken { port }),
            Err(error) => Err(Error::Kernel(error)),
        };
    }
    for port in components::API_PORT..=components::API_PORT + 100 {
        match tokio::net::TcpListener::bind(("127.0.0.1", port)).await {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
            Err(error) => return Err(Error::Kernel(error)),
        }
    }
    Err(Error::PortTaken { port: components::API_PORT })
}

/// What all nodes' runtimes are made of.
struct Parts {
    zygote: Zygote,
    images: Arc<Images>,
    cgroups: Arc<dyn linux::cgroup::Backend>,
    ids: linux::user::Ids,
    writable: std::path::PathBuf,
}

async fn make_node(world: &Arc<World>, parts: &Parts, spec: NodeSpec) -> Result<Arc<Node>, Error> {
    let network: Arc<dyn NodeNetwork> = world.fabric.node(spec.index, &spec.name).await?;
    let directory = parts.writable.join(&spec.name);
    std::fs::create_dir_all(&directory).map_err(|cause| Error::File { path: directory.clone(), cause })?;
    let runtime = NodeRuntime::new(runtime::Config {
        node: spec.name.clone(),
        zygote: parts.zygote.clone(),
        images: parts.images.clone(),
        cgroups: parts.cgroups.clone(),
        ids: parts.ids,
        network: network.clone(),
        directory,
        rng: world.rng.fork(&spec.name),
    });
    let cri = NodeCri::new(spec.clone(), world, runtime, network.clone());
    Ok(Arc::new(Node { spec, network, cri, kubelet: Mutex::default() }))
}

/// Starts the node's kubelet, and starts it again whenever it ends without being told to stop.
pub(super) fn keep_kubelet(world: &Arc<World>, node: &Arc<Node>) -> Result<(), Error> {
    let first = start_kubelet(world, node)?;
    let (crew, world, node) = (world.crew.clone(), Arc::downgrade(world), node.clone());
    *node.kubelet.lock().unwrap_or_else(|e| e.into_inner()) = Some(first.clone());
    crew.spawn(async move {
        let mut kubelet = first;
        loop {
            kubelet.wait().await;
            kubelet.kill(); // one that panicked still has tasks
            if node.kubelet.lock().unwrap_or_else(|e| e.into_inner()).is_none() {
                return; // the cluster is stopping, or the node was switched off
            }
            let Some(world) = world.upgrade() else { return };
            tracing::info!(node = node.spec.name, "the kubelet ended and is started again");
            match start_kubelet(&world, &node) {
                Ok(again) => {
                    let mut place = node.kubelet.lock().unwrap_or_else(|e| e.into_inner());
                    if place.is_none() {
                        return again.kill(); // the node was switched off while it started
                    }
                    *place = Some(again.clone());
                    kubelet = again;
                }
                Err(error) => {
                    tracing::error!(error = chain(&error), "the kubelet cannot be started");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    });
    Ok(())
}

fn start_kubelet(world: &Arc<World>, node: &Arc<Node>) -> Result<Crew, Error> {
    let name = node.spec.name.clone();
    let crew = Crew::new("kubelet");
    let user = format!("system:node:{name}");
    let dial = components::dialer(&node.network);
    let agent = format!("kubelet/{}", super::version());
    let ip = fabric::node_ip(node.spec.index);
    let address = ip.to_string();
    let serving = world.ca.issue(&Subject::server(&user, &[name.as_str(), address.as_str()]))?;
    let mut labels: BTreeMap<String, String> = [
        ("kubernetes.io/hostname", name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", go_arch()),
        ("beta.kubernetes.io/arch", go_arch()),
    ]
    .map(|(k, v)| (k.to_string(), v.to_string()))
    .into();
    let mut taints = Vec::new();
    if node.spec.control_plane {
        labels.insert(CONTROL_PLANE.into(), String::new());
        labels.insert("node.kubernetes.io/exclude-from-external-load-balancers".into(), String::new());
        // Alone it has to take everything; with workers beside it, it is left to the control plane.
        if world.spec.workers > 0 {
            taints.push(Taint { key: CONTROL_PLANE.into(), effect: "NoSchedule".into(), ..Taint::default() });
        }
    }
    let (cpu_milli, memory_bytes) = machine();
    let pods_memory_bytes = world.machine.memory().map_or(memory_bytes, |memory| memory.limit);
    let static_pods = match node.spec.control_plane {
        true => manifests::static_pods(world, &name, node.spec.index),
        false => vec![],
    };
    kubelet::start(
        &crew,
        kubelet::Config {
            node_name: name.clone(),
            node_ip: ip,
            pod_cidr: format!("10.244.{}.0/24", node.spec.index),
            labels,
            annotations: BTreeMap::new(),
            taints,
            capacity: kubelet::Capacity { cpu_milli, memory_bytes, pods_memory_bytes, pods: PODS_MAX },
            client: world.client(&name, &user, "system:nodes", &agent, dial)?,
            runtime: node.cri.clone(),
            network: node.network.clone(),
            dir: world.place.node(&name),
            machine: world.machine.clone(),
            logs: crate::cri::LogLimits::default(),
            cluster_dns: world.dns_ip(),
            cluster_domain: world.domain.clone(),
            static_pods,
            tls: Some(pki::server_config(&serving, world.ca.pem())?),
            hosts_cluster: node.spec.control_plane && node.spec.index == 1,
            version: super::version(),
            tap: world.tap.at(&name, "kubelet"),
        },
    );
    Ok(crew)
}

fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// CPU in millicores and memory in bytes: every node may use the whole machine, as in kind.
fn machine() -> (u64, u64) {
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    (cpus * 1000, linux::usage::of_machine().map_or(1 << 30, |memory| memory.total))
}

/// Tells the kubelets what their pods, and the machine, have left of memory. Without control groups the machine's is all that is known.
fn memory_meter(cgroups: Arc<dyn linux::cgroup::Backend>) -> Meter {
    Box::new(move || {
        let machine = linux::usage::of_machine()?;
        let of_machine =
            Shared { limit: machine.total, working_set: machine.total.saturating_sub(machine.available) };
        let pods = cgroups.memory().unwrap_or(of_machine);
        Some(Memory {
            limit: pods.limit.min(machine.total),
            used: pods.working_set,
            machine: machine.available,
        })
    })
}
