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

mod actor;
pub mod cel;
pub mod debrief;
mod engine;
pub mod format;
pub mod guest;
pub mod judge;
mod probe;
pub mod progress;
pub mod recorder;
mod run;
mod show;
pub mod view;
mod watch;
mod words;

use crate::cluster::guest::Guest;
use std::path::PathBuf;
use std::sync::Arc;

/// The user under whom lessons are set up and judged. What it does is never taken for the learner's doing.
pub const TEACHER: &str = "teacher";

/// What keeps the engine from its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot use {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("{} was written by a newer ropewalk (format {found}, this one knows {known}); use that one", path.display())]
    Newer { path: PathBuf, found: u64, known: u32 },
    #[error("{} is damaged: {why}; move it away to begin anew", path.display())]
    Damaged { path: PathBuf, why: String },
    #[error("the line {line:?} cannot be run: {why}")]
    Line { line: String, why: String },
    #[error(transparent)]
    Cluster(#[from] crate::cluster::Error),
}

/// Who moves in when a cluster starts.
pub fn guests() -> Vec<Arc<dyn Guest>> {
    vec![Arc::new(guest::Lessons::new())]
}
