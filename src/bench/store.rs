//! The store beside a real etcd: puts and linearizable gets a second, by 1 and 64 clients, of 1 and
//! 3 members. Both are spoken to over mutual TLS, both sync to disk; rounds take turns.

use super::cluster::Cluster;
use super::figure::{Aim, Figure};
use super::members::{Members, PATIENCE, RANGE};
use super::part::Part;
use super::peers::etcd::Etcd;
use super::tasks::join_clients;
use anyhow::{Context, ensure};
use bytes::Bytes;
use etcd::grpc::client::Channel;
use etcd::pb;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const ROUND: Duration = Duration::from_secs(2);
const VALUE_BYTES: usize = 256;
/// Keys that each client puts.
const KEYS: u32 = 1000;
const PUT: &str = "/etcdserverpb.KV/Put";
const COMPACT: &str = "/etcdserverpb.KV/Compact";

/// Measures clusters of ours, beside as many members of etcd where it runs.
///
/// # Errors
/// The cluster cannot be started, the files of etcd cannot be written, or a member does not answer
/// within [`PATIENCE`]. A machine on which etcd does not run is no error: the figures have no peer.
pub(crate) async fn measure(part: &Part<'_>) -> anyhow::Result<Vec<Figure>> {
    let (mut figures, mut may_have_peer) = (Vec::new(), true);
    for members in [1, 3] {
        let home = part.dir.join(members.to_string());
        let cluster = Cluster::at(&home, part);
        cluster.up(&["--control-planes", &members.to_string(), "--workers", "0"])?;
        let ours = Members::of_status(&cluster.status()?["etcd"])?;
        // Where one member does not run, three are not tried: it takes time, and the user knows.
        let etcd = match may_have_peer {
            true => Etcd::start(&part.dir.join(format!("etcd-{members}")), members).await?,
            false => None,
        };
        may_have_peer = etcd.is_some();
        for (op, name, clients, aim) in [
            (Op::Put, "puts", 1, 1.0),
            (Op::Put, "puts", 64, 1.5),
            (Op::Get, "gets", 1, 1.0),
            (Op::Get, "gets", 64, 1.5),
        ] {
            let (mut own_rates, mut peer_rates) = (Vec::new(), Vec::new());
            for _ in 0..part.runs_or(3) {
                own_rates.push(round(&ours, clients, op).await?);
                if let Some(etcd) = &etcd {
                    peer_rates.push(round(etcd.members(), clients, op).await?);
                }
            }
            let what = format!("{name}, members: {members}, clients: {clients}");
            let figure = Figure::new(what, &format!("{name}/s"), own_rates, Aim::OfPeer(aim));
            figures.push(match &etcd {
                Some(etcd) => figure.with_peer(etcd.name.clone(), peer_rates),
                None => figure,
            });
        }
    }
    Ok(figures)
}

#[derive(Clone, Copy)]
enum Op {
    Put,
    Get,
}

/// Returns the operations a second of so many clients, which are spread over the members, each
/// waiting for its answer.
async fn round(members: &Members, clients: usize, op: Op) -> anyhow::Result<f64> {
    if matches!(op, Op::Put) {
        compact(members).await?;
    }
    let channels = futures::future::try_join_all((0..clients).map(|n| members.connect(n))).await?;
    let start = Instant::now();
    // The clients end with this set: it is dropped when the bench is interrupted or one of
    // them fails.
    let tasks: JoinSet<_> = channels
        .into_iter()
        .enumerate()
        .map(|(n, channel)| async move {
            let mut done = 0_u32;
            while start.elapsed() < ROUND {
                operate(&channel, op, key(n, op, done).into()).await?;
                done += 1;
            }
            anyhow::Ok(done)
        })
        .collect();
    let done: u32 = join_clients(tasks, ROUND).await?.into_iter().sum();
    Ok(f64::from(done) / start.elapsed().as_secs_f64())
}

/// Makes a store forget the history of earlier puts, outside the time of a round. Both stores keep
/// each version until a compaction, and refuse puts when their quota is used up: 2 GiB of etcd,
/// which nothing else compacts here, and of ours a part of the machine's memory, where the API
/// server would compact in the middle of a round.
///
/// # Errors
/// A member does not answer, or it refuses the compaction.
async fn compact(members: &Members) -> anyhow::Result<()> {
    let compacted = async {
        let channel = members.connect(0).await?;
        let newest = pb::RangeRequest { key: "newest".into(), ..Default::default() };
        let newest: pb::RangeResponse = channel.unary(RANGE, newest).await?;
        let revision = newest.header.context("an answer has no revision")?.revision;
        let request = pb::CompactionRequest { revision, physical: true };
        let answer: Result<pb::CompactionResponse, _> = channel.unary(COMPACT, request).await;
        match answer {
            Ok(_) => Ok(()),
            // Our API server may have compacted in between, to keep its store small.
            Err(status) if status.message().contains("has been compacted") => Ok(()),
            Err(status) => Err(anyhow::Error::from(status)),
        }
    };
    // An etcd answers a physical compaction when the compaction is through.
    clock::limit(2 * PATIENCE, compacted).await.context("a compaction is not answered")?
}

/// Returns the key of a client's next operation, after so many. Puts go round [`KEYS`] keys. A get
/// reads the first of them, which a round of puts has written on the slowest disk, too: a get that
/// finds nothing costs less, and the store that puts less would find less.
fn key(client: usize, op: Op, done: u32) -> String {
    let number = match op {
        Op::Put => done % KEYS,
        Op::Get => 0,
    };
    format!("/bench/{client}/{number}")
}

/// Puts or gets a key, and waits for the answer.
async fn operate(channel: &Channel, op: Op, key: Bytes) -> anyhow::Result<()> {
    match op {
        Op::Put => {
            let put = pb::PutRequest { key, value: vec![7; VALUE_BYTES].into(), ..Default::default() };
            channel.unary::<_, pb::PutResponse>(PUT, put).await?;
        }
        Op::Get => {
            let get = pb::RangeRequest { key, ..Default::default() };
            let found: pb::RangeResponse = channel.unary(RANGE, get).await?;
            ensure!(!found.kvs.is_empty(), "a get has not found what was put");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use etcd::grpc::client::Endpoint;
    use pki::{Ca, Subject, client_config};

    /// Each of the rounds leaves versions that count for a store's quota.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_round_of_puts_begins_without_the_history_of_earlier_ones() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "etcd-ca").unwrap();
        let own = ca.issue(&Subject::server("one", &["127.0.0.1"])).unwrap();
        let client = ca.issue(&Subject::client("bench", "")).unwrap();
        let config = etcd::Config::new("one", dir.path().join("data"), tap::Tap::new(), rng::Rng::seeded(1));
        let server = etcd::Server::start(config).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (crew, peers) = (task::Owned::new("etcd"), tokio::sync::watch::channel(vec![]).1);
        let face = etcd::grpc::Face::new(&server, "test", peers, &crew);
        crew.spawn(etcd::grpc::serve(face, listener, pki::mutual_server_config(&own, ca.pem()).unwrap()));
        let endpoint = Endpoint { tls: true, host: "127.0.0.1".into(), port };
        let tls = client_config(Some(&client), ca.pem(), &["h2"]).unwrap();
        let members = Members { endpoints: vec![endpoint], tls };
        assert_eq!(members.version().await.unwrap(), etcd::grpc::VERSION);
        let channel = members.connect(0).await.unwrap();
        for _ in 0..3 {
            operate(&channel, Op::Put, key(0, Op::Put, 0).into()).await.unwrap();
        }
        let before = server.kv().revision();
        assert!(round(&members, 1, Op::Put).await.unwrap() > 0.0);
        assert_eq!(server.kv().compacted(), before, "and the round itself is not in it");
        for _ in 0..2 {
            compact(&members).await.unwrap();
            assert_eq!(server.kv().compacted(), server.kv().revision());
        }
        operate(&channel, Op::Get, key(0, Op::Get, 0).into()).await.unwrap();
    }

    /// On a slow disk a client puts a single key in a round.
    #[test]
    fn a_get_reads_what_the_first_put_of_its_client_has_written() {
        for (client, done) in [(0, 0), (63, 1), (0, 999), (63, 1000), (7, u32::MAX)] {
            assert_eq!(key(client, Op::Get, done), key(client, Op::Put, 0));
        }
        let puts: std::collections::BTreeSet<String> = (0..2 * KEYS).map(|n| key(7, Op::Put, n)).collect();
        assert_eq!(puts.len(), KEYS as usize);
    }
}
