//! What goes wrong in a simulated world: links, power, room on disks, and an operator who changes
//! the configuration back and forth.

use super::guest::Guest;
use super::world::{Bug, World};
use crate::member::Write;
use crate::{ConfChange, MemberId};
use nix::libc;

/// Errors of the system for a want that may pass: of descriptors, of memory, or of a moment without
/// signals.
const SCARCE: [i32; 5] = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EAGAIN, libc::EINTR];

impl<G: Guest> World<G> {
    pub(super) fn faults(&mut self) {
        let chance = self.chance_fault.clone();
        if self.now >= self.heal_at && chance.chance(0.006) {
            self.group = (1..=self.weather.members).filter(|_| chance.chance(0.4)).collect();
            self.one_way = chance.chance(0.3);
            self.heal_at = self.now + chance.range(20, 120);
        }
        let doomed: Vec<MemberId> =
            self.doomed.extract_if(.., |_, at| *at <= self.now).map(|(id, _)| id).collect();
        for id in doomed {
            self.crash(id);
            self.nodes.entry(id).and_modify(|node| node.restart_at = self.now + 1);
        }
        let often = matches!(self.weather.bug, Some(Bug::AckBeforeFsync | Bug::LostVote | Bug::AckFullDisk));
        if chance.chance(if often { 0.02 } else { 0.004 }) {
            // a member that is writing has more to lose
            let busy =
                self.nodes.iter().filter(|(_, n)| n.live.as_ref().is_some_and(|l| !l.writing.is_empty()));
            let busy: Vec<MemberId> = busy.map(|(id, _)| *id).collect();
            let any = chance.range(1, self.weather.members + 1);
            let id = busy.get(chance.range(0, 2 * busy.len() as u64) as usize).copied().unwrap_or(any);
            self.crash(id);
        }
    }

    /// Now and then a disk has room for a write or two only, or nothing can be opened. Some file
    /// systems need room for every write, others where a file grows.
    pub(super) fn fill_disks(&mut self) {
        let (now, chance) = (self.now, &self.chance_room);
        let often = matches!(self.weather.bug, Some(Bug::AckFullDisk | Bug::RefusedUnderWay));
        for node in self.nodes.values_mut() {
            if !self.calm && node.full_until == 0 && chance.chance(if often { 0.02 } else { 0.003 }) {
                node.full_until = now + chance.range(10, 150);
                let bytes = chance.range(0, 1500) as usize;
                match chance.range(0, 3) {
                    0 => node.disk.fill(bytes),
                    1 => node.disk.set_room(Some(bytes)),
                    _ => node.disk.set_scarce(Some(SCARCE[bytes % SCARCE.len()])),
                }
            }
            if node.full_until > 0 && (node.full_until <= now || self.calm) {
                node.full_until = 0;
                node.disk.set_room(None);
                node.disk.set_scarce(None);
            }
        }
    }

    /// An operator moves leadership about and changes who votes.
    pub(super) fn operator(&mut self) {
        let chance = self.chance_fault.clone();
        for live in self.nodes.values_mut().filter_map(|n| n.live.as_mut()) {
            if !live.member.is_leader() {
                continue;
            }
            if chance.chance(0.003) {
                live.member.transfer(chance.range(1, self.weather.members + 1));
            }
            if chance.chance(0.008) {
                let who = chance.range(1, self.weather.members + 1);
                let conf = live.member.core().conf();
                let removals = self.weather.removals;
                let change = match (conf.voters.contains(&who), conf.learners.contains(&who)) {
                    (true, _) if conf.voters.len() <= 2 => None,
                    (true, _) if removals && chance.chance(0.5) => Some(ConfChange::RemoveNode(who)),
                    (true, _) => Some(ConfChange::AddLearnerNode(who)),
                    (false, true) if removals && chance.chance(0.2) => Some(ConfChange::RemoveNode(who)),
                    (false, true) => Some(ConfChange::AddNode(who)),
                    // A member that was removed may not vote before it has the log again.
                    (false, false) => Some(ConfChange::AddLearnerNode(who)),
                };
                if let Some(change) = change.filter(|c| live.member.propose_conf(*c).is_ok()) {
                    self.tally.confs += 1;
                    self.tally.removed += usize::from(matches!(change, ConfChange::RemoveNode(_)));
                }
            }
        }
    }

    /// After the storm the operator adds the members again that were removed, as learners: at the
    /// end all must agree.
    pub(super) fn readmit(&mut self) {
        let all: Vec<MemberId> = self.nodes.keys().copied().collect();
        for live in self.nodes.values_mut().filter_map(|n| n.live.as_mut()) {
            let conf = live.member.core().conf();
            let is_out = |id: &&MemberId| !conf.voters.contains(id) && !conf.learners.contains(id);
            if live.member.is_leader()
                && let Some(id) = all.iter().find(is_out)
            {
                // Refused while the change before is not committed: the next step proposes it
                // again.
                let _ = live.member.propose_conf(ConfChange::AddLearnerNode(*id));
            }
        }
    }

    /// The program is killed, and half the time the power goes with it: then what was not synced
    /// may be gone.
    pub(super) fn crash(&mut self, id: MemberId) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let Some(mut live) = node.live.take() else { return };
        // what was on its way may be half on the platter
        match self.chance_disk.chance(0.3) {
            true => node.disk.break_writeback(), // the disk failed it: that is why the program ends
            false => node.disk.break_sync(),
        }
        let begun = self.chance_disk.range(0, live.writing.len() as u64 + 1).max(1) as usize;
        let begun = begun.min(live.writing.len());
        let writes: Vec<Write> = live.writing.drain(..begun).map(|(_, w)| w).collect();
        let whole = writes.iter().take_while(|w| w.snapshot.is_none()).count();
        if whole > 0 {
            let _ = live.wal.append(writes[..whole].iter().map(|w| &w.records));
        } else if let Some(snapshot) = writes.first().and_then(|w| w.snapshot.as_ref()) {
            let _ = live.wal.save_snapshot(snapshot); // its records come after it is durable, so never
        }
        drop(live);
        if self.chance_disk.chance(0.5) || self.weather.bug == Some(Bug::AckBeforeFsync) {
            node.disk.crash(&self.chance_disk);
        }
        node.disk.mend_sync();
        node.restart_at = self.now + self.chance_fault.range(5, 80);
        self.tally.crashes += 1;
        self.guest.ends(id);
    }
}
