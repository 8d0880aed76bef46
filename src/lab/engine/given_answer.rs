//! The answer that a learner has given to the question of a step, until it is judged.

use crate::cel::Facts;
use crate::format::{Answer, Step};
use crate::progress::Progress;
use cel::Value;
use std::sync::Arc;

/// The last answer of this sitting.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    /// As expressions see it.
    pub value: Option<Value>,
    /// How many were given.
    pub count: u64,
    /// It is not judged yet.
    pub waits: bool,
    /// The number of the question that waits for its verdict.
    pub asked: u64,
    /// It could not be judged: the watches, or an answer of the network, were late.
    pub unknown: bool,
    /// What was given before the thing that the question is about was there. It is not kept.
    pub early: Option<String>,
    /// How many right choices are missing beside those in it, where that is shown.
    pub more: Option<usize>,
}

/// Takes an answer for right if it is; true if that is to be saved.
pub(crate) fn confirm(
    step: &Step,
    lesson: &str,
    facts: &Arc<Facts>,
    given: &mut Given,
    progress: &mut Progress,
) -> bool {
    let is_right = |answer: &Answer| answer.is.holds(facts);
    let confirmed = given.waits && step.answer.as_ref().is_some_and(is_right);
    if confirmed {
        given.waits = false;
        let noted = progress.step(lesson, &step.id);
        (noted.is_right, noted.unjudged) = (true, false);
    }
    confirmed
}
