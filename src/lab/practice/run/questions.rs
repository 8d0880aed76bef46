//! What learners ask of practice: to see the drill, to have a task judged, hints, and orders.

use super::{Act, CHECK_MAX, Drill, HOLD, Order, Practice};
use crate::practice::view::{Ask, Lines, Outcome, Phase, Wrong};
use crate::practice::words::{self, Word};
use serde_json::{Value, json};
use std::sync::Arc;

impl Practice {
    /// Answers a question with the document that [`Ask`] names.
    ///
    /// # Errors
    /// Says in `lang` why it was not done.
    pub(in crate::practice) async fn answer(
        self: &Arc<Practice>,
        ask: Ask,
        lang: &str,
    ) -> Result<Value, String> {
        match ask {
            Ask::Show | Ask::Follow => {}
            Ask::Start { seed, skills } => self.start(seed, &skills, lang).await?,
            Ask::Rehearse { task, seed } => self.rehearse(&task, seed, lang).await?,
            Ask::Check => self.check(lang).await?,
            Ask::Hint { task } => self.hint(&task, lang)?,
            Ask::Skip { task } => self.skip(&task, lang).await?,
            Ask::Stop => self.stop(lang).await?,
            Ask::Solution => return self.solution(lang),
        }
        Ok(json!(self.view(lang)))
    }

    /// The drill that is prepared or runs.
    fn open_drill(&self, lang: &str) -> Result<Arc<Drill>, String> {
        let drill = self.drill().filter(|drill| drill.is_open());
        drill.ok_or_else(|| words::say(lang, Word::NoneOpen, &[]))
    }

    /// The drill that runs: its present task is on the screen.
    fn running_drill(&self, lang: &str) -> Result<Arc<Drill>, String> {
        let drill = self.open_drill(lang)?;
        let phase = drill.state().phase;
        if phase == Phase::Preparing { Err(words::say(lang, Word::Preparing, &[])) } else { Ok(drill) }
    }

    async fn check(&self, lang: &str) -> Result<(), String> {
        let drill = self.running_drill(lang)?;
        let (at, mut changes) = (drill.state().at, self.changes());
        drill.world.read(self.host.tap());
        if drill.is_done(at, CHECK_MAX).await {
            // The drill itself sees that it holds, and goes on.
            let moved = async {
                while drill.is_open() && drill.state().at == at {
                    if changes.changed().await.is_err() {
                        return;
                    }
                }
            };
            let _ = clock::limit(HOLD + CHECK_MAX, moved).await; // else it did not hold
        }
        if drill.is_open() && drill.state().at == at {
            drill.judge_conditions(at);
            self.announce_change();
        }
        Ok(())
    }

    /// Gives the next hint of a task, if it is still the present one.
    fn hint(&self, task: &str, lang: &str) -> Result<(), String> {
        let drill = self.running_drill(lang)?;
        let gone_on = || words::say(lang, Word::GoneOn, &[]);
        let at = drill.place_of_present(task).ok_or_else(gone_on)?;
        drill.world.read(self.host.tap());
        let hints = drill.hints_left(at);
        {
            let mut state = drill.state();
            // The conditions of hints were evaluated meanwhile, which takes its time.
            if state.at != at || state.phase != Phase::Running {
                return Err(gone_on());
            }
            let next = hints.into_iter().find(|place| !state.hints.contains(place));
            let next = next.ok_or_else(|| words::say(lang, Word::NoHint, &[]))?;
            state.hints.push(next);
        }
        self.announce_change();
        Ok(())
    }

    /// Skips a task, if it is still the present one, and waits until the drill goes on.
    async fn skip(&self, task: &str, lang: &str) -> Result<(), String> {
        let drill = self.running_drill(lang)?;
        let gone_on = || words::say(lang, Word::GoneOn, &[]);
        let at = drill.place_of_present(task).ok_or_else(gone_on)?;
        self.give_order(&drill, Order { at, act: Act::Skip }).await;
        // It may have been done, or the time may have been over, in the same moment.
        let outcome = drill.state().results.get(at).map(|result| result.outcome);
        if outcome == Some(Outcome::Skipped) { Ok(()) } else { Err(gone_on()) }
    }

    /// Ends the drill, also one that is still prepared.
    async fn stop(&self, lang: &str) -> Result<(), String> {
        let drill = self.open_drill(lang)?;
        let at = drill.state().at;
        self.give_order(&drill, Order { at, act: Act::Stop }).await;
        Ok(())
    }

    /// Gives an order, and waits until it is obeyed or the task that it names is over.
    async fn give_order(&self, drill: &Drill, order: Order) {
        let mut changes = self.changes();
        if drill.orders.send(order).await.is_err() {
            return; // it has ended meanwhile
        }
        while drill.is_open() && (order.act == Act::Stop || drill.state().at == order.at) {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// The lines of a rehearsal. A drill with a clock keeps its solutions to itself.
    fn solution(&self, lang: &str) -> Result<Value, String> {
        let drill = self.running_drill(lang)?;
        let task = drill.tasks.first().filter(|_| drill.is_rehearsal);
        let task = task.ok_or_else(|| words::say(lang, Word::NoRehearsal, &[]))?;
        let wrong = task.wrong.iter().map(|w| Wrong { lines: w.lines.clone(), why: w.why.clone() });
        let (solution, also) = (task.solution.clone(), task.also.clone());
        Ok(json!(Lines { solution, also, wrong: wrong.collect() }))
    }
}
