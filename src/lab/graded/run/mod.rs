//! Where labs are handed out and graded. One thing at a time: a grade must not meet a reset.

mod anchor;
mod doing;
mod faults_again;
pub(crate) mod follow;
mod judge;
mod left_pods;
mod lent;
pub mod listing;
mod plan;
mod quiet;
mod resume;
mod standing;
mod start;
mod templates;
mod way_back;

use super::PROOF;
use super::book::{Book, Open};
use super::draw;
use super::error::Error;
use super::opened::Opened;
use super::read::{Lab, Labs, Task};
use super::seal;
use super::stopwatch::Stopwatch;
use super::view::{Ask, GivenUp, Played};
use super::words::{self, Word};
use super::world::{Frame, World};
use crate::cel::{Expr, facts, value};
use crate::engine::Lazily;
use crate::teacher::Teacher;
use cluster::guest::Host;
use cluster::undo::Past;
use doing::Doing;
use faults_again::FaultsAgain;
use parking_lot::{Mutex, MutexGuard};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tap::TEACHER;
use templates::Templates;
use tokio::sync::watch;

/// A question waits for others that are at work for so long.
const TURN_MAX: Duration = Duration::from_secs(10);

/// The labs of one cluster: which one is open, what is known of it, and the book that keeps it.
pub(crate) struct LabRun {
    /// Told which lab is open.
    opened: Opened,
    world: Arc<World>,
    host: Host,
    teacher: Teacher,
    labs: Lazily<Labs>,
    book: Mutex<Book>,
    path: PathBuf,
    key: seal::Key,
    /// Create revision and version of the book's anchor when last looked at. `None`: not yet.
    anchored: tokio::sync::Mutex<Option<(i64, i64)>>,
    /// The book was written after its anchor in the store.
    ahead: AtomicBool,
    /// Held by the question that starts, judges or looks.
    turn: tokio::sync::Mutex<()>,
    /// What `check` saw last, by task.
    seen: Mutex<BTreeMap<String, bool>>,
    templates: Templates,
    /// What an earlier process has left open is as it was.
    taken_up: AtomicBool,
    /// How far its faults are broken once more.
    again: Mutex<FaultsAgain>,
    /// What is being done with the lab at the moment.
    doing: Mutex<Doing>,
    /// Wakes those who follow the open lab.
    changed: watch::Sender<()>,
    /// `lab test` started this cluster.
    is_proof: bool,
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
    /// The namespaces in which it is played. `None`: it changes more than namespaces hold.
    fn places(&self) -> Option<BTreeSet<String>> {
        self.lab.places(&self.variant)
    }
}

fn fill(text: &str, variant: &Map<String, Value>) -> String {
    draw::fill(text, variant).unwrap_or_else(|_| text.to_string())
}

/// The namespaces of an open lab. `None`: it may be anywhere, or is no longer among the labs.
fn places_of(labs: &Labs, open: &Open) -> Option<BTreeSet<String>> {
    let lab = labs.get(&open.lab)?;
    lab.places(&lab.variant(open.seed).ok()?)
}

fn limit_ms(lab: &Lab) -> u64 {
    u64::from(lab.minutes) * 60_000
}

/// Kinds that a lab's expressions look at.
fn kinds(lab: &Lab) -> BTreeSet<String> {
    lab.exprs().flat_map(|e| e.kinds.iter().cloned()).collect()
}

/// The resources of these kinds, as records name them.
fn resources<'a>(kinds: impl IntoIterator<Item = &'a String>) -> BTreeSet<String> {
    kinds.into_iter().filter_map(|kind| Some(facts::kind(kind)?.plural.to_string())).collect()
}

/// The resources that a lab's expressions look at.
fn reads(lab: &Lab) -> BTreeSet<String> {
    resources(&kinds(lab))
}

fn exprs(task: &Task) -> Vec<&Expr> {
    task.checks.iter().map(|(_, e)| e).collect()
}

/// Returns whether a question can be answered after a restart before the open lab is taken up.
fn needs_no_lab(ask: &Ask) -> bool {
    matches!(ask, Ask::Start { .. } | Ask::Plan { .. } | Ask::Leave { .. } | Ask::Solved | Ask::Learnt { .. })
}

fn chain_text(error: &dyn std::error::Error) -> String {
    cluster::chain(error)
}

impl LabRun {
    /// Reads the book of the cluster, and goes on with the lab that it has open, if any.
    ///
    /// # Errors
    /// There is no kubeconfig, or key or book cannot be read, or a newer program wrote the book.
    pub(crate) fn open(world: Arc<World>, host: Host, opened: Opened) -> Result<LabRun, Error> {
        let teacher = Teacher { place: host.place().clone(), kubeconfig: host.kubeconfig(TEACHER)? };
        let path = host.place().root.join("labs.json");
        let key = seal::Key::load_or_create(&host.place().pki())?;
        let book = Book::load(&path, &key)?;
        let labs: Lazily<Labs> = LazyLock::new(Box::new(Labs::load));
        world.know().who.borrowed.extend(book.borrowed.iter().cloned());
        if let Some(open) = &book.open {
            let mut known = world.know();
            known.places = places_of(&labs, open);
            known.reads = labs.get(&open.lab).map(reads).unwrap_or_default();
            known.meddling = open.meddling.clone();
            known.restarted = open.restarted.clone();
            known.restarts_lost = open.restarts_lost;
            known.broken = open.broken.clone();
            known.observer.recorder.who = known.who.clone();
            known.recording = true;
            known.watch = Some(Stopwatch::taken_up(open.started, open.ran_ms));
            known.chain = open.chain.clone();
            known.changed_ms = open.changed_ms;
            known.journeys_before = open.undo;
        }
        opened.note(book.open.as_ref(), world.know().places.clone());
        Ok(LabRun {
            opened,
            world,
            host,
            teacher,
            labs,
            book: Mutex::new(book),
            path,
            key,
            anchored: tokio::sync::Mutex::default(),
            ahead: AtomicBool::new(false),
            turn: tokio::sync::Mutex::default(),
            seen: Mutex::default(),
            templates: Templates::default(),
            taken_up: AtomicBool::new(false),
            again: Mutex::default(),
            doing: Mutex::default(),
            changed: watch::Sender::default(),
            is_proof: std::env::var_os(PROOF).is_some(),
        })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock()
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<String, bool>> {
        self.seen.lock()
    }

    /// Writes the book with what is known of the open lab by now.
    ///
    /// # Errors
    /// Nothing can be written down, e.g. because the disk is full.
    fn save(&self) -> Result<(), String> {
        let mut book = self.book();
        {
            let mut known = self.world.know();
            book.borrowed = known.who.borrowed.clone();
            known.unsaved = false;
        }
        if let Some(open) = &mut book.open {
            let known = self.world.know();
            open.chain = known.chain.clone();
            open.changed_ms = known.changed_ms;
            open.meddling = known.meddling.clone();
            open.restarted = known.restarted.clone();
            open.restarts_lost = known.restarts_lost;
            open.broken = known.broken.clone();
            open.undo = known.journeys_before.saturating_add(known.journeys.len() as u32);
            open.ran_ms = known.watch.map_or(0, |w| w.ms());
        }
        self.opened.note(book.open.as_ref(), self.world.know().places.clone());
        self.tell_followers();
        self.ahead.store(true, Ordering::Relaxed);
        book.save(&self.path, &self.key).map_err(|error| {
            self.world.know().unsaved = true;
            chain_text(&error)
        })
    }

    /// Notes something about the open lab, or nothing if [`LabRun::save`] fails, with its error.
    fn note(&self, change: impl FnOnce(&mut Open)) -> Result<(), String> {
        let before = {
            let mut book = self.book();
            let before = book.open.clone();
            book.open.as_mut().map(change);
            before
        };
        self.save().inspect_err(|_| self.book().open = before)
    }

    /// Where no caller waits for the answer, the log has the error; it is tried again.
    fn save_or_say(&self) {
        if let Err(why) = self.save() {
            tracing::error!(error = why, "labs cannot be kept");
        }
    }

    /// Milliseconds since the open lab's clock started.
    fn ms(&self) -> u64 {
        self.world.know().watch.map_or(0, |w| w.ms())
    }

    /// The open lab, if its clock runs.
    fn current(&self) -> Option<Current> {
        let open = self.book().open.clone().filter(|o| o.began > 0)?;
        let lab = self.labs.get(&open.lab)?;
        let variant = lab.variant(open.seed).ok()?;
        Some(Current { lab: Arc::new(lab.clone()), variant, open })
    }

    /// The open lab, which has to be the one that is named.
    fn open_lab(&self, id: Option<&str>, seed: Option<u64>, lang: &str) -> Result<Current, String> {
        let Some(current) = self.current() else {
            let half = self.book().open.as_ref().map(|o| o.lab.clone());
            return Err(match (half, id) {
                (Some(half), _) if self.labs.get(&half).is_none() => words::say(lang, Word::Gone, &[&half]),
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

    /// Waits until no other question is at work.
    async fn take_turn(&self, lang: &str) -> Result<tokio::sync::MutexGuard<'_, ()>, String> {
        let turn = tokio::time::timeout(TURN_MAX, self.turn.lock());
        turn.await.map_err(|_| words::say(lang, Word::Busy, &[]))
    }

    /// The answer to a question that waits for no other one. `None`: it has to take its turn.
    fn known_at_once(&self, ask: &Ask, lang: &str) -> Option<Value> {
        match ask {
            Ask::List => Some(json!(self.list(lang))),
            Ask::Show => Some(json!(self.current().map(|c| self.view(&c, lang)).unwrap_or_default())),
            Ask::Elsewhere { id, seed } => Some(json!(self.elsewhere(id, *seed))),
            _ => None,
        }
    }

    /// Answers a question with the document that [`Ask`] names, one question after the other.
    ///
    /// # Errors
    /// Says in `lang` why it was not done: e.g. others are at work, or the disk is full.
    pub(crate) async fn answer(&self, ask: Ask, lang: &str) -> Result<Value, String> {
        if let Some(known) = self.known_at_once(&ask, lang) {
            return Ok(known);
        }
        let turn = self.take_turn(lang).await?;
        let not_kept = |why: String| words::say(lang, Word::NotKept, &[&why]);
        self.compare().await.map_err(not_kept)?;
        if !needs_no_lab(&ask) {
            self.take_up(lang).await?;
        }
        match ask {
            Ask::Learnt { book } => self.learn(&book, lang).await,
            Ask::Plan { id, seed } => Ok(json!(self.plan(id.as_deref(), seed, lang).await?.0)),
            Ask::Leave { id, agreed } => {
                let back = self.still_agreed(agreed, None, None, lang).await?;
                let _work = self.begin(Doing::Leaving);
                self.leave(id.as_deref(), &back, lang).await
            }
            Ask::Start { id, seed, agreed } => {
                let back = self.still_agreed(agreed, Some(&id), seed, lang).await?;
                self.start(&id, seed, &back, lang).await
            }
            Ask::Check { id, seed } => self.check(self.open_lab(id.as_deref(), seed, lang)?, lang).await,
            Ask::Await { within_ms } => {
                let current = self.open_lab(None, None, lang)?;
                drop(turn); // a client that has hung up must not keep the others waiting
                let together = self.wait_for_green(&current, Duration::from_millis(within_ms)).await;
                let _turn = self.take_turn(lang).await?;
                let now = self.open_lab(Some(&current.lab.id), Some(current.open.seed), lang)?;
                let is_same = now.open.began == current.open.began;
                self.all_green(now, together && is_same, lang)
            }
            Ask::Grade { id, seed, learner, parts } => {
                self.allows_grade(&learner, parts, lang)?;
                let current = self.open_lab(id.as_deref(), seed, lang)?;
                let _work = self.begin(Doing::Grading);
                self.grade(current, learner, parts, lang).await
            }
            Ask::Hint { id } => self.hint(self.open_lab(id.as_deref(), None, lang)?, lang).await,
            Ask::Solve { id, seed } => {
                let current = self.open_lab(id.as_deref(), seed, lang)?;
                self.note(|open| open.solve = true).map_err(not_kept)?; // else a restart would forget that the lines were given away
                self.anchor().await.map_err(not_kept)?;
                self.world.know().solving = true;
                Ok(json!(Played {
                    lines: current.lines(&Lab::lines(&current.lab.solution, &current.variant))
                }))
            }
            Ask::GiveUp { id } => {
                let current = self.open_lab(id.as_deref(), None, lang)?;
                let told = self.explanations(&current, &self.world.facts(&current.frame()), |_| true);
                let lines = current.lines(&Lab::lines(&current.lab.solution, &current.variant));
                let given_up = GivenUp { told, lines };
                let kept = Some(given_up.clone());
                let gave_up = |open: &mut Open| {
                    (open.solve, open.gave_up, open.given_up) = (true, true, kept);
                };
                self.note(gave_up).map_err(not_kept)?;
                self.anchor().await.map_err(not_kept)?;
                Ok(json!(given_up))
            }
            Ask::Solved => {
                self.world.know().solving = false;
                Ok(Value::Null)
            }
            // Answered before.
            Ask::List | Ask::Show | Ask::Follow | Ask::Elsewhere { .. } => Ok(Value::Null),
        }
    }

    /// The store's newest revision.
    async fn revision(&self) -> Result<i64, String> {
        let steps = self.host.past(Past::Steps).await?;
        steps["revision"].as_i64().ok_or_else(|| "the store does not say its revision".to_string())
    }

    /// When the time is over, notes what people have written: what differs later came too late.
    async fn note_limit(&self, current: &Current) -> Result<(), String> {
        let over = self.ms() >= limit_ms(&current.lab);
        if !over || self.book().open.as_ref().is_none_or(|open| open.at_limit.is_some()) {
            return Ok(());
        }
        let intents = self.world.intents(kinds(&current.lab), current.places().as_ref()).await?;
        self.note(|open| open.at_limit = Some(intents))
    }
}
