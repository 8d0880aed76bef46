//! # ReplicationController: what a ReplicaSet was before it had a name
//!
//! The oldest workload of Kubernetes. It differs from a ReplicaSet in its selector only, which is a
//! plain map of labels; so it is read as one, and the loop of [`super::replicaset`] does the rest.
//! Source: `pkg/controller/replication/conversion.go`.

use super::replicaset::{Replicas, Replicated};
use super::workload;
use crate::shared::Controller;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetSpec, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{
    Pod, ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use std::borrow::Cow;
use tap::Component;

pub(crate) const CONTROLLER: Controller = Controller {
    informers: |informers| {
        informers.all::<Pod>();
        informers.all::<ReplicationController>();
        informers.all::<ReplicaSet>();
    },
    start: |shared| drop(workload::start::<Replicas<ReplicationController>>(shared)),
};

impl Replicated for ReplicationController {
    type Status = ReplicationControllerStatus;
    const COMPONENT: Component = Component::ReplicationController;

    fn selector(&self) -> Option<Cow<'_, LabelSelector>> {
        let match_labels = self.spec.as_ref()?.selector.clone();
        Some(Cow::Owned(LabelSelector { match_labels, match_expressions: None }))
    }

    fn spec_as_replica_set(&self) -> ReplicaSetSpec {
        let spec = self.spec.clone().unwrap_or_default();
        ReplicaSetSpec {
            min_ready_seconds: spec.min_ready_seconds,
            replicas: spec.replicas,
            selector: LabelSelector { match_labels: spec.selector, match_expressions: None },
            template: spec.template,
        }
    }

    fn status_as_replica_set(&self) -> Option<ReplicaSetStatus> {
        let status = self.status.clone()?;
        let condition = |c: ReplicationControllerCondition| ReplicaSetCondition {
            last_transition_time: c.last_transition_time,
            message: c.message,
            reason: c.reason,
            status: c.status,
            type_: c.type_,
        };
        Some(ReplicaSetStatus {
            available_replicas: status.available_replicas,
            conditions: status.conditions.map(|all| all.into_iter().map(condition).collect()),
            fully_labeled_replicas: status.fully_labeled_replicas,
            observed_generation: status.observed_generation,
            ready_replicas: status.ready_replicas,
            replicas: status.replicas,
            terminating_replicas: None,
        })
    }

    fn status(&self) -> Option<&ReplicationControllerStatus> {
        self.status.as_ref()
    }

    /// Drops the count of pods that are being deleted: the older kind has no field for it.
    fn own_status(status: ReplicaSetStatus) -> ReplicationControllerStatus {
        let condition = |c: ReplicaSetCondition| ReplicationControllerCondition {
            last_transition_time: c.last_transition_time,
            message: c.message,
            reason: c.reason,
            status: c.status,
            type_: c.type_,
        };
        ReplicationControllerStatus {
            available_replicas: status.available_replicas,
            conditions: status.conditions.map(|all| all.into_iter().map(condition).collect()),
            fully_labeled_replicas: status.fully_labeled_replicas,
            observed_generation: status.observed_generation,
            ready_replicas: status.ready_replicas,
            replicas: status.replicas,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::Shared;
    use client::Key;
    use client::testing::Scripted;
    use serde_json::json;

    #[tokio::test]
    async fn its_pods_are_made_and_counted_as_those_of_a_replica_set() {
        let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}});
        let own = json!({"metadata": {"name": "rc", "namespace": "d", "uid": "1", "generation": 2},
            "spec": {"replicas": 2, "selector": {"app": "web"}, "template": template}, "status": {"replicas": 1}});
        let owner = json!({"apiVersion": "v1", "kind": "ReplicationController", "name": "rc", "uid": "1",
            "controller": true, "blockOwnerDeletion": true});
        let pod = json!({"metadata": {"name": "rc-a", "namespace": "d", "uid": "a", "labels": {"app": "web"},
            "ownerReferences": [owner]}, "status": {"phase": "Running"}});
        let stored = own.clone();
        let server = Scripted::new(move |asked| match asked.line.as_str() {
            line if line.contains("/replicationcontrollers/rc") => Some((200, stored.clone())),
            line if line.starts_with("POST") => Some((201, asked.body.clone())),
            _ => None,
        })
        .await;
        let shared = Shared::fixed(&server.client);
        shared.informer::<ReplicationController>().show(serde_json::from_value(own).unwrap());
        shared.informer::<Pod>().show(serde_json::from_value(pod).unwrap());
        let key = Key::new("d", "rc");
        workload::look_once::<Replicas<ReplicationController>>(&shared, &key).await.unwrap();
        let asked = server.take();
        let made: Vec<_> = asked.iter().filter(|a| a.line == "POST /api/v1/namespaces/d/pods").collect();
        assert_eq!(made.len(), 1, "{asked:?}");
        let metadata = &made[0].body["metadata"];
        assert_eq!(
            (&metadata["generateName"], &metadata["ownerReferences"]),
            (&json!("rc-"), &json!([owner]))
        );
        let status = &asked.iter().find(|a| a.line.ends_with("/rc/status")).expect("a status").body["status"];
        assert_eq!(*status, json!({"replicas": 1, "fullyLabeledReplicas": 1, "observedGeneration": 2}));
    }

    #[test]
    fn a_status_is_that_of_a_replica_set_without_the_pods_that_are_going() {
        let failure = json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
            "message": "exceeded quota", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let status = json!({"replicas": 3, "fullyLabeledReplicas": 2, "readyReplicas": 2, "availableReplicas": 1,
            "observedGeneration": 7, "conditions": [failure]});
        let own: ReplicationController = serde_json::from_value(json!({"status": status})).unwrap();
        let mut as_set = own.status_as_replica_set().unwrap();
        as_set.terminating_replicas = Some(1);
        assert_eq!(json!(ReplicationController::own_status(as_set)), status);
    }
}
