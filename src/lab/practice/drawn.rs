//! A task with its values drawn: what the learner reads, and what is checked.

use super::table::{self, Hint, NAMESPACE, Skill, SkillTable, Task, Wrong};
use crate::cel::{Expr, Template, Use, value};
use crate::format::{self, EN, Fault, OTHERS, Templates, Text, raw};
use crate::graded::draw;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::path::Path;

/// A task that can be set.
#[derive(Clone, Debug)]
pub(super) struct Drawn {
    pub skill: String,
    pub id: String,
    /// The skill's title.
    pub title: Text,
    /// Markdown, one paragraph.
    pub task: Text,
    pub setup: Vec<String>,
    pub solution: Vec<String>,
    /// Other ways, after which the task is done as well.
    pub also: Vec<Vec<String>>,
    pub wrong: Vec<Wrong>,
    /// Sentence and expression.
    pub(super) checks: Vec<(Text, Expr)>,
    pub(super) ready_when: Option<Expr>,
    pub(super) hints: Vec<DrawnHint>,
    /// Hints that `check` shows where they fit: those of every task.
    pub(super) general: Vec<DrawnHint>,
    values: Map<String, Value>,
}

/// A hint with the values filled in. It is offered where `when` is true or, in a task's own hints,
/// missing.
#[derive(Clone, Debug)]
pub(super) struct DrawnHint {
    pub when: Option<Expr>,
    pub say: Templates,
}

/// Fills the values of a task into its parts, and collects what is wrong with them.
struct Filler<'a> {
    task: &'a str,
    values: Map<String, Value>,
    faults: Vec<Fault>,
}

impl Filler<'_> {
    fn fault(&mut self, what: &str) {
        self.faults.push(table::fault(format!("{}: {what}", self.task)));
    }

    fn fill(&mut self, text: &str) -> String {
        draw::fill(text, &self.values).unwrap_or_else(|key| {
            self.fault(&format!("there is no {{{{{key}}}}} among its values"));
            String::new()
        })
    }

    fn lines(&mut self, lines: &[String]) -> Vec<String> {
        lines.iter().map(|line| self.fill(line)).collect()
    }

    fn text(&mut self, text: &Text) -> Text {
        let mut filled = Text::new(&self.fill(text.get(EN)));
        for lang in OTHERS {
            let own = self.fill(text.get(lang));
            filled.put(lang, &own);
        }
        filled
    }

    fn expr(&mut self, source: &str) -> Option<Expr> {
        Expr::compile(source, Use::Check, &[]).map_err(|e| self.fault(&e.to_string())).ok()
    }

    fn hint(&mut self, hint: &Hint) -> DrawnHint {
        let when = hint.when.as_ref().and_then(|when| self.expr(when));
        let mut say = Templates::default();
        for lang in [EN].iter().chain(OTHERS) {
            let text = self.fill(hint.say.get(lang));
            match Template::compile(&text, Use::Hint, &[]) {
                Ok(template) => say.put(lang, template),
                Err(error) => self.fault(&error.to_string()),
            }
        }
        DrawnHint { when, say }
    }

    /// Fills a part of an object. A text that is one `{{key}}` becomes the value itself: a number
    /// stays a number.
    fn part(&mut self, part: &Value) -> Value {
        match part {
            Value::String(text) => {
                let key = text.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
                match key.and_then(|key| self.values.get(key.trim())) {
                    Some(value) => value.clone(),
                    None => Value::from(self.fill(text)),
                }
            }
            Value::Array(items) => items.iter().map(|item| self.part(item)).collect(),
            Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), self.part(value))).collect(),
            other => other.clone(),
        }
    }

    fn checks(&mut self, checks: &[table::Check]) -> Vec<(Text, Expr)> {
        let mut written = Vec::new();
        for check in checks {
            let expect = check.expect.as_ref().map(|part| {
                let filled = part.iter().map(|(key, value)| (key.clone(), self.part(value)));
                filled.collect::<Map<_, _>>()
            });
            let asked = check.asked.as_ref().map(|line| self.fill(line));
            let that = check.that.get(EN).to_string();
            written.push(raw::Check { that, is: check.is.clone(), expect, asked, code: check.code });
        }
        match format::checks(Path::new("skills.yaml"), written) {
            Ok(compiled) => {
                let texts: Vec<Text> = checks.iter().map(|check| self.text(&check.that)).collect();
                texts.into_iter().zip(compiled.into_iter().map(|check| check.is)).collect()
            }
            Err(faults) => {
                faults.iter().for_each(|fault| self.fault(&fault.what));
                vec![]
            }
        }
    }
}

/// The values of a task: drawn from the seed, the namespace, and what follows from both.
fn values(task: &Task, namespace: &str, seed: u64) -> Result<Map<String, Value>, String> {
    let mut drawn = draw::draw(&task.id, seed, &task.values);
    drawn.insert(NAMESPACE.into(), namespace.into());
    let mut derived = Vec::new();
    for (key, source) in &task.derive {
        let expr = Expr::compile(source, Use::Check, &[]).map_err(|e| format!("{key}: {e}"))?;
        derived.push((key.clone(), expr));
    }
    draw::derive(&drawn, &derived)
}

impl Drawn {
    /// Draws a task. `general`: hints of every task.
    ///
    /// # Errors
    /// What is wrong with it: an expression, or a value that is not there.
    pub(super) fn draw(
        skill: &Skill,
        task: &Task,
        general: &[Hint],
        namespace: &str,
        seed: u64,
    ) -> Result<Drawn, Vec<Fault>> {
        let values = match values(task, namespace, seed) {
            Ok(values) => values,
            Err(why) => return Err(vec![table::fault(format!("{}: {why}", task.id))]),
        };
        let mut filler = Filler { task: &task.id, values, faults: vec![] };
        let wrong = |filler: &mut Filler<'_>, wrong: &Wrong| Wrong {
            lines: filler.lines(&wrong.lines),
            why: wrong.why.clone(),
        };
        let drawn = Drawn {
            skill: skill.id.clone(),
            id: task.id.clone(),
            title: skill.title.clone(),
            task: filler.text(&task.task),
            setup: filler.lines(&task.setup),
            solution: filler.lines(&task.solution),
            also: task.also.iter().map(|lines| filler.lines(lines)).collect(),
            wrong: task.wrong.iter().map(|answer| wrong(&mut filler, answer)).collect(),
            checks: filler.checks(&task.checks),
            ready_when: task.ready_when.as_ref().and_then(|source| filler.expr(source)),
            hints: task.hints.iter().map(|hint| filler.hint(hint)).collect(),
            general: general.iter().map(|hint| filler.hint(hint)).collect(),
            values: filler.values.clone(),
        };
        if filler.faults.is_empty() { Ok(drawn) } else { Err(filler.faults) }
    }

    /// The drawn values, as expressions see them: `v`.
    pub(super) fn variant(&self) -> cel::Value {
        value::of_json(&Value::Object(self.values.clone()))
    }

    /// A drawn value.
    #[cfg(test)]
    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// The expressions that have to be true.
    pub(super) fn exprs(&self) -> Vec<&Expr> {
        self.checks.iter().map(|(_, is)| is).collect()
    }

    /// Kinds that its expressions look at.
    pub(super) fn kinds(&self) -> BTreeSet<String> {
        let hints = self.hints.iter().chain(&self.general).filter_map(|hint| hint.when.as_ref());
        let all = self.exprs().into_iter().chain(&self.ready_when).chain(hints);
        all.flat_map(|expr| expr.kinds.iter().cloned()).collect()
    }
}

impl SkillTable {
    /// Draws the values of a task from a seed, for a namespace.
    ///
    /// # Errors
    /// What is wrong with the task's file.
    pub(super) fn draw(&self, task: &str, namespace: &str, seed: u64) -> Result<Drawn, Vec<Fault>> {
        let Some((skill, task)) = self.task(task) else {
            return Err(vec![table::fault(format!("there is no task {task:?}"))]);
        };
        Drawn::draw(skill, task, &self.hints, namespace, seed)
    }
}
