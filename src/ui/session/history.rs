//! The `history` of the learner's shell lists what was typed at the prompt.

use super::Session;
use crate::line::cut;
use std::collections::VecDeque;

/// Lines that the shell has not got yet, at most; the oldest go. It gets them with its next line,
/// and hundreds of lines of kubectl may come before that.
const UNTOLD_MAX: usize = 1000;

/// Lines that were typed and that the shell has not got yet.
#[derive(Default)]
pub(super) struct Untold {
    before: VecDeque<String>,
    /// The line that runs.
    present: Option<String>,
}

impl Untold {
    /// Notes the line that is about to run. One that begins with a space is left out, as it is from
    /// the history of the prompt.
    fn note(&mut self, line: &str) {
        self.before.extend(self.present.take().filter(|line| !runs_again(line)));
        if self.before.len() > UNTOLD_MAX {
            self.before.pop_front();
        }
        let is_kept = !line.is_empty() && !line.starts_with(char::is_whitespace);
        self.present = is_kept.then(|| line.to_string());
    }

    /// Returns the lines that the shell gets before the present one runs. That line itself follows
    /// with the next one: `fc -s`, or an alias of it, runs the last line that it knows, and would
    /// run itself for ever. `history` lists itself, as in bash. Of an `fc` that opens an editor
    /// bash takes the last line for itself, and removes it.
    fn take(&mut self) -> Vec<String> {
        let is_told = |line: &String| line.starts_with("history") || opens_editor(line);
        let present = if self.present.as_ref().is_some_and(is_told) { self.present.take() } else { None };
        self.before.drain(..).chain(present).collect()
    }
}

/// True for a line with a command that runs an earlier line again: `fc -s`, an `fc` that opens an
/// editor, and zsh's `r`. A shell never gets it: the next one would run it, and so itself, until
/// the shell has no stack any more. Shells note what it ran in its place.
fn runs_again(line: &str) -> bool {
    line.split([';', '|', '&', '(', '{', '\n']).any(is_rerun)
}

/// True for a command that runs an earlier line again.
fn is_rerun(command: &str) -> bool {
    let words = fc_words(command);
    !words.is_empty() && !words.iter().any(|word| word.starts_with('-') && word.contains('l'))
}

/// True for a line that is an `fc` which opens an editor.
fn opens_editor(line: &str) -> bool {
    let words = fc_words(line);
    let is_run = |word: &String| word == "-" || (word.starts_with('-') && word.contains('s'));
    is_rerun(line) && words[0] == "fc" && !words.iter().any(is_run)
}

/// Returns the words of a line that begins with `fc` or `r`, behind assignments; else none.
fn fc_words(line: &str) -> Vec<String> {
    let words = cut(line).words.into_iter().skip_while(|word| word.contains('='));
    let words: Vec<String> = words.collect();
    if matches!(words.first().map(String::as_str), Some("fc" | "r")) { words } else { vec![] }
}

impl Session {
    /// Notes a line that a person has typed, before it runs. Where no editor reads the keys of the
    /// prompt, as on a dumb terminal, Ctrl-C is a signal there: it took back what was typed by
    /// then, and does not concern this line.
    pub(crate) fn note_typed(&mut self, line: &str) {
        if self.unedited.is_none() {
            self.take_interrupt();
        }
        self.shell_memory.untold.note(line);
    }

    /// Tells the shell, if there is one, what was typed since its last line.
    pub(super) fn tell_typed(&mut self) {
        if let Some(shell) = &mut self.shell {
            shell.remember(self.shell_memory.untold.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Manner;
    use crate::texts::Lang;

    #[test]
    fn the_shell_is_told_each_line_once_and_the_present_one_later() {
        let mut untold = Untold::default();
        untold.note("get pods");
        assert!(untold.take().is_empty(), "`fc -s` would run itself");
        untold.note(" export TOKEN=x");
        untold.note("");
        untold.note("ls");
        assert_eq!(untold.take(), ["get pods"]);
        untold.note("history | tail -3");
        assert_eq!(untold.take(), ["ls", "history | tail -3"]);
        assert!(untold.take().is_empty());
    }

    /// bash would end with SIGSEGV at the second `fc -s`.
    #[test]
    fn a_line_that_runs_another_again_is_not_what_the_next_one_runs() {
        let mut untold = Untold::default();
        let mut told = |line: &str| {
            untold.note(line);
            untold.take()
        };
        assert!(told("ls").is_empty());
        assert_eq!(told("fc -s"), ["ls"]);
        assert!(told("fc -s").is_empty() && told("r").is_empty() && told("fc -e -").is_empty());
        for line in ["fc -s; ls -l", "true && fc -s", "(fc -s)"] {
            assert!(told(line).is_empty() && told("r").is_empty(), "{line}");
        }
        assert_eq!(told("FCEDIT=ed fc"), ["FCEDIT=ed fc"], "bash takes it out again");
        assert!(told("fc -ln -1").is_empty());
        assert_eq!(told("pwd"), ["fc -ln -1"]);
    }

    /// Set in the process that gets the signal: one reaches all of a process.
    const INSIDE: &str = "ROPEWALK_TEST_DUMB";

    /// Not a test of its own: what the one below runs in a process.
    #[test]
    fn gets_ctrl_c_before_a_line() {
        if std::env::var_os(INSIDE).is_none() {
            return;
        }
        use tokio::signal::unix::{SignalKind, signal};
        linux::signal::reset().unwrap(); // the tests may run in the background of a script
        let (runtime, dir) = (tokio::runtime::Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let _inside = runtime.enter();
        let place = cluster::Home::at(dir.path()).cluster("main").unwrap();
        let mut session = Session::new(place, Lang::En, Manner::Terminal, runtime.handle().clone());
        let mut heard = signal(SignalKind::interrupt()).unwrap();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGINT).unwrap();
        runtime.block_on(heard.recv());
        session.note_typed("ls");
        assert!(!session.take_interrupt(), "the line would not run");
    }

    #[test]
    fn ctrl_c_at_the_prompt_of_a_dumb_terminal_takes_no_later_line() {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "session::history::tests::gets_ctrl_c_before_a_line"]);
        let ran = command.env(INSIDE, "1").output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    fn lines_that_no_shell_was_told_are_kept_within_bounds() {
        let mut untold = Untold::default();
        (0..3 * UNTOLD_MAX).for_each(|n| untold.note(&format!("get pod web-{n}")));
        untold.note("history");
        let told = untold.take();
        assert_eq!(told.len(), UNTOLD_MAX + 1);
        assert_eq!(told[UNTOLD_MAX - 1], format!("get pod web-{}", 3 * UNTOLD_MAX - 1));
    }
}
