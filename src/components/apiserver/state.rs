//! What the handlers of one server share: its store and cache, what it was started with, and its
//! accounts of clients, connections and memory.

use crate::admission::charging::Charging;
use crate::admission::policies::Compiled;
use crate::auth::verified::Verified;
use crate::flowcontrol::bounds::Bounds;
use crate::flowcontrol::compute::Compute;
use crate::proxy::handshakes::Handshakes;
use crate::registry::cidr::Cidr;
use crate::registry::summaries::Summaries;
use crate::request::info::Info;
use crate::request::sources::Known;
use crate::storage::cache::Cache;
use crate::storage::room::Compaction;
use api::kinds::{Kind, KindRef};
use client::Dialer;
use etcd::Storage;
use parking_lot::Mutex;
use pki::{Clients, TokenKey};
use rng::Rng;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch as watch_channel};
use tokio_util::sync::CancellationToken;

/// The sender of connections that were accepted elsewhere in this process, each with the address
/// that it comes from.
pub(crate) type Handover = mpsc::Sender<(TcpStream, SocketAddr)>;

/// The store's last answer to the question whether it is ready, and when it was asked
/// (`request::readiness`). Locked while it is asked.
#[derive(Default)]
pub(crate) struct Readiness(pub(crate) tokio::sync::Mutex<Option<(clock::Instant, Result<(), String>)>>);

/// What the handlers of one server share. A field without a comment is one of [`crate::Config`], or
/// the comment of its type says what it is.
pub(crate) struct State {
    pub(crate) kv: Arc<dyn Storage>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) rng: Rng,
    pub(crate) tls: Arc<rustls::ServerConfig>,
    pub(crate) clients: Clients,
    pub(crate) teachers: String,
    pub(crate) tokens: Arc<TokenKey>,
    /// The claims of tokens whose signature was checked lately.
    pub(crate) verified: Verified,
    pub(crate) service_cidr: Cidr,
    pub(crate) is_inside: fn(IpAddr) -> bool,
    pub(crate) node_ports: (u16, u16),
    pub(crate) kubelet_tls: Arc<rustls::ClientConfig>,
    pub(crate) dial: Dialer,
    /// The handshakes with kubelets that are under way.
    pub(crate) handshakes: Handshakes,
    pub(crate) advertise: SocketAddr,
    /// Cancelled when the server stops.
    pub(crate) stop: CancellationToken,
    /// True once the server has made what every cluster has.
    pub(crate) started: watch_channel::Sender<bool>,
    /// Requests until now, for `/metrics`.
    pub(crate) requests: AtomicU64,
    pub(crate) bounds: Bounds,
    pub(crate) compute: Compute,
    pub(crate) compaction: Compaction,
    pub(crate) readiness: Readiness,
    /// What kubelets said lately of the use of nodes and pods.
    pub(crate) summaries: Summaries,
    /// Connections whose client has authenticated, and those of the balancer with their clients.
    pub(crate) known: Known,
    /// Takes over connections; none while no listener is served.
    pub(crate) handover: Mutex<Option<Handover>>,
    /// The turns in which requests charge the quotas of a namespace.
    pub(crate) charging: Charging,
    /// The compiled admission policies.
    pub(crate) policies: Compiled,
    /// The lease of the store for objects that expire (Events), and until when new ones share it.
    pub(crate) lease: Mutex<Option<(i64, clock::Instant)>>,
}

impl State {
    /// Finds the kind that a path names. If the cache lacks it, the store is asked: another server
    /// may have established its definition already.
    pub(crate) async fn kind(&self, info: &Info) -> Option<KindRef> {
        let find = || self.cache.kinds().resource(&info.group, &info.version, &info.resource);
        match find() {
            None if info.group.contains('.') => {
                self.fresh().await.ok()?;
                find()
            }
            found => found,
        }
    }

    /// Writes the page `/metrics`, in the text format of Prometheus.
    pub(crate) fn metrics(&self) -> String {
        let requests = self.requests.load(Ordering::Relaxed);
        let mut out = format!("# TYPE apiserver_request_total counter\napiserver_request_total {requests}\n");
        out.push_str(&self.bounds.metrics());
        // A metric's lines stand together, its type first: a parser that meets one elsewhere does
        // not know its type.
        out.push_str("# TYPE apiserver_storage_objects gauge\n");
        let kinds = self.cache.kinds();
        let mut seen = BTreeSet::new();
        let stored = |k: &&Kind| k.is_stored() && k.conversion.is_none();
        for kind in kinds.iter().filter(stored).filter(|k| seen.insert(k.place().to_string())) {
            let mut count = 0u64;
            self.cache.for_each(kind.place(), "", |_| count += 1);
            out.push_str(&format!(
                "apiserver_storage_objects{{resource=\"{}\"}} {count}\n",
                kind.qualified()
            ));
        }
        out
    }
}
