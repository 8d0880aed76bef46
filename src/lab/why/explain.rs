//! From a question to the right part: which object is meant, and who explains its kind.

use super::claim;
use super::facts::{BARE, Custom, Facts, kind};
use super::line;
use super::pod;
use super::refusal;
use super::service;
use super::texts::Word;
use super::workload;
use super::{Explanation, Question};
use api::meta;
use api::value::{at, int, list, text};
use lang::Lang;
use serde_json::Value;

/// A reader of facts that speaks one language.
pub(super) struct Reader<'a> {
    pub facts: &'a Facts,
    pub lang: Lang,
}

impl Reader<'_> {
    pub(super) fn say(&self, word: Word, with: &[&str]) -> String {
        self.lang.say(word, with)
    }
    pub(super) fn line(&self, out: &mut Explanation, word: Word, with: &[&str]) {
        out.lines.push(self.say(word, with));
        out.problem = true;
    }
    /// Something that is well.
    pub(super) fn fine(&self, out: &mut Explanation, word: Word, with: &[&str]) {
        out.lines.push(self.say(word, with));
    }
}

/// Answers a question from the facts.
pub fn explain(facts: &Facts, question: &Question) -> Explanation {
    let reader = Reader { facts, lang: question.lang };
    let namespace = if question.namespace.is_empty() { "default" } else { &question.namespace };
    match question.about.as_slice() {
        [] => refusal::last(&reader, namespace, question.after.as_ref()),
        [one] => named(&reader, namespace, one),
        [kind, name, ..] => object(&reader, namespace, kind, name),
    }
}

/// `pod/web`, `shop/pod/web`, `localhost:31234` as curl takes it, or a bare name.
fn named(reader: &Reader, namespace: &str, word: &str) -> Explanation {
    if let Some(port) = line::local_port(word) {
        return service::port(reader, port);
    }
    match word.split('/').collect::<Vec<_>>().as_slice() {
        [kind, name] => object(reader, namespace, kind, name),
        [namespace, kind, name] => object(reader, namespace, kind, name),
        _ => by_name(reader, namespace, word),
    }
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
    reader.line(&mut out, Word::NeverWasOf, &[name, &BARE.join(", ")]);
    let is_elsewhere = |plural: &&&str| facts.all(plural).iter().any(|o| meta::name(o) == name);
    let plural = BARE.iter().find(is_elsewhere).unwrap_or(&"pods");
    others(reader, &mut out, plural, namespace, name);
    out
}

pub(super) fn object(reader: &Reader, namespace: &str, kind_word: &str, name: &str) -> Explanation {
    if kind(kind_word).is_none()
        && let Some(custom) = reader.facts.custom(kind_word)
    {
        return custom_object(reader, namespace, &custom, name);
    }
    let Some(kind) = kind(kind_word) else {
        let mut out = Explanation { about: format!("{kind_word}/{name}"), ..Explanation::default() };
        reader.line(&mut out, Word::NoSuchKind, &[kind_word]);
        if let Some(near) = line::near_kind(kind_word) {
            reader.fine(&mut out, Word::MeantKind, &[near]);
        }
        out.tips.push("kubectl api-resources".into());
        return out;
    };
    let namespace = if kind.namespaced { namespace } else { "" };
    let mut out = Explanation { about: format!("{}/{name}", kind.singular), ..Explanation::default() };
    let Some(found) = reader.facts.find(kind.plural, namespace, name) else {
        absent(reader, &mut out, kind.plural, namespace, name);
        return out;
    };
    match kind.plural {
        "pods" => pod::pod(reader, &mut out, found),
        "services" => service::service(reader, &mut out, found),
        "deployments" | "replicasets" | "statefulsets" | "daemonsets" | "replicationcontrollers" => {
            workload::pod_set(reader, &mut out, kind.plural, found)
        }
        "jobs" => workload::job(reader, &mut out, found),
        "cronjobs" => workload::cron_job(reader, &mut out, found),
        "nodes" => node(reader, &mut out, found),
        "persistentvolumeclaims" => claim::claim(reader, &mut out, found),
        _ => generic(reader, &mut out, found),
    }
    out
}

/// An object of a CustomResourceDefinition.
fn custom_object(reader: &Reader, namespace: &str, custom: &Custom, name: &str) -> Explanation {
    let namespace = if custom.namespaced { namespace } else { "" };
    let mut out = Explanation { about: format!("{}/{name}", custom.singular), ..Explanation::default() };
    match reader.facts.find(&custom.resource, namespace, name) {
        Some(found) => generic(reader, &mut out, found),
        None => absent(reader, &mut out, &custom.resource, namespace, name),
    }
    out
}

/// Not there: was it ever?
fn absent(reader: &Reader, out: &mut Explanation, plural: &str, namespace: &str, name: &str) {
    if let Some(record) = reader.facts.deletion(plural, namespace, name) {
        let who = record.request.as_ref().map_or("", |r| r.user.as_str());
        let at = clock::rfc3339(record.at);
        let revision = record.revision.unwrap_or_default().to_string();
        reader.line(out, Word::WasDeleted, &[name, who, &at, &revision]);
        if record.request.as_ref().is_some_and(tap::Request::is_persons) {
            out.tips.push("undo".into());
        }
        return;
    }
    if !reader.facts.knows(plural) {
        reader.line(out, Word::NotRead, &[plural]);
        out.tips.push(format!("kubectl get {plural}{}", flag(namespace)));
        return;
    }
    reader.line(out, Word::NeverWas, &[name]);
    others(reader, out, plural, namespace, name);
}

/// An object of this name elsewhere, or those of names like it here.
fn others(reader: &Reader, out: &mut Explanation, plural: &str, namespace: &str, name: &str) {
    let elsewhere = reader.facts.all(plural).iter().find(|o| meta::name(o) == name);
    if let Some(other) = elsewhere {
        reader.line(out, Word::OtherNamespace, &[name, meta::namespace(other)]);
        out.tips.push(format!("kubectl get {plural} {name} -n {}", meta::namespace(other)));
        return;
    }
    let near: Vec<&str> =
        reader.facts.within(plural, namespace).map(meta::name).filter(|n| near(n, name)).take(3).collect();
    if !near.is_empty() {
        reader.line(out, Word::NearNames, &[&near.join(", ")]);
    }
    out.tips.push(format!("kubectl get {plural}{}", flag(namespace)));
}

/// ` -n NAMESPACE`, as a proposed command needs it; nothing for `default` and for what belongs to
/// no namespace.
pub(super) fn flag(namespace: &str) -> String {
    if matches!(namespace, "" | "default") { String::new() } else { format!(" -n {namespace}") }
}

/// Could one have been meant by the other: one contains the other, or they differ by at most two
/// letters.
pub(super) fn near(a: &str, b: &str) -> bool {
    (a.len().min(b.len()) > 2 && (a.contains(b) || b.contains(a)))
        || strsim::damerau_levenshtein(a, b) <= a.len().min(b.len()) / 2
}

/// Does a component renew its Lease? If not, says so.
pub(super) fn alive(reader: &Reader, out: &mut Explanation, component: &str) -> bool {
    let Some(lease) = reader.facts.find("leases", "kube-system", component) else { return true };
    let renewed = meta::time(lease, "spec.renewTime");
    let silent = renewed.map_or(0, |t| reader.facts.now.duration_since(t).as_secs());
    let limit = int(lease, "spec.leaseDurationSeconds").unwrap_or(15);
    if silent <= limit {
        return true;
    }
    reader.line(out, Word::Silent, &[component, &silent.to_string()]);
    out.tips.push(format!("kubectl get lease {component} -n kube-system -o yaml"));
    false
}

fn node(reader: &Reader, out: &mut Explanation, node: &Value) {
    let ready = list(node, "status.conditions").iter().find(|c| c["type"] == "Ready");
    match ready.map(|c| (text(c, "status"), text(c, "reason"), text(c, "message"))) {
        Some(("True", ..)) => reader.fine(out, Word::NodeReady, &[]),
        Some((_, reason, message)) => reader.line(out, Word::NodeNotReady, &[reason, message]),
        None => reader.line(out, Word::NodeNeverReported, &[]),
    }
    for condition in list(node, "status.conditions") {
        let kind = text(condition, "type");
        if kind.ends_with("Pressure") && condition["status"] == "True" {
            reader.line(out, Word::Pressure, &[kind, text(condition, "message")]);
        }
    }
    if at(node, "spec.unschedulable") == true {
        reader.line(out, Word::Cordoned, &[]);
        out.tips.push(format!("kubectl uncordon {}", meta::name(node)));
    }
    for taint in list(node, "spec.taints") {
        let written = format!("{}:{}", text(taint, "key"), text(taint, "effect"));
        reader.fine(out, Word::Tainted, &[&written]);
    }
}

/// For a kind that nobody here knows more of: its newest warning.
fn generic(reader: &Reader, out: &mut Explanation, object: &Value) {
    if meta::is_terminating(object) {
        terminating(reader, out, object);
    }
    last_warning(reader, out, object);
    if out.lines.is_empty() {
        reader.fine(out, Word::NothingKnown, &[]);
    }
}

pub(super) fn terminating(reader: &Reader, out: &mut Explanation, object: &Value) {
    let finalizers: Vec<&str> = meta::finalizers(object).collect();
    if finalizers.is_empty() {
        let grace = int(object, "metadata.deletionGracePeriodSeconds").unwrap_or(0).to_string();
        reader.line(out, Word::Leaving, &[&grace]);
    } else {
        reader.line(out, Word::Held, &[&finalizers.join(", ")]);
    }
}

pub(super) fn last_warning(reader: &Reader, out: &mut Explanation, object: &Value) {
    let mut warnings: Vec<&Value> = reader.facts.events(object).filter(|e| e["type"] == "Warning").collect();
    warnings.sort_by_key(|event| last_seen(event));
    if let Some(event) = warnings.last() {
        reader.line(out, Word::Warned, &[text(event, "reason"), text(event, "message")]);
    }
}

/// When an Event was last seen. Events of `events.k8s.io` have no `lastTimestamp`.
fn last_seen(event: &Value) -> Option<clock::Timestamp> {
    let paths = ["lastTimestamp", "series.lastObservedTime", "eventTime", "metadata.creationTimestamp"];
    paths.into_iter().filter_map(|path| meta::time(event, path)).max()
}
