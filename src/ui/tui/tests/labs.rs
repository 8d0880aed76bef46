//! The lab in the lesson's pane: what is shown in each state of it, and what keys do.

use super::keys::{control, frame_command, letter, press};
use super::*;
use crate::texts::Say;
use crate::tui::event::Question;
use crate::tui::layout::{Pane, inside};
use crate::tui::model::Page;
use crate::tui::scroll::Scroll;
use crate::tui::words::Word;
use ::lab::format::Text;
use ::lab::graded::score::Found;
use ::lab::graded::view::{Ask, Entry, GivenUp, Graded, LabView, Task, Work};
use ::lab::view;
use crossterm::event::KeyCode;
use std::time::Duration;

const SIZES: [(u16, u16); 2] = [(80, 24), (120, 36)];

fn said(english: &str, korean: &str) -> Text {
    let mut text = Text::new(english);
    text.put("ko", korean);
    text
}

pub(super) fn open(lang: Lang) -> LabView {
    let text = |english: &str, korean: &str| said(english, korean).get(crate::lesson::tag(lang)).to_string();
    let task = |id: &str, weight, english: &str, korean: &str| Task {
        id: id.into(),
        weight,
        task: text(english, korean),
        ..Task::default()
    };
    LabView {
        id: "wrong-image".into(),
        title: text("One of three apps does not start", "앱 셋 중 하나가 시작되지 않습니다"),
        level: 1,
        minutes: 8,
        seed: 417,
        text: text(
            "Three apps run in the namespace `zoo`. Somebody changed one of them this morning, and since then its page is gone.\n\nFind out which one it is, and repair it.",
            "네임스페이스 `zoo`에는 앱이 셋 있습니다. 오늘 아침에 그중 하나가 바뀐 뒤로 페이지가 열리지 않습니다.\n\n어느 앱인지 찾아서 고치세요.",
        ),
        tasks: vec![
            task(
                "ready",
                40,
                "The Deployment `prices` is complete, with the image `nginx:1.27`.",
                "디플로이먼트 `prices`의 파드가 이미지 `nginx:1.27`로 모두 준비되었습니다.",
            ),
            task(
                "page",
                20,
                "From the pod `tester`, `http://prices` returns the page.",
                "파드 `tester`에서 `http://prices`로 페이지를 볼 수 있습니다.",
            ),
            task(
                "durable",
                20,
                "This is still true after the pods are replaced.",
                "파드가 교체된 뒤에도 그대로입니다.",
            ),
            task(
                "same",
                20,
                "`prices` is the original Deployment.",
                "`prices`는 처음의 디플로이먼트 그대로입니다.",
            ),
        ],
        started: "2026-01-01T00:00:00Z".into(),
        left_s: 451,
        hints_left: 3,
        ..LabView::default()
    }
}

/// The lab of [`open`] after a check, with a hint, when little time is left.
pub(super) fn checked(lang: Lang) -> LabView {
    let mut lab = open(lang);
    for (at, green) in [(0, true), (1, false), (3, true)] {
        lab.tasks[at].green = Some(green);
    }
    let hint = said(
        "Look at the STATUS of its pods: `kubectl get pods -n zoo`",
        "파드의 STATUS를 보세요: `kubectl get pods -n zoo`",
    );
    lab.hints = vec![hint.get(crate::lesson::tag(lang)).into()];
    LabView { left_s: 42, hints_left: 2, ..lab }
}

/// The lab of [`checked`] with a grade.
pub(super) fn graded(lang: Lang) -> LabView {
    let found = |id: &str, weight, green| Found { id: id.into(), weight, green, ..Found::default() };
    let told = said("not so: every pod answers", "충족되지 않음: 모든 파드가 응답합니다");
    let grade = Graded {
        record: json!({"score": 60, "max": 100, "passed": false, "attempts": {"starts": 2, "seed_starts": 1, "gradings": 1}}),
        file: "/home/ada/.ropewalk/main/records/wrong-image-417.json".into(),
        debrief: vec![said(
            "The nodes tried to pull the image nginx:1.72, and no registry has it.",
            "노드가 nginx:1.72 이미지를 받으려고 했지만 어느 레지스트리에도 없었습니다.",
        )],
        untold: 1,
        found: vec![
            found("ready", 40, true),
            Found { told, ..found("page", 20, false) },
            found("durable", 20, false),
            found("same", 20, true),
        ],
    };
    LabView { grade: Some(grade), left_s: -3, ..checked(lang) }
}

fn given_up(lang: Lang) -> LabView {
    let given_up = GivenUp {
        told: vec![said("No registry has the image.", "어느 레지스트리에도 없는 이미지입니다.")],
        lines: vec!["kubectl set image deploy/prices -n zoo '*=nginx:1.27'".into()],
    };
    LabView { given_up: Some(given_up), over: true, ..checked(lang) }
}

pub(super) fn entries(lang: Lang) -> Vec<Entry> {
    let entry = |id: &str, english: &str, korean: &str, score, passed| Entry {
        id: id.into(),
        title: said(english, korean).get(crate::lesson::tag(lang)).into(),
        level: 2,
        minutes: 15,
        score,
        max: 100,
        passed,
        ..Entry::default()
    };
    vec![
        entry(
            "wrong-image",
            "One of three apps does not start",
            "앱 셋 중 하나가 시작되지 않습니다",
            Some(100),
            true,
        ),
        entry("orphans", "Pods without an owner", "주인 없는 파드", Some(60), false),
        entry("wrong-port", "Nobody answers", "응답이 없습니다", None, false),
    ]
}

pub(super) fn lab(model: &mut Model, view: LabView) {
    tell(model, Event::Lab(Box::new(view)));
}

/// An interface in which a lab is open and its pane has the focus.
pub(super) fn playing(width: u16, height: u16, lang: Lang, view: LabView) -> Model {
    let mut model = model(width, height, lang, Look::default());
    model.traffic.finish();
    model.focus = Pane::Lesson;
    lab(&mut model, view);
    model
}

#[test]
fn labs_in_every_state() {
    let mut out = String::new();
    for lang in [Lang::En, Lang::Ko] {
        for (width, height) in SIZES {
            let starting = LabView { work: Work::Starting, text: String::new(), tasks: vec![], ..open(lang) };
            let grading = LabView { work: Work::Grading, ..checked(lang) };
            let states = [starting, open(lang), checked(lang), grading, graded(lang), given_up(lang)];
            let names = ["starting", "started", "checked", "grading", "graded", "given up"];
            for (name, view) in names.into_iter().zip(states) {
                let mut model = playing(width, height, lang, open(lang));
                lab(&mut model, view);
                out.push_str(&format!("== {lang:?} {width}x{height} {name}\n{}", text(&screen(&model))));
            }
            let mut model = model(width, height, lang, Look::default());
            model.focus = Pane::Lesson;
            tell(&mut model, Event::Lesson(Box::default()));
            lab(&mut model, LabView::default());
            tell(&mut model, Event::Labs(entries(lang)));
            out.push_str(&format!("== {lang:?} {width}x{height} list\n{}", text(&screen(&model))));
        }
    }
    insta::assert_snapshot!(out);
}

#[test]
fn everything_is_reached_by_scrolling_and_title_and_clock_stay() {
    for (lang, title, clock, parts) in [
        (
            Lang::En,
            "One of three",
            "time is over",
            [
                "Three apps run",
                "Tasks",
                "hint 1",
                "60 of 100 points",
                "20/20",
                "every pod",
                "no registry has it",
                "417.json",
            ],
        ),
        (
            Lang::Ko,
            "앱 셋 중",
            "시간 종료",
            [
                "네임스페이스",
                "과제",
                "힌트 1",
                "60점 (만점 100점)",
                "20/20",
                "모든 파드가",
                "레지스트리에도",
                "417.json",
            ],
        ),
    ] {
        for (width, height) in SIZES {
            let mut model = playing(width, height, lang, graded(lang));
            let pane = inside(model.panes().lesson);
            press(&mut model, KeyCode::Home);
            let (mut seen, mut last) = (String::new(), String::new());
            loop {
                let shown = text(&screen(&model));
                let head = shown.lines().next().unwrap();
                assert!(head.contains(title) && head.contains(clock), "{shown}");
                if shown == last {
                    break;
                }
                for line in shown.lines().skip(1).take(pane.height.into()) {
                    seen.push_str(&line.chars().take(pane.width.into()).collect::<String>());
                }
                last = shown;
                press(&mut model, KeyCode::Down);
            }
            for part in parts {
                assert!(seen.contains(part), "{part} {lang:?} {width}x{height}\n{seen}");
            }
        }
    }
}

#[test]
fn a_grade_the_way_and_a_hint_come_into_sight() {
    for (width, height) in SIZES {
        let mut model = playing(width, height, Lang::En, open(Lang::En));
        lab(&mut model, checked(Lang::En));
        let shown = text(&screen(&model));
        assert!(shown.contains("hint 1: Look at") && shown.contains("`kubectl"), "a command: {shown}");
        lab(&mut model, graded(Lang::En));
        let shown = text(&screen(&model));
        assert!(shown.contains("Grade") && shown.contains("60 of 100 points, not passed"), "{shown}");
        lab(&mut model, given_up(Lang::En));
        let shown = text(&screen(&model));
        assert!(
            shown.contains("No registry has the image.") && shown.contains("  kubectl set image"),
            "{shown}"
        );
    }
}

/// On a narrow screen, where a task is one line.
#[test]
fn the_tasks_that_are_not_done_stay_in_sight() {
    let mut model = playing(80, 24, Lang::En, open(Lang::En));
    let tasks = ["is complete, with the image", "returns the page", "This is still true", "the original"];
    for end in [KeyCode::Home, KeyCode::End] {
        press(&mut model, end);
        let shown = text(&screen(&model));
        assert!(tasks.iter().all(|task| shown.contains(task)) && shown.contains("map: "), "{shown}");
    }
    lab(&mut model, checked(Lang::En));
    press(&mut model, KeyCode::Home);
    let shown = text(&screen(&model));
    assert!(tasks[1..3].iter().all(|task| shown.contains(task)) && !shown.contains(tasks[0]), "{shown}");
}

/// A lesson and a lab are open: a hint is used up of the one that the learner reads.
#[test]
fn the_word_hint_asks_for_a_hint_of_what_the_pane_shows() {
    let mut model = playing(80, 24, Lang::En, open(Lang::En));
    let of_lab = Ask::Hint { id: Some("wrong-image".into()) };
    assert!(frame_command(&mut model, "hint").contains(&Effect::Ask(Question::from(&of_lab))));
    model.page = Page::Lesson;
    assert!(frame_command(&mut model, "hint").contains(&Effect::Ask(Question::from(&view::Ask::Hint))));
    lab(&mut model, LabView::default());
    model.page = Page::Open;
    assert!(frame_command(&mut model, "hint").contains(&Effect::Ask(Question::from(&view::Ask::Hint))));
}

#[test]
fn a_task_that_cannot_turn_green_any_more_says_why() {
    let mut excluded = open(Lang::En);
    excluded.tasks[0].told = "a status was written by hand".into();
    let shown = text(&screen(&playing(120, 40, Lang::En, excluded)));
    assert!(shown.contains("a status was written by hand"), "{shown}");
}

/// The learner repairs what the grade has found, and the next one is not asked for yet.
#[test]
fn a_task_that_changes_after_a_grade_shows_the_tasks_again() {
    for (lang, words) in [(Lang::En, "from before your last change"), (Lang::Ko, "마지막으로 바꾸기 전의")]
    {
        let mut model = playing(120, 90, lang, checked(lang));
        lab(&mut model, graded(lang));
        let (shown, points) = (text(&screen(&model)), lang.say(Say::LabScore, &["60", "100"]));
        assert!(shown.contains(&points) && !shown.contains(words), "{shown}");
        lab(&mut model, LabView { left_s: -9, ..graded(lang) });
        assert!(!model.lab.has_old_grade(), "no task has changed");
        model.now += Duration::from_secs(8);
        let mut repaired = graded(lang);
        repaired.tasks[1].green = Some(true);
        lab(&mut model, repaired.clone());
        assert!(model.lab.has_old_grade() && model.lab.scroll == Scroll::Tasks);
        let (shown, stands) = (text(&screen(&model)), lang.say(Word::LabStandsHint, &["3", "4"]));
        assert!(shown.contains(&stands) && shown.contains(words), "{shown}");
        if let Some(grade) = &mut repaired.grade {
            grade.record["score"] = 80.into();
        }
        lab(&mut model, repaired); // graded again
        assert!(!model.lab.has_old_grade() && model.lab.scroll == Scroll::Outcome);
    }
}

/// The objects of a lab go with it: what was done to them is not played on.
#[test]
fn the_map_plays_nothing_of_a_lab_that_is_closed() {
    for next in [LabView::default(), LabView { id: "orphans".into(), ..open(Lang::En) }] {
        let mut model = playing(120, 36, Lang::En, open(Lang::En));
        model.traffic.flows.iter_mut().for_each(|flow| flow.began = model.opened);
        lab(&mut model, LabView { left_s: 400, ..open(Lang::En) });
        assert!(model.traffic.shown().is_some(), "the same lab goes on");
        lab(&mut model, next);
        assert!(model.traffic.shown().is_none() && model.traffic.flows.is_empty());
    }
}

#[test]
fn the_clock_runs_and_says_in_words_when_little_is_left() {
    let mut model = playing(80, 24, Lang::En, LabView { left_s: 62, ..open(Lang::En) });
    let head = |model: &Model| text(&screen(model)).lines().next().unwrap().to_string();
    assert!(head(&model).contains("1:02 left"), "{}", head(&model));
    let heard = model.now;
    assert_eq!(model.due(), Some(heard + Duration::from_secs(1)));
    for (after, words) in
        [(1, "1:01 left"), (2, "only 1:00 left"), (61, "only 0:01 left"), (62, "time is over")]
    {
        model.now = heard + Duration::from_secs(after);
        assert!(update(&mut model, Event::Tick).1);
        assert!(head(&model).contains(words), "{}", head(&model));
    }
    assert_eq!(model.due(), None, "nothing moves any more");
}

#[test]
fn letters_in_the_lab_ask_and_type_and_turn_no_pages() {
    let mut model = playing(80, 24, Lang::En, open(Lang::En));
    let id = Some("wrong-image".to_string());
    let asks = |ask: &Ask| vec![Effect::Ask(Question::from(ask))];
    assert_eq!(letter(&mut model, 'c'), asks(&Ask::Check { id, seed: None }));
    tell(&mut model, Event::Answered);
    for key in ['n', 'b', 'a', 's'] {
        assert_eq!(letter(&mut model, key), [], "{key}");
        model.now += Duration::from_secs(1);
    }
    for (key, line) in [('h', "lab hint"), ('g', "lab grade"), ('ㅕ', "lab give-up"), ('l', "lab leave")] {
        frame_command(&mut model, "prompt;on");
        assert_eq!(letter(&mut model, key), [Effect::Type(b"\x03".to_vec())]);
        assert_eq!(model.focus, Pane::Shell);
        assert_eq!(frame_command(&mut model, "prompt;on"), [Effect::Type(line.into())], "and it is not run");
        model.focus = Pane::Lesson;
        model.now += Duration::from_secs(1);
    }
    // A command that is typed into the wrong pane.
    for c in "lab grade".chars() {
        assert_eq!(press(&mut model, KeyCode::Char(c)), []);
    }
    model.now += Duration::from_secs(1);
    assert_eq!(tell(&mut model, Event::Tick), []);
    frame_command(&mut model, "prompt;off");
    assert_eq!(letter(&mut model, 'g'), [Effect::Bell], "a command runs in the shell");
    assert_eq!(control(&mut model, 'c'), [Effect::Type(vec![3])]);
}

#[test]
fn what_the_engine_refuses_is_shown_with_the_lab() {
    let mut model = playing(80, 24, Lang::En, open(Lang::En));
    letter(&mut model, 'c');
    tell(&mut model, Event::Refused("another lab command is at work".into()));
    assert!(text(&screen(&model)).contains("another lab command is at work"));
    letter(&mut model, 'c');
    tell(&mut model, Event::Answered);
    assert!(!text(&screen(&model)).contains("another lab command"));
}

#[test]
fn the_lesson_stays_where_it_was_and_comes_back() {
    let mut model = model(80, 24, Lang::En, Look::default());
    model.traffic.finish();
    tell(&mut model, Event::Lesson(Box::new(asking(Lang::En))));
    press(&mut model, KeyCode::F(6));
    press(&mut model, KeyCode::Down);
    let before = text(&screen(&model));
    lab(&mut model, open(Lang::En));
    let shown = text(&screen(&model));
    assert!(shown.contains("One of three apps") && !shown.contains("the container?"), "{shown}");
    assert_eq!(letter(&mut model, 'b'), [], "no answer to the question of the lesson");
    press(&mut model, KeyCode::End);
    lab(&mut model, LabView::default());
    assert_eq!(text(&screen(&model)), before);
}

#[test]
fn a_lesson_that_is_asked_for_is_shown_beside_an_open_lab() {
    let mut model = playing(80, 24, Lang::En, open(Lang::En));
    let next = LessonView { step: 1, ..lesson(Lang::En) };
    tell(&mut model, Event::Lesson(Box::new(next)));
    let shown = text(&screen(&model));
    assert!(shown.contains("Run a pod") && shown.contains("o list"), "{shown}");
    assert_eq!(letter(&mut model, 'n'), [Effect::Ask(Question::from(&view::Ask::Next))]);
    tell(&mut model, Event::Answered);
    lab(&mut model, graded(Lang::En));
    assert!(text(&screen(&model)).contains("60 of 100 points"), "a grade is wanted to be seen");
}

#[test]
fn the_way_back_from_the_list_leads_to_the_lesson_that_was_read() {
    for is_closed in [false, true] {
        let mut model = playing(80, 24, Lang::En, open(Lang::En));
        let next = LessonView { step: 1, ..lesson(Lang::En) };
        tell(&mut model, Event::Lesson(Box::new(next)));
        letter(&mut model, 'o');
        assert_eq!(model.page, Page::List);
        if is_closed {
            tell(&mut model, Event::Lesson(Box::default()));
        }
        model.now += Duration::from_secs(1);
        letter(&mut model, 'o');
        let shown = text(&screen(&model));
        assert_eq!(shown.contains("One of three apps"), is_closed, "the lab: {shown}");
        assert_eq!(shown.contains("Run a pod"), !is_closed, "the lesson: {shown}");
    }
}

#[test]
fn a_lesson_that_is_closed_leaves_its_place_to_the_open_lab() {
    let mut model = playing(80, 24, Lang::En, open(Lang::En));
    let shows_lab = |model: &Model| text(&screen(model)).contains("One of three apps");
    for is_read in [true, false] {
        let next = LessonView { step: 1, ..lesson(Lang::En) };
        tell(&mut model, Event::Lesson(Box::new(next)));
        if !is_read {
            model.page = Page::Open; // the learner has gone back to the lab
        }
        assert_eq!(shows_lab(&model), !is_read);
        tell(&mut model, Event::Lesson(Box::default()));
        assert!(shows_lab(&model), "{}", text(&screen(&model)));
    }
}

/// The interface is opened while both are open: neither has been asked for.
#[test]
fn an_interface_that_is_opened_in_a_lab_shows_the_lab() {
    for first in [true, false] {
        let opened = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut model = Model::new("main", Lang::En, Look::default(), Size::new(80, 24), opened);
        if first {
            lab(&mut model, open(Lang::En));
        }
        tell(&mut model, Event::Lesson(Box::new(lesson(Lang::En))));
        if !first {
            lab(&mut model, open(Lang::En));
        }
        assert!(text(&screen(&model)).contains("One of three apps"), "{first}");
    }
}
