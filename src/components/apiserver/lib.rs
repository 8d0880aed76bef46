//! # The API server: the one door to the cluster's state
//!
//! ## In Kubernetes
//! kube-apiserver is the only component that speaks to etcd, and the only one that all others speak
//! to. A request passes TLS, authentication, authorization, decoding, defaulting, admission and
//! validation before it becomes one transaction in etcd; the watch of etcd fills a cache, from
//! which lists and watches are answered.
//! ## How this one works
//! `pipeline` is the page to read first: seven calls in order, from a request to its transaction.
//! Its parts are folders, in the order in which a request meets them.
//!
//! | folder | question that it answers | upstream |
//! |---|---|---|
//! | `request` | What was asked, and in which form does the client want the answer? | `apiserver/pkg/endpoints` |
//! | `flowcontrol` | Is there room for it, and whose turn is it? | API Priority and Fairness |
//! | `auth` | Who asks, and may they? | `authenticator`, `authorizer/rbac`, `authorizer/node` |
//! | `admission` | What does a cluster add to an object, and what does it not let in? | `plugin/pkg/admission` |
//! | `registry` | What does a verb do, for every kind? | `registry`, `apiextensions-apiserver` |
//! | `storage` | Where do objects rest, and how do watchers hear of them? | `storage/etcd3`, `storage/cacher` |
//! | `proxy` | Which other server answers it? | `registry/core/pod/rest`, `registry/core/node/rest` |
//! | `undo` | Which writes are one step, and how is it taken back? | Ropewalk's own |
//!
//! A file belongs to the folder of the question that it answers; what a path may name stands in the
//! table of kinds (`api::kinds`), so the registry works for every kind. The stages leave records in
//! the tap, from the authenticated (and impersonated) user on.
//!
//! [`Server::serve`] takes connections. `connections` makes room for clients that say who they are,
//! `forwarded` tells whose the balancer's connections are, and `http_head` counts what has come of
//! requests that are not complete. `flow` says how important a request is and on whose account it
//! counts; `bounds` refuses what is too much at a time, and `pool` leaves no account all places. A
//! `seat` is what a request occupies until its answer is written. `compute` works on large objects
//! and long lists so that nothing else waits, accounts in turn (`fair_queue`), and bounds the
//! memory of long lists.
//!
//! A write compares the revision that it read (`store`), so two writers never overwrite each other;
//! it may therefore begin from what this server remembers, and only a refusal, or "nothing to
//! change", is judged again by what the store has now. What admission asks (accounts, quotas,
//! limits, classes) is remembered too, and judged again in the same way if it refuses; another
//! server's new quota counts here as soon as this one has heard of it, as upstream. `strategy` has
//! what the server keeps in every object, whatever its client sends.
//!
//! `cache` holds every object parsed and encoded; thousands of watchers are sent the same bytes.
//! `watch_queue` cuts off watchers that do not read, and `watch_buffers` bounds what waits for all
//! of them together. A read that must be up to date asks etcd for a barrier and waits until the
//! cache is there. `compaction` bounds the store's history and keeps a reserve for the writes that
//! repair a full store.
//!
//! `kubelet` passes logs, exec and port-forward through to the kubelet of the pod's node. `pods`
//! sends a request to a server in a pod (`pods/proxy`, `services/proxy`): the kubelet makes the
//! connection, since pods are in another network than this server. `metrics` asks the kubelets what
//! nodes and pods use, and serves it as `metrics.k8s.io`. `crd` looks after
//! CustomResourceDefinitions, whose kinds are served beside those of the table. `steps` remembers
//! what people did, in the same transaction as the write, and `restore` puts the objects back as
//! they were. `bootstrap` makes namespaces, roles and the `kubernetes` service, and `reconcile`
//! brings older roles up to date. `node_authorizer` says what a kubelet may do.
//!
//! Try it: `kubectl get --raw /apis/apps/v1`, then `ropewalk trace` after any `kubectl create`.
//! ## Left out
//! - API aggregation, admission webhooks, MutatingAdmissionPolicies, PodSecurity admission,
//!   encryption at rest.
//! - In ValidatingAdmissionPolicies: requests that a proxy passes on, and type checking against
//!   custom kinds. `status.typeChecking` is written with the policy, so there is no controller for
//!   it.
//! - FlowSchemas: `flow` has levels as upstream's default ones, and no queues. Audit logs: the tap
//!   has them.
//! - An effect of Ingress and NetworkPolicy: they are stored, and nothing routes or blocks by them.
//! - A role for each controller: all controllers share one.
//! - Most metrics: `/metrics` counts requests, those in flight and those refused, and the objects
//!   of each resource. The ConfigMap that says since when the use of Secrets' tokens is tracked.
//! - `pods/resize`: pods are not resized in place.
//! - Links in a page that a pod sends compressed although `pods/proxy` asked for none of that: only
//!   plain pages are rewritten.
//! - Kinds in OpenAPI v2: its document has no paths and definitions. Clients read v3.
//! - Answers in protobuf: clients that ask for them get JSON. `insecureSkipTLSVerifyBackend` of a
//!   log: a kubelet has to show its certificate.
//! - Logs over WebSocket: every client reads a log as a stream of bytes.
//! - Inconsistent continue tokens: a list whose continue token is too old has to begin again. A
//!   deletecollection at an exact resourceVersion is refused.
//! - Lists of custom objects to which defaults that their definition got later would add more than
//!   32 MiB: pages end early, and a list without a limit is refused.
//! - Data of volumes in undo and rewind: these bring objects back.
//! - Requests beyond bounds that upstream does not have: heads of 48 KiB over HTTP/2, and of 80 KiB
//!   and 1024 fields over HTTP/1.1, selectors of 512 requirements and values, objects that nest 100
//!   deep.
//! - With an etcd of one's own (`--etcd`): writes of more keys than its `--max-txn-ops`, 128 by
//!   default, as a Service with more than 125 node ports. They are refused with 413, and the
//!   message says what to do.
//! ## Read next
//! `etcd`, where objects rest; `client`, how components come here; `controllers`, what they do with
//! it.

#![warn(missing_docs)]

mod admission;
mod auth;
mod flowcontrol;
#[cfg(test)]
mod fuzz;
mod pipeline;
mod proxy;
mod registry;
mod request;
mod server;
mod state;
mod storage;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod undo;

pub use auth::user::User;
pub use proxy::forward;
pub use registry::cidr::Cidr;
pub use request::context::{exec_words, is_dry_run, is_own, is_trial};
pub use request::forwarded::Forwarded;
pub use request::http::{self, Answer, Body};
pub use request::info::Info;
pub use server::Server;
pub use storage::compaction::HOLD;
pub use undo::restore::{
    BEFORE_ADDONS, FEWER_STEPS, NO_SUCH_REVISION, NOTHING_TO_REDO, NOTHING_TO_UNDO, PLAN_CHANGED,
};

use client::Dialer;
use etcd::Storage;
use parking_lot::Mutex;
use pki::{Clients, TokenKey};
use rng::Rng;
use state::State;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use storage::cache::Cache;
use tap::Tap;
use task::Crew;
use tokio::sync::watch as watch_channel;

/// How often the `kubernetes` service is looked after, as upstream's.
const KEEP_EVERY: Duration = Duration::from_secs(10);

/// How long a server that stops tries to take its address out of the `kubernetes` service. The
/// store may be stopping, too.
const LEAVE_WAIT: Duration = Duration::from_secs(1);

/// Everything that a server needs from outside.
pub struct Config {
    /// The cluster's store. Other API servers write to it, and so does `etcdctl`.
    pub kv: Arc<dyn Storage>,
    /// Already at this server's node and component.
    pub tap: Tap,
    /// Draws the suffixes of `generateName`, uids and the addresses of Services.
    pub rng: Rng,
    /// The server's certificate; asks a client for one, which `clients` verifies.
    pub tls: Arc<rustls::ServerConfig>,
    /// Verifies client certificates and reads the user from them.
    pub clients: Clients,
    /// Group in the certificates of this process's own teacher, which is secret: the name alone is
    /// not believed.
    pub teachers: String,
    /// Signs and verifies the tokens of service accounts.
    pub tokens: Arc<TokenKey>,
    /// The range of Services' addresses; `kubernetes` has the first.
    pub service_cidr: Cidr,
    /// Whether an address is one of the cluster's own network: a pod's or a node's.
    pub is_inside: fn(IpAddr) -> bool,
    /// First and last NodePort.
    pub node_ports: (u16, u16),
    /// Has the certificate that this server shows to kubelets.
    pub kubelet_tls: Arc<rustls::ClientConfig>,
    /// Makes connections to kubelets, from this server's node.
    pub dial: Dialer,
    /// What `default/kubernetes` points to.
    pub advertise: SocketAddr,
}

impl Server {
    /// Starts filling the cache and, once that is done, makes what a cluster must have. Answers at
    /// once; see [`Server::ready`].
    pub fn start(config: Config) -> Server {
        let crew = Crew::new("kube-apiserver");
        let state = Arc::new(State {
            kv: config.kv,
            cache: Arc::new(Cache::new()),
            rng: config.rng,
            tls: config.tls,
            clients: config.clients,
            teachers: config.teachers,
            tokens: config.tokens,
            verified: auth::verified::Verified::new(),
            service_cidr: config.service_cidr,
            is_inside: config.is_inside,
            node_ports: config.node_ports,
            kubelet_tls: config.kubelet_tls,
            dial: config.dial,
            handshakes: proxy::handshakes::Handshakes::default(),
            advertise: config.advertise,
            stop: crew.token(),
            started: watch_channel::Sender::new(false),
            requests: AtomicU64::new(0),
            bounds: flowcontrol::bounds::Bounds::default(),
            compute: flowcontrol::compute::Compute::default(),
            compaction: storage::room::Compaction::default(),
            readiness: state::Readiness::default(),
            summaries: registry::summaries::Summaries::default(),
            known: request::sources::Known::default(),
            handover: Mutex::default(),
            charging: admission::charging::Charging::default(),
            policies: admission::policies::Compiled::default(),
            lease: Mutex::default(),
        });
        // A server whose cache is no longer fed, for example, would answer with what was. So a
        // panic of any of these ends it, and the kubelet starts another one.
        let (cache, kv, stop) = (state.cache.clone(), state.kv.clone(), crew.token());
        crew.spawn_essential(async move {
            let _ = stop.run_until_cancelled(storage::cache::feed(cache, kv)).await;
        });
        let (starting, stop) = (state.clone(), crew.token());
        crew.spawn_essential(async move {
            let _ = stop.run_until_cancelled(start(starting.clone())).await;
            // A server that is killed does not come here: its lease ends by itself.
            if let Some(Err(status)) = clock::limit(LEAVE_WAIT, registry::bootstrap::leave(&starting)).await {
                tracing::debug!(message = status.message, "the address of this server stays for a while");
            }
        });
        let (defining, tap, stop) = (state.clone(), config.tap.clone(), crew.token());
        crew.spawn_essential(async move {
            let _ = stop.run_until_cancelled(registry::crd::run(defining, tap)).await;
        });
        let (compacting, stop) = (state.clone(), crew.token());
        crew.spawn_essential(async move {
            let _ = stop.run_until_cancelled(storage::compaction::run(compacting)).await;
        });
        let (bounding, stop) = (state.cache.clone(), crew.token());
        crew.spawn_essential(async move {
            let _ = stop.run_until_cancelled(bounding.watch_buffers.keep_bound()).await;
        });
        let (sweeping, stop) = (state.clone(), crew.token());
        crew.spawn_essential(async move {
            let _ = stop.run_until_cancelled(sweeping.bounds.sweep()).await;
        });
        tokio::task::spawn_blocking(api::schema::warm_up);
        Server { state, tap: config.tap, crew }
    }
}

async fn start(state: Arc<State>) {
    loop {
        state.cache.wait_for(1).await;
        match registry::bootstrap::run(&state).await {
            Ok(()) => break,
            Err(status) => tracing::warn!(message = status.message, "bootstrap failed, trying again"),
        }
        clock::pause(Duration::from_millis(200)).await;
    }
    state.started.send_replace(true);
    tracing::info!(version = api::VERSION, "serving");
    loop {
        clock::pause(KEEP_EVERY).await;
        if let Err(status) = registry::bootstrap::keep(&state).await {
            tracing::warn!(message = status.message, "what belongs to every cluster cannot be kept");
        }
    }
}
