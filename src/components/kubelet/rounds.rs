//! When the machine is asked, when the trees of pods are walked, and when a pod is evicted. Pure;
//! `pods::eviction_manager` does what is decided here.
//!
//! The machine is asked by itself, ten times a second when little room is left, also while trees
//! are walked: a hostile tree may take its time. Trees are walked one after another; a walk of all
//! pods of a node is a *round*. For memory there is nothing to walk: what pods have of it is read
//! at that moment, so a pod is evicted at the first look that finds it low.
//!
//! ```text
//! ask ask ask ask ask ask      MemoryPressure or DiskPressure: set at the first that finds it low
//! evict                        memory: at once
//! [------ round -----] evict   disk: normally a pod is evicted when a round is over
//!          [evict]             the round lasts longer than OVERDUE: with what is known by then
//! ```

use super::pressure::{self, Low, Pressure, Signals, Thresholds};
use std::time::{Duration, Instant};

/// Trees are walked this often although nothing was written: what others remove hides what a pod
/// writes.
const EVERY: Duration = Duration::from_secs(60);
/// Under pressure the next round comes after this time at least, because what was evicted has to go
/// first, and at most.
const UNDER_PRESSURE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(5));
/// Under pressure of the machine's disk a round that lasts longer is not waited for.
const OVERDUE: Duration = Duration::from_secs(2);

/// The result of a walk of all pods of a node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub begun: Instant,
    pub ended: Instant,
    /// Bytes that the disk had free when it began.
    pub free: u64,
    /// Bytes that the node uses.
    pub used: u64,
}

/// The decision after the machine was asked.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Everything that is low, memory first.
    pub low: Vec<Low>,
    /// Begin a round.
    pub walk: bool,
    /// Evict the worst pod, if this node has it.
    pub evict: Option<Low>,
    /// Ask the machine again after this time.
    pub pause: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Rounds {
    last: Option<Round>,
    going: bool,
    /// The last round was not used for a decision yet.
    fresh: bool,
    /// Since when the disk is low and no pod is being evicted.
    waits_since: Option<Instant>,
    /// When a pod was seen last that is being evicted. Rounds from before count what it has, so
    /// nothing is decided by them.
    evicted: Option<Instant>,
}

impl Rounds {
    /// Decides what to do after the machine was asked. `evicting`: a pod is being evicted.
    pub(crate) fn look(
        &mut self,
        free: &Signals,
        thresholds: Thresholds,
        evicting: bool,
        now: Instant,
    ) -> Plan {
        let low = pressure::low(free, thresholds, self.last.map_or(0, |last| last.used));
        let of = |pressure: Pressure| low.iter().find(|low| low.resource.pressure() == pressure).cloned();
        let (memory, disk) = (of(Pressure::Memory), of(Pressure::Disk));
        let fresh = std::mem::take(&mut self.fresh);
        let of_disk = disk.clone().filter(|low| {
            let since = *self.waits_since.get_or_insert(now);
            let overdue = low.shared && now.saturating_duration_since(since) >= OVERDUE;
            fresh || overdue
        });
        let evict = memory.or(of_disk).filter(|_| !evicting);
        if disk.is_none() {
            self.waits_since = None;
        }
        if evicting || evict.is_some() {
            self.waits_since = disk.as_ref().map(|_| now);
            self.evicted = Some(now);
        }
        let walk = !self.going && evict.is_none() && self.is_due(free, thresholds, disk.is_some(), now);
        self.going |= walk;
        Plan { low, walk, evict, pause: pressure::pause(free, thresholds, self.upper_bound(free)) }
    }

    /// Notes that a round is over.
    pub(crate) fn walked(&mut self, round: Round) {
        let fresh = self.evicted.is_none_or(|evicted| round.begun > evicted);
        (self.last, self.going, self.fresh) = (Some(round), false, fresh);
    }

    /// Returns whether the disk is low, or the node may use more than its share since the last
    /// round, or that was long ago. While there is room, walks take no more than a third of the
    /// time.
    fn is_due(&self, free: &Signals, thresholds: Thresholds, low: bool, now: Instant) -> bool {
        let Some(last) = &self.last else { return true };
        let of_disk = |low: &Low| low.resource.pressure() == Pressure::Disk;
        let mut rest = last.ended.saturating_duration_since(last.begun) * 2;
        if low {
            rest = rest.clamp(UNDER_PRESSURE.0, UNDER_PRESSURE.1);
        }
        let wanted = low
            || now.saturating_duration_since(last.begun) >= EVERY
            || pressure::low(free, thresholds, self.upper_bound(free)).iter().any(of_disk);
        wanted && now.saturating_duration_since(last.ended) >= rest
    }

    /// Returns what the node uses at most: all that the disk has less is its own.
    fn upper_bound(&self, free: &Signals) -> u64 {
        let bound = |last: Round| last.used.saturating_add(last.free.saturating_sub(free.disk.now.bytes));
        self.last.map_or(0, bound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pressure::Resource;
    use crate::pressure::tests::{disk as signals, memory};

    const GIB: u64 = 1 << 30;

    fn disk(free: u64) -> Signals {
        signals(500 * GIB, free)
    }

    /// Rounds of a node after one that took `took` and found `used` bytes, on a disk with 100 GiB
    /// free; and when it ended.
    fn after(took: Duration, used: u64) -> (Rounds, Thresholds, Instant) {
        let (mut rounds, start, free) = (Rounds::default(), Instant::now(), disk(100 * GIB));
        let thresholds = Thresholds::of(&free);
        let plan = rounds.look(&free, thresholds, false, start);
        assert!(plan.walk && plan.low.is_empty() && plan.evict.is_none());
        let ended = start + took;
        rounds.walked(Round { begun: start, ended, free: 100 * GIB, used });
        (rounds, thresholds, ended)
    }

    #[test]
    fn the_disk_is_asked_while_a_round_goes_on_and_one_that_takes_long_is_not_waited_for() {
        let (mut rounds, thresholds, now) = after(Duration::from_millis(10), 0);
        let at = |millis: u64| now + Duration::from_millis(millis);
        assert!(rounds.look(&disk(100 * GIB), thresholds, false, at(0)).evict.is_none());
        // The disk is low: a round begins, and the disk is asked ten times a second meanwhile.
        let first = rounds.look(&disk(GIB / 2), thresholds, false, at(1000));
        assert!(first.walk && !first.low.is_empty() && first.evict.is_none());
        let mut evicted = vec![];
        for millis in (1100..6000).step_by(100) {
            let plan = rounds.look(&disk(GIB / 2), thresholds, false, at(millis));
            assert!(!plan.walk, "one round at a time");
            assert!(!plan.low.is_empty() && plan.pause <= Duration::from_millis(100), "{plan:?}");
            evicted.extend(plan.evict.map(|_| millis));
        }
        assert_eq!(evicted, [3000, 5000]);
        // It counted what the evicted pods had: the next one decides, once.
        rounds.walked(Round { begun: at(1000), ended: at(6000), free: GIB / 2, used: GIB });
        assert!(rounds.look(&disk(GIB / 2), thresholds, true, at(6001)).evict.is_none());
        assert!(rounds.look(&disk(GIB / 2), thresholds, true, at(16_000)).walk);
        rounds.walked(Round { begun: at(16_001), ended: at(16_002), free: GIB / 2, used: GIB });
        assert!(rounds.look(&disk(GIB / 2), thresholds, false, at(16_003)).evict.is_some());
        assert!(rounds.look(&disk(GIB / 2), thresholds, false, at(16_004)).evict.is_none());
        let over = rounds.look(&disk(100 * GIB), thresholds, false, at(16_005));
        assert!(over.low.is_empty() && over.evict.is_none());
    }

    #[test]
    fn a_nodes_share_is_judged_by_whole_rounds_only() {
        let (mut rounds, thresholds, now) = after(Duration::from_millis(300), 10 * GIB);
        let free = disk(100 * GIB);
        let at = |millis: u64| now + Duration::from_millis(millis);
        assert!(rounds.look(&free, thresholds, false, at(0)).evict.is_some_and(|low| !low.shared));
        assert!(!rounds.look(&free, thresholds, false, at(550)).walk, "a third of the time at most");
        assert!(rounds.look(&free, thresholds, false, at(600)).walk);
        let late = rounds.look(&free, thresholds, false, at(60_000));
        assert!(late.evict.is_none() && !late.low.is_empty(), "what it used then says nothing about now");
        rounds.walked(Round { begun: at(600), ended: at(60_001), free: 100 * GIB, used: GIB });
        assert!(rounds.look(&free, thresholds, false, at(60_002)).low.is_empty());
    }

    #[test]
    fn trees_are_walked_when_the_share_may_be_used_up_and_now_and_then() {
        let (mut rounds, thresholds, now) = after(Duration::from_millis(10), 2 * GIB);
        let at = |seconds: u64| now + Duration::from_secs(seconds);
        assert!(!rounds.look(&disk(94 * GIB), thresholds, false, at(1)).walk, "8 of 9 GiB at most");
        assert!(rounds.look(&disk(92 * GIB), thresholds, false, at(2)).walk);
        let (mut rounds, thresholds, now) = after(Duration::from_millis(10), 0);
        assert!(!rounds.look(&disk(100 * GIB), thresholds, false, now + EVERY / 2).walk);
        assert!(rounds.look(&disk(100 * GIB), thresholds, false, now + EVERY).walk);
    }

    #[test]
    fn memory_is_judged_at_every_look_and_one_pod_goes_at_a_time() {
        let (mut rounds, _, now) = after(Duration::from_millis(10), 0);
        let (plenty, little) = (memory(8 * GIB, GIB, 6 * GIB), memory(8 * GIB, 8 * GIB, 6 * GIB));
        let thresholds = Thresholds::of(&plenty);
        let at = |millis: u64| now + Duration::from_millis(millis);
        assert!(rounds.look(&plenty, thresholds, false, at(0)).low.is_empty());
        let first = rounds.look(&little, thresholds, false, at(100));
        assert_eq!(first.evict.map(|low| low.resource), Some(Resource::Memory));
        assert!(!first.walk, "trees say nothing about memory");
        let next = rounds.look(&little, thresholds, true, at(200));
        assert!(next.evict.is_none() && next.low.len() == 1 && next.pause <= Duration::from_millis(100));
        assert!(rounds.look(&little, thresholds, false, at(300)).evict.is_some(), "that was not enough");
        assert!(rounds.look(&plenty, thresholds, false, at(400)).evict.is_none());
    }
}
