//! A reader of facts, and what parts of an explanation share.

use super::facts::Facts;
use super::question::Explanation;
use super::texts::Word;
use api::meta;
use api::value::{int, text};
use lang::Lang;
use serde_json::Value;

/// A reader of facts that speaks one language.
pub(super) struct Reader<'a> {
    pub facts: &'a Facts,
    pub lang: Lang,
}

impl Reader<'_> {
    /// The text of a word in the reader's language, with its values.
    pub(super) fn say(&self, word: Word, with: &[&str]) -> String {
        self.lang.say(word, with)
    }
    /// Adds something that is wrong.
    pub(super) fn line(&self, out: &mut Explanation, word: Word, with: &[&str]) {
        out.lines.push(self.say(word, with));
        out.problem = true;
    }
    /// Adds something that is well.
    pub(super) fn fine(&self, out: &mut Explanation, word: Word, with: &[&str]) {
        out.lines.push(self.say(word, with));
    }
}

/// ` -n NAMESPACE`, as a proposed command needs it; nothing for `default` and for what belongs to
/// no namespace.
pub(super) fn flag(namespace: &str) -> String {
    if matches!(namespace, "" | "default") { String::new() } else { format!(" -n {namespace}") }
}

/// Returns whether one may have been meant by the other: one contains the other, or at most half as
/// many letters differ as the shorter one has.
pub(super) fn near(a: &str, b: &str) -> bool {
    (a.len().min(b.len()) > 2 && (a.contains(b) || b.contains(a)))
        || strsim::damerau_levenshtein(a, b) <= a.len().min(b.len()) / 2
}

/// Says that nothing can be said, if the objects of one of these kinds could not be read: an empty
/// list is no proof that there are none. Returns whether that is so.
pub(super) fn is_unread(reader: &Reader, out: &mut Explanation, plurals: &[&str]) -> bool {
    let unread = plurals.iter().copied().find(|plural| !reader.facts.knows(plural));
    if let Some(plural) = unread {
        reader.line(out, Word::NotRead, &[plural]);
        out.tips.push(format!("kubectl get {plural}"));
    }
    unread.is_some()
}

/// Returns whether a component renews its Lease. If not, adds that to the explanation.
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

/// Explains why an object that is being deleted is still there.
pub(super) fn terminating(reader: &Reader, out: &mut Explanation, object: &Value) {
    let finalizers: Vec<&str> = meta::finalizers(object).collect();
    if finalizers.is_empty() {
        let grace = int(object, "metadata.deletionGracePeriodSeconds").unwrap_or(0).to_string();
        reader.line(out, Word::Leaving, &[&grace]);
    } else {
        reader.line(out, Word::Held, &[&finalizers.join(", ")]);
    }
}

/// Tells the newest warning about an object. What the scheduler has warned of is over once the pod
/// has a node.
pub(super) fn last_warning(reader: &Reader, out: &mut Explanation, object: &Value) {
    let has_node = !text(object, "spec.nodeName").is_empty();
    let warnings = reader.facts.events(object).filter(|event| event["type"] == "Warning");
    let mut warnings: Vec<&Value> =
        warnings.filter(|event| !(has_node && event["reason"] == "FailedScheduling")).collect();
    warnings.sort_by_key(|event| last_seen(event));
    if let Some(event) = warnings.last() {
        reader.line(out, Word::Warned, &[text(event, "reason"), text(event, "message")]);
    }
}

/// When an Event was first seen.
pub(super) fn first_seen(event: &Value) -> Option<clock::Timestamp> {
    let paths = ["firstTimestamp", "eventTime", "metadata.creationTimestamp"];
    paths.into_iter().filter_map(|path| meta::time(event, path)).min()
}

/// When an Event was last seen. Events of `events.k8s.io` have no `lastTimestamp`.
pub(super) fn last_seen(event: &Value) -> Option<clock::Timestamp> {
    let paths = ["lastTimestamp", "series.lastObservedTime", "eventTime", "metadata.creationTimestamp"];
    paths.into_iter().filter_map(|path| meta::time(event, path)).max()
}
