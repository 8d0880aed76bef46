//! Ordinary writes: what a manager owns after them.

use super::*;

#[test]
fn an_update_owns_what_it_changed_and_nothing_else() {
    let shape = shape("Pod");
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "uid": "u", "labels": {"app": "x"}},
        "spec": {"containers": [{"name": "c", "image": "x", "ports": [{"containerPort": 80, "protocol": "TCP"}]}]}});
    track(shape, &Value::Null, &mut pod, by("kubectl-create", "t1"));
    assert_eq!(
        owned(&pod, "kubectl-create"),
        json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:name": {}, "f:image": {},
                "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}, "f:protocol": {}}, ".": {}}}}}})
    );
    let mut new = pod.clone();
    new["spec"]["containers"][0]["image"] = "y".into();
    new["metadata"]["labels"] = json!({"tier": "web"});
    track(shape, &pod, &mut new, by("edit", "t2"));
    assert_eq!(
        owned(&new, "edit"),
        json!({"f:metadata": {"f:labels": {"f:tier": {}}}, "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {"f:image": {}}}}})
    );
    let before = owned(&new, "kubectl-create");
    assert!(
        before["f:metadata"]["f:labels"].get("f:app").is_none(),
        "what was removed belongs to nobody: {before}"
    );
    assert!(before["f:spec"]["f:containers"]["k:{\"name\":\"c\"}"].get("f:image").is_none());
    let mut same = new.clone();
    track(shape, &new, &mut same, by("edit", "t3"));
    assert_eq!(same, new, "no change leaves no trace");
}

/// As structured-merge-diff: a write takes from other managers what it changes or removes. An empty
/// list and a zero are not stored, and the manager that applies them owns them all the same.
#[test]
fn what_is_applied_and_not_stored_keeps_its_owner() {
    let shape = shape("Pod");
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"hostNetwork": false,
        "containers": [{"name": "c", "image": "x", "args": []}]}});
    let mut first = apply(shape, &Value::Null, &pod, by("me", "t")).object;
    for (at, field) in [("/spec", "hostNetwork"), ("/spec/containers/0", "args")] {
        as_map(first.pointer_mut(at).unwrap()).shift_remove(field);
    }
    first["status"] = json!({"phase": "Pending"});
    let mut running = first.clone();
    running["status"]["phase"] = "Running".into();
    track(shape, &first, &mut running, by("kubelet", "t"));
    assert_eq!(owned(&running, "me"), owned(&first, "me"));
    assert!(owned(&running, "me")["f:spec"].get("f:hostNetwork").is_some());
    let labelled =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "b"}}});
    let shared = apply(shape, &running, &labelled, by("you", "t")).object;
    assert_eq!(owned(&shared, "me"), owned(&first, "me"));
    let again = apply(shape, &shared, &pod, by("me", "later")).object;
    let times =
        |object: &Value| list(object, "metadata.managedFields").iter().all(|e| text(e, "time") == "t");
    assert!(times(&again), "applying the same again changes nothing: {again}");
    let other =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"hostNetwork": true}});
    let clash = apply(shape, &shared, &other, by("you", "t")).conflicts;
    assert_eq!(clash.iter().map(|c| c.field.as_str()).collect::<Vec<_>>(), [".spec.hostNetwork"]);
}

/// As `managedFieldsUpdater` upstream: only a write that sets a field is noted with its time.
#[test]
fn a_write_that_only_removes_fields_leaves_the_time_of_its_manager() {
    let shape = shape("ConfigMap");
    let write = |old: &Value, data: Value, now: &str| {
        let mut new = old.clone();
        new["data"] = data;
        track(shape, old, &mut new, by("edit", now));
        let entry = list(&new, "metadata.managedFields").first().cloned().unwrap_or_default();
        (new, text(&entry, "time").to_string(), entry["fieldsV1"]["f:data"].clone())
    };
    let (both, time, _) = write(&cm(json!({})), json!({"a": "1", "b": "2"}), "t1");
    assert_eq!(time, "t1");
    let (one, time, data) = write(&both, json!({"a": "1"}), "t2");
    assert_eq!((time.as_str(), data), ("t1", json!({"f:a": {}})));
    let (_, time, data) = write(&one, json!({"a": "3"}), "t3");
    assert_eq!((time.as_str(), data), ("t3", json!({"f:a": {}})));
}

#[test]
fn an_applier_meets_what_was_updated() {
    let shape = shape("Deployment");
    let deployment = |replicas: i64| json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": replicas}});
    let manager = |name| Manager { name, api_version: "apps/v1", subresource: "", now: "t" };
    let first = apply(shape, &Value::Null, &deployment(1), manager("me")).object;
    let mut scaled = first.clone();
    scaled["spec"]["replicas"] = 3.into();
    track(shape, &first, &mut scaled, Manager { subresource: "scale", ..manager("kubectl") });
    assert_eq!(owned(&scaled, "me"), Value::Null, "the applier lost its only field");
    let clash = apply(shape, &scaled, &deployment(1), manager("me"));
    assert_eq!(
        clash.conflicts,
        [Conflict {
            manager: "\"kubectl\" with subresource \"scale\" using apps/v1".into(),
            field: ".spec.replicas".into()
        }]
    );
    assert_eq!(owned(&clash.object, "kubectl"), Value::Null, "a forced apply takes it back");
}

#[test]
fn many_updaters_become_ancient() {
    let shape = shape("ConfigMap");
    let mut object = cm(json!({}));
    for i in 0..12 {
        let mut new = object.clone();
        new["data"][format!("k{i:02}")] = "v".into();
        track(shape, &object, &mut new, by(&format!("m{i:02}"), &format!("2026-01-01T00:00:{i:02}Z")));
        object = new;
    }
    let names: Vec<&str> =
        list(&object, "metadata.managedFields").iter().map(|e| text(e, "manager")).collect();
    assert_eq!(names.len(), 10, "{names:?}");
    assert!(owned(&object, "ancient-changes")["f:data"].get("f:k00").is_some());
}

#[test]
fn managers_of_one_second_keep_their_names_up_to_the_bound() {
    let shape = shape("ConfigMap");
    let mut object = cm(json!({}));
    for i in 0..12 {
        let mut new = object.clone();
        new["data"][format!("k{i:02}")] = "v".into();
        let version = if i == 1 { "v2" } else { "v1" };
        let manager = Manager { api_version: version, ..by("", "2026-01-01T00:00:00Z") };
        track(shape, &object, &mut new, Manager { name: &format!("m{i:02}"), ..manager });
        object = new;
    }
    let entries = list(&object, "metadata.managedFields");
    let names: Vec<&str> = entries.iter().map(|e| text(e, "manager")).collect();
    assert_eq!(names.len(), 10, "{names:?}");
    assert!(names.contains(&"m11") && names.contains(&"m01"), "{names:?}");
    let ancient = owned(&object, "ancient-changes");
    assert!(
        ancient["f:data"].get("f:k00").is_some() && ancient["f:data"].get("f:k01").is_none(),
        "{ancient}"
    );
}
