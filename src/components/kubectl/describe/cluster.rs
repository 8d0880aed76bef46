//! Namespaces, priority classes.

use super::text::Text;
use crate::ctx::Ctx;
use crate::error::Fail;
use crate::info::Info;
use crate::wire::paths;
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
    let list = async |plural: &str| {
        let path = paths::within("/api/v1", &info.name, plural);
        known_items(crate::lists::whole(ctx, &path, &[]).await)
    };
    let (quotas, ranges) = (list("resourcequotas").await?, list("limitranges").await?);
    if let Some(quotas) = quotas {
        super::policy::quotas(text, &quotas);
    }
    if let Some(ranges) = ranges {
        super::policy::limit_ranges(text, &ranges);
    }
    Ok(())
}

/// Returns the items of a list; `None` if the server does not have the resource.
///
/// # Errors
/// The list failed for another reason, e.g. because the user may not read it: then it is unknown
/// whether there are any.
fn known_items(list: Result<Value, Fail>) -> Result<Option<Vec<Value>>, Fail> {
    match list {
        Ok(list) => Ok(Some(value::list(&list, "items").to_vec())),
        Err(fail) if fail.is_not_found() => Ok(None),
        Err(other) => Err(other),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Refusal;
    use serde_json::json;

    #[test]
    fn what_may_not_be_read_is_not_reported_as_absent() {
        let refused = |code: u16, reason: &str| {
            known_items(Err(Fail::Api(Refusal::of(&json!({"reason": reason, "message": "m"}), code))))
        };
        assert!(refused(403, "Forbidden").is_err());
        assert!(refused(503, "ServiceUnavailable").is_err());
        assert!(matches!(refused(404, "NotFound"), Ok(None)));
        assert_eq!(known_items(Ok(json!({"items": [1]}))).unwrap(), Some(vec![json!(1)]));
    }
}
