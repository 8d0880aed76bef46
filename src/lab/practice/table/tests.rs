use super::*;
use crate::cel::facts::{self, Facts, Object};
use crate::format::Library;
use crate::graded::read::Labs;
use crate::lines;
use crate::playable;
use crate::practice::drawn::Drawn;
use serde_json::json;
use std::collections::BTreeSet;

fn tasks(table: &SkillTable) -> impl Iterator<Item = &Task> {
    table.skills.iter().flat_map(|skill| &skill.tasks)
}

#[test]
fn the_table_in_the_binary_is_sound() {
    let table = SkillTable::built_in();
    assert_eq!(table.faults, []);
    assert!(table.skills.len() >= 12, "{}", table.skills.len());
    let (mut skills, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for skill in &table.skills {
        assert!(skills.insert(&skill.id), "two skills {}", skill.id);
        assert!(!skill.tasks.is_empty(), "{}", skill.id);
    }
    for task in tasks(&table) {
        assert!(ids.insert(&task.id), "two tasks {}", task.id);
        assert!(
            !task.checks.is_empty() && !task.solution.is_empty() && !task.wrong.is_empty(),
            "{}",
            task.id
        );
        assert!(task.hints.len() >= 2, "{}", task.id);
        assert!((10..=60).contains(&task.seconds), "{}", task.id);
    }
}

#[test]
fn a_hint_of_every_task_needs_a_condition() {
    let read = |when: &str| {
        let text = format!("hints:\n  - {{{when}say: {{en: Look., ko: 보세요.}}}}\nskills: []\n");
        SkillTable::read(&text).faults
    };
    assert_eq!(read("when: 'true', "), []);
    let faults = read("");
    assert!(faults.len() == 1 && faults[0].what.contains("needs `when`"), "{faults:?}");
}

#[test]
fn each_skill_names_lessons_and_labs_that_exist() {
    let (library, labs) = (Library::built_in(), Labs::built_in());
    for skill in &SkillTable::built_in().skills {
        assert!(skill.lessons.len() + skill.labs.len() > 0, "{}", skill.id);
        for lesson in &skill.lessons {
            assert!(library.get(lesson).is_some(), "{}: {lesson}", skill.id);
        }
        for lab in &skill.labs {
            assert!(labs.get(lab).is_some(), "{}: {lab}", skill.id);
        }
    }
}

/// Every value of every task compiles, fills all texts in both languages, and can be played by the
/// teacher.
#[test]
fn each_task_can_be_drawn() {
    let table = SkillTable::built_in();
    for task in tasks(&table) {
        for seed in 1..=12 {
            let drawn = table.draw(&task.id, "drill", seed).unwrap_or_else(|faults| panic!("{faults:?}"));
            assert_eq!(drawn.exprs().len(), task.checks.len(), "{}", task.id);
            for lang in ["en", "ko"] {
                let text = drawn.task.get(lang);
                assert!(!text.is_empty() && !text.contains("{{"), "{}: {text}", task.id);
                assert!(text.chars().count() <= 220, "{}: {text}", task.id);
            }
            assert_ne!(drawn.task.get("en"), drawn.task.get("ko"), "{}", task.id);
            assert_eq!(drawn.also.len(), task.also.len(), "{}", task.id);
            for (line, _) in lines::commands(&drawn.setup) {
                assert_eq!(playable::unplayable(&line), None, "{}: {line}", task.id);
            }
        }
    }
}

/// A Deployment that was scaled to nothing has all the pods that it asks for.
#[test]
fn a_deployment_without_pods_is_no_solution() {
    let table = SkillTable::built_in();
    let asks = "ready(object(\"Deployment\", v.ns, v.app))";
    let mut judged = 0;
    for task in tasks(&table) {
        // Where another condition tells the number, none is no answer already.
        let tells_number = |check: &Check| {
            check
                .expect
                .as_ref()
                .is_some_and(|part| part.get("spec").is_some_and(|s| s["replicas"] != Value::Null))
        };
        if task.checks.iter().any(tells_number) {
            continue;
        }
        let drawn = table.draw(&task.id, "drill", 7).unwrap();
        let facts = scaled_to_nothing(&drawn);
        for (check, expr) in task.checks.iter().zip(drawn.exprs()) {
            if check.is.as_ref().is_some_and(|is| is.contains(asks)) {
                assert_eq!(expr.truth(&facts), Some(false), "{}: {:?}", task.id, check.that);
                judged += 1;
            }
        }
    }
    assert!(judged >= 7, "{judged}");
}

/// The Deployment that a task is about, with no pod and none wanted.
fn scaled_to_nothing(drawn: &Drawn) -> Arc<Facts> {
    let app = drawn.value("app").and_then(Value::as_str).unwrap();
    let mut facts = Facts { variant: Some(drawn.variant()), ..Facts::default() };
    for kind in ["Deployment", "ReplicaSet", "Pod", "Service", "Node"] {
        facts.objects.insert(facts::kind(kind).unwrap().qualified(), Arc::default());
    }
    let deployment = json!({"kind": "Deployment", "metadata": {"namespace": "drill", "name": app},
        "spec": {"replicas": 0, "template": {"spec": {"containers": [{"image": "nginx"}]}}}, "status": {}});
    let all = facts.objects.get_mut(&facts::kind("Deployment").unwrap().qualified()).unwrap();
    Arc::make_mut(all).insert(("drill".into(), app.into()), Object::new(deployment));
    Arc::new(facts)
}

/// Tasks of one drill share a namespace: none of them uses another's names.
#[test]
fn no_two_tasks_draw_the_same_name() {
    let table = SkillTable::built_in();
    let mut names = BTreeSet::new();
    for task in tasks(&table) {
        let (_, app) = task.values.iter().find(|(key, _)| key == "app").expect("a name");
        let Choice::Pick(app) = app else { panic!("{}: names are picked", task.id) };
        assert!(app.len() >= 3, "{}", task.id);
        for name in app {
            assert!(names.insert(name.to_string()), "{}: {name} is another task's", task.id);
        }
    }
}

#[test]
fn a_seed_repeats_the_values_of_a_task() {
    let table = SkillTable::built_in();
    let told = |seed| table.draw("scale-up", "drill", seed).unwrap().task.get("en").to_string();
    assert_eq!(told(7), told(7));
    assert!((1..50).any(|seed| told(seed) != told(7)));
    let drawn = table.draw("logs", "drill-2", 7).unwrap();
    let number = |key: &str| drawn.value(key).and_then(Value::as_i64).unwrap();
    let code = (number("a") * number("b")).to_string();
    assert_eq!(drawn.value("code").and_then(Value::as_str), Some(code.as_str()));
    assert!(drawn.task.get("en").contains("-n drill-2"));
    assert!(table.draw("no-such-task", "drill", 1).is_err());
}
