//! The handle that the API server holds: etcd's calls as methods.

mod copies;
mod leases;

pub(crate) use leases::LEASE_TTL_MIN;

use super::alarm::{Alarm, AlarmKind};
use super::api::{
    DeleteRangeRequest, Error, KeyValue, PutRequest, RangeRequest, RangeResponse, RequestOp, ResponseOp,
    Revision, TxnRequest, TxnResponse, WatchRequest,
};
use super::command::Command;
use super::machine::{Outcome, Shared};
use super::member::{Backend, IN_FLIGHT_MAX, Pending, Status, member_id};
use super::memory::Memory;
use super::txn;
use super::watch::Watcher;
use rng::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// Largest request of a client, in bytes (etcd's `--max-request-bytes`).
pub const REQUEST_MAX: usize = 3 << 19; // 1.5 MiB
/// Largest request inside the program: an undo of the whole cluster is one entry of the log.
pub(crate) const UNBOUNDED_MAX: usize = 256 << 20;
/// How long a request waits for a leader and a quorum (etcd: 5 s and two election timeouts).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(6);

/// How much of a store's quota is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Bytes that the store takes ([`Status::db_size`]).
    pub size: u64,
    /// Bytes above which puts and new leases are refused.
    pub quota: u64,
    /// True while a `NoSpace` alarm is in force: the store takes no writes that add bytes until it
    /// ends.
    pub alarmed: bool,
}

/// A client of this member's server. Cheap to clone.
///
/// # Errors that calls share
/// A *read* changes nothing, so the caller may always send it again. It fails with
/// - `Timeout` if no leader and majority answered in 6 s,
/// - `Stopped` if this member has ended,
/// - `Disk` or `NoSpace` if this member's log has failed for good. Ask another member.
///
/// A *write* fails with
/// - `Timeout` or `Stopped` if it is not known whether it took effect, now or later: no majority
///   answered in 6 s, or the write was lost with a leader that failed. The caller reads before it
///   writes again. A change of leader alone is no error, as with etcd
///   (`processInternalRaftRequestOnce` in server/etcdserver/v3_server.go).
/// - `NoSpace` or `Disk` if this member's log cannot be written. `NoSpace` also stands for a full
///   quota and for its alarm: the caller makes room (`compact`) and ends the alarm. Only a write
///   that was under way when the log failed for good may still take effect.
/// - `TooManyRequests` if the leader's log is full of unsettled writes, and `Corrupt` if there is
///   an alarm of that name: the write did not happen. After the first the caller tries again later.
#[derive(Clone)]
pub struct Kv {
    shared: Arc<Shared>,
    backend: Arc<dyn Backend>,
    rng: Rng,
    quota_bytes: u64,
    /// Places for writes, for reads, and for work on a copy of the whole store.
    writes: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    copies: Arc<Semaphore>,
}

impl Kv {
    pub(super) fn new(shared: Arc<Shared>, backend: Arc<dyn Backend>, rng: Rng, quota_bytes: u64) -> Kv {
        let places = |n| Arc::new(Semaphore::new(n));
        let (writes, reads, copies) = (places(IN_FLIGHT_MAX), places(IN_FLIGHT_MAX), places(1));
        Kv { shared, backend, rng, quota_bytes, writes, reads, copies }
    }

    /// Makes a store of its own, for tests: no disk, no peers. Its leases expire when the next
    /// request comes.
    pub fn in_memory(rng: Rng) -> Kv {
        let shared = Arc::new(Shared::new());
        Kv::new(shared.clone(), Arc::new(Memory::new(shared)), rng, u64::MAX)
    }

    /// Waits until this member has answered its first linearizable read: it knows a leader, and
    /// what the majority knows.
    pub async fn joined(&self) {
        let mut leader = self.backend.leader();
        loop {
            match (self.read_barrier().await, &mut leader) {
                (Ok(()) | Err(Error::Stopped), _) | (_, None) => return,
                (Err(_), Some(news)) => {
                    let _ = tokio::time::timeout(Duration::from_millis(500), news.changed()).await;
                }
            }
        }
    }

    /// Returns the keys and values. The read is linearizable unless `serializable` is set.
    ///
    /// # Errors
    /// - `EmptyKey` if the request names no key.
    /// - `Compacted` if the revision is older than the last compaction: read without a revision.
    /// - `FutureRevision` if this member has not applied that revision.
    /// - Those of every read ([`Kv`]), unless `serializable` is set.
    pub async fn range(&self, r: RangeRequest) -> Result<RangeResponse, Error> {
        if r.key.is_empty() {
            return Err(Error::EmptyKey);
        }
        let has_it = r.continued && r.revision > 0 && r.revision <= self.revision();
        if !r.serializable && !has_it {
            self.read_barrier().await?;
        }
        self.shared.read().range(&r)
    }

    /// Sets a key. Returns the revision of the write and, if `prev_kv` is set, the key before it.
    ///
    /// # Errors
    /// Those of [`Kv::txn`]. If both the key that is to be kept and the lease are missing, it is
    /// `LeaseNotFound`: etcd's `Put` looks at the lease first, its transactions at the key.
    pub async fn put(&self, r: PutRequest) -> Result<(Revision, Option<KeyValue>), Error> {
        let lease = r.lease;
        let done = self.one(RequestOp::Put(r)).await;
        if matches!(done, Err(Error::KeyNotFound)) && lease != 0 && !self.shared.leases().exists(lease) {
            return Err(Error::LeaseNotFound);
        }
        match done? {
            ResponseOp::Put { revision, prev_kv } => Ok((revision, prev_kv)),
            _ => Err(Error::Stopped),
        }
    }

    /// Deletes keys. Returns the revision, the deleted keys if `prev_kv` is set, and their number.
    ///
    /// # Errors
    /// Those of [`Kv::txn`]. Neither the quota nor a `NoSpace` alarm forbids a deletion.
    pub async fn delete_range(&self, r: DeleteRangeRequest) -> Result<(Revision, Vec<KeyValue>, i64), Error> {
        match self.one(RequestOp::DeleteRange(r)).await? {
            ResponseOp::DeleteRange { revision, deleted, prev_kvs } => Ok((revision, prev_kvs, deleted)),
            _ => Err(Error::Stopped),
        }
    }

    async fn one(&self, op: RequestOp) -> Result<ResponseOp, Error> {
        let response = self.txn(TxnRequest { success: vec![op], ..TxnRequest::default() }).await?;
        response.responses.into_iter().next().ok_or(Error::Stopped)
    }

    /// Compares and writes at one revision. At most [`txn::MAX_OPS`] operations in each list and,
    /// if they are not all ranges, [`REQUEST_MAX`] bytes.
    ///
    /// # Errors
    /// Nothing is written, and the caller corrects the request, after
    /// - `EmptyKey`, `ValueProvided`, `LeaseProvided`, `DuplicateKey`, `TooManyOps`, which
    ///   [`txn::validate`] explains, and `RequestTooLarge`;
    /// - `KeyNotFound` if a put keeps the value or lease of a key that does not exist;
    /// - `LeaseNotFound` if a put names a lease that does not exist;
    /// - `Compacted` or `FutureRevision` if a range names such a revision.
    ///
    /// Else those of every write ([`Kv`]); of every read if all operations are ranges.
    pub async fn txn(&self, r: TxnRequest) -> Result<TxnResponse, Error> {
        self.run(r, txn::MAX_OPS, REQUEST_MAX).await
    }

    /// Runs a transaction without a client's limits, for undo.
    ///
    /// # Errors
    /// Those of [`Kv::txn`], but never `TooManyOps`, and `RequestTooLarge` only above
    /// [`UNBOUNDED_MAX`] bytes.
    pub async fn txn_unbounded(&self, r: TxnRequest) -> Result<TxnResponse, Error> {
        self.run(r, usize::MAX, UNBOUNDED_MAX).await
    }

    async fn run(&self, r: TxnRequest, max_ops: usize, max_bytes: usize) -> Result<TxnResponse, Error> {
        txn::validate(&r, max_ops)?;
        // Not in the log, so of any size, as with etcd (`processInternalRaftRequestOnce`).
        if txn::is_readonly(&r) {
            if !txn::is_serializable(&r) {
                self.read_barrier().await?;
            }
            return txn::read(&self.shared.read(), &r);
        }
        if txn::size(&r) > max_bytes {
            return Err(Error::RequestTooLarge);
        }
        if txn::puts(&r) {
            self.check_quota(txn::cost(&r) as u64).await?;
        }
        match self.propose(Command::Txn(r)).await? {
            Outcome::Txn(response) => Ok(response),
            Outcome::Done | Outcome::Renewed(_) => Err(Error::Stopped),
        }
    }

    /// Checks that the quota has room for so many bytes more; else raises an alarm on all members.
    /// Errors: `NoSpace`.
    async fn check_quota(&self, more: u64) -> Result<(), Error> {
        if self.shared.size() + more <= self.quota_bytes {
            return Ok(());
        }
        let alarm = Alarm { kind: AlarmKind::NoSpace, member: member_id(&self.status().member) };
        // An alarm that cannot be raised now is raised by the next write, as with etcd.
        let _ = self.alarm(alarm, true).await;
        Err(Error::NoSpace)
    }

    /// Watches the changes from `start_revision` on.
    ///
    /// # Errors
    /// - `EmptyKey` if the request names no key.
    /// - `Compacted` if `start_revision` is older than the last compaction: the caller lists the
    ///   keys and watches from behind the revision of the list.
    /// - `Stopped` if this member has ended.
    pub async fn watch(&self, r: WatchRequest) -> Result<Watcher, Error> {
        if r.key.is_empty() {
            return Err(Error::EmptyKey);
        }
        self.shared.hub.watch(self.shared.store(), &r)
    }

    /// Forgets history before `revision`.
    ///
    /// # Errors
    /// - `Compacted` if a compaction at this revision or a later one was done before.
    /// - `FutureRevision` if the store has not reached the revision.
    /// - Those of every write ([`Kv`]).
    pub async fn compact(&self, revision: Revision) -> Result<(), Error> {
        // decided where it is applied: this member may not know of the revision yet
        self.propose(Command::Compact { revision }).await.map(drop)
    }

    /// Returns the alarms in force.
    ///
    /// # Errors
    /// Those of every read ([`Kv`]).
    pub async fn alarms(&self) -> Result<BTreeSet<Alarm>, Error> {
        self.read_barrier().await?;
        Ok(self.shared.alarms().clone())
    }

    /// Alarms that this member knows of, without asking the leader.
    pub(crate) fn local_alarms(&self) -> BTreeSet<Alarm> {
        self.shared.alarms().clone()
    }

    /// Returns how much of the quota is used, as this member knows it.
    pub fn room(&self) -> Room {
        let alarmed = self.shared.alarms().iter().any(|a| a.kind == AlarmKind::NoSpace);
        Room { size: self.shared.size(), quota: self.quota_bytes, alarmed }
    }

    /// Returns the bytes that a compaction frees, by the lowest revision to compact at.
    pub fn reclaimable(&self) -> BTreeMap<Revision, u64> {
        self.shared.read().reclaimable()
    }

    /// Ends every `NoSpace` alarm in force. The caller has made room.
    ///
    /// # Errors
    /// Those of every write ([`Kv`]).
    pub async fn end_no_space(&self) -> Result<(), Error> {
        let raised = self.local_alarms();
        for alarm in raised.into_iter().filter(|a| a.kind == AlarmKind::NoSpace) {
            self.alarm(alarm, false).await?;
        }
        Ok(())
    }

    /// The same store with another quota.
    #[cfg(any(test, feature = "testing"))]
    pub fn with_quota(self, quota_bytes: u64) -> Kv {
        Kv { quota_bytes, ..self }
    }

    /// Returns the leader's number, 0 while there is none, and its changes.
    pub fn leader(&self) -> watch::Receiver<u64> {
        self.backend.leader().unwrap_or_else(|| watch::channel(1).1)
    }

    /// Raises or ends an alarm on all members.
    ///
    /// # Errors
    /// - `TooManyAlarms` if 64 others are in force: end some first.
    /// - Those of every write ([`Kv`]). No alarm forbids to raise or end one.
    pub async fn alarm(&self, alarm: Alarm, on: bool) -> Result<(), Error> {
        self.propose(Command::Alarm { alarm, on }).await.map(drop)
    }

    /// Returns the revision applied so far.
    pub fn revision(&self) -> Revision {
        self.shared.revision()
    }

    /// Revisions below this one cannot be read any more; 0 if nothing was compacted.
    pub fn compacted(&self) -> Revision {
        self.shared.read().compacted().max(0)
    }

    /// Returns Raft's term, for the head of each answer. Takes no lock that a write or a copy of
    /// the store holds.
    pub(crate) fn term(&self) -> u64 {
        self.backend.status().term
    }

    /// Returns how this member is doing. Asks no other member.
    pub fn status(&self) -> Status {
        let (revision, db_size) = (self.revision(), self.shared.size());
        Status { revision, db_size, ..self.backend.status() }
    }

    /// As if a snapshot of the leader had replaced the store.
    #[cfg(test)]
    pub(super) fn cut_watchers(&self) {
        self.shared.hub.reset(self.revision());
    }

    /// Places for work on a copy of the whole store that are free.
    #[cfg(test)]
    pub(super) fn copies_free(&self) -> usize {
        self.copies.available_permits()
    }

    /// As if the member ended, for its watchers.
    #[cfg(test)]
    pub(super) fn close_watchers(&self) {
        self.shared.hub.close(&Error::Stopped);
    }

    /// Resolves when every write acknowledged before this call can be read here.
    ///
    /// # Errors
    /// Those of every read ([`Kv`]).
    pub async fn read_barrier(&self) -> Result<(), Error> {
        match self.backend.local_reads() {
            true => Ok(()),
            false => self.ask(&self.reads, || self.backend.read_barrier().transpose()).await,
        }
    }

    async fn propose(&self, command: Command) -> Result<Outcome, Error> {
        self.ask(&self.writes, || Some(self.backend.propose(&command))).await
    }

    /// Asks until there is a leader to answer. After `NoLeader`, and only then, nothing was
    /// proposed: it asks again when a leader takes proposals. `None` from `once` is an answer, too:
    /// nothing to wait for. Nothing is asked before there is a place for it.
    async fn ask<T: Default>(
        &self,
        places: &Semaphore,
        once: impl Fn() -> Option<Result<Pending<T>, Error>>,
    ) -> Result<T, Error> {
        let attempts = async {
            let _place = places.acquire().await.map_err(|_| Error::Stopped)?;
            let mut takes = self.backend.takes();
            while let Some(pending) = once() {
                // the sender is gone only if the member is
                let answer = pending?.await.unwrap_or(Err(Error::Stopped));
                match (&answer, &mut takes) {
                    (Err(Error::NoLeader), Some(takes)) => {
                        takes.wait_for(|id| *id != 0).await.map_err(|_| Error::Stopped)?;
                    }
                    _ => return answer,
                }
            }
            Ok(T::default())
        };
        clock::limit(REQUEST_TIMEOUT, attempts).await.unwrap_or(Err(Error::Timeout))
    }
}

#[cfg(test)]
mod tests;
