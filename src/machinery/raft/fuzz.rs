//! What members read of each other and of their disks, given nonsense.

use super::codec;
use super::fields::Reader;
use super::message::{Body, ConfState, Entry, HardState, Message, Payload, SnapshotRef};
use super::records::Records;
use super::sim::disk::SimDisk;
use super::wal::{Wal, WalOptions};
use super::wal_error::WalError;
use super::{Ready, segment};
use bytes::Bytes;
use rng::fuzz::{Target, all};
use std::path::Path;
use std::sync::Arc;

/// What was understood once is understood again, and means the same.
fn message(input: &[u8]) -> bool {
    let Ok(message) = codec::decode_message(Bytes::copy_from_slice(input)) else { return false };
    assert_eq!(codec::decode_message(codec::encode_message(&message).into()), Ok(message));
    true
}

fn entry(input: &[u8]) -> bool {
    let r = &mut Reader::new(Bytes::copy_from_slice(input));
    let Ok(entry) = codec::entry(r) else { return false };
    let mut again = vec![];
    codec::put_entry(&mut again, &entry);
    assert_eq!(codec::entry(&mut Reader::new(again.into())), Ok(entry));
    true
}

fn open(disk: &SimDisk) -> Result<usize, WalError> {
    let initial = SnapshotRef { conf: ConfState::of([1]), ..SnapshotRef::default() };
    let options = WalOptions { segment_bytes: 4096, prepare: false };
    let (_, found) = Wal::open(Arc::new(disk.clone()), Path::new("/member"), &initial, options)?;
    Ok(found.stored.entries.len())
}

/// Records behind a checksum that fits: what a program with a bug, or a later one, would have
/// written.
fn records(input: &[u8]) -> bool {
    let disk = SimDisk::default();
    let initial = SnapshotRef { conf: ConfState::of([1]), ..SnapshotRef::default() };
    let options = WalOptions { segment_bytes: 4096, prepare: false };
    let opened = Wal::open(Arc::new(disk.clone()), Path::new("/member"), &initial, options);
    let (mut wal, _) = opened.expect("a new log");
    wal.append(&[Records::raw(input)]).expect("room");
    drop(wal);
    let (first, second) = (open(&disk), open(&disk));
    assert_eq!(first.is_ok(), second.is_ok(), "once refused, refused again: {first:?} {second:?}");
    first.is_ok()
}

#[test]
fn nonsense_is_refused() {
    let of = |index, payload| Entry { term: 2, index, payload };
    let entries = vec![of(1, Payload::Normal(Bytes::from("value"))), of(2, Payload::Normal(Bytes::new()))];
    let snapshot =
        SnapshotRef { index: 7, term: 2, conf: ConfState::of([1, 2, 3]), data: Bytes::from("state") };
    let encoded = |body| codec::encode_message(&Message { from: 1, to: 2, term: 3, body });
    let messages = vec![
        encoded(Body::MsgApp { index: 0, log_term: 0, entries: entries.clone(), commit: 5 }),
        encoded(Body::MsgSnap(snapshot)),
        encoded(Body::MsgVote { index: 4, log_term: 2, transfer: true }),
        encoded(Body::MsgProp { data: Bytes::from("value") }),
        encoded(Body::MsgAsk { ctx: 9, applied: 4, data: Bytes::from("question") }),
        encoded(Body::MsgAnswer { ctx: 9, data: Bytes::from("answer") }),
    ];
    let mut one = vec![];
    codec::put_entry(&mut one, &entries[0]);
    let hard = Some(HardState { term: 2, vote: 1, commit: 1 });
    let mut batch = Records::of(&Ready { hard, append: entries, ..Ready::default() }).payload;
    segment::put_truncate(&mut batch, 2);
    all(
        "raft::fuzz",
        vec![
            Target { name: "messages of members", examples: messages, words: &[], reads: message },
            Target { name: "entries", examples: vec![one], words: &[], reads: entry },
            Target { name: "records of the log", examples: vec![batch], words: &[], reads: records },
        ],
    );
}
