//! The beginning of a drill: its tasks are picked, drawn and set up.

use super::namespace::LABEL;
use super::{Act, Drill, DrillState, ORDERS_MAX, Order, Practice, REHEARSAL_MAX, TaskResult, next_act_for};
use crate::blocking::in_place;
use crate::graded::world::World;
use crate::graded::{Opening, Reserved};
use crate::practice::drawn::Drawn;
use crate::practice::met::Met;
use crate::practice::pick::{self, Candidate, LIMIT};
use crate::practice::record::{self, Open, Record};
use crate::practice::table::Skill;
use crate::practice::view::Phase;
use crate::practice::words::{self, Word};
use clock::Instant;
use cluster::guest::LessonScope;
use cluster::undo::Past;
use lang::Lang;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// The objects of all tasks together have to be ready by then.
const READY_MAX: Duration = Duration::from_secs(60);
/// How often this process tries to take away what a drill of an earlier one has left, and how many
/// times.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
const SWEEPS_MAX: usize = 60;
/// Without a seed of the learner's it is drawn below this number: short enough to be typed.
const SEED_MAX: u64 = 10_000;

/// A drill that is to be set up.
struct Plan {
    seed: u64,
    /// Ids of its tasks.
    ids: Vec<String>,
    /// When the skill of each was met.
    met: Vec<Option<clock::Timestamp>>,
    /// What the learner has learned and could not be read.
    unread: Vec<Arc<crate::Error>>,
    limit: Duration,
    is_rehearsal: bool,
}

impl Practice {
    /// Reads the record, unless that was done. A damaged one is put aside, and the next drill says
    /// where it is.
    fn read_record(&self) -> Result<(), crate::Error> {
        let mut record = self.record.lock();
        if record.is_some() {
            return Ok(());
        }
        let (read, aside) = Record::load_or_put_aside(&self.path)?;
        *record = Some(read);
        self.aside.lock().extend(aside);
        Ok(())
    }

    /// Takes away what a drill of an earlier process has left, as soon as the cluster answers.
    pub(in crate::practice) async fn sweep(self: Arc<Practice>) {
        if !self.path.exists() || self.read_record().is_err() {
            return; // `start` reads the record again, and refuses with the error
        }
        for _ in 0..SWEEPS_MAX {
            clock::pause(SWEEP_EVERY).await;
            let _turn = self.turn.lock().await;
            let open = self.record.lock().as_ref().and_then(|record| record.open.clone());
            let Some(open) = open.filter(|_| self.drill().is_none_or(|drill| !drill.is_open())) else {
                return;
            };
            self.take_away(&open).await; // if that fails, the record still has it
        }
    }

    /// Begins a drill over what was met, or over the skills that are named.
    ///
    /// # Errors
    /// There is no such skill, none was met yet, something else is open, or the drill cannot be set
    /// up. The text is for people.
    pub(super) async fn start(
        self: &Arc<Practice>,
        seed: Option<u64>,
        skills: &[String],
        lang: &str,
    ) -> Result<(), String> {
        let _turn = self.turn.lock().await;
        if let Some(unknown) = skills.iter().find(|id| self.table.skill(id).is_none()) {
            return Err(words::say(lang, Word::NoSkill, &[unknown]));
        }
        self.read_record().map_err(|error| record_unusable(&error, lang))?;
        let _reserved = self.reserve(lang)?;
        let met = in_place(|| Met::read(self.host.place(), &self.library));
        let now = clock::now();
        let record = self.record.lock().clone().unwrap_or_default();
        let seed = seed.unwrap_or_else(|| unknown_seed(&record));
        let picked = self.picked(seed, skills, &met, &record, now);
        if picked.is_empty() {
            let reasons: Vec<String> = met.unread.iter().map(|error| error.say(language(lang))).collect();
            return Err(match reasons.is_empty() {
                true => self.none_met(lang),
                false => words::say(lang, Word::Unread, &[&reasons.join("; ")]),
            });
        }
        let since = |id: &String| {
            let (skill, _) = self.table.task(id)?;
            met.since(skill).flatten()
        };
        let (since, unread) = (picked.iter().map(since).collect(), met.unread.clone());
        let plan = Plan { seed, ids: picked, met: since, unread, limit: LIMIT, is_rehearsal: false };
        self.begin_drill(plan, lang).await
    }

    /// Begins a drill of one task, without a clock and without a record.
    ///
    /// # Errors
    /// There is no such task, something else is open, or it cannot be set up. The text is for
    /// people.
    pub(super) async fn rehearse(
        self: &Arc<Practice>,
        task: &str,
        seed: u64,
        lang: &str,
    ) -> Result<(), String> {
        let _turn = self.turn.lock().await;
        self.read_record().map_err(|error| record_unusable(&error, lang))?;
        let _reserved = self.reserve(lang)?;
        if self.table.task(task).is_none() {
            return Err(words::say(lang, Word::NoTask, &[task]));
        }
        let ids = vec![task.into()];
        let (met, limit) = (vec![None], REHEARSAL_MAX);
        let plan = Plan { seed, ids, met, unread: vec![], limit, is_rehearsal: true };
        self.begin_drill(plan, lang).await
    }

    /// Reserves the cluster for a drill: until it is open, no lab may begin.
    fn reserve(&self, lang: &str) -> Result<Reserved, String> {
        if self.drill().is_some_and(|drill| drill.is_open()) {
            return Err(words::say(lang, Word::IsOpen, &[]));
        }
        self.opened.try_reserve(Opening::Drill).map_err(|in_the_way| match in_the_way {
            Opening::Lab(lab) => words::say(lang, Word::LabOpen, &[&lab]),
            Opening::Drill => words::say(lang, Word::IsOpen, &[]),
        })
    }

    /// The tasks of a seed: those that it had here before, as far as they still exist, else new
    /// ones. `skills`: only those, whether they were met or not, and always new ones.
    pub(super) fn picked(
        &self,
        seed: u64,
        skills: &[String],
        met: &Met,
        record: &Record,
        now: clock::Timestamp,
    ) -> Vec<String> {
        if let Some(before) = record.tasks_of(seed).filter(|_| skills.is_empty()) {
            // The record is a file: it may name a task twice, or a thousand.
            let mut once = BTreeSet::new();
            let existing = before.iter().filter(|id| self.table.task(id).is_some());
            let existing: Vec<String> = existing.filter(|id| once.insert(*id)).cloned().collect();
            if !existing.is_empty() {
                return existing.into_iter().take(pick::MOST).collect();
            }
        }
        let candidate = |skill: &'_ Skill| {
            let since = match skills.contains(&skill.id) {
                true => met.since(skill).flatten(),
                false if skills.is_empty() => met.since(skill)?,
                false => return None,
            };
            Some(record::state(record.skills.get(&skill.id), since, now))
        };
        let candidates = self.table.skills.iter().filter_map(|skill| {
            let state = candidate(skill)?;
            Some(Candidate { skill, state })
        });
        let candidates: Vec<Candidate<'_>> = candidates.collect();
        pick::pick(seed, &candidates).into_iter().map(|(_, task)| task.id.clone()).collect()
    }

    /// Says with which lesson to begin: the first one that teaches a skill.
    fn none_met(&self, lang: &str) -> String {
        let taught = |id: &str| self.table.skills.iter().any(|skill| skill.lessons.iter().any(|l| l == id));
        let first = self.library.lessons.iter().find(|lesson| taught(&lesson.id));
        let (id, title) = first.map_or(("", ""), |lesson| (lesson.id.as_str(), lesson.title.get(lang)));
        words::say(lang, Word::NoneMet, &[id, title, id])
    }

    /// Sets the tasks up and starts the clock.
    async fn begin_drill(self: &Arc<Practice>, plan: Plan, lang: &str) -> Result<(), String> {
        let Plan { seed, ids, met, unread, limit, is_rehearsal } = plan;
        let failed = |why: String| words::say(lang, Word::SetupFailed, &[&why]);
        let earlier = self.record.lock().as_ref().and_then(|record| record.open.clone());
        if let Some(open) = earlier {
            self.take_away(&open).await; // if that fails, the next line deletes its namespace
        }
        let namespace = self.free_namespace(lang).await?;
        let drawn = ids.iter().map(|id| self.table.draw(id, &namespace, seed));
        let drawn: Result<Vec<Drawn>, _> = in_place(|| drawn.collect());
        let tasks =
            drawn.map_err(|faults| failed(faults.first().map(ToString::to_string).unwrap_or_default()))?;
        let revision = self.host.past(Past::Steps).await.map_err(failed)?["revision"].as_i64();
        let revision_before = revision.ok_or_else(|| failed(words::say(lang, Word::NoRevision, &[])))?;
        let crew = self.crew.part();
        let world = World::start(&crew, &self.host).map_err(|e| failed(e.say(language(lang))))?;
        let (orders, mut given) = mpsc::channel(ORDERS_MAX);
        let results = vec![TaskResult::default(); tasks.len()];
        // A rehearsal has no learner who reads it.
        let put_aside = if is_rehearsal { vec![] } else { self.aside.lock().clone() };
        let phase = Phase::Preparing;
        let state = Mutex::new(DrillState { phase, results, put_aside, unread, ..DrillState::default() });
        let drill = Arc::new(Drill {
            seed,
            namespace,
            revision_before,
            limit,
            tasks,
            met,
            is_rehearsal,
            state,
            orders,
            world,
            crew,
        });
        *self.drill.lock() = Some(drill.clone());
        self.announce_change();
        let open = Open { namespace: drill.namespace.clone(), revision_before };
        let prepared = tokio::select! {
            biased;
            () = await_stop(&mut given) => Err(words::say(lang, Word::StoppedEarly, &[])),
            prepared = self.set_up(&drill, &ids, &open, lang) => prepared,
        };
        if let Err(why) = prepared {
            self.take_away_or_sweep(&open).await;
            // Before its phase changes: the session that has stopped it must see that there is no
            // drill, and not one that is over.
            *self.drill.lock() = None;
            drill.state().phase = Phase::Stopped;
            drill.crew.kill();
            self.announce_change();
            return Err(why);
        }
        if !is_rehearsal {
            self.aside.lock().clear();
        }
        let mut changes = self.changes();
        changes.mark_unchanged();
        self.crew.spawn(self.clone().run(drill.clone(), given));
        // The first task is on the screen of the learner who asked.
        while drill.state().phase == Phase::Preparing {
            if changes.changed().await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// Creates the namespace and the objects of the tasks, and waits until all of them are ready.
    async fn set_up(&self, drill: &Drill, ids: &[String], open: &Open, lang: &str) -> Result<(), String> {
        let failed = |why: String| words::say(lang, Word::SetupFailed, &[&why]);
        // Before anything is made: a process after this one has to find it.
        let kept = self.keep(|record| {
            record.open = Some(open.clone());
            if !drill.is_rehearsal {
                record.remember(drill.seed, ids.to_vec());
            }
        });
        kept.map_err(|error| record_unusable(&error, lang))?;
        drill.listen(&self.host);
        let name = &drill.namespace;
        // With its label from the first moment on: without it, the namespace would stay for ever.
        let mut lines = vec![
            "kubectl create -f -".to_string(),
            "apiVersion: v1".to_string(),
            "kind: Namespace".to_string(),
            format!("metadata: {{name: {name}, labels: {{{LABEL}: \"true\"}}}}"),
            ".".to_string(),
        ];
        lines.extend(drill.tasks.iter().flat_map(|task| task.setup.iter().cloned()));
        let played = self.teacher.play(&lines, &LessonScope::default()).await;
        played.map_err(|error| failed(error.say(language(lang))))?;
        await_ready(drill, lang).await
    }
}

/// Waits until `ready_when` of every task is true; all of them share [`READY_MAX`].
///
/// # Errors
/// The first task of which it is not true by then. The text is for people.
pub(super) async fn await_ready(drill: &Drill, lang: &str) -> Result<(), String> {
    let end = Instant::now() + READY_MAX;
    for (at, task) in drill.tasks.iter().enumerate() {
        let Some(ready_when) = &task.ready_when else { continue };
        let within = end.saturating_duration_since(Instant::now());
        let ready = drill.world.settled(&[ready_when], &drill.frame_of(at), Duration::ZERO, within).await;
        ready.map_err(|_| words::say(lang, Word::NotReady, &[&task.id]))?;
    }
    Ok(())
}

fn language(lang: &str) -> Lang {
    Lang::parse(lang).unwrap_or_default()
}

/// Says that no drill begins because the record cannot be read or written, and why.
fn record_unusable(error: &crate::Error, lang: &str) -> String {
    words::say(lang, Word::NotKept, &[&error.say(language(lang))])
}

/// Waits for the order to stop a drill that is still being prepared.
async fn await_stop(orders: &mut mpsc::Receiver<Order>) {
    while next_act_for(orders, 0).await != Act::Stop {}
}

/// Draws a seed that the record does not know: one that it knows would repeat old tasks instead of
/// asking what is due.
fn unknown_seed(record: &Record) -> u64 {
    let known: BTreeSet<u64> = record.drills.iter().map(|drill| drill.seed).collect();
    let first = rng::Rng::from_os().range(1, SEED_MAX);
    // From there on, so that a record that knows them all cannot keep it from ending.
    let mut seeds = (first..SEED_MAX).chain(1..first);
    seeds.find(|seed| !known.contains(seed)).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use super::{SEED_MAX, unknown_seed};
    use crate::practice::record::{DrillTasks, Record};

    /// The file may name more seeds than a drill remembers; almost all of them are taken here.
    #[test]
    fn a_seed_by_chance_repeats_no_drill() {
        let mut record = Record::default();
        let known = (1..SEED_MAX).filter(|seed| seed % 100 != 7);
        record.drills = known.map(|seed| DrillTasks { seed, tasks: vec![] }).collect();
        assert_eq!(unknown_seed(&record) % 100, 7);
    }
}
