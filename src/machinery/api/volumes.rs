//! Which volume a claim may have: the persistent volume controller and the scheduler ask the same
//! question. Source: `pkg/controller/volume/persistentvolume/pv_controller_base.go`,
//! `component-helpers/storage/volume`.

use super::labels::Selector;
use super::quantity::Quantity;
use super::value::text;
use super::{meta, nodes};
use k8s_openapi::api::core::v1::{
    NodeSelector, ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec,
    PersistentVolumeSpec, Pod,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Amount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// The annotation that tells a provisioner, and the controller, where a claim's first consumer will
/// run.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// The annotation of a claim that the controller has bound: only then is the volume that it names
/// its own.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// The annotation of a volume whose claim was chosen by the controller or the scheduler, who may
/// take it back.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// The finalizer that keeps a claim until no pod uses it.
pub const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
/// The finalizer that keeps a volume until no claim is bound to it.
pub const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";
/// The annotation in which claims and volumes named their class before they had a field for it. It
/// goes before the field.
pub const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
/// What a class names as its provisioner whose volumes are made by hand.
pub const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// The annotations of which one makes a class the default of claims that name none. The second is
/// that of old manifests.
const IS_DEFAULT_CLASS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

/// Returns whether a StorageClass with these annotations is a default one (upstream:
/// `IsDefaultAnnotation`). `annotation` gives the value of a key.
pub fn is_default_class<'a>(annotation: impl Fn(&str) -> Option<&'a str>) -> bool {
    IS_DEFAULT_CLASS.iter().any(|key| annotation(key) == Some("true"))
}

/// Returns the class that an object's metadata or the field names; empty for none (upstream:
/// `GetPersistentVolumeClaimClass`, `GetPersistentVolumeClass`).
fn class(metadata: &ObjectMeta, field: Option<&String>) -> String {
    let noted = metadata.annotations.as_ref().and_then(|all| all.get(OLD_CLASS));
    noted.or(field).cloned().unwrap_or_default()
}

/// Returns the name of a claim's class; empty for none.
pub fn class_of(claim: &PersistentVolumeClaim) -> String {
    class(&claim.metadata, claim.spec.as_ref().and_then(|s| s.storage_class_name.as_ref()))
}

/// Returns the name of a volume's class; empty for none.
pub(crate) fn class_of_volume(volume: &PersistentVolume) -> String {
    class(&volume.metadata, volume.spec.as_ref().and_then(|s| s.storage_class_name.as_ref()))
}

/// Returns the name of the class of a claim or a volume that is no typed object; empty for none.
pub fn class_named_by(object: &Value) -> &str {
    meta::annotation(object, OLD_CLASS).unwrap_or_else(|| text(object, "spec.storageClassName"))
}

/// Returns whether a volume names this claim in `spec.claimRef`.
pub fn is_reserved_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    volume.spec.as_ref().and_then(|s| s.claim_ref.as_ref()).is_some_and(|reserved| {
        reserved.name == claim.metadata.name
            && reserved.namespace == claim.metadata.namespace
            && reserved.uid.as_ref().is_none_or(|u| u.is_empty() || Some(u) == claim.metadata.uid.as_ref())
    })
}

/// Returns the merge patch with which a component reserves a volume for a claim. `claim_ref` is the
/// whole reference to the claim. A volume that named the claim before was reserved by its
/// administrator: it does not get the mark with which a component may take the reservation back
/// (upstream: `GetBindVolumeToClaim`).
pub fn reservation(
    volume: &PersistentVolume,
    claim: &PersistentVolumeClaim,
    claim_ref: &ObjectReference,
) -> Value {
    let (uid, version) = (&volume.metadata.uid, &volume.metadata.resource_version);
    let mut metadata = json!({"uid": uid, "resourceVersion": version});
    if !is_reserved_for(volume, claim) {
        metadata["annotations"] = json!({BOUND_BY_CONTROLLER: "yes"});
    }
    json!({"metadata": metadata, "spec": {"claimRef": claim_ref}})
}

/// Returns whether a claim has its volume. One that only names a volume, as its author may write
/// it, waits for the controller.
pub fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    let names = claim.spec.as_ref().and_then(|s| s.volume_name.as_ref()).is_some_and(|name| !name.is_empty());
    names && claim.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(BIND_COMPLETED))
}

/// Returns whether at most one pod may use the claim (`ReadWriteOncePod`).
pub fn is_for_one_pod(claim: &PersistentVolumeClaim) -> bool {
    claim.spec.iter().flat_map(|s| s.access_modes.iter().flatten()).any(|mode| mode == "ReadWriteOncePod")
}

fn storage(amounts: Option<&BTreeMap<String, Amount>>) -> Option<Quantity> {
    amounts.and_then(|m| m.get("storage")).and_then(|q| Quantity::parse(&q.0))
}

/// Returns whether this volume may be given to this claim: it is large enough and of the modes that
/// the claim asks for, and it is reserved for the claim, or free and of its class and labels. A
/// claim of 1Gi may have a volume of 5Gi, but none of 1023Mi. A claim and a volume that name each
/// other belong together, whatever the claim asks for by now: it may have been enlarged.
pub fn fits(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let (Some(have), Some(want)) = (&volume.spec, &claim.spec) else { return false };
    if volume.metadata.deletion_timestamp.is_some() {
        return false;
    }
    let wanted = want.volume_name.as_deref().filter(|name| !name.is_empty());
    let named = wanted.is_none_or(|name| Some(name) == volume.metadata.name.as_deref());
    let suits = has_access_modes(have, want) && is_large_enough(have, want) && has_volume_mode(have, want);
    if have.claim_ref.is_some() {
        return is_reserved_for(volume, claim) && (suits || (wanted.is_some() && named));
    }
    let phase = volume.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or("Available");
    // As everywhere but in workloads, `selector: {}` selects all. A claim that names its volume
    // need not choose one.
    let is_selected = || {
        want.selector.as_ref().is_none_or(|selector| {
            Selector::of(&json!(selector)).is_some_and(|s| s.matches(&json!(volume.metadata.labels)))
        })
    };
    let chosen = wanted.is_some() || is_selected();
    named
        && suits
        && chosen
        && matches!(phase, "Available" | "Pending" | "")
        && class_of_volume(volume) == class_of(claim)
}

fn is_large_enough(have: &PersistentVolumeSpec, want: &PersistentVolumeClaimSpec) -> bool {
    storage(have.capacity.as_ref()).map_or(0, |q| q.units()) >= requested_by(want)
}

fn requested_by(want: &PersistentVolumeClaimSpec) -> i64 {
    storage(want.resources.as_ref().and_then(|r| r.requests.as_ref())).map_or(0, |q| q.units())
}

/// Returns the bytes that a claim asks for; 0 if it does not say.
pub fn requested(claim: &PersistentVolumeClaim) -> i64 {
    claim.spec.as_ref().map_or(0, requested_by)
}

fn has_access_modes(have: &PersistentVolumeSpec, want: &PersistentVolumeClaimSpec) -> bool {
    want.access_modes.iter().flatten().all(|m| have.access_modes.iter().flatten().any(|h| h == m))
}

fn has_volume_mode(have: &PersistentVolumeSpec, want: &PersistentVolumeClaimSpec) -> bool {
    let mode = |mode: &Option<String>| mode.clone().unwrap_or_else(|| "Filesystem".into());
    mode(&have.volume_mode) == mode(&want.volume_mode)
}

/// Returns why a free volume cannot be bound to a claim that names it; `None` if it can be
/// (upstream: `checkVolumeSatisfyClaim`).
pub fn mismatch(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<String> {
    let (Some(have), Some(want)) = (&volume.spec, &claim.spec) else { return None };
    if volume.metadata.deletion_timestamp.is_some() {
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        return Some(format!("the volume is marked for deletion {name:?}"));
    }
    let demands = [
        (is_large_enough(have, want), "requested PV is too small"),
        (class_of_volume(volume) == class_of(claim), "storageClassName does not match"),
        (has_volume_mode(have, want), "incompatible volumeMode"),
        (has_access_modes(have, want), "incompatible accessMode"),
    ];
    demands.iter().find(|(is_met, _)| !is_met).map(|(_, why)| (*why).to_string())
}

/// Returns the order in which the controller takes volumes that fit a claim: one that is reserved
/// for it first, then those with the fewest access modes, which are closest to what the claim asks
/// for, and of these the smallest (upstream: `findByClaim`). A claim of `ReadWriteOnce` gets 10Gi
/// of that mode rather than 5Gi that many nodes may write to.
pub fn closest(volume: &PersistentVolume) -> (bool, usize, i64, Option<String>) {
    let modes: BTreeSet<&String> = volume.spec.iter().flat_map(|s| s.access_modes.iter().flatten()).collect();
    let (free, size, name) = preference(volume);
    (free, modes.len(), size, name)
}

/// Returns the order in which the scheduler takes volumes that fit a claim: one that is reserved
/// for it first, then the smallest. It does not compare access modes.
pub fn preference(volume: &PersistentVolume) -> (bool, i64, Option<String>) {
    let free = volume.spec.as_ref().is_none_or(|s| s.claim_ref.is_none());
    let size = storage(volume.spec.as_ref().and_then(|s| s.capacity.as_ref()));
    (free, size.map_or(i64::MAX, |q| q.units()), volume.metadata.name.clone())
}

/// Returns whether a volume can be used on a node with these labels; one without an affinity can be
/// used on all.
pub fn is_reachable(volume: &PersistentVolume, labels: &BTreeMap<String, String>) -> bool {
    let required = volume.spec.as_ref().and_then(|s| s.node_affinity.as_ref()?.required.as_ref());
    required.is_none_or(|required| is_on(required, labels))
}

/// Returns whether the node affinity of a volume is met by a node with these labels. The name of
/// the node does not matter: upstream compares with a node that has labels alone, so that
/// `matchFields` decides nothing (`CheckNodeAffinity`).
///
/// ```text
/// matchExpressions: kubernetes.io/hostname In [n1]   the node with this label
/// matchFields: metadata.name In [n1]                 every node
/// ```
pub fn is_on(required: &NodeSelector, labels: &BTreeMap<String, String>) -> bool {
    required.node_selector_terms.iter().any(|term| nodes::fits_by_labels(term, labels))
}

/// Returns the names of the claims that a pod mounts, those that are made for it included.
pub fn claims_of(pod: &Pod) -> impl Iterator<Item = String> {
    let owner = pod.metadata.name.as_deref().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    volumes.filter_map(move |v| match (&v.persistent_volume_claim, &v.ephemeral) {
        (Some(source), _) => Some(source.claim_name.clone()),
        (None, Some(_)) => Some(format!("{owner}-{}", v.name)),
        (None, None) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(json: serde_json::Value) -> PersistentVolume {
        serde_json::from_value(json!({"metadata": {"name": "v", "labels": {"disk": "ssd"}}, "spec": json}))
            .unwrap()
    }

    fn claim() -> PersistentVolumeClaim {
        serde_json::from_value(json!({
            "metadata": {"name": "c", "namespace": "d", "uid": "u"},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "resources": {"requests": {"storage": "1Gi"}}},
        }))
        .unwrap()
    }

    fn base() -> serde_json::Value {
        json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "capacity": {"storage": "1Gi"}})
    }

    #[test]
    fn a_volume_is_where_the_labels_of_a_node_say_and_not_its_name() {
        let labels = BTreeMap::from([("disk".to_string(), "ssd".to_string())]);
        let rule = |key: &str, value: &str| json!([{"key": key, "operator": "In", "values": [value]}]);
        for (term, want) in [
            (json!({"matchExpressions": rule("disk", "ssd")}), true),
            (json!({"matchExpressions": rule("disk", "hdd")}), false),
            (json!({"matchFields": rule("metadata.name", "other")}), true),
            (
                json!({"matchExpressions": rule("disk", "hdd"), "matchFields": rule("metadata.name", "other")}),
                false,
            ),
            (json!({}), false),
        ] {
            let tied = volume(json!({"nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}}));
            assert_eq!(is_reachable(&tied, &labels), want, "{term}");
        }
        assert!(is_reachable(&volume(json!({})), &labels));
    }

    #[test]
    fn size_mode_class_and_reservation_decide() {
        let with = |key: &str, value: serde_json::Value| {
            let mut spec = base();
            spec[key] = value;
            fits(&volume(spec), &claim())
        };
        assert!(fits(&volume(base()), &claim()));
        assert!(!with("capacity", json!({"storage": "1023Mi"})));
        assert!(!with("storageClassName", json!("slow")));
        assert!(!with("accessModes", json!(["ReadOnlyMany"])));
        assert!(with("claimRef", json!({"name": "c", "namespace": "d", "uid": "u"})));
        assert!(!with("claimRef", json!({"name": "c", "namespace": "d", "uid": "older"})));
    }

    #[test]
    fn a_volume_that_is_reserved_for_a_claim_suits_it_unless_the_claim_names_it() {
        let reserved = |key: &str, value: serde_json::Value| {
            let mut spec = base();
            spec["claimRef"] = json!({"name": "c", "namespace": "d"});
            spec[key] = value;
            volume(spec)
        };
        let small = reserved("capacity", json!({"storage": "1Mi"}));
        let other_class = reserved("storageClassName", json!("slow"));
        assert!(!fits(&small, &claim()) && fits(&other_class, &claim()));
        assert!(!fits(&reserved("volumeMode", json!("Block")), &claim()));
        assert!(!fits(&reserved("accessModes", json!(["ReadOnlyMany"])), &claim()));
        let named = |name: &str| {
            let mut claim = claim();
            claim.spec.as_mut().unwrap().volume_name = Some(name.into());
            claim
        };
        assert!(fits(&small, &named("v")) && !fits(&small, &named("other")));
    }

    /// As `allPossibleMatchingAccessModes` upstream sorts them.
    #[test]
    fn the_controller_takes_the_closest_access_modes_before_the_smallest_volume() {
        let with = |modes: &[&str], size: &str| {
            let mut spec = base();
            spec["accessModes"] = json!(modes);
            spec["capacity"] = json!({ "storage": size });
            volume(spec)
        };
        let (once, many) = ("ReadWriteOnce", "ReadWriteMany");
        let exact = with(&[once, once], "10Gi");
        let wider = with(&[once, many], "5Gi");
        assert!(closest(&exact) < closest(&wider) && preference(&wider) < preference(&exact));
        assert!(closest(&with(&[once], "9Gi")) < closest(&exact));
        let mut reserved = wider.clone();
        reserved.spec.as_mut().unwrap().claim_ref = Some(ObjectReference::default());
        assert!(closest(&reserved) < closest(&exact));
    }

    #[test]
    fn an_empty_selector_selects_every_volume() {
        let with = |selector: serde_json::Value| {
            let mut claim = claim();
            claim.spec.as_mut().unwrap().selector = serde_json::from_value(selector).unwrap();
            fits(&volume(base()), &claim)
        };
        assert!(with(json!({})) && with(json!({"matchLabels": {"disk": "ssd"}})));
        assert!(!with(json!({"matchLabels": {"disk": "hdd"}})));
    }

    #[test]
    fn a_volume_that_a_claim_names_needs_no_label_and_says_what_it_lacks() {
        let mut claim = claim();
        let spec = claim.spec.as_mut().unwrap();
        spec.volume_name = Some("v".into());
        spec.selector = serde_json::from_value(json!({"matchLabels": {"disk": "hdd"}})).unwrap();
        assert!(fits(&volume(base()), &claim));
        assert_eq!(mismatch(&volume(base()), &claim), None);
        for (field, value, why) in [
            ("capacity", json!({"storage": "1023Mi"}), "requested PV is too small"),
            ("storageClassName", json!("slow"), "storageClassName does not match"),
            ("volumeMode", json!("Block"), "incompatible volumeMode"),
            ("accessModes", json!(["ReadOnlyMany"]), "incompatible accessMode"),
        ] {
            let mut spec = base();
            spec[field] = value;
            let volume = volume(spec);
            assert_eq!(mismatch(&volume, &claim).as_deref(), Some(why));
            assert!(!fits(&volume, &claim), "{field}");
        }
    }

    #[test]
    fn either_annotation_makes_a_class_the_default() {
        let with = |key: &str, value: &str| {
            let class = json!({"metadata": {"annotations": {key: value}}});
            is_default_class(|key| meta::annotation(&class, key))
        };
        for key in IS_DEFAULT_CLASS {
            assert!(with(key, "true") && !with(key, "false"), "{key}");
        }
        assert!(!with("ingressclass.kubernetes.io/is-default-class", "true"));
    }

    #[test]
    fn a_class_in_the_old_annotation_goes_before_the_field() {
        let object = |noted: Value, field: Value| {
            let mut object = json!({"metadata": {"name": "x", "annotations": {}}, "spec": {}});
            if noted.is_string() {
                object["metadata"]["annotations"][OLD_CLASS] = noted;
            }
            if field.is_string() {
                object["spec"]["storageClassName"] = field;
            }
            object
        };
        for (noted, field, class) in [
            (Value::Null, Value::Null, ""),
            (Value::Null, json!("new"), "new"),
            (json!("old"), json!("new"), "old"),
            (json!("old"), Value::Null, "old"),
            (json!(""), json!("new"), ""),
        ] {
            let object = object(noted, field);
            assert_eq!(class_named_by(&object), class);
            assert_eq!(class_of(&serde_json::from_value(object.clone()).unwrap()), class);
            assert_eq!(class_of_volume(&serde_json::from_value(object).unwrap()), class);
        }
    }
}
