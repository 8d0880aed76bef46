//! The columns of a HorizontalPodAutoscaler.

use crate::table::cells::{Printer, age, name, number};
use crate::value::{at, list, text};
use serde_json::Value;

/// The number of metrics that the cell shows; of the others it shows only how many there are.
const SHOWN: usize = 2;

pub(super) static PRINTER: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Reference", "string", false),
        ("Targets", "string", false),
        ("MinPods", "string", false),
        ("MaxPods", "string", false),
        ("Replicas", "string", false),
        ("Age", "string", false),
    ],
    cells: |o, now| {
        let target = at(o, "spec.scaleTargetRef");
        let reference = format!("{}/{}", text(target, "kind"), text(target, "name"));
        let least = at(o, "spec.minReplicas").as_i64().map_or("<unset>".into(), |n| n.to_string());
        vec![
            name(o),
            reference.into(),
            targets(o).into(),
            least.into(),
            number(o, "spec.maxReplicas"),
            number(o, "status.currentReplicas"),
            age(o, now),
        ]
    },
    conditions: None,
};

/// Returns the cell `Targets`: `cpu: 12%/50%, memory: 8Mi/100Mi`.
fn targets(o: &Value) -> String {
    let (wanted, current) = (list(o, "spec.metrics"), list(o, "status.currentMetrics"));
    let all: Vec<String> =
        wanted.iter().enumerate().map(|(i, m)| one(m, current.get(i).unwrap_or(&Value::Null))).collect();
    match all.len() {
        0 => "<none>".into(),
        n if n > SHOWN => format!("{} + {} more...", all[..SHOWN].join(", "), n - SHOWN),
        _ => all.join(", "),
    }
}

/// Returns the text of one metric: its current value and its target.
fn one(metric: &Value, current: &Value) -> String {
    let kind = text(metric, "type");
    let mut letters = kind.chars();
    let source =
        letters.next().map_or(String::new(), |c| c.to_lowercase().collect::<String>() + letters.as_str());
    let (wanted, now) = (at(metric, &source), at(current, &source));
    let shown = |of: &Value, unit: &str| match of {
        Value::String(text) => format!("{text}{unit}"),
        Value::Number(n) => format!("{n}{unit}"),
        _ => "<unknown>".to_string(),
    };
    let average = at(wanted, "target.averageValue");
    let values = if !average.is_null() {
        format!("{}/{}", shown(at(now, "current.averageValue"), ""), shown(average, ""))
    } else if !at(wanted, "target.averageUtilization").is_null() {
        let percent = |of: &Value, path: &str| shown(at(of, path), "%");
        format!(
            "{}/{}",
            percent(now, "current.averageUtilization"),
            percent(wanted, "target.averageUtilization")
        )
    } else {
        format!("{}/{}", shown(at(now, "current.value"), ""), shown(at(wanted, "target.value"), ""))
    };
    match kind {
        "Resource" | "ContainerResource" => format!("{}: {values}", text(wanted, "name")),
        // These metrics have a value as a whole, too.
        "Object" | "External" if !average.is_null() => format!("{values} (avg)"),
        _ => values,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_average_over_pods_is_told_from_a_value() {
        let shown = |kind: &str, source: &str, target: Value, current: Value| {
            let metric = json!({"type": kind, source: {"name": "cpu", "target": target}});
            let now = json!({"type": kind, source: {"current": current}});
            targets(&json!({"spec": {"metrics": [metric]}, "status": {"currentMetrics": [now]}}))
        };
        let average = || json!({"averageValue": "5"});
        assert_eq!(shown("External", "external", average(), average()), "5/5 (avg)");
        assert_eq!(shown("Object", "object", average(), json!({})), "<unknown>/5 (avg)");
        assert_eq!(shown("External", "external", json!({"value": "9"}), json!({"value": "7"})), "7/9");
        assert_eq!(shown("Pods", "pods", average(), average()), "5/5");
        assert_eq!(shown("Resource", "resource", average(), average()), "cpu: 5/5");
    }
}
