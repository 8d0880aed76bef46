//! What is wrong with a lab, and on which line.

use crate::cel::{Expr, Template, Use};
use crate::format::{Declared, Fault, raw};
use crate::graded::draw;
use crate::{lines, playable};
use serde_json::{Map, Value};
use std::path::Path;

/// Notes what is wrong, and on which line.
pub(super) struct On<'a> {
    pub text: &'a str,
    pub file: &'a Path,
    pub faults: Vec<Fault>,
}

impl On<'_> {
    /// Notes a fault on the first line that has `near` in it.
    pub(super) fn fault(&mut self, near: &str, what: String) {
        let begin: String = near.lines().next().unwrap_or_default().chars().take(50).collect();
        let plain = |l: &str| l.replace("''", "'").replace("\\\"", "\"");
        let line = self.text.lines().position(|l| l.contains(&begin) || plain(l).contains(&begin));
        self.faults.push(Fault { file: self.file.into(), line: line.map_or(1, |n| n + 1), what });
    }

    /// Compiles an expression; what is wrong with it is a fault.
    pub(super) fn expr(&mut self, source: &str, place: Use) -> Option<Expr> {
        Expr::compile(source, place, &[]).map_err(|e| self.fault(source, e.to_string())).ok()
    }
    /// Lines that the teacher is to play.
    pub(super) fn lines(&mut self, lines: &[String], sample: &Map<String, Value>) {
        for (line, _) in lines::commands(lines) {
            let filled = draw::fill(&line, sample).unwrap_or_else(|_| line.clone());
            if let Some(why) = playable::unplayable(&filled) {
                self.fault(&line, format!("{line:?} cannot be played: {why}"));
            }
        }
    }
    /// The cluster that the lab declares.
    pub(super) fn cluster(&mut self, written: &raw::Cluster) -> Option<Declared> {
        if written.clock.is_some() {
            self.fault("cluster:", "a lab runs in real time: its limit is in minutes".into());
        }
        Declared::read(written).map_err(|why| self.fault("cluster:", why)).ok()
    }
    /// A text that is shown as it is names no values.
    pub(super) fn bare(&mut self, text: &str) {
        if text.contains("{{") {
            self.fault(
                text,
                "no value is filled in here: the title and `remember` are shown as they are".into(),
            );
        }
    }
    /// Every `{{key}}` is known, and every `${…}` compiles.
    pub(super) fn text(&mut self, text: &str, sample: &Map<String, Value>, template: bool) {
        match draw::fill(text, sample) {
            Err(key) => self.fault(text, format!("there is no {{{{{key}}}}} among variants and derive")),
            Ok(filled) if template => {
                if let Err(error) = Template::compile(&filled, Use::Hint, &[]) {
                    self.fault(text, error.to_string());
                }
            }
            Ok(_) => {}
        }
    }
}
