//! Turns a record of the tap into a hop: the map that expressions see as an entry of `trace`.
//!
//! Example: the learner's `kubectl delete pod web` is a hop with `verb: "delete"`, `object:
//! "Pod/default/web"`, `user: "learner"` and `own: true`; the kubelet's end of the container is one
//! with `component: "kubelet"`.

use super::{DESCRIBE, Described, Recorder};
use crate::cel::value;
use api::kinds;
use cel::Value;
use tap::{Answer, Cause, Event, NODE, Record, Request};

/// Of a record that tells no exit code.
const NO_EXIT: i64 = -1;
/// Of a record that tells no number of lines: `tailLines` was not given, so a log was asked for
/// from its beginning.
const ALL_LINES: i64 = -1;

/// A field of a hop.
type Field = (&'static str, Value);

impl Recorder {
    /// Makes a hop of a record. `solving`: the learner's acts are those of the solution.
    pub(super) fn hop(&self, record: &Record, solving: bool) -> Value {
        let ended = self.exec_of(record);
        let request = record.request.as_ref().or(ended.map(|(request, _)| request));
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
                self.scope.lesson_name(&o.namespace),
                &o.name,
                request.map_or("", |r| r.subresource.as_str()),
            )
        });
        let cause = match &record.cause {
            Some(Cause::Revision(r)) => Value::Int(*r as i64),
            Some(Cause::Request(id)) => value::text(id),
            None => value::text(""),
        };
        let by_component = match request.map_or("", |r| r.user.as_str()) {
            _ if !self.who.is_components(record) => "",
            "system:kube-scheduler" => "kube-scheduler",
            user if user.starts_with(NODE) => "kubelet",
            "system:kube-controller-manager" => written.map_or("", |(_, _, c)| c.as_str()),
            _ => "",
        };
        let detail = record.event.detail();
        let took = chrono::Duration::microseconds(record.took_us.min(i64::MAX as u64) as i64);
        let what = [
            ("at", value::time(record.at)),
            ("node", value::text(&record.node)),
            ("component", value::text(record.component.name())),
            ("by_component", value::text(by_component)),
            ("verb", value::text(verb)),
            ("object", value::text(&object)),
            ("revision", Value::Int(revision)),
            ("cause", cause),
            ("took", Value::Duration(took)),
            ("detail", if detail.is_null() { value::empty() } else { value::of_json(&detail) }),
            ("exit", Value::Int(exit)),
            ("argv", words_of(record, ended)),
        ];
        let is_told = (is_answer || ended.is_some()) && !is_thrown_away(record);
        let asked = asked_by(request, is_told, solving);
        value::map(what.into_iter().chain(asked).chain(self.looked_at(record, request)))
    }

    /// The fields that tell how something was looked at, and what was said of it.
    fn looked_at(&self, record: &Record, request: Option<&Request>) -> [Field; 15] {
        // A list that is searched for a prefix shows a part of the kind, as one with a selector
        // does.
        let prefix = request.zip(record.object.as_ref()).map_or("", |(r, o)| self.prefix(r, o));
        let selector = match prefix {
            "" => record.answer().map_or_else(String::new, |a| a.selector.clone()),
            prefix => format!("metadata.name={prefix}*"),
        };
        let unanswered = Answer::default();
        let answer = record.answer().unwrap_or(&unanswered);
        let plural = record.object.as_ref().map_or_else(String::new, |o| o.qualified());
        let is_aside = request.is_some_and(|r| self.is_aside(r, &plural, &answer.selector));
        [
            ("table", Value::Bool(answer.table)),
            ("selector", value::text(&selector)),
            ("prefix", value::text(prefix)),
            ("aside", Value::Bool(is_aside)),
            ("labels", value::text(&answer.labels)),
            ("fields", value::text(&answer.fields)),
            ("output", value::text(answer.output.as_deref().unwrap_or_default())),
            // A kubectl that does not say its format may have any.
            ("output_known", Value::Bool(answer.output.is_some())),
            // It would not have said that there is none.
            ("silent", Value::Bool(answer.silent)),
            ("watch", Value::Bool(answer.watch)),
            ("unseen", value::text(&answer.unseen)),
            ("tried", answer.tried.as_ref().map_or_else(value::empty, value::of_json)),
            ("tail", Value::Int(answer.tail.unwrap_or(ALL_LINES))),
            ("empty", Value::Bool(answer.empty)),
            ("message", value::text(&answer.message)),
        ]
    }

    /// Returns whether this is a list that a `kubectl describe` needs beside what it describes. Its
    /// selector is another one than that of the command's first request. One with the same selector
    /// is not recognized: that of `kubectl describe deployments -l app=web` for ReplicaSets. The
    /// list of all pods, in which it searches for those that use a claim, is.
    ///
    /// Example: `kubectl describe node n1` gets the node, and lists its pods by `spec.nodeName=n1`
    /// for their requests of CPU and memory. `kubectl describe pods,services -l app=web` lists both
    /// kinds by `app=web`, and the EndpointSlices of each Service by the Service's name.
    fn is_aside(&self, request: &Request, plural: &str, selector: &str) -> bool {
        if request.verb != "list" || request.command != DESCRIBE {
            return false;
        }
        let first = self.described.iter().rfind(|first| first.session == request.session);
        let is_search = |first: &Described| first.plural == "persistentvolumeclaims" && plural == "pods";
        first.is_some_and(|first| first.selector != selector || is_search(first))
    }
}

/// Returns the words of a command in a container. Both of its records have them: the answer, which
/// begins it, and the kubelet's record of its end, which gets them from the answer.
fn words_of(record: &Record, ended: Option<&(Request, Vec<String>)>) -> Value {
    let words = record.answer().map(|answer| &answer.argv).or(ended.map(|(_, words)| words));
    value::list(words.into_iter().flatten().map(|word| value::text(word)).collect())
}

/// The fields that tell who made the request of a record, and by which command. `is_told`: the
/// record says how the request ended, and its answer was not thrown away.
fn asked_by(request: Option<&Request>, is_told: bool, solving: bool) -> [Field; 9] {
    let part = |part: fn(&Request) -> &str| value::text(request.map_or("", part));
    let learner = request.is_some_and(Request::is_persons);
    [
        ("user", part(|r| &r.user)),
        ("impersonator", part(|r| &r.impersonator)),
        ("code", Value::Int(request.map_or(0, |r| r.code.into()))),
        ("dry_run", Value::Bool(request.is_some_and(|r| r.dry_run))),
        ("request", part(|r| &r.id)),
        ("session", value::text(&request.map_or_else(String::new, session_of))),
        ("own", Value::Bool(is_told && learner && request.is_some_and(is_meant))),
        ("command", part(|r| &r.command)),
        ("by", value::text(if solving && learner { "solve" } else { "" })),
    ]
}

/// Returns whether this is a look whose answer went to `/dev/null` or was not printed
/// (`--watch-only`), so that the person saw nothing. What went to a file may be read later, or sent
/// back. A refusal is seen: kubectl prints it to standard error.
fn is_thrown_away(record: &Record) -> bool {
    let looks = |r: &Request| {
        let is_look = matches!(r.verb.as_str(), "get" | "list" | "watch");
        is_look && r.code < 400 && !tap::is_connection(&r.subresource)
    };
    let is_unseen = |answer: &Answer| matches!(answer.unseen.as_str(), "null" | tap::UNPRINTED);
    record.request.as_ref().is_some_and(looks) && record.answer().is_some_and(is_unseen)
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

/// Returns whether the person meant to make this request. Completion and the interface ask by
/// themselves, and `kubectl delete` looks whether what it has deleted is gone.
fn is_meant(request: &Request) -> bool {
    let looks = matches!(request.verb.as_str(), "get" | "list" | "watch")
        && !tap::is_connection(&request.subresource);
    let asks_by_itself = request.command == "kubectl delete" || request.user_agent.starts_with("ropewalk");
    !(looks && asks_by_itself)
}

/// `Pod/default/web/exec`, `Pod/default/*` for a list, `Pod/*/*` for one of all namespaces,
/// `Node//name` without a namespace.
pub(super) fn name(plural: &str, namespace: &str, name: &str, subresource: &str) -> String {
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
