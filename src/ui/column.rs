//! Is the cursor at the beginning of a line? Known from what was printed, because asking the
//! terminal takes time, and what is typed in that time would be taken for its answer.

use parking_lot::Mutex;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    #[default]
    Text,
    Escape,
    /// `ESC [`, with what came after it.
    Control,
    /// `ESC ]` up to BEL or `ESC \`.
    Title,
    /// `ESC (` and its like: one more byte follows.
    Charset,
}

#[derive(Debug, Default)]
struct Progress {
    part: Part,
    parameters: Vec<u8>,
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
    /// This was printed.
    pub(crate) fn saw(&self, bytes: &[u8]) {
        let mut now = self.0.lock();
        bytes.iter().for_each(|byte| now.step(*byte));
    }

    /// Something stands on the line of the cursor. After the question it counts as a new one.
    pub(crate) fn take_inside(&self) -> bool {
        std::mem::take(&mut self.0.lock().inside)
    }

    /// The terminal was made to leave the full screen by other means than printed output.
    pub(crate) fn left_full_screen(&self) {
        let mut now = self.0.lock();
        (now.full_screen, now.inside) = (false, false);
    }

    /// A program that took the whole screen has not given it back.
    pub(crate) fn full_screen(&self) -> bool {
        self.0.lock().full_screen
    }
}

impl Progress {
    fn step(&mut self, byte: u8) {
        match (self.part, byte) {
            (Part::Text, b'\n' | b'\r') => self.inside = false,
            (Part::Text | Part::Title, 0x1b) => self.part = Part::Escape,
            (Part::Text, 0..=0x1f | 0x7f) => {}
            (Part::Text, _) => self.inside = true,
            (Part::Escape, b'[') => {
                self.part = Part::Control;
                self.parameters.clear();
            }
            (Part::Escape, b']') => self.part = Part::Title,
            (Part::Escape, b'(' | b')' | b'#' | b' ') => self.part = Part::Charset,
            // RIS resets the terminal: the usual screen, the cursor at its beginning.
            (Part::Escape, b'c') => *self = Progress::default(),
            (Part::Escape, _) => self.part = Part::Text,
            (Part::Charset, _) | (Part::Title, 0x07) => self.part = Part::Text,
            (Part::Title, _) => {}
            (Part::Control, 0x40..=0x7e) => {
                self.part = Part::Text;
                self.moved(byte);
            }
            (Part::Control, _) if self.parameters.len() < PARAMETERS_MAX => self.parameters.push(byte),
            (Part::Control, _) => {}
        }
    }

    /// A control sequence ended: some of them move the cursor.
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
