//! raft-rs as a subject.

use crate::subject::{ELECTION_TICKS, HEARTBEAT_TICKS, Out, Subject, View};
use raft::eraftpb::{ConfState, Entry, Message};
use raft::storage::MemStorage;
use raft::{Config, RawNode, Storage};

pub struct Theirs {
    id: u64,
    disk: MemStorage,
    applied: u64,
    node: RawNode<MemStorage>,
}

fn quiet() -> slog::Logger {
    slog::Logger::root(slog::Discard, slog::o!())
}

fn node(id: u64, disk: &MemStorage) -> RawNode<MemStorage> {
    let config = Config {
        id,
        election_tick: ELECTION_TICKS,
        heartbeat_tick: HEARTBEAT_TICKS,
        check_quorum: true,
        pre_vote: true,
        max_size_per_msg: 1 << 20,
        max_inflight_msgs: 256,
        ..Config::default()
    };
    RawNode::new(&config, disk.clone(), &quiet()).expect("a sound configuration")
}

impl Theirs {
    fn write(&self, entries: &[Entry]) {
        self.disk.wl().append(entries).expect("the log has no gaps");
    }
}

fn deliver(entries: Vec<Entry>, applied: &mut u64, out: &mut Vec<(u64, u64, Vec<u8>)>) {
    for entry in entries {
        *applied = entry.index;
        out.push((entry.index, entry.term, entry.data.to_vec()));
    }
}

impl Subject for Theirs {
    type Message = Message;
    const NAME: &'static str = "raft-rs";

    fn new(id: u64, members: u64) -> Theirs {
        let voters: Vec<u64> = (1..=members).collect();
        let disk = MemStorage::new_with_conf_state(ConfState::from((voters, vec![])));
        Theirs { id, node: node(id, &disk), applied: 0, disk }
    }

    fn restart(&mut self) {
        self.node = node(self.id, &self.disk);
        self.applied = 0;
    }

    fn set_timeout(&mut self, ticks: usize) {
        self.node.raft.set_randomized_election_timeout(ticks);
    }

    fn tick(&mut self) {
        self.node.tick();
    }

    fn step(&mut self, message: Message) {
        let _ = self.node.step(message); // it says when it ignores a message
    }

    fn propose(&mut self, data: Vec<u8>) -> bool {
        self.node.propose(vec![], data).is_ok()
    }

    fn read(&mut self, ctx: u64) {
        self.node.read_index(ctx.to_be_bytes().to_vec());
    }

    fn transfer(&mut self, to: u64) {
        self.node.transfer_leader(to);
    }

    fn pump(&mut self) -> Out<Message> {
        let mut out = Out { messages: vec![], committed: vec![], reads: vec![] };
        let mut sent = vec![];
        while self.node.has_ready() {
            let mut ready = self.node.ready();
            sent.extend(ready.take_messages());
            out.reads.extend(ready.take_read_states().into_iter().filter_map(|r| {
                let ctx = <[u8; 8]>::try_from(r.request_ctx.as_slice()).ok()?;
                Some((u64::from_be_bytes(ctx), r.index))
            }));
            deliver(ready.take_committed_entries(), &mut self.applied, &mut out.committed);
            self.write(ready.entries());
            if let Some(hard) = ready.hs() {
                self.disk.wl().set_hardstate(hard.clone());
            }
            sent.extend(ready.take_persisted_messages());
            let mut light = self.node.advance(ready);
            if let Some(commit) = light.commit_index() {
                self.disk.wl().mut_hard_state().set_commit(commit);
            }
            sent.extend(light.take_messages());
            deliver(light.take_committed_entries(), &mut self.applied, &mut out.committed);
            self.node.advance_apply();
        }
        out.messages.extend(sent.into_iter().map(|m| (m.to, m)));
        out
    }

    fn view(&self) -> View {
        let raft = &self.node.raft;
        let last = raft.raft_log.last_index();
        View {
            term: raft.term,
            leads: raft.state == raft::StateRole::Leader,
            leader: raft.leader_id,
            commit: raft.raft_log.committed,
            last: (last, self.disk.term(last).unwrap_or_default()),
        }
    }
}
