//! Faults of a lab's setup (lines of `fault`) that are not mended. Faults end with the cluster's
//! process, so they are made once more after its next start: else a restart would solve the lab.

use cluster::faults::{Act, Fault};

/// Notes a fault, or its repair, among those that are in force; true if that changed them. A fault
/// of the setup (`is_setup`) is added. Later ones are the learner's: only what they do to something
/// that the setup has broken counts.
///
/// ```text
/// setup    cut n2 n1      [cut n2 n1]
/// learner  crash n3       [cut n2 n1]       the learner's own
/// learner  loss n1 n2 5   [loss n1 n2 5]    another fault of the same link
/// learner  heal           []
/// ```
///
/// A component that the setup stopped on every node may be started on one of them. Which nodes
/// there are is not known here, so that start is noted, too, and played after the stop.
///
/// ```text
/// setup    stop kube-proxy        [stop kube-proxy]
/// learner  start kube-proxy/n2    [stop kube-proxy, start kube-proxy/n2]
/// ```
pub(crate) fn note(broken: &mut Vec<Fault>, fault: &Fault, is_setup: bool) -> bool {
    let before = broken.len();
    broken.retain(|one| !is_about_the_same(one, fault));
    let is_known = broken.len() < before;
    let is_added = match (is_stopped_everywhere(broken, fault), fault) {
        (true, Fault::Start { .. }) => true,
        (true, _) => false,
        (false, _) => lasts(fault) && (is_setup || is_known),
    };
    if is_added {
        broken.push(fault.clone());
    }
    is_known || is_added
}

/// Returns whether this breaks something until it is mended.
fn lasts(fault: &Fault) -> bool {
    match fault {
        Fault::Node { act, .. } => *act != Act::Start,
        Fault::Slow { millis, .. } => *millis > 0,
        Fault::Loss { percent, .. } => *percent > 0.0,
        Fault::Cut { .. } | Fault::Disk { .. } | Fault::Stop { .. } => true,
        Fault::List | Fault::Kill { .. } | Fault::Start { .. } | Fault::Heal => false,
    }
}

/// Returns whether a fault, or repair, is about one node of a component that is stopped on all.
fn is_stopped_everywhere(broken: &[Fault], fault: &Fault) -> bool {
    let (Fault::Stop { component, node: Some(_) } | Fault::Start { component, node: Some(_) }) = fault else {
        return false;
    };
    let stops_all =
        |one: &Fault| matches!(one, Fault::Stop { component: other, node: None } if other == component);
    broken.iter().any(stops_all)
}

/// Returns whether a later fault, or repair, takes the place of a lasting one.
fn is_about_the_same(lasting: &Fault, later: &Fault) -> bool {
    let is_pair = |a: &str, b: &str, one: &str, other: &str| (a, b) == (one, other) || (b, a) == (one, other);
    match (lasting, later) {
        (Fault::Node { node, .. }, Fault::Node { node: other, .. }) => node == other,
        (
            Fault::Cut { a, b } | Fault::Loss { a, b, .. },
            Fault::Cut { a: one, b: other } | Fault::Loss { a: one, b: other, .. },
        )
        | (Fault::Slow { a, b, .. }, Fault::Slow { a: one, b: other, .. }) => is_pair(a, b, one, other),
        (Fault::Disk { node }, Fault::Disk { node: other }) => node == other,
        (
            Fault::Stop { component, node } | Fault::Start { component, node },
            Fault::Stop { component: other, node: at } | Fault::Start { component: other, node: at },
        ) => component == other && (at.is_none() || node == at),
        (Fault::Cut { .. } | Fault::Slow { .. } | Fault::Loss { .. } | Fault::Disk { .. }, Fault::Heal) => {
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is in force after the lines of a setup, and then those of a learner.
    fn after(setup: &[&str], learner: &[&str]) -> Vec<String> {
        let mut broken = vec![];
        for (lines, is_setup) in [(setup, true), (learner, false)] {
            for line in lines {
                let words: Vec<String> = line.split(' ').map(String::from).collect();
                note(&mut broken, &Fault::parse(&words).unwrap(), is_setup);
            }
        }
        broken.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_the_setup_broke_lasts_until_it_is_mended() {
        let nothing = Vec::<String>::new();
        let crash = ["node start n2", "heal", "node crash n2"];
        assert_eq!(after(&crash, &[]), ["node crash n2"]);
        assert_eq!(
            after(&crash, &["heal", "node stop n3", "cut n1 n3", "kill kubelet/n2"]),
            ["node crash n2"]
        );
        assert_eq!(after(&crash, &["node start n2"]), nothing);
        assert_eq!(after(&crash, &["node start n2", "node stop n2"]), nothing, "the learner's own");
        let cut = ["cut n2 n1"];
        assert_eq!(after(&cut, &["node stop n2", "node start n2"]), ["cut n2 n1"]);
        assert_eq!(after(&cut, &["loss n1 n2 5"]), ["loss n1 n2 5"]);
        assert_eq!(after(&cut, &["loss n2 n1 0"]), nothing);
        assert_eq!(after(&cut, &["heal"]), nothing);
        let stop = ["stop kube-scheduler"];
        assert_eq!(after(&stop, &["heal", "start etcd"]), ["stop kube-scheduler"]);
        assert_eq!(after(&stop, &["start kube-scheduler"]), nothing);
        let part = ["start kube-scheduler/n1"];
        assert_eq!(after(&stop, &part), ["stop kube-scheduler", "start kube-scheduler/n1"]);
        assert_eq!(after(&stop, &[part[0], "stop kube-scheduler/n1"]), stop, "down again");
        assert_eq!(after(&stop, &[part[0], "start kube-scheduler"]), nothing);
        assert_eq!(after(&["stop kubelet/n2"], &["start kubelet/n2"]), nothing);
    }
}
