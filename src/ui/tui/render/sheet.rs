//! Where the lines of the lesson's pane go: what to read scrolls above, what to do stands firmly
//! below it.

use super::super::layout::{Form, Pane, inside};
use super::super::look::{Sign, Tone};
use super::super::model::Model;
use super::super::scroll::Scroll;
use super::super::text::cells;
use super::super::words::Word;
use super::lesson::{Checks, asks, doing, reading};
use super::lesson_list::{listed, mark_within, nothing_open, refusals};
use super::marks::Marks;
use super::{answer, lab};
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::Line;

/// However much there is to do, so many lines of text stay in sight.
const READ_MIN: usize = 2;
/// Where fewer lines of text would stay in sight, the checks have fewer words.
const READ_FAIR: usize = 5;
/// [`READ_FAIR`] beside a strip of the map, where a line is twice as long: then each check that is
/// missing stays in sight.
const READ_LONG: usize = 3;
/// A text of more lines than this is turned over by pages: the checks then give it room. Example:
/// the first step of first-voyage/12 has 30 lines, which are a dozen pages of three.
const TEXT_LONG: usize = 16;

/// The pane's lines and where they go.
struct Sheet {
    upper: Vec<Line<'static>>,
    lower: Vec<Line<'static>>,
    /// Lines of `lower` that are shown.
    firm: usize,
    gap: usize,
    /// Lines of `upper` that are shown.
    rows: usize,
    /// The lines of `upper` that a scroll may name.
    marks: Marks,
}

impl Sheet {
    fn of(model: &Model, area: Rect) -> Sheet {
        let room = usize::from(area.width).saturating_sub(2);
        let height = usize::from(area.height);
        if let Some(view) = model.shown_lab() {
            let mut lower = lab::standing(model, view, room);
            let open = lab::open_tasks(model, view, room);
            let fits = open.len() + lower.len() + READ_LONG <= height;
            let apart = model.form() == Form::Strip && fits && !open.is_empty();
            if apart {
                lower.splice(0..0, open);
            }
            let (upper, marks) = lab::reading(model, view, room, apart);
            return Sheet::firm(upper, lower, marks, height);
        }
        let Some(view) = model.open_lesson() else {
            let (upper, lower) = (nothing_open(model, room), refusals(model, room));
            return Sheet::firm(upper, lower, Marks::default(), height);
        };
        let (mut upper, mut marks) = reading(model, view, room);
        let fits = |lower: &Vec<Line<'_>>, read: usize| lower.len() + upper.len().min(read) <= height;
        let mut lower = doing(model, view, room, Checks::All);
        let long = model.form() == Form::Strip;
        if long && !fits(&lower, READ_FAIR) {
            lower = doing(model, view, room, Checks::Open);
        }
        if !fits(&lower, if long && upper.len() <= TEXT_LONG { READ_LONG } else { READ_FAIR }) {
            lower = doing(model, view, room, Checks::Unmet);
        }
        if !fits(&lower, READ_MIN) {
            lower = doing(model, view, room, Checks::Brief);
        }
        if !fits(&lower, READ_MIN) {
            lower = doing(model, view, room, Checks::Short);
        }
        if let Some(asked) = view.answer.as_ref().filter(|_| !fits(&lower, READ_MIN) && asks(view)) {
            lower = doing(model, view, room, Checks::Apart);
            upper.extend(answer::question(asked, model, room));
        }
        let firm = lower.len().min(Sheet::most(&upper, height));
        // Rather than hide a line or two, close up the paragraphs.
        let dense = upper.iter().filter(|l| l.width() > 0).count();
        if marks.told.is_none() && upper.len() + firm > height && dense + firm <= height {
            upper.retain(|l| l.width() > 0);
            (marks.said, marks.command) = (None, None); // all is in sight
        }
        let gap = usize::from(firm > 0 && firm + upper.len() < height && !upper.is_empty());
        let rows = height.saturating_sub(firm + gap);
        Sheet { rows, upper, lower, firm, gap, marks }
    }

    /// Lines that can stand firmly below a text of which something stays in sight.
    fn most(upper: &[Line<'_>], height: usize) -> usize {
        height.saturating_sub(upper.len().min(READ_MIN)).max(1)
    }

    /// What is read above lines that stand firmly.
    fn firm(upper: Vec<Line<'static>>, lower: Vec<Line<'static>>, marks: Marks, height: usize) -> Sheet {
        let firm = lower.len().min(Sheet::most(&upper, height));
        let gap = usize::from(firm > 0 && firm + upper.len() < height && !upper.is_empty());
        Sheet { rows: height.saturating_sub(firm + gap), upper, lower, firm, gap, marks }
    }

    /// How far the text above can be scrolled; after that, what did not fit below comes into sight.
    fn last_upper(&self) -> usize {
        self.upper.len().saturating_sub(self.rows)
    }
    fn last(&self) -> usize {
        self.last_upper() + self.lower.len() - self.firm
    }

    fn first(&self, scroll: Scroll) -> usize {
        let line = match scroll {
            Scroll::To(line) => return line.min(self.last()),
            Scroll::Told => self.marks.told,
            Scroll::Said => self.guessed(),
            Scroll::Tasks => self.marks.tasks,
            Scroll::Hint => self.marks.hint,
            Scroll::Way => self.marks.way,
        };
        line.unwrap_or(0).min(self.last_upper())
    }

    /// Returns the line with which the text begins once the question is answered: the command that
    /// the task means, because the learner types it now; without a command, the guess. A command
    /// below the guess may stay there as long as both are in sight.
    fn guessed(&self) -> Option<usize> {
        let (Some(command), Some(said)) = (self.marks.command, self.marks.said) else {
            return self.marks.said;
        };
        let is_near = said <= command && command + 1 < said + self.rows;
        Some(if is_near { said } else { command })
    }
}

/// Where a scroll by so many lines leads to; the ends of the text bound it.
pub(crate) fn scrolled(model: &Model, by: isize) -> Scroll {
    let sheet = Sheet::of(model, inside(model.panes().lesson));
    Scroll::To(sheet.first(model.scroll()).saturating_add_signed(by).min(sheet.last()))
}

/// How many lines a page is: all that are in sight but one, so that none is passed over.
pub(crate) fn lesson_page(model: &Model) -> isize {
    let sheet = Sheet::of(model, inside(model.panes().lesson));
    sheet.rows.saturating_sub(1).max(1) as isize
}

/// Where the list of lessons has to be scrolled to for its marked line to be seen.
pub(crate) fn in_sight(model: &Model) -> Scroll {
    let area = inside(model.panes().lesson);
    let room = usize::from(area.width).saturating_sub(2);
    let sheet = Sheet::of(model, area);
    let (from, to) = listed(model, room, model.lesson.marked);
    let first = sheet.first(model.scroll());
    Scroll::To(first.max(to.saturating_sub(sheet.rows)).min(if model.lesson.marked == 0 { 0 } else { from }))
}

/// The entry of the list that has the mark once the list is scrolled: one in sight.
pub(crate) fn mark_in_sight(model: &Model) -> usize {
    let area = inside(model.panes().lesson);
    let sheet = Sheet::of(model, area);
    let first = sheet.first(model.scroll());
    mark_within(model, usize::from(area.width).saturating_sub(2), first..first + sheet.rows)
}

/// Draws into the pane's frame: on its lower edge it is said how to read on.
pub(super) fn render(model: &Model, frame: Rect, buffer: &mut Buffer) {
    let area = inside(frame);
    if area.is_empty() {
        return;
    }
    let sheet = Sheet::of(model, area);
    let (first, last, last_upper) = (sheet.first(model.scroll()), sheet.last(), sheet.last_upper());
    let Sheet { upper, lower, firm, gap, rows, .. } = sheet;
    let room = usize::from(area.width).saturating_sub(2);
    let x = area.x + 1;
    for (y, line) in upper.iter().skip(first.min(last_upper)).take(rows).enumerate() {
        buffer.set_line(x, area.y + y as u16, line, room as u16);
    }
    // Short lessons have what to do right below what to read.
    let below = rows.min(upper.len()) + gap;
    let hidden = first.saturating_sub(last_upper);
    for (y, line) in lower.iter().skip(hidden).take(firm).enumerate() {
        buffer.set_line(x, area.y + (below + y) as u16, line, room as u16);
    }
    if let Some(line) = lower.get((hidden + firm).wrapping_sub(1)).filter(|_| hidden + firm < lower.len()) {
        let place = Position { x, y: area.y + (below + firm - 1) as u16 };
        mark_cut(model, place, line.width(), room, buffer);
    }
    say_above(model, frame, first, last, buffer);
    if first == last {
        return;
    }
    let (mark, tone) = (model.look.sign(Sign::More), model.look.tone(Tone::Accent));
    let cut = if first < last_upper && rows > 0 { area.y + rows as u16 } else { area.bottom() };
    buffer.set_string(area.right() - 1, cut - 1, mark, tone);
    let here = if model.focus == Pane::Lesson { Word::ReadOnHere } else { Word::ReadOn };
    let words = format!(" {} ", model.lang.say(here, &[mark]));
    let at = usize::from(frame.width).saturating_sub(cells(&words) + 2);
    if at > 1 {
        buffer.set_string(frame.x + at as u16, frame.bottom() - 1, words, tone);
    }
}

/// Says on the lower edge, at its left, that text above is out of sight, and how to get there. A
/// step that was guessed begins at the guess, and its task may speak of a command above. Where it
/// is said at the right how to read on, the keys are named there.
fn say_above(model: &Model, frame: Rect, first: usize, last: usize, buffer: &mut Buffer) {
    if first == 0 {
        return;
    }
    let word = match (first < last, model.focus == Pane::Lesson) {
        (true, _) => Word::ReadAbove,
        (false, false) => Word::ReadAboveHow,
        (false, true) => Word::ReadAboveHere,
    };
    let (sign, tone) = (model.look.sign(Sign::Above), model.look.tone(Tone::Accent));
    let words = format!(" {} ", model.lang.say(word, &[sign]));
    if cells(&words) + 4 <= usize::from(frame.width) {
        buffer.set_string(frame.x + 2, frame.bottom() - 1, words, tone);
    }
}

/// Marks the last line in sight of a sentence that goes on below: half a sentence must not look
/// like a whole one. `place`: where the line begins.
fn mark_cut(model: &Model, place: Position, used: usize, room: usize, buffer: &mut Buffer) {
    let ellipsis = model.look.sign(Sign::Ellipsis);
    let mut at = used.min(room.saturating_sub(cells(ellipsis))) as u16;
    // Not into the second half of a wide character.
    let is_wide = |at: u16| cells(buffer[(place.x + at, place.y)].symbol()) == 2;
    if at > 0 && usize::from(at) < used && is_wide(at - 1) {
        at -= 1;
    }
    buffer.set_string(place.x + at, place.y, ellipsis, model.look.tone(Tone::Accent));
}

#[cfg(test)]
mod tests {
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
            let mut model =
                Model::new("main", Lang::En, Look::default(), Size::new(80, 24), Default::default());
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
                let mut model =
                    Model::new("main", lang, Look::default(), Size::new(80, 24), Default::default());
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
                    let is_full =
                        shown.len() == sheet.rows && sheet.upper.last().is_some_and(|l| l.width() > 0);
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
        assert!(
            edge(&model).contains("▲ above ") && edge(&model).contains("read on: F6"),
            "{}",
            edge(&model)
        );
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
        assert!(
            at("You said a") < at("Now look.") && at("Now look.") < at("the first: `ls -l`"),
            "{lines:?}"
        );
        assert!(at("You said a").is_some() && at("the second").is_none(), "{lines:?}");
    }
}
