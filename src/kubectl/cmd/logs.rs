//! logs: what containers wrote.

use super::exec::{container_of, selector_of};
use crate::api::value;
use crate::kubectl::builder::Info;
use crate::kubectl::ctx::Ctx;
use crate::kubectl::error::{Fail, text};
use crate::kubectl::gostr::quote;
use crate::kubectl::wire::discovery::Resource;
use http_body_util::BodyExt;
use serde_json::Value;
use std::sync::Arc;

/// So many logs may be followed at once (`--max-log-requests`).
const EXPECTED: &str = "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is a required argument for the logs command";

pub async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let selector = ctx.flags.text("selector");
    let (word, container_word) = match (ctx.args.as_slice(), selector) {
        ([], "") => return ctx.usage(EXPECTED),
        ([], _) => (None, None),
        ([_], s) if !s.is_empty() => return ctx.usage("only a selector (-l) or a POD name is allowed"),
        ([one], _) => (Some(one.clone()), None),
        ([one, container], _) => (Some(one.clone()), Some(container.clone())),
        _ => return ctx.usage(EXPECTED),
    };
    if ctx.flags.is("follow") && ctx.flags.int("tail") < -1 {
        return text("--tail must be greater than or equal to -1");
    }
    if ctx.flags.changed("since") && ctx.flags.changed("since-time") {
        return text("at most one of `sinceTime` or `sinceSeconds` may be specified");
    }
    if ctx.flags.is("all-containers") && !ctx.flags.text("container").is_empty() {
        return text("--all-containers=true should not be specified with container name container").map_err(
            |f: Fail| match f {
                Fail::Text(_) => Fail::Text(format!(
                    "--all-containers=true should not be specified with container name {}",
                    ctx.flags.text("container")
                )),
                other => other,
            },
        );
    }
    let pods = pods(ctx, word.as_deref()).await?;
    let many = word.is_none() || pods.len() > 1;
    let mut sources: Vec<(Info, String)> = vec![];
    for pod in pods {
        if ctx.flags.is("all-containers") {
            for list in ["spec.initContainers", "spec.containers", "spec.ephemeralContainers"] {
                for container in value::list(&pod.object, list) {
                    sources.push((pod.clone(), value::text(container, "name").to_string()));
                }
            }
        } else if let Some(name) = &container_word {
            sources.push((pod, name.clone()));
        } else {
            sources.push((pod.clone(), named_container(ctx, &pod)?));
        }
    }
    let limit = ctx.flags.int("max-log-requests").max(1) as usize;
    if ctx.flags.is("follow") && sources.len() > limit {
        return text(format!(
            "you are attempting to follow {} log streams, but maximum allowed concurrency is {limit}, use --max-log-requests to increase the limit",
            sources.len()
        ));
    }
    if ctx.flags.is("follow") && sources.len() > 1 {
        let all = sources.iter().map(|(pod, container)| stream(ctx, pod, container, many));
        let outcomes = futures::future::join_all(all).await;
        return outcomes.into_iter().collect();
    }
    for (pod, container) in &sources {
        let outcome = stream(ctx, pod, container, many).await;
        if let Err(fail) = outcome {
            if !ctx.flags.is("ignore-errors") {
                return Err(fail);
            }
            ctx.line(format!("error: {}", fail.message()));
        }
    }
    Ok(())
}

fn named_container(ctx: &Ctx, pod: &Info) -> Result<String, Fail> {
    match container_of(ctx, &pod.object, false) {
        Err(Fail::Text(why)) if why.starts_with("container ") && why.contains("not found in pod") => {
            text(format!("container {} is not valid for pod {}", ctx.flags.text("container"), pod.name))
        }
        other => other,
    }
}

/// The pods that are meant; of a workload all with `--all-pods`, else the first.
async fn pods(ctx: &Ctx, word: Option<&str>) -> Result<Vec<Info>, Fail> {
    let (namespace, _) = ctx.namespace()?;
    let pods = ctx.resource("pods").await?;
    let Some(word) = word else {
        return list(ctx, &pods, &namespace, ctx.flags.text("selector")).await;
    };
    let (kind, name) = match word.contains('/') {
        true => crate::kubectl::builder::type_and_name(word)?,
        false => ("pods", word),
    };
    let resource = ctx.resource(kind).await?;
    let plural = resource.plural.clone();
    let mut info = Info {
        resource,
        namespace: namespace.clone(),
        name: name.into(),
        object: Value::Null,
        source: String::new(),
    };
    info.fetch(ctx).await.map_err(|fail| match fail {
        Fail::Api(r) if r.reason == "NotFound" => Fail::Text(format!(
            "error from server (NotFound): {} in namespace {}",
            r.message,
            quote(&namespace)
        )),
        other => other,
    })?;
    if plural == "pods" {
        return Ok(vec![info]);
    }
    let Some(selector) = selector_of(&info) else {
        return text(format!("cannot get the logs from {}", info.resource.kind));
    };
    let found = list(ctx, &pods, &namespace, &selector.to_string()).await?;
    if ctx.flags.is("all-pods") {
        return Ok(found);
    }
    let count = found.len();
    match found.into_iter().next() {
        None => text("timed out waiting for the condition"),
        Some(first) => {
            if count > 1 {
                ctx.note(format!("Found {count} pods, using pod/{}", first.name));
            }
            Ok(vec![first])
        }
    }
}

async fn list(ctx: &Ctx, pods: &Arc<Resource>, namespace: &str, selector: &str) -> Result<Vec<Info>, Fail> {
    let path = format!("/api/v1/namespaces/{namespace}/pods");
    let query = [("labelSelector", selector), ("limit", "500")];
    let list = ctx.api().await?.get(&path, &query).await?;
    let mut items = super::get::items_of(&list, pods);
    if items.is_empty() && !ctx.flags.text("selector").is_empty() {
        ctx.note(format!("No resources found in {namespace} namespace."));
    }
    if ctx.flags.text("selector").is_empty() {
        sort_active_first(&mut items);
    }
    let info = |object: Value| Info {
        resource: pods.clone(),
        namespace: namespace.to_string(),
        name: value::text(&object, "metadata.name").into(),
        object,
        source: String::new(),
    };
    Ok(items.into_iter().map(info).collect())
}

/// Scheduled before not, running before pending, ready before not, longer ready first (`podutils.ByLogging`, reversed).
pub fn sort_active_first(pods: &mut [Value]) {
    let key = |pod: &Value| {
        let ready = value::list(pod, "status.conditions")
            .iter()
            .find(|c| c["type"] == "Ready" && c["status"] == "True")
            .cloned();
        let phase = match value::text(pod, "status.phase") {
            "Running" => 0,
            "Unknown" => 1,
            "Pending" => 2,
            _ => 3,
        };
        let since =
            ready.as_ref().map_or(String::new(), |c| value::text(c, "lastTransitionTime").to_string());
        (value::text(pod, "spec.nodeName").is_empty(), phase, ready.is_none(), since)
    };
    pods.sort_by_key(key);
}

/// Prints the log of one container, for `run`.
pub async fn print_one(ctx: &Ctx, pod: &Info, container: &str, follow: bool) -> Result<(), Fail> {
    let mut query = vec![("container", container)];
    if follow {
        query.push(("follow", "true"));
    }
    copy(ctx, pod, &query, "").await
}

async fn stream(ctx: &Ctx, pod: &Info, container: &str, many: bool) -> Result<(), Fail> {
    let mut tail = ctx.flags.int("tail");
    if tail == -1 && !ctx.flags.text("selector").is_empty() && !ctx.flags.changed("tail") {
        tail = 10;
    }
    let since = ctx.flags.duration("since").as_secs_f64().ceil() as i64;
    let (tail_text, since_text) = (tail.to_string(), since.to_string());
    let mut query = vec![("container", container)];
    for (flag, key) in [("follow", "follow"), ("previous", "previous"), ("timestamps", "timestamps")] {
        if ctx.flags.is(flag) {
            query.push((key, "true"));
        }
    }
    if tail >= 0 {
        query.push(("tailLines", &tail_text));
    }
    if since > 0 {
        query.push(("sinceSeconds", &since_text));
    }
    if !ctx.flags.text("since-time").is_empty() {
        query.push(("sinceTime", ctx.flags.text("since-time")));
    }
    let bytes = ctx.flags.int("limit-bytes").to_string();
    if bytes != "0" {
        query.push(("limitBytes", &bytes));
    }
    let _ = many;
    let prefix =
        if ctx.flags.is("prefix") { format!("[pod/{}/{container}] ", pod.name) } else { String::new() };
    copy(ctx, pod, &query, &prefix).await
}

async fn copy(ctx: &Ctx, pod: &Info, query: &[(&str, &str)], prefix: &str) -> Result<(), Fail> {
    let path = format!("{}/log", pod.path());
    let response =
        ctx.api().await?.send(http::Method::GET, &path, query, "application/json, */*", None).await?;
    let mut body = response.into_body();
    let mut rest: Vec<u8> = vec![];
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { break };
        let Some(data) = frame.data_ref() else { continue };
        if prefix.is_empty() {
            ctx.output.bytes(data);
        } else {
            rest.extend_from_slice(data);
            while let Some(end) = rest.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                ctx.output.bytes(&[prefix.as_bytes(), &line].concat());
            }
        }
        ctx.output.flush().await;
    }
    if !rest.is_empty() {
        ctx.output.bytes(&[prefix.as_bytes(), &rest].concat());
    }
    Ok(())
}
