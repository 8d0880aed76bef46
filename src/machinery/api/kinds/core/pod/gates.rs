//! What an update may change of a pod that waits behind scheduling gates, and of a pod's deadline
//! (KEP-3521, KEP-3838).

use crate::errors::Errors;
use crate::value::{at, list, map, text};
use serde_json::Value;
use std::collections::HashSet;

/// Checks that scheduling gates are only removed: a gate that is added to a scheduled pod would
/// have no effect.
pub(super) fn only_go(new: &Value, old: &Value, errors: &mut Errors) {
    let before: HashSet<&str> = list(old, "spec.schedulingGates").iter().map(|g| text(g, "name")).collect();
    for (i, gate) in list(new, "spec.schedulingGates").iter().enumerate() {
        let name = text(gate, "name");
        if !before.contains(name) {
            let why = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            errors.forbidden(format!("spec.schedulingGates[{i}].name"), &why);
        }
    }
}

/// Checks that a deadline is set once, and then only reduced.
pub(super) fn deadline(new: &Value, old: &Value, errors: &mut Errors) {
    const FIELD: &str = "spec.activeDeadlineSeconds";
    match (at(old, FIELD).as_i64(), at(new, FIELD).as_i64()) {
        (_, Some(n)) if !(0..=i64::from(i32::MAX)).contains(&n) => {
            errors.invalid(FIELD, at(new, FIELD), "must be between 0 and 2147483647, inclusive");
        }
        (Some(before), Some(after)) if before < after => {
            errors.invalid(FIELD, at(new, FIELD), "must be less than or equal to previous value");
        }
        (Some(_), None) => {
            errors.invalid(FIELD, &Value::Null, "must not update from a positive integer to nil value");
        }
        _ => {}
    }
}

/// Checks that the set of nodes for a gated pod only becomes smaller: the controller that holds the
/// gate chooses among the nodes that the owner of the pod allows.
pub(super) fn only_narrows(new: &Value, old: &Value, errors: &mut Errors) {
    const SELECTOR: &str = "spec.nodeSelector";
    let chosen = at(new, SELECTOR);
    if map(old, SELECTOR).into_iter().flatten().any(|(key, value)| chosen.get(key) != Some(value)) {
        let why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        errors.invalid(SELECTOR, chosen, why);
    }
    const TERMS: &str =
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
    let (before, after) = (list(old, TERMS), list(new, TERMS));
    if before.is_empty() {
        return;
    }
    if before.len() != after.len() {
        let why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        return errors.invalid(TERMS, at(new, TERMS), why);
    }
    for (i, (before, after)) in before.iter().zip(after).enumerate() {
        let keeps = |field: &str| {
            let (had, has) = (list(before, field), list(after, field));
            has.len() >= had.len() && has[..had.len()] == *had
        };
        let was_empty = list(before, "matchExpressions").is_empty() && list(before, "matchFields").is_empty();
        let is_empty = list(after, "matchExpressions").is_empty() && list(after, "matchFields").is_empty();
        // A term without requirements matches no node: with an added requirement it would match
        // some.
        if (was_empty && !is_empty) || !keeps("matchExpressions") || !keeps("matchFields") {
            let why = "only additions are allowed (no mutations or deletions)";
            errors.invalid(format!("{TERMS}[{i}]"), after, why);
        }
    }
}

/// Takes the parts that [`only_narrows`] judges out of a pod's spec.
pub(super) fn without_placement(spec: &mut Value) {
    let Some(spec) = spec.as_object_mut() else { return };
    spec.shift_remove("nodeSelector");
    if let Some(Value::Object(affinity)) = spec.get_mut("affinity") {
        affinity.shift_remove("nodeAffinity");
        if affinity.is_empty() {
            spec.shift_remove("affinity");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::errors::Errors;
    use crate::kinds::core::pod::validate::validate_update;
    use serde_json::{Value, json};

    fn errors_of(old: Value, new: Value) -> Vec<String> {
        let pod = |more: Value| {
            let mut spec = json!({"containers": [{"name": "c", "image": "x"}]});
            crate::patch::merge(&mut spec, &more);
            json!({"metadata": {"name": "p"}, "spec": spec})
        };
        let mut errors = Errors::default();
        validate_update(&pod(new), &pod(old), &mut errors);
        errors.iter().map(|e| e.to_string().chars().take(120).collect()).collect()
    }

    #[test]
    fn a_plain_update_adds_no_ephemeral_container_and_no_gate() {
        let debugger = json!({"ephemeralContainers": [{"name": "d", "image": "x"}]});
        assert!(
            errors_of(json!({}), debugger.clone())[0]
                .starts_with("spec: Forbidden: pod updates may not change")
        );
        assert_eq!(errors_of(debugger.clone(), json!({})).len(), 1, "nor does it remove one");
        assert_eq!(errors_of(debugger.clone(), debugger), [""; 0]);
        let gates = |names: &[&str]| json!({"schedulingGates": names.iter().map(|n| json!({"name": n})).collect::<Vec<_>>()});
        assert_eq!(errors_of(gates(&["a", "b"]), gates(&["b"])), [""; 0]);
        assert_eq!(
            errors_of(gates(&["a"]), gates(&["a", "c"])),
            [
                "spec.schedulingGates[1].name: Forbidden: only deletion is allowed, but found new scheduling gate 'c'"
            ]
        );
    }

    #[test]
    fn a_deadline_only_comes_nearer() {
        let of = |n: Value| json!({ "activeDeadlineSeconds": n });
        assert_eq!(errors_of(json!({}), of(json!(5))), [""; 0]);
        assert_eq!(errors_of(of(json!(5)), of(json!(4))), [""; 0]);
        assert!(
            errors_of(of(json!(5)), of(json!(6)))[0]
                .ends_with("must be less than or equal to previous value")
        );
        assert!(
            errors_of(of(json!(5)), json!({}))[0]
                .ends_with("must not update from a positive integer to nil value")
        );
    }

    #[test]
    fn the_nodes_of_a_gated_pod_only_become_fewer() {
        let gate = json!([{"name": "g"}]);
        let on = |selector: Value| json!({"schedulingGates": gate, "nodeSelector": selector});
        assert_eq!(errors_of(on(json!({"a": "1"})), on(json!({"a": "1", "b": "2"}))), [""; 0]);
        assert_eq!(errors_of(on(json!({"a": "1"})), on(json!({"b": "2"}))).len(), 1);
        let free = |selector: Value| json!({ "nodeSelector": selector });
        assert_eq!(
            errors_of(free(json!({"a": "1"})), free(json!({"a": "1", "b": "2"}))).len(),
            1,
            "without a gate"
        );
        let near = |keys: &[&str]| {
            let all: Vec<Value> = keys.iter().map(|k| json!({"key": k, "operator": "Exists"})).collect();
            json!({"schedulingGates": gate, "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
                {"nodeSelectorTerms": [{"matchExpressions": all}]}}}})
        };
        assert_eq!(errors_of(json!({ "schedulingGates": gate }), near(&["a"])), [""; 0]);
        assert_eq!(errors_of(near(&["a"]), near(&["a", "b"])), [""; 0]);
        assert_eq!(errors_of(near(&["a", "b"]), near(&["a"])).len(), 1);
    }
}
