//! The store beside the real etcd.

mod compare;
mod ops;
mod pair;
mod talk;
