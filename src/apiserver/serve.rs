//! Listeners: TCP, TLS, HTTP/1.1 and HTTP/2.

use super::Server;
use super::authn::Peer;
use super::http::{Body, BodyError, IDLE_MAX, failure, full, http_server};
use super::idle::{Activity, Answering};
use super::router;
use crate::linux::{descriptors, tcp};
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that running requests have to end when the server stops.
const DRAIN: Duration = Duration::from_millis(500);
/// A connection on which no request has begun this long after its handshake is closed, as upstream's for a request's head.
const FIRST_REQUEST: Duration = Duration::from_secs(32);
/// Time that an idle connection's client has to take its leave.
const LEAVE: Duration = Duration::from_secs(5);

/// Connections of one listener at a time: an eighth of the descriptors. At the bound new ones wait in the kernel's queue; those of a
/// source that has three fourths of them are closed.
struct Sources {
    most: usize,
    by_source: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection that counts for its source until it is dropped.
struct Counted {
    sources: Arc<Sources>,
    source: IpAddr,
}

impl Sources {
    fn new(most: usize) -> Arc<Sources> {
        Arc::new(Sources { most, by_source: Mutex::default() })
    }

    /// Counts one more connection of `source`; `None` if it has as many as it may.
    fn count(self: &Arc<Sources>, source: IpAddr) -> Option<Counted> {
        let mut by_source = self.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        let count = by_source.entry(source).or_insert(0);
        if *count >= self.most - self.most / 4 {
            return None;
        }
        *count += 1;
        Some(Counted { sources: self.clone(), source })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut by_source = self.sources.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = by_source.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                by_source.remove(&self.source);
            }
        }
    }
}

impl Server {
    /// Serves HTTPS on `listener` until `stop` is cancelled or the server itself stops. Several listeners may be served.
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
        let acceptor = TlsAcceptor::from(self.state.tls.clone());
        let mut connections: JoinSet<()> = JoinSet::new();
        let over = self.state.stop.child_token();
        let sources = Sources::new(descriptors::connections(descriptors::limit(), 8, 1));
        loop {
            let (tcp, from) = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = over.cancelled() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = tcp::accept(&listener), if connections.len() < sources.most => accepted,
            };
            let Some(counted) = sources.count(from.ip()) else { continue };
            let (server, acceptor, stop) = (self.clone(), acceptor.clone(), stop.clone());
            connections.spawn(async move {
                server.connection(tcp, acceptor, stop).await;
                drop(counted);
            });
        }
        let drained = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(DRAIN, drained).await;
        Ok(())
    }

    async fn connection(self, tcp: TcpStream, acceptor: TlsAcceptor, stop: CancellationToken) {
        let _ = tcp.set_nodelay(true);
        let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(tcp)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => return,
        };
        let certs = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let peer = Arc::new(Peer::of(&self.state.clients, certs));
        let (server, watch_stop, activity) = (self.clone(), stop.clone(), Activity::new());
        let active = activity.clone();
        let service = service_fn(move |request: http::Request<Incoming>| {
            let (server, peer, stop) = (server.clone(), peer.clone(), watch_stop.clone());
            let running = active.begin();
            let answer: BoxFuture<'static, Result<http::Response<Answering>, Infallible>> =
                Box::pin(async move {
                    let head = request.method() == http::Method::HEAD;
                    let request =
                        request.map(|b| -> Body { b.map_err(|e| BodyError(e.to_string())).boxed_unsync() });
                    let answer = match router::user_of(&server.state, &peer, &request) {
                        Ok(user) => router::serve(&server.state, &server.tap, request, user, stop).await,
                        Err(status) => failure(&status),
                    };
                    let answer = if head { answer.map(|_| full("")) } else { answer };
                    Ok(answer.map(|body| Answering { body, _running: running }))
                });
            answer
        });
        let http = http_server();
        let connection = http.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
            () = activity.is_idle(FIRST_REQUEST, IDLE_MAX) => {
                connection.as_mut().graceful_shutdown();
                match tokio::time::timeout(LEAVE, connection).await {
                    Ok(result) => result,
                    Err(_) => return, // the client does not even answer a ping
                }
            }
        };
        if let Err(error) = result {
            tracing::trace!(%error, "connection ended");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apiserver::testing;
    use crate::pki;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn no_source_takes_all_connections() {
        let sources = Sources::new(8);
        let (one, other): (IpAddr, IpAddr) = ("10.244.1.2".parse().unwrap(), "172.30.0.1".parse().unwrap());
        let mut held: Vec<_> = (0..6).map(|_| sources.count(one).unwrap()).collect();
        assert!(sources.count(one).is_none());
        assert!(sources.count(other).is_some());
        held.pop();
        held.push(sources.count(one).unwrap());
        assert!(sources.count(one).is_none());
        drop(held);
        assert!(sources.by_source.lock().unwrap().is_empty());
    }

    /// Silent after the handshake, or in the middle of HTTP/2's preface or of a head: none of them stays.
    #[tokio::test]
    async fn a_connection_that_says_nothing_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let fixture = testing::start(dir.path()).await;
        let address = fixture.kubeconfig.split("https://").nth(1).unwrap().split('\'').next().unwrap();
        let cases: [(&[&str], &str); 4] =
            [(&["h2"], ""), (&["h2"], "PRI * HT"), (&[], ""), (&[], "GET /healthz HTTP/1.1\r\nHost: ")];
        let mut streams = vec![];
        for (alpn, said) in cases {
            let tls = pki::client_config(None, fixture.ca.pem(), alpn).unwrap();
            let tcp = TcpStream::connect(address).await.unwrap();
            let connector = tokio_rustls::TlsConnector::from(tls);
            let mut stream = connector.connect(pki::server_name("127.0.0.1").unwrap(), tcp).await.unwrap();
            stream.write_all(said.as_bytes()).await.unwrap();
            let early = tokio::time::timeout(Duration::from_millis(50), stream.read_u8()).await;
            assert!(early.is_err(), "{said:?}: it is not sent away at once");
            streams.push((said, stream));
        }
        tokio::time::pause();
        for _ in 0..9 {
            tokio::time::advance(Duration::from_secs(5)).await;
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        }
        tokio::time::resume();
        for (said, mut stream) in streams {
            let mut rest = vec![];
            let end = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await;
            assert!(end.is_ok(), "{said:?}: the connection stays");
        }
    }
}
