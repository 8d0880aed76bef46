use super::*;
use crate::lesson::tag;
use crate::texts::Lang;
use crate::tui::look::Look;
use ::lab::format::{Lesson, Library, Step};
use ::lab::view::{Answer, Check, Hint, Judged, LessonView, Predict, Verdict};
use ratatui::layout::Size;

/// A step as the engine shows it at its beginning: before its question is answered, or after.
fn view(lesson: &Lesson, step: &Step, lang: &str, answered: bool) -> LessonView {
    let predict = step.predict.as_ref().map(|p| Predict {
        question: p.question.get(lang).into(),
        choices: p.choices.iter().map(|(k, t)| (k.clone(), t.get(lang).to_string())).collect(),
        chosen: answered.then(|| "a".to_string()),
        answer: None,
    });
    let waits = predict.is_some() && !answered;
    let check = |c: &::lab::format::Check| Check {
        that: if c.that.get(lang).is_empty() { step.task.get(lang) } else { c.that.get(lang) }.into(),
        state: Verdict::Unmet,
    };
    LessonView {
        id: lesson.id.clone(),
        title: lesson.title.get(lang).into(),
        steps: lesson.steps.len(),
        step: lesson.step(&step.id).unwrap_or_default(),
        prose: format!("{}\n\n{}", lesson.intro.get(lang), step.prose.get(lang)),
        after: if waits { "" } else { step.after.get(lang) }.into(),
        task: if waits { String::new() } else { step.task.get(lang).into() },
        predict,
        answer: step.answer.as_ref().filter(|_| !waits).map(|asked| Answer {
            question: asked.question.get(lang).into(),
            form: asked.form,
            cards: asked.cards.iter().map(|(k, t)| (k.clone(), t.get(lang).to_string())).collect(),
            ..Answer::default()
        }),
        checks: step.checks.iter().map(check).collect(),
        is_stuck: answered,
        ..LessonView::default()
    }
}

#[test]
fn at_80_by_24_every_question_and_every_task_is_seen_whole() {
    let library = Library::built_in();
    assert!(library.lessons.len() >= 12 && library.faults.is_empty());
    let mut long = Vec::new();
    for lang in [Lang::En, Lang::Ko] {
        let mut model = Model::new("main", lang, Look::default(), Size::new(80, 24), Default::default());
        for (lesson, step) in library.lessons.iter().flat_map(|l| l.steps.iter().map(move |s| (l, s))) {
            for answered in [false, true] {
                model.lesson.view = Some(view(lesson, step, tag(lang), answered));
                let sheet = Sheet::of(&model, inside(model.panes().lesson));
                let cut = sheet.lower.len() - sheet.firm;
                if cut > 0 || sheet.rows < READ_MIN {
                    long.push(format!("{} {} {lang:?} answered: {answered}: {cut}", lesson.id, step.id));
                }
            }
        }
    }
    assert!(long.is_empty(), "too long, by so many lines: {long:#?}");
}

#[test]
fn a_sentence_that_goes_on_below_the_edge_is_marked() {
    for words in ["do ", "파드 "] {
        let mut model = Model::new("main", Lang::En, Look::default(), Size::new(80, 24), Default::default());
        model.lesson.view = Some(LessonView {
            id: "t/1".into(),
            prose: "word ".repeat(100),
            task: words.repeat(200),
            ..LessonView::default()
        });
        let last_line = |model: &Model| -> String {
            let pane = inside(model.panes().lesson);
            let mut buffer = Buffer::empty(model.area());
            render(model, model.panes().lesson, &mut buffer);
            // Without the column of the mark that says that there is more.
            let row = (pane.x..pane.right() - 1).map(|x| buffer[(x, pane.bottom() - 1)].symbol());
            row.collect::<String>().trim_end().to_string()
        };
        assert!(last_line(&model).ends_with('…'), "{:?}", last_line(&model));
        model.lesson.scroll = scrolled(&model, isize::MAX);
        assert!(!last_line(&model).ends_with('…'), "{:?}", last_line(&model));
    }
}

#[test]
fn a_question_that_was_answered_wrongly_needs_fewer_lines_and_makes_room_for_a_refusal() {
    let mut model = Model::new("main", Lang::En, Look::default(), Size::new(80, 24), Default::default());
    let answer = Answer {
        question: "How many?".into(),
        given: Some("3".into()),
        state: Judged::Wrong,
        ..Answer::default()
    };
    let view = LessonView { task: "Count.".into(), answer: Some(answer), ..LessonView::default() };
    let told = |model: &Model, which| -> Vec<String> {
        let lines = doing(model, &view, 60, which).into_iter();
        lines.map(|line| line.spans.iter().map(|span| span.content.as_ref()).collect()).collect()
    };
    let (brief, short) = (told(&model, Checks::Brief), told(&model, Checks::Short));
    assert_eq!(short.len() + 1, brief.len());
    assert!(short.iter().any(|line| line.contains("How many?")), "{short:?}");
    assert!(short.iter().any(|line| line.contains("Not right: 3")), "{short:?}");
    model.lesson.refused = Some("first answer the question".into());
    let refused = told(&model, Checks::Brief).join("\n");
    assert!(refused.contains("first answer") && !refused.contains("Not right"), "{refused}");
}

/// The first line of the code that a text begins first, without its spaces.
fn code_of(text: &str) -> Option<&str> {
    text.lines().skip_while(|line| !line.trim_start().starts_with("```")).nth(1).map(str::trim)
}

#[test]
fn at_80_by_24_a_guess_brings_the_command_of_the_task_into_sight_and_a_new_step_its_top() {
    use crate::tui::{event::Event, update::update};
    let library = Library::built_in();
    let (mut scrolled_to, mut commands) = (0, 0);
    let questions = library.lessons.iter().flat_map(|l| l.steps.iter().map(move |s| (l, s)));
    for (lesson, step) in questions.filter(|(_, step)| step.predict.is_some()) {
        for (lang, said) in [(Lang::En, "You said a: "), (Lang::Ko, "예측: a: ")] {
            let mut model = Model::new("main", lang, Look::default(), Size::new(80, 24), Default::default());
            let show = |model: &mut Model, view| drop(update(model, Event::Lesson(Box::new(view))));
            show(&mut model, view(lesson, step, tag(lang), false));
            assert_eq!(model.lesson.scroll, Scroll::To(0));
            model.lesson.scroll = scrolled(&model, 3);
            show(&mut model, view(lesson, step, tag(lang), true));
            let place = format!("{} {} {lang:?}", lesson.id, step.id);
            assert_eq!(model.lesson.scroll, Scroll::Said, "{place}");
            let sheet = Sheet::of(&model, inside(model.panes().lesson));
            let lines = sheet.upper.iter().skip(sheet.first(Scroll::Said)).take(sheet.rows);
            let shown: Vec<String> = lines.map(|line| line.to_string().trim().to_string()).collect();
            // A text that fits is all in sight: nothing has to be scrolled.
            if sheet.upper.len() > sheet.rows {
                scrolled_to += 1;
                let is_full = shown.len() == sheet.rows && sheet.upper.last().is_some_and(|l| l.width() > 0);
                assert!(is_full, "{place}: lines without a word: {shown:#?}");
                let code = [&step.prose, &step.after].into_iter().find_map(|t| code_of(t.get(tag(lang))));
                commands += usize::from(code.is_some());
                let code: Option<String> = code.map(|code| code.chars().take(12).collect());
                let wanted = code.unwrap_or_else(|| said.trim().to_string());
                let is_seen = shown.iter().any(|line| line.starts_with(&wanted));
                assert!(is_seen, "{place}: {wanted:?} is not in sight: {shown:#?}");
            }
            let next = LessonView { step: 99, ..view(lesson, step, tag(lang), false) };
            show(&mut model, next);
            assert_eq!(model.lesson.scroll, Scroll::To(0), "{place}");
            // Opened anew, a step that was guessed begins at its top, too.
            show(&mut model, LessonView { step: 98, ..view(lesson, step, tag(lang), true) });
            assert_eq!(model.lesson.scroll, Scroll::To(0), "{place}");
        }
    }
    assert!(scrolled_to > 20 && commands > 10, "{scrolled_to} {commands}: the pane was not scrolled");
}

#[test]
fn the_remedy_of_a_lost_step_is_in_sight_however_long_the_step_is() {
    let mut model = Model::new("main", Lang::En, Look::default(), Size::new(80, 24), Default::default());
    let choice = |letter: &str| (letter.to_string(), "one ".repeat(30));
    let predict = Predict {
        question: "which ".repeat(30),
        choices: ["a", "b", "c"].map(choice).to_vec(),
        ..Predict::default()
    };
    let lost =
        "This step builds on something that is gone: pods/web, services/shop. `goto run` brings it back.";
    for predict in [None, Some(predict)] {
        model.lesson.view = Some(LessonView {
            id: "t/1".into(),
            prose: "word ".repeat(100),
            task: "do ".repeat(200),
            predict,
            lost: Some(lost.into()),
            ..LessonView::default()
        });
        let sheet = Sheet::of(&model, inside(model.panes().lesson));
        let shown = sheet.lower.iter().take(sheet.firm).map(|line| line.to_string().trim().to_string());
        let shown = shown.collect::<Vec<_>>().join(" ");
        assert!(sheet.firm < sheet.lower.len(), "not all fits: {shown}");
        assert!(shown.contains("goto run brings it back."), "{shown}");
    }
}

#[test]
fn what_does_not_fit_is_reached_by_scrolling() {
    let mut model = Model::new("main", Lang::En, Look::default(), Size::new(80, 24), Default::default());
    model.lesson.view = Some(LessonView {
        id: "t/1".into(),
        prose: "word ".repeat(100),
        task: "do ".repeat(200),
        ..LessonView::default()
    });
    let area = inside(model.panes().lesson);
    let sheet = Sheet::of(&model, area);
    assert!(sheet.firm < sheet.lower.len() && sheet.rows >= READ_MIN);
    model.lesson.scroll = scrolled(&model, isize::MAX);
    let Scroll::To(end) = model.lesson.scroll else { panic!("scrolled to its end") };
    let hidden = sheet.upper.len() - sheet.rows + sheet.lower.len() - sheet.firm;
    assert_eq!(end, hidden);
    // A page passes over no line.
    assert_eq!(lesson_page(&model), sheet.rows as isize - 1);
}

#[test]
fn text_that_is_out_of_sight_above_is_said_on_the_edge() {
    let mut model = Model::new("main", Lang::En, Look::default(), Size::new(80, 24), Default::default());
    model.lesson.view =
        Some(LessonView { id: "t/1".into(), prose: "word ".repeat(400), ..LessonView::default() });
    let edge = |model: &Model| -> String {
        let frame = model.panes().lesson;
        let mut buffer = Buffer::empty(model.area());
        render(model, frame, &mut buffer);
        (frame.x..frame.right()).map(|x| buffer[(x, frame.bottom() - 1)].symbol()).collect()
    };
    assert!(!edge(&model).contains("above"), "{}", edge(&model));
    model.lesson.scroll = scrolled(&model, 2);
    assert!(edge(&model).contains("▲ above ") && edge(&model).contains("read on: F6"), "{}", edge(&model));
    model.lesson.scroll = scrolled(&model, isize::MAX);
    assert!(edge(&model).contains("▲ above: F6 ↑↓"), "{}", edge(&model));
    model.focus = Pane::Lesson;
    assert!(edge(&model).contains("▲ above: ↑↓"), "{}", edge(&model));
}

#[test]
fn no_hint_stands_between_a_guess_and_what_is_said_to_it() {
    let model = Model::new("main", Lang::En, Look::default(), Size::new(80, 24), Default::default());
    let hint = |say: &str| Hint { tier: 1, say: say.into(), ..Hint::default() };
    let view = LessonView {
        predict: Some(Predict { chosen: Some("a".into()), ..Predict::default() }),
        after: "Now look.".into(),
        hints: vec![hint("the first: `ls -l`"), hint("the second")],
        ..LessonView::default()
    };
    let (lines, _) = reading(&model, &view, 60);
    let at = |words: &str| lines.iter().position(|line| line.to_string().contains(words));
    assert!(at("You said a") < at("Now look.") && at("Now look.") < at("the first: `ls -l`"), "{lines:?}");
    assert!(at("You said a").is_some() && at("the second").is_none(), "{lines:?}");
}
