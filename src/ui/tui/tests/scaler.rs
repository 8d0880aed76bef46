//! An autoscaler stands beside the workload that it scales.

use super::sequence::map;
use super::*;
use crate::tui::layout::Pane;
use crate::tui::model::View;
use unicode_width::UnicodeWidthStr;

const RICH: Look = Look { ascii: false, colour: true, light: false };
const ASCII: Look = Look { ascii: true, colour: false, light: false };

/// An autoscaler of this Deployment: 1 to 3 pods at 50 % CPU. `used`: what it has measured.
fn scaler(name: &str, deployment: &str, used: Option<i64>, pods: (i64, i64)) -> Value {
    let target = json!({"type": "Utilization", "averageUtilization": 50});
    let current = used.map(|used| {
        json!({"type": "Resource", "resource": {"name": "cpu",
        "current": {"averageUtilization": used, "averageValue": "1m"}}})
    });
    json!({"metadata": {"name": name, "namespace": "default", "resourceVersion": "900"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment},
            "minReplicas": 1, "maxReplicas": 3,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]},
        "status": {"currentReplicas": pods.0, "desiredReplicas": pods.1, "currentMetrics": [current]}})
}

/// The cluster view on a screen of this size, with these autoscalers.
fn with(size: (u16, u16), lang: Lang, look: Look, scalers: Vec<Value>) -> Model {
    let mut model = model(size.0, size.1, lang, look);
    (model.view, model.chosen) = (View::Cluster, true);
    model.traffic.finish();
    all(&mut model, "horizontalpodautoscalers", scalers);
    model
}

#[test]
fn it_has_the_line_above_its_deployment_and_the_rest_keeps_its_place() {
    for (lang, look, line, below) in [
        (Lang::En, RICH, " HPA auto ──▶ Deployment/web  cpu: 12%/50%  1 to 3 pods, now 1", " web: desired 4"),
        (
            Lang::En,
            ASCII,
            " HPA auto --> Deployment/web  cpu: 12%/50%  1 to 3 pods, now 1",
            " web: desired 4",
        ),
        (Lang::Ko, RICH, "HPA auto ──▶ Deployment/web  cpu: 12%/50%  파드 1~3개, 현재 1개", "web: 목표 4"),
    ] {
        let model = with((120, 36), lang, look, vec![scaler("auto", "web", Some(12), (1, 1))]);
        let shown = text(&screen(&model));
        let lines: Vec<&str> = shown.lines().collect();
        let at = lines.iter().position(|l| l.contains(line)).unwrap_or_else(|| panic!("{line}: {shown}"));
        assert!(lines[at + 1].contains(below), "{shown}");
        assert!(lines[at - 1].contains("pod-svc  NodePort"), "the Service: {shown}");
        assert!(shown.lines().all(|l| l.width() <= 120), "{shown}");
    }
    let mut model = with((120, 36), Lang::En, RICH, vec![]);
    let without = map(&model);
    assert!(!without.join("\n").contains("HPA"), "{without:#?}");
    all(&mut model, "horizontalpodautoscalers", vec![scaler("auto", "web", None, (1, 1))]);
    let lines = map(&model);
    assert_eq!(lines.len(), without.len());
    assert_eq!(lines.last(), without.last(), "the line of the Deployment stays");
    assert!(lines.join("\n").contains("cpu: <unknown>/50%"), "{lines:#?}");
}

#[test]
fn it_tells_how_many_pods_it_wants_and_changes_with_the_play_head() {
    let mut model = with((120, 36), Lang::En, RICH, vec![scaler("web", "web", Some(90), (1, 1))]);
    let mut more = scaler("web", "web", Some(90), (1, 3));
    more["metadata"]["resourceVersion"] = json!("950");
    tell(&mut model, Event::Objects("horizontalpodautoscalers".into(), Delta::Updated(more)));
    assert!(map(&model).join("\n").contains("now 1 ▸ 3"), "{:#?}", map(&model));
    let key = ("default".to_string(), "web".to_string());
    let then = model.cluster.at(949);
    assert_eq!(then.autoscaler_of(&key).map(|scaler| scaler.desired), Some(1));
    model.cluster.forget("horizontalpodautoscalers");
    assert_eq!(model.cluster.autoscaler_of(&key), None);
}

#[test]
fn on_a_narrow_screen_it_stands_behind_its_deployment() {
    for (name, part) in
        [("web", "web 1/4 ◐1 ✗1  HPA cpu: 12%/50% 1-3"), ("auto", "web 1/4 ◐1 ✗1  HPA auto cpu: 12%/50% 1-3")]
    {
        let model = with((100, 24), Lang::En, RICH, vec![scaler(name, "web", Some(12), (1, 1))]);
        assert!(model.panes().strip);
        let shown = text(&screen(&model));
        assert!(shown.contains(part), "{part}: {shown}");
    }
    // One whose workload does not exist, or is of another kind, tells which.
    let mut model = with((100, 24), Lang::En, RICH, vec![scaler("auto", "shopp", None, (0, 0))]);
    all(&mut model, "deployments", vec![]);
    all(&mut model, "pods", vec![]);
    let shown = text(&screen(&model));
    assert!(shown.contains("HPA auto ──▶ Deployment/shopp cpu: <unknown>/50%"), "{shown}");
}

#[test]
fn the_rollout_view_has_it_behind_the_strategy() {
    for (size, focus) in [((120, 36), Pane::Shell), ((80, 24), Pane::Map), ((100, 24), Pane::Shell)] {
        let mut model = with(size, Lang::En, RICH, vec![scaler("auto", "web", Some(12), (1, 1))]);
        (model.view, model.focus) = (View::Rollout, focus);
        let shown = text(&screen(&model));
        let line =
            shown.lines().find(|line| line.contains("1 of 4 ready")).unwrap_or_else(|| panic!("{shown}"));
        assert!(line.contains("  HPA auto cpu: 12%/50% 1-3  "), "{size:?}: {shown}");
    }
}

#[test]
fn the_whole_map_of_a_narrow_screen_has_it_too() {
    for (width, height) in [(80, 24), (70, 20)] {
        let scalers = vec![scaler("auto", "web", Some(12), (1, 1))];
        let mut model = with((width, height), Lang::En, RICH, scalers);
        model.focus = Pane::Map;
        let shown = text(&screen(&model));
        assert!(shown.contains("HPA auto ──▶ Deployment/web  cpu: 12%/50%"), "{width}: {shown}");
    }
}
