//! The table of kinds. Discovery, OpenAPI, routing, decoding, defaulting, validation and printing
//! all derive from it.
//!
//! A kind is one file, `GROUP/KIND.rs`: its entry in the table (`kind()`), its defaults, its
//! strategy (the `prepare` functions), its validation, its printer columns, and the tests of these.
//! One line in the `mod.rs` of its group (`kinds!`) declares the module, puts the entry into the
//! table, and names the type whose schema `scripts/schemas` packs. What several kinds of a group
//! share is a module beside them (`rbac/bindings.rs`, `batch/job_spec.rs`); what the kinds share
//! that manage pods is in `workload.rs`, and the spec of a pod in `pod_spec`.
//!
//! Two things that belong to a kind are elsewhere. What `kubectl describe` prints is in kubectl
//! (`describe`): it asks the server for other objects (a pod's events, a service's endpoints), and
//! this room knows no client. A kind without text of its own is printed by its fields. Whether the
//! roles `view`, `edit` and `admin` have the kind is in the API server (`auth/policy`): a role is
//! one object, whose rules are kept in upstream's order, also for kinds that upstream leaves out of
//! it on purpose.
//!
//! What an entry is stands in `entry.rs`, which names no kind; `table.rs` names every kind, and no
//! kind names the table.
//!
//! CustomResourceDefinitions add entries of the same shape while the cluster runs: a [`Catalog`] is
//! all that one API server serves at one moment.

/// Declares the kinds of a group, one a line, in the order of discovery, which is that of their
/// plural names: `mod job: k8s_openapi::api::batch::v1::Job;`. The file has a function `kind()`,
/// which makes the entry. The type is the one whose schema is published as the kind's:
/// `scripts/schemas` reads these lines. A kind that k8s-openapi does not have has no type here; its
/// schema is written by hand in `scripts/schemas`.
///
/// rustfmt does not follow modules that a macro declares; `.ci/run` names these files to it.
macro_rules! kinds {
    ($($visible:vis mod $module:ident $(: $type:ty)?;)+) => {
        $($visible mod $module;)+

        /// Returns the kinds of this group, in the order of discovery.
        pub(super) fn kinds() -> Vec<$crate::kinds::entry::Kind> {
            vec![$($module::kind()),+]
        }

        // The types exist.
        $($(const _: &str = <$type as k8s_openapi::Resource>::KIND;)?)+
    };
}

mod admissionregistration;
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
