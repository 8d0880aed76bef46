//! `watch`.

use super::super::ctx::{CANCELED, Ctx, Fail};
use super::super::out::{Format, Page, quoted};
use super::super::wire::told;
use super::keys::range_of;
use etcd::pb;
use serde_json::json;
use std::process::Stdio;

pub(crate) async fn watch(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    if ctx.given.on("interactive") {
        return Err(Fail::arguments(
            "interactive watches are not implemented here; run one command for each",
        ));
    }
    let mut given = ctx.given.clone();
    let command = match given.before_dash {
        Some(at) => given.args.split_off(at),
        None => vec![],
    };
    if given.args.is_empty() || given.args.len() > 2 {
        return Err(Fail::arguments("bad number of arguments"));
    }
    let (key, range_end) = range_of(&given, "watch")?;
    let create = pb::WatchCreateRequest {
        key,
        range_end,
        start_revision: given.number("rev"),
        prev_kv: given.on("prev-kv"),
        ..Default::default()
    };
    let ask = pb::WatchRequest { request_union: Some(pb::WatchUnion::CreateRequest(create)) };
    let etcd = ctx.connect().await?;
    // the stream must stay open on our side, too
    let asks = futures::StreamExt::chain(futures::stream::iter([ask]), futures::stream::pending());
    let mut answers = etcd.stream::<_, pb::WatchResponse>("/etcdserverpb.Watch/Watch", asks).await?;
    while let Some(response) = answers.message().await.map_err(|s| told(&s))? {
        if response.canceled {
            let reason = match response.compact_revision {
                0 => response.cancel_reason,
                _ => "etcdserver: mvcc: required revision has been compacted".into(),
            };
            return Err(Fail::new(CANCELED, format!("watch is canceled by the server ({reason})")));
        }
        if response.created || response.events.is_empty() {
            continue;
        }
        show(ctx, &response).await?;
        for event in &response.events {
            exec(&command, &response, event).await?;
        }
    }
    Err(Fail::new(CANCELED, "watch is canceled by the server (the connection has ended)"))
}

fn kind(event: &pb::Event) -> &'static str {
    if event.kind == 0 { "PUT" } else { "DELETE" }
}

async fn show(ctx: &mut Ctx<'_>, response: &pb::WatchResponse) -> Result<(), Fail> {
    let mut page: Page = ctx.out.page();
    match ctx.out.format {
        Format::Json => {
            let text = json!({
                "Header": response.header,
                "Events": response.events,
                "CompactRevision": response.compact_revision,
                "Canceled": response.canceled,
                "Created": response.created,
            });
            return ctx.out.json(&text).await;
        }
        Format::Table => return Err(ctx.out.no_table()),
        Format::Fields => {
            page.header(&response.header);
            for event in &response.events {
                page.field("Type", kind(event));
                event.prev_kv.iter().for_each(|kv| page.kv_fields("Prev", kv));
                event.kv.iter().for_each(|kv| page.kv_fields("", kv));
            }
        }
        Format::Simple => {
            for event in &response.events {
                page.line(kind(event));
                event.prev_kv.iter().for_each(|kv| page.kv(kv));
                event.kv.iter().for_each(|kv| page.kv(kv));
            }
        }
    }
    ctx.out.send(&page.bytes).await
}

/// Runs a command for an event, which it finds in its environment.
async fn exec(command: &[String], response: &pb::WatchResponse, event: &pb::Event) -> Result<(), Fail> {
    let Some((program, args)) = command.split_first() else { return Ok(()) };
    let kv = event.kv.clone().unwrap_or_default();
    let revision = response.header.as_ref().map_or(0, |h| h.revision);
    let ran = tokio::process::Command::new(program)
        .args(args)
        .env("ETCD_WATCH_REVISION", revision.to_string())
        .env("ETCD_WATCH_EVENT_TYPE", quoted(kind(event).as_bytes()))
        .env("ETCD_WATCH_KEY", quoted(&kv.key))
        .env("ETCD_WATCH_VALUE", quoted(&kv.value))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await;
    match ran {
        Ok(_) => Ok(()), // how it ended is its own affair, as with etcdctl
        Err(error) => Err(Fail::arguments(format!("command {program:?} error ({error})"))),
    }
}
