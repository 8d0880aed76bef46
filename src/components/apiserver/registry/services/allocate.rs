//! Gives a Service its address, its families and its ports, and checks those that it names.

use super::{HEALTH_PORT, has_node_ports, health_port_of, node_ports_of, owned_ip, owned_ports};
use crate::registry::cidr::Cidr;
use crate::state::State;
use api::errors::Errors;
use api::kinds::core::service::{default_policy, has_own_endpoints, prefers_as_before};
use api::value::{self, flag, int, list, list_mut, text};
use api::{Status, cidr};
use rng::Rng;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;

/// Addresses, in their usual form, and node ports that Services have.
#[derive(Default)]
pub(crate) struct Taken {
    pub(super) ips: HashSet<String>,
    pub(super) ports: HashSet<i64>,
}

/// Returns what the Services of the cache have.
pub(super) fn used(state: &State) -> Taken {
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

/// Returns how many addresses at the beginning of a range of `size` are given out last, so that
/// people can choose one of them (`calculateRangeOffset` upstream). The first address of the range
/// is no host and does not count: of 10.96.0.0/12 these are 10.96.0.1 to 10.96.1.0.
fn addresses_to_choose(size: u32) -> u32 {
    if size <= 16 { 0 } else { (size / 16).clamp(16, 256) }
}

/// Returns an address of the range that is not taken: a random one of the upper part, and one of
/// the lower part if that is full; `None` if the range is.
fn free_address(range: &Cidr, rng: &Rng, taken: &HashSet<String>) -> Option<String> {
    let (size, upper) = (range.size(), 1 + addresses_to_choose(range.size()));
    let free = |n: u32| Some(range.nth(n).to_string()).filter(|ip| !taken.contains(ip));
    let guess = (0..64).find_map(|_| free(rng.range(u64::from(upper), u64::from(size - 1)) as u32));
    guess.or_else(|| (upper..size - 1).chain(1..upper).find_map(free))
}

/// Gives a Service an address, or checks the one that it names, whose text stays as it is. What the
/// old object has was given to it before.
///
/// # Errors
/// 500 if there is none left, as upstream (`allocIPs`).
pub(super) fn cluster_ip(
    state: &State,
    taken: &Taken,
    service: &mut Value,
    old: Option<&Value>,
    errors: &mut Errors,
) -> Result<(), Status> {
    let mut ip = text(service, "spec.clusterIP").to_string();
    if ip.is_empty() {
        let full = || Status::internal("failed to allocate a serviceIP: range is full");
        ip = free_address(&state.service_cidr, &state.rng, &taken.ips).ok_or_else(full)?;
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
    Ok(())
}

/// Fills in the families of a Service: IPv4, which is all that this cluster has. The endpoints of a
/// headless Service without a selector are written by its user and may be of both
/// (`initIPFamilyFields` upstream).
pub(super) fn families(service: &mut Value, old: Option<&Value>) {
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

/// Returns how many node ports at the beginning of a range of `size` are given out last, so that
/// people can choose one of them (`ServiceNodePortStaticSubrange`, KEP-3668): of 30000 to 32767 the
/// first 86.
fn ports_to_choose(size: i64) -> i64 {
    if size <= 16 { 0 } else { (size / 32).clamp(16, 128) }
}

/// Node ports that no Service has.
struct FreePorts<'a> {
    state: &'a State,
    taken: HashSet<i64>,
}

impl<'a> FreePorts<'a> {
    /// Finds those that neither another Service has nor this one.
    fn new(state: &'a State, taken: &Taken, service: &Value) -> FreePorts<'a> {
        let mut taken = taken.ports.clone();
        taken.extend(owned_ports(service));
        FreePorts { state, taken }
    }

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
///
/// # Errors
/// 500 if there are none left, as upstream.
pub(super) fn node_ports(
    state: &State,
    taken: &Taken,
    service: &mut Value,
    is_new: bool,
    errors: &mut Errors,
) -> Result<(), Status> {
    let allocates =
        text(service, "spec.type") != "LoadBalancer" || flag(service, "spec.allocateLoadBalancerNodePorts");
    let mut free = FreePorts::new(state, taken, service);
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
        let full = || Status::internal("failed to allocate a nodePort: range is full");
        let given = by_number.get(&number).copied().or_else(|| free.take()).ok_or_else(full)?;
        value::put(port, "nodePort", given);
        if is_new {
            by_number.insert(number, given);
        }
    }
    Ok(())
}

/// Gives a Service a port for health checks, unless it names one.
///
/// # Errors
/// 500 if there is none left, as upstream.
pub(super) fn health_port(state: &State, taken: &Taken, service: &mut Value) -> Result<(), Status> {
    if health_port_of(service) != 0 {
        return Ok(());
    }
    let mut free = FreePorts::new(state, taken, service);
    let full = || Status::internal("failed to allocate a HealthCheck NodePort 0: range is full");
    let given = free.take().ok_or_else(full)?;
    value::put(service, HEALTH_PORT, given);
    Ok(())
}

/// Checks the port for health checks that the user chose: it must be free and in range; `had` is
/// the one that the Service had before. It may be none of the Service's own node ports either.
///
/// # Errors
/// 500: upstream reserves this port behind all others, and takes a refusal for an error of its own
/// (`allocHealthCheckNodePort`).
pub(super) fn check_health_port(
    state: &State,
    taken: &Taken,
    service: &Value,
    had: i64,
) -> Result<(), Status> {
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

/// Checks the address and the node ports that the user chose: they must be free and in range.
/// `had_ports` are the node ports of the Service before.
pub(super) fn check_free(
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Api;

    #[tokio::test]
    async fn the_last_node_ports_are_the_lower_ones_and_then_there_is_none() {
        let api = Api::bare().await;
        let (low, high) = (i64::from(api.state().node_ports.0), i64::from(api.state().node_ports.1));
        let upper = low + ports_to_choose(high - low + 1);
        let mut free = FreePorts { state: api.state(), taken: (upper..high).collect() };
        assert_eq!(free.take(), Some(high), "the last one of the upper part");
        assert_eq!(free.take(), Some(low));
        free.taken.extend(low..upper);
        assert_eq!(free.take(), None);
    }

    /// Of 16 or fewer all are given out at random.
    #[test]
    fn a_small_range_leaves_nothing_to_choose() {
        let lower = [1, 16, 17, 2_768, 100_000].map(ports_to_choose);
        assert_eq!(lower, [0, 0, 16, 86, 128]);
        let lower = [4, 16, 32, 1 << 10, 1 << 20].map(addresses_to_choose);
        assert_eq!(lower, [0, 0, 16, 64, 256]);
    }

    #[test]
    fn the_last_addresses_are_the_lower_ones_and_then_there_is_none() {
        let (range, rng) = (Cidr::parse("10.0.0.0/27").unwrap(), Rng::seeded(1));
        let mut taken: HashSet<String> = (17..30).map(|n| format!("10.0.0.{n}")).collect();
        for last in [30, 1, 2] {
            let free = free_address(&range, &rng, &taken);
            assert_eq!(free, Some(format!("10.0.0.{last}")));
            taken.extend(free);
        }
        taken.extend((3..17).map(|n| format!("10.0.0.{n}")));
        assert_eq!(free_address(&range, &rng, &taken), None, "the first and the last are no hosts");
    }

    /// As upstream, whose allocators have no field to blame.
    #[tokio::test]
    async fn a_full_range_is_an_internal_error() {
        let api = Api::bare().await;
        let (low, high) = api.state().node_ports;
        let taken = Taken { ports: (i64::from(low)..=i64::from(high)).collect(), ..Taken::default() };
        let mut service = json!({"spec": {"type": "NodePort", "ports": [{"port": 80}]}});
        let mut errors = Errors::default();
        let refused = node_ports(api.state(), &taken, &mut service, true, &mut errors).unwrap_err();
        let why = "Internal error occurred: failed to allocate a nodePort: range is full";
        assert_eq!((refused.code, refused.message.as_str(), errors.is_empty()), (500, why, true));
        let mut named = json!({"spec": {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}});
        assert!(node_ports(api.state(), &taken, &mut named, true, &mut errors).is_ok(), "it needs none");
    }
}
