//! How the texts of commands are laid out.

use std::io::IsTerminal;
use ui::prose::{self, Span};
use ui::terminal;

/// Cells that a line has beside its indentation, at least: on a narrower terminal it is broken by
/// the terminal.
const ROOM_MIN: usize = 20;

/// Returns the columns of the terminal. Without a terminal no line is broken.
pub(crate) fn columns() -> usize {
    match std::io::stdout().is_terminal() {
        true => terminal::size().0.into(),
        false => usize::MAX,
    }
}

/// Breaks a text between words. Each line begins with `indent` and ends before `width`.
pub(crate) fn wrapped(text: &str, indent: &str, width: usize) -> String {
    let span = Span { text: text.into(), ..Span::default() };
    let room = width.saturating_sub(indent.len() + 1).max(ROOM_MIN);
    prose::print(&prose::wrap(&[span], room), indent, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_broken_between_words_and_indented() {
        let text = "a Service leads to pods that are ready";
        assert_eq!(wrapped(text, "  ", 24), "  a Service leads to\n  pods that are ready\n");
        assert_eq!(wrapped("word", "", usize::MAX), "word\n");
        assert_eq!(wrapped(text, "  ", 3).lines().count(), 2, "a narrow terminal breaks it further");
    }
}
