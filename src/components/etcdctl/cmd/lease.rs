//! `lease grant`, `revoke`, `timetolive`, `list`, `keep-alive`.

use super::super::ctx::Ctx;
use super::super::fail::{CONNECTION, Fail};
use super::super::given::{lease_id, number};
use super::super::out::{Format, Page, lease, quoted};
use super::super::wire::LEASE_NOT_FOUND;
use etcd::pb;
use futures::StreamExt;
use prost::Message;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// etcd's client library shows these answers with the head's fields among their own.
fn flat(header: &Option<pb::ResponseHeader>, own: Value) -> Value {
    let mut all = match json!(header) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    if let Value::Object(own) = own {
        all.extend(own);
    }
    all.into()
}

/// The one argument: a lease.
fn id(ctx: &Ctx<'_>, complaint: &str) -> Result<i64, Fail> {
    match ctx.args() {
        [id] => lease_id(id, "bad lease ID arg"),
        _ => Err(Fail::arguments(complaint)),
    }
}

/// The code with which etcdctl ends for every error of `timetolive`, `list` and `keep-alive`.
fn unanswered(fail: Fail) -> Fail {
    Fail { code: CONNECTION, ..fail }
}

/// One call about leases. As with etcdctl, it has no limit.
async fn ask_lease<Q, A>(ctx: &Ctx<'_>, path: &'static str, ask: Q) -> Result<A, Fail>
where
    Q: Message + Default + Clone + 'static,
    A: Message + Default + 'static,
{
    let etcd = ctx.connect().await.map_err(unanswered)?;
    etcd.repeat_without_limit(path, ask).await.map_err(unanswered)
}

/// Shows an answer whose JSON is not the message itself.
async fn show(
    ctx: &mut Ctx<'_>,
    json: Value,
    simple: impl FnOnce(&mut Page),
    fields: impl FnOnce(&mut Page),
) -> Result<(), Fail> {
    let mut page = ctx.out.page();
    match ctx.out.format {
        Format::Json => return ctx.out.json(&json).await,
        Format::Simple => simple(&mut page),
        Format::Fields => fields(&mut page),
        Format::Table => return Err(ctx.out.no_format()),
    }
    ctx.out.send(&page.bytes).await
}

pub(crate) async fn grant(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    let [ttl] = ctx.args() else { return Err(Fail::arguments("lease grant command needs TTL argument")) };
    let wrong = |f: Fail| Fail::arguments(format!("bad TTL ({})", f.text));
    let ttl = number(ttl, 0).map_err(wrong)?;
    let failed = |f: Fail| Fail::new(f.code, format!("failed to grant lease ({})", f.text));
    let a = ctx.connect().await?.grant(ttl).await.map_err(failed)?;
    let json = flat(&a.header, json!({"ID": a.id, "TTL": a.ttl, "Error": a.error}));
    let simple = |page: &mut Page| page.line(format!("lease {} granted with TTL({}s)", lease(a.id), a.ttl));
    let fields = |page: &mut Page| {
        page.header(&a.header);
        page.lease_id("ID", a.id);
        page.field("TTL", a.ttl);
    };
    show(ctx, json, simple, fields).await
}

pub(crate) async fn revoke(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    let id = id(ctx, "lease revoke command needs 1 argument")?;
    let failed = |f: Fail| Fail::new(f.code, format!("failed to revoke lease ({})", f.text));
    let answer = ctx.connect().await?.revoke(id).await.map_err(failed)?;
    let simple = |page: &mut Page, _: &_| page.line(format!("lease {} revoked", lease(id)));
    ctx.out.answer(&answer, simple, |page, a| page.header(&a.header)).await
}

pub(crate) async fn time_to_live(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    let id = id(ctx, "lease timetolive command needs lease ID as argument")?;
    let keys = ctx.given.on("keys");
    let ask = pb::LeaseTimeToLiveRequest { id, keys };
    let a: pb::LeaseTimeToLiveResponse = ask_lease(ctx, "/etcdserverpb.Lease/LeaseTimeToLive", ask).await?;
    let listed = match a.keys.is_empty() {
        true => Value::Null,
        false => json!(a)["keys"].clone(),
    };
    let json =
        flat(&a.header, json!({"id": a.id, "ttl": a.ttl, "granted-ttl": a.granted_ttl, "keys": listed}));
    let simple = |page: &mut Page| time_left(page, &a, keys);
    let fields = |page: &mut Page| {
        page.header(&a.header);
        page.lease_id("ID", a.id);
        page.field("TTL", a.ttl);
        page.field("GrantedTTL", a.granted_ttl);
        a.keys.iter().for_each(|key| page.field("Key", quoted(key)));
    };
    show(ctx, json, simple, fields).await
}

/// Adds the line of `lease timetolive`. Keys are bytes, and stay as they are.
fn time_left(page: &mut Page, a: &pb::LeaseTimeToLiveResponse, keys: bool) {
    if a.granted_ttl == 0 && a.ttl == -1 {
        return page.line(format!("lease {} already expired", lease(a.id)));
    }
    let (id, granted, left) = (lease(a.id), a.granted_ttl, a.ttl);
    let text = format!("lease {id} granted with TTL({granted}s), remaining({left}s)");
    page.bytes.extend(text.as_bytes());
    if keys {
        page.bytes.extend(b", attached keys([");
        for (place, key) in a.keys.iter().enumerate() {
            page.bytes.extend(if place == 0 { "".as_bytes() } else { b" " });
            page.bytes.extend(key.iter());
        }
        page.bytes.extend(b"])");
    }
    page.line("");
}

pub(crate) async fn list(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    let ask = pb::LeaseLeasesRequest {};
    let a: pb::LeaseLeasesResponse = ask_lease(ctx, "/etcdserverpb.Lease/LeaseLeases", ask).await?;
    let leases: Vec<Value> = a.leases.iter().map(|l| json!({"id": l.id})).collect();
    let json = flat(&a.header, json!({"leases": leases}));
    let simple = |page: &mut Page| {
        page.line(format!("found {} leases", a.leases.len()));
        a.leases.iter().for_each(|l| page.line(lease(l.id)));
    };
    let fields = |page: &mut Page| {
        page.header(&a.header);
        a.leases.iter().for_each(|l| page.lease_id("ID", l.id));
    };
    show(ctx, json, simple, fields).await
}

pub(crate) async fn keep_alive(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    let id = id(ctx, "lease keep-alive command needs lease ID as argument")?;
    let once = ctx.given.on("once");
    let etcd = ctx.connect().await.map_err(unanswered)?;
    // As etcd's client, which has 5 s if connections have no limit.
    let patience = match ctx.given.duration("dial-timeout")? {
        limit if limit.is_zero() => Duration::from_secs(5),
        limit => limit + Duration::from_secs(1),
    };
    let mut renewals = etcd.keep_alive(id, patience);
    while let Some(a) = renewals.next().await {
        let a = a.map_err(unanswered)?;
        if a.ttl <= 0 {
            return match (once, ctx.out.format) {
                // No member has answered: the lease may well be there.
                (true, _) if a.header.is_none() => Err(Fail::new(CONNECTION, "context deadline exceeded")),
                (true, _) => Err(Fail::new(CONNECTION, LEASE_NOT_FOUND)),
                (false, Format::Simple) => {
                    ctx.out.line(&format!("lease {} expired or revoked.", lease(id))).await
                }
                (false, _) => Ok(()),
            };
        }
        let json = flat(&a.header, json!({"ID": a.id, "TTL": a.ttl}));
        let simple =
            |page: &mut Page| page.line(format!("lease {} keepalived with TTL({})", lease(a.id), a.ttl));
        let fields = |page: &mut Page| {
            page.header(&a.header);
            page.lease_id("ID", a.id);
            page.field("TTL", a.ttl);
        };
        show(ctx, json, simple, fields).await?;
        if once {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attached_keys_keep_their_bytes() {
        let keys = vec![b"a".to_vec().into(), vec![0xff, b'k'].into()];
        let (id, granted_ttl, ttl) = (0x7b, 100, 99);
        let answer = pb::LeaseTimeToLiveResponse { id, granted_ttl, ttl, keys, header: None };
        let mut page = Page::default();
        time_left(&mut page, &answer, true);
        time_left(&mut page, &answer, false);
        let line = "lease 000000000000007b granted with TTL(100s), remaining(99s)";
        let with_keys = [line.as_bytes(), b", attached keys([a \xffk])\n"].concat();
        assert_eq!(page.bytes, [&with_keys[..], line.as_bytes(), b"\n"].concat());
    }
}
