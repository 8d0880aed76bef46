use super::super::fuzz::{One, PATIENCE};
use super::*;
use crate::command::Command;
use crate::kv::Kv;
use crate::machine::{Outcome, Shared};
use crate::member::{self, Backend, Pending};
use crate::question::Question;
use futures::StreamExt;
use rng::Rng;
use std::pin::pin;
use std::task::Poll;
use tokio::sync::{Semaphore, oneshot, watch};
use tonic::Code;

/// A member whose disk is full. It is alone, or hears no leader.
struct FullDisk {
    alone: bool,
}

impl Backend for FullDisk {
    fn propose(&self, _: &Command) -> Result<Pending<Outcome>, Error> {
        Err(Error::NoSpace)
    }
    fn read_barrier(&self) -> Result<Option<Pending<()>>, Error> {
        let (answer, pending) = oneshot::channel();
        let _ = answer.send(Err(Error::NoLeader)); // we hold the receiver
        Ok(Some(pending))
    }
    fn ask(&self, _: &Question) -> Result<Pending<Option<Bytes>>, Error> {
        Err(Error::NoSpace)
    }
    fn leader(&self) -> Option<watch::Receiver<u64>> {
        None
    }
    fn local_reads(&self) -> bool {
        self.alone
    }
    fn status(&self) -> member::Status {
        member::Status { refuses: Some(Error::NoSpace), ..member::Status::default() }
    }
}

fn on_full_disk(alone: bool) -> Kv {
    Kv::new(Arc::new(Shared::new()), Arc::new(FullDisk { alone }), Rng::seeded(1), u64::MAX)
}

/// Returns the member of `face` with another store, or with other members beside it.
fn another(face: &Face, kv: Kv, members: Vec<pb::Member>) -> Arc<Face> {
    Arc::new(Face {
        kv,
        raft: face.raft.clone(),
        member: face.member,
        cluster: face.cluster,
        members: watch::channel(members).1,
        crew: face.crew.clone(),
        files: Arc::new(Semaphore::new(1)),
        tap: face.tap.clone(),
    })
}

fn put(key: &str, size: usize) -> crate::api::PutRequest {
    let key = Bytes::copy_from_slice(key.as_bytes());
    crate::api::PutRequest { key, value: vec![7; size].into(), ..Default::default() }
}

#[test]
fn clients_that_read_no_snapshot_keep_no_other_out() {
    let one = One::start();
    let face = one.face.clone();
    one.runtime.block_on(async move {
        face.kv.put(put("key", 4 * CHUNK)).await.unwrap();
        tokio::time::pause();
        let ask = || face.clone().snapshot(pb::SnapshotRequest {});
        let mut unread = vec![];
        for _ in 0..super::super::face::FILES_MAX {
            let mut pieces = ask();
            assert!(pieces.next().await.is_some_and(|piece| piece.is_ok()));
            unread.push(pieces);
        }
        let refused = tokio::time::timeout(2 * PLACE_PATIENCE, ask().next()).await;
        let refused = refused.expect("it waits without end").expect("an answer").unwrap_err();
        assert_eq!(refused.message(), Error::TooManyRequests.to_string());
        tokio::time::sleep(2 * IDLE).await;
        let (mut file, mut pieces) = (vec![], ask());
        while let Some(piece) = pieces.next().await {
            file.extend(piece.expect("places are free").blob);
        }
        let (file, sum) = file.split_at(file.len() - 32);
        assert_eq!(Sha256::digest(file)[..], *sum);
        for pieces in unread {
            let last = pieces.collect::<Vec<_>>().await.pop().expect("an end");
            assert_eq!(last.expect_err("it is not whole").message(), left_unread().message());
        }
    });
}

/// A file and its checksum take as much memory as the store.
#[test]
fn a_checksum_of_all_buckets_holds_the_place_of_copies_until_it_is_there() {
    let one = One::start();
    let face = one.face.clone();
    one.runtime.block_on(async move {
        face.kv.put(put("key", 4 * CHUNK)).await.unwrap();
        let mut answer = pin!(face.clone().hash(pb::HashRequest {}));
        let held = std::future::poll_fn(|cx| {
            let answered = answer.as_mut().poll(cx);
            match answered {
                Poll::Ready(answer) => Poll::Ready(answer.map(drop).is_ok()),
                Poll::Pending if face.kv.copies_free() > 0 => Poll::Ready(false),
                Poll::Pending => Poll::Pending,
            }
        });
        assert!(tokio::time::timeout(PATIENCE, held).await.expect("an answer"));
    });
}

/// A renewal is an entry of the log, and changes no data.
#[test]
fn a_checksum_of_all_buckets_changes_with_the_data_alone() {
    let one = One::start();
    let face = one.face.clone();
    one.runtime.block_on(async move {
        let ask = async || face.clone().hash(pb::HashRequest {}).await.unwrap().hash;
        let lease = face.kv.lease_grant(60, 0).await.unwrap();
        let before = ask().await;
        face.kv.lease_keep_alive(lease).await.unwrap();
        assert_eq!(ask().await, before);
        face.kv.put(put("key", 1)).await.unwrap();
        assert_ne!(ask().await, before);
    });
}

/// As an etcd that was restarted since: one that was not answers with the checksum that it took
/// before the compaction.
#[test]
fn the_checksum_at_a_compaction_is_over_what_it_left() {
    let one = One::start();
    let face = one.face.clone();
    one.runtime.block_on(async move {
        for _ in 0..3 {
            face.kv.put(put("key", 1)).await.unwrap();
        }
        let ask = || face.clone().hash_kv(pb::HashKvRequest { revision: 3 });
        let before = ask().await.unwrap();
        face.kv.compact(3).await.unwrap();
        let after = ask().await.unwrap();
        assert_eq!((after.hash_revision, after.compact_revision), (3, 3));
        assert_ne!(after.hash, before.hash);
        face.kv.compact(4).await.unwrap();
        let gone = ask().await.unwrap_err();
        assert_eq!(gone.message(), Error::Compacted { compact_revision: 4 }.to_string());
    });
}

#[test]
fn answers_have_what_etcd_3_6_tells() {
    let one = One::start();
    let face = one.face.clone();
    one.runtime.block_on(async move {
        for _ in 0..3 {
            face.kv.put(put("key", 1)).await.unwrap();
        }
        let alarms = face.clone().alarm(pb::AlarmRequest::default()).await.unwrap();
        assert_eq!(alarms.header.map(|header| header.revision), Some(4));
        face.kv.compact(3).await.unwrap();
        for (asked, expected) in [(0, 4), (4, 4)] {
            let hash = face.clone().hash_kv(pb::HashKvRequest { revision: asked }).await.unwrap();
            assert_eq!((hash.hash_revision, hash.compact_revision), (expected, 3));
        }
        let old = face.clone().hash_kv(pb::HashKvRequest { revision: 2 }).await.unwrap_err();
        assert_eq!(old.message(), Error::Compacted { compact_revision: 3 }.to_string());
        let status = face.clone().status(pb::StatusRequest {}).await.unwrap();
        assert_eq!(status.storage_version, "3.6.0");
        let json = serde_json::to_string(&status).expect("JSON");
        assert!(json.ends_with(",\"downgradeInfo\":{}}"), "{json}");
        let (mut file, mut pieces) = (vec![], face.clone().snapshot(pb::SnapshotRequest {}));
        while let Some(piece) = pieces.next().await {
            let piece = piece.expect("a piece");
            assert_eq!(piece.version, "3.6.0");
            file.extend(piece.blob);
        }
        file.truncate(file.len() - 32); // its checksum
        let buckets = crate::database::bolt::read(&file).expect("a database");
        let meta = buckets.iter().find(|bucket| bucket.name == b"meta").expect("its state");
        let version = meta.records.get(&b"storageVersion"[..]);
        assert_eq!(version.map(|value| &value[..]), Some(&b"3.6.0"[..]));
    });
}

#[test]
fn a_move_of_the_leader_is_answered_without_a_header() {
    let one = One::start();
    let face = one.face.clone();
    one.runtime.block_on(async move {
        let ask = |target_id| face.clone().move_leader(pb::MoveLeaderRequest { target_id });
        assert_eq!(ask(face.member).await.expect("it leads"), pb::MoveLeaderResponse { header: None });
        let stranger = ask(face.member ^ 1).await.expect_err("no member");
        assert_eq!(stranger.message(), Error::BadLeaderTransferee.to_string());
    });
}

#[test]
fn a_full_disk_is_reported_without_a_leader() {
    let one = One::start();
    let face = another(&one.face, on_full_disk(false), vec![]);
    one.runtime.block_on(async move {
        let list = face.clone().alarm(pb::AlarmRequest::default()).await.expect("a list");
        let own = Alarm { kind: AlarmKind::NoSpace, member: face.member };
        assert_eq!(list.alarms, [alarm_member(&own)]);
        let disarm = pb::AlarmRequest { action: 2, member_id: face.member, alarm: 1 };
        assert!(face.clone().alarm(disarm).await.is_err(), "a change asks the leader");
    });
}

#[test]
fn a_client_cannot_end_the_alarm_of_a_full_disk() {
    let one = One::start();
    let face = another(&one.face, on_full_disk(true), vec![]);
    one.runtime.block_on(async move {
        let disarm = |member_id, alarm| {
            let face = face.clone();
            async move { face.alarm(pb::AlarmRequest { action: 2, member_id, alarm }).await }
        };
        let refused = disarm(face.member, 1).await.expect_err("the disk is full");
        assert_eq!(refused.message(), Error::NoSpace.to_string());
        for (member, alarm) in [(face.member, 2), (face.member ^ 1, 1)] {
            assert!(disarm(member, alarm).await.expect("none is in force").alarms.is_empty());
        }
    });
}

#[test]
fn a_transfer_that_takes_too_long_has_the_code_of_etcd() {
    let one = One::start();
    let target = one.face.member ^ 1;
    let member = pb::Member { id: target, ..Default::default() };
    let face = another(&one.face, one.face.kv.clone(), vec![member]);
    one.runtime.block_on(async move {
        tokio::time::pause();
        let late = face.move_leader(pb::MoveLeaderRequest { target_id: target }).await;
        assert_eq!(late.expect_err("no voter").code(), Code::Unknown);
    });
}

/// A client that shows how much is left counts the database, not its checksum.
#[test]
fn the_checksum_of_a_snapshot_comes_in_a_piece_of_its_own() {
    let one = One::start();
    let face = one.face.clone();
    one.runtime.block_on(async move {
        face.kv.put(put("key", 2 * CHUNK)).await.unwrap();
        let pieces: Vec<_> = face.clone().snapshot(pb::SnapshotRequest {}).collect().await;
        let pieces: Vec<_> = pieces.into_iter().map(|piece| piece.expect("a piece")).collect();
        let (sum, database) = pieces.split_last().expect("pieces");
        let mut left: usize = database.iter().map(|piece| piece.blob.len()).sum();
        for piece in database {
            left -= piece.blob.len();
            assert_eq!((&piece.header, piece.remaining_bytes), (&None, left as u64));
        }
        assert_eq!((sum.blob.len(), sum.remaining_bytes, &sum.header), (SUM, 0, &None));
        let file = database.iter().flat_map(|piece| piece.blob.to_vec()).collect::<Vec<u8>>();
        assert_eq!(Sha256::digest(file)[..], sum.blob[..]);
    });
}
