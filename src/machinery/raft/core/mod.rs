//! One member's Raft, without any input or output: what goes in is stepped, what must happen comes
//! out as a [`Ready`].

mod inputs;

use super::interface::{NotLeader, Ready, Status};
use super::log::Log;
use super::message::{
    Body, ConfState, Entry, Event, HardState, Index, MemberId, Message, NONE, Payload, ProgressState, Role,
    SnapshotRef, Term,
};
use super::progress::{INFLIGHT_MAX, Progress};
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

/// The Raft core. Elections are in `election`, log replication is in `replication`, linearizable
/// reads are in `read_only`.
pub struct Raft {
    pub(super) config: Config,
    pub(super) rng: u64,
    pub(super) term: Term,
    pub(super) vote: MemberId,
    pub(super) role: Role,
    pub(super) leader: MemberId,
    pub(super) log: Log,
    pub(super) commit: Index,
    /// Entries up to here were given out as committed.
    handed: Index,
    /// Entries up to here are durable on this member.
    pub(super) persisted: Index,
    /// Entries up to here were given out to be written.
    emitted: Index,
    /// On a leader: bytes of the entries that were not given out as committed. See
    /// [`UNSETTLED_BYTES`].
    unsettled: usize,
    /// The last entry of each batch that is being written.
    marks: VecDeque<(u64, Index)>,
    /// Term and vote of each batch that is being written and changes them.
    votes_written: VecDeque<(u64, Term, MemberId)>,
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
    ready: Ready,
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
            handed: base.0,
            persisted: last,
            emitted: last,
            unsettled: 0,
            marks: VecDeque::new(),
            votes_written: VecDeque::new(),
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
    pub fn set_election_timeout(&mut self, ticks: u32) {
        self.timeout = ticks;
    }

    pub(super) fn id(&self) -> MemberId {
        self.config.id
    }

    pub(super) fn conf(&self) -> &ConfState {
        self.log.conf().1
    }

    pub(super) fn is_voter(&self) -> bool {
        self.conf().voters.contains(&self.config.id)
    }

    /// Returns whether this member may start an election. A voter may, and so may a member that its
    /// own log removes or makes a learner, until it knows that this change is committed
    /// (dissertation, 4.2.2). Example: the leader of two voters removes itself, and its entry does
    /// not arrive. The other voter cannot win against the longer log, so this member has to lead
    /// once more.
    pub(super) fn may_campaign(&self) -> bool {
        let (index, _) = self.log.conf();
        let voted_before = || self.log.conf_at(index - 1).voters.contains(&self.config.id);
        self.is_voter() || (index > self.commit && voted_before())
    }

    /// Returns whether this member decides alone. With one voter, a leader that removes itself does
    /// not: it leads until its removal is committed.
    pub(super) fn only_voter(&self) -> bool {
        self.conf().voters.len() == 1 && self.is_voter()
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
        let unsettled = self.log.slice(self.handed + 1, self.log.last().0, usize::MAX);
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

    pub(super) fn conf_changed(&mut self) {
        let conf = self.conf().clone();
        self.event(Event::Conf(conf));
        if self.role == Role::Leader {
            self.sync_progress();
            self.check_reads(); // a smaller quorum may have confirmed them already
        }
    }

    /// Drops entries from `index` on, wherever they are on their way to the disk.
    pub(super) fn truncate(&mut self, index: Index) {
        assert!(index > self.commit, "a committed entry would be overwritten: index {index}");
        self.event(Event::Truncate { from: index });
        let conf_changed = self.log.truncate(index);
        self.persisted = self.persisted.min(index - 1);
        self.emitted = self.emitted.min(index - 1);
        for (_, upto) in &mut self.marks {
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

    /// Takes over a leader's snapshot instead of the whole log. It counts as persisted when its
    /// batch is: of the batches before it, what was committed is all that the log still agrees to.
    pub(super) fn install(&mut self, snapshot: SnapshotRef) {
        let (index, agreed) = (snapshot.index, self.commit);
        self.event(Event::SnapshotInstalled { index });
        self.log.restore(&snapshot);
        (self.commit, self.handed, self.emitted) = (index, index, index);
        self.persisted = self.persisted.min(agreed);
        for (_, upto) in &mut self.marks {
            *upto = (*upto).min(agreed);
        }
        self.ready.append.clear();
        self.ready.committed.clear();
        self.ready.truncate_from = None;
        self.snapshot = Some(SnapshotRef { data: Bytes::new(), ..snapshot.clone() });
        self.ready.snapshot = Some(snapshot);
        self.conf_changed();
    }

    /// The leader has committed an entry of its own term: from then on it knows what is committed.
    pub(super) fn knows_commit(&self) -> bool {
        self.log.term(self.commit) == Some(self.term)
    }

    /// Answers a read that a majority has confirmed, or sends the answer to the member that asked.
    pub(super) fn confirm(&mut self, read: Read) {
        let Read { ctx, index, from, .. } = read;
        self.event(Event::ReadConfirmed { ctx, index });
        match from {
            NONE => self.ready.reads.push((ctx, index)),
            to => self.send(to, Body::MsgReadIndexResp { ctx, index }),
        }
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

    /// Answers a question of [`Ready::asked`].
    pub(super) fn answer(&mut self, to: MemberId, ctx: u64, data: Bytes) {
        self.send(to, Body::MsgAnswer { ctx, data });
    }

    /// Returns the snapshot of the entries up to `index`, without its bytes. The entry must be
    /// applied and not yet compacted away.
    pub(crate) fn snapshot_ref(&self, index: Index) -> Option<SnapshotRef> {
        let term = self.log.term(index).filter(|_| index <= self.handed)?;
        Some(SnapshotRef { index, term, conf: self.log.conf_at(index).clone(), data: Bytes::new() })
    }

    /// Up to where the log may be forgotten when a snapshot stands for all entries up to `end`: the
    /// newest `entries` of them stay, as long as they have no more than `bytes` bytes.
    pub(super) fn forgettable(&self, end: Index, entries: u64, bytes: usize) -> Index {
        self.log.forgettable(end, entries, bytes)
    }

    /// Returns whether a member keeps up well enough to count in a majority. One that does not
    /// would stop all commits; and so would one that went down when it had caught up.
    fn may_vote(&self, id: MemberId) -> bool {
        let near = |p: &Progress| {
            let behind = self.log.last().0 - p.matched;
            p.answers() && p.state == ProgressState::Replicate && behind <= INFLIGHT_MAX as Index
        };
        self.conf().voters.contains(&id) || id == self.id() || self.progress.get(&id).is_some_and(near)
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

    /// First index in memory; for tests and diagrams.
    pub fn first_index(&self) -> Index {
        self.log.base() + 1
    }

    /// Term of an entry in memory.
    pub fn term_of(&self, index: Index) -> Option<Term> {
        self.log.term(index)
    }

    fn followers(&self) -> impl Iterator<Item = (MemberId, Index, ProgressState)> {
        self.progress.iter().map(|(id, p)| (*id, p.matched, p.state))
    }

    /// Returns the voter that has most of the leader's log among those that answer; `NONE` if this
    /// member does not lead, or there is no other voter. A learner cannot lead, whatever it has,
    /// and a member that is down would not take over.
    fn heir(&self) -> MemberId {
        let voters = self.progress.iter().filter(|(id, _)| self.conf().voters.contains(*id));
        let best = voters.max_by_key(|(_, p)| (p.answers(), p.matched));
        best.map_or(NONE, |(id, _)| *id)
    }

    /// Returns whether `Core::status` would return `said`. It is asked after every input, and makes
    /// no copy.
    pub(super) fn is_status(&self, said: &Status) -> bool {
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
        } = said;
        (*id, *term, *vote, *role, *leader) == (self.id(), self.term, self.vote, self.role, self.leader)
            && (*commit, *last, *persisted) == (self.commit, self.log.last().0, self.persisted)
            && (*voters, *only_voter) == (self.conf().voters.len(), self.only_voter())
            && (*transferee, *heir) == (self.transferee, self.heir())
            && progress.iter().copied().eq(self.followers())
    }

    /// Returns the newest configuration of this member's log.
    pub(crate) fn conf_state(&self) -> &ConfState {
        self.conf()
    }
}
