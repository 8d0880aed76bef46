//! Questions of lessons that the cluster answers, and checks without expressions, proved as an
//! author proves them and answered at the prompt.

use super::support::{Home, Said, capable, turn};

const ASKING: &str = r#"---
id: probe/01
title: Asking
track: probe
order: 1
minutes: 5
define:
  note: 'object("ConfigMap","default","note")'
setup:
  - "-kubectl create configmap note --from-literal=colour=blue"
  - "-kubectl create configmap other"
steps:
  - id: read
    task: "Read the ConfigMap `note`."
    check: {asked: kubectl get configmap note}
    answer:
      question: "Which colour does it name?"
      form: text
      is: 'get(note,"data.colour","")'
    hints: [{tier: 2, when: 'answer == "red"', say: 'It is not ${answer}.'}]
    solution: ["kubectl get configmap note -o yaml", "answer $(kubectl get configmap note -o jsonpath={.data.colour})"]
    also:
      - ["COLOUR=$(kubectl get configmap note -o jsonpath={.data.colour})", "answer $COLOUR"]
      - ["kubectl get configmap note", "answer ' BLUE '"]
    wrong:
      - {do: ["kubectl get configmap note -o yaml"], why: "nobody has answered"}
      - {do: ["kubectl get configmap note -o yaml", "answer red"], why: "another colour"}
      - {do: ["answer blue"], why: "guessed, without a look"}
  - id: change
    task: "Let the ConfigMap `note` name the colour green."
    check:
      - that: note names green
        expect: {kind: ConfigMap, name: note, data: {colour: green}}
      - that: the ConfigMap other is as it was
        is: 'unchanged_since_step(object("ConfigMap","default","other")) && get(note,"data.colour","") != ""'
      - that: the learner patched it
        is: 'by_learner("patch", "ConfigMap", "note")'
    lost: {when: 'gone("ConfigMap","default","other")', say: "The ConfigMap `other` was deleted.", repair: goto change}
    solution: ["kubectl patch configmap note -p '{\"data\":{\"colour\":\"green\"}}'"]
    wrong:
      - {do: ["kubectl delete configmap other", "kubectl patch configmap note -p '{\"data\":{\"colour\":\"green\"}}'"], why: "other is gone"}
      - {do: ["kubectl label configmap other a=b", "kubectl patch configmap note -p '{\"data\":{\"colour\":\"green\"}}'"], why: "other was changed"}
  - id: count
    task: "Count."
    predict: {question: "Are there any?", choices: {a: "Yes", b: "No"}, answer: a}
    answer: {question: "How many ConfigMaps are called note?", form: number, is: 'present("ConfigMap","default","note") ? 1 : 0'}
    solution: ["answer 1"]
    wrong: [{do: ["answer 2"], why: too many}]
  - id: pick
    task: "Choose."
    answer: {question: "Which of these exist?", form: choices, choices: {a: note, b: paper, c: other}, is: [a, c]}
    solution: ["answer c a"]
    wrong: [{do: ["answer a"], why: "one is missing"}, {do: ["a"], why: "the same, by its letter"}]
---
# Asking

## Read it {#read}

## Change it {#change}

## Count {#count}

## Choose {#pick}
"#;

fn with_lesson() -> (Home, std::path::PathBuf) {
    let home = Home::new();
    let lessons = home.path().join("lessons");
    let directory = lessons.join("probe/01-asking");
    std::fs::create_dir_all(&directory).expect("a directory");
    std::fs::write(directory.join("lesson.md"), ASKING).expect("a file");
    (home, lessons)
}

#[test]
fn a_lesson_that_asks_is_proved() {
    if !capable() {
        return;
    }
    let _turn = turn();
    let (home, lessons) = with_lesson();
    let said =
        home.ropewalk(&["lesson", "test", "probe/01", "--lessons", lessons.to_str().expect("UTF-8")]).ok();
    assert!(said.contains("✓ probe/01 Asking: 4 steps, 8 wrong answers, 2 other ways"), "{said}");
}

#[test]
fn a_wrong_answer_is_told_without_the_right_one() {
    if !capable() {
        return;
    }
    let _turn = turn();
    let (home, lessons) = with_lesson();
    let lines = [
        "lesson probe/01",
        "answer red",
        "next",
        "answer blue",
        "check",
        "kubectl get configmap note",
        "check",
        "debrief",
    ];
    let lines = lines.iter().flat_map(|line| ["-c", line]);
    let args: Vec<&str> = ["repl", "--lang", "en"].into_iter().chain(lines).collect();
    let mut command = home.command_of_ours(home.program(), &args);
    let said = Said::from(
        command
            .env("ROPEWALK_LESSONS", &lessons)
            .env("ROPEWALK_LESSONS_ONLY", "1")
            .output()
            .expect("the program runs"),
    );
    let all = format!("{}{}", said.out, said.err);
    let flat = all.split_whitespace().collect::<Vec<_>>().join(" ");
    for told in [
        "? Which colour does it name?",
        "Not right: “red”.",
        "first answer the question: `answer TEXT`",
        "Right: “blue”",
        "Not yet: Read the ConfigMap `note`.",
        "Done.",
        "Your answer: “blue”. Before that: “red”",
    ] {
        assert!(flat.contains(told), "{told}\n{all}");
    }
    let first = all.find("Not right").expect("it is told");
    assert!(!all[..first].contains("blue"), "{all}");
}
