//! A quota on the map, and the pods that it refuses.

use super::sequence::map;
use super::*;
use crate::tui::layout::Pane;
use crate::tui::model::View;
use ::lab::graded::view::LabView;
use unicode_width::UnicodeWidthStr;

const RICH: Look = Look { ascii: false, colour: true, light: false };

fn quota(used: &str) -> Value {
    json!({"metadata": {"name": "small", "namespace": "default", "resourceVersion": "900"},
        "spec": {"hard": {"pods": "2", "requests.cpu": "1"}},
        "status": {"hard": {"pods": "2", "requests.cpu": "1"}, "used": {"pods": used, "requests.cpu": "20m"}}})
}

/// The ReplicaSet of the new revision has two of the three pods that it wants.
fn refused() -> Value {
    let message = "pods \"web-5c9c7b9f4d-xj2rw\" is forbidden: exceeded quota: small, requested: pods=1, \
                   used: pods=2, limited: pods=2";
    json!({"metadata": {"name": "web-5c9c7b9f4d", "namespace": "default", "resourceVersion": "901",
            "annotations": {"deployment.kubernetes.io/revision": "3"},
            "ownerReferences": [{"name": "web", "controller": true}]},
        "spec": {"replicas": 3, "template": {"spec": {"containers": [{"name": "c", "image": "nginx:1.27"}]}}},
        "status": {"readyReplicas": 0, "conditions": [{"type": "ReplicaFailure", "status": "True",
            "reason": "FailedCreate", "message": message}]}})
}

/// A view on a screen of this size when the quota has refused a pod.
fn with(view: View, size: (u16, u16), lang: Lang) -> Model {
    let mut model = model(size.0, size.1, lang, RICH);
    (model.view, model.chosen) = (view, true);
    model.traffic.finish();
    all(&mut model, "resourcequotas", vec![quota("2")]);
    tell(&mut model, Event::Objects("replicasets".into(), Delta::Updated(refused())));
    model
}

const WHY: &str = "exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2";

#[test]
fn the_scheduling_view_tells_why_a_pod_was_never_created() {
    for (lang, head, below) in [
        (
            Lang::En,
            " ✗ ReplicaSet web-5c9c7b9f4d: 2 of 3 pods, the next is refused",
            "   This pod does not exist, so there is nothing to schedule.",
        ),
        (
            Lang::Ko,
            "✗ 레플리카셋 web-5c9c7b9f4d: 파드 2/3개, 다음 파드는 생성이 거부됨",
            "이 파드는 아직 없으므로 스케줄러가 할 일이 없습니다.",
        ),
    ] {
        let mut model = with(View::Scheduling, (120, 36), lang);
        let shown = text(&screen(&model));
        let lines: Vec<&str> = shown.lines().collect();
        let at = lines.iter().position(|l| l.contains(head)).unwrap_or_else(|| panic!("{shown}"));
        assert!(lines[at + 1].contains(&format!("   {WHY}")), "{shown}");
        assert!(lines[at + 2].contains(below), "{shown}");
        assert!(lines[at + 4].contains(" pod web2"), "the decision is below it: {shown}");
        assert!(shown.contains("✗ TaintToleration: untolerated taint(s)"), "{shown}");
        assert!(lines.iter().all(|line| line.width() <= 120), "{shown}");
        // The quota is gone, and the ReplicaSet has its pods.
        let mut well = refused();
        well["status"] = json!({});
        tell(&mut model, Event::Objects("replicasets".into(), Delta::Updated(well)));
        assert!(!text(&screen(&model)).contains("exceeded quota"));
    }
}

#[test]
fn without_a_decision_the_refusal_stands_alone() {
    let opened = "2026-01-01T00:00:00Z".parse().expect("a time");
    for (size, part) in [((120, 36), "the next is refused"), ((80, 24), "✗ web-5c9c7b9f4d 0/3: exceeded")] {
        let mut model = Model::new("main", Lang::En, RICH, Size::new(size.0, size.1), opened);
        all(&mut model, "nodes", vec![node("w", false, true)]);
        all(&mut model, "replicasets", vec![refused()]);
        (model.view, model.chosen) = (View::Scheduling, true);
        let shown = text(&screen(&model));
        assert!(shown.contains(part) && !shown.contains("No pod has been scheduled"), "{shown}");
    }
}

/// Their status has no condition for it.
#[test]
fn a_refused_pod_of_another_workload_is_told_by_its_event() {
    let event = |name: &str, kind: &str, reason: &str, message: &str, revision: u64| {
        json!({"metadata": {"name": name, "namespace": "default", "resourceVersion": revision.to_string()},
            "involvedObject": {"kind": kind, "namespace": "default", "name": "db"},
            "type": if reason == "FailedCreate" { "Warning" } else { "Normal" },
            "reason": reason, "message": message})
    };
    let metadata = json!({"name": "db", "namespace": "default", "resourceVersion": "901"});
    let spread = json!({"desiredNumberScheduled": 3, "currentNumberScheduled": 1});
    for (resource, kind, spec, status) in [
        ("statefulsets", "StatefulSet", json!({"replicas": 3}), json!({"replicas": 1})),
        ("daemonsets", "DaemonSet", json!({}), spread),
        ("jobs", "Job", json!({"parallelism": 3, "completions": 3}), json!({"active": 1})),
    ] {
        let mut model = model(120, 36, Lang::En, RICH);
        model.traffic.finish();
        let object = json!({"metadata": metadata, "spec": spec, "status": status});
        all(&mut model, resource, vec![object.clone()]);
        let refused = format!("Create Pod db-1 in {kind} db failed error: pods \"db-1\" is forbidden: {WHY}");
        all(&mut model, "events", vec![event("a", kind, "FailedCreate", &refused, 902)]);
        model.show(View::Scheduling);
        let shown = text(&screen(&model));
        let head = format!("✗ {kind} db: 1 of 3 pods, the next is refused");
        assert!(shown.contains(&head) && shown.contains(&format!("   {WHY}")), "{shown}");
        // Without a Deployment the cluster view has a line for it.
        model.show(View::Cluster);
        all(&mut model, "deployments", vec![]);
        let shown = text(&screen(&model));
        assert!(shown.contains("✗ db 1/3: exceeded quota: small"), "{shown}");
        // A pod was created since, or the object is gone.
        let created = event("b", kind, "SuccessfulCreate", "Create Pod db-1 successful", 903);
        tell(&mut model, Event::Objects("events".into(), Delta::Updated(created.clone())));
        assert!(!text(&screen(&model)).contains("✗ db"), "{kind}");
        tell(&mut model, Event::Objects("events".into(), Delta::Deleted(created)));
        assert!(text(&screen(&model)).contains("✗ db"), "{kind}");
        tell(&mut model, Event::Objects(resource.into(), Delta::Deleted(object)));
        assert!(!text(&screen(&model)).contains("✗ db"), "{kind}");
    }
}

#[test]
fn the_rollout_view_tells_what_holds_it_up() {
    for (size, focus) in [((120, 36), Pane::Shell), ((80, 24), Pane::Shell), ((80, 24), Pane::Map)] {
        let mut model = with(View::Rollout, size, Lang::En);
        model.focus = focus;
        let shown = text(&screen(&model));
        let told = "✗ web-5c9c7b9f4d 2/3: exceeded quota: small";
        assert_eq!(shown.matches(told).count(), 1, "{size:?}: {shown}");
    }
}

#[test]
fn the_cluster_view_has_the_quota_behind_its_namespace() {
    for (lang, line, wanted) in [
        (
            Lang::En,
            " namespace default  quota small  pods: 2/2, requests.cpu: 20m/1",
            "web: desired 4, ready 1, starting 1, failed 1, refused 1",
        ),
        (
            Lang::Ko,
            "네임스페이스 default  쿼터 small  pods: 2/2, requests.cpu: 20m/1",
            "web: 목표 4, 준비됨 1, 시작 중 1, 실패 1, 생성 거부 1",
        ),
    ] {
        let shown = text(&screen(&with(View::Cluster, (200, 60), lang)));
        for part in [line, wanted] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }
    let mut model = with(View::Cluster, (120, 36), Lang::En);
    let lines = map(&model);
    let at = lines.iter().position(|l| l.starts_with(" namespace default  quota small  pods: 2/2"));
    let at = at.unwrap_or_else(|| panic!("{lines:#?}"));
    assert!(lines[at - 1].contains("pod-svc  NodePort"), "{lines:#?}");
    assert!(lines[at + 1].starts_with(" web: desired 4"), "{lines:#?}");
    model.focus = Pane::Shell;
    tell(&mut model, Event::Objects("resourcequotas".into(), Delta::Deleted(quota("2"))));
    assert!(!map(&model).join("\n").contains("quota"), "{:#?}", map(&model));
    let narrow = text(&screen(&with(View::Cluster, (100, 24), Lang::En)));
    assert!(narrow.contains("quota default  pods: 2/2"), "{narrow}");
    assert!(narrow.contains(" ✗ web-5c9c7b9f4d 2/3: exceeded quota: small"), "{narrow}");
}

/// The lab `quota-wall` asks which resource has run out.
#[test]
fn a_quota_is_not_on_the_map_while_a_lab_asks_for_the_cause() {
    let lab = super::labs::open(Lang::En);
    let record = json!({"score": 100, "max": 100, "passed": true});
    let grade = ::lab::graded::view::Graded { record, ..Default::default() };
    let passed = LabView { grade: Some(grade), ..lab.clone() };
    let given_away = LabView { over: true, ..lab.clone() };
    for view in [View::Cluster, View::Scheduling, View::Rollout] {
        for (size, focus) in [((120, 36), Pane::Shell), ((80, 24), Pane::Shell), ((80, 24), Pane::Map)] {
            let shown = |lab: &LabView| {
                let mut model = with(view, size, Lang::En);
                super::labs::lab(&mut model, lab.clone());
                (model.view, model.chosen, model.focus) = (view, true, focus);
                text(&screen(&model))
            };
            let names_it = |shown: &str| shown.contains("exceeded quota") || shown.contains("pods: 2/2");
            let asked = shown(&lab);
            assert!(!names_it(&asked) && !asked.contains("quota"), "{view:?} {size:?}: {asked}");
            for told in [&passed, &given_away].map(shown) {
                assert!(names_it(&told), "{view:?} {size:?}: {told}");
            }
        }
    }
}

#[test]
fn the_strip_tells_no_message_of_a_refused_pod_while_a_lab_asks_for_the_cause() {
    let message = format!("Error creating: pods \"web-1\" is forbidden: {WHY}");
    let event = json!({"metadata": {"name": "e", "namespace": "default", "resourceVersion": "950"},
        "involvedObject": {"kind": "ReplicaSet", "namespace": "default", "name": "web-1"},
        "type": "Warning", "reason": "FailedCreate", "message": message});
    let mut model = model(80, 24, Lang::En, RICH);
    model.traffic.finish();
    all(&mut model, "events", vec![event]);
    (model.view, model.chosen) = (View::Cluster, true);
    assert!(
        text(&screen(&model)).contains("FailedCreate web-1: Error creating"),
        "{}",
        text(&screen(&model))
    );
    super::labs::lab(&mut model, super::labs::open(Lang::En));
    (model.view, model.chosen) = (View::Cluster, true);
    let shown = text(&screen(&model));
    assert!(shown.contains("FailedCreate web-1") && !shown.contains("Error creating"), "{shown}");
}

/// Otherwise three nodes have three rows for their pods.
#[test]
fn a_quota_and_an_autoscaler_share_a_line_where_rows_are_few() {
    let scaler = json!({"metadata": {"name": "web", "namespace": "default", "resourceVersion": "900"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "minReplicas": 1, "maxReplicas": 3,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 50}}}]}});
    let with_both = |size: (u16, u16)| {
        let mut model = with(View::Cluster, size, Lang::En);
        all(&mut model, "horizontalpodautoscalers", vec![scaler.clone()]);
        map(&model)
    };
    let lines = with_both((120, 36));
    let shared = " HPA cpu: <unknown>/50% 1-3  quota default  pods: 2/2, requests.cpu: ";
    let at = lines.iter().position(|line| line.starts_with(shared));
    let at = at.unwrap_or_else(|| panic!("{lines:#?}"));
    assert!(lines[at - 1].contains("pod-svc  NodePort"), "{lines:#?}");
    assert!(lines[at + 1].starts_with(" web: desired 4"), "{lines:#?}");
    let lines = with_both((200, 60));
    for line in
        [" namespace default  quota small  pods: 2/2", " HPA web ──▶ Deployment/web  cpu: <unknown>/50%"]
    {
        assert!(lines.iter().any(|shown| shown.starts_with(line)), "{line}: {lines:#?}");
    }
}

/// What no node can take waits, and its Event is long: it takes the lines that are free.
#[test]
fn the_event_of_a_pod_that_waits_is_told_to_its_end() {
    let message = "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 node(s) didn't match Pod's \
                   node affinity/selector. preemption: 0/3 nodes are available: the end";
    let event = json!({"metadata": {"name": "e", "namespace": "default", "resourceVersion": "950"},
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "big"},
        "type": "Warning", "reason": "FailedScheduling", "message": message});
    let refusal = |filter: &'static str, reason: &str| tap::Refusal {
        filter: filter.into(),
        reason: reason.into(),
        ..tap::Refusal::default()
    };
    let affinity = refusal("NodeAffinity", "node(s) didn't match Pod's node affinity/selector");
    let verdict = |node: &str| tap::Verdict {
        node: node.into(),
        refused: vec![affinity.clone()],
        ..tap::Verdict::default()
    };
    let verdicts = ["ropewalk-worker", "ropewalk-worker2"].map(verdict).to_vec();
    let mut record = Record::new(tap::Event::Schedule(tap::Decision { verdicts, chosen: None }));
    record = record.object("pods", "default", "big");
    (record.seq, record.component) = (9000, tap::Component::Scheduler);
    record.at = "2026-11-20T12:07:00Z".parse().expect("a time");
    let mut model = model(120, 36, Lang::En, RICH);
    model.traffic.finish();
    all(&mut model, "events", vec![event]);
    tell(&mut model, Event::Records(vec![record]));
    model.show(View::Scheduling);
    let shown = map(&model).join("\n");
    for part in [
        "worker    ✗ NodeAffinity: didn't match Pod's node affinity/selector",
        "worker2   ✗ NodeAffinity: didn't match Pod's node affinity/selector",
        "⚠ FailedScheduling: 0/3 nodes are available",
        "the end",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    all(&mut model, "pods", vec![pod("default", "big", "", "Pending", 807)]);
    model.show(View::Pod);
    let shown = map(&model).join("\n");
    assert!(shown.contains("⚠ FailedScheduling: 0/3") && shown.contains("the end"), "{shown}");
}
