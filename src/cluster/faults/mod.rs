//! The faults that there are now, and that there can be: the list that `ropewalk fault list` shows.
//!
//! `inject` makes and mends faults: what `ropewalk fault` does. `held` is its largest part, the
//! components that `fault stop` keeps down until `fault start`.

mod held;
pub(crate) mod inject;

use clock::{self, Timestamp};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::time::Duration;

pub use inject::killable;
pub use tap::{Act, Fault, component_and_node};

/// The name of the kubelet in faults; it is no container.
pub(crate) const KUBELET: &str = "kubelet";

/// The longest delay that a link can have: beyond it even the slowest timeouts take the link for a
/// cut one.
pub(crate) const DELAY_MAX: u64 = 10_000;

/// The fault of a component that stays down until it is started.
pub const HELD: &str = "component stopped";

/// Something that is broken now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Broken {
    /// `cut`, `slow`, `loss`, `disk full`, `stopped` or `crashed`; [`HELD`] of a component.
    pub fault: String,
    /// The component that is held down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// The node, or the two.
    pub nodes: Vec<String>,
    /// Milliseconds or percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<f64>,
    /// When it was broken.
    pub since: Timestamp,
}

/// All that is broken, the newest last.
#[derive(Default)]
pub(crate) struct Faults {
    broken: Mutex<Vec<Broken>>,
    /// Held while a machine is switched on or off, or a link changed: the list says what was done
    /// last.
    acting: tokio::sync::Mutex<()>,
    /// Wakes the task that follows the cluster's progress.
    changed: tokio::sync::Notify,
}

impl Faults {
    fn all(&self) -> parking_lot::MutexGuard<'_, Vec<Broken>> {
        self.broken.lock()
    }

    /// Lists everything that is broken now, the newest last.
    pub(crate) fn list(&self) -> Vec<Broken> {
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
            all.push(Broken { fault: fault.into(), component: None, nodes, amount, since: clock::now() });
        }
    }

    /// Notes that a component is to stay down on this node.
    pub(crate) fn hold(&self, component: &str, node: &str) {
        self.release(component, node);
        self.all().push(Broken {
            fault: HELD.into(),
            component: Some(component.into()),
            nodes: vec![node.into()],
            amount: None,
            since: clock::now(),
        });
    }

    /// Removes the hold, so that the component may run on this node again. Returns the fault that
    /// is over.
    pub(crate) fn release(&self, component: &str, node: &str) -> Option<Broken> {
        let mut all = self.all();
        let at = all.iter().position(|b| holds(b, component, node))?;
        Some(all.remove(at))
    }

    /// Returns whether the component is to stay down on this node.
    pub(crate) fn is_held(&self, component: &str, node: &str) -> bool {
        self.all().iter().any(|b| holds(b, component, node))
    }

    /// Returns a node that is off, and on which the component is to stay down.
    pub(crate) fn held_where_off(&self, component: &str) -> Option<String> {
        let all = self.all();
        let is_held = |node: &String| all.iter().any(|b| holds(b, component, node));
        let mut off = all.iter().filter(|b| is_off(b)).flat_map(|b| &b.nodes);
        off.find(|node| is_held(node)).cloned()
    }

    /// Waits until no other fault is being injected. None is while the result lives.
    pub(crate) async fn acting(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.acting.lock().await
    }

    /// Tells the caller of [`Faults::changed`] that something may have been broken or mended.
    pub(crate) fn notify(&self) {
        self.changed.notify_one();
    }

    /// Waits until something may have been broken or mended since the last call. One task may wait.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Removes the faults of disks. Returns how many those were.
    pub(crate) fn empty_disks(&self) -> usize {
        let mut all = self.all();
        let before = all.len();
        all.retain(|b| b.fault != "disk full");
        before - all.len()
    }

    /// Removes all faults but machines that are switched off and components that are held down.
    /// Returns how many those were.
    pub(crate) fn heal(&self) -> usize {
        let mut all = self.all();
        let before = all.len();
        all.retain(|b| is_off(b) || b.component.is_some());
        before - all.len()
    }

    /// Notes that the node is switched on again. Its links and its disk are as they were: what
    /// slows it stays. Returns the fault that is over.
    pub(crate) fn note_on(&self, node: &str) -> Option<Broken> {
        let mut all = self.all();
        let at = all.iter().position(|b| is_off(b) && b.nodes == [node])?;
        Some(all.remove(at))
    }

    /// Puts a fault that is not over after all back to its place in the list.
    pub(crate) fn put_back(&self, fault: Option<Broken>) {
        let mut all = self.all();
        all.extend(fault);
        all.sort_by_key(|broken| broken.since);
    }

    /// Returns whether a fault is on the node, its disk or its links. A component that is held down
    /// does not count: nothing is sent to it, because it does not listen.
    pub(crate) fn touches(&self, node: &str) -> bool {
        self.all().iter().any(|b| b.component.is_none() && b.nodes.iter().any(|n| n == node))
    }

    /// Returns by how much a fault delays all that the node sends; zero if none does.
    pub(crate) fn delay(&self, node: &str) -> Duration {
        let all = self.all();
        let slow = all.iter().find(|b| b.fault == "slow" && b.nodes == [node]);
        Duration::from_millis(slow.and_then(|b| b.amount).unwrap_or_default() as u64)
    }

    /// Returns whether the node is switched off.
    pub(crate) fn is_off(&self, node: &str) -> bool {
        self.all().iter().any(|b| is_off(b) && b.nodes == [node])
    }
}

/// Returns whether it is a whole machine that is switched off.
fn is_off(broken: &Broken) -> bool {
    matches!(broken.fault.as_str(), "stopped" | "crashed")
}

/// Returns whether this fault holds the component down on the node.
fn holds(broken: &Broken, component: &str, node: &str) -> bool {
    broken.component.as_deref() == Some(component) && broken.nodes == [node]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Refusal;
    use lang::Lang;

    #[test]
    fn the_list_of_faults_says_what_the_network_does() {
        let faults = Faults::default();
        let list = || -> Vec<String> {
            let line = |b: Broken| format!("{} {} {:?}", b.fault, b.nodes.join("-"), b.amount);
            faults.list().into_iter().map(line).collect()
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
        // Its start fails.
        let whole = faults.list();
        faults.put_back(None);
        faults.note("crashed", &["a"], None);
        faults.note("cut", &["a", "c"], None);
        let over = faults.note_on("a");
        assert_eq!(over.as_ref().map(|broken| broken.fault.as_str()), Some("crashed"));
        faults.put_back(over);
        assert!(faults.is_off("a") && faults.list().len() == whole.len() + 2);
        assert!(faults.list().is_sorted_by_key(|broken| broken.since), "the newest last");
        faults.note_on("a");
        faults.note("loss", &["a", "c"], Some(0.0));
        assert_eq!(faults.list(), whole);
        assert_eq!((faults.delay("b"), faults.delay("c")), (Duration::from_millis(10), Duration::ZERO));
        faults.note("slow", &["b"], Some(0.0));
        assert_eq!(list(), ["cut b-c None", "disk full b None"]);
        assert_eq!(faults.delay("b"), Duration::ZERO);
        assert_eq!((faults.empty_disks(), faults.empty_disks()), (1, 0));
        assert_eq!(list(), ["cut b-c None"], "the links are mended by themselves");
    }

    #[test]
    fn a_component_is_held_on_its_node_until_it_is_released() {
        let faults = Faults::default();
        faults.hold("kube-scheduler", "a");
        faults.hold("kubelet", "a");
        faults.hold("kube-scheduler", "a");
        faults.note("cut", &["a", "b"], None);
        assert!(faults.is_held("kube-scheduler", "a") && !faults.is_held("kube-scheduler", "b"));
        assert!(!faults.is_off("a"), "the machine runs");
        assert!(faults.touches("b") && faults.touches("a"), "the cut");
        assert_eq!(faults.list().len(), 3, "once, and the cut");
        assert_eq!(faults.heal(), 1, "the cut alone");
        assert!(!faults.touches("a"));
        faults.note("crashed", &["a"], None);
        assert_eq!(faults.held_where_off("kubelet").as_deref(), Some("a"));
        assert_eq!(faults.held_where_off("etcd"), None);
        faults.note_on("a");
        assert_eq!(faults.held_where_off("kubelet"), None);
        assert!(faults.is_held("kubelet", "a"), "a machine that is switched on again changes nothing");
        // Its start fails: it is stopped since then, and not since now.
        let before = faults.list();
        let over = faults.release("kubelet", "a");
        assert!(!faults.is_held("kubelet", "a"));
        faults.note("cut", &["a", "c"], None);
        faults.put_back(over);
        faults.note("loss", &["a", "c"], Some(0.0));
        assert_eq!(faults.list(), before);
        faults.release("kube-scheduler", "a");
        assert!(!faults.is_held("kube-scheduler", "a") && faults.is_held("kubelet", "a"));
        assert_eq!(faults.release("kube-scheduler", "a"), None);
    }

    /// A lesson's line is refused when it is read, a question over the socket by the cluster.
    #[test]
    fn a_share_that_is_none_is_refused_as_in_a_line_of_a_lesson() {
        for nonsense in ["many", "150"] {
            let words = ["loss", "a", "b", nonsense].map(String::from);
            let refused = Refusal::NotAShare { percent: format!("{nonsense:?}") };
            assert_eq!(Fault::parse(&words).unwrap_err(), refused.say(Lang::En));
            assert!(refused.say(Lang::Ko).contains("0부터 100까지"));
        }
    }
}
