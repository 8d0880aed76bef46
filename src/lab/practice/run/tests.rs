use super::*;
use crate::practice::pick::LIMIT;
use crate::practice::record::Practised;
use crate::stage::{self, Stage};
use std::path::Path;

/// Practice beside an API server that accepts connections and answers nothing.
async fn practice(dir: &Path) -> (tokio::net::TcpListener, Crew, Arc<Practice>) {
    let (silent, address) = stage::silent().await;
    let past = stage::answer(|_| Box::pin(std::future::ready(Ok(json!({"revision": 20, "oldest": 1})))));
    let host: Host = Stage::new(dir, address, past).await;
    let crew = Crew::new("practice");
    let practice = Practice::new(&crew, host, Opened::default()).unwrap();
    (silent, crew, practice)
}

#[tokio::test]
async fn who_has_met_nothing_is_told_where_to_begin() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, crew, practice) = practice(dir.path()).await;
    for (lang, part) in [("en", "Begin with the lesson first-voyage/03"), ("ko", "first-voyage/03")] {
        let told = practice.answer(Ask::Start { seed: None }, lang).await.unwrap_err();
        assert!(told.contains(part), "{told}");
    }
    let view = practice.answer(Ask::Show, "en").await.unwrap();
    assert_eq!((&view["phase"], &view["seed"]), (&json!("none"), &json!(0)));
    for ask in [Ask::Check, Ask::Hint, Ask::Skip, Ask::Stop, Ask::Solution] {
        let told = practice.answer(ask, "en").await.unwrap_err();
        assert!(told.contains("no drill is open"), "{told}");
    }
    crew.kill();
}

#[tokio::test]
async fn a_record_of_a_newer_program_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, crew, practice) = practice(dir.path()).await;
    std::fs::write(&practice.path, r#"{"format": 9}"#).unwrap();
    let told = practice.answer(Ask::Start { seed: Some(1) }, "en").await.unwrap_err();
    assert!(told.contains("newer ropewalk"), "{told}");
    assert_eq!(std::fs::read_to_string(&practice.path).unwrap(), r#"{"format": 9}"#);
    crew.kill();
}

/// What a drill before a restart has made is taken away as soon as the cluster answers.
#[tokio::test(start_paused = true)]
async fn what_an_earlier_process_has_left_is_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, crew, practice) = practice(dir.path()).await;
    let mut record = Record { open: Some(Open { namespace: "drill".into(), base: 7 }), ..Record::default() };
    record.note("scale", true, None, clock::now());
    record.save(&practice.path).unwrap();
    practice.clone().sweep().await;
    let kept = Record::load(&practice.path).unwrap();
    assert_eq!(kept.open, None);
    assert!(matches!(kept.skills.get("scale"), Some(Practised { done: 1, .. })), "nothing else is lost");
    crew.kill();
}

/// The start of the cluster reads the record, long before a learner begins a drill.
#[tokio::test(start_paused = true)]
async fn a_damaged_record_is_remembered_until_a_drill_tells_it() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, crew, practice) = practice(dir.path()).await;
    std::fs::write(&practice.path, "{").unwrap();
    practice.clone().sweep().await;
    let aside = vec![practice.path.with_extension("json.damaged")];
    assert!(aside[0].exists() && !practice.path.exists());
    assert_eq!(*practice.aside.lock(), aside);
    practice.answer(Ask::Start { seed: Some(1) }, "en").await.unwrap_err();
    assert_eq!(*practice.aside.lock(), aside, "a drill that did not begin has told nothing");
    crew.kill();
}

/// The record is a file, which may be another cluster's.
#[tokio::test(start_paused = true)]
async fn a_namespace_that_no_drill_makes_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, address) = stage::silent().await;
    let past = stage::answer(|_| panic!("it must not go back"));
    let host: Host = Stage::new(dir.path(), address, past).await;
    let crew = Crew::new("practice");
    let practice = Practice::new(&crew, host, Opened::default()).unwrap();
    for namespace in ["default", "kube-system", "drill --all", "drill-5", ""] {
        let open = Open { namespace: namespace.into(), base: 1 };
        *practice.record.lock() = Some(Record { open: Some(open.clone()), ..Record::default() });
        practice.take_away(&open).await;
        assert_eq!(Record::load(&practice.path).unwrap().open, None, "{namespace}");
    }
    crew.kill();
}

#[tokio::test]
async fn a_seed_of_the_record_has_no_task_twice_and_not_more_than_a_drill() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, crew, practice) = practice(dir.path()).await;
    let all = practice.table.skills.iter().flat_map(|skill| &skill.tasks).map(|task| task.id.clone());
    let all: Vec<String> = all.flat_map(|id| [id.clone(), id]).collect();
    let mut record = Record::default();
    record.remember(7, all.clone());
    let picked = practice.picked(7, &crate::practice::met::Met::default(), &record, clock::now());
    assert_eq!(picked, [0, 2, 4, 6, 8].map(|at: usize| all[at].clone()));
    crew.kill();
}

/// A drill of these tasks that was set up, and the orders that it gets.
fn drill(practice: &Practice, crew: &Crew, tasks: Vec<Drawn>) -> (Arc<Drill>, mpsc::Receiver<Order>) {
    let open = Open { namespace: "drill".into(), base: 7 };
    *practice.record.lock() = Some(Record { open: Some(open.clone()), ..Record::default() });
    let crew = crew.part();
    let world = World::start(&crew, &practice.host).unwrap();
    let (orders, given) = mpsc::channel(ORDERS_MAX);
    let results = vec![TaskResult::default(); tasks.len()];
    let state = Mutex::new(DrillState { phase: Phase::Preparing, results, ..DrillState::default() });
    let met = vec![None; tasks.len()];
    let drill = Drill {
        seed: 7,
        namespace: open.namespace,
        base: open.base,
        limit: LIMIT,
        tasks,
        met,
        is_rehearsal: false,
        state,
        orders,
        world,
        crew,
    };
    (Arc::new(drill), given)
}

/// Tasks of the table; those at `done` have no conditions, so each of them is done at once.
fn tasks(practice: &Practice, ids: &[&str], done: &[usize]) -> Vec<Drawn> {
    let mut tasks: Vec<Drawn> = ids.iter().map(|id| practice.table.draw(id, "drill", 7).unwrap()).collect();
    done.iter().for_each(|at| tasks[*at].checks.clear());
    tasks
}

fn outcomes(drill: &Drill) -> Vec<Outcome> {
    drill.state().results.iter().map(|result| result.outcome).collect()
}

/// Done, done with the last hint, and open when the time is over.
#[tokio::test(start_paused = true)]
async fn a_drill_notes_what_was_done_and_not_what_was_open_at_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, crew, practice) = practice(dir.path()).await;
    let all = tasks(&practice, &["scale-up", "logs", "quota"], &[0, 1]);
    let last_hint = all[1].hints.len() - 1;
    let (drill, given) = drill(&practice, &crew, all);
    let mut changes = practice.changes();
    let running = tokio::spawn(practice.clone().run(drill.clone(), given));
    while drill.state().at != 1 {
        changes.changed().await.unwrap();
    }
    drill.state().hints.push(last_hint);
    while drill.state().at != 2 {
        changes.changed().await.unwrap();
    }
    // Meant for the first task, which is over.
    drill.orders.send(Order { at: 0, act: Act::Skip }).await.unwrap();
    running.await.unwrap();
    assert_eq!(drill.state().phase, Phase::TimeOver);
    assert_eq!(outcomes(&drill), [Outcome::Done, Outcome::Helped, Outcome::Unfinished]);
    let kept = Record::load(&practice.path).unwrap();
    let noted = |id: &str| kept.skills.get(id).map(|p| (p.done, p.missed, p.failed, p.helped));
    assert_eq!(noted("scale"), Some((1, 0, false, false)));
    assert_eq!(noted("logs"), Some((0, 0, true, true)));
    assert_eq!((noted("quota"), kept.open), (None, None));
    crew.kill();
}

#[tokio::test(start_paused = true)]
async fn a_second_skip_for_the_same_task_leaves_the_next_one_open() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, crew, practice) = practice(dir.path()).await;
    let all = tasks(&practice, &["scale-up", "logs", "quota"], &[]);
    let (drill, given) = drill(&practice, &crew, all);
    for (at, act) in [(0, Act::Skip), (0, Act::Skip), (1, Act::Stop)] {
        drill.orders.send(Order { at, act }).await.unwrap();
    }
    practice.clone().run(drill.clone(), given).await;
    assert_eq!(drill.state().phase, Phase::Stopped);
    assert!(!practice.opened.has_drill());
    assert_eq!(outcomes(&drill), [Outcome::Skipped, Outcome::Unfinished, Outcome::Waiting]);
    let kept = Record::load(&practice.path).unwrap();
    let missed: Vec<(&str, u32)> = kept.skills.iter().map(|(id, p)| (id.as_str(), p.missed)).collect();
    assert_eq!(missed, [("scale", 1)]);
    crew.kill();
}

/// The end of an earlier drill must not make the record forget a later one.
#[tokio::test(start_paused = true)]
async fn another_drill_stays_in_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, crew, practice) = practice(dir.path()).await;
    let later = Open { namespace: "drill".into(), base: 9 };
    *practice.record.lock() = Some(Record { open: Some(later.clone()), ..Record::default() });
    practice.take_away(&Open { namespace: "drill".into(), base: 7 }).await;
    assert_eq!(Record::load(&practice.path).unwrap().open, Some(later));
    crew.kill();
}

/// The teacher's kubectl gets no answer, so the setup would take minutes.
#[tokio::test]
async fn a_drill_that_is_still_prepared_can_be_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, address) = stage::silent().await;
    let past = stage::answer(|_| Box::pin(std::future::ready(Ok(json!({"revision": 20, "oldest": 1})))));
    let missing =
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404});
    let no_namespace = move |asked: &client::testing::Asked| {
        asked.line.contains("/namespaces/drill").then(|| (404, missing.clone()))
    };
    let client = client::testing::Scripted::new(no_namespace).await.client;
    let host: Host = Stage::seen_by(client, dir.path(), address, past);
    let crew = Crew::new("practice");
    let practice = Practice::new(&crew, host, Opened::default()).unwrap();
    let mut changes = practice.changes();
    let asked = practice.clone();
    let rehearse = Ask::Rehearse { task: "scale-up".into(), seed: 1 };
    let begun = tokio::spawn(async move { asked.answer(rehearse, "en").await });
    while practice.drill().is_none() {
        changes.changed().await.unwrap();
    }
    assert!(practice.opened.has_drill(), "no lab begins beside it");
    let told = practice.answer(Ask::Skip, "en").await.unwrap_err();
    assert!(told.contains("still being prepared"), "{told}");
    practice.answer(Ask::Stop, "en").await.unwrap();
    let told = begun.await.unwrap().unwrap_err();
    assert!(told.contains("stopped before it began"), "{told}");
    assert!(!practice.opened.has_drill());
    assert_eq!(Record::load(&practice.path).unwrap().open, None);
    crew.kill();
}
