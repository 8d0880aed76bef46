//! Messages on the wire, and entries and configurations on disk.

use super::fields::{DecodeError, Reader, put_bytes, put_u64};
use super::message::{Body, ConfState, Entry, HardState, Message, NONE, Payload, SnapshotRef};
use bytes::Bytes;
use std::collections::BTreeSet;

/// First byte of every encoded message.
const MESSAGE_VERSION: u8 = 1;

/// Terms and indexes stay below this. No cluster comes near it by counting, and what is added to
/// one cannot overflow.
pub const COUNT_MAX: u64 = 1 << 62;

/// A peer may move a member's term and index at once only below this, so that there is room to
/// count on: see [`term_in_reach`], and snapshots.
pub const REACH_MAX: u64 = COUNT_MAX / 2;

/// Above [`REACH_MAX`], a peer may move a member's term by at most this much with one message.
const TERM_STEP: u64 = 1 << 32;

/// Returns whether a member in term `own` believes that a peer is in term `term`. Without this, one
/// message with the largest term that can be read would be the last: no member could read the
/// messages of the next election. A term of 2^61 + 2^32 is believed by every member, the next 2^32
/// terms only by those that got there.
pub(crate) fn term_in_reach(own: u64, term: u64) -> bool {
    term <= own.max(REACH_MAX) + TERM_STEP
}

impl Reader {
    /// Reads a term or an index. `what`: its name, for the error.
    ///
    /// # Errors
    /// Those of [`Reader::u64`], and `Impossible` from [`COUNT_MAX`] on.
    pub(crate) fn counted(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        match self.u64()? {
            n if n < COUNT_MAX => Ok(n),
            value => Err(DecodeError::Impossible { what, value }),
        }
    }
}

/// Appends a configuration: a count and the numbers of the voters, then of the learners.
pub(crate) fn put_conf(out: &mut Vec<u8>, conf: &ConfState) {
    for set in [&conf.voters, &conf.learners] {
        put_u64(out, set.len() as u64);
        set.iter().for_each(|id| put_u64(out, *id));
    }
}

/// Reads a configuration, as [`put_conf`] wrote it.
///
/// # Errors
/// `Impossible` if it has no voter, or member 0, or a member twice; those of the [`Reader`].
pub(crate) fn conf(r: &mut Reader) -> Result<ConfState, DecodeError> {
    let (mut conf, mut seen) = (ConfState::default(), BTreeSet::new());
    for set in [&mut conf.voters, &mut conf.learners] {
        for _ in 0..r.count()? {
            let id = r.u64()?;
            if id == NONE || !seen.insert(id) {
                return Err(DecodeError::Impossible { what: "member of a configuration", value: id });
            }
            set.insert(id);
        }
    }
    if conf.voters.is_empty() {
        return Err(DecodeError::Impossible { what: "number of voters", value: 0 });
    }
    Ok(conf)
}

/// Appends an entry: term, index, kind (0 empty, 1 data, 2 configuration), and its payload.
pub(crate) fn put_entry(out: &mut Vec<u8>, entry: &Entry) {
    put_u64(out, entry.term);
    put_u64(out, entry.index);
    match &entry.payload {
        Payload::Empty => out.push(0),
        Payload::Normal(data) => {
            out.push(1);
            put_bytes(out, data);
        }
        Payload::ConfChange(conf) => {
            out.push(2);
            put_conf(out, conf);
        }
    }
}

/// Reads an entry, as [`put_entry`] wrote it. Its data are copied.
///
/// # Errors
/// `Unknown` for another kind; those of [`Reader::counted`] and [`conf`].
pub(crate) fn entry(r: &mut Reader) -> Result<Entry, DecodeError> {
    let (term, index) = (r.counted("term")?, r.counted("index")?);
    let payload = match r.u8()? {
        0 => Payload::Empty,
        // copied: an entry lives long and must not hold on to the buffer it came in
        1 => Payload::Normal(Bytes::copy_from_slice(r.slice()?)),
        2 => Payload::ConfChange(conf(r)?),
        n => return Err(DecodeError::Unknown { what: "entry type", value: n.into() }),
    };
    Ok(Entry { term, index, payload })
}

/// Appends term, vote and commit index.
pub(crate) fn put_hard(out: &mut Vec<u8>, hard: &HardState) {
    for n in [hard.term, hard.vote, hard.commit] {
        put_u64(out, n);
    }
}

/// Reads what [`put_hard`] wrote.
///
/// # Errors
/// Those of [`Reader::counted`].
pub(crate) fn hard(r: &mut Reader) -> Result<HardState, DecodeError> {
    Ok(HardState { term: r.counted("term")?, vote: r.u64()?, commit: r.counted("index")? })
}

/// Encodes a message: version, from, to, term, kind, fields.
pub fn encode_message(m: &Message) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 + m.body.size());
    out.push(MESSAGE_VERSION);
    for n in [m.from, m.to, m.term] {
        put_u64(&mut out, n);
    }
    let mut put = |kind: u8, numbers: &[u64]| {
        out.push(kind);
        numbers.iter().for_each(|n| put_u64(&mut out, *n));
    };
    match &m.body {
        Body::MsgApp { index, log_term, entries, commit } => {
            put(1, &[*index, *log_term, *commit, entries.len() as u64]);
            entries.iter().for_each(|e| put_entry(&mut out, e));
        }
        Body::MsgAppResp { index, reject, hint_index, hint_term } => {
            put(2, &[*index, u64::from(*reject), *hint_index, *hint_term]);
        }
        Body::MsgHeartbeat { commit, read } => put(3, &[*commit, *read]),
        Body::MsgHeartbeatResp { read } => put(4, &[*read]),
        Body::MsgPreVote { index, log_term } => put(5, &[*index, *log_term]),
        Body::MsgPreVoteResp { reject } => put(6, &[u64::from(*reject)]),
        Body::MsgVote { index, log_term, transfer } => put(7, &[*index, *log_term, u64::from(*transfer)]),
        Body::MsgVoteResp { reject } => put(8, &[u64::from(*reject)]),
        Body::MsgSnap(s) => {
            put(9, &[s.index, s.term]);
            put_conf(&mut out, &s.conf);
            put_bytes(&mut out, &s.data);
        }
        Body::MsgTimeoutNow => put(10, &[]),
        Body::MsgProp { data } => {
            put(11, &[]);
            put_bytes(&mut out, data);
        }
        Body::MsgReadIndex { ctx } => put(12, &[*ctx]),
        Body::MsgReadIndexResp { ctx, index } => put(13, &[*ctx, *index]),
        Body::MsgAsk { ctx, applied, data } => {
            put(14, &[*ctx, *applied]);
            put_bytes(&mut out, data);
        }
        Body::MsgAnswer { ctx, data } => {
            put(15, &[*ctx]);
            put_bytes(&mut out, data);
        }
    }
    out
}

/// Reads what [`encode_message`] wrote.
///
/// # Errors
/// The caller drops the message: Raft sends again what is needed.
/// - `Unknown` for a version, kind or flag that this program does not know: a newer peer is
///   refused, not misread.
/// - `Impossible` for numbers that no member sends, e.g. an entry newer than the term of its
///   message.
/// - `Short` or `Long` if the bytes end too early, or go on behind the message.
pub(crate) fn decode_message(bytes: Bytes) -> Result<Message, DecodeError> {
    let r = &mut Reader::new(bytes);
    let version = r.u8()?;
    if version != MESSAGE_VERSION {
        return Err(DecodeError::Unknown { what: "message version", value: version.into() });
    }
    let (from, to, term) = (r.u64()?, r.u64()?, r.counted("term")?);
    if from == NONE || from == to {
        return Err(DecodeError::Impossible { what: "sender", value: from });
    }
    let body = match r.u8()? {
        1 => {
            let (index, log_term, commit) = (r.counted("index")?, r.counted("term")?, r.counted("index")?);
            if log_term > term {
                return Err(DecodeError::Impossible { what: "term of an entry", value: log_term });
            }
            let mut entries: Vec<Entry> = Vec::new();
            let mut before = (index, log_term);
            for _ in 0..r.count()? {
                let next = entry(r)?;
                // each follows the one before it, and none is newer than its leader
                if next.index != before.0 + 1 {
                    return Err(DecodeError::Impossible { what: "index of an entry", value: next.index });
                }
                if next.term < before.1 || next.term > term {
                    return Err(DecodeError::Impossible { what: "term of an entry", value: next.term });
                }
                before = (next.index, next.term);
                entries.push(next);
            }
            Body::MsgApp { index, log_term, entries, commit }
        }
        2 => {
            let (index, reject) = (r.counted("index")?, r.bool()?);
            let (hint_index, hint_term) = (r.counted("index")?, r.counted("term")?);
            Body::MsgAppResp { index, reject, hint_index, hint_term }
        }
        3 => Body::MsgHeartbeat { commit: r.counted("index")?, read: r.u64()? },
        4 => Body::MsgHeartbeatResp { read: r.u64()? },
        5 => Body::MsgPreVote { index: r.counted("index")?, log_term: r.counted("term")? },
        6 => Body::MsgPreVoteResp { reject: r.bool()? },
        7 => {
            let (index, log_term) = (r.counted("index")?, r.counted("term")?);
            Body::MsgVote { index, log_term, transfer: r.bool()? }
        }
        8 => Body::MsgVoteResp { reject: r.bool()? },
        9 => {
            let (index, of) = (r.counted("index")?, r.counted("term")?);
            // the log goes on behind it, and none is newer than its leader
            if index >= REACH_MAX {
                return Err(DecodeError::Impossible { what: "index of a snapshot", value: index });
            }
            if of > term {
                return Err(DecodeError::Impossible { what: "term of a snapshot", value: of });
            }
            Body::MsgSnap(SnapshotRef { index, term: of, conf: conf(r)?, data: r.bytes()? })
        }
        10 => Body::MsgTimeoutNow,
        11 => Body::MsgProp { data: Bytes::copy_from_slice(&r.bytes()?) },
        12 => Body::MsgReadIndex { ctx: r.u64()? },
        13 => Body::MsgReadIndexResp { ctx: r.u64()?, index: r.counted("index")? },
        14 => Body::MsgAsk { ctx: r.u64()?, applied: r.counted("index")?, data: r.bytes()? },
        15 => Body::MsgAnswer { ctx: r.u64()?, data: r.bytes()? },
        n => return Err(DecodeError::Unknown { what: "message kind", value: n.into() }),
    };
    r.end()?;
    Ok(Message { from, to, term, body })
}

#[cfg(test)]
mod tests;
