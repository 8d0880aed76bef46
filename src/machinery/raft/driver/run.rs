//! The loop of a member's thread.

use super::super::interface::ConfError;
use super::super::member::{Member, StateMachine};
use super::edge::RealEdge;
use super::handle::PeersWaiting;
use super::{Input, LogNews, Now, OnLogNews, TICK, TICK_ALONE};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// A member, its edge, and what else its thread holds.
pub(super) struct Run<M> {
    pub(super) member: Member<M>,
    pub(super) edge: RealEdge,
    pub(super) peers_waiting: Arc<PeersWaiting>,
    pub(super) now: Now,
    pub(super) on_news: OnLogNews,
    /// The log cannot be written any more.
    pub(super) failed: bool,
}

/// What the loop does after an input.
pub(super) enum Flow {
    Go,
    /// Does what follows from the inputs so far, and ends.
    Stop,
    /// Ends at once.
    Kill,
}

impl<M: StateMachine> Run<M> {
    pub(super) fn run(mut self, inputs: &Receiver<Input>) {
        self.pump();
        let mut next_tick = Instant::now() + self.tick();
        let end = loop {
            let wait = next_tick.saturating_duration_since(Instant::now());
            let first = match inputs.recv_timeout(wait) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break Flow::Kill,
            };
            // What came meanwhile is handled together with the first input, and shares one write to
            // the log.
            let more = if first.is_some() { 4096 } else { 0 };
            let now = Instant::now();
            let tick = now >= next_tick;
            if tick {
                // Ticks that were missed are not made up for: only this member was late.
                next_tick = now + self.tick();
            }
            match self.turn(first.into_iter().chain(inputs.try_iter().take(more)), tick) {
                Flow::Go => {}
                end => break end,
            }
        };
        self.end(&end);
    }

    /// Handles what has come, then lets a tick pass if one is due, then does what follows of it.
    pub(super) fn turn(&mut self, inputs: impl Iterator<Item = Input>, tick: bool) -> Flow {
        for input in inputs {
            match self.handle(input) {
                Flow::Go => {}
                end => return end,
            }
        }
        if tick && !self.failed {
            self.member.tick((self.now)());
        }
        self.pump();
        Flow::Go
    }

    pub(super) fn end(mut self, how: &Flow) {
        if matches!(how, Flow::Stop) {
            self.pump();
        }
        let Run { edge, member, .. } = self;
        let threads = [edge.saving, edge.sending];
        drop(member); // callers that wait learn that there will be no answer
        drop(edge.jobs);
        for thread in threads.into_iter().flatten() {
            let _ = thread.join();
        }
    }

    /// Lets the member do what follows from its inputs. One whose disk failed neither promises nor
    /// applies anything any more.
    pub(super) fn pump(&mut self) {
        if !self.failed {
            self.member.pump((self.now)(), &mut self.edge);
        }
    }

    fn tick(&self) -> Duration {
        match self.member.core().only_voter() {
            true => TICK_ALONE,
            false => TICK,
        }
    }

    pub(super) fn handle(&mut self, input: Input) -> Flow {
        match input {
            Input::Stop => return Flow::Stop,
            Input::Kill => return Flow::Kill,
            Input::Log(news) => {
                match &news {
                    LogNews::Waits(error) if error.no_space() => {
                        tracing::error!(error = %error.full_text(), "the disk is full; this member takes no writes until there is room");
                    }
                    LogNews::Waits(error) => {
                        tracing::error!(error = %error.full_text(), "the log cannot be written now; this member takes no writes, and tries again");
                    }
                    LogNews::GoesOn => {
                        tracing::info!("the log can be written again; this member takes writes")
                    }
                    LogNews::Failed(error) => {
                        tracing::error!(error = %error.full_text(), "the log cannot be written; this member takes no more writes");
                        self.failed = true;
                    }
                }
                (self.on_news)(news);
                if self.failed {
                    self.member.give_up((self.now)());
                }
            }
            Input::Message(message) => {
                self.peers_waiting.leave(&message);
                if !self.failed {
                    self.member.step(message);
                }
            }
            Input::Propose { id, .. } if self.failed => self.member.machine().refused(id),
            Input::Read { ctx } if self.failed => self.member.machine().read(ctx, false),
            Input::Ask { ctx, .. } if self.failed => self.member.machine().answered(ctx, None),
            Input::Conf { answer, .. } if self.failed => {
                let _ = answer.send(Err(ConfError::NotLeader)); // the caller may have left
            }
            Input::Persisted(_) | Input::Transfer { .. } if self.failed => {}
            Input::Propose { id, data } => self.member.propose(id, data),
            Input::Read { ctx } => self.member.read(ctx),
            Input::Ask { ctx, question } => self.member.ask_leader(ctx, question, (self.now)()),
            Input::Persisted(write) => self.member.persisted(&write, (self.now)(), &mut self.edge),
            Input::SnapshotSaved(snapshot) => self.member.snapshot_saved(snapshot, &mut self.edge),
            Input::Transfer { to } => self.member.transfer(to),
            Input::Conf { change, answer } => {
                let _ = answer.send(self.member.propose_conf(change)); // the caller may have left
            }
        }
        Flow::Go
    }
}
