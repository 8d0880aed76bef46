//! The messages between the program that starts a cluster and the supervisor that it starts.

use super::Unlimited;
use crate::control::Reply;
use crate::spec::Spec;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The hidden argument with which the binary becomes a cluster's supervisor; the [`Order`] as JSON
/// follows.
pub const SUPERVISE_ARGUMENT: &str = "ropewalk-supervise";

/// The cluster that a supervisor is to start.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Order {
    pub home: PathBuf,
    pub spec: Spec,
    /// The cluster ends when the front does.
    pub attached: bool,
}

/// A message of a starting cluster, on its standard output.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum StartReport {
    #[serde(rename_all = "camelCase")]
    Started {
        api_port: u16,
        /// Why limits of containers are not enforced, or not all of them.
        unlimited: Option<Unlimited>,
    },
    /// Why the store does not serve yet.
    Waits(String),
    Failed(Reply),
}
