//! # The oracle
//! Ropewalk's Raft core and raft-rs live through the same histories: the same members, election
//! timeouts, faults, writes and reads. Both must keep what Raft promises. Where no message is
//! lost, both must also end each round with the same leader, the same term and the same values;
//! where one is, which may change who wins, they are compared by how long they need until they
//! commit again.
//!
//! `raft-oracle [SEEDS [FIRST]]`: prints a line a run that differs, then the figures; exit code 1
//! if anything is not as it must be.

mod ours;
mod run;
mod subject;
mod theirs;

use ours::Ours;
use run::{Faults, Run};
use theirs::Theirs;

const ROUNDS: u64 = 12;
/// Recovery may be this much slower than the oracle's, summed over all runs.
const SLACK: f64 = 1.05;

fn main() {
    let number = |n| std::env::args().nth(n).and_then(|a| a.parse::<u64>().ok());
    let (seeds, first) = (number(1).unwrap_or(200), number(2).unwrap_or(1));
    let mut differ = 0;
    for (members, faults) in [3, 5].into_iter().flat_map(|n| [(n, Faults::Lossless), (n, Faults::Lossy)]) {
        let (mut own, mut other, mut acknowledged, mut reads, mut terms) = (0, 0, 0, 0, 0);
        for seed in first..first + seeds {
            let ours = Run::<Ours>::new(seed, members, faults).run(ROUNDS);
            let theirs = Run::<Theirs>::new(seed, members, faults).run(ROUNDS);
            if faults == Faults::Lossless && ours.rounds != theirs.rounds {
                differ += 1;
                let round =
                    ours.rounds.iter().zip(&theirs.rounds).position(|(a, b)| a != b).unwrap_or_default();
                let (a, b) = (&ours.rounds[round], &theirs.rounds[round]);
                println!(
                    "seed {seed}, {members} members, round {round}: we have leader {} in term {} with {} values, they {} in {} with {}",
                    a.0,
                    a.1,
                    a.2.len(),
                    b.0,
                    b.1,
                    b.2.len()
                );
            }
            own += ours.recovery.iter().sum::<u64>();
            other += theirs.recovery.iter().sum::<u64>();
            acknowledged += ours.acknowledged;
            reads += ours.reads;
            terms += ours.terms;
        }
        let ratio = own as f64 / other.max(1) as f64;
        println!(
            "{members} members, {faults:?}, {seeds} runs of {ROUNDS} rounds: {terms} terms, {acknowledged} writes, {reads} reads; ticks until the next commit {own}, raft-rs {other}, ratio {ratio:.3}"
        );
        if ratio > SLACK {
            println!("slower than the oracle");
            differ += 1;
        }
        if acknowledged == 0 || reads == 0 {
            println!("nothing happened");
            differ += 1;
        }
    }
    std::process::exit(i32::from(differ > 0));
}
