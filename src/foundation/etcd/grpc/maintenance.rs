//! `etcdserverpb.Maintenance`.

use super::super::alarm::{Alarm, AlarmKind};
use super::super::api::Error;
use super::super::database::STORAGE_VERSION;
use super::super::hash::Hash;
use super::super::member::member_id;
use super::super::pb;
use super::call::Answers;
use super::face::{Face, VERSION};
use bytes::Bytes;
use futures::stream;
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tonic::Status;

/// Bytes of a database sent in one message.
const CHUNK: usize = 32 << 10;
/// Bytes of the SHA-256 behind a database.
const SUM: usize = 32;
/// A client that takes no piece of a file for so long is given up.
const IDLE: Duration = Duration::from_secs(60);
/// How long a client waits for the files of others to be sent.
const PLACE_PATIENCE: Duration = Duration::from_secs(30);
/// A leader that has not handed over by then stays.
const TRANSFER_PATIENCE: Duration = Duration::from_secs(5);

fn left_unread() -> Status {
    let (what, seconds) = ("ropewalk: the client took nothing of the snapshot for", IDLE.as_secs());
    Status::deadline_exceeded(format!("{what} {seconds} s; start again"))
}

fn alarm_kind(number: i32) -> Result<Option<AlarmKind>, Status> {
    match number {
        0 => Ok(None),
        1 => Ok(Some(AlarmKind::NoSpace)),
        2 => Ok(Some(AlarmKind::Corrupt)),
        other => Err(Status::invalid_argument(format!("there is no alarm {other}"))),
    }
}

fn alarm_member(alarm: &Alarm) -> pb::AlarmMember {
    pb::AlarmMember { member_id: alarm.member, alarm: alarm.kind as i32 }
}

impl Face {
    /// Get, activate, deactivate. Deactivating ends the alarm of exactly this member: `etcdctl
    /// alarm disarm` lists them first.
    ///
    /// While this member's disk is full, a list has the alarms that the member knows of: its read
    /// barrier may need a write, so a list that waited for it could time out and not say why. The
    /// list also has an alarm for that disk, which only room on the disk ends.
    pub(super) async fn alarm(self: Arc<Self>, r: pb::AlarmRequest) -> Result<pb::AlarmResponse, Status> {
        let wanted = alarm_kind(r.alarm)?;
        let disk_is_full = || self.kv.status().refuses == Some(Error::NoSpace);
        // Not in the log, which takes no alarm while the disk is full: only this member knows it.
        let of_disk = Alarm { kind: AlarmKind::NoSpace, member: self.member };
        let mut raised = match r.action == 0 && disk_is_full() {
            true => self.kv.local_alarms(),
            false => self.kv.alarms().await?,
        };
        if r.action == 0 && disk_is_full() {
            raised.insert(of_disk);
        }
        let of_kind: BTreeSet<Alarm> =
            raised.iter().filter(|a| wanted.is_none_or(|k| k == a.kind)).copied().collect();
        let mut changed = Vec::new();
        match (r.action, wanted) {
            (0, _) => changed = of_kind.iter().map(alarm_member).collect(),
            (1, Some(kind)) => {
                let alarm = Alarm { kind, member: r.member_id };
                self.kv.alarm(alarm, true).await?;
                changed.push(alarm_member(&alarm));
            }
            (2, Some(kind)) => {
                for alarm in of_kind.iter().filter(|a| a.member == r.member_id) {
                    self.kv.alarm(*alarm, false).await?;
                    changed.push(alarm_member(alarm));
                }
                if of_disk == (Alarm { kind, member: r.member_id }) && disk_is_full() {
                    return Err(Error::NoSpace.into()); // else the client would take it for ended
                }
            }
            (1 | 2, None) => {}
            (other, _) => return Err(Status::invalid_argument(format!("there is no action {other}"))),
        }
        Ok(pb::AlarmResponse { header: self.header_now(), alarms: changed })
    }

    pub(super) async fn status(self: Arc<Self>, _: pb::StatusRequest) -> Result<pb::StatusResponse, Status> {
        let status = self.kv.status();
        let leader = if status.leader.is_empty() { 0 } else { member_id(&status.leader) };
        let mut errors: Vec<String> = status.refuses.iter().map(Error::to_string).collect();
        if leader == 0 {
            errors.push(Error::NoLeader.to_string());
        }
        for alarm in self.kv.local_alarms() {
            let shown = ["NONE", "NOSPACE", "CORRUPT"][alarm.kind as usize];
            errors.push(format!("memberID:{} alarm:{shown} ", alarm.member));
        }
        let db_size = status.db_size as i64;
        Ok(pb::StatusResponse {
            header: self.header(status.revision),
            version: VERSION.into(),
            db_size,
            leader,
            raft_index: status.index,
            raft_term: status.term,
            raft_applied_index: status.applied,
            errors,
            db_size_in_use: db_size,
            is_learner: false,
            storage_version: STORAGE_VERSION.into(),
            db_size_quota: i64::try_from(self.kv.room().quota).unwrap_or(i64::MAX),
            downgrade_info: Some(pb::DowngradeInfo::default()), // never absent, as with etcd 3.6
        })
    }

    /// A compaction frees memory and log at once, so there is nothing left to be packed. etcd
    /// answers without a header, too.
    pub(super) async fn defragment(
        self: Arc<Self>,
        _: pb::DefragmentRequest,
    ) -> Result<pb::DefragmentResponse, Status> {
        Ok(pb::DefragmentResponse { header: None })
    }

    /// Over everything that a snapshot holds, but for how much of the log is in it: members with
    /// equal data have the same one.
    pub(super) async fn hash(self: Arc<Self>, _: pb::HashRequest) -> Result<pb::HashResponse, Status> {
        let members = self.members.borrow().clone();
        let hash = self.kv.database_hash(members).await?;
        let hash = hash.map_err(|e| Status::data_loss(e.to_string()))?;
        Ok(pb::HashResponse { header: self.header_now(), hash })
    }

    pub(super) async fn hash_kv(self: Arc<Self>, r: pb::HashKvRequest) -> Result<pb::HashKvResponse, Status> {
        let Hash { hash, revision: hash_revision, compacted: compact_revision } =
            self.kv.hash(r.revision).await?;
        Ok(pb::HashKvResponse { header: self.header_now(), hash, compact_revision, hash_revision })
    }

    /// The database in pieces, then its SHA-256 in a piece of its own. As etcd's they have no
    /// header, and `remaining_bytes` counts what is left of the database.
    ///
    /// A task of its own hands the pieces over: a client that takes none for [`IDLE`] loses its
    /// place among those whose files are in memory, and its stream ends with an error.
    pub(super) fn snapshot(self: Arc<Self>, _: pb::SnapshotRequest) -> Answers<pb::SnapshotResponse> {
        let (out, pieces) = mpsc::channel(1);
        let crew = self.crew.clone();
        crew.spawn(self.send_file(out));
        Box::pin(stream::unfold(Some((pieces, false)), |state| async {
            let (mut pieces, sum_follows) = state?;
            let piece = pieces.recv().await.unwrap_or_else(|| Err(left_unread()));
            let nothing_left = piece.as_ref().is_ok_and(|piece| piece.remaining_bytes == 0);
            let last = piece.is_err() || (nothing_left && sum_follows);
            Some((piece, (!last).then_some((pieces, nothing_left))))
        }))
    }

    /// Makes the file and sends its pieces until the client has it or takes no more.
    async fn send_file(self: Arc<Self>, out: mpsc::Sender<Result<pb::SnapshotResponse, Status>>) {
        let file = tokio::select! {
            file = self.file() => file,
            () = out.closed() => return,
        };
        let (file, _until_it_is_sent) = match file {
            Ok(file) => file,
            Err(error) => return drop(out.send(Err(error.into())).await), // the client may be gone
        };
        let database = file.len() - SUM;
        for at in (0..database).step_by(CHUNK).chain([database]) {
            let end = if at < database { (at + CHUNK).min(database) } else { file.len() };
            // copied: a piece on its way must not hold on to the whole file
            let blob = Bytes::copy_from_slice(&file[at..end]);
            let remaining_bytes = database.saturating_sub(end) as u64;
            let version = STORAGE_VERSION.into();
            let piece = pb::SnapshotResponse { header: None, remaining_bytes, blob, version };
            if !matches!(tokio::time::timeout(IDLE, out.send(Ok(piece))).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// The database with its SHA-256 behind it, and the place that it has in memory.
    ///
    /// # Errors
    /// `TooManyRequests` if no place became free within [`PLACE_PATIENCE`].
    async fn file(&self) -> Result<(Vec<u8>, OwnedSemaphorePermit), Error> {
        let place = tokio::time::timeout(PLACE_PATIENCE, self.files.clone().acquire_owned());
        let place = place.await.map_err(|_| Error::TooManyRequests)?.map_err(|_| Error::Stopped)?;
        let members = self.members.borrow().clone();
        let mut file = self.kv.database(members).await?;
        let sum = tokio::task::spawn_blocking(move || {
            let sum = Sha256::digest(&file);
            file.extend(sum);
            file
        });
        Ok((sum.await.map_err(|_| Error::Stopped)?, place))
    }

    /// Answers when the other member leads, without a header, as etcd. A transfer that takes too
    /// long is `Unknown`: etcd's table of codes (`toGRPCErrorMap` in
    /// server/etcdserver/api/v3rpc/util.go) does not have that error.
    pub(super) async fn move_leader(
        self: Arc<Self>,
        r: pb::MoveLeaderRequest,
    ) -> Result<pb::MoveLeaderResponse, Status> {
        if !self.kv.status().is_leader {
            return Err(Error::NotLeader.into());
        }
        if !self.members.borrow().iter().any(|m| m.id == r.target_id && !m.is_learner) {
            return Err(Error::BadLeaderTransferee.into());
        }
        let mut leader = self.kv.leader();
        if r.target_id != self.member {
            self.raft.transfer(r.target_id);
        }
        let moved = leader.wait_for(|id| *id == r.target_id);
        match clock::limit(TRANSFER_PATIENCE, moved).await {
            Some(Ok(_)) => Ok(pb::MoveLeaderResponse { header: None }),
            Some(Err(_)) => Err(Error::Stopped.into()),
            None => Err(Status::unknown("etcdserver: request timed out, leader transfer took too long")),
        }
    }
}

#[cfg(test)]
mod tests {
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

    /// The member of `face` with another store, or with other members beside it.
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
            for (asked, told) in [(0, 4), (4, 4)] {
                let hash = face.clone().hash_kv(pb::HashKvRequest { revision: asked }).await.unwrap();
                assert_eq!((hash.hash_revision, hash.compact_revision), (told, 3));
            }
            let old = face.clone().hash_kv(pb::HashKvRequest { revision: 2 }).await.unwrap_err();
            assert_eq!(old.message(), Error::Compacted { compact_revision: 3 }.to_string());
            let status = face.clone().status(pb::StatusRequest {}).await.unwrap();
            assert_eq!(status.storage_version, "3.6.0");
            let told = serde_json::to_string(&status).expect("JSON");
            assert!(told.ends_with(",\"downgradeInfo\":{}}"), "{told}");
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
    fn a_full_disk_is_told_without_a_leader() {
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
}
