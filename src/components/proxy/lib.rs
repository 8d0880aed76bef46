//! # kube-proxy: from Services to the kernel's rules
//!
//! ## In Kubernetes
//! One per node. It watches Services and EndpointSlices and writes rules so that a connection to a
//! service's virtual address, or to a node port, goes to one of its endpoints. The address belongs
//! to nobody: no process listens there.
//! ## How this one works
//! [`rules`] is pure: services and slices in, the node's [`ServiceRule`]s out. The edge waits for
//! changes, gathers those that come together, and hands the whole picture to the node's network,
//! which changes only what differs. [`host`] does the same for the learner's own loopback: `curl
//! localhost:NODEPORT` reaches the cluster, and is refused as soon as nothing is ready. The port of
//! a load balancer leads to the nodes that are not excluded from load balancers by their label; to
//! all, if every one is. An address that two Services claim goes to one of them, and the other is
//! told in an Event: the kernel would refuse the whole table. So are Services whose rules are more
//! than the kernel takes at once.
//!
//! The folder `golden` shows a node's rules for cluster IPs, node ports and conflicts, as scripts
//! to read.
//! ## Left out
//! `trafficDistribution` and topology hints, `loadBalancerSourceRanges`, health-check node ports,
//! the proxy's own ports for metrics and health (10249 and 10256), IPv6, SCTP. Services with
//! `sessionAffinity: ClientIP` and more than some 210 endpoints are not served: each endpoint has
//! rules of its own, and a Service's must fit into one message to the kernel.
//! ## Read next
//! `net`, which turns rules into nftables.

#![warn(missing_docs)]

#[cfg(test)]
mod golden;
pub mod host;
mod rules;

use client::{Client, Informer, Key, Recorder, reference};
use cni::{NodeNetwork, ServiceRule};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use parking_lot::Mutex;
use rules::Refused;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tap::{Cause, Event, Record, Tap};
use task::Crew;
use tokio::sync::Notify;

/// Rules that the kernel refused, and flows that it did not forget, are tried again after this
/// time.
const RETRY: Duration = Duration::from_secs(1);

/// The parts that the proxy of one node needs: the API server, which tells it of Services, and the
/// node's network.
pub struct Config {
    /// The Node object's name: endpoints on this node are the local ones of
    /// `externalTrafficPolicy: Local`.
    pub node_name: String,
    /// Watches Services and EndpointSlices, and writes Events.
    pub client: Client,
    /// Writes the service rules into this node's kernel.
    pub network: Arc<dyn NodeNetwork>,
    /// Where records of changed rules go.
    pub tap: Tap,
}

/// Wakes a loop when a Service or one of its slices changed, and remembers the newest cause.
#[derive(Clone)]
pub(crate) struct Changes {
    pub services: Informer<Service>,
    pub slices: Informer<EndpointSlice>,
    news: Arc<Notify>,
    cause: Arc<Mutex<Option<Cause>>>,
}

impl Changes {
    pub(crate) fn watch(crew: &Crew, client: &Client) -> Changes {
        let changes = Changes {
            services: Informer::all(crew, client),
            slices: Informer::all(crew, client),
            news: Arc::new(Notify::new()),
            cause: Arc::new(Mutex::new(None)),
        };
        let c = changes.clone();
        changes.services.on(move |change| c.poke(change.cause()));
        let c = changes.clone();
        changes.slices.on(move |change| c.poke(change.cause()));
        changes
    }

    pub(crate) fn poke(&self, cause: Option<Cause>) {
        *self.cause.lock() = cause;
        self.news.notify_one();
    }

    pub(crate) async fn synced(&self) {
        futures::join!(self.services.synced(), self.slices.synced());
    }

    /// Waits for a change; several that came together are one.
    pub(crate) async fn next(&self) -> Option<Cause> {
        self.news.notified().await;
        self.cause.lock().take()
    }

    /// Returns all slices by the Service that they belong to, as `namespace/name`.
    pub(crate) fn by_service(&self) -> BTreeMap<String, Vec<Arc<EndpointSlice>>> {
        let mut map: BTreeMap<String, Vec<Arc<EndpointSlice>>> = BTreeMap::new();
        for slice in self.slices.list() {
            let labels = slice.metadata.labels.as_ref();
            if let Some(service) = labels.and_then(|l| l.get("kubernetes.io/service-name")) {
                let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
                map.entry(format!("{namespace}/{service}")).or_default().push(slice.clone());
            }
        }
        map
    }
}

/// Writes an Event on each Service, once, about what it does not get. Returns what has been
/// reported by now.
fn report_refused(
    recorder: &Recorder,
    node: &str,
    refused: Vec<rules::Refused>,
    told: &BTreeSet<String>,
) -> BTreeSet<String> {
    let mut now = BTreeSet::new();
    for Refused { service, reason, message } in refused {
        let what = format!("{:?} {message}", service.metadata.uid);
        if !told.contains(&what) {
            let key = Key::of(&*service);
            tracing::warn!(node, service = %key, reason, why = message, "a rule is left out");
            recorder.warning(&reference(&*service), reason, message, None);
        }
        now.insert(what);
    }
    now
}

/// Logs why something fails, unless `known` has the same reason of the last try, and keeps it
/// there. `None`: it works again.
fn warn_once(known: &mut Option<String>, failed: Option<String>, what: &str) {
    if let Some(error) = failed.as_ref().filter(|e| known.as_ref() != Some(*e)) {
        tracing::warn!(error, "{what}, trying again");
    }
    *known = failed;
}

/// Makes the kernel forget flows of UDP clients, which would stay with endpoints that are gone.
/// `stuck` is why it could not be done at the last try, if so; the same reason is logged once.
async fn forget_flows(network: &dyn NodeNetwork, stuck: &mut Option<String>) {
    let failed = network.forget_flows().await.err().map(|e| e.to_string());
    warn_once(stuck, failed, "UDP clients may stay with endpoints that are gone");
}

/// Writes the rules, and returns how many changed. `None`: the kernel refused them; `refused` is
/// why, and the same reason is logged once.
async fn write_rules(
    network: &dyn NodeNetwork,
    wanted: &[ServiceRule],
    refused: &mut Option<String>,
) -> Option<usize> {
    let written = network.sync_services(wanted).await;
    let failed = written.as_ref().err().map(ToString::to_string);
    warn_once(refused, failed, "cannot write the service rules");
    written.ok()
}

/// Keeps one node's rules in step with the cluster, until the crew ends.
pub fn start(crew: &Crew, config: Config) {
    let own = crew.clone();
    crew.spawn_main(async move {
        let changes = Changes::watch(&own, &config.client);
        let stop = own.token();
        tokio::select! {
            () = changes.synced() => {}
            () = stop.cancelled() => return Ok(()), // without an API server they are never synced
        }
        tracing::info!(node = config.node_name, "caches are synced for service config");
        let recorder = Recorder::new(&own, &config.client, "kube-proxy", &config.node_name);
        let mut told = BTreeSet::new();
        let (mut cause, mut stuck, mut unwritten) = (None, None, None);
        loop {
            let start = clock::Instant::now();
            let (wanted, refused) =
                rules::rules(&changes.services.list(), &changes.by_service(), &config.node_name);
            told = report_refused(&recorder, &config.node_name, refused, &told);
            match write_rules(&*config.network, &wanted, &mut unwritten).await {
                Some(0) => {}
                Some(changed) => {
                    tracing::info!(rules = wanted.len(), changed, "SyncProxyRules complete");
                    let event = Event::Rules { rules: wanted.len(), changed };
                    config.tap.emit(Record::new(event).cause(cause.take()).took(start.elapsed()));
                }
                None => tokio::select! {
                    () = clock::pause(RETRY) => continue,
                    () = stop.cancelled() => return Ok(()),
                },
            }
            forget_flows(&*config.network, &mut stuck).await;
            loop {
                tokio::select! {
                    next = changes.next() => {
                        cause = next;
                        break;
                    }
                    () = clock::pause(RETRY), if stuck.is_some() => {
                        forget_flows(&*config.network, &mut stuck).await;
                    }
                    () = stop.cancelled() => return Ok::<(), String>(()),
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::testing::Log;
    use std::net::Ipv4Addr;

    /// A kernel without nf_conntrack_netlink: rules can be written all the same.
    #[tokio::test]
    async fn flows_that_cannot_be_forgotten_are_told_once() {
        let (log, node) = (Log::default(), cni::fake::FakeFabric::default());
        let node = node.node(Ipv4Addr::new(172, 30, 0, 11), Ipv4Addr::new(10, 244, 1, 0));
        let _guard = log.listen();
        let mut stuck = None;
        node.keep_flows(true);
        for _ in 0..3 {
            assert_eq!(node.sync_services(&[]).await.ok(), Some(0));
            forget_flows(&*node, &mut stuck).await;
            assert!(stuck.is_some(), "it is tried again");
        }
        assert_eq!(log.warnings().len(), 1, "{:?}", log.warnings());
        node.keep_flows(false);
        forget_flows(&*node, &mut stuck).await;
        assert_eq!(stuck, None);
    }

    #[tokio::test]
    async fn rules_that_the_kernel_refuses_are_told_once() {
        let (log, node) = (Log::default(), cni::fake::FakeFabric::default());
        let node = node.node(Ipv4Addr::new(172, 30, 0, 11), Ipv4Addr::new(10, 244, 1, 0));
        let _guard = log.listen();
        let mut refused = None;
        for (works, warnings) in [(false, 1), (false, 1), (true, 1), (false, 2)] {
            node.refuse_rules(!works);
            assert_eq!(write_rules(&*node, &[], &mut refused).await.is_some(), works);
            assert_eq!(log.warnings().len(), warnings, "{:?}", log.warnings());
        }
    }

    /// Otherwise the stop of a cluster without an API server waits for the kill.
    #[tokio::test]
    async fn a_stop_before_the_caches_are_synced_is_heard() {
        let server = client::testing::Scripted::new(|_| client::testing::refusal(503, "ServiceUnavailable"));
        let server = server.await;
        let fabric = cni::fake::FakeFabric::default();
        let network = fabric.node(Ipv4Addr::new(172, 30, 0, 11), Ipv4Addr::new(10, 244, 1, 0));
        let (crew, tap) = (Crew::new("test"), Tap::new().at("", tap::Component::Proxy));
        start(&crew, Config { node_name: "n".into(), client: server.client.clone(), network, tap });
        let stopped = clock::timeout(Duration::from_secs(60), crew.stop()).await;
        assert!(stopped.is_some(), "it waits for the caches");
    }
}
