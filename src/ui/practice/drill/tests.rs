use super::*;
use lab::practice::view::Check;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

const PLAIN: PageStyle = PageStyle { lang: Lang::En, width: 78, colour: false, beside: false };

fn now() -> Timestamp {
    "2026-03-01T10:00:00Z".parse().unwrap()
}

fn view() -> DrillView {
    let task = |title: &str, task: &str, outcome| TaskView {
        title: title.into(),
        task: task.into(),
        outcome,
        ..TaskView::default()
    };
    DrillView {
        seed: 417,
        namespace: "drill".into(),
        phase: Phase::Running,
        limit_s: 120,
        left_s: 95,
        tasks: vec![
            task("Run a pod", "Run a pod named `mast`.", Outcome::Open),
            task("Create a ConfigMap", "", Outcome::Waiting),
        ],
        ..DrillView::default()
    }
}

fn second() -> DrillView {
    let mut view = DrillView { at: 1, left_s: 70, ..view() };
    let due = Some("2026-03-02T10:00:00Z".to_string());
    view.tasks[0] = TaskView { outcome: Outcome::Done, took_s: Some(14), due, ..view.tasks[0].clone() };
    view.tasks[1].task = "Create a ConfigMap named `ink`.".into();
    view.tasks[1].outcome = Outcome::Open;
    view
}

#[test]
fn a_drill_says_where_it_is_and_how_long_it_lasts() {
    let page = page(&PLAIN, &view(), now());
    for part in [
        "Drill · seed 417 · tasks: 2 · 2 minutes",
        "add `-n drill`",
        "1/2 · 1:35 left",
        "▸ Run a pod named `mast`.",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    assert!(super::page(&PLAIN, &DrillView::default(), now()).starts_with("No drill is open."));
}

#[test]
fn a_task_that_is_done_brings_the_next_one_and_the_end_a_summary() {
    assert_eq!(news(&PLAIN, &DrillView::default(), &view(), now()), None, "its page is shown");
    assert_eq!(news(&PLAIN, &view(), &view(), now()), None);
    let told = news(&PLAIN, &view(), &second(), now()).unwrap();
    assert_eq!(
        told,
        "✓ Run a pod: done in 14 s, again in 24 h\n2/2 · 1:10 left\n▸ Create a ConfigMap named `ink`.\n"
    );
    let mut over = DrillView { phase: Phase::TimeOver, ..second() };
    over.tasks[1].outcome = Outcome::Unfinished;
    let told = news(&PLAIN, &second(), &over, now()).unwrap();
    assert!(told.starts_with("Time is up: 1 of 2 done."), "{told}");
    assert!(told.contains("  · Create a ConfigMap: not finished"), "{told}");
    assert!(told.contains("drill --seed 417"), "{told}");
    assert_eq!(news(&PLAIN, &over, &over, now()), None, "said once");
    let korean = PageStyle { lang: Lang::Ko, ..PLAIN };
    let told = news(&korean, &second(), &over, now()).unwrap();
    assert!(told.contains("14초 만에 완료, 다음 연습: 24시간 뒤"), "{told}");
}

#[test]
fn a_check_names_what_is_missing_and_what_went_astray() {
    let check = |that: &str, met| Check { that: that.into(), met };
    let checks = vec![check("the pod mast exists", true), check("its container is ready", false)];
    let view = DrillView { checks, notices: vec!["Add `-n drill`.".into()], ..view() };
    assert_eq!(
        verdict(&PLAIN, &view),
        "  ✓ the pod mast exists\n  · its container is ready\n! Add `-n drill`.\nNot yet: its container is ready\n"
    );
}

#[test]
fn a_drill_that_goes_on_is_no_task_that_is_done() {
    assert!(is_done(&view(), &second(), 0));
    for outcome in [Outcome::Skipped, Outcome::Unfinished, Outcome::Open] {
        let mut left = DrillView { phase: Phase::TimeOver, ..second() };
        left.tasks[0].outcome = outcome;
        assert!(!is_done(&view(), &left, 0), "{outcome:?}");
    }
    assert!(!is_done(&view(), &DrillView { seed: 418, ..second() }, 0), "another drill");
    assert_eq!(result(&PLAIN, &second(), 0, now()), "✓ Run a pod: done in 14 s, again in 24 h\n");
}

#[test]
fn days_are_counted_up() {
    let after = |hours: i64| {
        let due = ::clock::after(now(), std::time::Duration::from_secs(hours as u64 * 3600));
        until(Lang::En, due, now())
    };
    // At 10 o'clock, 12 hours from now are still today.
    let told = ["now", "in 1 h", "in 12 h", "in 24 h", "in 2 days", "in 2 days", "in 7 days"];
    assert_eq!([0, 1, 12, 24, 25, 48, 168].map(after), told);
}

#[test]
fn a_task_that_was_skipped_or_helped_comes_first_in_the_next_drill() {
    let mut view = second();
    for outcome in [Outcome::Skipped, Outcome::Helped] {
        view.tasks[0].outcome = outcome;
        let told = result(&PLAIN, &view, 0, now());
        assert!(told.ends_with(", first in the next drill\n"), "{told}");
        let korean = PageStyle { lang: Lang::Ko, ..PLAIN };
        assert!(result(&korean, &view, 0, now()).ends_with(", 다음 연습에서 먼저 나옴\n"));
    }
}

#[test]
fn a_task_that_is_still_to_come_is_not_its_turn_yet() {
    assert_eq!(result(&PLAIN, &view(), 1, now()), "· Create a ConfigMap: not its turn yet\n");
    let over = DrillView { phase: Phase::Stopped, ..view() };
    assert!(result(&PLAIN, &over, 1, now()).contains("not finished"));
}

#[test]
fn a_result_that_could_not_be_written_is_told_with_the_summary() {
    let notices = vec!["The last result could not be written.".to_string()];
    let over = DrillView { phase: Phase::Finished, notices, ..second() };
    let told = page(&PLAIN, &over, now());
    assert_eq!(told.matches("! The last result could not be written.").count(), 1, "{told}");
}

#[test]
fn a_hint_that_is_a_command_stays_on_one_line() {
    let command = "kubectl create deployment till -n drill --image=nginx:1.27 --replicas=2 --port=8080";
    let hints = vec!["The subcommand is `create deployment`.".into(), format!("`{command}`")];
    let mut view = DrillView { hints, ..view() };
    assert_eq!(hint(&PLAIN, &view), format!("hint 2:\n  {command}\n(no more)\n"));
    view.hints.pop();
    view.hints_left = 1;
    assert_eq!(hint(&PLAIN, &view), "hint 1: The subcommand is `create deployment`.\n(1 more)\n");
}

/// The cluster answers only after the notice that it takes its time.
#[tokio::test]
async fn a_setup_that_takes_its_time_is_announced() {
    let dir = tempfile::tempdir().unwrap();
    let place = cluster::Home::at(dir.path()).cluster("main").unwrap();
    std::fs::create_dir_all(&place.root).unwrap();
    let listener = tokio::net::UnixListener::bind(place.socket()).unwrap();
    let (announce, announced) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (read, mut write) = listener.accept().await.unwrap().0.into_split();
        let mut lines = BufReader::new(read).lines();
        lines.next_line().await.unwrap(); // the greeting
        write.write_all(b"{\"ok\":null}\n").await.unwrap();
        lines.next_line().await.unwrap(); // the question
        announced.await.unwrap();
        let answer = serde_json::json!({ "ok": view() });
        write.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
        drop(lines.next_line().await); // until the answer was read
    });
    let begun = start(&place, Lang::En, None, vec![], || announce.send(()).unwrap());
    let begun = tokio::time::timeout(Duration::from_secs(60), begun).await.expect("an announcement");
    assert_eq!(begun.unwrap(), view());
}

#[test]
fn to_stop_a_drill_that_is_prepared_says_so() {
    let before = DrillView { phase: Phase::Preparing, ..view() };
    let told = changed(&PLAIN, &before, &DrillView::default(), now());
    assert_eq!(told, "The drill was stopped before it began.\n");
    assert_eq!(not_begun(Lang::En, &DrillView { phase: Phase::Stopped, ..view() }), "");
}

#[test]
fn a_session_knows_the_task_that_it_has_shown() {
    let running = Running::default();
    assert_eq!(running.task(), None);
    let mut view = view();
    view.tasks[0].id = "run-pod".into();
    running.learn(&view);
    assert_eq!(running.task().as_deref(), Some("run-pod"));
    running.learn(&DrillView { phase: Phase::TimeOver, ..view });
    assert_eq!(running.task(), None);
}
