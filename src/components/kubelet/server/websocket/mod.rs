//! Exec, attach and port-forward over WebSocket: `v5.channel.k8s.io`, `v4.channel.k8s.io` and
//! `channel.k8s.io`, which tells a failure as plain text; exec and attach also by the last two in
//! base64.
//!
//! Every message begins with its channel (`channel`): 0 stdin, 1 stdout, 2 stderr, 3 status, 4
//! resize, and in v5 255 "close that channel". The status is sent after all output, then the
//! closing handshake.

use super::channel::Coding;
use super::inward::{Inward, Queue, Stalled, WaitingBytes, stalled};
use super::lingering_close::{CLOSING, linger};
use super::remote_command::{Opening, StreamOptions, finish, size_of};
use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use task::Crew;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// Bytes of a process' output in one message.
const CHUNK: usize = 32 << 10;
/// Ports that one connection can forward: two channels each, and a channel's number is one byte.
pub(super) const PORTS_MAX: u8 = 128;
/// The channel of "close that channel": of v5, and here also of forwarded ports, whose protocol has
/// no half-close. Its number is odd, so other kubelets ignore it as an error of the client's that
/// says nothing.
const CLOSE: u8 = 255;
/// Bytes of a client's message: a session holds one in memory. kubectl and this program send 32 KiB
/// at most.
const MESSAGE_MAX: usize = 1 << 20;
/// Bytes that wait for a client which does not read: one message, or answers to its pings, of which
/// no more are kept. More than tungstenite collects before it writes, and more than any message to
/// a client.
const UNREAD_MAX: usize = 256 << 10;
/// A port that answers nothing more may still read for this time, as with containerd.
const HALF_CLOSED: Duration = Duration::from_secs(1);

/// Bounds on what a client sends, and on what waits for it. A connection whose message is longer
/// ends.
fn bounds() -> Option<WebSocketConfig> {
    let config = WebSocketConfig::default().max_write_buffer_size(UNREAD_MAX);
    Some(config.max_message_size(Some(MESSAGE_MAX)).max_frame_size(Some(MESSAGE_MAX)))
}

/// Sends a message as soon as the client has taken what was written before. Answers to pings are
/// put into the same buffer by the reading side, and a message that finds it full would be lost.
async fn send<S: Sink<Message> + Unpin>(sink: &mut S, message: Message) -> Result<(), S::Error> {
    sink.flush().await?;
    sink.send(message).await
}

/// Makes a message on this channel of forwarded ports, which are never in base64.
fn message(channel: u8, payload: &[u8]) -> Message {
    Coding::Binary.message(channel, payload)
}

/// Makes the message that begins the closing handshake.
fn close_message() -> Message {
    use tokio_tungstenite::tungstenite::protocol::CloseFrame;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
}

/// Returns the channel and the bytes of a message of forwarded ports.
fn payload(message: &Message) -> Option<(u8, Bytes)> {
    Coding::Binary.payload(message)
}

/// Copies a process' output to one channel until it ends. `wanted` false: reads and forgets, so
/// that the process never blocks.
async fn pump(
    mut from: cri::Reader,
    (coding, channel): (Coding, u8),
    wanted: bool,
    to: mpsc::Sender<Message>,
) {
    let mut buffer = vec![0; CHUNK];
    loop {
        match from.read(&mut buffer).await {
            Ok(0) | Err(_) => return, // a terminal ends with EIO
            Ok(count) if wanted => {
                if to.send(coding.message(channel, &buffer[..count])).await.is_err() {
                    return;
                }
            }
            Ok(_) => {}
        }
    }
}

/// Hands on the client's input and window sizes until the client leaves. From version 5 on a client
/// can say that its input has ended.
async fn listen<S, E>(
    mut source: S,
    protocol: &str,
    mut stdin: Option<cri::Writer>,
    resize: Option<mpsc::Sender<cri::Size>>,
) where
    S: Stream<Item = Result<Message, E>> + Unpin,
{
    let (coding, v5) = (Coding::of(protocol), protocol.starts_with("v5"));
    while let Some(Ok(next)) = source.next().await {
        let Some((channel, bytes)) = coding.payload(&next) else { continue };
        match channel {
            0 => {
                if let Some(pipe) = &mut stdin
                    && (pipe.write_all(&bytes).await.is_err() || pipe.flush().await.is_err())
                {
                    stdin = None;
                }
            }
            4 => {
                if let (Some(resize), Some(size)) = (&resize, size_of(&bytes)) {
                    let _ = resize.send(size).await;
                }
            }
            CLOSE if v5 && bytes.first() == Some(&0) => {
                if let Some(mut pipe) = stdin.take() {
                    let _ = pipe.shutdown().await;
                }
            }
            _ => {}
        }
    }
}

/// Waits for the client's answer to the closing handshake. A client that does not give it hears of
/// the end of the connection, once it has read what is before that.
async fn end_connection<I>(
    sink: SplitSink<WebSocketStream<I>, Message>,
    mut source: SplitStream<WebSocketStream<I>>,
) where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let answer = async { while let Some(Ok(_)) = source.next().await {} };
    let is_late = tokio::time::timeout(CLOSING, answer).await.is_err();
    if is_late && let Ok(stream) = sink.reunite(source) {
        linger(stream.into_inner()).await;
    }
}

/// Runs one exec or attach over the connection until either side is done. `hang_up` ends the
/// connection while a command still takes its input.
pub(super) async fn process<I>(
    io: I,
    protocol: &str,
    options: StreamOptions,
    open: Opening,
    hang_up: impl FnOnce(),
) where
    I: AsyncRead + AsyncWrite + Send + Unpin,
{
    let coding = Coding::of(protocol);
    let (mut sink, mut source) = WebSocketStream::from_raw_socket(io, Role::Server, bounds()).await.split();
    let session = match open.await {
        Ok(session) => session,
        Err(error) => {
            if let Some(status) = options.answer(protocol, Err(error.line())) {
                let _ = send(&mut sink, coding.message(3, &status)).await;
            }
            let _ = send(&mut sink, close_message()).await;
            return end_connection(sink, source).await;
        }
    };
    let (out, mut outgoing) = mpsc::channel::<Message>(64);
    let (stdin, resize) = (session.stdin.filter(|_| options.stdin), session.resize);
    let talking = async {
        let stderr = async {
            if let Some(stderr) = session.stderr {
                pump(stderr, (coding, 2), options.stderr && !options.tty, out.clone()).await;
            }
        };
        tokio::join!(pump(session.stdout, (coding, 1), options.stdout, out.clone()), stderr);
        let exit = session.exit.await.map_err(|_| "the process was lost".to_string());
        if let Some(status) = options.answer(protocol, exit) {
            let _ = out.send(coding.message(3, &status)).await;
        }
        let _ = out.send(close_message()).await;
        drop(out);
    };
    let talking = talking.fuse(); // it may have ended when the client leaves
    tokio::pin!(talking);
    let writing = async {
        while let Some(next) = outgoing.recv().await {
            if send(&mut sink, next).await.is_err() {
                return;
            }
        }
    };
    let has_left = tokio::select! {
        () = listen(&mut source, protocol, stdin, resize) => true,
        _ = async { tokio::join!(&mut talking, writing) } => false,
    };
    if has_left {
        drop((sink, source));
        hang_up(); // its client waits for the end of the connection
        let output = async { while outgoing.recv().await.is_some() {} };
        let rest = async {
            tokio::select! {
                () = talking => {}
                () = output => {}
            }
        };
        return finish(&options, rest).await;
    }
    end_connection(sink, source).await;
}

/// Joins a port of the sandbox to its two channels until it has answered all, or is given up.
async fn serve_port(
    runtime: Arc<dyn cri::Runtime>,
    sandbox: String,
    port: u16,
    inward: Inward,
    (data, error): (u8, u8),
    out: mpsc::Sender<Message>,
) {
    let stream = match runtime.port_forward(&sandbox, port).await {
        Ok(stream) => stream,
        Err(why) => return drop(out.send(message(error, why.line().as_bytes())).await),
    };
    let (reader, mut writer) = tokio::io::split(stream);
    let answers = pump(Box::pin(reader), (Coding::Binary, data), true, out.clone());
    let inwards = inward.write_to(&mut writer);
    tokio::pin!(answers, inwards);
    tokio::select! {
        () = &mut answers => drop(tokio::time::timeout(HALF_CLOSED, inwards).await),
        done = &mut inwards => match done {
            Ok(()) => answers.await,
            Err(Stalled) => drop(out.send(message(error, stalled(port).as_bytes())).await),
        },
    }
}

/// Puts what the client sends into the queues of its ports, until the client leaves.
async fn queue_messages<S, E>(mut source: S, queues: &[Queue])
where
    S: Stream<Item = Result<Message, E>> + Unpin,
{
    while let Some(Ok(next)) = source.next().await {
        let Some((channel, bytes)) = payload(&next) else { continue };
        if channel == CLOSE
            && let Some(done) = bytes.first().filter(|done| *done % 2 == 0)
            && let Some(queue) = queues.get(usize::from(done / 2))
        {
            // The client has sent all; what the pod still answers is copied until the pod ends.
            queue.end();
        } else if channel % 2 == 0
            && let Some(queue) = queues.get(usize::from(channel / 2))
        {
            queue.push(bytes.to_vec()).await;
        }
    }
}

/// Forwards ports as kube-rs and the Python client do it: channel 2i is the data, 2i+1 the error of
/// the i-th port; each channel begins with its port as two bytes, little-endian. A message on
/// [`CLOSE`] ends the client's side of a data channel.
pub(super) async fn ports<I>(io: I, runtime: Arc<dyn cri::Runtime>, sandbox: String, ports: Vec<u16>)
where
    I: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (mut sink, mut source) = WebSocketStream::from_raw_socket(io, Role::Server, bounds()).await.split();
    let (out, mut outgoing) = mpsc::channel::<Message>(64);
    // Everything that sends is beside the task that writes: any number of ports is announced
    // through a queue of any size.
    let talking = async {
        let waiting = WaitingBytes::default();
        let mut queues = Vec::new();
        let connections = futures::stream::FuturesUnordered::new();
        for (index, port) in (0_u8..PORTS_MAX).zip(ports) {
            let (data, error) = (2 * index, 2 * index + 1);
            let _ = out.send(message(data, &port.to_le_bytes())).await;
            let _ = out.send(message(error, &port.to_le_bytes())).await;
            let (queue, inward) = waiting.queue();
            queues.push(queue);
            // Beside the others: a program that accepts nothing keeps its own port waiting only.
            let (runtime, sandbox) = (runtime.clone(), sandbox.clone());
            connections.push(serve_port(runtime, sandbox, port, inward, (data, error), out.clone()));
        }
        drop(out);
        let listening = async {
            queue_messages(&mut source, &queues).await;
            // What the client sent before it left still reaches its ports.
            let _ = tokio::time::timeout(CLOSING, waiting.settled()).await;
        };
        tokio::pin!(listening);
        tokio::select! {
            () = &mut listening => return,
            () = connections.for_each(|()| async {}) => {}
        }
        listening.await; // while the client reads what is left, and until it answers the close frame
    };
    let writing = async {
        while let Some(next) = outgoing.recv().await {
            if send(&mut sink, next).await.is_err() {
                return;
            }
        }
        let _ = send(&mut sink, close_message()).await;
    };
    let has_left = {
        tokio::pin!(talking, writing);
        tokio::select! {
            // Messages that are still queued fail at once, or wait for a client that does not read.
            () = &mut talking => {
                let _ = tokio::time::timeout(CLOSING, &mut writing).await;
                true
            }
            () = &mut writing => tokio::time::timeout(CLOSING, &mut talking).await.is_ok(),
        }
    };
    if !has_left && let Ok(stream) = sink.reunite(source) {
        linger(stream.into_inner()).await;
    }
}

/// Joins a byte stream to WebSocket messages that hold it, cut at any point: kubectl 1.31 and later
/// put SPDY into them.
pub(super) fn tunnel<I>(crew: &Crew, io: I) -> DuplexStream
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (near, far) = tokio::io::duplex(256 << 10);
    // Ends with either side, and with the kubelet.
    crew.spawn(async move {
        let (mut sink, mut source) =
            WebSocketStream::from_raw_socket(io, Role::Server, bounds()).await.split();
        let (mut reader, mut writer) = tokio::io::split(far);
        let inward = async {
            while let Some(Ok(next)) = source.next().await {
                if let Message::Binary(bytes) = next
                    && writer.write_all(&bytes).await.is_err()
                {
                    return;
                }
            }
            let _ = writer.shutdown().await;
        };
        let outward = async {
            let mut buffer = vec![0; CHUNK];
            while let Ok(count) = reader.read(&mut buffer).await {
                if count == 0
                    || send(&mut sink, Message::Binary(buffer[..count].to_vec().into())).await.is_err()
                {
                    break;
                }
            }
            let _ = send(&mut sink, close_message()).await;
        };
        tokio::select! { () = inward => {}, () = outward => {} }
    });
    near
}

#[cfg(test)]
mod tests;
