//! Events that a kubelet writes about its node when the Node object has changed. Pure.

use k8s_openapi::api::core::v1::{Node, NodeStatus};

/// Returns the reason of the Event that tells of a change of the condition `Ready`. Source:
/// `ReadyCondition` in `pkg/kubelet/nodestatus/setters.go`.
///
/// ```text
/// Unknown -> True   NodeReady        True -> False   NodeNotReady        none -> True   no Event
/// ```
pub(super) fn change_of_readiness(old: Option<&NodeStatus>, new: &NodeStatus) -> Option<&'static str> {
    let ready = |status: &NodeStatus| {
        let ready = status.conditions.iter().flatten().find(|c| c.type_ == "Ready");
        ready.map(|condition| condition.status.clone())
    };
    let (before, now) = (ready(old?)?, ready(new)?);
    let reason = if now == "True" { "NodeReady" } else { "NodeNotReady" };
    (before != now).then_some(reason)
}

/// Returns the reason of the Event that tells that the node was cordoned or uncordoned since the
/// last call, and notes in `was_cordoned` what holds now. A kubelet that starts on a cordoned node
/// tells of it once more, as upstream. Source: `recordNodeSchedulableEvent` in
/// `pkg/kubelet/kubelet_node_status.go`.
///
/// ```text
/// kubectl cordon   NodeNotSchedulable        kubectl uncordon   NodeSchedulable
/// ```
pub(super) fn change_of_cordon(was_cordoned: &mut bool, node: &Node) -> Option<&'static str> {
    let is_cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
    let reason = if is_cordoned { "NodeNotSchedulable" } else { "NodeSchedulable" };
    (std::mem::replace(was_cordoned, is_cordoned) != is_cordoned).then_some(reason)
}

/// Returns the message of the Event `Rebooted` if the machine has started anew since the old status
/// was written. Source: `MachineInfo` in `pkg/kubelet/nodestatus/setters.go`.
pub(super) fn reboot(node: &str, old: Option<&NodeStatus>, new: &NodeStatus) -> Option<String> {
    let boot = |status: &NodeStatus| status.node_info.as_ref().map(|info| info.boot_id.clone());
    let (before, now) = (boot(old?).filter(|id| !id.is_empty())?, boot(new)?);
    (before != now).then(|| format!("Node {node} has been rebooted, boot id: {now}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn status(more: Value) -> NodeStatus {
        serde_json::from_value(more).unwrap()
    }

    #[test]
    fn no_event_tells_of_a_node_that_had_no_readiness_or_keeps_it() {
        let ready = status(json!({"conditions": [{"type": "Ready", "status": "True"}]}));
        assert_eq!([None, Some(&ready)].map(|old| change_of_readiness(old, &ready)), [None; 2]);
    }

    #[test]
    fn one_event_tells_of_each_cordon() {
        let node = |spec: Value| -> Node { serde_json::from_value(json!({"spec": spec})).unwrap() };
        let (open, cordoned) = (node(json!({})), node(json!({"unschedulable": true})));
        let mut was_cordoned = false;
        let reasons = [&open, &cordoned, &cordoned, &open].map(|n| change_of_cordon(&mut was_cordoned, n));
        assert_eq!(reasons, [None, Some("NodeNotSchedulable"), None, Some("NodeSchedulable")]);
    }

    #[test]
    fn a_machine_has_started_anew_if_its_boot_has_another_id() {
        let boot = |id: &str| status(json!({"nodeInfo": {"bootID": id}}));
        let message = reboot("n1", Some(&boot("a")), &boot("b"));
        assert_eq!(message.as_deref(), Some("Node n1 has been rebooted, boot id: b"));
        assert_eq!(reboot("n1", Some(&boot("b")), &boot("b")), None);
        for unknown in [None, Some(&NodeStatus::default()), Some(&boot(""))] {
            assert_eq!(reboot("n1", unknown, &boot("b")), None);
        }
    }
}
