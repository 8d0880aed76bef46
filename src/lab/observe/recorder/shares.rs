//! Whose hop it is: a person's, one that a person has caused, or another one.

use std::collections::{BTreeSet, VecDeque};
use tap::{Cause, Component, Event, Record, Request};

/// Revisions and requests of which it is remembered that people have caused them.
pub(super) const CAUSES_MAX: usize = 4_000;

/// Whose hop it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    Peoples,
    Caused,
    Others,
}

#[derive(Default)]
pub(super) struct Shares {
    /// Of the hops that are kept longer, in their order.
    pub kept: Vec<Share>,
    /// Of the hops after them.
    pub newest: VecDeque<Share>,
    /// What people have caused: revisions that they or others for them have written, and requests
    /// of theirs, in the order in which they came.
    revisions: BTreeSet<i64>,
    pub requests: VecDeque<String>,
}

impl Shares {
    /// A step begins. What was caused before may have consequences in it.
    pub(super) fn begin(&mut self) {
        self.kept.clear();
        self.newest.clear();
    }

    /// `asked`: the hop is the end of a command that a person has run in a container.
    pub(super) fn of(&mut self, record: &Record, asked: bool) -> Share {
        // What a client asked of the store, a person typed: `etcdctl get foo`.
        let called = matches!(record.event, Event::Call(_));
        if record.component == Component::Etcd && !called {
            return Share::Others;
        }
        let peoples = asked || called || matches!(record.event, Event::Fault(_)) || is_peoples(record);
        let caused = match &record.cause {
            Some(Cause::Revision(revision)) => self.revisions.contains(&(*revision as i64)),
            Some(Cause::Request(id)) => self.requests.contains(id),
            None => false,
        };
        if !peoples && !caused {
            return Share::Others;
        }
        if let Some(revision) = record.revision.filter(|_| record.write().is_some()) {
            self.revisions.insert(revision as i64);
            if self.revisions.len() > CAUSES_MAX {
                self.revisions.pop_first();
            }
        }
        if let Some(request) = record.request.as_ref().filter(|r| !r.id.is_empty())
            && self.requests.back() != Some(&request.id)
            && peoples
        {
            if self.requests.len() == CAUSES_MAX {
                self.requests.pop_front();
            }
            self.requests.push_back(request.id.clone());
        }
        // How a component's request went through the server is left out; what came of it is kept.
        let is_stage = record.component == Component::ApiServer
            && !matches!(record.event, Event::Answer(_) | Event::Commit(_));
        match (peoples, is_stage) {
            (true, _) => Share::Peoples,
            (false, false) => Share::Caused,
            (false, true) => Share::Others,
        }
    }
}

fn is_peoples(record: &Record) -> bool {
    record.request.as_ref().is_some_and(Request::is_persons)
}
