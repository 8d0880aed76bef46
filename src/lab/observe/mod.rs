//! What lessons, labs and `why` see of the cluster: the records of the trace, the objects and their
//! history, and what the network answers. The lesson engine and the labs add what differs: steps
//! and progress, attempts and grading.

pub(crate) mod probe;
pub mod recorder;
pub(crate) mod watch;
pub(crate) mod who;
