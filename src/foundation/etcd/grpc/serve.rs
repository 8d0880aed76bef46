//! Connections: mutual TLS, then HTTP/2, the only version of HTTP that is spoken here.

use super::face::Face;
use futures::future::BoxFuture; // compiled in this room once, not in each that awaits it
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use linux::connection_bounds::{Bounds, Callers};
use linux::{descriptors, tcp};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// Concurrent calls on one connection; more wait. etcd has no bound; its clients have certificates,
/// as here.
const STREAMS_MAX: u32 = 10_000;
/// Bytes that a client may send ahead of the member, on one stream (the largest request is smaller)
/// and on all of a connection.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
/// A handshake that takes longer is no client's.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// A connection on which nothing answers is found dead after at most ping + wait.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_WAIT: Duration = Duration::from_secs(20);

/// A connection on which no call has begun this long after its handshake is closed: the ping above
/// begins with the first frames only. A client that comes back for a call connects again.
const FIRST_CALL: Duration = Duration::from_secs(60);

/// Takes connections until the face's crew ends. `tls` must insist on a client's certificate.
///
/// The port has an eighth of the descriptors. Half of them are for connections whose clients have
/// not shown a certificate yet, of which the oldest makes room for a new one; the other half is for
/// clients, and one beyond it is refused.
pub fn serve(
    face: Arc<Face>,
    listener: TcpListener,
    tls: Arc<rustls::ServerConfig>,
) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        serve_at_most(descriptors::connections(descriptors::limit(), 8, 1), face, listener, tls).await;
    })
}

async fn serve_at_most(most: usize, face: Arc<Face>, listener: TcpListener, tls: Arc<rustls::ServerConfig>) {
    // A client that speaks HTTP/1.1 only is refused in the handshake, where it gets an alert.
    let mut tls = Arc::unwrap_or_clone(tls);
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let (acceptor, stop) = (TlsAcceptor::from(Arc::new(tls)), face.crew.token());
    // Every client of this machine calls from the same address.
    let strangers = most.div_ceil(2);
    let callers = Callers::new(Bounds { of_one: strangers, most: strangers }, []);
    let places = Arc::new(Semaphore::new(most - most / 2));
    loop {
        let (stream, peer) = tokio::select! {
            accepted = tcp::accept(&listener) => accepted,
            () = stop.cancelled() => return,
        };
        let (face, acceptor, crew) = (face.clone(), acceptor.clone(), face.crew.clone());
        let (caller, places) = (callers.admit(peer.ip()), places.clone());
        crew.spawn(async move {
            let shaken = caller.end.run_until_cancelled(shake_hands(acceptor, stream)).await;
            let talked = match shaken {
                Some(Ok(_)) if !caller.mark_known() => return, // another connection took its place
                Some(Ok(stream)) => match places.try_acquire_owned() {
                    Ok(_place) => talk(face, stream).await,
                    Err(_) => Err("there are too many connections".into()),
                },
                Some(Err(error)) => Err(error),
                None => return,
            };
            if let Err(error) = talked {
                tracing::debug!(%peer, error, "rejected connection");
            }
        });
    }
}

async fn shake_hands(acceptor: TlsAcceptor, stream: TcpStream) -> Result<TlsStream<TcpStream>, String> {
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    let shaken = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await;
    shaken.map_err(|e| e.to_string())?.map_err(|e| e.to_string())
}

async fn talk(
    face: Arc<Face>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<(), String> {
    let (stop, called) = (face.crew.token(), CancellationToken::new());
    let first = called.clone();
    let calls = service_fn(move |request| {
        first.cancel();
        face.clone().answer(request)
    });
    let mut http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_WAIT);
    let silent = async {
        if tokio::time::timeout(FIRST_CALL, called.cancelled()).await.is_ok() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        ended = http.serve_connection(TokioIo::new(stream), calls) => ended.map_err(|e| e.to_string()),
        () = silent => Err(format!("no call came in {} s", FIRST_CALL.as_secs())),
        () = stop.cancelled() => Ok(()), // open streams would never let it end by itself
    }
}

#[cfg(test)]
mod tests {
    use super::super::fuzz::{One, framed};
    use super::*;
    use bytes::Bytes;
    use http_body_util::Full;
    use hyper::client::conn::http2::{self, SendRequest};
    use pki::{self, Ca, Subject};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A program of this machine opens as many connections as there may be, and more, and says
    /// nothing. A client with a certificate is served all the same, and keeps its connection while
    /// the flood goes on.
    #[test]
    fn silent_connections_keep_no_client_out() {
        const MOST: usize = 16;
        let one = One::start();
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "etcd").unwrap();
        let identity = ca.issue(&Subject::server("m", &["localhost", "127.0.0.1"])).unwrap();
        let tls = pki::mutual_server_config(&identity, ca.pem()).unwrap();
        let client = ca.issue(&Subject::client("etcdctl", "")).unwrap();
        let connector = pki::client_config(Some(&client), ca.pem(), &["h2"]).unwrap();
        let face = one.face.clone();
        one.runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let serving = tokio::spawn(serve_at_most(MOST, face, listener, tls));
            let dial = async || TcpStream::connect(address).await.unwrap();
            let call = async || {
                let (connector, name) = (connector.clone(), pki::server_name("localhost").unwrap());
                let tls =
                    tokio_rustls::TlsConnector::from(connector).connect(name, dial().await).await.ok()?;
                let shaken = http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await;
                let (sender, connection): (SendRequest<Full<Bytes>>, _) = shaken.ok()?;
                tokio::spawn(connection);
                Some(sender)
            };
            let ask = async |sender: &mut SendRequest<Full<Bytes>>| {
                let uri = format!("https://{address}/etcdserverpb.Maintenance/Status");
                let request = http::Request::post(uri).header("content-type", "application/grpc");
                let body = Full::new(Bytes::from(framed(&[])));
                let answer = sender.send_request(request.body(body).unwrap()).await.ok()?;
                Some(answer.status().as_u16())
            };
            let mut silent = vec![];
            for _ in 0..3 * MOST {
                silent.push(dial().await);
            }
            let connected = tokio::time::timeout(HANDSHAKE / 2, call()).await;
            let mut sender = connected.expect("it waits for the silent ones").unwrap();
            assert_eq!(ask(&mut sender).await, Some(200));
            for _ in 0..3 * MOST {
                silent.push(dial().await);
            }
            // The oldest silent ones were closed at once, long before the time of their handshake
            // is over.
            let mut byte = [0];
            let closed = tokio::time::timeout(HANDSHAKE / 2, silent[0].read(&mut byte)).await;
            assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{closed:?}");
            assert_eq!(ask(&mut sender).await, Some(200), "the flood took its connection");
            // Clients have a bound as well: one beyond it is refused, and the others go on.
            let mut clients = vec![];
            for _ in 0..MOST {
                clients.extend(call().await);
            }
            let mut served = 0;
            for client in &mut clients {
                served += usize::from(ask(client).await.is_some());
            }
            assert_eq!(served, MOST / 2 - 1);
            assert_eq!(ask(&mut sender).await, Some(200));
            serving.abort();
        });
    }

    /// It would take the connection, and lose it without an answer.
    #[test]
    fn a_client_of_http_1_is_refused_in_the_handshake() {
        let one = One::start();
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "etcd").unwrap();
        let identity = ca.issue(&Subject::server("m", &["localhost"])).unwrap();
        let tls = pki::mutual_server_config(&identity, ca.pem()).unwrap();
        let client = ca.issue(&Subject::client("curl", "")).unwrap();
        let face = one.face.clone();
        one.runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let serving = tokio::spawn(serve_at_most(4, face, listener, tls));
            for (protocols, taken) in [(&["http/1.1"][..], false), (&["h2", "http/1.1"], true)] {
                let connector = pki::client_config(Some(&client), ca.pem(), protocols).unwrap();
                let (connector, name) =
                    (tokio_rustls::TlsConnector::from(connector), pki::server_name("localhost").unwrap());
                let shaken = connector.connect(name, TcpStream::connect(address).await.unwrap());
                let shaken = tokio::time::timeout(HANDSHAKE, shaken).await.unwrap();
                assert_eq!(shaken.is_ok(), taken, "{protocols:?}");
            }
            serving.abort();
        });
    }

    /// A client with a certificate that never speaks HTTP/2: hyper pings nothing before the first
    /// frames.
    #[test]
    fn a_connection_without_a_call_is_closed() {
        let one = One::start();
        one.runtime.block_on(async {
            tokio::time::pause();
            for said in ["", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
                let (mut client, server) = tokio::io::duplex(1024);
                client.write_all(said.as_bytes()).await.unwrap();
                let ended = tokio::time::timeout(2 * FIRST_CALL, talk(one.face.clone(), server)).await;
                assert!(ended.expect("it stays for ever").is_err());
            }
        });
    }
}
