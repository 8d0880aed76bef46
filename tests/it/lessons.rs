//! Lessons on a cluster: what their checks see, what is kept over a restart, and what a jump takes
//! with it. That all of them are sound is in [`super::course`].

use super::support::{Home, PATIENCE, Said, capable, eventually, real_kubectl, turn};
use std::path::{Path, PathBuf};
use std::process::Command;

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

const PREPARED: &str = r#"---
id: probe/02
title: Prepared
track: probe
order: 2
minutes: 5
setup:
  - kubectl label configmap ground seen=yes --overwrite
steps:
  - id: one
    task: Make a ConfigMap named `one`.
    check: [{that: it is there, is: 'object("ConfigMap","default","one") != {}'}]
    solution: ["kubectl create configmap one"]
  - id: two
    task: Make a ConfigMap named `two`.
    check: [{that: it is there, is: 'object("ConfigMap","default","two") != {}'}]
    solution: ["kubectl create configmap two"]
---
# Prepared

It needs ground.

## One {#one}

## Two {#two}
"#;

/// A setup that could not be done is done when the lesson is asked for again, but not over what the
/// learner has made by then.
#[test]
fn a_setup_that_failed_is_tried_again() {
    if !capable() {
        return;
    }
    let _turn = turn();
    let session = |lines: &[&str]| {
        let home = Home::new();
        let lessons = home.path().join("lessons");
        let directory = lessons.join("probe/02-prepared");
        std::fs::create_dir_all(&directory).expect("a directory");
        std::fs::write(directory.join("lesson.md"), PREPARED).expect("a file");
        let lines = lines.iter().flat_map(|line| ["-c", line]);
        let args: Vec<&str> = ["repl", "--lang", "en"].into_iter().chain(lines).collect();
        Said::from(among(&lessons, &home, &args).output().expect("the program runs")).ok()
    };
    let label = "get configmap ground -o jsonpath=label:{.metadata.labels.seen}.";

    let again =
        session(&["lesson probe/02", "create configmap ground", label, "lesson probe/02 --yes", label]);
    assert_eq!(again.matches("The setup of this lesson failed").count(), 1, "{again}");
    assert!(
        again.split_whitespace().collect::<Vec<_>>().join(" ").contains("`lesson probe/02` tries it again"),
        "{again}"
    );
    assert!(
        again.find("label:.").expect("not at first") < again.find("label:yes.").expect("then"),
        "{again}"
    );

    let lines = ["create configmap one", "check", "create configmap ground", "lesson probe/02", label];
    let late = session(&[&["lesson probe/02"], lines.as_slice()].concat());
    assert!(late.contains("Done.") && late.contains("label:."), "{late}");
}

const DEAR: &str = r#"---
id: probe/03
title: Dear
track: probe
order: 3
minutes: 5
setup:
  - kubectl delete configmap precious --ignore-not-found
steps:
  - id: one
    task: Make a ConfigMap named `one`.
    predict: {question: "Where?", choices: {a: "Here", b: "There"}, answer: a}
    check: [{that: it is there, is: 'requests("create", "ConfigMap/default/*", "create").exists(t, t.code == 201) && present("ConfigMap","default","one")'}]
    solution: ["kubectl create configmap one"]
    remember: "one was made."
  - id: two
    task: Change `one`.
    check: [{that: it differs from what it was, is: 'get(object("ConfigMap","default","one"),"metadata.labels.seen","no") != get(before("ConfigMap","default","one"),"metadata.labels.seen","no") && ran.exists(r, r.code == 0 && r.line.contains("label"))'}]
    solution: ["kubectl label configmap one seen=yes"]
    remember: "one was changed."
---
# Dear

What the learner made is the learner's.

## One {#one}

## Two {#two}
"#;

fn write_dear(home: &Home) -> PathBuf {
    let directory = home.path().join("lessons/probe/03-dear");
    std::fs::create_dir_all(&directory).expect("a directory");
    std::fs::write(directory.join("lesson.md"), DEAR).expect("a file");
    home.path().join("lessons")
}

/// The program with the lessons of one folder alone.
fn among(lessons: &Path, home: &Home, args: &[&str]) -> Command {
    let mut command = home.command_of_ours(home.program(), args);
    command.env("ROPEWALK_LESSONS", lessons).env("ROPEWALK_LESSONS_ONLY", "1");
    command
}

/// A rewind and a setup take nothing from the learner that was not named first; a finished lesson
/// can be gone through again.
#[test]
fn what_the_learner_made_is_not_taken_without_a_word() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let lessons = write_dear(&home);
    let lines = [
        "kubectl create configmap precious",
        "lesson probe/03",
        "kubectl get configmap precious -o jsonpath=kept:{.metadata.name}.",
        "lesson probe/03 --yes",
        "kubectl get configmap precious --ignore-not-found -o jsonpath=gone:{.metadata.name}.",
        "a",
        "kubectl create configmap one",
        "check",
        "next",
        "kubectl label configmap one seen=yes",
        "check",
        "kubectl create configmap mine",
        "goto 1",
        "kubectl get configmap mine -o jsonpath=kept:{.metadata.name}.",
        "goto 1 --yes",
        "kubectl get configmap mine one --ignore-not-found -o jsonpath=left:{.items[*].metadata.name}.",
        "debrief",
        "next",
        "help goto",
        "goto --help",
    ];
    let args: Vec<&str> =
        ["repl", "--lang", "en"].into_iter().chain(lines.iter().flat_map(|line| ["-c", line])).collect();
    let said = Said::from(among(&lessons, &home, &args).output().expect("the program runs"));
    let told = format!("{}\n--\n{}", said.out, said.err);
    for part in [
        "configmaps/precious would be removed",
        "kept:precious.",
        "configmaps/mine would be removed",
        "kept:mine.",
    ] {
        assert!(said.out.contains(part), "{part}: {told}");
    }
    assert_eq!(said.err.matches("add --yes to go on all the same").count(), 2, "{told}");
    let keeps = said.out.matches("play the lesson on another cluster").count();
    assert_eq!(keeps, 1, "the setup's question says how to keep it: {told}");
    assert!(!said.out.contains("gone:precious"), "{told}");
    assert!(
        !said.out.contains("configmaps/one would be"),
        "what the lesson is about is not the learner's own: {told}"
    );
    let after = said.out.rsplit("step 1 of 2").next().expect("the page of the first step");
    assert!(!after.contains("Where?") && !after.contains("left:mine"), "{told}");
    assert!(after.contains("one was made") && after.contains("step 2 of 2"), "{told}");
    assert_eq!(after.matches("goto STEP: begins a step anew").count(), 2, "{told}");
}

/// Nobody answers from a file: the command line says whether a setup may take something.
#[test]
fn a_lesson_that_a_script_opens_takes_nothing_without_yes() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let lessons = write_dear(&home);
    let lines = home.path().join("lines");
    let precious = "kubectl get configmap precious --ignore-not-found -o jsonpath=there:{.metadata.name}.";
    std::fs::write(&lines, precious).expect("a file");
    let learn = |args: &[&str]| {
        let input = std::fs::File::open(&lines).expect("a file");
        Said::from(among(&lessons, &home, args).stdin(input).output().expect("the program runs"))
    };
    learn(&["repl", "-c", "kubectl create configmap precious"]).ok();
    learn(&["learn", "probe/03", "--lang", "en"]).fails("add --yes to go on all the same");
    assert!(learn(&["repl"]).ok().contains("there:precious."), "it was not taken");
    let taken = learn(&["learn", "probe/03", "--lang", "en", "--yes"]).ok();
    assert!(taken.contains("Dear") && !taken.contains("there:precious."), "{taken}");
}

/// What only shares a word with a lesson's lines is the learner's own; so is what the learner made
/// before the lesson that has the same name for its own.
#[test]
fn a_namesake_is_the_learners_own() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let lines = [
        "lesson first-voyage/04",
        "kubectl create deployment web --image=nginx",
        "kubectl create configmap nginx",
        "kubectl run nginx-pod --image=nginx",
        "lesson first-voyage/12",
        "kubectl get deployment web -o jsonpath=kept:{.metadata.name}.",
        "goto 1",
        "kubectl get configmap nginx -o jsonpath=kept:{.metadata.name}.",
    ];
    let args: Vec<&str> =
        ["repl", "--lang", "en"].into_iter().chain(lines.iter().flat_map(|line| ["-c", line])).collect();
    let said = home.ropewalk(&args);
    let told = format!("{}\n--\n{}", said.out, said.err);
    for part in
        ["deployments/web would be removed", "kept:web.", "configmaps/nginx would be removed", "kept:nginx."]
    {
        assert!(said.out.contains(part), "{part}: {told}");
    }
    assert!(!said.out.contains("pods/nginx-pod would be"), "that one is the lesson's: {told}");
}

/// A jump forward plays the steps before it, and a setup may scale: what is not the lesson's own is
/// named first. An open lab stays in its namespace.
#[test]
fn a_jump_names_what_it_takes() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let lines = [
        "kubectl create deployment dpy-nginx --image=nginx --replicas=2",
        "lesson first-voyage/11",
        "kubectl get deployment dpy-nginx -o jsonpath=first:{.spec.replicas}.",
        "lesson first-voyage/11 --yes",
        "goto 2",
        "kubectl get deployment dpy-nginx -o jsonpath=kept:{.metadata.name}.",
        "lab start wrong-image --seed 3",
        "goto 1",
        "kubectl get pods -A --field-selector metadata.name=tester -o jsonpath=lab:{.items[0].metadata.name}.",
        "goto 2 --yes",
        "kubectl get deployment dpy-nginx --ignore-not-found -o jsonpath=gone:{.metadata.name}.",
    ];
    let args: Vec<&str> =
        ["repl", "--lang", "en"].into_iter().chain(lines.iter().flat_map(|line| ["-c", line])).collect();
    let said = home.ropewalk(&args);
    let told = format!("{}\n--\n{}", said.out, said.err);
    let changed = said.out.matches("deployments/dpy-nginx would be changed").count();
    assert_eq!(changed, 1, "the setup scales it: {told}");
    assert!(said.out.contains("first:2."), "{told}");
    assert!(said.out.contains("deployments/dpy-nginx would be removed"), "{told}");
    assert!(said.out.contains("kept:dpy-nginx."), "{told}");
    assert!(!said.out.contains("labs/wrong-image would be removed"), "{told}");
    assert!(said.out.contains("lab:tester."), "the lab is still there: {told}");
    assert!(!said.out.contains("gone:dpy-nginx"), "it was meant: {told}");
}

/// A kubectl that is not Ropewalk's asks for the same table with and without `-o wide`, and says
/// nothing of it: the step counts its list, and no hint says that the columns were missing.
#[test]
fn a_stock_kubectl_finds_the_address_of_a_pod() {
    let (true, Some(stock)) = (capable(), real_kubectl()) else { return };
    let (_turn, home) = (turn(), Home::new());
    let cluster = home.up(&["--workers", "1"]);
    let check = || -> serde_json::Value {
        let said = home.ropewalk(&["lesson", "--name", "t", "--lang", "en", "check", "-o", "json"]);
        serde_json::from_str(&said.out).unwrap_or_else(|e| panic!("{e}: {said:?}"))
    };
    home.ropewalk(&["repl", "--name", "t", "-c", "lesson first-voyage/04 --yes", "-c", "goto where"]);
    let asked = |args: &[&str]| cluster.kubectl(&stock, args).ok();
    asked(&["get", "services", "-o", "wide"]);
    let view = check();
    assert_eq!(
        (&view["stepId"], &view["state"]),
        (&"where".into(), &"open".into()),
        "that is another kind: {view}"
    );
    // The table has an address when the kubelet has told of one.
    let seen = || {
        asked(&["get", "pods", "-o", "wide"]);
        check()
    };
    let view = eventually(PATIENCE, seen, |view| view["state"] == "done");
    assert_eq!(view["state"], "done", "{view}");
}

/// The setup of the lesson about Deployments clears away a Deployment of its name by that name: its
/// label may be gone, and then the first step would be green before anybody did anything.
#[test]
fn a_deployment_without_its_label_is_cleared_away_too() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let lines = [
        "kubectl create deployment dpy-nginx --image=nginx",
        "kubectl label deployment dpy-nginx app-",
        "lesson first-voyage/05 --yes",
        "kubectl get deployment dpy-nginx --ignore-not-found -o jsonpath=left:{.metadata.name}.",
        "check",
    ];
    let args: Vec<&str> =
        ["repl", "--lang", "en"].into_iter().chain(lines.iter().flat_map(|line| ["-c", line])).collect();
    let said = home.ropewalk(&args);
    let told = format!("{}\n--\n{}", said.out, said.err);
    assert!(said.out.contains("deployment.apps/dpy-nginx unlabeled"), "{told}");
    assert!(!said.out.contains("left:dpy-nginx") && !said.out.contains("Done."), "{told}");
}

/// What the learner edited before a restart is named like what they edit after it, though nobody
/// remembers who wrote it.
#[test]
fn a_jump_names_an_edit_from_before_a_restart() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let repl = |lines: &[&str]| {
        let lines = lines.iter().flat_map(|line| ["-c", line]);
        home.ropewalk(&["repl", "--name", "t", "--lang", "en"].into_iter().chain(lines).collect::<Vec<_>>())
    };
    let value = "kubectl get configmap own -o jsonpath=value:{.data.a}.";
    let cluster = home.up(&[]);
    repl(&[
        "kubectl create configmap own --from-literal=a=1",
        "lesson first-voyage/09",
        "kubectl patch configmap own -p '{\"data\":{\"a\":\"2\"}}'",
    ]);
    drop(cluster);
    let _cluster = home.up(&[]);
    let after = repl(&["goto 1", value]);
    assert!(after.out.contains("configmaps/own would be changed"), "{after:?}");
    assert!(after.out.contains("value:2."), "it was only asked: {after:?}");
    assert_eq!(after.out.matches("would be").count(), 1, "and nothing else: {after:?}");
}

/// What the step's histories have to tell is read again when the cluster has started again: the
/// Service that was deleted before counts as deleted in this step.
#[test]
fn what_happened_before_a_restart_counts_after_it() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let repl = |lines: &[&str]| {
        let lines = lines.iter().flat_map(|line| ["-c", line]);
        home.ropewalk(&["repl", "--name", "t", "--lang", "en"].into_iter().chain(lines).collect::<Vec<_>>())
    };
    let cluster = home.up(&[]);
    let before = repl(&[
        "lesson first-voyage/09",
        "a",
        "kubectl get svc pod-svc -o jsonpath=door:{.spec.ports[0].nodePort}.",
        "kubectl delete service pod-svc",
    ]);
    let list = home.ropewalk(&["lesson", "list", "--name", "t", "--lang", "en"]).ok();
    let is_marked = |line: &str| line.contains("▸ 09  ") || line.contains("> 09  ");
    assert!(list.lines().any(is_marked), "the open lesson has a mark: {list}");
    let door = before.out.split("door:").nth(1).and_then(|rest| rest.split('.').next());
    let door = door.unwrap_or_else(|| panic!("no port: {before:?}"));
    drop(cluster);
    let _cluster = home.up(&[]);
    let after = repl(&[&format!("curl -sS localhost:{door}"), "check"]);
    let is_done = |said: &Said| said.out.contains("Done.");
    if !is_done(&after) {
        assert!(after.out.contains("not yet: the pod nginx-pod is ready"), "{after:?}");
        eventually(PATIENCE, || repl(&["check"]), is_done); // the pod starts again after the cluster
    }
}

/// A pack adds to the built-in lessons, and a bad one takes nothing from them.
#[test]
fn packs_stand_beside_the_built_in_lessons() {
    let home = Home::new();
    let pack = home.path().join("packs/school");
    std::fs::create_dir_all(pack.join("probe/01-inside")).expect("a directory");
    std::fs::write(pack.join("probe/01-inside/lesson.md"), INSIDE).expect("a file");
    let about =
        "title: {en: School, ko: 학교}\nauthors: [Kim]\nversion: '1.0'\ntracks: {probe: {en: Probes}}\n";
    std::fs::write(pack.join("pack.yaml"), about).expect("a file");
    let list = home.ropewalk(&["lesson", "list", "--lang", "en"]).ok();
    for part in ["First voyage (first-voyage)", "Probes (probe)\n   pack: School 1.0, by Kim\n"] {
        assert!(list.contains(part), "{part}\n{list}");
    }
    let mut command = home.command(home.program());
    command.args(["lesson", "show", "probe/01", "--lang", "ko"]).env("LC_ALL", "C.UTF-8");
    let korean = Said::from(command.output().expect("it runs")).ok();
    assert!(korean.contains("강의 묶음: 학교 1.0 (만든 사람: Kim)"), "{korean}");
    let folder = pack.to_str().expect("UTF-8");
    let only = home.ropewalk(&["lesson", "list", "--lang", "en", "--lessons", folder, "--only"]).ok();
    assert!(only.contains("Probes (probe)") && !only.contains("first-voyage"), "{only}");
    home.ropewalk(&["lesson", "list", "--only"]).fails("ROPEWALK_LESSONS_ONLY=1");
    // The same pack a second time: everything in it stands twice.
    let twice = home.ropewalk(&["lesson", "list", "--lang", "en", "--lessons", folder]);
    assert!(twice.code == 1 && twice.err.contains("the lesson \"probe/01\" is already in"), "{twice:?}");
    std::fs::write(pack.join("pack.yaml"), "title: {en: \"\\e]0;x\"}\n").expect("a file");
    let bad = home.ropewalk(&["lesson", "list", "--lang", "en"]);
    assert!(bad.code == 1 && bad.err.contains("pack.yaml:1: the character U+001B"), "{bad:?}");
    assert!(bad.out.contains("First voyage (first-voyage)") && !bad.out.contains("probe"), "{bad:?}");
}

/// What is done in a session becomes a lesson that can be read, and is written once.
#[test]
fn a_session_is_recorded_as_a_draft() {
    if !capable() {
        return;
    }
    let (_turn, home) = (turn(), Home::new());
    let _cluster = home.up(&[]);
    let lessons = home.path().join("mine");
    let folder = lessons.to_str().expect("UTF-8");
    // As an author types it, and the session goes elsewhere before its end.
    let args = ["lesson", "record", "probe/04-notes", "--lessons", "mine", "--name", "t", "--lang", "en"];
    let record = |lines: &str| -> Said {
        let mut command = home.command(home.program());
        command.current_dir(home.path());
        let piped = std::process::Stdio::piped;
        let mut child =
            command.args(args).stdin(piped()).stdout(piped()).stderr(piped()).spawn().expect("it runs");
        let mut input = child.stdin.take().expect("a pipe");
        std::io::Write::write_all(&mut input, lines.as_bytes()).expect("it reads");
        drop(input);
        child.wait_with_output().expect("it ends").into()
    };
    let said = record(
        "cd /\nhelp\ncreate configmap note --from-literal=a=1\nget pod ghost\nkubectl delete configmap note\n",
    );
    assert!(said.ok().contains("A draft of 2 steps"), "it says how much there is to do");
    let text = std::fs::read_to_string(lessons.join("probe/04-notes/lesson.md")).expect("a draft");
    for part in [
        "is: \"present(\\\"ConfigMap\\\", \\\"default\\\", \\\"note\\\")\"",
        "is: \"gone(\\\"ConfigMap\\\", \\\"default\\\", \\\"note\\\")\"",
        "- \"-get pod ghost\"",
        "TODO",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    home.ropewalk(&["lesson", "test", "probe/04", "--dry-run", "--lessons", folder]).ok();
    record("get pods\n").fails("is there already");
    assert_eq!(std::fs::read_to_string(lessons.join("probe/04-notes/lesson.md")).expect("a draft"), text);
}
