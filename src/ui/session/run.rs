//! Runs one line, from the text that was typed to its exit code.

use super::{Flow, INTERRUPTED, Lines, Manner, Session};
use crate::line::{self, Line};
use crate::terminal;
use crate::texts::Say;
use lab::why::Typed;
use lang::charset::{eprintln, print};

/// What the session knows of the line that runs, or of the last one that was not empty.
/// [`LineState::begin`] resets all of it.
#[derive(Default)]
pub(super) struct LineState {
    /// The line has run in the shell, which knows its exit code. False when a line begins.
    pub(super) ran_in_shell: bool,
    /// The learner was warned of programs that would end with the session. False when a line
    /// begins, except `exit` and `quit`: the second of these leaves.
    pub(super) warned_of_stopped: bool,
    /// The programs that ran in the background of the shell before the line. Empty when a line
    /// begins; [`Session::begin_line`] lists them, [`Session::end_line`] takes them.
    pub(super) running_before: Vec<String>,
}

impl LineState {
    /// Forgets the line before, because another one begins. `leaves`: that is `exit` or `quit`.
    pub(super) fn begin(&mut self, leaves: bool) {
        let warned_of_stopped = leaves && self.warned_of_stopped;
        *self = LineState { warned_of_stopped, ..LineState::default() };
    }
}

/// What a line may change, and who has to hear of it. `help` and `lesson` are the program's alone:
/// they are `aside`, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reach {
    /// The shell or kubectl runs the learner's own words, so `why` can explain how they ended.
    is_learners: bool,
    /// It may change something: the lesson engine hears when it begins and how it ended.
    acts: bool,
    /// It does not name the cluster: a busy engine holds it up for a moment only.
    aside: bool,
}

impl Reach {
    fn of(line: &Line) -> Reach {
        let is_learners = match line {
            Line::Shell(text) => !line::begins_with_own_word(text),
            line => matches!(line, Line::Kubectl(_) | Line::Foreground(_)),
        };
        let acts = is_learners || matches!(line, Line::Own(_) | Line::Shell(_));
        Reach { is_learners, acts, aside: !line.is_about_the_cluster() }
    }
}

impl Session {
    /// Runs one line, unless a signal has ended the session. A script ends with its shell, as in
    /// every other shell: after `cd build || exit 1` the next line must not run in the directory of
    /// before.
    pub(crate) fn run(&mut self, text: &str, lines: &mut dyn Lines) -> Flow {
        if let Some(code) = self.asked_to_end() {
            return Flow::Leave(code);
        }
        let began = clock::now();
        self.take_language_of_frame();
        let flow = self.run_line(text, lines);
        // A line that was refused would not be refused where the draft is proved.
        if let Some(tape) = self.tape.as_ref().filter(|_| flow.is_some()) {
            tape.note(text, &self.place.name, self.last, began);
        }
        match flow.unwrap_or(Flow::Next) {
            Flow::Next if self.end.is_leaving => Flow::Leave(0),
            Flow::Next if self.cutoff.shell_lost && self.manner != Manner::Terminal => Flow::Leave(self.last),
            flow => flow,
        }
    }

    /// Runs one line and returns what follows it. `None`: the line has not begun, because it is
    /// empty, was refused, was a word of a drill, or because Ctrl-C came before it.
    fn run_line(&mut self, typed: &str, lines: &mut dyn Lines) -> Option<Flow> {
        let meant = self.with_latin_keys(typed);
        let text = meant.as_deref().unwrap_or(typed);
        let line = line::classify(text, &self.place.name);
        if line == Line::Empty {
            return None;
        }
        self.line.begin(matches!(line, Line::Quit | Line::Exit(_)));
        if let Some(code) = self.settle_before_it_begins(&line, text) {
            self.last = code;
            return None;
        }
        let reach = Reach::of(&line);
        // Ctrl-C while the engine is busy is meant for the line.
        if reach.acts && self.begin_line(text.trim(), reach.aside).is_err() {
            self.last = INTERRUPTED;
            return None;
        }
        let flow = self.dispatch(line, text, lines);
        if reach.is_learners {
            self.suggest_kind(text);
            self.line_before = Some(Typed { line: text.trim().into(), code: self.last });
        }
        if reach.acts {
            self.end_line(text.trim(), reach.aside);
        }
        Some(flow)
    }

    /// Returns what the keys of a line give without the Korean layout with which it was typed. Says
    /// so if the line means something else for this program then. `None`: it stays as it is.
    fn with_latin_keys(&self, typed: &str) -> Option<String> {
        let meant = line::of_korean_layout(typed)?;
        let name = &self.place.name;
        if line::classify(typed, name) != line::classify(&meant, name) {
            eprintln!("{}", self.say(Say::KoreanLayout, &[meant.trim()]));
        }
        Some(meant)
    }

    /// Takes a word that is the drill's, or refuses a line; returns the exit code. `None`: the line
    /// is to run.
    fn settle_before_it_begins(&mut self, line: &Line, text: &str) -> Option<i32> {
        let of_drill = self.drill_word(line, text);
        of_drill.or_else(|| self.refuses(line, text).then_some(1))
    }

    /// Hands a line to what runs it, and keeps its exit code. `text`: the whole line.
    fn dispatch(&mut self, line: Line, text: &str, lines: &mut dyn Lines) -> Flow {
        self.last = match line {
            Line::Empty => self.last,
            Line::Quit => return self.exit(None),
            Line::Exit(code) => return self.exit(code.as_deref()),
            Line::Kubectl(args) => self.kubectl(&args, lines),
            Line::Foreground(text) => self.foreground(&text, lines),
            Line::Own(args) => self.run_own_command(&args),
            Line::Shell(shell) => self.typed_in_shell(&shell, text),
            Line::Help(about) => self.help(&about, lines),
            Line::Map(words) => self.show_map(&words),
            Line::Lang(choice) => self.choose_language(&choice),
            Line::Lesson(words) => self.run_lesson_word(&words),
            Line::Answer(written) => self.take_answer(&written),
            Line::Letter(letter, text) => self.take_letter(letter, &text),
            Line::Clear => self.clear_screen(),
            Line::Watch => {
                self.complain(&self.say(Say::WatchWhat, &[]), None, Some(&self.say(Say::WatchTry, &[])));
                2
            }
        };
        Flow::Next
    }

    /// `clear`: empties a terminal and its scrollback; returns the exit code.
    fn clear_screen(&self) -> i32 {
        if self.manner == Manner::Terminal && !terminal::dumb() {
            print!("\x1b[H\x1b[2J\x1b[3J");
            let _ = std::io::Write::flush(&mut std::io::stdout()); // the editor writes past it
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_knows_nothing_of_the_one_before_but_a_warning_that_it_may_leave() {
        let running_before = vec!["sleep 900".to_string()];
        let mut state = LineState { ran_in_shell: true, warned_of_stopped: true, running_before };
        state.begin(true);
        assert!(state.warned_of_stopped && !state.ran_in_shell && state.running_before.is_empty());
        state.begin(false);
        assert!(!state.warned_of_stopped);
    }

    #[test]
    fn what_a_line_reaches_is_read_from_it() {
        let reach = |text: &str| {
            let Reach { is_learners, acts, aside } = Reach::of(&line::classify(text, "main"));
            (is_learners, acts, aside)
        };
        assert_eq!(reach("kubectl get pods"), (true, true, false));
        assert_eq!(reach("kubectl get pods | wc -l"), (true, true, false));
        assert_eq!(reach("ls | wc -l"), (true, true, true));
        assert_eq!(reach("status"), (false, true, false));
        assert_eq!(reach("status | cat"), (false, true, false));
        assert_eq!(reach("help"), (false, false, true));
    }
}
