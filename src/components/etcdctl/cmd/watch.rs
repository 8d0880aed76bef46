//! `watch`.

use super::super::ctx::Ctx;
use super::super::fail::{CANCELED, FAILED, Fail};
use super::super::given::Given;
use super::super::out::{Format, Page, quoted};
use super::super::wire::{Etcd, is_lost, is_unready, told};
use super::keys::range_of;
use super::program;
use etcd::pb;
use futures::StreamExt;
use serde_json::{Value, json};
use tonic::{Status, Streaming};

pub(crate) async fn watch(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    if ctx.given.on("interactive") {
        return Err(Fail::arguments(
            "interactive watches are not implemented here; run one command for each",
        ));
    }
    let (create, command) = asked(ctx.given.clone(), |variable| std::env::var(variable).ok())?;
    let etcd = ctx.connect().await?;
    let mut watch = Resuming { etcd, create, open: None, created: false, lost: false };
    loop {
        let response = watch.next().await?;
        if response.canceled {
            ctx.tell(&canceled(&response)).await;
            show(ctx, &last(response)).await?;
            return Err(Fail::new(CANCELED, "watch is canceled by the server"));
        }
        if response.created {
            continue;
        }
        if let Some(progress) = progress(&response) {
            ctx.out.line(&progress).await?;
        }
        show(ctx, &response).await?;
        for event in &response.events {
            if let Err(text) = exec(&command, &response, event).await {
                ctx.tell(&text).await;
                return Err(Fail::new(FAILED, ""));
            }
        }
    }
}

/// What is to be watched, and the command that is to run for each event. The key and the end of the
/// range may stand in the environment instead of the line, as with etcd's own program:
///
/// ```text
/// ETCDCTL_WATCH_KEY=a ETCDCTL_WATCH_RANGE_END=c   watch -- echo x     as watch a c -- echo x
/// ```
///
/// Errors: missing or superfluous arguments, a key in both places, an end without a key in the
/// environment, an end beside `--prefix`, or `--` without a command.
fn asked(
    mut given: Given,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(pb::WatchCreateRequest, Vec<String>), Fail> {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    let (key, end) = (variable("ETCDCTL_WATCH_KEY"), variable("ETCDCTL_WATCH_RANGE_END"));
    if let (None, Some(end)) = (&key, &end) {
        let end = quoted(end.as_bytes());
        return Err(Fail::arguments(format!(
            "ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END={end}"
        )));
    }
    let command = match given.before_dash {
        Some(at) => given.args.split_off(at),
        None => vec![],
    };
    if given.before_dash.is_some() && command.is_empty() {
        return Err(Fail::arguments("bad number of arguments (found separator --, but no commands)"));
    }
    if key.is_some() && !given.args.is_empty() {
        return Err(Fail::arguments("bad number of arguments (found conflicting environment key)"));
    }
    given.args.extend(key.into_iter().chain(end));
    if given.args.is_empty() || given.args.len() > 2 {
        return Err(Fail::arguments("bad number of arguments"));
    }
    if given.args.len() == 2 && given.on("prefix") {
        return Err(Fail::arguments("`range_end` and `--prefix` are mutually exclusive"));
    }
    let (key, range_end) = range_of(&given, "watch")?;
    let create = pb::WatchCreateRequest {
        key,
        range_end,
        start_revision: given.number("rev"),
        prev_kv: given.on("prev-kv"),
        progress_notify: given.on("progress-notify"),
        ..Default::default()
    };
    Ok((create, command))
}

/// What to print for a response without changes, which says how far the watch is. `None`: the
/// response has changes.
fn progress(response: &pb::WatchResponse) -> Option<String> {
    let revision = response.header.as_ref().map_or(0, |header| header.revision);
    response.events.is_empty().then(|| format!("progress notify: {revision}"))
}

/// Returns what is told of a watch that the server ended.
fn canceled(response: &pb::WatchResponse) -> String {
    let reason = match (response.compact_revision, response.cancel_reason.as_str()) {
        (0, "") => "etcdserver: mvcc: required revision is a future revision",
        (0, reason) => reason,
        _ => "etcdserver: mvcc: required revision has been compacted",
    };
    format!("watch was canceled ({reason})")
}

/// Returns what is shown of a watch that the server ended. As with etcd's client, only a compaction
/// is an answer of the server; any other end is an error, which has no header.
fn last(response: pb::WatchResponse) -> pb::WatchResponse {
    match response.compact_revision {
        0 => pb::WatchResponse { header: Some(Default::default()), canceled: true, ..Default::default() },
        _ => response,
    }
}

/// Returns whether a watch ends because its member has no leader. As with etcd's client, it does so
/// when it begins and while it is open, instead of being silent. One whose connection was lost
/// tries the other members.
fn is_cut_off(status: &Status, created: bool, lost: bool) -> bool {
    (created || !lost) && status.message().starts_with("etcdserver: no leader")
}

/// Returns whether a watch goes on at another member after this error. One that has never begun
/// does not.
fn is_resumed(status: &Status, begun: bool) -> bool {
    begun && (is_lost(status) || is_unready(status))
}

/// A watch that outlives its connection: when it is lost, the watch goes on at another member, from
/// the revision behind the last one that was seen.
struct Resuming {
    etcd: Etcd,
    /// What is watched. Its `start_revision` is that of the next event; 0: not known yet.
    create: pb::WatchCreateRequest,
    open: Option<Streaming<pb::WatchResponse>>,
    /// The open stream has begun.
    created: bool,
    /// A connection was lost before.
    lost: bool,
}

impl Resuming {
    /// Returns the next answer; that of a member without a leader is the end of the watch. Errors:
    /// the member refuses the watch.
    async fn next(&mut self) -> Result<pb::WatchResponse, Fail> {
        loop {
            match self.receive().await {
                Ok(Some(response)) => {
                    self.remember(&response);
                    return Ok(response);
                }
                Err(status) if is_cut_off(&status, self.created, self.lost) => {
                    let cancel_reason = status.message().to_string();
                    return Ok(pb::WatchResponse { canceled: true, cancel_reason, ..Default::default() });
                }
                Err(status) if !is_resumed(&status, self.created || self.lost) => {
                    return Err(told(&status));
                }
                Ok(None) | Err(_) => {}
            }
            (self.open, self.created, self.lost) = (None, false, true);
            self.etcd.reconnect().await;
        }
    }

    async fn receive(&mut self) -> Result<Option<pb::WatchResponse>, Status> {
        let answers = match &mut self.open {
            Some(answers) => answers,
            None => {
                let create = pb::WatchUnion::CreateRequest(self.create.clone());
                let ask = pb::WatchRequest { request_union: Some(create) };
                // the stream must stay open on our side, too
                let asks = futures::stream::iter([ask]).chain(futures::stream::pending());
                self.open.insert(self.etcd.stream("/etcdserverpb.Watch/Watch", asks).await?)
            }
        };
        answers.message().await
    }

    fn remember(&mut self, response: &pb::WatchResponse) {
        self.created |= response.created;
        self.create.start_revision = next_revision(self.create.start_revision, response);
    }
}

/// Returns where a watch goes on that would have gone on at `next` before this answer; 0: not known
/// yet. An answer without events says that there were none up to its revision. A watch of a quiet
/// key moves on with these, so that a compaction in between costs it nothing.
///
/// ```text
/// next 0    created at 7              8
/// next 8    an event of revision 9    10
/// next 10   progress: 50              51
/// next 51   created at 60             51   another member: what is between is still to come
/// ```
fn next_revision(next: i64, response: &pb::WatchResponse) -> i64 {
    let revision = response.header.as_ref().map_or(0, |header| header.revision);
    let last = response.events.iter().filter_map(|event| event.kv.as_ref()).map(|kv| kv.mod_revision);
    match last.max() {
        Some(last) => last.saturating_add(1),
        // It begins with what comes next.
        None if response.created && next == 0 => revision.saturating_add(1),
        None if response.created || response.canceled => next,
        None => next.max(revision.saturating_add(1)),
    }
}

fn kind(event: &pb::Event) -> &'static str {
    if event.kind == 0 { "PUT" } else { "DELETE" }
}

fn as_json(response: &pb::WatchResponse) -> Value {
    // An end that is an error has no list of events, which Go writes as null.
    let is_error = response.canceled && response.compact_revision == 0;
    json!({
        "Header": response.header,
        "Events": (!is_error).then_some(&response.events),
        "CompactRevision": response.compact_revision,
        "Canceled": response.canceled,
        "Created": response.created,
    })
}

async fn show(ctx: &mut Ctx<'_>, response: &pb::WatchResponse) -> Result<(), Fail> {
    let mut page: Page = ctx.out.page();
    match ctx.out.format {
        Format::Json => return ctx.out.json(&as_json(response)).await,
        Format::Table => return Err(ctx.out.no_format()),
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

/// Runs a command for an event, which it finds in its environment. An interrupt of the watch leaves
/// it alone: the terminal sends it to the command, too, which ends as it likes. Errors: what to
/// tell of a command that failed, which ends the watch.
async fn exec(command: &[String], response: &pb::WatchResponse, event: &pb::Event) -> Result<(), String> {
    let Some((program, args)) = command.split_first() else { return Ok(()) };
    let kv = event.kv.clone().unwrap_or_default();
    let revision = response.header.as_ref().map_or(0, |h| h.revision);
    let ended = program::command(program, args)
        .env("ETCD_WATCH_REVISION", revision.to_string())
        .env("ETCD_WATCH_EVENT_TYPE", quoted(kind(event).as_bytes()))
        .env("ETCD_WATCH_KEY", quoted(&kv.key))
        .env("ETCD_WATCH_VALUE", quoted(&kv.value))
        .status()
        .await;
    program::check(program, ended).map_err(|failed| {
        let words: Vec<String> = command.iter().map(|word| quoted(word.as_bytes())).collect();
        format!("command [{}] error ({})", words.join(" "), failed.text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fail::ARGUMENTS;
    use crate::given::read;
    use crate::table::VERBS;

    fn line(words: &str) -> Result<(pb::WatchCreateRequest, Vec<String>), Fail> {
        line_with(words, &[])
    }

    fn line_with(
        words: &str,
        variables: &[(&str, &str)],
    ) -> Result<(pb::WatchCreateRequest, Vec<String>), Fail> {
        let words: Vec<String> = words.split_whitespace().map(String::from).collect();
        let verb = VERBS.iter().find(|verb| verb.name == "watch").unwrap();
        let of = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_string());
        asked(read("watch", verb.flags, &words).unwrap(), of)
    }

    #[test]
    fn the_key_and_the_end_may_stand_in_the_environment() {
        let (key, end) = (("ETCDCTL_WATCH_KEY", "a"), ("ETCDCTL_WATCH_RANGE_END", "c"));
        let (create, command) = line_with("--rev 3 -- echo x", &[key, end]).unwrap();
        assert_eq!((&create.key[..], &create.range_end[..]), (&b"a"[..], &b"c"[..]));
        assert_eq!((create.start_revision, command), (3, vec!["echo".to_string(), "x".to_string()]));
        let (create, _) = line_with("--prefix", &[key]).unwrap();
        assert_eq!((&create.key[..], &create.range_end[..]), (&b"a"[..], &b"b"[..]));
        for (words, variables, why) in [
            ("", &[end][..], "ETCDCTL_WATCH_KEY is empty but got ETCDCTL_WATCH_RANGE_END=\"c\""),
            ("b", &[key], "(found conflicting environment key)"),
            ("b -- echo x", &[key], "(found conflicting environment key)"),
            ("", &[], "bad number of arguments"),
            ("a b --prefix", &[], "`range_end` and `--prefix` are mutually exclusive"),
        ] {
            let refused = line_with(words, variables).unwrap_err();
            assert_eq!(refused.code, ARGUMENTS);
            assert!(refused.text.ends_with(why), "{words}: {refused:?}");
        }
    }

    #[test]
    fn a_watch_goes_on_behind_the_last_progress_that_was_told() {
        let of = |revision| pb::WatchResponse {
            header: Some(pb::ResponseHeader { revision, ..Default::default() }),
            ..Default::default()
        };
        let created = |revision| pb::WatchResponse { created: true, ..of(revision) };
        let kv = pb::KeyValue { mod_revision: 9, ..Default::default() };
        let event = pb::Event { kv: Some(kv), ..Default::default() };
        assert_eq!(next_revision(0, &created(7)), 8);
        assert_eq!(next_revision(8, &pb::WatchResponse { events: vec![event], ..of(12) }), 10);
        assert_eq!(next_revision(10, &of(50)), 51);
        assert_eq!(next_revision(51, &of(40)), 51, "a member that is behind");
        assert_eq!(next_revision(51, &of(i64::MAX)), i64::MAX, "as no store answers");
        assert_eq!(next_revision(51, &created(60)), 51, "what is between is still to come");
        assert_eq!(next_revision(51, &pb::WatchResponse { canceled: true, ..of(60) }), 51);
    }

    #[test]
    fn a_member_without_a_leader_ends_a_watch_that_begins_or_is_open() {
        let status = Status::unavailable("etcdserver: no leader");
        let cut_off = |created, lost| is_cut_off(&status, created, lost);
        assert!(cut_off(false, false), "it begins");
        assert!(cut_off(true, false) && cut_off(true, true), "it is open");
        assert!(!cut_off(false, true), "it goes on at another member");
        assert!(!is_cut_off(&Status::unavailable("etcdserver: server stopped"), true, false));
    }

    #[test]
    fn a_watch_that_has_begun_outlives_a_member_that_fails() {
        for status in [Status::unavailable("x"), Status::internal("x")] {
            assert!(is_resumed(&status, true) && !is_resumed(&status, false), "{status:?}");
        }
        assert!(!is_resumed(&Status::permission_denied("x"), true));
    }

    /// As `WatchResponse` of etcd's client is written by Go.
    #[test]
    fn an_end_by_an_error_has_neither_header_nor_events() {
        let header = Some(pb::ResponseHeader { cluster_id: 1, revision: 9, ..Default::default() });
        let canceled = pb::WatchResponse { header, canceled: true, created: true, ..Default::default() };
        let want = json!({
            "Header": {}, "Events": null, "CompactRevision": 0, "Canceled": true, "Created": false,
        });
        assert_eq!(as_json(&last(canceled.clone())), want);
        let compacted = pb::WatchResponse { compact_revision: 5, ..canceled };
        assert_eq!(as_json(&last(compacted.clone()))["Events"], json!([]));
        assert_eq!(last(compacted.clone()), compacted);
    }

    #[test]
    fn two_dashes_need_a_command() {
        let (create, command) = line("a b --rev 3 -- echo x").unwrap();
        assert_eq!(
            (&create.key[..], &create.range_end[..], create.start_revision),
            (&b"a"[..], &b"b"[..], 3)
        );
        assert_eq!(command, ["echo", "x"]);
        let refused = line("a --").unwrap_err();
        assert_eq!(refused.code, ARGUMENTS);
        assert!(refused.text.ends_with("(found separator --, but no commands)"), "{refused:?}");
    }

    #[test]
    fn progress_is_told_if_it_is_asked_for() {
        assert!(!line("a").unwrap().0.progress_notify);
        assert!(line("a --progress-notify").unwrap().0.progress_notify);
        let header = Some(pb::ResponseHeader { revision: 7, ..Default::default() });
        let silent = pb::WatchResponse { header, ..Default::default() };
        assert_eq!(progress(&silent).as_deref(), Some("progress notify: 7"));
        let events = vec![pb::Event::default()];
        assert_eq!(progress(&pb::WatchResponse { events, ..silent }), None);
    }
}
