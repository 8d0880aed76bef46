//! A simulated API server for tests: the objects of a cluster in memory ([`Store`]), and the way to
//! them with faults from a seed ([`Door`]). It writes as the API server does (defaults, validation,
//! generations, finalizers, graceful deletion, preconditions), because it uses the same table of
//! kinds. There are no sockets and no threads: on a runtime with a paused clock, a seed is one
//! history.

mod door;
mod served;
mod store;
#[cfg(test)]
mod tests;

pub use door::{Bug, Door, Faults, Tally};
pub use served::kind;
pub use store::{Event, Item, Store};
