//! An object of a patch or an apply, checked and in its stored form.

use super::update::check_name;
use crate::registry::strategy::set_namespace;
use crate::request::context::Context;
use crate::request::decode;
use api::kinds::Kind;
use api::path::UnknownFields;
use api::{Status, bounds};
use serde_json::Value;

/// Checks type, depth, fields, namespace and name of an object and brings it into its stored form.
/// Also returns its unknown fields, which are gone from it.
pub(super) fn conform(
    ctx: &Context,
    kind: &Kind,
    mut object: Value,
) -> Result<(Value, UnknownFields), Status> {
    bounds::check_depth(&object)?;
    decode::check_type(&kind.api_version(), kind.kind, &mut object)?;
    let unknown = decode::conform(kind, &mut object)?;
    set_namespace(ctx, kind, &mut object)?;
    check_name(&object, &ctx.info.name)?;
    kind.to_stored(&mut object);
    Ok((object, unknown))
}
