//! Exec, attach and port-forward over SPDY streams.

use super::inward::{Inward, Queue, Stalled, WaitingBytes, stalled};
use super::lingering_close::CLOSING;
use super::remote_command::{OLDEST, Opening, StreamOptions, finish, size_of};
use super::spdy::{Frame, Reader, Writer};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

const CHUNK: usize = 32 << 10;
/// All streams of an exec must be there within this time.
const STREAMS_TIMEOUT: Duration = Duration::from_secs(30);
/// Forwarded connections of one client's connection at a time. One more is refused on its error
/// stream.
const PAIRS_MAX: usize = 256;
/// Entries of [`Unpaired`], and bytes of the `requestid` that joins two streams. Beyond it the
/// connection ends.
const UNPAIRED_MAX: usize = 256;
const REQUEST_ID_MAX: usize = 1 << 10;

/// A frame that the writing task puts on the wire.
enum Out {
    Reply(u32),
    Data(u32, Vec<u8>),
    Fin(u32, Vec<u8>),
    Ping(u32),
    GoAway(u32),
}

async fn write<W: AsyncWrite + Unpin>(io: W, outgoing: &mut mpsc::Receiver<Out>) -> std::io::Result<()> {
    let mut writer = Writer::new(io);
    while let Some(out) = outgoing.recv().await {
        match out {
            Out::Reply(stream) => writer.reply(stream).await?,
            Out::Data(stream, bytes) => writer.data(stream, &bytes, false).await?,
            Out::Fin(stream, bytes) => writer.data(stream, &bytes, true).await?,
            Out::Ping(id) => writer.ping(id).await?,
            Out::GoAway(last) => writer.go_away(last).await?,
        }
    }
    writer.shutdown().await
}

/// Writes until every sender is gone. Once the client has left, what it would get is dropped: no
/// program waits for it, and what it sent before is still read.
async fn write_or_drop<W: AsyncWrite + Unpin>(io: W, mut outgoing: mpsc::Receiver<Out>) {
    if write(io, &mut outgoing).await.is_err() {
        while outgoing.recv().await.is_some() {}
    }
}

async fn pump<R: AsyncRead + Unpin>(mut from: R, stream: Option<u32>, to: mpsc::Sender<Out>) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(count) = from.read(&mut buffer).await {
        if count == 0 {
            break;
        }
        if let Some(stream) = stream
            && to.send(Out::Data(stream, buffer[..count].to_vec())).await.is_err()
        {
            return;
        }
    }
    if let Some(stream) = stream {
        let _ = to.send(Out::Fin(stream, Vec::new())).await;
    }
}

/// Waits for the streams of a session and returns their numbers by type. `None`: the client has
/// left.
async fn gather<R: AsyncRead + Unpin>(
    reader: &mut Reader<R>,
    out: &mpsc::Sender<Out>,
    wanted: usize,
) -> Option<BTreeMap<String, u32>> {
    let mut streams = BTreeMap::new();
    while streams.len() < wanted {
        match reader.next().await {
            Ok(Some(Frame::SynStream { stream, headers, .. })) => {
                streams.insert(headers.get("streamtype").cloned().unwrap_or_default(), stream);
                let _ = out.send(Out::Reply(stream)).await;
            }
            Ok(Some(Frame::Ping { id })) => drop(out.send(Out::Ping(id)).await),
            Ok(Some(Frame::GoAway)) | Ok(None) | Err(_) => return None,
            Ok(Some(_)) => {}
        }
    }
    Some(streams)
}

/// Hands on the client's input and window sizes, each from its stream, until the client leaves.
async fn listen<R: AsyncRead + Unpin>(
    reader: &mut Reader<R>,
    out: &mpsc::Sender<Out>,
    (stdin_stream, mut stdin): (Option<u32>, Option<cri::Writer>),
    (resize_stream, resize): (Option<u32>, Option<mpsc::Sender<cri::Size>>),
) {
    loop {
        match reader.next().await {
            Ok(Some(Frame::Data { stream, fin, bytes })) => {
                if Some(stream) == stdin_stream {
                    if let Some(pipe) = &mut stdin
                        && (pipe.write_all(&bytes).await.is_err() || pipe.flush().await.is_err())
                    {
                        stdin = None;
                    }
                    if fin && let Some(mut pipe) = stdin.take() {
                        let _ = pipe.shutdown().await;
                    }
                } else if Some(stream) == resize_stream
                    && let (Some(resize), Some(size)) = (&resize, size_of(&bytes))
                {
                    let _ = resize.send(size).await;
                }
            }
            Ok(Some(Frame::Ping { id })) => drop(out.send(Out::Ping(id)).await),
            Ok(Some(Frame::GoAway)) | Ok(None) | Err(_) => return,
            Ok(Some(_)) => {}
        }
    }
}

/// Reads and forgets what the client sends until it has left, while it may still read
/// ([`super::lingering_close`]).
async fn linger<R: AsyncRead + Unpin>(reader: &mut Reader<R>) {
    while let Ok(Some(_)) = reader.next().await {}
}

/// Runs one exec or attach over the connection until either side is done. A client of the oldest
/// protocol has no stream for the size of its terminal (`supportsTerminalResizing` upstream).
pub(super) async fn process<I>(io: I, protocol: &str, options: StreamOptions, open: Opening)
where
    I: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (read, written) = tokio::io::split(io);
    let mut reader = Reader::new(read);
    let (out, outgoing) = mpsc::channel::<Out>(64);
    let writing = write_or_drop(written, outgoing);
    // Owns `out`: once that is dropped, the writer writes everything and ends its direction.
    let talking = async move {
        let resizes = options.tty && protocol != OLDEST;
        let wanted = 1 + [options.stdin, options.stdout, options.stderr && !options.tty, resizes]
            .iter()
            .filter(|w| **w)
            .count();
        let gathering = gather(&mut reader, &out, wanted);
        let Ok(Some(streams)) = tokio::time::timeout(STREAMS_TIMEOUT, gathering).await else { return };
        let of = |name: &str| streams.get(name).copied();
        let error = of("error").unwrap_or_default();
        let last = streams.values().copied().max().unwrap_or_default();
        let session = match open.await {
            Ok(session) => session,
            Err(why) => {
                let status = options.answer(protocol, Err(why.line())).unwrap_or_default();
                let _ = out.send(Out::Fin(error, status)).await;
                let _ = out.send(Out::GoAway(last)).await;
                drop(out);
                return linger(&mut reader).await; // it may be sending its input
            }
        };
        let has_left = {
            let stdin = (of("stdin"), session.stdin.filter(|_| options.stdin));
            let input = listen(&mut reader, &out, stdin, (of("resize"), session.resize));
            let output = async {
                let stderr = async {
                    if let Some(stderr) = session.stderr {
                        pump(stderr, of("stderr"), out.clone()).await;
                    }
                };
                tokio::join!(pump(session.stdout, of("stdout"), out.clone()), stderr);
                let exit = session.exit.await.map_err(|_| "the process was lost".to_string());
                let status = options.answer(protocol, exit).unwrap_or_default();
                let _ = out.send(Out::Fin(error, status)).await;
            };
            tokio::pin!(input, output);
            tokio::select! {
                () = &mut input => {
                    finish(&options, output).await;
                    true
                }
                () = &mut output => tokio::time::timeout(CLOSING, input).await.is_ok(),
            }
        };
        drop(out);
        if !has_left {
            linger(&mut reader).await;
        }
    };
    tokio::join!(talking, writing);
}

/// One forwarded connection.
struct Pair {
    /// Takes the client's bytes, until it has sent all.
    queue: Option<Queue>,
    /// The client has reset the data stream: it reads no more of it, but waits for the end of the
    /// error stream. Source: `handleConnection` in client-go's `tools/portforward`.
    reset: CancellationToken,
    /// Ends with the connection to the port.
    task: AbortHandle,
}

impl Pair {
    /// Hands on what the client sent; `fin`: it was the last.
    async fn push(&mut self, bytes: Vec<u8>, fin: bool) {
        let Some(queue) = &self.queue else { return };
        if !bytes.is_empty() {
            queue.push(bytes).await;
        }
        if fin {
            queue.end();
            self.queue = None;
        }
    }
}

/// Streams whose partner has not come yet, by `requestid`: whether it is the error stream, and its
/// number.
type Unpaired = BTreeMap<String, (bool, u32)>;

/// Returns the data stream and the error stream of a connection as soon as both have come, in
/// either order: client-go opens the error stream first, others need not.
fn join(unpaired: &mut Unpaired, id: String, is_error: bool, stream: u32) -> Option<(u32, u32)> {
    match unpaired.remove(&id) {
        Some((false, data)) if is_error => Some((data, stream)),
        Some((true, error)) if !is_error => Some((stream, error)),
        _ => {
            unpaired.insert(id, (is_error, stream));
            None
        }
    }
}

/// Serves any number of forwarded connections: a pair of streams each, joined by `requestid`.
pub(super) async fn ports<I>(io: I, runtime: Arc<dyn cri::Runtime>, sandbox: String)
where
    I: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (read, written) = tokio::io::split(io);
    let mut reader = Reader::new(read);
    let (out, outgoing) = mpsc::channel::<Out>(64);
    let mut crew = tokio::task::JoinSet::new();
    let waiting = WaitingBytes::default();
    let talking = async {
        let mut unpaired = Unpaired::new();
        let mut pairs: BTreeMap<u32, Pair> = BTreeMap::new();
        loop {
            match reader.next().await {
                Ok(Some(Frame::SynStream { stream, headers, .. })) => {
                    let _ = out.send(Out::Reply(stream)).await;
                    let id = headers.get("requestid").cloned().unwrap_or_default();
                    if id.len() > REQUEST_ID_MAX {
                        return;
                    }
                    let port: u16 = headers.get("port").and_then(|p| p.parse().ok()).unwrap_or_default();
                    let is_error = headers.get("streamtype").is_some_and(|kind| kind == "error");
                    let Some((stream, error)) = join(&mut unpaired, id, is_error, stream) else {
                        if unpaired.len() > UNPAIRED_MAX {
                            return;
                        }
                        continue;
                    };
                    pairs.retain(|_, pair| !pair.task.is_finished());
                    if crew.len() >= PAIRS_MAX {
                        let text = format!("at most {PAIRS_MAX} connections can be forwarded at a time");
                        let _ = out.send(Out::Fin(error, text.into_bytes())).await;
                        let _ = out.send(Out::Fin(stream, Vec::new())).await;
                        continue;
                    }
                    let (queue, inward) = waiting.queue();
                    let (runtime, sandbox, out) = (runtime.clone(), sandbox.clone(), out.clone());
                    let (reset, streams) = (CancellationToken::new(), (stream, error));
                    let until = reset.clone();
                    let task = crew.spawn(async move {
                        forward(runtime, sandbox, port, streams, inward, until, out).await
                    });
                    pairs.insert(stream, Pair { queue: Some(queue), reset, task });
                }
                Ok(Some(Frame::Data { stream, fin, bytes })) => {
                    if let Some(pair) = pairs.get_mut(&stream) {
                        pair.push(bytes, fin).await;
                    }
                }
                Ok(Some(Frame::Reset { stream })) => {
                    if let Some(pair) = pairs.remove(&stream) {
                        pair.reset.cancel();
                    }
                }
                Ok(Some(Frame::Ping { id })) => drop(out.send(Out::Ping(id)).await),
                Ok(Some(Frame::GoAway)) | Ok(None) | Err(_) => return,
                Ok(Some(_)) => {}
            }
            while crew.try_join_next().is_some() {}
        }
    };
    tokio::select! {
        // What the client sent before it left still reaches its ports.
        () = talking => drop(tokio::time::timeout(CLOSING, waiting.settled()).await),
        () = write_or_drop(written, outgoing) => {}
    }
}

/// Joins a port to its two streams until both sides have sent all, the port is given up, or the
/// client resets the data stream (`reset`). Then nothing more is read from the port, which may
/// never stop writing; it still gets what the client sent before, if it takes that soon.
async fn forward(
    runtime: Arc<dyn cri::Runtime>,
    sandbox: String,
    port: u16,
    (data, error): (u32, u32),
    inward: Inward,
    reset: CancellationToken,
    out: mpsc::Sender<Out>,
) {
    let connection = match runtime.port_forward(&sandbox, port).await {
        Ok(connection) => connection,
        Err(why) => {
            let text = format!("error forwarding port {port} to pod {sandbox}: {}", why.line());
            let _ = out.send(Out::Fin(error, text.into_bytes())).await;
            let _ = out.send(Out::Fin(data, Vec::new())).await;
            return;
        }
    };
    let (reader, mut writer) = tokio::io::split(connection);
    let answers = async {
        tokio::select! {
            () = pump(reader, Some(data), out.clone()) => {}
            () = reset.cancelled() => {}
        }
        Ok::<(), Stalled>(())
    };
    let late = async {
        reset.cancelled().await;
        clock::pause(CLOSING).await;
    };
    let inwards = async {
        tokio::select! {
            done = inward.write_to(&mut writer) => done,
            () = late => Ok(()),
        }
    };
    match futures::future::try_join(inwards, answers).await {
        Ok(_) => drop(out.send(Out::Fin(error, Vec::new())).await),
        Err(Stalled) => {
            let _ = out.send(Out::Fin(error, stalled(port).into_bytes())).await;
            let _ = out.send(Out::Fin(data, Vec::new())).await;
        }
    }
}

#[cfg(test)]
mod tests;
