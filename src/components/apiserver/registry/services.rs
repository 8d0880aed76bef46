//! ClusterIPs and NodePorts: each is given to one Service only. A reservation key in the store,
//! made in the same transaction as the Service, keeps two servers (or two requests) from giving out
//! the same one.

use crate::registry::cidr::Cidr;
use crate::state::State;
use crate::storage::extra::{Beside, Extra};
use crate::storage::keys::ROOT;
use crate::storage::object::Object;
use crate::storage::store::{CACHE_WAIT, status_of};
use crate::storage::transaction::{delete, is_at};
use api::cidr;
use api::errors::Errors;
use api::kinds::Kind;
use api::kinds::core::service::{default_policy, has_own_endpoints, is_checked, prefers_as_before};
use api::value::{self, flag, int, list, list_mut, text};
use api::{Status, kinds, meta};
use bytes::Bytes;
use etcd::api::{RangeRequest, TxnRequest};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

const HEALTH_PORT: &str = "spec.healthCheckNodePort";

/// `ip` in its usual form, so that an address has one reservation, however its Services write it.
fn ip_key(ip: &str) -> String {
    format!("{ROOT}ranges/serviceips/{ip}")
}
fn port_key(port: i64) -> String {
    format!("{ROOT}ranges/servicenodeports/{port}")
}

pub(crate) fn is_service(kind: &Kind) -> bool {
    kind.kind == "Service" && kind.group.is_empty()
}

/// The address of a Service in its usual form. Its object keeps it as the client wrote it:
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

/// The node ports of a Service's ports.
fn node_ports_of(service: &Value) -> Vec<i64> {
    let own = list(service, "spec.ports").iter().filter(|_| has_node_ports(service));
    own.filter_map(|p| int(p, "nodePort")).filter(|p| *p != 0).collect()
}

/// The port for health checks of a Service; 0 for none.
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

/// The Endpoints object of a Service that goes. The endpoints controller may be late or stopped,
/// and the next Service of this name must not begin with the addresses of this one (upstream:
/// `REST.afterDelete` of Services). Where upstream deletes it in a second write, here it goes in
/// the Service's own transaction. One with finalizers cannot go at once: it stays for the
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

/// What a Service gives back that cannot be decoded: all reservations that name it as their owner,
/// and its Endpoints.
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

/// What follows a write that was refused because something else had changed: a reservation that
/// stood in its way and has no Service is given back, since no number of attempts would get past
/// it. What a Service holds that cannot be decoded stays, and no attempt gets past that either:
/// `unplanned` is the object before its plan, so what it has of these was named by the client.
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

/// Fills in addresses and ports of a new or changed Service, and says what to reserve and to give
/// back.
pub(crate) fn plan(
    state: &State,
    kind: &Kind,
    service: &mut Value,
    old: Option<&Value>,
) -> Result<Extra, Status> {
    if !is_service(kind) {
        return Ok(Extra::default());
    }
    let mut errors = Errors::default();
    let kind_of = text(service, "spec.type").to_string();
    if kind_of != "ExternalName" {
        cluster_ip(state, service, old, &mut errors);
        families(service, old);
    }
    if has_node_ports(service) {
        node_ports(state, service, old.is_none(), &mut errors);
    }
    let (had_ip, had_ports) = (old.and_then(owned_ip), old.map(owned_ports).unwrap_or_default());
    let (taken, had_node_ports) = (used(state), old.map(node_ports_of).unwrap_or_default());
    check_free(state, &taken, service, had_ip.as_deref(), &had_node_ports, &mut errors);
    if !errors.is_empty() {
        return Err(Status::invalid("", "Service", meta::name(service), &errors));
    }
    check_health_port(state, &taken, service, old.map_or(0, health_port_of))?;
    if is_checked(service) && !old.is_some_and(is_checked) {
        health_port(state, service)?;
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

/// Addresses, in their usual form, and node ports that Services have.
#[derive(Default)]
pub(crate) struct Taken {
    ips: HashSet<String>,
    ports: HashSet<i64>,
}

fn used(state: &State) -> Taken {
    let mut taken = Taken::default();
    state.cache.for_each("services", "", |s| {
        taken.ips.extend(owned_ip(s));
        taken.ports.extend(owned_ports(s));
    });
    taken
}

/// True for an address of the range that a Service can have: not the first and the last one.
fn is_host_of(range: &Cidr, ip: Ipv4Addr) -> bool {
    range.contains(ip) && ip != range.nth(0) && ip != range.nth(range.size() - 1)
}

/// Gives a Service an address, or checks the one that it names, whose text stays as it is. What the
/// old object has was given to it before.
fn cluster_ip(state: &State, service: &mut Value, old: Option<&Value>, errors: &mut Errors) {
    let mut ip = text(service, "spec.clusterIP").to_string();
    if ip.is_empty() {
        let taken = used(state).ips;
        let cidr = state.service_cidr;
        // As upstream: the lower part of the range is left for addresses that people choose.
        let (size, reserved) = (cidr.size(), (cidr.size() / 16).clamp(16, 256));
        let free = |n: u32| Some(cidr.nth(n).to_string()).filter(|ip| !taken.contains(ip));
        let guess =
            (0..64).find_map(|_| free(state.rng.range(u64::from(reserved), u64::from(size - 1)) as u32));
        match guess.or_else(|| (1..size - 1).find_map(free)) {
            Some(found) => ip = found,
            None => {
                errors.invalid("spec.clusterIPs", &json!([]), "failed to allocate a serviceIP: range is full")
            }
        }
    } else if ip != "None" && old.is_none_or(|old| text(old, "spec.clusterIP") != ip) {
        // That it is an address was validated.
        if !cidr::ipv4(&ip).is_some_and(|v4| is_host_of(&state.service_cidr, v4)) {
            let why = format!(
                "failed to allocate IP {ip}: the provided IP ({}) is not in the valid range. The range of valid IPs is {}",
                cidr::canonical_text(&ip),
                state.service_cidr
            );
            errors.invalid("spec.clusterIPs", &json!([ip]), &why);
        }
    }
    value::put(service, "spec.clusterIP", ip.clone());
    value::put(service, "spec.clusterIPs", json!([ip]));
}

/// Fills in the families of a Service: IPv4, which is all that this cluster has. The endpoints of a
/// headless Service without a selector are written by its user and may be of both
/// (`initIPFamilyFields` upstream).
fn families(service: &mut Value, old: Option<&Value>) {
    const FAMILIES: &str = "spec.ipFamilies";
    let policy = default_policy(service);
    value::default(service, "spec.ipFamilyPolicy", policy);
    if value::empty(service, FAMILIES) {
        value::put(service, FAMILIES, json!(["IPv4"]));
    }
    let is_single = text(service, "spec.ipFamilyPolicy") == "SingleStack";
    // What prefers two families gets the second one when it is made, and not by any later write.
    let as_before = old.is_some_and(|old| prefers_as_before(service, old));
    if is_single || as_before || !has_own_endpoints(service) {
        return;
    }
    if let [only] = list(service, FAMILIES) {
        let other = if only == "IPv4" { "IPv6" } else { "IPv4" };
        value::put(service, FAMILIES, json!([only, other]));
    }
}

/// Node ports at the beginning of a range of `size` that are given out last, so that people can
/// choose one of them (`ServiceNodePortStaticSubrange`, KEP-3668): of 30000 to 32767 the first 86.
fn ports_to_choose(size: i64) -> i64 {
    if size <= 16 { 0 } else { (size / 32).clamp(16, 128) }
}

/// Node ports that no Service has.
struct FreePorts<'a> {
    state: &'a State,
    taken: HashSet<i64>,
}

impl FreePorts<'_> {
    /// Takes a random one of the upper part of the range, and one of the lower part if that is
    /// full; `None` if the range is.
    fn take(&mut self) -> Option<i64> {
        let (low, high) = (i64::from(self.state.node_ports.0), i64::from(self.state.node_ports.1));
        let free = |n: i64| Some(n).filter(|n| !self.taken.contains(n));
        let upper = low + ports_to_choose(high - low + 1);
        let guess = (0..64).find_map(|_| free(self.state.rng.range(upper as u64, high as u64 + 1) as i64));
        let found = guess.or_else(|| (upper..=high).chain(low..upper).find_map(free))?;
        self.taken.insert(found);
        Some(found)
    }
}

/// Gives node ports to the ports that have none. In a new Service the ports of one number, which
/// differ in their protocol, have one node port, and no others have it (`initNodePorts` upstream):
/// of 53/UDP and 53/TCP with `nodePort: 30053` both get 30053.
fn node_ports(state: &State, service: &mut Value, is_new: bool, errors: &mut Errors) {
    let allocates =
        text(service, "spec.type") != "LoadBalancer" || flag(service, "spec.allocateLoadBalancerNodePorts");
    let taken = used(state).ports;
    let mut free = FreePorts { state, taken };
    free.taken.extend(owned_ports(service));
    let mut by_number: HashMap<i64, i64> = HashMap::new();
    let mut owners: HashMap<i64, i64> = HashMap::new();
    for (i, port) in list(service, "spec.ports").iter().enumerate().filter(|_| is_new) {
        let (number, named) = (int(port, "port").unwrap_or(0), int(port, "nodePort").unwrap_or(0));
        if named != 0 && *owners.entry(named).or_insert(number) != number {
            errors.invalid(format!("spec.ports[{i}].nodePort"), &json!(named), ALLOCATED);
        } else if named != 0 {
            by_number.entry(number).or_insert(named);
        }
    }
    for port in list_mut(service, "spec.ports").iter_mut().filter(|_| allocates) {
        if int(port, "nodePort").unwrap_or(0) != 0 {
            continue;
        }
        let number = int(port, "port").unwrap_or(0);
        let Some(given) = by_number.get(&number).copied().or_else(|| free.take()) else {
            let why = "failed to allocate a nodePort: range is full";
            return errors.invalid("spec.ports[0].nodePort", &json!(0), why); // for all other ports, too
        };
        value::put(port, "nodePort", given);
        if is_new {
            by_number.insert(number, given);
        }
    }
}

/// Gives a Service a port for health checks, unless it names one.
///
/// # Errors
/// 500 if there is none left, as upstream.
fn health_port(state: &State, service: &mut Value) -> Result<(), Status> {
    if health_port_of(service) != 0 {
        return Ok(());
    }
    let taken = used(state).ports;
    let mut free = FreePorts { state, taken };
    free.taken.extend(owned_ports(service));
    let full = || Status::internal("failed to allocate a HealthCheck NodePort 0: range is full");
    let given = free.take().ok_or_else(full)?;
    value::put(service, HEALTH_PORT, given);
    Ok(())
}

/// The port for health checks that the user chose must be free and in range; `had` is the one that
/// the Service had before. It may be none of the Service's own node ports either.
///
/// # Errors
/// 500: upstream reserves this port behind all others, and takes a refusal for an error of its own
/// (`allocHealthCheckNodePort`).
fn check_health_port(state: &State, taken: &Taken, service: &Value, had: i64) -> Result<(), Status> {
    let number = health_port_of(service);
    let is_own = node_ports_of(service).contains(&number);
    if number == 0 || (number == had && !is_own) {
        return Ok(());
    }
    let why = match out_of_range(state, number) {
        Some(why) => why,
        None if is_own || taken.ports.contains(&number) => ALLOCATED.to_string(),
        None => return Ok(()),
    };
    Err(Status::internal(format!("failed to allocate requested HealthCheck NodePort {number}: {why}")))
}

const ALLOCATED: &str = "provided port is already allocated";

/// Says what is wrong with a node port that is outside of the range.
fn out_of_range(state: &State, number: i64) -> Option<String> {
    let (low, high) = state.node_ports;
    let is_inside = (i64::from(low)..=i64::from(high)).contains(&number);
    (!is_inside)
        .then(|| format!("provided port is not in the valid range. The range of valid ports is {low}-{high}"))
}

/// The address and the node ports that the user chose must be free and in range. `had_ports` are
/// the node ports of the Service before.
fn check_free(
    state: &State,
    taken: &Taken,
    service: &Value,
    had_ip: Option<&str>,
    had_ports: &[i64],
    errors: &mut Errors,
) {
    if let Some(plain) = owned_ip(service)
        && Some(&*plain) != had_ip
        && taken.ips.contains(&plain)
    {
        let ip = text(service, "spec.clusterIP");
        let why = format!("failed to allocate IP {ip}: provided IP is already allocated");
        errors.invalid("spec.clusterIPs", &json!([ip]), &why);
    }
    let own = list(service, "spec.ports").iter().enumerate().filter(|_| has_node_ports(service));
    for (i, port) in own {
        let number = int(port, "nodePort").unwrap_or(0);
        if number == 0 || had_ports.contains(&number) {
            continue;
        }
        let field = format!("spec.ports[{i}].nodePort");
        if let Some(why) = out_of_range(state, number) {
            errors.invalid(field, &json!(number), &why);
        } else if taken.ports.contains(&number) {
            errors.invalid(field, &json!(number), ALLOCATED);
        }
    }
}
