//! The subresource `scale`: the replicas of an object, in the same form for every kind.

use crate::registry::replicas::{empty_replicas, lacks_replicas};
use crate::registry::strategy::{Part, check_locked_version, set_namespace};
use crate::registry::write::{self, modify};
use crate::request::context::Context;
use crate::request::decode::{self, SCALE};
use crate::request::http::{Answer, header, json};
use crate::request::negotiate::{self, Form, form};
use crate::state::State;
use api::errors::Errors;
use api::kinds::{Kind, ScalePaths};
use api::labels::Selector;
use api::table::Printing;
use api::value::{self, at, int};
use api::{Status, bounds, meta, patch, table};
use bytes::Bytes;
use serde_json::{Value, json};
use std::sync::Arc;

/// Stands for replicas that an object of a custom kind does not have while a patch is merged (as
/// upstream): a patch that leaves it there does not say how many replicas there should be.
const NO_REPLICAS: i64 = i32::MIN as i64;

/// `kubectl scale` and autoscalers need not know the kind. A Deployment and a custom kind look the
/// same: `{"spec": {"replicas": 3}, "status": {"replicas": 2, "selector": "app=web"}}`. Where the
/// numbers stand in the object is in `paths`, for a custom kind by its definition.
pub(crate) fn scale_of(paths: ScalePaths, object: &Value) -> Value {
    let mut out =
        json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {}, "spec": {}, "status": {}});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        value::copy(object, &mut out, &format!("metadata.{field}"));
    }
    let replicas = int(object, paths.spec_replicas).unwrap_or(0);
    if replicas != 0 {
        value::put(&mut out, "spec.replicas", replicas);
    }
    value::put(&mut out, "status.replicas", int(object, paths.status_replicas).unwrap_or(0));
    match at(object, paths.selector) {
        Value::String(selector) => value::put(&mut out, "status.selector", selector.clone()),
        selector => {
            if let Some(selector) = Selector::of_workload(selector) {
                value::put(&mut out, "status.selector", selector.to_string());
            }
        }
    }
    out
}

/// Answers `GET`, `PUT` and `PATCH` of an object's `/scale`: a Scale stands for the object's
/// replicas.
///
/// # Errors
/// Those of the object's own verbs; 400, 422 and 500 for what is no Scale, 409 for one of another
/// version of the object; 500 for a GET of a custom resource without replicas, 400 for a patch that
/// does not set them.
pub(crate) async fn scale(
    state: &Arc<State>,
    ctx: &Context,
    kind: &Kind,
    paths: ScalePaths,
    body: &Bytes,
) -> Result<Answer, Status> {
    let form = form(ctx.accept(), &ctx.query)?;
    let name = &ctx.info.name;
    let object = match ctx.info.verb.as_str() {
        "get" => {
            let object = state.get(kind, &ctx.info.namespace, name).await?;
            if lacks_replicas(kind, paths, &object.value) {
                let path = paths.spec_replicas;
                return Err(Status::internal(format!("the spec replicas field \".{path}\" does not exist")));
            }
            object
        }
        "patch" if ctx.applies() => {
            let applied = applied_scale(ctx, kind, paths, body)?;
            write::applied(state, ctx, kind, Part::Main, &applied, None).await?.0
        }
        "update" => {
            let mut scale = SCALE.read(ctx, body)?;
            write::check_name(&scale, name)?;
            let replicas = checked_scale(ctx, kind, &mut scale)?;
            modify(state, ctx, kind, Part::Main, name, |old| {
                written_scale(ctx, kind, paths, old, (&scale, replicas))
            })
            .await?
        }
        _ => {
            modify(state, ctx, kind, Part::Main, name, |old| {
                let mut scale = scale_of_patch(ctx, kind, paths, old, body)?;
                let replicas = checked_scale(ctx, kind, &mut scale)?;
                written_scale(ctx, kind, paths, old, (&scale, replicas))
            })
            .await?
        }
    };
    Ok(shown_scale(form, &scale_of(paths, &object.value)))
}

/// Returns the configuration of the object that an applied Scale stands for. To its owner the field
/// is the object's own: an apply of the object by another manager then finds the conflict.
fn applied_scale(ctx: &Context, kind: &Kind, paths: ScalePaths, body: &Bytes) -> Result<Value, Status> {
    let name = &ctx.info.name;
    let mut scale = decode::applied(ctx, body)?;
    write::check_says_type((SCALE.api_version, SCALE.kind), &scale)?;
    if !value::empty(&scale, "metadata.managedFields") {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let manifest = scale.clone();
    let conformed = SCALE.conform(&mut scale);
    let unknown = conformed.map_err(|refusal| write::untyped_of(&SCALE, &manifest).unwrap_or(refusal))?;
    if !unknown.is_empty() {
        return Err(write::undeclared_of(&SCALE, &manifest, &unknown));
    }
    let replicas = checked_scale(ctx, kind, &mut scale)?;
    let says_replicas = int(&scale, "spec.replicas").is_some();
    let mut applied =
        json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {"name": name}});
    for field in ["uid", "resourceVersion"] {
        value::copy(&scale, &mut applied, &format!("metadata.{field}"));
    }
    if says_replicas {
        value::put(&mut applied, paths.spec_replicas, replicas);
    }
    Ok(applied)
}

/// Returns the object with the replicas that an update or a patch of its Scale asks for.
fn written_scale(
    ctx: &Context,
    kind: &Kind,
    paths: ScalePaths,
    old: &Value,
    (scale, replicas): (&Value, i64),
) -> Result<Value, Status> {
    let version = meta::locked_version(scale);
    check_locked_version(kind, &ctx.info.name, version, old)?;
    let mut new = old.clone();
    value::put(&mut new, paths.spec_replicas, replicas);
    if version.is_empty() || ctx.info.verb == "patch" {
        value::remove(&mut new, "metadata.resourceVersion");
    }
    if !meta::uid(scale).is_empty() {
        value::put(&mut new, "metadata.uid", meta::uid(scale));
    }
    Ok(new)
}

/// Returns the answer with a Scale, in the form that the client accepts.
fn shown_scale(form: Form, scale: &Value) -> Answer {
    match form {
        Form::Table(version, include) => {
            let meta = json!({"resourceVersion": meta::resource_version(scale)});
            let printing = Printing::Own(&table::SCALE);
            let row = table::row(printing, scale, include, table::now());
            json(200, &negotiate::table(version, printing, vec![row], meta))
        }
        Form::Partial(version) => json(200, &table::partial(scale, version)),
        Form::Object => json(200, scale),
    }
}

/// Checks the Scale of a client, whose fields have been checked; returns how many replicas it asks
/// for.
///
/// # Errors
/// 400 for the Scale of another object, 422 for a negative number of replicas.
fn checked_scale(ctx: &Context, kind: &Kind, scale: &mut Value) -> Result<i64, Status> {
    if kind.namespaced {
        set_namespace(ctx, kind, scale)?;
    }
    let (own, name) = (meta::name(scale), &ctx.info.name);
    if !own.is_empty() && own != *name {
        return Err(Status::bad_request(format!(
            "the name of the object ({own}) does not match the name on the URL ({name})"
        )));
    }
    let replicas = int(scale, "spec.replicas").unwrap_or(0);
    if replicas < 0 {
        let mut errors = Errors::default();
        errors.invalid("spec.replicas", &json!(replicas), "must be greater than or equal to 0");
        return Err(Status::invalid("autoscaling", "Scale", name, &errors));
    }
    Ok(replicas)
}

/// Returns the Scale of an object as a patch changes it, with its fields checked.
fn scale_of_patch(
    ctx: &Context,
    kind: &Kind,
    paths: ScalePaths,
    old: &Value,
    body: &Bytes,
) -> Result<Value, Status> {
    let media = header(&ctx.headers, "content-type").split(';').next().unwrap_or("").trim();
    let mut before = scale_of(paths, old);
    if lacks_replicas(kind, paths, old) {
        value::put(&mut before, "spec.replicas", NO_REPLICAS);
    }
    let mut scale = patched_scale(kind, media, &before, body)?;
    bounds::check_depth(&scale)?;
    let patched = scale.clone();
    let unknown = SCALE
        .conform(&mut scale)
        .map_err(|refusal| write::mistyped_of(ctx, &SCALE, &patched, body).unwrap_or(refusal))?;
    write::judge_fields(ctx, media, &patched, &unknown, body)?;
    match int(&scale, "spec.replicas") {
        Some(NO_REPLICAS) => Err(empty_replicas(paths)),
        _ => Ok(scale),
    }
}

fn patched_scale(kind: &Kind, media: &str, before: &Value, body: &[u8]) -> Result<Value, Status> {
    let accepted = patch::media_types(kind);
    let mut scale = before.clone();
    match media {
        "application/json-patch+json" => patch::json(&mut scale, body)?,
        // A Scale has no lists: a strategic patch is a merge patch.
        "application/merge-patch+json" | patch::STRATEGIC if accepted.contains(&media) => {
            patch::merge(&mut scale, &write::fields_to_merge(media, body)?);
        }
        _ => return Err(Status::unsupported_media_type(&accepted.join(", "))),
    }
    Ok(scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::kinds;

    #[test]
    fn the_scale_of_a_custom_kind_takes_no_strategic_patch() {
        let names = json!({"plural": "tabs", "singular": "tab", "kind": "Tab", "listKind": "TabList"});
        let version = json!({"name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object"}},
            "subresources": {"scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}}});
        let definition = json!({
            "metadata": {"name": "tabs.example.com"},
            "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]},
            "status": {"acceptedNames": names, "conditions": [{"type": "Established", "status": "True"}]},
        });
        let custom = &api::custom::kinds_of(&definition)[0];
        let known = kinds::find("apps", "v1", "Deployment").unwrap();
        let patched = |kind: &Kind, media: &str| {
            let body = br#"{"spec": {"replicas": 3}}"#;
            patched_scale(kind, &format!("application/{media}"), &json!({}), body)
        };
        for (kind, media) in
            [(known, "strategic-merge-patch+json"), (known, "merge-patch+json"), (custom, "merge-patch+json")]
        {
            assert_eq!(patched(kind, media).unwrap()["spec"]["replicas"], 3, "{} {media}", kind.kind);
        }
        let refused = patched(custom, "strategic-merge-patch+json").unwrap_err();
        assert_eq!(refused.code, 415);
        assert!(refused.message.ends_with(
            "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
        ));
        let refused = patched(known, "json").unwrap_err();
        assert!(refused.message.contains("strategic-merge-patch+json"), "{}", refused.message);
        let before = json!({"spec": {"replicas": 1}});
        let null = |media: &str| patched_scale(known, media, &before, b"null");
        assert_eq!(null("application/merge-patch+json").unwrap_err().message, "Invalid JSON Patch");
        assert_eq!(null(patch::STRATEGIC).unwrap(), before);
    }
}
