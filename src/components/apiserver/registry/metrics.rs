//! `metrics.k8s.io`: what metrics-server does. The use of nodes and pods is read from the kubelets,
//! which are asked at the same time. A node whose kubelet does not answer is left out, as in a real
//! metrics-server's answer.
//!
//! A kubelet's answer is kept for a while ([`super::summaries`]), and requests at the same time
//! wait for the same one: however many clients ask, a kubelet is dialled once in that time.

use crate::proxy::dial;
use crate::registry::filter::Filter;
use crate::request::context::Context;
use crate::request::http::Answer;
use crate::request::list_writer::{self, ListMeta};
use crate::request::negotiate::{self, form, form_of_list};
use crate::state::State;
use crate::storage::object::Object;
use api::Status;
use api::kinds::Kind;
use api::value::{self, at, list, text};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// A kubelet that takes longer has no figures.
const PATIENCE: Duration = Duration::from_secs(2);
const GROUP: &str = "metrics.k8s.io";

pub(crate) async fn get(state: &Arc<State>, ctx: &Context, kind: &Kind) -> Result<Answer, Status> {
    let form = form(ctx.accept(), &ctx.query)?;
    let (namespace, name) = (ctx.info.object_namespace(), ctx.info.name.as_str());
    let filter = Filter { namespace: namespace.into(), name: name.into(), ..Filter::default() };
    let found = matching(state, kind, &filter).await.into_iter().next();
    let missing = if kind.namespaced { format!("{namespace}/{name}") } else { name.to_string() };
    let found = found.ok_or_else(|| {
        Status::not_found(GROUP, if kind.namespaced { "podmetrics" } else { "nodemetrics" }, &missing)
    })?;
    Ok(negotiate::one(200, kind, form, &found))
}

pub(crate) async fn list_all(state: &Arc<State>, ctx: &Context, kind: &Kind) -> Result<Answer, Status> {
    let form = form_of_list(ctx.accept(), &ctx.query)?;
    let filter = Filter::of(kind, ctx.info.object_namespace(), &ctx.query)?;
    let meta = ListMeta { revision: 0, next: String::new(), remaining: None };
    Ok(list_writer::many(kind, form, &matching(state, kind, &filter).await, &meta).await)
}

async fn matching(state: &Arc<State>, kind: &Kind, filter: &Filter) -> Vec<Arc<Object>> {
    let mut nodes: Vec<Arc<Object>> =
        state.cache.list("nodes", "").objects.into_iter().map(|(_, n)| n).collect();
    state.summaries.retain(|name| nodes.iter().any(|node| text(&node.value, "metadata.name") == name));
    // For one pod only the kubelet of its node is asked, for one node its own kubelet, and none for
    // a pod that does not exist.
    let is_one_pod = kind.namespaced && !filter.namespace.is_empty() && !filter.name.is_empty();
    let pod = is_one_pod.then(|| state.cache.get("pods", &format!("{}/{}", filter.namespace, filter.name)));
    let only = pod.as_ref().map(|pod| pod.as_ref().map_or("", |pod| text(&pod.value, "spec.nodeName")));
    nodes.retain(|n| {
        let name = text(&n.value, "metadata.name");
        match kind.namespaced {
            true => only.is_none_or(|only| only == name),
            false => filter.name.is_empty() || filter.name == name,
        }
    });
    let summaries = nodes.iter().map(|node| async move {
        let name = text(&node.value, "metadata.name");
        let ask = async {
            let answer = clock::limit(PATIENCE, dial::ask(state, name, "/stats/summary")).await?.ok()?;
            serde_json::from_slice::<Value>(&answer).ok()
        };
        Some((node, state.summaries.summary_of(name, ask).await?))
    });
    let mut found = Vec::new();
    for (node, summary) in futures::future::join_all(summaries).await.into_iter().flatten() {
        match kind.namespaced {
            false => found.extend(metrics(kind, &node.value, &[at(&summary, "node")])),
            true => {
                let stored = |key: &str| state.cache.get("pods", key);
                for (pod, containers) in pods_of(text(&node.value, "metadata.name"), &summary, stored) {
                    found.extend(metrics(kind, &pod.value, &containers));
                }
            }
        }
    }
    let mut found: Vec<Value> = found.into_iter().filter(|o| filter.matches(o)).collect();
    found.sort_by_key(|o| (text(o, "metadata.namespace").to_string(), text(o, "metadata.name").to_string()));
    found.into_iter().map(|o| Arc::new(Object::unwritten(o))).collect()
}

/// Returns the pods in a node's summary, with their containers' figures. A node is believed about
/// pods bound to it, each once.
fn pods_of<'a>(
    node: &str,
    summary: &'a Value,
    stored: impl Fn(&str) -> Option<Arc<Object>>,
) -> Vec<(Arc<Object>, Vec<&'a Value>)> {
    let (mut seen, mut found) = (HashSet::new(), Vec::new());
    for figures in list(summary, "pods") {
        let key = format!("{}/{}", text(figures, "podRef.namespace"), text(figures, "podRef.name"));
        let Some(pod) = stored(&key) else { continue };
        // A pod of that name may be a younger one.
        let is_it = text(&pod.value, "metadata.uid") == text(figures, "podRef.uid");
        if is_it && text(&pod.value, "spec.nodeName") == node && seen.insert(key) {
            found.push((pod, list(figures, "containers").iter().collect()));
        }
    }
    found
}

/// Computes the figures of an object from what its kubelet said: of a node, one; of a pod, one for
/// each container. `None` while one of them has no usage, as that of a container which has just
/// started: the rest would be taken for the use of the whole pod (metrics-server:
/// `podStorage.GetMetrics`).
fn metrics(kind: &Kind, of: &Value, figures: &[&Value]) -> Option<Value> {
    let usage = |figure: &Value| {
        let cpu = value::int(figure, "cpu.usageNanoCores")?;
        let memory = value::int(figure, "memory.workingSetBytes")?;
        Some(json!({"cpu": format!("{cpu}n"), "memory": format!("{}Ki", memory / 1024)}))
    };
    let first = figures.first()?;
    let mut meta = json!({"name": text(of, "metadata.name")});
    for field in ["namespace", "labels"] {
        if !at(of, &format!("metadata.{field}")).is_null() {
            meta[field] = at(of, &format!("metadata.{field}")).clone();
        }
    }
    meta["creationTimestamp"] = clock::rfc3339(clock::now()).into();
    let mut object = json!({"kind": kind.kind, "apiVersion": kind.api_version(), "metadata": meta,
        "timestamp": at(first, "cpu.time"), "window": window(value::int(first, "cpu.windowMilliseconds").unwrap_or(0))});
    match kind.namespaced {
        false => object["usage"] = usage(first)?,
        true => {
            let containers =
                figures.iter().map(|c| Some(json!({"name": text(c, "name"), "usage": usage(c)?})));
            object["containers"] = containers.collect::<Option<Vec<Value>>>()?.into();
        }
    }
    Some(object)
}

/// `12.345s`, as Go writes a duration; longer ones `1m2.5s`, shorter ones `250ms`.
fn window(milliseconds: i64) -> String {
    if (1..1000).contains(&milliseconds) {
        return format!("{milliseconds}ms");
    }
    let (minutes, rest) = (milliseconds / 60_000, milliseconds % 60_000);
    let seconds = format!("{}.{:03}", rest / 1000, rest % 1000);
    let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
    if minutes > 0 { format!("{minutes}m{seconds}s") } else { format!("{seconds}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::kinds;

    #[test]
    fn a_node_is_believed_about_its_own_pods_only_and_once() {
        let figures = |name: &str, uid: &str| json!({"podRef": {"namespace": "d", "name": name, "uid": uid}, "containers": [{"name": "c"}]});
        let summary = json!({"pods": [
            figures("own", "u1"), figures("own", "u1"), figures("younger", "u9"), figures("foreign", "u3"), figures("none", "u4"),
        ]});
        let stored = |key: &str| {
            let (uid, node) = match key {
                "d/own" => ("u1", "n1"),
                "d/younger" => ("u2", "n1"),
                "d/foreign" => ("u3", "n2"),
                _ => return None,
            };
            let name = key.trim_start_matches("d/");
            let pod =
                json!({"metadata": {"namespace": "d", "name": name, "uid": uid}, "spec": {"nodeName": node}});
            Some(Arc::new(Object::unwritten(pod)))
        };
        let found = pods_of("n1", &summary, stored);
        let names: Vec<&str> = found.iter().map(|(pod, _)| text(&pod.value, "metadata.name")).collect();
        assert_eq!(names, ["own"]);
        assert_eq!(found[0].1.len(), 1);
    }

    #[test]
    fn a_kubelets_figures_become_metrics() {
        let kind = kinds::find(GROUP, "v1beta1", "PodMetrics").unwrap();
        let pod = json!({"metadata": {"name": "p", "namespace": "d", "labels": {"a": "b"}}});
        let figure = json!({"name": "c", "cpu": {"time": "2026-01-01T00:00:00Z", "usageNanoCores": 1500, "windowMilliseconds": 10250},
            "memory": {"workingSetBytes": 4096}});
        let made = metrics(kind, &pod, &[&figure]).unwrap();
        assert_eq!(made["containers"], json!([{"name": "c", "usage": {"cpu": "1500n", "memory": "4Ki"}}]));
        assert_eq!(
            (made["window"].as_str(), made["metadata"]["labels"]["a"].as_str()),
            (Some("10.25s"), Some("b"))
        );
        assert!(metrics(kind, &pod, &[]).is_none());
        let fresh = json!({"name": "d", "cpu": {"time": "2026-01-01T00:00:00Z"}, "memory": {"workingSetBytes": 4096}});
        assert!(metrics(kind, &pod, &[&figure, &fresh]).is_none(), "half of a pod is no pod");
        let windows = [0, 250, 60_000, 62_500].map(window);
        assert_eq!(windows, ["0s", "250ms", "1m0s", "1m2.5s"]);
    }
}
