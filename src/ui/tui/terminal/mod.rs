//! The shell's terminal, emulated: bytes in, a grid of cells out. What programs ask of a terminal
//! is answered here.

use super::event::Question;
use super::osc::Bound;
use super::{layout, reflow, wide};
use crate::texts::Lang;
use lab::graded::view::Ask as LabAsk;
use lab::view::Ask;
use std::cell::Cell;
use std::panic::AssertUnwindSafe;
use tui_term::vt100;

/// Lines that can be scrolled back to.
const SCROLLBACK: usize = 5000;
/// Begins what the REPL tells the frame around it: `\x1b]ropewalk;TOKEN;help\x07`. See
/// [`FrameCommand`] and [`Emulator::trust`].
pub(crate) const TELL: &str = "ropewalk";

/// A command that the REPL in the shell's pane sends to the interface around it, when the learner
/// types a word for what a key of the interface does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FrameCommand {
    Help,
    /// The next hint of what the lesson's pane shows: a lesson, or a lab.
    Hint,
    View(String),
    Lang(Lang),
    /// The REPL reads a line, or has begun to run one.
    Prompt(bool),
    /// A lesson or lab is to be opened that is played on a cluster of its own.
    Beside(Question),
    /// The interface is to go back from such a cluster.
    Home,
}

/// What output asks for beside the text that it shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SideOutput {
    /// Answers to write back to the program.
    pub answers: Vec<u8>,
    pub commands: Vec<FrameCommand>,
    pub bells: usize,
}

/// Hears what the emulator does not show. OSC 52 is not passed on: the output of a container must
/// not replace the learner's clipboard.
#[derive(Clone, Debug, Default)]
struct ScreenEvents {
    side: SideOutput,
    /// Commands count only with this token, which the REPL in the pane alone knows; without one,
    /// none does.
    token: Option<String>,
}

impl vt100::Callbacks for ScreenEvents {
    fn audible_bell(&mut self, _: &mut vt100::Screen) {
        self.side.bells += 1;
    }
    fn unhandled_csi(
        &mut self,
        screen: &mut vt100::Screen,
        first: Option<u8>,
        _: Option<u8>,
        params: &[&[u16]],
        command: char,
    ) {
        let param = params.first().and_then(|p| p.first()).copied().unwrap_or(0);
        match (first, command, param) {
            // The position of the cursor, the terminal's status, and what it is (twice). Source:
            // console_codes(4), and xterm's ctlseqs for the last one.
            (None, 'n', 6) => {
                let (row, column) = screen.cursor_position();
                self.side.answers.extend(format!("\x1b[{};{}R", row + 1, column + 1).bytes());
            }
            (None, 'n', 5) => self.side.answers.extend(b"\x1b[0n"),
            (None, 'c', 0) => self.side.answers.extend(b"\x1b[?1;2c"),
            (Some(b'>'), 'c', 0) => self.side.answers.extend(b"\x1b[>0;10;1c"),
            _ => {}
        }
    }
    fn unhandled_osc(&mut self, _: &mut vt100::Screen, params: &[&[u8]]) {
        let words: Vec<&str> = params.iter().filter_map(|p| std::str::from_utf8(p).ok()).collect();
        let [TELL, token, command @ ..] = words.as_slice() else { return };
        if self.token.as_deref() != Some(*token) {
            return; // a program's output, which may come from a container
        }
        self.side.commands.extend(match command {
            ["help"] => Some(FrameCommand::Help),
            ["hint"] => Some(FrameCommand::Hint),
            ["view", name] => Some(FrameCommand::View((*name).into())),
            ["lang", lang] => Lang::parse(lang).map(FrameCommand::Lang),
            ["prompt", on] => Some(FrameCommand::Prompt(*on == "on")),
            ["beside", "lesson", id, _] => {
                Some(FrameCommand::Beside((&Ask::Open { id: (*id).into() }).into()))
            }
            ["beside", "lab", id, seed] => {
                let ask = LabAsk::Elsewhere { id: (*id).into(), seed: seed.parse().ok() };
                Some(FrameCommand::Beside((&ask).into()))
            }
            ["home"] => Some(FrameCommand::Home),
            _ => None,
        });
    }
}

thread_local! {
    /// The emulator is at work in this thread: its panic is caught.
    static WORKING: Cell<bool> = const { Cell::new(false) };
}

/// Returns whether the emulator is at work in this thread. A panic is caught then, and does not end
/// the interface.
pub(crate) fn is_emulating() -> bool {
    WORKING.get()
}

/// The terminal of the shell's pane: takes the REPL's output, and knows what the screen shows.
pub(crate) struct Emulator {
    parser: vt100::Parser<ScreenEvents>,
    bound: Bound,
    /// The first bytes of a character whose last ones are still to come.
    begun: Vec<u8>,
}

impl Emulator {
    pub(crate) fn new(rows: u16, columns: u16) -> Emulator {
        let (rows, columns) = layout::terminal(rows, columns);
        let parser = vt100::Parser::new_with_callbacks(rows, columns, SCROLLBACK, ScreenEvents::default());
        Emulator { parser, bound: Bound::default(), begun: vec![] }
    }

    /// Takes commands that carry this token, and no others.
    pub(crate) fn trust(&mut self, token: String) {
        self.parser.callbacks_mut().token = Some(token);
    }

    /// The token of the REPL whose commands are taken.
    pub(crate) fn token(&self) -> Option<&str> {
        self.parser.callbacks().token.as_deref()
    }

    /// A fresh screen, for the same REPL.
    fn restart(&mut self, rows: u16, columns: u16) {
        let token = self.parser.callbacks_mut().token.take();
        *self = Emulator::new(rows, columns);
        self.parser.callbacks_mut().token = token;
    }

    /// Takes in a program's output. Returns what it asked for beside the text that it shows.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> SideOutput {
        let mut passed = std::mem::take(&mut self.begun);
        passed.extend(bytes.iter().copied().filter(|byte| self.bound.passes(*byte)));
        self.begun = passed.split_off(wide::whole_characters(&passed));
        self.guarded(|parser| wide::print(parser, &passed));
        std::mem::take(&mut self.parser.callbacks_mut().side)
    }

    /// vt100 panics over a few strange sequences. A program's output must not end the interface: it
    /// gets a fresh screen instead.
    fn guarded(&mut self, work: impl FnOnce(&mut vt100::Parser<ScreenEvents>)) {
        let (rows, columns) = self.size();
        WORKING.set(true);
        let done = std::panic::catch_unwind(AssertUnwindSafe(|| work(&mut self.parser)));
        WORKING.set(false);
        if done.is_err() {
            self.restart(rows, columns);
        }
    }

    pub(crate) fn screen(&self) -> &vt100::Screen {
        self.parser.screen()
    }

    /// Rows and columns, as the programs see them.
    pub(crate) fn size(&self) -> (u16, u16) {
        self.screen().size()
    }

    /// Changes the size, and lays the lines out anew: see [`reflow`]. `edited`: an editor has the
    /// line of the cursor. Returns true if the size is another one now.
    pub(crate) fn resize(&mut self, rows: u16, columns: u16, edited: bool) -> bool {
        // A pane out of sight keeps its size: its programs need not draw for one that is not shown.
        if rows == 0 || columns == 0 {
            return false;
        }
        let (rows, columns) = layout::terminal(rows, columns);
        if self.size() == (rows, columns) {
            return false;
        }
        self.guarded(|parser| {
            // Only the screen is exchanged: the parser may be in the middle of a sequence that a
            // read has split.
            let mut old = vt100::Parser::new(rows, columns, 0);
            std::mem::swap(parser.screen_mut(), old.screen_mut());
            let mut new = reflow::resized(old, rows, columns, SCROLLBACK, edited);
            std::mem::swap(parser.screen_mut(), new.screen_mut());
        });
        if self.size() != (rows, columns) {
            self.restart(rows, columns);
        }
        true
    }

    /// True if a full-screen program runs that has asked the terminal for anything about keys,
    /// paste or mouse. Editors and pagers do; `watch` does not. terminfo(5) calls it
    /// keyboard_transmit (`smkx`): function keys are for the program then.
    pub(crate) fn takes_keys(&self) -> bool {
        let screen = self.screen();
        screen.alternate_screen()
            && (screen.application_cursor()
                || screen.application_keypad()
                || screen.bracketed_paste()
                || screen.mouse_protocol_mode() != vt100::MouseProtocolMode::None)
    }

    /// Lines scrolled back; 0: the end is in sight.
    pub(crate) fn scrolled(&self) -> usize {
        self.screen().scrollback()
    }

    /// Scrolls back (positive) or forward by some lines.
    pub(crate) fn scroll(&mut self, by: isize) {
        let to = self.scrolled().saturating_add_signed(by);
        self.parser.screen_mut().set_scrollback(to);
    }

    pub(crate) fn scroll_to_end(&mut self) {
        self.parser.screen_mut().set_scrollback(0);
    }
}

#[cfg(test)]
mod tests;
