//! The whole store in the simulated world of `raft::sim`: on every member the real [`Applier`],
//! before it the real [`Kv`], and clients that put, get, swap, delete, lease, compact and watch
//! while links lose messages, power goes and leaders change. What they saw is judged afterwards:
//! every key's history must be linearizable, revisions may not go back, a watch may miss nothing,
//! members must hold the same keys, what was acknowledged must be there, and leases must end when
//! their time is over, and not before (`leases`). `ROPEWALK_SEEDS=100000 cargo test --profile sim
//! -p etcd --lib sim::` runs more histories than the usual ones.

mod clients;
mod history;
mod leases;
mod linear;
mod tests;
mod up;
mod watching;

use super::api::Error;
use super::applier::Applier;
use super::command;
use super::command::Command;
use super::kv::Kv;
use super::machine::Shared;
use super::question::{Answer, Question};
use super::server::Member;
use super::waiting::Waiting;
use bytes::Bytes;
use clients::Clients;
use history::Truth;
use leases::Ledger;
use raft::member::StateMachine;
use raft::sim::guest::{Guest, Members, Read};
use raft::sim::world::{Bug, STEP};
use raft::{Core, Entry, Index, MemberId};
use rng::Rng;
use std::collections::BTreeMap;
use std::sync::Arc;
use tap::{Component, Tap};
use tokio::runtime::Runtime;
use up::{Ask, Inbox, Up};
use watching::Watching;

const WATCHERS: u64 = 2;

/// The store and its clients.
pub(super) struct Etcd {
    seed: u64,
    bug: Option<Bug>,
    /// Its clock stands still: nothing here waits for time, but timeouts want a clock to look at.
    runtime: Runtime,
    tap: Tap,
    up: BTreeMap<MemberId, Up>,
    truth: Truth,
    leases: Ledger,
    clients: Clients,
    watching: Vec<Watching>,
    runs: u64,
}

impl Etcd {
    pub(crate) fn new(seed: u64, bug: Option<Bug>) -> Etcd {
        let rng = Rng::seeded(seed).fork("clients");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        Etcd {
            seed,
            bug,
            runtime: runtime.expect("a runtime"),
            tap: Tap::new(),
            up: BTreeMap::new(),
            truth: Truth::new(),
            leases: Ledger::new(seed),
            watching: (0..WATCHERS).map(|n| Watching::new(seed, rng.fork(&format!("watch {n}")))).collect(),
            clients: Clients::new(rng),
            runs: 0,
        }
    }
}

/// Ends a lease whatever its holder has done since.
fn without_regard(proposed: Bytes) -> Bytes {
    match command::decode(&proposed) {
        Ok((request, Command::LeaseExpire { id, .. })) => {
            command::encode(request, &Command::LeaseExpire { id, seen: u64::MAX })
        }
        _ => proposed,
    }
}

impl Guest for Etcd {
    type Machine = Applier;

    fn starts(&mut self, id: MemberId, seed: u64) -> Applier {
        self.runs += 1;
        let (shared, name) = (Arc::new(Shared::new()), format!("m{id}"));
        let waiting = Arc::new(Waiting::new(seed, &name));
        let inbox = Inbox::default();
        let backend = Arc::new(Member { waiting: waiting.clone(), door: inbox.clone() });
        let kv = Kv::new(shared.clone(), backend, Rng::seeded(seed), u64::MAX);
        self.up.insert(id, Up { kv, waiting: waiting.clone(), inbox, run: (id, self.runs) });
        Applier::new(shared, waiting, self.tap.at(&name, Component::Etcd), BTreeMap::from([(id, name)]), id)
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
        let _clock = self.runtime.enter();
        for member in members.values().filter(|member| member.is_leader()) {
            self.leases.leads(member.core().status().term, now);
        }
        self.clients.act(now, quiet, &self.up, &mut self.leases);
        self.watching.iter_mut().for_each(|w| w.act(&self.up));
        for (id, up) in &self.up {
            let Some(member) = members.get_mut(id) else { continue };
            for ask in std::mem::take(&mut *up.inbox.asks.lock()) {
                match ask {
                    Ask::Question { ctx, question } if self.bug == Some(Bug::OwnClock) => {
                        let Ok(Question::LeaseLeft { id }) = Question::decode(&question) else { continue };
                        let left = member.machine().inner.shared.leases().left(id, STEP * now as u32).ok();
                        up.waiting.answer(ctx, Some(Answer::LeaseLeft(left).encode()));
                    }
                    Ask::Question { ctx, question } => member.ask_leader(ctx, question, STEP * now as u32),
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

    fn look(&mut self, now: u64, _: MemberId, applied: &[Entry], _: &[Read]) {
        for entry in applied {
            if let Some(learned) = self.truth.learn(entry)
                && let Some((keys, revision)) = self.leases.learn(now, &learned)
            {
                self.clients.expired(&keys, revision);
            }
        }
    }

    fn rests(&self) -> bool {
        self.leases.all_ended()
    }

    fn bend(&self) -> fn(Bytes) -> Bytes {
        match self.bug {
            Some(Bug::RevokedRenewed) => without_regard,
            _ => std::convert::identity,
        }
    }

    fn reads(&self) -> usize {
        self.clients.reads
    }

    fn judge(&mut self, log: &BTreeMap<Index, Entry>, members: Members<'_, Applier>) {
        let seed = self.seed;
        let _clock = self.runtime.enter();
        self.clients.give_up();
        let truth = &self.truth;
        assert_eq!(
            Some(&truth.index),
            log.keys().next_back(),
            "seed {seed}: an entry that no member applied"
        );
        history::check(seed, &self.clients.records, truth);
        self.leases.check();
        self.watching.iter_mut().for_each(|w| w.finish(&self.up, truth));
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
