//! What the judge does to the cluster while it grades is its own: nothing of it counts as the
//! learner's, it is taken back, and a process that ends in between leaves a note of it.

use super::{Current, LabRun};
use serde_json::Value;

/// Held while the judge is at work: what is recorded meanwhile does not count as the learner's.
/// Dropping it ends that, however the grading ends.
pub(super) struct Quiet<'a>(&'a LabRun);

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        self.0.world.read(self.0.host.tap());
        let mut known = self.0.world.know();
        (known.quiet, known.playing, known.returning, known.returned_at) = (false, false, false, None);
    }
}

impl LabRun {
    /// Counts what happens from now on as the judge's doing, which is taken back to the revision
    /// `before`. What a person has written since then goes with it, and counts as done meanwhile.
    pub(super) fn quiet(&self, before: i64) -> Quiet<'_> {
        let mut known = self.world.know();
        let meddled = known.newest_by_hand > before;
        (known.quiet, known.meddled, known.returning, known.returned_at) = (true, meddled, false, None);
        drop(known);
        Quiet(self)
    }

    /// Notes that what the judge disturbed is as it was, and which pods have other uids since. What
    /// people do from now on stays, so no restart may go back once more. `back`: what the way back
    /// to `before` answered.
    ///
    /// # Errors
    /// It cannot be written down.
    pub(super) async fn note_way_back(
        &self,
        current: &Current,
        before: i64,
        back: &Value,
    ) -> Result<(), String> {
        self.world.know().returned_at = back["revision"].as_i64();
        let after = back["revision"].as_i64().unwrap_or_default();
        let pods = self.world.reborn(current.places().as_ref(), before, after).await;
        // Without them a task that names uids may be red after a restart; the grade is worth more.
        let pods = pods
            .inspect_err(|why| tracing::warn!(why, "pods that were put back are not known"))
            .unwrap_or_default();
        self.note(|open| {
            open.disturbed = None;
            open.put_back(pods);
        })
    }

    /// Notes the revision to which the judge's changes have to be taken back: if this process ends
    /// before that, the next one does it. `None`: nothing is disturbed any more.
    ///
    /// # Errors
    /// It cannot be written down.
    pub(super) fn note_disturbed(&self, before: Option<i64>) -> Result<(), String> {
        self.note(|open| open.disturbed = before)
    }
}
