//! Lines of kubectl: run by the built-in one in this program, or on the terminal by a process.

use super::{Given, INTERRUPTED, Lines, Manner, Session};
use crate::commands::{self, Input};
use crate::line;
use crate::paste::{self, Paste};
use crate::terminal;
use crate::texts::Say;
use lang::charset::{eprintln, println};

impl Session {
    /// Runs a command that may read the terminal or standard input, in a process of its own: the
    /// thread that reads standard input in this process cannot be stopped, and would take input
    /// that is for the next command.
    pub(super) fn foreground(&mut self, text: &str, lines: &mut dyn Lines) -> i32 {
        let words = line::cut(text).words;
        let reads_lines = match self.manner {
            Manner::Pipe => true, // and finds no input: it is the script
            Manner::File => paste::reads_stdin(&words),
            Manner::Terminal | Manner::Script => false,
        };
        match reads_lines {
            true => self.kubectl(&words[1..], lines),
            false => self.in_shell(text),
        }
    }

    /// Runs a line of kubectl in this program, or in the shell where that would do something else.
    /// Returns its exit code. `lines`: where a manifest stands that follows the line.
    pub(super) fn kubectl(&mut self, args: &[String], lines: &mut dyn Lines) -> i32 {
        let mut input = match self.manner {
            Manner::Terminal => Input::Keyboard,
            Manner::Pipe => Input::Nothing,
            Manner::Script | Manner::File => Input::Stdin,
        };
        // `-c` lines come from the command line, so there standard input is the manifest.
        if paste::reads_stdin(args) && self.manner != Manner::Script {
            let text = match self.read_manifest(lines) {
                Ok(text) => text,
                Err(code) => return code,
            };
            // Its end is missing if the signal has ended the program that wrote it.
            if let Some(code) = self.asked_to_end() {
                return code;
            }
            if let Some(tape) = &self.tape {
                tape.keep_pasted(&text);
            }
            input = Input::Text(text);
        }
        if !self.check_alive() {
            return 1;
        }
        self.follow_shell();
        let exports = match self.exports() {
            Ok(exports) => exports,
            Err(code) => return code,
        };
        if let Some(code) = self.without_program(args, exports.as_ref()) {
            return code;
        }
        if let Some(code) = self.kubectl_by_shell(args, &input, exports.as_ref()) {
            return code;
        }
        let env = commands::environment(&self.place, exports.as_ref());
        let mask = self.umask_of_shell();
        let code = commands::run(args, input, env, &self.handle, &self.column);
        drop(mask);
        // A pod's log may switch to the screen of editors. kubectl itself never needs it.
        if self.manner == Manner::Terminal && self.column.full_screen() {
            terminal::leave_full_screen();
            self.column.left_full_screen();
        }
        self.news.release(); // those that came while it was on
        code
    }

    /// Reads a manifest from the lines that follow.
    ///
    /// # Errors
    /// The exit code: it was cancelled, or has bytes that kubectl refuses. The reason is printed.
    pub(super) fn read_manifest(&mut self, lines: &mut dyn Lines) -> Result<String, i32> {
        if self.manner == Manner::Terminal && !std::mem::replace(&mut self.explained_paste, true) {
            println!("{}", self.say(Say::PasteHint, &[]));
        }
        let mut paste = Paste::default();
        let (typed, mut is_utf8) = (lines.typed(), true);
        loop {
            match lines.more() {
                Given::Text(text) => {
                    if let Some(rest) = paste.take(&text, typed) {
                        if !rest.is_empty() {
                            lines.give_back(rest);
                        }
                        break;
                    }
                }
                Given::End => break,
                // The lines behind it still belong to the manifest: they must not run.
                Given::NotUtf8 if !typed => is_utf8 = false,
                given => {
                    if matches!(given, Given::NotUtf8) {
                        self.not_utf8();
                    }
                    eprintln!("{}", self.say(Say::PasteCut, &[]));
                    return Err(INTERRUPTED);
                }
            }
        }
        if !is_utf8 {
            self.complain(&self.say(Say::PasteNotUtf8, &[]), None, None);
            return Err(1);
        }
        Ok(paste.text())
    }
}
