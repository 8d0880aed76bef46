//! The parts of events that are more than a few fields.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The effect of a committed write on its object; an update if nothing is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Write {
    /// The way back that the write is part of.
    #[serde(flatten)]
    pub journey: Option<Journey>,
    /// The object is new.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub created: bool,
    /// The object is gone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// The object has a deletion timestamp and goes later.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deleting: bool,
}

impl Write {
    /// A change of an object that was there and stays.
    pub const UPDATED: Write = Write { journey: None, created: false, deleted: false, deleting: false };
    /// A write that made the object.
    pub const CREATED: Write = Write { created: true, ..Write::UPDATED };
    /// A write that removed the object.
    pub const DELETED: Write = Write { deleted: true, ..Write::UPDATED };
    /// A write that marked the object for deletion.
    pub const DELETING: Write = Write { deleting: true, ..Write::UPDATED };
}

/// A way back to an earlier revision: the command of the user. Each has the revision that it leads
/// to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Journey {
    /// `undo`: takes back steps by name.
    Undo(i64),
    /// `redo`: takes an undo back.
    Redo(i64),
    /// `rewind`: everything is as it was at that revision.
    Rewind(i64),
}

impl Journey {
    /// Returns the revision that the way back leads to.
    pub fn to(self) -> i64 {
        match self {
            Journey::Undo(to) | Journey::Redo(to) | Journey::Rewind(to) => to,
        }
    }
}

/// How a request was made and answered, beyond the code that stands in the record's `request`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// The message of an error.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The client asked for a table of one line for each object.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub table: bool,
    /// The value of kubectl's `-o`; empty for a plain call, `None` if the client does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// kubectl prints nothing if it finds nothing (`--ignore-not-found`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub silent: bool,
    /// kubectl prints each object by itself, also of a list (`--watch`).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub watch: bool,
    /// Where kubectl's output went if the learner did not see it: `file`, or `null` for
    /// `/dev/null`, or `unprinted` for what `--watch-only` reads first. Empty: to a terminal or a
    /// pipe, or the client does not say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub unseen: String,
    /// The lines of a log that were asked for (`--tail`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tail: Option<i64>,
    /// The answer to a request for a log had no line, as with `--since=1s` where nothing was
    /// written for longer. Of a log that is followed this is not known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub empty: bool,
    /// The words of a command in a container (`exec`), the program first, as the request names
    /// them: `["wget", "-qO-", "http://web"]`. Empty where they are longer than a record may have
    /// them: half a command could be taken for another one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub argv: Vec<String>,
    /// A server in a pod has answered, behind `pods/proxy` or `services/proxy`. Whatever its code,
    /// it is no refusal of the API server.
    #[serde(rename = "fromPod", skip_serializing_if = "std::ops::Not::not")]
    pub from_pod: bool,
    /// The object that a dry run would have made, or that was refused as invalid (422), as the API
    /// has it; or that was sent for an impersonated user who may not write it (403), as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tried: Option<Value>,
    /// The label selector.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub labels: String,
    /// The field selector.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fields: String,
    /// Both selectors, joined by a comma.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub selector: String,
}

/// A call of a client outside of the cluster to a member of the store, without values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Call {
    /// `get`, `put`, `del`, `txn`, `watch`: the words of etcdctl.
    pub method: String,
    /// The key, or the first key of a range; empty for a transaction.
    pub key: String,
    /// The end of a range, which is not part of it; empty for one key. A range without an end has
    /// the greatest character here (U+10FFFF), so that comparisons of texts hold.
    pub end: String,
    /// Keys that were read, written or deleted, operations of a transaction, or changes that a
    /// watch was sent.
    pub count: i64,
    /// The store's revision when it answered; 0 if it did not.
    pub revision: i64,
    /// The revision that a read named (`etcdctl get --rev`): it shows the store as it was then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub past: Option<i64>,
    /// The changes that a watch was sent: `PUT foo`, `DELETE foo`.
    pub events: Vec<String>,
    /// Why it was refused, or not answered (`context canceled`); empty if it was answered.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// A question to the cluster's name server, and how it was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lookup {
    /// The name that was asked for, without the dot at its end.
    pub name: String,
    /// The type of the records that were asked for: `A`, `AAAA`, `SRV`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code of the answer, as `dig` names it: `NOERROR`, `NXDOMAIN`, `SERVFAIL`.
    pub code: String,
    /// Records in the answer.
    pub answers: u16,
    /// The address of the client, e.g. of a pod.
    pub from: String,
}

/// A role of a Raft member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RaftRole {
    /// Follows a leader, or waits for one.
    #[default]
    Follower,
    /// Asks whether it would get votes.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Takes proposals and replicates them.
    Leader,
}

/// Why a Raft member refused its vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VoteRefusal {
    /// It knows a leader of this term, or heard one within the election timeout.
    LeaderAlive,
    /// It has given its vote of this term to another candidate.
    AlreadyVoted,
    /// The candidate's log ends before its own.
    LogBehind,
}

/// How a Raft leader sends to a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProgressState {
    /// One message at a time: where the follower's log ends is not known.
    Probe,
    /// Ahead of the answers.
    Replicate,
    /// A snapshot: the follower lacks entries that the log no longer has.
    Snapshot,
}

/// A connection between two members of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The other member.
    pub peer: String,
    /// Why the connection was lost; empty if it is there.
    pub error: String,
}

/// A scheduling decision: the verdict on each node, and the node that was chosen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Decision {
    /// One verdict for each node.
    pub verdicts: Vec<Verdict>,
    /// The node; `None` if no node fits.
    pub chosen: Option<String>,
}

/// The scheduler's verdict on one node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Verdict {
    /// The node.
    pub node: String,
    /// Why it cannot take the pod; empty if it can.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refusal>,
    /// Weighted scores by plug-in, of a node that fits.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub scores: BTreeMap<Cow<'static, str>, i64>,
    /// Their sum.
    pub total: i64,
}

/// Why a node cannot take a pod, in upstream's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Refusal {
    /// The filter plug-in that refused.
    pub filter: Cow<'static, str>,
    /// The reason as `kubectl describe pod` shows it.
    pub reason: String,
    /// What exactly it was, a taint for example. For records alone: a user who may read a pod need
    /// not be allowed to read nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// True if the eviction of other pods could not help.
    pub final_: bool,
}
