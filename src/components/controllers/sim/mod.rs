//! The controllers in a simulated world: a user who creates, changes and deletes workloads, nodes
//! that run pods ([`nodes`]), and between the controllers and the API server the faults of
//! [`simulated::Door`]. The controllers are killed while they write, and start again with empty
//! caches. Afterwards the faults end, and within half an hour everything must be as it is wanted
//! ([`checks`]), with nothing left over. `ROPEWALK_SEEDS=100000 cargo test --profile sim -p
//! controllers --lib sim::` runs more histories, `ROPEWALK_SEEDS=1 ROPEWALK_SEED_FROM=45` one
//! again.

mod checks;
mod nodes;
mod tests;
mod user;

use crate::shared::{Config, Controller, Shared};
use crate::{daemonset, deployment, expectations, garbage, job, replicaset, statefulset};
use client::simulated::{Bug as Mistake, Door, Faults, Store, Tally};
use client::spin;
use rng::Rng;
use std::time::Duration;
use task::Crew;

/// A bug that is planted to see whether the checks find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Of the client that the controllers use.
    Client(Mistake),
    /// Controllers count before they have seen what they wrote.
    Impatience,
}

/// After the last fault everything must be as it is wanted within this time: longer than a watch
/// lasts and an expectation is waited for.
const PATIENCE: Duration = Duration::from_secs(1800);
/// Nothing was written for so long: it stays as it is.
const QUIET: Duration = Duration::from_secs(20);

/// Runs one history.
///
/// # Panics
/// If something is wrong at its end.
pub(crate) fn run(seed: u64, bug: Option<Bug>) -> (Tally, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without sockets");
    expectations::IMPATIENT.set(bug == Some(Bug::Impatience));
    spin::find();
    let done = runtime.block_on(history(seed, bug));
    expectations::IMPATIENT.set(false);
    done
}

/// Draws the faults of a history. In about every fourth nothing fails, and everything is only late:
/// then the second is true, and even a passing surplus is a fault.
fn weather(rng: &Rng) -> (Faults, bool) {
    let some = |most: f64| most * rng.range(0, 100) as f64 / 100.0;
    if rng.chance(0.25) {
        return (Faults { slow: some(0.5), lag: some(0.8), ..Faults::default() }, true);
    }
    let faults = Faults {
        slow: some(0.4),
        refused: some(0.15),
        lost: some(0.1),
        lag: some(0.5),
        cut: some(0.1),
        expired: some(0.5),
        killed: some(0.1),
    };
    (faults, false)
}

async fn history(seed: u64, bug: Option<Bug>) -> (Tally, u64) {
    clock::pin("2026-01-02T03:04:05Z".parse().expect("a time"));
    let rng = Rng::seeded(seed);
    let store = Store::new(rng.fork("store"));
    let (faults, only_late) = weather(&rng.fork("weather"));
    let mistake = match bug {
        Some(Bug::Client(mistake)) => Some(mistake),
        _ => None,
    };
    let door = Door::new(&store, &rng.fork("door"), faults, mistake);
    let nodes = nodes::Nodes::new(&store, &rng.fork("nodes"));
    let (restarts, names) = (rng.fork("restarts"), rng.fork("controllers"));
    let script = async {
        let mut user = user::User::new(&store, rng.fork("user"));
        user.act().await;
        door.calm();
        nodes.calm();
        settle(seed, &store, &door, only_late).await;
    };
    let lives = async {
        loop {
            let crew = Crew::new("controllers");
            start(&crew, &door, &names);
            tokio::select! {
                biased;
                () = door.killed() => {}
                end = crew.wait() => panic!("seed {seed}: the controllers ended: {end:?}"),
            }
            crew.kill();
            clock::sleep(Duration::from_millis(restarts.range(1, 5000))).await;
        }
    };
    tokio::select! {
        biased;
        () = script => {}
        () = nodes.run() => {}
        () = lives => {}
    }
    (door.tally(), store.hash())
}

/// The controllers that run here.
const CONTROLLERS: &[Controller] = &[
    replicaset::CONTROLLER,
    deployment::CONTROLLER,
    daemonset::CONTROLLER,
    job::CONTROLLER,
    statefulset::CONTROLLER,
    garbage::CONTROLLER,
];

/// Starts the controllers of workloads, as the controller manager does once it leads.
fn start(crew: &Crew, door: &Door, rng: &Rng) {
    let config = Config { rng: rng.clone(), ..Config::fixed(&door.client()) };
    let shared = Shared::new(crew, &config, CONTROLLERS);
    crew.spawn_main(async move {
        shared.synced().await;
        CONTROLLERS.iter().for_each(|controller| (controller.start)(&shared));
        std::future::pending::<Result<(), String>>().await
    });
}

/// Waits until everything is as it is wanted and stays so.
async fn settle(seed: u64, store: &Store, door: &Door, only_late: bool) {
    let start = clock::Instant::now();
    loop {
        let (before, asked) = (store.revision(), door.tally().requests);
        clock::sleep(QUIET).await;
        let wrong = checks::wrong(store, &door.unanswered());
        if wrong.is_empty() && store.revision() == before {
            break;
        }
        if start.elapsed() > PATIENCE {
            let (busy, asked) = (store.revision() - before, door.tally().requests - asked);
            let (wrong, tail) = (wrong.join("; "), store.tail());
            panic!("seed {seed}: {busy} changes, {asked} requests in the last {QUIET:?}: {tail}; {wrong}");
        }
    }
    let wrong = checks::wrong_meanwhile(store, only_late);
    assert!(wrong.is_empty(), "seed {seed}: {}", wrong.join("; "));
}
