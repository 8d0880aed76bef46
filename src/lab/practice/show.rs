//! The view of a drill: its phase, its tasks, and what was asked for of the present one.

use super::run::{Drill, DrillState, Practice, TaskResult};
use super::view::{Check, DrillView, Outcome, Phase, TaskView};
use super::words::{self, Word};
use clock::Instant;
use lang::Lang;
use std::path::PathBuf;
use std::sync::Arc;

impl Practice {
    /// The drill that is open, or the last one, in a language.
    pub(super) fn view(&self, lang: &str) -> DrillView {
        self.drill().map(|drill| drill.view(lang)).unwrap_or_default()
    }
}

impl Drill {
    fn view(&self, lang: &str) -> DrillView {
        let is_running = self.state().phase == Phase::Running;
        let present = self.state().at;
        let hints_left = if is_running { self.hints_left(present).len() } else { 0 };
        let facts = self.world().facts(&self.frame_of(present));
        let state = self.state();
        let left = state.ends.map(|ends| ends.saturating_duration_since(Instant::now()));
        let mut view = DrillView {
            seed: self.seed,
            namespace: self.namespace.clone(),
            phase: state.phase,
            limit_s: self.limit.as_secs(),
            left_s: left.filter(|_| state.phase.is_open()).unwrap_or_default().as_secs(),
            at: state.at,
            notices: notices(&state, lang),
            ..DrillView::default()
        };
        for (task, result) in self.tasks.iter().zip(&state.results) {
            let is_shown = result.outcome != Outcome::Waiting || state.phase.is_over();
            view.tasks.push(TaskView {
                id: task.id.clone(),
                skill: task.skill.clone(),
                title: task.title.get(lang).into(),
                task: if is_shown { task.task.get(lang).into() } else { String::new() },
                ..result_view(result)
            });
        }
        if let Some(task) = self.tasks.get(state.at).filter(|_| state.phase == Phase::Running) {
            view.checks = task
                .checks
                .iter()
                .zip(&state.checks)
                .map(|((that, _), met)| Check { that: that.get(lang).into(), met: *met })
                .collect();
            let said = |hint: &super::drawn::DrawnHint| hint.say.get(lang)?.render(&facts, &[]).ok();
            view.hints = state.hints.iter().filter_map(|at| said(task.hints.get(*at)?)).collect();
            view.notices.extend(state.notices.iter().filter_map(|at| said(task.general.get(*at)?)));
            view.hints_left = hints_left;
        }
        view
    }
}

/// Tells of files that cannot be read, until the drill ends, and of a last result that could not be
/// written, also afterwards.
fn notices(state: &DrillState, lang: &str) -> Vec<String> {
    let spoken = Lang::parse(lang).unwrap_or_default();
    let mut notices = Vec::new();
    if !state.phase.is_over() {
        let aside = |path: &PathBuf| words::say(lang, Word::PutAside, &[&path.display().to_string()]);
        notices.extend(state.put_aside.iter().map(aside));
        let unread = |error: &Arc<crate::Error>| words::say(lang, Word::UnreadPart, &[&error.say(spoken)]);
        notices.extend(state.unread.iter().map(unread));
    }
    let not_kept = state.not_kept.as_ref();
    notices.extend(not_kept.map(|error| words::say(lang, Word::ResultNotKept, &[&error.say(spoken)])));
    notices
}

/// The part of a task's view that tells its result.
fn result_view(result: &TaskResult) -> TaskView {
    TaskView {
        outcome: result.outcome,
        took_s: result.took_s,
        due: result.due.map(clock::rfc3339),
        ..TaskView::default()
    }
}
