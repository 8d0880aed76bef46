//! One request on its way: its user, what it asks for, and the records that it leaves in the tap.

use crate::auth::user::User;
use crate::flowcontrol::seat::Seat;
use crate::proxy::kubelet::asks_for_upgrade;
use crate::proxy::names;
use crate::request::http::{Query, header};
use crate::request::info::Info;
use api::gostr::is_print;
use api::path::cut;
use clock::Instant;
use http::HeaderMap;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tap::{self, Answer, Cause, Event, Record, Tap, Write};

/// What the stages of one request know of it and add to it.
pub(crate) struct Context {
    pub user: User,
    pub info: Info,
    pub query: Query,
    pub headers: HeaderMap,
    pub request: tap::Request,
    pub cause: Option<Cause>,
    /// True for a write whose query asks for a dry run. A deletion may say it in its body: see
    /// [`Context::is_tried`].
    pub dry_run: bool,
    /// What this request holds of what is bounded.
    pub seat: Arc<Seat>,
    tap: Tap,
    /// The name of a new object, which stands in its body or is generated: the path has none.
    named: OnceLock<String>,
    /// A deletion that is only tried: its options stand in the body. Also a look-up of kubectl for
    /// a command with `--dry-run`.
    tried: AtomicBool,
    /// What a write would have made that is only tried, or was refused as invalid, or because the
    /// impersonated user may not write it.
    outcome: OnceLock<Value>,
    /// The log that was asked for had no line to show.
    is_log_empty: AtomicBool,
    /// A server in a pod has answered, through the proxy.
    answered_by_pod: AtomicBool,
    warnings: Mutex<Vec<String>>,
    /// The audit annotations of admission policies.
    annotations: Mutex<BTreeMap<String, String>>,
    /// The records of a request that is not authorized yet: what is refused must not fill the tap.
    early: Mutex<Vec<Record>>,
    is_authorized: AtomicBool,
    /// When the last stage ended.
    stage: Mutex<Instant>,
}

/// The media type of a server-side apply.
pub(crate) const APPLY: &str = "application/apply-patch+yaml";
/// The manager of what the server writes by itself.
pub(crate) const SERVER: &str = "kube-apiserver";
/// Bytes of a manager's name, at most.
pub(crate) const MANAGER_MAX: usize = 128;

/// Returns whether a user agent is that of a part of this program which reads by itself: an
/// informer, completion, the interface.
pub fn is_own(agent: &str) -> bool {
    agent.contains("+ropewalk") || agent.starts_with("ropewalk")
}

/// Warnings of one answer, at most.
const WARNINGS_MAX: usize = 50;
/// Bytes of all warnings of one answer: clients and proxies bound an answer's head, the built-in
/// kubectl to 16 KiB. Source: `truncateAtTotalRunes` in k8s.io/apiserver.
const ALL_WARNINGS_MAX: usize = 4 << 10;
/// Bytes of one warning where all together have more. Source: `truncateItemRunes`.
const CUT_WARNING_MAX: usize = 256;

/// Bytes of a name, a client or a session in a record. Clients choose them.
const RECORDED_NAME_MAX: usize = 512;
/// Bytes of a command, a message or a selector in a record.
const RECORDED_TEXT_MAX: usize = 4096;
/// Words of a command in a container in a record. Together they have at most
/// [`RECORDED_TEXT_MAX`] bytes.
const EXEC_WORDS_MAX: usize = 128;

/// Returns a text as a record keeps it: whole, or its first `most` bytes and `…`.
fn short(text: &str, most: usize) -> String {
    match text.len() > most {
        true => format!("{}…", &text[..text.floor_char_boundary(most)]),
        false => text.to_string(),
    }
}

/// Returns the words of a command in a container (`exec`) as a record keeps them: all, or none if
/// they are too many or too long, as half a command could be taken for another one. Other requests
/// have none.
pub fn exec_words(subresource: &str, query: &Query) -> Vec<String> {
    if subresource != "exec" {
        return vec![];
    }
    let (mut words, mut bytes) = (vec![], 0);
    for word in query.all("command") {
        bytes += word.len();
        if words.len() == EXEC_WORDS_MAX || bytes > RECORDED_TEXT_MAX {
            return vec![];
        }
        words.push(word.to_string());
    }
    words
}

/// Returns whether kubectl only looks here for a command with `--dry-run`: its header says so. A
/// write says it in its query.
pub fn is_trial(headers: &HeaderMap, info: &Info) -> bool {
    let looks = matches!(info.verb.as_str(), "get" | "list") && !tap::is_connection(&info.subresource);
    looks && !header(headers, "kubectl-dry-run").is_empty()
}

/// Returns whether the query says that the request is only to be tried. A token is issued all the
/// same, as upstream. A command in a container, a session or a proxied request is never tried: with
/// `dryRun` it is refused.
pub fn is_dry_run(info: &Info, query: &Query) -> bool {
    let is_done = tap::is_connection(&info.subresource) || info.subresource == "token";
    !is_done && query.has("dryRun") && query.all("dryRun").all(|value| value == "All")
}

impl Context {
    pub(crate) fn new(
        id: String,
        user: User,
        info: Info,
        query: Query,
        headers: HeaderMap,
        tap: Tap,
    ) -> Context {
        let is_component = tap::is_component(tap::actor(&user.name, &user.impersonator));
        let cause = header(&headers, client::CAUSE_HEADER).parse().ok().filter(|_| is_component);
        let request = tap::Request {
            id,
            user: short(&user.name, RECORDED_NAME_MAX),
            impersonator: short(&user.impersonator, RECORDED_NAME_MAX),
            user_agent: short(header(&headers, "user-agent"), RECORDED_NAME_MAX),
            session: short(header(&headers, "kubectl-session"), RECORDED_NAME_MAX),
            command: short(header(&headers, "kubectl-command"), RECORDED_TEXT_MAX),
            verb: short(&info.verb, RECORDED_NAME_MAX),
            subresource: short(&info.subresource, RECORDED_NAME_MAX),
            inside: false,
            code: 0,
            dry_run: false,
        };
        // What else may stand there is refused before anything is written; deletions read their
        // options for themselves.
        let dry_run = !info.verb.starts_with("delete") && is_dry_run(&info, &query);
        let tried = AtomicBool::new(is_trial(&headers, &info));
        Context {
            user,
            info,
            query,
            headers,
            request,
            cause,
            dry_run,
            seat: Seat::new(None),
            tap,
            named: OnceLock::new(),
            tried,
            outcome: OnceLock::new(),
            is_log_empty: AtomicBool::new(false),
            answered_by_pod: AtomicBool::new(false),
            warnings: Mutex::default(),
            annotations: Mutex::default(),
            early: Mutex::default(),
            is_authorized: AtomicBool::new(false),
            stage: Mutex::new(Instant::now()),
        }
    }

    /// Returns the same request with its seat: its share of the memory and of the requests in
    /// flight.
    pub(crate) fn seated(self, seat: Arc<Seat>) -> Context {
        Context { seat, ..self }
    }

    /// Returns the same request of a client with an address of the cluster's own network, or with
    /// another.
    pub(crate) fn inside(mut self, is_inside: bool) -> Context {
        self.request.inside = is_inside;
        self
    }

    /// Returns the same request as an act of the server itself, which needs no authorization.
    pub(crate) fn of_server(self) -> Context {
        Context { is_authorized: AtomicBool::new(true), ..self }
    }

    /// Returns this request as the cause of what other servers do for it, in the form of a header.
    pub(crate) fn cause_of_this(&self) -> String {
        tap::Cause::Request(self.request.id.clone()).to_string()
    }

    pub(crate) fn accept(&self) -> &str {
        header(&self.headers, "accept")
    }

    /// Returns the field manager of what this request writes: the one that it names, else the first
    /// part of its user agent. A component of the cluster without either has a name of its own.
    pub(crate) fn manager(&self) -> String {
        let agent = self.request.user_agent.split('/').next().unwrap_or_default();
        let name = match (self.query.get("fieldManager"), agent) {
            ("", "") if self.user.node().is_some() => "kubelet",
            ("", "") if self.user.name == "system:apiserver" => SERVER,
            ("", "") => self.user.name.rsplit(':').next().unwrap_or_default(),
            ("", agent) => agent,
            (named, _) => named,
        };
        let mut manager = String::new();
        for c in name.chars().filter(|c| is_print(*c)) {
            if manager.len() + c.len_utf8() > MANAGER_MAX {
                break;
            }
            manager.push(c);
        }
        manager
    }

    /// Returns whether this is a server-side apply.
    pub(crate) fn applies(&self) -> bool {
        let media = header(&self.headers, "content-type").split(';').next().unwrap_or_default();
        self.info.verb == "patch" && media.trim() == APPLY
    }

    /// Adds a warning for the client, which gets it as a `Warning` header.
    pub(crate) fn warn(&self, text: impl Into<String>) {
        let mut warnings = self.warnings.lock();
        // `take_warnings` cuts those that are too long together.
        let is_full = warnings.iter().map(String::len).sum::<usize>() > ALL_WARNINGS_MAX;
        let text = cut(text.into(), if is_full { CUT_WARNING_MAX } else { ALL_WARNINGS_MAX });
        if warnings.len() < WARNINGS_MAX && !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// Takes the warnings for the answer. Where they are too long together, each is cut, and the
    /// last ones are left out.
    pub(crate) fn take_warnings(&self) -> Vec<String> {
        let all = std::mem::take(&mut *self.warnings.lock());
        if all.iter().map(String::len).sum::<usize>() <= ALL_WARNINGS_MAX {
            return all;
        }
        let mut taken = 0;
        let cut_all = all.into_iter().map(|text| cut(text, CUT_WARNING_MAX));
        let fitting = cut_all.take_while(|text| {
            let has_room = taken < ALL_WARNINGS_MAX;
            taken += text.len();
            has_room
        });
        fitting.collect()
    }

    /// Ends a stage. Returns how long it took.
    fn lap(&self) -> Duration {
        let mut stage = self.stage.lock();
        let took = stage.elapsed();
        *stage = Instant::now();
        took
    }

    /// Sets the name of a new object, for the records of this request. The first name stays.
    pub(crate) fn set_name(&self, name: &str) {
        if !name.is_empty() {
            let _ = self.named.set(name.to_string()); // the name that the client gave comes first
        }
    }

    /// Remembers that the body of a deletion asks for a dry run.
    pub(crate) fn mark_tried(&self) {
        self.tried.store(true, Ordering::Relaxed);
    }

    /// Returns whether [`Context::mark_tried`] was called, or kubectl looks something up for a
    /// command with `--dry-run`.
    pub(crate) fn is_tried(&self) -> bool {
        self.tried.load(Ordering::Relaxed)
    }

    /// Records audit annotations, once for as many attempts as find the same.
    pub(crate) fn annotate(&self, annotations: BTreeMap<String, String>) {
        let is_new = !annotations.is_empty() && *self.annotations.lock() != annotations;
        if is_new {
            self.stage(Event::Admit(json!({ "auditAnnotations": annotations })));
            *self.annotations.lock() = annotations;
        }
    }

    /// Returns whether every stage of this request is recorded: that of a write of people and
    /// components, but not of a Lease's heartbeat, and that of every request of kubectl.
    fn is_recorded(&self) -> bool {
        let write =
            matches!(self.info.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection");
        let heartbeat = self.info.group == "coordination.k8s.io" && self.info.resource == "leases";
        (write && !heartbeat) || !self.request.session.is_empty()
    }

    /// Returns whether the answer to this request is recorded: beside those of
    /// [`Context::is_recorded`] whatever people look at, with any client, and every command in a
    /// container. What this program's own parts look at is not recorded. A client that takes the
    /// user agent of one of them hides only what it looks at.
    fn is_answer_recorded(&self) -> bool {
        let info = &self.info;
        let is_from_outside = tap::is_connection(&info.subresource) || !is_own(&self.request.user_agent);
        self.is_recorded() || (info.is_resource && is_from_outside)
    }

    /// Returns the records that the tap still has, oldest first.
    pub(crate) fn records(&self) -> Vec<std::sync::Arc<Record>> {
        self.tap.since(0)
    }

    fn record(&self, event: Event) -> Record {
        let mut record = Record::new(event).cause(self.cause.clone()).took(self.lap());
        if self.info.is_resource {
            let name = match (self.info.name.as_str(), self.info.subresource.as_str()) {
                ("", _) => self.named.get().map_or("", String::as_str),
                (asked, "proxy") => names::split(asked).map_or(asked, |(_, name, _)| name),
                (name, _) => name,
            };
            let names =
                [self.info.resource.as_str(), self.info.object_namespace(), name, self.info.custom_group()];
            let [resource, namespace, name, group] = names.map(|text| short(text, RECORDED_NAME_MAX));
            record = record.object(&resource, &namespace, &name).group(&group);
        }
        record.request = Some(tap::Request {
            dry_run: self.dry_run || self.tried.load(Ordering::Relaxed),
            ..self.request.clone()
        });
        record
    }

    /// Remembers what a write would have made that is only tried, or refused as invalid, or because
    /// the impersonated user may not write it.
    pub(crate) fn would_make(&self, object: &Value) {
        if self.is_answer_recorded() {
            let mut object = object.clone();
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.remove("managedFields");
            }
            let _ = self.outcome.set(object); // of several attempts the first one
        }
    }

    /// Remembers that the log that was asked for had no line to show.
    pub(crate) fn mark_log_empty(&self) {
        self.is_log_empty.store(true, Ordering::Relaxed);
    }

    /// Remembers that a server in a pod has answered.
    pub(crate) fn mark_answered_by_pod(&self) {
        self.answered_by_pod.store(true, Ordering::Relaxed);
    }

    /// Records that a stage is over: [`Event::Authenticate`], [`Event::Authorize`],
    /// [`Event::Admit`], [`Event::Validate`].
    pub(crate) fn stage(&self, event: Event) {
        if self.is_recorded() {
            let record = self.record(event);
            match self.is_authorized.load(Ordering::Relaxed) {
                true => self.emit(record),
                false => self.early.lock().push(record),
            }
        }
    }

    /// Records that the request is authorized. The records of its stages until now, which were held
    /// back, go to the tap.
    pub(crate) fn authorized(&self) {
        self.is_authorized.store(true, Ordering::Relaxed);
        self.emit_early();
        self.stage(Event::Authorize);
    }

    fn emit_early(&self) {
        let early = std::mem::take(&mut *self.early.lock());
        early.into_iter().for_each(|record| self.emit(record));
    }

    /// Returns whether the request changes nothing, so that it costs its sender nothing to send any
    /// number of them. What goes on over a stream, a command in a container for example, is an act;
    /// a proxied GET that begins no session is a read.
    fn only_reads(&self) -> bool {
        let info = &self.info;
        let is_page = info.subresource == "proxy" && !asks_for_upgrade(&self.headers);
        let streams = tap::is_connection(&info.subresource) && !is_page;
        let looks = matches!(info.verb.as_str(), "get" | "list" | "watch") && !streams;
        let asks = matches!(info.group.as_str(), "authorization.k8s.io" | "authentication.k8s.io");
        looks || asks || self.dry_run
    }

    /// Adds a record of this request to the tap. Few records are kept of what guests send, and of
    /// reads a share for each account.
    fn emit(&self, record: Record) {
        let who = &self.request;
        let is_component = who.is_components();
        let is_teacher = tap::actor(&who.user, &who.impersonator) == tap::TEACHER;
        let is_known = is_component || is_teacher || who.is_persons(); // the anonymous user is none
        match is_known && self.is_authorized.load(Ordering::Relaxed) {
            true if is_component || !self.only_reads() => self.tap.emit(record),
            true => self.tap.emit_read(record),
            false => self.tap.emit_guest(record),
        };
    }

    /// Records a committed write with the object's bytes.
    pub(crate) fn committed(&self, object: &crate::storage::object::Object, write: Write) {
        use api::meta;
        let mut record = self.record(Event::Commit(write)).revision(object.revision as u64);
        record =
            record.object(&self.info.resource, meta::namespace(&object.value), meta::name(&object.value));
        record = record.group(self.info.custom_group());
        record.body = Some(object.bytes.clone());
        self.tap.emit(record);
    }

    /// Records something that this request did to an object other than the one its path names.
    pub(crate) fn record_other(&self, mut record: Record, body: Option<bytes::Bytes>) {
        record.request = Some(self.request.clone());
        record.cause = self.cause.clone();
        record.body = body;
        self.tap.emit(record);
    }

    /// Records that a request to a node led to a pod there, as the pod's own subresource would have
    /// been recorded.
    pub(crate) fn record_led_to(&self, subresource: &str, namespace: &str, pod: &str, code: u16) {
        let [namespace, pod] = [namespace, pod].map(|name| short(name, RECORDED_NAME_MAX));
        let argv = exec_words(subresource, &self.query);
        let answer = Answer { verb: self.request.verb.clone(), argv, ..Answer::default() };
        let mut record = Record::new(Event::Answer(answer.into())).object("pods", &namespace, &pod);
        record.request = Some(tap::Request { subresource: subresource.into(), code, ..self.request.clone() });
        self.emit(record);
    }

    /// Records the answer.
    pub(crate) fn answered(&self, code: u16, took: Duration, message: &str) {
        self.emit_early();
        if !self.is_answer_recorded() {
            return;
        }
        let answer = Event::Answer(Box::new(self.answer(message)));
        let mut record = self.record(answer).took(took);
        if let Some(request) = &mut record.request {
            request.code = code;
        }
        self.emit(record);
    }

    /// Returns how the request was made and answered.
    fn answer(&self, message: &str) -> Answer {
        let text = |text: &str| short(text, RECORDED_TEXT_MAX);
        let [labels, fields] = ["labelSelector", "fieldSelector"].map(|key| self.query.get(key));
        let selected: Vec<&str> = [labels, fields].into_iter().filter(|s| !s.is_empty()).collect();
        // `--tail=0` shows none of a log's lines.
        let tail = self.query.get("tailLines").parse().ok().filter(|_| self.info.subresource == "log");
        // Only Ropewalk's kubectl sends this header, also for a plain call without `-o`.
        let says_output = self.headers.contains_key("kubectl-output");
        let [watch, unseen] = ["kubectl-watch", "kubectl-unseen"].map(|name| header(&self.headers, name));
        let unseen = tap::unseen(&self.request.verb, watch, unseen);
        Answer {
            verb: self.request.verb.clone(),
            message: text(message),
            table: self.accept().contains("as=Table"),
            output: says_output.then(|| text(header(&self.headers, "kubectl-output"))),
            silent: !header(&self.headers, "kubectl-ignore-not-found").is_empty(),
            watch: !watch.is_empty(),
            unseen: short(unseen, RECORDED_NAME_MAX),
            tail,
            empty: self.is_log_empty.load(Ordering::Relaxed),
            argv: exec_words(&self.info.subresource, &self.query),
            from_pod: self.answered_by_pod.load(Ordering::Relaxed),
            tried: self.outcome.get().cloned(),
            labels: text(labels),
            fields: text(fields),
            selector: text(&selected.join(",")),
        }
    }
}

#[cfg(test)]
mod tests;
