//! What is written of an object that is made again.

use super::{Birth, MIRROR, Move, Pair, is_within, parsed, resource};
use crate::auth::tokens::LAST_USED;
use crate::storage::cache::DEFINITIONS;
use crate::storage::keys::{namespace_and_name, resource_and_key};
use api::value::{list, text};
use api::{custom, meta, value};
use bytes::Bytes;
use etcd::api::KeyValue;
use serde_json::{Value, json as object};
use std::collections::{BTreeMap, BTreeSet};

/// Ephemeral containers start once and are never removed from a pod: a pod that goes on keeps those
/// that it has now, and a new one has none.
const EPHEMERAL: &str = "spec.ephemeralContainers";
/// How far the deletion of a pod has come. No way back holds it up: a kubelet stops the pod's
/// programs, and the pod must not be gone before they are.
const LEAVING: [&str; 3] =
    ["metadata.deletionTimestamp", "metadata.deletionGracePeriodSeconds", "metadata.finalizers"];
/// The path of the field managers.
pub(super) const MANAGERS: &str = "metadata.managedFields";

/// Plans a pod. `None`: nothing to do. `Some(None)`: it goes.
pub(super) fn pod(then: Option<&KeyValue>, now: Option<&KeyValue>, birth: &Birth) -> Option<Option<Bytes>> {
    let (past, present) = (then.and_then(parsed), now.and_then(parsed));
    if [&past, &present].into_iter().flatten().any(|p| meta::annotation(p, MIRROR).is_some()) {
        return None;
    }
    let is_leaving = |pod: Option<&Value>| pod.is_some_and(meta::is_terminating);
    let goes_on = past.as_ref().map(meta::uid) == present.as_ref().map(meta::uid)
        && is_leaving(past.as_ref()) == is_leaving(present.as_ref());
    // One that was on its way out then has nothing to come back to, but goes on if it still is.
    let past = past.filter(|p| goes_on || !meta::is_terminating(p));
    match (past, present) {
        // Something that cannot be decoded was put there since.
        (None, None) => (then.is_none() && now.is_some()).then_some(None),
        (None, Some(_)) => Some(None),
        (Some(mut past), Some(present)) if goes_on && !has_found_a_node(&past, &present) => {
            let leaving: &[&str] = if meta::is_terminating(&present) { &LEAVING } else { &[] };
            for of_now in ["status", "spec.nodeName", EPHEMERAL].iter().chain(leaving) {
                value::copy(&present, &mut past, of_now);
            }
            keep_managers(&present, &mut past);
            (past != present).then(|| Some(past.to_string().into()))
        }
        (Some(mut past), _) => {
            let placed = then.is_some_and(birth.placed_by_maker);
            let waited = refusal(&past).cloned();
            value::put(&mut past, "metadata.uid", (birth.uid)());
            value::put(&mut past, "metadata.creationTimestamp", birth.now.clone());
            if matches!(text(&past, "status.phase"), "Succeeded" | "Failed") {
                return Some(Some(past.to_string().into()));
            }
            value::remove(&mut past, EPHEMERAL);
            if !placed {
                value::remove(&mut past, "spec.nodeName");
            }
            let mut status = match text(&past, "status.qosClass") {
                "" => object!({"phase": "Pending"}),
                class => object!({"phase": "Pending", "qosClass": class}),
            };
            if let Some(mut waits) = waited {
                value::put(&mut waits, "lastTransitionTime", birth.now.clone());
                value::put(&mut status, "conditions", vec![waits]);
            }
            value::put(&mut past, "status", status);
            Some(Some(past.to_string().into()))
        }
    }
}

/// Gives an object that goes on the field managers of what it keeps from now, which are those that
/// wrote by a subresource.
///
/// Example: a pod became ready since. Its status stays, and with it the kubelet's entry; otherwise
/// an undo that does not concern the pod would write it, with an entry that is too old.
pub(super) fn keep_managers(now: &Value, back: &mut Value) {
    let is_of_object = |entry: &&Value| text(entry, "subresource").is_empty();
    let (then, all) = (list(back, MANAGERS), list(now, MANAGERS));
    if then.iter().filter(is_of_object).eq(all.iter().filter(is_of_object)) {
        value::copy(now, back, MANAGERS); // in the order that they have
        return;
    }
    let of_subresources = all.iter().filter(|entry| !is_of_object(entry));
    let mixed: Vec<Value> = then.iter().filter(is_of_object).chain(of_subresources).cloned().collect();
    match mixed.is_empty() {
        true => drop(value::remove(back, MANAGERS)),
        false => value::put(back, MANAGERS, mixed),
    }
}

/// Plans a Node that there was then. `None`: nothing to do.
pub(super) fn node(then: &KeyValue, now: Option<&KeyValue>) -> Option<Option<Bytes>> {
    let Some(now) = now.and_then(parsed) else { return Some(Some(then.value.clone())) };
    let mut back = parsed(then)?;
    value::copy(&now, &mut back, "status");
    keep_managers(&now, &mut back);
    (back != now).then(|| Some(back.to_string().into()))
}

/// Plans a Secret that there was then. `None`: nothing to do. The day on which its token was used
/// stays: a server has written it, as the status of other objects.
pub(super) fn secret(then: &KeyValue, now: Option<&KeyValue>) -> Option<Option<Bytes>> {
    let whole = || Some(Some(then.value.clone()));
    let (Some(mut back), Some(now)) = (parsed(then), now.and_then(parsed)) else { return whole() };
    let Some(day) = meta::label(&now, LAST_USED).filter(|_| meta::uid(&back) == meta::uid(&now)) else {
        return whole();
    };
    value::slot_map(&mut back, "metadata.labels").insert(LAST_USED.into(), day.into());
    (back != now).then(|| Some(back.to_string().into()))
}

/// Plans a quota. One that is there goes back without the entry of what wrote its status: so the
/// controller sees that it has to count anew. Times of entries have whole seconds, and with its
/// entry the first of two counts in one second would look like the second one.
pub(super) fn quota(then: &KeyValue, now: Option<&KeyValue>) -> Option<Option<Bytes>> {
    let (Some(mut back), Some(now)) = (parsed(then), now.and_then(parsed)) else {
        return Some(Some(then.value.clone()));
    };
    let is_of_status = |entry: &&Value| text(entry, "subresource") == "status";
    let others = list(&back, MANAGERS).iter().filter(|entry| !is_of_status(entry));
    let others: Vec<Value> = others.cloned().collect();
    match others.is_empty() {
        true => drop(value::remove(&mut back, MANAGERS)),
        false => value::put(&mut back, MANAGERS, others),
    }
    (back != now).then(|| Some(back.to_string().into()))
}

/// Returns namespace and name of the Service that a reservation is for.
pub(super) fn owner(value: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(value).ok()?.split_once('/')
}

/// Returns the namespace of a key's object; empty for an object without one.
pub(super) fn namespace_of(key: &[u8]) -> &str {
    resource_and_key(key).map_or("", |(_, own)| namespace_and_name(own).0)
}

/// Returns the namespaces that are there now and were not then. No controller empties them: they go
/// in one moment, and what was left in them would belong to the next namespace of that name.
pub(super) fn ending_namespaces<'a>(pairs: &BTreeMap<&'a Bytes, Pair<'a>>) -> BTreeSet<&'a str> {
    let mut ending = BTreeSet::new();
    for (&key, (then, now)) in pairs {
        if let (None, Some(_), Some(("namespaces", name))) = (then, now, resource_and_key(key)) {
            ending.insert(name);
        }
    }
    ending
}

/// Returns moves that write objects as they are: those of namespaces and definitions that come back
/// while a controller deletes their objects. It deletes an object as it has read it, so a deletion
/// that is on its way is refused, and nothing goes that the way back has kept.
pub(super) fn kept_from_deletion(pairs: &BTreeMap<&Bytes, Pair>) -> Vec<Move> {
    let is_leaving = |kv: &KeyValue| parsed(kv).is_some_and(|object| meta::is_terminating(&object));
    let (mut namespaces, mut places) = (BTreeSet::new(), BTreeSet::new());
    for (key, pair) in pairs {
        let (Some(then), Some(now)) = *pair else { continue };
        match resource_and_key(key) {
            Some(("namespaces", name)) if is_leaving(now) && !is_leaving(then) => {
                namespaces.insert(name);
            }
            Some((DEFINITIONS, _)) if is_leaving(now) && !is_leaving(then) => {
                places.extend(parsed(now).map(|definition| custom::place(&definition)));
            }
            _ => {}
        }
    }
    let is_back = |key: &[u8]| namespaces.contains(namespace_of(key)) || places.contains(resource(key));
    let keep = |(key, (then, now)): (&&Bytes, &Pair)| {
        let (then, now) = ((*then)?, (*now)?);
        // A write would take an Event the lease by which it goes.
        let is_kept = then.value == now.value && !matches!(resource(key), "events" | "leases");
        let value = || now.value.clone();
        (is_kept && is_back(key)).then(|| Move {
            key: (*key).clone(),
            expected: now.mod_revision,
            put: Some(value()),
            last: value(),
        })
    };
    pairs.iter().filter_map(keep).collect()
}

/// Returns where the objects of each definition rest that is there and is not going.
pub(super) fn defined(now: &[KeyValue]) -> BTreeSet<String> {
    let definitions = now.iter().filter(|kv| resource(&kv.key) == DEFINITIONS).filter_map(parsed);
    definitions.filter(|definition| !meta::is_terminating(definition)).map(|d| custom::place(&d)).collect()
}

/// False for a custom object whose definition is not among those that are there: nothing would show
/// it, and no deletion of its namespace would find it.
pub(super) fn is_served(defined: &BTreeSet<String>, key: &[u8]) -> bool {
    let resource = resource(key);
    !resource.contains('/') || defined.contains(resource)
}

/// Counts the objects that come back or change, and those that go. The reservations of a Service
/// are none: an undo of one new Service removes one object, whatever ports it had. What is only
/// kept does not count.
pub(super) fn count(moves: &[Move]) -> (usize, usize) {
    let objects = moves.iter().filter(|m| resource(&m.key) != "ranges" && !m.is_unchanged());
    let (back, gone): (Vec<&Move>, Vec<&Move>) = objects.partition(|m| m.put.is_some());
    (back.len(), gone.len())
}

/// Says why an object of these namespaces cannot come back: what it had belongs to an object
/// outside of them by now. `None`: nothing is in its way.
pub(super) fn taken_elsewhere(namespaces: &BTreeSet<String>, m: &Move) -> Option<String> {
    let then = m.put.as_ref()?;
    let key = String::from_utf8_lossy(&m.key);
    let what = key.rsplit('/').next().unwrap_or_default();
    let is_elsewhere = |namespace: &str| !namespace.is_empty() && !namespaces.contains(namespace);
    match resource(&m.key) {
        "ranges" => {
            let (namespace, name) = owner(&m.last).filter(|(namespace, _)| is_elsewhere(namespace))?;
            let service = String::from_utf8_lossy(then);
            Some(format!(
                "Service {service} cannot come back: {what} belongs to Service {namespace}/{name} now; delete that one first"
            ))
        }
        // Its new claim would lose the volume, with data in it.
        "persistentvolumes" => {
            let claim = |volume: &[u8]| {
                let volume: Value = serde_json::from_slice(volume).unwrap_or_default();
                let of = |field: &str| text(&volume, &format!("spec.claimRef.{field}")).to_string();
                (of("namespace"), of("name"))
            };
            let ((old, old_name), (namespace, name)) = (claim(then), claim(&m.last));
            is_elsewhere(&namespace).then(|| {
                format!(
                    "claim {old}/{old_name} cannot come back: its volume {what} belongs to claim {namespace}/{name} now; delete that one first"
                )
            })
        }
        _ => None,
    }
}

/// True for a volume that no claim had then, and that a claim of these namespaces has now. It
/// becomes free again; otherwise it would be released, or deleted by its policy, when its claim
/// goes.
pub(super) fn was_free_volume(namespaces: &BTreeSet<String>, m: &Move) -> bool {
    let Some(then) = m.put.as_ref().filter(|_| resource(&m.key) == "persistentvolumes") else {
        return false;
    };
    let then: Value = serde_json::from_slice(then).unwrap_or_default();
    text(&then, "spec.claimRef.namespace").is_empty() && is_within(namespaces, &m.key, &m.last)
}

/// Returns whether a pod that waited in the past, because no node could take it or because of a
/// gate, is bound to a node at present. Nothing can take a node away from a pod, so the pod is made
/// anew, and waits or not by what is true then.
fn has_found_a_node(past: &Value, present: &Value) -> bool {
    refusal(past).is_some() && !text(present, "spec.nodeName").is_empty()
}

/// Returns the condition of a pod that waits because no node can take it, or because of a gate. A
/// pod that is made again keeps it: a second rewind may go to the moment before the scheduler has
/// looked at the new pod, and has to see that the pod waited.
fn refusal(pod: &Value) -> Option<&Value> {
    let is_unscheduled = |c: &&Value| text(c, "type") == "PodScheduled" && text(c, "status") == "False";
    let conditions = list(pod, "status.conditions");
    conditions.iter().find(is_unscheduled).filter(|_| text(pod, "spec.nodeName").is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{kv, planned};
    use serde_json::{Value, json};

    /// The namespace controller has read the Secret, and is about to delete it as it was.
    #[test]
    fn what_is_left_in_a_namespace_that_comes_back_is_written_as_it_is() {
        let alive = json!({"metadata": {"name": "shop", "uid": "u"}});
        let mut going = alive.clone();
        going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        let with = |namespace: &Value| {
            let rest = ["events/shop/e", "secrets/other/s", "secrets/shop/s"];
            let rest = rest.map(|key| kv(key, 3, json!({"a": 1})));
            [vec![kv("namespaces/shop", 5, namespace.clone())], rest.to_vec()].concat()
        };
        let moves = planned(&with(&alive), &with(&going));
        assert_eq!(moves.keys().collect::<Vec<_>>(), ["namespaces/shop", "secrets/shop/s"]);
        assert_eq!(moves["secrets/shop/s"], Some(json!({"a": 1})));
        let moves = planned(&with(&going), &with(&alive));
        assert_eq!(moves.keys().collect::<Vec<_>>(), ["namespaces/shop"]);
    }

    #[test]
    fn the_objects_of_a_definition_that_comes_back_are_written_as_they_are() {
        let spec = json!({"group": "example.com", "names": {"plural": "tabs"}});
        let alive = json!({"metadata": {"name": "tabs.example.com", "uid": "u"}, "spec": spec});
        let mut going = alive.clone();
        going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        let with = |definition: &Value| {
            let definition = kv("customresourcedefinitions/tabs.example.com", 5, definition.clone());
            [
                definition,
                kv("example.com/tabs/d/a", 3, json!({"a": 1})),
                kv("example.com/others/d/a", 3, json!({})),
            ]
        };
        let moves = planned(&with(&alive), &with(&going));
        let keys: Vec<&String> = moves.keys().collect();
        assert_eq!(keys, ["customresourcedefinitions/tabs.example.com", "example.com/tabs/d/a"]);
    }
}
