//! The list of lessons and labs.

use super::keys::{frame_command, letter, mouse, press};
use super::labs::{entries, lab, open};
use super::*;
use crate::tui::event::Question;
use crate::tui::layout::Pane;
use ::lab::graded::view::LabView;
use ::lab::view;
use crossterm::event::{KeyCode, MouseEventKind};
use std::time::Duration;

/// There is no other way from a lesson to the labs than the prompt.
#[test]
fn the_list_is_shown_over_a_lesson_and_over_a_lab() {
    let mut model = model(80, 24, Lang::En, Look::default());
    model.traffic.finish();
    model.focus = Pane::Lesson;
    tell(&mut model, Event::Lesson(Box::new(asking(Lang::En))));
    lab(&mut model, LabView::default());
    tell(&mut model, Event::Labs(entries(Lang::En)));
    press(&mut model, KeyCode::Down);
    let before = text(&screen(&model));
    assert!(before.contains("the container?") && before.contains("o list"), "{before}");
    let lists = [Effect::Ask(Question::from(&view::Ask::List))];
    assert_eq!(letter(&mut model, 'o'), lists, "also while a question waits");
    let entry = view::Entry { id: "first-voyage/04".into(), title: "Run a pod".into(), ..Default::default() };
    tell(&mut model, Event::Lessons(vec![entry]));
    let shown = text(&screen(&model));
    assert!(shown.contains("▶ 04 Run a pod") && shown.contains("o back"), "{shown}");
    assert_eq!(letter(&mut model, 'b'), [], "no answer");
    press(&mut model, KeyCode::Down);
    model.now += Duration::from_secs(1);
    letter(&mut model, 'o');
    assert_eq!(text(&screen(&model)), before, "scrolled as it was");

    lab(&mut model, LabView { id: "orphans".into(), ..open(Lang::En) });
    assert_eq!(letter(&mut model, 'o'), lists);
    let shown = text(&screen(&model));
    assert!(shown.contains("▶ orphans: "), "{shown}");
    assert_eq!(press(&mut model, KeyCode::Enter), [], "it is open: nothing is started");
    assert!(text(&screen(&model)).contains("One of three apps"));
    letter(&mut model, 'o');
    press(&mut model, KeyCode::Home);
    (0..9).for_each(|_| drop(press(&mut model, KeyCode::Up)));
    assert_eq!(press(&mut model, KeyCode::Enter), []);
    assert!(text(&screen(&model)).contains("the container?"), "the lesson, while the lab is open");
    letter(&mut model, 'o');
    letter(&mut model, 'o');
    assert!(text(&screen(&model)).contains("the container?"), "back to what was read");
}

/// Beside an open lesson the engine does not tell it: the lessons would keep the titles that they
/// had before, above labs with new ones.
#[test]
fn the_list_is_asked_for_in_the_language_that_is_spoken() {
    let mut model = model(80, 24, Lang::En, Look::default());
    assert_eq!(frame_command(&mut model, "lang;ko"), [Effect::Speak(Lang::Ko)], "it is not known yet");
    tell(&mut model, Event::Lessons(vec![view::Entry { id: "t/01".into(), ..Default::default() }]));
    let lists = Effect::Ask(Question::from(&view::Ask::List));
    assert_eq!(frame_command(&mut model, "lang;en"), [Effect::Speak(Lang::En), lists]);
    assert_eq!((model.lang, model.lesson.asked), (Lang::En, None), "the learner has asked nothing");
}

/// As in the list of a session in lines. On a cluster of others some steps cannot be done.
#[test]
fn the_list_says_which_steps_this_cluster_cannot_do() {
    let mut model = model(80, 24, Lang::En, Look::default());
    tell(&mut model, Event::Lesson(Box::default()));
    let cannot = vec![("Cut".to_string(), "fault".to_string())];
    let entry =
        view::Entry { id: "t/10".into(), title: "Cut a node off".into(), cannot, ..Default::default() };
    tell(&mut model, Event::Lessons(vec![entry]));
    let shown = text(&screen(&model));
    assert!(shown.contains("10 Cut a node off") && shown.contains("not here, step Cut: it needs fault"));
}

/// Enter would open a lesson that is not on the screen.
#[test]
fn the_mark_stays_in_sight_while_the_list_is_scrolled() {
    let mut model = model(80, 24, Lang::En, Look::default());
    tell(&mut model, Event::Lesson(Box::default()));
    let lessons = (10..50).map(|n| view::Entry { id: format!("t/{n}"), ..Default::default() });
    tell(&mut model, Event::Lessons(lessons.collect()));
    press(&mut model, KeyCode::F(6));
    let marked = |model: &Model| {
        let shown = text(&screen(model));
        (10..50).find(|n| shown.contains(&format!("▶ {n}"))).unwrap_or_else(|| panic!("no mark: {shown}"))
    };
    assert_eq!(marked(&model), 10);
    let mut before = 10;
    for key in [KeyCode::PageDown, KeyCode::Char(' '), KeyCode::PageDown] {
        press(&mut model, key);
        assert!(marked(&model) > before, "{key:?}");
        before = marked(&model);
    }
    (0..2).for_each(|_| drop(press(&mut model, KeyCode::PageUp)));
    assert!(marked(&model) < before);
    press(&mut model, KeyCode::End);
    assert_eq!(marked(&model), 49);
    (0..9).for_each(|_| drop(mouse(&mut model, MouseEventKind::ScrollUp, 5, 3)));
    assert!(marked(&model) < 49);
    press(&mut model, KeyCode::Home);
    assert_eq!(marked(&model), 10);
    press(&mut model, KeyCode::End);
    let opens = Effect::Ask(Question::from(&view::Ask::Open { id: "t/49".into() }));
    model.now += Duration::from_secs(1);
    assert_eq!(press(&mut model, KeyCode::Enter), [opens]);
}

#[test]
fn a_lesson_of_the_list_says_what_comes_before_it() {
    for (lang, words) in [(Lang::En, "first: lesson 01, not done yet"), (Lang::Ko, "먼저 할 강의: 01")] {
        let mut model = model(120, 34, lang, Look::default());
        tell(&mut model, Event::Lesson(Box::default()));
        let entry = |id: &str, first: &[&str]| view::Entry {
            id: id.into(),
            track: "t".into(),
            steps: 1,
            first: first.iter().map(ToString::to_string).collect(),
            ..Default::default()
        };
        let lessons = vec![entry("t/01", &[]), entry("t/02", &["t/01"]), entry("t/03", &["t/01"])];
        tell(&mut model, Event::Lessons(lessons));
        let shown = text(&screen(&model));
        assert_eq!(shown.matches(words).count(), 1, "below 03 alone: {shown}");
    }
}

#[test]
fn labs_stand_below_the_lessons_and_enter_puts_the_start_on_the_line() {
    for lang in [Lang::En, Lang::Ko] {
        let mut model = model(80, 24, lang, Look::default());
        tell(&mut model, Event::Lesson(Box::default()));
        let lessons = ["t/01", "t/02"].map(|id| view::Entry { id: id.into(), ..Default::default() });
        tell(&mut model, Event::Lessons(lessons.into()));
        lab(&mut model, LabView::default());
        tell(&mut model, Event::Labs(entries(lang)));
        press(&mut model, KeyCode::F(6));
        for _ in 0..9 {
            press(&mut model, KeyCode::Down);
        }
        let shown = text(&screen(&model));
        assert!(shown.contains("▶ wrong-port"), "{shown}");
        press(&mut model, KeyCode::Up);
        let shown = text(&screen(&model));
        assert!(shown.contains("▶ orphans") && shown.contains("60/100"), "{shown}");
        // Another list: the mark stays at its lab.
        tell(&mut model, Event::Lessons(vec![view::Entry { id: "t/01".into(), ..Default::default() }]));
        frame_command(&mut model, "prompt;on");
        assert_eq!(press(&mut model, KeyCode::Enter), [Effect::Type(b"\x03".to_vec())]);
        assert_eq!(frame_command(&mut model, "prompt;on"), [Effect::Type(b"lab start orphans".to_vec())]);
    }
}

/// The engine tries the lines of its setup for seconds before the first of them is played.
#[test]
fn the_lesson_that_is_coming_stands_above_the_old_one() {
    for (width, height) in [(80, 24), (120, 36)] {
        let mut model = model(width, height, Lang::En, Look::default());
        model.traffic.finish();
        let mut old = lesson(Lang::En);
        old.prose = "A line.\n\n".repeat(40);
        tell(&mut model, Event::Lesson(Box::new(old.clone())));
        model.lesson.scroll = crate::tui::scroll::Scroll::To(30);
        let notices = vec!["Lesson first-voyage/05 is being prepared.".to_string()];
        assert!(!text(&screen(&model)).contains(&notices[0]));
        let coming = LessonView { preparing: Some("first-voyage/05".into()), notices, ..old };
        tell(&mut model, Event::Lesson(Box::new(coming)));
        let shown = text(&screen(&model));
        assert!(shown.contains("Lesson first-voyage/05 is being"), "{shown}");
    }
}

/// What a lesson's setup would take is found out by a preparation. The view that ends it comes
/// behind the refusal, and the learner has to read that.
#[test]
fn a_refusal_outlasts_the_preparation_that_led_to_it() {
    let mut model = model(120, 36, Lang::En, Look::default());
    let coming = LessonView { preparing: Some("first-voyage/13".into()), ..lesson(Lang::En) };
    tell(&mut model, Event::Lesson(Box::new(coming)));
    tell(&mut model, Event::Refused("this would take pods/web".into()));
    let mut ended = lesson(Lang::En);
    ended.checks[1].state = Verdict::Met;
    tell(&mut model, Event::Lesson(Box::new(ended.clone())));
    let shown = text(&screen(&model));
    assert!(shown.contains("this would take pods/web"), "{shown}");
    let done = LessonView { state: State::Done, ..ended };
    tell(&mut model, Event::Lesson(Box::new(done.clone())));
    assert_eq!(model.lesson.refused, None, "the learner has gone on");

    tell(&mut model, Event::NoLesson("the history is damaged".into()));
    assert!(text(&screen(&model)).contains("the history is damaged"));
    tell(&mut model, Event::Lesson(Box::new(done)));
    assert!(!text(&screen(&model)).contains("the history is damaged"), "it is told again");
}

#[test]
fn a_refusal_is_read_however_far_the_list_is_scrolled() {
    let mut model = model(80, 24, Lang::En, Look::default());
    tell(&mut model, Event::Lesson(Box::default()));
    let lessons = (10..50).map(|n| view::Entry { id: format!("t/{n}"), ..Default::default() });
    tell(&mut model, Event::Lessons(lessons.collect()));
    press(&mut model, KeyCode::F(6));
    press(&mut model, KeyCode::End);
    tell(&mut model, Event::Refused("this cluster cannot play it".into()));
    let shown = text(&screen(&model));
    assert!(shown.contains("this cluster cannot play it") && shown.contains("▶ 49"), "{shown}");
    tell(&mut model, Event::Answered);
    assert!(!text(&screen(&model)).contains("this cluster"));
}
