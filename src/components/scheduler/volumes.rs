//! Volume binding: where a pod's volumes allow it to run, and which volumes its unbound claims take
//! there.
//!
//! A claim that waits for its first consumer has no volume yet. A pod with one may go to a node
//! where a free volume fits, or where the class' provisioner can make one; which it is, is decided
//! together with the node. The plug-ins VolumeRestrictions, VolumeBinding and VolumeZone ask this
//! file; upstream: `pkg/scheduler/framework/plugins/volumebinding`.

use super::node_info::NodeInfo;
use api::volumes::{fits, is_reachable, is_reserved_for, preference, requested};
use client::Key;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// An unbound claim of the pod: its volume is chosen together with the node.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub key: Key,
    pub claim: Arc<PersistentVolumeClaim>,
    /// The class of the claim can make a volume, on any node: its `allowedTopologies` are not
    /// looked at.
    pub provisioned: bool,
    /// The node for which a volume was requested already: the pod can go to no other one.
    pub node: Option<String>,
    /// The binding of another pod, which is on its way, gives it a volume.
    pub is_shared: bool,
    /// The volumes that fit the claim and that no binding on its way reserves. A node gets the
    /// first that it can reach. They are kept because every node asks, and `fits` is costly.
    pub fitting: Vec<Arc<PersistentVolume>>,
}

/// Returns whether the volume's controller has not looked at it yet. It is about to write that the
/// volume is Available, so a reservation would end in a conflict. Upstream: `FindMatchingVolume`.
fn is_new(volume: &PersistentVolume) -> bool {
    let is_reserved = volume.spec.as_ref().is_some_and(|s| s.claim_ref.is_some());
    !is_reserved && volume.status.as_ref().is_some_and(|s| s.phase.as_deref() == Some("Pending"))
}

impl Open {
    /// Keeps those of the free volumes that fit.
    pub(crate) fn keep_fitting(&mut self, free: &[Arc<PersistentVolume>]) {
        self.fitting = free.iter().filter(|v| !is_new(v) && fits(v, &self.claim)).cloned().collect();
        self.fitting.sort_by_cached_key(|v| preference(v));
    }
}

/// The way in which an open claim gets its volume.
#[derive(Clone, Debug)]
pub(crate) enum Choice {
    /// This volume, which exists, is reserved for the claim.
    Reserve(Arc<PersistentVolume>),
    /// The provisioner makes a volume on the node.
    Provision,
    /// The claim's volume was requested before, for this pod or another one; the binding waits for
    /// it.
    Await,
}

/// The volumes of one pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct Volumes {
    /// The volumes of its bound claims.
    pub bound: Vec<Arc<PersistentVolume>>,
    /// Its unbound claims.
    pub open: Vec<Open>,
    /// Another pod uses one of its claims that only one pod may use (ReadWriteOncePod).
    pub is_taken: bool,
}

/// A reason why a node cannot take the pod with its volumes, in upstream's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub filter: &'static str,
    pub reason: &'static str,
    pub is_final: bool,
}

/// A reason why a pod's volumes keep it from every node, which is known before a node is looked at.
/// Upstream a plug-in's PreFilter gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unready {
    /// The plug-in.
    pub filter: &'static str,
    pub reason: String,
}

impl Volumes {
    /// Chooses a volume for every open claim on this node; `None` if one of them gets none. Each
    /// takes the one that is reserved for it, or else the smallest that fits and that no other
    /// takes: with volumes of 1Gi and 5Gi, claims of 1Gi and 2Gi take one each, in any order. Where
    /// claims have the same choice, the smallest claim takes the smallest volume, as upstream:
    /// with volumes of 5Gi and 10Gi, the claim of 1Gi takes that of 5Gi.
    pub(crate) fn choose(&self, node: &NodeInfo) -> Option<Vec<(Open, Choice)>> {
        let is_near = |v: &PersistentVolume| is_reachable(v, &node.labels);
        let mut open: Vec<&Open> = self.open.iter().collect();
        open.sort_by_cached_key(|o| (o.fitting.iter().filter(|v| is_near(v)).count(), requested(&o.claim)));
        let mut taken = BTreeSet::new();
        let mut chosen = Vec::with_capacity(open.len());
        for claim in open {
            if claim.node.as_ref().is_some_and(|other| *other != node.name) {
                return None;
            }
            if claim.is_shared {
                chosen.push((claim.clone(), Choice::Await));
                continue;
            }
            if let Some(volume) = claim.fitting.iter().find(|v| is_reserved_for(v, &claim.claim)) {
                if !is_near(volume) {
                    return None; // no other volume will do
                }
                taken.insert(&volume.metadata.name);
                let reserved = volume.spec.as_ref().and_then(|s| s.claim_ref.as_ref()?.uid.clone());
                let choice = match reserved == claim.claim.metadata.uid {
                    true => Choice::Await,
                    false => Choice::Reserve(volume.clone()),
                };
                chosen.push((claim.clone(), choice));
                continue;
            }
            let is_free = |v: &&Arc<PersistentVolume>| is_near(v) && !taken.contains(&v.metadata.name);
            let choice = match claim.fitting.iter().find(is_free) {
                // A provisioner that was asked for a volume may be making it already.
                Some(volume) if claim.node.is_none() => {
                    taken.insert(&volume.metadata.name);
                    Choice::Reserve(volume.clone())
                }
                _ if claim.provisioned => Choice::Provision,
                _ => return None,
            };
            chosen.push((claim.clone(), choice));
        }
        Some(chosen)
    }
}

/// The uid of the pod whose binding takes a volume or a claim. The pod's name is not enough: a pod
/// that is gone may have a successor of that name, which is decided before the binding of the first
/// one ends.
type Owner = Option<String>;

/// The volumes and claims that bindings on their way will take.
#[derive(Default)]
pub(crate) struct OnTheirWay {
    /// Volumes that these bindings reserve: no other claim gets them.
    pub volumes: BTreeMap<String, Owner>,
    /// Claims to which these bindings give a volume, and the node of the volume.
    pub claims: BTreeMap<Key, (String, Owner)>,
}

impl OnTheirWay {
    /// Notes what the binding of a pod to a node takes.
    pub(crate) fn add(&mut self, pod: &Pod, node: &str, choices: &[(Open, Choice)]) {
        let owner = &pod.metadata.uid;
        for (open, choice) in choices {
            match choice {
                Choice::Reserve(volume) => {
                    self.volumes.insert(volume.metadata.name.clone().unwrap_or_default(), owner.clone());
                }
                Choice::Provision => {}
                Choice::Await => continue,
            }
            self.claims.insert(open.key.clone(), (node.to_string(), owner.clone()));
        }
    }

    /// Forgets what the binding of a pod takes: it has ended.
    pub(crate) fn remove(&mut self, pod: &Pod) {
        self.volumes.retain(|_, owner| *owner != pod.metadata.uid);
        self.claims.retain(|_, (_, owner)| *owner != pod.metadata.uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn of<T: serde::de::DeserializeOwned>(object: Value) -> T {
        serde_json::from_value(object).unwrap()
    }

    const HOSTNAME: &str = "kubernetes.io/hostname";

    /// Returns a node with the label that ties volumes to it.
    fn node(name: &str) -> NodeInfo {
        NodeInfo {
            name: name.into(),
            labels: [(HOSTNAME.to_string(), name.to_string())].into(),
            ..NodeInfo::default()
        }
    }

    fn volume(name: &str, size: &str, node: &str) -> Arc<PersistentVolume> {
        let term = json!({"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": [node]}]});
        Arc::new(of(
            json!({"metadata": {"name": name}, "spec": {"storageClassName": "late", "capacity": {"storage": size},
            "accessModes": ["ReadWriteOnce"], "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}}}),
        ))
    }

    fn open(name: &str, size: &str, provisioned: bool) -> Open {
        let claim = of(
            json!({"metadata": {"name": name, "namespace": "d", "uid": name}, "spec": {"storageClassName": "late",
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}}),
        );
        let key = Key::new("d", name);
        Open { key, claim: Arc::new(claim), provisioned, node: None, is_shared: false, fitting: vec![] }
    }

    fn with(mut open: Vec<Open>, free: &[Arc<PersistentVolume>]) -> Volumes {
        open.iter_mut().for_each(|open| open.keep_fitting(free));
        Volumes { open, ..Volumes::default() }
    }

    /// Returns which volume each claim takes, e.g. `c1=small c2=+`; `+` is one that is made.
    fn choice(volumes: &Volumes, node: &str) -> Option<String> {
        let node = self::node(node);
        assert_eq!(volumes.refusals(&node).is_empty(), volumes.choose(&node).is_some());
        let mut all: Vec<String> = volumes
            .choose(&node)?
            .into_iter()
            .map(|(open, choice)| match choice {
                Choice::Reserve(v) => format!("{}={}", open.key.name, v.metadata.name.clone().unwrap()),
                Choice::Provision => format!("{}=+", open.key.name),
                Choice::Await => format!("{}=.", open.key.name),
            })
            .collect();
        all.sort();
        Some(all.join(" "))
    }

    #[test]
    fn claims_take_the_smallest_volumes_of_the_node() {
        let free = vec![volume("large", "5Gi", "a"), volume("small", "1Gi", "a"), volume("far", "1Gi", "b")];
        let with = |open: Vec<Open>| with(open, &free);
        let two = with(vec![open("c1", "1Gi", false), open("c2", "2Gi", false)]);
        assert_eq!(choice(&two, "a").unwrap(), "c1=small c2=large");
        assert_eq!(choice(&two, "b"), None, "no volume there is large enough");
        let swapped = with(vec![open("c2", "2Gi", false), open("c1", "1Gi", false)]);
        assert_eq!(choice(&swapped, "a").unwrap(), "c1=small c2=large");
        let roomy = [volume("ten", "10Gi", "a"), volume("five", "5Gi", "a")];
        let swapped = self::with(vec![open("c2", "2Gi", false), open("c1", "1Gi", false)], &roomy);
        assert_eq!(choice(&swapped, "a").unwrap(), "c1=five c2=ten", "both may have either");
        let made = with(vec![open("c1", "1Gi", true), open("c2", "2Gi", true)]);
        assert_eq!(choice(&made, "b").unwrap(), "c1=far c2=+");
        assert_eq!(choice(&made, "c").unwrap(), "c1=+ c2=+");
    }

    /// The API server makes volumes with the phase Pending.
    #[test]
    fn a_volume_is_taken_once_its_controller_has_seen_it() {
        for (phase, claim_ref, want) in [
            ("Pending", Value::Null, None),
            ("Available", Value::Null, Some("c1=v")),
            ("Pending", json!({"namespace": "d", "name": "c1"}), Some("c1=v")),
        ] {
            let mut volume = PersistentVolume::clone(&volume("v", "1Gi", "a"));
            volume.status = of(json!({"phase": phase}));
            volume.spec.as_mut().unwrap().claim_ref = of(claim_ref);
            let volumes = with(vec![open("c1", "1Gi", false)], &[Arc::new(volume)]);
            assert_eq!(choice(&volumes, "a").as_deref(), want, "{phase}");
        }
    }

    #[test]
    fn a_bound_volume_ties_the_pod_to_its_node() {
        let volumes = Volumes { bound: vec![volume("v", "1Gi", "a")], ..Volumes::default() };
        let on = |volumes: &Volumes, name: &str| {
            let refused = volumes.refusals(&node(name));
            refused.into_iter().map(|found| found.reason).collect::<Vec<_>>()
        };
        let reason = |name: &str| on(&volumes, name).first().copied();
        assert_eq!(
            (reason("a"), reason("b")),
            (None, Some("node(s) didn't match PersistentVolume's node affinity"))
        );
        let both = Volumes { open: vec![open("c", "1Gi", false)], ..volumes.clone() };
        let lacking = "node(s) didn't find available persistent volumes to bind";
        assert_eq!(on(&both, "a"), [lacking]);
        assert_eq!(on(&both, "b"), ["node(s) didn't match PersistentVolume's node affinity", lacking]);
    }

    /// A volume that was reserved for the claim, by a scheduler that ended meanwhile for example,
    /// ties it to its node, as does a provisioner that was asked.
    #[test]
    fn what_was_decided_once_is_decided() {
        let mut reserved = PersistentVolume::clone(&volume("large", "5Gi", "a"));
        reserved.spec.as_mut().unwrap().claim_ref =
            of(json!({"kind": "PersistentVolumeClaim", "namespace": "d", "name": "c1", "uid": "c1"}));
        let free = vec![volume("small", "1Gi", "a"), volume("far", "1Gi", "b"), Arc::new(reserved)];
        let with = |open: Vec<Open>| with(open, &free);
        let stored = with(vec![open("c1", "1Gi", true)]);
        assert_eq!((choice(&stored, "a").as_deref(), choice(&stored, "b")), (Some("c1=."), None));
        let asked = Open { node: Some("c".into()), ..open("c2", "1Gi", true) };
        let asked = with(vec![asked]);
        assert_eq!((choice(&asked, "a"), choice(&asked, "c").as_deref()), (None, Some("c2=+")));
        let shared = Open { node: Some("b".into()), is_shared: true, ..open("c3", "1Gi", false) };
        let shared = with(vec![shared]);
        assert_eq!((choice(&shared, "a"), choice(&shared, "b").as_deref()), (None, Some("c3=.")));
    }

    /// A binding waits for its volume, the pod is deleted meanwhile, and the StatefulSet makes the
    /// next one of that name.
    #[test]
    fn the_end_of_a_binding_leaves_what_a_pod_of_the_same_name_reserves() {
        let pod = |uid: &str| -> Pod {
            of(
                json!({"metadata": {"name": "web-0", "namespace": "d", "uid": uid}, "spec": {"containers": []}}),
            )
        };
        let takes = |claim: &str, name: &str| {
            vec![(open(claim, "1Gi", false), Choice::Reserve(volume(name, "1Gi", "a")))]
        };
        let mut reserved = OnTheirWay::default();
        reserved.add(&pod("1"), "a", &takes("c1", "v1"));
        reserved.add(&pod("2"), "a", &takes("c2", "v2"));
        reserved.remove(&pod("1"));
        assert_eq!(reserved.volumes.keys().collect::<Vec<_>>(), ["v2"]);
        assert_eq!(reserved.claims.keys().collect::<Vec<_>>(), [&Key::new("d", "c2")]);
        reserved.remove(&pod("2"));
        assert!(reserved.volumes.is_empty() && reserved.claims.is_empty());
    }

    #[test]
    fn a_volume_of_a_zone_is_not_used_in_another() {
        let old = "failure-domain.beta.kubernetes.io/zone";
        let new = "topology.kubernetes.io/zone";
        let labels = |labels: &[(&str, &str)]| -> BTreeMap<String, String> {
            labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
        };
        let refused = |tied: &[(&str, &str)], own: &[(&str, &str)]| {
            let mut volume = PersistentVolume::clone(&volume("v", "1Gi", "n"));
            volume.metadata.labels = Some(labels(tied));
            let volumes = Volumes { bound: vec![Arc::new(volume)], ..Volumes::default() };
            let mut node = node("n");
            node.labels.extend(labels(own));
            volumes.refusals(&node).first().map(|r| r.filter)
        };
        let other = Some("VolumeZone");
        assert_eq!(refused(&[(new, "a")], &[(new, "a")]), None);
        assert_eq!(refused(&[(new, "a")], &[(new, "b")]), other);
        assert_eq!(refused(&[(new, "a__b")], &[(new, "b")]), None, "it is in several");
        assert_eq!(refused(&[(new, "")], &[(new, "a")]), None, "a chart whose value is not set");
        assert_eq!(refused(&[(new, "a____b")], &[(new, "c")]), None, "an empty zone between two");
        assert_eq!(refused(&[(old, ""), (new, "a")], &[(new, "b")]), other, "the other label counts");
        assert_eq!(refused(&[(new, "a")], &[]), None, "a node without zones has all");
        assert_eq!(refused(&[(old, "a")], &[(new, "a")]), None, "the new name of the same label");
        assert_eq!(refused(&[(new, "a")], &[(old, "a")]), other, "not the reverse");
        assert_eq!(refused(&[(old, "b"), (new, "a")], &[(new, "a")]), other, "both count");
    }
}
