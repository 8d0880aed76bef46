//! # The controllers: from what is wanted to what is
//!
//! ## In Kubernetes
//! kube-controller-manager runs some thirty control loops. Each watches a few kinds, compares
//! `spec` with the world, and writes the difference through the API. None of them talks to another:
//! a Deployment becomes a ReplicaSet becomes Pods only because each loop sees the last one's
//! object.
//! ## How this one works
//! Every controller is a pure decision with a thin edge: informers put keys into a work queue, a
//! worker looks at the caches, decides, and writes. What led to a look travels with the key as its
//! cause. They are level-triggered: a restart at any point converges. Controllers whose objects own
//! pods (ReplicaSet, ReplicationController, DaemonSet, Job, StatefulSet) differ in their decisions;
//! the rest is one shape, `workload`. Only the replica that holds the Lease
//! `kube-controller-manager` works. A panic on one object is told in an Event (`ControllerPanic`)
//! and tried again after a pause; the other objects go on. A write that meets a newer object brings
//! its key back (`write`); what fails again and again is logged as a warning. The controllers of
//! workloads and the garbage collector run in a simulated world too (`sim`): late, refused and lost
//! requests, watches that lag and break, kills while something is written, all from a seed.
//!
//! The folders `golden` show rollouts, Jobs, endpoints, StatefulSets and what the garbage collector
//! deletes, as scripts to read.
//! ## Left out
//! Attach/detach. EndpointSlices are not mirrored from hand-made Endpoints.
//! The autoscaler knows resource metrics only: no custom or external metrics API is served.
//! Of pods that are too many and equally useful the youngest goes: upstream compares the logarithms
//! of their ages. Nodes get no annotation `node.alpha.kubernetes.io/ttl`.
//! Volumes are not recycled, and directories of hostPath volumes are not deleted: such a volume is
//! Failed once it is released.
//! ## Read next
//! [`replicaset`], the simplest of them; then [`deployment`], [`job`] and [`statefulset`].

mod amount;
pub mod autoscaler;
pub mod certificates;
mod clusterrole;
pub mod cronjob;
pub mod daemonset;
pub mod deployment;
pub mod disruption;
pub mod endpoints;
mod expectations;
pub mod garbage;
pub mod job;
pub mod namespace;
pub mod node;
mod pauses;
mod pods;
mod protection;
pub mod replicaset;
mod replicationcontroller;
pub mod resourcequota;
mod resources;
mod revisions;
pub mod serviceaccount;
#[cfg(test)]
mod sim;
pub mod statefulset;
pub mod volume;
mod workload;
mod write;

use client::{Client, Informer, Key, LeaderElection, Recorder, WorkQueue, reference};
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Namespace, Node, ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod,
    ReplicationController, ResourceQuota, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::api::storage::v1::StorageClass;
use pki::{Ca, TokenKey};
use rng::Rng;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::sync::Arc;
use tap::{Cause, Component, Event, Record, Tap};
use task::Crew;
use tokio::sync::broadcast;

/// Everything that the controllers need from outside.
#[derive(Clone)]
pub struct Config {
    pub client: Client,
    pub tap: Tap,
    pub rng: Rng,
    /// Who stands for election: `NODE_UUID`.
    pub identity: String,
    /// Its certificate is published to every namespace as `kube-root-ca.crt`; it signs what people
    /// and kubelets ask for.
    pub ca: Arc<Ca>,
    /// Signs the tokens of `kubernetes.io/service-account-token` secrets.
    pub tokens: Arc<TokenKey>,
}

/// Why one look at an object did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error(transparent)]
    Pki(#[from] pki::Error),
    /// Another writer was first: the next look decides on what is there now.
    #[error("changed meanwhile: {0}")]
    Conflict(String),
    #[error("an object cannot be written as JSON: {0}")]
    Encode(#[from] serde_json::Error),
    #[error("{0}")]
    NotYet(String),
    /// The object's spec cannot be followed, and another try would not mend that: it is told on the
    /// object, which comes back when it changes.
    #[error("{0}")]
    Spec(String),
}

/// The caches that all controllers share: one watch a kind.
#[derive(Clone)]
pub(crate) struct Shared {
    pub config: Config,
    pub crew: Crew,
    pub pods: Informer<Pod>,
    pub replica_sets: Informer<ReplicaSet>,
    pub replication_controllers: Informer<ReplicationController>,
    pub deployments: Informer<Deployment>,
    pub daemon_sets: Informer<DaemonSet>,
    pub jobs: Informer<Job>,
    pub cron_jobs: Informer<CronJob>,
    pub stateful_sets: Informer<StatefulSet>,
    pub autoscalers: Informer<HorizontalPodAutoscaler>,
    pub revisions: Informer<ControllerRevision>,
    pub services: Informer<Service>,
    pub slices: Informer<EndpointSlice>,
    pub endpoints: Informer<Endpoints>,
    pub namespaces: Informer<Namespace>,
    pub nodes: Informer<Node>,
    pub leases: Informer<Lease>,
    pub accounts: Informer<ServiceAccount>,
    pub config_maps: Informer<ConfigMap>,
    pub secrets: Informer<Secret>,
    pub claims: Informer<PersistentVolumeClaim>,
    pub volumes: Informer<PersistentVolume>,
    pub classes: Informer<StorageClass>,
    pub budgets: Informer<PodDisruptionBudget>,
    pub quotas: Informer<ResourceQuota>,
    pub requests: Informer<CertificateSigningRequest>,
    pub cluster_roles: Informer<ClusterRole>,
    /// Namespaces in which something was deleted, told by the garbage collector, which watches
    /// everything. Who is too slow is told that it missed some, and looks at all.
    pub gone: broadcast::Sender<(String, Option<Cause>)>,
    /// For what no controller tells of itself: that it panicked.
    recorder: Recorder,
}

/// The reason of the Event on an object on which a controller panicked.
const PANIC: &str = "ControllerPanic";

/// Deletions that a listener to [`Shared::gone`] may be behind.
const GONE_BUFFER: usize = 1024;

impl Shared {
    fn new(crew: &Crew, config: &Config) -> Shared {
        let client = &config.client;
        let only = |fields: &str| kube::runtime::watcher::Config::default().fields(fields);
        Shared {
            config: config.clone(),
            crew: crew.clone(),
            pods: Informer::all(crew, client),
            replica_sets: Informer::all(crew, client),
            replication_controllers: Informer::all(crew, client),
            deployments: Informer::all(crew, client),
            daemon_sets: Informer::all(crew, client),
            jobs: Informer::all(crew, client),
            cron_jobs: Informer::all(crew, client),
            stateful_sets: Informer::all(crew, client),
            autoscalers: Informer::all(crew, client),
            revisions: Informer::all(crew, client),
            services: Informer::all(crew, client),
            slices: Informer::all(crew, client),
            endpoints: Informer::all(crew, client),
            namespaces: Informer::all(crew, client),
            nodes: Informer::all(crew, client),
            leases: Informer::in_namespace(crew, client, "kube-node-lease"),
            accounts: Informer::all(crew, client),
            config_maps: Informer::start(crew, client, only("metadata.name=kube-root-ca.crt")),
            secrets: Informer::start(crew, client, only("type=kubernetes.io/service-account-token")),
            claims: Informer::all(crew, client),
            volumes: Informer::all(crew, client),
            classes: Informer::all(crew, client),
            budgets: Informer::all(crew, client),
            quotas: Informer::all(crew, client),
            requests: Informer::all(crew, client),
            cluster_roles: Informer::all(crew, client),
            gone: broadcast::Sender::new(GONE_BUFFER),
            recorder: Recorder::new(crew, client, "kube-controller-manager", ""),
        }
    }

    /// Caches that know nothing and watch nothing; tests tell them what there is.
    #[cfg(test)]
    fn fixed(client: &Client) -> Shared {
        // Made once: keys take longer than many a test.
        static KEYS: std::sync::LazyLock<(Arc<Ca>, Arc<TokenKey>)> = std::sync::LazyLock::new(|| {
            let dir = tempfile::tempdir().unwrap();
            let tokens = TokenKey::load_or_create(dir.path()).unwrap();
            (Arc::new(Ca::load_or_create(dir.path(), "test").unwrap()), Arc::new(tokens))
        });
        let crew = Crew::new("t");
        let config = Config {
            client: client.clone(),
            tap: Tap::new(),
            rng: Rng::seeded(1),
            identity: "n_1".into(),
            ca: KEYS.0.clone(),
            tokens: KEYS.1.clone(),
        };
        Shared {
            pods: Informer::fixed([]),
            replica_sets: Informer::fixed([]),
            replication_controllers: Informer::fixed([]),
            deployments: Informer::fixed([]),
            daemon_sets: Informer::fixed([]),
            jobs: Informer::fixed([]),
            cron_jobs: Informer::fixed([]),
            stateful_sets: Informer::fixed([]),
            autoscalers: Informer::fixed([]),
            revisions: Informer::fixed([]),
            services: Informer::fixed([]),
            slices: Informer::fixed([]),
            endpoints: Informer::fixed([]),
            namespaces: Informer::fixed([]),
            nodes: Informer::fixed([]),
            leases: Informer::fixed([]),
            accounts: Informer::fixed([]),
            config_maps: Informer::fixed([]),
            secrets: Informer::fixed([]),
            claims: Informer::fixed([]),
            volumes: Informer::fixed([]),
            classes: Informer::fixed([]),
            budgets: Informer::fixed([]),
            quotas: Informer::fixed([]),
            requests: Informer::fixed([]),
            cluster_roles: Informer::fixed([]),
            gone: broadcast::Sender::new(GONE_BUFFER),
            recorder: Recorder::new(&crew, client, "kube-controller-manager", ""),
            config,
            crew,
        }
    }

    async fn synced(&self) {
        futures::join!(
            self.pods.synced(),
            self.replica_sets.synced(),
            self.replication_controllers.synced(),
            self.deployments.synced(),
            self.daemon_sets.synced(),
            self.jobs.synced(),
            self.cron_jobs.synced(),
            self.stateful_sets.synced(),
            self.autoscalers.synced(),
            self.revisions.synced(),
            self.services.synced(),
            self.slices.synced(),
            self.endpoints.synced(),
            self.namespaces.synced(),
            self.nodes.synced(),
            self.leases.synced(),
            self.accounts.synced(),
            self.config_maps.synced(),
            self.secrets.synced(),
            self.claims.synced(),
            self.volumes.synced(),
            self.classes.synced(),
            self.budgets.synced(),
            self.quotas.synced(),
            self.requests.synced(),
            self.cluster_roles.synced(),
        );
    }

    /// Has a controller's panics reported in Events on the objects of `informer` that its keys
    /// name.
    fn report_panics<K>(&self, queue: &WorkQueue<Key>, informer: &Informer<K>, controller: &'static str)
    where
        K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        let (shared, informer) = (self.clone(), informer.clone());
        queue.on_panic(move |key, panic| {
            if let Some(object) = informer.get(key) {
                shared.tell_panic(&reference(&*object), controller, panic);
            }
        });
    }

    fn tell_panic(&self, about: &ObjectReference, controller: &str, panic: &str) {
        let message =
            format!("the {controller} controller panicked on this object and tries again later: {panic}");
        self.recorder.warning(about, PANIC, message, None);
    }

    fn tap(&self, controller: Component) -> Tap {
        self.config.tap.named(controller)
    }
}

/// Stands for election and runs every controller while it leads. Ends with an error when the Lease
/// is lost, as upstream exits then.
pub fn start(crew: &Crew, config: Config) {
    let own = crew.clone();
    crew.spawn_main(async move {
        let election =
            LeaderElection::new(config.client.clone(), "kube-controller-manager", &config.identity);
        let tap = config.tap.clone();
        let work = |crew: Crew| async move {
            let shared = Shared::new(&crew, &config);
            shared.synced().await;
            workload::start::<replicaset::Replicas<ReplicaSet>>(&shared);
            workload::start::<replicaset::Replicas<ReplicationController>>(&shared);
            deployment::start(&shared);
            daemonset::start(&shared);
            workload::start::<job::Jobs>(&shared);
            cronjob::start(&shared);
            statefulset::start(&shared);
            autoscaler::start(&shared);
            endpoints::start(&shared);
            namespace::start(&shared);
            garbage::start(&shared);
            serviceaccount::start(&shared);
            node::start(&shared);
            volume::start(&shared);
            protection::start(&shared);
            disruption::start(&shared);
            resourcequota::start(&shared);
            certificates::start(&shared);
            clusterrole::start(&shared);
            tracing::info!("controllers started");
        };
        election.lead(&own, &tap, work).await
    });
}

/// What a controller did, for the tap.
fn record(event: Event, resource: &str, key: &client::Key, cause: &Option<Cause>) -> Record {
    Record::new(event).object(resource, &key.namespace, &key.name).cause(cause.clone())
}
