//! The lesson: what to read scrolls above, what to do stands firmly below it.

use super::super::layout::inside;
use super::super::look::{Look, Sign, Tone};
use super::super::markdown;
use super::super::model::{Model, Pane, Scroll};
use super::super::text::{Piece, cells, wrap};
use super::super::words::Word;
use super::answer;
use super::lesson_list::{listed, nothing_open};
use crate::lesson::missing;
use lab::view::{Judged, LessonView, Predict, State, Verdict};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

/// The frame's title and its corner.
pub(crate) fn title(model: &Model) -> (String, String) {
    let open = model.lesson.view.as_ref().filter(|v| !v.id.is_empty());
    let Some(view) = open else { return (model.lang.say(Word::PaneLesson, &[]), String::new()) };
    let number = view.id.rsplit('/').next().unwrap_or_default();
    let corner = match model.lesson.asked {
        Some(since) if model.now.saturating_sub(since).as_millis() > 200 => {
            let seconds = model.now.saturating_sub(since).as_secs().to_string();
            model.lang.say(Word::Asked, &[&seconds])
        }
        _ => format!("{}/{}", (view.step + 1).min(view.steps.max(1)), view.steps),
    };
    (format!("{number} {}", view.title), corner)
}

/// However much there is to do, something to read stays in sight: so many lines at least, and so
/// many where the checks can be told in fewer words.
const READ_MIN: usize = 2;
const READ_FAIR: usize = 5;

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

/// Lines of the text to read with which something begins that the learner should see at once.
#[derive(Clone, Copy, Default)]
struct Marks {
    /// The learner's guess.
    said: Option<usize>,
    /// What happened.
    told: Option<usize>,
}

impl Sheet {
    fn of(model: &Model, area: Rect) -> Sheet {
        let room = usize::from(area.width).saturating_sub(2);
        let height = usize::from(area.height);
        let Some(view) = model.lesson.view.as_ref().filter(|v| !v.id.is_empty()) else {
            let upper = nothing_open(model, room);
            return Sheet { upper, lower: vec![], firm: 0, gap: 0, rows: height, marks: Marks::default() };
        };
        let (mut upper, mut marks) = reading(model, view, room);
        let most = height.saturating_sub(upper.len().min(READ_MIN)).max(1);
        let fits = |lower: &Vec<Line<'_>>, read: usize| lower.len() + upper.len().min(read) <= height;
        let mut lower = doing(model, view, room, Checks::All);
        if !fits(&lower, READ_FAIR) {
            lower = doing(model, view, room, Checks::Unmet);
        }
        if !fits(&lower, READ_MIN) {
            lower = doing(model, view, room, Checks::Brief);
        }
        if let Some(asked) = view.answer.as_ref().filter(|_| !fits(&lower, READ_MIN) && asks(view)) {
            lower = doing(model, view, room, Checks::Apart);
            upper.extend(answer::question(asked, model, room));
        }
        let firm = lower.len().min(most);
        // Rather than hide a line or two, close up the paragraphs.
        let dense = upper.iter().filter(|l| l.width() > 0).count();
        if marks.told.is_none() && upper.len() + firm > height && dense + firm <= height {
            upper.retain(|l| l.width() > 0);
            marks.said = None; // all is in sight
        }
        let gap = usize::from(firm > 0 && firm + upper.len() < height && !upper.is_empty());
        let rows = height.saturating_sub(firm + gap);
        // Whatever is said to a guess, the pane can begin with it.
        if let Some(said) = marks.said.filter(|_| upper.len() > rows) {
            upper.resize(upper.len().max(said + rows), Line::default());
        }
        Sheet { rows, upper, lower, firm, gap, marks }
    }

    /// How far the text above can be scrolled; after that, what did not fit below comes into sight.
    fn last_upper(&self) -> usize {
        self.upper.len().saturating_sub(self.rows)
    }
    fn last(&self) -> usize {
        self.last_upper() + self.lower.len() - self.firm
    }

    fn first(&self, scroll: Scroll) -> usize {
        match scroll {
            Scroll::To(line) => line.min(self.last()),
            Scroll::Told => self.marks.told.unwrap_or(0).min(self.last_upper()),
            Scroll::Said => self.marks.said.unwrap_or(0).min(self.last_upper()),
        }
    }
}

/// Where a scroll by so many lines leads to; the ends of the text bound it.
pub(crate) fn scrolled(model: &Model, by: isize) -> Scroll {
    let sheet = Sheet::of(model, inside(model.panes().lesson));
    Scroll::To(sheet.first(model.lesson.scroll).saturating_add_signed(by).min(sheet.last()))
}

/// Where the list of lessons has to be scrolled to for its marked line to be seen.
pub(crate) fn in_sight(model: &Model) -> Scroll {
    let area = inside(model.panes().lesson);
    let room = usize::from(area.width).saturating_sub(2);
    let sheet = Sheet::of(model, area);
    let (from, to) = listed(model, room, model.lesson.marked);
    let first = sheet.first(model.lesson.scroll);
    Scroll::To(first.max(to.saturating_sub(sheet.rows)).min(if model.lesson.marked == 0 { 0 } else { from }))
}

/// Draws into the pane's frame: on its lower edge it is said how to read on.
pub(super) fn render(model: &Model, frame: Rect, buffer: &mut Buffer) {
    let area = inside(frame);
    if area.is_empty() {
        return;
    }
    let sheet = Sheet::of(model, area);
    let (first, last, last_upper) = (sheet.first(model.lesson.scroll), sheet.last(), sheet.last_upper());
    let Sheet { upper, lower, firm, gap, rows, .. } = sheet;
    let room = usize::from(area.width).saturating_sub(2);
    let x = area.x + 1;
    for (y, line) in upper.iter().skip(first.min(last_upper)).take(rows).enumerate() {
        buffer.set_line(x, area.y + y as u16, line, room as u16);
    }
    // Short lessons have what to do right below what to read.
    let below = rows.min(upper.len()) + gap;
    for (y, line) in lower.iter().skip(first.saturating_sub(last_upper)).take(firm).enumerate() {
        buffer.set_line(x, area.y + (below + y) as u16, line, room as u16);
    }
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

pub(super) fn text(
    words: &str,
    look: Look,
    tone: Tone,
    room: usize,
    first: &str,
    rest: &str,
) -> Vec<Line<'static>> {
    wrap(&[Piece::new(words, look.tone(tone))], room, first, rest)
}

/// The same for a sentence of a lesson, with its emphasis and code.
pub(super) fn marked(
    words: &str,
    look: Look,
    tone: Tone,
    room: usize,
    first: &str,
    rest: &str,
) -> Vec<Line<'static>> {
    wrap(&markdown::inline(words, look.tone(tone), look), room, first, rest)
}

/// What is read: prose, and after success what happened.
fn reading(model: &Model, view: &LessonView, room: usize) -> (Vec<Line<'static>>, Marks) {
    let (lang, look) = (model.lang, model.look);
    let (mut out, mut marks) = (Vec::new(), Marks::default());
    for notice in &view.notices {
        out.extend(marked(notice, look, Tone::Warn, room, &format!("{} ", look.sign(Sign::Warn)), "  "));
    }
    if !out.is_empty() {
        out.push(Line::default());
    }
    out.extend(markdown::lines(&view.prose, room, look));
    if view.state == State::Open {
        // The newest hint stands below, beside the task.
        let older = view.hints.len().saturating_sub(1);
        let said = view.predict.as_ref().and_then(|p| p.chosen.as_ref());
        if older > 0 || said.is_some() {
            out.push(Line::default());
        }
        if let Some(said) = said {
            // The choices are no longer on the screen.
            let choices = view.predict.iter().flat_map(|p| &p.choices);
            let words = choices.into_iter().find(|(letter, _)| letter == said).map(|(_, words)| words);
            let said = &words.map_or(said.clone(), |words| format!("{said}: {words}"));
            marks.said = Some(out.len());
            out.extend(text(&lang.say(Word::PredictSaid, &[said]), look, Tone::Dim, room, "", ""));
        }
        for (at, hint) in view.hints[..older].iter().enumerate() {
            out.extend(hinted(model, at + 1, &hint.say, room, Tone::Dim));
        }
    }
    if !view.after.is_empty() {
        out.push(Line::default());
        out.extend(markdown::lines(&view.after, room, look));
    }
    if !view.debrief.is_empty() {
        out.push(Line::default());
        marks.told = Some(out.len());
        out.extend(text(&lang.say(Word::What, &[]), look, Tone::Title, room, "", ""));
        for beat in &view.debrief {
            out.extend(markdown::lines(beat, room, look));
        }
    }
    if !view.closing.is_empty() {
        out.push(Line::default());
        out.extend(markdown::lines(&view.closing, room, look));
    }
    if !view.also.is_empty() {
        out.push(Line::default());
        out.extend(text(&lang.say(Word::Also, &[]), look, Tone::Title, room, "", ""));
        for way in &view.also {
            for (at, line) in way.iter().enumerate() {
                let first = if at == 0 { "$ " } else { "  " };
                out.extend(text(&line.replace(' ', "\u{a0}"), look, Tone::Code, room, first, "    "));
            }
        }
    }
    (out, marks)
}

/// Which checks are told where room is scarce.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Checks {
    All,
    /// The one that is missing, and how many are met, in words.
    Unmet,
    /// The same in figures.
    Brief,
    /// The same, and the question with its cards ends what is read: it is too long to stand firm.
    Apart,
}

/// Does a question about the cluster wait for its answer?
fn asks(view: &LessonView) -> bool {
    let is_guessed = view.predict.as_ref().is_none_or(|p| p.chosen.is_some());
    view.state == State::Open && is_guessed && view.answer.as_ref().is_some_and(|a| a.state != Judged::Right)
}

/// What is to be done: the question or the task, its checks, the newest hint. What is done needs no
/// room any more: the explanation does.
fn doing(model: &Model, view: &LessonView, room: usize, which: Checks) -> Vec<Line<'static>> {
    let (lang, look) = (model.lang, model.look);
    let mut out = Vec::new();
    let open = view.state == State::Open;
    let question = view.predict.as_ref().filter(|p| open && p.chosen.is_none());
    match question {
        Some(predict) => asking(predict, model, room, &mut out),
        None if open => {
            let mark = format!("{} ", look.sign(Sign::Task));
            let lines = markdown::lines(&view.task, room.saturating_sub(2), look);
            for (at, line) in lines.into_iter().enumerate() {
                let lead = if at == 0 { mark.clone() } else { "  ".into() };
                let mut spans = vec![Span::styled(lead, look.tone(Tone::Accent))];
                spans.extend(line.spans);
                out.push(Line::from(spans));
            }
            checks(model, view, room, which, &mut out);
            if let Some(answer) = &view.answer {
                if which != Checks::Apart && answer.state != Judged::Right {
                    out.extend(answer::question(answer, model, room));
                }
                answer::answering(answer, model, room, &mut out);
            }
        }
        None => {}
    }
    if let Some(lost) = &view.lost {
        out.extend(marked(lost, look, Tone::Bad, room, &format!("{} ", look.sign(Sign::Warn)), "  "));
    }
    if let Some(refused) = &model.lesson.refused {
        out.extend(marked(refused, look, Tone::Bad, room, "", "  "));
    }
    if let Some(hint) = view.hints.last().filter(|_| open) {
        out.extend(hinted(model, view.hints.len(), &hint.say, room, Tone::Accent));
    }
    let (words, tone) = match (&view.next, view.state) {
        _ if !view.finished && open => return out,
        (Some((id, title)), _) if view.finished => {
            let number = id.rsplit('/').next().unwrap_or_default();
            (lang.say(Word::FinishedNext, &[number, title]), Tone::Good)
        }
        (None, _) if view.finished => (lang.say(Word::FinishedLast, &[]), Tone::Good),
        (_, State::Solved) => (lang.say(Word::Solved, &[]), Tone::Good),
        (_, State::Skipped) => (lang.say(Word::Skipped, &[]), Tone::Warn),
        _ => (lang.say(Word::Done, &[]), Tone::Good),
    };
    out.extend(marked(&words, look, tone, room, &format!("{} ", look.sign(Sign::Met)), "  "));
    out
}

fn hinted(model: &Model, number: usize, say: &str, room: usize, tone: Tone) -> Vec<Line<'static>> {
    let label = model.lang.say(Word::Hint, &[&number.to_string()]);
    marked(&format!("{label}: {say}"), model.look, tone, room, "", "  ")
}

fn checks(model: &Model, view: &LessonView, room: usize, which: Checks, out: &mut Vec<Line<'static>>) {
    let look = model.look;
    if which != Checks::All && view.checks.len() > 1 {
        let (sign, tone) = match view.missing() {
            None => (Sign::Holding, Tone::Warn),
            Some(_) if view.not_yet.is_some() => (Sign::Dot, Tone::Warn),
            Some(_) => (Sign::Dot, Tone::Dim),
        };
        let named = view
            .missing()
            .and_then(|at| view.checks.get(at))
            .filter(|_| matches!(which, Checks::Brief | Checks::Apart));
        let words = match named {
            Some(check) => format!("{} ({}/{})", check.that, view.met(), view.checks.len()),
            None => missing(model.lang, view),
        };
        return out.extend(marked(&words, look, tone, room, &format!("{} ", look.sign(sign)), "  "));
    }
    for (at, check) in view.checks.iter().enumerate() {
        // After a while without success the one that is missing stands out.
        let late = view.not_yet.is_some() && Some(at) == view.missing();
        let (sign, tone) = match check.state {
            Verdict::Met => (Sign::Met, Tone::Good),
            Verdict::Holding => (Sign::Holding, Tone::Warn),
            // A cross would say that it is wrong; it is only not done yet.
            Verdict::Unmet if late => (Sign::Dot, Tone::Warn),
            Verdict::Unmet => (Sign::Dot, Tone::Dim),
        };
        out.extend(marked(&check.that, look, tone, room, &format!("{} ", look.sign(sign)), "  "));
    }
}

fn asking(predict: &Predict, model: &Model, room: usize, out: &mut Vec<Line<'static>>) {
    let (lang, look) = (model.lang, model.look);
    out.extend(marked(&predict.question, look, Tone::Strong, room, "? ", "  "));
    for (letter, choice) in &predict.choices {
        out.extend(marked(choice, look, Tone::Plain, room, &format!("  {letter}  "), "     "));
    }
    let letters: Vec<&str> = predict.choices.iter().map(|(letter, _)| letter.as_str()).collect();
    out.extend(text(&lang.say(Word::PredictAsk, &[&letters.join(" ")]), look, Tone::Accent, room, "", ""));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lesson::tag;
    use crate::texts::Lang;
    use lab::format::{Lesson, Library, Step};
    use lab::view::{Answer, Check};
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
        let check = |c: &lab::format::Check| Check {
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
            ..LessonView::default()
        }
    }

    #[test]
    fn at_80_by_24_every_question_and_every_task_is_seen_whole() {
        let library = Library::built_in();
        assert!(library.lessons.len() >= 12 && library.faults.is_empty());
        for lang in [Lang::En, Lang::Ko] {
            let mut model = Model::new("main", lang, Look::default(), Size::new(80, 24), Default::default());
            for (lesson, step) in library.lessons.iter().flat_map(|l| l.steps.iter().map(move |s| (l, s))) {
                for answered in [false, true] {
                    model.lesson.view = Some(view(lesson, step, tag(lang), answered));
                    let sheet = Sheet::of(&model, inside(model.panes().lesson));
                    let cut = sheet.lower.len() - sheet.firm;
                    assert_eq!(cut, 0, "{} {} {lang:?} answered: {answered}", lesson.id, step.id);
                    assert!(sheet.rows >= READ_MIN, "{} {} {lang:?}", lesson.id, step.id);
                }
            }
        }
    }

    /// The first line of the lesson's pane.
    fn first_line(model: &Model) -> String {
        let pane = inside(model.panes().lesson);
        let mut buffer = Buffer::empty(model.area());
        render(model, model.panes().lesson, &mut buffer);
        (pane.x..pane.right()).map(|x| buffer[(x, pane.y)].symbol()).collect()
    }

    #[test]
    fn at_80_by_24_the_pane_starts_at_the_guess_and_a_new_step_at_its_top() {
        use crate::tui::{event::Event, update::update};
        let library = Library::built_in();
        let questions = library.lessons.iter().flat_map(|l| l.steps.iter().map(move |s| (l, s)));
        for (lesson, step) in questions.filter(|(_, step)| step.predict.is_some()) {
            for (lang, said) in [(Lang::En, "You said a: "), (Lang::Ko, "예 측 : a: ")] {
                let mut model =
                    Model::new("main", lang, Look::default(), Size::new(80, 24), Default::default());
                let show = |model: &mut Model, view| drop(update(model, Event::Lesson(Box::new(view))));
                show(&mut model, view(lesson, step, tag(lang), false));
                assert_eq!(model.lesson.scroll, Scroll::To(0));
                model.lesson.scroll = scrolled(&model, 3);
                show(&mut model, view(lesson, step, tag(lang), true));
                let place = format!("{} {} {lang:?}", lesson.id, step.id);
                let sheet = Sheet::of(&model, inside(model.panes().lesson));
                assert!(sheet.upper.len() > sheet.rows, "{place} fits: nothing has to be scrolled");
                assert!(first_line(&model).trim().starts_with(said), "{place}: {:?}", first_line(&model));
                let next = LessonView { step: 99, ..view(lesson, step, tag(lang), false) };
                show(&mut model, next);
                assert_eq!(model.lesson.scroll, Scroll::To(0), "{place}");
                // Opened anew, a step that was guessed begins at its top, too.
                show(&mut model, LessonView { step: 98, ..view(lesson, step, tag(lang), true) });
                assert!(!first_line(&model).trim().starts_with(said), "{place}");
            }
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
    }
}
