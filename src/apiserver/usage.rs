//! `metrics.k8s.io`: what metrics-server does. Who asks what nodes and pods use gets it from the kubelets, which are asked at once, all together.
//! A node whose kubelet does not answer is left out, as it is of a real metrics-server's answer.

use super::State;
use super::connect;
use super::context::Context;
use super::filter::Filter;
use super::http::Answer;
use super::negotiate::{self, ListMeta, form};
use super::object::Object;
use crate::api::Status;
use crate::api::kinds::Kind;
use crate::api::value::{self, at, list, text};
use crate::clock;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A kubelet that takes longer has no figures.
const PATIENCE: Duration = Duration::from_secs(2);
const GROUP: &str = "metrics.k8s.io";

pub async fn get(state: &Arc<State>, ctx: &Context, kind: &Kind) -> Result<Answer, Status> {
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

pub async fn all(state: &Arc<State>, ctx: &Context, kind: &Kind) -> Result<Answer, Status> {
    let form = form(ctx.accept(), &ctx.query)?;
    let filter = Filter::of(kind, ctx.info.object_namespace(), &ctx.query)?;
    let meta = ListMeta { revision: 0, next: String::new(), remaining: None };
    Ok(negotiate::many(kind, form, &matching(state, kind, &filter).await, &meta).await)
}

async fn matching(state: &Arc<State>, kind: &Kind, filter: &Filter) -> Vec<Arc<Object>> {
    let mut nodes: Vec<Arc<Object>> =
        state.cache.list("nodes", "").objects.into_iter().map(|(_, n)| n).collect();
    // One pod is on one node, and one node is asked only about itself.
    let pod = (kind.namespaced && !filter.name.is_empty())
        .then(|| state.cache.get("pods", &format!("{}/{}", filter.namespace, filter.name)))
        .flatten();
    let only = pod.as_ref().map(|p| text(&p.value, "spec.nodeName"));
    nodes.retain(|n| {
        let name = text(&n.value, "metadata.name");
        match kind.namespaced {
            true => only.is_none_or(|only| only == name),
            false => filter.name.is_empty() || filter.name == name,
        }
    });
    let asked = nodes.iter().map(|node| async move {
        let name = text(&node.value, "metadata.name");
        let answer = clock::timeout(PATIENCE, connect::ask(state, name, "/stats/summary")).await?.ok()?;
        Some((node, serde_json::from_slice::<Value>(&answer).ok()?))
    });
    let mut found = Vec::new();
    for (node, summary) in futures::future::join_all(asked).await.into_iter().flatten() {
        match kind.namespaced {
            false => found.extend(metrics(kind, &node.value, &[at(&summary, "node")])),
            true => {
                for pod in list(&summary, "pods") {
                    let key = format!("{}/{}", text(pod, "podRef.namespace"), text(pod, "podRef.name"));
                    let stored = state.cache.get("pods", &key);
                    // A pod of that name may be a younger one.
                    let stored = stored.filter(|s| text(&s.value, "metadata.uid") == text(pod, "podRef.uid"));
                    let containers: Vec<&Value> = list(pod, "containers").iter().collect();
                    found.extend(stored.and_then(|s| metrics(kind, &s.value, &containers)));
                }
            }
        }
    }
    let mut found: Vec<Value> = found.into_iter().filter(|o| filter.matches(o)).collect();
    found.sort_by_key(|o| (text(o, "metadata.namespace").to_string(), text(o, "metadata.name").to_string()));
    found.into_iter().map(|o| Arc::new(Object::unwritten(o))).collect()
}

/// Pure: the figures of an object from what its kubelet said: of a node, one; of a pod, one for each container.
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
                figures.iter().filter_map(|c| Some(json!({"name": text(c, "name"), "usage": usage(c)?})));
            object["containers"] = containers.collect();
        }
    }
    Some(object)
}

/// `12.345s`, as Go writes a duration; longer ones `1m2.5s`.
fn window(milliseconds: i64) -> String {
    let (minutes, rest) = (milliseconds / 60_000, milliseconds % 60_000);
    let seconds = format!("{}.{:03}", rest / 1000, rest % 1000);
    let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
    if minutes > 0 { format!("{minutes}m{seconds}s") } else { format!("{seconds}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::kinds;

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
        assert_eq!(window(62_500), "1m2.5s");
    }
}
