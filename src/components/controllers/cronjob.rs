//! # CronJob: a Job whenever it is time
//!
//! [`decide`] asks the schedule what was due since the last time, and what the concurrency policy
//! says about Jobs that still run. A Job's name carries the minute it was due, so that no restart
//! makes a second one. Source: `pkg/controller/cronjob`.

use super::job::facts::finished;
use super::pods::{controller_of, is_namespace_ending, owned_by};
use crate::error::Error;
use crate::shared::{Controller, Shared, record};
use api::cron::{self, Schedule};
use client::{Change, Key, Outcome, Recorder, WorkQueue, is_code, reference};
use clock::{self, Timestamp};
use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{DeleteParams, PostParams};
use std::sync::Arc;
use std::time::Duration;
use tap::{Cause, Component, Event};

const COMPONENT: Component = Component::CronJobController;
const WORKERS: usize = 5;
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// Looks come this much after the time that is due, so that it is past for sure.
const SLACK: Duration = Duration::from_millis(100);
/// More missed times than these are told: something is wrong with the clock or the deadline.
const MANY: usize = 100;

/// An event: (is it a warning, reason, message).
type Told = (bool, &'static str, String);

/// What to do about one CronJob.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub status: CronJobStatus,
    /// Names of jobs to delete: too old, or replaced by the next.
    pub delete: Vec<String>,
    /// The time for which a job is to be made.
    pub start: Option<Timestamp>,
    pub told: Vec<Told>,
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
pub(crate) fn decide(cron: &CronJob, jobs: &[Arc<Job>], now: Timestamp) -> Plan {
    let spec = cron.spec.clone().unwrap_or_default();
    let mut plan = Plan { status: cron.status.clone().unwrap_or_default(), ..Plan::default() };
    account(&mut plan, jobs);
    history(&mut plan, &spec, jobs);
    if cron.metadata.deletion_timestamp.is_some() || spec.suspend.unwrap_or(false) {
        return plan;
    }
    let (schedule, zone) = match timing(&spec) {
        Ok(timing) => timing,
        Err(told) => {
            plan.told.push(told);
            return plan;
        }
    };
    let created = cron.metadata.creation_timestamp.as_ref().map_or(now, |t| t.0);
    let last = plan.status.last_schedule_time.as_ref().map_or(created, |t| t.0);
    let deadline = spec.starting_deadline_seconds.map(|s| Duration::from_secs(s.max(0) as u64));
    let earliest = deadline.map_or(last, |d| last.max(clock::before(now, d)));
    let (due, missed) = most_recent(&schedule, &zone, earliest, now);
    // A look may come before anything is due: the work queue cuts long waits into pieces. So the
    // next one is counted from the last time, not from now.
    let reached = most_recent(&schedule, &zone, last, now).0.unwrap_or(last);
    let next = schedule.next(reached, &zone);
    plan.again = next.and_then(|at| Duration::try_from(at.duration_since(now)).ok()).map(|wait| wait + SLACK);
    if missed > MANY {
        let told =
            "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        plan.told.push((true, "TooManyMissedTimes", told.into()));
    }
    let Some(due) = due else { return plan };
    let busy = plan.status.active.as_ref().is_some_and(|a| !a.is_empty());
    match spec.concurrency_policy.as_deref() {
        Some("Forbid") if busy => {
            let told = "Not starting job because prior execution is running and concurrency policy is Forbid";
            plan.told.push((false, "JobAlreadyActive", told.into()));
            return plan;
        }
        Some("Replace") => {
            let running = plan.status.active.take().unwrap_or_default();
            plan.delete.extend(running.into_iter().filter_map(|r| r.name));
        }
        _ => {}
    }
    plan.start = Some(due);
    plan
}

/// Brings `status.active` up to date: who has ended, who is missing, who is there unasked.
fn account(plan: &mut Plan, jobs: &[Arc<Job>]) {
    let mut active = plan.status.active.take().unwrap_or_default();
    for job in jobs {
        let (uid, name) = (job.metadata.uid.as_ref(), job.metadata.name.clone().unwrap_or_default());
        let known = active.iter().any(|r| r.uid.as_ref() == uid);
        match finished(job) {
            None if !known => {
                let told = format!("Saw a job that the controller did not create or forgot: {name}");
                plan.told.push((true, "UnexpectedJob", told));
            }
            Some(end) if known => {
                active.retain(|r| r.uid.as_ref() != uid);
                let told = format!("Saw completed job: {name}, condition: {}", end.type_);
                plan.told.push((false, "SawCompletedJob", told));
            }
            _ => {}
        }
        let completed = job.status.as_ref().and_then(|s| s.completion_time.clone());
        if completed.as_ref().map(|t| t.0) > plan.status.last_successful_time.as_ref().map(|t| t.0) {
            plan.status.last_successful_time = completed;
        }
    }
    for lost in active.iter().filter(|r| !jobs.iter().any(|j| j.metadata.uid == r.uid)) {
        let told = format!("Active job went missing: {}", lost.name.as_deref().unwrap_or_default());
        plan.told.push((false, "MissingJob", told));
    }
    active.retain(|r| jobs.iter().any(|j| j.metadata.uid == r.uid));
    plan.status.active = (!active.is_empty()).then_some(active);
}

/// The oldest ended jobs beyond the limits go.
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
            (start, j.metadata.name.clone())
        });
        let surplus = ended.len().saturating_sub(limit.max(0) as usize);
        plan.delete.extend(ended.iter().take(surplus).filter_map(|j| j.metadata.name.clone()));
    }
}

fn timing(spec: &CronJobSpec) -> Result<(Schedule, TimeZone), Told> {
    let zone = match &spec.time_zone {
        None => TimeZone::UTC, // that of the controller manager, which keeps UTC
        Some(name) => cron::zone(name).ok_or_else(|| {
            (true, "UnknownTimeZone", format!("invalid timeZone: {name:?}: unknown time zone {name}"))
        })?,
    };
    let schedule = Schedule::parse(&spec.schedule).map_err(|why| {
        (true, "UnparseableSchedule", format!("unparseable schedule: {:?} : {why}", spec.schedule))
    })?;
    Ok((schedule, zone))
}

/// The last time that was due after `earliest` and not after `now`, and how many there were
/// (counted no further than is worth telling).
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
    let mut times = std::iter::successors(schedule.next(earliest, zone), |at| schedule.next(*at, zone))
        .take_while(|at| *at <= now);
    let (mut last, mut count) = (None, 0);
    for at in times.by_ref().take(MANY + 1) {
        (last, count) = (Some(at), count + 1);
    }
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

pub(crate) const CONTROLLER: Controller = Controller {
    informers: |informers| {
        informers.all::<CronJob>();
        informers.all::<Job>();
    },
    start,
};

fn start(shared: &Shared) {
    let queue: WorkQueue<Key> = WorkQueue::new(&shared.crew);
    let recorder = Recorder::new(&shared.crew, &shared.config.client, COMPONENT.name(), "");
    let q = queue.clone();
    shared.informer::<CronJob>().on(move |change| q.add(change.key(), change.cause()));
    let q = queue.clone();
    shared.informer::<Job>().on(move |change: &Change<Job>| {
        if let Some(owner) = controller_of(&change.object().metadata).filter(|o| o.kind == "CronJob") {
            q.add(Key::new(change.key().namespace, owner.name.clone()), change.cause());
        }
    });
    let worker = Arc::new(Worker { shared: shared.clone(), recorder });
    shared.report_panics(&queue, shared.informer::<CronJob>(), COMPONENT.name());
    queue.work(COMPONENT.name(), WORKERS, move |key, cause| {
        let worker = worker.clone();
        async move { worker.sync(key, cause).await }
    });
}

struct Worker {
    shared: Shared,
    recorder: Recorder,
}

impl Worker {
    async fn sync(&self, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
        let Some(cron) = self.shared.informer::<CronJob>().get(&key) else { return Ok(Outcome::Done) };
        let owned = |j: &Arc<Job>| {
            controller_of(&j.metadata).is_some_and(|o| Some(&o.uid) == cron.metadata.uid.as_ref())
        };
        let client = self.shared.config.client.caused_by(cause.clone());
        let (about, api) = (reference(&*cron), client.within::<Job>(&key.namespace));
        let mut jobs: Vec<Arc<Job>> =
            self.shared.informer::<Job>().within(&key.namespace).into_iter().filter(owned).collect();
        for active in cron.status.iter().flat_map(|s| s.active.iter().flatten()) {
            // Not in the cache: either gone, or made a moment ago.
            if !jobs.iter().any(|j| j.metadata.uid == active.uid)
                && let Some(name) = &active.name
            {
                jobs.extend(api.get_opt(name).await?.map(Arc::new).filter(owned));
            }
        }
        let mut plan = decide(&cron, &jobs, clock::now());
        for name in &plan.delete {
            let params = DeleteParams::background();
            match api.delete(name, &params).await {
                Ok(_) => self.recorder.normal(
                    &about,
                    "SuccessfulDelete",
                    format!("Deleted job {name}"),
                    cause.clone(),
                ),
                Err(error) if is_code(&error, 404) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(due) = plan.start {
            let job = job_of(&cron, due);
            let name = job.metadata.name.clone().unwrap_or_default();
            let made = match api.create(&PostParams::default(), &job).await {
                Ok(made) => {
                    plan.told.push((false, "SuccessfulCreate", format!("Created job {name}")));
                    let tap = self.shared.tap(COMPONENT);
                    tap.emit(record(Event::CreateJob { job: name.clone() }, "cronjobs", &key, &cause));
                    made
                }
                // Made in an earlier look whose status was not written: ours, if it says so.
                Err(error) if is_code(&error, 409) => api.get(&name).await?,
                // The cron job goes with its namespace.
                Err(error) if is_namespace_ending(&error) => return Ok(Outcome::Done),
                Err(error) => {
                    let told = format!("Error creating job: {error}");
                    self.recorder.warning(&about, "FailedCreate", told, cause.clone());
                    return Err(error.into());
                }
            };
            if owned(&Arc::new(made.clone())) {
                let entry = reference(&made);
                let active = plan.status.active.get_or_insert_default();
                if finished(&made).is_none() && !active.iter().any(|r| r.uid == entry.uid) {
                    active.push(entry);
                }
            }
            plan.status.last_schedule_time = Some(Time(due));
        }
        self.write(&key, &cron, &plan, &cause).await?;
        for (warning, reason, message) in plan.told {
            match warning {
                true => self.recorder.warning(&about, reason, message, cause.clone()),
                false => self.recorder.normal(&about, reason, message, cause.clone()),
            }
        }
        // A schedule names times of the wall clock, whatever the clock's scale is.
        Ok(plan.again.map_or(Outcome::Done, Outcome::Pause))
    }

    async fn write(
        &self,
        key: &Key,
        cron: &CronJob,
        plan: &Plan,
        cause: &Option<Cause>,
    ) -> Result<(), Error> {
        if cron.status.as_ref() == Some(&plan.status) {
            return Ok(());
        }
        let mut next = cron.clone();
        next.status = Some(plan.status.clone());
        let api = self.shared.config.client.caused_by(cause.clone()).within::<CronJob>(&key.namespace);
        match api.replace_status(&key.name, &PostParams::default(), &next).await {
            Err(error) if is_code(&error, 409) => {
                Err(Error::Conflict("the cron job is newer than the cache".into()))
            }
            Err(error) if !is_code(&error, 404) => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// The job for one time, named after the minute: `backup-29394721`.
fn job_of(cron: &CronJob, due: Timestamp) -> Job {
    let spec = cron.spec.clone().unwrap_or_default();
    let meta = spec.job_template.metadata.unwrap_or_default();
    let zone = spec.time_zone.as_deref().and_then(cron::zone).unwrap_or(TimeZone::UTC);
    let told = due.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string().replace("+00:00", "Z");
    let mut annotations = meta.annotations.unwrap_or_default();
    annotations.insert(SCHEDULED.into(), told);
    Job {
        metadata: ObjectMeta {
            name: Some(format!(
                "{}-{}",
                cron.metadata.name.as_deref().unwrap_or_default(),
                due.as_second().div_euclid(60)
            )),
            namespace: cron.metadata.namespace.clone(),
            labels: meta.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![owned_by(cron)]),
            ..ObjectMeta::default()
        },
        spec: spec.job_template.spec,
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use serde_json::json;

    fn cron(mut spec: Value, last: &str, active: &[&str]) -> CronJob {
        spec["jobTemplate"] = json!({"spec": {"template": {}}});
        let active: Vec<Value> = active.iter().map(|name| json!({"name": name, "uid": name})).collect();
        serde_json::from_value(json!({
            "metadata": {"name": "c", "namespace": "d", "creationTimestamp": "2026-01-01T00:00:30Z"},
            "spec": spec, "status": {"lastScheduleTime": last, "active": active}}))
        .unwrap()
    }

    fn job(name: &str, ended: &str, at: &str) -> Arc<Job> {
        let conditions =
            if ended.is_empty() { json!([]) } else { json!([{"type": ended, "status": "True"}]) };
        let meta = json!({"name": name, "uid": name});
        Arc::new(
            serde_json::from_value(
                json!({"metadata": meta, "status": {"conditions": conditions, "startTime": at}}),
            )
            .unwrap(),
        )
    }

    fn look(spec: Value, last: &str, active: &[&str], jobs: &[Arc<Job>], now: &str) -> Plan {
        decide(&cron(spec, last, active), jobs, now.parse().unwrap())
    }

    const T: &str = "2026-01-01T10:00:00Z";

    #[test]
    fn the_last_time_that_was_due_is_made_up_for() {
        let every = json!({"schedule": "*/5 * * * *"});
        let plan = look(every.clone(), T, &[], &[], "2026-01-01T10:04:00Z");
        assert_eq!((plan.start, plan.again.unwrap().as_millis()), (None, 60_100));
        let plan = look(every.clone(), T, &[], &[], "2026-01-01T10:17:00Z");
        assert_eq!(plan.start.unwrap().to_string(), "2026-01-01T10:15:00Z");
        let job = job_of(&cron(every.clone(), T, &[]), plan.start.unwrap());
        assert_eq!(job.metadata.name.as_deref(), Some("c-29454375"));
        let plan = look(every, T, &[], &[], "2026-03-01T10:17:00Z");
        assert_eq!(plan.start.unwrap().to_string(), "2026-03-01T10:15:00Z");
        assert_eq!(plan.told[0].1, "TooManyMissedTimes");
        let late = json!({"schedule": "*/5 * * * *", "startingDeadlineSeconds": 60});
        assert_eq!(look(late, T, &[], &[], "2026-01-01T10:17:00Z").start, None);
        let patient = json!({"schedule": "*/5 * * * *", "startingDeadlineSeconds": i64::MAX});
        assert!(look(patient, T, &[], &[], "2026-01-01T10:17:00Z").start.is_some());
        let still = json!({"schedule": "*/5 * * * *", "suspend": true});
        assert_eq!(look(still, T, &[], &[], "2026-01-01T10:17:00Z").start, None);
    }

    /// Also when a look comes in between, as after a long wait or a restart.
    #[test]
    fn an_interval_is_counted_from_the_last_time_that_was_due() {
        for (schedule, deadline, now, start, wait) in [
            ("@every 90m", Value::Null, "2026-01-01T11:00:00Z", None, 30 * 60_000),
            ("@every 90m", Value::Null, "2026-01-01T11:30:00Z", Some("2026-01-01T11:30:00Z"), 90 * 60_000),
            ("@every 45m", Value::Null, "2026-01-01T10:44:00Z", None, 60_000),
            ("@every 45m", json!(60), "2026-01-01T10:44:00Z", None, 60_000),
            // 944 times later.
            ("@every 90m", Value::Null, "2026-03-01T10:17:00Z", Some("2026-03-01T10:00:00Z"), 73 * 60_000),
        ] {
            let spec = json!({"schedule": schedule, "startingDeadlineSeconds": deadline});
            let plan = look(spec, T, &[], &[], now);
            assert_eq!(plan.start.map(|at| at.to_string()).as_deref(), start, "{schedule} at {now}");
            assert_eq!(plan.again.unwrap().as_millis(), wait + 100, "{schedule} at {now}");
        }
    }

    #[test]
    fn the_policy_decides_about_a_job_that_still_runs() {
        let policy = |policy: &str| json!({"schedule": "* * * * *", "concurrencyPolicy": policy});
        let running = [job("a", "", T)];
        let now = "2026-01-01T10:01:10Z";
        assert!(look(policy("Allow"), T, &["a"], &running, now).start.is_some());
        let plan = look(policy("Forbid"), T, &["a"], &running, now);
        assert_eq!((plan.start, plan.told[0].1), (None, "JobAlreadyActive"));
        let plan = look(policy("Replace"), T, &["a"], &running, now);
        assert_eq!(
            (plan.start.is_some(), plan.delete, plan.status.active),
            (true, vec!["a".to_string()], None)
        );
        let ended = [job("a", "Complete", T)];
        let plan = look(policy("Forbid"), T, &["a"], &ended, now);
        assert_eq!((plan.start.is_some(), plan.told[0].1), (true, "SawCompletedJob"));
        assert_eq!(look(policy("Forbid"), T, &["a"], &[], now).told[0].1, "MissingJob");
    }

    #[test]
    fn history_is_kept_as_long_as_asked() {
        let jobs = [
            job("a", "Complete", "2026-01-01T01:00:00Z"),
            job("b", "Failed", "2026-01-01T02:00:00Z"),
            job("c", "Complete", "2026-01-01T03:00:00Z"),
            job("d", "Failed", "2026-01-01T04:00:00Z"),
            job("e", "", "2026-01-01T05:00:00Z"),
        ];
        let spec =
            json!({"schedule": "@yearly", "successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 0});
        assert_eq!(look(spec, T, &["e"], &jobs, T).delete, ["a", "b", "d"]);
        assert_eq!(look(json!({"schedule": "@yearly"}), T, &["e"], &jobs, T).delete, ["b"]);
        let four: Vec<_> =
            (1..=4).map(|n| job(&format!("j{n}"), "Complete", &format!("2026-01-01T0{n}:00:00Z"))).collect();
        assert_eq!(look(json!({"schedule": "@yearly"}), T, &[], &four, T).delete, ["j1"], "three are kept");
    }

    #[tokio::test]
    async fn a_job_that_the_ending_namespace_refuses_is_no_failure() {
        use client::testing::Scripted;
        for (reason, well) in [("NamespaceTerminating", true), ("FieldValueForbidden", false)] {
            let details = json!({"causes": [{"reason": reason, "message": "m"}]});
            let status = json!({"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "m", "details": details});
            let server =
                Scripted::new(move |a| a.line.starts_with("POST").then(|| (403, status.clone()))).await;
            let shared = Shared::fixed(&server.client);
            shared.informer::<CronJob>().tell_of(cron(json!({"schedule": "* * * * *"}), T, &[]));
            let recorder = Recorder::new(&shared.crew, &server.client, COMPONENT.name(), "");
            let looked = Worker { shared, recorder }.sync(Key::new("d", "c"), None).await;
            assert_eq!(looked.is_ok(), well, "{reason}");
        }
    }
}
