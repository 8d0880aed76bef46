//! Labs as files: `labs/NAME/lab.md` holds what machines read and English, `lab.ko.md` texts only.

mod parse;
mod written;

pub use parse::parse;

use super::draw::{self, Choices};
use crate::lab::cel::Expr;
use crate::lab::format::{Fault, OTHERS, Text};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A lab as it was read, before its values are drawn.
#[derive(Clone, Debug)]
pub struct Lab {
    pub id: String,
    pub title: Text,
    pub row: String,
    pub level: u8,
    pub minutes: u32,
    pub needs: Vec<String>,
    pub requires: Vec<String>,
    pub choices: Choices,
    pub derived: Vec<(String, Expr)>,
    pub setup: Vec<Also>,
    pub ready_when: Option<Expr>,
    pub tasks: Vec<Task>,
    pub hints: Vec<Hint>,
    pub solution: Vec<Also>,
    pub also: Vec<Also>,
    pub wrong: Vec<Wrong>,
    pub remember: Text,
    pub intro: Text,
    pub languages: Vec<String>,
    /// Hash of `lab.md`.
    pub content: String,
    pub file: PathBuf,
}

#[derive(Clone, Debug)]
pub struct Task {
    pub id: String,
    pub weight: u32,
    pub task: Text,
    /// What the judge does first, as the teacher, and takes back afterwards.
    pub probe: Vec<String>,
    /// Sentence (may be empty) and expression.
    pub checks: Vec<(String, Expr)>,
    pub unmet: Option<String>,
    pub hold: Duration,
    pub within: Duration,
    pub debrief: Text,
}

#[derive(Clone, Debug)]
pub struct Hint {
    pub id: String,
    pub tier: u8,
    pub when: Option<Expr>,
    pub say: Text,
}

/// Lines, for all variants or for those of which `only` is true.
#[derive(Clone, Debug)]
pub struct Also {
    pub only: Option<String>,
    pub lines: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Wrong {
    pub only: Option<String>,
    pub red: Vec<String>,
    pub score_max: Option<u32>,
    pub why: String,
    pub lines: Vec<String>,
}

impl Lab {
    /// All that its texts and expressions may name: drawn and derived.
    pub fn variant(&self, seed: u64) -> Result<Map<String, Value>, String> {
        draw::derive(&draw::draw(&self.id, seed, &self.choices), &self.derived)
    }

    /// The lines of those parts that a variant needs.
    pub fn lines(parts: &[Also], variant: &Map<String, Value>) -> Vec<String> {
        let needed = parts.iter().filter(|p| draw::fits(p.only.as_deref(), variant));
        needed.flat_map(|p| p.lines.iter().cloned()).collect()
    }

    pub fn exprs(&self) -> impl Iterator<Item = &Expr> {
        let tasks = self.tasks.iter().flat_map(|t| t.checks.iter().map(|(_, e)| e));
        tasks.chain(&self.ready_when).chain(self.hints.iter().filter_map(|h| h.when.as_ref()))
    }
}

/// All labs: those in the binary, or those in a directory.
#[derive(Clone, Debug, Default)]
pub struct Labs {
    pub labs: Vec<Lab>,
    pub faults: Vec<Fault>,
}

static BUILT_IN: include_dir::Dir<'_> = include_dir::include_dir!("$CARGO_MANIFEST_DIR/labs");

/// The variable that names a directory to read labs from, instead of those in the binary.
pub const DIRECTORY: &str = "ROPEWALK_LABS";

pub fn directory() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).filter(|d| !d.is_empty()).map(PathBuf::from)
}

impl Labs {
    pub fn load() -> Labs {
        match directory() {
            Some(directory) => Labs::read(&directory),
            None => Labs::built_in(),
        }
    }

    pub fn built_in() -> Labs {
        let text = |dir: &include_dir::Dir<'_>, name: &str| {
            let file = dir.get_file(dir.path().join(name))?;
            Some((Path::new("labs").join(file.path()), file.contents_utf8()?.to_string()))
        };
        let mut labs = Labs::default();
        for dir in BUILT_IN.dirs() {
            labs.add(|name| text(dir, name));
        }
        labs.sorted()
    }

    /// From a directory laid out as `NAME/lab.md`.
    pub fn read(directory: &Path) -> Labs {
        let mut labs = Labs::default();
        for dir in std::fs::read_dir(directory).into_iter().flatten().flatten().map(|e| e.path()) {
            labs.add(|name| {
                let path = dir.join(name);
                std::fs::read_to_string(&path).ok().map(|text| (path, text))
            });
        }
        if labs.labs.is_empty() && labs.faults.is_empty() {
            labs.faults.push(Fault {
                file: directory.into(),
                line: 1,
                what: "there are no labs here".into(),
            });
        }
        labs.sorted()
    }

    fn add(&mut self, text: impl Fn(&str) -> Option<(PathBuf, String)>) {
        let Some((file, english)) = text("lab.md") else { return };
        let others: Vec<(&str, (PathBuf, String))> =
            OTHERS.iter().filter_map(|lang| Some((*lang, text(&format!("lab.{lang}.md"))?))).collect();
        match parse(&english, &file, &others) {
            Ok(lab) => self.labs.push(lab),
            Err(faults) => self.faults.extend(faults),
        }
    }

    fn sorted(mut self) -> Labs {
        self.labs.sort_by(|a, b| (a.level, &a.id).cmp(&(b.level, &b.id)));
        self
    }

    pub fn get(&self, id: &str) -> Option<&Lab> {
        self.labs.iter().find(|l| l.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_binary_is_sound() {
        let labs = Labs::built_in();
        assert_eq!(labs.faults, []);
        assert!(labs.labs.iter().all(|l| l.languages == ["en", "ko"] && l.wrong.len() >= 3));
        assert!(labs.labs.iter().all(|l| l.tasks.iter().map(|t| t.weight).sum::<u32>() == 100));
    }
}
