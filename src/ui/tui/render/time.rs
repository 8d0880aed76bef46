//! The time view: a line of what happened, and the objects of one moment beside those of now. To
//! look back restores nothing.

use super::super::compare::{Pair, pairs};
use super::super::look::{Sign, Tone};
use super::super::map::{Canvas, Step, steps};
use super::super::model::Model;
use super::super::text::{cells, cut_middle, time_of_day};
use super::super::words::Word;
use super::boxes::{boxed, over};
use super::overlay::canvas;
use crate::tui::layout::inside;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Columns of the box.
const WIDTH: u16 = 76;
/// Moments of the list that are shown at once.
const LISTED: usize = 6;
/// The column of a moment's revision, counted from the right edge.
const REVISION: usize = 14;
/// A moment's revision is left out where it would leave the title fewer cells than this.
const TITLE_MIN: usize = 12;
/// Rows beside the list and the objects: the border, the line with the marked place, the head of
/// the objects with an empty row above it, and the keys with one above them.
const ROWS: usize = 8;

/// Draws the time view; the moment at `at`, counted from the newest, is marked.
pub(super) fn render(model: &Model, at: usize, area: Rect, buffer: &mut Buffer) {
    let steps = steps(model);
    let at = at.min(steps.len().saturating_sub(1));
    let told = steps.get(at).map(|step| compared(model, step));
    let objects = told.as_ref().and_then(|told| told.as_ref().map(Vec::len)).unwrap_or_default().max(1);
    let listed = steps.len().clamp(1, LISTED);
    let rows = if steps.is_empty() { 6 } else { listed + objects + ROWS };
    let height = u16::try_from(rows).unwrap_or(u16::MAX);
    let place = over(area, WIDTH, height, buffer);
    boxed(model.look, place, true, &model.lang.say(Word::TimeTitle, &[]), ("", Tone::Dim), buffer);
    let mut canvas = canvas(model, inside(place), buffer);
    let last = canvas.height().saturating_sub(1);
    match steps.get(at) {
        None => canvas.note(0, &model.lang.say(Word::TimeNone, &[])),
        Some(step) => {
            line(&mut canvas, model, &steps, at);
            // On a low screen the list is shorter: the objects have at least three rows.
            let rows = listed.min(last.saturating_sub(7)).max(1);
            list(&mut canvas, &steps, at, (2, rows));
            let room = (rows + 3, last.saturating_sub(1));
            match told.flatten() {
                Some(pairs) => table(&mut canvas, step, &pairs, room),
                None => canvas.note(rows + 3, &model.lang.say(Word::TimeUnknown, &[])),
            }
        }
    }
    let hint = canvas.word(Word::TimeHint, &[]);
    let hint = if model.look.ascii { hint.replace("↑↓", "Up/Down") } else { hint };
    canvas.put(1, last, &hint, Tone::Dim);
}

/// The objects at a moment and now. `None`: it is not known how they were then.
fn compared(model: &Model, step: &Step<'_>) -> Option<Vec<Pair>> {
    let before = step.before.filter(|before| model.cluster.past.reaches(*before))?;
    let mut pairs = pairs(&model.cluster.at(before), &model.cluster);
    pairs.retain(|pair| !model.only_different || pair.mark() != " ");
    // A quota that is used up may be the cause that an open lab asks for.
    pairs.retain(|pair| !model.lab.asks_cause() || !pair.name.starts_with("quota/"));
    Some(pairs)
}

/// The moments on a line from the oldest to now, each at the place of its time, and a sign below
/// the one that is marked.
fn line(canvas: &mut Canvas<'_>, model: &Model, steps: &[Step<'_>], at: usize) {
    let opened = model.opened.checked_add(model.now).unwrap_or(model.opened);
    let first = steps.last().map_or(opened, |step| step.at);
    // The cluster's clock may run ahead.
    let end = steps.first().map_or(opened, |step| step.at.max(opened));
    let now = format!(" {} {}", canvas.word(Word::TimeNow, &[]), time_of_day(end));
    let room = canvas.width().saturating_sub(cells(&now) + 3);
    if room < 2 {
        return;
    }
    canvas.put(1, 0, &canvas.sign(Sign::Line).repeat(room), Tone::Dim);
    canvas.put(1 + room, 0, &now, Tone::Dim);
    let millis = |until: clock::Timestamp| until.as_millisecond().saturating_sub(first.as_millisecond());
    let all = millis(end).max(1);
    let cell = |step: &Step<'_>| {
        let share = i128::from(millis(step.at)) * (room as i128 - 1) / i128::from(all);
        1 + usize::try_from(share).unwrap_or_default().min(room - 1)
    };
    for step in steps.iter().rev() {
        let (sign, tone) = step.sign();
        canvas.put(cell(step), 0, canvas.sign(sign), tone);
    }
    if let Some(step) = steps.get(at) {
        // Drawn last: of several moments that share a cell the marked one is seen.
        let (sign, _) = step.sign();
        canvas.put(cell(step), 0, canvas.sign(sign), Tone::Lit);
        canvas.put(cell(step), 1, canvas.sign(Sign::Here), Tone::Accent);
    }
}

/// The moments, the newest first, with a mark, in so many rows from a row on.
fn list(canvas: &mut Canvas<'_>, steps: &[Step<'_>], at: usize, (top, rows): (usize, usize)) {
    let first = (at + 1).saturating_sub(rows);
    for (y, (n, step)) in steps.iter().enumerate().skip(first).take(rows).enumerate() {
        let mark = if n == at { canvas.sign(Sign::Pick) } else { " " };
        let tone = if n == at { Tone::Lit } else { Tone::Plain };
        let (sign, sign_tone) = step.sign();
        let x = canvas.put(1, top + y, &format!("{mark} {}  ", time_of_day(step.at)), Tone::Plain);
        let x = canvas.put(x, top + y, &format!("{} ", canvas.sign(sign)), sign_tone);
        // In a narrow box the words end before the revision; in a very narrow one it is left out.
        let behind = canvas.width().saturating_sub(REVISION);
        let revision = step.revision().filter(|_| behind > x + TITLE_MIN);
        let room = if revision.is_some() { behind - x - 1 } else { canvas.width().saturating_sub(x) };
        canvas.put_in(x, top + y, room, &step.title(), tone);
        if let Some(revision) = revision {
            let revision = canvas.word(Word::RevisionShort, &[&revision.to_string()]);
            canvas.put(behind, top + y, &revision, Tone::Dim);
        }
    }
}

/// The objects of both moments, from a row on and not beyond another: a sign for what differs, so
/// that it is not colour alone that says it. The names have the room that the values leave.
fn table(canvas: &mut Canvas<'_>, step: &Step<'_>, pairs: &[Pair], (top, end): (usize, usize)) {
    let head = canvas.word(Word::TimeThen, &[&step.before.unwrap_or_default().to_string()]);
    let values = pairs.iter().flat_map(|pair| [&pair.then, &pair.now]).flatten();
    let longest = values.map(|value| cells(value)).max().unwrap_or_default().max(cells(&head));
    let most = canvas.width().saturating_sub(canvas.width() * 2 / 5 + 4) / 2;
    let column = longest.min(most);
    let name = canvas.width().saturating_sub(2 * column + 4);
    let (then, now) = (name + 3, name + 4 + column);
    canvas.put_in(then, top, column, &head, Tone::Title);
    let head = canvas.word(Word::TimeNow, &[]);
    canvas.put_in(now, top, column, &head, Tone::Title);
    if pairs.is_empty() {
        let text = canvas.word(Word::TimeSame, &[]);
        canvas.put(1, top + 1, &text, Tone::Dim);
    }
    let rows = end.saturating_sub(top + 1);
    for (at, pair) in pairs.iter().enumerate() {
        let y = top + 1 + at;
        if at + 1 == rows && pairs.len() > rows {
            let text = canvas.word(Word::TimeMore, &[&(pairs.len() - at).to_string()]);
            canvas.put(1, y, &text, Tone::Dim);
            return;
        }
        if at >= rows {
            return;
        }
        let mark = pair.mark();
        let tone = match mark {
            "+" => Tone::Good,
            "-" => Tone::Bad,
            "~" => Tone::Warn,
            _ => Tone::Dim,
        };
        canvas.put(1, y, mark, tone);
        let told = cut_middle(&pair.name, name.saturating_sub(1), canvas.sign(Sign::Ellipsis));
        canvas.put_in(3, y, name.saturating_sub(1), &told, Tone::Plain);
        for (x, told) in [(then, &pair.then), (now, &pair.now)] {
            canvas.put_in(x, y, column, told.as_deref().unwrap_or("-"), tone);
        }
    }
}
