//! Where labs are handed out and graded. One thing at a time: a grade must not meet a reset.

use super::book::{Best, Book, Open};
use super::read::{Lab, Labs, Task};
use super::score::{self, About, Found};
use super::seal::{Chain, Key};
use super::view::{Ask, Entry, Graded, LabView, Played, Task as TaskView};
use super::words::{self, Word};
use super::world::{Frame, World};
use super::{Error, draw, seal};
use crate::clock::{self, Timestamp};
use crate::cluster::guest::{Host, Room};
use crate::cluster::undo::{Moment, Past};
use crate::lab::TEACHER;
use crate::lab::cel::{Expr, Template, Use, value};
use crate::lab::format::EN;
use crate::lab::recorder::Recorder;
use crate::lab::run::Teacher;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The symptom has to show by then, and for so long before the clock starts.
const SYMPTOM_MAX: Duration = Duration::from_secs(90);
const SYMPTOM_HOLD: Duration = Duration::from_millis(500);
/// How long what was disturbed by the judge may take to be as before.
const RECOVERY_MAX: Duration = Duration::from_secs(25);
/// `check` waits less than grading: it may be asked again.
const CHECK_MAX: Duration = Duration::from_secs(2);
/// How often tasks that need the network are looked at in between, for the time at which they became green.
const NETWORK_EVERY: Duration = Duration::from_secs(5);

pub struct Desk {
    world: Arc<World>,
    host: Host,
    teacher: Teacher,
    labs: Labs,
    book: Mutex<Book>,
    path: PathBuf,
    /// Held by whoever starts, judges or looks.
    turn: tokio::sync::Mutex<()>,
    /// What `check` saw last, by task.
    seen: Mutex<BTreeMap<String, bool>>,
}

/// The open lab with its values.
#[derive(Clone)]
struct Current {
    lab: Arc<Lab>,
    variant: Map<String, Value>,
    open: Open,
}

impl Current {
    fn frame(&self) -> Frame {
        Frame { began: self.open.began, variant: Some(value::of_json(&Value::Object(self.variant.clone()))) }
    }
    /// A text of the lab; the lab was read with all its keys known.
    fn fill(&self, text: &str) -> String {
        fill(text, &self.variant)
    }
    fn lines(&self, lines: &[String]) -> Vec<String> {
        lines.iter().map(|l| self.fill(l)).collect()
    }
}

fn fill(text: &str, variant: &Map<String, Value>) -> String {
    draw::fill(text, variant).unwrap_or_else(|_| text.to_string())
}

fn exprs(task: &Task) -> Vec<&Expr> {
    task.checks.iter().map(|(_, e)| e).collect()
}

fn chain_text(error: &dyn std::error::Error) -> String {
    crate::cluster::chain(error)
}

impl Desk {
    pub fn open(world: Arc<World>, host: Host) -> Result<Desk, Error> {
        let teacher = Teacher { place: host.place().clone(), kubeconfig: host.kubeconfig(TEACHER)? };
        let path = host.place().root.join("labs.json");
        let book = Book::load(&path)?;
        if let Some(open) = &book.open {
            let mut known = world.know();
            known.recording = true;
            known.chain = open.chain.clone();
            known.changed = open.changed;
        }
        Ok(Desk {
            world,
            host,
            teacher,
            labs: Labs::load(),
            book: Mutex::new(book),
            path,
            turn: tokio::sync::Mutex::default(),
            seen: Mutex::default(),
        })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<String, bool>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn save(&self) {
        let mut book = self.book();
        if let Some(open) = &mut book.open {
            let known = self.world.know();
            open.chain = known.chain.clone();
            open.changed = known.changed;
            open.undo = open.undo.max(known.journeys.len() as u32);
        }
        if let Err(error) = book.save(&self.path) {
            tracing::error!(error = chain_text(&error), "labs cannot be kept");
        }
    }

    /// The open lab, if its clock runs.
    fn current(&self) -> Option<Current> {
        let open = self.book().open.clone().filter(|o| o.began > 0)?;
        let lab = self.labs.get(&open.lab)?;
        let variant = lab.variant(open.seed).ok()?;
        Some(Current { lab: Arc::new(lab.clone()), variant, open })
    }

    /// The open lab, which has to be the one that is named.
    fn named(&self, id: Option<&str>, seed: Option<u64>, lang: &str) -> Result<Current, String> {
        let Some(current) = self.current() else {
            let half = self.book().open.as_ref().map(|o| o.lab.clone());
            return Err(match (half, id) {
                (Some(half), _) => words::say(lang, Word::NotSetUp, &[&half]),
                (None, Some(id)) if self.labs.get(id).is_none() => words::say(lang, Word::NoSuchLab, &[id]),
                _ => words::say(lang, Word::NoneOpen, &[]),
            });
        };
        let other = id.is_some_and(|id| id != current.lab.id) || seed.is_some_and(|s| s != current.open.seed);
        if other {
            let with = [current.lab.id.as_str(), &current.open.seed.to_string()];
            return Err(words::say(lang, Word::OtherOpen, &with));
        }
        Ok(current)
    }

    pub async fn answer(&self, ask: Ask, lang: &str) -> Result<Value, String> {
        if matches!(ask, Ask::List) {
            return Ok(json!(self.list(lang)));
        }
        if matches!(ask, Ask::Show) {
            return Ok(json!(self.current().map(|c| self.view(&c, lang)).unwrap_or_default()));
        }
        let patience = Duration::from_secs(10); // of those who only look
        let turn = tokio::time::timeout(patience, self.turn.lock());
        let _turn = turn.await.map_err(|_| words::say(lang, Word::Busy, &[]))?;
        match ask {
            Ask::Start { id, seed } => self.start(&id, seed, lang).await,
            Ask::Check { id, seed } => self.check(self.named(id.as_deref(), seed, lang)?, lang).await,
            Ask::Grade { id, seed, learner } => {
                self.grade(self.named(id.as_deref(), seed, lang)?, learner, lang).await
            }
            Ask::Hint { id } => self.hint(self.named(id.as_deref(), None, lang)?, lang),
            Ask::Solve { id, seed } => {
                let current = self.named(id.as_deref(), seed, lang)?;
                if let Some(open) = &mut self.book().open {
                    open.solve = true;
                }
                self.world.know().solving = true;
                self.save();
                Ok(json!(Played {
                    lines: current.lines(&Lab::lines(&current.lab.solution, &current.variant))
                }))
            }
            Ask::Solved => {
                self.world.know().solving = false;
                Ok(Value::Null)
            }
            Ask::List | Ask::Show => Ok(Value::Null), // answered above
        }
    }

    fn list(&self, lang: &str) -> Vec<Entry> {
        let book = self.book();
        let entry = |lab: &Lab| {
            let best = book.best.get(&lab.id);
            Entry {
                score: best.map(|b| b.score),
                passed: best.is_some_and(|b| b.passed),
                open: book.open.as_ref().is_some_and(|o| o.lab == lab.id),
                ..entry(lab, lang)
            }
        };
        self.labs.labs.iter().map(entry).collect()
    }

    fn view(&self, current: &Current, lang: &str) -> LabView {
        let (lab, open) = (&current.lab, &current.open);
        let limit = i64::from(lab.minutes) * 60;
        let ran = clock::now().as_second() - open.started.as_second();
        let seen = self.seen();
        LabView {
            started: clock::rfc3339(open.started),
            left_s: limit - ran,
            hints: open
                .hints
                .iter()
                .map(|id| self.hint_text(current, id, lang).unwrap_or_default())
                .collect(),
            hints_left: lab.hints.len().saturating_sub(open.hints.len()),
            tasks: lab
                .tasks
                .iter()
                .map(|t| TaskView {
                    id: t.id.clone(),
                    weight: t.weight,
                    task: current.fill(t.task.get(lang)),
                    green: seen.get(&t.id).copied(),
                })
                .collect(),
            ..sheet(lab, open.seed, lang)
        }
    }

    // -- starting

    async fn start(&self, id: &str, seed: Option<u64>, lang: &str) -> Result<Value, String> {
        let lab = self.labs.get(id).ok_or_else(|| {
            let broken = self.labs.faults.iter().find(|f| f.file.to_string_lossy().contains(id));
            broken.map_or_else(|| words::say(lang, Word::NoSuchLab, &[id]), ToString::to_string)
        })?;
        if let Some(need) = self.lacks(lab) {
            return Err(words::say(lang, Word::Lacks, &[&need]));
        }
        let seed = seed.unwrap_or_else(|| crate::rng::Rng::from_os().range(1, 10_000));
        let variant = lab.variant(seed)?;
        self.put_back(lang).await?;
        let world = &self.world;
        world.forget_answers();
        world.watch(lab.exprs().flat_map(|e| e.kinds.iter().cloned()));
        let base = self.revision().await?;
        let mut open = Open {
            lab: lab.id.clone(),
            seed,
            base,
            began: 0,
            started: clock::now(),
            hints: vec![],
            solve: false,
            undo: 0,
            changed: None,
            green: BTreeMap::new(),
            chain: Chain::default(),
        };
        self.book().open = Some(open.clone());
        self.seen().clear();
        self.listen();
        self.save();
        let filled = |lines: &[String]| lines.iter().map(|l| fill(l, &variant)).collect::<Vec<_>>();
        let set_up = self.teacher.play(&filled(&Lab::lines(&lab.setup, &variant)), &Room::default()).await;
        set_up.map_err(|e| words::say(lang, Word::SetupFailed, &[&chain_text(&e)]))?;
        let frame = Frame { began: base, variant: Some(value::of_json(&Value::Object(variant.clone()))) };
        let symptom: Vec<&Expr> = lab.ready_when.iter().collect();
        if world.settled(&symptom, &frame, SYMPTOM_HOLD, SYMPTOM_MAX).await.is_err() {
            return Err(words::say(lang, Word::NotReady, &[]));
        }
        world.forget_answers();
        world.read(self.host.tap());
        {
            // The clock starts: what was done so far is nobody's story.
            let mut known = world.know();
            known.recorder.begin_step();
            known.chain = Chain::default();
            known.changed = None;
            known.journeys.clear();
            open.began = known.recorder.revision.max(base);
        }
        open.started = clock::now();
        let mut current = Current { lab: Arc::new(lab.clone()), variant, open };
        let frame = current.frame();
        for task in lab.tasks.iter().filter(|t| t.probe.is_empty()) {
            // What is so from the beginning is so since then.
            if task
                .checks
                .iter()
                .all(|(_, e)| !e.is_probe() && world.truth(e, &frame, NETWORK_EVERY) == Some(true))
            {
                current.open.green.insert(task.id.clone(), (0, current.open.began));
            }
        }
        self.book().open = Some(current.open.clone());
        self.save();
        Ok(json!(self.view(&current, lang)))
    }

    /// From now on everything is remembered, and nothing of before.
    fn listen(&self) {
        let seq = self.host.tap().since(0).last().map_or(0, |r| r.seq);
        let mut known = self.world.know();
        known.recorder = Recorder::default();
        known.recorder.seq = seq;
        known.recording = true;
        known.quiet = false;
        known.solving = false;
        known.chain = Chain::default();
        known.changed = None;
        known.journeys.clear();
        known.recall();
    }

    fn lacks(&self, lab: &Lab) -> Option<String> {
        let spec = self.host.offers();
        let met = |need: &&String| {
            let at_least = |name: &str, have: u8| {
                let rest = need.strip_prefix(name)?.trim_start_matches(['>', '=', ' ']);
                Some(rest.parse::<u8>().is_ok_and(|n| have >= n))
            };
            need.as_str() == "kernel"
                || at_least("workers", spec.workers)
                    .or_else(|| at_least("control-planes", spec.control_planes))
                    .unwrap_or(false)
        };
        lab.requires.iter().find(|n| !met(n)).cloned()
    }

    /// The cluster as it was before the open lab.
    async fn put_back(&self, lang: &str) -> Result<(), String> {
        let Some(open) = self.book().open.clone() else { return Ok(()) };
        self.world.know().recording = false;
        let back = self.host.past(Past::Rewind { to: Moment::Revision(open.base) }).await;
        back.map_err(|why| words::say(lang, Word::NoReset, &[&open.lab, &why]))?;
        self.book().open = None;
        self.save();
        Ok(())
    }

    /// The store's newest revision.
    async fn revision(&self) -> Result<i64, String> {
        let steps = self.host.past(Past::Steps).await?;
        steps["revision"].as_i64().ok_or_else(|| "the store does not say its revision".to_string())
    }

    // -- looking

    async fn check(&self, current: Current, lang: &str) -> Result<Value, String> {
        self.world.read(self.host.tap());
        let frame = current.frame();
        let still = current.lab.tasks.iter().filter(|t| t.probe.is_empty());
        let looked = still.map(|task| {
            let frame = &frame;
            async move {
                let green =
                    self.world.settled(&exprs(task), frame, task.hold, task.within.min(CHECK_MAX)).await;
                (task.id.clone(), green.is_ok())
            }
        });
        let found = futures::future::join_all(looked).await;
        *self.seen() = found.into_iter().collect();
        self.note_green(&current);
        Ok(json!(self.view(&current, lang)))
    }

    /// Brings the times at which tasks became green up to date with what was seen.
    fn note_green(&self, current: &Current) {
        let revision = self.world.know().recorder.revision;
        let at = current.open.ms(clock::now());
        let mut changed = false;
        if let Some(open) = &mut self.book().open {
            for (task, green) in self.seen().iter() {
                changed |= match green {
                    true if !open.green.contains_key(task) => {
                        open.green.insert(task.clone(), (at, revision)).is_none()
                    }
                    false => open.green.remove(task).is_some(),
                    true => false,
                };
            }
        }
        if changed {
            self.save();
        }
    }

    /// Looks at the open lab for ever, to know since when each task is green. What needs the network is looked at less often.
    pub async fn attend(&self) {
        let mut follow = self.world.follow();
        let mut network = Instant::now();
        loop {
            let _ = tokio::time::timeout(Duration::from_secs(1), follow.changed()).await; // either is a reason to look
            clock::sleep(Duration::from_millis(200)).await;
            follow.mark_unchanged();
            let Ok(_turn) = self.turn.try_lock() else { continue };
            let Some(current) = self.current() else { continue };
            let frame = current.frame();
            let mut truths = BTreeMap::new();
            let asks = network.elapsed() >= NETWORK_EVERY;
            for task in current.lab.tasks.iter().filter(|t| t.probe.is_empty()) {
                let all = exprs(task);
                if !all.iter().any(|e| e.is_probe()) {
                    let told: Vec<_> =
                        all.iter().map(|e| self.world.truth(e, &frame, NETWORK_EVERY)).collect();
                    // What cannot be told at this moment changes nothing.
                    if told.iter().all(Option::is_some) {
                        truths.insert(task.id.clone(), told.iter().all(|t| *t == Some(true)));
                    }
                } else if asks {
                    let green = self.world.settled(&all, &frame, Duration::ZERO, Duration::ZERO).await;
                    truths.insert(task.id.clone(), green.is_ok());
                }
            }
            if asks {
                network = Instant::now();
            }
            self.seen().extend(truths);
            self.note_green(&current);
        }
    }

    fn hint(&self, current: Current, lang: &str) -> Result<Value, String> {
        let frame = current.frame();
        let mut rest: Vec<_> = current
            .lab
            .hints
            .iter()
            .filter(|h| !current.open.hints.contains(&h.id))
            .filter(|h| {
                h.when.as_ref().is_none_or(|w| self.world.truth(w, &frame, NETWORK_EVERY) == Some(true))
            })
            .collect();
        rest.sort_by_key(|h| h.tier);
        let sayable = rest.into_iter().find(|h| self.hint_text(&current, &h.id, lang).is_some());
        let hint = sayable.ok_or_else(|| words::say(lang, Word::NoHint, &[]))?;
        if let Some(open) = &mut self.book().open {
            open.hints.push(hint.id.clone());
        }
        self.save();
        let current = self.current().ok_or_else(|| words::say(lang, Word::NoneOpen, &[]))?;
        Ok(json!(self.view(&current, lang)))
    }

    fn hint_text(&self, current: &Current, id: &str, lang: &str) -> Option<String> {
        let hint = current.lab.hints.iter().find(|h| h.id == id)?;
        let text = current.fill(hint.say.get(lang));
        let facts = self.world.facts(&current.frame());
        Template::compile(&text, Use::Hint, &[]).ok()?.render(&facts, &[]).ok()
    }

    // -- judging

    async fn grade(&self, current: Current, learner: String, lang: &str) -> Result<Value, String> {
        self.world.read(self.host.tap());
        let ended = clock::now();
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
        self.note_green(&current);
        let green = self.book().open.as_ref().map(|o| o.green.clone()).unwrap_or_default();
        for (task, verdict) in still.iter().zip(judged) {
            let since = green.get(&task.id).copied();
            found.insert(task.id.clone(), self.found(&current, task, verdict, since));
        }
        let debrief_facts = self.world.facts(&frame); // before the judge's own doings
        for task in lab.tasks.iter().filter(|t| !t.probe.is_empty()) {
            let verdict = self.disturb(&current, task, &still, &found).await;
            let told = match verdict {
                Ok(verdict) => self.found(&current, task, verdict, None),
                Err(why) => Found {
                    unmet: words::say(EN, Word::ProbeFailed, &[&why]),
                    ..self.found(&current, task, Err(0), None)
                },
            };
            found.insert(task.id.clone(), told);
        }
        let mut all: Vec<Found> = lab.tasks.iter().filter_map(|t| found.remove(&t.id)).collect();
        self.save();
        let open = self.book().open.clone().unwrap_or(current.open.clone());
        let limit_ms = u64::from(lab.minutes) * 60_000;
        score::in_time(&mut all, limit_ms, open.changed.map(|at| open.ms(at)));
        let mut drawn = current.variant.clone();
        drawn.retain(|key, _| lab.choices.iter().any(|(k, _)| k == key));
        let about = About {
            lab: lab.id.clone(),
            seed: open.seed,
            variant: drawn,
            learner,
            started: millis(open.started),
            ended: millis(ended),
            limit_s: u64::from(lab.minutes) * 60,
            used: open.used(),
            content: lab.content.clone(),
            trace: json!({"from": open.began, "to": self.world.know().recorder.revision, "records": open.chain.records, "head": open.chain.head}),
        };
        let mut record = score::record(&about, &all);
        let key = Key::load_or_create(&self.host.place().pki()).map_err(|e| chain_text(&e))?;
        key.sign(&mut record);
        let record = Value::Object(record);
        let (points, max) = score::points(&all);
        let best = Best { score: points, max, passed: record["passed"] == true, seed: open.seed };
        self.book().note(&lab.id, best, open.solve);
        self.save();
        let file = self.keep(&lab.id, open.seed, &record)?;
        let mut debrief = Vec::new();
        for task in &lab.tasks {
            let text = current.fill(task.debrief.get(lang));
            let told = Template::compile(&text, Use::Hint, &[])
                .and_then(|t| t.render(&debrief_facts, &[]).map_err(crate::lab::cel::Error::Syntax));
            debrief.extend(told.ok().filter(|t| !t.is_empty()));
        }
        let remember = lab.remember.get(lang);
        if !remember.is_empty() {
            debrief.push(crate::lab::words::say(lang, crate::lab::words::Word::Remember, &[remember]));
        }
        Ok(json!(Graded { record, file, debrief, found: all }))
    }

    fn found(
        &self,
        current: &Current,
        task: &Task,
        verdict: Result<(), usize>,
        since: Option<(u64, i64)>,
    ) -> Found {
        let now = (current.open.ms(clock::now()), self.world.know().recorder.revision);
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
        world.know().quiet = true;
        let played = self.teacher.play(&current.lines(&task.probe), &Room::default()).await;
        world.forget_answers();
        let verdict = match &played {
            Ok(()) => world.settled(&exprs(task), &frame, task.hold, task.within).await,
            Err(_) => Err(0),
        };
        let back = self.host.past(Past::Rewind { to: Moment::Revision(before) }).await;
        world.forget_answers();
        // What was green before is green again before anybody goes on.
        for task in still.iter().filter(|t| found.get(&t.id).is_some_and(|f| f.green)) {
            let _ = world.settled(&exprs(task), &frame, Duration::ZERO, RECOVERY_MAX).await; // if not, the next grade says so
        }
        world.read(self.host.tap());
        world.know().quiet = false;
        back?;
        played.map_err(|e| chain_text(&e))?;
        Ok(verdict)
    }

    /// Keeps a record in the cluster's directory.
    fn keep(&self, lab: &str, seed: u64, record: &Value) -> Result<String, String> {
        let dir = self.host.place().root.join("records");
        std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let file = dir.join(format!("{lab}-{seed}.json"));
        crate::lab::progress::keep(&file, record).map_err(|e| chain_text(&e))?;
        Ok(file.display().to_string())
    }

    /// The fingerprint of this cluster's key.
    pub fn fingerprint(&self) -> Result<String, Error> {
        seal::Key::load_or_create(&self.host.place().pki()).map(|k| k.fingerprint())
    }
}

/// RFC 3339 with whole milliseconds.
fn millis(at: Timestamp) -> String {
    format!("{:.3}", at.round(jiff::Unit::Millisecond).unwrap_or(at))
}

/// A lab in the list, as far as its file tells.
pub fn entry(lab: &Lab, lang: &str) -> Entry {
    Entry {
        id: lab.id.clone(),
        title: lab.title.get(lang).into(),
        track: "labs".into(),
        languages: lab.languages.clone(),
        level: lab.level,
        minutes: lab.minutes,
        row: lab.row.clone(),
        needs: lab.needs.clone(),
        tasks: lab.tasks.len(),
        max: lab.tasks.iter().map(|t| t.weight).sum(),
        ..Entry::default()
    }
}

/// A lab as it would be drawn from a seed: what `show` needs, without a cluster.
pub fn sheet(lab: &Lab, seed: u64, lang: &str) -> LabView {
    let variant = lab.variant(seed).unwrap_or_default();
    LabView {
        id: lab.id.clone(),
        title: fill(lab.title.get(lang), &variant),
        level: lab.level,
        minutes: lab.minutes,
        seed,
        text: fill(lab.intro.get(lang), &variant),
        tasks: lab
            .tasks
            .iter()
            .map(|t| TaskView {
                id: t.id.clone(),
                weight: t.weight,
                task: fill(t.task.get(lang), &variant),
                green: None,
            })
            .collect(),
        hints_left: lab.hints.len(),
        ..LabView::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_whole_milliseconds() {
        let at: Timestamp = "2026-11-20T05:02:11.0404999Z".parse().unwrap();
        assert_eq!(millis(at), "2026-11-20T05:02:11.040Z");
        assert_eq!(millis("2026-11-20T05:02:11Z".parse().unwrap()), "2026-11-20T05:02:11.000Z");
    }
}
