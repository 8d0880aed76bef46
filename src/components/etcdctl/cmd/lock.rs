//! `lock` and `elect`, on the services that etcd has for them.

use super::super::INTERRUPTED;
use super::super::ctx::{Ctx, FAILED, Fail};
use super::super::wire::{Etcd, told};
use super::keys::range_fields;
use etcd::pb;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use std::future::Future;
use tokio_util::sync::CancellationToken;

/// Seconds of an election's session.
const ELECTION_TTL: i64 = 60;

/// A lease that is kept alive.
struct Session {
    etcd: Etcd,
    lease: i64,
    renewals: BoxStream<'static, Result<pb::LeaseKeepAliveResponse, Fail>>,
    cancel: CancellationToken,
}

impl Session {
    async fn open(ctx: &Ctx<'_>, ttl: i64) -> Result<Session, Fail> {
        let etcd = ctx.connect().await?;
        let lease = etcd.grant(ttl).await?.id;
        let renewals = etcd.keep_alive(lease).await?.boxed();
        Ok(Session { etcd, lease, renewals, cancel: ctx.cancel.clone() })
    }

    /// Does something that ends with the session, or when it is interrupted.
    async fn during<T>(&mut self, work: impl Future<Output = Result<T, Fail>>) -> Result<T, Fail> {
        let renewals = &mut self.renewals;
        let lost = async {
            loop {
                match renewals.next().await {
                    Some(Ok(a)) if a.ttl > 0 => {}
                    Some(Err(fail)) => return fail,
                    Some(Ok(_)) | None => return Fail::new(FAILED, "session expired"),
                }
            }
        };
        tokio::select! {
            done = work => done,
            fail = lost => Err(fail),
            () = self.cancel.cancelled() => Err(Fail::new(INTERRUPTED, "")),
        }
    }

    /// Ends the lease, and with it the place in the queue. What went wrong before goes before what
    /// goes wrong now.
    async fn close<T>(self, done: Result<T, Fail>) -> Result<T, Fail> {
        let ended = self.etcd.revoke(self.lease).await;
        let done = done?;
        ended.map(|_| done)
    }
}

/// Shows a key, as `get` does.
async fn show(ctx: &mut Ctx<'_>, answer: &pb::RangeResponse) -> Result<(), Fail> {
    ctx.out.answer(answer, |page, a| a.kvs.iter().for_each(|kv| page.kv(kv)), range_fields).await
}

fn key(key: bytes::Bytes) -> pb::RangeRequest {
    pb::RangeRequest { key, ..Default::default() }
}

pub(crate) async fn lock(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    let Some((name, command)) = ctx.args().split_first() else {
        return Err(Fail::arguments("lock takes a lock name argument and an optional command to execute"));
    };
    let (name, command) = (name.clone(), command.to_vec());
    let mut session = Session::open(ctx, ctx.given.number("ttl")).await?;
    let done = hold(ctx, &mut session, name, command).await;
    session.close(done).await
}

/// Holds the lock until the command ends; without a command, until etcdctl is interrupted.
async fn hold(
    ctx: &mut Ctx<'_>,
    session: &mut Session,
    name: String,
    command: Vec<String>,
) -> Result<(), Fail> {
    let (etcd, lease) = (session.etcd.clone(), session.lease);
    let answer = session
        .during(async {
            let ask = pb::LockRequest { name: name.into(), lease };
            let lock: pb::LockResponse = etcd.wait("/v3lockpb.Lock/Lock", ask).await?;
            etcd.range(key(lock.key)).await
        })
        .await?;
    let Some((program, args)) = command.split_first() else {
        show(ctx, &answer).await?;
        return session.during(std::future::pending()).await;
    };
    let kv = answer.kvs.first().cloned().unwrap_or_default();
    let child = tokio::process::Command::new(program)
        .args(args)
        .env("ETCD_LOCK_KEY", String::from_utf8_lossy(&kv.key).into_owned())
        .env("ETCD_LOCK_REV", answer.header.map_or(0, |h| h.revision).to_string())
        .kill_on_drop(true)
        .status();
    let failed = |e: std::io::Error| Fail::new(FAILED, format!("exec: {program:?}: {e}"));
    let status = session.during(child.map(|status| status.map_err(failed))).await?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => Err(Fail::new(FAILED, format!("exit status {code}"))),
        None => Err(Fail::new(FAILED, status.to_string())),
    }
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
    let mut session = Session::open(ctx, ELECTION_TTL).await?;
    let done = lead(ctx, &mut session, name, proposal).await;
    session.close(done).await
}

async fn lead(ctx: &mut Ctx<'_>, session: &mut Session, name: String, proposal: String) -> Result<(), Fail> {
    let (etcd, lease) = (session.etcd.clone(), session.lease);
    let answer = session
        .during(async {
            let ask = pb::CampaignRequest { name: name.into(), lease, value: proposal.into() };
            let won: pb::CampaignResponse = etcd.wait("/v3electionpb.Election/Campaign", ask).await?;
            etcd.range(key(won.leader.map(|l| l.key).unwrap_or_default())).await
        })
        .await?;
    show(ctx, &answer).await?;
    session.during(std::future::pending()).await
}

/// The leader, and every change, until it is interrupted.
async fn observe(ctx: &mut Ctx<'_>, name: String) -> Result<(), Fail> {
    let etcd = ctx.connect().await?;
    let ask = pb::LeaderRequest { name: name.into() };
    let mut answers = etcd.answers::<_, pb::LeaderResponse>("/v3electionpb.Election/Observe", ask).await?;
    loop {
        let next = tokio::select! {
            next = answers.next() => next,
            () = ctx.cancel.cancelled() => return Err(Fail::new(INTERRUPTED, "")),
        };
        match next {
            Some(Ok(a)) => {
                let kvs: Vec<_> = a.kv.into_iter().collect();
                let (header, count) = (a.header, kvs.len() as i64);
                show(ctx, &pb::RangeResponse { header, kvs, more: false, count }).await?;
            }
            Some(Err(status)) => return Err(told(&status)),
            None => return Err(Fail::new(FAILED, "election observer lost")),
        }
    }
}
