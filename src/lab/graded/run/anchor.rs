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
        let number = |key: &str| found[key].as_i64().unwrap_or_default();
        let at = (number("create_revision"), number("version"));
        if at.1 <= 1 {
            // History was held for a lab, and that is never done before the count is complete,
            // which takes two writings.
            let held = self.host.inside(&Inside::Key(HOLD.into())).await?;
            if !held["value"].is_null() {
                return Ok((Found::Deleted, at));
            }
        }
        let text = found["value"].as_str();
        Ok((text.map_or(Found::Nothing, |text| Anchor::read(text, at.0, at.1, &self.key)), at))
    }

    /// Compares the book with the store's count, once, before anything is believed of what an
    /// earlier process has kept.
    ///
    /// # Errors
    /// The store does not answer, or what came of it cannot be written down.
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
    ///
    /// # Errors
    /// As [`LabRun::anchor`].
    pub(super) async fn guard_anchor(&self) -> Result<(), String> {
        let known = *self.anchored.lock().await;
        match known {
            Some(at) if at != (0, 0) && self.anchor_found().await?.1 != at => self.anchor().await,
            _ => Ok(()),
        }
    }

    /// Tells the store how often the book was written. A learner gets a hint, the solution or a
    /// grade only after this.
    ///
    /// # Errors
    /// As [`LabRun::compare`], or the store does not take the count.
    pub(super) async fn anchor(&self) -> Result<(), String> {
        self.compare().await?;
        self.write_anchor().await.inspect_err(|_| self.ahead.store(true, Ordering::Relaxed))
    }

    async fn write_anchor(&self) -> Result<(), String> {
        let mut anchored = self.anchored.lock().await;
        let (found, mut at) = self.anchor_found().await?;
        // A write whose answer was lost may have taken effect: its text is this program's own.
        let is_strange = |known: &(i64, i64)| *known != at && !self.book().is_next(*known, found);
        if let Some(known) = anchored.filter(is_strange) {
            if found.is_before(known) {
                tracing::warn!("the store has gone back to an earlier count of labs");
                self.book().outlive_store();
            } else {
                tracing::warn!("the store's count of what is kept of labs was changed by somebody else");
                self.book().distrust();
            }
            self.save()?;
        }
        *anchored = Some(at);
        self.ahead.store(false, Ordering::Relaxed);
        let counter = self.book().counter;
        // The first writing cannot know its own revision; the second does.
        for _ in 0..if at.0 == 0 { 2 } else { 1 } {
            let anchor = Anchor::new(counter, at.0, at.1 + 1);
            self.host.put_key(KEY, anchor.text(&self.key), at.1).await?;
            let created = if at.0 == 0 { self.anchor_found().await?.1.0 } else { at.0 };
            at = (created, anchor.version);
            *anchored = Some(at);
        }
        // Only now: a process that ends before has written nothing to the store that the book does
        // not expect.
        if self.book().anchored == 0 {
            self.book().anchored = counter;
            self.save()?;
        }
        Ok(())
    }

    /// As [`anchor`](LabRun::anchor), where no caller waits for the answer: it is tried again.
    pub(super) async fn anchor_if_ahead(&self) {
        if self.ahead.load(Ordering::Relaxed)
            && let Err(why) = self.anchor().await
        {
            self.ahead.store(true, Ordering::Relaxed);
            tracing::debug!(why, "the store is not told of labs yet");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graded::book::Best;
    use crate::graded::seal::Chain;
    use crate::graded::world::World;
    use crate::graded::{Opened, Opening};
    use crate::stage::{self, Lost, Stage};
    use cluster::guest::{Host, HostCluster};
    use serde_json::json;
    use std::sync::Arc;
    use task::Crew;

    struct Cluster {
        _dir: tempfile::TempDir,
        _silent: tokio::net::TcpListener,
        crew: Crew,
        stage: Arc<Stage>,
    }

    impl Cluster {
        async fn new() -> Cluster {
            let dir = tempfile::tempdir().unwrap();
            let (silent, address) = stage::silent().await;
            let past = stage::answer(|_| Box::pin(std::future::ready(Ok(json!({})))));
            let stage = Stage::new(dir.path(), address, past).await;
            Cluster { _dir: dir, _silent: silent, crew: Crew::new("labs"), stage }
        }
        /// A process of the cluster.
        fn process(&self) -> LabRun {
            let host: Host = self.stage.clone();
            let world = World::start(&self.crew, &host).unwrap();
            LabRun::open(world, host, Opened::default()).unwrap()
        }
        fn version(&self) -> i64 {
            self.stage.key(KEY)["version"].as_i64().unwrap_or_default()
        }
    }

    /// A drill makes objects beside the lab's, and goes back to before them at its end.
    #[tokio::test]
    async fn no_lab_starts_while_a_drill_is_open() {
        let cluster = Cluster::new().await;
        let run = cluster.process();
        run.opened.note_drill(true);
        let told = run.start("orphans", Some(7), &json!(null), "en").await.unwrap_err();
        assert!(told.contains("a drill is open"), "{told}");
        run.opened.note_drill(false);
        let _begins = run.opened.try_reserve(Opening::Drill).unwrap();
        let told = run.start("orphans", Some(7), &json!(null), "en").await.unwrap_err();
        assert!(told.contains("a drill is open"), "{told}");
        assert_eq!(run.book().open, None);
        cluster.crew.kill();
    }

    /// The disk stalls: the store says that it does not know, and writes all the same.
    #[tokio::test]
    async fn a_count_whose_answer_was_lost_is_nobody_elses() {
        let cluster = Cluster::new().await;
        let run = cluster.process();
        for lost in [Lost::Answer, Lost::All] {
            for written in [1, 2, 3] {
                run.save().unwrap();
                cluster.stage.lose(lost);
                assert!(run.anchor().await.is_err());
                assert!(run.ahead.load(Ordering::Relaxed), "it is tried again");
                run.guard_anchor().await.unwrap();
                run.anchor_if_ahead().await;
                assert_eq!(run.book().lost, 0, "{lost:?} {written}");
            }
        }
        let process = cluster.process();
        process.compare().await.unwrap();
        assert_eq!(process.book().lost, 0);
        cluster.crew.kill();
    }

    /// `kill -9` at each step of the first count, of a lab that is being set up.
    #[tokio::test]
    async fn a_first_count_that_was_cut_short_is_nobody_elses() {
        for (lost, version) in [(Lost::All, 0), (Lost::Answer, 1)] {
            let cluster = Cluster::new().await;
            let run = cluster.process();
            let open = json!({"lab": "orphans", "seed": 7, "base": 5, "began": 0, "started": "2026-01-01T00:00:00Z",
                "hints": [], "solve": false, "undo": 0, "green": {}, "chain": Chain::default()});
            run.book().open = Some(serde_json::from_value(open).unwrap());
            run.save().unwrap();
            cluster.stage.lose(lost);
            assert!(run.anchor().await.is_err());
            assert_eq!(cluster.version(), version);
            let next = cluster.process();
            next.compare().await.unwrap();
            next.take_up("en").await.unwrap();
            assert_eq!((cluster.stage.key(HOLD)["value"].as_str(), cluster.version()), (Some("5"), 2));
            let third = cluster.process();
            third.anchor().await.unwrap();
            assert_eq!((next.book().lost, third.book().lost, cluster.version()), (0, 0, 3));
            assert!(third.book().anchored > 0 && third.book().open.as_ref().is_some_and(|o| !o.tampered));
            cluster.crew.kill();
        }
    }

    /// An external etcd was restored from a backup while a lab was open.
    #[tokio::test]
    async fn a_store_that_was_restored_takes_no_grade() {
        let cluster = Cluster::new().await;
        let run = cluster.process();
        let open = json!({"lab": "orphans", "seed": 7, "base": 5, "began": 10, "started": "2026-01-01T00:00:00Z",
            "hints": [], "solve": false, "undo": 0, "green": {}, "chain": Chain::default()});
        run.book().open = Some(serde_json::from_value(open).unwrap());
        let best = Best { score: 100, max: 100, passed: true, seed: 7, attempt: 1 };
        run.book().note("wrong-image", best, true);
        run.save().unwrap();
        run.anchor().await.unwrap();
        let backup = cluster.stage.key(KEY);
        for _ in 0..2 {
            run.save().unwrap();
            run.anchor().await.unwrap();
        }
        cluster.stage.restore(KEY, &backup);
        run.guard_anchor().await.unwrap();
        assert_eq!(run.book().lost, 0);
        assert_eq!(run.book().best.len(), 1);
        assert!(run.book().open.as_ref().is_some_and(|open| open.tampered));
        let next = cluster.process();
        next.compare().await.unwrap();
        assert_eq!(next.book().lost, 0, "the count goes on");
        cluster.crew.kill();
    }

    #[tokio::test]
    async fn a_count_that_somebody_else_wrote_is_not_believed() {
        let cluster = Cluster::new().await;
        let run = cluster.process();
        run.save().unwrap();
        run.anchor().await.unwrap();
        let text = cluster.stage.key(KEY)["value"].as_str().unwrap().to_string();
        let version = cluster.version();
        // The same text once more, or the key deleted: the store counts that, too.
        cluster.stage.put_key(KEY, text, version).await.unwrap();
        run.guard_anchor().await.unwrap();
        assert_eq!(run.book().lost, 1);
        cluster.stage.delete(KEY);
        run.guard_anchor().await.unwrap();
        assert_eq!(run.book().lost, 2);
        cluster.crew.kill();
    }
}
