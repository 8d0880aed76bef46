//! The word `answer`: an answer to the question of the open step.

use super::help;
use super::shell::NOT_FOUND;
use super::{INTERRUPTED, Manner, Session};
use crate::dialect::quote;
use crate::lesson;
use crate::line::{needs_shell, unquoted};
use crate::texts::Say;
use lab::view::{Ask, Form, Judged, LessonView, State};
use lab::why::Typed;
use lang::charset::{eprintln, println};
use std::time::Duration;

/// How long the engine may take to tell whether a question waits for letters. A single letter is
/// else a line for the shell, which must not wait longer.
const HEARD_MAX: Duration = Duration::from_millis(500);

impl Session {
    /// Returns the view of the open lesson; `None` if the engine does not answer soon.
    fn open_step(&self) -> Option<LessonView> {
        let (place, lang) = (self.place.clone(), self.lang());
        let asked = async move { lesson::view(&place, lang, Ask::Show).await };
        self.handle.block_on(async { clock::timeout(HEARD_MAX, asked).await })?.ok()
    }

    /// True if the open step asks for the letters of choices, and has no right answer yet.
    fn takes_letters(&self) -> bool {
        let Some(LessonView { state: State::Open, answer: Some(answer), .. }) = self.open_step() else {
            return false;
        };
        answer.form == Form::Choices && answer.state != Judged::Right
    }

    /// Takes a letter alone as the answer to the question that waits for one, else as a line of the
    /// shell; returns the exit code.
    pub(super) fn take_letter(&mut self, letter: char, text: &str) -> i32 {
        match self.waits_for_letter() {
            Ok(true) => self.ask_and_print(Ask::Predict { choice: letter.to_string() }, |style, view| {
                style.answered(view) + &style.ask(view)
            }),
            Ok(false) if self.takes_letters() => self.take_answer(&letter.to_string()),
            Ok(false) => self.letter_in_shell(letter, text),
            Err(_) => INTERRUPTED,
        }
    }

    /// Runs a letter that answers nothing in the learner's shell, where it may be an alias. If it
    /// is unknown there, it was meant as an answer: says that no question waits for one, or that
    /// the first guess stays.
    fn letter_in_shell(&mut self, letter: char, text: &str) -> i32 {
        // What `!` turns round ends no shell and runs no trap (POSIX, XCU 2.15, `set -e`).
        let unknown = format!("{{ ! command -v {}; }} >/dev/null 2>&1", quote(text.trim()));
        match self.own_in_shell(&unknown) {
            0 => {}
            1 => return self.run_known_letter(text),
            code => return code, // the shell has ended, which was said
        }
        let view = self.open_step();
        let said = match view.as_ref().and_then(|view| kept_guess(view, letter)) {
            Some(guess) => self.say(Say::GuessKept, &[guess]),
            None => self.say(Say::LetterAnswersNothing, &[text.trim()]),
        };
        eprintln!("{said}");
        NOT_FOUND
    }

    /// Runs a letter that the shell knows as every other line of the learner's: the lesson engine
    /// hears of it, and `why` can explain how it ended. Returns the exit code.
    fn run_known_letter(&mut self, text: &str) -> i32 {
        // It does not say what it stands for, so a busy engine holds it up for a moment only.
        let (line, aside) = (text.trim(), true);
        if self.begin_line(line, aside).is_err() {
            return INTERRUPTED;
        }
        self.last = self.typed_in_shell(text, text);
        self.line_before = Some(Typed { line: line.into(), code: self.last });
        self.end_line(line, aside);
        self.last
    }

    /// Answers the question of the open step; the exit code is 0 only if the answer is right.
    pub(super) fn take_answer(&mut self, written: &str) -> i32 {
        if matches!(written, "" | "--help" | "-h") {
            if let Some(text) = help::of_lessons("answer") {
                println!("{}", self.say(text, &[]));
            }
            return if written.is_empty() { 2 } else { 0 };
        }
        let written = match needs_shell(written) {
            false => unquoted(written).to_string(),
            true => match self.expand_in_shell(written) {
                Ok(text) => text,
                Err(code) => return code,
            },
        };
        let mut code = 1;
        // At a terminal the session's lesson watcher says it when a step is done.
        let is_watched = self.manner == Manner::Terminal;
        let asked = self.ask_and_print(Ask::Answer { text: written }, |style, view| {
            let over = matches!(view.state, State::Done | State::Solved);
            let is_right = view.answer.as_ref().is_some_and(|answer| answer.state == Judged::Right);
            code = i32::from(!is_right);
            match over {
                true if is_watched => String::new(),
                true => style.over(view),
                false => style.judged(view),
            }
        });
        if asked == 0 { code } else { asked }
    }

    /// Lets the learner's shell expand an answer with `$` in it, because the shell has the
    /// variables and runs commands. `answer $(kubectl get pod web -o jsonpath={.status.podIP})`
    /// answers with the address. A pipe or a remark behind it belongs to the answer, so the braces
    /// end on a line of their own.
    ///
    /// # Errors
    /// The exit code, if the shell refuses or the text cannot be read; the reason is printed.
    fn expand_in_shell(&mut self, written: &str) -> Result<String, i32> {
        let path = self.place.root.join(format!("answer-{}", std::process::id()));
        let file = quote(&path.display().to_string());
        let code = self.in_shell(&format!("{{ printf '%s ' {written}\n}} >| {file}"));
        let text = std::fs::read_to_string(&path);
        let _ = std::fs::remove_file(&path); // it is not there if the shell has refused
        match (code, text) {
            (0, Ok(text)) => {
                self.line.ran_in_shell = false; // only its words have: the answer is yet to be judged
                Ok(text.trim().to_string())
            }
            (0, Err(error)) => {
                self.complain(&error.to_string(), None, None);
                Err(1)
            }
            (code, _) => Err(code),
        }
    }
}

/// Returns the learner's guess, if the open step has one and the letter is another of its choices,
/// or the same again.
fn kept_guess(view: &LessonView, letter: char) -> Option<&str> {
    let predict = view.predict.as_ref()?;
    let guess = predict.chosen.as_deref()?;
    predict.choices.iter().any(|(choice, _)| choice.chars().eq([letter])).then_some(guess)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::texts::Lang;
    use lab::view::Predict;

    #[test]
    fn a_second_guess_is_told_from_a_command() {
        let choices = vec![("a".to_string(), "here".to_string()), ("b".into(), "there".into())];
        let predict = Predict { choices, chosen: Some("b".into()), ..Predict::default() };
        let view = LessonView { predict: Some(predict.clone()), ..LessonView::default() };
        assert_eq!((kept_guess(&view, 'a'), kept_guess(&view, 'b')), (Some("b"), Some("b")));
        assert_eq!(kept_guess(&view, 'c'), None, "no choice");
        let fresh = Predict { chosen: None, ..predict };
        assert_eq!(kept_guess(&LessonView { predict: Some(fresh), ..view }, 'a'), None);
        assert_eq!(kept_guess(&LessonView::default(), 'a'), None);
    }

    fn session(runtime: &tokio::runtime::Runtime, dir: &std::path::Path) -> Session {
        let place = cluster::Home::at(dir).cluster("main").unwrap();
        std::fs::create_dir_all(&place.root).unwrap();
        Session::new(place, Lang::En, Manner::Pipe, runtime.handle().clone())
    }

    /// `a: command not found` would tell a learner nothing; a name that the shell knows is run.
    #[test]
    fn a_letter_is_run_only_if_the_shell_knows_it() {
        let (runtime, dir) = (tokio::runtime::Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let mut session = session(&runtime, dir.path());
        assert_eq!(session.letter_in_shell('a', "a"), NOT_FOUND);
        assert!(!session.line.ran_in_shell, "the shell has not run it");
        assert_eq!(session.in_shell("b() { return 5; }; alias c='(exit 7)'"), 0);
        assert_eq!((session.letter_in_shell('b', "b"), session.line.ran_in_shell), (5, true));
        assert_eq!(session.line_before, Some(Typed { line: "b".into(), code: 5 }), "`why` explains it");
        assert_eq!(session.letter_in_shell('c', " c "), 7);
        // A shell that ends at the first failure goes on.
        assert_eq!(session.in_shell("set -e"), 0);
        assert_eq!(session.letter_in_shell('a', "a"), NOT_FOUND);
        assert_eq!(session.in_shell("(exit 0)"), 0, "it has not ended");
    }

    /// After `set -e` such an answer ends a script if it is wrong, as every other answer does.
    #[test]
    fn an_answer_whose_words_the_shell_has_expanded_has_not_run_in_it() {
        let (runtime, dir) = (tokio::runtime::Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let mut session = session(&runtime, dir.path());
        session.run("answer $((6 * 7))", &mut crate::script::Script::of([]));
        assert_eq!((session.last(), session.line.ran_in_shell), (1, false), "no cluster takes it");
    }

    #[test]
    fn the_shell_reads_an_answer_to_its_end() {
        let (runtime, dir) = (tokio::runtime::Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let mut session = session(&runtime, dir.path());
        for (written, text) in
            [("$((6 * 7))", "42"), ("$((1 + 2)) # three", "3"), ("$((1 + 2)) | tr 3 4", "4")]
        {
            assert_eq!(session.expand_in_shell(written), Ok(text.to_string()), "{written}");
        }
    }
}
