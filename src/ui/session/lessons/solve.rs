//! `solve`: plays the solution of a step, as the learner, line by line.
//!
//! It stops at the first line that fails and that the lesson does not expect to fail: the lines
//! behind it were not written for the state that is left. Then it waits for the step to become
//! green, but not for long: the prompt belongs to the learner.

use super::{Unanswered, await_taken};
use crate::labs;
use crate::lesson::{self, Green};
use crate::line::Growing;
use crate::session::about::{About, about};
use crate::session::{Flow, Given, INTERRUPTED, Lines, Manner, Session};
use crate::texts::{Lang, Say, problem};
use cluster::Error;
use lab::graded::view::{Ask as LabAsk, LabView};
use lab::view::{Ask, LessonView, Solution};
use lang::charset::{eprintln, print, println};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// A step that is green by then needs no word about waiting.
const SOON: Duration = Duration::from_secs(2);
/// A person at a terminal gets the prompt back after this time: the lesson says by itself when the
/// step is done.
const AT_TERMINAL_MAX: Duration = Duration::from_secs(20);
/// A script waits for so long: a solution that has not worked by then does not work.
const SCRIPT_MAX: Duration = Duration::from_secs(180);

/// How the lines of a solution ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Played {
    All,
    Failed(Failed),
    /// `exit`, Ctrl-C or the end of the shell has ended them with this code.
    Cut(i32),
}

/// A line that failed and was not expected to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failed {
    pub line: String,
    pub code: i32,
    /// The lines behind it, which were not run.
    pub rest: Vec<String>,
}

impl Failed {
    /// Returns the message about it. `step`: the number of the step, for `goto`.
    fn say(&self, lang: Lang, step: usize) -> String {
        let mut what = lang.say(Say::SolveFailed, &[&self.line, &self.code.to_string()]);
        let rest = self.rest.iter().map(|line| format!("`{line}`")).collect::<Vec<_>>().join(", ");
        if !rest.is_empty() {
            what.push_str(&format!("; {}", lang.say(Say::SolveNotRun, &[&rest])));
        }
        problem(lang, &what, None, Some(&lang.say(Say::SolveFailedTry, &[&step.to_string()])))
    }
}

/// Lines of a solution. A manifest ends with them, as it does with the file from which the proof of
/// a lesson plays them.
pub(super) struct SolutionLines {
    pub rest: VecDeque<String>,
    /// Lines that may fail, by their distance from the end of the solution, which does not change
    /// when a manifest is read.
    may_fail: BTreeSet<usize>,
}

impl SolutionLines {
    pub(super) fn of(lines: Vec<String>, may_fail: &BTreeSet<usize>) -> SolutionLines {
        let all = lines.len();
        let may_fail = may_fail.iter().filter_map(|at| all.checked_sub(*at)).collect();
        SolutionLines { rest: lines.into(), may_fail }
    }

    /// Returns the next command, and whether it may fail. A here-document is one command, as in a
    /// script.
    fn next(&mut self) -> Option<(String, bool)> {
        let may_fail = self.may_fail.contains(&self.rest.len());
        let mut text = Growing::new(self.rest.pop_front()?);
        while text.unfinished() {
            let Some(line) = self.rest.pop_front() else { break };
            text.add(&line);
        }
        Some((text.into_text(), may_fail))
    }
}

impl Lines for SolutionLines {
    fn more(&mut self) -> Given {
        self.rest.pop_front().map_or(Given::End, Given::Text)
    }
    fn give_back(&mut self, text: String) {
        for line in text.split('\n').rev() {
            self.rest.push_front(line.to_string());
        }
    }
}

impl Session {
    /// Plays the step's solution, and waits until the step is green.
    pub(super) fn solve(&mut self, id: Option<String>) -> i32 {
        if !self.check_alive() {
            return 1;
        }
        if id.is_none()
            && let Err(code) = self.no_lab_is_open()
        {
            return code;
        }
        let solution = match self.ask_for_solution(id) {
            Ok(solution) => solution,
            Err(why) => return self.unanswered(&why),
        };
        let played = self.play_solution(SolutionLines::of(solution.lines, &solution.may_fail));
        self.end_solution();
        match played {
            Played::All => self.await_green(),
            // A refusal may be what the step is about.
            Played::Failed(failed) if failed.rest.is_empty() => match self.green_within(SOON) {
                Ok(Green::Done(view)) => self.solved(&view),
                Ok(Green::NotYet(view)) => self.failed(&failed, &view),
                Err(why) => self.unanswered(&why),
            },
            Played::Failed(failed) => match self.ask(Ask::Show) {
                Ok(view) => self.failed(&failed, &serde_json::from_value(view).unwrap_or_default()),
                Err(why) => self.unanswered(&why),
            },
            Played::Cut(code) => code,
        }
    }

    /// Tells the engine that the solution has been played: what follows is the learner's own. The
    /// engine hears of it also if the learner presses Ctrl-C once more.
    pub(super) fn end_solution(&mut self) {
        let _ = self.announce(Ask::Solved, false); // the message goes on after Ctrl-C
    }

    /// Asks for the lines that solve the step. Ctrl-C gives the question up, but an engine that is
    /// busy may take it all the same: then it hears that nothing is played, or the learner's next
    /// acts would count as the solution's.
    ///
    /// # Errors
    /// There is no answer.
    pub(super) fn ask_for_solution(&mut self, id: Option<String>) -> Result<Solution, Unanswered> {
        let answer = self.ask(Ask::Solve { id });
        if matches!(answer, Err(Unanswered::Cut)) {
            let (place, lang, mut before) = (self.place.clone(), self.lang(), self.engine.announced.take());
            // The next line's message to the engine comes behind it.
            self.engine.announced = Some(self.handle.spawn(async move {
                await_taken(&mut before).await;
                let _ = lesson::ask(&place, lang, Ask::Solved).await; // the cluster may have ended
            }));
        }
        answer.map(|lines| serde_json::from_value(lines).unwrap_or_default())
    }

    /// Checks that `solve` can only mean the lesson. A drill has taken the word before.
    ///
    /// # Errors
    /// A lab is played, or it is not known; it is said why. The value is the exit code.
    fn no_lab_is_open(&mut self) -> Result<(), i32> {
        let place = self.place.clone();
        let lab = self.await_answer(labs::asked::<LabView>(&place, self.lang(), LabAsk::Show));
        match lab {
            Ok(lab) if about("solve", false, lab.is_played()) == Some(About::Unclear) => {
                let tip = self.say(Say::SolveLabTry, &[]);
                self.complain(&self.say(Say::SolveLab, &[]), None, Some(&tip));
                Err(1)
            }
            Err(why @ Unanswered::Cut) => Err(self.unanswered(&why)),
            // A foreign cluster has no lab engine, so the question is refused. The cluster's end
            // and a damaged answer say nothing about the lab: then nothing is solved.
            Err(
                why @ Unanswered::Refused(
                    Error::NotRunning(_) | Error::Hangs { .. } | Error::Ended | Error::Control(_),
                ),
            ) => Err(self.unanswered(&why)),
            Ok(_) | Err(Unanswered::Refused(_)) => Ok(()),
        }
    }

    /// Runs a solution's lines within the line `solve`, of which nothing changes by that.
    pub(super) fn play_solution(&mut self, played: SolutionLines) -> Played {
        let solve = std::mem::take(&mut self.line);
        let ended = self.play_lines(played);
        self.line = solve;
        ended
    }

    fn play_lines(&mut self, mut played: SolutionLines) -> Played {
        while let Some((line, may_fail)) = played.next() {
            println!("{}", self.say(Say::LessonPlays, &[&line]));
            self.last = 0; // a remark leaves the code of the line before as it is
            if let Flow::Leave(code) = self.run(&line, &mut played) {
                return Played::Cut(code);
            }
            if self.last == INTERRUPTED || self.cutoff.shell_lost {
                return Played::Cut(self.last);
            }
            if self.last != 0 && !may_fail {
                return Played::Failed(Failed { line, code: self.last, rest: played.rest.into() });
            }
        }
        Played::All
    }

    /// Waits for the step to become green, after all lines have run.
    fn await_green(&mut self) -> i32 {
        let at_terminal = self.manner == Manner::Terminal;
        let mut green = self.green_within(SOON);
        if matches!(green, Ok(Green::NotYet(_))) {
            if at_terminal {
                println!("{}", self.say(Say::SolveWaits, &[]));
            }
            green = self.green_within(if at_terminal { AT_TERMINAL_MAX } else { SCRIPT_MAX });
        }
        match green {
            Ok(Green::Done(view)) => self.solved(&view),
            Ok(Green::NotYet(view)) => {
                let missing = lesson::missing(self.lang(), &view);
                let tip = self.say(Say::SolveStuckTry, &[&(view.step + 1).to_string()]);
                self.complain(&self.say(Say::LessonStuck, &[]), Some(&missing), Some(&tip));
                1
            }
            Err(why) => self.unanswered(&why),
        }
    }

    fn green_within(&mut self, limit: Duration) -> Result<Green, Unanswered> {
        let place = self.place.clone();
        self.await_answer(lesson::until_green(&place, self.lang(), limit))
    }

    fn solved(&self, view: &LessonView) -> i32 {
        // At a terminal the task that follows the lesson says it.
        if self.manner != Manner::Terminal {
            print!("{}", self.style().over(view));
        }
        0
    }

    /// Prints which line failed and what to do, and returns the line's exit code.
    fn failed(&self, failed: &Failed, view: &LessonView) -> i32 {
        eprintln!("{}", failed.say(self.lang(), view.step + 1));
        failed.code
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cluster::Home;
    use tokio::runtime::Runtime;

    fn lines(all: &[&str]) -> Vec<String> {
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_solution_stops_at_the_line_that_fails() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let place = Home::at(dir.path()).cluster("main").unwrap();
        let _inside = runtime.enter();
        let mut session = Session::new(place, Lang::En, Manner::Pipe, runtime.handle().clone());
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let touch = |path: &std::path::Path| format!("echo > {}", path.display());
        let all = vec!["(exit 4)".into(), touch(&one), "(exit 3)".into(), touch(&two), "true".into()];
        let played = session.play_solution(SolutionLines::of(all, &[0].into()));
        let rest = vec![touch(&two), "true".into()];
        assert_eq!(played, Played::Failed(Failed { line: "(exit 3)".into(), code: 3, rest }));
        assert!(one.exists(), "the line before it may fail, so the next one runs");
        assert!(!two.exists(), "what comes behind the one that failed does not run");
        let last = session.play_solution(SolutionLines::of(lines(&["true", "(exit 5)"]), &[1].into()));
        let remark = lines(&["# a remark", "(exit 5)", "# another one", "true"]);
        assert_eq!(session.play_solution(SolutionLines::of(remark, &[1].into())), Played::All);
        assert_eq!(last, Played::All);
    }

    /// A script's shell has judged each of its lines; `solve` itself it has yet to judge.
    #[test]
    fn what_ran_in_the_shell_is_the_solution_and_not_solve() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let place = Home::at(dir.path()).cluster("main").unwrap();
        let mut session = Session::new(place, Lang::En, Manner::Pipe, runtime.handle().clone());
        session.line.warned_of_stopped = true;
        let played = session.play_solution(SolutionLines::of(lines(&["(exit 3)"]), &[].into()));
        assert!(matches!(played, Played::Failed(_)));
        assert!(!session.line.ran_in_shell && session.line.warned_of_stopped);
    }

    #[test]
    fn the_lines_of_a_here_document_are_one_command() {
        let (runtime, dir) = (Runtime::new().unwrap(), tempfile::tempdir().unwrap());
        let place = Home::at(dir.path()).cluster("main").unwrap();
        let _inside = runtime.enter();
        let mut session = Session::new(place, Lang::En, Manner::Pipe, runtime.handle().clone());
        let file = dir.path().join("db.yaml");
        let begin = format!("cat > {} <<'EOF'", file.display());
        let all = lines(&[&begin, "kind: Service", "  name: $db", "EOF", "(exit 3)", "true"]);
        assert_eq!(session.play_solution(SolutionLines::of(all, &[4].into())), Played::All);
        assert_eq!(std::fs::read_to_string(file).unwrap(), "kind: Service\n  name: $db\n");
    }

    #[test]
    fn a_line_that_may_fail_is_found_behind_a_manifest() {
        let all = lines(&["kubectl apply -f -", "a: 1", ".", "kubectl get pod ghost", "true"]);
        let mut played = SolutionLines::of(all, &[3].into());
        assert_eq!(played.next(), Some(("kubectl apply -f -".into(), false)));
        while !matches!(played.more(), Given::Text(text) if text == ".") {}
        assert_eq!(played.next(), Some(("kubectl get pod ghost".into(), true)));
        assert_eq!(played.next(), Some(("true".into(), false)));
    }

    #[test]
    fn a_failure_names_the_line_what_was_not_run_and_what_to_do() {
        let failed = |rest: &[&str]| Failed { line: "kubectl scale web".into(), code: 7, rest: lines(rest) };
        let told = failed(&["kubectl get rs"]).say(Lang::En, 3);
        for part in ["`kubectl scale web`", "exit code 7", "`kubectl get rs`", "`check`", "`goto 3`"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        let korean = failed(&["kubectl get rs"]).say(Lang::Ko, 3);
        for part in ["`kubectl scale web`", "종료 코드 7", "`kubectl get rs`", "`goto 3`"] {
            assert!(korean.contains(part), "{part}: {korean}");
        }
        assert!(!failed(&[]).say(Lang::En, 3).contains("not run"));
    }
}
