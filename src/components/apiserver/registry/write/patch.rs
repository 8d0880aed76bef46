//! Changes that a client sends as a difference: JSON patch, merge patch, strategic merge patch.

use super::apply::server_side_apply;
use super::conform::conform;
use super::update::{check_names_version, modify};
use crate::registry::strategy::{Part, stored_kind};
use crate::request::context::{APPLY, Context};
use crate::request::decode::{self, SubresourceType};
use crate::request::duplicates;
use crate::request::http::{Answer, header};
use crate::request::negotiate::{self, form};
use crate::state::State;
use api::errors::Errors;
use api::kinds::Kind;
use api::path::UnknownFields;
use api::{Status, bounds, meta, patch, schema, strategic, value};
use bytes::Bytes;
use serde_json::{Value, json};
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

/// Returns the media type of a patch without its parameters.
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
    Ok(negotiate::one_through(200, kind, &ctx.info.subresource, form, &changed))
}

/// Applies a patch, in the version of the request.
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
    let mut object = kind.from_stored_whole(old).into_owned();
    match media {
        "application/json-patch+json" => patch::json_of_kind(kind, &mut object, body)?,
        "application/merge-patch+json" => {
            let mut fields = fields_to_merge(media, body)?;
            schema::keep_number_texts(kind, &mut fields, body);
            patch::merge(&mut object, &fields);
        }
        patch::STRATEGIC if patch::media_types(kind).contains(&media) => {
            let fields = fields_to_merge(media, body)?;
            strategic::apply(kind.kind, &mut object, &fields).map_err(strategic::refusal)?;
        }
        _ => return Err(Status::unsupported_media_type(&patch::media_types(kind).join(", "))),
    }
    Ok(object)
}

/// Reads the fields of a patch that is merged. Of upstream's two merges, that of
/// `evanphx/json-patch` refuses `null`, and the strategic one takes it for a patch without a field.
///
/// # Errors
/// 400 for what is no object, and for `null` of a merge patch.
pub(crate) fn fields_to_merge(media: &str, body: &[u8]) -> Result<Value, Status> {
    match body.trim_ascii() {
        b"null" if media == patch::STRATEGIC => Ok(json!({})),
        b"null" => Err(Status::bad_request("Invalid JSON Patch")),
        body => decode::body("application/json", body),
    }
}

/// Checks a patched object and brings it into its stored form.
fn settle(ctx: &Context, kind: &Kind, media: &str, object: Value, body: &[u8]) -> Result<Value, Status> {
    let patched = object.clone();
    let (object, unknown) = conform(ctx, kind, object)
        .map_err(|refusal| mistyped(ctx, kind, &patched, body).unwrap_or(refusal))?;
    judge_fields(ctx, media, &patched, &unknown, body)?;
    Ok(object)
}

/// Returns the answer for a patch that gives a field of a built-in kind a value of another type;
/// `None` if something else is wrong. Those of custom kinds are judged by their schema.
fn mistyped(ctx: &Context, kind: &Kind, patched: &Value, body: &[u8]) -> Option<Status> {
    let is_bounded = bounds::check_depth(patched).is_ok() && bounds::check_maps(patched).is_ok();
    if kind.custom.is_some() || !is_bounded {
        return None;
    }
    let why = schema::conform(kind, &mut patched.clone()).err()?;
    Some(refused_value(ctx, patched, body, &why))
}

/// As [`mistyped`], for a type that only a subresource takes.
pub(crate) fn mistyped_of(
    ctx: &Context,
    of: &SubresourceType,
    patched: &Value,
    body: &[u8],
) -> Option<Status> {
    Some(refused_value(ctx, patched, body, &of.mistyped(patched)?))
}

/// Returns the answer for a patch that gives a field a value of another type, of which the decoder
/// of JSON says `why`.
fn refused_value(ctx: &Context, patched: &Value, body: &[u8], why: &str) -> Status {
    match media(ctx) == patch::STRATEGIC {
        true => refused(ctx, patched, body, &of_converter(why)),
        false => refused(ctx, patched, body, why),
    }
}

/// Returns what upstream says of a strategic merge patch, whose fields go into the object without
/// becoming text in between (`fromUnstructured`), where its decoder of JSON says `why`.
///
/// ```text
/// json: cannot unmarshal string into Go struct field S.spec.replicas of type int32
/// unrecognized type: int32
/// ```
fn of_converter(why: &str) -> String {
    /// Types that read themselves, from text.
    const OWN_READERS: [&str; 5] =
        ["v1.Time", "v1.MicroTime", "resource.Quantity", "intstr.IntOrString", "interface {}"];
    let parts = why.strip_prefix("json: cannot unmarshal ").and_then(|rest| {
        let (found, rest) = rest.split_once(" into Go struct field ")?;
        Some((found, rest.split_once(" of type ")?.1))
    });
    let Some((found, wanted)) = parts else { return why.to_string() };
    let found = match found {
        "object" => "map",
        "array" => "slice",
        "number" => "int64",
        fraction if fraction.starts_with("number ") => "float64",
        other => other,
    };
    match (wanted, found) {
        _ if wanted.starts_with("map[") => format!("cannot restore map from {found}"),
        _ if wanted.starts_with("[]") => format!("cannot restore slice from {found}"),
        ("string", "int64") | ("int32" | "int64", "int64" | "float64") => {
            format!("cannot convert {found} to {wanted}")
        }
        ("string" | "bool" | "int32" | "int64" | "float64", _) => format!("unrecognized type: {wanted}"),
        _ if OWN_READERS.contains(&wanted) => why.to_string(),
        _ => format!("cannot restore struct from: {found}"),
    }
}

/// Returns the answer for an object that a patch makes and that cannot be read. As upstream, it
/// shows that object, or the patch itself if it is a strategic merge patch. A kubelet is always
/// shown the patch: NodeRestriction says only later whether the object is one of its node.
fn refused(ctx: &Context, patched: &Value, body: &[u8], why: &str) -> Status {
    let shown = match media(ctx) == patch::STRATEGIC || ctx.user.node().is_some() {
        true => go_map(&serde_json::from_slice(body).unwrap_or_default()),
        false => patched.to_string(),
    };
    let mut errors = Errors::default();
    errors.invalid_text("patch", &shown, why);
    Status::invalid("", "", "", &errors)
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
        let why = format!("strict decoding error: {}", problems.join(", "));
        return Err(refused(ctx, patched, body, &why));
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

#[cfg(test)]
mod tests {
    use super::of_converter;

    /// As `fromUnstructured` of apimachinery.
    #[test]
    fn wrong_types_are_told_as_the_converter_tells_them() {
        let converted = |found: &str, wanted: &str| {
            of_converter(&format!(
                "json: cannot unmarshal {found} into Go struct field S.a.b of type {wanted}"
            ))
        };
        for (found, wanted, why) in [
            ("string", "map[string]string", "cannot restore map from string"),
            ("object", "[]v1.Container", "cannot restore slice from map"),
            ("number", "string", "cannot convert int64 to string"),
            ("number 1.5", "int32", "cannot convert float64 to int32"),
            ("number 1.5", "string", "unrecognized type: string"),
            ("string", "int32", "unrecognized type: int32"),
            ("array", "bool", "unrecognized type: bool"),
            ("string", "v1.PodSpec", "cannot restore struct from: string"),
        ] {
            assert_eq!(converted(found, wanted), why, "{found} for {wanted}");
        }
        let other = "illegal base64 data at input byte 4";
        assert_eq!(of_converter(other), other);
    }
}
