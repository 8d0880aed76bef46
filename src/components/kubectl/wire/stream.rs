//! Upgraded connections: a remote process over WebSocket (`v5.channel.k8s.io`), and port-forwards.

use super::api::{Api, Query};
use super::outcome;
use crate::error::{Fail, Refusal, text as fail};
use crate::output::Output;
use client::remote::{Dial, Duplex, error_of};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use linux::tcp;
use parking_lot::Mutex;
use serde_json::Value;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{self, Message};

/// The pause between two pings to the server.
const PING_EVERY: Duration = Duration::from_secs(5);
/// A server that has not even answered the pings for so long is gone (client-go's).
const SILENCE: Duration = Duration::from_secs(61);
/// A server that does not take the closing message is left after this time.
const CLOSING: Duration = Duration::from_secs(1);
/// A client of a forwarded port that closed its sending side and then went is noticed within a few
/// times this.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const CHUNK: usize = 32 << 10;
/// A longer status is refused.
const STATUS_MAX: usize = 1 << 20;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
pub(super) const STATUS: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// A WebSocket over a connection to the API server.
pub(crate) type Socket = WebSocketStream<Box<dyn Duplex>>;

/// Opens a WebSocket with one of `protocols`, separated by commas.
///
/// # Errors
/// [`Fail::Api`] or [`Fail::Text`]: the server refused the upgrade, with or without a `Status`;
/// after a 401 the credential plugin runs once more for the next try. [`Fail::Refused`] and
/// [`Fail::Transport`]: no connection.
pub(crate) async fn connect(
    api: &Api,
    path: &str,
    query: Query<'_>,
    protocols: &str,
) -> Result<Socket, Fail> {
    let user = api.user();
    let target = user.target().clone();
    let dial = Dial::new(target.clone(), &[])?;
    let (io, _) = dial.connect().await.map_err(|e| error_of(&target, &e))?;
    let transport = |e: hyper::Error| error_of(&target, &e);
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(io)).await.map_err(transport)?;
    let driver = tokio::spawn(connection.with_upgrades());
    let text_of = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    let mut request = Request::get(format!("{}{path}?{text_of}", target.base))
        .header("host", &target.host)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", generate_key())
        .header("sec-websocket-protocol", protocols)
        .body(Empty::<bytes::Bytes>::new())
        .map_err(|e| Fail::Text(e.to_string()))?;
    for (name, header) in &api.headers(&user) {
        request.headers_mut().append(name, header.clone());
    }
    let response = sender.send_request(request).await.map_err(transport)?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        driver.abort();
        if code == StatusCode::UNAUTHORIZED {
            api.reauthenticate(&user).await;
        }
        return Err(match serde_json::from_slice::<Value>(&body) {
            Ok(status) => Fail::Api(Refusal::of(&status, code)),
            Err(_) => {
                Fail::Text(format!("unable to upgrade connection: {}", String::from_utf8_lossy(&body).trim()))
            }
        });
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(transport)?;
    let io: Box<dyn Duplex> = Box::new(TokioIo::new(upgraded));
    Ok(WebSocketStream::from_raw_socket(io, Role::Client, None).await)
}

/// The input of a remote process.
pub(crate) struct Given {
    pub stdin: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Sizes of the terminal, if the process has one.
    pub sizes: Option<watch::Receiver<(u16, u16)>>,
    /// Send a wrong size first, so that the program redraws (attach).
    pub redraw: bool,
}

pub(super) fn framed(channel: u8, payload: &[u8]) -> Message {
    let mut bytes = Vec::with_capacity(payload.len() + 1);
    bytes.push(channel);
    bytes.extend_from_slice(payload);
    Message::Binary(bytes.into())
}

fn resized((columns, rows): (u16, u16)) -> Message {
    framed(RESIZE, format!("{{\"Width\":{columns},\"Height\":{rows}}}\n").as_bytes())
}

/// Copies streams both ways until the process has ended. A non-zero exit code is [`Fail::Coded`].
///
/// Input and output are copied by two concurrent futures: a process that is blocked on its full
/// output reads no input, so its output must be read while input waits for room to be sent.
///
/// # Errors
/// [`Fail::Coded`]: the process ended with another exit code than 0. [`Fail::Text`]: the server
/// could not run it, and says why; or the connection broke off, the server was silent for
/// [`SILENCE`], or its status cannot be read, and then it is not known what became of the process.
pub(crate) async fn process(socket: Socket, given: Given, output: &Arc<Output>) -> Result<(), Fail> {
    let (mut sink, mut source) = socket.split();
    let line = Line { heard: Mutex::new(Instant::now()), blocked: AtomicBool::new(false) };
    let ended = tokio::select! {
        status = receive(&mut source, output, &line) => status,
        Err(fail) = send(&mut sink, given, &line) => Err(fail),
    };
    // The rest of the handshake has a time limit: the server may read no more.
    drop(tokio::time::timeout(CLOSING, sink.close()).await);
    outcome::of(&ended?)
}

/// State that the two directions of a stream share.
struct Line {
    /// When the server last sent anything.
    heard: Mutex<Instant>,
    /// Input waits for room. A process may read none for any time, and no ping gets past what
    /// waits, so silence means nothing then; TCP itself notices a server that is gone.
    blocked: AtomicBool,
}

impl Line {
    fn heard(&self) -> Instant {
        *self.heard.lock()
    }

    fn hear(&self) {
        *self.heard.lock() = Instant::now();
    }
}

/// Writes the process' output until the server closes; returns the status that it sent, which may
/// come in pieces.
async fn receive(
    source: &mut SplitStream<Socket>,
    output: &Arc<Output>,
    line: &Line,
) -> Result<Vec<u8>, Fail> {
    let mut status: Vec<u8> = vec![];
    loop {
        let message = tokio::select! {
            biased;
            message = source.next() => message,
            () = tokio::time::sleep_until(line.heard() + SILENCE) => {
                if line.blocked.load(Ordering::Relaxed) {
                    line.hear();
                    continue;
                }
                return fail("error reading from error stream: i/o timeout");
            }
        };
        match message {
            Some(Ok(Message::Binary(bytes))) if !bytes.is_empty() => match (bytes[0], &bytes[1..]) {
                (STDOUT, text) => {
                    output.bytes(text);
                    output.flush().await;
                }
                (STDERR, text) => {
                    output.err_bytes(text);
                    output.flush().await;
                }
                (STATUS, text) if status.len() + text.len() > STATUS_MAX => {
                    return fail("error reading from error stream: the status is too long");
                }
                (STATUS, text) => status.extend_from_slice(text),
                _ => {}
            },
            Some(Ok(Message::Close(_))) | Some(Err(_)) | None if !status.is_empty() => return Ok(status),
            Some(Ok(Message::Close(frame))) => return outcome::closed(frame).map(|()| status),
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(outcome::lost(error)),
            None => return Err(outcome::lost(tungstenite::Error::ConnectionClosed)),
        }
        // After the output was written: the time that its reader took is no silence of the server.
        line.hear();
    }
}

/// Sends input, sizes and pings; ends with an error only. A server that takes no more says so to
/// [`receive`].
async fn send(sink: &mut SplitSink<Socket, Message>, given: Given, line: &Line) -> Result<Infallible, Fail> {
    let Given { mut stdin, mut sizes, redraw } = given;
    if let Some(sizes) = &mut sizes {
        let (columns, rows) = *sizes.borrow_and_update();
        if redraw {
            sink.send(resized((columns.saturating_add(1), rows.saturating_add(1))))
                .await
                .map_err(outcome::lost)?;
        }
        sink.send(resized((columns, rows))).await.map_err(outcome::lost)?;
    }
    let mut buffer = vec![0u8; CHUNK];
    let mut ping = tokio::time::interval(PING_EVERY);
    loop {
        let reading = async {
            match &mut stdin {
                Some(stdin) => stdin.read(&mut buffer).await,
                None => std::future::pending().await,
            }
        };
        let changed = async {
            match &mut sizes {
                Some(sizes) => sizes.changed().await.map(|()| *sizes.borrow_and_update()),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            read = reading => match read {
                Ok(0) | Err(_) => {
                    stdin = None;
                    // An empty stdin may end after the process did.
                    let _ = sink.send(framed(CLOSE, &[STDIN])).await;
                }
                Ok(count) => {
                    line.blocked.store(true, Ordering::Relaxed);
                    let sent = sink.send(framed(STDIN, &buffer[..count])).await;
                    line.blocked.store(false, Ordering::Relaxed);
                    if sent.is_err() {
                        stdin = None;
                    }
                }
            },
            size = changed => match size {
                Ok(size) => { let _ = sink.send(resized(size)).await; }
                Err(_) => sizes = None,
            },
            _ = ping.tick() => { let _ = sink.send(Message::Ping(Default::default())).await; }
        }
    }
}

/// Copies one TCP connection to a pod's port: channel 0 is data, channel 1 an error, each opened by
/// the port's number.
///
/// A client that only closes its sending side still gets its answer: the close goes to the kubelet
/// as the message that `v5` has for it, which others ignore, and the pod's side is read until it
/// ends. A client that is gone altogether looks the same at first; TCP's keep-alive tells the two
/// apart.
///
/// Returns the error that the kubelet sent, if any: nothing listens on the pod's port.
///
/// # Errors
/// [`Fail::Text`]: the connection broke off on either side. The other connections of the forwarded
/// port go on.
pub(crate) async fn forward(socket: Socket, mut local: TcpStream) -> Result<Option<String>, Fail> {
    let _ = tcp::keep_alive(&local, KEEP_ALIVE); // without it only the pod's side ends the connection
    let (mut sink, mut source) = socket.split();
    let (mut reader, mut writer) = local.split();
    let inward = async {
        let mut opened = [false; 2];
        loop {
            match source.next().await {
                Some(Ok(Message::Binary(bytes))) if !bytes.is_empty() => {
                    let (channel, payload) = (bytes[0] as usize, &bytes[1..]);
                    if channel > 1 {
                        continue;
                    }
                    let first = !std::mem::replace(&mut opened[channel], true);
                    let payload = if first { payload.get(2..).unwrap_or_default() } else { payload };
                    match channel {
                        0 => writer.write_all(payload).await?,
                        _ if payload.is_empty() => {}
                        _ => return Ok(Some(String::from_utf8_lossy(payload).trim().to_string())),
                    }
                }
                Some(Ok(Message::Close(_))) | None => {
                    let _ = writer.shutdown().await; // the client may be gone
                    return Ok(None);
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return fail(error.to_string()),
            }
        }
    };
    let outward = async {
        let mut buffer = vec![0u8; CHUNK];
        let failed = |error: tungstenite::Error| Fail::Text(error.to_string());
        loop {
            match reader.read(&mut buffer).await {
                Ok(0) => {
                    sink.send(framed(CLOSE, &[0])).await.map_err(failed)?;
                    drop(reader.ready(Interest::ERROR).await);
                    return Ok(None);
                }
                Ok(count) => sink.send(framed(0, &buffer[..count])).await.map_err(failed)?,
                Err(_) => return Ok(None), // the client is gone
            }
        }
    };
    let outcome = tokio::select! { ended = inward => ended, gone = outward => gone };
    drop(tokio::time::timeout(CLOSING, sink.close()).await);
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kept::Kept;
    use crate::testing::pair;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    const LIMIT: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_process_that_writes_before_it_reads_on_does_not_hang() {
        let (near, far) = pair().await;
        let input = vec![7u8; 1 << 20];
        let kept = Kept::all();
        let output = Arc::new(Output::new(Box::new(kept.clone()), Box::new(tokio::io::sink())));
        let stdin: Box<dyn AsyncRead + Send + Unpin> = Box::new(std::io::Cursor::new(input));
        // For each message of input four of output, as `gunzip -c` has it, and none read while they
        // are written.
        let server = async move {
            let (mut sink, mut source) = far.split();
            let mut read = 0;
            while let Some(Ok(message)) = source.next().await {
                let Message::Binary(bytes) = message else { continue };
                match bytes[0] {
                    STDIN => {
                        read += bytes.len() - 1;
                        for _ in 0..4 {
                            sink.send(framed(STDOUT, &bytes[1..])).await.unwrap();
                        }
                    }
                    CLOSE => {
                        sink.send(framed(STATUS, br#"{"status":"Success"}"#)).await.unwrap();
                        sink.send(Message::Close(None)).await.unwrap();
                    }
                    _ => {}
                }
            }
            read
        };
        let given = Given { stdin: Some(stdin), sizes: None, redraw: false };
        let both = async { tokio::join!(process(near, given, &output), server) };
        let (done, read) = tokio::time::timeout(LIMIT, both).await.expect("neither side waits for the other");
        assert!(done.is_ok(), "{done:?}");
        assert_eq!((read, kept.take().len()), (1 << 20, 4 << 20));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_given_up_and_one_that_takes_no_input_is_not() {
        let output = Arc::new(Output::new(Box::new(tokio::io::sink()), Box::new(tokio::io::sink())));
        let (near, far) = pair().await;
        let stdin: Box<dyn AsyncRead + Send + Unpin> = Box::new(tokio::io::repeat(0));
        let given = Given { stdin: Some(stdin), sizes: None, redraw: false };
        let hour = Duration::from_secs(3600);
        assert!(tokio::time::timeout(hour, process(near, given, &output)).await.is_err(), "it still waits");
        drop(far);
        let (near, _far) = pair().await;
        let given = Given { stdin: None, sizes: None, redraw: false };
        let done = tokio::time::timeout(hour, process(near, given, &output)).await.expect("an end");
        assert!(done.is_err_and(|fail| fail.message().ends_with("i/o timeout")));
    }

    /// A client of a forwarded port, and the forward that serves it.
    async fn client(near: Socket) -> (TcpStream, tokio::task::JoinHandle<Result<Option<String>, Fail>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        (client, tokio::spawn(forward(near, accepted)))
    }

    #[tokio::test]
    async fn a_client_that_has_sent_all_still_gets_its_answer() {
        let (near, far) = pair().await;
        let (mut client, forward) = client(near).await;
        client.write_all(b"question").await.unwrap();
        client.shutdown().await.unwrap();
        let (mut sink, mut source) = far.split();
        assert_eq!(source.next().await.unwrap().unwrap(), framed(0, b"question"));
        assert_eq!(source.next().await.unwrap().unwrap(), framed(CLOSE, &[0]));
        sink.send(framed(0, b"\x50\x00")).await.unwrap(); // the port's number
        sink.send(framed(0, b"answer")).await.unwrap();
        sink.send(Message::Close(None)).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(LIMIT, client.read_to_string(&mut answer)).await.expect("an end").unwrap();
        assert_eq!(answer, "answer");
        assert!(forward.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn what_the_kubelet_refuses_is_reported() {
        let (near, far) = pair().await;
        let (_client, forward) = client(near).await;
        let (mut sink, _source) = far.split();
        sink.send(framed(1, b"\x50\x00")).await.unwrap(); // the port's number
        sink.send(framed(1, b"connection refused\n")).await.unwrap();
        let error = tokio::time::timeout(LIMIT, forward).await.expect("an end").unwrap();
        assert_eq!(error.unwrap().as_deref(), Some("connection refused"));
    }

    #[tokio::test]
    async fn a_client_that_is_gone_ends_its_connection() {
        let (near, far) = pair().await;
        let (mut client, forward) = client(near).await;
        client.shutdown().await.unwrap();
        let (_sink, mut source) = far.split();
        assert_eq!(source.next().await.unwrap().unwrap(), framed(CLOSE, &[0]));
        let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        nix::sys::socket::setsockopt(&client, nix::sys::socket::sockopt::Linger, &at_once).unwrap();
        drop(client);
        tokio::time::timeout(LIMIT, async { while let Some(Ok(_)) = source.next().await {} })
            .await
            .expect("the forward ends");
        assert!(forward.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_can_still_send() {
        let (near, far) = pair().await;
        let (mut client, _forward) = client(near).await;
        let (mut sink, mut source) = far.split();
        let flood = async {
            loop {
                sink.send(framed(0, &[1; CHUNK])).await.unwrap();
            }
        };
        let received = async {
            let mut count = 0;
            while count < 1 << 20 {
                count += source.next().await.unwrap().unwrap().len() - 1;
            }
        };
        let sent = async { client.write_all(&vec![2; 1 << 20]).await.unwrap() };
        let both = async { tokio::join!(received, sent) };
        tokio::select! {
            () = flood => {}
            done = tokio::time::timeout(LIMIT, both) => drop(done.expect("both directions move on their own")),
        }
    }
}
