//! The Endpoints object of a Service: its endpoints in the words of the kind that is older than
//! EndpointSlice, and in one object. Source: `pkg/controller/endpoint`.

use super::group::{Group, label_headless};
use super::refusals::Refusals;
use super::written::Written;
use crate::error::{Error, is_namespace_ending};
use crate::shared::Shared;
use client::{Key, is_code};
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::PostParams;
use tap::Cause;

pub(super) const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
pub(super) const MANAGER: &str = "endpoint-controller";
/// The annotation of an object that has not all addresses, and its value.
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
const TRUNCATED: &str = "truncated";
/// Addresses in one object, at most: upstream's `maxCapacity`.
const MOST: usize = 1000;

/// Pure: endpoints as the older kind has them, in the order of their addresses. Unlike a slice, a
/// subset has no endpoints without ports, unless the service has none.
///
/// Clients of the older kind know two states only: `addresses` are to be used, `notReadyAddresses`
/// are not yet. A pod that is being deleted is in neither list, even if it still serves (unless the
/// Service has `publishNotReadyAddresses`).
///
/// ```text
/// 10.244.1.2 ready, 10.244.2.2 not ready, 10.244.3.2 terminating
/// addresses [10.244.1.2], notReadyAddresses [10.244.2.2]
/// ```
pub(super) fn subsets(service: &Service, groups: &[Group]) -> Vec<EndpointSubset> {
    let mut subsets = Vec::new();
    let has_ports = service.spec.as_ref().is_some_and(|s| s.ports.as_ref().is_some_and(|p| !p.is_empty()));
    for group in groups.iter().filter(|g| !has_ports || !g.ports.is_empty()) {
        let (mut ready, mut unready) = (Vec::new(), Vec::new());
        for e in &group.endpoints {
            let address = EndpointAddress {
                ip: e.addresses.first().cloned().unwrap_or_default(),
                hostname: e.hostname.clone(),
                node_name: e.node_name.clone(),
                target_ref: e.target_ref.clone(),
            };
            let conditions = e.conditions.clone().unwrap_or_default();
            if conditions.ready == Some(true) {
                ready.push(address);
            } else if conditions.terminating != Some(true) {
                unready.push(address);
            }
        }
        let by_ip = |a: &EndpointAddress| a.ip.parse::<std::net::Ipv4Addr>().ok();
        ready.sort_by_key(by_ip);
        unready.sort_by_key(by_ip);
        if ready.is_empty() && unready.is_empty() {
            continue;
        }
        let ports = group.ports.iter().map(|p| EndpointPort {
            name: p.name.clone().filter(|n| !n.is_empty()),
            port: p.port.unwrap_or_default(),
            protocol: p.protocol.clone(),
            app_protocol: p.app_protocol.clone(),
        });
        let ports: Vec<EndpointPort> = ports.collect();
        // An empty list is none, as it is stored: else every look would write the object again.
        subsets.push(EndpointSubset {
            addresses: (!ready.is_empty()).then_some(ready),
            not_ready_addresses: (!unready.is_empty()).then_some(unready),
            ports: (!ports.is_empty()).then_some(ports),
        });
    }
    subsets
}

/// Pure: cuts the addresses to [`MOST`], ready ones first. Returns whether it had to. Each subset
/// keeps its share, rounded up, as long as there is room.
///
/// ```text
/// 900 ready, 300 not ready                900 ready, 100 not ready
/// 800 ready at one port, 400 at another   667 and 333 ready
/// ```
fn truncate(subsets: &mut Vec<EndpointSubset>) -> bool {
    let count = |list: &Option<Vec<EndpointAddress>>| list.as_ref().map_or(0, Vec::len);
    let ready: usize = subsets.iter().map(|s| count(&s.addresses)).sum();
    let unready: usize = subsets.iter().map(|s| count(&s.not_ready_addresses)).sum();
    if ready + unready <= MOST {
        return false;
    }
    let cuts_ready = ready > MOST;
    let (room, total) = if cuts_ready { (MOST, ready) } else { (MOST - ready, unready) };
    let mut left = room;
    for subset in subsets.iter_mut() {
        let cut = if cuts_ready {
            subset.not_ready_addresses = None;
            &mut subset.addresses
        } else {
            &mut subset.not_ready_addresses
        };
        let share = (count(cut) * room).div_ceil(total).min(left);
        if let Some(list) = cut {
            list.truncate(share);
            left -= list.len();
        }
        *cut = cut.take().filter(|list| !list.is_empty());
    }
    // The API server takes no subset without an address.
    subsets.retain(|s| s.addresses.is_some() || s.not_ready_addresses.is_some());
    true
}

/// Writes the Endpoints object of a service. Returns whether it was written. While the cache does
/// not show the last write, nothing is written: that change brings the next look.
pub(super) async fn write(
    (shared, written, refusals): (&Shared, &Written, &Refusals),
    key: &Key,
    service: &Service,
    groups: &[Group],
    cause: &Option<Cause>,
) -> Result<bool, Error> {
    if written.is_behind(key) {
        return Ok(false);
    }
    let api = shared.config.client.caused_by(cause.clone()).within::<Endpoints>(&key.namespace);
    let mut subsets = subsets(service, groups);
    let is_truncated = truncate(&mut subsets);
    let subsets = (!subsets.is_empty()).then_some(subsets);
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    label_headless(&mut labels, service);
    let known = shared.informer::<Endpoints>().get(key);
    let mut annotations =
        known.as_ref().and_then(|known| known.metadata.annotations.clone()).unwrap_or_default();
    match is_truncated {
        true => annotations.insert(OVER_CAPACITY.into(), TRUNCATED.into()),
        false => annotations.remove(OVER_CAPACITY),
    };
    let annotations = (!annotations.is_empty()).then_some(annotations);
    let is_same = |known: &Endpoints| {
        let noted = known.metadata.annotations.as_ref().filter(|all| !all.is_empty());
        known.subsets == subsets
            && known.metadata.labels.as_ref() == Some(&labels)
            && noted == annotations.as_ref()
    };
    if known.as_deref().is_some_and(is_same) {
        return Ok(false);
    }
    written.sent(key, key, known.as_ref().map(|known| &known.metadata));
    let result = match &known {
        Some(known) => {
            let mut next = (**known).clone();
            (next.subsets, next.metadata.labels) = (subsets, Some(labels));
            next.metadata.annotations = annotations;
            api.replace(&key.name, &PostParams::default(), &next).await
        }
        None => {
            let metadata = ObjectMeta {
                name: Some(key.name.clone()),
                namespace: Some(key.namespace.clone()),
                labels: Some(labels),
                annotations,
                ..ObjectMeta::default()
            };
            api.create(&PostParams::default(), &Endpoints { metadata, subsets }).await
        }
    };
    written.answered(key, result.as_ref().ok().map(|stored| &stored.metadata));
    match result {
        Ok(_) => Ok(true),
        Err(error) if is_code(&error, 409) => {
            Err(Error::Conflict(format!("the Endpoints object {key} is not the one that the cache shows")))
        }
        Err(error) if is_code(&error, 404) || is_namespace_ending(&error) => Ok(false),
        Err(error) => Err(refusals.endpoints(key, known.as_deref(), error, cause)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_has_a_thousand_addresses_at_most_ready_ones_first() {
        let some = |n: usize| (n > 0).then(|| vec![EndpointAddress::default(); n]);
        let cut = |sizes: &[(usize, usize)]| -> (bool, Vec<(usize, usize)>) {
            let subset = |(ready, unready): &(usize, usize)| EndpointSubset {
                addresses: some(*ready),
                not_ready_addresses: some(*unready),
                ports: None,
            };
            let mut subsets = sizes.iter().map(subset).collect();
            let cut = truncate(&mut subsets);
            let size = |list: &Option<Vec<_>>| list.as_ref().map_or(0, Vec::len);
            (cut, subsets.iter().map(|s| (size(&s.addresses), size(&s.not_ready_addresses))).collect())
        };
        assert_eq!(cut(&[(600, 400)]), (false, vec![(600, 400)]));
        assert_eq!(cut(&[(900, 300)]), (true, vec![(900, 100)]));
        assert_eq!(cut(&[(1001, 5)]), (true, vec![(1000, 0)]));
        assert_eq!(cut(&[(800, 0), (0, 7), (400, 0)]), (true, vec![(667, 0), (333, 0)]));
        assert_eq!(cut(&[(500, 1), (500, 0)]), (true, vec![(500, 0), (500, 0)]));
    }
}
