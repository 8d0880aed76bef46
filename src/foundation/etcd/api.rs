//! The words of etcd v3's API that the rest of the program speaks: requests, answers, errors.
//! Names and meanings are those of `etcdserverpb` (rpc.proto) and `mvccpb` (kv.proto).

use bytes::Bytes;

/// A store's position in time: one number for the whole keyspace, +1 per write transaction.
pub type Revision = i64;

/// One version of a key (`mvccpb.KeyValue`). A key that does not exist has no `KeyValue`; a
/// deletion is one whose `version` is 0.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct KeyValue {
    pub key: Bytes,
    pub create_revision: Revision,
    pub mod_revision: Revision,
    /// Writes to the key since it was created; 1 for a new key.
    pub version: i64,
    pub value: Bytes,
    /// 0 if the key is not attached to a lease.
    pub lease: i64,
}

/// Keys from `key` to `range_end` (excluded). An empty `range_end` means the one key; `\0` means to
/// the end.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RangeRequest {
    pub key: Bytes,
    pub range_end: Bytes,
    /// 0 is no limit.
    pub limit: i64,
    /// 0 is now.
    pub revision: Revision,
    /// Answer from this member's own state, without asking the leader.
    pub serializable: bool,
    /// This goes on with a linearizable read of the same `revision`. A member of our own needs no
    /// barrier for it once it has that revision, and looks at no more keys than decide the answer:
    /// `count` is then what it looked at. Not sent to an etcd elsewhere, nor kept in a command.
    pub continued: bool,
    pub keys_only: bool,
    pub count_only: bool,
    pub sort_order: SortOrder,
    pub sort_target: SortTarget,
    /// Keys with revisions outside are left out of `kvs`, not of `count`. 0 is no bound.
    pub min_mod_revision: Revision,
    pub max_mod_revision: Revision,
    pub min_create_revision: Revision,
    pub max_create_revision: Revision,
}

/// `None` is the order of keys, unless a target other than the key is named: then it is ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SortOrder {
    #[default]
    None,
    Ascend,
    Descend,
}

/// The field by which the keys of an answer are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SortTarget {
    #[default]
    Key,
    Version,
    CreateRevision,
    ModRevision,
    Value,
}

/// The keys that a range found, and how many there are.
#[derive(Clone, Debug, Default)]
pub struct RangeResponse {
    /// The store's revision when it was read.
    pub revision: Revision,
    pub kvs: Vec<KeyValue>,
    /// There are more keys than `limit`.
    pub more: bool,
    /// Keys in the range, whatever the limit.
    pub count: i64,
}

/// Sets one key. `lease` is the id of the lease that the key is attached to, 0 for none. `prev_kv`
/// asks for the key as it was before.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PutRequest {
    pub key: Bytes,
    pub value: Bytes,
    pub lease: i64,
    pub prev_kv: bool,
    /// Keep the value that the key has; it must exist, and `value` be empty.
    pub ignore_value: bool,
    /// Keep the lease that the key has; it must exist, and `lease` be 0.
    pub ignore_lease: bool,
}

/// Deletes the keys from `key` to `range_end` (see [`RangeRequest`]). `prev_kv` asks for the keys
/// as they were.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DeleteRangeRequest {
    pub key: Bytes,
    pub range_end: Bytes,
    pub prev_kv: bool,
}

/// How the field of a key must compare with the value in the [`Compare`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareResult {
    Equal,
    Greater,
    Less,
    NotEqual,
}

/// The field that is compared, and the value to compare it with. A key that does not exist counts
/// as one with version, revisions and lease 0. It has no value: each comparison with a value fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompareTarget {
    Version(i64),
    CreateRevision(Revision),
    ModRevision(Revision),
    Value(Bytes),
    Lease(i64),
}

/// One condition of a transaction. It must hold for every key from `key` to `range_end`; if none of
/// them exists, for a key that does not exist (see [`CompareTarget`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    pub key: Bytes,
    pub range_end: Bytes,
    pub result: CompareResult,
    pub target: CompareTarget,
}

/// One operation of a transaction. Operations of an inner transaction get the same revision as
/// those of the outer one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestOp {
    Range(RangeRequest),
    Put(PutRequest),
    DeleteRange(DeleteRangeRequest),
    Txn(TxnRequest),
}

/// Runs the operations in `success` if every condition in `compare` holds, else those in `failure`.
/// A client may have 128 in each of the three lists ([`MAX_OPS`](super::txn::MAX_OPS)).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TxnRequest {
    pub compare: Vec<Compare>,
    pub success: Vec<RequestOp>,
    pub failure: Vec<RequestOp>,
}

/// The answer to one [`RequestOp`], of the same kind. `deleted` is a number of keys.
#[derive(Clone, Debug)]
pub enum ResponseOp {
    Range(RangeResponse),
    Put { revision: Revision, prev_kv: Option<KeyValue> },
    DeleteRange { revision: Revision, deleted: i64, prev_kvs: Vec<KeyValue> },
    Txn(TxnResponse),
}

/// What a transaction did. `succeeded` says whether its conditions held; `responses` answers its
/// operations in their order.
#[derive(Clone, Debug, Default)]
pub struct TxnResponse {
    pub revision: Revision,
    pub succeeded: bool,
    pub responses: Vec<ResponseOp>,
}

/// What an event did to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    Put,
    Delete,
}

/// One change of one key, as watchers get it (`mvccpb.Event`).
#[derive(Clone, Debug)]
pub struct Event {
    pub kind: EventType,
    /// For a delete: only `key` and `mod_revision` (the deletion's revision) are set.
    pub kv: KeyValue,
    /// The key before this event, if it existed (and was not compacted away).
    pub prev_kv: Option<KeyValue>,
}

/// All events of one revision, or of several whole revisions, in order.
#[derive(Clone, Debug, Default)]
pub struct WatchResponse {
    /// The revision up to which this watcher has seen everything.
    pub revision: Revision,
    /// Empty in a progress notification.
    pub events: Vec<Event>,
}

/// Asks for the changes of the keys from `key` to `range_end` (see [`RangeRequest`]). `prev_kv`
/// asks for the key before each change, too.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct WatchRequest {
    pub key: Bytes,
    pub range_end: Bytes,
    /// First revision wanted; 0 is "from the next write on".
    pub start_revision: Revision,
    pub prev_kv: bool,
}

/// The texts are etcd's own (`rpctypes`), since people search for them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted { compact_revision: Revision },
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision { current: Revision },
    #[error("etcdserver: request is too large")]
    RequestTooLarge,
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    #[error("etcdserver: key not found")]
    KeyNotFound,
    #[error("etcdserver: value is provided")]
    ValueProvided,
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    #[error("etcdserver: invalid sort option")]
    InvalidSortOption,
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    #[error("etcdserver: too many operations in txn request")]
    TooManyOps,
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    #[error("etcdserver: lease already exists")]
    LeaseExist,
    #[error("etcdserver: too large lease TTL")]
    LeaseTtlTooLarge,
    /// The disk, or the store's own quota, is full: writes are refused. Reads go on, but
    /// linearizable ones at a leader with a full disk and followers wait for room.
    #[error("etcdserver: mvcc: database space exceeded")]
    NoSpace,
    /// Alarms of so many members are in force that no further one is kept.
    #[error("etcdserver: too many alarms; end some with `etcdctl alarm disarm`")]
    TooManyAlarms,
    /// The leader's log holds as many writes that are not settled as it may. Nothing was proposed.
    #[error("etcdserver: too many requests")]
    TooManyRequests,
    #[error("etcdserver: corrupt cluster")]
    Corrupt,
    /// The member's log cannot be written, for now (no descriptor is left) or for good (damaged):
    /// writes are refused. Serializable reads go on; after a failure for good, linearizable ones
    /// only of a member that is alone.
    #[error("etcdserver: cannot write to the log: {cause}")]
    Disk { cause: String },
    #[error("etcdserver: no leader")]
    NoLeader,
    #[error("etcdserver: not leader")]
    NotLeader,
    #[error("etcdserver: bad leader transferee")]
    BadLeaderTransferee,
    #[error("etcdserver: member not found")]
    MemberNotFound,
    #[error("etcdserver: request timed out")]
    Timeout,
    /// An etcd elsewhere: a read met an election. A store of this program has no such answer.
    #[error("etcdserver: leader changed")]
    LeaderChanged,
    #[error("etcdserver: server stopped")]
    Stopped,
    /// The watcher fell too far behind and was cut off; resume from the last revision seen.
    #[error("etcdserver: watcher fell too far behind")]
    SlowWatcher,
    /// Another program keeps the store, and it cannot be asked, or says what is none of these.
    #[error("etcdserver: unavailable: {cause}")]
    Unavailable { cause: String },
}
