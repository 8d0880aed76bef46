//! What is not well: named in the strip of a narrow screen, and shown first by the views of one
//! object. And pods without a Deployment.

use super::sequence::map;
use super::*;
use crate::tui::model::View;
use ::lab::graded::view::LabView;
use unicode_width::UnicodeWidthStr;

const RICH: Look = Look { ascii: false, colour: true, light: false };
const ASCII: Look = Look { ascii: true, colour: false, light: false };

/// The interface in a terminal of this size, with these pods, before any command was typed.
fn with(size: (u16, u16), look: Look, pods: Vec<Value>) -> Model {
    let opened = "2026-01-01T00:00:00Z".parse().expect("a time");
    let mut model = Model::new("main", Lang::En, look, Size::new(size.0, size.1), opened);
    tell(&mut model, Event::Status(Some(json!({"state": "running"}))));
    all(&mut model, "nodes", vec![node("w", false, true)]);
    all(&mut model, "pods", pods);
    (model.view, model.chosen) = (View::Cluster, true);
    model
}

/// The second line of the strip.
fn news(model: &Model) -> String {
    let (place, shown) = (model.panes().map, text(&screen(model)));
    assert!(model.panes().strip, "{shown}");
    shown.lines().nth(usize::from(place.y) + 1).unwrap_or_default().to_string()
}

/// A pod that no node can take.
fn unschedulable(name: &str) -> Value {
    let mut waits = pod("default", name, "", "Pending", 20);
    waits["status"]["conditions"] =
        json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]);
    waits
}

/// A pod that runs, but whose readiness probe fails, and the Event that tells it.
fn unready(name: &str) -> (Value, Value) {
    let mut object = pod("default", name, "w", "Running", 20);
    object["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]);
    object["status"]["containerStatuses"][0]["ready"] = json!(false);
    (object, warning("Pod", name, "Unhealthy", "Readiness probe failed: HTTP probe failed"))
}

fn warning(kind: &str, name: &str, reason: &str, message: &str) -> Value {
    json!({"metadata": {"name": "e", "namespace": "default", "resourceVersion": "30"},
        "involvedObject": {"kind": kind, "namespace": "default", "name": name},
        "type": "Warning", "reason": reason, "message": message})
}

/// An autoscaler that cannot read its metric.
fn blind() -> Value {
    let metric = json!({"type": "Resource", "resource": {"name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 50}}});
    let condition = json!({"type": "ScalingActive", "status": "False", "reason": "FailedGetResourceMetric"});
    json!({"metadata": {"name": "stamps", "namespace": "default", "resourceVersion": "25"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "stamps"}, "maxReplicas": 3,
            "metrics": [metric]},
        "status": {"currentReplicas": 2, "desiredReplicas": 2, "conditions": [condition]}})
}

/// Each of the states in which labs leave a pod.
#[test]
fn the_strip_names_what_is_not_well_in_the_words_of_kubectl() {
    let (probed, event) = unready("tours-1");
    let states = [
        (vec![unschedulable("records-1")], vec![], "records-1 Pending Unschedulable"),
        (
            vec![pod("default", "tickets-1", "w", "CreateContainerConfigError", 20)],
            vec![],
            "tickets-1 CreateContainerConfigError",
        ),
        (
            vec![
                pod("default", "web-1", "w", "ImagePullBackOff", 20),
                pod("default", "web-2", "w", "ErrImagePull", 20),
            ],
            vec![],
            "web-1 ImagePullBackOff +1",
        ),
        (vec![probed], vec![event], "tours-1 0/1 Running Unhealthy  Readiness probe failed"),
    ];
    for (pods, events, told) in states {
        for (look, sign) in [(RICH, "⚠"), (ASCII, "!")] {
            let mut model = with((80, 24), look, pods.clone());
            all(&mut model, "events", events.clone());
            let line = news(&model);
            assert!(line.starts_with(&format!(" {sign} {told}")), "{told}: {line}");
            model.view = View::Rollout;
            assert!(news(&model).starts_with(&format!(" {sign} ")), "{told}: {}", news(&model));
        }
    }
    let mut model = with((80, 24), RICH, vec![pod("default", "stamps-1", "w", "Running", 20)]);
    assert!(!news(&model).contains('⚠'), "{}", news(&model));
    all(&mut model, "horizontalpodautoscalers", vec![blind()]);
    let line = news(&model);
    assert!(line.starts_with(" ⚠ HPA stamps cpu: <unknown>/50% FailedGetResourceMetric"), "{line}");
}

/// The view may be one that a lesson has chosen.
#[test]
fn other_views_name_it_when_no_command_is_played() {
    let mut model = model(80, 24, Lang::En, RICH);
    let broken = "⚠ web-5c9c7b9f4d-p5bq4 ImagePullBackOff";
    for (view, line) in [
        (View::ControlPlane, format!(" {broken}  kubectl run web2: done after")),
        (View::Network, format!(" 1 of 2 endpoints ready  {broken}")),
    ] {
        (model.view, model.chosen) = (view, true);
        model.traffic.play.at = 8;
        assert!(!news(&model).contains('⚠'), "{view:?}: {}", news(&model));
        model.traffic.finish();
        assert!(news(&model).starts_with(&line), "{view:?}: {}", news(&model));
    }
    all(&mut model, "endpointslices", vec![]);
    assert!(news(&model).starts_with(" ✗ No pod carries these labels"), "{}", news(&model));
}

#[test]
fn what_is_well_again_leaves_the_strip() {
    let (probed, event) = unready("tours-1");
    let mut model = with((80, 24), RICH, vec![probed]);
    assert!(!news(&model).contains('⚠'), "it may only be starting: {}", news(&model));
    all(&mut model, "events", vec![event]);
    assert!(news(&model).contains("⚠ tours-1 0/1 Running"), "{}", news(&model));
    all(&mut model, "pods", vec![pod("default", "tours-1", "w", "Running", 40)]);
    assert!(!news(&model).contains('⚠'), "{}", news(&model));
}

/// The name is shortened before the word that says what is wrong.
#[test]
fn a_long_name_leaves_room_for_the_word() {
    let name = format!("{}-76f8d594c6-7ksfg", "a-very-long-name".repeat(5));
    for look in [RICH, ASCII] {
        let model = with((80, 24), look, vec![pod("default", &name, "w", "CreateContainerConfigError", 20)]);
        let line = news(&model);
        assert!(line.contains("7ksfg CreateContainerConfigError") && line.width() <= 80, "{line}");
    }
}

#[test]
fn while_a_lab_asks_for_the_cause_the_strip_tells_no_more_than_kubectl_get() {
    let lab = super::labs::open(Lang::En);
    let given_away = LabView { over: true, ..lab.clone() };
    let (probed, unhealthy) = unready("tours-1");
    let config = "Error: secret \"tickets-logins\" not found";
    let states = [
        (
            unschedulable("records-1"),
            warning("Pod", "records-1", "FailedScheduling", "Insufficient cpu"),
            " ⚠ records-1 Pending",
            ["Unschedulable", "Insufficient cpu"],
        ),
        (
            pod("default", "tickets-1", "w", "CreateContainerConfigError", 20),
            warning("Pod", "tickets-1", "Failed", config),
            " ⚠ tickets-1 CreateContainerConfigError",
            ["secret", "Failed: "],
        ),
        (probed, unhealthy, " ⚠ tours-1 0/1 Running", ["Unhealthy", "probe failed"]),
        (
            pod("default", "maps-1", "w", "ContainerCreating", 20),
            warning("Pod", "maps-1", "FailedMount", "configmap \"routes\" not found"),
            " ",
            ["FailedMount", "routes"],
        ),
    ];
    for (object, event, told, kept) in states {
        let shown = |lab: &LabView| {
            let mut model = with((80, 24), RICH, vec![object.clone()]);
            all(&mut model, "events", vec![event.clone()]);
            super::labs::lab(&mut model, lab.clone());
            (model.view, model.chosen) = (View::Cluster, true);
            news(&model)
        };
        let asked = shown(&lab);
        assert!(asked.starts_with(told) && kept.iter().all(|kept| !asked.contains(kept)), "{asked}");
        let said = shown(&given_away);
        assert!(kept.iter().all(|kept| said.contains(kept)), "{said}");
    }
    let mut model = with((80, 24), RICH, vec![]);
    all(&mut model, "horizontalpodautoscalers", vec![blind()]);
    super::labs::lab(&mut model, lab);
    (model.view, model.chosen) = (View::Cluster, true);
    let line = news(&model);
    assert!(line.starts_with(" ⚠ HPA stamps cpu: <unknown>/50%") && !line.contains("Failed"), "{line}");
}

/// Two Deployments, each with a pod; that of `tickets` cannot start, and `copy` has changed last.
fn two(view: View) -> Model {
    let pods = vec![
        pod("default", "tickets-5bf-2sr7l", "w", "CreateContainerConfigError", 20),
        pod("default", "copy-674-7cp4h", "w", "Running", 30),
        pod("default", "tester", "w", "Running", 40),
    ];
    let mut model = with((120, 36), RICH, pods);
    let deployment = |name: &str, revision: &str| {
        json!({"metadata": {"name": name, "namespace": "default", "resourceVersion": revision},
            "spec": {"replicas": 1}})
    };
    let set = |name: &str, owner: &str| {
        json!({"metadata": {"name": name, "namespace": "default",
            "ownerReferences": [{"name": owner, "controller": true}]}, "spec": {"replicas": 1}})
    };
    all(&mut model, "deployments", vec![deployment("tickets", "20"), deployment("copy", "30")]);
    all(&mut model, "replicasets", vec![set("tickets-5bf", "tickets"), set("copy-674", "copy")]);
    model.view = view;
    model
}

/// The object that the view shows first.
fn first(model: &Model) -> String {
    model.subjects().first().map_or(String::new(), |key| key.1.clone())
}

#[test]
fn the_views_of_one_object_begin_with_the_one_that_is_not_well() {
    for (view, unwell, newest) in
        [(View::Pod, "tickets-5bf-2sr7l", "tester"), (View::Rollout, "tickets", "copy")]
    {
        let mut model = two(view);
        assert_eq!(first(&model), unwell, "{view:?}");
        assert!(map(&model)[0].contains(unwell), "{:#?}", map(&model));
        let well = pod("default", "tickets-5bf-2sr7l", "w", "Running", 25);
        tell(&mut model, Event::Objects("pods".into(), Delta::Updated(well)));
        assert_eq!(first(&model), newest, "{view:?}: nothing is wrong any more");
    }
}

/// `kubectl run web2`: its pod comes before one that is not well.
#[test]
fn what_the_learner_changed_last_comes_before_what_is_not_well() {
    for (started, expected) in
        [("", "web2"), ("2026-01-01T00:00:00Z", "web2"), ("2030-01-01T00:00:00Z", "web-5c9c7b9f4d-p5bq4")]
    {
        let mut model = model(120, 36, Lang::En, RICH);
        model.traffic.finish();
        let lab = LabView { started: started.into(), ..super::labs::open(Lang::En) };
        super::labs::lab(&mut model, lab);
        model.view = View::Pod;
        assert_eq!(first(&model), expected, "a lab that began at {started:?}");
    }
}

/// What once went wrong with a pod that has done its work is over.
#[test]
fn the_pod_view_warns_of_no_pod_that_is_done() {
    let mut scheduled = warning("Pod", "stamps-1", "Scheduled", "assigned to w");
    (scheduled["metadata"]["name"], scheduled["type"]) = (json!("f"), json!("Normal"));
    scheduled["metadata"]["resourceVersion"] = json!("31");
    for (status, told, other) in [
        ("Completed", "Scheduled stamps-1", "FailedScheduling"),
        ("CrashLoopBackOff", "FailedScheduling stamps-1", "Scheduled stamps-1: assigned"),
    ] {
        let mut model = with((80, 24), RICH, vec![pod("default", "stamps-1", "w", status, 20)]);
        model.view = View::Pod;
        let failed = warning("Pod", "stamps-1", "FailedScheduling", "no room");
        all(&mut model, "events", vec![failed, scheduled.clone()]);
        let news = news(&model);
        assert!(news.contains(told) && !news.contains(other), "{status}: {news}");
    }
}

/// Two containers crash again and again, so that their pods change in turn.
#[test]
fn the_order_of_what_is_not_well_stays() {
    let crashes = |name: &str, revision| pod("default", name, "w", "CrashLoopBackOff", revision);
    let mut model = with((120, 36), RICH, vec![crashes("a-1", 10), crashes("b-1", 20)]);
    model.view = View::Pod;
    assert_eq!(first(&model), "a-1");
    all(&mut model, "pods", vec![crashes("a-1", 10), crashes("b-1", 30)]);
    assert_eq!(first(&model), "a-1");
}

/// The lab `orphans`: pods whose controller was deleted.
#[test]
fn pods_without_a_deployment_are_shown_by_their_owners() {
    let bare = |name: &str| {
        let mut object = pod("default", name, "w", "Running", 20);
        object["metadata"]["ownerReferences"] = json!([]);
        object
    };
    let pods = vec![bare("gulls-1"), bare("gulls-2"), pod("default", "buoys-9", "w", "Running", 20)];
    for (size, focus) in [((120, 36), false), ((80, 24), true), ((60, 16), true)] {
        for (lang, none, owner) in [
            (Lang::En, "There is no Deployment here.", "owner: none"),
            (Lang::Ko, "디플로이먼트가 없습니다.", "소유자 없음"),
        ] {
            let mut model = with(size, RICH, pods.clone());
            (model.lang, model.view) = (lang, View::Rollout);
            if focus {
                model.focus = crate::tui::layout::Pane::Map;
            }
            let shown = text(&screen(&model));
            for part in [none, owner, "● gulls-1", "● gulls-2", "● buoys-9", "buoys"] {
                assert!(shown.contains(part), "{size:?} {part}: {shown}");
            }
            assert!(!shown.contains("kubectl create"), "{shown}");
            assert!(shown.lines().all(|line| line.width() <= usize::from(size.0)), "{shown}");
            model.cluster.pods.clear();
            let empty = text(&screen(&model));
            assert!(!empty.contains(owner) && (size.0 < 80 || empty.contains("kubectl create")), "{empty}");
        }
    }
    let mut model = with((80, 24), RICH, pods);
    model.view = View::Rollout;
    let shown = text(&screen(&model));
    assert!(shown.contains(" owner: none ●2  owner: buoys ●1  "), "{shown}");
}

/// It does not wait any more.
#[test]
fn a_pod_that_no_node_fitted_has_waited_when_it_is_gone() {
    for (size, focus) in [((120, 36), false), ((112, 24), false), ((80, 24), false), ((80, 24), true)] {
        let mut model = with(size, RICH, vec![unschedulable("big")]);
        let decision = tap::Decision {
            verdicts: vec![tap::Verdict { node: "w".into(), ..tap::Verdict::default() }],
            chosen: None,
        };
        let mut record = Record::new(tap::Event::Schedule(decision)).object("pods", "default", "big");
        (record.seq, record.component) = (9000, tap::Component::Scheduler);
        tell(&mut model, Event::Records(vec![record]));
        (model.view, model.chosen) = (View::Scheduling, true);
        if focus {
            model.focus = crate::tui::layout::Pane::Map;
        }
        let shown = text(&screen(&model));
        assert!(shown.contains("no node fits: the pod waits"), "{size:?}: {shown}");
        all(&mut model, "pods", vec![]);
        let shown = text(&screen(&model));
        assert!(shown.contains("no node fitted: the pod waited"), "{size:?}: {shown}");
    }
}

/// A decision is kept longer than the pod that it is about.
#[test]
fn an_earlier_decision_about_a_pod_that_is_gone_has_a_sign() {
    let mut model = model(120, 36, Lang::En, RICH);
    model.traffic.finish();
    let mut decisions = records().into_iter().map(|record| record.event);
    let decision = decisions.find(|event| matches!(event, tap::Event::Schedule(_))).expect("a decision");
    let mut newer = Record::new(decision).object("pods", "default", "big");
    (newer.seq, newer.component) = (9000, tap::Component::Scheduler);
    newer.at = "2026-11-20T12:07:00Z".parse().expect("a time");
    tell(&mut model, Event::Records(vec![newer]));
    (model.view, model.chosen) = (View::Scheduling, true);
    assert!(!map(&model).join("\n").contains('†'), "{:#?}", map(&model));
    model.cluster.pods.remove(&("default".to_string(), "web2".to_string()));
    assert!(map(&model).join("\n").contains(" † web2 "), "{:#?}", map(&model));
}

/// In the life of a pod stands its predecessor, and not what else went away at that time.
#[test]
fn the_pod_view_names_what_went_away_only_beside_its_own_kind() {
    let mut stage = super::replay::scaled(View::Pod);
    stage.model.traffic.finish();
    assert!(text(&screen(&stage.model)).contains('†'), "{}", text(&screen(&stage.model)));
    all(&mut stage.model, "pods", vec![pod("default", "other-1", "ropewalk-worker", "Running", 300)]);
    let shown = text(&screen(&stage.model));
    assert!(shown.contains(" other-1  Running") && !shown.contains('†'), "{shown}");
}
