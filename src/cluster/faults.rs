//! Things that break for real, and are mended again: what `ropewalk fault` does.

use super::error::{Error, chain};
use super::node::Node;
use super::refusal::Refusal;
use super::world::World;
use super::{boot, components};
use clock::{self, Timestamp};
use cri::{ContainerState, Runtime, SandboxState};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tap::{Component, Event, Record};

pub use tap::{Act, Fault};

/// The longest delay that a link can have: beyond it even the slowest timeouts take the link for a
/// cut one.
pub const DELAY_MAX: u64 = 10_000;
/// A graceful end of a node gives its components this long.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// Something that is broken now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Broken {
    /// `cut`, `slow`, `loss`, `disk full`, `stopped` or `crashed`.
    pub fault: String,
    /// The node, or the two.
    pub nodes: Vec<String>,
    /// Milliseconds or percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<f64>,
    pub since: Timestamp,
}

/// All that is broken, the newest last.
#[derive(Default)]
pub struct Faults {
    broken: Mutex<Vec<Broken>>,
    /// Held while a machine is switched on or off, or a link changed: the list says what was done
    /// last.
    acting: tokio::sync::Mutex<()>,
}

impl Faults {
    fn all(&self) -> parking_lot::MutexGuard<'_, Vec<Broken>> {
        self.broken.lock()
    }

    /// Everything that is broken now, the newest last.
    pub fn list(&self) -> Vec<Broken> {
        self.all().clone()
    }

    /// Adds a fault of these nodes to the list, in place of an earlier one of its kind. An amount
    /// of zero only removes that one.
    pub(crate) fn note(&self, fault: &str, nodes: &[&str], amount: Option<f64>) {
        let mut nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
        nodes.sort();
        // A link has one share of loss: a cut and a loss replace each other.
        let is_link = |fault: &str| matches!(fault, "cut" | "loss");
        let mut all = self.all();
        all.retain(|b| b.nodes != nodes || b.fault != fault && !(is_link(fault) && is_link(&b.fault)));
        if amount != Some(0.0) {
            all.push(Broken { fault: fault.into(), nodes, amount, since: clock::now() });
        }
    }

    /// The node is switched on again. Its links and its disk are as they were: what slows it stays.
    fn note_on(&self, node: &str) {
        self.all().retain(|b| b.nodes != [node] || !is_off(b));
    }

    /// Is anything wrong with the node or its links?
    pub fn touches(&self, node: &str) -> bool {
        self.all().iter().any(|b| b.nodes.iter().any(|n| n == node))
    }

    /// Returns by how much a fault delays all that the node sends; zero if none does.
    pub(crate) fn delay(&self, node: &str) -> Duration {
        let all = self.all();
        let slow = all.iter().find(|b| b.fault == "slow" && b.nodes == [node]);
        Duration::from_millis(slow.and_then(|b| b.amount).unwrap_or_default() as u64)
    }

    /// Is the node switched off?
    pub(crate) fn is_off(&self, node: &str) -> bool {
        self.all().iter().any(|b| is_off(b) && b.nodes == [node])
    }
}

/// True if it is a whole machine that is switched off.
fn is_off(broken: &Broken) -> bool {
    matches!(broken.fault.as_str(), "stopped" | "crashed")
}

/// Breaks or mends what `fault` says, and notes it in the list.
///
/// # Errors
/// A node, component or amount that does not exist, and what the kernel refuses; in words for
/// people.
pub async fn act(world: &Arc<World>, fault: Fault) -> Result<Value, Error> {
    let event = Event::Fault(fault.clone());
    let _acting = match fault {
        Fault::List => None,
        _ => Some(world.faults.acting.lock().await),
    };
    let answer = match fault {
        Fault::List => return Ok(json!({ "faults": world.faults.list() })),
        Fault::Kill { component, node } => kill(world, &component, node.as_deref())?,
        Fault::Cut { a, b } => {
            let (one, other) = pair(world, &a, &b)?;
            world.fabric.lose(one, other, 100.0).await?;
            world.faults.note("cut", &[&a, &b], None);
            json!({ "cut": [a, b] })
        }
        Fault::Loss { a, b, percent } => {
            if !(0.0..=100.0).contains(&percent) {
                return Err(Refusal::NotAShare { percent: percent.to_string() }.into());
            }
            let (one, other) = pair(world, &a, &b)?;
            world.fabric.lose(one, other, percent).await?;
            world.faults.note("loss", &[&a, &b], Some(percent));
            json!({ "loss": [a, b], "percent": percent })
        }
        Fault::Slow { a, b, millis } => {
            if millis > DELAY_MAX {
                return Err(Refusal::TooSlow { millis }.into());
            }
            let (one, other) = pair(world, &a, &b)?;
            // All that a node sends is delayed, and a node has one delay: the last one.
            for (node, name) in [(one, &a), (other, &b)] {
                let slowed = world.fabric.slow(node, Duration::from_millis(millis)).await;
                slowed.map_err(|e| Refusal::NoNetem { why: chain(&e) })?;
                world.faults.note("slow", &[name], Some(millis as f64));
            }
            json!({ "slow": [a, b], "millis": millis })
        }
        Fault::Disk { node } => fill(world, node.as_deref())?,
        Fault::Heal => {
            world.fabric.heal().await?;
            world.disks.empty();
            let mut all = world.faults.all();
            let before = all.len();
            all.retain(is_off);
            json!({ "healed": before - all.len() })
        }
        Fault::Node { node, act } => power(world, &node, act).await?,
    };
    world.tap.at("", Component::Fault).emit(Record::new(event));
    Ok(answer)
}

fn named(world: &World, name: &str) -> Result<Arc<Node>, Error> {
    world.node(name).ok_or_else(|| {
        let known = world.all_nodes().iter().map(|n| n.spec.name.clone()).collect();
        Refusal::NoSuchNode { node: name.into(), known }.into()
    })
}

fn pair(world: &World, a: &str, b: &str) -> Result<(u8, u8), Error> {
    let (one, other) = (named(world, a)?, named(world, b)?);
    match one.spec.index == other.spec.index {
        true => Err(Refusal::OneNode { node: a.into() }.into()),
        false => Ok((one.spec.index, other.spec.index)),
    }
}

/// No room for the stores of these nodes.
fn fill(world: &World, node: Option<&str>) -> Result<Value, Error> {
    if world.spec.external_etcd.is_some() {
        return Err(Refusal::NoStore { node: node.unwrap_or(&world.spec.name).into() }.into());
    }
    let nodes = match node {
        Some(name) => vec![named(world, name)?],
        None => world.all_nodes().into_iter().filter(|n| n.spec.control_plane).collect(),
    };
    if let Some(worker) = nodes.iter().find(|n| !n.spec.control_plane) {
        return Err(Refusal::NoStore { node: worker.spec.name.clone() }.into());
    }
    for node in &nodes {
        world.disks.fill(&node.spec.name);
        world.faults.note("disk full", &[&node.spec.name], None);
    }
    Ok(json!({ "full": nodes.iter().map(|n| n.spec.name.as_str()).collect::<Vec<_>>() }))
}

fn kill(world: &World, component: &str, node: Option<&str>) -> Result<Value, Error> {
    let nodes = match node {
        Some(name) => vec![named(world, name)?],
        None => world.all_nodes(),
    };
    let mut killed = Vec::new();
    for node in nodes {
        let hit = match component {
            "kubelet" => {
                let crew = node.kubelet.lock().clone();
                crew.inspect(|c| c.kill()).is_some()
            }
            name => node.cri.kill(name),
        };
        if hit {
            killed.push(format!("{component}/{}", node.spec.name));
        }
    }
    match killed.is_empty() {
        true => {
            let known = killable().map(String::from).collect();
            Err(Refusal::NoSuchComponent { component: component.into(), known }.into())
        }
        false => Ok(json!({ "killed": killed })),
    }
}

/// What `fault kill` takes.
pub fn killable() -> impl Iterator<Item = &'static str> {
    std::iter::once("kubelet").chain(components::ALL)
}

async fn power(world: &Arc<World>, name: &str, act: Act) -> Result<Value, Error> {
    let node = named(world, name)?;
    let off = world.faults.is_off(name);
    match (act, off) {
        (Act::Start, false) => Err(Refusal::NodeRuns { node: name.into() }.into()),
        (Act::Start, true) => {
            world.fabric.plug(node.spec.index, true).await?;
            // First, for a node that is off starts nothing.
            world.faults.note_on(name);
            if let Err(error) = boot::keep_kubelet(world, &node) {
                world.faults.note("stopped", &[name], None);
                return Err(error);
            }
            Ok(json!({ "started": name }))
        }
        (Act::Stop | Act::Crash, true) => Err(Refusal::NodeOff { node: name.into() }.into()),
        (Act::Stop | Act::Crash, false) => {
            let only = node.spec.control_plane && world.spec.control_planes == 1;
            if act == Act::Crash {
                // The plug first: nobody hears from it again.
                world.fabric.plug(node.spec.index, false).await?;
            }
            // Noted before the rest, so that `node start` takes back also what failed halfway.
            world.faults.note(if act == Act::Stop { "stopped" } else { "crashed" }, &[name], None);
            // Without a kubelet in this place nobody starts a new one.
            let kubelet = node.kubelet.lock().take();
            if let Some(kubelet) = kubelet {
                kubelet.kill();
            }
            let off = switch_off(&*node.cri, act == Act::Stop).await;
            if act == Act::Stop {
                world.fabric.plug(node.spec.index, false).await?;
            }
            off?;
            Ok(json!({ "off": name, "onlyControlPlane": only }))
        }
    }
}

/// Ends everything on a node whose kubelet has ended: its components, its pods.
///
/// # Errors
/// The first thing that could not be ended; all else was.
async fn switch_off(cri: &dyn Runtime, gracefully: bool) -> cri::Result<()> {
    let mut done = Ok(());
    if gracefully {
        let running = cri.list_containers().await?;
        let ends = running.iter().filter(|c| c.state == ContainerState::Running);
        let ends = futures::future::join_all(ends.map(|c| cri.stop_container(&c.id, STOP_PATIENCE))).await;
        done = ends.into_iter().fold(done, Result::and);
    }
    for sandbox in cri.list_pod_sandboxes().await? {
        if sandbox.state == SandboxState::Ready {
            let stopped = cri.stop_pod_sandbox(&sandbox.id).await; // also behind an error
            done = done.and(stopped);
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `node start` takes back what failed halfway. But nothing may run on a node that is off.
    #[tokio::test(start_paused = true)]
    async fn a_pod_that_cannot_be_stopped_keeps_no_other_one_running() {
        use cri::{PodId, SandboxConfig};
        let [node_ip, pods] = [[172, 18, 0, 2], [10, 244, 1, 0]].map(std::net::Ipv4Addr::from);
        for gracefully in [true, false] {
            let fake = cri::fake::FakeRuntime::new(node_ip, pods, rng::Rng::seeded(1));
            for name in ["a", "b", "c"] {
                let uid = name.to_string();
                let pod = PodId { namespace: "default".into(), name: name.into(), uid };
                fake.run_pod_sandbox(SandboxConfig { pod, ..SandboxConfig::default() }).await.unwrap();
            }
            fake.fail_sandbox_stops(1);
            assert!(switch_off(&fake, gracefully).await.is_err(), "it is told");
            let left = fake.list_pod_sandboxes().await.unwrap();
            let ready = left.iter().filter(|sandbox| sandbox.state == SandboxState::Ready).count();
            assert_eq!((left.len(), ready), (3, 1), "only what failed");
            switch_off(&fake, gracefully).await.unwrap();
        }
    }

    #[test]
    fn the_list_of_faults_says_what_the_network_does() {
        let faults = Faults::default();
        let list = || -> Vec<String> {
            let told = |b: Broken| format!("{} {} {:?}", b.fault, b.nodes.join("-"), b.amount);
            faults.list().into_iter().map(told).collect()
        };
        faults.note("cut", &["b", "a"], None);
        faults.note("cut", &["b", "c"], None);
        faults.note("loss", &["a", "b"], Some(10.0));
        assert_eq!(list(), ["cut b-c None", "loss a-b Some(10.0)"], "a link has one share of loss");
        faults.note("cut", &["a", "b"], None);
        assert_eq!(list(), ["cut b-c None", "cut a-b None"]);
        faults.note("loss", &["a", "b"], Some(0.0));
        assert_eq!(list(), ["cut b-c None"], "a loss of nothing mends the link");
        faults.note("slow", &["b"], Some(100.0));
        faults.note("disk full", &["b"], None);
        faults.note("slow", &["b"], Some(10.0));
        assert_eq!(list(), ["cut b-c None", "disk full b None", "slow b Some(10.0)"], "a node has one delay");
        // The machine of a slow node crashes and is started again: the delay is on its network
        // card.
        faults.note("crashed", &["b"], None);
        assert!(faults.is_off("b"));
        faults.note_on("b");
        assert!(!faults.is_off("b") && faults.touches("b"));
        assert_eq!(list(), ["cut b-c None", "disk full b None", "slow b Some(10.0)"]);
        assert_eq!((faults.delay("b"), faults.delay("c")), (Duration::from_millis(10), Duration::ZERO));
        faults.note("slow", &["b"], Some(0.0));
        assert_eq!(list(), ["cut b-c None", "disk full b None"]);
        assert_eq!(faults.delay("b"), Duration::ZERO);
    }

    #[test]
    fn faults_are_written_as_on_the_command_line() {
        let parse = |line: &str| Fault::parse(&line.split(' ').map(String::from).collect::<Vec<_>>());
        let kill = Fault::Kill { component: "etcd".into(), node: Some("n1".into()) };
        assert_eq!(parse("kill etcd/n1"), Ok(kill));
        for line in [
            "list",
            "heal",
            "disk full",
            "disk full a",
            "kill etcd",
            "kill etcd/n1",
            "cut a b",
            "slow a b 30",
            "loss a b 0.5",
        ] {
            assert_eq!(parse(line).map(|f| f.to_string()), Ok(line.to_string()));
        }
        for act in ["stop", "start", "crash"] {
            let line = format!("node {act} a");
            assert_eq!(parse(&line).map(|f| f.to_string()), Ok(line));
        }
        assert_eq!(parse("cut a b"), Ok(Fault::Cut { a: "a".into(), b: "b".into() }));
        assert_eq!(parse("loss a b 0.5"), Ok(Fault::Loss { a: "a".into(), b: "b".into(), percent: 0.5 }));
        assert_eq!(parse("node crash a"), Ok(Fault::Node { node: "a".into(), act: Act::Crash }));
        assert!(parse("node burn a").unwrap_err().contains("stop, start, crash"));
        for nonsense in ["much", "0.9", "-5", "NaN", "18446744073709551616"] {
            let said = parse(&format!("slow a b {nonsense}")).unwrap_err();
            assert!(said.contains("not a number of milliseconds"), "{nonsense}: {said}");
        }
        assert!(parse("cut a").unwrap_err().contains("cut A B"));
    }
}
