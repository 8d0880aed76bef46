//! Sentences as lines of a pane.

use super::super::look::{Look, Tone};
use super::super::markdown;
use super::super::text::{Piece, wrap};
use ratatui::text::Line;

/// Lays a sentence out in lines of at most so many cells. `first` stands before its first line,
/// `rest` before the others.
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

/// Lays out a sentence of a lesson as [`text`] does, with its emphasis and code.
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

/// Lays out a hint, whose commands stand in backticks.
pub(super) fn hinted(words: &str, look: Look, tone: Tone, room: usize) -> Vec<Line<'static>> {
    wrap(&markdown::inline_with_ticks(words, look.tone(tone), look), room, "", "  ")
}
