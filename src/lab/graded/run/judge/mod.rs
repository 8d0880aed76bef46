//! Grading: each task is asked and has to hold; what must be disturbed to be known is disturbed,
//! judged, and taken back.

mod record;

use super::{Current, LabRun, exprs};
use crate::blocking::in_place;
use crate::cel::Facts;
use crate::format::{EN, Text};
use crate::graded::intents;
use crate::graded::parts;
use crate::graded::read::{Lab, Task};
use crate::graded::score::{self, Found, Red};
use crate::graded::view::Graded;
use crate::graded::words::{self, Word};
use crate::graded::world::Frame;
use clock::Instant;
use cluster::guest::LessonScope;
use cluster::undo::Past;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How long what was disturbed by the judge may take to be as before.
const RECOVERY_MAX: Duration = Duration::from_secs(25);

/// Characters of a learner's name in a record, at most.
const NAME_MAX: usize = 200;

/// Returns whether a text can stand in a record as a learner's name. Terminals would obey its
/// control characters, and show what follows in the order that others of them ask for.
fn is_name(learner: &str) -> bool {
    learner.chars().count() <= NAME_MAX && !learner.contains(lang::charset::is_harmful)
}

/// What people had written at the time limit, and what they have written now: hashes by object.
type Intents = (BTreeMap<String, String>, BTreeMap<String, String>);

/// The first of a task's checks that is not met, and what of it is not so.
#[derive(Default)]
struct Unmet {
    first: usize,
    parts: Vec<String>,
}

impl LabRun {
    /// Checks what can be refused before anything is judged.
    ///
    /// # Errors
    /// The name cannot stand in a record, or the request names `parts` and this is not the cluster
    /// of a proof.
    pub(super) fn allows_grade(&self, learner: &str, parts: bool, lang: &str) -> Result<(), String> {
        let refused = match parts && !self.is_proof {
            true => Some(Word::NoParts),
            false => (!is_name(learner)).then_some(Word::OddLearner),
        };
        refused.map_or(Ok(()), |word| Err(words::say(lang, word, &[])))
    }

    /// Judges every task of the open lab, and answers with the signed record and the explanations.
    ///
    /// # Errors
    /// It cannot be written down, or what people had written when the time was over cannot be
    /// compared with what they have by now. The text is for people.
    pub(super) async fn grade(
        &self,
        current: Current,
        learner: String,
        parts: bool,
        lang: &str,
    ) -> Result<Value, String> {
        self.world.read(self.host.tap());
        let not_kept = |why: String| words::say(lang, Word::NotKept, &[&why]);
        let asked = (self.ms(), self.world.know().observer.recorder.revision);
        self.note_limit(&current).await.map_err(not_kept)?;
        // Counted before anything is answered, and also if no caller waits for the end of it.
        self.note(|open| open.gradings = open.gradings.saturating_add(1)).map_err(not_kept)?;
        self.anchor().await.map_err(not_kept)?;
        let frame = current.frame();
        let lab = &current.lab;
        let still: Vec<&Task> = lab.tasks.iter().filter(|t| t.probe.is_empty()).collect();
        let judged = still.iter().map(|task| {
            let frame = &frame;
            async move { self.settle_task(task, frame, task.hold, task.within).await }
        });
        let judged = futures::future::join_all(judged).await;
        *self.seen() = still.iter().zip(&judged).map(|(t, v)| (t.id.clone(), v.is_ok())).collect();
        self.note_green();
        let green = self.book().open.as_ref().map(|o| o.green.clone()).unwrap_or_default();
        let mut found: BTreeMap<String, Found> = BTreeMap::new();
        for (task, verdict) in still.iter().zip(judged) {
            let since = green.get(&task.id).copied();
            found.insert(task.id.clone(), self.found_still(&current, task, verdict, since, parts));
        }
        let debrief_facts = self.world.facts(&frame); // before the judge's own doings
        let gone = Text::said(|lang| self.missing_objects(&current, lang).unwrap_or_default());
        let failed = |why: String| words::say(lang, Word::ProbeFailed, &[&why]);
        let intents = self.intents_since_limit(&current).await.map_err(failed)?;
        let limit_ms = super::limit_ms(lab);
        for task in lab.tasks.iter().filter(|t| !t.probe.is_empty()) {
            let verdict = self.disturb(&current, task, &still, &found, parts).await;
            let remade = is_remade(intents.as_ref(), task).then_some(limit_ms);
            let since = done_since(green.get(&task.id), asked, remade);
            found.insert(task.id.clone(), self.found_disturbed(&current, task, verdict, since));
        }
        let mut all: Vec<Found> = lab.tasks.iter().filter_map(|t| found.remove(&t.id)).collect();
        let borrowed = self.exclude_meddled(lab, &mut all);
        self.save().map_err(not_kept)?;
        let open = self.book().open.clone().unwrap_or(current.open.clone());
        let changed = intents.as_ref().is_some_and(|(then, now)| intents::differ(then, now))
            || open.changed_ms.is_some_and(|at| at > limit_ms);
        score::in_time(&mut all, limit_ms, changed, &words::red_by(Word::Late, &borrowed));
        count_together(&current, &mut all);
        let mut record = score::record(&self.about(&current, &open, learner, asked.0), &all);
        self.key.sign(&mut record);
        let record = Value::Object(record);
        self.note_best(&current, &open, &record, score::points(&all));
        self.save().map_err(not_kept)?;
        self.anchor().await.map_err(not_kept)?;
        let file = self.keep(&lab.id, open.seed, &record).map_err(not_kept)?;
        let (debrief, untold) = self.debrief(&current, &debrief_facts, &all, open.solve, gone);
        let graded = Graded { record, file, debrief, untold, found: all };
        let kept = Some(graded.clone());
        if let Err(why) = self.note(|open| open.grade = kept) {
            tracing::error!(why, "a grade is not shown again: it cannot be written down");
        }
        Ok(json!(graded))
    }

    /// What is found of a task without a probe. A reason that is unknown is said as such.
    fn found_still(
        &self,
        current: &Current,
        task: &Task,
        verdict: Result<(), usize>,
        since: Option<(u64, i64)>,
        parts: bool,
    ) -> Found {
        let frame = current.frame();
        let verdict = self.in_parts(task, &frame, verdict, parts);
        let first = verdict.as_ref().err().map(|unmet| unmet.first);
        let unknown = first.and_then(|at| self.world.unknown(&task.checks.get(at)?.1, &frame));
        let mut found = self.found(current, task, verdict, since);
        if let Some(red) = unknown {
            found.turn_red(red);
        }
        found
    }

    /// What is found of a task whose probe was played, or could not be: then with the reason.
    fn found_disturbed(
        &self,
        current: &Current,
        task: &Task,
        verdict: Result<Result<(), Unmet>, Red>,
        since: (u64, i64),
    ) -> Found {
        match verdict {
            Ok(verdict) => self.found(current, task, verdict, Some(since)),
            Err(why) => {
                let mut found = self.found(current, task, Err(Unmet::default()), None);
                found.turn_red(why);
                found
            }
        }
    }

    /// What people had written at the time limit, and what they have written now; `None`: the limit
    /// is not over.
    async fn intents_since_limit(&self, current: &Current) -> Result<Option<Intents>, String> {
        let at_limit = self.book().open.as_ref().and_then(|open| open.at_limit.clone());
        let Some(then) = at_limit else { return Ok(None) };
        let now = self.world.intents(super::kinds(&current.lab), current.places().as_ref()).await?;
        Ok(Some((then, now)))
    }

    /// Turns tasks red that exclude something which people did in the lab. Returns the names of
    /// components that people got hold of.
    fn exclude_meddled(&self, lab: &Lab, all: &mut [Found]) -> BTreeSet<String> {
        let (meddling, borrowed) = {
            let known = self.world.know();
            (known.meddling.clone(), known.who.borrowed.clone())
        };
        for (task, found) in lab.tasks.iter().zip(all) {
            if let Some(red) = words::red_by_meddling(&task.excludes, &meddling, &borrowed) {
                found.turn_red(red);
            }
        }
        borrowed
    }

    /// The explanations after a grade, and how many of them are kept back. `gone`: what is missing
    /// that the lab builds on, or nothing.
    fn debrief(
        &self,
        current: &Current,
        facts: &Arc<Facts>,
        all: &[Found],
        solved: bool,
        gone: Text,
    ) -> (Vec<Text>, usize) {
        let lab = &current.lab;
        // The cause is shown only to a learner who has found it or given up: else one grade would
        // be the answer to the next.
        let told_of = |id: &str| solved || all.iter().any(|t| t.id == id && t.green);
        let untold = lab.tasks.iter().filter(|t| !t.debrief.is_empty() && !told_of(&t.id)).count();
        let mut debrief = self.explanations(current, facts, told_of);
        if !gone.is_empty() && all.iter().any(|task| !task.green) {
            debrief.push(gone);
        }
        if untold == 0 && !lab.remember.is_empty() {
            debrief.push(remember(lab));
        }
        (debrief, untold)
    }

    /// Explanations of tasks, as far as these facts have the values for them.
    pub(super) fn explanations(
        &self,
        current: &Current,
        facts: &Arc<Facts>,
        of: impl Fn(&str) -> bool,
    ) -> Vec<Text> {
        let render = |text: &str| self.templates.get(&current.fill(text))?.render(facts, &[]).ok();
        let tasks = current.lab.tasks.iter().filter(|task| of(&task.id));
        let all = tasks.map(|task| Text::said(|lang| render(task.debrief.get(lang)).unwrap_or_default()));
        all.filter(|text| !text.is_empty()).collect()
    }

    fn found(
        &self,
        current: &Current,
        task: &Task,
        verdict: Result<(), Unmet>,
        since: Option<(u64, i64)>,
    ) -> Found {
        let now = (self.ms(), self.world.know().observer.recorder.revision);
        let (at_ms, revision) = since.unwrap_or(now);
        let mut found = Found {
            id: task.id.clone(),
            weight: task.weight,
            green: true,
            at_ms,
            revision,
            ..Found::default()
        };
        if let Err(Unmet { first, parts }) = verdict {
            found.turn_red(current.fill_red(&unmet(task, first)));
            found.parts = parts;
        }
        found
    }

    /// What of a task's check is not so at this moment.
    fn in_parts(
        &self,
        task: &Task,
        frame: &Frame,
        verdict: Result<(), usize>,
        wanted: bool,
    ) -> Result<(), Unmet> {
        verdict.map_err(|first| {
            let check = task.checks.get(first).filter(|_| wanted);
            let parts = check.map(|(_, expr)| in_place(|| parts::unmet(&self.world, expr, frame)));
            Unmet { first, parts: parts.unwrap_or_default() }
        })
    }

    /// Waits until a task's checks hold, or its verdict is certain.
    ///
    /// # Errors
    /// The place of a check that does not hold.
    async fn settle_task(
        &self,
        task: &Task,
        frame: &Frame,
        hold: Duration,
        within: Duration,
    ) -> Result<(), usize> {
        self.world.settled_unless(task.lost.as_ref(), &exprs(task), frame, hold, within).await
    }

    /// Does what a task's probe says, judges, and takes it back.
    async fn disturb(
        &self,
        current: &Current,
        task: &Task,
        still: &[&Task],
        found: &BTreeMap<String, Found>,
        parts: bool,
    ) -> Result<Result<(), Unmet>, Red> {
        // The reason is in English; the sentence around it is in the learner's language.
        let failed = |why: String| words::red(Word::ProbeFailed, &[&why]);
        let (world, frame) = (&self.world, current.frame());
        // What is not so now does not stay so; nothing has to be disturbed to know that.
        let is_whole = still.iter().all(|t| found.get(&t.id).is_some_and(|f| f.green));
        let patience = patience_before(is_whole, task.within);
        if let Err(unmet) = self.settle_task(task, &frame, Duration::ZERO, patience).await {
            return Ok(self.in_parts(task, &frame, Err(unmet), parts));
        }
        let before = self.revision().await.map_err(failed)?;
        world.read(self.host.tap());
        // The API server that answers may be behind the one to which a person has written.
        let before = before.max(world.know().observer.recorder.revision);
        self.note_disturbed(Some(before)).map_err(failed)?;
        let quiet = self.quiet(before);
        world.know().playing = true;
        let began = Instant::now();
        let played = self.teacher.play(&current.lines(&task.probe), &LessonScope::default()).await;
        world.read(self.host.tap());
        world.know().playing = false;
        world.forget_answers();
        let verdict = match &played {
            Ok(()) => {
                let within = recovery(task.within, began.elapsed());
                self.settle_task(task, &frame, task.hold, within).await
            }
            Err(_) => Err(0),
        };
        let verdict = self.in_parts(task, &frame, verdict, parts);
        let back = self.go_back(current, before).await;
        // Whether it heals by itself cannot be seen if a person has helped, and what a person has
        // done is taken back with the rest.
        world.read(self.host.tap());
        let meddled = world.know().meddled;
        let noted = match &back {
            Ok(back) => self.note_way_back(current, before, back).await,
            // The learner goes on from here: to go back at the next start would throw that work
            // away.
            Err(_) => self.note_disturbed(None),
        };
        world.forget_answers();
        // What was green before is green again before a person goes on.
        let healed = matches!(verdict, Ok(())).then_some(task);
        let green = still.iter().filter(|t| found.get(&t.id).is_some_and(|f| f.green));
        for task in green.copied().chain(healed) {
            let _ = world.settled(&exprs(task), &frame, Duration::ZERO, RECOVERY_MAX).await; // if not, the next grade says so
        }
        if back.is_ok() {
            self.release_left(current, before).await;
        }
        drop(quiet);
        noted.and(back.map(drop)).map_err(failed)?;
        played.map_err(|e| words::red_by_error(Word::ProbeFailed, &e))?;
        match meddled {
            true => Err(words::red_by(Word::Meddled, &world.know().who.borrowed)),
            false => Ok(verdict),
        }
    }

    /// Takes back what the judge has disturbed, in several tries: the cluster may be too busy with
    /// it.
    ///
    /// # Errors
    /// Of the last try.
    async fn go_back(&self, current: &Current, before: i64) -> Result<Value, String> {
        self.world.read(self.host.tap());
        self.world.know().returning = true;
        let mut back = self.host.past(Past::back(before, current.places())).await;
        for _ in 1..BACK_TRIES {
            if back.is_ok() {
                break;
            }
            back = self.host.past(Past::back(before, current.places())).await;
        }
        back
    }
}

/// Returns how long what a probe disturbed may take to recover, from the end of the probe. `took`:
/// the time that the probe itself needed, in which containers were stopped and objects went. A busy
/// machine is as slow in starting their successors, and that is not the learner's fault.
fn recovery(within: Duration, took: Duration) -> Duration {
    within + took.min(RECOVERY_MAX)
}

/// Returns how long a task with a probe may take to be seen as done before anything is disturbed.
/// `is_whole`: all tasks without a probe are. Then a red answer of the network is likelier late
/// than true: answers grow old while a task has to hold, so they are asked for anew, and on a busy
/// machine `wget -T2` ends without one. It may try again for as long as the task allows.
fn patience_before(is_whole: bool, within: Duration) -> Duration {
    if is_whole { within.max(LOOK) } else { LOOK }
}

/// What is not done needs no longer look.
const LOOK: Duration = Duration::from_secs(1);

/// What the judge has disturbed is taken back in so many tries; each gives up when the cluster
/// changes faster than it can be read.
const BACK_TRIES: usize = 5;

/// Returns since when a task with a probe is done: since its checks were last seen to become true,
/// else since the learner asked for the grade. How long the judge takes for the probe is not the
/// learner's time. `remade`: the time limit, if what the task is about was changed after it; it is
/// not known what it would have withstood before.
fn done_since(seen: Option<&(u64, i64)>, asked: (u64, i64), remade: Option<u64>) -> (u64, i64) {
    match (seen, remade) {
        (Some(seen), None) => *seen,
        (Some(seen), Some(limit_ms)) if seen.0 > limit_ms => *seen,
        _ => asked,
    }
}

/// What is not so of a task whose check at this place is not: the check's own sentence, else the
/// task's. Without either the task itself stands in the record, and nothing more is said: the
/// learner has it on the line above.
fn unmet(task: &Task, check: usize) -> Red {
    let that = task.checks.get(check).map(|(that, _)| that).filter(|that| !that.get(EN).is_empty());
    let sentence = that.unwrap_or(&task.unmet);
    match sentence.get(EN) {
        "" => Red { unmet: task.task.get(EN).into(), told: Text::default() },
        english => {
            let told = Text::said(|lang| words::say(lang, Word::Unmet, &[sentence.get(lang)]));
            Red { unmet: english.into(), told }
        }
    }
}

/// Returns whether what a task is about was written anew after the time limit.
fn is_remade(intents: Option<&Intents>, task: &Task) -> bool {
    let named = super::resources(exprs(task).into_iter().flat_map(|e| &e.kinds));
    intents.is_some_and(|(then, now)| intents::remade(then, now, &named))
}

/// Turns tasks red that count together with others only, of which one is red.
fn count_together(current: &Current, all: &mut [Found]) {
    let lab = &current.lab;
    score::together(all, |id| {
        let with = lab.tasks.iter().find(|t| t.id == id).map(|t| t.only_with.clone()).unwrap_or_default();
        let why = current.fill_red(&only_with(lab, &with));
        (with, why)
    });
}

/// Says that a task which was green from the beginning counts together with others only, and names
/// those by what they ask for: their ids are the author's.
fn only_with(lab: &Lab, with: &[String]) -> Red {
    let named = |lang: &str| {
        let tasks = with.iter().filter_map(|id| lab.tasks.iter().find(|task| task.id == *id));
        let quoted: Vec<String> = tasks.map(|task| format!("“{}”", task.task.get(lang))).collect();
        quoted.join(", ")
    };
    let say = |lang: &str| words::say(lang, Word::OnlyWith, &[&named(lang)]);
    Red { unmet: say(EN), told: Text::said(say) }
}

/// What a lab wants to be remembered.
fn remember(lab: &Lab) -> Text {
    let say = |text: &str, lang: &str| crate::words::say(lang, crate::words::Word::Remember, &[text]);
    Text::said(|lang| say(lab.remember.get(lang), lang))
}

impl Current {
    /// A reason with the lab's values filled in.
    fn fill_red(&self, red: &Red) -> Red {
        let told = |lang: &str| self.fill(red.told.get(lang));
        Red { unmet: self.fill(&red.unmet), told: Text::said(told) }
    }
}

#[cfg(test)]
mod tests;
