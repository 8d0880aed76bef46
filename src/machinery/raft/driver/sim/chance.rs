//! What happens by chance: turns of the log, proposals, ends, and faults of disks.

use super::*;

impl World {
    pub(super) fn log_turn(&mut self, at: usize) {
        let bug = self.bug;
        let Some(live) = &mut self.nodes[at].live else { return };
        if live.log_ended {
            return;
        }
        let Opened { writer, queue, handle, .. } = &mut live.opened;
        while let Ok(job) = queue.try_recv() {
            writer.pending.push_back(job);
        }
        let writes = writer.pending.iter().filter_map(|job| match job {
            Job::Write(write) => Some(write),
            Job::Release(_) => None,
        });
        let stuck = writer.stuck.iter().flat_map(|(group, _)| group);
        let snapshots = stuck.chain(writes).filter(|write| write.snapshot.is_some()).count();
        assert!(snapshots <= 1, "seed {}: {snapshots} snapshots wait for the disk", self.seed);
        if bug == Some(Bug::DropsStuck) {
            writer.stuck = None;
        }
        let waited = writer.stuck.is_some();
        if bug == Some(Bug::Early)
            && let Some((group, _)) = &writer.stuck
        {
            let batch = group.last().map_or(0, |write| write.batch);
            let _ = handle.inbox.send(Input::Persisted(Persisted { batch, ..Persisted::default() }));
        }
        live.log_ended = !writer.turn(queue, &handle.inbox, false);
        let retried = waited && writer.stuck.is_some();
        let releases = writer.pending.iter().any(|job| matches!(job, Job::Release(_)));
        assert!(!retried || !releases, "seed {}: what would make room waits for room", self.seed);
    }

    pub(super) fn propose(&mut self, at: usize) {
        let id = self.next;
        if self.goal.is_some_and(|goal| self.is_acked(goal)) {
            return;
        }
        let Some(live) = &mut self.nodes[at].live else { return };
        self.next += 1;
        let mut data = id.to_le_bytes().to_vec();
        data.resize(8 + self.rng.range(0, 700) as usize, 7);
        live.opened.run.member.machine().mine.insert(id);
        live.opened.handle.propose(id, data.into());
    }

    /// Ends a member: the program is killed, or ordered to stop, and the power may go.
    pub(super) fn end(&mut self, at: usize, graceful: bool) {
        let (seed, node) = (self.seed, &mut self.nodes[at]);
        let Some(live) = node.live.take() else { return };
        let Live { opened, threads, mut log_ended, .. } = live;
        let Opened { mut run, inputs, mut writer, queue, handle, lock, .. } = opened;
        let mut how = Flow::Kill;
        if graceful {
            // It handles what came before, as it stands in the same queue.
            let left: Vec<Input> = inputs.try_iter().collect();
            let _ = run.turn(left.into_iter(), false);
            how = Flow::Stop;
            self.tally.stops += 1;
        }
        run.end(&how);
        // Threads end by themselves; what came of them is not reported any more.
        loop {
            let Some(work) = threads.lock().pop() else { break };
            work();
        }
        if !graceful && !log_ended && self.rng.chance(0.5) {
            writer.turn(&queue, &handle.inbox, false); // the log's thread finishes what it is at
        }
        if graceful {
            let mut last = false;
            while !log_ended && !last {
                last = writer.stuck.is_some(); // the queue has no other end: one more try
                while let Ok(job) = queue.try_recv() {
                    writer.pending.push_back(job);
                }
                let idle = writer.stuck.is_none() && writer.pending.is_empty();
                log_ended = idle || !writer.turn(&queue, &handle.inbox, last);
            }
        }
        assert_eq!(node.disk.unlocked(), None, "seed {seed}: a thread that writes holds the lock");
        drop((writer, queue, handle, inputs, lock));
        assert!(node.disk.unlocked().is_some(), "seed {seed}: no thread is left, and the lock is held");
        if !graceful && self.rng.chance(0.5) {
            node.disk.crash(&self.rng);
        }
        node.disk.mend_sync();
        node.broken = false;
    }

    pub(super) fn faults(&mut self) {
        let at = self.rng.range(0, MEMBERS) as usize;
        match self.rng.range(0, 1500) {
            0 => self.end(at, false),
            1 => self.end(at, true),
            2 => {
                let node = &mut self.nodes[at];
                node.broken = true;
                match self.rng.chance(0.5) {
                    true => node.disk.break_sync(),
                    false => node.disk.break_writeback(),
                }
            }
            3..6 => {
                let node = &mut self.nodes[at];
                (node.full, node.was_full) = (true, true);
                // A write that does not fit is short: what comes before the full sector is written.
                let bytes = self.rng.range(0, 3000) as usize;
                match self.rng.range(0, 3) {
                    0 => node.disk.fill(bytes),
                    1 => node.disk.set_room(Some(bytes)),
                    _ => node.disk.set_scarce(Some(libc::EMFILE)),
                }
            }
            6 => {
                self.nodes[at].keeps = true;
                self.nodes[at].disk.keep_files(true);
            }
            7..40 => self.mend(at),
            _ => {}
        }
    }

    pub(super) fn mend(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.disk.set_room(None);
        node.disk.set_scarce(None);
        node.disk.keep_files(false);
        (node.full, node.keeps) = (false, false);
        // A member whose log has failed is started again, as an operator would.
        if node.live.as_ref().is_some_and(|live| live.failed) {
            self.end(at, false);
        }
    }
}
