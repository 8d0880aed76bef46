//! Histories of the controllers.

use super::{Bug, Mistake, run};
use client::simulated::Tally;
use rng::seeds::{caught_after, sweep};

#[test]
fn workloads_become_what_they_should_be_whatever_happens() {
    let test = "controllers::sim::tests::workloads_become_what_they_should_be_whatever_happens";
    let mut all = Tally::default();
    let Some(seeds) = sweep(test, 20, |seed| run(seed, None), |(tally, _)| all += tally) else { return };
    eprintln!("{seeds} seeds: {all:?}");
    // A sweep in which nothing bad happened proves nothing.
    let seen = [all.conflicts, all.refused, all.lost, all.cut, all.expired, all.killed];
    assert!(seen.iter().all(|n| *n > seeds / 4), "the weather was too fair: {all:?}");
}

#[test]
fn a_seed_is_a_history() {
    for seed in [3, 14] {
        assert_eq!(run(seed, None), run(seed, None));
    }
    assert_ne!(run(3, None).1, run(4, None).1);
}

/// A look at a history may miss a bug; so many of them may not.
const ENOUGH: u64 = 50;

#[test]
fn planted_bugs_are_caught() {
    let bugs = [
        Bug::Client(Mistake::LostUpdate),
        Bug::Client(Mistake::SwallowedConflict),
        Bug::Client(Mistake::SwallowedFailure),
        Bug::Client(Mistake::MissedDeletion),
        Bug::Client(Mistake::SkippedEvents),
        Bug::Impatience,
    ];
    let unnoticed: Vec<Bug> = bugs
        .into_iter()
        .filter(|bug| {
            let after = caught_after(ENOUGH, |seed| run(seed, Some(*bug)));
            eprintln!("{bug:?} was caught after {after:?} seeds");
            after.is_none()
        })
        .collect();
    assert!(unnoticed.is_empty(), "{ENOUGH} histories went unnoticed with each of {unnoticed:?}");
}
