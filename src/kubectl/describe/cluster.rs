//! Namespaces, priority classes.

use super::text::Text;
use crate::api::value;
use crate::kubectl::builder::Info;
use crate::kubectl::ctx::Ctx;
use crate::kubectl::error::Fail;
use serde_json::Value;

pub async fn namespace(ctx: &Ctx, text: &mut Text, info: &Info) -> Result<(), Fail> {
    let ns = &info.object;
    text.meta(ns);
    text.field(0, "Status", value::text(ns, "status.phase"));
    let conditions = value::list(ns, "status.conditions");
    if !conditions.is_empty() {
        text.line(0, "Conditions:\n  Type\tStatus\tLastTransitionTime\tReason\tMessage");
        text.line(1, "----\t------\t------------------\t------\t-------");
        for c in conditions {
            let part = |key: &str| value::text(c, key);
            text.line(
                1,
                format!(
                    "{}\t{}\t{}\t{}\t{}",
                    part("type"),
                    part("status"),
                    super::text::rfc1123(part("lastTransitionTime")),
                    part("reason"),
                    part("message")
                ),
            );
        }
    }
    let list = async |plural: &str| -> Result<Vec<Value>, Fail> {
        let path = format!("/api/v1/namespaces/{}/{plural}", info.name);
        match ctx.api().await?.get(&path, &[("limit", "500")]).await {
            Ok(list) => Ok(value::list(&list, "items").to_vec()),
            Err(Fail::Api(_)) => Ok(vec![]), // a server without quotas
            Err(other) => Err(other),
        }
    };
    let quotas = list("resourcequotas").await?;
    text.line(0, "");
    if quotas.is_empty() {
        text.line(0, "No resource quota.");
    } else {
        text.line(0, "Resource Quotas");
        for quota in &quotas {
            text.line(1, format!("Name:\t{}", value::text(quota, "metadata.name")));
            text.line(1, "Resource\tUsed\tHard");
            text.line(1, "--------\t---\t---");
            let mut hard: Vec<(&str, &str)> = value::pairs(quota, "status.hard").collect();
            hard.sort();
            for (name, amount) in hard {
                let used = value::at(quota, "status.used")[name].as_str().unwrap_or("0");
                text.line(1, format!("{name}\t{used}\t{amount}"));
            }
        }
    }
    let ranges = list("limitranges").await?;
    text.line(0, "");
    if ranges.is_empty() {
        text.line(0, "No LimitRange resource.");
        return Ok(());
    }
    text.line(
        0,
        "Resource Limits\n Type\tResource\tMin\tMax\tDefault Request\tDefault Limit\tMax Limit/Request Ratio",
    );
    text.line(0, " ----\t--------\t---\t---\t---------------\t-------------\t-----------------------");
    for item in ranges.iter().flat_map(|r| value::list(r, "spec.limits")) {
        let keys = ["min", "max", "defaultRequest", "default", "maxLimitRequestRatio"];
        let mut names: Vec<&String> =
            keys.iter().filter_map(|k| value::map(item, k)).flat_map(|m| m.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let cells: Vec<String> = keys
                .iter()
                .map(|k| match &value::at(item, k)[name.as_str()] {
                    Value::Null => "-".to_string(),
                    amount => super::containers::canonical(amount),
                })
                .collect();
            text.line(0, format!(" {}\t{name}\t{}", value::text(item, "type"), cells.join("\t")));
        }
    }
    Ok(())
}

pub fn priority_class(text: &mut Text, class: &Value) {
    text.field(0, "Name", value::text(class, "metadata.name"));
    text.field(0, "Value", value::int(class, "value").unwrap_or(0));
    text.field(0, "GlobalDefault", value::flag(class, "globalDefault"));
    text.field(0, "PreemptionPolicy", value::text(class, "preemptionPolicy"));
    text.field(0, "Description", value::text(class, "description"));
    let annotations = value::at(class, "metadata.annotations");
    text.field(0, "Annotations", super::text::joined_labels(annotations));
}
