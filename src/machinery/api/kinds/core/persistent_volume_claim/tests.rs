use super::*;
use crate::validate::fields::problems;
use clock::Timestamp;

#[test]
fn storage_is_protected_from_the_first_moment_and_once() {
    let mut object = json!({"metadata": {"finalizers": ["a/b"]}});
    prepare(&mut object);
    prepare(&mut object);
    assert_eq!(object["metadata"]["finalizers"], json!(["a/b", "kubernetes.io/pvc-protection"]));
}

#[test]
fn claims_say_what_a_volume_can_be() {
    let with = |more: Value| {
        let mut spec =
            json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        crate::patch::merge(&mut spec, &more);
        problems(validate, json!({ "spec": spec }))
    };
    let snapshot = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"});
    assert_eq!(with(json!({"dataSource": snapshot, "dataSourceRef": snapshot})), [""; 0]);
    for (more, want) in [
        (
            json!({"accessModes": ["ReadWriteOncePod", "ReadOnlyMany"]}),
            "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
        ),
        (
            json!({"accessModes": ["rwo"]}),
            "spec.accessModes: Unsupported value: \"rwo\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
        ),
        (
            json!({"selector": {"matchExpressions": [{"key": "a", "operator": "in"}]}}),
            "spec.selector.matchExpressions[0].operator: Invalid value: \"in\": not a valid selector operator",
        ),
        (
            json!({"dataSource": {"kind": "Pod", "name": "p"}}),
            "spec.dataSource: Invalid value: \"Pod\": must be 'PersistentVolumeClaim' when referencing the default apiGroup",
        ),
        (
            json!({"dataSource": snapshot, "dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "s"}}),
            "spec: Invalid value: \"spec.dataSource\": must match dataSourceRef",
        ),
    ] {
        assert_eq!(with(more), [want]);
    }
    let found = with(json!({"dataSource": {"name": "p"}}));
    assert_eq!(found.len(), 2, "no kind, and none that has no group: {found:?}");
}

#[test]
fn the_source_of_a_claim_has_its_old_and_its_new_name() {
    let paired = |mut spec: Value| {
        pair_sources(&mut spec);
        (at(&spec, "dataSource").clone(), at(&spec, "dataSourceRef").clone())
    };
    let claim = json!({"kind": "PersistentVolumeClaim", "name": "c"});
    let snapshot = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"});
    let mut far = snapshot.clone();
    far["namespace"] = "other".into();
    for source in [claim, snapshot.clone()] {
        assert_eq!(paired(json!({ "dataSource": source })), (source.clone(), source.clone()));
        assert_eq!(paired(json!({ "dataSourceRef": source })), (source.clone(), source.clone()));
    }
    assert_eq!(paired(json!({ "dataSourceRef": far })), (Value::Null, far));
    assert_eq!(paired(json!({})), (Value::Null, Value::Null));
    let mut errors = Errors::default();
    let (one, both) =
        (json!({"dataSource": snapshot}), json!({"dataSource": snapshot, "dataSourceRef": snapshot}));
    validate_update(&json!({"spec": both}), &json!({"spec": one}), &mut errors);
    assert!(errors.is_empty(), "a claim that was stored with one of them");
}

#[test]
fn a_source_of_an_unknown_kind_is_dropped_under_its_old_name() {
    let foo = json!({"apiGroup": "example.com", "kind": "Foo", "name": "x"});
    let sources =
        |claim: &Value| (at(claim, "spec.dataSource").clone(), at(claim, "spec.dataSourceRef").clone());
    let nothing = (Value::Null, Value::Null);
    for source in [foo.clone(), json!({"kind": "ConfigMap", "name": "x"})] {
        let claim = json!({"spec": {"dataSource": source}});
        let mut made = claim.clone();
        prepare(&mut made);
        assert_eq!(sources(&made), nothing);
        let mut changed = claim.clone();
        prepare_update(&mut changed, &json!({"spec": {}}));
        assert_eq!(sources(&changed), nothing);
        let mut stored = claim.clone();
        prepare_update(&mut stored, &claim);
        assert_eq!(sources(&stored), (source.clone(), source), "it was stored before");
    }
    let snapshot = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"});
    for spec in [json!({"dataSource": snapshot}), json!({"dataSourceRef": snapshot})] {
        let mut made = json!({ "spec": spec });
        prepare(&mut made);
        assert_eq!(sources(&made), (snapshot.clone(), snapshot.clone()));
    }
    let mut populated = json!({"spec": {"dataSourceRef": foo}});
    prepare(&mut populated);
    assert_eq!(sources(&populated), (foo.clone(), foo), "its new name stands for a populator");
    let elsewhere = json!({"kind": "PersistentVolumeClaim", "name": "c", "namespace": "other"});
    let mut far = json!({"spec": {"dataSourceRef": elsewhere}});
    prepare(&mut far);
    assert_eq!(sources(&far), nothing, "a source in another namespace");
}

#[test]
fn the_amounts_in_a_status_are_amounts_of_storage() {
    let errors_of = |status: Value| {
        let mut errors = Errors::default();
        validate_status_update(&json!({ "status": status }), &Value::Null, &mut errors);
        errors.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let fine = json!({"capacity": {"storage": "1Gi"}, "allocatedResources": {"storage": "2Gi", "example.com/x": "1"},
        "allocatedResourceStatuses": {"storage": "NodeResizePending"}});
    assert_eq!(errors_of(fine), [""; 0]);
    assert_eq!(
        errors_of(json!({"capacity": {"storage": "-1Ki"}})),
        ["status.capacity[storage]: Invalid value: -1024: must be a valid resource quantity"]
    );
    assert_eq!(
        errors_of(json!({"allocatedResources": {"cpu": "-1"}})),
        ["status.allocatedResources: Unsupported value: \"cpu\": supported values: \"storage\""]
    );
    let states = errors_of(json!({"allocatedResourceStatuses": {"storage": "Done"}}));
    assert!(states.len() == 1 && states[0].contains("Unsupported value: \"storage\""), "{states:?}");
    assert_eq!(errors_of(json!({"allocatedResources": {"a b": "1"}})).len(), 1);
}

#[test]
fn a_claim_changes_its_size_only_once_it_is_bound() {
    let claim = |phase: &str, size: &str, has: &str| {
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
            "status": {"phase": phase, "capacity": {"storage": has}}})
    };
    let errors_of = |old: Value, new: Value| {
        let mut errors = Errors::default();
        validate_update(&new, &old, &mut errors);
        errors.iter().map(|e| e.field.clone()).collect::<Vec<_>>()
    };
    let of = |phase: &str, before: &str, after: &str| {
        errors_of(claim(phase, before, "1Gi"), claim(phase, after, "1Gi"))
    };
    assert_eq!(of("Bound", "1Gi", "2Gi"), [""; 0]);
    assert_eq!(of("Pending", "1Gi", "1Gi"), [""; 0]);
    assert_eq!(of("Pending", "1Gi", "1073741824"), [""; 0], "the same amount");
    assert_eq!(of("Pending", "1Gi", "2Gi"), ["spec"]);
    assert_eq!(of("Bound", "3Gi", "2Gi"), [""; 0], "the volume has 1Gi");
    assert_eq!(of("Bound", "3Gi", "1Gi"), ["spec.resources.requests.storage"]);
    let limited = |mut claim: Value| {
        value::put(&mut claim, "spec.resources.limits", json!({"storage": "9Gi"}));
        claim
    };
    let bound = claim("Bound", "1Gi", "1Gi");
    assert_eq!(errors_of(bound.clone(), limited(bound)), ["spec"]);
    let named = |mut claim: Value| {
        value::put(&mut claim, "spec.volumeName", "v");
        claim
    };
    let pending = claim("Pending", "1Gi", "0");
    assert_eq!(errors_of(pending.clone(), named(pending.clone())), [""; 0]);
    assert_eq!(errors_of(named(pending.clone()), pending), ["spec"]);
}

#[test]
fn the_annotation_of_a_claims_class_stays() {
    let claim = |annotation: Option<&str>, field: Option<&str>| {
        let mut claim = json!({"metadata": {"annotations": {}}, "spec": {"accessModes": ["ReadWriteOnce"]}});
        if let Some(class) = annotation {
            claim["metadata"]["annotations"][OLD_CLASS] = class.into();
        }
        if let Some(class) = field {
            put(&mut claim, "spec.storageClassName", class);
        }
        claim
    };
    let annotation = format!("metadata.annotations.{OLD_CLASS}");
    let (immutable, nothing): (Vec<&str>, Vec<&str>) = (vec![&annotation], vec![]);
    for (before, after, want) in [
        ((None, Some("slow")), (Some("fast"), Some("slow")), &immutable),
        ((Some("slow"), None), (Some("fast"), None), &immutable),
        ((Some("slow"), None), (None, None), &immutable),
        ((Some("slow"), None), (Some("slow"), Some("fast")), &vec!["spec"]),
        ((Some("slow"), None), (None, Some("slow")), &nothing),
        ((Some("slow"), None), (Some("slow"), Some("slow")), &nothing),
        ((Some("slow"), None), (Some("slow"), None), &nothing),
        ((None, None), (None, Some("fast")), &nothing),
    ] {
        let mut errors = Errors::default();
        validate_update(&claim(after.0, after.1), &claim(before.0, before.1), &mut errors);
        let fields: Vec<&str> = errors.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(fields, *want, "{before:?} -> {after:?}");
    }
}

#[test]
fn a_claim_that_waits_for_its_volume_has_no_capacity_yet() {
    let claim = |spec: Value| {
        let object = json!({"metadata": {"name": "c"}, "spec": spec, "status": {"phase": "Pending"}});
        (PRINTER.cells)(&object, Timestamp::UNIX_EPOCH)[3].clone()
    };
    assert_eq!(claim(json!({"volumeName": "v"})), "0");
    assert_eq!(claim(json!({})), "");
    let modes = json!({"m": ["ReadWriteMany", "ReadWriteOnce", "ReadWriteOnce"]});
    assert_eq!(super::modes(&modes, "m"), "RWO,RWX");
}
