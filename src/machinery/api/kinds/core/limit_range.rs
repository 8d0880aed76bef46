//! Limit ranges: defaults and bounds for the requests and limits of a namespace's pods and claims.

use crate::errors::Errors;
use crate::kinds::core::resource_quota;
use crate::kinds::entry::{Kind, of};
use crate::meta;
use crate::pod_spec;
use crate::quantity::Quantity;
use crate::quota::{Amounts, amounts};
use crate::validate::names;
use crate::value::{self, list, list_mut, map, text};
use k8s_openapi::api::core::v1::LimitRange;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashSet};

pub(super) fn kind() -> Kind {
    Kind {
        short_names: &["limits"],
        create_on_update: true,
        defaults,
        prepare,
        validate,
        ..of::<LimitRange>()
    }
}

/// Names a LimitRange that its client gave no name after its uid. Upstream takes another UUID.
fn prepare(object: &mut Value) {
    if meta::name(object).is_empty() {
        let uid = meta::uid(object).to_string();
        value::put(object, "metadata.name", uid);
    }
}

/// Bounds are also the defaults for containers: the default limit is the maximum, the default
/// request is the default limit, or else the minimum.
fn defaults(object: &mut Value) {
    for item in list_mut(object, "spec.limits").iter_mut().filter(|i| text(i, "type") == "Container") {
        for (to, from) in [("default", "max"), ("defaultRequest", "default"), ("defaultRequest", "min")] {
            let source = value::at(item, from).clone();
            let slot = value::slot_map(item, to);
            for (name, amount) in source.as_object().into_iter().flatten() {
                slot.entry(name.clone()).or_insert_with(|| amount.clone());
            }
            if slot.is_empty() {
                value::remove(item, to);
            }
        }
    }
}

const TYPES: [&str; 3] = ["Pod", "Container", "PersistentVolumeClaim"];
const BOUNDS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

fn validate(object: &Value, errors: &mut Errors) {
    let mut seen: HashSet<&str> = HashSet::new();
    for (i, item) in list(object, "spec.limits").iter().enumerate() {
        let field = format!("spec.limits[{i}]");
        let kind = text(item, "type");
        let problems = names::qualified_name(kind);
        if !problems.is_empty() {
            problems.iter().for_each(|p| errors.invalid_text(format!("{field}.type"), kind, p));
        } else if !kind.contains('/') && !TYPES.contains(&kind) {
            errors.invalid_text(
                format!("{field}.type"),
                kind,
                "must be a standard limit type or fully qualified",
            );
        }
        if seen.contains(&kind) {
            errors.duplicate(format!("{field}.type"), &json!(kind));
        }
        seen.insert(kind);
        for bound in BOUNDS {
            let there = map(item, bound).into_iter().flatten();
            if kind == "Pod" && bound.starts_with("default") {
                if there.count() > 0 {
                    errors.forbidden(format!("{field}.{bound}"), "may not be specified when `type` is 'Pod'");
                }
                continue;
            }
            for (name, value) in there {
                let field = format!("{field}.{bound}[{name}]");
                limited_resource(kind, name, &field, errors);
                if let Err(why) = Quantity::read(value.as_str().unwrap_or_default()) {
                    errors.invalid(&field, value, why);
                }
            }
        }
        // Defaults for pods are refused above, so they need not agree.
        let bounds = |bound: &str| match kind == "Pod" && bound.starts_with("default") {
            true => Amounts::default(),
            false => amounts(item, bound),
        };
        if kind == "PersistentVolumeClaim"
            && !bounds("min").contains_key("storage")
            && !bounds("max").contains_key("storage")
        {
            let why = "either minimum or maximum storage value is required, but neither was provided";
            errors.required(format!("{field}.limits"), why);
        }
        agree(&field, &BOUNDS.map(bounds), errors);
    }
}

/// Checks the name of a resource: in limits for pods and containers, one that a container may ask
/// for (`validateContainerResourceName` upstream).
fn limited_resource(kind: &str, name: &str, field: &str, errors: &mut Errors) {
    match kind {
        "Pod" | "Container" => pod_spec::container_resource_name(name, field, errors),
        _ => resource_quota::resource_name(name, field, errors),
    }
}

/// Returns false for GPUs, huge pages and the like: a container requests as much of them as its
/// limit.
fn may_be_overcommitted(name: &str) -> bool {
    (!name.contains('/') || name.contains("kubernetes.io/")) && !name.starts_with("hugepages-")
}

/// Checks min ≤ default request ≤ default ≤ max, for every resource.
fn agree(field: &str, [max, min, default, request, ratio]: &[Amounts; 5], errors: &mut Errors) {
    let names: BTreeSet<&String> =
        [max, min, default, request, ratio].into_iter().flat_map(|m| m.keys()).collect();
    for name in names {
        let (max, min, default, request) =
            (max.get(name), min.get(name), default.get(name), request.get(name));
        let mut check = |bound: &str,
                         shown: Option<&Quantity>,
                         low: (&str, Option<&Quantity>),
                         high: (&str, Option<&Quantity>)| {
            if let (Some(low_amount), Some(high_amount), Some(shown)) = (low.1, high.1, shown)
                && low_amount > high_amount
            {
                let why =
                    format!("{} value {low_amount} is greater than {} value {high_amount}", low.0, high.0);
                errors.invalid_text(format!("{field}.{bound}[{name}]"), &shown.to_string(), &why);
            }
        };
        check("min", min, ("min", min), ("max", max));
        check("defaultRequest", request, ("min", min), ("default request", request));
        check("defaultRequest", request, ("default request", request), ("max", max));
        check("defaultRequest", request, ("default request", request), ("default limit", default));
        check("default", min, ("min", min), ("default", default));
        check("default", max, ("default", default), ("max", max));
        if let (Some(default), Some(request)) = (default, request)
            && default != request
            && !may_be_overcommitted(name)
        {
            let why =
                format!("default value {default} must equal to defaultRequest value {request} in {name}");
            errors.invalid_text(format!("{field}.defaultRequest[{name}]"), &request.to_string(), &why);
        }
        let Some(ratio) = ratio.get(name) else { continue };
        let field = format!("{field}.maxLimitRequestRatio[{name}]");
        if *ratio < Quantity::of_units(1) {
            errors.invalid_text(&field, &ratio.to_string(), &format!("ratio {ratio} is less than 1"));
        }
        if let (Some(min), Some(max)) = (min, max) {
            let (ratio_value, most) = ratio_and_most(ratio, min, max);
            if ratio_value > most {
                let why = format!("ratio {ratio} is greater than max/min = {most:.6}");
                errors.invalid_text(&field, &ratio.to_string(), &why);
            }
        }
    }
}

/// Returns a ratio and the largest one that `min` and `max` allow. They are compared in thousandths
/// unless one is too large for that (`MaxMilliValue` upstream).
fn ratio_and_most(ratio: &Quantity, min: &Quantity, max: &Quantity) -> (f64, f64) {
    const MILLI_MAX: i64 = i64::MAX / 1000;
    match [ratio, min, max].into_iter().all(|amount| amount.units() < MILLI_MAX) {
        true => (ratio.milli() as f64 / 1000.0, max.milli() as f64 / min.milli() as f64),
        false => (ratio.units() as f64, max.units() as f64 / min.units() as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fields::problems;

    #[test]
    fn large_bounds_have_a_ratio_too() {
        let errors_of = |max: &str| {
            let ratio = json!({"memory": "2"});
            let item = json!({"type": "Pod", "min": {"memory": "50Pi"}, "max": {"memory": max}, "maxLimitRequestRatio": ratio});
            problems(validate, json!({"spec": {"limits": [item]}}))
        };
        assert_eq!(errors_of("100Pi"), [""; 0]);
        assert_eq!(
            errors_of("75Pi"),
            [
                "spec.limits[0].maxLimitRequestRatio[memory]: Invalid value: \"2\": ratio 2 is greater than max/min = 1.500000"
            ]
        );
    }

    #[test]
    fn limits_of_containers_are_about_what_they_may_ask_for() {
        let errors_of = |name: &str| {
            let item = json!({"type": "Container", "max": {name: "1"}});
            problems(validate, json!({"spec": {"limits": [item]}}))
        };
        for good in ["cpu", "hugepages-2Mi", "nvidia.com/gpu"] {
            assert_eq!(errors_of(good), [""; 0]);
        }
        let of =
            |name: &str, why: &str| format!("spec.limits[0].max[{name}]: Invalid value: {name:?}: {why}");
        let (standard, container) = (
            "must be a standard resource type or fully qualified",
            "must be a standard resource for containers",
        );
        assert_eq!(errors_of("foo"), [of("foo", standard), of("foo", container)]);
        assert_eq!(errors_of("pods"), [of("pods", container)]);
        let device = "requests.nvidia.com/gpu";
        assert_eq!(errors_of(device), [of(device, "doesn't follow extended resource name standard")]);
    }

    #[test]
    fn the_bounds_of_a_limit_range_agree() {
        let item = json!({"type": "Container", "min": {"cpu": "1"}, "max": {"cpu": "500m"}, "default": {"cpu": "2"}});
        let found = problems(validate, json!({"spec": {"limits": [item]}}));
        assert_eq!(
            found,
            [
                "spec.limits[0].min[cpu]: Invalid value: \"1\": min value 1 is greater than max value 500m",
                "spec.limits[0].default[cpu]: Invalid value: \"500m\": default value 2 is greater than max value 500m",
            ]
        );
        let pod = json!({"type": "Pod", "default": {"cpu": "1"}});
        let found = problems(validate, json!({"spec": {"limits": [pod, {"type": "PersistentVolumeClaim"}]}}));
        assert!(
            found[0].contains("may not be specified when `type` is 'Pod'")
                && found[1].contains("either minimum"),
            "{found:?}"
        );
        let pod = json!({"type": "Pod", "max": {"cpu": "1"}, "default": {"cpu": "2"}});
        assert_eq!(
            problems(validate, json!({"spec": {"limits": [pod]}})),
            ["spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'"]
        );
    }

    #[test]
    fn defaults_of_what_cannot_be_overcommitted_are_equal() {
        let errors_of = |name: &str, request: &str| {
            let item =
                json!({"type": "Container", "default": {name: "2"}, "defaultRequest": {name: request}});
            problems(validate, json!({"spec": {"limits": [item]}}))
        };
        for name in ["nvidia.com/gpu", "hugepages-2Mi"] {
            assert_eq!(errors_of(name, "2"), [""; 0]);
            let field = format!("spec.limits[0].defaultRequest[{name}]: Invalid value: \"1\"");
            let why = format!("default value 2 must equal to defaultRequest value 1 in {name}");
            assert_eq!(errors_of(name, "1"), [format!("{field}: {why}")]);
        }
        assert_eq!(errors_of("cpu", "1"), [""; 0]);
    }

    #[test]
    fn a_limit_range_without_a_name_gets_one() {
        for (name, want) in [("", "u"), ("own", "own")] {
            let mut object = json!({"metadata": {"uid": "u", "name": name}});
            (kind().prepare)(&mut object);
            assert_eq!(meta::name(&object), want);
        }
        let mut unnamed = json!({"metadata": {"uid": "u"}});
        (kind().prepare)(&mut unnamed);
        assert_eq!(meta::name(&unnamed), "u");
    }
}
