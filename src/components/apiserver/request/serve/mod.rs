//! Listeners: TCP, TLS, HTTP/1.1 and HTTP/2.

use crate::auth::authn::{Caller, Peer};
use crate::pipeline;
use crate::request::connections::{Connections, Counted};
use crate::request::handshake::shake_hands;
use crate::request::heads::Heads;
use crate::request::http::{Answer, IDLE_MAX, full, holding, http_server};
use crate::request::http_head::Metered;
use crate::request::router::Router;
use crate::request::unread;
use crate::server::Server;
use futures::future::BoxFuture; // compiled in this room once, not in each that awaits it
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use linux::descriptors;
use linux::tcp;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Time that running requests have to end when the server stops.
pub(crate) const DRAIN: Duration = Duration::from_millis(500);
/// A connection on which no request has begun this long after it was accepted is closed, as
/// upstream's for a request's head.
const FIRST_REQUEST: Duration = Duration::from_secs(32);
/// Time that an idle connection's client has to take its leave.
const LEAVE: Duration = Duration::from_secs(5);

/// Connections of a listener, however many descriptors there are: each costs some tens of KiB for
/// TLS and its buffers.
const CONNECTIONS_MAX: usize = 8192;
/// A connection on which nothing comes is probed this often, so that one whose client's kernel has
/// given it up ends. Upstream's is 3 min.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

impl Server {
    /// Takes over a connection that another part of this process accepted, as if it had come to
    /// the server's own listener. Waits while the listener has no room.
    ///
    /// # Errors
    /// The connection comes back: no listener is served now.
    pub fn adopt(&self, tcp: TcpStream, from: SocketAddr) -> BoxFuture<'_, Result<(), TcpStream>> {
        Box::pin(async move {
            let handover = self.state.handover.lock().clone();
            match handover {
                Some(handover) => handover.send((tcp, from)).await.map_err(|back| back.0.0),
                None => Err(tcp),
            }
        })
    }

    /// Serves HTTPS on `listener` until `stop` is cancelled or the server itself stops. Several
    /// listeners may be served.
    ///
    /// A listener has an eighth of the descriptors, and [`CONNECTIONS_MAX`] connections. At the
    /// bound the oldest connection that has not authenticated makes room; if there is none, new
    /// ones wait in the kernel's queue. No account has more than half (see `connections`).
    ///
    /// # Errors
    /// None today: an accept that fails is tried again, and a connection that fails ends alone.
    pub fn serve(&self, listener: TcpListener, stop: CancellationToken) -> BoxFuture<'_, io::Result<()>> {
        Box::pin(async move {
            let most = descriptors::connections(descriptors::limit(), 8, 1).min(CONNECTIONS_MAX);
            self.serve_at_most(most, listener, stop).await
        })
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
        // Connections and watches end well for either reason.
        let ending = stop.child_token();
        let admitted = Connections::new(most, self.state.known.clone());
        // One at a time: those that wait are counted nowhere.
        let (handover, mut handed) = mpsc::channel(1);
        *self.state.handover.lock() = Some(handover);
        loop {
            let (tcp, from) = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = over.cancelled() => break,
                Some(_) = connections.join_next(), if !connections.is_empty() => continue,
                accepted = async {
                    admitted.wait_for_room().await;
                    tokio::select! {
                        accepted = tcp::accept(&listener) => accepted,
                        Some(handed) = handed.recv() => handed,
                    }
                } => accepted,
            };
            let Some(counted) = admitted.admit(from) else { continue };
            let (server, acceptor, stop) = (self.clone(), acceptor.clone(), ending.clone());
            let heads = admitted.heads.clone();
            connections.spawn(async move {
                let end = counted.end.clone();
                let served = server.connection(tcp, acceptor, stop, counted, heads);
                let _ = end.run_until_cancelled(served).await;
            });
        }
        drop(handed); // connections that are handed in from now on come back
        ending.cancel();
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
        heads: Arc<Heads>,
    ) {
        prepare(&tcp);
        let Some(stream) = shake_hands(tcp, acceptor, &counted).await else { return };
        let certs = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let peer = Arc::new(Peer::of(&self.state.clients, certs));
        if let Peer::User(user, _) = &*peer {
            counted.mark_known(user); // if the account has no place now, each request tries again
        }
        let counted = Arc::new(counted);
        let stream = Metered::new(stream, counted.clone(), heads);
        let (server, watch_stop, activity) = (self.clone(), stop.clone(), counted.activity.clone());
        let active = activity.clone();
        let service = service_fn(move |request: http::Request<Incoming>| {
            let (server, peer, stop) = (server.clone(), peer.clone(), watch_stop.clone());
            let counted = counted.clone();
            let running = active.begin();
            let answer: BoxFuture<'static, Result<Answer, Infallible>> = Box::pin(async move {
                let head = request.method() == http::Method::HEAD;
                let (mut request, unread) = unread::keep(request, &counted.activity);
                // A session that begins as a request holds its connection for as long as it lasts.
                request.extensions_mut().insert(counted);
                let answer =
                    pipeline::serve(&Router, &server, request, Caller::Connection(&peer), stop).await;
                unread.drain(&server.crew);
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
            () = activity.wait_until_idle(FIRST_REQUEST, IDLE_MAX) => {
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

/// Sets the options of a client's socket; a socket that refuses one is used as it is.
fn prepare(tcp: &TcpStream) {
    let _ = (tcp.set_nodelay(true), tcp::bound_unread(tcp), tcp::keep_alive(tcp, KEEP_ALIVE));
}

#[cfg(test)]
mod tests;
