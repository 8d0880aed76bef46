//! Servers for tests: one that answers no request, and one that answers each the same.

use super::{Endpoint, direct};
use crate::pki::{Ca, Subject, server_config};
use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Takes every request and answers none.
pub async fn silent() -> Endpoint {
    server(None).await
}

/// Answers every request with `body`, sent in one piece.
pub async fn saying(body: impl Into<Bytes>) -> Endpoint {
    server(Some(body.into())).await
}

async fn server(body: Option<Bytes>) -> Endpoint {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::load_or_create(dir.path(), "test").unwrap();
    let identity = ca.issue(&Subject::server("silent", &["silent"])).unwrap();
    let acceptor = TlsAcceptor::from(server_config(&identity, ca.pem()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let (acceptor, body) = (acceptor.clone(), body.clone());
            tokio::spawn(async move {
                let tls = acceptor.accept(tcp).await.unwrap();
                let answer = service_fn(move |_| {
                    let body = body.clone();
                    async move {
                        match body {
                            Some(body) => {
                                Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(body)))
                            }
                            None => std::future::pending().await,
                        }
                    }
                });
                let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = http.serve_connection(TokioIo::new(tls), answer).await; // the client may hang up
            });
        }
    });
    Endpoint {
        servers: vec![address],
        server_name: "silent".into(),
        ca_pem: ca.pem().to_string(),
        identity: None,
        user_agent: "test".into(),
        dial: direct(),
    }
}
