//! A view of one object is about the one that the open step names.

use super::keys::press;
use super::sequence::map;
use super::*;
use crate::tui::layout::Pane;
use crate::tui::model::View;
use crossterm::event::KeyCode;

const RICH: Look = Look { ascii: false, colour: true, light: false };

/// A step with this task. `view` is its diagram.
fn step(task: &str, view: &str, number: usize) -> LessonView {
    LessonView { task: task.into(), diagram: view.into(), step: number, ..lesson(Lang::En) }
}

fn deployment(namespace: &str, name: &str, revision: u64) -> Value {
    json!({"metadata": {"name": name, "namespace": namespace, "resourceVersion": revision.to_string()},
        "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "c", "image": "nginx"}]}}}})
}

/// Two Deployments, of which `other` has changed last, and a Service of each name.
fn two(view: View) -> Model {
    let opened = "2026-01-01T00:00:00Z".parse().expect("a time");
    let mut model = Model::new("main", Lang::En, RICH, Size::new(120, 36), opened);
    tell(&mut model, Event::Status(Some(json!({"state": "running"}))));
    all(&mut model, "nodes", vec![node("w", false, true)]);
    all(
        &mut model,
        "deployments",
        vec![deployment("default", "site", 10), deployment("default", "other", 30)],
    );
    let pods = [("site-5c9c7b9f4d-jc628", 11), ("other-76f8d594c6-7ksfg", 31)];
    all(&mut model, "pods", pods.map(|(name, rv)| pod("default", name, "w", "Running", rv)).to_vec());
    let set = |name: &str, owner: &str| {
        json!({"metadata": {"name": name, "namespace": "default",
        "ownerReferences": [{"name": owner, "controller": true}]}, "spec": {"replicas": 1}})
    };
    all(&mut model, "replicasets", vec![set("site-5c9c7b9f4d", "site"), set("other-76f8d594c6", "other")]);
    model.view = view;
    model
}

/// The object that the view is about, as its keys count.
fn first(model: &Model) -> String {
    let all = model.subjects();
    all[model.place(&all)].1.clone()
}

#[test]
fn the_object_of_the_step_comes_before_the_one_that_changed_last() {
    let task = "Set the image of `site` to `nginx:1.27`.";
    for (view, named, newest) in
        [(View::Rollout, "site", "other"), (View::Pod, "site-5c9c7b9f4d-jc628", "other-76f8d594c6-7ksfg")]
    {
        let mut model = two(view);
        assert_eq!(first(&model), newest);
        tell(&mut model, Event::Lesson(Box::new(step("Read on.", view.name(), 0))));
        assert_eq!(first(&model), newest, "the step names no object");
        tell(&mut model, Event::Lesson(Box::new(step(task, view.name(), 1))));
        assert_eq!(first(&model), named);
        let lines = map(&model);
        assert!(lines[0].contains(named), "{lines:#?}");
        let change = deployment("default", "other", 50);
        tell(&mut model, Event::Objects("deployments".into(), Delta::Updated(change)));
        assert_eq!(first(&model), named, "another Deployment has changed");
    }
    let mut model = two(View::Cluster);
    let foot = |model: &Model| map(model).last().cloned().unwrap_or_default();
    assert!(foot(&model).starts_with(" other: desired 1"), "{}", foot(&model));
    tell(&mut model, Event::Lesson(Box::new(step(task, "cluster", 0))));
    assert!(foot(&model).starts_with(" site: desired 1"), "{}", foot(&model));
}

#[test]
fn the_learner_turns_over_from_it_until_the_next_step() {
    let mut model = two(View::Rollout);
    tell(&mut model, Event::Lesson(Box::new(step("Scale `site` to 3.", "rollout", 0))));
    model.focus = Pane::Map;
    press(&mut model, KeyCode::Down);
    assert_eq!(first(&model), "other");
    tell(&mut model, Event::Lesson(Box::new(step("Scale `site` to 3.", "rollout", 0))));
    assert_eq!(first(&model), "other", "the same step was told again");
    tell(&mut model, Event::Lesson(Box::new(step("Scale `site` to 2.", "rollout", 1))));
    assert_eq!(first(&model), "site");
}

#[test]
fn of_two_with_one_name_it_is_the_one_in_the_namespace_that_is_named() {
    let mut model = two(View::Rollout);
    let both = vec![deployment("staging", "site", 10), deployment("default", "site", 30)];
    all(&mut model, "deployments", both);
    let namespace = |model: &Model| model.subjects()[0].0.clone();
    assert_eq!(namespace(&model), "default", "the newest");
    for task in ["Scale `site` in `staging` to 3.", "Scale the Deployment in `staging` to 3."] {
        tell(&mut model, Event::Lesson(Box::new(step(task, "rollout", 0))));
        assert_eq!(namespace(&model), "staging", "{task}");
    }
}
