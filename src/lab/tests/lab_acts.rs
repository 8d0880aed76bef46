//! Hints of labs: each is told after the act that it is about, and not without it.

use super::*;
use crate::graded::read::Labs;

/// Returns whether a hint of a built-in lab is told where the lab has drawn these values and
/// nothing else is but these objects. All of them were there when its clock started.
fn is_told(lab: &str, hint: &str, variant: &Json, objects: Vec<Json>) -> bool {
    let labs = Labs::built_in();
    let lab = labs.get(lab).unwrap();
    let when = lab.hints.iter().find(|h| h.id == hint).unwrap().when.as_ref().unwrap();
    let variant = Some(value::of_json(variant));
    let mut known = Facts { since_step: BEGAN, lesson_began: BEGAN, variant, ..Facts::default() };
    for kind in lab.exprs().flat_map(|e| &e.kinds).filter_map(|k| facts::kind(k)) {
        known.objects.entry(kind.qualified()).or_default();
    }
    let mut versions = Versions::new();
    for object in objects {
        let kind = facts::kind(object["kind"].as_str().unwrap()).unwrap();
        let [namespace, name] = ["namespace", "name"]
            .map(|field| object["metadata"][field].as_str().unwrap_or_default().to_string());
        let version = Version::new(BEGAN - 1, None, "ADDED", object.to_string().into());
        let key = (kind.plural.into(), namespace.clone(), name.clone());
        versions.insert(key, Arc::new(vec![Arc::new(version)]));
        let all = known.objects.entry(kind.qualified()).or_default();
        Arc::make_mut(all).insert((namespace, name), Object::new(object));
    }
    known.history = Arc::new(versions);
    when.holds(&Arc::new(known))
}

#[test]
fn a_hint_of_scheduler_down_names_a_subject_that_is_too_many() {
    let role = "system:kube-scheduler";
    let user = |name: &str| json!({"kind": "User", "name": name});
    let is_extra = |fault: &str, subjects: &[Json]| {
        let binding = json!({"kind": "ClusterRoleBinding", "metadata": {"name": role}, "roleRef": {"name": role},
            "subjects": subjects});
        let variant = json!({"fault": fault, "slip": "kube-scheduler"});
        is_told("scheduler-down", "how-extra", &variant, vec![binding])
    };
    let account = json!({"kind": "ServiceAccount", "namespace": "kube-system", "name": "kube-scheduler"});
    assert!(is_extra("binding", &[account.clone(), user(role)]) && is_extra("subject", &[account]));
    let slip = [user("kube-scheduler")];
    assert!(is_extra("binding", &slip) && !is_extra("subject", &slip), "the lab itself wrote it there");
    assert!(!is_extra("binding", &[]) && !is_extra("binding", &[user(role)]));
}

#[test]
fn a_hint_of_orphans_names_an_owner_with_another_number() {
    let variant = json!({"ns": "default", "app": "gulls", "count": 2});
    let is_other = |replicas: i64, owner: &str| {
        let orphan = pod("gulls-a", "p", Some(owner), json!({"app": "gulls"}), "10.244.1.3");
        let objects = vec![set("gulls", "r", None, "gulls", replicas), orphan];
        is_told("orphans", "what-number", &variant, objects)
    };
    assert!(is_other(3, "r") && is_other(1, "r"));
    assert!(!is_other(2, "r") && !is_other(3, "x"));
}

/// The cluster was restarted since the pod got its node, so the writer of that version is unknown.
/// A learner who bound the pod by hand and restarted the cluster earned the task.
#[test]
fn a_pod_of_scheduler_down_that_somebody_bound_needs_a_scheduler_that_may() {
    let labs = Labs::built_in();
    let lab = labs.get("scheduler-down").unwrap();
    let task = lab.tasks.iter().find(|task| task.id == "bound").unwrap();
    let is_bound = |user: &str, may: bool| {
        let variant = Some(value::of_json(&json!({"ns": "default", "app": "ferries", "want": 3})));
        let mut known = Facts { since_step: BEGAN, lesson_began: BEGAN, variant, ..Facts::default() };
        let mut versions = Versions::new();
        let mut all = vec![deployment("ferries", "d"), set("ferries-1", "r", Some("d"), "ferries", 3)];
        for name in ["a", "b", "c"] {
            let mut bound = pod(name, name, Some("r"), json!({"app": "ferries"}), "10.244.1.3");
            bound["spec"]["schedulerName"] = "default-scheduler".into();
            let mut waits = bound.clone();
            waits["spec"] = json!({});
            let of = |revision, verb, pod: &Json| Version::new(revision, None, verb, pod.to_string().into());
            let told = [of(BEGAN - 1, "ADDED", &waits), of(BEGAN + 1, "MODIFIED", &bound).by(user)];
            let key = ("pods".to_string(), "default".to_string(), name.to_string());
            versions.insert(key, Arc::new(Vec::from(told.map(Arc::new))));
            all.push(bound);
        }
        for object in all {
            let kind = facts::kind(object["kind"].as_str().unwrap()).unwrap();
            let objects = known.objects.entry(kind.qualified()).or_default();
            Arc::make_mut(objects).insert(facts::key(&object), Object::new(object));
        }
        known.history = Arc::new(versions);
        let words = ["system:kube-scheduler", "create", "pods/binding", "default"].map(String::from);
        let [user, verb, resource, namespace] = words;
        known.answers.insert(facts::Probe::Can { user, verb, resource, namespace }, Value::Bool(may));
        let known = Arc::new(known);
        task.checks.iter().all(|(_, check)| check.holds(&known))
    };
    assert!(is_bound("system:kube-scheduler", false) && is_bound("", true));
    assert!(!is_bound("learner", true) && !is_bound("", false));
}
