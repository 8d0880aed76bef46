//! Transactions: compare, then one of two lists of operations, all at one revision.

use super::api::{
    Compare, CompareResult, CompareTarget, Error, Event, KeyValue, RequestOp, ResponseOp, Revision,
    TxnRequest, TxnResponse,
};
use super::mvcc::{Span, Store, Write};
use bytes::Bytes;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Operations in each list of a client's transaction (etcd's `--max-txn-ops`).
pub const MAX_OPS: usize = 128;

/// Levels of transactions inside each other that the log can hold: each has an operation fewer to
/// give to the next. A client's request is refused earlier, above 50 levels (`grpc::codec`).
pub(crate) const DEPTH_MAX: usize = MAX_OPS;

/// Checks what can be checked without the store.
///
/// # Errors
/// - `TooManyOps` if a list has more than `max_ops` operations. Each level of transactions inside
///   takes the longest list of the one around it off that limit.
/// - `EmptyKey` if an operation or a condition names no key.
/// - `ValueProvided` or `LeaseProvided` if a put keeps the key's value or lease and brings one.
/// - `DuplicateKey` if a key would be put twice, or put within a range that is deleted.
pub(crate) fn validate(txn: &TxnRequest, max_ops: usize) -> Result<(), Error> {
    check_shape(txn, max_ops)?;
    check_overlap(&txn.success)?;
    check_overlap(&txn.failure)?;
    Ok(())
}

fn check_shape(txn: &TxnRequest, max_ops: usize) -> Result<(), Error> {
    let left = check_count(txn.compare.len(), txn.success.len(), txn.failure.len(), max_ops)?;
    txn.compare.iter().try_for_each(check_compare)?;
    for op in txn.success.iter().chain(&txn.failure) {
        match op {
            RequestOp::Txn(t) => check_shape(t, left)?,
            op => check_op(op)?,
        }
    }
    Ok(())
}

/// Returns how many operations a transaction leaves to those inside it. Errors: `TooManyOps`.
pub(crate) fn check_count(
    compare: usize,
    success: usize,
    failure: usize,
    max_ops: usize,
) -> Result<usize, Error> {
    max_ops.checked_sub(compare.max(success).max(failure)).ok_or(Error::TooManyOps)
}

pub(crate) fn check_compare(compare: &Compare) -> Result<(), Error> {
    if compare.key.is_empty() { Err(Error::EmptyKey) } else { Ok(()) }
}

/// Checks one operation, which is no inner transaction, without looking at the store.
pub(crate) fn check_op(op: &RequestOp) -> Result<(), Error> {
    let key = match op {
        RequestOp::Range(r) => &r.key,
        RequestOp::Put(r) => &r.key,
        RequestOp::DeleteRange(r) => &r.key,
        RequestOp::Txn(_) => return Ok(()),
    };
    match op {
        _ if key.is_empty() => Err(Error::EmptyKey),
        RequestOp::Put(r) if r.ignore_value && !r.value.is_empty() => Err(Error::ValueProvided),
        RequestOp::Put(r) if r.ignore_lease && r.lease != 0 => Err(Error::LeaseProvided),
        _ => Ok(()),
    }
}

/// Keys of several spans, joined where they meet: to ask for one costs the logarithm of how many
/// there are.
#[derive(Default)]
struct Spans(BTreeMap<Bytes, End>);

/// The first key behind a span; `None`: it goes to the end of all keys.
type End = Option<Bytes>;

impl Spans {
    fn contains(&self, key: &Bytes) -> bool {
        let before = self.0.range::<Bytes, _>(..=key).next_back();
        before.is_some_and(|(_, end)| end.as_ref().is_none_or(|end| key < end))
    }

    fn insert(&mut self, span: &Span) {
        let mut end = match &span.end[..] {
            [] => Some([&span.key[..], &[0]].concat().into()), // the one key: there is none between it and this
            [0] => None,
            _ if span.end <= span.key => return,
            _ => Some(span.end.clone()),
        };
        let mut from = span.key.clone();
        let reaches = |end: &End, key: &Bytes| end.as_ref().is_none_or(|end| key <= end);
        if let Some((first, upto)) = self.0.range::<Bytes, _>(..=&from).next_back()
            && reaches(upto, &from)
        {
            from = first.clone();
        }
        while let Some((first, upto)) = self.0.range::<Bytes, _>(&from..).next()
            && reaches(&end, first)
        {
            let first = first.clone();
            end = match (end, upto) {
                (Some(end), Some(upto)) => Some(end.max(upto.clone())),
                _ => None,
            };
            self.0.remove(&first);
        }
        self.0.insert(from, end);
    }
}

#[derive(Default)]
struct Touched {
    puts: BTreeSet<Bytes>,
    deletes: Spans,
}

impl Touched {
    /// Errors: `DuplicateKey`.
    fn add(&mut self, puts: impl IntoIterator<Item = Bytes>) -> Result<(), Error> {
        for key in puts {
            if self.deletes.contains(&key) || !self.puts.insert(key) {
                return Err(Error::DuplicateKey);
            }
        }
        Ok(())
    }
}

/// Checks that a key changes once per revision: no two puts, no put inside a deleted range. In
/// etcd's order, which lets an inner transaction delete what another one before it has put.
fn check_overlap(ops: &[RequestOp]) -> Result<Touched, Error> {
    let mut all = Touched::default();
    for op in ops {
        if let RequestOp::DeleteRange(r) = op {
            all.deletes.insert(&Span::new(&r.key, &r.range_end));
        }
    }
    for op in ops {
        if let RequestOp::Txn(t) = op {
            // only one branch will run, so the two may touch the same keys
            let (mut one, other) = (check_overlap(&t.success)?, check_overlap(&t.failure)?);
            one.puts.extend(other.puts);
            all.add(one.puts)?;
            for (key, end) in one.deletes.0.into_iter().chain(other.deletes.0) {
                all.deletes.insert(&Span { key, end: end.unwrap_or_else(|| Bytes::from_static(&[0])) });
            }
        }
    }
    for op in ops {
        if let RequestOp::Put(r) = op {
            all.add([r.key.clone()])?;
        }
    }
    Ok(all)
}

/// Returns about how many bytes a transaction takes in the log.
pub fn size(txn: &TxnRequest) -> usize {
    const OP: usize = 16; // lengths, tags, a lease
    let compares: usize =
        txn.compare.iter().map(|c| OP + c.key.len() + c.range_end.len() + value_len(c)).sum();
    let ops = txn.success.iter().chain(&txn.failure).map(|op| match op {
        RequestOp::Range(r) => OP + r.key.len() + r.range_end.len(),
        RequestOp::Put(r) => OP + r.key.len() + r.value.len(),
        RequestOp::DeleteRange(r) => OP + r.key.len() + r.range_end.len(),
        RequestOp::Txn(t) => OP + size(t),
    });
    compares + ops.sum::<usize>()
}

fn value_len(compare: &Compare) -> usize {
    if let CompareTarget::Value(v) = &compare.target { v.len() } else { 0 }
}

/// Returns about how many bytes a transaction may add to the store: those that are put in one
/// branch or in the other, whichever has more. The rule is `costTxn` in etcd's
/// server/storage/quota.go from 3.6.14 on. Before, it counts no inner transactions, which can fill
/// a store past its quota.
///
/// `if a == "…" then put a=123 else put bc=1234` may add 6 bytes, not 10.
pub(crate) fn cost(txn: &TxnRequest) -> usize {
    let branch = |ops: &[RequestOp]| -> usize {
        let added = ops.iter().map(|op| match op {
            RequestOp::Put(r) => r.key.len() + r.value.len(),
            RequestOp::Txn(t) => cost(t),
            RequestOp::Range(_) | RequestOp::DeleteRange(_) => 0,
        });
        added.sum()
    };
    branch(&txn.success).max(branch(&txn.failure))
}

/// Returns whether some branch may add bytes to the store.
pub(crate) fn puts(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match op {
        RequestOp::Put(_) => true,
        RequestOp::Txn(t) => puts(t),
        RequestOp::Range(_) | RequestOp::DeleteRange(_) => false,
    })
}

/// Returns whether every operation is a range, so that the answer needs no place in the log. As in
/// etcd, a transaction with another one inside it goes through the log, also if none of them writes
/// (`IsTxnReadonly` in server/etcdserver/txn/txn.go): an alarm or its size may forbid it.
pub(crate) fn is_readonly(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| matches!(op, RequestOp::Range(_)))
}

/// Returns whether a transaction that [`is_readonly`] may be answered from this member's own state:
/// every range says so.
pub(crate) fn is_serializable(txn: &TxnRequest) -> bool {
    let mut ops = txn.success.iter().chain(&txn.failure);
    ops.all(|op| matches!(op, RequestOp::Range(r) if r.serializable))
}

/// Runs a transaction. Either everything happens, or an error and nothing.
///
/// # Errors
/// `KeyNotFound`: a put keeps the value or lease of a key that does not exist. `LeaseNotFound`:
/// `has_lease` does not know a put's lease. `Compacted`, `FutureRevision`: as [`read`].
pub fn execute(
    store: &mut Store,
    txn: &TxnRequest,
    has_lease: impl Fn(i64) -> bool,
) -> Result<(TxnResponse, Arc<[Event]>), Error> {
    let mut path = Vec::new();
    decide(store, txn, &mut path);
    check_ops(store, txn, &mut path.iter().copied(), &has_lease)?;
    let mut write = store.write();
    let response = run(&mut write, txn, &mut path.iter().copied());
    Ok((response, write.commit()))
}

/// Runs a transaction that [`is_readonly`].
///
/// # Errors
/// `Compacted` or `FutureRevision` if a range names such a revision.
pub fn read(store: &Store, txn: &TxnRequest) -> Result<TxnResponse, Error> {
    let succeeded = txn.compare.iter().all(|c| holds(store, c));
    let mut responses = Vec::new();
    for op in if succeeded { &txn.success } else { &txn.failure } {
        let RequestOp::Range(r) = op else { continue }; // excluded by `is_readonly`
        store.check_revision_in_txn(r.revision)?;
        responses.push(ResponseOp::Range(store.range(r)?));
    }
    Ok(TxnResponse { revision: store.revision(), succeeded, responses })
}

/// Appends to `path` the branch that each transaction takes, nested ones in order. All comparisons
/// see the state before the writes.
fn decide(store: &Store, txn: &TxnRequest, path: &mut Vec<bool>) {
    let succeeded = txn.compare.iter().all(|c| holds(store, c));
    path.push(succeeded);
    for op in if succeeded { &txn.success } else { &txn.failure } {
        if let RequestOp::Txn(t) = op {
            decide(store, t, path);
        }
    }
}

fn holds(store: &Store, compare: &Compare) -> bool {
    let span = Span::new(&compare.key, &compare.range_end);
    let mut keys = store.live(&span, Revision::MAX).peekable();
    if keys.peek().is_none() {
        // a key that does not exist has version 0, revisions 0, lease 0, and no value at all
        let absent = KeyValue::default();
        return !matches!(compare.target, CompareTarget::Value(_)) && holds_for(compare, &absent);
    }
    keys.all(|kv| holds_for(compare, kv))
}

fn holds_for(compare: &Compare, kv: &KeyValue) -> bool {
    let order = match &compare.target {
        CompareTarget::Version(v) => kv.version.cmp(v),
        CompareTarget::CreateRevision(r) => kv.create_revision.cmp(r),
        CompareTarget::ModRevision(r) => kv.mod_revision.cmp(r),
        CompareTarget::Value(v) => kv.value.cmp(v),
        CompareTarget::Lease(l) => kv.lease.cmp(l),
    };
    match compare.result {
        CompareResult::Equal => order == Ordering::Equal,
        CompareResult::Greater => order == Ordering::Greater,
        CompareResult::Less => order == Ordering::Less,
        CompareResult::NotEqual => order != Ordering::Equal,
    }
}

/// Checks one operation after the other, as etcd 3.6 (`checkTxn`): the first that cannot run
/// decides the error.
///
/// Example: of a range at a future revision and, behind it, a put with a lease that does not exist,
/// the answer is `FutureRevision`.
fn check_ops(
    store: &Store,
    txn: &TxnRequest,
    path: &mut impl Iterator<Item = bool>,
    has_lease: &impl Fn(i64) -> bool,
) -> Result<(), Error> {
    for op in branch(txn, path).1 {
        match op {
            RequestOp::Range(r) => store.check_revision_in_txn(r.revision)?,
            RequestOp::Put(r) if (r.ignore_value || r.ignore_lease) && now(store, &r.key).is_none() => {
                return Err(Error::KeyNotFound);
            }
            RequestOp::Put(r) if r.lease != 0 && !has_lease(r.lease) => return Err(Error::LeaseNotFound),
            RequestOp::Put(_) | RequestOp::DeleteRange(_) => {}
            RequestOp::Txn(t) => check_ops(store, t, path, has_lease)?,
        }
    }
    Ok(())
}

/// Returns the key as it is, with an open write's changes.
fn now(store: &Store, key: &Bytes) -> Option<KeyValue> {
    let span = Span::new(key, &Bytes::new());
    store.live(&span, Revision::MAX).next().cloned()
}

fn branch<'t>(txn: &'t TxnRequest, path: &mut impl Iterator<Item = bool>) -> (bool, &'t [RequestOp]) {
    match path.next() {
        Some(true) => (true, &txn.success),
        Some(false) | None => (false, &txn.failure),
    }
}

fn run(write: &mut Write<'_>, txn: &TxnRequest, path: &mut impl Iterator<Item = bool>) -> TxnResponse {
    let (succeeded, ops) = branch(txn, path);
    let mut responses = Vec::with_capacity(ops.len());
    for op in ops {
        responses.push(match op {
            RequestOp::Range(r) => {
                let mut got = write.store().range(r).unwrap_or_default(); // revisions were checked above
                got.revision = write.revision();
                ResponseOp::Range(got)
            }
            RequestOp::Put(r) => {
                let (mut value, mut lease) = (r.value.clone(), r.lease);
                if let Some(kept) = now(write.store(), &r.key).filter(|_| r.ignore_value || r.ignore_lease) {
                    value = if r.ignore_value { kept.value } else { value };
                    lease = if r.ignore_lease { kept.lease } else { lease };
                }
                let prev = write.put(r.key.clone(), value, lease);
                ResponseOp::Put { revision: write.revision(), prev_kv: prev.filter(|_| r.prev_kv) }
            }
            RequestOp::DeleteRange(r) => {
                let gone = write.delete_range(&Span::new(&r.key, &r.range_end));
                let deleted = gone.len() as i64;
                let prev_kvs = if r.prev_kv { gone } else { vec![] };
                ResponseOp::DeleteRange { revision: write.revision(), deleted, prev_kvs }
            }
            RequestOp::Txn(t) => ResponseOp::Txn(run(write, t, path)),
        });
    }
    TxnResponse { revision: write.revision(), succeeded, responses }
}

#[cfg(test)]
mod tests;
