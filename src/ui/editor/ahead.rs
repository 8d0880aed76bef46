//! Input that is there before a prompt asks for it: what was typed ahead, and the rest of a paste.

use crate::line;
use crate::session::Given;
use std::collections::VecDeque;

/// Input that is there before a prompt asks for it.
#[derive(Default)]
pub(super) struct Ahead {
    /// Whole lines: the rest of a paste, or typed while a command ran.
    pub lines: VecDeque<String>,
    /// The beginning of a line that was typed while a command ran.
    pub begun: String,
}

impl Ahead {
    /// Adds what was typed while a command ran. It goes on where the line stopped that was begun
    /// before.
    pub(super) fn typed(&mut self, text: &str) {
        let text = std::mem::take(&mut self.begun) + text;
        let mut lines: VecDeque<String> = text.split('\n').map(String::from).collect();
        self.begun = lines.pop_back().unwrap_or_default();
        self.lines.append(&mut lines);
    }

    /// Drops everything, and returns how many lines had something in them.
    pub(super) fn drop_all(&mut self) -> usize {
        let dropped = std::mem::take(self);
        let written = |line: &&String| !line.trim().is_empty();
        dropped.lines.iter().chain([&dropped.begun]).filter(written).count()
    }
}

/// Takes the next command from these lines, and from what `read` gives to continue a text. That may
/// be a paste: its lines behind the command's end stay for the next ones.
pub(super) fn take_whole(lines: &mut VecDeque<String>, mut read: impl FnMut(&str) -> Given) -> Given {
    let mut text = line::Growing::new(lines.pop_front().unwrap_or_default());
    while text.unfinished() {
        if lines.is_empty() {
            match read(text.text()) {
                Given::Text(next) => lines.extend(next.split('\n').map(String::from)),
                Given::End => return Given::Cut, // it gives up this text only
                other => return other,
            }
        }
        text.add(&lines.pop_front().unwrap_or_default());
    }
    Given::Text(text.into_text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_that_came_early_is_put_together_and_dropped_whole() {
        let mut ahead = Ahead::default();
        ahead.typed("get pods\nget no");
        ahead.typed("des\n\nget s");
        ahead.typed("");
        assert_eq!(ahead.lines, ["get pods", "get nodes", ""]);
        assert_eq!(ahead.begun, "get s");
        assert_eq!(ahead.drop_all(), 3, "the empty line is none that would be missed");
        ahead.typed("get svc\n");
        assert_eq!((ahead.lines.len(), ahead.begun.as_str()), (1, ""), "what comes later stays");
    }

    #[test]
    fn commands_pasted_behind_the_end_of_a_here_document_are_commands() {
        let mut lines: VecDeque<String> = ["kubectl apply -f - <<EOF".to_string()].into();
        let mut pastes = vec!["a: 1", "b: 2\nEOF\nget pods\nexit"];
        let mut read = |_: &str| Given::Text(pastes.remove(0).into());
        let mut next = || match take_whole(&mut lines, &mut read) {
            Given::Text(text) => text,
            _ => panic!("no text"),
        };
        assert_eq!(next(), "kubectl apply -f - <<EOF\na: 1\nb: 2\nEOF");
        assert_eq!([next(), next()], ["get pods", "exit"]);
        let mut quote: VecDeque<String> = ["echo 'a".to_string()].into();
        assert!(matches!(take_whole(&mut quote, |_| Given::End), Given::Cut));
        assert!(quote.is_empty());
    }
}
