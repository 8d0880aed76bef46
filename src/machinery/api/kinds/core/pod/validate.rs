//! The rules for a Pod, for its updates and for its ephemeral containers.

use super::gates;
use crate::errors::Errors;
use crate::meta::annotation;
use crate::pod_spec::annotations::{self, APP_ARMOR, MIRROR};
use crate::pod_spec::{ephemeral, spec};
use crate::schema::equality;
use crate::validate::names::dns_subdomain;
use crate::value::{at, empty, int, list, pairs, text};
use serde_json::Value;
use std::collections::HashSet;

pub(super) fn validate(object: &Value, errors: &mut Errors) {
    let pod = at(object, "spec");
    annotations::check_tolerations(object, ANNOTATIONS, errors);
    annotations::check_profiles(object, ANNOTATIONS, errors);
    spec(pod, "spec", true, errors);
    if text(pod, "serviceAccountName").is_empty() {
        for (v, volume) in list(pod, "volumes").iter().enumerate() {
            for (s, source) in list(volume, "projected.sources").iter().enumerate() {
                if at(source, "serviceAccountToken").is_object() {
                    errors.forbidden(
                        format!("spec.volumes[{v}].projected.sources[{s}].serviceAccountToken"),
                        "must not be specified when serviceAccountName is not set",
                    );
                }
            }
        }
    }
    claim_names(object, errors);
    for group in ["containers", "initContainers", "ephemeralContainers"] {
        for (i, c) in list(pod, group).iter().enumerate() {
            let image = text(c, "image");
            if image.trim() != image {
                let why = "must not have leading or trailing whitespace";
                errors.invalid_text(format!("spec.{group}[{i}].image"), image, why);
            }
        }
    }
}

/// Checks the names that the claims of ephemeral volumes would have: `POD-VOLUME`. No other volume
/// may name such a claim.
fn claim_names(object: &Value, errors: &mut Errors) {
    let pod = text(object, "metadata.name");
    let volumes = list(object, "spec.volumes");
    let made = volumes.iter().filter(|v| !pod.is_empty() && at(v, "ephemeral").is_object());
    let made: HashSet<String> = made.map(|volume| format!("{pod}-{}", text(volume, "name"))).collect();
    for (i, volume) in volumes.iter().enumerate() {
        let (name, claim) = (text(volume, "name"), text(volume, "persistentVolumeClaim.claimName"));
        if made.contains(claim) {
            let why = "must not reference a PVC that gets created for an ephemeral volume";
            errors.invalid_text(format!("spec.volumes[{i}].persistentVolumeClaim.claimName"), claim, why);
        }
        if pod.is_empty() || name.is_empty() || !at(volume, "ephemeral").is_object() {
            continue;
        }
        let claim = format!("{pod}-{name}");
        for problem in dns_subdomain(&claim) {
            let why = format!("PVC name {claim:?}: {problem}");
            errors.invalid_text(format!("spec.volumes[{i}].name"), name, &why);
        }
    }
}

/// Rules for a new pod alone.
pub(super) fn validate_create(object: &Value, errors: &mut Errors) {
    if !empty(object, "spec.ephemeralContainers") {
        errors.forbidden("spec.ephemeralContainers", "cannot be set on create");
    }
    if !text(object, "spec.nodeName").is_empty() && !empty(object, "spec.schedulingGates") {
        errors.forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared");
    }
    annotations::check_mirror(object, ANNOTATIONS, errors);
    annotations::check_cost(object, ANNOTATIONS, errors);
    annotations::check_agreement(object, "spec", errors);
}

const ANNOTATIONS: &str = "metadata.annotations";

/// Rules for a write through `/ephemeralcontainers`: only additions, and none to static pods.
pub fn ephemeral_update(new: &Value, old: &Value, errors: &mut Errors) {
    if annotation(old, MIRROR).is_some() {
        return errors.forbidden("", "static pods do not support ephemeral containers");
    }
    ephemeral::ephemeral_update(new, old, errors);
}

/// Checks the annotations. No write, also none through `/status`, may change whether a pod is a
/// mirror, and of what, nor a profile of AppArmor. A wrong cost of a deletion may stay.
pub(super) fn annotations_update(new: &Value, old: &Value, errors: &mut Errors) {
    let is_fixed = |(key, _): &(&str, &str)| *key == MIRROR || key.starts_with(APP_ARMOR);
    let what = |key: &str| if key == MIRROR { "mirror pod annotation" } else { "AppArmor annotations" };
    for (key, before) in pairs(old, ANNOTATIONS).filter(is_fixed) {
        if annotation(new, key) != Some(before) {
            let why = format!("may not remove or update {}", what(key));
            errors.forbidden(format!("{ANNOTATIONS}[{key}]"), &why);
        }
    }
    for (key, _) in pairs(new, ANNOTATIONS).filter(is_fixed) {
        if annotation(old, key).is_none() {
            let why = format!("may not add {}", what(key));
            errors.forbidden(format!("{ANNOTATIONS}[{key}]"), &why);
        }
    }
    if annotations::has_good_cost(old) {
        annotations::check_cost(new, ANNOTATIONS, errors);
    }
}

const FROZEN: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub(super) fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    annotations_update(new, old, errors);
    for group in ["containers", "initContainers"] {
        let (a, b) = (list(new, &format!("spec.{group}")).len(), list(old, &format!("spec.{group}")).len());
        if a != b {
            errors.forbidden(format!("spec.{group}"), "pod updates may not add or remove containers");
            return;
        }
    }
    let (new_tolerations, old_tolerations) = (list(new, "spec.tolerations"), list(old, "spec.tolerations"));
    let but_seconds = |t: &Value| {
        let mut t = t.clone();
        crate::value::remove(&mut t, "tolerationSeconds");
        t
    };
    let kept: HashSet<Value> = new_tolerations.iter().map(but_seconds).collect();
    if old_tolerations.iter().any(|t| !kept.contains(&but_seconds(t))) {
        errors.forbidden(
            "spec.tolerations",
            "existing toleration can not be modified except its tolerationSeconds",
        );
    }
    gates::only_go(new, old, errors);
    gates::deadline(new, old, errors);
    let gated = !list(old, "spec.schedulingGates").is_empty();
    if gated {
        gates::only_narrows(new, old, errors);
    }
    // A negative period, which counts as 1, may be written as what it is.
    const GRACE: &str = "spec.terminationGracePeriodSeconds";
    let is_same_grace = int(old, GRACE).is_some_and(|period| period < 0) && int(new, GRACE) == Some(1);
    let frozen = |pod: &Value| {
        let mut spec = at(pod, "spec").clone();
        if is_same_grace {
            crate::value::remove(&mut spec, "terminationGracePeriodSeconds");
        }
        if let Some(map) = spec.as_object_mut() {
            for key in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
                map.shift_remove(key);
            }
            for group in ["containers", "initContainers"] {
                if let Some(Value::Array(list)) = map.get_mut(group) {
                    for c in list {
                        if let Some(c) = c.as_object_mut() {
                            c.shift_remove("image");
                        }
                    }
                }
            }
        }
        if gated {
            gates::without_placement(&mut spec);
        }
        spec
    };
    if !equality::equal("io.k8s.api.core.v1.PodSpec", "", &frozen(new), &frozen(old)) {
        errors.forbidden("spec", FROZEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod_spec::annotations::{DELETION_COST, has_good_cost};
    use crate::validate::fields::problems;
    use serde_json::json;

    #[test]
    fn annotations_of_pods_are_what_their_readers_expect() {
        let pod = |cost: &str| json!({"metadata": {"annotations": {DELETION_COST: cost}}});
        for cost in ["0", "-5", "2147483647"] {
            assert!(has_good_cost(&pod(cost)), "{cost}");
        }
        for cost in ["abc", "", "+1", "008", "2147483648"] {
            let found = problems(validate_create, pod(cost));
            let field = "metadata.annotations[controller.kubernetes.io/pod-deletion-cost]";
            assert_eq!(found, [format!("{field}: Invalid value: {cost:?}: must be a 32bit integer")]);
            let update = |new: &Value, old: &Value| {
                let mut errors = Errors::default();
                validate_update(new, old, &mut errors);
                errors.iter().any(|error| error.field == field)
            };
            assert!(update(&pod(cost), &pod("1")) && !update(&pod(cost), &pod("x")));
        }
        let mirror =
            |node: &str| json!({"metadata": {"annotations": {MIRROR: "x"}}, "spec": {"nodeName": node}});
        assert_eq!(problems(validate_create, mirror("n")), [""; 0]);
        assert_eq!(
            problems(validate_create, mirror("")),
            [format!(
                "metadata.annotations[{MIRROR}]: Invalid value: \"x\": must set spec.nodeName if mirror pod annotation is set"
            )]
        );
    }

    #[test]
    fn the_claim_of_an_ephemeral_volume_has_a_name_of_the_pod() {
        let errors_of = |pod: &str, source: Value| {
            let mut volume = json!({"name": "data"});
            crate::patch::merge(&mut volume, &source);
            let pod = json!({"metadata": {"name": pod}, "spec": {"volumes": [volume]}});
            let all = problems(validate, pod).into_iter();
            all.filter(|problem| problem.starts_with("spec.volumes[0].name")).collect::<Vec<_>>()
        };
        let (own, long) = (json!({"ephemeral": {}}), "a".repeat(250));
        assert_eq!(errors_of("web", own.clone()), [""; 0]);
        assert_eq!(errors_of(&long, json!({"emptyDir": {}})), [""; 0]);
        let why = "must be no more than 253 characters";
        let want = format!("spec.volumes[0].name: Invalid value: \"data\": PVC name \"{long}-data\": {why}");
        assert_eq!(errors_of(&long, own), [want]);
    }

    #[test]
    fn no_volume_names_the_claim_of_an_ephemeral_one() {
        let errors_of = |claim: &str| {
            let own = json!({"name": "data", "ephemeral": {}});
            let other = json!({"name": "other", "persistentVolumeClaim": {"claimName": claim}});
            let pod = json!({"metadata": {"name": "web"}, "spec": {"volumes": [own, other]}});
            let all = problems(validate, pod).into_iter();
            all.filter(|problem| problem.contains("claimName")).collect::<Vec<_>>()
        };
        let why = "must not reference a PVC that gets created for an ephemeral volume";
        let field = "spec.volumes[1].persistentVolumeClaim.claimName";
        assert_eq!(errors_of("web-data"), [format!("{field}: Invalid value: \"web-data\": {why}")]);
        assert_eq!(errors_of("web-other"), [""; 0]);
    }

    #[test]
    fn a_negative_grace_period_is_accepted_and_may_become_1() {
        let pod = |period: i64| {
            let spec =
                json!({"terminationGracePeriodSeconds": period, "containers": [{"name": "c", "image": "x"}]});
            json!({"metadata": {"name": "p"}, "spec": spec})
        };
        assert_eq!(problems(validate, pod(-5)), [""; 0]);
        let errors_of = |old: i64, new: i64| {
            let mut errors = Errors::default();
            validate_update(&pod(new), &pod(old), &mut errors);
            errors.iter().count()
        };
        assert_eq!((errors_of(-5, -5), errors_of(-5, 1), errors_of(-5, 2), errors_of(5, 1)), (0, 0, 1, 1));
    }

    #[test]
    fn a_new_pod_brings_no_debugger_and_does_not_go_round_its_gates() {
        let errors_of =
            |spec: Value| crate::validate::fields::problems(validate_create, json!({"spec": spec}));
        let gates = json!([{"name": "a"}]);
        assert_eq!(errors_of(json!({"nodeName": "n"})), [""; 0]);
        assert_eq!(errors_of(json!({"schedulingGates": gates})), [""; 0]);
        assert_eq!(
            errors_of(json!({"nodeName": "n", "schedulingGates": gates})),
            ["spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"]
        );
        assert_eq!(
            errors_of(json!({"ephemeralContainers": [{"name": "d"}]})),
            ["spec.ephemeralContainers: Forbidden: cannot be set on create"]
        );
    }

    #[test]
    fn only_a_pods_image_may_change() {
        let old = json!({"spec": {"containers": [{"name": "a", "image": "x"}]}});
        let check = |new: Value| {
            let mut errors = Errors::default();
            validate_update(&new, &old, &mut errors);
            errors.iter().count()
        };
        assert_eq!(check(json!({"spec": {"containers": [{"name": "a", "image": "y"}]}})), 0);
        assert_eq!(check(json!({"spec": {"containers": [{"name": "a", "image": "x", "tty": true}]}})), 1);
    }

    #[test]
    fn another_spelling_of_an_amount_is_no_change_of_a_pod() {
        let pod = |memory: &str, note: &str| {
            let env = json!([{"name": "NOTE", "value": note}]);
            let limits = json!({"limits": {"memory": memory}});
            json!({"spec": {"containers": [{"name": "a", "env": env, "resources": limits}]}})
        };
        let check = |new: Value| {
            let mut errors = Errors::default();
            validate_update(&new, &pod("1Gi", "1Gi"), &mut errors);
            errors.iter().count()
        };
        assert_eq!(check(pod("1073741824", "1Gi")), 0);
        assert_eq!(check(pod("1G", "1Gi")), 1);
        assert_eq!(check(pod("1Gi", "1073741824")), 1, "the value of a variable is text");
    }

    #[test]
    fn ephemeral_containers_are_only_added() {
        let pod = |names: &[&str]| {
            let all: Vec<Value> = names.iter().map(|n| json!({"name": n, "image": "x"})).collect();
            json!({"spec": {"ephemeralContainers": all}})
        };
        let check = |new: Value, old: Value| {
            let mut errors = Errors::default();
            ephemeral_update(&new, &old, &mut errors);
            errors.iter().count()
        };
        assert_eq!(check(pod(&["a", "b"]), pod(&["a"])), 0);
        assert_eq!(check(pod(&["b"]), pod(&["a"])), 1);
        let mut changed = pod(&["a"]);
        changed["spec"]["ephemeralContainers"][0]["image"] = "y".into();
        assert_eq!(check(changed, pod(&["a"])), 1);
        let mut mirror = pod(&[]);
        mirror["metadata"] = json!({"annotations": {"kubernetes.io/config.mirror": "x"}});
        assert_eq!(check(pod(&["a"]), mirror), 1);
    }

    #[test]
    fn no_write_makes_a_pod_a_mirror_or_a_mirror_a_pod() {
        let pod = |mirror: Option<&str>| match mirror {
            Some(of) => json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": of, "a": "b"}}}),
            None => json!({"metadata": {"annotations": {"a": "b"}}}),
        };
        let check = |new: Option<&str>, old: Option<&str>| {
            let mut errors = Errors::default();
            annotations_update(&pod(new), &pod(old), &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let place = "metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not";
        assert_eq!(check(Some("x"), None), [format!("{place} add mirror pod annotation")]);
        let other = [format!("{place} remove or update mirror pod annotation")];
        assert_eq!([check(None, Some("x")), check(Some("y"), Some("x"))], [other.clone(), other]);
        assert!(check(None, None).is_empty() && check(Some("x"), Some("x")).is_empty());
    }

    #[test]
    fn a_profile_of_app_armor_in_an_annotation_stays() {
        let key = format!("{APP_ARMOR}c");
        let pod = |profile: Option<&str>| match profile {
            Some(profile) => json!({"metadata": {"annotations": {&key: profile}}}),
            None => json!({"metadata": {}}),
        };
        let check = |new: Option<&str>, old: Option<&str>| {
            let mut errors = Errors::default();
            annotations_update(&pod(new), &pod(old), &mut errors);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let place = format!("metadata.annotations[{key}]: Forbidden: may not");
        assert_eq!(check(Some("unconfined"), None), [format!("{place} add AppArmor annotations")]);
        let other = [format!("{place} remove or update AppArmor annotations")];
        assert_eq!(check(None, Some("unconfined")), other);
        assert_eq!(check(Some("runtime/default"), Some("unconfined")), other);
        assert_eq!(check(Some("unconfined"), Some("unconfined")), [""; 0]);
    }
}
