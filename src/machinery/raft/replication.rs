//! Log replication and commit.

use super::core::{MESSAGE_BYTES, Raft};
use super::message::{Body, Entry, Event, Index, MemberId, ProgressState, Role, Term};

impl Raft {
    /// A heartbeat tells a follower how far entries are committed, but no further than it is known
    /// to have the log: with commit 9 and a follower that has confirmed 7 it says 7.
    pub(super) fn broadcast_heartbeat(&mut self) {
        // A read that comes after this must not be confirmed by it.
        self.want_heartbeat = false;
        let read = self.read_seq;
        let others: Vec<(MemberId, Index)> = self.progress.iter().map(|(id, p)| (*id, p.matched)).collect();
        for (to, matched) in others {
            // never ahead of what it is known to have
            let commit = self.commit.min(matched);
            self.send(to, Body::MsgHeartbeat { commit, read });
        }
    }

    pub(super) fn broadcast_append(&mut self, even_empty: bool) {
        let others: Vec<MemberId> = self.progress.keys().copied().collect();
        for to in others {
            self.send_append(to, even_empty);
        }
    }

    /// Sends what the follower may get now; `even_empty` also if that is only the commit index.
    pub(super) fn send_append(&mut self, to: MemberId, even_empty: bool) {
        let (last, commit) = (self.log.last().0, self.commit);
        let mut even_empty = even_empty;
        loop {
            let Some(progress) = self.progress.get_mut(&to) else { return };
            let room = progress.ready();
            if !room && (progress.state != ProgressState::Replicate || !even_empty) {
                return;
            }
            let index = progress.next - 1;
            let Some(log_term) = self.log.term(index) else {
                self.send_snapshot(to);
                return;
            };
            let entries = if room { self.log.slice(index + 1, last, MESSAGE_BYTES) } else { vec![] };
            if entries.is_empty() && !even_empty {
                return;
            }
            even_empty = false;
            if let Some(entry) = entries.last() {
                progress.sent(entry.index);
            } else if progress.state == ProgressState::Probe {
                progress.paused = true;
            }
            self.send(to, Body::MsgApp { index, log_term, entries, commit });
        }
    }

    /// A leader's entries. What we have beyond agreement is dropped; what is missing is asked for.
    ///
    /// The follower has entries 1 to 5, of which 4 and 5 are of an old leader's term 2, and none of
    /// them is committed beyond 3:
    ///
    /// ```text
    /// from 3 (term 1): entry 4 of term 3    5 and 4 are dropped, the new 4 is taken; answer: 4
    /// from 6 (term 3): entry 7              rejected, with a hint where the logs may agree
    /// from 2 (term 1): entry 3, known       nothing changes; answer: 3
    /// ```
    ///
    /// A committed entry is never dropped: a majority has it, so every later leader does.
    pub(super) fn on_append(
        &mut self,
        from: MemberId,
        prev: (Index, Term),
        entries: Vec<Entry>,
        commit: Index,
    ) {
        let yes = |index| Body::MsgAppResp { index, reject: false, hint_index: 0, hint_term: 0 };
        if prev.0 < self.commit {
            let index = self.commit;
            return self.send(from, yes(index));
        }
        if self.log.term(prev.0) != Some(prev.1) {
            let (hint_index, hint_term) = self.log.conflict(prev.0, prev.1);
            let no = Body::MsgAppResp { index: prev.0, reject: true, hint_index, hint_term };
            return self.send(from, no);
        }
        let end = prev.0 + entries.len() as u64;
        let mut news: Option<Event> = None;
        for entry in entries {
            match self.log.term(entry.index) {
                Some(term) if term == entry.term => continue,
                Some(_) => self.truncate(entry.index),
                None => {}
            }
            let first = match news {
                Some(Event::Append { first, .. }) => first,
                _ => entry.index,
            };
            news = Some(Event::Append { first, last: entry.index, term: entry.term });
            self.adopt(entry);
        }
        if let Some(news) = news {
            self.event(news);
        }
        self.set_commit(commit.min(end));
        self.send(from, yes(end));
    }

    pub(super) fn on_append_response(
        &mut self,
        from: MemberId,
        index: Index,
        reject: bool,
        hint: (Index, Term),
    ) {
        // a follower cannot have an entry that was never sent
        if self.role != Role::Leader || (!reject && index > self.log.last().0) {
            return;
        }
        let first = self.log.base() + 1;
        let agreed = if reject { self.log.conflict(hint.0, hint.1).0 } else { index };
        let Some(progress) = self.progress.get_mut(&from) else { return };
        progress.active = true;
        let changed = match reject {
            true => progress.rejected(index, agreed),
            false => progress.accepted(index, first),
        };
        let (state, matched) = (progress.state, progress.matched);
        if changed {
            self.event(Event::Progress { member: from, state });
        }
        if !reject {
            self.maybe_commit();
            self.continue_transfer(from, matched);
        }
        if self.role == Role::Leader {
            self.send_append(from, reject && changed);
        }
    }

    pub(super) fn on_heartbeat_response(&mut self, from: MemberId, read: u64) {
        let last = self.log.last().0;
        if self.role != Role::Leader {
            return;
        }
        let Some(progress) = self.progress.get_mut(&from) else { return };
        progress.active = true;
        progress.paused = false; // a lost probe is sent again
        progress.read = progress.read.max(read);
        // An answer to a message sent ahead may have been lost, too: an empty message asks where it
        // stands.
        if progress.matched < last || progress.state == ProgressState::Probe {
            self.send_append(from, true);
        }
        self.check_reads();
    }

    /// Commits what a majority has made durable, if it is of this term (section 5.4.2 of the
    /// paper).
    ///
    /// Three members in term 4, durable up to 9, 8 and 5: a majority has 8. If entry 8 is of term 4
    /// it is committed, and everything before it. If it is of term 3 it is not yet: a leader with a
    /// newer term's entry could still replace it, although a majority has it (figure 8 of the
    /// paper).
    pub(super) fn maybe_commit(&mut self) {
        let me = self.id();
        let durable = |id: &MemberId| match *id == me {
            true => self.persisted,
            false => self.progress.get(id).map_or(0, |p| p.matched),
        };
        let mut durable: Vec<Index> = self.conf().voters.iter().map(durable).collect();
        durable.sort_unstable_by(|a, b| b.cmp(a));
        let Some(index) = durable.get(self.conf().quorum() - 1).copied() else { return };
        if index <= self.commit || self.log.term(index) != Some(self.term) {
            return;
        }
        self.set_commit(index);
        self.want_append = true; // tells the others
        for (ctx, from) in std::mem::take(&mut self.early_reads) {
            self.lead_read(ctx, from);
        }
        self.end_change();
    }
}
