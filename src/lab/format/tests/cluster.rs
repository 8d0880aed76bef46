//! `cluster:` of a lesson, and `setup:` of a step, as they stand in a lesson's file.

use crate::format::{Declared, Lesson, parse};
use crate::lines::objects;
use crate::needs;
use crate::needs::Need;
use crate::words;
use cluster::guest::{LessonScope, Offers};
use std::path::Path;

/// Lines 1 to 6 of the file, and what comes after them.
const HEAD: &str = "---\nid: t/01\ntitle: T\ntrack: t\norder: 1\n";
const STEP: &str = "steps:\n  - id: make\n    task: Do it.\n    check: 'true'\n    solution: [x]\n";
const TAIL: &str = "---\n## Make {#make}\n";

fn read(head: &str, keys: &str) -> Result<Lesson, Vec<String>> {
    let text = format!("{HEAD}{head}{STEP}{keys}{TAIL}");
    parse(&text, Path::new("lesson.md"), &[]).map_err(|all| all.iter().map(ToString::to_string).collect())
}

fn tells(read: Result<Lesson, Vec<String>>, what: &str) {
    let faults = read.unwrap_err();
    assert!(faults.iter().any(|fault| fault.contains(what)), "{what}: {faults:?}");
}

#[test]
fn a_lesson_may_declare_its_cluster_and_the_clock_of_it() {
    assert_eq!(read("", "").unwrap().cluster, None);
    let lesson = read("cluster: {control-planes: 3, workers: 1, clock: 20}\n", "").unwrap();
    assert_eq!(lesson.cluster, Some(Declared { control_planes: 3, workers: 1 }));
    assert_eq!(lesson.clock, 20);
    assert_eq!(read("clock: {scale: 5}\n", "").unwrap().clock, 5);
    assert_eq!(read("cluster: {workers: 1}\n", "").unwrap().clock, 1);
}

#[test]
fn a_cluster_that_there_cannot_be_is_told_with_its_line() {
    tells(read("cluster: {control-planes: 2}\n", ""), "lesson.md:6: a cluster has 1, 3 or 5");
    tells(read("cluster: {workers: 6}\n", ""), "lesson.md:6: a declared cluster has 5 workers at most");
    tells(read("cluster: {clock: 61}\n", ""), "not ×61");
    tells(read("cluster: {clock: 2}\nclock: {scale: 2}\n", ""), "the clock stands twice");
    tells(read("cluster: {wokers: 2}\n", ""), "did you mean \"workers\"");
    tells(read("cluster: {workers: many}\n", ""), "lesson.md:6: ");
}

#[test]
fn a_step_of_it_needs_exactly_that_cluster() {
    let lesson = read("cluster: {control-planes: 3}\n", "").unwrap();
    let lacks = |control_planes, workers, own| {
        let offers = Offers { own, workers, control_planes };
        needs::lacks(&offers, &LessonScope::default(), &lesson, &lesson.steps[0])
    };
    assert_eq!(lacks(3, 2, true), None);
    let need = Need::Cluster(Declared { control_planes: 3, workers: 2 });
    for (control_planes, workers, own) in [(1, 2, true), (5, 2, true), (3, 3, true), (3, 2, false)] {
        assert_eq!(lacks(control_planes, workers, own), Some(need.clone()), "{control_planes} {workers}");
    }
    assert_eq!(need.say("ko"), "컨트롤 플레인 3개와 워커 노드 2개로 된 Ropewalk 클러스터");
}

#[test]
fn a_learner_reads_how_to_start_the_cluster_what_it_costs_and_how_it_goes() {
    let declared = Declared { control_planes: 3, workers: 2 };
    for lang in ["en", "ko"] {
        let told = words::other_cluster(lang, &declared, "main", "lesson t/01");
        for part in [
            "`ropewalk up --name main-lesson --control-planes 3 --workers 2 --detach --wait`",
            "125 MB",
            "`ropewalk --name main-lesson`",
            "`lesson t/01`",
            "`ropewalk reset --name main-lesson`",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(!told.contains("{}"), "{told}");
        // In a shell, too: it is entered at the prompt of the other cluster.
        let in_shell = lang::typed::in_shell(&told, "");
        assert!(
            in_shell.contains("`ropewalk learn t/01`") && in_shell.contains("“lesson t/01”"),
            "{in_shell}"
        );
    }
}

#[test]
fn a_setup_of_a_step_can_be_played_once_more() {
    let keys = "    setup: [\"-kubectl create configmap a\", \"kubectl label node n a=b --overwrite\"]\n";
    let lesson = read("", keys).unwrap();
    let step = &lesson.steps[0];
    assert_eq!(step.setup.len(), 2);
    assert_eq!(step.whole(), ["-kubectl create configmap a", "kubectl label node n a=b --overwrite", "x"]);
    assert!(objects::of_lesson(&lesson).contains("configmaps/default/a"), "what it makes is the lesson's");
    for line in [
        "kubectl create configmap a",
        "kubectl -n shop create secret generic a",
        "k run web --image=nginx",
        "expose pod web --port=80",
    ] {
        tells(read("", &format!("    setup: [\"{line}\"]\n")), "fails when the step begins once more");
    }
    tells(read("", "    setup: [\"kubectl get pods | wc\"]\n"), "cannot be played");
}
