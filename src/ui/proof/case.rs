//! One case of a lesson's proof, and how it is played on a cluster.

use super::cluster::ProofCluster;
use crate::lesson_files::{Placed, place};
use clock::Instant;
use lab::format::{EN, Lesson, sh_blocks};
use lab::view::{Ask, Proof, State};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Lines that have not come to an end by then are cut off.
pub(super) const LINES_MAX: Duration = Duration::from_secs(300);
/// A command of the prose may go on for ever (`-w`): it counts as running after this time.
const PROSE_MAX: Duration = Duration::from_secs(10);

/// What is tried on a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Red at the start of each step, green after its solution.
    Solution,
    /// Every command in the prose runs.
    Prose,
    Wrong {
        step: usize,
        at: usize,
    },
    Also {
        step: usize,
        at: usize,
    },
}

#[derive(Clone)]
pub(super) struct Case {
    pub lesson: Arc<Lesson>,
    pub kind: Kind,
}

impl Case {
    /// The step that a wrong answer or another way is about; the others are about all.
    pub(super) fn step(&self) -> Option<usize> {
        match self.kind {
            Kind::Solution | Kind::Prose => None,
            Kind::Wrong { step, .. } | Kind::Also { step, .. } => Some(step),
        }
    }

    /// The lines of a wrong answer or another way.
    pub(super) fn lines(&self) -> &[String] {
        match self.kind {
            Kind::Solution | Kind::Prose => &[],
            Kind::Wrong { step, at } => &self.lesson.steps[step].wrong[at].lines,
            Kind::Also { step, at } => &self.lesson.steps[step].also[at].lines,
        }
    }
}

/// What came of a case.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub faults: Vec<String>,
    /// What is worth knowing and no fault.
    pub notes: Vec<String>,
    /// Hints, by step, whose condition was true.
    pub hints: BTreeSet<(usize, String)>,
    /// Steps of which `lost` was true.
    pub lost: BTreeSet<usize>,
    pub took: Duration,
}

impl Found {
    /// What came of a case that began then, and how it ended.
    pub(super) fn ended(mut self, began: Instant, outcome: Result<(), String>) -> Found {
        self.faults.extend(outcome.err());
        self.lasted(began.elapsed())
    }

    /// How long it was played.
    pub(super) fn lasted(mut self, took: Duration) -> Found {
        self.took = took;
        self
    }
}

/// Opens the lesson.
///
/// # Errors
/// The setup of the lesson failed, which spoils everything after it.
pub(super) async fn open(lesson: &Lesson, proof_cluster: &ProofCluster) -> Result<(), String> {
    let opened = proof_cluster.view(Ask::Open { id: lesson.id.clone() }).await?;
    for file in &lesson.files {
        if let Placed::Failed(why) = place(file, &proof_cluster.folder()) {
            return Err(format!("{} cannot be placed: {why}", file.name));
        }
    }
    match opened.notices.iter().find(|n| n.contains("setup")).filter(|_| !lesson.setup.is_empty()) {
        Some(notice) => Err(notice.clone()),
        None => Ok(()),
    }
}

/// Plays a case, in a lesson that was opened; for a wrong answer or another way at its step.
pub(super) async fn play(case: &Case, proof_cluster: &ProofCluster, found: &mut Found) -> Result<(), String> {
    let lesson = &case.lesson;
    match case.kind {
        Kind::Solution => {
            for at in 0..lesson.steps.len() {
                match begin_step(lesson, at, proof_cluster, found).await? {
                    true => play_solution(lesson, at, proof_cluster, found).await?,
                    false => next(lesson, at, proof_cluster).await?,
                }
            }
            Ok(())
        }
        Kind::Prose => prose(lesson, proof_cluster).await,
        Kind::Wrong { step, at } => {
            let (this, wrong) = (&lesson.steps[step], &lesson.steps[step].wrong[at]);
            proof_cluster.guess(this).await?;
            proof_cluster.lines(&wrong.lines, LINES_MAX).await?;
            let red = proof_cluster.stays_red(this.settle).await?;
            let proof = proof_cluster.proof().await?;
            found.lost.extend((proof.is_lost == Some(true)).then_some(step));
            found.hints.extend(proof.hints.into_iter().map(|h| (step, h)));
            let lines = || wrong.lines.join(" ⏎ ");
            match red {
                true => Ok(()),
                false => Err(format!("{}: green after a wrong answer ({}): {}", this.id, wrong.why, lines())),
            }
        }
        Kind::Also { step, at } => {
            let (this, lines) = (&lesson.steps[step], &lesson.steps[step].also[at].lines);
            proof_cluster.guess(this).await?;
            let said = proof_cluster.lines(lines, LINES_MAX).await?;
            match proof_cluster.green(this).await? {
                Ok(()) => {
                    found.notes.extend(silent(
                        &proof_cluster.proved(false).await?,
                        &this.id,
                        &lines.join(" ⏎ "),
                    ));
                    Ok(())
                }
                Err(unmet) => Err(format!(
                    "{}: red after another way, {unmet}: {}\n      {}",
                    this.id,
                    lines.join(" ⏎ "),
                    tail(&said)
                )),
            }
        }
    }
}

/// Plays the solutions before a step.
pub(super) async fn reach(lesson: &Lesson, step: usize, proof_cluster: &ProofCluster) -> Result<(), String> {
    for earlier in &lesson.steps[..step] {
        if proof_cluster.view(Ask::Show).await?.state != State::Skipped {
            proof_cluster.guess(earlier).await?;
            let said = proof_cluster.lines(&earlier.solution, LINES_MAX).await?;
            proof_cluster.green(earlier).await?.map_err(|unmet| {
                format!("{}: red after the solution on the way, {unmet}\n      {}", earlier.id, tail(&said))
            })?;
        }
        proof_cluster.view(Ask::Next).await?;
    }
    Ok(())
}

/// Begins the open step, number `at` (from 0): answers its question, checks that it is red, and
/// notes which hints fit at its beginning. Returns false if the step is skipped on this cluster.
///
/// # Errors
/// The step's setup failed, or it is green before anything was done.
pub(super) async fn begin_step(
    lesson: &Lesson,
    at: usize,
    proof_cluster: &ProofCluster,
    found: &mut Found,
) -> Result<bool, String> {
    let step = &lesson.steps[at];
    let view = proof_cluster.view(Ask::Show).await?;
    if view.state == State::Skipped {
        found.notes.push(format!("{}: skipped, {}", step.id, view.notices.join("; ")));
        return Ok(false);
    }
    let failed = view.notices.iter().find(|n| n.contains("setup of this step"));
    if let Some(failed) = failed.filter(|_| !step.setup.is_empty()) {
        return Err(format!("{}: {failed}", step.id));
    }
    found.notes.extend(view.notices.iter().map(|n| format!("{}: {n}", step.id)));
    proof_cluster.guess(step).await?;
    if !proof_cluster.stays_red(step.settle).await? {
        return Err(format!("{}: green before anything was done", step.id));
    }
    let proof = proof_cluster.proof().await?;
    if proof.is_lost == Some(true) {
        found.faults.push(format!("{}: `lost` is true before anything was done", step.id));
    }
    found.hints.extend(proof.hints.into_iter().map(|h| (at, h)));
    Ok(true)
}

/// Plays the solution of the open step, and goes on to the next if there is one.
///
/// # Errors
/// The step is red after that.
pub(super) async fn play_solution(
    lesson: &Lesson,
    at: usize,
    proof_cluster: &ProofCluster,
    found: &mut Found,
) -> Result<(), String> {
    let step = &lesson.steps[at];
    proof_cluster.guess(step).await?;
    let said = proof_cluster.lines(&step.solution, LINES_MAX).await?;
    proof_cluster
        .green(step)
        .await?
        .map_err(|unmet| format!("{}: red after the solution, {unmet}\n      {}", step.id, tail(&said)))?;
    let proof = proof_cluster.proved(true).await?;
    if proof.because == Some(false) {
        found
            .faults
            .push(format!("{}: the solution does not prove the prediction's answer (because)", step.id));
    }
    found.notes.extend(silent(&proof, &step.id, "the solution"));
    next(lesson, at, proof_cluster).await
}

async fn next(lesson: &Lesson, at: usize, proof_cluster: &ProofCluster) -> Result<(), String> {
    if at + 1 < lesson.steps.len() {
        proof_cluster.view(Ask::Next).await?;
    }
    Ok(())
}

/// The beats that have nothing to tell: the explanation is shorter than its author meant it.
fn silent(proof: &Proof, step: &str, way: &str) -> Vec<String> {
    let silent = proof.beats.iter().filter(|(_, told)| !told);
    silent.map(|(beat, _)| format!("{step}: the beat {beat:?} has nothing to tell after {way}")).collect()
}

/// Codes with which a shell or kubectl says that it did not understand.
const NOT_UNDERSTOOD: &[i32] = &[2, 126, 127];

/// The commands in the text of a step, number `at` (from 0), block by block.
fn blocks(lesson: &Lesson, at: usize) -> Vec<Vec<String>> {
    let step = &lesson.steps[at];
    let mut blocks = sh_blocks(step.prose.get(EN));
    if at == 0 {
        blocks.extend(sh_blocks(lesson.intro.get(EN)));
    }
    blocks.extend(sh_blocks(step.after.get(EN)));
    let filled = |block: Vec<String>| block.into_iter().filter(|line| !line.trim().is_empty()).collect();
    blocks.into_iter().map(filled).collect()
}

/// All lines that the case of the prose types: the commands in the texts, and the solutions.
pub(super) fn lines_of_prose(lesson: &Lesson) -> Vec<String> {
    let texts = (0..lesson.steps.len()).flat_map(|at| blocks(lesson, at)).flatten();
    texts.chain(lesson.steps.iter().flat_map(|step| step.solution.iter().cloned())).collect()
}

async fn prose(lesson: &Lesson, proof_cluster: &ProofCluster) -> Result<(), String> {
    for (at, step) in lesson.steps.iter().enumerate() {
        for lines in blocks(lesson, at) {
            match proof_cluster.repl(&lines, PROSE_MAX).await? {
                Some((code, said)) if NOT_UNDERSTOOD.contains(&code) => {
                    return Err(format!(
                        "{}: the prose has a command that does not run: {}\n      {}",
                        step.id,
                        lines.join(" ⏎ "),
                        tail(&said)
                    ));
                }
                _ => {}
            }
        }
        if proof_cluster.view(Ask::Show).await?.state == State::Skipped && at + 1 < lesson.steps.len() {
            proof_cluster.view(Ask::Next).await?;
            continue;
        }
        proof_cluster.guess(step).await?;
        proof_cluster.lines(&step.solution, LINES_MAX).await?;
        if proof_cluster.green(step).await?.is_err() || at + 1 == lesson.steps.len() {
            // The solution proper is another case's business; here the next step is only reached.
            if at + 1 < lesson.steps.len() {
                proof_cluster.view(Ask::Goto { step: (at + 2).to_string() }).await?;
            }
            continue;
        }
        proof_cluster.view(Ask::Next).await?;
    }
    Ok(())
}

/// The end of what was said, for a report.
pub(super) fn tail(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(6)..].join("\n      ")
}
