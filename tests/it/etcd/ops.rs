//! Random calls, and what was answered, as text that can be compared.

use etcd::grpc::client::Channel;
use etcd::pb::{self, Request, TargetUnion};
use prost::Message;
use rng::Rng;
use std::fmt::Debug;

/// Few keys, so that calls meet; fewer than Go sorts stably, so that equals keep their order there,
/// too.
const KEYS: [&str; 7] = ["a", "a/1", "a/2", "b", "b/1", "c", "d"];
const LEASES: [i64; 3] = [7, 8, 9];

#[derive(Clone, Debug)]
pub(super) enum Op {
    Range(pb::RangeRequest),
    Put(pb::PutRequest),
    Delete(pb::DeleteRangeRequest),
    Txn(pb::TxnRequest),
    Compact(pb::CompactionRequest),
    Hash(pb::HashKvRequest),
    Grant(pb::LeaseGrantRequest),
    Revoke(pb::LeaseRevokeRequest),
    TimeToLive(pb::LeaseTimeToLiveRequest),
    Leases(pb::LeaseLeasesRequest),
    Alarm(pb::AlarmRequest),
}

pub(super) struct Chance<'r> {
    pub rng: &'r Rng,
    /// About where the store is.
    pub revision: i64,
    pub compacted: i64,
}

impl Chance<'_> {
    fn one<'a, T>(&self, of: &'a [T]) -> &'a T {
        &of[self.rng.range(0, of.len() as u64) as usize]
    }

    fn key(&self) -> bytes::Bytes {
        if self.rng.chance(0.02) { "".into() } else { (*self.one(&KEYS)).into() }
    }

    fn end(&self) -> bytes::Bytes {
        (*self.one(&["", "", "", "b", "c", "z", "\0", "a"])).into()
    }

    fn some_revision(&self) -> i64 {
        match self.rng.range(0, 4) {
            0 => (self.compacted + self.rng.range(0, 4) as i64 - 2).max(0),
            1 => self.revision + self.rng.range(0, 3) as i64,
            2 => self.rng.range(0, self.revision as u64 + 1) as i64,
            _ => 0,
        }
    }

    fn bound(&self) -> i64 {
        if self.rng.chance(0.8) { 0 } else { self.some_revision() }
    }

    fn range(&self) -> pb::RangeRequest {
        pb::RangeRequest {
            key: self.key(),
            range_end: self.end(),
            limit: *self.one(&[0, 0, 0, 1, 2, 3, 7]),
            revision: if self.rng.chance(0.6) { 0 } else { self.some_revision() },
            sort_order: *self.one(&[0, 0, 1, 2]),
            sort_target: *self.one(&[0, 0, 1, 2, 3, 4]),
            serializable: self.rng.chance(0.3),
            keys_only: self.rng.chance(0.2),
            count_only: self.rng.chance(0.1),
            min_mod_revision: self.bound(),
            max_mod_revision: self.bound(),
            min_create_revision: self.bound(),
            max_create_revision: self.bound(),
        }
    }

    fn put(&self, leases: bool) -> pb::PutRequest {
        let (ignore_value, ignore_lease) = (self.rng.chance(0.1), self.rng.chance(0.1));
        let value =
            if ignore_value && self.rng.chance(0.8) { "" } else { *self.one(&["1", "2", "3", "x", ""]) };
        let lease = if leases && self.rng.chance(0.3) { *self.one(&LEASES) } else { 0 };
        let prev_kv = self.rng.chance(0.5);
        pb::PutRequest { key: self.key(), value: value.into(), lease, prev_kv, ignore_value, ignore_lease }
    }

    fn delete(&self) -> pb::DeleteRangeRequest {
        pb::DeleteRangeRequest { key: self.key(), range_end: self.end(), prev_kv: self.rng.chance(0.5) }
    }

    /// In a transaction, etcd 3.4 does not see that a put lies in a range that is empty or goes to
    /// the end; this store does.
    fn bounded_delete(&self) -> pb::DeleteRangeRequest {
        let delete = self.delete();
        let range_end = if delete.range_end > delete.key { delete.range_end } else { "".into() };
        pb::DeleteRangeRequest { range_end, ..delete }
    }

    fn compare(&self) -> pb::Compare {
        let number = self.rng.range(0, 4) as i64;
        let (target, union) = match self.rng.range(0, 5) {
            0 => (0, TargetUnion::Version(number)),
            1 => (1, TargetUnion::CreateRevision(self.some_revision())),
            2 => (2, TargetUnion::ModRevision(self.some_revision())),
            3 => (3, TargetUnion::Value((*self.one(&["1", "2", "x", ""])).into())),
            _ => (4, TargetUnion::Lease(*self.one(&[0, 7, 8]))),
        };
        let target_union = self.rng.chance(0.95).then_some(union);
        let range_end = if self.rng.chance(0.8) { "".into() } else { self.end() };
        pb::Compare { result: self.rng.range(0, 4) as i32, target, key: self.key(), target_union, range_end }
    }

    fn txn(&self, depth: u32) -> pb::TxnRequest {
        let many = |max: u64| 0..self.rng.range(0, max);
        let op = || {
            let request = match self.rng.range(0, if depth < 2 { 8 } else { 6 }) {
                0 | 1 => Request::RequestRange(self.range()),
                // etcd 3.4 ends with a panic when a transaction names a lease that is not there
                2..=4 => Request::RequestPut(self.put(false)),
                5 => Request::RequestDeleteRange(self.bounded_delete()),
                _ => Request::RequestTxn(self.txn(depth + 1)),
            };
            pb::RequestOp { request: self.rng.chance(0.99).then_some(request) }
        };
        pb::TxnRequest {
            compare: many(3).map(|_| self.compare()).collect(),
            success: many(4).map(|_| op()).collect(),
            failure: many(4).map(|_| op()).collect(),
        }
    }

    /// Anything; compactions only if wanted.
    pub(super) fn op(&self, compact: bool) -> Op {
        let id = *self.one(&LEASES);
        match self.rng.range(0, 100) {
            0..25 => Op::Range(self.range()),
            25..50 => Op::Put(self.put(true)),
            50..60 => Op::Delete(self.delete()),
            60..80 => Op::Txn(self.txn(0)),
            80..83 if compact => {
                let revision = self.some_revision().max(1);
                Op::Compact(pb::CompactionRequest { revision, physical: true })
            }
            80..86 => {
                let revision = if self.rng.chance(0.5) { 0 } else { self.some_revision() };
                // Not of the compaction's own revision: 3.4 refuses that, later versions answer.
                Op::Hash(pb::HashKvRequest {
                    revision: if revision == self.compacted { 0 } else { revision },
                })
            }
            86..90 => Op::Grant(pb::LeaseGrantRequest { ttl: *self.one(&[600, 900, 10_000_000_000]), id }),
            90..93 => Op::Revoke(pb::LeaseRevokeRequest { id }),
            93..97 => Op::TimeToLive(pb::LeaseTimeToLiveRequest { id, keys: self.rng.chance(0.7) }),
            97 => Op::Leases(pb::LeaseLeasesRequest {}),
            // raised and ended for one member that neither of them is
            98 => Op::Alarm(pb::AlarmRequest {
                action: *self.one(&[0, 2]),
                member_id: 5,
                alarm: *self.one(&[0, 1, 2]),
            }),
            _ => Op::Alarm(pb::AlarmRequest { action: 1, member_id: 5, alarm: 1 }),
        }
    }
}

/// Runs a call; the answer as text, with the store's revision alone of its header.
pub(super) async fn run(client: &Channel, op: &Op) -> (i64, String) {
    match op.clone() {
        Op::Range(r) => {
            say(client, "/etcdserverpb.KV/Range", r, |a: &mut pb::RangeResponse| &mut a.header).await
        }
        Op::Put(r) => say(client, "/etcdserverpb.KV/Put", r, |a: &mut pb::PutResponse| &mut a.header).await,
        Op::Delete(r) => {
            say(client, "/etcdserverpb.KV/DeleteRange", r, |a: &mut pb::DeleteRangeResponse| &mut a.header)
                .await
        }
        Op::Txn(r) => say(client, "/etcdserverpb.KV/Txn", r, |a: &mut pb::TxnResponse| &mut a.header).await,
        Op::Compact(r) => {
            say(client, "/etcdserverpb.KV/Compact", r, |a: &mut pb::CompactionResponse| &mut a.header).await
        }
        Op::Hash(r) => {
            say(client, "/etcdserverpb.Maintenance/HashKV", r, |a: &mut pb::HashKvResponse| {
                a.hash_revision = 0; // 3.4 does not tell it
                &mut a.header
            })
            .await
        }
        Op::Grant(r) => {
            say(client, "/etcdserverpb.Lease/LeaseGrant", r, |a: &mut pb::LeaseGrantResponse| &mut a.header)
                .await
        }
        Op::Revoke(r) => {
            say(client, "/etcdserverpb.Lease/LeaseRevoke", r, |a: &mut pb::LeaseRevokeResponse| &mut a.header)
                .await
        }
        Op::TimeToLive(r) => {
            say(client, "/etcdserverpb.Lease/LeaseTimeToLive", r, |a: &mut pb::LeaseTimeToLiveResponse| {
                a.keys.sort(); // etcd's order is that of a Go map
                a.ttl = a.ttl.signum(); // time passes
                &mut a.header
            })
            .await
        }
        Op::Leases(r) => {
            say(client, "/etcdserverpb.Lease/LeaseLeases", r, |a: &mut pb::LeaseLeasesResponse| {
                a.leases.sort_by_key(|l| l.id);
                &mut a.header
            })
            .await
        }
        Op::Alarm(r) => {
            say(client, "/etcdserverpb.Maintenance/Alarm", r, |a: &mut pb::AlarmResponse| {
                a.header = None; // 3.4 makes none
                &mut a.header
            })
            .await
        }
    }
}

async fn say<Q, A>(
    client: &Channel,
    path: &'static str,
    ask: Q,
    head: impl Fn(&mut A) -> &mut Option<pb::ResponseHeader>,
) -> (i64, String)
where
    Q: Message + Default + 'static,
    A: Message + Default + Debug + 'static,
{
    match client.unary::<Q, A>(path, ask).await {
        Ok(mut answer) => {
            let header = head(&mut answer);
            let revision = header.as_ref().map_or(0, |h| h.revision);
            *header = None;
            (revision, format!("at {revision}: {answer:?}"))
        }
        Err(status) => (0, format!("{:?}: {}", status.code(), status.message())),
    }
}
