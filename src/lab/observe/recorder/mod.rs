//! What happened, as expressions see it: every version of every object, and every hop since the
//! step began. Both come from the tap, where each committed write stands once, with the object's
//! bytes.

use super::who::Who;
use crate::cel::facts::{Forgotten, Object, Versions};
use crate::cel::version::Version;
use cel::Value;
use cluster::guest::LessonScope;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use tap::{self, Cause, Event, ObjectRef, Record, Request};

/// Each queue of requests holds so many at most. They wait there for what is matched with them,
/// e.g. a write for the version that it made.
const REQUESTS_MAX: usize = 512;

/// How `kubectl describe` names itself.
const DESCRIBE: &str = "kubectl describe";

mod hop;
mod keep;
mod shares;
mod trace;

type Key = (String, String, String);

/// Adds to a queue of requests. If it is full, the oldest goes.
fn push<T>(queue: &mut VecDeque<T>, newest: T) {
    if queue.len() == REQUESTS_MAX {
        queue.pop_front();
    }
    queue.push_back(newest);
}

/// The first request of a session of `kubectl describe`: for what it describes.
struct Described {
    session: String,
    /// Of what it asked for, e.g. `pods`.
    plural: String,
    selector: String,
}

/// Every version of every object, and the hops of the open step, within bounds.
#[derive(Default)]
pub(crate) struct Recorder {
    pub versions: Arc<Versions>,
    pub trace: Arc<Vec<Value>>,
    /// The numbers, within the step, of the first records in `trace`: those that are kept longer
    /// than their neighbours.
    pub trace_kept: Arc<Vec<u64>>,
    /// The number of the first record after these.
    pub trace_from: u64,
    shares: shares::Shares,
    /// Grows whenever `trace` or `versions` are not continued but replaced, at least in part.
    pub epoch: u64,
    /// Versions taken so far.
    pub taken: u64,
    /// The newest store revision seen.
    pub revision: i64,
    /// The first one, from which on every version is known.
    first: Option<i64>,
    /// The newest revision of each plural; that of a custom resource stands with its group.
    pub of_plural: HashMap<String, i64>,
    /// The newest record read.
    pub seq: u64,
    /// Where the lesson is played: records name namespaces as lessons do.
    pub scope: LessonScope,
    /// Of which object a version was taken, oldest first, without those that were found to be kept.
    order: VecDeque<Key>,
    /// Versions that were found to be kept: of which object, and the bytes of their body.
    pinned: VecDeque<(Key, usize)>,
    /// Bytes of the objects in all versions, and in those of `pinned`.
    bodies: usize,
    pinned_bodies: usize,
    /// Revisions at which the lesson and the step began: the versions that were current then are
    /// kept.
    keep: [i64; 2],
    /// Objects of whose history something since the step began is gone, and the newest revision of
    /// that.
    pub forgotten: Arc<Forgotten>,
    pub who: Who,
    /// What requests wrote: revision, and the controller whose child the object is.
    written: VecDeque<(String, i64, String)>,
    /// Who wrote a version, where its commit does not say.
    writers: VecDeque<(i64, String)>,
    /// Requests that ran a command in a container, each with the words of the command.
    execs: VecDeque<(Request, Vec<String>)>,
    /// Names that a `kubectl describe` did not find, with its session, the resource and the
    /// namespace.
    misses: VecDeque<(String, ObjectRef)>,
    described: VecDeque<Described>,
}

impl Recorder {
    /// Takes a record. `solving`: the learner's acts are those of the solution; `None`: no step is
    /// open whose trace it could belong to.
    pub(crate) fn take_record(&mut self, record: &Record, solving: Option<bool>) {
        self.seq = record.seq;
        self.who.note(record);
        if let Some(revision) = record.revision {
            self.revision = self.revision.max(revision as i64);
            self.first.get_or_insert(revision as i64);
        }
        if let (Some(revision), Some(object)) = (record.revision, &record.object) {
            let newest = self.of_plural.entry(object.qualified()).or_default();
            *newest = (*newest).max(revision as i64);
        }
        if record.write().is_some() && record.body.is_some() {
            self.version(record);
        }
        if let Some(answer) = record.answer() {
            self.attribute(record);
            self.note_miss(record);
            self.note_described(record);
            if let Some(request) = record.request.as_ref().filter(|r| r.subresource == "exec" && r.code < 400)
            {
                self.note_exec(request, &answer.argv);
            }
        }
        if let Some(solving) = solving {
            self.add_hop(record, solving);
        }
    }

    /// Reads a record that no expression shall see.
    pub(crate) fn skip(&mut self, record: &Record) {
        self.seq = record.seq;
        if let Some(revision) = record.revision {
            self.revision = self.revision.max(revision as i64);
        }
    }

    /// Adds a record to the trace of the step. `solving`: as of [`hop`](Recorder::hop).
    fn add_hop(&mut self, record: &Record, solving: bool) {
        // A look at Events is kept; that a component writes them is of no use to a lesson.
        let looks = |r: &Request| matches!(r.verb.as_str(), "get" | "list" | "watch");
        let looked = record.answer().is_some() && record.request.as_ref().is_some_and(looks);
        if record.object.as_ref().is_some_and(|o| o.qualified() == "events") && !looked {
            return;
        }
        let hop = self.hop(record, solving);
        let asked = self.exec_of(record).is_some_and(|(request, _)| request.is_persons());
        self.keep_hop(record, asked, hop);
    }

    /// Moves to another scope: what was seen of the old one is forgotten.
    pub(crate) fn move_to(&mut self, scope: LessonScope) {
        let (seq, revision, epoch, taken) = (self.seq, self.revision, self.epoch + 1, self.taken);
        let who = std::mem::take(&mut self.who);
        // Where no record has come yet, nothing is known of what was there before.
        let first = (revision > 0).then_some(revision);
        *self = Recorder { scope, seq, revision, first, epoch, taken, who, ..Recorder::default() };
    }

    /// Forgets everything but how far the trace was read. `who`: which names people got hold of
    /// before.
    pub(crate) fn start_over(&mut self, who: Who) {
        // Versions are numbered anew: what was found out by their numbers is forgotten with the
        // epoch.
        *self = Recorder { seq: self.seq, epoch: self.epoch + 1, who, ..Recorder::default() };
    }

    /// Returns whether everything is known that has happened since a revision, so that what has no
    /// version from before was not there. Not of one that is still to come: the store has gone back
    /// since it was noted.
    pub(crate) fn reaches(&self, revision: i64) -> bool {
        self.first.is_some_and(|first| first <= revision) && revision <= self.revision
    }

    /// A step begins: its trace is empty.
    pub(crate) fn begin_step(&mut self) {
        self.trace = Arc::default();
        self.trace_kept = Arc::default();
        self.trace_from = 0;
        self.shares.begin();
        self.epoch += 1;
    }

    /// A step is taken up again: its trace is what the tap still has since it began. By the time,
    /// because a look has no revision; where that was not noted, by the revision. Records that were
    /// not taken yet are left out: they are added when they are.
    pub(crate) fn resume_step(&mut self, kept: &[Arc<Record>], since: i64, at: Option<clock::Timestamp>) {
        self.begin_step();
        let first = match at {
            Some(at) => kept.iter().position(|record| record.at >= at),
            None => first_since(kept, since),
        };
        self.written.clear();
        let taken = self.seq;
        for record in kept[first.unwrap_or(kept.len())..].iter().filter(|record| record.seq <= taken) {
            self.note_write(record);
            self.note_miss(record);
            self.note_described(record);
            self.add_hop(record, false);
        }
    }

    /// Remembers a name that `kubectl describe KIND NAME` did not find: it then lists the kind and
    /// shows only the objects whose names begin with NAME (upstream: `DescribeMatchingResources`).
    fn note_miss(&mut self, record: &Record) {
        let (Some(request), Some(object)) = (&record.request, &record.object) else { return };
        let missed = record.answer().is_some() && request.verb == "get" && request.code == 404;
        if !missed || request.command != DESCRIBE || request.session.is_empty() {
            return;
        }
        push(&mut self.misses, (request.session.clone(), object.clone()));
    }

    /// With what the names begin that a list was made for; empty: the list was made for all names.
    fn prefix(&self, request: &Request, object: &ObjectRef) -> &str {
        if request.verb != "list" || request.command != DESCRIBE {
            return "";
        }
        let of_list = |(session, missed): &&(String, ObjectRef)| {
            *session == request.session
                && (&missed.resource, &missed.group, &missed.namespace)
                    == (&object.resource, &object.group, &object.namespace)
        };
        self.misses.iter().rfind(of_list).map_or("", |(_, missed)| missed.name.as_str())
    }

    /// Remembers the first request of a `kubectl describe`.
    fn note_described(&mut self, record: &Record) {
        let (Some(request), Some(answer)) = (&record.request, record.answer()) else { return };
        let Some(object) = &record.object else { return };
        let is_named = request.command == DESCRIBE && !request.session.is_empty();
        if !is_named || self.described.iter().any(|first| first.session == request.session) {
            return;
        }
        let (session, selector) = (request.session.clone(), answer.selector.clone());
        push(&mut self.described, Described { session, plural: object.qualified(), selector });
    }

    /// Remembers what a request wrote until its answer comes.
    fn note_write(&mut self, record: &Record) {
        if let (Some(request), Some(body)) = (&record.request, &record.body)
            && record.write().is_some()
            && let Ok(head) = serde_json::from_slice(body)
        {
            self.wrote(&request.id, record.revision.unwrap_or_default() as i64, head);
        }
    }

    /// Remembers the first object that this request wrote at this revision. A quota, say, that is
    /// charged in the same transaction does not tell who made the object.
    fn wrote(&mut self, request: &str, revision: i64, head: Head) {
        if self.written.iter().any(|(id, made, _)| id == request && *made == revision) {
            return;
        }
        push(&mut self.written, (request.to_string(), revision, head.controller()));
    }

    /// An answer that names the version it made tells who wrote it, whether that version was seen
    /// already or is still to come.
    fn attribute(&mut self, record: &Record) {
        let (Some(revision), Some(request), Some(object)) =
            (record.revision, &record.request, &record.object)
        else {
            return;
        };
        let revision = revision as i64;
        // A person who acts under another name has still acted.
        let user = tap::actor(&request.user, &request.impersonator);
        push(&mut self.writers, (revision, user.to_string()));
        let namespace = self.scope.lesson_name(&object.namespace).to_string();
        let key = (object.qualified(), namespace, object.name.clone());
        let versions = Arc::make_mut(&mut self.versions);
        if let Some(of_one) = versions.get_mut(&key)
            && let Some(at) = of_one.iter().rposition(|v| v.revision == revision && v.user != user)
        {
            self.epoch += 1;
            let of_one = Arc::make_mut(of_one);
            of_one[at] = Arc::new(of_one[at].by(user));
        }
    }

    /// Adds what a watch saw of an object whose writing no record shows: it was there before.
    pub(crate) fn add_found(&mut self, plural: &str, json: &serde_json::Value) {
        let meta = &json["metadata"];
        let part = |key: &str| meta[key].as_str().unwrap_or_default().to_string();
        let key = (plural.to_string(), part("namespace"), part("name"));
        if self.versions.contains_key(&key) {
            return;
        }
        let revision = part("resourceVersion").parse().unwrap_or_default();
        let at = meta["creationTimestamp"].as_str().and_then(|t| t.parse().ok());
        self.add(key, Version::new(revision, at, "ADDED", json.to_string().into()));
    }

    /// The objects of a kind as they were at a revision, as far as their versions are kept.
    pub(crate) fn objects_at(&self, plural: &str, revision: i64) -> BTreeMap<(String, String), Object> {
        self.chosen_at(plural, revision, |_| true)
    }

    /// Those of them whose namespace and name are `wanted`: only they are parsed, which is what
    /// takes the time.
    pub(crate) fn chosen_at(
        &self,
        plural: &str,
        revision: i64,
        wanted: impl Fn(&(String, String)) -> bool,
    ) -> BTreeMap<(String, String), Object> {
        let of_kind = self.versions.iter().filter(|(key, _)| key.0 == plural);
        let then = of_kind.filter_map(|((_, namespace, name), versions)| {
            let version = versions[..versions.partition_point(|v| v.revision <= revision)].last()?;
            let key = (namespace.clone(), name.clone());
            if version.verb == "DELETED" || !wanted(&key) {
                return None;
            }
            Some((key, Object::new(serde_json::from_slice(&version.body).ok()?)))
        });
        then.collect()
    }

    /// Adds what happened while no watch was open: of the objects of a kind, those that there were
    /// `then`, and what they have become `now`, at this revision. In between there may have been
    /// more. What is known of later revisions stays. `reborn`: by their uid now, objects that a
    /// judge took away and put back, and the uid that they had: those were not deleted.
    pub(crate) fn gap(
        &mut self,
        plural: &str,
        then: &[serde_json::Value],
        now: &[serde_json::Value],
        at: i64,
        reborn: &BTreeMap<String, String>,
    ) {
        let part =
            |o: &serde_json::Value, key: &str| o["metadata"][key].as_str().unwrap_or_default().to_string();
        let key = |o: &serde_json::Value| (plural.to_string(), part(o, "namespace"), part(o, "name"));
        let revision = |o: &serde_json::Value| part(o, "resourceVersion").parse::<i64>().unwrap_or_default();
        let version = |o: &serde_json::Value, revision: i64, verb: &'static str| {
            Arc::new(Version::new(revision, None, verb, o.to_string().into()))
        };
        let mut seen: BTreeMap<Key, Vec<Arc<Version>>> = BTreeMap::new();
        for was in then {
            seen.insert(key(was), vec![version(was, revision(was), "ADDED")]);
        }
        let mut left: BTreeMap<Key, &serde_json::Value> = then.iter().map(|o| (key(o), o)).collect();
        for is in now {
            let was = left.remove(&key(is));
            let versions = seen.entry(key(is)).or_default();
            match was {
                Some(was)
                    if part(was, "uid") == part(is, "uid")
                        || reborn.get(&part(is, "uid")) == Some(&part(was, "uid")) =>
                {
                    if revision(was) != revision(is) {
                        versions.push(version(is, revision(is), "MODIFIED"));
                    }
                }
                was => {
                    // A name that is there again was given up before.
                    let gone = was.map(|was| version(was, revision(is) - 1, "DELETED"));
                    versions.extend(gone.into_iter().chain([version(is, revision(is), "ADDED")]));
                }
            }
        }
        for (key, was) in left {
            seen.entry(key).or_default().push(version(was, at, "DELETED"));
        }
        let known = Arc::make_mut(&mut self.versions);
        self.epoch += 1;
        for (key, mut versions) in seen {
            let later = known.get(&key).map_or(&[][..], |all| all.as_slice());
            versions.extend(later.iter().filter(|v| v.revision > at).cloned());
            self.order.retain(|k| *k != key);
            self.pinned.retain(|(k, _)| *k != key);
            self.pinned_bodies = self.pinned.iter().map(|(_, bytes)| bytes).sum();
            (0..versions.len()).for_each(|_| self.order.push_front(key.clone()));
            // Renumbered in their order: what was found out by their numbers is forgotten with the
            // epoch.
            let numbered = versions.into_iter().map(|version| {
                self.taken += 1;
                Arc::new(version.numbered(self.taken))
            });
            let numbered: Vec<Arc<Version>> = numbered.collect();
            let bytes = |all: &[Arc<Version>]| all.iter().map(|version| version.body.len()).sum::<usize>();
            self.bodies += bytes(&numbered);
            let before = known.insert(key, Arc::new(numbered));
            self.bodies -= before.map_or(0, |before| bytes(&before));
        }
    }

    /// Adds a version that was kept of an object whose history is known in part. One of which
    /// nothing is known stays unknown.
    pub(crate) fn recall(&mut self, plural: &str, object: &serde_json::Value, revision: i64) {
        let part = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_string();
        let key = (plural.to_string(), part("namespace"), part("name"));
        if self.versions.contains_key(&key) {
            self.add(key, Version::new(revision, None, "MODIFIED", object.to_string().into()));
        }
    }

    /// Of these objects some versions since the step began are gone, and it is not known of which.
    pub(crate) fn forget_all(&mut self, plural: &str) {
        let forgotten = Arc::make_mut(&mut self.forgotten);
        for key in self.versions.keys().filter(|key| key.0 == plural) {
            forgotten.note(key.clone(), i64::MAX, u64::MAX);
        }
    }

    fn version(&mut self, record: &Record) {
        let (Some(object), Some(body)) = (&record.object, &record.body) else { return };
        let Ok(head) = serde_json::from_slice::<Head>(body) else { return };
        let mut body = body.clone();
        if self.scope != LessonScope::default()
            && let Ok(mut json) = serde_json::from_slice(&body)
        {
            self.scope.rename_for_lessons(&mut json);
            body = json.to_string().into();
        }
        let verb = match record.write() {
            Some(write) if write.created => "ADDED",
            Some(write) if write.deleted => "DELETED",
            _ => "MODIFIED",
        };
        let revision = record.revision.unwrap_or_default() as i64;
        let writer = || self.writers.iter().rfind(|(made, _)| *made == revision).map(|(_, user)| user);
        let actor = |r: &Request| tap::actor(&r.user, &r.impersonator).to_string();
        let user = record.request.as_ref().map(actor).or_else(|| writer().cloned()).unwrap_or_default();
        if let Some(request) = &record.request {
            self.wrote(&request.id, revision, head);
        }
        let namespace = self.scope.lesson_name(&object.namespace).to_string();
        let key = (object.qualified(), namespace, object.name.clone());
        self.add(key, Version::new(revision, Some(record.at), verb, body).by(&user));
    }

    /// Keeps the request of a command until the command ends. A person's shell may stay open while
    /// checks run hundreds of commands: those go first if the queue is full.
    fn note_exec(&mut self, request: &Request, argv: &[String]) {
        if self.execs.len() == REQUESTS_MAX {
            let of_check = self.execs.iter().position(|(request, _)| !request.is_persons());
            self.execs.remove(of_check.unwrap_or_default());
        }
        self.execs.push_back((request.clone(), argv.to_vec()));
    }

    /// The request that a kubelet's record of a command's end answers, and the command's words.
    fn exec_of(&self, record: &Record) -> Option<&(Request, Vec<String>)> {
        let (Event::Exec { .. }, Some(Cause::Request(id))) = (&record.event, &record.cause) else {
            return None;
        };
        self.execs.iter().rfind(|(request, _)| request.id == *id)
    }
}

/// The place of the first record of the first request that wrote after a revision.
fn first_since(kept: &[Arc<Record>], since: i64) -> Option<usize> {
    let later = |r: &Arc<Record>| r.revision.is_some_and(|rev| rev as i64 > since) && r.request.is_some();
    let first = kept.iter().position(later)?;
    // The commit is not the first record of its request.
    let id = kept[first].request.as_ref().map(|q| q.id.clone());
    let own = |r: &Arc<Record>| r.request.as_ref().map(|q| &q.id) == id.as_ref();
    Some(kept[..first].iter().position(own).unwrap_or(first))
}

/// Of an object, what tells which controller made it. The rest is not read before an expression
/// asks for it.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Head {
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    owner_references: Option<Vec<Owner>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Owner {
    kind: String,
    controller: Option<bool>,
}

impl Head {
    /// Which controller makes such an object: `replicaset-controller` for a ReplicaSet's pod.
    fn controller(&self) -> String {
        let owners = self.metadata.owner_references.as_deref().unwrap_or_default();
        match owners.iter().find(|o| o.controller == Some(true)).map(|o| o.kind.as_str()) {
            None => String::new(),
            Some("ReplicationController") => "replication-controller".into(),
            Some(kind) => format!("{}-controller", kind.to_lowercase()),
        }
    }
}

#[cfg(test)]
mod tests;
