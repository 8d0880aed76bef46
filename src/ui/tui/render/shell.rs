//! The shell's cells, moved to where its pane is.

use super::super::model::Model;
use lang::charset::reorders;
use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Color;
use ratatui::widgets::Widget;
use tui_term::widget::{Cursor, PseudoTerminal};
use unicode_width::UnicodeWidthStr;

/// Draws the terminal; where its cursor is.
pub(super) fn render(model: &Model, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    if area.is_empty() {
        return None;
    }
    let screen = model.shell.screen();
    let hidden = Cursor::default().visibility(false); // the real one is put there
    PseudoTerminal::new(screen).cursor(hidden).render(area, buffer);
    let (rows, columns) = screen.size();
    for y in 0..area.height.min(rows) {
        for x in 0..area.width.min(columns) {
            let wide = screen.cell(y, x).is_some_and(|c| c.is_wide());
            // A terminal that obeys these turns over the rest of the row, with the panes beside.
            if let Some(contents) = screen.cell(y, x).map(|cell| cell.contents())
                && contents.contains(reorders)
            {
                let plain: String = contents.chars().filter(|c| !reorders(*c)).collect();
                buffer[(area.x + x, area.y + y)].set_symbol(&plain);
            }
            // With a variation selector behind it a sign counts as wider than the emulator placed
            // it, and would hide the next cell.
            if let Some(cell) = screen.cell(y, x)
                && cell.contents().width() > 1 + usize::from(wide)
                && let Some(sign) = cell.contents().chars().next()
            {
                buffer[(area.x + x, area.y + y)].set_char(sign);
            }
            // The second half of a syllable belongs to its first; at the edge there is no second
            // half.
            if wide && x + 1 < area.width {
                buffer[(area.x + x + 1, area.y + y)].reset();
            } else if wide {
                buffer[(area.x + x, area.y + y)].set_symbol(" ");
            }
            if !model.look.colour {
                let cell = &mut buffer[(area.x + x, area.y + y)];
                (cell.fg, cell.bg) = (Color::Reset, Color::Reset);
            }
        }
    }
    let (row, column) = screen.cursor_position();
    let seen =
        !screen.hide_cursor() && model.shell.scrolled() == 0 && row < area.height && column < area.width;
    seen.then(|| Position::new(area.x + column, area.y + row))
}
