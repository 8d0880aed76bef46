//! Seeds. A failure names its seed; that seed is the test that shows the bug again.

use super::world::{Tally, Weather, World};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn run(seed: u64, members: u64, steps: u64, lie: bool) -> Tally {
    World::new(seed, Weather { members, steps, lie }).run()
}

fn sweep(members: u64, default_seeds: u64, steps: u64) {
    if let Some(seed) = number("ROPEWALK_SIM_SEED") {
        eprintln!("{:?}", run(seed, members, steps, false));
        return;
    }
    let seeds = number("ROPEWALK_SIM_SEEDS").unwrap_or(default_seeds);
    let mut all = Tally::default();
    for seed in 0..seeds {
        let t = std::panic::catch_unwind(|| run(seed, members, steps, false)).unwrap_or_else(|_| {
            panic!("again with: ROPEWALK_SIM_SEED={seed} cargo test raft::sim ({members} members)")
        });
        assert!(t.commits > 20, "seed {seed}: hardly anything was committed: {t:?}");
        all.terms += t.terms;
        all.commits += t.commits;
        all.acked += t.acked;
        all.reads += t.reads;
        all.crashes += t.crashes;
        all.torn += t.torn;
        all.confs += t.confs;
        all.snapshots += t.snapshots;
    }
    eprintln!("{members} members, {seeds} seeds: {all:?}");
    // A sweep in which nothing bad happened proves nothing.
    let seen = [all.terms, all.acked, all.reads, all.crashes, all.confs];
    assert!(seen.iter().all(|n| *n as u64 > seeds), "the weather was too fair: {all:?}");
    assert!(all.torn > 0 && all.snapshots > 0, "no tail was torn, or no snapshot sent: {all:?}");
}

#[test]
fn three_members_in_a_storm() {
    sweep(3, 30, 900);
}

#[test]
fn five_members_in_a_storm() {
    sweep(5, 10, 900);
}

#[test]
fn a_seed_is_a_history() {
    for seed in [3, 14] {
        assert_eq!(run(seed, 3, 600, false), run(seed, 3, 600, false));
    }
    assert_ne!(run(3, 3, 600, false).hash, run(4, 3, 600, false).hash);
}

#[test]
fn promising_before_the_disk_has_it_is_caught() {
    // the panics are wanted: each is an assertion of the world that noticed
    let caught = (0..20).filter(|seed| std::panic::catch_unwind(|| run(*seed, 3, 500, true)).is_err());
    assert_eq!(caught.take(2).count(), 2, "20 lying runs went unnoticed");
}
