//! The kubelets of the nodes: each is started, and started again when it ends, as systemd would.

use super::Node;
use super::objects;
use super::sockets::dialer;
use crate::components::manifests;
use crate::error::{Error, chain};
use crate::faults::{Faults, KUBELET};
use crate::world::World;
use net::addresses;
use parking_lot::Mutex;
use pki::Subject;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use task::Crew;

/// Pods on one node, as upstream's default.
const PODS_MAX: u32 = 110;
/// A kubelet that has run for this long is started again at once. One that ends sooner is started
/// again after a pause that doubles, up to this long: kubeadm's unit has `RestartSec=10`.
const RESTART_PAUSE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Returns the pause before a kubelet that has run for so long is started again; `last` is the one
/// before that.
fn pause(ran: Duration, last: Duration) -> Duration {
    if ran >= RESTART_PAUSE { Duration::ZERO } else { (last * 2).clamp(FIRST_PAUSE, RESTART_PAUSE) }
}

/// Starts the kubelets of all nodes.
///
/// # Errors
/// As [`supervise_kubelet`], of the first one that cannot be started.
pub(crate) async fn supervise_all(world: &Arc<World>) -> Result<(), Error> {
    let nodes = world.all_nodes();
    let facts = |node: &Arc<Node>| (node.spec.name.clone(), node.kubelet.lock().is_some());
    supervise_each(&world.faults, &nodes, facts, |node| supervise_kubelet(world, node)).await
}

/// Calls `start` for each node that is on, whose kubelet no fault holds down, and that has none
/// yet: the control socket answers before the first kubelet is started. The others are started when
/// the fault is over, or were, because it is over already. `facts`: the node's name, and whether it
/// has a kubelet.
async fn supervise_each<N>(
    faults: &Faults,
    nodes: &[N],
    facts: impl Fn(&N) -> (String, bool),
    start: impl Fn(&N) -> Result<(), Error>,
) -> Result<(), Error> {
    let _acting = faults.acting().await;
    for node in nodes {
        let (name, has_kubelet) = facts(node);
        if !has_kubelet && !faults.is_off(&name) && !faults.is_held(KUBELET, &name) {
            start(node)?;
        }
    }
    Ok(())
}

/// Starts the node's kubelet, and starts it again whenever it ends while it is the node's own.
pub(crate) fn supervise_kubelet(world: &Arc<World>, node: &Arc<Node>) -> Result<(), Error> {
    let first = start_kubelet(world, node)?;
    *node.kubelet.lock() = Some(first.clone());
    let (weak, kept) = (Arc::downgrade(world), node.clone());
    let start = move || Some(start_kubelet(&weak.upgrade()?, &kept));
    let node = node.clone();
    world.crew.spawn(async move { supervise(&node.spec.name, &node.kubelet, first, start).await });
    Ok(())
}

/// Starts a kubelet again whenever it ends, as long as `place` has the one that was started last:
/// another one, or none, means that the node was switched off meanwhile, or that the cluster is
/// stopping. So does `None` from `start`.
async fn supervise(
    node: &str,
    place: &Mutex<Option<Crew>>,
    first: Crew,
    start: impl Fn() -> Option<Result<Crew, Error>>,
) {
    let is_ours = |kubelet: &Crew, place: &Option<Crew>| place.as_ref().is_some_and(|own| own.is(kubelet));
    let (mut kubelet, mut waits) = (first, Duration::ZERO);
    loop {
        let began = clock::Instant::now();
        kubelet.wait().await;
        kubelet.kill(); // one that panicked still has tasks
        waits = pause(began.elapsed(), waits);
        loop {
            clock::pause(waits).await;
            let mut place = place.lock();
            if !is_ours(&kubelet, &place) {
                return;
            }
            // Started while the node cannot be switched off or on.
            match start() {
                None => return,
                Some(Ok(again)) => {
                    tracing::info!(node, "the kubelet ended and is started again");
                    *place = Some(again.clone());
                    kubelet = again;
                    break;
                }
                Some(Err(error)) => {
                    tracing::error!(node, error = chain(&error), "the kubelet cannot be started");
                    waits = pause(Duration::ZERO, waits);
                }
            }
        }
    }
}

fn start_kubelet(world: &Arc<World>, node: &Arc<Node>) -> Result<Crew, Error> {
    let name = node.spec.name.clone();
    let crew = Crew::new("kubelet");
    let user = format!("system:node:{name}");
    let dial = dialer(&node.network);
    let agent = format!("kubelet/{}", api::VERSION);
    let ip = addresses::node_ip(node.spec.index);
    let address = ip.to_string();
    let serving = world.ca.issue(&Subject::server(&user, &[name.as_str(), address.as_str()]))?;
    let mut labels: BTreeMap<String, String> = [
        ("kubernetes.io/hostname", name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", api::architecture()),
        ("beta.kubernetes.io/arch", api::architecture()),
    ]
    .map(|(k, v)| (k.to_string(), v.to_string()))
    .into();
    let (mut taints, mut annotations) = (Vec::new(), BTreeMap::new());
    if node.spec.control_plane {
        labels.insert(objects::CONTROL_PLANE.into(), String::new());
        labels.insert("node.kubernetes.io/exclude-from-external-load-balancers".into(), String::new());
        // Of the Node that it makes. A Node that is there already is brought up to date by
        // `objects`.
        if objects::is_tainted(&world.spec) {
            taints.push(objects::taint());
        }
        annotations.insert(objects::MARK.into(), objects::is_tainted(&world.spec).to_string());
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
            annotations,
            taints,
            capacity: kubelet::Capacity { cpu_milli, memory_bytes, pods_memory_bytes, pods: PODS_MAX },
            client: world.client(&name, &user, "system:nodes", &agent, dial)?,
            runtime: node.cri.clone(),
            network: node.network.clone(),
            dir: world.place.node(&name),
            machine: world.machine.clone(),
            logs: cri::LogLimits::default(),
            cluster_dns: world.dns_ip(),
            cluster_domain: world.domain.clone(),
            static_pods,
            tls: Some(pki::asking_server_config(&serving, world.ca.pem())?),
            hosts_cluster: node.spec.control_plane && node.spec.index == 1,
            version: api::VERSION.into(),
            tap: world.tap.at(&name, tap::Component::Kubelet),
        },
    );
    Ok(crew)
}

/// Returns CPU in millicores and memory in bytes: every node may use the whole machine, as in kind.
fn machine() -> (u64, u64) {
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    (cpus * 1000, linux::usage::of_machine().map_or(1 << 30, |memory| memory.total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A kubelet that ends whenever it is started, and one whose start fails.
    #[tokio::test(start_paused = true)]
    async fn a_kubelet_that_ends_at_once_is_started_again_after_longer_and_longer_pauses() {
        for is_error in [false, true] {
            let (starts, first) = (Arc::new(AtomicUsize::new(0)), Crew::new("kubelet"));
            first.kill();
            let place = Arc::new(Mutex::new(Some(first.clone())));
            let (counted, kept) = (starts.clone(), place.clone());
            let target = tokio::spawn(async move {
                let start = || {
                    counted.fetch_add(1, Ordering::SeqCst);
                    let crew = Crew::new("kubelet");
                    crew.kill();
                    Some(if is_error { Err(Error::Start("no".into())) } else { Ok(crew) })
                };
                supervise("n", &kept, first, start).await;
            });
            tokio::time::sleep(Duration::from_secs(60)).await;
            // After 0.5, 1, 2, 4, 8, 10, 10, 10 and 10 s.
            let seen = starts.load(Ordering::SeqCst);
            assert!((5..=9).contains(&seen), "{seen} starts in a minute");
            *place.lock() = None;
            tokio::time::timeout(RESTART_PAUSE * 2, target).await.expect("it ends").unwrap();
        }
    }

    /// `up` in one terminal, and `fault node crash` and `fault stop kubelet` in another one. Node
    /// `e` was started again by then, with its kubelet.
    #[tokio::test]
    async fn a_node_that_was_broken_before_its_kubelet_began_gets_none() {
        let faults = Faults::default();
        faults.note("crashed", &["a"], None);
        faults.hold(KUBELET, "b");
        faults.hold("kube-proxy", "c");
        faults.note("cut", &["c", "d"], None);
        let started = Mutex::new(Vec::new());
        let start = |node: &&'static str| {
            started.lock().push(*node);
            Ok(())
        };
        let facts = |node: &&'static str| (node.to_string(), *node == "e");
        supervise_each(&faults, &["a", "b", "c", "d", "e"], facts, start).await.unwrap();
        assert_eq!(started.into_inner(), ["c", "d"]);
    }

    #[test]
    fn a_kubelet_that_has_run_for_a_while_is_started_again_at_once() {
        assert_eq!(pause(RESTART_PAUSE, RESTART_PAUSE), Duration::ZERO);
        assert_eq!(pause(Duration::ZERO, Duration::ZERO), FIRST_PAUSE);
        assert_eq!(pause(Duration::ZERO, RESTART_PAUSE), RESTART_PAUSE);
    }

    /// The node was switched off and on during the pause: the other kubelet is the node's.
    #[tokio::test(start_paused = true)]
    async fn a_kubelet_is_not_started_beside_another_one_of_its_node() {
        let (first, other) = (Crew::new("kubelet"), Crew::new("kubelet"));
        first.kill();
        let place = Mutex::new(Some(other.clone()));
        let start = || panic!("a second kubelet was started");
        supervise("n", &place, first, start).await;
        assert!(place.lock().as_ref().is_some_and(|own| own.is(&other)));
        assert_eq!(other.ended(), None);
    }
}
