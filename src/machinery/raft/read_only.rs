//! Linearizable reads (ReadIndex; dissertation, 6.4): the leader notes its commit index, and
//! answers when a majority has confirmed that it still leads. The file has etcd's name.
//!
//! Example: the leader of three has committed 8 when reads 20 and 21 come. Both get round 5, and
//! index 8. The heartbeat carries `read: 5`. The first answer with `read: 5` makes a majority, and
//! both reads may be answered once entry 8 is applied. Read 22, which comes after the heartbeat
//! went out, gets round 6: the answers to round 5 may have been sent before it came.

use super::core::Raft;
use super::message::{Body, Event, Index, MemberId, NONE, Role};

/// A read that waits until this member knows that it still leads.
pub(super) struct Read {
    /// The round of heartbeats that confirms it.
    pub seq: u64,
    pub ctx: u64,
    /// The member that asked; [`NONE`] is this member itself.
    pub from: MemberId,
    pub index: Index,
}

impl Raft {
    /// Notes the commit index for a read, and has a majority confirm that this member still leads.
    /// Before the first commit of its term, a leader does not know what is committed: the read
    /// waits for that.
    pub(super) fn lead_read(&mut self, ctx: u64, from: MemberId) {
        if !self.knows_commit() {
            // the same question again, as long as nothing is committed
            if !self.early_reads.contains(&(ctx, from)) {
                self.early_reads.push((ctx, from));
            }
            return;
        }
        // Reads that come before the next heartbeat goes out share it.
        if !self.want_heartbeat {
            self.read_seq += 1;
        }
        let read = Read { seq: self.read_seq, ctx, from, index: self.commit };
        self.reads.push_back(read);
        self.want_heartbeat = !self.only_voter();
        self.check_reads();
    }

    /// Answers the reads, in order, that a majority has confirmed.
    pub(super) fn check_reads(&mut self) {
        let me = self.id();
        while let Some(read) = self.reads.front() {
            let confirmed =
                |id: &&MemberId| **id == me || self.progress.get(id).is_some_and(|p| p.read >= read.seq);
            if self.conf().voters.iter().filter(confirmed).count() < self.conf().quorum() {
                break;
            }
            if let Some(read) = self.reads.pop_front() {
                debug_assert!(read.from == NONE || self.role == Role::Leader);
                self.confirm(read);
            }
        }
    }

    /// Answers a read that a majority has confirmed, or sends the answer to the member that asked.
    fn confirm(&mut self, read: Read) {
        let Read { ctx, index, from, .. } = read;
        self.event(Event::ReadConfirmed { ctx, index });
        match from {
            NONE => self.ready.reads.push((ctx, index)),
            to => self.send(to, Body::MsgReadIndexResp { ctx, index }),
        }
    }
}
