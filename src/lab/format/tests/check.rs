//! Checks without expressions, definitions and `lost`, as they stand in a lesson's file.

use crate::format::{EN, FAULTS_MAX, Lesson, Repair, parse};
use std::path::Path;

/// Lines 1 to 6 of the file, in which `define:` may stand, and what comes after the step's keys.
const HEAD: &str = "---\nid: t/01\ntitle: T\ntrack: t\norder: 1\n";
const STEP: &str = "steps:\n  - id: make\n    task: Do it.\n";
const TAIL: &str = "    solution: [x]\n---\n## Make {#make}\n";

fn read(define: &str, keys: &str) -> Result<Lesson, Vec<String>> {
    let text = format!("{HEAD}{define}{STEP}{keys}{TAIL}");
    parse(&text, Path::new("lesson.md"), &[]).map_err(|all| all.iter().map(ToString::to_string).collect())
}

/// Asserts that a fault says `what`, and names this line.
fn tells(read: Result<Lesson, Vec<String>>, line: usize, what: &str) {
    let faults = read.unwrap_err();
    let begin = format!("lesson.md:{line}: ");
    assert!(faults.iter().any(|f| f.starts_with(&begin) && f.contains(what)), "{line} {what}: {faults:?}");
}

#[test]
fn a_check_is_an_expression_an_object_or_a_request() {
    let lesson = read("", "    check: {asked: kubectl get pods}\n").unwrap();
    assert_eq!((lesson.steps[0].checks.len(), lesson.steps[0].checks[0].that.get(EN)), (1, ""));
    let all = "    check:\n      - {that: A, is: 'true'}\n      - {that: B, expect: {kind: Pod, name: a}}\n      - {that: C, asked: kubectl get pod a, code: 404}\n";
    let lesson = read("", all).unwrap();
    let level: Vec<bool> = lesson.steps[0].checks.iter().map(|check| check.is.is_level()).collect();
    assert_eq!(level, [true, true, false]);
}

#[test]
fn a_check_that_says_too_little_or_too_much_is_told_with_its_line() {
    for (check, line, told) in [
        (
            "    check:\n      - {asked: kubectl get pods}\n      - {that: B, is: 'true'}\n",
            9,
            "says what is so",
        ),
        (
            "    check:\n      - {that: both, is: 'true', asked: kubectl get pods}\n",
            10,
            "one of `is`, `expect`",
        ),
        ("    check:\n      - {that: none}\n", 10, "one of `is`, `expect`"),
        ("    check:\n      - {that: A, is: 'true', code: 404}\n", 10, "only `asked` has a code"),
        ("    check:\n      - that: A\n        asked: kubectl get pood\n", 11, "there is no kind \"pood\""),
        (
            "    check:\n      - that: A\n        expect:\n          kind: Pod\n          spec:\n            nodeNaem: a\n",
            14,
            "a Pod has no field \"spec.nodeNaem\"",
        ),
        ("    check:\n      - that: A\n        expekt: {kind: Pod}\n", 11, "did you mean \"expect\"?"),
        ("    check:\n      - that: A\n        asked: [kubectl get pods]\n", 11, "expected a string"),
    ] {
        tells(read("", check), line, told);
    }
}

#[test]
fn a_definition_is_used_or_refused_with_its_line() {
    let web = "define:\n  web: 'object(\"Pod\",\"default\",\"web\")'\n  up: 'ready(web)'\n";
    let lesson = read(web, "    check: up\n").unwrap();
    assert!(!lesson.steps[0].checks[0].is.needed.is_empty());
    assert!(read(web, "    check: 'true'\n    hints: [{tier: 1, say: '${up}'}]\n").is_ok(), "in a text");
    tells(read(web, "    check: 'ready(web)'\n"), 8, "no expression uses \"up\"");
    tells(read("define:\n  web: 3\n", "    check: 'true'\n"), 7, "is to be an expression");
    tells(read("define:\n  trace: 'true'\n", "    check: trace\n"), 7, "has a meaning already");
    tells(read("define:\n  web: 'redy(1)'\n", "    check: web\n"), 7, "did you mean \"ready\"?");
}

/// A stranger's file may have tens of thousands, and to find the line of one takes a look at all.
#[test]
fn of_very_many_faults_only_the_first_are_told() {
    let hints = "{tier: 9, say: x}, ".repeat(FAULTS_MAX + 100);
    let faults = read("", &format!("    check: 'true'\n    hints: [{hints}]\n")).unwrap_err();
    assert_eq!(faults.len(), FAULTS_MAX);
    assert!(faults[0].starts_with("lesson.md:10: tiers are 1"), "{}", faults[0]);
}

/// All of them may be evaluated at each change of the cluster.
#[test]
fn a_step_has_a_bounded_number_of_checks_and_hints() {
    let hints = |count: usize| {
        let hints = "{tier: 1, say: x}, ".repeat(count);
        read("", &format!("    check: 'true'\n    hints: [{hints}]\n"))
    };
    assert!(hints(100).is_ok());
    tells(hints(101), 7, "100 hints at most, not 101");
    let checks = "{that: A, is: 'true'}, ".repeat(101);
    tells(read("", &format!("    check: [{checks}]\n")), 7, "100 checks at most, not 101");
}

#[test]
fn what_repairs_a_lost_step_is_checked() {
    let lost = |repair: &str| format!("    check: 'true'\n    lost: {{when: 'false', say: Gone.{repair}}}\n");
    let repair = |words: &str| read("", &lost(words)).unwrap().steps[0].lost.clone().unwrap().repair;
    assert_eq!(repair(""), Repair::Goto("make".into()));
    assert_eq!(repair(", repair: undo"), Repair::Undo);
    assert_eq!(repair(", repair: goto make"), Repair::Goto("make".into()));
    tells(read("", &lost(", repair: goto there")), 10, "this lesson has no step \"there\"");
    tells(read("", &lost(", repair: rm -rf")), 10, "`undo` or `goto STEP`");
    let korean = |lost: &str| {
        let english =
            format!("{HEAD}{STEP}    check: 'true'\n    lost: {{when: 'false', say: Gone.}}\n{TAIL}");
        let korean = format!(
            "---\nid: t/01\ntitle: 티\nsteps:\n  - id: make\n    task: 하세요.\n{lost}---\n## 만들기 {{#make}}\n"
        );
        parse(&english, Path::new("lesson.md"), &[("ko", &korean, Path::new("lesson.ko.md"))])
    };
    let lesson = korean("    lost: 없어졌습니다.\n").unwrap();
    assert_eq!(lesson.steps[0].lost.as_ref().unwrap().say.get("ko"), "없어졌습니다.");
    assert!(
        korean("").unwrap_err()[0].to_string().contains("`lost` of step \"make\" stands in one language")
    );
}

#[test]
fn a_key_that_stands_twice_is_refused() {
    let predict = |choices: &str| {
        format!(
            "    check: 'true'\n    predict:\n      question: Which?\n      choices: {choices}\n      answer: a\n"
        )
    };
    assert!(read("", &predict("{a: A, b: B}")).is_ok());
    let faults = read("", &predict("{a: A, b: B, b: C}")).unwrap_err();
    assert!(faults[0].contains("duplicate entry with key \"b\""), "{faults:?}");
    let faults = read("define: {x: '1', y: 'x+1', x: '2'}\n", "    check: 'true'\n").unwrap_err();
    assert!(faults[0].contains("duplicate entry with key \"x\""), "{faults:?}");
    let expect = "    check: {that: A, expect: {kind: Pod, name: a, spec: {nodeName: a, nodeName: b}}}\n";
    let faults = read("", expect).unwrap_err();
    assert!(faults[0].contains("duplicate entry with key \"nodeName\""), "{faults:?}");
}
