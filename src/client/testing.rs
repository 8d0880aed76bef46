//! A server for tests that takes every request and answers none.

use super::{Endpoint, direct};
use crate::pki::{Ca, Subject, server_config};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

pub async fn silent() -> Endpoint {
    let dir = tempfile::tempdir().unwrap();
    let ca = Ca::load_or_create(dir.path(), "test").unwrap();
    let identity = ca.issue(&Subject::server("silent", &["silent"])).unwrap();
    let acceptor = TlsAcceptor::from(server_config(&identity, ca.pem()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let tls = acceptor.accept(tcp).await.unwrap();
                let never = service_fn(|_| {
                    std::future::pending::<Result<http::Response<String>, std::convert::Infallible>>()
                });
                let http = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let _ = http.serve_connection(TokioIo::new(tls), never).await; // the client may hang up
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
