//! # The lab: lessons that look at the cluster, not at the words
//!
//! ## In Kubernetes
//! There is no such part. The nearest relatives are an operator's controllers: they compare what is
//! with what should be, over and over. A lesson's check is such a controller whose only actuator is
//! the learner.
//! ## How this one works
//! The engine is a guest in the cluster's own process ([`cluster::guest`]), one loop that takes one
//! thing after the other:
//! ```text
//! tap ─────────▶ recorder  every version, every hop ─┐
//! API watches ─▶ watch     live objects              ├─▶ facts ─▶ judge ─▶ progress (a file)
//! network ─────▶ probe     http, exec, logs, can     ┘     │
//! people ──────▶ guest ──▶ actor ◀── lessons (format)      └▶ hints, debrief ─▶ view ─▶ sessions
//! ```
//! A lesson is read by [`format`](mod@format), its expressions are compiled by `cel`, both when the
//! cluster starts; what is wrong is reported with file and line. A judgement (`judge`) is a plain
//! function of a snapshot of `cel::Facts`. It is made after every change, so a step turns green
//! without being asked; timers exist for `hold`, `within` and for answers of the network only.
//! Changes that come together are judged together, an expression is evaluated only if something
//! that it reads has changed, and of trace and history it is shown what is new (`cel::memo`); the
//! engine rests four times as long as a judgement took, and no request waits for it. What asks for
//! the present has to stay true for `hold`; what asks for the past has happened once it was seen,
//! also after a restart ([`progress`]).
//!
//! The folders, in the order in which they are best read:
//! ```text
//! format      lessons as files: from Markdown and YAML to steps that can be played
//! lines       what a line of a lesson does: which objects it makes or takes, and whether it needs
//!             a shell or the machine
//! needs       what a step needs that not every cluster has
//! observe     what is seen of the cluster: the tap, watches, the network
//! cel         expressions over that, and what an evaluation may cost
//! judge.rs    is the step done?
//! engine      the open step: judged, answered, stuck, hinted at
//! actor       the loop around the engine: questions, jumps, and what they would cost
//! teacher.rs  runs the lines of setups, faults and jumps
//! playable.rs says why the teacher can play a line nowhere
//! show.rs     from the engine's state to a view, which sessions draw
//! graded      labs
//! practice    drills
//! why         explanations
//! ```
//! Lessons, labs, drills and `why` are guests of the cluster's process: each has a file `guest`,
//! `guest_questions` has what these share, and `words` (`texts` of `why`) what they say.
//!
//! The engine uses a [`cluster::guest::HostCluster`]: our own cluster, or a foreign one behind a
//! kubeconfig. There a lesson is played in a namespace of its own, which lessons call `default`,
//! and which has that name in all that they see of the cluster. Its [`cluster::guest::Offers`] say
//! what a cluster has: nothing is rewound, broken or put under load on a foreign one. [`needs`]
//! reads from a step what it needs. A step that needs what the cluster does not offer is skipped,
//! with the reason, and never green.
//! ## Bounds
//! 500 versions of an object are kept (20 of a Lease), 5 000 and 32 MiB of all objects, and 10 000
//! hops of a step. The oldest go first (`observe::recorder`): not the versions that were current
//! when the lesson or the step began, and not what people did and what came of it, which have
//! bounds of their own. A history of which a version since then is gone is not answered: such a
//! check is not green. A version is kept as the bytes that were stored, and read when an expression
//! asks for it. One evaluation has a limit of steps and of processor time (`cel`). The tap lives as
//! long as the process: after a restart, `trace` begins anew and `history` opens with what the
//! watches found (WAS or ADDED without a user). What a check had seen is kept.
//!
//! A lesson whose header asks for a faster clock gets it while it is open, on a cluster of our own,
//! and a notice says so: the engine runs in the cluster's process. Its `hold` and `within` stay
//! real time, as a learner is no faster.
//! ## Left out
//! On another's cluster a lesson that asks for a faster clock runs in real time, and says so.
//! ## Read next
//! [`graded`], the labs; [`practice`], the drills; then `ui`, which shows it.

#![warn(missing_docs)]

mod actor;
mod blocking;
mod broken_shell;
mod cel;
mod debrief;
mod desired;
mod engine;
mod error;
pub mod format;
#[cfg(test)]
mod golden;
pub mod graded;
pub mod guest;
mod guest_questions;
mod judge;
mod lines;
pub mod needs;
mod observe;
mod past;
mod playable;
pub mod practice;
pub mod progress;
mod show;
#[cfg(test)]
mod stage;
mod teacher;
#[cfg(test)]
mod tests;
pub mod view;
pub mod why;
mod words;

use cluster::guest::Guest;
use std::sync::Arc;

pub use broken_shell::{BrokenShell, ShellFault, ShellState};
pub use error::Error;
pub use lines::objects::takes_back;

/// The guests of a cluster that is not Ropewalk's own: those that need nothing but an API server.
pub fn guests_of_foreign_clusters() -> Vec<Arc<dyn Guest>> {
    vec![Arc::new(guest::Lessons::new(graded::Opened::default()))]
}

/// The guests of a cluster of our own, which begin with it: lessons, labs, drills and `why`.
pub fn guests() -> Vec<Arc<dyn Guest>> {
    let opened = graded::Opened::default();
    vec![
        Arc::new(guest::Lessons::new(opened.clone())),
        Arc::new(graded::guest::Graded::new(opened.clone())),
        Arc::new(practice::guest::Drills::new(opened.clone())),
        Arc::new(why::Why::new(opened)),
    ]
}
