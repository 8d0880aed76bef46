//! The renewals of a lease.

use super::super::fail::Fail;
use super::{Etcd, is_lost, is_unready, told};
use clock::Instant;
use etcd::pb;
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

/// A renewal waits at least this long for its answer before it goes to another member, however
/// short the TTL is.
const RENEWAL_WAIT_MIN: Duration = Duration::from_secs(1);

/// A lease that is renewed again and again.
pub(super) struct Renewals {
    etcd: Etcd,
    id: i64,
    /// The stream of renewals and of their answers, while there is one.
    open: Option<(mpsc::Sender<pb::LeaseKeepAliveRequest>, Streaming<pb::LeaseKeepAliveResponse>)>,
    /// The TTL that the last answer named; `None` before the first one.
    ttl: Option<Duration>,
    /// When the lease is over if it is not renewed.
    until: Instant,
}

impl Renewals {
    /// Begins at this member. It gives up if the first renewal is not answered within `patience`.
    pub(super) fn new(etcd: Etcd, id: i64, patience: Duration) -> Renewals {
        Renewals { etcd, id, open: None, ttl: None, until: clock::deadline(patience) }
    }

    /// Returns the answer to the next renewal. Errors: a member refuses it.
    pub(super) async fn next(&mut self) -> Result<pb::LeaseKeepAliveResponse, Fail> {
        let left = self.until.saturating_duration_since(Instant::now());
        let id = self.id;
        let over = pb::LeaseKeepAliveResponse { id, ..Default::default() };
        clock::limit(left, self.renew()).await.unwrap_or(Ok(over))
    }

    /// Renews when it is time to, as often as it takes.
    async fn renew(&mut self) -> Result<pb::LeaseKeepAliveResponse, Fail> {
        if let Some(ttl) = self.ttl {
            clock::pause(ttl / 3).await;
        }
        let wait = self.ttl.map_or(self.etcd.target.dial_timeout, |ttl| ttl / 3).max(RENEWAL_WAIT_MIN);
        loop {
            match clock::limit(wait, self.ask()).await {
                Some(Ok(answer)) => {
                    let ttl = Duration::from_secs(answer.ttl.max(0) as u64);
                    (self.ttl, self.until) = (Some(ttl), clock::deadline(ttl));
                    return Ok(answer);
                }
                Some(Err(status)) if !is_lost(&status) && !is_unready(&status) => {
                    return Err(told(&status));
                }
                _ => {}
            }
            self.open = None;
            self.etcd.reconnect().await;
        }
    }

    async fn ask(&mut self) -> Result<pb::LeaseKeepAliveResponse, Status> {
        let renew = pb::LeaseKeepAliveRequest { id: self.id };
        let (_, answers) = match &mut self.open {
            Some(open) => {
                let _ = open.0.send(renew).await; // a lost connection shows in the answers
                open
            }
            // A server may answer nothing, not even that the stream is open, before the first one.
            None => {
                let (ask, asks) = mpsc::channel(1);
                let _ = ask.send(renew).await; // the receiver is ours
                let asks = futures::stream::unfold(asks, |mut asks| async move {
                    asks.recv().await.map(|renew| (renew, asks))
                });
                let answers = self.etcd.stream("/etcdserverpb.Lease/LeaseKeepAlive", asks).await?;
                self.open.insert((ask, answers))
            }
        };
        answers.message().await?.ok_or_else(|| Status::unavailable("the stream of renewals has ended"))
    }
}
