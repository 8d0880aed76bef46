//! What the store's members report of themselves: who leads, what each log holds, who cannot hear
//! whom, and how the last election went. Built record by record, so that nothing is forgotten when
//! the records are.

use clock::Timestamp;
use cluster::faults::{Act, Broken, Fault, HELD};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tap::{Component, Event, RaftRole, Record};

/// Entries kept of every log, its newest.
const LOG: usize = 256;
/// An election that begins later than this after the last has to do with it no more.
const ANOTHER: Duration = Duration::from_secs(5);
/// Tellings kept of one story.
const STORY: usize = 40;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Role {
    #[default]
    Follower,
    /// Asks for votes, or asks whether it would get them.
    Candidate,
    Leader,
}

/// How an entry stands in one member's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The member knows that it is committed.
    Committed,
    /// On its disk; it does not know yet whether it will stay.
    Stored,
    /// On its disk, while the others committed another entry in this place: it will be cut off.
    Lost,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Member {
    pub term: u64,
    pub role: Role,
    /// Index to term of what is on its disk, the newest.
    pub log: BTreeMap<u64, u64>,
    /// Entries whose term may be an earlier one than that: until their commit is known.
    guessed: BTreeSet<u64>,
    /// The newest entry that it applied.
    pub applied: u64,
}

impl Member {
    /// Takes in a batch of entries that is on the member's disk. Only the last entry's term is
    /// known. For example after entries up to 9 of term 2, a batch of 3 up to 12 of term 4 leaves
    /// 10 and 11 as guesses: they may be of term 2, 3 or 4.
    fn append(&mut self, batch: u64, last: u64, term: u64) {
        // Of a batch that is longer than what is kept, only its end.
        let first = last.saturating_add(1).saturating_sub(batch.min(LOG as u64));
        // Terms never fall, so it is that of all if the entry before them has it, too.
        let all = first.checked_sub(1).and_then(|before| self.log.get(&before)) == Some(&term);
        for index in first..=last {
            self.log.insert(index, term);
            if !all && index < last {
                self.guessed.insert(index);
            }
        }
    }
}

/// One thing that happened around an election.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Happening {
    /// A fault was made or mended: the words of `ropewalk fault`.
    Fault(String),
    /// No leader was heard in time.
    Timeout,
    /// Would vote for this one, were there an election (pre-vote).
    Would(String),
    Stands,
    Votes(String),
    Refuses(String),
    Leads,
    StepsDown,
    /// Hands the lead over to this one.
    Hands(String),
}

/// A step of the last election, or a fault beside it.
#[derive(Clone, Debug)]
pub(crate) struct StoryStep {
    pub at: Timestamp,
    /// The member; empty for a fault.
    pub who: String,
    pub term: u64,
    pub happening: Happening,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Agreement {
    pub members: BTreeMap<String, Member>,
    /// Votes by term: each candidate, with the members that voted for it.
    votes: BTreeMap<u64, BTreeMap<String, BTreeSet<String>>>,
    /// Pairs of nodes whose link is cut: every packet between them is lost. The names of a pair are
    /// sorted.
    pub cuts: BTreeSet<(String, String)>,
    /// Nodes that are switched off.
    pub off: BTreeSet<String>,
    /// Nodes whose member is stopped until it is started (`fault stop etcd`). The nodes run on.
    held: BTreeSet<String>,
    /// A record has named a leader. The election may be older than the oldest record that is kept.
    pub has_led: bool,
    /// The last election, or fault, step by step.
    pub story: Vec<StoryStep>,
}

impl Agreement {
    /// Takes in a record of the store or of a fault.
    pub(crate) fn absorb(&mut self, record: &Record) {
        match &record.event {
            Event::Fault(fault) => self.fault(fault, record),
            _ if record.component == Component::Etcd => self.member(record),
            _ => {}
        }
    }

    /// Takes in the list of all that is broken: faults may be older than the oldest record that is
    /// kept. Returns whether a cut or a node that is off was not known, or is no more. Records of
    /// the past that come later change nothing for good: of two that are about the same link or
    /// node, the last one agrees with the list.
    pub(crate) fn set_broken(&mut self, broken: &[Broken]) -> bool {
        let (mut cuts, mut off, mut held) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for fault in broken {
            match (fault.fault.as_str(), fault.nodes.as_slice()) {
                ("cut", [a, b]) => {
                    cuts.insert(ordered(a, b));
                }
                ("stopped" | "crashed", [node]) => {
                    off.insert(node.clone());
                }
                (HELD, [node]) if fault.component.as_deref() == Some(Component::Etcd.name()) => {
                    held.insert(node.clone());
                }
                _ => {}
            }
        }
        let changed = (&cuts, &off, &held) != (&self.cuts, &self.off, &self.held);
        (self.cuts, self.off, self.held) = (cuts, off, held);
        changed
    }

    fn fault(&mut self, fault: &Fault, record: &Record) {
        match fault {
            Fault::Cut { a, b } => {
                self.cuts.insert(ordered(a, b));
            }
            // A link has one share of loss: it takes the place of the cut.
            Fault::Loss { a, b, .. } => {
                self.cuts.remove(&ordered(a, b));
            }
            Fault::Heal => self.cuts.clear(),
            Fault::Node { node, act: Act::Start } => {
                self.off.remove(node);
            }
            Fault::Node { node, .. } => {
                self.off.insert(node.clone());
                self.starts_anew(Some(node));
            }
            Fault::Kill { component, node } if component == Component::Etcd.name() => {
                self.starts_anew(node.as_deref())
            }
            Fault::Stop { component, node } if component == Component::Etcd.name() => {
                self.hold(node.as_deref());
                self.starts_anew(node.as_deref());
            }
            Fault::Start { component, node } if component == Component::Etcd.name() => {
                self.release(node.as_deref());
            }
            Fault::List
            | Fault::Kill { .. }
            | Fault::Stop { .. }
            | Fault::Start { .. }
            | Fault::Slow { .. }
            | Fault::Disk { .. } => {}
        }
        // What broke is the beginning of whatever follows; two cuts in a row are one beginning.
        if self.story.iter().any(|step| !matches!(step.happening, Happening::Fault(_))) {
            self.story.clear();
        }
        self.note(record, "", 0, Happening::Fault(fault.to_string()));
    }

    /// Notes that a member is stopped until it is started; every member on a node that is on if
    /// none is named.
    fn hold(&mut self, node: Option<&str>) {
        let stopped: Vec<String> = match node {
            Some(node) => vec![node.to_string()],
            None => self.members.keys().filter(|name| !self.off.contains(*name)).cloned().collect(),
        };
        self.held.extend(stopped);
    }

    /// Notes that a member is started; every member on a node that is on if none is named.
    fn release(&mut self, node: Option<&str>) {
        let off = &self.off;
        self.held.retain(|name| match node {
            Some(node) => name != node,
            None => off.contains(name),
        });
    }

    /// Takes in that a member's process has ended; without a node, that of every member. A new
    /// process begins as a follower, and writes no record about that.
    fn starts_anew(&mut self, node: Option<&str>) {
        for (name, member) in &mut self.members {
            if node.is_none_or(|node| node == name) {
                member.role = Role::Follower;
            }
        }
    }

    /// Notes a step of the story. One long after the last begins another story.
    fn note(&mut self, record: &Record, who: &str, term: u64, happening: Happening) {
        let late = |last: &StoryStep| record.at.duration_since(last.at).unsigned_abs() > ANOTHER;
        if self.story.last().is_some_and(late) {
            self.story.clear();
        }
        // A member that is cut off tries again and again: each of its steps is shown once.
        let again = |step: &StoryStep| step.who == who && step.term == term && step.happening == happening;
        if self.story.len() < STORY && !self.story.iter().any(again) {
            self.story.push(StoryStep { at: record.at, who: who.into(), term, happening });
        }
    }

    /// Takes in a record of a member of the store.
    fn member(&mut self, record: &Record) {
        let who = record.node.clone();
        let member = self.members.entry(who.clone()).or_default();
        match &record.event {
            Event::Append { batch, last, term, .. } => member.append(*batch as u64, *last, *term),
            Event::CommitEntry { index, term, .. } => {
                member.applied = member.applied.max(*index);
                member.log.insert(*index, *term);
                member.guessed.remove(index);
            }
            Event::Truncate { from } => {
                drop(member.log.split_off(from));
                drop(member.guessed.split_off(from));
            }
            Event::InstallSnapshot { index } => {
                member.applied = *index;
                // The state takes the place of the whole log: entries behind it contradict it.
                member.log.clear();
                member.guessed.clear();
            }
            _ => self.elect(record, who.clone()),
        }
        if let Some(member) = self.members.get_mut(&who) {
            while member.log.len() > LOG {
                member.log.pop_first();
            }
            let oldest = member.log.first_key_value().map_or(0, |(index, _)| *index);
            member.guessed.retain(|index| *index >= oldest);
        }
    }

    /// Takes in a member's record of an election.
    fn elect(&mut self, record: &Record, who: String) {
        self.has_led |= match &record.event {
            Event::Role { role, .. } => *role == RaftRole::Leader,
            Event::Leader { leader, .. } => !leader.is_empty(),
            _ => false,
        };
        let member = self.members.entry(who.clone()).or_default();
        match &record.event {
            Event::Role { term, role } => {
                member.term = *term;
                let was = member.role;
                member.role = match role {
                    RaftRole::Leader => Role::Leader,
                    RaftRole::Candidate | RaftRole::PreCandidate => Role::Candidate,
                    RaftRole::Follower => Role::Follower,
                };
                if *role == RaftRole::Candidate {
                    self.note(record, &who, *term, Happening::Stands);
                } else if was == Role::Leader && member.role == Role::Follower {
                    self.note(record, &who, *term, Happening::StepsDown);
                }
            }
            Event::Leader { term, leader } => {
                member.term = *term;
                if *leader == who {
                    member.role = Role::Leader;
                    self.note(record, &who, *term, Happening::Leads);
                } else {
                    // A leader whose process was started again has become a follower without a
                    // record of its own.
                    if !leader.is_empty() || member.role == Role::Leader {
                        member.role = Role::Follower;
                    }
                    self.follow(leader.clone(), *term);
                }
            }
            Event::ElectionTimeout { term } => self.note(record, &who, *term, Happening::Timeout),
            Event::Vote { term, to, pre } => {
                if !pre {
                    member.term = *term;
                    if *to != who {
                        member.role = Role::Follower; // only followers vote for another member
                    }
                    let of = self.votes.entry(*term).or_default();
                    of.entry(to.clone()).or_default().insert(who.clone());
                    while self.votes.len() > 8 {
                        self.votes.pop_first();
                    }
                }
                // That a candidate votes for itself goes without saying.
                if *to != who {
                    let happening =
                        if *pre { Happening::Would(to.clone()) } else { Happening::Votes(to.clone()) };
                    self.note(record, &who, *term, happening);
                }
            }
            Event::RefuseVote { term, to, .. } => {
                self.note(record, &who, *term, Happening::Refuses(to.clone()));
            }
            Event::Transfer { to } => self.note(record, &who, 0, Happening::Hands(to.clone())),
            _ => {}
        }
    }

    /// A member follows this leader of a term. The record of the election may be older than the
    /// oldest that is kept.
    fn follow(&mut self, leader: String, term: u64) {
        if leader.is_empty() {
            return;
        }
        let leader = self.members.entry(leader).or_default();
        if leader.term <= term {
            (leader.term, leader.role) = (term, Role::Leader);
        }
    }

    /// Returns the highest term that a member has reported.
    pub(crate) fn term(&self) -> u64 {
        self.members.values().map(|m| m.term).max().unwrap_or_default()
    }

    /// Returns the newest entry that a member has applied.
    pub(crate) fn committed(&self) -> u64 {
        self.members.values().map(|m| m.applied).max().unwrap_or_default()
    }

    /// Returns how many voted for this member in its term.
    pub(crate) fn votes(&self, who: &str) -> usize {
        let term = self.members.get(who).map_or(0, |m| m.term);
        self.votes.get(&term).and_then(|of| of.get(who)).map_or(0, BTreeSet::len)
    }

    /// True if a fault keeps the member from running: its node is switched off, or the member is
    /// stopped.
    pub(crate) fn is_down(&self, who: &str) -> bool {
        self.off.contains(who) || self.held.contains(who)
    }

    /// Returns the leader of the highest term: an old leader that is cut off may still believe that
    /// it leads. One that a fault keeps from running does not lead.
    pub(crate) fn leader(&self) -> Option<&str> {
        let term = self.term();
        let leads =
            |(name, m): &(&String, &Member)| m.role == Role::Leader && m.term == term && !self.is_down(name);
        self.members.iter().find(leads).map(|(name, _)| name.as_str())
    }

    /// Returns whether a fault cuts the link between two nodes.
    pub(crate) fn is_cut(&self, a: &str, b: &str) -> bool {
        self.cuts.contains(&ordered(a, b))
    }

    /// True if every link to the other members is cut.
    pub(crate) fn is_cut_off(&self, who: &str, members: &[&str]) -> bool {
        let mut others = members.iter().filter(|m| **m != who).peekable();
        others.peek().is_some() && others.all(|m| self.is_cut(who, m))
    }

    /// Returns the members that this one reaches, itself included; none when it is off.
    pub(crate) fn reaches<'a>(
        &'a self,
        who: &'a str,
        members: &'a [&'a str],
    ) -> impl Iterator<Item = &'a str> {
        let on = move |name: &str| !self.is_down(name);
        members.iter().copied().filter(move |m| on(who) && on(m) && !self.is_cut(who, m))
    }

    /// Returns how an entry stands in a member's log; `None` if it is not there.
    pub(crate) fn mark(&self, who: &str, index: u64) -> Option<Mark> {
        let member = self.members.get(who)?;
        let term = *member.log.get(&index)?;
        if index <= member.applied {
            return Some(Mark::Committed);
        }
        if member.guessed.contains(&index) {
            return Some(Mark::Stored); // a member that catches up; nothing speaks against the entry
        }
        let other = |m: &Member| index <= m.applied && m.log.get(&index).is_some_and(|t| *t != term);
        Some(if self.members.values().any(other) { Mark::Lost } else { Mark::Stored })
    }

    /// Returns the indexes worth a line, oldest first: the newest, and those with which a member
    /// stays behind.
    pub(crate) fn lines(&self, room: usize) -> Vec<u64> {
        let behind: BTreeSet<u64> = self
            .members
            .iter()
            .filter_map(|(name, m)| {
                let open = m.log.keys().rev().take_while(|i| **i > m.applied).copied();
                open.filter(|i| self.mark(name, *i) == Some(Mark::Lost)).min()
            })
            .take(room.saturating_sub(1))
            .collect();
        let all: BTreeSet<u64> = self.members.values().flat_map(|m| m.log.keys().copied()).collect();
        let newest = all.iter().rev().copied().filter(|i| !behind.contains(i));
        let mut lines: Vec<u64> = newest.take(room.saturating_sub(behind.len())).collect();
        lines.extend(behind);
        lines.sort_unstable();
        lines
    }
}

fn ordered(a: &str, b: &str) -> (String, String) {
    if a <= b { (a.into(), b.into()) } else { (b.into(), a.into()) }
}
