//! The book's anchor in the store: a key that counts along, so that an older copy of the book is
//! not taken for the newest.

use super::LabRun;
use crate::graded::book::{Anchor, Found};
use cluster::guest::{HOLD, Inside};
use std::sync::atomic::Ordering;

/// Beside the steps of people.
const KEY: &str = "/ropewalk/labs";

impl LabRun {
    /// What the store has, and where: create revision and version, 0 if there is nothing.
    async fn anchor_found(&self) -> Result<(Found, (i64, i64)), String> {
        let found = self.host.inside(&Inside::Key(KEY.into())).await?;
        let Some(text) = found["value"].as_str() else {
            // History was held for a lab, and that is never done before the first count.
            let held = self.host.inside(&Inside::Key(HOLD.into())).await?;
            let found = if held["value"].is_null() { Found::Nothing } else { Found::Deleted };
            return Ok((found, (0, 0)));
        };
        let number = |key: &str| found[key].as_i64().unwrap_or_default();
        let at = (number("create_revision"), number("version"));
        Ok((Anchor::read(text, at.0, at.1, &self.key), at))
    }

    /// Once, before anything is believed of what an earlier process has kept. Errors: the store
    /// does not answer.
    pub(super) async fn compare(&self) -> Result<(), String> {
        let mut anchored = self.anchored.lock().await;
        if anchored.is_some() {
            return Ok(());
        }
        let (found, at) = self.anchor_found().await?;
        let agrees = self.book().agrees(found);
        if !agrees {
            tracing::warn!(?found, "what is kept of labs was changed by somebody else");
            self.book().distrust();
            self.save()?;
        }
        *anchored = Some(at);
        Ok(())
    }

    /// Looks whether the store's count is still the one that was last written. If it was changed or
    /// deleted, that is noted and the count is written anew, before the file of the book can go the
    /// same way and nothing is left that knows of it.
    pub(super) async fn guard_anchor(&self) -> Result<(), String> {
        let known = *self.anchored.lock().await;
        match known {
            Some(at) if at != (0, 0) && self.anchor_found().await?.1 != at => self.anchor().await,
            _ => Ok(()),
        }
    }

    /// Tells the store how often the book was written. Whoever has been given something (a hint,
    /// the solution, a grade) has it only after this.
    pub(super) async fn anchor(&self) -> Result<(), String> {
        self.compare().await?;
        let mut anchored = self.anchored.lock().await;
        let (_, mut at) = self.anchor_found().await?;
        if anchored.is_some_and(|known| known != at) {
            tracing::warn!("the store's count of what is kept of labs was changed by somebody else");
            self.book().distrust();
            self.save()?;
        }
        self.ahead.store(false, Ordering::Relaxed);
        if self.book().anchored == 0 {
            let mut book = self.book();
            book.anchored = book.counter + 1;
            drop(book);
            self.save()?;
            self.ahead.store(false, Ordering::Relaxed);
        }
        let counter = self.book().counter;
        // The first writing cannot know its own revision; the second does.
        for _ in 0..if at.0 == 0 { 2 } else { 1 } {
            let anchor = Anchor::new(counter, at.0, at.1 + 1);
            self.host.keep(KEY, anchor.text(&self.key)).await?;
            let created = if at.0 == 0 { self.anchor_found().await?.1.0 } else { at.0 };
            at = (created, anchor.version);
        }
        *anchored = Some(at);
        Ok(())
    }

    /// As [`anchor`](Desk::anchor), where nobody waits for the answer: it is tried again.
    pub(super) async fn anchor_if_ahead(&self) {
        if self.ahead.load(Ordering::Relaxed)
            && let Err(why) = self.anchor().await
        {
            self.ahead.store(true, Ordering::Relaxed);
            tracing::debug!(why, "the store is not told of labs yet");
        }
    }
}
