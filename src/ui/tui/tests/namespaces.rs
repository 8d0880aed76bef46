//! Where the objects lie in more than one namespace, the map tells the namespace of each.

use super::sequence::map;
use super::*;
use crate::tui::layout::Pane;
use crate::tui::model::View;
use unicode_width::UnicodeWidthStr;

const RICH: Look = Look { ascii: false, colour: true, light: false };

fn namespace(name: &str, phase: &str) -> Value {
    json!({"metadata": {"name": name, "resourceVersion": "5"}, "status": {"phase": phase}})
}

fn deployment(namespace: &str, revision: &str) -> Value {
    json!({"metadata": {"name": "web", "namespace": namespace, "resourceVersion": revision},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "c", "image": "nginx"}]}}}})
}

/// A Deployment `web` with a pod in each of two namespaces, that of `staging` the newer one.
fn two(size: (u16, u16), lang: Lang) -> Model {
    let opened = "2026-01-01T00:00:00Z".parse().expect("a time");
    let mut model = Model::new("main", lang, RICH, Size::new(size.0, size.1), opened);
    tell(&mut model, Event::Status(Some(json!({"state": "running"}))));
    let nodes = vec![node("ropewalk-control-plane", true, true), node("ropewalk-worker", false, true)];
    all(&mut model, "nodes", nodes);
    let namespaces = ["default", "kube-system", "staging"].map(|name| namespace(name, "Active"));
    all(&mut model, "namespaces", namespaces.to_vec());
    all(&mut model, "deployments", vec![deployment("default", "10"), deployment("staging", "30")]);
    let set = |namespace: &str, name: &str| {
        json!({"metadata": {"name": name, "namespace": namespace,
            "ownerReferences": [{"name": "web", "controller": true}]}, "spec": {"replicas": 1}})
    };
    all(&mut model, "replicasets", vec![set("default", "web-76f8d594c6"), set("staging", "web-5c9c7b9f4d")]);
    all(&mut model, "pods", vec![in_default(), in_staging()]);
    model.chosen = true;
    model
}

fn in_default() -> Value {
    pod("default", "web-76f8d594c6-7ksfg", "ropewalk-worker", "Running", 801)
}

fn in_staging() -> Value {
    pod("staging", "web-5c9c7b9f4d-jc628", "ropewalk-worker", "Running", 805)
}

#[test]
fn the_pods_of_a_node_stand_below_their_namespaces() {
    for (size, parts) in [
        ((120, 36), ["│ namespace default", "web        ● …sfg", "│ namespace staging", "web        ● …628"]),
        (
            (70, 20),
            ["namespace default", "● web-76f8d594c6-7ksfg", "namespace staging", "● web-5c9c7b9f4d-jc628"],
        ),
    ] {
        let mut model = two(size, Lang::En);
        if size.0 < 80 {
            model.focus = Pane::Map;
        }
        let lines = map(&model);
        // The corner and the line at the foot name namespaces, too.
        let inner = &lines[5..lines.len() - 2];
        let first =
            inner.iter().position(|line| line.contains(parts[0])).unwrap_or_else(|| panic!("{lines:#?}"));
        for (at, part) in parts.iter().enumerate() {
            assert!(inner[first + at].contains(part), "{part}: {lines:#?}");
        }
        // With all objects in one namespace there is nothing to tell.
        all(&mut model, "pods", vec![in_default()]);
        all(&mut model, "deployments", vec![deployment("default", "10")]);
        let lines = map(&model);
        assert!(!lines.join("\n").contains("default"), "{lines:#?}");
    }
}

#[test]
fn many_pods_are_counted_by_namespace_and_owner() {
    let mut model = two((120, 36), Lang::En);
    let pods = ["default", "staging"].map(|namespace| {
        (0..12).map(move |n| pod(namespace, &format!("a-{n:05}"), "ropewalk-worker", "Running", 900))
    });
    all(&mut model, "pods", pods.into_iter().flatten().collect());
    let lines = map(&model);
    for part in ["default/a ", "staging/a "] {
        assert!(lines.iter().any(|line| line.contains(part) && line.contains("12 │")), "{part}: {lines:#?}");
    }
}

#[test]
fn the_last_line_and_the_views_of_one_object_name_it_with_its_namespace() {
    let mut model = two((120, 36), Lang::En);
    let foot = map(&model).last().cloned().unwrap_or_default();
    assert!(foot.starts_with(" staging/web: desired 1, ready 1"), "{foot}");
    for (view, part) in
        [(View::Rollout, " Deployment staging/web "), (View::Pod, " ● staging/web-5c9c7b9f4d-jc628 ")]
    {
        model.view = view;
        let lines = map(&model);
        assert!(lines[0].starts_with(part), "{part}: {lines:#?}");
    }
}

#[test]
fn the_corner_lists_the_namespaces_of_the_learner() {
    let english = (Lang::En, "namespaces: default, ", "rev 805");
    for (lang, words, rev) in [english, (Lang::Ko, "네임스페이스: default, ", "리비전 805")] {
        let mut model = two((120, 36), lang);
        let shown = text(&screen(&model));
        assert!(shown.contains(&format!(" {words}staging  {rev} ")), "{shown}");
        let leaving = namespace("staging", "Terminating");
        tell(&mut model, Event::Objects("namespaces".into(), Delta::Updated(leaving.clone())));
        let shown = text(&screen(&model));
        assert!(shown.contains(&format!(" {words}○ staging  {rev} ")), "{shown}");
        assert!(shown.contains("staging ○ Terminating"), "over its pods: {shown}");
        assert!(shown.lines().all(|line| line.width() <= 120), "{shown}");
        tell(&mut model, Event::Objects("namespaces".into(), Delta::Deleted(leaving)));
        let shown = text(&screen(&model));
        assert!(!shown.contains(words) && shown.contains(&format!(" {rev} ")), "{shown}");
    }
}

#[test]
fn a_narrow_screen_names_what_is_not_in_default() {
    for (lang, alone) in [(Lang::En, "namespace staging"), (Lang::Ko, "네임스페이스 staging")] {
        let mut model = two((80, 24), lang);
        assert!(model.panes().strip);
        let shown = text(&screen(&model));
        assert!(shown.contains("  staging/web 1/1  web 1/1  "), "{shown}");
        assert!(!shown.contains(alone), "its Deployment tells it: {shown}");
        all(&mut model, "pods", vec![in_default()]);
        all(&mut model, "deployments", vec![deployment("default", "10")]);
        let shown = text(&screen(&model));
        assert!(shown.contains(&format!("  {alone}  web 1/1  ")), "{shown}");
    }
}
