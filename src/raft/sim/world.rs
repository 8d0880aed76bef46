//! Members, links, disks and clients of one simulated cluster, and what must always be true of them.

use super::disk::SimDisk;
use crate::raft::member::{
    Capture, Edge, Member, Persisted, SnapshotPolicy, StateMachine, Write, data, wants_data,
};
use crate::raft::wal::{Wal, WalOptions};
use crate::raft::*;
use crate::rng::Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const DIR: &str = "/member";
const SNAP_DIR: &str = "/member/snap";

/// A state machine that remembers every value, and what it was told.
#[derive(Default)]
pub struct Recorder {
    values: Vec<u64>,
    applied: Index,
    fresh: Vec<Entry>,
    reads: Vec<(u64, bool, Index)>,
    events: Vec<Event>,
}

impl StateMachine for Recorder {
    fn apply(&mut self, entries: &[Entry], _: Duration) {
        for entry in entries {
            assert_eq!(entry.index, self.applied + 1, "applied out of order");
            self.applied = entry.index;
            self.values.extend(data(entry).map(value));
        }
        self.fresh.extend_from_slice(entries);
    }
    fn restore(&mut self, snapshot: &SnapshotRef, _: Duration) -> Result<(), String> {
        self.values = snapshot.data.chunks(8).map(|c| value(&Bytes::copy_from_slice(c))).collect();
        self.values.pop(); // a terminator, so that no snapshot is empty
        self.applied = snapshot.index;
        Ok(())
    }
    fn capture(&mut self) -> Capture {
        let values = self.values.clone();
        Box::new(move || values.iter().chain(&[0]).flat_map(|v| v.to_le_bytes()).collect())
    }
    fn refused(&mut self, _: u64) {}
    fn read(&mut self, ctx: u64, ok: bool) {
        self.reads.push((ctx, ok, self.applied));
    }
    fn status(&mut self, _: &Status, _: Index, _: Duration) {}
    fn events(&mut self, events: &[Event]) {
        self.events.extend_from_slice(events);
    }
    fn persisted(&mut self, _: &Persisted) {}
    fn due(&mut self, _: Duration) -> Vec<Bytes> {
        vec![]
    }
}

fn value(bytes: &Bytes) -> u64 {
    bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b))
}

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

struct Live {
    member: Member<Recorder>,
    wal: Wal,
    /// Writes that the disk has not done, with the time when it will have.
    writing: VecDeque<(u64, Write)>,
    saving: Vec<(u64, SnapshotRef)>,
    term: Term,
    commit: Index,
}

struct Node {
    disk: SimDisk,
    live: Option<Live>,
    restart_at: u64,
    starts: u64,
}

/// How rough the world is.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub members: u64,
    pub steps: u64,
    /// Plants a bug: members are told that a write is durable before it is.
    pub lie: bool,
}

/// What a run amounted to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub hash: u64,
    pub terms: usize,
    pub commits: usize,
    pub acked: usize,
    pub reads: usize,
    pub crashes: usize,
    pub torn: usize,
    pub confs: usize,
    pub snapshots: usize,
}

pub struct World {
    seed: u64,
    weather: Weather,
    now: u64,
    nodes: BTreeMap<MemberId, Node>,
    net: BTreeMap<(u64, u64), Message>,
    sent: u64,
    /// Messages between the two groups are lost until `heal_at`.
    group: BTreeSet<MemberId>,
    one_way: bool,
    heal_at: u64,
    calm: bool,
    loss: f64,
    delay: u64,
    chance_net: Rng,
    chance_disk: Rng,
    chance_fault: Rng,
    chance_client: Rng,
    leaders: BTreeMap<Term, MemberId>,
    committed: BTreeMap<Index, Entry>,
    proposed: BTreeMap<u64, MemberId>,
    next_value: u64,
    acked: BTreeSet<u64>,
    acked_index: Index,
    read_floor: BTreeMap<u64, Index>,
    next_read: u64,
    hasher: DefaultHasher,
    tally: Tally,
}

impl World {
    pub fn new(seed: u64, weather: Weather) -> World {
        let root = Rng::seeded(seed);
        let mut world = World {
            seed,
            weather,
            now: 0,
            nodes: BTreeMap::new(),
            net: BTreeMap::new(),
            sent: 0,
            group: BTreeSet::new(),
            one_way: false,
            heal_at: 0,
            calm: false,
            chance_net: root.fork("net"),
            chance_disk: root.fork("disk"),
            chance_fault: root.fork("fault"),
            chance_client: root.fork("client"),
            loss: 0.0,
            delay: 1,
            leaders: BTreeMap::new(),
            committed: BTreeMap::new(),
            proposed: BTreeMap::new(),
            next_value: 1,
            acked: BTreeSet::new(),
            acked_index: 0,
            read_floor: BTreeMap::new(),
            next_read: 0,
            hasher: DefaultHasher::new(),
            tally: Tally::default(),
        };
        world.loss = world.chance_net.range(0, 20) as f64 / 100.0;
        world.delay = world.chance_net.range(1, 8);
        for id in 1..=weather.members {
            let node = Node { disk: SimDisk::default(), live: None, restart_at: 0, starts: 0 };
            world.nodes.insert(id, node);
            world.start(id);
        }
        world
    }

    fn start(&mut self, id: MemberId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.starts += 1;
        let initial = SnapshotRef { conf: ConfState::of(1..=self.weather.members), ..SnapshotRef::default() };
        let options = WalOptions { segment_bytes: 4096, prepare: false };
        let opened = Wal::open(Arc::new(node.disk.clone()), Path::new(DIR), &initial, options);
        let (wal, found) = opened.unwrap_or_else(|e| panic!("seed {}: {e}", self.seed));
        self.tally.torn += usize::from(found.torn.is_some());
        let seed = self.seed ^ (node.starts << 20);
        let config = Config { id, election_ticks: 10, heartbeat_ticks: 2, seed };
        let policy = SnapshotPolicy { entries: 24, bytes: u64::MAX };
        let member = Member::new(config, found.stored, Recorder::default(), policy, Duration::ZERO)
            .unwrap_or_else(|e| panic!("seed {}: {e}", self.seed));
        node.live = Some(Live { member, wal, writing: VecDeque::new(), saving: vec![], term: 0, commit: 0 });
        self.pump(id);
    }

    fn crash(&mut self, id: MemberId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let Some(mut live) = node.live.take() else { return };
        // what was on its way may be half on the platter
        node.disk.break_sync();
        let begun = self.chance_disk.range(0, live.writing.len() as u64 + 1) as usize;
        let writes: Vec<Write> = live.writing.drain(..begun).map(|(_, w)| w).collect();
        let whole = writes.iter().take_while(|w| w.snapshot.is_none()).count();
        if whole > 0 {
            let _ = live.wal.append(writes[..whole].iter().map(|w| &w.records));
        } else if let Some(snapshot) = writes.first().and_then(|w| w.snapshot.as_ref()) {
            let _ = live.wal.save_snapshot(snapshot); // its records come after it is durable, so never
        }
        drop(live);
        node.disk.crash(&self.chance_disk);
        node.disk.mend_sync();
        node.restart_at = self.now + self.chance_fault.range(5, 80);
        self.tally.crashes += 1;
    }

    /// Lets one member do what follows, and takes what comes out.
    fn pump(&mut self, id: MemberId) {
        loop {
            let Some(live) = self.nodes.get_mut(&id).and_then(|n| n.live.as_mut()) else { return };
            let mut out = Outbox::default();
            let any = live.member.pump(Duration::ZERO, &mut out);
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
        let Some(live) = self.nodes.get_mut(&id).and_then(|n| n.live.as_mut()) else { return };
        let mut lies = Outbox::default();
        for write in out.writes {
            let (now, chance) = (self.now, &self.chance_disk);
            // now and then the disk is slow, so that a crash finds something to tear
            let slow = self.weather.lie || chance.chance(0.05);
            let delay = if slow { chance.range(1, 40) } else { chance.range(0, 4) };
            let due = live.writing.back().map_or(0, |(due, _)| *due).max(now + delay);
            if self.weather.lie {
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
        if !self.calm && self.chance_net.chance(self.loss) {
            return;
        }
        let delay = if self.calm { 1 } else { 1 + self.chance_net.range(0, self.delay) };
        // a stream may be cut, but it does not repeat a proposal
        let repeat =
            !matches!(message.body, Body::MsgProp { .. }) && !self.calm && self.chance_net.chance(0.02);
        for late in if repeat { vec![0, 3] } else { vec![0] } {
            self.sent += 1;
            self.net.insert((self.now + delay + late, self.sent), message.clone());
        }
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
        let crash = if self.weather.lie { 0.02 } else { 0.004 };
        if chance.chance(crash) {
            let id = chance.range(1, self.weather.members + 1);
            self.crash(id);
        }
    }

    fn clients(&mut self) {
        let chance = self.chance_client.clone();
        let ids: Vec<MemberId> = self.nodes.keys().copied().collect();
        for id in ids {
            let Some(live) = self.nodes.get_mut(&id).and_then(|n| n.live.as_mut()) else { continue };
            if chance.chance(if live.member.is_leader() { 0.3 } else { 0.03 }) {
                let value = self.next_value;
                self.next_value += 1;
                self.proposed.insert(value, id);
                live.member.propose(value, Bytes::copy_from_slice(&value.to_le_bytes()));
            }
            if chance.chance(0.02) {
                self.next_read += 1;
                let ctx = id << 32 | self.next_read;
                self.read_floor.insert(ctx, self.acked_index);
                live.member.read(ctx);
            }
            if live.member.is_leader() && !self.calm {
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
    }

    fn disks(&mut self, id: MemberId) {
        let now = self.now;
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
            if !self.weather.lie {
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
        if !self.calm {
            self.faults();
        }
        let ids: Vec<MemberId> = self.nodes.keys().copied().collect();
        for id in &ids {
            if self.nodes.get(id).is_some_and(|n| n.live.is_none() && n.restart_at <= self.now) {
                self.start(*id);
            }
        }
        let due: Vec<_> = self.net.range(..(self.now + 1, 0)).map(|(at, _)| *at).collect();
        for at in due {
            let Some(message) = self.net.remove(&at) else { continue };
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
            for node in self.nodes.values_mut() {
                if let Some(live) = &mut node.live {
                    live.member.tick(Duration::ZERO);
                }
            }
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
        let status = live.member.core().status();
        assert!(status.term >= live.term, "seed {seed}: member {id} went back in terms");
        assert!(status.commit >= live.commit, "seed {seed}: member {id} went back in commits");
        (live.term, live.commit) = (status.term, status.commit);
        let recorder = live.member.machine();
        for event in std::mem::take(&mut recorder.events) {
            if let Event::Role { term, role: Role::Leader } = event {
                let other = self.leaders.insert(term, id);
                assert!(
                    other.is_none_or(|o| o == id),
                    "seed {seed}: two leaders in term {term}: {other:?}, {id}"
                );
            }
        }
        for entry in std::mem::take(&mut recorder.fresh) {
            entry.hash(&mut self.hasher);
            if let Some(value) = data(&entry).map(value)
                && self.proposed.get(&value) == Some(&id)
            {
                self.acked.insert(value);
                self.acked_index = self.acked_index.max(entry.index);
            }
            let known = self.committed.entry(entry.index).or_insert_with(|| entry.clone());
            assert_eq!(*known, entry, "seed {seed}: two entries at index {}", entry.index);
        }
        for (ctx, ok, applied) in std::mem::take(&mut recorder.reads) {
            let floor = self.read_floor.get(&ctx).copied().unwrap_or(0);
            if ok {
                self.tally.reads += 1;
                assert!(
                    applied >= floor,
                    "seed {seed}: member {id} read at {applied}, {floor} was acknowledged"
                );
            }
        }
    }

    /// If two logs agree on an entry, they agree on all before it.
    fn check_log_matching(&self) {
        let live: Vec<&Live> = self.nodes.values().filter_map(|n| n.live.as_ref()).collect();
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
        let seed = self.seed;
        self.calm = true;
        let (mut target, mut reads) = (None, None);
        for round in 0..1500 {
            self.step();
            let goal = *target.get_or_insert_with(|| self.acked_index + 20);
            let conf = self.nodes.values().filter_map(|n| n.live.as_ref());
            let Some(leader) = conf.filter(|l| l.member.is_leader()).max_by_key(|l| l.term) else { continue };
            let conf = leader.member.core().conf_state().clone();
            let there = |id: &MemberId| {
                let live = self.nodes.get(id).and_then(|n| n.live.as_ref());
                live.is_some_and(|l| l.member.applied() >= goal)
            };
            if round > 200 && conf.voters.iter().chain(&conf.learners).all(there) {
                let before = *reads.get_or_insert(self.tally.reads);
                if self.tally.reads > before {
                    break;
                }
            }
            assert!(round < 1499, "seed {seed}: no progress after the storm (wanted {goal})");
        }
        let values: BTreeSet<u64> = self.committed.values().filter_map(data).map(value).collect();
        let lost: Vec<_> = self.acked.difference(&values).collect();
        assert!(lost.is_empty(), "seed {seed}: acknowledged values {lost:?} are gone");
        // members that stopped at the same entry hold the same state
        let mut states: BTreeMap<Index, Vec<u64>> = BTreeMap::new();
        for live in self.nodes.values_mut().filter_map(|n| n.live.as_mut()) {
            let machine = live.member.machine();
            let state = states.entry(machine.applied).or_insert_with(|| machine.values.clone());
            assert_eq!(*state, machine.values, "seed {seed}: states differ at {}", machine.applied);
            let missing = self.acked.iter().any(|v| !machine.values.contains(v));
            let behind = machine.applied < self.acked_index;
            assert!(behind || !missing, "seed {seed}: a member lost acknowledged values");
        }
    }

    pub fn run(mut self) -> Tally {
        for _ in 0..self.weather.steps {
            self.step();
        }
        self.finish();
        self.tally.hash = self.hasher.finish();
        (self.tally.terms, self.tally.commits) = (self.leaders.len(), self.committed.len());
        self.tally.acked = self.acked.len();
        self.tally
    }
}
