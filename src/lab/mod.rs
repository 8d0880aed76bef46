//! # The lab: lessons that look at the cluster, not at the words
//!
//! ## In Kubernetes
//! There is no such part. The nearest relatives are an operator's controllers: they compare what is with what should be, over and over. A lesson's
//! check is such a controller whose only actuator is the learner.
//! ## How this one works
//! The engine is a guest in the cluster's own process ([`crate::cluster::guest`]): it watches objects and the tap, judges the open step whenever
//! something relevant changes, and shows [`view::LessonView`] to whoever asks on the control socket, in the language they ask for.
//! ## Left out
//! The engine itself: this chapter grows with it.
//! ## Read next
//! `ui`, which shows it.

pub mod cel;
pub mod view;

use crate::cluster::guest::Guest;
use std::sync::Arc;

/// The user under whom lessons are set up and judged. What it does is never taken for the learner's doing.
pub const TEACHER: &str = "teacher";

/// Who moves in when a cluster starts.
pub fn guests() -> Vec<Arc<dyn Guest>> {
    vec![]
}
