//! # Practice: drills that repeat what was learned
//!
//! ## In Kubernetes
//! Kubernetes has no such part. People who run clusters every day know the commands by heart, and
//! those who learned them a month ago look them up.
//! ## How this one works
//! A skill is one thing that a learner does with a command. [`table`] reads the skills from one
//! file, each with the lessons and labs that teach it and with the tasks that practise it. The
//! names and numbers of a task are drawn from a seed, as in a lab ([`crate::graded::draw`]). `met`
//! reads from the files of lessons and labs which skills a learner has met. [`record`] keeps how
//! each was practised, and computes when it is due: a day after the first success, then after a
//! week; a failure brings it back in the next drill. `pick` chooses up to five tasks that fit in
//! the time: rusty skills first, then those that are due, each group in random order. `run` runs a
//! drill: two minutes, in a namespace of its own. At its end the namespace goes back to the
//! revision before the drill, as after a lab. A task is judged by expressions over the live
//! cluster (`graded::world`), which have to stay true for a moment; what was typed is not
//! compared. [`map`] is the skill map: what is fresh, due, rusty, or not met.
//!
//! At the end of a drill every task that was done counts, a task that was skipped comes first in
//! the next drill, and the task that was open when the time was up does not count. The record is a
//! file of its own; `undo` does not touch it, `reset` removes it with the cluster.
//! ## Left out
//! Drills on another's cluster: the way back and the trace are Ropewalk's own. A drill does not
//! go on after a restart of the cluster: what was done counts, and what it made is taken away. An
//! `undo` after the end of a drill may bring its namespace back, as it brings everything back;
//! the next drill takes it away. The way back at the end of a drill also ends the list of `undo`:
//! what was done elsewhere while the drill ran can no longer be undone step by step. What a learner
//! made in another namespace during a drill stays there; a hint says so.
//! ## Read next
//! `ui`, which shows drills at the prompt.

mod drawn;
pub mod guest;
pub mod map;
mod met;
mod pick;
pub mod record;
mod run;
mod show;
pub mod table;
pub mod view;
mod words;
