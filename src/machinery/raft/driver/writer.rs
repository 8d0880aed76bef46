//! The thread that writes the log.

use super::super::member::{Persisted, Write};
use super::super::message::Index;
use super::super::wal::Wal;
use super::super::wal_error::WalError;
use super::{GROUP_BYTES, Input, Job, LogNews, ROOM_PERIOD};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Instant;

/// The state of the log's thread.
pub(super) struct Writer {
    pub(super) wal: Wal,
    /// Jobs that were taken from the queue and not begun, in order.
    pub(super) pending: VecDeque<Job>,
    /// A group that could not be written, and of which nothing is lost; and the reported error. It
    /// is written before anything else is. Only releases do not wait for it.
    pub(super) stuck: Option<(Vec<Write>, String)>,
}

impl Writer {
    /// Does the next job, together with all that can share its sync; or tries again what is stuck.
    /// `last`: the member stops, so it is tried only once more. Returns whether the log can be
    /// written on.
    pub(super) fn turn(&mut self, queue: &Receiver<Job>, inbox: &Sender<Input>, last: bool) -> bool {
        if self.stuck.is_some() && !self.release_waiting(queue, inbox) {
            return false;
        }
        let (group, reported) = match self.stuck.take() {
            Some((group, reported)) => (group, Some(reported)),
            None => match self.pending.pop_front().or_else(|| queue.try_recv().ok()) {
                Some(Job::Write(first)) => (self.group(first, queue), None),
                Some(Job::Release(upto)) => return self.release(upto, inbox),
                None => return true,
            },
        };
        // The member may have been killed meanwhile, and hear none of this.
        let report = |news| drop(inbox.send(news));
        match write_group(&mut self.wal, &group) {
            Ok(persisted) => {
                reported.into_iter().for_each(|_| report(Input::Log(LogNews::GoesOn)));
                report(Input::Persisted(persisted));
                true
            }
            Err(error) if self.wal.may_retry(&error) && !last => {
                let why = error.full_text();
                if reported.is_none_or(|reported| reported != why) {
                    report(Input::Log(LogNews::Waits(error)));
                }
                self.stuck = Some((group, why));
                true
            }
            // Never retried: after a failed sync it is unknown what is on the disk.
            Err(error) => {
                report(Input::Log(LogNews::Failed(error)));
                false
            }
        }
    }

    /// Takes the waiting writes that can share the sync of `first`.
    fn group(&mut self, first: Write, queue: &Receiver<Job>) -> Vec<Write> {
        let mut group = vec![first];
        while group[group.len() - 1].snapshot.is_none() && bytes(&group) < GROUP_BYTES {
            match self.pending.pop_front().or_else(|| queue.try_recv().ok()) {
                // a snapshot comes before its records, and after those of others
                Some(Job::Write(write)) if write.snapshot.is_none() => group.push(write),
                Some(other) => {
                    self.pending.push_front(other);
                    break;
                }
                None => break,
            }
        }
        group
    }

    /// Does the releases that wait behind a stuck group: the files that they delete may take the
    /// room that the group waits for. Each speaks of a durable snapshot and of closed segments
    /// only, of which the log keeps its last batch until the group is written; and the newest
    /// includes the others. Returns whether the log can be written on.
    fn release_waiting(&mut self, queue: &Receiver<Job>, inbox: &Sender<Input>) -> bool {
        self.pending.extend(queue.try_iter());
        let mut newest = None;
        self.pending.retain(|job| match job {
            Job::Release(upto) => {
                newest = newest.max(Some(*upto));
                false
            }
            Job::Write(_) => true,
        });
        newest.is_none_or(|upto| self.release(upto, inbox))
    }

    fn release(&mut self, upto: Index, inbox: &Sender<Input>) -> bool {
        let Err(error) = self.wal.release(upto) else { return true };
        if self.wal.sound() {
            tracing::warn!(error = %error.full_text(), "old parts of the log were not deleted; they take room until the next snapshot deletes them");
            return true;
        }
        let _ = inbox.send(Input::Log(LogNews::Failed(error))); // the member may have been killed meanwhile
        false
    }
}

fn bytes(group: &[Write]) -> usize {
    group.iter().map(|w| w.records.size()).sum()
}

pub(in super::super) fn write_group(wal: &mut Wal, group: &[Write]) -> Result<Persisted, WalError> {
    let start = Instant::now();
    for snapshot in group.iter().filter_map(|w| w.snapshot.as_ref()) {
        wal.save_snapshot(snapshot)?;
    }
    wal.append(group.iter().map(|w| &w.records))?;
    Ok(Persisted {
        batch: group.last().map_or(0, |w| w.batch),
        entries: group.iter().map(|w| w.entries).sum(),
        last: group.iter().rev().find_map(|w| w.last),
        bytes: bytes(group),
        took: start.elapsed(),
    })
}

/// The log's thread: takes all that is queued, writes once, syncs once, reports.
pub(super) fn write_log(
    mut writer: Writer,
    queue: &Receiver<Job>,
    inbox: &Sender<Input>,
    killed: &AtomicBool,
) {
    loop {
        let mut last = false;
        if writer.stuck.is_some() {
            let again = Instant::now() + ROOM_PERIOD;
            last = loop {
                match queue.recv_timeout(again.saturating_duration_since(Instant::now())) {
                    Ok(job) => writer.pending.push_back(job),
                    Err(end) => break end == RecvTimeoutError::Disconnected,
                }
            };
        } else if writer.pending.is_empty() {
            match queue.recv() {
                Ok(job) => writer.pending.push_back(job),
                Err(_) => return,
            }
        }
        // What waits stays undone when the member was killed, also when there is room by now.
        if killed.load(Ordering::Acquire) || !writer.turn(queue, inbox, last) {
            return;
        }
    }
}
