//! Reads what stands in a lesson's file and can be wrong, and notes where it stands.

use super::Fault;
use crate::cel::{self, Expr, Template, Use};
use crate::run;
use std::path::Path;

/// Compiles what stands in a file, and notes where it stands if it does not compile.
pub(super) struct Compiler<'a> {
    pub text: &'a str,
    pub file: &'a Path,
    pub faults: &'a mut Vec<Fault>,
}

impl Compiler<'_> {
    /// The first line that holds this text, or the beginning of it.
    fn line(&self, text: &str) -> usize {
        let begin: String = text.lines().next().unwrap_or_default().chars().take(60).collect();
        self.text
            .lines()
            .position(|l| l.contains(&begin) || l.replace("''", "'").replace("\\\"", "\"").contains(&begin))
            .map_or(1, |n| n + 1)
    }
    /// Notes what is wrong with a text of the file.
    pub(super) fn fault(&mut self, near: &str, what: String) {
        let line = self.line(near);
        self.faults.push(Fault { file: self.file.into(), line, what });
    }
    /// Compiles an expression; `None`: it does not compile, which is noted.
    pub(super) fn expr(&mut self, source: &str, place: Use) -> Option<Expr> {
        self.keep(source, Expr::compile(source, place, &[]))
    }
    /// The same for a text with `${…}`.
    pub(super) fn template(&mut self, text: &str) -> Option<Template> {
        self.keep(text, Template::compile(text, Use::Hint, &[]))
    }
    /// Lines that the teacher is to play.
    pub(super) fn lines(&mut self, lines: &[String]) {
        for (line, _) in run::commands(lines) {
            if let Some(why) = run::unplayable(&line) {
                self.fault(&line, format!("{line:?} cannot be played: {why}"));
            }
        }
    }
    /// Lines that break something when a step begins. What they cost nobody is asked, so they
    /// change no object.
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
    fn keep<T>(&mut self, near: &str, compiled: Result<T, cel::Error>) -> Option<T> {
        compiled.map_err(|e| self.fault(near, e.to_string())).ok()
    }
}
