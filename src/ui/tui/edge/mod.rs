//! Where the interface touches the world: the learner's terminal, the shell's, the control socket,
//! the API.

mod backend;
mod feed;
mod follow;
mod guard;
mod keyboard;
mod labs;
mod moves;
mod objects;
mod probe;
mod pty;
mod run;
#[cfg(test)]
mod testing;

pub(crate) use run::{Setting, run};
