//! Histories of Raft alone.

use super::values::Values;
use super::world::{Bug, Tally, Weather, World};
use rng::seeds::{caught_after, sweep};

fn run(seed: u64, members: u64, steps: u64, bug: Option<Bug>) -> (Tally, usize) {
    run_in(seed, Weather { members, steps, removals: false, bug })
}

fn run_in(seed: u64, weather: Weather) -> (Tally, usize) {
    let (tally, values) = World::new(seed, weather, Values::new(seed)).run();
    (tally, values.acked.len())
}

fn storm(test: &str, members: u64, removals: bool, default_seeds: u64) {
    let (mut all, mut acked) = (Tally::default(), 0);
    let add = |(t, acknowledged): (Tally, usize)| {
        acked += acknowledged;
        all += t;
    };
    let weather = Weather { members, steps: 900, removals, bug: None };
    let Some(seeds) = sweep(test, default_seeds, |seed| run_in(seed, weather), add) else { return };
    eprintln!("{members} members, {seeds} seeds: {acked} acknowledged, {all:?}");
    // A sweep in which nothing bad happened proves nothing.
    let seen = [all.terms, acked, all.reads, all.crashes, all.confs];
    assert!(seen.iter().all(|n| *n as u64 > seeds), "the weather was too fair: {all:?}");
    assert!(all.torn > 0 && all.snapshots > 0, "no tail was torn, or no snapshot sent: {all:?}");
    assert!(all.full as u64 > seeds, "there was always room: {all:?}");
    assert_eq!(all.removed as u64 > seeds / 2, removals, "{all:?}");
}

#[test]
fn three_members_in_a_storm() {
    storm("raft::sim::tests::three_members_in_a_storm", 3, false, 30);
}

#[test]
fn five_members_in_a_storm() {
    storm("raft::sim::tests::five_members_in_a_storm", 5, false, 10);
}

#[test]
fn members_are_removed_and_added_again_in_a_storm() {
    storm("raft::sim::tests::members_are_removed_and_added_again_in_a_storm", 4, true, 20);
}

#[test]
fn a_seed_is_a_history() {
    for seed in [3, 14] {
        assert_eq!(run(seed, 3, 600, None), run(seed, 3, 600, None));
    }
    assert_ne!(run(3, 3, 600, None).0.hash, run(4, 3, 600, None).0.hash);
}

#[test]
fn planted_bugs_are_caught() {
    for (bug, most) in
        [(Bug::AckBeforeFsync, 10), (Bug::LostVote, 100), (Bug::AckFullDisk, 100), (Bug::ApplyTwice, 5)]
    {
        let after = caught_after(most, |seed| run(seed, 3, 500, Some(bug)));
        eprintln!("{bug:?} was caught after {after:?} seeds");
        assert!(after.is_some(), "{most} histories with {bug:?} went unnoticed");
    }
}
