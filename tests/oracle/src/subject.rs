//! What a run asks of a member, whichever core it has: Ropewalk's or raft-rs'.

/// How a member looks from outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    pub term: u64,
    pub leads: bool,
    /// 0: unknown.
    pub leader: u64,
    pub commit: u64,
    /// Index and term of the last entry.
    pub last: (u64, u64),
}

/// What came out of a member.
pub struct Out<M> {
    /// To whom, and what.
    pub messages: Vec<(u64, M)>,
    /// Index, term and bytes of each entry that is newly committed.
    pub committed: Vec<(u64, u64, Vec<u8>)>,
    /// Reads that were asked for and are now known to be linearizable at an index.
    pub reads: Vec<(u64, u64)>,
}

/// A member with its disk. Its disk is instantaneous and loses nothing: what a disk may lose is
/// tried elsewhere.
pub trait Subject {
    type Message: Clone;
    const NAME: &'static str;
    /// A new member of a cluster of members `1..=members`.
    fn new(id: u64, members: u64) -> Self;
    /// The program ends and is started again; the disk stays.
    fn restart(&mut self);
    /// Sets the election timeout in ticks: both cores get the same one at the same moment.
    fn set_timeout(&mut self, ticks: usize);
    fn tick(&mut self);
    fn step(&mut self, message: Self::Message);
    /// `false`: nobody is known to lead.
    fn propose(&mut self, data: Vec<u8>) -> bool;
    fn read(&mut self, ctx: u64);
    fn transfer(&mut self, to: u64);
    /// Does all that waits to be done.
    fn pump(&mut self) -> Out<Self::Message>;
    fn view(&self) -> View;
}

/// The election timeout's floor, in ticks; its ceiling is twice that.
pub const ELECTION_TICKS: usize = 10;
pub const HEARTBEAT_TICKS: usize = 2;
