//! The columns of a Pod. READY, STATUS and RESTARTS are computed from many fields (`printPod`
//! upstream).

use crate::table::cells::{self, Printer, age, since, text_or};
use crate::value::{at, empty, flag, int, list, text};
use clock::Timestamp;
use serde_json::{Value, json};
use std::collections::HashSet;

pub(super) static PRINTER: Printer = Printer {
    columns: &[
        ("Name", "string", false),
        ("Ready", "string", false),
        ("Status", "string", false),
        ("Restarts", "string", false),
        ("Age", "string", false),
        ("IP", "string", true),
        ("Node", "string", true),
        ("Nominated Node", "string", true),
        ("Readiness Gates", "string", true),
    ],
    cells,
    conditions: Some(conditions),
};

fn conditions(pod: &Value) -> Value {
    match text(pod, "status.phase") {
        "Succeeded" => {
            json!([{"type": "Completed", "status": "True", "reason": "Succeeded", "message": "The pod has completed successfully."}])
        }
        "Failed" => {
            json!([{"type": "Completed", "status": "True", "reason": "Failed", "message": "The pod failed."}])
        }
        _ => Value::Null,
    }
}

fn condition<'a>(pod: &'a Value, kind: &str) -> Option<&'a Value> {
    list(pod, "status.conditions").iter().find(|c| text(c, "type") == kind)
}

fn is_true(pod: &Value, kind: &str) -> bool {
    condition(pod, kind).is_some_and(|c| text(c, "status") == "True")
}

/// The content of the columns STATUS, READY and RESTARTS.
pub struct Summary {
    /// `Running`, `Completed`, `CrashLoopBackOff` and so on.
    pub status: String,
    /// Containers that are ready.
    pub ready: usize,
    /// Containers of the pod; init containers count only if they are sidecars.
    pub total: usize,
    /// Restarts of all its containers together; while it initializes, of the init containers.
    pub restarts: i64,
    /// When a container last ended before it was restarted.
    pub last_restart: Option<Timestamp>,
}

fn finished(status: &Value) -> Option<Timestamp> {
    text(status, "lastState.terminated.finishedAt").parse().ok()
}

/// Returns why a container ended: `Error`, `Signal:9` or `ExitCode:3`.
fn ended(status: &Value) -> String {
    match text(status, "state.terminated.reason") {
        "" => match int(status, "state.terminated.signal").unwrap_or(0) {
            0 => format!("ExitCode:{}", int(status, "state.terminated.exitCode").unwrap_or(0)),
            signal => format!("Signal:{signal}"),
        },
        reason => reason.to_string(),
    }
}

/// Computes the content of the columns STATUS, READY and RESTARTS.
pub fn summary(pod: &Value) -> Summary {
    let inits = list(pod, "spec.initContainers");
    let sidecars = || inits.iter().filter(|c| text(c, "restartPolicy") == "Always");
    let sidecar_names: HashSet<&str> = sidecars().map(|c| text(c, "name")).collect();
    let mut out = Summary {
        status: text_or(pod, "status.reason", text(pod, "status.phase")).to_string(),
        ready: 0,
        total: list(pod, "spec.containers").len() + sidecars().count(),
        restarts: 0,
        last_restart: None,
    };
    if condition(pod, "PodScheduled").is_some_and(|c| text(c, "reason") == "SchedulingGated") {
        out.status = "SchedulingGated".to_string();
    }
    let (mut sidecar_restarts, mut sidecar_last) = (0, None);
    let mut initializing = false;
    for (i, status) in list(pod, "status.initContainerStatuses").iter().enumerate() {
        let restarts = int(status, "restartCount").unwrap_or(0);
        out.restarts += restarts;
        out.last_restart = out.last_restart.max(finished(status));
        let sidecar = sidecar_names.contains(text(status, "name"));
        if sidecar {
            sidecar_restarts += restarts;
            sidecar_last = sidecar_last.max(finished(status));
        }
        let waiting = text(status, "state.waiting.reason");
        let terminated = at(status, "state.terminated");
        if terminated.is_object() && int(terminated, "exitCode").unwrap_or(0) == 0 {
            continue;
        }
        if sidecar && flag(status, "started") {
            out.ready += usize::from(flag(status, "ready"));
            continue;
        }
        out.status = if terminated.is_object() {
            format!("Init:{}", ended(status))
        } else if !waiting.is_empty() && waiting != "PodInitializing" {
            format!("Init:{waiting}")
        } else {
            format!("Init:{i}/{}", inits.len())
        };
        initializing = true;
        break;
    }
    if !initializing || is_true(pod, "Initialized") {
        (out.restarts, out.last_restart) = (sidecar_restarts, sidecar_last);
        count_containers(pod, &mut out);
    }
    if let Some(status) = status_of_deleted(pod) {
        out.status = status.to_string();
    }
    out
}

/// Adds the containers of a pod that is initialized: the reason of the first one that waits or has
/// ended becomes the status.
fn count_containers(pod: &Value, out: &mut Summary) {
    let (mut running, mut error) = (false, None);
    for status in list(pod, "status.containerStatuses").iter().rev() {
        out.restarts += int(status, "restartCount").unwrap_or(0);
        out.last_restart = out.last_restart.max(finished(status));
        let waiting = text(status, "state.waiting.reason");
        if !waiting.is_empty() {
            out.status = waiting.to_string();
        } else if at(status, "state.terminated").is_object() {
            out.status = ended(status);
            if int(status, "state.terminated.exitCode").unwrap_or(0) != 0 {
                error = Some(out.status.clone());
            }
        } else if flag(status, "ready") && at(status, "state.running").is_object() {
            running = true;
            out.ready += 1;
        }
    }
    // A container that succeeded hides neither one that runs nor one that failed.
    if out.status == "Completed" {
        out.status = match error {
            _ if running && is_true(pod, "Ready") => "Running".to_string(),
            Some(reason) => reason,
            None if running => "NotReady".to_string(),
            None => return,
        };
    }
}

/// Returns the status of a pod that is being deleted, unless it has ended.
fn status_of_deleted(pod: &Value) -> Option<&'static str> {
    if empty(pod, "metadata.deletionTimestamp") {
        return None;
    }
    match text(pod, "status.phase") {
        _ if text(pod, "status.reason") == "NodeLost" => Some("Unknown"),
        "Succeeded" | "Failed" => None,
        _ => Some("Terminating"),
    }
}

fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let s = summary(pod);
    let restarts = match s.last_restart {
        Some(last) if s.restarts != 0 => format!("{} ({} ago)", s.restarts, since(&last.to_string(), now)),
        _ => s.restarts.to_string(),
    };
    let ip = list(pod, "status.podIPs").first().map_or("", |ip| text(ip, "ip"));
    let gates = list(pod, "spec.readinessGates");
    let open = gates.iter().filter(|g| is_true(pod, text(g, "conditionType"))).count();
    vec![
        cells::name(pod),
        format!("{}/{}", s.ready, s.total).into(),
        s.status.into(),
        restarts.into(),
        age(pod, now),
        if ip.is_empty() { "<none>" } else { ip }.into(),
        text_or(pod, "spec.nodeName", "<none>").into(),
        text_or(pod, "status.nominatedNodeName", "<none>").into(),
        if gates.is_empty() { "<none>".into() } else { format!("{open}/{}", gates.len()).into() },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pod: Value) -> String {
        let now = "2026-01-02T03:10:05Z".parse().unwrap();
        let cells = cells(&pod, now);
        cells[1..5].iter().map(|c| c.as_str().unwrap().to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_kubectl_get_pods_says() {
        let spec = json!({"containers": [{"name": "a"}, {"name": "b"}]});
        let meta = json!({"creationTimestamp": "2026-01-02T03:04:05Z"});
        let running = json!({"name": "a", "ready": true, "restartCount": 0, "state": {"running": {}}});
        let with = |status: Value| json!({"metadata": meta, "spec": spec, "status": status});
        assert_eq!(shown(with(json!({"phase": "Pending"}))), "0/2 Pending 0 6m");
        let crash = json!({"name": "b", "ready": false, "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            "lastState": {"terminated": {"finishedAt": "2026-01-02T03:09:05Z"}}});
        assert_eq!(
            shown(with(json!({"phase": "Running", "containerStatuses": [running, crash]}))),
            "1/2 CrashLoopBackOff 3 (60s ago) 6m"
        );
        let done = json!({"name": "b", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}});
        assert_eq!(
            shown(with(json!({"phase": "Running", "containerStatuses": [running, done],
            "conditions": [{"type": "Ready", "status": "False"}]}))),
            "1/2 NotReady 0 6m"
        );
        let init = json!({"metadata": meta, "spec": {"initContainers": [{"name": "i"}, {"name": "j"}], "containers": [{"name": "a"}]},
            "status": {"phase": "Pending", "initContainerStatuses": [
                {"name": "i", "state": {"terminated": {"exitCode": 0}}}, {"name": "j", "state": {"running": {}}}]}});
        assert_eq!(shown(init), "0/1 Init:1/2 0 6m");
        let mut gone = with(json!({"phase": "Running"}));
        gone["metadata"]["deletionTimestamp"] = "2026-01-02T03:09:05Z".into();
        assert_eq!(shown(gone), "0/2 Terminating 0 6m");
    }

    #[test]
    fn a_container_that_failed_is_not_hidden_by_one_that_succeeded() {
        let status = |phase: &str, ready: &str, containers: &[Value]| {
            let specs: Vec<Value> = containers.iter().map(|c| json!({"name": c["name"]})).collect();
            let conditions = json!([{"type": "Ready", "status": ready}]);
            summary(&json!({"spec": {"containers": specs},
                "status": {"phase": phase, "conditions": conditions, "containerStatuses": containers}}))
            .status
        };
        let ended = |name: &str, code: i64, reason: &str| json!({"name": name, "state": {"terminated": {"exitCode": code, "reason": reason}}});
        let (good, bad) = (ended("a", 0, "Completed"), ended("b", 1, "Error"));
        let running = json!({"name": "c", "ready": true, "state": {"running": {}}});
        let all = [good.clone(), bad.clone(), running.clone()];
        assert_eq!(status("Failed", "False", &all[..2]), "Error");
        assert_eq!(status("Running", "False", &all), "Error");
        assert_eq!(status("Running", "True", &all), "Running");
        assert_eq!(status("Running", "False", &[good.clone(), running]), "NotReady");
        assert_eq!(status("Succeeded", "False", &[good]), "Completed");
        let killed = ended("b", 137, "OOMKilled");
        assert_eq!(status("Failed", "False", &[all[0].clone(), killed, bad]), "OOMKilled", "the first one");
    }
}
