//! The parts of a cluster that write records.

use std::str::FromStr;

/// Declares the components with their names. A component without a name does not compile, and none
/// can be missing from [`Component::ALL`], which reads records back.
macro_rules! components {
    ($($(#[$of:meta])* $variant:ident = $name:literal,)*) => {
        /// A part of a cluster that writes records. It has the name that it has upstream: a
        /// controller has that of its client and its Events, e.g. `replicaset-controller`.
        ///
        /// In JSON a component is its [`name`](Component::name).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Component { $($(#[$of])* $variant,)* }

        impl Component {
            /// All components, in the order of their declaration.
            pub const ALL: [Component; [$($name),*].len()] = [$(Component::$variant),*];

            /// Returns the component's name for people, in JSON, and in the expressions of lessons.
            pub const fn name(self) -> &'static str {
                match self { $(Component::$variant => $name),* }
            }
        }
    };
}

components! {
    /// A stream that no component has been named for yet: what [`Tap::new`](crate::Tap::new)
    /// returns. Its name is empty.
    Unnamed = "",
    /// `kube-apiserver`: the stages of each request, what it wrote and how it was answered.
    ApiServer = "kube-apiserver",
    /// `etcd`: a member of the store, and the member's Raft log.
    Etcd = "etcd",
    /// `kube-scheduler`: which node each pod gets, and why.
    Scheduler = "kube-scheduler",
    /// `kube-controller-manager`: the process that runs the controllers below.
    ControllerManager = "kube-controller-manager",
    /// `kubelet`: what a node does for its pods.
    Kubelet = "kubelet",
    /// `kube-proxy`: the rules that lead a Service's address to its pods.
    Proxy = "kube-proxy",
    /// `localhost`: the NodePorts that this machine's own `localhost` offers.
    Localhost = "localhost",
    /// `coredns`: the cluster's name server.
    Dns = "coredns",
    /// `storage-provisioner`: makes the volumes of claims.
    StorageProvisioner = "storage-provisioner",
    /// `fault`: a person, a lesson or a lab that breaks something on purpose.
    Fault = "fault",
    /// `deployment-controller`: makes and scales a Deployment's ReplicaSets.
    DeploymentController = "deployment-controller",
    /// `replicaset-controller`: keeps the number of a ReplicaSet's pods.
    ReplicaSetController = "replicaset-controller",
    /// `replication-controller`: the same for a ReplicationController.
    ReplicationController = "replication-controller",
    /// `daemonset-controller`: one pod on each node.
    DaemonSetController = "daemonset-controller",
    /// `statefulset-controller`: numbered pods, in order.
    StatefulSetController = "statefulset-controller",
    /// `job-controller`: pods that run to completion.
    JobController = "job-controller",
    /// `cronjob-controller`: Jobs by the clock.
    CronJobController = "cronjob-controller",
    /// `horizontal-pod-autoscaler`: changes a workload's scale with its load.
    HorizontalPodAutoscaler = "horizontal-pod-autoscaler",
    /// `endpointslice-controller`: lists the pods behind each Service.
    EndpointSliceController = "endpointslice-controller",
    /// `namespace-controller`: empties a namespace that is being deleted.
    NamespaceController = "namespace-controller",
    /// `garbage-collector` (upstream's client is `generic-garbage-collector`): deletes objects
    /// whose owners are gone.
    GarbageCollector = "garbage-collector",
    /// `pod-garbage-collector`: deletes pods of nodes that are gone, and old ended pods.
    PodGarbageCollector = "pod-garbage-collector",
    /// `node-controller`: marks silent nodes, and evicts pods that do not tolerate a node's
    /// `NoExecute` taints.
    NodeController = "node-controller",
    /// `persistentvolume-controller`: binds claims to volumes.
    PersistentVolumeController = "persistentvolume-controller",
    /// `disruption-controller`: counts what each PodDisruptionBudget allows.
    DisruptionController = "disruption-controller",
    /// `resourcequota-controller`: counts what each ResourceQuota has used.
    ResourceQuotaController = "resourcequota-controller",
    /// `certificate-controller`: signs approved certificate requests.
    CertificateController = "certificate-controller",
    /// `clusterrole-aggregation-controller`: joins the rules of aggregated ClusterRoles.
    ClusterRoleAggregationController = "clusterrole-aggregation-controller",
}

impl Component {
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
