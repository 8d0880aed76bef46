//! # Practice: drills that repeat what was learned
//!
//! ## In Kubernetes
//! Kubernetes has no such part. People who run clusters every day know the commands by heart, and
//! those who learned them a month ago look them up.
//! ## How this one works
//! A skill is a thing that a learner does with a command: [`table`] reads them from one file, each
//! with the lessons and labs that teach it and with tasks whose names and numbers come from a seed,
//! as those of a lab do ([`crate::graded::draw`]). [`met`] tells which skills a learner has met,
//! from the files of lessons and labs. [`record`] keeps how each was practised, and says when it is
//! due: a day after the first success, then after a week; a failure brings it back in the next
//! drill. [`pick`] chooses up to five tasks that fit in the time: skills that were failed or
//! forgotten first, then those that are due, each group in an order by chance. [`run`]
//! is a drill: two minutes, in a namespace of its own, which is taken away afterwards by a way back
//! to the revision before it, as of a lab. Each task is judged as a lab is: by expressions over the
//! live cluster ([`crate::graded::world`]), which have to hold for a moment. Nothing that was typed
//! is compared. [`map`] is the skill map: what is fresh, due, rusty, or not met.
//!
//! At the end of a drill every task that was done counts, a task that was skipped comes first in
//! the next drill, and the task that was open when the time was up does not count. The record is a file of its own;
//! `undo` does not touch it, `reset` removes it with the cluster.
//! ## Left out
//! Drills on another's cluster: the way back and the trace are Ropewalk's own. A drill does not
//! go on after a restart of the cluster: what was done counts, and what it made is taken away. An
//! `undo` after the end of a drill may bring its namespace back, as it brings everything back;
//! the next drill takes it away. The way back at the end of a drill also ends the list of `undo`:
//! what was done elsewhere while the drill ran can no longer be undone step by step. What a learner
//! made in another namespace during a drill stays there; a hint says so.
//! ## Read next
//! `ui`, which shows drills at the prompt.

pub mod drawn;
pub mod guest;
pub mod map;
pub mod met;
pub mod pick;
pub mod record;
pub mod run;
mod show;
pub mod table;
pub mod view;
mod words;
