//! The rules for a HorizontalPodAutoscaler (v2).

use crate::errors::Errors;
use crate::pod_spec::container_resource_name;
use crate::quantity::Quantity;
use crate::validate::fields::one_of;
use crate::validate::names::{dns_label, path_segment};
use crate::value::{at, empty, int, list, text};
use serde_json::Value;

pub(super) fn validate(object: &Value, errors: &mut Errors) {
    let min = int(object, "spec.minReplicas").unwrap_or(1);
    let max = int(object, "spec.maxReplicas").unwrap_or(0);
    if min < 1 {
        errors.invalid(
            "spec.minReplicas",
            at(object, "spec.minReplicas"),
            "must be greater than or equal to 1",
        );
    }
    if max < 1 {
        errors.invalid("spec.maxReplicas", &max.into(), "must be greater than 0");
    }
    if max < min {
        errors.invalid("spec.maxReplicas", &max.into(), "must be greater than or equal to `minReplicas`");
    }
    reference(at(object, "spec.scaleTargetRef"), "spec.scaleTargetRef", errors);
    metrics(object, errors);
    behavior(object, errors);
}

/// Checks a reference to an object by kind and name.
fn reference(reference: &Value, field: &str, errors: &mut Errors) {
    for part in ["kind", "name"] {
        let (field, name) = (format!("{field}.{part}"), text(reference, part));
        if name.is_empty() {
            errors.required(&field, "");
        }
        path_segment(name).iter().for_each(|problem| errors.invalid_text(&field, name, problem));
    }
}

/// Rules for a new autoscaler alone.
pub(super) fn validate_create(object: &Value, errors: &mut Errors) {
    api_versions(object, &Value::Null, errors);
}

/// Rules for an update, beside those for every autoscaler.
pub(super) fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    api_versions(new, old, errors);
}

/// Checks that the versions of what an autoscaler refers to can be read, and that the one of its
/// target names a group, as only a ReplicationController has none. What was wrong before may stay
/// (`validationOptionsForHorizontalPodAutoscaler` upstream).
fn api_versions(new: &Value, old: &Value, errors: &mut Errors) {
    const TARGET: &str = "spec.scaleTargetRef";
    let (target, before) = (at(new, TARGET), at(old, TARGET));
    let same = |field: &str| text(target, field) == text(before, field);
    let version = text(target, "apiVersion");
    if old.is_null() || !same("apiVersion") || !same("kind") {
        let why = match (group(version), text(target, "kind")) {
            (None, _) => format!("unexpected GroupVersion string: {version}"),
            (Some(""), kind) if kind != "ReplicationController" => "apiVersion must specify API group".into(),
            _ => String::new(),
        };
        if !why.is_empty() {
            errors.invalid_text(format!("{TARGET}.apiVersion"), version, &why);
        }
    }
    let described = |metric: &Value| text(metric, "object.describedObject.apiVersion").to_string();
    if list(old, "spec.metrics").iter().any(|metric| group(&described(metric)).is_none()) {
        return;
    }
    for (i, metric) in list(new, "spec.metrics").iter().enumerate() {
        let version = described(metric);
        if group(&version).is_none() {
            let field = format!("spec.metrics[{i}].object.describedObject.apiVersion");
            errors.invalid_text(field, &version, &format!("unexpected GroupVersion string: {version}"));
        }
    }
}

/// Returns the group that an apiVersion names: `apps` of `apps/v1`, empty of `v1`. `None` if it
/// cannot be read (`schema.ParseGroupVersion` upstream).
fn group(version: &str) -> Option<&str> {
    match version.split_once('/') {
        None => Some(""),
        Some((group, rest)) => (!rest.contains('/')).then_some(group),
    }
}

fn metrics(object: &Value, errors: &mut Errors) {
    for (i, metric) in list(object, "spec.metrics").iter().enumerate() {
        self::metric(metric, &format!("spec.metrics[{i}]"), errors);
    }
}

/// Checks one metric. Of several sources upstream judges the first alone, and that one whatever the
/// type is (`validateMetricSpec`).
fn metric(metric: &Value, field: &str, errors: &mut Errors) {
    let (kind, place) = (text(metric, "type"), format!("{field}.type"));
    let own = SOURCES.iter().find(|(name, _)| *name == kind).map(|(_, source)| *source);
    if kind.is_empty() {
        errors.required(&place, "must specify a metric source type");
    }
    let unknown = |errors: &mut Errors| {
        if own.is_none() {
            errors.not_supported(&place, &kind.into(), &KINDS);
        }
    };
    unknown(errors);
    let all = SOURCES.iter().map(|(_, source)| *source);
    let present: Vec<&str> = all.filter(|source| !at(metric, source).is_null()).collect();
    if let Some(first) = present.first() {
        source(first, at(metric, first), &format!("{field}.{first}"), errors);
    }
    if let Some(own) = own.filter(|own| !present.contains(own)) {
        errors.required(format!("{field}.{own}"), "must populate information for the given metric source");
    }
    unknown(errors); // upstream says it twice
    for other in present.iter().filter(|other| present.len() > 1 && Some(**other) != own) {
        errors.forbidden(format!("{field}.{other}"), "must populate the given metric source only");
    }
}

fn behavior(object: &Value, errors: &mut Errors) {
    for direction in ["scaleUp", "scaleDown"] {
        let path = format!("spec.behavior.{direction}");
        let window = int(object, &format!("{path}.stabilizationWindowSeconds")).unwrap_or(0);
        if !(0..=3600).contains(&window) {
            let why = if window < 0 {
                "must be greater than or equal to zero"
            } else {
                "must be less than or equal to 3600"
            };
            errors.invalid(format!("{path}.stabilizationWindowSeconds"), &window.into(), why);
        }
        if !at(object, &path).is_null() {
            let select = format!("{path}.selectPolicy");
            one_of(object, &select, &select, &["Disabled", "Max", "Min"], errors);
            if empty(object, &format!("{path}.policies")) {
                errors.required(format!("{path}.policies"), "must specify at least one Policy");
            }
        }
        for (i, policy) in list(object, &format!("{path}.policies")).iter().enumerate() {
            self::policy(policy, &format!("{path}.policies[{i}]"), errors);
        }
        let tolerance = format!("{path}.tolerance");
        if Quantity::parse(text(object, &tolerance)).is_some_and(|amount| amount.is_negative()) {
            let why = "must be greater than or equal to 0";
            errors.invalid(&tolerance, at(object, &tolerance), why);
        }
    }
}

/// Checks by how much the number of pods may change in a period.
fn policy(policy: &Value, field: &str, errors: &mut Errors) {
    let kinds = ["Percent", "Pods"];
    let kind = text(policy, "type");
    if !kinds.contains(&kind) {
        errors.not_supported(format!("{field}.type"), &kind.into(), &kinds);
    }
    for (name, most) in [("value", i64::MAX), ("periodSeconds", 1800)] {
        let amount = int(policy, name).unwrap_or(0);
        let why = match amount {
            ..=0 => "must be greater than zero",
            amount if amount > most => "must be less than or equal to 1800",
            _ => continue,
        };
        errors.invalid(format!("{field}.{name}"), &amount.into(), why);
    }
}

/// The types of metrics, and the field with the source of each.
const SOURCES: [(&str, &str); 5] = [
    ("Object", "object"),
    ("External", "external"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
];
const KINDS: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];

/// Checks one source of a metric: what it measures, and its target.
fn source(name: &str, source: &Value, path: &str, errors: &mut Errors) {
    if name == "object" {
        reference(at(source, "describedObject"), &format!("{path}.describedObject"), errors);
    }
    if matches!(name, "resource" | "containerResource") {
        match (name, text(source, "name")) {
            (_, "") => errors.required(format!("{path}.name"), "must specify a resource name"),
            ("containerResource", resource) => {
                container_resource_name(resource, &format!("{path}.name"), errors)
            }
            _ => {} // as upstream, which does not judge the name of a pod's resource
        }
    } else {
        match text(source, "metric.name") {
            "" => errors.required(format!("{path}.metric.name"), "must specify a metric name"),
            metric => path_segment(metric)
                .iter()
                .for_each(|p| errors.invalid_text(format!("{path}.metric.name"), metric, p)),
        }
        // The selector is for the metrics server, which refuses it itself if it is wrong.
    }
    match (name, text(source, "container")) {
        ("containerResource", "") => errors.required(format!("{path}.container"), "must specify a container"),
        ("containerResource", container) => dns_label(container)
            .iter()
            .for_each(|p| errors.invalid_text(format!("{path}.container"), container, p)),
        _ => {}
    }
    target(at(source, "target"), &format!("{path}.target"), errors);
    let has = |field: &str| !at(source, &format!("target.{field}")).is_null();
    let (value, average, percent) = (has("value"), has("averageValue"), has("averageUtilization"));
    let place = |field: &str| format!("{path}.target.{field}");
    match name {
        "resource" | "containerResource" if !average && !percent => {
            errors.required(
                place("averageUtilization"),
                "must set either a target raw value or a target utilization",
            );
        }
        "resource" | "containerResource" if average && percent => {
            errors.forbidden(
                place("averageValue"),
                "may not set both a target raw value and a target utilization",
            );
        }
        "pods" if !average => {
            errors.required(place("averageValue"), "must specify a positive target averageValue");
        }
        "object" if !value && !average => {
            errors.required(place("averageValue"), "must set either a target value or averageValue");
        }
        "external" if !value && !average => {
            let why = "must set either a target value for metric or a per-pod target";
            errors.required(place("averageValue"), why);
        }
        "external" if value && average => {
            let why = "may not set both a target value for metric and a per-pod target";
            errors.forbidden(place("value"), why);
        }
        _ => {}
    }
}

fn target(target: &Value, field: &str, errors: &mut Errors) {
    let (kind, path) = (text(target, "type"), format!("{field}.type"));
    if kind.is_empty() {
        errors.required(&path, "must specify a metric target type");
    }
    if !["Utilization", "Value", "AverageValue"].contains(&kind) {
        errors.invalid_text(path, kind, "must be either Utilization, Value, or AverageValue");
    }
    for name in ["value", "averageValue"] {
        let amount = Quantity::parse(text(target, name));
        if amount.is_some_and(|q| q.is_zero() || q.is_negative()) {
            errors.invalid(format!("{field}.{name}"), at(target, name), "must be positive");
        }
    }
    const PERCENT: &str = "averageUtilization";
    if int(target, PERCENT).is_some_and(|n| n < 1) {
        errors.invalid(format!("{field}.{PERCENT}"), at(target, PERCENT), "must be greater than 0");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::fields::problems;
    use serde_json::json;

    fn errors_of(more: Value) -> Vec<String> {
        let mut spec = json!({"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "web"}});
        crate::patch::merge(&mut spec, &more);
        problems(validate, json!({ "spec": spec }))
    }

    #[test]
    fn every_metric_has_one_source_and_one_target() {
        let metric = |more: Value| errors_of(json!({"metrics": [more]}));
        let cpu = |target: Value| json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
        assert_eq!(metric(cpu(json!({"type": "Utilization", "averageUtilization": 50}))), [""; 0]);
        let pods =
            json!({"metric": {"name": "hits"}, "target": {"type": "AverageValue", "averageValue": "10"}});
        assert_eq!(metric(json!({"type": "Pods", "pods": pods.clone()})), [""; 0]);
        let selector = json!({"matchExpressions": [{"key": "a b", "operator": "Some"}]});
        let mut selects = pods.clone();
        selects["metric"]["selector"] = selector;
        assert_eq!(metric(json!({"type": "Pods", "pods": selects})), [""; 0], "it is not judged here");
        let mut two = cpu(json!({"type": "Utilization", "averageUtilization": 50}));
        two["pods"] = pods;
        for (metric_of, want) in [
            (
                cpu(json!({"type": "Utilization"})),
                "spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization",
            ),
            (
                cpu(json!({"type": "Utilization", "averageUtilization": 50, "averageValue": "1"})),
                "spec.metrics[0].resource.target.averageValue: Forbidden: may not set both a target raw value and a target utilization",
            ),
            (two, "spec.metrics[0].pods: Forbidden: must populate the given metric source only"),
            (
                json!({"type": "Pods", "pods": {"metric": {"name": "hits"}, "target": {"type": "Utilization", "averageUtilization": 5}}}),
                "spec.metrics[0].pods.target.averageValue: Required value: must specify a positive target averageValue",
            ),
            (
                json!({"type": "Object", "object": {"describedObject": {"kind": "Service", "name": "a/b"},
                    "metric": {"name": "hits"}, "target": {"type": "Value", "value": "5"}}}),
                "spec.metrics[0].object.describedObject.name: Invalid value: \"a/b\": may not contain '/'",
            ),
            (
                json!({"type": "External", "external": {"metric": {}, "target": {"type": "Value", "value": "5"}}}),
                "spec.metrics[0].external.metric.name: Required value: must specify a metric name",
            ),
            (
                json!({"type": "ContainerResource", "containerResource": {"name": "storage", "container": "c",
                    "target": {"type": "AverageValue", "averageValue": "1"}}}),
                "spec.metrics[0].containerResource.name: Invalid value: \"storage\": must be a standard resource for containers",
            ),
            (
                json!({"type": "ContainerResource", "containerResource": {"name": "cpu", "target": {"type": "AverageValue", "averageValue": "1"}}}),
                "spec.metrics[0].containerResource.container: Required value: must specify a container",
            ),
        ] {
            assert_eq!(metric(metric_of), [want]);
        }
    }

    #[test]
    fn of_several_sources_the_first_is_judged() {
        let metric = |more: Value| errors_of(json!({"metrics": [more]}));
        let target = json!({"type": "AverageValue", "averageValue": "1"});
        let cpu = json!({"name": "cpu", "target": target});
        let hits = json!({"metric": {"name": "hits"}, "target": target});
        let here = "spec.metrics[0]";
        let known = r#""ContainerResource", "External", "Object", "Pods", "Resource""#;
        let unknown = |kind| format!("{here}.type: Unsupported value: {kind:?}: supported values: {known}");
        let no_type = format!("{here}.type: Required value: must specify a metric source type");
        let only = |source| format!("{here}.{source}: Forbidden: must populate the given metric source only");
        let missing =
            format!("{here}.external: Required value: must populate information for the given metric source");
        for (more, want) in [
            (json!({"resource": cpu}), vec![no_type, unknown(""), unknown("")]),
            (json!({"type": "Mem", "resource": cpu}), vec![unknown("Mem"), unknown("Mem")]),
            (json!({"type": "External", "resource": cpu}), vec![missing.clone()]),
            (
                json!({"type": "External", "resource": cpu, "pods": hits}),
                vec![missing, only("pods"), only("resource")],
            ),
            (json!({"type": "Resource", "resource": {}, "pods": hits}), vec![only("pods")]),
        ] {
            assert_eq!(metric(more.clone()), want, "{more}");
        }
    }

    #[test]
    fn a_target_has_a_type() {
        let metric =
            json!({"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 0}}});
        let here = "spec.metrics[0].resource.target";
        let want = [
            format!("{here}.type: Required value: must specify a metric target type"),
            format!("{here}.type: Invalid value: \"\": must be either Utilization, Value, or AverageValue"),
            format!("{here}.averageUtilization: Invalid value: 0: must be greater than 0"),
        ];
        assert_eq!(errors_of(json!({"metrics": [metric]})), want);
    }

    #[test]
    fn the_target_has_a_version_that_names_a_group() {
        let hpa = |kind: &str, version: &str, described: &str| {
            json!({"spec": {"scaleTargetRef": {"kind": kind, "name": "web", "apiVersion": version},
                "metrics": [{"type": "Object", "object": {"describedObject": {"apiVersion": described}}}]}})
        };
        let target = "spec.scaleTargetRef.apiVersion: Invalid value:";
        let no_group =
            |version: &str| vec![format!("{target} {version:?}: apiVersion must specify API group")];
        for (new, want) in [
            (hpa("Deployment", "apps/v1", ""), vec![]),
            (hpa("Deployment", "apps/v1", "v1"), vec![]),
            (hpa("Deployment", "", ""), no_group("")),
            (hpa("Deployment", "v1", ""), no_group("v1")),
            (hpa("ReplicationController", "v1", ""), vec![]),
            (
                hpa("Deployment", "a/b/c", "d/e/f"),
                vec![
                    format!("{target} \"a/b/c\": unexpected GroupVersion string: a/b/c"),
                    "spec.metrics[0].object.describedObject.apiVersion: Invalid value: \"d/e/f\": unexpected GroupVersion string: d/e/f".into(),
                ],
            ),
        ] {
            assert_eq!(problems(validate_create, new.clone()), want, "{new}");
            assert_eq!(problems(|new, errors| validate_update(new, new, errors), new.clone()), [""; 0]);
        }
        let (old, new) = (hpa("Deployment", "", ""), hpa("StatefulSet", "", ""));
        let mut errors = Errors::default();
        validate_update(&new, &old, &mut errors);
        assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), no_group(""));
    }

    #[test]
    fn a_behavior_has_policies_and_a_way_to_choose_among_them() {
        let up = |rules: Value| errors_of(json!({"behavior": {"scaleUp": rules}}));
        let policies = json!([{"type": "Pods", "value": 1, "periodSeconds": 15}]);
        assert_eq!(up(json!({"policies": policies, "selectPolicy": "Max"})), [""; 0]);
        assert_eq!(
            up(json!({"policies": policies, "selectPolicy": "max"})),
            [
                "spec.behavior.scaleUp.selectPolicy: Unsupported value: \"max\": supported values: \"Disabled\", \"Max\", \"Min\""
            ]
        );
        assert_eq!(
            up(json!({"policies": [], "selectPolicy": "Max"})),
            ["spec.behavior.scaleUp.policies: Required value: must specify at least one Policy"]
        );
        assert_eq!(
            up(json!({"policies": [{}], "tolerance": "-1"})),
            [
                "spec.behavior.scaleUp.policies[0].type: Unsupported value: \"\": supported values: \"Percent\", \"Pods\"",
                "spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero",
                "spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 0: must be greater than zero",
                "spec.behavior.scaleUp.tolerance: Invalid value: \"-1\": must be greater than or equal to 0"
            ]
        );
    }
}
