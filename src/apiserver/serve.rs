//! Listeners: TCP, TLS, HTTP/1.1 and HTTP/2.

use super::Server;
use super::authn::Peer;
use super::http::{Answer, Body, BodyError, failure, full, http_server};
use super::router;
use crate::linux::tcp;
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
/// Connections served at a time on one listener. At the bound new ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 20_000;

impl Server {
    /// Serves HTTPS on `listener` until `stop` is cancelled or the server itself stops. Several listeners may be served.
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) -> io::Result<()> {
        let acceptor = TlsAcceptor::from(self.state.tls.clone());
        let mut connections: JoinSet<()> = JoinSet::new();
        let over = self.state.stop.child_token();
        loop {
            let (tcp, _) = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = over.cancelled() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = tcp::accept(&listener), if connections.len() < CONNECTIONS_MAX => accepted,
            };
            let (server, acceptor, stop) = (self.clone(), acceptor.clone(), stop.clone());
            connections.spawn(async move { server.connection(tcp, acceptor, stop).await });
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
        let (server, watch_stop) = (self.clone(), stop.clone());
        let service = service_fn(move |request: http::Request<Incoming>| {
            let (server, peer, stop) = (server.clone(), peer.clone(), watch_stop.clone());
            let answer: BoxFuture<'static, Result<Answer, Infallible>> = Box::pin(async move {
                let head = request.method() == http::Method::HEAD;
                let request =
                    request.map(|b| -> Body { b.map_err(|e| BodyError(e.to_string())).boxed_unsync() });
                let answer = match router::user_of(&server.state, &peer, &request) {
                    Ok(user) => router::serve(&server.state, &server.tap, request, user, stop).await,
                    Err(status) => failure(&status),
                };
                Ok(if head { answer.map(|_| full("")) } else { answer })
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
        };
        if let Err(error) = result {
            tracing::trace!(%error, "connection ended");
        }
    }
}
