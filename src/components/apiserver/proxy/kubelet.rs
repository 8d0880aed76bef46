//! Logs, exec, attach, port-forward: the API server finds the pod's kubelet and passes the bytes
//! through.

use crate::admission::policies;
use crate::auth::{bearer, impersonation};
use crate::proxy::{dial, forward, log_answer, log_options, names};
use crate::request::context::Context;
use crate::request::http::{Answer, Body, BodyError, Query, full, plain};
use crate::state::State;
use api::gostr::quote;
use api::value::{at, int, list, text};
use api::{Status, kinds};
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::sync::Arc;

/// Headers that belong to one connection, and those that are for this server alone.
pub(super) const NOT_PASSED: &[&str] = &[
    "authorization",
    "host",
    "impersonate-user",
    "impersonate-group",
    "impersonate-uid",
    client::CAUSE_HEADER,
    "accept-encoding",
];

/// Finds the container that a request is about: the one that it names, or the only one.
///
/// # Errors
/// 400 for a name that the pod does not have, and without a name for a pod of several containers.
fn container<'a>(pod: &'a Value, requested: &str) -> Result<&'a str, Status> {
    let groups = ["spec.initContainers", "spec.containers", "spec.ephemeralContainers"];
    let mut names = groups.iter().flat_map(|g| list(pod, g)).map(|c| text(c, "name"));
    let name = text(pod, "metadata.name");
    if !requested.is_empty() {
        return names.find(|n| *n == requested).ok_or_else(|| {
            Status::bad_request(format!("container {requested} is not valid for pod {name}"))
        });
    }
    match list(pod, "spec.containers") {
        [one] => Ok(text(one, "name")),
        [] => Err(Status::bad_request(format!("a container name must be specified for pod {name}"))),
        _ => {
            let names = names.collect::<Vec<_>>().join(" ");
            let why = "a container name must be specified for pod";
            Err(Status::bad_request(format!("{why} {name}, choose one of: [{names}]")))
        }
    }
}

/// Returns whether a request asks to change protocols. Whether it also says to which one does not
/// matter (upstream: `httpstream.IsUpgradeRequest`).
pub(crate) fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    const WORD: &[u8] = b"upgrade";
    let is_asked = |options: &[u8]| options.windows(WORD.len()).any(|word| word.eq_ignore_ascii_case(WORD));
    headers.get_all(header::CONNECTION).iter().any(|options| is_asked(options.as_bytes()))
}

/// Serves `pods/{log,exec,attach,portforward}`.
pub(crate) async fn pod(state: &Arc<State>, ctx: &Context, request: Request<Body>) -> Result<Answer, Status> {
    let kind = kinds::find("", "v1", "Pod").ok_or_else(|| Status::internal("pods are not served"))?;
    let (namespace, name) = (ctx.info.namespace.as_str(), ctx.info.name.as_str());
    let sub = ctx.info.subresource.as_str();
    if sub == "log" {
        log_options::check_options(&ctx.query, name)?;
    } else {
        // As upstream before anything is known of the pod (`ConnectResource`).
        let options = policies::connect_options(sub, &ctx.query);
        policies::check_connection(state, ctx, kind, &options)?;
    }
    let pod = state.get(kind, namespace, name).await?;
    let path = match sub {
        "portforward" => format!("portForward/{namespace}/{name}"),
        _ => {
            let container = container(&pod.value, ctx.query.get("container"))?;
            let action = match sub {
                "log" => "containerLogs",
                "exec" => "exec",
                _ => "attach",
            };
            format!("{action}/{namespace}/{name}/{container}")
        }
    };
    let node = text(&pod.value, "spec.nodeName");
    if node.is_empty() {
        return match sub {
            "log" => {
                ctx.mark_log_empty();
                Ok(plain(204, "")) // as upstream: nothing was written yet
            }
            _ => Err(Status::bad_request(format!("pod {name} does not have a host assigned"))),
        };
    }
    if sub == "log"
        && let Some(reason) =
            not_started(&pod.value, ctx.query.get("container"), ctx.query.is_true("previous"))
    {
        return Err(reason);
    }
    if sub != "log" && !asks_for_upgrade(request.headers()) {
        return Err(Status::bad_request("Upgrade request required"));
    }
    let query = request.uri().query().unwrap_or_default();
    let query = if sub == "log" { log_options::passed(query) } else { query.to_string() };
    let mark = if query.is_empty() { "" } else { "?" };
    let answer = forward(state, ctx, node, &format!("/{path}{mark}{query}"), request).await?;
    match sub {
        "log" => log_answer::pass(ctx, answer).await,
        _ => Ok(answer),
    }
}

/// Refuses the log of a container that waits for its first start.
fn not_started(pod: &Value, requested: &str, previous: bool) -> Option<Status> {
    let name = container(pod, requested).ok()?;
    let groups =
        ["status.containerStatuses", "status.initContainerStatuses", "status.ephemeralContainerStatuses"];
    let status = groups.iter().flat_map(|g| list(pod, g)).find(|s| text(s, "name") == name)?;
    let pod_name = text(pod, "metadata.name");
    if previous && at(status, "lastState.terminated").is_null() {
        return Some(Status::bad_request(format!(
            "previous terminated container {name:?} in pod {pod_name:?} not found"
        )));
    }
    let reason = text(status, "state.waiting.reason");
    let never = int(status, "restartCount").unwrap_or(0) == 0 && at(status, "lastState.terminated").is_null();
    (!reason.is_empty() && never).then(|| {
        let why = match reason {
            "ErrImagePull" => "image can't be pulled",
            "ImagePullBackOff" => "trying and failing to pull image",
            other => other,
        };
        Status::bad_request(format!("container {name:?} in pod {pod_name:?} is waiting to start: {why}"))
    })
}

/// Serves `nodes/[scheme:]n[:port]/proxy/<path>`. Of a node only its kubelet is reached.
pub(crate) async fn node(
    state: &Arc<State>,
    ctx: &Context,
    request: Request<Body>,
) -> Result<Answer, Status> {
    let query = request.uri().query().map_or(String::new(), |q| format!("?{q}"));
    let (_, name, port) = names::split(&ctx.info.name)
        .ok_or_else(|| Status::bad_request(format!("invalid node request {}", quote(&ctx.info.name))))?;
    let to = dial::address(state, name)?;
    if !port.is_empty() && port != to.port().to_string() {
        return Err(Status::bad_request(format!(
            "node {name}: only the kubelet's port {} is proxied, not {port:?}",
            to.port()
        )));
    }
    let path = names::clean(&ctx.info.rest, request.uri().path().ends_with('/'));
    if let Some((code, text)) = refused_log(&path, &ctx.query) {
        return Ok(plain(code, text));
    }
    let escaped = percent_encoding::utf8_percent_encode(&path, client::ESCAPED_IN_PATHS);
    let answer = forward(state, ctx, name, &format!("{escaped}{query}"), request).await?;
    let code = answer.status().as_u16();
    if let Some((what, namespace, pod)) = led_to(&path)
        && code < 400
    {
        ctx.record_led_to(what, namespace, pod, code);
    }
    Ok(answer)
}

/// Returns what a path of a kubelet does in which pod: `exec/default/web/nginx` is (`exec`,
/// `default`, `web`). The kubelet's server reads paths in the same way.
fn led_to(path: &str) -> Option<(&str, &str, &str)> {
    match path.trim_matches('/').split('/').collect::<Vec<_>>()[..] {
        [what @ ("exec" | "attach"), namespace, pod, _] => Some((what, namespace, pod)),
        _ => None,
    }
}

/// Returns what a kubelet answers to a request for a log whose options it cannot read (400) or does
/// not accept (422): the code and the text. `None` for good options, and for other paths. A request
/// for stdout or stderr alone is refused (400): upstream's gate PodLogsQuerySplitStreams is off.
fn refused_log(path: &str, query: &Query) -> Option<(u16, String)> {
    let ["containerLogs", _, pod, _] = path.trim_matches('/').split('/').collect::<Vec<_>>()[..] else {
        return None;
    };
    let mut query = query.clone();
    // The kubelet takes `tail` in place of `tailLines`, and `all` for no limit.
    let tail = query.get("tail").to_string();
    if !tail.is_empty() {
        query.remove("tailLines");
        if tail != "all" {
            query.append("tailLines", &tail);
        }
    }
    let stream = query.has("stream").then(|| query.get("stream").to_string());
    query.remove("stream");
    let code = log_options::check_options(&query, pod).err().map(|status| status.code);
    let invalid = || Some((422, r#"{"message": "Invalid request."}"#.to_string()));
    match (code, stream.as_deref()) {
        (Some(400), _) => Some((400, r#"{"message": "Unable to decode query."}"#.to_string())),
        (Some(_), _) => invalid(),
        (None, None | Some("All")) => None,
        (None, Some(one @ ("Stdout" | "Stderr"))) if !query.has("tailLines") => {
            let gate = "Please enable PodLogsQuerySplitStreams feature gate in kubelet";
            Some((400, format!("unable to return the given log stream: {}. {gate}", quote(one))))
        }
        (None, Some(_)) => invalid(),
    }
}

/// Completes when the session that this request becomes must end: with the server, or when its
/// client's connection is needed or does not read. Until then it holds the request's seat, and the
/// connection counts and is busy.
pub(crate) fn session_end(state: &State, ctx: &Context) -> impl Future<Output = ()> + Send + use<> {
    let (stop, seat) = (state.stop.clone(), ctx.seat.clone());
    async move {
        let Some(connection) = seat.connection() else { return stop.cancelled().await };
        let _running = connection.activity.begin();
        tokio::select! {
            () = stop.cancelled() => {}
            () = connection.end.cancelled() => {}
        }
    }
}

/// Sends the request on to the kubelet of `node`, and joins the two connections if both sides
/// change protocols. A log is requested by this server itself, as upstream: no header and no body
/// of the client goes further.
async fn forward(
    state: &Arc<State>,
    ctx: &Context,
    node: &str,
    path: &str,
    mut request: Request<Body>,
) -> Result<Answer, Status> {
    let to = dial::address(state, node)?;
    let is_own = ctx.info.subresource == "log";
    let upgrading = !is_own && asks_for_upgrade(request.headers());
    let url = format!("https://{to}{path}");
    let failed = |why: &str| dial::unreachable(&ctx.info.subresource, upgrading, &url, why);
    let stream = dial::connect(state, node, to).await.map_err(|why| failed(&why))?;
    let broken = |error: hyper::Error| failed(&error.to_string());
    let mut sender = dial::begin_http(TokioIo::new(stream)).await.map_err(broken)?;
    let client = upgrading.then(|| hyper::upgrade::on(&mut request));
    let (head, body) = request.into_parts();
    let mut passed = Request::builder().method(head.method).uri(path);
    if let Some(headers) = passed.headers_mut() {
        if !is_own {
            forward::pass_headers(&head.headers, headers, upgrading, NOT_PASSED);
            bearer::without_token(headers);
            impersonation::without_impersonation(headers);
        }
        if let Ok(host) = to.to_string().parse() {
            headers.insert(header::HOST, host);
        }
        if let Ok(cause) = ctx.cause_of_this().parse() {
            headers.insert(client::CAUSE_HEADER, cause); // the client's own was not passed
        }
    }
    // Its Content-Length has been passed: a kubelet that got less would wait for the rest.
    let body = if is_own { full("") } else { body };
    let passed = passed.body(body).map_err(|e| Status::bad_request(e.to_string()))?;
    let answer = sender.send_request(passed).await.map_err(broken)?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return forward::join(client, answer, "the kubelet", NOT_PASSED, session_end(state, ctx));
    }
    let code = answer.status().as_u16();
    if upgrading && code < 400 {
        return Err(Status::new(500, "", format!("invalid upgrade response: status code {code}")));
    }
    // A client would follow it with its own credentials (CVE-2020-8559, CVE-2022-3172).
    if answer.status().is_redirection() && answer.headers().contains_key(header::LOCATION) {
        let why = "the backend attempted to redirect this request, which is not permitted";
        return Err(Status::new(502, "", why));
    }
    let (parts, body) = answer.into_parts();
    let mut out = Response::new(body.map_err(|e| BodyError(e.to_string())).boxed_unsync());
    *out.status_mut() = parts.status;
    forward::pass_headers(&parts.headers, out.headers_mut(), false, NOT_PASSED);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use serde_json::json;

    #[test]
    fn a_way_into_a_pod_by_its_node_is_one_into_the_pod() {
        assert_eq!(led_to("exec/default/web/nginx"), Some(("exec", "default", "web")));
        assert_eq!(led_to("/attach/shop/web/nginx/"), Some(("attach", "shop", "web")));
        for other in ["", "exec", "exec/default/web", "containerLogs/default/web/nginx", "stats/summary"] {
            assert_eq!(led_to(other), None, "{other}");
        }
    }

    #[test]
    fn the_word_upgrade_in_connection_asks_for_one() {
        for (values, is_asked) in [
            (&["keep-alive"][..], false),
            (&[], false),
            (&["Upgrade"], true),
            (&["keep-alive", "keep-alive, UPGRADE"], true),
            (&["no-upgrades"], true),
            (&["\u{e9}, upgrade"], true),
            (&["upgrad", "e"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONNECTION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            }
            assert_eq!(asks_for_upgrade(&headers), is_asked, "{values:?}");
        }
        let to_what = HeaderMap::from_iter([(header::UPGRADE, HeaderValue::from_static("SPDY/3.1"))]);
        assert!(!asks_for_upgrade(&to_what));
    }

    #[test]
    fn a_log_by_its_node_has_options_that_the_kubelet_accepts() {
        let code =
            |path: &str, query: &str| refused_log(path, &Query::parse(Some(query))).map(|(code, _)| code);
        let log = "/containerLogs/default/web/nginx";
        for (query, refused) in [
            ("", None),
            ("tailLines=3&follow=true", None),
            ("tailLines=three", Some(400)),
            ("sinceTime=yesterday", Some(400)),
            ("tailLines=-1", Some(422)),
            ("limitBytes=0", Some(422)),
            ("sinceSeconds=1&sinceTime=2026-01-02T03:04:05Z", Some(422)),
            ("stream=All&tailLines=3", None),
            ("stream=Stdout", Some(400)),
            ("stream=", Some(422)),
            ("stream=Stdout&tailLines=3", Some(422)),
            ("stream=both", Some(422)),
            ("tail=3", None),
            ("tail=&tailLines=3", None),
            ("tail=all&tailLines=three", None),
            ("tail=three", Some(400)),
        ] {
            assert_eq!(code(log, query), refused, "{query}");
        }
        assert_eq!(code("/logs/syslog", "tailLines=three"), None, "a file of the node");
    }

    #[test]
    fn a_container_that_waits_for_its_first_start_has_no_log() {
        let ended = json!({"terminated": {"exitCode": 1}});
        let unpulled = r#"container "c" in pod "p" is waiting to start: image can't be pulled"#;
        let first = r#"previous terminated container "c" in pod "p" not found"#;
        for (status, previous, why) in [
            (json!({"state": {"waiting": {"reason": "ErrImagePull"}}}), false, Some(unpulled)),
            (
                json!({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 3, "lastState": ended}),
                false,
                None,
            ),
            (json!({"state": {"running": {}}}), false, None),
            (json!({"state": {"running": {}}}), true, Some(first)),
            (json!({"state": {"running": {}}, "restartCount": 1, "lastState": ended}), true, None),
        ] {
            let mut pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]},
                "status": {"containerStatuses": [status]}});
            pod["status"]["containerStatuses"][0]["name"] = "c".into();
            let refused = not_started(&pod, "", previous).map(|status| status.message);
            assert_eq!(refused.as_deref(), why, "{pod}");
        }
    }

    #[tokio::test]
    async fn a_pod_without_a_node_has_an_empty_log_and_no_sessions() {
        let api = crate::testing::Api::new().await;
        let spec = json!({"containers": [{"name": "c", "image": "nginx"}]});
        let pods = "/api/v1/namespaces/default/pods";
        api.made(pods, json!({"metadata": {"name": "p"}, "spec": spec})).await;
        assert_eq!(api.get(&format!("{pods}/p/log")).await.0, 204);
        let (code, refused) = api.get(&format!("{pods}/p/exec?command=sh")).await;
        let why = "pod p does not have a host assigned";
        assert_eq!((code, refused["message"].as_str()), (400, Some(why)), "{refused}");
    }

    #[tokio::test]
    async fn of_a_node_only_its_kubelet_is_reached() {
        let api = crate::testing::Api::bare().await;
        let status = json!({"addresses": [{"type": "InternalIP", "address": "172.30.0.11"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}}});
        api.made("/api/v1/nodes", json!({"metadata": {"name": "n1"}, "status": status})).await;
        assert!(api.state().fresh().await.is_ok());
        for (name, code, why) in [
            ("n1:22", 400, "only the kubelet's port 10250 is proxied"),
            ("ftp:n1:1", 400, "invalid node request \"ftp:n1:1\""),
            ("n2", 404, "nodes \"n2\" not found"),
        ] {
            let (found, refused) = api.get(&format!("/api/v1/nodes/{name}/proxy/healthz")).await;
            let message = refused["message"].as_str().unwrap_or_default();
            assert!(found == code && message.contains(why), "{name}: {refused}");
        }
    }

    #[test]
    fn the_container_is_named_or_the_only_one() {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        assert_eq!(container(&pod, "i").unwrap(), "i");
        assert_eq!(container(&pod, "x").unwrap_err().message, "container x is not valid for pod p");
        assert_eq!(
            container(&pod, "").unwrap_err().message,
            "a container name must be specified for pod p, choose one of: [i a b]"
        );
    }
}
