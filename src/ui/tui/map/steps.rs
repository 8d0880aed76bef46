//! Commands that can be undone: the list of the time view.

use super::super::flow::traffic::Traffic;
use super::super::flow::{Did, Flow, Hop};

/// A command that changed something: a step that can be gone back to.
pub(crate) struct Step<'a> {
    pub flow: &'a Flow,
    /// The revision before its first write.
    pub before: u64,
}

/// What was done, the newest first.
pub(crate) fn steps<'a>(traffic: &'a Traffic) -> Vec<Step<'a>> {
    let step = |flow: &'a Flow| {
        let stored = |hop: &&Hop| hop.did == Did::Stored;
        let first = flow.hops.iter().filter(stored).find_map(|hop| hop.revision)?;
        Some(Step { flow, before: first.saturating_sub(1) })
    };
    traffic.flows.iter().rev().filter_map(step).collect()
}
