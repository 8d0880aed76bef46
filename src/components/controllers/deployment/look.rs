//! One look at one deployment: what the steps of a look work on.

use crate::shared::Shared;
use client::{Api, Key, Recorder};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec};
use tap::{Cause, Component};

/// The source of the events and records of deployments.
pub(super) const COMPONENT: Component = Component::DeploymentController;

/// The caches and the recorder that all looks share.
pub(super) struct Worker {
    pub(super) shared: Shared,
    pub(super) recorder: Recorder,
}

/// One look at one deployment.
pub(super) struct Look<'a> {
    pub(super) worker: &'a Worker,
    pub(super) key: &'a Key,
    pub(super) cause: &'a Option<Cause>,
    pub(super) deployment: &'a Deployment,
    pub(super) spec: DeploymentSpec,
}

impl Look<'_> {
    /// Returns the API of a kind in the deployment's namespace; what is written has the look's
    /// cause.
    pub(super) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        self.worker.shared.config.client.caused_by(self.cause.clone()).within(&self.key.namespace)
    }
}
