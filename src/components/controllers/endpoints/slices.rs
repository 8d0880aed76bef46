//! Which endpoints go into which EndpointSlice. [`plan`] is pure. Source:
//! `k8s.io/endpointslice/reconciler.go`.

use super::group::Group;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Endpoints in one slice, at most: upstream's default.
const PER_SLICE: usize = 100;

/// The writes of a look, in this order: an endpoint is in its new slice before it leaves the old
/// one.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub create: Vec<Group>,
    /// Slices with what they should have; some have it already.
    pub keep: Vec<(Arc<EndpointSlice>, Group)>,
    pub delete: Vec<Arc<EndpointSlice>>,
}

/// Returns a slice's ports as the API has them: no list, rather than an empty one.
pub(super) fn ports_of(group: &Group) -> Option<Vec<EndpointPort>> {
    (!group.ports.is_empty()).then(|| group.ports.clone())
}

/// Returns what makes an endpoint another one than the next, whatever its state: addresses and pod.
fn identity(endpoint: &Endpoint) -> (&[String], Option<&str>) {
    (&endpoint.addresses, endpoint.target_ref.as_ref().and_then(|r| r.uid.as_deref()))
}

/// Pure: puts a service's endpoints into the slices that there are, into new ones if those do not
/// suffice. Endpoints stay in their slice, so that there is no moment without them; new ones fill
/// slices with the same ports. A slice that is left over gets the ports and endpoints of a new one,
/// or goes.
///
/// ```text
/// wanted 9090 {a}, 8080 {z}; there is s with 8080 {z}      s stays, a new slice gets 9090 {a}
/// wanted 9090 {a};           there is s with 8080 {z}      s gets 9090 {a}
/// wanted nothing;            there is s with 8080 {z}      s is kept without ports and endpoints
/// ```
pub(super) fn plan(groups: &[Group], have: Vec<Arc<EndpointSlice>>) -> Plan {
    let mut plan = Plan { delete: have, ..Plan::default() };
    for group in groups {
        let ports = ports_of(group);
        let (mine, others): (Vec<_>, Vec<_>) = plan.delete.into_iter().partition(|s| s.ports == ports);
        plan.delete = others;
        let places = distribute(group, &mine);
        let part = |at: usize| -> Vec<Endpoint> {
            let here = places.iter().zip(&group.endpoints).filter(|(place, _)| **place == at);
            here.map(|(_, endpoint)| endpoint.clone()).collect()
        };
        let slices = places.iter().max().map_or(0, |last| last + 1).max(mine.len());
        for at in 0..slices {
            let part = Group { ports: group.ports.clone(), endpoints: part(at) };
            match mine.get(at) {
                Some(slice) if part.endpoints.is_empty() => plan.delete.push(slice.clone()),
                Some(slice) => plan.keep.push((slice.clone(), part)),
                None => plan.create.push(part),
            }
        }
    }
    if plan.create.is_empty() && plan.keep.is_empty() {
        // A service without endpoints still has a slice, an empty one.
        let empty = plan.delete.iter().position(|s| s.ports.is_none()).unwrap_or(0);
        plan.delete.rotate_left(empty);
        plan.create.push(Group::default());
    }
    let reused = plan.create.len().min(plan.delete.len());
    plan.keep.extend(plan.delete.drain(..reused).zip(plan.create.drain(..reused)));
    plan
}

/// Returns the number of its slice for each endpoint of the group, among `slices` and new ones
/// after them.
///
/// 250 pods fill three slices: 100, 100 and 50. If one of the first hundred is replaced, its
/// successor takes the free place in the first slice: one slice is written, and every node reads
/// 100 endpoints instead of 250. That is why slices exist (KEP-752).
fn distribute(group: &Group, slices: &[Arc<EndpointSlice>]) -> Vec<usize> {
    let mut before = BTreeMap::new();
    for (at, slice) in slices.iter().enumerate() {
        before.extend(slice.endpoints.iter().map(|e| (identity(e), at)));
    }
    let mut sizes = vec![0; slices.len()];
    let mut stays = |at: &usize| {
        sizes[*at] += 1;
        sizes[*at] <= PER_SLICE
    };
    let places: Vec<Option<usize>> =
        group.endpoints.iter().map(|e| before.get(&identity(e)).copied().filter(&mut stays)).collect();
    let mut next = 0;
    let mut with_room = || {
        while sizes.get(next).is_some_and(|size| *size >= PER_SLICE) {
            next += 1;
        }
        if next == sizes.len() {
            sizes.push(0);
        }
        sizes[next] += 1;
        next
    };
    places.into_iter().map(|place| place.unwrap_or_else(&mut with_room)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Endpoints with these numbers behind a port.
    fn group(port: i32, numbers: impl IntoIterator<Item = usize>) -> Group {
        let ports = vec![EndpointPort { port: Some(port), ..EndpointPort::default() }];
        let address = |n: usize| Endpoint { addresses: vec![format!("10.0.0.{n}")], ..Endpoint::default() };
        Group { ports, endpoints: numbers.into_iter().map(address).collect() }
    }

    fn slice(name: &str, group: Group) -> Arc<EndpointSlice> {
        let mut slice: EndpointSlice = serde_json::from_value(
            json!({"metadata": {"name": name}, "addressType": "IPv4", "endpoints": []}),
        )
        .unwrap();
        slice.ports = ports_of(&group);
        slice.endpoints = group.endpoints;
        Arc::new(slice)
    }

    /// `+port count` is a new slice, `name port count` one that is kept, `-name` one that goes.
    fn steps(groups: &[Group], have: &[Arc<EndpointSlice>]) -> String {
        let plan = plan(groups, have.to_vec());
        let size =
            |g: &Group| format!("{} {}", g.ports.first().map_or(0, |p| p.port.unwrap()), g.endpoints.len());
        let name = |s: &EndpointSlice| s.metadata.name.clone().unwrap();
        let create = plan.create.iter().map(|g| format!("+{}", size(g)));
        let keep = plan.keep.iter().map(|(s, g)| format!("{} {}", name(s), size(g)));
        let delete = plan.delete.iter().map(|s| format!("-{}", name(s)));
        create.chain(keep).chain(delete).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_slice_stays_with_its_ports_whatever_comes_before_it() {
        use std::slice::from_ref;
        let s = slice("s", group(8080, [2]));
        let both = [group(9090, [1]), group(8080, [2])];
        assert_eq!(steps(&both, from_ref(&s)), "+9090 1, s 8080 1");
        assert_eq!(steps(&both[..1], from_ref(&s)), "s 9090 1", "nothing else needs it");
        assert_eq!(steps(&both[1..], &[slice("r", group(9090, [1])), s.clone()]), "s 8080 1, -r");
        assert_eq!(steps(&[], &[s, slice("e", Group::default())]), "e 0 0, -s");
        assert_eq!(steps(&[], &[]), "+0 0");
    }

    #[test]
    fn endpoints_stay_in_their_slice_and_new_ones_fill_it_up() {
        let full = slice("full", group(80, 1..101));
        let wanted = plan(&[group(80, 0..101)], vec![full.clone()]);
        assert_eq!(wanted.keep[0].1.endpoints, full.endpoints, "a new first name pushes none out");
        assert_eq!(wanted.create, [group(80, [0])]);
        let rest = slice("rest", group(80, 101..120));
        let both = [full, rest];
        assert_eq!(steps(&[group(80, 0..120)], &both), "full 80 100, rest 80 20");
        assert_eq!(steps(&[group(80, 5..122)], &both), "full 80 98, rest 80 19");
        assert_eq!(steps(&[group(80, 1..101)], &both), "full 80 100, -rest");
        assert_eq!(steps(&[group(80, 0..250)], &both), "+80 50, full 80 100, rest 80 100");
    }
}
