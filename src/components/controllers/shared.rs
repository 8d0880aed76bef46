//! What all controllers share: their settings, their caches, and how they report what they did.

use client::{Client, Informer, Key, Recorder, WorkQueue, reference};
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
    /// Authenticates as `system:kube-controller-manager`.
    pub client: Client,
    /// Where records of what the controllers do go.
    pub tap: Tap,
    /// Draws the suffixes of generated names: `web-x7k2p`.
    pub rng: Rng,
    /// The holder of the Lease while this process leads: `NODE_UUID`.
    pub identity: String,
    /// Its certificate is published to every namespace as `kube-root-ca.crt`; it signs what people
    /// and kubelets ask for.
    pub ca: Arc<Ca>,
    /// Signs the tokens of `kubernetes.io/service-account-token` secrets.
    pub tokens: Arc<TokenKey>,
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
    pub recorder: Recorder,
}

/// The reason of the Event on an object on which a controller panicked.
const PANIC: &str = "ControllerPanic";

/// Deletions that a listener to [`Shared::gone`] may be behind.
const GONE_BUFFER: usize = 1024;

impl Shared {
    pub(crate) fn new(crew: &Crew, config: &Config) -> Shared {
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
    pub(crate) fn fixed(client: &Client) -> Shared {
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

    pub(crate) async fn synced(&self) {
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
    pub(crate) fn report_panics<K>(
        &self,
        queue: &WorkQueue<Key>,
        informer: &Informer<K>,
        controller: &'static str,
    ) where
        K: kube::Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    {
        let (shared, informer) = (self.clone(), informer.clone());
        queue.on_panic(move |key, panic| {
            if let Some(object) = informer.get(key) {
                shared.tell_panic(&reference(&*object), controller, panic);
            }
        });
    }

    pub(crate) fn tell_panic(&self, about: &ObjectReference, controller: &str, panic: &str) {
        let message =
            format!("the {controller} controller panicked on this object and tries again later: {panic}");
        self.recorder.warning(about, PANIC, message, None);
    }

    pub(crate) fn tap(&self, controller: Component) -> Tap {
        self.config.tap.named(controller)
    }
}

/// What a controller did, for the tap.
pub(crate) fn record(event: Event, resource: &str, key: &Key, cause: &Option<Cause>) -> Record {
    Record::new(event).object(resource, &key.namespace, &key.name).cause(cause.clone())
}
