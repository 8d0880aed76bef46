//! The model as cells. Pure: the same model on the same area gives the same buffer.

mod answer;
mod bars;
mod boxes;
mod lab;
mod lesson;
mod lesson_list;
mod marks;
mod overlay;
mod paragraph;
mod sheet;
mod shell;
mod shown;
mod time;

pub(crate) use bars::tab_at;
pub(crate) use overlay::last;
pub(crate) use sheet::{in_sight, lesson_page, mark_in_sight, scrolled};

use super::layout::{self, Pane};
use super::look::Tone;
use super::map;
use super::model::Model;
use super::words::Word;
use boxes::boxed;
use lang::charset;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use unicode_width::UnicodeWidthChar;

/// Draws the whole interface. Returns where the cursor stands; `None`: it is hidden.
pub(crate) fn render(model: &Model, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    let panes = model.panes_on(area);
    frame(model, Pane::Lesson, panes.lesson, buffer);
    sheet::render(model, panes.lesson, buffer);
    match panes.strip {
        true => map::strip(model, panes.map, buffer),
        false => {
            frame(model, Pane::Map, panes.map, buffer);
            map::render(model, layout::inside(panes.map), buffer);
        }
    }
    frame(model, Pane::Shell, panes.shell, buffer);
    let cursor = shell::render(model, layout::inside(panes.shell), buffer);
    bars::tabs(model, panes.tabs, buffer);
    bars::foot(model, panes.foot, buffer);
    if model.overlay.is_some() {
        overlay::render(model, area, buffer);
    }
    if model.look.ascii {
        let programs = if model.overlay.is_some() { Rect::ZERO } else { layout::inside(panes.shell) };
        narrow(buffer, programs);
    }
    if model.overlay.is_some() {
        return None;
    }
    cursor.filter(|_| model.focus == Pane::Shell)
}

/// Puts a sign of ASCII for every one whose width is not certain: in texts of lessons, names,
/// sentences. What programs print is theirs.
fn narrow(buffer: &mut Buffer, programs: Rect) {
    let area = buffer.area;
    for at in area.positions().filter(|p| !programs.contains(*p)) {
        let cell = &mut buffer[at];
        let mut chars = cell.symbol().chars();
        let (Some(sign), None) = (chars.next(), chars.next()) else { continue };
        if sign.is_ascii() || sign.width() == sign.width_cjk() && sign != '▸' {
            continue;
        }
        cell.set_char(charset::ascii_cell(sign));
    }
}

/// A pane's border, with its name, and what is worth a corner.
fn frame(model: &Model, pane: Pane, area: Rect, buffer: &mut Buffer) {
    if area.width < 3 || area.height < 3 {
        return;
    }
    let look = model.look;
    let focused = model.focus == pane;
    let (left, right) = match pane {
        Pane::Lesson => lesson::title(model),
        Pane::Map => {
            let name = model.lang.say(model.view.words().0, &[]);
            let corner = if map::hides_answer(model) { String::new() } else { map::corner(model) };
            (format!("{}: {name}", model.lang.say(Word::PaneMap, &[])), corner)
        }
        Pane::Shell => {
            let scrolled = match model.shell.scrolled() {
                0 => String::new(),
                n => model.lang.say(Word::Scrolled, &[&n.to_string()]),
            };
            (model.lang.say(Word::PaneShell, &[]), scrolled)
        }
    };
    let tone = if pane == Pane::Lesson { lesson::corner_tone(model) } else { Tone::Dim };
    boxed(look, area, focused, &left, (&right, tone), buffer);
}
