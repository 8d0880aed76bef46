use super::*;
use crate::graded::Opening;
use crate::practice::met::Met;
use crate::practice::pick::LIMIT;
use crate::practice::record::Practised;
use crate::practice::view::Ask;
use crate::stage::{self, Stage};
use client::testing::{Asked, Scripted, refusal};
use serde_json::json;
use std::path::Path;

/// A namespace that is no drill's: of such a one no API server is asked. A clock that is paused
/// jumps ahead while a test waits for a socket.
const OTHER: &str = "elsewhere";

/// Practice on a cluster without namespaces. The server of the teacher's kubectl accepts
/// connections and answers nothing.
async fn practice(dir: &Path) -> (tokio::net::TcpListener, Crew, Arc<Practice>) {
    let (silent, address) = stage::silent().await;
    let past = stage::answer(|_| Box::pin(std::future::ready(Ok(json!({"revision": 20, "oldest": 1})))));
    let is_of_namespace = |asked: &Asked| asked.line.starts_with("GET /api/v1/namespaces/");
    let server = Scripted::new(move |asked| is_of_namespace(asked).then(|| refusal(404, "NotFound"))?).await;
    let host: Host = Stage::seen_by(server.client, dir, address, past);
    let crew = Crew::new("practice");
    let practice = Practice::new(&crew, host, Opened::default()).unwrap();
    (silent, crew, practice)
}

#[tokio::test]
async fn who_has_met_nothing_is_told_where_to_begin() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, crew, practice) = practice(dir.path()).await;
    for (lang, part) in
        [("en", "Begin with the lesson first-voyage/03"), ("ko", "강의를 마치세요: `lesson first-voyage/03`")]
    {
        let told = practice.answer(Ask::Start { seed: None, skills: vec![] }, lang).await.unwrap_err();
        assert!(told.contains(part), "{told}");
    }
    let view = practice.answer(Ask::Show, "en").await.unwrap();
    assert_eq!((&view["phase"], &view["seed"]), (&json!("none"), &json!(0)));
    let task = || "scale-up".to_string();
    let asks = [Ask::Check, Ask::Hint { task: task() }, Ask::Skip { task: task() }, Ask::Stop, Ask::Solution];
    for ask in asks {
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
    let told = practice.answer(Ask::Start { seed: Some(1), skills: vec![] }, "en").await.unwrap_err();
    assert!(told.contains("newer ropewalk"), "{told}");
    assert_eq!(std::fs::read_to_string(&practice.path).unwrap(), r#"{"format": 9}"#);
    crew.kill();
}

/// What a drill before a restart has made is taken away as soon as the cluster answers.
#[tokio::test(start_paused = true)]
async fn what_an_earlier_process_has_left_is_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, crew, practice) = practice(dir.path()).await;
    let open = Open { namespace: OTHER.into(), revision_before: 7 };
    let mut record = Record { open: Some(open), ..Record::default() };
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
    practice.answer(Ask::Start { seed: Some(1), skills: vec![] }, "en").await.unwrap_err();
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
        let open = Open { namespace: namespace.into(), revision_before: 1 };
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
    let picked = practice.picked(7, &[], &crate::practice::met::Met::default(), &record, clock::now());
    assert_eq!(picked, [0, 2, 4, 6, 8].map(|at: usize| all[at].clone()));
    crew.kill();
}

/// A drill of these tasks that was set up, and the orders that it gets.
fn drill(practice: &Practice, crew: &Crew, tasks: Vec<Drawn>) -> (Arc<Drill>, mpsc::Receiver<Order>) {
    let open = Open { namespace: OTHER.into(), revision_before: 7 };
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
        revision_before: open.revision_before,
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
#[tokio::test]
async fn another_drill_stays_in_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, crew, practice) = practice(dir.path()).await;
    let later = Open { namespace: "drill".into(), revision_before: 9 };
    *practice.record.lock() = Some(Record { open: Some(later.clone()), ..Record::default() });
    assert!(practice.take_away(&Open { namespace: "drill".into(), revision_before: 7 }).await);
    assert_eq!(Record::load(&practice.path).unwrap().open, Some(later));
    crew.kill();
}

/// The teacher's kubectl gets no answer, so the setup would take minutes.
#[tokio::test]
async fn a_drill_that_is_still_prepared_can_be_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, crew, practice) = practice(dir.path()).await;
    let mut changes = practice.changes();
    let asked = practice.clone();
    let rehearse = Ask::Rehearse { task: "scale-up".into(), seed: 1 };
    let begun = tokio::spawn(async move { asked.answer(rehearse, "en").await });
    while practice.drill().is_none() {
        changes.changed().await.unwrap();
    }
    assert!(practice.opened.has_drill(), "no lab begins beside it");
    let told = practice.answer(Ask::Skip { task: "scale-up".into() }, "en").await.unwrap_err();
    assert!(told.contains("still being prepared"), "{told}");
    practice.answer(Ask::Stop, "en").await.unwrap();
    let told = begun.await.unwrap().unwrap_err();
    assert!(told.contains("stopped before it began"), "{told}");
    assert!(!practice.opened.has_drill());
    assert_eq!(Record::load(&practice.path).unwrap().open, None);
    crew.kill();
}

#[tokio::test]
async fn what_cannot_be_read_is_no_learner_who_has_learned_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, crew, practice) = practice(dir.path()).await;
    std::fs::write(practice.host.place().root.join("lessons.json"), "{").unwrap();
    for (lang, part) in [("en", "lessons.json is damaged"), ("ko", "lessons.json 파일이 손상되었습니다")]
    {
        let told = practice.answer(Ask::Start { seed: None, skills: vec![] }, lang).await.unwrap_err();
        assert!(told.contains(part) && !told.contains("first-voyage/03"), "{told}");
    }
    crew.kill();
}

/// The lessons can be read, so there is something to practise; what labs have taught is missing.
#[tokio::test]
async fn a_drill_names_what_could_not_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, crew, practice) = practice(dir.path()).await;
    let root = &practice.host.place().root;
    let mut progress = crate::progress::Progress::default();
    let lesson = practice.library.get("first-voyage/06").unwrap();
    lesson.steps.iter().for_each(|step| progress.step(&lesson.id, &step.id).done = true);
    progress.save(&root.join("lessons.json")).unwrap();
    std::fs::write(root.join("labs.json"), "{").unwrap();
    let mut changes = practice.changes();
    let asked = practice.clone();
    let begun =
        tokio::spawn(async move { asked.answer(Ask::Start { seed: Some(7), skills: vec![] }, "en").await });
    while practice.drill().is_none() {
        changes.changed().await.unwrap();
    }
    for (lang, part) in [("en", "labs.json is damaged"), ("ko", "labs.json 파일이 손상되었습니다")]
    {
        let notices = practice.view(lang).notices;
        assert!(notices.len() == 1 && notices[0].contains(part), "{notices:?}");
    }
    practice.answer(Ask::Stop, "en").await.unwrap();
    begun.await.unwrap().unwrap_err();
    crew.kill();
}

#[tokio::test]
async fn no_drill_begins_while_a_lab_is_being_started() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, crew, practice) = practice(dir.path()).await;
    let starting = practice.opened.try_reserve(Opening::Lab("orphans".into())).unwrap();
    let told = practice.answer(Ask::Start { seed: None, skills: vec![] }, "en").await.unwrap_err();
    assert!(told.contains("the graded lab orphans"), "{told}");
    drop(starting);
    let told = practice.answer(Ask::Start { seed: None, skills: vec![] }, "en").await.unwrap_err();
    assert!(told.contains("nothing to practise yet"), "{told}");
    assert!(
        practice.opened.try_reserve(Opening::Lab("orphans".into())).is_ok(),
        "a start that fails keeps nothing"
    );
    crew.kill();
}

/// A drill whose tasks up to the one at `at` have begun, as the one that is open.
fn running(practice: &Practice, crew: &Crew, ids: &[&str], at: usize) -> (Arc<Drill>, mpsc::Receiver<Order>) {
    let (drill, given) = drill(practice, crew, tasks(practice, ids, &[]));
    for at in 0..=at {
        drill.begin_task(&practice.host, at, Instant::now() + LIMIT);
    }
    *practice.drill.lock() = Some(drill.clone());
    (drill, given)
}

#[tokio::test(start_paused = true)]
async fn a_drill_never_shows_itself_running_without_a_task() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, crew, practice) = practice(dir.path()).await;
    let (drill, _given) = drill(&practice, &crew, tasks(&practice, &["scale-up", "logs"], &[]));
    *practice.drill.lock() = Some(drill.clone());
    let view = practice.view("en");
    assert_eq!((view.phase, view.present(), view.left_s), (Phase::Preparing, "", 0));
    drill.begin_task(&practice.host, 0, Instant::now() + LIMIT);
    let view = practice.view("en");
    assert_eq!((view.phase, view.at, view.present(), view.left_s), (Phase::Running, 0, "scale-up", 120));
    assert!(view.tasks[0].task.contains("Scale it to"), "{:?}", view.tasks[0]);
    assert_eq!((view.tasks[1].outcome, view.tasks[1].task.as_str()), (Outcome::Waiting, ""));
    assert_eq!(view.hints_left, drill.tasks[0].hints.len());
    crew.kill();
}

/// The learner types `skip` while the first task is done and the second one comes.
#[tokio::test(start_paused = true)]
async fn what_was_typed_for_a_task_that_is_over_leaves_the_next_one_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, crew, practice) = practice(dir.path()).await;
    let (drill, mut given) = running(&practice, &crew, &["scale-up", "logs"], 1);
    let task = |id: &str| id.to_string();
    for ask in [Ask::Skip { task: task("scale-up") }, Ask::Hint { task: task("scale-up") }] {
        let told = practice.answer(ask.clone(), "en").await.unwrap_err();
        assert!(told.contains("that task is over already"), "{told}");
        let told = practice.answer(ask, "ko").await.unwrap_err();
        assert!(told.contains("다른 과제로 넘어가서"), "{told}");
    }
    assert!(given.try_recv().is_err(), "no order was given");
    assert!(drill.state().hints.is_empty() && drill.hints_left(0).is_empty());
    let view = practice.answer(Ask::Hint { task: task("logs") }, "en").await.unwrap();
    assert_eq!(view["hints"], json!(["The subcommand is `logs`."]));
    practice.answer(Ask::Hint { task: task("logs") }, "en").await.unwrap();
    let told = practice.answer(Ask::Hint { task: task("logs") }, "en").await.unwrap_err();
    assert!(told.contains("no further hints"), "{told}");
    crew.kill();
}

#[tokio::test(start_paused = true)]
async fn a_skip_leaves_the_task_that_it_names() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, crew, practice) = practice(dir.path()).await;
    let (drill, given) = drill(&practice, &crew, tasks(&practice, &["scale-up", "logs", "quota"], &[]));
    *practice.drill.lock() = Some(drill.clone());
    let mut changes = practice.changes();
    let runs = tokio::spawn(practice.clone().run(drill.clone(), given));
    while drill.state().phase != Phase::Running {
        changes.changed().await.unwrap();
    }
    let skip = || Ask::Skip { task: "scale-up".into() };
    let view = practice.answer(skip(), "en").await.unwrap();
    assert_eq!((&view["at"], &view["tasks"][0]["outcome"]), (&json!(1), &json!("skipped")));
    practice.answer(skip(), "en").await.unwrap_err();
    practice.answer(Ask::Stop, "en").await.unwrap();
    runs.await.unwrap();
    assert_eq!(outcomes(&drill), [Outcome::Skipped, Outcome::Unfinished, Outcome::Waiting]);
    crew.kill();
}

#[tokio::test(start_paused = true)]
async fn a_check_judges_the_present_task_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, crew, practice) = practice(dir.path()).await;
    let (drill, _given) = running(&practice, &crew, &["create-deployment", "quota"], 1);
    // A task without conditions is done; the present one has some.
    let done_first = tasks(&practice, &["create-deployment", "quota"], &[0]);
    let (other, _given) = self::drill(&practice, &crew, done_first);
    other.begin_task(&practice.host, 1, Instant::now() + LIMIT);
    assert!(other.is_done(0, Duration::ZERO).await && !other.is_done(1, Duration::ZERO).await);
    drill.judge_conditions(0);
    assert!(drill.state().checks.is_empty(), "they are of the task before");
    let view = practice.answer(Ask::Check, "en").await.unwrap();
    let checks = view["checks"].as_array().unwrap();
    assert!(checks.len() == 1 && checks[0]["met"] == false, "{view}");
    let told = practice.answer(Ask::Solution, "en").await.unwrap_err();
    assert!(told.contains("does not tell its solutions"), "{told}");
    crew.kill();
}

/// A directory stands where the record has to be.
#[tokio::test(start_paused = true)]
async fn a_result_that_cannot_be_written_promises_no_day_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, crew, practice) = practice(dir.path()).await;
    let (drill, _given) = running(&practice, &crew, &["scale-up"], 0);
    std::fs::create_dir(&practice.path).unwrap();
    practice.note(&drill, 0, None);
    drill.state().phase = Phase::Finished;
    let view = practice.view("en");
    assert_eq!((view.tasks[0].outcome, &view.tasks[0].due), (Outcome::Done, &None));
    assert!(view.notices[0].contains("practice.json"), "{:?}", view.notices);
    assert!(practice.view("ko").notices[0].contains("마지막 결과를 기록하지 못했습니다"));
    std::fs::remove_dir(&practice.path).unwrap();
    practice.note(&drill, 0, None);
    let view = practice.view("en");
    assert!(view.tasks[0].due.is_some() && view.notices.is_empty(), "{view:?}");
    crew.kill();
}

/// The first task shows what it is about after fifty seconds, the second one never.
#[tokio::test(start_paused = true)]
async fn all_tasks_together_have_a_minute_to_become_ready() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, crew, practice) = practice(dir.path()).await;
    clock::pin("2026-03-01T10:00:00Z".parse().unwrap());
    let after = |time: &str| {
        let source = format!("now > timestamp(\"{time}\")");
        Some(crate::cel::Expr::compile(&source, crate::cel::Use::Check, &[]).unwrap())
    };
    let mut all = tasks(&practice, &["scale-up", "logs"], &[]);
    all[0].ready_when = after("2026-03-01T10:00:50Z");
    all[1].ready_when = after("2999-01-01T00:00:00Z");
    let (drill, _given) = drill(&practice, &crew, all);
    let began = Instant::now();
    let told = begin::await_ready(&drill, "en").await.unwrap_err();
    assert!(told.contains("logs"), "{told}");
    assert!((60..70).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    crew.kill();
}

#[tokio::test]
async fn a_drill_of_named_skills_asks_for_these_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (_silent, crew, practice) = practice(dir.path()).await;
    let skills = ["exec".to_string()];
    let (met, mut record) = (Met::default(), Record::default());
    record.remember(7, vec!["scale-up".into()]);
    let mut picked = practice.picked(7, &skills, &met, &record, clock::now());
    picked.sort();
    assert_eq!(picked, ["exec", "exec-second"], "nothing was met, and the seed is known");
    assert_eq!(practice.picked(7, &[], &met, &record, clock::now()), ["scale-up"]);
    let unknown = Ask::Start { seed: None, skills: vec!["swim".into()] };
    let told = practice.answer(unknown, "en").await.unwrap_err();
    assert!(told.contains("there is no skill swim"), "{told}");
    crew.kill();
}
