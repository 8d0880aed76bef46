//! The edge of a member's thread: messages, snapshots and the log's queue.

use super::super::disk::{DirLock, Disk};
use super::super::member::{Capture, Edge, Write, wants_data};
use super::super::message::{Body, Index, MemberId, Message, SnapshotRef};
use super::super::wal_error::WalError;
use super::super::{codec, snapfile};
use super::{Input, Job, Link, OnPanic, Spawn};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

/// The warning about a snapshot that a follower needs and does not get. After 8 to 32 check-quorum
/// rounds of 250 ms (1 s where one member votes) the leader sends it again (`progress`).
const UNSENT: &str = "a member that is behind gets no snapshot, so it gets no entries either and its \
                      linearizable reads fail; the leader tries again in 2 to 32 seconds";
/// The warning about a snapshot that was not saved. The next attempt is due after 40 ticks
/// (`member/snapshots`).
const UNSAVED: &str = "the state has no new snapshot, so the log keeps all entries and grows with each \
                       write, in memory and on the disk; the next attempt is due in 1 to 4 seconds";

/// Messages with snapshots that wait to be sent.
#[derive(Default)]
pub(super) struct SnapshotQueue {
    /// By receiver: the newest message replaces the one before.
    messages: BTreeMap<MemberId, Message>,
    /// A thread takes them one after the other.
    has_thread: bool,
}

/// Takes the next snapshot to send. A function of its own, so that the lock is not held while it is
/// sent.
fn next_snapshot(queue: &Mutex<SnapshotQueue>) -> Option<Message> {
    let mut queue = queue.lock();
    let next = queue.messages.pop_first().map(|(_, message)| message);
    queue.has_thread = next.is_some();
    next
}

/// The [`Edge`] of a member with threads: a queue to the log's thread, a link to its peers, and a
/// thread for each snapshot that is saved or sent.
pub(super) struct RealEdge {
    pub(super) jobs: Sender<Job>,
    pub(super) inbox: Sender<Input>,
    pub(super) link: Arc<dyn Link>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) snap_dir: PathBuf,
    /// Every thread that writes or reads in the directory holds the lock, so that it is let go when
    /// the last of them has ended.
    pub(super) lock: Arc<DirLock>,
    /// Snapshots that wait are neither saved nor sent any more.
    pub(super) killed: Arc<AtomicBool>,
    pub(super) spawn: Spawn,
    pub(super) saving: Option<JoinHandle<()>>,
    /// Reads snapshots and sends them, one after the other.
    pub(super) sending: Option<JoinHandle<()>>,
    pub(super) snapshots: Arc<Mutex<SnapshotQueue>>,
}

impl RealEdge {
    /// Has another thread read the newest snapshot and send it: with a large state, heartbeats
    /// would be late. The core does not learn that a snapshot was lost or could not be read, and
    /// sends it again when check-quorum rounds have passed in silence (`progress`).
    fn send_snapshot(&mut self, message: Message) {
        let member = message.to;
        let mut queue = self.snapshots.lock();
        queue.messages.insert(member, message);
        if std::mem::replace(&mut queue.has_thread, true) {
            return;
        }
        drop(queue);
        let (disk, dir, link) = (self.disk.clone(), self.snap_dir.clone(), self.link.clone());
        let (queue, lock, killed) = (self.snapshots.clone(), self.lock.clone(), self.killed.clone());
        let send = move || {
            let _lock = lock;
            let _on_panic = OnPanic(|| queue.lock().has_thread = false);
            while let Some(mut message) = next_snapshot(&queue).filter(|_| !killed.load(Ordering::Acquire)) {
                match (newest(&*disk, &dir), &mut message.body) {
                    // This member leads the message's term no longer. The receiver would refuse the
                    // message as impossible, and close the connection.
                    (Ok(Some(newest)), _) if newest.term > message.term => {}
                    (Ok(Some(newest)), Body::MsgSnap(snapshot)) => {
                        *snapshot = newest;
                        link.send(message.to, codec::encode_message(&message).into());
                    }
                    (Err(error), _) => {
                        tracing::warn!(error = %error.full_text(), member = message.to, "{UNSENT}");
                    }
                    (Ok(_), _) => {}
                }
            }
        };
        match (self.spawn)("snapshot-send", Box::new(send)) {
            Ok(thread) => self.sending = thread,
            Err(e) => {
                self.snapshots.lock().has_thread = false;
                tracing::warn!(error = %e, member, "no thread could be started to send a snapshot: {UNSENT}");
            }
        }
    }
}

/// Reads the newest snapshot. A newer one may replace it after the directory was listed and before
/// the file is read: then that one is read.
fn newest(disk: &dyn Disk, dir: &Path) -> Result<Option<SnapshotRef>, WalError> {
    let gone = |e: &WalError| matches!(e, WalError::Io { cause, .. } if cause.kind() == std::io::ErrorKind::NotFound);
    match snapfile::load(disk, dir) {
        Err(e) if gone(&e) => snapfile::load(disk, dir),
        loaded => loaded,
    }
}

impl Edge for RealEdge {
    fn write(&mut self, write: Write) {
        // After a failure nothing is written any more, and nothing is reported as durable.
        let _ = self.jobs.send(Job::Write(write));
    }

    fn send(&mut self, message: Message) {
        if wants_data(&message) {
            return self.send_snapshot(message);
        }
        self.link.send(message.to, codec::encode_message(&message).into());
    }

    fn snapshot(&mut self, snapshot: SnapshotRef, capture: Capture) {
        let (disk, dir, inbox) = (self.disk.clone(), self.snap_dir.clone(), self.inbox.clone());
        let (lock, killed) = (self.lock.clone(), self.killed.clone());
        let save = move || {
            let _lock = lock;
            let _on_panic = OnPanic(|| {
                let _ = inbox.send(Input::SnapshotSaved(None)); // else none would be made any more
            });
            let full = SnapshotRef { data: capture().into(), ..snapshot.clone() };
            if killed.load(Ordering::Acquire) {
                return;
            }
            let saved = match snapfile::save(&*disk, &dir, &full) {
                Ok(()) => Some(snapshot),
                Err(e) => {
                    // The log still has everything, so this is no reason to stop.
                    tracing::warn!(error = %e.full_text(), "{UNSAVED}");
                    None
                }
            };
            let _ = inbox.send(Input::SnapshotSaved(saved)); // the member may have stopped meanwhile
        };
        match (self.spawn)("snapshot", Box::new(save)) {
            Ok(thread) => self.saving = thread,
            Err(e) => {
                tracing::warn!(error = %e, "no thread could be started to save a snapshot: {UNSAVED}");
                let _ = self.inbox.send(Input::SnapshotSaved(None));
            }
        }
    }

    fn release(&mut self, upto: Index) {
        let _ = self.jobs.send(Job::Release(upto));
    }
}
