//! A lesson or lab that declares its cluster, and what is left after it: nothing but what was done.

use super::session::{Session, is_line};
use super::support::{Cluster, Home, PATIENCE, Said, any_kubectl, capable, eventually, turn};
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
    let mut command = home.command(home.program());
    command.args(args).env("ROPEWALK_LESSONS", home.path().join("lessons"));
    let labs = home.path().join("labs");
    if labs.exists() {
        command.env("ROPEWALK_LABS", labs);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program runs");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(lines.as_bytes()).expect("it reads");
    drop(input);
    child.wait_with_output().expect("its output").into()
}

fn write_lesson(home: &Home) {
    let directory = home.path().join("lessons/probe/02-two");
    std::fs::create_dir_all(&directory).expect("a directory");
    std::fs::write(directory.join("lesson.md"), LESSON).expect("a file");
}

/// A lab of the program's own, under another id and on another cluster.
fn write_lab(home: &Home) {
    let directory = home.path().join("labs/probe-lab");
    std::fs::create_dir_all(&directory).expect("a directory");
    let from = format!("{}/labs/broken-selector/lab.md", env!("CARGO_MANIFEST_DIR"));
    let lab = std::fs::read_to_string(from).expect("a lab");
    let lab = lab.replacen("id: broken-selector", "id: probe-lab", 1);
    let cluster = "cluster: {control-planes: 1, workers: 1}\nminutes: 10";
    std::fs::write(directory.join("lab.md"), lab.replacen("minutes: 10", cluster, 1)).expect("a file");
}

#[test]
fn a_lesson_has_its_cluster_beside_the_learners_own() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    write_lesson(&home);
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
    let lines = "kubectl create configmap hello\ncheck\nlesson leave\necho not here\n";
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

#[test]
fn the_interface_moves_to_the_cluster_of_a_lesson_or_lab_and_back() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    write_lesson(&home);
    write_lab(&home);
    run(&home, &["up", "--name", "t", "--detach", "--wait"], "").ok();
    let _cluster = Cluster { home: &home };
    let path = |name: &str| home.path().join(name).display().to_string();
    let (lessons, labs) = (path("lessons"), path("labs"));
    let env = [
        ("LANG", "C.UTF-8"),
        ("TERM", "xterm-256color"),
        ("ROPEWALK_LESSONS", lessons.as_str()),
        ("ROPEWALK_LABS", labs.as_str()),
    ];
    let session = Session::start_in(&home, &["--name", "t", "--lang", "en"], 100, 30, &env);
    let beside = home.path().join("clusters/t-lesson");
    let is_gone = || eventually(PATIENCE, || beside.exists(), |there| !there);
    session.sees("ropewalk>");
    session.press("kept=here\r");

    session.press("lesson probe/02\r");
    session.sees("Enter starts it");
    session.press("\r");
    session.until("the lesson's cluster", |_, t| {
        t.contains("t-lesson") && t.contains("Two nodes") && t.contains("ropewalk>")
    });
    session.press("kubectl create configmap hello\r");
    session.sees("goes back to your own cluster");
    session.press("next\r");
    session.until("the learner's own", |_, t| !t.contains("t-lesson") && t.contains("ropewalk>"));
    session.press("echo $kept\r");
    session.until("the same shell", |_, t| is_line(t, "here"));
    is_gone();

    session.press("lab start probe-lab\r");
    session.sees("Enter starts it");
    session.press("\r");
    session.until("the lab's cluster", |_, t| {
        t.contains("t-lesson") && t.contains("A Service does not answer") && t.contains("ropewalk>")
    });
    session.until("its clock", |_, t| t.contains("9:") && t.contains(" left"));
    session.press("lab leave\r");
    session.sees("It ends, and what it made");
    session.press("y\r");
    session.until("the learner's own", |_, t| !t.contains("t-lesson") && t.contains("ropewalk>"));
    is_gone();
    let book = std::fs::read_to_string(home.path().join("clusters/t/labs.json")).expect("a book");
    let book: Value = serde_json::from_str(&book).expect("JSON");
    let tries = &book["tries"]["probe-lab"];
    assert_eq!((&tries["starts"], &tries["left"]), (&1.into(), &1.into()), "{book}");
    session.press("quit\r");
    assert_eq!(session.end(), 0);

    // A program that reads JSON gets none from a session: it is told how to start the cluster.
    let words = ["lab", "start", "probe-lab", "--name", "t", "--lang", "en", "-o", "json"];
    let session = Session::start_in(&home, &words, 100, 30, &env);
    session.sees("t-lesson");
    assert_eq!(session.end(), 1);
}
