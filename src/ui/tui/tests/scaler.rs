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
    all(&mut model, "horizontalpodautoscalers", vec![scaler("auto", "web", None, (0, 0))]);
    assert!(map(&model).join("\n").contains("1 to 3 pods, now ?"), "not counted yet: {:#?}", map(&model));
    all(&mut model, "horizontalpodautoscalers", vec![scaler("auto", "web", None, (1, 1))]);
    let lines = map(&model);
    assert_eq!(lines.len(), without.len());
    assert_eq!(lines.last(), without.last(), "the line of the Deployment stays");
    assert!(lines.join("\n").contains("cpu: <unknown>/50%"), "{lines:#?}");
}

/// The objects lie in two namespaces, and the names are long.
#[test]
fn long_names_are_shortened_before_the_numbers() {
    let in_staging = |name: &str, deployment: &str, more: Option<&str>| {
        let mut object = scaler(name, deployment, None, (1, 3));
        object["metadata"]["namespace"] = json!("staging");
        if let Some(more) = more {
            let target = json!({"type": "AverageValue", "averageValue": "30"});
            let metric = json!({"type": "Pods", "pods": {"metric": {"name": more}, "target": target}});
            object["spec"]["metrics"].as_array_mut().expect("metrics").push(metric);
        }
        object
    };
    for (object, names) in [
        // The name of the workload is the same.
        (in_staging("dpy-nginx", "dpy-nginx", None), " HPA staging/dpy-nginx  cpu: "),
        (in_staging("storefront", "webshop-frontend", None), " HPA stagin…ont ──▶ websho…end  cpu: "),
        (in_staging("storefront", "webshop-frontend", Some("requests-per-second")), " HPA stagin…ont ──▶ "),
    ] {
        let lines = map(&with((120, 36), Lang::En, RICH, vec![object]));
        let line = lines.iter().find(|line| line.starts_with(names)).unwrap_or_else(|| panic!("{lines:#?}"));
        assert!(line.contains(" cpu: <unknown>/50%"), "{line}");
        assert!(line.ends_with("  1 to 3 pods, now 1 ▸ 3") && line.width() <= 75, "{line}");
    }
    let object = in_staging("storefront", "webshop-frontend", None);
    let korean = text(&screen(&with((120, 36), Lang::Ko, RICH, vec![object])));
    assert!(
        korean.contains("cpu: <unknown>/5") && korean.contains("  파드 1~3개, 현재 1 ▸ 3개 │"),
        "{korean}"
    );
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
