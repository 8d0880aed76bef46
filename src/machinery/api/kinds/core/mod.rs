//! The core group, whose name is empty: `/api/v1`.

mod binding;
mod config_map;
mod data;
mod endpoints;
pub(super) mod event;
mod limit_range;
mod namespace;
mod node;
pub(crate) mod persistent_volume;
pub(super) mod persistent_volume_claim;
pub mod pod;
mod replication_controller;
mod resource_quota;
mod secret;
pub mod service;
mod service_account;
mod volumes;

use crate::kinds::entry::Kind;

/// The kinds of this group, in the order of discovery.
pub(super) fn kinds() -> Vec<Kind> {
    vec![
        binding::kind(),
        config_map::kind(),
        endpoints::kind(),
        event::kind(),
        limit_range::kind(),
        namespace::kind(),
        node::kind(),
        persistent_volume_claim::kind(),
        persistent_volume::kind(),
        pod::kind(),
        replication_controller::kind(),
        resource_quota::kind(),
        secret::kind(),
        service_account::kind(),
        service::kind(),
    ]
}
