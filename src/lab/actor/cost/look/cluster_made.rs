//! Tells the objects that the cluster made itself from those that a person has worked on.

use serde_json::Value;
use tap::Component;

/// The field manager of what a new cluster gets: the first part of its client's user agent.
const BOOT: &str = "ropewalk";
/// The label, with its value, of the RBAC objects that the API server makes when it starts. Their
/// manager is `kube-apiserver`; those of an older version of this program have none.
const BOOTSTRAPPED: (&str, &str) = ("kubernetes.io/bootstrapping", "rbac-defaults");

/// Returns whether the cluster made this object itself, and only its own components have changed it
/// since: then it is no learner's work. `metadata.managedFields` tells it, which
/// `kubectl get -o json` leaves out without `--show-managed-fields`. Only objects of the control
/// plane are meant: in the namespace `kube-system`, Nodes, and the kinds of RBAC for the whole
/// cluster. A status is no work, and what has an owner is judged with its owner.
///
/// ```text
/// DaemonSet kube-proxy      managers ropewalk, kube-controller-manager    yes
/// Node                      managers kubelet, kubectl-label               no
/// ClusterRoleBinding        no managers, bootstrapping: rbac-defaults     yes
/// ClusterRoleBinding        no managers, no label                         no
/// ```
pub(super) fn is_cluster_made(object: &Value) -> bool {
    let metadata = &object["metadata"];
    let owners = metadata["ownerReferences"].as_array();
    if !is_of_control_plane(object) || owners.is_some_and(|owners| !owners.is_empty()) {
        return false;
    }
    let entries = metadata["managedFields"].as_array().into_iter().flatten();
    let writers: Vec<&Value> = entries.filter(|entry| entry["subresource"] != "status").collect();
    match writers.is_empty() {
        true => metadata["labels"][BOOTSTRAPPED.0] == BOOTSTRAPPED.1,
        false => writers.iter().all(|entry| entry["manager"].as_str().is_some_and(is_component)),
    }
}

fn is_of_control_plane(object: &Value) -> bool {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let group = version.split_once('/').map_or("", |(group, _)| group);
    match (group, object["kind"].as_str().unwrap_or_default()) {
        ("", "Node") | ("rbac.authorization.k8s.io", "ClusterRole" | "ClusterRoleBinding") => true,
        _ => object["metadata"]["namespace"] == "kube-system",
    }
}

/// Returns whether a field manager is one of the cluster's own.
fn is_component(manager: &str) -> bool {
    let component = manager.parse::<Component>();
    manager == BOOT || component.is_ok_and(|component| component != Component::Unnamed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::{Stage, answer, answering, discovered, not_found};
    use crate::teacher::Teacher;
    use cluster::guest::{HostCluster, LessonScope};
    use serde_json::json;

    /// An object whose managers are written as `MANAGER` or `MANAGER/SUBRESOURCE`.
    fn object(version: &str, kind: &str, namespace: &str, name: &str, managers: &[&str]) -> Value {
        let entry = |manager: &&str| match manager.split_once('/') {
            Some((manager, subresource)) => json!({"manager": manager, "subresource": subresource}),
            None => json!({ "manager": manager }),
        };
        let entries: Vec<Value> = managers.iter().map(entry).collect();
        json!({"apiVersion": version, "kind": kind,
            "metadata": {"name": name, "namespace": namespace, "managedFields": entries}})
    }

    #[test]
    fn what_only_components_have_written_is_the_clusters() {
        let rbac = "rbac.authorization.k8s.io/v1";
        for (version, kind, namespace, managers, own) in [
            ("apps/v1", "DaemonSet", "kube-system", &["ropewalk", "kube-controller-manager"][..], true),
            ("v1", "Service", "kube-system", &["ropewalk"], true),
            ("v1", "Node", "", &["kubelet", "kube-controller-manager"], true),
            ("v1", "Node", "", &["kubelet", "kubectl-edit/status"], true),
            (rbac, "ClusterRole", "", &["kube-apiserver"], true),
            ("v1", "Node", "", &["kubelet", "kubectl-label"], false),
            ("apps/v1", "Deployment", "kube-system", &["ropewalk", "kubectl/scale"], false),
            ("v1", "ConfigMap", "kube-system", &["kubectl-create"], false),
            (rbac, "ClusterRole", "", &["kubectl-create"], false),
            (rbac, "ClusterRole", "", &[], false),
            ("v1", "Node", "", &[], false),
            ("v1", "Node", "", &["kubectl-edit/status"], false),
            ("v1", "Node", "", &[""], false),
            // Elsewhere controllers make what a learner asked for.
            ("v1", "PersistentVolumeClaim", "shop", &["kube-controller-manager"], false),
            ("v1", "Namespace", "", &["ropewalk"], false),
            ("example.com/v1", "Node", "", &["kubelet"], false),
        ] {
            let found = object(version, kind, namespace, "x", managers);
            assert_eq!(is_cluster_made(&found), own, "{found}");
        }
    }

    #[test]
    fn what_the_api_server_made_at_its_start_is_known_by_its_label() {
        let labelled = |managers: &[&str]| {
            let mut binding =
                object("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "", "system:x", managers);
            binding["metadata"]["labels"] = json!({"kubernetes.io/bootstrapping": "rbac-defaults"});
            binding
        };
        assert!(is_cluster_made(&labelled(&[])) && !is_cluster_made(&labelled(&["kubectl-patch"])));
        let mut owned = labelled(&[]);
        owned["metadata"]["ownerReferences"] = json!([{"kind": "Ship", "name": "mine"}]);
        assert!(!is_cluster_made(&owned));
    }

    /// What a line would take of a cluster whose objects a further manager has written.
    async fn lost(line: &str, more: &'static [&'static str]) -> Vec<String> {
        let server = answering(move |asked, _| {
            let by = |own: &[&'static str]| [own, more].concat();
            let rbac = "rbac.authorization.k8s.io";
            let found = match asked {
                "GET /api" => discovered(&[("", "nodes", "Node", "Cluster")]),
                "GET /apis" => discovered(&[
                    ("apps", "daemonsets", "DaemonSet", "Namespaced"),
                    (rbac, "clusterrolebindings", "ClusterRoleBinding", "Cluster"),
                ]),
                "GET /api/v1/nodes/n1" => object("v1", "Node", "", "n1", &by(&["kubelet"])),
                "GET /apis/rbac.authorization.k8s.io/v1/clusterrolebindings/boot" => {
                    let mut binding =
                        object(&format!("{rbac}/v1"), "ClusterRoleBinding", "", "boot", &by(&[]));
                    binding["metadata"]["labels"] = json!({"kubernetes.io/bootstrapping": "rbac-defaults"});
                    binding
                }
                _ if asked.ends_with(" /apis/apps/v1/namespaces/kube-system/daemonsets/kube-proxy") => {
                    let mut proxy =
                        object("apps/v1", "DaemonSet", "kube-system", "kube-proxy", &by(&["ropewalk"]));
                    proxy["spec"] = json!({"minReadySeconds": u8::from(asked.starts_with("PATCH"))});
                    proxy
                }
                _ => return not_found(),
            };
            ("200 OK", found.to_string())
        })
        .await;
        let dir = tempfile::tempdir().unwrap();
        let past = answer(|_| Box::pin(std::future::ready(Err("no past".into()))));
        let stage = Stage::new(dir.path(), server, past).await;
        let teacher =
            Teacher { place: stage.place().clone(), kubeconfig: stage.kubeconfig("teacher").unwrap() };
        let lost = teacher.would_take(line, "", &LessonScope::default()).await.unwrap();
        lost.iter().map(ToString::to_string).collect()
    }

    /// A question about it would also tell a learner where a lab's cause is.
    #[tokio::test]
    async fn no_question_is_asked_about_what_the_cluster_made_itself() {
        for (line, asked) in [
            ("kubectl delete clusterrolebinding boot", "clusterrolebindings/boot"),
            ("kubectl cordon n1", "nodes/n1"),
            (
                "kubectl patch daemonset kube-proxy -n kube-system -p '{\"spec\":{\"minReadySeconds\":1}}'",
                "daemonsets/kube-proxy -n kube-system",
            ),
        ] {
            assert_eq!(lost(line, &[]).await, Vec::<String>::new(), "{line}");
            assert_eq!(lost(line, &["kubectl-label"]).await, [asked], "the learner has changed it: {line}");
        }
    }
}
