//! The flags that every verb takes, those that several share, and those of the operations that
//! `txn` reads too.

/// What a flag's value is; a switch may stand without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Switch,
    Text,
    Number,
}

/// One flag of a verb, or a global one.
pub(crate) struct Flag {
    pub name: &'static str,
    pub short: Option<char>,
    pub kind: Kind,
    pub default: &'static str,
    pub help: &'static str,
}

pub(super) const fn switch(name: &'static str, help: &'static str) -> Flag {
    Flag { name, short: None, kind: Kind::Switch, default: "false", help }
}
const fn text(name: &'static str, default: &'static str, help: &'static str) -> Flag {
    Flag { name, short: None, kind: Kind::Text, default, help }
}
pub(super) const fn number(name: &'static str, default: &'static str, help: &'static str) -> Flag {
    Flag { name, short: None, kind: Kind::Number, default, help }
}
pub(super) const fn short(flag: Flag, short: char) -> Flag {
    Flag { short: Some(short), ..flag }
}

pub(super) const PREFIX: Flag = switch("prefix", "every key that begins with KEY");
const FROM_KEY: Flag = switch("from-key", "every key from KEY on, in byte order");
pub(super) const PREV_KV: Flag = switch("prev-kv", "show what the key was before");
pub(super) const CLUSTER: Flag = switch("cluster", "ask every member that the cluster lists");

/// Flags of the group of verbs about endpoints.
pub(crate) const ENDPOINT: &[Flag] = &[CLUSTER];

/// Flags of every verb.
pub(crate) const GLOBAL: &[Flag] = &[
    text("endpoints", "", "where the members listen, separated by commas"),
    text("cacert", "", "file with the authority of the servers' certificates"),
    text("cert", "", "file with our certificate"),
    text("key", "", "file with our certificate's key"),
    short(text("write-out", "simple", "format of answers: simple, json, fields or table"), 'w'),
    switch("hex", "print bytes in hexadecimal"),
    text("command-timeout", "5s", "longest wait for an answer"),
    text("dial-timeout", "2s", "longest wait for a connection"),
    switch("insecure-skip-tls-verify", "not supported: a certificate that cannot be checked is refused"),
    switch("insecure-transport", "accepted: an endpoint's scheme decides"),
    switch("debug", "accepted and ignored"),
    short(switch("help", "this text"), 'h'),
];

pub(super) const CONSISTENCY: Flag =
    text("consistency", "l", "l: what a majority has agreed on; s: what this member knows");

/// Flags of `get`.
pub(crate) const GET: &[Flag] = &[
    CONSISTENCY,
    text("order", "", "ASCEND or DESCEND"),
    text("sort-by", "", "CREATE, KEY, MODIFY, VALUE or VERSION"),
    number("limit", "0", "show at most so many; 0 is all"),
    PREFIX,
    FROM_KEY,
    number("rev", "0", "as it was at this revision; 0 is now"),
    number("min-create-rev", "0", "leave out keys that were created before this revision"),
    number("max-create-rev", "0", "leave out keys that were created after this revision"),
    number("min-mod-rev", "0", "leave out keys that were last changed before this revision"),
    number("max-mod-rev", "0", "leave out keys that were last changed after this revision"),
    switch("keys-only", "leave the values out"),
    switch("print-value-only", "leave the keys out (format simple)"),
    switch("count-only", "only say how many there are (formats fields and json)"),
];

/// Flags of `put`.
pub(crate) const PUT: &[Flag] = &[
    text("lease", "0", "hang it on this lease (hexadecimal)"),
    PREV_KV,
    switch("ignore-value", "keep the value it has"),
    switch("ignore-lease", "keep the lease it has"),
];

/// Flags of `del`.
pub(crate) const DEL: &[Flag] =
    &[PREFIX, FROM_KEY, PREV_KV, switch("range", "delete up to range_end without a pause to interrupt")];
