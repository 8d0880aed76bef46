//! Lines from a person who types: history, completion, several lines where one is not enough.

mod ahead;
mod keys;

use super::complete::{Offer, as_typed, offer};
use super::kubeconfig::{Watched, prompt};
use super::line;
use super::names::Names;
use super::paste;
use super::practice::drill::Running;
use super::prose::harmless;
use super::session::{Flow, Given, Lines, Session};
use super::terminal;
use ahead::{Ahead, take_whole};
use keys::{AskFrame, EndOfInput, Pause};
use lang::charset::println;
use rustyline::completion::{Completer, FilenameCompleter, Pair};
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{
    ColorMode, CompletionType, Config, Context, Editor, ExternalPrinter, Helper, Highlighter, Hinter,
};
use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// How many lines the history keeps.
const HISTORY_MAX: usize = 5000;
/// The prompt of a line that continues a text.
const CONTINUED: &str = "> ";
/// Input that follows a line's end within this time belongs to the same paste: people do not type
/// so fast, and a terminal that passes a long paste on in pieces takes less between two of them.
const BURST: std::time::Duration = std::time::Duration::from_millis(15);

/// Completes what is typed, and says whether it is whole.
#[derive(Helper, Highlighter, Hinter)]
struct LineHelper {
    names: Arc<Names>,
    files: FilenameCompleter,
    /// What is typed is a manifest, not a command.
    pasting: Cell<bool>,
    /// Text that what is typed continues.
    before: RefCell<String>,
}

impl Completer for LineHelper {
    type Candidate = Pair;

    fn complete(
        &self,
        text: &str,
        at: usize,
        context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        if self.pasting.get() {
            return Ok((at, vec![]));
        }
        match offer(&text[..at], &self.names) {
            Offer::Files => self.files.complete(text, at, context),
            Offer::Words(words) => {
                let start = word_start(&text[..at]);
                let alone = words.len() == 1;
                let pair = |word: String| Pair { replacement: as_typed(&word, alone), display: word };
                Ok((start, words.into_iter().map(pair).collect()))
            }
        }
    }
}

/// Returns where the word at the end of `text` begins. A separator may be longer than one byte:
/// U+00A0, U+3000.
fn word_start(text: &str) -> usize {
    let separators = |c: char| c.is_whitespace() || "|;&(!".contains(c);
    text.rmatch_indices(separators).next().map_or(0, |(at, separator)| at + separator.len())
}

impl Validator for LineHelper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        // The lines of a paste without brackets are taken together, as those of one with brackets.
        // The editor reads ahead: if a command began after the first line, what is still in the
        // terminal would overtake what the editor has.
        if !self.pasting.get() && terminal::input_within(BURST) {
            return Ok(ValidationResult::Incomplete);
        }
        let whole = self.pasting.get() || is_whole(&self.before.borrow(), context.input());
        Ok(if whole { ValidationResult::Valid(None) } else { ValidationResult::Incomplete })
    }
}

/// True if nothing is to come behind `input`, which continues the text `before`. Pure.
fn is_whole(before: &str, input: &str) -> bool {
    let text = if before.is_empty() { input.to_string() } else { format!("{before}\n{input}") };
    let first = text.lines().next().unwrap_or_default();
    // A manifest pasted right behind its command is no shell text.
    paste::reads_stdin(&line::cut(first).words) || !line::unfinished(&text)
}

/// The prompt of a session at a terminal, with its editor.
pub(crate) struct Prompt {
    editor: Editor<LineHelper, DefaultHistory>,
    /// The file of the lines that were typed.
    history: PathBuf,
    config: Arc<Watched>,
    cluster: String,
    ahead: Ahead,
    /// A command is typed, not a text that continues one.
    first: Arc<AtomicBool>,
    /// The drill that runs, whose time stands before the prompt.
    drill: Arc<Running>,
}

impl Prompt {
    /// Makes the prompt of a session, with the lines of earlier ones.
    ///
    /// # Errors
    /// The editor cannot use the terminal.
    pub(crate) fn new(session: &Session, names: Arc<Names>) -> Result<Prompt, ReadlineError> {
        let colours = if terminal::colours() { ColorMode::Enabled } else { ColorMode::Disabled };
        let config = Config::builder()
            .max_history_size(HISTORY_MAX)?
            .history_ignore_space(true)
            .history_ignore_dups(true)?
            .completion_type(CompletionType::List)
            .color_mode(colours)
            .build();
        let mut editor = Editor::with_config(config)?;
        let first: Arc<AtomicBool> = Arc::default();
        if let Some(token) = session.frame.clone() {
            let key = rustyline::KeyEvent::new('?', rustyline::Modifiers::NONE);
            let ask = Box::new(AskFrame { token, first: first.clone() });
            editor.bind_sequence(key, rustyline::EventHandler::Conditional(ask));
        }
        editor.bind_sequence(
            rustyline::KeyEvent::ctrl('D'),
            rustyline::EventHandler::Conditional(Box::new(EndOfInput)),
        );
        if let Some(pause) = Pause::new() {
            editor.bind_sequence(
                rustyline::KeyEvent::ctrl('Z'),
                rustyline::EventHandler::Conditional(Box::new(pause)),
            );
        }
        editor.set_helper(Some(LineHelper {
            names,
            files: FilenameCompleter::new(),
            pasting: Cell::new(false),
            before: RefCell::default(),
        }));
        let history = session.place.home.path().join("history");
        let _ = editor.load_history(&history); // there is none at first
        Ok(Prompt {
            editor,
            history,
            config: session.config.clone(),
            cluster: session.place.name.clone(),
            ahead: Ahead::default(),
            first,
            drill: session.engine.drill.clone(),
        })
    }

    /// Returns what can print while a line is typed.
    pub(crate) fn printer(&mut self) -> Option<impl ExternalPrinter + Send + use<>> {
        self.editor.create_external_printer().ok()
    }

    fn read(&mut self, prompt: &str) -> Given {
        self.first.store(prompt != CONTINUED, Ordering::Relaxed);
        let styled = match terminal::colours() {
            true => format!("\x1b[1;32m{prompt}\x1b[0m"),
            false => prompt.to_string(),
        };
        let begun = std::mem::take(&mut self.ahead.begun);
        given(self.editor.readline_with_initial(&(prompt, styled.as_str()), (&begun, "")))
    }

    /// Reads the next command: one line, or several that belong together.
    fn command(&mut self) -> Given {
        let prompt = self.drill.timed(prompt(&self.config.view(), &self.cluster));
        let Some(text) = self.ahead.lines.front() else {
            let given = self.read(&prompt);
            let Given::Text(text) = given else { return given };
            self.ahead.lines.extend(text.split('\n').map(String::from));
            return self.whole();
        };
        println!("{prompt}{}", harmless(text)); // a paste may have control sequences in it
        self.whole()
    }

    fn whole(&mut self) -> Given {
        let mut lines = std::mem::take(&mut self.ahead.lines);
        let given = take_whole(&mut lines, |text| self.read_behind(text));
        self.ahead.lines = lines;
        given
    }

    /// Reads what continues this text.
    fn read_behind(&mut self, text: &str) -> Given {
        if let Some(helper) = self.editor.helper() {
            helper.before.replace(text.into());
        }
        let given = self.read(CONTINUED);
        if let Some(helper) = self.editor.helper() {
            helper.before.take();
        }
        given
    }

    fn remember(&mut self, text: &str) {
        if !text.trim().is_empty() && self.editor.add_history_entry(text).unwrap_or(false) {
            let _ = self.editor.append_history(&self.history); // a full disk costs the history only
        }
    }
}

impl Lines for Prompt {
    fn more(&mut self) -> Given {
        if !self.ahead.lines.is_empty() {
            return Given::Text(self.ahead.lines.drain(..).collect::<Vec<_>>().join("\n"));
        }
        if let Some(helper) = self.editor.helper() {
            helper.pasting.set(true);
        }
        let given = self.read(CONTINUED);
        if let Some(helper) = self.editor.helper() {
            helper.pasting.set(false);
        }
        given
    }

    fn typed(&self) -> bool {
        true
    }

    fn give_back(&mut self, text: String) {
        for line in text.split('\n').rev() {
            self.ahead.lines.push_front(line.to_string());
        }
    }
}

/// Returns what the editor's answer means.
fn given(read: Result<String, ReadlineError>) -> Given {
    match read {
        Ok(text) => Given::Text(text),
        Err(ReadlineError::Interrupted) => Given::Cut,
        Err(ReadlineError::Eof) => Given::End,
        // To end here would end the learner's cluster, too.
        Err(error) if not_utf8(&error) => Given::NotUtf8,
        Err(_) => Given::Gone,
    }
}

/// Returns whether the terminal sent bytes that are not UTF-8: then rustyline gives the line up.
fn not_utf8(error: &ReadlineError) -> bool {
    matches!(error, ReadlineError::Io(error) if error.kind() == std::io::ErrorKind::InvalidData)
}

/// Reads and runs lines until the learner leaves, and returns the exit code.
pub(crate) fn run_lines(session: &mut Session, prompt: &mut Prompt) -> i32 {
    loop {
        session.take_interrupt(); // what was pressed before does not concern the next line
        session.unedited.iter().for_each(|unedited| unedited.again());
        session.tell_frame(&["prompt", "on"]);
        let given = prompt.command();
        session.tell_frame(&["prompt", "off"]);
        let text = match given {
            Given::Text(text) => text,
            Given::Cut => {
                session.note_interrupt();
                continue;
            }
            Given::NotUtf8 => {
                session.not_utf8();
                continue;
            }
            Given::End if session.stays() => continue,
            Given::End | Given::Gone => return 0,
        };
        prompt.remember(&text);
        session.note_typed(&text);
        if let Flow::Leave(code) = session.run(&text, prompt) {
            return code;
        }
        if session.column.take_inside() {
            println!(); // the prompt would overwrite it
        }
        // What was typed behind the Ctrl-C is not among these lines yet.
        if let Some(why) = session.take_reason_to_drop() {
            match prompt.ahead.drop_all() {
                0 => {}
                lines => session.report_dropped(why, lines),
            }
        }
        prompt.ahead.typed(&session.typed_ahead());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Error, ErrorKind};

    #[test]
    fn a_word_begins_behind_the_whole_separator_however_long_it_is() {
        for (text, word) in [
            ("get pods", "pods"),
            ("get\u{a0}po", "po"),
            ("get\u{3000}po", "po"),
            ("get\u{3000}", ""),
            ("ls|grep", "grep"),
            ("get", "get"),
        ] {
            assert_eq!(&text[word_start(text)..], word, "{text:?}");
        }
    }

    #[test]
    fn only_an_end_of_input_ends_a_paste() {
        assert!(matches!(given(Err(ReadlineError::Eof)), Given::End));
        assert!(matches!(given(Err(Error::from_raw_os_error(nix::libc::EIO).into())), Given::Gone));
    }

    #[test]
    fn a_quote_that_was_opened_before_can_be_closed() {
        assert!(is_whole("echo 'a", "b'") && is_whole("", "ls"));
        assert!(!is_whole("", "echo 'a") && !is_whole("echo 'a", "b"));
    }

    #[test]
    fn bytes_of_another_encoding_are_no_end_of_input() {
        assert!(not_utf8(&ReadlineError::from(ErrorKind::InvalidData)));
        assert!(!not_utf8(&ReadlineError::Eof) && !not_utf8(&ReadlineError::Interrupted));
        assert!(!not_utf8(&Error::from_raw_os_error(nix::libc::EIO).into()), "the terminal is gone");
    }
}
