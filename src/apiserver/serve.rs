//! Listeners: TCP, TLS, HTTP/1.1 and HTTP/2.

use super::authn::Peer;
use super::connections::{Connections, Counted};
use super::http::{Answer, Body, BodyError, IDLE_MAX, failure, full, holding, http_server};
use super::{Server, bounds, router};
use crate::linux::{descriptors, tcp};
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
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

impl Server {
    /// Serves HTTPS on `listener` until `stop` is cancelled or the server itself stops. Several listeners may be served.
    ///
    /// A listener has an eighth of the descriptors. At the bound the oldest connection that has not said who it is makes room;
    /// if there is none, new ones wait in the kernel's queue. No account has more than half (see `connections`).
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
        self.serve_at_most(descriptors::connections(descriptors::limit(), 8, 1), listener, stop).await
    }

    async fn serve_at_most(
        &self,
        most: usize,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> io::Result<()> {
        let acceptor = TlsAcceptor::from(self.state.tls.clone());
        let mut connections: JoinSet<()> = JoinSet::new();
        let over = self.state.stop.child_token();
        let admitted = Connections::new(most, self.state.known.clone());
        loop {
            let (tcp, from) = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = over.cancelled() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = tcp::accept(&listener), if admitted.has_room() => accepted,
            };
            let Some(counted) = admitted.admit(from) else { continue };
            let (server, acceptor, stop) = (self.clone(), acceptor.clone(), stop.clone());
            connections.spawn(async move {
                let end = counted.end.clone();
                let _ = end.run_until_cancelled(server.connection(tcp, acceptor, stop, counted)).await;
            });
        }
        let drained = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(DRAIN, drained).await;
        Ok(())
    }

    async fn connection(
        self,
        tcp: TcpStream,
        acceptor: TlsAcceptor,
        stop: CancellationToken,
        counted: Counted,
    ) {
        let _ = tcp.set_nodelay(true);
        let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(tcp)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => return,
        };
        let certs = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let peer = Arc::new(Peer::of(&self.state.clients, certs));
        if let Peer::User(user, _) = &*peer {
            counted.mark_known(user); // asked again with each request
        }
        let counted = Arc::new(counted);
        let (server, watch_stop, activity) = (self.clone(), stop.clone(), counted.activity.clone());
        let active = activity.clone();
        let service = service_fn(move |request: http::Request<Incoming>| {
            let (server, peer, stop) = (server.clone(), peer.clone(), watch_stop.clone());
            let counted = counted.clone();
            let running = active.begin();
            let answer: BoxFuture<'static, Result<Answer, Infallible>> = Box::pin(async move {
                let head = request.method() == http::Method::HEAD;
                let request =
                    request.map(|b| -> Body { b.map_err(|e| BodyError(e.to_string())).boxed_unsync() });
                let answer = match router::user_of(&server.state, &peer, &request) {
                    Ok(user) if !user.is_anonymous() && !counted.mark_known(&user) => {
                        failure(&bounds::too_many()) // its account has too many connections
                    }
                    Ok(user) => router::serve(&server.state, &server.tap, request, user, stop).await,
                    Err(status) => failure(&status),
                };
                let answer = if head { answer.map(|_| full("")) } else { answer };
                Ok(answer.map(|body| holding(body, running)))
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

    /// A local user opens as many connections as there may be, and says nothing on them. The learner's client is served at
    /// once all the same, and keeps its connection while the flood goes on.
    #[tokio::test]
    async fn a_flood_of_silent_connections_does_not_delay_those_who_say_who_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let fixture = testing::start(dir.path()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, server) = (listener.local_addr().unwrap(), fixture.server.clone());
        let serving =
            tokio::spawn(async move { server.serve_at_most(16, listener, CancellationToken::new()).await });
        let flood = || async move { TcpStream::connect(address).await.unwrap() };
        let mut silent = vec![];
        for _ in 0..40 {
            silent.push(flood().await);
        }
        let admin = fixture.ca.issue(&pki::Subject::client("kubernetes-admin", "system:masters")).unwrap();
        let tls = pki::client_config(Some(&admin), fixture.ca.pem(), &["http/1.1"]).unwrap();
        let connect = async {
            let tcp = TcpStream::connect(address).await.unwrap();
            let from = tcp.local_addr().unwrap();
            let name = pki::server_name("127.0.0.1").unwrap();
            (from, tokio_rustls::TlsConnector::from(tls).connect(name, tcp).await.unwrap())
        };
        let connected = tokio::time::timeout(HANDSHAKE_TIMEOUT / 2, connect).await;
        let (from, mut stream) = connected.expect("it waits for the silent ones");
        async fn ask(stream: &mut tokio_rustls::client::TlsStream<TcpStream>) -> String {
            stream.write_all(b"GET /api/v1/namespaces/default HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
            let mut answer = vec![0; 64 << 10];
            let read = tokio::time::timeout(HANDSHAKE_TIMEOUT / 2, stream.read(&mut answer)).await;
            String::from_utf8_lossy(&answer[..read.unwrap().unwrap()]).into_owned()
        }
        assert!(ask(&mut stream).await.starts_with("HTTP/1.1 200"));
        assert!(fixture.server.is_known(from));
        for _ in 0..40 {
            silent.push(flood().await);
        }
        assert!(ask(&mut stream).await.starts_with("HTTP/1.1 200"), "the flood took its connection");
        serving.abort();
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
