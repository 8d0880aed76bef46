//! Clients: each asks one thing at a time of a member that it picks, waits for the answer or loses patience, and remembers both.

use super::Up;
use super::history::{Record, Run, key_name, value};
use super::linear::{ABSENT, Action, Value};
use crate::etcd::api::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, Error, PutRequest, RangeRequest, RequestOp,
    ResponseOp, Revision, TxnRequest,
};
use crate::etcd::kv::Kv;
use crate::raft::MemberId;
use crate::rng::Rng;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

const CLIENTS: u64 = 5;
const KEYS: u64 = 4;

/// What came back.
#[derive(Default)]
struct Reply {
    revision: Revision,
    /// For each key that was asked about: what happened to it.
    actions: Vec<Action>,
    /// The key's value and the revision that brought it, if they were told.
    known: Option<(u8, Value, Revision)>,
    lease: Option<i64>,
}

type Answer = Result<Reply, Error>;
type Answering = Pin<Box<dyn Future<Output = Answer>>>;

struct Pending {
    answer: Answering,
    /// Where it stands in the history: one record a key.
    records: std::ops::Range<usize>,
    patience: u64,
}

struct Client {
    rng: Rng,
    idle_until: u64,
    pending: Option<Pending>,
    known: BTreeMap<u8, (Value, Revision)>,
    lease: Option<i64>,
}

pub struct Clients {
    clients: Vec<Client>,
    pub records: Vec<Record>,
    /// Positions in the order of everything that clients saw.
    events: u64,
    next_value: Value,
    /// Linearizable reads that were answered.
    pub reads: usize,
    pub writes: usize,
    pub unknown: usize,
    /// Requests that a member refused because there was no room on its disk.
    pub no_space: usize,
}

impl Clients {
    pub fn new(rng: Rng) -> Clients {
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

    pub fn act(&mut self, now: u64, quiet: bool, up: &BTreeMap<MemberId, Up>) {
        for n in 0..self.clients.len() {
            if self.clients[n].pending.is_none() && !quiet && self.clients[n].idle_until <= now {
                self.begin(n, now, up);
            }
            self.hear(n, now);
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
        let (actions, answer): (Vec<(u8, Action)>, Answering) = match rng.range(0, 100) {
            0..22 => (vec![(key, Action::Read { saw: ABSENT })], Box::pin(get(kv, key, false))),
            22..34 => {
                serializable = true;
                (vec![(key, Action::Read { saw: ABSENT })], Box::pin(get(kv, key, true)))
            }
            34..54 => (vec![(key, write)], Box::pin(put(kv, vec![key], new))),
            54..60 => (vec![(key, write), (other, write)], Box::pin(put(kv, vec![key, other], new))),
            60..82 => {
                let swap = Action::Swap { expect, value: new, outcome: None };
                let by_value = rng.chance(0.5);
                (vec![(key, swap)], Box::pin(swap_value(kv, key, (expect, at, by_value), new)))
            }
            82..90 => (vec![(key, Action::Delete { found: None })], Box::pin(delete(kv, key))),
            90..97 => {
                // the lease may take the key along at any time, or never
                let gone = Action::Delete { found: None };
                (vec![(key, write), (key, gone)], Box::pin(put_leased(kv, key, new, lease)))
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
        client.pending = Some(Pending { answer, records, patience: now + client.rng.range(20, 200) });
    }

    fn hear(&mut self, n: usize, now: u64) {
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
                if let Some((key, value, at)) = reply.known {
                    client.known.insert(key, (value, at));
                }
                self.answered(pending.records, &reply);
            }
            Poll::Ready(Err(Error::LeaseNotFound)) => {
                client.lease = None;
                self.unanswered(pending.records, true);
            }
            Poll::Ready(Err(Error::NoSpace)) => {
                self.no_space += 1;
                self.unanswered(pending.records, true);
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

    /// `refused`: it did not happen. Else nobody knows; a read without an answer says nothing.
    fn unanswered(&mut self, records: std::ops::Range<usize>, refused: bool) {
        for record in &mut self.records[records] {
            let read = matches!(record.action, Action::Read { .. });
            record.refused = refused || read;
            self.unknown += usize::from(!record.refused);
        }
    }

    /// Whoever still waits will never know.
    pub fn give_up(&mut self) {
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
        lease: None,
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
    Ok(Reply { revision: done.revision, actions, known, lease: None })
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
        lease: None,
    })
}

async fn delete(kv: Kv, key: u8) -> Answer {
    let r = DeleteRangeRequest { key: key_name(key), ..DeleteRangeRequest::default() };
    let (revision, _, deleted) = kv.delete_range(r).await?;
    Ok(Reply {
        revision,
        actions: vec![Action::Delete { found: Some(deleted > 0) }],
        known: Some((key, ABSENT, 0)),
        lease: None,
    })
}

async fn put_leased(kv: Kv, key: u8, new: Value, lease: Option<i64>) -> Answer {
    let lease = match lease {
        Some(lease) => {
            kv.lease_keep_alive(lease).await?;
            lease
        }
        None => kv.lease_grant(1, 0).await?,
    };
    let done = kv.txn(TxnRequest { success: vec![put_op(key, new, lease)], ..TxnRequest::default() }).await?;
    // the second record is the lease's own, and stays open
    let actions = vec![Action::Write { value: new }];
    Ok(Reply { revision: done.revision, actions, known: None, lease: Some(lease) })
}

/// Forgets all but the newest `keep` revisions.
async fn compact(kv: Kv, keep: Revision) -> Answer {
    kv.compact((kv.revision() - keep).max(1)).await?;
    Ok(Reply::default())
}
