//! What all controllers share: their settings, their caches, and how they report what they did.

use crate::informers::{Cached, Informers};
use client::{Client, Informer, Key, Recorder, WorkQueue, reference};
use k8s_openapi::api::core::v1::ObjectReference;
use pki::{Ca, TokenKey};
use rng::Rng;
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
    /// The cluster's authority. Its certificate is published to every namespace as
    /// `kube-root-ca.crt`; it signs the certificate requests of users and kubelets.
    pub ca: Arc<Ca>,
    /// Signs the tokens of `kubernetes.io/service-account-token` secrets.
    pub tokens: Arc<TokenKey>,
}

#[cfg(test)]
impl Config {
    /// Settings for tests. They share one certificate authority and one key.
    pub(crate) fn fixed(client: &Client) -> Config {
        // Made once: keys take longer than many a test.
        static KEYS: std::sync::LazyLock<(Arc<Ca>, Arc<TokenKey>)> = std::sync::LazyLock::new(|| {
            let dir = tempfile::tempdir().unwrap();
            let tokens = TokenKey::load_or_create(dir.path()).unwrap();
            (Arc::new(Ca::load_or_create(dir.path(), "test").unwrap()), Arc::new(tokens))
        });
        Config {
            client: client.clone(),
            tap: Tap::new(),
            rng: Rng::seeded(1),
            identity: "n_1".into(),
            ca: KEYS.0.clone(),
            tokens: KEYS.1.clone(),
        }
    }
}

/// One controller: each file of a controller has a constant `CONTROLLER`, and `CONTROLLERS` lists
/// them.
///
/// The two steps are apart because a decision needs complete caches: a ReplicaSet whose pods are
/// not listed yet looks like one without pods. So all controllers name their kinds, all first lists
/// are awaited, and then all controllers start.
#[derive(Clone, Copy)]
pub(crate) struct Controller {
    /// Names the kinds whose informers the controller reads.
    pub informers: fn(&mut Informers),
    /// Starts the controller. The informers of the kinds that it named are synced.
    pub start: fn(&Shared),
}

/// The settings, caches and recorder that all controllers share. Clones share the caches: one watch
/// a kind.
#[derive(Clone)]
pub(crate) struct Shared {
    pub config: Config,
    pub crew: Crew,
    pub informers: Arc<Informers>,
    /// Namespaces in which an object was deleted. The garbage collector, which watches all kinds,
    /// sends them; a receiver that lags gets an error and looks at all namespaces.
    pub gone: broadcast::Sender<(String, Option<Cause>)>,
    /// Records that a controller panicked on an object.
    pub recorder: Recorder,
}

/// The reason of the Event on an object on which a controller panicked.
const PANIC: &str = "ControllerPanic";

/// Deletions that a receiver of [`Shared::gone`] may lag behind.
const GONE_BUFFER: usize = 1024;

impl Shared {
    /// Starts a watch for each kind that these controllers name.
    pub(crate) fn new(crew: &Crew, config: &Config, controllers: &[Controller]) -> Shared {
        Shared::with(crew, config, controllers, Informers::new(crew, &config.client))
    }

    fn with(crew: &Crew, config: &Config, controllers: &[Controller], mut informers: Informers) -> Shared {
        controllers.iter().for_each(|controller| (controller.informers)(&mut informers));
        Shared {
            config: config.clone(),
            crew: crew.clone(),
            informers: Arc::new(informers),
            gone: broadcast::Sender::new(GONE_BUFFER),
            recorder: Recorder::new(crew, &config.client, "kube-controller-manager", ""),
        }
    }

    /// Caches for all controllers that are empty and watch nothing: tests fill them.
    #[cfg(test)]
    pub(crate) fn fixed(client: &Client) -> Shared {
        Shared::with(&Crew::new("t"), &Config::fixed(client), crate::CONTROLLERS, Informers::fixed())
    }

    /// Returns the informer of a kind that a controller has named, e.g.
    /// `shared.informer::<Lease>()`.
    ///
    /// # Panics
    /// If no controller has named the kind.
    pub(crate) fn informer<K: Cached>(&self) -> &Informer<K> {
        self.informers.get()
    }

    /// Waits until every cache has its first list.
    pub(crate) async fn synced(&self) {
        self.informers.synced().await;
    }

    /// Reports a controller's panics in Events on the objects of `informer` that its keys name.
    pub(crate) fn report_panics<K: Cached>(
        &self,
        queue: &WorkQueue<Key>,
        informer: &Informer<K>,
        controller: &'static str,
    ) {
        let (shared, informer) = (self.clone(), informer.clone());
        queue.on_panic(move |key, panic| {
            if let Some(object) = informer.get(key) {
                shared.report_panic(&reference(&*object), controller, panic);
            }
        });
    }

    /// Reports a panic of a controller in an Event on an object.
    pub(crate) fn report_panic(&self, about: &ObjectReference, controller: &str, panic: &str) {
        let message =
            format!("the {controller} controller panicked on this object and tries again later: {panic}");
        self.recorder.warning(about, PANIC, message, None);
    }

    pub(crate) fn tap(&self, controller: Component) -> Tap {
        self.config.tap.named(controller)
    }
}

/// Makes the record of what a controller did to an object, for the tap.
pub(crate) fn record(event: Event, resource: &str, key: &Key, cause: &Option<Cause>) -> Record {
    Record::new(event).object(resource, &key.namespace, &key.name).cause(cause.clone())
}
