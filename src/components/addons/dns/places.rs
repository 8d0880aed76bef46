//! Places for connections and for questions that are asked outside, with a bound for all addresses
//! and one for each.

use parking_lot::{Mutex, MutexGuard};
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The places that are taken, by address: of connections, or of questions that are asked outside.
/// Where all are taken, the address with the most gives its oldest to one that would have fewer
/// with it: many pods together keep no other out.
pub(super) struct Places {
    held: Mutex<Taken>,
    /// Places of all addresses, and of one.
    most: usize,
    of_one: usize,
}

#[derive(Default)]
struct Taken {
    next: u64,
    /// By their numbers: the oldest is the first.
    by_address: HashMap<IpAddr, BTreeMap<u64, CancellationToken>>,
}

/// A place that is taken; dropping it frees the place.
pub(super) struct Place {
    of: Arc<Places>,
    from: IpAddr,
    number: u64,
    /// Cancelled when another address gets the place.
    pub(super) end: CancellationToken,
}

impl Places {
    pub(super) fn new(most: usize, of_one: usize) -> Places {
        Places { held: Mutex::default(), most, of_one }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.held.lock()
    }
}

impl Taken {
    fn len_of(&self, address: IpAddr) -> usize {
        self.by_address.get(&address).map_or(0, BTreeMap::len)
    }

    /// Takes the oldest place of the address that has the most, if this one has fewer even with one
    /// more.
    fn make_room(&mut self, from: IpAddr) -> bool {
        let has = self.len_of(from);
        let largest = self.by_address.values_mut().max_by_key(|places| places.len());
        let largest = largest.filter(|places| places.len() > has + 1);
        let Some((_, end)) = largest.and_then(BTreeMap::pop_first) else { return false };
        end.cancel();
        true
    }
}

impl Place {
    /// `None`: there are too many, in all or from this address.
    pub(super) fn begin(of: &Arc<Places>, from: IpAddr) -> Option<Place> {
        let mut held = of.lock();
        if held.len_of(from) >= of.of_one {
            return None;
        }
        let all: usize = held.by_address.values().map(BTreeMap::len).sum();
        if all >= of.most && !held.make_room(from) {
            return None;
        }
        let (number, end) = (held.next, CancellationToken::new());
        held.next += 1;
        held.by_address.entry(from).or_default().insert(number, end.clone());
        Some(Place { of: of.clone(), from, number, end })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.of.lock();
        if let Some(places) = held.by_address.get_mut(&self.from) {
            places.remove(&self.number);
            if places.is_empty() {
                held.by_address.remove(&self.from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 256;
    const OF_ONE: usize = 32;

    #[test]
    fn one_pod_does_not_take_all_connections() {
        let clients = Arc::new(Places::new(MOST, OF_ONE));
        let pod = |n: u8| IpAddr::from([10, 244, 1, n]);
        let mut held: Vec<Place> = (0..1000).map_while(|_| Place::begin(&clients, pod(2))).collect();
        assert_eq!(held.len(), OF_ONE);
        for n in 3..100 {
            held.extend((0..1000).map_while(|_| Place::begin(&clients, pod(n))));
        }
        let open = |held: &[Place]| held.iter().filter(|one| !one.end.is_cancelled()).count();
        assert_eq!(open(&held), MOST);
        // Eight pods and more have taken all: one that comes late has its place, and then has as
        // many as the others.
        let late: Vec<Place> = (0..1000).map_while(|_| Place::begin(&clients, pod(200))).collect();
        assert_eq!((late.is_empty(), open(&late), open(&held) + late.len()), (false, late.len(), MOST));
        drop((held, late));
        assert!(clients.lock().by_address.is_empty());
    }

    #[test]
    fn addresses_with_as_many_do_not_take_places_from_each_other() {
        let clients = Arc::new(Places::new(4, 4));
        let pod = |n: u8| IpAddr::from([10, 244, 1, n]);
        let held: Vec<Place> = (0..4).map_while(|_| Place::begin(&clients, pod(1))).collect();
        let two: Vec<Place> = (0..4).map_while(|_| Place::begin(&clients, pod(2))).collect();
        let ended: Vec<bool> = held.iter().map(|one| one.end.is_cancelled()).collect();
        assert_eq!((two.len(), ended), (2, vec![true, true, false, false]), "the oldest of the largest");
        assert!(Place::begin(&clients, pod(1)).is_none() && two.iter().all(|one| !one.end.is_cancelled()));
    }
}
