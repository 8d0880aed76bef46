//! The scripts in `golden`: a group of members, its messages and what happens inside them.
//!
//! `group N` makes members 1 to N. `timeout ID` lets a member's election timeout pass,
//! `tick ID n=N` lets time pass for it, `propose ID VALUE`, `read ID ctx=N`, `transfer ID to=ID`
//! and `crash ID` are what they say. `cut ID` loses what a member sends and gets, until `heal`.
//! `deliver` carries all messages, and those that answer them; `deliver rounds=N` carries N rounds,
//! `deliver from=ID rounds=1` what one member has said.

use super::paper::One;
use super::{
    Body, Core, Entry, Event, MemberId, Message, Payload, ProgressState, SnapshotRef, Stored, codec,
};
use ::golden::{Answer, Args, Command, Context, Runner, unknown};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

#[test]
fn golden() {
    ::golden::run(env!("CARGO_MANIFEST_DIR"), Group::default);
}

/// Rounds in which a group without faults comes to rest.
const ROUNDS: usize = 100;

#[derive(Default)]
struct Group {
    members: BTreeMap<MemberId, One>,
    cut: BTreeSet<MemberId>,
}

impl Runner for Group {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Answer {
        let mut args = Args::of(command);
        let mut out = String::new();
        match command.name.as_str() {
            "group" => {
                let size = args.next("the number of members")?;
                self.members = (1..=size).map(|id| (id, One::with(id, size, &[], 0, 0))).collect();
            }
            "deliver" => out = self.deliver(args.key("from")?, args.key("rounds")?)?,
            "heal" => self.cut.clear(),
            "status" => out = self.status(),
            name => {
                let id = args.next("the member")?;
                let member = self.members.get_mut(&id).ok_or("no such member")?;
                match name {
                    "cut" => drop(self.cut.insert(id)),
                    "timeout" => writeln!(out, "{id}: after {} ticks", member.time_out())?,
                    "tick" => (0..args.key("n")?.unwrap_or(1)).for_each(|_| member.tick()),
                    "propose" => {
                        let data = Bytes::from(args.next::<String>("the value")?);
                        member.core.propose(data)?;
                    }
                    "read" => member.core.read_index(args.key("ctx")?.ok_or("ctx= is missing")?)?,
                    "transfer" => member.core.transfer(args.key("to")?.ok_or("to= is missing")?),
                    "crash" => *member = restarted(id, member),
                    "log" => out = log(member),
                    _ => return unknown(command),
                }
                member.pump();
                out = told(id, member) + &out;
            }
        }
        args.end()?;
        Ok(out)
    }
}

impl Group {
    fn deliver(&mut self, only: Option<MemberId>, rounds: Option<usize>) -> Answer {
        let mut out = String::new();
        for round in 0.. {
            if rounds == Some(round) {
                break;
            }
            let heard = self.members.iter_mut().filter(|(id, _)| only.is_none_or(|only| only == **id));
            let messages: Vec<Message> = heard.flat_map(|(_, member)| member.says()).collect();
            if messages.is_empty() {
                break;
            }
            if round == ROUNDS {
                return Err("the members do not come to rest".into());
            }
            for message in messages {
                let (from, to) = (message.from, message.to);
                write!(out, "{from} -> {to}  {}", text(&message))?;
                if self.cut.contains(&from) || self.cut.contains(&to) {
                    writeln!(out, "  (lost)")?;
                    continue;
                }
                writeln!(out)?;
                let member = self.members.get_mut(&to).ok_or("a message to no member")?;
                member.core.step(message);
                member.pump();
                for line in told(to, member).lines() {
                    writeln!(out, "        {line}")?;
                }
            }
        }
        Ok(out)
    }

    fn status(&self) -> String {
        let mut out = String::new();
        for member in self.members.values() {
            let s = member.core.status();
            let (id, role, term, leader) = (s.id, s.role, s.term, s.leader);
            let _ = writeln!(
                out,
                "{id}: {role}, term {term}, leader {leader}, commit {}, last {}",
                s.commit, s.last
            );
            for (follower, matched, state) in s.progress.iter().filter(|(follower, ..)| *follower != id) {
                let _ = writeln!(out, "   {follower} has {matched}: {}", treated(*state));
            }
        }
        out
    }
}

/// The same member after its process was killed: it has what its disk has.
fn restarted(id: MemberId, member: &One) -> One {
    let snapshot = SnapshotRef { conf: member.core.conf().clone(), ..SnapshotRef::default() };
    One::stored(id, Stored { hard: member.hard, snapshot, entries: member.disk.clone() })
}

fn log(member: &One) -> String {
    let commit = member.core.status().commit;
    let line = |entry: &Entry| {
        let mark = if entry.index <= commit { "committed" } else { "" };
        format!("{} (term {}) {} {mark}", entry.index, entry.term, value(&entry.payload))
    };
    member.disk.iter().map(|entry| line(entry).trim_end().to_string() + "\n").collect()
}

fn value(payload: &Payload) -> String {
    match payload {
        Payload::Empty => "empty".into(),
        Payload::Normal(data) => String::from_utf8_lossy(data).into_owned(),
        Payload::ConfChange(conf) => format!("voters {:?}", conf.voters),
    }
}

fn treated(state: ProgressState) -> String {
    match state {
        ProgressState::Probe => "Probe".into(),
        ProgressState::Replicate => "Replicate".into(),
        ProgressState::Snapshot(index) => format!("Snapshot {index}"),
    }
}

/// A message with what it says, after it has been through its form on the wire.
fn text(message: &Message) -> String {
    let wire = Bytes::from(codec::encode_message(message));
    let message = codec::decode_message(wire).expect("what was encoded can be decoded");
    let says = match &message.body {
        Body::MsgApp { index, log_term, entries, commit } => {
            let entries: Vec<String> =
                entries.iter().map(|e| format!("{}={}", e.index, value(&e.payload))).collect();
            format!("after {index} (term {log_term}): [{}], commit {commit}", entries.join(", "))
        }
        Body::MsgAppResp { index, reject: false, .. } => format!("has {index}"),
        Body::MsgAppResp { index, hint_index, hint_term, .. } => {
            format!("lacks {index}; look at {hint_index} (term {hint_term})")
        }
        Body::MsgHeartbeat { commit, read } => format!("commit {commit}, read {read}"),
        Body::MsgHeartbeatResp { read } => format!("read {read}"),
        Body::MsgPreVote { index, log_term } | Body::MsgVote { index, log_term, .. } => {
            format!("log ends at {index} (term {log_term})")
        }
        Body::MsgPreVoteResp { reject } | Body::MsgVoteResp { reject } => {
            if *reject { "no" } else { "yes" }.into()
        }
        Body::MsgSnap(snapshot) => format!("up to {}", snapshot.index),
        Body::MsgProp { data } => String::from_utf8_lossy(data).into_owned(),
        Body::MsgReadIndex { ctx } => format!("ctx {ctx}"),
        Body::MsgReadIndexResp { ctx, index } => format!("ctx {ctx}: from index {index} on"),
        Body::MsgTimeoutNow | Body::MsgAsk { .. } | Body::MsgAnswer { .. } => String::new(),
    };
    format!("{}, term {}: {says}", message.body.name(), message.term).trim_end_matches([' ', ':']).into()
}

/// What happened inside a member since the last question.
fn told(id: MemberId, member: &mut One) -> String {
    let kind = |pre: bool| if pre { " (pre-vote)" } else { "" };
    let line = |event: Event| match event {
        Event::Role { term, role } => format!("becomes {role} in term {term}"),
        Event::Leader { leader: 0, .. } => "knows no leader".into(),
        Event::Leader { term, leader } => format!("knows leader {leader} of term {term}"),
        Event::ElectionTimeout { term } => format!("election timeout in term {term}"),
        Event::Voted { term, to, pre } => format!("votes for {to} in term {term}{}", kind(pre)),
        Event::Refused { term, to, pre, why } => {
            format!("refuses {to} in term {term}{}: {why:?}", kind(pre))
        }
        Event::Append { first, last, term } => format!("appends {first} to {last} of term {term}"),
        Event::Truncate { from } => format!("deletes entries from {from} on"),
        Event::Commit { index } => format!("commit {index}"),
        Event::Conf(conf) => format!("voters {:?}, learners {:?}", conf.voters, conf.learners),
        Event::Progress { member, state } => format!("treats {member} as {}", treated(state)),
        Event::ReadConfirmed { ctx, index } => format!("read {ctx} may be answered from index {index} on"),
        Event::Transfer { to } => format!("hands over to {to}"),
        Event::StepDown { why } => format!("steps down: {why}"),
        Event::SnapshotInstalled { index } => format!("installs a snapshot of {index}"),
        Event::Compacted { upto } => format!("forgets up to {upto}"),
    };
    member.events.drain(..).map(|event| format!("{id}: {}\n", line(event))).collect()
}
