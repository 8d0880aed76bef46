//! A connection to a port of a pod, for the API server's `pods/proxy` and `services/proxy`.
//!
//! Upstream's API server dials the pod's address itself. This one is in another network than the
//! pods, so the kubelet dials: from the node's network, as for a probe, and to the address that its
//! runtime gave the pod, whatever the API says of it. Unlike a port-forward this reaches no server
//! that listens at the pod's loopback only.

use super::upgrade::{asked_protocols, switching};
use super::{Body, Connection, refuse, runtime_error};
use crate::action::dial_error;
use crate::pods::Kubelet;
use client::Key;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use task::Crew;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The protocol of the `Upgrade` header: the bare bytes of the connection.
const PROTOCOL: &str = "tcp";
/// A connection that the pod does not accept within this time is given up.
const DIAL_MAX: Duration = Duration::from_secs(10);
/// How long the pod may go on once the API server has ended its side: by then the API server has
/// the answer, or its client has left.
const AFTER_CLIENT: Duration = Duration::from_secs(2);
/// Bytes of the request that are passed before the pod is read.
const FIRST: usize = 16 << 10;

/// Serves `podPort/NAMESPACE/POD/PORT`: dials the port, and joins the two connections.
///
/// # Errors
/// 400 for a request that does not ask for `Upgrade: tcp`, for a wrong port, and while the pod has
/// no network; 502 with the words of Go's `net` when the port cannot be dialled.
pub(super) async fn connect(
    kubelet: &Kubelet,
    crew: Crew,
    connection: Arc<Connection>,
    (pod, port): (Key, &str),
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Response<Body>> {
    let bad = |why: String| refuse(StatusCode::BAD_REQUEST, why);
    if asked_protocols(request.headers()) != PROTOCOL {
        return Err(bad(format!("unable to upgrade: a port of a pod needs \"Upgrade: {PROTOCOL}\"")));
    }
    let port = port.parse::<u16>().ok().filter(|port| *port > 0);
    let port = port.ok_or_else(|| bad("the port must be a number from 1 to 65535".into()))?;
    let sandbox = kubelet.sandbox(&pod).await.map_err(runtime_error)?;
    let Some(ip) = sandbox.and_then(|sandbox| sandbox.ip) else {
        return Err(bad(format!("pod {:?} is not running", pod.name)));
    };
    let to = SocketAddr::from((ip, port));
    let failed = |why: String| refuse(StatusCode::BAD_GATEWAY, why);
    let stream = match tokio::time::timeout(DIAL_MAX, kubelet.config.network.dial(to)).await {
        Ok(dialled) => dialled.map_err(|error| failed(dial_error(to, &error)))?,
        Err(_) => return Err(failed(format!("dial tcp {to}: i/o timeout"))),
    };
    let on_upgrade = hyper::upgrade::on(&mut request);
    crew.spawn(async move {
        let Ok(upgraded) = on_upgrade.await else { return };
        tokio::select! {
            () = join(TokioIo::new(upgraded), stream) => {}
            () = connection.abandoned() => {}
        }
    });
    Ok(switching(PROTOCOL))
}

/// Copies in both directions until the pod has ended its side, or [`AFTER_CLIENT`] after the API
/// server has ended its own: a server in the pod that never ends a connection keeps no place here.
///
/// The pod is read only after it was sent something. A program may answer as soon as it is
/// connected to (`printf … | nc -l -p 80`), and what comes before its request is no answer for the
/// API server's HTTP client.
async fn join(client: impl AsyncRead + AsyncWrite, pod: impl AsyncRead + AsyncWrite) {
    let (mut from_client, mut to_client) = tokio::io::split(client);
    let (mut from_pod, mut to_pod) = tokio::io::split(pod);
    let mut first = vec![0; FIRST];
    let Ok(count @ 1..) = from_client.read(&mut first).await else { return };
    let _ = to_pod.write_all(&first[..count]).await; // a pod that has ended may have answered before
    drop(first);
    let inward = async {
        let copied = tokio::io::copy(&mut from_client, &mut to_pod).await;
        if copied.is_ok() {
            let _ = to_pod.shutdown().await;
        }
        clock::pause(AFTER_CLIENT).await;
    };
    let outward = async {
        let _ = tokio::io::copy(&mut from_pod, &mut to_client).await; // a reset is an end as well
        let _ = to_client.shutdown().await;
    };
    tokio::select! {
        () = inward => {}
        () = outward => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_pass_until_the_pod_ends_and_a_silent_pod_is_left_after_its_client() {
        let ((mut client, near), (mut pod, far)) = (tokio::io::duplex(64), tokio::io::duplex(64));
        let joined = tokio::spawn(join(near, far));
        client.write_all(b"ask").await.unwrap();
        let mut asked = [0; 3];
        pod.read_exact(&mut asked).await.unwrap();
        pod.write_all(b"answer").await.unwrap();
        drop(pod);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!((&asked, answer.as_str()), (b"ask", "answer"));
        joined.await.unwrap();

        let ((mut client, near), (mut pod, far)) = (tokio::io::duplex(64), tokio::io::duplex(64));
        let joined = tokio::spawn(join(near, far));
        client.write_all(b"x").await.unwrap();
        drop(client);
        assert_eq!((pod.read_u8().await.unwrap(), pod.read(&mut [0]).await.unwrap()), (b'x', 0));
        tokio::time::timeout(2 * AFTER_CLIENT, joined).await.expect("it keeps the connection").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_of_a_program_that_answers_at_once_comes_after_the_request() {
        let ((mut client, near), (mut pod, far)) = (tokio::io::duplex(64), tokio::io::duplex(64));
        let joined = tokio::spawn(join(near, far));
        pod.write_all(b"answer").await.unwrap();
        drop(pod);
        let early = tokio::time::timeout(Duration::from_secs(5), client.read_u8()).await;
        assert!(early.is_err(), "nothing was asked");
        client.write_all(b"ask").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "answer");
        joined.await.unwrap();
    }
}
