//! Linearizable reads, which share questions to the leader (rounds); questions to the leader's
//! state machine; and messages that wait for the disk.

use super::super::interface::Core;
use super::super::message::Message;
use super::{Member, Promises, Round, StateMachine, replaces};
use bytes::Bytes;
use std::time::Duration;

impl<M: StateMachine> Member<M> {
    /// Asks the leader's state machine, which may be the own one. [`StateMachine::answered`]
    /// reports; it does not if a message is lost, or while the leader has applied less than this
    /// member.
    pub fn ask_leader(&mut self, ctx: u64, question: Bytes, now: Duration) {
        if self.is_leader() {
            let answer = self.machine.answer(&question, now);
            self.machine.answered(ctx, answer);
        } else if self.core.ask(ctx, self.applied, question).is_err() {
            self.machine.answered(ctx, None);
        }
    }

    /// Asks once for all that came since the last question, as etcd does: what the leader says
    /// after they came holds for each of them.
    pub(super) fn begin_round(&mut self) {
        if self.round.is_none()
            && let Some(&ctx) = self.next_reads.first()
        {
            self.round = Some(Round { ctx, callers: std::mem::take(&mut self.next_reads), ticks: 0 });
            self.ask(ctx);
        }
    }

    pub(super) fn ask(&mut self, ctx: u64) {
        if self.core.read_index(ctx).is_err() {
            self.fail_round();
        }
    }

    pub(super) fn fail_round(&mut self) {
        for ctx in self.round.take().map(|round| round.callers).unwrap_or_default() {
            self.machine.read(ctx, false);
        }
    }

    /// Keeps messages back until the newest batch is durable. Of those that wait for the same batch
    /// a later one replaces an earlier one of its kind to the same member, whose word it is, too:
    /// while a disk is full, a leader's questions do not stop, and their answers would pile up.
    pub(super) fn promise(&mut self, messages: Vec<Message>) {
        let written = self.written;
        if self.promises.back().is_none_or(|newest| newest.batch < written) && !messages.is_empty() {
            self.promises.push_back(Promises { batch: written, since: self.ticks, messages: vec![] });
        }
        let Some(Promises { messages: waiting, .. }) = self.promises.back_mut() else { return };
        for message in messages {
            waiting.retain(|old| !replaces(&message, old));
            waiting.push(message);
        }
    }

    pub(super) fn answer_reads(&mut self) {
        let applied = self.applied;
        for read in self.reads.extract_if(.., |read| read.index <= applied) {
            self.machine.read(read.ctx, true);
        }
    }

    pub(super) fn report_status(&mut self, now: Duration) {
        let (core, applied) = (&self.core, self.applied);
        if self.reported.as_ref().is_some_and(|(status, at)| *at == applied && core.is_status(status)) {
            return;
        }
        let status = self.core.status();
        let before = self.reported.as_ref().map(|(s, _)| (s.term, s.leader, s.role));
        if before.is_some_and(|before| before != (status.term, status.leader, status.role)) {
            // the member that was asked may not answer any more
            self.fail_round();
        }
        self.machine.status(&status, applied, now);
        self.reported = Some((status, applied));
    }
}
