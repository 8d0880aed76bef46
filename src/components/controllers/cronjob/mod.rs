//! # CronJob: a Job whenever it is time
//!
//! [`decide`] asks the schedule what was due since the last time, and what the concurrency policy
//! says about Jobs that still run; here it is carried out. A Job's name carries the minute it was
//! due, so that no restart makes a second one. Source: `pkg/controller/cronjob`.

mod decide;

use super::job::facts::finished;
use super::pods::{controller_of, owned_by};
use crate::error::{Error, is_namespace_ending, message_of};
use crate::notice::Notice;
use crate::shared::{Controller, Shared, record};
use api::cron;
use client::{Api, Change, Key, Outcome, Recorder, WorkQueue, is_code, reference};
use clock::{self, Timestamp};
use decide::{Plan, decide, job_name, until_next};
use jiff::tz::TimeZone;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::batch::v1::{CronJob, Job};
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
    /// Begins a wait; without a time ends the one that there is.
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
        plan.notices.iter().for_each(|notice| self.emit(notice));
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

    /// Writes an Event about the CronJob.
    fn emit(&self, notice: &Notice) {
        notice.emit(&self.worker.recorder, &self.about, self.cause);
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
                self.emit(&Notice::normal("SuccessfulCreate", format!("Created job {name}")));
                let event = Event::CreateJob { job: name };
                self.worker.shared.tap(COMPONENT).emit(record(event, "cronjobs", self.key, self.cause));
                made
            }
            // Made in an earlier look whose status was not written: ours, if it says so.
            Err(error) if is_code(&error, 409) => self.api::<Job>().get(&name).await?,
            // The cron job goes with its namespace.
            Err(error) if is_namespace_ending(&error) => return Ok(()),
            Err(error) => {
                let message = format!("Error creating job: {}", message_of(&error));
                self.emit(&Notice::warning("FailedCreate", message));
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
            Ok(_) => self.emit(&Notice::normal("SuccessfulDelete", format!("Deleted job {name}"))),
            Err(error) if is_code(&error, 404) => {}
            Err(error) => {
                let message = format!("Deleted job: {}", message_of(&error)); // so upstream
                self.emit(&Notice::warning("FailedDelete", message));
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
                Err(Error::Conflict(format!("CronJob {} is newer than the cache", self.key)))
            }
            Err(error) if !is_code(&error, 404) => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// Makes the job for one time from the template.
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
