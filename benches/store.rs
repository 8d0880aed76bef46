//! How many puts a second the store takes: one member, real disk, fdatasync before every answer.
//!
//! `cargo bench --bench store [DIR]`; its files are in `bench-store`, in DIR or next to the build,
//! since `/tmp` may be memory.

use etcd::api::PutRequest;
use etcd::{Config, Server};
use rng::Rng;
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tap::{Event, Tap};

const ROUND: Duration = Duration::from_secs(2);
const VALUE_BYTES: usize = 256;

/// Returns how long each put took, sorted, and the whole round. A put that fails, e.g. on a full
/// disk, ends the bench: a round with few puts would be no slow store's.
async fn round(server: &Server, clients: usize) -> Result<(Vec<Duration>, Duration), Box<dyn Error>> {
    let begun = Instant::now();
    let stop = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let (kv, stop) = (server.kv(), stop.clone());
            tokio::spawn(async move {
                let mut took = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let key = format!("/bench/{client}/{}", took.len() % 1000);
                    let start = Instant::now();
                    let r = PutRequest {
                        key: key.into(),
                        value: vec![7; VALUE_BYTES].into(),
                        ..Default::default()
                    };
                    kv.put(r).await?;
                    took.push(start.elapsed());
                }
                Ok::<_, etcd::api::Error>(took)
            })
        })
        .collect();
    tokio::time::sleep(ROUND).await;
    stop.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await??);
    }
    let whole = begun.elapsed();
    all.sort_unstable();
    Ok((all, whole))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|a| a == "--test") {
        return Ok(()); // `cargo test --benches` only wants to know that it builds
    }
    let given = std::env::args().skip(1).find(|a| !a.starts_with('-')).map(PathBuf::from);
    let dir = match given {
        Some(dir) => dir.join("bench-store"), // DIR may have an etcd's data: `member`
        None => std::env::current_exe()?.with_file_name("bench-store"),
    };
    let _ = std::fs::remove_dir_all(&dir); // there may be none
    let tap = Tap::new();
    let start = Instant::now();
    let server = Server::start(Config::new("bench", &dir, tap.clone(), Rng::seeded(1))).await?;
    println!("cold start: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    for clients in [1, 64, 1000] {
        let last = tap.last();
        let (took, whole) = round(&server, clients).await?;
        let at = |p: f64| took.get((took.len() as f64 * p) as usize).copied().unwrap_or_default();
        let commits = tap.since(last);
        let batches: Vec<u64> = commits
            .iter()
            .filter_map(|r| match r.event {
                Event::Append { batch, .. } => Some(batch as u64),
                _ => None,
            })
            .collect();
        println!(
            "{clients:4} clients: {:7.0} puts/s, p50 {:?}, p99 {:?}, {:.1} entries per fsync (recent)",
            took.len() as f64 / whole.as_secs_f64(),
            at(0.5),
            at(0.99),
            batches.iter().sum::<u64>() as f64 / batches.len().max(1) as f64,
        );
        let kv = server.kv();
        kv.compact(kv.revision()).await?;
    }
    let start = Instant::now();
    server.stop().await;
    let server = Server::start(Config::new("bench", &dir, Tap::new(), Rng::seeded(1))).await?;
    println!("stop and start again: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    server.stop().await;
    std::fs::remove_dir_all(dir)?;
    Ok(())
}
