//! The moments of the time view: commands and autoscalers that changed something, faults, and
//! finished steps.

use super::super::flow::Flow;
use super::super::flow::traffic::{Mark, Marked};
use super::super::look::{Sign, Tone};
use super::super::model::Model;
use super::hops::kind;
use super::scrubber::{is_answer, sign_of};
use clock::Timestamp;
use std::cmp::Reverse;

/// What happened at a moment.
#[derive(Clone, Copy)]
enum What<'a> {
    Command(&'a Flow),
    Mark(&'a Mark),
}

/// A moment that can be looked back at.
pub(crate) struct Step<'a> {
    what: What<'a>,
    pub at: Timestamp,
    /// The revision before a command's first write, or when the other thing happened. `None`: it
    /// happened before the interface was opened.
    pub before: Option<u64>,
}

impl Step<'_> {
    /// Tells it from the others, also when newer ones have come.
    pub(crate) fn id(&self) -> String {
        match self.what {
            What::Command(flow) => flow.session.clone(),
            What::Mark(mark) => format!("{mark:?}"),
        }
    }

    /// The revision that stands beside it: the first that a command made, else the newest when it
    /// happened.
    pub(crate) fn revision(&self) -> Option<u64> {
        let before = self.before?;
        Some(match self.what {
            What::Command(_) => before.saturating_add(1),
            What::Mark(_) => before,
        })
    }

    /// The sign of the moment, and its tone.
    pub(crate) fn sign(&self) -> (Sign, Tone) {
        match self.what {
            What::Command(_) => (Sign::Typed, Tone::Strong),
            What::Mark(mark) => sign_of(&mark.what),
        }
    }

    /// `kubectl create deployments/web`, or what else it was.
    pub(crate) fn title(&self) -> String {
        match self.what {
            What::Command(flow) => {
                let object =
                    flow.object().map_or(String::new(), |o| format!("{}/{}", kind(&o.resource), o.name));
                format!("{} {object}", flow.command)
            }
            What::Mark(Mark { what: Marked::Fault(words), .. }) => format!("fault {words}"),
            What::Mark(Mark { what: Marked::Green(step), .. }) => step.clone(),
        }
    }
}

/// What happened, the newest first. Without faults while a lab asks for the cause.
pub(crate) fn steps(model: &Model) -> Vec<Step<'_>> {
    let traffic = &model.traffic;
    let mut steps: Vec<Step<'_>> = Vec::new();
    for flow in traffic.flows.iter().rev() {
        if let Some(before) = flow.before() {
            steps.push(Step { what: What::Command(flow), at: flow.began, before: Some(before) });
        }
    }
    for mark in traffic.marks.iter().rev().filter(|mark| !is_answer(model, mark)) {
        let before = mark.heard.map(|heard| model.cluster.past.revision_at(heard));
        steps.push(Step { what: What::Mark(mark), at: mark.at, before });
    }
    steps.sort_by_key(|step| Reverse(step.at));
    steps
}
