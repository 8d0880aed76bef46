//! What is the matter with an object: who explains its kind, and what is known of one that is not
//! there.

use super::claim;
use super::facts::kind;
use super::line;
use super::pod;
use super::question::Explanation;
use super::reader::{Reader, alive, flag, is_unread, last_warning, near, terminating};
use super::service;
use super::texts::Word;
use super::workload;
use crate::observe::lists::Custom;
use api::meta;
use api::value::{at, list, text};
use serde_json::Value;

/// Explains the object of a kind and a name.
pub(super) fn object(reader: &Reader, namespace: &str, kind_word: &str, name: &str) -> Explanation {
    if kind(kind_word).is_none()
        && let Some(custom) = reader.facts.custom(kind_word)
    {
        return custom_object(reader, namespace, &custom, name);
    }
    let Some(kind) = kind(kind_word) else {
        let mut out = Explanation { about: format!("{kind_word}/{name}"), ..Explanation::default() };
        if is_unread(reader, &mut out, &["customresourcedefinitions"]) {
            return out;
        }
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
        absent(reader, &mut out, (kind.singular.as_str(), kind.plural), namespace, name);
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
        "namespaces" => namespace_object(reader, &mut out, found),
        "persistentvolumeclaims" => claim::claim(reader, &mut out, found),
        "horizontalpodautoscalers" => autoscaler(reader, &mut out, found),
        "ingresses" => ingress(reader, &mut out, found),
        _ => generic(reader, &mut out, found),
    }
    out
}

/// An object of a CustomResourceDefinition.
fn custom_object(reader: &Reader, namespace: &str, custom: &Custom, name: &str) -> Explanation {
    let namespace = if custom.namespaced { namespace } else { "" };
    let mut out = Explanation { about: format!("{}/{name}", custom.singular), ..Explanation::default() };
    match reader.facts.find(&custom.qualified, namespace, name) {
        Some(found) => generic(reader, &mut out, found),
        None => {
            absent(reader, &mut out, (custom.singular.as_str(), custom.qualified.as_str()), namespace, name)
        }
    }
    out
}

/// Not there: was it ever? `namespace` is empty for a kind that has none.
fn absent(
    reader: &Reader,
    out: &mut Explanation,
    (singular, plural): (&str, &str),
    namespace: &str,
    name: &str,
) {
    if let Some(record) = reader.facts.deletion(plural, namespace, name) {
        let who = record.request.as_ref().map_or("", |r| r.user.as_str());
        let at = clock::rfc3339(record.at);
        let revision = record.revision.unwrap_or_default().to_string();
        reader.line(out, Word::WasDeleted, &[name, who, &at, &revision]);
        if reader.facts.is_of_last_step(record) {
            out.tips.push("undo".into());
        }
        return;
    }
    if !reader.facts.knows(plural) {
        reader.line(out, Word::NotRead, &[plural]);
        out.tips.push(format!("kubectl get {plural}{}", flag(namespace)));
        return;
    }
    match namespace {
        "" => reader.line(out, Word::NeverWasInCluster, &[singular, name]),
        _ => reader.line(out, Word::NeverWas, &[singular, name, namespace]),
    }
    others(reader, out, plural, namespace, name);
}

/// An object of this name elsewhere, or those of names like it here.
pub(super) fn others(reader: &Reader, out: &mut Explanation, plural: &str, namespace: &str, name: &str) {
    let elsewhere = reader.facts.all(plural).find(|o| meta::name(o) == name);
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
        let (key, value, effect) = (text(taint, "key"), text(taint, "value"), text(taint, "effect"));
        let equals = if value.is_empty() { "" } else { "=" };
        let word = if effect == "PreferNoSchedule" { Word::TaintedSoftly } else { Word::Tainted };
        reader.fine(out, word, &[&format!("{key}{equals}{value}:{effect}")]);
    }
}

/// A namespace. One that is being deleted is emptied first, and its conditions say what is left in
/// it. Source: `NamespacedResourcesDeleter`.
fn namespace_object(reader: &Reader, out: &mut Explanation, namespace: &Value) {
    if !meta::is_terminating(namespace) {
        generic(reader, out, namespace);
        return;
    }
    reader.line(out, Word::Emptied, &[]);
    for condition in list(namespace, "status.conditions").iter().filter(|c| c["status"] == "True") {
        reader.line(out, Word::Says, &[text(condition, "message")]);
    }
    if meta::finalizers(namespace).next().is_some() {
        terminating(reader, out, namespace);
    }
    alive(reader, out, "kube-controller-manager");
}

/// An autoscaler: its conditions say whether it can work, longer than its Events are kept.
fn autoscaler(reader: &Reader, out: &mut Explanation, scaler: &Value) {
    let works = |condition: &&Value| matches!(text(condition, "type"), "AbleToScale" | "ScalingActive");
    for condition in list(scaler, "status.conditions").iter().filter(works) {
        if condition["status"] == "False" {
            reader.line(out, Word::Says, &[text(condition, "message")]);
        }
    }
    alive(reader, out, "kube-controller-manager");
    generic(reader, out, scaler);
}

/// An Ingress: it does nothing by itself. The controller that takes it up gives it an address.
fn ingress(reader: &Reader, out: &mut Explanation, ingress: &Value) {
    let is_taken_up = !list(ingress, "status.loadBalancer.ingress").is_empty();
    if !is_taken_up && !meta::is_terminating(ingress) {
        reader.line(out, Word::NotTakenUp, &[]);
        out.tips.push("kubectl get ingressclasses".into());
    }
    generic(reader, out, ingress);
}

/// For a kind without an explanation of its own: its newest warning.
fn generic(reader: &Reader, out: &mut Explanation, object: &Value) {
    if meta::is_terminating(object) {
        terminating(reader, out, object);
    }
    last_warning(reader, out, object);
    if out.lines.is_empty() && !is_unread(reader, out, &["events"]) {
        reader.fine(out, Word::NothingKnown, &[]);
    }
}
