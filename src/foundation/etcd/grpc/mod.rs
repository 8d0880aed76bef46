//! The store's etcd v3 face: gRPC for any etcd client.
//!
//! [`Face`] answers calls with the same [`Kv`](super::Kv) that the API server writes through, so a
//! put by `etcdctl` is a revision like any other. [`serve`] takes connections with certificates of
//! etcd's own authority; [`call`] finds the method; a file each has the services; `plain` answers
//! what is no call of gRPC. [`client`] is the other side, for programs that speak to an etcd, this
//! one or a real one; [`Remote`] is a whole store behind it.

mod auth;
mod call;
pub mod client;
mod cluster;
mod codec;
mod convert;
mod face;
#[cfg(test)]
pub(super) mod fuzz;
mod health;
mod kv;
mod lease;
mod lock;
mod maintenance;
mod observe;
mod plain;
mod queue;
mod record;
mod remote;
mod serve;
mod watch;

pub use face::{Face, VERSION};
pub use remote::Remote;
pub use serve::serve;
