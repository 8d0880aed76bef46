//! The move of an object from client-side to server-side apply.
//!
//! `kubectl apply` writes its fields by `Update` as `kubectl-client-side-apply`. The first `apply
//! --server-side` owns the same fields by `Apply`; as long as the old manager owns them too, a
//! field that leaves the file stays in the object. So after a server-side apply the old manager's
//! fields are given to the new one and the configuration is applied again (KEP-2155;
//! k8s.io/client-go/util/csaupgrade).

use super::common::{LAST_APPLIED, validation};
use crate::ctx::Ctx;
use crate::error::Fail;
use crate::info::Info;
use crate::print::json;
use crate::wire::api::{APPLY_PATCH, JSON_PATCH, encoded};
use api::value;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// How often a patch that another client's write made stale is computed again.
const RETRIES: usize = 5;
/// The manager of `apply --server-side`, whose objects keep their annotation for older clients.
const SERVER_SIDE: &str = "kubectl";
/// The manager that keeps that annotation.
const OF_ANNOTATION: &str = "kubectl-last-applied";

/// Moves the fields of client-side appliers to `manager`. Returns whether there were any.
pub(super) async fn run(ctx: &Ctx, info: &Info, applied: &Value, manager: &str) -> Result<bool, Fail> {
    let mut object = applied.clone();
    if manager == SERVER_SIDE {
        match keep_annotation(ctx, info, &object).await {
            Ok(Some(kept)) => object = kept,
            Ok(None) => {}
            Err(fail) => {
                ctx.note(format!(
                    "Warning: failed to migrate {LAST_APPLIED} for Server-Side Apply. This is non-fatal and will be retried next time you apply. Error: {}",
                    fail.message()
                ));
                return Ok(false);
            }
        }
    }
    let old: BTreeSet<String> = owners(&object, "Update");
    let query = [("fieldManager", manager), ("fieldValidation", validation(ctx)?)];
    let mut tries = 0;
    loop {
        let Some(fields) = moved(value::list(&object, "metadata.managedFields"), &old, manager) else {
            return Ok(false);
        };
        let patch = json!([
            {"op": "replace", "path": "/metadata/managedFields", "value": fields},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": value::at(&object, "metadata.resourceVersion")},
        ]);
        let api = ctx.api().await?;
        match api.patch(&info.path(), &query, JSON_PATCH, encoded(&patch)).await {
            Ok(_) => return Ok(true),
            Err(fail) if fail.code() == Some(409) && tries < RETRIES => {
                tries += 1;
                object = api.get(&info.path(), &[]).await?;
            }
            Err(fail) => return Err(fail),
        }
    }
}

/// Gives the annotation of client-side apply a manager of its own, so that the move does not remove
/// it.
async fn keep_annotation(ctx: &Ctx, info: &Info, object: &Value) -> Result<Option<Value>, Fail> {
    let Some(text) = value::at(object, "metadata.annotations").get(LAST_APPLIED) else { return Ok(None) };
    if !owners(object, "Apply").is_empty() {
        return Ok(None);
    }
    let mut only = json!({"apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": {
        "name": info.name, "annotations": {LAST_APPLIED: text}}});
    if !info.namespace.is_empty() {
        value::put(&mut only, "metadata.namespace", info.namespace.as_str());
    }
    let query = [("fieldManager", OF_ANNOTATION), ("fieldValidation", validation(ctx)?)];
    let body = bytes::Bytes::from(json::compact(&only));
    ctx.api().await?.patch(&info.path(), &query, APPLY_PATCH, body).await.map(Some)
}

/// The managers that own the annotation of client-side apply by this operation.
fn owners(object: &Value, operation: &str) -> BTreeSet<String> {
    value::list(object, "metadata.managedFields")
        .iter()
        .filter(|entry| value::text(entry, "operation") == operation)
        .filter(|entry| {
            let field = format!("f:{LAST_APPLIED}");
            entry["fieldsV1"]["f:metadata"]["f:annotations"].get(field.as_str()).is_some()
        })
        .map(|entry| value::text(entry, "manager").to_string())
        .collect()
}

/// Managed fields in which `manager` has by `Apply` what the managers of `old` had by `Update`;
/// `None` if nothing changes.
fn moved(entries: &[Value], old: &BTreeSet<String>, manager: &str) -> Option<Vec<Value>> {
    let is = |entry: &Value, name: &str, operation: &str| {
        value::text(entry, "manager") == name
            && value::text(entry, "operation") == operation
            && value::empty(entry, "subresource")
    };
    let mut all = entries.to_vec();
    for name in old {
        let at = match all.iter().position(|entry| is(entry, manager, "Apply")) {
            Some(at) => at,
            None => {
                let Some(at) = all.iter().position(|entry| is(entry, name, "Update")) else { continue };
                value::put(&mut all[at], "operation", "Apply");
                value::put(&mut all[at], "manager", manager);
                at
            }
        };
        let version = value::text(&all[at], "apiVersion").to_string();
        let theirs = all.iter().find(|e| is(e, name, "Update") && value::text(e, "apiVersion") == version);
        if let Some(theirs) = theirs.map(|entry| entry["fieldsV1"].clone()) {
            union(&mut all[at]["fieldsV1"], &theirs);
        }
        all.retain(|entry| !is(entry, name, "Update"));
    }
    (all != entries).then_some(all)
}

/// Adds the fields of one set to another.
fn union(into: &mut Value, from: &Value) {
    if let (Value::Object(into), Value::Object(from)) = (&mut *into, from) {
        for (key, inner) in from {
            union(into.entry(key.clone()).or_insert_with(|| json!({})), inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(manager: &str, operation: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    #[test]
    fn the_client_side_managers_fields_go_to_the_server_side_manager() {
        let annotated = json!({"f:metadata": {"f:annotations": {format!("f:{LAST_APPLIED}"): {}}}, "f:data": {"f:old": {}}});
        let both = [
            entry("kubectl", "Apply", json!({"f:data": {"f:new": {}}})),
            entry("kubectl-client-side-apply", "Update", annotated.clone()),
            entry("other", "Update", json!({"f:data": {"f:theirs": {}}})),
        ];
        let old = owners(&json!({"metadata": {"managedFields": both}}), "Update");
        assert_eq!(old, BTreeSet::from(["kubectl-client-side-apply".to_string()]));
        let after = moved(&both, &old, "kubectl").expect("a change");
        assert_eq!(after.len(), 2, "{after:?}");
        assert_eq!(after[0]["fieldsV1"]["f:data"], json!({"f:new": {}, "f:old": {}}));
        assert_eq!(after[1], both[2]);
        // Without an entry of its own the new manager takes the old one's.
        let after = moved(&both[1..], &old, "kubectl").expect("a change");
        assert_eq!(
            (after[0]["manager"].as_str(), after[0]["operation"].as_str()),
            (Some("kubectl"), Some("Apply"))
        );
        assert_eq!(after[0]["fieldsV1"], annotated);
        assert!(moved(&both[..1], &BTreeSet::new(), "kubectl").is_none());
    }
}
