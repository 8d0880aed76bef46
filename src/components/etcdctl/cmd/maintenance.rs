//! Verbs about the store as a whole.

use super::super::ctx::Ctx;
use super::super::fail::{CANCELED, FAILED, FILE, Fail};
use super::super::given::{no_number, number};
use super::super::out::{Format, Page, human, table};
use super::super::version::VERSION;
use super::super::wire::told;
use api::gostr::{Nanos, io_error};
use etcd::database::summary;
use etcd::pb;
use futures::{Stream, StreamExt};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::num::ParseIntError;
use std::path::Path;
use std::time::Instant;
use tokio::io::AsyncWriteExt;
use tonic::Status;

const CHECKSUM: usize = 32;

pub(crate) async fn version(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    ctx.out.line(&format!("etcdctl version: {VERSION}\nAPI version: 3.6")).await
}

pub(crate) async fn compaction(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    let [revision] = ctx.args() else { return Err(Fail::arguments("compaction command needs 1 argument")) };
    let revision = number(revision, FAILED)?;
    let ask = pb::CompactionRequest { revision, physical: ctx.given.on("physical") };
    ctx.connect().await?.call::<_, pb::CompactionResponse>("/etcdserverpb.KV/Compact", ask).await?;
    ctx.out.line(&format!("compacted revision {revision}")).await
}

async fn alarm(ctx: &mut Ctx<'_>, action: i32) -> Result<pb::AlarmResponse, Fail> {
    let ask = pb::AlarmRequest { action, ..Default::default() };
    ctx.connect().await?.repeat("/etcdserverpb.Maintenance/Alarm", ask).await
}

/// Returns what etcd calls a kind of alarm. As in Go, a number without a name stands for itself.
fn alarm_name(kind: i32) -> String {
    match kind {
        0 => "NONE".into(),
        1 => "NOSPACE".into(),
        2 => "CORRUPT".into(),
        other => other.to_string(),
    }
}

fn alarm_line(alarm: &pb::AlarmMember) -> String {
    format!("memberID:{} alarm:{} ", alarm.member_id, alarm_name(alarm.alarm))
}

fn alarm_fields(page: &mut Page, answer: &pb::AlarmResponse) {
    page.header(&answer.header);
    for alarm in &answer.alarms {
        page.id("MemberID", alarm.member_id);
        page.field("AlarmType", alarm_name(alarm.alarm));
        page.line("");
    }
}

async fn show_alarms(ctx: &mut Ctx<'_>, answer: pb::AlarmResponse) -> Result<(), Fail> {
    let simple =
        |page: &mut Page, a: &pb::AlarmResponse| a.alarms.iter().for_each(|a| page.line(alarm_line(a)));
    ctx.out.answer(&answer, simple, alarm_fields).await
}

fn no_arguments(ctx: &Ctx<'_>, verb: &str) -> Result<(), Fail> {
    match ctx.args() {
        [] => Ok(()),
        _ => Err(Fail::arguments(format!("{verb} command accepts no arguments"))),
    }
}

pub(crate) async fn alarms(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    no_arguments(ctx, "alarm list")?;
    let answer = alarm(ctx, 0).await?;
    show_alarms(ctx, answer).await
}

/// Ends each alarm that there is, for the member that has it.
pub(crate) async fn disarm(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    no_arguments(ctx, "alarm disarm")?;
    let raised = alarm(ctx, 0).await?;
    let etcd = ctx.connect().await?;
    let mut ended = pb::AlarmResponse::default();
    for alarm in raised.alarms {
        let ask = pb::AlarmRequest { action: 2, member_id: alarm.member_id, alarm: alarm.alarm };
        let answer: pb::AlarmResponse = etcd.repeat("/etcdserverpb.Maintenance/Alarm", ask).await?;
        ended.alarms.extend(answer.alarms);
    }
    show_alarms(ctx, ended).await
}

/// Defragments one member after the other. A failure is told at once, and the others still have
/// their turn.
pub(crate) async fn defrag(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    let mut failed = false;
    for endpoint in ctx.endpoints().await? {
        let (ask, start) = (pb::DefragmentRequest {}, Instant::now());
        let done = match ctx.member(&endpoint).await {
            Ok(etcd) => {
                etcd.call::<_, pb::DefragmentResponse>("/etcdserverpb.Maintenance/Defragment", ask).await
            }
            Err(fail) => Err(fail),
        };
        let took = Nanos(start.elapsed().as_nanos() as i128);
        match done {
            Ok(_) => {
                let text = format!("Finished defragmenting etcd member[{endpoint}]. took {took}");
                ctx.out.line(&text).await?;
            }
            Err(f) => {
                let text = format!("Failed to defragment etcd member[{endpoint}]. took {took}. ({})", f.text);
                ctx.tell(&text).await;
                failed = true;
            }
        }
    }
    if failed { Err(Fail::new(FAILED, "")) } else { Ok(()) }
}

/// Only the leader can hand over, so it is looked for first. A real etcd tries as long as its
/// client waits: `--command-timeout` ends it.
pub(crate) async fn move_leader(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    let [target] = ctx.args() else { return Err(Fail::arguments("move-leader command needs 1 argument")) };
    let wrong = |error: ParseIntError| Fail::arguments(no_number("ParseUint", target, &error));
    let digits = if target.starts_with('+') { "" } else { target.as_str() }; // Go takes no sign here
    let target_id = u64::from_str_radix(digits, 16).map_err(wrong)?;
    for endpoint in ctx.endpoints().await? {
        let etcd = ctx.member(&endpoint).await?;
        let status: pb::StatusResponse =
            etcd.repeat("/etcdserverpb.Maintenance/Status", pb::StatusRequest {}).await?;
        let me = status.header.map_or(0, |h| h.member_id);
        if status.leader != me {
            continue;
        }
        let ask = pb::MoveLeaderRequest { target_id };
        let moved: pb::MoveLeaderResponse = etcd.repeat("/etcdserverpb.Maintenance/MoveLeader", ask).await?;
        return match ctx.out.format {
            Format::Json => ctx.out.json(&moved).await,
            Format::Simple => {
                ctx.out.line(&format!("Leadership transferred from {me:x} to {target_id:x}")).await
            }
            Format::Fields | Format::Table => Err(ctx.out.no_format()),
        };
    }
    let endpoints = ctx.endpoints().await?;
    Err(Fail::arguments(format!("no leader endpoint given at [{}]", endpoints.join(" "))))
}

/// A snapshot under way. It holds every Secret, so only its owner may read it, as with etcdctl;
/// when it does not become whole (the stream broke, the disk is full, ^C) nothing stays.
struct Draft<'a>(Option<&'a Path>);

impl<'a> Draft<'a> {
    fn at(path: &'a str) -> Draft<'a> {
        Draft(Some(Path::new(path)))
    }

    async fn create(&self) -> std::io::Result<tokio::fs::File> {
        let Some(path) = self.0 else { return Err(std::io::ErrorKind::NotFound.into()) };
        // An older one may be open to others.
        match tokio::fs::remove_file(path).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        tokio::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).await
    }

    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.0 {
            let _ = std::fs::remove_file(path); // what arrived is of no use
        }
    }
}

/// Saves a snapshot: written beside its place, its checksum compared with what arrived, and only
/// then put there. It takes as long as it takes, unless `--command-timeout` is given. As with
/// etcdctl, whatever keeps it from being saved has one exit code ([`CANCELED`]).
pub(crate) async fn save(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    let [path] = ctx.args() else {
        return Err(Fail::arguments("snapshot save expects one argument <filename>"));
    };
    let path = path.clone();
    let fetched = match ctx.chosen_timeout() {
        Some(limit) => clock::limit(limit, fetch(ctx, &path))
            .await
            .unwrap_or_else(|| Err(Fail::new(CANCELED, "context deadline exceeded"))),
        None => fetch(ctx, &path).await,
    };
    let version = fetched.map_err(|fail| Fail { code: CANCELED, ..fail })?;
    ctx.out.line(&saved(&path, &version)).await
}

/// Fetches a snapshot from the one endpoint; returns the storage version.
async fn fetch(ctx: &Ctx<'_>, path: &str) -> Result<String, Fail> {
    let endpoints = ctx.endpoints().await?;
    let [endpoint] = endpoints.as_slice() else {
        return Err(Fail::new(
            FAILED,
            format!(
                "snapshot must be requested to one selected node, not multiple [{}]",
                endpoints.join(" ")
            ),
        ));
    };
    let part = format!("{path}.part");
    let failed = |e: std::io::Error| Fail::new(FILE, format!("cannot write {part}: {}", io_error(&e)));
    let unplaced =
        |e: std::io::Error| Fail::new(FILE, format!("cannot rename {part} to {path}: {}", io_error(&e)));
    let etcd = ctx.member(endpoint).await?;
    let ask = pb::SnapshotRequest {};
    let pieces = etcd.answers::<_, pb::SnapshotResponse>("/etcdserverpb.Maintenance/Snapshot", ask).await;
    let pieces = pieces.map_err(|s| told(&s))?;
    let draft = Draft::at(&part);
    let mut file = draft.create().await.map_err(failed)?;
    let version = receive(pieces, &mut file, failed).await?;
    tokio::fs::rename(&part, path).await.map_err(unplaced)?;
    draft.keep();
    Ok(version)
}

/// Writes a snapshot to a file, down to the disk; returns the storage version. `failed` tells an
/// error of the file. Errors also: the stream breaks, or its bytes do not have their checksum.
async fn receive(
    mut pieces: impl Stream<Item = Result<pb::SnapshotResponse, Status>> + Unpin,
    file: &mut tokio::fs::File,
    failed: impl Fn(std::io::Error) -> Fail,
) -> Result<String, Fail> {
    let (mut sum, mut tail, mut size) = (Sha256::new(), Vec::new(), 0);
    let mut version = String::new();
    while let Some(piece) = pieces.next().await {
        let pb::SnapshotResponse { blob, version: named, .. } = piece.map_err(|s| told(&s))?;
        version = named; // every piece names the same one
        file.write_all(&blob).await.map_err(&failed)?;
        size += blob.len();
        tail.extend(blob);
        // the last bytes are the checksum of all others
        let known = tail.len().saturating_sub(CHECKSUM);
        sum.update(&tail[..known]);
        tail.drain(..known);
    }
    // Only a flush returns the error of the last write; a sync would forget it.
    file.flush().await.map_err(&failed)?;
    file.sync_all().await.map_err(&failed)?;
    if size < CHECKSUM || sum.finalize()[..] != tail {
        return Err(Fail::new(FAILED, "the snapshot arrived damaged: its checksum is wrong"));
    }
    Ok(version)
}

/// What is told of a snapshot: where it is, and the storage version, which an etcd names from 3.6
/// on.
fn saved(path: &str, version: &str) -> String {
    match version {
        "" => format!("Snapshot saved at {path}"),
        version => format!("Snapshot saved at {path}\nServer version {version}"),
    }
}

/// The columns of `snapshot status`, those of `etcdutl` 3.6.
const SUMMARY_HEADINGS: [&str; 5] = ["HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE", "VERSION"];

pub(crate) async fn snapshot_status(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    let [path] = ctx.args() else {
        return Err(Fail::arguments("snapshot status requires exactly one argument"));
    };
    let path = Path::new(path);
    let unreadable = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Fail::new(FAILED, format!("stat {}: {}", path.display(), io_error(&e)))
        }
        _ => Fail::new(FAILED, format!("open {}: {}", path.display(), io_error(&e))),
    };
    let file = std::fs::read(path).map_err(unreadable)?;
    let s = summary(&file).map_err(|e| Fail::new(FAILED, e.to_string()))?;
    let (hash, size) = (format!("{:x}", s.hash), human(s.total_size));
    let row = vec![hash, s.revision.to_string(), s.total_keys.to_string(), size, s.version.clone()];
    let mut page = ctx.out.page();
    match ctx.out.format {
        Format::Json => {
            let all = json!({
                "hash": s.hash, "revision": s.revision, "totalKey": s.total_keys, "totalSize": s.total_size,
                "version": s.version,
            });
            return ctx.out.json(&all).await;
        }
        Format::Simple => page.line(row.join(", ")),
        Format::Table => page.bytes = table(&SUMMARY_HEADINGS, &[row]).into_bytes(),
        Format::Fields => {
            page.field("Hash", s.hash);
            page.field("Revision", s.revision);
            page.field("Keys", s.total_keys);
            page.field("Size", s.total_size);
            page.field("Version", s.version);
        }
    }
    ctx.out.send(&page.bytes).await
}

#[cfg(test)]
mod tests {
    use super::{Draft, Page, alarm_fields, alarm_line, pb, receive, saved};
    use crate::fail::{FILE, Fail};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_version_of_a_snapshot_is_told_if_the_server_names_it() {
        assert_eq!(saved("a.db", "3.6.0"), "Snapshot saved at a.db\nServer version 3.6.0");
        assert_eq!(saved("a.db", ""), "Snapshot saved at a.db");
    }

    /// As `printer_fields.go` of etcdctl 3.6 has it.
    #[test]
    fn alarms_have_names() {
        let alarm = |alarm| pb::AlarmMember { member_id: 31, alarm };
        let answer = pb::AlarmResponse { header: None, alarms: vec![alarm(1), alarm(2), alarm(7)] };
        let mut page = Page::default();
        alarm_fields(&mut page, &answer);
        let text = String::from_utf8(page.bytes).unwrap();
        let named: Vec<&str> = text.lines().filter(|line| line.starts_with("\"AlarmType\"")).collect();
        assert_eq!(named, ["\"AlarmType\" : NOSPACE", "\"AlarmType\" : CORRUPT", "\"AlarmType\" : 7"]);
        assert_eq!(alarm_line(&alarm(1)), "memberID:31 alarm:NOSPACE ");
    }

    #[tokio::test]
    async fn a_snapshot_is_its_owners_alone_and_half_of_one_does_not_stay() {
        let dir = tempfile::tempdir().unwrap();
        let part = dir.path().join("x.part");
        std::fs::write(&part, "an older one").unwrap();
        let name = part.display().to_string();
        let draft = Draft::at(&name);
        draft.create().await.unwrap();
        assert_eq!(std::fs::metadata(&part).unwrap().permissions().mode() & 0o777, 0o600);
        drop(draft);
        assert!(!part.exists());
        let draft = Draft::at(&name);
        draft.create().await.unwrap();
        draft.keep();
        assert!(part.exists());
    }

    /// A disk that is full takes the last piece, and says only afterwards that it did not.
    #[tokio::test]
    async fn a_snapshot_that_the_disk_has_no_room_for_is_not_saved() {
        let mut full = tokio::fs::OpenOptions::new().write(true).open("/dev/full").await.unwrap();
        let piece = pb::SnapshotResponse { blob: vec![1; 100].into(), ..Default::default() };
        let pieces = futures::stream::iter([Ok(piece)]);
        let failed = |e: std::io::Error| Fail::new(FILE, format!("{:?}", e.kind()));
        assert_eq!(receive(pieces, &mut full, failed).await, Err(Fail::new(FILE, "StorageFull")));
    }
}
