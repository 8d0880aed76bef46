//! ResourceQuota: charges every quota of the namespace that matches the object, or refuses it.

use super::attributes::Attributes;
use super::charging::Turn;
use crate::storage::extra::{Beside, Extra};
use api::quota::{self, Charge};
use api::value::{self, at};
use api::{Status, kinds, meta};
use serde_json::Value;

fn has_quota(a: &Attributes, object: &Value) -> bool {
    let mut any = false;
    a.state.cache.for_each("resourcequotas", &format!("{}/", meta::namespace(object)), |_| any = true);
    any
}

/// Waits until no other request of this server charges the namespace's quotas, if there is
/// something to charge; not for ever (see `charging`).
pub(crate) async fn turn<'a>(a: &Attributes<'a>, object: &Value) -> Option<Turn<'a>> {
    if !a.kind.namespaced || !has_quota(a, object) {
        return None;
    }
    a.state.charging.turn_in_time(meta::namespace(object)).await
}

/// True if a change may cost a quota more: that of a Service or a claim, and that of a pod which
/// gets a deadline or loses it, because quotas of the scopes `Terminating` and `NotTerminating` are
/// exchanged by that. Ends and deletions are for the controller to see.
fn may_cost_more(a: &Attributes, new: &Value, old: &Value) -> bool {
    match (a.kind.group, a.kind.plural) {
        ("", "services" | "persistentvolumeclaims") => true,
        ("", "pods") => quota::is_terminating(new) != quota::is_terminating(old),
        _ => false,
    }
}

/// True for a write of a claim's status: it tells how much storage the claim was given and which
/// VolumeAttributesClass it has. It is charged and never refused, because it has happened.
fn is_status_of_claim(a: &Attributes) -> bool {
    (a.kind.group, a.kind.plural) == ("", "persistentvolumeclaims") && a.ctx.info.subresource == "status"
}

/// Returns the quotas as they are after this object, to be written with it. A dry run is judged in
/// the same way.
///
/// # Errors
/// 403 if a quota has too little left.
pub(super) fn charge(a: &Attributes, object: &Value) -> Result<Extra, Status> {
    let mut extra = Extra::default();
    let changes = a.old.is_none_or(|old| may_cost_more(a, object, old));
    let is_limited = a.ctx.info.subresource.is_empty();
    if !(is_limited || is_status_of_claim(a)) || !changes || !has_quota(a, object) {
        return Ok(extra);
    }
    let Some(kind) = kinds::find("", "v1", "ResourceQuota") else { return Ok(extra) };
    let usage = |o: &Value| quota::usage(a.kind.group, a.kind.plural, o, clock::now());
    let whole = usage(object);
    let delta = a.old.map(|old| quota::difference(&whole, &usage(old)));
    for (_, found) in a.state.cache.list(kind.place(), &format!("{}/", meta::namespace(object))).objects {
        let matches = |o: &Value| quota::matches(at(&found.value, "spec"), a.kind.group, a.kind.plural, o);
        if !matches(object) {
            continue;
        }
        // A quota that did not match the object before is charged all of it.
        let more = match (&delta, a.old) {
            (Some(delta), Some(old)) if matches(old) => delta,
            _ => &whole,
        };
        let write = Charge { group: a.kind.group, plural: a.kind.plural, object, more, is_limited };
        let after = quota::charge(&found.value, write).map_err(|why| a.forbidden(object, &why))?;
        if let Some(used) = after {
            let mut new = found.value.clone();
            value::put(&mut new, "status.used", quota::amounts_to_value(&used));
            extra.beside.push(Beside { kind, object: new, expected: found.revision, goes: false });
        }
    }
    Ok(extra)
}
