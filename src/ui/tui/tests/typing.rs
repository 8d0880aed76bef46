//! What is typed without a look at the screen, and what a key types for the learner.

use super::keys::{asks, control, frame_command, fresh, letter, mouse, press};
use super::*;
use crate::lesson::tag;
use crate::tui::layout::Pane;
use crate::tui::model::{BURST, Overlay};
use crate::tui::update::catch_up;
use crossterm::event::{KeyCode, MouseEventKind};
use lab::format::Library;
use lab::view::{Answer, Ask, Entry, Form, Judged};

/// The bytes that these effects type into the shell.
fn typed(effects: Vec<Effect>) -> Vec<u8> {
    let bytes = |effect| match effect {
        Effect::Type(bytes) => bytes,
        _ => vec![],
    };
    effects.into_iter().flat_map(bytes).collect()
}

#[test]
fn a_line_that_is_typed_over_an_overlay_reaches_the_shell_whole() {
    for key in [1, 3, 4] {
        for line in ["hint", "lang en", "힌트"] {
            let mut model = fresh();
            press(&mut model, KeyCode::F(key));
            assert!(model.overlay.is_some());
            let typed: Vec<u8> =
                line.chars().flat_map(|c| typed(press(&mut model, KeyCode::Char(c)))).collect();
            assert_eq!(String::from_utf8_lossy(&typed), line);
            assert_eq!((model.overlay, model.focus), (None, Pane::Shell));
        }
    }
    let mut model = fresh();
    press(&mut model, KeyCode::F(1));
    assert_eq!(typed(control(&mut model, 'c')), [3], "Ctrl-C is the shell's, too");
    // What turns the pages of the help, and what closes it, is not for the shell.
    press(&mut model, KeyCode::F(1));
    for key in [' ', 'q'] {
        assert_eq!(press(&mut model, KeyCode::Char(key)), []);
    }
    assert_eq!(model.overlay, None);
}

/// At the prompt, with the focus on the lesson's pane, in which this is read.
fn reading(lang: Lang, prose: &str) -> Model {
    let mut model = model(80, 24, lang, Look::default());
    tell(&mut model, Event::Glossary(Library::built_in().terms.clone()));
    let view = LessonView { prose: prose.into(), task: "Do it.".into(), ..lesson(lang) };
    tell(&mut model, Event::Lesson(Box::new(view)));
    frame_command(&mut model, "prompt;on");
    press(&mut model, KeyCode::F(6));
    assert_eq!(model.focus, Pane::Lesson);
    model
}

#[test]
fn a_key_types_the_command_of_the_text_and_does_not_run_it() {
    for (lang, key) in [(Lang::En, 't'), (Lang::Ko, 'ㅅ')] {
        let mut model = reading(lang, "Look at `kubectl get pods`, which `kubectl run` has changed.");
        assert_eq!(typed(letter(&mut model, key)), [3], "what stood there goes");
        assert_eq!(model.focus, Pane::Shell);
        assert_eq!(typed(frame_command(&mut model, "prompt;on")), b"kubectl get pods");
        // Where a program runs, the command would be taken for its input.
        let mut model = reading(lang, "Look at `kubectl get pods`.");
        frame_command(&mut model, "prompt;off");
        assert_eq!(letter(&mut model, key), [Effect::Bell]);
        let mut model = reading(lang, "Nothing to do.");
        assert_eq!(letter(&mut model, key), []);
        assert_eq!((model.overlay, model.focus), (None, Pane::Lesson));
        let none = if lang == Lang::Ko { "본문에 명령이 없습니다" } else { "shows no command" };
        assert!(text(&screen(&model)).contains(none), "{}", text(&screen(&model)));
    }
}

#[test]
fn of_several_commands_one_is_chosen_and_a_block_comes_in_one_piece() {
    let prose = "First `get nodes`:\n\n```sh\ncat > a.yaml <<EOF\nkind: Pod\nEOF\n```\n\n```text\nget it\n```\nAgain `get nodes`.";
    let mut model = reading(Lang::En, prose);
    assert_eq!(letter(&mut model, 't'), []);
    assert_eq!(model.overlay, Some(Overlay::Commands(0)));
    let shown = text(&screen(&model));
    assert!(shown.contains("▶ get nodes") && shown.contains("(3 lines) cat > a.yaml"), "{shown}");
    press(&mut model, KeyCode::Down);
    press(&mut model, KeyCode::Down);
    assert_eq!(model.overlay, Some(Overlay::Commands(1)), "there are two");
    mouse(&mut model, MouseEventKind::ScrollUp, 5, 5);
    assert_eq!(model.overlay, Some(Overlay::Commands(0)), "the wheel moves the mark, too");
    press(&mut model, KeyCode::End);
    assert_eq!(model.overlay, Some(Overlay::Commands(1)));
    press(&mut model, KeyCode::Enter);
    let block = typed(frame_command(&mut model, "prompt;on"));
    assert_eq!(block, b"\x1b[200~cat > a.yaml <<EOF\rkind: Pod\rEOF\x1b[201~");
    // The same key closes the list.
    let mut model = reading(Lang::En, prose);
    letter(&mut model, 't');
    assert_eq!((press(&mut model, KeyCode::Char('t')), model.overlay), (vec![], None));
}

#[test]
fn a_key_explains_the_words_of_the_text() {
    let library = Library::built_in();
    for (lang, prose) in [
        (Lang::En, "The **kubelet** starts the pods of its node."),
        (Lang::Ko, "**kubelet** 은 노드에서 파드를 실행합니다."),
    ] {
        let first_words = |id: &str| {
            let said = library.terms.find(id).expect("a term").say.get(tag(lang));
            said.split(' ').take(3).collect::<Vec<_>>().join(" ")
        };
        for predict in [None, asking(lang).predict] {
            let mut model = reading(lang, prose);
            let task = if predict.is_some() { String::new() } else { "Do it.".into() };
            let view = LessonView { prose: prose.into(), task, predict, ..lesson(lang) };
            tell(&mut model, Event::Lesson(Box::new(view)));
            assert_eq!(letter(&mut model, 'w'), [], "also while a question waits");
            assert_eq!(model.overlay, Some(Overlay::Terms(0)));
            let shown = text(&screen(&model));
            assert!(shown.contains("kubelet") && shown.contains(&first_words("kubelet")), "{shown}");
            press(&mut model, KeyCode::Down);
            let next = text(&screen(&model));
            assert!(!next.contains(&first_words("kubelet")), "another word is explained: {next}");
            press(&mut model, KeyCode::Char('w'));
            assert_eq!((model.overlay, model.focus), (None, Pane::Lesson));
        }
    }
    let mut model = reading(Lang::En, "Nothing.");
    assert_eq!((letter(&mut model, 'w'), model.overlay), (vec![], None));
    assert!(text(&screen(&model)).contains("no word of this text"), "{}", text(&screen(&model)));
}

#[test]
fn the_lists_of_commands_and_words_fit_every_screen() {
    let prose = "`get pods` `get nodes` The kubelet and the scheduler run pods on nodes; etcd keeps objects.";
    for (lang, width, height) in
        [(Lang::En, 40, 12), (Lang::Ko, 40, 12), (Lang::Ko, 60, 16), (Lang::En, 5, 3)]
    {
        let mut model = reading(lang, prose);
        tell(&mut model, Event::Resize(Size::new(width, height)));
        for overlay in [Overlay::Commands(9), Overlay::Terms(0), Overlay::Terms(99)] {
            model.overlay = Some(overlay);
            screen(&model);
        }
    }
}

/// A step that is done, where Enter goes on; a question, where Enter opens the line of the answer;
/// and the list, where Enter opens a lesson.
#[test]
fn enter_behind_a_command_in_the_wrong_pane_moves_nothing() {
    let answer = Answer {
        question: "Which IP address has the pod?".into(),
        form: Form::Text,
        cards: vec![],
        given: None,
        state: Judged::Missing,
        more: None,
    };
    let asked = LessonView { answer: Some(answer), ..lesson(Lang::En) };
    for view in [done(Lang::En), asked, LessonView::default()] {
        let mut model = fresh();
        let entry = Entry { id: "first-voyage/05".into(), title: "Look".into(), ..Entry::default() };
        tell(&mut model, Event::Lessons(vec![entry]));
        tell(&mut model, Event::Lesson(Box::new(view)));
        press(&mut model, KeyCode::F(6));
        for c in "get pods".chars() {
            assert_eq!(press(&mut model, KeyCode::Char(c)), []);
            model.now += BURST / 3;
        }
        assert_eq!(press(&mut model, KeyCode::Enter), []);
        assert_eq!((model.lesson.draft.clone(), model.focus), (None, Pane::Lesson));
        assert!(text(&screen(&model)).contains("Esc goes to the shell"), "it is said where the keys go");
        model.now += BURST;
        assert_eq!(tell(&mut model, Event::Tick), [], "nor afterwards");
        // After a moment it means what it always does.
        let effects = press(&mut model, KeyCode::Enter);
        assert!(!effects.is_empty() || model.lesson.draft.is_some(), "{effects:?}");
    }
}

/// With a lesson open the letter `o` leads back from the list to it.
#[test]
fn a_command_that_is_typed_into_the_list_leaves_it_as_it_is() {
    let mut model = fresh();
    press(&mut model, KeyCode::F(6));
    letter(&mut model, 'o');
    assert!(model.shows_list());
    for c in "get pods".chars() {
        press(&mut model, KeyCode::Char(c));
        model.now += BURST / 3;
    }
    model.now += BURST;
    tell(&mut model, Event::Tick);
    assert!(model.shows_list());
}

#[test]
fn a_letter_acts_while_the_shell_prints_without_a_pause() {
    let mut model = fresh();
    press(&mut model, KeyCode::F(6));
    assert_eq!(press(&mut model, KeyCode::Char('b')), []);
    tell(&mut model, Event::Shell(b"y\r\n".to_vec()));
    assert_eq!(catch_up(&mut model), (vec![], false), "another letter may follow");
    model.now += BURST;
    tell(&mut model, Event::Shell(b"y\r\n".to_vec()));
    assert_eq!(catch_up(&mut model), (asks(&Ask::Back), true));
    assert_eq!(catch_up(&mut model), (vec![], false), "once");
}
