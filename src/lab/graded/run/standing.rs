//! Looking without judging: how the tasks stand, since when, and which hint is next.

use super::{Current, LabRun, exprs, follow, kinds};
use crate::blocking::in_place;
use crate::cel::{Expr, facts};
use crate::format::{EN, OTHERS};
use crate::graded::book::Open;
use crate::graded::intents;
use crate::graded::read::{Hint, Lab, Task};
use crate::graded::view;
use crate::graded::words::{self, Word};
use crate::graded::world::Frame;
use crate::lines::objects;
use clock::Instant;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// How often tasks that need the network are looked at in between, to date when they became green.
pub(super) const NETWORK_EVERY: Duration = Duration::from_secs(5);

/// `check` waits less than grading: it may be asked again.
const CHECK_MAX: Duration = Duration::from_secs(2);

/// `lab solve` waits for half a minute; what asks for more is a mistake.
const AWAIT_MAX: Duration = Duration::from_secs(5 * 60);

/// Returns the tasks without a probe: how they stand can be seen without disturbing anything.
fn seen_alone(lab: &Lab) -> impl Iterator<Item = &Task> {
    lab.tasks.iter().filter(|task| task.probe.is_empty())
}

fn needs_network(task: &Task) -> bool {
    exprs(task).iter().any(|expr| expr.is_probe())
}

/// The open lab's time is written down at least so often.
const SAVE_TIME_MS: u64 = 10_000;

impl LabRun {
    /// Looks how the tasks stand that can be seen without disturbing anything.
    ///
    /// # Errors
    /// It cannot be written down what people had written when the time was over.
    pub(super) async fn check(&self, current: Current, lang: &str) -> Result<Value, String> {
        self.world.read(self.host.tap());
        let not_kept = |why: String| words::say(lang, Word::NotKept, &[&why]);
        self.note_limit(&current).await.map_err(not_kept)?;
        let frame = current.frame();
        let looked = seen_alone(&current.lab).map(|task| {
            let frame = &frame;
            async move {
                let green =
                    self.world.settled(&exprs(task), frame, task.hold, task.within.min(CHECK_MAX)).await;
                (task.id.clone(), green.is_ok())
            }
        });
        let found = futures::future::join_all(looked).await;
        self.saw(found.into_iter().collect());
        Ok(json!(self.view(&current, lang)))
    }

    /// Waits for a moment in which every task that can be seen is green, up to [`AWAIT_MAX`];
    /// returns whether there was one. Others may ask meanwhile.
    pub(super) async fn wait_for_green(&self, current: &Current, within: Duration) -> bool {
        self.world.read(self.host.tap());
        let all: Vec<&Expr> = seen_alone(&current.lab).flat_map(exprs).collect();
        let within = within.min(AWAIT_MAX);
        self.world.settled(&all, &current.frame(), Duration::ZERO, within).await.is_ok()
    }

    /// How the tasks stand that can be seen; `together`: all of them were green just now.
    pub(super) fn all_green(&self, current: Current, together: bool, lang: &str) -> Result<Value, String> {
        let frame = current.frame();
        let green = |task: &Task| {
            together || exprs(task).iter().all(|e| self.world.truth(e, &frame, NETWORK_EVERY) == Some(true))
        };
        let found =
            in_place(|| seen_alone(&current.lab).map(|task| (task.id.clone(), green(task))).collect());
        self.saw(found);
        Ok(json!(self.view(&current, lang)))
    }

    /// Says that something is gone that was there when the clock started, that no controller brings
    /// back, and that a task looks at which is not done; and how to get it back. What the solution
    /// takes away is meant to go.
    pub(super) fn missing_objects(&self, current: &Current, lang: &str) -> Option<String> {
        let (lab, open) = (&current.lab, &current.open);
        let ways = [&lab.solution, &lab.also];
        let lines = ways.iter().flat_map(|way| Lab::lines(way, &current.variant)).collect::<Vec<_>>();
        let own_work = objects::made_or_deleted(&current.lines(&lines));
        let places = current.places();
        let seen = self.seen().clone();
        let left = |task: &&Task| seen.get(&task.id) != Some(&true);
        let asked: Vec<&Expr> = lab.tasks.iter().filter(left).flat_map(exprs).collect();
        let variant = current.frame().variant.unwrap_or(cel::Value::Null);
        let known = self.world.know();
        let mut names = Vec::new();
        for kind in kinds(lab).iter().filter_map(|kind| facts::kind(kind)) {
            if intents::DERIVED.contains(&kind.plural) {
                continue;
            }
            let here = known.gone(kind, open.began).into_iter().filter(|((namespace, name), object)| {
                places.as_ref().is_none_or(|places| places.contains(namespace))
                    && !own_work.contains(&objects::key(&kind.qualified(), namespace, name))
                    && asked.iter().any(|expr| expr.may_look_at(kind, &object.json, &variant))
            });
            names.extend(here.map(|((_, name), _)| format!("{}/{name}", kind.plural)));
        }
        let with = [names.join(", "), lab.id.clone(), open.seed.to_string()];
        (!names.is_empty()).then(|| words::say(lang, Word::PartsGone, &with.each_ref().map(String::as_str)))
    }

    /// Takes in how all tasks stand that can be seen, and tells it. Tasks with a probe keep what
    /// [`LabRun::attend`] saw of them: others may count together with them only.
    fn saw(&self, found: BTreeMap<String, bool>) {
        self.seen().extend(found);
        self.note_green();
        self.tell_followers();
    }

    /// Brings the times at which tasks became green up to date with what was seen. Tasks with a
    /// probe are noted, too: from then on they hold as far as is known without disturbing anything.
    pub(super) fn note_green(&self) {
        let revision = self.world.know().observer.recorder.revision;
        let at = self.ms();
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
            self.save_or_say();
        }
    }

    /// Looks at the open lab for ever, to know since when each task is green. What needs the
    /// network is looked at less often.
    pub(crate) async fn attend(&self) {
        let mut follow = self.world.follow();
        let mut network = Instant::now();
        let mut time = follow::Time::default();
        loop {
            // Either is a reason to look.
            let is_changed = clock::limit(Duration::from_secs(1), follow.changed()).await.is_some();
            clock::pause(Duration::from_millis(200)).await;
            follow.mark_unchanged();
            // Before anything is written: with each writing the book counts on, and an older copy
            // could count itself level with the store.
            if let Err(why) = self.compare().await {
                tracing::debug!(why, "what is kept of labs cannot be compared with the store yet");
                continue;
            }
            // What the learner did outlives this process, also where it turned nothing green; so
            // does the time, also where nothing was done.
            if self.world.know().unsaved || self.is_time_unsaved() {
                self.save_or_say();
            }
            let Ok(_turn) = self.turn.try_lock() else { continue };
            if let Err(why) = self.guard_anchor().await {
                tracing::debug!(why, "the store's count of labs cannot be looked at yet");
            }
            self.anchor_if_ahead().await;
            if let Err(why) = self.take_up(EN).await {
                tracing::debug!(why, "the open lab waits");
                continue;
            }
            let Some(current) = self.current() else { continue };
            if let Err(why) = self.note_limit(&current).await {
                tracing::debug!(why, "the end of the time cannot be noted yet");
            }
            let mut truths = self.look_without_network(&current);
            if network.elapsed() >= NETWORK_EVERY {
                truths.extend(self.look_over_network(&current).await);
                network = Instant::now();
            }
            let before = self.seen().clone();
            self.seen().extend(truths);
            self.note_green();
            // What the hints depend on changes as well.
            if is_changed || *self.seen() != before || time.has_jumped(self.ms()) {
                self.tell_followers();
            }
        }
    }

    /// Returns whether the open lab's clock has run for a while since it was written down.
    fn is_time_unsaved(&self) -> bool {
        let kept = self.book().open.as_ref().map(|open| open.ran_ms);
        kept.is_some_and(|kept| self.ms().saturating_sub(kept) > SAVE_TIME_MS)
    }

    /// How the tasks stand that need no answers from the network. What is not known at this moment
    /// changes nothing.
    fn look_without_network(&self, current: &Current) -> BTreeMap<String, bool> {
        let frame = current.frame();
        let truth = |e: &&Expr| self.world.truth(e, &frame, NETWORK_EVERY);
        let tasks = current.lab.tasks.iter().filter(|task| !needs_network(task));
        let told = |task: &Task| -> Option<(String, bool)> {
            let told: Option<Vec<bool>> = exprs(task).iter().map(truth).collect();
            Some((task.id.clone(), told?.into_iter().all(|is_true| is_true)))
        };
        in_place(|| tasks.filter_map(told).collect())
    }

    /// How the others stand. All are looked at together: each may wait for answers that do not
    /// come, and no command gets its turn meanwhile.
    async fn look_over_network(&self, current: &Current) -> BTreeMap<String, bool> {
        let frame = current.frame();
        let looks = current.lab.tasks.iter().filter(|task| needs_network(task)).map(|task| {
            let frame = &frame;
            async move {
                let green = self.world.settled(&exprs(task), frame, Duration::ZERO, Duration::ZERO).await;
                (task.id.clone(), green.is_ok())
            }
        });
        futures::future::join_all(looks).await.into_iter().collect()
    }

    /// Shows the next hint that fits.
    ///
    /// # Errors
    /// There is none, or it cannot be noted.
    pub(super) async fn hint(&self, current: Current, lang: &str) -> Result<Value, String> {
        let fitting = self.fitting(&current, lang);
        let hint = fitting.first().ok_or_else(|| self.no_hint(&current, lang))?;
        let not_kept = |why: String| words::say(lang, Word::NotKept, &[&why]);
        let say = |lang: &&str| Some((told_key(lang, &hint.id), self.hint_text(&current, &hint.id, lang)?));
        let told: Vec<_> = [EN].iter().chain(OTHERS).filter_map(say).collect();
        let shown = |open: &mut Open| {
            open.hints.push(hint.id.clone());
            open.told.extend(told);
        };
        self.note(shown).map_err(not_kept)?;
        self.anchor().await.map_err(not_kept)?;
        let current = self.current().ok_or_else(|| words::say(lang, Word::NoneOpen, &[]))?;
        Ok(json!(self.view(&current, lang)))
    }

    /// Why there is no hint. Unless all tasks that can be seen are green, `lab check` is the way
    /// on: the learner may not know what is missing, and a hint may fit later.
    fn no_hint(&self, current: &Current, lang: &str) -> String {
        let shown = self.view(current, lang);
        if shown.is_through() {
            return words::say(lang, Word::NoHintGraded, &[]);
        }
        let is_done = |(task, shown): (&Task, &view::Task)| {
            (shown.green == Some(true) || !task.probe.is_empty()) && shown.told.is_empty()
        };
        let word = match current.lab.tasks.iter().zip(&shown.tasks).all(is_done) {
            true => Word::NoHint,
            false => Word::NoHintFits,
        };
        words::say(lang, word, &[])
    }

    /// The hints that could be given now, the next one first.
    pub(super) fn fitting<'a>(&self, current: &'a Current, lang: &str) -> Vec<&'a Hint> {
        let frame = current.frame();
        let is_so = |when: &Expr| self.is_so(when, &frame);
        let is_sayable = |hint: &Hint| self.hint_text(current, &hint.id, lang).is_some();
        in_place(|| {
            fitting(&current.lab, &current.open.hints, |hint| {
                hint.when.as_ref().is_none_or(is_so) && is_sayable(hint)
            })
        })
    }

    /// True if the condition of a hint holds. An answer that is too old to count is asked for
    /// again, and the old one counts until the new one is here. Otherwise a hint about
    /// `faults()` would be missing for as long as its answer is older than the world accepts and
    /// younger than [`NETWORK_EVERY`].
    fn is_so(&self, when: &Expr, frame: &Frame) -> bool {
        let look = |renew| self.world.truth(when, frame, renew);
        look(NETWORK_EVERY).or_else(|| look(Duration::ZERO)).or_else(|| look(NETWORK_EVERY)) == Some(true)
    }

    /// What a hint that was shown said then. One of an older book says what it would say now.
    pub(super) fn told_text(&self, current: &Current, id: &str, lang: &str) -> Option<String> {
        let told = current.open.told.get(&told_key(lang, id)).cloned();
        told.or_else(|| self.hint_text(current, id, lang))
    }

    /// What a hint says now. `None`: there is none, or a value of it is not known.
    pub(super) fn hint_text(&self, current: &Current, id: &str, lang: &str) -> Option<String> {
        let hint = current.lab.hints.iter().find(|h| h.id == id)?;
        let text = current.fill(hint.say.get(lang));
        let facts = self.world.facts(&current.frame());
        self.templates.get(&text)?.render(&facts, &[]).ok()
    }
}

/// The key of [`Open::told`].
fn told_key(lang: &str, id: &str) -> String {
    format!("{lang}/{id}")
}

/// The hints of a lab that were not `shown` and that fit, by their tiers.
fn fitting<'a>(lab: &'a Lab, shown: &[String], fits: impl Fn(&Hint) -> bool) -> Vec<&'a Hint> {
    let mut rest: Vec<&Hint> = lab.hints.iter().filter(|h| !shown.contains(&h.id) && fits(h)).collect();
    rest.sort_by_key(|h| h.tier);
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::Use;
    use crate::graded::Opened;
    use crate::graded::read::Labs;
    use crate::graded::seal::Chain;
    use crate::graded::view::Ask;
    use crate::graded::world::World;
    use crate::stage::{self, Stage};
    use client::testing::{Scripted, refusal};
    use cluster::guest::Host;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use task::Crew;

    /// Of broken-selector the learner deletes the Deployment that is there to mislead.
    #[test]
    fn a_task_looks_at_what_it_names_and_not_at_the_decoys() {
        let labs = Labs::load();
        let lab = labs.get("broken-selector").unwrap();
        let variant = lab.variant(7).unwrap();
        let text = |key: &str| variant[key].as_str().unwrap().to_string();
        let values = crate::cel::value::of_json(&Value::Object(variant.clone()));
        let asked: Vec<&Expr> = lab.tasks.iter().flat_map(exprs).collect();
        let is_asked = |kind: &str, name: &str| {
            let object = json!({"metadata": {"namespace": text("ns"), "name": name}});
            let kind = facts::kind(kind).unwrap();
            asked.iter().any(|expr| expr.may_look_at(kind, &object, &values))
        };
        assert!(is_asked("Deployment", &text("app")) && is_asked("Service", &text("app")));
        assert!(is_asked("Pod", "tester"));
        assert!(!is_asked("Deployment", &format!("{}-old", text("app"))));
    }

    /// Labs beside an API server that accepts connections and answers nothing.
    async fn labs_on_a_stage(
        directory: &std::path::Path,
    ) -> (tokio::net::TcpListener, Crew, Arc<World>, LabRun) {
        let (silent, address) = stage::silent().await;
        let past = stage::answer(|_| Box::pin(std::future::ready(Ok(json!({"revision": 20, "oldest": 1})))));
        let host: Host = Stage::new(directory, address, past).await;
        let crew = Crew::new("labs");
        let world = World::start(&crew, &host).unwrap();
        let run = LabRun::open(world.clone(), host, Opened::default()).unwrap();
        (silent, crew, world, run)
    }

    /// `lab solve` was interrupted while it waited: the next command does not wait for it.
    #[tokio::test]
    async fn a_wait_for_green_tasks_keeps_nobody_from_asking() {
        let dir = tempfile::tempdir().unwrap();
        let (_silent, crew, _, run) = labs_on_a_stage(dir.path()).await;
        let open = json!({"lab": "orphans", "seed": 7, "base": 5, "began": 10, "started": "2026-01-01T00:00:00Z",
            "hints": [], "solve": false, "undo": 0, "green": {}, "chain": Chain::default()});
        run.book().open = Some(serde_json::from_value(open).unwrap());
        run.taken_up.store(true, Ordering::Relaxed);
        let wait = run.answer(Ask::Await { within_ms: u64::MAX }, "en");
        tokio::select! {
            biased;
            told = wait => panic!("nothing is green: {told:?}"),
            told = run.answer(Ask::Solved, "en") => assert_eq!(told, Ok(Value::Null)),
        }
        crew.kill();
    }

    /// It would hide the score on the terminal on which the record is verified.
    #[tokio::test]
    async fn a_record_has_no_odd_name() {
        let dir = tempfile::tempdir().unwrap();
        let (_silent, crew, _, run) = labs_on_a_stage(dir.path()).await;
        let grade =
            |learner: &str| Ask::Grade { id: None, seed: None, learner: learner.into(), parts: false };
        for odd in ["Kim\u{1b}[8m", "Kim\nPark", "Kim\u{202e}001", &"k".repeat(201)] {
            let told = run.answer(grade(odd), "en").await.unwrap_err();
            assert!(told.contains("at most 200 characters"), "{told}");
        }
        let told = run.answer(grade("김 Ada"), "en").await.unwrap_err();
        assert!(told.contains("no lab is open"), "{told}");
        crew.kill();
    }

    /// All hints were shown, and nothing is done.
    #[tokio::test]
    async fn a_learner_without_a_hint_is_sent_to_the_check_while_a_task_is_red() {
        let dir = tempfile::tempdir().unwrap();
        let (_silent, crew, _, run) = labs_on_a_stage(dir.path()).await;
        let lab = run.labs.get("orphans").unwrap();
        let hints: Vec<&str> = lab.hints.iter().map(|hint| hint.id.as_str()).collect();
        let open = json!({"lab": "orphans", "seed": 7, "base": 5, "began": 10, "started": "2026-01-01T00:00:00Z",
            "hints": hints, "solve": false, "undo": 0, "green": {}, "chain": Chain::default()});
        run.book().open = Some(serde_json::from_value(open).unwrap());
        for lang in ["en", "ko"] {
            let told = run.hint(run.current().unwrap(), lang).await.unwrap_err();
            assert!(told.contains("`lab check`"), "{told}");
        }
        *run.seen() = lab.tasks.iter().map(|task| (task.id.clone(), true)).collect();
        let told = run.hint(run.current().unwrap(), "en").await.unwrap_err();
        assert_eq!(told, "there are no further hints");
        crew.kill();
    }

    /// Nothing changes, and the learner thinks: the time is written down all the same.
    #[tokio::test(start_paused = true)]
    async fn time_that_goes_by_is_written_down() {
        let dir = tempfile::tempdir().unwrap();
        let (_silent, crew, world, run) = labs_on_a_stage(dir.path()).await;
        let open = json!({"lab": "orphans", "seed": 7, "base": 5, "began": 10, "started": clock::now(),
            "hints": [], "solve": false, "undo": 0, "green": {}, "chain": Chain::default()});
        run.book().open = Some(serde_json::from_value(open).unwrap());
        world.know().watch = Some(crate::graded::stopwatch::Stopwatch::taken_up(clock::now(), 0));
        run.save().unwrap();
        run.taken_up.store(true, Ordering::Relaxed);
        world.know().unsaved = false;
        let noted = async {
            while run.book().open.as_ref().is_some_and(|open| open.ran_ms <= SAVE_TIME_MS) {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        tokio::select! {
            () = run.attend() => {}
            noted = tokio::time::timeout(Duration::from_secs(120), noted) => noted.expect("the time"),
        }
        crew.kill();
    }

    /// The time is over, and the API server does not list what people have written.
    #[tokio::test]
    async fn a_check_that_fails_says_so_in_the_learners_language() {
        let dir = tempfile::tempdir().unwrap();
        let (_silent, address) = stage::silent().await;
        let past = stage::answer(|_| Box::pin(std::future::ready(Ok(json!({})))));
        let busy = Scripted::new(|_| refusal(500, "InternalError")).await.client;
        let host: Host = Stage::seen_by(busy, dir.path(), address, past);
        let crew = Crew::new("labs");
        let world = World::start(&crew, &host).unwrap();
        let run = LabRun::open(world.clone(), host, Opened::default()).unwrap();
        let open = json!({"lab": "orphans", "seed": 7, "base": 5, "began": 10, "started": "2026-01-01T00:00:00Z",
            "hints": [], "solve": false, "undo": 0, "green": {}, "chain": Chain::default()});
        run.book().open = Some(serde_json::from_value(open).unwrap());
        let day = crate::graded::stopwatch::Stopwatch::taken_up(clock::now(), 24 * 3_600_000);
        world.know().watch = Some(day);
        let told = run.check(run.current().unwrap(), "ko").await.unwrap_err();
        assert!(told.starts_with("기록할 수 없어서"), "{told}");
        crew.kill();
    }

    /// The cluster's DNS is gone: no question of the tasks is answered.
    #[tokio::test(start_paused = true)]
    async fn a_look_at_the_tasks_takes_no_longer_than_a_command_waits() {
        let dir = tempfile::tempdir().unwrap();
        let (_silent, address) = stage::silent().await;
        let past = stage::answer(|_| Box::pin(std::future::ready(Ok(json!({})))));
        let host: Host = Stage::new(dir.path(), address, past).await;
        let crew = Crew::new("labs");
        let world = World::start(&crew, &host).unwrap();
        let run = LabRun::open(world, host, Opened::default()).unwrap();
        let mut lab = run.labs.get("wrong-port").unwrap().clone();
        for (n, task) in lab.tasks.iter_mut().enumerate() {
            let source = format!("exec('hotel/pod-{n}', 'wget').exit == 0");
            task.checks.truncate(1);
            task.checks[0].1 = Expr::compile(&source, Use::Check, &[]).unwrap();
        }
        let open = json!({"lab": "wrong-port", "seed": 7, "base": 5, "began": 10, "started": "2026-01-01T00:00:00Z",
            "hints": [], "solve": false, "undo": 0, "green": {}, "chain": Chain::default()});
        let open = serde_json::from_value(open).unwrap();
        let current = Current { variant: lab.variant(7).unwrap(), lab: Arc::new(lab), open };
        let began = Instant::now();
        let found = run.look_over_network(&current).await;
        assert!(found.len() == 4 && found.values().all(|green| !green), "{found:?}");
        assert!(began.elapsed() < super::super::TURN_MAX, "{:?}", began.elapsed());
        crew.kill();
    }

    /// crash-loop has a last hint for each of its three faults, of which one at most fits.
    #[test]
    fn no_hint_is_promised_that_does_not_fit() {
        let labs = Labs::load();
        let lab = labs.get("crash-loop").unwrap();
        let ids = |shown: &[&str]| -> Vec<String> {
            let shown: Vec<String> = shown.iter().map(ToString::to_string).collect();
            let left = fitting(lab, &shown, |hint| hint.when.is_none() || hint.id == "how-key");
            left.into_iter().map(|hint| hint.id.clone()).collect()
        };
        assert_eq!(ids(&[]), ["where", "how-key"]);
        assert_eq!(ids(&["where"]), ["how-key"]);
        assert!(ids(&["where", "how-key"]).is_empty(), "and not the three others");
    }
}
