//! # Bench: the figures, measured here
//!
//! ## In Kubernetes
//! Scale tests print percentiles of a cluster's API and of its pods' starts against objectives (SIG
//! Scalability's SLOs); etcd, container runtimes and proxies each bring a bench of their own.
//! ## How this one works
//! `ropewalk bench [WHAT…]` measures on the reader's own machine what the README claims. Each part
//! ([`What`]) gives [`Figure`]s: several runs, of which the table has the median, and the spread,
//! which is the machine's noise, beside an aim, and beside a peer where there is one: the same work
//! done in the same minute by `crun`, by `etcd`, by `kube-apiserver` (`--peer-kubeconfig`), or over
//! a connection without what is measured. A peer's row has its version. Rounds of the two take
//! turns, so that both meet the same noise; of `crun`'s rounds one half comes before ours and one
//! half after them. A run that gives no number (the percentile of a round without a single answer)
//! is left out; a figure without any run is `no figure`, and misses its aim.
//!
//! [`cluster`], [`store`] and [`api`] start clusters by running this very program, and measure them
//! from outside; [`peers::etcd`] starts etcd beside them. [`network`] and [`runtime`] need nodes
//! without a cluster ([`world`]), which are made in processes of their own: [`own_process`] draws
//! how these pass their figures on. [`peers::crun`] runs crun beside them. [`rest`] reads from
//! `/proc` what a cluster costs at rest. Everything lives in a directory of its own and is gone
//! afterwards, also after Ctrl-C ([`Stop`]).
//!
//! Of the memory at rest only that of the processes has an aim, 100 MB. A cluster has files in
//! memory beside that, mostly the copy of the program that containers run, which is as large as
//! the program itself: both together are more than 100 MB. They are two figures, so that a change
//! of either is seen.
//! ## What is missed, and why
//! `localhost` carries half of what loopback carries; the aim is 0.7. A byte passes TCP twice
//! there, on loopback and on a node's cable; between the two, splice(2) hands pages on and copies
//! nothing. A profile shows the kernel's TCP, its copies and its wakeups, and nothing of this
//! program among the forty most expensive functions: where client and server share two processors,
//! twice the work is half the figure.
//!
//! In a cluster of three control planes (`cargo bench --bench towers`) a Pod's creation by one of
//! 32 clients that never rest takes 23 ms at the median and 50 to 67 at the 99th percentile; the
//! aim is 25 at the 99th. 1 400 pods a second, written to three disks and decoded by three watch
//! caches, keep two processors busy with nothing to spare: half of the time is the kernel's (TCP
//! between the nodes, wakeups, fresh memory), a sixth is reading JSON into the caches, a tenth is
//! memory's own bookkeeping, a tenth the clients. Another allocator was tried and changed nothing
//! beyond the noise.
//! ## Left out
//! The API of three control planes under many clients, which takes minutes: `cargo bench --bench
//! towers`.
//! ## Read next
//! `cluster`, whose parts are measured.

#![warn(missing_docs)]

mod api;
mod cluster;
mod figure;
mod members;
mod network;
mod own_process;
mod part;
mod peers;
mod program;
mod rest;
mod runtime;
mod stderr;
mod stop;
mod store;
mod tasks;
mod world;

use anyhow::Context;
use clap::ValueEnum;
use figure::Figure;
use lang::charset::print;
pub use part::What;
use part::{Part, is_memory};
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use stop::Stop;
use tasks::block_on;
use tempfile::TempDir;

fn measure(what: What, part: &Part) -> anyhow::Result<Vec<Figure>> {
    match what {
        What::Start => cluster::measure_start(part),
        What::Pods => block_on(part.stop.run_until_stopped(cluster::measure_pods(part))),
        What::Store => block_on(part.stop.run_until_stopped(store::measure(part))),
        What::Api => block_on(api::measure(part)), // interrupted, it cleans the peer up
        What::Network => own_process::measure(what, part),
        What::Runtime => runtime::measure(part),
    }
}

/// Measures one part in a directory of its own, and removes the directory.
///
/// # Errors
/// There is no place for the directory, the part cannot be measured, or the bench was asked to end.
fn measure_in_directory(
    what: What,
    runs: Option<usize>,
    peer_kubeconfig: Option<&Path>,
    stop: &Stop,
) -> anyhow::Result<Vec<Figure>> {
    // A short path, for its sockets. Where /tmp is memory, TMPDIR names a place on a disk.
    let dir = tempfile::Builder::new().prefix("rwb").tempdir().context("no place for the bench")?;
    stop.works_in(dir.path());
    let part = Part::new(dir.path(), runs, peer_kubeconfig, stop);
    let measured = stop.check().and_then(|()| measure(what, &part));
    let keep = part.keep_dir.load(Ordering::Relaxed);
    remove(dir, keep);
    measured
}

/// Measures these parts, or all, and prints tables or, if `json`, one JSON document. `runs`: of
/// each measurement; `None`: as many as are usual for it. `peer_kubeconfig`: that of a
/// kube-apiserver to stand beside. After Ctrl-C it measures no more, and removes what it has made.
///
/// # Errors
/// A part that cannot be measured here, with the reason; the others are measured all the same.
pub fn run(
    wanted: &[What],
    runs: Option<usize>,
    peer_kubeconfig: Option<&Path>,
    json: bool,
) -> anyhow::Result<()> {
    let parts = if wanted.is_empty() { What::value_variants() } else { wanted };
    if cfg!(debug_assertions) {
        let text = "This is a build for debugging, several times slower than what is released: cargo run --profile dist -- bench";
        stderr::write_line(text.into());
    }
    let place = std::env::temp_dir();
    if parts.iter().any(|what| what.syncs()) && is_memory(&place) {
        let place = place.display();
        stderr::write_line(format!(
            "{place} is memory, so no figure waits for a disk; TMPDIR=DIR names a place on one"
        ));
    }
    let (mut documents, mut failed) = (Vec::new(), Vec::new());
    let stop = Stop::listen()?;
    for what in parts {
        let name = what.name();
        // It removes its directory before anything is printed: the program ends at a print if the
        // reader of a pipe has left.
        match measure_in_directory(*what, runs, peer_kubeconfig, &stop) {
            Ok(figures) if json => documents.push(document(&name, &figures)),
            Ok(figures) => print!("{}", figure::table(&name, &figures)),
            Err(error) => failed.push(format!("{name}: {error:#}")),
        }
    }
    if json {
        std::println!("{}", serde_json::to_string_pretty(&answer(parts.len(), documents))?);
    }
    match failed.is_empty() {
        true => Ok(()),
        false => anyhow::bail!("not measured: {}", failed.join("; ")),
    }
}

/// Removes the directory of a part, unless something in it still runs. The user sees what cannot be
/// removed.
fn remove(dir: TempDir, keep: bool) {
    if keep {
        drop(dir.keep());
    } else if let Some(reason) = try_remove(dir) {
        stderr::write_line(reason);
    }
}

/// Removes a directory. Returns why it is still there, if it is.
fn try_remove(dir: TempDir) -> Option<String> {
    let error = dir.close().err().filter(|error| error.kind() != ErrorKind::NotFound)?;
    Some(format!("ropewalk: not everything was removed: {error}"))
}

/// Returns one document for all parts that were `wanted`: of a single part its own, of several an
/// array, however many of them were measured.
fn answer(wanted: usize, mut documents: Vec<Value>) -> Value {
    match documents.pop() {
        Some(only) if wanted == 1 => only,
        last => documents.into_iter().chain(last).collect(),
    }
}

/// Returns a part's document. `p50_ms` is that of the first figure that is a time.
fn document(name: &str, figures: &[Figure]) -> Value {
    let p50 = figures.iter().find(|figure| figure.unit == "ms").and_then(Figure::p50);
    json!({"what": name, "p50_ms": p50, "figures": figures.iter().map(Figure::json).collect::<Vec<_>>()})
}

/// `ropewalk bench WHAT --inside DIR`, which a bench of [`What::Network`] or [`What::Runtime`]
/// runs: becomes the supervisor of a world of nodes, measures in it, and leaves the figures in
/// `dir`. Returns an exit code.
///
/// # Errors
/// The world cannot be made on this machine. A measurement that fails is printed, and makes the
/// exit code 1.
pub fn inside(dir: PathBuf, what: What, runs: Option<usize>) -> anyhow::Result<i32> {
    own_process::inside(&dir, what, runs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_of_the_answer_goes_by_what_was_asked_for() {
        let part = |name: &str| json!({"what": name});
        assert_eq!(answer(1, vec![part("start")]), part("start"));
        assert_eq!(answer(2, vec![part("start"), part("pods")]), json!([part("start"), part("pods")]));
        assert_eq!(answer(2, vec![part("pods")]), json!([part("pods")]), "the other one failed");
        assert_eq!(answer(1, vec![]), json!([]));
    }

    #[test]
    fn a_directory_stays_only_if_something_in_it_runs() {
        for keep in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().to_path_buf();
            remove(dir, keep);
            assert_eq!(path.exists(), keep);
            let _ = std::fs::remove_dir(&path);
        }
    }

    #[test]
    fn the_user_sees_that_a_directory_cannot_be_removed() {
        assert_eq!(try_remove(tempfile::tempdir().unwrap()), None);
        let gone = tempfile::tempdir().unwrap();
        std::fs::remove_dir(gone.path()).unwrap();
        assert_eq!(try_remove(gone), None);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_path_buf();
        std::fs::remove_dir(&path).unwrap();
        std::fs::write(&path, "no directory").unwrap();
        let reason = try_remove(dir).expect("a reason");
        std::fs::remove_file(&path).unwrap();
        let is_named = reason.contains(&path.display().to_string());
        assert!(reason.contains("not everything") && is_named, "{reason}");
    }
}
