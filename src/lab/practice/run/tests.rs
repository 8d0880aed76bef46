use super::*;
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
