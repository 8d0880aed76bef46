//! Deployments, ReplicaSets, ReplicationControllers, DaemonSets, StatefulSets, Jobs, CronJobs,
//! ControllerRevisions.

use super::{Printer, age, labels, name, number, or, selector, since};
use crate::duration;
use crate::kinds::workload::{CONTAINERS, REPLICA_COLUMNS, replica_cells, with_pods};
use crate::value::{at, empty, flag, int, list, text};
use clock::Timestamp;
use serde_json::Value;

pub static DEPLOYMENTS: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Ready", "string", false),
        ("Up-to-date", "string", false),
        ("Available", "string", false),
        ("Age", "string", false),
        ("Containers", "string", true),
        ("Images", "string", true),
        ("Selector", "string", true),
    ],
    cells: |o, now| {
        let ready = format!("{}/{}", number(o, "status.readyReplicas"), number(o, "spec.replicas"));
        let cells = vec![
            name(o),
            ready.into(),
            number(o, "status.updatedReplicas"),
            number(o, "status.availableReplicas"),
            age(o, now),
        ];
        with_pods(cells, o, CONTAINERS, Some(selector(o, "spec.selector", "")))
    },
    conditions: None,
};

pub static REPLICA_SETS: Printer = Printer {
    columns: REPLICA_COLUMNS,
    cells: |o, now| replica_cells(o, now, selector(o, "spec.selector", "<none>")),
    conditions: None,
};

pub static REPLICATION_CONTROLLERS: Printer = Printer {
    columns: REPLICA_COLUMNS,
    cells: |o, now| replica_cells(o, now, labels(o, "spec.selector")),
    conditions: None,
};

pub static DAEMON_SETS: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Desired", "integer", false),
        ("Current", "integer", false),
        ("Ready", "integer", false),
        ("Up-to-date", "integer", false),
        ("Available", "integer", false),
        ("Node Selector", "string", false),
        ("Age", "string", false),
        ("Containers", "string", true),
        ("Images", "string", true),
        ("Selector", "string", true),
    ],
    cells: |o, now| {
        let cells = vec![
            name(o),
            number(o, "status.desiredNumberScheduled"),
            number(o, "status.currentNumberScheduled"),
            number(o, "status.numberReady"),
            number(o, "status.updatedNumberScheduled"),
            number(o, "status.numberAvailable"),
            labels(o, "spec.template.spec.nodeSelector").into(),
            age(o, now),
        ];
        with_pods(cells, o, CONTAINERS, Some(selector(o, "spec.selector", "<none>")))
    },
    conditions: None,
};

pub static STATEFUL_SETS: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Ready", "string", false),
        ("Age", "string", false),
        ("Containers", "string", true),
        ("Images", "string", true),
    ],
    cells: |o, now| {
        let ready = format!("{}/{}", number(o, "status.readyReplicas"), number(o, "spec.replicas"));
        with_pods(vec![name(o), ready.into(), age(o, now)], o, CONTAINERS, None)
    },
    conditions: None,
};

pub static CONTROLLER_REVISIONS: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Controller", "string", false),
        ("Revision", "string", false),
        ("Age", "string", false),
    ],
    cells: |o, now| {
        let owner = list(o, "metadata.ownerReferences").iter().find(|r| flag(r, "controller"));
        let controller = owner.map_or("<none>".to_string(), |r| {
            let group = text(r, "apiVersion").split_once('/').map_or("", |(g, _)| g);
            let resource = crate::status::qualified(group, &text(r, "kind").to_lowercase());
            format!("{resource}/{}", text(r, "name"))
        });
        vec![name(o), controller.into(), number(o, "revision"), age(o, now)]
    },
    conditions: None,
};

fn condition(o: &Value, kind: &str) -> bool {
    list(o, "status.conditions").iter().any(|c| text(c, "type") == kind && text(c, "status") == "True")
}

pub static JOBS: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Status", "string", false),
        ("Completions", "string", false),
        ("Duration", "string", false),
        ("Age", "string", false),
        ("Containers", "string", true),
        ("Images", "string", true),
        ("Selector", "string", true),
    ],
    cells: |o, now| {
        let status = match () {
            () if condition(o, "Complete") => "Complete",
            () if condition(o, "Failed") => "Failed",
            () if !empty(o, "metadata.deletionTimestamp") => "Terminating",
            () if condition(o, "Suspended") => "Suspended",
            () if condition(o, "FailureTarget") => "FailureTarget",
            () if condition(o, "SuccessCriteriaMet") => "SuccessCriteriaMet",
            () => "Running",
        };
        let done = int(o, "status.succeeded").unwrap_or(0);
        let completions = match (int(o, "spec.completions"), int(o, "spec.parallelism").unwrap_or(0)) {
            (Some(n), _) => format!("{done}/{n}"),
            (None, p) if p > 1 => format!("{done}/1 of {p}"),
            (None, _) => format!("{done}/1"),
        };
        let took = match text(o, "status.startTime").parse::<Timestamp>() {
            Err(_) => String::new(),
            Ok(start) => {
                let end = text(o, "status.completionTime").parse().unwrap_or(now);
                duration::human(end.duration_since(start).as_secs())
            }
        };
        let cells = vec![name(o), status.into(), completions.into(), took.into(), age(o, now)];
        with_pods(cells, o, CONTAINERS, Some(selector(o, "spec.selector", "<none>")))
    },
    conditions: None,
};

pub static CRON_JOBS: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Schedule", "string", false),
        ("Timezone", "string", false),
        ("Suspend", "boolean", false),
        ("Active", "integer", false),
        ("Last Schedule", "string", false),
        ("Age", "string", false),
        ("Containers", "string", true),
        ("Images", "string", true),
        ("Selector", "string", true),
    ],
    cells: |o, now| {
        let suspend = match at(o, "spec.suspend").as_bool() {
            Some(true) => "True",
            Some(false) => "False",
            None => "<unset>",
        };
        let last = match text(o, "status.lastScheduleTime") {
            "" => "<none>".to_string(),
            time => since(time, now),
        };
        let cells = vec![
            name(o),
            text(o, "spec.schedule").into(),
            or(o, "spec.timeZone", "<none>").into(),
            suspend.into(),
            list(o, "status.active").len().into(),
            last.into(),
            age(o, now),
        ];
        let select = selector(o, "spec.jobTemplate.spec.selector", "<none>");
        with_pods(cells, o, "spec.jobTemplate.spec.template.spec.containers", Some(select))
    },
    conditions: None,
};

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_job_shows_how_it_ends_before_its_pods_are_gone() {
        let status = |conditions: &[&str]| {
            let of = |kind: &&str| json!({"type": kind, "status": "True"});
            let conditions: Vec<Value> = conditions.iter().map(of).collect();
            let object = json!({"metadata": {"name": "j"}, "status": {"conditions": conditions}});
            (JOBS.cells)(&object, Timestamp::UNIX_EPOCH)[1].clone()
        };
        assert_eq!(status(&[]), "Running");
        assert_eq!(status(&["SuccessCriteriaMet"]), "SuccessCriteriaMet");
        assert_eq!(status(&["SuccessCriteriaMet", "Complete"]), "Complete");
        assert_eq!(status(&["FailureTarget"]), "FailureTarget");
    }
}
