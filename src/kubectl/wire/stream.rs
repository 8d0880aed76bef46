//! Upgraded connections: a remote process over WebSocket (`v5.channel.k8s.io`), and port-forwards.

use super::api::{Api, Query};
use super::http::{Dial, Duplex, fail_of};
use crate::api::value;
use crate::kubectl::error::{Fail, Refusal, text};
use crate::kubectl::output::Output;
use futures::{SinkExt, StreamExt};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// The server is asked for a sign of life this often.
const PING_EVERY: Duration = Duration::from_secs(5);
/// A server that has not even answered the pings for so long is gone (client-go's).
const SILENCE: Duration = Duration::from_secs(61);
const CHUNK: usize = 32 << 10;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

pub type Socket = WebSocketStream<Box<dyn Duplex>>;

/// Opens a WebSocket with one of `protocols`; a refusal is the server's own.
pub async fn connect(api: &Api, path: &str, query: Query<'_>, protocols: &str) -> Result<Socket, Fail> {
    let target = api.target().clone();
    let dial = Dial::new(target.clone(), &[])?;
    let (io, _) = dial.connect().await.map_err(|e| fail_of(&target, &e))?;
    let transport = |e: hyper::Error| fail_of(&target, &e);
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
    for (name, header) in api.headers() {
        request.headers_mut().append(name, header.clone());
    }
    let response = sender.send_request(request).await.map_err(transport)?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let code = response.status().as_u16();
        let body = response.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        driver.abort();
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

/// What a remote process is given.
pub struct Given {
    pub stdin: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Sizes of the terminal, if the process has one.
    pub sizes: Option<watch::Receiver<(u16, u16)>>,
    /// First tell a wrong size, so that the program redraws (attach).
    pub redraw: bool,
}

fn framed(channel: u8, payload: &[u8]) -> Message {
    let mut bytes = Vec::with_capacity(payload.len() + 1);
    bytes.push(channel);
    bytes.extend_from_slice(payload);
    Message::Binary(bytes.into())
}

fn resized((columns, rows): (u16, u16)) -> Message {
    framed(RESIZE, format!("{{\"Width\":{columns},\"Height\":{rows}}}\n").as_bytes())
}

/// Copies streams both ways until the process has ended. A non-zero exit code is [`Fail::Coded`].
pub async fn process(socket: Socket, given: Given, output: &Arc<Output>) -> Result<(), Fail> {
    let (mut sink, mut source) = socket.split();
    let lost = |e: tokio_tungstenite::tungstenite::Error| {
        Fail::Text(format!("error reading from error stream: {e}"))
    };
    let mut sizes = given.sizes;
    if let Some(sizes) = &mut sizes {
        let (columns, rows) = *sizes.borrow_and_update();
        if given.redraw {
            sink.send(resized((columns.saturating_add(1), rows.saturating_add(1)))).await.map_err(lost)?;
        }
        sink.send(resized((columns, rows))).await.map_err(lost)?;
    }
    let mut stdin = given.stdin;
    let mut buffer = vec![0u8; CHUNK];
    let mut status: Option<Value> = None;
    let mut ping = tokio::time::interval(PING_EVERY);
    let mut heard = Instant::now();
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
            message = source.next() => { heard = Instant::now(); match message {
                Some(Ok(Message::Binary(bytes))) if !bytes.is_empty() => match (bytes[0], &bytes[1..]) {
                    (STDOUT, text) => { output.bytes(text); output.flush().await; }
                    (STDERR, text) => { output.err_bytes(text); output.flush().await; }
                    (STATUS, text) => status = serde_json::from_slice(text).ok(),
                    _ => {}
                },
                Some(Ok(Message::Close(_))) => { let _ = sink.close().await; break; }
                Some(Ok(_)) => {}
                None => break,
                Some(Err(_)) if status.is_some() => break,
                Some(Err(error)) => return Err(lost(error)),
            } },
            () = tokio::time::sleep_until(heard + SILENCE) => {
                return text("error reading from error stream: i/o timeout");
            }
            read = reading => match read {
                Ok(0) | Err(_) => {
                    stdin = None;
                    // An empty stdin may end after the process did.
                    let _ = sink.send(framed(CLOSE, &[STDIN])).await;
                }
                Ok(count) => {
                    if sink.send(framed(STDIN, &buffer[..count])).await.is_err() {
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
    ended(status)
}

fn ended(status: Option<Value>) -> Result<(), Fail> {
    let Some(status) = status else { return Ok(()) };
    match value::text(&status, "status") {
        "Success" => Ok(()),
        "Failure" if value::text(&status, "reason") == "NonZeroExitCode" => {
            let causes = value::list(&status, "details.causes");
            let code = causes.iter().find(|c| value::text(c, "reason") == "ExitCode");
            match code.and_then(|c| value::text(c, "message").parse::<i32>().ok()) {
                Some(code) => Err(Fail::Coded(format!("command terminated with exit code {code}"), code)),
                None => text("error stream protocol error: no ExitCode cause given"),
            }
        }
        "Failure" => text(value::text(&status, "message")),
        _ => text("error stream protocol error: unknown error"),
    }
}

/// Copies one TCP connection to a pod's port: channel 0 is data, channel 1 an error, each opened by the port's number.
pub async fn forward<S>(socket: Socket, mut local: S) -> Result<(), Fail>
where
    S: AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    use tokio::io::AsyncWriteExt;
    let (mut sink, mut source) = socket.split();
    let mut buffer = vec![0u8; CHUNK];
    let mut opened = [false; 2];
    let mut open = true;
    loop {
        tokio::select! {
            message = source.next() => match message {
                Some(Ok(Message::Binary(bytes))) if !bytes.is_empty() => {
                    let (channel, payload) = (bytes[0] as usize, &bytes[1..]);
                    if channel > 1 {
                        continue;
                    }
                    let payload = if std::mem::replace(&mut opened[channel], true) { payload } else { payload.get(2..).unwrap_or_default() };
                    match channel {
                        0 => local.write_all(payload).await?,
                        _ if payload.is_empty() => {}
                        _ => return text(String::from_utf8_lossy(payload).trim().to_string()),
                    }
                }
                Some(Ok(Message::Close(_))) | None => { let _ = local.shutdown().await; return Ok(()); }
                Some(Ok(_)) => {}
                Some(Err(error)) => return text(error.to_string()),
            },
            read = local.read(&mut buffer), if open => match read {
                Ok(0) | Err(_) => {
                    open = false;
                    let _ = sink.close().await;
                }
                Ok(count) => sink.send(framed(0, &buffer[..count])).await.map_err(|e| Fail::Text(e.to_string()))?,
            },
        }
    }
}
