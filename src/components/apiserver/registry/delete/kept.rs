//! Objects that no delete by name removes, because the cluster needs them.

use api::Status;
use api::kinds::Kind;

/// Refuses the deletion of a namespace of the system (upstream: NamespaceLifecycle), and that of a
/// priority class of the system (upstream: the storage of PriorityClasses). As upstream, a deletion
/// of the whole collection is not asked.
///
/// # Errors
/// 403 for an object that stays.
pub(crate) fn check(kind: &Kind, name: &str) -> Result<(), Status> {
    let why = match (kind.group, kind.kind, name) {
        ("", "Namespace", "default" | "kube-system" | "kube-public") => "this namespace may not be deleted",
        ("scheduling.k8s.io", "PriorityClass", "system-cluster-critical" | "system-node-critical") => {
            "this is a system priority class and cannot be deleted"
        }
        _ => return Ok(()),
    };
    Err(Status::forbidden(kind.group, kind.plural, name, why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Api;
    use serde_json::json;

    #[tokio::test]
    async fn what_the_cluster_needs_is_not_deleted_by_name() {
        let api = Api::bare().await;
        let classes = "/apis/scheduling.k8s.io/v1/priorityclasses";
        api.made(classes, json!({"metadata": {"name": "own"}, "value": 5})).await;
        for (path, code) in [
            ("/api/v1/namespaces/default".to_string(), 403),
            (format!("{classes}/system-cluster-critical"), 403),
            (format!("{classes}/system-node-critical"), 403),
            (format!("{classes}/own"), 200),
        ] {
            let (got, answer) = api.delete(&path, json!({})).await;
            assert_eq!(got, code, "{path}: {answer}");
        }
        let kind = api::kinds::find("scheduling.k8s.io", "v1", "PriorityClass").unwrap();
        let why = check(kind, "system-node-critical").unwrap_err().message;
        assert!(why.ends_with("this is a system priority class and cannot be deleted"), "{why}");
    }
}
