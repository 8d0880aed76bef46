//! An engine without a cluster.

use super::*;
use crate::cel::facts::Object;
use crate::cel::{Expr, Use, value};
use crate::format::EN;
use crate::observe::probe_answers::ASKING_MAX;
use crate::progress;
use serde_json::json;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use tap::{Event, Record, Write};

/// An engine with the first lesson of the fixtures open, two hints of which were asked for in
/// an earlier sitting.
pub(crate) fn engine() -> Engine {
    let library = Library::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures"));
    let lesson = Arc::new(library.lessons[0].clone());
    let mut progress = Progress::default();
    progress.step(&lesson.id, "run").hints = vec!["help".into(), "pull".into()];
    let open = Open::new(lesson, 0, Memory::default());
    let offers = Offers { own: true, workers: 1, control_planes: 1 };
    let library: Lazily<Library> = LazyLock::new(Box::new(|| library.into()));
    Engine { progress, open: Some(open), ..Engine::new(library, PathBuf::new(), offers) }
}

/// A cluster without a learner does not read the lessons: that takes as long as half its start.
#[test]
fn without_packs_the_lessons_are_not_read_to_show_that_none_is_open() {
    let read = Arc::new(AtomicBool::new(false));
    let reads = read.clone();
    let library: Lazily<Library> = LazyLock::new(Box::new(move || {
        reads.store(true, Ordering::Relaxed);
        Library::read(Path::new("/nowhere")).into()
    }));
    let offers = Offers { own: true, workers: 1, control_planes: 1 };
    let mut engine = Engine { has_packs: false, ..Engine::new(library, PathBuf::new(), offers) };
    assert_eq!(engine.view("en").notices, Vec::<String>::new());
    assert!(!read.load(Ordering::Relaxed));
    engine.has_packs = true;
    assert!(engine.view("en").notices[0].contains("/nowhere"), "a pack's fault is told");
}

#[test]
fn how_far_a_setup_is_can_be_seen() {
    let mut engine = engine();
    let told = |engine: &Engine| engine.view("en").notices.iter().any(|n| n.contains("command 3 of 7"));
    assert!(!told(&engine));
    engine.playing = Some((3, 7));
    assert!(told(&engine));
    engine.open = None;
    assert!(told(&engine), "also before any lesson is open");
}

#[test]
fn the_lesson_that_is_being_prepared_is_named() {
    let mut engine = engine();
    engine.preparing = Some("first-voyage/04".into());
    for (lang, before, meanwhile) in [
        ("en", "Lesson first-voyage/04 (", "is being prepared: command 3 of 7 is running"),
        ("ko", "first-voyage/04 (", "강의를 준비하고 있습니다. 명령 3/7 실행 중"),
    ] {
        let told = |engine: &Engine| engine.view(lang).notices.first().cloned().unwrap_or_default();
        engine.playing = None;
        assert!(told(&engine).starts_with(before), "{}", told(&engine));
        assert_eq!(engine.view(lang).preparing.as_deref(), Some("first-voyage/04"));
        engine.playing = Some((3, 7));
        assert!(told(&engine).starts_with(before) && told(&engine).contains(meanwhile), "{}", told(&engine));
    }
}

/// A pack's author has written one that would run for hours.
#[test]
fn an_expression_that_takes_too_long_is_told_and_the_engine_goes_on() {
    let mut engine = engine();
    let pods = "objects('Pod', '*')";
    let source = format!("{pods}.all(a, {pods}.all(b, {pods}.all(c, a.x + b.x == c.x)))");
    let pod = |n: i32| {
        let object = Object::new(json!({"kind": "Pod", "x": 0}));
        (("default".to_string(), format!("web-{n}")), object)
    };
    let objects = (0..1_000).map(pod).collect();
    engine.take_report(Report::list("pods", objects, 7));
    let open = engine.open.as_mut().unwrap();
    let step = &mut Arc::make_mut(&mut open.lesson).steps[0];
    step.checks[0].is = Expr::compile(&source, Use::Check, &[]).unwrap();
    engine.settle();
    for (lang, words) in
        [("en", "An expression of step “Run it” cannot be evaluated"), ("ko", "“실행하기” 단계의 식")]
    {
        let notices = engine.view(lang).notices;
        let told = |n: &String| n.contains(words) && n.contains(&source[..40]);
        assert!(notices.iter().any(told), "{notices:?}");
    }
    let objects = (0..3).map(pod).collect();
    engine.take_report(Report::list("pods", objects, 8));
    engine.settle();
    assert!(engine.memo.stopped().is_empty(), "with fewer pods it has a value");
}

#[test]
fn a_line_of_the_learners_own_is_no_solution_any_more() {
    let mut engine = engine();
    engine.solving = true;
    let line = engine.library.lessons[0].steps[0].solution[0].clone();
    engine.typed(line);
    assert!(engine.solving);
    engine.typed("kubectl get pods".into());
    assert!(!engine.solving, "the solution is over, although nobody said so");
}

/// `goto` of an early lesson takes away what a later one has made: that one is set up again,
/// and what was once done stays done.
#[test]
fn a_way_back_beyond_a_lesson_has_it_set_up_again() {
    let mut engine = engine();
    let open = engine.open.as_ref().unwrap().lesson.id.clone();
    for lesson in ["t/12", open.as_str()] {
        engine.progress.lesson(lesson).set_up = true;
        *engine.progress.step(lesson, "a") =
            progress::Step { state: State::Done, done: true, since: 8, ..progress::Step::default() };
    }
    engine.progress.note_made("deployments.apps/default/web", 7, Some("t/12"));
    engine.progress.note_made("pods/default/own", 7, Some(&open));
    for (resource, name) in [("deployments", "web"), ("pods", "own")] {
        let write = Write { journey: Some(tap::Journey::Rewind(4)), ..Write::UPDATED };
        let record = Record::new(Event::Commit(write)).object(resource, "default", name);
        let mut record = record.revision(20);
        record.request = Some(tap::Request { user: tap::TEACHER.into(), ..Default::default() });
        engine.record(&record);
    }
    let noted = |lesson: &str| {
        let step = engine.progress.noted_step(lesson, "a").unwrap();
        (engine.progress.lessons[lesson].set_up, step.state, step.done)
    };
    assert_eq!(noted("t/12"), (false, State::Open, true));
    assert_eq!(noted(&open), (true, State::Done, true), "the open one begins anew by itself");
}

/// A record of each request: at revision 5 that of the set-up, at 9 that of the learner.
fn requests() -> Vec<Arc<Record>> {
    let of = |(id, revision): (&str, u64)| {
        let mut record = Record::new(Event::Commit(Write::UPDATED)).object("pods", "d", "p");
        record = record.revision(revision);
        record.request = Some(tap::Request { id: id.into(), ..Default::default() });
        Arc::new(record)
    };
    [("set-up", 5), ("made", 9)].into_iter().map(of).collect()
}

#[test]
fn a_step_of_an_older_program_goes_on_with_what_came_after_its_revision() {
    let mut engine = engine();
    let id = engine.open.as_ref().unwrap().lesson.id.clone();
    engine.progress.step(&id, "run").since = 5;
    engine.take_up(&id, "run", &requests());
    let noted = engine.progress.noted_step(&id, "run").unwrap();
    assert!(noted.since == 5 && !noted.at.is_empty(), "what logs say is new from now on");
    let told: Vec<&str> =
        engine.observer.recorder.trace.iter().map(|record| value::str_field(record, "request")).collect();
    assert_eq!(told, ["made"]);
}

/// The learner opens the lesson that could not go on after the restart, and leaves it.
#[test]
fn a_lesson_that_could_not_go_on_is_told_until_one_is_opened() {
    let mut engine = engine();
    let lesson = engine.open.take().unwrap().lesson;
    let refused = cluster::Refusal::NoAnswer { why: "refused".into() };
    engine.unresumed = Some((lesson.id.clone(), refused.into()));
    let says = |engine: &Engine, lang: &str, words: &str| {
        engine.view(lang).notices.iter().any(|notice| notice.contains(words))
    };
    let told = |engine: &Engine| says(engine, "en", "no API server answers");
    assert!(told(&engine) && says(&engine, "ko", "응답하는 API 서버가 없습니다"));
    engine.take_up(&lesson.id, "run", &[]);
    assert!(!told(&engine), "none is open again");
}

/// The machine is busy, and the next answer takes longer than the last one may be old.
#[tokio::test(start_paused = true)]
async fn an_answer_counts_until_the_next_one_comes() {
    let mut engine = engine();
    let probe = Probe::Logs { target: "d/a".into() };
    engine.observer.answers.take(0, probe.clone(), None, value::text("x"));
    tokio::time::advance(STALE + Duration::from_millis(100)).await;
    assert!(engine.facts().answers.is_empty(), "nobody asks any more");
    engine.observer.answers.ask(&probe, RENEW, Instant::now());
    assert!(engine.facts().answers.contains_key(&probe));
    tokio::time::advance(ASKING_MAX + Duration::from_millis(100)).await;
    assert!(engine.facts().answers.is_empty(), "whatever was asked has ended without an answer");
    let mut needs = Needs::default();
    let wanted = Wanted { probes: [probe.clone()].into(), ..Wanted::default() };
    engine.see_to(wanted, Instant::now(), &mut needs);
    assert_eq!(needs.probes, [probe], "it is asked anew");
}

/// The learner acts, or goes elsewhere, while a question is on its way.
#[test]
fn what_is_forgotten_is_asked_anew_and_its_late_answer_does_not_count() {
    let log = |target: &str| Probe::Logs { target: target.into() };
    // A jump puts the objects back: what the network said of them before counts no more.
    let ways: [fn(&mut Engine); 3] = [
        |engine| engine.observer.answers.forget(),
        |engine| engine.move_to(LessonScope::default()),
        |engine| engine.begin_step(),
    ];
    for forget in ways {
        let mut engine = engine();
        engine.observer.answers.ask(&log("d/a"), RENEW, Instant::now());
        assert!(engine.observer.answers.take(0, log("d/b"), None, value::text("old")));
        forget(&mut engine);
        assert!(!engine.observer.answers.is_waiting() && engine.facts().answers.is_empty());
        engine.observer.answers.ask(&log("d/a"), RENEW, Instant::now());
        assert!(!engine.observer.answers.take(0, log("d/a"), None, value::text("from before")));
        assert!(
            engine.observer.answers.is_asking(&log("d/a"), Instant::now())
                && engine.facts().answers.is_empty()
        );
        assert!(engine.observer.answers.take(
            engine.observer.answers.era(),
            log("d/a"),
            None,
            value::text("new")
        ));
        assert_eq!(engine.facts().answers[&log("d/a")], value::text("new"));
    }
}

/// Also where the log is first read after the learner has acted, and after a restart of the
/// program.
#[test]
fn what_a_log_said_before_the_step_began_is_not_new() {
    let mut engine = engine();
    let lesson = engine.open.as_ref().unwrap().lesson.id.clone();
    engine.progress.step(&lesson, "run").at = "2026-11-22T16:00:09.000000000Z".into();
    engine.typed("curl localhost:30080".into());
    let log = "2026-11-22T16:00:08Z old line\n2026-11-22T16:00:10Z new line\n";
    engine.observer.answers.take(0, Probe::Logs { target: "d/web".into() }, None, value::text(log));
    let is = |source: &str| Expr::compile(source, Use::Check, &[]).unwrap().holds(&engine.facts());
    assert!(is("new_logs('d/web').contains('new') && !new_logs('d/web').contains('old')"));
}

/// A step that is done is judged no more, and so no check asks for what proves its prediction's
/// answer.
#[test]
fn what_a_proof_lacks_is_asked_for() {
    let mut engine = engine();
    let open = engine.open.as_mut().unwrap();
    let id = open.lesson.id.clone();
    let because = Expr::compile("logs('d/web').contains('GET')", Use::Check, &[]).unwrap();
    Arc::make_mut(&mut open.lesson).steps[0].predict.as_mut().unwrap().because = Some(because);
    engine.progress.step(&id, "run").state = State::Done;
    let log = Probe::Logs { target: "d/web".into() };
    assert_eq!(engine.proof().because, Some(false));
    assert_eq!(engine.settle().0.probes, std::slice::from_ref(&log));
    engine.observer.answers.take(0, log, None, value::text("2026-11-22T16:00:10Z GET /\n"));
    assert_eq!(engine.proof().because, Some(true));
}

/// `web` of another kind, group or namespace is not what the lesson is about, and is never
/// taken away without a question.
#[test]
fn what_a_lesson_made_is_known_by_group_kind_namespace_and_name() {
    let mut engine = engine();
    let mut make = |resource: &str, version: &str, namespace: &str| {
        let body = json!({"apiVersion": version, "metadata": {"namespace": namespace, "name": "nginx-pod"}});
        let record = Record::new(Event::Commit(Write::CREATED)).object(resource, namespace, "nginx-pod");
        let mut record = record.revision(7);
        record.body = Some(body.to_string().into());
        record.request = Some(tap::Request { user: "learner".into(), ..Default::default() });
        engine.note_made(&record);
    };
    make("configmaps", "v1", "default");
    make("pods", "v1", "shop");
    make("pods", "example.com/v1", "default");
    make("pods", "v1", "default");
    let made: Vec<&String> = engine.progress.lessons.values().flat_map(|l| l.made.keys()).collect();
    assert_eq!(made, ["pods/default/nginx-pod"]);
}

#[test]
fn an_optional_step_leaves_no_lesson_unfinished() {
    let mut engine = engine();
    let library = Arc::make_mut(&mut engine.library);
    library.lessons.truncate(1);
    let (id, steps) = {
        let lesson = &mut library.lessons[0];
        lesson.steps[0].optional = true;
        (lesson.id.clone(), lesson.steps.iter().skip(1).map(|s| s.id.clone()).collect::<Vec<_>>())
    };
    for step in steps {
        engine.progress.step(&id, &step).done = true;
    }
    assert_eq!(engine.unfinished(), None);
    Arc::make_mut(&mut engine.library).lessons[0].steps[0].optional = false;
    assert_eq!(engine.unfinished(), Some(id));
}

#[test]
fn a_lesson_has_its_own_clock_while_it_is_open_and_says_so() {
    let mut engine = engine();
    Arc::make_mut(&mut engine.library).faults.clear(); // its notice would be the first one
    assert_eq!((engine.scale(), engine.view(EN).notices), (None, vec![]));
    let lesson = Arc::make_mut(&mut engine.open.as_mut().unwrap().lesson);
    lesson.clock = 20;
    let (id, last) = (lesson.id.clone(), lesson.steps.len() - 1);
    let step = lesson.steps[last].id.clone();
    assert_eq!(engine.scale(), Some(20));
    for (lang, words) in [(EN, "5 minutes take 15 seconds"), ("ko", "5분이 15초")] {
        let notices = engine.view(lang).notices;
        assert!(notices[0].contains("20") && notices[0].contains(words), "{notices:?}");
    }
    engine.offers.own = false;
    assert_eq!((engine.scale(), engine.view(EN).clock), (None, None));
    assert!(engine.view(EN).notices[0].contains("real time"), "another's cluster has its own clock");
    engine.offers.own = true;
    engine.open.as_mut().unwrap().step = last;
    assert_eq!(engine.scale(), Some(20));
    engine.progress.step(&id, &step).state = State::Done;
    assert_eq!(engine.scale(), None, "the lesson is over");
    engine.open = None;
    assert_eq!(engine.scale(), None);
}

#[test]
fn a_lesson_tells_its_clock_above_one_step() {
    let mut engine = engine();
    let id = {
        let open = engine.open.as_mut().unwrap();
        Arc::make_mut(&mut open.lesson).clock = 20;
        open.lesson.id.clone()
    };
    let told = |engine: &Engine| engine.view(EN).notices.iter().any(|n| n.contains("20 times as fast"));
    engine.tell_clock();
    assert!(told(&engine));
    engine.open.as_mut().unwrap().step = 1;
    engine.tell_clock();
    assert!(engine.scale().is_some() && !told(&engine), "the step before told it");
    engine.open.as_mut().unwrap().step = 0;
    assert!(told(&engine), "it stands where it was told");
    engine.told_clock = Some(("another".into(), 0));
    engine.open.as_mut().unwrap().step = 1;
    engine.tell_clock();
    assert_eq!(engine.told_clock, Some((id, 1)));
    assert!(told(&engine), "the lesson was opened again, at this step");
}
