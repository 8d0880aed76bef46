use super::keys::{answered, asks, fresh, letter, press};
use super::*;
use crate::tui::layout::Pane;
use crossterm::event::KeyCode;
use lab::view::{Answer, Ask, Form, Judged};

/// A step that asks for an answer; `state`: how the last one stands.
fn questioned(lang: Lang, state: Judged) -> LessonView {
    let given = (state != Judged::Missing).then(|| "10.244.1.8".to_string());
    let answer = Answer {
        question: "Which IP address has the pod?".into(),
        form: Form::Text,
        cards: vec![],
        given,
        state,
        more: None,
    };
    LessonView { answer: Some(answer), ..lesson(lang) }
}

fn in_lesson(view: LessonView) -> Model {
    let mut model = fresh();
    tell(&mut model, Event::Lesson(Box::new(view)));
    press(&mut model, KeyCode::F(6));
    model
}

fn type_text(model: &mut Model, text: &str) {
    for c in text.chars() {
        assert_eq!(press(model, KeyCode::Char(c)), []);
    }
}

#[test]
fn a_question_is_answered_in_the_pane() {
    let mut model = in_lesson(questioned(Lang::En, Judged::Missing));
    let shown = text(&screen(&model));
    assert!(shown.contains("Which IP address has the pod?") && shown.contains("Enter answer"), "{shown}");
    assert_eq!(answered(&mut model, 'h'), asks(&Ask::Hint), "letters mean what they always do");
    assert_eq!(press(&mut model, KeyCode::Enter), []);
    type_text(&mut model, "10.2 한x");
    press(&mut model, KeyCode::Backspace);
    let shown = text(&screen(&model));
    assert!(shown.contains("> 10.2 한_") && shown.contains("Enter sends the answer"), "{shown}");
    let sent = press(&mut model, KeyCode::Enter);
    assert_eq!(sent, asks(&Ask::Answer { text: "10.2 한".into() }));
    assert_eq!(model.lesson.draft, None);
    tell(&mut model, Event::Answered);
    assert_eq!(letter(&mut model, 'n'), asks(&Ask::Next));
}

#[test]
fn an_answer_that_was_typed_with_a_korean_layout_is_sent_as_its_keys() {
    let mut model = in_lesson(questioned(Lang::Ko, Judged::Missing));
    press(&mut model, KeyCode::Enter);
    type_text(&mut model, "ㅎㄱㄷ두");
    assert_eq!(press(&mut model, KeyCode::Enter), asks(&Ask::Answer { text: "green".into() }));
}

/// Another session may go on meanwhile, to a step that asks something else.
#[test]
fn what_was_typed_for_a_step_is_no_answer_to_the_next_one() {
    let mut model = in_lesson(questioned(Lang::En, Judged::Missing));
    press(&mut model, KeyCode::Enter);
    type_text(&mut model, "10.2");
    let next = LessonView { step: 1, ..questioned(Lang::En, Judged::Missing) };
    tell(&mut model, Event::Lesson(Box::new(next)));
    assert_eq!(model.lesson.draft, None);
}

#[test]
fn an_answer_is_read_as_at_the_prompt() {
    for (typed, text) in [("answer web", "web"), ("'two words'", "two words"), ("답 \"web\"", "web")] {
        let mut model = in_lesson(questioned(Lang::En, Judged::Missing));
        press(&mut model, KeyCode::Enter);
        type_text(&mut model, typed);
        assert_eq!(press(&mut model, KeyCode::Enter), asks(&Ask::Answer { text: text.into() }), "{typed}");
    }
}

#[test]
fn an_answer_is_given_up_with_escape_and_waits_while_the_engine_is_busy() {
    let mut model = in_lesson(questioned(Lang::En, Judged::Missing));
    press(&mut model, KeyCode::Enter);
    type_text(&mut model, "abc");
    press(&mut model, KeyCode::Esc);
    assert_eq!((model.focus, model.lesson.draft.clone()), (Pane::Lesson, None));
    press(&mut model, KeyCode::Enter);
    type_text(&mut model, "abc");
    model.lesson.asked = Some(model.now);
    assert_eq!(press(&mut model, KeyCode::Enter), [], "the last question is still on its way");
    assert_eq!(model.lesson.draft.as_deref(), Some("abc"));
    tell(&mut model, Event::Answered);
    assert_eq!(press(&mut model, KeyCode::Enter), asks(&Ask::Answer { text: "abc".into() }));
}

#[test]
fn how_the_answer_stands_is_shown() {
    for (lang, state, told) in [
        (Lang::En, Judged::Waiting, "10.244.1.8: being checked"),
        (Lang::En, Judged::Wrong, "Not right: 10.244.1.8"),
        (Lang::Ko, Judged::Wrong, "10.244.1.8: 아닙니다"),
        (Lang::En, Judged::Unknown, "10.244.1.8: cannot be checked"),
        (Lang::En, Judged::Early, "Not yet: 10.244.1.8"),
        (Lang::En, Judged::Right, "10.244.1.8"),
    ] {
        let mut model = model(80, 24, lang, Look::default());
        tell(&mut model, Event::Lesson(Box::new(questioned(lang, state))));
        let shown = text(&screen(&model));
        assert!(shown.contains(told), "{told}\n{shown}");
    }
    let mut part = questioned(Lang::Ko, Judged::Wrong);
    part.answer.as_mut().unwrap().more = Some(2);
    let mut model = model(80, 24, Lang::Ko, Look::default());
    tell(&mut model, Event::Lesson(Box::new(part)));
    let shown = text(&screen(&model));
    assert!(shown.contains("여기까지는") && shown.contains("2개") && !shown.contains("아닙니다"), "{shown}");
    let mut right = in_lesson(questioned(Lang::En, Judged::Right));
    press(&mut right, KeyCode::Enter);
    assert_eq!(right.lesson.draft, None, "there is nothing left to answer");
    let waits = LessonView { answer: questioned(Lang::En, Judged::Missing).answer, ..asking(Lang::En) };
    let mut first = in_lesson(waits);
    press(&mut first, KeyCode::Enter);
    assert_eq!(first.lesson.draft, None, "the prediction comes first");
}

#[test]
fn a_paste_goes_into_the_open_line() {
    let mut model = in_lesson(questioned(Lang::En, Judged::Missing));
    press(&mut model, KeyCode::Enter);
    type_text(&mut model, "10.");
    assert_eq!(tell(&mut model, Event::Paste("244.1.8\r\n".into())), []);
    assert_eq!((model.focus, model.lesson.draft.as_deref()), (Pane::Lesson, Some("10.244.1.8")));
    tell(&mut model, Event::Paste("x".repeat(1000)));
    assert_eq!(model.lesson.draft.as_ref().map(|draft| draft.chars().count()), Some(200));
    press(&mut model, KeyCode::Esc);
    let typed = tell(&mut model, Event::Paste("ls".into()));
    assert!(matches!(&typed[..], [Effect::Type(bytes)] if bytes.ends_with(b"ls")), "{typed:?}");
    assert_eq!(model.focus, Pane::Shell);
}
