//! Pools of connections: HTTP/2 or HTTP/1.1.

use super::dial::{Dial, SILENT};
use super::error::{Error, error_of};
use crate::kubeconfig::Target;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::sync::Arc;
use std::time::Duration;

/// A server that was silent for [`SILENT`] on an HTTP/2 connection is asked for a sign of life, and
/// given up when it gives none within this time (client-go's).
const NO_SIGN: Duration = Duration::from_secs(15);

/// A pool of connections to one target.
pub struct Http {
    client: Client<Dial, Full<Bytes>>,
    /// The server, with the credentials that it is asked with.
    pub target: Arc<Target>,
}

impl Http {
    /// A pool without connections; the first request opens one.
    ///
    /// # Errors
    /// As [`Dial::new`].
    pub fn new(target: Target) -> Result<Http, Error> {
        Http::with_pings(target, SILENT, NO_SIGN)
    }

    /// A server that is silent for so long is asked for a sign of life, and given up without one.
    fn with_pings(target: Target, silent: Duration, no_sign: Duration) -> Result<Http, Error> {
        let target = Arc::new(target);
        let dial = Dial::new(target.clone(), &["h2", "http/1.1"])?;
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .http2_keep_alive_interval(silent)
            .http2_keep_alive_timeout(no_sign)
            .build(dial);
        Ok(Http { client, target })
    }

    /// Sends a request and returns when the head of the answer is there, whatever its status.
    ///
    /// # Errors
    /// [`Error::Refused`]: nothing listens there. [`Error::Transport`]: the connection cannot be
    /// made, or broke off.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
        self.client.request(request).await.map_err(|error| error_of(&self.target, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use pki::{Ca, Subject, server_config};
    use std::convert::Infallible;

    /// The machine of the server is gone: nothing comes any more, not even the end of the
    /// connection.
    #[tokio::test]
    async fn a_watch_on_a_server_that_is_gone_ends() {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "test").unwrap();
        let identity = ca.issue(&Subject::server("silent", &["silent"])).unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(server_config(&identity, ca.pem()).unwrap());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target {
            scheme: "https".into(),
            host: listener.local_addr().unwrap().to_string(),
            ca_pem: Some(ca.pem().as_bytes().to_vec()),
            server_name: Some("silent".into()),
            ..Target::default()
        };
        let server = tokio::spawn(async move {
            let tls = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let (came, mut comes) = tokio::sync::mpsc::unbounded_channel();
            let service = service_fn(move |_: Request<Incoming>| {
                let _ = came.send(());
                std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()
            });
            let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let connection = http.serve_connection(TokioIo::new(tls), service);
            tokio::pin!(connection);
            tokio::select! {
                _ = &mut connection => panic!("the client left"),
                _ = comes.recv() => {}
            }
            // The request has come, and from here on nobody reads or writes.
            std::future::pending::<()>().await;
        });
        let http = Http::with_pings(target, Duration::from_millis(200), Duration::from_millis(200)).unwrap();
        let url = format!("https://{}/api/v1/pods?watch=true", http.target.host);
        let sent = http.send(Request::get(url).body(Full::default()).unwrap());
        let sent = tokio::time::timeout(Duration::from_secs(20), sent).await.expect("an end");
        assert!(sent.is_err_and(|error| matches!(error, Error::Transport(_))));
        server.abort();
    }
}
