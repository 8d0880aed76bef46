//! The model as cells. Pure: the same model on the same area gives the same buffer.

mod answer;
mod bars;
mod lab;
mod lesson;
mod lesson_list;
mod overlay;
mod sheet;
mod shell;

pub(crate) use bars::tab_at;
pub(crate) use overlay::last;
pub(crate) use sheet::{in_sight, scrolled};

use super::layout::{self, Pane};
use super::look::{Look, Tone};
use super::map;
use super::model::Model;
use super::text::{cells, cut};
use super::words::Word;
use lang::charset;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::widgets::{Block, Clear, Widget};
use unicode_width::UnicodeWidthChar;

/// Draws everything; where the cursor stands, if one is to be seen.
pub(crate) fn render(model: &Model, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    let panes = model.panes_on(area);
    frame(model, Pane::Lesson, panes.lesson, buffer);
    sheet::render(model, panes.lesson, buffer);
    frame(model, Pane::Map, panes.map, buffer);
    map::render(model, layout::inside(panes.map), buffer);
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
        cell.set_char(charset::cell(sign));
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
            (format!("{}: {name}", model.lang.say(Word::PaneMap, &[])), map::corner(model))
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

/// A box with a title at the left and a note at the right of its upper edge.
fn boxed(look: Look, area: Rect, focused: bool, left: &str, right: (&str, Tone), buffer: &mut Buffer) {
    let (right, right_tone) = right;
    let tone = if focused { Tone::Accent } else { Tone::Dim };
    Block::bordered().border_set(look.border()).border_style(look.tone(tone)).render(area, buffer);
    let ellipsis = look.sign(super::look::Sign::Ellipsis);
    let room = usize::from(area.width).saturating_sub(4);
    let right_room = if right.is_empty() { 0 } else { cells(right) + 3 };
    // The focus is told by a mark, not by colour alone.
    let mark = if focused { if look.ascii { "*" } else { "◆" } } else { "" };
    let left = cut(&format!("{mark} {left} "), room.saturating_sub(right_room), ellipsis);
    let left = if focused { left } else { cut(&left, room, ellipsis) };
    buffer.set_string(area.x + 1, area.y, &left, look.tone(if focused { Tone::Title } else { Tone::Strong }));
    if !right.is_empty() && right_room + cells(&left) < room + 2 {
        let x = area.right().saturating_sub(2 + cells(right) as u16 + 1);
        buffer.set_string(x, area.y, format!(" {right} "), look.tone(right_tone));
    }
}

/// An empty place in the middle of the screen, for what lies over everything.
fn over(area: Rect, width: u16, height: u16, buffer: &mut Buffer) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    let place =
        Rect::new(area.x + (area.width - width) / 2, area.y + (area.height - height) / 2, width, height);
    Clear.render(place, buffer);
    place
}
