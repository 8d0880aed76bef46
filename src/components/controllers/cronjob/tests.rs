//! Which times are due, and what happens when the API server refuses.

use super::*;
use client::testing::{Scripted, refusal};
use serde_json::{Value, json};

fn cron(mut spec: Value, last: &str, active: &[&str]) -> CronJob {
    spec["jobTemplate"] = json!({"spec": {"template": {}}});
    let active: Vec<Value> = active.iter().map(|name| json!({"name": name, "uid": name})).collect();
    serde_json::from_value(json!({
        "metadata": {"name": "c", "namespace": "d", "creationTimestamp": "2026-01-01T00:00:30Z"},
        "spec": spec, "status": {"lastScheduleTime": last, "active": active}}))
    .unwrap()
}

fn job(name: &str, ended: &str, at: &str) -> Arc<Job> {
    let conditions = if ended.is_empty() { json!([]) } else { json!([{"type": ended, "status": "True"}]) };
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
    assert_eq!(plan.notices[0].reason, "TooManyMissedTimes");
    let late = json!({"schedule": "*/5 * * * *", "startingDeadlineSeconds": 60});
    assert_eq!(look(late, T, &[], &[], "2026-01-01T10:17:00Z").start, None);
    let patient = json!({"schedule": "*/5 * * * *", "startingDeadlineSeconds": i64::MAX});
    assert!(look(patient, T, &[], &[], "2026-01-01T10:17:00Z").start.is_some());
    let still = json!({"schedule": "*/5 * * * *", "suspend": true});
    assert_eq!(look(still, T, &[], &[], "2026-01-01T10:17:00Z").start, None);
}

/// As `mostRecentScheduleTime` upstream, which names this schedule.
#[test]
fn a_schedule_that_never_comes_is_reported() {
    let plan = look(json!({"schedule": "59 23 31 2 *"}), T, &[], &[], "2026-03-01T10:17:00Z");
    assert_eq!((plan.start, plan.again), (None, None));
    let why = "invalid schedule: 59 23 31 2 * : time difference between two schedules is less than 1 second";
    assert_eq!(plan.notices, [Notice::warning("InvalidSchedule", why)]);
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

/// A time between the last run and the change is not made up for.
#[test]
fn a_new_schedule_waits_for_its_next_time() {
    let of = |spec: Value| Arc::new(cron(spec, T, &[]));
    let now = "2026-01-01T10:12:00Z".parse().unwrap();
    let wait = |old: &Value, new: &Value| {
        until_next(&Change::Updated { old: of(old.clone()), new: of(new.clone()) }, now)
    };
    let (daily, often) = (json!({"schedule": "0 3 * * *"}), json!({"schedule": "*/5 * * * *"}));
    assert_eq!(wait(&daily, &often).unwrap().as_millis(), 180_100);
    let seoul = json!({"schedule": "0 3 * * *", "timeZone": "Asia/Seoul"});
    assert_eq!(wait(&daily, &seoul).unwrap().as_millis(), (7 * 60 + 48) * 60_000 + 100);
    let resumed = json!({"schedule": "*/5 * * * *", "suspend": false});
    assert_eq!(wait(&often, &resumed), None, "it is looked at now");
    assert_eq!(until_next(&Change::Added(of(often)), now), None);
}

#[test]
fn the_policy_decides_about_a_job_that_still_runs() {
    let policy = |policy: &str| json!({"schedule": "* * * * *", "concurrencyPolicy": policy});
    let running = [job("a", "", T)];
    let now = "2026-01-01T10:01:10Z";
    assert!(look(policy("Allow"), T, &["a"], &running, now).start.is_some());
    let plan = look(policy("Forbid"), T, &["a"], &running, now);
    assert_eq!((plan.start, plan.notices[0].reason.as_str()), (None, "JobAlreadyActive"));
    let plan = look(policy("Replace"), T, &["a"], &running, now);
    assert_eq!((plan.start.is_some(), plan.replace), (true, vec!["a".to_string()]));
    let ended = [job("a", "Complete", T)];
    let plan = look(policy("Forbid"), T, &["a"], &ended, now);
    assert_eq!((plan.start.is_some(), plan.notices[0].reason.as_str()), (true, "SawCompletedJob"));
    assert_eq!(look(policy("Forbid"), T, &["a"], &[], now).notices[0].reason, "MissingJob");
}

/// A job is named after the minute of its time: one that runs would be deleted and made anew.
#[test]
fn a_job_does_not_replace_itself() {
    let running = [job("c-29454360", "", T)];
    for policy in ["Allow", "Forbid", "Replace"] {
        let spec = json!({"schedule": "@every 30s", "concurrencyPolicy": policy});
        let plan = look(spec.clone(), T, &["c-29454360"], &running, "2026-01-01T10:00:31Z");
        assert_eq!((plan.start, plan.replace.len(), plan.notices.len()), (None, 0, 0), "{policy}");
        assert_eq!(plan.again.unwrap().as_millis(), 29_100);
        let plan = look(spec, T, &["c-29454360"], &running, "2026-01-01T10:01:01Z");
        assert_eq!(plan.start.is_some(), policy != "Forbid", "{policy} in the next minute");
    }
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
    let spec = json!({"schedule": "@yearly", "successfulJobsHistoryLimit": 1, "failedJobsHistoryLimit": 0});
    assert_eq!(look(spec, T, &["e"], &jobs, T).delete, ["a", "b", "d"]);
    assert_eq!(look(json!({"schedule": "@yearly"}), T, &["e"], &jobs, T).delete, ["b"]);
    let four: Vec<_> =
        (1..=4).map(|n| job(&format!("j{n}"), "Complete", &format!("2026-01-01T0{n}:00:00Z"))).collect();
    assert_eq!(look(json!({"schedule": "@yearly"}), T, &[], &four, T).delete, ["j1"], "three are kept");
    // Suspended from the beginning, with no completion to wait for.
    let mut unstarted = (*job("a", "Complete", T)).clone();
    unstarted.status.as_mut().unwrap().start_time = None;
    let spec = json!({"schedule": "@yearly", "successfulJobsHistoryLimit": 1});
    let jobs = [Arc::new(unstarted), job("b", "Complete", "2026-01-01T01:00:00Z")];
    assert_eq!(look(spec, T, &[], &jobs, T).delete, ["b"]);
}

#[tokio::test]
async fn a_job_that_the_ending_namespace_refuses_is_no_failure() {
    for (reason, well) in [("NamespaceTerminating", true), ("FieldValueForbidden", false)] {
        let details = json!({"causes": [{"reason": reason, "message": "m"}]});
        let status = json!({"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "m", "details": details});
        let server = Scripted::new(move |a| a.line.starts_with("POST").then(|| (403, status.clone()))).await;
        let shared = Shared::fixed(&server.client);
        shared.informer::<CronJob>().show(cron(json!({"schedule": "* * * * *"}), T, &[]));
        let recorder = Recorder::new(&shared.crew, &server.client, COMPONENT.name(), "");
        let looked =
            Worker { shared, recorder, waits: Waits::default() }.sync(Key::new("d", "c"), None).await;
        assert_eq!(looked.is_ok(), well, "{reason}");
    }
}

/// Takes a look at a CronJob with these active jobs; those of `done` have ended. Returns whether it
/// went well, the lines of its requests for jobs, and the status that it wrote.
async fn look_refused(
    server: &Scripted,
    shared: &Shared,
    spec: Value,
    active: &[&str],
    done: &[&str],
) -> (bool, Vec<String>, Value) {
    let mut owner = cron(spec, T, active);
    owner.metadata.uid = Some("1".into());
    for name in active.iter().chain(done) {
        let mut one = (*job(name, if done.contains(name) { "Complete" } else { "" }, T)).clone();
        one.metadata.namespace = Some("d".into());
        one.metadata.owner_references = Some(vec![owned_by(&owner)]);
        shared.informer::<Job>().show(one);
    }
    shared.informer::<CronJob>().show(owner);
    let recorder = Recorder::new(&shared.crew, &server.client, COMPONENT.name(), "");
    let worker = Worker { shared: shared.clone(), recorder, waits: Waits::default() };
    let looked = worker.sync(Key::new("d", "c"), None).await;
    let (mut lines, mut status) = (vec![], Value::Null);
    for asked in server.take() {
        if asked.line.starts_with("PUT") {
            status = asked.body["status"].clone();
        } else {
            lines.push(asked.line);
        }
    }
    (looked.is_ok(), lines, status)
}

/// Starts a server that takes all requests but those of this method, and its controllers.
async fn refusing(method: &'static str) -> (Scripted, Shared) {
    let server = Scripted::new(move |asked| match asked.line.as_str() {
        line if line.contains("/events") => None,
        line if line.starts_with(method) => refusal(403, "it is guarded"),
        line if line.starts_with("POST") => Some((201, asked.body.clone())),
        _ => None,
    })
    .await;
    let shared = Shared::fixed(&server.client);
    (server, shared)
}

/// The next job may be refused for as long as a quota is full.
#[tokio::test]
async fn ends_of_jobs_are_written_although_the_next_job_is_refused() {
    let (server, shared) = refusing("POST").await;
    let every = json!({"schedule": "* * * * *"});
    let (well, _, status) = look_refused(&server, &shared, every, &["a", "b"], &["a"]).await;
    assert!(!well, "it is tried again");
    let names: Vec<&Value> = status["active"].as_array().unwrap().iter().map(|job| &job["name"]).collect();
    assert_eq!(names, [&json!("b")]);
    assert_eq!(status["lastScheduleTime"], T, "nothing was started");
    assert_eq!(server.event("FailedCreate").await, "Error creating job: it is guarded");
}

#[tokio::test]
async fn the_next_job_starts_although_old_ones_may_not_be_deleted() {
    let (server, shared) = refusing("DELETE").await;
    let none_kept = json!({"schedule": "* * * * *", "successfulJobsHistoryLimit": 0});
    let (well, lines, status) = look_refused(&server, &shared, none_kept, &[], &["a", "b"]).await;
    assert!(well);
    let jobs = "/apis/batch/v1/namespaces/d/jobs";
    assert_eq!(lines, [format!("POST {jobs}"), format!("DELETE {jobs}/a"), format!("DELETE {jobs}/b")]);
    assert_eq!(status["active"].as_array().map(Vec::len), Some(1));
    assert_eq!(server.event("FailedDelete").await, "Deleted job: it is guarded");
}

#[tokio::test]
async fn no_job_starts_before_the_one_that_it_replaces_is_deleted() {
    for (method, made, active) in [("DELETE", 0, 1), ("none", 1, 1), ("POST", 1, 0)] {
        let (server, shared) = refusing(method).await;
        let replacing = json!({"schedule": "* * * * *", "concurrencyPolicy": "Replace"});
        let (well, lines, status) = look_refused(&server, &shared, replacing, &["a"], &[]).await;
        assert_eq!(well, method == "none");
        assert_eq!(lines.iter().filter(|line| line.starts_with("POST")).count(), made, "{method}: {lines:?}");
        // What is not written again has not changed.
        let known = if status.is_null() { 1 } else { status["active"].as_array().map_or(0, Vec::len) };
        assert_eq!(known, active, "{method}: {status}");
    }
}

/// The work queue brings a key after an hour at the latest.
#[tokio::test]
async fn a_look_before_the_next_time_of_a_new_schedule_starts_nothing() {
    let (server, shared) = refusing("none").await;
    shared.informer::<CronJob>().show(cron(json!({"schedule": "* * * * *"}), T, &[]));
    let recorder = Recorder::new(&shared.crew, &server.client, COMPONENT.name(), "");
    let worker = Worker { shared, recorder, waits: Waits::default() };
    let key = Key::new("d", "c");
    worker.waits.set(key.clone(), Some(clock::after(clock::now(), Duration::from_secs(7200))));
    let waits = |outcome| matches!(outcome, Ok(Outcome::Pause(left)) if left > Duration::from_secs(7000));
    assert!(waits(worker.sync(key.clone(), None).await));
    assert!(server.lines().is_empty(), "{:?}", server.lines());
    worker.waits.set(key.clone(), None);
    assert!(!waits(worker.sync(key, None).await));
    assert!(server.lines().contains(&"POST /apis/batch/v1/namespaces/d/jobs".to_string()));
}
