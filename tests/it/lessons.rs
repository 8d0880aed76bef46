//! Every lesson is proved on clusters of its own: red at the start and after each wrong answer, green after the solution and each other way.

use super::support::{Home, capable, turn};

#[test]
fn every_lesson_is_sound() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let said = home.ropewalk(&["lesson", "test", "--all", "--jobs", "8"]);
    print!("{}", said.out);
    let lines = |mark: char| said.out.lines().filter(move |l| l.trim_start().starts_with(mark));
    let wrong: Vec<&str> = lines('✗').collect();
    assert_eq!(said.code, 0, "{}\n{}", wrong.join("\n"), said.err);
    assert!(lines('✓').count() >= 12, "too few were played");
}

const INSIDE: &str = r#"---
id: probe/01
title: Inside
track: probe
order: 1
minutes: 5
requires: [fault]
view: raft
steps:
  - id: look
    task: Make a ConfigMap named `hello` and cut the worker off.
    check:
      - that: the store has it
        is: 'store("/registry/configmaps/default/hello").value.contains("hello") && store("/registry/configmaps/default/hello").mod_revision > since_step'
      - that: nobody else is there
        is: 'store("/registry/configmaps/default/other") == {}'
      - that: the only member leads
        is: 'members().exists_one(m, m.leader && m.healthy && m.term > 0 && m.name == "ropewalk-control-plane")'
      - that: the cable is cut
        is: 'size(faults()) == 1 && faults()[0].fault == "cut" && "ropewalk-worker" in faults()[0].nodes'
    hold: 1s
    within: 10s
    hints:
      - {id: give, tier: 3, say: "kubectl create configmap hello, and fault cut ropewalk-control-plane ropewalk-worker"}
    solution: ["kubectl create configmap hello", "fault cut ropewalk-control-plane ropewalk-worker"]
    wrong:
      - {do: ["kubectl create configmap hello"], why: nothing is cut}
      - {do: ["fault cut ropewalk-control-plane ropewalk-worker"], why: nothing is stored}
      - {do: ["kubectl create configmap hello", "fault slow ropewalk-control-plane ropewalk-worker 5"], why: slow is not cut}
      - {do: ["kubectl create configmap hello", "kubectl create configmap other", "fault cut ropewalk-control-plane ropewalk-worker"], why: one too many}
---
# Inside

What the store, its members and the faults say.

## Look {#look}

Make it, and cut it off.
"#;

/// The store, its members and what is broken are facts like others.
#[test]
fn checks_see_the_inside() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let lessons = home.path().join("lessons");
    let directory = lessons.join("probe/01-inside");
    std::fs::create_dir_all(&directory).expect("a directory");
    std::fs::write(directory.join("lesson.md"), INSIDE).expect("a file");
    let said =
        home.ropewalk(&["lesson", "test", "probe/01", "--lessons", lessons.to_str().expect("UTF-8")]).ok();
    assert_eq!(said.lines().filter(|l| l.trim_start().starts_with('✓')).count(), 1, "{said}");
}
