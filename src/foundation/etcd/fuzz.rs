//! What the store reads of its log, of other members, of files and of clients, given nonsense.

use super::alarm::{Alarm, AlarmKind};
use super::api::{Compare, CompareResult, CompareTarget, PutRequest, RangeRequest, RequestOp, TxnRequest};
use super::command::Command;
use super::machine::{Applied, Shared};
use super::snapshot::Frozen;
use super::{command, database, snapshot};
use bytes::Bytes;
use rng::fuzz::{Target, all};
use std::time::Duration;

const NOW: Duration = Duration::ZERO;

fn examples() -> Vec<Command> {
    let key = || Bytes::from("key");
    let put =
        RequestOp::Put(PutRequest { key: key(), value: "value".into(), lease: 7, ..Default::default() });
    let range = RequestOp::Range(RangeRequest { key: key(), range_end: "z".into(), ..Default::default() });
    let target = CompareTarget::Value("value".into());
    let compare = Compare { key: key(), range_end: Bytes::new(), result: CompareResult::Less, target };
    let inner = TxnRequest { success: vec![put.clone()], ..Default::default() };
    let txn = TxnRequest {
        compare: vec![compare],
        success: vec![put, range],
        failure: vec![RequestOp::Txn(inner)],
    };
    vec![
        Command::LeaseGrant { id: 7, ttl: 60 },
        Command::Txn(txn),
        Command::Compact { revision: 1 },
        Command::LeaseRenew { id: 7 },
        Command::Alarm { alarm: Alarm { kind: AlarmKind::NoSpace, member: 9 }, on: true },
        Command::LeaseExpire { id: 7, seen: 3 },
        Command::LeaseRevoke { id: 7 },
    ]
}

/// Makes a store in which something has happened.
fn lived() -> Shared {
    let shared = Shared::new();
    for command in examples().iter().take(4) {
        shared.apply(command, Applied { index: 1, term: 1 }, NOW, &mut vec![]).expect("an example");
    }
    shared
}

/// Checks that what was understood means the same when it is written again, and that a machine can
/// do it, or refuse.
fn commands(input: &[u8]) -> bool {
    let Ok((request, command)) = command::decode(&Bytes::copy_from_slice(input)) else { return false };
    let again = command::decode(&command::encode(request, &command)).expect("what it wrote itself");
    assert_eq!(format!("{again:?}"), format!("{:?}", (request, &command)));
    let _ = lived().apply(&command, Applied { index: 2, term: 1 }, NOW, &mut vec![]); // what it answers is not the question
    true
}

fn snapshots(input: &[u8]) -> bool {
    let Ok((store, leases, alarms)) = snapshot::decode(&Bytes::copy_from_slice(input)) else {
        return false;
    };
    let again = Frozen::of(&store, &leases, &alarms).encode();
    assert!(snapshot::decode(&again.into()).is_ok(), "what it wrote itself");
    true
}

fn databases(input: &[u8]) -> bool {
    database::summary(input).is_ok()
}

#[test]
fn nonsense_is_refused() {
    let shared = lived();
    let frozen = Frozen::of(&shared.read(), &shared.leases(), &shared.alarms());
    let target = |name, examples, reads| Target { name, examples, words: &[], reads };
    let logged = examples().iter().map(|c| command::encode(3, c).to_vec()).collect();
    all(
        "etcd::fuzz",
        vec![
            target("commands of the log", logged, commands as fn(&[u8]) -> bool),
            target("snapshots", vec![frozen.encode()], snapshots),
            super::grpc::fuzz::target(),
            target("database files", vec![database::write(&frozen, &[], 5, 2)], databases),
        ],
    );
}
