//! `ropewalk fault stop COMPONENT` and `fault start COMPONENT`: a component that stays down until
//! it is started. `fault kill` ends it once, and the kubelet starts it again.
//!
//! ```text
//! fault stop kube-scheduler     the hold is noted, then the component is ended
//!   kubelet: CreateContainer    refused by the runtime as long as the hold is there: the pod shows
//!                               CreateContainerError with the command that ends it
//! fault start kube-scheduler    the hold is removed, and the kubelet looks at the pod at once
//! ```
//!
//! A kubelet is started again by `supervise` in `node::kubelets` alone, which gives up when the
//! node's place for a kubelet is empty.

use super::inject::{every_node, killable, named};
use super::{Faults, KUBELET};
use crate::components;
use crate::components::images::component_of;
use crate::error::Error;
use crate::node::Node;
use crate::node::kubelets::supervise_kubelet;
use crate::refusal::Refusal;
use crate::spec::Spec;
use crate::world::World;
use client::Codec;
use client::kube::api::ListParams;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tap::Component;

/// Ends a component and holds it down: on the node that is named, else on every node that is on.
///
/// # Errors
/// [`Refusal`]: no such component or node, the node is off (or every node that can run it), the
/// store is external, or the component is stopped already.
pub(super) fn stop(world: &Arc<World>, component: &str, node: Option<&str>) -> Result<Value, Error> {
    let mut stopped = Vec::new();
    let was_silent = no_api(world);
    for node in places(world, component, node)? {
        let name = &node.spec.name;
        if world.faults.is_held(component, name) {
            continue;
        }
        // First, for a component that is held is not started again.
        world.faults.hold(component, name);
        if component == KUBELET {
            let kubelet = node.kubelet.lock().take();
            if let Some(kubelet) = kubelet {
                kubelet.kill();
            }
        } else {
            node.cri.kill(component);
        }
        stopped.push(format!("{component}/{name}"));
    }
    if stopped.is_empty() {
        return Err(Refusal::Stopped { component: given(component, node) }.into());
    }
    Ok(json!({ "stopped": stopped, "silent": is_silenced(was_silent, no_api(world)) }))
}

/// Ends a hold, so that the component starts again. The answer names those that do not yet
/// (`asleep`), because the kubelet of their node is held down, too.
///
/// # Errors
/// As [`stop`], but the component has to be stopped; and the kubelet may fail to start.
pub(super) fn start(world: &Arc<World>, component: &str, node: Option<&str>) -> Result<Value, Error> {
    let (mut started, mut asleep, mut ended_on) = (Vec::new(), Vec::new(), None);
    for node in places(world, component, node)? {
        let name = &node.spec.name;
        if !world.faults.is_held(component, name) {
            ended_on = ended_on.or_else(|| has_ended(&node, component).then(|| name.clone()));
            continue;
        }
        let over = world.faults.release(component, name);
        if component == KUBELET {
            if let Err(error) = supervise_kubelet(world, &node) {
                world.faults.put_back(over);
                return Err(error);
            }
        } else {
            node.cri.wake();
            if world.faults.is_held(KUBELET, name) {
                asleep.push(format!("{component}/{name}"));
            }
        }
        started.push(format!("{component}/{name}"));
    }
    if started.is_empty() {
        return Err(not_started(&world.faults, component, node, ended_on.as_deref()).into());
    }
    Ok(json!({ "started": started, "asleep": asleep }))
}

/// Says why there was nothing to start: the node is off where `fault stop` holds the component
/// down, it has ended on the node `ended_on` and starts again without a command, or it runs.
fn not_started(faults: &Faults, component: &str, node: Option<&str>, ended_on: Option<&str>) -> Refusal {
    let off = if node.is_none() { faults.held_where_off(component) } else { None };
    match (off, ended_on) {
        (Some(node), _) => Refusal::NodeOff { node },
        (None, Some(place)) => waits(faults, component, node, place),
        (None, None) => Refusal::NotStopped { component: given(component, node) },
    }
}

/// Says what a component that has ended on the node `place` waits for.
pub(super) fn waits(faults: &Faults, component: &str, node: Option<&str>, place: &str) -> Refusal {
    match component != KUBELET && faults.is_held(KUBELET, place) {
        true => Refusal::Asleep { component: given(component, Some(place)), node: place.into() },
        false => Refusal::Waits { component: given(component, node) },
    }
}

/// Returns whether a component was here and has ended: it is started again by the kubelet, and a
/// kubelet by the task that supervises it.
fn has_ended(node: &Node, component: &str) -> bool {
    match component {
        KUBELET => node.kubelet.lock().as_ref().is_some_and(|kubelet| kubelet.ended().is_some()),
        component => node.cri.has_container(component) && !node.cri.runs(component),
    }
}

/// Returns the component as the command line gave it: the refusal names the command that starts
/// that much again.
pub(super) fn given(component: &str, node: Option<&str>) -> String {
    node.map_or_else(|| component.to_string(), |node| format!("{component}/{node}"))
}

/// How long `fault start` waits for the list of pods, which tell of a back-off.
const PODS_WITHIN: Duration = Duration::from_secs(2);

/// Adds to the answer of [`start`] how many seconds the kubelet still waits, by `component/node`.
/// A component that was stopped several times is not started at once: its back-off grows from 10
/// seconds to 5 minutes. Nothing is added for a component whose pod tells of none, or about which
/// no API server answers in time.
pub(super) async fn with_back_offs(world: &World, component: &str, mut answer: Value) -> Value {
    if component == KUBELET {
        return answer; // it is no container, and has no back-off
    }
    let agent = format!("ropewalk/{}", api::VERSION);
    let client = world.client("", tap::ADMIN, "system:masters", &agent, world.dialer());
    let Ok(client) = client.inspect_err(|error| tracing::debug!(%error, "no pod tells of a back-off")) else {
        return answer;
    };
    let pods = client.within::<Pod>("kube-system");
    let Some(Ok(pods)) = clock::limit(PODS_WITHIN, pods.list(&ListParams::default())).await else {
        return answer;
    };
    let started: Vec<String> = answer["started"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(String::from)
        .collect();
    for name in started {
        if let Some(left) = longest_back_off(&pods.items, &name, clock::now()) {
            answer["waits"][name] = left.into();
        }
    }
    answer
}

/// Returns the longest back-off that is left of the pods that run a component on a node,
/// `component/node`. They are known by node and image: the name of an addon's pod ends with what
/// its controller drew.
fn longest_back_off(pods: &[Pod], started: &str, now: clock::Timestamp) -> Option<u64> {
    let (component, node) = started.split_once('/')?;
    let runs_it = |pod: &&Pod| {
        pod.spec.as_ref().is_some_and(|spec| {
            let mut images = spec.containers.iter().filter_map(|c| c.image.as_deref());
            spec.node_name.as_deref() == Some(node)
                && images.any(|image| component_of(image) == Some(component))
        })
    };
    pods.iter().filter(runs_it).filter_map(|pod| back_off_left(&pod.encode().ok()?, now)).max()
}

/// Returns the real seconds that are left of a pod's back-off, rounded up. The pod tells how long
/// it is, in the cluster's time, and when the container ended.
///
/// Example: `back-off 1m20s restarting failed container=…` of a container that ended 30 s ago: 50.
fn back_off_left(pod: &Value, now: clock::Timestamp) -> Option<u64> {
    let statuses = pod["status"]["containerStatuses"].as_array()?;
    let left = |status: &Value| {
        let waiting = &status["state"]["waiting"];
        let message = waiting["message"].as_str().filter(|_| waiting["reason"] == "CrashLoopBackOff")?;
        let pause = message.strip_prefix("back-off ")?.split_whitespace().next().and_then(seconds)?;
        let ended =
            status["lastState"]["terminated"]["finishedAt"].as_str()?.parse::<clock::Timestamp>().ok()?;
        let left = clock::left(ended, Duration::from_secs(pause), now)?;
        Some(clock::scaled(left).as_millis().div_ceil(1000) as u64)
    };
    statuses.iter().filter_map(left).max()
}

/// Reads a duration as Go prints it, in whole seconds: `40s`, `1m20s`, `1h0m5s`.
fn seconds(text: &str) -> Option<u64> {
    let (mut all, mut number) = (0_u64, 0_u64);
    for sign in text.chars() {
        let unit = match sign {
            'h' => 3600,
            'm' => 60,
            's' => 1,
            digit => {
                number = number.checked_mul(10)?.checked_add(u64::from(digit.to_digit(10)?))?;
                continue;
            }
        };
        all = all.checked_add(number.checked_mul(unit)?)?;
        number = 0;
    }
    Some(all)
}

/// Returns whether no API server can answer because of the faults that there are.
pub(super) fn no_api(world: &World) -> bool {
    is_silent(&world.spec, |component, node| {
        let runs = || world.node(node).is_some_and(|node| node.cri.runs(component));
        is_down(&world.faults, component, node, runs)
    })
}

/// Returns whether a fault has silenced the API, from what [`no_api`] said before it and says after
/// it. If no API server could answer before that, the repair of this fault would not help.
pub(super) fn is_silenced(before: bool, after: bool) -> bool {
    !before && after
}

/// Returns whether a component cannot run on a node because of these faults. Where the kubelet is
/// held down what `runs` goes on, but a machine that was switched off and on again starts nothing.
fn is_down(faults: &Faults, component: &str, node: &str, runs: impl FnOnce() -> bool) -> bool {
    faults.is_held(component, node) || faults.is_off(node) || faults.is_held(KUBELET, node) && !runs()
}

/// Returns whether no API server can answer: fewer than a majority of the store's members run, or
/// no node has both an API server and the member that it asks. An external store runs elsewhere:
/// there one API server is enough, whatever nodes are off.
fn is_silent(spec: &Spec, is_down: impl Fn(&str, &str) -> bool) -> bool {
    let planes: Vec<_> = spec.nodes().into_iter().filter(|n| n.control_plane).collect();
    let runs = |component: Component, node: &str| !is_down(component.name(), node);
    if spec.external_etcd.is_some() {
        return !planes.iter().any(|n| runs(Component::ApiServer, &n.name));
    }
    let members = planes.iter().filter(|n| runs(Component::Etcd, &n.name)).count();
    let answers =
        planes.iter().any(|n| runs(Component::Etcd, &n.name) && runs(Component::ApiServer, &n.name));
    members * 2 <= planes.len() || !answers
}

/// Lists the nodes that a fault of this component is about. Components of the control plane run on
/// its nodes only, all others may run anywhere.
///
/// # Errors
/// [`Refusal`]: no such component or node, the component never runs on this node, the node is off
/// (or every node that can run it), the store is external, or the nodes are still being made.
pub(super) fn places(world: &World, component: &str, node: Option<&str>) -> Result<Vec<Arc<Node>>, Error> {
    if !killable().any(|known| known == component) {
        let known = killable().map(String::from).collect();
        return Err(Refusal::NoSuchComponent { component: component.into(), known }.into());
    }
    if component == Component::Etcd.name() && world.spec.external_etcd.is_some() {
        return Err(Refusal::NoStore { node: node.unwrap_or(&world.spec.name).into() }.into());
    }
    let anywhere = component == KUBELET || components::ADDONS.contains(&component);
    let fits = |node: &Arc<Node>| anywhere || node.spec.control_plane;
    match node {
        Some(name) => {
            let node = named(world, name)?;
            if !fits(&node) {
                let nodes = vec![name.into()];
                return Err(Refusal::NotOnNodes { component: component.into(), nodes }.into());
            }
            if world.faults.is_off(name) {
                return Err(Refusal::NodeOff { node: name.into() }.into());
            }
            Ok(vec![node])
        }
        None => {
            let mut nodes = every_node(world)?;
            nodes.retain(fits);
            let is_off = |name: &str| world.faults.is_off(name);
            that_are_on(nodes, |node| node.spec.name.as_str(), is_off).map_err(Error::from)
        }
    }
}

/// Leaves out the nodes that are off.
///
/// # Errors
/// [`Refusal::NodeOff`] with the first one: all of them are off.
fn that_are_on<T>(
    nodes: Vec<T>,
    name: impl Fn(&T) -> &str,
    is_off: impl Fn(&str) -> bool,
) -> Result<Vec<T>, Refusal> {
    let first = nodes.first().map(|node| name(node).to_string());
    let on: Vec<T> = nodes.into_iter().filter(|node| !is_off(name(node))).collect();
    match first {
        Some(node) if on.is_empty() => Err(Refusal::NodeOff { node }),
        _ => Ok(on),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_back_off_is_read_from_the_pod() {
        let now = "2026-11-27T12:00:30Z".parse().unwrap();
        let left = |reason: &str, message: &str| {
            let status = json!({"state": {"waiting": {"reason": reason, "message": message}},
                "lastState": {"terminated": {"finishedAt": "2026-11-27T12:00:00Z"}}});
            back_off_left(&json!({"status": {"containerStatuses": [status]}}), now)
        };
        let waits = |pause: &str| format!("back-off {pause} restarting failed container=c pod=p");
        assert_eq!(left("CrashLoopBackOff", &waits("1m20s")), Some(50));
        assert_eq!(left("CrashLoopBackOff", &waits("40s")), Some(10));
        assert_eq!(left("CrashLoopBackOff", &waits("20s")), None, "it is over");
        assert_eq!(left("CreateContainerError", "it is stopped"), None);
        assert_eq!(left("CrashLoopBackOff", "back-off soon"), None);
        assert_eq!(back_off_left(&json!({}), now), None);
        assert_eq!(["5m0s", "1h0m5s", "x"].map(seconds), [Some(300), Some(3605), None]);
        let _scale = clock::pin_scale(20);
        assert_eq!(left("CrashLoopBackOff", &waits("40m0s")), Some(90), "600 of 2400 s are over");
    }

    /// `fault stop kube-proxy` for the third time: its pod is called `kube-proxy-x7k2p`.
    #[test]
    fn the_back_off_of_an_addon_is_read_from_its_pod_on_that_node() {
        let now = "2026-11-27T12:00:30Z".parse().unwrap();
        let pod = |name: &str, node: &str, image: &str, pause: &str| -> Pod {
            let message = format!("back-off {pause} restarting failed container=c pod=p");
            let status = json!({
                "name": "c", "image": image, "imageID": "", "ready": false, "restartCount": 3,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": message}},
                "lastState": {"terminated": {"exitCode": 137, "finishedAt": "2026-11-27T12:00:00Z"}},
            });
            let pod = json!({
                "metadata": {"name": name},
                "spec": {"nodeName": node, "containers": [{"name": "c", "image": image}]},
                "status": {"containerStatuses": [status]},
            });
            serde_json::from_value(pod).unwrap()
        };
        let pods = [
            pod("kube-proxy-x7k2p", "n1", "ropewalk.io/kube-proxy:1", "40s"),
            pod("kube-proxy-b9f4d", "n2", "ropewalk.io/kube-proxy:1", "1m20s"),
            pod("coredns-7c65-2jx5w", "n1", "ropewalk.io/coredns:1", "50s"),
            pod("coredns-7c65-9k8vq", "n1", "ropewalk.io/coredns:1", "1m0s"),
            pod("kube-proxy", "n3", "busybox", "5m0s"),
            pod("etcd-n1", "n1", "ropewalk.io/etcd:1", "40s"),
        ];
        let left = |started: &str| longest_back_off(&pods, started, now);
        assert_eq!(["kube-proxy/n1", "kube-proxy/n2"].map(left), [Some(10), Some(50)]);
        assert_eq!(["coredns/n1", "etcd/n1"].map(left), [Some(30), Some(10)]);
        assert_eq!(["coredns/n2", "kube-proxy/n3"].map(left), [None, None]);
    }

    /// Two of three machines are off: the members of the store that are left are no majority.
    #[test]
    fn machines_that_are_off_silence_the_api() {
        let spec = Spec { control_planes: 3, ..Spec::new("t") };
        let names: Vec<String> = spec.nodes().into_iter().map(|n| n.name).collect();
        let faults = Faults::default();
        faults.note("crashed", &[&names[3]], None);
        faults.note("stopped", &[&names[0]], None);
        assert!(!by_faults(&spec, &faults, true), "a worker and one of three");
        faults.hold(Component::Etcd.name(), &names[1]);
        assert!(by_faults(&spec, &faults, true));
        faults.release(Component::Etcd.name(), &names[1]);
        faults.note("crashed", &[&names[2]], None);
        assert!(by_faults(&spec, &faults, true));
    }

    /// Returns whether no API server can answer. `runs`: what goes on where only the kubelet is
    /// held down.
    fn by_faults(spec: &Spec, faults: &Faults, runs: bool) -> bool {
        is_silent(spec, |component, node| is_down(faults, component, node, || runs))
    }

    /// `fault stop kubelet/cp2`, `fault node crash cp2` and `fault node start cp2`: its machine is
    /// on, and nothing runs there. So the end of a second control plane silences the API.
    #[test]
    fn a_machine_without_a_kubelet_has_only_what_still_runs() {
        let spec = Spec { control_planes: 3, ..Spec::new("t") };
        let names: Vec<String> = spec.nodes().into_iter().map(|n| n.name).collect();
        let faults = Faults::default();
        faults.hold(KUBELET, &names[1]);
        assert_eq!([true, false].map(|runs| by_faults(&spec, &faults, runs)), [false, false]);
        faults.note("crashed", &[&names[2]], None);
        assert_eq!([true, false].map(|runs| by_faults(&spec, &faults, runs)), [false, true]);
    }

    /// `fault start etcd` for the second time, in the back-off of its container: it said that etcd
    /// was not stopped, as of one that runs.
    #[test]
    fn a_component_that_has_ended_is_not_said_to_run() {
        let faults = Faults::default();
        let refusal =
            |node: Option<&str>, ended_on: Option<&str>| not_started(&faults, "etcd", node, ended_on);
        let waits = |component: &str| Refusal::Waits { component: component.into() };
        assert_eq!(refusal(None, None), Refusal::NotStopped { component: "etcd".into() });
        assert_eq!(
            (refusal(None, Some("b")), refusal(Some("b"), Some("b"))),
            (waits("etcd"), waits("etcd/b"))
        );
        faults.hold(KUBELET, "b");
        let asleep = Refusal::Asleep { component: "etcd/b".into(), node: "b".into() };
        assert_eq!((refusal(None, Some("b")), refusal(None, Some("c"))), (asleep.clone(), waits("etcd")));
        assert_eq!(not_started(&faults, KUBELET, None, Some("b")), waits(KUBELET));
        for lang in [lang::Lang::En, lang::Lang::Ko] {
            let said = asleep.say(lang);
            assert!(said.contains("`ropewalk fault start kubelet/b`"), "{said}");
        }
        faults.hold("etcd", "d");
        faults.note("crashed", &["d"], None);
        assert_eq!(refusal(None, Some("b")), Refusal::NodeOff { node: "d".into() });
    }

    /// `fault stop etcd`, then `fault stop kube-scheduler`: no API server answers when the
    /// scheduler is started again either.
    #[test]
    fn a_fault_does_not_silence_an_api_that_is_silent_already() {
        let (spec, faults) = (Spec::new("t"), Faults::default());
        let node = spec.nodes().remove(0).name;
        let silences = |component: &str| {
            let was_silent = by_faults(&spec, &faults, true);
            faults.hold(component, &node);
            is_silenced(was_silent, by_faults(&spec, &faults, true))
        };
        assert_eq!(["kubelet", "etcd", "kube-scheduler"].map(silences), [false, true, false]);
    }

    /// `fault stop etcd/n1` twice: `fault start etcd` would start the other members, too.
    #[test]
    fn a_component_that_is_stopped_already_is_named_as_it_was_given() {
        for (node, command) in [(None, "`ropewalk fault start etcd`"), (Some("n1"), "start etcd/n1`")] {
            let said = Refusal::Stopped { component: given("etcd", node) }.to_string();
            assert!(said.contains(command), "{said}");
        }
    }

    /// The only control plane is off. Its scheduler was not stopped, so `fault start` would lead
    /// nowhere.
    #[test]
    fn a_component_on_nodes_that_are_all_off_is_refused_for_that_reason() {
        let on = |off: &[&str]| that_are_on(vec!["a", "b"], |node| *node, |name| off.contains(&name));
        assert_eq!(on(&[]), Ok(vec!["a", "b"]));
        assert_eq!(on(&["a"]), Ok(vec!["b"]));
        assert_eq!(on(&["a", "b"]), Err(Refusal::NodeOff { node: "a".into() }));
    }

    #[test]
    fn the_api_is_silent_without_a_store_or_without_a_server() {
        let silent = |control_planes: u8, held: &[(&str, usize)]| {
            let spec = Spec { control_planes, ..Spec::new("t") };
            let planes: Vec<_> = spec.nodes().into_iter().filter(|n| n.control_plane).collect();
            is_silent(&spec, |component, node| {
                held.iter().any(|(what, at)| *what == component && planes[*at].name == node)
            })
        };
        let (etcd, api) = (Component::Etcd.name(), Component::ApiServer.name());
        assert!(silent(1, &[(etcd, 0)]) && silent(1, &[(api, 0)]));
        assert!(!silent(1, &[("kube-scheduler", 0)]) && !silent(1, &[]));
        assert!(!silent(3, &[(etcd, 0)]) && silent(3, &[(etcd, 0), (etcd, 2)]));
        assert!(!silent(3, &[(api, 0), (api, 1)]) && silent(3, &[(api, 0), (api, 1), (api, 2)]));
        assert!(!silent(3, &[(api, 0), (api, 1), (etcd, 0)]), "the third has both");
        assert!(silent(3, &[(api, 0), (api, 1), (etcd, 2)]), "no node has both");
    }

    /// Two of three nodes are off, and the scheduler of the third is stopped: `kubectl` still gets
    /// its answers.
    #[test]
    fn an_external_store_is_not_down_with_the_nodes() {
        let external_etcd = Some(crate::store::external::ExternalEtcd::default());
        let spec = Spec { control_planes: 3, external_etcd, ..Spec::new("t") };
        let planes: Vec<_> = spec.nodes().into_iter().filter(|n| n.control_plane).collect();
        let silent = |off: &[usize], held: &str| {
            let is_off = |node: &str| off.iter().any(|at| planes[*at].name == node);
            is_silent(&spec, |component, node| is_off(node) || component == held)
        };
        assert!(!silent(&[0, 1], "kube-scheduler"));
        assert!(silent(&[0, 1, 2], "") && silent(&[], Component::ApiServer.name()));
    }
}
