//! The store of a cluster: etcd members on its own control-plane nodes, or an etcd that an operator
//! runs elsewhere.
//!
//! `member` is one member from its start to its end, `peers` connects the members with each other,
//! [`listeners`] opens them to etcd clients on the host, and `full_disk` is the disk that a fault
//! can fill. [`external`] is the store of an operator.

pub mod external;
pub(crate) mod full_disk;
pub mod listeners;
pub(crate) mod member;
pub(crate) mod peers;
