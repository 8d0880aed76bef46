//! Semantic equality: whether two values mean the same (upstream:
//! `k8s.io/apimachinery/pkg/api/equality`, `Semantic.DeepEqual`).
//!
//! A quantity has several spellings: `1Gi` and `1073741824` are the same amount of memory, and both
//! are canonical. Rules that compare two versions of an object compare amounts, not texts: "this
//! field is immutable", "the generation counts changes of the spec", "this ReplicaSet has the
//! Deployment's template". Without this, a new spelling would replace all pods of a Deployment.
//!
//! ```text
//! Pod   spec.containers[0].resources.limits.memory   1Gi = 1073741824
//! Pod   metadata.annotations["size"]                 1Gi ≠ 1073741824
//! Pod   …resourceFieldRef.divisor                      0 = not set
//! Pod   …ephemeral.volumeClaimTemplate.metadata       {} = not set
//! ```
//!
//! Only fields that the published type declares as quantities are compared as amounts. Everything
//! else is compared as it is written: labels and annotations, the data of ConfigMaps and
//! ControllerRevisions, and all of a custom resource, whose fields have no Go type. What is stored
//! keeps its spelling, so a new spelling is a write.

use super::shapes::{SCHEMAS, Shape, root};
use crate::kinds::entry::Kind;
use crate::quantity::Quantity;
use serde_json::Value;

/// The type of the template of a workload's pods.
pub const POD_TEMPLATE: &str = "io.k8s.api.core.v1.PodTemplateSpec";

/// Compares two values of a published type, such as [`POD_TEMPLATE`], or of the field at `path`
/// within it; an empty path means the type itself.
pub fn equal(type_name: &str, path: &str, a: &Value, b: &Value) -> bool {
    debug_assert!(SCHEMAS.by_name.contains_key(type_name), "{type_name} is no published type");
    a == b || SCHEMAS.by_name.get(type_name).is_some_and(|root| equal_below(*root, path, a, b))
}

/// Compares the values that two objects of a kind have at `path`.
pub fn equal_in(kind: &Kind, path: &str, a: &Value, b: &Value) -> bool {
    // The name of a custom kind's type may be that of a published one.
    match root(kind.schema_name).filter(|_| kind.custom.is_none()) {
        Some(root) => equal_below(root, path, a, b),
        None => a == b,
    }
}

fn equal_below(root: usize, path: &str, a: &Value, b: &Value) -> bool {
    let root = Shape::Struct(root);
    let mut shape = &root;
    for step in path.split('.').filter(|step| !step.is_empty()) {
        shape = match shape {
            Shape::Struct(index) => SCHEMAS.structs[*index].fields.get(step).unwrap_or(&Shape::Any),
            Shape::Map(inner) => inner,
            _ => &Shape::Any,
        };
    }
    same(shape, a, b)
}

/// Type and field of the one amount that is no pointer in Go: where it is not set, it is 0.
const ZERO_UNLESS_SET: (&str, &str) = ("io.k8s.api.core.v1.ResourceFieldSelector", "divisor");

/// Types and fields that are structs and no pointers in Go: one that is not set is an empty one. A
/// client in Go writes them all, so of an object that was stored without them it sends back more
/// than it read.
const EMPTY_UNLESS_SET: [(&str, &str); 3] = [
    ("io.k8s.api.core.v1.PersistentVolumeClaimTemplate", "metadata"),
    ("io.k8s.api.discovery.v1.Endpoint", "conditions"),
    ("io.k8s.api.networking.v1.NetworkPolicySpec", "podSelector"),
];

/// Returns whether an amount is 0 or not set.
fn is_no_amount(value: &Value) -> bool {
    let is_zero =
        |text: &str| text.is_empty() || Quantity::parse(text).is_some_and(|amount| amount.is_zero());
    value.is_null() || value.as_str().is_some_and(is_zero)
}

fn same(shape: &Shape, a: &Value, b: &Value) -> bool {
    let is_empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    };
    match (shape, a, b) {
        (Shape::Quantity, Value::String(one), Value::String(other)) => {
            let amount = |text: &String| Quantity::parse(text);
            one == other || amount(one).is_some_and(|one| amount(other) == Some(one))
        }
        (Shape::Struct(index), Value::Object(one), Value::Object(other)) => {
            let go_struct = &SCHEMAS.structs[*index];
            one.keys().chain(other.keys()).all(|key| {
                let shape = go_struct.fields.get(key).unwrap_or(&Shape::Any);
                let [one, other] = [one, other].map(|map| map.get(key).unwrap_or(&Value::Null));
                let place = (go_struct.name.as_str(), key.as_str());
                let is_zero = || is_no_amount(one) && is_no_amount(other);
                same(shape, one, other)
                    || (place == ZERO_UNLESS_SET && is_zero())
                    || (EMPTY_UNLESS_SET.contains(&place) && is_empty(one) && is_empty(other))
            })
        }
        (Shape::Map(inner), Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, value)| other.get(key).is_some_and(|found| same(inner, value, found)))
        }
        (Shape::List(inner), Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(inner, one, other))
        }
        // No list is the same as an empty one. A struct that is not set differs from an empty one:
        // as a rule it is a pointer in Go.
        (Shape::List(_) | Shape::Map(_), one, other) => one == other || (is_empty(one) && is_empty(other)),
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;
    use serde_json::json;

    fn equal_specs(group: &str, kind: &str, a: Value, b: Value) -> bool {
        let kind = kinds::find(group, "v1", kind).unwrap();
        assert_eq!(equal_in(kind, "spec", &a, &b), equal_in(kind, "spec", &b, &a), "{a} {b}");
        equal_in(kind, "spec", &a, &b)
    }

    #[test]
    fn amounts_are_the_same_in_every_spelling() {
        let with = |memory: &str, size: &str, divisor: &str| {
            let limits = json!({"memory": memory, "example.com/gpu": "1k"});
            let env = json!([{"name": "M", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": divisor}}}]);
            json!({"template": {"spec": {"containers": [{"name": "c", "resources": {"limits": limits}, "env": env}],
                "volumes": [{"name": "v", "emptyDir": {"sizeLimit": size}}]}}})
        };
        let one = with("1Gi", "1G", "1k");
        for (other, want) in [
            (with("1073741824", "1e9", "1e3"), true),
            (with("1Gi", "1G", "1k"), true),
            (with("1G", "1G", "1k"), false),
            (with("1Gi", "1Gi", "1k"), false),
            (with("1Gi", "1G", "1"), false),
        ] {
            assert_eq!(equal_specs("apps", "Deployment", one.clone(), other.clone()), want, "{other}");
        }
        let mut extra = one.clone();
        extra["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "1".into();
        assert!(!equal_specs("apps", "Deployment", one, extra));
        let limits = |memory: &str| json!({ "memory": memory });
        let path = "spec.template.spec.resources.limits";
        let deployment = kinds::find("apps", "v1", "Deployment").unwrap();
        assert!(equal_in(deployment, path, &limits("1Gi"), &limits("1073741824")));
        let labels = "spec.template.metadata.labels";
        assert!(!equal_in(deployment, labels, &limits("1Gi"), &limits("1073741824")));
    }

    #[test]
    fn only_fields_that_are_quantities_are_amounts() {
        for (group, kind, path) in [
            ("", "ConfigMap", "data"),
            ("", "Secret", "stringData"),
            ("", "Pod", "metadata.annotations"),
            ("", "Pod", "spec.nodeSelector"),
            ("apps", "ControllerRevision", "data"),
            ("", "Pod", "spec.unknown"),
        ] {
            let kind = kinds::find(group, "v1", kind).unwrap();
            let (one, other) = (json!({"memory": "1Gi"}), json!({"memory": "1073741824"}));
            assert!(!equal_in(kind, path, &one, &other), "{} {path}", kind.kind);
            assert!(equal_in(kind, path, &one, &one), "{} {path}", kind.kind);
        }
    }

    #[test]
    fn an_empty_list_is_none_and_an_empty_struct_is_some() {
        let volume = |source: Value| json!({"volumes": [{"name": "v", "emptyDir": source}]});
        assert!(equal_specs("", "Pod", json!({"tolerations": []}), json!({})));
        assert!(equal_specs("", "Pod", json!({"nodeSelector": {}}), json!({})));
        assert!(!equal_specs("", "Pod", volume(json!({})), json!({"volumes": [{"name": "v"}]})));
        assert!(!equal_specs("", "Pod", volume(json!({"sizeLimit": "0"})), volume(json!({}))));
    }

    #[test]
    fn a_struct_that_is_no_pointer_in_go_is_never_absent() {
        let claim = |metadata: Value| {
            let mut template = json!({"spec": {"volumeMode": "Filesystem"}});
            if !metadata.is_null() {
                template["metadata"] = metadata;
            }
            json!({"volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": template}}]})
        };
        assert!(equal_specs("", "Pod", claim(Value::Null), claim(json!({}))));
        let labelled = claim(json!({"labels": {"a": "b"}}));
        assert!(!equal_specs("", "Pod", claim(Value::Null), labelled));
        let policy = kinds::find("networking.k8s.io", "v1", "NetworkPolicy").unwrap();
        assert!(equal_in(policy, "spec", &json!({}), &json!({"podSelector": {}})));
        assert!(!equal_in(policy, "spec", &json!({}), &json!({"podSelector": {"matchLabels": {"a": "b"}}})));
        let slice = kinds::find("discovery.k8s.io", "v1", "EndpointSlice").unwrap();
        let endpoints = |conditions: Value| json!([{"addresses": ["10.0.0.1"], "conditions": conditions}]);
        let (bare, filled) = (json!([{"addresses": ["10.0.0.1"]}]), endpoints(json!({})));
        assert!(equal_in(slice, "endpoints", &bare, &filled) && equal_in(slice, "endpoints", &filled, &bare));
        assert!(!equal_in(slice, "endpoints", &bare, &endpoints(json!({"ready": true}))));
    }

    /// As upstream, whose type has a quantity there and no pointer to one.
    #[test]
    fn a_divisor_that_is_not_set_is_zero() {
        let with = |divisor: Value| {
            let mut reference = json!({"resource": "limits.memory"});
            if !divisor.is_null() {
                reference["divisor"] = divisor;
            }
            let env = json!([{"name": "M", "valueFrom": {"resourceFieldRef": reference}}]);
            json!({"containers": [{"name": "c", "env": env}]})
        };
        for (divisor, is_none) in [("0", true), ("0Ki", true), ("1", false)] {
            assert_eq!(equal_specs("", "Pod", with(Value::Null), with(json!(divisor))), is_none, "{divisor}");
        }
    }
}
