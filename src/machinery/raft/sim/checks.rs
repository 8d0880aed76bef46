//! What must always be true of the members' log and of their votes.

use super::guest::Guest;
use super::world::{Bug, Live, Node, World};
use crate::{Body, Core, Event, MemberId, Message, Role};
use std::hash::Hash;

impl<G: Guest> World<G> {
    pub(super) fn check(&mut self, id: MemberId) {
        let seed = self.seed;
        let Some(Node { live: Some(live), shown, .. }) = self.nodes.get_mut(&id) else { return };
        *shown = live.member.applied().max(*shown);
        let (term, commit) = (live.member.core().term, live.member.core().commit);
        assert!(term >= live.term, "seed {seed}: member {id} went back in terms");
        assert!(commit >= live.commit, "seed {seed}: member {id} went back in commits");
        (live.term, live.commit) = (term, commit);
        let witness = live.member.machine();
        let (events, fresh) = (std::mem::take(&mut witness.events), std::mem::take(&mut witness.fresh));
        let reads = std::mem::take(&mut witness.reads);
        for event in events {
            if self.bug(Bug::LostVote) && matches!(event, Event::Voted { pre: false, .. }) {
                // A lost vote shows only if the member is back while others still ask for its vote:
                // it is killed soon.
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
        self.guest.look(self.now, id, &fresh, &reads);
    }

    /// If two logs agree on an entry, they agree on all before it.
    pub(super) fn check_log_matching(&self) {
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

    /// No member votes twice in a term, whatever happened in between.
    pub(super) fn check_vote(&mut self, m: &Message) {
        let candidate = match m.body {
            Body::MsgVote { .. } => m.from,
            Body::MsgVoteResp { reject: false } => m.to,
            _ => return,
        };
        let (seed, voter) = (self.seed, m.from);
        let before = *self.votes.entry((m.term, voter)).or_insert(candidate);
        assert_eq!(before, candidate, "seed {seed}: member {voter} voted twice in term {}", m.term);
    }
}
