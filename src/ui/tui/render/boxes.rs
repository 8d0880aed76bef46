//! Boxes with a border, and a place for one over the panes.

use super::super::look::{Look, Sign, Tone};
use super::super::text::{cells, cut};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::{Block, Clear, Widget};

/// A box with a title at the left and a note at the right of its upper edge.
pub(super) fn boxed(
    look: Look,
    area: Rect,
    focused: bool,
    left: &str,
    right: (&str, Tone),
    buffer: &mut Buffer,
) {
    let (right, right_tone) = right;
    let tone = if focused { Tone::Accent } else { Tone::Dim };
    Block::bordered().border_set(look.border()).border_style(look.tone(tone)).render(area, buffer);
    let ellipsis = look.sign(Sign::Ellipsis);
    let room = usize::from(area.width).saturating_sub(4);
    let right_room = if right.is_empty() { 0 } else { cells(right) + 3 };
    // The focus has a mark, not a colour alone.
    let mark = if focused { if look.ascii { "*" } else { "◆" } } else { "" };
    // The blank behind a title is not cut with it: it keeps the border away from `…`.
    let left = cut(&format!("{mark} {left}"), room.saturating_sub(right_room + 1), ellipsis) + " ";
    buffer.set_string(area.x + 1, area.y, &left, look.tone(if focused { Tone::Title } else { Tone::Strong }));
    if !right.is_empty() && right_room + cells(&left) < room + 2 {
        let x = area.right().saturating_sub(2 + cells(right) as u16 + 1);
        buffer.set_string(x, area.y, format!(" {right} "), look.tone(right_tone));
    }
}

/// An empty place in the middle of the screen, for what lies over everything.
pub(super) fn over(area: Rect, width: u16, height: u16, buffer: &mut Buffer) -> Rect {
    let (width, height) = (width.min(area.width), height.min(area.height));
    let place =
        Rect::new(area.x + (area.width - width) / 2, area.y + (area.height - height) / 2, width, height);
    // Where the left border cuts through a wide letter, the terminal would draw both of its halves.
    if place.x > area.x {
        for y in place.top()..place.bottom() {
            let beside = &mut buffer[(place.x - 1, y)];
            if cells(beside.symbol()) > 1 {
                beside.set_symbol(" ");
            }
        }
    }
    Clear.render(place, buffer);
    place
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::style::Style;

    #[test]
    fn a_title_that_is_cut_keeps_the_blank_behind_it() {
        let look = Look { ascii: false, colour: true, light: false };
        let edge = |width: u16, title: &str, right: &str| {
            let area = Rect::new(0, 0, width, 3);
            let mut buffer = Buffer::empty(area);
            boxed(look, area, false, title, (right, Tone::Dim), &mut buffer);
            let mut cell = 0;
            let mut edge = String::new();
            while cell < width {
                let symbol = buffer[(cell, 0)].symbol();
                edge += symbol;
                cell += cells(symbol).max(1) as u16;
            }
            edge
        };
        assert_eq!(edge(16, "00 short", ""), "┌ 00 short ────┐");
        assert_eq!(edge(20, "00 프로그램 하나를 실행", "1/3"), "┌ 00 프로… ─── 1/3 ┐");
        assert_eq!(edge(20, "00 a program by hand", "1/3"), "┌ 00 a pr… ─── 1/3 ┐");
        assert_eq!(edge(16, "00 프로그램 하나를 실행", ""), "┌ 00 프로그… ──┐");
    }

    #[test]
    fn a_wide_letter_is_not_left_half_under_a_border() {
        let area = Rect::new(0, 0, 12, 3);
        let mut buffer = Buffer::empty(area);
        buffer.set_string(0, 1, "a이미지로가", Style::new());
        let place = over(area, 4, 1, &mut buffer);
        assert_eq!((place.x, place.y), (4, 1), "in the second half of the second syllable");
        assert_eq!([1, 3, 4].map(|x| buffer[(x, 1)].symbol()), ["이", " ", " "]);
    }
}
