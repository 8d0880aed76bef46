//! What happens by chance in a step: on the wire, at the disks and at the clients.

use super::*;

impl<G: Guest> World<G> {
    pub(super) fn send(&mut self, mut message: Message) {
        if wants_data(&message) {
            let Some(node) = self.nodes.get(&message.from) else { return };
            match snapfile::load(&node.disk, Path::new(SNAP_DIR)) {
                Ok(Some(newest)) => message.body = Body::MsgSnap(newest),
                _ => return,
            }
        }
        // the bytes are part of what is tested
        let bytes = codec::encode_message(&message);
        let message = codec::decode_message(bytes.into()).unwrap();
        if self.chance_net.chance(0.01) {
            self.forge(&message);
        }
        self.check_vote(&message);
        if !self.calm && self.chance_net.chance(self.loss) {
            return;
        }
        let delay = if self.calm { 1 } else { 1 + self.chance_net.range(0, self.delay) };
        // a stream may be cut, but it does not repeat a proposal
        let repeat =
            !matches!(message.body, Body::MsgProp { .. }) && !self.calm && self.chance_net.chance(0.02);
        if repeat {
            let late = self.chance_net.range(1, 30);
            self.deliver(delay + late, message.clone());
        }
        self.deliver(delay, message);
    }

    /// What an attacker could make of a message on its way is refused, or is a message whose
    /// numbers can be counted with.
    fn forge(&self, message: &Message) {
        let forged = |from, term| {
            let forged = Message { from, term, ..message.clone() };
            codec::decode_message(codec::encode_message(&forged).into())
        };
        assert!(forged(message.from, u64::MAX).is_err() && forged(NONE, message.term).is_err());
        let mut bytes = codec::encode_message(message);
        let at = self.chance_net.range(0, bytes.len() as u64) as usize;
        bytes[at] = self.chance_net.range(0, 256) as u8;
        if let Ok(bent) = codec::decode_message(bytes.into()) {
            assert!(bent.term < codec::COUNT_MAX && bent.from != NONE, "seed {}: {bent:?}", self.seed);
        }
    }

    /// `delay` is at least one step.
    fn deliver(&mut self, delay: u64, message: Message) {
        let at = delay as usize - 1;
        if self.net.len() <= at {
            self.net.resize_with(at + 1, Vec::new);
        }
        self.net[at].push(message);
    }

    pub(super) fn cut(&self, m: &Message) -> bool {
        let (from, to) = (self.group.contains(&m.from), self.group.contains(&m.to));
        !self.calm && self.now < self.heal_at && from != to && (!self.one_way || from)
    }

    pub(super) fn clients(&mut self) {
        let members = up(&mut self.nodes);
        self.guest.act(self.now, self.quiet, members);
    }

    /// Group commit: all that is due goes with one sync, a snapshot before its records and after
    /// those of others. `true` if something was written.
    pub(super) fn write(&mut self, id: MemberId, out: &mut Outbox) -> bool {
        let (now, lie, time) = (self.now, self.bug(Bug::AckBeforeFsync), self.time());
        let Some(live) = self.nodes.get_mut(&id).and_then(|n| n.live.as_mut()) else { return false };
        let count = match live.stuck {
            Some((_, again)) if again > now => return false,
            Some((count, _)) => count, // the same ones, as the real log does
            None => {
                let due = live.writing.iter().take_while(|(due, _)| *due <= now);
                let alone = due.clone().take_while(|(_, w)| w.snapshot.is_none()).count();
                alone.max(due.count().min(1))
            }
        };
        let group: Vec<Write> = live.writing.drain(..count).map(|(_, write)| write).collect();
        if group.is_empty() {
            return false;
        }
        let written = write_group(&mut live.wal, &group);
        let was_stuck = live.stuck.take().is_some();
        match &written {
            Ok(persisted) => {
                self.tally.snapshots += group.iter().filter(|w| w.snapshot.is_some()).count();
                if !lie {
                    live.member.persisted(persisted, time, out);
                }
                if was_stuck {
                    self.guest.disk(id, false);
                }
            }
            Err(e) if live.wal.may_retry(e) => {
                group.into_iter().rev().for_each(|write| live.writing.push_front((now, write)));
                live.stuck = Some((count, now + room_period()));
                self.tally.full += 1;
                if self.weather.bug == Some(Bug::AckFullDisk) {
                    // a write that only its member believes in is missed when that member comes
                    // back
                    self.doomed.insert(id, now + self.chance_fault.range(1, 40));
                }
                if !was_stuck {
                    self.guest.disk(id, true);
                }
            }
            Err(e) => panic!("seed {}: {e}", self.seed),
        }
        written.is_ok()
    }

    pub(super) fn disks(&mut self, id: MemberId) {
        let (now, time) = (self.now, self.time());
        let mut out = Outbox::default();
        while self.write(id, &mut out) {}
        let lie = self.bug(Bug::AckFullDisk);
        let Some(Node { disk, live: Some(live), .. }) = self.nodes.get_mut(&id) else { return };
        if lie && live.stuck.is_some() {
            let due = live.writing.iter().rfind(|(due, _)| *due <= now);
            let batch = due.map_or(0, |(_, write)| write.batch);
            live.member.persisted(&Persisted { batch, ..Persisted::default() }, time, &mut out);
        }
        for (_, snapshot) in live.saving.extract_if(.., |(due, _)| *due <= now) {
            let saved = match snapfile::save(disk, Path::new(SNAP_DIR), &snapshot) {
                Ok(()) => Some(SnapshotRef { data: Bytes::new(), ..snapshot }),
                Err(e) if e.is_scarcity() => None,
                Err(e) => panic!("seed {}: {e}", self.seed),
            };
            live.member.snapshot_saved(saved, &mut out);
        }
        self.take(id, out);
        self.pump(id);
    }
}
