//! Watches over WebSocket: every event is a message of its own (upstream: `WatchServer.HandleWS`).
//! Dashboards ask for this: a browser hands a message to its page when it has come, and a stream of
//! lines only in pieces of any length.

use crate::auth::bearer;
use crate::flowcontrol::seat::ANSWER_TIME;
use crate::proxy::kubelet::session_end;
use crate::request::context::Context;
use crate::request::http::{Answer, Body, full, header as text_of};
use crate::server::Server;
use api::Status;
use futures::{SinkExt, StreamExt};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// Bytes of a message from the client. A client has nothing to say: its messages are read and
/// dropped, and a longer one ends the watch.
const MESSAGE_MAX: usize = 64 << 10;
/// A client that does not take the closing message is left after this time.
const CLOSING: Duration = Duration::from_secs(5);

/// A change to WebSocket that a request asks for, and the answer 101 that agrees to it.
pub(crate) struct Switch {
    client: OnUpgrade,
    answer: Answer,
}

/// Returns the change to WebSocket that a request asks for; `None` if it asks for none. Of the
/// subprotocols that the client offers beside a token the answer names the first: browsers close a
/// connection whose answer names none of theirs.
///
/// # Errors
/// 400 for a handshake without a key, or of another version than 13 (RFC 6455, 4.2.1).
pub(crate) fn asked(request: &mut Request<Body>) -> Result<Option<Switch>, Status> {
    let headers = request.headers();
    if !bearer::is_websocket(headers) {
        return Ok(None);
    }
    let key = text_of(headers, "sec-websocket-key");
    if key.is_empty() || text_of(headers, "sec-websocket-version") != "13" {
        let why = "a WebSocket needs the header Sec-WebSocket-Key and Sec-WebSocket-Version: 13";
        return Err(Status::bad_request(why));
    }
    let accept = Some(derive_accept_key(key.as_bytes()));
    let protocol = bearer::other_protocols(headers).into_iter().next();
    let mut answer = Response::new(full(""));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let told = answer.headers_mut();
    told.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    told.insert(UPGRADE, HeaderValue::from_static("websocket"));
    for (name, text) in [(SEC_WEBSOCKET_ACCEPT, accept), (SEC_WEBSOCKET_PROTOCOL, protocol)] {
        if let Some(value) = text.and_then(|text| HeaderValue::from_str(&text).ok()) {
            told.insert(name, value);
        }
    }
    Ok(Some(Switch { client: hyper::upgrade::on(request), answer }))
}

/// Answers a watch with the change of protocols. A task sends the lines of the answer `watch` as
/// messages, until the watch is over, the client leaves, or the server stops.
pub(crate) fn send_events(server: &Server, ctx: &Context, switch: Switch, watch: Answer) -> Answer {
    let Switch { client, answer } = switch;
    // The answer 101 is written at once; the session keeps the watch's place until it ends.
    ctx.seat.outlive_answer();
    let over = session_end(&server.state, ctx);
    server.crew.spawn(async move {
        let session = async {
            let Ok(client) = client.await else { return };
            send_lines(TokioIo::new(client), watch.into_body()).await;
        };
        tokio::select! {
            () = session => {}
            () = over => {}
        }
    });
    answer
}

/// Sends each line of a watch as a message of text. A client that does not read one in time, as any
/// watcher has to, is left.
async fn send_lines(io: impl AsyncRead + AsyncWrite + Unpin, mut lines: Body) {
    let bounds = WebSocketConfig::default();
    let bounds = bounds.max_message_size(Some(MESSAGE_MAX)).max_frame_size(Some(MESSAGE_MAX));
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(bounds)).await;
    loop {
        let frame = tokio::select! {
            frame = lines.frame() => frame,
            // Also answers a ping, and the client's farewell.
            message = socket.next() => match message {
                Some(Ok(_)) => continue,
                _ => return,
            },
        };
        let Some(Ok(frame)) = frame else { break };
        let Ok(mut piece) = frame.into_data() else { continue };
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            let Ok(line) = Utf8Bytes::try_from(piece.split_to(end + 1)) else { return };
            let sent = clock::limit(ANSWER_TIME, socket.send(Message::Text(line))).await;
            if !matches!(sent, Some(Ok(()))) {
                return;
            }
        }
    }
    let _ = clock::limit(CLOSING, socket.close(None)).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use bytes::Bytes;
    use serde_json::Value;
    use tokio::net::TcpStream;
    use tokio_tungstenite::client_async;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;

    #[tokio::test(flavor = "multi_thread")]
    async fn every_event_of_a_watch_is_a_message_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let fixture = testing::start(dir.path()).await;
        let server = fixture.kubeconfig.split("https://").nth(1).unwrap().split('\'').next().unwrap();
        let admin = fixture.ca.issue(&pki::Subject::client("admin", "system:masters")).unwrap();
        let tls = pki::client_config(Some(&admin), fixture.ca.pem(), &[]).unwrap();
        let tcp = TcpStream::connect(server).await.unwrap();
        let name = pki::server_name("127.0.0.1").unwrap();
        let stream = tokio_rustls::TlsConnector::from(tls).connect(name, tcp).await.unwrap();
        let url = format!("ws://{server}/api/v1/namespaces?watch=1&timeoutSeconds=1");
        let mut request = url.into_client_request().unwrap();
        let protocols = HeaderValue::from_static("base64.binary.k8s.io");
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocols.clone());
        let (mut socket, answer) = client_async(request, stream).await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()[SEC_WEBSOCKET_PROTOCOL]), (101, &protocols));
        socket.send(Message::Ping(Bytes::new())).await.unwrap();
        let (mut names, mut pongs) = (vec![], 0);
        while let Some(Ok(message)) = socket.next().await {
            match message {
                Message::Text(line) => {
                    let event: Value = serde_json::from_str(&line).unwrap();
                    assert_eq!(event["type"], "ADDED", "{event}");
                    names.push(event["object"]["metadata"]["name"].as_str().unwrap().to_string());
                }
                Message::Pong(_) => pongs += 1,
                Message::Close(_) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((names.contains(&"default".to_string()), pongs), (true, 1), "{names:?}");
    }

    /// A browser that shows a token offers it as a subprotocol, beside one that is named again.
    #[test]
    fn a_handshake_has_a_key_and_the_answer_names_one_protocol() {
        let ask = |headers: &[(&str, &str)]| {
            let mut request =
                Request::get("/api/v1/pods?watch=1").header("connection", "keep-alive, Upgrade");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            asked(&mut request.body(full("")).unwrap())
        };
        let [socket, key, version] =
            [("upgrade", "websocket"), ("sec-websocket-key", "AAAA"), ("sec-websocket-version", "13")];
        assert!(ask(&[]).unwrap().is_none() && ask(&[("upgrade", "spdy/3.1")]).unwrap().is_none());
        for headers in [&[socket][..], &[socket, key], &[socket, version]] {
            assert_eq!(ask(headers).err().map(|status| status.code), Some(400), "{headers:?}");
        }
        let offered = ("sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.YQ, b, c");
        let answer = ask(&[socket, key, version, offered]).unwrap().unwrap().answer;
        assert_eq!(answer.headers()[SEC_WEBSOCKET_PROTOCOL], "b");
        let answer = ask(&[socket, key, version]).unwrap().unwrap().answer;
        assert!(!answer.headers().contains_key(SEC_WEBSOCKET_PROTOCOL), "none was offered");
    }
}
