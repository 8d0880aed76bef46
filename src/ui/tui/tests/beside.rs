//! A lesson or lab with a cluster of its own: the question over the panes, and the ways there and
//! back.

use super::keys::{asks, frame_command, fresh, letter, press};
use super::labs::{open, playing};
use super::*;
use crate::tui::event::{Offer, Question};
use crate::tui::model::Overlay;
use crate::tui::words::Word;
use ::lab::format::Declared;
use ::lab::graded::view::Ask as LabAsk;
use ::lab::view::{Ask, Elsewhere};
use crossterm::event::KeyCode;
use std::time::Duration;

fn offer(id: &str, lab: bool) -> Offer {
    let cluster = Declared { control_planes: 3, workers: 2 };
    Offer { there: Elsewhere { id: id.into(), cluster, lab, seed: None }, megabytes: 118 }
}

/// Asked about a lesson's cluster.
fn offered() -> Model {
    let mut model = fresh();
    tell(&mut model, Event::Offer(offer("hard-way/03", false)));
    model
}

#[test]
fn a_cluster_is_started_only_after_a_yes() {
    for key in [KeyCode::Enter, KeyCode::Char('y'), KeyCode::Char('ㅛ')] {
        let mut model = offered();
        assert_eq!(model.overlay, Some(Overlay::Beside));
        assert_eq!(press(&mut model, key), [Effect::Begin(offer("hard-way/03", false).there)], "{key:?}");
        assert!(model.overlay.is_none() && model.lesson.asked.is_some(), "its time is shown");
        tell(&mut model, Event::Refused("no room".into()));
        assert_eq!((model.lesson.asked, model.lesson.refused.as_deref()), (None, Some("no room")));
    }
    for key in [KeyCode::Esc, KeyCode::Char('n'), KeyCode::Char('q')] {
        let mut model = offered();
        assert_eq!((press(&mut model, key), model.overlay), (vec![], None), "{key:?}");
    }
    let mut model = offered();
    assert_eq!(press(&mut model, KeyCode::Char('k')), [Effect::Type(b"k".to_vec())], "a line is typed");
}

/// The start takes a while: without a sign the learner would think that nothing happens.
#[test]
fn the_list_shows_the_time_of_what_it_waits_for() {
    for lang in [Lang::En, Lang::Ko] {
        let mut model = model(80, 24, lang, Look::default());
        tell(&mut model, Event::Lesson(Box::default()));
        tell(&mut model, Event::Offer(offer("hard-way/03", false)));
        press(&mut model, KeyCode::Enter);
        model.now += Duration::from_secs(7);
        let told = lang.say(Word::Asked, &["7"]);
        assert!(text(&screen(&model)).contains(&told), "{told}: {}", text(&screen(&model)));
    }
}

#[test]
fn the_question_names_memory_nodes_and_the_way_back() {
    for lang in [Lang::En, Lang::Ko] {
        for (id, lab, leave) in [("hard-way/03", false, "lesson leave"), ("quorum-lost", true, "lab leave")] {
            for (columns, rows) in [(80, 24), (120, 36)] {
                let mut model = model(columns, rows, lang, Look::default());
                tell(&mut model, Event::Offer(offer(id, lab)));
                let shown = text(&screen(&model));
                for part in [id, "118 MB", leave, "Enter", "Esc"] {
                    assert!(shown.contains(part), "{part}: {shown}");
                }
            }
        }
    }
}

#[test]
fn the_shell_asks_for_the_way_there_and_back() {
    let mut model = fresh();
    let open = asks(&Ask::Open { id: "hard-way/03".into() });
    assert_eq!(frame_command(&mut model, "beside;lesson;hard-way/03;-"), open);
    for (seed, asked) in [("7", Some(7)), ("-", None)] {
        let ask = LabAsk::Elsewhere { id: "quorum-lost".into(), seed: asked };
        let effects = frame_command(&mut model, &format!("beside;lab;quorum-lost;{seed}"));
        assert_eq!(effects, [Effect::Ask(Question::from(&ask))]);
    }
    assert_eq!(frame_command(&mut model, "home"), [Effect::Home(0)]);
}

#[test]
fn the_end_of_the_shell_or_of_the_lesson_leads_back() {
    let mut model = fresh();
    assert_eq!(tell(&mut model, Event::ShellEnded(3)), [Effect::Quit(3)]);
    model.is_declared = true;
    assert_eq!(tell(&mut model, Event::ShellEnded(3)), [Effect::Home(3)]);
    assert!(text(&screen(&model)).contains("`lesson leave` goes back"), "the status line says how");
    let over = |step| LessonView {
        id: "hard-way/03".into(),
        title: "Quorum".into(),
        steps: 2,
        step,
        state: State::Done,
        finished: true,
        ..LessonView::default()
    };
    press(&mut model, KeyCode::F(6));
    tell(&mut model, Event::Lesson(Box::new(over(0))));
    assert_eq!(letter(&mut model, 'n'), asks(&Ask::Next), "there is a further step");
    tell(&mut model, Event::Answered);
    tell(&mut model, Event::Lesson(Box::new(over(1))));
    assert!(text(&screen(&model)).contains("goes back to your own cluster"));
    assert_eq!(letter(&mut model, 'n'), [Effect::Home(0)]);
    assert_eq!(press(&mut model, KeyCode::Enter), [Effect::Home(0)]);
}

#[test]
fn there_is_one_cluster_beside_the_learners_own() {
    let mut model = fresh();
    model.is_declared = true;
    tell(&mut model, Event::Offer(offer("hard-way/04", false)));
    assert_eq!((model.overlay, &model.offer), (None, &None));
    assert!(model.lesson.refused.is_some_and(|why| why.contains("one at a time")));
}

/// The shell hands the line to the frame and says nothing itself.
#[test]
fn that_there_is_one_is_said_in_the_lab_that_is_open_there() {
    let mut model = playing(120, 36, Lang::En, open(Lang::En));
    model.is_declared = true;
    tell(&mut model, Event::Offer(offer("hard-way/04", false)));
    assert_eq!((model.overlay, &model.offer), (None, &None));
    assert!(model.lab.refused.is_some_and(|why| why.contains("one at a time")));
}
