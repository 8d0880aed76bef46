//! The start and the end of a member of the store, as its component sees them.

use crate::error::chain;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a member waits for its directory: a kill waits for no thread, so those of the member
/// before may still be in a write.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Starts a member, as soon as the one before it has let its directory go.
///
/// # Errors
/// Those of the start. `InUse` only if the directory is held for longer, or `stop` is cancelled.
pub(crate) async fn start_member(
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
pub(crate) async fn member_end(server: &etcd::Server) -> String {
    tokio::select! {
        () = server.ended() => "the member's thread panicked".into(),
        error = server.failed() => format!("the member's log failed: {}", chain(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft::sim::disk::SimDisk;
    use std::sync::Arc;

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
}
