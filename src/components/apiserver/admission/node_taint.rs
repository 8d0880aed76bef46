//! TaintNodesByCondition: keeps pods away from a new node until it is ready (upstream:
//! `plugin/pkg/admission/nodetaint`).

use api::value::{self, list, text};
use serde_json::{Value, json};

/// The taint of a node that is not ready.
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const NO_SCHEDULE: &str = "NoSchedule";

/// Taints a new Node as not ready, whatever its first status says and who creates it (upstream:
/// `plugin/pkg/admission/nodetaint`). The node controller hears of the Node at the same time as the
/// scheduler, which looks at taints and not at conditions: a taint that comes from the controller
/// may be too late. The controller takes it away once the node is ready.
pub(super) fn taint_as_not_ready(node: &mut Value) {
    let mut taints = list(node, "spec.taints").to_vec();
    if !taints.iter().any(|t| text(t, "key") == NOT_READY && text(t, "effect") == NO_SCHEDULE) {
        taints.push(json!({"key": NOT_READY, "effect": NO_SCHEDULE}));
        value::put(node, "spec.taints", taints);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Api;

    /// A node that an administrator creates, ready by its own words, is tainted in its creation.
    #[tokio::test]
    async fn a_new_node_takes_no_pods_until_the_controller_has_seen_it() {
        let api = Api::bare().await;
        let not_ready = |effect: &str| json!({"key": NOT_READY, "effect": effect});
        let own = json!({"key": "a", "effect": NO_SCHEDULE});
        for (name, before, after) in [
            ("bare", json!([]), json!([not_ready(NO_SCHEDULE)])),
            ("own", json!([own]), json!([own, not_ready(NO_SCHEDULE)])),
            ("tainted", json!([not_ready(NO_SCHEDULE)]), json!([not_ready(NO_SCHEDULE)])),
            (
                "ending",
                json!([not_ready("NoExecute")]),
                json!([not_ready("NoExecute"), not_ready(NO_SCHEDULE)]),
            ),
        ] {
            let conditions = json!([{"type": "Ready", "status": "True"}]);
            let node = json!({"metadata": {"name": name}, "spec": {"taints": before},
                "status": {"conditions": conditions}});
            let made = api.made("/api/v1/nodes", node).await;
            assert_eq!(made["spec"]["taints"], after, "{name}");
        }
        let path = "/api/v1/nodes/own";
        let (code, changed) = api.patch(path, json!({"spec": {"taints": [own]}})).await;
        assert_eq!((code, &changed["spec"]["taints"]), (200, &json!([own])), "only in its creation");
    }
}
