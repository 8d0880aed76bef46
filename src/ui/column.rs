//! Tracks whether the cursor is at the beginning of a line. That is known from what was printed:
//! asking the terminal takes time, and what is typed in that time would be taken for its answer.

use parking_lot::Mutex;

/// Where in the output the next byte stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Text,
    /// Behind ESC.
    Escape,
    /// `ESC [`, with what came after it.
    Control,
    /// The text of `ESC ]`, e.g. a title, up to BEL or `ESC \`.
    Title,
    /// The text of `ESC P`, `ESC _`, `ESC ^` or `ESC X`, up to `ESC \`.
    String,
    /// `ESC (` and its like: one more byte follows.
    Charset,
}

#[derive(Debug, Default)]
struct Progress {
    part: Part,
    /// Of the control sequence that is read: `24;1` of `ESC [ 24 ; 1 H`.
    parameters: Vec<u8>,
    /// Something stands on the line of the cursor.
    inside: bool,
    /// A full-screen program has the terminal's other screen.
    full_screen: bool,
}

/// Follows the output of programs. Shared by the threads that print and by the prompt.
#[derive(Debug, Default)]
pub(crate) struct Column(Mutex<Progress>);

/// Longer parameters belong to no sequence that matters here.
const PARAMETERS_MAX: usize = 32;

impl Column {
    /// Takes in bytes that were printed.
    pub(crate) fn saw(&self, bytes: &[u8]) {
        let mut now = self.0.lock();
        bytes.iter().for_each(|byte| now.step(*byte));
    }

    /// Returns whether something stands on the line of the cursor. From then on the line counts as
    /// empty: the caller begins a new one.
    pub(crate) fn take_inside(&self) -> bool {
        std::mem::take(&mut self.0.lock().inside)
    }

    /// Notes that the terminal was made to leave the full screen otherwise than by output.
    pub(crate) fn left_full_screen(&self) {
        let mut now = self.0.lock();
        (now.full_screen, now.inside) = (false, false);
    }

    /// Returns whether a program that took the whole screen has not given it back.
    pub(crate) fn full_screen(&self) -> bool {
        self.0.lock().full_screen
    }
}

impl Progress {
    fn step(&mut self, byte: u8) {
        match (self.part, byte) {
            (Part::Text, b'\n' | b'\r') => self.inside = false,
            // A second ESC begins anew: within `ESC P`, tmux passes sequences on so.
            (Part::Text | Part::Escape | Part::Title | Part::String, 0x1b) => self.part = Part::Escape,
            (Part::Text, 0..=0x1f | 0x7f) => {}
            (Part::Text, _) => self.inside = true,
            (Part::Escape, b'[') => {
                self.part = Part::Control;
                self.parameters.clear();
            }
            (Part::Escape, b']') => self.part = Part::Title,
            (Part::Escape, b'P' | b'_' | b'^' | b'X') => self.part = Part::String,
            (Part::Escape, b'(' | b')' | b'#' | b' ') => self.part = Part::Charset,
            // RIS resets the terminal: the usual screen, the cursor at its beginning.
            (Part::Escape, b'c') => *self = Progress::default(),
            (Part::Escape, _) => self.part = Part::Text,
            (Part::Charset, _) | (Part::Title, 0x07) => self.part = Part::Text,
            (Part::Title | Part::String, _) => {}
            (Part::Control, 0x40..=0x7e) => {
                self.part = Part::Text;
                self.moved(byte);
            }
            (Part::Control, _) if self.parameters.len() < PARAMETERS_MAX => self.parameters.push(byte),
            (Part::Control, _) => {}
        }
    }

    /// Takes in the end of a control sequence, its `last` byte: some of them move the cursor.
    fn moved(&mut self, last: u8) {
        let column = self.parameters.rsplit(|b| *b == b';').next().unwrap_or_default();
        let first = matches!(column, b"" | b"1") || !self.parameters.contains(&b';');
        match last {
            b'H' | b'f' => self.inside = !first,
            b'G' => self.inside = !matches!(self.parameters.as_slice(), b"" | b"1"),
            // To the screen of an editor, and back to where the line was begun.
            b'h' | b'l' if matches!(self.parameters.as_slice(), b"?1049" | b"?47" | b"?1047") => {
                self.full_screen = last == b'h';
                self.inside = false;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_visible_text_without_a_line_end_is_inside_a_line() {
        for (text, inside) in [
            ("", false),
            ("abc", true),
            ("abc\r\n", false),
            ("abc\n\x1b[0m", false),
            ("\x1b[31mabc\x1b[0m", true),
            ("\x1b]0;title\x07", false),
            ("\x1b]0;title\x1b\\", false),
            ("\x1bP1$r0m\x1b\\", false),
            ("abc\x1b_Gi=1\x1b\\", true),
            ("\x1bP1;\x07data\x1b\\", false),
            ("\x1bPtmux;\x1b\x1b]0;title\x07\x1b\\", false),
            ("\x1b\x1b[31m", false),
            ("x\x1b[H\x1b[2J", false),
            ("\x1b[5;7H", true),
            ("~ text\x1b[24;1H:q\x1b[?1049l", false),
            ("\x1b(B\x1b[m", false),
            ("^C", true),
        ] {
            let column = Column::default();
            for byte in text.bytes() {
                column.saw(&[byte]);
            }
            assert_eq!(column.take_inside(), inside, "{text:?}");
            assert!(!column.take_inside());
        }
        let column = Column::default();
        column.saw(b"\x1b[?1049h~\x1b[?25h");
        assert!(column.full_screen());
        column.saw(b"\x1b[?1049l");
        assert!(!column.full_screen());
        column.saw(b"\x1b[?1049h~\x1bc");
        assert!(!column.full_screen() && !column.take_inside(), "`reset` ends a full screen, too");
    }
}
