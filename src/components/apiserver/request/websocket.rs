//! Watches over WebSocket: every event is a message of its own (upstream: `WatchServer.HandleWS`).
//! Dashboards ask for this: a browser hands a message to its page when it has come, and a stream of
//! lines only in pieces of any length.

use crate::auth::bearer;
use crate::flowcontrol::seat::{ANSWER_TIME, Seat};
use crate::proxy::kubelet::session_end;
use crate::request::context::Context;
use crate::request::http::{Answer, Body, full, header as text_of};
use crate::request::serve::DRAIN;
use crate::server::Server;
use api::Status;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// Bytes of a message from the client. A client has nothing to say: its messages are read and
/// dropped, and a longer one ends the watch.
const MESSAGE_MAX: usize = 64 << 10;
/// Bytes that are read from a client at a time. Each watch has this buffer as long as it lasts.
const READ_BUFFER: usize = 4 << 10;
/// Bytes of answers to pings that wait until the client reads. While there are so many, only the
/// newest ping is kept to be answered, as RFC 6455, 5.5.3 allows.
const ANSWERS_MAX: usize = 4 << 10;
/// Bytes of an event that are written together with the head of its frame.
const BEGIN: usize = 8 << 10;
/// A client that does not answer the closing message is left after this time.
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
pub(crate) fn requested_switch(request: &mut Request<Body>) -> Result<Option<Switch>, Status> {
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
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    for (name, text) in [(SEC_WEBSOCKET_ACCEPT, accept), (SEC_WEBSOCKET_PROTOCOL, protocol)] {
        if let Some(value) = text.and_then(|text| HeaderValue::from_str(&text).ok()) {
            headers.insert(name, value);
        }
    }
    Ok(Some(Switch { client: hyper::upgrade::on(request), answer }))
}

/// Answers a watch with the change of protocols. A task sends the lines of the answer `watch` as
/// messages, until the watch is over, the client leaves, or the server stops. A watch ends by
/// itself when the server stops; the task has [`DRAIN`] then to send the closing message.
pub(crate) fn send_events(server: &Server, ctx: &Context, switch: Switch, watch: Answer) -> Answer {
    let Switch { client, answer } = switch;
    // The answer 101 is written at once; the session keeps the watch's place until it ends.
    ctx.seat.outlive_answer();
    let (over, seat, stop) = (session_end(&server.state, ctx), ctx.seat.clone(), server.state.stop.clone());
    server.crew.spawn(async move {
        let session = async {
            let Ok(client) = client.await else { return };
            send_lines(TokioIo::new(client), watch.into_body(), &seat).await;
        };
        let over = async {
            over.await;
            if stop.is_cancelled() {
                clock::pause(DRAIN).await;
            }
        };
        tokio::select! {
            () = session => {}
            () = over => {}
        }
    });
    answer
}

/// Sends each line of a watch as a message of text. A client that does not read one in time, as any
/// watcher has to, is left. What is not written yet counts in the seat: where too much waits for
/// all watchers together, that ends the session, too (`WatchBuffers::end_slowest`).
async fn send_lines(io: impl AsyncRead + AsyncWrite + Unpin, mut lines: Body, seat: &Arc<Seat>) {
    let bounds = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
    let bounds = bounds.max_message_size(Some(MESSAGE_MAX)).max_frame_size(Some(MESSAGE_MAX));
    // Answers to pings only: events do not go through this buffer, so they may be larger.
    let bounds = bounds.write_buffer_size(0).max_write_buffer_size(ANSWERS_MAX);
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(bounds)).await;
    loop {
        let frame = tokio::select! {
            frame = lines.frame() => frame,
            // Also answers a ping.
            message = socket.next() => match message {
                Some(Ok(Message::Close(_))) => break, // what closes the socket answers it
                Some(Ok(_)) => continue,
                _ => return,
            },
        };
        let Some(Ok(frame)) = frame else { break };
        let Ok(piece) = frame.into_data() else { continue };
        let mut piece = seat.unwritten(piece);
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            let line = piece.split_to(end + 1);
            let sent = clock::limit(ANSWER_TIME, write_message(&mut socket, line)).await;
            if !matches!(sent, Some(Ok(()))) {
                return;
            }
        }
    }
    // The client's answer is awaited: a connection that ends while something of the client's is
    // unread is reset, and its last events may be lost (RFC 1122, 4.2.2.13).
    let farewell = async {
        // The closing message needs room in the buffer for the answers to pings.
        let is_flushed = SinkExt::<Message>::flush(&mut socket).await.is_ok();
        if is_flushed && SinkExt::<Message>::close(&mut socket).await.is_ok() {
            while let Some(Ok(_)) = socket.next().await {}
        }
    };
    let _ = clock::limit(CLOSING, farewell).await;
}

/// Writes a message of text in one frame. The socket's own `send` would copy it, and keep the room
/// for it as long as the watch lasts: a large event is in memory once, however many watch it.
async fn write_message<S>(socket: &mut WebSocketStream<S>, mut line: Bytes) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // The answer to a ping may wait there. It cannot stand in the middle of a frame.
    SinkExt::<Message>::flush(socket).await.map_err(io::Error::other)?;
    let head = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
    let mut begin = Vec::new();
    head.format(line.len() as u64, &mut begin).map_err(io::Error::other)?;
    begin.extend_from_slice(&line.split_to(line.len().min(BEGIN)));
    let io = socket.get_mut();
    io.write_all(&begin).await?;
    io.write_all(&line).await?;
    io.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flowcontrol::seat::{Patience, Seats};
    use crate::request::connections::Connections;
    use crate::request::http::BodyError;
    use crate::request::sources::Known;
    use crate::testing;
    use futures::FutureExt;
    use serde_json::Value;
    use std::pin::pin;
    use tokio::net::TcpStream;
    use tokio_tungstenite::client_async;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest;

    type Client = WebSocketStream<tokio_rustls::client::TlsStream<TcpStream>>;

    /// An administrator's watch of all namespaces, and the subprotocol that the server has named.
    /// `more` is a further part of the query.
    async fn watch(fixture: &testing::Fixture, protocol: &HeaderValue, more: &str) -> (Client, HeaderValue) {
        let server = fixture.kubeconfig.split("https://").nth(1).unwrap().split('\'').next().unwrap();
        let admin = fixture.ca.issue(&pki::Subject::client("admin", "system:masters")).unwrap();
        let tls = pki::client_config(Some(&admin), fixture.ca.pem(), &[]).unwrap();
        let tcp = TcpStream::connect(server).await.unwrap();
        let name = pki::server_name("127.0.0.1").unwrap();
        let stream = tokio_rustls::TlsConnector::from(tls).connect(name, tcp).await.unwrap();
        let url = format!("ws://{server}/api/v1/namespaces?watch=1{more}");
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol.clone());
        let (socket, answer) = client_async(request, stream).await.unwrap();
        assert_eq!(answer.status().as_u16(), 101);
        (socket, answer.headers()[SEC_WEBSOCKET_PROTOCOL].clone())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_event_of_a_watch_is_a_message_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let fixture = testing::start(dir.path()).await;
        let protocol = HeaderValue::from_static("base64.binary.k8s.io");
        let (mut socket, named) = watch(&fixture, &protocol, "&timeoutSeconds=1").await;
        assert_eq!(named, protocol);
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

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_that_stops_closes_the_socket() {
        let dir = tempfile::tempdir().unwrap();
        let fixture = testing::start(dir.path()).await;
        let protocol = HeaderValue::from_static("base64.binary.k8s.io");
        let (mut socket, _) = watch(&fixture, &protocol, "").await;
        assert!(matches!(socket.next().await, Some(Ok(Message::Text(_)))), "an event");
        let read = async {
            let mut last = None;
            while let Some(Ok(message)) = socket.next().await {
                last = Some(message);
            }
            last
        };
        let (last, ()) = tokio::join!(read, fixture.server.crew().stop());
        assert!(matches!(last, Some(Message::Close(_))), "{last:?}");
    }

    /// A client sends pings and does not read their answers. Few of them wait for it, and an event
    /// that is larger than their buffer reaches it all the same.
    #[tokio::test]
    async fn answers_to_pings_that_are_not_read_are_bounded() {
        const PING: [u8; 6] = [0x89, 0x80, 0, 0, 0, 0];
        let (mut sender, lines) = http_body_util::channel::Channel::<Bytes, BodyError>::new(1);
        let (here, mut there) = tokio::io::duplex(1 << 10);
        let event = format!("{}\n", "x".repeat(ANSWERS_MAX * 4));
        let client = async {
            there.write_all(&PING.repeat(100_000)).await.unwrap();
            sender.send_data(event.clone().into()).await.unwrap();
            drop(sender);
            let mut socket = WebSocketStream::from_raw_socket(there, Role::Client, None).await;
            let (mut answers, mut others) = (0, vec![]);
            while let Some(Ok(message)) = socket.next().await {
                match message {
                    Message::Pong(_) => answers += 1,
                    other => others.push(other),
                }
            }
            (answers, others)
        };
        let seat = Seat::new(None);
        let ((answers, others), ()) = tokio::join!(client, send_lines(here, lines.boxed_unsync(), &seat));
        // An answer has two bytes; what the connection holds comes to those of the buffer.
        assert!((1..3000).contains(&answers), "{answers}");
        assert_eq!(others, [Message::text(event), Message::Close(None)]);
    }

    /// Where many watch a large event, it is in memory once; and where that is too much, a client
    /// that does not read loses its connection.
    #[tokio::test(start_paused = true)]
    async fn an_event_that_waits_for_its_client_is_not_copied_and_counts() {
        let connections = Connections::new(8, Known::default());
        let counted = Arc::new(connections.admit("10.0.0.1:7".parse().unwrap()).unwrap());
        let (seat, seats) = (Seat::new(Some(counted.clone())), Arc::new(Seats::default()));
        drop(seat.answer(full(""), Patience::Watch, &seats));
        let line: Arc<[u8]> = format!("{}\n", "x".repeat(1 << 20)).into_bytes().into();
        let lines = full(Bytes::from_owner(line.clone()));
        let (here, there) = tokio::io::duplex(64 << 10);
        let mut session = pin!(send_lines(here, lines, &seat));
        assert!(session.as_mut().now_or_never().is_none(), "the client does not read");
        assert_eq!(Arc::strong_count(&line), 2, "what waits is the event itself");
        assert!(!counted.end.is_cancelled());
        seat.give_up(); // of the slowest watcher
        assert!(counted.end.is_cancelled());
        let mut client = WebSocketStream::from_raw_socket(there, Role::Client, None).await;
        client.send(Message::Ping(Bytes::new())).await.unwrap();
        let (read, ()) = tokio::join!(client.next(), session);
        assert!(read.unwrap().unwrap().into_data() == line[..], "one message");
        assert_eq!(Arc::strong_count(&line), 1);
    }

    /// A client takes its leave, and the server answers.
    #[tokio::test]
    async fn a_client_that_closes_the_socket_is_answered() {
        let (sender, lines) = http_body_util::channel::Channel::<Bytes, BodyError>::new(1);
        let (here, there) = tokio::io::duplex(1 << 10);
        let mut client = WebSocketStream::from_raw_socket(there, Role::Client, None).await;
        client.send(Message::Close(None)).await.unwrap();
        let seat = Seat::new(None);
        let (answer, ()) = tokio::join!(client.next(), send_lines(here, lines.boxed_unsync(), &seat));
        assert!(matches!(answer, Some(Ok(Message::Close(None)))), "{answer:?}");
        drop(sender);
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
            requested_switch(&mut request.body(full("")).unwrap())
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
