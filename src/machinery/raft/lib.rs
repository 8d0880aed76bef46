//! # Raft: several members, one log
//!
//! ## In Kubernetes
//! etcd's members agree on the order of all writes through Raft, so that the cluster's state
//! survives the loss of a minority of its control-plane nodes. kubeadm starts one member on each of
//! them.
//! ## How this one works
//! [`Raft`] is the protocol without a clock, thread, socket or file: it is ticked, stepped and
//! asked ([`Core`]), and answers with a [`Ready`]: what to write, what to send at once, what to
//! send when that is written, what is committed. The rule that keeps it honest is the order:
//! *persist, then promise*. `wal` is the log on disk: one writer, many proposals, one fdatasync;
//! `segment` tells a write that a crash interrupted (it is cut off) from damage (it is refused,
//! with the way to recover). `member` joins the two and a [`StateMachine`]; `driver` gives a member
//! its thread, clock and link. The same `member` runs under a simulated clock, disk and link in
//! `sim`, where a seed is a history; disks lose power there, are slow, and are full for a while.
//! The driver's own queues and threads take turns by a seed in `driver::sim`. Bugs that are planted
//! on purpose (a promise before the disk has it or though there was no room, a vote forgotten, an
//! entry applied twice) must be caught.
//!
//! `tests/oracle` lets this core and raft-rs live through the same histories, with the same
//! timeouts, faults, writes and reads. Where no message is lost, both end every round with the same
//! leader, term and values. Where messages are lost, which may change who wins an election, this
//! core may need at most 5 % more ticks until it commits again, summed over all runs.
//!
//! `paper` has the cases of raft-rs's `test_raft_paper`, `test_raft_snap` and
//! `test_raft_flow_control` (TiKV's, many of them etcd's before; thanks to both), in our own words
//! on this seam, each with its section. Where the cores differ, so do they: a member that hears no
//! leader asks with a pre-vote first; a leader's own disk counts only when it has the entry; how a
//! snapshot fared is not reported (`MsgSnapStatus`), so the follower's answer ends it, or eight
//! silent rounds of check-quorum begin it again (then 16, then 32); a full window is opened by
//! asking where the follower stands, not by a place for each heartbeat. Left out, because this core
//! has no such thing: a snapshot that a follower asks for, buffers of the window that are freed,
//! elections without pre-vote.
//!
//! `codec` is the form of messages on the wire. Messages, the log and the state machine's commands
//! are made of the same [`fields`], which is why that module is public.
//!
//! The protocol is visible: messages bear etcd's names ([`message`]), and the steps inside a member
//! are [`Event`]s. Two messages are not of Raft: with `MsgAsk` and `MsgAnswer` a member asks the
//! leader's state machine what no log holds (etcd uses HTTP for that).
//!
//! | in the paper | here |
//! |---|---|
//! | leader election, section 5.2 | `election`; with pre-vote and check-quorum (dissertation, 9.6 and 6.2) |
//! | log replication, section 5.3 | `replication`, `progress` (Probe, Replicate, Snapshot as in etcd) |
//! | safety, section 5.4 | `Raft::maybe_commit`, `Raft::on_vote` |
//! | membership, section 6 | `membership`: one change at a time (dissertation, 4.1) |
//! | log compaction, section 7 | `snapshots`; `member/snapshots` has them made, `snapfile` is their file |
//! | linearizable reads, section 8 | `read_only`: ReadIndex (dissertation, 6.4) |
//! | leadership transfer (dissertation, 3.10) | `transfer` |
//!
//! The folder `golden` shows elections, replication, entries that are overwritten and a crash, as
//! scripts to read.
//! ## Left out
//! - Joint consensus: several voters cannot change at once.
//! - Lease reads: every linearizable read costs a round of heartbeats (shared by all reads that
//!   wait for it).
//! - Streams of their own for snapshots: a snapshot travels as one message, on the stream of all
//!   others. While a large one is sent, heartbeats to that follower wait behind it.
//! - Links that repeat a `MsgProp`: a link must not do that (a stream does not).
//! - Members that lost their directory: one whose directory was deleted, or went back to an older
//!   copy, looks like one that kept its promises. It must not be started again, and the error
//!   about damage says so. A newest segment that is deleted as a whole is not missed.
//! - Leaders that step down because of a full disk: such a leader keeps its post. Members with room
//!   commit without it, until 64 MiB of entries wait for its disk; then it refuses proposals until
//!   there is room.
//! - Answers for removed members: a follower that is removed is sent its removal once, by the
//!   leader that removed it, when it is committed. One that cannot be reached then, or is more than
//!   1 MiB behind, goes on as a follower without a leader, and its pre-votes are refused. So does a
//!   leader that removed itself and does not know that this is committed: another member committed
//!   it, or it ended before it wrote so to its disk. An administrator must stop such a member (an
//!   etcd peer answers it with `410 Gone`).
//! - An end for members whose disk can be read and not written any more (`EROFS`, or `EIO` where a
//!   segment is made): such a member waits, says why, and tries again.
//! - A way to know which sectors of a batch are zero by themselves. If a bit of the very last batch
//!   changes, and a value in that batch has 1023 or more zero bytes in a row, the batch is taken
//!   for an interrupted write and cut off, though it may have been acknowledged (etcd's log has the
//!   same limit).
//! - A bound for the log while no snapshot can be made (the disk is full, or refuses it): it grows
//!   with every write, in memory and on the disk. What is in no snapshot is nowhere else, so a
//!   leader could only refuse writes, and what ends the fault may be one of them. The application
//!   bounds it: the store's quota, or the disk that takes no more of the log.
//! ## Read next
//! `etcd`, the state machine behind it.

#![warn(missing_docs)]

pub mod codec;
mod core;
pub mod disk;
pub mod driver;
mod election;
pub mod fields;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod golden;
mod interface;
mod log;
pub mod member;
mod membership;
pub mod message;
#[cfg(test)]
mod paper;
mod progress;
mod read_only;
mod records;
mod replication;
mod segment;
#[cfg(any(test, feature = "testing"))]
pub mod sim;
mod snapfile;
mod snapshots;
mod transfer;
pub mod wal;
pub mod wal_error;

pub use core::{Config, Raft, Stored};
pub use interface::{ConfError, Core, NotLeader, ProposeError, Question, Ready, Status};
pub use message::{
    Body, ConfChange, ConfState, Entry, Event, HardState, Index, MemberId, Message, NONE, Payload,
    ProgressState, Refusal, Role, SnapshotRef, Term,
};
