//! Why the last command was refused, or what it left behind.

use super::facts::{kind, last_session};
use super::line::{Command, Typed, local_port, near_kind, near_verb};
use super::object::object;
use super::question::Explanation;
use super::reader::{Reader, flag, is_unread, near};
use super::service;
use super::texts::Word;
use api::meta;
use kubectl::table::Verb;
use std::sync::Arc;
use tap::{ObjectRef, Record};

/// How the 500 to a server-side apply begins whose fields do not fit the schema. Source:
/// `structuredMergeManager.Apply` of k8s.io/apimachinery.
const UNTYPED: &str = "failed to create typed patch object";

/// The last command of a person: the line that the shell has passed on, and what the records have
/// of it.
pub(super) fn last(reader: &Reader, namespace: &str, after: Option<&Typed>) -> Explanation {
    let failed = after.filter(|typed| typed.code != 0);
    let mut out = Explanation::default();
    let lines = after.map(|typed| Command::all(&typed.line)).unwrap_or_default();
    if let Some(typed) = failed
        && lines.iter().any(|command| misspelt(reader, &mut out, typed, command))
    {
        return out;
    }
    if let (Some(typed), true) = (failed, lines.is_empty()) {
        if let Some(port) = local_port(&typed.line) {
            return service::port(reader, port);
        }
        out.about = typed.line.clone();
        reader.line(&mut out, Word::NotKubectl, &[&typed.code.to_string()]);
        return out;
    }
    let records = &reader.facts.records;
    let Some(session) = last_session(records) else {
        match failed {
            Some(typed) => ended_itself(reader, &mut out, typed),
            None => reader.fine(&mut out, Word::NoCommand, &[]),
        }
        return out;
    };
    let command: Vec<&Arc<Record>> =
        records.iter().filter(|r| r.request.as_ref().is_some_and(|q| q.session == session)).collect();
    let last = command.last().and_then(|r| r.request.as_ref());
    out.about = last.map(|q| q.command.clone()).unwrap_or_default();
    // The command of the line that sent the recorded requests: the last one of this verb.
    let line = lines.iter().rfind(|line| is_of(line, &out.about)).or(lines.first());
    // A line of another command, or one that kubectl does not understand, never reached the server.
    let recorded = failed.is_none() || line.is_none_or(|line| may_be(line, &out.about));
    let went_well = after.is_some_and(|typed| typed.code == 0)
        && line.is_some_and(|line| line.alone && is_of(line, &out.about));
    // kubectl asks for what may be missing (discovery, what it is about to create), so the last
    // answer decides.
    let decides = |r: &&&Arc<Record>| r.answer().is_some() && !is_of_a_deletion(r, &command);
    let newest = command.iter().rev().find(decides).copied().filter(|answer| code(answer) >= 400);
    // An earlier refusal counts if the exit code says that something was refused.
    let code_tells =
        |typed: &Typed| line.is_some_and(|line| line.alone && tells_of_refusal(line, typed.code));
    let is_told = failed.is_some_and(code_tells);
    let refusal = newest.or_else(|| refused_before(&command).filter(|_| is_told));
    if let Some(answer) = refusal
        && recorded
        && !went_well
    {
        refused(reader, &mut out, answer, line);
        return out;
    }
    if let Some(typed) = failed {
        ended_itself(reader, &mut out, typed);
        return out;
    }
    left_behind(reader, namespace, out, &command)
}

/// What a command that was not refused has left: the object that it wrote last, else one that it
/// was about.
fn left_behind(
    reader: &Reader,
    namespace: &str,
    mut out: Explanation,
    command: &[&Arc<Record>],
) -> Explanation {
    let written = command
        .iter()
        .rev()
        .find(|r| r.write().is_some())
        .or_else(|| command.iter().rev().find(|r| r.object.as_ref().is_some_and(|o| !o.name.is_empty())));
    match written.and_then(|r| r.object.as_ref()) {
        Some(about) => {
            let place = if about.namespace.is_empty() { namespace } else { &about.namespace };
            object(reader, place, &about.qualified(), &about.name)
        }
        None if command.iter().all(|r| r.object.is_none()) => {
            reader.fine(&mut out, Word::NamesNoObject, &[]);
            out
        }
        None => {
            // A list of a namespace that does not exist is empty, and no refusal.
            let mut looked_into =
                command.iter().filter_map(|r| r.object.as_ref()).map(|o| o.namespace.as_str());
            let is_missing = |name: &&str| {
                let facts = reader.facts;
                !name.is_empty() && facts.knows("namespaces") && facts.find("namespaces", "", name).is_none()
            };
            if let Some(missing) = looked_into.find(is_missing) {
                reader.line(&mut out, Word::NothingWithin, &[missing]);
                out.tips.push("kubectl get namespaces".into());
                return out;
            }
            let newest = command.iter().rev().find(|r| r.answer().is_some());
            let code = newest.map_or(200, |answer| code(answer));
            reader.fine(&mut out, Word::LookedWell, &[&code.to_string()]);
            out
        }
    }
}

/// Returns whether this recorded command is the one of the line. If so, the line's exit code is
/// about its answers: with 0 nothing was refused that mattered, e.g. to a deletion with
/// `--ignore-not-found`.
fn is_of(line: &Command, command: &str) -> bool {
    line.verb().is_ok_and(|verb| command.starts_with(&verb.command_path()))
}

/// Returns whether this recorded command may be the line that failed. kubectl sends nothing for a
/// line that it does not understand, e.g. one with a flag that does not exist: the records are
/// those of an earlier command then.
fn may_be(line: &Command, command: &str) -> bool {
    line.verb().is_err() || line.is_understood() && is_of(line, command)
}

/// Returns whether this exit code says that a command failed. `kubectl diff` ends with 1 for a
/// difference, and `kubectl exec` with the code of the program in the container.
fn tells_of_refusal(command: &Command, code: i32) -> bool {
    match command.verb().map(Verb::name) {
        Ok("diff") => code > 1,
        Ok("exec" | "attach" | "run" | "debug") => false,
        _ => true,
    }
}

fn verb(record: &Record) -> &str {
    record.answer().map_or("", |answer| answer.verb.as_str())
}

fn code(record: &Record) -> u16 {
    record.request.as_ref().map_or(0, |request| request.code)
}

/// Returns the newest refusal after which the command sent further requests: for its other objects,
/// or, as `kubectl describe` does, for a list to search. A 404 is no refusal if the next request
/// creates the object, also as a dry run: kubectl asked only whether the object exists.
///
/// ```text
/// get pod a b                            get a 404, get b 200      get a
/// describe pod a                         get a 404, list 200       get a
/// apply, a new pod                       get a 404, create 201     none
/// diff --server-side, a new pod          get a 404, patch 201      none
/// ```
fn refused_before<'a>(command: &'a [&Arc<Record>]) -> Option<&'a Arc<Record>> {
    let answers: Vec<&Arc<Record>> = command.iter().copied().filter(|r| r.answer().is_some()).collect();
    let resource = |record: &Record| record.object.as_ref().map(ObjectRef::qualified);
    let is_look = |at: usize| {
        let creates = |next: &&Arc<Record>| {
            let is_made = matches!(verb(next), "create" | "patch") && code(next) == 201;
            is_made && resource(next) == resource(answers[at])
        };
        verb(answers[at]) == "get" && code(answers[at]) == 404 && answers.get(at + 1).is_some_and(creates)
    };
    let is_refused = |at: &usize| {
        let answer = answers[*at];
        code(answer) >= 400 && answer.object.is_some() && !is_look(*at) && !is_of_a_deletion(answer, command)
    };
    (0..answers.len()).rev().find(is_refused).map(|at| answers[at])
}

/// Returns whether a record is the answer to a command that has deleted an object and asks whether
/// it is gone.
fn is_of_a_deletion(answer: &Record, command: &[&Arc<Record>]) -> bool {
    let is_gone = verb(answer) == "get" && code(answer) == 404;
    let deleted = |record: &Record| verb(record) == "delete" && code(record) < 400;
    is_gone && command.iter().any(|record| record.object == answer.object && deleted(record))
}

/// A verb or a kind that does not exist: kubectl refused the line itself. True if that explains it.
fn misspelt(reader: &Reader, out: &mut Explanation, typed: &Typed, command: &Command) -> bool {
    let known = |word: &str| reader.facts.custom(word).is_some();
    out.about = typed.line.clone();
    if let Err(word) = command.verb() {
        if word.is_empty() {
            return false;
        }
        reader.line(out, Word::NoSuchVerb, &[word]);
        if let Some(near) = near_verb(word) {
            reader.fine(out, Word::MeantVerb, &[near]);
            out.tips.push(command.with(word, near));
        }
        return true;
    }
    let Some(word) = command.unknown_kind(known) else { return false };
    // It may be one of a CustomResourceDefinition.
    if !reader.facts.knows("customresourcedefinitions") {
        return false;
    }
    reader.line(out, Word::NoSuchKind, &[word]);
    match near_kind(word) {
        Some(near) => {
            reader.fine(out, Word::MeantKind, &[near]);
            out.tips.push(command.with(word, near));
        }
        None => out.tips.push("kubectl api-resources".into()),
    }
    true
}

/// The exit code of a command that Ctrl-C has ended: 128 and SIGINT.
const INTERRUPTED: i32 = 130;

/// The command failed, and no record says why. A learner who waits in vain presses Ctrl-C: then it
/// may be the API server that does not answer.
fn ended_itself(reader: &Reader, out: &mut Explanation, typed: &Typed) {
    out.about = typed.line.clone();
    if typed.code == INTERRUPTED {
        reader.line(out, Word::Interrupted, &[]);
        is_unread(reader, out, &["pods"]);
        return;
    }
    reader.line(out, Word::EndedItself, &[&typed.code.to_string()]);
}

fn refused(reader: &Reader, out: &mut Explanation, answer: &Record, line: Option<&Command>) {
    let Some(request) = &answer.request else { return };
    let about = answer.object.clone().unwrap_or_default();
    let message = answer.answer().map_or("", |answer| answer.message.as_str());
    let resource = about.qualified();
    let custom = || reader.facts.custom(&resource).map_or(about.resource.clone(), |custom| custom.singular);
    let singular = kind(&resource).map_or_else(custom, |k| k.singular.clone());
    if answer.answer().is_some_and(|answer| answer.from_pod) {
        pod_answered(reader, out, request.code, &about);
        return;
    }
    match request.code {
        401 => reader.line(out, Word::NotKnown, &[]),
        // Whatever code its reason asks for.
        code if denying_policy(message).is_some() => {
            reader.line(out, Word::PolicyDenies, &[&code.to_string(), message]);
            let policy = denying_policy(message).unwrap_or_default();
            out.tips.push(format!("kubectl get validatingadmissionpolicy {policy} -o yaml"));
        }
        403 if denied(message).is_some() => {
            reader.line(out, Word::MayNot, &[&request.user, denied(message).unwrap_or_default()]);
            let place = flag(&about.namespace);
            out.tips.push(format!("kubectl auth can-i --list --as={}{place}", request.user));
        }
        403 => reader.line(out, Word::Forbidden, &[message]),
        404 if missing_namespace(message).is_some_and(|_| about.resource != "namespaces") => {
            let namespace = missing_namespace(message).unwrap_or_default();
            reader.line(out, Word::NoNamespace, &[namespace]);
            out.tips.push("kubectl get namespaces".into());
            out.tips.push(format!("kubectl create namespace {namespace}"));
        }
        404 if about.name.is_empty() => reader.line(out, Word::Answered, &["404", message]),
        404 => not_found(reader, out, &about, &singular, line),
        409 if message.contains("already exists") => {
            let (name, place) = (exists(message).unwrap_or(&about.name), flag(&about.namespace));
            let (word, tip) = match message.starts_with("object is being deleted: ") {
                true => (Word::Leaves, format!("kubectl wait --for=delete {resource}/{name}{place}")),
                false => (Word::Exists, format!("kubectl get {resource} {name}{place}")),
            };
            reader.line(out, word, &[&singular, name]);
            out.tips.push(tip);
        }
        // Source: `managedfields.NewConflictError`.
        409 if message.starts_with("Apply failed with") => {
            reader.line(out, Word::Managed, &[]);
            out.lines.push(format!("  {message}"));
        }
        // Others are repeated in vain, e.g. to bind a pod that has a node already.
        409 if message.contains("the object has been modified") => reader.line(out, Word::Conflict, &[]),
        422 => broken_rule(reader, out, Word::Invalid, message, &resource),
        500 if message.starts_with(UNTYPED) => {
            broken_rule(reader, out, Word::Untyped, message, &resource);
        }
        429 => reader.line(out, Word::Budget, &[message]),
        code => match silent_about(reader, &about, message) {
            Some(told) => (out.lines, out.tips, out.problem) = (told.lines, told.tips, true),
            None => reader.line(out, Word::Answered, &[&code.to_string(), message]),
        },
    }
}

/// The server in a pod answered a proxied request. Whatever its code, the API server refused
/// nothing.
fn pod_answered(reader: &Reader, out: &mut Explanation, code: u16, about: &ObjectRef) {
    let name = format!("{}/{}", about.qualified(), about.name);
    reader.line(out, Word::PodAnswered, &[&code.to_string(), &name]);
    if about.resource == "pods" {
        out.tips.push(format!("kubectl logs {}{}", about.name, flag(&about.namespace)));
    }
}

/// A field of the object does not fit its kind; the message names the field.
fn broken_rule(reader: &Reader, out: &mut Explanation, word: Word, message: &str, resource: &str) {
    reader.line(out, word, &[]);
    out.lines.push(format!("  {message}"));
    if let Some(kind) = kind(resource) {
        out.tips.push(format!("kubectl explain {}", kind.singular));
    }
}

/// Says what is the matter with the object of a refusal that has no message itself: the kubelet's
/// to `kubectl exec`, while the container does not run.
fn silent_about(reader: &Reader, about: &ObjectRef, message: &str) -> Option<Explanation> {
    let is_silent = message.is_empty() && !about.name.is_empty();
    let told = is_silent.then(|| object(reader, &about.namespace, &about.qualified(), &about.name));
    told.filter(|told| told.problem)
}

/// The object that a request named is not there: was it, and is one of this name elsewhere?
fn not_found(
    reader: &Reader,
    out: &mut Explanation,
    about: &ObjectRef,
    singular: &str,
    line: Option<&Command>,
) {
    let resource = about.qualified();
    reader.line(out, Word::NotFound, &[singular, &about.name]);
    let near: Vec<&str> = reader
        .facts
        .within(&resource, &about.namespace)
        .map(meta::name)
        .filter(|n| near(n, &about.name))
        .take(3)
        .collect();
    if let Some(record) = reader.facts.deletion(&resource, &about.namespace, &about.name) {
        let who = record.request.as_ref().map_or("", |r| r.user.as_str());
        let revision = record.revision.unwrap_or_default().to_string();
        reader.line(out, Word::WasDeleted, &[&about.name, who, &clock::rfc3339(record.at), &revision]);
    } else if !near.is_empty() {
        reader.line(out, Word::NearNames, &[&near.join(", ")]);
    }
    let other = reader.facts.all(&resource).find(|o| meta::name(o) == about.name);
    if let Some(other) = other.map(meta::namespace).filter(|n| *n != about.namespace) {
        reader.line(out, Word::OtherNamespace, &[&about.name, other]);
        // The same command, where the object is.
        out.tips.push(match line {
            Some(line) => line.in_namespace(other),
            None => format!("kubectl get {resource} {}{}", about.name, flag(other)),
        });
        return;
    }
    out.tips.push(format!("kubectl get {resource}{}", flag(&about.namespace)));
}

/// Returns the name of the policy in `… is forbidden: ValidatingAdmissionPolicy 'few' with binding
/// 'few' denied request: …`.
fn denying_policy(message: &str) -> Option<&str> {
    let (_, named) = message.split_once("is forbidden: ValidatingAdmissionPolicy '")?;
    named.split_once('\'').map(|(policy, _)| policy)
}

/// The name in `namespaces "shop" not found`: what was to be made has no place.
fn missing_namespace(message: &str) -> Option<&str> {
    message.strip_prefix("namespaces \"")?.strip_suffix("\" not found")
}

/// Returns what an authorizer has denied, e.g. `list resource "pods" …` of `pods is forbidden: User
/// "eve" cannot list resource "pods" …`. Admission forbids in other words. Source:
/// `responsewriters.ForbiddenStatusError`.
fn denied(message: &str) -> Option<&str> {
    let (_, user) = message.split_once("forbidden: User \"")?;
    user.split_once("\" cannot ").map(|(_, what)| what)
}

/// The name in `pods "web" already exists`.
fn exists(message: &str) -> Option<&str> {
    message.split('"').nth(1)
}
