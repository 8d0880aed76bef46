//! The store beside the real etcd.

mod compare;
mod external;
mod ops;
mod pair;
mod talk;
