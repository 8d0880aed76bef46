//! Histories of the whole store.

use super::linear::Action;
use super::{Ask, Etcd};
use crate::api::Error;
use crate::waiting::Waiting;
use raft::sim::guest::Guest;
use raft::sim::world::{Bug, Tally, Weather, World};
use rng::seeds::{caught_after, sweep};

/// What clients lived through.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    reads: usize,
    writes: usize,
    unknown: usize,
    no_space: usize,
    watches: usize,
    history: usize,
    /// Leases that ended by themselves, renewals, revocations that a renewal outran, and leases
    /// whose remaining time was answered.
    expired: usize,
    renewed: usize,
    outlived: usize,
    answered: usize,
}

fn run(seed: u64, members: u64, steps: u64, bug: Option<Bug>) -> (Tally, Seen) {
    let (tally, etcd) =
        World::new(seed, Weather { members, steps, removals: false, bug }, Etcd::new(seed, bug)).run();
    let Etcd { clients, watching, leases, .. } = etcd;
    let seen = Seen {
        reads: clients.reads,
        writes: clients.writes,
        unknown: clients.unknown,
        no_space: clients.no_space,
        watches: watching.iter().map(|w| w.restarts).sum(),
        history: clients.records.len(),
        expired: leases.expired(),
        renewed: leases.renewed,
        outlived: leases.outlived,
        answered: leases.answered,
    };
    (tally, seen)
}

fn storm(test: &str, members: u64, default_seeds: u64) {
    let (mut all, mut seen) = (Tally::default(), Seen::default());
    let add = |(t, s): (Tally, Seen)| {
        all += t;
        seen.reads += s.reads;
        seen.writes += s.writes;
        seen.unknown += s.unknown;
        seen.no_space += s.no_space;
        seen.watches += s.watches;
        seen.history += s.history;
        seen.expired += s.expired;
        seen.renewed += s.renewed;
        seen.outlived += s.outlived;
        seen.answered += s.answered;
    };
    let Some(seeds) = sweep(test, default_seeds, |seed| run(seed, members, 260, None), add) else { return };
    eprintln!("{members} members, {seeds} seeds: {seen:?}, {all:?}");
    // A sweep in which nothing bad happened proves nothing.
    assert!([seen.reads, seen.writes].iter().all(|n| *n as u64 > 10 * seeds), "hardly any clients: {seen:?}");
    assert!([seen.unknown, seen.watches, all.crashes].iter().all(|n| *n as u64 > seeds / 2), "fair weather");
    assert!(all.torn > 0 && all.snapshots > 0 && all.confs > 0, "fair weather: {all:?}");
    assert!(
        [seen.expired, seen.renewed].iter().all(|n| *n as u64 > seeds / 2),
        "hardly any leases: {seen:?}"
    );
    assert!(seen.outlived > 0 && seen.answered > 0, "no lease was in danger: {seen:?}");
    assert!(all.full > 0 && seen.no_space > 0, "there was always room: {seen:?}, {all:?}");
}

#[test]
fn clients_of_three_members_in_a_storm() {
    storm("etcd::sim::tests::clients_of_three_members_in_a_storm", 3, 1800);
}

#[test]
fn clients_of_five_members_in_a_storm() {
    storm("etcd::sim::tests::clients_of_five_members_in_a_storm", 5, 200);
}

#[test]
fn a_write_without_room_happened_perhaps_if_the_log_failed_for_good() {
    let refused_after = |end: fn(&Waiting)| {
        let mut etcd = Etcd::new(1, None);
        let _machine = etcd.starts(1, 1); // it ends the callers when it goes
        let _clock = etcd.runtime.enter();
        let is_asked =
            |etcd: &Etcd| etcd.up[&1].inbox.asks.lock().iter().any(|a| matches!(a, Ask::Propose { .. }));
        for now in 0..1000 {
            etcd.clients.act(now, false, &etcd.up, &mut etcd.leases);
            if is_asked(&etcd) {
                end(&etcd.up[&1].waiting);
                etcd.clients.act(now, true, &etcd.up, &mut etcd.leases);
                break;
            }
        }
        assert!(etcd.clients.no_space > 0);
        let writes = etcd.clients.records.iter().filter(|r| !matches!(r.action, Action::Read { .. }));
        writes.map(|r| r.refused).collect::<Vec<bool>>()
    };
    let full = refused_after(|member| {
        member.pause(Some(Error::NoSpace));
        (1..100).for_each(|id| member.overload(id));
    });
    let failed = refused_after(|member| member.fail(Error::NoSpace));
    assert!(!full.is_empty() && full.len() == failed.len());
    assert!(full.iter().all(|refused| *refused) && failed.iter().all(|refused| !refused));
}

#[test]
fn a_seed_is_a_history() {
    for seed in [1, 8] {
        assert_eq!(run(seed, 3, 200, None), run(seed, 3, 200, None));
    }
    assert_ne!(run(1, 3, 200, None).0.hash, run(2, 3, 200, None).0.hash);
}

#[test]
fn planted_bugs_are_caught() {
    let bugs = [
        (Bug::AckBeforeFsync, 20),
        (Bug::LostVote, 100),
        (Bug::ApplyTwice, 5),
        (Bug::StaleRead, 10),
        (Bug::ExpiredLeader, 200),
        (Bug::AckFullDisk, 100),
        (Bug::RefusedUnderWay, 100),
        (Bug::HastyLease, 20),
        (Bug::RevokedRenewed, 400),
        (Bug::OwnClock, 400),
    ];
    for (bug, most) in bugs {
        // It takes a follower that was cut off from the log while its leader was renewing: one
        // history in a thousand or so.
        let first = if bug == Bug::OwnClock { 1500 } else { 0 };
        let after = caught_after(most, |seed| run(first + seed, 3, 260, Some(bug)));
        eprintln!("{bug:?} was caught after {after:?} seeds");
        assert!(after.is_some(), "{most} histories with {bug:?} went unnoticed");
    }
}
