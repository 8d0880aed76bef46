//! logs: what containers wrote.

use super::common::pod_running_timeout;
use super::pages::items_of;
use super::pods::{Choice, DEFAULT_CONTAINER, container_of, first_pod, info, selector_of, sort_best_first};
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::info::Info;
use crate::lists::whole;
use crate::output::Output;
use crate::scheme;
use crate::wire::paths;
use api::gostr::{self, quote};
use api::gotime;
use api::value;
use bytes::Bytes;
use client::discovery::Resource;
use http_body_util::BodyExt;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

const EXPECTED: &str = "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is a required argument for the logs command";

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let selector = ctx.flags.text("selector");
    let (word, container_word) = match (ctx.args.as_slice(), selector) {
        ([], "") => return ctx.usage(EXPECTED),
        ([], _) => (None, None),
        ([_], s) if !s.is_empty() => return ctx.usage("only a selector (-l) or a POD name is allowed"),
        ([one], _) => (Some(one.clone()), None),
        ([one, container], _) => (Some(one.clone()), Some(container.clone())),
        _ => return ctx.usage(EXPECTED),
    };
    check(ctx, container_word.as_deref())?;
    pod_running_timeout(ctx)?;
    let pods = pods(ctx, word.as_deref()).await?;
    let mut sources: Vec<(Info, String)> = vec![];
    for pod in pods {
        if ctx.flags.is("all-containers") {
            for list in ["spec.initContainers", "spec.containers", "spec.ephemeralContainers"] {
                for container in value::list(&pod.object, list) {
                    sources.push((pod.clone(), value::text(container, "name").to_string()));
                }
            }
        } else {
            let container = named_container(ctx, &pod, container_word.as_deref())?;
            sources.push((pod, container));
        }
    }
    let limit = ctx.flags.int("max-log-requests").max(1) as usize;
    if ctx.flags.is("follow") && sources.len() > limit {
        return text(format!(
            "you are attempting to follow {} log streams, but maximum allowed concurrency is {limit}, use --max-log-requests to increase the limit",
            sources.len()
        ));
    }
    let ignore = ctx.flags.is("ignore-errors");
    let ignored = |fail: Fail| match ignore {
        true => {
            ctx.line(format!("error: {}", fail.message()));
            Ok(())
        }
        false => Err(fail),
    };
    if ctx.flags.is("follow") && sources.len() > 1 {
        // The first that fails ends them all, as kubectl's common pipe does.
        let all = sources
            .iter()
            .map(|(pod, container)| async { stream(ctx, pod, container, true).await.or_else(ignored) });
        return futures::future::try_join_all(all).await.map(drop);
    }
    for (pod, container) in &sources {
        stream(ctx, pod, container, false).await.or_else(ignored)?;
    }
    Ok(())
}

/// Refuses flags that do not fit to each other.
fn check(ctx: &Ctx, container_word: Option<&str>) -> Result<(), Fail> {
    let nanos = |flag: &str| gostr::parse_duration(ctx.flags.text(flag)).map_or(0, |n| n.0);
    let named = ctx.flags.text("container");
    if container_word.is_some() && !named.is_empty() {
        return text("only one of -c or an inline [CONTAINER] arg is allowed");
    }
    let since_time = ctx.flags.text("since-time");
    if !since_time.is_empty() && nanos("since") != 0 {
        return text("at most one of `sinceTime` or `sinceSeconds` may be specified");
    }
    if !since_time.is_empty()
        && let Err(why) = gotime::parse_nearest(since_time)
    {
        return text(why);
    }
    let container = container_word.unwrap_or(named);
    if ctx.flags.is("all-containers") && !container.is_empty() {
        return text(format!(
            "--all-containers=true should not be specified with container name {container}"
        ));
    }
    if nanos("since") < 0 {
        return text("--since must be greater than 0");
    }
    if ctx.flags.int("limit-bytes") < 0 {
        return text("--limit-bytes must be greater than 0");
    }
    if ctx.flags.int("tail") < -1 {
        return text("--tail must be greater than or equal to -1");
    }
    Ok(())
}

fn named_container(ctx: &Ctx, pod: &Info, inline: Option<&str>) -> Result<String, Fail> {
    let named = inline.unwrap_or(ctx.flags.text("container"));
    let lists = ["spec.containers", "spec.initContainers", "spec.ephemeralContainers"];
    let mut all = lists.iter().flat_map(|list| value::list(&pod.object, list));
    match named {
        "" => {
            let annotated = value::at(&pod.object, "metadata.annotations")[DEFAULT_CONTAINER].as_str();
            if let Some(missing) = annotated.filter(|name| !name.is_empty())
                && !all.any(|c| value::text(c, "name") == missing)
            {
                let missing = quote(missing);
                ctx.note(format!("Default container name {missing} not found in pod {}", pod.name));
            }
            container_of(ctx, &pod.object, ctx.flags.is("all-pods"))
        }
        named if all.any(|c| value::text(c, "name") == named) => Ok(named.to_string()),
        named => text(format!("container {named} is not valid for pod {}", pod.name)),
    }
}

/// The pods that the command names; of a workload the first one, or with `--all-pods` all.
async fn pods(ctx: &Ctx, word: Option<&str>) -> Result<Vec<Info>, Fail> {
    let (namespace, _) = ctx.namespace()?;
    let pods = ctx.resource("pods").await?;
    let Some(word) = word else {
        return match ctx.flags.text("selector").trim() {
            "" => text("resource(s) were provided, but no name was specified"),
            selector => list(ctx, &pods, &namespace, selector).await,
        };
    };
    let (kind, name) = match word.contains('/') {
        true => crate::builder::type_and_name(word)?,
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
    scheme::check(&info, scheme::OF_KUBECTL)?;
    if plural == "pods" {
        return Ok(vec![info]);
    }
    let selector = selector_of(&info)
        .map_err(|(kind, why)| Fail::Text(format!("cannot get the logs from {kind}: {why}")))?;
    if ctx.flags.is("all-pods") {
        return list(ctx, &pods, &namespace, &selector.to_string()).await;
    }
    let (first, count) = first_pod(ctx, &pods, &namespace, &selector, Choice::Log).await?;
    if count > 1 {
        ctx.note(format!("Found {count} pods, using pod/{}", first.name));
    }
    Ok(vec![first])
}

async fn list(ctx: &Ctx, pods: &Arc<Resource>, namespace: &str, selector: &str) -> Result<Vec<Info>, Fail> {
    let list = whole(ctx, &paths::collection(pods, namespace), &[("labelSelector", selector)]).await?;
    let mut items = items_of(&list, pods);
    if items.is_empty() && !ctx.flags.text("selector").is_empty() {
        ctx.note(format!("No resources found in {namespace} namespace."));
    }
    if ctx.flags.text("selector").is_empty() {
        sort_best_first(&mut items, Choice::Log);
    }
    Ok(items.into_iter().map(|object| info(pods, namespace, object)).collect())
}

/// Prints the log of one container, for `run`.
pub(crate) async fn print_one(ctx: &Ctx, pod: &Info, container: &str, follow: bool) -> Result<(), Fail> {
    let mut query = vec![("container", container)];
    if follow {
        query.push(("follow", "true"));
    }
    copy(ctx, pod, &query, "", false).await
}

/// As kubectl rounds `--since`. Example: 1.2 s is 1, 1.5 s is 2; 0.4 s is 0, which the server
/// refuses.
fn nearest_second(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_millis() >= 500)
}

/// Prints one log. `beside`: other logs are printed at the same time, so that only whole lines are
/// written.
async fn stream(ctx: &Ctx, pod: &Info, container: &str, beside: bool) -> Result<(), Fail> {
    let mut tail = ctx.flags.int("tail");
    if tail == -1 && !ctx.flags.text("selector").is_empty() && !ctx.flags.changed("tail") {
        tail = 10;
    }
    let since = ctx.flags.duration("since");
    let (tail_text, since_text) = (tail.to_string(), nearest_second(since).to_string());
    let mut query = vec![("container", container)];
    for (flag, key) in [("follow", "follow"), ("previous", "previous"), ("timestamps", "timestamps")] {
        if ctx.flags.is(flag) {
            query.push((key, "true"));
        }
    }
    if ctx.flags.is("insecure-skip-tls-verify-backend") {
        query.push(("insecureSkipTLSVerifyBackend", "true"));
    }
    if tail >= 0 {
        query.push(("tailLines", &tail_text));
    }
    if !since.is_zero() {
        query.push(("sinceSeconds", &since_text));
    }
    if !ctx.flags.text("since-time").is_empty() {
        query.push(("sinceTime", ctx.flags.text("since-time")));
    }
    let bytes = ctx.flags.int("limit-bytes").to_string();
    if bytes != "0" {
        query.push(("limitBytes", &bytes));
    }
    // With `--all-pods` lines of several pods are mixed; only a prefix says from which pod a line
    // is.
    let prefixed = ctx.flags.is("prefix") || ctx.flags.is("all-pods");
    let prefix = if prefixed { format!("[pod/{}/{container}] ", pod.name) } else { String::new() };
    copy(ctx, pod, &query, &prefix, beside).await
}

async fn copy(
    ctx: &Ctx,
    pod: &Info,
    query: &[(&str, &str)],
    prefix: &str,
    whole_lines: bool,
) -> Result<(), Fail> {
    let path = format!("{}/log", pod.path());
    paths::checked(&path).map_err(Fail::Text)?;
    let api = ctx.api().await?;
    let response = api.stream(&path, query).await?;
    pass_on(&ctx.output, response.into_body(), prefix, whole_lines).await
}

/// Writes a log as it comes, up to its end or the failure that breaks it off. What came of its last
/// line is written in both cases.
async fn pass_on<B>(output: &Output, mut body: B, prefix: &str, whole_lines: bool) -> Result<(), Fail>
where
    B: http_body::Body<Data = Bytes, Error = Fail> + Unpin,
{
    let mut lines = Lines { prefix, rest: vec![], open: false };
    let ended = loop {
        let frame = match body.frame().await {
            None => break Ok(()),
            // A log that broke off is reported with the plain cause; the words about connecting
            // would be false.
            Some(Err(fail)) => break Err(Fail::Text(fail.message())),
            Some(Ok(frame)) => frame,
        };
        let Some(data) = frame.data_ref() else { continue };
        if prefix.is_empty() && !whole_lines {
            output.bytes(data);
        } else {
            output.bytes(&lines.push(data));
        }
        output.flush().await;
    };
    output.bytes(&lines.take(lines.rest.len()));
    ended
}

/// A log on its way to the output: whole lines, each behind the prefix.
struct Lines<'a> {
    prefix: &'a str,
    /// The bytes that were received and not yet written.
    rest: Vec<u8>,
    /// The last part that was written did not end its line, so the next one gets no prefix.
    open: bool,
}

impl Lines<'_> {
    /// Adds what was received. Returns what can be written.
    fn push(&mut self, data: &[u8]) -> Vec<u8> {
        self.rest.extend_from_slice(data);
        self.take(complete(&self.rest))
    }

    /// Returns the first `end` bytes of what was received, to be written.
    fn take(&mut self, end: usize) -> Vec<u8> {
        let mut written = Vec::with_capacity(end);
        for line in self.rest[..end].split_inclusive(|b| *b == b'\n') {
            if !self.open {
                written.extend_from_slice(self.prefix.as_bytes());
            }
            written.extend_from_slice(line);
            self.open = !line.ends_with(b"\n");
        }
        self.rest.drain(..end);
        written
    }
}

/// A longer line is written in parts: a container may write without end and no line.
const LINE_MAX: usize = 1 << 20;

/// Returns how many of these bytes can be written: those of whole lines, or all of a line that is
/// too long to be kept.
fn complete(rest: &[u8]) -> usize {
    match rest.iter().rposition(|b| *b == b'\n') {
        Some(at) => at + 1,
        None if rest.len() >= LINE_MAX => rest.len(),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kept::Kept;
    use crate::testing::Server;
    use http_body::Frame;
    use http_body_util::StreamBody;
    use serde_json::json;

    #[test]
    fn a_line_without_end_is_not_kept_without_end() {
        assert_eq!((complete(b"a\nb"), complete(b"ab"), complete(b"")), (2, 0, 0));
        assert_eq!(complete(&vec![b'x'; LINE_MAX]), LINE_MAX);
    }

    #[tokio::test]
    async fn a_selector_of_spaces_is_not_every_pod() {
        let server = Server::start().await;
        let result = server.kubectl(&["logs", "-l", " "]).await;
        let why = "error: resource(s) were provided, but no name was specified\n";
        assert_eq!((result.code, result.err.as_str()), (1, why));
    }

    #[tokio::test]
    async fn since_is_rounded_to_the_nearest_second() {
        let server =
            Server::start_with(|request| request.path.ends_with("/log").then(|| (200, json!("line")))).await;
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"},
            "spec": {"containers": [{"name": "c"}]}});
        server.hold("/api/v1/namespaces/default/pods/p", pod);
        for (since, want) in [("1200ms", "1"), ("1500ms", "2"), ("1m", "60"), ("400ms", "0")] {
            let result = server.kubectl(&["logs", "p", "--since", since]).await;
            assert_eq!(result.code, 0, "{result:?}");
            let request = server.requests().into_iter().rfind(|request| request.path.ends_with("/log"));
            let query = request.unwrap().query;
            assert!(query.split('&').any(|pair| pair == format!("sinceSeconds={want}")), "{since}: {query}");
        }
    }

    #[test]
    fn a_line_that_is_written_in_parts_has_one_prefix() {
        let mut lines = Lines { prefix: "[p] ", rest: vec![], open: false };
        assert_eq!(lines.push(b"a\nb"), b"[p] a\n");
        let mut part = b"[p] b".to_vec();
        part.resize(part.len() + LINE_MAX, b'x');
        assert_eq!(lines.push(&vec![b'x'; LINE_MAX]), part);
        assert_eq!(lines.push(b"y\nc\nd"), b"y\n[p] c\n");
        assert_eq!(lines.take(1), b"[p] d");
        assert_eq!(lines.take(0), b"");
    }

    #[tokio::test]
    async fn a_log_that_breaks_off_is_written_up_to_its_last_byte() {
        let kept = Kept::all();
        let output = Output::new(Box::new(kept.clone()), Box::new(tokio::io::sink()));
        let frames = [Ok(Frame::data(Bytes::from("a\nb"))), Err(Fail::Text("lost".into()))];
        let body = StreamBody::new(futures::stream::iter(frames));
        let ended = pass_on(&output, body, "[p] ", true).await;
        output.flush().await;
        assert_eq!(ended.map_err(|fail| fail.message()), Err("lost".to_string()));
        assert_eq!(kept.text(), "[p] a\n[p] b");
    }

    #[tokio::test]
    async fn lines_of_all_pods_say_whose_they_are() {
        let server =
            Server::start_with(|request| request.path.ends_with("/log").then(|| (200, json!("line")))).await;
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}}});
        server.hold("/apis/apps/v1/namespaces/default/deployments/web", deployment);
        for name in ["web-1", "web-2"] {
            let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
                "spec": {"containers": [{"name": "c"}]}});
            server.hold(&format!("/api/v1/namespaces/default/pods/{name}"), pod);
        }
        let result = server.kubectl(&["logs", "deploy/web", "--all-pods"]).await;
        for name in ["web-1", "web-2"] {
            assert!(result.out.contains(&format!("[pod/{name}/c] ")), "{result:?}");
        }
    }

    #[tokio::test]
    async fn a_default_container_that_is_not_there_is_reported() {
        let server =
            Server::start_with(|request| request.path.ends_with("/log").then(|| (200, json!("line")))).await;
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default",
            "annotations": {DEFAULT_CONTAINER: "gone"}}, "spec": {"containers": [{"name": "c"}, {"name": "d"}]}});
        server.hold("/api/v1/namespaces/default/pods/p", pod);
        let want = "Default container name \"gone\" not found in pod p\n";
        let result = server.kubectl(&["logs", "p"]).await;
        assert_eq!(result.err, format!("{want}Defaulted container \"c\" out of: c, d\n"));
        let result = server.kubectl(&["logs", "p", "--all-pods"]).await;
        assert_eq!(result.err, want, "of all pods it is not told which container was taken");
    }
}
