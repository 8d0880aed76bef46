//! An object of a patch or an apply, checked and in its stored form.

use crate::registry::strategy::place;
use crate::request::context::Context;
use crate::request::decode;
use api::kinds::Kind;
use api::path::UnknownFields;
use api::{Status, bounds, meta};
use serde_json::Value;

/// Checks type, depth, fields, name and namespace of an object and brings it into its stored form.
/// Also returns its unknown fields, which are gone from it.
pub(super) fn conform(
    ctx: &Context,
    kind: &Kind,
    mut object: Value,
) -> Result<(Value, UnknownFields), Status> {
    bounds::check_depth(&object)?;
    decode::check_type(&kind.api_version(), kind.kind, &mut object)?;
    let unknown = decode::conform(kind, &mut object)?;
    let (told, name) = (meta::name(&object), &ctx.info.name);
    if told != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({told}) does not match the name on the URL ({name})"
        )));
    }
    place(ctx, kind, &mut object)?;
    kind.to_stored(&mut object);
    Ok((object, unknown))
}
