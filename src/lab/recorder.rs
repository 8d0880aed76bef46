//! What happened, as expressions see it: every version of every object, and every hop since the
//! step began. Both come from the tap, where each committed write is told once, with the object's
//! bytes.

use super::cel::facts::{Forgotten, Object, Versions};
use super::cel::value;
use super::cel::version::Version;
use super::who::Who;
use api::kinds;
use cel::Value;
use cluster::guest::Room;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use tap::{self, Answer, Cause, Event, NODE, ObjectRef, Record, Request};

/// Requests whose commit is remembered until their answer, and answers that name a version until it
/// is seen.
const REQUESTS_MAX: usize = 512;

/// How `kubectl describe` names itself.
const DESCRIBE: &str = "kubectl describe";
/// Of a record that tells no exit code.
const NO_EXIT: i64 = -1;
/// Of a record that tells no number of lines: `tailLines` was not given, so a log was asked for
/// from its beginning.
const ALL_LINES: i64 = -1;

mod keep;
mod shares;
mod trace;

type Key = (String, String, String);

/// Every version of every object, and the hops of the open step, within bounds.
#[derive(Default)]
pub struct Recorder {
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
    /// Where the lesson is played: namespaces are told as it calls them.
    pub room: Room,
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
    /// Requests that ran a command in a container.
    execs: VecDeque<Request>,
    /// Names that a `kubectl describe` did not find, with its session, the resource and the
    /// namespace.
    misses: VecDeque<(String, ObjectRef)>,
}

impl Recorder {
    /// Takes a record. `solving`: the learner's acts are those of the solution; `None`: no step is
    /// open whose trace it could belong to.
    pub fn take(&mut self, record: &Record, solving: Option<bool>) {
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
        if record.answer().is_some() {
            self.attribute(record);
            self.note_miss(record);
            if let Some(request) = record.request.as_ref().filter(|r| r.subresource == "exec" && r.code < 400)
            {
                if self.execs.len() == REQUESTS_MAX {
                    self.execs.pop_front();
                }
                self.execs.push_back(request.clone());
            }
        }
        if let Some(solving) = solving {
            self.tell(record, solving);
        }
    }

    /// Reads a record that no expression shall see.
    pub fn skip(&mut self, record: &Record) {
        self.seq = record.seq;
        if let Some(revision) = record.revision {
            self.revision = self.revision.max(revision as i64);
        }
    }

    fn tell(&mut self, record: &Record, solving: bool) {
        // Who looks at Events is told; the writing of them is nobody's story.
        let looks = |r: &Request| matches!(r.verb.as_str(), "get" | "list" | "watch");
        let looked = record.answer().is_some() && record.request.as_ref().is_some_and(looks);
        if record.object.as_ref().is_some_and(|o| o.qualified() == "events") && !looked {
            return;
        }
        let told = self.hop(record, solving);
        let asked = self.exec_of(record).is_some_and(Request::is_persons);
        self.keep_hop(record, asked, told);
    }

    /// What was told of another room is forgotten.
    pub fn move_to(&mut self, room: Room) {
        let (seq, revision, epoch, taken) = (self.seq, self.revision, self.epoch + 1, self.taken);
        let who = std::mem::take(&mut self.who);
        // Where no record has come yet, nothing is known of what was there before.
        let first = (revision > 0).then_some(revision);
        *self = Recorder { room, seq, revision, first, epoch, taken, who, ..Recorder::default() };
    }

    /// Is everything known that has happened since a revision, so that what has no version from
    /// before was not there? Not of one that is still to come: the store has gone back since it was
    /// noted.
    pub fn reaches(&self, revision: i64) -> bool {
        self.first.is_some_and(|first| first <= revision) && revision <= self.revision
    }

    /// A step begins: its trace is empty.
    pub fn begin_step(&mut self) {
        self.trace = Arc::default();
        self.trace_kept = Arc::default();
        self.trace_from = 0;
        self.shares.begin();
        self.epoch += 1;
    }

    /// A step is taken up again: its trace is what the tap still has since it began. By the time,
    /// because a look has no revision; where that was not noted, by the revision.
    pub fn resume_step(&mut self, kept: &[Arc<Record>], since: i64, at: Option<clock::Timestamp>) {
        self.begin_step();
        let first = match at {
            Some(at) => kept.iter().position(|record| record.at >= at),
            None => first_since(kept, since),
        };
        self.written.clear();
        for record in &kept[first.unwrap_or(kept.len())..] {
            self.note(record);
            self.note_miss(record);
            self.tell(record, false);
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
        if self.misses.len() == REQUESTS_MAX {
            self.misses.pop_front();
        }
        self.misses.push_back((request.session.clone(), object.clone()));
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

    /// Remembers what a request wrote until its answer comes.
    fn note(&mut self, record: &Record) {
        if let (Some(request), Some(body)) = (&record.request, &record.body)
            && record.write().is_some()
            && let Ok(head) = serde_json::from_slice(body)
        {
            self.wrote(&request.id, record.revision.unwrap_or_default() as i64, head);
        }
    }

    fn wrote(&mut self, request: &str, revision: i64, head: Head) {
        if self.written.len() == REQUESTS_MAX {
            self.written.pop_front();
        }
        self.written.push_back((request.to_string(), revision, head.controller()));
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
        if self.writers.len() == REQUESTS_MAX {
            self.writers.pop_front();
        }
        // Who acts under another name has still acted.
        let user = tap::actor(&request.user, &request.impersonator);
        self.writers.push_back((revision, user.to_string()));
        let namespace = self.room.told(&object.namespace).to_string();
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

    /// What a watch saw of an object whose writing nobody told: it was there before.
    pub fn found(&mut self, plural: &str, json: &serde_json::Value) {
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
    pub fn objects_at(&self, plural: &str, revision: i64) -> BTreeMap<(String, String), Object> {
        let of_kind = self.versions.iter().filter(|(key, _)| key.0 == plural);
        let then = of_kind.filter_map(|((_, namespace, name), versions)| {
            let version = versions[..versions.partition_point(|v| v.revision <= revision)].last()?;
            let json = serde_json::from_slice(&version.body).ok().filter(|_| version.verb != "DELETED")?;
            Some(((namespace.clone(), name.clone()), Object::new(json)))
        });
        then.collect()
    }

    /// What nobody was there to see: of the objects of a kind, those that there were `then`, and
    /// what they have become `now`, at this revision. In between there may have been more. What is
    /// known of later revisions stays. `reborn`: by their uid now, objects that a judge took away
    /// and put back, and the uid that they had: nobody deleted those.
    pub fn gap(
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
    pub fn recall(&mut self, plural: &str, object: &serde_json::Value, revision: i64) {
        let part = |key: &str| object["metadata"][key].as_str().unwrap_or_default().to_string();
        let key = (plural.to_string(), part("namespace"), part("name"));
        if self.versions.contains_key(&key) {
            self.add(key, Version::new(revision, None, "MODIFIED", object.to_string().into()));
        }
    }

    /// Of these objects some versions since the step began are gone, and nobody knows of which.
    pub fn forget_all(&mut self, plural: &str) {
        let forgotten = Arc::make_mut(&mut self.forgotten);
        for key in self.versions.keys().filter(|key| key.0 == plural) {
            forgotten.note(key.clone(), i64::MAX, u64::MAX);
        }
    }

    fn version(&mut self, record: &Record) {
        let (Some(object), Some(body)) = (&record.object, &record.body) else { return };
        let Ok(head) = serde_json::from_slice::<Head>(body) else { return };
        let mut body = body.clone();
        if self.room != Room::default()
            && let Ok(mut json) = serde_json::from_slice(&body)
        {
            self.room.retell(&mut json);
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
        let namespace = self.room.told(&object.namespace).to_string();
        let key = (object.qualified(), namespace, object.name.clone());
        self.add(key, Version::new(revision, Some(record.at), verb, body).by(&user));
    }

    /// The request that a kubelet's record of a command's end answers.
    fn exec_of(&self, record: &Record) -> Option<&Request> {
        let (Event::Exec { .. }, Some(Cause::Request(id))) = (&record.event, &record.cause) else {
            return None;
        };
        self.execs.iter().rfind(|request| request.id == *id)
    }

    fn hop(&self, record: &Record, solving: bool) -> Value {
        let ended = self.exec_of(record);
        let request = record.request.as_ref().or(ended);
        let written = request.and_then(|r| self.written.iter().rfind(|(id, ..)| *id == r.id));
        let is_answer = record.answer().is_some() && request.is_some_and(|r| !r.verb.is_empty());
        let exit = match record.event {
            Event::Exec { exit } if ended.is_some() => exit.into(),
            _ => NO_EXIT,
        };
        let verb = match request {
            Some(r) if is_answer => r.verb.as_str(),
            _ => record.event.verb(),
        };
        let mut revision = record.revision.map_or(0, |r| r as i64);
        if let (true, Some((_, written, _))) = (is_answer, written) {
            revision = *written;
        }
        let object = record.object.as_ref().map_or(String::new(), |o| {
            name(
                &o.qualified(),
                self.room.told(&o.namespace),
                &o.name,
                request.map_or("", |r| r.subresource.as_str()),
            )
        });
        let cause = match &record.cause {
            Some(Cause::Revision(r)) => Value::Int(*r as i64),
            Some(Cause::Request(id)) => value::text(id),
            None => value::text(""),
        };
        // A list that is searched for a prefix shows a part of the kind, as one with a selector
        // does.
        let prefix = request.zip(record.object.as_ref()).map_or("", |(r, o)| self.prefix(r, o));
        let selector = match prefix {
            "" => record.answer().map_or_else(String::new, |a| a.selector.clone()),
            prefix => format!("metadata.name={prefix}*"),
        };
        let user = request.map_or("", |r| r.user.as_str());
        let learner = request.is_some_and(Request::is_persons);
        let by_component = match user {
            _ if !self.who.is_components(record) => "",
            "system:kube-scheduler" => "kube-scheduler",
            user if user.starts_with(NODE) => "kubelet",
            "system:kube-controller-manager" => written.map_or("", |(_, _, c)| c.as_str()),
            _ => "",
        };
        let (detail, unanswered) = (record.event.detail(), Answer::default());
        let answer = record.answer().unwrap_or(&unanswered);
        value::map([
            ("at", value::time(record.at)),
            ("node", value::text(&record.node)),
            ("component", value::text(record.component.name())),
            ("by_component", value::text(by_component)),
            ("verb", value::text(verb)),
            ("object", value::text(&object)),
            ("revision", Value::Int(revision)),
            ("cause", cause),
            (
                "took",
                Value::Duration(chrono::Duration::microseconds(record.took_us.min(i64::MAX as u64) as i64)),
            ),
            ("detail", if detail.is_null() { value::empty() } else { value::of_json(&detail) }),
            ("user", value::text(user)),
            ("impersonator", value::text(request.map_or("", |r| r.impersonator.as_str()))),
            ("code", Value::Int(request.map_or(0, |r| r.code.into()))),
            ("dry_run", Value::Bool(request.is_some_and(|r| r.dry_run))),
            ("request", value::text(request.map_or("", |r| r.id.as_str()))),
            ("session", value::text(&request.map_or_else(String::new, session_of))),
            ("own", Value::Bool((is_answer || ended.is_some()) && learner && request.is_some_and(is_meant))),
            ("command", value::text(request.map_or("", |r| r.command.as_str()))),
            // How it was looked at, and what was said of it.
            ("table", Value::Bool(answer.table)),
            ("selector", value::text(&selector)),
            ("prefix", value::text(prefix)),
            ("labels", value::text(&answer.labels)),
            ("fields", value::text(&answer.fields)),
            ("output", value::text(answer.output.as_deref().unwrap_or_default())),
            // A kubectl that does not say may have been told anything.
            ("output_known", Value::Bool(answer.output.is_some())),
            // It would not have said that there is none.
            ("silent", Value::Bool(answer.silent)),
            ("watch", Value::Bool(answer.watch)),
            ("tried", answer.tried.as_ref().map_or_else(value::empty, value::of_json)),
            ("tail", Value::Int(answer.tail.unwrap_or(ALL_LINES))),
            ("exit", Value::Int(exit)),
            ("message", value::text(&answer.message)),
            ("by", value::text(if solving && learner { "solve" } else { "" })),
        ])
    }
}

/// The session of a request, by which those of one command belong together. Clients choose them:
/// the same session of another user is another one.
fn session_of(request: &Request) -> String {
    let is_learners = request.user == tap::LEARNER && request.impersonator.is_empty();
    match is_learners || request.session.is_empty() {
        true => request.session.clone(),
        false => format!("{} {} {}", request.session, request.user, request.impersonator),
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

/// Did the person mean to make this request? Completion and the interface ask by themselves, and
/// `kubectl delete` looks whether what it has deleted is gone.
fn is_meant(request: &Request) -> bool {
    let looks = matches!(request.verb.as_str(), "get" | "list" | "watch")
        && !tap::is_connection(&request.subresource);
    let asks_by_itself = request.command == "kubectl delete" || request.user_agent.starts_with("ropewalk");
    !(looks && asks_by_itself)
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

/// `Pod/default/web/exec`, `Pod/default/*` for a list, `Pod/*/*` for one of all namespaces,
/// `Node//name` without a namespace.
pub fn name(plural: &str, namespace: &str, name: &str, subresource: &str) -> String {
    let fits = |k: &&kinds::Kind| k.plural == plural;
    let kind = kinds::all().iter().filter(fits).max_by_key(|k| (k.is_stored(), k.conversion.is_none()));
    let all = kind.is_some_and(|k| k.namespaced) && namespace.is_empty();
    let mut text = kind.map_or(plural, |k| k.kind).to_string();
    text.push('/');
    text.push_str(if all { "*" } else { namespace });
    text.push('/');
    text.push_str(if name.is_empty() { "*" } else { name });
    if !subresource.is_empty() {
        text.push('/');
        text.push_str(subresource);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::value::{int_field, str_field};
    use serde_json::json;
    use tap::{Component, Tap, Write};

    fn write(tap: &Tap, id: &str, user: &str, revision: u64, write: Write, object: &serde_json::Value) {
        let request =
            Request { id: id.into(), user: user.into(), verb: "create".into(), ..Request::default() };
        let mut commit = Record::new(Event::Commit(write)).object("pods", "d", "p").revision(revision);
        commit.request = Some(request.clone());
        commit.body = Some(object.to_string().into());
        tap.emit(commit);
        let mut answer = Record::new(Event::Answer(Box::default())).object("pods", "d", "p");
        answer.request = Some(Request { code: 201, ..request });
        tap.emit(answer);
    }

    /// On a foreign cluster a lesson moves into its room before the first record comes.
    #[test]
    fn a_recorder_that_moves_before_the_first_record_has_seen_no_beginning() {
        let (mut moved, mut later) = (Recorder::default(), Recorder::default());
        moved.move_to(Room::default());
        assert!(!moved.reaches(0) && !moved.reaches(7));
        let record = Record::new(Event::Commit(Write::UPDATED)).revision(9);
        moved.take(&record, None);
        assert!(moved.reaches(9) && !moved.reaches(8) && !moved.reaches(10));
        later.take(&record, None);
        later.move_to(Room::default());
        assert!(later.reaches(9) && !later.reaches(8), "what came before the move counts");
    }

    /// The learner looks, goes back a step and forth again: that they looked is still so, and what
    /// was before the step is still none of it.
    #[test]
    fn a_step_that_is_taken_up_again_has_its_looks() {
        let tap = Tap::new().at("n", Component::ApiServer);
        let look = |id: &str| {
            let mut record = Record::new(Event::Answer(Box::default())).object("pods", "d", "p");
            let (id, user, verb) = (id.to_string(), tap::LEARNER.to_string(), "get".to_string());
            record.request = Some(Request { id, user, verb, code: 200, ..Request::default() });
            tap.emit(record);
        };
        look("before");
        write(&tap, "set-up", "teacher", 5, Write::CREATED, &json!({}));
        let began = clock::now();
        look("looked");
        write(&tap, "made", "learner", 9, Write::UPDATED, &json!({}));
        let told = |at| {
            let mut recorder = Recorder::default();
            recorder.resume_step(&tap.since(0), 5, at);
            let ids = recorder.trace.iter().map(|record| str_field(record, "request").to_string());
            let mut ids: Vec<String> = ids.collect();
            ids.dedup();
            ids
        };
        assert_eq!(told(Some(began)), ["looked", "made"]);
        assert_eq!(told(None), ["made"], "an older program did not note the time");
    }

    #[test]
    fn writes_become_versions_and_hops() {
        let tap = Tap::new().at("n", Component::ApiServer);
        let owned = json!({"metadata": {"ownerReferences": [{"kind": "ReplicaSet", "controller": true}]}});
        write(&tap, "1", "system:kube-controller-manager", 5, Write::CREATED, &owned);
        write(&tap, "2", "learner", 9, Write::DELETED, &owned);
        let mut recorder = Recorder::default();
        tap.since(0).iter().for_each(|r| recorder.take(r, Some(true)));
        let versions = &recorder.versions[&("pods".into(), "d".into(), "p".into())];
        assert_eq!(versions.iter().map(|v| v.verb).collect::<Vec<_>>(), ["ADDED", "DELETED"]);
        assert_eq!((recorder.revision, recorder.of_plural["pods"]), (9, 9));
        let answer = &recorder.trace[1];
        assert_eq!(
            (str_field(answer, "verb"), int_field(answer, "code"), int_field(answer, "revision")),
            ("create", 201, 5)
        );
        assert_eq!(
            (str_field(answer, "object"), str_field(answer, "by_component")),
            ("Pod/d/p", "replicaset-controller")
        );
        assert_eq!((str_field(answer, "by"), str_field(&recorder.trace[3], "by")), ("", "solve"));
    }

    #[test]
    fn how_something_was_looked_at_is_told() {
        let tap = Tap::new().at("n", Component::ApiServer);
        let (verb, selector) = ("list".to_string(), "app=web".to_string());
        let message = "Invalid value: 80: out of range".to_string();
        for told in [
            Answer { verb, table: true, selector, ..Answer::default() },
            Answer { verb: "create".into(), message, ..Answer::default() },
        ] {
            let mut answer = Record::new(Event::Answer(told.into())).object("pods", "d", "");
            answer.request =
                Some(Request { user: "learner".into(), verb: "list".into(), ..Request::default() });
            tap.emit(answer);
        }
        let mut recorder = Recorder::default();
        tap.since(0).iter().for_each(|r| recorder.take(r, Some(false)));
        let told = |at: usize| {
            let record = &recorder.trace[at];
            let table = crate::cel::value::field(record, "table") == Some(&Value::Bool(true));
            (table, str_field(record, "selector").to_string(), str_field(record, "message").to_string())
        };
        assert_eq!(told(0), (true, "app=web".into(), String::new()));
        assert_eq!(told(1), (false, String::new(), "Invalid value: 80: out of range".into()));
    }

    #[test]
    fn how_many_lines_of_a_log_were_asked_for_is_told() {
        let tail = |tail: Option<i64>| {
            let mut recorder = Recorder::default();
            let answer = Event::Answer(Box::new(Answer { tail, ..Answer::default() }));
            recorder.take(&Record::new(answer).object("pods", "d", "p"), Some(false));
            int_field(&recorder.trace[0], "tail")
        };
        assert_eq!([Some(0), Some(10), None].map(tail), [0, 10, -1]);
    }

    #[test]
    fn a_list_that_describe_searches_for_a_prefix_is_no_look_at_the_rest() {
        let tap = Tap::new().at("n", Component::ApiServer);
        let asked = |session: &str, command: &str, verb: &str, name: &str, code: u16| {
            let mut answer = Record::new(Event::Answer(Box::default())).object("nodes", "", name);
            answer.request = Some(Request {
                user: "learner".into(),
                verb: verb.into(),
                session: session.into(),
                command: command.into(),
                code,
                ..Request::default()
            });
            tap.emit(answer);
        };
        asked("1", "kubectl describe", "get", "work", 404);
        asked("1", "kubectl describe", "list", "", 200);
        asked("2", "kubectl describe", "list", "", 200); // another command
        asked("", "", "get", "work", 404); // curl: each request stands for itself
        asked("", "", "list", "", 200);
        asked("3", "kubectl get", "get", "work", 404); // `kubectl get` searches for nothing
        asked("3", "kubectl get", "list", "", 200);
        let named = |name: &str| value::of_json(&json!({"kind": "Node", "metadata": {"name": name}}));
        let told = |recorder: &Recorder| -> Vec<(String, bool, bool)> {
            let lists = recorder.trace.iter().filter(|t| str_field(t, "verb") == "list");
            let covers = |t: &Value, name: &str| crate::cel::covers(t, &named(name));
            lists
                .map(|t| (str_field(t, "selector").into(), covers(t, "worker"), covers(t, "control-plane")))
                .collect()
        };
        let whole = (String::new(), true, true);
        let expected =
            vec![("metadata.name=work*".to_string(), true, false), whole.clone(), whole.clone(), whole];
        let mut recorder = Recorder::default();
        tap.since(0).iter().for_each(|r| recorder.take(r, Some(false)));
        assert_eq!(told(&recorder), expected);
    }

    #[test]
    fn the_end_of_a_command_in_a_container_is_told_of_whoever_asked_for_it() {
        let tap = Tap::new().at("n", Component::Kubelet);
        for (id, user) in [("1", "learner"), ("2", "teacher")] {
            let mut answer = Record::new(Event::Answer(Box::default())).object("pods", "d", "p");
            let (id, user) = (id.to_string(), user.to_string());
            let (verb, subresource) = ("create".into(), "exec".into());
            answer.request = Some(Request { id, user, verb, subresource, code: 101, ..Request::default() });
            tap.emit(answer);
        }
        for (id, exit) in [("1", 0), ("1", 127), ("2", 0), ("unknown", 0)] {
            let ended = Record::new(Event::Exec { exit }).object("pods", "d", "p");
            tap.emit(ended.cause(Some(Cause::Request(id.into()))));
        }
        let mut recorder = Recorder::default();
        tap.since(0).iter().for_each(|r| recorder.take(r, Some(false)));
        let own = |t: &&Value| value::field(t, "own") == Some(&Value::Bool(true));
        let told: Vec<_> = recorder
            .trace
            .iter()
            .filter(own)
            .map(|t| (str_field(t, "object"), int_field(t, "exit")))
            .collect();
        assert_eq!(told, [("Pod/d/p/exec", -1), ("Pod/d/p/exec", 0), ("Pod/d/p/exec", 127)]);
    }

    #[test]
    fn where_only_answers_tell_who_wrote_a_version_has_its_writer_whichever_comes_first() {
        let tap = Tap::new().at("far", Component::ApiServer);
        let saw = |revision: u64, write: Write| {
            let mut commit = Record::new(Event::Commit(write)).object("pods", "own", "p").revision(revision);
            commit.body = Some(json!({"metadata": {"namespace": "own"}}).to_string().into());
            tap.emit(commit);
        };
        let answered = |revision: u64| {
            let mut answer =
                Record::new(Event::Answer(Box::default())).object("pods", "own", "p").revision(revision);
            answer.request = Some(Request {
                user: "learner".into(),
                verb: "patch".into(),
                code: 200,
                ..Request::default()
            });
            tap.emit(answer);
        };
        saw(5, Write::CREATED);
        answered(5);
        answered(8);
        saw(8, Write::UPDATED);
        saw(9, Write::UPDATED);
        let room = Room { namespace: Some("own".into()), ..Room::default() };
        let mut recorder = Recorder { room, ..Recorder::default() };
        tap.since(0).iter().for_each(|r| recorder.take(r, Some(false)));
        let versions = &recorder.versions[&("pods".into(), "default".into(), "p".into())];
        let told: Vec<_> = versions.iter().map(|v| (v.revision, str_field(v.value(), "user"))).collect();
        assert_eq!(told, [(5, "learner"), (8, "learner"), (9, "")]);
        assert_eq!(
            str_field(value::at(versions[0].value(), "object.metadata").unwrap(), "namespace"),
            "default"
        );
        assert_eq!(str_field(&recorder.trace[1], "object"), "Pod/default/p");
    }

    #[test]
    fn what_happened_unseen_is_told_by_what_was_and_what_is() {
        let pod = |name: &str, uid: &str, revision: i64| json!({"metadata": {"namespace": "d", "name": name, "uid": uid, "resourceVersion": revision.to_string()}});
        let mut recorder = Recorder::default();
        // The watch was faster, and the tap has told of a later change.
        for name in ["same", "changed", "replaced", "new"] {
            recorder.found("pods", &pod(name, "x", 30));
        }
        let key = |name: &str| ("pods".to_string(), "d".to_string(), name.to_string());
        recorder.add(key("changed"), Version::new(41, None, "MODIFIED", "null".into()));
        let then =
            [pod("same", "1", 5), pod("changed", "2", 6), pod("replaced", "3", 7), pod("gone", "4", 8)];
        let now =
            [pod("same", "1", 5), pod("changed", "2", 20), pod("replaced", "9", 30), pod("new", "5", 35)];
        let [then, now] = [then, now].map(|all| all.to_vec());
        let (then, now) =
            ([then, vec![pod("judged", "6", 9)]].concat(), [now, vec![pod("judged", "8", 36)]].concat());
        recorder.gap("pods", &then, &now, 40, &[("8".to_string(), "6".to_string())].into());
        let of = |name: &str| -> Vec<String> {
            let all = &recorder.versions[&key(name)];
            all.iter().map(|v| format!("{}{}", v.verb, v.revision)).collect()
        };
        assert_eq!(of("same"), ["ADDED5"]);
        assert_eq!(of("changed"), ["ADDED6", "MODIFIED20", "MODIFIED41"]);
        assert_eq!(of("replaced"), ["ADDED7", "DELETED29", "ADDED30"]);
        assert_eq!(of("gone"), ["ADDED8", "DELETED40"]);
        assert_eq!(of("new"), ["ADDED35"]);
        assert_eq!(of("judged"), ["ADDED9", "MODIFIED36"], "the judge took it away and put it back");
        let kept: usize = recorder.versions.values().map(|v| v.len()).sum();
        assert_eq!(recorder.order.len(), kept);
    }

    #[test]
    fn a_custom_resource_of_the_same_plural_has_a_history_of_its_own() {
        let tap = Tap::new().at("n", Component::ApiServer);
        for (group, revision) in [("", 5), ("example.com", 6)] {
            let mut commit = Record::new(Event::Commit(Write::UPDATED))
                .object("services", "d", "web")
                .group(group)
                .revision(revision);
            commit.body = Some("{}".into());
            tap.emit(commit);
        }
        let mut recorder = Recorder::default();
        tap.since(0).iter().for_each(|r| recorder.take(r, Some(false)));
        let revisions = |plural: &str| -> Vec<i64> {
            let all = &recorder.versions[&(plural.into(), "d".into(), "web".into())];
            all.iter().map(|v| v.revision).collect()
        };
        assert_eq!((revisions("services"), revisions("services.example.com")), (vec![5], vec![6]));
        assert_eq!(recorder.of_plural["services"], 5, "what the watch of Services has to reach");
        let told: Vec<&str> = recorder.trace.iter().map(|t| str_field(t, "object")).collect();
        assert_eq!(told, ["Service/d/web", "services.example.com/d/web"]);
    }

    #[test]
    fn objects_have_one_way_to_be_named() {
        assert_eq!(name("pods", "default", "web", "exec"), "Pod/default/web/exec");
        assert_eq!(name("pods", "default", "", ""), "Pod/default/*");
        assert_eq!(name("pods", "", "", ""), "Pod/*/*");
        assert_eq!(name("nodes", "", "n1", ""), "Node//n1");
        assert_eq!(name("nodes", "", "", ""), "Node//*");
        assert_eq!(name("deployments", "d", "w", "scale"), "Deployment/d/w/scale");
    }

    #[test]
    fn who_takes_a_components_name_is_none() {
        let tap = Tap::new().at("n", Component::ApiServer);
        let write = |impersonator: &str, revision| {
            let request = Request {
                user: "system:kube-scheduler".into(),
                impersonator: impersonator.into(),
                ..Request::default()
            };
            let mut commit =
                Record::new(Event::Commit(Write::UPDATED)).object("pods", "d", "p").revision(revision);
            (commit.request, commit.body) = (Some(request), Some("{}".into()));
            tap.emit(commit);
        };
        write("", 5);
        write("learner", 6);
        let mut recorder = Recorder::default();
        tap.since(0).iter().for_each(|r| recorder.take(r, Some(false)));
        let by: Vec<&str> = recorder.trace.iter().map(|t| str_field(t, "by_component")).collect();
        assert_eq!(by, ["kube-scheduler", ""]);
        let users: Vec<&str> = recorder.versions[&("pods".into(), "d".into(), "p".into())]
            .iter()
            .map(|v| v.user.as_str())
            .collect();
        assert_eq!(users, ["system:kube-scheduler", "learner"]);
    }

    /// kubectl asks for the same table for a plain list and for `-o wide`; only Ropewalk's own says
    /// which of the two it was.
    #[test]
    fn what_was_written_after_o_is_known_only_where_the_client_said_it() {
        let hop = |output: Option<&str>| {
            let mut recorder = Recorder::default();
            let answer = Answer { table: true, output: output.map(String::from), ..Answer::default() };
            let record = Record::new(Event::Answer(answer.into())).object("pods", "default", "");
            recorder.take(&record, Some(false));
            let known = value::at(&recorder.trace[0], "output_known") == Some(&Value::Bool(true));
            (known, str_field(&recorder.trace[0], "output").to_string())
        };
        assert_eq!(hop(None), (false, String::new()), "another kubectl");
        assert_eq!(hop(Some("")), (true, String::new()), "a plain list");
        assert_eq!(hop(Some("wide")), (true, "wide".into()));
    }

    #[test]
    fn a_request_is_the_learners_own_if_the_learner_meant_it() {
        let tap = Tap::new().at("n", Component::ApiServer);
        let kubectl = format!("kubectl/{} (linux/amd64) ropewalk", kubectl::VERSION);
        let asked = |user: &str, agent: &str, command: &str, verb: &str| {
            let mut answer = Record::new(Event::Answer(Box::default())).object("pods", "default", "p");
            answer.request = Some(Request {
                user: user.into(),
                user_agent: agent.into(),
                command: command.into(),
                verb: verb.into(),
                code: 200,
                ..Request::default()
            });
            tap.emit(answer);
        };
        asked("learner", &kubectl, "kubectl get", "get");
        asked("learner", "curl/8", "", "delete");
        asked("learner", &kubectl, "kubectl delete", "delete");
        asked("learner", &kubectl, "kubectl delete", "get"); // waits until it is gone
        asked("learner", "ropewalk-repl/0.1.0", "", "list"); // Tab
        asked("teacher", &kubectl, "kubectl get", "get");
        asked("system:node:n", "kubelet/v1", "", "get");
        let mut recorder = Recorder::default();
        tap.since(0).iter().for_each(|r| recorder.take(r, Some(false)));
        let own: Vec<bool> =
            recorder.trace.iter().map(|t| value::field(t, "own") == Some(&Value::Bool(true))).collect();
        assert_eq!(own, [true, true, true, false, false, false, false]);
    }
}
