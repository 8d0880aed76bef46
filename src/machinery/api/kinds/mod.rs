//! The table of kinds. Discovery, OpenAPI, routing, decoding, defaulting, validation and printing
//! all derive from it.
//!
//! A kind is one file, `GROUP/KIND.rs`: its entry in the table (`kind()`), its defaults, its
//! strategy (the `prepare` functions), its validation, its printer columns, and the tests of these.
//! The `mod.rs` of a group lists its kinds in the order of discovery. What several kinds of a group
//! share is a module beside them (`rbac/bindings.rs`, `batch/job_spec.rs`); what the kinds share
//! that manage pods is in `workload.rs`, and the spec of a pod in `pod_spec`.
//!
//! What an entry is stands in `entry.rs`, which names no kind; `table.rs` names every kind, and no
//! kind names the table.
//!
//! CustomResourceDefinitions add entries of the same shape while the cluster runs: a [`Catalog`] is
//! all that one API server serves at one moment.

pub(crate) mod apiextensions;
mod apps;
mod authentication;
mod authorization;
mod autoscaling;
mod batch;
mod catalog;
pub mod certificates;
mod coordination;
pub mod core;
mod discovery;
pub(crate) mod entry;
mod events;
mod metrics;
pub(crate) mod names;
mod networking;
mod policy;
mod rbac;
mod scheduling;
mod storage;
mod table;
mod workload;

pub use catalog::{Catalog, Documents, KindRef};
pub use entry::{ALL, CREATE, Conversion, Kind, ScalePaths, ScopeOf, Sub};
pub use names::{intern, intern_all};
pub use table::{all, find, in_group, resource, stored};
