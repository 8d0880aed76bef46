//! Connections: mutual TLS, then HTTP/2.

use super::Face;
use crate::linux::{descriptors, tcp};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// Concurrent calls on one connection; more wait. etcd has no bound; its clients have certificates, as here.
const STREAMS_MAX: u32 = 10_000;
/// Bytes that a client may send ahead of the member, on one stream (the largest request is smaller) and on all of a connection.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
/// A handshake that takes longer is no client's.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A connection on which nothing answers is found dead after at most ping + wait.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_WAIT: Duration = Duration::from_secs(20);

/// Takes connections until the face's crew ends. `tls` must insist on a client's certificate.
pub async fn serve(face: Arc<Face>, listener: TcpListener, tls: Arc<rustls::ServerConfig>) {
    let (acceptor, stop) = (TlsAcceptor::from(tls), face.crew.token());
    // An eighth of the descriptors. At the bound new connections wait in the kernel's queue.
    let places = Arc::new(Semaphore::new(descriptors::connections(descriptors::limit(), 8, 1)));
    loop {
        let accept = async {
            let place = places.clone().acquire_owned().await;
            (tcp::accept(&listener).await, place)
        };
        let ((stream, peer), place) = tokio::select! {
            accepted = accept => accepted,
            () = stop.cancelled() => return,
        };
        let (face, acceptor, crew) = (face.clone(), acceptor.clone(), face.crew.clone());
        crew.spawn(async move {
            if let Err(error) = talk(face, acceptor, stream).await {
                tracing::debug!(%peer, error, "rejected connection");
            }
            drop(place);
        });
    }
}

async fn talk(face: Arc<Face>, acceptor: TlsAcceptor, stream: TcpStream) -> Result<(), String> {
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    let shaken = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await;
    let stream = shaken.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
    let stop = face.crew.token();
    let calls = service_fn(move |request| face.clone().answer(request));
    let mut http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_WAIT);
    tokio::select! {
        ended = http.serve_connection(TokioIo::new(stream), calls) => ended.map_err(|e| e.to_string()),
        () = stop.cancelled() => Ok(()), // open streams would never let it end by itself
    }
}
