//! What to do about one CronJob now: [`decide`] is pure. Source:
//! `pkg/controller/cronjob/{cronjob_controllerv2,utils}.go`.

use crate::job::facts::finished;
use crate::notice::Notice;
use api::cron::{self, Schedule};
use client::Change;
use clock::{self, Timestamp};
use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job};
use std::sync::Arc;
use std::time::Duration;

/// Looks come this much after the time that is due, so that it is past for sure.
const SLACK: Duration = Duration::from_millis(100);
/// More missed times than these get an Event: something is wrong with the clock or the deadline.
const MANY: usize = 100;

/// What to do about one CronJob.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub status: CronJobStatus,
    /// Names of jobs that are to be deleted before the next one is made: it replaces them.
    pub replace: Vec<String>,
    /// Names of ended jobs to delete: there are more than the history keeps.
    pub delete: Vec<String>,
    /// The time for which a job is to be made.
    pub start: Option<Timestamp>,
    pub notices: Vec<Notice>,
    pub again: Option<Duration>,
}

/// Pure: what to do about a CronJob that owns these jobs.
///
/// Schedule `0 * * * *`, last run at 10:00, now 12:05: the run of 12:00 is started. That of 11:00
/// is lost: a schedule says when to begin, not how often.
///
/// ```text
/// startingDeadlineSeconds: 120       nothing: 12:00 is more than 120 s ago
/// Forbid, the Job of 10:00 runs      nothing now; its end brings the next look, which starts 12:00
/// Replace, the Job of 10:00 runs     deletes it, starts 12:00
/// Allow                              starts 12:00 beside it
/// ```
///
/// The next look comes at 13:00. Upstream: `syncCronJob`, `mostRecentScheduleTime`.
pub(super) fn decide(cron: &CronJob, jobs: &[Arc<Job>], now: Timestamp) -> Plan {
    let spec = cron.spec.clone().unwrap_or_default();
    let mut plan = Plan { status: cron.status.clone().unwrap_or_default(), ..Plan::default() };
    account(&mut plan, jobs);
    history(&mut plan, &spec, jobs);
    if cron.metadata.deletion_timestamp.is_some() || spec.suspend.unwrap_or(false) {
        return plan;
    }
    let (schedule, zone) = match timing(&spec) {
        Ok(timing) => timing,
        Err(notice) => {
            plan.notices.push(notice);
            return plan;
        }
    };
    let last = last_run(cron, now);
    let deadline = spec.starting_deadline_seconds.map(|s| Duration::from_secs(s.max(0) as u64));
    let earliest = deadline.map_or(last, |d| last.max(clock::before(now, d)));
    let (due, missed) = most_recent(&schedule, &zone, earliest, now);
    plan.again = next_run(&schedule, &zone, last, now);
    if plan.again.is_none() {
        let why = "time difference between two schedules is less than 1 second"; // there are none
        let message = format!("invalid schedule: {} : {why}", spec.schedule);
        plan.notices.push(Notice::warning("InvalidSchedule", message));
        return plan;
    }
    if missed > MANY {
        let message =
            "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        plan.notices.push(Notice::warning("TooManyMissedTimes", message));
    }
    let Some(due) = due else { return plan };
    // The job of this time runs already: of `@every 30s` two times have one minute, and so one
    // name.
    let name = job_name(cron, due);
    if plan.status.active.iter().flatten().any(|active| active.name.as_ref() == Some(&name)) {
        return plan;
    }
    let busy = plan.status.active.as_ref().is_some_and(|a| !a.is_empty());
    match spec.concurrency_policy.as_deref() {
        Some("Forbid") if busy => {
            let message =
                "Not starting job because prior execution is running and concurrency policy is Forbid";
            plan.notices.push(Notice::normal("JobAlreadyActive", message));
            return plan;
        }
        Some("Replace") => {
            let running = plan.status.active.iter().flatten();
            plan.replace = running.filter_map(|r| r.name.clone()).collect();
        }
        _ => {}
    }
    plan.start = Some(due);
    plan
}

/// Returns when the CronJob last started a job, or was made.
fn last_run(cron: &CronJob, now: Timestamp) -> Timestamp {
    let last = cron.status.as_ref().and_then(|s| s.last_schedule_time.as_ref());
    last.or(cron.metadata.creation_timestamp.as_ref()).map_or(now, |t| t.0)
}

/// Pure: how long it is until the next time that is due; `None`: there is none. A look may come
/// before anything is due: the work queue cuts long waits into pieces. So the next one is counted
/// from the last time, not from now.
fn next_run(schedule: &Schedule, zone: &TimeZone, last: Timestamp, now: Timestamp) -> Option<Duration> {
    let reached = most_recent(schedule, zone, last, now).0.unwrap_or(last);
    let wait = Duration::try_from(schedule.next(reached, zone)?.duration_since(now)).ok()?;
    Some(wait + SLACK)
}

/// Pure: how long a CronJob with a new schedule waits for its next look, which comes when its next
/// time is due: a time before the change is not made up for. `None`: it is looked at now. Upstream:
/// `updateCronJob`.
///
/// ```text
/// made at 10:00 with "0 3 * * *"; at 10:12 the schedule becomes "*/5 * * * *": runs at 10:15
/// ```
pub(super) fn until_next(change: &Change<CronJob>, now: Timestamp) -> Option<Duration> {
    let Change::Updated { old, new } = change else { return None };
    let spec = new.spec.as_ref()?;
    let is_same =
        |before: &CronJobSpec| (&before.schedule, &before.time_zone) == (&spec.schedule, &spec.time_zone);
    if old.spec.as_ref().is_none_or(is_same) {
        return None;
    }
    let (schedule, zone) = timing(spec).ok()?;
    next_run(&schedule, &zone, last_run(new, now), now)
}

/// Brings `status.active` up to date: takes out jobs that have ended or are missing, and reports
/// those that run without standing there.
fn account(plan: &mut Plan, jobs: &[Arc<Job>]) {
    let mut active = plan.status.active.take().unwrap_or_default();
    for job in jobs {
        let (uid, name) = (job.metadata.uid.as_ref(), job.metadata.name.clone().unwrap_or_default());
        let known = active.iter().any(|r| r.uid.as_ref() == uid);
        match finished(job) {
            None if !known => {
                let message = format!("Saw a job that the controller did not create or forgot: {name}");
                plan.notices.push(Notice::warning("UnexpectedJob", message));
            }
            Some(end) if known => {
                active.retain(|r| r.uid.as_ref() != uid);
                let message = format!("Saw completed job: {name}, condition: {}", end.type_);
                plan.notices.push(Notice::normal("SawCompletedJob", message));
            }
            _ => {}
        }
        let completed = job.status.as_ref().and_then(|s| s.completion_time.clone());
        if completed.as_ref().map(|t| t.0) > plan.status.last_successful_time.as_ref().map(|t| t.0) {
            plan.status.last_successful_time = completed;
        }
    }
    for lost in active.iter().filter(|r| !jobs.iter().any(|j| j.metadata.uid == r.uid)) {
        let message = format!("Active job went missing: {}", lost.name.as_deref().unwrap_or_default());
        plan.notices.push(Notice::normal("MissingJob", message));
    }
    active.retain(|r| jobs.iter().any(|j| j.metadata.uid == r.uid));
    plan.status.active = (!active.is_empty()).then_some(active);
}

/// Plans the deletion of ended jobs beyond the limits, the oldest first; one without a start time
/// counts as the youngest, as upstream (`byJobStartTime`).
fn history(plan: &mut Plan, spec: &CronJobSpec, jobs: &[Arc<Job>]) {
    let limits = [
        ("Complete", spec.successful_jobs_history_limit.unwrap_or(3)),
        ("Failed", spec.failed_jobs_history_limit.unwrap_or(1)),
    ];
    for (kind, limit) in limits {
        let mut ended: Vec<&Arc<Job>> =
            jobs.iter().filter(|j| finished(j).is_some_and(|c| c.type_ == kind)).collect();
        ended.sort_by_key(|j| {
            let start = j.status.as_ref().and_then(|s| s.start_time.as_ref()).map(|t| t.0);
            (start.is_none(), start, j.metadata.name.clone())
        });
        let surplus = ended.len().saturating_sub(limit.max(0) as usize);
        plan.delete.extend(ended.iter().take(surplus).filter_map(|j| j.metadata.name.clone()));
    }
}

/// Reads the schedule and its time zone.
///
/// # Errors
/// The Event that says which of them cannot be read.
fn timing(spec: &CronJobSpec) -> Result<(Schedule, TimeZone), Notice> {
    let zone = match &spec.time_zone {
        None => TimeZone::UTC, // that of the controller manager, which keeps UTC
        Some(name) => cron::zone(name).ok_or_else(|| {
            let message = format!("invalid timeZone: {name:?}: unknown time zone {name}");
            Notice::warning("UnknownTimeZone", message)
        })?,
    };
    let schedule = Schedule::parse(&spec.schedule).map_err(|why| {
        let message = format!("unparseable schedule: {:?} : {why}", spec.schedule);
        Notice::warning("UnparseableSchedule", message)
    })?;
    Ok((schedule, zone))
}

/// Returns the last time that was due after `earliest` and not after `now`, and how many there
/// were. Those of a cron expression are counted up to one more than [`MANY`].
///
/// ```text
/// @every 90m, earliest 10:00   at 11:29 none; at 13:05 13:00, and there were 2
/// ```
fn most_recent(
    schedule: &Schedule,
    zone: &TimeZone,
    earliest: Timestamp,
    now: Timestamp,
) -> (Option<Timestamp>, usize) {
    if let Schedule::Every(every) = schedule {
        let first = schedule.next(earliest, zone).filter(|first| *first <= now);
        return first.map_or((None, 0), |first| last_of_interval(first, every.as_secs().max(1), now));
    }
    let times = std::iter::successors(schedule.next(earliest, zone), |at| schedule.next(*at, zone))
        .take_while(|at| *at <= now);
    let counted = times.take(MANY + 1).zip(1..).last();
    let (last, count) = counted.map_or((None, 0), |(at, count)| (Some(at), count));
    if count <= MANY {
        return (last, count);
    }
    // Far behind: look back from now in growing steps instead of walking through all that was
    // missed.
    let mut back = jiff::SignedDuration::from_mins(2);
    loop {
        let from = now.checked_sub(back).unwrap_or(earliest).max(earliest);
        let near = std::iter::successors(schedule.next(from, zone), |at| schedule.next(*at, zone));
        if let Some(at) = near.take_while(|at| *at <= now).last() {
            return (Some(at), count);
        }
        if from == earliest {
            return (last, count);
        }
        back = back.saturating_mul(2);
    }
}

/// Returns the last time of an interval that is not after `now`, and how many times there were; one
/// is due every so many seconds, from `first` on. However many were missed, the next ones still
/// keep their distance from `first`.
fn last_of_interval(first: Timestamp, seconds: i64, now: Timestamp) -> (Option<Timestamp>, usize) {
    let steps = now.duration_since(first).as_secs() / seconds;
    let last = first.checked_add(jiff::SignedDuration::from_secs(steps * seconds)).ok();
    (last, usize::try_from(steps).unwrap_or(usize::MAX).saturating_add(1))
}

/// Returns the name of the job for one time, which has the minute: `backup-29394721`.
pub(super) fn job_name(cron: &CronJob, due: Timestamp) -> String {
    let name = cron.metadata.name.as_deref().unwrap_or_default();
    format!("{name}-{}", due.as_second().div_euclid(60))
}
