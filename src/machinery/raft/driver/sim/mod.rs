//! Drivers without threads: a seed says which thread takes its turn, which message arrives, and
//! what goes wrong with a disk. Between two turns of one member's threads everything else may
//! happen: its log's thread may be far behind, a snapshot half the run old, a message late.
//!
//! `sim` has the same members on a disk that answers within the step; here the driver's own queues,
//! groups, retries and ends are what is tested. `ROPEWALK_SEEDS=100000 cargo test
//! --profile sim -p raft --lib driver::sim` runs more histories.

mod chance;

use super::run::Flow;
use super::*;
use crate::member::Capture;
use crate::message::{Body, Entry};
use crate::sim::disk::SimDisk;
use crate::{Event, Role, Status, Term};
use crate::{codec, fields};
use nix::libc;
use parking_lot::MutexGuard;
use rng::Rng;
use rng::seeds::{caught_after, sweep};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;

const MEMBERS: u64 = 3;
/// Turns of the storm, and at most as many until all is well again.
const TURNS: u64 = 6000;

/// What is true of the log, whichever member says it.
#[derive(Default)]
struct Truth {
    seed: u64,
    committed: BTreeMap<Index, Bytes>,
    /// Proposals that their proposer has applied: to the client they are done.
    acked: BTreeSet<u64>,
    /// Proposals that a member refused: they may not be there.
    refused: BTreeSet<u64>,
    leaders: BTreeMap<Term, MemberId>,
}

/// Holds what it applied; a snapshot is all of it.
struct Register {
    me: MemberId,
    applied: Vec<(Index, Bytes)>,
    status: Status,
    /// Proposals of this run that are under way.
    mine: BTreeSet<u64>,
    truth: Arc<Mutex<Truth>>,
}

impl Register {
    fn truth(&self) -> MutexGuard<'_, Truth> {
        self.truth.lock()
    }
}

fn number(data: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(data.get(..8)?.try_into().ok()?))
}

impl StateMachine for Register {
    fn apply(&mut self, entries: &[Entry], _: Duration) {
        let truth = self.truth.clone();
        let mut truth = truth.lock();
        let (seed, me) = (truth.seed, self.me);
        for entry in entries {
            let Payload::Normal(data) = &entry.payload else { continue };
            let known = truth.committed.entry(entry.index).or_insert_with(|| data.clone());
            assert!(known == data, "seed {seed}: member {me} applied something else at {}", entry.index);
            self.applied.push((entry.index, data.clone()));
            if let Some(id) = number(data).filter(|id| self.mine.remove(id)) {
                truth.acked.insert(id);
            }
        }
    }
    fn restore(&mut self, snapshot: &SnapshotRef, _: Duration) -> Result<(), String> {
        let r = &mut fields::Reader::new(snapshot.data.clone());
        self.applied.clear();
        let mut read = || {
            for _ in 0..r.count()? {
                self.applied.push((r.u64()?, r.bytes()?));
            }
            r.end()
        };
        read().map_err(|e: fields::DecodeError| e.to_string())
    }
    fn capture(&mut self) -> Capture {
        let applied = self.applied.clone();
        Box::new(move || {
            let mut out = vec![];
            fields::put_u64(&mut out, applied.len() as u64);
            for (index, data) in &applied {
                fields::put_u64(&mut out, *index);
                fields::put_bytes(&mut out, data);
            }
            out
        })
    }
    fn refused(&mut self, id: u64) {
        self.mine.remove(&id);
        self.truth().refused.insert(id);
    }
    fn read(&mut self, _: u64, _: bool) {}
    fn status(&mut self, status: &Status, applied: Index, _: Duration) {
        let mut truth = self.truth.lock();
        let seed = truth.seed;
        assert!(applied >= self.applied.last().map_or(0, |(index, _)| *index), "seed {seed}");
        if status.role == Role::Leader {
            let leader = *truth.leaders.entry(status.term).or_insert(self.me);
            assert_eq!(leader, self.me, "seed {seed}: two leaders in term {}", status.term);
        }
        self.status = status.clone();
    }
    fn events(&mut self, _: &[Event]) {}
    fn persisted(&mut self, _: &Persisted) {}
    fn due(&mut self, _: Duration) -> Vec<Bytes> {
        Vec::new()
    }
}

type Shelf<T> = Arc<Mutex<Vec<T>>>;

/// What members sent and what has not arrived.
#[derive(Clone, Default)]
struct Net(Shelf<(MemberId, Bytes)>);

impl Link for Net {
    fn send(&self, to: MemberId, message: Bytes) {
        self.0.lock().push((to, message));
    }
}

/// A member that runs.
struct Live {
    opened: Opened<Register>,
    /// Threads that were started and have not run.
    threads: Shelf<Work>,
    net: Net,
    news: Shelf<LogNews>,
    /// The log's thread has ended.
    log_ended: bool,
    /// What it said last of its log.
    waits: bool,
    failed: bool,
}

struct Node {
    id: MemberId,
    disk: SimDisk,
    live: Option<Live>,
    /// A sync may have failed since its start.
    broken: bool,
    /// Something is missing now; and was at any time since its start.
    full: bool,
    was_full: bool,
    /// Files cannot be deleted.
    keeps: bool,
}

/// What happened in a history, or in all of them.
#[derive(Default, Debug, PartialEq, Eq)]
struct Tally {
    acked: usize,
    starts: usize,
    waits: usize,
    failures: usize,
    snapshots: usize,
    sent_snapshots: usize,
    stops: usize,
    lost: usize,
}

/// A mistake of the driver, to see whether it is noticed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bug {
    /// Reports to the member that its log has written what still waits.
    Early,
    /// A member whose log has failed goes on.
    DeafToFailure,
    /// What waits for room is left out, and the log goes on behind it.
    DropsStuck,
}

struct World {
    rng: Rng,
    seed: u64,
    bug: Option<Bug>,
    /// Milliseconds.
    now: Arc<AtomicU64>,
    nodes: Vec<Node>,
    /// Messages under way.
    net: Vec<(MemberId, Bytes)>,
    truth: Arc<Mutex<Truth>>,
    next: u64,
    /// The storm is over, and this is the first proposal since.
    goal: Option<u64>,
    tally: Tally,
}

impl World {
    fn new(seed: u64, bug: Option<Bug>) -> World {
        let node = |id| {
            let (broken, full, was_full, keeps) = (false, false, false, false);
            Node { id, disk: SimDisk::default(), live: None, broken, full, was_full, keeps }
        };
        let truth = Arc::new(Mutex::new(Truth { seed, ..Truth::default() }));
        World {
            rng: Rng::seeded(seed).fork("driver"),
            seed,
            bug,
            now: Arc::default(),
            nodes: (1..=MEMBERS).map(node).collect(),
            net: vec![],
            truth,
            next: 1,
            goal: None,
            tally: Tally::default(),
        }
    }

    fn start(&mut self, at: usize) {
        let (seed, node) = (self.seed, &mut self.nodes[at]);
        let (net, threads, news) = (Net::default(), Shelf::<Work>::default(), Shelf::<LogNews>::default());
        let options = Options {
            id: node.id,
            initial: ConfState::of(1..=MEMBERS),
            seed: seed ^ self.tally.starts as u64,
            link: Arc::new(net.clone()),
            policy: SnapshotPolicy { entries: 5 + seed % 20, bytes: u64::MAX },
            wal: WalOptions { segment_bytes: 4096, prepare: false },
            disk: Arc::new(node.disk.clone()),
            ..Options::alone("/member".as_ref())
        };
        let (truth, status) = (self.truth.clone(), Status::default());
        let machine = Register { me: node.id, applied: vec![], status, mine: BTreeSet::new(), truth };
        let (clock, shelf, told) = (self.now.clone(), threads.clone(), news.clone());
        let now = Box::new(move || Duration::from_millis(clock.load(Ordering::Relaxed)));
        let spawn = Box::new(move |_: &str, work| {
            shelf.lock().push(work);
            Ok(None)
        });
        let on_news = Box::new(move |news| told.lock().push(news));
        match open(options, machine, on_news, now, spawn) {
            Ok(mut opened) => {
                self.tally.starts += 1;
                node.was_full = node.full;
                opened.run.pump();
                let (log_ended, waits, failed) = (false, false, false);
                node.live = Some(Live { opened, threads, net, news, log_ended, waits, failed });
            }
            // An operator starts it again.
            Err(StartError::Log(_)) if node.full || node.keeps => {}
            Err(StartError::Log(_)) if node.broken => {
                node.disk.mend_sync();
                node.broken = false;
            }
            Err(e) => panic!("seed {seed}: member {} does not start: {e}", node.id),
        }
    }

    /// What came of a turn.
    fn hear(&mut self, at: usize) {
        let (seed, node) = (self.seed, &mut self.nodes[at]);
        let Some(live) = &mut node.live else { return };
        for news in live.news.lock().drain(..) {
            match news {
                LogNews::Waits(_) => {
                    assert!(node.was_full, "seed {seed}: it waits, and nothing is missing");
                    self.tally.waits += 1;
                    live.waits = true;
                }
                LogNews::GoesOn => {
                    assert!(live.waits, "seed {seed}: it went on before");
                    live.waits = false;
                }
                LogNews::Failed(error) => {
                    let why = error.full_text();
                    assert!(node.broken, "seed {seed}: nothing was broken: {why}");
                    assert!(!live.failed, "seed {seed}: it failed before: {why}");
                    self.tally.failures += 1;
                    live.failed = true;
                }
            }
        }
        let sent = std::mem::take(&mut *live.net.0.lock());
        for (to, bytes) in sent {
            let message = codec::decode_message(bytes.clone()).expect("one of ours");
            self.tally.sent_snapshots += usize::from(matches!(message.body, Body::MsgSnap(_)));
            self.net.push((to, bytes));
        }
        if live.failed && self.bug != Some(Bug::DeafToFailure) {
            let role = live.opened.run.member.machine().status.role;
            assert!(role != Role::Leader, "seed {seed}: member {} leads without a log", node.id);
        }
    }

    fn member_turn(&mut self, at: usize) {
        let Some(live) = &mut self.nodes[at].live else { return };
        let ended = live.log_ended;
        let most = if ended { usize::MAX } else { self.rng.range(0, 6) as usize };
        let inputs: Vec<Input> = live.opened.inputs.try_iter().take(most).collect();
        let tick = self.rng.chance(0.5);
        let deaf = |input: &Input| !matches!(input, Input::Log(LogNews::Failed(_)));
        let inputs = inputs.into_iter().filter(|i| self.bug != Some(Bug::DeafToFailure) || deaf(i));
        let flow = live.opened.run.turn(inputs, tick);
        assert!(matches!(flow, Flow::Go));
        self.hear(at);
        let has_failed = self.nodes[at].live.as_ref().is_some_and(|live| live.failed);
        assert!(has_failed || !ended, "seed {}: the log has ended, and no report of it came", self.seed);
    }

    /// One of the threads that save and send snapshots.
    fn thread_turn(&mut self, at: usize) {
        let Some(live) = &mut self.nodes[at].live else { return };
        let mut threads = live.threads.lock();
        if threads.is_empty() {
            return;
        }
        let which = self.rng.range(0, threads.len() as u64) as usize;
        let work = threads.remove(which);
        drop(threads); // it may start another one
        work();
        self.tally.snapshots += 1;
        self.hear(at);
    }

    fn arrive(&mut self) {
        if self.net.is_empty() {
            return;
        }
        // Mostly in order, as on a stream; what was sent to another member may come first.
        let calm = self.goal.is_some();
        let most = if calm { 1 } else { self.net.len().min(8) as u64 };
        let (to, bytes) = self.net.remove(self.rng.range(0, most) as usize);
        if !calm && self.rng.chance(0.05) {
            self.tally.lost += 1;
            return;
        }
        let Some(live) = self.nodes.iter().find(|n| n.id == to).and_then(|n| n.live.as_ref()) else { return };
        live.opened.handle.deliver(bytes).expect("one of ours");
    }

    fn turn(&mut self) {
        self.now.fetch_add(1, Ordering::Relaxed);
        if self.goal.is_none() {
            self.faults();
        }
        let at = self.rng.range(0, MEMBERS) as usize;
        match self.rng.range(0, 100) {
            0..40 => (0..4).for_each(|_| self.arrive()),
            40..70 => self.member_turn(at),
            70..88 => self.log_turn(at),
            88..93 => self.thread_turn(at),
            93..96 => self.propose(at),
            _ if self.nodes[at].live.is_none() => self.start(at),
            _ => {}
        }
    }

    fn run(mut self) -> Tally {
        (0..MEMBERS as usize).for_each(|at| self.start(at));
        for _ in 0..TURNS {
            self.turn();
        }
        self.goal = Some(self.next);
        for at in 0..MEMBERS as usize {
            if self.nodes[at].broken {
                self.end(at, false);
            }
            self.mend(at);
        }
        let goal = self.next;
        for turn in 0.. {
            assert!(turn < 10 * TURNS, "seed {}: no agreement after the storm", self.seed);
            self.turn();
            if turn % 100 == 0 && self.agreed(goal) {
                break;
            }
        }
        let truth = self.truth.lock();
        let there: BTreeSet<u64> = truth.committed.values().filter_map(|data| number(data)).collect();
        let lost: Vec<&u64> = truth.acked.difference(&there).collect();
        assert!(lost.is_empty(), "seed {}: acknowledged and lost: {lost:?}", self.seed);
        let both: Vec<&u64> = truth.refused.intersection(&there).collect();
        assert!(both.is_empty(), "seed {}: refused, and yet done: {both:?}", self.seed);
        self.tally.acked = truth.acked.len();
        drop(truth);
        self.tally
    }

    fn is_acked(&self, since: u64) -> bool {
        let truth = self.truth.lock();
        truth.acked.range(since..).next().is_some()
    }

    /// Returns whether all members have applied the same, and among it something that was proposed
    /// since `goal`.
    fn agreed(&mut self, goal: u64) -> bool {
        let (mut all, mut recent) = (vec![], false);
        for node in &mut self.nodes {
            let Some(live) = &mut node.live else { return false };
            let machine = live.opened.run.member.machine();
            let numbers: Vec<Option<u64>> = machine.applied.iter().map(|(_, data)| number(data)).collect();
            recent |= numbers.iter().flatten().any(|id| *id >= goal);
            all.push(machine.applied.clone());
        }
        recent && all.iter().all(|one| *one == all[0]) && self.is_acked(goal)
    }
}

fn run(seed: u64, bug: Option<Bug>) -> Tally {
    World::new(seed, bug).run()
}

#[test]
fn drivers_in_a_storm() {
    let mut all = Tally::default();
    let add = |t: Tally| {
        all.acked += t.acked;
        all.starts += t.starts;
        all.waits += t.waits;
        all.failures += t.failures;
        all.snapshots += t.snapshots;
        all.sent_snapshots += t.sent_snapshots;
        all.stops += t.stops;
        all.lost += t.lost;
    };
    let test = "raft::driver::sim::drivers_in_a_storm";
    let Some(seeds) = sweep(test, 60, |seed| run(seed, None), add) else { return };
    eprintln!("{seeds} seeds: {all:?}");
    // A sweep in which nothing bad happened proves nothing.
    let often = [all.acked, all.starts, all.waits, all.failures, all.snapshots, all.stops, all.lost];
    assert!(often.iter().all(|n| *n as u64 > seeds), "the weather was too fair: {all:?}");
    assert!(all.sent_snapshots > 0, "no member was behind: {all:?}");
}

#[test]
fn a_seed_is_a_history() {
    assert_eq!(run(3, None), run(3, None));
    assert_ne!(run(3, None), run(4, None));
}

#[test]
fn planted_bugs_are_caught() {
    for (bug, most) in [(Bug::Early, 100), (Bug::DeafToFailure, 100), (Bug::DropsStuck, 100)] {
        let after = caught_after(most, |seed| run(seed, Some(bug)));
        assert!(after.is_some(), "a bug went unnoticed in {most} histories");
    }
}
