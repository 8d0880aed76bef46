//! Where a view draws, and how text is put there.

use super::super::look::{Look, Sign, Tone};
use super::super::model::Model;
use super::super::text::{Piece, cells, cut, wrap};
use super::super::words::Word;
use crate::texts::Lang;
use lang::charset::is_harmful;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// A place to draw on, with cells counted from its own corner.
pub(crate) struct Canvas<'a> {
    pub buffer: &'a mut Buffer,
    pub area: Rect,
    pub look: Look,
    pub lang: Lang,
    /// The open lab asks for a cause. What the map has read and would name it is then not drawn:
    /// quotas, the API server's reason for refusing a controller's pods, that no pod has the labels
    /// of a Service's selector, and links that are cut.
    pub asks_cause: bool,
}

impl<'a> Canvas<'a> {
    pub(crate) fn new(model: &Model, area: Rect, buffer: &'a mut Buffer) -> Canvas<'a> {
        Canvas { buffer, area, look: model.look, lang: model.lang, asks_cause: model.lab.asks_cause() }
    }

    pub(crate) fn width(&self) -> usize {
        usize::from(self.area.width)
    }
    pub(crate) fn height(&self) -> usize {
        usize::from(self.area.height)
    }

    /// Writes at a cell what fits to the edge; the column behind it.
    pub(crate) fn put(&mut self, x: usize, y: usize, text: &str, tone: Tone) -> usize {
        self.put_in(x, y, self.width().saturating_sub(x), text, tone)
    }

    /// Writes at a cell, at most so many cells; the column behind it.
    pub(crate) fn put_in(&mut self, x: usize, y: usize, room: usize, text: &str, tone: Tone) -> usize {
        let room = room.min(self.width().saturating_sub(x));
        if y >= self.height() || room == 0 {
            return x;
        }
        // An Event's message may have several lines.
        let text = text.replace(is_harmful, " ");
        let text = cut(&text, room, self.look.sign(Sign::Ellipsis));
        let (px, py) = (self.area.x + x as u16, self.area.y + y as u16);
        self.buffer.set_string(px, py, &text, self.look.tone(tone));
        x + cells(&text)
    }

    /// The part below so many rows.
    pub(crate) fn below(&mut self, rows: usize) -> Canvas<'_> {
        let rows = u16::try_from(rows).unwrap_or(u16::MAX).min(self.area.height);
        let area = Rect { y: self.area.y + rows, height: self.area.height - rows, ..self.area };
        let Canvas { look, lang, asks_cause, .. } = *self;
        Canvas { buffer: &mut *self.buffer, area, look, lang, asks_cause }
    }

    /// True if this sign is in the cell.
    pub(crate) fn shows(&self, x: usize, y: usize, sign: &str) -> bool {
        let inside = x < self.width() && y < self.height();
        inside && self.buffer[(self.area.x + x as u16, self.area.y + y as u16)].symbol() == sign
    }

    /// A box of `width` by `height` cells with a title in its upper edge.
    pub(crate) fn frame(
        &mut self,
        (x, y): (usize, usize),
        (width, height): (usize, usize),
        title: &str,
        tone: Tone,
    ) {
        if width < 4 || height < 2 {
            return;
        }
        let set = self.look.border();
        for row in y..y + height {
            let (left, fill, right) = match row {
                _ if row == y => (set.top_left, set.horizontal_top, set.top_right),
                _ if row + 1 == y + height => (set.bottom_left, set.horizontal_bottom, set.bottom_right),
                _ => (set.vertical_left, " ", set.vertical_right),
            };
            self.put_in(x, row, width, &format!("{left}{}{right}", fill.repeat(width - 2)), Tone::Dim);
        }
        self.put_in(x + 1, y, width - 2, &format!(" {title} "), tone);
    }

    /// Pieces one behind the other.
    pub(crate) fn row(&mut self, x: usize, y: usize, pieces: &[(&str, Tone)]) -> usize {
        pieces.iter().fold(x, |x, (text, tone)| self.put(x, y, text, *tone))
    }

    pub(crate) fn sign(&self, sign: Sign) -> &'static str {
        self.look.sign(sign)
    }

    pub(crate) fn word(&self, word: Word, with: &[&str]) -> String {
        self.lang.say(word, with)
    }

    /// A few lines of text in the middle of nothing.
    pub(crate) fn note(&mut self, y: usize, text: &str) {
        let room = self.width().saturating_sub(2);
        let pieces = [Piece::new(text, self.look.tone(Tone::Dim))];
        for (at, line) in wrap(&pieces, room, "", "").into_iter().enumerate() {
            self.put(1, y + at, &line.to_string(), Tone::Dim);
        }
    }
}
