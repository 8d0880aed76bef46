//! The table of skills, `skills.yaml`: what a learner does with a command, what teaches it, and the
//! tasks that practise it.

use crate::format::{Fault, Text, raw};
use crate::graded::draw::{Choice, Choices};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, LazyLock};

const FILE: &str = "src/lab/practice/skills.yaml";
static TEXT: &str = include_str!("../skills.yaml");

/// The value that a drill gives to every task: its namespace.
pub(crate) const NAMESPACE: &str = "ns";

/// The table of skills, in the order of the file.
#[derive(Clone, Debug, Default)]
pub struct SkillTable {
    /// In the order of the file.
    pub skills: Vec<Skill>,
    /// Hints of every task.
    pub(super) hints: Vec<Hint>,
    /// What is wrong with the file.
    pub faults: Vec<Fault>,
}

/// A thing that a learner does with a command.
#[derive(Clone, Debug)]
pub struct Skill {
    /// For example `scale`.
    pub id: String,
    /// What the learner does, e.g. “Run a pod”.
    pub title: Text,
    /// Ids of lessons that teach it.
    pub lessons: Vec<String>,
    /// Ids of labs that practise it.
    pub labs: Vec<String>,
    /// A drill asks for one of them.
    pub tasks: Vec<Task>,
}

/// A task as the file has it, before its values are drawn.
#[derive(Clone, Debug)]
pub struct Task {
    /// Unique in the whole table.
    pub id: String,
    /// What it takes a learner who knows how, in seconds.
    pub seconds: u32,
    pub(super) values: Choices,
    pub(super) derive: Vec<(String, String)>,
    pub(super) task: Text,
    pub(super) setup: Vec<String>,
    pub(super) ready_when: Option<String>,
    pub(super) checks: Vec<Check>,
    pub(super) hints: Vec<Hint>,
    pub(super) solution: Vec<String>,
    /// Other ways to do it.
    pub(super) also: Vec<Vec<String>>,
    pub(super) wrong: Vec<Wrong>,
}

impl Task {
    /// How many of its hints can be had in any state of the cluster.
    pub fn hints(&self) -> usize {
        self.hints.iter().filter(|hint| hint.when.is_none()).count()
    }
}

/// A check as it is written: one of `is`, `expect` and `asked`.
#[derive(Clone, Debug)]
pub(super) struct Check {
    pub that: Text,
    pub is: Option<String>,
    pub expect: Option<Map<String, Value>>,
    pub asked: Option<String>,
    pub code: Option<u16>,
}

/// A hint as it is written. It is offered where `when` is true or missing; a hint of every task has
/// to have one.
#[derive(Clone, Debug)]
pub(super) struct Hint {
    pub when: Option<String>,
    pub say: Text,
}

/// An answer after which the task has to stay red.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wrong {
    /// As they are typed, with `{{key}}` for values.
    #[serde(rename = "do")]
    pub lines: Vec<String>,
    /// For the author: what is wrong about it.
    pub why: String,
}

impl SkillTable {
    /// The table in the binary, which a process reads once.
    pub fn built_in() -> Arc<SkillTable> {
        static READ: LazyLock<Arc<SkillTable>> = LazyLock::new(|| SkillTable::read(TEXT).into());
        READ.clone()
    }

    fn read(text: &str) -> SkillTable {
        match raw::read::<written::SkillTable>(text, Path::new(FILE), 1) {
            Ok(written) => written.into_table(),
            Err(fault) => SkillTable { faults: vec![fault], ..SkillTable::default() },
        }
    }

    /// The skill with this id.
    pub fn skill(&self, id: &str) -> Option<&Skill> {
        self.skills.iter().find(|skill| skill.id == id)
    }

    /// The task with this id, and its skill.
    pub fn task(&self, id: &str) -> Option<(&Skill, &Task)> {
        let mut all = self.skills.iter().flat_map(|skill| skill.tasks.iter().map(move |task| (skill, task)));
        all.find(|(_, task)| task.id == id)
    }
}

/// A fault of the file, without its line.
pub(super) fn fault(what: String) -> Fault {
    Fault { file: FILE.into(), line: 1, what }
}

/// The file as it is written.
mod written {
    use super::{BTreeMap, Choice, Choices, Deserialize, Map, Text, Value, Wrong, fault};
    use crate::format::Fault;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(super) struct SkillTable {
        hints: Vec<Hint>,
        skills: Vec<Skill>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Skill {
        id: String,
        title: Both,
        #[serde(default)]
        lessons: Vec<String>,
        #[serde(default)]
        labs: Vec<String>,
        tasks: Vec<Task>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Task {
        id: String,
        seconds: u32,
        #[serde(default)]
        values: BTreeMap<String, Values>,
        /// serde_json's map keeps the order.
        #[serde(default)]
        derive: Map<String, Value>,
        task: Both,
        #[serde(default)]
        setup: Vec<String>,
        ready_when: Option<String>,
        check: Vec<Check>,
        hints: Vec<Hint>,
        solution: Vec<String>,
        #[serde(default)]
        also: Vec<Vec<String>>,
        #[serde(default)]
        wrong: Vec<Wrong>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Values {
        pick: Option<Vec<Value>>,
        range: Option<(i64, i64)>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Check {
        that: Both,
        is: Option<String>,
        expect: Option<Map<String, Value>>,
        asked: Option<String>,
        code: Option<u16>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Hint {
        when: Option<String>,
        say: Both,
    }

    /// A text in both languages.
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Both {
        en: String,
        ko: String,
    }

    impl Both {
        fn text(self) -> Text {
            let mut text = Text::new(&self.en);
            text.put("ko", &self.ko);
            text
        }
    }

    impl Hint {
        fn read(self) -> super::Hint {
            super::Hint { when: self.when, say: self.say.text() }
        }
    }

    impl SkillTable {
        /// Reads all skills, and notes what is wrong with them.
        pub(super) fn into_table(self) -> super::SkillTable {
            let mut faults = Vec::new();
            let skills = self.skills.into_iter().map(|skill| super::Skill {
                id: skill.id,
                title: skill.title.text(),
                lessons: skill.lessons,
                labs: skill.labs,
                tasks: skill.tasks.into_iter().map(|task| task.read(&mut faults)).collect(),
            });
            let skills = skills.collect();
            // `check` would show it with every task.
            if self.hints.iter().any(|hint| hint.when.is_none()) {
                faults.push(fault("a hint of every task needs `when`".into()));
            }
            super::SkillTable { skills, hints: self.hints.into_iter().map(Hint::read).collect(), faults }
        }
    }

    impl Task {
        fn read(self, faults: &mut Vec<Fault>) -> super::Task {
            let check = |check: Check| super::Check {
                that: check.that.text(),
                is: check.is,
                expect: check.expect,
                asked: check.asked,
                code: check.code,
            };
            super::Task {
                values: choices(&self.id, self.values, faults),
                derive: derived(&self.id, self.derive, faults),
                id: self.id,
                seconds: self.seconds,
                task: self.task.text(),
                setup: self.setup,
                ready_when: self.ready_when,
                checks: self.check.into_iter().map(check).collect(),
                hints: self.hints.into_iter().map(Hint::read).collect(),
                solution: self.solution,
                also: self.also,
                wrong: self.wrong,
            }
        }
    }

    fn choices(task: &str, values: BTreeMap<String, Values>, faults: &mut Vec<Fault>) -> Choices {
        let mut all = Choices::new();
        for (key, values) in values {
            match (values.pick, values.range) {
                (Some(pick), None) if !pick.is_empty() => all.push((key, Choice::Pick(pick))),
                (None, Some((low, high))) if low <= high => all.push((key, Choice::Range(low, high))),
                _ => faults.push(fault(format!("{task}: {key} has `pick` or `range`"))),
            }
        }
        all
    }

    fn derived(task: &str, derived: Map<String, Value>, faults: &mut Vec<Fault>) -> Vec<(String, String)> {
        let mut all = Vec::new();
        for (key, source) in derived {
            match source {
                Value::String(source) => all.push((key, source)),
                _ => faults.push(fault(format!("{task}: {key} is derived by an expression, in quotes"))),
            }
        }
        all
    }
}

#[cfg(test)]
mod tests;
