//! # CronJob: a Job whenever it is time
//!
//! [`decide`] asks the schedule what was due since the last time, and what the concurrency policy
//! says about Jobs that still run. A Job's name carries the minute it was due, so that no restart
//! makes a second one. Source: `pkg/controller/cronjob`.

use super::job::facts::finished;
use super::pods::{controller_of, owned_by};
use crate::error::{Error, is_namespace_ending, message_of};
use crate::shared::{Controller, Shared, record};
use api::cron::{self, Schedule};
use client::{Api, Change, Key, Outcome, Recorder, WorkQueue, is_code, reference};
use clock::{self, Timestamp};
use jiff::tz::TimeZone;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{DeleteParams, PostParams};
use parking_lot::Mutex;
use std::collections::BTreeMap;
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
type Notice = (bool, &'static str, String);

/// What to do about one CronJob.
#[derive(Debug, Default)]
pub(crate) struct Plan {
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
        plan.notices.push((true, "InvalidSchedule", message));
        return plan;
    }
    if missed > MANY {
        let message =
            "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        plan.notices.push((true, "TooManyMissedTimes", message.into()));
    }
    let Some(due) = due else { return plan };
    // It runs already: of `@every 30s` two times have one minute, and so one name.
    let name = job_name(cron, due);
    if plan.status.active.iter().flatten().any(|active| active.name.as_ref() == Some(&name)) {
        return plan;
    }
    let busy = plan.status.active.as_ref().is_some_and(|a| !a.is_empty());
    match spec.concurrency_policy.as_deref() {
        Some("Forbid") if busy => {
            let message =
                "Not starting job because prior execution is running and concurrency policy is Forbid";
            plan.notices.push((false, "JobAlreadyActive", message.into()));
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

/// When the CronJob last started a job, or was made.
fn last_run(cron: &CronJob, now: Timestamp) -> Timestamp {
    let last = cron.status.as_ref().and_then(|s| s.last_schedule_time.as_ref());
    last.or(cron.metadata.creation_timestamp.as_ref()).map_or(now, |t| t.0)
}

/// Pure: how long it is until the next time that is due. A look may come before anything is due:
/// the work queue cuts long waits into pieces. So the next one is counted from the last time, not
/// from now.
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
fn until_next(change: &Change<CronJob>, now: Timestamp) -> Option<Duration> {
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

/// Brings `status.active` up to date: who has ended, who is missing, who is there unasked.
fn account(plan: &mut Plan, jobs: &[Arc<Job>]) {
    let mut active = plan.status.active.take().unwrap_or_default();
    for job in jobs {
        let (uid, name) = (job.metadata.uid.as_ref(), job.metadata.name.clone().unwrap_or_default());
        let known = active.iter().any(|r| r.uid.as_ref() == uid);
        match finished(job) {
            None if !known => {
                let message = format!("Saw a job that the controller did not create or forgot: {name}");
                plan.notices.push((true, "UnexpectedJob", message));
            }
            Some(end) if known => {
                active.retain(|r| r.uid.as_ref() != uid);
                let message = format!("Saw completed job: {name}, condition: {}", end.type_);
                plan.notices.push((false, "SawCompletedJob", message));
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
        plan.notices.push((false, "MissingJob", message));
    }
    active.retain(|r| jobs.iter().any(|j| j.metadata.uid == r.uid));
    plan.status.active = (!active.is_empty()).then_some(active);
}

/// The oldest ended jobs beyond the limits go; one without a start time counts as the youngest, as
/// upstream (`byJobStartTime`).
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

fn timing(spec: &CronJobSpec) -> Result<(Schedule, TimeZone), Notice> {
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
    let waits = Waits::default();
    let (q, w) = (queue.clone(), waits.clone());
    shared.informer::<CronJob>().on(move |change| {
        let now = clock::now();
        let wait = until_next(change, now);
        w.set(change.key(), wait.map(|wait| clock::after(now, wait)));
        match wait {
            Some(wait) => q.add_after_pause(change.key(), change.cause(), wait),
            None => q.add(change.key(), change.cause()),
        }
    });
    let (q, w) = (queue.clone(), waits.clone());
    shared.informer::<Job>().on(move |change: &Change<Job>| {
        if let Some(owner) = controller_of(&change.object().metadata).filter(|o| o.kind == "CronJob") {
            let key = Key::new(change.key().namespace, owner.name.clone());
            w.set(key.clone(), None);
            q.add(key, change.cause());
        }
    });
    let worker = Arc::new(Worker { shared: shared.clone(), recorder, waits });
    shared.report_panics(&queue, shared.informer::<CronJob>(), COMPONENT.name());
    queue.work(COMPONENT.name(), WORKERS, move |key, cause| {
        let worker = worker.clone();
        async move { worker.sync(key, cause).await }
    });
}

/// Until when CronJobs with a new schedule wait: the work queue cuts long waits into pieces, and a
/// look between two of them would make up for a time before the change. As upstream, any other
/// change of the CronJob or its jobs brings a look that does.
#[derive(Clone, Default)]
struct Waits(Arc<Mutex<BTreeMap<Key, Timestamp>>>);

impl Waits {
    /// Begins a wait, or ends the one that there is.
    fn set(&self, key: Key, until: Option<Timestamp>) {
        let mut all = self.0.lock();
        match until {
            Some(until) => all.insert(key, until),
            None => all.remove(&key),
        };
    }

    /// Returns how much of a wait is left.
    fn left(&self, key: &Key, now: Timestamp) -> Option<Duration> {
        let until = self.0.lock().get(key).copied()?;
        Duration::try_from(until.duration_since(now)).ok().filter(|left| !left.is_zero())
    }
}

struct Worker {
    shared: Shared,
    recorder: Recorder,
    waits: Waits,
}

impl Worker {
    async fn sync(&self, key: Key, cause: Option<Cause>) -> Result<Outcome, Error> {
        let Some(cron) = self.shared.informer::<CronJob>().get(&key) else { return Ok(Outcome::Done) };
        if let Some(left) = self.waits.left(&key, clock::now()) {
            return Ok(Outcome::Pause(left));
        }
        let about = reference(&*cron);
        Look { worker: self, key: &key, cause: &cause, cron: &cron, about }.sync().await
    }
}

/// One look at one CronJob.
struct Look<'a> {
    worker: &'a Worker,
    key: &'a Key,
    cause: &'a Option<Cause>,
    cron: &'a CronJob,
    about: ObjectReference,
}

impl Look<'_> {
    /// Carries the plan out. A request that is refused keeps nothing else from being done: a policy
    /// may forbid that jobs are deleted, or a quota that another one is made, for as long as it
    /// likes. Upstream: `sync` with `cleanupFinishedJobs`.
    async fn sync(&self) -> Result<Outcome, Error> {
        let mut plan = decide(self.cron, &self.find_jobs().await?, clock::now());
        let started = self.start(&mut plan).await;
        for name in &plan.delete {
            if let Err(error) = self.delete(name).await {
                tracing::debug!(cronjob = %self.key, job = %name, %error, "an old job stays for now");
            }
        }
        self.write(&plan).await?;
        plan.notices.into_iter().for_each(|notice| self.emit(notice));
        started?;
        // A schedule names times of the wall clock, whatever the clock's scale is.
        Ok(plan.again.map_or(Outcome::Done, Outcome::Pause))
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        self.worker.shared.config.client.caused_by(self.cause.clone()).within(&self.key.namespace)
    }

    fn emit(&self, (warning, reason, message): Notice) {
        match warning {
            true => self.worker.recorder.warning(&self.about, reason, message, self.cause.clone()),
            false => self.worker.recorder.normal(&self.about, reason, message, self.cause.clone()),
        }
    }

    fn owns(&self, job: &Job) -> bool {
        controller_of(&job.metadata).is_some_and(|o| Some(&o.uid) == self.cron.metadata.uid.as_ref())
    }

    /// Returns the jobs that the CronJob owns: those of the cache, and active ones that it lacks.
    async fn find_jobs(&self) -> Result<Vec<Arc<Job>>, Error> {
        let mut jobs = self.worker.shared.informer::<Job>().within(&self.key.namespace);
        jobs.retain(|job| self.owns(job));
        for active in self.cron.status.iter().flat_map(|s| s.active.iter().flatten()) {
            // Not in the cache: either gone, or made a moment ago.
            if !jobs.iter().any(|j| j.metadata.uid == active.uid)
                && let Some(name) = &active.name
            {
                let found = self.api::<Job>().get_opt(name).await?;
                jobs.extend(found.filter(|job| self.owns(job)).map(Arc::new));
            }
        }
        Ok(jobs)
    }

    /// Starts the job that is due, once those that it replaces are deleted.
    async fn start(&self, plan: &mut Plan) -> Result<(), Error> {
        for name in &plan.replace {
            self.delete(name).await?;
            let mut active = plan.status.active.take().unwrap_or_default();
            active.retain(|r| r.name.as_ref() != Some(name));
            plan.status.active = (!active.is_empty()).then_some(active);
        }
        let Some(due) = plan.start else { return Ok(()) };
        let job = job_of(self.cron, due);
        let name = job.metadata.name.clone().unwrap_or_default();
        let made = match self.api::<Job>().create(&PostParams::default(), &job).await {
            Ok(made) => {
                self.emit((false, "SuccessfulCreate", format!("Created job {name}")));
                let event = Event::CreateJob { job: name };
                self.worker.shared.tap(COMPONENT).emit(record(event, "cronjobs", self.key, self.cause));
                made
            }
            // Made in an earlier look whose status was not written: ours, if it says so.
            Err(error) if is_code(&error, 409) => self.api::<Job>().get(&name).await?,
            // The cron job goes with its namespace.
            Err(error) if is_namespace_ending(&error) => return Ok(()),
            Err(error) => {
                self.emit((true, "FailedCreate", format!("Error creating job: {}", message_of(&error))));
                return Err(error.into());
            }
        };
        if !self.owns(&made) {
            return Ok(()); // another client's: nothing was started
        }
        let entry = reference(&made);
        let active = plan.status.active.get_or_insert_default();
        if finished(&made).is_none() && !active.iter().any(|r| r.uid == entry.uid) {
            active.push(entry);
        }
        plan.status.last_schedule_time = Some(Time(due));
        Ok(())
    }

    /// Deletes a job and its pods. That it is gone is no error.
    async fn delete(&self, name: &str) -> Result<(), Error> {
        match self.api::<Job>().delete(name, &DeleteParams::background()).await {
            Ok(_) => self.emit((false, "SuccessfulDelete", format!("Deleted job {name}"))),
            Err(error) if is_code(&error, 404) => {}
            Err(error) => {
                self.emit((true, "FailedDelete", format!("Deleted job: {}", message_of(&error)))); // so upstream
                return Err(error.into());
            }
        }
        Ok(())
    }

    async fn write(&self, plan: &Plan) -> Result<(), Error> {
        if self.cron.status.as_ref() == Some(&plan.status) {
            return Ok(());
        }
        let mut next = self.cron.clone();
        next.status = Some(plan.status.clone());
        match self.api::<CronJob>().replace_status(&self.key.name, &PostParams::default(), &next).await {
            Err(error) if is_code(&error, 409) => {
                Err(Error::Conflict("the cron job is newer than the cache".into()))
            }
            Err(error) if !is_code(&error, 404) => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// The name of the job for one time has the minute: `backup-29394721`.
fn job_name(cron: &CronJob, due: Timestamp) -> String {
    let name = cron.metadata.name.as_deref().unwrap_or_default();
    format!("{name}-{}", due.as_second().div_euclid(60))
}

/// The job for one time.
fn job_of(cron: &CronJob, due: Timestamp) -> Job {
    let spec = cron.spec.clone().unwrap_or_default();
    let meta = spec.job_template.metadata.unwrap_or_default();
    let zone = spec.time_zone.as_deref().and_then(cron::zone).unwrap_or(TimeZone::UTC);
    let stamp = due.to_zoned(zone).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string().replace("+00:00", "Z");
    let mut annotations = meta.annotations.unwrap_or_default();
    annotations.insert(SCHEDULED.into(), stamp);
    Job {
        metadata: ObjectMeta {
            name: Some(job_name(cron, due)),
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
mod tests;
