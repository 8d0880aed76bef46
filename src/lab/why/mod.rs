//! `why`: what is the matter with an object, or with the last command, in one or two sentences of
//! the learner's language.
//!
//! `explain` is pure: it looks at `facts::Facts`, the objects and records of this moment, and
//! says what they prove, nothing else. The objects come as a snapshot from `observe`, in the form
//! in which lessons and labs see them. What Kubernetes calls things (reasons, fields, phases) stays
//! as Kubernetes calls it.

mod claim;
mod explain;
mod facts;
mod guest;
mod line;
mod object;
mod pod;
mod question;
mod reader;
mod refusal;
mod service;
#[cfg(test)]
mod tests;
mod texts;
mod workload;

pub(crate) use guest::Why;
pub use line::{Typed, with_meant_kind};
pub use question::{Explanation, Question};
