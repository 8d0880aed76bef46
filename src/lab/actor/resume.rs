//! Takes up the lesson that was open when the cluster last ran.
//!
//! The engine starts before the API server does, so it first waits until that answers: an answer
//! that fails for now is not taken for a state that is gone. Nothing is set up here but the step of
//! a jump that was cut off. A lesson that was never set up to its end is left closed, and the
//! learner opens it.

use super::Actor;
use super::steps::Remake;
use crate::cel::facts;
use crate::format::Lesson;
use crate::observe::watch::{self, Then};
use crate::view::State;
use crate::words::{Notice, Word};
use cluster::undo::Past;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// A question that failed is put again after this pause.
const PAUSE: Duration = Duration::from_millis(500);
/// A start takes a minute on a slow machine. The questions themselves are a part of it: each may
/// take seconds.
const START_MAX: Duration = Duration::from_secs(60);
/// All questions about the time before this process together are put so often, at most.
const TRIES_OF_PAST: usize = 20;

impl Actor {
    /// Opens the lesson again that was open when the process before this one ended, as soon as the
    /// store answers.
    pub(super) async fn resume(&mut self) {
        let Some(lesson) =
            self.engine.progress.open.clone().and_then(|id| self.engine.library.get(&id).cloned())
        else {
            return;
        };
        let there = match self.await_store().await {
            Ok(()) => self.enter_scope(&lesson, false).await,
            Err(why) => Err(cluster::Error::Message(why)),
        };
        match there {
            // In a new scope, or after a setup that was stopped, there is nothing to go on with.
            Ok(true) if self.engine.progress.lesson(&lesson.id).began > 0 => self.go_on(lesson).await,
            Ok(_) => self.engine.progress.open = None,
            Err(why) => {
                tracing::warn!(
                    lesson = lesson.id,
                    why = cluster::chain(&why),
                    "the open lesson cannot go on"
                );
                self.engine.unresumed = Some((lesson.id, why));
            }
        }
    }

    /// Shows the step at which the lesson was left. A jump that was cut off is brought to its end
    /// first.
    async fn go_on(&mut self, lesson: Lesson) {
        let at = self.engine.progress.lesson(&lesson.id).step.clone();
        let step = lesson.step(&at).unwrap_or(0);
        let lesson = Arc::new(lesson);
        let mut notices = Vec::new();
        let arrived = match self.engine.progress.lesson(&lesson.id).going {
            None => None,
            Some(since) => {
                match self.arrive(lesson.clone(), step, since, &Value::Null, Remake::Nothing).await {
                    Ok(of_jump) => Some(of_jump),
                    Err(why) => {
                        notices.extend(self.give_up_jump(&lesson, step, &why));
                        None
                    }
                }
            }
        };
        match arrived {
            Some(of_jump) => notices.extend(of_jump),
            None => {
                self.recall(&lesson, &lesson.steps[step].id).await;
                self.show(lesson.clone(), step);
                // Faults end with the process in which they were injected.
                if self.engine.state() == State::Open && !lesson.steps[step].faults.is_empty() {
                    notices.push((Word::FaultsEnded, vec![(step + 1).to_string().into()]));
                }
            }
        }
        if let Some(open) = &mut self.engine.open {
            open.notices.extend(notices);
        }
    }

    /// Ends a jump that was cut off where it began: the step goes on from its former beginning, so
    /// that `goto` can ask anew what a way back would take by now. Returns what the learner has to
    /// know; nothing if no jump was cut off.
    pub(super) fn give_up_jump(&mut self, lesson: &Lesson, step: usize, why: &str) -> Option<Notice> {
        let since = self.engine.progress.lesson(&lesson.id).going.take()?;
        let id = &lesson.steps[step].id;
        if since == 0 {
            return None;
        }
        self.engine.progress.step(&lesson.id, id).since = since;
        Some((Word::JumpCut, vec![why.to_string().into(), (step + 1).to_string().into()]))
    }

    /// Waits until the store answers, and notes its revision: a step that begins now begins there.
    ///
    /// # Errors
    /// It has not answered for a minute.
    async fn await_store(&mut self) -> Result<(), String> {
        if !self.engine.offers.own {
            return Ok(());
        }
        let steps = answered(|| self.host.past(Past::Steps)).await?;
        let revision = steps["revision"].as_i64().unwrap_or_default();
        self.engine.observer.recorder.revision = self.engine.observer.recorder.revision.max(revision);
        Ok(())
    }

    /// What the step's histories have to tell of the time before this process: what was there when
    /// the step began, and what has become of it.
    async fn recall(&mut self, lesson: &Lesson, step: &str) {
        let since = self.engine.since_of(&lesson.id, step);
        let kinds: BTreeSet<&String> = lesson.exprs().into_iter().flat_map(|e| &e.kinds).collect();
        let mut tries = TRIES_OF_PAST;
        let is_known = since > 0 && !self.engine.is_ahead(since);
        for kind in kinds.into_iter().filter(|_| is_known) {
            let scope = self.engine.observer.recorder.scope.clone();
            let Some(known) = facts::kind(kind).filter(|k| !scope.denied.contains(&k.qualified())) else {
                continue;
            };
            loop {
                match watch::between(&self.client, kind, &scope, since).await {
                    Ok((then, now, at)) => {
                        self.engine.observer.recorder.gap(known.plural, &then, &now, at, &BTreeMap::new());
                    }
                    Err(Then::Failed) if tries > 0 => {
                        tries -= 1;
                        clock::pause(PAUSE).await;
                        continue;
                    }
                    // What is no longer kept is left out: a history then begins with what is there.
                    Err(_) => {}
                }
                break;
            }
        }
    }
}

/// Asks until there is an answer.
///
/// # Errors
/// What the last answer said, if there was none within [`START_MAX`].
async fn answered<T, F: Future<Output = Result<T, String>>>(ask: impl Fn() -> F) -> Result<T, String> {
    let mut refused = "the store does not answer".to_string();
    let asking = async {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(why) => refused = why,
            }
            clock::pause(PAUSE).await;
        }
    };
    match tokio::time::timeout(START_MAX, asking).await {
        Ok(answer) => Ok(answer),
        Err(_) => Err(refused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::time::Instant;

    /// An API server answers, and the store behind it has no majority: each question takes seconds.
    #[tokio::test(start_paused = true)]
    async fn a_store_that_does_not_answer_is_waited_for_for_a_minute() {
        let began = Instant::now();
        let refused = || async {
            tokio::time::sleep(Duration::from_secs(6)).await;
            Err::<u8, _>("timeout".to_string())
        };
        assert_eq!(answered(refused).await, Err("timeout".into()));
        assert!(began.elapsed() <= START_MAX + Duration::from_secs(1), "{:?}", began.elapsed());
        assert!(
            answered(std::future::pending::<Result<u8, String>>)
                .await
                .is_err_and(|why| why.contains("does not answer"))
        );
        let asked = AtomicU32::new(0);
        let late = || async {
            match asked.fetch_add(1, Ordering::Relaxed) {
                5 => Ok(7),
                _ => Err("not yet".to_string()),
            }
        };
        assert_eq!(answered(late).await, Ok(7));
    }
}
