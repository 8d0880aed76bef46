//! Bytes on the wire and on disk: little numbers as varints, everything else behind its length.

use super::message::{Body, ConfState, Entry, HardState, Message, NONE, Payload, SnapshotRef};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::ops::Range;

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

/// The error of bytes that cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end in the middle of a field.
    #[error("ends too early")]
    Short,
    /// A later version may know it; this one does not.
    #[error("unknown {what} {value}")]
    Unknown {
        /// The kind of the field, e.g. `message`.
        what: &'static str,
        /// The number that was read.
        value: u64,
    },
    /// Everything was read, and bytes are left.
    #[error("{0} bytes left over")]
    Long(usize),
    /// No member that follows the protocol says this.
    #[error("{what} {value} cannot be")]
    Impossible {
        /// The field, e.g. `term`.
        what: &'static str,
        /// The number that was read.
        value: u64,
    },
}

/// Appends a number in 1 to 10 bytes, seven bits each, least first (protobuf's varint).
pub fn put_u64(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Appends a signed number; small ones of either sign stay small (zigzag).
pub fn put_i64(out: &mut Vec<u8>, n: i64) {
    put_u64(out, ((n << 1) ^ (n >> 63)) as u64);
}

/// Appends a length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads what the `put_` functions wrote. Byte strings are shared with the input, not copied.
pub struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    /// A reader that stands before the first byte.
    pub fn new(bytes: Bytes) -> Reader {
        Reader { bytes, at: 0 }
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// `Short` at the end of the input. As with every error of a reader, the caller gives up the
    /// whole input: where its next part begins is not known.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        let byte = *self.bytes.get(self.at).ok_or(DecodeError::Short)?;
        self.at += 1;
        Ok(byte)
    }

    /// Reads a number of 1 to 10 bytes, as [`put_u64`] wrote it.
    ///
    /// # Errors
    /// `Short` if the input ends within it, `Unknown` if it has more than 64 bits or 10 bytes.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            if shift == 63 && byte > 1 {
                break; // of the last byte one bit counts
            }
            n |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(DecodeError::Unknown { what: "number", value: n })
    }

    /// Reads a term or an index. `what`: its name, for the error.
    ///
    /// # Errors
    /// Those of [`Reader::u64`], and `Impossible` from [`COUNT_MAX`] on.
    pub fn counted(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        match self.u64()? {
            n if n < COUNT_MAX => Ok(n),
            value => Err(DecodeError::Impossible { what, value }),
        }
    }

    /// Reads a signed number, as [`put_i64`] wrote it.
    ///
    /// # Errors
    /// Those of [`Reader::u64`].
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        let n = self.u64()?;
        Ok((n >> 1) as i64 ^ -((n & 1) as i64))
    }

    /// Reads a byte that is 0 (false) or 1 (true).
    ///
    /// # Errors
    /// `Short` at the end of the input, `Unknown` for any other byte.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            n => Err(DecodeError::Unknown { what: "flag", value: n.into() }),
        }
    }

    /// Reads a byte string, as [`put_bytes`] wrote it. It shares the memory of the input.
    ///
    /// # Errors
    /// Those of [`Reader::u64`], and `Short` if the string is longer than what is left.
    pub fn bytes(&mut self) -> Result<Bytes, DecodeError> {
        let string = self.string()?;
        Ok(self.bytes.slice(string))
    }

    /// Reads a byte string as [`bytes`](Reader::bytes) does, and only lends it.
    fn slice(&mut self) -> Result<&[u8], DecodeError> {
        let string = self.string()?;
        Ok(&self.bytes[string])
    }

    /// Returns the range of the next byte string, and moves behind it.
    fn string(&mut self) -> Result<Range<usize>, DecodeError> {
        let len = usize::try_from(self.u64()?).map_err(|_| DecodeError::Short)?;
        let end =
            self.at.checked_add(len).filter(|end| *end <= self.bytes.len()).ok_or(DecodeError::Short)?;
        Ok(std::mem::replace(&mut self.at, end)..end)
    }

    /// Reads a count of things that take at least a byte each, so that a false count cannot ask for
    /// memory.
    ///
    /// # Errors
    /// Those of [`Reader::u64`], and `Short` if the count is larger than the number of bytes left.
    pub fn count(&mut self) -> Result<usize, DecodeError> {
        let n = self.u64()?;
        if n > self.left() as u64 { Err(DecodeError::Short) } else { Ok(n as usize) }
    }

    /// Bytes of the whole input, also of what was read.
    pub fn total(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes that are not read yet.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Checks that the whole input was read.
    ///
    /// # Errors
    /// `Long` with the number of bytes left: the input is not what the caller took it for.
    pub fn end(&self) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            n => Err(DecodeError::Long(n)),
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
