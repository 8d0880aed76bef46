//! Exec, attach and port-forward over SPDY streams.

use super::spdy::{Frame, Reader, Writer};
use super::{Ask, Opening, size_of};
use crate::cri;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

const CHUNK: usize = 32 << 10;
/// All streams of an exec must be there within this time; also how long a goodbye may take.
const PATIENCE: Duration = Duration::from_secs(30);
const CLOSING: Duration = Duration::from_secs(5);

/// What the writing task puts on the wire.
enum Out {
    Reply(u32),
    Data(u32, Vec<u8>),
    Fin(u32, Vec<u8>),
    Ping(u32),
    GoAway(u32),
}

async fn write<W: AsyncWrite + Unpin>(io: W, mut outgoing: mpsc::Receiver<Out>) -> std::io::Result<()> {
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

/// Runs one exec or attach over the connection until either side is done.
pub async fn process<I>(io: I, protocol: &str, ask: Ask, open: Opening)
where
    I: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (read, written) = tokio::io::split(io);
    let mut reader = Reader::new(read);
    let (out, outgoing) = mpsc::channel::<Out>(64);
    let writing = write(written, outgoing);
    // Owns `out`: when it ends, the writer has written everything and ends too.
    let talking = async move {
        let mut streams: BTreeMap<String, u32> = BTreeMap::new();
        let wanted =
            1 + [ask.stdin, ask.stdout, ask.stderr && !ask.tty, ask.tty].iter().filter(|w| **w).count();
        let gathering = async {
            while streams.len() < wanted {
                match reader.next().await {
                    Ok(Some(Frame::SynStream { stream, headers, .. })) => {
                        streams.insert(headers.get("streamtype").cloned().unwrap_or_default(), stream);
                        let _ = out.send(Out::Reply(stream)).await;
                    }
                    Ok(Some(Frame::Ping { id })) => drop(out.send(Out::Ping(id)).await),
                    Ok(Some(Frame::GoAway)) | Ok(None) | Err(_) => return false,
                    Ok(Some(_)) => {}
                }
            }
            true
        };
        if tokio::time::timeout(PATIENCE, gathering).await != Ok(true) {
            return;
        }
        let of = |name: &str| streams.get(name).copied();
        let error = of("error").unwrap_or_default();
        let last = streams.values().copied().max().unwrap_or_default();
        let session = match open.await {
            Ok(session) => session,
            Err(why) => {
                let status = ask.answer(protocol, Err(why.to_string())).unwrap_or_default();
                let _ = out.send(Out::Fin(error, status)).await;
                let _ = out.send(Out::GoAway(last)).await;
                return;
            }
        };
        let (mut stdin, resize) = (session.stdin.filter(|_| ask.stdin), session.resize);
        let (stdin_stream, resize_stream) = (of("stdin"), of("resize"));
        let output = async {
            let stderr = async {
                if let Some(stderr) = session.stderr {
                    pump(stderr, of("stderr"), out.clone()).await;
                }
            };
            tokio::join!(pump(session.stdout, of("stdout"), out.clone()), stderr);
            let exit = session.exit.await.map_err(|_| "the process was lost".to_string());
            let status = ask.answer(protocol, exit).unwrap_or_default();
            let _ = out.send(Out::Fin(error, status)).await;
        };
        let input = async {
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
        };
        tokio::pin!(input);
        tokio::select! {
            () = &mut input => return, // the client is gone: the session ends with it
            () = output => {}
        }
        let _ = tokio::time::timeout(CLOSING, input).await;
    };
    let (_, _) = tokio::join!(talking, writing);
}

/// Serves any number of forwarded connections: a pair of streams each, joined by `requestid`.
pub async fn ports<I>(io: I, runtime: Arc<dyn cri::Runtime>, sandbox: String)
where
    I: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (read, written) = tokio::io::split(io);
    let mut reader = Reader::new(read);
    let (out, outgoing) = mpsc::channel::<Out>(64);
    let mut crew = tokio::task::JoinSet::new();
    let talking = async {
        let mut errors: BTreeMap<String, u32> = BTreeMap::new();
        let mut pipes: BTreeMap<u32, mpsc::Sender<Option<Vec<u8>>>> = BTreeMap::new();
        loop {
            match reader.next().await {
                Ok(Some(Frame::SynStream { stream, headers, .. })) => {
                    let _ = out.send(Out::Reply(stream)).await;
                    let id = headers.get("requestid").cloned().unwrap_or_default();
                    let port: u16 = headers.get("port").and_then(|p| p.parse().ok()).unwrap_or_default();
                    if headers.get("streamtype").map(String::as_str) == Some("error") {
                        errors.insert(id, stream);
                        continue;
                    }
                    let Some(error) = errors.remove(&id) else { continue };
                    let (pipe, inward) = mpsc::channel(64);
                    pipes.insert(stream, pipe);
                    let (runtime, sandbox, out) = (runtime.clone(), sandbox.clone(), out.clone());
                    crew.spawn(
                        async move { forward(runtime, sandbox, port, stream, error, inward, out).await },
                    );
                }
                Ok(Some(Frame::Data { stream, fin, bytes })) => {
                    if let Some(pipe) = pipes.get(&stream) {
                        if !bytes.is_empty() {
                            let _ = pipe.send(Some(bytes)).await;
                        }
                        if fin {
                            let _ = pipe.send(None).await;
                            pipes.remove(&stream);
                        }
                    }
                }
                Ok(Some(Frame::Reset { stream })) => drop(pipes.remove(&stream)),
                Ok(Some(Frame::Ping { id })) => drop(out.send(Out::Ping(id)).await),
                Ok(Some(Frame::GoAway)) | Ok(None) | Err(_) => return,
                Ok(Some(_)) => {}
            }
            while crew.try_join_next().is_some() {}
        }
    };
    tokio::select! {
        () = talking => {}
        _ = write(written, outgoing) => {}
    }
}

async fn forward(
    runtime: Arc<dyn cri::Runtime>,
    sandbox: String,
    port: u16,
    data: u32,
    error: u32,
    mut inward: mpsc::Receiver<Option<Vec<u8>>>,
    out: mpsc::Sender<Out>,
) {
    let connection = match runtime.port_forward(&sandbox, port).await {
        Ok(connection) => connection,
        Err(why) => {
            let text = format!("error forwarding port {port} to pod {sandbox}: {why}");
            let _ = out.send(Out::Fin(error, text.into_bytes())).await;
            let _ = out.send(Out::Fin(data, Vec::new())).await;
            return;
        }
    };
    let (reader, mut writer) = tokio::io::split(connection);
    let inwards = async {
        while let Some(Some(bytes)) = inward.recv().await {
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = writer.shutdown().await;
    };
    tokio::join!(pump(reader, Some(data), out.clone()), inwards);
    let _ = out.send(Out::Fin(error, Vec::new())).await;
}
