//! From what stands in the front matter about one step to the step.

use super::compiler::Compiler;
use super::lesson::{Check, Hint, Keep, Lost, Predict, Repair, Step, Templates, Way, Wrong};
use super::text::{EN, Fault, Text};
use super::{answer, asked, expect, load, prose, raw};
use crate::cel::Use;
use crate::lines;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

const HOLD: Duration = Duration::from_secs(1);
const WITHIN: Duration = Duration::from_secs(10);
const SETTLE: Duration = Duration::from_secs(3);

/// Notes repairs that lead nowhere.
pub(super) fn check_repairs(on: &mut Compiler<'_>, steps: &[Step]) {
    for step in steps {
        if let Some(Lost { repair: Repair::Goto(to), .. }) = &step.lost
            && steps.iter().all(|step| step.id != *to)
        {
            on.begin_step(&step.id, false);
            on.fault("repair:", format!("this lesson has no step {to:?}"));
        }
    }
}

/// The condition under which a step can no longer succeed.
fn lost_step(on: &mut Compiler<'_>, step: &str, lost: raw::Lost) -> Option<Lost> {
    let repair = match lost.repair.as_deref().map(|words| words.split_whitespace().collect::<Vec<_>>()) {
        None => Repair::Goto(step.into()),
        Some(words) => match words.as_slice() {
            ["undo"] => Repair::Undo,
            ["goto", to] => Repair::Goto(to.to_string()),
            _ => {
                on.fault("repair:", "a repair is `undo` or `goto STEP`".into());
                return None;
            }
        },
    };
    Some(Lost { when: on.expr(&lost.when, Use::Check)?, say: Text::new(&lost.say), repair })
}

/// A check: an expression, or what is compiled to one.
pub(super) fn one_check(on: &mut Compiler<'_>, check: raw::Check, is_one: bool) -> Option<Check> {
    let near = if check.that.is_empty() { "check:" } else { &check.that }.to_string();
    if check.that.is_empty() && !is_one {
        on.fault("check:", "each check of several says what is so: `that`".into());
    }
    if check.code.is_some() && check.asked.is_none() {
        on.fault("code:", "only `asked` has a code".into());
    }
    let is = match (check.is, check.expect, check.asked) {
        (Some(is), None, None) => on.expr(&is, Use::Check)?,
        (None, Some(part), None) => {
            let source = expect::source(on, part)?;
            on.expr_near("expect:", &source, Use::Check, &[])?
        }
        (None, None, Some(line)) => match asked::source(&line, check.code) {
            Ok(source) => on.expr_near(&line, &source, Use::Check, &[])?,
            Err(why) => {
                on.fault(&line, why);
                return None;
            }
        },
        _ => {
            on.fault(&near, "a check has one of `is`, `expect` and `asked`".into());
            return None;
        }
    };
    Some(Check { that: Text::new(&check.that), is })
}

/// Compiles checks that do not stand in the file of a lesson: each has one of `is`, `expect` and
/// `asked`. `file` is where they come from.
///
/// # Errors
/// What is wrong with them; the lines are not known.
pub(crate) fn checks(file: &Path, checks: Vec<raw::Check>) -> Result<Vec<Check>, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut on = Compiler::new("", file, &mut faults);
    let is_one = checks.len() == 1;
    let compiled = checks.into_iter().filter_map(|check| one_check(&mut on, check, is_one)).collect();
    if faults.is_empty() { Ok(compiled) } else { Err(faults) }
}

/// The question before a step.
fn question(on: &mut Compiler<'_>, p: raw::Predict) -> Predict {
    if !p.choices.contains_key(&p.answer) {
        on.fault(&format!("answer: {}", p.answer), format!("{:?} is none of the choices", p.answer));
    }
    if let Some(odd) = p.choices.keys().find(|k| !matches!(k.as_str(), "a" | "b" | "c" | "d")) {
        on.fault(odd, format!("choices are called a, b, c, d, not {odd:?}"));
    }
    Predict {
        question: Text::new(&p.question),
        choices: p.choices.into_iter().map(|(k, t)| (k, Text::new(&t))).collect(),
        answer: p.answer,
        because: p.because.and_then(|b| on.expr(&b, Use::Check)),
    }
}

/// Reads a step and its section of the text.
pub(super) fn one_step(on: &mut Compiler<'_>, step: raw::Step, section: Option<&prose::Section>) -> Step {
    let (before, after) = section.map_or(("", ""), |s| (s.text.as_str(), s.after.as_str()));
    if let Some(section) = section.filter(|s| !s.after.is_empty() && step.predict.is_none()) {
        let what = format!("step {:?} has no question, so nothing waits for its answer", step.id);
        on.faults.push(Fault { file: on.file.into(), line: section.line, what });
    }
    on.begin_step(&step.id, step.answer.is_some());
    let checks = step.check.map_or(vec![], raw::Checks::list);
    let answer = step.answer.and_then(|answer| answer::compile(on, answer));
    if checks.is_empty() && !on.has_answer {
        on.fault(&format!("id: {}", step.id), format!("step {:?} checks nothing", step.id));
    }
    let (is_one, numbers) = (checks.len() == 1, [("checks", checks.len()), ("hints", step.hints.len())]);
    let checks = checks.into_iter().filter_map(|check| one_check(on, check, is_one)).collect();
    let predict = step.predict.map(|p| question(on, p));
    let (mut hints, mut ids) = (Vec::new(), BTreeSet::new());
    for (at, hint) in step.hints.into_iter().enumerate() {
        if let Some(what) = raw::odd_tier(hint.tier) {
            on.fault(&hint.say, what);
        }
        let mut say = Templates::default();
        if let Some(template) = on.template(&hint.say) {
            say.put(EN, template);
        }
        let id = hint.id.unwrap_or_else(|| (at + 1).to_string());
        if !ids.insert(id.clone()) {
            on.fault(&format!("id: {id}"), format!("two hints are called {id:?}"));
        }
        hints.push(Hint { id, tier: hint.tier, when: hint.when.and_then(|w| on.condition(&w)), say });
    }
    for what in numbers.into_iter().filter_map(|(parts, number)| raw::odd_number(parts, number)) {
        on.fault(&format!("id: {}", step.id), what);
    }
    let lost = step.lost.and_then(|lost| lost_step(on, &step.id, lost));
    let (solution, may_fail) = lines::unmarked(step.solution);
    if solution.is_empty() {
        on.fault(&format!("id: {}", step.id), format!("step {:?} has no solution", step.id));
    }
    Step {
        id: step.id,
        task: Text::new(&step.task),
        heading: Text::new(section.map_or("", |s| s.heading.as_str())),
        prose: Text::new(before),
        after: Text::new(after),
        view: step.view,
        predict,
        answer,
        checks,
        hold: step.hold.map_or(HOLD, |s| s.0),
        within: step.within.map_or(WITHIN, |s| s.0),
        settle: step.settle.map_or(SETTLE, |s| s.0),
        lost,
        keep: step.keep.and_then(|k| Some(Keep { is: on.expr(&k.is, Use::Check)?, say: Text::new(&k.say) })),
        setup: step.setup,
        load: step.load.and_then(|declared| load::read(on, declared)),
        shell: step.shell,
        faults: step.faults,
        requires: step.requires,
        optional: step.optional,
        hints,
        solution,
        may_fail,
        also: step.also.into_iter().map(|a| Way { lines: ways(a.lines), show: a.show }).collect(),
        wrong: step.wrong.into_iter().map(|w| Wrong { lines: ways(w.lines), why: w.why }).collect(),
        debrief: step.debrief,
        remember: Text::new(step.remember.as_deref().unwrap_or_default()),
        needs: BTreeSet::new(),
    }
}

/// Lines of other ways and wrong answers: any of them may fail, so the mark says nothing, and the
/// shell must not see it.
fn ways(lines: Vec<String>) -> Vec<String> {
    lines::unmarked(lines).0
}
