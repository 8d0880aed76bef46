use super::*;
use crate::validate::fields::problems;
use serde_json::json;

#[test]
fn finalizers_of_kubernetes_kinds_have_a_domain() {
    let errors_of_finalizer = |kind: &crate::kinds::Kind, finalizer: &str| {
        let object = json!({"metadata": {"name": "a", "namespace": "d", "finalizers": [finalizer]}});
        let errors = crate::validate::create(kind, &object);
        let errors = errors.iter().map(ToString::to_string).filter(|error| error.contains("finalizers"));
        errors.collect::<Vec<_>>()
    };
    let errors_of = |kind: &str, finalizer: &str| {
        errors_of_finalizer(crate::kinds::find("", "v1", kind).unwrap(), finalizer)
    };
    let definition = crate::kinds::find("apiextensions.k8s.io", "v1", "CustomResourceDefinition").unwrap();
    assert_eq!(errors_of_finalizer(definition, crate::custom::definition::FINALIZER), [""; 0]);
    let budget = crate::kinds::find("policy", "v1", "PodDisruptionBudget").unwrap();
    assert_eq!([errors_of_finalizer(budget, "x"), errors_of("Event", "x")], [[""; 0]; 2]);
    for good in ["orphan", "foregroundDeletion", "kubernetes", "example.com/x"] {
        assert_eq!(errors_of("ConfigMap", good), [""; 0], "{good}");
    }
    let why = "name is neither a standard finalizer name nor is it fully qualified";
    assert_eq!(
        errors_of("ConfigMap", "foregroundDeletions"),
        [format!("metadata.finalizers[0]: Invalid value: \"foregroundDeletions\": {why}")]
    );
}

#[test]
fn the_name_of_a_manager_is_judged_once() {
    let kind = crate::kinds::find("", "v1", "ConfigMap").unwrap();
    let map = |manager: &str, subresource: &str| {
        let entry = json!({"manager": manager, "operation": "Update", "apiVersion": "v1",
            "subresource": subresource, "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {}}});
        json!({"metadata": {"name": "a", "namespace": "d", "managedFields": [entry]}})
    };
    let errors_of = |new: &Value, old: &Value| {
        let errors = update(kind, new, old);
        errors.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let old = map("kubectl", "");
    assert_eq!(errors_of(&map(&"m".repeat(128), &"s".repeat(256)), &old), [""; 0]);
    let long = map(&"m".repeat(129), &"s".repeat(257));
    let wanted = [
        "metadata.managedFields[0].manager: Too long: may not be more than 128 bytes",
        "metadata.managedFields[0].subresource: Too long: may not be more than 256 bytes",
    ];
    assert_eq!(errors_of(&long, &old), wanted);
    assert_eq!(errors_of(&long, &long), [""; 0], "it is stored already");
    let mut changed = long.clone();
    changed["metadata"]["managedFields"][0]["fieldsV1"] = json!({"f:data": {".": {}}});
    assert_eq!(errors_of(&changed, &long), [""; 0], "another write has taken one of its fields");
    let wanted = r#"metadata.managedFields[0].manager: Invalid value: "a\x01": invalid character U+0001 (at position 1)"#;
    assert_eq!(errors_of(&map("a\u{1}", ""), &old), [wanted]);
}

/// What is wrong with the metadata of a new object of this kind.
fn errors_of_metadata(kind: &str, mut metadata: Value) -> Vec<String> {
    metadata["namespace"] = "d".into();
    let kind = crate::kinds::find("", "v1", kind).unwrap();
    let errors = create(kind, &json!({ "metadata": metadata }));
    errors.iter().map(ToString::to_string).filter(|error| error.starts_with("metadata.")).collect()
}

#[test]
fn the_beginning_of_a_generated_name_is_judged() {
    let errors_of =
        |kind, prefix: &str| errors_of_metadata(kind, json!({"name": "a", "generateName": prefix}));
    let (long, longer) = ("a".repeat(253) + "-", "a".repeat(254) + "-");
    for good in ["web-", "web", "a-", "a.b-", "a-b-", &long] {
        assert_eq!(errors_of("ConfigMap", good), [""; 0], "{good}");
    }
    for bad in ["Bad-", "a_b-", "-", "a--_", "\u{e9}-", &longer] {
        let found = errors_of("ConfigMap", bad);
        assert!(found.len() == 1 && found[0].starts_with("metadata.generateName: "), "{bad}: {found:?}");
    }
    assert_eq!(errors_of("ReplicationController", "Bad-"), [""; 0]);
}

#[test]
fn a_generation_is_not_negative() {
    let errors_of = |n: i64| errors_of_metadata("ConfigMap", json!({"name": "a", "generation": n}));
    assert_eq!(errors_of(0), [""; 0]);
    let why = "metadata.generation: Invalid value: -1: must be greater than or equal to 0";
    assert_eq!(errors_of(-1), [why]);
}

#[test]
fn lists_of_the_metadata_are_named_as_upstream_names_them() {
    let owner =
        |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": "u", "controller": true});
    let found = errors_of_metadata(
        "ConfigMap",
        json!({"name": "a", "ownerReferences": [owner("b"), owner("c"), {"apiVersion": "v1", "kind": "Pod", "name": "d"}]}),
    );
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("metadata.ownerReferences: Invalid value: [{"), "{found:?}");
    assert!(found[0].ends_with("Found \"true\" in references for Pod/b and Pod/c"), "{found:?}");
    assert_eq!(found[1], "metadata.ownerReferences.uid: Invalid value: \"\": must not be empty");
    let found = errors_of_metadata("ConfigMap", json!({"name": "a", "finalizers": ["a.b/c", "d e"]}));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("metadata.finalizers: Invalid value: \"d e\": name part"), "{found:?}");
    assert!(found[1].starts_with("metadata.finalizers[1]: Invalid value: \"d e\""), "{found:?}");
}

#[test]
fn new_finalizers_are_told_in_order() {
    let object = |finalizers: Value| json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": finalizers}});
    let mut errors = Errors::default();
    no_new_finalizers(&object(json!(["b/c", "d/e", "a/b", "d/e"])), &object(json!(["b/c"])), &mut errors);
    let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert!(found.len() == 1 && found[0].ends_with("[]string{\"a/b\", \"d/e\"}"), "{found:?}");
}

#[test]
fn an_owner_has_a_version_and_is_no_event() {
    let errors_of = |api_version: &str, kind: &str| {
        let owner = json!({"apiVersion": api_version, "kind": kind, "name": "n", "uid": "u"});
        let mut errors = Errors::default();
        owner_reference(&owner, "owner", &mut errors);
        errors.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for good in ["v1", "apps/v1", "example.com/v1"] {
        assert_eq!(errors_of(good, "Thing"), [""; 0], "{good}");
    }
    for bad in ["", "/", "apps/", "a/b/c"] {
        let want = format!("owner.apiVersion: Invalid value: {bad:?}: version must not be empty");
        assert_eq!(errors_of(bad, "Thing"), [want]);
    }
    let event = errors_of("v1", "Event");
    assert!(event.len() == 1 && event[0].ends_with("Kind=Event is disallowed from being an owner"));
    assert_eq!(errors_of("events.k8s.io/v1", "Event"), [""; 0]);
    let mut errors = Errors::default();
    owner_reference(&json!({"apiVersion": "v1"}), "owner", &mut errors);
    let fields: Vec<&str> = errors.iter().map(|e| e.field.as_str()).collect();
    assert_eq!(fields, ["owner.kind", "owner.name", "owner.uid"]);
}

#[test]
fn dependents_are_orphaned_or_deleted() {
    let errors_of =
        |finalizers: Value| problems(one_way_to_delete, json!({"metadata": {"finalizers": finalizers}}));
    assert_eq!(errors_of(json!(["orphan", "a/b"])), [""; 0]);
    assert_eq!(errors_of(json!(["foregroundDeletion"])), [""; 0]);
    let both = errors_of(json!(["orphan", "a/b", "foregroundDeletion"]));
    assert!(both.len() == 1 && both[0].ends_with("cannot be both set"), "{both:?}");
}

#[test]
fn what_is_stored_keeps_no_object_from_its_updates() {
    use crate::pod_spec::annotations::DELETION_COST;
    let kind = crate::kinds::find("apps", "v1", "Deployment").unwrap();
    let deployment = |replicas: i64, cost: &str| {
        let labels = json!({"a": "b"});
        let template = json!({"metadata": {"labels": labels, "annotations": {DELETION_COST: cost}},
            "spec": {"containers": [{"name": "c", "image": "x"}]}});
        let mut object = json!({"metadata": {"name": "web", "namespace": "d"}, "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels}, "template": template}});
        (kind.defaults)(&mut object);
        object
    };
    let errors_of = |new: (i64, &str), old: (i64, &str)| {
        let errors = update(kind, &deployment(new.0, new.1), &deployment(old.0, old.1));
        errors.iter().map(|error| error.field.clone()).collect::<Vec<_>>()
    };
    let cost = format!("spec.template.annotations[{DELETION_COST}]");
    assert_eq!(errors_of((1, "x"), (1, "1")), [cost.as_str()]);
    assert_eq!(errors_of((2, "x"), (1, "x")), [""; 0]);
    assert_eq!(errors_of((-1, "x"), (1, "x")), ["spec.replicas"]);
    assert_eq!(errors_of((1, "y"), (1, "x")), [cost.as_str()]);
}

#[test]
fn annotations_of_templates_are_judged() {
    let errors_of = |annotations: Value| {
        let template = json!({"metadata": {"annotations": annotations},
            "spec": {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "terminationGracePeriodSeconds": 30,
                "containers": [{"name": "c", "image": "i", "imagePullPolicy": "Always",
                    "terminationMessagePolicy": "File", "terminationMessagePath": "/dev/termination-log"}]}});
        let mut errors = Errors::default();
        crate::pod_spec::template_at(&template, "spec.template", &mut errors);
        errors.iter().map(|e| e.field.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(errors_of(json!({"a.b/c": "d"})), [""; 0]);
    assert_eq!(errors_of(json!({"a b": "c"})), ["spec.template.annotations"]);
    assert_eq!(errors_of(json!({"a": "x".repeat(256 * 1024)})), ["spec.template.annotations"]);
}

#[test]
fn templates_are_judged_as_pods_are() {
    let template = json!({"spec": {"volumes": [{"name": "v", "configMap": {"name": "m", "items": [{"key": "k", "path": "/etc/x"}]}}],
            "containers": [{"name": "c", "image": " x", "securityContext": {"runAsUser": -1}}]}});
    let mut errors = Errors::default();
    crate::pod_spec::template_at(&template, "spec.template", &mut errors);
    let all: Vec<&str> = errors.iter().map(|e| e.field.as_str()).collect();
    let want = [
        "spec.template.spec.volumes[0].configMap.items[0].path",
        "spec.template.spec.containers[0].securityContext.runAsUser",
    ];
    assert_eq!(all, want);
}
