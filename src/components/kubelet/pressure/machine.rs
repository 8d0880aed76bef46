//! The memory of the machine, as the nodes share it.

use super::{GONE, Machine, Memory, Meter, Pressure, Signals, TOGETHER, Thresholds};
use parking_lot::MutexGuard;
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Instant;

#[derive(Default)]
pub(super) struct Nodes {
    /// When the resource was found low.
    low_since: Option<Instant>,
    by_name: BTreeMap<String, NodeFigures>,
}

#[derive(Clone, Copy)]
struct NodeFigures {
    looked: Instant,
    measured: Instant,
    /// How much its largest pod has of the resource that is low.
    worst: u64,
}

impl Machine {
    /// Makes a machine whose memory `meter` measures.
    pub fn new(meter: Meter) -> Machine {
        Machine { meter, thresholds: OnceLock::new(), nodes: Default::default() }
    }

    /// Asks for the memory now.
    pub fn memory(&self) -> Option<Memory> {
        (self.meter)()
    }

    /// Returns the thresholds, which are the same for all nodes: from what the first of them found.
    pub(crate) fn thresholds(&self, now: &Signals) -> Thresholds {
        *self.thresholds.get_or_init(|| Thresholds::of(now))
    }

    fn nodes(&self, pressure: Pressure) -> MutexGuard<'_, Nodes> {
        self.nodes[pressure as usize].lock()
    }

    /// Notes that a node found the machine low on something, or not.
    pub(crate) fn looked(&self, pressure: Pressure, node: &str, low: bool, now: Instant) {
        let mut nodes = self.nodes(pressure);
        nodes.low_since = if low { nodes.low_since.or(Some(now)) } else { None };
        let new = NodeFigures { looked: now, measured: now, worst: 0 };
        nodes.by_name.entry(node.into()).or_insert(new).looked = now;
    }

    /// Notes, under pressure, that a node has measured its pods. Returns whether it is the one to
    /// evict its largest: all other nodes that live have measured too, and have none that is
    /// larger.
    pub(crate) fn is_worst(&self, pressure: Pressure, node: &str, worst: u64, now: Instant) -> bool {
        let mut nodes = self.nodes(pressure);
        nodes.by_name.insert(node.into(), NodeFigures { looked: now, measured: now, worst });
        let since = nodes.low_since.unwrap_or(now);
        let late = now.saturating_duration_since(since) >= TOGETHER;
        let mut others = nodes.by_name.iter().filter(|(name, figures)| {
            name.as_str() != node && now.saturating_duration_since(figures.looked) < GONE
        });
        others.all(|(name, other)| {
            let current = other.measured >= since;
            if current { (other.worst, name.as_str()) < (worst, node) } else { late }
        })
    }
}
