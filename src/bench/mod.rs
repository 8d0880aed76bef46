//! # Bench: the figures, measured here
//!
//! ## In Kubernetes
//! Scale tests print percentiles of a cluster's API and of its pods' starts against objectives (SIG Scalability's SLOs); etcd, container
//! runtimes and proxies each bring a bench of their own.
//! ## How this one works
//! `ropewalk bench [WHAT…]` measures on the reader's own machine what the README claims. Each part gives [`Figure`]s: several runs, of which
//! the median is told and the spread is the machine's noise, beside an aim, and beside a peer where there is one: the same work done in the
//! same minute by `crun`, by `etcd`, by `kube-apiserver` (`--peer-kubeconfig`), or by a connection without what is measured.
//! Rounds of the two take turns, so that both meet the same noise.
//! [`cluster`] drives this very program from outside; [`world`] starts nodes without a cluster, for [`runtime`] and [`network`]; everything
//! lives in a directory of its own and is gone afterwards.
//! ## What is missed, and why
//! `localhost` carries half of what loopback carries; the aim is 0.7. A byte passes TCP twice there, on loopback and on a node's cable; between the
//! two, splice(2) hands pages on and copies nothing. A profile shows the kernel's TCP, its copies and its wakeups, and nothing of this program among the
//! forty most expensive functions: where client and server share two processors, twice the work is half the figure.
//!
//! A Pod's creation by one of 32 clients that never rest takes 23 ms in the middle and 50 to 67 at the 99th percentile; the aim is 25. 1 400 pods a second,
//! written to three disks and decoded by three watch caches, keep two processors busy with nothing to spare: half of the time is the kernel's (TCP between the
//! nodes, wakeups, fresh memory), a sixth is reading JSON into the caches, a tenth is memory's own bookkeeping, a tenth the clients. Another allocator was tried
//! and changed nothing beyond the noise.
//! ## Left out
//! The API of three control planes under many clients, which takes minutes: `cargo bench --bench towers`.
//! ## Read next
//! `cluster`, whose parts are measured.

mod api;
pub mod cluster;
pub mod figure;
mod network;
mod runtime;
pub mod store;
mod world;

use crate::lang::charset::{eprintln, print};
use anyhow::Context;
use clap::ValueEnum;
pub use figure::{Aim, Figure};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// How long a start and a stop take, and what a cluster costs while nothing happens
    Start,
    /// Pods: run, scale, heal, 200 on two nodes
    Pods,
    /// Puts and gets a second of the store, beside etcd if it is on PATH
    Store,
    /// Gets and creates a second of the API server, beside a kube-apiserver if its kubeconfig is given
    Api,
    /// A NodePort beside a direct connection, localhost's way in beside loopback
    Network,
    /// A container's start beside crun's, if it is on PATH
    Runtime,
}

/// What a part is given: a directory of its own with a short path, and how often to do everything (`None`: as often as is usual).
pub struct Room<'a> {
    pub dir: &'a Path,
    pub runs: Option<usize>,
    /// The kubeconfig of an API server to stand beside.
    pub peer: Option<&'a Path>,
}

impl Room<'_> {
    fn runs(&self, usual: usize) -> usize {
        self.runs.unwrap_or(usual).max(1)
    }
}

fn measure(what: What, room: &Room) -> anyhow::Result<Vec<Figure>> {
    match what {
        What::Start => cluster::start(room),
        What::Pods => wait_for(cluster::pods(room)),
        What::Store => wait_for(store::beside_etcd(room)),
        What::Api => wait_for(api::beside_kube_apiserver(room)),
        What::Network | What::Runtime => world::outside(what, room),
    }
}

fn wait_for<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    tokio.context("cannot start")?.block_on(work)
}

/// Measures these parts, or all, and prints tables or one JSON document. Starts processes, and forks in `inside`: call it before there are threads.
///
/// Errors: a part that cannot be measured here, with the reason; the others are measured all the same.
pub fn run(wanted: &[What], runs: Option<usize>, peer: Option<&Path>, machine: bool) -> anyhow::Result<()> {
    let all = if wanted.is_empty() { What::value_variants() } else { wanted };
    if cfg!(debug_assertions) {
        eprintln!(
            "This is a build for debugging, several times slower than what is released: cargo run --release -- bench"
        );
    }
    let (mut documents, mut failed) = (Vec::new(), Vec::new());
    for what in all {
        let name = what.to_possible_value().map(|v| v.get_name().to_string()).unwrap_or_default();
        // A short path, for its sockets. Where /tmp is memory, TMPDIR names a place on a disk.
        let dir = tempfile::Builder::new().prefix("rwb").tempdir().context("no place for the bench")?;
        match measure(*what, &Room { dir: dir.path(), runs, peer }) {
            Ok(figures) if machine => documents.push(document(&name, &figures)),
            Ok(figures) => print!("{}", figure::table(&name, &figures)),
            Err(error) => failed.push(format!("{name}: {error:#}")),
        }
    }
    if machine {
        let document = if let [only] = &documents[..] { only.clone() } else { Value::Array(documents) };
        std::println!("{}", serde_json::to_string_pretty(&document)?);
    }
    match failed.is_empty() {
        true => Ok(()),
        false => anyhow::bail!("not measured: {}", failed.join("; ")),
    }
}

/// `p50_ms` is that of the first figure that is a time.
fn document(name: &str, figures: &[Figure]) -> Value {
    let time = figures.iter().find(|f| f.unit == "ms").map(Figure::p50);
    json!({"what": name, "p50_ms": time, "figures": figures.iter().map(Figure::json).collect::<Vec<_>>()})
}

/// The other half of [`What::Network`] and [`What::Runtime`]: becomes the supervisor of a world of nodes, measures in it, and leaves the figures in
/// `dir`. Returns an exit code.
pub fn inside(dir: PathBuf, what: What, runs: Option<usize>) -> anyhow::Result<i32> {
    world::inside(&dir, what, runs)
}
