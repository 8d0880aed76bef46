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
/// How long a client waits for a place in memory for its file, while those of others are sent.
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
    /// Lists, raises or ends alarms. Only the alarm of the named member ends:
    /// `etcdctl alarm disarm` lists them first.
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
            let kind = ["NONE", "NOSPACE", "CORRUPT"][alarm.kind as usize];
            errors.push(format!("memberID:{} alarm:{kind} ", alarm.member));
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

    /// Does nothing: a compaction frees its memory at once, so nothing is left to be packed. The
    /// answer has no header, as etcd's has none.
    pub(super) async fn defragment(
        self: Arc<Self>,
        _: pb::DefragmentRequest,
    ) -> Result<pb::DefragmentResponse, Status> {
        Ok(pb::DefragmentResponse { header: None })
    }

    /// Returns a checksum over everything that a snapshot holds, but for how much of the log is in
    /// it: members with equal data have the same one.
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

    /// Sends the database in pieces, then its SHA-256 in a piece of its own. As etcd's they have no
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

    /// Returns the database with its SHA-256 behind it, and the place that it has in memory.
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
mod tests;
