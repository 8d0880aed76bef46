//! Disruption budgets, quotas, limit ranges.

use super::containers::canonical;
use super::text::Text;
use api::labels::Selector;
use api::quantity::Quantity;
use api::value;
use serde_json::Value;

pub(super) fn budget(text: &mut Text, budget: &Value) {
    text.field(0, "Name", value::text(budget, "metadata.name"));
    text.field(0, "Namespace", value::text(budget, "metadata.namespace"));
    for (title, path) in [("Min available", "spec.minAvailable"), ("Max unavailable", "spec.maxUnavailable")]
    {
        let amount = value::at(budget, path);
        if !amount.is_null() {
            text.field(0, title, api::gostr::plain(amount));
            break;
        }
    }
    let selector = match Selector::of(value::at(budget, "spec.selector")) {
        None => "<unset>".to_string(),
        Some(selector) if selector.is_empty() => "<none>".to_string(),
        Some(selector) => selector.to_string(),
    };
    text.field(0, "Selector", selector);
    text.line(0, "Status:");
    let count = |field: &str| value::int(budget, &format!("status.{field}")).unwrap_or(0);
    text.field(2, "Allowed disruptions", count("disruptionsAllowed"));
    text.field(2, "Current", count("currentHealthy"));
    text.field(2, "Desired", count("desiredHealthy"));
    text.field(2, "Total", count("expectedPods"));
}

pub(super) fn quota(text: &mut Text, quota: &Value) {
    text.field(0, "Name", value::text(quota, "metadata.name"));
    text.field(0, "Namespace", value::text(quota, "metadata.namespace"));
    scopes(text, 0, " * ", quota);
    text.line(0, "Resource\tUsed\tHard");
    text.line(0, "--------\t----\t----");
    amounts(text, 0, quota, in_form_of);
}

/// A namespace's quotas, as its description has them.
pub(super) fn quotas(text: &mut Text, quotas: &[Value]) {
    text.line(0, "");
    if quotas.is_empty() {
        text.line(0, "No resource quota.");
        return;
    }
    text.line(0, "Resource Quotas");
    let mut quotas: Vec<&Value> = quotas.iter().collect();
    quotas.sort_by_key(|q| value::text(q, "metadata.name"));
    for quota in quotas {
        text.line(1, format!("Name:\t{}", value::text(quota, "metadata.name")));
        scopes(text, 1, "* ", quota);
        text.line(1, "Resource\tUsed\tHard");
        text.line(1, "--------\t---\t---");
        amounts(text, 1, quota, |used, _| canonical(used));
    }
}

fn scopes(text: &mut Text, level: usize, bullet: &str, quota: &Value) {
    let mut scopes: Vec<&str> = value::list(quota, "spec.scopes").iter().filter_map(Value::as_str).collect();
    if scopes.is_empty() {
        return;
    }
    scopes.sort_unstable();
    text.field(level, "Scopes", scopes.join(", "));
    for scope in scopes {
        let help = match scope {
            "Terminating" => {
                "Matches all pods that have an active deadline. These pods have a limited lifespan on a node before being actively terminated by the system."
            }
            "NotTerminating" => {
                "Matches all pods that do not have an active deadline. These pods usually include long running pods whose container command is not expected to terminate."
            }
            "BestEffort" => {
                "Matches all pods that do not have resource requirements set. These pods have a best effort quality of service."
            }
            "NotBestEffort" => {
                "Matches all pods that have at least one resource requirement set. These pods have a burstable or guaranteed quality of service."
            }
            _ => continue,
        };
        text.line(level, format!("{bullet}{help}"));
    }
}

/// Writes the used amount with binary suffixes if the limit has one, and else without.
///
/// Example: `1Mi` of a limit of `2M` is `1048576`.
fn in_form_of(used: &Value, hard: &Value) -> String {
    let (used, hard) = (canonical(used), canonical(hard));
    match (Quantity::parse(&used), hard.ends_with('i')) {
        (Some(amount), true) if !used.ends_with('i') => {
            Quantity::of_units(amount.units()).in_binary().to_string()
        }
        (Some(amount), false) if used.ends_with('i') => Quantity::of_units(amount.units()).to_string(),
        _ => used,
    }
}

/// Writes the rows of a quota. `form` makes the text of a used amount, given that and the limit.
fn amounts(text: &mut Text, level: usize, quota: &Value, form: fn(&Value, &Value) -> String) {
    let mut hard: Vec<(&String, &Value)> = value::map(quota, "status.hard").into_iter().flatten().collect();
    hard.sort_by_key(|(name, _)| *name);
    for (name, amount) in hard {
        let used = match &value::at(quota, "status.used")[name.as_str()] {
            Value::Null => "0".to_string(),
            used => form(used, amount),
        };
        text.line(level, format!("{name}\t{used}\t{}", canonical(amount)));
    }
}

const BOUNDS: &str = "Type\tResource\tMin\tMax\tDefault Request\tDefault Limit\tMax Limit/Request Ratio";
const RULE: &str = "----\t--------\t---\t---\t---------------\t-------------\t-----------------------";

pub(super) fn limit_range(text: &mut Text, range: &Value) {
    text.field(0, "Name", value::text(range, "metadata.name"));
    text.field(0, "Namespace", value::text(range, "metadata.namespace"));
    text.line(0, BOUNDS);
    text.line(0, RULE);
    bounds(text, "", range);
}

/// A namespace's limit ranges, as its description has them.
pub(super) fn limit_ranges(text: &mut Text, ranges: &[Value]) {
    text.line(0, "");
    if ranges.is_empty() {
        text.line(0, "No LimitRange resource.");
        return;
    }
    text.line(0, format!("Resource Limits\n {BOUNDS}"));
    text.line(0, format!(" {RULE}"));
    ranges.iter().for_each(|range| bounds(text, " ", range));
}

fn bounds(text: &mut Text, indent: &str, range: &Value) {
    let keys = ["min", "max", "defaultRequest", "default", "maxLimitRequestRatio"];
    for item in value::list(range, "spec.limits") {
        let mut names: Vec<&String> =
            keys.iter().filter_map(|k| value::map(item, k)).flat_map(|m| m.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let cells: Vec<String> = keys
                .iter()
                .map(|k| match &value::at(item, k)[name.as_str()] {
                    Value::Null => "-".to_string(),
                    amount => canonical(amount),
                })
                .collect();
            text.line(0, format!("{indent}{}\t{name}\t{}", value::text(item, "type"), cells.join("\t")));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_quota_has_used_is_in_the_form_of_its_limit() {
        for (used, hard, want) in [
            ("1Mi", "2M", "1048576"),
            ("2M", "1Gi", "2000000"),
            ("1024k", "1Gi", "1000Ki"),
            ("1Mi", "1Gi", "1Mi"),
            ("500m", "2", "500m"),
            ("0", "1Gi", "0"),
        ] {
            let quota = json!({"status": {"hard": {"x": hard}, "used": {"x": used}}});
            let mut text = Text::default();
            super::quota(&mut text, &quota);
            let printed = text.finish();
            let last: Vec<&str> =
                printed.lines().last().into_iter().flat_map(str::split_whitespace).collect();
            assert_eq!(last, ["x", want, hard], "{printed}");
        }
    }
}
