//! Requests that become sessions: the change of protocols, and what serves it.

use super::remote_command::{OLDEST, Opening, StreamOptions};
use super::{Body, Connection, refuse, spdy_streams, websocket};
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use task::Crew;

/// The purpose of an upgraded connection.
pub(super) enum Talk {
    Process { options: StreamOptions, open: Opening },
    Ports { runtime: Arc<dyn cri::Runtime>, sandbox: String, ports: Vec<u16> },
}

/// Returns the first of `offered` (best first) that is also in `known`.
fn agree(offered: &[String], known: &[&str]) -> Option<String> {
    offered.iter().find(|o| known.contains(&o.as_str())).cloned()
}

fn header_words(headers: &HeaderMap, name: &str) -> Vec<String> {
    let lines = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
    lines.flat_map(|l| l.split(',')).map(|w| w.trim().to_string()).filter(|w| !w.is_empty()).collect()
}

/// Returns the protocols of the `Upgrade` header, in lower case.
pub(super) fn asked_protocols(headers: &HeaderMap) -> String {
    header_words(headers, "upgrade").join(",").to_lowercase()
}

const PROCESS_WS: [&str; 5] = [
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "base64.channel.k8s.io",
];
const PROCESS_SPDY: [&str; 3] = ["v5.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"];
/// SPDY inside WebSocket messages: how kubectl 1.31 and later forward ports.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

/// Changes protocols and talks in a task of its own, which keeps the connection's place until the
/// session ends.
pub(super) fn upgrade(
    crew: Crew,
    connection: Arc<Connection>,
    mut request: Request<Incoming>,
    talk: Talk,
) -> Result<Response<Body>, Response<Body>> {
    let wanted = asked_protocols(request.headers());
    let on_upgrade = hyper::upgrade::on(&mut request);
    match wanted.as_str() {
        "websocket" => upgrade_to_websocket(crew, connection, request.headers(), on_upgrade, talk),
        "spdy/3.1" => upgrade_to_spdy(crew, connection, request.headers(), on_upgrade, talk),
        _ => Err(refuse(StatusCode::BAD_REQUEST, "unable to upgrade: missing upgrade headers in request")),
    }
}

/// Returns the answer that the connection speaks another protocol from now on.
pub(super) fn switching(protocol: &str) -> Response<Body> {
    let mut response = refuse(StatusCode::SWITCHING_PROTOCOLS, "");
    let headers = response.headers_mut();
    headers.insert(http::header::CONNECTION, http::HeaderValue::from_static("Upgrade"));
    put(headers, "upgrade", protocol);
    response
}

/// Sets a header. A value that no header may have is left out.
fn put(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = http::HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Upgrades to WebSocket ([`upgrade`]). `asked` are the headers of the request.
fn upgrade_to_websocket(
    crew: Crew,
    connection: Arc<Connection>,
    asked: &HeaderMap,
    on_upgrade: hyper::upgrade::OnUpgrade,
    talk: Talk,
) -> Result<Response<Body>, Response<Body>> {
    let offered = header_words(asked, "sec-websocket-protocol");
    let known: &[&str] = match talk {
        Talk::Process { .. } => &PROCESS_WS,
        Talk::Ports { .. } => &[TUNNEL, "v5.channel.k8s.io", "v4.channel.k8s.io"],
    };
    // A client that names no protocol speaks the oldest.
    let protocol = if offered.is_empty() { Some(OLDEST.to_string()) } else { agree(&offered, known) };
    let key = asked.get("sec-websocket-key").map(|k| k.as_bytes().to_vec());
    let (Some(protocol), Some(key)) = (protocol, key) else {
        return Err(refuse(
            StatusCode::BAD_REQUEST,
            format!("unable to upgrade: none of {offered:?} is spoken here"),
        ));
    };
    let mut response = switching("websocket");
    put(
        response.headers_mut(),
        "sec-websocket-accept",
        &tokio_tungstenite::tungstenite::handshake::derive_accept_key(&key),
    );
    if !offered.is_empty() {
        put(response.headers_mut(), "sec-websocket-protocol", &protocol);
    }
    let owner = crew.clone();
    crew.spawn(async move {
        let Ok(upgraded) = on_upgrade.await else { return };
        let io = TokioIo::new(upgraded);
        let talking = async {
            match talk {
                Talk::Process { options, open } => {
                    websocket::process(io, &protocol, options, open, || connection.hang_up()).await;
                }
                Talk::Ports { runtime, sandbox, .. } if protocol == TUNNEL => {
                    let io = websocket::tunnel(&owner, io);
                    spdy_streams::ports(io, runtime, sandbox).await;
                }
                Talk::Ports { runtime, sandbox, ports } => {
                    websocket::ports(io, runtime, sandbox, ports).await
                }
            }
        };
        tokio::select! {
            () = talking => {}
            () = connection.abandoned() => {}
        }
    });
    Ok(response)
}

/// Upgrades to SPDY ([`upgrade`]). `asked` are the headers of the request.
fn upgrade_to_spdy(
    crew: Crew,
    connection: Arc<Connection>,
    asked: &HeaderMap,
    on_upgrade: hyper::upgrade::OnUpgrade,
    talk: Talk,
) -> Result<Response<Body>, Response<Body>> {
    let offered = header_words(asked, "x-stream-protocol-version");
    let known: &[&str] = match talk {
        Talk::Process { .. } => &PROCESS_SPDY,
        Talk::Ports { .. } => &["portforward.k8s.io"],
    };
    let Some(protocol) = agree(&offered, known) else {
        let mut refused =
            refuse(StatusCode::FORBIDDEN, format!("unable to upgrade: none of {offered:?} is spoken here"));
        put(refused.headers_mut(), "x-accepted-stream-protocol-versions", &known.join(","));
        return Err(refused);
    };
    let mut response = switching("SPDY/3.1");
    put(response.headers_mut(), "x-stream-protocol-version", &protocol);
    crew.spawn(async move {
        let Ok(upgraded) = on_upgrade.await else { return };
        let io = TokioIo::new(upgraded);
        let talking = async {
            match talk {
                Talk::Process { options, open } => spdy_streams::process(io, &protocol, options, open).await,
                Talk::Ports { runtime, sandbox, .. } => spdy_streams::ports(io, runtime, sandbox).await,
            }
        };
        tokio::select! {
            () = talking => {}
            () = connection.abandoned() => {}
        }
    });
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn the_first_protocol_of_the_client_that_is_spoken_here_is_agreed_on() {
        let mut headers = HeaderMap::new();
        for line in ["v9.channel.k8s.io, v4.channel.k8s.io", " ,channel.k8s.io"] {
            headers.append("sec-websocket-protocol", HeaderValue::from_static(line));
        }
        headers.insert("upgrade", HeaderValue::from_static("SPDY/3.1"));
        let offered = header_words(&headers, "sec-websocket-protocol");
        assert_eq!(offered, ["v9.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"]);
        assert_eq!(agree(&offered, &PROCESS_WS).as_deref(), Some("v4.channel.k8s.io"));
        assert_eq!(agree(&offered, &["portforward.k8s.io"]), None);
        assert_eq!(asked_protocols(&headers), "spdy/3.1");
    }
}
