//! From a question to the right part: which object is meant, and what explains it.

use super::facts::{BARE, Facts, kind};
use super::line;
use super::object::{object, others};
use super::question::{Explanation, Question};
use super::reader::{Reader, flag};
use super::refusal;
use super::service;
use super::texts::Word;
use api::meta;

/// Answers a question from the facts.
pub(crate) fn explain(facts: &Facts, question: &Question) -> Explanation {
    let reader = Reader { facts, lang: question.lang };
    let namespace = if question.namespace.is_empty() { "default" } else { &question.namespace };
    if question.about.iter().any(|word| word.trim().is_empty()) {
        return unnamed(&reader);
    }
    match question.about.as_slice() {
        [] => refusal::last(&reader, namespace, question.after.as_ref()),
        [one] => about_word(&reader, namespace, one),
        [kind, name, ..] => object(&reader, namespace, kind, name),
    }
}

/// `pod/web`, `shop/pod/web`, `localhost:31234` as curl takes it, or a bare name.
fn about_word(reader: &Reader, namespace: &str, word: &str) -> Explanation {
    if let Some(port) = word.split_whitespace().find_map(line::written_port) {
        return match port.parse::<u16>() {
            Ok(port @ 1..) => service::port(reader, port),
            _ => no_port(reader, port),
        };
    }
    match word.split('/').collect::<Vec<_>>().as_slice() {
        parts if parts.contains(&"") => unnamed(reader),
        [name] => by_name(reader, namespace, name),
        [kind, name] => object(reader, namespace, kind, name),
        [namespace, kind, name] => object(reader, namespace, kind, name),
        _ => unnamed(reader),
    }
}

/// An address of this machine with what cannot be a port: `localhost:99999`.
fn no_port(reader: &Reader, written: &str) -> Explanation {
    let mut out = Explanation { about: format!("localhost:{written}"), ..Explanation::default() };
    reader.line(&mut out, Word::NoPort, &[&format!("{written:?}")]);
    out.tips.push("kubectl get services -A".into());
    out
}

/// A question that has an empty word in the place of a name (`why "$POD"` without the variable), or
/// more parts than an object is named by.
fn unnamed(reader: &Reader) -> Explanation {
    let mut out = Explanation::default();
    reader.line(&mut out, Word::NothingNamed, &[]);
    out
}

/// A name without a kind: the first kind that has an object of this name, else one of which the
/// records tell that it had.
fn by_name(reader: &Reader, namespace: &str, name: &str) -> Explanation {
    let facts = reader.facts;
    let is_there = |plural: &&&str| facts.find(plural, namespace, name).is_some();
    let was_there = |plural: &&&str| {
        let namespace = if kind(plural).is_some_and(|k| k.namespaced) { namespace } else { "" };
        facts.deletion(plural, namespace, name).is_some()
    };
    let found = BARE.iter().find(is_there);
    if let Some(plural) = found.or_else(|| [&"pods"].into_iter().chain(BARE).find(was_there)) {
        return object(reader, namespace, plural, name);
    }
    let mut out = Explanation { about: format!("pod/{name}"), ..Explanation::default() };
    let unread: Vec<&str> = BARE.iter().filter(|plural| !facts.knows(plural)).copied().collect();
    if !unread.is_empty() {
        reader.line(&mut out, Word::NotRead, &[&unread.join(", ")]);
        out.tips.push(format!("kubectl get {}{}", unread.join(","), flag(namespace)));
        return out;
    }
    reader.line(&mut out, Word::NeverWasOf, &[name, namespace, &BARE.join(", ")]);
    let is_elsewhere = |plural: &&&str| facts.all(plural).any(|o| meta::name(o) == name);
    let plural = BARE.iter().find(is_elsewhere).unwrap_or(&"pods");
    others(reader, &mut out, plural, namespace, name);
    out
}
