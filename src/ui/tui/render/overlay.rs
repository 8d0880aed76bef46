//! What lies over the panes: help, the choice of a view, what was done so far.

use super::super::look::{Sign, Tone};
use super::super::map::{self, Canvas};
use super::super::model::{Model, Overlay, View};
use super::super::shown as named;
use super::super::text::{cells, fold};
use super::super::words::Word;
use super::boxes::{boxed, over};
use super::{shown, time};
use crate::tui::layout::inside;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Draws what lies over the panes, if something does.
pub(super) fn render(model: &Model, area: Rect, buffer: &mut Buffer) {
    match model.overlay {
        Some(Overlay::Help(at)) => help(model, at, area, buffer),
        Some(Overlay::Views(at)) => views(model, at, area, buffer),
        Some(Overlay::Time(at)) => time::render(model, at, area, buffer),
        Some(Overlay::Commands(at)) => shown::commands(model, at, area, buffer),
        Some(Overlay::Terms(at)) => shown::terms(model, at, area, buffer),
        Some(Overlay::Beside) => shown::beside(model, area, buffer),
        None => {}
    }
}

pub(super) fn canvas<'a>(model: &Model, area: Rect, buffer: &'a mut Buffer) -> Canvas<'a> {
    Canvas::new(model, area, buffer)
}

/// The frame, and a cell beside it, on both sides.
const HELP_EDGES: usize = 4;

/// Returns the last place, from 0, to which keys can move in an overlay: a row of the help, or an
/// entry of a list.
pub(crate) fn last(model: &Model, overlay: Overlay) -> usize {
    match overlay {
        Overlay::Help(_) => {
            let rows = usize::from(model.size.height.saturating_sub(2));
            help_lines(model, model.size.width).len().saturating_sub(rows)
        }
        Overlay::Views(_) => View::ALL.len() - 1,
        Overlay::Time(_) => map::steps(model).len().saturating_sub(1),
        Overlay::Commands(_) => named::commands(model).len().saturating_sub(1),
        Overlay::Terms(_) => named::terms(model).len().saturating_sub(1),
        Overlay::Beside => 0,
    }
}

/// Returns the lines of the help for a screen of `width` cells, which folds those that are longer.
fn help_lines(model: &Model, width: u16) -> Vec<String> {
    let look = model.look;
    let pods = [Sign::Ready, Sign::Starting, Sign::Leaving, Sign::Failed, Sign::Waiting];
    let others = [Sign::Leader, Sign::System, Sign::Heart];
    let views = View::ALL.len().to_string();
    let marks = [Sign::Typed, Sign::Down, Sign::Met, Sign::Ghost].map(|s| look.sign(s));
    let signs = pods.into_iter().chain(others).map(|s| look.sign(s));
    let with: Vec<&str> = [views.as_str()].into_iter().chain(marks).chain(signs).collect();
    let text = model.lang.say(Word::Help, &with);
    let text = match look.ascii {
        true => text.replace("↑↓", "Up/Down").replace('←', "<-").replace('→', "->").replace('…', ".."),
        false => text,
    };
    text.lines().flat_map(|line| fold(line, usize::from(width).saturating_sub(HELP_EDGES), "     ")).collect()
}

fn help(model: &Model, at: usize, area: Rect, buffer: &mut Buffer) {
    let look = model.look;
    let lines = help_lines(model, area.width);
    let width = (lines.iter().map(|l| cells(l)).max().unwrap_or(0) + HELP_EDGES) as u16;
    let place = over(area, width, lines.len() as u16 + 2, buffer);
    let rows = usize::from(inside(place).height);
    let first = at.min(lines.len().saturating_sub(rows));
    let more = match first + rows < lines.len() {
        true => format!("{} ↑↓ Esc", look.sign(Sign::More)),
        false => "↑↓ Esc".to_string(),
    };
    boxed(look, place, true, &model.lang.say(Word::HelpTitle, &[]), (&more, Tone::Dim), buffer);
    let mut canvas = canvas(model, inside(place), buffer);
    for (y, line) in lines.iter().skip(first).enumerate() {
        canvas.put(1, y, line, Tone::Plain);
    }
}

fn views(model: &Model, at: usize, area: Rect, buffer: &mut Buffer) {
    let place = over(area, 54, View::ALL.len() as u16 + 2, buffer);
    boxed(model.look, place, true, &model.lang.say(Word::ChooseView, &[]), ("", Tone::Dim), buffer);
    let mut canvas = canvas(model, inside(place), buffer);
    for (y, view) in View::ALL.iter().enumerate() {
        let (name, asks) = view.words();
        let mark = if y == at { canvas.sign(Sign::Pick) } else { " " };
        let tone = if y == at { Tone::Lit } else { Tone::Plain };
        let text = format!("{mark} {}  {}", y + 1, canvas.word(name, &[]));
        canvas.put(1, y, &text, tone);
        let asks = canvas.word(asks, &[]);
        canvas.put(24, y, &asks, Tone::Dim);
    }
}
