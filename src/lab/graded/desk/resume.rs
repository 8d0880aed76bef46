//! A lab that was open when the cluster's process ended goes on: what the judge had disturbed is taken back, and what was there when the clock started is
//! read from the store, which kept it.

use super::Desk;
use crate::cluster::undo::Past;
use crate::lab::graded::words::{self, Word};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

impl Desk {
    /// Once, before anybody looks at the lab. Errors: not yet, e.g. because no API server answers.
    pub(super) async fn take_up(&self, lang: &str) -> Result<(), String> {
        if self.taken_up.load(Ordering::Relaxed) {
            return Ok(());
        }
        if let Some(current) = self.current() {
            let lab = &current.lab;
            let failed = |why: String| words::say(lang, Word::NoTakeUp, &[&lab.id, &why]);
            if let Some(before) = current.open.disturbed {
                // The judge's own way back, which is none of the learner's.
                self.world.know().quiet = true;
                let back = self.host.past(Past::back(before, current.places())).await;
                self.world.read(self.host.tap());
                self.world.know().quiet = false;
                back.map_err(failed)?;
                self.disturbed(None).map_err(failed)?;
            }
            let kinds: BTreeSet<String> = lab.exprs().flat_map(|e| e.kinds.iter().cloned()).collect();
            let began = current.open.began;
            self.world.recall_since(kinds, began).await.map_err(failed)?;
            self.world.know().recorder.keep_from(began, began);
        }
        self.taken_up.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Notes from where the judge's own doings are taken back, should nobody be left to do it. Errors: it cannot be written down.
    pub(super) fn disturbed(&self, before: Option<i64>) -> Result<(), String> {
        self.note(|open| open.disturbed = before)
    }
}
