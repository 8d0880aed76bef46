//! Reads what stands in a lesson's file and can be wrong, and notes where it stands.

use super::text::{FAULTS_MAX, Fault};
use crate::cel::facts::ANSWER;
use crate::cel::{self, Defines, Expr, Meaning, Template, Use};
use crate::lines::{self, Act};
use crate::playable;
use std::path::Path;

/// Compiles what stands in a file, and notes where it stands if it does not compile.
pub(super) struct Compiler<'a> {
    pub text: &'a str,
    pub file: &'a Path,
    pub faults: &'a mut Vec<Fault>,
    /// The id of the step that is read: what is wrong is looked for below it first.
    pub step: String,
    /// Hints may name the learner's answer: the step that is read asks for one.
    pub has_answer: bool,
    /// Names that the lesson has defined.
    pub defines: Defines,
}

/// So many letters of a text are looked for, then fewer.
const LONG: usize = 60;
const SHORTER: [usize; 2] = [30, 15];

/// Of a line `- id: NAME`: its indentation and the name.
fn id_of(line: &str) -> Option<(usize, &str)> {
    let begins = line.trim_start();
    Some((line.len() - begins.len(), begins.strip_prefix("- id:")?.trim()))
}

/// The lines with the ids of steps, from 0, and these ids. Hints have ids, too; those of the steps
/// stand furthest to the left.
fn step_ids<'t>(lines: &[&'t str]) -> Vec<(usize, &'t str)> {
    let left = lines.iter().filter_map(|l| Some(id_of(l)?.0)).min();
    let id = |(at, line): (usize, &'t str)| {
        let (indent, id) = id_of(line)?;
        let id = id.split_whitespace().next()?;
        (Some(indent) == left).then_some((at, id))
    };
    lines.iter().copied().enumerate().filter_map(id).collect()
}

impl<'a> Compiler<'a> {
    /// Reads a file from its beginning: no step is read yet, and no name is defined.
    pub(super) fn new(text: &'a str, file: &'a Path, faults: &'a mut Vec<Fault>) -> Compiler<'a> {
        Compiler { text, file, faults, step: String::new(), has_answer: false, defines: Defines::default() }
    }

    /// A step begins with this id.
    pub(super) fn begin_step(&mut self, id: &str, has_answer: bool) {
        (self.step, self.has_answer) = (id.into(), has_answer);
    }

    fn bound(&self) -> Vec<(&'static str, Meaning)> {
        if self.has_answer { vec![(ANSWER, Meaning::default())] } else { vec![] }
    }

    /// The first line that holds this text, or the beginning of it: in the step that is read, else
    /// below it, else in the whole file. YAML folds several lines into one text, so if no line has
    /// enough of it, one with less will do.
    fn line(&self, text: &str) -> usize {
        let text = text.lines().next().unwrap_or_default();
        let lines: Vec<&str> = self.text.lines().collect();
        let ((from, to), all) = (self.own_lines(&lines), lines.len());
        let find = |letters: usize, from: usize, to: usize| {
            let begin: String = text.chars().take(letters).collect();
            let holds =
                |l: &&str| l.contains(&begin) || l.replace("''", "'").replace("\\\"", "\"").contains(&begin);
            lines[from..to].iter().position(holds).map(|at| from + at)
        };
        let long = || [(from, to), (from, all), (0, all)].into_iter().find_map(|(a, b)| find(LONG, a, b));
        let shorter = |from, to| SHORTER.into_iter().find_map(|letters| find(letters, from, to));
        let found = long().or_else(|| shorter(from, to)).or_else(|| shorter(0, all));
        found.map_or(1, |at| at + 1)
    }

    /// The lines of the step that is read, up to the next one's id; all lines if none is read.
    fn own_lines(&self, lines: &[&str]) -> (usize, usize) {
        let ids = step_ids(lines);
        let Some(own) = ids.iter().position(|(_, id)| *id == self.step) else { return (0, lines.len()) };
        (ids[own].0, ids.get(own + 1).map_or(lines.len(), |(next, _)| *next))
    }

    /// Notes that a step has the id of one before it.
    pub(super) fn double_step(&mut self, id: &str) {
        if self.faults.len() >= FAULTS_MAX {
            return;
        }
        let lines: Vec<&str> = self.text.lines().collect();
        let second = step_ids(&lines).into_iter().filter(|(_, found)| *found == id).nth(1);
        let line = second.map_or_else(|| self.line(&format!("id: {id}")), |(at, _)| at + 1);
        let what = format!("two steps are called {id:?}");
        self.faults.push(Fault { file: self.file.into(), line, what });
    }

    /// Notes what is wrong with a text of the file, unless [`FAULTS_MAX`] faults are noted already.
    pub(super) fn fault(&mut self, near: &str, what: String) {
        if self.faults.len() >= FAULTS_MAX {
            return;
        }
        let line = self.line(near);
        self.faults.push(Fault { file: self.file.into(), line, what });
    }
    /// Compiles an expression; `None`: it does not compile, which is noted.
    pub(super) fn expr(&mut self, source: &str, place: Use) -> Option<Expr> {
        self.expr_of(source, place, &[])
    }
    /// Compiles an expression in which the names `bound` have values, too.
    pub(super) fn expr_of(&mut self, source: &str, place: Use, bound: &[(&str, Meaning)]) -> Option<Expr> {
        self.expr_near(source, source, place, bound)
    }
    /// Compiles an expression that was made of the text `near`: faults name the line of that.
    pub(super) fn expr_near(
        &mut self,
        near: &str,
        source: &str,
        place: Use,
        bound: &[(&str, Meaning)],
    ) -> Option<Expr> {
        let compiled = Expr::compile_with(source, place, bound, &self.defines);
        self.keep(near, compiled)
    }
    /// Compiles the condition of a hint, which may name the learner's answer.
    pub(super) fn condition(&mut self, source: &str) -> Option<Expr> {
        let compiled = Expr::compile_with(source, Use::Hint, &self.bound(), &self.defines);
        self.keep(source, compiled)
    }
    /// Compiles a text with `${…}`.
    pub(super) fn template(&mut self, text: &str) -> Option<Template> {
        let compiled = Template::compile_with(text, Use::Hint, &self.bound(), &self.defines);
        self.keep(text, compiled)
    }
    /// Lines that the teacher is to play.
    pub(super) fn lines(&mut self, lines: &[String]) {
        for line in lines.iter().filter(|line| lines::is_answer(line)) {
            self.fault(line, format!("{line:?} cannot be played: an answer is the learner's own"));
        }
        for (line, _) in lines::commands(lines) {
            if let Some(why) = playable::unplayable(&line) {
                self.fault(&line, format!("{line:?} cannot be played: {why}"));
            }
        }
    }
    /// Lines that prepare a step whenever it begins, also once more: what they make may be there.
    pub(super) fn setup_of_step(&mut self, lines: &[String]) {
        self.lines(lines);
        for (line, _) in lines::commands(lines).into_iter().filter(|(line, _)| !lines::may_fail(line).1) {
            let words = shlex::split(&line).unwrap_or_default();
            let (verb, _) = lines::verb_and_words(lines::arguments(&words));
            if matches!(Act::of(verb), Some(Act::Creates | Act::Generates)) {
                let what = "fails when the step begins once more; use `kubectl apply`, or a `-` before it";
                self.fault(&line, format!("{line:?} {what}"));
            }
        }
    }
    /// Lines that break something when a step begins. The learner is not asked about their cost, so
    /// they change no object.
    pub(super) fn faults_of_step(&mut self, lines: &[String]) {
        self.lines(lines);
        let is_fault =
            |line: &String| line.trim_start_matches('-').split_whitespace().next() == Some("fault");
        for line in lines.iter().filter(|line| !is_fault(line)) {
            self.fault(
                line,
                format!("{line:?} is no line of `fault`; what kubectl changes belongs to `setup`"),
            );
        }
    }
    /// Notes why something does not compile, at the line that holds `near`.
    pub(super) fn keep<T>(&mut self, near: &str, compiled: Result<T, cel::Error>) -> Option<T> {
        compiled.map_err(|e| self.fault(near, e.to_string())).ok()
    }
}
