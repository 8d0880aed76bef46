//! Which pods the addons make: a start waits for them.

use super::images::PREFIX;
use controllers::daemonset::decide::belongs;
use k8s_openapi::api::core::v1::{Node, PodTemplateSpec};
use serde_json::Value;
use std::sync::Arc;

/// JSON pointers to the containers of a workload and of a pod.
pub(super) const CONTAINERS: [&str; 2] = ["/spec/template/spec/containers", "/spec/containers"];

/// The pods with a component of the cluster that the addons make, as a learner left them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct AddonPods {
    /// How many pods the Deployments make, and single pods.
    pub pods: usize,
    /// Templates of DaemonSets: each makes a pod for every node that it belongs on.
    daemons: Vec<PodTemplateSpec>,
}

impl AddonPods {
    /// Adds the pods that an object of the API makes or is; none if no container runs a component.
    pub(crate) fn add(&mut self, object: &Value) {
        let containers = CONTAINERS.iter().find_map(|path| object.pointer(path)?.as_array());
        let mut images = containers.into_iter().flatten().filter_map(|c| c["image"].as_str());
        if !images.any(|image| image.starts_with(PREFIX)) {
            return;
        }
        match object["kind"].as_str() {
            Some("Pod") => self.pods += 1,
            Some("Deployment") => {
                let replicas = object["spec"]["replicas"].as_u64();
                let replicas = replicas.map_or(1, |n| usize::try_from(n).unwrap_or(usize::MAX));
                self.pods = self.pods.saturating_add(replicas);
            }
            Some("DaemonSet") => {
                self.daemons.extend(serde_json::from_value(object["spec"]["template"].clone()).ok());
            }
            _ => {}
        }
    }

    /// Returns how many pods there are to be on these nodes, those of Deployments included.
    pub(crate) fn on(&self, nodes: &[&Arc<Node>]) -> usize {
        let daemons = |template| nodes.iter().filter(|node| belongs(template, node).0).count();
        self.daemons.iter().map(daemons).fold(self.pods, usize::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn count(object: &Value, nodes: &[Value]) -> usize {
        let nodes: Vec<Arc<Node>> =
            nodes.iter().map(|node| Arc::new(serde_json::from_value(node.clone()).unwrap())).collect();
        let mut pods = AddonPods::default();
        pods.add(object);
        pods.on(&nodes.iter().collect::<Vec<_>>())
    }

    #[test]
    fn the_pods_of_addons_are_counted_as_a_learner_left_them() {
        let image = format!("{}coredns:1", PREFIX);
        let own = json!([{"name": "coredns", "image": image}]);
        let deployment = |replicas: u64, containers: &Value| {
            let template = json!({"spec": {"containers": containers}});
            count(&json!({"kind": "Deployment", "spec": {"replicas": replicas, "template": template}}), &[])
        };
        assert_eq!((deployment(0, &own), deployment(2, &own)), (0, 2));
        let foreign = json!([{"name": "coredns", "image": "registry.k8s.io/coredns:1"}]);
        assert_eq!(deployment(2, &foreign), 0, "it says nothing of ours");
        assert_eq!(count(&json!({"kind": "Pod", "spec": {"containers": own}}), &[]), 1);

        let nodes = [
            json!({"metadata": {"name": "a"}, "spec": {"taints": [{"key": "t", "effect": "NoSchedule"}]}}),
            json!({"metadata": {"name": "b", "labels": {"proxy": "yes"}}}),
        ];
        let daemons = |spec: Value, containers: &Value| {
            let mut template = json!({"spec": spec});
            template["spec"]["containers"] = containers.clone();
            count(&json!({"kind": "DaemonSet", "spec": {"template": template}}), &nodes)
        };
        let everywhere = json!({"tolerations": [{"operator": "Exists"}]});
        assert_eq!(daemons(everywhere.clone(), &own), 2);
        assert_eq!(daemons(json!({"nodeSelector": {"proxy": "yes"}}), &own), 1);
        assert_eq!(daemons(json!({"nodeSelector": {"proxy": "no"}}), &own), 0);
        assert_eq!(daemons(everywhere, &foreign), 0);
    }
}
