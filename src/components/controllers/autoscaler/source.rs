//! Between the words of the API and those of [`super::metric`]: what a spec asks for, what the
//! metrics API answers, and what the status shows.

use super::metric::{Metric, Sample, Target, Tolerance, Verdict};
use api::quantity::Quantity;
use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricStatus, HPAScalingRules, HorizontalPodAutoscalerBehavior, MetricSpec,
    MetricStatus, MetricTarget, MetricValueStatus, ResourceMetricStatus,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Amount;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Reads a metric of the spec.
///
/// `cpu` with `averageUtilization: 80` is a target of 80 %; `memory` with `averageValue: 100Mi` is
/// 104857600000 thousandths of a byte a pod. Pods, Object and External metrics need an API that
/// this cluster does not have, and the error says which.
pub(super) fn read(asked: &MetricSpec) -> Result<Metric, String> {
    let (resource, container, target) = match (&asked.resource, &asked.container_resource) {
        (Some(r), _) => (r.name.clone(), None, &r.target),
        (None, Some(r)) => (r.name.clone(), Some(r.container.clone()), &r.target),
        _ => {
            let group = if asked.type_ == "External" { "external" } else { "custom" };
            return Err(format!("no {group} metrics API ({group}.metrics.k8s.io) registered"));
        }
    };
    let MetricTarget { average_utilization, average_value, .. } = target;
    let target = match (average_utilization, average_value.as_ref().and_then(|q| Quantity::parse(&q.0))) {
        (Some(percent), _) => Target::Utilization(i64::from(*percent)),
        (None, Some(amount)) => Target::Average(amount.milli()),
        _ => return Err("invalid resource metric source: neither an average utilization target nor an average value (usage) target was set".into()),
    };
    Ok(Metric { resource, container, target, tolerance: Tolerance::default() })
}

/// Pure: how near to its target a use is left alone, as the behavior says; a tenth if it says
/// nothing.
///
/// Target 50 %: a use from 45 % to 55 % changes nothing. Without this the number of pods would go
/// up and down with every small change of the load. The fields `tolerance` are KEP-4951's.
pub(super) fn tolerance(behavior: Option<&HorizontalPodAutoscalerBehavior>) -> Tolerance {
    let of = |rules: Option<&HPAScalingRules>, default: f64| {
        let given = rules.and_then(|r| Quantity::parse(&r.tolerance.as_ref()?.0));
        given.map_or(default, |amount| amount.milli() as f64 / 1000.0)
    };
    let default = Tolerance::default();
    Tolerance {
        up: of(behavior.and_then(|b| b.scale_up.as_ref()), default.up),
        down: of(behavior.and_then(|b| b.scale_down.as_ref()), default.down),
    }
}

/// Returns what a metric measures, in the words of events: `cpu utilization`, `memory usage`.
pub(super) fn use_of(asked: &MetricSpec) -> String {
    let of_pods = asked.resource.as_ref().map(|r| (&r.name, &r.target));
    match of_pods.or(asked.container_resource.as_ref().map(|r| (&r.name, &r.target))) {
        Some((name, target)) if target.average_utilization.is_some() => format!("{name} utilization"),
        Some((name, _)) => format!("{name} usage"),
        None => format!("{} metric", asked.type_),
    }
}

/// Returns what a metric measures, in the words of the event about all metrics: `cpu resource
/// metric value`.
pub(super) fn value_of(asked: &MetricSpec) -> String {
    match (&asked.resource, &asked.container_resource, &asked.external) {
        (Some(r), ..) => format!("{} resource metric value", r.name),
        (_, Some(r), _) => format!("{} container metric value", r.container),
        (.., Some(r)) => format!("{} external metric value", r.metric.name),
        _ => format!("{} metric value", asked.type_.to_lowercase()),
    }
}

/// Returns the name that events give a metric.
pub(super) fn name_of(metric: &Metric) -> String {
    let Metric { resource, container, target, .. } = metric;
    match (target, container) {
        (Target::Average(_), _) => format!("{resource} resource"),
        (Target::Utilization(_), None) => format!("{resource} resource utilization (percentage of request)"),
        (Target::Utilization(_), Some(_)) => {
            format!("{resource} container resource utilization (percentage of request)")
        }
    }
}

/// Returns a metric as the status shows it.
pub(super) fn shown(asked: &MetricSpec, verdict: &Verdict) -> MetricStatus {
    let resource = asked.resource.as_ref().map(|r| &r.name);
    let resource = resource.or(asked.container_resource.as_ref().map(|r| &r.name));
    let average = Quantity::of_milli(verdict.average);
    // Memory is shown in binary units (`100Mi`), as the metrics API answers it and users write it.
    let is_memory = resource.is_some_and(|name| name == "memory");
    let average = if is_memory { average.in_binary() } else { average };
    let current = MetricValueStatus {
        average_utilization: verdict.utilization.and_then(|n| i32::try_from(n).ok()),
        average_value: Some(Amount(average.to_string())),
        value: None,
    };
    MetricStatus {
        type_: asked.type_.clone(),
        resource: asked
            .resource
            .as_ref()
            .map(|r| ResourceMetricStatus { name: r.name.clone(), current: current.clone() }),
        container_resource: asked.container_resource.as_ref().map(|r| ContainerResourceMetricStatus {
            name: r.name.clone(),
            container: r.container.clone(),
            current: current.clone(),
        }),
        ..MetricStatus::default()
    }
}

/// Reads one pod's line of the metrics API.
///
/// `{"metadata": {"name": "web-1"}, "timestamp": "2026-01-01T10:00:00Z", "window": "15s",
/// "containers": [{"name": "main", "usage": {"cpu": "250m"}}]}`: `web-1` used 250 thousandths of a
/// CPU in the 15 s until 10:00:00. A line that cannot be read is left out; its pod is then one
/// without a sample.
pub(super) fn sample(pod: &Value) -> Option<(String, Sample)> {
    let mut used: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
    for container in pod["containers"].as_array()? {
        let of_container = used.entry(container["name"].as_str()?.to_string()).or_default();
        for (resource, amount) in container["usage"].as_object().into_iter().flatten() {
            of_container.insert(resource.clone(), Quantity::parse(amount.as_str()?)?.milli());
        }
    }
    let window: jiff::SignedDuration = pod["window"].as_str()?.parse().ok()?;
    let sample = Sample {
        at: pod["timestamp"].as_str()?.parse().ok()?,
        window: Duration::try_from(window).ok()?,
        used,
    };
    Some((pod["metadata"]["name"].as_str()?.to_string(), sample))
}
