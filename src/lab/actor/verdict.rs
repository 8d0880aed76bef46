//! Sessions that wait for a verdict (`check`, or an answer that was given): they hear it when every
//! watch and the network have caught up with what the store had at that moment. A jump is answered
//! when the watches have: else its first page would have the marks of before the way back.

use super::{Actor, Found, publish};
use crate::engine::qualified;
use crate::observe::watch;
use crate::view::State;
use clock::Instant;
use cluster::control::Reply;
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::oneshot;

/// `check` waits this long for watches and the network to catch up, beside `hold`.
const PATIENCE: Duration = Duration::from_secs(8);

/// A jump waits this long for the watches.
const PATIENCE_OF_JUMP: Duration = Duration::from_secs(1);

/// What a session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The verdict on the open step.
    Step,
    /// The verdict on the answer that the learner has just given.
    Answer,
    /// The watches alone, after a jump.
    Watches,
}

/// A session that waits.
pub(super) struct Waiter {
    lang: String,
    reply: oneshot::Sender<Reply>,
    /// Revisions that the watches have to have reported.
    needs: HashMap<String, i64>,
    /// What a foreign server had when this was asked, by kind: its own writes pass no tap that
    /// could tell how far they are. `None`: not answered yet.
    pub(super) looks: Option<Looks>,
    pub(super) number: u64,
    deadline: Instant,
    awaited: Awaited,
}

/// What a foreign server has, by kind.
pub(super) type Looks = HashMap<String, watch::Look>;

impl Actor {
    /// Replies to the sessions whose verdict is ready. Returns the earliest deadline of those that
    /// still wait.
    pub(super) fn answer_waiters(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let lacks = !self.engine.asking_before.is_empty()
            || self
                .engine
                .kinds()
                .iter()
                .filter_map(|k| qualified(k))
                .filter(|k| self.watched.contains(k))
                .any(|k| !self.engine.observer.objects.contains_key(&k));
        let busy = self.engine.observer.answers.is_waiting()
            || self
                .engine
                .open
                .as_ref()
                .is_some_and(|o| self.engine.state() == State::Open && o.outcome.wake.is_some());
        let mut rest = Vec::new();
        for waiter in std::mem::take(&mut self.waiters) {
            let shown = waiter.looks.as_ref().is_some_and(|looks| self.engine.observer.shows(looks));
            let is_told = !lacks && shown && self.engine.observer.caught_up(&waiter.needs);
            let is_settled = !busy || waiter.awaited == Awaited::Watches;
            if waiter.deadline > now && !(is_told && is_settled) {
                rest.push(waiter);
                continue;
            }
            if waiter.awaited == Awaited::Answer {
                self.engine.close_answer(waiter.number, is_told);
                self.save();
                publish(&self.engine, &self.views);
            }
            // The session that asked hears at once what is missing; those that follow hear it when
            // its time has come.
            let judged = self.engine.open.as_mut().filter(|_| waiter.awaited != Awaited::Watches);
            let late = judged.map(|open| std::mem::replace(&mut open.late, true));
            let _ = waiter.reply.send(Reply::Ok(json!(self.engine.view(&waiter.lang))));
            if let (Some(open), Some(late)) = (&mut self.engine.open, late) {
                open.late = late;
            }
        }
        self.waiters = rest;
        self.waiters.iter().map(|w| w.deadline).min()
    }

    /// Lists what a foreign server has, in a task that reports to the loop (`None`). On our own
    /// cluster every write comes from the tap, so nothing has to be listed.
    fn list_foreign(&self) -> Option<Looks> {
        if self.engine.offers.own {
            return Some(Looks::new());
        }
        let (kinds, scope) = (self.engine.kinds(), self.engine.observer.recorder.scope.clone());
        let watched = |k: &String| qualified(k).is_some_and(|name| self.watched.contains(&name));
        let kinds: Vec<String> = kinds.into_iter().filter(watched).collect();
        let (client, number, found) = (self.client.clone(), self.asked, self.found.clone());
        self.crew.spawn(async move {
            let looks = kinds.iter().map(|kind| watch::list_now(&client, kind, &scope));
            let looks = futures::future::join_all(looks).await.into_iter().flatten().collect();
            let _ = found.send(Found::Looks { number, looks }).await; // the engine may have ended
        });
        None
    }

    /// Replies when the step, or the learner's last answer, is judged by what the store has now.
    /// After a jump, replies when the watches have reported what the store has now.
    pub(super) fn await_verdict(&mut self, lang: String, reply: oneshot::Sender<Reply>, awaited: Awaited) {
        let patience = match awaited {
            Awaited::Watches => PATIENCE_OF_JUMP,
            Awaited::Step | Awaited::Answer => {
                // What was answered, or asked, before the learner acted proves nothing.
                self.engine.observer.answers.forget();
                self.engine.current().map_or(Duration::ZERO, |(_, s)| s.hold) + PATIENCE
            }
        };
        let needs = self.engine.observer.recorder.of_plural.clone();
        let deadline = Instant::now() + patience;
        self.asked += 1;
        let (number, looks) = (self.asked, self.list_foreign());
        if awaited == Awaited::Answer {
            self.engine.await_answer(number);
        }
        self.waiters.push(Waiter { lang, reply, needs, looks, number, deadline, awaited });
    }
}
