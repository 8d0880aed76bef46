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
        if marks.outcome.is_none() && upper.len() + firm > height && dense + firm <= height {
            upper.retain(|l| l.width() > 0);
            (marks.said, marks.command) = (None, None); // all is in sight
        }
        let gap = usize::from(firm > 0 && firm + upper.len() < height && !upper.is_empty());
        let rows = height.saturating_sub(firm + gap);
        Sheet { rows, upper, lower, firm, gap, marks }
    }

    /// Returns how many lines may stay in place at the foot: of a text above them at least
    /// [`READ_MIN`] lines stay in sight.
    fn most(upper: &[Line<'_>], height: usize) -> usize {
        height.saturating_sub(upper.len().min(READ_MIN)).max(1)
    }

    /// Lays out a text that scrolls above lines that stay in place.
    fn firm(upper: Vec<Line<'static>>, lower: Vec<Line<'static>>, marks: Marks, height: usize) -> Sheet {
        let firm = lower.len().min(Sheet::most(&upper, height));
        let gap = usize::from(firm > 0 && firm + upper.len() < height && !upper.is_empty());
        Sheet { rows: height.saturating_sub(firm + gap), upper, lower, firm, gap, marks }
    }

    /// How far the text above can be scrolled.
    fn last_upper(&self) -> usize {
        self.upper.len().saturating_sub(self.rows)
    }

    /// How far a scroll can lead: behind the end of the text above, what did not fit below comes
    /// into sight.
    fn last(&self) -> usize {
        self.last_upper() + self.lower.len() - self.firm
    }

    /// The first line in sight after a scroll.
    fn first(&self, scroll: Scroll) -> usize {
        let line = match scroll {
            Scroll::To(line) => return line.min(self.last()),
            Scroll::Outcome => self.marks.outcome,
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
mod tests;
