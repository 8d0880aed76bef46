//! What is known of the cluster while a lab is open: live objects, every version of them, every
//! hop, answers of the network. A pump feeds it; the judge takes a snapshot and asks for what is
//! missing.

use super::book::Restarted;
use super::score::Red;
use super::seal::{self, Chain};
use super::stopwatch::Stopwatch;
use super::words::{self, Word};
use crate::blocking::in_place;
use crate::cel::facts::{self, Object, Wanted};
use crate::cel::{Expr, Facts, Memo, STOPPED};
use crate::format::Text;
use crate::observe::answers::Question;
use crate::observe::watch::{self, Then, Told};
use crate::observe::who::{Meddling, Who};
use crate::observe::{Observer, probe};
use api::kinds::Kind;
use client::kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, VersionMatch};
use client::{Api, Client};
use clock::Instant;
use cluster::guest::{Host, Room, Seen};
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tap::TEACHER;
use task::Crew;
use tokio::sync::{broadcast, mpsc, watch as channel};

/// How often an answer from the network is renewed while a judgement waits for it, and when it is
/// too old to count.
const RENEW: Duration = Duration::from_millis(900);
const STALE: Duration = Duration::from_secs(3);
/// A first answer of the network may take this long beyond the time that a task is given: a
/// question has a limit of its own.
const ANSWER: Duration = Duration::from_secs(6);

/// An answer that nobody has asked for again is dropped then. It is older than any that counts, and
/// than any that would be renewed.
const DROPPED: Duration = Duration::from_secs(30);

/// Pods of an open lab of which a restart is kept, at most, and the bytes of each. What is beyond
/// that is [lost](Known::restarts_lost).
const RESTARTED_MAX: usize = 200;
const RESTARTED_BYTES: usize = 64 << 10;

/// What is known of the cluster, and of the open lab as far as it goes on in memory.
#[derive(Default)]
pub struct Known {
    pub observer: Observer,
    watched: BTreeSet<String>,
    /// What earlier evaluations have found out, and of which values of a lab.
    memo: (Option<cel::Value>, Arc<Memo>),
    /// A lab is open: what happens is remembered.
    pub recording: bool,
    /// The judge is at work: what happens is hashed, but is nothing that a check or the learner's
    /// account should see.
    pub quiet: bool,
    /// The judge writes as the teacher: such writes are its own.
    pub playing: bool,
    /// The solution is being played.
    pub solving: bool,
    pub chain: Chain,
    /// Since when the lab has been open.
    pub watch: Option<Stopwatch>,
    /// When a client that is no component and not the judge last wrote an object, acted in a
    /// container, or broke or mended something: milliseconds from the start.
    pub changed_ms: Option<u64>,
    /// A client that is no component wrote something while the judge was at work.
    pub meddled: bool,
    /// Revisions of journeys into the past, and how many there were before this process.
    pub journeys: BTreeSet<i64>,
    pub journeys_before: u32,
    /// Namespaces of the open lab; `None`: it may be anywhere.
    pub places: Option<BTreeSet<String>>,
    /// Resources (plurals) that the open lab's expressions look at.
    pub reads: BTreeSet<String>,
    /// What people did in the lab's namespaces that a task may exclude.
    pub meddling: BTreeSet<Meddling>,
    /// Pods in the lab's namespaces whose containers ended while the cluster ran, by namespace,
    /// name and uid.
    pub restarted: BTreeMap<String, Restarted>,
    /// A restart of a pod was not kept there: the process after this one does not know how often
    /// pods restarted.
    pub restarts_lost: bool,
    pub who: Who,
    /// Of all this something has not been written down yet.
    pub unsaved: bool,
}

/// What a snapshot needs beside what is known.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// Store revision when the clock started.
    pub began: i64,
    pub variant: Option<cel::Value>,
}

/// One cluster, watched for labs: [`Known`] and what feeds it.
pub struct World {
    known: Mutex<Known>,
    crew: Crew,
    host: Host,
    pub(super) client: Client,
    kubeconfig: PathBuf,
    told: mpsc::Sender<Told>,
    changed: channel::Sender<u64>,
}

/// A write that a request made, and of whom.
fn writer(record: &tap::Record) -> Option<&tap::Request> {
    record.request.as_ref().filter(|_| record.write().is_some() && record.body.is_some())
}

/// Resources without a namespace that change nothing of what is in one.
const APART: [&str; 8] = [
    "apiservices",
    "certificatesigningrequests",
    "csidrivers",
    "csinodes",
    "customresourcedefinitions",
    "flowschemas",
    "prioritylevelconfigurations",
    "volumeattachments",
];

/// The namespace of what serves all others.
const SYSTEM: &str = "kube-system";

/// Kinds by which nothing is served: programs write them by themselves, all the time.
const PASSING: [&str; 2] = ["events", "leases"];

/// May a write of an object without a namespace change what is in these? A volume that belongs to a
/// claim elsewhere, rights for accounts elsewhere, and objects of a kind that is nobody's but its
/// author's do not; a node, or rights for a user may.
fn reaches(resource: &str, body: Option<&[u8]>, places: &BTreeSet<String>) -> bool {
    let object: Value = body.and_then(|body| serde_json::from_slice(body).ok()).unwrap_or_default();
    let is_elsewhere = |namespace: &Value| namespace.as_str().is_some_and(|named| !places.contains(named));
    match resource {
        "persistentvolumes" => !is_elsewhere(&object["spec"]["claimRef"]["namespace"]),
        "clusterrolebindings" => {
            let subjects = object["subjects"].as_array().map_or(&[][..], Vec::as_slice);
            subjects.is_empty()
                || subjects.iter().any(|s| s["kind"] != "ServiceAccount" || !is_elsewhere(&s["namespace"]))
        }
        resource => !APART.contains(&resource) && api::kinds::stored(resource).is_some(),
    }
}

impl Known {
    /// Takes records in their order, each with its digest if that was made already. What another
    /// reader has taken meanwhile is not taken twice.
    fn take_all(&mut self, records: &[(Option<String>, Arc<tap::Record>)]) {
        for (digest, record) in records {
            if record.seq <= self.observer.recorder.seq {
                continue;
            }
            if self.recording {
                match digest {
                    Some(digest) => self.chain.add(digest),
                    None => self.chain.add(&seal::digest(record)),
                }
            }
            self.take(record);
        }
    }

    fn take(&mut self, record: &tap::Record) {
        if !self.recording {
            // A name that is got before a lab can be used in it.
            self.unsaved |= self.who.note(record);
            self.observer.recorder.seq = record.seq;
            return;
        }
        let here = self.is_here(record);
        let journey = here && record.write().is_some_and(|write| write.journey.is_some());
        if let (true, false, Some(revision)) = (journey, self.quiet, record.revision) {
            self.unsaved |= self.journeys.insert(revision as i64);
        }
        let writer = writer(record);
        let learner = writer.is_some_and(tap::Request::is_persons);
        // Under any name: a writer that is no component of the cluster counts as a person.
        let somebody = writer.is_some() && !self.who.is_components(record);
        let teacher = writer.is_some_and(|r| tap::actor(&r.user, &r.impersonator) == TEACHER);
        // What a person does elsewhere while the lab is open, e.g. a lesson, changes nothing of the
        // lab.
        let wanted = learner || (somebody && !(self.quiet && teacher)) || (journey && !self.quiet);
        // Lessons change their part of kube-system while a lab is open.
        let reaches = !teacher && (learner || somebody) && self.is_systems(record);
        let meddling = self.who.meddling(record).filter(|_| here);
        // A fault has no author; while the judge is at work it is the probe's.
        let is_fault = matches!(record.event, tap::Event::Fault(_)) && !self.quiet;
        if (here && wanted) || reaches || meddling.is_some() || is_fault {
            self.changed_ms = self.watch.map(|w| w.ms());
            self.unsaved = true;
        }
        if let Some(meddling) = meddling
            && self.watch.is_some()
        {
            self.unsaved |= self.meddling.insert(meddling);
        }
        let others = match teacher {
            // A lesson's setup elsewhere is the teacher's, too.
            true => here && !self.playing && !journey,
            false => reaches || (here && (learner || somebody)) || meddling.is_some(),
        };
        self.meddled |= self.quiet && others && (somebody || meddling.is_some());
        self.unsaved |= self.who.note(record);
        if here && !self.quiet && self.watch.is_some() {
            self.note_restart(record);
        }
        match self.quiet {
            true => self.observer.recorder.skip(record),
            false => self.observer.recorder.take(record, Some(self.solving)),
        }
    }

    /// Keeps the version of a pod that tells of more restarts than the one before, for the process
    /// after this one.
    fn note_restart(&mut self, record: &tap::Record) {
        let Some((object, body)) = record.object.as_ref().zip(record.body.as_deref()) else { return };
        if object.resource != "pods" || record.write().is_none_or(|write| write.deleted) {
            return;
        }
        let revision = record.revision.unwrap_or_default() as i64;
        let Some(found) = Restarted::of(revision, body) else { return };
        let uid = found.pod["metadata"]["uid"].as_str().unwrap_or_default();
        let key = format!("{}/{}/{uid}", object.namespace, object.name);
        let known = self.restarted.get(&key);
        if known.is_some_and(|known| found.count <= known.count) {
            return;
        }
        let has_room = known.is_some() || self.restarted.len() < RESTARTED_MAX;
        if has_room && body.len() <= RESTARTED_BYTES {
            self.restarted.insert(key, found);
            self.unsaved = true;
        } else {
            self.unsaved |= !std::mem::replace(&mut self.restarts_lost, true);
        }
    }

    /// Adds the versions that were kept to a history that was read from the store, and that has
    /// none between the beginning and now. If not all were kept, no pod's history is known.
    fn recall_restarts(&mut self) {
        for kept in self.restarted.values() {
            self.observer.recorder.recall("pods", &kept.pod, kept.revision);
        }
        if self.restarts_lost {
            self.observer.recorder.forget_all("pods");
        }
    }

    /// Is the record about something in the open lab's namespaces, or about an object without one
    /// that may change what is in them?
    fn is_here(&self, record: &tap::Record) -> bool {
        let Some((places, object)) = self.places.as_ref().zip(record.object.as_ref()) else { return true };
        match (object.namespace.as_str(), object.qualified().as_str()) {
            ("", "namespaces") => places.contains(&object.name),
            ("", resource) if self.reads.contains(resource) => true,
            ("", resource) => reaches(resource, record.body.as_deref(), places),
            (namespace, _) => places.contains(namespace),
        }
    }

    /// Is the record about something in kube-system by which the lab's namespaces are served? What
    /// the cluster's DNS answers, for one, can make a task green from there.
    fn is_systems(&self, record: &tap::Record) -> bool {
        let object = record.object.as_ref().filter(|object| object.namespace == SYSTEM);
        object.is_some_and(|object| !PASSING.contains(&object.resource.as_str()))
    }

    /// The clock starts now; what was done so far is nobody's story.
    pub fn begin(&mut self, watch: Option<Stopwatch>) {
        self.watch = watch;
        self.chain = Chain::default();
        self.changed_ms = None;
        self.journeys.clear();
        self.journeys_before = 0;
        self.meddled = false;
        self.meddling.clear();
        self.restarted.clear();
        self.restarts_lost = false;
    }

    /// The objects of a kind, by namespace and name, that were there at a revision, that no
    /// controller makes anew, and that are gone.
    pub fn gone(&self, kind: &Kind, revision: i64) -> Vec<((String, String), Object)> {
        let Some(now) = self.observer.objects.get(&kind.qualified()) else { return vec![] };
        let is_made = |object: &Object| {
            let owners = object.json["metadata"]["ownerReferences"].as_array();
            owners.is_some_and(|owners| owners.iter().any(|owner| owner["controller"] == true))
        };
        let then = self.observer.recorder.objects_at(kind.plural, revision);
        then.into_iter().filter(|(key, object)| !now.contains_key(key) && !is_made(object)).collect()
    }

    /// A snapshot for one evaluation.
    fn facts(&mut self, frame: &Frame) -> Facts {
        if self.memo.0 != frame.variant {
            self.memo = (frame.variant.clone(), Arc::default());
        }
        Facts {
            lesson_began: frame.began,
            since_step: frame.began,
            variant: frame.variant.clone(),
            ..self.observer.facts(STALE, self.memo.1.clone())
        }
    }

    fn told(&mut self, told: Told) {
        self.observer.told(told, !self.quiet);
    }
}

impl World {
    /// Begins to listen; the pump ends with the crew.
    ///
    /// # Errors
    /// The teacher has no kubeconfig, or no client can be made of it.
    pub fn start(crew: &Crew, host: &Host) -> Result<Arc<World>, cluster::Error> {
        let (told, mut reports) = mpsc::channel(watch::WAITING_MAX);
        let world = Arc::new(World {
            known: Mutex::default(),
            crew: crew.clone(),
            host: host.clone(),
            client: host.client(TEACHER)?,
            kubeconfig: host.kubeconfig(TEACHER)?,
            told,
            changed: channel::Sender::new(0),
        });
        let (pump, tap) = (world.clone(), host.tap().clone());
        let mut live = tap.subscribe();
        crew.spawn(async move {
            loop {
                tokio::select! {
                    Some(told) = reports.recv() => pump.know().told(told),
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
    pub fn know(&self) -> MutexGuard<'_, Known> {
        self.known.lock()
    }

    /// Everything that the tap has and nobody here has seen.
    pub fn read(&self, tap: &tap::Tap) {
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
    pub fn follow(&self) -> channel::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Watches kinds from now on, in all namespaces; those that are watched already stay so.
    pub fn watch(self: &Arc<World>, kinds: impl IntoIterator<Item = String>) {
        for kind in kinds {
            let Some(name) = facts::kind(&kind).map(Kind::qualified) else { continue };
            if self.know().watched.insert(name) {
                let told = self.told.clone();
                // What a lab needs to know the tap has told.
                let saw = |_: Seen<'_>| {};
                watch::start(&self.crew, &self.client, &kind, &Room::default(), saw, told, |t| t);
            }
        }
    }

    /// A snapshot for one evaluation.
    pub fn facts(&self, frame: &Frame) -> Arc<Facts> {
        Arc::new(self.know().facts(frame))
    }

    /// Answers of the network that were given before now count no longer.
    pub fn forget_answers(&self) {
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
                let value =
                    probe::ask(&probe, &world.host, &world.client, &world.kubeconfig, &Room::default()).await;
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
    pub async fn recall_since(
        &self,
        kinds: BTreeSet<String>,
        revision: i64,
        reborn: &BTreeMap<String, String>,
    ) -> Result<(), String> {
        let said = |e: client::kube::Error| cluster::chain(&e);
        for kind in kinds.iter().filter_map(|k| facts::kind(k)) {
            let gvk = GroupVersionKind::gvk(kind.group, kind.version, kind.kind);
            let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural);
            let api: Api<DynamicObject> = Api::all_with(self.client.kube(), &resource);
            let exact = ListParams::default().at(&revision.to_string()).matching(VersionMatch::Exact);
            let then = api.list(&exact).await.map_err(said)?;
            let now = api.list(&ListParams::default()).await.map_err(said)?;
            let at = now.metadata.resource_version.as_ref().and_then(|r| r.parse().ok()).unwrap_or_default();
            let json = |all: Vec<DynamicObject>| -> Vec<Value> {
                let whole = |object: DynamicObject| {
                    let mut object = serde_json::to_value(object).unwrap_or_default();
                    object["kind"] = kind.kind.into(); // items of a list come without
                    object["apiVersion"] = kind.api_version().into();
                    object
                };
                all.into_iter().map(whole).collect()
            };
            self.know().observer.recorder.gap(kind.plural, &json(then.items), &json(now.items), at, reborn);
        }
        self.know().recall_restarts();
        Ok(())
    }

    /// Pods of these namespaces (all: `None`) that were put back between two revisions under their
    /// names and with other uids: their uid, and the one that they had.
    ///
    /// # Errors
    /// The store does not have what there was at one of the revisions.
    pub async fn reborn(
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
        match watch::at_revision(&self.client, kind, &Room::default(), revision).await {
            Then::Objects(objects) => Ok(objects),
            _ => Err(format!("the objects of kind {kind} at revision {revision} cannot be listed")),
        }
    }

    /// Is it true now? `None`: it cannot be told yet, or its evaluation fails.
    pub fn truth(self: &Arc<World>, expr: &Expr, frame: &Frame, renew: Duration) -> Option<bool> {
        self.look(expr, frame, renew).0
    }

    /// The same, and when the oldest of the questions was asked whose answers it is about; `None`:
    /// it needs none.
    fn look(
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

    /// Says why it cannot be told at all, if so: what it compares with is no longer kept, or its
    /// evaluation was stopped.
    pub fn unknown(&self, expr: &Expr, frame: &Frame) -> Option<Red> {
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
    pub async fn settled(
        self: &Arc<World>,
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
                in_place(|| exprs.iter().map(|e| self.look(e, frame, RENEW)).collect::<Vec<_>>());
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

/// Has what is true since `first` held for so long? `asked`: when the oldest question was asked
/// that it rests on.
fn holds(first: Instant, now: Instant, hold: Duration, asked: Option<Instant>) -> bool {
    now.duration_since(first) >= hold && (hold.is_zero() || asked.is_none_or(|asked| asked >= first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::facts::Objects;
    use crate::cel::value;
    use client::Delta;
    use serde_json::json;

    /// Two readers may have asked the tap at the same time.
    #[test]
    fn the_chain_covers_what_was_written_and_takes_no_record_twice() {
        let head = |image: &str, readers: usize, is_hashed: bool| {
            let tap = tap::Tap::new();
            let body = Some(json!({ "image": image }).to_string().into());
            tap.emit(tap::Record {
                body,
                ..write(tap::LEARNER, "").object("pods", "shop", "web").revision(7)
            });
            let mut record = (*tap.since(0)[0]).clone();
            record.at = tap::Record::new(tap::Event::Now).at;
            let digest = is_hashed.then(|| seal::digest(&record));
            let records = [(digest, Arc::new(record))];
            let mut known = Known { recording: true, ..Known::default() };
            known.begin(None);
            (0..readers).for_each(|_| known.take_all(&records));
            assert_eq!(known.chain.records, 1);
            known.chain.head
        };
        assert_eq!(head("nginx", 1, true), head("nginx", 2, true));
        assert_eq!(head("nginx", 1, true), head("nginx", 1, false), "hashed later");
        assert_ne!(head("nginx", 1, true), head("httpd", 1, true));
    }

    /// A lab is looked at five times a second: what has not changed is not evaluated again.
    #[test]
    fn an_expression_is_evaluated_again_when_something_has_changed() {
        let expr = Expr::compile("present('Pod', 'shop', v.name)", crate::cel::Use::Check, &[]).unwrap();
        let mut known = Known::default();
        let look = |known: &mut Known, name: &str| {
            let variant = Some(value::of_json(&json!({ "name": name })));
            let facts = Arc::new(known.facts(&Frame { began: 5, variant }));
            let before = facts.memo.work().evaluated;
            (expr.truth(&facts), facts.memo.work().evaluated - before)
        };
        assert_eq!(look(&mut known, "web").0, None, "nobody watches pods");
        known.observer.told(Told::list("pods", BTreeMap::new(), 5), false);
        assert_eq!(look(&mut known, "web"), (Some(false), 1));
        assert_eq!(look(&mut known, "web"), (Some(false), 0));
        let object =
            Object::new(json!({"metadata": {"namespace": "shop", "name": "web", "resourceVersion": "6"}}));
        let key = ("shop".to_string(), "web".to_string());
        let delta = Delta::Updated((key, object));
        known.observer.told(Told { kind: "pods".into(), revision: 6, delta }, false);
        assert_eq!((look(&mut known, "web"), look(&mut known, "web")), ((Some(true), 1), (Some(true), 0)));
        assert_eq!(look(&mut known, "db"), (Some(false), 1), "another lab's values");
    }

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

    #[test]
    fn what_a_lab_builds_on_and_is_gone_is_named() {
        let pod = |name: &str, owner: Option<&str>| {
            let owners: Vec<Value> =
                owner.map(|kind| json!({"kind": kind, "controller": true})).into_iter().collect();
            json!({"metadata": {"namespace": "shop", "name": name, "resourceVersion": "4", "ownerReferences": owners}})
        };
        let mut known = Known::default();
        for object in [pod("tester", None), pod("web-1", Some("ReplicaSet")), pod("bare", None)] {
            known.observer.recorder.found("pods", &object);
        }
        let key = |name: &str| ("shop".to_string(), name.to_string());
        let there = BTreeMap::from([(key("bare"), Object::new(pod("bare", None)))]);
        let pods = facts::kind("Pod").unwrap();
        assert!(known.gone(pods, 5).is_empty(), "nobody watches them");
        known.observer.objects.insert("pods".into(), Arc::new(there));
        let gone: Vec<_> = known.gone(pods, 5).into_iter().map(|(key, _)| key).collect();
        assert_eq!(gone, [key("tester")], "a ReplicaSet makes its pods anew");
        assert!(known.gone(pods, 3).is_empty(), "they were made when the clock ran");
    }

    fn write(user: &str, impersonator: &str) -> tap::Record {
        let (user, impersonator) = (user.into(), impersonator.into());
        let request = tap::Request { user, impersonator, ..tap::Request::default() };
        let record = tap::Record::new(tap::Event::Commit(tap::Write::UPDATED));
        tap::Record { request: Some(request), body: Some("{}".into()), ..record }
    }

    /// Cheat 2 of the review: work under another name than one's own.
    #[tokio::test]
    async fn whoever_writes_has_written() {
        let changed = |user: &str, impersonator: &str, quiet: bool| {
            let mut known = Known { recording: true, ..Known::default() };
            known.begin(Some(Stopwatch::taken_up(clock::now(), 5000)));
            known.quiet = quiet;
            known.take(&write(user, impersonator));
            (known.changed_ms.is_some(), known.meddled)
        };
        for user in [tap::LEARNER, TEACHER, "system:serviceaccount:shop:robot", "system:masters", "anybody"] {
            assert_eq!(changed(user, "", false), (true, false), "{user}");
        }
        assert_eq!(changed("system:kube-scheduler", tap::LEARNER, false), (true, false));
        for component in ["system:kube-controller-manager", tap::ADMIN] {
            assert_eq!(changed(component, "", false), (false, false), "{component}");
        }
        // A node's name lets change its own objects, and this is none; a person's program in
        // kube-system is no addon.
        for borrowed in ["system:node:n", "system:serviceaccount:kube-system:robot"] {
            assert_eq!(changed(borrowed, "", false), (true, false), "{borrowed}");
        }
        // While the judge looks: its own writes are its own, those of another client under the same
        // name are not.
        assert_eq!(changed(tap::LEARNER, "", true), (true, true));
        assert_eq!(changed(TEACHER, "", true), (false, true));
        assert_eq!(changed("system:serviceaccount:shop:robot", "", true), (true, true));
        let mut known = Known { recording: true, quiet: true, playing: true, ..Known::default() };
        known.take(&write(TEACHER, ""));
        assert!(!known.meddled);
    }

    /// While the judge looks whether it heals by itself, a command in a pod of the lab is a hand
    /// lent, and one elsewhere is not.
    #[test]
    fn a_command_in_the_labs_pods_is_a_hand_lent() {
        let act = |namespace: &str, subresource: &str, quiet: bool| {
            let mut known = Known { recording: true, ..Known::default() };
            known.begin(Some(Stopwatch::taken_up(clock::now(), 5000)));
            known.places = Some(["shop".to_string()].into());
            known.quiet = quiet;
            let (user, subresource) = (tap::LEARNER.into(), subresource.into());
            let request = tap::Request { user, subresource, code: 101, ..tap::Request::default() };
            let record =
                tap::Record::new(tap::Event::Answer(Box::default())).object("pods", namespace, "tester");
            known.take(&tap::Record { request: Some(request), ..record });
            (known.meddled, known.meddling.contains(&Meddling::Exec))
        };
        assert_eq!(act("shop", "exec", true), (true, true));
        assert_eq!(act("shop", "attach", true), (true, true));
        assert_eq!(act("shop", "exec", false), (false, true), "noted, for tasks that exclude it");
        assert_eq!(act("default", "exec", true), (false, false));
        assert_eq!(act("shop", "log", true), (false, false));
    }

    /// The time is over, and the program is started by hand that should have been there: no object
    /// changes.
    #[test]
    fn what_is_done_without_writing_an_object_is_late_too() {
        let changed = |namespace: &str, event: tap::Event, subresource: &str, quiet: bool| {
            let mut known = Known { recording: true, ..Known::default() };
            known.begin(Some(Stopwatch::taken_up(clock::now(), 5000)));
            known.places = Some(["shop".to_string()].into());
            known.quiet = quiet;
            let (user, subresource) = (tap::LEARNER.into(), subresource.into());
            let request = tap::Request { user, subresource, code: 101, ..tap::Request::default() };
            let record = tap::Record::new(event).object("pods", namespace, "web");
            known.take(&tap::Record { request: Some(request), ..record });
            known.changed_ms.is_some()
        };
        let answer = || tap::Event::Answer(Box::default());
        assert!(changed("shop", answer(), "exec", false) && changed("shop", answer(), "attach", false));
        assert!(!changed("default", answer(), "exec", false), "elsewhere");
        assert!(!changed("shop", answer(), "log", false), "only looked at");
        let heal = |quiet: bool| {
            let mut known = Known { recording: true, quiet, ..Known::default() };
            known.begin(Some(Stopwatch::taken_up(clock::now(), 5000)));
            known.places = Some(["shop".to_string()].into());
            known.take(&tap::Record::new(tap::Event::Fault(tap::Fault::Heal)));
            known.changed_ms.is_some()
        };
        assert_eq!((heal(false), heal(true)), (true, false), "while the judge is at work it is the judge's");
    }

    /// The time is over, and the learner goes on with a lesson in another namespace: the lab is as
    /// it was.
    #[test]
    fn a_write_elsewhere_is_not_late() {
        let changed = |resource: &str, namespace: &str, name: &str, quiet: bool| {
            let mut known = Known { recording: true, ..Known::default() };
            known.begin(Some(Stopwatch::taken_up(clock::now(), 5000)));
            known.places = Some(["shop".to_string()].into());
            known.quiet = quiet;
            known.take(&write(tap::LEARNER, "").object(resource, namespace, name));
            (known.changed_ms.is_some(), known.meddled)
        };
        assert_eq!(changed("pods", "default", "web", false), (false, false));
        assert_eq!(changed("namespaces", "", "default", true), (false, false));
        assert_eq!(changed("pods", "shop", "web", false), (true, false));
        assert_eq!(changed("pods", "shop", "web", true), (true, true));
        assert_eq!(changed("clusterroles", "", "x", false), (true, false), "that may be about the lab");
    }

    /// After the limit a wrong name of a Service is mended by what the cluster's DNS answers.
    #[test]
    fn a_write_to_what_serves_the_lab_counts_as_one_in_it() {
        let changed = |user: &str, resource: &str, quiet: bool| {
            let mut known = Known { recording: true, ..Known::default() };
            known.begin(Some(Stopwatch::taken_up(clock::now(), 5000)));
            known.places = Some(["shop".to_string()].into());
            known.quiet = quiet;
            known.take(&write(user, "").object(resource, "kube-system", "coredns"));
            (known.changed_ms.is_some(), known.meddled)
        };
        assert_eq!(changed(tap::LEARNER, "configmaps", false), (true, false));
        assert_eq!(changed(tap::LEARNER, "configmaps", true), (true, true), "a hand lent to the judge");
        assert_eq!(changed(tap::LEARNER, "leases", false), (false, false));
        assert_eq!(changed(tap::ADMIN, "configmaps", false), (false, false), "the cluster's own");
        assert_eq!(changed(TEACHER, "configmaps", true), (false, false), "a lesson's");
    }

    #[test]
    fn a_write_without_a_namespace_counts_if_it_can_change_what_is_in_the_labs() {
        let counts = |resource: &str, body: Value| {
            let mut known = Known { recording: true, ..Known::default() };
            known.begin(Some(Stopwatch::taken_up(clock::now(), 5000)));
            known.places = Some(["shop".to_string()].into());
            known.reads = ["certificatesigningrequests".to_string()].into();
            let record = write(tap::LEARNER, "").object(resource, "", "x");
            known.take(&tap::Record { body: Some(body.to_string().into()), ..record });
            known.changed_ms.is_some()
        };
        let claimed = |namespace: &str| json!({"spec": {"claimRef": {"namespace": namespace}}});
        let bound =
            |namespace: &str| json!({"subjects": [{"kind": "ServiceAccount", "namespace": namespace}]});
        let user = json!({"subjects": [{"kind": "User", "name": "eve"}]});
        for (resource, body, here) in [
            ("nodes", json!({}), true),
            ("persistentvolumes", json!({}), true),
            ("persistentvolumes", claimed("shop"), true),
            ("persistentvolumes", claimed("default"), false),
            ("clusterrolebindings", user, true),
            ("clusterrolebindings", bound("shop"), true),
            ("clusterrolebindings", bound("default"), false),
            ("customresourcedefinitions", json!({}), false),
            ("ships", json!({}), false),
            ("certificatesigningrequests", json!({}), true), // this lab looks at them
        ] {
            assert_eq!(counts(resource, body.clone()), here, "{resource} {body}");
        }
    }

    /// A lesson's setup is played by the teacher in another namespace while the judge is at work.
    #[test]
    fn what_the_teacher_does_elsewhere_lends_no_hand() {
        let meddled = |namespace: &str| {
            let mut known = Known { recording: true, quiet: true, ..Known::default() };
            known.places = Some(["shop".to_string()].into());
            known.take(&write(TEACHER, "").object("pods", namespace, "web"));
            known.meddled
        };
        assert_eq!((meddled("shop"), meddled("default")), (true, false));
    }

    #[test]
    fn a_name_that_was_got_before_the_lab_is_known_in_it() {
        let mut known = Known::default();
        let pod = json!({"spec": {"serviceAccountName": "coredns"}}).to_string();
        let record = write(tap::LEARNER, "").object("pods", "kube-system", "mine");
        known.take(&tap::Record { body: Some(pod.into()), ..record });
        assert!(known.unsaved, "it is written down, for the process after this one");
        known.recording = true;
        known.begin(Some(Stopwatch::taken_up(clock::now(), 5000)));
        known.take(&write("system:serviceaccount:kube-system:coredns", ""));
        assert!(known.changed_ms.is_some());
    }

    /// Cheat 1 of the second look: end the programs, restart the cluster, and let its restart
    /// excuse yours.
    #[test]
    fn a_restart_of_the_cluster_hides_no_restart_of_before() {
        let pod = |count: i64, reason: &str, revision: i64| {
            let status = json!({"containerStatuses": [{"restartCount": count, "lastState": {"terminated": {"reason": reason}}}]});
            json!({"kind": "Pod", "status": status, "metadata": {"namespace": "shop", "name": "web", "uid": "u", "resourceVersion": revision.to_string()}})
        };
        let mut known = Known { recording: true, ..Known::default() };
        known.places = Some(["shop".to_string()].into());
        known.begin(Some(Stopwatch::taken_up(clock::now(), 5000)));
        let committed = |body: Value, revision: u64| {
            let event = tap::Event::Commit(tap::Write::UPDATED);
            let record = tap::Record::new(event).object("pods", "shop", "web").revision(revision);
            tap::Record { body: Some(body.to_string().into()), ..record }
        };
        known.take(&committed(pod(1, "Completed", 20), 20));
        assert!(std::mem::take(&mut known.unsaved), "it is written down");
        known.take(&committed(pod(1, "Completed", 21), 21));
        assert!(!known.unsaved, "it is known already");
        // The next process: what the book has kept, and what the store tells.
        let mut next = Known { restarted: known.restarted, ..Known::default() };
        let (then, now) = (pod(0, "", 5), pod(2, "ContainerStatusUnknown", 30));
        next.observer.recorder.gap("pods", &[then], &[now], 30, &BTreeMap::new());
        next.recall_restarts();
        let key = ("pods".to_string(), "shop".to_string(), "web".to_string());
        let told: Vec<_> =
            next.observer.recorder.versions[&key].iter().map(|v| (v.revision, v.verb)).collect();
        assert_eq!(told, [(5, "ADDED"), (20, "MODIFIED"), (30, "MODIFIED")]);
    }

    /// Two hundred other pods restart first, or the pod is too large to be kept: what is lost is
    /// known to be lost.
    #[test]
    fn restarts_that_were_not_kept_are_not_excused_by_a_restart_of_the_cluster() {
        let pod = |name: &str, count: i64, note: usize| {
            let status = json!({"containerStatuses": [{"restartCount": count, "lastState": {"terminated": {"reason": "Error"}}}]});
            let metadata = json!({"namespace": "shop", "name": name, "uid": name, "resourceVersion": "5",
                "annotations": {"note": "x".repeat(note)}});
            json!({"kind": "Pod", "status": status, "metadata": metadata})
        };
        let owned =
            "!history('Pod','shop','web').exists(h, h.object.status.containerStatuses[0].restartCount > 0)";
        let owned = Expr::compile(owned, crate::cel::Use::Check, &[]).unwrap();
        for (others, note, truth) in
            [(0, 0, Some(false)), (RESTARTED_MAX, 0, None), (0, RESTARTED_BYTES, None)]
        {
            let mut known = Known { recording: true, ..Known::default() };
            known.places = Some(["shop".to_string()].into());
            known.begin(Some(Stopwatch::taken_up(clock::now(), 5000)));
            let mut take = |name: &str, note: usize, revision: u64| {
                let event = tap::Event::Commit(tap::Write::UPDATED);
                let record = tap::Record::new(event).object("pods", "shop", name).revision(revision);
                known.take(&tap::Record { body: Some(pod(name, 1, note).to_string().into()), ..record });
            };
            (0..others).for_each(|n| take(&format!("junk-{n}"), 0, 20 + n as u64));
            take("web", note, 900);
            assert!(known.unsaved && known.restarted.len() <= RESTARTED_MAX);
            // The next process: what the book has kept, and what the store tells. The cluster's own
            // restart excuses the count.
            let mut next =
                Known { restarted: known.restarted, restarts_lost: known.restarts_lost, ..Known::default() };
            next.observer.objects.insert("pods".into(), Objects::default());
            let there = [pod("web", 0, 0)];
            next.observer.recorder.gap("pods", &there, &there, 1000, &BTreeMap::new());
            next.recall_restarts();
            next.observer.recorder.keep_from(10, 10);
            let frame = Frame { began: 10, variant: None };
            let facts = Arc::new(next.facts(&frame));
            assert_eq!(owned.truth(&facts), truth, "{others} {note}");
        }
    }

    /// The pod of a StatefulSet restarted twice, was made anew, and restarted once.
    #[test]
    fn a_restart_of_a_pods_successor_is_kept() {
        let mut known = Known { recording: true, ..Known::default() };
        known.places = Some(["shop".to_string()].into());
        known.begin(Some(Stopwatch::taken_up(clock::now(), 5000)));
        for (uid, count, revision) in [("a", 1, 20), ("a", 2, 21), ("b", 1, 30), ("b", 1, 31)] {
            let status = json!({"containerStatuses": [{"restartCount": count, "lastState": {"terminated": {"reason": "Error"}}}]});
            let metadata = json!({"namespace": "shop", "name": "web-0", "uid": uid});
            let pod = json!({"kind": "Pod", "metadata": metadata, "status": status});
            let event = tap::Event::Commit(tap::Write::UPDATED);
            let record = tap::Record::new(event).object("pods", "shop", "web-0").revision(revision);
            known.take(&tap::Record { body: Some(pod.to_string().into()), ..record });
        }
        let kept: Vec<(i64, i64)> =
            known.restarted.values().map(|kept| (kept.revision, kept.count)).collect();
        assert_eq!(kept, [(21, 2), (30, 1)]);
    }

    /// A lesson's way back in its own namespaces is no undo of the lab's.
    #[test]
    fn a_way_back_elsewhere_is_not_the_labs() {
        let journey = |namespace: &str| {
            let mut known = Known { recording: true, ..Known::default() };
            known.begin(None);
            known.places = Some(["shop".to_string()].into());
            let mut record = write(TEACHER, "").object("pods", namespace, "web").revision(9);
            let journey = Some(tap::Journey::Rewind(4));
            record.event = tap::Event::Commit(tap::Write { journey, ..tap::Write::UPDATED });
            known.take(&record);
            known.journeys.len()
        };
        assert_eq!((journey("shop"), journey("default")), (1, 0));
    }
}
