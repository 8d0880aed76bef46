//! Grading: each task is asked and has to hold; what must be disturbed to be known is disturbed, judged, and taken back.

use super::{Current, Desk, chain_text, exprs};
use crate::clock::Timestamp;
use crate::cluster::guest::Room;
use crate::cluster::undo::Past;
use crate::lab::cel::{Facts, Template, Use};
use crate::lab::format::EN;
use crate::lab::graded::book::Best;
use crate::lab::graded::read::{BUILT_IN, Task};
use crate::lab::graded::score::{self, About, Found};
use crate::lab::graded::stopwatch::Stopwatch;
use crate::lab::graded::view::Graded;
use crate::lab::graded::wills;
use crate::lab::graded::words::{self, Word};
use crate::lab::who::Meddling;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long what was disturbed by the judge may take to be as before.
const RECOVERY_MAX: Duration = Duration::from_secs(25);

impl Desk {
    pub(super) async fn grade(&self, current: Current, learner: String, lang: &str) -> Result<Value, String> {
        self.world.read(self.host.tap());
        let not_kept = |why: String| words::say(lang, Word::NotKept, &[&why]);
        let ended = self.ms();
        let asked_at = self.world.know().recorder.revision;
        self.note_limit(&current).await.map_err(not_kept)?;
        // Counted before anything is told, and also if nobody waits for the end of it.
        self.note(|open| open.gradings += 1).map_err(not_kept)?;
        self.anchor().await.map_err(not_kept)?;
        let frame = current.frame();
        let lab = &current.lab;
        let mut found: BTreeMap<String, Found> = BTreeMap::new();
        let still: Vec<&Task> = lab.tasks.iter().filter(|t| t.probe.is_empty()).collect();
        let judged = still.iter().map(|task| {
            let frame = &frame;
            async move { self.world.settled(&exprs(task), frame, task.hold, task.within).await }
        });
        let judged = futures::future::join_all(judged).await;
        *self.seen() = still.iter().zip(&judged).map(|(t, v)| (t.id.clone(), v.is_ok())).collect();
        self.note_green();
        let green = self.book().open.as_ref().map(|o| o.green.clone()).unwrap_or_default();
        for (task, verdict) in still.iter().zip(judged) {
            let since = green.get(&task.id).copied();
            let unknown = verdict.err().and_then(|at| self.world.unknown(&task.checks.get(at)?.1, &frame));
            let mut told = self.found(&current, task, verdict, since);
            told.unmet = unknown.unwrap_or(told.unmet);
            found.insert(task.id.clone(), told);
        }
        let debrief_facts = self.world.facts(&frame); // before the judge's own doings
        let at_limit = self.book().open.as_ref().and_then(|open| open.at_limit.clone());
        let changed = match &at_limit {
            Some(then) => {
                let now = self.world.wills(super::kinds(lab), current.places().as_ref()).await?;
                wills::differ(then, &now)
            }
            None => false,
        };
        for task in lab.tasks.iter().filter(|t| !t.probe.is_empty()) {
            let verdict = self.disturb(&current, task, &still, &found).await;
            // It was so when the learner asked: how long the judge looks at it is not the learner's time.
            let told = match verdict {
                Ok(verdict) => self.found(&current, task, verdict, Some((ended, asked_at))),
                Err(why) => Found {
                    unmet: words::say(EN, Word::ProbeFailed, &[&why]),
                    ..self.found(&current, task, Err(0), None)
                },
            };
            found.insert(task.id.clone(), told);
        }
        let mut all: Vec<Found> = lab.tasks.iter().filter_map(|t| found.remove(&t.id)).collect();
        let meddling = self.world.know().meddling.clone();
        for (task, told) in lab.tasks.iter().zip(&mut all) {
            if let Some(what) = task.excludes.iter().find(|what| meddling.contains(what)) {
                told.green = false;
                told.unmet = words::say(EN, excluded(*what), &[]);
            }
        }
        self.save().map_err(not_kept)?;
        let open = self.book().open.clone().unwrap_or(current.open.clone());
        let limit_ms = super::limit_ms(lab);
        score::in_time(&mut all, limit_ms, changed || open.changed_ms.is_some_and(|at| at > limit_ms));
        score::together(&mut all, |id| {
            let with = lab.tasks.iter().find(|t| t.id == id).map(|t| t.only_with.clone()).unwrap_or_default();
            let unmet = words::say(EN, Word::OnlyWith, &[&with.join(", ")]);
            (with, unmet)
        });
        let mut drawn = current.variant.clone();
        drawn.retain(|key, _| lab.choices.iter().any(|(k, _)| k == key));
        let about = About {
            lab: lab.id.clone(),
            seed: open.seed,
            variant: drawn,
            learner,
            started: millis(open.started),
            // By the calendar of the start, so that the two belong together even if somebody has set the clock since.
            ended: millis(Stopwatch::taken_up(open.started, ended).calendar(ended)),
            limit_s: u64::from(lab.minutes) * 60,
            used: open.used(),
            content: lab.content.clone(),
            labs: self.labs.directory.as_ref().map_or_else(|| BUILT_IN.into(), |d| d.display().to_string()),
            attempts: open.attempts(),
            tampered: open.tampered,
            trace: json!({"from": open.began, "to": self.world.know().recorder.revision, "records": open.chain.records, "head": open.chain.head}),
        };
        let mut record = score::record(&about, &all);
        self.key.sign(&mut record);
        let record = Value::Object(record);
        let (points, max) = score::points(&all);
        let best = Best {
            score: points,
            max,
            passed: record["passed"] == true,
            seed: open.seed,
            attempt: open.before.starts,
        };
        self.book().note(&lab.id, best, !open.solve && !open.tampered);
        self.save().map_err(not_kept)?;
        self.anchor().await.map_err(not_kept)?;
        let file = self.keep(&lab.id, open.seed, &record)?;
        // The cause is told to whoever has found it or given up: else one grade would be the answer to the next.
        let told_of = |id: &str| open.solve || all.iter().any(|t| t.id == id && t.green);
        let untold = lab.tasks.iter().filter(|t| !t.debrief.get(lang).is_empty() && !told_of(&t.id)).count();
        let mut debrief = self.told(&current, &debrief_facts, lang, told_of);
        let remember = lab.remember.get(lang);
        if untold == 0 && !remember.is_empty() {
            debrief.push(crate::lab::words::say(lang, crate::lab::words::Word::Remember, &[remember]));
        }
        Ok(json!(Graded { record, file, debrief, untold, found: all }))
    }

    /// Explanations of tasks, as far as these facts let them be told.
    pub(super) fn told(
        &self,
        current: &Current,
        facts: &Arc<Facts>,
        lang: &str,
        of: impl Fn(&str) -> bool,
    ) -> Vec<String> {
        let mut all = Vec::new();
        for task in current.lab.tasks.iter().filter(|t| of(&t.id)) {
            let text = current.fill(task.debrief.get(lang));
            let told = Template::compile(&text, Use::Hint, &[])
                .and_then(|t| t.render(facts, &[]).map_err(crate::lab::cel::Error::Syntax));
            all.extend(told.ok().filter(|t| !t.is_empty()));
        }
        all
    }

    fn found(
        &self,
        current: &Current,
        task: &Task,
        verdict: Result<(), usize>,
        since: Option<(u64, i64)>,
    ) -> Found {
        let now = (self.ms(), self.world.know().recorder.revision);
        let (at_ms, revision) = since.unwrap_or(now);
        let unmet = match verdict {
            Ok(()) => String::new(),
            Err(first) => {
                let that = task.checks.get(first).map_or("", |(that, _)| that.as_str());
                let text = match (that, &task.unmet) {
                    ("", Some(unmet)) => unmet.as_str(),
                    ("", None) => task.task.get(EN),
                    (that, _) => that,
                };
                current.fill(text)
            }
        };
        Found { id: task.id.clone(), weight: task.weight, green: verdict.is_ok(), at_ms, revision, unmet }
    }

    /// Does what a task's probe says, judges, and takes it back.
    async fn disturb(
        &self,
        current: &Current,
        task: &Task,
        still: &[&Task],
        found: &BTreeMap<String, Found>,
    ) -> Result<Result<(), usize>, String> {
        let (world, frame) = (&self.world, current.frame());
        // What is not so now does not stay so; nothing has to be disturbed to know that.
        if let Err(unmet) = world.settled(&exprs(task), &frame, Duration::ZERO, Duration::from_secs(1)).await
        {
            return Ok(Err(unmet));
        }
        let before = self.revision().await?;
        world.read(self.host.tap());
        self.disturbed(Some(before))?;
        {
            let mut known = world.know();
            (known.quiet, known.meddled) = (true, false);
        }
        world.know().playing = true;
        let played = self.teacher.play(&current.lines(&task.probe), &Room::default()).await;
        world.read(self.host.tap());
        world.know().playing = false;
        world.forget_answers();
        let verdict = match &played {
            Ok(()) => world.settled(&exprs(task), &frame, task.hold, task.within).await,
            Err(_) => Err(0),
        };
        // Whether it heals by itself cannot be seen while somebody lends a hand.
        world.read(self.host.tap());
        let meddled = world.know().meddled;
        let back = self.host.past(Past::back(before, current.places())).await;
        world.forget_answers();
        // What was green before is green again before anybody goes on.
        for task in still.iter().filter(|t| found.get(&t.id).is_some_and(|f| f.green)) {
            let _ = world.settled(&exprs(task), &frame, Duration::ZERO, RECOVERY_MAX).await; // if not, the next grade says so
        }
        world.read(self.host.tap());
        world.know().quiet = false;
        back?;
        self.disturbed(None)?;
        played.map_err(|e| chain_text(&e))?;
        match meddled {
            true => Err(words::say(EN, Word::Meddled, &[])),
            false => Ok(verdict),
        }
    }

    /// Keeps a record in the cluster's directory, beside those before it.
    fn keep(&self, lab: &str, seed: u64, record: &Value) -> Result<String, String> {
        let dir = self.host.place().root.join("records");
        std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let file = free_name(&dir, &format!("{lab}-{seed}"));
        crate::lab::progress::keep(&file, record).map_err(|e| chain_text(&e))?;
        Ok(file.display().to_string())
    }
}

fn excluded(what: Meddling) -> Word {
    match what {
        Meddling::Exec => Word::ByExec,
        Meddling::Ephemeral => Word::ByEphemeral,
        Meddling::Status => Word::ByStatus,
    }
}

/// `NAME.json`, or the first of `NAME-2.json`, `NAME-3.json`, … that is not there yet. Whoever asks has the desk's turn.
fn free_name(dir: &Path, name: &str) -> PathBuf {
    let further = (2u64..).map(|n| format!("{name}-{n}.json"));
    let mut names = std::iter::once(format!("{name}.json")).chain(further).map(|name| dir.join(name));
    names.find(|path| !path.exists()).unwrap_or_else(|| dir.join(name))
}

/// RFC 3339 with whole milliseconds.
fn millis(at: Timestamp) -> String {
    format!("{:.3}", at.round(jiff::Unit::Millisecond).unwrap_or(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_record_takes_another_s_place() {
        let dir = tempfile::tempdir().unwrap();
        let next = || free_name(dir.path(), "wrong-image-7").file_name().unwrap().to_owned();
        for name in ["wrong-image-7.json", "wrong-image-7-2.json", "wrong-image-7-3.json"] {
            assert_eq!(next(), name);
            std::fs::write(dir.path().join(name), "{}").unwrap();
        }
    }

    #[test]
    fn times_have_whole_milliseconds() {
        let at: Timestamp = "2026-11-20T05:02:11.0404999Z".parse().unwrap();
        assert_eq!(millis(at), "2026-11-20T05:02:11.040Z");
        assert_eq!(millis("2026-11-20T05:02:11Z".parse().unwrap()), "2026-11-20T05:02:11.000Z");
    }
}
