//! What is wrong with a lab, and on which line.

use crate::cel::{Expr, Template, Use};
use crate::format::{Declared, FAULTS_MAX, Fault, raw};
use crate::graded::draw;
use crate::lines;
use crate::playable;
use serde_json::{Map, Value};
use std::path::Path;

/// So many letters of a text are looked for, then fewer.
const BEGINNINGS: [usize; 3] = [50, 30, 15];

/// Of a line `- id: NAME` or `- {id: NAME, …`: the name.
fn id_of(line: &str) -> Option<&str> {
    let id = line.trim_start_matches([' ', '-', '{']).strip_prefix("id:")?.trim_start();
    let end = id.find([',', '}', ' ']).unwrap_or(id.len());
    Some(id[..end].trim_matches(['"', '\'']))
}

/// Notes what is wrong, and on which line.
pub(super) struct On<'a> {
    pub text: &'a str,
    pub file: &'a Path,
    pub faults: Vec<Fault>,
}

impl On<'_> {
    /// Notes a fault on the first line that has `near` in it; of a key, e.g. `level:`, on the first
    /// that begins with it. YAML folds several lines into one text, so if no line has enough of it,
    /// one with less will do. Beyond [`FAULTS_MAX`] faults none is noted.
    pub(super) fn fault(&mut self, near: &str, what: String) {
        if self.faults.len() >= FAULTS_MAX {
            return;
        }
        let near = near.lines().next().unwrap_or_default();
        let plain = |l: &str| l.replace("''", "'").replace("\\\"", "\"");
        let find = |letters: usize| {
            let begin: String = near.chars().take(letters).collect();
            self.text.lines().position(|l| l.contains(&begin) || plain(l).contains(&begin))
        };
        let is_key = near.ends_with(':');
        let key = self.text.lines().position(|l| is_key && l.trim_start().starts_with(near));
        let line = key.or_else(|| BEGINNINGS.into_iter().find_map(find));
        self.note(line.unwrap_or(0), what);
    }

    /// Notes a fault of an item of a list, e.g. `tasks:`, on the line of its id: of two of one id,
    /// on that of the second.
    pub(super) fn fault_of(&mut self, list: &str, id: &str, what: String) {
        if self.faults.len() >= FAULTS_MAX {
            return;
        }
        let lines = self.text.lines().enumerate().skip_while(|(_, line)| !line.starts_with(list)).skip(1);
        let items = lines.take_while(|(_, line)| line.is_empty() || line.starts_with([' ', '-', '#']));
        let last = items.filter(|(_, line)| id_of(line) == Some(id)).last().map(|(at, _)| at);
        match last {
            Some(line) => self.note(line, what),
            None => self.fault(&format!("id: {id}"), what),
        }
    }

    /// Notes a fault on a line, from 0.
    fn note(&mut self, line: usize, what: String) {
        self.faults.push(Fault { file: self.file.into(), line: line + 1, what });
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
