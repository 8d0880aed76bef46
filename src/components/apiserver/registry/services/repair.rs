//! Reservations that no Service has: a Service that was removed from the store by hand leaves them
//! behind (upstream: the repair controllers of both ranges).

use super::allocate::{Taken, check_free, check_health_port, used};
use super::{health_port_of, ip_key, is_service, node_ports_of, port_key};
use crate::state::State;
use crate::storage::extra::Extra;
use crate::storage::keys::ROOT;
use crate::storage::store::{CACHE_WAIT, status_of};
use crate::storage::transaction::{delete, is_at};
use api::errors::Errors;
use api::kinds::Kind;
use api::{Status, meta};
use bytes::Bytes;
use etcd::api::{RangeRequest, TxnRequest};
use serde_json::Value;
use std::collections::HashSet;

/// Clears the way for the next attempt of a write that was refused because something else had
/// changed. A reservation that stood in its way and has no Service is given back, since no number
/// of attempts would get past it. What a Service holds that cannot be decoded stays, and no attempt
/// gets past that either: `unplanned` is the object before its plan, so what it has of these was
/// named by the client.
///
/// # Errors
/// 422 for an address or a port that another Service keeps; those of [`check_health_port`] and of
/// [`repair`].
pub(crate) async fn after_collision(
    state: &State,
    kind: &Kind,
    extra: &Extra,
    unplanned: &Value,
) -> Result<(), Status> {
    if extra.reserve.is_empty() || !is_service(kind) {
        return Ok(());
    }
    let held = repair(state).await?;
    let is_new = |port: &i64| extra.reserve.iter().any(|(key, _)| *key == port_key(*port));
    let (mut had_ports, mut errors) = (node_ports_of(unplanned), Errors::default());
    had_ports.retain(|port| !is_new(port));
    check_free(state, &held, unplanned, None, &had_ports, &mut errors);
    if !errors.is_empty() {
        return Err(Status::invalid("", "Service", meta::name(unplanned), &errors));
    }
    let had_health = Some(health_port_of(unplanned)).filter(|port| !is_new(port));
    check_health_port(state, &held, unplanned, had_health.unwrap_or(0))
}

/// Gives back the reservations that no Service has, as upstream's repair controllers of both ranges
/// do. A Service that was removed from the store by hand leaves them behind. Returns what Services
/// hold that cannot be decoded.
///
/// # Errors
/// Those of the store; 504 if this server's watch lags.
pub(crate) async fn repair(state: &State) -> Result<Taken, Status> {
    let mut held = Taken::default();
    let all = RangeRequest {
        key: Bytes::from(format!("{ROOT}ranges/")),
        range_end: Bytes::from(format!("{ROOT}ranges0")), // '0' is the character after '/'
        ..Default::default()
    };
    let found = state.kv.range(all).await.map_err(status_of)?;
    if found.kvs.is_empty() {
        return Ok(held);
    }
    // A reservation is made in one transaction with its Service: once the cache has reached this
    // revision it knows the Service of each of these.
    if clock::limit(CACHE_WAIT, state.cache.wait_for(found.revision)).await.is_none() {
        return Err(Status::timeout("request did not complete within the allotted timeout"));
    }
    let used = used(state);
    let has: HashSet<String> =
        used.ips.iter().map(|ip| ip_key(ip)).chain(used.ports.into_iter().map(port_key)).collect();
    for kv in found.kvs {
        let (key, owner) = (String::from_utf8_lossy(&kv.key), String::from_utf8_lossy(&kv.value));
        if has.contains(&*key) {
            continue;
        }
        // What else a Service has that cannot be decoded is not known.
        if state.cache.undecodable("services", &owner).is_some() {
            held.ips.extend(key.strip_prefix(&ip_key("")).map(String::from));
            held.ports.extend(key.rsplit_once('/').and_then(|(_, port)| port.parse::<i64>().ok()));
            continue;
        }
        let txn = TxnRequest {
            compare: vec![is_at(kv.key.clone(), kv.mod_revision)],
            success: vec![delete(kv.key.clone())],
            failure: vec![],
        };
        if state.kv.txn(txn).await.map_err(status_of)?.succeeded {
            tracing::warn!(%key, %owner, "gave back a reservation whose Service does not exist");
        }
    }
    Ok(held)
}
