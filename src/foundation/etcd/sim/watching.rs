//! Clients that watch everything, and begin again elsewhere when their member leaves them.

use super::history::{Change, Truth, change};
use super::up::Up;
use crate::api::{Error, Revision, WatchRequest};
use crate::watch::Watcher;
use raft::MemberId;
use rng::Rng;
use std::collections::BTreeMap;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

pub(super) struct Watching {
    seed: u64,
    rng: Rng,
    watcher: Option<Watcher>,
    /// First revision whose events have not come yet.
    next: Revision,
    seen: Vec<Change>,
    /// What was compacted before this watcher could see it: from, to (excluded).
    gaps: Vec<(Revision, Revision)>,
    pub restarts: usize,
}

impl Watching {
    pub(super) fn new(seed: u64, rng: Rng) -> Watching {
        Watching { seed, rng, watcher: None, next: 1, seen: vec![], gaps: vec![], restarts: 0 }
    }

    /// Takes all that is there; now and then goes elsewhere.
    pub(super) fn act(&mut self, up: &BTreeMap<MemberId, Up>) {
        if self.rng.chance(0.01) {
            self.watcher = None;
        }
        self.take(up);
    }

    fn take(&mut self, up: &BTreeMap<MemberId, Up>) {
        let mut cx = Context::from_waker(Waker::noop());
        if self.watcher.is_none() && !self.begin(up, &mut cx) {
            return;
        }
        while let Some(watcher) = &mut self.watcher {
            let next = pin!(watcher.next()).poll(&mut cx);
            match next {
                Poll::Pending => return,
                Poll::Ready(Some(Ok(response))) => {
                    let seed = self.seed;
                    for event in &response.events {
                        let at = event.kv.mod_revision;
                        assert!(
                            at >= self.next && at <= response.revision,
                            "seed {seed}: a watch that has seen all before {} is told {at} of {}",
                            self.next,
                            response.revision
                        );
                        self.seen.push(change(event));
                    }
                    self.next = self.next.max(response.revision + 1);
                }
                // It was cut off, or its member is gone: it begins again at another member.
                Poll::Ready(Some(Err(_)) | None) => self.watcher = None,
            }
        }
    }

    fn begin(&mut self, up: &BTreeMap<MemberId, Up>, cx: &mut Context<'_>) -> bool {
        let Some(member) = up.values().nth(self.rng.range(0, up.len() as u64) as usize) else { return false };
        // Some want to know only what happens from now on; the answer says where that begins.
        let from_now = self.rng.chance(0.2);
        let all = WatchRequest {
            key: "\0".into(),
            range_end: "\0".into(),
            start_revision: if from_now { 0 } else { self.next },
            ..WatchRequest::default()
        };
        self.restarts += 1;
        match pin!(member.kv.watch(all)).poll(cx) {
            Poll::Ready(Ok(watcher)) => {
                let first = watcher.first();
                if first < self.next {
                    return false; // this member is behind what has come already
                }
                if first > self.next {
                    self.gaps.push((self.next, first));
                }
                self.next = first;
                self.watcher = Some(watcher);
            }
            Poll::Ready(Err(Error::Compacted { compact_revision })) => {
                self.gaps.push((self.next, compact_revision));
                self.next = compact_revision;
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => panic!("seed {}: a watch has nothing to wait for", self.seed),
        }
        self.watcher.is_some()
    }

    /// Checks, when everything is over, that every change has come, in order, none missing, none
    /// twice.
    pub(super) fn finish(&mut self, up: &BTreeMap<MemberId, Up>, truth: &Truth) {
        while self.watcher.is_none() {
            self.take(up);
        }
        self.take(up);
        let visible = |c: &&Change| !self.gaps.iter().any(|(from, to)| (*from..*to).contains(&c.0));
        let right: Vec<&Change> = truth.changes.iter().filter(visible).collect();
        let seen: Vec<&Change> = self.seen.iter().collect();
        assert!(seen == right, "seed {}: a watch was told {seen:?}, and not {right:?}", self.seed);
    }
}
