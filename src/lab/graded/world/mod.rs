//! What is known of the cluster while a lab is open: live objects, every version of them, every
//! hop, answers of the network. A pump feeds it; the judge takes a snapshot and asks for what is
//! missing.

use super::score::Red;
use super::seal;
use super::words::{self, Word};
use crate::blocking::in_place;
use crate::cel::facts::{self, Object, Wanted};
use crate::cel::{Expr, Facts, STOPPED};
use crate::format::Text;
use crate::observe::probe;
use crate::observe::probe_answers::Question;
use crate::observe::watch::{self, Report, Then};
use api::kinds::Kind;
use client::Client;
use client::kube::api::ListParams;
use clock::Instant;
use cluster::guest::{Host, LessonScope, Seen};
use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tap::TEACHER;
use task::Crew;
use tokio::sync::{broadcast, mpsc, watch as channel};

mod known;

pub(crate) use known::{Frame, Known};

/// How often an answer from the network is renewed while a judgement waits for it, and when it is
/// too old to count.
const RENEW: Duration = Duration::from_millis(900);
const STALE: Duration = Duration::from_secs(3);
/// A first answer of the network may take this long beyond the time that a task is given: a
/// question has a limit of its own.
const ANSWER: Duration = Duration::from_secs(6);

/// An answer of this age is dropped if no expression asked for it again. It is older than any that
/// counts, and than any that would be renewed.
const DROPPED: Duration = Duration::from_secs(30);

/// One cluster, watched for labs: [`Known`] and what feeds it.
pub(crate) struct World {
    known: Mutex<Known>,
    crew: Crew,
    host: Host,
    pub(super) client: Client,
    kubeconfig: PathBuf,
    /// Where the watches report.
    reporter: mpsc::Sender<Report>,
    changed: channel::Sender<u64>,
}

impl World {
    /// Begins to listen; the pump ends with the crew.
    ///
    /// # Errors
    /// The teacher has no kubeconfig, or no client can be made of it.
    pub(crate) fn start(crew: &Crew, host: &Host) -> Result<Arc<World>, cluster::Error> {
        let (reporter, mut reports) = mpsc::channel(watch::WAITING_MAX);
        let world = Arc::new(World {
            known: Mutex::default(),
            crew: crew.clone(),
            host: host.clone(),
            client: host.client(TEACHER)?,
            kubeconfig: host.kubeconfig(TEACHER)?,
            reporter,
            changed: channel::Sender::new(0),
        });
        let (pump, tap) = (world.clone(), host.tap().clone());
        let mut live = tap.subscribe();
        crew.spawn(async move {
            loop {
                tokio::select! {
                    Some(report) = reports.recv() => pump.know().take_report(report),
                    record = live.recv() => {
                        if matches!(record, Err(broadcast::error::RecvError::Closed)) {
                            return;
                        }
                        // From the ring, so that a pump that lags misses nothing.
                        pump.read(&tap);
                    }
                }
                pump.changed.send_modify(|n| *n += 1);
            }
        });
        Ok(world)
    }

    /// Locks what is known. The pump waits for the guard.
    pub(crate) fn know(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
    }

    /// Reads the records of the tap that were not read yet.
    pub(crate) fn read(&self, tap: &tap::Tap) {
        let (since, recording) = {
            let known = self.know();
            (known.observer.recorder.seq, known.recording)
        };
        // Objects may be large: they are hashed while evaluations can go on.
        let hashed = |record: Arc<tap::Record>| (recording.then(|| seal::digest(&record)), record);
        let records: Vec<_> = tap.since(since).into_iter().map(hashed).collect();
        self.know().take_all(&records);
    }

    /// Changes after each report of a watch, record of the tap and answer of the network.
    pub(crate) fn follow(&self) -> channel::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Watches kinds from now on, in all namespaces; those that are watched already stay so.
    pub(crate) fn watch(self: &Arc<World>, kinds: impl IntoIterator<Item = String>) {
        for kind in kinds {
            let Some(name) = facts::kind(&kind).map(Kind::qualified) else { continue };
            if self.know().watched.insert(name) {
                let reporter = self.reporter.clone();
                // A lab takes what it needs from the tap.
                let saw = |_: Seen<'_>| {};
                let scope = LessonScope::default();
                watch::start(&self.crew, &self.client, &kind, &scope, saw, reporter, |report| report);
            }
        }
    }

    /// A snapshot for one evaluation.
    pub(crate) fn facts(&self, frame: &Frame) -> Arc<Facts> {
        Arc::new(self.know().facts(frame))
    }

    /// Answers of the network that were given before now count no longer.
    pub(crate) fn forget_answers(&self) {
        self.know().observer.answers.forget();
    }

    /// Sees to what an evaluation missed: kinds that are not watched, questions that are not asked
    /// or whose answer is older than `renew`.
    fn see_to(self: &Arc<World>, wanted: Wanted, renew: Duration) {
        self.watch(wanted.kinds);
        let now = Instant::now();
        self.know().observer.answers.drop_old(DROPPED, now);
        for probe in wanted.probes.into_iter().chain(wanted.used) {
            let era = {
                let mut known = self.know();
                let answers = &mut known.observer.answers;
                if answers.ask(&probe, renew, now) != Question::Put {
                    continue;
                }
                answers.era()
            };
            let world = self.clone();
            self.crew.spawn(async move {
                let asked = Instant::now();
                let scope = LessonScope::default();
                let value = probe::ask(&probe, &world.host, &world.client, &world.kubeconfig, &scope).await;
                if !world.know().observer.answers.take(era, probe, Some(asked), value) {
                    return;
                }
                world.changed.send_modify(|n| *n += 1);
            });
        }
    }

    /// Of these kinds, what was there at a revision and what has become of it, from the store
    /// itself: for a process that was not there to see it, or has only watches that may be behind.
    /// `reborn`: what the judge took away and put back, as of
    /// [`gap`](crate::observe::recorder::Recorder::gap).
    ///
    /// # Errors
    /// The API server does not list a kind as it was at the revision, or as it is now.
    pub(crate) async fn recall_since(
        &self,
        kinds: BTreeSet<String>,
        revision: i64,
        reborn: &BTreeMap<String, String>,
    ) -> Result<(), String> {
        let (scope, said) = (LessonScope::default(), |e: client::kube::Error| cluster::chain(&e));
        for kind in kinds.iter().filter_map(|k| facts::kind(k)) {
            let asked = watch::exactly(revision);
            let (then, _) = watch::list(&self.client, kind, &scope, &asked).await.map_err(said)?;
            let (now, at) =
                watch::list(&self.client, kind, &scope, &ListParams::default()).await.map_err(said)?;
            self.know().observer.recorder.gap(kind.plural, &then, &now, at, reborn);
        }
        self.know().recall_restarts();
        Ok(())
    }

    /// Pods of these namespaces (all: `None`) that were put back between two revisions under their
    /// names and with other uids: their uid, and the one that they had.
    ///
    /// # Errors
    /// The store does not have what there was at one of the revisions.
    pub(crate) async fn reborn(
        &self,
        places: Option<&BTreeSet<String>>,
        before: i64,
        after: i64,
    ) -> Result<BTreeMap<String, String>, String> {
        let (then, now) = (self.objects_at("Pod", before).await?, self.objects_at("Pod", after).await?);
        let uid = |o: &Object| o.json["metadata"]["uid"].as_str().unwrap_or_default().to_string();
        let here = |namespace: &String| places.is_none_or(|places| places.contains(namespace));
        let both =
            now.iter().filter(|((ns, _), _)| here(ns)).filter_map(|(key, is)| Some((is, then.get(key)?)));
        Ok(both.map(|(is, was)| (uid(is), uid(was))).filter(|(is, was)| is != was).collect())
    }

    /// The objects of a kind at a revision, by namespace and name.
    ///
    /// # Errors
    /// The store does not have them any more, or no API server answers.
    pub(super) async fn objects_at(
        &self,
        kind: &str,
        revision: i64,
    ) -> Result<BTreeMap<(String, String), Object>, String> {
        match watch::at_revision(&self.client, kind, &LessonScope::default(), revision).await {
            Then::Objects(objects) => Ok(objects),
            _ => Err(format!("the objects of kind {kind} at revision {revision} cannot be listed")),
        }
    }

    /// Evaluates an expression now. `None`: what it needs is not known yet, or it fails.
    pub(crate) fn truth(self: &Arc<World>, expr: &Expr, frame: &Frame, renew: Duration) -> Option<bool> {
        self.truth_with_age(expr, frame, renew).0
    }

    /// As [`World::truth`], and when the oldest of the network's answers that it uses was asked
    /// for; `None`: it uses none.
    fn truth_with_age(
        self: &Arc<World>,
        expr: &Expr,
        frame: &Frame,
        renew: Duration,
    ) -> (Option<bool>, Option<Instant>) {
        // Before the snapshot is taken: an answer that comes in between is newer than the one that
        // was used.
        let asked = self.know().observer.answers.all_asked();
        let facts = self.facts(frame);
        let truth = expr.truth(&facts);
        let wanted = facts.take_wanted();
        let oldest = wanted.used.iter().filter_map(|probe| asked.get(probe).copied()).min();
        self.see_to(wanted, renew);
        (truth, oldest)
    }

    /// Says why an expression will never have a value, if so: what it compares with is no longer
    /// kept, or its evaluation was stopped.
    pub(crate) fn unknown(&self, expr: &Expr, frame: &Frame) -> Option<Red> {
        let error = expr.value(&self.facts(frame), &[]).err()?;
        let word = match &error {
            error if error.contains(facts::UNKNOWN) => Word::Unknown,
            error if error.starts_with(STOPPED) => Word::TooDear,
            _ => return None,
        };
        let told = Text::said(|lang| words::say(lang, word, &[error.as_str()]));
        Some(Red { unmet: error, told })
    }

    /// Waits until all of these hold together for `hold`; else, when `within` is over, the first
    /// that does not. One answer of the network does not hold: a question that was asked after they
    /// became true has to say the same.
    ///
    /// # Errors
    /// The place in `exprs` of the first that does not hold.
    pub(crate) async fn settled(
        self: &Arc<World>,
        exprs: &[&Expr],
        frame: &Frame,
        hold: Duration,
        within: Duration,
    ) -> Result<(), usize> {
        self.settled_unless(None, exprs, frame, hold, within).await
    }

    /// Waits as [`World::settled`] does, and no longer once `lost` is true: then they will never
    /// hold.
    ///
    /// # Errors
    /// As there; with `lost`, the place of the last that does not hold. An author writes what can
    /// be lost for good behind what may only be late.
    pub(crate) async fn settled_unless(
        self: &Arc<World>,
        lost: Option<&Expr>,
        exprs: &[&Expr],
        frame: &Frame,
        hold: Duration,
        within: Duration,
    ) -> Result<(), usize> {
        let began = Instant::now();
        let mut follow = self.follow();
        let mut since: Option<Instant> = None;
        loop {
            follow.mark_unchanged();
            let looks: Vec<_> =
                in_place(|| exprs.iter().map(|e| self.truth_with_age(e, frame, RENEW)).collect::<Vec<_>>());
            let oldest = looks.iter().filter_map(|(_, asked)| *asked).min();
            let truths: Vec<Option<bool>> = looks.into_iter().map(|(truth, _)| truth).collect();
            let now = Instant::now();
            match truths.iter().position(|t| *t != Some(true)) {
                None => {
                    let first = *since.get_or_insert(now);
                    if holds(first, now, hold, oldest) {
                        return Ok(());
                    }
                }
                Some(unmet) => {
                    since = None;
                    let is_lost = |lost| in_place(|| self.truth(lost, frame, RENEW)) == Some(true);
                    if lost.is_some_and(is_lost) {
                        return Err(truths.iter().rposition(|t| *t != Some(true)).unwrap_or(unmet));
                    }
                    let waits = truths[unmet].is_none() && self.know().observer.answers.is_waiting();
                    let patience = if waits { within + ANSWER } else { within };
                    if now.duration_since(began) >= patience {
                        return Err(unmet);
                    }
                }
            }
            let wake = match since {
                Some(first) if first + hold > now => (first + hold).min(now + RENEW),
                Some(_) => now + RENEW,
                None => now + Duration::from_millis(500),
            };
            let _ = tokio::time::timeout_at(wake, follow.changed()).await; // either is a reason to look again
            // Many records come at once; they are looked at together.
            clock::sleep(Duration::from_millis(30)).await;
        }
    }
}

/// True if what is true since `first` has held for `hold`. `asked`: when the oldest of the answers
/// that it uses was asked for.
fn holds(first: Instant, now: Instant, hold: Duration, asked: Option<Instant>) -> bool {
    now.duration_since(first) >= hold && (hold.is_zero() || asked.is_none_or(|asked| asked >= first))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A single answer is a look, however long it counts; the one after it shows that something has
    /// stayed.
    #[test]
    fn what_the_network_answered_once_has_not_held() {
        let first = Instant::now();
        let after = |ms| first + Duration::from_millis(ms);
        let hold = Duration::from_secs(1);
        assert!(holds(first, after(1000), hold, None) && !holds(first, after(999), hold, None));
        assert!(!holds(after(100), after(1500), hold, Some(first)));
        assert!(holds(after(100), after(1500), hold, Some(after(900))));
        assert!(holds(after(100), after(100), Duration::ZERO, Some(first)), "nothing has to hold");
    }
}
