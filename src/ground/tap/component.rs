//! The parts of a cluster that write records.

use std::str::FromStr;

/// A part of a cluster that writes records. It has the name that it has upstream: a controller has
/// that of its client and its Events, e.g. `replicaset-controller`.
///
/// In JSON a component is its [`name`](Component::name).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// A stream that no component has been named for yet: what [`Tap::new`](crate::Tap::new)
    /// returns. Its name is empty.
    Unnamed,
    /// `kube-apiserver`: the stages of each request, what it wrote and how it was answered.
    ApiServer,
    /// `etcd`: a member of the store, and the member's Raft log.
    Etcd,
    /// `kube-scheduler`: which node each pod gets, and why.
    Scheduler,
    /// `kube-controller-manager`: the process that runs the controllers below.
    ControllerManager,
    /// `kubelet`: what a node does for its pods.
    Kubelet,
    /// `kube-proxy`: the rules that lead a Service's address to its pods.
    Proxy,
    /// `localhost`: the NodePorts that this machine's own `localhost` offers.
    Localhost,
    /// `coredns`: the cluster's name server.
    Dns,
    /// `storage-provisioner`: makes the volumes of claims.
    StorageProvisioner,
    /// `fault`: a person, a lesson or a lab that breaks something on purpose.
    Fault,
    /// `deployment-controller`: makes and scales a Deployment's ReplicaSets.
    DeploymentController,
    /// `replicaset-controller`: keeps the number of a ReplicaSet's pods.
    ReplicaSetController,
    /// `replication-controller`: the same for a ReplicationController.
    ReplicationController,
    /// `daemonset-controller`: one pod on each node.
    DaemonSetController,
    /// `statefulset-controller`: numbered pods, in order.
    StatefulSetController,
    /// `job-controller`: pods that run to completion.
    JobController,
    /// `cronjob-controller`: Jobs by the clock.
    CronJobController,
    /// `horizontal-pod-autoscaler`: changes a workload's scale with its load.
    HorizontalPodAutoscaler,
    /// `endpointslice-controller`: lists the pods behind each Service.
    EndpointSliceController,
    /// `namespace-controller`: empties a namespace that is being deleted.
    NamespaceController,
    /// `garbage-collector`: deletes objects whose owners are gone.
    GarbageCollector,
    /// `pod-garbage-collector`: deletes pods of nodes that are gone, and old ended pods.
    PodGarbageCollector,
    /// `node-controller`: marks silent nodes and evicts their pods.
    NodeController,
    /// `persistentvolume-controller`: binds claims to volumes.
    PersistentVolumeController,
    /// `disruption-controller`: counts what each PodDisruptionBudget allows.
    DisruptionController,
    /// `resourcequota-controller`: counts what each ResourceQuota has used.
    ResourceQuotaController,
    /// `certificate-controller`: signs approved certificate requests.
    CertificateController,
    /// `clusterrole-aggregation-controller`: joins the rules of aggregated ClusterRoles.
    ClusterRoleAggregationController,
}

impl Component {
    /// All components, in the order of their declaration.
    pub const ALL: [Component; 29] = [
        Component::Unnamed,
        Component::ApiServer,
        Component::Etcd,
        Component::Scheduler,
        Component::ControllerManager,
        Component::Kubelet,
        Component::Proxy,
        Component::Localhost,
        Component::Dns,
        Component::StorageProvisioner,
        Component::Fault,
        Component::DeploymentController,
        Component::ReplicaSetController,
        Component::ReplicationController,
        Component::DaemonSetController,
        Component::StatefulSetController,
        Component::JobController,
        Component::CronJobController,
        Component::HorizontalPodAutoscaler,
        Component::EndpointSliceController,
        Component::NamespaceController,
        Component::GarbageCollector,
        Component::PodGarbageCollector,
        Component::NodeController,
        Component::PersistentVolumeController,
        Component::DisruptionController,
        Component::ResourceQuotaController,
        Component::CertificateController,
        Component::ClusterRoleAggregationController,
    ];

    /// The component's name for people, in JSON, and in the expressions of lessons.
    pub const fn name(self) -> &'static str {
        match self {
            Component::Unnamed => "",
            Component::ApiServer => "kube-apiserver",
            Component::Etcd => "etcd",
            Component::Scheduler => "kube-scheduler",
            Component::ControllerManager => "kube-controller-manager",
            Component::Kubelet => "kubelet",
            Component::Proxy => "kube-proxy",
            Component::Localhost => "localhost",
            Component::Dns => "coredns",
            Component::StorageProvisioner => "storage-provisioner",
            Component::Fault => "fault",
            Component::DeploymentController => "deployment-controller",
            Component::ReplicaSetController => "replicaset-controller",
            Component::ReplicationController => "replication-controller",
            Component::DaemonSetController => "daemonset-controller",
            Component::StatefulSetController => "statefulset-controller",
            Component::JobController => "job-controller",
            Component::CronJobController => "cronjob-controller",
            Component::HorizontalPodAutoscaler => "horizontal-pod-autoscaler",
            Component::EndpointSliceController => "endpointslice-controller",
            Component::NamespaceController => "namespace-controller",
            Component::GarbageCollector => "garbage-collector",
            Component::PodGarbageCollector => "pod-garbage-collector",
            Component::NodeController => "node-controller",
            Component::PersistentVolumeController => "persistentvolume-controller",
            Component::DisruptionController => "disruption-controller",
            Component::ResourceQuotaController => "resourcequota-controller",
            Component::CertificateController => "certificate-controller",
            Component::ClusterRoleAggregationController => "clusterrole-aggregation-controller",
        }
    }

    /// Returns whether this is the controller manager or one of its controllers.
    pub const fn is_controller(self) -> bool {
        !matches!(
            self,
            Component::Unnamed
                | Component::ApiServer
                | Component::Etcd
                | Component::Scheduler
                | Component::Kubelet
                | Component::Proxy
                | Component::Localhost
                | Component::Dns
                | Component::StorageProvisioner
                | Component::Fault
        )
    }
}

impl std::fmt::Display for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Component {
    type Err = String;

    /// Reads a [`name`](Component::name).
    ///
    /// # Errors
    /// No component has this name.
    fn from_str(name: &str) -> Result<Component, String> {
        let found = Component::ALL.into_iter().find(|c| c.name() == name);
        found.ok_or_else(|| format!("no component is called {name:?}"))
    }
}
