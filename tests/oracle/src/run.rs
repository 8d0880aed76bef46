//! A simulated run, the same for both cores: the same faults at the same ticks, drawn from the seed
//! and the tick alone, so that a core that sends more messages does not get other faults.

use crate::subject::{ELECTION_TICKS, Subject};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Ticks with faults and without them in each of a run's rounds. Those without are enough for
/// several elections.
const FAULTY_TICKS: u64 = 60;
const QUIET_TICKS: u64 = 120;

/// What goes wrong in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faults {
    /// Members are cut off whole, stop, and come back; what is sent arrives, one tick later.
    Lossless,
    /// Links lose messages too, each way for itself, and delay them.
    Lossy,
}

/// How a run went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// At the end of each round: who leads, in which term, and every value committed.
    pub rounds: Vec<(u64, u64, Vec<u64>)>,
    /// For each round: ticks from the beginning of its faults until the leader of a majority
    /// committed something again.
    pub recovery: Vec<u64>,
    pub acknowledged: usize,
    pub reads: usize,
    pub terms: u64,
}

/// splitmix64 over all that decides.
fn draw(seed: u64, what: &str, at: &[u64]) -> u64 {
    let text = what.bytes().map(u64::from);
    text.chain(at.iter().copied()).fold(seed, |state, word| {
        let z = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// What is on its way over a link: when it arrives, and what.
type Link<M> = VecDeque<(u64, M)>;

struct Member<S: Subject> {
    subject: S,
    up: bool,
    /// What it committed since it was started.
    log: BTreeMap<u64, (u64, Vec<u8>)>,
}

pub struct Run<S: Subject> {
    seed: u64,
    faults: Faults,
    now: u64,
    members: BTreeMap<u64, Member<S>>,
    /// By receiver and sender.
    net: BTreeMap<(u64, u64), Link<S::Message>>,
    /// Members that nobody reaches.
    cut: BTreeSet<u64>,
    lossy: bool,
    /// Every entry that anybody committed.
    committed: BTreeMap<u64, (u64, Vec<u8>)>,
    leaders: BTreeMap<u64, u64>,
    /// Values whose proposer saw them committed.
    acknowledged: BTreeSet<u64>,
    proposed: BTreeMap<u64, u64>,
    floors: BTreeMap<u64, u64>,
    outcome: Outcome,
}

impl<S: Subject> Run<S> {
    pub fn new(seed: u64, count: u64, faults: Faults) -> Run<S> {
        let member = |id| (id, Member { subject: S::new(id, count), up: true, log: BTreeMap::new() });
        let mut run = Run {
            seed,
            faults,
            now: 0,
            members: (1..=count).map(member).collect(),
            net: BTreeMap::new(),
            cut: BTreeSet::new(),
            lossy: false,
            committed: BTreeMap::new(),
            leaders: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            proposed: BTreeMap::new(),
            floors: BTreeMap::new(),
            outcome: Outcome::default(),
        };
        let ids: Vec<u64> = run.members.keys().copied().collect();
        ids.into_iter().for_each(|id| run.settle(id));
        run
    }

    /// The timeout that a member has now, whatever it was told before: nobody has to count the
    /// other's draws.
    fn timed(&mut self, id: u64) {
        let seed = self.seed;
        let Some(member) = self.members.get_mut(&id) else { return };
        let term = member.subject.view().term;
        let ticks = ELECTION_TICKS + (draw(seed, "timeout", &[id, term]) % ELECTION_TICKS as u64) as usize;
        member.subject.set_timeout(ticks);
    }

    fn fail(&self, what: &str) -> ! {
        panic!(
            "{}, {:?}, {} members, seed {}, tick {}: {what}",
            S::NAME,
            self.faults,
            self.members.len(),
            self.seed,
            self.now
        )
    }

    /// Lets a member do what it has to, and looks at what it says.
    fn settle(&mut self, id: u64) {
        self.timed(id);
        let Some(member) = self.members.get_mut(&id) else { return };
        let out = member.subject.pump();
        let view = member.subject.view();
        for (index, term, data) in &out.committed {
            member.log.insert(*index, (*term, data.clone()));
        }
        self.timed(id);
        for (index, term, data) in out.committed {
            if let Ok(value) = <[u8; 8]>::try_from(data.as_slice()).map(u64::from_le_bytes)
                && self.proposed.get(&value) == Some(&id)
            {
                self.acknowledged.insert(value);
            }
            let known = self.committed.entry(index).or_insert((term, data.clone()));
            if *known != (term, data) {
                self.fail(&format!("two entries are committed at index {index}"));
            }
        }
        if view.leads {
            let first = *self.leaders.entry(view.term).or_insert(id);
            if first != id {
                self.fail(&format!("{first} and {id} both lead in term {}", view.term));
            }
        }
        for (ctx, index) in out.reads {
            self.outcome.reads += 1;
            if index < self.floors.get(&ctx).copied().unwrap_or_default() {
                self.fail(&format!("a read at {index} is older than what was acknowledged before it"));
            }
        }
        for (to, message) in out.messages {
            let chance = |what| draw(self.seed, what, &[self.now, id, to]) % 100;
            if self.lossy && chance("loss") < 25 {
                continue;
            }
            let late = if self.lossy { chance("late") % 4 } else { 0 };
            let link = self.net.entry((to, id)).or_default();
            link.push_back((self.now + 1 + late, message));
        }
    }

    fn up(&self, id: u64) -> bool {
        self.members.get(&id).is_some_and(|m| m.up)
    }

    fn leader(&self) -> Option<u64> {
        let views = self
            .members
            .iter()
            .filter(|(id, m)| m.up && !self.cut.contains(id))
            .map(|(id, m)| (*id, m.subject.view()));
        views.filter(|(_, v)| v.leads).max_by_key(|(_, v)| v.term).map(|(id, _)| id)
    }

    fn tick(&mut self) {
        self.now += 1;
        let links: Vec<(u64, u64)> = self.net.keys().copied().collect();
        for (to, from) in links {
            let due = |link: &mut Link<S::Message>, now| {
                let ready = link.front().is_some_and(|(at, _)| *at <= now);
                ready.then(|| link.pop_front()).flatten()
            };
            while let Some((_, message)) = self.net.get_mut(&(to, from)).and_then(|l| due(l, self.now)) {
                if !self.up(to) || self.cut.contains(&to) || self.cut.contains(&from) {
                    continue;
                }
                if let Some(member) = self.members.get_mut(&to) {
                    member.subject.step(message);
                }
                self.settle(to);
            }
        }
        let ids: Vec<u64> = self.members.keys().copied().collect();
        for id in ids {
            if self.up(id) {
                self.timed(id);
                if let Some(member) = self.members.get_mut(&id) {
                    member.subject.tick();
                }
                self.settle(id);
            }
        }
        self.client();
    }

    /// A client writes every third tick and reads every seventh, at the leader.
    fn client(&mut self) {
        let Some(leader) = self.leader() else { return };
        if self.now.is_multiple_of(3) {
            self.proposed.insert(self.now, leader);
            if let Some(member) = self.members.get_mut(&leader) {
                member.subject.propose(self.now.to_le_bytes().to_vec());
            }
            self.settle(leader);
        }
        if self.now.is_multiple_of(7) {
            let acknowledged = self.committed.keys().next_back().copied().unwrap_or_default();
            self.floors.insert(self.now, acknowledged);
            if let Some(member) = self.members.get_mut(&leader) {
                member.subject.read(self.now);
            }
            self.settle(leader);
        }
    }

    /// What goes wrong in a round: at most a minority is out of reach at any time.
    fn begin_faults(&mut self, round: u64) {
        let count = self.members.len() as u64;
        let chance = |what: &str, below: u64| draw(self.seed, what, &[round]) % below;
        let minority = (count - 1) / 2;
        let first = 1 + chance("who", count);
        let out: Vec<u64> =
            (0..1 + chance("how many", minority.max(1))).map(|n| 1 + (first - 1 + n) % count).collect();
        let leader = self.leader();
        match chance("what", 4) {
            0 => self.cut.extend(out),
            1 => {
                for id in out {
                    if let Some(member) = self.members.get_mut(&id) {
                        member.up = false;
                    }
                }
            }
            2 => self.cut.extend(leader),
            _ => {
                let to = 1 + chance("heir", count);
                if let Some(leader) = leader
                    && let Some(member) = self.members.get_mut(&leader)
                    && leader != to
                {
                    member.subject.transfer(to);
                    self.settle(leader);
                }
            }
        }
        self.lossy = self.faults == Faults::Lossy;
    }

    fn heal(&mut self) {
        self.cut.clear();
        self.lossy = false;
        let down: Vec<u64> = self.members.iter().filter(|(_, m)| !m.up).map(|(id, _)| *id).collect();
        for id in down {
            if let Some(member) = self.members.get_mut(&id) {
                member.subject.restart();
                (member.up, member.log) = (true, BTreeMap::new());
            }
            self.settle(id);
        }
    }

    /// After the calm everybody agrees.
    fn agree(&mut self) {
        let views: Vec<(u64, crate::subject::View)> =
            self.members.iter().map(|(id, m)| (*id, m.subject.view())).collect();
        let leaders: Vec<u64> = views.iter().filter(|(_, v)| v.leads).map(|(id, _)| *id).collect();
        let [leader] = leaders.as_slice() else {
            self.fail(&format!("{leaders:?} lead after the calm: {views:?}"))
        };
        let term = views[0].1.term;
        if views.iter().any(|(_, v)| v.leader != *leader || v.term != term) {
            self.fail(&format!("not all follow {leader}: {views:?}"));
        }
        let newest = self.committed.keys().next_back().copied().unwrap_or_default();
        for (id, view) in &views {
            // the newest entries may still be on their way
            if view.commit + 4 < newest {
                self.fail(&format!("{id} is at {} of {newest}", view.commit));
            }
        }
        for (id, member) in &self.members {
            let differs = member.log.iter().find(|(index, entry)| self.committed.get(index) != Some(entry));
            if let Some((index, _)) = differs {
                self.fail(&format!("{id} has another entry {index}"));
            }
        }
        let values: Vec<u64> = self
            .committed
            .values()
            .filter_map(|(_, data)| <[u8; 8]>::try_from(data.as_slice()).ok().map(u64::from_le_bytes))
            .collect();
        if let Some(lost) = self.acknowledged.iter().find(|v| !values.contains(v)) {
            self.fail(&format!("the acknowledged value {lost} is gone"));
        }
        self.outcome.rounds.push((*leader, term, values));
    }

    pub fn run(mut self, rounds: u64) -> Outcome {
        for round in 0..rounds {
            for _ in 0..QUIET_TICKS {
                self.tick();
            }
            self.agree();
            self.begin_faults(round);
            let (before, begun) = (self.committed.len(), self.now);
            let mut recovered = None;
            for _ in 0..FAULTY_TICKS {
                self.tick();
                // an entry of a new term, or simply more of the old one
                if recovered.is_none() && self.committed.len() > before + 1 {
                    recovered = Some(self.now - begun);
                }
            }
            self.heal();
            self.outcome.recovery.push(recovered.unwrap_or(FAULTY_TICKS));
        }
        for _ in 0..QUIET_TICKS {
            self.tick();
        }
        self.agree();
        self.outcome.acknowledged = self.acknowledged.len();
        self.outcome.terms = self.leaders.len() as u64;
        self.outcome
    }
}
