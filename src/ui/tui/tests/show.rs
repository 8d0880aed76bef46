//! The show of a command, the choice of what a view is about, and pictures that are old.

use super::keys::*;
use super::*;
use crate::tui::flow::Did;
use crate::tui::layout::Pane;
use crate::tui::model::{Overlay, View};
use crate::tui::scroll::Scroll;
use crossterm::event::KeyCode;
use std::time::Duration;

#[test]
fn a_command_is_played_hop_by_hop_paused_stepped_and_replayed() {
    let mut model = fresh();
    let flow = model.traffic.shown().expect("the newest command is on the stage").clone();
    assert_eq!(flow.command, "kubectl run");
    assert_eq!(flow.object().map(|o| o.name.as_str()), Some("web2"));
    let stored = flow.hops.iter().position(|h| h.did == Did::Stored).expect("stored");
    assert_eq!(flow.hops[stored].revision, Some(860));
    assert!(flow.hops.iter().any(|h| matches!(&h.did, Did::Scheduled { fit: 2, of: 3, .. })), "{flow:#?}");
    let bound = flow.hops.iter().position(|h| matches!(h.did, Did::Bound { .. })).expect("bound");
    // Nothing stands still while it plays, and every hop is lit for a moment.
    let mut lit = 0;
    while let Some(due) = model.traffic.due() {
        assert!(due > model.now, "time goes on");
        assert!(due - model.now <= Duration::from_millis(1200));
        model.now = due;
        let before = model.traffic.play.at;
        tell(&mut model, Event::Tick);
        assert_eq!(model.traffic.play.at, before + 1);
        lit += 1;
    }
    assert_eq!(lit, flow.hops.len());
    assert_eq!(model.due(), None, "with nothing going on, nothing moves");
    press(&mut model, KeyCode::F(5));
    assert_eq!((model.traffic.play.at, model.traffic.play.playing), (0, true));
    press(&mut model, KeyCode::F(8));
    assert_eq!((model.traffic.play.at, model.traffic.play.playing), (1, false));
    assert_eq!(model.due(), None, "paused");
    press(&mut model, KeyCode::F(7));
    assert_eq!(model.traffic.play.at, 0);
    // The picture shows what was there then.
    use crate::tui::flow::traffic::Then;
    let then = |model: &mut Model, at: usize| {
        model.traffic.play.at = at;
        model.traffic.stand("default", "web2")
    };
    assert_eq!(then(&mut model, stored - 1), Some(Then::NotYet));
    assert_eq!(then(&mut model, stored), Some(Then::Stored));
    assert_eq!(then(&mut model, bound), Some(Then::Starting));
    assert_eq!(then(&mut model, flow.hops.len() - 1), None, "as it is now");
    assert_eq!(model.traffic.stand("default", "web-76f8d594c6-7ksfg"), None, "of another command");
}

/// The command on the stage once more, newer and under another name.
fn newer_run(name: &str) -> Event {
    let renamed = |mut record: Record| {
        record.seq += 1000;
        if let Some(request) = &mut record.request {
            request.session = name.into();
            request.id += name;
        }
        record.revision = record.revision.map(|revision| revision + 1000);
        record.cause = None;
        record
    };
    let is_own = |record: &Record| record.request.as_ref().is_some_and(|r| !r.session.is_empty());
    Event::Records(records().into_iter().filter(is_own).map(renamed).collect())
}

/// Keys that were meant for the shell may have stopped it.
#[test]
fn a_stopped_play_lasts_until_the_next_line_in_the_shell() {
    let mut model = fresh();
    let shown = |model: &Model| model.traffic.play.session.clone().unwrap_or_default();
    press(&mut model, KeyCode::F(8));
    assert!(!model.traffic.play.playing);
    tell(&mut model, newer_run("elsewhere"));
    assert_ne!(shown(&model), "elsewhere", "typed in another terminal while this one is looked at");
    let at = model.traffic.play.at;
    press(&mut model, KeyCode::Enter);
    assert_eq!((model.traffic.play.at, model.traffic.play.playing), (at, false), "it stays until then");
    tell(&mut model, newer_run("typed"));
    assert_eq!((shown(&model).as_str(), model.traffic.play.playing), ("typed", true));
}

#[test]
fn another_lesson_begins_with_no_command_on_the_stage() {
    let mut model = fresh();
    tell(&mut model, Event::Lesson(Box::new(LessonView { step: 1, ..lesson(Lang::En) })));
    assert!(model.traffic.shown().is_some(), "the next step of the same lesson");
    tell(&mut model, Event::Lesson(Box::new(LessonView { id: "t/02".into(), ..lesson(Lang::En) })));
    assert!(model.traffic.shown().is_none() && !model.traffic.flows.is_empty());
    press(&mut model, KeyCode::F(5));
    assert!(model.traffic.shown().is_some());
}

#[test]
fn what_happened_before_is_kept_but_not_played() {
    let opened = "2100-01-01T00:00:00Z".parse().expect("a time");
    let mut model = Model::new("main", Lang::En, Look::default(), Size::new(80, 24), opened);
    tell(&mut model, Event::Status(Some(json!({"state": "running"}))));
    tell(&mut model, Event::Records(records()));
    assert!(model.traffic.shown().is_none() && model.due().is_none());
    press(&mut model, KeyCode::F(5));
    assert!(model.traffic.shown().is_some());
}

#[test]
fn the_time_view_writes_the_word_and_does_not_run_it() {
    let mut model = fresh();
    frame_command(&mut model, "prompt;on");
    press(&mut model, KeyCode::F(4));
    let typed = press(&mut model, KeyCode::Enter);
    // What stood there goes first, also a search and an unfinished text: both take Ctrl-E and
    // Ctrl-U for their own.
    assert_eq!(typed, [Effect::Type(b"\x03".to_vec())]);
    assert_eq!(model.focus, Pane::Shell);
    assert_eq!(frame_command(&mut model, "prompt;off"), []);
    assert_eq!(frame_command(&mut model, "prompt;on"), [Effect::Type(b"rewind 859".to_vec())]);
    assert_eq!(frame_command(&mut model, "prompt;on"), [], "once");
    // What runs would take it for its own: an editor, `cat`, a shell in a container.
    frame_command(&mut model, "prompt;off");
    press(&mut model, KeyCode::F(4));
    assert_eq!(press(&mut model, KeyCode::Enter), [Effect::Bell]);
    assert!(text(&screen(&model)).contains("a command runs in the shell"));
}

#[test]
fn the_marked_command_stays_marked_while_newer_ones_come() {
    let mut model = fresh();
    press(&mut model, KeyCode::F(4));
    assert_eq!(model.overlay, Some(Overlay::Time(0)));
    let newer = records().into_iter().map(|mut record| {
        record.seq += 1000;
        if let Some(request) = &mut record.request {
            request.session += "-newer";
            request.id += "-newer";
        }
        record.revision = record.revision.map(|revision| revision + 1000);
        record.cause = None;
        record
    });
    tell(&mut model, Event::Records(newer.collect()));
    assert_eq!(model.overlay, Some(Overlay::Time(1)), "the command that was read is the second now");
    frame_command(&mut model, "prompt;on");
    press(&mut model, KeyCode::Enter);
    assert_eq!(frame_command(&mut model, "prompt;on"), [Effect::Type(b"rewind 859".to_vec())]);
}

#[test]
fn what_a_view_is_about_may_vanish() {
    let mut model = fresh();
    press(&mut model, KeyCode::F(6));
    press(&mut model, KeyCode::F(6));
    press(&mut model, KeyCode::Char('7'));
    for _ in 0..9 {
        press(&mut model, KeyCode::Down);
    }
    assert_eq!(model.subject, 4, "the last of the learner's five pods");
    let two = ["web2", "web3"].map(|name| pod("default", name, "ropewalk-worker", "Running", 900));
    all(&mut model, "pods", two.to_vec());
    press(&mut model, KeyCode::Up);
    assert_eq!(model.subject, 0, "one up from the last that is left");
}

/// The lists are ordered by the latest change, and other pods go on changing.
#[test]
fn a_view_stays_with_the_object_that_was_chosen() {
    let mut model = Model::new("main", Lang::En, Look::default(), Size::new(120, 34), fresh().opened);
    let running = |name: &str, revision| pod("default", name, "w", "Running", revision);
    all(&mut model, "pods", vec![running("a", 10), running("b", 20), running("c", 30)]);
    press(&mut model, KeyCode::F(6));
    press(&mut model, KeyCode::F(6));
    press(&mut model, KeyCode::Char('7'));
    let about = |model: &Model| {
        let all = model.subjects();
        all[model.place(&all)].1.clone()
    };
    assert_eq!(about(&model), "c", "the newest");
    press(&mut model, KeyCode::Down);
    assert_eq!(about(&model), "b");
    all(&mut model, "pods", vec![running("a", 40), running("b", 20), running("c", 30)]);
    assert_eq!(about(&model), "b", "another pod has changed");
    assert!(text(&screen(&model)).contains(" b  Running"), "{}", text(&screen(&model)));
    press(&mut model, KeyCode::Up);
    assert_eq!(about(&model), "c", "the one above it now");
    press(&mut model, KeyCode::Up);
    all(&mut model, "pods", vec![running("a", 40), running("b", 50), running("c", 30)]);
    assert_eq!(about(&model), "b", "the first is the newest, whichever that is");
}

#[test]
fn a_cluster_that_has_ended_is_said_to_once_on_every_screen() {
    for (width, height, lang, words) in
        [(80, 24, Lang::En, "the cluster has ended"), (30, 8, Lang::Ko, "클러스터가 종료되었습니다")]
    {
        let mut model = model(width, height, lang, Look::default());
        model.focus = Pane::Map;
        assert!(!text(&screen(&model)).contains(words));
        assert!(update(&mut model, Event::Status(None)).1);
        let shown = text(&screen(&model));
        assert!(shown.contains(words), "{shown}");
        assert!(
            shown.lines().next().is_some_and(|l| l.contains(words)) || height < 24,
            "the map is of the past: {shown}"
        );
        assert!(!update(&mut model, Event::Status(None)).1, "nothing new: nothing to draw");
        assert!(update(&mut model, Event::Status(Some(json!({"state": "running"})))).1);
        assert!(!text(&screen(&model)).contains(words));
    }
}

/// All records come anew then.
#[test]
fn a_command_is_not_played_again_on_the_way_back_from_another_cluster() {
    let mut model = fresh();
    assert!(model.traffic.shown().is_some());
    model.live_from = "2100-01-01T00:00:00Z".parse().expect("a time");
    tell(&mut model, Event::NewCluster);
    tell(&mut model, Event::Records(records()));
    assert!(model.traffic.shown().is_none() && !model.traffic.flows.is_empty());
    press(&mut model, KeyCode::F(5));
    assert!(model.traffic.shown().is_some(), "but as soon as it is asked for");
}

#[test]
fn a_question_that_takes_longer_than_a_moment_says_that_it_waits() {
    let mut model = fresh();
    model.traffic.finish();
    let ms = Duration::from_millis;
    (model.now, model.lesson.asked) = (ms(5_050), Some(ms(5_050)));
    assert!(!text(&screen(&model)).contains("asked, "));
    assert_eq!(model.due(), Some(ms(5_250)));
    model.now = ms(5_250);
    assert!(text(&screen(&model)).contains("asked, 0 s"), "{}", text(&screen(&model)));
    assert_eq!(model.due(), Some(ms(6_000)), "then each second");
}

/// `fault kill kube-apiserver`, or a control plane that is off.
#[test]
fn a_map_that_the_api_server_tells_nothing_of_says_how_old_it_is() {
    for (lang, bar, old) in [
        (Lang::En, "the API server is silent, 3 s", "as it was 3 s ago"),
        (Lang::Ko, "API 서버 응답 없음, 3초", "3초 전 모습"),
    ] {
        let mut model = model(120, 34, lang, Look::default());
        model.traffic.finish();
        model.now = Duration::from_secs(10);
        for event in [Event::Silent("nodes".into()), Event::Silent("pods".into())] {
            assert_eq!(update(&mut model, event), (vec![], false));
        }
        assert_eq!(model.due(), Some(Duration::from_secs(12)));
        assert!(!text(&screen(&model)).contains(bar), "a watch is opened again all the time");
        model.now = Duration::from_secs(13);
        assert_eq!(model.due(), Some(Duration::from_secs(14)));
        let shown = text(&screen(&model));
        assert!(shown.contains(bar) && shown.contains(old), "{shown}");
        tell(&mut model, Event::Resize(Size::new(70, 20)));
        assert!(text(&screen(&model)).contains(bar), "the one line at the foot");
        all(&mut model, "nodes", vec![]);
        assert!(model.silent_since().is_some(), "of pods nothing is told yet");
        all(&mut model, "pods", vec![]);
        assert_eq!((model.silent_since(), model.due()), (None, None));
    }
}

/// The API server is down when the interface is opened, and then fails for this kind alone.
#[test]
fn a_kind_that_was_never_listed_makes_a_map_that_is_not_whole() {
    let opened = "2026-01-01T00:00:00Z".parse().expect("a time");
    let mut model = Model::new("main", Lang::En, Look::default(), Size::new(120, 34), opened);
    tell(&mut model, Event::Status(Some(json!({"state": "running"}))));
    assert!(!update(&mut model, Event::Silent("pods".into())).1);
    model.now = Duration::from_secs(5);
    let shown = |model: &Model| text(&screen(model));
    assert!(shown(&model).contains("waiting for the API server, 5 s"), "{}", shown(&model));
    assert!(!shown(&model).contains("as it was"), "there is no picture");
    assert_eq!(model.due(), Some(Duration::from_secs(6)), "the seconds run");
    all(&mut model, "nodes", vec![node("ropewalk-worker", false, true)]);
    assert!(!shown(&model).contains("as it was"), "the other lists may be on their way");
    model.now = Duration::from_secs(8);
    assert!(shown(&model).contains("as it was 3 s ago"), "{}", shown(&model));
    all(&mut model, "pods", vec![]);
    assert!(!shown(&model).contains("as it was"));
}

/// A right that was taken away while the watch was broken.
#[test]
fn a_kind_that_may_not_be_looked_at_any_more_makes_no_map_an_old_one() {
    let mut model = fresh();
    for event in [Event::Silent("nodes".into()), Event::Silent("pods".into())] {
        update(&mut model, event);
    }
    all(&mut model, "nodes", vec![]);
    assert!(!model.cluster.pods.is_empty());
    assert!(update(&mut model, Event::Denied("pods".into())).1);
    assert!(model.silent.is_empty() && model.cluster.pods.is_empty());
    // A foreign cluster, of which nothing may be seen.
    let opened = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut model = Model::new("main", Lang::En, Look::default(), Size::new(80, 24), opened);
    assert!(update(&mut model, Event::Denied("pods".into())).1 && !model.cluster.heard);
    assert!(!update(&mut model, Event::Denied("pods".into())).1, "asked for again, and still refused");
    model.focus = Pane::Map;
    assert!(text(&screen(&model)).contains("This user may not list: pods"));
}

#[test]
fn what_may_not_be_listed_is_no_empty_list_on_a_new_cluster_either() {
    let mut model = fresh();
    (model.focus, model.view, model.chosen) = (Pane::Map, View::Pod, true);
    update(&mut model, Event::Denied("pods".into()));
    tell(&mut model, Event::NewCluster);
    let shown = text(&screen(&model));
    assert!(shown.contains("may not list: pods") && !shown.contains("no pod"), "{shown}");
    all(&mut model, "pods", vec![]);
    assert!(text(&screen(&model)).contains("no pod"), "now it is known");
}

#[test]
fn a_view_of_what_may_not_be_listed_does_not_say_that_there_is_none() {
    let opened = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut model = Model::new("main", Lang::En, Look::default(), Size::new(80, 24), opened);
    (model.focus, model.chosen) = (Pane::Map, true);
    let views = [(View::Pod, "pods", "no pod"), (View::Network, "services", "no Service")];
    for (view, resource, none) in views.into_iter().chain([(View::Rollout, "deployments", "no Deployment")]) {
        model.view = view;
        all(&mut model, resource, vec![]);
        let before = text(&screen(&model));
        assert!(before.contains(none), "{before}");
        assert!(update(&mut model, Event::Denied(resource.into())).1);
        let shown = text(&screen(&model));
        assert!(shown.contains(&format!("may not list: {resource}")) && !shown.contains(none), "{shown}");
        model.view = View::Cluster;
        assert_eq!(text(&screen(&model)).contains("may not list: pods"), resource == "pods");
        all(&mut model, resource, vec![]);
        assert!(model.denied.is_empty());
    }
}

#[test]
fn every_view_has_a_digit_which_is_named_where_it_works() {
    for (at, view) in View::ALL.iter().enumerate() {
        let digit = char::from_digit(at as u32 + 1, 10).unwrap();
        let mut model = model(120, 50, Lang::En, Look::default());
        press(&mut model, KeyCode::F(6));
        press(&mut model, KeyCode::F(6));
        press(&mut model, KeyCode::Char(digit));
        assert_eq!(model.view, *view);
        let named = format!("1-{} view", View::ALL.len());
        assert!(text(&screen(&model)).contains(&named));
        press(&mut model, KeyCode::Char('9'));
        assert_eq!(model.view, *view, "a digit of no view");
        press(&mut model, KeyCode::F(1));
        assert!(text(&screen(&model)).contains(&named));
        press(&mut model, KeyCode::F(3));
        press(&mut model, KeyCode::Char('9'));
        assert!(model.overlay.is_some());
        press(&mut model, KeyCode::Char(digit));
        assert_eq!((model.view, model.overlay), (*view, None));
        assert_eq!(View::named(view.name()), Some(*view));
    }
    let names: Vec<&str> = View::ALL.iter().map(|view| view.name()).collect();
    assert_eq!(names, lab::format::VIEWS, "lessons name the views that there are");
}

#[test]
fn a_rollout_that_recreates_has_no_surge() {
    for lang in [Lang::En, Lang::Ko] {
        let mut model = model(120, 34, lang, Look::default());
        model.view = View::Rollout;
        let strategy = json!({"type": "Recreate"});
        let site = json!({"metadata": {"name": "site", "namespace": "default", "resourceVersion": "9"},
            "spec": {"replicas": 2, "strategy": strategy}});
        all(&mut model, "deployments", vec![site]);
        let shown = text(&screen(&model));
        let line = shown.lines().find(|line| line.contains("Recreate")).unwrap_or_else(|| panic!("{shown}"));
        assert!(!line.contains("surge") && !line.contains("추가"), "{line}");
    }
}

#[test]
fn the_list_moves_only_when_its_mark_would_leave_it() {
    let mut model = model(80, 24, Lang::En, Look::default());
    let entry = |n: usize| lab::view::Entry { id: format!("t/{n:02}"), ..Default::default() };
    tell(&mut model, Event::Lesson(Box::default()));
    tell(&mut model, Event::Lessons((0..60).map(entry).collect()));
    press(&mut model, KeyCode::F(6));
    (0..60).for_each(|_| drop(press(&mut model, KeyCode::Down)));
    let end = model.scroll();
    assert_ne!(end, Scroll::To(0));
    for _ in 0..5 {
        press(&mut model, KeyCode::Up);
        assert_eq!(model.scroll(), end);
    }
    // A lesson that was read down to somewhere has its own place.
    model.lesson.scroll = Scroll::To(20);
    model.lesson.list_scroll = Scroll::To(0);
    model.lesson.marked = 3;
    press(&mut model, KeyCode::Down);
    assert_eq!(model.scroll(), Scroll::To(0));
}

#[test]
fn only_the_last_step_of_a_finished_lesson_says_that_it_is_finished() {
    for (lang, end, on) in [
        (Lang::En, "Lesson finished.", "next goes on"),
        (Lang::Ko, "강의를 마쳤습니다.", "next로 계속합니다"),
    ] {
        let shown = |step, state| {
            let next = Some(("first-voyage/05".to_string(), "More".to_string()));
            let then = Some(lab::view::Then::Lab("wrong-port".into()));
            let view = LessonView { step, state, finished: true, next, then, ..lesson(lang) };
            let mut model = model(120, 34, lang, Look::default());
            tell(&mut model, Event::Lesson(Box::new(view)));
            text(&screen(&model))
        };
        let again = shown(0, State::Done);
        assert!(!again.contains(end) && again.contains(on), "{again}");
        assert!(!again.contains("wrong-port") && shown(2, State::Done).contains("wrong-port"));
        assert!(!shown(0, State::Open).contains(end), "the task of an optional step stands alone");
        assert!(shown(2, State::Done).contains(end), "{}", shown(2, State::Done));
        let says = |text: &str| text.contains("plays this one again") || text.contains("처음부터 다시");
        let again = |step| says(&shown(step, State::Done));

        assert!(again(2) && !again(0), "only at its end");
    }
}

#[test]
fn the_list_of_lessons_names_the_tracks() {
    use lab::view::Entry;
    let entry = |track: &str| Entry {
        id: format!("{track}/01"),
        title: "Hello".into(),
        track: track.into(),
        ..Entry::default()
    };
    for (lang, first, second) in
        [(Lang::En, "First voyage", "Control tower"), (Lang::Ko, "첫 항해", "관제탑")]
    {
        let mut model = model(120, 34, lang, Look::default());
        tell(&mut model, Event::Lesson(Box::default()));
        tell(&mut model, Event::Lessons(vec![entry("first-voyage"), entry("control-tower")]));
        let shown = text(&screen(&model));
        let places = [first, "01 Hello", second].map(|part| shown.find(part));
        assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{shown}");
    }
}

#[test]
fn the_leader_stands_in_the_status_line_where_there_is_something_to_agree_on() {
    for (lang, leader) in [(Lang::En, "leader control-plane"), (Lang::Ko, "리더 control-plane")] {
        let mut model = model(80, 24, lang, Look::default());
        let status =
            |model: &Model| text(&screen(model)).lines().last().map(String::from).unwrap_or_default();
        assert!(!status(&model).contains(leader), "one member: {}", status(&model));
        model.view = View::Raft;
        assert!(status(&model).contains(leader), "{}", status(&model));
        model.view = View::Cluster;
        let planes = ["ropewalk-control-plane", "ropewalk-control-plane2", "ropewalk-control-plane3"];
        all(&mut model, "nodes", planes.map(|name| node(name, true, true)).into());
        assert!(status(&model).contains(leader), "{}", status(&model));
    }
}
