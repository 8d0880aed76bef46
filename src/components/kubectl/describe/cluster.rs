//! Namespaces, priority classes.

use super::text::Text;
use crate::builder::Info;
use crate::ctx::Ctx;
use crate::error::Fail;
use api::value;
use serde_json::Value;

pub(super) async fn namespace(ctx: &Ctx, text: &mut Text, info: &Info) -> Result<(), Fail> {
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
        match crate::builder::whole(ctx, &path, &[]).await {
            Ok(list) => Ok(value::list(&list, "items").to_vec()),
            Err(Fail::Api(_)) => Ok(vec![]), // a server without quotas
            Err(other) => Err(other),
        }
    };
    super::policy::quotas(text, &list("resourcequotas").await?);
    super::policy::limit_ranges(text, &list("limitranges").await?);
    Ok(())
}

pub(super) fn priority_class(text: &mut Text, class: &Value) {
    text.field(0, "Name", value::text(class, "metadata.name"));
    text.field(0, "Value", value::int(class, "value").unwrap_or(0));
    text.field(0, "GlobalDefault", value::flag(class, "globalDefault"));
    text.field(0, "PreemptionPolicy", value::text(class, "preemptionPolicy"));
    text.field(0, "Description", value::text(class, "description"));
    let annotations = value::at(class, "metadata.annotations");
    text.field(0, "Annotations", super::text::joined_labels(annotations));
}
