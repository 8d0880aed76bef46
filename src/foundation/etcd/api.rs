//! The words of etcd v3's API that the rest of the program speaks: requests, answers, errors.
//! Names and meanings are those of `etcdserverpb` (rpc.proto) and `mvccpb` (kv.proto).

use bytes::Bytes;

/// A store's position in time: one number for the whole keyspace, +1 per write transaction.
pub type Revision = i64;

/// One version of a key (`mvccpb.KeyValue`). A key that does not exist has no `KeyValue`; a
/// deletion is one whose `version` is 0.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct KeyValue {
    /// Bytes; the API server's are paths, e.g. `/registry/pods/default/web`.
    pub key: Bytes,
    /// The revision of the write that created the key.
    pub create_revision: Revision,
    /// The revision of the last write to it.
    pub mod_revision: Revision,
    /// Writes to the key since it was created; 1 for a new key.
    pub version: i64,
    /// What was last put.
    pub value: Bytes,
    /// 0 if the key is not attached to a lease.
    pub lease: i64,
}

/// Keys from `key` to `range_end` (excluded). An empty `range_end` means the one key; `\0` means to
/// the end.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RangeRequest {
    /// The first key.
    pub key: Bytes,
    /// The first key behind the range.
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
    /// The answer has no values.
    pub keys_only: bool,
    /// The answer has `count` and no keys.
    pub count_only: bool,
    /// Ascending or descending.
    pub sort_order: SortOrder,
    /// The field that is sorted by.
    pub sort_target: SortTarget,
    /// Keys with revisions outside are left out of `kvs`, not of `count`. 0 is no bound.
    pub min_mod_revision: Revision,
    /// Keys that were written later are left out of `kvs`. 0 is no bound.
    pub max_mod_revision: Revision,
    /// Keys that were created earlier are left out of `kvs`. 0 is no bound.
    pub min_create_revision: Revision,
    /// Keys that were created later are left out of `kvs`. 0 is no bound.
    pub max_create_revision: Revision,
}

/// `None` is the order of keys, unless a target other than the key is named: then it is ascending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SortOrder {
    /// By key, or ascending by a target that is not the key.
    #[default]
    None,
    /// The least first.
    Ascend,
    /// The greatest first.
    Descend,
}

/// The field by which the keys of an answer are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SortTarget {
    /// By the bytes of the key.
    #[default]
    Key,
    /// By the number of writes since the key was created.
    Version,
    /// By the revision of the write that created the key.
    CreateRevision,
    /// By the revision of the last write.
    ModRevision,
    /// By the bytes of the value.
    Value,
}

/// The keys that a range found, and how many there are.
#[derive(Clone, Debug, Default)]
pub struct RangeResponse {
    /// The store's revision when it was read.
    pub revision: Revision,
    /// The keys, sorted as the request asked, at most `limit` of them.
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
    /// The key; not empty.
    pub key: Bytes,
    /// Its new value.
    pub value: Bytes,
    /// The id of its lease; 0 for none.
    pub lease: i64,
    /// The answer has the earlier key and value, too.
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
    /// The first key.
    pub key: Bytes,
    /// Behind the last key.
    pub range_end: Bytes,
    /// The answer has the earlier key and value, too.
    pub prev_kv: bool,
}

/// How the field of a key must compare with the value in the [`Compare`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompareResult {
    /// The field is the value.
    Equal,
    /// The field is greater than the value.
    Greater,
    /// The field is less than the value.
    Less,
    /// The field is another value.
    NotEqual,
}

/// The field that is compared, and the value to compare it with. A key that does not exist counts
/// as one with version, revisions and lease 0. It has no value: each comparison with a value fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompareTarget {
    /// Writes since the key was created; 0 asks for a key that does not exist.
    Version(i64),
    /// The revision of the write that created the key.
    CreateRevision(Revision),
    /// The revision of the last write: what a client that read it compares with.
    ModRevision(Revision),
    /// The bytes of the value.
    Value(Bytes),
    /// The id of the key's lease.
    Lease(i64),
}

/// One condition of a transaction. It must hold for every key from `key` to `range_end`; if none of
/// them exists, for a key that does not exist (see [`CompareTarget`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// The first key.
    pub key: Bytes,
    /// Behind the last key; empty for the one key.
    pub range_end: Bytes,
    /// How the two must compare.
    pub result: CompareResult,
    /// The field, and the value to compare it with.
    pub target: CompareTarget,
}

/// One operation of a transaction. Operations of an inner transaction get the same revision as
/// those of the outer one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestOp {
    /// Reads keys, with what earlier operations of the transaction wrote.
    Range(RangeRequest),
    /// Sets one key. No two operations may set the same one.
    Put(PutRequest),
    /// Deletes keys.
    DeleteRange(DeleteRangeRequest),
    /// A transaction within: its conditions decide which of its operations run.
    Txn(TxnRequest),
}

/// Runs the operations in `success` if every condition in `compare` holds, else those in `failure`.
/// A client may have 128 in each of the three lists ([`MAX_OPS`](super::txn::MAX_OPS)).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TxnRequest {
    /// The conditions. None at all holds.
    pub compare: Vec<Compare>,
    /// Run if all conditions hold.
    pub success: Vec<RequestOp>,
    /// Run if one does not.
    pub failure: Vec<RequestOp>,
}

/// The answer to one [`RequestOp`], of the same kind. `deleted` is a number of keys.
#[derive(Clone, Debug)]
pub enum ResponseOp {
    /// What was found.
    Range(RangeResponse),
    /// The key was set.
    Put {
        /// The revision of the write.
        revision: Revision,
        /// The key as it was; only if asked for, and if it existed.
        prev_kv: Option<KeyValue>,
    },
    /// The keys were deleted.
    DeleteRange {
        /// The store's revision afterwards; the same as before if no key was deleted.
        revision: Revision,
        /// How many keys were deleted.
        deleted: i64,
        /// The keys as they were; only if asked for.
        prev_kvs: Vec<KeyValue>,
    },
    /// What the transaction within did.
    Txn(TxnResponse),
}

/// What a transaction did. `succeeded` says whether its conditions held; `responses` answers its
/// operations in their order.
#[derive(Clone, Debug, Default)]
pub struct TxnResponse {
    /// The store's revision afterwards.
    pub revision: Revision,
    /// All conditions held: `success` was run.
    pub succeeded: bool,
    /// One for each operation.
    pub responses: Vec<ResponseOp>,
}

/// What an event did to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// The key was created, or set again.
    Put,
    /// The key was deleted, by a client or with its lease.
    Delete,
}

/// One change of one key, as watchers get it (`mvccpb.Event`).
#[derive(Clone, Debug)]
pub struct Event {
    /// What happened to the key.
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
    /// The first key.
    pub key: Bytes,
    /// Behind the last key; empty for the one key.
    pub range_end: Bytes,
    /// First revision wanted; 0 is "from the next write on".
    pub start_revision: Revision,
    /// The answer has the earlier key and value, too.
    pub prev_kv: bool,
}

/// The texts are etcd's own (`rpctypes`), since people search for them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// History up to a revision is gone.
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted {
        /// The oldest revision that can be read.
        compact_revision: Revision,
    },
    /// The store has not reached the revision.
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision {
        /// The newest revision.
        current: Revision,
    },
    /// More than [`REQUEST_MAX`](super::REQUEST_MAX) bytes.
    #[error("etcdserver: request is too large")]
    RequestTooLarge,
    /// Every request names a key.
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    /// A put keeps the value or lease of a key, and the key does not exist.
    #[error("etcdserver: key not found")]
    KeyNotFound,
    /// A put keeps the value, and has one.
    #[error("etcdserver: value is provided")]
    ValueProvided,
    /// A put keeps the lease, and has one.
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    /// The order or the field to sort by is no number of etcd's.
    #[error("etcdserver: invalid sort option")]
    InvalidSortOption,
    /// Two operations of a transaction would set the same key.
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    /// A list of a transaction is longer than [`MAX_OPS`](super::txn::MAX_OPS).
    #[error("etcdserver: too many operations in txn request")]
    TooManyOps,
    /// It was never granted, was revoked, or its time is over.
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    /// The id that the client chose is in use.
    #[error("etcdserver: lease already exists")]
    LeaseExist,
    /// More than 9 000 000 000 s.
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
    /// An alarm says that members' data differ: nothing may be written.
    #[error("etcdserver: corrupt cluster")]
    Corrupt,
    /// The member's log cannot be written, for now (no descriptor is left) or for good (damaged):
    /// writes are refused. Serializable reads go on; after a failure for good, linearizable ones
    /// only of a member that is alone.
    #[error("etcdserver: cannot write to the log: {cause}")]
    Disk {
        /// The system's answer.
        cause: String,
    },
    /// No member leads, or a client asked for a leader and the member has none.
    #[error("etcdserver: no leader")]
    NoLeader,
    /// Only the leader can do this.
    #[error("etcdserver: not leader")]
    NotLeader,
    /// Leadership goes to voters only.
    #[error("etcdserver: bad leader transferee")]
    BadLeaderTransferee,
    /// No member has this number.
    #[error("etcdserver: member not found")]
    MemberNotFound,
    /// No answer in time: a write may have been done, or may still be.
    #[error("etcdserver: request timed out")]
    Timeout,
    /// An etcd elsewhere: a read met an election. A store of this program has no such answer.
    #[error("etcdserver: leader changed")]
    LeaderChanged,
    /// The member has ended.
    #[error("etcdserver: server stopped")]
    Stopped,
    /// The watcher fell too far behind and was cut off; resume from the last revision seen.
    #[error("etcdserver: watcher fell too far behind")]
    SlowWatcher,
    /// Another program keeps the store, and it cannot be asked, or says what is none of these.
    #[error("etcdserver: unavailable: {cause}")]
    Unavailable {
        /// What went wrong on the way, or the other program's words.
        cause: String,
    },
}
