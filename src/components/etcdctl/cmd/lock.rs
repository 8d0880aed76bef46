//! `lock` and `elect`, on the services that etcd has for them.

use super::super::ctx::Ctx;
use super::super::fail::{FAILED, Fail, INTERRUPTED};
use super::super::wire::{Etcd, LEASE_NOT_FOUND, is_lost, is_unready, told};
use super::keys::range_fields;
use super::program;
use clock::Instant;
use etcd::pb;
use futures::StreamExt;
use futures::stream::BoxStream;
use std::future::Future;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Seconds of a session for which no TTL was chosen (etcd: `defaultSessionTTL`).
const SESSION_TTL: i64 = 60;
/// A member has so long to end the lease of a session; else another one is asked, and at last the
/// lease ends by itself.
const CLOSE_WAIT: Duration = Duration::from_secs(5);
/// If the connection of an observer's first call is lost sooner, it is an error: the endpoint may
/// break each connection.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(1);

/// A lease that is kept alive, by whichever member can be reached. As with etcdctl, no call of a
/// session heeds `--command-timeout`.
struct Session {
    etcd: Etcd,
    lease: i64,
    renewals: BoxStream<'static, Result<pb::LeaseKeepAliveResponse, Fail>>,
    cancel: CancellationToken,
}

impl Session {
    async fn open(ctx: &Ctx<'_>, ttl: i64) -> Result<Session, Fail> {
        let cancel = ctx.cancel.clone();
        let opened = async {
            let etcd = ctx.connect().await?;
            let ask = pb::LeaseGrantRequest { ttl, id: 0 };
            let granted: pb::LeaseGrantResponse =
                etcd.repeat_without_limit("/etcdserverpb.Lease/LeaseGrant", ask).await?;
            Ok::<_, Fail>((etcd, granted))
        };
        let (etcd, granted) = tokio::select! {
            opened = opened => opened?,
            () = cancel.cancelled() => return Err(Fail::new(INTERRUPTED, "")),
        };
        let patience = Duration::from_secs(granted.ttl.max(0) as u64);
        let renewals = etcd.clone().keep_alive(granted.id, patience);
        Ok(Session { etcd, lease: granted.id, renewals, cancel })
    }

    /// Waits for the end of `work`. Errors: its own; the session ends before; or an interrupt.
    async fn during<T>(&mut self, work: impl Future<Output = Result<T, Fail>>) -> Result<T, Fail> {
        let cancel = self.cancel.clone();
        tokio::select! {
            done = work => done,
            fail = self.lost() => Err(fail),
            () = cancel.cancelled() => Err(Fail::new(FAILED, "context canceled")),
        }
    }

    /// Waits for the end of `work`, also when the session ends before or an interrupt comes.
    /// Renews the lease meanwhile.
    async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let renewed = async {
            self.lost().await;
            std::future::pending().await
        };
        tokio::select! {
            done = work => done,
            done = renewed => done,
        }
    }

    /// Waits until it is interrupted. Errors: the session ends before.
    async fn last(&mut self) -> Result<(), Fail> {
        let cancel = self.cancel.clone();
        tokio::select! {
            fail = self.lost() => Err(fail),
            () = cancel.cancelled() => Ok(()),
        }
    }

    /// Renews the lease until it is over; returns why it is.
    async fn lost(&mut self) -> Fail {
        loop {
            match self.renewals.next().await {
                Some(Ok(a)) if a.ttl > 0 => {}
                Some(Err(fail)) => return fail,
                Some(Ok(_)) | None => return Fail::new(FAILED, "session expired"),
            }
        }
    }

    /// Ends the lease, and with it the place in the queue. What went wrong before goes before what
    /// goes wrong now.
    async fn close<T>(mut self, done: Result<T, Fail>) -> Result<T, Fail> {
        let mut ended = self.revoke().await;
        if ended.as_ref().is_err_and(|fail| fail.text != LEASE_NOT_FOUND) {
            // The connection may be lost; another member will do.
            ended = match clock::limit(CLOSE_WAIT, self.etcd.reconnect()).await {
                Some(()) => self.revoke().await,
                None => ended,
            };
        }
        let done = done?;
        match ended {
            Err(fail) if fail.text != LEASE_NOT_FOUND => Err(fail),
            _ => Ok(done),
        }
    }

    /// Asks the present member to end the lease.
    async fn revoke(&self) -> Result<(), Fail> {
        let ask = pb::LeaseRevokeRequest { id: self.lease };
        let path = "/etcdserverpb.Lease/LeaseRevoke";
        let revoked = self.etcd.call_without_limit::<_, pb::LeaseRevokeResponse>(path, ask);
        match clock::limit(CLOSE_WAIT, revoked).await {
            Some(revoked) => revoked.map(drop),
            None => Err(Fail::new(FAILED, "context deadline exceeded")),
        }
    }
}

/// Shows a key, as `get` does.
async fn show(ctx: &mut Ctx<'_>, answer: &pb::RangeResponse) -> Result<(), Fail> {
    ctx.out.answer(answer, |page, a| a.kvs.iter().for_each(|kv| page.kv(kv)), range_fields).await
}

/// Reads a key that the session holds.
async fn held(etcd: &Etcd, key: bytes::Bytes) -> Result<pb::RangeResponse, Fail> {
    let ask = pb::RangeRequest { key, ..Default::default() };
    etcd.repeat_without_limit("/etcdserverpb.KV/Range", ask).await
}

/// Returns the seconds of a session. As with etcd's client, 0 and less choose none.
fn session_ttl(chosen: i64) -> i64 {
    if chosen > 0 { chosen } else { SESSION_TTL }
}

pub(crate) async fn lock(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    let Some((name, command)) = ctx.args().split_first() else {
        return Err(Fail::arguments("lock takes a lock name argument and an optional command to execute"));
    };
    let (name, command) = (name.clone(), command.to_vec());
    let mut session = Session::open(ctx, session_ttl(ctx.given.number("ttl"))).await?;
    let done = hold(ctx, &mut session, name, command).await;
    session.close(done).await
}

/// Holds the lock until the command ends, and fails with its exit code; without a command, until
/// etcdctl is interrupted.
async fn hold(
    ctx: &mut Ctx<'_>,
    session: &mut Session,
    name: String,
    command: Vec<String>,
) -> Result<(), Fail> {
    let (mut etcd, lease) = (session.etcd.clone(), session.lease);
    let ask = pb::LockRequest { name: name.into(), lease };
    let lock: pb::LockResponse = session.during(etcd.wait_on_any("/v3lockpb.Lock/Lock", ask)).await?;
    let Some((program, args)) = command.split_first() else {
        let answer = session.during(held(&etcd, lock.key)).await?;
        if answer.kvs.is_empty() {
            return Err(Fail::new(FAILED, "lock lost on init"));
        }
        show(ctx, &answer).await?;
        return session.last().await;
    };
    // As etcdctl: an interrupt, which a terminal also sends to the command, is the command's to
    // heed; only its end frees the lock.
    let mut command = program::command(program, args);
    command
        .env("ETCD_LOCK_KEY", String::from_utf8_lossy(&lock.key).into_owned())
        .env("ETCD_LOCK_REV", lock.header.map_or(0, |h| h.revision).to_string());
    let ended = session.beside(command.status()).await;
    program::check(program, ended).map_err(|f| Fail::new(f.code.unwrap_or(FAILED), f.text))
}

pub(crate) async fn elect(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    let listen = ctx.given.on("listen");
    let (name, proposal) = match (ctx.args(), listen) {
        ([name], true) => (name.clone(), String::new()),
        ([name, proposal], false) => (name.clone(), proposal.clone()),
        ([_, _], true) => return Err(Fail::arguments("proposal given but -l is set")),
        ([_], false) => return Err(Fail::arguments("no proposal argument but -l not set")),
        _ => {
            return Err(Fail::arguments(
                "elect takes one election name argument and an optional proposal argument",
            ));
        }
    };
    if listen {
        return observe(ctx, name).await;
    }
    let mut session = Session::open(ctx, SESSION_TTL).await?;
    let done = lead(ctx, &mut session, name, proposal).await;
    session.close(done).await
}

async fn lead(ctx: &mut Ctx<'_>, session: &mut Session, name: String, proposal: String) -> Result<(), Fail> {
    let (mut etcd, lease) = (session.etcd.clone(), session.lease);
    let answer = session
        .during(async {
            let ask = pb::CampaignRequest { name: name.into(), lease, value: proposal.into() };
            let won: pb::CampaignResponse = etcd.wait_on_any("/v3electionpb.Election/Campaign", ask).await?;
            held(&etcd, won.leader.map(|l| l.key).unwrap_or_default()).await
        })
        .await?;
    show(ctx, &answer).await?;
    session.last().await.map_err(|fail| Fail { text: format!("elect: {}", fail.text), ..fail })
}

/// The leader, and every change, until it is interrupted.
async fn observe(ctx: &mut Ctx<'_>, name: String) -> Result<(), Fail> {
    let cancel = ctx.cancel.clone();
    tokio::select! {
        failed = follow_leaders(ctx, name) => failed,
        () = cancel.cancelled() => Ok(()),
    }
}

/// Returns whether an observer goes on at another member after this error. Before the first answer
/// a store without a leader is an error, as with etcdctl.
fn is_survived(status: &Status, seen: bool) -> bool {
    is_lost(status) || (seen && is_unready(status))
}

/// Shows leaders for ever. Goes on at another member when the connection is lost.
async fn follow_leaders(ctx: &mut Ctx<'_>, name: String) -> Result<(), Fail> {
    let mut etcd = ctx.connect().await?;
    let ask = pb::LeaderRequest { name: name.into() };
    let (mut last, mut begun) = (None, false);
    loop {
        let asked = Instant::now();
        let opened =
            etcd.answers::<_, pb::LeaderResponse>("/v3electionpb.Election/Observe", ask.clone()).await;
        // A real etcd does not open the stream before there is a leader, however long that takes.
        begun |= opened.is_ok() || asked.elapsed() >= AT_ONCE;
        let mut answers = match opened {
            Ok(answers) => answers,
            Err(status) if begun && is_survived(&status, last.is_some()) => {
                etcd.reconnect().await;
                continue;
            }
            Err(status) => return Err(told(&status)),
        };
        loop {
            match answers.message().await {
                Ok(Some(answer)) => {
                    // Another member begins with the leader that is known already.
                    let proclaimed = answer.kv.as_ref().map(|kv| (kv.key.clone(), kv.mod_revision));
                    if last.replace(proclaimed.clone()) != Some(proclaimed) {
                        let kvs: Vec<_> = answer.kv.into_iter().collect();
                        // As etcd's client: nothing was counted.
                        let (header, more, count) = (answer.header, false, 0);
                        show(ctx, &pb::RangeResponse { header, kvs, more, count }).await?;
                    }
                }
                Err(status) if !is_survived(&status, last.is_some()) => return Err(told(&status)),
                Ok(None) | Err(_) => break,
            }
        }
        etcd.reconnect().await;
    }
}

#[cfg(test)]
mod tests {
    use super::{Status, is_survived, session_ttl};

    /// As etcdctl, which reads who leads again and again.
    #[test]
    fn an_observer_outlives_that_the_store_has_no_leader() {
        let late = Status::unknown("etcdserver: request timed out");
        assert!(is_survived(&late, true) && !is_survived(&late, false));
        assert!(is_survived(&Status::unavailable("x"), false));
        assert!(!is_survived(&Status::unknown("election: observe closed early"), true));
    }

    /// The server would make a second of it.
    #[test]
    fn a_lock_without_a_ttl_has_that_of_any_session() {
        assert_eq!([-1, 0, 1, 10].map(session_ttl), [60, 60, 1, 10]);
    }
}
