//! The whole store in the simulated world of `raft::sim`: on every member the real [`Applier`], before it the real [`Kv`], and clients that put,
//! get, swap, delete, lease, compact and watch while links lose messages, power goes and leaders change. What they saw is judged afterwards:
//! every key's history must be linearizable, revisions may not go back, a watch may miss nothing, members must hold the same keys, and what was
//! acknowledged must be there. `ROPEWALK_SEEDS=100000 cargo test --lib etcd::sim` runs more histories than the usual ones.

mod clients;
mod history;
mod linear;
mod tests;
mod watching;

use super::api::Error;
use super::applier::Applier;
use super::kv::Kv;
use super::lease::Moment;
use super::machine::Shared;
use super::server::{Door, Member};
use super::waiting::Waiting;
use crate::raft::member::StateMachine;
use crate::raft::sim::guest::{Guest, Members, Read};
use crate::raft::sim::world::{Bug, STEP};
use crate::raft::{Entry, Index, MemberId};
use crate::rng::Rng;
use crate::tap::Tap;
use bytes::Bytes;
use clients::Clients;
use history::{Run, Truth};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::runtime::Runtime;
use watching::Watching;

const WATCHERS: u64 = 2;

enum Ask {
    Propose { id: u64, data: Bytes },
    Read { ctx: u64 },
}

/// What waits for a member until it is its turn.
#[derive(Clone, Default)]
struct Inbox {
    asks: Arc<Mutex<Vec<Ask>>>,
    /// Steps since the world began.
    now: Arc<AtomicU64>,
}

impl Inbox {
    fn push(&self, ask: Ask) -> bool {
        self.asks.lock().unwrap().push(ask);
        true
    }
}

impl Door for Inbox {
    fn propose(&self, id: u64, data: Bytes) -> bool {
        self.push(Ask::Propose { id, data })
    }
    fn read(&self, ctx: u64) -> bool {
        self.push(Ask::Read { ctx })
    }
    fn now(&self) -> Moment {
        STEP * self.now.load(Ordering::Relaxed) as u32
    }
}

/// A member that is up, as clients reach it.
struct Up {
    kv: Kv,
    waiting: Arc<Waiting>,
    inbox: Inbox,
    run: Run,
}

/// The store and its clients.
pub(super) struct Etcd {
    seed: u64,
    bug: Option<Bug>,
    /// Its clock stands still: nothing here waits for time, but timeouts want a clock to look at.
    runtime: Runtime,
    tap: Tap,
    now: Arc<AtomicU64>,
    up: BTreeMap<MemberId, Up>,
    clients: Clients,
    watching: Vec<Watching>,
    runs: u64,
}

impl Etcd {
    pub fn new(seed: u64, bug: Option<Bug>) -> Etcd {
        let rng = Rng::seeded(seed).fork("clients");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        Etcd {
            seed,
            bug,
            runtime: runtime.expect("a runtime"),
            tap: Tap::new(),
            now: Arc::default(),
            up: BTreeMap::new(),
            watching: (0..WATCHERS).map(|n| Watching::new(seed, rng.fork(&format!("watch {n}")))).collect(),
            clients: Clients::new(rng),
            runs: 0,
        }
    }
}

impl Guest for Etcd {
    type Machine = Applier;

    fn starts(&mut self, id: MemberId, seed: u64) -> Applier {
        self.runs += 1;
        let (shared, name) = (Arc::new(Shared::new()), format!("m{id}"));
        let waiting = Arc::new(Waiting::new(seed, &name));
        let inbox = Inbox { now: self.now.clone(), ..Inbox::default() };
        let backend = Arc::new(Member { waiting: waiting.clone(), door: inbox.clone() });
        let kv = Kv::new(shared.clone(), backend, Rng::seeded(seed), u64::MAX);
        self.up.insert(id, Up { kv, waiting: waiting.clone(), inbox, run: (id, self.runs) });
        Applier::new(shared, waiting, self.tap.at(&name, "etcd"), BTreeMap::from([(id, name)]), id)
    }

    fn ends(&mut self, id: MemberId) {
        self.up.remove(&id);
    }

    fn disk(&mut self, id: MemberId, full: bool) {
        let Some(up) = self.up.get(&id) else { return };
        up.waiting.pause(full.then_some(Error::NoSpace));
        if full && self.bug == Some(Bug::RefusedUnderWay) {
            up.waiting.fail_proposals(&Error::NoSpace);
        }
    }

    fn act(&mut self, now: u64, quiet: bool, mut members: Members<'_, Applier>) {
        self.now.store(now, Ordering::Relaxed);
        let _clock = self.runtime.enter();
        self.clients.act(now, quiet, &self.up);
        self.watching.iter_mut().for_each(|w| w.act(&self.up));
        for (id, up) in &self.up {
            let Some(member) = members.get_mut(id) else { continue };
            for ask in std::mem::take(&mut *up.inbox.asks.lock().unwrap()) {
                match ask {
                    Ask::Propose { id, data } => member.propose(id, data),
                    Ask::Read { ctx } => match self.bug {
                        Some(Bug::StaleRead) => member.machine().inner.read(ctx, true),
                        Some(Bug::ExpiredLeader) if member.is_leader() => {
                            member.machine().inner.read(ctx, true)
                        }
                        _ => member.read(ctx),
                    },
                }
            }
        }
    }

    fn look(&mut self, _: MemberId, _: &[Entry], _: &[Read]) {}

    fn reads(&self) -> usize {
        self.clients.reads
    }

    fn judge(&mut self, log: &BTreeMap<Index, Entry>, members: Members<'_, Applier>) {
        let seed = self.seed;
        let _clock = self.runtime.enter();
        self.clients.give_up();
        let truth = Truth::of(log);
        history::check(seed, &self.clients.records, &truth);
        self.watching.iter_mut().for_each(|w| w.finish(&self.up, &truth));
        let frozen = |s: &Shared| s.freeze().0.encode();
        let hash = |s: &Shared| super::hash::of(&s.freeze().0, 0);
        let right = (hash(&truth.state), frozen(&truth.state));
        for (id, member) in members {
            let shared = &member.machine().inner.shared;
            let own = (hash(shared), frozen(shared));
            assert!(own == right, "seed {seed}: member {id} does not hold what was agreed on: {:?}", own.0);
        }
    }
}
