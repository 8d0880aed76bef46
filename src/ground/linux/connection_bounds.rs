//! Connections whose clients have not shown a certificate yet: how many of them a port has, and
//! which one makes room for another.
//!
//! Any program that reaches a port can open connections and say nothing on them. Such strangers
//! must not keep clients out, and each takes a descriptor and memory. So at the bound the oldest
//! stranger of the address that has the most is closed for the new one. A connection is no stranger
//! any more once its client has shown a certificate that the port accepts: no number of strangers
//! closes it. The kubelet's port and the store's two ports have their bounds here.
//!
//! Example: 64 strangers may wait, four of one address. A pod opens a thousand connections and has
//! four. Sixty pods open four each: 64 wait, and the next address finds a place, because one with
//! four gives its oldest.
//!
//! Members of the store call from addresses that are known before ([`Callers::new`]). These count
//! on their own: a flood from all other addresses together does not close the handshake of a
//! member. A member has one connection: a new one replaces it, as after a cut that the member saw
//! first.

use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// How many strangers there may be: of one address, and of all whose addresses are not known
/// before.
#[derive(Clone, Copy)]
pub struct Bounds {
    /// Connections of one address; the address' oldest one is closed for the next.
    pub of_one: usize,
    /// Connections of all strangers together.
    pub most: usize,
}

/// The connections of one port: the strangers, within their [`Bounds`], and one connection of each
/// member of the store.
pub struct Callers {
    bounds: Bounds,
    members: BTreeSet<IpAddr>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    next: u64,
    strangers: HashMap<u64, (IpAddr, CancellationToken)>,
    /// The numbers of each address's strangers: the oldest is the first.
    by_address: BTreeMap<IpAddr, BTreeSet<u64>>,
    peers: HashMap<u64, (u64, CancellationToken)>,
}

impl Inner {
    /// Takes a connection off the list of strangers; `None` if it is none.
    fn remove(&mut self, number: u64) -> Option<CancellationToken> {
        let (from, end) = self.strangers.remove(&number)?;
        if let Some(numbers) = self.by_address.get_mut(&from) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_address.remove(&from);
            }
        }
        Some(end)
    }
}

/// One connection; it counts until it is dropped.
pub struct Caller {
    of: Arc<Callers>,
    number: u64,
    /// Cancelled when another connection takes its place.
    pub end: CancellationToken,
}

impl Callers {
    /// Makes an empty table. `members`: the addresses from which members call.
    pub fn new(bounds: Bounds, members: impl IntoIterator<Item = IpAddr>) -> Arc<Callers> {
        Arc::new(Callers { bounds, members: members.into_iter().collect(), inner: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Returns how many strangers there are that are not being closed.
    #[cfg(any(test, feature = "testing"))]
    pub fn strangers(&self) -> usize {
        self.lock().strangers.len()
    }

    /// Returns the stranger that must go for one more connection from this address, if one must.
    fn in_the_way(&self, inner: &Inner, from: IpAddr) -> Option<u64> {
        let own = inner.by_address.get(&from);
        if let Some(numbers) = own.filter(|numbers| numbers.len() >= self.bounds.of_one) {
            return numbers.first().copied();
        }
        if self.members.contains(&from) {
            return None;
        }
        let others = || inner.by_address.iter().filter(|(address, _)| !self.members.contains(*address));
        if others().map(|(_, numbers)| numbers.len()).sum::<usize>() < self.bounds.most {
            return None;
        }
        // Among addresses with as many the one whose oldest connection has waited longest.
        let oldest = |numbers: &BTreeSet<u64>| std::cmp::Reverse(numbers.first().copied());
        let largest = others().max_by_key(|(_, numbers)| (numbers.len(), oldest(numbers)));
        largest.and_then(|(_, numbers)| numbers.first().copied())
    }

    /// Counts one more connection; another one may have to go for it.
    pub fn admit(self: &Arc<Callers>, from: IpAddr) -> Caller {
        let mut inner = self.lock();
        if let Some(end) = self.in_the_way(&inner, from).and_then(|number| inner.remove(number)) {
            tracing::debug!("closed a connection that had shown no certificate: there are too many");
            end.cancel();
        }
        let (number, end) = (inner.next, CancellationToken::new());
        inner.next += 1;
        inner.strangers.insert(number, (from, end.clone()));
        inner.by_address.entry(from).or_default().insert(number);
        Caller { of: self.clone(), number, end }
    }
}

impl Caller {
    /// Records that the caller has shown a certificate. False: it is being closed for another
    /// connection.
    pub fn mark_known(&self) -> bool {
        self.of.lock().remove(self.number).is_some()
    }

    /// Records that the caller has shown a certificate of this member. An older connection of the
    /// member ends.
    pub fn mark_peer(&self, member: u64) {
        let mut inner = self.of.lock();
        if inner.remove(self.number).is_none() {
            return; // it is being closed
        }
        if let Some((_, older)) = inner.peers.insert(member, (self.number, self.end.clone())) {
            older.cancel();
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let mut inner = self.of.lock();
        inner.remove(self.number);
        inner.peers.retain(|_, (number, _)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { of_one: 4, most: 64 };

    fn address(n: usize) -> IpAddr {
        IpAddr::from([10, 244, (n >> 8) as u8, n as u8])
    }

    fn open<'a>(callers: impl IntoIterator<Item = &'a Caller>) -> usize {
        callers.into_iter().filter(|one| !one.end.is_cancelled()).count()
    }

    #[test]
    fn silent_connections_have_a_bound_and_a_flood_closes_no_handshake_of_another_address() {
        let callers = Callers::new(BOUNDS, []);
        let peer = callers.admit(address(1));
        let flood: Vec<Caller> = (0..1000).map(|_| callers.admit(address(2))).collect();
        assert_eq!(open(&flood), BOUNDS.of_one);
        assert!(!peer.end.is_cancelled());
        peer.mark_peer(7);
        // From many addresses as well, and a peer that has said who it is stays.
        let many: Vec<Caller> = (0..1000).map(|n| callers.admit(address(n))).collect();
        assert_eq!(open(many.iter().chain(&flood)), BOUNDS.most);
        assert!(!peer.end.is_cancelled());
        drop((flood, many));
        let inner = callers.lock();
        assert_eq!((inner.strangers.len(), inner.by_address.len(), inner.peers.len()), (0, 0, 1));
        drop(inner); // the peer's own end takes the lock
    }

    /// The oldest of all strangers is a member whose handshake is under way: silent connections
    /// from a thousand addresses do not close it, nor do they keep the next member out.
    #[test]
    fn strangers_from_many_addresses_close_no_handshake_of_a_member() {
        let members = [1, 2, 3].map(|n| IpAddr::from([172, 30, 0, n]));
        let callers = Callers::new(BOUNDS, members);
        let first = callers.admit(members[0]);
        let many: Vec<Caller> = (0..1000).map(|n| callers.admit(address(n))).collect();
        let second = callers.admit(members[1]);
        let more: Vec<Caller> = (0..1000).map(|n| callers.admit(address(n))).collect();
        assert_eq!(open(many.iter().chain(&more)), BOUNDS.most);
        for (member, caller) in (7..).zip([&first, &second]) {
            assert!(!caller.end.is_cancelled(), "member {member}");
            caller.mark_peer(member);
        }
        // What comes from a member's own address is bounded too.
        let own: Vec<Caller> = (0..1000).map(|_| callers.admit(members[2])).collect();
        assert_eq!(open(&own), BOUNDS.of_one);
        assert_eq!(open([&first, &second]), 2);
    }

    #[test]
    fn the_address_with_the_most_strangers_makes_room() {
        let callers = Callers::new(Bounds { of_one: 4, most: 6 }, []);
        let one = callers.admit(address(1));
        let many: Vec<Caller> = (0..4).map(|_| callers.admit(address(2))).collect();
        let others: Vec<Caller> = (3..5).map(|n| callers.admit(address(n))).collect();
        assert_eq!((open([&one]), open(&many), open(&others)), (1, 3, 2));
        assert!(many[0].end.is_cancelled());
        assert!(!many[0].mark_known() && many[1].mark_known(), "what made room is not known afterwards");
    }

    #[test]
    fn a_peer_has_one_connection() {
        let callers = Callers::new(BOUNDS, []);
        let (first, second) = (callers.admit(address(1)), callers.admit(address(1)));
        first.mark_peer(7);
        second.mark_peer(7);
        assert!(first.end.is_cancelled() && !second.end.is_cancelled());
        drop(first);
        assert_eq!(callers.lock().peers.len(), 1, "the end of the older one says nothing of the newer");
        drop(second);
        assert!(callers.lock().peers.is_empty());
    }
}
