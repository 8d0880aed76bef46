//! How far a rollout is, in the words of `kubectl rollout status`.

use super::{REVISION, annotation, group_kind, int};
use crate::error::{Fail, text};
use crate::info::Info;
use api::gostr::quote;
use api::value;
use serde_json::Value;

/// The message about the progress of a rollout, and whether it is complete. Upstream:
/// `StatusViewer`.
pub(super) fn state(info: &Info, object: &Value, revision: i64) -> Result<(String, bool), Fail> {
    let name = quote(&info.name);
    match info.resource.kind.as_str() {
        "Deployment" => deployment_state(&name, object, revision),
        "DaemonSet" => daemon_set_state(&name, object),
        "StatefulSet" => stateful_set_state(object),
        _ => text(format!("no status viewer has been implemented for {}", group_kind(info))),
    }
}

/// True until the controller has seen the newest spec.
fn is_unobserved(object: &Value) -> bool {
    int(object, "metadata.generation") > int(object, "status.observedGeneration")
}

/// As [`state`]. A `revision` above 0 is refused unless it is the current one.
fn deployment_state(name: &str, object: &Value, revision: i64) -> Result<(String, bool), Fail> {
    let int = |path: &str| int(object, path);
    if revision > 0 {
        // A Deployment has the annotation once its controller has seen it.
        let running: i64 = match annotation(object, REVISION) {
            "" => 0,
            given => given.parse().map_err(|_| {
                let why = format!("strconv.ParseInt: parsing {}: invalid syntax", quote(given));
                Fail::Text(format!("cannot get the revision of deployment {name}: {why}"))
            })?,
        };
        if running != revision {
            return text(format!(
                "desired revision ({revision}) is different from the running revision ({running})"
            ));
        }
    }
    if is_unobserved(object) {
        return Ok(("Waiting for deployment spec update to be observed...".into(), false));
    }
    let failed = value::list(object, "status.conditions").iter().any(|c| {
        value::text(c, "type") == "Progressing" && value::text(c, "reason") == "ProgressDeadlineExceeded"
    });
    if failed {
        return text(format!("deployment {name} exceeded its progress deadline"));
    }
    let (updated, replicas, available) =
        (int("status.updatedReplicas"), int("status.replicas"), int("status.availableReplicas"));
    let wanted = value::int(object, "spec.replicas");
    let waiting =
        |what: String| (format!("Waiting for deployment {name} rollout to finish: {what}..."), false);
    Ok(if let Some(wanted) = wanted.filter(|w| updated < *w) {
        waiting(format!("{updated} out of {wanted} new replicas have been updated"))
    } else if replicas > updated {
        waiting(format!("{} old replicas are pending termination", replicas - updated))
    } else if available < updated {
        waiting(format!("{available} of {updated} updated replicas are available"))
    } else {
        (format!("deployment {name} successfully rolled out"), true)
    })
}

/// As [`state`].
fn daemon_set_state(name: &str, object: &Value) -> Result<(String, bool), Fail> {
    let int = |path: &str| int(object, path);
    if value::text(object, "spec.updateStrategy.type") != "RollingUpdate" {
        return text("rollout status is only available for RollingUpdate strategy type");
    }
    if is_unobserved(object) {
        return Ok(("Waiting for daemon set spec update to be observed...".into(), false));
    }
    let (updated, wanted, available) = (
        int("status.updatedNumberScheduled"),
        int("status.desiredNumberScheduled"),
        int("status.numberAvailable"),
    );
    let waiting =
        |what: String| (format!("Waiting for daemon set {name} rollout to finish: {what}..."), false);
    Ok(if updated < wanted {
        waiting(format!("{updated} out of {wanted} new pods have been updated"))
    } else if available < wanted {
        waiting(format!("{available} of {wanted} updated pods are available"))
    } else {
        (format!("daemon set {name} successfully rolled out"), true)
    })
}

/// As [`state`].
fn stateful_set_state(object: &Value) -> Result<(String, bool), Fail> {
    let int = |path: &str| int(object, path);
    if value::text(object, "spec.updateStrategy.type") != "RollingUpdate" {
        return text("rollout status is only available for RollingUpdate strategy type");
    }
    if int("status.observedGeneration") == 0 || is_unobserved(object) {
        return Ok(("Waiting for statefulset spec update to be observed...".into(), false));
    }
    let (ready, wanted, updated) =
        (int("status.readyReplicas"), int("spec.replicas"), int("status.updatedReplicas"));
    let partition = int("spec.updateStrategy.rollingUpdate.partition");
    if ready < wanted {
        return Ok((format!("Waiting for {} pods to be ready...", wanted - ready), false));
    }
    // Since the server fills in a partition, kubectl always prints one.
    if !value::at(object, "spec.updateStrategy.rollingUpdate").is_null() {
        let due = wanted - partition;
        return Ok(match updated < due {
            true => (
                format!(
                    "Waiting for partitioned roll out to finish: {updated} out of {due} new pods have been updated..."
                ),
                false,
            ),
            false => {
                (format!("partitioned roll out complete: {updated} new pods have been updated..."), true)
            }
        });
    }
    let revision = value::text(object, "status.updateRevision");
    if revision != value::text(object, "status.currentRevision") {
        return Ok((
            format!(
                "waiting for statefulset rolling update to complete {updated} pods at revision {revision}..."
            ),
            false,
        ));
    }
    Ok((
        format!(
            "statefulset rolling update complete {} pods at revision {}...",
            int("status.currentReplicas"),
            value::text(object, "status.currentRevision")
        ),
        true,
    ))
}
