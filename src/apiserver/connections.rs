//! The connections of a listener: how many each source may have, and which one makes room for another.
//!
//! A connection is a stranger until somebody has shown on it who they are, by a certificate or by a token. Strangers cost the
//! server as much as others, and anybody who reaches the port can make them: a flood of silent connections would keep the
//! learner's own client waiting until each of them times out. So the oldest stranger is closed where a new connection needs
//! its place; who is known keeps theirs.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// Sources whose connections showed who they are, by address and port. All listeners of a server share it.
pub type Known = Arc<Mutex<HashSet<SocketAddr>>>;

pub struct Connections {
    /// Of all sources. One source has three fourths of them at most, and half of them before it says who it is.
    most: usize,
    known: Known,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    next: u64,
    sources: HashMap<IpAddr, Source>,
    /// Of all strangers, by their numbers: the oldest is the first.
    strangers: BTreeMap<u64, (IpAddr, CancellationToken)>,
    /// Connections, those that are just being closed not among them.
    open: usize,
}

#[derive(Default)]
struct Source {
    open: usize,
    strangers: BTreeSet<u64>,
}

impl Inner {
    fn left(&mut self, source: IpAddr, number: u64) {
        self.open -= 1;
        if let Some(of) = self.sources.get_mut(&source) {
            of.open -= 1;
            of.strangers.remove(&number);
            if of.open == 0 {
                self.sources.remove(&source);
            }
        }
    }

    /// Closes a stranger: it counts no longer. False if it is none.
    fn close(&mut self, number: Option<u64>) -> bool {
        let Some(number) = number else { return false };
        let Some((source, end)) = self.strangers.remove(&number) else { return false };
        self.left(source, number);
        tracing::debug!(%source, "closed the oldest connection that had not said who it is");
        end.cancel();
        true
    }
}

/// A connection that counts until it is dropped.
pub struct Counted {
    of: Arc<Connections>,
    from: SocketAddr,
    number: u64,
    /// Cancelled when another connection needs the place.
    pub end: CancellationToken,
}

impl Connections {
    pub fn new(most: usize, known: Known) -> Arc<Connections> {
        Arc::new(Connections { most, known, inner: Mutex::default() })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if one more connection could be admitted, if need be in the place of a stranger.
    pub fn has_room(&self) -> bool {
        let inner = self.lock();
        inner.open < self.most || !inner.strangers.is_empty()
    }

    /// Counts one more connection. `None`: its source has as many as it may, and all of them are known.
    pub fn admit(self: &Arc<Connections>, from: SocketAddr) -> Option<Counted> {
        let mut inner = self.lock();
        let source = from.ip();
        let (open, oldest, strangers) = match inner.sources.get(&source) {
            Some(of) => (of.open, of.strangers.first().copied(), of.strangers.len()),
            None => (0, None, 0),
        };
        let is_over = open >= self.most - self.most / 4 || strangers >= self.most.div_ceil(2);
        if is_over && !inner.close(oldest) {
            return None;
        }
        if inner.open >= self.most {
            let oldest = inner.strangers.keys().next().copied();
            if !inner.close(oldest) {
                return None;
            }
        }
        let (number, end) = (inner.next, CancellationToken::new());
        inner.next += 1;
        inner.open += 1;
        inner.strangers.insert(number, (source, end.clone()));
        let of = inner.sources.entry(source).or_default();
        of.open += 1;
        of.strangers.insert(number);
        Some(Counted { of: self.clone(), from, number, end })
    }
}

impl Counted {
    /// Somebody has shown on this connection who they are.
    pub fn mark_known(&self) {
        let mut inner = self.of.lock();
        if inner.strangers.remove(&self.number).is_some() {
            if let Some(of) = inner.sources.get_mut(&self.from.ip()) {
                of.strangers.remove(&self.number);
            }
            self.of.known.lock().unwrap_or_else(PoisonError::into_inner).insert(self.from);
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut inner = self.of.lock();
        let was_stranger = inner.strangers.remove(&self.number).is_some();
        if was_stranger || !self.end.is_cancelled() {
            inner.left(self.from.ip(), self.number);
        }
        drop(inner);
        self.of.known.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    #[test]
    fn the_oldest_stranger_of_a_source_makes_room() {
        let all = Connections::new(8, Known::default());
        let from = |port: u16| SocketAddr::from(([10, 244, 1, 2], port));
        let held: Vec<Counted> = (0..4).map(|port| all.admit(from(port)).unwrap()).collect();
        assert!(held.iter().all(|c| !c.end.is_cancelled()));
        let fifth = all.admit(from(4)).unwrap();
        assert!(held[0].end.is_cancelled() && !held[1].end.is_cancelled() && !fifth.end.is_cancelled());
        // Who is known stays, however many come after.
        held[1].mark_known();
        let more: Vec<Counted> = (5..20).map(|port| all.admit(from(port)).unwrap()).collect();
        assert!(!held[1].end.is_cancelled() && held[2].end.is_cancelled());
        assert_eq!(more.iter().filter(|c| !c.end.is_cancelled()).count(), 4);
        drop((held, fifth, more));
        let inner = all.lock();
        assert!(inner.open == 0 && inner.sources.is_empty() && inner.strangers.is_empty());
        assert!(all.known.lock().unwrap().is_empty());
    }

    #[test]
    fn no_source_takes_all_connections() {
        let all = Connections::new(8, Known::default());
        let held: Vec<Counted> = (0..6)
            .map(|port| {
                let one = all.admit(SocketAddr::from(([10, 244, 1, 2], port))).unwrap();
                one.mark_known();
                one
            })
            .collect();
        assert!(all.admit(at("10.244.1.2:99")).is_none());
        let other = all.admit(at("172.30.0.1:1")).unwrap();
        other.mark_known();
        let last = all.admit(at("172.30.0.2:1")).unwrap();
        assert!(all.has_room() && !last.end.is_cancelled());
        let instead = all.admit(at("172.30.0.3:1")).unwrap();
        instead.mark_known();
        assert!(last.end.is_cancelled() && !all.has_room() && all.admit(at("172.30.0.4:1")).is_none());
        drop(held);
        assert!(all.admit(at("10.244.1.2:99")).is_some());
    }
}
