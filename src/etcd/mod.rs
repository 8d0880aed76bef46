//! # etcd
pub mod api;
