//! Members, links and disks of one simulated cluster, and what must always be true of their log.

mod chance;

use super::disk::SimDisk;
use super::guest::{Guest, Members, Witness};
use crate::driver::{ROOM_PERIOD, write_group};
use crate::member::{Capture, Edge, Member, Persisted, SnapshotPolicy, StateMachine, Write, wants_data};
use crate::wal::{Wal, WalOptions};
use crate::*;
use bytes::Bytes;
use rng::Rng;
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

pub(super) struct Live<M> {
    pub(super) member: Member<Witness<M>>,
    pub(super) wal: Wal,
    /// Writes that the disk has not done, with the time when it will have.
    pub(super) writing: VecDeque<(u64, Write)>,
    /// The first so many of them found no room; they are tried again at this time.
    pub(super) stuck: Option<(usize, u64)>,
    pub(super) saving: Vec<(u64, SnapshotRef)>,
    pub(super) term: Term,
    pub(super) commit: Index,
}

pub(super) struct Node<M> {
    pub(super) disk: SimDisk,
    pub(super) live: Option<Live<M>>,
    pub(super) restart_at: u64,
    pub(super) starts: u64,
    /// Until then there is hardly any room on its disk.
    pub(super) full_until: u64,
    /// The last entry that it has applied and so may have shown to clients, over all its lives.
    pub(super) shown: Index,
}

/// A mistake that the world makes on purpose, to see whether it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Members hear that a write is durable before it is.
    AckBeforeFsync,
    /// A member that starts again has forgotten for whom it voted.
    LostVote,
    /// Members hear that a write is durable though there was no room for it.
    AckFullDisk,
    /// Now and then a member applies an entry twice.
    ApplyTwice,
    /// A linearizable read is answered at once, by the member that was asked.
    StaleRead,
    /// A linearizable read is answered at once by a member that believes it leads.
    ExpiredLeader,
    /// When there is no room, the clients whose writes wait for it hear that they did not happen.
    RefusedUnderWay,
    /// A leader ends leases before their time is over.
    HastyLease,
    /// A leader's word that a lease has expired counts although its holder has renewed it since.
    RevokedRenewed,
    /// A member is asked how long a lease still has, and answers by its own clock.
    OwnClock,
}

/// How rough the world is.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// How many members there are at the start.
    pub members: u64,
    /// Length of the storm. After it everything is mended and must come to rest.
    pub steps: u64,
    /// The operator also removes members, and adds them again with what their disks still have.
    pub removals: bool,
    /// The mistake that is planted, if any.
    pub bug: Option<Bug>,
}

/// What a run amounted to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Of all that happened: equal seeds have equal hashes.
    pub hash: u64,
    /// Terms that had a leader.
    pub terms: usize,
    /// Entries that were committed.
    pub commits: usize,
    /// Linearizable reads that were answered.
    pub reads: usize,
    /// Members that were killed.
    pub crashes: usize,
    /// Starts that found a write which a crash had torn.
    pub torn: usize,
    /// Changes of configuration.
    pub confs: usize,
    /// Changes of configuration that removed a member; `confs` counts them, too.
    pub removed: usize,
    /// Snapshots that members received from a leader.
    pub snapshots: usize,
    /// Writes for which there was no room.
    pub full: usize,
}

/// Tells histories apart, quickly: its input is not made to deceive it.
pub(super) struct Fold(u64);

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        let last = rest.iter().fold(rest.len() as u64, |n, b| n << 8 | u64::from(*b));
        for word in words.iter().map(|w| u64::from_le_bytes(*w)).chain([last]) {
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
        self.removed += run.removed;
        self.snapshots += run.snapshots;
        self.full += run.full;
    }
}

/// A cluster in one thread: members, disks, network and clock, all from one seed.
pub struct World<G: Guest> {
    pub(super) seed: u64,
    pub(super) weather: Weather,
    pub(super) guest: G,
    pub(super) now: u64,
    pub(super) nodes: BTreeMap<MemberId, Node<G::Machine>>,
    /// Messages under way, by the steps until they arrive; within a step in the order in which they
    /// were sent.
    pub(super) net: VecDeque<Vec<Message>>,
    /// Messages between the two groups are lost until `heal_at`.
    pub(super) group: BTreeSet<MemberId>,
    pub(super) one_way: bool,
    pub(super) heal_at: u64,
    pub(super) calm: bool,
    pub(super) quiet: bool,
    pub(super) loss: f64,
    pub(super) delay: u64,
    /// How often the disk is slow.
    pub(super) slow: f64,
    pub(super) chance_net: Rng,
    pub(super) chance_disk: Rng,
    pub(super) chance_fault: Rng,
    pub(super) chance_room: Rng,
    /// With [`Bug::LostVote`] and [`Bug::AckFullDisk`]: who is killed soon, and when.
    pub(super) doomed: BTreeMap<MemberId, u64>,
    /// By term and voter.
    pub(super) votes: BTreeMap<(Term, MemberId), MemberId>,
    pub(super) leaders: BTreeMap<Term, MemberId>,
    pub(super) committed: BTreeMap<Index, Entry>,
    pub(super) hasher: Fold,
    pub(super) tally: Tally,
}

impl<G: Guest> World<G> {
    /// Starts the members; the seed decides everything that follows.
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
            chance_room: root.fork("room"),
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
            let disk = SimDisk::default();
            let node = Node { disk, live: None, restart_at: 0, starts: 0, full_until: 0, shown: 0 };
            world.nodes.insert(id, node);
            world.start(id);
        }
        world
    }

    pub(super) fn bug(&self, bug: Bug) -> bool {
        self.weather.bug == Some(bug)
    }

    fn time(&self) -> Duration {
        STEP * self.now as u32
    }

    fn start(&mut self, id: MemberId) {
        let (forgets, stutters, now) = (self.bug(Bug::LostVote), self.bug(Bug::ApplyTwice), self.time());
        let hasty = self.bug(Bug::HastyLease);
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.starts += 1;
        let initial = SnapshotRef { conf: ConfState::of(1..=self.weather.members), ..SnapshotRef::default() };
        let options = WalOptions { segment_bytes: 4096, prepare: false };
        let opened = Wal::open(Arc::new(node.disk.clone()), Path::new(DIR), &initial, options);
        let (wal, mut found) = match opened {
            Err(e) if e.is_scarcity() => {
                // the program ends with that error; an operator starts it again
                node.restart_at = self.now + room_period();
                self.tally.full += 1;
                return;
            }
            opened => opened.unwrap_or_else(|e| panic!("seed {}: {e}", self.seed)),
        };
        let (end, shown) = (found.stored.end().0, node.shown);
        assert!(end >= shown, "seed {}: member {id} has shown {shown} and comes back with {end}", self.seed);
        self.tally.torn += usize::from(found.torn.is_some());
        if forgets {
            found.stored.hard.vote = NONE;
        }
        let seed = self.seed ^ (node.starts << 20);
        let config = Config { id, election_ticks: 10, heartbeat_ticks: 2, seed };
        let policy = SnapshotPolicy { entries: 8 + self.seed % 24, bytes: u64::MAX };
        let stutter = stutters.then(|| Rng::seeded(seed ^ id));
        let mut machine = Witness::of(self.guest.starts(id, seed ^ id.rotate_left(40)), stutter);
        machine.bend = self.guest.bend();
        if hasty {
            machine.hasty = 20 * STEP;
        }
        let member = Member::new(config, found.stored, machine, policy, now)
            .unwrap_or_else(|e| panic!("seed {}: {e}", self.seed));
        let (writing, saving) = (VecDeque::new(), vec![]);
        node.live = Some(Live { member, wal, writing, stuck: None, saving, term: 0, commit: 0 });
        self.pump(id);
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
        let (lie, time) = (self.bug(Bug::AckBeforeFsync), self.time());
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
                live.member.persisted(&told, time, &mut lies);
            }
            live.writing.push_back((due, write));
        }
        for (snapshot, capture) in out.snapshots {
            let snapshot = SnapshotRef { data: capture().into(), ..snapshot };
            live.saving.push((self.now + self.chance_disk.range(0, 10), snapshot));
        }
        for upto in out.releases {
            match live.wal.release(upto) {
                Err(e) if !(e.is_scarcity() && live.wal.sound()) => panic!("seed {}: {e}", self.seed),
                _ => {} // what stays goes with the next release
            }
        }
        lies.messages.into_iter().for_each(|m| self.send(m));
    }

    /// One unit of time: about 10 ms.
    pub fn step(&mut self) {
        self.now += 1;
        let due = self.net.pop_front().unwrap_or_default();
        if !self.calm {
            self.faults();
            self.operator();
        } else if self.weather.removals {
            self.readmit();
        }
        self.fill_disks();
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

    /// The storm ends: all members must agree within an election or two, and nothing acknowledged
    /// is gone.
    fn finish(&mut self) {
        let last = |committed: &BTreeMap<Index, Entry>| committed.keys().next_back().copied().unwrap_or(0);
        let (goal, reads) = (last(&self.committed) + 20, self.guest.reads());
        self.calm = true;
        self.until(1500, "progress after the storm", |world| {
            world.guest.reads() > reads && world.all(|member| member.applied() >= goal)
        });
        self.quiet = true;
        // A second for each lease, and three until a revocation that was lost is proposed again.
        self.until(600, "rest after the last request", |world| world.guest.rests());
        self.until(1500, "agreement at the end", |world| {
            let end = last(&world.committed);
            world.all(|member| member.applied() == end && member.core().status().last == end)
        });
        self.guest.judge(&self.committed, up(&mut self.nodes));
    }

    fn all(&self, right: impl Fn(&Member<Witness<G::Machine>>) -> bool) -> bool {
        self.nodes.values().all(|n| n.live.as_ref().is_some_and(|live| right(&live.member)))
    }

    fn until(&mut self, steps: u64, what: &str, reached: impl Fn(&World<G>) -> bool) {
        for _ in 0..steps {
            if reached(self) {
                return;
            }
            self.step();
        }
        panic!("seed {}: no {what}", self.seed);
    }

    /// Runs the storm and the calm after it, and judges what happened.
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

/// Steps until a full disk is asked for room again.
fn room_period() -> u64 {
    (ROOM_PERIOD.as_millis() / STEP.as_millis()) as u64
}

fn up<M: StateMachine>(nodes: &mut BTreeMap<MemberId, Node<M>>) -> Members<'_, M> {
    nodes.iter_mut().filter_map(|(id, n)| Some((*id, &mut n.live.as_mut()?.member))).collect()
}
