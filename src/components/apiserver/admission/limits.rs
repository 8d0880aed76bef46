//! LimitRanger: the requests and limits that a namespace's LimitRanges give to containers without
//! any, and the least and the most that they let in.

use super::attributes::Attributes;
use crate::storage::extra::Extra;
use api::quantity::Quantity;
use api::requests::{self, Amounts, Field, amounts};
use api::value::{self, list, list_mut, text};
use api::{Status, meta};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Default amounts by their resource, in the text of the LimitRange.
type Defaults = BTreeMap<String, String>;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// Returns the LimitRanges of the object's namespace.
fn ranges(a: &Attributes, object: &Value) -> Vec<Arc<crate::storage::object::Object>> {
    let prefix = format!("{}/", meta::namespace(object));
    a.state.cache.list("limitranges", &prefix).objects.into_iter().map(|(_, range)| range).collect()
}

/// Gives the containers of a new pod the defaults of its namespace's ranges. Returns what was set,
/// for the trace.
pub(super) fn fill(a: &Attributes, object: &mut Value) -> Value {
    if a.kind.kind != "Pod" {
        return Value::Null;
    }
    let mut all_set: Vec<String> = vec![];
    for range in ranges(a, object) {
        let of = |bound: &str| {
            let items = list(&range.value, "spec.limits").iter().filter(|i| text(i, "type") == "Container");
            let pairs = items.flat_map(|i| value::pairs(i, bound));
            pairs.map(|(name, amount)| (name.to_string(), amount.to_string())).collect::<Defaults>()
        };
        let set = set_defaults(object, &of("default"), &of("defaultRequest"));
        if !set.is_empty() {
            let text = format!("LimitRanger plugin set: {}", set.join("; "));
            value::slot_map(object, "metadata.annotations").insert(ANNOTATION.into(), text.into());
            all_set.extend(set);
        }
    }
    if all_set.is_empty() { Value::Null } else { json!({"limitRange": all_set}) }
}

/// Gives every container the requests and limits that it lacks. Returns what was set, as the pod's
/// annotation lists it. Pure.
///
/// `defaultRequest: {cpu: 100m}`, `default: {cpu: 500m}`: the container `web` without resources
/// gets the request 100m and the limit 500m. The annotation has `cpu request for container web` and
/// `cpu limit for container web`.
fn set_defaults(pod: &mut Value, limits: &Defaults, requests: &Defaults) -> Vec<String> {
    let mut set = vec![];
    for (path, what) in [("spec.containers", "container"), ("spec.initContainers", "init container")] {
        for container in list_mut(pod, path) {
            let name = text(container, "name").to_string();
            for (field, defaults) in [("requests", requests), ("limits", limits)] {
                let slot = value::slot_map(container, &format!("resources.{field}"));
                let missing: Vec<_> = defaults.iter().filter(|(k, _)| !slot.contains_key(*k)).collect();
                for (resource, amount) in &missing {
                    slot.insert(resource.to_string(), amount.as_str().into());
                }
                if slot.is_empty() {
                    value::remove(container, &format!("resources.{field}"));
                }
                if !missing.is_empty() {
                    let names: Vec<&str> = missing.iter().map(|(k, _)| k.as_str()).collect();
                    set.push(format!(
                        "{} {} for {what} {name}",
                        names.join(", "),
                        field.trim_end_matches('s')
                    ));
                }
            }
        }
    }
    set
}

/// Refuses an object that is out of the bounds of a range. A pod's containers do not change, so
/// only new pods are looked at; a claim may grow. An object that is being deleted is not judged:
/// otherwise a range that was made after it would keep its last finalizer on it.
pub(super) fn check(a: &Attributes, object: &Value) -> Result<Extra, Status> {
    let is_pod = a.kind.kind == "Pod";
    let is_going = a.old.is_some_and(meta::is_terminating);
    if !a.ctx.info.subresource.is_empty() || is_going || (is_pod && a.old.is_some()) {
        return Ok(Extra::default());
    }
    for range in ranges(a, object) {
        let mut wrong =
            if is_pod { pod_problems(&range.value, object) } else { claim_problems(&range.value, object) };
        keep_first(&mut wrong);
        match wrong.as_slice() {
            [] => {}
            [one] => return Err(a.forbidden(object, one)),
            many => return Err(a.forbidden(object, &format!("[{}]", many.join(", ")))),
        }
    }
    Ok(Extra::default())
}

/// Says each problem once, as upstream's lists of errors do: containers that lack the same limit
/// have the same problem.
fn keep_first(problems: &mut Vec<String>) {
    let mut seen = HashSet::new();
    problems.retain(|problem| seen.insert(problem.clone()));
}

/// Returns where a pod is out of the bounds of a range. Pure.
fn pod_problems(range: &Value, pod: &Value) -> Vec<String> {
    let mut wrong = vec![];
    for item in list(range, "spec.limits") {
        match text(item, "type") {
            "Container" => {
                for container in list(pod, "spec.containers").iter().chain(list(pod, "spec.initContainers")) {
                    let of = |field: &str| amounts(container, &format!("resources.{field}"));
                    problems(item, &of("requests"), &of("limits"), &mut wrong);
                }
            }
            "Pod" => {
                let of = |field| requests::of_value(pod, field);
                problems(item, &of(Field::Requests), &of(Field::Limits), &mut wrong);
            }
            _ => {}
        }
    }
    wrong
}

/// Adds where requests and limits are out of the bounds of one item of a range. Pure.
///
/// `min: {cpu: 100m}`, `max: {cpu: 1}`, `maxLimitRequestRatio: {cpu: 4}`:
///
/// ```text
/// request 50m,  limit 100m   minimum cpu usage per Container is 100m, but request is 50m
/// request 100m, no limit     maximum cpu usage per Container is 1.  No limit is specified
/// request 100m, limit 500m   the ratio is 5
/// request 200m, limit 500m   fine
/// ```
fn problems(item: &Value, requests: &Amounts, limits: &Amounts, wrong: &mut Vec<String>) {
    let kind = text(item, "type");
    for (name, bound) in &amounts(item, "min") {
        let head = format!("minimum {name} usage per {kind} is {bound}");
        match (requests.get(name), limits.get(name)) {
            (None, _) => wrong.push(format!("{head}.  No request is specified")),
            (Some(request), _) if request < bound => wrong.push(format!("{head}, but request is {request}")),
            (_, Some(limit)) if limit < bound => wrong.push(format!("{head}, but limit is {limit}")),
            _ => {}
        }
    }
    for (name, bound) in &amounts(item, "max") {
        let head = format!("maximum {name} usage per {kind} is {bound}");
        match (requests.get(name), limits.get(name)) {
            (_, None) => wrong.push(format!("{head}.  No limit is specified")),
            (_, Some(limit)) if limit > bound => wrong.push(format!("{head}, but limit is {limit}")),
            (Some(request), _) if request > bound => wrong.push(format!("{head}, but request is {request}")),
            _ => {}
        }
    }
    for (name, bound) in &amounts(item, "maxLimitRequestRatio") {
        let head = format!("{name} max limit to request ratio per {kind} is {bound}");
        let some = |of: &Amounts| of.get(name).copied().filter(|q: &Quantity| !q.is_zero());
        match (some(requests), some(limits)) {
            (None, _) => wrong.push(format!("{head}, but no request is specified or request is 0")),
            (_, None) => wrong.push(format!("{head}, but no limit is specified or limit is 0")),
            (Some(request), Some(limit)) => {
                let ratio = limit.milli() as f64 / request.milli() as f64;
                if ratio * 1000.0 > bound.milli() as f64 {
                    wrong.push(format!("{head}, but provided ratio is {ratio:.6}"));
                }
            }
        }
    }
}

/// Returns where a claim is out of the bounds of a range. Pure.
fn claim_problems(range: &Value, claim: &Value) -> Vec<String> {
    let requests = amounts(claim, "spec.resources.requests");
    let mut wrong = vec![];
    for item in list(range, "spec.limits").iter().filter(|i| text(i, "type") == "PersistentVolumeClaim") {
        for (word, field) in [("minimum", "min"), ("maximum", "max")] {
            for (name, bound) in &amounts(item, field) {
                let head = format!("{word} {name} usage per PersistentVolumeClaim is {bound}");
                match requests.get(name) {
                    None => wrong.push(format!("{head}.  No request is specified")),
                    Some(request)
                        if (field == "min" && request < bound) || (field == "max" && request > bound) =>
                    {
                        wrong.push(format!("{head}, but request is {request}"));
                    }
                    Some(_) => {}
                }
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(requests: Value, limits: Value) -> Value {
        json!({"spec": {"containers": [{"name": "c", "resources": {"requests": requests, "limits": limits}}]}})
    }

    #[test]
    fn a_silent_container_gets_the_defaults_and_the_pod_says_so() {
        let of = |text: &str| {
            Defaults::from([("cpu", text), ("memory", "1Gi")].map(|(k, v)| (k.to_string(), v.to_string())))
        };
        let mut silent = pod(json!({"cpu": "100m"}), Value::Null);
        let set = set_defaults(&mut silent, &of("1"), &of("500m"));
        assert_eq!(set, ["memory request for container c", "cpu, memory limit for container c"]);
        let resources = &silent["spec"]["containers"][0]["resources"];
        assert_eq!(resources["requests"], json!({"cpu": "100m", "memory": "1Gi"}));
        assert_eq!(resources["limits"], json!({"cpu": "1", "memory": "1Gi"}));
        assert!(set_defaults(&mut silent, &of("1"), &of("500m")).is_empty());
        let mut silent = pod(Value::Null, Value::Null);
        set_defaults(&mut silent, &of("1.500"), &of("+1"));
        let resources = &silent["spec"]["containers"][0]["resources"];
        assert_eq!(resources["limits"]["cpu"], "1.500", "it keeps its text");
        assert_eq!(resources["requests"]["cpu"], "+1");
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        let range = json!({"spec": {"limits": [
            {"type": "Container", "min": {"cpu": "100m"}, "max": {"memory": "1Gi"}, "maxLimitRequestRatio": {"cpu": "2"}},
            {"type": "Pod", "max": {"cpu": "1"}}]}});
        let problems = pod_problems(
            &range,
            &pod(json!({"cpu": "50m", "memory": "1Gi"}), json!({"cpu": "200m", "memory": "2Gi"})),
        );
        assert_eq!(
            problems,
            [
                "minimum cpu usage per Container is 100m, but request is 50m",
                "maximum memory usage per Container is 1Gi, but limit is 2Gi",
                "cpu max limit to request ratio per Container is 2, but provided ratio is 4.000000",
            ]
        );
        let problems =
            pod_problems(&range, &pod(json!({"cpu": "600m"}), json!({"cpu": "1200m", "memory": "1Mi"})));
        assert_eq!(problems, ["maximum cpu usage per Pod is 1, but limit is 1200m"]);
        let storage =
            json!({"spec": {"limits": [{"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}]}});
        let claim = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}});
        assert_eq!(
            claim_problems(&storage, &claim),
            ["maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi"]
        );
    }
}
