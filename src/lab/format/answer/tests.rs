use super::super::question::Odd;
use super::super::{Lesson, parse};
use super::*;
use crate::cel::Facts;
use crate::cel::facts::Object;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

const HEAD: &str =
    "---\nid: t/01\ntitle: T\ntrack: t\norder: 1\nsteps:\n  - id: ask\n    task: Look.\n    answer:\n";
const TAIL: &str = "    solution: [\"kubectl get pods\"]\n---\n## Ask {#ask}\n";
const KOREAN: &str = "---\nid: t/01\ntitle: 티\nsteps:\n  - id: ask\n    task: 보세요.\n    answer:\n      question: 무엇입니까?\n";

/// A lesson of one step that asks, in English alone.
fn read(answer: &str) -> Result<Lesson, Vec<String>> {
    let lines: String = answer.lines().map(|line| format!("      {line}\n")).collect();
    let text = format!("{HEAD}{lines}{TAIL}");
    parse(&text, Path::new("lesson.md"), &[]).map_err(|all| all.iter().map(ToString::to_string).collect())
}

fn asked(answer: &str) -> Answer {
    read(answer).unwrap().steps.remove(0).answer.unwrap()
}

/// Is what was written right, in a cluster with a Pod and a Deployment? `None`: it is no answer.
fn verdict(answer: &Answer, written: &str) -> Option<bool> {
    let (value, _) = answer.read(written).ok()?;
    let mut facts = Facts { answer: Some(value), ..Facts::default() };
    let objects = [
        ("pods", json!({"kind": "Pod", "status": {"podIP": "10.244.1.7", "phase": "Running"}})),
        ("deployments.apps", json!({"kind": "Deployment", "spec": {"replicas": 3}})),
    ];
    for (kind, object) in objects {
        let all = [(("default".to_string(), "web".to_string()), Object::new(object))].into();
        facts.objects.insert(kind.into(), Arc::new(all));
    }
    answer.is.truth(&Arc::new(facts))
}

#[test]
fn a_text_is_compared_with_what_the_cluster_says() {
    let address =
        asked("question: Which?\nform: text\nis: 'object(\"Pod\",\"default\",\"web\").status.podIP'");
    assert_eq!(verdict(&address, "  10.244.1.7 "), Some(true));
    assert_eq!(verdict(&address, "10.244.1.8"), Some(false));
    assert_eq!(address.read(" "), Err(Odd::Empty));
    let phase = asked("question: Which?\nform: text\nis: [Running, Succeeded]");
    assert_eq!((verdict(&phase, "running"), verdict(&phase, "Pending")), (Some(true), Some(false)));
    let own = asked(
        "question: Which?\nform: text\nis: 'answer.startsWith(\"10.\") && alike(answer, object(\"Pod\",\"default\",\"web\").status.podIP)'",
    );
    assert_eq!((verdict(&own, "10.244.1.7"), verdict(&own, "10.1")), (Some(true), Some(false)));
    let gone = asked("question: Which?\nform: text\nis: 'object(\"Pod\",\"default\",\"gone\").status.podIP'");
    assert_eq!(verdict(&gone, "10.244.1.7"), None, "there is nothing to compare it with");
}

#[test]
fn a_number_may_be_near() {
    let source = "object(\"Deployment\",\"default\",\"web\").spec.replicas";
    let exact = asked(&format!("question: How many?\nform: number\nis: '{source}'"));
    for (written, truth) in [("3", true), ("3.0", true), ("4", false), ("-3", false)] {
        assert_eq!(verdict(&exact, written), Some(truth), "{written}");
    }
    assert_eq!(exact.read("three"), Err(Odd::NoNumber));
    assert_eq!(exact.read("inf"), Err(Odd::NoNumber));
    let near = asked(&format!("question: How many?\nform: number\nis: '{source}'\ntolerance: 1"));
    assert_eq!((verdict(&near, "4"), verdict(&near, "4.5")), (Some(true), Some(false)));
    let constant = asked("question: How many?\nform: number\nis: 3");
    assert_eq!((verdict(&constant, "3"), verdict(&constant, "2")), (Some(true), Some(false)));
}

#[test]
fn choices_and_cards_are_letters() {
    let choices = asked("question: Which?\nform: choices\nchoices: {a: A, b: B, c: C}\nis: [a, c]");
    for (written, truth) in [("a c", true), ("c,a", true), ("ca", true), ("ㅁ ㅊ", true), ("a", false)] {
        assert_eq!(verdict(&choices, written), Some(truth), "{written}");
    }
    // An input method joins letters to syllables: the keys a and b give one, and so do c, b and a.
    for (written, kept) in [("뮤", "a b"), ("뮤 ㅊ", "a b c"), ("츔", "a b c"), ("ㅠㅁ", "a b")] {
        assert_eq!(choices.read(written).map(|(_, kept)| kept), Ok(kept.to_string()), "{written}");
    }
    assert_eq!(choices.read("가"), Err(Odd::NoLetter));
    assert_eq!(choices.read("a d"), Err(Odd::NoLetter));
    assert_eq!(choices.read("c a a").unwrap().1, "a c");
    assert_eq!(choices.shown("a c", "en"), "A; C");
    let live = asked(
        "question: Which?\nform: choices\nchoices: {a: Ready, b: Gone}\nis: 'present(\"Pod\",\"default\",\"web\") ? [\"a\"] : [\"b\"]'",
    );
    assert_eq!((verdict(&live, "a"), verdict(&live, "b")), (Some(true), Some(false)));
    let order = asked("question: Sort.\nform: order\ncards: {a: A, b: B, c: C}\nis: [b, c, a]");
    for (written, truth) in [("b c a", true), ("bca", true), ("b > c > a", true), ("a b c", false)] {
        assert_eq!(verdict(&order, written), Some(truth), "{written}");
    }
    for odd in ["b c", "b c b"] {
        assert_eq!(order.read(odd), Err(Odd::NoOrder));
    }
    assert_eq!(order.shown("b c a", "en"), "B → C → A");
}

#[test]
fn how_many_choices_are_missing_is_told_only_where_their_number_is_stated() {
    let missing = |answer: &Answer, written: &str| {
        let (value, kept) = answer.read(written).unwrap();
        answer.missing(&kept, &Arc::new(Facts { answer: Some(value), ..Facts::default() }))
    };
    let head = "question: Which three?\nform: choices\nchoices: {a: A, b: B, c: C, d: D}\n";
    for is in ["[a, b, d]", "'true ? [\"a\", \"b\", \"d\"] : [\"c\"]'"] {
        let stated = asked(&format!("{head}is: {is}\ncount: 3"));
        for (written, more) in
            [("b", Some(2)), ("d a", Some(1)), ("a b d", None), ("c", None), ("a c", None), ("a b c d", None)]
        {
            assert_eq!(missing(&stated, written), more, "{is} {written}");
        }
        assert_eq!(missing(&asked(&format!("{head}is: {is}")), "b"), None, "the number is not stated");
    }
    let other = asked(&format!("{head}is: '[\"a\"] + [\"b\"]'\ncount: 3"));
    assert_eq!(missing(&other, "a"), None, "in this cluster another number is right");
}

#[test]
fn what_is_wrong_with_a_question_is_told_with_its_line() {
    let long = "question: Which?\nform: text\ntolerance: 1\nis: [a]";
    for (answer, line, told) in [
        ("question: Which?\nform: tekst\nis: [a]", 11, "unknown variant `tekst`, expected one of `text`"),
        ("question: Which?\nis: [a]", 10, "missing field `form`"),
        ("question: Which?\nform: text\nis: nginx", 12, "nothing here is called \"nginx\""),
        (
            "question: Which?\nform: text\nis: 3",
            12,
            "`is` is an expression; or a number, for the form number",
        ),
        ("question: Which?\nform: number\nis: [a]", 12, "`is` is an expression; or a number"),
        ("question: Which?\nform: text\nis: []", 12, "no answer would be right"),
        (long, 12, "only the form number has one"),
        ("question: Which?\nform: text\nis: [a]\ncount: 2", 13, "only the form choices has it"),
        (
            "question: Which?\nform: choices\nchoices: {a: A, b: B}\nis: [a]\ncount: 2",
            14,
            "`is` names 1 right choices, not 2",
        ),
        (
            "question: Which?\nform: choices\nchoices: {a: A, b: B}\nis: '\"a\" in answer'\ncount: 2",
            14,
            "leave out `count`",
        ),
        (
            "question: Which?\nform: text\nchoices: {a: A, b: B}\nis: [a]",
            11,
            "only the forms choices and order",
        ),
        ("question: Which?\nform: choices\nis: [a]", 11, "this form needs `choices`, two at least"),
        (
            "question: Which?\nform: choices\nchoices: {a: A, x: X}\nis: [a]",
            12,
            "choices are called a, b, c, … up to h, not \"x\"",
        ),
        (
            "question: Which?\nform: choices\nchoices: {a: A, b: B}\nis: [c]",
            13,
            "\"c\" is none of its letters",
        ),
        ("question: Which?\nform: order\ncards: {a: A, b: B}\nis: [a, b]", 13, "in another order than the"),
        (
            "question: Which?\nform: order\nchoices: {a: A, b: B}\nis: [b, a]",
            11,
            "the form order has `cards`",
        ),
        (
            "question: Which?\nform: text\nis: 'object(\"Pood\",\"d\",\"a\").x'",
            12,
            "there is no kind \"Pood\"",
        ),
        ("question: Which?\nform: text\nis: [a]\nhow: no", 13, "unknown key \"how\""),
    ] {
        let faults = read(answer).unwrap_err();
        assert!(
            faults.iter().any(|f| f.starts_with(&format!("lesson.md:{line}: ")) && f.contains(told)),
            "{answer}\n{faults:?}"
        );
    }
}

#[test]
fn the_answer_is_named_where_there_is_one_and_nowhere_else() {
    let with = |key: &str| {
        let text = format!("{HEAD}      question: Which?\n      form: text\n      is: [a]\n{key}{TAIL}");
        parse(&text, Path::new("lesson.md"), &[])
    };
    let hint = "    hints:\n      - {tier: 2, when: 'answer.contains(\"/\")', say: 'Not ${answer}.'}\n";
    assert!(with(hint).is_ok());
    let check = with("    check: 'answer == \"a\"'\n").unwrap_err();
    assert!(check[0].to_string().contains("nothing here is called \"answer\""), "{check:?}");
    let none = format!("{HEAD}{hint}{TAIL}").replace("    answer:\n", "    check: 'true'\n");
    let told = parse(&none, Path::new("lesson.md"), &[]).unwrap_err();
    assert!(told[0].to_string().contains("nothing here is called \"answer\""), "{told:?}");
}

#[test]
fn both_languages_ask_the_same() {
    let ask = |words: &str, korean: &str| {
        let english = format!("{HEAD}{words}{TAIL}");
        let korean = format!("{KOREAN}{korean}---\n## 질문 {{#ask}}\n");
        parse(&english, Path::new("lesson.md"), &[("ko", &korean, Path::new("lesson.ko.md"))])
            .map_err(|all| all[0].to_string())
    };
    let english = "      question: Which?\n      form: order\n      cards: {a: A, b: B}\n      is: [b, a]\n";
    let lesson = ask(english, "      cards: {a: 가, b: 나}\n").unwrap();
    let answer = lesson.steps[0].answer.as_ref().unwrap();
    assert_eq!((answer.question.get("ko"), answer.shown("b a", "ko").as_str()), ("무엇입니까?", "나 → 가"));
    for odd in ["", "      cards: {a: 가}\n", "      choices: {a: 가, b: 나}\n"] {
        assert!(
            ask(english, odd).unwrap_err().contains("the cards of step \"ask\" are not called as in English")
        );
    }
}

#[test]
fn an_answer_proves_a_step_alone_and_is_not_played_by_the_teacher() {
    let lesson = read("question: Which?\nform: text\nis: [a]").unwrap();
    assert!(lesson.steps[0].checks.is_empty());
    let setup = format!("{HEAD}      question: Q\n      form: text\n      is: [a]\n{TAIL}")
        .replace("steps:\n", "setup: [\"answer a\"]\nsteps:\n");
    let told = parse(&setup, Path::new("lesson.md"), &[]).unwrap_err();
    assert!(told[0].to_string().contains("an answer is the learner's own"), "{told:?}");
    let lines = ["kubectl get pods".to_string(), "answer $(kubectl get pods)".to_string()];
    assert_eq!(crate::lines::commands(&lines).len(), 1);
    assert!(!crate::lines::without_shell::needs_shell(&lines));
}
