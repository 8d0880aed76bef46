//! ResourceQuota: charges every quota of the namespace that speaks of the object, or refuses.

use super::Attributes;
use crate::api::quota;
use crate::api::value::{self, at};
use crate::api::{Status, kinds, meta};
use crate::apiserver::store::{Beside, Extra};
use crate::clock;
use serde_json::Value;
use tokio::sync::SemaphorePermit;

fn has_quota(a: &Attributes, object: &Value) -> bool {
    let mut any = false;
    a.state.cache.for_each("resourcequotas", &format!("{}/", meta::namespace(object)), |_| any = true);
    any
}

/// Waits until nobody else of this server charges, if there is something to charge.
pub async fn turn<'a>(a: &Attributes<'a>, object: &Value) -> Option<SemaphorePermit<'a>> {
    if !a.kind.namespaced || !has_quota(a, object) {
        return None;
    }
    a.state.charging.acquire().await.ok()
}

/// The quotas as they are after this object, to be written with it. A dry run is judged in the same way.
pub fn charge(a: &Attributes, object: &Value) -> Result<Extra, Status> {
    let mut extra = Extra::default();
    // Only services and claims cost more or less by a change; ends and deletions are for the controller to see.
    let changes = matches!((a.kind.group, a.kind.plural), ("", "services" | "persistentvolumeclaims"));
    if !a.ctx.info.subresource.is_empty() || (a.old.is_some() && !changes) || !has_quota(a, object) {
        return Ok(extra);
    }
    let Some(kind) = kinds::find("", "v1", "ResourceQuota") else { return Ok(extra) };
    let usage = |o: &Value| quota::usage(a.kind.group, a.kind.plural, o, clock::now());
    let mut delta = usage(object);
    if let Some(old) = a.old {
        delta = quota::difference(&delta, &usage(old));
    }
    let is_pod = a.kind.kind == "Pod";
    for (_, found) in a.state.cache.list(kind.place(), &format!("{}/", meta::namespace(object))).objects {
        if !quota::matches(at(&found.value, "spec"), a.kind.group, a.kind.plural, object) {
            continue;
        }
        let after =
            quota::charge(&found.value, object, is_pod, &delta).map_err(|why| a.forbidden(object, &why))?;
        if let Some(used) = after {
            let mut new = found.value.clone();
            value::put(&mut new, "status.used", quota::stored(&used));
            extra.beside.push(Beside { kind, object: new, expected: found.revision });
        }
    }
    Ok(extra)
}
