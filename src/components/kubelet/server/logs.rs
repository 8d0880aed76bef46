//! Containers' logs, from the file of the runtime.

use super::super::container_status::terminated;
use super::super::logs::{LogReader, Options, Pieces};
use super::super::pods::Kubelet;
use super::super::specs::{is_ephemeral, spec_of};
use super::{Body, Query, refuse, runtime_error};
use api::gotime;
use bytes::Bytes;
use client::Key;
use cri::ContainerState;
use futures::StreamExt;
use http::{Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use std::sync::Arc;
use std::time::Duration;
use task::Crew;
use tokio::sync::mpsc;

/// Pieces of a log on their way to the client; at the bound no more of the file is read. An answer
/// that the client does not read holds two pieces, `CONNECTION_BUFFER`, and what the kernel keeps
/// for its socket.
const LOG_BUFFER: usize = 1;
/// Log bytes read at a time.
pub(super) const CHUNK: usize = 32 << 10;
/// A followed log is looked at this often; appends to a file raise no event that is worth a watch
/// for each reader.
const FOLLOW_EVERY: Duration = Duration::from_millis(50);

/// Returns why there is no log to read, and the code of that: 404 for a pod that this node does not
/// have, and for a container that is not in its definition. Source: `getContainerLogs` in
/// `pkg/kubelet/server/server.go`.
pub(super) fn refusal(
    pod: Option<&Pod>,
    name: &str,
    container: &str,
    previous: bool,
) -> (StatusCode, String) {
    let Some(pod) = pod else { return (StatusCode::NOT_FOUND, format!("pod {name:?} does not exist")) };
    if spec_of(pod, container).is_none() && !is_ephemeral(pod, container) {
        return (StatusCode::NOT_FOUND, format!("container {container:?} not found in pod {name:?}"));
    }
    let why = match previous {
        true => format!("previous terminated container {container:?} in pod {name:?} not found"),
        false => not_there(pod.status.as_ref(), name, container),
    };
    (StatusCode::BAD_REQUEST, why)
}

/// Returns why there is no log of a container that does not exist yet, or that the runtime does not
/// know any more. Source: `validateContainerLogStatus` in `pkg/kubelet/kubelet_pods.go`.
fn not_there(status: Option<&PodStatus>, pod: &str, container: &str) -> String {
    let all = status
        .into_iter()
        .flat_map(|s| [&s.container_statuses, &s.init_container_statuses, &s.ephemeral_container_statuses]);
    let found = all.flatten().flatten().find(|s| s.name == container);
    let Some(found) = found else {
        return format!("container {container:?} in pod {pod:?} is not available");
    };
    if terminated(found).is_some() {
        return format!("container {container:?} in pod {pod:?} is terminated");
    }
    let reason = found.state.as_ref().and_then(|state| state.waiting.as_ref()?.reason.as_deref());
    let why = match reason {
        Some("ErrImagePull") => ": image can't be pulled".to_string(),
        Some("ImagePullBackOff") => ": trying and failing to pull image".to_string(),
        Some(other) => format!(": {other}"),
        None => " - no logs yet".to_string(),
    };
    format!("container {container:?} in pod {pod:?} is waiting to start{why}")
}

/// Returns how many of its last lines a log begins with: `tail`, or without it `tailLines`; `all`
/// or nothing for the whole log.
pub(super) fn tail_of(query: &Query) -> Option<usize> {
    match query.get("tail").filter(|tail| !tail.is_empty()).or_else(|| query.get("tailLines"))? {
        "all" => None,
        lines => lines.parse().ok(),
    }
}

pub(super) async fn read_logs(
    kubelet: Arc<Kubelet>,
    crew: Crew,
    key: Key,
    container: &str,
    query: &Query,
) -> Result<Response<Body>, Response<Body>> {
    let number = |name: &str| query.get(name).and_then(|v| v.parse::<i64>().ok());
    let since =
        number("sinceSeconds").map(|s| clock::before(clock::now(), Duration::from_secs(s.max(0) as u64)));
    let options = Options {
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        timestamps: query.flag("timestamps"),
        tail: tail_of(query),
        since: query.get("sinceTime").and_then(|time| gotime::parse_nearest(time).ok()).or(since),
        limit: number("limitBytes").and_then(|n| usize::try_from(n).ok()),
    };
    let found = kubelet.logged(&key, container, options.previous).await.map_err(runtime_error)?;
    let Some(found) = found else {
        let (code, why) = refusal(kubelet.pod(&key).as_deref(), &key.name, container, options.previous);
        return Err(refuse(code, why));
    };
    let (sender, mut pieces) = mpsc::channel::<Bytes>(LOG_BUFFER);
    crew.spawn(async move {
        let (path, limits, opening) = (found.log_path.clone(), kubelet.config.logs, options.clone());
        let opened = move || {
            let log = LogReader::open(&path, limits, opening.follow, opening.tail)?;
            Ok::<_, std::io::Error>(Pieces::new(log, &opening, CHUNK))
        };
        // Files are read where a thread may wait for the disk.
        let Ok(Ok(mut log)) = tokio::task::spawn_blocking(opened).await else { return };
        loop {
            // Asked before reading, so that what was written until the end is still read.
            let running = matches!(
                kubelet.config.runtime.container_status(&found.id).await,
                Ok(c) if c.state == ContainerState::Running
            );
            while log.has_news() {
                let read = tokio::task::spawn_blocking(move || {
                    let piece = log.read();
                    (log, piece)
                });
                let Ok((back, Ok(piece))) = read.await else { return };
                log = back;
                let Some(piece) = piece else { break };
                if !piece.is_empty() && sender.send(Bytes::from(piece)).await.is_err() {
                    return;
                }
            }
            if log.is_full() || !options.follow || !running {
                return;
            }
            tokio::select! {
                () = clock::pause(FOLLOW_EVERY) => {}
                () = sender.closed() => return, // its client has left; the log may have no new line for days
            }
        }
    });
    let pieces = futures::stream::poll_fn(move |cx| pieces.poll_recv(cx)).map(|piece| Ok(Frame::data(piece)));
    let mut response = Response::new(BodyExt::boxed(StreamBody::new(pieces)));
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
    Ok(response)
}
