//! Ropewalk's core as a subject.

use crate::subject::{ELECTION_TICKS, HEARTBEAT_TICKS, Out, Subject, View};
use bytes::Bytes;
use ropewalk_raft::{Body, Core, Message, Payload, Raft, Stored};

pub struct Ours {
    id: u64,
    disk: Stored,
    core: Raft,
}

fn core(id: u64, disk: &Stored) -> Raft {
    let config = ropewalk_raft::Config {
        id,
        election_ticks: ELECTION_TICKS as u32,
        heartbeat_ticks: HEARTBEAT_TICKS as u32,
        seed: id,
    };
    Raft::new(config, disk.clone())
}

impl Subject for Ours {
    type Message = Message;
    const NAME: &'static str = "ropewalk";

    fn new(id: u64, members: u64) -> Ours {
        let snapshot = ropewalk_raft::SnapshotRef {
            conf: ropewalk_raft::ConfState::of(1..=members),
            ..ropewalk_raft::SnapshotRef::default()
        };
        let disk = Stored { snapshot, ..Stored::default() };
        Ours { id, core: core(id, &disk), disk }
    }

    fn restart(&mut self) {
        self.core = core(self.id, &self.disk);
    }

    fn set_timeout(&mut self, ticks: usize) {
        self.core.set_election_timeout(ticks as u32);
    }

    fn tick(&mut self) {
        self.core.tick();
    }

    fn step(&mut self, message: Message) {
        self.core.step(message);
    }

    fn propose(&mut self, data: Vec<u8>) -> bool {
        self.core.propose(Bytes::from(data)).is_ok()
    }

    fn read(&mut self, ctx: u64) {
        let _ = self.core.read_index(ctx); // without a leader there is no answer, as with theirs
    }

    fn transfer(&mut self, to: u64) {
        self.core.transfer(to);
    }

    fn pump(&mut self) -> Out<Message> {
        let mut out = Out { messages: vec![], committed: vec![], reads: vec![] };
        while let Some(ready) = self.core.ready() {
            if let Some(hard) = ready.hard {
                self.disk.hard = hard;
            }
            if let Some(from) = ready.truncate_from {
                self.disk.entries.retain(|e| e.index < from);
            }
            self.disk.entries.extend(ready.append);
            let sent = ready.send.into_iter().chain(ready.send_after_persist);
            out.messages.extend(sent.map(|m| (m.to, m)));
            for entry in ready.committed {
                let data = match entry.payload {
                    Payload::Normal(data) => data.to_vec(),
                    Payload::Empty | Payload::ConfChange(_) => vec![],
                };
                out.committed.push((entry.index, entry.term, data));
            }
            out.reads.extend(ready.reads);
            self.core.persisted(ready.batch);
        }
        debug_assert!(out.messages.iter().all(|(_, m)| !matches!(m.body, Body::MsgSnap(_))));
        out
    }

    fn view(&self) -> View {
        let status = self.core.status();
        View {
            term: status.term,
            leads: status.role == ropewalk_raft::Role::Leader,
            leader: status.leader,
            commit: status.commit,
            last: (status.last, self.core.term_of(status.last).unwrap_or_default()),
        }
    }
}
