//! HorizontalPodAutoscalers (v2).

use super::names::path_segment;
use crate::api::errors::Errors;
use crate::api::quantity::Quantity;
use crate::api::value::{at, int, list, text};
use serde_json::Value;

pub fn autoscaler(object: &Value, errors: &mut Errors) {
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
    for field in ["kind", "name"] {
        let path = format!("spec.scaleTargetRef.{field}");
        if text(object, &path).is_empty() {
            errors.required(&path, "");
        }
        for problem in path_segment(text(object, &path)) {
            errors.invalid_text(&path, text(object, &path), &problem);
        }
    }
    for (i, metric) in list(object, "spec.metrics").iter().enumerate() {
        let kind = text(metric, "type");
        let field = format!("spec.metrics[{i}]");
        let source = match kind {
            "Resource" => "resource",
            "ContainerResource" => "containerResource",
            "Pods" => "pods",
            "Object" => "object",
            "External" => "external",
            "" => {
                errors.required(format!("{field}.type"), "must specify a metric source type");
                continue;
            }
            _ => {
                let known = ["ContainerResource", "External", "Object", "Pods", "Resource"];
                errors.not_supported(format!("{field}.type"), at(metric, "type"), &known);
                continue;
            }
        };
        let path = format!("{field}.{source}");
        if at(metric, source).is_null() {
            errors.required(path, "must populate the given metric source");
            continue;
        }
        target(at(metric, &format!("{source}.target")), &format!("{path}.target"), errors);
        if source.to_lowercase().ends_with("resource") && text(metric, &format!("{source}.name")).is_empty() {
            errors.required(format!("{path}.name"), "must specify a resource name");
        }
    }
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
        for (i, policy) in list(object, &format!("{path}.policies")).iter().enumerate() {
            let field = format!("{path}.policies[{i}]");
            if !["Percent", "Pods"].contains(&text(policy, "type")) {
                errors.not_supported(format!("{field}.type"), at(policy, "type"), &["Percent", "Pods"]);
            }
            for (name, most) in [("value", i64::MAX), ("periodSeconds", 1800)] {
                match int(policy, name).unwrap_or(0) {
                    ..=0 => errors.invalid(
                        format!("{field}.{name}"),
                        at(policy, name),
                        "must be greater than zero",
                    ),
                    n if n > most => {
                        errors.invalid(
                            format!("{field}.{name}"),
                            at(policy, name),
                            "must be less than or equal to 1800",
                        );
                    }
                    _ => {}
                }
            }
        }
    }
}

fn target(target: &Value, field: &str, errors: &mut Errors) {
    let kind = text(target, "type");
    if !["Utilization", "Value", "AverageValue"].contains(&kind) {
        let path = format!("{field}.type");
        match kind {
            "" => errors.required(path, "must specify a metric target type"),
            _ => errors.not_supported(path, at(target, "type"), &["AverageValue", "Utilization", "Value"]),
        }
    }
    if int(target, "averageUtilization").is_some_and(|n| n < 1) {
        errors.invalid(
            format!("{field}.averageUtilization"),
            at(target, "averageUtilization"),
            "must be greater than 0",
        );
    }
    for name in ["value", "averageValue"] {
        let amount = Quantity::parse(text(target, name));
        if amount.is_some_and(|q| q.is_zero() || q.is_negative()) {
            errors.invalid(format!("{field}.{name}"), at(target, name), "must be positive");
        }
    }
}
