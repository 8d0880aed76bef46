//! Why the last command was refused, or what it left behind.

use super::Explanation;
use super::explain::{Reader, near, object};
use super::facts::kind;
use super::texts::Word;
use crate::api::meta;
use crate::tap::Record;
use std::sync::Arc;

/// The last kubectl command of a person.
pub fn last(reader: &Reader, namespace: &str) -> Explanation {
    let records = &reader.facts.records;
    let own = |r: &&Arc<Record>| r.request.as_ref().is_some_and(|q| q.is_persons() && !q.session.is_empty());
    let mut out = Explanation::default();
    let Some(newest) = records.iter().rev().find(own) else {
        reader.fine(&mut out, Word::NoCommand, &[]);
        return out;
    };
    let session = newest.request.as_ref().map(|q| q.session.clone()).unwrap_or_default();
    let command: Vec<&Arc<Record>> =
        records.iter().filter(|r| r.request.as_ref().is_some_and(|q| q.session == session)).collect();
    out.about = newest.request.as_ref().map(|q| q.command.clone()).unwrap_or_default();
    // kubectl asks for what may be missing (discovery, what it is about to create), so the last answer decides.
    let answers = || command.iter().rev().filter(|r| r.verb == "answer");
    if let Some(answer) = answers().next()
        && answer.request.as_ref().is_some_and(|q| q.code >= 400)
    {
        refused(reader, &mut out, answer);
        return out;
    }
    let written = command
        .iter()
        .rev()
        .find(|r| r.verb == "commit")
        .or_else(|| command.iter().rev().find(|r| r.object.as_ref().is_some_and(|o| !o.name.is_empty())));
    match written.and_then(|r| r.object.as_ref()) {
        Some(about) => {
            let place = if about.namespace.is_empty() { namespace } else { &about.namespace };
            object(reader, place, &about.resource, &about.name)
        }
        None => {
            reader.fine(&mut out, Word::NothingWrong, &[]);
            out
        }
    }
}

fn refused(reader: &Reader, out: &mut Explanation, answer: &Record) {
    let Some(request) = &answer.request else { return };
    let about = answer.object.clone().unwrap_or_default();
    let message = answer.detail["message"].as_str().unwrap_or_default();
    let verb = answer.detail["verb"].as_str().unwrap_or_default();
    let singular = kind(&about.resource).map_or(about.resource.clone(), |k| k.singular.clone());
    match request.code {
        401 => reader.line(out, Word::NotKnown, &[]),
        403 if message.contains("cannot") => {
            reader.line(out, Word::MayNot, &[&request.user, verb, &about.resource]);
            let place =
                if about.namespace.is_empty() { String::new() } else { format!(" -n {}", about.namespace) };
            out.tips.push(format!("kubectl auth can-i --list --as={}{place}", request.user));
        }
        403 => reader.line(out, Word::Forbidden, &[message]),
        404 => {
            reader.line(out, Word::NotFound, &[&singular, &about.name]);
            let near: Vec<&str> = reader
                .facts
                .within(&about.resource, &about.namespace)
                .map(meta::name)
                .filter(|n| near(n, &about.name))
                .take(3)
                .collect();
            if let Some(record) = reader.facts.deletion(&about.resource, &about.namespace, &about.name) {
                let who = record.request.as_ref().map_or("", |r| r.user.as_str());
                let revision = record.revision.unwrap_or_default().to_string();
                reader.line(
                    out,
                    Word::WasDeleted,
                    &[&about.name, who, &crate::clock::rfc3339(record.at), &revision],
                );
            } else if !near.is_empty() {
                reader.line(out, Word::NearNames, &[&near.join(", ")]);
            }
            let other = reader.facts.all(&about.resource).iter().find(|o| meta::name(o) == about.name);
            if let Some(other) = other.map(meta::namespace).filter(|n| *n != about.namespace) {
                reader.line(out, Word::OtherNamespace, &[&about.name, other]);
            }
            out.tips.push(format!("kubectl get {}", about.resource));
        }
        409 if message.contains("already exists") => {
            reader.line(out, Word::Exists, &[&singular, exists(message).unwrap_or(&about.name)]);
            out.tips.push(format!("kubectl get {}", about.resource));
        }
        409 => reader.line(out, Word::Conflict, &[]),
        422 => {
            reader.line(out, Word::Invalid, &[]);
            out.lines.push(format!("  {message}"));
            if let Some(kind) = kind(&about.resource) {
                out.tips.push(format!("kubectl explain {}", kind.singular));
            }
        }
        429 => reader.line(out, Word::Budget, &[message]),
        code => reader.line(out, Word::Answered, &[&code.to_string(), message]),
    }
}

/// The name in `pods "web" already exists`.
fn exists(message: &str) -> Option<&str> {
    message.split('"').nth(1)
}
