//! The decision that a pod has to fail, kept until the pod has ended.

use crate::status::Failure;
use std::time::Instant;

/// A pod that has to fail: evicted, or preempted.
pub(super) struct Sentence {
    pub(super) uid: String,
    pub(super) failure: Failure,
    pub(super) since: Instant,
    pub(super) ending: Ending,
}

/// How far the end of such a pod's processes and volumes has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Decided,
    UnderWay,
    Over,
}
