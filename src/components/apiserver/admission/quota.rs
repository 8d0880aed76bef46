//! ResourceQuota: charges every quota of the namespace that speaks of the object, or refuses.

use super::Attributes;
use crate::storage::store::{Beside, Extra};
use api::quota;
use api::value::{self, at};
use api::{Status, kinds, meta};
use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

fn has_quota(a: &Attributes, object: &Value) -> bool {
    let mut any = false;
    a.state.cache.for_each("resourcequotas", &format!("{}/", meta::namespace(object)), |_| any = true);
    any
}

/// The namespaces whose quotas are being charged. Writers of one namespace charge one after the
/// other, as upstream: many at once would only make each other try again. Those of another
/// namespace do not wait for them.
///
/// A namespace is listed while a request of it charges or waits, so there are never more of them
/// than requests in flight.
#[derive(Default)]
pub(crate) struct Charging(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

/// The right to charge the quotas of a namespace, or a request's wait for it.
pub(crate) struct Turn<'a> {
    of: &'a Charging,
    namespace: String,
    line: Arc<tokio::sync::Mutex<()>>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Charging {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<tokio::sync::Mutex<()>>>> {
        self.0.lock()
    }

    async fn turn(&self, namespace: &str) -> Turn<'_> {
        let line = self.lock().entry(namespace.to_string()).or_default().clone();
        // Made before the wait: a request that is given up while it waits leaves the list as well.
        let mut turn = Turn { of: self, namespace: namespace.to_string(), line, guard: None };
        turn.guard = Some(turn.line.clone().lock_owned().await);
        turn
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        drop(self.guard.take());
        let mut lines = self.of.lock();
        // The list's own handle and this one: nobody else charges or waits.
        if Arc::strong_count(&self.line) <= 2 {
            lines.remove(&self.namespace);
        }
    }
}

/// Waits until no other request of this server charges the namespace's quotas, if there is
/// something to charge.
pub(crate) async fn turn<'a>(a: &Attributes<'a>, object: &Value) -> Option<Turn<'a>> {
    if !a.kind.namespaced || !has_quota(a, object) {
        return None;
    }
    Some(a.state.charging.turn(meta::namespace(object)).await)
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

/// The quotas as they are after this object, to be written with it. A dry run is judged in the same
/// way.
pub(super) fn charge(a: &Attributes, object: &Value) -> Result<Extra, Status> {
    let mut extra = Extra::default();
    let changes = a.old.is_none_or(|old| may_cost_more(a, object, old));
    if !a.ctx.info.subresource.is_empty() || !changes || !has_quota(a, object) {
        return Ok(extra);
    }
    let Some(kind) = kinds::find("", "v1", "ResourceQuota") else { return Ok(extra) };
    let usage = |o: &Value| quota::usage(a.kind.group, a.kind.plural, o, clock::now());
    let whole = usage(object);
    let delta = a.old.map(|old| quota::difference(&whole, &usage(old)));
    let is_pod = a.kind.kind == "Pod";
    for (_, found) in a.state.cache.list(kind.place(), &format!("{}/", meta::namespace(object))).objects {
        let matches = |o: &Value| quota::matches(at(&found.value, "spec"), a.kind.group, a.kind.plural, o);
        if !matches(object) {
            continue;
        }
        // A quota that did not speak of the object before is charged all of it.
        let delta = match (&delta, a.old) {
            (Some(delta), Some(old)) if matches(old) => delta,
            _ => &whole,
        };
        let after =
            quota::charge(&found.value, object, is_pod, delta).map_err(|why| a.forbidden(object, &why))?;
        if let Some(used) = after {
            let mut new = found.value.clone();
            value::put(&mut new, "status.used", quota::stored(&used));
            extra.beside.push(Beside { kind, object: new, expected: found.revision });
        }
    }
    Ok(extra)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn each_namespace_charges_in_its_own_turn_and_is_forgotten_afterwards() {
        let charging = Charging::default();
        let first = charging.turn("shop").await;
        let mut second = Box::pin(charging.turn("shop"));
        let mut third = Box::pin(charging.turn("shop"));
        assert!(second.as_mut().now_or_never().is_none() && third.as_mut().now_or_never().is_none());
        let other = charging.turn("dev").now_or_never().expect("another namespace does not wait");
        assert_eq!(charging.lock().len(), 2);
        drop(other);
        drop(first);
        let second = second.now_or_never().expect("it is its turn");
        assert!(third.as_mut().now_or_never().is_none(), "one after the other");
        drop(second);
        // One that is given up while it waits, and one that has never begun.
        drop(third);
        drop(charging.turn("never"));
        assert!(charging.lock().is_empty(), "{:?}", charging.lock().keys());
    }
}
