//! The examples of the authors' chapter: blocks of the book that are marked `yaml,step` hold keys
//! of a step, and blocks marked `yaml,lesson` the header's, with the steps. Each is read as an
//! author would write it.

use crate::format::prose::code_blocks;
use crate::format::{Lesson, Step, parse};
use std::path::Path;

const CHAPTER: &str = include_str!("../../../../book/src/authors.md");

/// Without the indentation that all its lines have.
fn flush(block: &str) -> String {
    let lines = || block.lines().filter(|line| !line.trim().is_empty());
    let indent = lines().map(|line| line.len() - line.trim_start().len()).min().unwrap_or_default();
    block.lines().map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect()
}

fn has(block: &str, key: &str) -> bool {
    block.lines().any(|line| line.starts_with(&format!("{key}:")))
}

/// A lesson of one step that has these keys; what it needs besides is added.
fn with_step(block: &str) -> String {
    let mut keys = flush(block);
    for (key, unless, line) in [
        ("task", "task", "task: Do it."),
        ("check", "answer", "check: 'true'"),
        ("solution", "solution", "solution: [\"kubectl get pods\"]"),
    ] {
        if !has(&keys, key) && !has(&keys, unless) {
            keys.push_str(&format!("{line}\n"));
        }
    }
    let keys: String = keys.lines().map(|line| format!("    {line}\n")).collect();
    format!("steps:\n  - id: this\n{keys}")
}

fn read(head: &str) -> Result<Lesson, String> {
    let ids: Vec<&str> = head.lines().filter_map(|line| line.strip_prefix("  - id: ")).collect();
    let sections: String = ids.iter().map(|id| format!("## Step {{#{id}}}\n")).collect();
    let text = format!("---\nid: t/01\ntitle: T\ntrack: t\norder: 1\n{head}---\n{sections}");
    parse(&text, Path::new("example"), &[]).map_err(|faults| format!("{faults:#?}\n{text}"))
}

#[test]
fn every_example_of_the_chapter_can_be_read() {
    let blocks = code_blocks(CHAPTER);
    let of = |mark: &str| -> Vec<&String> {
        blocks.iter().filter(|(lang, _)| lang == mark).map(|(_, text)| text).collect()
    };
    let (steps, lessons) = (of("yaml,step"), of("yaml,lesson"));
    assert!(steps.len() >= 9 && !lessons.is_empty(), "the chapter has lost its examples");
    let read_all: Vec<Lesson> = steps
        .iter()
        .map(|block| with_step(block))
        .chain(lessons.iter().map(|block| flush(block)))
        .map(|head| read(&head).unwrap_or_else(|why| panic!("{why}")))
        .collect();
    // Each of the keys that the chapter tells of has an example.
    let has_step = |fits: &dyn Fn(&Step) -> bool| read_all.iter().any(|l| l.steps.iter().any(fits));
    assert!(has_step(&|step| step.lost.is_some()) && has_step(&|step| step.answer.is_some()));
    assert!(has_step(&|step| step.checks.len() == 3) && has_step(&|step| step.predict.is_some()));
    assert!(read_all.iter().any(|lesson| lesson.defines.names().count() == 2));
    let with_file = read_all.iter().find(|lesson| !lesson.files.is_empty()).expect("an example of `files`");
    assert_eq!(with_file.files[0].name, "web.yaml");
    let played = &with_file.steps[0].solution;
    assert!(played[0] == "kubectl apply -f -" && played.contains(&"kind: Pod".to_string()), "{played:?}");
}

#[test]
fn a_broken_example_is_found() {
    let broken = with_step("check:\n  - asked: kubectl get pood\n");
    assert!(read(&broken).unwrap_err().contains("there is no kind"));
}

/// The table of what expressions see explains every function that there is, in a row of its own or
/// with similar ones. Four functions for debriefs are explained before it.
#[test]
fn every_function_stands_in_the_chapter() {
    let inner = ["is_request"]; // what `requests` is compiled to
    let explained_before = ["asked", "last", "since", "wrote"];
    let (before, _) = CHAPTER
        .split_once("## On a cluster that is not Ropewalk's own")
        .expect("the heading after the table");
    let rows = before.lines().filter(|line| line.starts_with("| `"));
    let first_cells: String = rows.filter_map(|line| line.split(" | ").next()).collect();
    let known = crate::cel::define::functions_known().filter(|name| !inner.contains(name));
    let is_missing = |name: &&str| {
        let text = if explained_before.contains(name) { before } else { first_cells.as_str() };
        !text.contains(&format!("{name}("))
    };
    let missing: Vec<&str> = known.filter(is_missing).collect();
    assert_eq!(missing, Vec::<&str>::new());
}
