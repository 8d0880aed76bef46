use super::*;
use crate::tui::event::Question;
use crate::tui::layout::Pane;
use crate::tui::model::{BURST, Overlay, View};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use lab::view::Ask;

pub(super) fn press(model: &mut Model, code: KeyCode) -> Vec<Effect> {
    tell(model, Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

/// A letter, and a moment in which nothing follows it.
pub(super) fn letter(model: &mut Model, letter: char) -> Vec<Effect> {
    let mut effects = press(model, KeyCode::Char(letter));
    model.now += BURST;
    effects.extend(tell(model, Event::Tick));
    effects
}

/// Presses a letter in the lesson's pane as [`letter`] does, and the engine answers.
pub(super) fn answered(model: &mut Model, key: char) -> Vec<Effect> {
    let effects = letter(model, key);
    tell(model, Event::Answered);
    effects
}

/// What the REPL in the pane tells the frame.
pub(super) fn frame_command(model: &mut Model, words: &str) -> Vec<Effect> {
    model.shell.trust("t".into());
    tell(model, Event::Shell(format!("\x1b]ropewalk;t;{words}\x07").into_bytes()))
}

pub(super) fn control(model: &mut Model, letter: char) -> Vec<Effect> {
    tell(model, Event::Key(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL)))
}

pub(super) fn mouse(model: &mut Model, kind: MouseEventKind, column: u16, row: u16) -> Vec<Effect> {
    tell(model, Event::Mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }))
}

pub(super) fn fresh() -> Model {
    model(80, 24, Lang::En, Look::default())
}

pub(super) fn asks(ask: &Ask) -> Vec<Effect> {
    vec![Effect::Ask(Question::from(ask))]
}

#[test]
fn what_is_typed_in_the_shell_is_the_shells() {
    let mut model = fresh();
    assert_eq!(control(&mut model, 'c'), [Effect::Type(vec![3])]);
    assert_eq!(press(&mut model, KeyCode::Tab), [Effect::Type(vec![9])]);
    assert_eq!(press(&mut model, KeyCode::Esc), [Effect::Type(vec![27])]);
    assert_eq!(press(&mut model, KeyCode::Char('n')), [Effect::Type(vec![b'n'])]);
    assert_eq!(model.focus, Pane::Shell);
    // The prefix twice is the prefix itself.
    assert_eq!(control(&mut model, ']'), []);
    assert_eq!(control(&mut model, ']'), [Effect::Type(vec![0x1d])]);
}

#[test]
fn panes_turn_by_key_prefix_and_mouse() {
    let mut model = fresh();
    press(&mut model, KeyCode::F(6));
    assert_eq!(model.focus, Pane::Lesson);
    control(&mut model, ']');
    press(&mut model, KeyCode::Tab);
    assert_eq!(model.focus, Pane::Map);
    press(&mut model, KeyCode::F(2));
    assert_eq!(model.focus, Pane::Lesson, "the whole map goes back to the pane before");
    mouse(&mut model, MouseEventKind::Down(MouseButton::Left), 5, 20);
    assert_eq!(model.focus, Pane::Shell);
    control(&mut model, ']');
    press(&mut model, KeyCode::Char('3'));
    assert!(matches!(model.overlay, Some(Overlay::Views(_))));
    press(&mut model, KeyCode::Char('5'));
    assert_eq!((model.view, model.overlay), (View::Network, None));
    assert_eq!(press(&mut model, KeyCode::F(10)), [Effect::Quit(0)]);
}

#[test]
fn the_size_of_the_shell_follows_its_pane() {
    let mut model = fresh();
    let large = KeyEvent::new(KeyCode::F(2), KeyModifiers::SHIFT);
    assert_eq!(tell(&mut model, Event::Key(large)), [Effect::Size(20, 78)]);
    assert_eq!(tell(&mut model, Event::Key(large)), [Effect::Size(8, 78)]);
    let grown = tell(&mut model, Event::Resize(Size::new(120, 34)));
    assert!(matches!(grown[..], [Effect::Size(rows, 75)] if rows > 10), "{grown:?}");
    // Zooming another pane hides the shell, which then keeps its size.
    press(&mut model, KeyCode::F(6));
    assert_eq!(press(&mut model, KeyCode::F(2)), []);
}

#[test]
fn lesson_keys_ask_the_engine_and_a_waiting_question_takes_the_letters() {
    let mut model = fresh();
    press(&mut model, KeyCode::F(6));
    assert_eq!(answered(&mut model, 'n'), asks(&Ask::Next));
    assert_eq!(answered(&mut model, 'b'), asks(&Ask::Back));
    assert_eq!(answered(&mut model, 'h'), asks(&Ask::Hint));
    assert_eq!(answered(&mut model, 'c'), asks(&Ask::Check { id: None }));
    tell(&mut model, Event::Lesson(Box::new(asking(Lang::En))));
    assert_eq!(answered(&mut model, 'b'), asks(&Ask::Predict { choice: "b".into() }));
    assert_eq!(letter(&mut model, 'd'), []);
    assert_eq!(letter(&mut model, 'n'), []);
    // A learner who has done it without guessing goes on.
    let done = LessonView { state: State::Done, ..asking(Lang::En) };
    tell(&mut model, Event::Lesson(Box::new(done)));
    assert!(text(&screen(&model)).contains("n next"));
    assert_eq!(letter(&mut model, 'n'), asks(&Ask::Next));
    press(&mut model, KeyCode::Esc);
    assert_eq!(model.focus, Pane::Shell);
}

/// Also where no lesson was open before, and with the question under way that has the setup played.
#[test]
fn a_setup_can_be_stopped_from_the_lessons_pane() {
    for (lang, key, foot) in [(Lang::En, 's', "s stops the preparation"), (Lang::Ko, 'ㄴ', "s 준비 멈춤")]
    {
        for view in [LessonView::default(), lesson(lang)] {
            let mut model = model(80, 24, lang, Look::default());
            let notices = vec!["command 3 of 7".into()];
            let playing = LessonView { playing: Some((3, 7)), notices, ..view.clone() };
            tell(&mut model, Event::Lesson(Box::new(playing)));
            press(&mut model, KeyCode::F(6));
            let shown = text(&screen(&model));
            assert!(shown.contains("command 3 of 7") && shown.contains(foot), "{shown}");
            model.lesson.asked = Some(model.now);
            assert_eq!(letter(&mut model, key), asks(&Ask::Stop { question: None }));
            tell(&mut model, Event::Answered);
            tell(&mut model, Event::Lesson(Box::new(view.clone())));
            assert_eq!(letter(&mut model, key), [], "nothing plays");
        }
    }
}

#[test]
fn a_command_that_is_typed_into_the_lesson_moves_nothing() {
    for view in [lesson(Lang::En), asking(Lang::En)] {
        let mut model = fresh();
        tell(&mut model, Event::Lesson(Box::new(view)));
        press(&mut model, KeyCode::F(6));
        for c in "create deployment web --image=nginx".chars() {
            assert_eq!(press(&mut model, KeyCode::Char(c)), []);
            model.now += BURST / 3;
            assert_eq!(tell(&mut model, Event::Tick), []);
        }
        assert!(text(&screen(&model)).contains("Esc goes to the shell"), "it is said where the keys go");
        model.now += BURST * 2;
        assert_eq!(tell(&mut model, Event::Tick), [], "nor afterwards");
    }
}

#[test]
fn one_question_at_a_time_is_on_its_way_to_the_engine() {
    let mut model = fresh();
    press(&mut model, KeyCode::F(6));
    assert_eq!(letter(&mut model, 'b'), asks(&Ask::Back));
    assert_eq!(letter(&mut model, 'n'), []);
    tell(&mut model, Event::Lesson(Box::new(lesson(Lang::En))));
    assert_eq!(letter(&mut model, 'n'), [], "a view that comes by itself is no answer");
    assert!(text(&screen(&model)).contains("still being answered"), "{}", text(&screen(&model)));
    tell(&mut model, Event::Refused("no".into()));
    assert_eq!(letter(&mut model, 'n'), asks(&Ask::Next));
}

#[test]
fn an_editor_in_the_shell_takes_two_keys_to_leave() {
    let mut model = fresh();
    tell(&mut model, Event::Shell(b"\x1b[?1049h".to_vec()));
    assert_eq!(press(&mut model, KeyCode::F(10)), [Effect::Bell]);
    assert!(text(&screen(&model)).contains("full-screen program"));
    press(&mut model, KeyCode::Char('x'));
    assert_eq!(press(&mut model, KeyCode::F(10)), [Effect::Bell], "not twice in a row");
    assert_eq!(press(&mut model, KeyCode::F(10)), [Effect::Quit(0)]);
    let mut quit = || {
        control(&mut model, ']');
        press(&mut model, KeyCode::Char('q'))
    };
    assert_eq!((quit(), quit()), (vec![Effect::Bell], vec![Effect::Quit(0)]));
}

#[test]
fn function_keys_are_those_of_a_full_screen_program_that_reads_keys() {
    for (lang, words) in [(Lang::En, "F keys go to the program"), (Lang::Ko, "F 키는 프로그램으로 갑니다")]
    {
        let mut model = model(80, 24, lang, Look::default());
        let typed = |bytes: &[u8]| [Effect::Type(bytes.to_vec())];
        // `watch` reads no function keys, and asks for none.
        tell(&mut model, Event::Shell(b"\x1b[?1049h".to_vec()));
        press(&mut model, KeyCode::F(1));
        assert!(matches!(model.overlay, Some(Overlay::Help(_))));
        press(&mut model, KeyCode::F(1));
        assert!(!text(&screen(&model)).contains(words));
        // With the prefix in front they go to the shell, whatever runs there.
        control(&mut model, ']');
        assert_eq!(press(&mut model, KeyCode::F(5)), typed(b"\x1b[15~"));
        // htop, vi, less: DECCKM and the keypad.
        tell(&mut model, Event::Shell(b"\x1b[?1h\x1b=".to_vec()));
        assert!(text(&screen(&model)).contains(words), "{}", text(&screen(&model)));
        assert_eq!(press(&mut model, KeyCode::F(10)), typed(b"\x1b[21~"));
        assert_eq!(press(&mut model, KeyCode::F(1)), typed(b"\x1bOP"));
        let back = KeyEvent::new(KeyCode::F(6), KeyModifiers::SHIFT);
        assert_eq!(tell(&mut model, Event::Key(back)), typed(b"\x1b[17;2~"));
        // The frame's own keys are behind the prefix, and at hand in the other panes.
        control(&mut model, ']');
        press(&mut model, KeyCode::Char('1'));
        assert!(matches!(model.overlay, Some(Overlay::Help(_))));
        assert_eq!(press(&mut model, KeyCode::F(1)), [], "closes the help");
        assert_eq!((model.overlay, model.focus), (None, Pane::Shell));
        control(&mut model, ']');
        press(&mut model, KeyCode::Char('6'));
        assert_eq!(model.focus, Pane::Lesson);
        assert_eq!(press(&mut model, KeyCode::F(6)), []);
        assert_eq!(model.focus, Pane::Map);
    }
}

/// The speed in the map's corner is that of the lit hop, and the foot tells the one that was
/// chosen.
#[test]
fn the_speed_on_the_screen_is_that_of_the_replay() {
    let mut model = fresh();
    press(&mut model, KeyCode::F(6));
    press(&mut model, KeyCode::F(6));
    let flow = model.traffic.shown().expect("a command").clone();
    let mut seen = Vec::new();
    for slower in ["1/100", "1/200"] {
        press(&mut model, KeyCode::Char('r'));
        assert!(text(&screen(&model)).contains(&format!("+ - speed {slower}")));
        let mut before = 0;
        while let Some(due) = model.traffic.due() {
            let hop = &flow.hops[model.traffic.play.at];
            let real = flow.since(hop).saturating_sub(before) as f64;
            let lit = (due - model.now).as_micros() as f64;
            let corner = crate::tui::map::corner(&model);
            let said = corner.trim_start_matches(['▶', ' ']);
            let times = match said.strip_prefix("1/") {
                Some(slower) => slower.parse::<f64>().expect("a number"),
                None if real > 0.0 => 1.0 / said.trim_start_matches('x').parse::<f64>().expect("a number"),
                None => f64::NAN,
            };
            match real > 0.0 {
                true => assert!((times * real / lit - 1.0).abs() < 0.06, "{said}: {real} us in {lit} us"),
                false => assert_eq!(said, "", "no time that could be measured has no speed"),
            }
            seen.push(said.to_string());
            before = flow.since(hop);
            model.now = due;
            tell(&mut model, Event::Tick);
        }
        press(&mut model, KeyCode::Char('-'));
    }
    assert!(seen.contains(&"1/100".into()) && seen.contains(&"1/200".into()), "{seen:?}");
    assert!(seen.iter().collect::<std::collections::BTreeSet<_>>().len() > 2, "{seen:?}");
}

#[test]
fn a_button_that_comes_up_outside_comes_up_for_the_program_too() {
    let mut model = fresh();
    tell(&mut model, Event::Shell(b"\x1b[?1002h\x1b[?1006h".to_vec()));
    let inside = crate::tui::layout::inside(model.panes().shell);
    mouse(&mut model, MouseEventKind::Down(MouseButton::Left), inside.x + 4, inside.y + 2);
    let up = mouse(&mut model, MouseEventKind::Up(MouseButton::Left), inside.x + 4, 0);
    assert_eq!(up, [Effect::Type(b"\x1b[<0;5;1m".to_vec())]);
    assert_eq!(mouse(&mut model, MouseEventKind::Up(MouseButton::Left), inside.x + 4, 0), []);
}

#[test]
fn a_pointer_that_moves_over_the_shell_draws_nothing() {
    let mut model = fresh();
    model.focus = Pane::Lesson;
    let inside = crate::tui::layout::inside(model.panes().shell);
    let event = |kind| {
        Event::Mouse(MouseEvent { kind, column: inside.x, row: inside.y, modifiers: KeyModifiers::NONE })
    };
    assert!(!update(&mut model, event(MouseEventKind::Moved)).1);
    assert!(update(&mut model, event(MouseEventKind::Down(MouseButton::Left))).1, "the focus moves");
    press(&mut model, KeyCode::F(1));
    assert!(!update(&mut model, event(MouseEventKind::Moved)).1, "nor over the help");
    assert!(update(&mut model, event(MouseEventKind::ScrollDown)).1, "the help moves");
}

#[test]
fn an_open_interface_forgets_the_cluster_that_another_has_replaced() {
    let mut model = fresh();
    assert!(model.cluster.revision > 0 && !model.traffic.flows.is_empty());
    let pods = model.cluster.pods.len();
    update(&mut model, Event::Silent("pods".into()));
    assert!(!model.silent.is_empty());
    tell(&mut model, Event::NewCluster);
    assert!(!model.silent.is_empty(), "the pods on the screen are still those of the other one");
    assert_eq!((model.cluster.revision, model.traffic.flows.len()), (0, 0));
    assert_eq!(model.cluster.pods.len(), pods, "its objects come with its own lists, and perhaps have come");
    all(&mut model, "pods", vec![]);
    assert!(model.silent.is_empty(), "now they are its own");
    tell(&mut model, Event::Records(records()));
    assert!(model.traffic.shown().is_some());
}

#[test]
fn the_lesson_picks_the_view_until_the_learner_does() {
    let mut model = fresh();
    let at = |step: usize, diagram: &str| {
        Event::Lesson(Box::new(LessonView { step, diagram: diagram.into(), ..lesson(Lang::En) }))
    };
    tell(&mut model, at(0, "raft"));
    assert_eq!(model.view, View::Raft);
    frame_command(&mut model, "view;pod");
    tell(&mut model, at(0, "raft"));
    assert_eq!(model.view, View::Pod, "chosen by the learner");
    tell(&mut model, at(1, "scheduling"));
    assert_eq!(model.view, View::Scheduling, "a new step");
}

#[test]
fn a_paste_closes_what_lies_over_the_panes() {
    for key in [1, 3, 4] {
        let mut model = fresh();
        press(&mut model, KeyCode::F(key));
        assert!(model.overlay.is_some());
        assert_eq!(tell(&mut model, Event::Paste("ls".into())), [Effect::Type(b"ls".to_vec())]);
        assert!(model.overlay.is_none());
    }
}

#[test]
fn the_last_words_of_a_repl_that_failed_are_kept() {
    use crate::tui::update::last_words;
    let mut model = fresh();
    tell(
        &mut model,
        Event::Shell(b"\x1b[2J\x1b[Hropewalk: the cluster\r\n\r\n  does not answer\r\n".to_vec()),
    );
    assert_eq!(last_words(&model, 1).as_deref(), Some("ropewalk: the cluster\n  does not answer"));
    for quiet in [0, 129, 143] {
        assert_eq!(last_words(&model, quiet), None, "{quiet}");
    }
}

#[test]
fn pastes_and_the_wheel_go_where_the_program_wants_them() {
    let mut model = fresh();
    assert_eq!(tell(&mut model, Event::Paste("a\nb".into())), [Effect::Type(b"a\rb".to_vec())]);
    tell(&mut model, Event::Shell(b"\x1b[?2004h".to_vec()));
    assert_eq!(
        tell(&mut model, Event::Paste("a\nb".into())),
        [Effect::Type(b"\x1b[200~a\rb\x1b[201~".to_vec())]
    );
    for n in 0..40 {
        tell(&mut model, Event::Shell(format!("line {n}\r\n").into_bytes()));
    }
    assert_eq!(mouse(&mut model, MouseEventKind::ScrollUp, 10, 20), []);
    assert_eq!(model.shell.scrolled(), 3);
    press(&mut model, KeyCode::Char('x'));
    assert_eq!(model.shell.scrolled(), 0, "typing comes back to the end");
    // A full-screen program gets cursor keys, or the mouse itself if it asked for it.
    tell(&mut model, Event::Shell(b"\x1b[?1049h".to_vec()));
    assert_eq!(
        mouse(&mut model, MouseEventKind::ScrollUp, 10, 20),
        [Effect::Type(b"\x1b[A\x1b[A\x1b[A".to_vec())]
    );
    tell(&mut model, Event::Shell(b"\x1b[?1000h\x1b[?1006h".to_vec()));
    let inside = crate::tui::layout::inside(model.panes().shell);
    let down = mouse(&mut model, MouseEventKind::Down(MouseButton::Left), inside.x + 4, inside.y + 2);
    assert_eq!(down, [Effect::Type(b"\x1b[<0;5;3M".to_vec())]);
}

/// What a pod's log may do: the other screen, the program's cursor keys, the mouse.
#[test]
fn printed_text_takes_neither_keys_nor_the_mouse_from_the_prompt() {
    let mut model = model(80, 24, Lang::En, Look::default());
    tell(&mut model, Event::Shell(b"\x1b[?1049h\x1b[?1h\x1b=\x1b[?2004h\x1b[?1000h".to_vec()));
    assert!(model.program_has_keys(), "it may be a program");
    model.at_prompt = true;
    let inside = crate::tui::layout::inside(model.panes().shell);
    let kinds = [MouseEventKind::ScrollUp, MouseEventKind::Down(MouseButton::Left)];
    for kind in kinds {
        assert_eq!(mouse(&mut model, kind, inside.x + 4, inside.y + 2), [], "{kind:?}");
    }
    press(&mut model, KeyCode::F(1));
    assert!(matches!(model.overlay, Some(Overlay::Help(_))));
    press(&mut model, KeyCode::F(1));
    assert_eq!(press(&mut model, KeyCode::F(10)), [Effect::Quit(0)], "no editor has unsaved text");
}

#[test]
fn scrolling_ends_where_the_text_does() {
    let mut model = model(60, 16, Lang::En, Look::default());
    press(&mut model, KeyCode::F(1));
    for _ in 0..100 {
        press(&mut model, KeyCode::Down);
    }
    let end = text(&screen(&model));
    assert!(end.contains("at first"), "{end}");
    press(&mut model, KeyCode::Up);
    assert_ne!(text(&screen(&model)), end, "the first press back is seen");
    for _ in 0..100 {
        mouse(&mut model, MouseEventKind::ScrollDown, 30, 8);
    }
    assert_eq!(text(&screen(&model)), end);
    mouse(&mut model, MouseEventKind::ScrollUp, 30, 8);
    assert_ne!(text(&screen(&model)), end, "the first notch back, too");
}

#[test]
fn the_marked_lesson_stays_in_sight() {
    use lab::view::Entry;
    for lang in [Lang::En, Lang::Ko] {
        let mut model = model(80, 24, lang, Look::default());
        tell(&mut model, Event::Lesson(Box::default()));
        let entry = |n: usize| Entry {
            id: format!("t/{n:02}"),
            title: "긴 제목 and more of it ".repeat(3),
            ..Entry::default()
        };
        tell(&mut model, Event::Lessons((0..30).map(entry).collect()));
        press(&mut model, KeyCode::F(6));
        for code in [KeyCode::Down, KeyCode::Up] {
            for _ in 0..30 {
                press(&mut model, code);
                let (marked, shown) = (model.lesson.marked, text(&screen(&model)));
                assert!(shown.contains(&format!("▶ {marked:02} ")), "{marked} in\n{shown}");
            }
        }
        assert!(text(&screen(&model)).contains("F6"), "back at the top, what stands above it is seen too");
    }
}

#[test]
fn a_click_on_a_name_chooses_that_pane() {
    for lang in [Lang::En, Lang::Ko] {
        let mut model = model(60, 16, lang, Look::default());
        for (name, pane) in
            [("그림", Pane::Map), ("강의", Pane::Lesson), ("셸", Pane::Shell), ("그림", Pane::Map)]
        {
            let name = match (lang, pane) {
                (Lang::Ko, _) => name,
                (_, Pane::Map) => "map",
                (_, Pane::Lesson) => "lesson",
                _ => "shell",
            };
            let shown = text(&screen(&model));
            let line = shown.lines().next().expect("names");
            use unicode_width::UnicodeWidthStr;
            let end = line[..line.find(name).expect("its name")].width() + name.width();
            mouse(&mut model, MouseEventKind::Down(MouseButton::Left), end as u16 - 1, 0);
            assert_eq!(model.focus, pane, "{line}");
        }
    }
}

#[test]
fn the_frames_keys_work_with_a_korean_layout_on() {
    let mut model = fresh();
    press(&mut model, KeyCode::F(6));
    assert_eq!(answered(&mut model, 'ㅜ'), asks(&Ask::Next));
    tell(&mut model, Event::Lesson(Box::new(asking(Lang::Ko))));
    assert_eq!(answered(&mut model, 'ㅠ'), asks(&Ask::Predict { choice: "b".into() }));
    press(&mut model, KeyCode::F(1));
    press(&mut model, KeyCode::Char('ㅂ'));
    assert_eq!(model.overlay, None);
    control(&mut model, ']');
    assert_eq!(press(&mut model, KeyCode::Char('ㅋ')), [Effect::Suspend]);
    press(&mut model, KeyCode::Esc);
    assert_eq!(
        press(&mut model, KeyCode::Char('ㅜ')),
        [Effect::Type("ㅜ".into())],
        "the shell gets what was typed"
    );
}

#[test]
fn the_mark_stays_in_the_list_of_lessons() {
    let entry = |id: &str| lab::view::Entry { id: id.into(), ..Default::default() };
    let mut model = fresh();
    tell(&mut model, Event::Lessons(vec![entry("a"), entry("b"), entry("c")]));
    model.lesson.marked = 2;
    tell(&mut model, Event::Lessons(vec![entry("c"), entry("d")]));
    assert_eq!(model.lesson.marked, 0, "at its lesson");
    model.lesson.marked = 1;
    tell(&mut model, Event::Lessons(vec![entry("x")]));
    assert_eq!(model.lesson.marked, 0, "or in the list");
}

#[test]
fn heartbeats_do_not_redraw() {
    let mut model = fresh();
    let mut beat =
        records().into_iter().find(|r| matches!(r.event, tap::Event::CommitEntry { .. })).expect("a commit");
    beat.revision = Some(9999);
    assert!(!update(&mut model, Event::Records(vec![beat.clone()])).1);
    model.view = View::Raft;
    assert!(update(&mut model, Event::Records(vec![beat])).1, "the view of the log shows them");
}
