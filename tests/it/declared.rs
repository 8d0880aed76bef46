//! A lesson that declares its cluster, and what is left after it: nothing but the steps that were
//! done.

use super::support::{Cluster, Home, Said, any_kubectl, capable, turn};
use serde_json::Value;
use std::io::Write;
use std::process::Stdio;

/// Played on a cluster that is not the usual one. The step's own setup makes `scene`.
const LESSON: &str = r#"---
id: probe/02
title: Two nodes
track: probe
order: 2
minutes: 5
cluster: {control-planes: 1, workers: 1}
steps:
  - id: make
    task: Make a ConfigMap named `hello`.
    setup: ["-kubectl create configmap scene"]
    check:
      - that: there are two nodes
        is: 'size(objects("Node", "")) == 2'
      - that: the scene is set
        is: 'present("ConfigMap", "default", "scene")'
      - that: hello is there
        is: 'present("ConfigMap", "default", "hello")'
    hints:
      - {id: give, tier: 3, say: kubectl create configmap hello}
    solution: ["kubectl create configmap hello"]
    wrong:
      - {do: ["kubectl delete configmap scene"], why: "hello is not there"}
---
# Two nodes

A cluster of its own.

## Make it {#make}

Make it.
"#;

fn run(home: &Home, args: &[&str], lines: &str) -> Said {
    let lessons = home.path().join("lessons");
    let mut command = home.command(home.program());
    command.args(args).env("ROPEWALK_LESSONS", lessons);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program runs");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(lines.as_bytes()).expect("it reads");
    drop(input);
    child.wait_with_output().expect("its output").into()
}

#[test]
fn a_lesson_has_its_cluster_beside_the_learners_own() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let directory = home.path().join("lessons/probe/02-two");
    std::fs::create_dir_all(&directory).expect("a directory");
    std::fs::write(directory.join("lesson.md"), LESSON).expect("a file");
    let run = |args: &[&str], lines: &str| run(&home, args, lines);

    let dry = run(&["lesson", "test", "probe/02", "--dry-run"], "").ok();
    assert!(dry.contains("probe/02 is proved on its own cluster: control planes: 1, workers: 1"), "{dry}");
    let said = run(&["lesson", "test", "probe/02"], "").ok();
    assert_eq!(said.lines().filter(|l| l.trim_start().starts_with('✓')).count(), 1, "{said}");

    // The learner's cluster has two workers.
    run(&["up", "--name", "t", "--detach", "--wait"], "").ok();
    let cluster = Cluster { home: &home };
    let refused = run(&["repl", "--name", "t", "--lang", "en", "-c", "lesson probe/02"], "");
    refused.fails("ropewalk up --name t-lesson --control-planes 1 --workers 1 --detach --wait");
    run(&["learn", "probe/02", "--name", "t", "--lang", "en"], "").fails("--yes");
    let lines = "lesson probe/02\nkubectl create configmap hello\ncheck\nlesson leave\necho not here\n";
    let played = run(&["learn", "probe/02", "--name", "t", "--lang", "en", "--yes"], lines).ok();
    assert!(played.contains("Two nodes") && !played.contains("not here"), "{played}");

    let beside = home.path().join("clusters/t-lesson");
    assert!(!beside.exists(), "it is removed");
    let list = run(&["lesson", "list", "--name", "t", "-o", "json"], "").ok();
    let list: Value = serde_json::from_str(&list).expect("JSON");
    let entry = list.as_array().into_iter().flatten().find(|entry| entry["id"] == "probe/02");
    assert_eq!(entry.map(|entry| &entry["done"]), Some(&Value::from(1)), "the step counts: {list}");
    let any = any_kubectl();
    cluster.kubectl(&any, &["get", "configmap", "hello"]).fails("not found");
    cluster.kubectl(&any, &["get", "configmap", "scene"]).fails("not found");
}
