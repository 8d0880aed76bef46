//! Nodes: their resources, their pods, and the sums of requests and limits.

use super::containers::canonical;
use super::related::events_matching;
use super::text::{Text, rfc1123, since};
use crate::ctx::Ctx;
use crate::error::Fail;
use crate::info::Info;
use crate::wire::paths;
use api::quantity::Quantity;
use api::value;
use serde_json::Value;
use std::collections::BTreeMap;

const ROLE: &str = "node-role.kubernetes.io/";
const OLD_ROLE: &str = "kubernetes.io/role";
/// Resources with a line of their own; others are listed below them.
const STANDARD: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

type Amounts = BTreeMap<String, Quantity>;

pub(super) async fn node(ctx: &Ctx, text: &mut Text, info: &Info, show_events: bool) -> Result<(), Fail> {
    let n = &info.object;
    let part = |path: &str| value::text(n, path);
    text.field(0, "Name", part("metadata.name"));
    text.field(0, "Roles", roles(n));
    text.labels("Labels", value::at(n, "metadata.labels"));
    text.annotations("Annotations", value::at(n, "metadata.annotations"));
    text.field(0, "CreationTimestamp", rfc1123(part("metadata.creationTimestamp")));
    taints(text, value::list(n, "spec.taints"));
    text.field(0, "Unschedulable", value::flag(n, "spec.unschedulable"));
    lease(ctx, text, &info.name).await?;
    conditions(text, value::list(n, "status.conditions"));
    text.line(0, "Addresses:");
    for address in value::list(n, "status.addresses") {
        text.field(1, value::text(address, "type"), value::text(address, "address"));
    }
    for (title, key) in [("Capacity", "status.capacity"), ("Allocatable", "status.allocatable")] {
        let Some(map) = value::map(n, key).filter(|m| !m.is_empty()) else { continue };
        text.line(0, format!("{title}:"));
        let mut names: Vec<&String> = map.keys().collect();
        names.sort();
        names.into_iter().for_each(|name| text.field(1, name, canonical(&map[name])));
    }
    system_info(text, n);
    if !part("spec.podCIDR").is_empty() {
        text.field(0, "PodCIDR", part("spec.podCIDR"));
    }
    let cidrs: Vec<&str> = value::list(n, "spec.podCIDRs").iter().filter_map(Value::as_str).collect();
    if !cidrs.is_empty() {
        text.field(0, "PodCIDRs", cidrs.join(","));
    }
    if !part("spec.providerID").is_empty() {
        text.field(0, "ProviderID", part("spec.providerID"));
    }
    let selector = format!("spec.nodeName={},status.phase!=Succeeded,status.phase!=Failed", info.name);
    let pods = crate::lists::whole(ctx, "/api/v1/pods", &[("fieldSelector", &selector)]).await;
    usage(text, n, readable_pods(pods)?.as_deref());
    if show_events {
        let about =
            format!("involvedObject.name={},involvedObject.namespace=,involvedObject.kind=Node", info.name);
        let mut events = vec![];
        for uid in [part("metadata.uid"), &info.name] {
            let selector = format!("{about},involvedObject.uid={uid}");
            events.extend(events_matching(ctx, "", &selector).await?);
        }
        text.events(&events);
    }
    Ok(())
}

/// The conditions of a node, with the times of their last heartbeats and changes.
fn conditions(text: &mut Text, conditions: &[Value]) {
    if !conditions.is_empty() {
        text.line(0, "Conditions:\n  Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage");
        text.line(1, "----\t------\t-----------------\t------------------\t------\t-------");
        for c in conditions {
            let part = |key: &str| value::text(c, key);
            text.line(
                1,
                format!(
                    "{} \t{} \t{} \t{} \t{} \t{}",
                    part("type"),
                    part("status"),
                    rfc1123(part("lastHeartbeatTime")),
                    rfc1123(part("lastTransitionTime")),
                    part("reason"),
                    part("message")
                ),
            );
        }
    }
}

/// The versions of a node's kernel, runtime and kubelet.
fn system_info(text: &mut Text, n: &Value) {
    text.line(0, "System Info:");
    for (title, key) in [
        ("Machine ID", "machineID"),
        ("System UUID", "systemUUID"),
        ("Boot ID", "bootID"),
        ("Kernel Version", "kernelVersion"),
        ("OS Image", "osImage"),
        ("Operating System", "operatingSystem"),
        ("Architecture", "architecture"),
        ("Container Runtime Version", "containerRuntimeVersion"),
        ("Kubelet Version", "kubeletVersion"),
        ("Kube-Proxy Version", "kubeProxyVersion"),
    ] {
        text.field(1, title, value::text(n, &format!("status.nodeInfo.{key}")));
    }
}

/// Returns the pods of a list; none if the user may not list pods.
///
/// # Errors
/// The list failed for another reason.
fn readable_pods(list: Result<Value, Fail>) -> Result<Option<Vec<Value>>, Fail> {
    match list {
        Ok(list) => Ok(Some(value::list(&list, "items").to_vec())),
        Err(Fail::Api(refusal)) if refusal.reason == "Forbidden" => Ok(None),
        Err(other) => Err(other),
    }
}

fn roles(node: &Value) -> String {
    let mut roles: Vec<&str> = value::pairs(node, "metadata.labels")
        .filter_map(|(key, text)| match key.strip_prefix(ROLE) {
            Some(role) => Some(role).filter(|r| !r.is_empty()),
            None => Some(text).filter(|t| key == OLD_ROLE && !t.is_empty()),
        })
        .collect();
    roles.sort();
    roles.dedup();
    if roles.is_empty() { "<none>".into() } else { roles.join(",") }
}

fn taints(text: &mut Text, list: &[Value]) {
    text.put(0, "Taints:\t");
    if list.is_empty() {
        text.line(0, "<none>");
    }
    let mut sorted: Vec<&Value> = list.iter().collect();
    sorted.sort_by_key(|t| (value::text(t, "effect"), value::text(t, "key")));
    for (i, taint) in sorted.into_iter().enumerate() {
        let tab = if i > 0 { "\t" } else { "" };
        text.line(0, format!("{tab}{}", taint_text(taint)));
    }
}

/// `key=value:Effect`
pub(super) fn taint_text(taint: &Value) -> String {
    let part = |key: &str| value::text(taint, key);
    match (part("value"), part("effect")) {
        ("", "") => part("key").to_string(),
        ("", effect) => format!("{}:{effect}", part("key")),
        (text, "") => format!("{}={text}:", part("key")),
        (text, effect) => format!("{}={text}:{effect}", part("key")),
    }
}

async fn lease(ctx: &Ctx, text: &mut Text, name: &str) -> Result<(), Fail> {
    let path =
        format!("/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{}", paths::segment(name));
    let lease = match ctx.api().await?.get(&path, &[]).await {
        Ok(lease) => lease,
        Err(Fail::Api(refusal)) => {
            text.field(0, "Lease", format!("Failed to get lease: {}", refusal.message));
            return Ok(());
        }
        Err(other) => return Err(other),
    };
    text.line(0, "Lease:");
    let unset = |text_of: &str, known: String| if text_of.is_empty() { "<unset>".to_string() } else { known };
    let holder = value::text(&lease, "spec.holderIdentity");
    text.field(1, "HolderIdentity", unset(holder, holder.to_string()));
    for (title, key) in [("AcquireTime", "spec.acquireTime"), ("RenewTime", "spec.renewTime")] {
        let time = value::text(&lease, key);
        text.field(1, title, unset(time, rfc1123(time)));
    }
    Ok(())
}

/// Returns what a pod requests or, for `limits`, may use, as kubectl adds it up. Source: kubectl,
/// `pkg/util/resource`. It differs from `api::requests`: `spec.resources` of the whole pod does not
/// count.
///
/// ```text
/// container                  1     runs beside the sidecar     1 + 1 = 2
/// restartable init container 1     a sidecar
/// init container after it    2     runs beside the sidecar     2 + 1 = 3, which is more
/// overhead                   250m  always added                3250m
/// ```
fn of_pod(pod: &Value, key: &str) -> Amounts {
    let is_sidecar = |container: &Value| value::text(container, "restartPolicy") == "Always";
    let given = |container: &Value| amounts(container, &format!("resources.{key}"));
    let own =
        |container: &Value| if key == "requests" { requests_of(pod, container) } else { given(container) };
    let mut total = Amounts::new();
    value::list(pod, "spec.containers").iter().for_each(|c| add_all(&mut total, &own(c)));
    let (mut sidecars, mut largest) = (Amounts::new(), Amounts::new());
    for container in value::list(pod, "spec.initContainers") {
        // An init container that ends is not resized.
        let own = if is_sidecar(container) { own(container) } else { given(container) };
        let mut beside = sidecars.clone();
        add_all(&mut beside, &own);
        if is_sidecar(container) {
            add_all(&mut total, &own);
            sidecars.clone_from(&beside);
        }
        keep_larger(&mut largest, beside);
    }
    keep_larger(&mut total, largest);
    for (name, amount) in amounts(pod, "spec.overhead") {
        let is_limited = total.get(&name).is_some_and(|limit| !limit.is_zero());
        if key == "requests" || is_limited {
            add_all(&mut total, &Amounts::from([(name, amount)]));
        }
    }
    total
}

fn amounts(owner: &Value, path: &str) -> Amounts {
    let map = value::map(owner, path).into_iter().flatten();
    map.filter_map(|(name, q)| Some((name.clone(), Quantity::parse(&api::gostr::plain(q))?))).collect()
}

/// Returns what a container requests: while it is resized in place, the most of its old and its new
/// requests. New ones that its node can never grant do not count. Source: kubectl's
/// `determineContainerReqs`.
fn requests_of(pod: &Value, container: &Value) -> Amounts {
    let name = value::text(container, "name");
    let lists = ["status.containerStatuses", "status.initContainerStatuses"];
    let mut statuses = lists.iter().flat_map(|list| value::list(pod, list));
    let status = statuses.find(|status| value::text(status, "name") == name);
    let wanted = amounts(container, "resources.requests");
    let Some(status) = status.filter(|status| value::at(status, "resources").is_object()) else {
        return wanted;
    };
    let is_pending = |c: &&Value| value::text(c, "type") == "PodResizePending";
    let pending = value::list(pod, "status.conditions").iter().find(is_pending);
    let is_infeasible = pending.is_some_and(|c| value::text(c, "reason") == "Infeasible");
    let mut most = if is_infeasible { Amounts::new() } else { wanted };
    keep_larger(&mut most, amounts(status, "resources.requests"));
    keep_larger(&mut most, amounts(status, "allocatedResources"));
    most
}

fn add_all(total: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let sum = total.get(name).map_or(*amount, |known| *known + *amount);
        total.insert(name.clone(), sum);
    }
}

fn keep_larger(total: &mut Amounts, other: Amounts) {
    for (name, amount) in other {
        if total.get(&name).is_none_or(|known| *known < amount) {
            total.insert(name, amount);
        }
    }
}

/// `100m (5%)`
fn share(amount: Option<&Quantity>, of: Option<&Quantity>, milli: bool) -> String {
    let measure = |q: &Quantity| if milli { q.milli() } else { q.units() };
    let used = amount.map_or(0, measure);
    let percent = match of.map(measure) {
        Some(whole) if whole > 0 => (used as f64 / whole as f64 * 100.0) as i64,
        _ => 0,
    };
    format!("{} ({percent}%)", amount.map_or("0".to_string(), |q| q.to_string()))
}

/// Writes the requests and limits of the node's pods. `pods`: `None` if the user may not list them.
fn usage(text: &mut Text, node: &Value, pods: Option<&[Value]>) {
    let Some(pods) = pods else {
        text.field(0, "Pods", "not authorized");
        return;
    };
    text.line(0, format!("Non-terminated Pods:\t({} in total)", pods.len()));
    text.line(1, "Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge");
    text.line(1, "---------\t----\t\t------------\t----------\t---------------\t-------------\t---");
    let key = if value::empty(node, "status.allocatable") { "status.capacity" } else { "status.allocatable" };
    let whole: Amounts =
        value::pairs(node, key).filter_map(|(k, v)| Some((k.to_string(), Quantity::parse(v)?))).collect();
    let (mut requests, mut limits) = (Amounts::new(), Amounts::new());
    for pod in pods {
        let (wants, may) = (of_pod(pod, "requests"), of_pod(pod, "limits"));
        let cell = |amounts: &Amounts, name: &str| share(amounts.get(name), whole.get(name), name == "cpu");
        text.line(
            1,
            format!(
                "{}\t{}\t\t{}\t{}\t{}\t{}\t{}",
                value::text(pod, "metadata.namespace"),
                value::text(pod, "metadata.name"),
                cell(&wants, "cpu"),
                cell(&may, "cpu"),
                cell(&wants, "memory"),
                cell(&may, "memory"),
                since(value::text(pod, "metadata.creationTimestamp"))
            ),
        );
        add_all(&mut requests, &wants);
        add_all(&mut limits, &may);
    }
    text.line(0, "Allocated resources:\n  (Total limits may be over 100 percent, i.e., overcommitted.)");
    text.line(1, "Resource\tRequests\tLimits");
    text.line(1, "--------\t--------\t------");
    for name in STANDARD {
        let cell = |amounts: &Amounts| share(amounts.get(name), whole.get(name), name == "cpu");
        text.line(1, format!("{name}\t{}\t{}", cell(&requests), cell(&limits)));
    }
    let others = whole.keys().filter(|name| !STANDARD.contains(&name.as_str()) && *name != "pods");
    let (huge, extended): (Vec<&String>, Vec<&String>) =
        others.partition(|name| name.starts_with("hugepages-"));
    for name in huge {
        let cell = |amounts: &Amounts| share(amounts.get(name), whole.get(name), false);
        text.line(1, format!("{name}\t{}\t{}", cell(&requests), cell(&limits)));
    }
    for name in extended {
        let cell = |amounts: &Amounts| amounts.get(name).map_or("0".to_string(), |q| q.to_string());
        text.line(1, format!("{name}\t{}\t{}", cell(&requests), cell(&limits)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Refusal;
    use serde_json::json;

    #[test]
    fn a_pod_counts_for_its_sidecars_and_its_overhead() {
        let container = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}});
        let sidecar = |cpu: &str| {
            let mut container = container(cpu);
            container["restartPolicy"] = json!("Always");
            container
        };
        let overhead = json!({"cpu": "250m", "memory": "1Mi"});
        for (containers, init, overhead, requests, limits) in [
            (vec![container("100m")], vec![], overhead.clone(), "350m", "350m"),
            (vec![container("1")], vec![sidecar("1"), container("2")], json!({}), "3", "3"),
            (vec![container("1")], vec![container("2"), sidecar("1")], json!({}), "2", "2"),
            (vec![container("1")], vec![container("2"), sidecar("1")], overhead.clone(), "2250m", "2250m"),
            (vec![json!({})], vec![], overhead, "250m", "0"),
        ] {
            let spec = json!({"containers": containers, "initContainers": init, "overhead": overhead});
            let pod = json!({"spec": spec});
            let of = |key: &str| of_pod(&pod, key).get("cpu").map_or("0".to_string(), Quantity::to_string);
            assert_eq!((of("requests").as_str(), of("limits").as_str()), (requests, limits), "{pod}");
        }
    }

    #[test]
    fn a_container_counts_for_the_most_while_it_is_resized() {
        let requested_cpu = |spec: &str, status: Value, reason: &str| {
            let requests = |cpu: &str| json!({"requests": {"cpu": cpu}});
            let status = match status {
                Value::String(cpu) => json!([{"name": "c", "resources": requests(&cpu)}]),
                _ => json!([{"name": "c"}]),
            };
            let conditions = json!([{"type": "PodResizePending", "reason": reason}]);
            let pod = json!({"spec": {"containers": [{"name": "c", "resources": requests(spec)}]},
                "status": {"containerStatuses": status, "conditions": conditions}});
            of_pod(&pod, "requests")["cpu"].to_string()
        };
        for (spec, status, reason, cpu) in [
            ("2", json!("1"), "Deferred", "2"),
            ("1", json!("2"), "Deferred", "2"),
            ("2", json!("1"), "Infeasible", "1"),
            ("2", json!(null), "Infeasible", "2"),
        ] {
            assert_eq!(requested_cpu(spec, status.clone(), reason), cpu, "{spec} {status} {reason}");
        }
        let requests = |cpu: &str| json!({"requests": {"cpu": cpu}});
        let pod = json!({"spec": {"initContainers": [{"name": "i", "resources": requests("1")}]},
            "status": {"initContainerStatuses": [{"name": "i", "resources": requests("2")}]}});
        assert_eq!(of_pod(&pod, "requests")["cpu"].to_string(), "1", "it is no sidecar");
    }

    #[test]
    fn taints_stand_in_the_order_of_effects_and_keys() {
        let taint = |key: &str| json!({"key": key, "value": "x", "effect": "NoSchedule"});
        let mut text = Text::default();
        taints(&mut text, &[taint("a-b"), taint("a"), json!({"key": "z", "effect": "NoExecute"})]);
        assert_eq!(text.plain(), "Taints:\tz:NoExecute\n\ta=x:NoSchedule\n\ta-b=x:NoSchedule\n");
    }

    #[test]
    fn a_node_is_described_without_the_right_to_list_pods() {
        let refused = |code: u16, reason: &str| {
            Fail::Api(Refusal::of(&json!({"reason": reason, "message": "m"}), code))
        };
        assert!(readable_pods(Err(refused(500, "InternalError"))).is_err());
        let pods = readable_pods(Err(refused(403, "Forbidden"))).unwrap();
        let mut text = Text::default();
        usage(&mut text, &json!({}), pods.as_deref());
        assert_eq!(text.finish(), "Pods:  not authorized\n");
        let pods = readable_pods(Ok(json!({"items": [{}]}))).unwrap();
        let mut text = Text::default();
        usage(&mut text, &json!({}), pods.as_deref());
        assert!(text.finish().starts_with("Non-terminated Pods:  (1 in total)\n"));
    }

    #[test]
    fn huge_pages_come_before_extended_resources() {
        let allocatable = json!({"cpu": "1", "pods": "110", "example.com/gpu": "2", "hugepages-2Mi": "4Mi"});
        let requests = json!({"example.com/gpu": "1", "hugepages-2Mi": "2Mi"});
        let pod = json!({"spec": {"containers": [{"resources": {"requests": requests}}]}});
        let mut text = Text::default();
        usage(&mut text, &json!({"status": {"allocatable": allocatable}}), Some(&[pod]));
        let printed = text.finish();
        let rows: Vec<Vec<&str>> =
            printed.lines().rev().take(2).map(|row| row.split_whitespace().collect()).collect();
        assert_eq!(
            rows,
            [vec!["example.com/gpu", "1", "0"], vec!["hugepages-2Mi", "2Mi", "(50%)", "0", "(0%)"]]
        );
    }
}
