//! Members, links and disks of one simulated cluster, and what must always be true of their log.

use super::disk::SimDisk;
use super::guest::{Guest, Members, Witness};
use crate::raft::member::{
    Capture, Edge, Member, Persisted, SnapshotPolicy, StateMachine, Write, wants_data,
};
use crate::raft::wal::{Wal, WalOptions};
use crate::raft::*;
use crate::rng::Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const DIR: &str = "/member";
const SNAP_DIR: &str = "/member/snap";
/// One step of time.
pub const STEP: Duration = Duration::from_millis(10);

#[derive(Default)]
struct Outbox {
    writes: Vec<Write>,
    messages: Vec<Message>,
    snapshots: Vec<(SnapshotRef, Capture)>,
    releases: Vec<Index>,
}

impl Edge for Outbox {
    fn write(&mut self, write: Write) {
        self.writes.push(write);
    }
    fn send(&mut self, message: Message) {
        self.messages.push(message);
    }
    fn snapshot(&mut self, snapshot: SnapshotRef, capture: Capture) {
        self.snapshots.push((snapshot, capture));
    }
    fn release(&mut self, upto: Index) {
        self.releases.push(upto);
    }
}

struct Live<M> {
    member: Member<Witness<M>>,
    wal: Wal,
    /// Writes that the disk has not done, with the time when it will have.
    writing: VecDeque<(u64, Write)>,
    saving: Vec<(u64, SnapshotRef)>,
    term: Term,
    commit: Index,
}

struct Node<M> {
    disk: SimDisk,
    live: Option<Live<M>>,
    restart_at: u64,
    starts: u64,
}

/// A mistake that the world makes on purpose, to see whether it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Members are told that a write is durable before it is.
    AckBeforeFsync,
    /// Whoever starts again has forgotten for whom it voted.
    LostVote,
    /// Now and then a member applies an entry twice.
    ApplyTwice,
    /// A linearizable read is answered at once, by whoever was asked.
    StaleRead,
    /// A linearizable read is answered at once by a member that believes it leads.
    ExpiredLeader,
}

/// How rough the world is.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub members: u64,
    pub steps: u64,
    pub bug: Option<Bug>,
}

/// What a run amounted to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub hash: u64,
    pub terms: usize,
    pub commits: usize,
    pub reads: usize,
    pub crashes: usize,
    pub torn: usize,
    pub confs: usize,
    pub snapshots: usize,
}

/// Tells histories apart, quickly: nobody tries to deceive it.
struct Fold(u64);

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let word = chunk.iter().fold(0, |n, b| n << 8 | u64::from(*b));
            self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
        }
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

/// Two runs' sums. (A sum of histories has no hash.)
impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, run: Tally) {
        self.terms += run.terms;
        self.commits += run.commits;
        self.reads += run.reads;
        self.crashes += run.crashes;
        self.torn += run.torn;
        self.confs += run.confs;
        self.snapshots += run.snapshots;
    }
}

pub struct World<G: Guest> {
    seed: u64,
    weather: Weather,
    guest: G,
    now: u64,
    nodes: BTreeMap<MemberId, Node<G::Machine>>,
    /// Messages under way, by the steps until they arrive; within a step in the order in which they were sent.
    net: VecDeque<Vec<Message>>,
    /// Messages between the two groups are lost until `heal_at`.
    group: BTreeSet<MemberId>,
    one_way: bool,
    heal_at: u64,
    calm: bool,
    quiet: bool,
    loss: f64,
    delay: u64,
    /// How often the disk is slow.
    slow: f64,
    chance_net: Rng,
    chance_disk: Rng,
    chance_fault: Rng,
    /// With [`Bug::LostVote`]: who is killed soon after a vote, and when.
    doomed: BTreeMap<MemberId, u64>,
    /// By term and voter.
    votes: BTreeMap<(Term, MemberId), MemberId>,
    leaders: BTreeMap<Term, MemberId>,
    committed: BTreeMap<Index, Entry>,
    hasher: Fold,
    tally: Tally,
}

impl<G: Guest> World<G> {
    pub fn new(seed: u64, weather: Weather, guest: G) -> World<G> {
        let root = Rng::seeded(seed);
        let mut world = World {
            seed,
            weather,
            guest,
            now: 0,
            nodes: BTreeMap::new(),
            net: VecDeque::new(),
            group: BTreeSet::new(),
            one_way: false,
            heal_at: 0,
            calm: false,
            quiet: false,
            chance_net: root.fork("net"),
            chance_disk: root.fork("disk"),
            chance_fault: root.fork("fault"),
            loss: 0.0,
            delay: 1,
            slow: 0.0,
            doomed: BTreeMap::new(),
            votes: BTreeMap::new(),
            leaders: BTreeMap::new(),
            committed: BTreeMap::new(),
            hasher: Fold(0),
            tally: Tally::default(),
        };
        world.loss = world.chance_net.range(0, 20) as f64 / 100.0;
        world.delay = world.chance_net.range(1, 8);
        world.slow = world.chance_disk.range(1, 30) as f64 / 100.0;
        for id in 1..=weather.members {
            let node = Node { disk: SimDisk::default(), live: None, restart_at: 0, starts: 0 };
            world.nodes.insert(id, node);
            world.start(id);
        }
        world
    }

    fn bug(&self, bug: Bug) -> bool {
        self.weather.bug == Some(bug)
    }

    fn time(&self) -> Duration {
        STEP * self.now as u32
    }

    fn start(&mut self, id: MemberId) {
        let (forgets, stutters, now) = (self.bug(Bug::LostVote), self.bug(Bug::ApplyTwice), self.time());
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.starts += 1;
        let initial = SnapshotRef { conf: ConfState::of(1..=self.weather.members), ..SnapshotRef::default() };
        let options = WalOptions { segment_bytes: 4096, prepare: false };
        let opened = Wal::open(Arc::new(node.disk.clone()), Path::new(DIR), &initial, options);
        let (wal, mut found) = opened.unwrap_or_else(|e| panic!("seed {}: {e}", self.seed));
        self.tally.torn += usize::from(found.torn.is_some());
        if forgets {
            found.stored.hard.vote = NONE;
        }
        let seed = self.seed ^ (node.starts << 20);
        let config = Config { id, election_ticks: 10, heartbeat_ticks: 2, seed };
        let policy = SnapshotPolicy { entries: 8 + self.seed % 24, bytes: u64::MAX };
        let stutter = stutters.then(|| Rng::seeded(seed ^ id));
        let machine = Witness::of(self.guest.starts(id, seed ^ id.rotate_left(40)), stutter);
        let member = Member::new(config, found.stored, machine, policy, now)
            .unwrap_or_else(|e| panic!("seed {}: {e}", self.seed));
        node.live = Some(Live { member, wal, writing: VecDeque::new(), saving: vec![], term: 0, commit: 0 });
        self.pump(id);
    }

    /// The program is killed, and half the time the power goes with it: then what was not synced may be gone.
    fn crash(&mut self, id: MemberId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let Some(mut live) = node.live.take() else { return };
        // what was on its way may be half on the platter
        node.disk.break_sync();
        let begun = self.chance_disk.range(0, live.writing.len() as u64 + 1).max(1) as usize;
        let begun = begun.min(live.writing.len());
        let writes: Vec<Write> = live.writing.drain(..begun).map(|(_, w)| w).collect();
        let whole = writes.iter().take_while(|w| w.snapshot.is_none()).count();
        if whole > 0 {
            let _ = live.wal.append(writes[..whole].iter().map(|w| &w.records));
        } else if let Some(snapshot) = writes.first().and_then(|w| w.snapshot.as_ref()) {
            let _ = live.wal.save_snapshot(snapshot); // its records come after it is durable, so never
        }
        drop(live);
        if self.chance_disk.chance(0.5) || self.weather.bug == Some(Bug::AckBeforeFsync) {
            node.disk.crash(&self.chance_disk);
        }
        node.disk.mend_sync();
        node.restart_at = self.now + self.chance_fault.range(5, 80);
        self.tally.crashes += 1;
        self.guest.ends(id);
    }

    /// Lets one member do what follows, and takes what comes out.
    fn pump(&mut self, id: MemberId) {
        let now = self.time();
        loop {
            let Some(live) = self.nodes.get_mut(&id).and_then(|n| n.live.as_mut()) else { return };
            let mut out = Outbox::default();
            let any = live.member.pump(now, &mut out);
            self.take(id, out);
            self.check(id);
            if !any {
                return;
            }
        }
    }

    fn take(&mut self, id: MemberId, out: Outbox) {
        for message in out.messages {
            self.send(message);
        }
        let lie = self.bug(Bug::AckBeforeFsync);
        let Some(live) = self.nodes.get_mut(&id).and_then(|n| n.live.as_mut()) else { return };
        let mut lies = Outbox::default();
        for write in out.writes {
            let (now, chance) = (self.now, &self.chance_disk);
            // now and then the disk is slow, so that a crash finds something to tear
            let slow = lie || chance.chance(self.slow);
            let delay = if slow { chance.range(1, 40) } else { chance.range(0, 4) };
            let due = live.writing.back().map_or(0, |(due, _)| *due).max(now + delay);
            if lie {
                let told = Persisted { batch: write.batch, ..Persisted::default() };
                live.member.persisted(&told, &mut lies);
            }
            live.writing.push_back((due, write));
        }
        for (snapshot, capture) in out.snapshots {
            let snapshot = SnapshotRef { data: capture().into(), ..snapshot };
            live.saving.push((self.now + self.chance_disk.range(0, 10), snapshot));
        }
        for upto in out.releases {
            live.wal.release(upto).unwrap_or_else(|e| panic!("seed {}: {e}", self.seed));
        }
        lies.messages.into_iter().for_each(|m| self.send(m));
    }

    fn send(&mut self, mut message: Message) {
        if wants_data(&message) {
            let Some(node) = self.nodes.get(&message.from) else { return };
            match snapfile::load(&node.disk, Path::new(SNAP_DIR)) {
                Ok(Some(newest)) => message.body = Body::MsgSnap(newest),
                _ => return,
            }
        }
        // the bytes are part of what is tested
        let bytes = codec::encode_message(&message);
        let message = codec::decode_message(bytes.into()).unwrap();
        self.check_vote(&message);
        if !self.calm && self.chance_net.chance(self.loss) {
            return;
        }
        let delay = if self.calm { 1 } else { 1 + self.chance_net.range(0, self.delay) };
        // a stream may be cut, but it does not repeat a proposal
        let repeat =
            !matches!(message.body, Body::MsgProp { .. }) && !self.calm && self.chance_net.chance(0.02);
        if repeat {
            let late = self.chance_net.range(1, 30);
            self.deliver(delay + late, message.clone());
        }
        self.deliver(delay, message);
    }

    /// `delay` is at least one step.
    fn deliver(&mut self, delay: u64, message: Message) {
        let at = delay as usize - 1;
        if self.net.len() <= at {
            self.net.resize_with(at + 1, Vec::new);
        }
        self.net[at].push(message);
    }

    /// Nobody votes twice in a term, whatever happened in between.
    fn check_vote(&mut self, m: &Message) {
        let candidate = match m.body {
            Body::MsgVote { .. } => m.from,
            Body::MsgVoteResp { reject: false } => m.to,
            _ => return,
        };
        let (seed, voter) = (self.seed, m.from);
        let before = *self.votes.entry((m.term, voter)).or_insert(candidate);
        assert_eq!(before, candidate, "seed {seed}: member {voter} voted twice in term {}", m.term);
    }

    fn cut(&self, m: &Message) -> bool {
        let (from, to) = (self.group.contains(&m.from), self.group.contains(&m.to));
        !self.calm && self.now < self.heal_at && from != to && (!self.one_way || from)
    }

    fn faults(&mut self) {
        let chance = self.chance_fault.clone();
        if self.now >= self.heal_at && chance.chance(0.006) {
            self.group = (1..=self.weather.members).filter(|_| chance.chance(0.4)).collect();
            self.one_way = chance.chance(0.3);
            self.heal_at = self.now + chance.range(20, 120);
        }
        let doomed: Vec<MemberId> =
            self.doomed.extract_if(.., |_, at| *at <= self.now).map(|(id, _)| id).collect();
        for id in doomed {
            self.crash(id);
            self.nodes.entry(id).and_modify(|node| node.restart_at = self.now + 1);
        }
        let often = matches!(self.weather.bug, Some(Bug::AckBeforeFsync | Bug::LostVote));
        if chance.chance(if often { 0.02 } else { 0.004 }) {
            // those who are writing have more to lose
            let busy =
                self.nodes.iter().filter(|(_, n)| n.live.as_ref().is_some_and(|l| !l.writing.is_empty()));
            let busy: Vec<MemberId> = busy.map(|(id, _)| *id).collect();
            let any = chance.range(1, self.weather.members + 1);
            let id = busy.get(chance.range(0, 2 * busy.len() as u64) as usize).copied().unwrap_or(any);
            self.crash(id);
        }
    }

    /// Somebody moves leadership about and changes who votes.
    fn operator(&mut self) {
        let chance = self.chance_fault.clone();
        for live in self.nodes.values_mut().filter_map(|n| n.live.as_mut()) {
            if !live.member.is_leader() {
                continue;
            }
            if chance.chance(0.003) {
                live.member.transfer(chance.range(1, self.weather.members + 1));
            }
            if chance.chance(0.008) {
                let who = chance.range(1, self.weather.members + 1);
                let conf = live.member.core().conf_state();
                let change = match conf.voters.contains(&who) {
                    true if conf.voters.len() > 2 => Some(ConfChange::AddLearnerNode(who)),
                    true => None,
                    false => Some(ConfChange::AddNode(who)),
                };
                let accepted = change.is_some_and(|c| live.member.propose_conf(c).is_ok());
                self.tally.confs += usize::from(accepted);
            }
        }
    }

    fn clients(&mut self) {
        let members = up(&mut self.nodes);
        self.guest.act(self.now, self.quiet, members);
    }

    fn disks(&mut self, id: MemberId) {
        let (now, lie) = (self.now, self.bug(Bug::AckBeforeFsync));
        let mut out = Outbox::default();
        let Some(live) = self.nodes.get_mut(&id).and_then(|n| n.live.as_mut()) else { return };
        // group commit: all that is due goes with one sync
        let mut group = Vec::new();
        while let Some((_, write)) = live.writing.pop_front_if(|(due, _)| *due <= now) {
            group.push(write);
        }
        for snapshot in group.iter().filter_map(|w| w.snapshot.as_ref()) {
            self.tally.snapshots += 1;
            live.wal.save_snapshot(snapshot).unwrap();
        }
        if let Some(last) = group.last() {
            let (batch, entries) = (last.batch, group.iter().map(|w| w.entries).sum());
            live.wal.append(group.iter().map(|w| &w.records)).unwrap();
            if !lie {
                live.member.persisted(&Persisted { batch, entries, ..Persisted::default() }, &mut out);
            }
        }
        let disk = self.nodes.get(&id).map(|n| n.disk.clone());
        let Some(live) = self.nodes.get_mut(&id).and_then(|n| n.live.as_mut()) else { return };
        for (_, snapshot) in live.saving.extract_if(.., |(due, _)| *due <= now) {
            if let Some(disk) = &disk {
                snapfile::save(disk, Path::new(SNAP_DIR), &snapshot).unwrap();
            }
            let saved = SnapshotRef { data: Bytes::new(), ..snapshot };
            live.member.snapshot_saved(Some(saved), &mut out);
        }
        self.take(id, out);
        self.pump(id);
    }

    /// One unit of time: about 10 ms.
    pub fn step(&mut self) {
        self.now += 1;
        let due = self.net.pop_front().unwrap_or_default();
        if !self.calm {
            self.faults();
            self.operator();
        }
        let ids: Vec<MemberId> = self.nodes.keys().copied().collect();
        for id in &ids {
            if self.nodes.get(id).is_some_and(|n| n.live.is_none() && n.restart_at <= self.now) {
                self.start(*id);
            }
        }
        for message in due {
            if self.cut(&message) {
                continue;
            }
            message.hash(&mut self.hasher);
            let to = message.to;
            if let Some(live) = self.nodes.get_mut(&to).and_then(|n| n.live.as_mut()) {
                live.member.step(message);
                self.pump(to);
            }
        }
        if self.now.is_multiple_of(2) {
            let now = self.time();
            let live = self.nodes.values_mut().filter_map(|n| n.live.as_mut());
            live.for_each(|live| live.member.tick(now));
        }
        self.clients();
        for id in ids {
            self.pump(id);
            self.disks(id);
        }
        if self.now.is_multiple_of(50) {
            self.check_log_matching();
        }
    }

    fn check(&mut self, id: MemberId) {
        let seed = self.seed;
        let Some(live) = self.nodes.get_mut(&id).and_then(|n| n.live.as_mut()) else { return };
        let (term, commit) = (live.member.core().term, live.member.core().commit);
        assert!(term >= live.term, "seed {seed}: member {id} went back in terms");
        assert!(commit >= live.commit, "seed {seed}: member {id} went back in commits");
        (live.term, live.commit) = (term, commit);
        let witness = live.member.machine();
        let (events, fresh) = (std::mem::take(&mut witness.events), std::mem::take(&mut witness.fresh));
        let reads = std::mem::take(&mut witness.reads);
        for event in events {
            if self.bug(Bug::LostVote) && matches!(event, Event::Voted { pre: false, .. }) {
                // a vote that was lost shows only to those who come back while others still ask for it
                self.doomed.insert(id, self.now + self.chance_fault.range(1, 8));
            }
            if let Event::Role { term, role: Role::Leader } = event {
                let other = self.leaders.insert(term, id);
                assert!(
                    other.is_none_or(|o| o == id),
                    "seed {seed}: two leaders in term {term}: {other:?}, {id}"
                );
            }
        }
        for entry in &fresh {
            entry.hash(&mut self.hasher);
            let known = self.committed.entry(entry.index).or_insert_with(|| entry.clone());
            assert_eq!(known, entry, "seed {seed}: two entries at index {}", entry.index);
        }
        self.guest.look(id, &fresh, &reads);
    }

    /// If two logs agree on an entry, they agree on all before it.
    fn check_log_matching(&self) {
        let live: Vec<&Live<G::Machine>> = self.nodes.values().filter_map(|n| n.live.as_ref()).collect();
        for (i, a) in live.iter().enumerate() {
            for b in &live[i + 1..] {
                let (a, b) = (a.member.core(), b.member.core());
                let (first, last) =
                    (a.first_index().max(b.first_index()), a.status().last.min(b.status().last));
                let mut agreed = false;
                for index in (first..=last).rev() {
                    let same = a.term_of(index) == b.term_of(index);
                    assert!(
                        same || !agreed,
                        "seed {}: logs differ before an entry that they share",
                        self.seed
                    );
                    agreed |= same;
                }
            }
        }
    }

    /// The storm ends: everybody must agree within an election or two, and nothing acknowledged is gone.
    fn finish(&mut self) {
        let last = |committed: &BTreeMap<Index, Entry>| committed.keys().next_back().copied().unwrap_or(0);
        let (goal, reads) = (last(&self.committed) + 20, self.guest.reads());
        self.calm = true;
        self.until("progress after the storm", |world| {
            world.guest.reads() > reads && world.all(|member| member.applied() >= goal)
        });
        self.quiet = true;
        self.until("agreement at the end", |world| {
            let end = last(&world.committed);
            world.all(|member| member.applied() == end && member.core().status().last == end)
        });
        self.guest.judge(&self.committed, up(&mut self.nodes));
    }

    fn all(&self, right: impl Fn(&Member<Witness<G::Machine>>) -> bool) -> bool {
        self.nodes.values().all(|n| n.live.as_ref().is_some_and(|live| right(&live.member)))
    }

    fn until(&mut self, what: &str, reached: impl Fn(&World<G>) -> bool) {
        for _ in 0..1500 {
            if reached(self) {
                return;
            }
            self.step();
        }
        panic!("seed {}: no {what}", self.seed);
    }

    pub fn run(mut self) -> (Tally, G) {
        for _ in 0..self.weather.steps {
            self.step();
        }
        self.finish();
        self.tally.hash = self.hasher.finish();
        (self.tally.terms, self.tally.commits) = (self.leaders.len(), self.committed.len());
        self.tally.reads = self.guest.reads();
        (self.tally, self.guest)
    }
}

fn up<M: StateMachine>(nodes: &mut BTreeMap<MemberId, Node<M>>) -> Members<'_, M> {
    nodes.iter_mut().filter_map(|(id, n)| Some((*id, &mut n.live.as_mut()?.member))).collect()
}
