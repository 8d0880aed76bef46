//! Why a server cannot be asked.

use crate::kubeconfig::{PluginError, Target};
use std::error::Error as Cause;
use std::io;

/// Why a server that a kubeconfig names cannot be asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// Nothing listens at this `HOST:PORT`.
    #[error("The connection to the server {0} was refused - did you specify the right host or port?")]
    Refused(String),
    /// No connection came about, or it broke off, or the credential plugin failed, or a header that
    /// says who the user is cannot be sent; in Go's words.
    #[error("Unable to connect to the server: {0}")]
    Transport(String),
    /// A certificate or a key that the kubeconfig names is of no use; in Go's words.
    #[error("{0}")]
    Unusable(String),
}

impl Error {
    /// Returns true if the server took the connection and ended it without an answer. A read may be
    /// sent again then: the server may be about to start anew. Source: `IsProbableEOF` and
    /// `IsConnectionReset` in apimachinery.
    pub fn is_lost_connection(&self) -> bool {
        matches!(self, Error::Transport(why)
            if why == "EOF" || why == "unexpected EOF" || why.ends_with("connection reset by peer"))
    }
}

impl From<PluginError> for Error {
    fn from(error: PluginError) -> Error {
        Error::Transport(error.to_string())
    }
}

/// Names a failure of a connection in Go's words, which come from [`Dial`] where it could: hyper's
/// errors have the kernel's, or that of [`Dial`], among their causes.
///
/// Example: an API server that is killed while it answers leaves `unexpected EOF`.
///
/// [`Dial`]: super::Dial
pub fn error_of(target: &Target, error: &(dyn Cause + 'static)) -> Error {
    let mut cause: Option<&(dyn Cause + 'static)> = Some(error);
    let mut deepest = error.to_string();
    while let Some(here) = cause {
        match here.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => return Error::Refused(target.host.clone()),
            Some(io::ErrorKind::UnexpectedEof) => return Error::Transport("unexpected EOF".into()),
            Some(io::ErrorKind::ConnectionReset) => {
                return Error::Transport("read: connection reset by peer".into());
            }
            _ => {}
        }
        // The server closed the connection instead of an answer.
        if here.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message) {
            return Error::Transport("EOF".into());
        }
        deepest = here.to_string();
        cause = here.source();
    }
    Error::Transport(deepest)
}

/// Returns true if a connection ended instead of an answer.
pub(super) fn has_ended(error: &(dyn Cause + 'static)) -> bool {
    std::iter::successors(Some(error), |&cause| cause.source()).any(|cause| {
        let of_hyper = cause.downcast_ref::<hyper::Error>();
        cause.is::<io::Error>() || of_hyper.is_some_and(hyper::Error::is_incomplete_message)
    })
}

#[cfg(test)]
mod tests {
    use super::super::Http;
    use super::*;
    use http::Request;
    use http_body_util::Full;
    use pki::{Ca, Identity, Subject};
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    /// As an API server does that ends, or that another program takes the connection from.
    #[tokio::test]
    async fn a_connection_that_ends_without_an_answer_is_reported_in_gos_words() {
        for (is_reset, why) in [(false, "EOF"), (true, "read: connection reset by peer")] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let host = listener.local_addr().unwrap().to_string();
            let http = Http::new(Target::anybody("http", &host)).unwrap();
            let request = Request::get(format!("http://{host}/api")).body(Full::default()).unwrap();
            let server = async {
                let (mut tcp, _) = listener.accept().await.unwrap();
                assert!(tcp.read(&mut [0; 1024]).await.unwrap() > 0);
                if is_reset {
                    tcp.set_zero_linger().unwrap();
                }
            };
            let (_, answer) = tokio::join!(server, http.send(request));
            let error = answer.err().unwrap();
            assert!(error.is_lost_connection());
            let message = error.to_string();
            assert_eq!(message, format!("Unable to connect to the server: {why}"));
        }
    }

    /// Returns how a request to a server over TLS fails. `serve` gets what is needed to take its
    /// one connection.
    async fn asked_over_tls<S: Future<Output = ()>>(
        config: impl Fn(&Identity, &str) -> Result<Arc<rustls::ServerConfig>, pki::Error>,
        serve: impl FnOnce(TcpListener, TlsAcceptor) -> S,
    ) -> String {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::load_or_create(dir.path(), "test").unwrap();
        let identity = ca.issue(&Subject::server("m", &["127.0.0.1"])).unwrap();
        let acceptor = TlsAcceptor::from(config(&identity, ca.pem()).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let ca_pem = Some(ca.pem().as_bytes().to_vec());
        let http = Http::new(Target { ca_pem, ..Target::anybody("https", &host) }).unwrap();
        let request = Request::get(format!("https://{host}/api")).body(Full::default()).unwrap();
        tokio::select! {
            answer = http.send(request) => answer.err().unwrap().to_string(),
            () = serve(listener, acceptor) => panic!("the client left"),
        }
    }

    /// A killed program says no farewell: neither HTTP/2's nor TLS's.
    #[tokio::test]
    async fn a_server_that_is_killed_is_reported_in_gos_words_over_http2_too() {
        let message = asked_over_tls(pki::server_config, |listener, acceptor| async move {
            let mut tls = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            assert!(tls.read(&mut [0; 1024]).await.unwrap() > 0);
            tls.get_mut().0.shutdown().await.unwrap();
            std::future::pending::<()>().await;
        });
        assert_eq!(message.await, "Unable to connect to the server: unexpected EOF");
    }

    /// In TLS 1.3 it refuses after the client's greeting, when requests are on their way.
    #[tokio::test]
    async fn a_server_that_insists_on_a_certificate_is_reported_in_gos_words() {
        let message = asked_over_tls(pki::mutual_server_config, |listener, acceptor| async move {
            let tcp = listener.accept().await.unwrap().0;
            let Err((_, _open)) = acceptor.accept(tcp).into_fallible().await else {
                panic!("the client has no certificate");
            };
            std::future::pending::<()>().await;
        });
        let why = "remote error: tls: certificate required";
        assert_eq!(message.await, format!("Unable to connect to the server: {why}"));
    }
}
