//! The record of a grade: what stands in it beside the verdicts, and where it is kept.

use crate::graded::book::{Best, Open};
use crate::graded::run::{Current, LabRun, chain_text};
use crate::graded::score::About;
use crate::graded::stopwatch::Stopwatch;
use clock::Timestamp;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

impl LabRun {
    /// What a record says of the attempt. `ended`: milliseconds from the start.
    pub(super) fn about(&self, current: &Current, open: &Open, learner: String, ended: u64) -> About {
        let lab = &current.lab;
        let mut drawn = current.variant.clone();
        drawn.retain(|key, _| lab.choices.iter().any(|(k, _)| k == key));
        About {
            lab: lab.id.clone(),
            seed: open.seed,
            variant: drawn,
            learner,
            started: millis(open.started),
            // By the calendar of the start, so that the two belong together even if the clock was
            // set since.
            ended: millis(Stopwatch::taken_up(open.started, ended).calendar(ended)),
            limit_s: u64::from(lab.minutes) * 60,
            used: open.used(),
            content: lab.content.clone(),
            labs: self.labs.source(lab),
            attempts: open.attempts(),
            tampered: open.tampered,
            trace: json!({"format": open.chain.format, "from": open.began, "to": self.world.know().observer.recorder.revision, "records": open.chain.records, "head": open.chain.head}),
        }
    }

    /// Notes the grade in the book, which keeps the best one of each lab. `points`: those that were
    /// earned, and all.
    pub(super) fn note_best(&self, current: &Current, open: &Open, record: &Value, points: (u32, u32)) {
        let best = Best {
            score: points.0,
            max: points.1,
            passed: record["passed"] == true,
            seed: open.seed,
            attempt: open.before.starts,
        };
        self.book().note(&current.lab.id, best, !open.solve && !open.tampered);
    }

    /// Keeps a record in the cluster's directory, beside those before it. Returns its file.
    ///
    /// # Errors
    /// The directory or the file cannot be written.
    pub(super) fn keep(&self, lab: &str, seed: u64, record: &Value) -> Result<String, String> {
        let dir = self.host.place().root.join("records");
        std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let file = free_name(&dir, &format!("{lab}-{seed}"));
        crate::progress::keep(&file, record).map_err(|e| chain_text(&e))?;
        Ok(file.display().to_string())
    }
}

/// `NAME.json`, or the first of `NAME-2.json`, `NAME-3.json`, … that is not there yet. The
/// caller holds the turn.
pub(super) fn free_name(dir: &Path, name: &str) -> PathBuf {
    let further = (2u64..).map(|n| format!("{name}-{n}.json"));
    let mut names = std::iter::once(format!("{name}.json")).chain(further).map(|name| dir.join(name));
    names.find(|path| !path.exists()).unwrap_or_else(|| dir.join(name))
}

/// RFC 3339 with whole milliseconds.
pub(super) fn millis(at: Timestamp) -> String {
    format!("{:.3}", at.round(jiff::Unit::Millisecond).unwrap_or(at))
}
