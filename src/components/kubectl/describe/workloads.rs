//! Deployments, replica sets, daemon sets.

use super::pods::template;
use super::text::{Text, controller, joined_labels, rfc1123};
use crate::ctx::Ctx;
use crate::error::Fail;
use crate::info::Info;
use crate::wire::paths;
use api::gostr;
use api::labels::Selector;
use api::schema::equality;
use api::value;
use serde_json::Value;

pub(super) fn count(object: &Value, path: &str) -> i64 {
    value::int(object, path).unwrap_or(0)
}

pub(super) fn selector(object: &Value) -> String {
    Selector::of_workload(value::at(object, "spec.selector")).map_or(String::new(), |s| s.to_string())
}

pub(super) async fn deployment(ctx: &Ctx, text: &mut Text, info: &Info) -> Result<(), Fail> {
    let d = &info.object;
    text.field(0, "Name", value::text(d, "metadata.name"));
    text.field(0, "Namespace", value::text(d, "metadata.namespace"));
    text.field(0, "CreationTimestamp", rfc1123(value::text(d, "metadata.creationTimestamp")));
    text.labels("Labels", value::at(d, "metadata.labels"));
    text.annotations("Annotations", value::at(d, "metadata.annotations"));
    text.field(0, "Selector", selector(d));
    text.field(
        0,
        "Replicas",
        format!(
            "{} desired | {} updated | {} total | {} available | {} unavailable",
            count(d, "spec.replicas"),
            count(d, "status.updatedReplicas"),
            count(d, "status.replicas"),
            count(d, "status.availableReplicas"),
            count(d, "status.unavailableReplicas")
        ),
    );
    text.field(0, "StrategyType", value::text(d, "spec.strategy.type"));
    text.field(0, "MinReadySeconds", count(d, "spec.minReadySeconds"));
    let rolling = value::at(d, "spec.strategy.rollingUpdate");
    if !rolling.is_null() {
        let part = |key: &str| gostr::plain(&rolling[key]);
        text.field(
            0,
            "RollingUpdateStrategy",
            format!("{} max unavailable, {} max surge", part("maxUnavailable"), part("maxSurge")),
        );
    }
    template(text, value::at(d, "spec.template"));
    text.conditions(value::list(d, "status.conditions"));
    // Without the right to list replica sets the two lines are left out.
    let sets = replica_sets(ctx, info).await.unwrap_or_default();
    own_replica_sets(text, d, &sets);
    Ok(())
}

/// The replica sets of a deployment; nothing if there are none.
fn own_replica_sets(text: &mut Text, d: &Value, sets: &[Value]) {
    if sets.is_empty() {
        return;
    }
    let current = newest(d, sets);
    let listed = |sets: &[&Value]| -> String {
        let texts: Vec<String> = sets
            .iter()
            .map(|rs| {
                format!(
                    "{} ({}/{} replicas created)",
                    value::text(rs, "metadata.name"),
                    count(rs, "status.replicas"),
                    count(rs, "spec.replicas")
                )
            })
            .collect();
        if texts.is_empty() { "<none>".into() } else { texts.join(", ") }
    };
    let old: Vec<&Value> = sets
        .iter()
        .filter(|rs| current.is_none_or(|c| c["metadata"]["uid"] != rs["metadata"]["uid"]))
        .collect();
    text.field(0, "OldReplicaSets", listed(&old));
    text.field(0, "NewReplicaSet", listed(current.as_slice()));
}

/// Replica sets that a deployment owns, oldest first.
pub(super) async fn replica_sets(ctx: &Ctx, info: &Info) -> Result<Vec<Value>, Fail> {
    let path = paths::within("/apis/apps/v1", &info.namespace, "replicasets");
    let list = crate::lists::whole(ctx, &path, &[("labelSelector", &selector(&info.object))]).await?;
    let uid = value::text(&info.object, "metadata.uid");
    let owned = |rs: &&Value| {
        value::list(rs, "metadata.ownerReferences")
            .iter()
            .any(|o| value::text(o, "uid") == uid && value::flag(o, "controller"))
    };
    let mut sets: Vec<Value> = value::list(&list, "items").iter().filter(owned).cloned().collect();
    sets.sort_by_key(|rs| {
        (
            value::text(rs, "metadata.creationTimestamp").to_string(),
            value::text(rs, "metadata.name").to_string(),
        )
    });
    Ok(sets)
}

/// The replica set whose template is the deployment's.
pub(super) fn newest<'a>(deployment: &Value, sets: &'a [Value]) -> Option<&'a Value> {
    let bare = |template: &Value| {
        let mut template = template.clone();
        value::remove(&mut template, "metadata.creationTimestamp");
        if let Some(Value::Object(labels)) = value::at_mut(&mut template, "metadata.labels") {
            labels.shift_remove("pod-template-hash");
        }
        template
    };
    let wanted = bare(value::at(deployment, "spec.template"));
    let is_same = |rs: &&Value| {
        equality::equal(equality::POD_TEMPLATE, "", &bare(value::at(rs, "spec.template")), &wanted)
    };
    sets.iter().find(is_same)
}

/// Writes how many pods are in each phase: `2 Running / 0 Waiting / 0 Succeeded / 0 Failed`.
pub(super) async fn pods_status(ctx: &Ctx, text: &mut Text, info: &Info) -> Result<(), Fail> {
    text.field(0, "Pods Status", count_pods(ctx, info).await?);
    Ok(())
}

/// Counts the pods of a workload by their phases.
async fn count_pods(ctx: &Ctx, info: &Info) -> Result<String, Fail> {
    let path = paths::within("/api/v1", &info.namespace, "pods");
    let list = crate::lists::whole(ctx, &path, &[("labelSelector", &selector(&info.object))]).await?;
    let uid = value::text(&info.object, "metadata.uid");
    let is_controller = |o: &Value| value::flag(o, "controller") && value::text(o, "uid") == uid;
    let owned = value::list(&list, "items")
        .iter()
        .filter(|p| value::list(p, "metadata.ownerReferences").iter().any(is_controller));
    let phases: Vec<&str> = owned.map(|p| value::text(p, "status.phase")).collect();
    let of = |phase: &str| phases.iter().filter(|p| **p == phase).count();
    Ok(format!(
        "{} Running / {} Waiting / {} Succeeded / {} Failed",
        of("Running"),
        of("Pending"),
        of("Succeeded"),
        of("Failed")
    ))
}

/// The line about the pods of a replica set. A replica set is described without the right to list
/// pods, other workloads are not.
fn pods_or_error(counted: Result<String, Fail>) -> String {
    counted.unwrap_or_else(|why| format!("error in fetching pods: {}", why.message()))
}

pub(super) async fn replica_set(ctx: &Ctx, text: &mut Text, info: &Info) -> Result<(), Fail> {
    let rs = &info.object;
    text.field(0, "Name", value::text(rs, "metadata.name"));
    text.field(0, "Namespace", value::text(rs, "metadata.namespace"));
    text.field(0, "Selector", selector(rs));
    text.labels("Labels", value::at(rs, "metadata.labels"));
    text.annotations("Annotations", value::at(rs, "metadata.annotations"));
    if let Some(owner) = controller(rs) {
        text.field(0, "Controlled By", owner);
    }
    let pods = pods_or_error(count_pods(ctx, info).await);
    replicas(text, rs, &pods);
    Ok(())
}

pub(super) async fn replication_controller(ctx: &Ctx, text: &mut Text, info: &Info) -> Result<(), Fail> {
    let rc = &info.object;
    text.field(0, "Name", value::text(rc, "metadata.name"));
    text.field(0, "Namespace", value::text(rc, "metadata.namespace"));
    text.field(0, "Selector", selector(rc));
    text.labels("Labels", value::at(rc, "metadata.labels"));
    text.annotations("Annotations", value::at(rc, "metadata.annotations"));
    replicas(text, rc, &count_pods(ctx, info).await?);
    Ok(())
}

/// The numbers of pods that a replica set or a replication controller has and wants.
fn replicas(text: &mut Text, set: &Value, pods: &str) {
    text.field(
        0,
        "Replicas",
        format!("{} current / {} desired", count(set, "status.replicas"), count(set, "spec.replicas")),
    );
    text.field(0, "Pods Status", pods);
    template(text, value::at(set, "spec.template"));
    text.conditions(value::list(set, "status.conditions"));
}

pub(super) async fn daemon_set(ctx: &Ctx, text: &mut Text, info: &Info) -> Result<(), Fail> {
    let ds = &info.object;
    text.field(0, "Name", value::text(ds, "metadata.name"));
    text.field(0, "Namespace", value::text(ds, "metadata.namespace"));
    text.field(0, "Selector", selector(ds));
    text.field(0, "Node-Selector", joined_labels(value::at(ds, "spec.template.spec.nodeSelector")));
    text.labels("Labels", value::at(ds, "metadata.labels"));
    text.annotations("Annotations", value::at(ds, "metadata.annotations"));
    for (title, key) in [
        ("Desired Number of Nodes Scheduled", "desiredNumberScheduled"),
        ("Current Number of Nodes Scheduled", "currentNumberScheduled"),
        ("Number of Nodes Scheduled with Up-to-date Pods", "updatedNumberScheduled"),
        ("Number of Nodes Scheduled with Available Pods", "numberAvailable"),
        ("Number of Nodes Misscheduled", "numberMisscheduled"),
    ] {
        text.line(0, format!("{title}: {}", count(ds, &format!("status.{key}"))));
    }
    pods_status(ctx, text, info).await?;
    template(text, value::at(ds, "spec.template"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Refusal;
    use serde_json::json;

    #[test]
    fn a_replica_set_is_described_without_the_right_to_list_pods() {
        assert_eq!(pods_or_error(Ok("1 Running".into())), "1 Running");
        let refusal = Refusal::of(&json!({"reason": "Forbidden", "message": "pods is forbidden"}), 403);
        let printed = pods_or_error(Err(Fail::Api(refusal)));
        assert!(
            printed.starts_with("error in fetching pods: ") && printed.ends_with("pods is forbidden"),
            "{printed}"
        );
    }

    #[tokio::test]
    async fn a_pod_counts_for_its_controller_alone() {
        let server = crate::testing::Server::start().await;
        let metadata = |name: &str| json!({"name": name, "namespace": "default", "uid": name});
        let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": metadata("web"),
            "spec": {"selector": {"matchLabels": {"app": "web"}}}});
        server.hold("/apis/apps/v1/namespaces/default/replicasets/web", set);
        for (name, is_controller) in [("a", true), ("b", false)] {
            let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata(name),
                "status": {"phase": "Running"}});
            pod["metadata"]["ownerReferences"] = json!([{"uid": "web", "controller": is_controller}]);
            server.hold(&format!("/api/v1/namespaces/default/pods/{name}"), pod);
        }
        let result = server.kubectl(&["describe", "rs", "web"]).await;
        let row = result.out.lines().find(|line| line.starts_with("Pods Status:")).unwrap_or_default();
        assert!(row.ends_with("1 Running / 0 Waiting / 0 Succeeded / 0 Failed"), "{result:?}");
    }

    #[test]
    fn the_newest_replica_set_is_found_whatever_the_spelling_of_its_amounts() {
        let with = |memory: &str| {
            let container = json!({"name": "c", "resources": {"limits": {"memory": memory}}});
            json!({"spec": {"template": {"spec": {"containers": [container]}}}})
        };
        let sets = [with("1G"), with("1073741824")];
        assert_eq!(newest(&with("1Gi"), &sets), Some(&sets[1]));
    }

    #[test]
    fn a_deployment_without_replica_sets_says_nothing_of_them() {
        let deployment = json!({"spec": {"template": {"spec": {"a": 1}}}});
        let set = |name: &str, a: i64| {
            json!({"metadata": {"name": name, "uid": name}, "status": {"replicas": 1},
                   "spec": {"replicas": 2, "template": {"spec": {"a": a}}}})
        };
        for (sets, want) in [
            (vec![], ""),
            (vec![set("n", 1)], "OldReplicaSets:  <none>\nNewReplicaSet:   n (1/2 replicas created)\n"),
            (vec![set("o", 0)], "OldReplicaSets:  o (1/2 replicas created)\nNewReplicaSet:   <none>\n"),
        ] {
            let mut text = Text::default();
            own_replica_sets(&mut text, &deployment, &sets);
            assert_eq!(text.finish(), want);
        }
    }
}
