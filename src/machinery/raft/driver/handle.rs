//! The handle of a running member: proposals, reads and messages of peers come in here.

use super::super::codec;
use super::super::fields::DecodeError;
use super::super::interface::ConfError;
use super::super::message::{Body, ConfChange, ConfState, Index, MemberId, Message, Payload};
use super::{Input, PEER_BYTES, PEER_QUEUE};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use tokio::sync::oneshot;

/// Counts the messages of peers that wait for the member.
#[derive(Default)]
pub(super) struct PeersWaiting {
    messages: AtomicUsize,
    bytes: AtomicUsize,
    snapshots: AtomicUsize,
}

impl PeersWaiting {
    /// Counts a message in; returns `false` if there is no room for it.
    pub(super) fn enter(&self, message: &Message) -> bool {
        if let Body::MsgSnap(_) = message.body {
            let entered = self.snapshots.fetch_add(1, Ordering::Relaxed) == 0;
            self.snapshots.fetch_sub(usize::from(!entered), Ordering::Relaxed);
            return entered;
        }
        let messages = self.messages.fetch_add(1, Ordering::Relaxed);
        let bytes = self.bytes.fetch_add(message.body.size(), Ordering::Relaxed);
        let entered = messages < PEER_QUEUE && bytes < PEER_BYTES;
        if !entered {
            self.leave(message);
        }
        entered
    }

    /// Counts a message out that has entered.
    pub(super) fn leave(&self, message: &Message) {
        if let Body::MsgSnap(_) = message.body {
            self.snapshots.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        self.messages.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(message.body.size(), Ordering::Relaxed);
    }
}

/// Speaks to a running member from any thread.
#[derive(Clone)]
pub struct Handle {
    pub(super) inbox: Sender<Input>,
    pub(super) peers_waiting: Arc<PeersWaiting>,
    pub(super) me: MemberId,
    /// Every member that takes part or has ever, as far as is known here by the log or by a
    /// certificate.
    pub(super) known: Arc<Mutex<BTreeSet<MemberId>>>,
}

impl Handle {
    fn add_known(&self, conf: &ConfState) {
        let mut known = self.known.lock();
        known.extend(conf.voters.iter().chain(&conf.learners));
    }

    /// Checks that the sender is a known member and the receiver is this one. Members of a
    /// configuration in the message are known from then on.
    fn admit(&self, message: &Message) -> Result<(), DecodeError> {
        if message.to != self.me {
            return Err(DecodeError::Impossible { what: "receiver", value: message.to });
        }
        if !self.known.lock().contains(&message.from) {
            return Err(DecodeError::Impossible { what: "sender", value: message.from });
        }
        match &message.body {
            Body::MsgSnap(snapshot) => self.add_known(&snapshot.conf),
            Body::MsgApp { entries, .. } => {
                for entry in entries {
                    if let Payload::ConfChange(conf) = &entry.payload {
                        self.add_known(conf);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Queues a proposal; `id` is the state machine's name for it. Returns `false` if the member is
    /// gone.
    pub fn propose(&self, id: u64, data: Bytes) -> bool {
        self.inbox.send(Input::Propose { id, data }).is_ok()
    }

    /// Queues a linearizable read; see `Member::read`. Returns `false` if the member is gone.
    pub fn read(&self, ctx: u64) -> bool {
        self.inbox.send(Input::Read { ctx }).is_ok()
    }

    /// Queues a question to the leader's state machine; see `Member::ask_leader`. Returns `false`
    /// if the member is gone.
    pub fn ask(&self, ctx: u64, question: Bytes) -> bool {
        self.inbox.send(Input::Ask { ctx, question }).is_ok()
    }

    /// Takes bytes from a peer. While 4096 messages or 64 MiB wait, or a snapshot and this is
    /// another one, the message is dropped without an error, as on a congested link.
    ///
    /// # Errors
    /// Those of [`codec::decode_message`]; `Impossible` if the message is for another member, or if
    /// its sender is no member that is known here. The message is dropped.
    pub fn deliver(&self, bytes: Bytes) -> Result<(), DecodeError> {
        self.enqueue(codec::decode_message(bytes)?)
    }

    /// As [`Handle::deliver`], from a peer whose certificate says that it is the member `sender`: a
    /// member that was taken over speaks for no other. It need not take part as far as this
    /// member's log says: it may have joined, and lead, while this member was away.
    ///
    /// # Errors
    /// As there, and `Impossible` if the message names another sender.
    pub fn deliver_from(&self, sender: MemberId, bytes: Bytes) -> Result<(), DecodeError> {
        let message = codec::decode_message(bytes)?;
        if message.from != sender {
            return Err(DecodeError::Impossible { what: "sender", value: message.from });
        }
        self.add_known(&ConfState::of([sender]));
        self.enqueue(message)
    }

    fn enqueue(&self, message: Message) -> Result<(), DecodeError> {
        self.admit(&message)?;
        if self.peers_waiting.enter(&message) {
            let _ = self.inbox.send(Input::Message(message)); // a member that is gone counts nothing any more
        }
        Ok(())
    }

    /// Hands leadership over to the voter `to`. Does nothing if this member does not lead, or `to`
    /// is itself or no voter.
    pub fn transfer(&self, to: MemberId) {
        let _ = self.inbox.send(Input::Transfer { to }); // a member that is gone does not lead
    }

    /// Changes who takes part. Returns the entry's index; it is in force, but not yet committed.
    ///
    /// # Errors
    /// Those of `Member::propose_conf`; `NotLeader` also if this member has ended or its log has
    /// failed.
    pub async fn propose_conf(&self, change: ConfChange) -> Result<Index, ConfError> {
        let (answer, pending) = oneshot::channel();
        if let ConfChange::AddNode(id) | ConfChange::AddLearnerNode(id) = change {
            self.add_known(&ConfState::of([id]));
        }
        let _ = self.inbox.send(Input::Conf { change, answer });
        pending.await.unwrap_or(Err(ConfError::NotLeader))
    }
}
