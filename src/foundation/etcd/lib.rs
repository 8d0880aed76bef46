//! # etcd: the one place where the cluster's state lives
//!
//! ## In Kubernetes
//! etcd is a replicated key-value store. Only kube-apiserver talks to it. Every object is one key;
//! a `resourceVersion` is etcd's *revision*, a single number that grows by one with every write to
//! anything. Watches are promises about revisions: "everything after 1234, in order, nothing
//! missing".
//! ## How this one works
//! A write takes this way, and every step of it is on the tap:
//!
//! | step | where |
//! |---|---|
//! | [`Kv`] checks shape and size and encodes a command | `kv`, [`txn`], `command` |
//! | the member's thread proposes it; Raft and the log make it durable on a majority | `server`, `raft` |
//! | committed, it is applied: compares decide, changes get the next revision | `applier`, `machine`, [`mvcc`] |
//! | watchers get the events, then the caller its answer | `watch`, `waiting` |
//!
//! [`mvcc`] keeps every version of every key since the last compaction, in memory, and the events
//! of each revision; a watch reads the past first and then joins the present without a gap.
//! `machine` is the only door to the keys, so members that applied the same log are equal. Reads
//! ask the leader for a ReadIndex, one question for all that came while the last one was under way;
//! a member that is alone knows that it leads. Leases are replicated, their clocks are not: the
//! leader watches the time and proposes the revocation, and a renewal that came into the log before
//! it wins. How long a lease still has only the leader knows, so every member asks it (`question`);
//! `LeaseLeases` is each member's own, as in etcd. While the leader can write nothing no lease
//! ends; a follower that cannot write sends a client that renews to another member. The words
//! (`Revision`, `PutRequest`, `Compacted`) are etcd's own: [`api`].
//!
//! [`grpc`] is the second door, for any client of etcd v3: the same [`Kv`] behind the messages of
//! [`pb`], with etcd's error texts and codes. A put by `etcdctl` is a revision like any other, and
//! the API server's watches see it. [`database`] writes the store as etcd's own file (bbolt), which
//! the real `etcdctl snapshot restore` turns into a member of a real etcd; `hash` is etcd's
//! checksum over the same records. The oracle is the real etcd: `tests/it/etcd` lets both live
//! through the same random history and compares every answer, revision, checksum and watch event.
//! `sim` puts members and clients into the simulated world of `raft`: whatever is lost, cut off,
//! killed or without room there, each key's history must be linearizable, watches may miss nothing,
//! and what was acknowledged must be there, what was refused may not. `fuzz` gives nonsense to all
//! that reads: log, snapshots, files, and every service that answers by itself (not locks and
//! elections: they wait for others).
//!
//! What a client is answered:
//!
//! | answer | meaning |
//! |---|---|
//! | `Ok` | the write is on disk, on a majority of the members |
//! | `Timeout`, `Stopped` | the outcome is unknown: the write may still be found later, as with etcd |
//! | `NoSpace` | the disk, or the store's quota, is full: writes are refused until there is room. See it with `ropewalk fault disk full`. etcd itself would end here, and says the same when its quota is used up |
//! | `Disk` | another error of the disk. If it can pass by itself (no descriptor or no memory is left), it is as with `NoSpace`. After a failed sync, or a write that the disk broke off, it is for good |
//!
//! Writes that are under way when the leader changes wait for the next leader, which has them in
//! its log if a majority had. Writes that are under way when the disk becomes full wait, and are
//! written when there is room again. Reads go on meanwhile on a lone member; a leader with a full
//! disk keeps its post, and linearizable reads at it wait for room with its own applied index.
//!
//! After an error for good it is not known what is on the disk: writes under way may still be found
//! later, and the member takes no more until it is started again. In a cluster its component ends
//! then, as etcd does, and the kubelet starts it anew.
//!
//! When the keys and their history reach the quota, a member raises a `NoSpace` alarm, as etcd:
//! puts are refused until a client ends it (the API server does so as soon as there is room). The
//! quota is a sixteenth of the memory that this program may use, shared by the members in it; each
//! has 64 MiB at least, and etcd's 2 GiB at most.
//!
//! [`Storage`] is what an API server asks of its store. Usually that is the [`Kv`] of a member in
//! this program; with `up --etcd` it is any etcd v3 elsewhere ([`grpc::Remote`]), as a
//! kube-apiserver has it with `--etcd-servers`.
//!
//! Keys and values are bytes. This room knows nothing of what is in them.
//!
//! The folder `golden` shows revisions, watches and compaction, as scripts to read.
//! ## Left out
//! - The B+tree file as the place where the state lives: it is in memory, as is etcd's index. A
//!   cluster to learn with has a few MiB, and a compaction frees them at once, so that `defrag`
//!   finds nothing to do.
//! - Users and roles (authentication is off, and `auth status` says so), changes of members
//!   through gRPC, compressed messages. Each call that is missing answers `Unimplemented` and its
//!   name.
//! - Lease checkpoints: after a change of leader every lease gets its full time again, as in etcd
//!   3.6, whose feature gate `LeaseCheckpoint` is off.
//! - Of what etcd serves without gRPC the gateway for JSON (`/v3/…`), `/metrics`, `/config` and
//!   `/debug` (404). `/health`, `/livez`, `/readyz` and `/version` are served, over HTTP/2.
//! - Transactions that nest more than 50 levels deep (`TooManyOps`), where etcd takes 128: `prost`
//!   stops there. A transaction may not put a key into a range that it deletes; etcd overlooks
//!   that where the range has no end (`checkIntervals` in server/etcdserver/api/v3rpc/key.go).
//! - The checksums that etcd takes before each compaction, and answers with when `HashKV` asks for
//!   the compaction's revision: here that revision's checksum is over what the compaction left, as
//!   in an etcd that was restarted since.
//! ## Read next
//! `raft`, which agrees on the order of commands before they come here; `etcdctl`, the client.

#![warn(missing_docs)]

pub mod alarm;
pub mod api;
mod applier;
mod command;
pub mod database;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod golden;
pub mod grpc;
mod hash;
mod kv;
mod lease;
mod machine;
mod member;
mod memory;
mod mvcc;
pub mod pb;
mod question;
mod raft_events;
mod server;
#[cfg(test)]
mod sim;
mod snapshot;
mod storage;
mod syncs;
pub mod txn;
mod waiting;
mod watch;

pub use kv::{Kv, REQUEST_MAX, Room};
pub use member::{Status, member_id};
pub use server::{Config, Server, StartError, quota_for};
pub use storage::{Changes, Storage};
pub use watch::Watcher;
