//! Things that break for real, and are mended again: what `ropewalk fault` does.

use super::node::Node;
use super::world::World;
use super::{Error, Trouble, boot, chain, components};
use crate::clock::{self, Timestamp};
use crate::cri::{ContainerState, Runtime, SandboxState};
use crate::tap::Record;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A graceful end of a node gives its components this long.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// What to break, or to mend. Nodes and components by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fault {
    /// What is broken now.
    List,
    /// Ends a component without asking it; on every node if none is named.
    Kill { component: String, node: Option<String> },
    /// Loses everything between two nodes.
    Cut { a: String, b: String },
    /// Delays what two nodes send, by milliseconds.
    Slow { a: String, b: String, millis: u64 },
    /// Loses a share of what passes between two nodes, in percent.
    Loss { a: String, b: String, percent: f64 },
    /// A store finds no room on its disk; that of every control plane if none is named.
    Disk { node: Option<String> },
    /// Mends every link, and makes room on every disk.
    Heal,
    /// A node's machine: switched off properly, started, or its plug pulled.
    Node { node: String, act: Act },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Act {
    Stop,
    Start,
    Crash,
}

impl Fault {
    /// The words after `fault`, as a lesson or a lab writes them.
    pub fn parse(words: &[String]) -> Result<Fault, String> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let number = |word: &str| word.parse::<f64>().map_err(|_| format!("{word:?} is not a number"));
        let owned = |word: &str| word.to_string();
        Ok(match words.as_slice() {
            ["list"] => Fault::List,
            ["heal"] => Fault::Heal,
            ["disk", "full"] => Fault::Disk { node: None },
            ["disk", "full", node] => Fault::Disk { node: Some(owned(node)) },
            ["kill", target] => match target.split_once('/') {
                Some((component, node)) => {
                    Fault::Kill { component: owned(component), node: Some(owned(node)) }
                }
                None => Fault::Kill { component: owned(target), node: None },
            },
            ["cut", a, b] => Fault::Cut { a: owned(a), b: owned(b) },
            ["slow", a, b, millis] => {
                Fault::Slow { a: owned(a), b: owned(b), millis: number(millis)?.max(0.0) as u64 }
            }
            ["loss", a, b, percent] => Fault::Loss { a: owned(a), b: owned(b), percent: number(percent)? },
            ["node", act, node] => {
                let act = match *act {
                    "stop" => Act::Stop,
                    "start" => Act::Start,
                    "crash" => Act::Crash,
                    other => return Err(format!("{other:?} is none of stop, start, crash")),
                };
                Fault::Node { node: owned(node), act }
            }
            other => {
                return Err(format!(
                    "no fault is written {:?}; write list, heal, kill COMPONENT[/NODE], cut A B, slow A B MS, loss A B PERCENT, disk full [NODE] or node stop|start|crash NODE",
                    other.join(" ")
                ));
            }
        })
    }
}

/// The words that [`Fault::parse`] reads.
impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::List => f.write_str("list"),
            Fault::Heal => f.write_str("heal"),
            Fault::Disk { node: Some(node) } => write!(f, "disk full {node}"),
            Fault::Disk { node: None } => f.write_str("disk full"),
            Fault::Kill { component, node: Some(node) } => write!(f, "kill {component}/{node}"),
            Fault::Kill { component, node: None } => write!(f, "kill {component}"),
            Fault::Cut { a, b } => write!(f, "cut {a} {b}"),
            Fault::Slow { a, b, millis } => write!(f, "slow {a} {b} {millis}"),
            Fault::Loss { a, b, percent } => write!(f, "loss {a} {b} {percent}"),
            Fault::Node { node, act: Act::Stop } => write!(f, "node stop {node}"),
            Fault::Node { node, act: Act::Start } => write!(f, "node start {node}"),
            Fault::Node { node, act: Act::Crash } => write!(f, "node crash {node}"),
        }
    }
}

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
    /// Held while a machine is switched on or off, or a link changed: the list says what was done last.
    acting: tokio::sync::Mutex<()>,
}

impl Faults {
    fn all(&self) -> std::sync::MutexGuard<'_, Vec<Broken>> {
        self.broken.lock().unwrap_or_else(|e| e.into_inner())
    }

    pub fn list(&self) -> Vec<Broken> {
        self.all().clone()
    }

    fn note(&self, fault: &str, nodes: &[&str], amount: Option<f64>) {
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

    /// Is anything wrong with the node or its links?
    pub fn touches(&self, node: &str) -> bool {
        self.all().iter().any(|b| b.nodes.iter().any(|n| n == node))
    }

    /// Is the node switched off?
    pub fn is_off(&self, node: &str) -> bool {
        self.all().iter().any(|b| matches!(b.fault.as_str(), "stopped" | "crashed") && b.nodes == [node])
    }
}

/// Does it. An error is for people.
pub async fn act(world: &Arc<World>, fault: Fault) -> Result<Value, Error> {
    let told = json!(&fault);
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
                return Err(Trouble::NotAShare { percent: percent.to_string() }.into());
            }
            let (one, other) = pair(world, &a, &b)?;
            world.fabric.lose(one, other, percent).await?;
            world.faults.note("loss", &[&a, &b], Some(percent));
            json!({ "loss": [a, b], "percent": percent })
        }
        Fault::Slow { a, b, millis } => {
            let (one, other) = pair(world, &a, &b)?;
            // All that a node sends is delayed, and a node has one delay: the last one.
            for (node, name) in [(one, &a), (other, &b)] {
                let slowed = world.fabric.slow(node, Duration::from_millis(millis)).await;
                slowed.map_err(|e| Trouble::NoNetem { why: chain(&e) })?;
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
            all.retain(|b| matches!(b.fault.as_str(), "stopped" | "crashed"));
            json!({ "healed": before - all.len() })
        }
        Fault::Node { node, act } => power(world, &node, act).await?,
    };
    world.tap.at("", "fault").emit(Record::new("fault").detail(told));
    Ok(answer)
}

fn named(world: &World, name: &str) -> Result<Arc<Node>, Error> {
    world.node(name).ok_or_else(|| {
        let known = world.all_nodes().iter().map(|n| n.spec.name.clone()).collect();
        Trouble::NoSuchNode { node: name.into(), known }.into()
    })
}

fn pair(world: &World, a: &str, b: &str) -> Result<(u8, u8), Error> {
    let (one, other) = (named(world, a)?, named(world, b)?);
    match one.spec.index == other.spec.index {
        true => Err(Trouble::OneNode { node: a.into() }.into()),
        false => Ok((one.spec.index, other.spec.index)),
    }
}

/// No room for the stores of these nodes.
fn fill(world: &World, node: Option<&str>) -> Result<Value, Error> {
    if world.spec.external_etcd.is_some() {
        return Err(Trouble::NoStore { node: node.unwrap_or("the cluster").into() }.into());
    }
    let nodes = match node {
        Some(name) => vec![named(world, name)?],
        None => world.all_nodes().into_iter().filter(|n| n.spec.control_plane).collect(),
    };
    if let Some(worker) = nodes.iter().find(|n| !n.spec.control_plane) {
        return Err(Trouble::NoStore { node: worker.spec.name.clone() }.into());
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
                let crew = node.kubelet.lock().unwrap_or_else(|e| e.into_inner()).clone();
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
            Err(Trouble::NoSuchComponent { component: component.into(), known }.into())
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
        (Act::Start, false) => Err(Trouble::NodeRuns { node: name.into() }.into()),
        (Act::Start, true) => {
            world.fabric.plug(node.spec.index, true).await?;
            boot::keep_kubelet(world, &node)?;
            world.faults.all().retain(|b| b.nodes != [name] || b.fault == "disk full");
            Ok(json!({ "started": name }))
        }
        (Act::Stop | Act::Crash, true) => Err(Trouble::NodeOff { node: name.into() }.into()),
        (Act::Stop | Act::Crash, false) => {
            let only = node.spec.control_plane && world.spec.control_planes == 1;
            if act == Act::Crash {
                // The plug first: nobody hears from it again.
                world.fabric.plug(node.spec.index, false).await?;
            }
            // Noted before the rest, so that `node start` takes back also what failed halfway.
            world.faults.note(if act == Act::Stop { "stopped" } else { "crashed" }, &[name], None);
            let off = switch_off(&node, act == Act::Stop).await;
            if act == Act::Stop {
                world.fabric.plug(node.spec.index, false).await?;
            }
            off?;
            Ok(json!({ "off": name, "onlyControlPlane": only }))
        }
    }
}

/// Ends everything on a node: its kubelet, its components, its pods.
///
/// # Errors
/// The first thing that could not be ended; all else was.
async fn switch_off(node: &Node, gracefully: bool) -> crate::cri::Result<()> {
    // Without a kubelet in this place nobody starts a new one.
    let kubelet = node.kubelet.lock().unwrap_or_else(|e| e.into_inner()).take();
    if let Some(kubelet) = kubelet {
        kubelet.kill();
    }
    let mut done = Ok(());
    if gracefully {
        let running = node.cri.list_containers().await?;
        let ends = running.iter().filter(|c| c.state == ContainerState::Running);
        let ends =
            futures::future::join_all(ends.map(|c| node.cri.stop_container(&c.id, STOP_PATIENCE))).await;
        done = ends.into_iter().fold(done, Result::and);
    }
    for sandbox in node.cri.list_pod_sandboxes().await? {
        if sandbox.state == SandboxState::Ready {
            done = done.and(node.cri.stop_pod_sandbox(&sandbox.id).await);
        }
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;

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
        faults.note("slow", &["b"], Some(0.0));
        assert_eq!(list(), ["cut b-c None", "disk full b None"]);
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
        assert!(parse("slow a b much").unwrap_err().contains("not a number"));
        assert!(parse("cut a").unwrap_err().contains("cut A B"));
    }
}
