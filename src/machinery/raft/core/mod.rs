//! One member's Raft, without any input or output: what goes in is stepped, what must happen comes
//! out as a [`Ready`].

mod inputs;

use super::interface::{NotLeader, Ready, Status};
use super::log::Log;
use super::message::{
    Body, Entry, Event, HardState, Index, MemberId, Message, NONE, Payload, ProgressState, Role, SnapshotRef,
    Term,
};
use super::progress::Progress;
use super::read_only::Read;
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// Most bytes of entries in one message.
pub(super) const MESSAGE_BYTES: usize = 1 << 20;
/// Most bytes of entries in one [`Ready`], unless one entry alone has more.
pub(super) const READY_BYTES: usize = 16 << 20;
/// A leader refuses proposals while entries that are not settled (committed, and durable on the
/// leader itself) would have more than this many bytes together. Without this bound, a leader whose
/// disk is full, or whose followers' disks are, would keep every proposal in memory. etcd's raft
/// calls it `MaxUncommittedEntriesSize`.
pub(super) const UNSETTLED_BYTES: usize = 64 << 20;
/// Bytes that an entry costs beside its payload, in memory and in a message.
const ENTRY_BYTES: usize = 64;
/// No proposal may have more bytes. A batch of the log that holds it alone must be shorter than 4
/// GiB.
pub(super) const PROPOSAL_BYTES: usize = 1 << 30;

/// Settings of one core. Times are in ticks.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// This member's number, not 0.
    pub id: MemberId,
    /// Without a leader for this long to twice this long, a follower starts an election.
    pub election_ticks: u32,
    /// A leader sends heartbeats at this interval; far shorter than `election_ticks`.
    pub heartbeat_ticks: u32,
    /// The seed of the election timeouts.
    pub seed: u64,
}

/// A member's state as its disk has it at the start.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// Term, vote and commit index as they were last made durable.
    pub hard: HardState,
    /// Index 0 with the initial configuration if there is no snapshot yet.
    pub snapshot: SnapshotRef,
    /// The entries after the snapshot.
    pub entries: Vec<Entry>,
}

impl Stored {
    /// Index and term of the last entry that is known, by itself or by the snapshot.
    pub fn end(&self) -> (Index, Term) {
        self.entries.last().map_or((self.snapshot.index, self.snapshot.term), |e| (e.index, e.term))
    }
}

/// The Raft core. `core` has its state, its inputs and its outputs; each part of the protocol has a
/// file of its own: `election`, `replication`, `membership`, `snapshots`, `transfer`, `read_only`.
pub struct Raft {
    pub(super) config: Config,
    pub(super) rng: u64,
    pub(super) term: Term,
    pub(super) vote: MemberId,
    pub(super) role: Role,
    pub(super) leader: MemberId,
    pub(super) log: Log,
    pub(super) commit: Index,
    /// Entries up to here were given out as committed, to be applied (etcd: `applying`).
    pub(super) applying: Index,
    /// Entries up to here are durable on this member.
    pub(super) persisted: Index,
    /// Entries up to here were given out to be written (etcd: `offsetInProgress`).
    pub(super) writing: Index,
    /// On a leader: bytes of the entries that were not given out as committed. See
    /// [`UNSETTLED_BYTES`].
    unsettled: usize,
    /// The last entry of each batch that is being written.
    pub(super) batch_ends: VecDeque<(u64, Index)>,
    /// Term and vote of each batch that is being written and changes them.
    batch_votes: VecDeque<(u64, Term, MemberId)>,
    /// Term and vote as they are durable on this member.
    pub(super) durable_vote: (Term, MemberId),
    batch: u64,
    pub(super) progress: BTreeMap<MemberId, Progress>,
    /// On a leader: followers that a change of the configuration removes, and the last entry that
    /// each is known to have. They are sent their removal when it is committed.
    pub(super) leaving: BTreeMap<MemberId, Index>,
    pub(super) votes: BTreeMap<MemberId, bool>,
    pub(super) election_elapsed: u32,
    pub(super) heartbeat_elapsed: u32,
    pub(super) timeout: u32,
    pub(super) since_leader: u32,
    pub(super) transferee: MemberId,
    /// Ticks since the transfer began. Check-quorum has a counter of its own (`election_elapsed`):
    /// transfers cannot hold it up.
    pub(super) transfer_elapsed: u32,
    pub(super) read_seq: u64,
    pub(super) reads: VecDeque<Read>,
    /// Reads that came before this leader committed anything in its term.
    pub(super) early_reads: Vec<(u64, MemberId)>,
    pub(super) want_heartbeat: bool,
    pub(super) want_append: bool,
    pub(super) snapshot: Option<SnapshotRef>,
    pub(super) ready: Ready,
    hard_sent: HardState,
}

/// splitmix64: enough for timeouts, and the same everywhere.
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn cost(payload: &Payload) -> usize {
    payload.size() + ENTRY_BYTES
}

impl Raft {
    /// Makes a member from what its disk has. The only voter stands for election at once: it leads
    /// as soon as its own vote is durable.
    pub fn new(config: Config, stored: Stored) -> Raft {
        let Stored { hard, snapshot, entries } = stored;
        let base = (snapshot.index, snapshot.term);
        let log = Log::new(base, snapshot.conf.clone(), entries);
        let last = log.last().0;
        let mut raft = Raft {
            config,
            rng: config.seed ^ config.id.rotate_left(32),
            term: hard.term.max(snapshot.term),
            vote: if hard.term < snapshot.term { NONE } else { hard.vote },
            role: Role::Follower,
            leader: NONE,
            log,
            commit: hard.commit.clamp(base.0, last),
            applying: base.0,
            persisted: last,
            writing: last,
            unsettled: 0,
            batch_ends: VecDeque::new(),
            batch_votes: VecDeque::new(),
            durable_vote: (hard.term, hard.vote),
            batch: 0,
            progress: BTreeMap::new(),
            leaving: BTreeMap::new(),
            votes: BTreeMap::new(),
            election_elapsed: 0,
            heartbeat_elapsed: 0,
            timeout: 0,
            since_leader: u32::MAX,
            transferee: NONE,
            transfer_elapsed: 0,
            read_seq: 0,
            reads: VecDeque::new(),
            early_reads: Vec::new(),
            want_heartbeat: false,
            want_append: false,
            snapshot: (snapshot.index > 0).then_some(snapshot),
            ready: Ready::default(),
            hard_sent: hard,
        };
        raft.reset_timer();
        if raft.only_voter() {
            raft.campaign(false, false);
        }
        raft
    }

    pub(super) fn reset_timer(&mut self) {
        self.election_elapsed = 0;
        let spread = u64::from(self.config.election_ticks.max(1));
        self.timeout = self.config.election_ticks + (draw(&mut self.rng) % spread) as u32;
    }

    /// Replaces the drawn election timeout until the next one is drawn. For worlds in which two
    /// cores must have the same one.
    #[cfg(any(test, feature = "inspect"))]
    pub fn set_election_timeout(&mut self, ticks: u32) {
        self.timeout = ticks;
    }

    pub(super) fn id(&self) -> MemberId {
        self.config.id
    }

    pub(super) fn event(&mut self, event: Event) {
        self.ready.events.push(event);
    }

    /// Sends a message of the current term; those that promise something wait for the disk.
    pub(super) fn send(&mut self, to: MemberId, body: Body) {
        let term = self.term;
        self.send_at(term, to, body);
    }

    pub(super) fn send_at(&mut self, term: Term, to: MemberId, body: Body) {
        let promise = match body {
            Body::MsgAppResp { .. }
            | Body::MsgVoteResp { .. }
            | Body::MsgPreVoteResp { .. }
            | Body::MsgVote { .. }
            | Body::MsgPreVote { .. } => true,
            // a leader's own durability is counted when it commits, so its entries need not wait
            Body::MsgApp { .. } | Body::MsgSnap(_) => false,
            Body::MsgHeartbeat { .. }
            | Body::MsgHeartbeatResp { .. }
            | Body::MsgTimeoutNow
            | Body::MsgProp { .. }
            | Body::MsgReadIndex { .. }
            | Body::MsgReadIndexResp { .. }
            | Body::MsgAsk { .. }
            | Body::MsgAnswer { .. } => false,
        };
        let message = Message { from: self.config.id, to, term, body };
        match promise {
            true => self.ready.send_after_persist.push(message),
            false => self.ready.send.push(message),
        }
    }

    /// Adds an entry of this term to the leader's own log.
    pub(super) fn push(&mut self, payload: Payload) -> Index {
        let (index, term) = (self.log.last().0 + 1, self.term);
        self.event(Event::Append { first: index, last: index, term });
        self.unsettled += cost(&payload);
        self.adopt(Entry { term, index, payload });
        self.want_append = true;
        index
    }

    /// Counts the entries that a new leader finds unsettled in its log.
    pub(super) fn count_unsettled(&mut self) {
        let unsettled = self.log.slice(self.applying + 1, self.log.last().0, usize::MAX);
        self.unsettled = unsettled.iter().map(|e| cost(&e.payload)).sum();
    }

    /// Returns whether this leader's log has room for a proposal of this many bytes. One proposal
    /// fits into a settled log, however large.
    fn has_room(&self, bytes: usize) -> bool {
        let fits = self.unsettled == 0 || self.unsettled + bytes + ENTRY_BYTES <= UNSETTLED_BYTES;
        fits && bytes <= PROPOSAL_BYTES
    }

    /// Adds an entry; a configuration in it is in force from now on.
    pub(super) fn adopt(&mut self, entry: Entry) {
        if self.log.append(entry) {
            self.conf_changed();
        }
    }

    /// Drops entries from `index` on, wherever they are on their way to the disk.
    pub(super) fn truncate(&mut self, index: Index) {
        assert!(index > self.commit, "a committed entry would be overwritten: index {index}");
        self.event(Event::Truncate { from: index });
        let conf_changed = self.log.truncate(index);
        self.persisted = self.persisted.min(index - 1);
        self.writing = self.writing.min(index - 1);
        for (_, upto) in &mut self.batch_ends {
            *upto = (*upto).min(index - 1);
        }
        self.ready.append.retain(|e| e.index < index);
        self.ready.truncate_from = Some(self.ready.truncate_from.map_or(index, |from| from.min(index)));
        if conf_changed {
            self.conf_changed();
        }
    }

    pub(super) fn set_commit(&mut self, index: Index) {
        let index = index.min(self.log.last().0);
        if index > self.commit {
            self.commit = index;
            self.event(Event::Commit { index });
        }
    }

    /// The leader has committed an entry of its own term: from then on it knows what is committed.
    pub(super) fn knows_commit(&self) -> bool {
        self.log.term(self.commit) == Some(self.term)
    }

    /// Sends a question to the leader's state machine; `applied` is the last entry applied here.
    /// The answer comes in [`Ready::answers`], or never. Errors: no leader is known, or it is this
    /// member.
    pub(super) fn ask(&mut self, ctx: u64, applied: Index, data: Bytes) -> Result<(), NotLeader> {
        match (self.role, self.leader) {
            (Role::Leader, _) | (_, NONE) => Err(NotLeader),
            (_, leader) => {
                self.send(leader, Body::MsgAsk { ctx, applied, data });
                Ok(())
            }
        }
    }

    /// Answers a question of [`Ready::questions`].
    pub(super) fn answer(&mut self, to: MemberId, ctx: u64, data: Bytes) {
        self.send(to, Body::MsgAnswer { ctx, data });
    }

    /// Steps down for good: the log cannot be written any more, so this member can promise nothing.
    /// The only voter still leads, as no other member can.
    pub(super) fn give_up(&mut self) {
        match self.role {
            _ if self.only_voter() => {}
            Role::Leader => self.step_down("the log cannot be written any more"),
            _ => self.follow(self.term, NONE),
        }
    }

    /// Returns the index of the first entry in memory.
    #[cfg(any(test, feature = "inspect"))]
    pub fn first_index(&self) -> Index {
        self.log.base() + 1
    }

    /// Returns the term of an entry in memory; `None` if it is compacted away or not appended yet.
    #[cfg(any(test, feature = "inspect"))]
    pub fn term_of(&self, index: Index) -> Option<Term> {
        self.log.term(index)
    }

    fn followers(&self) -> impl Iterator<Item = (MemberId, Index, ProgressState)> {
        self.progress.iter().map(|(id, p)| (*id, p.matched, p.state))
    }

    /// Returns whether `Core::status` would return `status`. It is called after every input, and
    /// makes no copy.
    pub(super) fn is_status(&self, status: &Status) -> bool {
        // without `..`: a field that is added must be compared, too
        let Status {
            id,
            term,
            vote,
            role,
            leader,
            commit,
            last,
            persisted,
            voters,
            only_voter,
            transferee,
            heir,
            progress,
        } = status;
        (*id, *term, *vote, *role, *leader) == (self.id(), self.term, self.vote, self.role, self.leader)
            && (*commit, *last, *persisted) == (self.commit, self.log.last().0, self.persisted)
            && (*voters, *only_voter) == (self.conf().voters.len(), self.only_voter())
            && (*transferee, *heir) == (self.transferee, self.heir())
            && progress.iter().copied().eq(self.followers())
    }
}
