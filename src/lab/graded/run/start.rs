//! Starting a lab: its setup, its symptom, and then the clock.

use super::{Current, LabRun, chain_text, kinds, reads};
use crate::cel::{Expr, value};
use crate::graded::book::{Before, Open};
use crate::graded::opened::Opening;
use crate::graded::read::Lab;
use crate::graded::run::doing::Doing;
use crate::graded::run::standing::NETWORK_EVERY;
use crate::graded::seal::Chain;
use crate::graded::stopwatch::Stopwatch;
use crate::graded::words::{self, Word};
use crate::graded::world::Frame;
use cluster::guest::LessonScope;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The symptom has to show by then, and for so long before the clock starts.
pub(super) const SYMPTOM_MAX: Duration = Duration::from_secs(90);
const SYMPTOM_HOLD: Duration = Duration::from_millis(500);

/// A lab before its setup: nothing was seen of it, and its clock does not run.
fn not_begun(lab: &Lab, seed: u64, base: i64) -> Open {
    Open {
        lab: lab.id.clone(),
        seed,
        base,
        began: 0,
        started: clock::now(),
        hints: vec![],
        told: BTreeMap::new(),
        solve: false,
        undo: 0,
        changed_ms: None,
        ran_ms: 0,
        disturbed: None,
        green: BTreeMap::new(),
        chain: Chain::default(),
        tampered: false,
        gradings: 0,
        gave_up: false,
        grade: None,
        given_up: None,
        before: Before::default(),
        at_limit: None,
        meddling: BTreeSet::new(),
        reborn: BTreeMap::new(),
        restarted: BTreeMap::new(),
        restarts_lost: false,
        broken: vec![],
    }
}

impl LabRun {
    /// Starts a lab. `back`: the plan of the way back from the open one that was agreed to; null:
    /// any.
    ///
    /// # Errors
    /// A drill is open, this cluster cannot do the lab, objects are in the way, or it cannot be set
    /// up or written down. The text is for people.
    pub(super) async fn start(
        &self,
        id: &str,
        seed: Option<u64>,
        back: &Value,
        lang: &str,
    ) -> Result<Value, String> {
        let Ok(_reserved) = self.opened.try_reserve(Opening::Lab(id.into())) else {
            return Err(words::say(lang, Word::DrillOpen, &[]));
        };
        let lab = self.known(id, lang)?;
        if let Some(why) = self.lacks(lab, lang) {
            return Err(why);
        }
        // Before anything is taken away: half a start is no start.
        let (seed, variant) = self.free_seed(lab, seed, lang).await?;
        let _work = self.begin(Doing::Starting { lab: lab.id.clone(), seed });
        self.put_back(false, back, lang).await?;
        self.world.forget_answers();
        self.world.watch(kinds(lab));
        let base = self.revision().await.map_err(|why| words::say(lang, Word::SetupFailed, &[&why]))?;
        let mut open = not_begun(lab, seed, base);
        let not_kept = |why: String| words::say(lang, Word::NotKept, &[&why]);
        self.book().open = Some(open.clone());
        self.taken_up.store(true, Ordering::Relaxed);
        self.seen().clear();
        self.templates.clear();
        self.listen(lab.places(&variant), reads(lab));
        self.save().map_err(not_kept)?; // else a restart could not put back what is set up now
        // The count first: where something is held and there is no count, that was deleted.
        self.anchor().await.map_err(not_kept)?;
        self.hold_history().await.map_err(not_kept)?;
        self.set_up(lab, &variant, base, lang).await?;
        self.start_clock(&mut open);
        let mut current = Current { lab: Arc::new(lab.clone()), variant, open };
        self.note_green_at_start(&mut current);
        {
            let mut book = self.book();
            current.open.before = book.start(&lab.id, seed);
            book.open = Some(current.open.clone());
        }
        self.save().map_err(not_kept)?;
        self.anchor().await.map_err(not_kept)?;
        Ok(json!(self.view(&current, lang)))
    }

    /// Plays the lab's setup, and waits until its symptom shows.
    async fn set_up(
        &self,
        lab: &Lab,
        variant: &Map<String, Value>,
        base: i64,
        lang: &str,
    ) -> Result<(), String> {
        // What the watches know may be of before the way back.
        let setup_failed = |why: String| words::say(lang, Word::SetupFailed, &[&why]);
        self.world.recall_since(kinds(lab), base, &BTreeMap::new()).await.map_err(setup_failed)?;
        let set_up = self.teacher.play(&lab.setup_lines(variant), &LessonScope::default()).await;
        set_up.map_err(|e| setup_failed(chain_text(&e)))?;
        let frame = Frame { began: base, variant: Some(value::of_json(&Value::Object(variant.clone()))) };
        let symptom: Vec<&Expr> = lab.ready_when.iter().collect();
        let shows = self.world.settled(&symptom, &frame, SYMPTOM_HOLD, SYMPTOM_MAX).await;
        shows.map_err(|_| words::say(lang, Word::NotReady, &[]))
    }

    /// Starts the lab's clock: what was recorded before belongs to the setup.
    fn start_clock(&self, open: &mut Open) {
        let world = &self.world;
        world.forget_answers();
        world.read(self.host.tap());
        open.started = clock::now();
        let mut known = world.know();
        known.observer.recorder.begin_step();
        known.begin(Some(Stopwatch::taken_up(open.started, 0)));
        open.began = known.observer.recorder.revision.max(open.base);
        known.observer.recorder.keep_from(open.began, open.began);
    }

    /// Notes the tasks that are green from the beginning: they are so since then.
    fn note_green_at_start(&self, current: &mut Current) {
        let frame = current.frame();
        let is_green =
            |expr: &Expr| !expr.is_probe() && self.world.truth(expr, &frame, NETWORK_EVERY) == Some(true);
        let since = (0, current.open.began);
        for task in current.lab.tasks.iter().filter(|t| t.probe.is_empty()) {
            if task.checks.iter().all(|(_, expr)| is_green(expr)) {
                current.open.green.insert(task.id.clone(), since);
            }
        }
    }

    /// From now on everything is remembered, and nothing of before.
    fn listen(&self, places: Option<BTreeSet<String>>, reads: BTreeSet<String>) {
        // Also of what the pump has not read yet it is known who got a component's name.
        self.world.read(self.host.tap());
        let mut known = self.world.know();
        let who = known.who.clone();
        known.observer.recorder.start_over(who);
        known.recording = true;
        known.quiet = false;
        known.solving = false;
        known.broken.clear();
        (known.places, known.reads) = (places, reads);
        known.begin(None);
    }
}
