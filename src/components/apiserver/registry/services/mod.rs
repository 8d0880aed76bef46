//! ClusterIPs and NodePorts: each is given to one Service only. A reservation key in the store,
//! made in the same transaction as the Service, keeps two servers (or two requests) from giving out
//! the same one.
//!
//! This file has the reservations of one Service, which its writes make and give back. `allocate`
//! chooses addresses and ports and judges those that a client names, `repair` gives back what no
//! Service has.

mod allocate;
mod repair;

pub(crate) use repair::{after_collision, repair};

use crate::state::State;
use crate::storage::extra::{Beside, Extra};
use crate::storage::keys::ROOT;
use crate::storage::object::Object;
use crate::storage::store::status_of;
use allocate::{check_free, check_health_port, cluster_ip, families, health_port, node_ports, used};
use api::errors::Errors;
use api::kinds::Kind;
use api::kinds::core::service::is_checked;
use api::value::{self, int, list, text};
use api::{Status, cidr, kinds, meta};
use bytes::Bytes;
use etcd::api::RangeRequest;
use serde_json::Value;
use std::sync::Arc;

const HEALTH_PORT: &str = "spec.healthCheckNodePort";

/// Returns the key of an address's reservation. `ip` is in its usual form, so that an address has
/// one reservation, however its Services write it.
fn ip_key(ip: &str) -> String {
    format!("{ROOT}ranges/serviceips/{ip}")
}
fn port_key(port: i64) -> String {
    format!("{ROOT}ranges/servicenodeports/{port}")
}

pub(crate) fn is_service(kind: &Kind) -> bool {
    kind.kind == "Service" && kind.group.is_empty()
}

/// Returns the address of a Service in its usual form. Its object keeps it as the client wrote it:
/// `010.96.0.9` and `::ffff:10.96.0.9` are 10.96.0.9.
fn owned_ip(service: &Value) -> Option<String> {
    let ip = Some(text(service, "spec.clusterIP")).filter(|ip| !ip.is_empty() && *ip != "None");
    ip.map(cidr::canonical_text)
}

/// True for a Service of a type whose node ports are its own. The API takes node ports in an
/// `ExternalName` Service, too, and they mean nothing there (`needsNodePort` upstream).
fn has_node_ports(service: &Value) -> bool {
    matches!(text(service, "spec.type"), "NodePort" | "LoadBalancer")
}

/// Returns the node ports of a Service's ports.
fn node_ports_of(service: &Value) -> Vec<i64> {
    let own = list(service, "spec.ports").iter().filter(|_| has_node_ports(service));
    own.filter_map(|p| int(p, "nodePort")).filter(|p| *p != 0).collect()
}

/// Returns the port for health checks of a Service; 0 for none.
fn health_port_of(service: &Value) -> i64 {
    int(service, HEALTH_PORT).unwrap_or(0)
}

/// Returns the node ports of a Service and its port for health checks, sorted, each once.
fn owned_ports(service: &Value) -> Vec<i64> {
    let mut ports = node_ports_of(service);
    ports.extend(Some(health_port_of(service)).filter(|p| *p != 0));
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// Returns the reservations of a Service, which its deletion gives back.
///
/// A Service with 10.96.0.9 and the node port 30080 has two keys in the store, which go in the same
/// transaction as the Service: in the next moment another Service may have both.
pub(crate) fn release(kind: &Kind, service: &Value) -> Extra {
    if !is_service(kind) {
        return Extra::default();
    }
    let mut release: Vec<String> = owned_ip(service).map(|ip| ip_key(&ip)).into_iter().collect();
    release.extend(owned_ports(service).into_iter().map(port_key));
    Extra { release, ..Extra::default() }
}

/// Returns what is deleted with a Service: its reservations and its Endpoints.
pub(crate) fn removal(state: &State, kind: &Kind, service: &Value) -> Extra {
    let mut extra = release(kind, service);
    if is_service(kind) {
        extra.beside = endpoints_of(state, meta::namespace(service), meta::name(service));
    }
    extra
}

/// Returns the Endpoints object of a Service that goes. The endpoints controller may be late or
/// stopped, and the next Service of this name must not begin with the addresses of this one
/// (upstream: `REST.afterDelete` of Services). Where upstream deletes it in a second write, here it
/// goes in the Service's own transaction. One with finalizers cannot go at once: it stays for the
/// controller, which marks it.
fn endpoints_of(state: &State, namespace: &str, name: &str) -> Vec<Beside> {
    let Some(kind) = kinds::find("", "v1", "Endpoints") else { return vec![] };
    let found = state.remembered(kind, namespace, name);
    let found = found.filter(|found| value::empty(&found.value, "metadata.finalizers"));
    let beside = |found: Arc<Object>| Beside {
        kind,
        object: found.value.clone(),
        expected: found.revision,
        goes: true,
    };
    found.map(beside).into_iter().collect()
}

/// Returns what a Service gives back that cannot be decoded: all reservations that name it as their
/// owner, and its Endpoints.
///
/// # Errors
/// Those of the store.
pub(crate) async fn release_all(
    state: &State,
    kind: &Kind,
    namespace: &str,
    name: &str,
) -> Result<Extra, Status> {
    let mut extra = Extra::default();
    if !is_service(kind) {
        return Ok(extra);
    }
    extra.beside = endpoints_of(state, namespace, name);
    let owner = format!("{namespace}/{name}");
    for range in ["serviceips", "servicenodeports"] {
        let from = |end: char| Bytes::from(format!("{ROOT}ranges/{range}{end}"));
        // '0' is the character after '/'.
        let all = RangeRequest { key: from('/'), range_end: from('0'), ..Default::default() };
        let found = state.kv.range(all).await.map_err(status_of)?;
        let own = found.kvs.iter().filter(|kv| kv.value == owner.as_bytes());
        extra.release.extend(own.filter_map(|kv| String::from_utf8(kv.key.to_vec()).ok()));
    }
    Ok(extra)
}

/// Fills in addresses and ports of a new or changed Service, and says what to reserve and to give
/// back.
///
/// # Errors
/// 422 for an address or a port that the Service names and cannot have; 500 for a port for health
/// checks that it cannot have, and where a range is full.
pub(crate) fn plan(
    state: &State,
    kind: &Kind,
    service: &mut Value,
    old: Option<&Value>,
) -> Result<Extra, Status> {
    if !is_service(kind) {
        return Ok(Extra::default());
    }
    let (taken, mut errors) = (used(state), Errors::default());
    let kind_of = text(service, "spec.type").to_string();
    if kind_of != "ExternalName" {
        cluster_ip(state, &taken, service, old, &mut errors)?;
        families(service, old);
    }
    if has_node_ports(service) {
        node_ports(state, &taken, service, old.is_none(), &mut errors)?;
    }
    let (had_ip, had_ports) = (old.and_then(owned_ip), old.map(owned_ports).unwrap_or_default());
    let had_node_ports = old.map(node_ports_of).unwrap_or_default();
    check_free(state, &taken, service, had_ip.as_deref(), &had_node_ports, &mut errors);
    if !errors.is_empty() {
        return Err(Status::invalid("", "Service", meta::name(service), &errors));
    }
    check_health_port(state, &taken, service, old.map_or(0, health_port_of))?;
    if is_checked(service) && !old.is_some_and(is_checked) {
        health_port(state, &taken, service)?;
    }
    let owner = format!("{}/{}", meta::namespace(service), meta::name(service));
    let mut extra = Extra::default();
    let ip = owned_ip(service);
    if ip != had_ip {
        extra.reserve.extend(ip.map(|ip| (ip_key(&ip), owner.clone())));
        extra.release.extend(had_ip.map(|ip| ip_key(&ip)));
    }
    let ports = owned_ports(service);
    extra.reserve.extend(
        ports.iter().filter(|p| had_ports.binary_search(p).is_err()).map(|p| (port_key(*p), owner.clone())),
    );
    extra.release.extend(had_ports.iter().filter(|p| ports.binary_search(p).is_err()).map(|p| port_key(*p)));
    Ok(extra)
}
