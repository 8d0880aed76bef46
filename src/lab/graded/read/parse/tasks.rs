//! The tasks of a lab, its hints, and the wrong answers that its proof plays.

use super::faults::On;
use crate::cel::{Expr, Use};
use crate::format::{Text, raw};
use crate::graded::read::lab::{Hint, Task};
use crate::graded::read::written;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a task has to be true at grading, and how long the judge waits for it.
const HOLD: Duration = Duration::from_secs(1);
const WITHIN: Duration = Duration::from_secs(6);
/// All tasks of a lab together weigh no more.
const WEIGHT_MAX: u64 = 10_000;

/// The list of tasks, as the file has it.
const TASKS: &str = "tasks:";

/// Compiles the tasks. Two of one name, one that checks nothing, and one that asks what a lab never
/// answers, are faults.
pub(super) fn tasks(written: Vec<written::Task>, sample: &Map<String, Value>, on: &mut On<'_>) -> Vec<Task> {
    let mut tasks: Vec<Task> = Vec::new();
    for task in written {
        if tasks.iter().any(|t| t.id == task.id) {
            on.fault_of(TASKS, &task.id, format!("two tasks are called {:?}", task.id));
        }
        on.text(&task.task, sample, false);
        on.text(task.debrief.as_deref().unwrap_or_default(), sample, true);
        let written = sentences(&task.id, task.check, on);
        if let Some(what) = raw::odd_number("checks", written.len()) {
            on.fault_of(TASKS, &task.id, what);
        }
        if written.is_empty() {
            on.fault_of(TASKS, &task.id, format!("task {:?} checks nothing", task.id));
        }
        let unmet = task.unmet.unwrap_or_default();
        for told in written.iter().map(|(that, _)| that).chain([&unmet]) {
            on.text(told, sample, false);
        }
        let compiled =
            written.into_iter().filter_map(|(that, is)| Some((Text::new(&that), on.expr(&is, Use::Check)?)));
        let checks: Vec<(Text, Expr)> = compiled.collect();
        let lost = task.lost.and_then(|lost| on.expr(&lost, Use::Check));
        for called in ["load", "shell"] {
            if checks.iter().map(|(_, is)| is).chain(&lost).any(|is| is.calls(called)) {
                let why = format!("task {:?} asks {called}(), which only a step of a lesson has", task.id);
                on.fault_of(TASKS, &task.id, why);
            }
        }
        tasks.push(Task {
            id: task.id,
            weight: task.weight,
            task: Text::new(&task.task),
            probe: task.probe,
            checks,
            lost,
            unmet: Text::new(&unmet),
            hold: task.hold.map_or(HOLD, |s| s.0),
            within: task.within.map_or(WITHIN, |s| s.0),
            debrief: Text::new(task.debrief.as_deref().unwrap_or_default()),
            only_with: task.only_with,
            excludes: task.excludes,
        });
    }
    if let Some(what) = raw::odd_number("tasks", tasks.len()) {
        on.fault(TASKS, what);
    }
    tasks
}

/// The sentence and the source of each check of a task.
fn sentences(task: &str, checks: raw::Checks, on: &mut On<'_>) -> Vec<(String, String)> {
    let mut written = Vec::new();
    for check in checks.list() {
        match check {
            raw::Check { that, is: Some(is), expect: None, asked: None, code: None } => {
                written.push((that, is));
            }
            check => {
                let what = "a check of a lab is an expression, `is`; `expect` and `asked` are for lessons";
                match check.that.is_empty() {
                    true => on.fault_of(TASKS, task, what.into()),
                    false => on.fault(&check.that, what.into()),
                }
            }
        }
    }
    written
}

/// Notes tasks that go with one that is not there, and weights out of bounds. Returns the sum of
/// the weights.
pub(super) fn check_tasks(tasks: &[Task], on: &mut On<'_>) -> u64 {
    for task in tasks {
        let odd = |id: &&String| **id == task.id || tasks.iter().all(|t| t.id != **id);
        if let Some(odd) = task.only_with.iter().find(odd) {
            let what = format!("task {:?} goes with {odd:?}, and there is no such other task", task.id);
            on.fault_of(TASKS, &task.id, what);
        }
    }
    let weight: u64 = tasks.iter().map(|t| u64::from(t.weight)).sum();
    if !(1..=WEIGHT_MAX).contains(&weight) {
        on.fault("tasks:", format!("the tasks weigh {weight} together; write from 1 to {WEIGHT_MAX}"));
    }
    weight
}

/// Notes wrong answers that name no task, expect nothing, or earn everything.
pub(super) fn check_wrong(all: &[written::Wrong], tasks: &[Task], weight: u64, on: &mut On<'_>) {
    for wrong in all {
        if let Some(odd) = wrong.red.iter().find(|id| tasks.iter().all(|t| t.id != **id)) {
            on.fault(&wrong.why, format!("there is no task {odd:?}"));
        }
        if wrong.red.is_empty() && wrong.score_max.is_none() {
            on.fault(&wrong.why, "say which tasks stay red (red) or what it may earn (score_max)".into());
        }
        if wrong.score_max.is_some_and(|most| u64::from(most) >= weight) {
            on.fault(&wrong.why, format!("a wrong answer earns less than all {weight} points"));
        }
    }
}

/// Compiles the hints. One without an id is called by its number.
pub(super) fn hints(written: Vec<raw::Hint>, sample: &Map<String, Value>, on: &mut On<'_>) -> Vec<Hint> {
    let (mut hints, mut ids) = (Vec::new(), BTreeSet::new());
    for (at, hint) in written.into_iter().enumerate() {
        on.text(&hint.say, sample, true);
        if let Some(what) = raw::odd_tier(hint.tier) {
            on.fault(&hint.say, what);
        }
        let id = hint.id.unwrap_or_else(|| (at + 1).to_string());
        if !ids.insert(id.clone()) {
            on.fault_of("hints:", &id, format!("two hints are called {id:?}"));
        }
        let when = hint.when.and_then(|w| on.expr(&w, Use::Check));
        hints.push(Hint { id, tier: hint.tier, when, say: Text::new(&hint.say) });
    }
    if let Some(what) = raw::odd_number("hints", hints.len()) {
        on.fault("hints:", what);
    }
    hints
}
