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

    /// Of pods that are going it has no count.
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
