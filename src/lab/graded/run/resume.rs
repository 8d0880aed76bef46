//! A lab that was open when the cluster's process ended goes on: what its setup had broken with
//! `fault` is broken once more, what the judge had disturbed is taken back, and what was there when
//! the clock started is read from the store, which kept it.

use super::{Current, LabRun};
use crate::graded::words::{self, Word};
use cluster::undo::Past;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

/// The judge is at work. Dropped, however that ends, labs hear the learner again: of what
/// happens from then on, and of nothing that the judge has done.
pub(super) struct Quiet<'a>(&'a LabRun);

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        self.0.world.read(self.0.host.tap());
        let mut known = self.0.world.know();
        (known.quiet, known.playing, known.returning, known.returned_at) = (false, false, false, None);
    }
}

impl LabRun {
    /// What happens from now on is the judge's doing, which is taken back to the revision `before`.
    /// What a person has written since then goes with it, and counts as done meanwhile.
    pub(super) fn quiet(&self, before: i64) -> Quiet<'_> {
        let mut known = self.world.know();
        let meddled = known.newest_by_hand > before;
        (known.quiet, known.meddled, known.returning, known.returned_at) = (true, meddled, false, None);
        drop(known);
        Quiet(self)
    }

    /// Once, before a question about the lab is answered. Errors: not yet, e.g. because no API
    /// server answers.
    pub(super) async fn take_up(&self, lang: &str) -> Result<(), String> {
        if self.taken_up.load(Ordering::Relaxed) {
            return Ok(());
        }
        if let Some(current) = self.current() {
            let lab = &current.lab;
            let failed = |why: String| words::say(lang, Word::NoTakeUp, &[&lab.id, &why]);
            if self.is_gone(current.open.began).await.map_err(failed)? {
                return Err(words::say(lang, Word::BaseGone, &[&lab.id]));
            }
            if !self.is_broken_again(&current).await.map_err(failed)? {
                return Err(words::say(lang, Word::BreaksAgain, &[&lab.id]));
            }
            if let Some(before) = current.open.disturbed {
                // The judge's own way back, which is none of the learner's.
                let quiet = self.quiet(before);
                let back = self.host.past(Past::back(before, current.places())).await.map_err(failed)?;
                let noted = self.note_way_back(&current, before, &back).await;
                self.release_left(&current, before).await;
                drop(quiet);
                noted.map_err(failed)?;
            }
            let kinds: BTreeSet<String> = lab.exprs().flat_map(|e| e.kinds.iter().cloned()).collect();
            let began = current.open.began;
            let reborn = self.book().open.as_ref().map(|open| open.reborn.clone()).unwrap_or_default();
            self.world.recall_since(kinds, began, &reborn).await.map_err(failed)?;
            self.world.know().observer.recorder.keep_from(began, began);
        }
        self.hold_history().await.map_err(|why| words::say(lang, Word::NotKept, &[&why]))?;
        self.taken_up.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Notes that what the judge disturbed is as it was, and which pods are there under other uids
    /// for it: what people do from now on stays, so no restart may go back once more. `back`: what
    /// the way back to `before` answered.
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

    /// Notes from where the judge's own doings are taken back, should no process be left to do it.
    /// Errors: it cannot be written down.
    pub(super) fn disturbed(&self, before: Option<i64>) -> Result<(), String> {
        self.note(|open| open.disturbed = before)
    }
}
