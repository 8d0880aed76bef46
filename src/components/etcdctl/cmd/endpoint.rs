//! `endpoint status`, `endpoint hashkv`, `endpoint health`: every endpoint is asked for itself.

use super::super::ctx::Ctx;
use super::super::fail::{FAILED, Fail};
use super::super::out::{Format, Page, human, table};
use api::gostr::Nanos;
use etcd::pb;
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Every endpoint's answer. Those that failed are told at once; the last one's reason is the
/// verb's.
async fn each<A>(
    ctx: &mut Ctx<'_>,
    what: &str,
    ask: impl AsyncFn(&Ctx<'_>, &str) -> Result<A, Fail>,
) -> Result<(Vec<(String, A)>, Option<Fail>), Fail> {
    let (mut answers, mut failed) = (Vec::new(), None);
    for endpoint in ctx.endpoints().await? {
        match ask(ctx, &endpoint).await {
            Ok(answer) => answers.push((endpoint, answer)),
            Err(f) => {
                ctx.tell(&format!("Failed to get the {what} of endpoint {endpoint} ({})", f.text)).await;
                failed = Some(f);
            }
        }
    }
    Ok((answers, failed))
}

/// Returns answers as a list in JSON. Go writes a list of nothing as null.
fn listed(answers: impl Iterator<Item = Value>) -> Value {
    let all: Vec<Value> = answers.collect();
    if all.is_empty() { Value::Null } else { Value::Array(all) }
}

/// The columns of `endpoint status`.
const STATUS_HEADINGS: [&str; 16] = [
    "ENDPOINT",
    "ID",
    "VERSION",
    "STORAGE VERSION",
    "DB SIZE",
    "IN USE",
    "PERCENTAGE NOT IN USE",
    "QUOTA",
    "IS LEADER",
    "IS LEARNER",
    "RAFT TERM",
    "RAFT INDEX",
    "RAFT APPLIED INDEX",
    "ERRORS",
    "DOWNGRADE TARGET VERSION",
    "DOWNGRADE ENABLED",
];

/// Returns the line of one endpoint in the table of `endpoint status`.
fn status_row(endpoint: &str, s: &pb::StatusResponse) -> Vec<String> {
    let me = s.header.as_ref().map_or(0, |h| h.member_id);
    // What the member says may be any number.
    let used = s.db_size_in_use.saturating_mul(100).checked_div(s.db_size).unwrap_or(100);
    let downgrade = s.downgrade_info.clone().unwrap_or_default();
    vec![
        endpoint.to_string(),
        format!("{me:x}"),
        s.version.clone(),
        s.storage_version.clone(),
        human(s.db_size as u64),
        human(s.db_size_in_use as u64),
        format!("{}%", 100_i64.saturating_sub(used)),
        human(s.db_size_quota as u64),
        (s.leader == me).to_string(),
        s.is_learner.to_string(),
        s.raft_term.to_string(),
        s.raft_index.to_string(),
        s.raft_applied_index.to_string(),
        s.errors.join(", "),
        downgrade.target_version,
        downgrade.enabled.to_string(),
    ]
}

/// Adds one endpoint's answer to `endpoint status -w fields`.
fn status_fields(page: &mut Page, endpoint: &str, s: &pb::StatusResponse) {
    page.header(&s.header);
    page.text("Version", &s.version);
    page.text("StorageVersion", &s.storage_version);
    page.field("DBSize", s.db_size);
    page.field("DBSizeInUse", s.db_size_in_use);
    page.field("DBSizeQuota", s.db_size_quota);
    page.field("Leader", s.leader);
    page.field("IsLearner", s.is_learner);
    page.field("RaftIndex", s.raft_index);
    page.field("RaftTerm", s.raft_term);
    page.field("RaftAppliedIndex", s.raft_applied_index);
    page.field("Errors", format!("[{}]", s.errors.join(" ")));
    page.text("Endpoint", endpoint);
    let downgrade = s.downgrade_info.clone().unwrap_or_default();
    page.text("DowngradeTargetVersion", &downgrade.target_version);
    page.field("DowngradeEnabled", downgrade.enabled);
    page.line("");
}

pub(crate) async fn status(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    let (answers, failed) = each(ctx, "status", async |ctx: &Ctx<'_>, endpoint: &str| {
        let ask = pb::StatusRequest {};
        let etcd = ctx.member(endpoint).await?;
        etcd.repeat::<_, pb::StatusResponse>("/etcdserverpb.Maintenance/Status", ask).await
    })
    .await?;
    let rows: Vec<Vec<String>> =
        answers.iter().map(|(endpoint, status)| status_row(endpoint, status)).collect();
    let mut page = ctx.out.page();
    match ctx.out.format {
        Format::Json => {
            let all = answers.iter().map(|(e, s)| json!({"Endpoint": e, "Status": s}));
            ctx.out.json(&listed(all)).await?;
        }
        Format::Simple => rows.iter().for_each(|r| page.line(r.join(", "))),
        Format::Table => {
            page.bytes = table(&STATUS_HEADINGS, &rows).into_bytes();
        }
        Format::Fields => {
            for (endpoint, s) in &answers {
                status_fields(&mut page, endpoint, s);
            }
        }
    }
    ctx.out.send(&page.bytes).await?;
    // As etcdctl: what failed was told above, and only the exit code says it again.
    failed.map_or(Ok(()), |_| Err(Fail::new(FAILED, "")))
}

/// The columns of `endpoint hashkv`.
const HASH_HEADINGS: [&str; 3] = ["ENDPOINT", "HASH", "HASH REVISION"];

pub(crate) async fn hashkv(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    let revision = ctx.given.number("rev");
    let (answers, failed) = each(ctx, "hash", async |ctx: &Ctx<'_>, endpoint: &str| {
        let ask = pb::HashKvRequest { revision };
        let etcd = ctx.member(endpoint).await?;
        etcd.repeat::<_, pb::HashKvResponse>("/etcdserverpb.Maintenance/HashKV", ask).await
    })
    .await?;
    let row = |(endpoint, h): &(String, pb::HashKvResponse)| {
        vec![endpoint.clone(), h.hash.to_string(), h.hash_revision.to_string()]
    };
    let rows: Vec<Vec<String>> = answers.iter().map(row).collect();
    let mut page = ctx.out.page();
    match ctx.out.format {
        Format::Json => {
            let all = answers.iter().map(|(e, h)| json!({"Endpoint": e, "HashKV": h}));
            ctx.out.json(&listed(all)).await?;
        }
        Format::Simple => rows.iter().for_each(|r| page.line(r.join(", "))),
        Format::Table => page.bytes = table(&HASH_HEADINGS, &rows).into_bytes(),
        Format::Fields => {
            for (endpoint, h) in &answers {
                page.header(&h.header);
                page.text("Endpoint", endpoint);
                page.field("Hash", h.hash);
                page.field("HashRevision", h.hash_revision);
                page.line("");
            }
        }
    }
    ctx.out.send(&page.bytes).await?;
    failed.map_or(Ok(()), Err)
}

/// Returns a time as Go prints it.
fn took(time: Duration) -> String {
    Nanos(time.as_nanos() as i128).to_string()
}

struct Health {
    endpoint: String,
    took: String,
    error: String,
}

/// Judges the answer to a linearizable read: only a member that a majority follows can answer it.
/// As with etcdctl, a refusal for want of rights is such an answer.
fn has_agreed(answer: Result<pb::RangeResponse, Fail>) -> Result<(), Fail> {
    match answer {
        Err(fail) if fail.text != "etcdserver: permission denied" => Err(fail),
        _ => Ok(()),
    }
}

/// Asks whether a member can commit. One with an alarm is not healthy.
async fn ask_health(ctx: &Ctx<'_>, endpoint: &str) -> Result<(), Fail> {
    let etcd = ctx.member(endpoint).await?;
    has_agreed(etcd.range(pb::RangeRequest { key: "health".into(), ..Default::default() }).await)?;
    let ask = pb::AlarmRequest::default();
    let answer = etcd.repeat::<_, pb::AlarmResponse>("/etcdserverpb.Maintenance/Alarm", ask).await;
    let alarms = answer.map_err(|_| Fail::new(FAILED, "Unable to fetch the alarm list"))?.alarms;
    if alarms.is_empty() {
        return Ok(());
    }
    let name = |kind: i32| ["UNKNOWN", "NOSPACE", "CORRUPT"].get(kind as usize).copied().unwrap_or("UNKNOWN");
    let names: String = alarms.iter().map(|alarm| format!("{} ", name(alarm.alarm))).collect();
    Err(Fail::new(FAILED, format!("Active Alarm(s): {names}")))
}

/// Asks all endpoints at the same time, so that those that are silent cost the time of one.
async fn ask_healths(ctx: &Ctx<'_>) -> Result<Vec<Health>, Fail> {
    let one = |endpoint: String| async move {
        let start = Instant::now();
        let error = ask_health(ctx, &endpoint).await.err().map(|f| f.text).unwrap_or_default();
        Health { endpoint, took: took(start.elapsed()), error }
    };
    let endpoints = ctx.endpoints().await?;
    Ok(join_all(endpoints.into_iter().map(one)).await)
}

pub(crate) async fn health(ctx: &mut Ctx<'_>) -> Result<(), Fail> {
    let found = ask_healths(ctx).await?;
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|h| vec![h.endpoint.clone(), h.error.is_empty().to_string(), h.took.clone(), h.error.clone()])
        .collect();
    let mut page = ctx.out.page();
    match ctx.out.format {
        Format::Json => {
            let one = |h: &Health| {
                let mut one = json!({"endpoint": h.endpoint, "health": h.error.is_empty(), "took": h.took});
                if !h.error.is_empty() {
                    one["error"] = json!(h.error);
                }
                one
            };
            ctx.out.json(&listed(found.iter().map(one))).await?;
        }
        Format::Simple => {
            for h in &found {
                let endpoint = &h.endpoint;
                match h.error.is_empty() {
                    true => page.line(format!(
                        "{endpoint} is healthy: successfully committed proposal: took = {}",
                        h.took
                    )),
                    false => {
                        let text = format!("{endpoint} is unhealthy: failed to commit proposal: {}", h.error);
                        ctx.tell(&text).await;
                    }
                }
            }
        }
        Format::Table => page.bytes = table(&["ENDPOINT", "HEALTH", "TOOK", "ERROR"], &rows).into_bytes(),
        Format::Fields => {
            for h in &found {
                page.text("Endpoint", &h.endpoint);
                page.field("Health", h.error.is_empty());
                page.field("Took", &h.took);
                page.field("Error", &h.error);
                page.line("");
            }
        }
    }
    ctx.out.send(&page.bytes).await?;
    match found.iter().all(|h| h.error.is_empty()) {
        true => Ok(()),
        false => Err(Fail::new(FAILED, "unhealthy cluster")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_minutes_is_told_in_minutes() {
        assert_eq!(took(Duration::from_millis(90_500)), "1m30.5s");
        assert_eq!(took(Duration::from_micros(1_234)), "1.234ms");
    }

    /// As `epHealthCommandFunc` of etcdctl 3.6, for an etcd with users.
    #[test]
    fn a_member_that_refuses_the_key_is_healthy() {
        let refused = |text: &str| Err(Fail::new(FAILED, text));
        assert_eq!(has_agreed(refused("etcdserver: permission denied")), Ok(()));
        assert_eq!(has_agreed(Ok(Default::default())), Ok(()));
        let late = "context deadline exceeded";
        assert_eq!(has_agreed(refused(late)), Err(Fail::new(FAILED, late)));
    }

    #[test]
    fn sizes_that_no_file_has_are_shown_as_well() {
        let unused = |db_size_in_use, db_size| {
            let told = pb::StatusResponse { db_size, db_size_in_use, ..Default::default() };
            status_row("e", &told)[6].clone()
        };
        assert_eq!([unused(25, 100), unused(1, 0)], ["75%", "0%"]);
        assert_eq!(unused(i64::MIN, 1), format!("{}%", i64::MAX));
    }
}
