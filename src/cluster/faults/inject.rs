//! Breaks things for real, and mends them again: what `ropewalk fault` does. The list of what is
//! broken is in [`Faults`](super::Faults).

use super::held;
use super::{DELAY_MAX, Faults, KUBELET};
use crate::components;
use crate::error::{Error, chain};
use crate::home::Place;
use crate::node::Node;
use crate::node::kubelets::supervise_kubelet;
use crate::refusal::Refusal;
use crate::spec::Spec;
use crate::world::World;
use cri::{ContainerState, Runtime, SandboxState};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tap::{Act, Component, Event, Fault, Record};
use task::Crew;

/// A graceful end of a node gives its components this long.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// Breaks or mends what `fault` says, and notes it in the list.
///
/// # Errors
/// A node, component or amount that does not exist, and what the kernel refuses; in words for
/// people.
pub(crate) async fn act(world: &Arc<World>, fault: Fault) -> Result<Value, Error> {
    let done = carry_out(world, fault).await;
    world.faults.notify(); // also of what failed halfway
    done
}

async fn carry_out(world: &Arc<World>, fault: Fault) -> Result<Value, Error> {
    let event = Event::Fault(fault.clone());
    let _acting = match fault {
        Fault::List => None,
        _ => Some(world.faults.acting().await),
    };
    let answer = match fault {
        Fault::List => return Ok(json!({ "faults": world.faults.list() })),
        Fault::Kill { component, node } => kill(world, &component, node.as_deref())?,
        Fault::Stop { component, node } => held::stop(world, &component, node.as_deref())?,
        Fault::Start { component, node } => {
            let started = held::start(world, &component, node.as_deref())?;
            held::with_back_offs(world, &component, started).await
        }
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
            // Before the links: one that the kernel does not mend must leave no store without room.
            world.disks.empty();
            let disks = world.faults.empty_disks();
            world.fabric.heal().await?;
            json!({ "healed": disks + world.faults.heal() })
        }
        Fault::Node { node, act } => power(world, &node, act).await?,
    };
    world.tap.at("", Component::Fault).emit(Record::new(event));
    Ok(answer)
}

pub(super) fn named(world: &World, name: &str) -> Result<Arc<Node>, Error> {
    world.node(name).ok_or_else(|| missing_node(name, &world.spec, &world.place).into())
}

/// Says why there is no node of this name: it is still being made, or the cluster has none. The
/// control socket answers before the first node is made.
fn missing_node(name: &str, spec: &Spec, place: &Place) -> Refusal {
    let known: Vec<String> = spec.nodes().into_iter().map(|node| node.name).collect();
    match known.iter().any(|known| known == name) {
        true => still_starting(place),
        false => Refusal::NoSuchNode { node: name.into(), known },
    }
}

fn still_starting(place: &Place) -> Refusal {
    Refusal::Starting { name: place.name.clone(), log: place.log().display().to_string() }
}

/// Lists the nodes of a cluster, for a fault that names none.
///
/// # Errors
/// As [`require_all`].
pub(super) fn every_node(world: &World) -> Result<Vec<Arc<Node>>, Error> {
    require_all(world.all_nodes(), world.spec.nodes().len(), &world.place).map_err(Error::from)
}

/// Returns the nodes that are made, if those are all `wanted` ones.
///
/// # Errors
/// [`Refusal::Starting`]: the fault would leave out those that are still being made.
fn require_all<T>(made: Vec<T>, wanted: usize, place: &Place) -> Result<Vec<T>, Refusal> {
    if made.len() < wanted { Err(still_starting(place)) } else { Ok(made) }
}

fn pair(world: &World, a: &str, b: &str) -> Result<(u8, u8), Error> {
    let (one, other) = (named(world, a)?, named(world, b)?);
    match one.spec.index == other.spec.index {
        true => Err(Refusal::OneNode { node: a.into() }.into()),
        false => Ok((one.spec.index, other.spec.index)),
    }
}

/// Fills the disks of these nodes, so that their stores find no room.
fn fill(world: &World, node: Option<&str>) -> Result<Value, Error> {
    if world.spec.external_etcd.is_some() {
        return Err(Refusal::NoStore { node: node.unwrap_or(&world.spec.name).into() }.into());
    }
    let nodes = match node {
        Some(name) => vec![named(world, name)?],
        None => every_node(world)?.into_iter().filter(|n| n.spec.control_plane).collect(),
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
    let (mut killed, mut passed, mut ended_on) = (Vec::new(), Vec::new(), None);
    for place in held::places(world, component, node)? {
        let name = place.spec.name.clone();
        let kubelet = place.kubelet.lock().clone();
        let (hit, is_there) = match component {
            KUBELET => (kill_running(kubelet.clone()), kubelet.is_some()),
            component => (place.cri.kill(component), place.cri.has_container(component)),
        };
        ended_on = ended_on.or_else(|| (is_there && !hit).then(|| name.clone()));
        match hit {
            true => killed.push(format!("{component}/{name}")),
            false => passed.push(name),
        }
    }
    match killed.is_empty() {
        true => Err(not_killed(&world.faults, component, node, passed, ended_on.as_deref()).into()),
        false => Ok(json!({ "killed": killed })),
    }
}

/// Says why there was nothing to kill on the nodes that were looked at: `fault stop` holds the
/// component down, it has ended on the node `ended_on`, or it does not run there.
fn not_killed(
    faults: &Faults,
    component: &str,
    node: Option<&str>,
    nodes: Vec<String>,
    ended_on: Option<&str>,
) -> Refusal {
    let is_held = nodes.iter().any(|node| faults.is_held(component, node));
    match (is_held, ended_on) {
        (true, _) => Refusal::Stopped { component: held::given(component, node) },
        (false, Some(place)) => held::waits(faults, component, node, place),
        (false, None) => Refusal::NotOnNodes { component: component.into(), nodes },
    }
}

/// Kills a kubelet that runs. `false`: none does. One that has ended stays in its node's place
/// during the pause before the next start.
fn kill_running(kubelet: Option<Crew>) -> bool {
    kubelet.filter(|kubelet| kubelet.ended().is_none()).inspect(Crew::kill).is_some()
}

/// Returns the names that `fault kill`, `fault stop` and `fault start` take.
pub fn killable() -> impl Iterator<Item = &'static str> {
    std::iter::once(KUBELET).chain(components::ALL)
}

async fn power(world: &Arc<World>, name: &str, act: Act) -> Result<Value, Error> {
    let node = named(world, name)?;
    let off = world.faults.is_off(name);
    match (act, off) {
        (Act::Start, false) => Err(Refusal::NodeRuns { node: name.into() }.into()),
        (Act::Start, true) => {
            // A kubelet that `fault stop` holds down waits for its `fault start`.
            let is_held = world.faults.is_held(KUBELET, name);
            let start = || if is_held { Ok(()) } else { supervise_kubelet(world, &node) };
            let plug = |inserted| world.fabric.plug(node.spec.index, inserted);
            switch_on(&world.faults, name, plug, start).await?;
            Ok(json!({ "started": name, "asleep": is_held }))
        }
        (Act::Stop | Act::Crash, true) => Err(Refusal::NodeOff { node: name.into() }.into()),
        (Act::Stop | Act::Crash, false) => {
            let only = node.spec.control_plane && world.spec.control_planes == 1;
            let was_silent = held::no_api(world);
            if act == Act::Crash {
                // The plug first: no peer hears from it again.
                world.fabric.plug(node.spec.index, false).await?;
            }
            // Noted before the rest, so that `node start` takes back also what failed halfway.
            world.faults.note(if act == Act::Stop { "stopped" } else { "crashed" }, &[name], None);
            // Without a kubelet in this place none is started again.
            let kubelet = node.kubelet.lock().take();
            if let Some(kubelet) = kubelet {
                kubelet.kill();
            }
            let off = switch_off(&*node.cri, act == Act::Stop).await;
            if act == Act::Stop {
                world.fabric.plug(node.spec.index, false).await?;
            }
            off?;
            let silent = held::is_silenced(was_silent, held::no_api(world));
            Ok(json!({ "off": name, "onlyControlPlane": only, "silent": silent }))
        }
    }
}

/// Plugs a node that is off in again, and starts its kubelet. If one of the two fails, the node is
/// off as it was before: without its cable, stopped or crashed since then.
///
/// # Errors
/// What `plug` or `start` returned.
async fn switch_on<P>(
    faults: &Faults,
    name: &str,
    plug: impl Fn(bool) -> P,
    start: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error>
where
    P: Future<Output = cni::Result<()>>,
{
    let mut started = plug(true).await.map_err(Error::from);
    if started.is_ok() {
        // Before the start, for a node that is off starts nothing.
        let fault = faults.note_on(name);
        started = start();
        if started.is_err() {
            faults.put_back(fault);
        }
    }
    if started.is_err() {
        // The first error is the one to report; the next `node start` begins with the cable.
        let _ = plug(false).await;
    }
    started
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
    use lang::Lang;

    #[tokio::test]
    async fn a_node_that_cannot_be_started_is_off_as_it_was_before() {
        let faults = Faults::default();
        faults.note("crashed", &["n"], None);
        let before = faults.list();
        let is_in = std::cell::Cell::new(false);
        let plug = |inserted| {
            is_in.set(inserted);
            std::future::ready(Ok(()))
        };
        let broken = || {
            assert!(is_in.get() && !faults.is_off("n"), "a node that is off starts nothing");
            Err(Error::Start("no certificate".into()))
        };
        assert!(switch_on(&faults, "n", plug, broken).await.is_err());
        assert!(!is_in.get(), "the cable is out again");
        assert_eq!(faults.list(), before, "crashed, and since then");
        let no_wire = |inserted| {
            is_in.set(inserted);
            let refused = cni::Error::Kernel { what: "the wire".into(), cause: std::io::Error::other("no") };
            std::future::ready(if inserted { Err(refused) } else { Ok(()) })
        };
        let unplugged = switch_on(&faults, "n", no_wire, || panic!("it has no network"));
        assert!(unplugged.await.is_err() && !is_in.get());
        assert_eq!(faults.list(), before);
        switch_on(&faults, "n", plug, || Ok(())).await.unwrap();
        assert!(is_in.get() && faults.list().is_empty());
    }

    /// `up` in one terminal, `fault stop kube-scheduler` in another one: "kube-scheduler is stopped
    /// already", and "there is no node ropewalk-worker", would be wrong a moment later.
    #[test]
    fn a_fault_of_a_node_that_is_still_being_made_is_refused_for_that_reason() {
        let place = crate::Home::at("/h").cluster("t").unwrap();
        let spec = Spec::new("t");
        let starts = missing_node("ropewalk-worker2", &spec, &place);
        assert_eq!(
            require_all(vec!["ropewalk-control-plane"], spec.nodes().len(), &place),
            Err(starts.clone())
        );
        assert_eq!(require_all(vec!["a", "b", "c"], spec.nodes().len(), &place), Ok(vec!["a", "b", "c"]));
        for lang in [Lang::En, Lang::Ko] {
            assert!(starts.say(lang).contains("/h/clusters/t/log/ropewalk.log"), "{}", starts.say(lang));
        }
        let none = missing_node("nowhere", &spec, &place).to_string();
        assert!(none.ends_with("ropewalk-control-plane, ropewalk-worker, ropewalk-worker2"), "{none}");
    }

    /// "kube-scheduler does not run there; components are … kube-scheduler" helps no one.
    #[test]
    fn what_another_fault_has_ended_is_refused_for_that_reason() {
        let faults = Faults::default();
        faults.hold("kube-scheduler", "b");
        let refusal = |component: &str, node: Option<&str>| {
            let nodes = node.map_or_else(|| vec!["b".into(), "c".into()], |node| vec![node.into()]);
            not_killed(&faults, component, node, nodes, Some("c"))
        };
        let stopped = |component: &str| Refusal::Stopped { component: component.into() };
        assert_eq!(refusal("kube-scheduler", Some("b")), stopped("kube-scheduler/b"));
        assert_eq!(refusal("kube-scheduler", None), stopped("kube-scheduler"));
        let waits = |component: &str| Refusal::Waits { component: component.into() };
        assert_eq!(refusal("kube-scheduler", Some("c")), waits("kube-scheduler/c"));
        assert_eq!(refusal("etcd", Some("b")), waits("etcd/b"));
        assert_eq!(refusal("etcd", None), waits("etcd"));
        // It is stopped on a node that is off, so no start of it would help.
        faults.hold("coredns", "off");
        assert_eq!(refusal("coredns", None), waits("coredns"));
    }

    /// "It does not run there" names no place.
    #[test]
    fn a_component_that_does_not_run_is_refused_with_the_nodes() {
        let nodes = || vec!["b".to_string(), "c".to_string()];
        let refused = not_killed(&Faults::default(), "coredns", None, nodes(), None);
        assert_eq!(refused, Refusal::NotOnNodes { component: "coredns".into(), nodes: nodes() });
        for (lang, sentence) in
            [(Lang::En, "coredns does not run on b, c; "), (Lang::Ko, "있지 않습니다: b, c. ")]
        {
            assert!(refused.say(lang).contains(sentence), "{}", refused.say(lang));
        }
    }

    /// As a component: between its end and its next start there is nothing to kill.
    #[test]
    fn a_kubelet_that_has_ended_is_not_killed_once_more() {
        let kubelet = Crew::new("kubelet");
        assert!(kill_running(Some(kubelet.clone())));
        assert!(!kill_running(Some(kubelet)) && !kill_running(None));
    }

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
            assert!(switch_off(&fake, gracefully).await.is_err(), "it is reported");
            let left = fake.list_pod_sandboxes().await.unwrap();
            let ready = left.iter().filter(|sandbox| sandbox.state == SandboxState::Ready).count();
            assert_eq!((left.len(), ready), (3, 1), "only what failed");
            switch_off(&fake, gracefully).await.unwrap();
        }
    }
}
