//! The one table of verbs and flags. Completion outside this crate reads the names only.

use super::cmd::{endpoint, keys, lease, lock, maintenance, member, txn, watch};
use super::ctx::Ctx;
use super::fail::Fail;
use super::flags::{CLUSTER, CONSISTENCY, DEL, Flag, GET, PREFIX, PREV_KV, PUT, number, short, switch};
use futures::future::LocalBoxFuture;

type Run = for<'a, 'io> fn(&'a mut Ctx<'io>) -> LocalBoxFuture<'a, Result<(), Fail>>;

/// One verb of etcdctl, with what runs it.
pub struct Verb {
    /// The words that choose the verb, with one space between them: `lease grant`.
    pub name: &'static str,
    /// The arguments behind the name, as the usage line shows them: `<key> [range_end]`.
    pub(crate) usage: &'static str,
    pub(crate) help: &'static str,
    pub(crate) flags: &'static [Flag],
    pub(crate) run: Run,
    /// Ends what it has begun when it is interrupted.
    pub(crate) tidies: bool,
}

impl Verb {
    /// Whether the verb talks to a store.
    pub(crate) fn uses_store(&self) -> bool {
        !matches!(self.name, "version" | "snapshot status")
    }
}

macro_rules! verb {
    ($name:literal, $usage:literal, $help:literal, [$($flag:expr),* $(,)?], $($rest:tt)+) => {
        verb!($name, $usage, $help, &[$($flag),*], $($rest)+)
    };
    ($name:literal, $usage:literal, $help:literal, $flags:expr, $run:path $(, $tidies:ident)?) => {
        Verb {
            name: $name,
            usage: $usage,
            help: $help,
            flags: $flags,
            run: |ctx| Box::pin($run(ctx)),
            tidies: false $(|| stringify!($tidies).len() > 0)?,
        }
    };
}

/// Every verb that runs here, sorted by its name; the others are in `ABSENT`.
pub const VERBS: &[Verb] = &[
    verb!("alarm disarm", "", "End every alarm", [], maintenance::disarm),
    verb!("alarm list", "", "Show the alarms in force", [], maintenance::alarms),
    verb!(
        "compaction",
        "<revision>",
        "Forget the history before a revision",
        [switch("physical", "answer when the space is free")],
        maintenance::compaction
    ),
    verb!("defrag", "", "Pack the members' files", [CLUSTER], maintenance::defrag),
    verb!("del", "<key> [range_end]", "Delete a key or a range of keys", DEL, keys::del),
    verb!(
        "elect",
        "<election-name> [proposal]",
        "Take part in an election, or watch one",
        [short(switch("listen", "watch only"), 'l')],
        lock::elect,
        tidies
    ),
    verb!(
        "endpoint hashkv",
        "",
        "Show the checksum of each member's history",
        [CLUSTER, number("rev", "0", "last revision that counts; 0 is now")],
        endpoint::hashkv
    ),
    verb!("endpoint health", "", "Ask each endpoint whether it can commit", [CLUSTER], endpoint::health),
    verb!("endpoint status", "", "Show what each endpoint says of itself", [CLUSTER], endpoint::status),
    verb!("get", "<key> [range_end]", "Show a key or a range of keys", GET, keys::get),
    verb!("lease grant", "<ttl>", "Make a lease of so many seconds", [], lease::grant),
    verb!(
        "lease keep-alive",
        "<leaseID>",
        "Renew a lease until you are stopped",
        [switch("once", "renew it once")],
        lease::keep_alive
    ),
    verb!("lease list", "", "Show all leases", [], lease::list),
    verb!("lease revoke", "<leaseID>", "End a lease and its keys", [], lease::revoke),
    verb!(
        "lease timetolive",
        "<leaseID>",
        "Show how long a lease still has",
        [switch("keys", "and what hangs on it")],
        lease::time_to_live
    ),
    verb!(
        "lock",
        "<lockname> [exec-command arg1 arg2 ...]",
        "Hold a lock, or run a command while holding it",
        [number("ttl", "10", "seconds after which the lock of one who died is free")],
        lock::lock,
        tidies
    ),
    verb!("member list", "", "Show the members of the cluster", [CONSISTENCY], member::list),
    verb!("move-leader", "<transferee-member-id>", "Let another member lead", [], maintenance::move_leader),
    verb!("put", "<key> <value>", "Set a key; without a value it comes from standard input", PUT, keys::put),
    verb!("snapshot save", "<filename>", "Save the whole store as a database file", [], maintenance::save),
    verb!(
        "snapshot status",
        "<filename>",
        "Show what is in a database file (with etcd 3.6: etcdutl snapshot status)",
        [],
        maintenance::snapshot_status
    ),
    verb!(
        "txn",
        "",
        "Compare, then do one of two things, all at one revision; read from standard input",
        [short(switch("interactive", "say what is to be typed"), 'i')],
        txn::txn
    ),
    verb!("version", "", "Show the version", [], maintenance::version),
    verb!(
        "watch",
        "<key> [range_end] [--] [exec-command arg1 arg2 ...]",
        "Show changes as they happen",
        [
            PREFIX,
            PREV_KV,
            number("rev", "0", "from this revision on; 0 is from now on"),
            switch("progress-notify", "say from time to time how far the watch is"),
            short(switch("interactive", "not supported: one watch a command"), 'i'),
        ],
        watch::watch
    ),
];

/// Verbs of etcdctl that are not here, and why.
pub(crate) const ABSENT: &[(&str, &str)] = &[
    ("auth", "this store has no users and roles"),
    ("check", "load tests are not built in"),
    ("completion", "completion scripts are not built in"),
    ("downgrade", "all members run the version of this program"),
    ("make-mirror", "mirrors are not built in"),
    ("member add", "members follow the cluster's control-plane nodes"),
    ("member promote", "members follow the cluster's control-plane nodes"),
    ("member remove", "members follow the cluster's control-plane nodes"),
    ("member update", "members follow the cluster's control-plane nodes"),
    ("migrate", "there was never a v2 store here"),
    ("role", "this store has no users and roles"),
    ("snapshot restore", "use etcd's own etcdctl or etcdutl: the file has etcd's format"),
    ("user", "this store has no users and roles"),
];
