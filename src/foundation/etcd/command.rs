//! Commands, and their bytes as they stand in the Raft log.
//!
//! `version u8 | request id | kind u8 | fields`. The request id names the proposer's waiting
//! caller.

use super::alarm::{self, Alarm};
use super::api::{
    Compare, CompareResult, CompareTarget, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, Revision,
    SortOrder, SortTarget, TxnRequest,
};
use super::txn::DEPTH_MAX;
use bytes::Bytes;
use raft::fields::{DecodeError, Reader, put_bytes, put_i64, put_u64};

/// Version 1 is the first; 2 knows sorted and bounded ranges and puts that keep what a key has; 3
/// knows leases that expire as seen at an entry. A later one must still read entries of the
/// versions before it.
const VERSION: u8 = 3;
/// Bytes beside a key and its value that may be kept in memory with them.
const SLACK: usize = 256;

/// The content of an entry of the Raft log. Reads have none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Txn(TxnRequest),
    /// Forgets history (`Store::compact`). `a=1` is revision 2, `b=2` is 3, `a=4` is 4; compact 3:
    ///
    /// ```text
    /// read at 3 or 4    a=1 b=2, a=4 b=2: the state at 3 stays, so a=1 does
    /// read at 2         Compacted
    /// watch from 3      b=2, a=4
    /// watch from 2      Compacted: list the keys, and watch from there
    /// ```
    ///
    /// A key that was deleted before revision 3 is forgotten with its last version.
    Compact {
        revision: Revision,
    },
    LeaseGrant {
        id: i64,
        ttl: i64,
    },
    LeaseRevoke {
        id: i64,
    },
    /// The leader saw that a lease had expired when it had applied entry `seen`. A renewal that was
    /// in the log behind that entry counts.
    LeaseExpire {
        id: i64,
        seen: u64,
    },
    /// Tells every member that the holder is alive; changes no key and no revision.
    LeaseRenew {
        id: i64,
    },
    /// Raises or ends an alarm; changes no key and no revision.
    Alarm {
        alarm: Alarm,
        on: bool,
    },
}

/// Encodes a command and the number of the request that waits for its outcome.
pub(crate) fn encode(request: u64, command: &Command) -> Bytes {
    let mut out = vec![VERSION];
    put_u64(&mut out, request);
    match command {
        Command::Txn(txn) => {
            out.push(1);
            put_txn(&mut out, txn);
        }
        Command::Compact { revision } => {
            out.push(2);
            put_i64(&mut out, *revision);
        }
        Command::LeaseGrant { id, ttl } => {
            out.push(3);
            put_i64(&mut out, *id);
            put_i64(&mut out, *ttl);
        }
        Command::LeaseRevoke { id } => {
            out.push(4);
            put_i64(&mut out, *id);
        }
        Command::LeaseRenew { id } => {
            out.push(5);
            put_i64(&mut out, *id);
        }
        Command::LeaseExpire { id, seen } => {
            out.push(7);
            put_i64(&mut out, *id);
            put_u64(&mut out, *seen);
        }
        Command::Alarm { alarm, on } => {
            out.extend([6, u8::from(*on), alarm.kind as u8]);
            put_u64(&mut out, alarm.member);
        }
    }
    // Its keys and values stay in memory with it as long as their history does: no room that
    // growing left over.
    out.into_boxed_slice().into()
}

/// Reads what [`encode`] wrote. Byte strings are shared with `bytes`, but for keys and values that
/// are only a small part of it: what is stored must not keep a large entry in memory.
pub(crate) fn decode(bytes: &Bytes) -> Result<(u64, Command), DecodeError> {
    let r = &mut Reader::new(bytes.clone());
    let version = r.u8()?;
    if !(1..=VERSION).contains(&version) {
        return Err(DecodeError::Unknown { what: "command version", value: version.into() });
    }
    let request = r.u64()?;
    let command = match r.u8()? {
        1 => Command::Txn(txn(r, 0)?),
        2 => Command::Compact { revision: r.i64()? },
        3 => Command::LeaseGrant { id: r.i64()?, ttl: r.i64()? },
        4 => Command::LeaseRevoke { id: r.i64()? },
        5 => Command::LeaseRenew { id: r.i64()? },
        6 => {
            let on = r.bool()?;
            Command::Alarm { alarm: alarm::decode(r)?, on }
        }
        7 => Command::LeaseExpire { id: r.i64()?, seen: r.u64()? },
        n => return Err(DecodeError::Unknown { what: "command", value: n.into() }),
    };
    r.end()?;
    Ok((request, command))
}

fn put_txn(out: &mut Vec<u8>, txn: &TxnRequest) {
    put_u64(out, txn.compare.len() as u64);
    txn.compare.iter().for_each(|c| put_compare(out, c));
    for ops in [&txn.success, &txn.failure] {
        put_u64(out, ops.len() as u64);
        ops.iter().for_each(|op| put_op(out, op));
    }
}

fn txn(r: &mut Reader, depth: usize) -> Result<TxnRequest, DecodeError> {
    if depth > DEPTH_MAX {
        return Err(DecodeError::Unknown { what: "depth of a transaction", value: depth as u64 });
    }
    let mut txn = TxnRequest::default();
    for _ in 0..r.count()? {
        txn.compare.push(compare(r)?);
    }
    for ops in [&mut txn.success, &mut txn.failure] {
        for _ in 0..r.count()? {
            ops.push(op(r, depth)?);
        }
    }
    Ok(txn)
}

fn put_compare(out: &mut Vec<u8>, c: &Compare) {
    put_bytes(out, &c.key);
    put_bytes(out, &c.range_end);
    out.push(match c.result {
        CompareResult::Equal => 0,
        CompareResult::Greater => 1,
        CompareResult::Less => 2,
        CompareResult::NotEqual => 3,
    });
    let (target, number) = match &c.target {
        CompareTarget::Version(n) => (0, *n),
        CompareTarget::CreateRevision(n) => (1, *n),
        CompareTarget::ModRevision(n) => (2, *n),
        CompareTarget::Lease(n) => (3, *n),
        CompareTarget::Value(value) => {
            out.push(4);
            return put_bytes(out, value);
        }
    };
    out.push(target);
    put_i64(out, number);
}

fn compare(r: &mut Reader) -> Result<Compare, DecodeError> {
    let (key, range_end) = (r.bytes()?, r.bytes()?);
    let result = match r.u8()? {
        0 => CompareResult::Equal,
        1 => CompareResult::Greater,
        2 => CompareResult::Less,
        3 => CompareResult::NotEqual,
        n => return Err(DecodeError::Unknown { what: "comparison", value: n.into() }),
    };
    let target = match r.u8()? {
        0 => CompareTarget::Version(r.i64()?),
        1 => CompareTarget::CreateRevision(r.i64()?),
        2 => CompareTarget::ModRevision(r.i64()?),
        3 => CompareTarget::Lease(r.i64()?),
        4 => CompareTarget::Value(r.bytes()?),
        n => return Err(DecodeError::Unknown { what: "comparison target", value: n.into() }),
    };
    Ok(Compare { key, range_end, result, target })
}

fn put_op(out: &mut Vec<u8>, op: &RequestOp) {
    match op {
        RequestOp::Range(q) => {
            out.push(5);
            put_bytes(out, &q.key);
            put_bytes(out, &q.range_end);
            put_i64(out, q.limit);
            put_i64(out, q.revision);
            out.extend([u8::from(q.serializable), u8::from(q.keys_only), u8::from(q.count_only)]);
            out.extend([q.sort_order as u8, q.sort_target as u8]);
            for bound in
                [q.min_mod_revision, q.max_mod_revision, q.min_create_revision, q.max_create_revision]
            {
                put_i64(out, bound);
            }
        }
        RequestOp::Put(q) => {
            out.push(6);
            put_bytes(out, &q.key);
            put_bytes(out, &q.value);
            put_i64(out, q.lease);
            out.extend([u8::from(q.prev_kv), u8::from(q.ignore_value), u8::from(q.ignore_lease)]);
        }
        RequestOp::DeleteRange(q) => {
            out.push(3);
            put_bytes(out, &q.key);
            put_bytes(out, &q.range_end);
            out.push(u8::from(q.prev_kv));
        }
        RequestOp::Txn(t) => {
            out.push(4);
            put_txn(out, t);
        }
    }
}

fn op(r: &mut Reader, depth: usize) -> Result<RequestOp, DecodeError> {
    Ok(match r.u8()? {
        kind @ (1 | 5) => {
            let mut range = RangeRequest {
                key: r.bytes()?,
                range_end: r.bytes()?,
                limit: r.i64()?,
                revision: r.i64()?,
                serializable: r.bool()?,
                keys_only: r.bool()?,
                count_only: r.bool()?,
                ..RangeRequest::default()
            };
            if kind == 5 {
                order(r, &mut range)?;
            }
            RequestOp::Range(range)
        }
        kind @ (2 | 6) => {
            let (mut key, mut value, lease, prev_kv) = (r.bytes()?, r.bytes()?, r.i64()?, r.bool()?);
            if r.total() > 2 * (key.len() + value.len()) + SLACK {
                (key, value) = (Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value));
            }
            let (ignore_value, ignore_lease) =
                if kind == 6 { (r.bool()?, r.bool()?) } else { (false, false) };
            RequestOp::Put(PutRequest { key, value, lease, prev_kv, ignore_value, ignore_lease })
        }
        3 => RequestOp::DeleteRange(DeleteRangeRequest {
            key: r.bytes()?,
            range_end: r.bytes()?,
            prev_kv: r.bool()?,
        }),
        4 => RequestOp::Txn(txn(r, depth + 1)?),
        n => return Err(DecodeError::Unknown { what: "operation", value: n.into() }),
    })
}

fn order(r: &mut Reader, range: &mut RangeRequest) -> Result<(), DecodeError> {
    range.sort_order = match r.u8()? {
        0 => SortOrder::None,
        1 => SortOrder::Ascend,
        2 => SortOrder::Descend,
        n => return Err(DecodeError::Unknown { what: "sort order", value: n.into() }),
    };
    range.sort_target = match r.u8()? {
        0 => SortTarget::Key,
        1 => SortTarget::Version,
        2 => SortTarget::CreateRevision,
        3 => SortTarget::ModRevision,
        4 => SortTarget::Value,
        n => return Err(DecodeError::Unknown { what: "sort target", value: n.into() }),
    };
    (range.min_mod_revision, range.max_mod_revision) = (r.i64()?, r.i64()?);
    (range.min_create_revision, range.max_create_revision) = (r.i64()?, r.i64()?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::alarm::AlarmKind;
    use super::super::lease::Moment;
    use super::super::machine::{Applied, Shared};
    use super::*;
    use proptest::prelude::*;

    fn data() -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from)
    }

    fn any_compare() -> impl Strategy<Value = Compare> {
        let n = any::<i64>;
        let result = prop_oneof![
            Just(CompareResult::Equal),
            Just(CompareResult::Greater),
            Just(CompareResult::Less),
            Just(CompareResult::NotEqual)
        ];
        let target = prop_oneof![
            n().prop_map(CompareTarget::Version),
            n().prop_map(CompareTarget::CreateRevision),
            n().prop_map(CompareTarget::ModRevision),
            n().prop_map(CompareTarget::Lease),
            data().prop_map(CompareTarget::Value)
        ];
        (data(), data(), result, target).prop_map(|(key, range_end, result, target)| Compare {
            key,
            range_end,
            result,
            target,
        })
    }

    fn any_range() -> impl Strategy<Value = RequestOp> {
        let n = any::<i64>;
        let order = prop_oneof![
            Just((SortOrder::None, SortTarget::Key)),
            Just((SortOrder::Ascend, SortTarget::Value)),
            Just((SortOrder::Descend, SortTarget::ModRevision))
        ];
        (data(), data(), n(), n(), any::<[bool; 3]>(), order, any::<[i64; 4]>()).prop_map(
            |(key, range_end, limit, revision, flags, (sort_order, sort_target), bounds)| {
                RequestOp::Range(RangeRequest {
                    key,
                    range_end,
                    limit,
                    revision,
                    serializable: flags[0],
                    continued: false,
                    keys_only: flags[1],
                    count_only: flags[2],
                    sort_order,
                    sort_target,
                    min_mod_revision: bounds[0],
                    max_mod_revision: bounds[1],
                    min_create_revision: bounds[2],
                    max_create_revision: bounds[3],
                })
            },
        )
    }

    fn any_txn() -> impl Strategy<Value = TxnRequest> {
        let n = any::<i64>;
        let leaf = prop_oneof![
            any_range(),
            (data(), data(), n(), any::<[bool; 3]>()).prop_map(
                |(key, value, lease, [prev_kv, ignore_value, ignore_lease])| RequestOp::Put(PutRequest {
                    key,
                    value,
                    lease,
                    prev_kv,
                    ignore_value,
                    ignore_lease
                })
            ),
            (data(), data(), any::<bool>()).prop_map(|(key, range_end, prev_kv)| RequestOp::DeleteRange(
                DeleteRangeRequest { key, range_end, prev_kv }
            )),
        ];
        let compares = proptest::collection::vec(any_compare(), 0..3);
        let op = leaf.prop_recursive(3, 12, 3, move |inner| {
            let ops = || proptest::collection::vec(inner.clone(), 0..3);
            (ops(), ops()).prop_map(|(success, failure)| {
                RequestOp::Txn(TxnRequest { compare: vec![], success, failure })
            })
        });
        let ops = || proptest::collection::vec(op.clone(), 0..4);
        (compares, ops(), ops()).prop_map(|(compare, success, failure)| TxnRequest {
            compare,
            success,
            failure,
        })
    }

    /// A small key that outlives a large transaction does not keep it in memory; a large value is
    /// not copied.
    #[test]
    fn what_is_stored_does_not_hold_on_to_a_large_entry() {
        let put = |key: &'static str, size: usize| {
            let (key, value) = (Bytes::from(key), Bytes::from(vec![7; size]));
            RequestOp::Put(PutRequest { key, value, ..Default::default() })
        };
        let success = vec![put("small", 1), put("large", 100_000)];
        let entry = encode(1, &Command::Txn(TxnRequest { success, ..Default::default() }));
        let Ok((_, Command::Txn(txn))) = decode(&entry) else { panic!("it was just written") };
        let inside = |part: &Bytes| entry.as_ptr_range().contains(&part.as_ptr());
        let shares: Vec<(bool, bool)> = txn
            .success
            .iter()
            .map(|op| match op {
                RequestOp::Put(put) => (inside(&put.key), inside(&put.value)),
                _ => panic!("{op:?}"),
            })
            .collect();
        assert_eq!(shares, [(false, false), (true, true)]);
    }

    /// What a key was first set to leaves memory with its version, although the key or its
    /// tombstone stays.
    #[test]
    fn a_key_does_not_hold_on_to_its_first_entry() {
        let put = |value: Vec<u8>| {
            RequestOp::Put(PutRequest { key: "key".into(), value: value.into(), ..Default::default() })
        };
        let delete = RequestOp::DeleteRange(DeleteRangeRequest { key: "key".into(), ..Default::default() });
        for next in [put(vec![]), delete] {
            let shared = Shared::new();
            let apply = |command: &Command| {
                let entry = encode(1, command);
                let (_, command) = decode(&entry).expect("it was just written");
                shared.apply(&command, Applied::default(), Moment::ZERO, &mut vec![]).expect("it is applied");
                entry
            };
            let write = |op| apply(&Command::Txn(TxnRequest { success: vec![op], ..Default::default() }));
            let first = write(put(vec![7; 100_000]));
            assert!(!first.is_unique(), "its value is shared, not copied");
            write(next.clone());
            apply(&Command::Compact { revision: 3 });
            assert!(first.is_unique(), "it is kept in memory after {next:?}");
        }
    }

    #[test]
    fn entries_of_version_2_are_still_read() {
        let renew = [&[2, 9, 5][..], &[14]].concat();
        assert_eq!(decode(&renew.into()), Ok((9, Command::LeaseRenew { id: 7 })));
    }

    #[test]
    fn entries_of_version_1_are_still_read() {
        let mut old = vec![1];
        put_u64(&mut old, 9);
        old.push(1); // a transaction: no comparison, two operations, no failure
        [0, 2].iter().for_each(|n| put_u64(&mut old, *n));
        old.push(1); // a range as it was
        ["a", "b"].iter().for_each(|key| put_bytes(&mut old, key.as_bytes()));
        [5, 6].iter().for_each(|n| put_i64(&mut old, *n));
        old.extend([1, 0, 1, 2]); // its flags, then a put as it was
        ["k", "v"].iter().for_each(|key| put_bytes(&mut old, key.as_bytes()));
        put_i64(&mut old, 7);
        old.push(1);
        put_u64(&mut old, 0);
        let range = RangeRequest {
            key: "a".into(),
            range_end: "b".into(),
            limit: 5,
            revision: 6,
            serializable: true,
            count_only: true,
            ..Default::default()
        };
        let put =
            PutRequest { key: "k".into(), value: "v".into(), lease: 7, prev_kv: true, ..Default::default() };
        let success = vec![RequestOp::Range(range), RequestOp::Put(put)];
        let command = Command::Txn(TxnRequest { success, ..Default::default() });
        assert_eq!(decode(&old.into()), Ok((9, command)));
    }

    proptest! {
        #[test]
        fn commands_survive_the_log(request: u64, txn in any_txn(), id: i64, ttl: i64) {
            for command in [
                Command::Txn(txn),
                Command::Compact { revision: id },
                Command::LeaseGrant { id, ttl },
                Command::LeaseRevoke { id },
                Command::LeaseRenew { id },
                Command::LeaseExpire { id, seen: request },
                Command::Alarm { alarm: Alarm { kind: AlarmKind::Corrupt, member: request }, on: ttl > 0 },
            ] {
                let bytes = encode(request, &command);
                prop_assert_eq!(decode(&bytes), Ok((request, command)));
                prop_assert!(decode(&bytes.slice(..bytes.len() - 1)).is_err());
            }
        }
    }
}
