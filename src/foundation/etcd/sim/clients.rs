//! Clients: each asks one thing at a time of a member that it picks, waits for the answer or loses
//! patience, and remembers both.

use super::history::{Record, Run, key_name, value};
use super::leases::{Ledger, TTL, firm, steps};
use super::linear::{ABSENT, Action, Value};
use super::up::Up;
use crate::api::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, Error, PutRequest, RangeRequest, RequestOp,
    ResponseOp, Revision, TxnRequest,
};
use crate::kv::Kv;
use crate::waiting::Waiting;
use bytes::Bytes;
use raft::MemberId;
use rng::Rng;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

const CLIENTS: u64 = 5;
const KEYS: u64 = 4;

/// What came back.
#[derive(Default)]
struct Reply {
    revision: Revision,
    /// For each key that was asked about: what happened to it.
    actions: Vec<Action>,
    /// The key's value and the revision that brought it, if the answer has them.
    known: Option<(u8, Value, Revision)>,
    lease: Option<i64>,
    /// Steps that the lease lives, from the step in which the client asked.
    left: Option<u64>,
    /// True if the client asked for `left`; else it renewed the lease, or got it.
    asked_left: bool,
}

impl Reply {
    fn of(lease: i64, left: u64) -> Reply {
        Reply { lease: Some(lease), left: Some(left), ..Reply::default() }
    }
}

type Answer = Result<Reply, Error>;
type Answering = Pin<Box<dyn Future<Output = Answer>>>;

struct Pending {
    answer: Answering,
    /// The member that was asked.
    member: Arc<Waiting>,
    /// Where it stands in the history: one record a key.
    records: std::ops::Range<usize>,
    patience: u64,
    /// When it was asked, and with which lease.
    called: u64,
    lease: Option<i64>,
}

struct Client {
    rng: Rng,
    idle_until: u64,
    pending: Option<Pending>,
    known: BTreeMap<u8, (Value, Revision)>,
    lease: Option<i64>,
}

pub(super) struct Clients {
    clients: Vec<Client>,
    pub records: Vec<Record>,
    /// Positions in the order of everything that clients saw.
    events: u64,
    next_value: Value,
    /// Linearizable reads that were answered.
    pub reads: usize,
    pub writes: usize,
    pub unknown: usize,
    /// Requests that ended because a member had no room on its disk.
    pub no_space: usize,
}

impl Clients {
    pub(super) fn new(rng: Rng) -> Clients {
        let client = |n| Client {
            rng: rng.fork(&format!("client {n}")),
            idle_until: 0,
            pending: None,
            known: BTreeMap::new(),
            lease: None,
        };
        Clients {
            clients: (0..CLIENTS).map(client).collect(),
            records: vec![],
            events: 0,
            next_value: ABSENT + 1,
            reads: 0,
            writes: 0,
            unknown: 0,
            no_space: 0,
        }
    }

    pub(super) fn act(&mut self, now: u64, quiet: bool, up: &BTreeMap<MemberId, Up>, leases: &mut Ledger) {
        for n in 0..self.clients.len() {
            if self.clients[n].pending.is_none() && !quiet && self.clients[n].idle_until <= now {
                self.begin(n, now, up);
            }
            self.hear(n, now, leases);
        }
    }

    /// Notes that a lease took keys along. Members that have not applied it yet answer nothing
    /// newer, so it happens now: after all that was answered, and before all that is asked from now
    /// on.
    pub(super) fn expired(&mut self, keys: &[u8], revision: Revision) {
        self.events += 2;
        for key in keys {
            self.records.push(Record {
                key: *key,
                action: Action::Delete { found: Some(true) },
                serializable: false,
                run: (0, 0),
                called: self.events - 1,
                returned: Some(self.events),
                revision,
                refused: false,
            });
        }
    }

    fn begin(&mut self, n: usize, now: u64, up: &BTreeMap<MemberId, Up>) {
        let client = &mut self.clients[n];
        let Some(up) = up.values().nth(client.rng.range(0, up.len() as u64) as usize) else { return };
        let (rng, new) = (&client.rng, self.next_value);
        let key = rng.range(0, KEYS) as u8;
        let other = (key + 1) % KEYS as u8;
        let (expect, at) = client.known.get(&key).copied().unwrap_or_default();
        let lease = client.lease.filter(|_| rng.chance(0.7));
        let kv = up.kv.clone();
        let write = Action::Write { value: new };
        let mut serializable = false;
        let mut with = None;
        let (actions, answer): (Vec<(u8, Action)>, Answering) = match rng.range(0, 100) {
            0..22 => (vec![(key, Action::Read { saw: ABSENT })], Box::pin(get(kv, key, false))),
            22..34 => {
                serializable = true;
                (vec![(key, Action::Read { saw: ABSENT })], Box::pin(get(kv, key, true)))
            }
            34..52 => (vec![(key, write)], Box::pin(put(kv, vec![key], new))),
            52..58 => (vec![(key, write), (other, write)], Box::pin(put(kv, vec![key, other], new))),
            58..78 => {
                let swap = Action::Swap { expect, value: new, outcome: None };
                let by_value = rng.chance(0.5);
                (vec![(key, swap)], Box::pin(swap_value(kv, key, (expect, at, by_value), new)))
            }
            78..85 => (vec![(key, Action::Delete { found: None })], Box::pin(delete(kv, key))),
            85..92 => {
                with = lease;
                (vec![(key, write)], Box::pin(put_leased(kv, key, new, lease)))
            }
            92..95 => {
                with = lease;
                (vec![], Box::pin(hold(kv, lease)))
            }
            95..97 => {
                with = lease;
                (vec![], Box::pin(time_left(kv, lease)))
            }
            _ => (vec![], Box::pin(compact(kv, rng.range(1, 20) as Revision))),
        };
        self.next_value += 1;
        self.events += 1;
        let first = self.records.len();
        for (key, action) in actions {
            let (run, called): (Run, u64) = (up.run, self.events);
            self.records.push(Record {
                key,
                action,
                serializable,
                run,
                called,
                returned: None,
                revision: 0,
                refused: false,
            });
        }
        let records = first..self.records.len();
        let patience = now + client.rng.range(20, 200);
        let member = up.waiting.clone();
        client.pending = Some(Pending { answer, member, records, patience, called: now, lease: with });
    }

    fn hear(&mut self, n: usize, now: u64, leases: &mut Ledger) {
        let client = &mut self.clients[n];
        let Some(mut pending) = client.pending.take() else { return };
        let answer = pending.answer.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        if answer.is_pending() && now < pending.patience {
            client.pending = Some(pending);
            return;
        }
        client.idle_until = now + client.rng.range(0, 8);
        match answer {
            Poll::Ready(Ok(reply)) => {
                client.lease = reply.lease.or(client.lease);
                if let (Some(lease), Some(left)) = (reply.lease, reply.left) {
                    leases.promised(lease, pending.called, left);
                    match reply.asked_left {
                        true => leases.answered += 1,
                        false => leases.renewed += usize::from(pending.lease.is_some()),
                    }
                }
                if let Some((key, value, at)) = reply.known {
                    client.known.insert(key, (value, at));
                }
                self.answered(pending.records, &reply);
            }
            Poll::Ready(Err(Error::LeaseNotFound)) => {
                pending.lease.iter().for_each(|lease| leases.denied(*lease));
                client.lease = None;
                self.unanswered(pending.records, true);
            }
            Poll::Ready(Err(Error::NoSpace)) => {
                self.no_space += 1;
                // A full disk refuses a write before it is in the log. A log that has failed for
                // good ends the writes under way, too, which may still be committed.
                self.unanswered(pending.records, pending.member.failed().is_none());
            }
            Poll::Ready(Err(_)) | Poll::Pending => self.unanswered(pending.records, false),
        }
    }

    fn answered(&mut self, records: std::ops::Range<usize>, reply: &Reply) {
        self.events += 1;
        for (record, action) in self.records[records].iter_mut().zip(&reply.actions) {
            (record.action, record.revision) = (*action, reply.revision);
            record.returned = Some(self.events);
            match action {
                Action::Read { .. } if !record.serializable => self.reads += 1,
                Action::Read { .. } => {}
                _ => self.writes += 1,
            }
        }
    }

    /// `refused`: it did not happen. Else it is not known; a read without an answer says nothing.
    fn unanswered(&mut self, records: std::ops::Range<usize>, refused: bool) {
        for record in &mut self.records[records] {
            let read = matches!(record.action, Action::Read { .. });
            record.refused = refused || read;
            self.unknown += usize::from(!record.refused);
        }
    }

    /// Clients that still wait will never know.
    pub(super) fn give_up(&mut self) {
        for n in 0..self.clients.len() {
            if let Some(pending) = self.clients[n].pending.take() {
                self.unanswered(pending.records, false);
            }
        }
    }
}

async fn get(kv: Kv, key: u8, serializable: bool) -> Answer {
    let r = RangeRequest { key: key_name(key), serializable, ..RangeRequest::default() };
    let found = kv.range(r).await?;
    let (saw, at) = found.kvs.first().map_or((ABSENT, 0), |kv| (value(&kv.value), kv.mod_revision));
    Ok(Reply {
        revision: found.revision,
        actions: vec![Action::Read { saw }],
        known: Some((key, saw, at)),
        ..Reply::default()
    })
}

fn put_op(key: u8, new: Value, lease: i64) -> RequestOp {
    let value = Bytes::copy_from_slice(&new.to_le_bytes());
    RequestOp::Put(PutRequest { key: key_name(key), value, lease, ..PutRequest::default() })
}

async fn put(kv: Kv, keys: Vec<u8>, new: Value) -> Answer {
    let success = keys.iter().map(|key| put_op(*key, new, 0)).collect();
    let done = kv.txn(TxnRequest { success, ..TxnRequest::default() }).await?;
    let actions = keys.iter().map(|_| Action::Write { value: new }).collect();
    let known = keys.first().map(|key| (*key, new, done.revision));
    Ok(Reply { revision: done.revision, actions, known, ..Reply::default() })
}

/// As an API server updates an object: if it is what I know, replace it; else show me what it is.
async fn swap_value(kv: Kv, key: u8, known: (Value, Revision, bool), new: Value) -> Answer {
    let (expect, at, by_value) = known;
    let target = match (expect, by_value) {
        (ABSENT, _) => CompareTarget::Version(0),
        (_, true) => CompareTarget::Value(Bytes::copy_from_slice(&expect.to_le_bytes())),
        (_, false) => CompareTarget::ModRevision(at),
    };
    let compare =
        Compare { key: key_name(key), range_end: Bytes::new(), result: CompareResult::Equal, target };
    let look = RequestOp::Range(RangeRequest { key: key_name(key), ..RangeRequest::default() });
    let (success, failure) = (vec![put_op(key, new, 0)], vec![look]);
    let done = kv.txn(TxnRequest { compare: vec![compare], success, failure }).await?;
    let found = match done.responses.first() {
        Some(ResponseOp::Range(r)) => r.kvs.first().map(|kv| (value(&kv.value), kv.mod_revision)),
        _ => None,
    };
    let (saw, at) = if done.succeeded { (new, done.revision) } else { found.unwrap_or((ABSENT, 0)) };
    let outcome = Some(if done.succeeded { Ok(()) } else { Err(saw) });
    Ok(Reply {
        revision: done.revision,
        actions: vec![Action::Swap { expect, value: new, outcome }],
        known: Some((key, saw, at)),
        ..Reply::default()
    })
}

async fn delete(kv: Kv, key: u8) -> Answer {
    let r = DeleteRangeRequest { key: key_name(key), ..DeleteRangeRequest::default() };
    let (revision, _, deleted) = kv.delete_range(r).await?;
    Ok(Reply {
        revision,
        actions: vec![Action::Delete { found: Some(deleted > 0) }],
        known: Some((key, ABSENT, 0)),
        ..Reply::default()
    })
}

async fn put_leased(kv: Kv, key: u8, new: Value, lease: Option<i64>) -> Answer {
    let lease = match lease {
        Some(lease) => {
            kv.lease_keep_alive(lease).await?;
            lease
        }
        None => kv.lease_grant(TTL, 0).await?,
    };
    let done = kv.txn(TxnRequest { success: vec![put_op(key, new, lease)], ..TxnRequest::default() }).await?;
    let actions = vec![Action::Write { value: new }];
    Ok(Reply { revision: done.revision, actions, ..Reply::of(lease, full()) })
}

/// Returns a lease's whole time, in steps.
fn full() -> u64 {
    steps(Duration::from_secs(TTL as u64))
}

/// Renews a lease, or gets one.
async fn hold(kv: Kv, lease: Option<i64>) -> Answer {
    let lease = match lease {
        Some(lease) => kv.lease_keep_alive(lease).await.map(|_| lease)?,
        None => kv.lease_grant(TTL, 0).await?,
    };
    Ok(Reply::of(lease, full()))
}

/// Asks how long a lease still has, as etcd's `LeaseTimeToLive`.
async fn time_left(kv: Kv, lease: Option<i64>) -> Answer {
    let Some(lease) = lease else { return Ok(Reply::default()) };
    kv.read_barrier().await?; // the leader answers for what this member knows, at least
    let left = kv.lease_left(lease).await?;
    Ok(Reply { asked_left: true, ..Reply::of(lease, firm(left)) })
}

/// Forgets all but the newest `keep` revisions.
async fn compact(kv: Kv, keep: Revision) -> Answer {
    kv.compact((kv.revision() - keep).max(1)).await?;
    Ok(Reply::default())
}
