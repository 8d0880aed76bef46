//! An alarm: a member's word that something is wrong with the store, in force on all members until
//! a client ends it.

use raft::fields::{DecodeError, Reader};

/// A member's word that something is wrong with the store. It is in force on all members until a
/// client ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alarm {
    /// What is wrong.
    pub kind: AlarmKind,
    /// The number of the member that raised it; see [`member_id`](super::member_id).
    pub member: u64,
}

/// What an alarm says, with the numbers of `etcdserverpb.AlarmType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlarmKind {
    /// Puts and new leases are refused; what frees room is taken.
    NoSpace = 1,
    /// Every write is refused, except renewals of leases and changes of alarms.
    Corrupt = 2,
}

/// Reads `kind u8 | member`, as commands and snapshots hold an alarm.
pub(crate) fn decode(r: &mut Reader) -> Result<Alarm, DecodeError> {
    let kind = match r.u8()? {
        1 => AlarmKind::NoSpace,
        2 => AlarmKind::Corrupt,
        n => return Err(DecodeError::Unknown { what: "alarm", value: n.into() }),
    };
    Ok(Alarm { kind, member: r.u64()? })
}
