//! etcd: a member of the store, from its start to its end.

use super::peers::PeerConnections;
use crate::components::{Location, OnEnd};
use crate::error::chain;
use crate::world::{FailedStart, World};
use linux::cgroup;
use raft::driver::Link;
use std::sync::Arc;
use std::time::Duration;
use task::Crew;
use tokio_util::sync::CancellationToken;

/// How long a member waits for its directory: a kill waits for no thread, so those of the member
/// before may still be in a write.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Starts the member of a node in the crew. API servers can ask it as soon as a majority of the
/// members has met, until it ends.
pub(crate) fn start(world: &Arc<World>, crew: &Crew, place: Location) {
    let (world, stop, inner) = (world.clone(), crew.token(), crew.clone());
    crew.spawn_main(async move {
        let members: Vec<String> = world.control_planes().into_iter().map(|n| n.name).collect();
        let peers = match members.len() {
            1 => None,
            _ => Some(
                PeerConnections::new(&world, &inner, &place.node, &place.network).map_err(|e| chain(&e))?,
            ),
        };
        let dir = world.place.node(&place.node).join("etcd");
        let config = || etcd::Config {
            initial_cluster: members.clone(),
            disk: world.disks.of(&place.node),
            link: peers.as_ref().map(|peers| peers.link.clone() as Arc<dyn Link>),
            quota_bytes: etcd::quota_for(cgroup::available_memory(), members.len()),
            ..etcd::Config::new(&place.node, dir.clone(), world.tap.clone(), world.rng.fork("etcd"))
        };
        let server = match start_member(&stop, config).await {
            Ok(server) => {
                world.note_start(&place.node, None);
                Arc::new(server)
            }
            Err(error) => {
                let failed = failed_start(&error, world.disks.is_full(&place.node));
                world.note_start(&place.node, Some(failed.clone()));
                return Err(failed.why);
            }
        };
        let client_crew = Crew::new("etcd-clients");
        let clients = client_crew.clone();
        let (gone, killed) = (world.clone(), server.clone());
        let node = place.node.clone();
        // A kill drops this task: then the member ends as kill -9 would end it.
        let _guard = OnEnd(move || {
            client_crew.kill();
            gone.listeners.close(&node);
            gone.stores.send_modify(|stores| drop(stores.remove(&node)));
            killed.kill();
        });
        if let Some(peers) = peers {
            peers.listen(&inner, server.raft()).await.map_err(|e| format!("cannot listen for peers: {e}"))?;
        }
        // Until a majority has met there is nothing to serve.
        let kv = server.kv();
        tokio::select! {
            () = kv.joined() => {}
            () = stop.cancelled() => {
                server.stop().await;
                return Ok(());
            }
            why = member_end(&server) => return Err(why),
        }
        tracing::info!(member = place.node, revision = kv.revision(), "ready to serve client requests");
        let opened = world.listeners.open(&world.spec, &world.etcd_ca, &clients, &place.node, &server);
        if let Err(error) = opened.await {
            tracing::warn!(error, "the store answers the API server, but no etcd clients on the host");
        }
        world.stores.send_modify(|stores| drop(stores.insert(place.node.clone(), Arc::new(kv))));
        tokio::select! {
            () = stop.cancelled() => {
                server.stop().await;
                Ok::<(), String>(())
            }
            // The kubelet starts the container again, as after any crash.
            why = member_end(&server) => Err(why),
        }
    });
}

/// Judges an error of a start. `is_full`: `ropewalk fault disk full` has filled the node's disk.
fn failed_start(error: &etcd::StartError, is_full: bool) -> FailedStart {
    FailedStart { why: chain(error), may_pass: is_full || is_passing(error) }
}

/// Returns whether the next start may succeed: the machine had too little of something
/// (descriptors, memory, space, time), or the member before this one, which was killed, still holds
/// its directory. A member that opened its data and then did not answer in time says nothing about
/// the data: its disk was slow, or had no room for the first write. A log that failed for good
/// passes only if it found no room.
fn is_passing(error: &(dyn std::error::Error + 'static)) -> bool {
    use raft::driver::StartError::InUse;
    const PASSING: [i32; 8] = [
        libc::EMFILE,
        libc::ENFILE,
        libc::ENOMEM,
        libc::ENOBUFS,
        libc::EAGAIN,
        libc::EINTR,
        libc::ENOSPC,
        libc::EDQUOT,
    ];
    let code = |e: &(dyn std::error::Error + 'static)| e.downcast_ref::<std::io::Error>()?.raw_os_error();
    let is_not_about_data = |e: &(dyn std::error::Error + 'static)| {
        use etcd::StartError::{Ended, Failed, Member};
        use etcd::api::Error::NoSpace;
        matches!(e.downcast_ref(), Some(Member(InUse(_)) | Ended(_) | Failed(NoSpace)))
    };
    std::iter::successors(Some(error), |e| e.source())
        .any(|e| is_not_about_data(e) || code(e).is_some_and(|code| PASSING.contains(&code)))
}

/// Starts a member, as soon as the one before it has let its directory go.
///
/// # Errors
/// Those of the start. `InUse` only if the directory is held for longer, or `stop` is cancelled.
async fn start_member(
    stop: &CancellationToken,
    config: impl Fn() -> etcd::Config,
) -> Result<etcd::Server, etcd::StartError> {
    use raft::driver::StartError::InUse;
    let until = clock::deadline(LOCK_PATIENCE);
    loop {
        match etcd::Server::start(config()).await {
            Err(etcd::StartError::Member(InUse(_)))
                if clock::Instant::now() < until && !stop.is_cancelled() =>
            {
                clock::pause(LOCK_PAUSE).await;
            }
            done => return done,
        }
    }
}

/// Waits until a running member cannot go on, and returns why. As a crash of etcd, which ends when
/// it cannot write its log: the component ends with it, and the kubelet starts it again.
async fn member_end(server: &etcd::Server) -> String {
    tokio::select! {
        () = server.ended() => "the member's thread panicked".into(),
        error = server.failed() => format!("the member's log failed: {}", chain(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft::sim::disk::SimDisk;

    #[derive(Debug, thiserror::Error)]
    #[error("the store cannot start")]
    struct Outer(#[source] std::io::Error);

    #[tokio::test]
    async fn a_member_waits_for_the_end_of_the_one_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let config = || etcd::Config::new("cp1", dir.path(), tap::Tap::new(), rng::Rng::seeded(1));
        let member = dir.path().join("member");
        std::fs::create_dir(&member).unwrap();
        let held = config().disk.lock(&member.join("lock")).unwrap();
        let stop = CancellationToken::new();
        stop.cancel();
        let refused = start_member(&stop, config).await.err().map(|error| chain(&error));
        assert!(refused.is_some_and(|why| why.contains("in use")), "its caller does not wait any more");
        let let_go = async {
            clock::pause(LOCK_PAUSE).await;
            drop(held);
        };
        let going = CancellationToken::new();
        let (started, ()) = tokio::join!(biased; start_member(&going, config), let_go);
        started.unwrap().stop().await;
    }

    #[tokio::test]
    async fn a_member_whose_log_failed_for_good_ends() {
        let disk = SimDisk::default();
        let config = etcd::Config {
            disk: Arc::new(disk.clone()),
            wal: raft::wal::WalOptions { segment_bytes: 4096, prepare: false },
            ..etcd::Config::new("cp1", "/sim", tap::Tap::new(), rng::Rng::seeded(1))
        };
        let server = etcd::Server::start(config).await.unwrap();
        let ended = clock::timeout(Duration::from_millis(50), member_end(&server)).await;
        assert!(ended.is_none(), "it runs: {ended:?}");
        disk.break_sync();
        let put = etcd::api::PutRequest { key: "a".into(), ..Default::default() };
        server.kv().put(put).await.unwrap_err();
        let why = clock::timeout(Duration::from_secs(10), member_end(&server)).await;
        assert!(why.as_ref().is_some_and(|why| why.starts_with("the member's log failed: ")), "{why:?}");
    }

    #[test]
    fn a_start_that_lacked_descriptors_is_tried_again_and_damage_is_not() {
        let of = |code| Outer(std::io::Error::from_raw_os_error(code));
        for code in [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOSPC] {
            assert!(is_passing(&of(code)), "{code}");
        }
        let held = raft::driver::StartError::InUse("etcd".into());
        assert!(is_passing(&etcd::StartError::Member(held)), "the one before it is just ending");
        let disk = etcd::api::Error::Disk { cause: "Too many open files".into() };
        for error in [etcd::api::Error::Timeout, etcd::api::Error::NoSpace, etcd::api::Error::Stopped, disk] {
            assert!(is_passing(&etcd::StartError::Ended(error.clone())), "{error}");
        }
        assert!(!is_passing(&of(libc::EACCES)) && !is_passing(&Outer(std::io::Error::other("damaged"))));
    }

    #[test]
    fn a_log_that_failed_for_good_is_told_from_one_that_waits() {
        use etcd::StartError::{Ended, Failed};
        let disk = || etcd::api::Error::Disk { cause: "input/output error".into() };
        let failed = failed_start(&Failed(disk()), false);
        assert!(!failed.may_pass && failed.why.contains("input/output error"), "{failed:?}");
        let waits = failed_start(&Ended(disk()), false);
        assert!(waits.may_pass && waits.why.contains("input/output error"), "{waits:?}");
        assert!(failed_start(&Failed(etcd::api::Error::NoSpace), false).may_pass);
        assert!(failed_start(&Failed(disk()), true).may_pass, "`fault heal` makes room");
    }
}
