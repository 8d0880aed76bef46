//! A lab that was open when the cluster's process ended goes on: what its setup had broken with
//! `fault` is broken once more, what the judge had disturbed is taken back, and what was there when
//! the clock started is read from the store, which kept it.

use super::LabRun;
use crate::graded::words::{self, Word};
use cluster::undo::Past;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

impl LabRun {
    /// Takes up the open lab of the process before this one; once, before a question about the lab
    /// is answered.
    ///
    /// # Errors
    /// Not yet, e.g. because no API server answers; or never, because its history is gone.
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
}
