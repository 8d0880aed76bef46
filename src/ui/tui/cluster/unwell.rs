//! Pods that are not well, in the words that their status reports.
//!
//! ```text
//! web-1    ImagePullBackOff                  kubectl's STATUS column
//! big      Pending              Unschedulable     ... and the reason of its condition
//! shop-1   0/1 Running          Unhealthy         ... and the reason of its Event
//! ```

use super::{Cluster, Key, Pod, Stand};
use clock::Timestamp;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// The reason of a pod's condition `PodScheduled` if no node fits, and that of an Event about a
/// probe that failed.
const UNSCHEDULABLE: &str = "Unschedulable";
const UNHEALTHY: &str = "Unhealthy";

/// What is wrong with a pod.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unwell<'a> {
    pub pod: &'a Pod,
    /// As `kubectl get pods` shows it.
    pub status: String,
    /// What a condition or an Event reports beyond that; mostly empty.
    pub reason: &'static str,
}

/// When the youngest pod of each owner was created, by namespace and owner.
type Newest<'a> = BTreeMap<(&'a str, &'a str), Option<Timestamp>>;

fn owner(pod: &Pod) -> (&str, &str) {
    (&pod.namespace, &pod.owner)
}

impl Cluster {
    /// Returns what is wrong with a pod. `None`: it is well, it is only starting or leaving, or it
    /// has ended and its owner made another one since.
    fn unwell<'a>(&self, pod: &'a Pod, newest: &Newest<'_>) -> Option<Unwell<'a>> {
        let is_replaced = || newest.get(&owner(pod)).is_some_and(|newest| *newest > pod.created);
        let (status, reason) = match pod.stand {
            Stand::Failed if pod.is_over && is_replaced() => return None,
            Stand::Failed => (pod.status.clone(), ""),
            Stand::Waiting if is_unschedulable(pod) => (pod.status.clone(), UNSCHEDULABLE),
            Stand::Starting if self.is_unhealthy(pod) => {
                (format!("{}/{} {}", pod.ready.0, pod.ready.1, pod.status), UNHEALTHY)
            }
            _ => return None,
        };
        Some(Unwell { pod, status, reason })
    }

    /// Returns the learner's pods that are not well: those that failed first, those that run last,
    /// and of each sort the youngest first. Unlike the order of the latest change this one does not
    /// alternate while two pods crash again and again.
    pub(crate) fn unwell_pods(&self) -> Vec<Unwell<'_>> {
        let own = || self.pods.values().filter(|pod| !pod.system());
        // Of those that have an owner: a Job that tries again makes another one, for example.
        let mut newest = Newest::new();
        for pod in own().filter(|pod| !pod.owner.is_empty()) {
            let created = newest.entry(owner(pod)).or_default();
            *created = pod.created.max(*created);
        }
        let mut found: Vec<Unwell<'_>> = own().filter_map(|pod| self.unwell(pod, &newest)).collect();
        let rank = |pod: &Pod| match pod.stand {
            Stand::Failed => 0,
            Stand::Waiting => 1,
            _ => 2,
        };
        found.sort_by_key(|unwell| (rank(unwell.pod), Reverse(unwell.pod.created)));
        found
    }

    /// Returns the Deployment that a pod belongs to.
    pub(crate) fn deployment_of(&self, pod: &Pod) -> Option<Key> {
        let set = self.replicasets.get(&(pod.namespace.clone(), pod.owner.clone()))?;
        let key = (set.namespace.clone(), set.owner.clone());
        self.deployments.contains_key(&key).then_some(key)
    }

    /// Returns the learner's Deployments of which a pod is not well or was refused.
    pub(crate) fn unwell_deployments(&self) -> BTreeSet<Key> {
        let own = self.replicasets.values().filter(|set| set.namespace != "kube-system");
        let refused = own.filter(|set| !set.failure.is_empty());
        let refused = refused.map(|set| (set.namespace.clone(), set.owner.clone()));
        let unwell = self.unwell_pods().into_iter().filter_map(|unwell| self.deployment_of(unwell.pod));
        refused.chain(unwell).collect()
    }

    /// Returns whether a pod that runs is not ready, and a probe of it was reported to fail.
    fn is_unhealthy(&self, pod: &Pod) -> bool {
        let is_told = || self.events_of(pod).iter().any(|event| event.reason == UNHEALTHY);
        pod.status == "Running" && pod.ready.0 < pod.ready.1 && is_told()
    }
}

fn is_unschedulable(pod: &Pod) -> bool {
    pod.conditions.iter().any(|it| it.kind == "PodScheduled" && !it.met && it.reason == UNSCHEDULABLE)
}

#[cfg(test)]
mod tests {
    use super::super::object::{Condition, Deployment, Happened, ReplicaSet};
    use super::*;

    /// A pod of a ReplicaSet that stands so.
    fn pod(name: &str, stand: Stand, status: &str) -> Pod {
        let created = "2026-01-01T00:00:00Z".parse().ok();
        Pod {
            namespace: "shop".into(),
            name: name.into(),
            owner: "web-5c9".into(),
            stand,
            status: status.into(),
            ready: (0, 1),
            created,
            ..Pod::default()
        }
    }

    fn with(pods: Vec<Pod>) -> Cluster {
        let pods = pods.into_iter().map(|pod| ((pod.namespace.clone(), pod.name.clone()), pod)).collect();
        Cluster { pods, ..Cluster::default() }
    }

    /// Returns the names of the pods that are not well, with what is said of them.
    fn told(cluster: &Cluster) -> Vec<String> {
        let unwell_pods = cluster.unwell_pods().into_iter();
        unwell_pods.map(|it| format!("{} {} {}", it.pod.name, it.status, it.reason)).collect()
    }

    #[test]
    fn what_is_not_well_is_told_in_the_words_of_its_status() {
        let unschedulable =
            Condition { kind: "PodScheduled".into(), reason: UNSCHEDULABLE.into(), ..Condition::default() };
        let waits = Pod { conditions: vec![unschedulable], ..pod("big", Stand::Waiting, "Pending") };
        let unready = pod("unready", Stand::Starting, "Running");
        let mut cluster = with(vec![
            waits,
            unready,
            pod("broken", Stand::Failed, "ImagePullBackOff"),
            pod("new", Stand::Waiting, "Pending"),
            pod("starts", Stand::Starting, "ContainerCreating"),
            pod("leaves", Stand::Leaving, "Terminating"),
            Pod {
                is_over: true,
                created: "2025-12-31T00:00:00Z".parse().ok(),
                ..pod("replaced", Stand::Failed, "Evicted")
            },
            Pod { is_over: true, owner: "job".into(), ..pod("last", Stand::Failed, "Error") },
            Pod { namespace: "kube-system".into(), ..pod("dns", Stand::Failed, "CrashLoopBackOff") },
        ]);
        let others = ["broken ImagePullBackOff ", "last Error ", "big Pending Unschedulable"];
        assert_eq!(told(&cluster), others);
        let event = Happened {
            about: ("shop".into(), "unready".into()),
            kind: "Pod".into(),
            reason: UNHEALTHY.into(),
            ..Happened::default()
        };
        cluster.events.insert(("shop".into(), "e".into()), event);
        assert_eq!(told(&cluster).last().map(String::as_str), Some("unready 0/1 Running Unhealthy"));
        cluster.pods.values_mut().for_each(|pod| pod.stand = Stand::Ready);
        assert_eq!(told(&cluster), [""; 0]);
    }

    #[test]
    fn a_deployment_is_unwell_if_a_pod_of_it_is_or_was_refused() {
        let set = |name: &str, owner: &str, failure: &str| {
            let (namespace, name) = ("shop".to_string(), name.to_string());
            let set = ReplicaSet {
                namespace: namespace.clone(),
                name: name.clone(),
                owner: owner.into(),
                failure: failure.into(),
                ..ReplicaSet::default()
            };
            ((namespace, name), set)
        };
        let mut cluster = with(vec![pod("broken", Stand::Failed, "CrashLoopBackOff")]);
        cluster.replicasets =
            [set("web-5c9", "web", ""), set("api-7d4", "api", "exceeded quota"), set("db-1", "db", "")]
                .into();
        for name in ["web", "api", "db"] {
            cluster.deployments.insert(("shop".into(), name.into()), Deployment::default());
        }
        // The learner's Deployments stay before those of the cluster.
        let dns = ReplicaSet {
            namespace: "kube-system".into(),
            ..cluster.replicasets.values().next().unwrap().clone()
        };
        cluster.replicasets.insert(("kube-system".into(), "dns-1".into()), dns);
        let names: Vec<String> = cluster.unwell_deployments().into_iter().map(|key| key.1).collect();
        assert_eq!(names, ["api", "web"]);
    }
}
