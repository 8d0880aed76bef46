//! The lines that the learner types while a step is open, and how they ended: hints and checks see
//! the newest of them.

use super::Engine;
use crate::cel::facts::Line;
use crate::format::{Lesson, Step};
use crate::lines::in_scope;

/// Typed lines that hints see, and lines with their exit codes that checks see: the newest.
const TYPED_MAX: usize = 200;
/// Bytes that are kept of a line.
const LINE_MAX: usize = 4_096;

impl Engine {
    /// Notes a line that was typed. If it is none of the solution's lines, the solution is over:
    /// what follows is the learner's.
    pub(crate) fn typed(&mut self, line: String) {
        self.acted();
        if let Some(open) = &mut self.open {
            let scope = &self.observer.recorder.scope;
            let solution = &open.lesson.steps[open.step].solution;
            // A session that plays the solution may end before it says that it is over.
            self.solving &= in_scope::lines(solution, scope).iter().any(|lines| {
                lines.trim() == line.trim() || lines.lines().any(|of_it| of_it.trim() == line.trim())
            });
            if open.typed.len() == TYPED_MAX {
                open.typed.remove(0);
            }
            open.typed.push(shortened(line));
            open.lines.0 += 1;
        }
    }

    /// Returns whether the step has a question before its task that the learner has not answered.
    fn waits_for_guess(&self, lesson: &Lesson, step: &Step) -> bool {
        let noted = self.progress.noted_step(&lesson.id, &step.id);
        step.predict.is_some() && noted.is_none_or(|noted| noted.predicted.is_none())
    }

    /// Notes a line of the learner's that has ended. `before`, `running`: what ran in the
    /// background of its shell before it, and runs there now.
    pub(crate) fn ran(&mut self, line: String, code: i32, before: Vec<String>, running: Vec<String>) {
        self.acted();
        let waits = self.current().map(|(open, step)| self.waits_for_guess(&open.lesson, step));
        // How the shell stands after a line is noted before the line is.
        let kubectl = self.broken_shell().is_none() || self.shell.as_ref().is_some_and(|shell| shell.kubectl);
        if let Some(open) = &mut self.open {
            if open.ran.len() == TYPED_MAX {
                open.ran.remove(0);
            }
            let (line, at) = (shortened(line), clock::now());
            open.ran.push(Line { line, code, at, running_before: before, running, kubectl });
            open.lines.1 += 1;
            // What the solution does is not tried, and nothing can be while the question waits.
            if waits == Some(false) && !self.solving {
                open.tries.count_command();
            }
        }
    }
}

/// As much of a line as is kept.
fn shortened(mut line: String) -> String {
    let end = (0..=LINE_MAX.min(line.len())).rev().find(|at| line.is_char_boundary(*at)).unwrap_or_default();
    line.truncate(end);
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::engine;

    #[test]
    fn the_newest_lines_are_kept_and_all_are_counted() {
        let mut engine = engine();
        for n in 0..TYPED_MAX + 2 {
            engine.typed(n.to_string());
            engine.ran(n.to_string(), 0, vec![], vec![]);
        }
        let open = engine.open.as_ref().unwrap();
        assert_eq!((open.typed.len(), open.ran.len()), (TYPED_MAX, TYPED_MAX));
        assert_eq!((open.typed[0].as_str(), open.ran[0].line.as_str()), ("2", "2"));
        let all = TYPED_MAX as u64 + 2;
        assert_eq!(open.lines, (all, all));
    }

    #[test]
    fn a_long_line_is_cut_between_two_letters() {
        assert_eq!(shortened("kubectl get pods".into()), "kubectl get pods");
        let kept = shortened("가".repeat(LINE_MAX));
        assert_eq!((kept.len(), kept.chars().count()), (LINE_MAX / 3 * 3, LINE_MAX / 3));
    }
}
