//! `etcdserverpb.Maintenance`.

use super::super::api::Error;
use super::super::machine::{Alarm, AlarmKind};
use super::super::pb;
use super::super::server::member_id;
use super::call::Answers;
use super::{Face, VERSION};
use crate::clock;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tonic::Status;

/// Bytes of a database sent in one message.
const CHUNK: usize = 32 << 10;
/// A leader that has not handed over by then stays.
const TRANSFER_PATIENCE: Duration = Duration::from_secs(5);

fn kind(number: i32) -> Result<Option<AlarmKind>, Status> {
    match number {
        0 => Ok(None),
        1 => Ok(Some(AlarmKind::NoSpace)),
        2 => Ok(Some(AlarmKind::Corrupt)),
        other => Err(Status::invalid_argument(format!("there is no alarm {other}"))),
    }
}

fn shown(alarm: &Alarm) -> pb::AlarmMember {
    pb::AlarmMember { member_id: alarm.member, alarm: alarm.kind as i32 }
}

impl Face {
    /// Get, activate, deactivate. Deactivating ends the alarm of exactly this member: `etcdctl alarm disarm` lists them first.
    pub(super) async fn alarm(self: Arc<Self>, r: pb::AlarmRequest) -> Result<pb::AlarmResponse, Status> {
        let wanted = kind(r.alarm)?;
        let mut raised = self.kv.alarms().await?;
        // A full disk takes no alarm into the log either: it is this member's own to tell of.
        if r.action == 0 && self.kv.status().alarm == Some(Error::NoSpace) {
            raised.insert(Alarm { kind: AlarmKind::NoSpace, member: self.member });
        }
        let of_kind: BTreeSet<Alarm> =
            raised.iter().filter(|a| wanted.is_none_or(|k| k == a.kind)).copied().collect();
        let mut changed = Vec::new();
        match (r.action, wanted) {
            (0, _) => changed = of_kind.iter().map(shown).collect(),
            (1, Some(kind)) => {
                let alarm = Alarm { kind, member: r.member_id };
                self.kv.alarm(alarm, true).await?;
                changed.push(shown(&alarm));
            }
            (2, Some(_)) => {
                for alarm in of_kind.iter().filter(|a| a.member == r.member_id) {
                    self.kv.alarm(*alarm, false).await?;
                    changed.push(shown(alarm));
                }
            }
            (1 | 2, None) => {}
            (other, _) => return Err(Status::invalid_argument(format!("there is no action {other}"))),
        }
        // etcd answers these without a head
        Ok(pb::AlarmResponse { header: None, alarms: changed })
    }

    pub(super) async fn status(self: Arc<Self>, _: pb::StatusRequest) -> Result<pb::StatusResponse, Status> {
        let status = self.kv.status();
        let leader = if status.leader.is_empty() { 0 } else { member_id(&status.leader) };
        let mut errors: Vec<String> = status.alarm.iter().map(Error::to_string).collect();
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
            storage_version: String::new(),
            db_size_quota: i64::try_from(self.kv.room().quota).unwrap_or(i64::MAX),
            downgrade_info: None,
        })
    }

    /// A compaction frees memory and log at once, so there is nothing left to be packed.
    pub(super) async fn defragment(
        self: Arc<Self>,
        _: pb::DefragmentRequest,
    ) -> Result<pb::DefragmentResponse, Status> {
        Ok(pb::DefragmentResponse { header: None })
    }

    /// Over everything that a snapshot holds.
    pub(super) async fn hash(self: Arc<Self>, _: pb::HashRequest) -> Result<pb::HashResponse, Status> {
        let members = self.members.borrow().clone();
        let file = self.kv.database(members).await?;
        let read = tokio::task::spawn_blocking(move || super::super::database::summary(&file));
        let summary = read.await.map_err(|_| Error::Stopped)?;
        let summary = summary.map_err(|e| Status::data_loss(e.to_string()))?;
        Ok(pb::HashResponse { header: self.header_now(), hash: summary.hash })
    }

    pub(super) async fn hash_kv(self: Arc<Self>, r: pb::HashKvRequest) -> Result<pb::HashKvResponse, Status> {
        let hash = self.kv.hash(r.revision).await?;
        // etcd's way to say that nothing was compacted
        let compact_revision = if hash.compacted > 0 { hash.compacted } else { -1 };
        Ok(pb::HashKvResponse { header: self.header_now(), hash: hash.hash, compact_revision })
    }

    /// The database, then its SHA-256, in pieces.
    pub(super) fn snapshot(self: Arc<Self>, _: pb::SnapshotRequest) -> Answers<pb::SnapshotResponse> {
        let members = self.members.borrow().clone();
        let pieces = async move {
            let place = self.files.clone().acquire_owned().await.map_err(|_| Error::Stopped)?;
            let mut file = self.kv.database(members).await?;
            let sum = tokio::task::spawn_blocking(move || {
                let sum = Sha256::digest(&file);
                file.extend(sum);
                file
            });
            let (file, header) = (Bytes::from(sum.await.map_err(|_| Error::Stopped)?), self.header_now());
            let pieces = stream::iter((0..file.len()).step_by(CHUNK));
            Ok::<_, Status>(pieces.map(move |at| {
                let _until_it_is_sent = &place;
                let end = (at + CHUNK).min(file.len());
                let (remaining_bytes, blob) = ((file.len() - end) as u64, file.slice(at..end));
                Ok(pb::SnapshotResponse { header: header.clone(), remaining_bytes, blob })
            }))
        };
        Box::pin(stream::once(pieces).try_flatten())
    }

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
        match clock::timeout(TRANSFER_PATIENCE, moved).await {
            Some(Ok(_)) => Ok(pb::MoveLeaderResponse { header: self.header_now() }),
            Some(Err(_)) => Err(Error::Stopped.into()),
            None => Err(Status::unavailable("etcdserver: request timed out, leader transfer took too long")),
        }
    }
}
