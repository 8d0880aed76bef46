//! Changes told as a difference: JSON patch, merge patch, strategic merge patch.

use super::apply::server_side_apply;
use super::conform::conform;
use super::update::{check_names_version, modify};
use crate::registry::strategy::{Part, stored_kind};
use crate::request::context::{APPLY, Context};
use crate::request::http::{Answer, header};
use crate::request::negotiate::{self, form};
use crate::request::{decode, duplicates};
use crate::state::State;
use api::errors::Errors;
use api::kinds::Kind;
use api::path::UnknownFields;
use api::{Status, meta, patch, schema, strategic, value};
use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;

/// Checks that a patch has a media type that its kind takes. It is asked before anything else of
/// the request is judged and before the object is read (upstream: `PatchResource`).
///
/// # Errors
/// 415 for any other media type.
pub(crate) fn check_media(ctx: &Context, kind: &Kind) -> Result<(), Status> {
    let (media, accepted) = (media(ctx), patch::media_types(kind));
    match accepted.contains(&media) {
        true => Ok(()),
        false => Err(Status::unsupported_media_type(&accepted.join(", "))),
    }
}

/// The media type of a patch without its parameters.
fn media(ctx: &Context) -> &str {
    header(&ctx.headers, "content-type").split(';').next().unwrap_or_default().trim()
}

pub(crate) async fn patch(
    state: &Arc<State>,
    ctx: &Context,
    kind: &Kind,
    part: Part,
    body: &Bytes,
) -> Result<Answer, Status> {
    let form = form(ctx.accept(), &ctx.query)?;
    let media = media(ctx);
    if media == APPLY {
        return server_side_apply(state, ctx, kind, part, body, form).await;
    }
    let stored = stored_kind(kind);
    let changed = modify(state, ctx, stored, part, &ctx.info.name, |old| {
        let mut patched = patched(kind, media, old, body)?;
        let named = check_names_version(stored, part, &ctx.info.name, &patched);
        if meta::resource_version(&patched) == meta::resource_version(old) {
            value::remove(&mut patched, "metadata.resourceVersion"); // the patch sets no lock: try again on conflict
        }
        let object = settle(ctx, kind, media, patched, body)?;
        named.map(|()| object)
    })
    .await?;
    Ok(negotiate::one(200, kind, form, &changed))
}

/// The patch applied, in the version of the request.
///
/// Three ways to give the container `a` of `[a, b]` another image:
///
/// ```text
/// JSON patch       [{"op": "replace", "path": "/spec/containers/0/image", "value": "z"}]
/// merge patch      {"spec": {"containers": [a with z, b]}}: a list is replaced as a whole
/// strategic merge  {"spec": {"containers": [{"name": "a", "image": "z"}]}}: merged by name
/// ```
///
/// A JSON patch goes by position and may hit another container if the list changed meanwhile. How
/// lists merge is part of a built-in kind's schema; custom kinds have no strategic merge.
fn patched(kind: &Kind, media: &str, old: &Value, body: &[u8]) -> Result<Value, Status> {
    let mut object = negotiate::versioned(kind, old).into_owned();
    match media {
        "application/json-patch+json" => patch::json_of_kind(kind, &mut object, body)?,
        "application/merge-patch+json" => {
            let mut fields = decode::body("application/json", body)?;
            schema::keep_number_texts(kind, &mut fields, body);
            patch::merge(&mut object, &fields);
        }
        patch::STRATEGIC if patch::media_types(kind).contains(&media) => {
            let fields = decode::body("application/json", body)?;
            strategic::apply(kind.kind, &mut object, &fields).map_err(strategic::refusal)?;
        }
        _ => return Err(Status::unsupported_media_type(&patch::media_types(kind).join(", "))),
    }
    Ok(object)
}

/// Checks a patched object and brings it into its stored form.
fn settle(ctx: &Context, kind: &Kind, media: &str, object: Value, body: &[u8]) -> Result<Value, Status> {
    let patched = object.clone();
    let (object, unknown) = conform(ctx, kind, object)?;
    judge_fields(ctx, media, &patched, &unknown, body)?;
    Ok(object)
}

/// Refuses a patch, warns or does nothing, as `fieldValidation` asks, if the patched object has
/// unknown fields or the patch itself a key twice.
///
/// # Errors
/// 422 for `Strict` and such a patch.
pub(crate) fn judge_fields(
    ctx: &Context,
    media: &str,
    patched: &Value,
    unknown: &UnknownFields,
    body: &[u8],
) -> Result<(), Status> {
    let how = decode::validation(ctx)?;
    if how == decode::Validation::Ignore {
        return Ok(());
    }
    let mut problems: Vec<String> = duplicates::problems(body, &UnknownFields::default());
    if media == "application/json-patch+json" {
        problems.iter_mut().for_each(|p| *p = format!("json patch {p}"));
    }
    problems.extend(unknown.problems());
    if how == decode::Validation::Strict && !problems.is_empty() {
        let shown = match media == patch::STRATEGIC {
            true => go_map(&serde_json::from_slice(body).unwrap_or_default()),
            false => patched.to_string(),
        };
        let mut errors = Errors::default();
        errors.invalid_text("patch", &shown, &format!("strict decoding error: {}", problems.join(", ")));
        return Err(Status::invalid("", "", "", &errors));
    }
    problems.into_iter().for_each(|p| ctx.warn(p));
    Ok(())
}

/// `map[spec:map[foo:1]]`: how Go prints a patch.
fn go_map(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut all: Vec<String> = map.iter().map(|(k, v)| format!("{k}:{}", go_map(v))).collect();
            all.sort();
            format!("map[{}]", all.join(" "))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(go_map).collect::<Vec<_>>().join(" ")),
        Value::String(s) => s.clone(),
        Value::Null => "<nil>".into(),
        other => other.to_string(),
    }
}
